//! EEPROM, PHY, link, interrupts and their timers, statistics.

use super::super::spec::{RDTR_FPD, eecd, eerd, stat};
use super::*;
use devices_core::rig::{ms, scenario, us};

fn word(card: &mut Card<'_>, number: u32) -> u16 {
    card.write(reg::EERD, number << eerd::ADDRESS_SHIFT | eerd::START);
    (card.read(reg::EERD) >> eerd::DATA_SHIFT) as u16
}

/// Clocks bits into the EEPROM, the highest first.
fn shift(card: &mut Card<'_>, bits: u32, count: u32) {
    for bit in (0..count).rev().map(|at| bits >> at & 1) {
        let wires = eecd::CS | if bit != 0 { eecd::DI } else { 0 };
        for edge in [0, eecd::SK, 0] {
            card.write(reg::EECD, wires | edge);
        }
    }
}

fn command(card: &mut Card<'_>, bits: u32, count: u32) {
    card.write(reg::EECD, eecd::CS);
    shift(card, bits, count);
    card.write(reg::EECD, 0);
}

#[test]
fn the_eeprom_is_written_when_it_is_unlocked() {
    scenario(|rig| {
        let mut card = card(rig);
        assert_eq!((word(&mut card, 12), word(&mut card, 64)), (0x8086, 0));
        let write = 0b101 << 22 | 5 << 16 | 0xabcd;
        command(&mut card, write, 25);
        assert_eq!(word(&mut card, 5), 0);
        // EWEN, later EWDS: 100, then 11 or 00.
        command(&mut card, 0x130, 9);
        command(&mut card, write, 25);
        assert_eq!(word(&mut card, 5), 0xabcd);
        command(&mut card, 0b111 << 6 | 5, 9);
        assert_eq!(word(&mut card, 5), 0xffff);
        // A new address, which the controller takes at its next reset.
        for (number, value) in [(0u32, 0x1102u32), (1, 0x3322), (2, 0x5544)] {
            command(&mut card, 0b101 << 22 | number << 16 | value, 25);
        }
        command(&mut card, 0x100, 9);
        command(&mut card, 0b101 << 22, 25);
        assert_eq!(word(&mut card, 0), 0x1102, "it is locked again");
        card.write(reg::CTRL, ctrl::RST);
        assert_eq!((card.read(reg::RA), card.read(reg::RA + 4)), (0x3322_1102, 0x8000_5544));
        assert_eq!(card.slot.lock().mac(), MAC);
    });
}

#[test]
fn words_follow_one_another_on_the_wires() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::EECD, eecd::CS);
        // Zeros before the bit that begins a command mean nothing.
        shift(&mut card, 0b110 << 6 | 12, 12);
        assert_eq!(card.read(reg::EECD) & eecd::DO, 0, "a zero goes first");
        let mut seen = 0u32;
        for _ in 0..32 {
            card.write(reg::EECD, eecd::CS | eecd::SK);
            seen = seen << 1 | u32::from(card.read(reg::EECD) & eecd::DO != 0);
            card.write(reg::EECD, eecd::CS);
        }
        assert_eq!(seen, 0x8086_100e);
        card.write(reg::EECD, 0);
        assert_ne!(card.read(reg::EECD) & eecd::DO, 0);
    });
}

#[test]
fn the_phy_answers_at_address_1() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::IMS, Cause::MDAC.bits());
        card.write(reg::MDIC, mdic::READ | mdic::INTERRUPT | 1 << mdic::PHY_SHIFT | 2 << 16);
        assert!(card.irq());
        assert_eq!(card.read(reg::MDIC) & (mdic::READY | mdic::ERROR | 0xffff), mdic::READY | 0x0141);
        for phy in [0, 2, 31] {
            card.write(reg::MDIC, mdic::READ | phy << mdic::PHY_SHIFT | 2 << 16);
            assert_eq!(card.read(reg::MDIC) & (mdic::READY | mdic::ERROR), mdic::READY | mdic::ERROR);
        }
        card.set_phy(2, 0);
        card.set_phy(30, 0x1234);
        assert_eq!((card.phy(2), card.phy(30), card.phy(12)), (0x0141, 0x1234, 0));
        assert_eq!((card.phy(0), card.phy(1)), (0x1140, 0x794d));
        card.set_phy(4, 0x0021);
        let control = card.read(reg::CTRL);
        card.write(reg::CTRL, control | ctrl::PHY_RST);
        card.write(reg::CTRL, control);
        assert_eq!((card.phy(4), card.phy(30)), (0x0de1, 0));
    });
}

