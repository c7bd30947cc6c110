//! How front end and back end speak with each other (QEMU's documentation, "Vhost-user Protocol"): a header of three
//! numbers of 32 bits in the host's order, request, flags and size, and then so many bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Requests of the front end's (`VhostUserFrontendRequest`).
pub(crate) mod request {
    pub(crate) const GET_FEATURES: u32 = 1;
    pub(crate) const SET_FEATURES: u32 = 2;
    pub(crate) const SET_OWNER: u32 = 3;
    pub(crate) const SET_MEM_TABLE: u32 = 5;
    pub(crate) const SET_VRING_NUM: u32 = 8;
    pub(crate) const SET_VRING_ADDR: u32 = 9;
    pub(crate) const SET_VRING_BASE: u32 = 10;
    pub(crate) const GET_VRING_BASE: u32 = 11;
    pub(crate) const SET_VRING_KICK: u32 = 12;
    pub(crate) const SET_VRING_CALL: u32 = 13;
    pub(crate) const SET_VRING_ERR: u32 = 14;
    pub(crate) const GET_PROTOCOL_FEATURES: u32 = 15;
    pub(crate) const SET_PROTOCOL_FEATURES: u32 = 16;
    pub(crate) const GET_QUEUE_NUM: u32 = 17;
    pub(crate) const SET_VRING_ENABLE: u32 = 18;
    pub(crate) const SET_BACKEND_REQ_FD: u32 = 21;
    pub(crate) const GET_CONFIG: u32 = 24;
    pub(crate) const SET_CONFIG: u32 = 25;
    pub(crate) const RESET_DEVICE: u32 = 34;
    pub(crate) const SET_STATUS: u32 = 39;
    pub(crate) const SET_DEVICE_STATE_FD: u32 = 42;
    pub(crate) const CHECK_DEVICE_STATE: u32 = 43;
}

/// Features of the device that are none of its type.
pub(crate) mod feature {
    /// There are features of the protocol.
    pub(crate) const PROTOCOL_FEATURES: u64 = 1 << 30;
    /// Descriptors may be in tables elsewhere.
    pub(crate) const INDIRECT_DESC: u64 = 1 << 28;
    /// Virtio 1.0.
    pub(crate) const VERSION_1: u64 = 1 << 32;
}

/// Features of the protocol.
pub(crate) mod protocol {
    /// It says how many queues it has.
    pub(crate) const MQ: u64 = 1;
    /// Each request is answered.
    pub(crate) const REPLY_ACK: u64 = 1 << 3;
    /// It has requests of its own.
    pub(crate) const BACKEND_REQ: u64 = 1 << 5;
    /// It has the device's configuration.
    pub(crate) const CONFIG: u64 = 1 << 9;
    /// It can be reset.
    pub(crate) const RESET_DEVICE: u64 = 1 << 13;
    /// It hears of the device's status.
    pub(crate) const STATUS: u64 = 1 << 16;
    /// Its state can be had.
    pub(crate) const DEVICE_STATE: u64 = 1 << 19;
}

/// Flags: the protocol's version, an answer, an answer is wanted.
const VERSION: u32 = 1;
const VERSION_MASK: u32 = 3;
const REPLY: u32 = 4;
const NEED_REPLY: u32 = 8;

/// Bytes of a message's head.
const HEAD: usize = 12;
/// Most bytes behind it: those of a device's configuration, and some to spare.
pub(crate) const MOST: usize = 4096;

/// An error of the back end's.
pub(crate) fn broken(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Whoever waits while the other thinks about its answer.
pub(crate) trait Waits {
    /// Waits until something can be read from `peer`, or so long. False: there is nothing to wait for any more.
    fn wait(&self, peer: &OwnedFd, time: Duration) -> bool;
    /// Whether there is anything to wait for.
    fn goes_on(&self) -> bool {
        true
    }
}

/// A connection.
pub(crate) struct Channel<'a> {
    peer: &'a OwnedFd,
    waits: &'a dyn Waits,
    /// How long an answer may take.
    patience: Duration,
    /// Each request is answered.
    acknowledges: bool,
}

/// A message.
pub(crate) struct Message {
    /// Which request.
    pub(crate) request: u32,
    flags: u32,
    /// What follows its head.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Whether whoever sent it wants an answer.
    pub(crate) fn wants_reply(&self) -> bool {
        self.flags & NEED_REPLY != 0
    }
}

