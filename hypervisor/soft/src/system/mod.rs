//! System instructions: everything with segments, privilege, control registers, ports and interrupts.

mod base;
pub mod bits;
mod control;
pub(crate) mod cpuid;
pub(crate) mod deliver;
mod far;
mod flow;
mod io;
pub mod msr;
pub mod segment;
mod task;

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use crate::cpu::seg as slot;
use crate::op::{Ctx, Op};

/// `$f::<MEM>` by the kind of operand `$n`, with the operand filled in.
macro_rules! mem_or_reg {
    ($ctor:ident, $i:expr, $ctx:expr, $n:expr, $f:ident $(, $t:tt)*) => {
        if $i.op_kind($n) == OpKind::Memory {
            Op::$ctor(mem_or_reg!(@ $f, true $(, $t)*)).mem($i, $ctx)
        } else {
            Op::$ctor(mem_or_reg!(@ $f, false $(, $t)*)).reg($ctx.reg($i.op_register($n)))
        }
    };
    (@ $f:ident, $m:tt) => { $f::<$m> };
    (@ $f:ident, $m:tt, $($t:tt),+) => { $f::<$m, $($t),+> };
}

fn seg_slot(r: Register) -> u8 {
    match r {
        Register::ES => slot::ES as u8,
        Register::CS => slot::CS as u8,
        Register::SS => slot::SS as u8,
        Register::DS => slot::DS as u8,
        Register::FS => slot::FS as u8,
        _ => slot::GS as u8,
    }
}

/// Lowers what belongs to this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    moves(i, ctx)
        .or_else(|| far_moves(i, ctx))
        .or_else(|| tables(i, ctx))
        .or_else(|| ports(i, ctx))
        .or_else(|| plain(i, ctx))
}

/// MOV with control, debug and segment registers; PUSH, POP and far loads of segment registers.
fn moves(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    use control::*;
    use flow::*;
    let (a, b) = (i.op0_register(), i.op1_register());
    let number = |r: Register| r.number() as u8;
    Some(match i.code() {
        // With a LOCK prefix it would be CR8, on processors of AMD's that announce it.
        Mov_r32_cr | Mov_r64_cr | Mov_cr_r32 | Mov_cr_r64 if i.has_lock_prefix() => return None,
        Mov_r32_cr | Mov_r64_cr => Op::stop(mov_from_cr).reg(number(a)).rm(number(b)),
        Mov_cr_r32 | Mov_cr_r64 => Op::stop(mov_to_cr).reg(number(b)).rm(number(a)),
        Mov_r32_dr | Mov_r64_dr => Op::stop(mov_from_dr).reg(number(a)).rm(number(b)),
        Mov_dr_r32 | Mov_dr_r64 => Op::stop(mov_to_dr).reg(number(b)).rm(number(a)),
        Mov_Sreg_rm16 | Mov_Sreg_r32m16 | Mov_Sreg_r64m16 => {
            if a == Register::CS {
                return None;
            }
            mem_or_reg!(stop, i, ctx, 1, mov_to_seg).rm(seg_slot(a))
        }
        Mov_rm16_Sreg => mem_or_reg!(line, i, ctx, 0, mov_from_seg, u16).rm(seg_slot(b)),
        Mov_r32m16_Sreg => mem_or_reg!(line, i, ctx, 0, mov_from_seg, u32).rm(seg_slot(b)),
        Mov_r64m16_Sreg => mem_or_reg!(line, i, ctx, 0, mov_from_seg, u64).rm(seg_slot(b)),
        Pushw_ES | Pushw_CS | Pushw_SS | Pushw_DS | Pushw_FS | Pushw_GS => {
            Op::line(push_seg::<u16>).rm(seg_slot(a))
        }
        Pushd_ES | Pushd_CS | Pushd_SS | Pushd_DS | Pushd_FS | Pushd_GS => {
            Op::line(push_seg::<u32>).rm(seg_slot(a))
        }
        Pushq_FS | Pushq_GS => Op::line(push_seg::<u64>).rm(seg_slot(a)),
        Popw_ES | Popw_SS | Popw_DS | Popw_FS | Popw_GS => Op::stop(pop_seg::<u16>).rm(seg_slot(a)),
        Popd_ES | Popd_SS | Popd_DS | Popd_FS | Popd_GS => Op::stop(pop_seg::<u32>).rm(seg_slot(a)),
        Popq_FS | Popq_GS => Op::stop(pop_seg::<u64>).rm(seg_slot(a)),
        code => {
            let slot = match i.mnemonic() {
                Mnemonic::Les => slot::ES,
                Mnemonic::Lds => slot::DS,
                Mnemonic::Lss => slot::SS,
                Mnemonic::Lfs => slot::FS,
                Mnemonic::Lgs => slot::GS,
                _ => return None,
            };
            let op = match code.op_code().operand_size() {
                16 => Op::stop(load_far::<u16>),
                32 => Op::stop(load_far::<u32>),
                _ => Op::stop(load_far::<u64>),
            };
            op.mem(i, ctx).reg(ctx.reg(a)).rm(slot as u8)
        }
    })
}

