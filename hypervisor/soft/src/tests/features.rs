//! System features that a model may have: what they do, and that they are not there without being announced.

use std::sync::Arc;

use iced_x86::code_asm::*;

use super::Bare;
use crate::cpu::{IP, RAX, RCX, RDX, attr, seg};
use crate::exec::Leave;
use crate::model::CpuModel;
use crate::system::bits::{cr0, cr4};

/// 64-bit code on a processor that has everything, or what `cpu` says.
fn long(cpu: &str, code: impl FnOnce(&mut CodeAssembler)) -> Bare {
    let mut bare = Bare::long(code);
    bare.cpu.set_model(Arc::new(CpuModel::parse(cpu).unwrap().0));
    bare
}

/// Runs into an exception and gives its vector: no gate is there to take it.
fn vector(bare: &mut Bare) -> u8 {
    for vector in 0..32 {
        bare.gate(vector, 0x8e, 8, 0x4000 + vector);
    }
    bare.write(0x4000, &[0xf4; 64]);
    assert_eq!(bare.run(20), Leave::Halted);
    (bare.cpu.gpr[IP] - 0x4001) as u8
}

#[test]
fn segment_bases_are_read_and_written_when_cr4_allows_it() {
    let code = |a: &mut CodeAssembler| {
        a.wrgsbase(rax).unwrap();
        a.wrfsbase(eax).unwrap();
        a.rdgsbase(rcx).unwrap();
        a.rdfsbase(edx).unwrap();
        a.hlt().unwrap();
    };
    let mut bare = long("max", code);
    bare.cpu.cr4 |= cr4::FSGSBASE;
    bare.cpu.gpr[RAX] = 0xffff_8000_1234_5678;
    bare.halts();
    assert_eq!((bare.cpu.gpr[RCX], bare.cpu.gpr[RDX]), (0xffff_8000_1234_5678, 0x1234_5678));
    assert_eq!(bare.cpu.seg[seg::FS].base, 0x1234_5678);
    let mut bare = long("max", code);
    bare.cpu.cr4 |= cr4::FSGSBASE;
    bare.cpu.gpr[RAX] = 1 << 60;
    assert_eq!(vector(&mut bare), 13, "not canonical");
    assert_eq!(vector(&mut long("max", code)), 6, "CR4 says no");
    let mut bare = long("max,-fsgsbase", code);
    bare.cpu.cr4 |= cr4::FSGSBASE;
    assert_eq!(vector(&mut bare), 6, "not announced");
}

#[test]
fn control_bits_go_with_their_features() {
    let set = |cpu: &str, bit: u64| {
        let mut bare = long(cpu, |a| {
            a.mov(cr4, rax).unwrap();
            a.hlt().unwrap();
        });
        bare.cpu.gpr[RAX] = bare.cpu.cr4 | bit;
        if vector(&mut bare) == 13 { Err(13) } else { Ok(()) }
    };
    for (bit, name) in [
        (cr4::SMEP, "smep"),
        (cr4::SMAP, "smap"),
        (cr4::UMIP, "umip"),
        (cr4::FSGSBASE, "fsgsbase"),
        (cr4::PCIDE, "pcid"),
        (cr4::OSXSAVE, "xsave"),
    ] {
        assert_eq!(set(&format!("max,-{name}"), bit), Err(13), "{name}");
    }
    assert_eq!(set("soft64", cr4::UMIP), Err(13), "the default is what it was");
}

#[test]
fn user_mode_does_not_see_the_systems_registers_under_umip() {
    for (bit, hidden) in [(0, false), (cr4::UMIP, true)] {
        for which in 0..5 {
            let mut bare = long("max", |a| {
                match which {
                    0 => a.sgdt(ptr(rsp)).unwrap(),
                    1 => a.sidt(ptr(rsp)).unwrap(),
                    2 => a.sldt(eax).unwrap(),
                    3 => a.str(eax).unwrap(),
                    _ => a.smsw(eax).unwrap(),
                }
                a.hlt().unwrap();
            });
            bare.cpu.cr4 |= bit;
            bare.write64(0x3004, super::STACK);
            let mut user = bare.cpu.seg[seg::CS];
            (user.selector, user.attr) = (27, user.attr | 3 << crate::cpu::attr::DPL);
            bare.cpu.set_cs(user, 3);
            let mut stack = bare.cpu.seg[seg::SS];
            (stack.selector, stack.attr) = (35, stack.attr | 3 << crate::cpu::attr::DPL);
            bare.cpu.set_seg(seg::SS, stack);
            let at = bare.cpu.gpr[IP];
            assert_eq!(vector(&mut bare), 13, "HLT of user mode at the latest");
            let faulted = bare.read64(super::STACK - 40);
            assert_eq!(faulted == at, hidden, "instruction {which}, CR4 bit {bit:#x}");
        }
    }
}

