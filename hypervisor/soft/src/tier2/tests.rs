//! What the emitted bytes mean, by iced-x86; what becomes of translations when code changes or is mapped elsewhere.

use iced_x86::code_asm::*;
use iced_x86::{Decoder, DecoderOptions};

use super::asm::{Alu, Asm, Rm, Width, cc, reg};
use super::*;
use crate::tests::{Bare, CODE, assemble};

fn shown(emit: impl FnOnce(&mut Asm)) -> String {
    let mut asm = Asm::new(0x1000);
    emit(&mut asm);
    let code = asm.finish();
    let text: Vec<String> =
        Decoder::with_ip(64, &code, 0x1000, DecoderOptions::NONE).iter().map(|i| i.to_string()).collect();
    text.join("; ")
}

#[test]
fn the_assembler_says_what_it_was_told() {
    use reg::*;
    let cases: [(String, &str); 24] = [
        (shown(|a| a.load(Width::Q, RAX, Rm::M(RBP, 0x10))), "mov rax,[rbp+10h]"),
        (shown(|a| a.load(Width::B, RSI, Rm::R(RDI))), "mov sil,dil"),
        (shown(|a| a.load(Width::W, R9, Rm::M(R12, 0))), "mov r9w,[r12]"),
        (shown(|a| a.load(Width::D, RCX, Rm::M(R13, 0))), "mov ecx,[r13]"),
        (shown(|a| a.store(Width::Q, Rm::M(RSP, -8), R15)), "mov [rsp-8],r15"),
        (shown(|a| a.store(Width::B, Rm::X(Some(R8), R12, 3, 0x1234), RBP)), "mov [r8+r12*8+1234h],bpl"),
        (shown(|a| a.lea(Width::D, R10, Rm::X(None, R13, 2, -4))), "lea r10d,[r13*4-4]"),
        (shown(|a| a.store_ah(RBP, 0x200)), "mov [rbp+200h],ah"),
        (shown(|a| a.constant(R11, 7)), "mov r11d,7"),
        (shown(|a| a.constant(RAX, u64::MAX - 1)), "mov rax,0FFFFFFFFFFFFFFFEh"),
        (shown(|a| a.constant(R8, 1 << 40)), "mov r8,10000000000h"),
        (shown(|a| a.store_imm(Width::W, Rm::M(RBP, 4), 0x4600)), "mov word ptr [rbp+4],4600h"),
        (shown(|a| a.alu(Alu::Xor, Width::Q, RAX, Rm::M(R15, 8))), "xor rax,[r15+8]"),
        (shown(|a| a.alu_imm(Alu::Cmp, Width::Q, Rm::R(RAX), 4088)), "cmp rax,0FF8h"),
        (shown(|a| a.alu_imm(Alu::And, Width::B, Rm::M(RBP, 5), !1)), "and byte ptr [rbp+5],0FEh"),
        (shown(|a| a.and_ah(0xef)), "and ah,0EFh"),
        (shown(|a| a.test_imm8(Rm::R(RSI), 7)), "test sil,7"),
        (shown(|a| a.shift(5, Width::Q, R15, 7)), "shr r15,7"),
        (shown(|a| a.bit_test(Rm::M(RBP, 0x40), 8)), "bt word ptr [rbp+40h],8"),
        (shown(|a| a.set(cc::O, Rm::R(R15))), "seto r15b"),
        (shown(|a| a.cmov(cc::NE, R10, RAX)), "cmovne r10,rax"),
        (shown(|a| a.group3(6, Width::D, Rm::R(R9))), "div r9d"),
        (shown(|a| a.rip(Width::D, 0xff, 4, 0x2000)), "jmp qword ptr [2000h]"),
        (
            shown(|a| {
                let over = a.label();
                a.jcc(cc::LE, over);
                a.ret();
                a.bind(over);
                a.jmp_abs(0x1000);
            }),
            "jle 0000000000001007h; ret; jmp 0000000000001000h",
        ),
    ];
    for (ours, told) in cases {
        assert_eq!(ours, told);
    }
}

