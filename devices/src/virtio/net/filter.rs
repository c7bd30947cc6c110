//! Which frames the driver wants (Virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3).

use devices_core::net::{Accepts, RxFilter};
use serde::{Deserialize, Serialize};

use super::spec::{TABLE, VLANS, rx};

/// What is set; without a control queue everything comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Filter {
    promiscuous: bool,
    all_multicast: bool,
    all_unicast: bool,
    no_multicast: bool,
    no_unicast: bool,
    no_broadcast: bool,
    unicast: Table,
    multicast: Table,
    /// A bit for each.
    #[serde(with = "serde_bytes")]
    vlans: Vec<u8>,
}

/// Addresses; more than there is room for are all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Table {
    addresses: Vec<[u8; 6]>,
    overflow: bool,
}

impl Table {
    /// Reads one from the front of `data`, as far as `room` goes. None: it is cut short.
    fn take(data: &mut &[u8], room: usize) -> Option<Table> {
        let (count, rest) = data.split_first_chunk()?;
        let len = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(6)?;
        let (addresses, rest) = rest.split_at_checked(len)?;
        *data = rest;
        let (addresses, _) = addresses.as_chunks();
        let overflow = addresses.len() > room;
        Some(Table { addresses: if overflow { Vec::new() } else { addresses.to_vec() }, overflow })
    }

    fn has(&self, address: [u8; 6]) -> bool {
        self.overflow || self.addresses.contains(&address)
    }
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            promiscuous: true,
            all_multicast: false,
            all_unicast: false,
            no_multicast: false,
            no_unicast: false,
            no_broadcast: false,
            unicast: Table::default(),
            multicast: Table::default(),
            vlans: vec![0xff; VLANS / 8],
        }
    }
}

impl Filter {
    /// Whether a saved one can be.
    pub(super) fn is_sound(&self) -> bool {
        let Filter { unicast, multicast, vlans, .. } = self;
        vlans.len() == VLANS / 8 && unicast.addresses.len() + multicast.addresses.len() <= TABLE
    }

    /// A driver that tells VLANs begins with none.
    pub(super) fn only_told_vlans(&mut self) {
        self.vlans.fill(0);
    }

    /// A command of the class RX; false: there is none such.
    pub(super) fn set(&mut self, command: u8, on: bool) -> bool {
        let what = match command {
            rx::PROMISC => &mut self.promiscuous,
            rx::ALLMULTI => &mut self.all_multicast,
            rx::ALLUNI => &mut self.all_unicast,
            rx::NOMULTI => &mut self.no_multicast,
            rx::NOUNI => &mut self.no_unicast,
            rx::NOBCAST => &mut self.no_broadcast,
            _ => return false,
        };
        *what = on;
        true
    }

    /// New tables; false: they are not as they should be.
    pub(super) fn set_tables(&mut self, mut data: &[u8]) -> bool {
        let Some(unicast) = Table::take(&mut data, TABLE) else { return false };
        let room = TABLE - unicast.addresses.len();
        let Some(multicast) = Table::take(&mut data, room) else { return false };
        if !data.is_empty() {
            return false;
        }
        (self.unicast, self.multicast) = (unicast, multicast);
        true
    }

    /// A VLAN comes or goes; false: there is none such.
    pub(super) fn set_vlan(&mut self, vlan: u16, on: bool) -> bool {
        let Some(byte) = self.vlans.get_mut(usize::from(vlan / 8)) else { return false };
        let bit = 1 << (vlan % 8);
        *byte = if on { *byte | bit } else { *byte & !bit };
        true
    }

    fn has_vlan(&self, vlan: u16) -> bool {
        self.vlans.get(usize::from(vlan / 8)).is_some_and(|byte| byte >> (vlan % 8) & 1 != 0)
    }

    /// Whether a frame comes to the card with that address.
    pub(super) fn lets_in(&self, frame: &[u8], mac: [u8; 6]) -> bool {
        if self.promiscuous {
            return true;
        }
        let Some(to) = frame.first_chunk::<6>() else { return false };
        if let Some([0x81, 0x00, high, low]) = frame.get(12..).and_then(<[u8]>::first_chunk)
            && !self.has_vlan(u16::from_be_bytes([*high, *low]) & 0xfff)
        {
            return false;
        }
        match to {
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => !self.no_broadcast,
            [first, ..] if first & 1 != 0 => {
                !self.no_multicast && (self.all_multicast || self.multicast.has(*to))
            }
            _ => !self.no_unicast && (self.all_unicast || *to == mac || self.unicast.has(*to)),
        }
    }

    /// As the monitor says it.
    pub(super) fn shown(&self, mac: [u8; 6]) -> RxFilter {
        let accepts = |none: bool, all: bool| match (none, all) {
            (true, _) => Accepts::None,
            (_, true) => Accepts::All,
            _ => Accepts::Normal,
        };
        let vlans: Vec<u16> = (0..VLANS as u16).filter(|vlan| self.has_vlan(*vlan)).collect();
        let vlan = match vlans.len() {
            0 => Accepts::None,
            VLANS => Accepts::All,
            _ => Accepts::Normal,
        };
        RxFilter {
            promiscuous: self.promiscuous,
            unicast: accepts(self.no_unicast, self.all_unicast || self.unicast.overflow),
            multicast: accepts(self.no_multicast, self.all_multicast || self.multicast.overflow),
            broadcast: !self.no_broadcast,
            vlan,
            main_mac: mac,
            unicast_table: self.unicast.addresses.clone(),
            multicast_table: self.multicast.addresses.clone(),
            vlan_table: if vlan == Accepts::Normal { vlans } else { Vec::new() },
        }
    }
}
