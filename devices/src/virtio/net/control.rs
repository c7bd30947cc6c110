//! The control queue (Virtio 1.3, 5.1.6.5).

use super::super::common::Common;
use super::super::queue::{Broken, Chain, len, read_at, take_last};
use super::rss::{Hashing, Said};
use super::spec::{
    ANNOUNCE_ACK, GUEST_OFFLOADS_SET, HASH_CONFIG, RSS_CONFIG, VQ_PAIRS_SET, ack, class, feature, mac, vlan,
};
use super::{Net, offload};

/// Most bytes of a command: the longest tables that anybody has.
const COMMAND_MAX: u64 = 64 << 10;
/// Most commands of one call; a driver waits for each.
const COMMANDS: usize = 64;

impl Net {
    /// Does what the driver commands by that queue. True: frames may go to other pairs now.
    pub(super) fn control(&mut self, common: &mut Common, queue: u16) -> bool {
        let (mut chain, mut moved) = (Chain::default(), false);
        for _ in 0..COMMANDS {
            if !common.pop(queue, &mut chain) {
                if common.enable_notification(queue) {
                    continue;
                }
                return moved;
            }
            let Some(at) = take_last(&mut chain.writable) else {
                common.fail(Broken("a command has no room for its answer"));
                return moved;
            };
            let bytes = len(&chain.readable);
            if bytes < 2 {
                common.fail(Broken("a command has no class"));
                return moved;
            }
            let answer = if bytes > COMMAND_MAX {
                ack::ERR
            } else {
                let mut command = vec![0; bytes as usize];
                let read = read_at(common.dma(), &chain.readable, 0, &mut command).is_some();
                let done = read && self.command(common, &command);
                moved |= command[0] == class::MQ;
                if done && matches!(command[0], class::RX | class::MAC | class::VLAN) {
                    self.filter_changed();
                }
                if done { ack::OK } else { ack::ERR }
            };
            // Where it is no RAM any more, nobody reads it.
            let _ = common.dma().write(at, &[answer]);
            common.push(queue, &chain, 1);
        }
        moved
    }

    /// One command; false: it is not known, or makes no sense.
    fn command(&mut self, common: &Common, command: &[u8]) -> bool {
        let Some(([class, command], data)) = command.split_first_chunk() else { return false };
        match (*class, *command) {
            (class::RX, command) if common.has(feature::CTRL_RX) => match data {
                [on] => self.filter.set(command, *on != 0),
                _ => false,
            },
            (class::MAC, mac::TABLE_SET) if common.has(feature::CTRL_RX) => self.filter.set_tables(data),
            (class::MAC, mac::ADDR_SET) if common.has(feature::CTRL_MAC_ADDR) => match data.try_into() {
                Ok(address) => {
                    self.address = address;
                    true
                }
                Err(_) => false,
            },
            (class::VLAN, command) if common.has(feature::CTRL_VLAN) => match (data, command) {
                ([low, high], vlan::ADD | vlan::DEL) => {
                    self.filter.set_vlan(u16::from_le_bytes([*low, *high]), command == vlan::ADD)
                }
                _ => false,
            },
            (class::GUEST_OFFLOADS, GUEST_OFFLOADS_SET) if common.has(feature::CTRL_GUEST_OFFLOADS) => {
                let wanted = data.try_into().ok().map(u64::from_le_bytes);
                match wanted.and_then(|wanted| offload::of_command(common, wanted)) {
                    Some(allowed) => {
                        self.set_allowed(allowed);
                        true
                    }
                    None => false,
                }
            }
            (class::MQ, command) => {
                // Whatever it is, in QEMU: what was said of hashes before is so no more.
                self.hashing = None;
                match self.said_of_pairs(common, command, data) {
                    Some(Said { hashing, pairs }) => {
                        self.hashing = hashing;
                        self.use_pairs(pairs)
                    }
                    None => false,
                }
            }
            (class::ANNOUNCE, ANNOUNCE_ACK) if self.announce => {
                self.announce = false;
                true
            }
            _ => false,
        }
    }

    /// What a command of the class MQ says; none: it makes no sense, or was not agreed on.
    fn said_of_pairs(&self, common: &Common, command: u8, data: &[u8]) -> Option<Said> {
        let all = self.pairs.len() as u16;
        match command {
            VQ_PAIRS_SET if common.has(feature::MQ) => {
                let pairs = u16::from_le_bytes(*data.first_chunk()?);
                (1..=all).contains(&pairs).then_some(Said { hashing: None, pairs })
            }
            RSS_CONFIG if common.has(feature::RSS) => Hashing::of_rss(data, all),
            HASH_CONFIG if common.has(feature::HASH_REPORT) => Hashing::of_report(data, self.in_use),
            _ => None,
        }
    }
}
