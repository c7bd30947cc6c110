//! What front end and back end say to each other.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;

use super::memory::{ADDRESS, AVAILABLE, LEN, SIZE, USED, queue};
use crate::net::queues::Queues;
pub(super) use crate::vhost_user::channel::broken;
use crate::vhost_user::channel::{Channel, Waits, feature, longs, protocol, request, words};
use crate::vhost_user::memory::Memory;

/// A feature of the device: frames in several buffers.
const MRG_RXBUF: u64 = 1 << 15;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the back end is told of.
pub(super) struct Rings<'a> {
    pub(super) memory: &'a Memory,
    pub(super) kicks: &'a [OwnedFd; 2],
    pub(super) call: &'a OwnedFd,
}

/// What both can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    /// A frame for the guest may lie in several buffers.
    pub(super) merges: bool,
}

impl Waits for Queues {
    fn wait(&self, peer: &OwnedFd, time: Duration) -> bool {
        if self.stopping() {
            return false;
        }
        Queues::wait(self, Some((peer, PollFlags::IN)), false, Some(time));
        true
    }
}

/// A connection that is being set up.
pub(super) struct Conversation<'a>(Channel<'a>);

impl<'a> Conversation<'a> {
    pub(super) fn new(queues: &'a Queues, peer: &'a OwnedFd) -> Conversation<'a> {
        Conversation(Channel::new(peer, queues, PATIENCE))
    }

    /// Tells the back end all that it needs, and starts it. None: it has gone, or we are to.
    pub(super) fn set_up(mut self, rings: &Rings) -> io::Result<Option<Features>> {
        match self.all(rings) {
            Ok(features) => Ok(Some(features)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn all(&mut self, rings: &Rings) -> io::Result<Features> {
        let channel = &mut self.0;
        let offered = channel.ask(request::GET_FEATURES, &[], &[])?;
        if offered & feature::VERSION_1 == 0 {
            return Err(broken("it does not know virtio 1.0"));
        }
        let taken = offered & (feature::VERSION_1 | MRG_RXBUF | feature::PROTOCOL_FEATURES);
        let has_protocol = taken & feature::PROTOCOL_FEATURES != 0;
        if has_protocol {
            // The one of the protocol's features that is used: each request is answered.
            let of_protocol = channel.ask(request::GET_PROTOCOL_FEATURES, &[], &[])? & protocol::REPLY_ACK;
            channel.tell(request::SET_PROTOCOL_FEATURES, &longs([of_protocol]), &[])?;
            channel.set_acknowledges(of_protocol != 0);
        }
        channel.tell(request::SET_OWNER, &[], &[])?;
        channel.tell(request::SET_FEATURES, &longs([taken]), &[])?;
        // One region: its address for descriptors, its length, its address for rings, where it begins in the file.
        let region = longs([ADDRESS, LEN as u64, ADDRESS, 0]);
        let table = [words([1, 0]), region].concat();
        channel.tell(request::SET_MEM_TABLE, &table, &[rings.memory.file()?])?;
        for (number, kick) in rings.kicks.iter().enumerate() {
            self.ring(number, kick, rings.call)?;
        }
        if has_protocol {
            // Without these a ring runs once it has its eventfd.
            for number in 0..2 {
                self.0.tell(request::SET_VRING_ENABLE, &words([number, 1]), &[])?;
            }
        }
        Ok(Features { merges: taken & MRG_RXBUF != 0 })
    }

    fn ring(&mut self, number: usize, kick: &OwnedFd, call: &OwnedFd) -> io::Result<()> {
        let channel = &mut self.0;
        let (index, base) = (number as u32, ADDRESS + queue(number) as u64);
        channel.tell(request::SET_VRING_NUM, &words([index, SIZE as u32]), &[])?;
        channel.tell(request::SET_VRING_BASE, &words([index, 0]), &[])?;
        // Descriptors, used ring, available ring, no log.
        let places = longs([base, base + USED as u64, base + AVAILABLE as u64, 0]);
        channel.tell(request::SET_VRING_ADDR, &[words([index, 0]), places].concat(), &[])?;
        let index = longs([u64::from(index)]);
        channel.tell(request::SET_VRING_CALL, &index, &[call.as_fd()])?;
        channel.tell(request::SET_VRING_KICK, &index, &[kick.as_fd()])
    }
}
