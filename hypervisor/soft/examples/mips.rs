//! How fast the processor runs: small programs, in millions of instructions a second of host processor time.
//!
//! `cargo run --release -p hypervisor-soft --example mips [name]`

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

/// Where the floating-point programs keep 0.5, 1.0 and a result.
const NUMBERS: u64 = DATA + 0x1000;

fn numbers(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(rsi, NUMBERS)?;
    for (at, number) in [(0, 0.5f64), (8, 1.0)] {
        a.mov(rax, number.to_bits())?;
        a.mov(qword_ptr(rsi + at), rax)?;
    }
    a.mov(ecx, 10_000)
}

/// x87: x = x / 2 + 1 with a store each turn.
fn x87(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut top = a.create_label();
    numbers(a)?;
    a.fld1()?;
    a.set_label(&mut top)?;
    a.fmul(qword_ptr(rsi))?;
    a.fadd(qword_ptr(rsi + 8))?;
    a.fst(qword_ptr(rsi + 16))?;
    a.dec(ecx)?;
    a.jne(top)?;
    a.fstp(st0)?;
    again(a)
}

/// SSE2, scalar and packed: the same sum, then four floats and two doubles at once.
fn sse(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut top = a.create_label();
    numbers(a)?;
    a.movsd_2(xmm0, qword_ptr(rsi + 8))?;
    a.movupd(xmm1, xmmword_ptr(rsi))?;
    a.movapd(xmm3, xmm1)?;
    a.cvtpd2ps(xmm2, xmm1)?;
    a.set_label(&mut top)?;
    a.mulsd(xmm0, qword_ptr(rsi))?;
    a.addsd(xmm0, qword_ptr(rsi + 8))?;
    a.mulps(xmm2, xmm2)?;
    a.maxpd(xmm3, xmm1)?;
    a.movsd_2(qword_ptr(rsi + 16), xmm0)?;
    a.dec(ecx)?;
    a.jne(top)?;
    again(a)
}

/// Page faults at privilege level 0: loads from pages that are not there. The handler counts in R15, skips the load
/// (three bytes) and returns.
fn faults(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut start, mut top) = (a.create_label(), a.create_label());
    a.jmp(start)?;
    // The gate leads here: HANDLER.
    a.nops_with_size((HANDLER - CODE - 2) as usize)?;
    a.inc(r15)?;
    a.add(qword_ptr(rsp + 8), 3)?;
    a.add(rsp, 8)?;
    a.iretq()?;
    a.set_label(&mut start)?;
    a.mov(rbx, DATA + DATA_LEN)?;
    a.mov(ecx, 64)?;
    a.set_label(&mut top)?;
    a.mov(rax, qword_ptr(rbx))?;
    a.add(rbx, 0x1000)?;
    a.dec(ecx)?;
    a.jne(top)?;
    a.jmp(start)
}

/// Where the page-fault handler is.
const HANDLER: u64 = CODE + 16;
/// Descriptor tables, behind the stack.
const GDT: u64 = DATA + 0x3_0000;
const IDT: u64 = DATA + 0x3_1000;

/// Privilege level 0 and a gate for page faults.
fn supervisor(bare: &mut Bare) {
    for (n, descriptor) in [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffffu64].into_iter().enumerate() {
        bare.write(GDT + 8 * n as u64, &descriptor.to_le_bytes());
    }
    // An interrupt gate to 0x08:HANDLER, which is below 4 GiB.
    let gate = (HANDLER >> 16) << 48 | 0x8e00 << 32 | 0x08 << 16 | HANDLER & 0xffff;
    bare.write(IDT + 14 * 16, &gate.to_le_bytes());
    bare.write(IDT + 14 * 16 + 8, &[0; 8]);
    bare.supervisor((GDT, 23), (IDT, 15 * 16 - 1));
}

/// [`sort`] in 32-bit code.
fn sort32(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut top, mut next) = (a.create_label(), a.create_label());
    a.mov(esi, DATA as u32)?;
    a.mov(edi, DATA as u32 + 0x2000)?;
    a.set_label(&mut top)?;
    a.mov(eax, dword_ptr(esi))?;
    a.mov(edx, dword_ptr(esi + 4))?;
    a.cmp(eax, edx)?;
    a.jbe(next)?;
    a.mov(dword_ptr(esi), edx)?;
    a.mov(dword_ptr(esi + 4), eax)?;
    a.set_label(&mut next)?;
    a.add(esi, 4)?;
    a.cmp(esi, edi)?;
    a.jb(top)?;
    again(a)
}

/// [`calls`] in 32-bit code.
fn calls32(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut fib, mut small, mut start) = (a.create_label(), a.create_label(), a.create_label());
    a.jmp(start)?;
    a.set_label(&mut fib)?;
    a.cmp(edi, 2)?;
    a.jb(small)?;
    a.push(edi)?;
    a.dec(edi)?;
    a.call(fib)?;
    a.pop(edi)?;
    a.push(eax)?;
    a.sub(edi, 2)?;
    a.call(fib)?;
    a.pop(edx)?;
    a.add(eax, edx)?;
    a.ret()?;
    a.set_label(&mut small)?;
    a.mov(eax, edi)?;
    a.ret()?;
    a.set_label(&mut start)?;
    a.mov(edi, 20)?;
    a.call(fib)?;
    again(a)
}

/// Back to the beginning.
fn again(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.jmp(CODE)
}

/// Seconds of processor time that this thread has used: the host may be busy with other things.
fn seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid clock and a place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

fn measure(name: &str, program: Program) -> Result<(), Box<dyn std::error::Error>> {
    let bits = if name.ends_with("32") { 32 } else { 64 };
    let mut a = CodeAssembler::new(bits)?;
    program(&mut a)?;
    let mut bare = Bare::new(bits as u8, &[(CODE, 0x1000), (DATA, DATA_LEN)])?;
    bare.write(CODE, &a.assemble(CODE)?);
    let numbers: Vec<u8> = (0..DATA_LEN as u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    bare.write(DATA, &numbers);
    if std::env::var("TIER").as_deref() == Ok("2") {
        bare.translate(64)?;
    }
    if name == "faults" {
        supervisor(&mut bare);
    }
    let mut regs = Regs { rip: CODE, flags: 2, ..Regs::default() };
    regs.gpr[4] = DATA + 0x2_0000;
    bare.set_regs(&regs);
    let (start, from) = (seconds(), bare.instructions());
    let slice = if name == "rep" { SLICE / 1000 } else { SLICE };
    while seconds() - start < 1.0 {
        if bare.run(slice) == End::Fault {
            return Err(format!("{name} faulted: {:x?}", bare.regs()).into());
        }
    }
    let count = (bare.instructions() - from) as f64;
    let time = seconds() - start;
    print!("{name:10} {:8.1} MIPS", count / time / 1e6);
    if name == "faults" {
        print!(", {:.2} million faults a second", bare.regs().gpr[15] as f64 / time / 1e6);
    }
    println!();
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let only = std::env::args().nth(1);
    let programs: [(&str, Program); 11] = [
        ("registers", registers),
        ("sort", sort),
        ("calls", calls),
        ("copy", copy),
        ("bytes", bytes),
        ("rep", rep),
        ("x87", x87),
        ("sse", sse),
        ("faults", faults),
        ("sort32", sort32),
        ("calls32", calls32),
    ];
    for (name, program) in programs {
        if only.as_deref().is_none_or(|o| o == name) {
            measure(name, program)?;
        }
    }
    Ok(())
}
