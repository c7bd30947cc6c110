//! FMA: products with a sum, rounded once.

use iced_x86::{Instruction, Mnemonic};
use simd::FpEnv;
use simd::fma::{Signs, fmapd, fmaps, fmasd, fmass};
use simd::pack::{movsd, movss};

use super::forms::{in_memory, is_wide, operands};
use super::other;
use crate::cpu::Cpu;
use crate::op::{Ctx, Op, Word};

/// Which operands are multiplied and which is added, as the digits of the name: the destination (1), VEX.vvvv (2), the
/// register or memory operand (3).
#[inline(always)]
fn ordered<const ORDER: u32>(one: u128, two: u128, three: u128) -> [u128; 3] {
    match ORDER {
        132 => [one, three, two],
        213 => [two, one, three],
        _ => [two, three, one],
    }
}

/// All halves.
fn packed<const ORDER: u32>(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&mut FpEnv, u128, u128, u128) -> u128 + Copy,
) -> Op {
    fn with<const ORDER: u32, const MEM: bool, const WIDE: bool>(
        f: impl Fn(&mut FpEnv, u128, u128, u128) -> u128 + Copy,
    ) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let three = cpu.wide_source::<MEM, WIDE>(op)?;
            let (one, two) = (cpu.y(op.reg), cpu.y(other(op)));
            let r = cpu.floating(|env| {
                let mut half = |n: usize| {
                    let [x, y, z] = ordered::<ORDER>(one[n], two[n], three[n]);
                    f(env, x, y, z)
                };
                let low = half(0);
                [low, if WIDE { half(1) } else { 0 }]
            })?;
            cpu.set_y(op.reg, r);
            Ok(())
        })
    }
    let op = match (in_memory(i, 2), is_wide(i)) {
        (false, false) => with::<ORDER, false, false>(f),
        (false, true) => with::<ORDER, false, true>(f),
        (true, false) => with::<ORDER, true, false>(f),
        (true, true) => with::<ORDER, true, true>(f),
    };
    operands(op, i, ctx)
}

/// One number; the rest of the destination's lower half stays. `merge` puts the number in.
fn scalar<const ORDER: u32, W: Word>(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&mut FpEnv, u128, u128, u128) -> u128 + Copy,
    merge: impl Fn(u128, u128) -> u128 + Copy,
) -> Op {
    fn form<const ORDER: u32, W: Word, const MEM: bool>(
        f: impl Fn(&mut FpEnv, u128, u128, u128) -> u128 + Copy,
        merge: impl Fn(u128, u128) -> u128 + Copy,
    ) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let three = if MEM { cpu.load::<W>(op)?.to128() } else { cpu.y(op.rm)[0] };
            let (one, two) = (cpu.y(op.reg)[0], cpu.y(other(op))[0]);
            let [x, y, z] = ordered::<ORDER>(one, two, three);
            let r = cpu.floating(|env| f(env, x, y, z))?;
            cpu.set_y(op.reg, [merge(one, r), 0]);
            Ok(())
        })
    }
    let op =
        if in_memory(i, 2) { form::<ORDER, W, true>(f, merge) } else { form::<ORDER, W, false>(f, merge) };
    operands(op, i, ctx)
}

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    /// Names of one kind in the orders of operands, with its signs.
    macro_rules! table {
        (
            $(packed $f:ident($product:literal, $even:literal, $odd:literal) { $($name:ident $order:literal)* })*
            $(scalar $w:ty, $g:ident, $merge:ident($sp:literal, $sa:literal) { $($sname:ident $sorder:literal)* })*
        ) => {
            Some(match i.mnemonic() {
                $($(Mnemonic::$name => packed::<$order>(i, ctx, |env, x, y, z| {
                    $f(env, x, y, z, Signs { product: $product, even: $even, odd: $odd })
                }),)*)*
                $($(Mnemonic::$sname => scalar::<$sorder, $w>(
                    i,
                    ctx,
                    |env, x, y, z| $g(env, x, y, z, Signs { product: $sp, even: $sa, odd: $sa }),
                    $merge,
                ),)*)*
                _ => return None,
            })
        };
    }
    table! {
        packed fmaps(false, false, false) { Vfmadd132ps 132 Vfmadd213ps 213 Vfmadd231ps 231 }
        packed fmapd(false, false, false) { Vfmadd132pd 132 Vfmadd213pd 213 Vfmadd231pd 231 }
        packed fmaps(false, true, true) { Vfmsub132ps 132 Vfmsub213ps 213 Vfmsub231ps 231 }
        packed fmapd(false, true, true) { Vfmsub132pd 132 Vfmsub213pd 213 Vfmsub231pd 231 }
        packed fmaps(true, false, false) { Vfnmadd132ps 132 Vfnmadd213ps 213 Vfnmadd231ps 231 }
        packed fmapd(true, false, false) { Vfnmadd132pd 132 Vfnmadd213pd 213 Vfnmadd231pd 231 }
        packed fmaps(true, true, true) { Vfnmsub132ps 132 Vfnmsub213ps 213 Vfnmsub231ps 231 }
        packed fmapd(true, true, true) { Vfnmsub132pd 132 Vfnmsub213pd 213 Vfnmsub231pd 231 }
        packed fmaps(false, true, false) { Vfmaddsub132ps 132 Vfmaddsub213ps 213 Vfmaddsub231ps 231 }
        packed fmapd(false, true, false) { Vfmaddsub132pd 132 Vfmaddsub213pd 213 Vfmaddsub231pd 231 }
        packed fmaps(false, false, true) { Vfmsubadd132ps 132 Vfmsubadd213ps 213 Vfmsubadd231ps 231 }
        packed fmapd(false, false, true) { Vfmsubadd132pd 132 Vfmsubadd213pd 213 Vfmsubadd231pd 231 }
        scalar u32, fmass, movss(false, false) { Vfmadd132ss 132 Vfmadd213ss 213 Vfmadd231ss 231 }
        scalar u64, fmasd, movsd(false, false) { Vfmadd132sd 132 Vfmadd213sd 213 Vfmadd231sd 231 }
        scalar u32, fmass, movss(false, true) { Vfmsub132ss 132 Vfmsub213ss 213 Vfmsub231ss 231 }
        scalar u64, fmasd, movsd(false, true) { Vfmsub132sd 132 Vfmsub213sd 213 Vfmsub231sd 231 }
        scalar u32, fmass, movss(true, false) { Vfnmadd132ss 132 Vfnmadd213ss 213 Vfnmadd231ss 231 }
        scalar u64, fmasd, movsd(true, false) { Vfnmadd132sd 132 Vfnmadd213sd 213 Vfnmadd231sd 231 }
        scalar u32, fmass, movss(true, true) { Vfnmsub132ss 132 Vfnmsub213ss 213 Vfnmsub231ss 231 }
        scalar u64, fmasd, movsd(true, true) { Vfnmsub132sd 132 Vfnmsub213sd 213 Vfnmsub231sd 231 }
    }
}
