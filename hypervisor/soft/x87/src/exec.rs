//! Instructions: dispatch of register forms, and of memory forms with the bytes moved by the CPU (Intel SDM volume 2,
//! table B-43 and the pages of the instructions).

use crate::convert::{from_bcd, from_f32, from_f64, from_i64, is_denormal_f32, is_denormal_f64};
use crate::env::EnvLayout;
use crate::f80::{self, C0, C1, C2, C3, DE, Env, F80, IE, OE, SF, UE, ZE};
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

/// The eight operations that the reg field selects in D8, DA, DC and DE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arith {
    /// ST(0) + source.
    Add,
    /// ST(0) * source.
    Mul,
    /// Compare.
    Com,
    /// Compare and pop.
    Comp,
    /// ST(0) - source.
    Sub,
    /// Source - ST(0).
    SubR,
    /// ST(0) / source.
    Div,
    /// Source / ST(0).
    DivR,
}

impl Arith {
    const fn of(reg: u8) -> Arith {
        match reg & 7 {
            0 => Arith::Add,
            1 => Arith::Mul,
            2 => Arith::Com,
            3 => Arith::Comp,
            4 => Arith::Sub,
            5 => Arith::SubR,
            6 => Arith::Div,
            _ => Arith::DivR,
        }
    }

    #[inline]
    fn apply(self, env: &mut Env, a: F80, b: F80) -> F80 {
        match self {
            Arith::Add => env.add(a, b),
            Arith::Mul => env.mul(a, b),
            Arith::Sub => env.sub(a, b),
            Arith::SubR => env.sub(b, a),
            Arith::Div => env.div(a, b),
            Arith::DivR => env.div(b, a),
            // Comparisons deliver no number; they are split off before.
            Arith::Com | Arith::Comp => a,
        }
    }
}

/// A number in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Single, 4 bytes.
    F32,
    /// Double, 8 bytes.
    F64,
    /// Extended, 10 bytes.
    F80,
    /// Word integer.
    I16,
    /// Doubleword integer.
    I32,
    /// Quadword integer.
    I64,
    /// Packed BCD, 10 bytes.
    Bcd,
}

impl Format {
    /// Bytes in memory.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Format::I16 => 2,
            Format::F32 | Format::I32 => 4,
            Format::F64 | Format::I64 => 8,
            Format::F80 | Format::Bcd => 10,
        }
    }
}

/// What an instruction with a memory operand does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemForm {
    /// ST(0) and a number from memory.
    Arith(Arith, Format),
    /// Push a number from memory: FLD, FILD, FBLD.
    Load(Format),
    /// FST, FIST.
    Store(Format),
    /// FSTP, FISTP, FBSTP.
    StorePop(Format),
    /// FISTTP.
    Truncate(Format),
    /// FLDCW.
    LoadControl,
    /// FNSTCW.
    StoreControl,
    /// FNSTSW.
    StoreStatus,
    /// FLDENV.
    LoadEnv,
    /// FNSTENV.
    StoreEnv,
    /// FRSTOR.
    Restore,
    /// FNSAVE.
    Save,
}

impl MemForm {
    /// Classify by the opcode byte (D8 to DF; its low three bits count) and the reg field of the ModRM byte.
    ///
    /// # Errors
    /// [`Undefined`] for the four encodings that are no instruction.
    pub const fn classify(escape: u8, reg: u8) -> Result<MemForm, Undefined> {
        use MemForm::{Arith as A, Load, Store, StorePop, Truncate};
        let reg = reg & 7;
        Ok(match (escape & 7, reg) {
            (0, _) => A(Arith::of(reg), Format::F32),
            (2, _) => A(Arith::of(reg), Format::I32),
            (4, _) => A(Arith::of(reg), Format::F64),
            (6, _) => A(Arith::of(reg), Format::I16),
            (1, 0) => Load(Format::F32),
            (1, 2) => Store(Format::F32),
            (1, 3) => StorePop(Format::F32),
            (1, 4) => MemForm::LoadEnv,
            (1, 5) => MemForm::LoadControl,
            (1, 6) => MemForm::StoreEnv,
            (1, 7) => MemForm::StoreControl,
            (3, 0) => Load(Format::I32),
            (3, 1) => Truncate(Format::I32),
            (3, 2) => Store(Format::I32),
            (3, 3) => StorePop(Format::I32),
            (3, 5) => Load(Format::F80),
            (3, 7) => StorePop(Format::F80),
            (5, 0) => Load(Format::F64),
            (5, 1) => Truncate(Format::I64),
            (5, 2) => Store(Format::F64),
            (5, 3) => StorePop(Format::F64),
            (5, 4) => MemForm::Restore,
            (5, 6) => MemForm::Save,
            (5, 7) => MemForm::StoreStatus,
            (7, 0) => Load(Format::I16),
            (7, 1) => Truncate(Format::I16),
            (7, 2) => Store(Format::I16),
            (7, 3) => StorePop(Format::I16),
            (7, 4) => Load(Format::Bcd),
            (7, 5) => Load(Format::I64),
            (7, 6) => StorePop(Format::Bcd),
            (7, 7) => StorePop(Format::I64),
            _ => return Err(Undefined),
        })
    }

