//! System instructions: gates, tasks, debug registers, breakpoints, APIC, virtual-8086 mode.

use iced_x86::code_asm::*;

use super::*;
use crate::cpu::{RAX, RBX, RCX, RDX, RSI};
use crate::flags::bits as fl;

const HANDLER: u64 = 0x2_0000;

fn handler(bare: &Bare, bits: u32, build: impl FnOnce(&mut CodeAssembler)) {
    bare.write(HANDLER, &assemble(bits, HANDLER, build));
}

#[test]
fn a_single_step_traps_after_each_instruction() {
    let mut bare = Bare::long(|a| {
        a.pushfq().unwrap();
        a.or(qword_ptr(rsp), 0x100).unwrap();
        a.popfq().unwrap();
        a.inc(rbx).unwrap();
        a.inc(rbx).unwrap();
        a.hlt().unwrap();
    });
    bare.gate(1, 0x8e, 8, HANDLER);
    handler(&bare, 64, |a| {
        a.inc(rcx).unwrap();
        a.mov(rdx, dr6).unwrap();
        a.cmp(rcx, 2).unwrap();
        let mut more = a.create_label();
        a.jne(more).unwrap();
        a.and(qword_ptr(rsp + 16), -0x101).unwrap();
        a.set_label(&mut more).unwrap();
        a.iretq().unwrap();
    });
    bare.halts();
    assert_eq!((bare.cpu.gpr[RBX], bare.cpu.gpr[RCX]), (2, 2));
    assert_eq!(bare.cpu.gpr[RDX] & 0xf00f, 0x4000);
}

