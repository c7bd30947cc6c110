//! Instructions: dispatch of register forms, and what all forms do to the stack and the flags (Intel SDM volume 2,
//! table B-43 and the pages of the instructions).

use crate::f80::{self, C0, C1, C2, C3, DE, Env, F80, IE, SF, ZE};
use crate::memory::{Arith, Source};
use crate::state::X87;
use crate::transcendental::Trig;
use std::cmp::Ordering;

/// EFLAGS bits.
mod eflags {
    pub const CF: u32 = 0x001;
    pub const PF: u32 = 0x004;
    pub const AF: u32 = 0x010;
    pub const ZF: u32 = 0x040;
    pub const SF: u32 = 0x080;
    pub const OF: u32 = 0x800;
}

const UNORDERED: u16 = C0 | C2 | C3;
/// All condition codes.
const CODES: u16 = UNORDERED | C1;

/// The encoding is not an instruction: #UD.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undefined;

/// True if a register form first waits for a pending exception (raises #MF): all but FNCLEX, FNINIT, FNSTSW AX and the
/// 8087's and 80287's FNENI, FNDISI and FNSETPM. `opcode` as in [`X87::exec_reg`].
#[must_use]
pub const fn is_waiting(opcode: u16) -> bool {
    !matches!(opcode & 0x7ff, 0x3e0..=0x3e4 | 0x7e0)
}

const fn condition(order: Option<Ordering>) -> u16 {
    match order {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => C0,
        Some(Ordering::Equal) => C3,
        None => UNORDERED,
    }
}

impl X87 {
    /// Execute a register form. `opcode` is `(escape & 7) << 8 | modrm` with `modrm` C0 to FF. The caller has checked
    /// CR0.EM, CR0.TS and, for [`is_waiting`] opcodes, [`X87::pending`].
    ///
    /// FNSTSW AX gives the value for AX; all others give `None`.
    ///
    /// # Errors
    /// [`Undefined`]: raise #UD.
    #[inline]
    pub fn exec_reg(&mut self, opcode: u16, eflags: &mut u32) -> Result<Option<u16>, Undefined> {
        let reg = (opcode >> 3) as u8 & 7;
        let i = opcode as u8 & 7;
        match ((opcode >> 8) as u8 & 7, reg) {
            (0, 2) | (4, 2) => self.fcom(i, false, 0),
            (0, 3) | (4, 3) | (6, 2) => self.fcom(i, false, 1),
            (0, _) => self.arith_reg(Arith::of(reg), i, false, false),
            (4, _) => self.arith_reg(Arith::of(reg), i, true, false),
            (6, 3) if i == 1 => self.fcom(1, false, 2),
            (6, 0 | 1 | 4..) => self.arith_reg(Arith::of(reg), i, true, true),
            (1, 0) => self.fld_st(i),
            (1 | 5 | 7, 1) => self.fxch(i),
            (1, 2) if i == 0 => {}
            (1, 3) => self.fstp_no_fault(i),
            (1, 4..) => return self.exec_d9(reg, i).map(|()| None),
            (2, 0..=3) => self.fcmov(i, *eflags, reg, false),
            (3, 0..=3) => self.fcmov(i, *eflags, reg, true),
            (2, 5) if i == 1 => self.fcom(1, true, 2),
            (3, 4) => return self.exec_control(i).map(|()| None),
            (3, 5) => self.fcomi(i, true, false, eflags),
            (3, 6) => self.fcomi(i, false, false, eflags),
            (5, 0) => self.ffree(i),
            (7, 0) => {
                self.ffree(i);
                self.pop();
            }
            (5, 2) => self.fst_st(i, false),
            (5, 3) | (7, 2 | 3) => self.fst_st(i, true),
            (5, 4) => self.fcom(i, true, 0),
            (5, 5) => self.fcom(i, true, 1),
            (7, 4) if i == 0 => return Ok(Some(self.status_word())),
            (7, 5) => self.fcomi(i, true, true, eflags),
            (7, 6) => self.fcomi(i, false, true, eflags),
            _ => return Err(Undefined),
        }
        Ok(None)
    }

