//! Power management at 00:01.3. Intel 82371AB (PIIX4) datasheet, order 290562; ACPI 1.0b, 4.7; PCI 2.1. The GPE and
//! hot-plug blocks are QEMU's own (its documentation, "QEMU<->ACPI BIOS PCI hotplug interface" and "CPU hotplug
//! interface").

use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};
use crate::machine::{Op, Size};

pub(super) const GROUP: Group = Group {
    device: "piix4_pm",
    about: "power management and SMBus 82371AB",
    setup: Setup { disks: &[], args: &[] },
    cases: CASES,
};

const CASES: &[Case] = &[
    case("it is an 82371AB", "82371AB 7.1.1, 7.1.2 VID, DID", identity),
    case("it is a bridge of another kind", "82371AB 7.1.6 CLASSC", class),
    case("its interrupt is INTA", "82371AB 7.1.10 INTPN", pin),
    case("the base has 64 ports and bit 0 set", "82371AB 7.1.11 PMBA", base),
    case("the ports answer when they are enabled", "82371AB 7.1.21 PMREGMISC, bit 0", enable),
    case("the ports move with their base", "82371AB 7.1.11 PMBA", moved),
    case("PM1 is clear after power-on", "82371AB 7.2.1 to 7.2.3", pm1_reset),
    case("PM1 enable keeps its four bits", "82371AB 7.2.2 PMEN; ACPI 4.7.3.1.2", pm1_enable),
    case("PM1 status is cleared by ones", "82371AB 7.2.1 PMSTS; ACPI 4.7.3.1.1", pm1_status),
    case("PM1 control keeps the sleep type", "82371AB 7.2.3 PMCNTRL, bits 12:10", sleep_type),
    case("the timer runs at 3.579545 MHz", "82371AB 7.2.4 PMTMR; ACPI 4.7.2.1", timer_rate),
    case("the timer has 24 bits at least", "ACPI 4.7.2.1", timer_width),
    case("the timer cannot be written", "82371AB 7.2.4 PMTMR, read only", timer_write),
    case("the timer's carry sets its status", "82371AB 7.2.1, TMROF_STS: bit 23 changes", timer_status),
    case("the timer's carry interrupts if it is enabled", "82371AB 7.2.2, TMROF_EN; IRQ 9", timer_interrupt),
    case("APM commands switch ACPI on and off", "ACPI 4.7.2.5; values of the FADT", acpi_enable),
    case("the APM status port keeps a byte", "82371AB 4.2.8.2 APMS", apm_status),
    case("the SMBus base is where the BIOS expects it", "82371AB 7.1.26 SMBBA", smbus_base),
    case("an absent SMBus device gives an error", "82371AB 7.3.1 SMBHSTSTS, DEV_ERR", smbus_absent),
    case("the SMBus host's registers keep their values", "82371AB 7.3.3 to 7.3.6", smbus_registers),
    case("general purpose events", "ACPI 4.7.4.3; QEMU's GPE0 at 0xafe0", gpe),
    case("the processors' map names the first", "QEMU: CPU hotplug at 0xaf00", cpu_map),
    case("the slots' registers", "QEMU: PCI hotplug at 0xae00", pci_hotplug),
    case("a reset closes the ports", "82371AB 7.1.21: default 0", reset),
];

/// Where the cases put the power management ports.
const BASE: u16 = 0x600;
const STATUS: u16 = BASE;
const ENABLE: u16 = BASE + 2;
const CONTROL: u16 = BASE + 4;
const TIMER: u16 = BASE + 8;
const SMBUS: u16 = 0x700;
const HERTZ: u64 = 3_579_545;

fn get(bench: &mut Bench<'_>, reg: u8, size: Size) -> u32 {
    bench.config(1, 3, reg, size)
}

fn set(bench: &mut Bench<'_>, reg: u8, size: Size, value: u32) {
    bench.set_config(1, 3, reg, size, value);
}

