//! Any bytes as the code of a guest with two vCPUs, in any mode: for the fuzz target and its soak.
//!
//! Whatever the code does, nothing but the guest may break: no panic, no fault of the host, no run that does not end
//! when its budget of instructions is spent, no register that cannot be saved and loaded. The vCPUs run in turns, or
//! at once on threads of their own, interpreted or translated. In turns both come to the same ([`compare`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hypervisor::{Dispatch, Error, Mapping, RamBlock, memory};
use ioreq::{Dir, Request};
use vm_memory::{Bytes, MemoryRegionAddress};

use crate::cpu::{Cpu, IP, RSP, Segment, Table, ZERO, attr, seg};
use crate::exec::Leave;
use crate::flags::bits as fl;
use crate::machine::{CountClock, Shared, attention};
use crate::model::CpuModel;
use crate::soft::STACK;
use crate::state;
use crate::system::bits::{cr0, cr4, efer};
use crate::system::segment::v86_segment;
use crate::tier2::Tier2;

/// Bytes of RAM.
const RAM: u64 = 4 << 20;
/// Instructions of a turn, and turns.
const TURN: u64 = 200;
const TURNS: u32 = 16;
/// What a turn may overrun its budget by: one block, and the items of one string instruction.
const OVERRUN: u64 = 64 + 1024;
/// Bytes of the head: the modes, what else, and a seed.
const HEAD: usize = 8;
/// Offsets in a vCPU's 64 KiB.
const IDT: u64 = 0x1000;
const TSS: u64 = 0x2000;
const TASK: u64 = 0x2800;
const PAGES: u64 = 0x3000;
/// Bytes of the page tables there.
const TABLES: u64 = 0x4000;
const TOP: u64 = 0x7ff0;
const CODE: u64 = 0x8000;

/// Bits of the second byte of the head.
mod what {
    /// Page tables of 4 KiB pages, some of which lead elsewhere, in long mode.
    pub const PAGES: u8 = 1 << 5;
    /// The code is translated.
    pub const TRANSLATED: u8 = 1 << 6;
    /// The vCPUs run at once.
    pub const AT_ONCE: u8 = 1 << 7;
}

/// A device that answers anything.
struct Anything(u64);

impl Dispatch for Anything {
    fn request(&mut self, request: &Request) -> u64 {
        self.0 = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ request.count as u64;
        if request.dir == Dir::Read { self.0 } else { 0 }
    }
    fn acknowledge(&mut self) -> u8 {
        self.0 as u8
    }
    fn end_of_interrupt(&mut self, _: u8) {}
}

/// The machine.
struct Wild {
    shared: Arc<Shared>,
    block: RamBlock,
    modes: u8,
    what: u8,
    seed: u64,
}

impl Wild {
    fn new(head: &[u8; HEAD]) -> Result<Wild, Error> {
        let block = memory::new_block(0, RAM)?;
        let ram = memory::ram_of(vec![memory::Region::host(block.clone())])?;
        let counter = Arc::new(CountClock::default());
        let shared = Arc::new(Shared::new(2, ram, counter.clone(), Some(counter)));
        shared.physical.map(&Mapping::ram(0, RAM, &block, 0))?;
        crate::soft::watch(&shared, &block);
        // A page that can be read and not be written, and one the other way round.
        shared.physical.map(&Mapping::rom(0x3_0000, 0x1000, &block, 0x3_0000))?;
        let write = Mapping::ram(0x3_1000, 0x1000, &block, 0x3_1000);
        shared.physical.map(&Mapping { read: None, ..write })?;
        let seed = u64::from_le_bytes(*head);
        Ok(Wild { shared, block, modes: head[0], what: head[1], seed })
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        // Inside the block, or not at all.
        let _ = self.block.write_slice(bytes, MemoryRegionAddress(at));
    }
    fn write64(&self, at: u64, v: u64) {
        self.write(at, &v.to_le_bytes());
    }
    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let v = (self.seed ^ self.seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        v ^ v >> 27
    }