/// Far jumps, calls, returns, interrupts and system calls.
fn far_moves(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    use flow::*;
    let direct = |op: Op, size: u8| {
        let offset = if size == 2 { i.far_branch16() as u64 } else { i.far_branch32() as u64 };
        let mut op = op.imm(offset).rm(size);
        op.disp = i.far_branch_selector() as i64;
        op
    };
    Some(match i.code() {
        Jmp_ptr1616 => direct(Op::jump(far_direct::<false>), 2),
        Jmp_ptr1632 => direct(Op::jump(far_direct::<false>), 4),
        Call_ptr1616 => direct(Op::jump(far_direct::<true>), 2),
        Call_ptr1632 => direct(Op::jump(far_direct::<true>), 4),
        Jmp_m1616 => Op::jump(far_indirect::<false>).mem(i, ctx).rm(2),
        Jmp_m1632 => Op::jump(far_indirect::<false>).mem(i, ctx).rm(4),
        Jmp_m1664 => Op::jump(far_indirect::<false>).mem(i, ctx).rm(8),
        Call_m1616 => Op::jump(far_indirect::<true>).mem(i, ctx).rm(2),
        Call_m1632 => Op::jump(far_indirect::<true>).mem(i, ctx).rm(4),
        Call_m1664 => Op::jump(far_indirect::<true>).mem(i, ctx).rm(8),
        Retfw => Op::jump(retf).rm(2),
        Retfd => Op::jump(retf).rm(4),
        Retfq => Op::jump(retf).rm(8),
        Retfw_imm16 => Op::jump(retf).rm(2).imm(i.immediate16() as u64),
        Retfd_imm16 => Op::jump(retf).rm(4).imm(i.immediate16() as u64),
        Retfq_imm16 => Op::jump(retf).rm(8).imm(i.immediate16() as u64),
        Iretw => Op::jump(iret).rm(2),
        Iretd => Op::jump(iret).rm(4),
        Iretq => Op::jump(iret).rm(8),
        Int_imm8 => Op::jump(int).imm(i.immediate8() as u64),
        Int3 => Op::jump(int).imm(3),
        Int1 => Op::jump(int1),
        Into => Op::jump(into),
        Syscall => Op::jump(syscall),
        Sysretd => Op::jump(sysret).rm(4),
        Sysretq => Op::jump(sysret).rm(8),
        Sysenter => Op::jump(sysenter),
        Sysexitd => Op::jump(sysexit).rm(4),
        Sysexitq => Op::jump(sysexit).rm(8),
        _ => return None,
    })
}

