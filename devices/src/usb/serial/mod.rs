//! A serial line behind FTDI's FT232BM, as QEMU's `usb-serial`.
//!
//! Specification: "FT232BM USB UART", FTDI, and its requests as Linux's `ftdi_sio.h` tells them, since FTDI does not. A
//! packet from the device begins with the status of modem and line; data follows. The line is as fast as whoever is at its
//! other end: rate and format are taken, and change nothing.
//!
//! As QEMU's: no packet comes with status alone, which hardware sends when its latency timer has run off; modem lines do not
//! change. Unlike QEMU's it is plugged whether somebody is at the other end or not.
//!
//! Left out: breaks, flow control (a line that takes nothing holds the guest up), event and error characters.

pub mod model;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use devices_core::chardev::CharBackend;
use devices_core::{Node, Saved, StateError};

use super::descriptors::Description;
use super::{Answer, Setup, UsbDevice};
use spec::{EMPTY, HEAD, MODEM, PACKET, data, request, reset};

/// Most bytes that it has received and not given to the guest, as in QEMU.
const INPUT: usize = 496;
/// Most bytes of the guest's that the line has not taken: those of the largest packet that came.
const OUTPUT: usize = 64 << 10;

/// A device.
pub struct Serial {
    description: Description,
    line: Arc<dyn CharBackend>,
    input: VecDeque<u8>,
    output: Vec<u8>,
    latency: u8,
}

impl Serial {
    /// A device on that line.
    pub fn new(serial: &str, line: Arc<dyn CharBackend>) -> Serial {
        let description = spec::description(serial);
        Serial { description, line, input: VecDeque::new(), output: Vec::new(), latency: 0 }
    }

    /// Takes what the line has, as far as there is room.
    fn fetch(&mut self) {
        let mut room = [0; INPUT];
        let len = self.line.read(&mut room[self.input.len()..]);
        self.input.extend(&room[self.input.len()..][..len]);
    }

    /// Gives the line what it takes.
    fn send(&mut self) {
        let taken = self.line.write(&self.output).min(self.output.len());
        self.output.drain(..taken);
    }
}

impl UsbDevice for Serial {
    fn title(&self) -> &'static str {
        "QEMU USB Serial"
    }
    fn description(&self) -> &Description {
        &self.description
    }
    fn reset(&mut self) {
        self.input.clear();
    }

    fn request(&mut self, setup: Setup, reply: &mut Vec<u8>, _now: u64) -> bool {
        let Setup { kind, request, value, .. } = setup;
        match u16::from_be_bytes([kind, request]) {
            request::RESET if [reset::SIO, reset::PURGE_RX].contains(&value) => self.input.clear(),
            request::RESET if value == reset::PURGE_TX => self.output.clear(),
            request::RESET | request::SET_MODEM | request::SET_FLOW | request::SET_BAUD => {}
            request::SET_DATA => {
                let stop = value & data::STOP;
                return value & data::PARITY <= data::EVEN && (stop == 0 || stop == data::STOP_2);
            }
            request::SET_EVENT | request::SET_ERROR => {}
            request::MODEM_STATUS => reply.extend([MODEM, EMPTY]),
            request::SET_LATENCY => self.latency = value as u8,
            request::LATENCY => reply.push(self.latency),
            _ => return false,
        }
        true
    }

    /// Packets, each with its status, until one is not full.
    fn transfer_in(&mut self, _endpoint: u8, room: &mut [u8], _now: u64) -> Answer {
        self.fetch();
        if room.len() <= HEAD || self.input.is_empty() {
            return Answer::Nak;
        }
        let mut len = 0;
        for packet in room.chunks_mut(PACKET).filter(|packet| packet.len() > HEAD) {
            let (head, data) = packet.split_at_mut(HEAD);
            let part = data.len().min(self.input.len());
            if part == 0 {
                break;
            }
            head.copy_from_slice(&[MODEM, 0]);
            data.iter_mut().zip(self.input.drain(..part)).for_each(|(to, from)| *to = from);
            len += HEAD + part;
        }
        Answer::Done(len)
    }

    fn transfer_out(&mut self, _endpoint: u8, data: &[u8], _now: u64) -> Answer {
        self.send();
        if !self.output.is_empty() || data.len() > OUTPUT {
            return Answer::Nak;
        }
        self.output.extend_from_slice(data);
        self.send();
        Answer::Done(data.len())
    }

    fn speaks_at(&self) -> Option<u64> {
        (!self.input.is_empty()).then_some(0)
    }
    fn woken(&mut self) {
        self.fetch();
        self.send();
    }

    fn save(&self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        node.value("received", self.input.len()).value("to be sent", self.output.len());
        node.value("latency", self.latency).value("connected", self.line.connected());
    }
}
