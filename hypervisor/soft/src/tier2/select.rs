//! Which instructions are translated, and how.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::flow::{self, ALL, CF, OF, Use};
use super::translate::Kind;
use super::vectors;

/// How an instruction is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// By itself, with other registers.
    Plain,
    /// SHL, SHR, SAR of a register by a constant.
    Shift,
    /// ROL, ROR of a register by a constant.
    Rotate,
    /// By itself; the flags it leaves on the host are nobody's.
    Dead,
    /// IMUL into a register.
    Imul,
    /// MUL and IMUL of the accumulator.
    Mul,
    /// DIV of 32 and 64 bits.
    Div,
    /// BSF and BSR of 32 and 64 bits.
    Scan,
    /// BT, BTS, BTR, BTC.
    BitTest,
    /// CMPXCHG in memory.
    CompareExchange,
    /// CBW, CWD and their kin.
    Widen,
    /// PUSH of a register or a constant.
    Push,
    /// PUSH from memory.
    PushMemory,
    /// POP to a register.
    Pop,
    /// LEAVE.
    Leave,
    /// Jcc.
    Branch,
    /// JMP.
    Jump,
    /// JMP through a register or memory.
    JumpIndirect,
    /// CALL.
    Call,
    /// CALL through a register or memory.
    CallIndirect,
    /// RET.
    Return,
    /// Nothing at all.
    Nothing,
    /// Data in XMM registers moved or computed with, where MXCSR has no say.
    Vector,
    /// Floating point in XMM registers.
    Floating,
    /// In tier 1; the block goes on.
    Interpreted,
    /// In tier 1, which goes on with the rest of the block too.
    Left,
}

/// What of SSE the mode lets run by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sse {
    /// Nothing: it is switched off.
    None,
    /// What MXCSR has no say in: some exception is not masked.
    Integer,
    /// Everything.
    All,
}

/// Whether an operand is in memory.
pub fn in_memory(i: &Instruction) -> bool {
    (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory)
}

/// Whether a register is one of AH, CH, DH and BH, which have no name beside registers of 64-bit code.
pub fn is_high(r: Register) -> bool {
    matches!(r, Register::AH | Register::CH | Register::DH | Register::BH)
}

/// How many operands are such.
fn high_bytes(i: &Instruction) -> usize {
    (0..i.op_count()).filter(|n| i.op_kind(*n) == OpKind::Register && is_high(i.op_register(*n))).count()
}

/// Bytes of the first operand.
pub fn bytes(i: &Instruction) -> usize {
    match i.op0_kind() {
        OpKind::Register => i.op0_register().size(),
        _ => i.memory_size().size(),
    }
}

fn general(i: &Instruction, n: u32) -> bool {
    i.op_kind(n) != OpKind::Register || i.op_register(n).is_gpr()
}

fn is_plain(m: Mnemonic) -> bool {
    use Mnemonic::*;
    let moves = matches!(m, Mov | Movzx | Movsx | Movsxd | Movnti | Lea | Xchg | Xadd);
    let sums =
        matches!(m, Add | Or | Adc | Sbb | And | Sub | Xor | Cmp | Test | Inc | Dec | Neg | Not | Popcnt);
    moves || sums || crate::int::is_setcc(m) || crate::int::is_cmovcc(m)
}

/// Bits that a count of a shift keeps.
pub fn count(i: &Instruction) -> u32 {
    u32::from(i.immediate8()) & if bytes(i) == 8 { 63 } else { 31 }
}

/// A shift or rotate, by whether its flags may be seen.
fn shift(i: &Instruction, live: u8) -> Step {
    use Mnemonic::*;
    let rotate = matches!(i.mnemonic(), Rol | Ror);
    let seen = live & if rotate { CF | OF } else { ALL } != 0;
    let by_cl = i.op1_kind() == OpKind::Register;
    if by_cl || in_memory(i) {
        return if seen { Step::Interpreted } else { Step::Dead };
    }
    let n = count(i);
    match n {
        // Nothing but the zero extension.
        0 => Step::Plain,
        _ if !seen => Step::Dead,
        // What is shifted out is not always the carry then.
        _ if n as usize >= bytes(i) * 8 => Step::Interpreted,
        _ if rotate => Step::Rotate,
        _ => Step::Shift,
    }
}

fn stack(i: &Instruction) -> Option<Step> {
    Some(match (i.mnemonic(), i.op0_kind()) {
        // Of 16 bits.
        (Mnemonic::Push, _) if i.stack_pointer_increment() == -2 => return None,
        (Mnemonic::Push, OpKind::Memory) => Step::PushMemory,
        (Mnemonic::Push, _) if general(i, 0) => Step::Push,
        (Mnemonic::Pop, OpKind::Register) if !i.op0_register().is_gpr16() && general(i, 0) => Step::Pop,
        _ if matches!(i.code(), Code::Leaveq | Code::Leaved) => Step::Leave,
        _ => return None,
    })
}

