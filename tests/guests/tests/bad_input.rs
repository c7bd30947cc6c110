//! Input that is wrong or hostile: one clear sentence, an exit status that says failure, nothing written over.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use guest_tests::random::Random;
use guest_tests::{Guest, Machine, Subcommand, case, saved};
use serde_json::json;

/// Size of the little firmware images that the tests make.
const ROM: usize = 64 << 10;

/// A firmware whose reset vector jumps to `code`, which is all there is.
fn rom(folder: &Path, name: &str, code: &[u8]) -> Result<String> {
    let mut image = vec![0; ROM];
    image[ROM - 256..ROM - 256 + code.len()].copy_from_slice(code);
    // jmp, from behind itself at 0xfff3 back to 0xff00.
    image[ROM - 16..ROM - 13].copy_from_slice(&[0xe9, 0x0d, 0xff]);
    write(folder, name, &image)
}

/// `cli; hlt`: stands still for ever.
const STILL: &[u8] = &[0xfa, 0xf4, 0xeb, 0xfd];
/// `lidt` of ten zeros and a breakpoint: no handler can be found, nor for that.
const TRIPLE_FAULT: &[u8] = &[0x2e, 0x0f, 0x01, 0x1e, 0x00, 0xf0, 0xcc];
/// Writes 1 to port 0x505: the guest says that it has panicked.
const PANIC: &[u8] = &[0xba, 0x05, 0x05, 0xb0, 0x01, 0xee, 0xeb, 0xfe];

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<String> {
    let path = folder.join(name);
    fs::write(&path, bytes)?;
    Ok(path.display().to_string())
}

/// Runs `ailurus run` without a guest's window to the world; ended after two seconds if it does start.
fn run(arguments: &[&str]) -> Result<Output> {
    let always = ["run", "--hypervisor", "soft", "--serial", "none", "--timeout", "2"];
    Subcommand::new()?.run(&[&always, arguments].concat())
}

/// The output is a refusal: status 1 or 2 and one sentence on stderr that contains `says`.
fn refused(what: &str, output: &Output, says: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    ensure!(matches!(code, Some(1 | 2)), "{what}: exit {}, not 1 or 2; it said:\n{said}", output.status);
    let lines = said.lines().filter(|line| !line.trim().is_empty()).count();
    ensure!(lines == 1, "{what}: {lines} lines instead of one sentence:\n{said}");
    ensure!(said.len() < 400, "{what}: too long:\n{said}");
    ensure!(!said.contains("panicked") && !said.contains("Error {"), "{what}: not for people:\n{said}");
    ensure!(said.contains(says), "{what}: it does not mention {says:?}:\n{said}");
    Ok(())
}

#[test]
fn files_that_are_not_there_or_are_folders() {
    case("missing files and folders in their place", || {
        let folder = tempfile::tempdir()?;
        let place = folder.path().display().to_string();
        let missing = folder.path().join("missing").display().to_string();
        for path in [&missing, &place] {
            let disk = format!("{path},format=raw");
            let qcow2 = format!("{path},format=qcow2");
            for options in [
                vec!["--disk", &disk],
                vec!["--disk", &qcow2],
                vec!["--cdrom", path],
                vec!["--kernel", path],
                vec!["--firmware", path],
                vec![path.as_str()],
            ] {
                refused(&options.join(" "), &run(&options)?, path)?;
            }
            refused("restore", &Subcommand::new()?.run(&["restore", path])?, path)?;
        }
        ensure!(!Path::new(&missing).exists(), "a missing file was made");
        Ok(())
    });
}

#[test]
fn images_that_are_none() {
    case("empty and hostile disk images", || {
        let folder = tempfile::tempdir()?;
        let empty = write(folder.path(), "empty", b"")?;
        refused("an empty disk", &run(&["--disk", &format!("{empty},format=raw")])?, "empty")?;
        for (name, bytes) in hostile_qcow2() {
            let path = write(folder.path(), &name, &bytes)?;
            refused(&name, &run(&["--disk", &format!("{path},format=qcow2")])?, &name)?;
            ensure!(fs::read(&path)? == bytes, "{name} was written to");
        }
        Ok(())
    });
}