    /// True if the instruction writes memory: [`X87::prepare`] and [`X87::commit`]; else [`X87::load_op`].
    #[must_use]
    pub const fn is_store(self) -> bool {
        use MemForm::{Save, Store, StoreControl, StoreEnv, StorePop, StoreStatus, Truncate};
        matches!(self, Store(_) | StorePop(_) | Truncate(_) | StoreControl | StoreStatus | StoreEnv | Save)
    }

    /// Bytes of the memory operand, 2 to 108.
    #[must_use]
    pub const fn size(self, layout: EnvLayout) -> usize {
        use MemForm::{
            Arith, Load, LoadControl, LoadEnv, Restore, Save, Store, StoreControl, StoreEnv, StorePop, StoreStatus,
            Truncate,
        };
        match self {
            Arith(_, f) | Load(f) | Store(f) | StorePop(f) | Truncate(f) => f.size(),
            LoadControl | StoreControl | StoreStatus => 2,
            LoadEnv | StoreEnv => layout.env_size(),
            Restore | Save => layout.save_size(),
        }
    }

    /// True if the instruction first waits for a pending exception (raises #MF).
    #[must_use]
    pub const fn is_waiting(self) -> bool {
        use MemForm::{Save, StoreControl, StoreEnv, StoreStatus};
        !matches!(self, StoreControl | StoreStatus | StoreEnv | Save)
    }

    /// True if the instruction leaves FIP, FDP and FOP alone (the control instructions); for all others the CPU calls
    /// [`X87::note`] and [`X87::note_data`].
    #[must_use]
    pub const fn is_control(self) -> bool {
        use MemForm::{LoadControl, LoadEnv, Restore};
        !self.is_waiting() || matches!(self, LoadControl | LoadEnv | Restore)
    }
}

/// True if a register form first waits for a pending exception (raises #MF): all but FNCLEX, FNINIT, FNSTSW AX and the
/// 8087's and 80287's FNENI, FNDISI and FNSETPM. `opcode` as in [`X87::exec_reg`].
#[must_use]
pub const fn is_waiting(opcode: u16) -> bool {
    !matches!(opcode & 0x7ff, 0x3e0..=0x3e4 | 0x7e0)
}

/// A store that is computed but not yet done. Move the first `len` bytes to memory, then [`X87::commit`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Prepared {
    /// Bytes to write: 0 if an unmasked exception forbids the store.
    pub len: usize,
    flags: u16,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    /// A control store changes no flag.
    Nothing,
    Settle,
    Pop,
    MaskAll,
    Init,
}

/// A number from memory as the unit sees it.
struct Source {
    value: F80,
    /// It was denormal in its own format.
    denormal: bool,
}

/// The first `N` of `bytes`; bytes that are not there count as zero.
#[inline]
fn take<const N: usize>(bytes: &[u8]) -> [u8; N] {
    match bytes.first_chunk() {
        Some(b) => *b,
        None => {
            let mut b = [0; N];
            b.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            b
        }
    }
}

#[inline]
fn read(format: Format, bytes: &[u8]) -> Source {
    let exact = |value| Source { value, denormal: false };
    match format {
        Format::F32 => {
            let bits = u32::from_le_bytes(take(bytes));
            Source { value: from_f32(bits), denormal: is_denormal_f32(bits) }
        }
        Format::F64 => {
            let bits = u64::from_le_bytes(take(bytes));
            Source { value: from_f64(bits), denormal: is_denormal_f64(bits) }
        }
        Format::F80 => exact(F80::from_bytes(take(bytes))),
        Format::I16 => exact(from_i64(i64::from(i16::from_le_bytes(take(bytes))))),
        Format::I32 => exact(from_i64(i64::from(i32::from_le_bytes(take(bytes))))),
        Format::I64 => exact(from_i64(i64::from_le_bytes(take(bytes)))),
        Format::Bcd => exact(from_bcd(take(bytes))),
    }
}

