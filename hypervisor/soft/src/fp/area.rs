//! FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XSAVEC and XRSTOR (Intel SDM volume 1, sections 10.5 and 13.4 to 13.10): the
//! components are x87, SSE and AVX. With these alone the compacted format has the same offsets as the standard one.

use iced_x86::{Code, Instruction};

use crate::cpu::{Cpu, Exec, Fault, RAX, RDX, mode};
use crate::int::ea_plus;
use crate::model::Feature;
use crate::op::{Ctx, Op};
use crate::sse::MXCSR_MASK;
use crate::system::bits::{cr0, cr4};
use x87::X87;

/// XCR0, XSTATE_BV: x87.
const X87_STATE: u64 = 1;
/// XCR0, XSTATE_BV: XMM registers and MXCSR.
const SSE_STATE: u64 = 2;
/// XCR0, XSTATE_BV: upper halves of YMM registers.
const AVX_STATE: u64 = 4;
/// What XCR0 must have for AVX's instructions.
pub(crate) const YMM_ON: u64 = SSE_STATE | AVX_STATE;
/// XCOMP_BV: the format is the compacted one.
const COMPACTED: u64 = 1 << 63;
/// Offset of the upper half of YMM0.
const YMM: u64 = 576;
/// MXCSR after reset.
const MXCSR_RESET: u32 = crate::sse::MXCSR_RESET;
/// Offset of MXCSR.
const MXCSR: u64 = 24;
/// Offset of XMM0.
const XMM: u64 = 160;
/// Offset of the XSAVE header.
const HEADER: u64 = 512;

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let (op, blocked) = match i.code() {
        Code::Fxsave_m512byte => (Op::line(fxsave::<false>), mode::EM | mode::TS),
        Code::Fxsave64_m512byte => (Op::line(fxsave::<true>), mode::EM | mode::TS),
        Code::Fxrstor_m512byte => (Op::line(fxrstor::<false>), mode::EM | mode::TS),
        Code::Fxrstor64_m512byte => (Op::line(fxrstor::<true>), mode::EM | mode::TS),
        Code::Xsave_mem => (Op::line(xsave::<false, false>), 0),
        Code::Xsave64_mem => (Op::line(xsave::<true, false>), 0),
        Code::Xsaveopt_mem => (Op::line(xsave::<false, true>), 0),
        Code::Xsaveopt64_mem => (Op::line(xsave::<true, true>), 0),
        Code::Xsavec_mem => (Op::line(xsavec::<false>), 0),
        Code::Xsavec64_mem => (Op::line(xsavec::<true>), 0),
        Code::Xrstor_mem => (Op::line(xrstor::<false>), 0),
        Code::Xrstor64_mem => (Op::line(xrstor::<true>), 0),
        _ => return None,
    };
    if ctx.mode & blocked != 0 {
        return Some(Op::jump(super::unavailable));
    }
    Some(op.mem(i, ctx))
}

/// The memory operand's address must be a multiple of `of`.
fn aligned(cpu: &mut Cpu, op: &Op, of: u64) -> Exec {
    if cpu.linear(op.seg, cpu.ea(op)).is_multiple_of(of) { Ok(()) } else { Err(cpu.gp(0)) }
}

fn read<T: crate::op::Word>(cpu: &mut Cpu, op: &Op, at: u64) -> Result<T, Fault> {
    cpu.read(op.seg, ea_plus(cpu, op, at))
}

fn write<T: crate::op::Word>(cpu: &mut Cpu, op: &Op, at: u64, v: T) -> Exec {
    cpu.write(op.seg, ea_plus(cpu, op, at), v)
}

/// XMM registers that the mode reaches.
fn reach(cpu: &Cpu) -> usize {
    if cpu.code == 64 { 16 } else { 8 }
}

fn save_x87(cpu: &mut Cpu, op: &Op, wide: bool) -> Exec {
    let mut area = [0; 160];
    cpu.x87.fxsave(wide, &mut area);
    for (k, chunk) in area.as_chunks::<16>().0.iter().enumerate() {
        match k {
            // The other half is MXCSR's.
            1 => write(cpu, op, 16, u128::from_le_bytes(*chunk) as u64)?,
            _ => write(cpu, op, 16 * k as u64, u128::from_le_bytes(*chunk))?,
        }
    }
    Ok(())
}