    /// D9 E0 to FF.
    fn exec_d9(&mut self, reg: u8, i: u8) -> Result<(), Undefined> {
        match (reg, i) {
            (4, 0) => self.sign_op(F80::negate),
            (4, 1) => self.sign_op(F80::abs),
            (4, 4) => self.ftst(),
            (4, 5) => self.fxam(),
            (5, 0..=6) => self.fld_constant(i),
            (6, 0) => self.unary(Env::exp2_m1),
            (6, 1) => self.binary_pop(|env, y, x| env.y_log2_x(y, x)),
            (6, 2) => self.trig(Env::tan, true),
            (6, 3) => self.binary_pop(|env, y, x| env.atan2(y, x)),
            (6, 4) => self.fxtract(),
            (6, 5) => self.fprem(true),
            (6, 6) => {
                self.settle(0, C1);
                self.rotate(7);
            }
            (6, 7) => {
                self.settle(0, C1);
                self.rotate(1);
            }
            (7, 0) => self.fprem(false),
            (7, 1) => self.binary_pop(|env, y, x| env.y_log2_x_plus_1(y, x)),
            (7, 2) => self.unary(Env::sqrt),
            (7, 3) => self.trig(Env::sin_cos, true),
            (7, 4) => self.unary(Env::round_to_integer),
            (7, 5) => self.binary(0, false, |env, a, b| env.scale(a, b)),
            (7, 6) => self.trig(Env::sin, false),
            (7, 7) => self.trig(Env::cos, false),
            _ => return Err(Undefined),
        }
        Ok(())
    }

    /// DB E0 to E7.
    fn exec_control(&mut self, i: u8) -> Result<(), Undefined> {
        match i {
            // FNENI, FNDISI and FNSETPM of the older units do nothing.
            0 | 1 | 4 => {}
            2 => self.fnclex(),
            3 => self.fninit(),
            _ => return Err(Undefined),
        }
        Ok(())
    }

    /// A masked stack underflow delivers the indefinite to ST(`to`).
    #[cold]
    fn underflow(&mut self, to: u8, pop: bool) {
        if self.stack_fault(false) {
            self.set_st(to, F80::INDEFINITE);
            if pop {
                self.pop();
            }
        }
    }

    #[inline]
    fn deliver(&mut self, env: Env, to: u8, v: F80, pop: bool) {
        self.settle(env.flags, C1);
        if !env.aborted() {
            self.set_st(to, v);
            if pop {
                self.pop();
            }
        }
    }

    /// FADD to FDIVR and their popping forms on ST(0) and ST(i), the result to ST(i) if `to_sti`.
    #[inline]
    pub fn arith_reg(&mut self, op: Arith, i: u8, to_sti: bool, pop: bool) {
        let to = if to_sti { i } else { 0 };
        if self.is_empty(0) || self.is_empty(i) {
            return self.underflow(to, pop);
        }
        let mut env = self.env();
        let v = op.apply(&mut env, self.st(0), self.st(i));
        self.deliver(env, to, v, pop);
    }

    #[inline]
    pub(crate) fn arith_mem(&mut self, op: Arith, src: &Source) {
        if matches!(op, Arith::Com | Arith::Comp) {
            return self.compare_with(Some(src), false, u8::from(op == Arith::Comp));
        }
        if self.is_empty(0) {
            return self.underflow(0, false);
        }
        let mut env = self.env();
        let a = self.st(0);
        let v = op.apply(&mut env, a, src.value);
        if src.denormal {
            denormal_source(&mut env, a);
        }
        self.deliver(env, 0, v, false);
    }

    fn unary(&mut self, f: impl FnOnce(&mut Env, F80) -> F80) {
        if self.is_empty(0) {
            return self.underflow(0, false);
        }
        let mut env = self.env();
        let v = f(&mut env, self.st(0));
        self.deliver(env, 0, v, false);
    }

    /// `f(ST(to), ST(1 - to))` to ST(`to`).
    fn binary(&mut self, to: u8, pop: bool, f: impl FnOnce(&mut Env, F80, F80) -> F80) {
        if self.is_empty(0) || self.is_empty(1) {
            return self.underflow(to, pop);
        }
        let mut env = self.env();
        let v = f(&mut env, self.st(to), self.st(1 - to));
        self.deliver(env, to, v, pop);
    }

    fn binary_pop(&mut self, f: impl FnOnce(&mut Env, F80, F80) -> F80) {
        self.binary(1, true, f);
    }

