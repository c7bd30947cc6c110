//! Boot sectors of the lab's guests, assembled here.
//!
//! - [`hello`] says so on the serial port and the screen, then counts seconds and names keys: a guest that is up in no
//!   time and shows whether it runs.
//! - [`loader`] reads a Linux kernel and its initial RAM disk by bus-master DMA. Firmware reads disks port by port,
//!   which takes minutes where each port access is a trip through an emulated hypervisor.
//! - [`bench`](bench()) measures how long a guest waits for its device model.

mod bench;

use anyhow::{Context, Result, ensure};
use iced_x86::code_asm::*;

pub use bench::bench;

const SECTOR: usize = 512;
/// Where firmware loads a boot sector.
const ORIGIN: u64 = 0x7c00;
/// Free memory under the boot sector.
const VARIABLES: u32 = 0x600;
/// The BIOS counts timer ticks here, 18.2 a second.
const BIOS_TICKS: u32 = 0x46c;
const TICKS_A_SECOND: u32 = 18;

/// COM1's data register, and its line status with the bit that says that it takes a byte.
const COM1: u32 = 0x3f8;
const COM1_STATUS: u32 = COM1 + 5;
const TRANSMITTER_EMPTY: u32 = 0x20;

/// What [`hello`] says when it starts.
pub const HELLO: &str = "HELLO from the boot sector\r\n";
/// Where its text lies in the sector.
const HELLO_TEXT: usize = 0x1c0;

/// A disk of 1 MiB whose boot sector says [`HELLO`] on COM1 and on the screen, then on COM1 `beat NNNN` with a
/// hexadecimal count every second and `key C` for every key.
pub fn hello() -> Result<Vec<u8>> {
    let (last, count) = (VARIABLES, VARIABLES + 4);
    let mut a = CodeAssembler::new(16)?;
    let (mut text, mut begin, mut idle, mut keys) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label());
    let (mut send, mut wait, mut digits, mut decimal) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label());
    a.xor(ax, ax)?;
    a.mov(ds, ax)?;
    a.mov(ss, ax)?;
    a.mov(sp, ORIGIN as u32)?;
    a.cld()?;
    a.mov(word_ptr(count), ax)?;
    a.mov(si, ORIGIN as u32 + HELLO_TEXT as u32)?;
    a.set_label(&mut text)?;
    a.lodsb()?;
    a.test(al, al)?;
    a.je(begin)?;
    a.call(send)?;
    a.mov(ah, 0x0e)?; // teletype
    a.mov(bx, 7)?;
    a.int(0x10)?;
    a.jmp(text)?;

    a.set_label(&mut begin)?;
    a.sti()?;
    a.mov(eax, dword_ptr(BIOS_TICKS))?;
    a.mov(dword_ptr(last), eax)?;
    a.set_label(&mut idle)?;
    a.hlt()?;
    a.mov(eax, dword_ptr(BIOS_TICKS))?;
    a.sub(eax, dword_ptr(last))?;
    a.cmp(eax, TICKS_A_SECOND)?;
    a.jb(keys)?;
    a.add(dword_ptr(last), eax)?;
    a.inc(word_ptr(count))?;
    for letter in b"beat " {
        a.mov(al, u32::from(*letter))?;
        a.call(send)?;
    }
    a.mov(cx, 4)?;
    a.mov(bp, word_ptr(count))?;
    a.set_label(&mut digits)?;
    a.rol(bp, 4)?;
    a.mov(ax, bp)?;
    a.and(al, 15)?;
    a.add(al, u32::from(b'0'))?;
    a.cmp(al, u32::from(b'9'))?;
    a.jbe(decimal)?;
    a.add(al, 7)?; // from ':' to 'A'
    a.set_label(&mut decimal)?;
    a.call(send)?;
    a.loop_(digits)?;
    a.mov(al, u32::from(b'\n'))?;
    a.call(send)?;

    a.set_label(&mut keys)?;
    a.mov(ah, 1)?; // is a key there?
    a.int(0x16)?;
    a.je(idle)?;
    a.xor(ah, ah)?; // take it
    a.int(0x16)?;
    a.mov(bp, ax)?;
    for letter in b"key " {
        a.mov(al, u32::from(*letter))?;
        a.call(send)?;
    }
    a.mov(ax, bp)?;
    a.call(send)?;
    a.mov(al, u32::from(b'\n'))?;
    a.call(send)?;
    a.jmp(idle)?;

    send_code(&mut a, &mut send, &mut wait)?;

    let mut sector = sector(&mut a, HELLO_TEXT)?;
    sector[HELLO_TEXT..HELLO_TEXT + HELLO.len()].copy_from_slice(HELLO.as_bytes());
    sector.resize(1 << 20, 0);
    Ok(sector)
}

