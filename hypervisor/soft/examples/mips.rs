//! How fast the processor runs: small programs in user mode, in millions of instructions a second.
//!
//! `cargo run --release -p hypervisor-soft --example mips [name]`

use std::time::{Duration, Instant};

use hypervisor_soft::bare::{Bare, End, Regs};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

const CODE: u64 = 0x20_0000;
const DATA: u64 = 0x40_0000;
const DATA_LEN: u64 = 0x4_0000;
/// Instructions between two looks at the clock.
const SLICE: u64 = 5_000_000;

type Program = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// Arithmetic in registers.
fn registers(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut top = a.create_label();
    a.mov(rax, 0x1234_5678u64)?;
    a.mov(ecx, 100_000)?;
    a.set_label(&mut top)?;
    a.add(rax, rcx)?;
    a.mov(rdx, rax)?;
    a.shr(rdx, 7)?;
    a.xor(rax, rdx)?;
    a.lea(rbx, qword_ptr(rax + rcx * 4 + 5))?;
    a.and(ebx, 0xffff)?;
    a.sub(rax, rbx)?;
    a.dec(ecx)?;
    a.jne(top)?;
    again(a)
}

/// Loads, stores and compares: a pass of bubble sort over and over.
fn sort(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut top, mut next) = (a.create_label(), a.create_label());
    a.mov(rsi, DATA)?;
    a.mov(rdi, DATA + 0x2000)?;
    a.set_label(&mut top)?;
    a.mov(eax, dword_ptr(rsi))?;
    a.mov(edx, dword_ptr(rsi + 4))?;
    a.cmp(eax, edx)?;
    a.jbe(next)?;
    a.mov(dword_ptr(rsi), edx)?;
    a.mov(dword_ptr(rsi + 4), eax)?;
    a.set_label(&mut next)?;
    a.add(rsi, 4)?;
    a.cmp(rsi, rdi)?;
    a.jb(top)?;
    again(a)
}

/// Calls, returns and the stack: Fibonacci numbers the slow way.
fn calls(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut fib, mut small, mut start) = (a.create_label(), a.create_label(), a.create_label());
    a.jmp(start)?;
    a.set_label(&mut fib)?;
    a.cmp(edi, 2)?;
    a.jb(small)?;
    a.push(rbx)?;
    a.push(rdi)?;
    a.dec(edi)?;
    a.call(fib)?;
    a.mov(ebx, eax)?;
    a.pop(rdi)?;
    a.sub(edi, 2)?;
    a.call(fib)?;
    a.add(eax, ebx)?;
    a.pop(rbx)?;
    a.ret()?;
    a.set_label(&mut small)?;
    a.mov(eax, edi)?;
    a.ret()?;
    a.set_label(&mut start)?;
    a.mov(edi, 20)?;
    a.call(fib)?;
    again(a)
}

/// A copy loop by quadwords.
fn copy(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut top = a.create_label();
    a.mov(rsi, DATA)?;
    a.mov(rdi, DATA + DATA_LEN / 2)?;
    a.mov(ecx, (DATA_LEN / 2 / 8) as u32)?;
    a.set_label(&mut top)?;
    a.mov(rax, qword_ptr(rsi))?;
    a.mov(qword_ptr(rdi), rax)?;
    a.add(rsi, 8)?;
    a.add(rdi, 8)?;
    a.sub(ecx, 1)?;
    a.jnz(top)?;
    again(a)
}

/// REP MOVSB of 64 KiB; counted as one instruction each.
fn rep(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(rsi, DATA)?;
    a.mov(rdi, DATA + DATA_LEN / 2)?;
    a.mov(ecx, 0x1_0000)?;
    a.rep().movsb()?;
    again(a)
}

/// Bytes, conditions and a table, as in a checksum or an interpreter.
fn bytes(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut top = a.create_label();
    a.mov(rsi, DATA)?;
    a.xor(eax, eax)?;
    a.mov(ecx, 0x1000)?;
    a.set_label(&mut top)?;
    a.movzx(edx, byte_ptr(rsi))?;
    a.xor(edx, eax)?;
    a.and(edx, 0xff)?;
    a.shr(eax, 8)?;
    a.xor(eax, dword_ptr(rdx * 4 + (DATA + 0x8000)))?;
    a.test(al, 1)?;
    a.setne(bl)?;
    a.inc(rsi)?;
    a.sub(ecx, 1)?;
    a.jnz(top)?;
    again(a)
}

/// Back to the beginning.
fn again(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.jmp(CODE)
}

fn measure(name: &str, program: Program) -> Result<(), Box<dyn std::error::Error>> {
    let mut a = CodeAssembler::new(64)?;
    program(&mut a)?;
    let mut bare = Bare::new(64, &[(CODE, 0x1000), (DATA, DATA_LEN)])?;
    bare.write(CODE, &a.assemble(CODE)?);
    let numbers: Vec<u8> = (0..DATA_LEN as u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    bare.write(DATA, &numbers);
    let mut regs = Regs { rip: CODE, flags: 2, ..Regs::default() };
    regs.gpr[4] = DATA + 0x2_0000;
    bare.set_regs(&regs);
    let (start, from) = (Instant::now(), bare.instructions());
    let slice = if name == "rep" { SLICE / 1000 } else { SLICE };
    while start.elapsed() < Duration::from_secs(1) {
        if bare.run(slice) == End::Fault {
            return Err(format!("{name} faulted: {:x?}", bare.regs()).into());
        }
    }
    let count = (bare.instructions() - from) as f64;
    println!("{name:10} {:8.1} MIPS", count / start.elapsed().as_secs_f64() / 1e6);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let only = std::env::args().nth(1);
    let programs: [(&str, Program); 6] = [
        ("registers", registers),
        ("sort", sort),
        ("calls", calls),
        ("copy", copy),
        ("bytes", bytes),
        ("rep", rep),
    ];
    for (name, program) in programs {
        if only.as_deref().is_none_or(|o| o == name) {
            measure(name, program)?;
        }
    }
    Ok(())
}
