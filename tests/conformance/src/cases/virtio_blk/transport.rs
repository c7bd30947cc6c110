//! The transport.

use super::driver::*;
use crate::bench::Bench;
use crate::machine::Size;

pub(super) fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x1001_1af4u32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check_bits("revision of a transitional device", class, 0xffu32, 0u32);
    bench.note("class", class >> 8);
    let subsystem = bench.config(SLOT, 0, 0x2c, Size::B4);
    bench.check("the subsystem is the type", subsystem >> 16, 2u32);
    bench.note("subsystem vendor", subsystem & 0xffff);
    let pin = bench.config(SLOT, 0, 0x3d, Size::B1);
    bench.check("INTA", pin, 1u8);
}

pub(super) fn bars(bench: &mut Bench<'_>) {
    for bar in 0..6 {
        let reg = 0x10 + bar * 4;
        let size = bench.bar_size(SLOT, 0, reg);
        bench.note(format!("BAR {bar}"), size);
        let kind = bench.config(SLOT, 0, reg, Size::B1) & 0xf;
        bench.note(format!("kind of BAR {bar}"), kind);
    }
}

pub(super) fn capabilities(bench: &mut Bench<'_>) {
    let mut at = bench.config(SLOT, 0, 0x34, Size::B1) as u8;
    let mut seen = 0u32;
    for _ in 0..10 {
        if at == 0 {
            break;
        }
        let words: Vec<u32> = (0..5).map(|n| bench.config(SLOT, 0, at + n * 4, Size::B4)).collect();
        let (id, len, cfg_type) = (words[0] as u8, (words[0] >> 16) as u8, (words[0] >> 24) as u8);
        bench.note(format!("capability at {at:#x}"), words[0]);
        if id == 9 {
            seen |= 1 << cfg_type;
            let least = if matches!(cfg_type, 2 | 5) { 20u8 } else { 16 };
            bench.check(format!("length of type {cfg_type}"), len, least);
            bench.note(format!("BAR of type {cfg_type}"), words[1] & 0xff);
            bench.note(format!("offset of type {cfg_type}"), words[2]);
            bench.note(format!("bytes of type {cfg_type}"), words[3]);
            if cfg_type == 2 {
                bench.note("multiplier", words[4]);
            }
        }
        at = (words[0] >> 8) as u8;
    }
    bench.check("types 1 to 5 are there", seen, 0b11_1110u32);
}

pub(super) fn msix(bench: &mut Bench<'_>) {
    on(bench);
    let control = bench.config(SLOT, 0, 0x9a, Size::B2);
    bench.check("a vector a queue, and one", control & 0x7ff, 2u32);
    let entry: Vec<u32> = (0..4).map(|n| bench.readl(MSIX + n * 4)).collect();
    bench.check("vectors are masked", entry[3], 1u32);
    bench.writel(MSIX, 0xfee0_0000);
    bench.writel(MSIX + 8, 0x4041);
    let back = [bench.readl(MSIX), bench.readl(MSIX + 8)];
    bench.check("address", back[0], 0xfee0_0000u32);
    bench.check("data", back[1], 0x4041u32);
}

pub(super) fn power_on(bench: &mut Bench<'_>) {
    on(bench);
    let found = status(bench);
    bench.check("status", found, 0u8);
    for (name, register, size, want) in [
        ("feature select", 0x00, Size::B4, 0u64),
        ("accepted features", 0x0c, Size::B4, 0),
        ("configuration vector", 0x10, Size::B2, 0xffff),
        ("queue select", 0x16, Size::B2, 0),
        ("queue vector", 0x1a, Size::B2, 0xffff),
        ("queue enable", 0x1c, Size::B2, 0),
        ("descriptor area", 0x20, Size::B4, 0),
        ("driver area", 0x28, Size::B4, 0),
        ("device area", 0x30, Size::B4, 0),
    ] {
        let got = get(bench, register, size);
        bench.check(name, got, want);
    }
    let isr = bench.read(ISR, Size::B1);
    bench.check("interrupt status", isr, 0u8);
}

pub(super) fn offered(bench: &mut Bench<'_>) {
    on(bench);
    let all = features(bench, 0);
    bench.check_bits("version 1", all, VERSION_1, VERSION_1);
    bench.check_bits("packed queues", all, PACKED, PACKED);
    bench.note("all", all);
    set(bench, 0, Size::B4, 2);
    let beyond = get(bench, 4, Size::B4);
    bench.check("there are no more", beyond, 0u8);
}

