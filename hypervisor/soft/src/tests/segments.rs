//! Segment loads, stacks and encodings, as AMD's processors have them.

use iced_x86::code_asm::*;

use super::*;
use crate::cpu::{RAX, RBP, RBX, RCX};
use crate::flags::bits as fl;

const HANDLER: u64 = 0x2_0000;

#[test]
fn a_null_selector_leaves_the_base_of_fs_and_gs() {
    let mut bare = Bare::long(|a| {
        a.xor(eax, eax).unwrap();
        a.mov(fs, eax).unwrap();
        a.push(32 | 3).unwrap();
        a.push(0x9000).unwrap();
        a.push(0x202).unwrap();
        a.push(24 | 3).unwrap();
        a.push(0x4_0000).unwrap();
        a.iretq().unwrap();
    });
    bare.write(
        0x4_0000,
        &assemble(64, 0x4_0000, |a| {
            a.mov(eax, dword_ptr(0x10).fs()).unwrap();
            a.mov(ecx, dword_ptr(0x10).gs()).unwrap();
            a.ud2().unwrap();
        }),
    );
    // GS of the kernel alone: an inner segment, which the return makes null.
    bare.cpu.seg[seg::FS].base = 0x50_0000;
    bare.cpu.seg[seg::GS].base = 0x60_0000;
    bare.write64(0x50_0010, 5);
    bare.write64(0x60_0010, 6);
    bare.write64(0x3004, 0x8000);
    bare.gate(6, 0x8e, 8, HANDLER);
    bare.write(HANDLER, &[0xf4]);
    bare.halts();
    assert_eq!((bare.cpu.gpr[RAX], bare.cpu.gpr[RCX]), (5, 6));
    assert_eq!((bare.cpu.seg[seg::FS].selector, bare.cpu.seg[seg::GS].selector), (0, 0));
}

#[test]
fn a_null_stack_of_64_bit_code_is_none_in_compatibility_mode() {
    const TARGET: u64 = 0x4_0000;
    let mut bare = Bare::long(|a| {
        a.xor(eax, eax).unwrap();
        a.mov(ss, eax).unwrap();
        a.push(rax).unwrap();
        a.pop(rcx).unwrap();
        a.push(48).unwrap();
        a.push(TARGET as i32).unwrap();
        a.db(&[0x48, 0xcb]).unwrap(); // retfq
    });
    bare.write64(0x1000 + 48, 0x00cf_9b00_0000_ffff);
    bare.write(TARGET, &[0x50, 0x0f, 0x0b]); // push eax; ud2
    for vector in [6, 12] {
        bare.gate(vector, 0x8e, 8, HANDLER);
    }
    bare.write(HANDLER, &[0x5b, 0x59, 0xf4]); // pop rbx; pop rcx; hlt
    bare.halts();
    assert_eq!((bare.cpu.gpr[RBX], bare.cpu.gpr[RCX]), (0, TARGET), "#SS(0) at the push");
}

#[test]
fn tables_with_a_base_that_is_not_canonical_are_refused() {
    for (instruction, kind) in [(&[0x0f, 0x00, 0xd0][..], 0x82u64), (&[0x0f, 0x00, 0xd8], 0x89)] {
        let mut bare = Bare::long(|a| {
            a.mov(eax, 48).unwrap();
            a.db(instruction).unwrap();
            a.hlt().unwrap();
        });
        bare.write64(0x1000 + 48, 0x67 | kind << 40);
        bare.write64(0x1000 + 56, 0x8000);
        bare.gate(13, 0x8e, 8, HANDLER);
        bare.write(HANDLER, &[0x5b, 0xf4]); // pop rbx; hlt
        bare.halts();
        assert_eq!(bare.cpu.gpr[RBX], 48);
        assert_eq!(bare.read64(0x1000 + 48) >> 40 & 0xff, kind, "not busy");
        // With a canonical one it is taken.
        bare.write64(0x1000 + 56, 0xffff_8000);
        bare.cpu.gpr[IP] = CODE;
        bare.cpu.gpr[RBX] = 0;
        bare.halts();
        assert_eq!(bare.cpu.gpr[RBX], 0);
    }
}

#[test]
fn arpl_writes_only_what_it_raises() {
    let mut bare = Bare::protected(|a| {
        a.mov(ecx, 1).unwrap();
        a.mov(eax, 48).unwrap();
        a.mov(fs, eax).unwrap();
        a.arpl(word_ptr(0).fs(), cx).unwrap();
        a.pushfd().unwrap();
        a.pop(ebx).unwrap();
        a.inc(ecx).unwrap();
        a.inc(ecx).unwrap();
        a.arpl(word_ptr(0).fs(), cx).unwrap();
        a.hlt().unwrap();
    });
    // Read-only data with RPL 2 in it.
    bare.write64(0x1000 + 48, 0x0040_9105_0000_0fff);
    bare.write64(0x5_0000, 0x1002);
    bare.gate(13, 0x8e, 8, HANDLER);
    bare.write(HANDLER, &[0xf4]);
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX] & fl::ZF, 0);
    assert_eq!(bare.cpu.gpr[RCX], 3);
    assert_eq!(bare.read64(0x5_0000), 0x1002);
    assert_eq!(bare.read32(bare.cpu.gpr[RSP]), 0, "one that would have to write faults");
}

