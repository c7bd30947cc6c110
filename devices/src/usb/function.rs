//! What every device is: an address, a configuration, a control pipe and the standard requests (chapter 9).

use devices_core::Node;

use super::descriptors::{Configuration, kind};
use super::hub::Hub;
use super::{Answer, Pid, Setup, Speed, UsbDevice};

/// Most bytes that a request may send: more than any device here takes. wLength is the host's to choose, and the buffer
/// follows what is sent and not what is announced (CVE-2020-14364).
pub(super) const REQUEST_MOST: u16 = 4096;

/// Most bytes that a device is asked for at once; a multiple of all packets' lengths.
const PIECE: usize = 16 << 10;
/// bmAttributes of an endpoint (9.6.6): isochronous, bulk.
const ISOCHRONOUS: u8 = 1;
const BULK: u8 = 2;

/// Standard requests (table 9-4), with bmRequestType above.
mod request {
    pub const STATUS_DEVICE: u16 = 0x8000;
    pub const STATUS_INTERFACE: u16 = 0x8100;
    pub const STATUS_ENDPOINT: u16 = 0x8200;
    pub const CLEAR_FEATURE_DEVICE: u16 = 0x0001;
    pub const CLEAR_FEATURE_ENDPOINT: u16 = 0x0201;
    pub const SET_FEATURE_DEVICE: u16 = 0x0003;
    pub const SET_FEATURE_ENDPOINT: u16 = 0x0203;
    pub const SET_ADDRESS: u16 = 0x0005;
    pub const GET_DESCRIPTOR: u16 = 0x8006;
    pub const GET_CONFIGURATION: u16 = 0x8008;
    pub const SET_CONFIGURATION: u16 = 0x0009;
    pub const GET_INTERFACE: u16 = 0x810a;
    pub const SET_INTERFACE: u16 = 0x010b;
}

/// Features (table 9-6).
const ENDPOINT_HALT: u16 = 0;
const REMOTE_WAKEUP: u16 = 1;

/// Where the control pipe is in a request (8.5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// Nowhere.
    Idle,
    /// The device sends; so many bytes are sent.
    In(Vec<u8>, usize),
    /// The host sends, or has sent all.
    Out(Setup, Vec<u8>),
    /// There is no such request: until the next.
    Stalled,
}

/// A device with what all have.
pub struct Function {
    pub(super) device: Box<dyn UsbDevice>,
    pub(super) speed: Speed,
    pub(super) address: u8,
    pub(super) configured: bool,
    pub(super) wakeup: bool,
    /// Endpoints that are halted, a bit for each number; IN from bit 16.
    pub(super) halted: u32,
    pub(super) control: Control,
}

fn bit(address: u8) -> u32 {
    1 << (u32::from(address & 0xf) + if address & 0x80 != 0 { 16 } else { 0 })
}

impl Function {
    /// With power on, on a port of that speed.
    pub fn new(mut device: Box<dyn UsbDevice>, speed: Speed) -> Function {
        let control = Control::Idle;
        device.attach(speed);
        let mut function =
            Function { device, speed, address: 0, configured: false, wakeup: false, halted: 0, control };
        function.reset();
        function
    }

    /// The device itself.
    pub fn device(&mut self) -> &mut dyn UsbDevice {
        &mut *self.device
    }
    /// The device, taken away from here.
    pub fn into_device(self) -> Box<dyn UsbDevice> {
        self.device
    }
    /// How fast it is.
    pub fn speed(&self) -> Speed {
        self.speed
    }
    /// Whether no byte moves any more for what was begun before a reset.
    pub fn drained(&self) -> bool {
        self.device.drained()
    }
    /// Bytes of a packet of an endpoint; 0: there is none.
    pub fn packet_len(&self, address: u8) -> usize {
        let description = self.device.description();
        match address & 0x7f {
            0 => description.control_packet(),
            _ => description.endpoint(address).map_or(0, |endpoint| endpoint.max_packet.into()),
        }
    }
    /// Whether an endpoint is isochronous.
    pub fn is_isochronous(&self, address: u8) -> bool {
        self.device.description().endpoint(address).is_some_and(|at| at.attributes & 3 == ISOCHRONOUS)
    }
    /// Most bytes that an endpoint is asked for, or given, at once. A packet that is not full ends a transfer, so only
    /// endpoints that take all they get are asked for many packets.
    pub fn piece(&self, address: u8) -> usize {
        let bulk = self.device.description().endpoint(address).is_some_and(|at| at.attributes & 3 == BULK);
        match self.packet_len(address) {
            _ if bulk => PIECE,
            0 => 8,
            len => len,
        }
    }
    /// Its address; 0: it has none yet.
    pub fn address(&self) -> u8 {
        self.address
    }
    /// Whether it has something to say by `now`, or somebody behind it has, who may wake the host.
    pub fn wakes(&self, now: u64) -> bool {
        let own = self.wakeup && self.speaks_at().is_some_and(|at| at <= now);
        // A hub passes on that somebody behind it resumes the bus (11.9).
        own || self.behind().any(|function| function.wakes(now))
    }
    /// When it has something to say to a host that asks.
    fn speaks_at(&self) -> Option<u64> {
        self.device.speaks_at().filter(|_| self.configured)
    }
    /// When it, and each device behind it, has something to say.
    pub fn speeches(&self, hear: &mut dyn FnMut(u64)) {
        self.speaks_at().into_iter().for_each(&mut *hear);
        self.behind().for_each(|function| function.speeches(hear));
    }
    /// How many of them have by `now`.
    pub fn said(&self, now: u64) -> usize {
        let mut count = 0;
        self.speeches(&mut |at| count += usize::from(at <= now));
        count
    }
    /// When one of them has next, after `then`.
    pub fn speaks_after(&self, then: u64) -> Option<u64> {
        let mut first = None;
        self.speeches(&mut |at| {
            if at > then && first.is_none_or(|first| at < first) {
                first = Some(at);
            }
        });
        first
    }