    /// Descriptors, gates, task segments and page tables of a vCPU, for its mode.
    fn tables(&self, at: u64, long: bool) {
        let base = |d: u64, to: u64| d | (to & 0xff_ffff) << 16;
        let gate = 24 << 16 | 0xec << 40 | (at + CODE) & 0xffff | ((at + CODE) >> 16) << 48;
        #[rustfmt::skip]
        let gdt = [
            0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00cf_9b00_0000_ffff,
            0x000f_9b00_0000_ffff, 0x000f_9300_0000_ffff, 0x00cf_f300_0000_ffff, 0x00af_fb00_0000_ffff,
            0x00cf_fb00_0000_ffff, 0x000f_fb00_0000_ffff, base(0x0000_8900_0000_0067, at + TSS), 0,
            base(0x0000_8900_0000_0067, at + TASK), gate, base(0x0000_8200_0000_007f, at), 0x0040_f700_0000_0fff,
        ];
        for (n, d) in (0u64..).zip(gdt) {
            self.write64(at + 8 * n, d);
        }
        for vector in 0..256u64 {
            let kind = [0x8e, 0xef, 0xee, 0x85][vector as usize & 3];
            let (kind, selector) = match (kind, long) {
                (0x85, false) => (0x85, 96),
                (0x85, true) => (0x8e, 8),
                (kind, long) => (kind, if long { 8 } else { 24 }),
            };
            let to = at + CODE + (vector & 7) * 0x40;
            let low = to & 0xffff | selector << 16 | kind << 40 | (to >> 16) << 48;
            if long {
                let ist = if vector & 7 == 0 { 1 << 32 } else { 0 };
                self.write64(at + IDT + 16 * vector, low | ist);
            } else {
                self.write64(at + IDT + 8 * vector, low);
            }
        }
        if long {
            self.write64(at + TSS + 4, at + TOP);
            self.write64(at + TSS + 36, at + TOP - 0x800);
        } else {
            self.write64(at + TSS + 4, at + TOP | 16 << 32);
        }
        for (offset, v) in
            [(0x20, at + CODE), (0x24, 2), (0x38, at + TOP), (0x48, 16), (0x4c, 24), (0x50, 16), (0x54, 16)]
        {
            self.write(at + TASK + offset, &(v as u32).to_le_bytes());
        }
        let tables = at + PAGES;
        if long {
            for n in [0, 511] {
                self.write64(tables + 8 * n, tables + 0x1007);
            }
            for n in [0, 3, 511] {
                self.write64(tables + 0x1000 + 8 * n, tables + 0x2007);
            }
            for n in 0..512 {
                let to = if n == 503 { 0xfee0_0000 } else { (n & 1) << 21 };
                self.write64(tables + 0x2000 + 8 * n, to | 0x87);
            }
        } else {
            for n in 0..1024u64 {
                let to = if n == 1019 { 0xfec0_0000u32 } else { 0 };
                self.write(tables + 4 * n, &(to | 0x87).to_le_bytes());
            }
        }
    }

    /// Long mode's first 2 MiB by pages of 4 KiB. Those of the vCPU itself lead to themselves, mostly; the others anywhere,
    /// so that many lead to one page, with all kinds of rights.
    fn pages(&mut self, at: u64) {
        let table = at + PAGES + 0x3000;
        for n in 0..512 {
            let v = self.next();
            let own = (at >> 12..(at >> 12) + 16).contains(&n);
            let (to, rights) = match v >> 60 {
                0..14 if own => (n, 7),
                0..4 => (n, 7 | v & 0x18),
                4..12 => (v >> 8 & 0x1ff, 7),
                12..14 => ((at >> 12) + (v >> 8 & 0xf), v & 0x167),
                // Behind the end of RAM.
                14 => (0x400 + (v >> 8 & 0xff), 7),
                _ => (v >> 8 & 0x3ff, v & 0x167 | v << 1 & 1 << 63),
            };
            self.write64(table + 8 * n, to << 12 | rights);
        }
        self.write64(at + PAGES + 0x2000, table | 7);
    }

