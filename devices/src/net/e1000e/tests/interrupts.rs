//! The pin, MSI and MSI-X, masks that close by themselves, and the timers.

use super::super::spec::{ctrl_ext, ivar};
use super::*;
use devices_core::rig::{scenario, us};

#[test]
fn the_pin_follows_causes_and_mask() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::ICS, Cause::LSC.bits());
        assert!(!card.irq());
        card.write(reg::IMS, (Cause::LSC | Cause::RXT0).bits());
        assert!(card.irq());
        assert_eq!(card.read(reg::ICS), Cause::LSC.bits() | 1 << 31, "ICS reads and clears nothing");
        card.write(reg::IMC, Cause::LSC.bits());
        assert!(!card.irq());
        card.write(reg::IMS, Cause::LSC.bits());
        card.write(reg::ICR, Cause::LSC.bits());
        assert!(!card.irq());
        card.write(reg::ICS, Cause::RXT0.bits());
        assert!(card.irq());
        assert_eq!(card.read(reg::ICR), Cause::RXT0.bits() | 1 << 31);
        assert!(!card.irq());
        assert_eq!(card.read(reg::ICR), 0);
        // Reserved bits of the mask stay clear.
        card.write(reg::IMS, !0);
        assert_eq!(card.read(reg::IMS), Cause::MASKABLE.bits());
    });
}

#[test]
fn reading_masks_what_iam_says() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::CTRL_EXT, ctrl_ext::IAME);
        card.write(reg::IAM, Cause::RXT0.bits());
        card.write(reg::IMS, (Cause::RXT0 | Cause::LSC).bits());
        card.read(reg::ICR);
        assert_eq!(card.read(reg::IMS), (Cause::RXT0 | Cause::LSC).bits(), "there was no interrupt");
        card.write(reg::ICS, Cause::RXT0.bits());
        assert!(card.irq());
        card.read(reg::ICR);
        assert_eq!(card.read(reg::IMS), Cause::LSC.bits());
    });
}

#[test]
fn a_message_tells_what_rose() {
    scenario(|rig| {
        let mut card = card(rig);
        card.rig.config_write(SLOT, 0, MSI_AT + 4, Size::B4, 0xfee0_0000);
        card.rig.config_write(SLOT, 0, MSI_AT + 0xc, Size::B2, 0x41);
        card.rig.config_write(SLOT, 0, MSI_AT + 2, Size::B2, 1);
        card.write(reg::IMS, (Cause::RXT0 | Cause::LSC | Cause::RXSEQ).bits());
        // Linux tries messages by a cause that means nothing.
        card.write(reg::ICS, Cause::RXSEQ.bits());
        assert_eq!(card.rig.take_messages(), [(0xfee0_0000, 0x41)]);
        card.write(reg::ICS, Cause::RXSEQ.bits());
        assert!(card.rig.take_messages().is_empty());
        card.write(reg::ICS, Cause::LSC.bits());
        assert_eq!(card.rig.take_messages().len(), 1);
        card.causes();
        card.write(reg::ICS, Cause::LSC.bits());
        assert_eq!(card.rig.take_messages().len(), 1);
        assert!(!card.irq());
        card.rig.config_write(SLOT, 0, MSI_AT + 2, Size::B2, 0);
        assert!(card.irq(), "without messages the pin tells");
    });
}

#[test]
fn itr_holds_the_pin_and_msi_back() {
    for msi in [false, true] {
        scenario(|rig| {
            let mut card = card(rig);
            card.rig.config_write(SLOT, 0, MSI_AT + 2, Size::B2, msi.into());
            let told = |card: &Card<'_>| if msi { !card.rig.take_messages().is_empty() } else { card.irq() };
            card.write(reg::ITR, 4000);
            card.write(reg::IMS, Cause::LSC.bits());
            card.write(reg::ICS, Cause::LSC.bits());
            assert!(told(&card), "the first at once");
            card.causes();
            card.write(reg::ICS, Cause::LSC.bits());
            card.rig.advance(us(1000));
            assert!(!told(&card));
            card.rig.advance(us(25));
            assert!(told(&card), "4000 times 256 ns");
            card.causes();
            card.write(reg::ICS, Cause::LSC.bits());
            assert!(!told(&card));
            card.write(reg::ITR, 0);
            assert!(told(&card), "no interval, no throttling");
        });
    }
}

