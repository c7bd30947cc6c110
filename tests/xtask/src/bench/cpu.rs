//! The CPU alone: small loops as a firmware of their own, so that nothing else runs, and what a shell does.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, Result};
use guest_tests::{Machine, Program, seconds};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

use super::Better;
use super::loops::{CODE, DATA, DATA_LEN, END, GDT, HANDLER, IDT, LOOPS, Loop, ROUNDS, data};
use super::measures::{Bound, Measure};

/// Rows of other tables that are the CPU's doing, too.
const OTHERS: &[&str] = &[
    "boot by --kernel",
    "boot from CD",
    "idle guest",
    "the same through the guest's page cache",
    "work of 2 vCPUs against 1",
    "integer loop in the shell",
    "fork and page faults",
    "floating point in awk",
    "SHA-256 of 16 MB",
    "boot of a 32-bit kernel",
    "integer loop in a 32-bit shell",
    "fork and page faults, 32-bit",
    "sort in the shell",
];

/// Whether a measure is one of `bench cpu`.
pub fn is_one(name: &str) -> bool {
    is_loop(name) || OTHERS.contains(&name)
}

/// Whether it is one of the loops here, whose mean is taken.
pub fn is_loop(name: &str) -> bool {
    name.starts_with("loop: ")
}

const fn row(
    name: &'static str,
    bound: f64,
    asked: &'static str,
    take: fn(&Program) -> Result<f64>,
) -> Measure {
    Measure { name, unit: "s", asked, bound: Bound::Ratio(Better::Less, bound), take }
}

/// The loops, by the time they take.
pub const MEASURES: &[Measure] = &[
    row("loop: registers", 1.0, "less than QEMU's", |p| take(p, "registers")),
    row("loop: sort", 1.0, "less than QEMU's", |p| take(p, "sort")),
    row("loop: calls", 1.0, "less than QEMU's", |p| take(p, "calls")),
    row("loop: copy", 1.0, "less than QEMU's", |p| take(p, "copy")),
    row("loop: bytes", 1.0, "less than QEMU's", |p| take(p, "bytes")),
    row("loop: rep", 1.0, "less than QEMU's", |p| take(p, "rep")),
    row("loop: x87", 1.0, "less than QEMU's", |p| take(p, "x87")),
    row("loop: sse", 0.2, "at most a fifth", |p| take(p, "sse")),
    row("loop: faults", 1.0, "less than QEMU's", |p| take(p, "faults")),
    row("loop: sort32", 1.0, "less than QEMU's", |p| take(p, "sort32")),
    row("loop: calls32", 1.0, "less than QEMU's", |p| take(p, "calls32")),
];

fn take(program: &Program, name: &str) -> Result<f64> {
    let one = LOOPS.iter().find(|one| one.name == name).context("no such loop")?;
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&rom(one)?)?;
    let mut guest = Machine::on(program.clone()).memory(64).firmware_at(file.path()).boot()?;
    guest.wait_for("BEGIN", seconds(30))?;
    let begun = Instant::now();
    guest.wait_for("END", seconds(300))?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Bytes of the image, which ends at 4 GiB.
const SIZE: usize = 0x1_0000;
const ROM: u64 = (1 << 32) - SIZE as u64;
/// Offsets in it: 32-bit code, descriptors, the loop, what comes behind it, its data.
const WIDE: u64 = 0x100;
const TABLES: u64 = 0x800;
const PROGRAM: u64 = 0x1000;
const BEHIND: u64 = PROGRAM + (END - CODE);
const RESET: usize = 0xfff0;
/// Page tables.
const PML4: u64 = 0x1000;
const SERIAL: u32 = 0x3f8;