fn transfer(i: &Instruction) -> Option<Step> {
    use Code::*;
    let near = matches!(i.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32);
    Some(match i.code() {
        _ if near && i.is_jcc_short_or_near() => Step::Branch,
        _ if near && i.is_jmp_short_or_near() => Step::Jump,
        _ if near && i.is_call_near() => Step::Call,
        Retnq | Retnq_imm16 | Retnd | Retnd_imm16 => Step::Return,
        Jmp_rm64 | Jmp_rm32 => Step::JumpIndirect,
        Call_rm64 | Call_rm32 => Step::CallIndirect,
        _ => return None,
    })
}

/// Whether 32-bit code has its operand where tier 1 alone finds it: at a 16-bit address, or in its code segment.
fn is_far_off(i: &Instruction) -> bool {
    let narrow = |r: Register| r.is_gpr16();
    let bare = i.memory_base() == Register::None && i.memory_index() == Register::None;
    in_memory(i)
        && (narrow(i.memory_base())
            || narrow(i.memory_index())
            || bare && i.memory_displ_size() == 2
            || i.memory_segment() == Register::CS)
}

/// How an instruction is carried out in code of a kind. `ends`: tier 1 ends its block there. `live`: the flags that may
/// be seen after it.
pub fn step(i: &Instruction, ends: bool, live: u8, kind: Kind) -> Step {
    use Mnemonic::*;
    let sse = kind.sse;
    if !kind.long && is_far_off(i) {
        return match i.mnemonic() {
            Nop => Step::Nothing,
            _ if ends => Step::Left,
            _ => Step::Interpreted,
        };
    }
    if let Some(step) = transfer(i) {
        return step;
    }
    if ends || i.is_jcc_short_or_near() || i.is_loop() || i.is_loopcc() || i.is_jcx_short() {
        return Step::Left;
    }
    if sse != Sse::None && vectors::vector(i) {
        return Step::Vector;
    }
    if sse == Sse::All && vectors::floating(i) {
        return Step::Floating;
    }
    if in_memory(i) && i.mnemonic() != Lea && !matches!(i.memory_size().size(), 1 | 2 | 4 | 8) {
        // What is checked to lie in one page is what is accessed.
        return if i.mnemonic() == Nop { Step::Nothing } else { Step::Interpreted };
    }
    let awkward = match high_bytes(i) {
        0 => false,
        1 => !is_plain(i.mnemonic()),
        _ => true,
    };
    if awkward || (0..i.op_count()).any(|n| !general(i, n)) {
        return Step::Interpreted;
    }
    if let Some(step) = stack(i) {
        return step;
    }
    if !named_form(i.code()).op_code().mode64() {
        return Step::Interpreted;
    }
    // LOCK is only encoded where it may stand.
    let wide = bytes(i) >= 4;
    match i.mnemonic() {
        Nop | Endbr32 | Endbr64 if i.op_count() == 0 => Step::Nothing,
        Reservednop | Prefetchnta | Prefetcht0 | Prefetcht1 | Prefetcht2 | Prefetchw => Step::Nothing,
        Nop if i.op0_kind() != OpKind::Register || i.op_count() == 1 => Step::Nothing,
        Lea if i.op0_register().size() == 2 => Step::Interpreted,
        Bswap if wide => Step::Plain,
        Shl | Sal | Shr | Sar | Rol | Ror => shift(i, live),
        // Of 16 bits by more than 16, hosts differ.
        Shld | Shrd if wide && live == 0 => Step::Dead,
        Imul if i.op_count() > 1 => Step::Imul,
        Mul | Imul => Step::Mul,
        Div if wide => Step::Div,
        Bsf | Bsr if wide => Step::Scan,
        Bt | Bts | Btr | Btc if !(in_memory(i) && i.op1_kind() == OpKind::Register) => Step::BitTest,
        Cmpxchg
            if in_memory(i) && super::layout::host(i.op1_register().full_register().number()).is_some() =>
        {
            Step::CompareExchange
        }
        Cbw | Cwde | Cdqe | Cwd | Cdq | Cqo => Step::Widen,
        m if is_plain(m) => Step::Plain,
        _ => Step::Interpreted,
    }
}

