//! Several vCPUs in 64-bit mode over one memory, each on a thread of its own.

use std::sync::Arc;

use hypervisor::HostClock;
use iced_x86::code_asm::*;

use super::{Bare, CODE, STACK, assemble};
use crate::cpu::{Cpu, IP, RSP};
use crate::exec::Leave;
use crate::machine::Shared;
use crate::tier2::Tier2;

/// Bytes between the code of one vCPU and that of the next.
const APART: u64 = 0x1_0000;
/// How many are there: they begin together.
pub const READY: u64 = 0xf0_1000;

/// Code of a vCPU.
pub type Code<'a> = Box<dyn FnOnce(&mut CodeAssembler) + 'a>;

/// Which of the vCPUs have their code translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiers {
    /// None.
    One,
    /// All.
    Two,
    /// Every second one.
    Both,
}

impl Tiers {
    /// All of these.
    pub const ALL: [Tiers; 3] = [Tiers::One, Tiers::Two, Tiers::Both];

    fn second(self, vcpu: u32) -> bool {
        match self {
            Tiers::One => false,
            Tiers::Two => true,
            Tiers::Both => !vcpu.is_multiple_of(2),
        }
    }
}

/// The vCPUs.
pub struct Team {
    pub shared: Arc<Shared>,
    pub cpus: Box<[Box<Cpu>]>,
    pub bare: Bare,
}

impl Team {
    /// One vCPU for each of `codes`.
    pub fn new(tiers: Tiers, codes: Vec<Code<'_>>) -> Team {
        let bare =
            Bare::on(codes.len() as u32, Arc::new(HostClock::new()), None).into_long(|a| a.hlt().unwrap());
        let body = crate::state::save(&bare.cpu, &bare.shared.unit(0)).unwrap();
        let cpus = (0..).zip(codes).map(|(id, code)| {
            let ip = CODE + APART * u64::from(id);
            bare.write(ip, &assemble(64, ip, code));
            let mut cpu = Cpu::new(id, bare.shared.clone());
            if tiers.second(id) {
                cpu.set_tier2(Some(Tier2::new(1).unwrap()));
            }
            crate::state::parse(&body).unwrap().apply(&mut cpu);
            cpu.gpr[IP] = ip;
            cpu.gpr[RSP] = STACK - 0x1000 * u64::from(id);
            cpu
        });
        Team { shared: bare.shared.clone(), cpus: cpus.collect(), bare }
    }

    /// Runs all to their HLT, and `also` beside them.
    pub fn run(&mut self, also: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            for cpu in self.cpus.iter_mut() {
                let thread = std::thread::Builder::new().stack_size(crate::soft::STACK);
                thread
                    .spawn_scoped(scope, move || {
                        cpu.icount_limit = u64::MAX;
                        let leave = cpu.run();
                        assert_eq!(leave, Leave::Halted, "{:?} at {:#x}", cpu.fault, cpu.gpr[IP]);
                    })
                    .unwrap();
            }
            also();
        });
    }

    /// Puts all back to the beginning of their code.
    pub fn again(&mut self) {
        self.bare.write(READY, &[0; 4]);
        for cpu in self.cpus.iter_mut() {
            cpu.halted = false;
            cpu.gpr[IP] = CODE + APART * u64::from(cpu.id);
        }
    }
}

/// Waits until `count` are there.
pub fn wait(a: &mut CodeAssembler, count: i32) {
    let mut top = a.create_label();
    a.set_label(&mut top).unwrap();
    a.pause().unwrap();
    a.cmp(dword_ptr(READY), count).unwrap();
    a.jb(top).unwrap();
}

/// Says that it is there.
pub fn come(a: &mut CodeAssembler) {
    a.lock().inc(dword_ptr(READY)).unwrap();
}

/// Waits until all `count` are there.
pub fn meet(a: &mut CodeAssembler, count: i32) {
    come(a);
    wait(a, count);
}