    /// Devices on its open ports, if it is a hub.
    fn behind(&self) -> impl Iterator<Item = &Function> {
        self.device.as_hub().into_iter().flat_map(Hub::reached)
    }
    /// Who has that address: it, or somebody behind it whom packets reach.
    pub fn find(&mut self, address: u8) -> Option<&mut Function> {
        if self.address == address {
            return Some(self);
        }
        self.device.as_hub_mut()?.find(address)
    }
    /// Who is at the end of a route through hubs, whose ports packets go through. Each has four bits, the nearest the
    /// lowest; 0 is the end (USB 3.0, 8.9).
    pub fn route(&mut self, route: u32) -> Option<&mut Function> {
        match (route & 0xf) as u8 {
            0 => Some(self),
            port => self.device.as_hub_mut()?.open(port)?.route(route >> 4),
        }
    }

    /// The bus is reset.
    pub fn reset(&mut self) {
        (self.address, self.configured, self.wakeup, self.halted) = (0, false, false, 0);
        self.control = Control::Idle;
        self.device.reset();
    }

    /// A packet for its address. `data` is what the host sends, or the room that it has.
    pub fn packet(&mut self, pid: Pid, endpoint: u8, data: &mut [u8], now: u64) -> Answer {
        let answer = match (endpoint, pid) {
            (0, Pid::Setup) => self.setup(data, now),
            (0, Pid::In) => self.control_in(data, now),
            (0, Pid::Out) => self.control_out(data),
            (_, Pid::Setup) => Answer::Stall,
            (_, Pid::In) if !self.answers(endpoint | 0x80) => Answer::Stall,
            (_, Pid::Out) if !self.answers(endpoint) => Answer::Stall,
            (_, Pid::In) => self.device.transfer_in(endpoint, data, now),
            (_, Pid::Out) => self.device.transfer_out(endpoint, data, now),
        };
        // An endpoint that has refused is halted until the host clears that (9.4.5).
        if endpoint != 0 && answer == Answer::Stall {
            self.halted |= bit(endpoint & 0xf | if pid == Pid::In { 0x80 } else { 0 });
        }
        answer
    }

    fn answers(&self, address: u8) -> bool {
        let there = self.device.description().endpoint(address).is_some();
        self.configured && there && self.halted & bit(address) == 0
    }

    /// A request begins, whatever was before.
    fn setup(&mut self, data: &[u8], now: u64) -> Answer {
        let Ok(bytes) = <[u8; Setup::LEN]>::try_from(data) else { return Answer::Silence };
        let setup = Setup::parse(bytes);
        let mut reply = Vec::new();
        self.control = if !setup.is_in() || setup.length == 0 {
            match setup.length {
                0..=REQUEST_MOST => Control::Out(setup, Vec::new()),
                _ => Control::Stalled,
            }
        } else if self.request(setup, &mut reply, now) {
            reply.truncate(setup.length.into());
            Control::In(reply, 0)
        } else {
            Control::Stalled
        };
        Answer::Done(Setup::LEN)
    }

