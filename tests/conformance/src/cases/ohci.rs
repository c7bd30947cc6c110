//! `pci-ohci` with a tablet on its first port and a disk on its second: Open Host Controller Interface Specification for
//! USB, 1.0a (O); Universal Serial Bus Specification, 2.0 (S); Mass Storage Class, Bulk-Only Transport, 1.0 (B).

use crate::bench::Bench;
use crate::case::{Disk, Group, Setup, case};
use crate::machine::Size;

pub(super) const GROUP: Group = Group {
    device: "ohci",
    about: "OHCI with a tablet and a disk",
    setup: Setup {
        disks: &[Disk::Loose { sectors: 2048 }],
        args: &[
            "-device",
            "pci-ohci,id=o,addr=3",
            "-device",
            "usb-tablet,bus=o.0,port=1,serial=T",
            "-device",
            "usb-storage,bus=o.0,port=2,drive=loose,serial=S1",
        ],
    },
    cases: &[
        case("identity", "O A.2", identity),
        case("memory of the BAR", "O A.2", bar),
        case("registers after a reset", "O 7", after_reset),
        case("what registers keep", "O 7.2, 7.3", kept),
        case("interrupts are enabled by ones", "O 7.1.5, 7.1.6", enabled),
        case("the bus sleeps after a reset", "O 7.1.3, HCR", sleeps),
        case("frames are counted", "O 7.3.3; 4.4", counted),
        case("what is left of a frame", "O 7.3.2", remaining),
        case("the toggle of frames", "O 7.3.1, FIT; 7.3.2, FRT", toggled),
        case("the root hub", "O 7.4.1 to 7.4.3", root_hub),
        case("a port with a device", "O 7.4.4", connected),
        case("a port with none", "O 7.4.4", empty),
        case("a port is reset", "O 7.4.4, PRS", reset),
        case("a port is enabled and disabled", "O 7.4.4, PES", port_enable),
        case("a port sleeps and wakes", "O 7.4.4, PSS and POCI", port_suspend),
        case("a change interrupts", "O 7.1.4, RHSC", change),
        case("a reset of the bus", "O 7.1.2, HCFS; 7.4.4", bus_reset),
        case("descriptor of the tablet", "S 9.6.1", descriptor),
        case("a request that is none", "O 4.3.3, Stall; S 9.2.7", stall),
        case("nothing to report", "O 4.3.1", nothing),
        case("the report that is asked for", "HID 7.2.1", report),
        case("lists that are empty", "O 5.2.7.2", emptied),
        case("a TD without interrupt", "O 4.3.1, DI", never),
        case("the done queue waits", "O 4.3.1, DI; 6.4.4", delayed),
        case("a short packet", "O 4.3.1, R; 4.3.3, DataUnderrun", short),
        case("nobody at that address", "O 4.3.1, EC; 4.3.3, DeviceNotResponding", nobody),
        case("an endpoint that is passed over", "O 4.2, K", skipped),
        case("a start of frame interrupts", "O 7.1.4, SF", start_of_frame),
        case("what is no memory", "O 7.1.4, UE", error),
        case("a disk is read", "B 5.3", disk),
    ],
};

const SLOT: u8 = 3;
const BAR: u64 = 0xfe00_0000;
/// In RAM: HCCA, an endpoint for each list, TDs, the one behind them, data.
const HCCA: u64 = 0x10_0000;
const CONTROL: u64 = 0x10_1000;
const BULK: u64 = 0x10_1010;
const INTERRUPT: u64 = 0x10_1020;
const TDS: u64 = 0x10_2000;
const TAIL: u64 = 0x10_2800;
const DATA: u64 = 0x10_4000;

const SKIP: u32 = 1 << 14;
const HALTED: u32 = 1;
const ROUNDING: u32 = 1 << 18;
const NOT_ACCESSED: u32 = 0xf << 28;
const SETUP: u32 = 0;
const OUT: u32 = 1;
const IN: u32 = 2;
/// Operational, with all lists.
const RUN: u32 = 0xbc;

