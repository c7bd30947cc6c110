//! An assembler for the few forms of x86-64 instructions that translated code is glued together with.
//!
//! Instructions of the guest are encoded by iced-x86; this is for what stands between them. Branches are always near
//! with 32-bit displacements; a label may be used before it is bound.

/// A general register by its number in instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reg(pub u8);

/// Names of registers, as the host's.
pub mod reg {
    #![allow(missing_docs)]
    use super::Reg;
    pub const RAX: Reg = Reg(0);
    pub const RCX: Reg = Reg(1);
    pub const RDX: Reg = Reg(2);
    pub const RBX: Reg = Reg(3);
    pub const RSP: Reg = Reg(4);
    pub const RBP: Reg = Reg(5);
    pub const RSI: Reg = Reg(6);
    pub const RDI: Reg = Reg(7);
    pub const R8: Reg = Reg(8);
    pub const R9: Reg = Reg(9);
    pub const R10: Reg = Reg(10);
    pub const R11: Reg = Reg(11);
    pub const R12: Reg = Reg(12);
    pub const R13: Reg = Reg(13);
    pub const R14: Reg = Reg(14);
    pub const R15: Reg = Reg(15);
}

/// Operand sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 8 bits.
    B,
    /// 16 bits.
    W,
    /// 32 bits.
    D,
    /// 64 bits.
    Q,
}

impl Width {
    /// By its number of bytes.
    pub fn of(bytes: usize) -> Width {
        match bytes {
            1 => Width::B,
            2 => Width::W,
            4 => Width::D,
            _ => Width::Q,
        }
    }
}

/// A register or a place in memory.
#[derive(Clone, Copy, Debug)]
pub enum Rm {
    /// A register.
    R(Reg),
    /// `[base + disp]`.
    M(Reg, i32),
    /// `[base + index << scale + disp]`; no base is a displacement alone with the index. The index is never RSP.
    X(Option<Reg>, Reg, u8, i32),
}

/// The eight operations of opcodes 00 to 3F and of group 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Condition codes, as in opcodes.
pub mod cc {
    #![allow(missing_docs)]
    pub const O: u8 = 0;
    pub const B: u8 = 2;
    pub const AE: u8 = 3;
    pub const E: u8 = 4;
    pub const NE: u8 = 5;
    pub const A: u8 = 7;
    pub const S: u8 = 8;
    pub const LE: u8 = 14;
}

/// A place in the code that branches name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label(u32);

const UNBOUND: u32 = u32::MAX;

/// Code in the making.
pub struct Asm {
    /// The bytes so far.
    pub code: Vec<u8>,
    /// Address that the first byte will have.
    origin: u64,
    labels: Vec<u32>,
    uses: Vec<(u32, Label)>,
}

