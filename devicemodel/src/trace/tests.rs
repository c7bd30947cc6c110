//! Records to bytes and back; a small machine recorded and replayed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices_core::Wake;
use devices_core::block::{BlockError, BlockOp, Segment};
use devices_core::power::PowerEvent;
use devices_core::rig::Random;
use hypervisor::{Dispatch, Hypervisor, NoCpu, Pin};
use ioreq::{Data, Dir, Request, Sbdf, Size, Target};
use tempfile::TempDir;

use super::Border;
use super::codec::{Decoder, Encoder};
use super::header::{IO, MAGIC};
use super::record::{Effect, Entry, HostEvent, MediumInfo, Record, Submit};
use super::taps::Vcpu;
use crate::config::{ClockMode, DiskConfig, GuestConfig, SerialConfig};
use crate::machine::{Machine, MachineHandles, recorded};
use crate::notices::notices;
use crate::replay::{Difference, Outcome, Report, replay};
use crate::stream::{Reader, Record as Part, StreamError, Writer};

fn samples() -> Vec<Record> {
    let port = |dir, value| {
        let (target, size) = (Target::Pio(0x3f8), Size::B1);
        Entry::Request(match dir {
            Dir::Read => Request::read(0, target, size),
            Dir::Write => Request::write(0, target, size, value),
        })
    };
    let config = Target::PciConfig { sbdf: Sbdf::bus0(1, 1), reg: 0x40 };
    let string = Request {
        vcpu: 3,
        target: Target::Pio(0x1f0),
        dir: Dir::Read,
        size: Size::B2,
        data: Data::Guest(0x12_3456),
        count: 256,
        descending: true,
    };
    let info =
        MediumInfo { size: 512, read_only: true, physical_block: 512, discard: false, first_sector: vec![1] };
    let submit = Submit {
        medium: 2,
        op: BlockOp::Discard(77),
        offset: 1 << 40,
        segments: vec![Segment { gpa: 1 << 33, len: 4096 }; 3],
        buffer: (9, u32::MAX),
        taken: true,
    };
    let entries = [
        port(Dir::Write, 0x41),
        port(Dir::Read, 0),
        port(Dir::Write, 0x41),
        Entry::Request(Request::write(1, config, Size::B4, u64::MAX)),
        Entry::Request(Request::read(1, Target::Mmio(u64::MAX - 7), Size::B8)),
        Entry::Request(string),
        Entry::Acknowledge { vcpu: 63 },
        Entry::EndOfInterrupt { vcpu: 1, vector: 0xff },
        Entry::Wake { device: 7, why: Wake::Timer(2) },
        Entry::Wake { device: 300, why: Wake::Backend(u32::MAX) },
        Entry::Completion {
            medium: 1,
            request: 1 << 60,
            result: Err(BlockError::NoSpace),
            data: vec![5; 600],
        },
        Entry::Host(HostEvent::Key("ret".into(), true)),
        Entry::Host(HostEvent::Mouse(-1, 5, 0, 7)),
        Entry::Host(HostEvent::Tablet(Some(0x7fff), None, -1, 3)),
        Entry::Host(HostEvent::Resize(1920, 1080)),
        Entry::Host(HostEvent::OpenTray(2, true)),
        Entry::Host(HostEvent::Place(2, Some(info))),
        Entry::Host(HostEvent::CloseTray(2)),
        Entry::Host(HostEvent::Place(2, None)),
    ];
    let effects = [
        Effect::Answer(0x60),
        Effect::Answer(0),
        Effect::Pin(Pin::Isa(15), true),
        Effect::Pin(Pin::Intx { device: 31, pin: 3 }, false),
        Effect::Route(3, Some(255)),
        Effect::Route(0, None),
        Effect::Message(0xfee0_1000, 0x4041),
        Effect::Read(u64::MAX, false, vec![1, 2, 3]),
        Effect::Write(4096, true, 1 << 20, 0xdead_beef),
        Effect::Submit(submit),
        Effect::Call("serial1".into(), b"whello".to_vec(), vec![3]),
        Effect::Call("serial0".into(), b"r".to_vec(), Vec::new()),
        Effect::Recall(1, 300, true, Some((Err(BlockError::Cancelled), vec![1]))),
        Effect::Recall(0, 0, false, None),
        Effect::Power(PowerEvent::CrashLoaded),
        Effect::Power(PowerEvent::Watchdog),
        Effect::Arm(4, Some(5)),
        Effect::Arm(u32::MAX, None),
    ];
    let times = [0, 0, 1_000_000, 1_000_001].into_iter().chain((1..).map(|n| n * 999_999_937));
    let mut records: Vec<Record> =
        entries.into_iter().zip(times).map(|(entry, at)| Record::Entry(at, entry)).collect();
    records.extend(effects.into_iter().map(Record::Effect));
    records
}

