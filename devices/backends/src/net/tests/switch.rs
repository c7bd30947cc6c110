//! The other end of `vhost-user`, as a switch has it: what it knows it has from what it is told.

use std::collections::HashMap;
use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory};

/// VERSION_1, MRG_RXBUF and the protocol's own features; what nobody asks for is offered too.
pub(super) const FEATURES: u64 = 1 << 32 | 1 << 15 | 1 << 30 | 1 << 5 | 1 << 28 | 0xff;
/// REPLY_ACK, and multiple queues.
const PROTOCOL: u64 = 1 << 3 | 1;

/// A ring, and how far it was followed.
#[derive(Default)]
struct Ring {
    size: u16,
    descriptors: u64,
    used: u64,
    available: u64,
    kick: Option<File>,
    call: Option<File>,
    enabled: bool,
    seen: u16,
    index: u16,
}

/// A switch that somebody is connected to.
pub(super) struct Switch {
    peer: UnixStream,
    offers: u64,
    /// What was asked, and with which number.
    pub(super) told: Vec<u32>,
    pub(super) taken: u64,
    region: Option<(u64, MmapRegion<()>)>,
    rings: HashMap<u32, Ring>,
}

/// A chain's head and its pieces: address, length and whether they are to be written.
type Chain = (u16, Vec<(u64, u32, bool)>);

/// One message.
pub(super) struct Message {
    pub(super) request: u32,
    flags: u32,
    body: Vec<u8>,
    file: Option<OwnedFd>,
}

impl Message {
    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.body[4 * at..4 * at + 4].try_into().unwrap())
    }
    fn long(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.body[8 * at..8 * at + 8].try_into().unwrap())
    }
}

impl Switch {
    pub(super) fn new(peer: UnixStream, offers: u64) -> Switch {
        peer.set_read_timeout(Some(super::SOON)).unwrap();
        Switch { peer, offers, told: Vec::new(), taken: 0, region: None, rings: HashMap::new() }
    }

    /// One that has been told all.
    pub(super) fn ready(peer: UnixStream, offers: u64) -> Switch {
        let mut switch = Switch::new(peer, offers);
        while !switch.is_ready() {
            let message = switch.hear().expect("it is told all");
            switch.obey(message);
        }
        switch
    }

    fn is_ready(&self) -> bool {
        let runs = |ring: &Ring| ring.kick.is_some() && (ring.enabled || self.taken & 1 << 30 == 0);
        self.rings.len() == 2 && self.rings.values().all(runs)
    }