/// The subroutine that sends al to COM1; changes ah, dx.
fn send_code(a: &mut CodeAssembler, send: &mut CodeLabel, wait: &mut CodeLabel) -> Result<()> {
    a.set_label(send)?;
    a.mov(ah, al)?;
    a.mov(dx, COM1_STATUS)?;
    a.set_label(wait)?;
    a.in_(al, dx)?;
    a.test(al, TRANSMITTER_EMPTY)?;
    a.je(*wait)?;
    a.mov(al, ah)?;
    a.mov(dx, COM1)?;
    a.out(dx, al)?;
    Ok(a.ret()?)
}

/// The loader's unit of reading: one READ DMA of 256 sectors.
const CHUNK: usize = 256 * SECTOR;
/// The list of what to read lies in the boot sector: first sector, destination, number of chunks; a zero ends it.
const LIST: usize = 0x1a0;
/// Physical addresses: the kernel's real-mode part, its command line, the kernel, the initial RAM disk.
const SETUP: u32 = 0x1_0000;
const COMMAND_LINE: u32 = SETUP + 0xe000;
const KERNEL: u32 = 0x10_0000;
const RAMDISK: u32 = 0x600_0000;

/// PIIX3's IDE function, 00:01.1, as configuration mechanism #1 names it.
const IDE: u32 = 0x8000_0900;
const CONFIG_ADDRESS: u32 = 0xcf8;
const CONFIG_DATA: u32 = 0xcfc;
/// PCI registers: command, with I/O and bus master; the base of the bus-master ports.
const COMMAND: u32 = 0x04;
const IO_AND_MASTER: u32 = 5;
const BUS_MASTER_BASE: u32 = 0x20;
/// Bus-master ports: command (start; towards memory), status (active, error, interrupt), table.
const START: u32 = 1;
const TO_MEMORY: u32 = 8;
const ACTIVE: u32 = 1;
const FAILED: u32 = 2;
const STATUS_CLEAR: u32 = 6;
/// The drive's ports and its READ DMA command.
const SECTOR_COUNT: u32 = 0x1f2;
const DRIVE: u32 = 0x1f6;
const LBA_MODE: u32 = 0xe0;
const DRIVE_COMMAND: u32 = 0x1f7;
const READ_DMA: u32 = 0xc8;
const DEVICE_CONTROL: u32 = 0x3f6;
const NO_INTERRUPTS: u32 = 2;

/// Variables: the table of where DMA goes, the bus-master ports.
const DMA_TABLE: u32 = VARIABLES;
const BUS_MASTER: u32 = VARIABLES + 16;

/// A disk whose boot sector loads `kernel` (a bzImage) and `ramdisk` by DMA from the first IDE disk and starts them.
pub fn loader(kernel: &[u8], ramdisk: &[u8], command_line: &str) -> Result<Vec<u8>> {
    let mut disk = sector(&mut loader_code()?, LIST)?;
    disk.resize(CHUNK, 0);
    let (setup, kernel) = split(kernel, ramdisk.len())?;
    let mut low = setup;
    low.resize((COMMAND_LINE - SETUP) as usize, 0);
    low.extend_from_slice(command_line.as_bytes());
    low.push(0);
    for (index, (content, target)) in
        [(&low[..], SETUP), (kernel, KERNEL), (ramdisk, RAMDISK)].iter().enumerate()
    {
        let first = (disk.len() / SECTOR) as u32;
        let chunks = content.len().div_ceil(CHUNK);
        let mut entry = [0; 10];
        entry[0..4].copy_from_slice(&first.to_le_bytes());
        entry[4..8].copy_from_slice(&target.to_le_bytes());
        entry[8..10].copy_from_slice(&u16::try_from(chunks)?.to_le_bytes());
        disk[LIST + index * 10..][..10].copy_from_slice(&entry);
        disk.extend_from_slice(content);
        disk.resize(disk.len().next_multiple_of(CHUNK), 0);
    }
    Ok(disk)
}

