//! Random instructions of the integer set, with registers and memory that suit them.

use super::host::{DATA, DATA_LEN, Regs, TAKEN, TEST};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

/// A small generator (xorshift64*): the same cases for the same seed, anywhere.
pub struct Random(u64);

impl Random {
    /// A generator started from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.bits() >> 16) % n
    }

    /// A value worth computing with: often a border of some width, else random.
    pub fn value(&mut self) -> u64 {
        let edge = 1u64 << self.below(64);
        match self.below(8) {
            0 => 0,
            1 => self.below(16),
            2 => edge,
            3 => edge.wrapping_sub(1),
            4 => edge.wrapping_neg(),
            5 => self.bits() >> self.below(64),
            _ => self.bits(),
        }
    }
}

/// One instruction with everything that it starts from.
pub struct Case {
    /// Code size: 64 or 32.
    pub bits: u32,
    /// The encoded instruction.
    pub code: Vec<u8>,
    /// Its decoded form, for messages.
    pub text: String,
    /// Registers before it.
    pub regs: Regs,
}

/// What one family of opcodes consists of.
pub struct Family {
    /// For messages.
    pub name: &'static str,
    /// Code size: 64 or 32.
    pub bits: u32,
    /// Opcode bytes, after prefixes; ModRM, SIB, displacement and immediate are random.
    pub opcodes: Vec<Vec<u8>>,
    /// Mandatory or repeating prefixes to choose from; an empty slice for none.
    pub prefixes: &'static [&'static [u8]],
    /// Whether the decoded instruction is wanted.
    pub want: fn(&Instruction) -> bool,
    /// Whether a conditional branch to [`TAKEN`] follows the instruction.
    pub branch: bool,
}

fn gpr_index(r: Register) -> Option<usize> {
    (r.is_gpr64() || r.is_gpr32() || r.is_gpr16()).then(|| r.full_register().number())
}

/// A place in the data area with room on both sides, sometimes across a page border.
fn place(rng: &mut Random) -> u64 {
    let page = DATA + 0x2000 + rng.below(4) * 0x1000;
    match rng.below(4) {
        0 => page - rng.below(16),
        1 => page + rng.below(0x1000),
        _ => page + (rng.below(0x100) << 4),
    }
}

impl Family {
    /// A random case of opcode number `i` of the family; `None` when the bytes drawn do not serve.
    pub fn case(&self, i: usize, rng: &mut Random) -> Option<Case> {
        let opcode = self.opcodes.get(i % self.opcodes.len())?;
        let mut code = Vec::new();
        if rng.below(4) == 0 {
            code.push(0x66);
        }
        if rng.below(12) == 0 {
            code.push(0x67);
        }
        if !self.prefixes.is_empty() {
            code.extend_from_slice(self.prefixes[rng.below(self.prefixes.len() as u64) as usize]);
        }
        if self.bits == 64 && rng.below(2) == 0 {
            code.push(0x40 | rng.below(16) as u8);
        }
        code.extend_from_slice(opcode);
        for _ in 0..12 {
            let v = rng.value() as u8;
            code.push(if rng.below(2) == 0 { v } else { rng.bits() as u8 });
        }
        let mut decoder = Decoder::with_ip(self.bits, &code, TEST, DecoderOptions::NONE);
        let insn = decoder.decode();
        if insn.is_invalid() || !(self.want)(&insn) {
            return None;
        }
        let offsets = decoder.get_constant_offsets(&insn);
        code.truncate(insn.len());
        let mut regs = Regs { flags: 0x202, ..Default::default() };
        for r in &mut regs.gpr {
            *r = rng.value();
        }
        regs.flags |= rng.bits() & 0x8d5;
        let strings = (0..insn.op_count()).any(|k| is_string(insn.op_kind(k)));
        if strings && rng.below(3) == 0 {
            regs.flags |= 0x400;
        }
        let target = place(rng);
        if strings {
            regs.gpr[6] = place(rng);
            regs.gpr[7] = if rng.below(3) == 0 {
                regs.gpr[6].wrapping_add(rng.below(32)).wrapping_sub(16)
            } else {
                place(rng)
            };
            if insn.has_rep_prefix() || insn.has_repne_prefix() {
                regs.gpr[1] = if rng.below(8) == 0 { rng.below(600) } else { rng.below(24) };
            }
        } else if (0..insn.op_count()).any(|k| in_memory(insn.op_kind(k)))
            && insn.mnemonic() != Mnemonic::Lea
            && insn.mnemonic() != Mnemonic::Nop
        {
            aim(
                &insn,
                target,
                &mut regs,
                &mut code,
                offsets.displacement_offset(),
                offsets.displacement_size(),
                rng,
            )?;
        }
        if insn.stack_pointer_increment() != 0 || matches!(insn.mnemonic(), Mnemonic::Leave | Mnemonic::Enter)
        {
            regs.gpr[4] = place(rng);
            if matches!(insn.mnemonic(), Mnemonic::Leave | Mnemonic::Enter) {
                regs.gpr[5] = place(rng);
            }
            if uses(&insn, Register::RSP) {
                return None;
            }
        }
        branch(&insn, &mut code, &mut regs, target, offsets.immediate_offset(), rng)?;
        let insn = Decoder::with_ip(self.bits, &code, TEST, DecoderOptions::NONE).decode();
        if self.branch {
            let rel = TAKEN - (TEST + code.len() as u64 + 2);
            code.extend_from_slice(&[0x70 | rng.below(16) as u8, rel as u8]);
        }
        if self.bits == 32 {
            regs.gpr.iter_mut().for_each(|r| *r &= 0xffff_ffff);
        }
        Some(Case { bits: self.bits, text: format!("{insn} [{code:02x?}]"), code, regs })
    }
}

