//! DHCP and BOOTP for IPv4 (RFC 2131, 951), and DHCPv6's Information-Request (RFC 8415).
//!
//! DISCOVER and REQUEST are answered, always to everybody; a message without a type is BOOTP's and is answered like
//! a REQUEST. INFORM, RELEASE and DECLINE are met with silence, as by libslirp. Sixteen addresses are leased, by MAC;
//! the lease that was asked for longest ago gives way to a seventeenth station.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::link::{Link, Mac};
use super::options::{Ipv4Options, LEASES};
use super::packet::{UDP, checksum_with, put16, u32_at};

pub(super) const SERVER: u16 = 67;
const CLIENT: u16 = 68;
pub(super) const SERVER_V6: u16 = 547;

/// BOOTP's part that libslirp sends, with the options.
const LENGTH: usize = 548;
const OPTIONS: usize = 236;
const MAGIC: u32 = 0x6382_5363;
const LEASE_SECONDS: u32 = 86_400;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// Who has which address: a slot an address, from the first that is leased.
#[derive(Default)]
pub(super) struct Leases {
    /// (slot, station), the one that asked last is last.
    taken: Vec<(u32, Mac)>,
}

impl Leases {
    fn of(&self, mac: Mac) -> Option<u32> {
        self.taken.iter().find(|lease| lease.1 == mac).map(|lease| lease.0)
    }
    fn free(&self, slot: u32) -> bool {
        self.taken.iter().all(|lease| lease.0 != slot)
    }
    fn take(&mut self, slot: u32, mac: Mac) {
        self.taken.retain(|lease| lease.0 != slot && lease.1 != mac);
        self.taken.push((slot, mac));
    }
    /// The station's own, a free one, or the oldest.
    fn fresh(&mut self, v4: &Ipv4Options, mac: Mac) -> Option<u32> {
        let usable = |slot: u32| address(v4, slot).is_some();
        let free = || (0..LEASES).find(|slot| usable(*slot) && self.free(*slot));
        let slot = self.of(mac).or_else(free).or_else(|| self.taken.first().map(|lease| lease.0))?;
        self.take(slot, mac);
        Some(slot)
    }
}

/// The address of a slot, where it is one of the network's for guests.
fn address(v4: &Ipv4Options, slot: u32) -> Option<Ipv4Addr> {
    let address = Ipv4Addr::from_bits(v4.dhcp_start.to_bits().checked_add(slot)?);
    let good = v4.contains(address) && ![v4.host, v4.dns, v4.broadcast()].contains(&address);
    good.then_some(address)
}

fn slot(v4: &Ipv4Options, asked: Ipv4Addr) -> Option<u32> {
    let slot = asked.to_bits().checked_sub(v4.dhcp_start.to_bits()).filter(|slot| *slot < LEASES)?;
    address(v4, slot).map(|_| slot)
}

/// What a client says.
#[derive(Default)]
struct Asked {
    kind: Option<u8>,
    address: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
}

fn read(body: &[u8]) -> Asked {
    let mut asked = Asked::default();
    if body.len() < OPTIONS + 4 || u32_at(body, OPTIONS) != MAGIC {
        return asked;
    }
    let mut rest = &body[OPTIONS + 4..];
    while let Some((&code, after)) = rest.split_first() {
        match code {
            0 => {
                rest = after;
                continue;
            }
            255 => break,
            _ => {}
        }
        let Some((&length, after)) = after.split_first() else { break };
        let Some((value, after)) = after.split_at_checked(usize::from(length)) else { break };
        match (code, value.len()) {
            (53, 1) => asked.kind = Some(value[0]),
            (50, 4) => asked.address = Some(Ipv4Addr::from_bits(u32_at(value, 0))),
            (54, 4) => asked.server = Some(Ipv4Addr::from_bits(u32_at(value, 0))),
            _ => {}
        }
        rest = after;
    }
    asked
}

