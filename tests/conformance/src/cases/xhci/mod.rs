//! `qemu-xhci` with a tablet on its first socket and a disk on its second: eXtensible Host Controller Interface, 1.1 (X);
//! Universal Serial Bus Specification, 2.0 (S) and 3.0 (S3); Mass Storage Class, Bulk-Only Transport, 1.0 (B).

mod driver;
mod transfers;

use crate::bench::Bench;
use crate::case::{Disk, Group, Setup, case};
use crate::machine::Size;
use driver::*;

pub(super) const GROUP: Group = Group {
    device: "xhci",
    about: "xHCI, QEMU's, with a tablet and a disk",
    setup: Setup {
        disks: &[Disk::Loose { sectors: 2048 }],
        args: &[
            "-device",
            "qemu-xhci,id=x,addr=3",
            "-device",
            "usb-tablet,bus=x.0,port=1",
            "-device",
            "usb-storage,bus=x.0,port=2,drive=loose,serial=S1",
        ],
    },
    cases: &[
        case("identity", "PCI 2.1, 6.2", identity),
        case("memory of the BAR", "X 5.2.1", bar),
        case("MSI-X", "PCI 3.0, 6.8.2", msix),
        case("capability registers", "X 5.3", capabilities),
        case("supported protocols", "X 7.2", protocols),
        case("operational registers after a reset", "X 5.4", power_on),
        case("ports after a reset", "X 5.4.8", ports),
        case("a port is reset", "X 4.19.5", port_reset),
        case("run and stop", "X 5.4.1, R/S; 5.4.2, HCH", run_stop),
        case("host controller reset", "X 5.4.1, HCRST", host_reset),
        case("slots", "X 4.6.3, 4.6.4", slots),
        case("commands that are none", "X 4.6.1; table 138", wrong),
        case("a device has an address", "X 4.6.5", addressed),
        case("an endpoint stops and is moved", "X 4.6.9, 4.6.10", stopped),
        case("descriptors of the tablet", "S 9.6", transfers::tablet),
        case("a request that is none", "X 4.10.2.1; S 9.2.7", transfers::stall),
        case("nothing to report", "X 4.10.1", transfers::nothing),
        case("descriptors of the disk", "S3 9.6", transfers::disk),
        case("a disk is read", "B 5.3", transfers::read),
        case("a disk is written", "B 5.3", transfers::written),
        case("a command that fails", "B 5.2", transfers::failed),
    ],
};

fn identity(bench: &mut Bench<'_>) {
    for (name, at, size) in [
        ("vendor and device", 0, Size::B4),
        ("class and revision", 8, Size::B4),
        ("cache line", 0xc, Size::B1),
        ("subsystem", 0x2c, Size::B4),
        ("pin", 0x3d, Size::B1),
        ("release of USB", 0x60, Size::B1),
    ] {
        let found = bench.config(SLOT, 0, at, size);
        bench.note(name, found);
    }
}

fn bar(bench: &mut Bench<'_>) {
    let low = bench.config(SLOT, 0, 0x10, Size::B4);
    bench.check("64 bits of memory", low & 0xf, 4u8);
    bench.set_config(SLOT, 0, 0x10, Size::B4, 0xffff_ffff);
    let size = bench.config(SLOT, 0, 0x10, Size::B4);
    bench.check("bytes", !(size & !0xf) + 1, 0x4000u32);
}

fn msix(bench: &mut Bench<'_>) {
    let first = bench.config(SLOT, 0, 0x34, Size::B1);
    bench.note("first capability", first);
    for at in [0x90, 0x94, 0x98] {
        let found = bench.config(SLOT, 0, at, Size::B4);
        bench.note(format!("at {at:#x}"), found & 0x7fff_ffff);
    }
}

fn capabilities(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at, expected) in [
        ("CAPLENGTH and HCIVERSION", 0, 0x0100_0040u32),
        ("HCSPARAMS1", 4, 0x0800_1040),
        ("HCSPARAMS2", 8, 0xf),
        ("HCSPARAMS3", 0xc, 0),
        ("DBOFF", 0x14, 0x2000),
        ("RTSOFF", 0x18, 0x1000),
    ] {
        let found = reg(bench, at);
        bench.check(name, found, expected);
    }
    let found = reg(bench, 0x10);
    bench.note("HCCPARAMS1", found);
}

fn protocols(bench: &mut Bench<'_>) {
    on(bench);
    for at in (0x20..0x40).step_by(4) {
        let found = reg(bench, at);
        bench.note(format!("at {at:#x}"), found);
    }
}

fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    after_reset(bench);
}

fn after_reset(bench: &mut Bench<'_>) {
    for (name, at) in [
        ("USBCMD", 0x40),
        ("PAGESIZE", 0x48),
        ("DNCTRL", 0x54),
        ("CRCR", 0x58),
        ("DCBAAP", 0x70),
        ("CONFIG", 0x78),
    ] {
        let found = reg(bench, at);
        bench.check(name, found, u32::from(at == 0x48));
    }
    let status = reg(bench, 0x44);
    bench.check_bits("HCH", status, 1_u16, 1_u16);
    for (name, at) in [("IMAN", 0x1020), ("IMOD", 0x1024), ("ERSTSZ", 0x1028), ("ERDP", 0x1038)] {
        let found = reg(bench, at);
        bench.note(name, found);
    }
}

