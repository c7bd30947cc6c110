//! Where translated code keeps things: host registers, words of the [`Cpu`], thunks.
//!
//! | host | holds |
//! |---|---|
//! | RBP | the [`Cpu`] |
//! | R14 | instructions left until `icount_limit` |
//! | RAX, R15 | scratch |
//! | R10, R11, R12, R13 | the guest's RAX, RSP, RBP, R12 |
//! | RCX, RDX, RBX, RSI, RDI, R8, R9 | the guest's registers of the same name |
//! | RSP | the host's stack, 8 bytes from a multiple of 16 |
//!
//! The guest's R10, R11, R13, R14 and R15 stay in memory, as the least used. RCX and RDX are where shifts and
//! multiplications want them.

use std::mem::offset_of;

use iced_x86::Register;

use super::asm::{Asm, Reg, Rm, Width, cc, reg::*};
use crate::cpu::{Cpu, IP, Segment};
use crate::tlb::{self, PAGE_MASK};

/// The processor's state.
pub const CPU: Reg = RBP;
/// Instructions left.
pub const BUDGET: Reg = R14;
/// The first scratch register: flags pass through it, and most addresses.
pub const T0: Reg = RAX;
/// The other one.
pub const T1: Reg = R15;
/// The guest's RAX.
pub const GUEST_RAX: Reg = R10;
/// The guest's RSP.
pub const GUEST_RSP: Reg = R11;
/// The guest's RBP.
pub const GUEST_RBP: Reg = R12;
/// The guest's RDX.
pub const GUEST_RDX: Reg = RDX;

/// Guest registers that live in host registers.
const PINNED: [(usize, Reg); 11] = [
    (0, R10),
    (1, RCX),
    (2, RDX),
    (3, RBX),
    (4, R11),
    (5, R12),
    (8, R8),
    (9, R9),
    (12, R13),
    (6, RSI),
    (7, RDI),
];

/// The host register of a guest's, if it has one.
pub fn host(guest: usize) -> Option<Reg> {
    PINNED.iter().find(|(g, _)| *g == guest).map(|(_, r)| *r)
}

/// A register's name of a width in bytes, for iced-x86; never a high byte.
pub fn named(r: Reg, bytes: usize) -> Register {
    use Register::*;
    const BYTES: [Register; 16] =
        [AL, CL, DL, BL, SPL, BPL, SIL, DIL, R8L, R9L, R10L, R11L, R12L, R13L, R14L, R15L];
    const WORDS: [Register; 16] =
        [AX, CX, DX, BX, SP, BP, SI, DI, R8W, R9W, R10W, R11W, R12W, R13W, R14W, R15W];
    const DOUBLES: [Register; 16] =
        [EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI, R8D, R9D, R10D, R11D, R12D, R13D, R14D, R15D];
    const QUADS: [Register; 16] =
        [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15];
    let names = match bytes {
        1 => &BYTES,
        2 => &WORDS,
        4 => &DOUBLES,
        _ => &QUADS,
    };
    names[r.0 as usize & 15]
}

/// What translated code and the handlers around it tell each other.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Linear address of the page that the running code lies in.
    pub page: u64,
    /// Instructions left until `icount_limit`, while no translated code runs.
    pub budget: i64,
    /// Address of the jump cache of the current privilege: of [`Jump`]s.
    pub jumps: u64,
    /// Address of the pages that code of it was run from: of [`Code`]s.
    pub codes: u64,
    /// An operand that must wait.
    pub operand: u64,
    /// Status flags as LAHF and SETO leave them: the byte of AH above, OF below.
    pub flags: u16,
    /// Which site or edge the code left at.
    pub left_at: u32,
    /// What goes to and from the host's MXCSR.
    pub mxcsr: u32,
    /// Not 0: the host's MXCSR is the guest's.
    pub rounding: u32,
}

