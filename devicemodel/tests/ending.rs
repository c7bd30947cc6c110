//! A process that is asked to end ends, whatever hangs.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A firmware that writes to the first serial port for ever.
fn talker() -> Vec<u8> {
    // mov dx, 3f8h; 1: mov al, 'x'; out dx, al; jmp 1
    firmware(&[0xba, 0xf8, 0x03, 0xb0, b'x', 0xee, 0xeb, 0xfb])
}

/// A firmware that is this code.
fn firmware(code: &[u8]) -> Vec<u8> {
    let mut image = vec![0xff; 64 << 10];
    image[..code.len()].copy_from_slice(code);
    // The reset vector, 16 bytes before the end: jump to the beginning of the segment.
    image[0xfff0..0xfff3].copy_from_slice(&[0xe9, 0x0d, 0x00]);
    image
}

/// Makes a firmware for the display adapter; the folder in which it is.
fn display_firmware(folder: &Path) -> PathBuf {
    let roms = folder.join("build/root/usr/share/seabios");
    std::fs::create_dir_all(&roms).unwrap();
    let mut vga = vec![0; 512];
    vga[..4].copy_from_slice(&[0x55, 0xaa, 1, 0xcb]);
    vga[511] = vga.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    std::fs::write(roms.join("vgabios-stdvga.bin"), vga).unwrap();
    roms
}

fn start(folder: &Path, serial: &str) -> Child {
    let rom = folder.join("rom");
    std::fs::write(&rom, talker()).unwrap();
    let roms = display_firmware(folder);
    Command::new(env!("CARGO_BIN_EXE_ailurus"))
        .args(["run", "--hypervisor", "soft", "--memory", "2", "--timeout", "600", "--serial", serial])
        .arg("--firmware")
        .arg(&rom)
        .current_dir(folder)
        .env("AILURUS_FIRMWARE_DIR", &roms)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Sends SIGTERM and gives the exit status. The bound is for a machine that is busy; a process that hangs misses any.
fn ends(mut child: Child) -> Option<i32> {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let until = Instant::now() + Duration::from_secs(50);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_serial_port_on_a_pipe_that_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path(), "stdio");
    let mut stdout = child.stdout.take().unwrap();
    // It has begun to talk; then nobody listens, and the pipe and the line fill up.
    stdout.read_exact(&mut [0; 1]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ends(child), Some(0));
    drop(stdout);
}

#[test]
fn a_serial_port_to_a_named_pipe_with_nobody_at_the_other_end() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let child = start(folder.path(), &format!("file:{}", pipe.display()));
    // Once it has what a signal ends it by; before that the signal itself does.
    let mut reader = std::fs::File::open(&pipe).unwrap();
    reader.read_exact(&mut [0; 1]).unwrap();
    drop(reader);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ends(child), Some(0));
}

#[test]
fn a_guest_ends_the_program_with_a_status_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let roms = display_firmware(folder.path());
    // mov dx, 501h; mov al, 1; out dx, al; 1: jmp 1. Status 3 is that of a crash, too.
    let code = [0xba, 0x01, 0x05, 0xb0, 0x01, 0xee, 0xeb, 0xfe];
    std::fs::write(folder.path().join("rom"), firmware(&code)).unwrap();
    let status = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ailurus"));
        command.args(arguments.split_whitespace()).current_dir(folder.path());
        command.env("AILURUS_FIRMWARE_DIR", &roms).stdin(Stdio::null());
        command.status().unwrap().code()
    };
    let run =
        "run --hypervisor soft --memory 2 --timeout 600 --sandbox off --firmware rom --device isa-debug-exit";
    assert_eq!(status(run), Some(3));
    assert_eq!(status("-accel tcg -m 2 -nodefaults -bios rom -device isa-debug-exit,iobase=0x501"), Some(3));
}
