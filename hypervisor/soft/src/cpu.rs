//! The state of one vCPU.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hypervisor::Dispatch;

use crate::block::Cache;
use crate::machine::Shared;
use crate::model::CpuModel;
use crate::op::Op;
use crate::physical::PageInfo;
use crate::tier2::Tier2;
use crate::tier2::layout::Frame;
use crate::tlb::{Stamps, Tlb};

/// Slots of `gpr`.
pub const RAX: usize = 0;
/// Slot of RCX.
pub const RCX: usize = 1;
/// Slot of RDX.
pub const RDX: usize = 2;
/// Slot of RBX.
pub const RBX: usize = 3;
/// Slot of RSP.
pub const RSP: usize = 4;
/// Slot of RBP.
pub const RBP: usize = 5;
/// Slot of RSI.
pub const RSI: usize = 6;
/// Slot of RDI.
pub const RDI: usize = 7;
/// A slot that is always zero: a missing base or index.
pub const ZERO: usize = 16;
/// RIP of the first instruction of the running block; between blocks simply RIP.
pub const IP: usize = 17;

/// Segment slots.
pub mod seg {
    #![allow(missing_docs)]
    pub const ES: usize = 0;
    pub const CS: usize = 1;
    pub const SS: usize = 2;
    pub const DS: usize = 3;
    pub const FS: usize = 4;
    pub const GS: usize = 5;
    /// Base 0 and no limit: ES, CS and DS of 64-bit code.
    pub const FLAT: usize = 6;
    /// The same for SS of 64-bit code: faults there are stack faults.
    pub const STACK: usize = 7;
}

/// What is true of code besides its address: all that changes what the same bytes decode to, and who runs them.
pub mod mode {
    /// 32-bit code segment.
    pub const CODE32: u32 = 1 << 0;
    /// 64-bit code segment.
    pub const CODE64: u32 = 1 << 1;
    /// 32-bit stack segment.
    pub const STACK32: u32 = 1 << 2;
    /// Blocks of one instruction, whose handlers may do anything.
    pub const SINGLE: u32 = 1 << 3;
    /// CR0.TS.
    pub const TS: u32 = 1 << 4;
    /// CR0.EM.
    pub const EM: u32 = 1 << 5;
    /// CR4.OSFXSR.
    pub const OSFXSR: u32 = 1 << 6;
    /// CR0.MP (WAIT honours TS).
    pub const MP: u32 = 1 << 7;
    /// CPL 3. It decodes nothing differently, but says who may run what a linear address was found to hold.
    pub const USER: u32 = 1 << 8;
    /// Real or virtual-8086 mode.
    pub const REAL: u32 = 1 << 9;
    /// CR4.OSXSAVE, and the registers of AVX in XCR0.
    pub const AVX: u32 = 1 << 10;
    /// Intel's rules of decoding: 66 before a near branch of 64-bit code is ignored, far pointers may have 64 bits.
    pub const INTEL: u32 = 1 << 11;
    /// Some exception of MXCSR is not masked: the host's own arithmetic is not the guest's then.
    pub const UNMASKED: u32 = 1 << 12;
    /// 32-bit code with a 32-bit stack whose CS, SS and DS reach from 0 to 4 GiB: offsets there are linear addresses. It
    /// decodes nothing differently, but is what translations of such code rely on.
    pub const FLAT: u32 = 1 << 13;
}

/// Bits of `Cpu::special`: why the next block is a single instruction and what follows it.
pub mod special {
    /// Run one instruction as a block of its own, because it asked for it.
    pub const ONCE: u32 = 1 << 0;
    /// EFLAGS.TF is set.
    pub const TF: u32 = 1 << 1;
    /// STI: the next instruction takes no external interrupt.
    pub const STI: u32 = 1 << 2;
    /// MOV SS: the next instruction takes no interrupt and no debug trap.
    pub const MOV_SS: u32 = 1 << 3;
    /// A debug trap waits in `dr6_pending`.
    pub const DEBUG: u32 = 1 << 4;
    /// Instruction breakpoints are armed.
    pub const IBREAK: u32 = 1 << 5;
}

/// What handlers return.
pub type Exec = Result<(), Fault>;

