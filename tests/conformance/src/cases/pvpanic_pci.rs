//! The panic notifier as a PCI function: QEMU documentation, "PVPANIC device" (P).

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

const SLOT: u8 = 4;
const AT: u64 = 0xe000_0000;

pub(super) const GROUP: Group = Group {
    device: "pvpanic-pci",
    about: "panic notifier",
    setup: Setup { disks: &[], args: &["-action", "panic=none", "-device", "pvpanic-pci,addr=4,events=2"] },
    cases: &[
        case("identity", "PCI 2.1, 6.2.1; P, PCI", identity),
        case("BAR", "PCI 2.1, 6.2.5", bar),
        case("events that are offered", "P, bit definition", events),
        case("a crash is told", "P, bit definition", told),
    ],
};

fn identity(bench: &mut Bench<'_>) {
    for (what, reg, size, want) in [
        ("vendor and device", 0, Size::B4, 0x0011_1b36u32),
        ("revision and class", 8, Size::B4, 0x0880_0001),
        ("subsystem", 0x2c, Size::B4, 0x1100_1af4),
        ("pin", 0x3d, Size::B1, 0),
    ] {
        let got = bench.config(SLOT, 0, reg, size);
        bench.check(what, got, want);
    }
}

fn bar(bench: &mut Bench<'_>) {
    // The bits of an address alone: QEMU's BAR has two bytes, which a BAR cannot say.
    bench.set_config(SLOT, 0, 0x10, Size::B4, 0xffff_ffff);
    let got = bench.config(SLOT, 0, 0x10, Size::B4);
    bench.check("bits of the address", got & !0xf, 0xffff_fff0u32);
}

fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, AT as u32);
    bench.set_config(SLOT, 0, 4, Size::B2, 2);
}

fn events(bench: &mut Bench<'_>) {
    on(bench);
    for (what, at) in [("the register", AT), ("the byte behind it", AT + 1)] {
        let got = bench.read(at, Size::B1);
        bench.check(what, got, 2u64);
    }
}

fn told(bench: &mut Bench<'_>) {
    on(bench);
    for event in [0u64, 2, 0xfc] {
        bench.write(AT, Size::B1, event);
        let got = bench.read(AT, Size::B1);
        bench.check(format!("the register after {event:#x}"), got, 2u64);
    }
}