#[test]
fn flags_are_seen_until_they_are_written_again() {
    use flow::{CF, Use, ZF, live_after};
    let writes = |kills| Use { kills, ..Use::default() };
    let shows = Use { shows: true, ..Use::default() };
    assert_eq!(live_after(&[writes(flow::ALL), writes(flow::ALL)]), [0, flow::ALL]);
    assert_eq!(live_after(&[writes(flow::ALL), writes(flow::ALL & !CF)]), [CF, flow::ALL]);
    assert_eq!(live_after(&[writes(flow::ALL), shows, writes(flow::ALL)]), [flow::ALL, 0, flow::ALL]);
    let reads = Use { reads: ZF, kills: flow::ALL, ..Use::default() };
    assert_eq!(live_after(&[writes(flow::ALL), reads]), [ZF, flow::ALL]);
}

/// A machine that translates everything, running from [`CODE`] in 64-bit mode.
fn translated(build: impl FnOnce(&mut CodeAssembler)) -> Bare {
    let mut bare = Bare::long(build);
    bare.cpu.set_tier2(Some(Tier2::new(1).unwrap()));
    bare
}

fn counters(bare: &Bare) -> Counters {
    bare.cpu.tier2.as_ref().unwrap().counters()
}

/// Counts RAX up by 1, RCX times.
fn counting(a: &mut CodeAssembler) {
    let mut top = a.create_label();
    a.set_label(&mut top).unwrap();
    a.add(rax, 1).unwrap();
    a.dec(rcx).unwrap();
    a.jne(top).unwrap();
    a.hlt().unwrap();
}

fn count(bare: &mut Bare, at: u64) -> u64 {
    (bare.cpu.gpr[0], bare.cpu.gpr[1], bare.cpu.gpr[IP]) = (0, 1000, at);
    bare.halts();
    bare.cpu.gpr[0]
}

#[test]
fn a_write_to_its_page_ends_a_translation_and_the_same_bytes_bring_it_back() {
    let mut bare = translated(counting);
    assert_eq!(count(&mut bare, CODE), 1000);
    let before = counters(&bare);
    assert!(before.translated > 0 && before.linked > 0, "{before:?}");
    // A device writes beside the code: it is looked at, and is the same.
    bare.write(CODE + 0x800, &[1, 2, 3]);
    assert_eq!(count(&mut bare, CODE), 1000);
    let revived = counters(&bare);
    assert!(revived.dropped > before.dropped && revived.revived > 0, "{revived:?}");
    assert_eq!(revived.translated, before.translated, "nothing was translated again");
    // And to the code: the immediate of ADD.
    bare.write(CODE + 2, &[5]);
    assert_eq!(count(&mut bare, CODE), 5000);
    assert!(counters(&bare).translated > revived.translated);
}

#[test]
fn links_to_code_that_changed_lead_to_what_is_there_now() {
    // A function in another page, and what it jumps to in its own; the latter is changed from time to time.
    let mut bare = translated(|a| {
        let mut top = a.create_label();
        a.set_label(&mut top).unwrap();
        a.call(0x20_0000u64).unwrap();
        a.dec(rcx).unwrap();
        a.jne(top).unwrap();
        a.hlt().unwrap();
    });
    bare.write(0x20_0000, &assemble(64, 0x20_0000, |a| a.jmp(0x20_0100u64).unwrap()));
    for step in 1..6 {
        let adds = |a: &mut CodeAssembler| {
            a.add(rax, step).unwrap();
            a.ret().unwrap();
        };
        bare.write(0x20_0100, &assemble(64, 0x20_0100, adds));
        assert_eq!(count(&mut bare, CODE), 1000 * step as u64);
        let before = counters(&bare).entered;
        assert_eq!(count(&mut bare, CODE), 1000 * step as u64);
        assert!(counters(&bare).entered - before < 8, "{:?}", counters(&bare));
    }
}

#[test]
fn one_translation_serves_a_page_at_two_linear_addresses() {
    let mut bare = translated(counting);
    assert_eq!(count(&mut bare, CODE), 1000);
    let before = counters(&bare).translated;
    // The second GiB by the same tables.
    bare.write64(0x10_1008, 0x10_2007);
    assert_eq!(count(&mut bare, (1 << 30) + CODE), 1000);
    assert_eq!(bare.cpu.gpr[IP] & !0xfff, (1 << 30) + CODE, "where it ended");
    assert_eq!(counters(&bare).translated, before);
}