/// The kernel's real-mode part with the header that a boot loader fills in, and the rest
/// (Documentation/arch/x86/boot.rst).
fn split(kernel: &[u8], ramdisk: usize) -> Result<(Vec<u8>, &[u8])> {
    let sectors = match *kernel.get(0x1f1).context("the kernel is cut short")? {
        0 => 4,
        count => usize::from(count),
    };
    let (setup, rest) = kernel.split_at_checked((sectors + 1) * SECTOR).context("the kernel is cut short")?;
    ensure!(setup.get(0x202..0x206) == Some(b"HdrS"), "not a Linux kernel");
    ensure!(setup.len() <= 0xd000, "the kernel's real-mode part is too large");
    let mut setup = setup.to_vec();
    setup[0x210] = 0xff; // type_of_loader: none that has a number
    setup[0x211] |= 0x80; // loadflags: the heap may be used
    setup[0x218..0x21c].copy_from_slice(&RAMDISK.to_le_bytes());
    setup[0x21c..0x220].copy_from_slice(&u32::try_from(ramdisk)?.to_le_bytes());
    setup[0x224..0x226].copy_from_slice(&0xde00u16.to_le_bytes()); // heap_end_ptr
    setup[0x228..0x22c].copy_from_slice(&COMMAND_LINE.to_le_bytes());
    Ok((setup, rest))
}

fn loader_code() -> Result<CodeAssembler> {
    let mut a = CodeAssembler::new(16)?;
    let (mut entry, mut chunk, mut failed, mut stop, mut start) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label(), a.create_label());
    a.cli()?;
    a.cld()?;
    a.xor(ax, ax)?;
    a.mov(ds, ax)?;
    a.mov(ss, ax)?;
    a.mov(sp, ORIGIN as u32)?;
    bus_master(&mut a)?;
    a.mov(dx, DEVICE_CONTROL)?;
    a.mov(al, NO_INTERRUPTS)?;
    a.out(dx, al)?;
    a.mov(si, ORIGIN as u32 + LIST as u32)?;

    a.set_label(&mut entry)?; // ebx: sector, edi: destination, cx: chunks
    a.lodsd()?;
    a.mov(ebx, eax)?;
    a.lodsd()?;
    a.mov(edi, eax)?;
    a.lodsw()?;
    a.mov(cx, ax)?;
    a.test(cx, cx)?;
    a.je(start)?;

    a.set_label(&mut chunk)?;
    read_chunk(&mut a, failed)?;
    a.dec(cx)?;
    a.jne(chunk)?;
    a.jmp(entry)?;

    a.set_label(&mut failed)?;
    a.mov(dx, COM1)?;
    a.mov(al, u32::from(b'!'))?;
    a.out(dx, al)?;
    a.set_label(&mut stop)?;
    a.hlt()?;
    a.jmp(stop)?;

    a.set_label(&mut start)?; // as the boot protocol wants it: segments at the setup part, entry 0x200 behind
    a.mov(ax, SETUP >> 4)?;
    for segment in [ds, es, fs, gs, ss] {
        a.mov(segment, ax)?;
    }
    a.mov(sp, 0xdff0)?;
    let [low, high] = ((SETUP >> 4) as u16 + 0x20).to_le_bytes();
    a.db(&[0xea, 0, 0, low, high])?; // jmp far
    Ok(a)
}

/// Switches the IDE function on and keeps where its bus-master ports are; changes eax, dx.
fn bus_master(a: &mut CodeAssembler) -> Result<()> {
    for (register, keep) in [(COMMAND, false), (BUS_MASTER_BASE, true)] {
        a.mov(eax, IDE | register)?;
        a.mov(dx, CONFIG_ADDRESS)?;
        a.out(dx, eax)?;
        a.mov(dx, CONFIG_DATA)?;
        a.in_(ax, dx)?;
        if keep {
            a.and(al, 0xf0)?;
            a.mov(word_ptr(BUS_MASTER), ax)?;
        } else {
            a.or(al, IO_AND_MASTER)?;
            a.out(dx, ax)?;
        }
    }
    Ok(())
}

/// Tells the first drive to begin at the sector in ebx, and how many it shall read; changes eax, dx.
fn address(a: &mut CodeAssembler, sectors: u32) -> Result<()> {
    a.mov(dx, DRIVE)?;
    a.mov(eax, ebx)?;
    a.shr(eax, 24)?;
    a.or(al, LBA_MODE)?;
    a.out(dx, al)?;
    a.mov(dx, SECTOR_COUNT)?;
    a.mov(al, sectors % 256)?; // 0 is 256
    a.out(dx, al)?;
    a.mov(eax, ebx)?;
    for _ in 0..3 {
        a.inc(dx)?;
        a.out(dx, al)?;
        a.shr(eax, 8)?;
    }
    Ok(())
}