/// A good small qcow2 image, and each way to spoil it.
fn hostile_qcow2() -> Vec<(String, Vec<u8>)> {
    // Version 3, clusters of 64 KiB, 1 MiB; header, refcount table, one refcount block, L1 table.
    let mut good = vec![0; 4 << 16];
    let mut put = |at: usize, bytes: &[u8]| good[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    put(4, &3_u32.to_be_bytes());
    put(20, &16_u32.to_be_bytes());
    put(24, &(1_u64 << 20).to_be_bytes());
    put(36, &1_u32.to_be_bytes());
    put(40, &(3_u64 << 16).to_be_bytes());
    put(48, &(1_u64 << 16).to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    put(96, &4_u32.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    put(1 << 16, &(2_u64 << 16).to_be_bytes());
    (0..4).for_each(|cluster| put((2 << 16) + cluster * 2, &1_u16.to_be_bytes()));
    let spoilt = |name: &str, at: usize, bytes: &[u8]| {
        let mut image = good.clone();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        (name.to_owned(), image)
    };
    let mut all = vec![
        spoilt("magic", 0, b"QFIx"),
        spoilt("version-99", 4, &99_u32.to_be_bytes()),
        spoilt("cluster-bits-63", 20, &63_u32.to_be_bytes()),
        spoilt("cluster-bits-0", 20, &0_u32.to_be_bytes()),
        spoilt("size-of-8-eib", 24, &(u64::MAX / 2).to_be_bytes()),
        spoilt("encrypted", 32, &1_u32.to_be_bytes()),
        spoilt("l1-of-16-gib", 36, &0x7fff_ffff_u32.to_be_bytes()),
        spoilt("l1-beyond-the-end", 40, &(1_u64 << 60).to_be_bytes()),
        spoilt("l1-not-on-a-cluster", 40, &((3_u64 << 16) + 1).to_be_bytes()),
        spoilt("refcount-table-beyond-the-end", 48, &(1_u64 << 60).to_be_bytes()),
        spoilt("unknown-feature", 72, &(1_u64 << 63).to_be_bytes()),
        spoilt("refcount-order-63", 96, &63_u32.to_be_bytes()),
        spoilt("header-of-4-gib", 100, &u32::MAX.to_be_bytes()),
    ];
    // A backing file of the host's that the guest could then read.
    let (_, mut backed) = spoilt("", 8, &200_u64.to_be_bytes());
    backed[16..20].copy_from_slice(&11_u32.to_be_bytes());
    backed[200..211].copy_from_slice(b"/etc/passwd");
    all.push(("backing-file".into(), backed));
    all.extend([0, 3, 4, 71, 103, 1000].map(|len| (format!("cut-at-{len}"), good[..len].to_vec())));
    all
}

#[test]
fn numbers_out_of_range() {
    case("memory, CPUs and disks out of range", || {
        let folder = tempfile::tempdir()?;
        let image = write(folder.path(), "image", &[0; 1 << 20])?;
        let disk = format!("{image},format=raw");
        let on_unit = format!("{disk},unit=1");
        let five: Vec<&str> = [["--disk", &disk]; 5].concat();
        for (options, says) in [
            (vec!["--memory", "0"], "memory"),
            (vec!["--memory", "18446744073709551615"], "memory"),
            (vec!["--memory=-1"], "memory"),
            (vec!["--memory", "lots"], "memory"),
            (vec!["--vcpus", "0"], "vcpus"),
            (vec!["--vcpus", "100000"], "vcpus"),
            (five, "four drives"),
            (vec!["--disk", &on_unit, "--disk", &on_unit], ""),
            (vec!["--boot", "xyz"], "boot"),
            (vec!["--serial", "smoke-signals"], "serial"),
            (vec!["--clock", "sundial"], "clock"),
            (vec!["--rtc", "yesterday"], "rtc"),
            (vec!["--no-such-option"], "no-such-option"),
        ] {
            let output = run(&options)?;
            let name = options.join(" ");
            ensure!(output.status.code() == Some(2), "{name}: exit {}, not 2", output.status);
            let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
            ensure!(said.contains(says), "{name}: it does not mention {says:?}:\n{said}");
            ensure!(!said.contains("panicked"), "{name}:\n{said}");
        }
        Ok(())
    });
}

#[test]
fn firmware_that_is_none() {
    case("firmware that is no firmware", || {
        let folder = tempfile::tempdir()?;
        for (name, bytes) in [
            ("empty", vec![]),
            ("a-text", b"This is no firmware.\n".to_vec()),
            ("odd-size", vec![0xea; 100_001]),
            ("all-zero", vec![0; ROM]),
            ("too-large", vec![0x90; 32 << 20]),
        ] {
            let path = write(folder.path(), name, &bytes)?;
            refused(name, &run(&["--firmware", &path])?, name)?;
        }
        let text = write(folder.path(), "no-kernel", &[b'x'; 5000])?;
        refused("a kernel that is none", &run(&["--kernel", &text])?, "no-kernel")?;
        Ok(())
    });
}

#[test]
fn hypervisors_that_are_not_built_and_files_that_are_malformed() {
    case("hypervisors not built, xl.cfg malformed", || {
        let folder = tempfile::tempdir()?;
        for hypervisor in ["kvm", "xen"] {
            let output = Subcommand::new()?.run(&["run", "--hypervisor", hypervisor, "--timeout", "2"])?;
            refused(hypervisor, &output, hypervisor)?;
        }
        for (text, says) in [
            ("memory = \n", "line 1, column"),
            ("name = 'a'\ndisk = [ 'x'\n", "line"),
            ("memory = '-1'\n", "memory"),
            ("vcpus = 0\n", "vcpus"),
            ("disk = [ 'format=raw, vdev=hda' ]\n", "line 1"),
        ] {
            let file = write(folder.path(), "guest.cfg", text.as_bytes())?;
            let output = run(&[&file])?;
            refused(text, &output, says)?;
            ensure!(output.status.code() == Some(2), "{text}: exit {}", output.status);
        }
        Ok(())
    });
}

#[test]
fn ends_that_are_no_power_off_have_their_own_status() {
    case("exit status of a triple fault, a panic, a time-out", || {
        let folder = tempfile::tempdir()?;
        for (name, code, status) in [("still", STILL, 4), ("fault", TRIPLE_FAULT, 3), ("panic", PANIC, 3)] {
            let firmware = rom(folder.path(), name, code)?;
            let output = run(&["--firmware", &firmware])?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(status), "{name}: exit {}, said {said}", output.status);
        }
        Ok(())
    });
}

#[test]
fn a_monitor_socket_does_not_replace_a_file() {
    case("monitor where a file is", || {
        let folder = tempfile::tempdir()?;
        let firmware = rom(folder.path(), "still", STILL)?;
        let file = write(folder.path(), "precious", b"data")?;
        let output = run(&["--firmware", &firmware, "--monitor", &format!("unix:{file}")])?;
        refused("a file in the socket's place", &output, "precious")?;
        ensure!(fs::read(&file)? == b"data", "the file was replaced");
        let nobody = format!("unix:{}", folder.path().join("nobody").display());
        for command in ["pause", "resume", "reset", "powerdown", "quit", "inspect"] {
            refused(command, &Subcommand::new()?.run(&[command, "--monitor", &nobody])?, "nobody")?;
        }
        Ok(())
    });
}

/// A guest that stands still, with a little RAM.
fn still(folder: &Path) -> Result<Guest> {
    let firmware = rom(folder, "still", STILL)?;
    Machine::new()?.memory(16).firmware_at(Path::new(&firmware)).boot()
}

#[test]
fn a_save_that_fails_changes_nothing() {
    case("saves that cannot be", || {
        let folder = tempfile::tempdir()?;
        let mut guest = still(folder.path())?;
        guest.monitor()?;
        let nowhere = folder.path().join("no/such/folder").display().to_string();
        refused("save nowhere", &guest.subcommand("save", &[&nowhere])?, "no/such/folder")?;
        let place = folder.path().join("place");
        fs::create_dir(&place)?;
        refused("save on a folder", &guest.subcommand("save", &[&place.display().to_string()])?, "place")?;
        refused("screenshot nowhere", &guest.subcommand("screenshot", &[&nowhere])?, "no/such/folder")?;
        let left = fs::read_dir(folder.path())?.count();
        ensure!(left == 2, "{left} files instead of the firmware and the folder");
        let status = guest.monitor()?.execute("query-status", json!({}))?;
        ensure!(status["running"] == true, "the guest does not go on: {status}");
        Ok(())
    });
}

#[test]
fn saved_files_that_are_damaged() {
    case("saved files cut, of a newer version, with bits flipped", || {
        let mut random = Random::new();
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("saved");
        let mut guest = still(folder.path())?;
        guest.monitor()?;
        guest.save(&file)?;
        let good = fs::read(&file)?;
        let records = saved::records(&file)?;
        // Undamaged it goes on: else the refusals below would prove nothing.
        let mut again = Guest::restore(&file)?;
        let status = again.monitor()?.execute("query-status", json!({}))?;
        ensure!(status["running"] == true, "the undamaged file does not run: {status}");
        drop(again);
        let restore = |what: String, bytes: &[u8], says: &str| -> Result<()> {
            let path = write(folder.path(), "damaged", bytes)?;
            let output = Subcommand::new()?.run(&[
                "restore",
                &path,
                "--trust-paths",
                "--serial",
                "none",
                "--timeout",
                "2",
            ])?;
            refused(&what, &output, says)?;
            ensure!(fs::read(&path)? == bytes, "{what}: the file was written to");
            Ok(())
        };
        let edges = records.iter().flat_map(|record| [record.at, record.at + 1]);
        let anywhere = (0..100).map(|_| random.below(good.len() as u64) as usize).collect::<Vec<_>>();
        for len in (0..40).chain(edges).chain(anywhere).filter(|len| *len < good.len()) {
            restore(format!("cut at {len} of {}", good.len()), &good[..len], "damaged")?;
        }
        let mut newer = good.clone();
        newer[8..12].copy_from_slice(&99_u32.to_le_bytes());
        restore("a newer version".into(), &newer, "newer")?;
        // Each bit of the magic and the version, and others.
        let first = (0..12).flat_map(|at| (0..8).map(move |bit| (at, bit)));
        let others = (0..150).map(|_| (random.below(good.len() as u64) as usize, random.below(8)));
        for (at, bit) in first.chain(others.collect::<Vec<_>>()) {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << bit;
            let says = match at {
                0..8 => "not a saved guest",
                8..12 if flipped[8..12] != [0; 4] => "newer",
                _ => "damaged",
            };
            restore(format!("bit {bit} of byte {at} flipped"), &flipped, says)?;
        }
        for record in &records {
            let end = record.at + record.bytes.len() + 4;
            let without = [&good[..record.at], &good[end..]].concat();
            restore(format!("without {}", record.path), &without, "damaged")?;
        }
        restore("more at the end".into(), &[&good[..], b"more"].concat(), "damaged")?;
        Ok(())
    });
}

#[test]
fn a_restore_needs_its_disks() {
    case("restore without its disk", || {
        let folder = tempfile::tempdir()?;
        let image = write(folder.path(), "image", &vec![0; 1 << 20])?;
        let file = folder.path().join("saved");
        let firmware = rom(folder.path(), "still", STILL)?;
        let machine = Machine::new()?.memory(16).firmware_at(Path::new(&firmware));
        let mut guest = machine.disk(Path::new(&image), "raw").boot()?;
        guest.monitor()?;
        guest.save(&file).context("saving")?;
        fs::remove_file(&image)?;
        let output = Subcommand::new()?.run(&[
            "restore",
            &file.display().to_string(),
            "--trust-paths",
            "--timeout",
            "2",
        ])?;
        refused("restore", &output, "image")?;
        Ok(())
    });
}

#[test]
fn a_guest_of_ones_own_is_restored_unasked() {
    case("restore of what the user has named before", || {
        let folder = tempfile::tempdir()?;
        let image = write(folder.path(), "image", &vec![0; 1 << 20])?;
        let file = folder.path().join("saved");
        let firmware = rom(folder.path(), "still", STILL)?;
        let machine = Machine::new()?.memory(16).firmware_at(Path::new(&firmware));
        let mut guest = machine.disk(Path::new(&image), "raw").boot()?;
        guest.monitor()?;
        guest.save(&file).context("saving")?;
        let restore = |file: &Path| {
            let file = file.display().to_string();
            Subcommand::new()?.run(&["restore", &file, "--serial", "none", "--timeout", "2"])
        };
        let output = restore(&file)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(4), "it does not run until its time is up: {said}");
        Ok(())
    });
}
