//! MSI and MSI-X through a small card.

use std::sync::Arc;

use hypervisor::MsiTarget;

use super::super::*;
use crate::device::{At, Device, DeviceCell, Io, Region, Space};
use crate::rig::{FuzzRange, Rig, fuzz, scenario};
use crate::state::Saved;
use crate::{Node, Size};

const BAR: u64 = 0xf000_0000;
const LEN: u64 = 0x2000;
const TABLE: u64 = BAR + 0x1000;
const PBA: u64 = BAR + 0x1800;
const MSI: u16 = 0x50;
const MSIX: u16 = 0x70;
const LINE: u32 = 11;
const VECTORS: u16 = 70;

/// A card whose register 0 sends the vector written to it, or drives INTx by its bit 0 if there are no
/// messages; register 4 is one level-triggered source.
struct Card {
    pci: PciConfig,
    regions: [Region; 1],
}

impl Device for Card {
    fn name(&self) -> &str {
        "card"
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        if !self.pci.msix_read(0, at.offset, data) {
            data.fill(0);
        }
        Io::Done
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if self.pci.msix_write(0, at.offset, data) {
            return Io::Done;
        }
        match at.offset {
            0 if self.pci.message(data[0].into()) => {}
            0 => self.pci.set_intx(data[0] & 1 != 0),
            4 => self.pci.set_interrupt(data[0] & 1 != 0),
            _ => {}
        }
        Io::Done
    }
    fn reset(&mut self) {
        self.pci.reset();
    }
    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        Saved::encode("card", 1, &self.pci.save())
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        self.pci.load(&saved.decode("card", 1)?)
    }
    fn inspect(&self, node: &mut Node) {
        self.pci.inspect(node);
    }
}

const WIDE: MsiShape = MsiShape { vectors: 4, wide: true, maskable: true };
const NARROW: MsiShape = MsiShape { vectors: 1, wide: false, maskable: false };

fn attach(rig: &mut Rig, msi: Option<MsiShape>, msix: bool) -> Arc<DeviceCell<Card>> {
    let identity =
        Identity { vendor: 0x1234, device: 0x5678, revision: 0, class: 0x02_00_00, subsystem: (0, 0) };
    let mut pci = PciConfig::new(identity);
    pci.connect(1, rig.irqs().line(LINE));
    pci.bar(0, BarKind::Mem32 { prefetch: false }, LEN, Window::Region(0));
    let target: Arc<dyn MsiTarget> = rig.recorder();
    if let Some(shape) = msi {
        pci.msi(MSI, shape, target.clone());
    }
    if msix {
        let shape = MsixShape { vectors: VECTORS, bar: 0, table: 0x1000, pba: 0x1800 };
        pci.msix(MSIX, shape, target);
    }
    let regions = [Region::floating("bar", Space::Mmio, LEN).widest(8)];
    let wiring = rig.wiring();
    let slot = rig.attach_pci(Card { pci, regions }, &wiring, 3, 0);
    rig.config_write(3, 0, reg::BAR0, Size::B4, BAR as u32);
    rig.config_write(3, 0, reg::COMMAND, Size::B2, 6);
    slot
}

fn get(rig: &mut Rig, at: u16) -> u32 {
    rig.config_read(3, 0, at, Size::B4)
}

fn put(rig: &mut Rig, at: u16, value: u32) {
    rig.config_write(3, 0, at, Size::B4, value);
}

fn control(rig: &mut Rig, at: u16, value: u16) {
    rig.config_write(3, 0, at + 2, Size::B2, value.into());
}

fn send(rig: &mut Rig, vector: u32) {
    rig.mmio_write(BAR, Size::B4, vector.into());
}