/// An instruction did not complete; `Cpu::fault` tells why. Made by the constructors of [`Cpu`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Why an instruction did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Why {
    /// An exception, to be delivered.
    #[default]
    Exception,
    /// It wants to be run again as a block of its own.
    Single,
    /// It wants to be run again after attention was paid.
    Again,
    /// A third fault.
    Shutdown,
}

/// A pending fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultInfo {
    /// Why.
    pub why: Why,
    /// Vector of the exception.
    pub vector: u8,
    /// Its error code.
    pub error: Option<u32>,
    /// New CR2 for a page fault; bits of DR6 for a debug exception.
    pub extra: u64,
}

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Segment {
    /// Linear base.
    pub base: u64,
    /// Reads whose last byte lies below this offset need no further check; 0 where none may.
    pub rbound: u64,
    /// The same for writes.
    pub wbound: u64,
    /// Offset of the last byte, granularity applied.
    pub limit: u32,
    /// Selector.
    pub selector: u16,
    /// Attributes, see [`attr`].
    pub attr: u16,
}

/// Attribute bits: bits 8-15 and 20-23 of a descriptor's second word, pushed together.
pub mod attr {
    /// Type field.
    pub const TYPE: u16 = 0xf;
    /// Accessed.
    pub const ACCESSED: u16 = 1;
    /// Data: writable. Code: readable.
    pub const RW: u16 = 2;
    /// Data: expands down. Code: conforming.
    pub const DC: u16 = 4;
    /// Code.
    pub const CODE: u16 = 8;
    /// Code or data, not a system descriptor.
    pub const S: u16 = 0x10;
    /// Present.
    pub const P: u16 = 0x80;
    /// 64-bit code.
    pub const L: u16 = 0x200;
    /// Default size 32 bits.
    pub const DB: u16 = 0x400;
    /// Limit in pages.
    pub const G: u16 = 0x800;
    /// Shift of the privilege level.
    pub const DPL: u16 = 5;
}

impl Segment {
    /// Privilege level in the attributes.
    pub fn dpl(&self) -> u8 {
        (self.attr >> attr::DPL & 3) as u8
    }
    /// A real-mode segment.
    pub fn real(selector: u16) -> Segment {
        let base = (selector as u64) << 4;
        let mut s = Segment { base, limit: 0xffff, selector, attr: 0x93, ..Segment::default() };
        s.bounds(false);
        s
    }
    /// Works out the fast-path bounds: within them, linear addresses do not wrap at 4 GiB. `unlimited`: FS or GS of 64-bit
    /// code.
    pub fn bounds(&mut self, unlimited: bool) {
        (self.rbound, self.wbound) = if unlimited {
            (u64::MAX, u64::MAX)
        } else {
            let end = (self.limit as u64 + 1).min((1u64 << 32).saturating_sub(self.base));
            let code = self.attr & attr::CODE != 0;
            let present = self.attr & (attr::P | attr::S) == attr::P | attr::S;
            let up = code || self.attr & attr::DC == 0;
            let usable = present && up;
            let readable = usable && (!code || self.attr & attr::RW != 0);
            let writable = usable && !code && self.attr & attr::RW != 0;
            (if readable { end } else { 0 }, if writable { end } else { 0 })
        };
    }
}

/// GDTR and IDTR.
#[derive(Clone, Copy, Debug, Default)]
pub struct Table {
    /// Linear base.
    pub base: u64,
    /// Offset of the last byte.
    pub limit: u16,
}

