//! Which packets are let in.

use devices_core::net::{Accepts, RxFilter};

use super::registers::Registers;
use super::spec::rcr;

/// To whom a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// This station.
    Station,
    /// Another one.
    Other,
    /// A group.
    Group,
    /// Everybody.
    All,
}

/// The Ethernet CRC over bytes, low bits first, the register's high bit first: what the hash table goes by.
fn hash_crc(data: &[u8]) -> u32 {
    data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc, |crc, bit| {
            let carry = crc >> 31 ^ u32::from(byte >> bit & 1) != 0;
            crc << 1 ^ if carry { 0x04c1_1db7 } else { 0 }
        })
    })
}

impl Registers {
    /// Whether a packet to that address is let in, and how it counts.
    pub fn lets_in(&self, address: [u8; 6]) -> Option<To> {
        let (to, needed) = match address {
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => (To::All, rcr::AB),
            [first, ..] if first & 1 != 0 => {
                let bit = usize::from((hash_crc(&address) >> 26) as u8);
                let listed = self.mar[bit / 8] >> (bit % 8) & 1 != 0;
                (To::Group, if listed { rcr::AM } else { 0 })
            }
            _ if address == self.idr => (To::Station, rcr::APM | rcr::AAP),
            _ => (To::Other, rcr::AAP),
        };
        (self.rcr & needed != 0).then_some(to)
    }

    /// The same for people and management.
    pub fn rx_filter(&self) -> RxFilter {
        let on = |bit: u32| self.rcr & bit != 0;
        let all_groups = self.mar == [0xff; 8];
        let no_group = !on(rcr::AM) || self.mar == [0; 8];
        RxFilter {
            promiscuous: on(rcr::AAP) && on(rcr::AM) && on(rcr::AB) && all_groups,
            unicast: match (on(rcr::AAP), on(rcr::APM)) {
                (true, _) => Accepts::All,
                (false, true) => Accepts::Normal,
                (false, false) => Accepts::None,
            },
            multicast: match (no_group, all_groups) {
                (true, _) => Accepts::None,
                (false, true) => Accepts::All,
                (false, false) => Accepts::Normal,
            },
            broadcast: on(rcr::AB),
            vlan: Accepts::All,
            main_mac: self.idr,
            unicast_table: Vec::new(),
            multicast_table: Vec::new(),
            vlan_table: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_the_bits_that_drivers_work_out() {
        // 224.0.0.1 and all IPv6 nodes, worked out from the check sequence in its usual bit order.
        assert_eq!(hash_crc(&[0x01, 0, 0x5e, 0, 0, 1]) >> 26, 0x1f);
        assert_eq!(hash_crc(&[0x33, 0x33, 0, 0, 0, 1]) >> 26, 0x3e);
    }
}