impl Default for Frame {
    fn default() -> Frame {
        Frame {
            page: 0,
            budget: 0,
            jumps: 0,
            codes: 0,
            operand: 0,
            flags: 0x0200,
            left_at: 0,
            mxcsr: 0,
            rounding: 0,
        }
    }
}

/// A linear page that code was run from, and the physical page it was found to be. All zeros for none.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Linear address, and 1 more.
    pub lin: u64,
    /// Physical address.
    pub phys: u64,
    /// Another for each pair of them that this entry can hold.
    pub tag: u64,
    /// To a size that is shifted to.
    pub room: u64,
}

/// Entries of the pages that code was run from: no two pages of a kernel's 16 MiB share one.
pub const CODES: usize = 1 << 12;
const CODE_SHIFT: u8 = 5;
const _: () = assert!(size_of::<Code>() == 1 << CODE_SHIFT);
/// Bits of a canonical linear address above those that choose an entry: where they begin, and how many.
const TAG_LIN: (u32, u32) = (12 + CODES.trailing_zeros(), 48 - 12 - CODES.trailing_zeros());

impl Code {
    /// No page.
    pub const NONE: Code = Code { lin: 0, phys: 0, tag: 0, room: 0 };

    /// A linear page that is a physical one; none if that is so high that a tag has no room for it.
    pub fn new(lin: u64, phys: u64) -> Code {
        let (lin, phys) = (lin & PAGE_MASK, phys & PAGE_MASK);
        let (from, bits) = TAG_LIN;
        let high = phys >> 12;
        if high >> (63 - bits) != 0 {
            return Code::NONE;
        }
        Code { lin: lin + 1, phys, tag: 1 << 63 | high << bits | lin >> from & ((1 << bits) - 1), room: 0 }
    }
}

/// Index of the entry of a linear address.
pub fn code_index(lin: u64) -> usize {
    (lin >> 12) as usize & (CODES - 1)
}

/// An entry of a jump cache: where the translation of a linear address begins.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// Linear address.
    pub lin: u64,
    /// Host address.
    pub entry: u64,
    /// The entry of its page: a [`Code`]'s address.
    pub page: u64,
    /// What that must say for the page to be the one that was translated.
    pub tag: u64,
}

/// Entries of a jump cache.
pub const JUMPS: usize = 1 << 13;
const JUMP_SHIFT: u8 = 5;
const _: () = assert!(size_of::<Jump>() == 1 << JUMP_SHIFT);

impl Jump {
    /// Nothing at index `at`: an address that has another index, which so is never looked for there. All zeros but for
    /// index 0.
    pub fn none(at: usize) -> Jump {
        Jump { lin: u64::from(at == 0), entry: 0, page: 0, tag: 0 }
    }
}

/// Index in a jump cache.
pub fn jump_index(lin: u64) -> usize {
    (lin ^ lin >> 12) as usize & (JUMPS - 1)
}

/// Where code goes on in another page.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slot {
    /// Physical address of the page it was found on; [`NO_PAGE`] for none.
    pub phys: u64,
    /// Host address.
    pub entry: u64,
}

/// The address of no page.
pub const NO_PAGE: u64 = 1;

