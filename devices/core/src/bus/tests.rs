//! The bus through the rig.

use std::sync::Arc;

use ioreq::{Dir, Request, Sbdf, Size, Target};

use crate::device::{At, Device, DeviceCell, Io, Region, Space, Ticket, deferred};
use crate::pci::{self, BarKind, Identity, PciConfig, Placement, Window};
use crate::rig::Rig;
use crate::state::{Saved, StateError};
use crate::{Node, Wiring};

/// Remembers accesses; reads give the offset, plus 0x10 for each region.
struct Probe {
    name: &'static str,
    regions: Vec<Region>,
    log: Vec<(usize, u64, Vec<u8>)>,
    run: bool,
    ticket: Option<Ticket>,
    defer: bool,
    config: Option<PciConfig>,
}

impl Probe {
    fn new(name: &'static str, regions: Vec<Region>) -> Probe {
        Probe { name, regions, log: Vec::new(), run: false, ticket: None, defer: false, config: None }
    }
}

impl Device for Probe {
    fn name(&self) -> &str {
        self.name
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        if self.defer {
            let (ticket, later) = deferred();
            self.ticket = Some(ticket);
            return Io::Defer(later);
        }
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = at.offset as u8 + i as u8 + 0x10 * at.region as u8;
        }
        Io::Done
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        self.log.push((at.region, at.offset, data.to_vec()));
        Io::Done
    }
    fn read_run(&mut self, _at: At, _size: usize, out: &mut [u8]) -> usize {
        if !self.run {
            return 0;
        }
        let len = out.len().min(6);
        out[..len].fill(0xab);
        len
    }
    fn reset(&mut self) {}
    fn pci(&mut self) -> Option<&mut PciConfig> {
        self.config.as_mut()
    }
    fn placements(&mut self) -> Vec<Placement> {
        self.config.as_ref().map_or_else(Vec::new, PciConfig::placements)
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        Saved::encode("probe", 0, &())
    }
    fn load(&mut self, _saved: &Saved) -> Result<(), StateError> {
        Ok(())
    }
    fn inspect(&self, _node: &mut Node) {}
}

fn attach(rig: &mut Rig, probe: Probe) -> Arc<DeviceCell<Probe>> {
    let wiring: Wiring = rig.wiring();
    rig.attach(probe, &wiring)
}

#[test]
fn nobody_answers_with_all_ones() {
    let mut rig = Rig::new();
    assert_eq!(rig.inb(0x80), 0xff);
    assert_eq!(rig.inl(0xfffe), 0xffff_ffff);
    assert_eq!(rig.mmio_read(0xfed0_0000, Size::B8), u64::MAX);
    rig.outl(0xffff, 1);
}

#[test]
fn wide_accesses_are_cut_to_what_the_device_takes() {
    let mut rig = Rig::new();
    let regions = vec![Region::pio("a", 0x100, 8), Region::pio("b", 0x108, 2).widest(2)];
    let slot = attach(&mut rig, Probe::new("probe", regions));
    assert_eq!(rig.inl(0x104), 0x0706_0504);
    assert_eq!(rig.inw(0x108), 0x1110);
    assert_eq!(rig.inl(0x106), 0x1110_0706, "across two regions");
    assert_eq!(rig.inl(0x108), 0xffff_1110, "past the end");
    rig.outl(0x107, 0x4433_2211);
    let log = std::mem::take(&mut slot.lock().log);
    assert_eq!(log, [(0, 7, vec![0x11]), (1, 0, vec![0x22, 0x33])]);
}

#[test]
fn the_shorter_window_is_in_front() {
    let mut rig = Rig::new();
    let back = attach(&mut rig, Probe::new("back", vec![Region::pio("all", 0x60, 5)]));
    let front = attach(&mut rig, Probe::new("front", vec![Region::pio("one", 0x61, 1)]));
    rig.outb(0x60, 1);
    rig.outb(0x61, 2);
    rig.outb(0x64, 3);
    assert_eq!(back.lock().log, [(0, 0, vec![1]), (0, 4, vec![3])]);
    assert_eq!(front.lock().log, [(0, 0, vec![2])]);
}

#[test]
fn string_input_comes_in_runs_and_then_item_by_item() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig, Probe::new("probe", vec![Region::pio("a", 0x1f0, 8).widest(2)]));
    rig.string(Dir::Read, 0x1f2, Size::B2, 3, 0x1ffe);
    assert_eq!(rig.peek(0x1ffe, 6), [2, 3, 2, 3, 2, 3]);
    slot.lock().run = true;
    rig.string(Dir::Read, 0x1f2, Size::B2, 4, 0x3000);
    assert_eq!(rig.peek(0x3000, 9), [0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0]);
    rig.poke(0x4000, &[1, 2, 3, 4]);
    rig.string(Dir::Write, 0x1f0, Size::B2, 2, 0x4000);
    assert_eq!(slot.lock().log, [(0, 0, vec![1, 2]), (0, 0, vec![3, 4])]);
    rig.string(Dir::Read, 0x1f0, Size::B1, 4096, u64::MAX - 100);
}