    /// Puts a vCPU at the beginning of its code.
    fn enter(&mut self, cpu: &mut Cpu) {
        let at = frame(cpu.id);
        let mode = self.modes >> (4 * cpu.id) & 7;
        let user = self.modes >> (4 * cpu.id + 3) & 1 != 0;
        let long = mode >= 5;
        self.tables(at, long);
        if long && self.what & what::PAGES != 0 {
            self.pages(at);
        }
        cpu.init();
        (cpu.wait_startup, cpu.shutdown, cpu.halted) = (false, false, false);
        for r in 0..16 {
            let v = self.next();
            cpu.gpr[r] = match v >> 61 {
                0..=2 => at + CODE + (v & 0xfff),
                3 => v & 0xff,
                4 => v & 0x3f_ffff,
                5 => (v as i8) as u64,
                6 => 0xfee0_0000 + (v & 0xff0),
                _ => v,
            };
        }
        cpu.gpr[RSP] = at + TOP;
        cpu.gdt = Table { base: at, limit: 0x7f };
        if mode == 0 {
            cpu.idt.limit = 0x3ff;
            cpu.set_cs_real(((at + CODE) >> 4) as u16);
            cpu.gpr[IP] = 0;
            cpu.gpr[RSP] &= 0xffff;
        } else {
            self.protect(cpu, at, mode, user);
        }
        let flags = self.next();
        let mut mask = fl::STATUS | fl::DF | fl::AC | fl::IF | fl::RF;
        if self.what & 1 != 0 {
            mask |= fl::TF;
        }
        if self.what & 2 != 0 {
            mask |= fl::IOPL | fl::NT;
        }
        cpu.set_flags(mask, flags);
        if self.what & 4 != 0 {
            cpu.dr[0] = at + CODE + (flags >> 32 & 0xff);
            cpu.dr[1] = at + TOP - 8;
            cpu.dr[5] |= 0xf0_000f | flags >> 32 & 0x3_2000;
        }
        if self.what & 64 != 0 {
            cpu.set_model(Arc::new(CpuModel::of_all()));
            cpu.xcr0 = 7;
        }
        cpu.flags_changed();
        cpu.debug_changed();
        cpu.refresh();
    }

    /// Virtual-8086 mode (1), protected mode of 16 (2) or 32 bits (3, paged 4), long mode (5), compatibility (6, 7).
    fn protect(&mut self, cpu: &mut Cpu, at: u64, mode: u8, user: bool) {
        cpu.idt = Table { base: at + IDT, limit: 0xfff };
        cpu.cr0 = cr0::PE | cr0::ET | if self.what & 8 != 0 { cr0::WP | cr0::AM | cr0::NE } else { 0 };
        cpu.cr4 = cr4::PSE
            | cr4::OSFXSR
            | cr4::OSXMMEXCPT
            | if self.what & 16 != 0 { cr4::VME | cr4::PVI | cr4::DE } else { 0 };
        cpu.cr3 = at + PAGES;
        if mode >= 4 {
            cpu.cr0 |= cr0::PG;
        }
        if mode >= 5 {
            cpu.cr4 |= cr4::PAE | cr4::OSXSAVE | cr4::PGE;
            cpu.msr.efer = efer::LME | efer::LMA | efer::NXE | efer::SCE;
            cpu.msr.star = 0x28 << 48 | 8 << 32;
            (cpu.msr.lstar, cpu.msr.cstar) = (at + CODE, at + CODE);
        }
        (cpu.msr.sysenter_cs, cpu.msr.sysenter_eip, cpu.msr.sysenter_esp) = (24, at + CODE, at + TOP);
        cpu.tr = Segment { base: at + TSS, limit: 0x67, selector: 80, attr: 0x8b, ..Segment::default() };
        cpu.ldt = Segment { base: at, limit: 0x7f, selector: 112, attr: 0x82, ..Segment::default() };
        let dpl = if user { 3 } else { 0 };
        let common = attr::P | attr::S | attr::RW | attr::ACCESSED | attr::G | dpl << attr::DPL;
        let data =
            Segment { limit: u32::MAX, selector: 16 | dpl, attr: common | attr::DB, ..Segment::default() };
        let size = match mode {
            2 | 7 => 0,
            5 => attr::L,
            _ => attr::DB,
        };
        let code = Segment { selector: 24 | dpl, attr: common | attr::CODE | size, ..data };
        if mode == 1 {
            cpu.cpl = 3;
            cpu.flags |= fl::VM;
            for slot in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
                cpu.set_seg(slot, v86_segment((at >> 4) as u16));
            }
            cpu.set_cs(v86_segment(((at + CODE) >> 4) as u16), 3);
            cpu.seg[seg::CS].selector = ((at + CODE) >> 4) as u16;
            cpu.gpr[IP] = 0;
            cpu.gpr[RSP] = TOP;
        } else {
            cpu.set_cs(code, dpl as u8);
            for slot in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
                cpu.set_seg(slot, data);
            }
            cpu.gpr[IP] = at + CODE;
        }
    }

    /// What the world does to a vCPU between two turns.
    fn disturb(&self, cpu: &Cpu, turn: u32) {
        let mut unit = self.shared.unit(cpu.id);
        match turn & 7 {
            1 => unit.apic.accept(0x40 | turn as u8, false),
            3 => unit.nmi = true,
            5 => unit.extint = true,
            _ => {}
        }
        drop(unit);
        self.shared.timer_fired(cpu.id);
        let bits = [attention::IRQ, attention::FLUSH, attention::CODE, attention::DIRTY];
        self.shared.tell(cpu.id, bits[turn as usize & 3]);
        if turn & 7 == 6 {
            self.shared.set_a20(turn & 8 != 0);
        }
    }

    /// One turn; what it came to, and whether the vCPU has to be put at its beginning again.
    fn turn(&self, cpu: &mut Cpu, turn: u32) -> (u64, bool) {
        self.disturb(cpu, turn);
        let before = cpu.icount;
        cpu.icount_limit = before + TURN;
        let mut again = false;
        let leave = cpu.run();
        match leave {
            Leave::Count => {}
            Leave::Halted => cpu.halted = false,
            Leave::Shutdown => again = true,
            Leave::Attention => {
                let word = &self.shared.vcpus[cpu.id as usize].attention;
                word.fetch_and(!attention::OUTSIDE, Ordering::AcqRel);
                let mut unit = self.shared.unit(cpu.id);
                let (init, startup) = (std::mem::take(&mut unit.init), unit.startup.take());
                drop(unit);
                again = init || startup.is_some();
            }
        }
        let ran = cpu.icount.wrapping_sub(before);
        assert!(ran <= TURN + OVERRUN, "{ran} instructions for a budget of {TURN}");
        assert!(
            cpu.gpr[ZERO] == 0 && cpu.cpl <= 3 && cpu.seg[seg::FLAT].base == 0,
            "the frame of a vCPU stands"
        );
        let kind =
            (cpu.code as u64) << 8 | (cpu.cpl as u64) << 4 | (cpu.protected() as u64) << 1 | cpu.v86() as u64;
        (kind << 16 | (cpu.fault.vector as u64) << 8 | leave as u64, again)
    }

    /// Runs a vCPU to the end of its turns; with `pair` the other one in between.
    fn all(&mut self, cpus: &mut [Box<Cpu>]) -> u64 {
        self.all_seen(cpus, &mut |_, _| ())
    }

    /// The same; `seen` is told of each turn's end.
    fn all_seen(&mut self, cpus: &mut [Box<Cpu>], seen: &mut dyn FnMut(&Wild, &Cpu)) -> u64 {
        let mut outcome = 0u64;
        for turn in 0..TURNS {
            for cpu in cpus.iter_mut() {
                let (kind, again) = self.turn(cpu, turn);
                seen(self, cpu);
                outcome |= 1 << (kind.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58);
                if again {
                    self.enter(cpu);
                }
            }
        }
        outcome
    }
}

