//! How drivers bring the card up.
//!
//! Linux's e1000e: configuration space is looked at for the PCI Express capability, bus mastering is turned off by
//! CTRL and STATUS says so; interrupts masked, RCTL and TCTL off; MDIO is taken by EXTCNF_CTRL, CTRL.RST, EECD.AUTO_RD
//! waited for, ICR read. The NVM's sum, the address from RA. SWSM is given back. VFTA, RA and MTA are filled; the PHY is
//! found by its id at address 1, told what to advertise, reset, and negotiates. Both rings; RFCTL.EXTEN, the key and
//! table of the hash, RXCSUM.PCSD and MRQC; IAME with all of IAM, then with MSI-X IVAR (receive, transmit, others, and
//! every write-back), EITR, and CTRL_EXT with PBA_CLR and EIAME in place of IAME; RCTL.EN, tails, EIAC, IMS, and a link
//! change that it makes itself by ICS. Its handler of other causes reads ICR, gives back by ICS what was not its, and
//! unmasks; those of the queues unmask when they are done.
//!
//! Intel's driver of Windows: the NVM word by word, EERD; the reset by CTRL once more after the PHY's; statistics read
//! to clear them; legacy rings with interrupts by MSI, then MSI-X where there is; ICR is written, not read, and OTHER
//! stands for all that it tells.

use super::super::spec::{ctrl_ext, eecd, ivar, mrqc, stat};
use super::*;
use devices_core::rig::{ms, scenario};

fn reset(card: &mut Card<'_>) {
    let control = card.read(reg::CTRL);
    card.write(reg::CTRL, control | ctrl::GIO_MASTER_DISABLE);
    assert_eq!(card.read(reg::STATUS) & status::GIO_MASTER, 0);
    card.write(reg::IMC, !0);
    card.write(reg::RCTL, 0);
    card.write(reg::TCTL, tctl::PSP);
    card.rig.advance(ms(10));
    let owned = card.read(reg::EXTCNF_CTRL);
    card.write(reg::EXTCNF_CTRL, owned | 1 << 5);
    assert_ne!(card.read(reg::EXTCNF_CTRL) & 1 << 5, 0);
    card.write(reg::FCTTV, 7);
    let control = card.read(reg::CTRL);
    card.write(reg::CTRL, control | ctrl::RST);
    assert_eq!((card.read(reg::FCTTV), card.read(reg::CTRL) & ctrl::RST), (0, 0), "it was reset");
    card.write(reg::EXTCNF_CTRL, owned);
    assert_ne!(card.read(reg::EECD) & eecd::AUTO_RD, 0);
    assert_ne!(card.read(reg::STATUS) & status::GIO_MASTER, 0);
    card.write(reg::IMC, !0);
    card.read(reg::ICR);
}

fn bring_up_the_phy(card: &mut Card<'_>) {
    assert_eq!((card.phy(2), card.phy(3)), (0x0141, 0x0cb1));
    let specific = card.phy(16);
    card.set_phy(16, specific | 0x0860);
    let command = card.phy(0);
    card.set_phy(0, command | 0x8000);
    card.set_phy(4, 0x0de1);
    card.set_phy(9, 0x0200);
    card.set_phy(0, command | 0x1200);
    assert_eq!(card.read(reg::STATUS) & status::LU, 0);
}

#[test]
fn as_linux_does_it() {
    scenario(|rig| {
        let mut card = card(rig);
        assert_eq!(card.rig.config_read(SLOT, 0, 0, Size::B4), 0x10d3_8086);
        assert_eq!(card.rig.config_read(SLOT, 0, 8, Size::B4), 0x0200_0000);
        assert_eq!(card.rig.config_read(SLOT, 0, 0x2c, Size::B4), 0x0000_8086);
        assert_eq!(card.rig.config_read(SLOT, 0, EXPRESS_AT + 0x12, Size::B2), 0x11, "one lane of 2.5 GT/s");
        reset(&mut card);
        let sum = (0..64).fold(0u16, |sum, word| sum.wrapping_add(card.nvm(word)));
        assert_eq!((sum, card.nvm(0)), (0xbaba, 0x5452));
        assert_eq!(card.read(reg::RA), u32::from_le_bytes([0x52, 0x54, 0, 0x12]));
        assert_eq!(card.read(reg::RA + 4), 0x8000_5634);
        assert_eq!(card.read(reg::SWSM) & 1, 1, "as after power-on");
        card.write(reg::SWSM, 0);
        assert_eq!((card.read(reg::SWSM), card.read(reg::SWSM)), (0, 1), "whoever reads it has it");
        for word in 0..128 {
            card.write(reg::VFTA + 4 * word, 0);
            card.write(reg::MTA + 4 * word, 0);
        }
        let control = card.read(reg::CTRL);
        card.write(reg::CTRL, control | ctrl::SLU);
        bring_up_the_phy(&mut card);

        card.start_tx(0);
        card.write(reg::TIDV, 8);
        card.write(reg::TADV, 32);
        card.write(reg::RFCTL, rfctl::EXTEN);
        card.write(reg::RDTR, 0);
        card.write(reg::IAM, !0);
        card.write(reg::CTRL_EXT, ctrl_ext::IAME);
        for word in 0..10 {
            card.write(reg::RSSRK + 4 * word, 0x1357_9bdf * (word + 1));
        }
        card.write(reg::RXCSUM, rxcsum::TUOFLD | rxcsum::PCSD);
        let kinds = mrqc::V4 | mrqc::TCP_V4 | mrqc::V6 | mrqc::TCP_V6 | mrqc::V6_EX;
        card.write(reg::MRQC, mrqc::RSS | kinds);
        card.start_rx(0, 0);
        card.start_msix();
        card.write(reg::RFCTL, rfctl::EXTEN | rfctl::ACK_DIS);
        (0..3).for_each(|vector| card.write(reg::EITR + 4 * vector, 1));
        card.write(reg::IVAR, ivar::EVERY | 0x000a_0908);
        let extended = card.read(reg::CTRL_EXT) & !ctrl_ext::IAME;
        card.write(reg::CTRL_EXT, extended | ctrl_ext::PBA_CLR | ctrl_ext::EIAME);
        card.write(reg::RDT, RING - 1);
        card.write(reg::EIAC, (Cause::RXQ0 | Cause::TXQ0).bits());
        card.write(reg::IMS, (Cause::RXQ0 | Cause::TXQ0 | Cause::OTHER | Cause::LSC).bits());
        card.write(reg::ICS, Cause::LSC.bits());
        works_as_linux_uses_it(&mut card);
    });
}