fn reg(bench: &mut Bench<'_>, at: u64) -> u32 {
    bench.readl(BAR + at)
}
fn set(bench: &mut Bench<'_>, at: u64, value: u32) {
    bench.writel(BAR + at, value);
}
fn portsc(port: u64) -> u64 {
    0x50 + 4 * port
}
fn words(bench: &mut Bench<'_>, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bench.poke(at, &bytes);
}
fn word(bench: &mut Bench<'_>, at: u64) -> u32 {
    bench.peek(at, 4).iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// As the firmware leaves it.
fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, BAR as u32);
    bench.set_config(SLOT, 0, 4, Size::B2, 6);
}

/// All lists run, and are empty.
fn start(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, 8, 1);
    bench.wait(1_000_000);
    bench.poke(HCCA, &[0; 0x100]);
    for at in [CONTROL, BULK, INTERRUPT] {
        words(bench, at, &[SKIP, 0, 0, 0]);
    }
    words(bench, HCCA, &[INTERRUPT as u32; 32]);
    set(bench, 0x18, HCCA as u32);
    set(bench, 0x20, CONTROL as u32);
    set(bench, 0x28, BULK as u32);
    set(bench, 4, RUN);
}

/// The device on a port is reset and enabled.
fn enable(bench: &mut Bench<'_>, port: u64) {
    start(bench);
    set(bench, portsc(port), 0x10);
    bench.wait(20_000_000);
    set(bench, portsc(port), 0x1f_0000);
    set(bench, 0xc, 0xff);
}

fn endpoint(address: u32, number: u32, way: u32, longest: u32) -> u32 {
    address | number << 7 | way << 11 | longest << 16
}

/// A TD: its number, what it is, and its bytes at [`DATA`] plus 64 for each number.
fn td(bench: &mut Bench<'_>, n: u64, last: bool, flags: u32, len: u32) {
    let (at, buffer) = (TDS + n * 16, (DATA + n * 64) as u32);
    let next = if last { TAIL } else { at + 16 } as u32;
    let (first, end) = if len == 0 { (0, 0) } else { (buffer, buffer + len - 1) };
    words(bench, at, &[NOT_ACCESSED | flags, first, next, end]);
}
fn code(bench: &mut Bench<'_>, n: u64) -> u32 {
    word(bench, TDS + n * 16) >> 28
}
/// The endpoint's head has gone to the end, or is halted. Whether all was done.
fn wait(bench: &mut Bench<'_>, at: u64) -> bool {
    let over = |bench: &mut Bench<'_>| {
        let head = word(bench, at + 8);
        head & HALTED != 0 || head & !0xf == TAIL as u32
    };
    bench.passes_until(over) && word(bench, at + 8) & HALTED == 0
}

/// A request without data to the device, or with data from it. None: it failed.
fn request(bench: &mut Bench<'_>, address: u32, setup: [u8; 8]) -> Option<Vec<u8>> {
    let len = u32::from(u16::from_le_bytes([setup[6], setup[7]]));
    bench.poke(DATA, &setup);
    td(bench, 0, false, 2 << 24 | SETUP << 19 | 7 << 21, 8);
    let mut last = 1;
    if len > 0 {
        td(bench, 1, false, 3 << 24 | IN << 19 | ROUNDING | 7 << 21, len);
        last = 2;
    }
    td(bench, last, true, 3 << 24 | if len > 0 { OUT } else { IN } << 19, 0);
    words(bench, CONTROL, &[endpoint(address, 0, 0, 8), TAIL as u32, TDS as u32, 0]);
    set(bench, 8, 2);
    let done = wait(bench, CONTROL);
    bench.passes_until(|bench| reg(bench, 0xc) & 2 != 0);
    set(bench, 0xc, 2);
    words(bench, CONTROL, &[SKIP]);
    let end = match word(bench, TDS + 20) {
        _ if len == 0 => 0,
        0 => len,
        at => at.wrapping_sub((DATA + 64) as u32).min(len),
    };
    let data = bench.peek(DATA + 64, end as usize);
    done.then_some(data)
}

fn identity(bench: &mut Bench<'_>) {
    for (name, at, size) in [
        ("vendor and device", 0, Size::B4),
        ("class and revision", 8, Size::B4),
        ("subsystem", 0x2c, Size::B4),
        ("pin", 0x3d, Size::B1),
    ] {
        let value = bench.config(SLOT, 0, at, size);
        bench.note(name, value);
    }
    let class = bench.config(SLOT, 0, 8, Size::B4) >> 8;
    bench.check("class", class, 0x0c_0310u32);
    on(bench);
    let revision = reg(bench, 0);
    bench.check("HcRevision", revision & 0xff, 0x10u32);
}