    pub(super) fn hear(&mut self) -> std::io::Result<Message> {
        let mut head = [0; 12];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let len =
            recvmsg(&self.peer, &mut [IoSliceMut::new(&mut head)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if len.bytes != head.len() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let files = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let file = files.flatten().next();
        let word = |at: usize| u32::from_ne_bytes(head[4 * at..4 * at + 4].try_into().unwrap());
        let mut body = vec![0; word(2) as usize];
        self.peer.read_exact(&mut body)?;
        self.told.push(word(0));
        Ok(Message { request: word(0), flags: word(1), body, file })
    }

    pub(super) fn answer(&mut self, request: u32, value: u64) {
        let words = [request, 1 | 4, 8].map(u32::to_ne_bytes).concat();
        self.peer.write_all(&[words.as_slice(), &value.to_ne_bytes()].concat()).unwrap();
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).unwrap();
    }

    /// Whether the other has closed the connection.
    pub(super) fn is_closed(&mut self) -> bool {
        match self.peer.read(&mut [0; 1]) {
            Ok(len) => len == 0,
            // It has not read all that it was sent.
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    pub(super) fn obey(&mut self, message: Message) {
        let (request, flags) = (message.request, message.flags);
        assert_eq!(flags & 3, 1, "the protocol's version");
        match request {
            1 => return self.answer(1, self.offers),
            15 => return self.answer(15, PROTOCOL),
            2 => self.taken = message.long(0),
            3 | 16 => {}
            5 => {
                assert_eq!(message.word(0), 1, "one region");
                let (address, len, user, offset) =
                    (message.long(1), message.long(2), message.long(3), message.long(4));
                assert_eq!((address, offset), (user, 0));
                let file = FileOffset::new(File::from(message.file.unwrap()), offset);
                self.region = Some((address, MmapRegion::from_file(file, len as usize).unwrap()));
            }
            8 => self.ring(message.word(0)).size = message.word(1) as u16,
            9 => {
                let (descriptors, used, available) = (message.long(1), message.long(2), message.long(3));
                let ring = self.ring(message.word(0));
                (ring.descriptors, ring.used, ring.available) = (descriptors, used, available);
            }
            10 => self.ring(message.word(0)).seen = message.word(1) as u16,
            12 => {
                let number = message.word(0);
                self.ring(number).kick = message.file.map(File::from);
            }
            13 => {
                let number = message.word(0);
                self.ring(number).call = message.file.map(File::from);
            }
            18 => self.ring(message.word(0)).enabled = message.word(1) == 1,
            other => panic!("request {other}"),
        }
        if flags & 8 != 0 {
            self.answer(request, 0);
        }
    }

    fn ring(&mut self, number: u32) -> &mut Ring {
        self.rings.entry(number).or_default()
    }

    fn read(&self, at: u64, data: &mut [u8]) {
        let (start, region) = self.region.as_ref().unwrap();
        region.as_volatile_slice().read_slice(data, (at - start) as usize).unwrap();
    }

    fn write(&self, at: u64, data: &[u8]) {
        let (start, region) = self.region.as_ref().unwrap();
        region.as_volatile_slice().write_slice(data, (at - start) as usize).unwrap();
    }

    fn index(&self, at: u64) -> u16 {
        let (start, region) = self.region.as_ref().unwrap();
        region.as_volatile_slice().load((at - start) as usize, Ordering::SeqCst).unwrap()
    }

    fn set_index(&self, at: u64, value: u16) {
        let (start, region) = self.region.as_ref().unwrap();
        region.as_volatile_slice().store(value, (at - start) as usize, Ordering::SeqCst).unwrap();
    }

    pub(super) fn poke(&self, at: u64, value: u16) {
        self.write(at, &value.to_le_bytes());
    }

    /// The next chain of a ring.
    fn chain(&mut self, number: u32) -> Option<Chain> {
        let Ring { size, descriptors, available, seen, .. } = self.rings[&number];
        if self.index(available + 2) == seen {
            return None;
        }
        let head = self.index(available + 4 + 2 * u64::from(seen % size));
        let (mut pieces, mut at) = (Vec::new(), head);
        loop {
            let mut bytes = [0; 16];
            self.read(descriptors + 16 * u64::from(at), &mut bytes);
            let address = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
            let flags = u16::from_le_bytes(bytes[12..14].try_into().unwrap());
            pieces.push((address, len, flags & 2 != 0));
            if flags & 1 == 0 {
                break;
            }
            at = u16::from_le_bytes(bytes[14..].try_into().unwrap());
        }
        self.ring(number).seen = seen.wrapping_add(1);
        Some((head, pieces))
    }

    /// The same, waiting for it. A kick may be an older one.
    pub(super) fn next_chain(&mut self, number: u32) -> Chain {
        loop {
            if let Some(chain) = self.chain(number) {
                return chain;
            }
            self.wait(number);
        }
    }

    /// Writes a used entry, which [`Switch::show`] shows.
    pub(super) fn used(&mut self, number: u32, head: u32, len: u32) {
        let Ring { size, used, index, .. } = self.rings[&number];
        let entry = [head.to_le_bytes(), len.to_le_bytes()].concat();
        self.write(used + 4 + 8 * u64::from(index % size), &entry);
        self.ring(number).index = index.wrapping_add(1);
    }

    /// Shows the other what was used, so many further than it is.
    pub(super) fn show(&mut self, number: u32, lie: u16) {
        let Ring { used, index, .. } = self.rings[&number];
        self.set_index(used + 2, index.wrapping_add(lie));
        // Though the other may have said that it looks by itself.
        self.rings[&number].call.as_ref().unwrap().write_all(&1u64.to_ne_bytes()).unwrap();
    }

    /// Waits until the other has something for a ring.
    fn wait(&mut self, number: u32) {
        let kick = self.rings[&number].kick.as_ref().unwrap();
        let timeout = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
        let mut polled = [rustix::event::PollFd::new(kick, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut polled, Some(&timeout)).unwrap(), 1, "it kicks");
        let _ = rustix::io::read(kick, &mut [0u8; 8]);
    }

    /// The next frame of the guest's.
    pub(super) fn frame(&mut self) -> Vec<u8> {
        let (head, pieces) = self.next_chain(1);
        let mut packet = Vec::new();
        for (at, len, write) in pieces {
            assert!(!write);
            let start = packet.len();
            packet.resize(start + len as usize, 0);
            self.read(at, &mut packet[start..]);
        }
        self.used(1, head.into(), 0);
        self.show(1, 0);
        assert_eq!(packet[..12], [0; 12], "nothing is left to be done");
        packet.split_off(12)
    }

    /// Puts a frame into as many buffers as it takes, behind a header of these flags.
    pub(super) fn give(&mut self, frame: &[u8], flags: u8) {
        let mut packet = vec![0; 12];
        packet[0] = flags;
        packet.extend_from_slice(frame);
        let (mut rest, mut parts) = (packet.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (head, pieces) = self.next_chain(0);
            let mut len = 0;
            for (at, room, write) in pieces {
                assert!(write);
                let (now, after) = rest.split_at(rest.len().min(room as usize));
                self.write(at, now);
                parts.push(at);
                len += now.len() as u32;
                rest = after;
            }
            self.used(0, head.into(), len);
        }
        self.write(parts[0] + 10, &(parts.len() as u16).to_le_bytes());
        self.show(0, 0);
    }
}