/// The handler of other causes.
fn others(card: &mut Card<'_>) -> Cause {
    let causes = card.causes();
    card.write(reg::ICS, (causes & (Cause::RXQ0 | Cause::TXQ0)).bits());
    card.write(reg::IMS, (Cause::OTHER | Cause::LSC).bits());
    causes
}

fn works_as_linux_uses_it(card: &mut Card<'_>) {
    assert_eq!(card.vectors(), [2]);
    assert_eq!(others(card), Cause::LSC | Cause::OTHER);
    card.rig.advance(ms(1));
    assert!(card.vectors().is_empty(), "it was told once");
    card.rig.advance(ms(500));
    assert_eq!(card.vectors(), [2], "negotiation is over");
    assert!(others(card).contains(Cause::LSC));
    assert_ne!(card.read(reg::STATUS) & status::LU, 0);
    assert_eq!(card.phy(1) & 0x24, 0x24);
    let out = frame([2; 6], 100);
    card.send(0, &out, txd::IDE);
    assert_eq!(card.net.sent(), Some(out));
    assert_eq!(card.vectors(), [1], "with MSI-X nothing is held back");
    card.arrives(&tcp(1000, 100));
    assert_eq!(card.vectors(), [0]);
    let (kind, hash, status, len, _) = card.extended(0, 0);
    assert_eq!((kind, len), (1, 154), "a hash over TCP's ports, queue 0");
    assert_ne!(hash, 0);
    assert_eq!(status & 0xff, rxd::DD | rxd::EOP | rxd::TCPCS);
    card.rig.advance(ms(1));
    card.arrives(&tcp(1000, 101));
    assert!(card.vectors().is_empty(), "it is masked until the driver has looked");
    card.write(reg::IMS, Cause::RXQ0.bits());
    assert_eq!(card.vectors(), [0]);
}

#[test]
fn as_intels_driver_of_windows_does_it() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::IMC, !0);
        for (number, word) in (0..).zip([0x5452, 0x1200, 0x5634]) {
            assert_eq!(card.nvm(number), word);
        }
        let control = card.read(reg::CTRL);
        card.write(reg::CTRL, control | ctrl::PHY_RST);
        assert_ne!(card.read(reg::STATUS) & status::PHYRA, 0);
        card.write(reg::CTRL, control);
        card.write(reg::STATUS, 0);
        assert_eq!(card.read(reg::STATUS) & status::PHYRA, 0);
        card.write(reg::CTRL, control | ctrl::RST);
        for at in (reg::STATISTICS..=reg::STATISTICS_END).step_by(4) {
            card.read(at);
        }
        bring_up_the_phy(&mut card);
        card.rig.advance(ms(600));
        card.read(reg::ICR);
        card.start_tx(0);
        card.start_rx(RING - 1, 0);
        card.start_msix();
        card.write(reg::IVAR, 0x000a_0908);
        card.write(reg::EIAC, 0);
        card.write(reg::IMS, (Cause::RXQ0 | Cause::TXQ0 | Cause::OTHER).bits());
        card.write(reg::ICS, (Cause::RXO | Cause::LSC).bits());
        assert_eq!(card.vectors(), [2]);
        assert!(card.causes().contains(Cause::RXO | Cause::OTHER), "reading clears nothing");
        card.write(reg::ICR, Cause::OTHER.bits());
        assert_eq!(card.causes(), Cause::empty(), "OTHER stands for all of them");
        let out = frame([2; 6], 100);
        card.send(0, &out, 0);
        assert_eq!(card.net.sent(), Some(out));
        let back = frame(MAC, 90);
        card.arrives(&back);
        assert_eq!(card.buffer(0, 0, 90), back);
        assert_eq!(card.vectors(), [1, 0]);
        card.arrives(&back);
        assert!(card.vectors().is_empty(), "the cause still stands");
        card.write(reg::ICR, (Cause::RXQ0 | Cause::TXQ0).bits());
        card.arrives(&back);
        assert_eq!(card.vectors(), [0]);
        assert_eq!([stat::GPTC, stat::GPRC].map(|at| card.read(at)), [1, 3]);
    });
}
