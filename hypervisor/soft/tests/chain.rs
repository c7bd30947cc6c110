//! What only a build as it is shipped shows of the software CPU: blocks of guest code follow each other without a return
//! to the loop, each operation calling the next one. That these calls are jumps is the compiler's doing. Every day a
//! guest's boot shows it (`tests/guests/tests/stack.rs`); this is a program of all families of operations.

use hypervisor_soft::bare::{Bare, End, Regs};
use iced_x86::code_asm::*;

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x50_0000;
const STACK: u64 = 0x60_0000;
/// Turns of the loop, of three blocks each: many times as many as follow each other.
const TURNS: u64 = 100_000;
/// The host's stack: what the deepest single operation takes, and far less than a chain that calls.
const HOST_STACK: usize = 256 << 10;

/// A loop with operations of many families, none of which ends a chain, a call and a return.
fn program() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(64)?;
    let (mut top, mut function, mut over) = (a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut top)?;
    a.mov(rax, qword_ptr(rsi))?;
    a.add(qword_ptr(rsi + 8), rax)?;
    a.lock().add(qword_ptr(rsi + 16), rax)?;
    a.mov(qword_ptr(rsi + rbp * 8 + 0x100), rdx)?;
    a.movzx(edx, byte_ptr(rsi + 3))?;
    a.shl(rdx, 3)?;
    a.sar(edx, cl)?;
    a.bt(rdx, 5)?;
    a.setb(al)?;
    a.cmove(rax, rdx)?;
    a.lea(rdi, qword_ptr(rsi + 0x800))?;
    a.movdqu(xmm0, xmmword_ptr(rsi))?;
    a.paddd(xmm0, xmm1)?;
    a.mulsd(xmm2, xmm0)?;
    a.fld1()?;
    a.fstp(qword_ptr(rsi + 0x40))?;
    a.push(rax)?;
    a.pop(rbx)?;
    a.imul_3(rdx, rbx, 5)?;
    a.mov(eax, 7)?;
    a.mul(rbx)?;
    a.xchg(qword_ptr(rsi + 0x48), rbx)?;
    a.movsb()?;
    a.sub(rsi, 1)?;
    a.bswap(r8)?;
    a.call(function)?;
    a.dec(r9)?;
    a.jne(top)?;
    a.jmp(over)?;
    a.set_label(&mut function)?;
    a.adc(r10, r9)?;
    a.ret()?;
    a.set_label(&mut over)?;
    // Not for a user: the run ends.
    a.hlt()?;
    a.assemble(CODE)
}

fn runs() {
    let areas = [(CODE, 0x1000), (DATA, 0x2000), (STACK, 0x1000)];
    let mut bare = Bare::new(64, &areas).expect("a few pages");
    bare.write(CODE, &program().expect("it is a program"));
    let mut regs = Regs { rip: CODE, ..Regs::default() };
    (regs.gpr[4], regs.gpr[6], regs.gpr[9]) = (STACK + 0x800, DATA, TURNS);
    bare.set_regs(&regs);
    assert_eq!(bare.run(u64::MAX >> 1), End::Fault, "it ends at HLT");
    assert_eq!(bare.regs().gpr[9], 0, "after all its turns");
}

#[test]
#[ignore = "all: only the profile that is shipped makes jumps of these calls"]
fn a_chain_of_blocks_takes_no_stack() {
    let thread = std::thread::Builder::new().stack_size(HOST_STACK).spawn(runs).expect("a thread");
    thread.join().expect("it ran");
}