#[test]
fn identifiers_of_address_spaces_begin_with_none_and_end_before_paging() {
    let code = |a: &mut CodeAssembler| {
        a.mov(cr4, rax).unwrap();
        a.mov(cr3, rcx).unwrap();
        a.mov(rdx, cr3).unwrap();
        a.hlt().unwrap();
    };
    let begin = |low: u64| {
        let mut bare = long("max", code);
        bare.cpu.cr3 |= low;
        bare.cpu.gpr[RAX] = bare.cpu.cr4 | cr4::PCIDE;
        bare.cpu.gpr[RCX] = 1 << 63 | 0x10_0007;
        bare
    };
    let mut bare = begin(0);
    bare.halts();
    assert_eq!(bare.cpu.gpr[RDX], 0x10_0007, "bit 63 is no part of it");
    assert_eq!(vector(&mut begin(0x18)), 13, "CR3's low bits are not clear");
    let mut bare = long("max", |a| {
        a.mov(cr0, rax).unwrap();
        a.hlt().unwrap();
    });
    bare.cpu.cr4 |= cr4::PCIDE;
    bare.cpu.gpr[RAX] = bare.cpu.cr0 & !cr0::PG;
    assert_eq!(vector(&mut bare), 13);
}

#[test]
fn invpcid_drops_translations_and_checks_its_descriptor() {
    // Reads through a page, changes its entry, invalidates by `kind`, and reads again.
    let run = |kind: u64, id: u64, at: u64| {
        let mut bare = long("max", |a| {
            a.mov(rdx, qword_ptr(0x40_0000)).unwrap();
            a.mov(qword_ptr(0x10_2010), rbx).unwrap();
            a.invpcid(rax, xmmword_ptr(0x5000)).unwrap();
            a.mov(rcx, qword_ptr(0x40_0000)).unwrap();
            a.hlt().unwrap();
        });
        bare.write64(0x40_0000, 1);
        bare.write64(0x60_0000, 2);
        bare.write64(0x5000, id);
        bare.write64(0x5008, at);
        bare.cpu.gpr[crate::cpu::RBX] = 0x60_0087;
        bare.cpu.gpr[RAX] = kind;
        bare
    };
    for kind in 0..4 {
        let mut bare = run(kind, 0, 0x40_0000);
        bare.halts();
        assert_eq!((bare.cpu.gpr[RDX], bare.cpu.gpr[RCX]), (1, 2), "type {kind}");
    }
    for (kind, id, at) in [(4, 0, 0), (2, 1 << 12, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1 << 60)] {
        assert_eq!(vector(&mut run(kind, id, at)), 13, "type {kind} id {id:#x} at {at:#x}");
    }
}

#[test]
fn rdpid_gives_what_rdtscp_does() {
    let code = |a: &mut CodeAssembler| {
        a.rdpid(rax).unwrap();
        a.hlt().unwrap();
    };
    let mut bare = long("max", code);
    bare.cpu.msr.tsc_aux = 0x1_2345;
    bare.halts();
    assert_eq!(bare.cpu.gpr[RAX], 0x1_2345);
    assert_eq!(vector(&mut long("soft64", code)), 6);
}

#[test]
fn lines_are_flushed_where_they_can_be_read() {
    let code = |a: &mut CodeAssembler| {
        a.clflushopt(byte_ptr(rax)).unwrap();
        a.clwb(byte_ptr(rax)).unwrap();
        a.hlt().unwrap();
    };
    let mut bare = long("max", code);
    bare.cpu.gpr[RAX] = 0x5000;
    bare.halts();
    let mut bare = long("max", code);
    bare.cpu.gpr[RAX] = 1 << 31;
    assert_eq!(vector(&mut bare), 14);
    assert_eq!(vector(&mut long("max,-clflushopt", code)), 6);
}

