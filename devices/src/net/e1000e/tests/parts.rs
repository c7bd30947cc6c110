//! Configuration space, registers, NVM, PHY, link.

use super::super::spec::{ctrl_ext, eecd};
use super::*;
use devices_core::Device;
use devices_core::rig::{ms, scenario};

#[test]
fn capabilities_are_in_qemus_places() {
    scenario(|rig| {
        let card = card(rig);
        let mut at = card.rig.config_read(SLOT, 0, 0x34, Size::B1) as u16;
        let mut found = Vec::new();
        while at != 0 {
            let word = card.rig.config_read(SLOT, 0, at, Size::B2);
            found.push((at, word as u8));
            at = (word >> 8) as u16;
        }
        assert_eq!(found, [(PM_AT, 1), (MSI_AT, 5), (EXPRESS_AT, 0x10), (MSIX_AT, 0x11)]);
        assert_eq!(card.rig.config_read(SLOT, 0, MSIX_AT + 2, Size::B2), 4);
        assert_eq!(card.rig.config_read(SLOT, 0, MSIX_AT + 8, Size::B4), 0x2003);
        assert_eq!(card.rig.config_read(SLOT, 0, EXPRESS_AT + 2, Size::B2), 1);
        assert_eq!(card.rig.config_read(SLOT, 0, PM_AT + 2, Size::B2), 0x22);
        for (bar, len) in [(0x10, 0x2_0000u32), (0x14, 0x2_0000), (0x18, 32), (0x1c, 0x4000)] {
            card.rig.config_write(SLOT, 0, bar, Size::B4, !0);
            let io = u32::from(bar == 0x18);
            assert_eq!(card.rig.config_read(SLOT, 0, bar, Size::B4), !(len - 1) | io);
        }
        card.rig.config_write(SLOT, 0, PM_AT + 4, Size::B2, 0xffff);
        assert_eq!(card.rig.config_read(SLOT, 0, PM_AT + 4, Size::B2), 0x1f03);
    });
}

#[test]
fn registers_are_reached_by_ports_and_at_old_places() {
    scenario(|rig| {
        let mut card = card(rig);
        card.rig.outl(PORTS, reg::VET);
        card.rig.outl(PORTS + 4, 0x88a8);
        assert_eq!((card.read(reg::VET), card.rig.inl(PORTS + 4)), (0x88a8, 0x88a8));
        card.rig.outl(PORTS, 0xffff_fff0);
        assert_eq!((card.rig.inl(PORTS), card.rig.inl(PORTS + 4)), (0xffff_fff0, 0));
        for (old, new) in [
            (0x0004, reg::CTRL),
            (0x0040, reg::RA),
            (0x0108, reg::RDTR),
            (0x0110, reg::RDBAL),
            (0x0118, reg::RDLEN),
            (0x0120, reg::RDH),
            (0x0128, reg::RDT),
            (0x0160, reg::FCRTH),
            (0x0168, reg::FCRTL),
            (0x0420, reg::TDBAL),
            (0x0430, reg::TDH),
            (0x0438, reg::TDT),
            (0x0440, reg::TIDV),
            (0x0604, reg::VFTA + 4),
        ] {
            card.write(old, 0x380);
            assert_eq!((card.read(old), card.read(new)), (0x380, 0x380), "{old:#x}");
        }
        let flash = card.rig.mmio_read(FLASH + 0x1000, Size::B4);
        assert_eq!(flash, 0xffff_ffff);
        assert_eq!(card.rig.mmio_read(TABLE + 0x3000, Size::B4), 0);
    });
}

