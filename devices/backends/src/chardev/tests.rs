//! Lines on real files, sockets and pseudo-terminals.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices_core::Waker;
use devices_core::chardev::CharBackend;

use super::*;

fn line(spec: &CharSpec) -> OpenLine {
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
        assert_eq!(input(&open.backend, 10_000), [round; 10_000]);
        output(&open.backend, b"hello");
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
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
