//! Instructions with a memory operand: what they move, and the numbers to and from bytes. The CPU moves the bytes (Intel
//! SDM volume 2, the pages of the instructions).

use crate::convert::{from_bcd, from_f32, from_f64, from_i64, is_denormal_f32, is_denormal_f64};
use crate::env::EnvLayout;
use crate::exec::Undefined;
use crate::f80::{C1, DE, Env, F80, IE, OE, SF, UE, ZE};
use crate::state::X87;

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
    pub(crate) const fn of(reg: u8) -> Arith {
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
    pub(crate) fn apply(self, env: &mut Env, a: F80, b: F80) -> F80 {
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
            Arith, Load, LoadControl, LoadEnv, Restore, Save, Store, StoreControl, StoreEnv, StorePop,
            StoreStatus, Truncate,
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

/// A store that is computed but not yet done. Move the first `len` bytes to memory, then [`X87::commit`].
#[derive(Debug)]
#[must_use]
pub struct Prepared {
    /// Bytes to write: 0 if an unmasked exception forbids the store.
    pub len: usize,
    flags: u16,
    then: Then,
}

#[derive(Debug)]
enum Then {
    /// A control store changes no flag.
    Nothing,
    Settle,
    Pop,
    MaskAll,
    Init,
}

/// A number from memory as the unit sees it.
pub(crate) struct Source {
    pub value: F80,
    /// It was denormal in its own format.
    pub denormal: bool,
}

/// The first `N` of `bytes`; bytes that are not there count as zero.
#[inline(always)]
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

#[inline(always)]
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
#[inline(always)]
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

impl X87 {
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
            _ => {
                return Prepared { len: 0, flags: 0, then: Then::Nothing };
            }
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
