//! The watchdog of Intel's 6300ESB: "Intel 6300ESB I/O Controller Hub Datasheet", chapter "Watchdog Timer" (D). Nobody
//! does anything when it barks; what it then is shows that it did.

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

const SLOT: u8 = 4;
const AT: u64 = 0xe000_0000;
const RELOAD: u64 = AT + 0xc;
const CONFIG: u8 = 0x60;
const LOCK: u8 = 0x68;
const ENABLE: u32 = 2;
const MS: u64 = 1_000_000;

pub(super) const GROUP: Group = Group {
    device: "i6300esb",
    about: "watchdog of the 6300ESB",
    setup: Setup { disks: &[], args: &["-action", "watchdog=none", "-device", "i6300esb,addr=4"] },
    cases: &[
        case("identity", "PCI 2.1, 6.2.1; D, PCI configuration", identity),
        case("BAR", "PCI 2.1, 6.2.5", bar),
        case("registers after power-on", "D, 60h, 68h, 0Ch", power_on),
        case("configuration register", "D, WDT configuration (60h)", configuration),
        case("lock register", "D, WDT lock (68h)", lock),
        case("a locked one stays as it is", "D, WDT lock (68h), bit 0", locked),
        case("the registers read as zeros", "D, preload values", reads),
        case("two stages, then it barks", "D, two-stage timer", barks),
        case("not before the second stage is over", "D, two-stage timer", second_stage),
        case("fed, it does not bark", "D, reload (0Ch), bit 8", fed),
        case("a reload needs the sequence", "D, register unlocking sequence", reload_unlocked),
        case("a preload value needs the sequence", "D, register unlocking sequence", preload_unlocked),
        case("one write a sequence", "D, register unlocking sequence", once),
        case("the timeout bit is cleared by a one", "D, reload (0Ch), bit 9", timeout_bit),
        case("stopped, it does not bark", "D, WDT lock (68h), bit 1", stopped),
        case("with no output, nothing", "D, WDT configuration (60h), bit 5", no_output),
        case("free-running, it goes round", "D, WDT lock (68h), bit 2", free_run),
        case("1 us a tick", "D, WDT configuration (60h), bit 2", microseconds),
        case("after reset", "PCI 2.1, 4.3", reset),
    ],
};

fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, AT as u32);
    bench.set_config(SLOT, 0, 4, Size::B2, 2);
}

fn unlock(bench: &mut Bench<'_>) {
    bench.write(RELOAD, Size::B2, 0x80);
    bench.write(RELOAD, Size::B2, 0x86);
}

/// Stages of so many counts each, and it runs.
fn start(bench: &mut Bench<'_>, first: u64, second: u64, lock: u32) {
    on(bench);
    for (at, counts) in [(AT, first), (AT + 4, second)] {
        unlock(bench);
        bench.write(at, Size::B4, counts);
    }
    bench.set_config(SLOT, 0, LOCK, Size::B1, lock | ENABLE);
}

/// Whether it has barked: that it runs no more, and the bit.
fn has_barked(bench: &mut Bench<'_>, what: &str, barked: bool) {
    let runs = bench.config(SLOT, 0, LOCK, Size::B1) & ENABLE != 0;
    let bit = bench.read(RELOAD, Size::B2) & 0x200;
    bench.check(format!("{what}: it runs"), runs, !barked);
    bench.check(format!("{what}: timeout bit"), bit, u64::from(barked) << 9);
}

fn identity(bench: &mut Bench<'_>) {
    for (what, reg, size, want) in [
        ("vendor and device", 0, Size::B4, 0x25ab_8086u32),
        ("subsystem", 0x2c, Size::B4, 0x1100_1af4),
        ("pin", 0x3d, Size::B1, 0),
    ] {
        let got = bench.config(SLOT, 0, reg, size);
        bench.check(what, got, want);
    }
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class", class >> 8, 0x08_8000u32);
    bench.note("revision", class & 0xff);
}

fn bar(bench: &mut Bench<'_>) {
    let size = bench.bar_size(SLOT, 0, 0x10);
    bench.check("bytes", size, 16u32);
}

fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    let (config, lock) = (bench.config(SLOT, 0, CONFIG, Size::B2), bench.config(SLOT, 0, LOCK, Size::B1));
    bench.check("configuration", config, 0u32);
    bench.check("lock", lock, 0u32);
    let reload = bench.read(RELOAD, Size::B2);
    bench.check("reload", reload, 0u64);
}

fn configuration(bench: &mut Bench<'_>) {
    for value in [3u32, 0x27, 0x20, 4, 0xffff, 0] {
        bench.set_config(SLOT, 0, CONFIG, Size::B2, value);
        let got = bench.config(SLOT, 0, CONFIG, Size::B2);
        bench.check(format!("{value:#x}"), got, value & 0x27);
    }
}

fn lock(bench: &mut Bench<'_>) {
    for value in [4u32, 6, 2, 0xf8, 0] {
        bench.set_config(SLOT, 0, LOCK, Size::B1, value);
        let got = bench.config(SLOT, 0, LOCK, Size::B1);
        bench.check(format!("{value:#x}"), got, value & 7);
    }
}

fn locked(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, LOCK, Size::B1, 7);
    for value in [0u32, 1, 2, 4] {
        bench.set_config(SLOT, 0, LOCK, Size::B1, value);
        let got = bench.config(SLOT, 0, LOCK, Size::B1);
        bench.check(format!("after {value:#x}"), got, 7u32);
    }
}

