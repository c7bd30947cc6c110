//! MOVS, STOS, LODS, SCAS and CMPS with REP, REPE and REPNE. String I/O is elsewhere.
//!
//! A repeated instruction writes its count and index registers back after every item or stretch of items, so that
//! a fault or an interrupt in the middle finds them as the completed iterations left them, and running the
//! instruction again goes on from there. Ascending stretches inside a page of RAM are done at once on host memory.

use super::{Cpu, Ctx, Exec, Int, Op};
use crate::cpu::{RAX, RCX, RDI, RSI, special};
use crate::host;
use iced_x86::{Code, Instruction, Register};

/// No prefix.
const ONCE: u8 = 0;
/// REP, and for comparisons REPE.
const REP: u8 = 1;
/// REPNE.
const REPNE: u8 = 2;

/// Most items of a stretch, after which the attention word is looked at.
const STRETCH: u64 = 4096;
/// Items done one by one, and stretches, after which the loop gets its turn whatever the attention word says: they
/// count as so many instructions then, or a guest's REP would be no time at all and no budget would end it.
const PIECES: u64 = 1024;

/// Bytes of an item.
#[inline(always)]
fn bytes<T: Int>() -> u64 {
    u64::from(T::BITS / 8)
}

/// Moves an index register on by `items`, by the direction flag.
#[inline(always)]
fn advance<T: Int, A: Int>(cpu: &mut Cpu, r: usize, items: u64) {
    let by = items.wrapping_mul(bytes::<T>());
    let by = if cpu.df() { by.wrapping_neg() } else { by };
    let v = A::get(cpu, r as u8).zext().wrapping_add(by);
    A::set(cpu, r as u8, A::from64(v));
}

#[inline(always)]
fn count_down<A: Int>(cpu: &mut Cpu, items: u64) {
    let v = A::get(cpu, RCX as u8).zext().wrapping_sub(items);
    A::set(cpu, RCX as u8, A::from64(v));
}

/// Bytes from `off` to where the address size wraps.
#[inline(always)]
fn room<A: Int>(off: u64) -> u64 {
    if A::BITS == 64 { u64::MAX } else { (1 << A::BITS) - off }
}

/// Bytes wanted of a span at `off` for `items`.
#[inline(always)]
fn want<T: Int, A: Int>(off: u64, items: u64) -> usize {
    (items.min(STRETCH) * bytes::<T>()).min(room::<A>(off)) as usize
}

/// One string instruction: what one item does, and a way to do many.
trait Kind<T: Int, A: Int> {
    /// Whether SI and DI move.
    const SOURCE: bool;
    const TARGET: bool;
    /// Does one item; comparisons give whether the operands were equal.
    fn item(cpu: &mut Cpu, op: &Op) -> Result<Option<(T, T)>, super::Fault>;
    /// Does up to `items`, ascending, of which it gives the number done (0: go by items), and for a comparison
    /// the operands of the last one.
    fn stretch(cpu: &mut Cpu, op: &Op, items: u64, until: Option<bool>) -> (u64, Option<(T, T)>);
}

#[inline(always)]
fn source<A: Int>(cpu: &Cpu) -> u64 {
    A::get(cpu, RSI as u8).zext()
}

#[inline(always)]
fn target<A: Int>(cpu: &Cpu) -> u64 {
    A::get(cpu, RDI as u8).zext()
}

fn once<K: Kind<T, A>, T: Int, A: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let compared = K::item(cpu, op)?;
    step::<K, T, A>(cpu, 1);
    leave_flags(cpu, compared);
    Ok(())
}

#[inline(always)]
fn step<K: Kind<T, A>, T: Int, A: Int>(cpu: &mut Cpu, items: u64) {
    if K::SOURCE {
        advance::<T, A>(cpu, RSI, items);
    }
    if K::TARGET {
        advance::<T, A>(cpu, RDI, items);
    }
}

#[inline(always)]
fn leave_flags<T: Int>(cpu: &mut Cpu, compared: Option<(T, T)>) {
    if let Some((a, b)) = compared {
        let r = T::from64(a.zext().wrapping_sub(b.zext()));
        cpu.flags_sub::<T>(a, b, r);
    }
}

