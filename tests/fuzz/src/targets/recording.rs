//! A recording that somebody else made: its pieces are the input, the machine around them is a small one.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use devicemodel::config::GuestConfig;
use devicemodel::machine::{Machine, MachineHandles, recorded};
use devicemodel::notices::notices;
use devicemodel::replay::{Outcome, replay};
use devicemodel::stream::{Reader, Record as Part, Writer};
use devicemodel::trace::codec::Encoder;
use devicemodel::trace::header::{IO, MAGIC};
use devicemodel::trace::record::{Effect, Entry, HostEvent};
use devices_core::{Saved, Wake};
use hypervisor::NoCpu;
use ioreq::{Request, Size, Target};

use super::outcome;

/// The beginning of a recording, and where one lies while it is looked at.
struct Around {
    file: PathBuf,
    parts: Vec<Part>,
    _folder: tempfile::TempDir,
}

fn around() -> &'static Around {
    static AROUND: LazyLock<Around> = LazyLock::new(|| {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.expect("a temporary folder");
        let file = folder.path().join("recording");
        let config = GuestConfig { memory_mib: 2, devices: Vec::new(), ..GuestConfig::default() };
        let still = NoCpu::new(1, 2 << 20, 0).expect("a small machine");
        let (hypervisor, border) = recorded(Arc::new(still), &file).expect("the temporary folder takes it");
        let (notifier, _) = notices().expect("an eventfd");
        let handles = MachineHandles { border, ..MachineHandles::new(hypervisor, notifier) };
        let mut machine = Machine::build(config, handles).expect("a small machine");
        machine.begin_recording().expect("the temporary folder takes it");
        machine.shut_down();
        let opened = File::open(&file).expect("it was written");
        let mut reader = Reader::with_magic(opened, MAGIC, "a recording").expect("it was written");
        let parts = std::iter::from_fn(|| reader.next_record().expect("it is whole")).collect();
        Around { file, parts, _folder: folder }
    });
    &AROUND
}

/// Replays the input as the only piece of a recording.
pub fn run(bytes: &[u8]) -> u64 {
    let Around { file, parts, .. } = around();
    let mut writer = Writer::with_magic(Vec::new(), MAGIC).expect("memory takes it");
    for part in parts {
        writer.record(&part.path, &part.saved).expect("memory takes it");
    }
    let piece = Saved { kind: IO.into(), version: 0, body: bytes.to_vec() };
    writer.record(IO, &piece).expect("memory takes it");
    fs::write(file, writer.finish().expect("memory takes it")).expect("the temporary folder takes it");
    match replay(file) {
        Err(error) => outcome(0, &error.to_string()),
        Ok(report) => match report.outcome {
            Outcome::Equal => outcome(report.records, "equal"),
            Outcome::Cut => outcome(report.records, "cut"),
            Outcome::Damaged(why) => outcome(report.records.min(64), &why),
            Outcome::Differs(difference) => outcome(report.records.min(64), &difference.place),
        },
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let (mut encoder, mut bytes) = (Encoder::default(), Vec::new());
    for port in [0x80, 0x70, 0xcf8, 0x3f8, 0x1f7] {
        let write = Request::write(0, Target::Pio(port), Size::B1, 0x55);
        encoder.entry(&mut bytes, port.into(), &Entry::Request(write));
    }
    for entry in [
        Entry::Request(Request::read(0, Target::Pio(0x2f8), Size::B1)),
        Entry::Acknowledge { vcpu: 0 },
        Entry::Wake { device: 3, why: Wake::Timer(0) },
        Entry::Host(HostEvent::Key("a".into(), true)),
        Entry::Host(HostEvent::Reset),
    ] {
        encoder.entry(&mut bytes, 1 << 20, &entry);
        if matches!(entry, Entry::Request(_)) {
            encoder.effect(&mut bytes, &Effect::Answer(0xff));
        }
    }
    vec![bytes]
}