/// A word of the [`Cpu`].
pub fn word(offset: usize) -> Rm {
    Rm::M(CPU, offset as i32)
}
/// A guest register in memory.
pub fn slot(guest: usize) -> Rm {
    word(offset_of!(Cpu, gpr) + guest * 8)
}
/// A guest's XMM register.
pub fn vector(number: usize) -> Rm {
    word(offset_of!(Cpu, xmm) + number * 16)
}
/// RIP.
pub fn ip() -> Rm {
    slot(IP)
}
/// [`Frame::page`].
pub fn page() -> Rm {
    word(offset_of!(Cpu, frame.page))
}
/// [`Frame::operand`].
pub fn operand() -> Rm {
    word(offset_of!(Cpu, frame.operand))
}
/// The second byte of it.
pub fn operand_high() -> Rm {
    word(offset_of!(Cpu, frame.operand) + 1)
}
/// [`Frame::flags`], whole.
pub fn flags() -> Rm {
    word(offset_of!(Cpu, frame.flags))
}
/// The byte of it that AH was, as a displacement from [`CPU`].
pub fn flags_high() -> i32 {
    offset_of!(Cpu, frame.flags) as i32 + 1
}
/// [`Frame::rounding`].
pub fn rounding() -> Rm {
    word(offset_of!(Cpu, frame.rounding))
}
/// The pointer to the attention word.
pub fn attention() -> Rm {
    word(offset_of!(Cpu, attention))
}
/// The pointer to the current TLB set.
pub fn tlb_set() -> Rm {
    word(offset_of!(Cpu, tlb))
}
fn of_segment(seg: usize, field: usize) -> Rm {
    word(offset_of!(Cpu, seg) + seg * size_of::<Segment>() + field)
}
/// Base of a segment.
pub fn segment_base(seg: usize) -> Rm {
    of_segment(seg, offset_of!(Segment, base))
}
/// Limit of a segment.
pub fn segment_limit(seg: usize) -> Rm {
    of_segment(seg, offset_of!(Segment, limit))
}
/// Bound of the reads, or writes, of a segment.
pub fn segment_bound(seg: usize, write: bool) -> Rm {
    of_segment(seg, if write { offset_of!(Segment, wbound) } else { offset_of!(Segment, rbound) })
}

/// Log2 of the size of a TLB entry.
const ENTRY_SHIFT: u8 = 5;
const _: () = assert!(size_of::<tlb::Tlb>() == 1 << ENTRY_SHIFT);

/// Leaves in `T0` the host address of the `size` bytes at the linear address there, or goes to `miss`. `T1` and the
/// flags are lost.
pub fn tlb_check(asm: &mut Asm, size: usize, write: bool, miss: super::asm::Label) {
    use super::asm::Alu;
    let tag = if write { offset_of!(tlb::Tlb, write) } else { offset_of!(tlb::Tlb, read) };
    asm.mov(T1, T0);
    asm.shift(5, Width::Q, T1, 12 - ENTRY_SHIFT);
    asm.alu_imm(Alu::And, Width::D, Rm::R(T1), ((tlb::SIZE - 1) << ENTRY_SHIFT) as i32);
    asm.alu(Alu::Add, Width::Q, T1, tlb_set());
    // The tag of an entry that may not be used differs from every address of the entry above the offset in the page.
    asm.alu(Alu::Xor, Width::Q, T0, Rm::M(T1, tag as i32));
    asm.alu_imm(Alu::Cmp, Width::Q, Rm::R(T0), 4096 - size as i32);
    asm.jcc(cc::A, miss);
    asm.alu(Alu::Add, Width::Q, T0, Rm::M(T1, offset_of!(tlb::Tlb, host) as i32));
}

/// Leaves in `T1` the entry of the jump cache for the linear address in `T0`, or goes to `miss`. `T0` is its page then, and
/// so is [`Frame::page`]. The flags are lost.
pub fn jump_check(asm: &mut Asm, miss: super::asm::Label) {
    use super::asm::Alu;
    asm.load(Width::D, T1, Rm::R(T0));
    asm.shift(5, Width::D, T1, 12);
    asm.alu(Alu::Xor, Width::D, T1, Rm::R(T0));
    asm.alu_imm(Alu::And, Width::D, Rm::R(T1), JUMPS as i32 - 1);
    asm.shift(4, Width::D, T1, JUMP_SHIFT);
    asm.alu(Alu::Add, Width::Q, T1, word(offset_of!(Cpu, frame.jumps)));
    asm.alu(Alu::Cmp, Width::Q, T0, Rm::M(T1, offset_of!(Jump, lin) as i32));
    asm.jcc(cc::NE, miss);
    asm.load(Width::Q, T0, Rm::M(T1, offset_of!(Jump, page) as i32));
    asm.load(Width::Q, T0, Rm::M(T0, offset_of!(Code, tag) as i32));
    asm.alu(Alu::Cmp, Width::Q, T0, Rm::M(T1, offset_of!(Jump, tag) as i32));
    asm.jcc(cc::NE, miss);
    asm.load(Width::Q, T0, Rm::M(T1, offset_of!(Jump, lin) as i32));
    asm.alu_imm(Alu::And, Width::Q, Rm::R(T0), -4096);
    asm.store(Width::Q, page(), T0);
}

