//! TCP and UDP through the host's loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;

use super::*;

/// A server on the host's loopback, and its port.
fn server(work: impl FnOnce(TcpStream) + Send + 'static) -> (u16, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, thread::spawn(move || work(listener.accept().unwrap().0)))
}

#[test]
fn download_and_upload_are_whole() {
    let mut guest = Guest::new("");
    let data = pattern(3 << 20);
    let sent = data.clone();
    let (port, thread) = server(move |mut stream| stream.write_all(&sent).unwrap());
    let handle = guest.connect((HOST, port));
    assert!(guest.read(handle) == data);
    guest.socket(handle).close();
    thread.join().unwrap();

    let expected = data.clone();
    let (port, thread) = server(move |mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all == expected);
        // The guest has closed its half; ours still works.
        stream.write_all(b"got it").unwrap();
    });
    let handle = guest.connect((HOST, port));
    guest.write(handle, &data);
    guest.socket(handle).close();
    assert_eq!(guest.read(handle), b"got it");
    thread.join().unwrap();
    // Both ended; nothing of them stays.
    guest.until("the flows' end", |guest| guest.user.handle().flows().flows.is_empty().then_some(()));
}

#[test]
fn a_server_that_closes_its_half_is_still_sent_to() {
    let mut guest = Guest::new("");
    let data = pattern(500_000);
    let expected = data.clone();
    let (port, thread) = server(move |mut stream| {
        stream.write_all(b"go").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all == expected);
    });
    let handle = guest.connect((HOST, port));
    assert_eq!(guest.read(handle), b"go");
    guest.write(handle, &data);
    guest.socket(handle).close();
    guest.until("the end", |_| thread.is_finished().then_some(()));
    thread.join().unwrap();
}

#[test]
fn refusals_and_resets_pass() {
    let mut guest = Guest::new("");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // A port that nobody listens on, another port of the name server's, an address of nobody's.
    for to in [(HOST, closed), (DNS, 80), (Ipv4Addr::new(10, 0, 2, 77), 80)] {
        let handle = guest.dial(to);
        guest.until("a refusal", |guest| (guest.state(handle) == State::Closed).then_some(()));
    }
    // The guest resets: so does the host's socket.
    let (port, thread) = server(|mut stream| {
        let error = stream.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
    let handle = guest.connect((HOST, port));
    guest.socket(handle).abort();
    guest.until("the server's end", |_| thread.is_finished().then_some(()));
    thread.join().unwrap();
    // The server resets: so does the guest's.
    let (port, thread) = server(|stream| {
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    });
    let handle = guest.dial((HOST, port));
    guest.until("a reset", |guest| (guest.state(handle) == State::Closed).then_some(()));
    thread.join().unwrap();
}

#[test]
fn many_connections_at_once() {
    let mut guest = Guest::new("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        for _ in 0..60 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).unwrap();
            stream.write_all(&word).unwrap();
        }
    });
    let handles: Vec<_> = (0..60).map(|_| guest.dial((HOST, port))).collect();
    for (index, handle) in handles.iter().enumerate() {
        guest.until("a connection", |guest| guest.socket(*handle).can_send().then_some(()));
        guest.write(*handle, &(index as u32).to_be_bytes());
    }
    for (index, handle) in handles.iter().enumerate() {
        assert_eq!(guest.read(*handle), (index as u32).to_be_bytes());
    }
    thread.join().unwrap();
}

#[test]
fn a_slow_side_slows_the_other_and_nothing_is_lost() {
    const MUCH: usize = 16 << 20;
    let mut guest = Guest::new("");
    let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = written.clone();
    let (port, thread) = server(move |mut stream| {
        for part in pattern(MUCH).chunks(1 << 16) {
            stream.write_all(part).unwrap();
            count.fetch_add(part.len(), std::sync::atomic::Ordering::Relaxed);
        }
    });
    let handle = guest.connect((HOST, port));
    // The guest's program does not read: the server stands still before it is done.
    let mut last = 0;
    for _ in 0..40 {
        guest.step();
        thread::sleep(Duration::from_millis(5));
        last = written.load(std::sync::atomic::Ordering::Relaxed);
    }
    assert!(last < MUCH, "the server wrote all");
    assert!(guest.read(handle) == pattern(MUCH));
    thread.join().unwrap();

    // The server does not read: the guest stands still.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (port, thread) = server(move |mut stream| {
        wait.recv().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all == pattern(MUCH));
    });
    let handle = guest.connect((HOST, port));
    let data = pattern(MUCH);
    let mut rest = &data[..];
    for _ in 0..40 {
        guest.step();
        thread::sleep(Duration::from_millis(2));
        let sent = guest.socket(handle).send_slice(rest).unwrap();
        rest = &rest[sent..];
    }
    assert!(!rest.is_empty(), "the guest sent all");
    go.send(()).unwrap();
    guest.write(handle, rest);
    guest.socket(handle).close();
    guest.until("the end", |_| thread.is_finished().then_some(()));
    thread.join().unwrap();
}

