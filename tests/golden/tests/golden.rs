//! Every golden state loads in this build and goes on where it was; and what is promised of saved states holds for
//! each record of them.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use devicemodel::saved;
use devicemodel::stream::{Reader, Record, Writer};
use golden_tests::{COUNTED, COUNTS, GOING_ON, Golden, enter};
use rmpv::Value;
use tempfile::TempDir;

fn states() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("states");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "saved"));
    files.sort();
    assert!(!files.is_empty(), "there are golden states");
    files
}

/// The working directory, which belongs to the process: one test at a time.
fn work() -> MutexGuard<'static, TempDir> {
    static FOLDER: LazyLock<Mutex<TempDir>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        enter(folder.path()).unwrap();
        Mutex::new(folder)
    });
    FOLDER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn load(file: &Path) -> Result<Golden> {
    let saved = saved::open(file, None)?.check()?;
    let golden = Golden::build(saved.config.clone())?;
    saved.load(golden.machine.hypervisor(), golden.machine.bus())?;
    saved::unquiesce(golden.machine.bus());
    Ok(golden)
}

fn records(file: &Path) -> Vec<Record> {
    let mut reader = Reader::new(BufReader::new(File::open(file).unwrap())).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(record);
    }
    records
}

fn write(file: &Path, records: &[Record]) {
    let mut writer = Writer::new(BufWriter::new(File::create(file).unwrap())).unwrap();
    for Record { path, saved } in records {
        writer.record(path, saved).unwrap();
    }
    writer.finish().unwrap();
}

/// Loads `records`: the error's words, if there is one.
fn outcome(name: &str, records: &[Record]) -> Result<(), String> {
    write(Path::new(name), records);
    load(Path::new(name)).map(drop).map_err(|error| format!("{error:#}"))
}

/// What the guest and a person see of the state.
fn goes_on(golden: &mut Golden) -> Result<()> {
    ensure!(golden.word(COUNTED)? == COUNTS, "memory");
    // The disk command: 20 words of sector 7 are read, the rest and two more sectors follow.
    let status = golden.inb(0x1f7);
    ensure!(status & 0x89 == 0x08, "the disk's status is {status:#x}");
    let words: Vec<u16> = (20..256).map(|_| golden.inw(0x1f0)).collect();
    ensure!(words.iter().enumerate().all(|(n, word)| *word == [7, 0][n % 2]), "the disk's data: {words:?}");
    // What the small devices remember.
    let heard = [golden.inb(0x3ff), golden.inb(0x3fb), golden.inb(0x21), golden.inb(0xa1), golden.inb(0x81)];
    ensure!(heard == [0x42, 0x03, 0xfa, 0xfa, 0x07], "scratch, line control, masks, page: {heard:x?}");
    let mouse = [golden.inb(0x60), golden.inb(0x60), golden.inb(0x60)];
    ensure!(mouse[0] == 0xfa, "the keyboard's answers: {mouse:x?}");
    // The configuration device is in its signature, of which one byte was read.
    let rest = [golden.inb(0x511), golden.inb(0x511), golden.inb(0x511)];
    ensure!(rest == *b"EMU", "the configuration device: {rest:x?}");
    golden.outb(0x70, 0x40);
    ensure!(golden.inb(0x71) == 0x77, "the CMOS memory");
    ensure!(golden.inl(0xcf8) == 0x8000_0900, "the configuration latch");
    let screen = golden.machine.screen().context("no screen")?;
    ensure!((screen.width(), screen.height()) == (640, 480), "the screen's mode");
    // The processor counts on.
    let before = golden.word(GOING_ON)?;
    golden.machine.start()?;
    golden.machine.resume();
    let until = Instant::now() + Duration::from_secs(60);
    while golden.word(GOING_ON)? <= before + 1000 {
        ensure!(Instant::now() < until, "the guest does not go on");
        std::thread::sleep(Duration::from_millis(1));
    }
    golden.machine.pause();
    Ok(())
}

#[test]
fn every_golden_state_loads_and_goes_on() {
    let _alone = work();
    for file in states() {
        let mut golden = load(&file).unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
        goes_on(&mut golden).unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
    }
}

/// A state that is loaded and saved by this build has every part of the old one, and loads again.
#[test]
fn every_golden_state_is_saved_anew() {
    let _alone = work();
    for file in states() {
        let again = PathBuf::from("again");
        load(&file).unwrap().save(&again).unwrap();
        let paths = |records: &[Record]| -> Vec<String> { records.iter().map(|r| r.path.clone()).collect() };
        let (old, new) = (records(&file), records(&again));
        assert_eq!(paths(&old), paths(&new), "{}", file.display());
        for (old, new) in old.iter().zip(&new).filter(|(old, _)| old.path.starts_with("device/")) {
            let (old_body, new_body) = (decode(old), decode(new));
            for (key, value) in old_body.as_map().into_iter().flatten() {
                let kept = new_body.as_map().into_iter().flatten().find(|(other, _)| other == key);
                if let Some((_, kept)) = kept {
                    assert_eq!(kept, value, "{} of {} in {}", key, old.path, file.display());
                }
            }
        }
        load(&again).unwrap();
    }
}

fn decode(record: &Record) -> Value {
    let mut rest = record.saved.body.as_slice();
    let value = rmpv::decode::read_value(&mut rest).unwrap();
    assert!(rest.is_empty());
    value
}

