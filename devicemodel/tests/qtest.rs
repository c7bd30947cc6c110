//! The program as a client of QEMU's test protocol starts it: the client listens on two sockets, the program connects
//! to qtest's first and to the monitor's after it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Line(BufReader<UnixStream>);

impl Line {
    fn accept(listener: &UnixListener) -> Line {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Line(BufReader::new(stream))
    }
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }
    fn receive(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }
    fn ask(&mut self, text: &str) -> String {
        self.send(&format!("{text}\n"));
        self.receive().trim_end().to_owned()
    }
}

fn start(folder: &Path, words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ailurus"))
        .args(words)
        .args(["-machine", "pc,accel=qtest", "-display", "none", "-nodefaults", "-m", "64"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

fn ends(child: &mut Child) -> std::process::ExitStatus {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it does not end");
}

const CLIENT: &[&str] = &[
    "-qtest",
    "unix:qtest.sock",
    "-qtest-log",
    "qtest.log",
    "-chardev",
    "socket,path=qmp.sock,id=char0",
    "-mon",
    "chardev=char0,mode=control",
];

#[test]
fn a_client_is_served_on_both_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let (qtest, qmp) = (folder.path().join("qtest.sock"), folder.path().join("qmp.sock"));
    let (qtest, qmp) = (UnixListener::bind(qtest).unwrap(), UnixListener::bind(qmp).unwrap());
    let mut child = start(folder.path(), CLIENT);
    let mut test = Line::accept(&qtest);
    let mut monitor = Line::accept(&qmp);
    assert!(monitor.receive().starts_with("{\"QMP\""));
    assert_eq!(monitor.ask(r#"{"execute":"qmp_capabilities"}"#), r#"{"return": {}}"#.replace(": ", ":"));

    assert_eq!(test.ask("outl 0xcf8 0x80000000"), "OK");
    assert_eq!(test.ask("inl 0xcfc"), "OK 0x12378086");
    assert_eq!(test.ask("clock_step 1000000"), "OK 1000000");
    // A reset by the guest is carried out before the next command.
    assert_eq!(test.ask("outb 0x21 0x5a"), "OK");
    assert_eq!(test.ask("outb 0xcf9 6"), "OK");
    assert!(monitor.receive().contains("\"RESET\""));
    assert_eq!(test.ask("inb 0x21"), "OK 0x0000");
    // A line that comes in pieces, and two in one.
    test.send("in");
    std::thread::sleep(Duration::from_millis(20));
    test.send("b 0x64\nendianness\n");
    assert_eq!((test.receive().as_str(), test.receive().as_str()), ("OK 0x0018\n", "OK little\n"));
    assert!(test.ask("inb 0x10000").starts_with("FAIL"));

    // It vanishes in the middle of a command; the program lives.
    test.send("write 0 100 0x0102");
    drop(test);
    monitor.send("{\"execute\":\"query-status\"}\n");
    assert!(monitor.receive().contains("\"status\""));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    assert_eq!(ends(&mut child).code(), Some(0));
    let log = std::fs::read_to_string(folder.path().join("qtest.log")).unwrap();
    assert!(log.contains("] inl 0xcfc\n") && log.contains("] OK 0x12378086\n"), "{log}");
}

#[test]
fn a_second_client_is_turned_away_and_a_third_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        start(folder.path(), &["-qtest", "unix:qtest.sock,server=on,wait=off", "-qtest-log", "none"]);
    let path = folder.path().join("qtest.sock");
    let connect = || {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match UnixStream::connect(&path) {
                Ok(stream) => return Line(BufReader::new(stream)),
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => panic!("{error}"),
            }
        }
    };
    let mut first = connect();
    assert_eq!(first.ask("endianness"), "OK little");
    assert!(connect().receive().starts_with("FAIL"));
    drop(first);
    let until = Instant::now() + Duration::from_secs(60);
    while connect().ask("endianness") != "OK little" {
        assert!(Instant::now() < until);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(path.exists(), "a killed process leaves its socket behind");
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (words, expected) in [
        (&["-qtest", "unix:nobody.sock"][..], "-qtest: No such file"),
        (&["-device", "flux-capacitor"][..], "'flux-capacitor' is not a valid device model name"),
        (&["-flub"][..], "-flub: invalid option"),
        (&["-qtest", "flub"][..], "expected unix:PATH"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ailurus"))
            .args(["-accel", "qtest", "-nodefaults"])
            .args(words)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(expected) && text.lines().count() == 1, "{text}");
    }
}
