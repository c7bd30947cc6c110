//! A guest in miniature on the other end of the cable: its TCP is smoltcp's, the rest is written by hand.

mod flows;
mod hostile;
mod lan;
mod names;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use devices_core::Waker;
use devices_core::net::{NetBackend, Offload, Offloads, gso};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Checksum, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant as Moment;
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint, IpListenEndpoint};

use super::link::{LINK_LOCAL, Mac, mac_v4};
use super::packet::{
    self, ICMPV6, IPV4_HEADER, IPV6_HEADER, Ip, TCP, UDP, checksum, checksum_with, put16, u16_at,
};
use super::{Prepared, User, UserOptions, prepare};
use crate::net::vnet::complete;

pub const MAC: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
pub const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
pub const IP6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0x15);
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 2);

/// A hang is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// The words of `-netdev user`, read.
pub fn options(text: &str) -> UserOptions {
    let words = text.split(',').filter(|word| !word.is_empty());
    let pairs = words.map(|word| word.split_once('=').unwrap());
    UserOptions::parse(&pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect::<Vec<_>>()).unwrap()
}

pub fn prepared(text: &str) -> Prepared {
    prepare(&options(text)).unwrap()
}

/// Set when the card is woken.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

/// Packets in and out of the guest's TCP.
#[derive(Default)]
struct Wire {
    inward: Vec<Vec<u8>>,
    outward: Vec<Vec<u8>>,
    limit: usize,
    /// The card is left checksums and segments, and leaves its own.
    offloads: bool,
}

struct Received(Vec<u8>);
struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}
impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}
impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;
    fn receive(&mut self, _now: Moment) -> Option<(Received, Sending<'_>)> {
        if self.inward.is_empty() {
            return None;
        }
        Some((Received(self.inward.remove(0)), Sending(&mut self.outward)))
    }
    fn transmit(&mut self, _now: Moment) -> Option<Sending<'_>> {
        (self.outward.len() < self.limit).then_some(Sending(&mut self.outward))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        if self.offloads {
            capabilities.checksum.tcp = Checksum::None;
            capabilities.segmentation.tcpv4 = NonZeroUsize::new(65_535);
        }
        capabilities
    }
}

pub struct Guest {
    pub user: Arc<User>,
    bell: Arc<Bell>,
    wire: Wire,
    interface: Interface,
    pub sockets: SocketSet<'static>,
    start: Instant,
    /// What came that is neither TCP nor a question about our own address.
    pub frames: Vec<Vec<u8>>,
    /// Packets that were more than one frame: to the guest, from it.
    pub large: [usize; 2],
    port: u16,
}

impl Guest {
    pub fn new(text: &str) -> Guest {
        Guest::with(prepared(text))
    }

    /// One whose network is prepared.
    pub fn with(prepared: Prepared) -> Guest {
        Guest::of(prepared, false)
    }

    /// One whose card is left checksums and segments, and leaves its own.
    pub fn with_offloads(text: &str) -> Guest {
        let guest = Guest::of(prepared(text), true);
        assert_eq!(guest.user.offloads(), Offloads::ALL);
        guest.user.set_offloads(Offloads::ALL);
        guest
    }

