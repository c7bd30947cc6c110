//! A look at the vCPUs at chosen instants of a run by instruction count, for holding two runs against each other.
//!
//! Looking changes nothing: a stop lies between two blocks, where the run would have gone on without it, and ends neither
//! the vCPU's turn nor anything else that the guest could tell.

use hypervisor::Error;
use hypervisor::debug::Registers;

use crate::block::MAX_OPS;
use crate::cpu::Cpu;
use crate::exec::Leave;
use crate::soft::Soft;
use crate::state;

/// Who looks.
pub trait Observer: Send {
    /// The first instant, in guest time, that is to be looked at.
    fn first(&self) -> u64;
    /// A vCPU stands between two blocks, at that instant or behind it; gives the next one, for all vCPUs.
    fn stopped(&mut self, stop: &mut Stop<'_>) -> u64;
}

/// The observer of a machine, and the next instant of each vCPU.
pub(crate) struct Observed {
    observer: Box<dyn Observer>,
    next: Vec<u64>,
}

/// A vCPU that stands still.
pub struct Stop<'a> {
    soft: &'a Soft,
    cpu: &'a mut Cpu,
}

impl Stop<'_> {
    /// Which one.
    pub fn vcpu(&self) -> u32 {
        self.cpu.id
    }
    /// Guest time.
    pub fn time(&self) -> u64 {
        self.cpu.now()
    }
    /// Instructions that it has run.
    pub fn instructions(&self) -> u64 {
        self.cpu.icount
    }
    /// It and its local APIC as they are saved.
    pub fn state(&self) -> Result<Vec<u8>, Error> {
        state::save(self.cpu, &self.soft.shared.unit(self.cpu.id))
    }
    /// Its registers.
    pub fn registers(&self) -> Registers {
        self.cpu.registers()
    }
    /// The bytes from RIP on to the end of the page, as many as a block may have.
    pub fn code(&self) -> Vec<u8> {
        self.cpu.code_ahead()
    }
    /// Plants a fault: another value of one bit of a general register.
    pub fn flip(&mut self, register: usize, bit: u8) {
        self.cpu.gpr[register % 16] ^= 1 << (bit % 64);
    }
    /// From here on this vCPU's blocks have at most so many instructions.
    pub fn cut_blocks(&mut self, most: usize) {
        self.cpu.drop_blocks();
        self.cpu.blocks.most = most.clamp(1, MAX_OPS);
    }
}

impl Soft {
    /// Lets somebody look at the vCPUs from now on. Only with a clock that counts instructions, and before the first
    /// [`resume`](hypervisor::Hypervisor::resume).
    pub fn observe(&self, observer: Box<dyn Observer>) {
        let next = vec![observer.first(); self.cpus.len()];
        *self.observed.lock().unwrap_or_else(|p| p.into_inner()) = Some(Observed { observer, next });
    }

    /// Runs a vCPU to the end of its turn, with the stops on the way.
    pub(crate) fn run_turn(&self, cpu: &mut Cpu, end: u64) -> Leave {
        cpu.turn_end = end;
        let mut observed = self.observed.lock().unwrap_or_else(|p| p.into_inner());
        let Some(Observed { observer, next }) = &mut *observed else {
            cpu.icount_limit = end;
            return cpu.run();
        };
        let next = &mut next[cpu.id as usize];
        loop {
            let stop = cpu.icount.saturating_add(next.saturating_sub(cpu.now()));
            cpu.icount_limit = cpu.turn_end.min(stop);
            let leave = cpu.run();
            let stopped = cpu.now() >= *next;
            if stopped {
                *next = observer.stopped(&mut Stop { soft: self, cpu }).max(cpu.now() + 1);
            }
            if leave != Leave::Count || cpu.icount >= cpu.turn_end {
                return leave;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use hypervisor::{Dispatch, Hypervisor};
    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::cpu::{IP, RBX};
    use crate::model::CpuModel;
    use crate::soft::{ClockKind, SoftConfig, Tier};

    struct Nothing;

    impl Dispatch for Nothing {
        fn request(&mut self, _: &ioreq::Request) -> u64 {
            u64::MAX
        }
        fn acknowledge(&mut self) -> u8 {
            0
        }
        fn end_of_interrupt(&mut self, _: u8) {}
    }

    /// Sends what it sees at each of so many stops, `every` instructions apart.
    struct Looks {
        every: u64,
        left: u32,
        /// A stop at which a bit of RBX changes, and one from which on blocks are cut.
        flip: u32,
        cut: u32,
        seen: Sender<(u64, u64, Vec<u8>)>,
    }

    impl Observer for Looks {
        fn first(&self) -> u64 {
            self.every
        }
        fn stopped(&mut self, stop: &mut Stop<'_>) -> u64 {
            if self.left == self.flip {
                stop.flip(RBX, 20);
            }
            if self.left == self.cut {
                stop.cut_blocks(1);
            }
            if self.left > 0 {
                let rbx = stop.registers().general[RBX];
                self.seen.send((stop.instructions(), rbx, stop.state().unwrap())).unwrap();
                self.left -= 1;
            }
            if self.left == 0 { u64::MAX } else { stop.time() + self.every }
        }
    }

    fn run(tier: Tier, every: u64, flip: u32, cut: u32) -> Vec<(u64, u64, Vec<u8>)> {
        let clock = ClockKind::Icount;
        let cpu = CpuModel::default();
        let config = SoftConfig { vcpus: 1, ram_below: 1 << 20, ram_above: 0, clock, tier, cpu };
        let soft = Soft::new(config).unwrap();
        // Add EBX, 3; INC EAX; IMUL EDX, EAX; and again.
        let code = [0x66, 0x83, 0xc3, 0x03, 0x66, 0x40, 0x66, 0x0f, 0xaf, 0xd0, 0xeb, 0xf4];
        soft.memory().write_slice(&code, GuestAddress(0x1000)).unwrap();
        {
            let mut cpu = soft.cpu(0);
            cpu.set_cs_real(0);
            cpu.gpr[IP] = 0x1000;
        }
        let (seen, looks) = channel();
        soft.observe(Box::new(Looks { every, left: 20, flip, cut, seen }));
        soft.resume();
        std::thread::scope(|scope| {
            let events = std::sync::Arc::new(|_| ());
            scope.spawn(|| soft.run(&mut |_| Box::new(Nothing), events));
            let all = looks.iter().take(20).collect();
            soft.stop();
            all
        })
    }

    #[test]
    fn stops_are_where_they_were_asked_and_alike_in_both_tiers() {
        let one = run(Tier::One, 60_001, 0, 0);
        assert_eq!(one, run(Tier::Two, 60_001, 0, 0));
        // Behind the block of four in which the instant lies.
        assert!(
            (1..).zip(&one).all(|(n, (count, ..))| (n * 60_001..n * 60_001 + 4 * n).contains(count)),
            "{one:?}"
        );
        let closer = run(Tier::Two, 4, 0, 0);
        assert!(closer.iter().all(|(count, rbx, _)| count / 4 * 3 == *rbx), "{closer:?}");
    }

    #[test]
    fn a_planted_fault_stays_and_a_cut_block_ends_where_it_is_cut() {
        let seen = run(Tier::Two, 1, 10, 10);
        let counts: Vec<u64> = seen.iter().map(|(count, ..)| *count).collect();
        assert_eq!(counts[..11], [4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44]);
        assert_eq!(counts[11..14], [45, 46, 47], "one instruction a block");
        assert!(seen.iter().all(|(count, rbx, _)| (*rbx >> 20 == 1) == (*count >= 44)), "{counts:?}");
    }
}
