//! Control messages (Virtio 1.3, 5.3.6.2).

use serde::{Deserialize, Serialize};

use super::super::common::Common;
use super::super::queue::{Chain, len, read_at, write_at};
use super::Serial;
use super::port::Moved;
use super::spec::{MESSAGE, event, feature, queue};

/// Most messages that wait for a buffer. What is more is lost, as every one is in QEMU that finds no buffer.
pub(super) const WAITING: usize = 256;
/// Most messages of the driver's that one call takes.
const BURST: usize = 64;

/// What the driver is told of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    Add,
    Remove,
    Console,
    Resize,
    Open,
    Close,
    Name,
}

/// A message that waits for a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) port: u32,
    pub(super) said: Said,
}

impl Serial {
    /// The driver is to hear of that, if it is one that hears of ports.
    pub(super) fn say(&mut self, common: &mut Common, port: u32, said: Said) {
        if common.has(feature::MULTIPORT) && common.is_running() && self.messages.len() < WAITING {
            self.messages.push_back(Message { port, said });
            self.send_messages(common);
        }
    }

    /// Sends what waits, as far as there are buffers.
    pub(super) fn send_messages(&mut self, common: &mut Common) {
        let mut chain = Chain::default();
        while let Some(message) = self.messages.front().copied() {
            if !common.pop(queue::CONTROL_RX, &mut chain) {
                if common.enable_notification(queue::CONTROL_RX) {
                    continue;
                }
                return;
            }
            self.messages.pop_front();
            // One that is too long for the buffer is cut off.
            let bytes = self.encode(message);
            let written = write_at(common.dma(), &chain.writable, 0, &bytes).unwrap_or(0);
            common.push(queue::CONTROL_RX, &chain, written as u32);
        }
    }

    fn encode(&self, Message { port, said }: Message) -> Vec<u8> {
        let (event, value) = match said {
            Said::Add => (event::DEVICE_ADD, 1u16),
            Said::Remove => (event::DEVICE_REMOVE, 1),
            Said::Console => (event::CONSOLE_PORT, 1),
            Said::Resize => (event::RESIZE, 1),
            Said::Open => (event::PORT_OPEN, 1),
            Said::Close => (event::PORT_OPEN, 0),
            Said::Name => (event::PORT_NAME, 1),
        };
        let mut bytes = [&port.to_le_bytes()[..], &event.to_le_bytes(), &value.to_le_bytes()].concat();
        let found = self.port(port);
        match said {
            Said::Resize => {
                let (cols, rows) = found.map_or((0, 0), |port| port.size);
                bytes.extend([cols.to_le_bytes(), rows.to_le_bytes()].concat());
            }
            Said::Name => {
                bytes.extend(found.map_or(&[][..], |port| port.config.name.as_bytes()));
                // QEMU's names end with a zero.
                bytes.push(0);
            }
            _ => {}
        }
        bytes
    }

    /// Takes the driver's messages.
    pub(super) fn control(&mut self, common: &mut Common) -> Moved {
        let mut chain = Chain::default();
        for _ in 0..BURST {
            if common.pop(queue::CONTROL_TX, &mut chain) {
                let mut bytes = [0; MESSAGE];
                let whole = len(&chain.readable) >= MESSAGE as u64;
                if whole && read_at(common.dma(), &chain.readable, 0, &mut bytes).is_some() {
                    self.heard(common, bytes);
                }
                common.push(queue::CONTROL_TX, &chain, 0);
            } else if !common.enable_notification(queue::CONTROL_TX) {
                return Moved::All;
            }
        }
        Moved::More
    }

    fn heard(&mut self, common: &mut Common, [p0, p1, p2, p3, e0, e1, v0, v1]: [u8; MESSAGE]) {
        let number = u32::from_le_bytes([p0, p1, p2, p3]);
        let (event, yes) = (u16::from_le_bytes([e0, e1]), u16::from_le_bytes([v0, v1]) != 0);
        if event == event::DEVICE_READY {
            if yes {
                let numbers: Vec<u32> = self.ports.iter().map(|port| port.config.number).collect();
                numbers.into_iter().for_each(|port| self.say(common, port, Said::Add));
            } else {
                tracing::debug!("a driver has not taken a virtio console");
            }
            return;
        }
        match event {
            event::PORT_READY if yes => self.introduce(common, number),
            event::PORT_OPEN => self.set_guest_open(common, number, yes),
            _ => {}
        }
    }

    /// The driver has made the port: now it can hear the rest, in QEMU's order.
    fn introduce(&mut self, common: &mut Common, number: u32) {
        let Some(port) = self.port(number) else { return };
        let (console, named) = (port.config.console, !port.config.name.is_empty());
        let open = port.host_open;
        let sized = console && common.has(feature::SIZE);
        let all = [(console, Said::Console), (sized, Said::Resize), (named, Said::Name), (open, Said::Open)];
        for (_, said) in all.into_iter().filter(|(holds, _)| *holds) {
            self.say(common, number, said);
        }
    }
}
