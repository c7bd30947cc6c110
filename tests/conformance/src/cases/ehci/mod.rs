//! `usb-ehci` with a tablet on its first port and a disk on its second: Enhanced Host Controller Interface, 1.0 (E);
//! Universal Serial Bus Specification, 2.0 (S); Mass Storage Class, Bulk-Only Transport, 1.0 (B).

mod driver;
mod transfers;
pub(super) mod uas;

use crate::bench::Bench;
use crate::case::{Disk, Group, Setup, case};
use crate::machine::Size;
use driver::*;

pub(super) const GROUP: Group = Group {
    device: "ehci",
    about: "EHCI with a tablet and a disk",
    setup: Setup {
        disks: &[Disk::Loose { sectors: 2048 }],
        args: &[
            "-device",
            "usb-ehci,id=e,addr=3",
            "-device",
            "usb-tablet,bus=e.0,port=1",
            "-device",
            "usb-storage,bus=e.0,port=2,drive=loose,serial=S1",
        ],
    },
    cases: &[
        case("identity", "E 2.1", identity),
        case("memory of the BAR", "E 2.1.3", bar),
        case("legacy support", "E 2.1.7, 2.1.8", legacy),
        case("capability registers", "E 2.2", capabilities),
        case("registers after a reset", "E 2.3", power_on),
        case("what registers keep", "E 2.3.5 to 2.3.8", kept),
        case("ports after a reset", "E 2.3.9", ports),
        case("a port is reset", "E 2.3.9, Port Reset", port_reset),
        case("a port sleeps", "E 4.3.1", sleeps),
        case("run and stop", "E 2.3.1, RS; 2.3.2, HCHalted", run_stop),
        case("microframes are counted", "E 2.3.4", counted),
        case("host controller reset", "E 2.3.1, HCRESET", host_reset),
        case("schedules are on and off", "E 2.3.2, ASS and PSS", schedules),
        case("the doorbell", "E 4.8.2", doorbell),
        case("descriptors of the tablet", "S 9.6", transfers::tablet),
        case("a request that is none", "E 4.10.3; S 9.2.7", transfers::stall),
        case("nothing to report", "E 4.10.3, NAK", transfers::nothing),
        case("the idle rate", "E 4.12.2; HID 7.2.4", transfers::idle),
        case("an interrupt for a qTD", "E 4.15.1.2", transfers::interrupt),
        case("a short packet", "E 4.10.2; 4.15.1.2", transfers::short),
        case("nobody at that address", "E 3.5.3, CERR", transfers::nobody),
        case("a buffer of several pages", "E 3.5.4", transfers::pages),
        case("descriptors of the disk", "S 9.6", transfers::disk),
        case("a disk is read", "B 5.3", transfers::read),
        case("a disk is written", "B 5.3", transfers::written),
    ],
};

fn identity(bench: &mut Bench<'_>) {
    for (name, at, size) in [
        ("vendor and device", 0, Size::B4),
        ("class and revision", 8, Size::B4),
        ("subsystem", 0x2c, Size::B4),
        ("pin", 0x3d, Size::B1),
        ("release of USB", 0x60, Size::B1),
        ("frame length", 0x61, Size::B1),
    ] {
        let found = bench.config(SLOT, 0, at, size);
        bench.note(name, found);
    }
}

fn bar(bench: &mut Bench<'_>) {
    let size = bench.bar_size(SLOT, 0, 0x10);
    bench.check("bytes", size, 0x1000u32);
}

fn legacy(bench: &mut Bench<'_>) {
    on(bench);
    let eecp = (bench.readl(BAR + 8) >> 8) as u8;
    bench.check("EECP", eecp, 0x68u8);
    let found = bench.config(SLOT, 0, eecp, Size::B4);
    bench.check("USBLEGSUP", found, 1u8);
    bench.set_config(SLOT, 0, eecp + 3, Size::B1, 1);
    let found = bench.config(SLOT, 0, eecp, Size::B4);
    bench.check("the system's", found, 0x0100_0001u32);
    let found = bench.config(SLOT, 0, eecp + 4, Size::B4);
    bench.note("USBLEGCTLSTS", found);
}

fn capabilities(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at, expected) in
        [("CAPLENGTH and HCIVERSION", 0, 0x0100_0020u32), ("HCSPARAMS", 4, 6), ("HCCPARAMS", 8, 0x6880)]
    {
        let found = bench.readl(BAR + at);
        bench.check(name, found, expected);
    }
    let length = bench.read(BAR, Size::B1);
    bench.check("CAPLENGTH by a byte", length, 0x20u8);
    let version = bench.read(BAR + 2, Size::B2);
    bench.check("HCIVERSION by a word", version, 0x100u16);
}

fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    after_reset(bench);
}