fn ports(bench: &mut Bench<'_>) {
    on(bench);
    for port in 1..=8 {
        let found = reg(bench, portsc(port));
        bench.note(format!("PORTSC {port}"), found);
    }
}

fn port_reset(bench: &mut Bench<'_>) {
    start(bench);
    for (port, speed) in [(5, 3u32), (2, 4)] {
        set(bench, portsc(port), 0x210);
        bench.wait(60_000_000);
        let found = reg(bench, portsc(port));
        bench.check(format!("port {port}: enabled, powered, its speed"), found & 0x3fff, 0x203 | speed << 10);
        bench.check_bits(format!("port {port}: PRC"), found >> 16, 0x20_u16, 0x20_u16);
        set(bench, portsc(port), 0xfe_0200);
        let found = reg(bench, portsc(port));
        bench.check(format!("port {port}: changes are cleared"), found >> 17 & 0x7f, 0u8);
    }
    set(bench, portsc(8), 0x210);
    let found = reg(bench, portsc(8));
    bench.check("a port with nobody", found & 0x3fff, 0x2a0u32);
}

fn run_stop(bench: &mut Bench<'_>) {
    start(bench);
    let status = reg(bench, 0x44);
    bench.check_bits("HCH while it runs", status, 1_u16, 0_u16);
    let first = reg(bench, 0x1000);
    bench.wait(20_000_000);
    let passed = reg(bench, 0x1000).wrapping_sub(first) & 0x3fff;
    bench.check_range("microframes in 20 ms", passed.into(), 159, 170 + bench.slack() / 125_000);
    set(bench, 0x40, 0);
    bench.wait(20_000_000);
    let status = reg(bench, 0x44);
    bench.check_bits("HCH when it stands", status, 1_u16, 1_u16);
}

fn host_reset(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 0x40, 2);
    bench.wait(20_000_000);
    after_reset(bench);
}

fn slots(bench: &mut Bench<'_>) {
    let driver = start(bench);
    for expected in 1..=8u32 {
        let (code, slot) = driver.command(bench, 9, 0, 0);
        bench.check(format!("slot {expected}"), code << 8 | slot, 1 << 8 | expected);
    }
    let (code, _) = driver.command(bench, 10, 0, 3 << 24);
    bench.check("one is free", code, 1u8);
    let (code, slot) = driver.command(bench, 9, 0, 0);
    bench.check("and comes again", code << 8 | slot, 1u32 << 8 | 3);
    let (code, _) = driver.command(bench, 10, 0, 20 << 24);
    bench.check("one that is not enabled", code, 11u8);
}

fn wrong(bench: &mut Bench<'_>) {
    let driver = start(bench);
    let (code, _) = driver.command(bench, 23, 0, 0);
    bench.check("nothing is done well", code, 1u8);
    let (code, _) = driver.command(bench, 40, 0, 0);
    bench.check("a type that is none", code, 5u8);
    let (code, _) = driver.command(bench, 15, 0, 1 << 24 | 1 << 16);
    bench.check("an endpoint of no slot", code, 11u8);
    let (_, slot) = driver.command(bench, 9, 0, 0);
    let (code, _) = driver.command(bench, 15, 0, slot << 24 | 5 << 16);
    bench.check("an endpoint that is not enabled", code, 12u8);
}

fn addressed(bench: &mut Bench<'_>) {
    let driver = start(bench);
    let slot = driver.address(bench, 5, 3, 64);
    let found = state(bench, 0);
    bench.check("the slot is addressed", found, 2u8);
    let found = state(bench, 1);
    bench.check("the control endpoint runs", found, 1u8);
    driver.configure(bench, slot, &[(3, 7, 8, IN)]);
    let found = state(bench, 0);
    bench.check("the slot is configured", found, 3u8);
    let found = state(bench, 3);
    bench.check("the endpoint runs", found, 1u8);
    let (code, _) = driver.command(bench, 10, 0, slot << 24);
    bench.check("the slot is disabled", code, 1u8);
}

fn stopped(bench: &mut Bench<'_>) {
    let driver = start(bench);
    let slot = driver.address(bench, 5, 3, 64);
    driver.configure(bench, slot, &[(3, 7, 8, IN)]);
    let place = slot << 24 | 3 << 16;
    let (code, _) = driver.command(bench, 16, IN | 1, place);
    bench.check("it is not moved while it runs", code, 19u8);
    let (code, _) = driver.command(bench, 14, 0, place);
    bench.check("nor reset", code, 19u8);
    let (code, _) = driver.command(bench, 15, 0, place);
    bench.check("it stops", code, 1u8);
    let found = state(bench, 3);
    bench.check("and says so", found, 3u8);
    let (code, _) = driver.command(bench, 16, IN + 0x100 | 1, place);
    bench.check("it is moved", code, 1u8);
}
