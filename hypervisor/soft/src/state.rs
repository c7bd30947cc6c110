//! Power-on and INIT states, and the saved state of a vCPU.

use std::sync::Arc;

use hypervisor::Error;
use serde::{Deserialize, Serialize};

use crate::apic;
use crate::apic::wire::Unit;
use crate::block::Cache;
use crate::cpu::{Cpu, FaultInfo, IP, RDX, Segment, Table, seg, special};
use crate::int::random::Source;
use crate::machine::{Shared, attention};
use crate::model::CpuModel;
use crate::physical::PageInfo;
use crate::system::bits::cr0;
use crate::system::msr::Msrs;
use crate::tlb::Sets;

/// Names of the general registers, in slot order.
pub const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// Pages of the physical map that a vCPU remembers.
const PHYS_CACHE: usize = 4096;

impl Cpu {
    /// A vCPU at power-on.
    pub(crate) fn new(id: u32, shared: Arc<Shared>) -> Box<Cpu> {
        let attention = &raw const shared.vcpus[id as usize].attention;
        let mut cpu = Box::new(Cpu {
            gpr: [0; 32],
            frame: Default::default(),
            lf_res: 1,
            lf_aux: 0,
            flags: 0,
            tlb: std::ptr::null_mut(),
            seg: [Segment::default(); 8],
            sp_mask: 0xffff,
            stack_seg: seg::SS as u8,
            cpl: 0,
            code: 16,
            set: 0,
            mode: 0,
            stamps: Default::default(),
            special: 0,
            single: false,
            no_step: false,
            rf_at: 0,
            icount: 0,
            ip_bound: 0,
            irq_waiting: false,
            icount_limit: u64::MAX,
            turn_end: u64::MAX,
            attention,
            fault_op: std::ptr::null(),
            fault: FaultInfo::default(),
            block_page: u64::MAX,
            block: std::ptr::null(),
            chain_left: 0,
            xmm: [0; 16],
            ymm: [0; 16],
            mxcsr: 0x1f80,
            x87: x87::X87::default(),
            gdt: Table::default(),
            idt: Table::default(),
            ldt: Segment::default(),
            tr: Segment::default(),
            cr0: 0,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            xcr0: 1,
            pdpte: [0; 4],
            dr: [0; 6],
            dr6_pending: 0,
            msr: Msrs::default(),
            nmi_blocked: false,
            halted: false,
            shutdown: false,
            reported: false,
            external: false,
            wait_startup: false,
            apic_page: u64::MAX,
            time_offset: 0,
            a20: u64::MAX,
            id,
            random: Default::default(),
            model: Arc::new(CpuModel::default()),
            tlb_sets: Sets::new(),
            tier2: None,
            blocks: Cache::new(),
            phys_cache: vec![(u64::MAX, PageInfo::MMIO); PHYS_CACHE].into(),
            dispatch: None,
            shared,
        });
        cpu.power_on();
        cpu
    }

    /// Becomes another processor, before it has run or while its state is being put in place.
    pub(crate) fn set_model(&mut self, model: Arc<CpuModel>) {
        self.model = model;
        self.drop_blocks();
        self.mode_changed();
    }

    /// Power-on and hardware reset.
    pub(crate) fn power_on(&mut self) {
        self.msr = Msrs::default();
        self.msr.tsc_offset = 0u64.wrapping_sub(self.now());
        (self.xmm, self.ymm) = ([0; 16], [0; 16]);
        self.mxcsr = 0x1f80;
        self.x87 = x87::X87::default();
        self.xcr0 = 1;
        self.cr0 = cr0::CD | cr0::NW | cr0::ET;
        self.init();
        self.refresh();
    }

    /// What INIT does; an application processor then waits for a start-up message.
    pub(crate) fn init(&mut self) {
        self.gpr = [0; 32];
        self.gpr[RDX] = self.cpuid_leaf(1, 0)[0] as u64;
        self.gpr[IP] = 0xfff0;
        self.set_status(0);
        self.flags = 0;
        for slot in 0..6 {
            self.seg[slot] = Segment::real(0);
        }
        for slot in [seg::FLAT, seg::STACK] {
            self.seg[slot] = Segment { limit: u32::MAX, attr: 0xc93, ..Segment::default() };
            self.seg[slot].bounds(true);
        }
        self.seg[seg::CS] = Segment { base: 0xffff_0000, attr: 0x9b, ..Segment::real(0xf000) };
        self.seg[seg::CS].bounds(false);
        (self.gdt, self.idt) = (Table { base: 0, limit: 0xffff }, Table { base: 0, limit: 0xffff });
        self.ldt = Segment { attr: 0x82, limit: 0xffff, ..Segment::default() };
        self.tr = Segment { attr: 0x8b, limit: 0xffff, ..Segment::default() };
        self.cr0 = self.cr0 & (cr0::CD | cr0::NW) | cr0::ET;
        (self.cr2, self.cr3, self.cr4) = (0, 0, 0);
        self.msr.efer = 0;
        self.pdpte = [0; 4];
        self.dr = [0, 0, 0, 0, 0xffff_0ff0, 0x400];
        self.dr6_pending = 0;
        self.cpl = 0;
        (self.nmi_blocked, self.halted, self.shutdown, self.reported) = (false, false, false, false);
        self.irq_waiting = false;
        self.wait_startup = !self.is_bootstrap();
        self.code = 16;
        self.set_special(0);
        self.mode_changed();
        self.refresh();
    }