impl Leases {
    /// Takes a message to port 67.
    pub(super) fn input(&mut self, link: &mut Link, body: &[u8]) {
        let Some(v4) = link.options.ipv4 else { return };
        // A request (1) of an Ethernet station.
        if body.len() < OPTIONS || body[0] != 1 || (body[1], body[2]) != (1, 6) {
            return;
        }
        let mut mac = [0; 6];
        mac.copy_from_slice(&body[28..34]);
        if mac[0] & 1 != 0 {
            return;
        }
        let asked = read(body);
        if !matches!(asked.kind, None | Some(DISCOVER | REQUEST)) {
            return;
        }
        let given = self.choose(&v4, mac, &asked, Ipv4Addr::from_bits(u32_at(body, 12)));
        let reply = match (asked.kind, given) {
            // Another server was chosen, or there is nothing to give.
            (_, Err(Refusal::Silent)) => return,
            (Some(DISCOVER), Ok(slot)) => (Some(OFFER), slot),
            (Some(_), Ok(slot)) => (Some(ACK), slot),
            (None, Ok(slot)) => (None, slot),
            (_, Err(Refusal::Nak)) => return send(link, &v4, &nak(&v4, body)),
        };
        let Some(given) = address(&v4, reply.1) else { return };
        link.learn(IpAddr::V4(given), mac);
        let message = message(link, &v4, body, reply.0, given);
        send(link, &v4, &message);
    }

    fn choose(&mut self, v4: &Ipv4Options, mac: Mac, asked: &Asked, has: Ipv4Addr) -> Result<u32, Refusal> {
        let fits = |leases: &Leases, slot: u32| leases.free(slot) || leases.of(mac) == Some(slot);
        if asked.kind == Some(DISCOVER) {
            let wish = asked.address.and_then(|address| slot(v4, address));
            if let Some(slot) = wish.filter(|slot| self.of(mac).is_none() && fits(self, *slot)) {
                self.take(slot, mac);
                return Ok(slot);
            }
            return self.fresh(v4, mac).ok_or(Refusal::Silent);
        }
        if asked.server.is_some_and(|server| server != v4.host) {
            return Err(Refusal::Silent);
        }
        let wanted = asked.address.or_else(|| (!has.is_unspecified()).then_some(has));
        match wanted {
            // BOOTP asks for nothing, and says what it has only to be found.
            Some(address) if asked.kind.is_some() => match slot(v4, address) {
                Some(slot) if fits(self, slot) => {
                    self.take(slot, mac);
                    Ok(slot)
                }
                _ => Err(Refusal::Nak),
            },
            _ => self.fresh(v4, mac).ok_or(Refusal::Silent),
        }
    }
}

enum Refusal {
    Silent,
    Nak,
}

fn option(to: &mut Vec<u8>, code: u8, value: &[u8]) {
    // An option is at most 255 bytes, and the whole stays within what a client must take.
    let value = &value[..value.len().min(255)];
    if to.len() + 2 + value.len() < 1024 {
        to.extend_from_slice(&[code, value.len() as u8]);
        to.extend_from_slice(value);
    }
}

/// What every answer begins with.
fn head(v4: &Ipv4Options, request: &[u8]) -> Vec<u8> {
    let mut to = vec![0; OPTIONS];
    to[..3].copy_from_slice(&[2, 1, 6]);
    // Transaction, seconds, flags.
    to[4..12].copy_from_slice(&request[4..12]);
    to[20..24].copy_from_slice(&v4.host.octets());
    to[28..44].copy_from_slice(&request[28..44]);
    to.extend_from_slice(&MAGIC.to_be_bytes());
    to
}

fn nak(v4: &Ipv4Options, request: &[u8]) -> Vec<u8> {
    let mut to = head(v4, request);
    to[20..24].fill(0);
    option(&mut to, 53, &[NAK]);
    option(&mut to, 54, &v4.host.octets());
    option(&mut to, 56, b"requested address not available");
    to.push(255);
    to
}

