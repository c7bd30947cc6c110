//! The loop that runs blocks.

use std::sync::atomic::Ordering;

use crate::cpu::{Cpu, IP, Why, mode, seg, special};
use crate::flags::bits as fl;
use crate::machine::attention;
use crate::model::Vendor;
use crate::op::Flow;
use crate::system::bits::{cr0, cr4, efer};

/// Why the loop returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    /// Attention bits that are not the loop's own business.
    Attention,
    /// `icount_limit` is reached.
    Count,
    /// Waits for an interrupt.
    Halted,
    /// Third fault.
    Shutdown,
}

/// Instructions after which the loop must not take interrupts.
const SHADOW: u32 = special::STI | special::MOV_SS;
/// What comes before any interrupt: the shadows' instruction, one that runs again alone, and debug traps.
const FIRST: u32 = SHADOW | special::ONCE | special::DEBUG;

/// The mask bits of MXCSR's exceptions.
const MXCSR_MASKS: u32 = 0x1f80;

/// Blocks that follow each other without a return to the loop. Where the compiler makes no jump of a handler's call
/// of the next one (without optimisation), each operation takes stack.
pub(crate) const CHAIN: i32 = if cfg!(debug_assertions) { 32 } else { 4096 };

impl Cpu {
    /// Whether CR0.PE is set.
    #[inline(always)]
    pub fn protected(&self) -> bool {
        self.cr0 & cr0::PE != 0
    }
    /// Whether virtual-8086 mode is on.
    #[inline(always)]
    pub fn v86(&self) -> bool {
        self.flags & fl::VM != 0
    }
    /// Whether long mode is active (64-bit or compatibility).
    #[inline(always)]
    pub fn long_mode(&self) -> bool {
        self.msr.efer & efer::LMA != 0
    }

    /// Works out everything that follows from CS, SS, CR0, CR4, EFER, CPL and EFLAGS. Called after any change.
    pub(crate) fn mode_changed(&mut self) {
        let cs = self.seg[seg::CS];
        let long = self.long_mode() && cs.attr & crate::cpu::attr::L != 0;
        let was = self.code;
        let wide = |s: &crate::cpu::Segment| s.attr & crate::cpu::attr::DB != 0;
        self.code = if long {
            64
        } else if wide(&cs) {
            32
        } else {
            16
        };
        let mut bits = match self.code {
            64 => mode::CODE64 | mode::STACK32,
            32 => mode::CODE32 | self.flat(),
            _ => 0,
        };
        (self.stack_seg, self.sp_mask) = if long {
            (seg::STACK as u8, u64::MAX)
        } else if wide(&self.seg[seg::SS]) {
            bits |= mode::STACK32;
            (seg::SS as u8, 0xffff_ffff)
        } else {
            (seg::SS as u8, 0xffff)
        };
        self.ip_bound = if long { u64::MAX } else { cs.limit as u64 + 1 };
        for (bit, on) in [
            (mode::TS, self.cr0 & cr0::TS != 0),
            (mode::EM, self.cr0 & cr0::EM != 0),
            (mode::MP, self.cr0 & cr0::MP != 0),
            (mode::OSFXSR, self.cr4 & cr4::OSFXSR != 0),
            (mode::SINGLE, self.special != 0),
            (mode::INTEL, self.intel()),
            (mode::UNMASKED, self.mxcsr & MXCSR_MASKS != MXCSR_MASKS),
            (mode::AVX, self.cr4 & cr4::OSXSAVE != 0 && self.xcr0 & crate::fp::YMM_ON == crate::fp::YMM_ON),
        ] {
            if on {
                bits |= bit;
            }
        }
        self.mode = bits;
        if (was == 64) != long {
            self.seg[seg::FS].bounds(long);
            self.seg[seg::GS].bounds(long);
        }
        self.choose_set();
    }

    /// [`mode::FLAT`], if 32-bit code with these segments is.
    fn flat(&self) -> u32 {
        const ALL: u64 = 1 << 32;
        let [cs, ss, ds] = [seg::CS, seg::SS, seg::DS].map(|slot| &self.seg[slot]);
        let code = cs.base == 0 && cs.limit == u32::MAX;
        let data = ss.wbound == ALL && ds.wbound == ALL;
        if code && data && ss.attr & crate::cpu::attr::DB != 0 { mode::FLAT } else { 0 }
    }

