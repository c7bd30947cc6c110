//! Debug traps, NMIs and the flags around them, as AMD's processors have them.

use iced_x86::code_asm::*;

use super::*;
use crate::cpu::{RAX, RBX, RCX, RDI, RDX, RSI};
use crate::flags::bits as fl;
use crate::machine::attention;

const HANDLER: u64 = 0x2_0000;
/// A second handler.
const OTHER: u64 = 0x3_0000;

fn at(bare: &Bare, address: u64, build: impl FnOnce(&mut CodeAssembler)) {
    bare.write(address, &assemble(64, address, build));
}

/// #DB counts in RBX and keeps DR6 in RDX.
fn count_traps(bare: &Bare) {
    bare.gate(1, 0x8e, 8, HANDLER);
    at(bare, HANDLER, |a| {
        a.inc(rbx).unwrap();
        a.mov(rdx, dr6).unwrap();
        a.iretq().unwrap();
    });
}

/// Sets TF in 64-bit code.
fn step(a: &mut CodeAssembler) {
    a.pushfq().unwrap();
    a.or(qword_ptr(rsp), 0x100).unwrap();
    a.popfq().unwrap();
}

#[test]
fn a_software_interrupt_is_not_stepped_into() {
    for instruction in [&[0xcdu8, 0x30][..], &[0xcc], &[0xf1]] {
        let mut bare = Bare::long(|a| {
            step(a);
            a.db(instruction).unwrap();
            a.hlt().unwrap();
        });
        count_traps(&bare);
        for vector in [3, 0x30] {
            bare.gate(vector, 0x8e, 8, OTHER);
        }
        at(&bare, OTHER, |a| {
            a.mov(rsi, qword_ptr(rsp + 16)).unwrap();
            a.hlt().unwrap();
        });
        if instruction == [0xf1] {
            bare.gate(1, 0x8e, 8, OTHER);
        }
        bare.halts();
        assert_eq!(bare.cpu.gpr[RBX], 0, "{instruction:x?}: no trap at the handler's first instruction");
        assert_eq!(bare.cpu.gpr[RSI] & (fl::TF | fl::RF), fl::TF, "{instruction:x?}");
    }
}

#[test]
fn virtual_8086_interrupts_are_not_stepped_into_either() {
    let mut bare = Bare::real(|a| {
        a.pushf().unwrap();
        a.pop(ax).unwrap();
        a.or(ax, 0x100).unwrap();
        a.push(ax).unwrap();
        a.popf().unwrap();
        a.int(0x30).unwrap();
    });
    bare.write(4, &[0, 0, 0x00, 0x30]);
    bare.write(4 * 0x30, &[0, 0, 0x00, 0x20]);
    bare.write(HANDLER, &[0x43, 0xf4]); // inc bx; hlt
    bare.write(OTHER, &[0x41, 0xf4]); // inc cx; hlt
    bare.halts();
    assert_eq!((bare.cpu.gpr[RBX], bare.cpu.gpr[RCX]), (1, 0));
}

#[test]
fn icebp_brings_what_mov_ss_held_back() {
    let mut bare = Bare::long(|a| {
        a.mov(rax, 0x50_0010u64).unwrap();
        a.mov(dr0, rax).unwrap();
        a.mov(rax, 0xf_2001u64).unwrap(); // reads and writes, 4 bytes; general detect
        a.mov(word_ptr(0x50_0010), 16).unwrap();
        a.mov(dr7, rax).unwrap();
        a.mov(ss, word_ptr(0x50_0010)).unwrap();
        a.db(&[0xf1]).unwrap();
        a.hlt().unwrap();
    });
    count_traps(&bare);
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 1, "one #DB");
    assert_eq!(bare.cpu.gpr[RDX] & 0xf, 1);
    assert_eq!(bare.cpu.dr[5] >> 13 & 1, 0, "the handler may use the debug registers");
}

/// From CPL 3 at 0x4_0000 with `flags`, SYSCALL to OTHER with `mask`, SYSRET to behind it with R11 as `back`.
fn syscall(flags: u64, mask: u64, back: u64) -> Bare {
    let mut bare = Bare::long(|a| {
        a.mov(r11, flags).unwrap();
        a.mov(rcx, 0x4_0000u64).unwrap();
        a.sysretq().unwrap();
    });
    count_traps(&bare);
    at(&bare, OTHER, |a| {
        a.inc(rsi).unwrap();
        a.mov(r11, back).unwrap();
        a.sysretq().unwrap();
    });
    at(&bare, 0x4_0000, |a| {
        a.nop().unwrap();
        a.syscall().unwrap();
        a.inc(rdi).unwrap();
        a.inc(rdi).unwrap();
        a.ud2().unwrap();
    });
    bare.gate(6, 0x8e, 8, 0x5_0000);
    at(&bare, 0x5_0000, |a| {
        a.hlt().unwrap();
    });
    bare.write64(0x3004, 0x9000);
    // SYSCALL: 8 and 16. SYSRET: data at 48, code at 56.
    bare.write64(0x1000 + 48, 0x00cf_f300_0000_ffff);
    bare.write64(0x1000 + 56, 0x00af_fb00_0000_ffff);
    bare.cpu.msr.star = 40 << 48 | 8 << 32;
    bare.cpu.msr.lstar = OTHER;
    bare.cpu.msr.sfmask = mask;
    bare.halts();
    bare
}