fn bar(bench: &mut Bench<'_>) {
    let size = bench.bar_size(SLOT, 0, 0x10);
    bench.note("bytes", size);
}

fn after_reset(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 8, 1);
    bench.wait(1_000_000);
    for (name, at, expected) in [
        ("HcControl", 4, 0xc0),
        ("HcCommandStatus", 8, 0),
        ("HcInterruptStatus", 0xc, 0),
        ("HcInterruptEnable", 0x10, 0),
        ("HcHCCA", 0x18, 0),
        ("HcPeriodCurrentED", 0x1c, 0),
        ("HcControlHeadED", 0x20, 0),
        ("HcBulkHeadED", 0x28, 0),
        ("HcDoneHead", 0x30, 0),
        ("HcFmNumber", 0x3c, 0),
        ("HcPeriodicStart", 0x40, 0),
        ("HcLSThreshold", 0x44, 0x628u32),
    ] {
        let found = reg(bench, at);
        bench.check(name, found, expected);
    }
    let interval = reg(bench, 0x34);
    bench.check("FI", interval & 0x3fff, 0x2edfu32);
    bench.note("HcFmInterval", interval);
}

fn kept(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at, expected) in [
        ("HcHCCA", 0x18, 0xffff_ff00u32),
        ("HcControlHeadED", 0x20, 0xffff_fff0),
        ("HcControlCurrentED", 0x24, 0xffff_fff0),
        ("HcBulkHeadED", 0x28, 0xffff_fff0),
        ("HcBulkCurrentED", 0x2c, 0xffff_fff0),
    ] {
        set(bench, at, 0xffff_ffff);
        let found = reg(bench, at);
        bench.check(name, found, expected);
    }
    set(bench, 0x40, 0x2a2f);
    let start = reg(bench, 0x40);
    bench.check("HcPeriodicStart", start, 0x2a2fu32);
}

fn enabled(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, 0x14, 0xffff_ffff);
    let none = reg(bench, 0x10);
    bench.check("none", none, 0u8);
    set(bench, 0x10, 0x8000_0004);
    set(bench, 0x10, 0x20);
    let all = reg(bench, 0x14);
    bench.check("as HcInterruptDisable reads", all, 0x8000_0024u32);
    set(bench, 0x14, 4);
    let left = reg(bench, 0x10);
    bench.check("without one", left, 0x8000_0020u32);
}

fn sleeps(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 8, 1);
    bench.wait(1_000_000);
    let control = reg(bench, 4);
    bench.check("HCFS", control >> 6 & 3, 3u8);
    let number = reg(bench, 0x3c);
    bench.wait(5_000_000);
    let later = reg(bench, 0x3c);
    bench.check("no frames", later, number);
}

fn counted(bench: &mut Bench<'_>) {
    start(bench);
    bench.wait(2_000_000);
    let first = reg(bench, 0x3c);
    bench.wait(50_000_000);
    let passed = reg(bench, 0x3c).wrapping_sub(first) & 0xffff;
    bench.check_range("frames in 50 ms", passed.into(), 49, 51 + bench.slack() / 1_000_000);
    words(bench, HCCA + 0x80, &[0xffff_0000]);
    bench.wait(2_000_000);
    let number = reg(bench, 0x3c);
    let found = word(bench, HCCA + 0x80);
    bench.check("HccaPad1", found >> 16, 0u8);
    bench.check_range("HccaFrameNumber", number.wrapping_sub(found).into(), 0, 1 + bench.slack() / 1_000_000);
}

fn remaining(bench: &mut Bench<'_>) {
    start(bench);
    bench.wait(2_000_000);
    let left = reg(bench, 0x38) & 0x3fff;
    bench.check_range("bits", left.into(), 0, 0x2edf);
}

fn toggled(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 0x34, 0xa778_2edf);
    bench.wait(3_000_000);
    let left = reg(bench, 0x38);
    bench.check("FRT", left >> 31, 1u8);
}

