//! Registers of the local APIC, by offset in its page divided by 16 (SDM volume 3, table "Local APIC Register
//! Address Map"). The x2APIC's MSR of a register is 0x800 plus this.
#![allow(missing_docs)]

pub const ID: u32 = 0x02;
pub const VERSION: u32 = 0x03;
pub const TPR: u32 = 0x08;
pub const APR: u32 = 0x09;
pub const PPR: u32 = 0x0a;
pub const EOI: u32 = 0x0b;
pub const LDR: u32 = 0x0d;
pub const DFR: u32 = 0x0e;
pub const SVR: u32 = 0x0f;
pub const ISR: u32 = 0x10;
pub const TMR: u32 = 0x18;
pub const IRR: u32 = 0x20;
pub const ESR: u32 = 0x28;
pub const ICR: u32 = 0x30;
pub const ICR_HIGH: u32 = 0x31;
pub const LVT_TIMER: u32 = 0x32;
pub const LVT_ERROR: u32 = 0x37;
pub const INITIAL: u32 = 0x38;
pub const CURRENT: u32 = 0x39;
pub const DIVIDE: u32 = 0x3e;
pub const SELF_IPI: u32 = 0x3f;

/// Elements of the LVT, in register order from [`LVT_TIMER`].
pub mod lvt {
    pub const TIMER: usize = 0;
    pub const THERMAL: usize = 1;
    pub const PERF: usize = 2;
    pub const LINT0: usize = 3;
    pub const LINT1: usize = 4;
    pub const ERROR: usize = 5;
    pub const COUNT: usize = 6;
    /// Masked.
    pub const MASK: u32 = 1 << 16;
    /// Bits that can be written, by element.
    pub const WRITABLE: [u32; COUNT] = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];
}

/// Version 0x14, highest LVT element 5.
pub const VERSION_VALUE: u32 = 0x5_0014;
/// SVR: software enable.
pub const SVR_ENABLE: u32 = 1 << 8;
/// SVR: vector, enable, and focus checking, which AMD's have.
pub const SVR_WRITABLE: u32 = 0x3ff;

/// Bits that an x2APIC's register takes; any other is #GP (APM volume 2, 16.11; SDM volume 3, 11.12.1.2). Of the LVT
/// those that can only be read are let through, for whoever writes back what it read.
pub fn x2apic_writable(reg: u32) -> u64 {
    match reg {
        TPR | SELF_IPI => 0xff,
        EOI | ESR => 0,
        SVR => SVR_WRITABLE as u64,
        // Vector, mode, logical, level, trigger and shorthand; the destination above.
        ICR => !0xffff_ffff | 0xc_dfff,
        LVT_TIMER..=LVT_ERROR => (lvt::WRITABLE[(reg - LVT_TIMER) as usize] | 0x5000) as u64,
        DIVIDE => 0xb,
        _ => 0xffff_ffff,
    }
}

/// Delivery modes.
pub mod delivery {
    pub const FIXED: u32 = 0;
    pub const LOWEST: u32 = 1;
    pub const NMI: u32 = 4;
    pub const INIT: u32 = 5;
    pub const STARTUP: u32 = 6;
    pub const EXTINT: u32 = 7;
}

/// ESR bits.
pub mod esr {
    pub const SEND_ILLEGAL: u32 = 1 << 5;
    pub const RECEIVE_ILLEGAL: u32 = 1 << 6;
    pub const ILLEGAL_REGISTER: u32 = 1 << 7;
}

/// IA32_APIC_BASE.
pub mod base {
    pub const BSP: u64 = 1 << 8;
    pub const X2APIC: u64 = 1 << 10;
    pub const ENABLE: u64 = 1 << 11;
    pub const DEFAULT: u64 = 0xfee0_0000;
}
