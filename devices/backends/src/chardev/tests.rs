//! Lines on real files, sockets and pseudo-terminals.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices_core::Waker;
use devices_core::chardev::CharBackend;

use super::*;

fn line(spec: &CharSpec) -> OpenChardev {
    open(spec, Waker::default(), 0, |_| {}).unwrap()
}

/// Reads until so many bytes have come.
fn input(backend: &Arc<dyn CharBackend>, len: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(20);
    while all.len() < len && Instant::now() < end {
        let mut data = [0; 100];
        let now = backend.read(&mut data);
        all.extend(&data[..now]);
        if now == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    all
}

/// Waits until somebody is at the other end, or nobody.
fn wait_for(backend: &Arc<dyn CharBackend>, connected: bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while backend.connected() != connected {
        assert!(Instant::now() < end, "it is not seen who is there");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Writes all of it, waiting for room.
fn output(backend: &Arc<dyn CharBackend>, mut data: &[u8]) {
    let end = Instant::now() + Duration::from_secs(20);
    while !data.is_empty() {
        assert!(Instant::now() < end, "there is never room again");
        let now = backend.write(data);
        data = &data[now..];
        if now == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn specifications_are_read() {
    assert_eq!("stdio".parse(), Ok(CharSpec::Stdio));
    assert_eq!("none".parse(), Ok(CharSpec::Null));
    assert_eq!("file:/a:b".parse(), Ok(CharSpec::File("/a:b".into())));
    assert_eq!("unix:/s,server,nowait".parse(), Ok(CharSpec::Unix("/s".into())));
    assert!("file:".parse::<CharSpec>().is_err());
    assert!("tcp:1".parse::<CharSpec>().unwrap_err().contains("unix:PATH"));
}

#[test]
fn a_file_has_everything_when_the_line_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let open = line(&CharSpec::File(path.clone()));
    let data: Vec<u8> = (0..300_000).map(|n| (n % 251) as u8).collect();
    output(&open.backend, &data);
    drop(open);
    assert!(std::fs::read(&path).unwrap() == data);
    let open = line(&CharSpec::Append(path.clone()));
    output(&open.backend, b"more");
    drop(open);
    assert!(std::fs::read(&path).unwrap() == [data, b"more".to_vec()].concat());
    let error = super::open(&CharSpec::File(folder.path().join("no/log")), Waker::default(), 0, |_| {});
    assert!(error.err().unwrap().to_string().contains("no/log"));
}

#[test]
fn a_socket_serves_one_client_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let spec = CharSpec::Unix(path.clone());
    let open = line(&spec);
    // Nobody listens: it is dropped.
    output(&open.backend, &[0; 100_000]);
    for round in 0..3u8 {
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(&[round; 10_000]).unwrap();
        wait_for(&open.backend, true);
        assert_eq!(input(&open.backend, 10_000), [round; 10_000]);
        output(&open.backend, b"hello");
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
        drop(client);
        wait_for(&open.backend, false);
    }
    assert!(super::open(&spec, Waker::default(), 0, |_| {}).is_err(), "the socket is in use");
    drop(open);
    assert!(!path.exists());
}

#[test]
fn a_client_that_does_not_read_stops_the_line_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let open = line(&CharSpec::Unix(path.clone()));
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"x").unwrap();
    assert_eq!(input(&open.backend, 1), b"x");
    let mut taken = 0;
    let end = Instant::now() + Duration::from_secs(20);
    let mut quiet = 0;
    while quiet < 50 {
        assert!(Instant::now() < end && taken < 16 << 20, "it takes without end");
        let now = open.backend.write(&[7; 1000]);
        taken += now;
        quiet = if now == 0 { quiet + 1 } else { 0 };
        if now == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let mut all = vec![0; taken];
    client.read_exact(&mut all).unwrap();
    assert!(all == vec![7; taken]);
    assert!(open.backend.write(b"again") > 0 || !input(&open.backend, 0).is_empty());
    let begin = Instant::now();
    drop(open);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_pseudo_terminal_carries_bytes_as_they_are() {
    let open = line(&CharSpec::Pty);
    let path = open.path.clone().unwrap();
    let mut other = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    other.write_all(b"\x03a\r\n\x04").unwrap();
    assert_eq!(input(&open.backend, 5), b"\x03a\r\n\x04");
    // The line looks now and then whether somebody is there.
    std::thread::sleep(Duration::from_millis(500));
    output(&open.backend, b"b\n\x11");
    let mut answer = [0; 3];
    other.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"b\n\x11");
}

/// Not a test by itself: what [`a_terminal_is_put_back_however_it_ends`] runs on a terminal.
#[test]
fn on_a_terminal() {
    let Ok(how) = std::env::var("LINE_TEST_END") else { return };
    let (send, quit) = std::sync::mpsc::channel();
    let stdio = open(&CharSpec::Stdio, Waker::default(), 0, move |escape| {
        let _ = send.send(escape);
    })
    .unwrap();
    assert!(matches!(open(&CharSpec::Stdio, Waker::default(), 0, |_| {}).err(), Some(CharError::Taken)));
    output(&stdio.backend, b"ready\n");
    assert_eq!(input(&stdio.backend, 3), b"\x03\ry");
    output(&stdio.backend, b"seen\n");
    // A process that ends at once would take with it what its writer has not written yet.
    super::flush_all();
    match how.as_str() {
        "escape" => assert_eq!(quit.recv(), Ok(Escape::Quit)),
        "panic" => panic!("as asked"),
        "exit" => {
            restore_terminal();
            std::process::exit(3);
        }
        _ => std::thread::sleep(Duration::from_secs(60)),
    }
}

/// Reads what the program on the terminal writes until `mark` is in it.
fn expect(terminal: &mut impl Read, mark: &str) {
    let mut all = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&all).contains(mark) {
        assert_eq!(terminal.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&all));
        all.push(byte[0]);
    }
}

#[test]
fn a_terminal_is_put_back_however_it_ends() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, tcgetattr};
    for how in ["escape", "panic", "exit", "signal"] {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&main).unwrap();
        unlockpt(&main).unwrap();
        let path = PathBuf::from(ptsname(&main, Vec::new()).unwrap().into_string().unwrap());
        let end = || std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let modes = || tcgetattr(&main).unwrap().local_modes;
        let before = modes();
        assert!(before.contains(LocalModes::ICANON | LocalModes::ECHO));
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "chardev::tests::on_a_terminal", "--nocapture"])
            .env("LINE_TEST_END", how)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let mut terminal = std::fs::File::from(main.try_clone().unwrap());
        expect(&mut terminal, "ready");
        assert!(!modes().intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        terminal.write_all(b"\x03\ry").unwrap();
        expect(&mut terminal, "seen");
        match how {
            "escape" => terminal.write_all(b"\x01x").unwrap(),
            "signal" => {
                let id = rustix::process::Pid::from_child(&child);
                rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
            }
            _ => {}
        }
        let code = child.wait().unwrap().code();
        assert_eq!(modes(), before, "{how}");
        let expected = match how {
            "escape" => 0,
            "panic" => 101,
            "exit" => 3,
            _ => 128 + 15,
        };
        assert_eq!(code, Some(expected), "{how}");
    }
}