    fn of(prepared: Prepared, offloads: bool) -> Guest {
        let bell = Arc::new(Bell::default());
        let its = bell.clone();
        let waker = Waker::calling(move |_| {
            *its.rung.lock().unwrap() = true;
            its.changed.notify_all();
        });
        let user = prepared.start(waker, 0).unwrap();
        let mut wire = Wire { limit: 64, offloads, ..Wire::default() };
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut wire, Moment::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IP.into(), 24)).unwrap();
            addresses.push(IpCidr::new(IP6.into(), 64)).unwrap();
        });
        let start = Instant::now();
        let sockets = SocketSet::new(Vec::new());
        let (frames, large) = (Vec::new(), [0; 2]);
        Guest { user, bell, wire, interface, sockets, start, frames, large, port: 40_000 }
    }

    /// Sends a frame; waits while there is no room.
    pub fn send(&mut self, frame: &[u8]) {
        self.send_with(frame, Offload::default());
    }

    /// The same with what is left to be done to it.
    pub fn send_with(&mut self, frame: &[u8], left: Offload) {
        let begun = Instant::now();
        while !self.user.send_with(frame, left) {
            assert!(begun.elapsed() < PATIENCE, "no room came");
            self.wait();
        }
    }

    fn wait(&mut self) {
        let now = Moment::from_micros(self.start.elapsed().as_micros() as i64);
        let delay = self.interface.poll_delay(now, &self.sockets).map_or(5, |d| d.total_millis());
        let mut rung = self.bell.rung.lock().unwrap();
        if !*rung {
            rung = self.bell.changed.wait_timeout(rung, Duration::from_millis(delay.min(5))).unwrap().0;
        }
        *rung = false;
    }

    /// Takes frames and lets TCP work. False: nothing came.
    pub fn step(&mut self) -> bool {
        let mut frame = Vec::new();
        let mut some = false;
        // A few at a time, as a card's ring has them.
        while self.wire.inward.len() < 64 {
            let Some(left) = self.user.receive_with(&mut frame) else { break };
            some = true;
            assert!(self.wire.offloads || left.is_plain(), "{left:?}");
            self.large[0] += usize::from(left.gso_type != gso::NONE);
            if left.flags & Offload::NEEDS_CSUM != 0 {
                assert!(complete(Offload { gso_type: gso::NONE, ..left }, &mut frame));
                let whole = Ip::v4(&frame[14..]).unwrap();
                assert_eq!(checksum_with(whole.src, whole.dst, TCP, whole.payload), 0);
            }
            self.take(&frame);
        }
        let now = Moment::from_micros(self.start.elapsed().as_micros() as i64);
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        for packet in std::mem::take(&mut self.wire.outward) {
            let kind = if packet[0] >> 4 == 4 { packet::IPV4 } else { packet::IPV6 };
            let frame = ethernet(mac_v4(HOST), kind, &packet);
            let mut left = Offload::default();
            if self.wire.offloads {
                // What is in the checksum's place is for the other end to find out.
                left = Offload { flags: Offload::NEEDS_CSUM, csum_start: 34, csum_offset: 16, ..left };
            }
            if packet.len() > 1500 {
                self.large[1] += 1;
                left = Offload { gso_type: gso::TCPV4, gso_size: 1460, ..left };
            }
            self.send_with(&frame, left);
        }
        some
    }

    fn take(&mut self, frame: &[u8]) {
        assert!(frame[0] & 1 == 1 || frame[..6] == MAC, "a frame for somebody else");
        let body = &frame[14..];
        match u16_at(frame, 12) {
            packet::IPV4 if body[9] == TCP => self.wire.inward.push(body.to_vec()),
            packet::IPV6 if body[6] == TCP => self.wire.inward.push(body.to_vec()),
            packet::ARP if u16_at(body, 6) == 1 && body[24..28] == IP.octets() => {
                self.send(&arp(2, IP, HOST));
            }
            _ => self.frames.push(frame.to_vec()),
        }
    }

    /// Works until something is so.
    pub fn until<R>(&mut self, what: &str, mut so: impl FnMut(&mut Guest) -> Option<R>) -> R {
        let begun = Instant::now();
        loop {
            let some = self.step();
            if let Some(result) = so(self) {
                return result;
            }
            assert!(begun.elapsed() < PATIENCE, "{what} did not come");
            if !some {
                self.wait();
            }
        }
    }

    /// The next frame that `pick` wants.
    pub fn frame<R>(&mut self, what: &str, mut pick: impl FnMut(&[u8]) -> Option<R>) -> R {
        self.until(what, |guest| {
            let at = guest.frames.iter().position(|frame| pick(frame).is_some())?;
            pick(&guest.frames.remove(at))
        })
    }

    pub fn udp(&mut self, port: u16, to: SocketAddr, payload: &[u8]) {
        let from = match to {
            SocketAddr::V4(_) => SocketAddr::new(IP.into(), port),
            SocketAddr::V6(_) => SocketAddr::new(IP6.into(), port),
        };
        for frame in datagrams(from, to, payload) {
            self.send(&frame);
        }
    }

    /// The next datagram to a port: who sent it, and what.
    pub fn datagram(&mut self, port: u16) -> (SocketAddr, Vec<u8>) {
        let mut pieces = super::reassembly::Reassembly::default();
        self.until("a datagram", |guest| {
            let mut index = 0;
            while index < guest.frames.len() {
                if let Some((from, to, payload)) = read_udp(&guest.frames[index], &mut pieces) {
                    guest.frames.remove(index);
                    if to.port() == port {
                        return Some((from, payload));
                    }
                } else if is_piece(&guest.frames[index]) {
                    guest.frames.remove(index);
                } else {
                    index += 1;
                }
            }
            None
        })
    }

    pub fn tcp(&mut self) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; 128 << 10]);
        self.sockets.add(Socket::new(buffer(), buffer()))
    }

    /// Begins a connection.
    pub fn dial(&mut self, to: impl Into<IpEndpoint>) -> SocketHandle {
        let handle = self.tcp();
        self.port += 1;
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        socket.connect(self.interface.context(), to.into(), self.port).unwrap();
        handle
    }

    pub fn connect(&mut self, to: impl Into<IpEndpoint>) -> SocketHandle {
        let handle = self.dial(to);
        self.until("a connection", |guest| (guest.state(handle) == State::Established).then_some(()));
        handle
    }

    pub fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.tcp();
        let at = IpListenEndpoint { addr: None, port };
        self.sockets.get_mut::<Socket<'_>>(handle).listen(at).unwrap();
        handle
    }

    pub fn socket(&mut self, handle: SocketHandle) -> &mut Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub fn state(&mut self, handle: SocketHandle) -> State {
        self.socket(handle).state()
    }

    pub fn write(&mut self, handle: SocketHandle, mut bytes: &[u8]) {
        self.until("room to write", |guest| {
            let sent = guest.socket(handle).send_slice(bytes).unwrap();
            bytes = &bytes[sent..];
            bytes.is_empty().then_some(())
        });
    }

    /// All that comes until the other end closes.
    pub fn read(&mut self, handle: SocketHandle) -> Vec<u8> {
        let mut all = Vec::new();
        self.until("the end of a stream", |guest| {
            let socket = guest.socket(handle);
            while socket.can_recv() {
                socket.recv(|bytes| (bytes.len(), all.extend_from_slice(bytes))).unwrap();
            }
            let begun = !matches!(socket.state(), State::Listen | State::SynSent | State::SynReceived);
            (begun && !socket.may_recv()).then_some(())
        });
        all
    }
}

