//! The host's end, driven without its thread and with time as the test says; a guest is the packets that it sends.

mod hostile;
mod thread;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use devices_core::vsock::{HOST_CID, Header, kind, op, shutdown};
use tempfile::TempDir;

use super::connection::PATIENCE;
use super::*;

const CID: u64 = 7;
/// A port of the guest's, and one of the host's.
const GUEST: u32 = 1025;
const HOST: u32 = 52;
/// What a guest has room for that is in no hurry to say so.
const ROOM: u32 = 1 << 20;

struct Bench {
    mux: Mux,
    shared: Arc<Shared>,
    folder: TempDir,
    now: Instant,
    _unlink: Unlink,
}

impl Bench {
    fn new(connections: usize) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v");
        let options = Options { cid: CID, path: path.clone(), connections };
        let (mux, shared, unlink) = prepare(&path).unwrap().mux(options, Waker::default(), 0).unwrap();
        Bench { mux, shared, folder, now: Instant::now(), _unlink: unlink }
    }

    /// Does all that there is to do now.
    fn turn(&mut self) {
        let mut quiet = 0;
        for _ in 0..1000 {
            let mut events = Vec::with_capacity(EVENTS);
            let zero = Timespec::default();
            epoll::wait(self.mux.epoll(), rustix::buffer::spare_capacity(&mut events), Some(&zero)).unwrap();
            let more = self.mux.turn(&events, self.now) == Some(Duration::ZERO);
            quiet = if more || !events.is_empty() { 0 } else { quiet + 1 };
            if quiet == 2 {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.turn();
    }

    /// The guest sends a packet.
    fn send(&mut self, header: Header, payload: &[u8]) {
        let header = Header { len: payload.len() as u32, ..header };
        assert!(self.shared.send(&[&header.bytes()[..], payload].concat()), "there is room");
        self.turn();
    }

    fn say(&mut self, op: u16, host: u32, guest: u32) {
        self.send(of_guest(op, host, guest), b"");
    }

    /// The next packet that the guest gets.
    fn heard(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut packet = Vec::new();
        let some = self.shared.receive(&mut packet);
        self.turn();
        some.then(|| {
            let (header, payload) = Header::split(&packet).expect("it is whole");
            assert_eq!((header.src_cid, header.dst_cid), (HOST_CID, CID));
            (header, payload.to_vec())
        })
    }

    /// What kind of packet the guest gets next.
    fn op(&mut self) -> Option<u16> {
        self.heard().map(|(header, _)| header.op)
    }

    fn listen(&self, port: u32) -> UnixListener {
        UnixListener::bind(self.folder.path().join(format!("v_{port}"))).unwrap()
    }

    /// A program of the host's that says something.
    fn client(&mut self, says: &str) -> UnixStream {
        let mut client = UnixStream::connect(self.folder.path().join("v")).unwrap();
        client.set_nonblocking(true).unwrap();
        client.write_all(says.as_bytes()).unwrap();
        self.turn();
        client
    }

    /// A connection of the guest's to a program that listens.
    fn connected(&mut self, listener: &UnixListener, host: u32, guest: u32) -> UnixStream {
        self.say(op::REQUEST, host, guest);
        assert_eq!(self.op(), Some(op::RESPONSE));
        let program = listener.accept().unwrap().0;
        program.set_nonblocking(true).unwrap();
        program
    }
}

fn of_guest(op: u16, host: u32, guest: u32) -> Header {
    Header {
        src_cid: CID,
        dst_cid: HOST_CID,
        src_port: guest,
        dst_port: host,
        kind: kind::STREAM,
        op,
        buf_alloc: ROOM,
        ..Header::default()
    }
}

/// What a program has to read, and whether that is all that will come.
fn read(program: &mut UnixStream) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    match program.read_to_end(&mut all) {
        Ok(_) => (all, true),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            (all, false)
        }
    }
}

