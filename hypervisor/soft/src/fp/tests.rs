//! Faults, states in memory and what control registers forbid: what user code on the host cannot show.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::cpu::{Cpu, IP, RAX, RBX, RDX};
use crate::system::bits::{cr0, cr4};
use crate::tests::Bare;

/// One HLT for each exception, 16 bytes apart.
const HANDLERS: u64 = 0x5000;
/// Data.
const DATA: u64 = 0x20_0000;
/// The first address that is not mapped.
const UNMAPPED: u64 = 1 << 30;

const UD: Option<u64> = Some(6);
const NM: Option<u64> = Some(7);
const GP: Option<u64> = Some(13);
const PF: Option<u64> = Some(14);
const MF: Option<u64> = Some(16);
const XM: Option<u64> = Some(19);

type Code = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// Runs code at privilege level 0; gives the machine and the exception that ended it, if one did.
fn run(setup: impl FnOnce(&mut Cpu), code: Code) -> (Bare, Option<u64>) {
    let mut bare = Bare::long(|a| {
        code(a).unwrap();
        a.hlt().unwrap();
    });
    for vector in 0..32 {
        bare.gate(vector, 0x8e, 8, HANDLERS + 16 * vector);
        bare.write(HANDLERS + 16 * vector, &[0xf4]);
    }
    let cpu = &mut bare.cpu;
    cpu.cr0 = (cpu.cr0 | cr0::NE) & !(cr0::TS | cr0::EM | cr0::MP);
    cpu.cr4 |= cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::OSXSAVE;
    cpu.xcr0 = 3;
    cpu.gpr[RBX] = DATA;
    setup(cpu);
    cpu.mode_changed();
    bare.halts();
    let at = bare.cpu.gpr[IP];
    let handlers = HANDLERS..HANDLERS + 32 * 16;
    let vector = handlers.contains(&at).then(|| (at - HANDLERS) / 16);
    (bare, vector)
}

fn ends(setup: impl FnOnce(&mut Cpu), code: Code) -> Option<u64> {
    run(setup, code).1
}

#[test]
fn control_registers_forbid_instructions() {
    let ts: fn(&mut Cpu) = |cpu| cpu.cr0 |= cr0::TS;
    let ts_mp: fn(&mut Cpu) = |cpu| cpu.cr0 |= cr0::TS | cr0::MP;
    let em: fn(&mut Cpu) = |cpu| cpu.cr0 |= cr0::EM;
    let no_fxsr: fn(&mut Cpu) = |cpu| cpu.cr4 &= !cr4::OSFXSR;
    let no_xsave: fn(&mut Cpu) = |cpu| cpu.cr4 &= !cr4::OSXSAVE;
    // After each instruction: what TS, TS with MP, EM, no OSFXSR and no OSXSAVE make of it.
    let table: &[(&str, Code, [Option<u64>; 5])] = &[
        ("fnop", |a| a.fnop(), [NM, NM, NM, None, None]),
        ("fninit", |a| a.fninit(), [NM, NM, NM, None, None]),
        ("fld", |a| a.fld(qword_ptr(rbx)), [NM, NM, NM, None, None]),
        ("wait", |a| a.wait(), [None, NM, None, None, None]),
        ("paddb mm", |a| a.paddb(mm1, mm2), [NM, NM, UD, None, None]),
        ("emms", |a| a.emms(), [NM, NM, UD, None, None]),
        ("movq2dq", |a| a.movq2dq(xmm1, mm2), [NM, NM, UD, UD, None]),
        ("paddb xmm", |a| a.paddb(xmm1, xmm2), [NM, NM, UD, UD, None]),
        ("movups", |a| a.movups(xmm1, xmmword_ptr(rbx)), [NM, NM, UD, UD, None]),
        ("stmxcsr", |a| a.stmxcsr(dword_ptr(rbx)), [NM, NM, UD, UD, None]),
        ("movnti", |a| a.movnti(dword_ptr(rbx), eax), [None; 5]),
        ("fxsave", |a| a.fxsave(ptr(rbx)), [NM, NM, NM, None, None]),
        ("fxrstor", |a| a.fxrstor(ptr(rbx)), [NM, NM, NM, None, None]),
        ("xsave", |a| a.xsave(ptr(rbx)), [NM, NM, None, None, UD]),
        ("xrstor", |a| a.xrstor(ptr(rbx)), [NM, NM, None, None, UD]),
    ];
    for (name, code, wanted) in table {
        for (k, setup) in [ts, ts_mp, em, no_fxsr, no_xsave].into_iter().enumerate() {
            assert_eq!(ends(setup, *code), wanted[k], "{name}, setting {k}");
        }
    }
}

