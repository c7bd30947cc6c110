//! The host side of a network card, as the card sees it, and the card as those who use the machine see it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::Device;
use crate::model::{Default as Usually, Kind, Property};
use crate::port::Port;

/// Most bytes of an Ethernet frame that a backend takes or gives: the largest IP packet, its header, a VLAN tag.
pub const MAX_FRAME: usize = 65_535 + 18;
/// Fewest bytes of a frame on the wire, without its check sequence. Cards fill up shorter ones.
pub const MIN_FRAME: usize = 60;

/// The other end of a card's cable. Frames are Ethernet's, from the destination address to the end of the
/// payload, with no preamble and no check sequence. Nothing here blocks.
///
/// The backend wakes its card ([`crate::Wake::Backend`]) when there is a frame after there was none, and when it takes
/// frames again after it refused one. It holds none of its own locks then, since the card calls it at once.
pub trait NetBackend: Send + Sync {
    /// Takes a frame of the guest's. False: there is no room now. The card keeps the frame and offers it again when it
    /// is woken, so that a slow host slows the guest and loses nothing. A frame that no wire would carry (empty, more
    /// than [`MAX_FRAME`]) is taken and dropped.
    fn send(&self, frame: &[u8]) -> bool;
    /// The next frame for the guest, which replaces what is in `frame`. False: there is none. At most [`MAX_FRAME`]
    /// bytes; may be shorter than [`MIN_FRAME`].
    fn receive(&self, frame: &mut Vec<u8>) -> bool;
}

/// A cable that leads nowhere: takes everything, gives nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullNet;

impl NetBackend for NullNet {
    fn send(&self, _frame: &[u8]) -> bool {
        true
    }
    fn receive(&self, _frame: &mut Vec<u8>) -> bool {
        false
    }
}

/// A cable whose calls go over a port: `s` and the frame, answered by 1 if it was taken and 0 if not; `r`, answered by 1
/// and the frame, or by nothing.
pub struct Ported {
    port: Arc<dyn Port>,
    inner: Arc<dyn NetBackend>,
}

impl Ported {
    /// `inner` is behind the port; in a replay nobody asks it.
    pub fn new(port: Arc<dyn Port>, inner: Arc<dyn NetBackend>) -> Ported {
        Ported { port, inner }
    }
}

impl NetBackend for Ported {
    fn send(&self, frame: &[u8]) -> bool {
        let taken = self.port.call([b"s", frame].concat(), &mut || vec![self.inner.send(frame).into()]);
        taken != [0]
    }
    fn receive(&self, frame: &mut Vec<u8>) -> bool {
        let found = self.port.call(b"r".to_vec(), &mut || {
            if !self.inner.receive(frame) {
                return Vec::new();
            }
            [&[1], frame.as_slice()].concat()
        });
        let Some((_, found)) = found.split_first() else { return false };
        frame.clear();
        frame.extend_from_slice(found);
        true
    }
}

/// Which frames of a kind a card receives (QAPI `RxState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// Those whose address is in a table.
    Normal,
    /// None.
    None,
    /// All.
    All,
}

/// What a card lets in (QAPI `RxFilterInfo`), for `query-rx-filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RxFilter {
    /// Everything.
    pub promiscuous: bool,
    /// Frames to one station.
    pub unicast: Accepts,
    /// Frames to a group.
    pub multicast: Accepts,
    /// Frames to all.
    pub broadcast: bool,
    /// Tagged frames.
    pub vlan: Accepts,
    /// The station address as it is set now.
    pub main_mac: [u8; 6],
    /// Other station addresses that are let in.
    pub unicast_table: Vec<[u8; 6]>,
    /// Groups, where the card keeps addresses. One with a hash table has none here.
    pub multicast_table: Vec<[u8; 6]>,
    /// VLANs that are let in.
    pub vlan_table: Vec<u16>,
}

/// A network card, for those who use the machine.
pub trait Nic: Device {
    /// The address that it was made with.
    fn mac(&self) -> [u8; 6];
    /// Whether the cable is in.
    fn link(&self) -> bool;
    /// Puts the cable in or pulls it out; the guest sees what hardware would show it.
    fn set_link(&mut self, up: bool);
    /// What it lets in now.
    fn rx_filter(&self) -> RxFilter;
}

/// What every card has. Put before a card's own properties.
pub const MAC: Property = Property {
    name: "mac",
    kind: Kind::Mac,
    default: Usually::None,
    help: "Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56",
};
/// The other end of the cable.
pub const NETDEV: Property = Property {
    name: "netdev",
    kind: Kind::Netdev,
    default: Usually::None,
    help: "ID of a netdev to use as a backend",
};

/// Reads six bytes in hexadecimal with colons between them.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut bytes = text.split(':');
    for to in &mut mac {
        let byte =
            bytes.next().filter(|byte| byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *to = u8::from_str_radix(byte, 16).ok()?;
    }
    bytes.next().is_none().then_some(mac)
}

/// The six bytes as people read them.
pub fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// A backend for tests: keeps what it is sent, gives what it is given.
#[derive(Debug, Default)]
pub struct TestNet {
    sent: Mutex<VecDeque<Vec<u8>>>,
    given: Mutex<VecDeque<Vec<u8>>>,
    full: Mutex<bool>,
}

/// Most frames that a [`TestNet`] backend keeps: a fuzzed card must not grow the test.
const LOOSE: usize = 256;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestNet {
    /// The next frame that the card sent.
    pub fn sent(&self) -> Option<Vec<u8>> {
        lock(&self.sent).pop_front()
    }
    /// A frame for the card, which the test then wakes.
    pub fn give(&self, frame: &[u8]) {
        let mut given = lock(&self.given);
        if given.len() < LOOSE {
            given.push_back(frame.to_vec());
        }
    }
    /// Frames that the card has not taken.
    pub fn left(&self) -> usize {
        lock(&self.given).len()
    }
    /// Whether it refuses frames.
    pub fn set_full(&self, full: bool) {
        *lock(&self.full) = full;
    }
}

impl NetBackend for TestNet {
    fn send(&self, frame: &[u8]) -> bool {
        if *lock(&self.full) {
            return false;
        }
        let mut sent = lock(&self.sent);
        if sent.len() == LOOSE {
            sent.pop_front();
        }
        sent.push_back(frame.to_vec());
        true
    }
    fn receive(&self, frame: &mut Vec<u8>) -> bool {
        let Some(next) = lock(&self.given).pop_front() else { return false };
        *frame = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let mac = [0x52, 0x54, 0, 0x12, 0x34, 0xab];
        assert_eq!(parse_mac("52:54:00:12:34:AB"), Some(mac));
        assert_eq!(format_mac(mac), "52:54:00:12:34:ab");
        for bad in ["", "52:54:00:12:34", "52:54:00:12:34:ab:00", "5:54:00:12:34:ab", "+1:54:00:12:34:ab"] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }
}
