//! The boot sector that measures: how long a guest waits for its device model.
//!
//! It times each thing by the time stamp counter and says on COM1 one line for each: `NAME COUNT TICKS`, both
//! hexadecimal; `done` ends them. Then it idles, woken only by the timer.

use anyhow::Result;
use iced_x86::code_asm::*;

use super::*;

/// How many times things are done.
const READS: u32 = 2000;
const PIO_SECTORS: u32 = 64;
const DMA_CHUNKS: u32 = 32;
const AP_READS: u32 = 1000;
const CALIBRATION: u32 = 9;

/// Variables: the time when the clock was started, the sum, the count of what is timed.
const STARTED: u32 = VARIABLES + 0x20;
const SUM: u32 = VARIABLES + 0x28;
const COUNT: u32 = VARIABLES + 0x30;
/// The second vCPU: it is there; it shall begin; it is done.
const READY: u32 = VARIABLES + 0x34;
const GO: u32 = VARIABLES + 0x35;
const DONE: u32 = VARIABLES + 0x36;
/// A descriptor table and what names it.
const TABLE: u32 = VARIABLES + 0x40;
const TABLE_NAME: u32 = VARIABLES + 0x50;

/// Where the code goes on behind the first sector.
const CODE: u64 = ORIGIN + SECTOR as u64;
/// Sectors behind the first one; the last is the second vCPU's code, at the start of a page.
const MORE: u32 = 10;
const AP_CODE: u64 = ORIGIN + (MORE as u64) * SECTOR as u64;
/// Where disk data goes.
const BUFFER: u32 = 0x2_0000;
const DMA_BUFFER: u32 = 0x10_0000;

/// The drive's data port and its READ SECTORS command; status: busy, data request.
const DATA: u32 = 0x1f0;
const READ_SECTORS: u32 = 0x20;
const BUSY: u32 = 0x80;
const REQUEST: u32 = 0x08;
/// A port that Xen answers itself: the timer's control and the speaker.
const SPEAKER: u32 = 0x61;
/// The VGA: its PCI identity, its register window, the DISPI identity there, a port of it.
const VGA: u32 = 0x1111_1234;
const VGA_REGISTERS: u32 = 0x18;
const DISPI: u32 = 0x500;
const VGA_PORT: u32 = 0x3cc;
/// The local APIC's command register; INIT and start-up to all others.
const COMMANDS: u32 = 0xfee0_0300;
const SEND_INIT: u32 = 0xc_4500;
const SEND_START: u32 = 0xc_4600;

/// Subroutines.
struct Subs {
    /// Starts the clock; changes eax, edx.
    start: CodeLabel,
    /// Stops it and adds to the sum; changes eax, edx.
    stop: CodeLabel,
    /// Says count and sum, and clears the sum; changes eax, cx, dx, ebp.
    report: CodeLabel,
    /// al to COM1; changes ah, dx.
    send: CodeLabel,
    /// eax as eight digits; changes eax, cx, dx, ebp.
    hex: CodeLabel,
    /// Says `!` and stays.
    failed: CodeLabel,
}

/// A disk of 8 MiB whose boot sector measures.
pub fn bench() -> Result<Vec<u8>> {
    let mut first = CodeAssembler::new(16)?;
    load(&mut first)?;
    let mut disk = sector(&mut first, SECTOR - 2)?;
    let mut code = CodeAssembler::new(16)?;
    program(&mut code)?;
    disk.extend_from_slice(&code.assemble(CODE)?);
    let mut ap = CodeAssembler::new(16)?;
    second_vcpu(&mut ap)?;
    let (ap, at) = (ap.assemble(AP_CODE)?, (AP_CODE - ORIGIN) as usize);
    ensure!(disk.len() <= at && ap.len() <= SECTOR, "the code that measures is too long");
    disk.resize(at, 0);
    disk.extend_from_slice(&ap);
    disk.resize(8 << 20, 0);
    Ok(disk)
}

