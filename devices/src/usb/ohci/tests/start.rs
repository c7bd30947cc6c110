//! How drivers start the controller.
//!
//! **Linux** (`pci-quirks.c`, `ohci-pci.c`, `ohci-hcd.c`, `ohci-hub.c`): if HcControl.IR is set, OCR is asked for and IR waited
//! for; HcControl is written with RWC alone (the bus is reset), or kept if it is operational; HcInterruptDisable = all,
//! HcInterruptStatus = all; HcFmInterval is read and kept. HcRhDescriptorA tells the ports. HcInterruptDisable = MIE;
//! HcControl = reset; 50 ms; HcCommandStatus = HCR, polled until it is clear, at most 30 µs; HcControlHeadED and
//! HcBulkHeadED = 0, HcHCCA; HcFmInterval = (6 (FI - 210) / 7) << 16 | FI with FIT changed, HcPeriodicStart = 0.9 FI.
//! HcControl = CBSR and operational; HcRhStatus = DRWE; HcInterruptStatus = all; HcInterruptEnable = MIE, OC, UE, RD, WDH
//! (RHSC when the root hub asks). HcRhDescriptorA is written with NPS, HcRhDescriptorB = 0. A port: PRS, polled until it
//! is clear; PRSC cleared. PLE is set with the first periodic ED, CLE and BLE with the first of their lists, the current ED
//! set to 0 before; CLF or BLF after each TD. An ED goes by SKIP and a StartOfFrame interrupt, which is enabled for it.
//!
//! **Windows** (`usbohci`, by ReactOS's driver of that name): HcControl.IR is read; HcInterruptDisable = MIE; HcFmInterval is
//! read; HcCommandStatus = HCR, 25 µs; HcFmInterval written back with FSMPS and FIT; HcPeriodicStart; HcHCCA; then
//! HcInterruptEnable = OC, UE, RD (with SO, WDH, FNO by its interrupt mask), HcControl with CBSR and all four lists, operational;
//! HcRhStatus = LPSC. All lists are of static EDs from the beginning, 32 interrupt heads in a tree. Its health check reads
//! HcFmNumber, sets HccaPad1 to something, and wants it to be 0 some frames later.

use devices_core::rig::scenario;

use super::*;

#[test]
fn as_linux_does() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        assert_eq!(read(rig, reg::REVISION), 0x10);
        assert_eq!(read(rig, reg::CONTROL) & 0x100, 0, "no firmware has it");
        write(rig, reg::CONTROL, 0x200);
        write(rig, reg::INTERRUPT_DISABLE, 0xffff_ffff);
        write(rig, reg::INTERRUPT_STATUS, 0xffff_ffff);
        let interval = read(rig, reg::FM_INTERVAL) & 0x3fff;
        assert_eq!(interval, 0x2edf);
        assert_eq!(read(rig, reg::RH_DESCRIPTOR_A), 0x203);
        write(rig, reg::INTERRUPT_DISABLE, 1 << 31);
        write(rig, reg::CONTROL, 0x200);
        rig.advance(ms(50));
        write(rig, reg::COMMAND_STATUS, 1);
        assert_eq!(read(rig, reg::COMMAND_STATUS) & 1, 0, "the reset is over");
        assert_eq!(read(rig, reg::CONTROL) & 0xc0, 0xc0, "it sleeps");
        write(rig, reg::CONTROL_HEAD, 0);
        write(rig, reg::BULK_HEAD, 0);
        rig.poke(HCCA, &[0; 0x100]);
        write(rig, reg::HCCA, HCCA as u32);
        let toggled = read(rig, reg::FM_INTERVAL) & 1 << 31 ^ 1 << 31;
        write(rig, reg::FM_INTERVAL, toggled | (6 * (interval - 210) / 7) << 16 | interval);
        write(rig, reg::PERIODIC_START, interval * 9 / 10);
        assert_eq!(read(rig, reg::PERIODIC_START), 0x2a2f, "or else Linux gives up");
        assert_eq!(read(rig, reg::FM_INTERVAL) & 0x3fff_0000, 0x2778_0000);
        write(rig, reg::CONTROL, 0x83);
        write(rig, reg::RH_STATUS, 1 << 15);
        write(rig, reg::INTERRUPT_STATUS, 0xffff_ffff);
        write(rig, reg::INTERRUPT_ENABLE, 0xc000_001a);
        write(rig, reg::RH_DESCRIPTOR_A, 0x200);
        write(rig, reg::RH_DESCRIPTOR_B, 0);
        write(rig, reg::RH_STATUS, 1 << 16);
        rig.advance(ms(20));
        write(rig, reg::INTERRUPT_STATUS, 0x40);
        write(rig, reg::INTERRUPT_ENABLE, 0x40);
        assert_eq!(read(rig, port_reg(port)), 0x1_0101);
        write(rig, port_reg(port), 1 << 16);
        assert!(rig.irq(IRQ), "a port has changed");
        write(rig, reg::INTERRUPT_STATUS, 0x40);
        assert!(!rig.irq(IRQ));
        enable(rig, port);
        // The first ED of the control list.
        poke(rig, CONTROL_ED, &[ed::SKIP, 0, 0, 0]);
        write(rig, reg::CONTROL_HEAD, CONTROL_ED as u32);
        write(rig, reg::CONTROL_CURRENT, 0);
        write(rig, reg::CONTROL, 0x93);
        assert_eq!(request(rig, 0, get(0x80, 6, 0x100, 8), &[]).unwrap(), [18, 1, 0, 2, 0, 0, 0, 8]);
        assert_eq!(request(rig, 0, get(0, 5, 2, 0), &[]), Ok(vec![]));
        assert_eq!(request(rig, 2, get(0, 9, 1, 0), &[]), Ok(vec![]));
        // The first of the periodic list, in every eighth frame.
        ask(rig, 2);
        for n in (0..32).step_by(8) {
            poke(rig, HCCA + 4 * n, &[INTERRUPT_ED as u32]);
        }
        write(rig, reg::CONTROL, 0x97);
        rig.advance(ms(300));
        point(&ports, port, 10, 20, 0);
        rig.advance(ms(16));
        assert_eq!(answer(rig), Some(vec![0, 10, 0, 20, 0, 0]));
        assert!(rig.irq(IRQ));
        assert_eq!(take_done(rig) & !0xf, INTERRUPT_TD as u32);
        // It goes: skipped, and the frame after that is told of.
        poke(rig, INTERRUPT_ED, &[ed::SKIP]);
        write(rig, reg::INTERRUPT_STATUS, 4);
        write(rig, reg::INTERRUPT_ENABLE, 4);
        rig.advance(ms(1));
        assert!(rig.irq(IRQ));
        write(rig, reg::INTERRUPT_DISABLE, 4);
        assert!(!rig.irq(IRQ));
    });
}

