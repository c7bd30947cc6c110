//! Registers of the 8237A ("High Performance Programmable DMA Controller", Intel 231466) and of the page
//! registers (82371SB, Intel 290550, section 2.5.1).

/// First port of the controller of channels 0 to 3; registers are one port apart.
pub const LOW: u16 = 0x00;
/// First port of the controller of channels 4 to 7; registers are two ports apart.
pub const HIGH: u16 = 0xc0;
/// First page register.
pub const PAGES: u16 = 0x80;

/// Register: status when read, command when written.
pub const STATUS_COMMAND: u64 = 0x8;
/// Register: request of one channel.
pub const REQUEST: u64 = 0x9;
/// Register: mask of one channel.
pub const MASK_ONE: u64 = 0xa;
/// Register: mode of one channel.
pub const MODE: u64 = 0xb;
/// Register: clears the byte pointer.
pub const CLEAR_POINTER: u64 = 0xc;
/// Register: master clear.
pub const CLEAR: u64 = 0xd;
/// Register: clears all masks.
pub const CLEAR_MASK: u64 = 0xe;
/// Register: all masks.
pub const MASK_ALL: u64 = 0xf;

/// Command: the controller is off.
pub const COMMAND_OFF: u8 = 0x04;
/// In single-channel registers: set, not clear.
pub const SET: u8 = 0x04;

/// Mode: transfer type.
pub const MODE_TYPE: u8 = 0x0c;
/// Mode: the transfer moves nothing.
pub const VERIFY: u8 = 0x00;
/// Mode: from the device to memory.
pub const TO_MEMORY: u8 = 0x04;
/// Mode: from memory to the device.
pub const FROM_MEMORY: u8 = 0x08;
/// Mode: begins anew after its end.
pub const AUTO: u8 = 0x10;
/// Mode: addresses go down.
pub const DOWN: u8 = 0x20;

/// Which page register belongs to each channel.
pub const PAGE_OF: [usize; 8] = [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa];