#[test]
fn capabilities_are_a_list() {
    scenario(|rig| {
        attach(rig, Some(WIDE), true);
        assert_eq!(rig.config_read(3, 0, reg::STATUS, Size::B2) & 0x10, 0x10);
        assert_eq!(get(rig, reg::CAPABILITIES), u32::from(MSIX));
        assert_eq!(get(rig, MSIX), u32::from(VECTORS - 1) << 16 | u32::from(MSI) << 8 | 0x11);
        assert_eq!((get(rig, MSIX + 4), get(rig, MSIX + 8)), (0x1000, 0x1800));
        assert_eq!(get(rig, MSI), 0x0184_0005, "the last; 4 vectors, 64 bits, masks");
        for at in [MSIX + 4, MSIX + 8, MSIX, MSI, reg::CAPABILITIES] {
            let before = get(rig, at);
            put(rig, at, !before & 0x0fff_ffff);
            assert_eq!(get(rig, at) & 0xffff, before & 0xffff, "{at:#x} is read only");
        }
    });
    scenario(|rig| {
        attach(rig, None, false);
        assert_eq!(rig.config_read(3, 0, reg::STATUS, Size::B2) & 0x10, 0);
        assert_eq!(get(rig, reg::CAPABILITIES), 0);
    });
}

#[test]
fn msi_has_the_layout_of_its_shape() {
    scenario(|rig| {
        attach(rig, Some(NARROW), false);
        (0..8).for_each(|word| put(rig, MSI + 4 * word, !0));
        assert_eq!(get(rig, MSI), 0x0001_0005, "one vector is granted, whatever is asked");
        assert_eq!([4, 8, 0xc].map(|at| get(rig, MSI + at)), [0xffff_fffc, 0xffff, 0]);
    });
    scenario(|rig| {
        attach(rig, Some(WIDE), false);
        (0..8).for_each(|word| put(rig, MSI + 4 * word, !0));
        assert_eq!(get(rig, MSI), 0x01a5_0005);
        let words = [4, 8, 0xc, 0x10, 0x14].map(|at| get(rig, MSI + at));
        assert_eq!(words, [0xffff_fffc, !0, 0xffff, 0xf, 0], "pending bits are read only");
    });
}

#[test]
fn msi_sends_its_vector_in_the_low_bits() {
    scenario(|rig| {
        attach(rig, Some(WIDE), false);
        put(rig, MSI + 4, 0xfee0_1004);
        put(rig, MSI + 8, 1);
        put(rig, MSI + 0xc, 0x4063);
        send(rig, 1);
        assert!(rig.take_messages().is_empty() && rig.irq(LINE), "it is off, and INTx is used");
        control(rig, MSI, 0x21);
        assert!(!rig.irq(LINE), "INTx is silent while it is on");
        for (vector, data) in [(0, 0x4060), (1, 0x4061), (3, 0x4063), (6, 0x4062)] {
            send(rig, vector);
            assert_eq!(rig.take_messages(), [(0x1_fee0_1004, data)]);
        }
        control(rig, MSI, 0x11);
        send(rig, 3);
        assert_eq!(rig.take_messages(), [(0x1_fee0_1004, 0x4063)], "two vectors were granted");
        control(rig, MSI, 1);
        send(rig, 2);
        assert_eq!(rig.take_messages(), [(0x1_fee0_1004, 0x4063)], "one");
        control(rig, MSI, 0);
        assert!(rig.irq(LINE), "the level was there all the time");
        assert_eq!(rig.config_read(3, 0, reg::STATUS, Size::B2) & 8, 8);
    });
}

#[test]
fn a_32_bit_address_has_no_high_half() {
    scenario(|rig| {
        attach(rig, Some(NARROW), false);
        put(rig, MSI + 4, 0xfee0_2000);
        put(rig, MSI + 8, 0x31);
        control(rig, MSI, 1);
        send(rig, 0);
        send(rig, 1);
        assert_eq!(rig.take_messages(), [(0xfee0_2000, 0x31); 2]);
    });
}

#[test]
fn masked_vectors_wait() {
    scenario(|rig| {
        attach(rig, Some(WIDE), false);
        put(rig, MSI + 4, 0xfee0_0000);
        put(rig, MSI + 0xc, 0x40);
        control(rig, MSI, 0x21);
        put(rig, MSI + 0x10, 0x6);
        [1, 0, 2, 2].into_iter().for_each(|vector| send(rig, vector));
        assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x40)]);
        assert_eq!(get(rig, MSI + 0x14), 6);
        put(rig, MSI + 0x10, 0x4);
        assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x41)]);
        assert_eq!(get(rig, MSI + 0x14), 4);
        control(rig, MSI, 0x20);
        put(rig, MSI + 0x10, 0);
        assert!(rig.take_messages().is_empty(), "it is off");
        control(rig, MSI, 0x21);
        assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x42)]);
        assert_eq!(get(rig, MSI + 0x14), 0);
        put(rig, MSI + 0x10, 1);
        send(rig, 0);
        rig.reset();
        assert_eq!([0, 4, 0x10, 0x14].map(|at| get(rig, MSI + at)), [0x0184_0005, 0, 0, 0]);
    });
}