#[test]
fn the_nvm_is_written_and_read_anew() {
    scenario(|rig| {
        let mut card = card(rig);
        assert_eq!((card.nvm(11), card.nvm(12), card.nvm(15)), (0x10d3, 0x8086, 0x8058));
        for (number, word) in [(0u32, 0x1102u32), (1, 0x3322), (2, 0x5544)] {
            card.write(reg::EEWR, word << 16 | number << eerd::ADDRESS_SHIFT | eerd::START);
        }
        assert_eq!(card.nvm(1), 0x3322);
        card.write(reg::EERD, 64 << eerd::ADDRESS_SHIFT | eerd::START);
        assert_eq!(card.read(reg::EERD) & eerd::DONE, 0, "there are 64 words");
        card.write(reg::CTRL_EXT, ctrl_ext::EE_RST);
        assert_eq!((card.read(reg::RA), card.read(reg::RA + 4)), (0x3322_1102, 0x8000_5544));
        assert_eq!(card.read(reg::CTRL_EXT), 0);
        assert_eq!(card.read(reg::EECD), eecd::PRES | eecd::AUTO_RD);
        card.write(reg::EECD, eecd::REQ);
        assert_eq!(card.read(reg::EECD), eecd::PRES | eecd::AUTO_RD | eecd::REQ | eecd::GNT);
    });
}

#[test]
fn the_phy_has_pages() {
    scenario(|rig| {
        let mut card = card(rig);
        card.set_phy(22, 2);
        assert_eq!((card.phy(16), card.phy(21), card.phy(2)), (0x0088, 0x1046, 0x0141));
        card.set_phy(16, 0x1234);
        card.set_phy(19, 0x1234);
        card.set_phy(22, 3);
        assert_eq!(card.phy(18), 0x4005);
        card.set_phy(22, 0xff);
        assert_eq!((card.phy(22), card.phy(16)), (0x7f, 0));
        card.set_phy(22, 2);
        assert_eq!((card.phy(16), card.phy(19)), (0x1234, 0));
        card.set_phy(22, 0);
        assert_eq!(card.phy(16), 0x3360);
        card.write(reg::MDIC, mdic::READ | 2 << mdic::PHY_SHIFT);
        assert_eq!(card.read(reg::MDIC) & (mdic::ERROR | mdic::READY), mdic::ERROR | mdic::READY);
        let control = card.read(reg::CTRL);
        card.write(reg::CTRL, control | ctrl::PHY_RST);
        card.set_phy(22, 2);
        assert_eq!(card.phy(16), 0x0088);
        // Negotiation by the OEM bits.
        card.set_phy(22, 0);
        card.set_phy(25, 1 << 10);
        assert_eq!((card.phy(25), card.read(reg::STATUS) & status::LU), (0, 0));
        card.rig.advance(ms(501));
        assert_ne!(card.read(reg::STATUS) & status::LU, 0);
        assert_eq!(card.causes(), Cause::LSC);
    });
}

#[test]
fn status_shows_speed_and_link() {
    scenario(|rig| {
        let mut card = card(rig);
        assert_eq!(card.read(reg::STATUS), 0x8_0283);
        let control = card.read(reg::CTRL);
        card.write(reg::CTRL, control & !ctrl::SPEED & !ctrl::FD | ctrl::FRCSPD | ctrl::FRCDPX | 1 << 8);
        assert_eq!(card.read(reg::STATUS), 0x8_0242, "100 Mbit/s, half duplex");
        card.write(reg::CTRL, control);
        card.write(reg::IMS, Cause::LSC.bits());
        card.slot.lock().set_link(false);
        assert!(card.irq());
        assert_eq!((card.read(reg::STATUS) & status::LU, card.phy(1) & 4), (0, 0));
        card.causes();
        card.start_rx(4, 0);
        card.arrives(&frame(MAC, 64));
        assert_eq!(card.net.left(), 1, "nothing comes without a cable");
        card.slot.lock().set_link(true);
        card.rig.advance(ms(501));
        assert_eq!((card.net.left(), card.causes() & Cause::LSC), (0, Cause::LSC));
    });
}

#[test]
fn a_reset_brings_back_what_was() {
    let mut rig = Rig::new();
    let mut card = card(&mut rig);
    let fresh = card.slot.lock().save().expect("it saves").body;
    card.start_msix();
    card.start_tx(1);
    card.start_rx(4, 0);
    card.set_phy(22, 3);
    card.write(reg::IMS, !0);
    card.write(reg::ICS, !0);
    card.write(reg::IVAR, !0);
    card.send(1, &frame([2; 6], 100), 0);
    card.rig.reset();
    place(card.rig);
    let again = card.slot.lock().save().expect("it saves").body;
    assert_eq!(again, fresh);
}
