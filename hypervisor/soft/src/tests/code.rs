//! Code that was run is found again, but only by who may run it, where it still is, and as long as it is the same.

use iced_x86::code_asm::*;

use super::*;
use crate::cpu::{RAX, RBX, RCX, RDX, RSI};

/// Linear address of 2 MiB that are mapped page by page.
const PAGES: u64 = 0x20_0000;
/// Physical address of what the tests put there.
const FRAMES: u64 = 0x60_0000;
/// Where the page fault's handler lies, or that of another interrupt.
const HANDLER: u64 = 0x2_0000;
/// The page table of [`PAGES`].
const TABLE: u64 = 0x10_3000;

const SUPER: u64 = 3;
const ANYONE: u64 = 7;
const GLOBAL: u64 = 0x100;

/// 64-bit mode; what lies below [`PAGES`] is the kernel's.
fn machine(build: impl FnOnce(&mut CodeAssembler)) -> Bare {
    let mut bare = Bare::long(build);
    bare.write64(0x10_2000, 0x83);
    bare.write64(0x10_2008, TABLE | ANYONE);
    bare.write64(0x3004, STACK);
    bare.cpu.cr4 |= cr4::PGE | cr4::SMEP;
    bare.gate(14, 0x8e, 8, HANDLER);
    bare.write(
        HANDLER,
        &assemble(64, HANDLER, |a| {
            a.pop(rdx).unwrap();
            a.mov(rsi, cr2).unwrap();
            a.hlt().unwrap();
        }),
    );
    bare
}

/// Page `n` of [`PAGES`] is frame `frame`.
fn map(bare: &Bare, n: u64, frame: u64, flags: u64) {
    bare.write64(TABLE + 8 * n, FRAMES + 0x1000 * frame | flags);
}

fn put(bare: &Bare, at: u64, build: impl FnOnce(&mut CodeAssembler)) {
    bare.write(FRAMES + at, &assemble(64, PAGES + at, build));
}

fn call(a: &mut CodeAssembler, to: u64) {
    a.mov(rdi, to).unwrap();
    a.call(rdi).unwrap();
}

/// Goes on at CPL 3.
fn to_user(a: &mut CodeAssembler, at: u64) {
    for value in [32 | 3, PAGES + 0x1_0000, 2, 24 | 3, at] {
        a.mov(rax, value).unwrap();
        a.push(rax).unwrap();
    }
    a.iretq().unwrap();
}

fn increment(a: &mut CodeAssembler) {
    a.inc(rbx).unwrap();
    a.ret().unwrap();
}

#[test]
fn a_user_does_not_run_what_the_kernel_ran() {
    let mut bare = machine(|a| {
        for _ in 0..3 {
            call(a, PAGES);
        }
        to_user(a, PAGES + 0x1000);
    });
    map(&bare, 0, 0, SUPER);
    map(&bare, 1, 1, ANYONE);
    put(&bare, 0, increment);
    put(&bare, 0x1000, |a| {
        a.mov(rax, PAGES).unwrap();
        a.jmp(rax).unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 3);
    assert_eq!(
        (bare.cpu.gpr[RDX], bare.cpu.gpr[RSI]),
        (0x15, PAGES),
        "a fetch by the user from what is not his"
    );
}

#[test]
fn the_kernel_does_not_run_what_a_user_ran() {
    let mut bare = machine(|a| to_user(a, PAGES + 0x1000));
    for n in [0, 1, 15] {
        map(&bare, n, n, ANYONE);
    }
    put(&bare, 0, increment);
    put(&bare, 0x1000, |a| {
        for _ in 0..3 {
            call(a, PAGES);
        }
        a.int(0x40).unwrap();
    });
    bare.gate(0x40, 0xee, 8, CODE + 0x800);
    bare.write(CODE + 0x800, &assemble(64, CODE + 0x800, |a| call(a, PAGES)));
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 3);
    assert_eq!((bare.cpu.gpr[RDX], bare.cpu.gpr[RSI]), (0x11, PAGES), "a fetch by the kernel, against SMEP");
}

