//! What front end and back end say to each other (QEMU's documentation, "Vhost-user Protocol"): a header of three
//! numbers of 32 bits in the host's order, request, flags and size, and then so many bytes.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};

use super::memory::{ADDRESS, AVAILABLE, LEN, Memory, SIZE, USED, queue};
use crate::net::queues::Queues;

/// Requests (`VhostUserRequest`).
mod request {
    pub(super) const GET_FEATURES: u32 = 1;
    pub(super) const SET_FEATURES: u32 = 2;
    pub(super) const SET_OWNER: u32 = 3;
    pub(super) const SET_MEM_TABLE: u32 = 5;
    pub(super) const SET_VRING_NUM: u32 = 8;
    pub(super) const SET_VRING_ADDR: u32 = 9;
    pub(super) const SET_VRING_BASE: u32 = 10;
    pub(super) const SET_VRING_KICK: u32 = 12;
    pub(super) const SET_VRING_CALL: u32 = 13;
    pub(super) const GET_PROTOCOL_FEATURES: u32 = 15;
    pub(super) const SET_PROTOCOL_FEATURES: u32 = 16;
    pub(super) const SET_VRING_ENABLE: u32 = 18;
}

/// Flags: the protocol's version, an answer, an answer is wanted.
const VERSION: u32 = 1;
const VERSION_MASK: u32 = 3;
const REPLY: u32 = 4;
const NEED_REPLY: u32 = 8;

/// Features of the device: frames in several buffers, features of the protocol, virtio 1.0.
const MRG_RXBUF: u64 = 1 << 15;
const PROTOCOL_FEATURES: u64 = 1 << 30;
const VERSION_1: u64 = 1 << 32;
/// The one of the protocol's features that is used: each request is answered.
const REPLY_ACK: u64 = 1 << 3;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An error of the back end's.
pub(super) fn broken(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

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

/// A connection that is being set up.
pub(super) struct Conversation<'a> {
    queues: &'a Queues,
    peer: &'a OwnedFd,
    acknowledges: bool,
}

/// A message's numbers, one after the other.
fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn longs<const N: usize>(longs: [u64; N]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_ne_bytes()).collect()
}

impl<'a> Conversation<'a> {
    pub(super) fn new(queues: &'a Queues, peer: &'a OwnedFd) -> Conversation<'a> {
        Conversation { queues, peer, acknowledges: false }
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
        let offered = self.ask(request::GET_FEATURES)?;
        if offered & VERSION_1 == 0 {
            return Err(broken("it does not know virtio 1.0"));
        }
        let taken = offered & (VERSION_1 | MRG_RXBUF | PROTOCOL_FEATURES);
        if taken & PROTOCOL_FEATURES != 0 {
            let protocol = self.ask(request::GET_PROTOCOL_FEATURES)? & REPLY_ACK;
            self.tell(request::SET_PROTOCOL_FEATURES, &longs([protocol]), None)?;
            self.acknowledges = protocol != 0;
        }
        self.tell(request::SET_OWNER, &[], None)?;
        self.tell(request::SET_FEATURES, &longs([taken]), None)?;
        // One region: its address for descriptors, its length, its address for rings, where it begins in the file.
        let region = longs([ADDRESS, LEN as u64, ADDRESS, 0]);
        let table = [words([1, 0]), region].concat();
        self.tell(request::SET_MEM_TABLE, &table, Some(rings.memory.file()?))?;
        for (number, kick) in rings.kicks.iter().enumerate() {
            self.ring(number, kick, rings.call)?;
        }
        if taken & PROTOCOL_FEATURES != 0 {
            // Without these a ring runs once it has its eventfd.
            for number in 0..2 {
                self.tell(request::SET_VRING_ENABLE, &words([number, 1]), None)?;
            }
        }
        Ok(Features { merges: taken & MRG_RXBUF != 0 })
    }

    fn ring(&mut self, number: usize, kick: &OwnedFd, call: &OwnedFd) -> io::Result<()> {
        let (index, base) = (number as u32, ADDRESS + queue(number) as u64);
        self.tell(request::SET_VRING_NUM, &words([index, SIZE as u32]), None)?;
        self.tell(request::SET_VRING_BASE, &words([index, 0]), None)?;
        // Descriptors, used ring, available ring, no log.
        let places = longs([base, base + USED as u64, base + AVAILABLE as u64, 0]);
        self.tell(request::SET_VRING_ADDR, &[words([index, 0]), places].concat(), None)?;
        let index = longs([u64::from(index)]);
        self.tell(request::SET_VRING_CALL, &index, Some(call.as_fd()))?;
        self.tell(request::SET_VRING_KICK, &index, Some(kick.as_fd()))
    }

    /// A request that has an answer.
    fn ask(&mut self, request: u32) -> io::Result<u64> {
        self.send(request, VERSION, &[], None)?;
        self.answer(request)
    }

    /// One that has none, or only whether it was carried out.
    fn tell(&mut self, request: u32, body: &[u8], file: Option<BorrowedFd>) -> io::Result<()> {
        let flags = if self.acknowledges { VERSION | NEED_REPLY } else { VERSION };
        self.send(request, flags, body, file)?;
        if self.acknowledges && self.answer(request)? != 0 {
            return Err(broken(format!("it refuses request {request}")));
        }
        Ok(())
    }

    /// All messages together are shorter than what a socket holds: one that has no room is not read from.
    fn send(&mut self, request: u32, flags: u32, body: &[u8], file: Option<BorrowedFd>) -> io::Result<()> {
        let head = words([request, flags, body.len() as u32]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file];
        let files: Vec<BorrowedFd> = files.into_iter().flatten().collect();
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let parts = [IoSlice::new(&head), IoSlice::new(body)];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(self.peer, &parts, &mut control, flags) {
            Ok(sent) if sent == head.len() + body.len() => Ok(()),
            Ok(_) | Err(Errno::AGAIN) => Err(broken("it does not take what it is told")),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The number that answers a request.
    fn answer(&mut self, request: u32) -> io::Result<u64> {
        let mut bytes = [0; 12 + 8];
        self.read(&mut bytes)?;
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let flags = word(4) & (VERSION_MASK | REPLY);
        if (word(0), flags, word(8)) != (request, VERSION | REPLY, 8) {
            return Err(broken(format!("it does not answer request {request} as it should")));
        }
        Ok(u64::from(word(12)) | u64::from(word(16)) << 32)
    }

    fn read(&mut self, to: &mut [u8]) -> io::Result<()> {
        let (mut done, end) = (0, Instant::now() + PATIENCE);
        while done < to.len() {
            match recv(self.peer, &mut to[done..], RecvFlags::DONTWAIT) {
                Ok((0, _)) | Err(Errno::CONNRESET) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((len, _)) => done += len,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(end)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wait(&self, end: Instant) -> io::Result<()> {
        let left = end.saturating_duration_since(Instant::now());
        if self.queues.stopping() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if left.is_zero() {
            return Err(broken("it does not answer"));
        }
        self.queues.wait(Some((self.peer, PollFlags::IN)), false, Some(left));
        Ok(())
    }
}