/// How the flags are used.
pub fn flags(i: &Instruction, step: Step) -> Use {
    let memory = in_memory(i) && i.mnemonic() != Mnemonic::Lea;
    let plain = Use { reads: flow::reads(i), kills: flow::writes(i), shows: memory };
    match step {
        Step::Plain => plain,
        Step::Shift | Step::Imul | Step::Mul | Step::Scan | Step::CompareExchange => {
            Use { reads: 0, kills: ALL, shows: memory }
        }
        // A count of 0 would leave them, and who knows.
        Step::Dead => Use { reads: 0, kills: 0, shows: memory },
        Step::Rotate if count(i) == 1 => Use { reads: 0, kills: CF | OF, shows: false },
        Step::Rotate => Use { reads: 0, kills: CF, shows: false },
        Step::BitTest => Use { reads: 0, kills: CF, shows: memory },
        Step::Widen | Step::Nothing => Use::default(),
        Step::Vector | Step::Floating => Use { reads: 0, kills: flow::writes(i), shows: memory },
        _ => Use { reads: 0, kills: 0, shows: true },
    }
}

/// Whether carrying it out by itself leaves the host's flags as they were, its own writes apart. Of what works on XMM
/// registers, see [`vectors`].
pub fn keeps_host_flags(i: &Instruction, step: Step) -> bool {
    match step {
        Step::Plain => !in_memory(i) || i.mnemonic() == Mnemonic::Lea && !based(i),
        Step::Widen | Step::Nothing => true,
        _ => false,
    }
}

/// Whether the memory operand is in a segment with a base.
pub fn based(i: &Instruction) -> bool {
    matches!(i.memory_segment(), Register::FS | Register::GS)
}

/// The form of an opcode that names its registers, of those that imply the accumulator.
pub fn named_form(code: Code) -> Code {
    use Code::*;
    match code {
        Add_AL_imm8 => Add_rm8_imm8,
        Add_AX_imm16 => Add_rm16_imm16,
        Add_EAX_imm32 => Add_rm32_imm32,
        Add_RAX_imm32 => Add_rm64_imm32,
        Or_AL_imm8 => Or_rm8_imm8,
        Or_AX_imm16 => Or_rm16_imm16,
        Or_EAX_imm32 => Or_rm32_imm32,
        Or_RAX_imm32 => Or_rm64_imm32,
        Adc_AL_imm8 => Adc_rm8_imm8,
        Adc_AX_imm16 => Adc_rm16_imm16,
        Adc_EAX_imm32 => Adc_rm32_imm32,
        Adc_RAX_imm32 => Adc_rm64_imm32,
        Sbb_AL_imm8 => Sbb_rm8_imm8,
        Sbb_AX_imm16 => Sbb_rm16_imm16,
        Sbb_EAX_imm32 => Sbb_rm32_imm32,
        Sbb_RAX_imm32 => Sbb_rm64_imm32,
        And_AL_imm8 => And_rm8_imm8,
        And_AX_imm16 => And_rm16_imm16,
        And_EAX_imm32 => And_rm32_imm32,
        And_RAX_imm32 => And_rm64_imm32,
        Sub_AL_imm8 => Sub_rm8_imm8,
        Sub_AX_imm16 => Sub_rm16_imm16,
        Sub_EAX_imm32 => Sub_rm32_imm32,
        Sub_RAX_imm32 => Sub_rm64_imm32,
        Xor_AL_imm8 => Xor_rm8_imm8,
        Xor_AX_imm16 => Xor_rm16_imm16,
        Xor_EAX_imm32 => Xor_rm32_imm32,
        Xor_RAX_imm32 => Xor_rm64_imm32,
        Cmp_AL_imm8 => Cmp_rm8_imm8,
        Cmp_AX_imm16 => Cmp_rm16_imm16,
        Cmp_EAX_imm32 => Cmp_rm32_imm32,
        Cmp_RAX_imm32 => Cmp_rm64_imm32,
        Test_AL_imm8 => Test_rm8_imm8,
        Test_AX_imm16 => Test_rm16_imm16,
        Test_EAX_imm32 => Test_rm32_imm32,
        Test_RAX_imm32 => Test_rm64_imm32,
        Inc_r16 => Inc_rm16,
        Inc_r32 => Inc_rm32,
        Dec_r16 => Dec_rm16,
        Dec_r32 => Dec_rm32,
        Xchg_r16_AX => Xchg_rm16_r16,
        Xchg_r32_EAX => Xchg_rm32_r32,
        Xchg_r64_RAX => Xchg_rm64_r64,
        Mov_AL_moffs8 => Mov_r8_rm8,
        Mov_AX_moffs16 => Mov_r16_rm16,
        Mov_EAX_moffs32 => Mov_r32_rm32,
        Mov_RAX_moffs64 => Mov_r64_rm64,
        Mov_moffs8_AL => Mov_rm8_r8,
        Mov_moffs16_AX => Mov_rm16_r16,
        Mov_moffs32_EAX => Mov_rm32_r32,
        Mov_moffs64_RAX => Mov_rm64_r64,
        code => code,
    }
}