pub(super) fn negotiation(bench: &mut Bench<'_>) {
    let found = negotiate(bench, VERSION_1 | INDIRECT);
    bench.check("the device agrees", found, 0xbu8);
    let accepted = features(bench, 8);
    bench.check("what was accepted", accepted, VERSION_1 | INDIRECT);
}

pub(super) fn features_stay(bench: &mut Bench<'_>) {
    negotiate(bench, VERSION_1 | INDIRECT);
    accept(bench, VERSION_1);
    let accepted = features(bench, 8);
    bench.check("as they were", accepted, VERSION_1 | INDIRECT);
}

pub(super) fn unoffered(bench: &mut Bench<'_>) {
    on(bench);
    let all = features(bench, 0);
    negotiate(bench, u64::MAX);
    let accepted = features(bench, 8);
    bench.check("no more than is offered", accepted & !all, 0u64);
}

pub(super) fn packed_legacy(bench: &mut Bench<'_>) {
    let found = negotiate(bench, PACKED);
    bench.note("features are agreed on", found & 8);
}

pub(super) fn reset(bench: &mut Bench<'_>) {
    start(bench, INDIRECT);
    set(bench, 0x10, Size::B2, 1);
    set_status(bench, 0);
    let found = status(bench);
    bench.check("status", found, 0u8);
    set(bench, 0x16, Size::B2, 0);
    let values = [(0x1c, "enable"), (0x20, "descriptors"), (0x10, "vector")];
    let got: Vec<u64> = values.iter().map(|(register, _)| get(bench, *register, Size::B2)).collect();
    bench.check("the queue is not enabled", got[0], 0u8);
    bench.check("it has no place", got[1], 0u8);
    bench.check("there is no vector", got[2], 0xffffu16);
    let accepted = features(bench, 8);
    bench.check("no features", accepted, 0u8);
}

pub(super) fn queues(bench: &mut Bench<'_>) {
    on(bench);
    let number = get(bench, 0x12, Size::B2);
    bench.check("as many as were asked for", number, 2u8);
    for queue in [0, 1] {
        set(bench, 0x16, Size::B2, queue);
        let size = get(bench, 0x18, Size::B2);
        bench.check(format!("size of queue {queue}"), size, 256u16);
        let place = get(bench, 0x1e, Size::B2);
        bench.check(format!("place of its notifications {queue}"), place, queue);
    }
    set(bench, 0x16, Size::B2, 7);
    let size = get(bench, 0x18, Size::B2);
    bench.check("what is not there has no size", size, 0u8);
}

pub(super) fn queue_size(bench: &mut Bench<'_>) {
    negotiate(bench, VERSION_1);
    set(bench, 0x16, Size::B2, 0);
    set(bench, 0x18, Size::B2, 16);
    let size = get(bench, 0x18, Size::B2);
    bench.check("a smaller one", size, 16u8);
}

pub(super) fn queue_place(bench: &mut Bench<'_>) {
    negotiate(bench, VERSION_1);
    set(bench, 0x16, Size::B2, 1);
    for (register, value) in [(0x20, 0x1234_5670), (0x24, 0x9), (0x28, 0x2345_6780), (0x30, 0x3456_7890)] {
        set(bench, register, Size::B4, value);
        let got = get(bench, register, Size::B4);
        bench.note(format!("register {register:#x}"), got);
    }
    set(bench, 0x16, Size::B2, 0);
    let other = get(bench, 0x1c, Size::B2);
    bench.check("another queue is another", other, 0u8);
}

pub(super) fn vectors(bench: &mut Bench<'_>) {
    negotiate(bench, VERSION_1);
    for (register, name) in [(0x10, "configuration"), (0x1a, "queue")] {
        set(bench, register, Size::B2, 2);
        let got = get(bench, register, Size::B2);
        bench.check(format!("{name}: one that there is"), got, 2u8);
        set(bench, register, Size::B2, 3);
        let got = get(bench, register, Size::B2);
        bench.check(format!("{name}: one that there is not"), got, 0xffffu16);
    }
}