fn message(link: &Link, v4: &Ipv4Options, request: &[u8], kind: Option<u8>, given: Ipv4Addr) -> Vec<u8> {
    let options = &link.options;
    let mut to = head(v4, request);
    to[16..20].copy_from_slice(&given.octets());
    if let Some(file) = &options.bootfile {
        to[108..108 + file.len()].copy_from_slice(file.as_bytes());
    }
    if let Some(kind) = kind {
        option(&mut to, 53, &[kind]);
        option(&mut to, 54, &v4.host.octets());
    }
    option(&mut to, 1, &v4.mask.octets());
    if !options.restrict {
        option(&mut to, 3, &v4.host.octets());
        option(&mut to, 6, &v4.dns.octets());
    }
    if kind.is_some() {
        option(&mut to, 51, &LEASE_SECONDS.to_be_bytes());
    }
    if let Some(name) = &options.hostname {
        option(&mut to, 12, name.as_bytes());
    }
    if let Some(name) = &options.domainname {
        option(&mut to, 15, name.as_bytes());
    }
    if let Some(name) = &options.tftp_server_name {
        option(&mut to, 66, name.as_bytes());
    }
    // UEFI's HTTP boot takes a server only that says it is one.
    if options.bootfile.as_ref().is_some_and(|file| file.starts_with("http://")) {
        option(&mut to, 60, b"HTTPClient");
    }
    let search = domains(&options.dnssearch);
    for part in search.chunks(255) {
        option(&mut to, 119, part);
    }
    to.push(255);
    to
}

/// Names as DNS writes them (RFC 1035), one after the other.
fn domains(names: &[String]) -> Vec<u8> {
    let mut to = Vec::new();
    for name in names {
        for label in name.split('.').filter(|label| !label.is_empty()) {
            let label = &label.as_bytes()[..label.len().min(63)];
            to.push(label.len() as u8);
            to.extend_from_slice(label);
        }
        to.push(0);
    }
    to
}

fn send(link: &mut Link, v4: &Ipv4Options, message: &[u8]) {
    let from = SocketAddr::new(v4.host.into(), SERVER);
    let to = SocketAddr::new(Ipv4Addr::BROADCAST.into(), CLIENT);
    let mut body = message.to_vec();
    if body.len() < LENGTH {
        body.resize(LENGTH, 0);
    }
    udp(link, from, to, &body);
}

/// Sends a UDP packet to the guest.
pub(super) fn udp(link: &mut Link, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
    let length = 8 + payload.len();
    if length > 65_535 {
        return;
    }
    let mut body = Vec::with_capacity(length);
    for word in [from.port(), to.port(), length as u16, 0] {
        body.extend_from_slice(&word.to_be_bytes());
    }
    body.extend_from_slice(payload);
    let sum = checksum_with(from.ip(), to.ip(), UDP, &body);
    // 0 would say that there is none.
    put16(&mut body, 6, if sum == 0 { 0xffff } else { sum });
    link.datagram(from.ip(), to.ip(), UDP, &body);
}

/// DHCPv6 at ff02::1:2 or our own address: tells name servers, domains and the boot file, and leases nothing.
pub(super) fn input_v6(link: &mut Link, guest: SocketAddr, body: &[u8]) {
    const INFORMATION_REQUEST: u8 = 11;
    const REPLY: u8 = 7;
    let Some(v6) = link.options.ipv6 else { return };
    if body.len() < 4 || body[0] != INFORMATION_REQUEST {
        return;
    }
    let (mut client, mut boot, mut rest) = (None, false, &body[4..]);
    while let Some((head, after)) = rest.split_at_checked(4) {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let Some((value, after)) = after.split_at_checked(length) else { return };
        match u16::from_be_bytes([head[0], head[1]]) {
            1 if length <= 130 => client = Some(value),
            6 => boot = value.chunks_exact(2).any(|code| code == [0, 59]),
            _ => {}
        }
        rest = after;
    }
    let mut to = vec![REPLY, body[1], body[2], body[3]];
    let mut put = |code: u16, value: &[u8]| {
        to.extend_from_slice(&code.to_be_bytes());
        to.extend_from_slice(&(value.len() as u16).to_be_bytes());
        to.extend_from_slice(value);
    };
    if let Some(client) = client {
        put(1, client);
    }
    // The server's name: by its station (DUID-LL).
    put(2, &[0, 3, 0, 1, 0x52, 0x56, 0, 0, 0, 2]);
    if !link.options.restrict {
        put(23, &v6.dns.octets());
    }
    let search = domains(&link.options.dnssearch);
    if !search.is_empty() && search.len() < 1024 {
        put(24, &search);
    }
    if let Some(file) = link.options.bootfile.as_ref().filter(|_| boot) {
        let url = if file.contains("://") { file.clone() } else { format!("tftp://[{}]/{file}", v6.host) };
        put(59, url.as_bytes());
    }
    let from: Ipv6Addr = super::link::LINK_LOCAL;
    udp(link, SocketAddr::new(from.into(), SERVER_V6), guest, &to);
}