    /// After DS may have changed.
    pub(crate) fn data_segment_changed(&mut self) {
        if self.code == 32 {
            self.mode = self.mode & !mode::FLAT | self.flat();
        }
    }

    /// Whether it is one of Intel's processors, where these and AMD's differ.
    pub(crate) fn intel(&self) -> bool {
        self.model.vendor == Vendor::Intel
    }

    /// After EFLAGS.IF, TF, AC or VM may have changed.
    pub(crate) fn flags_changed(&mut self) {
        let mut special = self.special & !special::TF;
        if self.flags & fl::TF != 0 {
            special |= special::TF;
        }
        self.set_special(special);
        if self.irq_waiting && self.flags & fl::IF != 0 {
            self.ask(attention::IRQ);
        }
        self.choose_set();
    }

    /// Sets an attention bit of this vCPU itself.
    pub(crate) fn ask(&mut self, bits: u32) {
        // SAFETY: the word lives in `shared`.
        unsafe { (*self.attention).fetch_or(bits, Ordering::AcqRel) };
    }

    /// Loads MXCSR.
    pub(crate) fn set_mxcsr(&mut self, v: u32) {
        self.mxcsr = v;
        let unmasked = if v & MXCSR_MASKS != MXCSR_MASKS { mode::UNMASKED } else { 0 };
        self.mode = self.mode & !mode::UNMASKED | unmasked;
    }

    pub(crate) fn set_special(&mut self, special: u32) {
        self.special = special;
        let single = if special != 0 { mode::SINGLE } else { 0 };
        self.mode = self.mode & !mode::SINGLE | single;
    }
    pub(crate) fn add_special(&mut self, bits: u32) {
        self.set_special(self.special | bits);
    }

    /// Runs until something outside must be done.
    pub(crate) fn run(&mut self) -> Leave {
        let shared = self.shared.clone();
        let _inside = shared.vcpus[self.id as usize].enter();
        // A halted processor runs nothing before what may end its halt has been looked at. Nobody else may have asked for
        // that look: whoever resumes the machine tells its vCPUs to look when they run already.
        if self.halted {
            self.ask(attention::IRQ);
        }
        self.run_on()
    }

    fn run_on(&mut self) -> Leave {
        loop {
            let busy = self.attention() || self.icount >= self.icount_limit;
            if busy
                && self.special & FIRST == 0
                && let Some(leave) = self.attend()
            {
                return leave;
            }
            if self.special != 0 {
                self.run_special();
                continue;
            }
            let block = match self.find_block() {
                Ok(block) => block,
                Err(_) => {
                    self.icount += 1;
                    self.fault_taken();
                    continue;
                }
            };
            self.run_block(block);
        }
    }

    #[inline(always)]
    fn run_block(&mut self, block: *const crate::block::Block) -> bool {
        self.chain_left = CHAIN;
        let first = self.enter_block(block);
        // SAFETY: the first operation of a block.
        match unsafe { ((*first).run)(self, first) } {
            Flow::Next => true,
            Flow::Fault => {
                // SAFETY: blocks stay until the cache is cleared, which happens between blocks.
                self.block_faulted(unsafe { &*self.block });
                false
            }
        }
    }

    /// Counts a block as run and gives its first operation.
    #[inline(always)]
    fn enter_block(&mut self, block: *const crate::block::Block) -> *const crate::op::Op {
        self.block = block;
        // SAFETY: blocks stay until the cache is cleared, which happens between blocks.
        let block = unsafe { &*block };
        self.block_page = block.page;
        self.icount += block.count as u64;
        if block.warm_up() {
            self.translate_block(block);
        }
        block.first()
    }

    /// The first operation of the block at RIP, for a branch to go on with: none when the loop has something to
    /// look at, or the block is not known.
    #[inline(always)]
    pub(crate) fn next_block(&mut self) -> Option<*const crate::op::Op> {
        self.chain_left -= 1;
        let busy = self.attention() || self.icount >= self.icount_limit;
        if self.chain_left < 0 || busy || self.special != 0 {
            return None;
        }
        let block = self.known_block(self.linear_ip())?;
        Some(self.enter_block(block))
    }

