//! What a saved file that somebody else made can do to the host it is restored on: nothing unasked.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use devicemodel::config::{GuestConfig, SerialConfig};
use devicemodel::ledger::Ledger;
use devicemodel::restore::reaches;
use devicemodel::stream::Writer;
use devices_core::Saved;
use serde::Serialize;

#[derive(Serialize)]
struct Header {
    build: String,
    config: GuestConfig,
}

const PRECIOUS: &str = "what was there";

/// A saved file whose guest has a device with an option ROM that is a file of the host's.
fn with_rom(folder: &Path) -> PathBuf {
    let file = folder.join("saved");
    let mut config = GuestConfig { memory_mib: 2, ..GuestConfig::default() };
    let mut rom = devices_core::model::Properties::new(devices::models::find("e1000").unwrap());
    rom.put("romfile", devices_core::model::Value::Text("/etc/passwd".into())).unwrap();
    config.devices.push(devicemodel::config::DeviceSpec::new(None, &rom));
    write(&file, &config, &[("machine", machine())]);
    file
}

fn write(file: &Path, config: &GuestConfig, more: &[(&str, Saved)]) {
    let mut writer = Writer::new(File::create(file).unwrap()).unwrap();
    let header = Header { build: "x".into(), config: config.clone() };
    writer.record("header", &Saved::encode("pc-1", 0, &header).unwrap()).unwrap();
    for (path, saved) in more {
        writer.record(path, saved).unwrap();
    }
    writer.finish().unwrap();
}

/// A saved file whose guest has a serial port that leads to a file of the host's.
fn made(folder: &Path, more: &[(&str, Saved)]) -> (PathBuf, PathBuf) {
    let (file, precious) = (folder.join("saved"), folder.join("precious"));
    fs::write(&precious, PRECIOUS).unwrap();
    let config = GuestConfig {
        memory_mib: 2,
        serial: vec![SerialConfig::File(precious.clone())],
        kernel: Some(precious.clone()),
        ..GuestConfig::default()
    };
    write(&file, &config, more);
    (file, precious)
}

fn machine() -> Saved {
    #[derive(Serialize)]
    struct State {
        clock: u64,
        config_address: u32,
    }
    Saved::encode("machine", 0, &State { clock: 0, config_address: 0 }).unwrap()
}

fn restore(file: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ailurus"));
    command.arg("restore").arg(file).args(more).args(["--timeout", "1"]).stdin(Stdio::null());
    command.env("XDG_STATE_HOME", file.with_file_name("state"));
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn what_the_file_names_is_shown_and_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (file, precious) = made(folder.path(), &[("machine", machine())]);
    let (status, said) = restore(&file, &[]);
    assert_eq!(status, Some(2), "{said}");
    for line in [
        format!("\n  kernel: {}\n", precious.display()),
        format!("\n  serial port 0, written anew: {}\n", precious.display()),
    ] {
        assert!(said.contains(&line), "{said}");
    }
    assert!(said.contains("--trust-paths"), "{said}");
    assert_eq!(fs::read_to_string(&precious).unwrap(), PRECIOUS);
}

#[test]
fn what_the_user_gave_the_guest_before_is_opened_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let ledger = Ledger::at(state.join("ailurus"));
    let log = folder.path().join("log");
    let mut config = GuestConfig {
        memory_mib: 2,
        serial: vec![SerialConfig::File(log.clone())],
        ..GuestConfig::default()
    };
    config.noted = Some(ledger.note_guest(&reaches(&config)).unwrap());
    let restore = |config: &GuestConfig, known: bool| {
        fs::write(&log, PRECIOUS).unwrap();
        let file = folder.path().join("saved");
        write(&file, config, &[("machine", machine())]);
        if known {
            ledger.note_saved(&mut File::open(&file).unwrap()).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_ailurus"));
        command.arg("restore").arg(&file).args(["--timeout", "1"]).stdin(Stdio::null());
        let Output { status, stderr, .. } = command.env("XDG_STATE_HOME", &state).output().unwrap();
        let kept = fs::read_to_string(&log).unwrap() == PRECIOUS;
        (status.code(), kept, String::from_utf8_lossy(&stderr).into_owned())
    };
    // It has no devices, and so does not run; but its serial port was opened, and what it had said is there.
    let (status, kept, said) = restore(&config, true);
    assert!(status == Some(1) && kept && said.contains("device"), "{said}");
    let mut changed = config.clone();
    changed.name = "changed".into();
    let mut others = config.clone();
    others.noted = Some(ledger.note_guest(&[]).unwrap());
    let mut more = config.clone();
    more.kernel = Some("/etc/passwd".into());
    let mut nobodys = config.clone();
    nobodys.noted = None;
    for (what, config, known) in [
        ("a file that was changed", &changed, false),
        ("another guest's number", &others, true),
        ("one name more", &more, true),
        ("no number", &nobodys, true),
    ] {
        let (status, kept, said) = restore(config, known);
        assert!(status == Some(2) && kept && said.contains("--trust-paths"), "{what}: {said}");
        assert_eq!(said.contains("written anew"), what != "one name more", "{what}: {said}");
    }
}

#[test]
fn an_option_rom_that_the_file_names_is_shown_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let (status, said) = restore(&with_rom(folder.path()), &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("\n  option ROM of e1000: /etc/passwd\n"), "{said}");
}

#[test]
fn the_header_is_read_by_a_process_that_is_confined() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("saved");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ailurus"));
    command.arg("restore").arg(&fifo).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut to = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let status = format!("/proc/{}/status", child.id());
    // It reads and finds nothing yet. A process that did so as it was started would not change any more.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(50);
    while !fs::read_to_string(&status).unwrap().contains("NoNewPrivs:\t1") {
        assert!(std::time::Instant::now() < until, "it reads what it is given, and is free to do anything");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.try_wait().unwrap().is_none());
    to.write_all(b"no saved guest at all").unwrap();
    drop(to);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_damaged_file_is_found_out_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (file, precious) = made(folder.path(), &[("machine", machine())]);
    let good = fs::read(&file).unwrap();
    let monitor = folder.path().join("monitor");
    let monitor_at = format!("unix:{}", monitor.display());
    let mut flipped = good.clone();
    let near_the_end = good.len() - 10;
    flipped[near_the_end] ^= 4;
    for bad in [&good[..good.len() - 1], &flipped] {
        fs::write(&file, bad).unwrap();
        let (status, said) = restore(&file, &["--trust-paths", "--monitor", &monitor_at]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("damaged") || said.contains("cut short"), "{said}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), PRECIOUS);
        assert!(!monitor.exists());
    }
}

#[test]
fn parts_that_cannot_be_are_found_out_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let part = |kind: &str| Saved { kind: kind.into(), version: 0, body: vec![0; 8] };
    for (parts, says) in [
        (vec![], "machine: it is missing"),
        (vec![("machine", machine()), ("toaster", part("x"))], "toaster: this build does not know it"),
        (vec![("device/x", part("x")), ("machine", machine())], "machine: it comes behind a device"),
        (vec![("machine", machine()), ("machine", machine())], "machine: it is there twice"),
        (vec![("machine", machine()), ("ram", part("ram"))], "ram: it does not decode"),
    ] {
        let (file, precious) = made(folder.path(), &parts);
        let (status, said) = restore(&file, &["--trust-paths"]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(says), "{said}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), PRECIOUS);
    }
}
