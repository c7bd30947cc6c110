//! The USB controller of the PIIX3 with a tablet on its first port: Intel, Universal Host Controller
//! Interface Design Guide, 1.1 (U); Universal Serial Bus Specification, 2.0 (S); Device Class Definition for HID, 1.11 (H).

mod driver;
pub(super) mod hub;
pub(super) mod serial;
mod transfers;

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;
use driver::*;

pub(super) const GROUP: Group = Group {
    device: "uhci",
    about: "UHCI, the PIIX3's USB, with a tablet",
    setup: Setup { disks: &[], args: &["-usb", "-device", "usb-tablet,port=1"] },
    cases: &[
        case("identity", "82371SB 2.3; U 5.1", identity),
        case("ports of the BAR", "U 2.1", bar),
        case("legacy support after power-on", "U 5.2.1", legacy),
        case("registers after power-on", "U 2.1", power_on),
        case("a port with a device", "U 2.1.7", connected),
        case("a port with none", "U 2.1.7", empty),
        case("ports that are not there", "U 2.1.7", absent),
        case("a change is cleared by a one", "U 2.1.7, bit 1", change),
        case("a port is enabled after its reset", "U 2.1.7, bits 2 and 9", enabled),
        case("run and stop", "U 2.1.1, RS; 2.1.2, HCHalted", run_stop),
        case("frames are counted", "U 2.1.4", counted),
        case("the frame number can be set while halted", "U 2.1.4", number),
        case("the frame list lies at a page", "U 2.1.5", list),
        case("start of frame", "U 2.1.6", sof),
        case("host controller reset", "U 2.1.1, HCRESET", host_reset),
        case("global reset", "U 2.1.1, GRESET", global_reset),
        case("a double word is two words", "PCI 2.1, 3.7.1", double),
        case("descriptor of the device", "S 9.6.1", transfers::device),
        case("the first eight bytes of it", "S 9.4.3", transfers::eight),
        case("an address", "S 9.4.6", transfers::address),
        case("descriptors of the configuration", "S 9.6.3 to 9.6.6; H 6.2.1", transfers::configuration),
        case("strings", "S 9.6.7", transfers::strings),
        case("what reports are", "H 6.2.2", transfers::report_descriptor),
        case("a configuration is chosen", "S 9.4.2, 9.4.7", transfers::configured),
        case("status of the device", "S 9.4.5, 9.4.9", transfers::status),
        case("a request that is none", "S 9.2.7; U 3.2.2, Stalled", transfers::stall),
        case("nothing to report", "U 3.2.2, NAK", transfers::nak),
        case("the report that is asked for", "H 7.2.1", transfers::get_report),
        case("the idle rate", "H 7.2.3, 7.2.4", transfers::idle),
        case("an interrupt for a TD", "U 2.1.2, 2.1.3; 3.2.2, IOC", transfers::interrupt),
        case("a short packet", "U 3.2.2, SPD", transfers::short),
        case("an inactive TD that interrupts", "U 3.2.2, IOC", transfers::inactive),
        case("a queue, breadth first", "U 3.2.1, Vf", transfers::breadth),
        case("queues in a circle", "U 3.4.2", transfers::circle),
        case("nobody at that address", "U 3.2.2, CRC/Time Out", transfers::nobody),
    ],
};

fn identity(bench: &mut Bench<'_>) {
    let get = |bench: &mut Bench<'_>, reg, size| bench.config(SLOT, FUNCTION, reg, size);
    let id = get(bench, 0, Size::B4);
    bench.check("vendor and device", id, 0x7020_8086u32);
    let class = get(bench, 8, Size::B4);
    bench.check("class", class >> 8, 0x0c_0300u32);
    bench.note("revision", class & 0xff);
    let pin = get(bench, 0x3d, Size::B1);
    bench.check("pin", pin, 4u8);
    let release = get(bench, 0x60, Size::B1);
    bench.check("release of USB", release, 0x10u8);
    let subsystem = get(bench, 0x2c, Size::B4);
    bench.note("subsystem", subsystem);
}

fn bar(bench: &mut Bench<'_>) {
    let size = bench.bar_size(SLOT, FUNCTION, 0x20);
    bench.check("ports", size, 32u8);
}

fn legacy(bench: &mut Bench<'_>) {
    let legsup = bench.config(SLOT, FUNCTION, 0xc0, Size::B2);
    bench.check("LEGSUP", legsup, 0x2000u16);
}

fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    after_reset(bench);
}