#[test]
fn without_the_bus_no_message_is_written() {
    scenario(|rig| {
        attach(rig, Some(NARROW), true);
        put(rig, MSI + 4, 0xfee0_0000);
        control(rig, MSI, 1);
        rig.config_write(3, 0, reg::COMMAND, Size::B2, 2);
        send(rig, 0);
        rig.config_write(3, 0, reg::COMMAND, Size::B2, 6);
        assert!(rig.take_messages().is_empty() && !rig.irq(LINE));
    });
}

#[test]
fn a_level_is_told_when_it_rises() {
    scenario(|rig| {
        attach(rig, Some(NARROW), false);
        rig.mmio_write(BAR + 4, Size::B1, 1);
        assert!(rig.irq(LINE));
        rig.mmio_write(BAR + 4, Size::B1, 0);
        assert!(!rig.irq(LINE));
        put(rig, MSI + 4, 0xfee0_0000);
        control(rig, MSI, 1);
        [1, 1, 0, 1].into_iter().for_each(|level| rig.mmio_write(BAR + 4, Size::B1, level));
        assert_eq!(rig.take_messages().len(), 2);
        assert!(!rig.irq(LINE));
    });
}

/// Address, data and control of a vector.
fn entry(rig: &mut Rig, vector: u64, address: u64, data: u32, masked: bool) {
    let at = TABLE + 16 * vector;
    rig.mmio_write(at, Size::B8, address);
    rig.mmio_write(at + 8, Size::B4, data.into());
    rig.mmio_write(at + 12, Size::B4, masked.into());
}

#[test]
fn msix_sends_what_its_table_says() {
    scenario(|rig| {
        attach(rig, Some(WIDE), true);
        assert_eq!(rig.mmio_read(TABLE + 16 * 69 + 12, Size::B4), 1, "masked from the start");
        entry(rig, 0, 0xfee0_0003, 0x1_0041, false);
        entry(rig, 69, 0x1_fee0_0000, 0x42, false);
        control(rig, MSIX, 0x8000);
        [0, 69, 70, 255].into_iter().for_each(|vector| send(rig, vector));
        assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x1_0041), (0x1_fee0_0000, 0x42)]);
        assert!(!rig.irq(LINE));
        control(rig, MSIX, 0);
        control(rig, MSI, 1);
        send(rig, 0);
        assert_eq!(rig.take_messages(), [(0, 0)], "MSI it is");
    });
}

#[test]
fn msix_vectors_wait_while_masked() {
    scenario(|rig| {
        attach(rig, None, true);
        entry(rig, 1, 0xfee0_0000, 0x41, true);
        entry(rig, 65, 0xfee0_0000, 0x65, false);
        control(rig, MSIX, 0xc000);
        assert_eq!(get(rig, MSIX) >> 30, 3);
        [1, 65].into_iter().for_each(|vector| send(rig, vector));
        assert_eq!((rig.mmio_read(PBA, Size::B8), rig.mmio_read(PBA + 8, Size::B4)), (2, 2));
        assert!(rig.take_messages().is_empty());
        control(rig, MSIX, 0x8000);
        assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x65)]);
        entry(rig, 1, 0xfee0_0000, 0x44, false);
        assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x44)], "with the data that it has by then");
        assert_eq!((rig.mmio_read(PBA, Size::B8), rig.mmio_read(PBA + 8, Size::B4)), (0, 0));
        // Unmasked while it is off: goes when it is on.
        rig.mmio_write(TABLE + 28, Size::B4, 1);
        send(rig, 1);
        control(rig, MSIX, 0);
        rig.mmio_write(TABLE + 28, Size::B4, 0);
        assert!(rig.take_messages().is_empty());
        control(rig, MSIX, 0x8000);
        assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x44)]);
    });
}