fn save_mxcsr(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = u64::from(MXCSR_MASK) << 32 | u64::from(cpu.mxcsr);
    write(cpu, op, MXCSR, v)
}

fn save_xmm(cpu: &mut Cpu, op: &Op) -> Exec {
    for k in 0..reach(cpu) {
        write(cpu, op, XMM + 16 * k as u64, cpu.xmm[k])?;
    }
    Ok(())
}

fn save_ymm(cpu: &mut Cpu, op: &Op) -> Exec {
    for k in 0..reach(cpu) {
        write(cpu, op, YMM + 16 * k as u64, cpu.ymm[k])?;
    }
    Ok(())
}

fn load_x87(cpu: &mut Cpu, op: &Op) -> Result<[u8; 160], Fault> {
    let mut area = [0; 160];
    for (k, chunk) in area.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        *chunk = read::<u128>(cpu, op, 16 * k as u64)?.to_le_bytes();
    }
    Ok(area)
}

fn load_mxcsr(cpu: &mut Cpu, op: &Op) -> Result<u32, Fault> {
    let v = read::<u32>(cpu, op, MXCSR)?;
    if v & !MXCSR_MASK != 0 { Err(cpu.gp(0)) } else { Ok(v) }
}

fn load_xmm(cpu: &mut Cpu, op: &Op) -> Result<[u128; 16], Fault> {
    let mut xmm = cpu.xmm;
    for (k, x) in xmm.iter_mut().enumerate().take(reach(cpu)) {
        *x = read(cpu, op, XMM + 16 * k as u64)?;
    }
    Ok(xmm)
}

fn load_ymm(cpu: &mut Cpu, op: &Op) -> Result<[u128; 16], Fault> {
    let mut ymm = cpu.ymm;
    for (k, x) in ymm.iter_mut().enumerate().take(reach(cpu)) {
        *x = read(cpu, op, YMM + 16 * k as u64)?;
    }
    Ok(ymm)
}

/// FXSAVE. XMM registers and MXCSR are saved whatever CR4.OSFXSR says, as processors do.
fn fxsave<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    aligned(cpu, op, 16)?;
    save_x87(cpu, op, WIDE)?;
    save_mxcsr(cpu, op)?;
    save_xmm(cpu, op)
}

/// FXRSTOR.
fn fxrstor<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    aligned(cpu, op, 16)?;
    let area = load_x87(cpu, op)?;
    let mxcsr = load_mxcsr(cpu, op)?;
    cpu.xmm = load_xmm(cpu, op)?;
    cpu.set_mxcsr(mxcsr);
    cpu.x87.fxrstor(WIDE, &area);
    Ok(())
}

/// The components that the instruction is about, after the checks that all of the family begin with.
fn requested(cpu: &mut Cpu, op: &Op) -> Result<u64, Fault> {
    if cpu.cr4 & cr4::OSXSAVE == 0 {
        return Err(cpu.ud());
    }
    if cpu.cr0 & cr0::TS != 0 {
        return Err(cpu.nm());
    }
    aligned(cpu, op, 64)?;
    Ok((cpu.gpr[RDX] << 32 | cpu.gpr[RAX] & 0xffff_ffff) & cpu.xcr0)
}

/// Whether XCR0 may be `v`: x87 always, AVX with SSE and where it is announced.
pub(crate) fn xcr0_may_hold(cpu: &Cpu, v: u64) -> bool {
    let avx = if cpu.model.features.has(Feature::AVX) { AVX_STATE } else { 0 };
    let known = X87_STATE | SSE_STATE | avx;
    v & X87_STATE != 0 && v & !known == 0 && (v & AVX_STATE == 0 || v & SSE_STATE != 0)
}

/// XINUSE: the components that are not as reset leaves them.
pub(crate) fn in_use(cpu: &Cpu) -> u64 {
    let used = |registers: &[u128; 16]| registers[..reach(cpu)].iter().any(|x| *x != 0);
    let x87 = if cpu.x87 == X87::new() { 0 } else { X87_STATE };
    let sse = if used(&cpu.xmm) { SSE_STATE } else { 0 };
    let avx = if used(&cpu.ymm) { AVX_STATE } else { 0 };
    x87 | sse | avx
}

