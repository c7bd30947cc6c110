//! Names: what resolvers that are slow, dead or at a loss mean for the guest.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::thread;

use super::super::Offline;
use super::super::reassembly::Reassembly;
use super::*;

#[test]
fn names_are_asked_of_the_hosts_resolver() {
    let resolver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = resolver.local_addr().unwrap();
    let listener = TcpListener::bind(address).unwrap();
    let thread = thread::spawn(move || {
        let mut buffer = [0; 512];
        let (read, from) = resolver.recv_from(&mut buffer).unwrap();
        buffer[2] = 0x80;
        resolver.send_to(&buffer[..read], from).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"by TCP").unwrap();
    });
    let mut guest = Guest::with(prepared("").with_resolvers(&[address]));
    let dns = SocketAddr::new(DNS.into(), 53);
    // Another port of the name server's: silence.
    guest.udp(6000, SocketAddr::new(DNS.into(), 54), b"lost");
    guest.udp(6000, dns, b"ab\0question");
    assert_eq!(guest.datagram(6000), (dns, b"ab\x80question".to_vec()));
    let handle = guest.connect((DNS, 53));
    assert_eq!(guest.read(handle), b"by TCP");
    thread.join().unwrap();
}

/// A resolver that answers with its number behind the question.
fn resolver(number: u8) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((read, from)) = socket.recv_from(&mut buffer) {
            buffer[read] = number;
            socket.send_to(&buffer[..=read], from).unwrap();
        }
    });
    address
}

#[test]
fn a_resolver_that_refuses_is_passed_over() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut guest = Guest::with(prepared("").with_resolvers(&[closed, closed, resolver(3)]));
    let dns = SocketAddr::new(DNS.into(), 53);
    guest.udp(6000, dns, b"one");
    assert_eq!(guest.datagram(6000), (dns, b"one\x03".to_vec()));
    // The one that has answered is asked first from now on.
    guest.udp(6001, dns, b"two");
    assert_eq!(guest.datagram(6001), (dns, b"two\x03".to_vec()));
    // Nobody is there: the guest is told so, for each of its questions.
    let mut guest = Guest::with(prepared("").with_resolvers(&[closed, closed]));
    for id in 1..=3 {
        guest.udp(6000, dns, &question(id));
    }
    let mut failed: Vec<Vec<u8>> = (0..3).map(|_| guest.datagram(6000).1).collect();
    failed.sort();
    let expected = [1, 2, 3].map(|id| [&[0, id, 0x81, 0x82], &question(id)[4..]].concat());
    assert_eq!(failed, expected);
    // What is no question is not answered, and there is no end of asking.
    guest.udp(6000, dns, b"one");
    guest.udp(6000, SocketAddr::new(HOST.into(), 7), b"meanwhile");
}