#[test]
fn real_mode_has_no_vex_prefix() {
    let code = |a: &mut CodeAssembler| {
        a.andn(eax, ecx, edx).unwrap();
        a.hlt().unwrap();
    };
    let mut bare = Bare::real(code);
    bare.cpu.set_model(Arc::new(CpuModel::parse("max").unwrap().0));
    bare.write(4 * 6, &[0, 0x40, 0, 0]);
    bare.write(0x4000, &[0xf4]);
    bare.halts();
    assert_eq!(bare.cpu.seg[seg::CS].base, 0, "the handler of invalid opcodes");
    let mut bare = Bare::protected(code);
    bare.cpu.set_model(Arc::new(CpuModel::parse("max").unwrap().0));
    bare.cpu.gpr[RDX] = 0xff;
    bare.cpu.gpr[RCX] = 0x0f;
    bare.halts();
    assert_eq!(bare.cpu.gpr[RAX], 0xf0);
}

#[test]
fn random_numbers_go_on_from_a_saved_state_and_differ_by_vcpu() {
    let code = |a: &mut CodeAssembler| {
        a.rdrand(rax).unwrap();
        a.rdseed(rcx).unwrap();
        a.rdrand(edx).unwrap();
        a.hlt().unwrap();
    };
    let numbers = |cpu: &crate::cpu::Cpu| [cpu.gpr[RAX], cpu.gpr[RCX], cpu.gpr[RDX]];
    let mut bare = long("max", code);
    bare.cpu.random.key = 7;
    bare.halts();
    let first = numbers(&bare.cpu);
    assert_eq!(bare.cpu.status(), 1, "CF alone: there was one");
    assert!(first[2] >> 32 == 0 && first[0] != first[1]);
    let mut again = long("max", code);
    crate::state::SavedMore::of(&bare.cpu).apply(&mut again.cpu);
    again.halts();
    bare.cpu.gpr[IP] = super::CODE;
    bare.halts();
    assert_eq!(numbers(&again.cpu), numbers(&bare.cpu), "a saved vCPU goes on");
    assert_ne!(numbers(&again.cpu), first);
    let mut source = bare.cpu.random;
    let mut copy = source;
    assert_ne!(source.next(0), copy.next(1));
    assert_eq!(vector(&mut long("soft64", code)), 6);
}

/// What a case of AVX begins with: CR4.OSXSAVE and all components in XCR0.
fn with_avx(bare: &mut Bare) {
    bare.cpu.cr4 |= cr4::OSXSAVE | cr4::OSXMMEXCPT;
    bare.cpu.xcr0 = 7;
    bare.cpu.mode_changed();
}

#[test]
fn avx_needs_xcr0_and_a_model_that_has_it() {
    let code = |a: &mut CodeAssembler| {
        a.vpor(xmm0, xmm1, xmm2).unwrap();
        a.hlt().unwrap();
    };
    let mut bare = long("max", code);
    with_avx(&mut bare);
    (bare.cpu.xmm[1], bare.cpu.xmm[2], bare.cpu.ymm[0]) = (1, 2, 5);
    bare.halts();
    assert_eq!((bare.cpu.xmm[0], bare.cpu.ymm[0]), (3, 0), "16 bytes clear the upper half");
    for xcr0 in [1, 3] {
        let mut bare = long("max", code);
        with_avx(&mut bare);
        bare.cpu.xcr0 = xcr0;
        bare.cpu.mode_changed();
        assert_eq!(vector(&mut bare), 6, "XCR0 {xcr0}");
    }
    let mut bare = long("max", code);
    with_avx(&mut bare);
    bare.cpu.cr4 &= !cr4::OSXSAVE;
    bare.cpu.mode_changed();
    assert_eq!(vector(&mut bare), 6, "CR4.OSXSAVE");
    let mut bare = long("max", code);
    with_avx(&mut bare);
    bare.cpu.cr0 |= cr0::TS;
    bare.cpu.mode_changed();
    assert_eq!(vector(&mut bare), 7, "CR0.TS");
    let mut bare = long("soft64", code);
    with_avx(&mut bare);
    assert_eq!(vector(&mut bare), 6, "the default has none");
}

#[test]
fn xcr0_takes_what_the_model_has() {
    let set = |cpu: &str, v: u64| {
        let mut bare = long(cpu, |a| {
            a.xsetbv().unwrap();
            a.xgetbv().unwrap();
            a.hlt().unwrap();
        });
        bare.cpu.cr4 |= cr4::OSXSAVE;
        (bare.cpu.gpr[RAX], bare.cpu.gpr[RCX], bare.cpu.gpr[RDX]) = (v, 0, 0);
        if vector(&mut bare) == 13 { None } else { Some(bare.cpu.gpr[RAX]) }
    };
    for (cpu, v, good) in [
        ("max", 7, true),
        ("max", 3, true),
        ("max", 5, false),
        ("max", 6, false),
        ("max", 0xf, false),
        ("soft64", 3, true),
        ("soft64", 7, false),
        ("max,-avx", 7, false),
    ] {
        assert_eq!(set(cpu, v).is_some(), good, "{cpu} {v}");
    }
}