fn is_string(k: OpKind) -> bool {
    use OpKind::*;
    matches!(k, MemorySegSI | MemorySegESI | MemorySegRSI | MemoryESDI | MemoryESEDI | MemoryESRDI)
}

fn in_memory(k: OpKind) -> bool {
    use OpKind::*;
    matches!(k, Memory | MemorySegDI | MemorySegEDI | MemorySegRDI)
}

fn uses(insn: &Instruction, reg: Register) -> bool {
    insn.memory_base().full_register() == reg
        || (0..insn.op_count()).any(|k| insn.op_register(k).full_register() == reg)
}

fn uses_in_address(insn: &Instruction, number: usize) -> bool {
    [insn.memory_base(), insn.memory_index()].into_iter().filter_map(gpr_index).any(|r| r == number)
}

/// Makes the memory operand of `insn` point at `target`.
fn aim(
    insn: &Instruction,
    target: u64,
    regs: &mut Regs,
    code: &mut [u8],
    at: usize,
    size: usize,
    rng: &mut Random,
) -> Option<()> {
    let (base, index) = (insn.memory_base(), insn.memory_index());
    if matches!(insn.memory_segment(), Register::FS | Register::GS) {
        return None;
    }
    if insn.op_count() > 0 && matches!(insn.op0_kind(), OpKind::MemorySegRDI | OpKind::MemorySegEDI) {
        regs.gpr[7] = target;
        return Some(());
    }
    if matches!(insn.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
        && insn.op1_kind() == OpKind::Register
    {
        let r = insn.op1_register().full_register().number();
        if uses_in_address(insn, r) {
            return None;
        }
        regs.gpr[r] = (rng.below(0x4000) as i64 - 0x2000) as u64;
    }
    if insn.mnemonic() == Mnemonic::Xlatb {
        regs.gpr[3] = target;
        return Some(());
    }
    if insn.op_count() > 0 && insn.op0_kind() == OpKind::MemorySegDI {
        return None;
    }
    // The indices of a gather are small: the rest of the address is the target.
    let index = if insn.is_vsib() { Register::None } else { index };
    let narrow = base.is_gpr32() || index.is_gpr32();
    if base.is_gpr16() || index.is_gpr16() || size == 2 {
        // 16-bit addresses do not reach the data area.
        return None;
    }
    if base == Register::RIP || base == Register::EIP || (base == Register::None && index == Register::None) {
        let want =
            if base == Register::None { target } else { target.wrapping_sub(TEST + insn.len() as u64) };
        code.get_mut(at..at + size)?.copy_from_slice(&want.to_le_bytes()[..size]);
        return Some(());
    }
    let disp = insn.memory_displacement64();
    let scale = u64::from(insn.memory_index_scale());
    let (b, i) = (gpr_index(base), gpr_index(index));
    match (b, i) {
        (Some(b), Some(i)) if b == i => return None,
        (Some(b), Some(i)) => {
            let v = if narrow { u64::from(regs.gpr[i] as u32) } else { regs.gpr[i] };
            regs.gpr[b] = target.wrapping_sub(disp).wrapping_sub(v.wrapping_mul(scale));
        }
        (Some(b), None) => regs.gpr[b] = target.wrapping_sub(disp),
        (None, Some(i)) => {
            let v = target.wrapping_sub(disp);
            if !v.is_multiple_of(scale) {
                return None;
            }
            regs.gpr[i] = v / scale;
        }
        (None, None) => return None,
    }
    if narrow {
        let r = b.or(i)?;
        regs.gpr[r] = (regs.gpr[r] & 0xffff_ffff) | (rng.value() << 32);
    }
    Some(())
}

/// Gives branches their target, in the displacement, the register or the stack.
fn branch(
    insn: &Instruction,
    code: &mut [u8],
    regs: &mut Regs,
    memory: u64,
    at: usize,
    _rng: &mut Random,
) -> Option<()> {
    match insn.flow_control() {
        FlowControl::Next => Some(()),
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch | FlowControl::Call => {
            // A 16-bit operand size in a 64-bit near branch is where vendors differ.
            if code.first() == Some(&0x66)
                || !insn.is_jcc_short_or_near()
                    && !insn.is_jmp_short_or_near()
                    && !insn.is_call_near()
                    && !insn.is_loop()
                    && !insn.is_loopcc()
                    && !insn.is_jcx_short()
            {
                return None;
            }
            let size = code.len() - at;
            let rel = TAKEN.wrapping_sub(TEST + code.len() as u64);
            code.get_mut(at..)?.copy_from_slice(&rel.to_le_bytes()[..size]);
            Some(())
        }
        FlowControl::IndirectBranch | FlowControl::IndirectCall => {
            if code.first() == Some(&0x66) {
                return None;
            }
            match insn.op0_kind() {
                OpKind::Register => regs.gpr[insn.op0_register().full_register().number()] = TAKEN,
                OpKind::Memory => poke(memory, TAKEN),
                _ => return None,
            }
            Some(())
        }
        FlowControl::Return => {
            if code.first() == Some(&0x66) {
                return None;
            }
            poke(regs.gpr[4], TAKEN);
            Some(())
        }
        _ => None,
    }
}

/// Writes a quadword into the data area.
fn poke(addr: u64, v: u64) {
    assert!(addr >= DATA && addr + 8 <= DATA + DATA_LEN as u64);
    // SAFETY: inside the mapped data area, asserted above; the only thread that uses it is this one.
    unsafe { std::ptr::write_unaligned(addr as *mut u64, v) }
}
