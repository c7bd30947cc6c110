//! The option ROM that loads a kernel: PnP header, a little 16-bit code, and a table of copies to make.
//!
//! Why a ROM: the firmware must have run when Linux starts, because the kernel asks it for the memory map and uses the
//! screen it set up. The firmware starts a PnP ROM that has a bootstrap entry vector (BEV) as if it were a disk (BIOS
//! Boot Specification 1.01, section 3.3; Plug and Play BIOS Specification 1.0A, section 3).
//!
//! Why so little code: the table holds finished requests of the firmware configuration device's DMA interface (QEMU
//! `docs/specs/fw_cfg.rst`), so the ROM never leaves real mode and computes nothing. The device writes its answer into
//! the request, and the ROM's own memory is read-only by then, so every request is first copied to 0000:7000.

/// One copy: an item of the firmware configuration device to a physical address.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    selector: u16,
    length: u32,
    address: u32,
}

impl Load {
    /// `length` bytes of the item `selector` to `address`.
    pub fn new(selector: u16, length: usize, address: u32) -> Self {
        Self { selector, length: length as u32, address }
    }

    /// The DMA request: control, length and address, all big-endian.
    fn request(self) -> [u8; REQUEST_BYTES] {
        const READ: u32 = 1 << 1;
        const SELECT: u32 = 1 << 3;
        let control = (u32::from(self.selector) << 16) | SELECT | READ;
        let mut bytes = [0; REQUEST_BYTES];
        bytes[..4].copy_from_slice(&control.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.length.to_be_bytes());
        bytes[8..].copy_from_slice(&u64::from(self.address).to_be_bytes());
        bytes
    }
}

const REQUEST_BYTES: usize = 16;
/// Offset of the PnP header.
const PNP: u8 = 0x20;
/// Offset of the product name.
const PRODUCT: usize = 0x40;
/// Offset of the code at the bootstrap entry vector.
const ENTRY: usize = 0x50;
/// Offset of the first request.
const TABLE: u16 = 0xc0;

/// The ROM: makes all `loads`, then enters the real-mode code in `segment` at its offset 0x200 with a stack that ends
/// at `stack_end` in that segment.
pub fn build(loads: &[Load], segment: u16, stack_end: u16) -> Vec<u8> {
    let end = usize::from(TABLE) + (loads.len() + 1) * REQUEST_BYTES;
    let mut rom = vec![0; end.next_multiple_of(512)];
    let blocks = (rom.len() / 512) as u8;
    // Signature, size, and the initialisation entry at 3: a far return, there is nothing to prepare.
    put(&mut rom, 0, &[0x55, 0xaa, blocks, 0xcb]);
    put(&mut rom, 0x1a, &[PNP, 0]);
    put(&mut rom, PNP.into(), &pnp_header());
    put(&mut rom, PRODUCT, b"Linux (direct)\0");
    put(&mut rom, ENTRY, &code(segment, stack_end));
    for (index, load) in loads.iter().enumerate() {
        put(&mut rom, usize::from(TABLE) + index * REQUEST_BYTES, &load.request());
    }
    if let Some((last, rest)) = rom.split_last_mut() {
        *last = rest.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    }
    rom
}