#[test]
fn records_come_back_as_they_went() {
    // More ports than there are short forms, so that slots change hands, and every kind in any order.
    let mut random = Random::new(7);
    let samples = samples();
    let (mut at, mut records) = (5, Vec::new());
    for _ in 0..20_000 {
        let scale = random.below(30);
        at += random.below(1 << scale);
        records.push(match random.below(3) {
            0 => {
                let port = Target::Pio(random.below(100) as u16);
                let request = match random.below(2) {
                    0 => Request::read(0, port, Size::B1),
                    _ => Request::write(0, port, Size::B2, random.draw()),
                };
                Record::Entry(at, Entry::Request(request))
            }
            1 => Record::Effect(Effect::Answer(random.below(4))),
            _ => match samples[random.below(samples.len() as u64) as usize].clone() {
                Record::Entry(_, entry) => Record::Entry(at, entry),
                effect => effect,
            },
        });
    }
    let mut encoder = Encoder::starting_at(5);
    let mut bytes = Vec::new();
    for record in &records {
        match record {
            Record::Entry(at, entry) => encoder.entry(&mut bytes, *at, entry),
            Record::Effect(effect) => encoder.effect(&mut bytes, effect),
        }
    }
    let mut decoder = Decoder::starting_at(5);
    let mut rest = bytes.as_slice();
    for record in &records {
        assert_eq!(decoder.next(&mut rest).unwrap(), *record);
    }
    assert!(rest.is_empty());
}

#[test]
fn a_polled_port_costs_few_bytes() {
    let (mut encoder, mut bytes) = (Encoder::default(), Vec::new());
    for poll in 0..1000 {
        let read = Request::read(0, Target::Pio(0x3fd), Size::B1);
        encoder.entry(&mut bytes, poll * 100, &Entry::Request(read));
        encoder.effect(&mut bytes, &Effect::Answer(0x60));
    }
    assert!(bytes.len() <= 3010, "{} bytes", bytes.len());
}

/// A machine with a disk and a serial port, recorded, and whoever is its vCPU.
struct Recorded {
    folder: TempDir,
    file: PathBuf,
    machine: Machine,
    still: Arc<NoCpu>,
    vcpu: Vcpu,
}

const RAM_BUFFER: u64 = 0x2_0000;

impl Recorded {
    fn new() -> Recorded {
        let folder = tempfile::tempdir().unwrap();
        let (disk, file) = (folder.path().join("disk"), folder.path().join("recording"));
        let sectors: Vec<u8> = (0..64 * 512u32).map(|at| (at / 7) as u8).collect();
        fs::write(&disk, sectors).unwrap();
        let mut config = GuestConfig { memory_mib: 8, clock: ClockMode::Icount, ..GuestConfig::default() };
        config.serial = vec![SerialConfig::File(folder.path().join("serial"))];
        config.disks = vec![DiskConfig::new(disk)];
        config.check().unwrap();
        let still = Arc::new(NoCpu::new(1, 8 << 20, 0).unwrap());
        let (hypervisor, border) = recorded(still.clone(), &file).unwrap();
        let Border::Recorded(recorder, _) = border.clone() else { panic!("no recorder") };
        let (notifier, _) = notices().unwrap();
        let handles = MachineHandles { border, ..MachineHandles::new(hypervisor, notifier) };
        let machine = Machine::build(config, handles).unwrap();
        machine.bus().reset();
        machine.begin_recording().unwrap();
        machine.unquiesce();
        let vcpu = Vcpu { recorder, number: 0, inner: machine.dispatcher() };
        Recorded { folder, file, machine, still, vcpu }
    }

    fn inb(&mut self, port: u16) -> u8 {
        self.vcpu.request(&Request::read(0, Target::Pio(port), Size::B1)) as u8
    }
    fn outb(&mut self, port: u16, value: u8) {
        self.vcpu.request(&Request::write(0, Target::Pio(port), Size::B1, value.into()));
    }
    fn outl(&mut self, port: u16, value: u32) {
        self.vcpu.request(&Request::write(0, Target::Pio(port), Size::B4, value.into()));
    }
    fn advance(&self, ns: u64) {
        let end = self.still.clock().now() + ns;
        assert!(self.still.advance(end, Instant::now() + Duration::from_secs(60)));
    }
    fn ports(&mut self, pairs: &[(u16, u8)]) {
        pairs.iter().for_each(|&(port, value)| self.outb(port, value));
    }