/// One vCPU.
#[repr(C)]
pub struct Cpu {
    /// General registers, [`ZERO`], [`IP`], and room so that a masked index needs no check.
    pub gpr: [u64; 32],
    /// What translated code keeps; see [`crate::tier2`].
    pub(crate) frame: Frame,
    /// See [`crate::flags`].
    pub lf_res: u64,
    /// See [`crate::flags`].
    pub lf_aux: u64,
    /// All of RFLAGS but the status flags.
    pub flags: u64,
    /// TLB set of the current privilege; points into `tlb_sets`.
    pub(crate) tlb: *mut Tlb,
    /// Segment slots, see [`seg`].
    pub seg: [Segment; 8],
    /// Mask of RSP that the stack uses.
    pub(crate) sp_mask: u64,
    /// Slot of the stack segment: SS, or STACK in 64-bit code.
    pub(crate) stack_seg: u8,
    /// Current privilege level.
    pub cpl: u8,
    /// Code size: 16, 32 or 64.
    pub code: u8,
    /// Which TLB set `tlb` is.
    pub(crate) set: u8,
    /// Bits of [`mode`], which lines of the block cache must match.
    pub(crate) mode: u32,
    /// What those lines must match that were found through the page tables as they are.
    pub(crate) stamps: Stamps,
    /// Bits of [`special`].
    pub(crate) special: u32,
    /// True while a single-instruction block runs.
    pub(crate) single: bool,
    /// The TF that the running instruction began with makes no trap at its end.
    pub(crate) no_step: bool,
    /// `icount` when RFLAGS.RF was set: it is clear again once an instruction was run.
    pub(crate) rf_at: u64,
    /// Instructions run since power-on.
    pub icount: u64,
    /// Offsets of code must stay below this.
    pub(crate) ip_bound: u64,
    /// An interrupt waits for IF.
    pub(crate) irq_waiting: bool,
    /// Where `icount` makes the loop return.
    pub(crate) icount_limit: u64,
    /// The same of its turn, where the loop returns on the way, too.
    pub(crate) turn_end: u64,
    /// The word that other threads set.
    pub(crate) attention: *const AtomicU32,
    /// The operation that faulted.
    pub(crate) fault_op: *const Op,
    /// What happened.
    pub fault: FaultInfo,
    /// The running block's physical page.
    pub(crate) block_page: u64,
    /// The running block.
    pub(crate) block: *const crate::block::Block,
    /// How many blocks may follow each other without a return to the loop.
    pub(crate) chain_left: i32,
    /// XMM registers.
    pub xmm: [u128; 16],
    /// Upper halves of the YMM registers.
    pub ymm: [u128; 16],
    /// MXCSR.
    pub mxcsr: u32,
    /// The x87 unit, whose registers are also those of MMX.
    pub x87: x87::X87,
    /// GDTR.
    pub gdt: Table,
    /// IDTR.
    pub idt: Table,
    /// LDTR.
    pub ldt: Segment,
    /// TR.
    pub tr: Segment,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// XCR0.
    pub xcr0: u64,
    /// PDPTEs of PAE paging, loaded with CR3.
    pub pdpte: [u64; 4],
    /// DR0-3, DR6 at 4, DR7 at 5.
    pub dr: [u64; 6],
    /// Bits for DR6 that wait for the end of the instruction.
    pub(crate) dr6_pending: u64,
    /// Model-specific registers.
    pub msr: crate::system::msr::Msrs,
    /// Non-maskable interrupts wait for IRET.
    pub(crate) nmi_blocked: bool,
    /// Waits for an interrupt.
    pub(crate) halted: bool,
    /// Third fault.
    pub(crate) shutdown: bool,
    /// The third fault was told.
    pub(crate) reported: bool,
    /// An external event is being delivered (EXT of error codes).
    pub(crate) external: bool,
    /// An application processor after INIT.
    pub(crate) wait_startup: bool,
    /// Physical page of the local APIC's registers; all ones for none.
    pub(crate) apic_page: u64,
    /// With instruction counting: guest time minus `icount`.
    pub(crate) time_offset: u64,
    /// Address mask of the A20 pin.
    pub(crate) a20: u64,
    /// Index of this vCPU.
    pub id: u32,
    /// Where RDRAND's numbers come from.
    pub(crate) random: crate::int::random::Source,
    /// What it says it is.
    pub(crate) model: Arc<CpuModel>,
    /// TLB.
    pub(crate) tlb_sets: Box<crate::tlb::Sets>,
    /// Translated blocks, if blocks are translated.
    pub(crate) tier2: Option<Box<Tier2>>,
    /// Decoded blocks.
    pub(crate) blocks: Cache,
    /// Recently used pages of the physical map.
    pub(crate) phys_cache: Box<[(u64, PageInfo)]>,
    /// Who answers requests; absent while the machine is not running.
    pub(crate) dispatch: Option<Box<dyn Dispatch>>,
    /// The machine.
    pub(crate) shared: Arc<Shared>,
}