/// The ports at [`BASE`].
fn open(bench: &mut Bench<'_>) {
    set(bench, 0x40, Size::B4, BASE.into());
    set(bench, 0x80, Size::B1, 1);
    set(bench, 0x04, Size::B2, 1);
}

/// The SMBus host at [`SMBUS`].
fn open_smbus(bench: &mut Bench<'_>) {
    set(bench, 0x90, Size::B4, SMBUS.into());
    set(bench, 0xd2, Size::B1, 1);
    set(bench, 0x04, Size::B2, 1);
}

fn identity(bench: &mut Bench<'_>) {
    let id = get(bench, 0, Size::B4);
    bench.check("vendor and device", id, 0x7113_8086_u32);
    let revision = get(bench, 8, Size::B1);
    bench.note("revision", revision);
    let subsystem = get(bench, 0x2c, Size::B4);
    bench.note("subsystem", subsystem);
}

fn class(bench: &mut Bench<'_>) {
    let class = get(bench, 8, Size::B4) >> 8;
    bench.check("class code", class, 0x06_8000_u32);
}

fn pin(bench: &mut Bench<'_>) {
    let pin = get(bench, 0x3d, Size::B1);
    bench.check("interrupt pin", pin, 1_u32);
    let line = get(bench, 0x3c, Size::B1);
    bench.note("interrupt line", line);
    set(bench, 0x3c, Size::B1, 9);
    let line = get(bench, 0x3c, Size::B1);
    bench.check("interrupt line, written", line, 9_u32);
}

fn base(bench: &mut Bench<'_>) {
    let before = get(bench, 0x40, Size::B4);
    bench.check("after power-on", before, 1_u32);
    set(bench, 0x40, Size::B4, u32::MAX);
    let mask = get(bench, 0x40, Size::B4);
    bench.check("all ones", mask, 0xffc1_u32);
    set(bench, 0x40, Size::B4, 0);
    let zero = get(bench, 0x40, Size::B4);
    bench.check("zero", zero, 1_u32);
}

fn enable(bench: &mut Bench<'_>) {
    set(bench, 0x40, Size::B4, BASE.into());
    set(bench, 0x04, Size::B2, 1);
    let closed = bench.inl(TIMER);
    bench.check("the timer, closed", closed, u32::MAX);
    set(bench, 0x80, Size::B1, 1);
    let open = bench.inl(TIMER);
    bench.check_that("the timer, open", open != u32::MAX, "nobody answers");
    set(bench, 0x80, Size::B1, 0);
    let closed = bench.inl(TIMER);
    bench.check("the timer, closed again", closed, u32::MAX);
}

fn moved(bench: &mut Bench<'_>) {
    open(bench);
    bench.outw(ENABLE, 0x0100);
    set(bench, 0x40, Size::B4, 0xb000);
    let there = bench.inw(0xb002);
    bench.check("enable at its new place", there, 0x0100_u16);
    let gone = bench.inw(ENABLE);
    bench.check("its old place", gone, 0xffff_u16);
}

fn pm1_reset(bench: &mut Bench<'_>) {
    open(bench);
    for (name, port) in [("status", STATUS), ("enable", ENABLE), ("control", CONTROL)] {
        let value = bench.inw(port);
        bench.check_bits(name, value, 0x3fff_u16, 0_u16);
    }
}

fn pm1_enable(bench: &mut Bench<'_>) {
    open(bench);
    for bit in [1_u16, 1 << 5, 1 << 8, 1 << 10] {
        bench.outw(ENABLE, bit);
        let got = bench.inw(ENABLE);
        bench.check(format!("bit {}", bit.trailing_zeros()), got, bit);
    }
    bench.outw(ENABLE, 0xffff);
    let all = bench.inw(ENABLE);
    bench.note("all ones", all);
    bench.outw(ENABLE, 0);
    let none = bench.inw(ENABLE);
    bench.check("zero", none, 0_u16);
}