#[test]
fn cpuid_tells_the_size_of_the_state() {
    let mut bare = long("max", |a| a.hlt().unwrap());
    with_avx(&mut bare);
    assert_eq!(bare.cpu.cpuid_leaf(0xd, 0), [7, 832, 832, 0]);
    assert_eq!(bare.cpu.cpuid_leaf(0xd, 2), [256, 576, 0, 0]);
    assert_eq!(bare.cpu.cpuid_leaf(0xd, 1)[..2], [7, 832]);
    bare.cpu.xcr0 = 3;
    assert_eq!(bare.cpu.cpuid_leaf(0xd, 0), [7, 576, 832, 0]);
}

#[test]
fn xsavec_leaves_out_what_is_as_after_reset_and_xrstor_reads_it_back() {
    let code = |a: &mut CodeAssembler| {
        a.xsavec64(ptr(rsi)).unwrap();
        a.vzeroall().unwrap();
        a.xrstor64(ptr(rsi)).unwrap();
        a.mov(ecx, 1).unwrap();
        a.xgetbv().unwrap();
        a.hlt().unwrap();
    };
    let run = |change: fn(&mut crate::cpu::Cpu)| {
        let mut bare = long("max", code);
        with_avx(&mut bare);
        (bare.cpu.gpr[RAX], bare.cpu.gpr[RDX], bare.cpu.gpr[crate::cpu::RSI]) = (7, 0, 0x5000);
        bare.write(0x5000, &[0xee; 832]);
        change(&mut bare.cpu);
        bare.write64(0x5000 + 528, 0);
        for at in (536..576).step_by(8) {
            bare.write64(0x5000 + at, 0);
        }
        bare.halts();
        bare
    };
    let bare = run(|cpu| cpu.ymm[3] = 9);
    assert_eq!((bare.read64(0x5000 + 512), bare.read64(0x5000 + 520)), (4, 1 << 63 | 7));
    assert_eq!((bare.cpu.ymm[3], bare.cpu.xmm[3], bare.cpu.gpr[RAX]), (9, 0, 4));
    assert_eq!(bare.read32(0x5000 + 24), 0xeeee_eeee, "MXCSR belongs to SSE");
    let bare = run(|cpu| cpu.mxcsr = 0x1f81);
    assert_eq!(bare.read64(0x5000 + 512), 2, "MXCSR alone makes SSE one that is used");
    assert_eq!(bare.cpu.mxcsr, 0x1f81);
}

#[test]
fn a_gather_goes_on_after_a_fault_with_what_is_left() {
    let code = |a: &mut CodeAssembler| {
        a.vpgatherdd_3(ymm1, dword_ptr(rax + ymm2 * 4), ymm3).unwrap();
        a.hlt().unwrap();
    };
    let mut bare = long("max", code);
    with_avx(&mut bare);
    bare.cpu.gpr[RAX] = 0x5000;
    for n in 0..8 {
        bare.write(0x5000 + 4 * n, &(100 + n as u32).to_le_bytes());
    }
    let lanes = |v: [u32; 4]| v.iter().rev().fold(0u128, |sum, n| sum << 32 | u128::from(*n));
    // Lane 5 lies beyond what is mapped, lane 1 and 6 are not wanted.
    let far = (1u32 << 30) + 0x1000_0000;
    bare.cpu.set_y(2, [lanes([7, 1, 0, 3]), lanes([2, far, 1, 6])]);
    bare.cpu.set_y(3, [lanes([u32::MAX, 0, 1 << 31, u32::MAX]), lanes([u32::MAX, u32::MAX, 0, u32::MAX])]);
    bare.cpu.set_y(1, [lanes([1, 2, 3, 4]), lanes([5, 6, 7, 8])]);
    assert_eq!(vector(&mut bare), 14);
    assert_eq!(bare.cpu.y(1), [lanes([107, 2, 100, 103]), lanes([102, 6, 7, 8])]);
    assert_eq!(bare.cpu.y(3), [0, lanes([0, u32::MAX, 0, u32::MAX])]);
    bare.cpu.halted = false;
    bare.cpu.set_y(2, [0, lanes([0, 4, 0, 6])]);
    bare.cpu.gpr[IP] = super::CODE;
    bare.halts();
    assert_eq!(bare.cpu.y(1), [lanes([107, 2, 100, 103]), lanes([102, 104, 7, 106])]);
    assert_eq!(bare.cpu.y(3), [0; 2]);
}