    /// Something of everything: PIT and PIC, serial port, keyboard, PIO and DMA of the disk, a reset.
    fn script(&mut self) {
        self.ports(&[(0x20, 0x11), (0x21, 8), (0x21, 4), (0x21, 1), (0x21, 0)]);
        self.ports(&[(0x43, 0x34), (0x40, 0), (0x40, 0x10)]);
        for byte in *b"hello" {
            self.outb(0x3f8, byte);
            self.inb(0x3fd);
        }
        self.advance(10_000_000);
        self.vcpu.acknowledge();
        self.outb(0x20, 0x20);
        self.machine.key("a", true);
        self.inb(0x64);
        self.inb(0x60);
        // READ SECTORS, two of them, by `rep insw`.
        self.ports(&[(0x1f6, 0xe0), (0x1f2, 2), (0x1f3, 3), (0x1f4, 0), (0x1f5, 0), (0x1f7, 0x20)]);
        for _ in 0..2 {
            self.advance(1_000_000);
            assert_eq!(self.inb(0x1f7) & 0x89, 8);
            let data = Data::Guest(RAM_BUFFER);
            let (target, size) = (Target::Pio(0x1f0), Size::B2);
            let insw = Request { vcpu: 0, target, dir: Dir::Read, size, data, count: 256, descending: false };
            self.vcpu.request(&insw);
        }
        self.dma();
        self.machine.reset();
        self.outl(0xcf8, 0x8000_0900);
        self.vcpu.request(&Request::read(0, Target::Pio(0xcfc), Size::B4));
        assert_eq!(self.inb(0x1f7), 0x50);
    }

    /// READ DMA of one sector; the table of segments is in guest memory.
    fn dma(&mut self) {
        let base = 0xc000u16;
        self.outl(0xcf8, 0x8000_0920);
        self.outl(0xcfc, base.into());
        self.outl(0xcf8, 0x8000_0904);
        self.outl(0xcfc, 5);
        let table = [RAM_BUFFER as u32, 0x8000_0200].map(u32::to_le_bytes).concat();
        self.still.write(0x1_0000, &table, |_, _| panic!("it is RAM"));
        self.outl(base + 4, 0x1_0000);
        self.ports(&[(0x1f2, 1), (0x1f3, 5), (0x1f4, 0), (0x1f5, 0), (0x1f7, 0xc8)]);
        self.ports(&[(base, 9)]);
        self.advance(1_000_000);
        assert_eq!(self.inb(base + 2) & 7, 4, "the transfer is done");
        let mut sector = [0; 4];
        self.still.read(RAM_BUFFER, &mut sector, |_, _| panic!("it is RAM"));
        assert_eq!(sector, [0, 1, 2, 3].map(|at| ((5 * 512 + at) / 7) as u8));
    }

    /// Ends it; the machine is gone, and its disk.
    fn end(mut self) -> (TempDir, PathBuf) {
        self.machine.shut_down();
        fs::remove_file(self.folder.path().join("disk")).unwrap();
        (self.folder, self.file)
    }
}

fn recording() -> (TempDir, PathBuf) {
    let mut recorded = Recorded::new();
    recorded.script();
    recorded.end()
}

fn parts(file: &Path) -> Vec<Part> {
    let mut reader = Reader::with_magic(File::open(file).unwrap(), MAGIC, "a recording").unwrap();
    std::iter::from_fn(|| reader.next_record().unwrap()).collect()
}

fn write(file: &Path, parts: &[Part]) {
    let mut writer = Writer::with_magic(File::create(file).unwrap(), MAGIC).unwrap();
    parts.iter().for_each(|part| writer.record(&part.path, &part.saved).unwrap());
    writer.finish().unwrap();
}

/// Changes records of a recording.
fn change(file: &Path, mut change: impl FnMut(&mut Record)) {
    let mut parts = parts(file);
    let (mut decoder, mut encoder) = (Decoder::default(), Encoder::default());
    for part in parts.iter_mut().filter(|part| part.path == IO) {
        let mut body = Vec::new();
        let mut rest = part.saved.body.as_slice();
        while !rest.is_empty() {
            let mut record = decoder.next(&mut rest).unwrap();
            change(&mut record);
            match record {
                Record::Entry(at, entry) => encoder.entry(&mut body, at, &entry),
                Record::Effect(effect) => encoder.effect(&mut body, &effect),
            }
        }
        part.saved.body = body;
    }
    write(file, &parts);
}

