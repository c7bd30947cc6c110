//! Adapters beside the first one: `bochs-display` (slot 3) and `secondary-vga` (slot 4, and without its extension registers
//! slot 5). What Linux's bochs-drm and OVMF rely on: BARs, DISPI registers in memory, the byte order, EDID (QEMU's
//! `docs/specs/standard-vga`).

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

const BOCHS: u8 = 3;
const SECONDARY: u8 = 4;
const PLAIN: u8 = 5;
const BOTH: [(&str, u8); 2] = [("bochs-display", BOCHS), ("secondary-vga", SECONDARY)];

pub(super) const GROUP: Group = Group {
    device: "bochs-display",
    about: "Linear framebuffers: bochs-display and secondary-vga",
    setup: Setup {
        disks: &[],
        args: &[
            "-device",
            "bochs-display,addr=3,vgamem=4194304",
            "-device",
            "secondary-vga,addr=4,vgamem_mb=4",
            "-device",
            "secondary-vga,addr=5,vgamem_mb=1,qemu-extended-regs=off",
        ],
    },
    cases: &[
        case("identity", "PCI 2.1, 6.2.1", identity),
        case("BARs and their sizes", "standard VGA, PCI spec; PCI 2.1, 6.2.5", bars),
        case("version and memory", "standard VGA, memory spec, 0500h", version),
        case("DISPI registers hold what is written", "standard VGA, memory spec, 0500h", storage),
        case("registers by bytes and doublewords", "standard VGA, memory spec, 0500h", widths),
        case("a mode clears the memory", "Bochs VBE, VBE_DISPI_NOCLEARMEM", clears),
        case("video memory", "standard VGA, PCI spec, region 0", memory),
        case("byte order", "standard VGA, memory spec, 0600h", order),
        case("no extension registers", "no document: QEMU's", plain),
        case("EDID", "standard VGA, memory spec, 0000h; VESA E-EDID 1.4, 3.3", edid),
        case("where nothing is", "no document: QEMU's", holes),
        case("after reset", "PCI 2.1, 4.3", reset),
    ],
};

fn lfb(slot: u8) -> u64 {
    0xe000_0000 + (u64::from(slot) << 24)
}

fn mmio(slot: u8) -> u64 {
    0xf800_0000 + (u64::from(slot) << 16)
}

fn place(bench: &mut Bench<'_>, slot: u8) {
    bench.set_config(slot, 0, 0x10, Size::B4, lfb(slot) as u32);
    bench.set_config(slot, 0, 0x18, Size::B4, mmio(slot) as u32);
    bench.set_config(slot, 0, 4, Size::B2, 2);
}

fn dispi(bench: &mut Bench<'_>, slot: u8, index: u64) -> u64 {
    bench.read(mmio(slot) + 0x500 + 2 * index, Size::B2)
}

fn set_dispi(bench: &mut Bench<'_>, slot: u8, index: u64, value: u16) {
    bench.write(mmio(slot) + 0x500 + 2 * index, Size::B2, value.into());
}

/// As bochs-drm sets it.
fn mode(bench: &mut Bench<'_>, slot: u8, enable: u16) {
    for (index, value) in [(4, 0), (3, 32), (1, 640), (2, 480), (5, 0), (6, 640), (8, 0), (9, 0), (4, enable)]
    {
        set_dispi(bench, slot, index, value);
    }
}

fn identity(bench: &mut Bench<'_>) {
    for (name, slot) in BOTH {
        let id = bench.config(slot, 0, 0, Size::B4);
        bench.check(format!("{name}: vendor and device"), id, 0x1111_1234u32);
        let class = bench.config(slot, 0, 8, Size::B4);
        bench.check(format!("{name}: class: another display"), class >> 8, 0x03_8000u32);
        let subsystem = bench.config(slot, 0, 0x2c, Size::B4);
        bench.check(format!("{name}: subsystem"), subsystem, 0x1100_1af4u32);
        bench.note(format!("{name}: revision"), class & 0xff);
        let pin = bench.config(slot, 0, 0x3d, Size::B1);
        bench.check(format!("{name}: no interrupt"), pin, 0u8);
    }
}

fn bars(bench: &mut Bench<'_>) {
    for (name, slot) in BOTH {
        let low = bench.config(slot, 0, 0x10, Size::B4) & 15;
        bench.check(format!("{name}: BAR 0 can be prefetched"), low, 8u8);
        let sizes = [0x10, 0x14, 0x18].map(|reg| bench.bar_size(slot, 0, reg));
        for (what, size, want) in
            [("video memory", sizes[0], 4 << 20), ("BAR 1", sizes[1], 0u32), ("registers", sizes[2], 0x1000)]
        {
            bench.check(format!("{name}: bytes of {what}"), size, want);
        }
    }
}

fn version(bench: &mut Bench<'_>) {
    for (name, slot) in BOTH {
        place(bench, slot);
        let (id, memory) = (dispi(bench, slot, 0), dispi(bench, slot, 10));
        bench.check(format!("{name}: version"), id, 0xb0c5u16);
        bench.check(format!("{name}: memory, in 64 KiB"), memory, 64u8);
    }
}

fn storage(bench: &mut Bench<'_>) {
    place(bench, BOCHS);
    for index in 1..10 {
        set_dispi(bench, BOCHS, index, 0x1230 + index as u16);
    }
    for index in 1..10 {
        let found = dispi(bench, BOCHS, index);
        bench.check(format!("register {index}"), found, 0x1230 + index);
    }
    set_dispi(bench, BOCHS, 0, 0x5555);
    set_dispi(bench, BOCHS, 10, 0x5555);
    let (id, memory) = (dispi(bench, BOCHS, 0), dispi(bench, BOCHS, 10));
    bench.check("the version is read only", id, 0xb0c5u16);
    bench.check("so is the memory", memory, 64u8);
    place(bench, SECONDARY);
    mode(bench, SECONDARY, 0x41);
    for (index, want) in [(1, 640), (2, 480), (3, 32), (4, 0x41), (6, 640), (8, 0), (9, 0u16)] {
        let found = dispi(bench, SECONDARY, index);
        bench.check(format!("secondary-vga: register {index} in a mode"), found, want);
    }
}

