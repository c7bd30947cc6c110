//! The unit's registers: stack, tags, control and status words, pointers, and the MMX view (Intel SDM volume 1,
//! sections 8.1 and 9.2).

use crate::f80::{BUSY, C1, ES, Env, F80, IE, SF};
use serde::{Deserialize, Serialize};

/// Control word after FNINIT.
const INITIAL_CONTROL: u16 = 0x037f;
/// Bits of the control word that can be written.
const CONTROL_WRITABLE: u16 = 0x1f3f;
/// Bit 6 of the control word reads as one.
const CONTROL_ONES: u16 = 0x0040;
/// Exception flags in the status word.
const EXCEPTIONS: u16 = 0x3f;
const TOP_SHIFT: u32 = 11;

/// The x87 unit of one vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "State", into = "State")]
#[repr(C)]
pub struct X87 {
    /// Physical registers R0 to R7.
    regs: [F80; 8],
    /// Offset of the last non-control instruction. The CPU sets it.
    pub fip: u64,
    /// Offset of the last memory operand. The CPU sets it.
    pub fdp: u64,
    control: u16,
    /// Status word without TOP.
    status: u16,
    /// Code segment selector of the last non-control instruction.
    pub fcs: u16,
    /// Segment selector of the last memory operand.
    pub fds: u16,
    /// The last 11 opcode bits.
    pub fop: u16,
    /// Physical number of ST(0), 0 to 7.
    top: u8,
    /// One bit a physical register: not empty.
    valid: u8,
}

/// What is saved of the unit. Field names are part of the saved state's format.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Physical registers R0 to R7.
    pub regs: [F80; 8],
    /// Control word.
    pub control: u16,
    /// Status word, TOP in bits 13:11.
    pub status: u16,
    /// Abridged tag word: bit set, register not empty.
    pub valid: u8,
    /// Last opcode.
    pub fop: u16,
    /// Last instruction offset.
    pub fip: u64,
    /// Last instruction selector.
    pub fcs: u16,
    /// Last operand offset.
    pub fdp: u64,
    /// Last operand selector.
    pub fds: u16,
}

impl From<X87> for State {
    fn from(x: X87) -> State {
        let status = x.status_word();
        let X87 { regs, fip, fdp, control, status: _, fcs, fds, fop, top: _, valid } = x;
        State { regs, control, status, valid, fop, fip, fcs, fdp, fds }
    }
}

impl From<State> for X87 {
    fn from(s: State) -> X87 {
        let State { regs, control, status, valid, fop, fip, fcs, fdp, fds } = s;
        let mut x = X87 { regs, fip, fdp, control: 0, status: 0, fcs, fds, fop: fop & 0x7ff, top: 0, valid };
        x.set_control_word(control);
        x.set_status_word(status);
        x
    }
}

impl Default for X87 {
    fn default() -> X87 {
        X87::new()
    }
}

impl X87 {
    /// The unit after FNINIT, all registers zero.
    #[must_use]
    pub const fn new() -> X87 {
        X87 {
            regs: [F80::ZERO; 8],
            fip: 0,
            fdp: 0,
            control: INITIAL_CONTROL,
            status: 0,
            fcs: 0,
            fds: 0,
            fop: 0,
            top: 0,
            valid: 0,
        }
    }

    /// FNINIT: all but the registers' contents as after reset.
    pub fn fninit(&mut self) {
        *self = X87 { regs: self.regs, ..X87::new() };
    }

    /// Processor reset (SDM volume 3, table 11-1): registers zero and tagged so, all exceptions unmasked.
    pub fn reset(&mut self) {
        *self = X87 { control: CONTROL_ONES, valid: 0xff, ..X87::new() };
    }

    /// FNCLEX.
    pub fn fnclex(&mut self) {
        self.status &= !(EXCEPTIONS | SF | ES | BUSY);
    }

    /// An unmasked exception pends: the next waiting instruction raises #MF (or FERR, with CR0.NE clear).
    #[inline]
    #[must_use]
    pub const fn pending(&self) -> bool {
        self.status & ES != 0
    }

    /// Control word.
    #[inline]
    #[must_use]
    pub const fn control_word(&self) -> u16 {
        self.control
    }

    /// FLDCW. An exception flagged before may come to pend.
    pub fn set_control_word(&mut self, v: u16) {
        self.control = (v & CONTROL_WRITABLE) | CONTROL_ONES;
        self.summarise();
    }

    /// Status word with TOP.
    #[inline]
    #[must_use]
    pub const fn status_word(&self) -> u16 {
        self.status | (self.top as u16) << TOP_SHIFT
    }

    /// Load the status word, as FLDENV does: ES and B follow from the flags and masks.
    pub(crate) fn set_status_word(&mut self, v: u16) {
        self.top = (v >> TOP_SHIFT) as u8 & 7;
        self.status = v & !(7 << TOP_SHIFT);
        self.summarise();
    }

