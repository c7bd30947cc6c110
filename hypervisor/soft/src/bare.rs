//! One vCPU in user mode over a few pages of memory, with no machine around it.
//!
//! For tests that hold the processor against the host's, and for measurements: the pages lie at the same virtual
//! and physical address, everything else faults, and no handler answers an exception, so that any exception ends
//! the run with the registers as they were. [`Bare::supervisor`] is for programs that bring their own handlers.

use std::sync::Arc;

use hypervisor::{Error, HostClock, Mapping, RamBlock, memory};
use vm_memory::{Bytes, GuestAddress, GuestMemoryRegion, MemoryRegionAddress};

use crate::cpu::{Cpu, IP, Segment, Table, attr, seg};
use crate::exec::Leave;
use crate::flags::bits;
use crate::machine::Shared;
use crate::model::{CpuModel, Feature};
use crate::system::bits::{cr0, cr4, efer};

/// Registers of a [`Bare`] vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regs {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// RFLAGS; of these only the status flags, DF and AC are taken.
    pub flags: u64,
    /// RIP.
    pub rip: u64,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The instructions asked for were run.
    Count,
    /// An exception, with the registers of before the instruction.
    Fault,
}

/// The vCPU and its memory.
pub struct Bare {
    cpu: Box<Cpu>,
    shared: Arc<Shared>,
    blocks: Vec<(u64, RamBlock)>,
}

const PAGE: u64 = memory::PAGE;
/// Page tables: bytes from 0 on.
const TABLES: u64 = 0x10_0000;
/// Present, writable, user.
const ENTRY: u64 = 7;
/// Flags that the caller chooses.
const FREE: u64 = bits::STATUS | bits::DF | bits::AC;

impl Bare {
    /// A vCPU running `code` bits (64 or 32), with a block of memory for each (address, length) of `areas`. Addresses
    /// lie above 1 MiB and, with the lengths, are whole pages.
    pub fn new(code: u8, areas: &[(u64, u64)]) -> Result<Bare, Error> {
        let ram = memory::new_ram(TABLES, 0)?;
        let shared = Arc::new(Shared::new(1, ram, Arc::new(HostClock::new()), None));
        let mut blocks = Vec::new();
        for &(start, len) in [(0, TABLES)].iter().chain(areas) {
            let block = memory::new_block(start, len)?;
            shared.physical.map(&Mapping::ram(start, len, &block, 0))?;
            crate::soft::watch(&shared, &block);
            blocks.push((start, block));
        }
        let mut bare = Bare { cpu: Cpu::new(0, shared.clone()), shared, blocks };
        bare.map_pages(areas)?;
        bare.enter(code);
        Ok(bare)
    }

    /// Translates blocks at their `runs`th run.
    pub fn translate(&mut self, runs: u32) -> Result<(), Error> {
        let tier2 = crate::tier2::Tier2::new(runs).map_err(|error| Error::Unsupported(error.to_string()))?;
        self.cpu.set_tier2(Some(tier2));
        Ok(())
    }

    /// What the second tier did, if there is one.
    pub fn translated(&self) -> Option<crate::tier2::Counters> {
        self.cpu.tier2.as_ref().map(|tier2| tier2.counters())
    }

    /// Four-level page tables in the first megabyte.
    fn map_pages(&mut self, areas: &[(u64, u64)]) -> Result<(), Error> {
        let mut free = 2 * PAGE;
        for &(start, len) in areas {
            for page in (start..start + len).step_by(PAGE as usize) {
                let mut table = PAGE;
                for shift in [39, 30, 21] {
                    let at = table + (page >> shift & 511) * 8;
                    let mut entry = [0; 8];
                    self.read(at, &mut entry);
                    let mut entry = u64::from_le_bytes(entry);
                    if entry == 0 {
                        entry = free | ENTRY;
                        free += PAGE;
                        if free > TABLES {
                            return Err(Error::Unsupported("more pages than there are tables for".into()));
                        }
                        self.write(at, &entry.to_le_bytes());
                    }
                    table = entry & !(PAGE - 1);
                }
                self.write(table + (page >> 12 & 511) * 8, &(page | ENTRY).to_le_bytes());
            }
        }
        Ok(())
    }

    /// Long mode, privilege level 3, flat segments.
    fn enter(&mut self, code: u8) {
        let cpu = &mut self.cpu;
        let user = attr::P | attr::S | 3 << attr::DPL | attr::RW | attr::ACCESSED | attr::G;
        let size = if code == 64 { attr::L } else { attr::DB };
        let flat = Segment { limit: u32::MAX, selector: 0x2b, attr: user | attr::DB, ..Segment::default() };
        for s in &mut cpu.seg[..6] {
            *s = flat;
            s.bounds(false);
        }
        cpu.seg[seg::CS] = Segment { selector: 0x23, attr: user | attr::CODE | size, ..flat };
        cpu.seg[seg::CS].bounds(false);
        cpu.cr0 = cr0::PE | cr0::PG | cr0::WP | cr0::NE | cr0::ET | cr0::MP;
        cpu.cr4 = cr4::PAE | cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::OSXSAVE;
        cpu.xcr0 = 3;
        cpu.cr3 = PAGE;
        cpu.msr.efer = efer::LME | efer::LMA | efer::NXE;
        cpu.cpl = 3;
        cpu.idt = Table::default();
        cpu.gdt = Table::default();
        cpu.mode_changed();
        cpu.refresh();
    }

