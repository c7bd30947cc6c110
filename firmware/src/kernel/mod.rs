//! Direct kernel boot: a bzImage, an initial RAM disk and a command line, started with no boot loader on any disk.
//!
//! The firmware runs as always. Among its option ROMs it finds ours ([`mod@rom`]), which the boot order puts first; the ROM
//! asks the firmware configuration device to copy kernel, RAM disk and command line to their places by DMA and jumps to
//! the kernel's real-mode entry. So the kernel sees what it sees after any BIOS boot loader: E820, VGA, EDD, APM.
//!
//! The kernel's setup header is patched here as a boot loader must (Linux `Documentation/arch/x86/boot.rst`). The same
//! data lie under QEMU's selectors, where OVMF looks for them.

pub mod rom;

use linux_loader::loader::bootparam::setup_header;
use vm_memory::ByteValued;

use crate::info::Item;

/// The option ROM's file.
pub const ROM_FILE: &str = "genroms/ailurus-linux.bin";

/// Where the setup header lies in a bzImage.
const HEADER: usize = 0x1f1;
const MAGIC: u32 = u32::from_le_bytes(*b"HdrS");
/// Boot protocol 2.02: a command line anywhere in low memory.
const OLDEST: u16 = 0x0202;
const LOADED_HIGH: u8 = 1 << 0;
const CAN_USE_HEAP: u8 = 1 << 7;
/// A loader that has no number of its own.
const LOADER_UNKNOWN: u8 = 0xff;
/// Sectors of setup code when the header says zero.
const OLD_SETUP_SECTORS: u8 = 4;

/// Real-mode code and its heap and stack: a 64 KiB segment.
const SETUP_ADDRESS: u32 = 0x1_0000;
/// End of heap and stack in that segment.
const STACK_END: u16 = 0xe000;
const COMMAND_LINE_ADDRESS: u32 = 0x2_0000;
/// The most that fits below SeaBIOS's own low memory.
const COMMAND_LINE_MOST: u32 = 0xffff;
const KERNEL_ADDRESS: u32 = 0x10_0000;
/// What the firmware may take from the top of low memory for ACPI tables and its own use.
const FIRMWARE_BYTES: u64 = 1 << 20;
/// Where kernels of old protocols want their RAM disk to end.
const OLD_RAMDISK_LIMIT: u32 = 0x37ff_ffff;
const PAGE: u64 = 4096;

/// QEMU's selectors for a kernel.
mod selector {
    pub const KERNEL_ADDRESS: u16 = 0x07;
    pub const KERNEL_SIZE: u16 = 0x08;
    pub const INITRD_ADDRESS: u16 = 0x0a;
    pub const INITRD_SIZE: u16 = 0x0b;
    pub const KERNEL_ENTRY: u16 = 0x10;
    pub const KERNEL_DATA: u16 = 0x11;
    pub const INITRD_DATA: u16 = 0x12;
    pub const COMMAND_LINE_ADDRESS: u16 = 0x13;
    pub const COMMAND_LINE_SIZE: u16 = 0x14;
    pub const COMMAND_LINE_DATA: u16 = 0x15;
    pub const SETUP_ADDRESS: u16 = 0x16;
    pub const SETUP_SIZE: u16 = 0x17;
    pub const SETUP_DATA: u16 = 0x18;
}

/// Why a kernel cannot be started.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// No setup header.
    #[error("it is no Linux kernel: a bzImage with the boot header \"HdrS\" is expected")]
    NotBzImage,
    /// The header promises more than the file has.
    #[error("the kernel is cut short: its header says {expected} bytes of setup, the file has {found} bytes")]
    Truncated {
        /// Bytes of setup code.
        expected: usize,
        /// Bytes of the file.
        found: usize,
    },
    /// A protocol or a layout from before 2001.
    #[error(
        "the kernel's boot protocol {major}.{minor:02} is too old: 2.02 with a high-loaded kernel is the least"
    )]
    TooOld {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// More command line than the kernel takes.
    #[error("the kernel command line has {length} bytes; this kernel takes at most {most}")]
    CommandLineTooLong {
        /// Bytes given.
        length: usize,
        /// Bytes that the kernel takes.
        most: usize,
    },
    /// A zero byte would end the command line early.
    #[error("the kernel command line has a zero byte in it")]
    CommandLineZero,
    /// `vga=` with something that is no video mode.
    #[error("the kernel command line has vga={0}: expected normal, ext, ask or a number of 16 bits")]
    VideoMode(String),
    /// Kernel and RAM disk need more memory.
    #[error(
        "the kernel and its initrd do not fit: they need {} MiB of memory below {} MiB",
        needed.div_ceil(1 << 20), limit >> 20
    )]
    NoRoom {
        /// Bytes needed, from address 0.
        needed: u64,
        /// First address that may not be used.
        limit: u64,
    },
}