#[test]
fn links_to_other_pages_follow_the_page_tables() {
    // A function in the next 2 MiB, called a thousand times; then that address means another page.
    let mut bare = translated(|a| {
        let mut top = a.create_label();
        a.set_label(&mut top).unwrap();
        a.call(0x20_0000u64).unwrap();
        a.dec(rcx).unwrap();
        a.jne(top).unwrap();
        a.hlt().unwrap();
    });
    bare.write(
        0x20_0000,
        &assemble(64, 0x20_0000, |a| {
            a.add(rax, 1).unwrap();
            a.ret().unwrap();
        }),
    );
    bare.write(
        0x40_0000,
        &assemble(64, 0x40_0000, |a| {
            a.add(rax, 3).unwrap();
            a.ret().unwrap();
        }),
    );
    assert_eq!(count(&mut bare, CODE), 1000);
    bare.write64(0x10_2008, 2 << 21 | 0x87);
    bare.cpu.flush_page(0x20_0000);
    assert_eq!(count(&mut bare, CODE), 3000);
    bare.write64(0x10_2008, 1 << 21 | 0x87);
    bare.cpu.flush_tlb(false);
    assert_eq!(count(&mut bare, CODE), 1000);
}

#[test]
fn links_come_back_with_the_address_space_they_were_found_in() {
    // Two address spaces: in the second one, the function's address means another page.
    let mut bare = translated(|a| {
        let (mut top, mut other) = (a.create_label(), a.create_label());
        a.set_label(&mut top).unwrap();
        a.call(0x20_0000u64).unwrap();
        a.call(r8).unwrap();
        a.jmp(other).unwrap();
        a.nops_with_size(0x1000).unwrap();
        a.set_label(&mut other).unwrap();
        a.dec(rcx).unwrap();
        a.jne(top).unwrap();
        a.hlt().unwrap();
    });
    for (at, step) in [(0x20_0000u64, 1), (0x40_0000, 3)] {
        let adds = |a: &mut CodeAssembler| {
            a.add(rax, step).unwrap();
            a.ret().unwrap();
        };
        bare.write(at, &assemble(64, at, adds));
    }
    // The tables of the first one are at 0x10_0000; the directory of the second one differs in one entry.
    bare.write64(0x10_3000, 0x10_4007);
    bare.write64(0x10_4000, 0x10_5007);
    for n in 0..512u64 {
        bare.write64(0x10_5000 + 8 * n, if n == 1 { 2 } else { n } << 21 | 0x87);
    }
    bare.cpu.gpr[8] = 0x20_0000;
    let enter = |bare: &mut Bare, table: u64| {
        bare.cpu.cr3 = table;
        bare.cpu.flush_tlb(false);
        count(bare, CODE)
    };
    let spaces = [(0x10_0000, 2000), (0x10_3000, 6000)];
    for (table, sum) in spaces.into_iter().chain(spaces) {
        assert_eq!(enter(&mut bare, table), sum);
    }
    let before = counters(&bare);
    assert_eq!(enter(&mut bare, 0x10_3000), 6000);
    let after = counters(&bare);
    assert_eq!(
        (after.linked, after.translated),
        (before.linked, before.translated),
        "links to where they were"
    );
    assert!(after.entered - before.entered < 8, "{before:?} {after:?}");
}

#[test]
fn code_that_is_run_once_is_not_kept() {
    let mut bare = Bare::long(counting);
    bare.cpu.set_tier2(Some(Tier2::new(1000).unwrap()));
    // More than is kept of what waits for its translation.
    const SLED: u64 = 0x20_0000;
    bare.write(SLED, &[0x90; 0x6_0000]);
    bare.write(SLED + 0x6_0000, &[0xf4]);
    for _ in 0..3 {
        bare.cpu.gpr[IP] = SLED;
        bare.halts();
        assert_eq!(bare.cpu.gpr[IP], SLED + 0x6_0001);
        // Blocks are of 48 instructions at most.
        assert!(bare.cpu.blocks.len() < 0x5_0000 / 48, "{}", bare.cpu.blocks.len());
    }
    // And what runs often is translated all the same.
    assert_eq!(count(&mut bare, CODE), 1000);
    assert!(counters(&bare).translated > 0);
}

