//! What a guest sends into the user network: frames of every layer, with time between.

use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::sync::OnceLock;
use std::time::Duration;

use backends::net::user::{Offline, UserOptions, prepare};

use super::outcome;

/// Most frames of one run.
const FRAMES: usize = 400;
/// More than all tables hold.
const MOST: usize = 4096;

/// What the guest may reach: a folder with a file, a server that never answers, a resolver that never does.
struct Place {
    folder: tempfile::TempDir,
    _server: UnixListener,
    resolver: UdpSocket,
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("the host has a folder");
        std::fs::write(folder.path().join("f"), vec![7; 5000]).expect("it can be written");
        let server = UnixListener::bind(folder.path().join("s")).expect("it can be listened on");
        let resolver = UdpSocket::bind("127.0.0.1:0").expect("the host has a loopback");
        Place { folder, _server: server, resolver }
    })
}

/// The first byte's bit 1: IPv6 is off.
fn network(choice: u8) -> Offline {
    let place = place();
    let path = place.folder.path().display();
    let mut words = vec![
        ("tftp".to_owned(), path.to_string()),
        ("bootfile".to_owned(), "f".to_owned()),
        ("hostname".to_owned(), "vm".to_owned()),
        ("dnssearch".to_owned(), "a.test".to_owned()),
        // Nothing that is sent leaves this machine.
        ("restrict".to_owned(), "on".to_owned()),
        ("guestfwd".to_owned(), format!("tcp:10.0.2.100:80-unix:{path}/s")),
    ];
    if choice & 2 != 0 {
        words.push(("ipv6".to_owned(), "off".to_owned()));
    }
    let options = UserOptions::parse(&words).expect("the words are right");
    let resolver = place.resolver.local_addr().expect("it is bound");
    let prepared = prepare(&options).expect("there is nothing to bind").with_resolvers(&[resolver]);
    prepared.offline().expect("the host has an eventfd")
}

/// After the first byte, frames: two bytes of length and how much time passes first, then the frame. A length beyond the
/// input takes what is there.
pub fn run(bytes: &[u8]) -> u64 {
    let Some((&choice, mut rest)) = bytes.split_first() else { return 0 };
    let mut network = network(choice);
    let mut frame = Vec::new();
    let (mut answers, mut kinds) = (0usize, 0u64);
    for _ in 0..FRAMES {
        let Some((head, after)) = rest.split_at_checked(2) else { break };
        let length = usize::from(u16::from_be_bytes([head[0] & 0x0f, head[1]]));
        let (now, later) = after.split_at(length.min(after.len()));
        rest = later;
        assert!(network.send(now), "a frame was refused with nothing before it");
        // From nothing to half an hour.
        network.turn(Duration::from_millis(1 << (head[0] >> 4)) * 50);
        while network.receive(&mut frame) {
            assert!((14..=1514).contains(&frame.len()), "a frame of {} bytes", frame.len());
            assert!(frame[6] & 1 == 0, "a group as the sender");
            answers += 1;
            let protocol = if frame[12] == 8 { frame.get(23) } else { frame.get(20) };
            kinds |= 1 << (protocol.copied().unwrap_or(0) % 64);
        }
        let flows = network.flows();
        assert!(flows.flows.len() + flows.echoes + flows.files < MOST, "too many flows");
    }
    let flows = network.flows();
    let states: String = flows.flows.iter().map(|flow| flow.kind.as_str()).collect();
    outcome((choice & 2, answers.min(20), kinds, flows.files), &states)
}

fn be(value: u16) -> [u8; 2] {
    value.to_be_bytes()
}

/// A checksum over pieces, the odd byte of each filled with 0.
fn sum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks(2));
    let mut total: u32 =
        words.map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

fn ethernet(kind: u16, body: &[u8]) -> Vec<u8> {
    [&[0xff; 6][..], &MAC, &be(kind), body].concat()
}