/// Bytes that show where they were taken from.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

pub fn ethernet(to: Mac, kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend_from_slice(&MAC);
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

pub fn arp(operation: u16, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4];
    body.extend_from_slice(&operation.to_be_bytes());
    body.extend_from_slice(&MAC);
    body.extend_from_slice(&sender.octets());
    body.extend_from_slice(&[0; 6]);
    body.extend_from_slice(&target.octets());
    ethernet([0xff; 6], packet::ARP, &body)
}

/// A whole IP packet in its frame.
pub fn packet(from: IpAddr, to: IpAddr, protocol: u8, body: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut packet = vec![0; IPV4_HEADER];
            packet::write_v4(&mut packet, (from, to), protocol, IPV4_HEADER + body.len(), 7, 0);
            packet.extend_from_slice(body);
            ethernet(mac_v4(HOST), packet::IPV4, &packet)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut packet = vec![0; IPV6_HEADER];
            packet::write_v6(&mut packet, (from, to), protocol, body.len(), 255);
            packet.extend_from_slice(body);
            ethernet(super::link::MAC_V6, packet::IPV6, &packet)
        }
        _ => panic!("two families"),
    }
}

/// A datagram, in pieces if it is large.
pub fn datagrams(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<Vec<u8>> {
    let length = 8 + payload.len();
    let mut body = Vec::new();
    for word in [from.port(), to.port(), length as u16, 0] {
        body.extend_from_slice(&word.to_be_bytes());
    }
    body.extend_from_slice(payload);
    let sum = checksum_with(from.ip(), to.ip(), UDP, &body);
    put16(&mut body, 6, sum);
    let (IpAddr::V4(src), IpAddr::V4(dst), true) = (from.ip(), to.ip(), length > 1480) else {
        return vec![packet(from.ip(), to.ip(), UDP, &body)];
    };
    let parts = body.chunks(1480).enumerate().map(|(index, part)| {
        let more = u16::from((index + 1) * 1480 < length) << 13;
        let mut packet = vec![0; IPV4_HEADER];
        let bits = more | (index * 1480 / 8) as u16;
        packet::write_v4(&mut packet, (src, dst), UDP, IPV4_HEADER + part.len(), 9, bits);
        packet.extend_from_slice(part);
        ethernet(mac_v4(HOST), packet::IPV4, &packet)
    });
    parts.collect()
}

fn ip(frame: &[u8]) -> Option<Ip<'_>> {
    match u16_at(frame, 12) {
        packet::IPV4 => Ip::v4(&frame[14..]),
        packet::IPV6 => Ip::v6(&frame[14..]),
        _ => None,
    }
}