#[test]
fn syscall_and_sysret_step_by_the_flags_they_load() {
    // Stepped up to SYSCALL, which clears TF: NOP traps, SYSCALL does not.
    let bare = syscall(0x102, 0x100, 2);
    // The SYSRET that began it traps at once too: at 0x4_0000, then after the NOP.
    assert_eq!(bare.cpu.gpr[RBX], 2);
    assert_eq!((bare.cpu.gpr[RSI], bare.cpu.gpr[RDI]), (1, 2));
    // Not cleared: the trap is at the first instruction of the kernel, and its own go on being stepped.
    let bare = syscall(0x102, 0, 2);
    assert!(bare.cpu.gpr[RBX] > 3);
    // SYSRET with TF in R11 traps before the next instruction of the program.
    let bare = syscall(2, 0x100, 0x102);
    assert_eq!(bare.cpu.gpr[RDI], 2);
    assert_eq!(bare.cpu.gpr[RBX], 3, "after SYSRET and after two instructions");
}

#[test]
fn rf_lasts_for_one_instruction() {
    // IRET sets RF; with no breakpoint armed it is clear again after one instruction.
    let mut bare = Bare::long(|a| {
        a.mov(rax, rsp).unwrap();
        a.push(16).unwrap();
        a.push(rax).unwrap();
        a.push(0x1_0002).unwrap();
        a.push(8).unwrap();
        let mut on = a.create_label();
        a.lea(rax, qword_ptr(on)).unwrap();
        a.push(rax).unwrap();
        a.iretq().unwrap();
        a.set_label(&mut on).unwrap();
        a.nop().unwrap();
        a.int(0x30).unwrap();
    });
    bare.gate(0x30, 0x8e, 8, OTHER);
    at(&bare, OTHER, |a| {
        a.hlt().unwrap();
    });
    bare.run(8);
    assert_eq!(bare.cpu.eflags() & fl::RF, fl::RF, "rip {:#x}", bare.cpu.gpr[IP]);
    bare.run(1);
    assert_eq!(bare.cpu.eflags() & fl::RF, 0);
    bare.halts();
    assert_eq!(bare.read64(bare.cpu.gpr[RSP] + 16) & fl::RF, 0);
    // A fault sets it in what it saves, #DB by an instruction breakpoint does not.
    bare.gate(6, 0x8e, 8, OTHER);
    bare.gate(1, 0x8e, 8, OTHER);
    bare.write(CODE, &[0x0f, 0x0b]);
    bare.cpu.gpr[IP] = CODE;
    bare.halts();
    assert_eq!(bare.read64(bare.cpu.gpr[RSP] + 16) & fl::RF, fl::RF);
    bare.cpu.dr[0] = CODE;
    bare.cpu.dr[5] |= 1;
    bare.cpu.debug_changed();
    bare.cpu.gpr[IP] = CODE;
    bare.halts();
    assert_eq!(bare.cpu.dr[4] & 0xf, 1);
    assert_eq!(bare.read64(bare.cpu.gpr[RSP] + 16) & fl::RF, 0);
}

