//! With its thread, and a guest that is woken.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use super::*;

struct Guest {
    vsock: Vsock,
    news: Receiver<()>,
    path: PathBuf,
    _folder: TempDir,
}

impl Guest {
    fn new() -> Guest {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v");
        let (tell, news) = channel();
        let tell = Mutex::new(tell);
        let waker = Waker::calling(move |why| {
            assert_eq!(why, devices_core::Wake::Backend(3));
            // The test may be over.
            let _ = tell.lock().unwrap().send(());
        });
        let options = Options { cid: CID, path: path.clone(), connections: 8 };
        let vsock = prepare(&path).unwrap().start(options, waker, 3).unwrap();
        Guest { vsock, news, path, _folder: folder }
    }

    /// Sends a packet, when there is room.
    fn send(&self, header: Header, payload: &[u8]) {
        let header = Header { len: payload.len() as u32, ..header };
        while !self.vsock.send(&[&header.bytes()[..], payload].concat()) {
            self.news.recv().unwrap();
        }
    }

    /// Waits for a packet.
    fn heard(&self) -> (Header, Vec<u8>) {
        let mut packet = Vec::new();
        while !self.vsock.receive(&mut packet) {
            self.news.recv().unwrap();
        }
        let (header, payload) = Header::split(&packet).unwrap();
        (header, payload.to_vec())
    }
}

#[test]
fn four_megabytes_go_and_come_back() {
    const LEN: usize = 4 << 20;
    let guest = Guest::new();
    let listener = UnixListener::bind(format!("{}_{HOST}", guest.path.display())).unwrap();
    let echo = std::thread::spawn(move || {
        let (mut program, _) = listener.accept().unwrap();
        std::io::copy(&mut program.try_clone().unwrap(), &mut program).unwrap()
    });
    let byte = |at: usize| (at * 31 >> 3) as u8;
    let (mut sent, mut got, mut passed, mut peer) = (0, 0u32, 0u32, (0u32, 0u32));
    let own = |got: u32| Header { buf_alloc: 100_000, fwd_cnt: got, ..of_guest(op::RW, HOST, GUEST) };
    guest.send(Header { op: op::REQUEST, ..own(0) }, b"");
    while (got as usize) < LEN {
        // As much as the other end has room for.
        let room = (peer.0 - (sent as u32).wrapping_sub(peer.1)).min(40_000) as usize;
        let now = room.min(LEN - sent);
        if now > 0 {
            let piece: Vec<u8> = (sent..sent + now).map(byte).collect();
            guest.send(own(got), &piece);
            sent += now;
            if sent == LEN {
                guest.send(Header { op: op::SHUTDOWN, flags: shutdown::SEND, ..own(got) }, b"");
            }
            continue;
        }
        let (header, payload) = guest.heard();
        peer = (header.buf_alloc, header.fwd_cnt);
        match header.op {
            op::RW => {
                for (at, found) in (got as usize..).zip(&payload) {
                    assert_eq!(*found, byte(at), "byte {at}");
                }
                got += payload.len() as u32;
                if got - passed > 50_000 {
                    passed = got;
                    guest.send(Header { op: op::CREDIT_UPDATE, ..own(got) }, b"");
                }
            }
            op::CREDIT_REQUEST => guest.send(Header { op: op::CREDIT_UPDATE, ..own(got) }, b""),
            op::RESPONSE | op::CREDIT_UPDATE => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(echo.join().unwrap(), LEN as u64);
}

#[test]
fn it_ends_with_its_device() {
    let guest = Guest::new();
    let mut client = UnixStream::connect(&guest.path).unwrap();
    client.write_all(b"CONNECT 9\n").unwrap();
    let (request, _) = guest.heard();
    guest.send(of_guest(op::RESPONSE, request.src_port, 9), b"");
    let mut line = [0; 14];
    client.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"OK 1073741824\n");
    let Guest { vsock, path, .. } = guest;
    drop(vsock);
    assert!(!path.exists());
    assert_eq!(client.read(&mut line).unwrap(), 0);
}
