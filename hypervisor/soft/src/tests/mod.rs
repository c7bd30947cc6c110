//! A bare machine for tests: one or more vCPUs, 16 MiB of RAM, a device model that records.

mod code;
mod depth;
mod features;
mod litmus;
mod machine;
mod modes;
mod race;
mod segments;
mod speed;
mod system;
mod team;
mod traps;

use std::sync::{Arc, Mutex};

use hypervisor::{Clock, Dispatch, Mapping};
use iced_x86::code_asm::CodeAssembler;
use ioreq::{Dir, Request};
use vm_memory::{Bytes, GuestAddress, GuestMemoryRegion};

use crate::cpu::{Cpu, IP, RSP, Segment, attr, seg};
use crate::exec::Leave;
use crate::machine::{CountClock, Shared};
use crate::system::bits::{cr0, cr4, efer};

/// Bytes of RAM.
pub const RAM: u64 = 16 << 20;
/// Where code of tests is put.
pub const CODE: u64 = 0x1_0000;
/// Top of the stack.
pub const STACK: u64 = 0x8000;

/// What the device model saw.
pub type Log = Arc<Mutex<Vec<Request>>>;

struct Recorder {
    log: Log,
    vector: u8,
}

impl Dispatch for Recorder {
    fn request(&mut self, request: &Request) -> u64 {
        self.log.lock().unwrap().push(*request);
        match request.dir {
            Dir::Read => 0x1122_3344_5566_7788,
            Dir::Write => 0,
        }
    }
    fn acknowledge(&mut self) -> u8 {
        self.vector
    }
    fn end_of_interrupt(&mut self, _: u8) {}
}

/// One vCPU with memory and a recorder.
pub struct Bare {
    pub cpu: Box<Cpu>,
    pub shared: Arc<Shared>,
    pub log: Log,
    _block: hypervisor::RamBlock,
}

impl Bare {
    /// Power-on state, code at the reset vector's place not mapped.
    pub fn new() -> Bare {
        let counter = Arc::new(CountClock::default());
        Bare::on(1, counter.clone(), Some(counter))
    }

    /// The same with memory for `vcpus` vCPUs, and the first of them.
    fn on(vcpus: u32, clock: Arc<dyn Clock>, counter: Option<Arc<CountClock>>) -> Bare {
        let block = hypervisor::memory::new_block(0, RAM).unwrap();
        let ram = hypervisor::memory::ram_of(vec![hypervisor::memory::Region::host(block.clone())]).unwrap();
        let shared = Arc::new(Shared::new(vcpus, ram, clock, counter));
        shared.physical.map(&Mapping::ram(0, block.len(), &block, 0)).unwrap();
        let mut cpu = Cpu::new(0, shared.clone());
        crate::soft::watch(&shared, &block);
        if std::env::var("CPU_TIER").as_deref() == Ok("2") {
            cpu.set_tier2(Some(crate::tier2::Tier2::new(1).unwrap()));
        }
        let log = Log::default();
        cpu.dispatch = Some(Box::new(Recorder { log: log.clone(), vector: 0x40 }));
        Bare { cpu, shared, log, _block: block }
    }

    pub fn write(&self, at: u64, bytes: &[u8]) {
        self.shared.ram.write_slice(bytes, GuestAddress(at)).unwrap();
    }
    pub fn write64(&self, at: u64, v: u64) {
        self.write(at, &v.to_le_bytes());
    }
    pub fn read32(&self, at: u64) -> u32 {
        self.read64(at) as u32
    }
    pub fn read64(&self, at: u64) -> u64 {
        self.shared.ram.read_obj(GuestAddress(at)).unwrap()
    }

    /// Real mode at 1000:0000 (linear [`CODE`]), stack at 0000:8000.
    pub fn real(bits: impl FnOnce(&mut CodeAssembler)) -> Bare {
        let mut bare = Bare::new();
        bare.load(16, 0, bits);
        bare.cpu.set_cs_real((CODE >> 4) as u16);
        bare.cpu.gpr[IP] = 0;
        bare.cpu.gpr[RSP] = STACK;
        bare.cpu.idt.limit = 0x3ff;
        bare
    }

    /// Flat 32-bit protected mode at CPL 0, no paging. GDT at 0x1000: 8 code, 16 data, 24 user code, 32 user data,
    /// 40 a 32-bit task segment at 0x3000; IDT at 0x2000, empty.
    pub fn protected(bits: impl FnOnce(&mut CodeAssembler)) -> Bare {
        let mut bare = Bare::new();
        bare.load(32, CODE, bits);
        bare.tables(0x00cf_9b00_0000_ffff, 0x00cf_fb00_0000_ffff);
        bare.cpu.cr0 |= cr0::PE;
        bare.flat(attr::DB);
        bare
    }