/// Descriptor tables and what looks at descriptors.
fn tables(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    use base::*;
    use control::*;
    Some(match i.code() {
        Lgdt_m1632_16 => Op::stop(load_table).mem(i, ctx).rm(3),
        Lgdt_m1632 => Op::stop(load_table).mem(i, ctx).rm(4),
        Lgdt_m1664 => Op::stop(load_table).mem(i, ctx).rm(8),
        Lidt_m1632_16 => Op::stop(load_table).mem(i, ctx).reg(1).rm(3),
        Lidt_m1632 => Op::stop(load_table).mem(i, ctx).reg(1).rm(4),
        Lidt_m1664 => Op::stop(load_table).mem(i, ctx).reg(1).rm(8),
        Sgdt_m1632_16 | Sgdt_m1632 => Op::line(store_table).mem(i, ctx).rm(4),
        Sgdt_m1664 => Op::line(store_table).mem(i, ctx).rm(8),
        Sidt_m1632_16 | Sidt_m1632 => Op::line(store_table).mem(i, ctx).reg(1).rm(4),
        Sidt_m1664 => Op::line(store_table).mem(i, ctx).reg(1).rm(8),
        Lldt_rm16 | Lldt_r32m16 | Lldt_r64m16 => mem_or_reg!(stop, i, ctx, 0, lldt),
        Ltr_rm16 | Ltr_r32m16 | Ltr_r64m16 => mem_or_reg!(stop, i, ctx, 0, ltr),
        Sldt_rm16 => mem_or_reg!(line, i, ctx, 0, sldt, u16),
        Sldt_r32m16 => mem_or_reg!(line, i, ctx, 0, sldt, u32),
        Sldt_r64m16 => mem_or_reg!(line, i, ctx, 0, sldt, u64),
        Str_rm16 => mem_or_reg!(line, i, ctx, 0, str, u16),
        Str_r32m16 => mem_or_reg!(line, i, ctx, 0, str, u32),
        Str_r64m16 => mem_or_reg!(line, i, ctx, 0, str, u64),
        Smsw_rm16 => mem_or_reg!(line, i, ctx, 0, smsw, u16),
        Smsw_r32m16 => mem_or_reg!(line, i, ctx, 0, smsw, u32),
        Smsw_r64m16 => mem_or_reg!(line, i, ctx, 0, smsw, u64),
        Lmsw_rm16 | Lmsw_r32m16 | Lmsw_r64m16 => mem_or_reg!(stop, i, ctx, 0, lmsw),
        Verr_rm16 | Verr_r32m16 | Verr_r64m16 => mem_or_reg!(line, i, ctx, 0, verify, false),
        Verw_rm16 | Verw_r32m16 | Verw_r64m16 => mem_or_reg!(line, i, ctx, 0, verify, true),
        Arpl_rm16_r16 | Arpl_r32m16_r32 => mem_or_reg!(line, i, ctx, 0, arpl).rm(ctx.reg(i.op1_register())),
        Invlpg_m => Op::stop(invlpg).mem(i, ctx),
        Clflush_m8 | Clflushopt_m8 | Clwb_m8 => Op::line(clflush).mem(i, ctx),
        Invpcid_r32_m128 => Op::stop(invpcid::<u32>).mem(i, ctx).reg(ctx.reg(i.op0_register())),
        Invpcid_r64_m128 => Op::stop(invpcid::<u64>).mem(i, ctx).reg(ctx.reg(i.op0_register())),
        Lar_r16_rm16 => lar::<u16, false>(i, ctx),
        Lar_r32_r32m16 => lar::<u32, false>(i, ctx),
        Lar_r64_r64m16 => lar::<u64, false>(i, ctx),
        Lsl_r16_rm16 => lar::<u16, true>(i, ctx),
        Lsl_r32_r32m16 => lar::<u32, true>(i, ctx),
        Lsl_r64_r64m16 => lar::<u64, true>(i, ctx),
        _ => return None,
    })
}

fn lar<T: crate::op::Int, const LIMIT: bool>(i: &Instruction, ctx: &Ctx) -> Op {
    let op = if i.op1_kind() == OpKind::Memory {
        Op::line(control::lar_lsl::<true, LIMIT, T>).mem(i, ctx)
    } else {
        Op::line(control::lar_lsl::<false, LIMIT, T>).rm(ctx.reg(i.op1_register()))
    };
    op.reg(ctx.reg(i.op0_register()))
}