#[test]
fn the_cable_comes_and_goes() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_rx(4, 0);
        card.start_tx();
        card.write(reg::IMS, Cause::LSC.bits());
        card.set_link(false);
        assert!(card.irq() && !card.slot.lock().link());
        assert_eq!(card.causes(), Cause::LSC);
        assert_eq!((card.read(reg::STATUS) & status::LU, card.phy(1) & 4, card.phy(17) & 0x400), (0, 0, 0));
        card.arrives(&frame(MAC, 64));
        card.send(&frame([2; 6], 64), 0);
        assert_eq!((card.net.left(), card.net.sent()), (1, None));
        card.set_link(true);
        assert_eq!(card.read(reg::STATUS) & status::LU, 0, "negotiation takes its time");
        card.rig.advance(ms(501));
        assert!(card.irq());
        assert_ne!(card.read(reg::STATUS) & status::LU, 0);
        assert_eq!((card.phy(1) & 0x24, card.phy(5) & 0x4000), (0x24, 0x4000));
        assert_eq!((card.net.left(), card.read(reg::RDH)), (0, 1), "what waited came in");
        card.set_link(false);
        card.rig.reset();
        assert!(!card.slot.lock().link(), "a reset puts no cable in");
    });
    scenario(|rig| {
        let mut card = attach(rig, 0, Options { autonegotiation: false, ..Options::default() });
        card.set_phy(0, 0x1340);
        assert_ne!(card.read(reg::STATUS) & status::LU, 0);
        card.set_link(false);
        card.set_link(true);
        assert_ne!(card.read(reg::STATUS) & status::LU, 0);
    });
}

#[test]
fn causes_and_their_mask() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::ICS, 0x11);
        assert!(!card.irq());
        card.write(reg::IMS, 0x10);
        assert!(card.irq());
        card.write(reg::IMC, 0x10);
        assert!(!card.irq());
        card.write(reg::IMS, 1);
        assert_eq!((card.read(reg::ICS), card.read(reg::IMS)), (0x11, 1));
        card.write(reg::ICR, 1);
        assert!(!card.irq());
        assert_eq!((card.read(reg::ICR), card.read(reg::ICR)), (0x10, 0));
        card.write(reg::ICS, 1);
        assert!(card.irq());
        card.rig.reset();
        assert!(!card.irq());
    });
}

#[test]
fn interrupts_are_throttled() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::ITR, 1000);
        card.write(reg::IMS, 1);
        card.write(reg::ICS, 1);
        assert!(card.irq(), "the first comes at once");
        card.causes();
        card.rig.advance(us(100));
        card.write(reg::ICS, 1);
        assert!(!card.irq());
        card.rig.advance(us(155));
        assert!(!card.irq());
        card.rig.advance(us(2));
        assert!(card.irq(), "256 us after the first");
        card.causes();
        card.write(reg::ICS, 1);
        assert!(!card.irq());
        card.write(reg::ITR, 0);
        assert!(card.irq(), "a shorter interval holds at once");
    });
}

#[test]
fn received_frames_are_told_late() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::IMS, Cause::RXT0.bits());
        card.write(reg::RDTR, 100);
        card.write(reg::RADV, 150);
        card.start_rx(7, 0);
        card.arrives(&frame(MAC, 64));
        card.rig.advance(us(90));
        card.arrives(&frame(MAC, 64));
        assert!(!card.irq());
        card.rig.advance(us(60));
        assert!(!card.irq(), "the second frame began the delay anew");
        card.rig.advance(us(5));
        assert!(card.irq(), "but not beyond the absolute one");
        assert_eq!(card.causes(), Cause::RXT0);
        card.arrives(&frame(MAC, 64));
        assert!(!card.irq());
        card.write(reg::RDTR, 100 | RDTR_FPD);
        assert!(card.irq(), "all is told now");
        assert_eq!(card.read(reg::RDTR), 100);
        card.causes();
        // Masked: it shows in ICR when its time has come, and in the pin when it is let through.
        card.write(reg::IMC, !0);
        card.arrives(&frame(MAC, 64));
        card.rig.advance(us(100));
        assert_eq!(card.read(reg::ICS) & Cause::RXT0.bits(), 0);
        card.rig.advance(us(5));
        assert_ne!(card.read(reg::ICS) & Cause::RXT0.bits(), 0);
        card.write(reg::IMS, Cause::RXT0.bits());
        assert!(card.irq());
        card.causes();
        card.rig.advance(ms(1));
        assert!(!card.irq());
    });
}