#[test]
fn a_function_takes_a_waiting_vector_back() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig, None, true);
    entry(&mut rig, 1, 0xfee0_0000, 0x41, false);
    control(&mut rig, MSIX, 0xc000);
    send(&mut rig, 1);
    assert!(slot.lock().pci.msix_enabled());
    [1, 70, 0xffff].into_iter().for_each(|vector| slot.lock().pci.clear_msix_pending(vector));
    assert_eq!(rig.mmio_read(PBA, Size::B8), 0);
    control(&mut rig, MSIX, 0x8000);
    assert!(rig.take_messages().is_empty());
}

#[test]
fn the_table_takes_whole_words() {
    scenario(|rig| {
        attach(rig, None, true);
        rig.mmio_write(TABLE, Size::B8, !0);
        rig.mmio_write(TABLE + 8, Size::B8, !0);
        let words = [0, 4, 8, 12].map(|at| rig.mmio_read(TABLE + at, Size::B4));
        assert_eq!(words, [0xffff_fffc, 0xffff_ffff, 0xffff_ffff, 1]);
        for (at, size) in [(0, Size::B1), (2, Size::B2), (2, Size::B4), (4, Size::B8)] {
            rig.mmio_write(TABLE + at, size, 0);
        }
        assert_eq!(rig.mmio_read(TABLE, Size::B8), 0xffff_ffff_ffff_fffc);
        assert_eq!((rig.mmio_read(TABLE + 1, Size::B1), rig.mmio_read(TABLE + 6, Size::B2)), (0xff, 0xffff));
        rig.mmio_write(PBA, Size::B8, !0);
        assert_eq!(rig.mmio_read(PBA, Size::B8), 0);
        // The last bytes of the table, and what lies behind it.
        assert_eq!(rig.mmio_read(TABLE + 16 * 70 - 4, Size::B8), 1);
        assert_eq!(rig.mmio_read(TABLE + 16 * 70, Size::B4), 0);
        rig.reset();
        rig.config_write(3, 0, reg::BAR0, Size::B4, BAR as u32);
        rig.config_write(3, 0, reg::COMMAND, Size::B2, 6);
        assert_eq!((rig.mmio_read(TABLE, Size::B8), rig.mmio_read(TABLE + 8, Size::B8)), (0, 1 << 32));
    });
}

#[test]
fn states_of_other_functions_and_older_builds() {
    let state = |msix: bool| {
        let mut rig = Rig::new();
        let slot = attach(&mut rig, None, msix);
        let saved = slot.lock().pci.save();
        (rig, slot, saved)
    };
    let (_rig, with, whole) = state(true);
    let (_other, without, plain) = state(false);
    assert!(without.lock().pci.load(&whole).is_err());
    with.lock().pci.load(&plain).unwrap();
    assert_eq!(with.lock().pci.save().msix.unwrap().table[12], 1, "all are masked");
    with.lock().pci.load(&whole).unwrap();
    let mut cut = whole.clone();
    cut.msix.as_mut().unwrap().table.pop();
    assert!(with.lock().pci.load(&cut).is_err());
}

#[test]
fn a_person_can_read_it() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig, Some(WIDE), true);
    entry(&mut rig, 2, 0xfee0_0000, 0x77, true);
    control(&mut rig, MSIX, 0x8000);
    send(&mut rig, 2);
    let mut node = Node::default();
    slot.lock().inspect(&mut node);
    let text = node.to_string();
    assert!(text.contains("vector 2: 0xfee00000 0x77, masked, pending"), "{text}");
    assert!(text.contains("bar 0: 0xf0000000, 0x2000 bytes"), "{text}");
}

#[test]
fn fuzzed() {
    let build = || {
        let mut rig = Rig::new();
        attach(&mut rig, Some(WIDE), true);
        rig
    };
    let places = [
        FuzzRange::Memory(BAR, 8),
        FuzzRange::Memory(TABLE, 0x80),
        FuzzRange::Memory(PBA, 16),
        FuzzRange::Memory(BAR, LEN),
        FuzzRange::Config(3, 0),
    ];
    fuzz(build, 11, &places, |rig, what| {
        if what < 32 {
            rig.config_write(3, 0, reg::BAR0, Size::B4, BAR as u32);
            rig.config_write(3, 0, reg::COMMAND, Size::B2, 6);
        }
    });
    let mut rig = build();
    rig.batter(&[(Space::Mmio, BAR, LEN), (Space::Pio, 0xcf8, 8)], 3, 50_000);
}
