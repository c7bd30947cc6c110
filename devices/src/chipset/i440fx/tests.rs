use std::mem::take;

use devices_core::Size;
use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};
use hypervisor::Mapping;
use hypervisor::memory::new_block;

use super::*;

const FIRMWARE: u64 = 0x4_0000;

fn board(mut rig: Rig) -> Rig {
    let ram = new_block(0, 1 << 20).unwrap();
    let firmware = Some(new_block(0, FIRMWARE).unwrap());
    let shadow = Shadow { ram, firmware, mapper: rig.recorder() };
    let wiring = rig.wiring();
    rig.attach_pci(I440fx::new(256 << 20, Some(shadow)), &wiring, 0, 0);
    rig
}

/// (address, length, offset that reads go to with the block's length, offset that writes go to).
type Seen = (u64, u64, Option<(u64, u64)>, Option<u64>);

fn seen(mapping: &Mapping) -> Seen {
    assert!(mapping.check().is_ok());
    let read = mapping.read.as_ref().map(|b| (b.offset, b.block.size() as u64));
    (mapping.gpa, mapping.len, read, mapping.write.as_ref().map(|b| b.offset))
}

fn taken(rig: &Rig) -> Vec<Seen> {
    rig.take_mappings().iter().map(seen).collect()
}

#[test]
fn the_header_is_qemus() {
    let mut rig = board(Rig::new());
    assert_eq!(rig.config_read(0, 0, 0, Size::B4), 0x1237_8086);
    assert_eq!(rig.config_read(0, 0, 8, Size::B4), 0x0600_0002);
    assert_eq!(rig.config_read(0, 0, 0x2c, Size::B4), 0x1100_1af4);
    assert_eq!(rig.config_read(0, 0, 0x72, Size::B1), 0x02);
    assert_eq!(rig.config_read(0, 0, 0x57, Size::B1), 32);
    rig.outl(0xcf8, 0x8000_0000);
    assert_eq!(rig.inw(0xcfc), 0x8086);
}

#[test]
fn at_power_on_firmware_is_read_and_nothing_is_written() {
    let seen = taken(&board(Rig::new()));
    assert_eq!(seen[0], (0xa_0000, 0x2_0000, None, None));
    assert_eq!(seen[1], (0xc_0000, 0x4000, None, None));
    assert_eq!(seen[9], (0xe_0000, 0x4000, Some((FIRMWARE - 0x2_0000, FIRMWARE)), None));
    assert_eq!(seen[13], (0xf_0000, 0x1_0000, Some((FIRMWARE - 0x1_0000, FIRMWARE)), None));
    assert_eq!(seen.len(), 14);
    let total: u64 = seen.iter().map(|s| s.1).sum();
    assert_eq!(total, 0x6_0000, "all of 0xa0000-0xfffff, once");
}

#[test]
fn pam_switches_reads_and_writes_separately() {
    let rom = Some((FIRMWARE - 0x1_0000, FIRMWARE));
    let ram = |address| Some((address, 1 << 20));
    let (f, c) = (0xf_0000, 0xc_0000);
    scenario(|rig| {
        let mut rig = board(take(rig));
        // What a piece was mapped to last.
        let last = |rig: &Rig, gpa| taken(rig).into_iter().rfind(|seen| seen.0 == gpa).unwrap();
        rig.config_write(0, 0, 0x59, Size::B1, 0x20);
        assert_eq!(last(&rig, f), (f, 0x1_0000, rom, Some(f)));
        rig.config_write(0, 0, 0x59, Size::B1, 0x30);
        assert_eq!(last(&rig, f), (f, 0x1_0000, ram(f), Some(f)));
        rig.config_write(0, 0, 0x59, Size::B1, 0x10);
        assert_eq!(last(&rig, f), (f, 0x1_0000, ram(f), None));
        rig.config_write(0, 0, 0x5a, Size::B1, 0x01);
        assert_eq!(last(&rig, c), (c, 0x4000, ram(c), None));
        rig.reset();
        assert_eq!(last(&rig, c), (c, 0x4000, None, None));
    });
}

#[test]
fn only_what_changes_is_mapped() {
    let mut rig = board(Rig::new());
    rig.take_mappings();
    rig.config_write(0, 0, 0x59, Size::B1, 0x30);
    assert_eq!(taken(&rig), [(0xf_0000, 0x1_0000, Some((0xf_0000, 1 << 20)), Some(0xf_0000))]);
    rig.config_write(0, 0, 0x59, Size::B2, 0x0130);
    assert_eq!(taken(&rig), [(0xc_0000, 0x4000, Some((0xc_0000, 1 << 20)), None)]);
    rig.config_write(0, 0, 0x59, Size::B2, 0x0130);
    assert!(taken(&rig).is_empty());
    rig.reset();
    let rom = Some((FIRMWARE - 0x1_0000, FIRMWARE));
    assert_eq!(taken(&rig), [(0xc_0000, 0x4000, None, None), (0xf_0000, 0x1_0000, rom, None)]);
}

#[test]
fn a_load_maps_what_the_registers_say() {
    let mut rig = board(Rig::new());
    rig.config_write(0, 0, 0x5f, Size::B1, 0x33);
    rig.take_mappings();
    rig.save_load();
    let seen = taken(&rig);
    assert_eq!(seen.len(), 4, "back to firmware by the reset, to RAM by the load");
    assert_eq!(seen[2], (0xe_8000, 0x4000, Some((0xe_8000, 1 << 20)), Some(0xe_8000)));
    assert_eq!(seen[3], (0xe_c000, 0x4000, Some((0xe_c000, 1 << 20)), Some(0xe_c000)));
}

#[test]
fn open_smram_hides_the_vga_window() {
    let mut rig = board(Rig::new());
    rig.take_mappings();
    rig.config_write(0, 0, 0x72, Size::B1, 0x4a);
    assert_eq!(taken(&rig), [(0xa_0000, 0x2_0000, Some((0xa_0000, 1 << 20)), Some(0xa_0000))]);
    rig.config_write(0, 0, 0x72, Size::B1, 0x0a);
    assert_eq!(taken(&rig), [(0xa_0000, 0x2_0000, None, None)]);
}

#[test]
fn without_memory_the_registers_are_storage() {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    rig.attach_pci(I440fx::new(4 << 30, None), &wiring, 0, 0);
    rig.config_write(0, 0, 0x59, Size::B4, 0x3333_3330);
    assert_eq!(rig.config_read(0, 0, 0x59, Size::B4), 0x3333_3330);
    assert_eq!(rig.config_read(0, 0, 0x57, Size::B1), 0xff);
    assert!(rig.take_mappings().is_empty());
}

#[test]
fn fuzzed() {
    fuzz(|| board(Rig::new()), 1, &[FuzzRange::Config(0, 0), FuzzRange::Ports(0xcf8, 8)], |_, _| {});
}