    /// Start-up message: an application processor begins at page `vector`.
    pub(crate) fn start_at(&mut self, vector: u8) {
        self.wait_startup = false;
        self.seg[seg::CS] = Segment { attr: 0x9b, ..Segment::real((vector as u16) << 8) };
        self.seg[seg::CS].bounds(false);
        self.gpr[IP] = 0;
        self.mode_changed();
    }

    /// Takes note of what other threads say while this vCPU does not run at all.
    pub(crate) fn asleep(&mut self) {
        // SAFETY: the word lives in `shared`.
        let word = unsafe { &*self.attention };
        let mine = attention::IRQ | attention::CODE | attention::DIRTY | attention::FLUSH;
        if word.fetch_and(!mine, std::sync::atomic::Ordering::AcqRel) & attention::FLUSH != 0 {
            self.a20 = self.shared.a20_mask();
            self.forget_physical();
            self.flush_tlb(true);
        }
    }

    /// Forgets everything that can be worked out again.
    pub(crate) fn refresh(&mut self) {
        self.a20 = self.shared.a20_mask();
        self.forget_physical();
        self.apic_moved();
        self.flush_tlb(true);
        self.mode_changed();
        self.ask(attention::IRQ);
    }
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct SavedSegment {
    base: u64,
    limit: u32,
    selector: u16,
    attr: u16,
}

impl From<Segment> for SavedSegment {
    fn from(s: Segment) -> SavedSegment {
        let Segment { base, limit, selector, attr, rbound: _, wbound: _ } = s;
        SavedSegment { base, limit, selector, attr }
    }
}

impl From<SavedSegment> for Segment {
    fn from(s: SavedSegment) -> Segment {
        let SavedSegment { base, limit, selector, attr } = s;
        Segment { base, limit, selector, attr, rbound: 0, wbound: 0 }
    }
}

/// A vCPU with its local APIC.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedCpu {
    gpr: [u64; 16],
    rip: u64,
    rflags: u64,
    segs: [SavedSegment; 6],
    ldt: SavedSegment,
    tr: SavedSegment,
    gdt: (u64, u16),
    idt: (u64, u16),
    cr: [u64; 4],
    xcr0: u64,
    pdpte: [u64; 4],
    dr: [u64; 6],
    dr6_pending: u64,
    xmm: [[u64; 2]; 16],
    mxcsr: u32,
    x87: x87::X87,
    msr: Msrs,
    cpl: u8,
    shadow: u32,
    nmi_blocked: bool,
    halted: bool,
    shutdown: bool,
    wait_startup: bool,
    icount: u64,
    time_offset: u64,
    apic: apic::State,
    nmi: bool,
    extint: bool,
    init: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    startup: Option<u8>,
}

fn halves(x: u128) -> [u64; 2] {
    [x as u64, (x >> 64) as u64]
}

fn joined([low, high]: [u64; 2]) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

/// What a vCPU has beyond the first processor's state, saved beside it for models that may have such.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedMore {
    random_key: [u64; 2],
    random_taken: u64,
    /// Upper halves of the YMM registers, which guests saved before there was AVX do not have.
    #[serde(default)]
    ymm: [[u64; 2]; 16],
}

impl SavedMore {
    /// Takes it from a vCPU.
    pub(crate) fn of(cpu: &Cpu) -> SavedMore {
        let Source { key, taken } = cpu.random;
        let ymm = cpu.ymm.map(halves);
        SavedMore { random_key: halves(key), random_taken: taken, ymm }
    }

    /// Puts it in place.
    pub(crate) fn apply(self, cpu: &mut Cpu) {
        let SavedMore { random_key, random_taken, ymm } = self;
        cpu.random = Source { key: joined(random_key), taken: random_taken };
        cpu.ymm = ymm.map(joined);
    }
}

/// Bits of `special` that are state and not a consequence of other registers.
const SHADOW: u32 = special::STI | special::MOV_SS | special::DEBUG;