/// Lets the timer's bit 23 change: 8388608 ticks are 2.343 s.
fn carry(bench: &mut Bench<'_>) {
    for _ in 0..24 {
        bench.wait(100_000_000);
    }
}

fn pm1_status(bench: &mut Bench<'_>) {
    open(bench);
    carry(bench);
    let before = bench.inw(STATUS);
    bench.check_bits("timer status", before, 1_u16, 1_u16);
    bench.outw(STATUS, 0);
    let kept = bench.inw(STATUS);
    bench.check_bits("after zeros", kept, 1_u16, 1_u16);
    bench.outw(STATUS, 1);
    let cleared = bench.inw(STATUS);
    bench.check_bits("after a one", cleared, 1_u16, 0_u16);
}

fn sleep_type(bench: &mut Bench<'_>) {
    open(bench);
    for kind in [7_u16, 5, 1, 0] {
        bench.outw(CONTROL, kind << 10);
        let got = bench.inw(CONTROL);
        bench.check_bits(format!("type {kind}"), got, 0x1c00_u16, kind << 10);
        bench.check_bits(format!("SLP_EN beside type {kind}"), got, 0x2000_u16, 0_u16);
    }
}

fn timer_rate(bench: &mut Bench<'_>) {
    open(bench);
    const WAIT: u64 = 50_000_000;
    let read = Op::In(TIMER, Size::B4);
    let got = bench.perform(&[Op::Now, read, Op::Wait(WAIT), read, Op::Now]);
    let ticks = (got[3].wrapping_sub(got[1])) & 0xff_ffff;
    let most = got[4] - got[0];
    bench.check_range(
        "ticks in 50 ms",
        ticks,
        WAIT * HERTZ / 1_000_000_000,
        most * HERTZ / 1_000_000_000 + 1,
    );
}

fn timer_width(bench: &mut Bench<'_>) {
    open(bench);
    let timer = bench.inl(TIMER);
    bench.check_bits("bits 31:24 soon after power-on", timer, 0xff00_0000_u32, 0_u32);
    let bytes = bench.perform(&[Op::In(TIMER, Size::B1), Op::In(TIMER, Size::B2)]);
    bench.check_that("a byte and a word can be read", bytes[1] != 0xffff, format!("{bytes:x?}"));
}

fn timer_write(bench: &mut Bench<'_>) {
    open(bench);
    let got = bench.perform(&[
        Op::In(TIMER, Size::B4),
        Op::Out(TIMER, Size::B4, 0x80_0000),
        Op::In(TIMER, Size::B4),
    ]);
    let passed = got[2].wrapping_sub(got[0]) & 0xff_ffff;
    let most = (3 * bench.slack() + 10_000) * HERTZ / 1_000_000_000;
    bench.check_range("ticks across the write", passed, 0, most);
}

fn timer_status(bench: &mut Bench<'_>) {
    open(bench);
    bench.wait(2_000_000_000);
    let early = bench.inw(STATUS);
    bench.check_bits("after 2.0 s", early, 1_u16, 0_u16);
    bench.wait(500_000_000);
    let late = bench.inw(STATUS);
    bench.check_bits("after 2.5 s", late, 1_u16, 1_u16);
    let timer = bench.inl(TIMER);
    bench.check_bits("bit 23", timer, 0x80_0000_u32, 0x80_0000_u32);
}

fn timer_interrupt(bench: &mut Bench<'_>) {
    bench.interrupts();
    open(bench);
    bench.perform(&[Op::Out(0xb2, Size::B1, 0xf1)]);
    bench.outw(ENABLE, 1);
    let early = bench.irq(9);
    bench.check("before", early, false);
    carry(bench);
    let late = bench.irq(9);
    bench.check("after the carry", late, true);
    bench.outw(STATUS, 1);
    let taken = bench.irq(9);
    bench.check("after its status is cleared", taken, false);
    carry(bench);
    bench.outw(ENABLE, 0);
    let masked = bench.irq(9);
    bench.check("after its enable is cleared", masked, false);
}