fn difference(file: &Path) -> Difference {
    match replay(file).unwrap().outcome {
        Outcome::Differs(difference) => *difference,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recording_replays_without_disk_and_memory() {
    let (_folder, file) = recording();
    let Report { records, time, outcome } = replay(&file).unwrap();
    assert_eq!(outcome, Outcome::Equal);
    assert!(records > 100, "{records}");
    assert_eq!(time, 13_000_000);
}

#[test]
fn the_first_answer_that_differs_is_named() {
    let (_folder, file) = recording();
    let (mut line_status, mut seen) = (false, 0);
    change(&file, |record| match record {
        Record::Entry(_, entry) => {
            line_status =
                matches!(entry, Entry::Request(Request { target: Target::Pio(0x3fd), dir: Dir::Read, .. }));
        }
        Record::Effect(Effect::Answer(value)) if line_status => {
            seen += 1;
            if seen == 3 {
                *value ^= 0x40;
            }
        }
        Record::Effect(_) => {}
    });
    let difference = difference(&file);
    assert_eq!(difference.place, "serial0, region 'registers' at 0x5");
    assert_eq!(difference.entry, "vCPU 0 reads 1 bytes of port 0x3fd");
    let (Some(Effect::Answer(recorded)), Some(Effect::Answer(now))) = (&difference.recorded, &difference.now)
    else {
        panic!("{difference}");
    };
    assert_eq!(recorded ^ now, 0x40);
    assert_eq!(difference.time, 0);
    assert!(difference.position.record > 20 && difference.position.byte > 40, "{difference}");
}

#[test]
fn interrupts_and_dma_that_differ_are_named() {
    for kind in 0..3 {
        let (_folder, file) = recording();
        let mut done = false;
        change(&file, |record| match record {
            Record::Effect(Effect::Pin(_, level)) if kind == 0 && !done => {
                *level = !*level;
                done = true;
            }
            Record::Effect(Effect::Write(_, _, _, sum)) if kind == 1 && !done => {
                *sum ^= 1;
                done = true;
            }
            // Another address in the table that the disk reads leads elsewhere.
            Record::Effect(Effect::Read(_, _, data)) if kind == 2 && !done && data.len() >= 4 => {
                data[1] ^= 0x10;
                done = true;
            }
            _ => {}
        });
        assert!(done, "{kind}");
        let text = difference(&file).to_string();
        let expected = ["interrupt pin Intr", "DMA write", "medium 0: Read"][kind];
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn cut_and_damaged_files_are_told() {
    let (_folder, file) = recording();
    let whole = fs::read(&file).unwrap();
    // Without the end record.
    let mut cut = whole.clone();
    cut.truncate(whole.len() - 10);
    fs::write(&file, &cut).unwrap();
    assert_eq!(replay(&file).unwrap().outcome, Outcome::Cut);
    fs::write(&file, &whole[..100]).unwrap();
    assert!(replay(&file).unwrap_err().to_string().contains("cut short"));
    let mut damaged = whole.clone();
    let middle = whole.len() - 60;
    damaged[middle] ^= 1;
    fs::write(&file, &damaged).unwrap();
    assert!(matches!(replay(&file).unwrap().outcome, Outcome::Damaged(_)));
    fs::write(&file, "AILURUS\n").unwrap();
    let error = replay(&file).unwrap_err().to_string();
    assert!(error.ends_with("it is not a recording"), "{error}");
    assert!(matches!(Reader::with_magic(&b"AI"[..], MAGIC, "x"), Err(StreamError::Magic("x"))));
}

#[test]
fn a_hostile_recording_ends() {
    let (_folder, file) = recording();
    let good = parts(&file);
    let mut random = Random::new(3);
    for _ in 0..60 {
        let mut parts = good.clone();
        for part in parts.iter_mut().filter(|part| part.path == IO) {
            for _ in 0..1 + random.below(4) {
                let at = random.below(part.saved.body.len() as u64) as usize;
                part.saved.body[at] = random.draw() as u8;
            }
        }
        write(&file, &parts);
        // Whatever it says of it.
        let _ = replay(&file);
    }
}

#[test]
fn a_recording_takes_the_place_of_an_older_one_only_when_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording");
    std::fs::write(&file, "an older one").unwrap();
    drop(super::Recorder::new(&file, Arc::new(hypervisor::ManualClock::default())).unwrap());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "an older one");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}