fn root_hub(bench: &mut Bench<'_>) {
    on(bench);
    let a = reg(bench, 0x48);
    bench.check("ports", a & 0xff, 3u8);
    bench.note("HcRhDescriptorA", a);
    let b = reg(bench, 0x4c);
    bench.note("HcRhDescriptorB", b);
    set(bench, 0x50, 1 << 15);
    let status = reg(bench, 0x50);
    bench.check_bits("DRWE is set", status, 1u32 << 15, 1u32 << 15);
    set(bench, 0x50, 1 << 31);
    let status = reg(bench, 0x50);
    bench.check("and cleared", status, 0u8);
}

fn connected(bench: &mut Bench<'_>) {
    on(bench);
    let port = reg(bench, portsc(1));
    bench.check("connected, with power", port & 0xffff, 0x101u32);
}

fn empty(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, portsc(3), 0x1f_0000);
    let port = reg(bench, portsc(3));
    bench.check("power", port, 0x100u32);
    set(bench, portsc(3), 2);
    let port = reg(bench, portsc(3));
    bench.check("it cannot be enabled, and says so", port, 0x1_0100u32);
}

fn reset(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, portsc(1), 0x10);
    bench.wait(20_000_000);
    let port = reg(bench, portsc(1));
    bench.check_bits("enabled, and the reset is over", port, 0x10_0013u32, 0x10_0003u32);
    set(bench, portsc(1), 0x1f_0000);
    let port = reg(bench, portsc(1));
    bench.check("changes are cleared", port, 0x103u32);
}

fn port_enable(bench: &mut Bench<'_>) {
    enable(bench, 1);
    set(bench, portsc(1), 1);
    let port = reg(bench, portsc(1));
    bench.check("disabled", port, 0x101u32);
    set(bench, portsc(1), 2);
    let port = reg(bench, portsc(1));
    bench.check("enabled", port, 0x103u32);
}

fn port_suspend(bench: &mut Bench<'_>) {
    enable(bench, 1);
    set(bench, portsc(1), 4);
    let port = reg(bench, portsc(1));
    bench.check("asleep", port, 0x107u32);
    set(bench, portsc(1), 8);
    bench.wait(30_000_000);
    let port = reg(bench, portsc(1));
    bench.check("awake, and told so", port, 0x4_0103u32);
}

fn change(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 0xc, 0xff);
    set(bench, portsc(1), 0x10);
    bench.wait(20_000_000);
    let status = reg(bench, 0xc);
    bench.check_bits("RHSC", status, 0x40u32, 0x40u32);
    set(bench, 0xc, 0x40);
    let status = reg(bench, 0xc);
    bench.check_bits("cleared by a one", status, 0x40u32, 0u32);
}

fn bus_reset(bench: &mut Bench<'_>) {
    enable(bench, 1);
    set(bench, 4, 0);
    bench.wait(20_000_000);
    let port = reg(bench, portsc(1));
    bench.check("as after power-on", port, 0x1_0101u32);
}

fn descriptor(bench: &mut Bench<'_>) {
    enable(bench, 1);
    let device = request(bench, 0, [0x80, 6, 0, 1, 0, 0, 18, 0]).unwrap_or_default();
    bench.check_bytes("its head", device.get(..2).unwrap_or_default(), &[18, 1]);
    bench.note_bytes("all", &device);
    let address = request(bench, 0, [0, 5, 5, 0, 0, 0, 0, 0]);
    bench.check_that("it takes an address", address.is_some(), "it does not");
    let whole = request(bench, 5, [0x80, 6, 0, 2, 0, 0, 34, 0]).unwrap_or_default();
    bench.note_bytes("configuration", &whole);
}

/// The tablet has address 5 and is configured.
fn configure(bench: &mut Bench<'_>) {
    enable(bench, 1);
    request(bench, 0, [0, 5, 5, 0, 0, 0, 0, 0]);
    request(bench, 5, [0, 9, 1, 0, 0, 0, 0, 0]);
}

fn stall(bench: &mut Bench<'_>) {
    configure(bench);
    let none = request(bench, 5, [0xc0, 0x77, 0, 0, 0, 0, 8, 0]);
    bench.check_that("it is refused", none.is_none(), "it is answered");
    let code = code(bench, 1);
    bench.check("CC", code, 4u8);
    let reply = request(bench, 5, [0x80, 8, 0, 0, 0, 0, 1, 0]).unwrap_or_default();
    bench.check_bytes("the next", &reply, &[1]);
}

