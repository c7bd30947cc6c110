//! A block of tier 1, turned into host code.
//!
//! The code keeps the boundaries of tier 1: what it counts, where it may stop and what an instruction that faults
//! finds are the same to the instruction. Whatever is unusual is done by tier 1 itself: an operation whose page the TLB
//! does not hold is run by its handler, out of line, before the code has changed anything for it.
//!
//! Status flags are in the host's flags after the instruction that made them, and in [`super::layout::Frame::flags`]
//! from where something would destroy them while they may still be seen. Between blocks they are always there.

use iced_x86::{Encoder, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind};

use super::asm::{Alu, Asm, Label, Reg, Rm, Width, cc};
use super::flow::{self, ALL, CF, Use};
use super::layout::{self, BUDGET, GUEST_RSP, T0, T1, Thunks};
use super::select::{self, Sse, Step};
use super::vectors::{self, Held};

/// An instruction of the block.
pub struct Insn {
    /// Decoded.
    pub i: Instruction,
    /// Tier 1's block ends there.
    pub ends: bool,
}

/// A place where tier 1 takes over.
pub struct Site {
    /// Index of the first operation in the block.
    pub at: u8,
    /// How many operations are run there; none where tier 1 goes on by itself.
    pub run: u8,
    /// They read or write status flags.
    pub flags: bool,
}

/// A way to another block.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// Where it goes, from the beginning of the page.
    pub to: i64,
    /// How it is linked.
    pub link: Link,
}

/// How an edge is linked.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    /// Within the page: by the JMP at this offset of the code.
    Jump(u32),
    /// To another page: by the slot at this address.
    Slot(u64),
}

/// What of the mode the code is made for.
#[derive(Clone, Copy)]
pub struct Kind {
    /// 64-bit code; else [`crate::cpu::mode::FLAT`].
    pub long: bool,
    /// Segments of 32-bit code that are expected to have no end, whatever their base: a bit each.
    pub endless: u8,
    /// What of SSE is the host's own.
    pub sse: Sse,
}

impl Kind {
    /// Width of addresses, and of what a push pushes.
    pub fn word(self) -> Width {
        if self.long { Width::Q } else { Width::D }
    }
    /// Bytes of it.
    pub fn bytes(self) -> i32 {
        if self.long { 8 } else { 4 }
    }
}

/// What the code refers to, and how its own things are numbered.
#[derive(Clone, Copy)]
pub struct Place {
    /// Address of the first byte.
    pub origin: u64,
    /// The thunks.
    pub thunks: Thunks,
    /// Number of the first site.
    pub sites: u32,
    /// Number of the first edge.
    pub edges: u32,
    /// Slots are made downwards from this address.
    pub slots: u64,
}

/// A translated block.
pub struct Translation {
    /// The code; it is entered at its beginning.
    pub code: Vec<u8>,
    /// Its sites, by number.
    pub sites: Vec<Site>,
    /// Its edges, by number.
    pub edges: Vec<Edge>,
    /// Address below which no slot was made.
    pub slots: u64,
    /// Offset of what is jumped to instead when it no longer holds.
    pub dead: u32,
    /// Instructions that tier 1 runs.
    pub interpreted: u32,
}

/// Why there is no translation.
#[derive(Debug)]
pub struct Untranslatable;

/// Where the guest's status flags are.
#[derive(Clone, Copy)]
struct Flags {
    /// In the host's.
    host: bool,
    /// In the frame.
    saved: bool,
}

enum Cold {
    /// An operation whose page is not known: runs the site and goes on behind it.
    Miss {
        label: Label,
        site: u32,
        back: Label,
        /// The host's flags are wanted behind it.
        flags: bool,
        /// The XMM registers: those written before it, and those held behind it.
        held: Held,
        /// The guest's MXCSR is wanted.
        rounding: bool,
    },
    /// Loads the guest's MXCSR.
    Rounding { label: Label, back: Label },
    /// Tier 1 goes on at the site.
    Resume { label: Label, site: u32, dirty: u16 },
    /// Stops between blocks.
    Between { label: Label, to: i64 },
    /// Asks for a link.
    Link { label: Label, edge: u32 },
    /// A way that is seldom taken.
    Edge { label: Label, to: i64, charge: usize, dirty: u16 },
}