impl Asm {
    /// Nothing yet; it will lie at `origin`.
    pub fn new(origin: u64) -> Asm {
        Asm { code: Vec::with_capacity(1024), origin, labels: Vec::new(), uses: Vec::new() }
    }
    /// Address of the next byte.
    pub fn here(&self) -> u64 {
        self.origin + self.code.len() as u64
    }
    /// Offset of the next byte.
    pub fn offset(&self) -> u32 {
        self.code.len() as u32
    }
    /// A label that is not bound yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(UNBOUND);
        Label(self.labels.len() as u32 - 1)
    }
    /// Binds a label to the next byte.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0 as usize] = self.offset();
    }
    /// A label bound to the next byte.
    pub fn bound(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }
    /// Address of a bound label.
    pub fn address(&self, label: Label) -> u64 {
        self.origin + u64::from(self.labels[label.0 as usize])
    }
    /// Fills in the branches and gives the bytes. Every label that is used must be bound.
    pub fn finish(mut self) -> Vec<u8> {
        for (at, label) in std::mem::take(&mut self.uses) {
            let to = self.labels[label.0 as usize];
            assert!(to != UNBOUND, "a label that is used is bound");
            let rel = to.wrapping_sub(at + 4);
            self.code[at as usize..at as usize + 4].copy_from_slice(&rel.to_le_bytes());
        }
        self.code
    }

    fn byte(&mut self, b: u8) {
        self.code.push(b);
    }
    fn imm32(&mut self, v: i32) {
        self.code.extend_from_slice(&v.to_le_bytes());
    }

    /// Prefixes, opcode, ModRM and what follows it. `byte_reg`, `byte_rm`: which of the operands are byte registers.
    fn ins(&mut self, w: Width, opcode: &[u8], reg: u8, rm: Rm, bytes: (bool, bool)) {
        if w == Width::W {
            self.byte(0x66);
        }
        let (x, b) = match rm {
            Rm::R(r) | Rm::M(r, _) => (0, r.0 >> 3),
            Rm::X(base, index, ..) => (index.0 >> 3, base.map_or(0, |b| b.0 >> 3)),
        };
        let rex = u8::from(w == Width::Q) << 3 | (reg >> 3) << 2 | x << 1 | b;
        let low = |r: u8| (4..8).contains(&r);
        let forced = bytes.0 && low(reg) || bytes.1 && matches!(rm, Rm::R(r) if low(r.0));
        if rex != 0 || forced {
            self.byte(0x40 | rex);
        }
        self.code.extend_from_slice(opcode);
        self.modrm(reg & 7, rm);
    }

    fn modrm(&mut self, reg: u8, rm: Rm) {
        let reg = reg << 3;
        let (base, sib, disp) = match rm {
            Rm::R(r) => return self.byte(0xc0 | reg | r.0 & 7),
            Rm::M(base, disp) if base.0 & 7 == 4 => (Some(base), Some(0x20 | base.0 & 7), disp),
            Rm::M(base, disp) => (Some(base), None, disp),
            Rm::X(base, index, scale, disp) => {
                (base, Some(scale << 6 | (index.0 & 7) << 3 | base.map_or(5, |b| b.0 & 7)), disp)
            }
        };
        let low = if sib.is_some() { 4 } else { base.map_or(5, |b| b.0 & 7) };
        let mode = match base {
            None => 0x00,
            Some(b) if disp == 0 && b.0 & 7 != 5 => 0x00,
            Some(_) if i8::try_from(disp).is_ok() => 0x40,
            Some(_) => 0x80,
        };
        self.byte(mode | reg | low);
        if let Some(sib) = sib {
            self.byte(sib);
        }
        match mode {
            0x40 => self.byte(disp as u8),
            0x80 => self.imm32(disp),
            _ if base.is_none() => self.imm32(disp),
            _ => {}
        }
    }

    /// MOV to a register.
    pub fn load(&mut self, w: Width, to: Reg, from: Rm) {
        let op = if w == Width::B { 0x8a } else { 0x8b };
        self.ins(w, &[op], to.0, from, (w == Width::B, w == Width::B));
    }
    /// MOV from a register.
    pub fn store(&mut self, w: Width, to: Rm, from: Reg) {
        let op = if w == Width::B { 0x88 } else { 0x89 };
        self.ins(w, &[op], from.0, to, (w == Width::B, w == Width::B));
    }
    /// MOV of 64 bits between registers.
    pub fn mov(&mut self, to: Reg, from: Reg) {
        if to != from {
            self.load(Width::Q, to, Rm::R(from));
        }
    }
    /// MOVUPS to an XMM register.
    pub fn load_vector(&mut self, to: u8, from: Rm) {
        self.ins(Width::D, &[0x0f, 0x10], to, from, (false, false));
    }
    /// MOVUPS from an XMM register.
    pub fn store_vector(&mut self, to: Rm, from: u8) {
        self.ins(Width::D, &[0x0f, 0x11], from, to, (false, false));
    }
    /// LDMXCSR.
    pub fn load_mxcsr(&mut self, from: Rm) {
        self.ins(Width::D, &[0x0f, 0xae], 2, from, (false, false));
    }
    /// STMXCSR.
    pub fn store_mxcsr(&mut self, to: Rm) {
        self.ins(Width::D, &[0x0f, 0xae], 3, to, (false, false));
    }
    /// MOV of AH to memory. `base` needs no REX.
    pub fn store_ah(&mut self, base: Reg, disp: i32) {
        self.byte(0x88);
        self.modrm(4, Rm::M(base, disp));
    }
    /// MOV of a constant to a register, in the shortest way that leaves the flags.
    pub fn constant(&mut self, to: Reg, v: u64) {
        if let Ok(v) = u32::try_from(v) {
            if to.0 >= 8 {
                self.byte(0x41);
            }
            self.byte(0xb8 | to.0 & 7);
            self.imm32(v as i32);
        } else if let Ok(v) = i32::try_from(v as i64) {
            self.ins(Width::Q, &[0xc7], 0, Rm::R(to), (false, false));
            self.imm32(v);
        } else {
            self.byte(0x48 | to.0 >> 3);
            self.byte(0xb8 | to.0 & 7);
            self.code.extend_from_slice(&v.to_le_bytes());
        }
    }
    /// MOV of a sign-extended constant to memory.
    pub fn store_imm(&mut self, w: Width, to: Rm, v: i32) {
        match w {
            Width::B => {
                self.ins(w, &[0xc6], 0, to, (false, false));
                self.byte(v as u8);
            }
            Width::W => {
                self.ins(w, &[0xc7], 0, to, (false, false));
                self.code.extend_from_slice(&(v as i16).to_le_bytes());
            }
            _ => {
                self.ins(w, &[0xc7], 0, to, (false, false));
                self.imm32(v);
            }
        }
    }
    /// MOVZX of 8 or 16 bits to 32.
    pub fn zero_extend(&mut self, from: Width, to: Reg, rm: Rm) {
        let op = if from == Width::B { 0xb6 } else { 0xb7 };
        self.ins(Width::D, &[0x0f, op], to.0, rm, (false, from == Width::B));
    }
    /// LEA.
    pub fn lea(&mut self, w: Width, to: Reg, rm: Rm) {
        self.ins(w, &[0x8d], to.0, rm, (false, false));
    }
    /// An operation on a register.
    pub fn alu(&mut self, op: Alu, w: Width, to: Reg, from: Rm) {
        let code = (op as u8) << 3 | if w == Width::B { 2 } else { 3 };
        self.ins(w, &[code], to.0, from, (w == Width::B, w == Width::B));
    }
    /// An operation on memory with a register.
    pub fn alu_to(&mut self, op: Alu, w: Width, to: Rm, from: Reg) {
        let code = (op as u8) << 3 | u8::from(w != Width::B);
        self.ins(w, &[code], from.0, to, (w == Width::B, w == Width::B));
    }
    /// An operation with a sign-extended constant; 8-bit ones take its low byte.
    pub fn alu_imm(&mut self, op: Alu, w: Width, to: Rm, v: i32) {
        let ext = op as u8;
        if w == Width::B {
            self.ins(w, &[0x80], ext, to, (false, true));
            self.byte(v as u8);
        } else if i8::try_from(v).is_ok() {
            self.ins(w, &[0x83], ext, to, (false, false));
            self.byte(v as u8);
        } else {
            assert!(w != Width::W, "no constant of 16 bits is needed");
            self.ins(w, &[0x81], ext, to, (false, false));
            self.imm32(v);
        }
    }
    /// `AND AH, imm8`.
    pub fn and_ah(&mut self, v: u8) {
        self.code.extend_from_slice(&[0x80, 0xe4, v]);
    }
    /// TEST of a register with itself.
    pub fn test(&mut self, w: Width, r: Reg) {
        let op = if w == Width::B { 0x84 } else { 0x85 };
        self.ins(w, &[op], r.0, Rm::R(r), (w == Width::B, w == Width::B));
    }
    /// TEST of a byte with a constant.
    pub fn test_imm8(&mut self, rm: Rm, v: u8) {
        self.ins(Width::B, &[0xf6], 0, rm, (false, true));
        self.byte(v);
    }
    /// SHL, SHR or SAR (4, 5, 7) of a register by a constant.
    pub fn shift(&mut self, kind: u8, w: Width, r: Reg, by: u8) {
        self.ins(w, &[if w == Width::B { 0xc0 } else { 0xc1 }], kind, Rm::R(r), (false, w == Width::B));
        self.byte(by);
    }
    /// BT of 16 bits in memory by a constant: its bit goes to CF.
    pub fn bit_test(&mut self, rm: Rm, bit: u8) {
        self.ins(Width::W, &[0x0f, 0xba], 4, rm, (false, false));
        self.byte(bit);
    }
    /// SETcc.
    pub fn set(&mut self, cond: u8, rm: Rm) {
        self.ins(Width::B, &[0x0f, 0x90 | cond], 0, rm, (false, true));
    }
    /// CMOVcc of 64 bits.
    pub fn cmov(&mut self, cond: u8, to: Reg, from: Reg) {
        self.ins(Width::Q, &[0x0f, 0x40 | cond], to.0, Rm::R(from), (false, false));
    }
    /// Group 3 (MUL 4, IMUL 5, DIV 6, IDIV 7) with the accumulator.
    pub fn group3(&mut self, kind: u8, w: Width, rm: Rm) {
        self.ins(w, &[if w == Width::B { 0xf6 } else { 0xf7 }], kind, rm, (false, w == Width::B));
    }
    /// BSF, or BSR when `reverse`.
    pub fn bit_scan(&mut self, reverse: bool, w: Width, to: Reg, from: Reg) {
        self.ins(w, &[0x0f, 0xbc | u8::from(reverse)], to.0, Rm::R(from), (false, false));
    }
    /// LAHF.
    pub fn lahf(&mut self) {
        self.byte(0x9f);
    }
    /// SAHF.
    pub fn sahf(&mut self) {
        self.byte(0x9e);
    }
    /// PUSH.
    pub fn push(&mut self, r: Reg) {
        if r.0 >= 8 {
            self.byte(0x41);
        }
        self.byte(0x50 | r.0 & 7);
    }
    /// POP.
    pub fn pop(&mut self, r: Reg) {
        if r.0 >= 8 {
            self.byte(0x41);
        }
        self.byte(0x58 | r.0 & 7);
    }
    /// RET.
    pub fn ret(&mut self) {
        self.byte(0xc3);
    }
    /// JMP through a register or memory.
    pub fn jmp_to(&mut self, rm: Rm) {
        self.ins(Width::D, &[0xff], 4, rm, (false, false));
    }
    /// CALL through a register or memory.
    pub fn call_to(&mut self, rm: Rm) {
        self.ins(Width::D, &[0xff], 2, rm, (false, false));
    }
    /// Jcc.
    pub fn jcc(&mut self, cond: u8, to: Label) {
        self.code.extend_from_slice(&[0x0f, 0x80 | cond]);
        self.branch(to);
    }
    /// JMP.
    pub fn jmp(&mut self, to: Label) {
        self.byte(0xe9);
        self.branch(to);
    }
    fn branch(&mut self, to: Label) {
        self.uses.push((self.offset(), to));
        self.imm32(0);
    }
    /// JMP to an address within 2 GiB.
    pub fn jmp_abs(&mut self, to: u64) {
        self.byte(0xe9);
        self.rel(to);
    }
    /// CALL of an address within 2 GiB.
    pub fn call_abs(&mut self, to: u64) {
        self.byte(0xe8);
        self.rel(to);
    }
    fn rel(&mut self, to: u64) {
        let rel = to.wrapping_sub(self.here() + 4) as i64;
        let rel = i32::try_from(rel).unwrap_or_else(|_| unreachable!("one arena is smaller than 2 GiB"));
        self.imm32(rel);
    }
    /// A RIP-relative operation: opcode `op` on `reg` (or the opcode's extension) and the quadword at `at`.
    pub fn rip(&mut self, w: Width, op: u8, reg: u8, at: u64) {
        let rex = u8::from(w == Width::Q) << 3 | (reg >> 3) << 2;
        if rex != 0 {
            self.byte(0x40 | rex);
        }
        self.byte(op);
        self.byte((reg & 7) << 3 | 5);
        self.rel(at);
    }
    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }
}

/// The bytes of a JMP that lies at `at` and goes to `to`, within 2 GiB.
pub fn jump_bytes(at: u64, to: u64) -> [u8; 5] {
    let mut asm = Asm::new(at);
    asm.jmp_abs(to);
    let mut bytes = [0; 5];
    bytes.copy_from_slice(&asm.code);
    bytes
}