/// The interrupt endpoint asks for a report, into the 16th buffer.
fn ask(bench: &mut Bench<'_>, address: u32, flags: u32, len: u32) {
    td(bench, 16, true, flags, len);
    let at = (TDS + 256) as u32;
    words(bench, INTERRUPT, &[endpoint(address, 1, IN, 8), TAIL as u32, at, 0]);
}

fn nothing(bench: &mut Bench<'_>) {
    configure(bench);
    ask(bench, 5, ROUNDING, 8);
    bench.wait(100_000_000);
    let code = code(bench, 16);
    bench.check("not accessed", code, 0xfu8);
    let head = word(bench, INTERRUPT + 8);
    bench.check("it is still the head", head, (TDS + 256) as u32);
}

fn report(bench: &mut Bench<'_>) {
    configure(bench);
    let reply = request(bench, 5, [0xa1, 1, 0, 1, 0, 0, 6, 0]).unwrap_or_default();
    bench.check_bytes("nothing has happened", &reply, &[0; 6]);
}

fn emptied(bench: &mut Bench<'_>) {
    configure(bench);
    set(bench, 8, 6);
    bench.wait(10_000_000);
    let status = reg(bench, 8);
    bench.check("CLF and BLF", status, 0u8);
}

/// A request begins, alone.
fn setup(bench: &mut Bench<'_>, delay: u32) {
    bench.poke(DATA, &[0x80, 8, 0, 0, 0, 0, 1, 0]);
    td(bench, 0, true, 2 << 24 | delay << 21, 8);
    words(bench, HCCA + 0x84, &[0]);
    words(bench, CONTROL, &[endpoint(5, 0, 0, 8), TAIL as u32, TDS as u32, 0]);
    set(bench, 0xc, 0xff);
    set(bench, 8, 2);
}

fn never(bench: &mut Bench<'_>) {
    configure(bench);
    setup(bench, 7);
    let done = wait(bench, CONTROL);
    bench.check_that("it is done", done, "it is not");
    bench.wait(30_000_000);
    let status = reg(bench, 0xc);
    bench.check_bits("WDH", status, 2u32, 0u32);
    let head = reg(bench, 0x30);
    bench.check("HcDoneHead", head, TDS as u32);
}

fn delayed(bench: &mut Bench<'_>) {
    configure(bench);
    for delay in [0, 6] {
        setup(bench, delay);
        wait(bench, CONTROL);
        let told = bench.passes_until(|bench| reg(bench, 0xc) & 2 != 0);
        bench.check_that(format!("WDH after {delay}"), told, "it never comes");
        let head = word(bench, HCCA + 0x84);
        bench.check(format!("HccaDoneHead after {delay}"), head & !1, TDS as u32);
    }
}

fn short(bench: &mut Bench<'_>) {
    configure(bench);
    // The descriptor has 18 bytes, and 64 are asked for: with R that is none.
    bench.poke(DATA, &[0x80, 6, 0, 1, 0, 0, 64, 0]);
    for (what, flags, expected) in [("with R", ROUNDING, 0u8), ("without", 0, 9)] {
        td(bench, 0, false, 2 << 24 | 7 << 21, 8);
        td(bench, 1, true, 3 << 24 | IN << 19 | flags, 64);
        words(bench, CONTROL, &[endpoint(5, 0, 0, 8), TAIL as u32, TDS as u32, 0]);
        set(bench, 8, 2);
        let done = wait(bench, CONTROL);
        bench.check_that(format!("{what}: it goes on"), done == (expected == 0), "the other");
        let code = code(bench, 1);
        bench.check(format!("{what}: CC"), code, expected);
        bench.passes_until(|bench| reg(bench, 0xc) & 2 != 0);
        set(bench, 0xc, 2);
    }
}

fn nobody(bench: &mut Bench<'_>) {
    configure(bench);
    ask(bench, 77, ROUNDING, 8);
    bench.wait(50_000_000);
    let code = code(bench, 16);
    bench.check("CC", code, 5u8);
    let head = word(bench, INTERRUPT + 8);
    bench.check("halted", head & 1, 1u8);
}