#[test]
fn as_windows_does() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        assert_eq!(read(rig, reg::CONTROL) & 0x100, 0);
        write(rig, reg::INTERRUPT_DISABLE, 1 << 31);
        let interval = read(rig, reg::FM_INTERVAL);
        write(rig, reg::COMMAND_STATUS, 1);
        rig.advance(25_000);
        assert_eq!(read(rig, reg::COMMAND_STATUS) & 1, 0);
        write(rig, reg::FM_INTERVAL, interval & 0x3fff | 0x2778_0000 | 1 << 31);
        write(rig, reg::PERIODIC_START, 0x2a2f);
        rig.poke(HCCA, &[0; 0x100]);
        write(rig, reg::HCCA, HCCA as u32);
        write(rig, reg::INTERRUPT_ENABLE, 0x4000_003b);
        // Static endpoints, all skipped: a tree of interrupt heads, which ends in one.
        for n in 0..32 {
            let leaf = 0x4000 + n * 0x10;
            poke(rig, HCCA + 4 * n, &[leaf as u32]);
            poke(rig, leaf, &[ed::SKIP, 0, 0, INTERRUPT_ED as u32]);
        }
        for at in [CONTROL_ED, BULK_ED, INTERRUPT_ED] {
            poke(rig, at, &[ed::SKIP, 0, 0, 0]);
        }
        write(rig, reg::CONTROL_HEAD, CONTROL_ED as u32);
        write(rig, reg::BULK_HEAD, BULK_ED as u32);
        write(rig, reg::CONTROL, 0xbf);
        write(rig, reg::RH_STATUS, 1 << 16);
        write(rig, reg::INTERRUPT_ENABLE, 0x8000_0040);
        rig.advance(ms(2));
        // The reset has cleared that a port has changed; its own register tells.
        assert_eq!(read(rig, port_reg(port)), 0x1_0101);
        write(rig, port_reg(port), 1 << 16);
        assert!(rig.irq(IRQ));
        configure(rig, port, 1);
        // Its health.
        let number = read(rig, reg::FM_NUMBER);
        rig.poke(HCCA + 0x82, &0xbad_u16.to_le_bytes());
        rig.advance(ms(500));
        assert_eq!(read(rig, reg::FM_NUMBER), number + 500);
        assert_eq!(word(rig, HCCA + 0x80), number + 500, "HccaPad1 is 0");
        ask(rig, 1);
        rig.advance(ms(100));
        point(&ports, port, 0x7fff, 1, 2);
        rig.advance(ms(2));
        assert_eq!(answer(rig), Some(vec![2, 0xff, 0x7f, 1, 0, 0]));
    });
}