    #[cold]
    fn block_faulted(&mut self, block: &crate::block::Block) {
        let op = self.fault_op;
        // The one that faulted counts, so that time passes in any loop.
        self.icount -= block.left_from(op).saturating_sub(1) as u64;
        // SAFETY: the operation is one of the block's.
        let at = unsafe { (*op).at };
        let ip = self.gpr[IP].wrapping_add(at as u64);
        self.gpr[IP] = if self.code == 64 { ip } else { ip as u32 as u64 };
        self.fault_taken();
    }

    /// RIP is that of the instruction that faulted.
    fn fault_taken(&mut self) {
        match self.fault.why {
            Why::Single => self.add_special(special::ONCE),
            // Whatever comes before it goes on finds RF set, as of an instruction that was begun (APM vol. 2, 3.1.6).
            Why::Again => self.set_flags(fl::RF, fl::RF),
            Why::Exception | Why::Shutdown => {
                self.set_special(self.special & (special::TF | special::IBREAK));
                self.dr6_pending = 0;
                self.exception();
            }
        }
    }

    /// One instruction with everything that single steps, shadows and breakpoints ask for.
    #[cold]
    fn run_special(&mut self) {
        let before = self.special;
        if before & special::DEBUG != 0 {
            // Of the instruction before, which has ended.
            let hits = std::mem::take(&mut self.dr6_pending);
            return self.debug_exception(hits);
        }
        if before & special::IBREAK != 0 && !self.resumes() {
            let hits = self.instruction_breakpoints();
            if hits != 0 {
                // AMD's processors take it behind MOV SS too, where Intel's hold it back; with it comes what MOV SS
                // itself has held back.
                let held = std::mem::take(&mut self.dr6_pending);
                return self.debug_exception(hits | held);
            }
        }
        // These hold for this instruction only; it may set them again.
        self.set_special(before & !(special::ONCE | SHADOW) | special::ONCE);
        self.no_step = false;
        let block = match self.find_block() {
            Ok(block) => block,
            Err(_) => {
                self.icount += 1;
                self.single = false;
                self.fault_taken();
                return;
            }
        };
        self.single = true;
        let done = self.run_block(block);
        self.single = false;
        // Of several loads of SS in a row only the first holds anything back (SDM vol. 2, MOV): a guest of nothing else
        // would never be asked to stop.
        if before & special::MOV_SS != 0 {
            self.set_special(self.special & !special::MOV_SS);
        }
        if !done {
            if self.fault.why == Why::Again {
                // A string instruction between two iterations: traps see it as an instruction that ended.
                self.set_special(self.special & !special::ONCE);
                self.debug_trap(before);
            }
            return;
        }
        self.set_special(self.special & !special::ONCE);
        self.debug_trap(before);
    }

    /// Debug traps after an instruction that began with `before` in `special`.
    fn debug_trap(&mut self, before: u32) {
        let mut hits = std::mem::take(&mut self.dr6_pending);
        if before & special::TF != 0 && !self.no_step && self.fault.why != Why::Shutdown {
            hits |= 1 << 14;
        }
        if hits == 0 {
            return;
        }
        if self.special & special::MOV_SS != 0 {
            // Held back by one instruction; single steps are lost.
            self.dr6_pending = hits & 0xf;
            return;
        }
        self.debug_exception(hits);
    }

    /// #DB with bits of DR6, at RIP.
    fn debug_exception(&mut self, hits: u64) {
        self.db(hits);
        self.set_special(self.special & (special::TF | special::IBREAK));
        self.exception();
        // Time passes even for a handler that is itself a breakpoint.
        self.icount += 1;
    }

    /// SYSCALL and SYSRET single-step by the TF that they load, at once: not, as other instructions, by the old one.
    pub(crate) fn step_by_new_flags(&mut self) {
        self.no_step = true;
        if self.flags & fl::TF != 0 {
            self.dr6_pending |= 1 << 14;
            self.add_special(special::DEBUG);
        }
    }

