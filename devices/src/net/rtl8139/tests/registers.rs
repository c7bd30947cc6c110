//! Registers, EEPROM, PHY, timer.

use devices_core::pci::reg as pci_reg;
use devices_core::rig::{ms, us};

use super::*;

#[test]
fn it_is_the_card_that_drivers_look_for() {
    scenario(|rig| {
        Card::new(rig);
        assert_eq!(rig.config_read(SLOT, 0, 0, Size::B4), 0x8139_10ec);
        assert_eq!(rig.config_read(SLOT, 0, 8, Size::B4), 0x0200_0020);
        assert_eq!(rig.config_read(SLOT, 0, pci_reg::SUBSYSTEM_VENDOR, Size::B4), 0x1100_1af4);
        assert_eq!(rig.config_read(SLOT, 0, pci_reg::INTERRUPT_PIN, Size::B1), 1);
        let sized = |rig: &mut Rig, bar: u16| {
            let before = rig.config_read(SLOT, 0, bar, Size::B4);
            rig.config_write(SLOT, 0, bar, Size::B4, u32::MAX);
            let mask = rig.config_read(SLOT, 0, bar, Size::B4);
            rig.config_write(SLOT, 0, bar, Size::B4, before);
            mask
        };
        assert_eq!((sized(rig, 0x10), sized(rig, 0x14)), (0xffff_ff01, 0xffff_ff00));
        assert_eq!((0..6).map(|at| read8(rig, at)).collect::<Vec<_>>(), MAC);
        assert_eq!(read32(rig, reg::TCR), 0x7480_0000);
        assert_eq!(read8(rig, reg::CR), cr::BUFE);
        assert_eq!(read16(rig, reg::CAPR), 0xfff0);
        assert_eq!(read16(rig, reg::TSAD_SUMMARY), 0x000f);
        assert_eq!([reg::CONFIG1, reg::CONFIG3].map(|at| read8(rig, at)), [0x0c, 0x01]);
    });
}

#[test]
fn every_width_reaches_every_register() {
    scenario(|rig| {
        Card::new(rig);
        write32(rig, reg::RBSTART, 0x1234_5678);
        assert_eq!(read8(rig, reg::RBSTART + 1), 0x56);
        assert_eq!(read16(rig, reg::RBSTART + 2), 0x1234);
        write8(rig, reg::RBSTART + 3, 0xab);
        assert_eq!(read32(rig, reg::RBSTART), 0xab34_5678);
        // Mask and status in one go, as some drivers do it.
        write32(rig, reg::IMR, 0xffff_e1ff);
        assert_eq!(read32(rig, reg::IMR), 0x0000_e1ff);
        // The last byte there is.
        assert_eq!(read8(rig, 0xff), 0);
        write8(rig, 0xff, 1);
        write32(rig, reg::MAR + 4, 0x8000_0001);
        assert_eq!(read32(rig, reg::MAR + 4), 0x8000_0001);
    });
}

#[test]
fn a_software_reset_leaves_the_station_as_it_is() {
    scenario(|rig| {
        Card::new(rig);
        write32(rig, reg::IDR, 0x0302_0102);
        write32(rig, reg::MAR, 0x5555_aaaa);
        write16(rig, reg::IMR, int::ROK);
        write32(rig, reg::TIMER_INT, 1000);
        write8(rig, reg::CR, cr::RE | cr::TE);
        write32(rig, reg::TCR, 0x0300_0600);
        assert_eq!(read32(rig, reg::TCR), 0x7780_0600);
        write8(rig, reg::CR, cr::RST);
        assert_eq!(read8(rig, reg::CR), cr::BUFE, "and it is over");
        assert_eq!(read32(rig, reg::TCR), 0x7480_0000);
        assert_eq!((read16(rig, reg::IMR), read32(rig, reg::TIMER_INT)), (0, 0));
        assert_eq!((read32(rig, reg::IDR), read32(rig, reg::MAR)), (0x0302_0102, 0x5555_aaaa));
        write32(rig, reg::TCR, 0x0300_0600);
        assert_eq!(read32(rig, reg::TCR), 0x7480_0000, "not while the transmitter is off");
        rig.reset();
        rig.config_write(SLOT, 0, 0x10, Size::B4, PORTS.into());
        rig.config_write(SLOT, 0, 0x14, Size::B4, MEMORY as u32);
        rig.config_write(SLOT, 0, 0x04, Size::B2, 3);
        assert_eq!((0..6).map(|at| read8(rig, at)).collect::<Vec<_>>(), MAC);
    });
}

#[test]
fn configuration_is_locked() {
    scenario(|rig| {
        Card::new(rig);
        let places = [reg::CONFIG0, reg::CONFIG1, reg::CONFIG3, reg::CONFIG4, reg::CONFIG5];
        let write = |rig: &mut Rig, value| places.map(|at| write8(rig, at, value));
        let read = |rig: &mut Rig| places.map(|at| read8(rig, at));
        write(rig, 0xff);
        assert_eq!(read(rig), [0, 0x0c, 0x01, 0, 0x7f]);
        write8(rig, reg::CFG9346, 0xc0);
        write(rig, 0xff);
        assert_eq!(read(rig), [7, 0xff, 0x71, 0xf5, 0x7f]);
        write8(rig, reg::CFG9346, 0);
        write(rig, 0);
        assert_eq!(read(rig), [7, 0xff, 0x71, 0xf5, 0]);
        // Loading the EEPROM brings back what it has.
        write8(rig, reg::CFG9346, 0x40);
        assert_eq!(read(rig), [0, 0x0c, 0x01, 0, 0]);
        assert_eq!(read8(rig, reg::CFG9346), 0);
    });
}