fn skipped(bench: &mut Bench<'_>) {
    configure(bench);
    ask(bench, 5, ROUNDING, 8);
    let flags = word(bench, INTERRUPT);
    words(bench, INTERRUPT, &[flags | SKIP]);
    // Something to say: an idle rate of 4 ms.
    request(bench, 5, [0x21, 10, 0, 1, 0, 0, 0, 0]);
    bench.wait(50_000_000);
    let before = code(bench, 16);
    bench.check("not accessed", before, 0xfu8);
    words(bench, INTERRUPT, &[flags]);
    let there = bench.passes_until(|bench| code(bench, 16) == 0);
    bench.check_that("then it reports", there, "it does not");
}

fn start_of_frame(bench: &mut Bench<'_>) {
    start(bench);
    set(bench, 0xc, 4);
    bench.wait(3_000_000);
    let status = reg(bench, 0xc);
    bench.check_bits("SF", status, 4u32, 4u32);
    set(bench, 4, 0xc0);
    set(bench, 0xc, 4);
    bench.wait(3_000_000);
    let status = reg(bench, 0xc);
    bench.check_bits("not while the bus sleeps", status, 4u32, 0u32);
}

fn error(bench: &mut Bench<'_>) {
    configure(bench);
    words(bench, INTERRUPT, &[endpoint(5, 1, IN, 8), TAIL as u32, 0xfee0_1000, 0]);
    words(bench, HCCA, &[0xf000_0000; 32]);
    bench.wait(50_000_000);
    let status = reg(bench, 0xc);
    bench.note("HcInterruptStatus", status & 0x10);
    set(bench, 8, 1);
    bench.wait(1_000_000);
    let status = reg(bench, 0xc);
    bench.check("after a reset", status & 0x10, 0u8);
}

/// A transfer of the disk's.
fn bulk(bench: &mut Bench<'_>, number: u32, way: u32, at: u64, len: u32) -> bool {
    let carry = word(bench, BULK + 8) & 2;
    words(bench, TDS + 0x200, &[NOT_ACCESSED | ROUNDING, at as u32, TAIL as u32, at as u32 + len - 1]);
    words(bench, BULK, &[endpoint(6, number, way, 64), TAIL as u32, (TDS + 0x200) as u32 | carry, 0]);
    set(bench, 8, 4);
    let done = wait(bench, BULK);
    bench.passes_until(|bench| reg(bench, 0xc) & 2 != 0);
    set(bench, 0xc, 2);
    done
}

fn disk(bench: &mut Bench<'_>) {
    enable(bench, 2);
    request(bench, 0, [0, 5, 6, 0, 0, 0, 0, 0]);
    request(bench, 6, [0, 9, 1, 0, 0, 0, 0, 0]);
    let command = |bench: &mut Bench<'_>, cdb: &[u8], len: u32| {
        let mut cbw = [0x4342_5355, 7, len].map(u32::to_le_bytes).concat();
        cbw.extend([0x80, 0, cdb.len() as u8]);
        cbw.extend(cdb);
        cbw.resize(31, 0);
        bench.poke(DATA, &cbw);
        let mut done = bulk(bench, 2, OUT, DATA, 31);
        if len > 0 {
            done &= bulk(bench, 1, IN, DATA + 0x1000, len);
        }
        done && bulk(bench, 1, IN, DATA + 0x100, 13)
    };
    // Unit attention, perhaps; then the disk is ready.
    command(bench, &[0; 6], 0);
    let done = command(bench, &[0; 6], 0);
    bench.check_that("it is ready", done, "a transfer fails");
    let done = command(bench, &[0x28, 0, 0, 0, 0, 5, 0, 0, 2, 0], 1024);
    bench.check_that("it is read", done, "a transfer fails");
    let data = bench.peek(DATA + 0x1000, 1024);
    let expected: Vec<u8> = (0..1024).map(|at| Disk::byte(5 * 512 + at)).collect();
    bench.check_bytes("its data", &data, &expected);
    let status = bench.peek(DATA + 0x10c, 1);
    bench.check_bytes("its status", &status, &[0]);
}