#[test]
fn a_data_breakpoint_traps_after_the_write_and_not_after_others() {
    let mut bare = Bare::long(|a| {
        a.mov(rax, 0x50_0010u64).unwrap();
        a.mov(dr0, rax).unwrap();
        a.mov(rax, 0xd_0001u64).unwrap(); // write, 4 bytes
        a.mov(dr7, rax).unwrap();
        a.mov(dword_ptr(0x50_0000), 1).unwrap();
        a.mov(ecx, dword_ptr(0x50_0010)).unwrap();
        a.mov(word_ptr(0x50_0012), 7).unwrap();
        a.mov(rsi, 1u64).unwrap();
        a.hlt().unwrap();
    });
    bare.gate(1, 0x8e, 8, HANDLER);
    handler(&bare, 64, |a| {
        a.inc(rbx).unwrap();
        a.mov(rdx, dr6).unwrap();
        a.mov(rdi, rsi).unwrap();
        a.iretq().unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 1);
    assert_eq!(bare.cpu.gpr[RDX] & 0xf, 1);
    assert_eq!(bare.cpu.gpr[crate::cpu::RDI], 0, "before the next instruction");
    assert_eq!(bare.cpu.gpr[RSI], 1);
    assert_eq!(bare.read32(0x50_0010), 7 << 16);
}

#[test]
fn an_instruction_breakpoint_faults_once() {
    let mut bare = Bare::long(|a| {
        let mut here = a.create_label();
        a.lea(rax, qword_ptr(here)).unwrap();
        a.mov(dr1, rax).unwrap();
        a.mov(eax, 4).unwrap();
        a.mov(dr7, rax).unwrap();
        a.set_label(&mut here).unwrap();
        a.inc(rsi).unwrap();
        a.hlt().unwrap();
    });
    bare.gate(1, 0x8e, 8, HANDLER);
    handler(&bare, 64, |a| {
        a.inc(rbx).unwrap();
        a.mov(rdx, dr6).unwrap();
        a.mov(rcx, rsi).unwrap();
        a.or(dword_ptr(rsp + 16), 0x1_0000).unwrap(); // RF
        a.iretq().unwrap();
    });
    bare.halts();
    assert_eq!((bare.cpu.gpr[RBX], bare.cpu.gpr[RCX], bare.cpu.gpr[RSI]), (1, 0, 1));
    assert_eq!(bare.cpu.gpr[RDX] & 0xf, 2);
}

#[test]
fn a_fault_while_delivering_a_fault_is_a_double_fault() {
    let mut bare = Bare::protected(|a| {
        a.mov(eax, 0x1234).unwrap();
        a.mov(ds, eax).unwrap(); // #GP, whose gate is not present: #NP
    });
    bare.gate(8, 0x8e, 8, HANDLER);
    handler(&bare, 32, |a| {
        a.pop(ebx).unwrap();
        a.mov(ecx, dword_ptr(esp)).unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 0);
    assert_eq!(bare.cpu.gpr[RCX], CODE + 5);
}

#[test]
fn error_codes_name_the_selector() {
    let mut bare = Bare::protected(|a| {
        a.mov(eax, 0x1234).unwrap();
        a.mov(ds, eax).unwrap();
    });
    bare.gate(13, 0x8e, 8, HANDLER);
    handler(&bare, 32, |a| {
        a.pop(ebx).unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 0x1234 & 0xfffc);
}

/// A 32-bit task segment with everything a task needs.
fn task(bare: &Bare, at: u64, ip: u64, top: u64, flags: u64) {
    let put = |offset: u64, v: u64| bare.write(at + offset, &(v as u32).to_le_bytes());
    put(0x20, ip);
    put(0x24, flags);
    put(0x38, top);
    for (n, s) in [16u64, 8, 16, 16, 16, 16].into_iter().enumerate() {
        put(0x48 + 4 * n as u64, s);
    }
    put(0x60, 0);
    put(0x64, 0x68 << 16);
}

#[test]
fn a_task_is_called_and_returns() {
    let mut bare = Bare::protected(|a| {
        a.mov(ebx, 5).unwrap();
        a.db(&[0x9a, 0, 0, 0, 0, 48, 0]).unwrap(); // call 48:0
        a.mov(ecx, ebx).unwrap();
        a.hlt().unwrap();
    });
    // Selector 48: task segment at 0x3800.
    bare.write64(0x1000 + 48, 0x0000_8900_3800_0067);
    task(&bare, 0x3800, HANDLER, 0x7000, 2);
    handler(&bare, 32, |a| {
        a.mov(ebx, 9).unwrap();
        a.pushfd().unwrap();
        a.iretd().unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], 5, "each task has its own registers");
    assert_eq!(bare.cpu.gpr[RCX], 5);
    assert_eq!(bare.cpu.tr.selector, 40);
    assert_eq!(bare.read32(0x3800) & 0xffff, 40, "link");
    assert_eq!(bare.read32(0x3800 + 0x34), 9, "EBX of the called task");
    assert_eq!(bare.read32(0x7000 - 4) & fl::NT as u32, fl::NT as u32);
    assert_eq!(bare.read64(0x1000 + 48) >> 40 & 0xf, 9, "not busy any more");
    assert_eq!(bare.read64(0x1000 + 40) >> 40 & 0xf, 11, "busy again");
    assert_ne!(bare.cpu.cr0 & cr0::TS, 0);
}

#[test]
fn a_double_fault_goes_through_a_task_gate() {
    let mut bare = Bare::protected(|a| {
        a.mov(esp, 0xffff_fff0u32).unwrap();
        a.ud2().unwrap();
    });
    bare.write64(0x1000 + 48, 0x0000_8900_3800_0067);
    task(&bare, 0x3800, HANDLER, 0x7000, 2);
    bare.gate(8, 0x85, 48, 0);
    handler(&bare, 32, |a| {
        a.pop(ebx).unwrap();
        a.mov(ecx, 77).unwrap();
        a.hlt().unwrap();
    });
    bare.write64(0x1000 + 40, 0x0000_8b00_3000_0067);
    // The gate of #UD is not present, that of #NP neither.
    bare.halts();
    assert_eq!((bare.cpu.gpr[RBX], bare.cpu.gpr[RCX]), (0, 77));
    assert_eq!(bare.read32(0x3000 + 0x20) as u64, CODE + 5, "EIP of the victim");
}

#[test]
fn a_call_gate_changes_stack_and_copies_parameters() {
    let mut bare = Bare::protected(|a| {
        // To CPL 3 by RETF.
        a.push(32 | 3).unwrap();
        a.push(0x9000).unwrap();
        a.push(24 | 3).unwrap();
        a.push(0x3_0000).unwrap();
        a.retf().unwrap();
    });
    bare.write(
        0x3_0000,
        &assemble(32, 0x3_0000, |a| {
            a.push(0x1111).unwrap();
            a.push(0x2222).unwrap();
            a.db(&[0x9a, 0, 0, 0, 0, 48, 0]).unwrap(); // call 48:0
            a.mov(edx, esp).unwrap();
            a.int3().unwrap();
        }),
    );
    // Call gate, DPL 3, two parameters, to 8:HANDLER.
    bare.write64(0x1000 + 48, HANDLER & 0xffff | 8 << 16 | 2 << 32 | 0xec << 40 | (HANDLER >> 16) << 48);
    bare.write(0x3004, &0x8000u32.to_le_bytes());
    bare.write(0x3008, &16u32.to_le_bytes());
    handler(&bare, 32, |a| {
        a.mov(eax, dword_ptr(esp + 8)).unwrap();
        a.mov(ebx, dword_ptr(esp + 12)).unwrap();
        a.mov(ecx, esp).unwrap();
        a.db(&[0xca, 8, 0]).unwrap(); // retf 8
    });
    bare.gate(3, 0xee, 8, 0x4_0000);
    bare.write(
        0x4_0000,
        &assemble(32, 0x4_0000, |a| {
            a.hlt().unwrap();
        }),
    );
    bare.halts();
    assert_eq!((bare.cpu.gpr[RAX], bare.cpu.gpr[RBX]), (0x2222, 0x1111));
    assert_eq!(bare.cpu.gpr[RCX], 0x8000 - 24);
    assert_eq!(bare.cpu.gpr[RDX], 0x9000, "parameters released on both stacks");
}

#[test]
fn virtual_8086_mode_traps_what_it_may_not_do() {
    let mut bare = Bare::protected(|a| {
        for v in [0x5000, 0x5000, 0x5000, 0x5000] {
            a.push(v).unwrap(); // gs fs ds es
        }
        a.push(0x6000).unwrap(); // ss
        a.push(0x100).unwrap(); // sp
        a.push(0x2_0002).unwrap(); // VM, IOPL 0
        a.push(0x3000).unwrap(); // cs
        a.push(0).unwrap();
        a.iretd().unwrap();
    });
    bare.write(
        0x3_0000,
        &assemble(16, 0, |a| {
            a.mov(ax, ds).unwrap();
            a.mov(byte_ptr(0x10), 0x42).unwrap();
            a.push(ax).unwrap();
            a.int(0x21).unwrap();
        }),
    );
    bare.write(0x3004, &0x8000u32.to_le_bytes());
    bare.write(0x3008, &16u32.to_le_bytes());
    bare.gate(13, 0x8e, 8, HANDLER);
    handler(&bare, 32, |a| {
        a.pop(edx).unwrap();
        a.mov(ebx, dword_ptr(esp + 8)).unwrap(); // flags
        a.mov(ecx, dword_ptr(esp + 32)).unwrap(); // fs
        a.mov(esi, ds).unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.gpr[RAX] & 0xffff, 0x5000);
    assert_eq!(bare.read64(0x5_0010) & 0xff, 0x42);
    assert_eq!(bare.read64(0x6_00fe) & 0xffff, 0x5000);
    assert_eq!(bare.cpu.gpr[RDX], 0);
    assert_eq!(bare.cpu.gpr[RBX] & fl::VM, fl::VM);
    assert_eq!(bare.cpu.gpr[RCX], 0x5000);
    assert_eq!(bare.cpu.gpr[RSI], 0);
}

#[test]
fn the_apic_timer_wakes_a_halted_processor_and_sti_holds_it_back_by_one() {
    let mut bare = Bare::long(|a| {
        a.mov(rbx, 0xfee0_0000u64).unwrap();
        a.mov(dword_ptr(rbx + 0xf0), 0x1ff).unwrap();
        a.mov(dword_ptr(rbx + 0x320), 0x40).unwrap();
        a.mov(dword_ptr(rbx + 0x3e0), 0xb).unwrap();
        a.mov(dword_ptr(rbx + 0x380), 20).unwrap();
        let mut wait = a.create_label();
        a.mov(ecx, 100).unwrap();
        a.set_label(&mut wait).unwrap();
        a.dec(ecx).unwrap();
        a.jne(wait).unwrap();
        a.sti().unwrap();
        a.inc(rsi).unwrap();
        a.inc(rsi).unwrap();
        a.hlt().unwrap();
    });
    // Map the APIC's page through the fourth GiB: one more table is needed.
    bare.write64(0x10_1018, 0x10_3007);
    bare.write64(0x10_3000 + 8 * 503, 0xfee0_0087);
    bare.gate(0x40, 0x8e, 8, HANDLER);
    handler(&bare, 64, |a| {
        a.mov(rdx, rsi).unwrap();
        a.mov(dword_ptr(rbx + 0xb0), 0).unwrap();
        a.iretq().unwrap();
    });
    let unit_timer = bare.shared.timers.clone();
    // The loop of a machine would fire the timer; here by hand.
    bare.run(60);
    let weak = bare.shared.clone();
    bare.shared.unit(0).timer = Some(unit_timer.timer(move || weak.timer_fired(0)));
    bare.shared.counter.as_ref().unwrap().set(bare.cpu.now());
    bare.shared.timer_fired(0);
    bare.halts();
    assert_eq!(bare.cpu.gpr[RDX], 1, "after the instruction behind STI");
    assert_eq!(bare.cpu.gpr[RSI], 2);
}

#[test]
fn smep_smap_and_write_protect() {
    // A user page at 8 MiB (all are), a supervisor page at 10 MiB.
    let mut bare = Bare::long(|a| {
        a.mov(rcx, cr4).unwrap();
        a.or(rcx, 0x30_0000).unwrap();
        a.mov(cr4, rcx).unwrap();
        a.stac().unwrap();
        a.mov(rax, qword_ptr(0x80_0000)).unwrap();
        a.clac().unwrap();
        a.inc(rsi).unwrap();
        a.mov(rax, qword_ptr(0x80_0000)).unwrap();
    });
    for n in 0..5 {
        if n != 4 {
            bare.write64(0x10_2000 + 8 * n, n << 21 | 0x83);
        }
    }
    bare.gate(14, 0x8e, 8, HANDLER);
    handler(&bare, 64, |a| {
        a.pop(rbx).unwrap();
        a.mov(rdx, cr2).unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!((bare.cpu.gpr[RSI], bare.cpu.gpr[RBX], bare.cpu.gpr[RDX]), (1, 1, 0x80_0000));
    // Execution of a user page by the kernel.
    bare.cpu.gpr[IP] = 0x80_0000;
    bare.halts();
    assert_eq!((bare.cpu.gpr[RBX], bare.cpu.gpr[RDX]), (0x11, 0x80_0000));
}

#[test]
fn invlpg_drops_every_piece_of_a_large_page() {
    let mut bare = Bare::long(|a| {
        a.mov(rax, qword_ptr(0x60_3000)).unwrap();
        a.mov(rbx, 0xa0_0087u64).unwrap();
        a.mov(qword_ptr(0x10_2018), rbx).unwrap();
        a.mov(rcx, qword_ptr(0x60_3000)).unwrap();
        a.invlpg(byte_ptr(0x60_0000)).unwrap();
        a.mov(rdx, qword_ptr(0x60_3000)).unwrap();
        a.hlt().unwrap();
    });
    bare.write64(0x60_3000, 1);
    bare.write64(0xa0_3000, 2);
    bare.halts();
    assert_eq!((bare.cpu.gpr[RAX], bare.cpu.gpr[RCX], bare.cpu.gpr[RDX]), (1, 1, 2));
}

#[test]
fn a_rep_outs_is_one_request_a_page() {
    let mut bare = Bare::protected(|a| {
        a.mov(esi, 0x5_0ff0).unwrap();
        a.mov(ecx, 16).unwrap();
        a.mov(edx, 0x1f0).unwrap();
        a.cld().unwrap();
        a.rep().outsw().unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    let log: Vec<_> = bare.log.lock().unwrap().iter().map(|r| (r.data, r.count)).collect();
    use ioreq::Data::Guest;
    assert_eq!(log, [(Guest(0x5_0ff0), 8), (Guest(0x5_1000), 8)]);
    assert_eq!((bare.cpu.gpr[RCX], bare.cpu.gpr[RSI]), (0, 0x5_1010));
}

/// A guest's REP, however long, is time that passes: the budget ends it, wherever its items lie.
#[test]
fn a_repeated_instruction_ends_with_its_budget() {
    type Build = fn(&mut CodeAssembler);
    let kinds: [(&str, Build); 6] = [
        ("items by themselves", |a| a.rep().lodsb().unwrap()),
        ("stretches of memory", |a| a.rep().stosb().unwrap()),
        ("no memory", |a| {
            a.mov(rdi, 0x3000_0000u64).unwrap();
            a.rep().stosq().unwrap();
        }),
        ("downwards", |a| {
            a.std().unwrap();
            a.mov(rdi, 0x3fff_0000u64).unwrap();
            a.rep().stosb().unwrap();
        }),
        ("a port", |a| {
            a.mov(edx, 0x80).unwrap();
            a.rep().outsb().unwrap();
        }),
        ("a port, item by item", |a| {
            a.std().unwrap();
            a.mov(edx, 0x80).unwrap();
            a.rep().insb().unwrap();
        }),
    ];
    for (what, build) in kinds {
        let mut bare = Bare::long(|a| {
            a.mov(esi, 0x50_0000).unwrap();
            a.mov(edi, 0xff_0000).unwrap();
            // Fewer than there are addresses mapped.
            a.mov(rcx, 0x2_0000_0000u64).unwrap();
            build(a);
            a.hlt().unwrap();
        });
        // All of the 512 GiB: every GiB the first one again.
        for n in 0..512 {
            bare.write64(0x10_1000 + 8 * n, 0x10_2007);
        }
        for budget in [10, 5000] {
            let before = bare.cpu.icount;
            assert_eq!(bare.run(budget), Leave::Count, "{what}");
            assert!(bare.cpu.icount - before <= budget + 1100, "{what}: {}", bare.cpu.icount - before);
        }
        assert!((1..0x2_0000_0000).contains(&bare.cpu.gpr[RCX]), "{what}: it has begun and goes on");
    }
}

#[test]
fn segment_limits_hold() {
    let mut bare = Bare::protected(|a| {
        a.mov(eax, 48).unwrap();
        a.mov(fs, eax).unwrap();
        a.mov(byte_ptr(0xfff).fs(), 1).unwrap();
        a.inc(esi).unwrap();
        a.mov(word_ptr(0xfff).fs(), 2).unwrap();
    });
    // 4 KiB of data at 0x5_0000, byte granular.
    bare.write64(0x1000 + 48, 0x0040_9305_0000_0fff);
    bare.gate(13, 0x8e, 8, HANDLER);
    handler(&bare, 32, |a| {
        a.pop(ebx).unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!((bare.cpu.gpr[RSI], bare.cpu.gpr[RBX]), (1, 0));
    assert_eq!(bare.read64(0x5_0fff) & 0xffff, 1);
}
