//! Statistics: counters that stop at their highest value and are cleared by reading them.

use super::registers::Registers;
use super::spec::stat;

/// The check sequence, which counts.
const FCS: usize = 4;

/// Counts one.
pub fn count(registers: &mut Registers, offset: u32) {
    registers.set(offset, registers.get(offset).saturating_add(1));
}

/// Adds to a counter of 64 bits.
fn add(registers: &mut Registers, low: u32, more: usize) {
    let value = u64::from(registers.get(low)) | u64::from(registers.get(low + 4)) << 32;
    let value = value.saturating_add(more as u64);
    registers.set(low, value as u32);
    registers.set(low + 4, (value >> 32) as u32);
}

/// Counts a frame among those of its size; `first` is the register of 64 bytes.
fn size(registers: &mut Registers, first: u32, bytes: usize) {
    let class = match bytes {
        0..64 => return,
        64 => 0,
        65..128 => 1,
        128..256 => 2,
        256..512 => 3,
        512..1024 => 4,
        _ => 5,
    };
    count(registers, first + 4 * class);
}

/// To whom a frame goes.
fn group(frame: &[u8], broadcast: u32, multicast: u32) -> Option<u32> {
    if frame.starts_with(&[0xff; 6]) {
        Some(broadcast)
    } else {
        frame.first().filter(|first| **first & 1 != 0).map(|_| multicast)
    }
}

/// A frame was sent.
pub fn transmitted(registers: &mut Registers, frame: &[u8]) {
    let bytes = frame.len() + FCS;
    size(registers, stat::PTC64, bytes);
    count(registers, stat::TPT);
    count(registers, stat::GPTC);
    add(registers, stat::TOTL, bytes);
    add(registers, stat::GOTCL, bytes);
    if let Some(counter) = group(frame, stat::BPTC, stat::MPTC) {
        count(registers, counter);
    }
}

/// A frame was received.
pub fn received(registers: &mut Registers, frame: &[u8]) {
    let bytes = frame.len() + FCS;
    size(registers, stat::PRC64, bytes);
    count(registers, stat::TPR);
    count(registers, stat::GPRC);
    add(registers, stat::TORL, bytes);
    add(registers, stat::GORCL, bytes);
    if let Some(counter) = group(frame, stat::BPRC, stat::MPRC) {
        count(registers, counter);
    }
}

/// A frame was lost for want of buffers.
pub fn lost(registers: &mut Registers) {
    count(registers, stat::RNBC);
    count(registers, stat::MPC);
}

/// A guest's read: the register is cleared, the low half of a counter of 64 bits with the high one.
pub fn read(registers: &mut Registers, offset: u32) -> u32 {
    let value = registers.get(offset);
    match offset {
        stat::GORCL | stat::GOTCL | stat::TORL | stat::TOTL => {}
        _ => registers.set(offset, 0),
    }
    if [stat::GORCL, stat::GOTCL, stat::TORL, stat::TOTL].contains(&(offset - 4)) {
        registers.set(offset - 4, 0);
    }
    value
}