/// Goes on where the slot at `slot` says, `pages` bytes from the current page, or to `ask`; `w`: width of addresses. The flags
/// are lost.
pub fn slot_jump(asm: &mut Asm, w: Width, slot: u64, pages: i64, ask: super::asm::Label) {
    use super::asm::Alu;
    // One more, as in the entries.
    let pages = (pages + 1) as u64;
    asm.constant(T0, if w == Width::D { u64::from(pages as u32) } else { pages });
    asm.alu(Alu::Add, w, T0, page());
    asm.mov(T1, T0);
    asm.shift(5, Width::Q, T1, 12 - CODE_SHIFT);
    asm.alu_imm(Alu::And, Width::D, Rm::R(T1), ((CODES - 1) << CODE_SHIFT) as i32);
    asm.alu(Alu::Add, Width::Q, T1, word(offset_of!(Cpu, frame.codes)));
    asm.alu(Alu::Cmp, Width::Q, T0, Rm::M(T1, offset_of!(Code, lin) as i32));
    asm.jcc(cc::NE, ask);
    asm.load(Width::Q, T1, Rm::M(T1, offset_of!(Code, phys) as i32));
    asm.rip(Width::Q, 0x3b, T1.0, slot + offset_of!(Slot, phys) as u64);
    asm.jcc(cc::NE, ask);
    asm.alu_imm(Alu::And, Width::Q, Rm::R(T0), -4096);
    asm.store(Width::Q, page(), T0);
    asm.rip(Width::D, 0xff, 4, slot + offset_of!(Slot, entry) as u64);
}

/// Why translated code left.
pub mod left {
    #![allow(missing_docs)]
    /// RIP is set, between blocks.
    pub const BETWEEN: u64 = 1;
    /// Go on in tier 1 at the site in `left_at`.
    pub const RESUME: u64 = 2;
    /// The edge in `left_at` is to be linked.
    pub const LINK: u64 = 3;
    /// An operation of the site in `left_at` did not complete.
    pub const FAULT: u64 = 4;
    /// An operation panicked.
    pub const PANIC: u64 = 5;
}

/// Addresses of the thunks of an arena.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thunks {
    /// `extern "C" fn(cpu, entry) -> left`.
    pub enter: u64,
    /// Called with a site's number in EAX: runs its operations in tier 1 and returns, or leaves.
    pub helper: u64,
    /// Jumped to with the offset from the page in RAX: leaves between blocks.
    pub between: u64,
    /// The same, where addresses have 32 bits.
    pub between32: u64,
    /// Jumped to with a site's number in EAX.
    pub resume: u64,
    /// Jumped to with an edge's number in EAX.
    pub link: u64,
    /// Called: makes the guest's MXCSR the host's. EAX and the flags are lost.
    pub round: u64,
}

const SAVED: [Reg; 6] = [RBX, RBP, R12, R13, R14, R15];

fn load_guest(asm: &mut Asm) {
    for (guest, r) in PINNED {
        asm.load(Width::Q, r, slot(guest));
    }
    asm.load(Width::Q, BUDGET, word(offset_of!(Cpu, frame.budget)));
}

fn store_guest(asm: &mut Asm) {
    for (guest, r) in PINNED {
        asm.store(Width::Q, slot(guest), r);
    }
    asm.store(Width::Q, word(offset_of!(Cpu, frame.budget)), BUDGET);
    unround(asm);
}