/// The saved form of a vCPU.
pub(crate) fn save(cpu: &Cpu, unit: &Unit) -> Result<Vec<u8>, Error> {
    let mut gpr = [0; 16];
    gpr.copy_from_slice(&cpu.gpr[..16]);
    let mut segs = [SavedSegment::default(); 6];
    for (to, from) in segs.iter_mut().zip(cpu.seg) {
        *to = from.into();
    }
    let saved = SavedCpu {
        gpr,
        rip: cpu.gpr[IP],
        rflags: cpu.eflags(),
        segs,
        ldt: cpu.ldt.into(),
        tr: cpu.tr.into(),
        gdt: (cpu.gdt.base, cpu.gdt.limit),
        idt: (cpu.idt.base, cpu.idt.limit),
        cr: [cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4],
        xcr0: cpu.xcr0,
        pdpte: cpu.pdpte,
        dr: cpu.dr,
        dr6_pending: cpu.dr6_pending,
        xmm: cpu.xmm.map(halves),
        mxcsr: cpu.mxcsr,
        x87: cpu.x87.clone(),
        msr: cpu.msr.clone(),
        cpl: cpu.cpl,
        shadow: cpu.special & SHADOW,
        nmi_blocked: cpu.nmi_blocked,
        halted: cpu.halted,
        shutdown: cpu.shutdown,
        wait_startup: cpu.wait_startup,
        icount: cpu.icount,
        time_offset: cpu.time_offset,
        apic: unit.apic.clone().into(),
        nmi: unit.nmi,
        extint: unit.extint,
        init: unit.init,
        startup: unit.startup,
    };
    rmp_serde::to_vec_named(&saved).map_err(|e| Error::State(e.to_string()))
}

/// Most instructions that a vCPU can have run: more than it does in a century. Beyond, the count would overflow, or be
/// over every limit at once.
const INSTRUCTIONS_MOST: u64 = 1 << 62;

/// Reads a saved vCPU; nothing is changed yet.
pub(crate) fn parse(body: &[u8]) -> Result<SavedCpu, Error> {
    let saved: SavedCpu = rmp_serde::from_slice(body).map_err(|e| Error::State(e.to_string()))?;
    if saved.icount > INSTRUCTIONS_MOST {
        return Err(Error::State(format!("{} instructions are more than there can have been", saved.icount)));
    }
    Ok(saved)
}

impl SavedCpu {
    /// Puts the APIC and what was left for the vCPU in place.
    pub(crate) fn apply_unit(&self, unit: &mut Unit) {
        unit.apic = self.apic.clone().into();
        (unit.nmi, unit.extint, unit.init, unit.startup) = (self.nmi, self.extint, self.init, self.startup);
        unit.arm();
    }

    /// Puts the registers in place.
    pub(crate) fn apply(self, cpu: &mut Cpu) {
        #[rustfmt::skip]
        let SavedCpu {
            gpr, rip, rflags, segs, ldt, tr, gdt, idt, cr, xcr0, pdpte, dr, dr6_pending, xmm, mxcsr, x87, msr, cpl, shadow,
            nmi_blocked, halted, shutdown, wait_startup, icount, time_offset, apic: _, nmi: _, extint: _, init,
            startup,
        } = self;
        cpu.gpr = [0; 32];
        cpu.gpr[..16].copy_from_slice(&gpr);
        cpu.gpr[IP] = rip;
        cpu.flags = 0;
        cpu.set_flags(crate::flags::bits::ALL, rflags);
        [cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4] = cr;
        cpu.msr = msr;
        cpu.cpl = cpl & 3;
        for (to, from) in cpu.seg.iter_mut().zip(segs) {
            *to = from.into();
            to.bounds(false);
        }
        (cpu.ldt, cpu.tr) = (ldt.into(), tr.into());
        cpu.gdt = Table { base: gdt.0, limit: gdt.1 };
        cpu.idt = Table { base: idt.0, limit: idt.1 };
        (cpu.xcr0, cpu.pdpte, cpu.dr, cpu.dr6_pending) = (xcr0, pdpte, dr, dr6_pending);
        // Models that may use the upper halves have them beside.
        (cpu.xmm, cpu.ymm) = (xmm.map(joined), [0; 16]);
        cpu.mxcsr = mxcsr;
        cpu.x87 = x87;
        (cpu.nmi_blocked, cpu.halted, cpu.shutdown) = (nmi_blocked, halted, shutdown);
        (cpu.reported, cpu.wait_startup) = (shutdown, wait_startup);
        (cpu.icount, cpu.time_offset) = (icount, time_offset);
        cpu.rf_at = icount;
        cpu.irq_waiting = true;
        // The size of the code before decides which bounds change.
        cpu.code = 16;
        cpu.set_special(shadow & SHADOW);
        cpu.mode_changed();
        cpu.debug_changed();
        cpu.refresh();
        if init || startup.is_some() {
            cpu.ask(attention::INIT);
        }
    }
}