    fn fprem(&mut self, nearest: bool) {
        if self.is_empty(0) || self.is_empty(1) {
            self.settle(0, C2);
            return self.underflow(0, false);
        }
        let mut env = self.env();
        let v = env.remainder(self.st(0), self.st(1), nearest);
        // Without a quotient C0 and C3 keep what they were.
        self.settle(0, if v.is_nan() || env.aborted() { C2 } else { CODES });
        self.deliver(env, 0, v, false);
    }

    fn trig(&mut self, f: impl FnOnce(&mut Env, F80) -> Trig, push: bool) {
        self.settle(0, C2);
        if self.is_empty(0) || (push && !self.is_empty(7)) {
            return self.two_results_fault(push);
        }
        let mut env = self.env();
        let result = f(&mut env, self.st(0));
        self.settle(env.flags, C1);
        if let (false, Trig::Value(v, second)) = (env.aborted(), result) {
            self.set_st(0, v);
            if push {
                self.push(second);
            }
        }
    }

    /// Stack fault of an instruction that replaces ST(0) and then pushes.
    #[cold]
    fn two_results_fault(&mut self, push: bool) {
        let overflow = !self.is_empty(0);
        if self.stack_fault(overflow) {
            self.set_st(0, F80::INDEFINITE);
            if push {
                self.push(F80::INDEFINITE);
            }
        }
    }

    fn fxtract(&mut self) {
        if self.is_empty(0) || !self.is_empty(7) {
            return self.two_results_fault(true);
        }
        let mut env = self.env();
        let (exponent, significand) = env.extract(self.st(0));
        self.settle(env.flags, C1);
        if !env.aborted() {
            self.set_st(0, exponent);
            self.push(significand);
        }
    }

    /// Push a number: FLD of an extended, FILD, FBLD.
    #[inline]
    pub fn fld(&mut self, v: F80) {
        if !self.is_empty(7) {
            if self.stack_fault(true) {
                self.push(F80::INDEFINITE);
            }
            return;
        }
        self.settle(0, C1);
        self.push(v);
    }

    /// FLD of a single or double: a signalling NaN and a denormal raise exceptions.
    #[inline]
    pub(crate) fn fld_source(&mut self, src: &Source) {
        if !self.is_empty(7) || src.value.is_normal() && !src.denormal {
            return self.fld(src.value);
        }
        let mut env = self.env();
        let v = env.nan1(src.value).unwrap_or(src.value);
        env.denormal(src.denormal);
        self.settle(env.flags, C1);
        // An unmasked #D does not keep this instruction from loading.
        if !env.unmasked(IE) {
            self.push(v);
        }
    }

    fn fld_st(&mut self, i: u8) {
        if self.is_empty(i) {
            if self.stack_fault(false) {
                self.push(F80::INDEFINITE);
            }
            return;
        }
        self.fld(self.st(i));
    }

    fn fld_constant(&mut self, which: u8) {
        // Each constant is held to more than 64 bits and rounded by RC, except 1 and 0: (exponent, significand cut
        // off, next bits).
        let (exp, hi, lo) = match which {
            0 => return self.fld(F80::ONE),
            1 => (0x4000, 0xd49a_784b_cd1b_8afe, 0x492b_f6ff_4daf_db4c),
            2 => (0x3fff, 0xb8aa_3b29_5c17_f0bb, 0xbe87_fed0_691d_3e88),
            3 => (0x4000, 0xc90f_daa2_2168_c234, 0xc4c6_628b_80dc_1cd1),
            4 => (0x3ffd, 0x9a20_9a84_fbcf_f798, 0x8f89_59ac_0b7c_9178),
            5 => (0x3ffe, 0xb172_17f7_d1cf_79ab, 0xc9e3_b398_03f2_f6af),
            _ => return self.fld(F80::ZERO),
        };
        let mut env = self.env();
        // Loading a constant raises no #P and reports no rounding.
        self.fld(env.pack(false, exp, hi, lo, 0));
    }

    fn fxch(&mut self, i: u8) {
        if (self.is_empty(0) || self.is_empty(i)) && !self.stack_fault(false) {
            return;
        }
        let filled = |x: &X87, i| {
            if x.is_empty(i) { F80::INDEFINITE } else { x.st(i) }
        };
        let (a, b) = (filled(self, 0), filled(self, i));
        if !self.is_empty(0) && !self.is_empty(i) {
            self.settle(0, C1);
        }
        self.set_st(0, b);
        self.set_st(i, a);
    }