fn program(a: &mut CodeAssembler) -> Result<()> {
    let mut subs = Subs {
        start: a.create_label(),
        stop: a.create_label(),
        report: a.create_label(),
        send: a.create_label(),
        hex: a.create_label(),
        failed: a.create_label(),
    };
    calibrate(a, &subs)?;
    flat_fs(a)?;
    ide_by_polling(a)?;
    for (name, port) in [("xen", SPEAKER), ("port", DRIVE_COMMAND)] {
        a.mov(dx, port)?;
        repeat(a, &subs, name, |a| Ok(a.in_(al, dx)?))?;
    }
    mmio(a, &subs)?;
    pio_sectors(a, &subs)?;
    dma(a, &subs)?;
    two_vcpus(a, &subs)?;
    say(a, &subs, "done\n")?;
    let mut idle = a.create_label();
    a.sti()?;
    a.set_label(&mut idle)?;
    a.hlt()?;
    a.jmp(idle)?;
    subroutines(a, &mut subs)
}

/// Loads the rest, with the firmware's help.
fn load(a: &mut CodeAssembler) -> Result<()> {
    let mut stay = a.create_label();
    a.cli()?;
    a.cld()?;
    a.xor(ax, ax)?;
    for segment in [ds, es, ss] {
        a.mov(segment, ax)?;
    }
    a.mov(sp, ORIGIN as u32)?;
    a.sti()?;
    a.mov(ax, 0x200 | MORE)?; // read sectors
    a.mov(cx, 2)?; // beginning with the second
    a.mov(dh, 0)?;
    a.mov(bx, CODE as u32)?;
    a.int(0x13)?;
    a.jae(CODE)?;
    a.set_label(&mut stay)?;
    a.hlt()?;
    Ok(a.jmp(stay)?)
}

/// How fast the counter counts: ticks in so many of the BIOS's.
fn calibrate(a: &mut CodeAssembler, subs: &Subs) -> Result<()> {
    let (mut edge, mut wait) = (a.create_label(), a.create_label());
    a.mov(dword_ptr(SUM), 0)?;
    a.mov(dword_ptr(SUM + 4), 0)?;
    a.mov(dword_ptr(COUNT), CALIBRATION)?;
    a.mov(ebx, dword_ptr(BIOS_TICKS))?;
    a.set_label(&mut edge)?;
    a.cmp(ebx, dword_ptr(BIOS_TICKS))?;
    a.je(edge)?;
    a.call(subs.start)?;
    a.add(ebx, CALIBRATION + 1)?;
    a.set_label(&mut wait)?;
    a.cmp(dword_ptr(BIOS_TICKS), ebx)?;
    a.jb(wait)?;
    a.call(subs.stop)?;
    a.cli()?;
    say(a, subs, "clock ")?;
    Ok(a.call(subs.report)?)
}

/// Gives fs a limit of 4 GiB, by a moment of protected mode.
fn flat_fs(a: &mut CodeAssembler) -> Result<()> {
    for (at, value) in [(0, 0), (4, 0), (8, 0xffff), (12, 0xcf_9200)] {
        a.mov(dword_ptr(TABLE + at), value)?;
    }
    a.mov(word_ptr(TABLE_NAME), 15)?;
    a.mov(dword_ptr(TABLE_NAME + 2), TABLE)?;
    a.lgdt(ptr(TABLE_NAME))?;
    a.mov(eax, cr0)?;
    a.or(al, 1)?;
    a.mov(cr0, eax)?;
    a.mov(bx, 8)?;
    a.mov(fs, bx)?;
    a.and(al, 0xfe)?;
    Ok(a.mov(cr0, eax)?)
}

fn ide_by_polling(a: &mut CodeAssembler) -> Result<()> {
    bus_master(a)?;
    a.mov(dx, DEVICE_CONTROL)?;
    a.mov(al, NO_INTERRUPTS)?;
    Ok(a.out(dx, al)?)
}

/// One thing many times.
fn repeat(
    a: &mut CodeAssembler,
    subs: &Subs,
    name: &str,
    thing: impl Fn(&mut CodeAssembler) -> Result<()>,
) -> Result<()> {
    let mut again = a.create_label();
    a.mov(dword_ptr(COUNT), READS)?;
    a.mov(cx, READS)?;
    a.push(dx)?;
    a.call(subs.start)?;
    a.pop(dx)?;
    a.set_label(&mut again)?;
    thing(a)?;
    a.loop_(again)?;
    a.call(subs.stop)?;
    say(a, subs, &format!("{name} "))?;
    Ok(a.call(subs.report)?)
}

