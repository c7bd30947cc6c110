//! Two threads on the same guest memory: code that another vCPU or a device rewrites, atomic instructions, and the order
//! in which others see what a vCPU writes.
//!
//! The rules are those of APM volume 2, chapter 7: writes are seen in program order, aligned ones up to eight bytes
//! are seen whole, and code that was rewritten runs once its reader has executed a serializing instruction.

use std::sync::atomic::Ordering;

use iced_x86::code_asm::*;

use super::team::{Code, READY, Team, Tiers, come, meet, wait};
use super::*;
use crate::cpu::RBX;

/// A function that is rewritten: MOV EAX, imm32 with its operand at an address that four divide; RET.
const FUNCTION: u64 = 0x50_0003;
/// The round that is over.
const ROUND: u64 = 0x60_0000;
/// Where they work.
const DATA: u64 = 0x70_0000;
/// Rounds of everyday.
const FEW: u32 = 200_000;
const MANY: u32 = 20_000_000;

/// Calls the function over and over: what it gives is never older than the round that was over before. RBX is what was
/// wrong, at the end.
fn reader(rounds: u32) -> Code<'static> {
    Box::new(move |a| {
        let (mut top, mut over) = (a.create_label(), a.create_label());
        a.mov(r8d, FUNCTION as u32).unwrap();
        // It becomes code when the writer has written to its page before, and is known when it is first rewritten.
        wait(a, 1);
        a.call(r8).unwrap();
        come(a);
        a.set_label(&mut top).unwrap();
        a.mov(esi, dword_ptr(ROUND)).unwrap();
        a.xor(eax, eax).unwrap();
        a.cpuid().unwrap();
        a.call(r8).unwrap();
        a.mov(ebx, 1).unwrap();
        a.cmp(eax, esi).unwrap();
        a.jb(over).unwrap();
        a.xor(ebx, ebx).unwrap();
        a.cmp(esi, rounds as i32).unwrap();
        a.jb(top).unwrap();
        a.set_label(&mut over).unwrap();
        a.hlt().unwrap();
    })
}

/// The function as it is before the first round.
fn with_function(tiers: Tiers, codes: Vec<Code<'_>>) -> Team {
    let team = Team::new(tiers, codes);
    team.bare.write(FUNCTION, &[0xb8, 0, 0, 0, 0, 0xc3]);
    team
}

fn rewritten_by_a_vcpu(tiers: Tiers, rounds: u32) {
    let writer = move |a: &mut CodeAssembler| {
        let mut top = a.create_label();
        a.mov(dword_ptr(FUNCTION + 0x201), ecx).unwrap();
        meet(a, 2);
        a.mov(ecx, 1).unwrap();
        a.set_label(&mut top).unwrap();
        a.mov(dword_ptr(FUNCTION + 1), ecx).unwrap();
        a.mov(dword_ptr(ROUND), ecx).unwrap();
        a.inc(ecx).unwrap();
        a.cmp(ecx, rounds as i32).unwrap();
        a.jbe(top).unwrap();
        a.hlt().unwrap();
    };
    let mut pair = with_function(tiers, vec![reader(rounds), Box::new(writer)]);
    pair.run(|| ());
    assert_eq!(
        pair.cpus[0].gpr[RBX],
        0,
        "{tiers:?}, round {}: old code ran",
        pair.cpus[0].gpr[crate::cpu::RSI]
    );
}

fn rewritten_by_a_device(tiers: Tiers, rounds: u32) {
    let mut one = with_function(tiers, vec![reader(rounds)]);
    let ram = one.shared.ram.clone();
    one.run(|| {
        ram.store(1u32, GuestAddress(READY), Ordering::Release).unwrap();
        while ram.load::<u32>(GuestAddress(READY), Ordering::Acquire).unwrap() == 1 {
            std::thread::yield_now();
        }
        for round in 1..=rounds {
            for at in [FUNCTION + 1, ROUND] {
                ram.store(round, GuestAddress(at), Ordering::Release).unwrap();
            }
        }
    });
    assert_eq!(
        one.cpus[0].gpr[RBX],
        0,
        "{tiers:?}, round {}: old code ran",
        one.cpus[0].gpr[crate::cpu::RSI]
    );
}

#[test]
fn what_another_vcpu_rewrote_runs() {
    Tiers::ALL.iter().for_each(|tiers| rewritten_by_a_vcpu(*tiers, FEW));
}

#[test]
fn what_a_device_rewrote_runs() {
    [Tiers::One, Tiers::Two].iter().for_each(|tiers| rewritten_by_a_device(*tiers, FEW));
}

#[test]
#[ignore = "soak: code rewritten twenty million times"]
fn soak_what_others_rewrote_runs() {
    Tiers::ALL.iter().for_each(|tiers| rewritten_by_a_vcpu(*tiers, MANY));
    [Tiers::One, Tiers::Two].iter().for_each(|tiers| rewritten_by_a_device(*tiers, MANY));
}