    fn fst_st(&mut self, i: u8, pop: bool) {
        if self.is_empty(0) {
            return self.underflow(i, pop);
        }
        self.settle(0, C1);
        self.set_st(i, self.st(0));
        if pop {
            self.pop();
        }
    }

    fn ffree(&mut self, i: u8) {
        self.settle(0, C1);
        self.free(i);
    }

    /// D9 D8+i, an undocumented FSTP that does not report an empty ST(0).
    fn fstp_no_fault(&mut self, i: u8) {
        if self.is_empty(0) {
            self.settle(0, C1);
            return self.pop();
        }
        self.fst_st(i, true);
    }

    fn sign_op(&mut self, f: impl FnOnce(F80) -> F80) {
        if self.is_empty(0) {
            return self.underflow(0, false);
        }
        self.settle(0, C1);
        self.set_st(0, f(self.st(0)));
    }

    fn fxam(&mut self) {
        let v = self.st(0);
        let class = if self.is_empty(0) {
            C3 | C0
        } else if v.is_unsupported() {
            0
        } else if v.is_nan() {
            C0
        } else if v.is_infinity() {
            C2 | C0
        } else if v.is_zero() {
            C3
        } else if v.is_denormal() {
            C3 | C2
        } else {
            C2
        };
        self.settle(class | if v.sign() { C1 } else { 0 }, CODES);
    }

    /// Compare ST(0) with a source (`None`: an empty register), set C3, C2, C0, pop.
    fn compare_with(&mut self, src: Option<&Source>, quiet: bool, pops: u8) {
        let mut env = self.env();
        let order = self.order(&mut env, src, quiet);
        self.settle(env.flags | condition(order), CODES);
        if !env.aborted() {
            (0..pops).for_each(|_| self.pop());
        }
    }

    fn order(&self, env: &mut Env, src: Option<&Source>, quiet: bool) -> Option<Ordering> {
        let Some(src) = src.filter(|_| !self.is_empty(0)) else {
            env.flags |= IE | SF;
            return None;
        };
        let order = env.compare(self.st(0), src.value, quiet);
        if src.denormal && order.is_some() {
            env.denormal(true);
        }
        order
    }

    fn stack_source(&self, i: u8) -> Option<Source> {
        (!self.is_empty(i)).then(|| Source { value: self.st(i), denormal: false })
    }

    fn fcom(&mut self, i: u8, quiet: bool, pops: u8) {
        self.compare_with(self.stack_source(i).as_ref(), quiet, pops);
    }

    fn ftst(&mut self) {
        self.compare_with(Some(&Source { value: F80::ZERO, denormal: false }), false, 0);
    }

    fn fcomi(&mut self, i: u8, quiet: bool, pop: bool, flags: &mut u32) {
        use eflags::{AF, CF, OF, PF, SF, ZF};
        let mut env = self.env();
        let order = self.order(&mut env, self.stack_source(i).as_ref(), quiet);
        self.settle(env.flags, if env.flags & f80::SF != 0 { C1 } else { 0 });
        *flags &= !(ZF | PF | CF | OF | SF | AF);
        *flags |= match order {
            Some(Ordering::Greater) => 0,
            Some(Ordering::Less) => CF,
            Some(Ordering::Equal) => ZF,
            None => ZF | PF | CF,
        };
        if pop && !env.aborted() {
            self.pop();
        }
    }

    fn fcmov(&mut self, i: u8, flags: u32, which: u8, negated: bool) {
        use eflags::{CF, PF, ZF};
        if self.is_empty(0) || self.is_empty(i) {
            return self.underflow(0, false);
        }
        let mask = match which {
            0 => CF,
            1 => ZF,
            2 => CF | ZF,
            _ => PF,
        };
        if (flags & mask != 0) != negated {
            self.set_st(0, self.st(i));
        }
    }
}

/// Account for a memory operand that was denormal in its own format: #D, unless something of higher rank was raised or
/// a NaN decided the result.
#[cold]
fn denormal_source(env: &mut Env, a: F80) {
    if a.is_nan() || env.flags & (IE | ZE) != 0 {
        return;
    }
    env.flags |= DE;
    if env.unmasked(DE) {
        env.flags = DE;
    }
}