    /// 64-bit mode at CPL 0, the first GiB identity-mapped with 2 MiB pages for all, by tables at 0x10_0000.
    pub fn long(bits: impl FnOnce(&mut CodeAssembler)) -> Bare {
        Bare::new().into_long(bits)
    }

    fn into_long(self, bits: impl FnOnce(&mut CodeAssembler)) -> Bare {
        let mut bare = self;
        bare.load(64, CODE, bits);
        bare.tables(0x00af_9b00_0000_ffff, 0x00af_fb00_0000_ffff);
        bare.write64(0x10_0000, 0x10_1007);
        bare.write64(0x10_1000, 0x10_2007);
        for n in 0..512 {
            bare.write64(0x10_2000 + 8 * n, n << 21 | 0x87);
        }
        let cpu = &mut bare.cpu;
        cpu.cr0 |= cr0::PE | cr0::PG | cr0::WP;
        cpu.cr0 &= !(cr0::CD | cr0::NW);
        cpu.cr3 = 0x10_0000;
        cpu.cr4 |= cr4::PAE | cr4::OSFXSR;
        cpu.msr.efer = efer::LME | efer::LMA | efer::NXE | efer::SCE;
        bare.flat(attr::L);
        bare
    }

    fn tables(&mut self, kernel: u64, user: u64) {
        let gdt = [0, kernel, 0x00cf_9300_0000_ffff, user, 0x00cf_f300_0000_ffff, 0x0000_8b00_3000_0067, 0];
        for (n, d) in gdt.into_iter().enumerate() {
            self.write64(0x1000 + 8 * n as u64, d);
        }
        self.cpu.gdt = crate::cpu::Table { base: 0x1000, limit: 0x7f };
        self.cpu.idt = crate::cpu::Table { base: 0x2000, limit: 0xfff };
        self.cpu.tr = Segment { base: 0x3000, limit: 0x67, selector: 40, attr: 0x8b, ..Segment::default() };
    }

    fn flat(&mut self, size: u16) {
        let common = attr::P | attr::S | attr::RW | attr::ACCESSED | attr::G;
        let data = Segment { limit: u32::MAX, selector: 16, attr: common | attr::DB, ..Segment::default() };
        let code = Segment { selector: 8, attr: common | attr::CODE | size, ..data };
        self.cpu.set_cs(code, 0);
        for slot in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
            self.cpu.set_seg(slot, data);
        }
        self.cpu.flush_tlb(true);
        self.cpu.gpr[IP] = CODE;
        self.cpu.gpr[RSP] = STACK;
    }

    /// A gate of the test IDT: 8 bytes, or 16 in long mode. `kind` is the attribute byte.
    pub fn gate(&self, vector: u64, kind: u64, selector: u64, offset: u64) {
        let low = offset & 0xffff | selector << 16 | kind << 40 | (offset >> 16 & 0xffff) << 48;
        if self.cpu.long_mode() {
            self.write64(0x2000 + 16 * vector, low);
            self.write64(0x2000 + 16 * vector + 8, offset >> 32);
        } else {
            self.write64(0x2000 + 8 * vector, low);
        }
    }

    /// Assembles code for [`CODE`].
    pub fn load(&mut self, bits: u32, ip: u64, build: impl FnOnce(&mut CodeAssembler)) {
        let bytes = assemble(bits, ip, build);
        self.write(CODE, &bytes);
    }

    /// Runs until HLT or `count` instructions.
    pub fn run(&mut self, count: u64) -> Leave {
        self.cpu.icount_limit = self.cpu.icount + count;
        self.cpu.run()
    }
    /// Runs to HLT.
    pub fn halts(&mut self) {
        assert_eq!(
            self.run(1_000_000),
            Leave::Halted,
            "rip {:#x} fault {:?}",
            self.cpu.gpr[IP],
            self.cpu.fault
        );
        self.cpu.halted = false;
    }
}

/// Machine code for an address.
pub fn assemble(bits: u32, ip: u64, build: impl FnOnce(&mut CodeAssembler)) -> Vec<u8> {
    let mut a = CodeAssembler::new(bits).unwrap();
    build(&mut a);
    a.assemble(ip).unwrap()
}