/// Adds one to each of five counters, by five ways to be alone with it.
fn counter(rounds: u32) -> Code<'static> {
    Box::new(move |a| {
        let mut top = a.create_label();
        meet(a, 2);
        a.mov(r8d, rounds).unwrap();
        a.mov(edi, DATA as u32).unwrap();
        a.set_label(&mut top).unwrap();
        a.lock().inc(qword_ptr(rdi)).unwrap();
        a.mov(eax, 1).unwrap();
        // Across a cache line.
        a.lock().xadd(dword_ptr(rdi + 0x7e), eax).unwrap();
        let mut again = a.create_label();
        a.set_label(&mut again).unwrap();
        a.mov(rax, qword_ptr(rdi + 0x100)).unwrap();
        a.lea(rcx, qword_ptr(rax + 1)).unwrap();
        a.lock().cmpxchg(qword_ptr(rdi + 0x100), rcx).unwrap();
        a.jne(again).unwrap();
        let mut again = a.create_label();
        a.set_label(&mut again).unwrap();
        a.mov(rax, qword_ptr(rdi + 0x180)).unwrap();
        a.mov(rdx, qword_ptr(rdi + 0x188)).unwrap();
        a.lea(rbx, qword_ptr(rax + 1)).unwrap();
        a.lea(rcx, qword_ptr(rdx + 1)).unwrap();
        a.lock().cmpxchg16b(xmmword_ptr(rdi + 0x180)).unwrap();
        a.jne(again).unwrap();
        let mut again = a.create_label();
        a.set_label(&mut again).unwrap();
        a.pause().unwrap();
        a.mov(al, 1).unwrap();
        a.xchg(byte_ptr(rdi + 0x200), al).unwrap();
        a.test(al, al).unwrap();
        a.jne(again).unwrap();
        a.inc(qword_ptr(rdi + 0x208)).unwrap();
        a.mov(byte_ptr(rdi + 0x200), 0).unwrap();
        a.dec(r8d).unwrap();
        a.jne(top).unwrap();
        a.hlt().unwrap();
    })
}

fn counts(tiers: Tiers, rounds: u32) {
    let mut pair = Team::new(tiers, vec![counter(rounds), counter(rounds)]);
    pair.run(|| ());
    let read = |at: u64| pair.bare.read64(DATA + at);
    let both = 2 * u64::from(rounds);
    assert_eq!([0, 0x100, 0x180, 0x188, 0x208].map(read), [both; 5]);
    assert_eq!(read(0x7e) as u32, both as u32);
}

#[test]
fn no_count_is_lost_between_two_vcpus() {
    Tiers::ALL.iter().for_each(|tiers| counts(*tiers, FEW));
}

#[test]
#[ignore = "soak: twenty million atomic instructions of each kind"]
fn soak_no_count_is_lost() {
    Tiers::ALL.iter().for_each(|tiers| counts(*tiers, MANY));
}

/// Writes the round in several ways and then that it is over, and the reader looks the other way round.
fn in_order(tiers: Tiers, rounds: u32) {
    let writer = move |a: &mut CodeAssembler| {
        let mut top = a.create_label();
        meet(a, 2);
        a.mov(ebx, 1).unwrap();
        a.mov(r8d, DATA as u32).unwrap();
        a.set_label(&mut top).unwrap();
        // The same number in both halves: torn, they differ.
        a.mov(rax, rbx).unwrap();
        a.shl(rax, 32).unwrap();
        a.or(rax, rbx).unwrap();
        a.mov(qword_ptr(r8), rax).unwrap();
        a.movq(xmm0, rax).unwrap();
        a.punpcklqdq(xmm0, xmm0).unwrap();
        a.movdqa(xmmword_ptr(r8 + 0x1040), xmm0).unwrap();
        a.lea(rdi, qword_ptr(r8 + 0x20c0)).unwrap();
        a.mov(ecx, 8).unwrap();
        a.rep().stosq().unwrap();
        a.lea(rsi, qword_ptr(r8 + 0x20c0)).unwrap();
        a.lea(rdi, qword_ptr(r8 + 0x3100)).unwrap();
        a.mov(ecx, 8).unwrap();
        a.rep().movsq().unwrap();
        a.mov(dword_ptr(ROUND), ebx).unwrap();
        a.inc(ebx).unwrap();
        a.cmp(ebx, rounds as i32).unwrap();
        a.jbe(top).unwrap();
        a.hlt().unwrap();
    };
    let reader = move |a: &mut CodeAssembler| {
        let (mut top, mut bad, mut over) = (a.create_label(), a.create_label(), a.create_label());
        meet(a, 2);
        a.mov(r8d, DATA as u32).unwrap();
        a.set_label(&mut top).unwrap();
        a.mov(esi, dword_ptr(ROUND)).unwrap();
        for at in [0, 0x1040, 0x1048, 0x20c0, 0x20f8, 0x3100, 0x3138] {
            a.mov(rax, qword_ptr(r8 + at)).unwrap();
            a.mov(ecx, eax).unwrap();
            a.shr(rax, 32).unwrap();
            a.mov(ebx, at + 1).unwrap();
            a.cmp(eax, ecx).unwrap();
            a.jne(bad).unwrap();
            a.cmp(eax, esi).unwrap();
            a.jb(bad).unwrap();
        }
        a.xor(ebx, ebx).unwrap();
        a.cmp(esi, rounds as i32).unwrap();
        a.jb(top).unwrap();
        a.jmp(over).unwrap();
        a.set_label(&mut bad).unwrap();
        a.nop().unwrap();
        a.set_label(&mut over).unwrap();
        a.hlt().unwrap();
    };
    let mut pair = Team::new(tiers, vec![Box::new(reader), Box::new(writer)]);
    pair.run(|| ());
    let first = &pair.cpus[0];
    let at = first.gpr[RBX];
    assert_eq!(
        at,
        0,
        "{tiers:?}, round {}: torn or out of order at {:#x}",
        first.gpr[crate::cpu::RSI],
        at.wrapping_sub(1)
    );
}

#[test]
fn writes_are_seen_whole_and_in_order() {
    Tiers::ALL.iter().for_each(|tiers| in_order(*tiers, FEW));
}

#[test]
#[ignore = "soak: twenty million rounds of writes"]
fn soak_writes_are_seen_whole_and_in_order() {
    Tiers::ALL.iter().for_each(|tiers| in_order(*tiers, MANY));
}
