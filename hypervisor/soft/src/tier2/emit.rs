//! Instructions by host code.

use iced_x86::{Instruction, Mnemonic, OpAccess, OpKind, Register};

use super::asm::{Alu, Reg, Rm, Width, cc};
use super::flow::{self, AF, CF, PF, ZF};
use super::layout::{self, GUEST_RAX, GUEST_RBP, GUEST_RDX, GUEST_RSP, T0, T1};
use super::select::{self, bytes, in_memory};
use super::translate::{Translator, Untranslatable};
use crate::cpu::seg;

type Done = Result<(), Untranslatable>;
/// A high byte that is held, and the scratch registers that are left.
type High<'s> = (Option<(Reg, Reg, bool)>, &'s [Reg]);

/// Whether an access may write.
pub(super) fn writes(access: OpAccess) -> bool {
    use OpAccess::*;
    matches!(access, Write | CondWrite | ReadWrite | ReadCondWrite)
}

/// The byte of the frame's flags that AH was.
fn high() -> Rm {
    Rm::M(layout::CPU, layout::flags_high())
}

impl Translator<'_> {
    /// The memory operand as an operand of the host's, without its segment. Scratch registers may be part of it. The flags
    /// stay.
    fn operand(&mut self, i: &Instruction) -> Rm {
        let (base, index) = (i.memory_base(), i.memory_index());
        let disp = i.memory_displacement64();
        if i.is_ip_rel_memory_operand() {
            let to = self.relative(disp);
            self.asm.load(Width::Q, T0, layout::page());
            if let Ok(to) = i32::try_from(to) {
                return Rm::M(T0, to);
            }
            self.asm.constant(T1, to as u64);
            return Rm::X(Some(T0), T1, 0, 0);
        }
        let base = (base != Register::None).then(|| self.in_register(base.number(), T0));
        let index = (index != Register::None).then(|| self.in_register(index.number(), T1));
        let scale = i.memory_index_scale().trailing_zeros() as u8;
        match (base, index) {
            (Some(base), None) => Rm::M(base, disp as i32),
            (base, Some(index)) => Rm::X(base, index, scale, disp as i32),
            (None, None) => {
                self.asm.constant(T0, if self.kind.long { disp } else { u64::from(disp as u32) });
                Rm::M(T0, 0)
            }
        }
    }

    /// A guest register in a host register: its own, or `scratch`.
    fn in_register(&mut self, guest: usize, scratch: Reg) -> Reg {
        layout::host(guest).unwrap_or_else(|| {
            self.asm.load(Width::Q, scratch, layout::slot(guest));
            scratch
        })
    }

    /// Leaves the linear address of the memory operand in `T0`, or goes to `miss`.
    pub(super) fn address(&mut self, i: &Instruction, write: bool, miss: super::asm::Label) {
        let size = match (i.memory_base(), i.memory_index()) {
            (Register::None, Register::None) => i.memory_displ_size() as usize,
            (Register::None, r) | (r, _) => r.size(),
        };
        let operand = self.operand(i);
        let w = if size == 4 { Width::D } else { Width::Q };
        match operand {
            Rm::M(base, 0) if w == Width::Q || base == T0 => self.asm.mov(T0, base),
            operand => self.asm.lea(w, T0, operand),
        }
        match i.memory_segment() {
            Register::FS => self.in_segment(i, seg::FS, write, miss),
            Register::GS => self.in_segment(i, seg::GS, write, miss),
            Register::ES if !self.kind.long => self.in_segment(i, seg::ES, write, miss),
            _ => {}
        }
    }

    /// Makes the offset in `T0` a linear address. In 32-bit code the segment has a limit and rights, which tier 1 sees to
    /// where they are not the expected ones. The flags are lost.
    fn in_segment(&mut self, i: &Instruction, seg: usize, write: bool, miss: super::asm::Label) {
        let (base, bound) = (layout::segment_base(seg), layout::segment_bound(seg, write));
        if self.kind.long {
            return self.asm.alu(Alu::Add, Width::Q, T0, base);
        }
        if self.kind.endless >> seg & 1 != 0 {
            // Any offset is one then, and addresses wrap.
            self.asm.alu_imm(Alu::Cmp, Width::D, layout::segment_limit(seg), -1);
            self.asm.jcc(cc::NE, miss);
            self.asm.alu_imm(Alu::Cmp, Width::Q, bound, 0);
            self.asm.jcc(cc::E, miss);
        } else {
            self.asm.lea(Width::Q, T1, Rm::M(T0, i.memory_size().size() as i32 - 1));
            self.asm.alu(Alu::Cmp, Width::Q, T1, bound);
            self.asm.jcc(cc::AE, miss);
        }
        self.asm.alu(Alu::Add, Width::D, T0, base);
    }

    /// Leaves the host address of the memory operand in `T0`, or goes to `miss`.
    fn reach(&mut self, i: &Instruction, miss: super::asm::Label) {
        let size = i.memory_size().size();
        let write = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory && writes(self.access(i, n)));
        self.address(i, write, miss);
        layout::tlb_check(&mut self.asm, size, write, miss);
        let locked = i.has_lock_prefix() || i.mnemonic() == Mnemonic::Xchg;
        if locked && size > 1 {
            // Split locks are tier 1's.
            self.asm.test_imm8(Rm::R(T0), size as u8 - 1);
            self.asm.jcc(cc::NE, miss);
        }
        if super::vectors::aligned(i) {
            // A general protection fault.
            self.asm.test_imm8(Rm::R(T0), 15);
            self.asm.jcc(cc::NE, miss);
        }
        self.flags_lost();
    }

    /// Encodes the instruction with the registers of the host; the memory operand is at `address`. Guest registers that
    /// live in memory pass through `scratch`, and are stored before the flags are looked at.
    fn substitute(&mut self, at: usize, address: Option<Reg>, scratch: &[Reg]) -> Done {
        let i = *self.insn(at);
        let mut host = i;
        host.set_code(select::named_form(i.code()));
        let mut held: Vec<(usize, Reg, bool)> = Vec::new();
        self.hold_vectors(&i);
        let (high, scratch) = self.hold_high(&i, scratch)?;
        for n in 0..i.op_count() {
            match i.op_kind(n) {
                // The host's register of the same number.
                OpKind::Register if i.op_register(n).is_xmm() => {}
                OpKind::Register if select::is_high(i.op_register(n)) => {
                    let (_, place, _) = high.ok_or(Untranslatable)?;
                    host.set_op_register(n, layout::named(place, 1));
                }
                OpKind::Register => {
                    let r = i.op_register(n);
                    let guest = r.full_register().number();
                    let access = self.access(&i, n);
                    let place = match layout::host(guest) {
                        Some(place) => place,
                        None => self.hold(&mut held, guest, r.size(), access, scratch)?,
                    };
                    host.set_op_register(n, layout::named(place, r.size()));
                }
                OpKind::Memory => {
                    let base = address.ok_or(Untranslatable)?;
                    host.set_op_kind(n, OpKind::Memory);
                    host.set_memory_base(layout::named(base, 8));
                    host.set_memory_index(Register::None);
                    host.set_memory_index_scale(1);
                    host.set_memory_displacement64(0);
                    host.set_memory_displ_size(0);
                    host.set_segment_prefix(Register::None);
                }
                _ => {}
            }
        }
        self.encode(&host)?;
        for (guest, r, store) in held {
            if store {
                self.asm.store(Width::Q, layout::slot(guest), r);
            }
        }
        if let Some((guest, place, true)) = high {
            // Its other bytes may have been written too.
            self.asm.store(Width::Q, layout::operand(), guest);
            self.asm.store(Width::B, layout::operand_high(), place);
            self.asm.load(Width::Q, guest, layout::operand());
        }
        Ok(())
    }

    /// Gives the high byte of a guest register, if the instruction names one, the first scratch register: the host's register
    /// of the guest's, the scratch register, whether it is written, and the scratch registers that are left. The flags
    /// stay.
    fn hold_high<'s>(&mut self, i: &Instruction, scratch: &'s [Reg]) -> Result<High<'s>, Untranslatable> {
        let named = |n: &u32| i.op_kind(*n) == OpKind::Register && select::is_high(i.op_register(*n));
        let Some(n) = (0..i.op_count()).find(named) else { return Ok((None, scratch)) };
        let guest = layout::host(i.op_register(n).full_register().number()).ok_or(Untranslatable)?;
        let (place, rest) = scratch.split_first().ok_or(Untranslatable)?;
        self.asm.store(Width::Q, layout::operand(), guest);
        self.asm.load(Width::B, *place, layout::operand_high());
        Ok((Some((guest, *place, writes(self.access(i, n)))), rest))
    }

    /// Encodes the instruction, wherever its operand is. A label that is given is to be bound behind what belongs to it.
    pub(super) fn anywhere(&mut self, at: usize) -> Result<Option<super::asm::Label>, Untranslatable> {
        let i = *self.insn(at);
        if !in_memory(&i) {
            self.substitute(at, None, &[T1, T0])?;
            return Ok(None);
        }
        let (miss, back) = self.miss(at);
        self.reach(&i, miss);
        self.substitute(at, Some(T0), &[T1])?;
        Ok(Some(back))
    }

    /// Gives a guest register that lives in memory a scratch register for one instruction.
    fn hold(
        &mut self,
        held: &mut Vec<(usize, Reg, bool)>,
        guest: usize,
        size: usize,
        access: OpAccess,
        scratch: &[Reg],
    ) -> Result<Reg, Untranslatable> {
        // Narrow writes leave the rest of the register.
        let load = access != OpAccess::Write || size < 4;
        if let Some((_, r, store)) = held.iter_mut().find(|(g, ..)| *g == guest) {
            *store |= writes(access);
            let r = *r;
            if load {
                self.asm.load(Width::Q, r, layout::slot(guest));
            }
            return Ok(r);
        }
        let r = *scratch.get(held.len()).ok_or(Untranslatable)?;
        if load {
            self.asm.load(Width::Q, r, layout::slot(guest));
        }
        held.push((guest, r, writes(access)));
        Ok(r)
    }

    /// An instruction that does on the host what it does in the guest, flags and all.
    pub(super) fn plain(&mut self, at: usize) -> Done {
        let i = *self.insn(at);
        if i.mnemonic() == Mnemonic::Lea {
            return self.lea(&i);
        }
        let makes = flow::writes(&i) != 0;
        if !in_memory(&i) {
            if self.wants_carry(at) {
                if !self.flags_in_host() {
                    self.restore_carry();
                }
            } else if flow::reads(&i) != 0 && !self.flags_in_host() {
                Self::restore_flags(&mut self.asm);
            }
            self.substitute(at, None, &[T1, T0])?;
            if makes {
                self.flags_made();
            }
            return Ok(());
        }
        let (miss, back) = self.miss(at);
        self.reach(&i, miss);
        if self.wants_carry(at) {
            self.restore_carry();
            self.substitute(at, Some(T0), &[T1])?;
        } else if flow::reads(&i) != 0 {
            self.asm.mov(T1, T0);
            Self::restore_flags(&mut self.asm);
            self.substitute(at, Some(T1), &[T0])?;
        } else {
            self.substitute(at, Some(T0), &[T1])?;
        }
        if makes {
            self.flags_made();
            self.miss_gives(true);
        }
        self.asm.bind(back);
        Ok(())
    }

    /// LEA: no memory, no flags.
    fn lea(&mut self, i: &Instruction) -> Done {
        let size = match (i.memory_base(), i.memory_index()) {
            (Register::None, Register::None) => i.memory_displ_size() as usize,
            (Register::None, r) | (r, _) => r.size(),
        };
        let operand = self.operand(i);
        let to = i.op0_register();
        let guest = to.full_register().number();
        let r = layout::host(guest).unwrap_or(T0);
        // A narrow address is cut, and so is a narrow result.
        let w = if size == 4 || to.size() == 4 { Width::D } else { Width::Q };
        self.asm.lea(w, r, operand);
        if layout::host(guest).is_none() {
            self.asm.store(Width::Q, layout::slot(guest), r);
        }
        Ok(())
    }

    /// An instruction whose flags nobody sees.
    pub(super) fn dead(&mut self, at: usize) -> Done {
        let back = self.anywhere(at)?;
        self.flags_lost();
        if let Some(back) = back {
            self.asm.bind(back);
        }
        Ok(())
    }

    /// SHL, SHR and SAR of a register by 1 or more, less than its width. The overflow flag is that of the first step and
    /// the auxiliary one clear, as tier 1 has them; hosts differ there.
    pub(super) fn shift(&mut self, at: usize) -> Done {
        let i = *self.insn(at);
        let w = Width::of(bytes(&i));
        let one = select::count(&i) == 1;
        if !one {
            let r = self.in_register(i.op0_register().full_register().number(), T1);
            match i.mnemonic() {
                Mnemonic::Shr => {
                    self.asm.test(w, r);
                    self.asm.set(cc::S, layout::flags());
                }
                Mnemonic::Sar => self.asm.store_imm(Width::B, layout::flags(), 0),
                _ => {
                    self.asm.mov(T0, r);
                    self.asm.alu(Alu::Add, w, T0, Rm::R(T0));
                    self.asm.set(cc::O, layout::flags());
                }
            }
        }
        self.substitute(at, None, &[T1])?;
        if one {
            self.asm.set(cc::O, layout::flags());
        }
        self.asm.lahf();
        self.asm.and_ah(!AF);
        self.asm.store_ah(layout::CPU, layout::flags_high());
        self.flags_kept();
        Ok(())
    }

    /// Makes the kept carry the bit in the byte register `bit`.
    fn keep_carry(&mut self, bit: Reg) {
        self.asm.alu_imm(Alu::And, Width::B, high(), !i32::from(CF));
        self.asm.alu_to(Alu::Or, Width::B, high(), bit);
        self.flags_kept();
    }

    /// ROL and ROR of a register. The overflow flag changes with a count of 1 alone.
    pub(super) fn rotate(&mut self, at: usize) -> Done {
        let one = select::count(self.insn(at)) == 1;
        self.substitute(at, None, &[T1])?;
        self.asm.set(cc::B, Rm::R(T1));
        if one {
            self.asm.set(cc::O, layout::flags());
        }
        self.keep_carry(T1);
        Ok(())
    }

    /// IMUL into a register. What else than carry and overflow it leaves is undefined; tier 1 makes it of the low half.
    pub(super) fn imul(&mut self, at: usize) -> Done {
        let i = *self.insn(at);
        let back = self.anywhere(at)?;
        if self.live(at) == 0 {
            self.flags_lost();
        } else {
            self.asm.set(cc::O, Rm::R(T0));
            let r = self.in_register(i.op0_register().full_register().number(), T1);
            self.product_flags(Width::of(bytes(&i)), r);
        }
        if let Some(back) = back {
            self.asm.bind(back);
        }
        Ok(())
    }

    /// Keeps the flags of a product: AL says whether it is wider than its low half, which is in `low`.
    fn product_flags(&mut self, w: Width, low: Reg) {
        self.asm.store(Width::B, layout::flags(), T0);
        self.asm.test(w, low);
        self.asm.lahf();
        self.asm.and_ah(!(ZF | AF | CF));
        // OR AH, AL
        self.asm.raw(&[0x08, 0xc4]);
        self.asm.store_ah(layout::CPU, layout::flags_high());
        self.flags_kept();
    }

    /// MUL and IMUL of the accumulator.
    pub(super) fn mul(&mut self, at: usize) {
        let i = *self.insn(at);
        let w = Width::of(bytes(&i));
        let kind = if i.mnemonic() == Mnemonic::Mul { 4 } else { 5 };
        let (source, back) = if in_memory(&i) {
            let (miss, back) = self.miss(at);
            self.reach(&i, miss);
            self.asm.mov(T1, T0);
            (Rm::M(T1, 0), Some(back))
        } else {
            let guest = i.op0_register().full_register().number();
            (layout::host(guest).map_or(layout::slot(guest), Rm::R), None)
        };
        self.asm.mov(T0, GUEST_RAX);
        self.asm.group3(kind, w, source);
        self.asm.mov(GUEST_RAX, T0);
        if self.live(at) == 0 {
            self.flags_lost();
        } else {
            self.asm.set(cc::O, Rm::R(T0));
            self.product_flags(w, GUEST_RAX);
        }
        if let Some(back) = back {
            self.asm.bind(back);
        }
    }

    /// DIV. What would be a divide error is left to tier 1: no trap of the host's has a meaning for the guest.
    pub(super) fn div(&mut self, at: usize) {
        let i = *self.insn(at);
        let w = Width::of(bytes(&i));
        let (miss, back) = self.miss(at);
        let divisor = if in_memory(&i) {
            self.reach(&i, miss);
            // Read once: it is looked at twice.
            self.asm.load(w, T1, Rm::M(T0, 0));
            T1
        } else {
            self.in_register(i.op0_register().full_register().number(), T1)
        };
        self.asm.alu(Alu::Cmp, w, GUEST_RDX, Rm::R(divisor));
        self.asm.jcc(cc::AE, miss);
        self.asm.mov(T0, GUEST_RAX);
        self.asm.group3(6, w, Rm::R(divisor));
        self.asm.mov(GUEST_RAX, T0);
        self.flags_lost();
        self.asm.bind(back);
    }

    /// BSF and BSR. Without a one the destination stays, and so does its upper half.
    pub(super) fn scan(&mut self, at: usize) {
        let i = *self.insn(at);
        let w = Width::of(bytes(&i));
        let mut back = None;
        if in_memory(&i) {
            let (miss, behind) = self.miss(at);
            self.reach(&i, miss);
            self.asm.load(w, T1, Rm::M(T0, 0));
            back = Some(behind);
        } else {
            self.read_guest(T1, i.op1_register().full_register().number());
        }
        let (zero, over) = (self.asm.label(), self.asm.label());
        self.asm.test(w, T1);
        self.asm.jcc(cc::E, zero);
        let guest = i.op0_register().full_register().number();
        let to = layout::host(guest).unwrap_or(T0);
        self.asm.bit_scan(i.mnemonic() == Mnemonic::Bsr, w, to, T1);
        if layout::host(guest).is_none() {
            self.asm.store(Width::Q, layout::slot(guest), to);
        }
        if self.live(at) == 0 {
            self.asm.bind(zero);
            self.flags_lost();
        } else {
            // PF is the index's, ZF only the source's.
            self.asm.test(Width::B, to);
            self.asm.lahf();
            self.asm.and_ah(PF | 2);
            self.asm.store_ah(layout::CPU, layout::flags_high());
            self.asm.store_imm(Width::B, layout::flags(), 0);
            self.asm.jmp(over);
            self.asm.bind(zero);
            self.asm.store_imm(Width::W, layout::flags(), i32::from(ZF | PF | 2) << 8);
            self.asm.bind(over);
            self.flags_kept();
        }
        if let Some(back) = back {
            self.asm.bind(back);
        }
    }

    /// BT, BTS, BTR and BTC: the carry alone changes.
    pub(super) fn bit_test(&mut self, at: usize) -> Done {
        let back = self.anywhere(at)?;
        if self.live(at) & CF != 0 {
            self.asm.set(cc::B, Rm::R(T0));
            self.keep_carry(T0);
        } else {
            self.flags_lost();
        }
        if let Some(back) = back {
            self.asm.bind(back);
        }
        Ok(())
    }

    /// CMPXCHG in memory.
    pub(super) fn compare_exchange(&mut self, at: usize) -> Done {
        let i = *self.insn(at);
        let (miss, back) = self.miss(at);
        self.reach(&i, miss);
        self.asm.mov(T1, T0);
        self.asm.mov(T0, GUEST_RAX);
        self.substitute(at, Some(T1), &[])?;
        // Written only when it failed: a 32-bit accumulator would lose its upper half.
        self.asm.cmov(cc::NE, GUEST_RAX, T0);
        self.flags_made();
        self.miss_gives(true);
        self.asm.bind(back);
        Ok(())
    }

    /// CBW, CWDE, CDQE, CWD, CDQ and CQO, in the host's accumulator.
    pub(super) fn widen(&mut self, i: &Instruction) {
        self.asm.mov(T0, GUEST_RAX);
        let code: &[u8] = match i.mnemonic() {
            Mnemonic::Cbw => &[0x66, 0x98],
            Mnemonic::Cwde => &[0x98],
            Mnemonic::Cdqe => &[0x48, 0x98],
            Mnemonic::Cwd => &[0x66, 0x99],
            Mnemonic::Cdq => &[0x99],
            _ => &[0x48, 0x99],
        };
        self.asm.raw(code);
        self.asm.mov(GUEST_RAX, T0);
    }

    /// PUSH.
    pub(super) fn push(&mut self, at: usize, i: &Instruction) {
        let (miss, back) = self.miss(at);
        let word = self.kind.word();
        let memory = in_memory(i);
        if memory {
            self.reach(i, miss);
            self.asm.load(word, T1, Rm::M(T0, 0));
            self.asm.store(word, layout::operand(), T1);
        }
        self.stack_top(-self.kind.bytes());
        layout::tlb_check(&mut self.asm, self.kind.bytes() as usize, true, miss);
        if memory {
            self.asm.load(word, T1, layout::operand());
            self.asm.store(word, Rm::M(T0, 0), T1);
        } else if i.op0_kind() == OpKind::Register {
            let value = self.in_register(i.op0_register().full_register().number(), T1);
            self.asm.store(word, Rm::M(T0, 0), value);
        } else {
            self.asm.store_imm(word, Rm::M(T0, 0), i.immediate(0) as i32);
        }
        self.move_stack(-self.kind.bytes());
        self.flags_lost();
        self.asm.bind(back);
    }

    /// POP to a register.
    pub(super) fn pop(&mut self, at: usize, i: &Instruction) {
        let (miss, back) = self.miss(at);
        self.stack_top(0);
        layout::tlb_check(&mut self.asm, self.kind.bytes() as usize, false, miss);
        let guest = i.op0_register().full_register().number();
        let to = layout::host(guest).unwrap_or(T1);
        // What is popped into RSP counts, not the step.
        self.move_stack(self.kind.bytes());
        self.asm.load(self.kind.word(), to, Rm::M(T0, 0));
        if layout::host(guest).is_none() {
            self.asm.store(Width::Q, layout::slot(guest), to);
        }
        self.flags_lost();
        self.asm.bind(back);
    }

    /// LEAVE.
    pub(super) fn leave(&mut self, at: usize) {
        let (miss, back) = self.miss(at);
        let (word, bytes) = (self.kind.word(), self.kind.bytes());
        self.asm.load(word, T0, Rm::R(GUEST_RBP));
        layout::tlb_check(&mut self.asm, bytes as usize, false, miss);
        self.asm.lea(word, GUEST_RSP, Rm::M(GUEST_RBP, bytes));
        self.asm.load(word, GUEST_RBP, Rm::M(T0, 0));
        self.flags_lost();
        self.asm.bind(back);
    }
}
