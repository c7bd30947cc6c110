//! A back end: what it knows it has from what it is told.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory};

/// Features: of the type (0 and 5), tables, of the protocol, version 1, and what nobody asks for.
pub(super) const FEATURES: u64 = 0x21 | 1 << 28 | 1 << 29 | 1 << 30 | 1 << 32 | 1 << 34 | 1 << 26;
/// MQ, REPLY_ACK, BACKEND_REQ, CONFIG, RESET_DEVICE, DEVICE_STATE, and what nobody asks for (LOG_SHMFD, INFLIGHT_SHMFD).
pub(super) const PROTOCOL: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 12 | 1 << 13 | 1 << 19;

/// A ring, and how far it was followed.
#[derive(Default)]
pub(super) struct Ring {
    pub(super) size: u16,
    pub(super) descriptors: u64,
    pub(super) used: u64,
    pub(super) available: u64,
    pub(super) kick: Option<File>,
    pub(super) call: Option<File>,
    pub(super) error: Option<File>,
    pub(super) enabled: bool,
    pub(super) seen: u16,
    pub(super) index: u16,
}

pub(super) struct Message {
    pub(super) request: u32,
    pub(super) flags: u32,
    pub(super) body: Vec<u8>,
    pub(super) files: Vec<OwnedFd>,
}

impl Message {
    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.body[4 * at..4 * at + 4].try_into().unwrap())
    }
    fn long(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.body[8 * at..8 * at + 8].try_into().unwrap())
    }
}

/// Requests and their files.
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) len: u32,
    pub(super) write: bool,
}

pub(super) struct BackEnd {
    pub(super) peer: UnixStream,
    pub(super) features: u64,
    pub(super) protocol: u64,
    pub(super) queues: u64,
    pub(super) config: Vec<u8>,
    pub(super) state: Vec<u8>,
    /// What was asked, and with which number.
    pub(super) told: Vec<u32>,
    pub(super) taken: u64,
    pub(super) requests: Option<UnixStream>,
    pub(super) regions: Vec<(u64, u64, MmapRegion<()>)>,
    pub(super) rings: BTreeMap<u32, Ring>,
}

impl BackEnd {
    pub(super) fn new(peer: UnixStream) -> BackEnd {
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        BackEnd {
            peer,
            features: FEATURES,
            protocol: PROTOCOL,
            queues: 2,
            config: (0..16).collect(),
            state: Vec::new(),
            told: Vec::new(),
            taken: 0,
            requests: None,
            regions: Vec::new(),
            rings: BTreeMap::new(),
        }
    }

