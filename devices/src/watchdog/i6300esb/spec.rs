//! Registers, by Intel's 6300ESB datasheet (document 300641), chapter "Watchdog Timer".

/// Intel.
pub const VENDOR: u16 = 0x8086;
/// The watchdog of the 6300ESB, device 29, function 4 there.
pub const DEVICE: u16 = 0x25ab;
/// Bytes of BAR 0, memory.
pub const LEN: u64 = 16;

/// Configuration space: WDT configuration, 16 bits.
pub const CONFIG: u16 = 0x60;
/// The output WDT_TOUT#, which resets the machine, is disabled.
pub const OUTPUT_DISABLED: u16 = 1 << 5;
/// The prescaler: 1 is 1 us a tick, 0 is 1 ms.
pub const PRESCALE: u16 = 1 << 2;
/// What the first stage's end does: interrupt, reserved, SMI, nothing.
pub const INT_TYPE: u16 = 3;

/// Configuration space: WDT lock, 8 bits.
pub const LOCK: u16 = 0x68;
/// Free-running: the second stage's end begins the first again.
pub const FREE_RUN: u8 = 1 << 2;
/// The timer runs.
pub const ENABLE: u8 = 1 << 1;
/// Until the next reset this register is read-only.
pub const LOCKED: u8 = 1 << 0;

/// Memory: preload value 1, the first stage's length.
pub const PRELOAD1: u64 = 0x0;
/// Preload value 2, the second's.
pub const PRELOAD2: u64 = 0x4;
/// Bits of a preload value.
pub const PRELOAD: u32 = 0xf_ffff;
/// Reload, which also takes the sequence that lets one write of the others through.
pub const RELOAD: u64 = 0xc;
/// First value of the sequence.
pub const UNLOCK1: u16 = 0x80;
/// Second value.
pub const UNLOCK2: u16 = 0x86;
/// Begins the first stage anew.
pub const RELOAD_NOW: u16 = 1 << 8;
/// The watchdog has reset the machine; a write of one clears it.
pub const TIMED_OUT: u16 = 1 << 9;
/// The same bit, where Linux looked for it up to 5.4 (and QEMU shows it).
pub const TIMED_OUT_AS_LINUX: u16 = 1 << 12;

/// Ticks of the 33 MHz PCI clock that are one count, at 1 ms and at 1 us.
pub const SCALES: [u32; 2] = [1 << 15, 1 << 5];
/// The clock.
pub const HERTZ: u64 = 33_000_000;

/// Nanoseconds of a stage of so many counts.
pub const fn length(counts: u32, scale: u32) -> u64 {
    // 2^35 clocks at most.
    counts as u64 * scale as u64 * 1_000 / (HERTZ / 1_000_000)
}
/// Nanoseconds of the longest stage.
pub const LONGEST: u64 = length(PRELOAD, SCALES[0]);
