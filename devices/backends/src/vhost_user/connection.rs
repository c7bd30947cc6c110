//! What is said to a back end, from its first answer to its last.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use devices_core::vhost_user::Needs;
use hypervisor::memory::SharedRam;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::channel::{Channel, Waits, broken, feature, longs, protocol, request, words};
use super::memory::Memory;
use super::ring::{ADDRESS, Layout};

/// Features of the protocol that are used.
const PROTOCOL: u64 = protocol::MQ
    | protocol::REPLY_ACK
    | protocol::BACKEND_REQ
    | protocol::CONFIG
    | protocol::RESET_DEVICE
    | protocol::STATUS
    | protocol::DEVICE_STATE;

/// Most bytes of a back end's state.
const STATE: usize = 64 << 20;

/// Device status, to those who want to hear of it: all is set up.
const RUNNING: u64 = 0xf;

/// A request of the back end's: the configuration has changed (`VHOST_USER_BACKEND_CONFIG_CHANGE_MSG`).
const CONFIG_CHANGE: u32 = 2;

/// Directions of a state's way.
const SAVE: u32 = 0;
const LOAD: u32 = 1;

/// A back end that is there.
pub(super) struct Connection {
    pub(super) peer: OwnedFd,
    /// Where it has requests of its own.
    pub(super) requests: Option<OwnedFd>,
    protocol: u64,
    patience: Duration,
}

/// What it says of itself.
pub(super) struct Greeting {
    pub(super) connection: Connection,
    pub(super) features: u64,
    pub(super) config: Vec<u8>,
}

/// What the back end is to have before it begins.
pub(super) struct Setup<'a> {
    pub(super) features: u64,
    pub(super) ram: &'a SharedRam,
    pub(super) memory: &'a Memory,
    pub(super) layout: Layout,
    pub(super) kicks: &'a [OwnedFd],
    pub(super) call: &'a OwnedFd,
    pub(super) error: &'a OwnedFd,
}

impl Connection {
    /// Asks it what it is.
    pub(super) fn greet(
        peer: OwnedFd,
        waits: &dyn Waits,
        needs: &Needs,
        patience: Duration,
    ) -> io::Result<Greeting> {
        let mut connection = Connection { peer, requests: None, protocol: 0, patience };
        let mut channel = connection.channel(waits);
        let features = channel.ask(request::GET_FEATURES, &[], &[])?;
        if features & feature::VERSION_1 == 0 {
            return Err(broken("it does not know virtio 1.0"));
        }
        let mut taken = 0;
        if features & feature::PROTOCOL_FEATURES != 0 {
            taken = channel.ask(request::GET_PROTOCOL_FEATURES, &[], &[])? & PROTOCOL;
            channel.tell(request::SET_PROTOCOL_FEATURES, &longs([taken]), &[])?;
            channel.set_acknowledges(taken & protocol::REPLY_ACK != 0);
        }
        let queues = match taken & protocol::MQ {
            0 => u64::from(needs.queues),
            _ => channel.ask(request::GET_QUEUE_NUM, &[], &[])?,
        };
        if queues < u64::from(needs.queues) {
            let wanted = needs.queues;
            return Err(broken(format!("it has {queues} queues where the device has {wanted}")));
        }
        channel.tell(request::SET_OWNER, &[], &[])?;
        let mut requests = None;
        if taken & protocol::BACKEND_REQ != 0 {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            channel.tell(request::SET_BACKEND_REQ_FD, &[], &[theirs.as_fd()])?;
            requests = Some(ours.into());
        }
        (connection.protocol, connection.requests) = (taken, requests);
        let config = match needs.config {
            0 => Vec::new(),
            len => connection.config(waits, len)?,
        };
        Ok(Greeting { connection, features, config })
    }

    fn has(&self, feature: u64) -> bool {
        self.protocol & feature != 0
    }

    fn channel<'a>(&'a self, waits: &'a dyn Waits) -> Channel<'a> {
        let mut channel = Channel::new(&self.peer, waits, self.patience);
        channel.set_acknowledges(self.has(protocol::REPLY_ACK));
        channel
    }

