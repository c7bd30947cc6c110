//! Small programs that show how fast a processor is. Each goes round as often as [`ROUNDS`] says and then on at [`END`].
//!
//! `cargo xtask bench cpu` has the same file: there they run on whole machines.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// Where the code lies.
pub const CODE: u64 = 0x20_0000;
/// Where a program goes on that is done: in the page of its code, behind it.
pub const END: u64 = CODE + 0xf00;
/// What it works on. The stack is in its second half.
pub const DATA: u64 = 0x40_0000;
/// Bytes of that.
pub const DATA_LEN: u64 = 0x4_0000;
/// How many rounds are left, 32 bits; from 0 on there is no end of them for long.
pub const ROUNDS: u64 = 0x60_0000;

/// A program.
pub struct Loop {
    /// Its name.
    pub name: &'static str,
    /// 64 or 32.
    pub bits: u32,
    /// Rounds that take QEMU's translator about a second.
    pub rounds: u32,
    /// Its code.
    pub code: fn(&mut CodeAssembler) -> Result<(), IcedError>,
}

/// All of them.
pub const LOOPS: [Loop; 11] = [
    Loop { name: "registers", bits: 64, rounds: 2500, code: registers },
    Loop { name: "sort", bits: 64, rounds: 60000, code: sort },
    Loop { name: "calls", bits: 64, rounds: 2400, code: calls },
    Loop { name: "copy", bits: 64, rounds: 14000, code: copy },
    Loop { name: "bytes", bits: 64, rounds: 24000, code: bytes },
    Loop { name: "rep", bits: 64, rounds: 5000, code: rep },
    Loop { name: "x87", bits: 64, rounds: 1000, code: x87 },
    Loop { name: "sse", bits: 64, rounds: 1800, code: sse },
    Loop { name: "faults", bits: 64, rounds: 13000, code: faults },
    Loop { name: "sort32", bits: 32, rounds: 60000, code: sort32 },
    Loop { name: "calls32", bits: 32, rounds: 2400, code: calls32 },
];

/// What lies at [`DATA`] at first.
pub fn data() -> Vec<u8> {
    (0..DATA_LEN as u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect()
}

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
    again(a)
}

/// Where the page-fault handler is.
pub const HANDLER: u64 = CODE + 16;
/// Descriptor tables, behind the stack.
pub const GDT: u64 = DATA + 0x3_0000;
pub const IDT: u64 = DATA + 0x3_1000;

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

/// Back to the beginning, or on.
fn again(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.dec(dword_ptr(ROUNDS))?;
    a.jne(CODE)?;
    a.jmp(END)
}