fn after_reset(bench: &mut Bench<'_>) {
    for (name, at, expected) in [
        ("USBCMD", 0, 0x8_0000u32),
        ("USBINTR", 8, 0),
        ("FRINDEX", 0xc, 0),
        ("CTRLDSSEGMENT", 0x10, 0),
        ("CONFIGFLAG", 0x40, 0),
    ] {
        let found = reg(bench, at);
        bench.check(name, found, expected);
    }
    let status = reg(bench, 4);
    bench.check_bits("HCHalted alone, but a port's change", status, 0xffff_fffb_u32, 0x1000_u32);
}

fn kept(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at, expected) in [
        ("USBINTR", 8, 0x3fu32),
        ("PERIODICLISTBASE", 0x14, 0xffff_f000),
        ("ASYNCLISTADDR", 0x18, 0xffff_ffe0),
        ("CONFIGFLAG", 0x40, 1),
        ("FRINDEX", 0xc, 0x3fff),
        ("CTRLDSSEGMENT", 0x10, 0),
    ] {
        set(bench, at, 0xffff_ffff);
        let found = reg(bench, at);
        bench.check(name, found, expected);
    }
}

fn ports(bench: &mut Bench<'_>) {
    on(bench);
    for port in 1..=6 {
        let found = reg(bench, portsc(port));
        let there = if port <= 2 { 3u32 } else { 0 };
        bench.check_bits(
            format!("PORTSC {port}: connected, changed, powered"),
            found,
            0x300f_u32,
            0x1000 | there,
        );
    }
    let found = reg(bench, portsc(1));
    bench.check_bits("the line is as full speed keeps it", found, 0xc00_u32, 0x800_u32);
    let found = reg(bench, portsc(7));
    bench.check("a port that is not there", found, 0u8);
}

fn port_reset(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, portsc(1), 0x1102);
    let found = reg(bench, portsc(1));
    bench.check_bits("it is being reset", found, 0x107_u32, 0x101_u32);
    bench.wait(50_000_000);
    set(bench, portsc(1), 0x1000);
    bench.wait(3_000_000);
    let found = reg(bench, portsc(1));
    bench.check_bits("enabled", found, 0x3107_u32, 0x1005_u32);
    enable(bench, 3);
    let found = reg(bench, portsc(3));
    bench.check_bits("a port with nobody", found, 0x3107_u32, 0x1000_u32);
    set(bench, portsc(1), 0x1000);
    let found = reg(bench, portsc(1));
    bench.check_bits("disabled", found, 0x3107_u32, 0x1001_u32);
}

fn sleeps(bench: &mut Bench<'_>) {
    start(bench);
    enable(bench, 1);
    set(bench, portsc(1), 0x1084);
    let found = reg(bench, portsc(1));
    bench.check_bits("it sleeps", found, 0xc5_u32, 0x85_u32);
    set(bench, portsc(1), 0x10c4);
    let found = reg(bench, portsc(1));
    bench.check_bits("it resumes", found, 0x45_u32, 0x45_u32);
    bench.wait(20_000_000);
    set(bench, portsc(1), 0x1004);
    bench.wait(3_000_000);
    let found = reg(bench, portsc(1));
    bench.check_bits("it is awake", found, 0xc5_u32, 5_u32);
}

fn run_stop(bench: &mut Bench<'_>) {
    start(bench);
    let status = reg(bench, 4);
    bench.check_bits("HCHalted while it runs", status, 0x1000_u32, 0_u32);
    set(bench, 0, 0x1_0000);
    bench.wait(20_000_000);
    let status = reg(bench, 4);
    bench.check_bits("HCHalted when it stands", status, 0x1000_u32, 0x1000_u32);
}

fn counted(bench: &mut Bench<'_>) {
    start(bench);
    let first = reg(bench, 0xc);
    bench.wait(50_000_000);
    let passed = reg(bench, 0xc).wrapping_sub(first) & 0x3fff;
    bench.check_range("microframes in 50 ms", passed.into(), 300, 416 + bench.slack() / 125_000);
    bench.wait(2_100_000_000);
    let status = reg(bench, 4);
    bench.check_bits("the frame list begins anew", status, 8_u32, 8_u32);
}

fn host_reset(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 8, 0x3f);
    set(bench, 0, RUN | 2);
    bench.wait(10_000_000);
    after_reset(bench);
}

fn schedules(bench: &mut Bench<'_>) {
    start(bench);
    for (name, command, expected) in [
        ("both", RUN, 0xc000_u32),
        ("asynchronous", RUN & !0x10, 0x8000),
        ("periodic", RUN & !0x20, 0x4000),
        ("none", RUN & !0x30, 0),
    ] {
        set(bench, 0, command);
        bench.wait(20_000_000);
        let status = reg(bench, 4);
        bench.check_bits(name, status, 0xd000_u32, expected);
    }
}

fn doorbell(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 4, 0x3f);
    set(bench, 0, RUN | 0x40);
    bench.wait(20_000_000);
    let status = reg(bench, 4);
    bench.check_bits("IAA", status, 0x20_u32, 0x20_u32);
    let command = reg(bench, 0);
    bench.check("it falls silent", command, RUN);
    set(bench, 4, 0x20);
    let status = reg(bench, 4);
    bench.check_bits("acknowledged", status, 0x20_u32, 0_u32);
}