    /// The device's configuration.
    pub(super) fn config(&self, waits: &dyn Waits, len: usize) -> io::Result<Vec<u8>> {
        if !self.has(protocol::CONFIG) {
            return Err(broken("it has no configuration of the device"));
        }
        let body = [words([0, len as u32, 0]), vec![0; len]].concat();
        let answer = self.channel(waits).ask_for(request::GET_CONFIG, &body)?;
        let config = answer.get(12..).filter(|config| config.len() == len);
        config.map(<[u8]>::to_vec).ok_or_else(|| broken("its configuration has another length"))
    }

    /// A part of it is to be another. It may refuse.
    pub(super) fn set_config(&self, waits: &dyn Waits, offset: usize, data: &[u8]) -> io::Result<()> {
        if self.has(protocol::CONFIG) {
            let body = [words([offset as u32, data.len() as u32, 0]), data.to_vec()].concat();
            self.channel(waits).attempt(request::SET_CONFIG, &body, &[])?;
        }
        Ok(())
    }

    /// Tells it where all is. It begins with [`Connection::begin`].
    pub(super) fn set_up(&self, waits: &dyn Waits, setup: &Setup) -> io::Result<()> {
        let mut channel = self.channel(waits);
        channel.tell(request::SET_FEATURES, &longs([setup.features]), &[])?;
        let SharedRam { file, regions } = setup.ram;
        let mut table = words([regions.len() as u32 + 1, 0]);
        let mut files = Vec::new();
        for region in regions {
            // Its address for descriptors, its length, its address for rings, where it begins in the file.
            table.extend(longs([region.gpa, region.len, region.gpa, region.offset]));
            files.push(file.as_fd());
        }
        table.extend(longs([ADDRESS, setup.memory.len() as u64, ADDRESS, 0]));
        files.push(setup.memory.file()?);
        channel.tell(request::SET_MEM_TABLE, &table, &files)
    }

    /// The rings are its own from now on.
    pub(super) fn begin(&self, waits: &dyn Waits, setup: &Setup) -> io::Result<()> {
        let mut channel = self.channel(waits);
        let layout = setup.layout;
        for (number, kick) in setup.kicks.iter().enumerate() {
            let (index, base) = (number as u32, ADDRESS + (number * layout.len()) as u64);
            channel.tell(request::SET_VRING_NUM, &words([index, layout.size().into()]), &[])?;
            channel.tell(request::SET_VRING_BASE, &words([index, 0]), &[])?;
            // Descriptors, used ring, available ring, no log.
            let (used, available) = (base + layout.used() as u64, base + layout.available() as u64);
            let places = longs([base, used, available, 0]);
            channel.tell(request::SET_VRING_ADDR, &[words([index, 0]), places].concat(), &[])?;
            let index = longs([u64::from(index)]);
            channel.tell(request::SET_VRING_CALL, &index, &[setup.call.as_fd()])?;
            channel.tell(request::SET_VRING_ERR, &index, &[setup.error.as_fd()])?;
            channel.tell(request::SET_VRING_KICK, &index, &[kick.as_fd()])?;
        }
        if setup.features & feature::PROTOCOL_FEATURES != 0 {
            // Without these a ring runs once it has its eventfd.
            for number in 0..setup.kicks.len() {
                channel.tell(request::SET_VRING_ENABLE, &words([number as u32, 1]), &[])?;
            }
        }
        if self.has(protocol::STATUS) {
            channel.tell(request::SET_STATUS, &longs([RUNNING]), &[])?;
        }
        Ok(())
    }