/// A vCPU's state can be saved, read again and put back as it was.
fn saves(wild: &Wild, cpu: &mut Cpu) {
    let save = |cpu: &Cpu| state::save(cpu, &wild.shared.unit(cpu.id)).expect("a vCPU can be saved");
    let body = save(cpu);
    let saved = state::parse(&body).expect("what was saved can be read");
    saved.apply_unit(&mut wild.shared.unit(cpu.id));
    saved.apply(cpu);
    assert!(save(cpu) == body, "what is loaded is what was saved");
}

/// The machine of an input, and its vCPUs at their beginning.
fn begin(input: &[u8], translated: bool) -> (Wild, [Box<Cpu>; 2]) {
    let mut head = [0; HEAD];
    let taken = input.len().min(HEAD);
    head[..taken].copy_from_slice(&input[..taken]);
    let code = &input[taken..];
    let mut wild = Wild::new(&head).expect("the host has 4 MiB");
    for vector in 0..256u64 {
        wild.write(4 * vector, &[(vector & 0xe0) as u8, 0, 0x00, 0x18]);
    }
    let halves = code.split_at(code.len() / 2);
    for (n, half) in (1u64..).zip([halves.0, halves.1]) {
        let half = if half.is_empty() { &[0xf4][..] } else { half };
        let filled: Vec<u8> = half.iter().copied().cycle().take(0x1000).collect();
        wild.write(0x1_0000 * n + CODE, &filled);
    }
    let mut cpus = [0, 1].map(|n| Cpu::new(n, wild.shared.clone()));
    for cpu in &mut cpus {
        // A host that refuses has no second tier.
        cpu.set_tier2(if translated { Tier2::new(1).ok() } else { None });
        cpu.dispatch = Some(Box::new(Anything(wild.next())));
        wild.enter(cpu);
    }
    (wild, cpus)
}