/// A question of that number for a name's address.
fn question(id: u8) -> Vec<u8> {
    [&[0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x04name\x04test\0", &[0, 1, 0, 1]].concat()
}

/// A guest's questions to a network whose time the test moves, and the resolvers.
struct Asking<const COUNT: usize> {
    network: Offline,
    resolvers: [UdpSocket; COUNT],
}

impl<const COUNT: usize> Asking<COUNT> {
    fn new() -> Asking<COUNT> {
        let resolvers = [(); COUNT].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let addresses = resolvers.each_ref().map(|resolver| resolver.local_addr().unwrap());
        for resolver in &resolvers {
            resolver.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Asking { network: prepared("").with_resolvers(&addresses).offline().unwrap(), resolvers }
    }
    fn ask(&mut self, port: u16, text: &[u8]) {
        let from = SocketAddr::new(IP.into(), port);
        for frame in datagrams(from, SocketAddr::new(DNS.into(), 53), text) {
            assert!(self.network.send(&frame));
        }
        self.network.turn(Duration::ZERO);
    }
    fn pass(&mut self, milliseconds: u64) {
        self.network.turn(Duration::from_millis(milliseconds));
    }
    /// Sends an answer and lets it come.
    fn answer(&mut self, resolver: usize, to: SocketAddr, text: &[u8]) {
        self.resolvers[resolver].send_to(text, to).unwrap();
        self.pass(0);
    }
    /// The next question to a resolver.
    fn asked(&self, resolver: usize) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2048];
        let (len, from) = self.resolvers[resolver].recv_from(&mut buffer).unwrap();
        (buffer[..len].to_vec(), from)
    }
    /// On the loopback what was sent is there at once.
    fn nothing_asked(&self, resolver: usize) -> bool {
        let resolver = &self.resolvers[resolver];
        resolver.set_nonblocking(true).unwrap();
        let nothing = resolver.recv(&mut [0; 16]).is_err();
        resolver.set_nonblocking(false).unwrap();
        nothing
    }
    /// What has come to the guest, but for what it is asked about its own address.
    fn came(&mut self) -> Vec<Vec<u8>> {
        let (mut frame, mut came) = (Vec::new(), Vec::new());
        while self.network.receive(&mut frame) {
            if u16_at(&frame, 12) == packet::ARP {
                assert!(self.network.send(&arp(2, IP, HOST)));
                self.network.turn(Duration::ZERO);
            } else if let Some((from, _, text)) = read_udp(&frame, &mut Reassembly::default()) {
                assert_eq!(from, SocketAddr::new(DNS.into(), 53));
                came.push(text);
            }
        }
        came
    }
}

#[test]
fn a_resolver_that_is_dead_is_waited_for_a_second() {
    let mut asking = Asking::<3>::new();
    // As glibc asks: for A and AAAA, from one port.
    asking.ask(6000, &question(1));
    asking.ask(6000, &question(2));
    for id in [1, 2] {
        assert_eq!(asking.asked(0).0, question(id));
    }
    asking.pass(999);
    assert!(asking.nothing_asked(1));
    assert_eq!(asking.network.wait(), Some(Duration::from_millis(1)));
    asking.pass(1);
    let (text, from) = asking.asked(1);
    assert_eq!((text, asking.asked(1).0), (question(1), question(2)));
    asking.pass(999);
    asking.answer(1, from, b"\0\x02 second");
    assert_eq!(asking.came(), [b"\0\x02 second"]);
    // The third is asked what has no answer yet, and that is all.
    asking.pass(1);
    let (text, third) = asking.asked(2);
    assert_eq!(text, question(1));
    assert!(asking.nothing_asked(2));
    asking.pass(5000);
    assert!([0, 1, 2].iter().all(|resolver| asking.nothing_asked(*resolver)));
    // The answer of a slow one comes, and another one after it.
    asking.answer(1, from, b"\0\x01 first");
    asking.answer(2, third, b"\0\x01 third");
    assert_eq!(asking.came(), [&b"\0\x01 first"[..], b"\0\x01 third"]);
    // Who answered first is asked first, from any port.
    asking.ask(6001, &question(3));
    assert_eq!(asking.asked(1).0, question(3));
    // All is forgotten in the end.
    assert_eq!(asking.network.flows().flows.len(), 2);
    asking.pass(11_000);
    asking.pass(1000);
    assert_eq!(asking.network.flows().flows.len(), 0);
    assert!(asking.nothing_asked(0));
    assert!(asking.network.wait().is_none_or(|wait| wait > Duration::from_secs(1)));
}

#[test]
fn a_resolver_that_cannot_say_is_passed_over() {
    let mut asking = Asking::<2>::new();
    let answer = |id: u8, code: u8| [&[0, id, 0x81, 0x80 | code], &question(id)[4..]].concat();
    for (id, code) in [(1, 2), (2, 4), (3, 5)] {
        asking.ask(6000, &question(id));
        let (text, from) = asking.asked(0);
        assert_eq!(text, question(id));
        asking.answer(0, from, &answer(id, code));
        assert!(asking.came().is_empty());
        let (text, from) = asking.asked(1);
        assert_eq!(text, question(id));
        // If the last cannot either, the guest learns that.
        asking.answer(1, from, &answer(id, 2));
        assert_eq!(asking.came(), [answer(id, 2)]);
    }
    // There is no such name: that is an answer.
    asking.ask(6000, &question(4));
    let (_, from) = asking.asked(0);
    asking.answer(0, from, &answer(4, 3));
    assert_eq!(asking.came(), [answer(4, 3)]);
    assert!(asking.nothing_asked(1));
}

#[test]
fn a_flood_of_questions_has_an_end() {
    let mut asking = Asking::<2>::new();
    // Beyond the bound, and of any length: each is asked once, and of one resolver.
    for number in 0..2000u16 {
        let mut text = question(0);
        text[..2].copy_from_slice(&number.to_be_bytes());
        text.resize(if number % 2 == 0 { 40 } else { 1400 }, 0);
        asking.ask(1000 + number % 600, &text);
    }
    let ports = asking.network.flows().flows.len();
    assert!((4..=256).contains(&ports), "{ports}");
    // Nobody else waits: what is answered meanwhile comes.
    let mut last = None;
    asking.resolvers[0].set_nonblocking(true).unwrap();
    while let Ok((len, from)) = asking.resolvers[0].recv_from(&mut [0; 2048]) {
        last = Some((len, from));
    }
    let (_, from) = last.unwrap();
    asking.answer(0, from, b"\0\0 late");
    asking.pass(1000);
    let mut again = 0;
    asking.resolvers[1].set_nonblocking(true).unwrap();
    while asking.resolvers[1].recv(&mut [0; 2048]).is_ok() {
        again += 1;
    }
    assert!((1..=512).contains(&again), "{again}");
}

#[test]
fn a_question_that_is_asked_again_goes_to_the_next_resolver() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let resolvers = [silent.local_addr().unwrap(), resolver(2)];
    let mut guest = Guest::with(prepared("").with_resolvers(&resolvers));
    let dns = SocketAddr::new(DNS.into(), 53);
    guest.udp(6000, dns, b"one");
    let mut buffer = [0; 16];
    assert_eq!(silent.recv(&mut buffer).unwrap(), 3);
    guest.udp(6000, dns, b"one");
    assert_eq!(guest.datagram(6000), (dns, b"one\x02".to_vec()));
    guest.udp(6000, dns, b"two");
    assert_eq!(guest.datagram(6000), (dns, b"two\x02".to_vec()));
    guest.udp(6001, dns, b"three");
    assert_eq!(guest.datagram(6001), (dns, b"three\x02".to_vec()));
    silent.set_nonblocking(true).unwrap();
    assert!(silent.recv(&mut buffer).is_err(), "asked again");
}

#[test]
fn name_servers_are_those_of_resolv_conf() {
    let of = |text: &str| {
        super::super::resolvers(text).iter().map(|address| address.ip().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of("# none\nsearch example.org\n"), ["127.0.0.1"]);
    assert_eq!(
        of("nameserver 192.0.2.1\nnameserver nonsense\n nameserver\tfec0::1 # second\noptions x\n\
            nameserver 192.0.2.3\nnameserver 192.0.2.4\n"),
        ["192.0.2.1", "fec0::1", "192.0.2.3"]
    );
}
