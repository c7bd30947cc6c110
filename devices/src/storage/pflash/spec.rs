//! Commands and registers of the Intel command set: Intel StrataFlash Memory (J3), datasheet 290667, "Command
//! Definitions" and "Status Register Definitions", and JEDEC JESD68.01 (CFI). Where QEMU's chip differs, OVMF relies on
//! QEMU's.

/// Bytes of an erase block of the PC's chips (QEMU's `sector-length`).
pub const BLOCK: usize = 4096;

/// Bytes of its buffer, whose place is a multiple of them.
pub const BUFFER: usize = 256;

/// What the last command made of the chip: reads give this.
pub mod command {
    /// QEMU's own code for the state after power-on, when reads give the contents.
    pub const ARRAY: u8 = 0x00;
    /// One byte, word or double word is programmed by the next write.
    pub const PROGRAM: u8 = 0x10;
    /// Erases a block; the next write confirms it.
    pub const ERASE: u8 = 0x20;
    /// As [`PROGRAM`].
    pub const PROGRAM_ALTERNATE: u8 = 0x40;
    /// Clears the status register. On QEMU's chip reads give the contents afterwards.
    pub const CLEAR_STATUS: u8 = 0x50;
    /// Locks or unlocks a block, as the next write says.
    pub const LOCK: u8 = 0x60;
    /// Reads give the status register.
    pub const READ_STATUS: u8 = 0x70;
    /// Reads give the identity.
    pub const READ_ID: u8 = 0x90;
    /// Reads give the table of CFI.
    pub const QUERY: u8 = 0x98;
    /// The next write confirms; also: the block is to be unlocked.
    pub const CONFIRM: u8 = 0xd0;
    /// Many programs: their number less one, then the data, then [`CONFIRM`].
    pub const WRITE_BUFFER: u8 = 0xe8;
    /// AMD's chips go back to their contents by it; probes for those send it.
    pub const AMD_RESET: u8 = 0xf0;
    /// Reads give the contents.
    pub const READ_ARRAY: u8 = 0xff;
    /// Behind [`LOCK`]: the block is to be locked.
    pub const LOCK_BLOCK: u8 = 0x01;
}

/// Bits of the status register.
pub mod status {
    /// SR.7: the write state machine is ready. On QEMU's chip [`CLEAR_STATUS`](super::command::CLEAR_STATUS) clears it,
    /// and OVMF knows a flash by that.
    pub const READY: u8 = 0x80;
    /// SR.5: a block was not erased.
    pub const ERASE_ERROR: u8 = 0x20;
    /// SR.4: something was not programmed.
    pub const PROGRAM_ERROR: u8 = 0x10;
}

/// Entries of the table of CFI: JESD68.01, "Query Structure". A chip of x8 has an entry at every byte.
pub fn query(at: u64, size: u64) -> u8 {
    let blocks = (size / BLOCK as u64).saturating_sub(1);
    match at {
        0x10 => b'Q',
        0x11 => b'R',
        0x12 => b'Y',
        // The command set is Intel's; its own table is at 0x31.
        0x13 => 0x01,
        0x15 => 0x31,
        // Vcc from 4.5 to 5.5 V, no Vpp.
        0x1b => 0x45,
        0x1c => 0x55,
        // 128 us for a byte or a buffer, 1 s for a block: typically, and 16 times that at most.
        0x1f | 0x20 => 0x07,
        0x21 => 0x0a,
        0x23..=0x25 => 0x04,
        0x27 => size.trailing_zeros() as u8,
        // x8 and x16.
        0x28 => 0x02,
        // The buffer has 256 bytes.
        0x2a => 0x08,
        // One region of equal blocks: their number less one, their length in units of 256 bytes.
        0x2c => 0x01,
        0x2d => blocks as u8,
        0x2e => (blocks >> 8) as u8,
        0x2f => (BLOCK >> 8) as u8,
        0x30 => (BLOCK >> 16) as u8,
        0x31 => b'P',
        0x32 => b'R',
        0x33 => b'I',
        0x34 => b'1',
        0x35 => b'0',
        0x3f => 0x01,
        _ => 0,
    }
}