#[test]
fn a_pending_x87_error_waits_for_the_next_instruction_that_waits() {
    let divide: Code = |a| {
        a.mov(dword_ptr(rbx), 0x37b)?;
        a.fldcw(word_ptr(rbx))?;
        a.fld1()?;
        a.fldz()?;
        a.fdivp(st1, st0)?;
        a.fnstsw(ax)?;
        a.fnstsw(word_ptr(rbx + 8))?;
        a.mov(edx, 1)?;
        a.fld1()?;
        a.mov(edx, 2)
    };
    let (bare, vector) = run(|_| {}, divide);
    assert_eq!(vector, MF);
    assert_eq!((bare.cpu.gpr[RDX], bare.cpu.gpr[RAX] & 0x84), (1, 0x84));
    // Without CR0.NE it is for the interrupt controller, which is not wired to it.
    let (bare, vector) = run(|cpu| cpu.cr0 &= !cr0::NE, divide);
    assert_eq!((vector, bare.cpu.gpr[RDX]), (None, 2));
}

#[test]
fn an_mmx_instruction_waits_for_x87_errors() {
    let pending = |cpu: &mut Cpu| {
        cpu.x87.set_control_word(0x37b);
        let mut image = [0; 160];
        cpu.x87.fxsave(false, &mut image);
        image[2] |= 4;
        cpu.x87.fxrstor(false, &image);
        assert!(cpu.x87.pending());
    };
    assert_eq!(ends(pending, |a| a.paddb(mm1, mm2)), MF);
    assert_eq!(ends(pending, |a| a.emms()), MF);
    assert_eq!(ends(pending, |a| a.movq(mm1, qword_ptr(rbx))), MF);
    assert_eq!(ends(pending, |a| a.paddb(xmm1, xmm2)), None);
    assert_eq!(ends(pending, |a| a.fnclex()), None);
}

#[test]
fn an_unmasked_simd_error_leaves_the_destination() {
    let divide: Code = |a| a.divsd(xmm0, xmm1);
    let setup = |cpu: &mut Cpu| {
        cpu.set_mxcsr(0x1f80 & !(4 << 7));
        cpu.xmm[0] = u128::from(1f64.to_bits());
    };
    let (bare, vector) = run(setup, divide);
    assert_eq!((vector, bare.cpu.mxcsr & 0x3f), (XM, 4));
    assert_eq!(bare.cpu.xmm[0], u128::from(1f64.to_bits()));
    let without = |cpu: &mut Cpu| {
        setup(cpu);
        cpu.cr4 &= !cr4::OSXMMEXCPT;
    };
    assert_eq!(ends(without, divide), UD);
    let masked = |cpu: &mut Cpu| cpu.xmm[0] = u128::from(1f64.to_bits());
    let (bare, vector) = run(masked, divide);
    assert_eq!((vector, bare.cpu.xmm[0]), (None, u128::from(f64::INFINITY.to_bits())));
}

#[test]
fn a_store_that_faults_pops_nothing() {
    let (bare, vector) = run(
        |_| {},
        |a| {
            a.fldpi()?;
            a.mov(rcx, UNMAPPED - 4)?;
            a.fstp(tbyte_ptr(rcx))
        },
    );
    assert_eq!(vector, PF);
    assert_eq!((bare.cpu.x87.status_word() >> 11 & 7, bare.cpu.x87.abridged_tags()), (7, 0x80));
    let misaligned = ends(|_| {}, |a| a.movaps(xmmword_ptr(rbx + 8), xmm0));
    assert_eq!(misaligned, GP);
}