fn widths(bench: &mut Bench<'_>) {
    for (name, slot) in BOTH {
        place(bench, slot);
        set_dispi(bench, slot, 1, 0x0280);
        let low = bench.read(mmio(slot) + 0x502, Size::B1);
        bench.check(format!("{name}: a byte"), low, 0x80u8);
        let both = bench.readl(mmio(slot) + 0x500);
        bench.check(format!("{name}: two registers"), both, 0x0280_b0c5u32);
        bench.writel(mmio(slot) + 0x504, 0x0010_01e0);
        let found = [dispi(bench, slot, 2), dispi(bench, slot, 3)];
        bench.check(format!("{name}: the first of two that are written"), found[0], 0x1e0u16);
        bench.check(format!("{name}: the second"), found[1], 0x10u16);
    }
}

fn clears(bench: &mut Bench<'_>) {
    for (name, slot) in BOTH {
        place(bench, slot);
        for (what, enable) in [("kept", 0xc1), ("not kept", 0x41)] {
            bench.writel(lfb(slot) + 0x1000, 0x5a5a_1234);
            mode(bench, slot, enable);
            let found = bench.readl(lfb(slot) + 0x1000);
            // bochs-display's memory is the driver's alone.
            let want = if slot == BOCHS || enable == 0xc1 { 0x5a5a_1234u32 } else { 0 };
            bench.check(format!("{name}: asked to be {what}"), found, want);
        }
    }
}

fn memory(bench: &mut Bench<'_>) {
    for (name, slot) in BOTH {
        place(bench, slot);
        mode(bench, slot, 0xc1);
        for (at, value) in [(0, 0x0102_0304u32), (0x3f_fffc, 0xa1b2_c3d4)] {
            bench.writel(lfb(slot) + at, value);
            let found = bench.readl(lfb(slot) + at);
            bench.check(format!("{name}: at {at:#x}"), found, value);
        }
        let byte = bench.read(lfb(slot) + 1, Size::B1);
        bench.check(format!("{name}: a byte"), byte, 3u8);
    }
}

fn order(bench: &mut Bench<'_>) {
    for (name, slot) in BOTH {
        place(bench, slot);
        let at = mmio(slot) + 0x600;
        let found = [bench.readl(at), bench.readl(at + 4)];
        bench.check(format!("{name}: bytes of these registers"), found[0], 8u8);
        bench.check(format!("{name}: little endian"), found[1], 0x1e1e_1e1eu32);
        bench.writel(at + 4, 0xbebe_bebe);
        let big = bench.readl(at + 4);
        bench.check(format!("{name}: big endian"), big, 0xbebe_bebeu32);
        bench.writel(at + 4, 0x1234_5678);
        let kept = bench.readl(at + 4);
        bench.check(format!("{name}: another value is none"), kept, 0xbebe_bebeu32);
    }
}

fn plain(bench: &mut Bench<'_>) {
    place(bench, PLAIN);
    let class = bench.config(PLAIN, 0, 8, Size::B4);
    bench.check("class and revision", class, 0x0380_0000u32);
    let values = [0x600, 0x604].map(|at| bench.readl(mmio(PLAIN) + at));
    bench.check("their length", values[0], 0xffff_ffffu32);
    bench.check("the byte order", values[1], 0xffff_ffffu32);
    bench.writel(mmio(PLAIN) + 0x604, 0xbebe_bebe);
    let order = bench.readl(mmio(PLAIN) + 0x604);
    bench.check("it is not to be set", order, 0xffff_ffffu32);
    let id = dispi(bench, PLAIN, 0);
    bench.check("DISPI is there", id, 0xb0c5u16);
}

fn edid(bench: &mut Bench<'_>) {
    for (name, slot) in BOTH {
        place(bench, slot);
        let words: Vec<u32> = (0..32).map(|word| bench.readl(mmio(slot) + 4 * word)).collect();
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        bench.check_bytes(format!("{name}: header"), &bytes[..8], &[0, 255, 255, 255, 255, 255, 255, 0]);
        let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        bench.check(format!("{name}: checksum"), sum, 0u8);
        let version = u16::from_be_bytes([bytes[18], bytes[19]]);
        bench.check(format!("{name}: version"), version, 0x0104u16);
        let width = u16::from(bytes[56]) | u16::from(bytes[58] & 0xf0) << 4;
        bench.check(format!("{name}: pixels of a line that it likes best"), width, 1280u16);
    }
}

fn holes(bench: &mut Bench<'_>) {
    for (name, slot) in BOTH {
        place(bench, slot);
        for at in [0x3f0, 0x4f0, 0x516, 0x610, 0xff0] {
            let found = bench.readl(mmio(slot) + at);
            bench.note(format!("{name}: at {at:#x}"), found);
        }
    }
}

fn reset(bench: &mut Bench<'_>) {
    for (_, slot) in BOTH {
        place(bench, slot);
        mode(bench, slot, 0x41);
    }
    bench.reset();
    for (name, slot) in BOTH {
        let command = bench.config(slot, 0, 4, Size::B2);
        bench.check_bits(format!("{name}: memory is off"), command, 2u8, 0u8);
        place(bench, slot);
        let enable = dispi(bench, slot, 4);
        bench.note(format!("{name}: enable"), enable);
    }
}