/// `mov eax, 11h` whose last three bytes lie on the next page, and a return.
fn crossing(bare: &Bare, frame: u64) {
    bare.write(FRAMES + 0x1000 * frame + 0xffe, &[0xb8, 0x11]);
}
fn rest(bare: &Bare, frame: u64, second: u8) {
    bare.write(FRAMES + 0x1000 * frame, &[second, 0, 0, 0xc3]);
}

#[test]
fn an_instruction_on_two_pages_is_seen_to_change_on_the_second() {
    let mut bare = machine(|a| {
        for _ in 0..3 {
            call(a, PAGES + 0xffe);
        }
        a.mov(rbx, rax).unwrap();
        a.mov(byte_ptr(FRAMES + 0x1000), 0x22).unwrap();
        call(a, PAGES + 0xffe);
        a.mov(rcx, rax).unwrap();
        a.mov(byte_ptr(FRAMES + 0xfff), 0x12).unwrap();
        call(a, PAGES + 0xffe);
        a.hlt().unwrap();
    });
    map(&bare, 0, 0, SUPER);
    map(&bare, 1, 1, SUPER);
    crossing(&bare, 0);
    rest(&bare, 1, 0);
    bare.halts();
    assert_eq!([RBX, RCX, RAX].map(|r| bare.cpu.gpr[r]), [0x11, 0x2211, 0x2212]);
}

#[test]
fn the_second_page_is_that_of_the_linear_address() {
    // Pages 0 and 16 are one frame; what follows them is not.
    let mut bare = machine(|a| {
        for _ in 0..2 {
            call(a, PAGES + 0xffe);
            a.mov(rbx, rax).unwrap();
            call(a, PAGES + 0x1_0ffe);
            a.mov(rcx, rax).unwrap();
        }
        a.mov(byte_ptr(FRAMES + 0x1000), 0x22).unwrap();
        call(a, PAGES + 0x1_0ffe);
        a.mov(rdx, rax).unwrap();
        call(a, PAGES + 0xffe);
        a.hlt().unwrap();
    });
    for (page, frame) in [(0, 0), (1, 1), (16, 0), (17, 2)] {
        map(&bare, page, frame, SUPER);
    }
    crossing(&bare, 0);
    rest(&bare, 1, 0);
    rest(&bare, 2, 0);
    bare.halts();
    assert_eq!([RBX, RCX, RDX, RAX].map(|r| bare.cpu.gpr[r]), [0x11, 0x11, 0x11, 0x2211]);
}

#[test]
fn what_is_no_instruction_for_its_second_page_is_one_when_that_changes() {
    // `lock mov [rax], ecx` is none; `lock add [rax], ecx` is. The opcode lies on the second page.
    let mut bare = machine(|a| {
        a.mov(rax, FRAMES + 0x1800).unwrap();
        a.mov(ecx, 5).unwrap();
        for _ in 0..3 {
            call(a, PAGES + 0xfff);
        }
        a.mov(byte_ptr(FRAMES + 0x1000), 0x01).unwrap();
        call(a, PAGES + 0xfff);
        a.hlt().unwrap();
    });
    // The handler counts, and goes back behind the call.
    bare.gate(6, 0x8e, 8, CODE + 0x800);
    bare.write(
        CODE + 0x800,
        &assemble(64, CODE + 0x800, |a| {
            a.inc(rbx).unwrap();
            a.mov(rsp, qword_ptr(rsp + 24)).unwrap();
            a.ret().unwrap();
        }),
    );
    map(&bare, 0, 0, SUPER);
    map(&bare, 1, 1, SUPER);
    bare.write(FRAMES + 0xfff, &[0xf0, 0x89, 0x08, 0xc3]);
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 3, "times it was none");
    assert_eq!(bare.read64(FRAMES + 0x1800), 5);
}