#[test]
fn a_store_of_32_bytes_that_faults_writes_nothing() {
    let mut bare = long("max", |a| {
        a.vmovdqu(ymmword_ptr(rax), ymm1).unwrap();
        a.hlt().unwrap();
    });
    with_avx(&mut bare);
    bare.cpu.set_y(1, [1, 2]);
    // The second half lies on a page that is not there.
    bare.write64(0x10_2008, 0);
    bare.cpu.gpr[RAX] = 0x20_0000 - 16;
    assert_eq!(vector(&mut bare), 14);
    assert_eq!(bare.read64(0x20_0000 - 16), 0);
}

#[test]
fn upper_halves_are_saved_and_guests_saved_before_there_were_any_have_none() {
    #[derive(serde::Serialize)]
    struct Before {
        random_key: [u64; 2],
        random_taken: u64,
    }
    let mut bare = long("max", |a| a.hlt().unwrap());
    bare.cpu.ymm[15] = 5 << 64 | 7;
    let saved = rmp_serde::to_vec_named(&crate::state::SavedMore::of(&bare.cpu)).unwrap();
    let load = |bytes: &[u8]| {
        let mut again = long("max", |a| a.hlt().unwrap());
        again.cpu.ymm[3] = 9;
        rmp_serde::from_slice::<crate::state::SavedMore>(bytes).unwrap().apply(&mut again.cpu);
        again.cpu.ymm
    };
    assert_eq!(load(&saved), bare.cpu.ymm);
    let before = rmp_serde::to_vec_named(&Before { random_key: [1, 2], random_taken: 3 }).unwrap();
    assert_eq!(load(&before), [0; 16]);
}

#[test]
fn sysenter_and_sysexit_of_intel_are_there_in_long_mode() {
    let enter = |cpu: &str| {
        let mut bare = long(cpu, |a| a.sysenter().unwrap());
        bare.cpu.msr.sysenter_cs = 8;
        (bare.cpu.msr.sysenter_esp, bare.cpu.msr.sysenter_eip) = (0x1_0000_9000, 0x3_0000);
        // REX.W SYSEXIT.
        bare.write(0x3_0000, &[0x48, 0x0f, 0x35]);
        (bare.cpu.gpr[RDX], bare.cpu.gpr[RCX]) = (0x3_1000, 0x1_0000_8000);
        // What the program does there: UD2.
        bare.write(0x3_1000, &[0x0f, 0x0b]);
        bare.write64(0x3004, 0x9000);
        assert_eq!(vector(&mut bare), 6, "{cpu}");
        [0, 8, 24].map(|at| bare.read64(bare.cpu.gpr[crate::cpu::RSP] + at))
    };
    assert_eq!(enter("Haswell"), [0x3_1000, 8 + 32 | 3, 0x1_0000_8000], "of the program: RIP, CS, RSP");
    assert_eq!(enter("EPYC")[..2], [super::CODE, 8]);
}

#[test]
fn intel_has_syscall_in_64_bit_mode_only_and_sysret_to_canonical_addresses() {
    for (cpu, code, expected) in [("Haswell", 6, 13), ("EPYC", 3, 13)] {
        // In compatibility mode: AMD's goes to CSTAR, where INT3 is.
        let mut bare = long(cpu, |a| a.syscall().unwrap());
        bare.flat(attr::DB);
        bare.cpu.msr.star = 8 << 32;
        bare.cpu.msr.cstar = 0x3_0000;
        bare.write(0x3_0000, &[0xcc]);
        assert_eq!(vector(&mut bare), code, "{cpu}");
        let mut bare = long(cpu, |a| a.sysretq().unwrap());
        bare.write64(0x3004, 0x9000);
        bare.cpu.msr.star = 8 << 48;
        bare.cpu.gpr[RCX] = 1 << 47;
        assert_eq!(vector(&mut bare), expected, "{cpu}");
        let user = bare.read64(bare.cpu.gpr[crate::cpu::RSP] + 16) & 3;
        assert_eq!(user, if cpu == "Haswell" { 0 } else { 3 }, "{cpu}: who is at fault");
    }
}

