//! Which pair a frame is for, and what is reported of its hash (Virtio 1.3, 5.1.6.4.3, 5.1.6.5.7, 5.1.6.5.8).

use serde::{Deserialize, Serialize};

use super::spec::{hash_report, hash_type, rss};
use crate::net::packet::{Ip, Packet, Transport, toeplitz};

/// Ethernet type of the usual tags.
const TAG: u16 = 0x8100;

/// What the driver has said of hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hashing {
    types: u32,
    /// Pairs by hash, as many as a power of two; none: the hash is only reported.
    table: Vec<u16>,
    /// The pair of a frame that has no hash.
    unclassified: u16,
    #[serde(with = "serde_bytes")]
    key: Vec<u8>,
}

/// A command that says it.
pub(super) struct Said {
    /// None: there are to be no hashes.
    pub hashing: Option<Hashing>,
    /// How many pairs are to be in use.
    pub pairs: u16,
}

/// What was found out of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub hash: u32,
    /// Of which kind it is.
    pub report: u16,
}

/// Numbers of a command, one by one.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn word(&mut self) -> Option<u16> {
        self.number().map(u16::from_le_bytes)
    }
}

impl Hashing {
    /// RSS_CONFIG of a card with so many pairs; none: it makes no sense.
    pub(super) fn of_rss(data: &[u8], pairs: u16) -> Option<Said> {
        let mut fields = Fields(data);
        let types = fields.number().map(u32::from_le_bytes)?;
        let entries = usize::from(fields.word()?) + 1;
        let unclassified = fields.word()?;
        if !entries.is_power_of_two() || entries > rss::TABLE.into() || unclassified >= pairs {
            return None;
        }
        let table = (0..entries).map(|_| fields.word()).collect::<Option<Vec<u16>>>()?;
        let wanted = fields.word().filter(|wanted| (1..=pairs).contains(wanted))?;
        let key = key(&mut fields, types)?;
        let hashing = key.map(|key| Hashing { types, table, unclassified, key });
        Some(Said { hashing, pairs: wanted })
    }

    /// HASH_CONFIG while so many pairs are in use.
    pub(super) fn of_report(data: &[u8], in_use: u16) -> Option<Said> {
        let mut fields = Fields(data);
        let types = fields.number().map(u32::from_le_bytes)?;
        // Reserved, so that the key is where the other command would have it with one entry.
        fields.bytes(8)?;
        let key = key(&mut fields, types)?;
        let hashing = key.map(|key| Hashing { types, table: Vec::new(), unclassified: 0, key });
        Some(Said { hashing, pairs: in_use })
    }

    /// Whether a saved one can be.
    pub(super) fn is_sound(&self) -> bool {
        let Hashing { types: _, table, unclassified: _, key } = self;
        let whole = table.is_empty() || table.len().is_power_of_two();
        whole && table.len() <= rss::TABLE.into() && key.len() <= rss::KEY.into()
    }

    /// Whether frames go where their hashes say.
    pub(super) fn spreads(&self) -> bool {
        !self.table.is_empty()
    }

    /// The pair of a frame, of so many that are in use.
    pub(super) fn pair(&self, found: Found, in_use: u16) -> u16 {
        let place = found.hash as usize & self.table.len().wrapping_sub(1);
        let pair = match found.report {
            hash_report::NONE => self.unclassified,
            _ => self.table.get(place).copied().unwrap_or(0),
        };
        // The table may name pairs that are not in use.
        pair % in_use.max(1)
    }

    /// Looks at a frame.
    pub(super) fn look_at(&self, frame: &[u8]) -> Found {
        let packet = Packet::of(frame, TAG);
        let has = |kind: u32| self.types & kind != 0;
        let is = |transport: &Option<Transport>, tcp: bool| match transport {
            Some(Transport::Tcp { .. }) => tcp,
            Some(Transport::Udp) => !tcp,
            None => false,
        };
        let (tcp, udp) = (is(&packet.transport, true), is(&packet.transport, false));
        let (report, ports) = match packet.ip {
            Some(Ip::V4 { .. }) if tcp && has(hash_type::TCPV4) => (hash_report::TCPV4, true),
            Some(Ip::V4 { .. }) if udp && has(hash_type::UDPV4) => (hash_report::UDPV4, true),
            Some(Ip::V4 { .. }) if has(hash_type::IPV4) => (hash_report::IPV4, false),
            Some(Ip::V6 { .. }) if tcp && has(hash_type::TCP_EX) => (hash_report::TCPV6_EX, true),
            Some(Ip::V6 { .. }) if tcp && has(hash_type::TCPV6) => (hash_report::TCPV6, true),
            Some(Ip::V6 { .. }) if udp && has(hash_type::UDP_EX) => (hash_report::UDPV6_EX, true),
            Some(Ip::V6 { .. }) if udp && has(hash_type::UDPV6) => (hash_report::UDPV6, true),
            Some(Ip::V6 { .. }) if has(hash_type::IP_EX) => (hash_report::IPV6_EX, false),
            Some(Ip::V6 { .. }) if has(hash_type::IPV6) => (hash_report::IPV6, false),
            _ => return Found::default(),
        };
        let extended = matches!(report, hash_report::TCPV6_EX | hash_report::UDPV6_EX | hash_report::IPV6_EX);
        let [from, to] = if extended { packet.real_addresses(frame) } else { packet.both_addresses(frame) };
        let ports = if ports { packet.ports(frame) } else { &[] };
        let mut key = [0; rss::KEY as usize];
        key.iter_mut().zip(&self.key).for_each(|(to, from)| *to = *from);
        Found { hash: toeplitz(&key, &[from, to, ports]), report }
    }
}

/// The key at a command's end. None inside: there are to be no hashes. None: it makes no sense.
fn key(fields: &mut Fields<'_>, types: u32) -> Option<Option<Vec<u8>>> {
    let [len] = fields.number()?;
    if len > rss::KEY || len == 0 && types != 0 {
        return None;
    }
    let key = fields.bytes(len.into())?.to_vec();
    Some((len > 0).then_some(key))
}
