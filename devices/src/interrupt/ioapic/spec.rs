//! Registers of the 82093AA I/O APIC (Intel 290566) and of its successor's EOI register (ICH, "I/O
//! Advanced Programmable Interrupt Controller", version 0x20).

/// Where the PC has it.
pub const BASE: u64 = 0xfec0_0000;
/// Bytes that it decodes.
pub const SIZE: u64 = 0x1000;

/// Offset of the register select.
pub const IOREGSEL: u64 = 0x00;
/// Offset of the data window.
pub const IOWIN: u64 = 0x10;
/// Offset of the end of interrupt register.
pub const EOI: u64 = 0x40;

/// Indirect register: identification, bits 27:24.
pub const ID: u8 = 0x00;
/// Indirect register: version and number of pins.
pub const VERSION: u8 = 0x01;
/// Indirect register: arbitration identification.
pub const ARBITRATION: u8 = 0x02;
/// First half of the first redirection entry.
pub const REDIRECTION: u8 = 0x10;

/// Pins.
pub const PINS: usize = 24;
/// Version 0x20 (has an EOI register), and the number of the last pin.
pub const VERSION_VALUE: u32 = (PINS as u32 - 1) << 16 | 0x20;
/// Bits of the identification.
pub const ID_MASK: u32 = 0x0f00_0000;

/// Redirection entry: a local APIC has accepted a level interrupt and not ended it; read only.
pub const REMOTE_IRR: u64 = 1 << 14;
/// Redirection entry: level triggered.
pub const LEVEL: u64 = 1 << 15;
/// Redirection entry: masked.
pub const MASKED: u64 = 1 << 16;
/// Redirection entry: what the guest writes.
pub const WRITABLE: u64 = 0xff00_0000_0001_afff;

/// Message address of the processor interrupt block (Intel SDM volume 3, 11.11.1).
pub const MSI_ADDRESS: u64 = 0xfee0_0000;
/// Message data: the level is asserted (level triggered only).
pub const MSI_ASSERT: u32 = 1 << 14;
/// Message data: level triggered.
pub const MSI_LEVEL: u32 = 1 << 15;