#[test]
fn a_null_selector_clears_the_base_on_intel_alone() {
    for (cpu, base) in [("Haswell", 0), ("EPYC", 0x1234)] {
        let mut bare = long(cpu, |a| {
            a.xor(eax, eax).unwrap();
            a.mov(fs, eax).unwrap();
            a.hlt().unwrap();
        });
        bare.cpu.seg[seg::FS].base = 0x1234;
        bare.halts();
        assert_eq!(bare.cpu.seg[seg::FS].base, base, "{cpu}");
    }
}

#[test]
fn intel_ignores_the_prefix_of_a_near_branch_and_takes_far_pointers_of_64_bits() {
    let mut bare = long("Haswell", |a| a.nop().unwrap());
    // 66 E9: over UD2 to a far jump through m16:64, whose target is HLT.
    bare.write(super::CODE, &[0x66, 0xe9, 2, 0, 0, 0, 0x0f, 0x0b, 0x48, 0xff, 0x28]);
    bare.cpu.gpr[RAX] = 0x5000;
    bare.write64(0x5000, 0xf_0000);
    bare.write64(0x5008, 8);
    bare.write(0xf_0000, &[0xf4]);
    bare.halts();
    assert_eq!(bare.cpu.gpr[IP], 0xf_0001);
}

#[test]
fn sysret_makes_a_stack_segment_on_intel_alone() {
    for (cpu, at) in [("Haswell", 0x1_7ffc), ("EPYC", 0x7ffc)] {
        // The kernel's stack segment is one of 16 bits, and the program's pointer reaches further.
        let mut bare = long(cpu, |a| {
            a.mov(eax, 48).unwrap();
            a.mov(ss, eax).unwrap();
            a.sysret().unwrap();
        });
        bare.write64(0x1000 + 48, 0x0000_9300_0000_ffff);
        bare.cpu.msr.star = 0x20 << 48;
        bare.cpu.gpr[RCX] = 0x3_0000;
        bare.cpu.gpr[crate::cpu::RSP] = 0x1_8000;
        bare.write64(0x3004, 0x9000);
        // PUSH EAX, UD2.
        bare.write(0x3_0000, &[0x50, 0x0f, 0x0b]);
        assert_eq!(vector(&mut bare), 6, "{cpu}");
        assert_eq!(bare.read64(at) as u32, 48, "{cpu}");
        let selector = bare.read64(bare.cpu.gpr[crate::cpu::RSP] + 32);
        assert_eq!(selector, 0x2b, "{cpu}");
    }
}

#[test]
fn pdptes_are_looked_at_when_cr3_is_loaded_and_not_again_by_either_vendor() {
    for cpu in ["Haswell", "EPYC"] {
        // Two tables: the second is damaged after it was loaded, and then cannot be loaded again.
        let mut bare = Bare::protected(|a| {
            a.mov(eax, cr4).unwrap();
            a.or(eax, 0x20).unwrap();
            a.mov(cr4, eax).unwrap();
            a.mov(eax, 0x10_0000).unwrap();
            a.mov(cr3, eax).unwrap();
            a.mov(eax, cr0).unwrap();
            a.or(eax, 0x8000_0000u32).unwrap();
            a.mov(cr0, eax).unwrap();
            a.mov(eax, 0x10_0020).unwrap();
            a.mov(cr3, eax).unwrap();
            a.mov(byte_ptr(0x10_0020), 7).unwrap();
            a.invlpg(byte_ptr(0x5000)).unwrap();
            a.mov(ebx, dword_ptr(0x5000)).unwrap();
            a.mov(eax, 0x10_0020).unwrap();
            a.mov(cr3, eax).unwrap();
        });
        bare.cpu.set_model(Arc::new(CpuModel::parse(cpu).unwrap().0));
        bare.write64(0x10_0000, 0x10_1001);
        bare.write64(0x10_0020, 0x10_1001);
        bare.write64(0x10_1000, 0x83);
        bare.write64(0x5000, 0x1234);
        assert_eq!(vector(&mut bare), 13, "{cpu}");
        assert_eq!((bare.cpu.gpr[crate::cpu::RBX], bare.cpu.cr3), (0x1234, 0x10_0020), "{cpu}");
        assert_eq!(bare.cpu.pdpte[0], 0x10_1001, "{cpu}: it goes on with those that it has");
    }
}