fn repeat<K: Kind<T, A>, T: Int, A: Int, const PREFIX: u8>(cpu: &mut Cpu, op: &Op) -> Exec {
    let mut pieces = 0;
    loop {
        let left = A::get(cpu, RCX as u8).zext();
        if left == 0 {
            return Ok(());
        }
        let (mut done, mut compared) = (0, None);
        let traps = cpu.special & special::TF != 0;
        if !cpu.df() && !traps {
            (done, compared) = K::stretch(cpu, op, left, Some(PREFIX == REP));
        }
        if done == 0 {
            (done, compared) = (1, K::item(cpu, op)?);
        }
        pieces += 1;
        step::<K, T, A>(cpu, done);
        count_down::<A>(cpu, done);
        let over = compared.is_some_and(|(a, b)| (a == b) != (PREFIX == REP));
        if over || left == done {
            leave_flags(cpu, compared);
            return Ok(());
        }
        let due = pieces == PIECES;
        if due {
            cpu.icount += PIECES;
        }
        // A single step is one item, and a watched one traps before the next.
        if due || traps || cpu.dr6_pending != 0 || done > 1 && cpu.interrupted() {
            leave_flags(cpu, compared);
            return Err(cpu.again());
        }
    }
}

struct Movs;
struct Stos;
struct Lods;
struct Scas;
struct Cmps;

impl<T: Int, A: Int> Kind<T, A> for Movs {
    const SOURCE: bool = true;
    const TARGET: bool = true;
    #[inline(always)]
    fn item(cpu: &mut Cpu, op: &Op) -> Result<Option<(T, T)>, super::Fault> {
        let v = cpu.read::<T>(op.seg, source::<A>(cpu))?;
        cpu.write::<T>(op.rm, target::<A>(cpu), v)?;
        Ok(None)
    }
    fn stretch(cpu: &mut Cpu, op: &Op, items: u64, _: Option<bool>) -> (u64, Option<(T, T)>) {
        let (si, di) = (source::<A>(cpu), target::<A>(cpu));
        let Some((from, n)) = cpu.span_read(op.seg, si, want::<T, A>(si, items)) else {
            return (0, None);
        };
        let Some((to, m)) = cpu.span_write(op.rm, di, want::<T, A>(di, items)) else {
            return (0, None);
        };
        let size = bytes::<T>() as usize;
        let len = n.min(m) / size * size;
        let apart = (to as usize).wrapping_sub(from as usize);
        if apart == 0 || apart >= len {
            // SAFETY: the spans cover `len` bytes of guest RAM each; they may overlap, and no byte is read that
            // an earlier item has written.
            unsafe { host::copy(from, to, len) };
            return ((len / size) as u64, None);
        }
        if apart < size {
            return (0, None);
        }
        // The target lies ahead of the source by less than the length: items repeat what earlier ones wrote.
        let apart = apart / size * size;
        let mut at = 0;
        while at < len {
            let n = apart.min(len - at);
            // SAFETY: `at + n <= len`; pieces no longer than the distance do not overlap.
            unsafe { host::copy(from.add(at), to.add(at), n) };
            at += n;
        }
        ((len / size) as u64, None)
    }
}

impl<T: Int, A: Int> Kind<T, A> for Stos {
    const SOURCE: bool = false;
    const TARGET: bool = true;
    #[inline(always)]
    fn item(cpu: &mut Cpu, op: &Op) -> Result<Option<(T, T)>, super::Fault> {
        let v = T::get(cpu, RAX as u8);
        cpu.write::<T>(op.rm, target::<A>(cpu), v)?;
        Ok(None)
    }
    fn stretch(cpu: &mut Cpu, op: &Op, items: u64, _: Option<bool>) -> (u64, Option<(T, T)>) {
        let di = target::<A>(cpu);
        let Some((to, n)) = cpu.span_write(op.rm, di, want::<T, A>(di, items)) else {
            return (0, None);
        };
        let v = T::get(cpu, RAX as u8);
        let items = n / bytes::<T>() as usize;
        // SAFETY: the span covers `items` whole items of guest RAM.
        unsafe { host::fill(to.cast::<T>(), v, items) };
        (items as u64, None)
    }
}

impl<T: Int, A: Int> Kind<T, A> for Lods {
    const SOURCE: bool = true;
    const TARGET: bool = false;
    #[inline(always)]
    fn item(cpu: &mut Cpu, op: &Op) -> Result<Option<(T, T)>, super::Fault> {
        let v = cpu.read::<T>(op.seg, source::<A>(cpu))?;
        T::set(cpu, RAX as u8, v);
        Ok(None)
    }
    fn stretch(_: &mut Cpu, _: &Op, _: u64, _: Option<bool>) -> (u64, Option<(T, T)>) {
        (0, None)
    }
}

