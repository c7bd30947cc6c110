//! A saved guest's file as a restore takes it: header, order of the parts, and into a machine; and a vCPU's record.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use devicemodel::config::{DeviceSpec, DiskConfig, GuestConfig, SerialConfig};
use devicemodel::machine::{Machine, MachineHandles};
use devicemodel::notices::notices;
use devicemodel::restore::{Given, settle};
use devicemodel::saved::{self, Parts};
use devicemodel::stream::{Reader, Record, Writer};
use hypervisor::NoCpu;

use super::outcome;

/// Largest guest that is built here, in MiB of RAM and of video memory: more only costs time.
const MEMORY: u64 = 16;

/// The records of a small guest's file, and where one lies while it is read.
struct Around {
    file: PathBuf,
    records: Vec<Record>,
    _folder: tempfile::TempDir,
}

fn build(config: GuestConfig) -> Result<(Machine, Arc<NoCpu>), String> {
    let (notifier, _) = notices().expect("an eventfd");
    let still = Arc::new(NoCpu::new(config.vcpus, config.memory_mib << 20, 0).expect("a few MiB"));
    let handles = MachineHandles::new(still.clone(), notifier);
    Machine::build(config, handles).map(|machine| (machine, still)).map_err(|error| error.to_string())
}

fn around() -> &'static Around {
    static AROUND: LazyLock<Around> = LazyLock::new(|| {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.expect("a temporary folder");
        let file = folder.path().join("saved");
        let mut config = GuestConfig {
            memory_mib: 2,
            devices: vec![DeviceSpec::vga(1)],
            serial: vec![SerialConfig::Null],
            disks: vec![DiskConfig { path: None, ..DiskConfig::cdrom("/x") }],
            ..GuestConfig::default()
        };
        config.check().expect("it is one that can be run");
        let (machine, still) = build(config.clone()).expect("a small machine");
        still.write(0x1000, &[0x5a; 5000], |_, _| ());
        let parts = Parts { config: &config, hypervisor: machine.hypervisor(), bus: machine.bus() };
        let whole = saved::create(&file).expect("the temporary folder takes it");
        saved::save(&parts, whole, &mut |_, _| true).expect("the temporary folder takes it");
        let mut reader = Reader::new(File::open(&file).expect("it was written")).expect("it was written");
        let records = std::iter::from_fn(|| reader.next_record().expect("it is whole")).collect();
        Around { file, records, _folder: folder }
    });
    &AROUND
}

/// Writes the file with one record changed: what `how` says, with `body`.
fn write(around: &Around, which: usize, how: u8, body: &[u8]) {
    // The writer takes no longer ones.
    let name = String::from_utf8_lossy(&body[..body.len().min(64)]).into_owned();
    let mut writer = Writer::new(Vec::new()).expect("memory takes it");
    for (at, Record { path, saved }) in around.records.iter().enumerate() {
        let mut record = |path: &str, saved| writer.record(path, saved).expect("memory takes it");
        if at != which {
            record(path, saved);
            continue;
        }
        let mut changed = saved.clone();
        changed.body = body.to_vec();
        match how % 8 {
            0 => {}
            1 => record("cpu/0", &changed),
            2 => changed.version = changed.version.wrapping_add(u16::from(how >> 3)),
            3 => (0..2).for_each(|_| record(path, &changed)),
            4 => record(&name, saved),
            5 => changed.kind.clone_from(&name),
            _ => record(path, &changed),
        }
        if how % 8 == 2 || how % 8 == 5 {
            record(path, &changed);
        }
    }
    let mut bytes = writer.finish().expect("memory takes it");
    if how == 7 {
        bytes.truncate(body.len() * 37 % bytes.len().max(1));
    }
    fs::write(&around.file, bytes).expect("the temporary folder takes it");
}

/// The first byte: which record it is; the second: what becomes of it; the rest: its body.
pub fn run(bytes: &[u8]) -> u64 {
    let [which, how, body @ ..] = bytes else { return 0 };
    let around = around();
    let which = usize::from(*which) % around.records.len();
    write(around, which, *how, body);
    match restore(&around.file) {
        Ok(told) => outcome((which, "taken"), &told),
        Err((stage, why)) => outcome((which, stage), &why.chars().take(160).collect::<String>()),
    }
}

fn restore(file: &Path) -> Result<String, (u8, String)> {
    let failed = |stage: u8| move |error: saved::SaveError| (stage, error.to_string());
    let mut guest = saved::open(file, None).map_err(failed(0))?;
    let checked = guest.config.check();
    checked.map_err(|error| (1, error.to_string()))?;
    let mut config =
        settle(guest.config.clone(), &Given::default()).map_err(|error| (2, error.to_string()))?;
    let guest = guest.check().map_err(failed(3))?;
    // What a person's terminal would be is not there.
    for port in config.serial.iter_mut().filter(|port| **port != SerialConfig::None) {
        *port = SerialConfig::Null;
    }
    if config.memory_mib > MEMORY || config.device_memory() > MEMORY << 20 {
        return Ok("large".into());
    }
    let (mut machine, still) = build(config.clone()).map_err(|error| (4, error))?;
    guest.load(machine.hypervisor(), machine.bus()).map_err(failed(5))?;
    // It goes on, is looked at, and is saved again.
    machine.unquiesce();
    for port in 0..0x400u64 {
        machine.bus().view().request(&ioreq::Request::read(
            0,
            ioreq::Target::Pio(port as u16),
            ioreq::Size::B1,
        ));
    }
    let begun = machine.hypervisor().clock().now();
    let patience = Instant::now() + Duration::from_secs(1);
    still.advance(begun.saturating_add(1 << 26), patience);
    machine.settle();
    let told = machine.inspect().children().count().to_string();
    machine.reset();
    machine.shut_down();
    Ok(told)
}

pub fn seeds() -> Vec<Vec<u8>> {
    let records = &around().records;
    let mut seeds: Vec<Vec<u8>> =
        (0u8..).zip(records).map(|(at, record)| [&[at, 6][..], &record.saved.body].concat()).collect();
    // Left out, twice, another version, another name.
    seeds.extend([
        vec![1, 0],
        vec![0, 0],
        vec![0, 7],
        vec![2, 4, b'd', b'e', b'v', b'i', b'c', b'e', b'/', b'x'],
    ]);
    for how in [3, 10] {
        seeds.push([&[1, how][..], &records[1].saved.body].concat());
    }
    seeds
}

/// A vCPU's record: a byte that chooses the code that it finds, then the body.
pub fn cpu(bytes: &[u8]) -> u64 {
    match hypervisor_soft::wild::restored(bytes) {
        Ok(outcome) => outcome,
        Err(why) => outcome(0, &why),
    }
}

pub fn cpu_seeds() -> Vec<Vec<u8>> {
    (0..16).map(|mode| [&[mode][..], &hypervisor_soft::wild::saved(mode)].concat()).collect()
}