    fn summarise(&mut self) {
        self.status &= !(ES | BUSY);
        if self.status & !self.control & EXCEPTIONS != 0 {
            self.status |= ES | BUSY;
        }
    }

    /// One bit a physical register, set if it is not empty: the tag byte of FXSAVE.
    #[must_use]
    pub const fn abridged_tags(&self) -> u8 {
        self.valid
    }

    /// Set which physical registers are not empty.
    pub const fn set_abridged_tags(&mut self, v: u8) {
        self.valid = v;
    }

    /// The tag word: two bits a physical register, 0 valid, 1 zero, 2 special, 3 empty.
    #[must_use]
    pub fn tag_word(&self) -> u16 {
        (0..8).rev().fold(0, |w, r| w << 2 | if self.valid >> r & 1 != 0 { self.regs[r].tag() } else { 3 })
    }

    /// Load the tag word; of each tag only "empty" counts.
    pub(crate) fn set_tag_word(&mut self, v: u16) {
        self.valid = (0..8).fold(0, |valid, r| valid | u8::from(v >> (2 * r) & 3 != 3) << r);
    }

    /// Remember a non-control instruction: 11 opcode bits, selector and offset.
    #[inline]
    pub const fn note(&mut self, fop: u16, fcs: u16, fip: u64) {
        self.fop = fop & 0x7ff;
        self.fcs = fcs;
        self.fip = fip;
    }

    /// Remember a memory operand: selector and offset.
    #[inline]
    pub const fn note_data(&mut self, fds: u16, fdp: u64) {
        self.fds = fds;
        self.fdp = fdp;
    }

    /// Contents of MM0 to MM7.
    #[inline]
    #[must_use]
    pub const fn mmx(&self, i: u8) -> u64 {
        self.regs[(i & 7) as usize].mantissa
    }

    /// Write an MMX register; the exponent becomes all ones. Does what [`X87::enter_mmx`] does.
    #[inline]
    pub const fn set_mmx(&mut self, i: u8, v: u64) {
        self.regs[(i & 7) as usize] = F80 { mantissa: v, sign_exp: 0xffff };
        self.enter_mmx();
    }

    /// What every MMX instruction but EMMS does, also one that only reads a register: TOP 0, all tags valid.
    #[inline]
    pub const fn enter_mmx(&mut self) {
        self.top = 0;
        self.valid = 0xff;
    }

    /// EMMS: all registers empty.
    #[inline]
    pub const fn emms(&mut self) {
        self.top = 0;
        self.valid = 0;
    }

    #[inline]
    const fn physical(&self, i: u8) -> usize {
        (self.top.wrapping_add(i) & 7) as usize
    }

    /// Contents of ST(i), 0 to 7, empty or not.
    #[inline]
    #[must_use]
    pub const fn st(&self, i: u8) -> F80 {
        self.regs[self.physical(i)]
    }

    /// Write ST(i), which becomes not empty.
    #[inline]
    pub const fn set_st(&mut self, i: u8, v: F80) {
        let r = self.physical(i);
        self.regs[r] = v;
        self.valid |= 1 << r;
    }

    /// Write the contents of ST(i) but not its tag.
    pub(crate) const fn set_st_contents(&mut self, i: u8, v: F80) {
        self.regs[self.physical(i)] = v;
    }

    /// True if ST(i) is empty.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self, i: u8) -> bool {
        self.valid >> self.physical(i) & 1 == 0
    }

    #[inline]
    pub(crate) const fn free(&mut self, i: u8) {
        self.valid &= !(1 << self.physical(i));
    }

    #[inline]
    pub(crate) const fn rotate(&mut self, by: u8) {
        self.top = self.top.wrapping_add(by) & 7;
    }

    #[inline]
    pub(crate) const fn pop(&mut self) {
        self.free(0);
        self.rotate(1);
    }

    #[inline]
    pub(crate) const fn push(&mut self, v: F80) {
        self.rotate(7);
        self.set_st(0, v);
    }

    #[inline]
    pub(crate) const fn env(&self) -> Env {
        Env::new(self.control)
    }

    /// Put what an operation raised into the status word; `replaced` are the condition codes that it defines.
    #[inline]
    pub(crate) const fn settle(&mut self, flags: u16, replaced: u16) {
        self.status = (self.status & !replaced) | flags;
        if flags & !self.control & EXCEPTIONS != 0 {
            self.status |= ES | BUSY;
        }
    }

    /// Raise a stack fault: overflow (C1 set) or underflow. True if it is masked.
    #[cold]
    pub(crate) fn stack_fault(&mut self, overflow: bool) -> bool {
        self.settle(IE | SF | if overflow { C1 } else { 0 }, C1);
        self.control & IE != 0
    }
}