/// MXCSR of the host's own code: everything masked, nearest.
const HOST_MXCSR: i32 = 0x1f80;
/// The flags of exceptions in it.
const MXCSR_FLAGS: i32 = 0x3f;

/// Makes the guest's MXCSR the host's: whatever it is, no exception is unmasked and no reserved bit set.
fn round(asm: &mut Asm) {
    use super::asm::Alu;
    let passing = word(offset_of!(Cpu, frame.mxcsr));
    asm.zero_extend(Width::W, T0, word(offset_of!(Cpu, mxcsr)));
    asm.alu_imm(Alu::Or, Width::D, Rm::R(T0), HOST_MXCSR);
    asm.store(Width::D, passing, T0);
    asm.load_mxcsr(passing);
    asm.store_imm(Width::B, rounding(), 1);
    asm.ret();
}

/// Gives the host its own MXCSR again, and the guest the flags that were raised. `T1` is lost.
fn unround(asm: &mut Asm) {
    use super::asm::Alu;
    let passing = word(offset_of!(Cpu, frame.mxcsr));
    let over = asm.label();
    asm.alu_imm(Alu::Cmp, Width::B, rounding(), 0);
    asm.jcc(cc::E, over);
    asm.store_imm(Width::B, rounding(), 0);
    asm.store_mxcsr(passing);
    asm.load(Width::D, T1, passing);
    asm.alu_imm(Alu::And, Width::D, Rm::R(T1), MXCSR_FLAGS);
    asm.alu_to(Alu::Or, Width::D, word(offset_of!(Cpu, mxcsr)), T1);
    asm.store_imm(Width::D, passing, HOST_MXCSR);
    asm.load_mxcsr(passing);
    asm.bind(over);
}

fn epilogue(asm: &mut Asm) {
    for r in SAVED.iter().rev() {
        asm.pop(*r);
    }
    asm.ret();
}

/// Writes the thunks for an address; `helper` is what runs a site's operations.
pub fn thunks(origin: u64, helper: extern "C" fn(*mut Cpu, u32) -> u64) -> (Vec<u8>, Thunks) {
    use super::asm::Alu;
    let mut asm = Asm::new(origin);
    let asm = &mut asm;
    let enter = asm.here();
    for r in SAVED {
        asm.push(r);
    }
    asm.mov(CPU, RDI);
    asm.mov(RAX, RSI);
    load_guest(asm);
    asm.jmp_to(Rm::R(RAX));

    let exit = asm.bound();
    store_guest(asm);
    epilogue(asm);

    let helper_at = asm.here();
    store_guest(asm);
    asm.mov(RDI, CPU);
    asm.load(Width::D, RSI, Rm::R(RAX));
    asm.constant(RAX, helper as usize as u64);
    asm.call_to(Rm::R(RAX));
    asm.test(Width::D, RAX);
    let out = asm.label();
    asm.jcc(cc::NE, out);
    load_guest(asm);
    asm.ret();
    asm.bind(out);
    asm.alu_imm(Alu::Add, Width::Q, Rm::R(RSP), 8);
    epilogue(asm);

    let round_at = asm.here();
    round(asm);

    let [between, between32] = [Width::Q, Width::D].map(|word| {
        let at = asm.here();
        asm.alu(Alu::Add, word, RAX, page());
        asm.store(Width::Q, ip(), RAX);
        asm.constant(RAX, left::BETWEEN);
        asm.jmp(exit);
        at
    });

    let mut numbered = |why| {
        let at = asm.here();
        asm.store(Width::D, word(offset_of!(Cpu, frame.left_at)), RAX);
        asm.constant(RAX, why);
        asm.jmp(exit);
        at
    };
    let (resume, link) = (numbered(left::RESUME), numbered(left::LINK));
    let code = std::mem::replace(asm, Asm::new(0)).finish();
    (code, Thunks { enter, helper: helper_at, between, between32, resume, link, round: round_at })
}
