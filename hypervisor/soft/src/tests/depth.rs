//! How much stack a chain of blocks takes. Operations call each other; that they are jumps is the compiler's kindness.

use std::sync::atomic::{AtomicUsize, Ordering};

use hypervisor::Clock;
use iced_x86::code_asm::*;

use super::*;
use crate::cpu::RCX;
use crate::exec::CHAIN;
use crate::soft::STACK;

/// A clock that is read deep in the stack and remembers how deep.
#[derive(Default)]
struct Gauge(AtomicUsize);

impl Clock for Gauge {
    fn now(&self) -> u64 {
        let here = 0u8;
        self.0.store(&raw const here as usize, Ordering::Relaxed);
        0
    }
    fn stop(&self) {}
    fn start(&self) {}
    fn set(&self, _: u64) {}
}

/// Address of the stack when RDTSC runs after `turns` of a loop whose blocks follow each other.
fn depth(turns: u64) -> usize {
    let gauge = Arc::new(Gauge::default());
    let mut bare = Bare::long(|a| {
        let (mut top, mut f, mut over) = (a.create_label(), a.create_label(), a.create_label());
        a.set_label(&mut top).unwrap();
        a.mov(rax, qword_ptr(rsi)).unwrap();
        a.add(qword_ptr(rsi + 8), rax).unwrap();
        a.lock().add(qword_ptr(rsi + 16), rax).unwrap();
        a.mov(qword_ptr(rsi + rbp * 8 + 0x100), rdx).unwrap();
        a.movdqu(xmm0, xmmword_ptr(rsi)).unwrap();
        a.paddd(xmm0, xmm1).unwrap();
        a.fld1().unwrap();
        a.fstp(qword_ptr(rsi)).unwrap();
        a.push(rax).unwrap();
        a.pop(rbx).unwrap();
        a.imul_3(rdx, rbx, 5).unwrap();
        a.movsb().unwrap();
        a.sub(rsi, 1).unwrap();
        a.cmp(qword_ptr(rsi), 0).unwrap();
        a.jo(f).unwrap();
        a.call(f).unwrap();
        a.dec(rcx).unwrap();
        a.jne(top).unwrap();
        a.jmp(over).unwrap();
        a.set_label(&mut f).unwrap();
        a.ret().unwrap();
        a.set_label(&mut over).unwrap();
        a.rdtsc().unwrap();
        a.hlt().unwrap();
    });
    let shared = Arc::new(Shared::new(1, bare.shared.ram.clone(), gauge.clone(), None));
    // The same memory and registers, with a clock of the host's kind.
    shared.physical.map(&Mapping::ram(0, RAM, &bare._block, 0)).unwrap();
    let body = crate::state::save(&bare.cpu, &bare.shared.unit(0)).unwrap();
    let mut cpu = Cpu::new(0, shared);
    crate::state::parse(&body).unwrap().apply(&mut cpu);
    std::mem::swap(&mut bare.cpu, &mut cpu);
    // Twice: at first every block has to be found.
    for _ in 0..2 {
        bare.cpu.gpr[IP] = CODE;
        bare.cpu.gpr[RCX] = turns;
        bare.cpu.gpr[crate::cpu::RSI] = 0x50_0000;
        bare.cpu.gpr[crate::cpu::RDI] = 0x60_0000;
        bare.halts();
    }
    gauge.0.load(Ordering::Relaxed)
}

#[test]
fn a_chain_of_blocks_fits_its_stack() {
    // Three blocks a turn: one turn, then as many as a chain has.
    let turns = CHAIN as u64 / 3;
    let taken = depth(1).saturating_sub(depth(turns - 1));
    let blocks = 3 * (turns as usize - 2);
    // What the longest chain that is ever built would take at this rate.
    let most = taken.div_ceil(blocks) * CHAIN as usize;
    assert!(most < STACK / 8, "{taken} bytes for {blocks} blocks");
    println!("{taken} bytes for {blocks} blocks");
}