    /// Data of a request that asks, or the end of one that tells.
    fn control_in(&mut self, room: &mut [u8], now: u64) -> Answer {
        let most = self.device.description().control_packet();
        match &mut self.control {
            Control::In(reply, sent) => {
                let rest = reply.get(*sent..).unwrap_or_default();
                let packet = &rest[..rest.len().min(most)];
                let Some(room) = room.get_mut(..packet.len()) else { return Answer::Babble };
                room.copy_from_slice(packet);
                *sent += packet.len();
                Answer::Done(room.len())
            }
            Control::Out(setup, data) if data.len() == usize::from(setup.length) || setup.is_in() => {
                let (setup, mut data) = (*setup, std::mem::take(data));
                let done = self.request(setup, &mut data, now);
                self.control = if done { Control::Idle } else { Control::Stalled };
                if done { Answer::Done(0) } else { Answer::Stall }
            }
            Control::Idle | Control::Out(..) | Control::Stalled => {
                self.control = Control::Stalled;
                Answer::Stall
            }
        }
    }

    /// Data of a request that tells, or the end of one that asks.
    fn control_out(&mut self, data: &[u8]) -> Answer {
        match &mut self.control {
            Control::In(..) => {
                self.control = Control::Idle;
                Answer::Done(data.len())
            }
            Control::Out(setup, got) if got.len() + data.len() <= usize::from(setup.length) => {
                got.extend_from_slice(data);
                Answer::Done(data.len())
            }
            Control::Idle | Control::Out(..) | Control::Stalled => {
                self.control = Control::Stalled;
                Answer::Stall
            }
        }
    }

    fn request(&mut self, setup: Setup, data: &mut Vec<u8>, now: u64) -> bool {
        match self.standard(setup, data) {
            Some(done) => done,
            None => self.device.request(setup, data, now),
        }
    }

    /// Whether a standard request was done; none: it is the device's.
    fn standard(&mut self, setup: Setup, data: &mut Vec<u8>) -> Option<bool> {
        let Setup { kind: to, request, value, index, length: _ } = setup;
        let attributes = self.device.description().configuration.attributes;
        let endpoint = u8::try_from(index).ok();
        let there = endpoint.filter(|at| at & 0x7f == 0 || self.device.description().endpoint(*at).is_some());
        let interfaces = self.device.description().configuration.interfaces.len();
        let interface = self.configured && usize::from(index) < interfaces;
        match u16::from_be_bytes([to, request]) {
            request::STATUS_DEVICE => {
                let powered = attributes & Configuration::SELF_POWERED != 0;
                data.extend([u8::from(powered) | u8::from(self.wakeup) << 1, 0]);
            }
            request::STATUS_INTERFACE if interface => data.extend([0, 0]),
            request::STATUS_ENDPOINT => data.extend([u8::from(self.halted & bit(there?) != 0), 0]),
            request::CLEAR_FEATURE_DEVICE if value == REMOTE_WAKEUP => self.wakeup = false,
            request::SET_FEATURE_DEVICE if value == REMOTE_WAKEUP => {
                self.wakeup = attributes & Configuration::WAKEUP != 0;
                return Some(self.wakeup);
            }
            request::CLEAR_FEATURE_ENDPOINT if value == ENDPOINT_HALT => self.halted &= !bit(there?),
            request::SET_FEATURE_ENDPOINT if value == ENDPOINT_HALT => self.halted |= bit(there?) & !1,
            request::SET_ADDRESS => match u8::try_from(value) {
                Ok(address) if address < 128 => self.address = address,
                _ => return Some(false),
            },
            request::GET_DESCRIPTOR => return self.descriptor(value, data),
            request::GET_CONFIGURATION => data.push(u8::from(self.configured)),
            request::SET_CONFIGURATION if value <= Configuration::VALUE.into() => self.configure(value != 0),
            request::GET_INTERFACE if interface => data.push(0),
            request::SET_INTERFACE if interface && value == 0 => {}
            // The rest of bmRequestType's standard kind is for the class where it names an interface.
            _ if to & 0x60 == 0 && to & 0x1f != 1 => return Some(false),
            _ => return None,
        }
        Some(true)
    }

    fn descriptor(&self, value: u16, data: &mut Vec<u8>) -> Option<bool> {
        let [index, of] = value.to_le_bytes();
        let description = self.device.description();
        let found = match of {
            kind::DEVICE if index == 0 => Some(description.device()),
            kind::CONFIGURATION if index == 0 => Some(description.configuration()),
            kind::STRING => description.string(index),
            kind::BOS if index == 0 => description.bos(),
            _ => None,
        };
        Some(found.map(|descriptor| *data = descriptor).is_some())
    }

    fn configure(&mut self, is: bool) {
        self.configured = is;
        self.halted = 0;
        self.device.configured(is);
    }

    /// What helps a person.
    pub fn inspect(&self, node: &mut Node) {
        node.value("is", self.device.title()).value("address", self.address);
        node.value("configured", self.configured).value("may wake", self.wakeup);
        self.device.inspect(node);
    }
}
