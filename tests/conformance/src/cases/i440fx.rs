//! The host bridge at 00:00.0. Intel 440FX PCIset datasheet, 82441FX (PMC), order 290549, and PCI Local Bus
//! Specification 2.1.

use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};
use crate::machine::{Op, Size};

pub(super) const GROUP: Group = Group {
    device: "i440fx",
    about: "host bridge 82441FX",
    setup: Setup { disks: &[], args: &[] },
    cases: CASES,
};

const CASES: &[Case] = &[
    case("it is an 82441FX", "82441FX 3.2.1, 3.2.2 VID, DID", identity),
    case("it is a host bridge", "82441FX 3.2.6, 3.2.7 SUBC, BCC", class),
    case("its header has no BARs", "PCI 2.1, 6.2.5; 82441FX table 2", header),
    case("nobody answers at empty places", "PCI 2.1, 3.7.4.1: master abort reads all ones", absent),
    case("nobody answers on other buses", "PCI 2.1, 3.7.4.1", other_buses),
    case("the latch must be enabled", "82441FX 3.1.1 CONFADD, bit 31", disabled),
    case("the latch keeps what it is given", "82441FX 3.1.1 CONFADD, bits 23:2", latch),
    case("the latch's reserved bits are zero", "82441FX 3.1.1 CONFADD, bits 30:24, 1:0", reserved),
    case("the latch is written by four bytes only", "PCI 2.1, 3.7.4.1: other accesses are I/O", narrow),
    case("the data port has four bytes", "82441FX 3.1.2 CONFDATA", data_port),
    case("identity cannot be written", "PCI 2.1, 6.2.1: read-only registers", read_only),
    case("PAM is off after power-on", "82441FX 3.2.17 PAM: default 00h", pam_reset),
    case("PAM write-enable alone lets writes into RAM", "82441FX 3.2.17, bit 1 WE", pam_write_only),
    case("PAM read-enable alone makes RAM read-only", "82441FX 3.2.17, bit 0 RE", pam_read_only),
    case("each PAM field has its own 16 KiB", "82441FX 3.2.17, table 5", pam_fields),
    case("PAM switches the firmware's 64 KiB", "82441FX 3.2.17, PAM0[7:4]", pam_bios),
    case("SMRAM is closed after power-on", "82441FX 3.2.18 SMRAM: default 02h", smram_reset),
    case("an open SMRAM is RAM under the VGA window", "82441FX 3.2.18, D_OPEN", smram_open),
    case("a reset takes PAM and SMRAM back", "82441FX 3.2.17, 3.2.18", reset),
];

/// PAM0; six more follow.
const PAM: u8 = 0x59;
const SMRAM: u8 = 0x72;

fn get(bench: &mut Bench<'_>, reg: u8) -> u8 {
    bench.config(0, 0, reg, Size::B1) as u8
}

fn set(bench: &mut Bench<'_>, reg: u8, value: u8) {
    bench.set_config(0, 0, reg, Size::B1, value.into());
}

fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(0, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x1237_8086_u32);
    let revision = get(bench, 8);
    bench.note("revision", revision);
    let subsystem = bench.config(0, 0, 0x2c, Size::B4);
    bench.note("subsystem", subsystem);
}

fn class(bench: &mut Bench<'_>) {
    let class = bench.config(0, 0, 8, Size::B4) >> 8;
    bench.check("class code", class, 0x06_0000_u32);
}

fn header(bench: &mut Bench<'_>) {
    let kind = get(bench, 0x0e);
    bench.check_bits("header type", kind, 0x7f_u8, 0_u8);
    for reg in (0x10..0x28).step_by(4).chain([0x30]) {
        let size = bench.bar_size(0, 0, reg);
        bench.check(format!("size of the BAR at {reg:#x}"), size, 0_u32);
    }
    let pin = get(bench, 0x3d);
    bench.check("interrupt pin", pin, 0_u8);
    let status = bench.config(0, 0, 4, Size::B4);
    bench.note("command and status", status);
}

fn absent(bench: &mut Bench<'_>) {
    for (device, function) in [(0, 1), (1, 7), (0x1f, 0), (0x12, 3)] {
        let id = bench.config(device, function, 0, Size::B4);
        bench.check(format!("00:{device:02x}.{function}"), id, u32::MAX);
        bench.set_config(device, function, 4, Size::B2, 7);
        let command = bench.config(device, function, 4, Size::B2);
        bench.check(format!("00:{device:02x}.{function} after a write"), command, 0xffff_u32);
    }
}

