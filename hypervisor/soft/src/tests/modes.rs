//! Each mode runs, and takes exceptions.

use iced_x86::code_asm::*;
use ioreq::{Request, Size, Target};

use super::*;
use crate::cpu::{RAX, RBX, RCX};

#[test]
fn real_mode_counts_and_halts() {
    let mut bare = Bare::real(|a| {
        let mut top = a.create_label();
        a.mov(cx, 100).unwrap();
        a.xor(ax, ax).unwrap();
        a.set_label(&mut top).unwrap();
        a.add(ax, cx).unwrap();
        a.loop_(top).unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.gpr[RAX], 5050);
    assert_eq!(bare.cpu.gpr[RCX], 0);
    assert_eq!(bare.cpu.gpr[IP], 10);
}

#[test]
fn real_mode_interrupts_through_the_vector_table() {
    let mut bare = Bare::real(|a| {
        a.int(0x21).unwrap();
        a.hlt().unwrap();
    });
    bare.write(0x21 * 4, &[0x00, 0x00, 0x00, 0x20]);
    bare.write(
        0x2_0000,
        &assemble(16, 0, |a| {
            a.mov(bx, 0x1234).unwrap();
            a.iret().unwrap();
        }),
    );
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 0x1234);
    assert_eq!(bare.cpu.gpr[RSP], STACK);
    assert_eq!(bare.cpu.gpr[IP], 3);
}