#[test]
fn a_guest_connects_to_a_program_of_the_hosts() {
    let mut bench = Bench::new(10);
    let listener = bench.listen(HOST);
    bench.say(op::REQUEST, HOST, GUEST);
    let (response, _) = bench.heard().unwrap();
    assert_eq!((response.op, response.src_port, response.dst_port), (op::RESPONSE, HOST, GUEST));
    assert_eq!((response.buf_alloc, response.fwd_cnt, response.kind), (BUFFER, 0, kind::STREAM));
    let mut program = listener.accept().unwrap().0;
    program.set_nonblocking(true).unwrap();
    bench.send(of_guest(op::RW, HOST, GUEST), b"hello");
    assert_eq!(read(&mut program), (b"hello".to_vec(), false));
    program.write_all(b"hi there").unwrap();
    bench.turn();
    let (data, payload) = bench.heard().unwrap();
    assert_eq!((data.op, payload.as_slice(), data.fwd_cnt), (op::RW, &b"hi there"[..], 5));
    assert_eq!(bench.heard(), None);
    // It goes, with something unread.
    program.write_all(b"bye").unwrap();
    drop(program);
    bench.turn();
    assert_eq!(bench.heard().unwrap().1, b"bye");
    let (end, _) = bench.heard().unwrap();
    assert_eq!((end.op, end.flags), (op::SHUTDOWN, shutdown::BOTH));
    bench.say(op::RST, HOST, GUEST);
    assert_eq!((bench.heard(), bench.mux.count()), (None, (0, 0)));
}

#[test]
fn where_nobody_listens_the_guest_is_refused() {
    let mut bench = Bench::new(10);
    bench.say(op::REQUEST, HOST, GUEST);
    let (refusal, _) = bench.heard().unwrap();
    assert_eq!((refusal.op, refusal.src_port, refusal.dst_port), (op::RST, HOST, GUEST));
    // Nor where nobody listens any more.
    drop(bench.listen(HOST));
    bench.say(op::REQUEST, HOST, GUEST);
    assert_eq!(bench.op(), Some(op::RST));
    assert_eq!(bench.mux.count(), (0, 0));
}

#[test]
fn a_program_of_the_hosts_connects_to_the_guest() {
    let mut bench = Bench::new(10);
    // What it says at once is the guest's, when the guest has accepted.
    let mut client = bench.client("CONNECT 80\nGET /");
    let (request, _) = bench.heard().unwrap();
    assert_eq!((request.op, request.dst_port, request.buf_alloc), (op::REQUEST, 80, BUFFER));
    let port = request.src_port;
    assert_eq!((port, bench.heard()), (1 << 30, None));
    assert_eq!(read(&mut client), (vec![], false));
    bench.say(op::RESPONSE, port, 80);
    assert_eq!(read(&mut client).0, b"OK 1073741824\n");
    let (data, payload) = bench.heard().unwrap();
    // The line of ours is none of the guest's bytes.
    assert_eq!((data.op, payload.as_slice(), data.fwd_cnt), (op::RW, &b"GET /"[..], 0));
    bench.send(of_guest(op::RW, port, 80), b"200");
    assert_eq!(read(&mut client), (b"200".to_vec(), false));
    // The guest's program ends: the host's reads the end, and the guest hears that nobody has the port any more.
    bench.send(Header { flags: shutdown::BOTH, ..of_guest(op::SHUTDOWN, port, 80) }, b"");
    assert_eq!(read(&mut client), (vec![], true));
    assert_eq!((bench.op(), bench.mux.count()), (Some(op::RST), (0, 0)));
    // The next one has another port.
    let _client = bench.client("connect 80\n");
    assert_eq!(bench.heard().unwrap().0.src_port, port + 1);
}

#[test]
fn a_program_that_the_guest_does_not_want_reads_the_end() {
    let mut bench = Bench::new(10);
    let mut client = bench.client("CONNECT 80\n");
    let port = bench.heard().unwrap().0.src_port;
    bench.say(op::RST, port, 80);
    assert_eq!(read(&mut client), (vec![], true));
    // It says nothing at all.
    let mut client = bench.client("CONNECT 81\n");
    assert_eq!(bench.op(), Some(op::REQUEST));
    bench.pass(PATIENCE - Duration::from_millis(1));
    assert_eq!(read(&mut client), (vec![], false));
    bench.pass(Duration::from_millis(1));
    assert_eq!(read(&mut client), (vec![], true));
    assert_eq!((bench.op(), bench.mux.count()), (Some(op::RST), (0, 0)));
    // There is no driver that could be asked: it need not hear of it later.
    for port in 0..70 {
        drop(bench.client(&format!("CONNECT {port}\n")));
    }
    let asked: Vec<_> = std::iter::from_fn(|| bench.op()).collect();
    assert!(asked.iter().filter(|op| **op == op::REQUEST).count() <= shared::PACKETS, "{asked:?}");
    assert_eq!(bench.mux.count(), (0, 0));
}