pub(super) fn pci_cfg(bench: &mut Bench<'_>) {
    on(bench);
    let window = |bench: &mut Bench<'_>, offset: u32, length: u32| {
        bench.set_config(SLOT, 0, 0x88, Size::B1, 4);
        bench.set_config(SLOT, 0, 0x8c, Size::B4, offset);
        bench.set_config(SLOT, 0, 0x90, Size::B4, length);
    };
    window(bench, 0x2000, 4);
    let capacity = bench.config(SLOT, 0, 0x94, Size::B4);
    bench.check("the capacity", capacity, super::SECTORS);
    window(bench, 0x14, 1);
    bench.set_config(SLOT, 0, 0x94, Size::B1, 1);
    let found = status(bench);
    bench.check("a write", found, 1u8);
    let byte = bench.config(SLOT, 0, 0x94, Size::B1);
    bench.check("a byte is read", byte, 1u8);
}

pub(super) fn legacy_start(bench: &mut Bench<'_>) {
    on(bench);
    let (accepted, page) = (bench.inl(IO + 4), bench.inl(IO + 8));
    bench.check("accepted features", accepted, 0u8);
    bench.check("no queue is set up", page, 0u8);
    let (size, found, isr) = (bench.inw(IO + 12), bench.inb(IO + 18), bench.inb(IO + 19));
    bench.check("size of queue 0", size, 256u16);
    bench.check("status", found, 0u8);
    bench.check("interrupt status", isr, 0u8);
    bench.outw(IO + 14, 9);
    let size = bench.inw(IO + 12);
    bench.check("what is not there has no size", size, 0u8);
}

pub(super) fn legacy_features(bench: &mut Bench<'_>) {
    on(bench);
    let all = bench.inl(IO);
    bench.note("offered", all);
    bench.outb(IO + 18, 3);
    bench.outl(IO + 4, u32::MAX);
    let accepted = bench.inl(IO + 4);
    bench.check("no more than is offered", accepted & !all, 0u8);
}

pub(super) fn legacy_queue(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(IO + 18, 3);
    bench.outl(IO + 8, 0x110);
    let page = bench.inl(IO + 8);
    bench.check("its page", page, 0x110u32);
    let low = get(bench, 0x20, Size::B4);
    bench.check("is the modern address", low, 0x11_0000u32);
    bench.outl(IO + 8, 0);
    let (page, found) = (bench.inl(IO + 8), bench.inb(IO + 18));
    bench.check("page 0", page, 0u8);
    bench.note("status after page 0", found);
}

pub(super) fn legacy_config(bench: &mut Bench<'_>) {
    on(bench);
    let capacity = bench.inl(IO + 0x14);
    bench.check("the capacity, without MSI-X", capacity, super::SECTORS);
    bench.set_config(SLOT, 0, 0x9a, Size::B2, 0x8000);
    let (vector, capacity) = (bench.inw(IO + 0x14), bench.inl(IO + 0x18));
    bench.check("the vector, with MSI-X", vector, 0xffffu16);
    bench.check("the capacity comes after", capacity, super::SECTORS);
}

pub(super) fn one_status(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(IO + 18, 1);
    let found = status(bench);
    bench.check("written as legacy", found, 1u8);
    set_status(bench, 3);
    let found = bench.inb(IO + 18);
    bench.check("written as modern", found, 3u8);
}

pub(super) fn needs_reset(bench: &mut Bench<'_>) {
    start(bench, 0);
    // A chain that goes round.
    bench.poke(HEAD, &[0; 16]);
    chain(bench, RING, &[(HEAD, 16, false), (HEAD, 16, false)]);
    bench.poke(RING + 16 + 12, &[1, 0, 0, 0]);
    available(bench, RING, 0);
    bench.write(NOTIFY, Size::B2, 0);
    bench.wait(10_000_000);
    let found = status(bench);
    bench.check_bits("it says so", found, 0x40u8, 0x40u8);
    let (index, ..) = used(bench, RING);
    bench.check("nothing is given back", index, 0u8);
    set_status(bench, 0);
    let found = status(bench);
    bench.check("after a reset", found, 0u8);
}

pub(super) fn queue_reset(bench: &mut Bench<'_>) {
    start(bench, RING_RESET);
    set(bench, 0x16, Size::B2, 0);
    set(bench, 0x3a, Size::B2, 1);
    let (reset, enabled) = (get(bench, 0x3a, Size::B2), get(bench, 0x1c, Size::B2));
    bench.check("it is over", reset, 0u8);
    bench.check("the queue is not enabled", enabled, 0u8);
    bench.poke(RING, &[0; 0x3000]);
    enable(bench, 0, RING);
    let enabled = get(bench, 0x1c, Size::B2);
    bench.check("it is used anew", enabled, 1u8);
    let (end, written) = run(bench, 0, (0, 1), (512, true));
    bench.check("and works", end, 0u8);
    bench.check("bytes", written, 513u16);
}