fn reads(bench: &mut Bench<'_>) {
    start(bench, 0x12345, 0x54321, 0);
    for (what, at, size) in [
        ("preload 1", AT, Size::B4),
        ("preload 2", AT + 4, Size::B4),
        ("interrupt status", AT + 8, Size::B4),
        ("reload", RELOAD, Size::B2),
        ("behind it", AT + 0xe, Size::B2),
    ] {
        let got = bench.read(at, size);
        bench.check(what, got, 0u64);
    }
}

fn barks(bench: &mut Bench<'_>) {
    start(bench, 10, 10, 0);
    bench.wait(20 * MS + bench.slack());
    has_barked(bench, "after both stages", true);
    let config = bench.config(SLOT, 0, CONFIG, Size::B2);
    bench.check("configuration", config, 0u32);
}

fn second_stage(bench: &mut Bench<'_>) {
    // A host that is late must not make it 40 s.
    start(bench, 10, 40_000, 0);
    bench.wait(10 * MS + bench.slack());
    has_barked(bench, "in the second", false);
    start(bench, 40_000, 10, 0);
    bench.wait(10 * MS + bench.slack());
    has_barked(bench, "in the first", false);
}

fn fed(bench: &mut Bench<'_>) {
    start(bench, 30_000, 10, 0);
    unlock(bench);
    bench.write(AT, Size::B4, 10);
    bench.wait(10 * MS);
    has_barked(bench, "another length is for the next time", false);
    unlock(bench);
    bench.write(RELOAD, Size::B2, 0x100);
    bench.wait(20 * MS + bench.slack());
    has_barked(bench, "begun anew", true);
}

fn reload_unlocked(bench: &mut Bench<'_>) {
    start(bench, 30_000, 10, 0);
    unlock(bench);
    bench.write(AT, Size::B4, 10);
    bench.write(RELOAD, Size::B2, 0x100);
    bench.write(RELOAD, Size::B2, 0x86);
    bench.write(RELOAD, Size::B2, 0x100);
    bench.wait(20 * MS + bench.slack());
    has_barked(bench, "nothing was begun anew", false);
}

fn preload_unlocked(bench: &mut Bench<'_>) {
    on(bench);
    unlock(bench);
    bench.write(AT, Size::B4, 30_000);
    bench.write(AT, Size::B4, 10);
    bench.write(RELOAD, Size::B2, 0x80);
    bench.write(AT, Size::B4, 10);
    unlock(bench);
    bench.write(AT + 4, Size::B4, 10);
    bench.set_config(SLOT, 0, LOCK, Size::B1, ENABLE);
    bench.wait(20 * MS + bench.slack());
    has_barked(bench, "the first length holds", false);
}

fn once(bench: &mut Bench<'_>) {
    on(bench);
    unlock(bench);
    bench.write(AT + 4, Size::B4, 10);
    unlock(bench);
    // It takes the sequence, and reaches nothing.
    bench.write(AT + 8, Size::B4, 0);
    bench.write(AT, Size::B4, 10);
    bench.set_config(SLOT, 0, LOCK, Size::B1, ENABLE);
    bench.wait(20 * MS + bench.slack());
    has_barked(bench, "the longest length holds", false);
}

fn timeout_bit(bench: &mut Bench<'_>) {
    start(bench, 1, 1, 0);
    bench.wait(2 * MS + bench.slack());
    has_barked(bench, "after both stages", true);
    bench.write(RELOAD, Size::B2, 0x200);
    has_barked(bench, "without the sequence", true);
    unlock(bench);
    bench.write(RELOAD, Size::B2, 0x100);
    has_barked(bench, "with another bit", true);
    unlock(bench);
    bench.write(RELOAD, Size::B2, 0x200);
    let got = bench.read(RELOAD, Size::B2);
    bench.check("cleared", got, 0u64);
}

fn stopped(bench: &mut Bench<'_>) {
    start(bench, 100, 10, 0);
    bench.set_config(SLOT, 0, LOCK, Size::B1, 0);
    bench.wait(110 * MS + bench.slack());
    let got = bench.read(RELOAD, Size::B2);
    bench.check("timeout bit", got, 0u64);
}

fn no_output(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, CONFIG, Size::B2, 0x20);
    start(bench, 1, 1, 0);
    bench.wait(2 * MS + bench.slack());
    has_barked(bench, "after both stages", false);
}

fn free_run(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, CONFIG, Size::B2, 0x20);
    start(bench, 5, 5, 4);
    bench.wait(50 * MS);
    has_barked(bench, "with no output", false);
    bench.set_config(SLOT, 0, CONFIG, Size::B2, 0);
    bench.wait(20 * MS + bench.slack());
    has_barked(bench, "with one", true);
}

fn microseconds(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, CONFIG, Size::B2, 4);
    // 30 s at 1 ms.
    start(bench, 15_000, 15_000, 0);
    bench.wait(30 * MS + bench.slack());
    has_barked(bench, "after 30 ms", true);
}

fn reset(bench: &mut Bench<'_>) {
    start(bench, 1, 1, 0);
    bench.wait(2 * MS + bench.slack());
    bench.set_config(SLOT, 0, CONFIG, Size::B2, 7);
    bench.set_config(SLOT, 0, LOCK, Size::B1, 7);
    bench.reset();
    on(bench);
    let (config, lock) = (bench.config(SLOT, 0, CONFIG, Size::B2), bench.config(SLOT, 0, LOCK, Size::B1));
    bench.check("configuration", config, 0u32);
    bench.check("lock", lock, 0u32);
    let reload = bench.read(RELOAD, Size::B2);
    bench.check("the timeout bit is kept", reload & 0x200, 0x200u64);
}