#[test]
fn datagrams_go_out_and_come_back() {
    let mut guest = Guest::new("");
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = peer.local_addr().unwrap().port();
    let mut buffer = vec![0; 65_536];
    for len in [0, 1, 1472, 1473, 9000, 60_000] {
        let payload = pattern(len);
        guest.udp(5000, SocketAddr::new(HOST.into(), port), &payload);
        let (read, from) = peer.recv_from(&mut buffer).unwrap();
        assert!(buffer[..read] == payload);
        peer.send_to(&buffer[..read], from).unwrap();
        let (from, back) = guest.datagram(5000);
        assert_eq!(from, SocketAddr::new(HOST.into(), port));
        assert!(back == payload, "{len}");
    }
    let flows = guest.user.handle().flows();
    assert_eq!((flows.flows.len(), &flows.flows[0].kind[..]), (1, "UDP"));
    assert!(flows.table().contains("10.0.2.15:5000"), "{}", flows.table());
}

#[test]
fn forwarded_ports_lead_in() {
    let mut guest = Guest::new("hostfwd=tcp:127.0.0.1:0-:22,hostfwd=udp:127.0.0.1:0-:69,restrict=on");
    let handle = guest.user.handle();
    let forwards = handle.forwards();
    let listening = guest.listen(22);
    // The guest has not said a word: it is asked who has its address.
    let to = forwards[0].host;
    let thread = thread::spawn(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"welcome");
    });
    assert_eq!(guest.read(listening), b"hello");
    assert_eq!(guest.socket(listening).remote_endpoint().unwrap().addr, HOST.into());
    guest.write(listening, b"welcome");
    guest.socket(listening).close();
    guest.until("the client's end", |_| thread.is_finished().then_some(()));
    thread.join().unwrap();

    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"ping", forwards[1].host).unwrap();
    let (from, payload) = guest.datagram(69);
    assert_eq!((from.ip(), &payload[..]), (HOST.into(), &b"ping"[..]));
    guest.udp(69, from, b"pong");
    let mut buffer = [0; 16];
    let (read, from) = client.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..read], from), (&b"pong"[..], forwards[1].host));

    // One that nobody listens on in the guest is refused; rules come and go.
    let added = handle.hostfwd_add("tcp:127.0.0.1:0-10.0.2.15:23").unwrap();
    let mut stream = TcpStream::connect(added).unwrap();
    guest.until("a refusal", |_| {
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        stream.read(&mut [0; 1]).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset).then_some(())
    });
    handle.hostfwd_remove(&format!("tcp:{added}")).unwrap();
    assert!(TcpStream::connect(added).is_err());
    let again = handle.hostfwd_remove(&format!("tcp:{added}")).unwrap_err();
    assert!(again.to_string().contains("not found"), "{again}");
    assert!(handle.hostfwd_add(&format!("tcp:{}-:24", forwards[0].host)).is_err());
}

#[test]
fn a_restricted_guest_reaches_forwarded_servers_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    let web = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let thread = thread::spawn(move || web.accept().unwrap().0.write_all(b"page").unwrap());
    let (port, _server) = server(|_| ());
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = format!("guestfwd=tcp:10.0.2.100:80-unix:{}", path.display());
    let gone = "guestfwd=tcp:10.0.2.100:81-unix:/nowhere/at/all";
    let mut guest = Guest::new(&format!("restrict=on,{target},{gone}"));
    guest.udp(7000, SocketAddr::new(HOST.into(), peer.local_addr().unwrap().port()), b"out");
    for to in [(HOST, port), (Ipv4Addr::new(10, 0, 2, 100), 81)] {
        let handle = guest.dial(to);
        guest.until("a refusal", |guest| (guest.state(handle) == State::Closed).then_some(()));
    }
    let handle = guest.connect((Ipv4Addr::new(10, 0, 2, 100), 80));
    assert_eq!(guest.read(handle), b"page");
    thread.join().unwrap();
    // The datagram was there before all of this.
    peer.set_nonblocking(true).unwrap();
    assert!(peer.recv_from(&mut [0; 8]).is_err());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
}