#[test]
fn the_environment_has_the_layout_of_the_mode() {
    let mut real = Bare::real(|a| {
        a.mov(bx, 0x1234).unwrap();
        a.fild(word_ptr(bx)).unwrap();
        a.fnstenv(ptr(bx + 0x10)).unwrap();
        a.db(&[0x66]).unwrap();
        a.fnstenv(ptr(bx + 0x40)).unwrap();
        a.hlt().unwrap();
    });
    real.halts();
    let word = |at: u64| real.read32(at) & 0xffff;
    // Instruction at 1000:0003, operand at 0000:1234, opcode DF 07.
    assert_eq!((word(0x1244), word(0x1246) & 0x3800, word(0x1248)), (0x37f, 0x3800, 0x7fff));
    assert_eq!((word(0x124a), word(0x124c)), (0x0003, 0x1707));
    assert_eq!((word(0x124e), word(0x1250)), (0x1234, 0));
    assert_eq!(real.read32(0x1274 + 12) & 0xffff, 0x0003);
    assert_eq!(real.read32(0x1274 + 16), 0x1707);

    let (long, vector) = run(
        |_| {},
        |a| {
            a.fild(word_ptr(rbx))?;
            a.fnstenv(ptr(rbx + 0x10))
        },
    );
    assert_eq!(vector, None);
    let at = DATA + 0x10;
    assert_eq!((long.read32(at + 12), long.read32(at + 16)), (crate::tests::CODE as u32, 0x0703_0008));
    assert_eq!(long.read32(at + 20), DATA as u32);
}

#[test]
fn xsave_knows_what_is_as_after_reset() {
    let save: Code = |a| {
        a.mov(eax, 3)?;
        a.xor(edx, edx)?;
        a.xsave64(ptr(rbx))
    };
    let (bare, vector) = run(|_| {}, save);
    assert_eq!((vector, bare.read64(DATA + 512)), (None, 0));
    let (bare, _) = run(|cpu| cpu.xmm[15] = 1, save);
    assert_eq!(bare.read64(DATA + 512), 2);
    assert_eq!(bare.read64(DATA + 160 + 15 * 16), 1);
    let (bare, _) = run(|cpu| cpu.x87.set_st(0, x87::F80::ONE), save);
    assert_eq!(bare.read64(DATA + 512), 1);
    assert_eq!(ends(|cpu| cpu.gpr[RBX] += 32, save), GP);
}

#[test]
fn xrstor_resets_what_is_not_there_and_checks_the_header() {
    let load: Code = |a| {
        a.mov(eax, 3)?;
        a.xor(edx, edx)?;
        a.mov(dword_ptr(rbx + 24), 0x1f80)?;
        a.xrstor64(ptr(rbx))
    };
    let full = |cpu: &mut Cpu| {
        cpu.xmm[3] = 7;
        cpu.x87.set_st(0, x87::F80::ONE);
    };
    let (bare, vector) = run(full, load);
    assert_eq!((vector, bare.cpu.xmm[3]), (None, 0));
    assert_eq!(bare.cpu.x87, x87::X87::new());
    for at in [512 + 1, 512 + 15, 512 + 23] {
        let code: Code = |a| {
            a.mov(byte_ptr(rbx + rcx), 0x80)?;
            a.mov(eax, 3)?;
            a.xor(edx, edx)?;
            a.xrstor64(ptr(rbx))
        };
        assert_eq!(ends(|cpu| cpu.gpr[crate::cpu::RCX] = at, code), GP, "byte {at}");
    }
    let bad_mxcsr: Code = |a| {
        a.mov(dword_ptr(rbx + 24), 0x1_0000)?;
        a.mov(eax, 2)?;
        a.xor(edx, edx)?;
        a.xrstor64(ptr(rbx))
    };
    assert_eq!(ends(|_| {}, bad_mxcsr), GP);
}