/// IN, OUT, INS and OUTS.
fn ports(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    use io::*;
    let strings = |op: Op, segment: u8| {
        let rep = i.has_rep_prefix() || i.has_repne_prefix();
        let mut op = op.imm(rep as u64).rm(ctx.addr(i) / 8);
        op.seg = segment;
        op
    };
    let es = || if ctx.code == 64 { slot::FLAT as u8 } else { INS_SEG as u8 };
    let source = || ctx.seg(i.memory_segment());
    let imm = i.immediate8() as u64;
    Some(match i.code() {
        In_AL_imm8 => Op::stop(input::<false, u8>).imm(imm),
        In_AX_imm8 => Op::stop(input::<false, u16>).imm(imm),
        In_EAX_imm8 => Op::stop(input::<false, u32>).imm(imm),
        In_AL_DX => Op::stop(input::<true, u8>),
        In_AX_DX => Op::stop(input::<true, u16>),
        In_EAX_DX => Op::stop(input::<true, u32>),
        Out_imm8_AL => Op::stop(output::<false, u8>).imm(imm),
        Out_imm8_AX => Op::stop(output::<false, u16>).imm(imm),
        Out_imm8_EAX => Op::stop(output::<false, u32>).imm(imm),
        Out_DX_AL => Op::stop(output::<true, u8>),
        Out_DX_AX => Op::stop(output::<true, u16>),
        Out_DX_EAX => Op::stop(output::<true, u32>),
        Insb_m8_DX => strings(Op::stop(string::<true, u8>), es()),
        Insw_m16_DX => strings(Op::stop(string::<true, u16>), es()),
        Insd_m32_DX => strings(Op::stop(string::<true, u32>), es()),
        Outsb_DX_m8 => strings(Op::stop(string::<false, u8>), source()),
        Outsw_DX_m16 => strings(Op::stop(string::<false, u16>), source()),
        Outsd_DX_m32 => strings(Op::stop(string::<false, u32>), source()),
        _ => return None,
    })
}

/// What has no operands worth mentioning.
fn plain(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    use base::*;
    use control::*;
    use flow::*;
    Some(match i.code() {
        Pushfw => Op::line(pushf::<u16>),
        Pushfd => Op::line(pushf::<u32>),
        Pushfq => Op::line(pushf::<u64>),
        Popfw => Op::stop(popf::<u16>),
        Popfd => Op::stop(popf::<u32>),
        Popfq => Op::stop(popf::<u64>),
        Cli => Op::line(cli),
        Sti => Op::stop(sti),
        Hlt => Op::stop(hlt),
        Pause => Op::stop(pause),
        Cpuid => Op::stop(cpuid::cpuid),
        Rdmsr => Op::stop(msr::rdmsr),
        Wrmsr => Op::stop(msr::wrmsr),
        Rdtsc => Op::stop(rdtsc),
        Rdtscp => Op::stop(rdtscp),
        Rdpmc => Op::stop(rdpmc),
        Clts => Op::stop(clts),
        Invd | Wbinvd => Op::stop(kernel_nop),
        Swapgs => Op::line(swapgs),
        Rdfsbase_r32 => Op::line(read_base::<u32>).reg(ctx.reg(i.op0_register())).rm(slot::FS as u8),
        Rdfsbase_r64 => Op::line(read_base::<u64>).reg(ctx.reg(i.op0_register())).rm(slot::FS as u8),
        Rdgsbase_r32 => Op::line(read_base::<u32>).reg(ctx.reg(i.op0_register())).rm(slot::GS as u8),
        Rdgsbase_r64 => Op::line(read_base::<u64>).reg(ctx.reg(i.op0_register())).rm(slot::GS as u8),
        Wrfsbase_r32 => Op::line(write_base::<u32>).reg(ctx.reg(i.op0_register())).rm(slot::FS as u8),
        Wrfsbase_r64 => Op::line(write_base::<u64>).reg(ctx.reg(i.op0_register())).rm(slot::FS as u8),
        Wrgsbase_r32 => Op::line(write_base::<u32>).reg(ctx.reg(i.op0_register())).rm(slot::GS as u8),
        Wrgsbase_r64 => Op::line(write_base::<u64>).reg(ctx.reg(i.op0_register())).rm(slot::GS as u8),
        Rdpid_r32 | Rdpid_r64 => Op::line(rdpid).reg(ctx.reg(i.op0_register())),
        Clac => Op::line(set_ac).reg(0),
        Stac => Op::line(set_ac).reg(1),
        Xgetbv => Op::line(xgetbv),
        Xsetbv => Op::stop(xsetbv),
        Monitorw | Monitord | Monitorq => {
            let mut op = Op::line(monitor);
            op.seg = ctx.seg(i.memory_segment());
            op.imm = match i.code() {
                Monitorw => 0xffff,
                Monitord => 0xffff_ffff,
                _ => u64::MAX,
            };
            op
        }
        Mwait => Op::stop(mwait),
        _ => return None,
    })
}