    pub(super) fn hear(&mut self) -> std::io::Result<Message> {
        let mut head = [0; 12];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut head)];
        let got = recvmsg(&self.peer, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if got.bytes != head.len() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let files = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let files = files.flatten().collect();
        let word = |at: usize| u32::from_ne_bytes(head[4 * at..4 * at + 4].try_into().unwrap());
        let mut body = vec![0; word(2) as usize];
        self.peer.read_exact(&mut body)?;
        self.told.push(word(0));
        Ok(Message { request: word(0), flags: word(1), body, files })
    }

    pub(super) fn answer(&mut self, request: u32, body: &[u8]) {
        let head = [request, 1 | 4, body.len() as u32].map(u32::to_ne_bytes).concat();
        // The other may have gone.
        let _ = self.peer.write_all(&[head.as_slice(), body].concat());
    }

    pub(super) fn send_file(&self, bytes: &[u8], file: &impl AsFd) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        sendmsg(&self.peer, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    }

    /// Hears and obeys until it was told that.
    pub(super) fn until(&mut self, request: u32) {
        while {
            let message = self.hear().expect("it is told more");
            let which = message.request;
            self.obey(message);
            which != request
        } {}
    }

    /// All rings run.
    pub(super) fn run(&mut self) {
        while self.rings.len() < self.queues as usize || self.rings.values().any(|ring| !ring.enabled) {
            let message = self.hear().expect("it is told more");
            self.obey(message);
        }
    }

    /// What is to be said before anything is asked of the device.
    pub(super) fn greet(&mut self) {
        self.until(24);
    }

    pub(super) fn obey(&mut self, mut message: Message) {
        let (request, flags) = (message.request, message.flags);
        assert_eq!(flags & 3, 1, "the protocol's version");
        let file = |message: &mut Message| message.files.pop().map(File::from);
        match request {
            1 => return self.answer(1, &self.features.to_ne_bytes()),
            15 => return self.answer(15, &self.protocol.to_ne_bytes()),
            17 => return self.answer(17, &self.queues.to_ne_bytes()),
            24 => {
                let len = message.word(1) as usize;
                assert_eq!((message.word(0), message.body.len()), (0, 12 + len));
                let body = [&message.body[..12], &self.config[..len]].concat();
                return self.answer(24, &body);
            }
            25 => {
                let (at, len) = (message.word(0) as usize, message.word(1) as usize);
                self.config[at..at + len].copy_from_slice(&message.body[12..]);
            }
            11 => {
                let ring = self.ring(message.word(0));
                (ring.enabled, ring.kick, ring.call) = (false, None, None);
                let body = [message.word(0), ring.seen.into()].map(u32::to_ne_bytes).concat();
                return self.answer(11, &body);
            }
            42 => {
                let mut pipe = file(&mut message).unwrap();
                match message.word(0) {
                    0 => {
                        let state = self.state.clone();
                        // More than a pipe holds.
                        std::thread::spawn(move || pipe.write_all(&state));
                    }
                    _ => {
                        self.answer(42, &0x100u64.to_ne_bytes());
                        self.state.clear();
                        pipe.read_to_end(&mut self.state).unwrap();
                        return;
                    }
                }
                return self.answer(42, &0x100u64.to_ne_bytes());
            }
            43 => return self.answer(43, &0u64.to_ne_bytes()),
            2 => self.taken = message.long(0),
            3 | 16 | 34 => {}
            21 => self.requests = message.files.pop().map(UnixStream::from),
            5 => {
                let count = message.word(0) as usize;
                assert_eq!(message.files.len(), count);
                let files = std::mem::take(&mut message.files);
                self.regions.clear();
                for (at, file) in files.into_iter().enumerate() {
                    let of = |n| message.long(1 + 4 * at + n);
                    let (gpa, len, user, offset) = (of(0), of(1), of(2), of(3));
                    let file = FileOffset::new(File::from(file), offset);
                    let region = MmapRegion::from_file(file, len as usize).unwrap();
                    self.regions.push((gpa, user, region));
                }
            }
            8 => self.ring(message.word(0)).size = message.word(1) as u16,
            9 => {
                let (descriptors, used, available) = (message.long(1), message.long(2), message.long(3));
                let ring = self.ring(message.word(0));
                (ring.descriptors, ring.used, ring.available) = (descriptors, used, available);
            }
            10 => {
                let base = message.word(1) as u16;
                let ring = self.ring(message.word(0));
                (ring.seen, ring.index) = (base, base);
            }
            12 => self.ring(message.word(0)).kick = file(&mut message),
            13 => self.ring(message.word(0)).call = file(&mut message),
            14 => self.ring(message.word(0)).error = file(&mut message),
            18 => self.ring(message.word(0)).enabled = message.word(1) == 1,
            other => panic!("request {other}"),
        }
        if flags & 8 != 0 {
            self.answer(request, &0u64.to_ne_bytes());
        }
    }

    pub(super) fn ring(&mut self, number: u32) -> &mut Ring {
        self.rings.entry(number).or_default()
    }

    fn place(&self, at: u64) -> (&MmapRegion<()>, usize) {
        let holds =
            |(gpa, _, region): &&(u64, u64, MmapRegion<()>)| at >= *gpa && at - gpa < region.size() as u64;
        let (gpa, _, region) = self.regions.iter().find(holds).expect("it is told of that address");
        (region, (at - gpa) as usize)
    }

    pub(super) fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        let (region, at) = self.place(at);
        region.as_volatile_slice().read_slice(&mut data, at).unwrap();
        data
    }

    pub(super) fn write(&self, at: u64, data: &[u8]) {
        let (region, at) = self.place(at);
        region.as_volatile_slice().write_slice(data, at).unwrap();
    }

    fn index(&self, at: u64) -> u16 {
        let (region, at) = self.place(at);
        region.as_volatile_slice().load(at, Ordering::SeqCst).unwrap()
    }

    pub(super) fn set_index(&self, at: u64, value: u16) {
        let (region, at) = self.place(at);
        region.as_volatile_slice().store(value, at, Ordering::SeqCst).unwrap();
    }

    /// The next request of a ring, which comes.
    pub(super) fn next(&mut self, number: u32) -> (u16, Vec<Piece>) {
        let at = loop {
            let ring = &self.rings[&number];
            if self.index(ring.available + 2) != ring.seen {
                break ring.available + 4 + 2 * u64::from(ring.seen % ring.size);
            }
            let kick = ring.kick.as_ref().unwrap();
            poll(&mut [PollFd::new(kick, PollFlags::IN)], None).unwrap();
            let _ = rustix::io::read(kick, &mut [0u8; 8]);
        };
        let head = self.index(at);
        let ring = self.ring(number);
        ring.seen = ring.seen.wrapping_add(1);
        let (mut table, mut pieces, mut at) = (ring.descriptors, Vec::new(), u64::from(head));
        loop {
            let bytes = self.read(table + 16 * at, 16);
            let address = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
            let flags = u16::from_le_bytes(bytes[12..14].try_into().unwrap());
            if flags & 4 != 0 {
                assert_eq!(len % 16, 0);
                (table, at) = (address, 0);
                continue;
            }
            pieces.push(Piece { at: address, len, write: flags & 2 != 0 });
            if flags & 1 == 0 {
                return (head, pieces);
            }
            at = u16::from_le_bytes(bytes[14..].try_into().unwrap()).into();
        }
    }

    /// Says that a request was carried out.
    pub(super) fn used(&mut self, number: u32, id: u32, written: u32) {
        let ring = self.ring(number);
        let (used, size, index) = (ring.used, ring.size, ring.index);
        ring.index = index.wrapping_add(1);
        let entry = [id.to_le_bytes(), written.to_le_bytes()].concat();
        self.write(used + 4 + 8 * u64::from(index % size), &entry);
        self.set_index(used + 2, index.wrapping_add(1));
        self.call(number);
    }

    pub(super) fn call(&mut self, number: u32) {
        let call = self.rings[&number].call.as_ref().unwrap();
        rustix::io::write(call, &1u64.to_ne_bytes()).unwrap();
    }

    /// Carries out one request of a ring: what it reads comes back, each byte and one.
    pub(super) fn echo(&mut self, number: u32) {
        let (head, pieces) = self.next(number);
        let from = pieces.iter().filter(|piece| !piece.write);
        let data: Vec<u8> = from.flat_map(|piece| self.read(piece.at, piece.len as usize)).collect();
        let mut written = 0;
        for piece in pieces.iter().filter(|piece| piece.write) {
            let left = &data[written..];
            let now = left.len().min(piece.len as usize);
            let bytes: Vec<u8> = left[..now].iter().map(|byte| byte.wrapping_add(1)).collect();
            self.write(piece.at, &bytes);
            written += now;
        }
        self.used(number, head.into(), written as u32);
    }
}