/// An IPv4 packet whose upper layer has its checksum at `at`.
fn ipv4(to: [u8; 4], protocol: u8, bits: u16, mut body: Vec<u8>, at: Option<usize>) -> Vec<u8> {
    let from = [10, 0, 2, 15];
    if let Some(at) = at {
        let pseudo = [&from[..], &to, &[0, protocol], &be(body.len() as u16)].concat();
        let over: &[u8] = if protocol == 1 { &[] } else { &pseudo };
        let sum = sum(&[over, &body]);
        body[at..at + 2].copy_from_slice(&be(sum));
    }
    let mut head =
        [&[0x45, 0][..], &be(20 + body.len() as u16), &[0, 1], &be(bits), &[64, protocol, 0, 0]].concat();
    head.extend_from_slice(&from);
    head.extend_from_slice(&to);
    let check = sum(&[&head]);
    head[10..12].copy_from_slice(&be(check));
    ethernet(0x0800, &[head, body].concat())
}

/// A UDP datagram of the guest's from a port to another.
pub(super) fn datagram(from: u16, to: [u8; 4], port: u16, payload: &[u8]) -> Vec<u8> {
    let body = [&be(from)[..], &be(port), &be(8 + payload.len() as u16), &[0, 0], payload].concat();
    ipv4(to, 17, 0, body, Some(6))
}

fn udp(to: [u8; 4], port: u16, payload: &[u8]) -> Vec<u8> {
    datagram(68, to, port, payload)
}

fn tcp(flags: u8, sequence: u8, payload: &[u8]) -> Vec<u8> {
    let body = [
        &be(1025)[..],
        &be(80),
        &[0, 0, 0, sequence, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0],
        payload,
    ];
    ipv4([10, 0, 2, 100], 6, 0, body.concat(), Some(16))
}

/// An ICMPv6 packet of a link-local address.
fn icmp_v6(kind: u8, rest: &[u8]) -> Vec<u8> {
    let from = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x15];
    let to = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    let mut body = [&[kind, 0, 0, 0][..], rest].concat();
    let length = be(body.len() as u16);
    let check = sum(&[&from, &to, &length, &[0, 58], &body]);
    body[2..4].copy_from_slice(&be(check));
    ethernet(0x86dd, &[&[0x60, 0, 0, 0][..], &length, &[58, 255], &from, &to, &body].concat())
}

fn dhcp(kind: u8) -> Vec<u8> {
    let mut body = vec![0; 236];
    body[..3].copy_from_slice(&[1, 1, 6]);
    body[28..34].copy_from_slice(&MAC);
    body.extend_from_slice(&[0x63, 0x82, 0x53, 0x63, 53, 1, kind, 255]);
    udp([255; 4], 67, &body)
}

pub fn seeds() -> Vec<Vec<u8>> {
    let host = [10, 0, 2, 2];
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &MAC, &[10, 0, 2, 15], &[0; 6], &host].concat();
    let echo = || vec![8, 0, 0, 0, 0, 1, 0, 1, b'x', b'y'];
    let neighbour = [&[0; 4][..], &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]].concat();
    let groups: [Vec<Vec<u8>>; 6] = [
        vec![ethernet(0x0806, &arp), dhcp(1), dhcp(3)],
        vec![ipv4(host, 1, 0, echo(), Some(2)), icmp_v6(128, &[0, 1, 0, 1, 9]), icmp_v6(133, &[0; 4])],
        vec![icmp_v6(135, &neighbour), udp(host, 53, b"name"), udp([10, 0, 2, 3], 53, b"name")],
        vec![
            udp(host, 69, b"\0\x01f\0octet\0blksize\x00100\0tsize\x000\0"),
            udp(host, 69, &[0, 4, 0, 0]),
            udp(host, 69, &[0, 4, 0, 1]),
        ],
        vec![tcp(2, 1, b""), tcp(0x18, 2, b"GET"), tcp(0x11, 5, b""), tcp(4, 6, b"")],
        vec![ipv4(host, 17, 0x2000, vec![1; 64], None), ipv4(host, 17, 8, vec![2; 33], None)],
    ];
    let frames = |group: &Vec<Vec<u8>>| {
        group.iter().flat_map(|frame| [&be(frame.len() as u16)[..], frame].concat()).collect::<Vec<u8>>()
    };
    let mut seeds: Vec<Vec<u8>> = groups.iter().map(|group| [vec![0], frames(group)].concat()).collect();
    seeds.push([vec![2], groups.iter().flat_map(frames).collect()].concat());
    seeds
}
