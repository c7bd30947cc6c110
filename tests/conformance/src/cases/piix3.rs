//! The ISA bridge at 00:01.0. Intel 82371FB/82371SB (PIIX, PIIX3) datasheet, order 290550.

use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};
use crate::machine::{Op, Size};

pub(super) const GROUP: Group = Group {
    device: "piix3",
    about: "ISA bridge 82371SB",
    setup: Setup { disks: &[], args: &[] },
    cases: CASES,
};

const CASES: &[Case] = &[
    case("it is an 82371SB", "82371SB 2.2.1, 2.2.2 VID, DID", identity),
    case("it is an ISA bridge", "82371SB 2.2.6 CLASSC", class),
    case("it has several functions", "82371SB 2.2.7 HEDT, bit 7", functions),
    case("its header has no BARs", "82371SB table 4", no_bars),
    case("I/O, memory and bus master are always on", "82371SB 2.2.3 PCICMD", command),
    case("identity cannot be written", "PCI 2.1, 6.2.1", read_only),
    case("the PCI links lead nowhere after power-on", "82371SB 2.2.10 PIRQRC: default 80h", links_reset),
    case("the PCI links can be routed", "82371SB 2.2.10 PIRQRC, bits 7, 3:0", links),
    case("the chip's own registers after power-on", "82371SB 2.2.8 to 2.2.22, defaults", defaults),
    case("the reset control register keeps its mode", "82371SB 2.6.5.2 RC, bit 1", reset_mode),
    case("a hard reset begins with bit 2", "82371SB 2.6.5.2 RC, bit 2", hard_reset),
    case("a write without bit 2 resets nothing", "82371SB 2.6.5.2 RC", no_reset),
    case("a reset takes the routes back", "82371SB 2.2.10: default 80h", routes_after_reset),
    case("the IDE function is beside it", "82371SB 2.3.1", ide),
    case("port 0x61 is its NMI register", "82371SB 2.5.5.1 NMISC, bits 3:0", nmi),
    case("the coprocessor's error port takes writes", "82371SB 2.6.5.1 CPERR", coprocessor),
];

const PIRQ: u8 = 0x60;

fn get(bench: &mut Bench<'_>, reg: u8) -> u8 {
    bench.config(1, 0, reg, Size::B1) as u8
}

fn set(bench: &mut Bench<'_>, reg: u8, value: u8) {
    bench.set_config(1, 0, reg, Size::B1, value.into());
}

fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(1, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x7000_8086_u32);
    let revision = get(bench, 8);
    bench.note("revision", revision);
    let subsystem = bench.config(1, 0, 0x2c, Size::B4);
    bench.note("subsystem", subsystem);
}

fn class(bench: &mut Bench<'_>) {
    let class = bench.config(1, 0, 8, Size::B4) >> 8;
    bench.check("class code", class, 0x06_0100_u32);
}

fn functions(bench: &mut Bench<'_>) {
    let kind = get(bench, 0x0e);
    bench.check("header type", kind, 0x80_u8);
}

fn no_bars(bench: &mut Bench<'_>) {
    for reg in (0x10..0x28).step_by(4).chain([0x30]) {
        let size = bench.bar_size(1, 0, reg);
        bench.check(format!("size of the BAR at {reg:#x}"), size, 0_u32);
    }
    let pin = get(bench, 0x3d);
    bench.check("interrupt pin", pin, 0_u8);
}

fn command(bench: &mut Bench<'_>) {
    let status = bench.config(1, 0, 4, Size::B4);
    bench.check_bits("IOSE, MSE, BME", status, 7_u32, 7_u32);
    bench.note("command and status", status);
}

fn read_only(bench: &mut Bench<'_>) {
    for reg in [0x00, 0x08, 0x2c] {
        let before = bench.config(1, 0, reg, Size::B4);
        bench.set_config(1, 0, reg, Size::B4, !before);
        let after = bench.config(1, 0, reg, Size::B4);
        bench.check(format!("register {reg:#x}"), after, before);
    }
}

