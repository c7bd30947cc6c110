//! Lazy status flags.
//!
//! Arithmetic stores two words and no flag: the sign-extended result, and the top of its carry vector. Bit `i` of a
//! carry vector is the carry (borrow) out of bit `i`; every status flag is a few operations away from the two.
//!
//! | word | bits | meaning |
//! |---|---|---|
//! | `lf_res` | 0-63 | result, sign-extended; ZF is `== 0`, SF bit 63 (xor `aux` bit 0), PF the parity of byte 0 (xor `aux` byte 1) |
//! | `lf_aux` | 63, 62 | carry out of the top bit (CF) and of the one below it (OF is their xor) |
//! | `lf_aux` | 3 | carry out of bit 3 (AF) |
//! | `lf_aux` | 8-15, 0 | what to flip in parity and sign, so that POPF can store any combination |

use crate::cpu::Cpu;
use crate::op::Int;

/// Bits of RFLAGS.
pub mod bits {
    #![allow(missing_docs)]
    pub const CF: u64 = 1 << 0;
    pub const ONE: u64 = 1 << 1;
    pub const PF: u64 = 1 << 2;
    pub const AF: u64 = 1 << 4;
    pub const ZF: u64 = 1 << 6;
    pub const SF: u64 = 1 << 7;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const OF: u64 = 1 << 11;
    pub const IOPL: u64 = 3 << 12;
    pub const NT: u64 = 1 << 14;
    pub const RF: u64 = 1 << 16;
    pub const VM: u64 = 1 << 17;
    pub const AC: u64 = 1 << 18;
    pub const VIF: u64 = 1 << 19;
    pub const VIP: u64 = 1 << 20;
    pub const ID: u64 = 1 << 21;
    /// The six flags that arithmetic writes.
    pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
    /// Every flag that exists.
    pub const ALL: u64 = STATUS | TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;
}

use bits::*;

const CARRIES: u64 = 3 << 62 | 1 << 3;

/// The kept bits of a carry vector of `T::BITS` bits.
#[inline(always)]
fn keep<T: Int>(carries: T) -> u64 {
    let c = carries.zext();
    if T::BITS == 64 { c & CARRIES } else { c << (64 - T::BITS) | c & 8 }
}

impl Cpu {
    /// After `r = a + b` (with or without a carry in).
    #[inline(always)]
    pub fn flags_add<T: Int>(&mut self, a: T, b: T, r: T) {
        self.lf_res = r.sext();
        self.lf_aux = keep((a & b) | ((a | b) & !r));
    }
    /// After `r = a - b` (with or without a borrow in). CMP and NEG too.
    #[inline(always)]
    pub fn flags_sub<T: Int>(&mut self, a: T, b: T, r: T) {
        self.lf_res = r.sext();
        self.lf_aux = keep((!a & b) | ((!a | b) & r));
    }
    /// After a logical operation: CF, OF and AF clear.
    #[inline(always)]
    pub fn flags_logic<T: Int>(&mut self, r: T) {
        self.lf_res = r.sext();
        self.lf_aux = 0;
    }
    /// After `r = a + 1`; CF stays.
    #[inline(always)]
    pub fn flags_inc<T: Int>(&mut self, r: T) {
        let of = r.zext() == 1 << (T::BITS - 1);
        let af = r.zext() & 15 == 0;
        self.step::<T>(r, of, af);
    }
    /// After `r = a - 1`; CF stays.
    #[inline(always)]
    pub fn flags_dec<T: Int>(&mut self, r: T) {
        let of = r.zext() == (1 << (T::BITS - 1)) - 1;
        let af = r.zext() & 15 == 15;
        self.step::<T>(r, of, af);
    }
    #[inline(always)]
    fn step<T: Int>(&mut self, r: T, of: bool, af: bool) {
        let cf = self.lf_aux >> 63;
        self.lf_res = r.sext();
        self.lf_aux = cf << 63 | (cf ^ of as u64) << 62 | (af as u64) << 3;
    }
    /// SF, ZF and PF by a result; CF, OF and AF stay.
    #[inline(always)]
    pub fn set_szp<T: Int>(&mut self, r: T) {
        self.lf_res = r.sext();
        self.lf_aux &= CARRIES;
    }