/// Where a vCPU's things are.
fn frame(vcpu: u32) -> u64 {
    0x1_0000 * (u64::from(vcpu) + 1)
}

/// Runs `input` in turns, interpreted and translated: the vCPUs are the same behind each turn, and RAM at the end. Gives
/// a number for what happened. Panics if we are at fault.
///
/// The guest cannot write to its page tables, and one that takes others is compared no more: what a guest that changes a
/// mapping and does not invalidate it sees until then, the old one or the new, no processor promises (SDM vol. 3,
/// 4.10.4.3), and the tiers do not keep the same of it.
pub fn compare(input: &[u8]) -> u64 {
    let went = |translated| {
        let (mut wild, mut cpus) = begin(input, translated);
        for at in cpus.iter().map(|cpu| frame(cpu.id) + PAGES) {
            let tables = Mapping::rom(at, TABLES, &wild.block, at);
            wild.shared.physical.map(&tables).expect("RAM is there");
        }
        let (mut seen, mut astray) = (Vec::new(), false);
        let mut see = |wild: &Wild, cpu: &Cpu| {
            astray |= cpu.cr0 & cr0::PG != 0 && cpu.cr3 != frame(cpu.id) + PAGES;
            if astray {
                return;
            }
            let state = state::save(cpu, &wild.shared.unit(cpu.id)).expect("a vCPU can be saved");
            seen.push((cpu.id, cpu.icount, cpu.registers(), state, cpu.code_ahead()));
        };
        let outcome = wild.all_seen(&mut cpus, &mut see);
        let mut ram = vec![0; RAM as usize];
        wild.block.read_slice(&mut ram, MemoryRegionAddress(0)).expect("all of it is there");
        (outcome, seen, ram, astray)
    };
    let (one, two) = (went(false), went(true));
    assert_eq!(one.1.len(), two.1.len(), "as long");
    for (turn, (one, two)) in one.1.iter().zip(&two.1).enumerate() {
        assert!(
            one == two,
            "turn {turn}: interpreted {:x?}\n\ntranslated {:x?}",
            (one.1, &one.2, &one.4),
            (two.1, &two.2, &two.4)
        );
    }
    let differs = if one.3 { None } else { one.2.iter().zip(&two.2).position(|(a, b)| a != b) };
    assert!(differs.is_none(), "RAM differs at {differs:x?}");
    one.0
}

/// Runs `input`: eight bytes that choose modes and registers, then the code, half of it for each vCPU. Gives a number
/// for what happened. Panics if we are at fault.
pub fn run(input: &[u8]) -> u64 {
    let translated = input.get(1).is_some_and(|what| what & what::TRANSLATED != 0);
    let (wild, mut cpus) = begin(input, translated);
    let at_once = wild.what & what::AT_ONCE != 0;
    let work = |wild: &mut Wild, cpus: &mut [Box<Cpu>]| {
        let outcome = wild.all(cpus);
        cpus.iter_mut().for_each(|cpu| saves(wild, cpu));
        outcome
    };
    let parts: Vec<_> = if at_once { cpus.chunks_mut(1).collect() } else { vec![&mut cpus[..]] };
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .into_iter()
            .map(|part| {
                let Wild { shared, block, modes, what, seed } = &wild;
                let (modes, what, seed) = (*modes, *what, *seed);
                let mut own = Wild { shared: shared.clone(), block: block.clone(), modes, what, seed };
                let thread = std::thread::Builder::new().stack_size(STACK);
                thread.spawn_scoped(scope, move || work(&mut own, part)).expect("the host has threads")
            })
            .collect();
        let mut outcome = 0;
        for thread in threads {
            match thread.join() {
                Ok(part) => outcome |= part,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        // Threads race: what they come to is no news.
        if at_once { 1 } else { outcome }
    })
}

