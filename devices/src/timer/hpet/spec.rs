//! Registers of the HPET ("IA-PC HPET (High Precision Event Timers) Specification", revision 1.0a,
//! section 2.3).

/// Where the PC has it.
pub const BASE: u64 = 0xfed0_0000;
/// Bytes that it decodes.
pub const SIZE: u64 = 0x400;
/// Timers.
pub const TIMERS: usize = 3;
/// One tick of the counter in nanoseconds.
pub const TICK: u64 = 10;

/// General capabilities: 10 ns in femtoseconds, Intel, legacy replacement, 64 bits, three timers,
/// revision 1.
pub const CAPABILITIES: u64 = 10_000_000 << 32 | 0x8086_a001 | (TIMERS as u64 - 1) << 8;

/// Offset of the capabilities.
pub const CAPS: u64 = 0x000;
/// Offset of the general configuration.
pub const CONFIG: u64 = 0x010;
/// Offset of the interrupt status.
pub const STATUS: u64 = 0x020;
/// Offset of the main counter.
pub const COUNTER: u64 = 0x0f0;
/// Offset of the first timer's registers.
pub const TIMER: u64 = 0x100;
/// Bytes between timers.
pub const TIMER_STRIDE: u64 = 0x20;

/// General configuration: the counter runs, interrupts go out.
pub const RUN: u64 = 1 << 0;
/// General configuration: timers 0 and 1 replace the 8254 and the clock.
pub const LEGACY: u64 = 1 << 1;

/// Timer: level triggered.
pub const T_LEVEL: u64 = 1 << 1;
/// Timer: interrupts.
pub const T_ENABLE: u64 = 1 << 2;
/// Timer: periodic.
pub const T_PERIODIC: u64 = 1 << 3;
/// Timer: the next comparator write sets the accumulator, too.
pub const T_SET: u64 = 1 << 6;
/// Timer: compares 32 bits.
pub const T_32: u64 = 1 << 8;
/// Timer: what the guest writes.
pub const T_WRITABLE: u64 = 0x3f4e;
/// Timer: can be periodic, has 64 bits, and can be routed to pin 2 alone, as QEMU's `pc-i440fx` has it.
pub const T_CAPABILITIES: u64 = 1 << 34 | 1 << 5 | 1 << 4;

/// Timer: the I/O APIC pin it is routed to.
pub fn route(config: u64) -> u32 {
    (config >> 9 & 0x1f) as u32
}