/// The image: at reset into protected mode, the loop and its data into RAM, for 64-bit code into long mode, and on.
fn rom(program: &Loop) -> Result<Vec<u8>> {
    let mut image = vec![0; SIZE];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    let assembled = |bits: u32, ip: u64, code: &dyn Fn(&mut CodeAssembler) -> Result<(), IcedError>| {
        let mut a = CodeAssembler::new(bits)?;
        code(&mut a)?;
        a.assemble(ip)
    };
    put(0, &assembled(16, 0, &real)?);
    put(WIDE as usize, &assembled(32, ROM + WIDE, &|a| protected(a, program))?);
    put(PROGRAM as usize, &assembled(program.bits, CODE, &program.code)?);
    put(BEHIND as usize, &assembled(program.bits, END, &|a| say(a, "END\r\n"))?);
    // No descriptor; 64-bit code, data and 32-bit code, all flat; what LGDT and LIDT load.
    let gdt = [0u64, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00cf_9b00_0000_ffff];
    gdt.iter().enumerate().for_each(|(at, entry)| put(TABLES as usize + 8 * at, &entry.to_le_bytes()));
    for (at, limit, base) in [(0x40, 31u16, ROM + TABLES), (0x50, 15 * 16 - 1, IDT), (0x60, 23, GDT)] {
        put(TABLES as usize + at, &limit.to_le_bytes());
        put(TABLES as usize + at + 2, &(base as u32).to_le_bytes());
    }
    // A near jump to offset 0.
    put(RESET, &[0xe9, 0x0d, 0x00]);
    Ok(image)
}

/// From reset: CS is the last 64 KiB below 4 GiB.
fn real(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.cli()?;
    // LGDT with a 32-bit base: 66 2E 0F 01 /2, disp16.
    a.db(&[0x66, 0x2e, 0x0f, 0x01, 0x16])?;
    a.dw(&[TABLES as u16 + 0x40])?;
    // CD and NW clear, too.
    a.mov(eax, 0x11)?;
    a.mov(cr0, eax)?;
    // JMP 0x18:WIDE with a 32-bit offset.
    a.db(&[0x66, 0xea])?;
    a.dd(&[(ROM + WIDE) as u32])?;
    a.dw(&[0x18])
}

fn protected(a: &mut CodeAssembler, program: &Loop) -> Result<(), IcedError> {
    a.mov(eax, 0x10)?;
    for segment in [ds, es, ss, fs, gs] {
        a.mov(segment, eax)?;
    }
    a.mov(esp, (DATA + 0x2_0000) as u32)?;
    a.cld()?;
    a.mov(esi, (ROM + PROGRAM) as u32)?;
    a.mov(edi, CODE as u32)?;
    a.mov(ecx, 0x1000 / 4)?;
    a.rep().movsd()?;
    fill(a)?;
    a.mov(dword_ptr(ROUNDS), program.rounds)?;
    serial(a)?;
    // OSFXSR and OSXMMEXCPT; neither TS nor EM.
    a.mov(eax, cr4)?;
    a.or(eax, 0x600)?;
    a.mov(cr4, eax)?;
    a.fninit()?;
    if program.bits == 64 {
        long(a)?;
    } else {
        announce(a)?;
        a.jmp(CODE)?;
    }
    Ok(())
}

/// The data by their rule: the byte of `n` is bits 13 to 20 of its product.
fn fill(a: &mut CodeAssembler) -> Result<(), IcedError> {
    debug_assert_eq!(data()[5], (5u32.wrapping_mul(0x9e37_79b9) >> 13) as u8);
    let mut top = a.create_label();
    a.xor(ecx, ecx)?;
    a.set_label(&mut top)?;
    a.imul_3(eax, ecx, 0x9e37_79b9u32 as i32)?;
    a.shr(eax, 13)?;
    a.mov(byte_ptr(ecx + DATA as u32), al)?;
    a.inc(ecx)?;
    a.cmp(ecx, DATA_LEN as u32)?;
    a.jb(top)
}

/// 115200 baud, eight bits.
fn serial(a: &mut CodeAssembler) -> Result<(), IcedError> {
    for (register, value) in [(3, 0x80u32), (0, 1), (1, 0), (3, 3), (2, 0)] {
        a.mov(edx, SERIAL + register)?;
        a.mov(eax, value)?;
        a.out(dx, al)?;
    }
    Ok(())
}