/// Calls `at`, maps page `page` to frame 2 and does `then`, calls again: what is in RBX, and then in RAX.
fn remapped(flags: u64, at: u64, page: u64, then: impl FnOnce(&mut CodeAssembler)) -> [u64; 2] {
    let mut bare = machine(|a| {
        for _ in 0..2 {
            call(a, PAGES + at);
            a.mov(rbx, rax).unwrap();
            // Global or not: what stays mapped is found again.
            a.mov(rcx, cr3).unwrap();
            a.mov(cr3, rcx).unwrap();
        }
        a.mov(rcx, FRAMES + 0x2000 | flags).unwrap();
        a.mov(qword_ptr(TABLE + 8 * page), rcx).unwrap();
        then(a);
        call(a, PAGES + at);
        a.hlt().unwrap();
    });
    map(&bare, 0, 0, flags);
    map(&bare, 1, 1, flags);
    crossing(&bare, 0);
    rest(&bare, 1, 0);
    bare.write(FRAMES, &[0xb8, 1, 0, 0, 0, 0xc3]);
    bare.write(FRAMES + 0x2000, &if page == 0 { [0xb8, 2, 0, 0, 0, 0xc3] } else { [0x33, 0, 0, 0xc3, 0, 0] });
    bare.halts();
    [bare.cpu.gpr[RBX], bare.cpu.gpr[RAX]]
}

#[test]
fn a_page_that_means_other_code_is_seen() {
    let reload = |a: &mut CodeAssembler| {
        a.mov(rcx, cr3).unwrap();
        a.mov(cr3, rcx).unwrap();
    };
    let drop = |page: u64| {
        move |a: &mut CodeAssembler| {
            a.mov(rcx, PAGES + 0x1000 * page).unwrap();
            a.invlpg(byte_ptr(rcx)).unwrap();
        }
    };
    let all = |a: &mut CodeAssembler| {
        a.mov(rcx, cr4).unwrap();
        a.btr(rcx, 7).unwrap();
        a.mov(cr4, rcx).unwrap();
    };
    assert_eq!(remapped(SUPER, 0, 0, reload), [1, 2]);
    assert_eq!(remapped(SUPER, 0xffe, 1, reload), [0x11, 0x3311]);
    for flags in [SUPER, SUPER | GLOBAL] {
        assert_eq!(remapped(flags, 0, 0, drop(0)), [1, 2]);
        assert_eq!(remapped(flags, 0xffe, 1, drop(1)), [0x11, 0x3311], "its second page");
        assert_eq!(remapped(flags, 0, 0, all), [1, 2]);
    }
}

#[test]
fn stamps_that_begin_anew_bring_nothing_back() {
    let mut bare = machine(|a| {
        for _ in 0..3 {
            call(a, PAGES);
        }
        a.hlt().unwrap();
    });
    map(&bare, 0, 0, SUPER);
    put(&bare, 0, increment);
    bare.halts();
    let before = bare.cpu.stamps;
    map(&bare, 0, 1, SUPER);
    put(&bare, 0x1000, |a| {
        a.add(rbx, 10).unwrap();
        a.ret().unwrap();
    });
    bare.cpu.stamps.wear_out();
    bare.cpu.flush_tlb(true);
    while bare.cpu.stamps.own != before.own && bare.cpu.stamps.global != before.own {
        bare.cpu.flush_tlb(false);
    }
    bare.cpu.gpr[IP] = CODE;
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 33);
}

#[test]
fn what_was_no_instruction_is_seen_to_become_one() {
    let mut bare = machine(|a| {
        a.mov(eax, 0x11).unwrap();
        call(a, PAGES);
        a.hlt().unwrap();
    });
    map(&bare, 0, 0, SUPER);
    // 0F 04 is nothing; the handler makes BSWAP EAX of it, whose first byte is the same.
    bare.write(FRAMES, &[0x0f, 0x04, 0xc3]);
    bare.gate(6, 0x8e, 8, CODE + 0x800);
    bare.write(
        CODE + 0x800,
        &assemble(64, CODE + 0x800, |a| {
            a.inc(rbx).unwrap();
            a.mov(byte_ptr(FRAMES + 1), 0xc8u32).unwrap();
            a.iretq().unwrap();
        }),
    );
    bare.halts();
    assert_eq!([RBX, RAX].map(|r| bare.cpu.gpr[r]), [1, 0x1100_0000]);
}
