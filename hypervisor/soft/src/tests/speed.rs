//! How fast tier 1 is; run by hand in release.

use std::time::Instant;

use iced_x86::code_asm::*;

use super::*;

fn measure(name: &str, build: impl FnOnce(&mut CodeAssembler)) {
    let mut bare = Bare::long(build);
    let start = Instant::now();
    bare.run(400_000_000);
    let seconds = start.elapsed().as_secs_f64();
    println!("{name}: {:.0} million instructions/s", bare.cpu.icount as f64 / seconds / 1e6);
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    measure("integer loop", |a| {
        let mut top = a.create_label();
        a.set_label(&mut top).unwrap();
        a.add(rax, rbx).unwrap();
        a.xor(rcx, rax).unwrap();
        a.shl(rdx, 3).unwrap();
        a.lea(rsi, qword_ptr(rax + rcx * 4 + 8)).unwrap();
        a.cmp(rsi, rdi).unwrap();
        a.inc(rbx).unwrap();
        a.test(rbx, rbx).unwrap();
        a.jne(top).unwrap();
        a.jmp(top).unwrap();
    });
    measure("memory loop", |a| {
        let mut top = a.create_label();
        a.mov(rsi, 0x20_0000u64).unwrap();
        a.set_label(&mut top).unwrap();
        a.mov(rax, qword_ptr(rsi)).unwrap();
        a.add(rax, 1).unwrap();
        a.mov(qword_ptr(rsi + 8), rax).unwrap();
        a.add(qword_ptr(rsi + 16), rax).unwrap();
        a.and(rbx, 0xfff).unwrap();
        a.push(rax).unwrap();
        a.pop(rcx).unwrap();
        a.dec(rdi).unwrap();
        a.jne(top).unwrap();
        a.jmp(top).unwrap();
    });
    measure("calls", |a| {
        let mut top = a.create_label();
        let mut f = a.create_label();
        a.set_label(&mut top).unwrap();
        a.call(f).unwrap();
        a.test(rax, rax).unwrap();
        a.je(top).unwrap();
        a.jmp(top).unwrap();
        a.set_label(&mut f).unwrap();
        a.push(rbp).unwrap();
        a.mov(rbp, rsp).unwrap();
        a.inc(rax).unwrap();
        a.pop(rbp).unwrap();
        a.ret().unwrap();
    });
}