    /// Attention or the end of the count.
    #[cold]
    fn attend(&mut self) -> Option<Leave> {
        // SAFETY: the word lives in `shared`.
        let word = unsafe { &*self.attention };
        let bits = word.load(Ordering::Acquire);
        if bits & attention::OUTSIDE != 0 {
            return Some(Leave::Attention);
        }
        if bits & attention::MEMORY != 0 {
            self.sync_memory(attention::MEMORY);
        }
        // Who is awake looks at the timers when it halts.
        if bits & attention::TIMERS != 0 {
            word.fetch_and(!attention::TIMERS, Ordering::AcqRel);
        }
        if self.shutdown {
            return Some(Leave::Shutdown);
        }
        if bits & attention::IRQ != 0 {
            word.fetch_and(!attention::IRQ, Ordering::AcqRel);
            self.take_interrupt();
        }
        if self.halted {
            return Some(Leave::Halted);
        }
        (self.icount >= self.icount_limit).then_some(Leave::Count)
    }

    /// Whether a string instruction is to let the loop have its turn between two items. By instruction count only what
    /// comes from the guest itself is a reason: an instruction that is begun again counts twice, and the count must not
    /// tell when somebody pauses the guest, nor whether code is translated.
    #[inline(always)]
    pub(crate) fn interrupted(&self) -> bool {
        self.attention() && self.interrupted_by()
    }

    #[cold]
    fn interrupted_by(&self) -> bool {
        // SAFETY: the word lives in `shared`.
        let bits = unsafe { (*self.attention).load(Ordering::Acquire) };
        self.shared.counter.is_none() || bits & (attention::IRQ | attention::INIT) != 0
    }

    /// Does what these bits of attention ask for.
    fn sync_memory(&mut self, bits: u32) {
        let shared = self.shared.clone();
        shared.vcpus[self.id as usize].sync(bits, |bits| self.resync(bits));
    }

    /// Waits until no other vCPU writes by what it knew before it was told that a page holds code: what it wrote is told
    /// then. Whoever waits does for the others what they wait for.
    pub(crate) fn await_others(&mut self) {
        const SYNCED: u32 = attention::CODE | attention::DIRTY | attention::WRITTEN;
        let shared = self.shared.clone();
        let me = self.id as usize;
        for (_, other) in shared.vcpus.iter().enumerate().filter(|(n, _)| *n != me) {
            while other.lags(attention::CODE) {
                let asked = shared.vcpus[me].attention.load(Ordering::Acquire);
                if asked & attention::OUTSIDE != 0 {
                    return;
                }
                if asked & SYNCED != 0 {
                    self.sync_memory(SYNCED);
                }
                std::thread::yield_now();
            }
        }
    }

    /// What other threads changed about memory.
    fn resync(&mut self, bits: u32) {
        if bits & attention::FLUSH != 0 {
            self.a20 = self.shared.a20_mask();
            self.forget_physical();
            self.flush_tlb(true);
        }
        if let Some(tier2) = &mut self.tier2 {
            match bits & attention::FLUSH {
                0 if bits & attention::WRITTEN != 0 => tier2.code_written(),
                0 => {}
                _ => tier2.distrust(),
            }
        }
        if bits & attention::FLUSH != 0 || bits & (attention::CODE | attention::DIRTY) == 0 {
            return;
        }
        // Pages that became code, or that a dirty log took, while a fast entry was still here: whatever was
        // written through it is told now.
        let physical = &self.shared.physical;
        let all = bits & attention::DIRTY != 0;
        for (at, fast, slow) in self.tlb_sets.each() {
            if fast.write == crate::tlb::no_page(at) {
                continue;
            }
            let info = physical.page(slow.phys & crate::tlb::PAGE_MASK);
            if let Some((track, page)) = info.dirty_track(physical)
                && (all || track.is_code(page))
            {
                fast.write = crate::tlb::no_page(at);
                track.touch(page);
            }
        }
    }

    pub(crate) fn forget_physical(&mut self) {
        self.phys_cache.fill((u64::MAX, crate::physical::PageInfo::MMIO));
    }
}