// SAFETY: the raw pointers point into memory that the Cpu owns (TLB, blocks) or keeps alive by `shared` (attention
// word, guest memory, page tracks).
unsafe impl Send for Cpu {}

impl Cpu {
    /// Address of the next instruction.
    #[inline(always)]
    pub fn next_ip(&self, op: &Op) -> u64 {
        let ip = self.gpr[IP].wrapping_add(op.at as u64 + op.len as u64);
        if self.code == 64 { ip } else { ip as u32 as u64 }
    }
    /// Address of this instruction.
    #[inline(always)]
    pub fn this_ip(&self, op: &Op) -> u64 {
        self.gpr[IP].wrapping_add(op.at as u64)
    }
    /// Goes to `target` if it is canonical or within the code segment's limit.
    #[inline(always)]
    pub fn jump(&mut self, target: u64) -> Exec {
        let bad = if self.code == 64 {
            (target as i64) << 16 >> 16 != target as i64
        } else {
            target > self.seg[seg::CS].limit as u64
        };
        if bad {
            return Err(self.gp(0));
        }
        self.gpr[IP] = target;
        Ok(())
    }
    /// Goes to the next instruction, from a handler made with `Op::jump`.
    #[inline(always)]
    pub fn rip_next(&mut self, op: &Op) {
        self.gpr[IP] = self.next_ip(op);
    }
    /// Sets RIP with no check.
    #[inline(always)]
    pub fn set_rip(&mut self, rip: u64) {
        self.gpr[IP] = rip;
    }
    /// Whether another thread wants something of this vCPU.
    #[inline(always)]
    pub fn attention(&self) -> bool {
        // SAFETY: the word lives in `shared`.
        unsafe { (*self.attention).load(Ordering::Relaxed) != 0 }
    }

    /// An exception.
    #[cold]
    pub fn raise(&mut self, vector: u8, error: Option<u32>) -> Fault {
        self.fault = FaultInfo { why: Why::Exception, vector, error, extra: 0 };
        Fault
    }
    /// Page fault at a linear address.
    #[cold]
    pub fn page_fault_at(&mut self, lin: u64, error: u32) -> Fault {
        self.fault = FaultInfo { why: Why::Exception, vector: 14, error: Some(error), extra: lin };
        Fault
    }
    /// Debug exception with bits for DR6.
    #[cold]
    pub fn db(&mut self, dr6: u64) -> Fault {
        self.fault = FaultInfo { why: Why::Exception, vector: 1, error: None, extra: dr6 };
        Fault
    }
    /// Divide error.
    pub fn de(&mut self) -> Fault {
        self.raise(0, None)
    }
    /// Invalid opcode.
    pub fn ud(&mut self) -> Fault {
        self.raise(6, None)
    }
    /// Device not available.
    pub fn nm(&mut self) -> Fault {
        self.raise(7, None)
    }
    /// Invalid TSS.
    pub fn ts(&mut self, error: u32) -> Fault {
        self.raise(10, Some(error))
    }
    /// Segment not present.
    pub fn np(&mut self, error: u32) -> Fault {
        self.raise(11, Some(error))
    }
    /// Stack fault.
    pub fn ss(&mut self, error: u32) -> Fault {
        self.raise(12, Some(error))
    }
    /// General protection.
    pub fn gp(&mut self, error: u32) -> Fault {
        self.raise(13, Some(error))
    }
    /// x87 error.
    pub fn mf(&mut self) -> Fault {
        self.raise(16, None)
    }
    /// Alignment check.
    pub fn ac(&mut self) -> Fault {
        self.raise(17, Some(0))
    }
    /// SIMD error.
    pub fn xm(&mut self) -> Fault {
        self.raise(19, None)
    }
    /// Runs the instruction again after attention was paid to other threads.
    #[cold]
    pub fn again(&mut self) -> Fault {
        self.fault = FaultInfo { why: Why::Again, ..FaultInfo::default() };
        Fault
    }
    /// Runs the instruction again as a block of its own: for accesses after which the block may not go on.
    #[cold]
    pub(crate) fn alone(&mut self) -> Fault {
        self.fault = FaultInfo { why: Why::Single, ..FaultInfo::default() };
        Fault
    }
}