/// Long mode: the first GiB by pages of 2 MiB, but the data by those of 4 KiB, behind which nothing is; the gate for page
/// faults.
fn long(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut top = a.create_label();
    a.mov(dword_ptr(PML4), PML4 as u32 + 0x1003)?;
    a.mov(dword_ptr(PML4 + 0x1000), PML4 as u32 + 0x2003)?;
    // The image itself, where this code goes on.
    a.mov(dword_ptr(PML4 + 0x1000 + 8 * 3), PML4 as u32 + 0x4003)?;
    a.mov(dword_ptr(PML4 + 0x4000 + 8 * 511), 0xffe0_0083u32)?;
    a.mov(edi, PML4 as u32 + 0x2000)?;
    a.mov(eax, 0x83)?;
    a.mov(ecx, 512)?;
    a.set_label(&mut top)?;
    a.mov(dword_ptr(edi), eax)?;
    a.add(eax, 0x20_0000)?;
    a.add(edi, 8)?;
    a.dec(ecx)?;
    a.jne(top)?;
    a.mov(dword_ptr(PML4 + 0x2000 + 8 * (DATA >> 21)), PML4 as u32 + 0x3003)?;
    let mut top = a.create_label();
    a.mov(edi, PML4 as u32 + 0x3000)?;
    a.mov(eax, DATA as u32 + 3)?;
    a.mov(ecx, (DATA_LEN / 0x1000) as u32)?;
    a.set_label(&mut top)?;
    a.mov(dword_ptr(edi), eax)?;
    a.add(eax, 0x1000)?;
    a.add(edi, 8)?;
    a.dec(ecx)?;
    a.jne(top)?;
    // Gate 14 to 0x08:HANDLER, with the same code segment in the table there.
    for (at, word) in [
        (IDT + 14 * 16, 0x8_0000 | HANDLER as u32 & 0xffff),
        (IDT + 14 * 16 + 4, HANDLER as u32 & 0xffff_0000 | 0x8e00),
        (IDT + 14 * 16 + 8, 0),
        (GDT + 8, 0xffff),
        (GDT + 12, 0x00af_9b00),
        (GDT + 16, 0xffff),
        (GDT + 20, 0x00cf_9300),
    ] {
        a.mov(dword_ptr(at), word)?;
    }
    a.mov(eax, cr4)?;
    a.or(eax, 0x20)?;
    a.mov(cr4, eax)?;
    a.mov(eax, PML4 as u32)?;
    a.mov(cr3, eax)?;
    a.mov(ecx, 0xc000_0080u32)?;
    a.rdmsr()?;
    a.or(eax, 0x100)?;
    a.wrmsr()?;
    a.lidt(dword_ptr(ROM + TABLES + 0x50))?;
    announce(a)?;
    // Behind the last write of the tables: the loops write over them.
    a.lgdt(dword_ptr(ROM + TABLES + 0x60))?;
    a.mov(eax, 0x8001_0033u32)?;
    a.mov(cr0, eax)?;
    // JMP 0x08:CODE.
    a.db(&[0xea])?;
    a.dd(&[CODE as u32])?;
    a.dw(&[0x08])
}

fn announce(a: &mut CodeAssembler) -> Result<(), IcedError> {
    write(a, "BEGIN\r\n")
}

fn say(a: &mut CodeAssembler, text: &str) -> Result<(), IcedError> {
    write(a, text)?;
    let mut here = a.create_label();
    a.set_label(&mut here)?;
    a.hlt()?;
    a.jmp(here)
}

fn write(a: &mut CodeAssembler, text: &str) -> Result<(), IcedError> {
    for byte in text.bytes() {
        // Until the transmitter is empty.
        let mut wait = a.create_label();
        a.mov(edx, SERIAL + 5)?;
        a.set_label(&mut wait)?;
        a.in_(al, dx)?;
        a.test(al, 0x20)?;
        a.je(wait)?;
        a.mov(edx, SERIAL)?;
        a.mov(al, u32::from(byte))?;
        a.out(dx, al)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loop_has_an_image_and_a_row() {
        for one in &LOOPS {
            let image = rom(one).unwrap();
            assert_eq!(image[RESET..RESET + 3], [0xe9, 0x0d, 0x00], "a jump to the beginning");
            assert!(MEASURES.iter().any(|row| row.name == format!("loop: {}", one.name)), "{}", one.name);
        }
        assert_eq!(MEASURES.len(), LOOPS.len());
    }
}