#[test]
fn checksums_and_segments_are_left_to_the_other_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let data = pattern(600_000);
    let sent = data.clone();
    let thread = thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        let mut got = vec![0; sent.len()];
        socket.read_exact(&mut got).unwrap();
        assert!(got == sent);
        socket.write_all(&sent).unwrap();
    });
    let mut guest = Guest::with_offloads("");
    let handle = guest.connect((HOST, port));
    guest.write(handle, &data);
    assert!(guest.read(handle) == data);
    thread.join().unwrap();
    assert!(guest.large[0] > 0 && guest.large[1] > 0, "{:?}", guest.large);
    // A datagram whose checksum is left is completed, and one that makes no sense goes nowhere.
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = SocketAddr::new(HOST.into(), peer.local_addr().unwrap().port());
    let frame = datagrams(SocketAddr::new(IP.into(), 8000), to, b"left").remove(0);
    let left = Offload { flags: Offload::NEEDS_CSUM, csum_start: 34, csum_offset: 6, ..Offload::default() };
    let mut pseudo = frame.clone();
    let sum = packet::pseudo(IP.into(), HOST.into(), UDP, frame.len() - 34);
    put16(&mut pseudo, 40, sum);
    for wrong in [
        Offload { csum_start: 0xffff, csum_offset: 0xffff, ..left },
        Offload { csum_start: 14, ..left },
        Offload { gso_type: 3, gso_size: 1, ..left },
        Offload { gso_type: gso::TCPV4, gso_size: 0, ..left },
    ] {
        guest.send_with(&pseudo, wrong);
    }
    guest.send_with(&pseudo, left);
    let mut buffer = [0; 16];
    assert_eq!(peer.recv(&mut buffer).unwrap(), 4);
    peer.set_nonblocking(true).unwrap();
    assert!(peer.recv(&mut buffer).is_err(), "one that made no sense came");
}

#[test]
fn tcp_and_udp_over_ipv6() {
    // A host without IPv6 has nothing to lead to.
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let port = listener.local_addr().unwrap().port();
    let data = pattern(300_000);
    let sent = data.clone();
    let thread = thread::spawn(move || listener.accept().unwrap().0.write_all(&sent).unwrap());
    let mut guest = Guest::new("");
    // The guest is known by what it says.
    guest.send(&echo(HOST6.into(), 1, b""));
    let handle = guest.connect((HOST6, port));
    assert!(guest.read(handle) == data);
    thread.join().unwrap();
    let peer = UdpSocket::bind("[::1]:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = SocketAddr::new(HOST6.into(), peer.local_addr().unwrap().port());
    guest.udp(8000, to, b"six");
    let mut buffer = [0; 16];
    let (read, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..read], b"six");
    let large = pattern(5000);
    peer.send_to(&large, from).unwrap();
    assert!(guest.datagram(8000) == (to, large));
}

/// Prints how fast it is.
#[test]
#[ignore = "soak: measures how much passes"]
fn a_gigabyte_each_way() {
    const MUCH: usize = 1 << 30;
    let mut guest = Guest::new("");
    let (port, thread) = server(|mut stream| {
        let part = vec![7; 1 << 20];
        (0..MUCH >> 20).for_each(|_| stream.write_all(&part).unwrap());
    });
    let handle = guest.connect((HOST, port));
    let begun = Instant::now();
    let mut all = 0;
    guest.until("the end", |guest| {
        let socket = guest.socket(handle);
        while socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), all += bytes.len())).unwrap();
        }
        (!socket.may_recv()).then_some(())
    });
    assert_eq!(all, MUCH);
    println!("download {:.0} MB/s", MUCH as f64 / 1e6 / begun.elapsed().as_secs_f64());
    thread.join().unwrap();
    let (port, thread) = server(|mut stream| {
        let mut part = vec![0; 1 << 20];
        while stream.read(&mut part).unwrap() > 0 {}
    });
    let handle = guest.connect((HOST, port));
    let begun = Instant::now();
    let part = vec![7; 1 << 20];
    for _ in 0..MUCH >> 20 {
        guest.write(handle, &part);
    }
    guest.socket(handle).close();
    guest.until("the end", |_| thread.is_finished().then_some(()));
    println!("upload {:.0} MB/s", MUCH as f64 / 1e6 / begun.elapsed().as_secs_f64());
}