/// A kernel ready to be started: everything in its place.
#[derive(Clone, Debug)]
pub struct DirectKernel {
    setup: Vec<u8>,
    kernel: Vec<u8>,
    initrd: Vec<u8>,
    initrd_address: u32,
    /// With its final zero.
    command_line: Vec<u8>,
}

impl DirectKernel {
    /// Lays out a kernel for a machine with `ram_below_4g` bytes of low memory.
    ///
    /// `image` is the whole bzImage. An empty `initrd` means none.
    ///
    /// # Errors
    /// The image is none, is cut short or too old; the command line is too long for it; memory does not suffice.
    pub fn new(
        image: &[u8],
        initrd: Vec<u8>,
        command_line: &str,
        ram_below_4g: u64,
    ) -> Result<Self, KernelError> {
        let mut header = read_header(image)?;
        let sectors = match header.setup_sects {
            0 => OLD_SETUP_SECTORS,
            sectors => sectors,
        };
        let setup_bytes = (usize::from(sectors) + 1) * 512;
        let truncated = KernelError::Truncated { expected: setup_bytes, found: image.len() };
        let Some((setup, kernel)) = image.split_at_checked(setup_bytes) else {
            return Err(truncated);
        };
        if kernel.is_empty() {
            return Err(truncated);
        }
        let command_line = check_command_line(&header, command_line)?;
        let initrd_address = place_initrd(&header, kernel.len(), initrd.len(), ram_below_4g)?;
        if let Some(mode) = video_mode(&command_line)? {
            header.vid_mode = mode;
        }

        header.type_of_loader = LOADER_UNKNOWN;
        header.loadflags |= CAN_USE_HEAP;
        // The protocol counts the heap's end from 0x200 on.
        header.heap_end_ptr = STACK_END - 0x200;
        header.cmd_line_ptr = COMMAND_LINE_ADDRESS;
        header.ramdisk_image = if initrd.is_empty() { 0 } else { initrd_address };
        header.ramdisk_size = initrd.len() as u32;
        let mut setup = setup.to_vec();
        write_header(&mut setup, &header);
        Ok(Self { setup, kernel: kernel.to_vec(), initrd, initrd_address, command_line })
    }

    /// The kernel's items and the option ROM. The boot order must name the ROM: [`crate::fw_cfg_items`] sees to it.
    pub fn items(&self) -> Vec<Item> {
        let number = |key: u16, value: u32| Item::numeric(key, value.to_le_bytes());
        vec![
            number(selector::KERNEL_ADDRESS, KERNEL_ADDRESS),
            number(selector::KERNEL_SIZE, self.kernel.len() as u32),
            number(selector::KERNEL_ENTRY, KERNEL_ADDRESS),
            Item::numeric(selector::KERNEL_DATA, self.kernel.clone()),
            number(selector::INITRD_ADDRESS, self.initrd_address),
            number(selector::INITRD_SIZE, self.initrd.len() as u32),
            Item::numeric(selector::INITRD_DATA, self.initrd.clone()),
            number(selector::COMMAND_LINE_ADDRESS, COMMAND_LINE_ADDRESS),
            number(selector::COMMAND_LINE_SIZE, self.command_line.len() as u32),
            Item::numeric(selector::COMMAND_LINE_DATA, self.command_line.clone()),
            number(selector::SETUP_ADDRESS, SETUP_ADDRESS),
            number(selector::SETUP_SIZE, self.setup.len() as u32),
            Item::numeric(selector::SETUP_DATA, self.setup.clone()),
            Item::file(ROM_FILE, self.rom()),
        ]
    }

    /// The option ROM that loads exactly this kernel.
    fn rom(&self) -> Vec<u8> {
        let mut loads = vec![
            rom::Load::new(selector::SETUP_DATA, self.setup.len(), SETUP_ADDRESS),
            rom::Load::new(selector::COMMAND_LINE_DATA, self.command_line.len(), COMMAND_LINE_ADDRESS),
            rom::Load::new(selector::KERNEL_DATA, self.kernel.len(), KERNEL_ADDRESS),
        ];
        if !self.initrd.is_empty() {
            loads.push(rom::Load::new(selector::INITRD_DATA, self.initrd.len(), self.initrd_address));
        }
        rom::build(&loads, (SETUP_ADDRESS >> 4) as u16, STACK_END)
    }
}

/// Copies the setup header out of the image and checks that it is one.
fn read_header(image: &[u8]) -> Result<setup_header, KernelError> {
    let mut header = setup_header::default();
    let bytes = header.as_mut_slice();
    let found = image.get(HEADER..HEADER + bytes.len()).ok_or(KernelError::NotBzImage)?;
    bytes.copy_from_slice(found);
    if header.header != MAGIC || header.boot_flag != 0xaa55 {
        return Err(KernelError::NotBzImage);
    }
    let version = header.version;
    if version < OLDEST || header.loadflags & LOADED_HIGH == 0 {
        let [minor, major] = version.to_le_bytes();
        return Err(KernelError::TooOld { major, minor });
    }
    Ok(header)
}