#[test]
fn a_full_arena_is_emptied_and_filled_again() {
    let mut bare = translated(counting);
    // Until there is no room: the next block finds everything gone.
    let tier2 = bare.cpu.tier2.as_mut().unwrap();
    tier2.free = tier2.links.slots_from() - ROOM;
    assert_eq!(count(&mut bare, CODE), 1000);
    let first = counters(&bare);
    assert_eq!(first.flushed, 1, "{first:?}");
    assert!(bare.cpu.tier2.as_ref().unwrap().used() < ROOM);
    assert_eq!(count(&mut bare, CODE), 1000);
}

#[test]
fn a_jump_to_the_last_byte_of_memory_is_no_jump_to_nowhere() {
    // All ones is a canonical address: it must miss an empty jump cache.
    let mut bare = translated(|a| {
        a.mov(rax, -1i64).unwrap();
        a.jmp(rax).unwrap();
    });
    bare.gate(14, 0x8e, 8, CODE + 0x100);
    bare.write(CODE + 0x100, &[0xf4]);
    bare.halts();
    assert_eq!(bare.cpu.cr2, u64::MAX);
}

/// Has a site do something else.
fn does_instead(tier2: &mut Tier2, site: usize, f: impl Fn(&mut Cpu, &Op) -> crate::cpu::Exec + Copy) {
    (tier2.sites[site].ops, tier2.sites[site].run) = (tier2.ops.len() as u32, 1);
    tier2.ops.extend([Op::line(f), Op::end()]);
}

/// A third, as the host's code computes it now.
fn third() -> u64 {
    (std::hint::black_box(1.0f64) / std::hint::black_box(3.0)).to_bits()
}

#[test]
fn floating_point_runs_by_the_guests_mxcsr_and_nobody_else_does() {
    let mut bare = translated(|a| {
        a.divsd(xmm0, xmm1).unwrap();
        a.rcpps(xmm5, xmm5).unwrap();
        a.divsd(xmm2, xmm1).unwrap();
        a.hlt().unwrap();
    });
    fn divides(cpu: &mut Cpu, _: &Op) -> crate::cpu::Exec {
        cpu.gpr[3] = third();
        Ok(())
    }
    let (nearest, up) = (third(), third() + 1);
    let [one, three] = [1.0f64, 3.0].map(|x| u128::from(x.to_bits()));
    for turn in 0..2 {
        bare.cpu.xmm[..3].copy_from_slice(&[one, three, one]);
        // Rounds up; nothing was inexact yet.
        bare.cpu.set_mxcsr(0x1f80 | 2 << 13);
        bare.cpu.gpr[IP] = CODE;
        bare.halts();
        assert_eq!((bare.cpu.xmm[0], bare.cpu.xmm[2]), (up.into(), up.into()));
        assert_eq!((bare.cpu.mxcsr & 0x3f, third()), (0x20, nearest), "{turn}");
        if turn == 1 {
            assert_eq!(bare.cpu.gpr[3], nearest);
        }
        let tier2 = bare.cpu.tier2.as_mut().unwrap();
        let sites: Vec<usize> = (0..tier2.sites.len()).filter(|n| tier2.sites[*n].run > 0).collect();
        assert_eq!(sites.len(), 1, "of RCPPS alone");
        does_instead(tier2, sites[0], divides);
    }
}

#[test]
fn no_exception_of_the_guests_is_one_of_the_hosts() {
    let mut bare = translated(|a| {
        a.divsd(xmm0, xmm1).unwrap();
        a.hlt().unwrap();
    });
    bare.cpu.xmm[0] = u128::from(1.0f64.to_bits());
    // As no way of loading it leaves it: not masked, with reserved bits, and the mode says nothing of it.
    bare.cpu.mxcsr = 0x7fff_0000;
    bare.halts();
    assert_eq!(bare.cpu.xmm[0], u128::from(f64::INFINITY.to_bits()));
    assert_eq!(bare.cpu.mxcsr, 0x7fff_0004);
}

#[test]
fn a_panic_in_an_operation_comes_through() {
    let mut bare = translated(|a| {
        a.nop().unwrap();
        a.cpuid().unwrap();
        a.hlt().unwrap();
    });
    bare.halts();
    fn dies(_: &mut Cpu, _: &Op) -> crate::cpu::Exec {
        panic!("as told")
    }
    let tier2 = bare.cpu.tier2.as_mut().unwrap();
    assert!(!tier2.translations.is_empty());
    does_instead(tier2, 0, dies);
    tier2.granted = 1;
    assert_eq!(helper(&raw mut *bare.cpu, 0), left::PANIC);
    let tier2 = bare.cpu.tier2.as_mut().unwrap();
    assert_eq!(tier2.panic.take().unwrap().downcast_ref(), Some(&"as told"));
}

