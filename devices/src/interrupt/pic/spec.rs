//! Registers of the 8259A ("8259A Programmable Interrupt Controller", Intel 231468) and of the edge/level
//! control of the 82371SB (PIIX3, Intel 290550, section 2.5.6).

/// Command port of the master (A0 = 0); the data port follows.
pub const MASTER: u16 = 0x20;
/// Command port of the slave.
pub const SLAVE: u16 = 0xa0;
/// ELCR of the master; that of the slave follows.
pub const ELCR: u16 = 0x4d0;

/// Input of the master that the slave's output drives.
pub const CASCADE: u8 = 2;

/// Command byte: this is ICW1.
pub const ICW1: u8 = 0x10;
/// ICW1: ICW4 follows.
pub const ICW1_IC4: u8 = 0x01;
/// ICW1: no ICW3, the chip is alone.
pub const ICW1_SNGL: u8 = 0x02;
/// ICW2: the bits of the vector that the chip does not make itself.
pub const ICW2_BASE: u8 = 0xf8;
/// ICW4: automatic end of interrupt.
pub const ICW4_AEOI: u8 = 0x02;
/// ICW4: special fully nested mode.
pub const ICW4_SFNM: u8 = 0x10;

/// Command byte, ICW1 bit clear: this is OCW3.
pub const OCW3: u8 = 0x08;
/// OCW3: read register command; bit 0 tells which.
pub const OCW3_RR: u8 = 0x02;
/// OCW3, with RR: in-service register, else request register.
pub const OCW3_RIS: u8 = 0x01;
/// OCW3: poll command.
pub const OCW3_POLL: u8 = 0x04;
/// OCW3: set or clear special mask mode.
pub const OCW3_ESMM: u8 = 0x40;
/// OCW3, with ESMM: which.
pub const OCW3_SMM: u8 = 0x20;

/// Poll byte: an interrupt was there.
pub const POLL_INT: u8 = 0x80;

/// Inputs of the master and of the slave that may be level triggered: not the timer, the keyboard, the
/// cascade, the clock and the coprocessor.
pub const ELCR_MASK: [u8; 2] = [0xf8, 0xde];