/// XSAVE, and XSAVEOPT if `OPT`, which leaves out what is as after reset.
fn xsave<const WIDE: bool, const OPT: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let wanted = requested(cpu, op)?;
    let used = in_use(cpu);
    let before = read::<u64>(cpu, op, HEADER)?;
    let written = if OPT { wanted & used } else { wanted };
    if wanted & YMM_ON != 0 {
        save_mxcsr(cpu, op)?;
    }
    save_components::<WIDE>(cpu, op, written)?;
    write(cpu, op, HEADER, before & !wanted | wanted & used)
}

fn save_components<const WIDE: bool>(cpu: &mut Cpu, op: &Op, which: u64) -> Exec {
    if which & X87_STATE != 0 {
        save_x87(cpu, op, WIDE)?;
    }
    if which & SSE_STATE != 0 {
        save_xmm(cpu, op)?;
    }
    if which & AVX_STATE != 0 {
        save_ymm(cpu, op)?;
    }
    Ok(())
}

/// XSAVEC: what is as after reset is left out, and MXCSR belongs to SSE.
fn xsavec<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let wanted = requested(cpu, op)?;
    let mxcsr = if cpu.mxcsr != MXCSR_RESET { SSE_STATE } else { 0 };
    let written = wanted & (in_use(cpu) | mxcsr);
    if written & SSE_STATE != 0 {
        save_mxcsr(cpu, op)?;
    }
    save_components::<WIDE>(cpu, op, written)?;
    write(cpu, op, HEADER, written)?;
    write(cpu, op, HEADER + 8, COMPACTED | wanted)
}

/// XSTATE_BV and whether the format is the compacted one, after the checks of the header.
fn header(cpu: &mut Cpu, op: &Op) -> Result<(u64, bool), Fault> {
    let present = read::<u64>(cpu, op, HEADER)?;
    let components = read::<u64>(cpu, op, HEADER + 8)?;
    let mut reserved = read::<u64>(cpu, op, HEADER + 16)?;
    let compacted = components & COMPACTED != 0 && cpu.model.features.has(Feature::XSAVEC);
    if compacted {
        for at in (24..64).step_by(8) {
            reserved |= read::<u64>(cpu, op, HEADER + at)?;
        }
        reserved |= components & !(COMPACTED | cpu.xcr0) | present & !components;
    } else {
        reserved |= components;
    }
    if present & !cpu.xcr0 != 0 || reserved != 0 { Err(cpu.gp(0)) } else { Ok((present, compacted)) }
}

/// XRSTOR.
fn xrstor<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let wanted = requested(cpu, op)?;
    let (present, compacted) = header(cpu, op)?;
    let present = present & wanted;
    let x87 = if present & X87_STATE != 0 { Some(load_x87(cpu, op)?) } else { None };
    // In the standard format MXCSR goes with the request, whatever the header says is there.
    let mxcsr = match compacted {
        false if wanted & YMM_ON != 0 => load_mxcsr(cpu, op)?,
        true if present & SSE_STATE != 0 => load_mxcsr(cpu, op)?,
        true if wanted & SSE_STATE != 0 => MXCSR_RESET,
        _ => cpu.mxcsr,
    };
    let xmm = if present & SSE_STATE != 0 { Some(load_xmm(cpu, op)?) } else { None };
    let ymm = if present & AVX_STATE != 0 { Some(load_ymm(cpu, op)?) } else { None };
    let reach = reach(cpu);
    if wanted & X87_STATE != 0 {
        match x87 {
            Some(area) => cpu.x87.fxrstor(WIDE, &area),
            None => cpu.x87 = X87::new(),
        }
    }
    if wanted & SSE_STATE != 0 {
        match xmm {
            Some(xmm) => cpu.xmm = xmm,
            None => cpu.xmm[..reach].fill(0),
        }
    }
    if wanted & AVX_STATE != 0 {
        match ymm {
            Some(ymm) => cpu.ymm = ymm,
            None => cpu.ymm[..reach].fill(0),
        }
    }
    cpu.set_mxcsr(mxcsr);
    Ok(())
}