#[test]
fn one_value_for_many_addresses() {
    let mut rig = Rig::new();
    let memory = Region::mmio("memory", 0x9000_0000, 0x10).widest(4);
    let port = Region::pio("port", 0x300, 8).widest(2);
    let slot = attach(&mut rig, Probe::new("probe", vec![memory, port]));
    let stos =
        |target, descending| Request { count: 3, descending, ..Request::write(0, target, Size::B2, 0x2211) };
    rig.request(&stos(Target::Mmio(0x9000_0004), false));
    rig.request(&stos(Target::Mmio(0x9000_0004), true));
    rig.request(&stos(Target::Pio(0x300), false));
    let log = std::mem::take(&mut slot.lock().log);
    let places: Vec<_> = log.iter().map(|(region, offset, _)| (*region, *offset)).collect();
    assert_eq!(places, [(0, 4), (0, 6), (0, 8), (0, 4), (0, 2), (0, 0), (1, 0), (1, 0), (1, 0)]);
    assert!(log.iter().all(|(_, _, data)| data == &[0x11, 0x22]));
    let read = Request { count: 3, ..Request::read(0, Target::Mmio(0x9000_0004), Size::B1) };
    assert_eq!(rig.request(&read), 6, "the last of them");
}

#[test]
fn a_wide_access_far_into_a_window_is_not_cut() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig, Probe::new("probe", vec![Region::pio("a", 0x300, 0x20).widest(4)]));
    rig.inb(0x300);
    rig.outl(0x308, 0x0403_0201);
    rig.outl(0x30a, 0);
    assert_eq!(slot.lock().log, [(0, 8, vec![1, 2, 3, 4]), (0, 10, vec![0; 4])]);
}

#[test]
fn accesses_are_counted() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig, Probe::new("probe", vec![Region::pio("a", 0x100, 8).widest(4)]));
    rig.outb(0x100, 1);
    rig.inl(0x104);
    assert_eq!(slot.accesses(), 2);
    // A run of items is one.
    slot.lock().run = true;
    rig.string(Dir::Read, 0x102, Size::B2, 3, 0x1000);
    assert_eq!(slot.accesses(), 3);
    // Nobody's.
    rig.inb(0x300);
    assert_eq!(slot.accesses(), 3);
}

#[test]
fn a_dropped_ticket_answers_all_ones() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig, Probe::new("probe", vec![Region::pio("a", 0x300, 1)]));
    slot.lock().defer = true;
    let other = slot.clone();
    let helper = std::thread::spawn(move || {
        for answer in [Some(0x5a), None] {
            let ticket = loop {
                if let Some(ticket) = other.lock().ticket.take() {
                    break ticket;
                }
                std::thread::yield_now();
            };
            match answer {
                Some(value) => ticket.complete(value),
                None => drop(ticket),
            }
        }
    });
    assert_eq!(rig.inb(0x300), 0x5a);
    assert_eq!(rig.inb(0x300), 0xff);
    helper.join().unwrap();
}

#[test]
fn bars_move_their_windows_and_map_memory() {
    let mut rig = Rig::new();
    let mut probe = Probe::new("card", vec![Region::floating("regs", Space::Mmio, 0x1000)]);
    let identity = Identity { vendor: 0x1234, device: 1, revision: 0, class: 0, subsystem: (0, 0) };
    let mut config = PciConfig::new(identity);
    let vram = hypervisor::memory::new_block(0, 1 << 20).unwrap();
    config.bar(0, BarKind::Mem32 { prefetch: true }, 1 << 20, Window::Ram(vram));
    config.bar(1, BarKind::Mem32 { prefetch: false }, 0x1000, Window::Region(0));
    probe.config = Some(config);
    let wiring = rig.wiring();
    rig.attach_pci(probe, &wiring, 3, 0);

    rig.outl(0xcf8, 0x8000_1800);
    assert_eq!(rig.inl(0xcfc), 0x0001_1234);
    assert_eq!(rig.inw(0xcfe), 1);
    assert_eq!(rig.inl(0xcf8), 0x8000_1800);
    // Where the latch has the byte too, both count.
    rig.outl(0xcf8, 0x8000_1802);
    assert_eq!((rig.inw(0xcfc), rig.inb(0xcfc)), (1, 1));
    assert_eq!(rig.inl(0xcf8), 0x8000_1800);
    rig.outl(0xcf8, 0x8000_1810);
    rig.outl(0xcfc, 0xe000_0000);
    rig.config_write(3, 0, pci::reg::BAR0 + 4, Size::B4, 0xf000_0000);
    assert_eq!(rig.mmio_read(0xf000_0004, Size::B4), 0xffff_ffff);
    rig.config_write(3, 0, pci::reg::COMMAND, Size::B2, 2);
    assert_eq!(rig.mmio_read(0xf000_0004, Size::B4), 0x0706_0504);
    let claims = rig.claims();
    assert_eq!(claims.ports, [0xcf8..=0xcff]);
    assert_eq!(claims.memory, [0xf000_0000..=0xf000_0fff]);
    assert_eq!(claims.functions, [Sbdf::bus0(3, 0)]);
    let mapped = rig.take_mappings();
    assert_eq!(mapped.len(), 1);
    assert_eq!((mapped[0].gpa, mapped[0].len, mapped[0].write.is_some()), (0xe000_0000, 1 << 20, true));

    rig.config_write(3, 0, pci::reg::BAR0, Size::B4, 0x10_0000);
    let unmapped = rig.take_mappings();
    assert_eq!(unmapped.len(), 1, "a BAR over RAM is not mapped");
    assert!(unmapped[0].read.is_none());
    rig.outl(0xcf8, 0x8000_f800);
    assert_eq!(rig.inl(0xcfc), 0xffff_ffff, "no such function");
}