/// What each register is to be then.
fn after_reset(bench: &mut Bench<'_>) {
    for (name, at, expected) in
        [("USBCMD", 0, 0), ("USBSTS", 2, 0x20), ("USBINTR", 4, 0), ("FRNUM", 6, 0u16), ("SOFMOD", 0xc, 64)]
    {
        let found = bench.inw(IO + at);
        bench.check(name, found, expected);
    }
    let base = bench.inl(IO + 8);
    bench.check("FRBASEADD", base, 0u8);
}

fn connected(bench: &mut Bench<'_>) {
    on(bench);
    let port = bench.inw(IO + 0x10);
    bench.check("PORTSC1", port, 0x83u16);
}

fn empty(bench: &mut Bench<'_>) {
    on(bench);
    let port = bench.inw(IO + 0x12);
    bench.check("PORTSC2", port, 0x80u16);
    bench.outw(IO + 0x12, 4);
    let port = bench.inw(IO + 0x12);
    bench.check("it cannot be enabled", port, 0x80u16);
}

fn absent(bench: &mut Bench<'_>) {
    on(bench);
    for at in [0x14, 0x16, 0x1e] {
        let port = bench.inw(IO + at);
        bench.check_bits(format!("bit 7 at {at:#x}"), port, 0x80_u16, 0_u16);
    }
}

fn change(bench: &mut Bench<'_>) {
    on(bench);
    bench.outw(IO + 0x10, 0);
    let port = bench.inw(IO + 0x10);
    bench.check("after a zero", port, 0x83u16);
    bench.outw(IO + 0x10, 2);
    let port = bench.inw(IO + 0x10);
    bench.check("after a one", port, 0x81u16);
}

fn enabled(bench: &mut Bench<'_>) {
    on(bench);
    bench.outw(IO + 0x10, 0x202);
    let port = bench.inw(IO + 0x10);
    bench.check_bits("reset", port, 0x203_u16, 0x201_u16);
    bench.wait(50_000_000);
    bench.outw(IO + 0x10, 0);
    bench.outw(IO + 0x10, 0xe);
    let port = bench.inw(IO + 0x10);
    bench.check("enabled", port, 0x85u16);
}

fn run_stop(bench: &mut Bench<'_>) {
    start(bench);
    let status = bench.inw(IO + 2);
    bench.check_bits("HCHalted while it runs", status, 0x20_u16, 0_u16);
    bench.outw(IO, 0xc0);
    bench.wait(2_000_000);
    let status = bench.inw(IO + 2);
    bench.check("USBSTS when it stands", status, 0x20u16);
    let command = bench.inw(IO);
    bench.check("USBCMD", command, 0xc0u16);
}

fn counted(bench: &mut Bench<'_>) {
    start(bench);
    let first = bench.inw(IO + 6);
    bench.wait(50_000_000);
    let passed = bench.inw(IO + 6).wrapping_sub(first) & 0x7ff;
    bench.check_range("frames in 50 ms", passed.into(), 49, 51 + bench.slack() / 1_000_000);
}

fn number(bench: &mut Bench<'_>) {
    on(bench);
    bench.outw(IO + 6, 0xf123);
    let frame = bench.inw(IO + 6);
    bench.check("eleven bits", frame, 0x123u16);
    start(bench);
    bench.outw(IO + 6, 0x700);
    let frame = bench.inw(IO + 6);
    bench.check_range("not while it runs", frame.into(), 0x123, 0x200 + bench.slack() / 1_000_000);
}

fn list(bench: &mut Bench<'_>) {
    on(bench);
    bench.outl(IO + 8, 0xffff_ffff);
    let base = bench.inl(IO + 8);
    bench.check("FRBASEADD", base, 0xffff_f000u32);
}

fn sof(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(IO + 0xc, 0x43);
    let timing = bench.inb(IO + 0xc);
    bench.check("SOFMOD", timing, 0x43u8);
}

fn host_reset(bench: &mut Bench<'_>) {
    start(bench);
    bench.wait(5_000_000);
    bench.outw(IO, 2);
    after_reset(bench);
    let port = bench.inw(IO + 0x10);
    bench.check_bits("a device is there", port, 0x85_u16, 0x81_u16);
}

fn global_reset(bench: &mut Bench<'_>) {
    start(bench);
    bench.wait(5_000_000);
    bench.outw(IO, 4);
    bench.wait(20_000_000);
    bench.outw(IO, 0);
    after_reset(bench);
}

fn double(bench: &mut Bench<'_>) {
    on(bench);
    bench.outl(IO + 4, 0x0055_000f);
    let words = [4, 6].map(|at| bench.inw(IO + at));
    bench.check("USBINTR", words[0], 15u8);
    bench.check("FRNUM", words[1], 0x55u8);
    let both = bench.inl(IO + 4);
    bench.check("both", both, 0x0055_000fu32);
}