#[test]
fn enter_keeps_the_whole_frame_pointer() {
    // A 16-bit stack: SP alone moves, but EBP gets all of ESP.
    let mut bare = Bare::real(|a| {
        a.mov(esp, 0x1234_8000u32).unwrap();
        a.db(&[0x66, 0xc8, 0x10, 0, 0]).unwrap(); // enterd 16, 0
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBP], 0x1234_7ffc);
    assert_eq!(bare.cpu.gpr[RSP], 0x1234_7fec);
}

#[test]
fn salc_is_carry_all_over_al() {
    let mut bare = Bare::real(|a| {
        a.mov(ax, 0x1200).unwrap();
        a.stc().unwrap();
        a.db(&[0xd6]).unwrap();
        a.mov(bx, ax).unwrap();
        a.clc().unwrap();
        a.db(&[0xd6]).unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    assert_eq!((bare.cpu.gpr[RBX] & 0xffff, bare.cpu.gpr[RAX] & 0xffff), (0x12ff, 0x1200));
    let mut bare = Bare::long(|a| {
        a.db(&[0xd6]).unwrap();
    });
    bare.gate(6, 0x8e, 8, HANDLER);
    bare.write(HANDLER, &[0x5b, 0xf4]);
    bare.halts();
    assert_eq!(bare.cpu.gpr[RBX], CODE, "none in 64-bit code");
}

#[test]
fn registers_that_cpuid_lacks_and_reserved_values_are_refused() {
    // SPEC_CTRL, PRED_CMD, the status of a machine-check bank; that of a bank can be cleared.
    for (n, v, good) in
        [(0x48u32, 0u64, false), (0x49, 1, false), (0x401, 1, false), (0x401, 0, true), (0x400, 7, true)]
    {
        let mut bare = Bare::long(|a| {
            a.mov(ecx, n).unwrap();
            a.mov(eax, v as u32).unwrap();
            a.xor(edx, edx).unwrap();
            a.wrmsr().unwrap();
            a.mov(ebx, 1).unwrap();
            a.hlt().unwrap();
        });
        bare.gate(13, 0x8e, 8, HANDLER);
        bare.write(HANDLER, &[0xf4]);
        bare.halts();
        assert_eq!(bare.cpu.gpr[RBX] == 1, good, "{n:#x} {v}");
    }
}

#[test]
fn branches_with_a_16_bit_operand_are_cut_in_64_bit_code() {
    // 66 E9 rel16, 66 E8 rel16, 66 C3: all within the first 64 KiB.
    let mut bare = Bare::long(|_| {});
    bare.write(0xf000, &[0x66, 0xe9, 0x0c, 0x10]); // to 0x1_0010, cut: 0x10
    bare.write(0x10, &[0x66, 0xe8, 0x02, 0x00, 0xff, 0xc0, 0xff, 0xc3, 0x66, 0xc3]); // call 0x16; (inc eax); inc ebx; ret
    bare.write(0x14, &[0xff, 0xc0, 0xff, 0xc3, 0x66, 0xc3]);
    bare.cpu.gpr[IP] = 0xf000;
    bare.run(2);
    assert_eq!(bare.cpu.gpr[IP], 0x16);
    assert_eq!(bare.cpu.gpr[RSP], STACK - 2);
    assert_eq!(bare.read64(STACK - 2) & 0xffff, 0x14);
    bare.run(2);
    assert_eq!((bare.cpu.gpr[IP], bare.cpu.gpr[RSP], bare.cpu.gpr[RBX]), (0x14, STACK, 1));
    // 66 74 rel8 behind a comparison, taken and not.
    bare.write(0xf000, &[0x39, 0xc0, 0x66, 0x74, 0x10]);
    bare.cpu.gpr[IP] = 0xf000;
    bare.run(2);
    assert_eq!(bare.cpu.gpr[IP], 0xf015);
    // There is no far pointer of 64 bits: REX.W is ignored.
    bare.write(CODE, &[0x48, 0xff, 0x2c, 0x25, 0, 0, 0x50, 0]);
    bare.write(0x50_0000, &[0, 0, 2, 0, 8, 0, 1, 1, 1, 1]);
    bare.cpu.gpr[IP] = CODE;
    bare.run(1);
    assert_eq!(bare.cpu.gpr[IP], HANDLER);
}