/// What a restored vCPU finds as its code: a little of everything.
#[rustfmt::skip]
const MIXED: [u8; 64] = [
    0x9c, 0x9d, 0x8e, 0xd8, 0x50, 0x58, 0xd9, 0xe8, 0xdd, 0x1b, 0x0f, 0xa2, 0x0f, 0x31, 0x66, 0x0f,
    0xfe, 0xc1, 0xaa, 0xa4, 0xcd, 0x30, 0x0f, 0xae, 0x03, 0x0f, 0xae, 0x0b, 0xd9, 0x33, 0xdd, 0x23,
    0xf3, 0xab, 0x0f, 0x20, 0xc0, 0x0f, 0x58, 0xc1, 0xe4, 0x60, 0xfb, 0xd9, 0xf7, 0xd9, 0xf6, 0xde,
    0xc1, 0xdf, 0xe0, 0x9b, 0x0f, 0x01, 0xd0, 0x0f, 0xa3, 0x03, 0xcf, 0xeb, 0xc4, 0xf4, 0x90, 0x90,
];

/// A guest that mode `mode` of [`restored`] is of.
fn mixed(mode: u8) -> Result<(Wild, [Box<Cpu>; 1]), Error> {
    let mut wild = Wild::new(&[mode & 15, 0, mode, 1, 2, 3, 5, 7])?;
    let code: Vec<u8> = MIXED.iter().copied().cycle().take(0x1000).collect();
    wild.write(0x1_0000 + CODE, &code);
    let mut cpu = Cpu::new(0, wild.shared.clone());
    cpu.dispatch = Some(Box::new(Anything(wild.next())));
    wild.enter(&mut cpu);
    Ok((wild, [cpu]))
}

/// The saved form of a vCPU in a mode (below 16), after a few instructions.
pub fn saved(mode: u8) -> Vec<u8> {
    let (mut wild, mut cpus) = mixed(mode).expect("the host has 4 MiB");
    wild.all(&mut cpus);
    state::save(&cpus[0], &wild.shared.unit(0)).expect("a vCPU can be saved")
}

/// Loads a saved vCPU that somebody else made: a byte that says which guest it comes into, then its body. It is
/// refused, or runs as any other. Panics if we are at fault.
pub fn restored(input: &[u8]) -> Result<u64, String> {
    let Some((&mode, body)) = input.split_first() else { return Ok(0) };
    let saved = state::parse(body).map_err(|error| error.to_string())?;
    let (mut wild, mut cpus) = mixed(mode).expect("the host has 4 MiB");
    saved.apply_unit(&mut wild.shared.unit(0));
    saved.apply(&mut cpus[0]);
    saves(&wild, &mut cpus[0]);
    let outcome = wild.all(&mut cpus);
    saves(&wild, &mut cpus[0]);
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    /// A stream of random bytes, a kilobyte at most.
    fn stream(seed: u64) -> Vec<u8> {
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x
        };
        let len = 8 + next() % 500;
        (0..len).map(|_| next() as u8).collect()
    }

    #[test]
    fn any_bytes_are_code_that_breaks_only_the_guest() {
        for seed in 0..400 {
            super::run(&stream(seed));
        }
    }

    #[test]
    fn any_bytes_do_the_same_in_both_tiers() {
        let mut outcomes = std::collections::HashSet::new();
        for seed in 200..400 {
            let mut input = stream(seed);
            // Most of it in 64-bit and flat 32-bit code, which is what is translated.
            let both = [input[0] & 0x77, 0x55, 0x33, 0x55, 0x44, 0x55, 0x66][seed as usize % 7];
            input[0] = both | input[0] & 0x88;
            outcomes.insert(super::compare(&input));
        }
        assert!(outcomes.len() > 15, "{} outcomes", outcomes.len());
    }

    /// A record of a saved file that has a few bytes changed.
    #[test]
    fn a_saved_vcpu_that_was_changed_is_refused_or_runs() {
        let (mut refused, mut taken) = (0, 0);
        for mode in 0..16 {
            let body = super::saved(mode);
            for seed in 0..60 {
                let noise = stream(seed << 8 | u64::from(mode));
                let mut input = [&[mode][..], &body].concat();
                // One byte or two.
                for change in noise[..8].chunks(4).take(1 + seed as usize % 2) {
                    let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % body.len();
                    input[1 + at] = change[2];
                }
                match super::restored(&input) {
                    Ok(_) => taken += 1,
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(taken > 100 && refused > 100, "{taken} were taken, {refused} refused");
    }

    #[test]
    #[ignore = "soak: random code for a minute"]
    fn soak_any_bytes_are_code() {
        let begun = std::time::Instant::now();
        let mut seed = 1 << 32;
        while begun.elapsed().as_secs() < 60 {
            super::run(&stream(seed));
            super::compare(&stream(seed));
            seed += 1;
        }
    }
}