/// Reads of a VGA register in memory, if there is a VGA.
fn mmio(a: &mut CodeAssembler, subs: &Subs) -> Result<()> {
    let (mut slot, mut found, mut none) = (a.create_label(), a.create_label(), a.create_label());
    a.mov(ebx, 0x8000_0000u32)?;
    a.set_label(&mut slot)?;
    pci_read(a)?;
    a.cmp(eax, VGA)?;
    a.je(found)?;
    a.add(ebx, 0x800)?;
    a.cmp(ebx, 0x8001_0000u32)?;
    a.jb(slot)?;
    a.jmp(none)?;
    a.set_label(&mut found)?;
    a.add(bx, VGA_REGISTERS)?;
    pci_read(a)?;
    a.and(al, 0xf0)?;
    a.lea(ebx, dword_ptr(eax + DISPI))?;
    repeat(a, subs, "mmio", |a| Ok(a.mov(ax, word_ptr(ebx).fs())?))?;
    a.set_label(&mut none)?;
    Ok(a.nop()?)
}

/// The PCI register that ebx names, into eax; changes dx.
fn pci_read(a: &mut CodeAssembler) -> Result<()> {
    a.mov(eax, ebx)?;
    a.mov(dx, CONFIG_ADDRESS)?;
    a.out(dx, eax)?;
    a.mov(dx, CONFIG_DATA)?;
    Ok(a.in_(eax, dx)?)
}

/// Sectors through the data port: what is timed is `rep insw`.
fn pio_sectors(a: &mut CodeAssembler, subs: &Subs) -> Result<()> {
    let (mut sector, mut wait) = (a.create_label(), a.create_label());
    a.mov(dword_ptr(COUNT), PIO_SECTORS)?;
    a.xor(ebx, ebx)?;
    address(a, PIO_SECTORS)?;
    a.mov(dx, DRIVE_COMMAND)?;
    a.mov(al, READ_SECTORS)?;
    a.out(dx, al)?;
    a.mov(bx, PIO_SECTORS)?;
    a.mov(ax, BUFFER >> 4)?;
    a.mov(es, ax)?;
    a.set_label(&mut sector)?;
    a.mov(dx, DRIVE_COMMAND)?;
    a.set_label(&mut wait)?;
    a.in_(al, dx)?;
    a.and(al, BUSY | REQUEST)?;
    a.cmp(al, REQUEST)?;
    a.jne(wait)?;
    a.call(subs.start)?;
    a.mov(dx, DATA)?;
    a.xor(di, di)?;
    a.mov(cx, SECTOR as u32 / 2)?;
    a.rep().insw()?;
    a.call(subs.stop)?;
    a.dec(bx)?;
    a.jne(sector)?;
    say(a, subs, "insw ")?;
    Ok(a.call(subs.report)?)
}

/// Bus-master reads.
fn dma(a: &mut CodeAssembler, subs: &Subs) -> Result<()> {
    let mut chunk = a.create_label();
    a.mov(dword_ptr(COUNT), DMA_CHUNKS)?;
    a.mov(ebx, 0)?;
    a.mov(edi, DMA_BUFFER)?;
    a.mov(cx, DMA_CHUNKS)?;
    a.call(subs.start)?;
    a.set_label(&mut chunk)?;
    read_chunk(a, subs.failed)?;
    a.dec(cx)?;
    a.jne(chunk)?;
    a.call(subs.stop)?;
    say(a, subs, "dma ")?;
    Ok(a.call(subs.report)?)
}

/// Two vCPUs that read two devices' ports: the second so many times, this one until that is done.
fn two_vcpus(a: &mut CodeAssembler, subs: &Subs) -> Result<()> {
    let (mut wait, mut again, mut alone) = (a.create_label(), a.create_label(), a.create_label());
    for flag in [READY, GO, DONE] {
        a.mov(byte_ptr(flag), 0)?;
    }
    a.mov(dword_ptr(COUNT), AP_READS)?;
    a.mov(ebx, COMMANDS)?;
    for command in [SEND_INIT, SEND_START | (AP_CODE as u32 >> 12)] {
        a.mov(dword_ptr(ebx).fs(), command)?;
    }
    a.mov(ecx, 200_000_000u32)?;
    a.set_label(&mut wait)?;
    a.pause()?;
    a.dec(ecx)?;
    a.je(alone)?;
    a.cmp(byte_ptr(READY), 0)?;
    a.je(wait)?;
    a.call(subs.start)?;
    a.mov(byte_ptr(GO), 1)?;
    a.mov(dx, DRIVE_COMMAND)?;
    a.set_label(&mut again)?;
    a.in_(al, dx)?;
    a.inc(dword_ptr(COUNT))?;
    a.cmp(byte_ptr(DONE), 0)?;
    a.je(again)?;
    a.call(subs.stop)?;
    say(a, subs, "both ")?;
    a.call(subs.report)?;
    a.set_label(&mut alone)?;
    Ok(a.nop()?)
}

