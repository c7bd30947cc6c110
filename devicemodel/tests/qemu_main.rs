//! The program started with QEMU's command line.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ailurus");

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn libxl_probes_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let listener = OwnedFd::from(UnixListener::bind(&path).unwrap());
    // The shell makes the socket file 7, as libxl leaves one open for its child.
    let mut child = Command::new("sh")
        .args(["-c", "exec 7<&0 </dev/null; exec \"$0\" \"$@\"", PROGRAM])
        .args(["-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=xen"])
        .args(["-chardev", "socket,id=libxl-cmd,fd=7,server=on,wait=off"])
        .args(["-mon", "chardev=libxl-cmd,mode=control"])
        .stdin(listener)
        .spawn()
        .unwrap();
    let stream = UnixStream::connect(&path).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let ask = |text: &str| (&stream).write_all(text.as_bytes()).unwrap();
    assert!(next().get("QMP").is_some());
    ask("{\"execute\":\"qmp_capabilities\",\"id\":1}\r\n");
    assert_eq!(next()["id"], 1);
    ask("{\"execute\":\"query-command-line-options\",\"id\":2}\r\n");
    let options = next();
    let run_with = options["return"].as_array().unwrap().iter().find(|o| o["option"] == "run-with").unwrap();
    assert!(run_with["parameters"].to_string().contains("\"chroot\""));
    ask("{\"execute\":\"quit\",\"id\":3}\r\n");
    assert_eq!(next()["return"], serde_json::json!({}));
    assert!(child.wait().unwrap().success());
    assert!(path.exists(), "the socket's file is libxl's");
}

#[test]
fn what_cannot_be_done_is_one_line_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("qmp");
    let chardev = format!("socket,id=libxl-cmd,path={},server=on,wait=off", socket.display());
    let start =
        ["-xen-domid", "5", "-no-shutdown", "-chardev", &chardev, "-mon", "chardev=libxl-cmd,mode=control"];
    for (more, expected) in [
        (
            &["-machine", "xenfv", "-device", "qxl-vga,vram_size_mb=64", "-usbdevice", "braille"][..],
            "ailurus: not built yet: -device qxl-vga (display adapter), -usbdevice braille (USB)\n",
        ),
        (&["-machine", "xenfv", "-frob\nnicate"], "ailurus: -frob nicate: invalid option\n"),
    ] {
        let output = run(&[&start[..], more].concat());
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
        assert!(output.stdout.is_empty() && !socket.exists());
    }
}

#[test]
fn it_says_who_it_is() {
    let output = run(&["-version"]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("ailurus"));
    // Our own command line is not QEMU's.
    assert!(String::from_utf8(run(&["--version"]).stdout).unwrap().starts_with("ailurus "));
}
