//! Registers of the 82371SB's function 0 beyond the PCI header.

/// Interrupt route control of PIRQA; B, C and D follow.
pub const PIRQ_ROUTE: u16 = 0x60;
/// Route control: the link goes nowhere.
pub const PIRQ_OFF: u8 = 0x80;

/// Registers with a value at reset: (first offset, values). Data sheet section 2.2 where it gives one, and
/// otherwise what QEMU has.
pub const RESET: [(u16, &[u8]); 10] = [
    // Command: master, memory and I/O, which the bridge always is. Status: medium DEVSEL.
    (0x04, &[0x07, 0x00, 0x00, 0x02]),
    // I/O recovery: 8-bit default, 16-bit default.
    (0x4c, &[0x4d]),
    // XBCS: keyboard controller and RTC chip selects.
    (0x4e, &[0x03, 0x00]),
    (PIRQ_ROUTE, &[PIRQ_OFF; 4]),
    // Top of memory.
    (0x69, &[0x02]),
    // Motherboard device route.
    (0x70, &[0x80]),
    // Motherboard device DMA.
    (0x76, &[0x0c, 0x0c]),
    // Programmable chip select.
    (0x78, &[0x02, 0x00]),
    // SMI control.
    (0xa0, &[0x08]),
    // Fast-off timer.
    (0xa8, &[0x0f]),
];

/// Port of the reset control register.
pub const RCR: u16 = 0xcf9;
/// Reset control: hard rather than soft reset. The only bit that is kept.
pub const RCR_HARD: u8 = 1 << 1;
/// Reset control: reset now.
pub const RCR_NOW: u8 = 1 << 2;