pub(super) struct Translator<'a> {
    pub(super) asm: Asm,
    insns: &'a [Insn],
    pub(super) kind: Kind,
    place: Place,
    /// Offset of the block in its page.
    offset: i64,
    /// Address that the instructions were decoded for.
    ip: u64,
    live: Vec<u8>,
    flags: Flags,
    /// XMM registers in the host's.
    pub(super) held: Held,
    /// The guest's MXCSR is the host's.
    pub(super) rounding: bool,
    cold: Vec<Cold>,
    sites: Vec<Site>,
    edges: Vec<Edge>,
    slots: u64,
    info: InstructionInfoFactory,
    encoder: Encoder,
}

/// Translates the instructions of a block that lies at `offset` of its page; they were decoded for address `ip`.
pub fn translate(
    insns: &[Insn],
    kind: Kind,
    ip: u64,
    offset: u64,
    place: Place,
) -> Result<Translation, Untranslatable> {
    let steps = plan(insns, kind);
    let uses: Vec<Use> = insns.iter().zip(&steps).map(|(n, s)| select::flags(&n.i, *s)).collect();
    let mut t = Translator {
        asm: Asm::new(place.origin),
        insns,
        kind,
        place,
        offset: offset as i64,
        ip,
        live: flow::live_after(&uses),
        flags: Flags { host: false, saved: true },
        held: Held::default(),
        rounding: false,
        cold: Vec::new(),
        sites: Vec::new(),
        edges: Vec::new(),
        slots: place.slots,
        info: InstructionInfoFactory::new(),
        encoder: Encoder::new(64),
    };
    let mut at = 0;
    let mut open = true;
    while open && at < insns.len() {
        let run = steps[at..].iter().take_while(|s| **s == Step::Interpreted).count();
        if run > 0 {
            t.interpret(at, run);
            at += run;
            continue;
        }
        open = t.one(at, steps[at], uses[at])?;
        at += 1;
    }
    if open {
        t.save_flags();
        t.store_vectors();
        let next = insns.last().map_or(0, |n| n.i.next_ip());
        let to = t.page_offset(next);
        t.edge(to, insns.len());
    }
    let dead = t.finish_cold();
    let interpreted = steps.iter().filter(|s| **s == Step::Interpreted).count() as u32;
    Ok(Translation {
        code: t.asm.finish(),
        sites: t.sites,
        edges: t.edges,
        slots: t.slots,
        dead,
        interpreted,
    })
}

/// What to do with each instruction: from the last on, since it depends on the flags that are seen later.
fn plan(insns: &[Insn], kind: Kind) -> Vec<Step> {
    let mut live = ALL;
    let mut steps: Vec<Step> = Vec::with_capacity(insns.len());
    for n in insns.iter().rev() {
        let step = select::step(&n.i, n.ends, live, kind);
        let u = select::flags(&n.i, step);
        live = if u.shows { ALL } else { live & !u.kills | u.reads };
        steps.push(step);
    }
    steps.reverse();
    steps
}