    /// Stops so many rings: it answers when it touches them no more.
    pub(super) fn halt(&self, waits: &dyn Waits, rings: usize, reset: bool) -> io::Result<()> {
        let mut channel = self.channel(waits);
        for number in 0..rings {
            let answer = channel.ask_for(request::GET_VRING_BASE, &words([number as u32, 0]))?;
            // How far it has come is known already.
            if answer.len() != 8 {
                return Err(broken("it does not say where a ring stands"));
            }
        }
        if reset && self.has(protocol::STATUS) {
            channel.tell(request::SET_STATUS, &longs([0]), &[])?;
        } else if reset && self.has(protocol::RESET_DEVICE) {
            channel.tell(request::RESET_DEVICE, &[], &[])?;
        }
        Ok(())
    }

    /// Hears a request of its own. True: the configuration has changed.
    pub(super) fn hear(&self, waits: &dyn Waits) -> io::Result<bool> {
        let Some(requests) = &self.requests else { return Ok(false) };
        let mut channel = Channel::new(requests, waits, self.patience);
        let message = match channel.message() {
            // It needs it no more.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(error),
            other => other?,
        };
        let known = message.request == CONFIG_CHANGE && message.body.is_empty();
        if message.wants_reply() {
            channel.reply(&message, u64::from(!known))?;
        }
        Ok(known)
    }

    /// Whether its state can be had and set.
    pub(super) fn gives_state(&self) -> bool {
        self.has(protocol::DEVICE_STATE)
    }

    fn hand_over_state(&self, waits: &dyn Waits, direction: u32, pipe: &OwnedFd) -> io::Result<()> {
        // The phase: it has stopped.
        let body = words([direction, 0]);
        let answer = self.channel(waits).ask(request::SET_DEVICE_STATE_FD, &body, &[pipe.as_fd()])?;
        // An error; or it would have another file used, which is not known of any.
        match (answer & 0xff, answer & 0x100) {
            (0, 0x100) => Ok(()),
            _ => Err(broken("it does not give or take its state")),
        }
    }

    fn check_state(&self, waits: &dyn Waits) -> io::Result<()> {
        match self.channel(waits).ask(request::CHECK_DEVICE_STATE, &[], &[])? {
            0 => Ok(()),
            _ => Err(broken("its state did not come through")),
        }
    }

    /// Its state, when it has stopped.
    pub(super) fn save(&self, waits: &dyn Waits) -> io::Result<Vec<u8>> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        self.hand_over_state(waits, SAVE, &theirs)?;
        drop(theirs);
        let mut state = Vec::new();
        let mut pipe = std::fs::File::from(ours);
        let (mut piece, mut end) = ([0; 16 << 10], Instant::now() + self.patience);
        loop {
            match pipe.read(&mut piece) {
                Ok(0) => break,
                Ok(len) if state.len() + len > STATE => return Err(broken("its state has no end")),
                Ok(len) => {
                    state.extend_from_slice(&piece[..len]);
                    end = Instant::now() + self.patience;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(waits, &pipe, PollFlags::IN, end)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.check_state(waits)?;
        Ok(state)
    }

    /// It goes on from that state.
    pub(super) fn load(&self, waits: &dyn Waits, state: &[u8]) -> io::Result<()> {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        self.hand_over_state(waits, LOAD, &theirs)?;
        drop(theirs);
        let mut pipe = std::fs::File::from(ours);
        let (mut left, mut end) = (state, Instant::now() + self.patience);
        while !left.is_empty() {
            match pipe.write(left) {
                Ok(len) => {
                    left = left.get(len..).unwrap_or_default();
                    end = Instant::now() + self.patience;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(waits, &pipe, PollFlags::OUT, end)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        drop(pipe);
        self.check_state(waits)
    }

    /// Waits for a pipe a little at a time, since nobody else is heard meanwhile.
    fn wait(&self, waits: &dyn Waits, pipe: impl AsFd, what: PollFlags, end: Instant) -> io::Result<()> {
        const LITTLE: Duration = Duration::from_millis(100);
        if Instant::now() >= end {
            return Err(broken("its state does not come to an end"));
        }
        let little = LITTLE.try_into().ok();
        poll(&mut [PollFd::new(&pipe, what)], little.as_ref())?;
        if waits.goes_on() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}