fn links_reset(bench: &mut Bench<'_>) {
    for link in 0..4 {
        let route = get(bench, PIRQ + link);
        bench.check(format!("link {}", char::from(b'A' + link)), route, 0x80_u8);
    }
}

fn links(bench: &mut Bench<'_>) {
    for (link, route) in [(0, 10_u8), (1, 11), (2, 5), (3, 0x80)] {
        set(bench, PIRQ + link, route);
        let got = get(bench, PIRQ + link);
        bench.check_bits(format!("link {}", char::from(b'A' + link)), got, 0x8f_u8, route);
    }
    let all = bench.config(1, 0, PIRQ, Size::B4);
    bench.check_bits("all four", all, 0x8f8f_8f8f_u32, 0x8005_0b0a_u32);
}

fn defaults(bench: &mut Bench<'_>) {
    for (name, reg, want) in [("IORT", 0x4c, 0x4d_u32), ("XBCS", 0x4e, 0x0003), ("TOM", 0x69, 0x02)] {
        let size = if reg == 0x4e { Size::B2 } else { Size::B1 };
        let value = bench.config(1, 0, reg, size);
        bench.check(name, value, want);
    }
    for reg in [0x6a, 0x70, 0x76, 0x77, 0x78, 0xa0, 0xa2, 0xa4, 0xa8, 0xaa, 0xac, 0xae] {
        let value = bench.config(1, 0, reg, Size::B1);
        bench.note(format!("register {reg:#x}"), value);
    }
}

fn reset_mode(bench: &mut Bench<'_>) {
    let before = bench.inb(0xcf9);
    bench.check("after power-on", before, 0_u8);
    for mode in [2_u8, 0] {
        bench.outb(0xcf9, mode);
        let got = bench.inb(0xcf9);
        bench.check(format!("mode {mode}"), got, mode);
    }
}

fn hard_reset(bench: &mut Bench<'_>) {
    set(bench, PIRQ, 10);
    bench.perform(&[Op::Out(0xcf9, Size::B1, 2), Op::Out(0xcf9, Size::B1, 6)]);
    let route = get(bench, PIRQ);
    bench.check("link A", route, 0x80_u8);
}

fn no_reset(bench: &mut Bench<'_>) {
    set(bench, PIRQ, 10);
    bench.outb(0xcf9, 2);
    bench.outb(0xcf9, 0);
    let route = get(bench, PIRQ);
    bench.check_bits("link A", route, 0x8f_u8, 10_u8);
}

fn routes_after_reset(bench: &mut Bench<'_>) {
    for link in 0..4 {
        set(bench, PIRQ + link, 11);
    }
    bench.reset();
    for link in 0..4 {
        let route = get(bench, PIRQ + link);
        bench.check(format!("link {}", char::from(b'A' + link)), route, 0x80_u8);
    }
}

fn ide(bench: &mut Bench<'_>) {
    let id = bench.config(1, 1, 0, Size::B4);
    bench.check("vendor and device of function 1", id, 0x7010_8086_u32);
    let kind = bench.config(1, 1, 0x0e, Size::B1);
    bench.check_bits("its header type", kind, 0x7f_u32, 0_u32);
}

fn nmi(bench: &mut Bench<'_>) {
    for value in [0_u8, 3, 1, 2] {
        bench.outb(0x61, value);
        let got = bench.inb(0x61);
        bench.check_bits(format!("enables {value}"), got, 3_u8, value);
    }
    let got = bench.inb(0x61);
    bench.check_bits("SERR and IOCHK are quiet", got, 0xc0_u8, 0_u8);
}

fn coprocessor(bench: &mut Bench<'_>) {
    bench.interrupts();
    bench.outb(0xf0, 0);
    let asked = bench.irq(13);
    bench.check("interrupt 13 stays quiet without an error", asked, false);
    let read = bench.inb(0xf0);
    bench.note("what is read at 0xf0", read);
}