    /// Carry.
    #[inline(always)]
    pub fn cf(&self) -> bool {
        self.lf_aux >> 63 != 0
    }
    /// Overflow.
    #[inline(always)]
    pub fn of(&self) -> bool {
        (self.lf_aux ^ (self.lf_aux << 1)) >> 63 != 0
    }
    /// Auxiliary carry.
    #[inline(always)]
    pub fn af(&self) -> bool {
        self.lf_aux & 8 != 0
    }
    /// Zero.
    #[inline(always)]
    pub fn zf(&self) -> bool {
        self.lf_res == 0
    }
    /// Sign.
    #[inline(always)]
    pub fn sf(&self) -> bool {
        (self.lf_res >> 63) ^ (self.lf_aux & 1) != 0
    }
    /// Parity.
    #[inline(always)]
    pub fn pf(&self) -> bool {
        (self.lf_res as u8 ^ (self.lf_aux >> 8) as u8).count_ones() & 1 == 0
    }
    /// Direction.
    #[inline(always)]
    pub fn df(&self) -> bool {
        self.flags & DF != 0
    }

    /// Sets CF alone.
    #[inline(always)]
    pub fn set_cf(&mut self, cf: bool) {
        let of = self.of();
        self.set_carries(cf, of);
    }
    /// Sets OF alone.
    #[inline(always)]
    pub fn set_of(&mut self, of: bool) {
        let cf = self.cf();
        self.set_carries(cf, of);
    }
    /// Sets CF and OF.
    #[inline(always)]
    pub fn set_carries(&mut self, cf: bool, of: bool) {
        self.lf_aux = self.lf_aux & !(3 << 62) | (cf as u64) << 63 | ((cf ^ of) as u64) << 62;
    }
    /// Sets AF alone.
    #[inline(always)]
    pub fn set_af(&mut self, af: bool) {
        self.lf_aux = self.lf_aux & !8 | (af as u64) << 3;
    }
    /// Sets ZF alone.
    pub fn set_zf(&mut self, zf: bool) {
        let now = self.status();
        self.set_status(now & !ZF | if zf { ZF } else { 0 });
    }
    /// Sets SF alone.
    pub fn set_sf(&mut self, sf: bool) {
        if sf != self.sf() {
            self.lf_aux ^= 1;
        }
    }
    /// Sets PF alone.
    pub fn set_pf(&mut self, pf: bool) {
        if pf != self.pf() {
            self.lf_aux ^= 1 << 8;
        }
    }

    /// The six status flags at their places in RFLAGS.
    #[inline]
    pub fn status(&self) -> u64 {
        self.cf() as u64
            | (self.pf() as u64) << 2
            | (self.af() as u64) << 4
            | (self.zf() as u64) << 6
            | (self.sf() as u64) << 7
            | (self.of() as u64) << 11
    }
    /// Sets the six status flags from their places in RFLAGS.
    #[inline]
    pub fn set_status(&mut self, v: u64) {
        self.lf_res = if v & ZF != 0 { 0 } else { 0x100 };
        let (cf, of) = (v & CF, v >> 11 & 1);
        let odd = v >> 2 & 1 ^ 1;
        self.lf_aux = cf << 63 | (cf ^ of) << 62 | (v >> 4 & 1) << 3 | odd << 8 | v >> 7 & 1;
    }
    /// The whole of RFLAGS.
    pub fn eflags(&self) -> u64 {
        let stale = if self.resumes() { 0 } else { RF };
        self.flags & !stale | self.status() | ONE
    }
    /// Whether RF is set, so that no instruction breakpoint is taken at the next instruction. Every instruction that
    /// ends clears it, but the one that set it: that is found by the count, and costs none of them anything.
    pub(crate) fn resumes(&self) -> bool {
        self.flags & RF != 0 && self.rf_at == self.icount
    }
    /// Sets the flags in `mask` from `value`: status flags and any others. Whoever changes IF, TF, VM, AC
    /// or IOPL calls `Cpu::flags_changed` afterwards.
    #[inline]
    pub fn set_flags(&mut self, mask: u64, value: u64) {
        if mask & STATUS != 0 {
            let now = self.status();
            self.set_status(now & !mask | value & mask);
        }
        if mask & RF != 0 {
            self.rf_at = self.icount;
        }
        let mask = mask & ALL & !STATUS;
        self.flags = self.flags & !mask | value & mask;
    }

    /// Whether condition code `CC` (the low four bits of the opcode) holds.
    #[inline(always)]
    pub fn cond<const CC: u8>(&self) -> bool {
        let base = match CC >> 1 {
            0 => self.of(),
            1 => self.cf(),
            2 => self.zf(),
            3 => self.cf() | self.zf(),
            4 => self.sf(),
            5 => self.pf(),
            6 => self.sf() != self.of(),
            _ => self.zf() | (self.sf() != self.of()),
        };
        base != (CC & 1 != 0)
    }
}