fn other_buses(bench: &mut Bench<'_>) {
    for bus in [1_u32, 0x80, 0xff] {
        let latch = Op::Out(0xcf8, Size::B4, 1 << 31 | bus << 16);
        let id = bench.perform(&[latch, Op::In(0xcfc, Size::B4)])[1];
        bench.check(format!("bus {bus:#x}"), id, 0xffff_ffff_u64);
    }
}

fn disabled(bench: &mut Bench<'_>) {
    let id = bench.perform(&[Op::Out(0xcf8, Size::B4, 0), Op::In(0xcfc, Size::B4)])[1];
    bench.check("a read", id, 0xffff_ffff_u64);
    let before = get(bench, PAM);
    let latch = Op::Out(0xcf8, Size::B4, u32::from(PAM & !3));
    bench.perform(&[latch, Op::Out(0xcfc + u16::from(PAM & 3), Size::B1, 0x33)]);
    let after = get(bench, PAM);
    bench.check("PAM0 after a write", after, before);
}

fn latch(bench: &mut Bench<'_>) {
    for value in [0x8000_0000_u32, 0x80ff_fffc, 0x8012_3458, 0x0000_0800, 0] {
        bench.outl(0xcf8, value);
        let got = bench.inl(0xcf8);
        bench.check(format!("{value:#x}"), got, value);
    }
}

fn reserved(bench: &mut Bench<'_>) {
    bench.outl(0xcf8, u32::MAX);
    let got = bench.inl(0xcf8);
    bench.check("all ones", got, 0x80ff_fffc_u32);
}

fn narrow(bench: &mut Bench<'_>) {
    bench.outl(0xcf8, 0x8000_0000);
    bench.outw(0xcf8, 0x5554);
    bench.outb(0xcfa, 0x55);
    let got = bench.inl(0xcf8);
    bench.check("the latch", got, 0x8000_0000_u32);
}

fn data_port(bench: &mut Bench<'_>) {
    bench.outl(0xcf8, 0x8000_0000);
    for (at, want) in [(0_u16, 0x86_u8), (1, 0x80), (2, 0x37), (3, 0x12)] {
        let got = bench.inb(0xcfc + at);
        bench.check(format!("byte {at}"), got, want);
    }
    let low = bench.inw(0xcfc);
    bench.check("word 0", low, 0x8086_u16);
    let high = bench.inw(0xcfe);
    bench.check("word 2", high, 0x1237_u16);
    // The latch's lowest bits are zero: the port counts.
    bench.outl(0xcf8, 0x8000_0002);
    let id = bench.inl(0xcfc);
    bench.check("all four with the latch at 2", id, 0x1237_8086_u32);
}

fn read_only(bench: &mut Bench<'_>) {
    for reg in [0x00, 0x08, 0x0c, 0x2c, 0x34] {
        let before = bench.config(0, 0, reg, Size::B4);
        bench.set_config(0, 0, reg, Size::B4, !before);
        let after = bench.config(0, 0, reg, Size::B4);
        // The cache line size and the latency timer may be written.
        let mask = if reg == 0x0c { 0xffff_0000_u32 } else { u32::MAX };
        bench.check_bits(format!("register {reg:#x}"), after, mask, before & mask);
    }
}

fn pam_reset(bench: &mut Bench<'_>) {
    for index in 0..7 {
        let value = get(bench, PAM + index);
        bench.check(format!("PAM{index}"), value, 0_u8);
    }
}

/// RAM at 0xd0000 is made to hold 0x11, with PAM3 (0xd0000 to 0xd7fff) off afterwards.
fn prepared(bench: &mut Bench<'_>) {
    set(bench, PAM + 3, 0x33);
    bench.write(0xd_0000, Size::B1, 0x11);
    set(bench, PAM + 3, 0);
}

fn pam_write_only(bench: &mut Bench<'_>) {
    prepared(bench);
    let off = bench.read(0xd_0000, Size::B1);
    bench.note("what is read with PAM off", off);
    set(bench, PAM + 3, 0x22);
    bench.write(0xd_0000, Size::B1, 0x22);
    let read = bench.read(0xd_0000, Size::B1);
    bench.check("what is read with write-enable alone", read, off);
    set(bench, PAM + 3, 0x11);
    let ram = bench.read(0xd_0000, Size::B1);
    bench.check("RAM", ram, 0x22_u64);
}