#[test]
fn sent_frames_are_told_late() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::IMS, Cause::TXDW.bits());
        card.write(reg::TIDV, 100);
        card.start_tx();
        card.send(&frame([2; 6], 64), txd::IDE);
        assert!(!card.irq());
        card.rig.advance(us(103));
        assert!(card.irq());
        card.causes();
        card.send(&frame([2; 6], 64), 0);
        assert!(card.irq(), "this one may not wait");
    });
    // Without the timers.
    scenario(|rig| {
        let mut card = attach(rig, 0, Options { mitigation: false, ..Options::default() });
        card.write(reg::IMS, Cause::TXDW.bits());
        for register in [reg::TIDV, reg::ITR, reg::RDTR, reg::RADV, reg::TADV] {
            card.write(register, 100);
            assert_eq!(card.read(register), 0);
        }
        card.start_tx();
        card.send(&frame([2; 6], 64), txd::IDE);
        assert!(card.irq());
    });
}

#[test]
fn frames_are_counted() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_rx(7, rctl::MPE);
        card.start_tx();
        for (to, len) in [(MAC, 60), (BROADCAST, 61), ([1, 0, 0x5e, 0, 0, 1], 1000)] {
            card.arrives(&frame(to, len));
            card.send(&frame(to, len), 0);
        }
        let at = |card: &mut Card<'_>, registers: [u32; 6]| registers.map(|at| card.read(at));
        use stat::{BPRC, BPTC, GPRC, GPTC, MPRC, MPTC, PRC64, PTC64, TPR, TPT};
        assert_eq!(at(&mut card, [GPRC, TPR, BPRC, MPRC, PRC64, PRC64 + 4]), [3, 3, 1, 1, 1, 1]);
        assert_eq!(at(&mut card, [GPTC, TPT, BPTC, MPTC, PTC64, PTC64 + 16]), [3, 3, 1, 1, 1, 1]);
        assert_eq!(at(&mut card, [GPRC, TPR, BPRC, GPTC, PTC64, MPTC]), [0; 6], "reading clears");
        let bytes = 60 + 61 + 1000 + 12;
        for low in [stat::GORCL, stat::GOTCL, stat::TORL, stat::TOTL] {
            assert_eq!([low, low, low + 4, low].map(|at| card.read(at)), [bytes, bytes, 0, 0]);
        }
    });
}

#[test]
fn registers_keep_their_bits() {
    scenario(|rig| {
        let mut card = card(rig);
        for (register, mask) in [
            (reg::FCAL, !0),
            (reg::FCAH, 0xffff),
            (reg::FCT, 0xffff),
            (reg::VET, 0xffff),
            (reg::RDBAL, !0xf),
            (reg::RDBAH, !0),
            (reg::RDLEN, 0xf_ff80),
            (reg::RDH, 0xffff),
            (reg::FCRTH, 0xfff8),
            (reg::FCTTV, 0xffff),
            (reg::TIPG, 0x3fff_ffff),
            (reg::TDBAL, !0xf),
            (reg::TDLEN, 0xf_ff80),
            (reg::TIDV, 0xffff),
            (reg::RA + 12, 0x8003_ffff),
            (reg::VFTA, !0),
            (reg::MTA + 508, !0),
            (reg::STATUS, 0),
            (0x0034, 0),
            (0x1_fffc, 0),
        ] {
            let before = card.read(register) & !mask;
            for value in [0x5a5a_5a5a, 0xa5a5_a5a5, !0, 0] {
                card.write(register, value);
                assert_eq!(card.read(register), value & mask | before, "{register:#x}");
            }
        }
        let extra = Options { extra_registers: false, init_vet: false, ..Options::default() };
        let mut rig = Rig::new();
        let mut card = attach(&mut rig, 0, extra);
        card.write(reg::WUC, 1);
        assert_eq!((card.read(reg::WUC), card.read(reg::VET)), (0, 0));
        card.write(reg::WUFC, 1);
        assert_eq!(card.read(reg::WUFC), 1);
        let lanes: Vec<u64> = (0..4).map(|at| card.rig.mmio_read(MEMORY + 0x5400 + at, Size::B1)).collect();
        assert_eq!(lanes, [0x52, 0x54, 0, 0x12]);
    });
}
