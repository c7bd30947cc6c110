//! Puts together the pieces of a packet of the guest's. Few packets at once, each at most what IP allows.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::packet::Ip;

/// Packets in pieces at once; the oldest gives way.
const PACKETS: usize = 8;
/// A packet that is not whole by then never is (RFC 1122 says 60 to 120 s; ours is one hop away).
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of a packet's payload.
const LONGEST: usize = 65_535;
/// Most gaps and stretches of one packet.
const STRETCHES: usize = 64;

type Key = (IpAddr, IpAddr, u8, u32);

struct Partial {
    key: Key,
    since: Instant,
    bytes: Vec<u8>,
    /// What is there, in order, apart from each other.
    have: Vec<(usize, usize)>,
    end: Option<usize>,
}

#[derive(Default)]
pub(super) struct Reassembly {
    packets: Vec<Partial>,
}

impl Reassembly {
    /// Takes a piece. The payload, when it is whole.
    pub(super) fn add(&mut self, ip: &Ip<'_>, now: Instant) -> Option<Vec<u8>> {
        let (id, offset, more) = ip.piece?;
        let end = offset + ip.payload.len();
        if end > LONGEST || ip.payload.is_empty() || (more && !ip.payload.len().is_multiple_of(8)) {
            return None;
        }
        self.packets.retain(|partial| now.duration_since(partial.since) < PATIENCE);
        let key = (ip.src, ip.dst, ip.protocol, id);
        let index = match self.packets.iter().position(|partial| partial.key == key) {
            Some(index) => index,
            None => {
                if self.packets.len() == PACKETS {
                    self.packets.remove(0);
                }
                let partial = Partial { key, since: now, bytes: Vec::new(), have: Vec::new(), end: None };
                self.packets.push(partial);
                self.packets.len() - 1
            }
        };
        if !self.packets[index].insert(offset, end, ip.payload, more) {
            self.packets.remove(index);
            return None;
        }
        let partial = &self.packets[index];
        let whole = partial.end.is_some_and(|end| partial.have == [(0, end)]);
        whole.then(|| self.packets.remove(index).bytes)
    }
}

impl Partial {
    /// False: the pieces contradict each other, so that all are worthless (RFC 5722: overlaps are an attack).
    fn insert(&mut self, from: usize, to: usize, bytes: &[u8], more: bool) -> bool {
        if !more && self.end.replace(to).is_some_and(|end| end != to) {
            return false;
        }
        if self.end.is_some_and(|end| to > end || self.have.last().is_some_and(|last| last.1 > end)) {
            return false;
        }
        let at = self.have.partition_point(|have| have.0 < from);
        if self.have.get(at) == Some(&(from, to)) {
            // The same once more.
            return true;
        }
        let before = at.checked_sub(1).map(|before| self.have[before].1);
        let after = self.have.get(at).map(|have| have.0);
        if before.is_some_and(|end| end > from) || after.is_some_and(|start| start < to) {
            return false;
        }
        if self.have.len() == STRETCHES {
            return false;
        }
        if self.bytes.len() < to {
            self.bytes.resize(to, 0);
        }
        self.bytes[from..to].copy_from_slice(bytes);
        match (before == Some(from), after == Some(to)) {
            (true, true) => {
                self.have[at - 1].1 = self.have[at].1;
                self.have.remove(at);
            }
            (true, false) => self.have[at - 1].1 = to,
            (false, true) => self.have[at].0 = from,
            (false, false) => self.have.insert(at, (from, to)),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn piece(id: u32, offset: usize, payload: &[u8], more: bool) -> Ip<'_> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let piece = Some((id, offset, more));
        Ip { src: address, dst: address, protocol: 17, payload, whole: None, piece }
    }

    #[test]
    fn pieces_in_any_order_make_a_packet() {
        let now = Instant::now();
        let mut reassembly = Reassembly::default();
        assert!(reassembly.add(&piece(1, 16, b"end", false), now).is_none());
        assert!(reassembly.add(&piece(1, 0, b"01234567", true), now).is_none());
        assert!(reassembly.add(&piece(1, 0, b"01234567", true), now).is_none());
        let whole = reassembly.add(&piece(1, 8, b"89abcdef", true), now);
        assert_eq!(whole.unwrap(), b"0123456789abcdefend");
        assert!(reassembly.packets.is_empty());
    }

    #[test]
    fn pieces_that_lie_are_dropped_and_many_are_bounded() {
        let now = Instant::now();
        let mut reassembly = Reassembly::default();
        assert!(reassembly.add(&piece(1, 0, &[0; 16], true), now).is_none());
        // It overlaps what is there.
        assert!(reassembly.add(&piece(1, 8, &[0; 16], false), now).is_none());
        assert!(reassembly.packets.is_empty());
        // Beyond the longest packet; not a multiple of eight; nothing.
        assert!(reassembly.add(&piece(2, 65_528, &[0; 16], false), now).is_none());
        assert!(reassembly.add(&piece(2, 0, &[0; 9], true), now).is_none());
        assert!(reassembly.add(&piece(2, 0, &[], true), now).is_none());
        assert!(reassembly.packets.is_empty());
        for id in 0..1000 {
            assert!(reassembly.add(&piece(id, 0, &[0; 8], true), now).is_none());
        }
        assert_eq!(reassembly.packets.len(), PACKETS);
        // What was never whole goes.
        assert!(reassembly.add(&piece(5000, 0, &[0; 8], true), now + PATIENCE).is_none());
        assert_eq!(reassembly.packets.len(), 1);
    }
}