fn is_piece(frame: &[u8]) -> bool {
    ip(frame).is_some_and(|ip| ip.piece.is_some())
}

/// A datagram that came, with a right checksum.
pub fn read_udp(
    frame: &[u8],
    pieces: &mut super::reassembly::Reassembly,
) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
    let ip = ip(frame)?;
    let whole;
    let body = if ip.piece.is_some() {
        whole = pieces.add(&ip, Instant::now())?;
        &whole[..]
    } else {
        ip.payload
    };
    if ip.protocol != UDP {
        return None;
    }
    assert_eq!(checksum_with(ip.src, ip.dst, UDP, body), 0, "a wrong checksum");
    let from = SocketAddr::new(ip.src, u16_at(body, 0));
    let to = SocketAddr::new(ip.dst, u16_at(body, 2));
    Some((from, to, body[8..].to_vec()))
}

/// An echo request in its frame.
pub fn echo(to: IpAddr, ident: u16, payload: &[u8]) -> Vec<u8> {
    let (from, kind): (IpAddr, u8) = if to.is_ipv4() { (IP.into(), 8) } else { (IP6.into(), 128) };
    let mut body = vec![kind, 0, 0, 0];
    body.extend_from_slice(&ident.to_be_bytes());
    body.extend_from_slice(&[0, 1]);
    body.extend_from_slice(payload);
    if to.is_ipv4() {
        let sum = checksum(&body);
        put16(&mut body, 2, sum);
        packet(from, to, packet::ICMP, &body)
    } else {
        let sum = checksum_with(from, to, ICMPV6, &body);
        put16(&mut body, 2, sum);
        packet(from, to, ICMPV6, &body)
    }
}

/// The payload of an echo reply from that address.
pub fn echoed(frame: &[u8], from: IpAddr) -> Option<Vec<u8>> {
    let ip = ip(frame)?;
    let (protocol, kind) = if from.is_ipv4() { (packet::ICMP, 0) } else { (ICMPV6, 129) };
    if ip.src != from || ip.protocol != protocol || ip.payload[0] != kind {
        return None;
    }
    let right =
        if from.is_ipv4() { checksum(ip.payload) } else { checksum_with(ip.src, ip.dst, ICMPV6, ip.payload) };
    assert_eq!(right, 0, "a wrong checksum");
    Some(ip.payload[8..].to_vec())
}

/// An ICMPv6 message from the router's own address.
pub fn from_router(frame: &[u8], kind: u8) -> Option<Vec<u8>> {
    let ip = ip(frame)?;
    let router = ip.src == LINK_LOCAL || ip.src == HOST6;
    (router && ip.protocol == ICMPV6 && ip.payload[0] == kind).then(|| ip.payload.to_vec())
}