#[test]
fn ports_become_requests() {
    let mut bare = Bare::real(|a| {
        a.mov(dx, 0x3f8).unwrap();
        a.mov(al, 0x55).unwrap();
        a.out(dx, al).unwrap();
        a.in_(eax, 0x80).unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.gpr[RAX], 0x5566_7788);
    assert_eq!(
        *bare.log.lock().unwrap(),
        [
            Request::write(0, Target::Pio(0x3f8), Size::B1, 0x55),
            Request::read(0, Target::Pio(0x80), Size::B4),
        ]
    );
}

#[test]
fn mmio_is_one_request_an_access() {
    let mut bare = Bare::protected(|a| {
        a.mov(eax, dword_ptr(0xe000_0004u32)).unwrap();
        a.mov(word_ptr(0xe000_0008u32), ax).unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.gpr[RAX], 0x5566_7788);
    assert_eq!(
        *bare.log.lock().unwrap(),
        [
            Request::read(0, Target::Mmio(0xe000_0004), Size::B4),
            Request::write(0, Target::Mmio(0xe000_0008), Size::B2, 0x7788),
        ]
    );
}

#[test]
fn from_real_to_protected_to_long_mode() {
    let mut bare = Bare::real(|a| {
        a.lgdt(word_ptr(0x7000)).unwrap();
        a.mov(eax, cr0).unwrap();
        a.or(al, 1).unwrap();
        a.mov(cr0, eax).unwrap();
        // jmp 8:0x20000
        a.db(&[0x66, 0xea, 0, 0, 2, 0, 8, 0]).unwrap();
    });
    bare.write(0x7000, &[0x3f, 0, 0, 0x10, 0, 0]);
    bare.tables(0x00cf_9b00_0000_ffff, 0x00af_9b00_0000_ffff);
    bare.cpu.gdt.limit = 0;
    bare.write64(0x10_0000, 0x10_1007);
    bare.write64(0x10_1000, 0x87);
    bare.write(
        0x2_0000,
        &assemble(32, 0x2_0000, |a| {
            a.mov(eax, 16).unwrap();
            a.mov(ds, eax).unwrap();
            a.mov(ss, eax).unwrap();
            a.mov(eax, 0x20).unwrap();
            a.mov(cr4, eax).unwrap();
            a.mov(eax, 0x10_0000).unwrap();
            a.mov(cr3, eax).unwrap();
            a.mov(ecx, 0xc000_0080u32).unwrap();
            a.rdmsr().unwrap();
            a.or(eax, 0x100).unwrap();
            a.wrmsr().unwrap();
            a.mov(eax, cr0).unwrap();
            a.or(eax, 0x8000_0000u32).unwrap();
            a.mov(cr0, eax).unwrap();
            // jmp 24:0x30000
            a.db(&[0xea, 0, 0, 3, 0, 24, 0]).unwrap();
        }),
    );
    bare.write(
        0x3_0000,
        &assemble(64, 0x3_0000, |a| {
            a.mov(rax, 0x1234_5678_9abc_def0u64).unwrap();
            a.push(rax).unwrap();
            a.pop(rbx).unwrap();
            a.hlt().unwrap();
        }),
    );
    bare.halts();
    assert_eq!(bare.cpu.code, 64);
    assert_eq!(bare.cpu.gpr[RBX], 0x1234_5678_9abc_def0);
}

#[test]
fn a_page_fault_tells_address_and_reason_and_is_restarted() {
    let mut bare = Bare::long(|a| {
        a.mov(rbx, 7u64).unwrap();
        a.add(qword_ptr(0x60_0000), rbx).unwrap();
        a.hlt().unwrap();
    });
    bare.write64(0x10_2000 + 8 * 3, 0); // 6-8 MiB
    bare.gate(14, 0x8e, 8, 0x2_0000);
    bare.write(
        0x2_0000,
        &assemble(64, 0x2_0000, |a| {
            a.pop(rcx).unwrap();
            a.mov(rdx, cr2).unwrap();
            a.mov(rax, 0x60_0087u64).unwrap();
            a.mov(qword_ptr(0x10_2018), rax).unwrap();
            a.iretq().unwrap();
        }),
    );
    bare.write64(0x60_0000, 5);
    bare.halts();
    assert_eq!(bare.cpu.gpr[RCX], 2);
    assert_eq!(bare.cpu.gpr[crate::cpu::RDX], 0x60_0000);
    assert_eq!(bare.read64(0x60_0000), 12);
    // Accessed and dirty.
    assert_eq!(bare.read64(0x10_2018), 0x60_00e7);
}

#[test]
fn code_that_changes_itself_is_seen() {
    let mut bare = Bare::long(|a| {
        // Eight bytes; overwrites the immediate of the instruction right behind.
        a.mov(byte_ptr(CODE + 9), 0x77).unwrap();
        a.mov(eax, 0x11).unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.gpr[RAX], 0x77);
}

#[test]
fn user_code_calls_the_kernel_and_returns() {
    let mut bare = Bare::long(|a| {
        a.mov(ecx, 0xc000_0081u32).unwrap();
        a.xor(eax, eax).unwrap();
        a.mov(edx, 0x0010_0008).unwrap();
        a.wrmsr().unwrap();
        a.mov(ecx, 0xc000_0082u32).unwrap();
        a.mov(eax, 0x3_0000).unwrap();
        a.xor(edx, edx).unwrap();
        a.wrmsr().unwrap();
        // To user: ss, rsp, flags, cs, rip.
        a.push(32 | 3).unwrap();
        a.push(0x9000).unwrap();
        a.push(0x202).unwrap();
        a.push(24 | 3).unwrap();
        a.push(0x2_0000).unwrap();
        a.iretq().unwrap();
    });
    bare.write(
        0x2_0000,
        &assemble(64, 0x2_0000, |a| {
            a.mov(ebx, 1).unwrap();
            a.syscall().unwrap();
            a.hlt().unwrap(); // #GP
        }),
    );
    bare.write(
        0x3_0000,
        &assemble(64, 0x3_0000, |a| {
            a.inc(ebx).unwrap();
            // A frame for SYSRET would need CS 16|3 + 16; IRET does as well.
            a.mov(rsp, STACK).unwrap();
            a.push(32 | 3).unwrap();
            a.push(0x9000).unwrap();
            a.push(r11).unwrap();
            a.push(24 | 3).unwrap();
            a.push(rcx).unwrap();
            a.iretq().unwrap();
        }),
    );
    bare.write64(0x3004, STACK);
    bare.gate(13, 0x8e, 8, 0x4_0000);
    bare.write(
        0x4_0000,
        &assemble(64, 0x4_0000, |a| {
            a.pop(rdi).unwrap();
            a.mov(rsi, qword_ptr(rsp + 8)).unwrap();
            a.hlt().unwrap();
        }),
    );
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 2);
    assert_eq!(bare.cpu.gpr[crate::cpu::RSI], 24 | 3);
    assert_eq!(bare.cpu.cpl, 0);
}

#[test]
fn three_faults_are_the_end() {
    let mut bare = Bare::protected(|a| {
        a.ud2().unwrap();
    });
    assert_eq!(bare.run(1000), Leave::Shutdown);
}