impl<T: Int, A: Int> Kind<T, A> for Scas {
    const SOURCE: bool = false;
    const TARGET: bool = true;
    #[inline(always)]
    fn item(cpu: &mut Cpu, op: &Op) -> Result<Option<(T, T)>, super::Fault> {
        let b = cpu.read::<T>(op.rm, target::<A>(cpu))?;
        Ok(Some((T::get(cpu, RAX as u8), b)))
    }
    fn stretch(cpu: &mut Cpu, op: &Op, items: u64, until: Option<bool>) -> (u64, Option<(T, T)>) {
        let di = target::<A>(cpu);
        let Some((at, n)) = cpu.span_read(op.rm, di, want::<T, A>(di, items)) else {
            return (0, None);
        };
        let a = T::get(cpu, RAX as u8);
        let mut last = None;
        for k in 0..n / bytes::<T>() as usize {
            // SAFETY: inside the span, by the bound of the loop.
            let b = unsafe { host::get(at.cast::<T>().add(k)) };
            last = Some((a, b));
            if Some(a == b) != until {
                return (k as u64 + 1, last);
            }
        }
        ((n as u64) / bytes::<T>(), last)
    }
}

impl<T: Int, A: Int> Kind<T, A> for Cmps {
    const SOURCE: bool = true;
    const TARGET: bool = true;
    #[inline(always)]
    fn item(cpu: &mut Cpu, op: &Op) -> Result<Option<(T, T)>, super::Fault> {
        let a = cpu.read::<T>(op.seg, source::<A>(cpu))?;
        let b = cpu.read::<T>(op.rm, target::<A>(cpu))?;
        Ok(Some((a, b)))
    }
    fn stretch(cpu: &mut Cpu, op: &Op, items: u64, until: Option<bool>) -> (u64, Option<(T, T)>) {
        let (si, di) = (source::<A>(cpu), target::<A>(cpu));
        let Some((x, n)) = cpu.span_read(op.seg, si, want::<T, A>(si, items)) else {
            return (0, None);
        };
        let Some((y, m)) = cpu.span_read(op.rm, di, want::<T, A>(di, items)) else {
            return (0, None);
        };
        let items = n.min(m) / bytes::<T>() as usize;
        let mut last = None;
        for k in 0..items {
            // SAFETY: inside both spans, by the bound of the loop.
            let (a, b) = unsafe { (host::get(x.cast::<T>().add(k)), host::get(y.cast::<T>().add(k))) };
            last = Some((a, b));
            if Some(a == b) != until {
                return (k as u64 + 1, last);
            }
        }
        (items as u64, last)
    }
}

fn pick<K, T: Int, A: Int>(prefix: u8) -> Op
where
    K: Kind<T, A> + 'static,
{
    match prefix {
        ONCE => Op::line(once::<K, T, A>),
        REP => Op::line(repeat::<K, T, A, REP>),
        _ => Op::line(repeat::<K, T, A, REPNE>),
    }
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    let prefix = if i.has_rep_prefix() {
        REP
    } else if i.has_repne_prefix() {
        REPNE
    } else {
        ONCE
    };
    macro_rules! by_address {
        ($K:ty, $T:ty) => {
            match ctx.addr(i) {
                16 => pick::<$K, $T, u16>(prefix),
                32 => pick::<$K, $T, u32>(prefix),
                _ => pick::<$K, $T, u64>(prefix),
            }
        };
    }
    // REPNE repeats as REP does where nothing is compared.
    let mut op = match i.code() {
        Movsb_m8_m8 => by_address!(Movs, u8),
        Movsw_m16_m16 => by_address!(Movs, u16),
        Movsd_m32_m32 => by_address!(Movs, u32),
        Movsq_m64_m64 => by_address!(Movs, u64),
        Stosb_m8_AL => by_address!(Stos, u8),
        Stosw_m16_AX => by_address!(Stos, u16),
        Stosd_m32_EAX => by_address!(Stos, u32),
        Stosq_m64_RAX => by_address!(Stos, u64),
        Lodsb_AL_m8 => by_address!(Lods, u8),
        Lodsw_AX_m16 => by_address!(Lods, u16),
        Lodsd_EAX_m32 => by_address!(Lods, u32),
        Lodsq_RAX_m64 => by_address!(Lods, u64),
        Scasb_AL_m8 => by_address!(Scas, u8),
        Scasw_AX_m16 => by_address!(Scas, u16),
        Scasd_EAX_m32 => by_address!(Scas, u32),
        Scasq_RAX_m64 => by_address!(Scas, u64),
        Cmpsb_m8_m8 => by_address!(Cmps, u8),
        Cmpsw_m16_m16 => by_address!(Cmps, u16),
        Cmpsd_m32_m32 => by_address!(Cmps, u32),
        Cmpsq_m64_m64 => by_address!(Cmps, u64),
        _ => return None,
    };
    op.seg = ctx.seg(i.memory_segment());
    op.rm = ctx.seg(Register::ES);
    Some(op)
}