/// Flat 32-bit code, paged: the first 16 MiB over and over again, up to 4 GiB. Translated or not.
fn flat(tier2: bool, build: impl FnOnce(&mut CodeAssembler)) -> Bare {
    use crate::system::bits::{cr0, cr4};
    let mut bare = Bare::protected(build);
    for n in 0..1024 {
        bare.write(0x10_0000 + 4 * n, &((n as u32 & 3) << 22 | 0x87).to_le_bytes());
    }
    bare.cpu.cr3 = 0x10_0000;
    bare.cpu.cr4 |= cr4::PSE;
    bare.cpu.cr0 |= cr0::PG;
    bare.cpu.flush_tlb(true);
    bare.cpu.set_tier2(tier2.then(|| Tier2::new(1).unwrap()));
    bare
}

#[test]
fn flat_code_wraps_at_4_gib() {
    const LAST: u64 = 0xffff_fff0;
    let program = |tier2| {
        let bare = flat(tier2, |a| a.jmp(LAST).unwrap());
        // A block up to the last byte, which goes on with the first one; a call to a page above it.
        let mut code = assemble(32, LAST, |a| {
            a.inc(eax).unwrap();
            a.call(0x2_0000u64).unwrap();
        });
        code.resize(16, 0x90);
        bare.write(LAST & 0xff_ffff, &code);
        bare.write(0, &[0x49, 0x0f, 0x85, 0xe9, 0xff, 0xff, 0xff, 0xf4]); // dec ecx; jne LAST; hlt
        bare.write(0x2_0000, &[0x83, 0xc0, 0x02, 0xc3]); // add eax, 2; ret
        bare
    };
    let (mut one, mut two) = (program(false), program(true));
    // Again at the same bytes 4080 MiB lower: from there on nothing wraps.
    for (at, back) in [(CODE, LAST + 6), (LAST & 0xff_ffff, 0xff_fff6)] {
        let before = two.cpu.tier2.as_ref().unwrap().counters();
        assert_eq!((count(&mut one, at), count(&mut two, at)), (3000, 3000));
        assert_eq!((one.cpu.gpr, one.cpu.icount), (two.cpu.gpr, two.cpu.icount));
        assert_eq!(u64::from(two.read32(crate::tests::STACK - 4)), back, "where the call came from");
        let after = counters(&two);
        assert!(after.entered - before.entered < 20, "{before:?} {after:?}");
        assert!(before.translated == 0 || before.translated == after.translated, "{before:?} {after:?}");
    }
}

#[test]
fn a_segment_that_is_not_flat_is_not_taken_for_one() {
    let program = |tier2| {
        let mut bare = flat(tier2, |a| {
            let (mut top, mut adds) = (a.create_label(), a.create_label());
            a.set_label(&mut top).unwrap();
            for selector in [48, 16] {
                a.mov(edx, selector).unwrap();
                a.mov(ds, edx).unwrap();
                a.call(adds).unwrap();
            }
            a.dec(ecx).unwrap();
            a.jne(top).unwrap();
            a.hlt().unwrap();
            a.set_label(&mut adds).unwrap();
            a.add(eax, dword_ptr(0x5000)).unwrap();
            a.add(eax, dword_ptr(0x5ff0).fs()).unwrap();
            a.ret().unwrap();
        });
        // Data of 64 KiB at 0x1000; FS the same.
        bare.write64(0x1000 + 48, 0x0040_9300_1000_ffff);
        for (at, v) in [(0x5000, 1), (0x6000, 3), (0x6ff0, 5)] {
            bare.write64(at, v);
        }
        bare.cpu.load_seg(seg::FS, 48).unwrap();
        bare
    };
    let (mut one, mut two) = (program(false), program(true));
    assert_eq!((count(&mut one, CODE), count(&mut two, CODE)), (14_000, 14_000));
    assert_eq!((one.cpu.gpr, one.cpu.icount), (two.cpu.gpr, two.cpu.icount));
    assert!(counters(&two).entered > 1000, "translated wherever DS is flat");
}