#[test]
fn a_watched_write_does_not_set_rf() {
    let mut bare = Bare::long(|a| {
        a.mov(dword_ptr(0x50_0010), 1).unwrap();
        a.hlt().unwrap();
    });
    bare.cpu.dr[0] = 0x50_0010;
    bare.cpu.dr[5] |= 0xd_0001;
    bare.cpu.debug_changed();
    bare.gate(1, 0x8e, 8, OTHER);
    at(&bare, OTHER, |a| {
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.dr[4] & 0xf, 1);
    assert_eq!(bare.read64(bare.cpu.gpr[RSP] + 16) & fl::RF, 0, "it is a trap");
}

#[test]
fn each_item_of_a_repeated_instruction_is_a_step() {
    let mut bare = Bare::long(|a| {
        a.mov(rdi, 0x50_0000u64).unwrap();
        a.mov(ecx, 3).unwrap();
        step(a);
        a.rep().stosb().unwrap();
        a.hlt().unwrap();
    });
    bare.gate(1, 0x8e, 8, HANDLER);
    at(&bare, HANDLER, |a| {
        a.inc(rbx).unwrap();
        // The last one goes on without TF.
        let mut more = a.create_label();
        a.cmp(rbx, 3).unwrap();
        a.jne(more).unwrap();
        a.and(dword_ptr(rsp + 16), !0x100).unwrap();
        a.set_label(&mut more).unwrap();
        a.iretq().unwrap();
    });
    bare.halts();
    assert_eq!((bare.cpu.gpr[RBX], bare.cpu.gpr[RCX]), (3, 0));
}

#[test]
fn a_breakpoint_behind_mov_ss_is_taken() {
    let mut bare = Bare::long(|a| {
        a.mov(eax, 16).unwrap();
        a.mov(ss, eax).unwrap();
        a.inc(rsi).unwrap();
        a.hlt().unwrap();
    });
    bare.gate(1, 0x8e, 8, OTHER);
    at(&bare, OTHER, |a| {
        a.hlt().unwrap();
    });
    bare.cpu.dr[0] = CODE + 7;
    bare.cpu.dr[5] |= 1;
    bare.cpu.debug_changed();
    bare.halts();
    assert_eq!((bare.cpu.gpr[RSI], bare.cpu.dr[4] & 1), (0, 1));
    assert_eq!(bare.read64(bare.cpu.gpr[RSP]), CODE + 7);
}

#[test]
fn of_loads_of_ss_in_a_row_the_first_alone_holds_anything_back() {
    let mut bare = Bare::long(|a| {
        a.mov(eax, 16).unwrap();
        for _ in 0..200 {
            a.mov(ss, eax).unwrap();
        }
        a.hlt().unwrap();
    });
    let before = bare.cpu.icount;
    bare.run(10);
    let ran = bare.cpu.icount - before;
    assert!(ran < 20, "{ran} instructions without a look at what is outside");
}

#[test]
fn a_second_nmi_comes_with_iret_and_before_interrupts() {
    let mut bare = Bare::long(|a| {
        a.nop().unwrap();
        a.hlt().unwrap();
    });
    bare.gate(2, 0x8e, 8, HANDLER);
    at(&bare, HANDLER, |a| {
        a.inc(rbx).unwrap();
        a.pause().unwrap();
        a.iretq().unwrap();
    });
    bare.gate(0x50, 0x8e, 8, OTHER);
    at(&bare, OTHER, |a| {
        a.mov(rdx, rbx).unwrap();
        a.hlt().unwrap();
    });
    let nmi = |bare: &Bare| {
        bare.shared.unit(0).nmi = true;
        bare.shared.tell(0, attention::IRQ);
    };
    nmi(&bare);
    bare.run(1);
    assert_eq!(bare.cpu.gpr[RBX], 1);
    // Inside the first one's handler, IF clear: one waits.
    nmi(&bare);
    bare.run(1);
    assert_eq!(bare.cpu.gpr[RBX], 1, "blocked until IRET");
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 2, "taken after IRET with IF clear");
    // With an interrupt waiting too, the NMI is first.
    bare.cpu.gpr[IP] = CODE;
    bare.cpu.flags |= fl::IF;
    bare.cpu.flags_changed();
    nmi(&bare);
    bare.run(1);
    nmi(&bare);
    let mut unit = bare.shared.unit(0);
    unit.apic.write(crate::apic::spec::SVR, 0x1ff, 0);
    unit.apic.accept(0x50, false);
    drop(unit);
    bare.shared.tell(0, attention::IRQ);
    bare.halts();
    assert_eq!(bare.cpu.gpr[RDX], 4, "both NMIs before the interrupt");
}

/// A machine that is paused and resumed while its vCPU is halted: it runs again, and nothing asks for its attention.
#[test]
fn a_halted_processor_stays_halted_when_it_is_run_again() {
    let mut bare = Bare::long(|a| {
        a.hlt().unwrap();
        a.inc(rbx).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(bare.run(10), Leave::Halted);
    assert_eq!(bare.shared.vcpus[0].attention.load(std::sync::atomic::Ordering::Acquire), 0);
    assert_eq!(bare.run(10), Leave::Halted);
    assert_eq!(bare.cpu.gpr[RBX], 0, "it ran on behind HLT");
}

#[test]
fn sysenter_is_none_in_long_mode_and_sysret_goes_anywhere() {
    let mut bare = Bare::long(|a| {
        a.sysenter().unwrap();
    });
    bare.cpu.msr.sysenter_cs = 8;
    bare.cpu.msr.sysenter_eip = OTHER;
    bare.gate(6, 0x8e, 8, HANDLER);
    bare.gate(13, 0x8e, 8, HANDLER);
    at(&bare, HANDLER, |a| {
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!(bare.read64(bare.cpu.gpr[RSP]), CODE, "#UD");
    // SYSRET to an address that is not canonical: #GP of the program, on the kernel's stack.
    bare.write64(0x3004, 0x9000);
    bare.write(CODE, &[0x48, 0x0f, 0x07]);
    bare.cpu.msr.star = 8 << 48;
    bare.cpu.gpr[RCX] = 1 << 47;
    bare.cpu.gpr[IP] = CODE;
    bare.halts();
    assert_eq!(bare.read64(bare.cpu.gpr[RSP] + 8), 1 << 47);
    assert_eq!(bare.read64(bare.cpu.gpr[RSP] + 16) & 3, 3);
    assert_eq!((bare.cpu.gpr[RAX], bare.cpu.gpr[RDI]), (0, 0));
}