    /// Becomes another processor. What CR4 switches on for user mode is on.
    pub fn set_cpu(&mut self, model: CpuModel) {
        let cpu = &mut self.cpu;
        if model.features.has(Feature::FSGSBASE) {
            cpu.cr4 |= cr4::FSGSBASE;
        }
        cpu.xcr0 |= if model.features.has(Feature::AVX) { 7 } else { 3 };
        cpu.set_model(Arc::new(model));
        cpu.mode_changed();
        cpu.refresh();
    }

    /// Goes on in 64-bit mode at privilege level 0, with CS 0x08 and SS 0x10 (both flat), a GDT and an IDT: each is
    /// (address, limit). An exception is taken through the IDT then; only one that cannot be ends the run.
    pub fn supervisor(&mut self, gdt: (u64, u16), idt: (u64, u16)) {
        let cpu = &mut self.cpu;
        let table = |(base, limit)| Table { base, limit };
        (cpu.gdt, cpu.idt) = (table(gdt), table(idt));
        for (s, selector) in [(seg::CS, 0x08), (seg::SS, 0x10)] {
            cpu.seg[s].selector = selector;
            cpu.seg[s].attr &= !(3 << attr::DPL);
            cpu.seg[s].bounds(false);
        }
        cpu.seg[seg::CS].attr = cpu.seg[seg::CS].attr & !attr::DB | attr::L;
        cpu.cpl = 0;
        cpu.mode_changed();
        cpu.refresh();
    }

    /// Copies `bytes` to physical address `at`, as a device would. Addresses outside the areas are ignored.
    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        if let Some((block, offset)) = self.block(at) {
            let _ = block.write_slice(bytes, offset);
        }
    }

    /// Copies from physical address `at` to `bytes`.
    pub fn read(&self, at: u64, bytes: &mut [u8]) {
        if let Some((block, offset)) = self.block(at) {
            let _ = block.read_slice(bytes, offset);
        }
    }

    fn block(&self, at: u64) -> Option<(&RamBlock, MemoryRegionAddress)> {
        let inside = |start: u64, block: &RamBlock| (start..start + block.len()).contains(&at);
        let (_, block) = self.blocks.iter().find(|(start, block)| inside(*start, block))?;
        Some((block, block.to_region_addr(GuestAddress(at))?))
    }

    /// The registers.
    pub fn regs(&self) -> Regs {
        let mut gpr = [0; 16];
        gpr.copy_from_slice(&self.cpu.gpr[..16]);
        Regs { gpr, flags: self.cpu.eflags(), rip: self.cpu.gpr[IP] }
    }

    /// The XMM registers, the upper halves of the YMM registers, and MXCSR.
    pub fn vectors(&self) -> ([u128; 16], [u128; 16], u32) {
        (self.cpu.xmm, self.cpu.ymm, self.cpu.mxcsr)
    }

    /// Sets the XMM registers, the upper halves of the YMM registers, and MXCSR, of which the bits that are reserved are
    /// not taken.
    pub fn set_vectors(&mut self, xmm: &[u128; 16], ymm: &[u128; 16], mxcsr: u32) {
        (self.cpu.xmm, self.cpu.ymm) = (*xmm, *ymm);
        self.cpu.set_mxcsr(mxcsr & crate::sse::MXCSR_MASK);
    }

    /// Sets the registers.
    pub fn set_regs(&mut self, regs: &Regs) {
        self.cpu.gpr[..16].copy_from_slice(&regs.gpr);
        self.cpu.gpr[IP] = regs.rip;
        self.cpu.set_flags(FREE, regs.flags);
        self.cpu.flags_changed();
    }

    /// Gives ES, CS, SS, DS, FS or GS (0 to 5) another base and limit, in bytes, and type of 4 bits as in descriptors.
    pub fn set_segment(&mut self, slot: usize, base: u32, limit: u32, kind: u8) {
        let old = self.cpu.seg[slot];
        let attr = old.attr & !attr::TYPE | u16::from(kind) & attr::TYPE;
        self.cpu.set_seg(slot, Segment { base: base.into(), limit, attr, ..old });
        self.cpu.mode_changed();
    }

    /// Runs `count` instructions, and on to the end of a block.
    pub fn run(&mut self, count: u64) -> End {
        self.cpu.shutdown = false;
        self.cpu.icount_limit = self.cpu.icount.wrapping_add(count);
        loop {
            match self.cpu.run() {
                Leave::Count => return End::Count,
                Leave::Shutdown => {
                    self.cpu.shutdown = false;
                    return End::Fault;
                }
                Leave::Attention | Leave::Halted => {}
            }
        }
    }

    /// Instructions run since the beginning.
    pub fn instructions(&self) -> u64 {
        self.cpu.icount
    }

    /// Does between two runs what another processor's request would: forget all translations and code.
    pub fn flush(&mut self) {
        self.shared.tell(0, crate::machine::attention::FLUSH);
    }
}