/// A message's numbers, one after the other.
pub(crate) fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Likewise, of 64 bits.
pub(crate) fn longs<const N: usize>(longs: [u64; N]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_ne_bytes()).collect()
}

impl<'a> Channel<'a> {
    /// On a connection that never blocks.
    pub(crate) fn new(peer: &'a OwnedFd, waits: &'a dyn Waits, patience: Duration) -> Channel<'a> {
        Channel { peer, waits, patience, acknowledges: false }
    }

    /// From now on each request is answered, or not.
    pub(crate) fn set_acknowledges(&mut self, acknowledges: bool) {
        self.acknowledges = acknowledges;
    }

    /// A request that is answered by a number.
    pub(crate) fn ask(&mut self, request: u32, body: &[u8], files: &[BorrowedFd]) -> io::Result<u64> {
        self.send(request, VERSION, body, files)?;
        self.number(request)
    }

    /// One that is answered by anything.
    pub(crate) fn ask_for(&mut self, request: u32, body: &[u8]) -> io::Result<Vec<u8>> {
        self.send(request, VERSION, body, &[])?;
        self.answer(request)
    }

    /// One that has no answer, or only whether it was carried out.
    pub(crate) fn tell(&mut self, request: u32, body: &[u8], files: &[BorrowedFd]) -> io::Result<()> {
        match self.attempt(request, body, files)? {
            true => Ok(()),
            false => Err(broken(format!("it refuses request {request}"))),
        }
    }

    /// Likewise one that may be refused: whether it was carried out, as far as that can be known.
    pub(crate) fn attempt(&mut self, request: u32, body: &[u8], files: &[BorrowedFd]) -> io::Result<bool> {
        let flags = if self.acknowledges { VERSION | NEED_REPLY } else { VERSION };
        self.send(request, flags, body, files)?;
        Ok(!self.acknowledges || self.number(request)? == 0)
    }

    /// Answers a request of the other's.
    pub(crate) fn reply(&mut self, to: &Message, value: u64) -> io::Result<()> {
        self.send(to.request, VERSION | REPLY, &longs([value]), &[])
    }

    /// All messages together are shorter than what a socket holds: one that has no room is not read from.
    fn send(&mut self, request: u32, flags: u32, body: &[u8], files: &[BorrowedFd]) -> io::Result<()> {
        let head = words([request, flags, body.len() as u32]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
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
    fn number(&mut self, request: u32) -> io::Result<u64> {
        let body = self.answer(request)?;
        let number = body.as_slice().try_into().map(u64::from_ne_bytes);
        number.map_err(|_| unanswered(request))
    }

    fn answer(&mut self, request: u32) -> io::Result<Vec<u8>> {
        let message = self.message()?;
        let flags = message.flags & (VERSION_MASK | REPLY);
        if (message.request, flags) != (request, VERSION | REPLY) {
            return Err(unanswered(request));
        }
        Ok(message.body)
    }

    /// The next message, whatever it is.
    pub(crate) fn message(&mut self) -> io::Result<Message> {
        let mut head = [0; HEAD];
        let end = Instant::now() + self.patience;
        self.read(&mut head, end)?;
        let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let len = word(8) as usize;
        if len > MOST {
            return Err(broken(format!("a message of {len} bytes")));
        }
        let mut body = vec![0; len];
        self.read(&mut body, end)?;
        Ok(Message { request: word(0), flags: word(4), body })
    }

    fn read(&mut self, to: &mut [u8], end: Instant) -> io::Result<()> {
        let mut done = 0;
        while done < to.len() {
            // No room for files: the kernel closes those that come.
            let mut control = RecvAncillaryBuffer::default();
            let mut parts = [IoSliceMut::new(&mut to[done..])];
            match recvmsg(self.peer, &mut parts, &mut control, RecvFlags::DONTWAIT) {
                Ok(got) if got.flags.contains(ReturnFlags::CTRUNC) => {
                    return Err(broken("it sends files that nobody asked for"));
                }
                Ok(got) if got.bytes == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(Errno::CONNRESET) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => done += got.bytes,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(end)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wait(&self, end: Instant) -> io::Result<()> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(broken("it does not answer"));
        }
        if self.waits.wait(self.peer, left) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

fn unanswered(request: u32) -> io::Error {
    broken(format!("it does not answer request {request} as it should"))
}