fn encode(record: &Record, value: &Value) -> Record {
    let mut record = record.clone();
    record.saved.body.clear();
    rmpv::encode::write_value(&mut record.saved.body, value).unwrap();
    record
}

/// The records that are maps of named fields, by index, with their fields.
fn named(records: &[Record]) -> Vec<(usize, Vec<(Value, Value)>)> {
    let fields = |record: &Record| match decode(record) {
        Value::Map(fields) => Some(fields),
        _ => None,
    };
    records.iter().enumerate().filter_map(|(index, record)| Some((index, fields(record)?))).collect()
}

/// A later build may add a field without a new version: this one loads the state and does without.
#[test]
fn a_field_that_a_later_build_added_is_passed_over() {
    let _alone = work();
    for file in states() {
        let records = records(&file);
        let all = named(&records);
        assert!(all.len() > 15, "most records have named fields: {}", all.len());
        for (index, mut fields) in all {
            fields.push(("added later".into(), Value::Array(vec![7.into(), "x".into()])));
            let mut changed = records.clone();
            changed[index] = encode(&records[index], &Value::Map(fields));
            let path = &records[index].path;
            outcome("added", &changed).unwrap_or_else(|error| panic!("{path} with a field more: {error}"));
        }
    }
}

/// Fields that are not in every state that is promised to load: record and path of the field. Each says its default
/// where it is declared.
/// A file that the machine replaced is a key of its own: without it the file is as it was made.
const LATER: [&str; 4] = [
    "device/debugcon: line",
    "device/fw_cfg: replaced",
    "device/fw_cfg: replaced.bootorder",
    "device/vga: memory_elsewhere",
];

/// Every way to leave one named field out of `value`, with the field's path.
fn without_one(value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::Map(fields) => (0..fields.len())
            .flat_map(|n| {
                let (key, inner) = &fields[n];
                let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                let mut fewer = fields.clone();
                fewer.remove(n);
                let mut all = vec![(key.clone(), Value::Map(fewer))];
                for (path, inner) in without_one(inner) {
                    let mut changed = fields.clone();
                    changed[n].1 = inner;
                    all.push((format!("{key}.{path}"), Value::Map(changed)));
                }
                all
            })
            .collect(),
        // Elements of a list are alike: the first stands for all.
        Value::Array(list) => list.first().map_or_else(Vec::new, |first| {
            let changed = |inner| {
                let mut list = list.clone();
                list[0] = inner;
                Value::Array(list)
            };
            without_one(first).into_iter().map(|(path, inner)| (path, changed(inner))).collect()
        }),
        _ => Vec::new(),
    }
}

/// A key that was lost is told by the name of its part: it is never the default in silence.
#[test]
fn a_field_that_is_missing_is_told() {
    let _alone = work();
    for file in states() {
        let again = PathBuf::from("again");
        load(&file).unwrap().save(&again).unwrap();
        let records = records(&again);
        let (mut tried, mut silent) = (0, Vec::new());
        for (index, record) in records.iter().enumerate() {
            let part = record.path.strip_prefix("cpu/").map_or(record.path.as_str(), |_| "cpu");
            // What a configuration does not say is as usual: the words of people follow other rules.
            if matches!(part, "header" | "ram") {
                continue;
            }
            for (field, fewer) in without_one(&decode(record)) {
                let mut changed = records.clone();
                changed[index] = encode(record, &fewer);
                tried += 1;
                match outcome("missing", &changed) {
                    Ok(()) => silent.push(format!("{part}: {field}")),
                    Err(error) => assert!(error.contains(part), "{part} without {field}: {error}"),
                }
            }
        }
        assert!(tried > 200, "most parts have named fields: {tried}");
        silent.sort();
        silent.dedup();
        assert_eq!(silent, LATER, "fields whose loss nobody hears of, of {tried}");
    }
}

#[test]
fn another_kind_and_a_newer_version_are_refused_by_name() {
    let _alone = work();
    for file in states() {
        let records = records(&file);
        for index in 0..records.len() {
            let path = records[index].path.as_str();
            let mut changed = records.clone();
            changed[index].saved.version += 1;
            let error = outcome("newer", &changed).expect_err(path);
            assert!(error.contains("version"), "{path}: {error}");
            let mut changed = records.clone();
            changed[index].saved.kind = "toaster".into();
            let error = outcome("kind", &changed).expect_err(path);
            assert!(error.contains("toaster") || error.contains(path), "{path}: {error}");
        }
    }
}

#[test]
fn a_part_too_many_or_too_few_is_refused_by_name() {
    let _alone = work();
    for file in states() {
        let records = records(&file);
        for index in (0..records.len()).filter(|index| records[*index].path != "ram") {
            let path = records[index].path.as_str();
            let mut fewer = records.clone();
            fewer.remove(index);
            let error = outcome("fewer", &fewer).expect_err(path);
            assert!(error.contains(path), "without {path}: {error}");
            if path.starts_with("device/") {
                let mut more = records.clone();
                more.push(records[index].clone());
                let error = outcome("twice", &more).expect_err(path);
                assert!(error.contains(path), "{path} twice: {error}");
            }
        }
        let mut more = records.clone();
        let mut stranger = records.last().unwrap().clone();
        stranger.path = "device/toaster".into();
        more.push(stranger);
        assert!(outcome("stranger", &more).unwrap_err().contains("device/toaster"));
    }
}