fn pam_read_only(bench: &mut Bench<'_>) {
    prepared(bench);
    set(bench, PAM + 3, 0x11);
    let ram = bench.read(0xd_0000, Size::B1);
    bench.check("RAM before", ram, 0x11_u64);
    bench.write(0xd_0000, Size::B1, 0x33);
    let ram = bench.read(0xd_0000, Size::B1);
    bench.check("RAM after a write", ram, 0x11_u64);
    set(bench, PAM + 3, 0);
    bench.write(0xd_0000, Size::B1, 0x44);
    set(bench, PAM + 3, 0x33);
    let ram = bench.read(0xd_0000, Size::B1);
    bench.check("RAM after a write with PAM off", ram, 0x11_u64);
}

/// The segments of 16 KiB: address, register, shift of the field.
fn fields() -> impl Iterator<Item = (u64, u8, u8)> {
    (0..12_u8).map(|index| (0xc_0000 + u64::from(index) * 0x4000, PAM + 1 + index / 2, index % 2 * 4))
}

fn pam_fields(bench: &mut Bench<'_>) {
    for reg in PAM + 1..PAM + 7 {
        set(bench, reg, 0x33);
    }
    for (index, (address, ..)) in fields().enumerate() {
        bench.write(address, Size::B1, 0x40 + index as u64);
        bench.write(address + 0x3fff, Size::B1, 0x40 + index as u64);
    }
    for reg in PAM + 1..PAM + 7 {
        set(bench, reg, 0x11);
    }
    for (index, (address, reg, shift)) in fields().enumerate() {
        set(bench, reg, 0x11 | 2 << shift);
        for other in [address, address + 0x3fff, address + 0x4000, address - 1] {
            if (0xc_0000..0xf_0000).contains(&other) {
                bench.write(other, Size::B1, 0x80);
            }
        }
        set(bench, reg, 0x11);
        let (first, last) = (bench.read(address, Size::B1), bench.read(address + 0x3fff, Size::B1));
        bench.check(format!("first byte at {address:#x}"), first, 0x80_u64);
        bench.check(format!("last byte at {:#x}", address + 0x3fff), last, 0x80_u64);
        if index < 11 {
            let next = bench.read(address + 0x4000, Size::B1);
            bench.check(format!("byte at {:#x}", address + 0x4000), next, 0x41 + index as u64);
        }
    }
}

fn pam_bios(bench: &mut Bench<'_>) {
    let rom = bench.read(0xf_fff0, Size::B4);
    bench.write(0xf_fff0, Size::B4, 0x1234_5678);
    let read = bench.read(0xf_fff0, Size::B4);
    bench.check("the ROM after a write", read, rom);
    set(bench, PAM, 0x30);
    bench.write(0xf_fff0, Size::B4, 0x8765_4321);
    let ram = bench.read(0xf_fff0, Size::B4);
    bench.check("RAM", ram, 0x8765_4321_u64);
    set(bench, PAM, 0);
    let read = bench.read(0xf_fff0, Size::B4);
    bench.check("the ROM again", read, rom);
    let high = bench.read(0xffff_fff0, Size::B4);
    bench.check("the ROM below 4 GiB", high, rom);
}

fn smram_reset(bench: &mut Bench<'_>) {
    let value = get(bench, SMRAM);
    bench.check("SMRAM", value, 2_u8);
}

fn smram_open(bench: &mut Bench<'_>) {
    // D_OPEN, G_SMRAME, and the segment at 0xa0000.
    set(bench, SMRAM, 0x4a);
    bench.write(0xa_0000, Size::B4, 0xcafe_f00d);
    bench.write(0xb_fffc, Size::B4, 0x0bad_cafe);
    let open = (bench.read(0xa_0000, Size::B4), bench.read(0xb_fffc, Size::B4));
    bench.check("first word, open", open.0, 0xcafe_f00d_u64);
    bench.check("last word, open", open.1, 0x0bad_cafe_u64);
    set(bench, SMRAM, 0x0a);
    let closed = bench.read(0xa_0000, Size::B4);
    bench.check_that("closed, it is not seen", closed != 0xcafe_f00d, format_args!("{closed:#x}"));
    set(bench, SMRAM, 0x4a);
    let again = bench.read(0xa_0000, Size::B4);
    bench.check("first word, open again", again, 0xcafe_f00d_u64);
}

fn reset(bench: &mut Bench<'_>) {
    set(bench, PAM + 3, 0x33);
    set(bench, SMRAM, 0x4a);
    bench.reset();
    for (name, reg, want) in [("PAM3", PAM + 3, 0_u8), ("SMRAM", SMRAM, 2)] {
        let value = get(bench, reg);
        bench.check(name, value, want);
    }
}