fn acpi_enable(bench: &mut Bench<'_>) {
    open(bench);
    for (command, sci) in [(0xf1_u8, 1_u16), (0xf0, 0), (0xf1, 1)] {
        bench.outb(0xb2, command);
        let got = bench.inw(CONTROL);
        bench.check_bits(format!("SCI_EN after {command:#x}"), got, 1_u16, sci);
    }
}

fn apm_status(bench: &mut Bench<'_>) {
    for value in [0x5a_u8, 0xa5] {
        bench.outb(0xb3, value);
        let got = bench.inb(0xb3);
        bench.check(format!("{value:#x}"), got, value);
    }
}

fn smbus_base(bench: &mut Bench<'_>) {
    let before = get(bench, 0x90, Size::B4);
    bench.note("after power-on", before);
    let enabled = get(bench, 0xd2, Size::B1);
    bench.note("host configuration after power-on", enabled);
    set(bench, 0x90, Size::B4, SMBUS.into());
    let got = get(bench, 0x90, Size::B4);
    bench.check("written", got, u32::from(SMBUS) | 1);
}

fn smbus_absent(bench: &mut Bench<'_>) {
    open_smbus(bench);
    bench.outb(SMBUS, 0x1e);
    // Read byte from address 0x2c, where nobody is.
    bench.outb(SMBUS + 4, 0x2c << 1 | 1);
    bench.outb(SMBUS + 3, 0);
    bench.outb(SMBUS + 2, 0x48);
    let status = bench.poll(SMBUS, 20, |status| status & 0x1e != 0);
    bench.check_bits("status", status, 0x1f_u8, 4_u8);
    bench.outb(SMBUS, 0x1e);
    let cleared = bench.inb(SMBUS);
    bench.check_bits("status after ones", cleared, 0x1f_u8, 0_u8);
}

fn smbus_registers(bench: &mut Bench<'_>) {
    open_smbus(bench);
    for (name, at) in [("command", 3), ("address", 4), ("data 0", 5), ("data 1", 6)] {
        for value in [0x5a_u8, 0xa5] {
            bench.outb(SMBUS + at, value);
            let got = bench.inb(SMBUS + at);
            bench.check(format!("{name} {value:#x}"), got, value);
        }
    }
}

fn gpe(bench: &mut Bench<'_>) {
    let status = bench.inw(0xafe0);
    bench.check("status after power-on", status, 0_u16);
    for value in [0x02_u8, 0x06, 0] {
        bench.outb(0xafe2, value);
        let got = bench.inb(0xafe2);
        bench.check(format!("enable {value:#x}"), got, value);
    }
}

fn cpu_map(bench: &mut Bench<'_>) {
    let first = bench.inb(0xaf00);
    bench.check("processors 0 to 7", first, 1_u8);
    let next = bench.inb(0xaf01);
    bench.check("processors 8 to 15", next, 0_u8);
}

fn pci_hotplug(bench: &mut Bench<'_>) {
    for (name, port) in [("up", 0xae00), ("down", 0xae04)] {
        let got = bench.inl(port);
        bench.check(name, got, 0_u32);
    }
    let removable = bench.inl(0xae0c);
    bench.note("slots that can be ejected", removable);
    bench.outl(0xae10, 0);
    let bus = bench.inl(0xae10);
    bench.note("the bus that is chosen", bus);
}

fn reset(bench: &mut Bench<'_>) {
    open(bench);
    bench.outw(ENABLE, 0x0100);
    bench.reset();
    let misc = get(bench, 0x80, Size::B1);
    bench.check_bits("PMREGMISC", misc, 1_u32, 0_u32);
    open(bench);
    let enable = bench.inw(ENABLE);
    bench.check("PM1 enable", enable, 0_u16);
}