/// Reads a chunk by DMA from the sector in ebx to edi, and moves both on; changes eax, dx.
fn read_chunk(a: &mut CodeAssembler, failed: CodeLabel) -> Result<()> {
    let mut wait = a.create_label();
    // Two regions of 64 KiB, the second ends the table.
    a.mov(dword_ptr(DMA_TABLE), edi)?;
    a.mov(dword_ptr(DMA_TABLE + 4), 0)?;
    a.lea(eax, dword_ptr(edi + 0x1_0000))?;
    a.mov(dword_ptr(DMA_TABLE + 8), eax)?;
    a.mov(dword_ptr(DMA_TABLE + 12), 0x8000_0000u32)?;
    a.mov(dx, word_ptr(BUS_MASTER))?;
    a.mov(al, TO_MEMORY)?;
    a.out(dx, al)?;
    a.add(dx, 2)?;
    a.mov(al, STATUS_CLEAR)?;
    a.out(dx, al)?;
    a.add(dx, 2)?;
    a.mov(eax, DMA_TABLE)?;
    a.out(dx, eax)?;
    address(a, 256)?;
    a.mov(dx, DRIVE_COMMAND)?;
    a.mov(al, READ_DMA)?;
    a.out(dx, al)?;
    a.mov(dx, word_ptr(BUS_MASTER))?;
    a.mov(al, TO_MEMORY | START)?;
    a.out(dx, al)?;
    a.add(dx, 2)?;
    a.set_label(&mut wait)?;
    a.in_(al, dx)?;
    a.test(al, FAILED)?;
    a.jne(failed)?;
    a.test(al, ACTIVE)?;
    a.jne(wait)?;
    a.sub(dx, 2)?;
    a.mov(al, TO_MEMORY)?;
    a.out(dx, al)?;
    a.mov(dx, DRIVE_COMMAND)?;
    a.in_(al, dx)?;
    a.test(al, 1)?;
    a.jne(failed)?;
    a.add(ebx, (CHUNK / SECTOR) as u32)?;
    a.add(edi, CHUNK as u32)?;
    Ok(())
}

/// The assembled code as a boot sector; the code ends before `limit`.
fn sector(a: &mut CodeAssembler, limit: usize) -> Result<Vec<u8>> {
    let mut sector = a.assemble(ORIGIN)?;
    ensure!(sector.len() <= limit, "a boot sector's code is {} bytes too long", sector.len() - limit);
    sector.resize(SECTOR, 0);
    sector[510] = 0x55;
    sector[511] = 0xaa;
    Ok(sector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_is_a_boot_sector_with_its_text() {
        let disk = hello().unwrap();
        assert_eq!(disk.len(), 1 << 20);
        assert_eq!(disk[510..512], [0x55, 0xaa]);
        assert!(disk[..510].windows(HELLO.len()).any(|part| part == HELLO.as_bytes()));
    }

    #[test]
    fn the_loader_knows_where_everything_lies() {
        let mut kernel = vec![0; 5 * SECTOR];
        kernel[0x1f1] = 4;
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel.extend_from_slice(&vec![7; CHUNK + 1]);
        let disk = loader(&kernel, b"ramdisk", "quiet").unwrap();
        let entry = |index: usize| {
            let at = LIST + index * 10;
            let word = |at: usize| u32::from_le_bytes(disk[at..at + 4].try_into().unwrap());
            (word(at), word(at + 4), u16::from_le_bytes([disk[at + 8], disk[at + 9]]))
        };
        assert_eq!(entry(0), (256, SETUP, 1));
        assert_eq!(entry(1), (512, KERNEL, 2));
        assert_eq!(entry(2), (1024, RAMDISK, 1));
        assert_eq!(entry(3), (0, 0, 0));
        assert_eq!(disk.len(), 1280 * SECTOR);
        assert_eq!(disk[512 * SECTOR..513 * SECTOR], [7; SECTOR]);
        assert_eq!(&disk[CHUNK + 0xe000..CHUNK + 0xe006], b"quiet\0");
        assert_eq!(&disk[1024 * SECTOR..1024 * SECTOR + 7], b"ramdisk");
    }

    #[test]
    fn a_kernel_that_is_none_is_refused() {
        assert!(loader(&[0; 100], b"", "").is_err());
        assert!(loader(&[0; 9000], b"", "").is_err());
    }
}