fn put(rom: &mut [u8], at: usize, bytes: &[u8]) {
    rom[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The PnP expansion header: only the product name and the bootstrap entry vector are given.
fn pnp_header() -> [u8; 32] {
    let mut header = [0; 32];
    put(&mut header, 0, b"$PnP\x01\x02");
    put(&mut header, 16, &(PRODUCT as u16).to_le_bytes());
    put(&mut header, 26, &(ENTRY as u16).to_le_bytes());
    header[9] = header.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    header
}

/// The code at the bootstrap entry vector. Position-independent but for the table's offset.
fn code(segment: u16, stack_end: u16) -> Vec<u8> {
    let [table_low, table_high] = TABLE.to_le_bytes();
    let [segment_low, segment_high] = segment.to_le_bytes();
    let [stack_low, stack_high] = stack_end.to_le_bytes();
    // The kernel's entry is 0x200 bytes into its segment.
    let [entry_low, entry_high] = segment.wrapping_add(0x20).to_le_bytes();
    #[rustfmt::skip]
    let code = vec![
        0xfa,                               // 00 cli
        0xfc,                               // 01 cld
        0x31, 0xc0,                         // 02 xor ax, ax
        0x8e, 0xc0,                         // 04 mov es, ax
        0x8e, 0xd0,                         // 06 mov ss, ax
        0xbc, 0x00, 0x7c,                   // 08 mov sp, 0x7c00
        0x0e,                               // 0b push cs
        0x1f,                               // 0c pop ds
        0xbe, table_low, table_high,        // 0d mov si, TABLE
        // next: a request whose control word is zero ends the table
        0x66, 0x83, 0x3c, 0x00,             // 10 cmp dword [si], 0
        0x74, 0x33,                         // 14 je start
        0xbf, 0x00, 0x70,                   // 16 mov di, 0x7000
        0xb9, 0x08, 0x00,                   // 19 mov cx, 8
        0xf3, 0xa5,                         // 1c rep movsw
        // the request's address, big-endian, upper half first; writing the lower half starts the copy
        0xba, 0x14, 0x05,                   // 1e mov dx, 0x514
        0x66, 0x31, 0xc0,                   // 21 xor eax, eax
        0x66, 0xef,                         // 24 out dx, eax
        0xba, 0x18, 0x05,                   // 26 mov dx, 0x518
        0x66, 0xb8, 0x00, 0x00, 0x70, 0x00, // 29 mov eax, 0x00700000
        0x66, 0xef,                         // 2f out dx, eax
        // wait until no bit but the error bit is left
        0xf3, 0x90,                         // 31 pause
        0x26, 0x66, 0xa1, 0x00, 0x70,       // 33 mov eax, es:[0x7000]
        0x66, 0xa9, 0xff, 0xff, 0xff, 0xfe, // 38 test eax, 0xfeffffff
        0x75, 0xf1,                         // 3e jne wait
        0x66, 0x85, 0xc0,                   // 40 test eax, eax
        0x74, 0xcb,                         // 43 je next
        0xcd, 0x18,                         // 45 int 0x18: this device did not boot
        0xeb, 0xfe,                         // 47 jmp $
        // start: every data segment is the kernel's
        0xb8, segment_low, segment_high,    // 49 mov ax, segment
        0x8e, 0xd8,                         // 4c mov ds, ax
        0x8e, 0xc0,                         // 4e mov es, ax
        0x8e, 0xe0,                         // 50 mov fs, ax
        0x8e, 0xe8,                         // 52 mov gs, ax
        0x8e, 0xd0,                         // 54 mov ss, ax
        0xbc, stack_low, stack_high,        // 56 mov sp, stack_end
        0xea, 0x00, 0x00, entry_low, entry_high, // 59 jmp far entry:0
    ];
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions, FlowControl, Mnemonic};

    #[test]
    fn the_code_is_what_its_comments_say() {
        let code = code(0x1000, 0xe000);
        assert!(ENTRY + code.len() <= usize::from(TABLE));
        let mut starts = Vec::new();
        let mut targets = Vec::new();
        let mut last = Mnemonic::INVALID;
        for instruction in Decoder::with_ip(16, &code, 0, DecoderOptions::NONE) {
            assert!(!instruction.is_invalid());
            starts.push(instruction.ip());
            last = instruction.mnemonic();
            if matches!(
                instruction.flow_control(),
                FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
            ) && !instruction.is_jmp_far()
            {
                targets.push(instruction.near_branch_target());
            }
        }
        assert_eq!(last, Mnemonic::Jmp);
        assert_eq!(targets, [0x49, 0x31, 0x10, 0x47]);
        for target in targets {
            assert!(starts.contains(&target), "{target:#x}");
        }
    }

    #[test]
    fn the_rom_adds_up_and_points_to_its_parts() {
        let loads = vec![Load::new(0x18, 0x4000, 0x1_0000); 40];
        for count in [1, 4, 40] {
            let rom = build(&loads[..count], 0x1000, 0xe000);
            assert_eq!(rom.len() % 512, 0);
            assert_eq!(usize::from(rom[2]) * 512, rom.len());
            assert_eq!(rom.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
            let pnp = usize::from(u16::from_le_bytes([rom[0x1a], rom[0x1b]]));
            let header = &rom[pnp..pnp + 32];
            assert_eq!(&header[..4], b"$PnP");
            assert_eq!(header.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
            assert_eq!(u16::from_le_bytes([header[26], header[27]]), ENTRY as u16);
            let table = usize::from(TABLE);
            assert_eq!(rom[table..table + 16], [0, 0x18, 0, 0x0a, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
            let end = table + count * 16;
            assert_eq!(rom[end..end + 4], [0; 4], "the table ends");
        }
    }
}