impl Translator<'_> {
    /// Where an address that was decoded lies, from the beginning of the page.
    fn page_offset(&self, ip: u64) -> i64 {
        self.offset.wrapping_add(ip.wrapping_sub(self.ip) as i64)
    }

    fn site(&mut self, site: Site) -> u32 {
        self.sites.push(site);
        self.place.sites + self.sites.len() as u32 - 1
    }

    /// A label to which an instruction goes to be run by tier 1, with all that follows it.
    pub(super) fn resume(&mut self, at: usize) -> Label {
        let site = self.site(Site { at: at as u8, run: 0, flags: false });
        let label = self.asm.label();
        self.cold.push(Cold::Resume { label, site, dirty: self.held.dirty });
        label
    }

    /// A label to which an instruction goes to be run by tier 1 alone; the code goes on at `back`, the second one, which
    /// is to be bound behind the instruction.
    pub(super) fn miss(&mut self, at: usize) -> (Label, Label) {
        let (label, back) = (self.asm.label(), self.asm.label());
        let i = &self.insns[at].i;
        let flags = flow::reads(i) | flow::writes(i) != 0;
        let site = self.site(Site { at: at as u8, run: 1, flags });
        let (held, rounding) = (self.held, self.rounding);
        self.cold.push(Cold::Miss { label, site, back, flags: false, held, rounding });
        (label, back)
    }

    /// What the last miss must leave in the host's registers: what is there now, and, if `wanted`, the flags.
    pub(super) fn miss_gives(&mut self, wanted: bool) {
        let valid = self.held.valid;
        for cold in self.cold.iter_mut().rev() {
            if let Cold::Miss { flags, held, .. } = cold {
                (*flags, held.valid) = (wanted, valid);
                return;
            }
        }
    }

    /// The guest's MXCSR is loaded from here on: out of line at `label`, which leads back.
    pub(super) fn rounds_from(&mut self, label: Label, back: Label) {
        self.cold.push(Cold::Rounding { label, back });
        self.rounding = true;
    }

    /// Runs instructions by tier 1.
    fn interpret(&mut self, at: usize, run: usize) {
        self.save_flags();
        self.store_vectors();
        let insns = &self.insns[at..at + run];
        let flags = insns.iter().any(|n| flow::reads(&n.i) | flow::writes(&n.i) != 0);
        let site = self.site(Site { at: at as u8, run: run as u8, flags });
        self.asm.constant(T0, site.into());
        self.asm.call_abs(self.place.thunks.helper);
        self.flags = Flags { host: false, saved: true };
        (self.held, self.rounding) = (Held::default(), false);
    }

    /// Keeps the flags, if they are in the host's alone. `T0` is lost.
    pub(super) fn save_flags(&mut self) {
        if self.flags.host && !self.flags.saved {
            self.asm.lahf();
            self.asm.set(cc::O, Rm::R(T0));
            self.asm.store(Width::W, layout::flags(), T0);
            self.flags.saved = true;
        }
    }

    /// Brings kept flags back to the host's, by way of `T0`.
    pub(super) fn restore_flags(asm: &mut Asm) {
        asm.zero_extend(Width::W, T0, layout::flags());
        asm.alu_imm(Alu::Add, Width::B, Rm::R(T0), 0x7f);
        asm.sahf();
    }

    /// Brings the carry back; the other flags are lost, no register is.
    pub(super) fn restore_carry(&mut self) {
        self.asm.bit_test(layout::flags(), 8);
    }

    pub(super) fn flags_in_host(&self) -> bool {
        self.flags.host
    }
    /// The host's flags are the guest's, and nowhere else.
    pub(super) fn flags_made(&mut self) {
        self.flags = Flags { host: true, saved: false };
    }
    /// The flags are kept; the host's are something else.
    pub(super) fn flags_kept(&mut self) {
        self.flags = Flags { host: false, saved: true };
    }
    /// The host's flags are lost.
    pub(super) fn flags_lost(&mut self) {
        self.flags.host = false;
    }
    /// The flags that may be seen after an instruction.
    pub(super) fn live(&self, at: usize) -> u8 {
        self.live[at]
    }
    pub(super) fn insn(&self, at: usize) -> &Instruction {
        &self.insns[at].i
    }

    /// One instruction; false when it ends the code.
    fn one(&mut self, at: usize, step: Step, u: Use) -> Result<bool, Untranslatable> {
        let i = self.insns[at].i;
        let before = if u.shows { ALL } else { self.live[at] & !u.kills | u.reads };
        // Flags that it changes in part stay in the host's where it leaves the rest of them.
        let partly = match step {
            Step::Plain => select::keeps_host_flags(&i, step),
            Step::Vector | Step::Floating => self.vector_keeps_flags(&i, step == Step::Floating),
            _ => false,
        };
        if before != 0 && !partly {
            self.save_flags();
        }
        match step {
            Step::Plain => self.plain(at)?,
            Step::Dead => self.dead(at)?,
            Step::Shift => self.shift(at)?,
            Step::Rotate => self.rotate(at)?,
            Step::Imul => self.imul(at)?,
            Step::Mul => self.mul(at),
            Step::Div => self.div(at),
            Step::Scan => self.scan(at),
            Step::BitTest => self.bit_test(at)?,
            Step::CompareExchange => self.compare_exchange(at)?,
            Step::Widen => self.widen(&i),
            Step::Vector | Step::Floating => self.vector(at, step == Step::Floating)?,
            Step::Nothing => {}
            Step::Push | Step::PushMemory => self.push(at, &i),
            Step::Pop => self.pop(at, &i),
            Step::Leave => self.leave(at),
            Step::Branch => return Ok(self.branch(at, &i)),
            Step::Jump => {
                self.store_vectors();
                let to = self.page_offset(i.near_branch_target());
                self.edge(to, at + 1);
                return Ok(false);
            }
            Step::Call => {
                self.call(at, &i);
                return Ok(false);
            }
            Step::JumpIndirect | Step::CallIndirect | Step::Return => {
                self.indirect(at, step, &i);
                return Ok(false);
            }
            Step::Left | Step::Interpreted => {
                let label = self.resume(at);
                self.asm.jmp(label);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sets the host's flags so that the condition it gives is the guest's `cond`.
    pub(super) fn condition(&mut self, cond: u8) -> u8 {
        if self.flags.host {
            return cond;
        }
        let high = Rm::M(layout::CPU, layout::flags_high());
        let (place, bits) = match cond >> 1 {
            0 => (layout::flags(), 1),
            1 => (high, flow::CF),
            2 => (high, flow::ZF),
            3 => (high, flow::CF | flow::ZF),
            4 => (high, flow::SF),
            5 => (high, flow::PF),
            _ => {
                Self::restore_flags(&mut self.asm);
                self.flags.host = true;
                return cond;
            }
        };
        self.asm.test_imm8(place, bits);
        if cond & 1 == 0 { cc::NE } else { cc::E }
    }

    /// Jcc; true when the block goes on behind it.
    fn branch(&mut self, at: usize, i: &Instruction) -> bool {
        let Some(cond) = crate::int::branch_condition(i) else { return true };
        self.save_flags();
        let cond = self.condition(cond);
        let to = self.page_offset(i.near_branch_target());
        let label = self.asm.label();
        let last = at + 1 == self.insns.len();
        if last && to <= self.page_offset(i.ip()) {
            self.store_vectors();
            // The end of a loop: the way back is the one that is taken.
            self.asm.jcc(cond ^ 1, label);
            self.edge(to, at + 1);
            self.asm.bind(label);
        } else {
            self.asm.jcc(cond, label);
            self.cold.push(Cold::Edge { label, to, charge: at + 1, dirty: self.held.dirty });
        }
        true
    }

    /// Goes on between blocks, `charge` instructions later, if nobody wants anything.
    fn edge(&mut self, to: i64, charge: usize) {
        let stop = self.asm.label();
        self.asm.alu_imm(Alu::Sub, Width::Q, Rm::R(BUDGET), charge as i32);
        self.asm.jcc(cc::LE, stop);
        self.check_attention(T0, stop);
        self.cold.push(Cold::Between { label: stop, to });
        let number = self.place.edges + self.edges.len() as u32;
        let ask = self.asm.label();
        let link = if (0..4096).contains(&to) {
            let jump = self.asm.offset();
            self.asm.jmp(ask);
            Link::Jump(jump)
        } else {
            self.slots -= size_of::<layout::Slot>() as u64;
            let slot = self.slots;
            layout::slot_jump(&mut self.asm, self.kind.word(), slot, to & !0xfff, ask);
            Link::Slot(slot)
        };
        self.edges.push(Edge { to, link });
        self.cold.push(Cold::Link { label: ask, edge: number });
    }

    /// Goes to `stop` if another thread wants something.
    fn check_attention(&mut self, scratch: Reg, stop: Label) {
        self.asm.load(Width::Q, scratch, layout::attention());
        self.asm.alu_imm(Alu::Cmp, Width::D, Rm::M(scratch, 0), 0);
        self.asm.jcc(cc::NE, stop);
    }

    /// Puts the address of the next instruction into `T1`.
    fn return_address(&mut self, i: &Instruction) {
        let next = self.page_offset(i.next_ip());
        self.asm.load(Width::Q, T1, layout::page());
        self.asm.lea(self.kind.word(), T1, Rm::M(T1, next as i32));
    }

    /// CALL with a displacement.
    fn call(&mut self, at: usize, i: &Instruction) {
        self.store_vectors();
        let again = self.resume(at);
        self.push_return(i, again);
        self.move_stack(-self.kind.bytes());
        let to = self.page_offset(i.near_branch_target());
        self.edge(to, at + 1);
    }

    /// RET, and JMP and CALL through a register or memory. Nothing is changed until the jump cache has the target; but
    /// the return address may be on the stack twice, the second time by tier 1.
    fn indirect(&mut self, at: usize, step: Step, i: &Instruction) {
        self.store_vectors();
        let again = self.resume(at);
        self.asm.alu_imm(Alu::Cmp, Width::Q, Rm::R(BUDGET), at as i32 + 1);
        self.asm.jcc(cc::LE, again);
        self.check_attention(T1, again);
        if step == Step::Return {
            self.stack_top(0);
            self.load_word(again);
        } else {
            self.target(i, step == Step::CallIndirect, again);
        }
        layout::jump_check(&mut self.asm, again);
        let bytes = self.kind.bytes();
        let pop = match step {
            Step::Return if i.op_count() == 1 => bytes + i32::from(i.immediate16()),
            Step::Return => bytes,
            Step::CallIndirect => -bytes,
            _ => 0,
        };
        if pop != 0 {
            self.move_stack(pop);
        }
        self.asm.alu_imm(Alu::Sub, Width::Q, Rm::R(BUDGET), at as i32 + 1);
        self.asm.jmp_to(Rm::M(T1, 8));
    }

    /// Leaves the target of a JMP or CALL in `T0`; a CALL's return address is on the stack then.
    fn target(&mut self, i: &Instruction, call: bool, again: Label) {
        let memory = i.op0_kind() == OpKind::Memory;
        if memory {
            self.address(i, false, again);
            self.load_word(again);
        }
        if call {
            if memory {
                self.asm.store(Width::Q, layout::operand(), T0);
            }
            self.push_return(i, again);
            if memory {
                self.asm.load(Width::Q, T0, layout::operand());
            }
        }
        if !memory {
            self.read_guest(T0, i.op0_register().full_register().number());
            if !self.kind.long {
                self.asm.load(Width::D, T0, Rm::R(T0));
            }
        }
    }

    /// Leaves the address `delta` bytes above the guest's stack pointer in `T0`.
    pub(super) fn stack_top(&mut self, delta: i32) {
        match (self.kind.word(), delta) {
            (Width::Q, 0) => self.asm.mov(T0, GUEST_RSP),
            (word, _) => self.asm.lea(word, T0, Rm::M(GUEST_RSP, delta)),
        }
    }

    /// Moves the guest's stack pointer. The flags stay.
    pub(super) fn move_stack(&mut self, by: i32) {
        self.asm.lea(self.kind.word(), GUEST_RSP, Rm::M(GUEST_RSP, by));
    }

    /// Loads `T0` from the word at the linear address there.
    fn load_word(&mut self, again: Label) {
        layout::tlb_check(&mut self.asm, self.kind.bytes() as usize, false, again);
        self.asm.load(self.kind.word(), T0, Rm::M(T0, 0));
    }

    /// Writes the address of the next instruction below the stack pointer, which stays.
    fn push_return(&mut self, i: &Instruction, again: Label) {
        self.stack_top(-self.kind.bytes());
        layout::tlb_check(&mut self.asm, self.kind.bytes() as usize, true, again);
        self.return_address(i);
        self.asm.store(self.kind.word(), Rm::M(T0, 0), T1);
    }

    /// Writes what is seldom run behind the rest; gives the offset of what stands for code that no longer holds.
    fn finish_cold(&mut self) -> u32 {
        let mut at = 0;
        // Edges bring more of their own.
        while at < self.cold.len() {
            if let Cold::Edge { label, to, charge, dirty } = self.cold[at] {
                self.asm.bind(label);
                vectors::store(&mut self.asm, dirty);
                self.edge(to, charge);
            }
            at += 1;
        }
        let thunks = self.place.thunks;
        let between = if self.kind.long { thunks.between } else { thunks.between32 };
        let asm = &mut self.asm;
        for cold in &self.cold {
            match *cold {
                Cold::Edge { .. } => {}
                Cold::Between { label, to } => {
                    asm.bind(label);
                    asm.constant(T0, to as u64);
                    asm.jmp_abs(between);
                }
                Cold::Link { label, edge } => {
                    asm.bind(label);
                    asm.constant(T0, edge.into());
                    asm.jmp_abs(thunks.link);
                }
                Cold::Resume { label, site, dirty } => {
                    asm.bind(label);
                    vectors::store(asm, dirty);
                    asm.constant(T0, site.into());
                    asm.jmp_abs(thunks.resume);
                }
                Cold::Rounding { label, back } => {
                    asm.bind(label);
                    asm.call_abs(thunks.round);
                    asm.jmp(back);
                }
                Cold::Miss { label, site, back, flags, held, rounding } => {
                    asm.bind(label);
                    vectors::store(asm, held.dirty);
                    asm.constant(T0, site.into());
                    asm.call_abs(thunks.helper);
                    if rounding {
                        asm.call_abs(thunks.round);
                    }
                    vectors::load(asm, held.valid);
                    if flags {
                        Self::restore_flags(asm);
                    }
                    asm.jmp(back);
                }
            }
        }
        let dead = asm.offset();
        asm.constant(T0, self.offset as u64);
        asm.jmp_abs(between);
        dead
    }

    /// Reads a guest register, whole.
    pub(super) fn read_guest(&mut self, to: Reg, guest: usize) {
        match layout::host(guest) {
            Some(r) => self.asm.mov(to, r),
            None => self.asm.load(Width::Q, to, layout::slot(guest)),
        }
    }

    /// How the instruction uses operand `n`.
    pub(super) fn access(&mut self, i: &Instruction, n: u32) -> OpAccess {
        self.info.info(i).op_access(n)
    }

    /// Encodes an instruction of other registers at the current place.
    pub(super) fn encode(&mut self, i: &Instruction) -> Result<(), Untranslatable> {
        let done = self.encoder.encode(i, self.asm.here());
        let bytes = self.encoder.take_buffer();
        done.map_err(|_| Untranslatable)?;
        self.asm.raw(&bytes);
        Ok(())
    }

    /// Whether carry must be in the host's flags for an instruction that leaves or takes it.
    pub(super) fn wants_carry(&self, at: usize) -> bool {
        let i = &self.insns[at].i;
        flow::reads(i) == CF
            || matches!(i.mnemonic(), Mnemonic::Inc | Mnemonic::Dec) && self.live[at] & CF != 0
    }
    /// Offset from the page that an address relative to RIP has.
    pub(super) fn relative(&self, target: u64) -> i64 {
        self.page_offset(target)
    }
}