/// Write `v` in a memory format to the start of `out`.
#[inline]
fn write(env: &mut Env, format: Format, v: F80, truncate: bool, out: &mut [u8; 108]) {
    let mut put = |b: &[u8]| out[..b.len()].copy_from_slice(b);
    match format {
        Format::F32 => put(&env.to_f32(v).to_le_bytes()),
        Format::F64 => put(&env.to_f64(v).to_le_bytes()),
        Format::F80 => put(&v.to_bytes()),
        Format::I16 => put(&(env.to_int(v, 16, truncate) as i16).to_le_bytes()),
        Format::I32 => put(&(env.to_int(v, 32, truncate) as i32).to_le_bytes()),
        Format::I64 => put(&env.to_int(v, 64, truncate).to_le_bytes()),
        Format::Bcd => put(&env.to_bcd(v)),
    }
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
    fn arith_mem(&mut self, op: Arith, src: &Source) {
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
        if self.is_empty(0) || (push && !self.is_empty(7)) {
            return self.two_results_fault(push);
        }
        let mut env = self.env();
        let result = f(&mut env, self.st(0));
        self.settle(env.flags, C1 | C2);
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
    fn fld_source(&mut self, src: &Source) {
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
        let filled = |x: &X87, i| if x.is_empty(i) { F80::INDEFINITE } else { x.st(i) };
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

    /// Execute a memory form that reads: `bytes` are the [`MemForm::size`] bytes of the operand. Stores are ignored.
    #[inline]
    pub fn load_op(&mut self, form: MemForm, layout: EnvLayout, bytes: &[u8]) {
        match form {
            MemForm::Arith(op, format) => self.arith_mem(op, &read(format, bytes)),
            MemForm::Load(format @ (Format::F32 | Format::F64)) => self.fld_source(&read(format, bytes)),
            MemForm::Load(format) => self.fld(read(format, bytes).value),
            MemForm::LoadControl => self.set_control_word(u16::from_le_bytes(take(bytes))),
            MemForm::LoadEnv => self.load_env(layout, bytes),
            MemForm::Restore => self.restore(layout, bytes),
            _ => {}
        }
    }

    /// Compute a memory form that writes: its bytes go to the start of `out`, the state stays. Write
    /// [`Prepared::len`] bytes to memory, then [`X87::commit`]; if the write faults, drop the `Prepared`.
    #[inline]
    pub fn prepare(&self, form: MemForm, layout: EnvLayout, out: &mut [u8; 108]) -> Prepared {
        let control = |v: u16, out: &mut [u8; 108]| {
            out[..2].copy_from_slice(&v.to_le_bytes());
            Then::Nothing
        };
        let then = match form {
            MemForm::Store(f) => return self.prepare_number(f, false, Then::Settle, out),
            MemForm::StorePop(f) => return self.prepare_number(f, false, Then::Pop, out),
            MemForm::Truncate(f) => return self.prepare_number(f, true, Then::Pop, out),
            MemForm::StoreControl => control(self.control_word(), out),
            MemForm::StoreStatus => control(self.status_word(), out),
            MemForm::StoreEnv => {
                self.env_image(layout, out);
                Then::MaskAll
            }
            MemForm::Save => {
                self.save_image(layout, out);
                Then::Init
            }
            _ => return Prepared { len: 0, flags: 0, then: Then::Nothing },
        };
        Prepared { len: form.size(layout), flags: 0, then }
    }

    #[inline]
    fn prepare_number(&self, format: Format, truncate: bool, then: Then, out: &mut [u8; 108]) -> Prepared {
        let mut env = self.env();
        if self.is_empty(0) {
            // The indefinite converts to the indefinite of every format.
            write(&mut Env::new(0x3f), format, F80::INDEFINITE, truncate, out);
            env.flags = IE | SF;
        } else {
            write(&mut env, format, self.st(0), truncate, out);
        }
        if env.unmasked(IE | DE | ZE | OE | UE) {
            return Prepared { len: 0, flags: env.flags, then: Then::Settle };
        }
        Prepared { len: format.size(), flags: env.flags, then }
    }

    /// Complete a store whose bytes are in memory.
    #[inline]
    pub fn commit(&mut self, p: Prepared) {
        match p.then {
            Then::Nothing => {}
            Then::Settle => self.settle(p.flags, C1),
            Then::Pop => {
                self.settle(p.flags, C1);
                self.pop();
            }
            Then::MaskAll => self.set_control_word(self.control_word() | 0x3f),
            Then::Init => self.fninit(),
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
