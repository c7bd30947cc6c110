//! Files made to hurt, and a machine with all of its video memory written.

use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use devices_core::Saved;
use devices_core::bus::Bus;
use hypervisor::NoCpu;
use ioreq::{Request, Sbdf, Size, Target};
use tempfile::TempDir;

use super::*;
use crate::config::{DeviceSpec, DiskConfig};
use crate::machine::{Machine, MachineHandles};
use crate::notices::notices;

fn config(vram_mib: u32) -> GuestConfig {
    GuestConfig { memory_mib: 2, devices: vec![DeviceSpec::vga(vram_mib)], ..GuestConfig::default() }
}

fn machine(config: GuestConfig) -> (Machine, Arc<NoCpu>) {
    let (notifier, _) = notices().unwrap();
    let still = Arc::new(NoCpu::new(1, config.memory_mib << 20, 0).unwrap());
    let handles = MachineHandles::new(still.clone(), notifier);
    (Machine::build(config, handles).unwrap(), still)
}

fn parts(machine: &Machine) -> Parts<'_> {
    Parts { config: machine.config(), hypervisor: machine.hypervisor(), bus: machine.bus() }
}

/// A saved file of that configuration with what `fill` puts behind the header.
fn made(config: &GuestConfig, fill: impl FnOnce(&mut Writer<File>)) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made");
    let mut writer = Writer::new(File::create(&file).unwrap()).unwrap();
    let header = Header { build: "x".into(), config: config.clone() };
    writer.record("header", &Saved::encode(MACHINE, 0, &header).unwrap()).unwrap();
    fill(&mut writer);
    writer.finish().unwrap();
    (folder, file)
}

fn state(len: usize) -> Saved {
    Saved { kind: "hypervisor".into(), version: 1, body: vec![0; len] }
}

/// What a look through it finds, and the most bytes that were held for it.
fn looked_through(file: &Path, of: Option<&GuestConfig>) -> (String, usize) {
    let mut saved = open(file, of).unwrap();
    // Also what a host does that needs the first parts before it has a machine.
    let early = saved.own_parts().err();
    let most = saved.held_at_most();
    let late = open(file, of).unwrap().check().err();
    (early.or(late).map_or_else(String::new, |error| error.to_string()), most)
}

/// Its disk could be used, and nothing of the guest be saved.
#[test]
fn a_guest_whose_files_have_names_in_latin_1_is_saved() {
    let name = || std::ffi::OsString::from_vec(b"/caf\xe9".to_vec());
    let mut config = config(1);
    config.disks = vec![DiskConfig::new(name()), DiskConfig::new("/caf\u{e9}")];
    config.kernel = Some(name().into());
    config.boot_options.splash = Some(name().into());
    config.check().unwrap();
    let (_folder, file) = made(&config, |_| ());
    assert_eq!(open(&file, None).unwrap().config, config);
}

#[test]
fn many_parts_that_are_each_small_enough_are_refused_before_they_are_held() {
    const LEN: usize = 4 << 20;
    let config = config(1);
    let (_folder, file) = made(&config, |writer| {
        for number in 0..40 {
            writer.record(&format!("cpu/{number}"), &state(LEN)).unwrap();
        }
    });
    let (why, most) = looked_through(&file, None);
    assert!(why.contains("more than this guest can have"), "{why}");
    assert!(most <= 18 << 20, "{most} bytes were held");
    // Where the toolstack says what the guest is, the file's own word counts for nothing.
    let boast = GuestConfig { devices: vec![DeviceSpec::vga(512)], ..config.clone() };
    let (_folder, file) = made(&boast, |writer| {
        for number in 0..40 {
            writer.record(&format!("cpu/{number}"), &state(LEN)).unwrap();
        }
    });
    assert!(looked_through(&file, Some(&config)).1 <= 18 << 20);
}

#[test]
fn a_body_that_is_longer_than_it_may_be_is_not_unpacked() {
    let config = config(1);
    let (_folder, file) = made(&config, |writer| writer.record("device/vga", &state(64 << 20)).unwrap());
    let (why, most) = looked_through(&file, None);
    assert!(why.contains("device/vga: 67108864 bytes"), "{why}");
    assert_eq!(most, 0);
}