/// Writes the patched header back, but no further than the image's own header goes: behind it lies setup code.
fn write_header(setup: &mut [u8], header: &setup_header) {
    // The jump over the header at 0x200 tells where it ends.
    let end = 0x202 + usize::from(header.jump.to_le_bytes()[1]);
    let bytes = header.as_slice();
    let length = end.saturating_sub(HEADER).min(bytes.len());
    if let (Some(to), Some(from)) = (setup.get_mut(HEADER..HEADER + length), bytes.get(..length)) {
        to.copy_from_slice(from);
    }
}

fn check_command_line(header: &setup_header, text: &str) -> Result<Vec<u8>, KernelError> {
    // Before protocol 2.06 the header has no limit, and it was 255 bytes.
    let most = match header.version {
        0x0206.. => header.cmdline_size.min(COMMAND_LINE_MOST),
        _ => 255,
    } as usize;
    if text.len() > most {
        return Err(KernelError::CommandLineTooLong { length: text.len(), most });
    }
    if text.contains('\0') {
        return Err(KernelError::CommandLineZero);
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    Ok(bytes)
}

/// The video mode that the first `vga=` of a command line asks for: the boot loader hands it to the setup code, which
/// does not look at the command line (Linux `Documentation/arch/x86/boot.rst`, "vga=<mode>").
fn video_mode(command_line: &[u8]) -> Result<Option<u16>, KernelError> {
    let word = command_line.trim_ascii_end().split(|byte| matches!(byte, b' ' | b'\t' | b'\n' | 0));
    let Some(mode) = word.into_iter().find_map(|word| word.strip_prefix(b"vga=")) else { return Ok(None) };
    let mode = String::from_utf8_lossy(mode);
    let number = || {
        let hex = mode.strip_prefix("0x").or_else(|| mode.strip_prefix("0X"));
        let (digits, radix) = match (hex, mode.strip_prefix('0')) {
            (Some(hex), _) => (hex, 16),
            (None, Some(octal)) if !octal.is_empty() => (octal, 8),
            _ => (&*mode, 10),
        };
        u16::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
    };
    match &*mode {
        "normal" => Ok(Some(0xffff)),
        "ext" => Ok(Some(0xfffe)),
        "ask" => Ok(Some(0xfffd)),
        _ => number().map(Some).ok_or_else(|| KernelError::VideoMode(mode.escape_debug().to_string())),
    }
}

/// The RAM disk goes as high as the kernel and the firmware allow. What the kernel unpacks itself over must stay free.
fn place_initrd(
    header: &setup_header,
    kernel: usize,
    initrd: usize,
    ram_below_4g: u64,
) -> Result<u32, KernelError> {
    let loaded = u64::from(KERNEL_ADDRESS) + kernel as u64;
    // From protocol 2.10 on the kernel says where it runs and how much it needs there while it unpacks itself.
    let unpacked = match header.version {
        0x020a.. => header.pref_address.saturating_add(header.init_size.into()),
        _ => 0,
    };
    let floor = loaded.max(unpacked);
    let highest = match header.version {
        0x0203.. => header.initrd_addr_max,
        _ => OLD_RAMDISK_LIMIT,
    };
    let limit = ram_below_4g.saturating_sub(FIRMWARE_BYTES).min(u64::from(highest) + 1);
    let pages = (initrd as u64).next_multiple_of(PAGE);
    let needed = floor.saturating_add(pages);
    if needed > limit {
        return Err(KernelError::NoRoom { needed, limit });
    }
    let address = (limit - pages) & !(PAGE - 1);
    if address < floor {
        return Err(KernelError::NoRoom { needed: needed + PAGE, limit });
    }
    u32::try_from(address).map_err(|_| KernelError::NoRoom { needed, limit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FwCfgKey;

    /// A bzImage of the given protocol: two sectors of setup, `body` bytes of kernel.
    fn image(version: u16, body: usize) -> Vec<u8> {
        let mut image = vec![0x90; 3 * 512 + body];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x1f1, &[2]);
        put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
        put(0x202, b"HdrS");
        put(0x206, &version.to_le_bytes());
        put(0x211, &[LOADED_HIGH]);
        put(0x22c, &0x7fff_ffffu32.to_le_bytes());
        put(0x238, &2047u32.to_le_bytes());
        put(0x258, &0x100_0000u64.to_le_bytes());
        put(0x260, &0x200_0000u32.to_le_bytes());
        image
    }

    fn number(items: &[Item], key: u16) -> u32 {
        let bytes = &find(items, key)[..4];
        u32::from_le_bytes(bytes.try_into().unwrap())
    }

    fn find(items: &[Item], key: u16) -> &[u8] {
        let key = FwCfgKey::Numeric(key);
        &items.iter().find(|item| item.key == key).unwrap().bytes
    }

    #[test]
    fn a_kernel_is_split_and_patched() {
        let kernel = DirectKernel::new(&image(0x020f, 5000), vec![7; 10_000], "quiet", 256 << 20).unwrap();
        let items = kernel.items();
        let setup = find(&items, selector::SETUP_DATA);
        assert_eq!(setup.len(), 3 * 512);
        assert_eq!(find(&items, selector::KERNEL_DATA).len(), 5000);
        assert_eq!(find(&items, selector::COMMAND_LINE_DATA), b"quiet\0");
        let address = number(&items, selector::INITRD_ADDRESS);
        assert_eq!(address, (255 << 20) - 3 * 4096);
        let word = |at: usize| u32::from_le_bytes(setup[at..at + 4].try_into().unwrap());
        assert_eq!((word(0x218), word(0x21c)), (address, 10_000));
        assert_eq!(word(0x228), COMMAND_LINE_ADDRESS);
        assert_eq!(setup[0x210], 0xff);
        assert_eq!(setup[0x211], LOADED_HIGH | CAN_USE_HEAP);
        assert_eq!(u16::from_le_bytes([setup[0x224], setup[0x225]]), 0xde00);
        assert_eq!(setup[0x26c], 0x90, "code behind the header stays");
    }

    #[test]
    fn the_video_mode_of_the_command_line_is_handed_over() {
        let mode = |line: &str| {
            let kernel = DirectKernel::new(&image(0x020f, 5000), Vec::new(), line, 256 << 20)?;
            let items = kernel.items();
            let setup = find(&items, selector::SETUP_DATA);
            Ok::<_, KernelError>(u16::from_le_bytes([setup[0x1fa], setup[0x1fb]]))
        };
        assert_eq!(mode("quiet"), Ok(0x9090), "the image's own");
        for (line, expected) in [
            ("vga=791", 791),
            ("quiet vga=0x317 vga=1", 0x317),
            ("vga=01427 ro", 0o1427),
            ("vga=normal", 0xffff),
            ("a=b vga=ext", 0xfffe),
            ("vga=ask", 0xfffd),
            ("novga=7 vgas=1", 0x9090),
        ] {
            assert_eq!(mode(line), Ok(expected), "{line}");
        }
        for line in ["vga=", "vga=nice", "vga=65536", "vga=-1", "vga=+1"] {
            assert!(matches!(mode(line), Err(KernelError::VideoMode(_))), "{line}");
        }
    }

    #[test]
    fn memory_that_does_not_suffice_is_refused() {
        let small = |initrd: usize, ram: u64| {
            DirectKernel::new(&image(0x020f, 5000), vec![0; initrd], "", ram).map(|_| ())
        };
        // The kernel unpacks itself up to 48 MiB.
        small(0, 49 << 20).unwrap();
        small(1 << 20, 50 << 20).unwrap();
        let error = small((1 << 20) + 1, 50 << 20).unwrap_err();
        assert!(matches!(error, KernelError::NoRoom { .. }));
        assert!(small(0, 0).is_err());
        // RAM above the kernel's own limit does not move the RAM disk there.
        let kernel = DirectKernel::new(&image(0x020f, 1), vec![0; 4096], "", 3 << 30).unwrap();
        assert_eq!(number(&kernel.items(), selector::INITRD_ADDRESS), 0x7fff_f000);
    }

    #[test]
    fn what_is_no_kernel_gets_one_sentence() {
        let refuse =
            |image: &[u8], line: &str| DirectKernel::new(image, Vec::new(), line, 1 << 30).unwrap_err();
        assert_eq!(refuse(b"", ""), KernelError::NotBzImage);
        assert_eq!(refuse(&[0; 4096], ""), KernelError::NotBzImage);
        assert_eq!(refuse(&image(0x0201, 1), ""), KernelError::TooOld { major: 2, minor: 1 });
        let whole = image(0x020f, 1);
        for cut in 0..whole.len() {
            let error = refuse(&whole[..cut], "");
            assert!(!error.to_string().contains('\n'));
        }
        let long = "x".repeat(2048);
        assert!(matches!(refuse(&whole, &long), KernelError::CommandLineTooLong { most: 2047, .. }));
        assert_eq!(refuse(&whole, "a\0b"), KernelError::CommandLineZero);
        assert!(matches!(
            refuse(&image(0x0205, 1), &long),
            KernelError::CommandLineTooLong { most: 255, .. }
        ));
    }
}