#[test]
fn a_program_that_does_not_say_what_it_wants_is_shut_out() {
    let mut bench = Bench::new(10);
    for nonsense in ["HELLO\n", "CONNECT\n", "CONNECT 5 6\n", "CONNECT 99999999999999999999999999"] {
        let mut client = bench.client(nonsense);
        assert!(read_end(&mut client), "{nonsense}");
    }
    let mut slow = bench.client("CONN");
    bench.pass(Duration::from_secs(9));
    slow.write_all(b"ECT 5\n").unwrap();
    bench.turn();
    assert_eq!(bench.op(), Some(op::REQUEST), "in pieces");
    let mut silent = bench.client("");
    bench.pass(Duration::from_secs(10));
    assert!(read_end(&mut silent));
    assert_eq!(bench.mux.count().1, 0);
}

/// Whether a program finds itself shut out.
fn read_end(client: &mut UnixStream) -> bool {
    match client.read(&mut [0; 16]) {
        Ok(read) => read == 0,
        // What it has said was not read.
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn nothing_is_sent_that_the_guest_has_no_room_for() {
    let mut bench = Bench::new(10);
    let listener = bench.listen(HOST);
    let small = |op, fwd_cnt| Header { buf_alloc: 10, fwd_cnt, ..of_guest(op, HOST, GUEST) };
    bench.send(small(op::REQUEST, 0), b"");
    assert_eq!(bench.op(), Some(op::RESPONSE));
    let mut program = listener.accept().unwrap().0;
    program.write_all(b"0123456789abcdefghijkl").unwrap();
    bench.turn();
    assert_eq!(bench.heard().unwrap().1, b"0123456789");
    assert_eq!(bench.op(), Some(op::CREDIT_REQUEST));
    assert_eq!(bench.heard(), None, "it is asked once");
    bench.send(small(op::CREDIT_UPDATE, 4), b"");
    assert_eq!(bench.heard().unwrap().1, b"abcd");
    assert_eq!(bench.op(), Some(op::CREDIT_REQUEST));
    // One that has taken more than it got has no room.
    bench.send(small(op::CREDIT_UPDATE, 1000), b"");
    assert_eq!(bench.heard(), None);
    bench.send(small(op::CREDIT_UPDATE, 14), b"");
    assert_eq!(bench.heard().unwrap().1, b"efghijkl");
}

#[test]
fn the_guest_hears_of_room_and_loses_a_connection_that_it_floods() {
    let mut bench = Bench::new(10);
    let listener = bench.listen(HOST);
    let mut program = bench.connected(&listener, HOST, GUEST);
    bench.say(op::CREDIT_REQUEST, HOST, GUEST);
    let (update, _) = bench.heard().unwrap();
    assert_eq!((update.op, update.buf_alloc, update.fwd_cnt), (op::CREDIT_UPDATE, BUFFER, 0));
    bench.send(of_guest(op::RW, HOST, GUEST), &[1; 30_000]);
    assert_eq!(bench.heard(), None, "there is enough");
    bench.send(of_guest(op::RW, HOST, GUEST), &[2; 30_000]);
    assert_eq!(
        bench.heard().map(|(update, _)| (update.op, update.fwd_cnt)),
        Some((op::CREDIT_UPDATE, 60_000))
    );
    assert_eq!(read(&mut program).0.len(), 60_000);
    // Nobody reads: what the socket takes and what is kept is all that there is room for.
    let mut sent = 0;
    let flooded = loop {
        bench.send(of_guest(op::RW, HOST, GUEST), &[3; 16_384]);
        sent += 16_384;
        match bench.op() {
            None | Some(op::CREDIT_UPDATE) => assert!(sent < 1 << 22, "it takes everything"),
            other => break other,
        }
    };
    assert_eq!((flooded, bench.mux.count()), (Some(op::RST), (0, 0)));
}

#[test]
fn each_direction_ends_by_itself() {
    let mut bench = Bench::new(10);
    let listener = bench.listen(HOST);
    let mut program = bench.connected(&listener, HOST, GUEST);
    let end = |flags| Header { flags, ..of_guest(op::SHUTDOWN, HOST, GUEST) };
    bench.send(of_guest(op::RW, HOST, GUEST), b"all");
    bench.send(end(shutdown::SEND), b"");
    assert_eq!(read(&mut program), (b"all".to_vec(), true));
    program.write_all(b"answer").unwrap();
    bench.turn();
    assert_eq!(bench.heard().unwrap().1, b"answer");
    // What was said once stays said.
    bench.send(end(shutdown::RECEIVE), b"");
    assert_eq!((bench.op(), bench.mux.count()), (Some(op::RST), (0, 0)));
    // The program is the first.
    let mut program = bench.connected(&listener, HOST, GUEST);
    program.shutdown(std::net::Shutdown::Write).unwrap();
    bench.turn();
    assert_eq!(bench.heard().map(|(end, _)| (end.op, end.flags)), Some((op::SHUTDOWN, shutdown::SEND)));
    bench.send(of_guest(op::RW, HOST, GUEST), b"more");
    bench.send(end(shutdown::SEND), b"");
    assert_eq!(read(&mut program), (b"more".to_vec(), true));
    assert_eq!(bench.heard().map(|(end, _)| (end.op, end.flags)), Some((op::SHUTDOWN, shutdown::BOTH)));
    bench.say(op::RST, HOST, GUEST);
    assert_eq!((bench.heard(), bench.mux.count()), (None, (0, 0)));
    // One that sends after it has said that it will not.
    let _program = bench.connected(&listener, HOST, GUEST);
    bench.send(end(shutdown::SEND), b"");
    bench.send(of_guest(op::RW, HOST, GUEST), b"x");
    assert_eq!((bench.op(), bench.mux.count()), (Some(op::RST), (0, 0)));
}

#[test]
fn a_guest_that_does_not_agree_to_the_end_loses_the_connection() {
    let mut bench = Bench::new(10);
    let listener = bench.listen(HOST);
    drop(bench.connected(&listener, HOST, GUEST));
    bench.turn();
    assert_eq!(bench.op(), Some(op::SHUTDOWN));
    assert_eq!(bench.mux.count(), (1, 0));
    bench.pass(PATIENCE);
    assert_eq!((bench.op(), bench.mux.count()), (Some(op::RST), (0, 0)));
}

#[test]
fn a_program_that_does_not_read_stops_nobody_else() {
    let mut bench = Bench::new(10);
    let listener = bench.listen(HOST);
    let _slow = bench.connected(&listener, HOST, GUEST);
    let mut quick = bench.connected(&listener, HOST, GUEST + 1);
    // As much as one may have on its way.
    for _ in 0..3 {
        bench.send(of_guest(op::RW, HOST, GUEST), &[1; 60_000]);
        while bench.op().is_some() {}
    }
    bench.send(of_guest(op::RW, HOST, GUEST + 1), b"quick");
    assert_eq!(read(&mut quick).0, b"quick");
    // Nor does one for which the guest has no room.
    quick.write_all(b"answer").unwrap();
    bench.turn();
    assert_eq!(bench.heard().unwrap().1, b"answer");
}

#[test]
fn all_have_their_turn() {
    let mut bench = Bench::new(10);
    let listener = bench.listen(HOST);
    let mut programs = [0, 1, 2].map(|port| bench.connected(&listener, HOST, GUEST + port));
    programs[0].write_all(&[0; 150_000]).unwrap();
    programs[1].write_all(&[1; 150_000]).unwrap();
    programs[2].write_all(b"x").unwrap();
    bench.turn();
    let first: Vec<_> = (0..6).map(|_| bench.heard().unwrap().0.dst_port - GUEST).collect();
    assert!(first[..3].contains(&2) && first.contains(&0) && first.contains(&1), "{first:?}");
}

#[test]
fn there_are_so_many_connections_and_no_more() {
    let mut bench = Bench::new(2);
    let listener = bench.listen(HOST);
    let _one = bench.connected(&listener, HOST, GUEST);
    let _two = bench.client("");
    bench.say(op::REQUEST, HOST, GUEST + 1);
    assert_eq!(bench.op(), Some(op::RST));
    let mut three = bench.client("CONNECT 5\n");
    assert!(read_end(&mut three));
    assert_eq!(bench.mux.count(), (1, 1));
    bench.say(op::RST, HOST, GUEST);
    bench.say(op::REQUEST, HOST, GUEST + 1);
    assert_eq!(bench.op(), Some(op::RESPONSE));
}

#[test]
fn a_driver_that_begins_anew_finds_nothing_of_before() {
    let mut bench = Bench::new(10);
    let listener = bench.listen(HOST);
    let mut program = bench.connected(&listener, HOST, GUEST);
    program.write_all(b"old").unwrap();
    bench.turn();
    bench.say(op::REQUEST, 1, GUEST);
    bench.shared.reset();
    assert_eq!(bench.heard(), None);
    assert_eq!(read(&mut program), (vec![], true));
    assert_eq!(bench.mux.count(), (0, 0));
    // The same ports again, and a program that comes in the moment of the reset.
    let _program = bench.connected(&listener, HOST, GUEST);
    bench.shared.reset();
    let _client = bench.client("CONNECT 80\n");
    assert_eq!((bench.op(), bench.mux.count()), (Some(op::REQUEST), (1, 0)));
}