/// Shifts bits into the EEPROM as 8139too does: select and data, then the clock up and down.
fn eeprom(rig: &mut Rig, bits: u32, count: u32) -> u32 {
    let mut seen = 0;
    for bit in (0..count).rev() {
        let data = (bits >> bit & 1) as u8 * 2;
        write8(rig, reg::CFG9346, 0x88 | data);
        write8(rig, reg::CFG9346, 0x8c | data);
        seen = seen << 1 | u32::from(read8(rig, reg::CFG9346) & 1);
    }
    write8(rig, reg::CFG9346, 0x88);
    seen
}

fn eeprom_word(rig: &mut Rig, address: u32, address_bits: u32) -> u32 {
    write8(rig, reg::CFG9346, 0x80);
    write8(rig, reg::CFG9346, 0x88);
    eeprom(rig, 0b110 << address_bits | address, 3 + address_bits);
    let word = eeprom(rig, 0, 16);
    write8(rig, reg::CFG9346, 0);
    word
}

#[test]
fn the_eeprom_is_read_and_written_by_its_wires() {
    scenario(|rig| {
        let card = Card::new(rig);
        assert_ne!(eeprom_word(rig, 0, 8), 0x8129, "its addresses have six bits, not eight");
        let words = [0, 1, 2, 3, 7, 8, 9].map(|at| eeprom_word(rig, at, 6));
        assert_eq!(words, [0x8129, 0x10ec, 0x8139, 0, 0x5452, 0x1200, 0x5634]);
        // Another address for good: write enable, a word, write disable.
        for (command, value) in [(0x30, 0), (0x47, 0x0602), (0, 0)] {
            write8(rig, reg::CFG9346, 0x80);
            write8(rig, reg::CFG9346, 0x88);
            eeprom(rig, 1 << 8 | command, 9);
            if command & 0x40 != 0 {
                eeprom(rig, value, 16);
            }
            write8(rig, reg::CFG9346, 0x80);
        }
        assert_eq!(read16(rig, reg::IDR), 0x5452);
        write8(rig, reg::CFG9346, 0x40);
        assert_eq!(read16(rig, reg::IDR), 0x0602);
        assert_eq!(card.slot.lock().mac(), MAC, "what it was made with stays");
    });
}

#[test]
fn the_timer_counts_and_interrupts() {
    scenario(|rig| {
        Card::new(rig);
        rig.advance(us(7));
        write32(rig, reg::TCTR, 0);
        assert_eq!(read32(rig, reg::TCTR), 0);
        rig.advance(us(3));
        assert_eq!(read32(rig, reg::TCTR), 100);
        write16(rig, reg::IMR, int::TIMEOUT);
        write32(rig, reg::TIMER_INT, 1000);
        rig.advance(us(27) - 1);
        assert_eq!(read16(rig, reg::ISR), 0);
        rig.advance(1);
        assert!(rig.irq(IRQ));
        assert_eq!(interrupts(rig), int::TIMEOUT);
        // Again when it has gone round, and not before.
        rig.advance((30 << 32) - 1);
        assert_eq!(read16(rig, reg::ISR), 0);
        rig.advance(1);
        assert_eq!(interrupts(rig), int::TIMEOUT);
        write32(rig, reg::TCTR, 0);
        write32(rig, reg::TIMER_INT, 0);
        rig.advance(30 << 33);
        assert_eq!(read16(rig, reg::ISR), 0, "0 is never");
    });
}

#[test]
fn the_link_comes_and_goes() {
    scenario(|rig| {
        let card = Card::new(rig);
        assert_eq!(read8(rig, reg::MSR), 0xd0);
        assert_eq!(read16(rig, reg::BMSR), 0x782d);
        write16(rig, reg::IMR, int::LINK);
        card.slot.lock().set_link(true);
        assert!(!rig.irq(IRQ), "it was in");
        card.slot.lock().set_link(false);
        assert!(rig.irq(IRQ));
        assert_eq!(interrupts(rig), int::LINK);
        assert_eq!((read8(rig, reg::MSR), read16(rig, reg::BMSR)), (0xd4, 0x7829));
        assert!(!card.slot.lock().link());
        rig.reset();
        assert!(!card.slot.lock().link(), "a reset does not plug it in");
        card.slot.lock().set_link(true);
        assert!(card.slot.lock().link());
    });
}

#[test]
fn the_phy_answers() {
    scenario(|rig| {
        Card::new(rig);
        let places = [reg::BMCR, reg::ANAR, reg::ANLPAR, reg::ANER, reg::CSCR];
        assert_eq!(places.map(|at| read16(rig, at)), [0x1000, 0x05e1, 0x05e1, 1, 0x0340]);
        write16(rig, reg::ANAR, 0x01e1);
        write16(rig, reg::BMCR, 0x2300);
        assert_eq!((read16(rig, reg::BMCR), read16(rig, reg::ANAR)), (0x2100, 0x01e1));
        write16(rig, reg::BMCR, 0x8000);
        assert_eq!((read16(rig, reg::BMCR), read16(rig, reg::ANAR)), (0x1000, 0x05e1));
    });
}

#[test]
fn a_restart_of_the_timer_does_not_fire_it() {
    scenario(|rig| {
        Card::new(rig);
        write32(rig, reg::TIMER_INT, 1_000_000);
        rig.advance(ms(29));
        write32(rig, reg::TCTR, 0);
        rig.advance(ms(29));
        assert_eq!(read16(rig, reg::ISR), 0);
        rig.advance(ms(1));
        assert_eq!(read16(rig, reg::ISR), int::TIMEOUT);
    });
}