fn second_vcpu(a: &mut CodeAssembler) -> Result<()> {
    let (mut wait, mut again, mut stop) = (a.create_label(), a.create_label(), a.create_label());
    a.cli()?;
    a.xor(ax, ax)?;
    a.mov(ds, ax)?;
    a.mov(dx, VGA_PORT)?;
    a.mov(cx, AP_READS)?;
    a.mov(byte_ptr(READY), 1)?;
    a.set_label(&mut wait)?;
    a.pause()?;
    a.cmp(byte_ptr(GO), 0)?;
    a.je(wait)?;
    a.set_label(&mut again)?;
    a.in_(al, dx)?;
    a.loop_(again)?;
    a.mov(byte_ptr(DONE), 1)?;
    a.set_label(&mut stop)?;
    a.hlt()?;
    Ok(a.jmp(stop)?)
}

fn subroutines(a: &mut CodeAssembler, subs: &mut Subs) -> Result<()> {
    let (mut wait, mut digit, mut decimal, mut stay) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut subs.start)?;
    a.rdtsc()?;
    a.mov(dword_ptr(STARTED), eax)?;
    a.mov(dword_ptr(STARTED + 4), edx)?;
    a.ret()?;

    a.set_label(&mut subs.stop)?;
    a.rdtsc()?;
    a.sub(eax, dword_ptr(STARTED))?;
    a.sbb(edx, dword_ptr(STARTED + 4))?;
    a.add(dword_ptr(SUM), eax)?;
    a.adc(dword_ptr(SUM + 4), edx)?;
    a.ret()?;

    a.set_label(&mut subs.report)?;
    a.mov(eax, dword_ptr(COUNT))?;
    a.call(subs.hex)?;
    say(a, subs, " ")?;
    for at in [4, 0] {
        a.mov(eax, dword_ptr(SUM + at))?;
        a.call(subs.hex)?;
        a.mov(dword_ptr(SUM + at), 0)?;
    }
    say(a, subs, "\n")?;
    a.ret()?;

    a.set_label(&mut subs.hex)?;
    a.mov(ebp, eax)?;
    a.mov(cx, 8)?;
    a.set_label(&mut digit)?;
    a.rol(ebp, 4)?;
    a.mov(ax, bp)?;
    a.and(al, 15)?;
    a.add(al, u32::from(b'0'))?;
    a.cmp(al, u32::from(b'9'))?;
    a.jbe(decimal)?;
    a.add(al, 7)?; // from ':' to 'A'
    a.set_label(&mut decimal)?;
    a.call(subs.send)?;
    a.loop_(digit)?;
    a.ret()?;

    send_code(a, &mut subs.send, &mut wait)?;

    a.set_label(&mut subs.failed)?;
    a.mov(al, u32::from(b'!'))?;
    a.call(subs.send)?;
    a.set_label(&mut stay)?;
    a.hlt()?;
    Ok(a.jmp(stay)?)
}

/// Code that says a text.
fn say(a: &mut CodeAssembler, subs: &Subs, text: &str) -> Result<()> {
    for letter in text.bytes() {
        a.mov(al, u32::from(letter))?;
        a.call(subs.send)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_boot_sector_with_the_second_vcpus_code_at_a_page() {
        let disk = bench().unwrap();
        assert_eq!(disk.len(), 8 << 20);
        assert_eq!(disk[510..512], [0x55, 0xaa]);
        assert_eq!(AP_CODE % 0x1000, 0);
        assert_eq!(disk[(AP_CODE - ORIGIN) as usize], 0xfa, "cli");
    }
}