#[test]
fn vectors_are_held_back_each_by_its_own() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_msix();
        card.write(reg::IVAR, ivar::VALID | (ivar::VALID | 3) << 8 | (ivar::VALID | 3) << 16 | 5 << 4);
        card.write(reg::EITR + 12, 4000);
        card.write(reg::IMS, Cause::MSIX.bits());
        let all = Cause::RXQ0 | Cause::RXQ1 | Cause::TXQ0 | Cause::TXQ1 | Cause::LSC;
        card.write(reg::ICS, all.bits());
        assert_eq!(card.vectors(), [0, 3], "two causes share one, two have none");
        card.write(reg::ICR, all.bits() | Cause::OTHER.bits());
        card.write(reg::ICS, all.bits());
        assert_eq!(card.vectors(), [0]);
        card.rig.advance(us(1025));
        assert_eq!(card.vectors(), [3]);
        // A vector beyond the table, or one that is masked there.
        card.write(reg::ICR, !0);
        card.write(reg::IVAR, ivar::VALID | 6 | (ivar::VALID | 4) << 4);
        card.rig.mmio_write(TABLE + 16 * 4 + 12, Size::B4, 1);
        card.write(reg::ICS, (Cause::RXQ0 | Cause::RXQ1).bits());
        assert!(card.vectors().is_empty());
        assert_eq!(card.rig.mmio_read(TABLE + 0x2000, Size::B8), 1 << 4, "it waits");
        card.write(reg::PBACLR, 1 << 4);
        assert_eq!(card.rig.mmio_read(TABLE + 0x2000, Size::B8), 0);
        card.write(reg::ICR, !0);
        card.write(reg::ICS, Cause::RXQ1.bits());
        card.write(reg::CTRL_EXT, ctrl_ext::PBA_CLR);
        card.write(reg::IMS, Cause::RXQ1.bits());
        assert_eq!(card.rig.mmio_read(TABLE + 0x2000, Size::B8), 0, "unmasking clears it, too");
    });
}

#[test]
fn a_message_clears_and_masks_by_itself() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_msix();
        card.write(reg::IVAR, ivar::VALID | (ivar::VALID | 1) << 4);
        card.write(reg::EIAC, Cause::RXQ0.bits());
        card.write(reg::IMS, Cause::MSIX.bits());
        card.write(reg::ICS, (Cause::RXQ0 | Cause::RXQ1).bits());
        assert_eq!(card.vectors(), [0, 1]);
        assert_eq!(card.read(reg::ICS), Cause::RXQ1.bits() | 1 << 31);
        assert_eq!(card.read(reg::IMS), Cause::MSIX.bits(), "EIAC masks nothing");
        card.write(reg::ICS, (Cause::RXQ0 | Cause::RXQ1).bits());
        assert_eq!(card.vectors(), [0]);
        card.write(reg::IAM, Cause::RXQ0.bits());
        card.write(reg::CTRL_EXT, ctrl_ext::EIAME);
        card.write(reg::ICS, Cause::RXQ0.bits());
        assert_eq!(card.vectors(), [0]);
        assert_eq!(card.read(reg::IMS), Cause::MSIX.bits() & !Cause::RXQ0.bits());
    });
}

#[test]
fn delays_count_from_the_last_and_the_first() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_rx(RING - 1, 3 << rctl::RDMTS_SHIFT);
        card.write(reg::RFCTL, rfctl::ACK_DIS);
        card.write(reg::IMS, Cause::RXT0.bits());
        card.write(reg::RDTR, 1000);
        card.write(reg::RADV, 1500);
        card.arrives(&frame(MAC, 64));
        card.rig.advance(us(1000));
        card.arrives(&frame(MAC, 64));
        card.rig.advance(us(500));
        assert!(!card.irq());
        card.rig.advance(us(40));
        assert!(card.irq(), "1500 times 1024 ns after the first");
        assert_eq!(card.causes(), Cause::RXT0);
        card.arrives(&frame(MAC, 64));
        card.rig.advance(us(1030));
        assert!(card.irq(), "1000 times 1024 ns after the last");
        card.causes();
        card.arrives(&frame(MAC, 64));
        card.write(reg::RDTR, 1 << 31 | 1000);
        assert!(card.irq(), "told at once when software asks");
    });
}

#[test]
fn acknowledgements_and_small_packets_are_causes() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_rx(RING - 1, 3 << rctl::RDMTS_SHIFT);
        card.write(reg::RSRPD, 100);
        card.arrives(&tcp(7, 0));
        assert_eq!(card.causes(), Cause::RXT0 | Cause::ACK | Cause::SRPD);
        card.write(reg::RFCTL, rfctl::ACK_DATA_DIS);
        card.arrives(&tcp(7, 100));
        assert_eq!(card.causes(), Cause::RXT0);
        card.write(reg::RFCTL, 0);
        card.write(reg::RDTR, 1000);
        card.write(reg::RAID, 100);
        card.arrives(&tcp(7, 100));
        assert_eq!(card.causes(), Cause::empty());
        card.rig.advance(us(110));
        assert_eq!(card.causes(), Cause::ACK);
        card.write(reg::RFCTL, rfctl::ACK_DIS);
        card.rig.advance(us(1000));
        assert_eq!(card.causes(), Cause::RXT0);
    });
}