#[test]
fn more_ram_than_the_guest_has_is_refused() {
    let config = config(1);
    let chunk = |gpa: u64, present: u8, pages: usize| {
        let chunk = RamChunk { gpa, present: vec![present], data: vec![1; pages * PAGE as usize] };
        Saved::encode("ram", 0, &chunk).unwrap()
    };
    let clock = Saved::encode("machine", 0, &MachineState { clock: 0, config_address: 0 }).unwrap();
    for (why, chunks) in [
        ("", vec![(0, 1, 1), (1 << 20, 3, 2)]),
        ("does not fit", vec![(1 << 20, 1, 1), (0, 1, 1)]),
        ("does not fit", vec![(0, 1, 1), (0, 1, 1)]),
        ("does not fit", vec![(2 << 20, 1, 1)]),
        ("does not fit", vec![((2 << 20) - PAGE, 2, 1)]),
        ("does not fit", vec![(0, 3, 1)]),
        ("does not fit", vec![(0, 0, 0)]),
        ("does not fit", vec![(u64::MAX - 4095, 1, 1)]),
        ("more of it", (0..9).map(|n| (n * PAGE, 1, 1)).collect()),
    ] {
        let (_folder, file) = made(&config, |writer| {
            writer.record("machine", &clock).unwrap();
            for (gpa, present, pages) in &chunks {
                writer.record("ram", &chunk(*gpa, *present, *pages)).unwrap();
            }
        });
        let found = looked_through(&file, None).0;
        assert!(found.contains(why) && found.is_empty() == why.is_empty(), "{chunks:?}: {found}");
    }
}

#[test]
fn a_file_is_looked_through_from_a_file_only() {
    let (mut read, mut write) = std::io::pipe().unwrap();
    let (_folder, file) = made(&config(1), |_| ());
    std::io::Write::write_all(&mut write, &std::fs::read(&file).unwrap()).unwrap();
    drop(write);
    let _ = &mut read;
    let opened = open_file(File::from(std::os::fd::OwnedFd::from(read)), Path::new("pipe"), None).unwrap();
    assert!(opened.check().err().unwrap().to_string().contains("it is no file"));
}

/// Writes all of the video memory with what hardly packs, saves, and loads into another machine.
fn all_of_the_video_memory(mib: u32) {
    const BAR: u64 = 0xe000_0000;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("saved");
    let (one, guest) = machine(config(mib));
    let map = |bus: &Bus| {
        for (reg, size, value) in [(0x10, Size::B4, BAR), (4, Size::B2, 3)] {
            let target = Target::PciConfig { sbdf: Sbdf::bus0(2, 0), reg };
            bus.view().request(&Request::write(0, target, size, value));
        }
    };
    map(one.bus());
    let mut page = vec![0; PAGE as usize];
    let mut number = 1u64;
    for offset in (0..u64::from(mib) << 20).step_by(PAGE as usize) {
        for word in page.chunks_mut(8) {
            // George Marsaglia's xorshift.
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            word.copy_from_slice(&number.to_le_bytes());
        }
        guest.write(BAR + offset, &page, |_, _| ());
    }
    quiesce(one.bus()).unwrap();
    save(&parts(&one), create(&file).unwrap(), &mut |_, _| true).unwrap();
    let saved = open(&file, None).unwrap().check().unwrap();
    let (two, again) = machine(saved.config.clone());
    let most = saved.held_at_most();
    assert!(most <= (mib as usize + 1) << 20, "{most} bytes held for {mib} MiB");
    saved.load(two.hypervisor(), two.bus()).unwrap();
    let mut found = vec![0; PAGE as usize];
    again.read(BAR + (u64::from(mib) << 20) - PAGE, &mut found, |_, _| ());
    assert!(found == page, "the last page came back");
}

#[test]
fn all_of_a_small_video_memory_comes_back() {
    all_of_the_video_memory(2);
}

#[test]
#[ignore = "soak: 256 MiB of video memory, written, saved and loaded"]
fn soak_all_of_a_large_video_memory_comes_back() {
    all_of_the_video_memory(256);
}

/// A page of a file comes when it is read: a save gave a guest host memory for all that it never used.
#[test]
fn a_save_reads_nothing_that_nobody_has_written() {
    use std::os::unix::fs::MetadataExt;

    let ram = hypervisor::memory::new_shared_ram(64 << 20, 0).unwrap();
    assert!(hypervisor::memory::write(&ram, 33 << 20, b"something"));
    let shared = hypervisor::memory::shared(&ram).unwrap();
    let held = || shared.file.metadata().unwrap().blocks() * 512;
    let mut writer = Writer::new(Vec::new()).unwrap();
    write_ram(&ram, Path::new("a file"), &mut writer, &mut |_, _| true).unwrap();
    assert!(held() <= CHUNK, "{} bytes", held());
    let saved = writer.finish().unwrap();
    assert!(saved.windows(3).any(|bytes| bytes == b"ram"), "what there is is saved");
}
