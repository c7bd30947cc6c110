//! Which packets are let in.

use devices_core::net::{Accepts, RxFilter};

use super::registers::Registers;
use super::spec::rcr;
use crate::net::group_hash;

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

impl Registers {
    /// Whether a packet to that address is let in, and how it counts.
    pub fn lets_in(&self, address: [u8; 6]) -> Option<To> {
        let (to, needed) = match address {
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => (To::All, rcr::AB),
            [first, ..] if first & 1 != 0 => {
                let bit = usize::from(group_hash(address));
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
