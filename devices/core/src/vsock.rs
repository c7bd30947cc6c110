//! Sockets between a guest and its host (virtio socket device; Virtio 1.3, 5.10), as the device sees them: packets, which
//! it carries and does not look into.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::port::Port;

/// The host's own context identifier (CID).
pub const HOST_CID: u64 = 2;
/// The least that a guest can have: 0 and 1 are reserved.
pub const FIRST_CID: u64 = 3;
/// Most bytes that a packet carries, as in Linux (`VIRTIO_VSOCK_MAX_PKT_BUF_SIZE`).
pub const MAX_PAYLOAD: usize = 64 << 10;

/// Types of sockets (5.10.6).
pub mod kind {
    /// A stream of bytes.
    pub const STREAM: u16 = 1;
}

/// What a packet is (5.10.6).
pub mod op {
    /// A connection is wanted.
    pub const REQUEST: u16 = 1;
    /// It is there.
    pub const RESPONSE: u16 = 2;
    /// It is not there, or not any more.
    pub const RST: u16 = 3;
    /// One side will not send, or not receive, any more.
    pub const SHUTDOWN: u16 = 4;
    /// Bytes.
    pub const RW: u16 = 5;
    /// How much room there is.
    pub const CREDIT_UPDATE: u16 = 6;
    /// That is to be told.
    pub const CREDIT_REQUEST: u16 = 7;
}

/// Flags of a packet that shuts down (5.10.6.6.1).
pub mod shutdown {
    /// It will not receive.
    pub const RECEIVE: u32 = 1;
    /// It will not send.
    pub const SEND: u32 = 2;
    /// Neither.
    pub const BOTH: u32 = RECEIVE | SEND;
}

/// What stands before the bytes of a packet (`struct virtio_vsock_hdr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Who sends it.
    pub src_cid: u64,
    /// Who is to get it.
    pub dst_cid: u64,
    /// The sender's port.
    pub src_port: u32,
    /// The other's.
    pub dst_port: u32,
    /// Bytes that follow.
    pub len: u32,
    /// Of [`kind`].
    pub kind: u16,
    /// Of [`op`].
    pub op: u16,
    /// Of [`shutdown`].
    pub flags: u32,
    /// Bytes that the sender keeps for this connection.
    pub buf_alloc: u32,
    /// Bytes of those that came which it has passed on, modulo 2^32.
    pub fwd_cnt: u32,
}

impl Header {
    /// Bytes of it.
    pub const LEN: usize = 44;
    /// Where `len` is.
    pub const LEN_AT: usize = 24;

    /// As it lies in memory.
    pub fn bytes(&self) -> [u8; Header::LEN] {
        let Header { src_cid, dst_cid, src_port, dst_port, len, kind, op, flags, buf_alloc, fwd_cnt } = *self;
        let mut bytes = [0; Header::LEN];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&src_cid.to_le_bytes());
        put(&dst_cid.to_le_bytes());
        put(&src_port.to_le_bytes());
        put(&dst_port.to_le_bytes());
        put(&len.to_le_bytes());
        put(&kind.to_le_bytes());
        put(&op.to_le_bytes());
        put(&flags.to_le_bytes());
        put(&buf_alloc.to_le_bytes());
        put(&fwd_cnt.to_le_bytes());
        bytes
    }

    /// Out of memory.
    pub fn of_bytes(bytes: &[u8; Header::LEN]) -> Header {
        let number = |at: usize, len: usize| {
            bytes[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        Header {
            src_cid: number(0, 8),
            dst_cid: number(8, 8),
            src_port: number(16, 4) as u32,
            dst_port: number(20, 4) as u32,
            len: number(Header::LEN_AT, 4) as u32,
            kind: number(28, 2) as u16,
            op: number(30, 2) as u16,
            flags: number(32, 4) as u32,
            buf_alloc: number(36, 4) as u32,
            fwd_cnt: number(40, 4) as u32,
        }
    }

    /// A packet's, and what follows it. None: it is cut short, or says that it is longer or shorter than it is.
    pub fn split(packet: &[u8]) -> Option<(Header, &[u8])> {
        let (header, payload) = packet.split_first_chunk()?;
        let header = Header::of_bytes(header);
        (header.len as usize == payload.len()).then_some((header, payload))
    }
}

/// The host's end of a guest's sockets. Nothing here blocks. A packet is a [`Header`] and as many bytes as it says, at
/// most [`MAX_PAYLOAD`].
///
/// The back end wakes its device ([`crate::Wake::Backend`]) when there is a packet after there was none, and when it takes
/// packets again after it refused one. It holds none of its own locks then.
pub trait VsockBackend: Send + Sync {
    /// Takes a packet of the guest's. False: there is no room now; the device offers it again when it is woken.
    fn send(&self, packet: &[u8]) -> bool;
    /// The next packet for the guest, which replaces what is in `packet`. False: there is none.
    fn receive(&self, packet: &mut Vec<u8>) -> bool;
    /// All connections are gone, as the driver sees it: it has been reset, or was saved and restored. What comes after
    /// this call is of its new life.
    fn reset(&self);
}

/// Nobody: takes everything, gives nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullVsock;

impl VsockBackend for NullVsock {
    fn send(&self, _packet: &[u8]) -> bool {
        true
    }
    fn receive(&self, _packet: &mut Vec<u8>) -> bool {
        false
    }
    fn reset(&self) {}
}

/// A back end whose calls go over a port: `s` and the packet, answered by 1 if it was taken and 0 if not; `r`, answered by
/// the packet, or by nothing. A reset has no answer and is told to the host alone.
pub struct Ported {
    port: Arc<dyn Port>,
    inner: Arc<dyn VsockBackend>,
}

impl Ported {
    /// `inner` is behind the port; in a replay nobody asks it.
    pub fn new(port: Arc<dyn Port>, inner: Arc<dyn VsockBackend>) -> Ported {
        Ported { port, inner }
    }
}

impl VsockBackend for Ported {
    fn send(&self, packet: &[u8]) -> bool {
        self.port.call([b"s", packet].concat(), &mut || vec![self.inner.send(packet).into()]) != [0]
    }
    fn receive(&self, packet: &mut Vec<u8>) -> bool {
        let found = self.port.call(b"r".to_vec(), &mut || {
            let found = self.inner.receive(packet);
            if found { packet.clone() } else { Vec::new() }
        });
        let some = !found.is_empty();
        if some {
            *packet = found;
        }
        some
    }
    fn reset(&self) {
        self.inner.reset();
    }
}

/// A back end for tests: keeps what it is sent, gives what it is given.
#[derive(Debug, Default)]
pub struct TestVsock(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    sent: VecDeque<Vec<u8>>,
    given: VecDeque<Vec<u8>>,
    full: bool,
    resets: usize,
}

/// Most packets that a [`TestVsock`] keeps: a fuzzed device must not grow the test.
const LOOSE: usize = 256;

impl TestVsock {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The next packet that the device sent.
    pub fn sent(&self) -> Option<Vec<u8>> {
        self.kept().sent.pop_front()
    }
    /// A packet for the device, which the test then wakes.
    pub fn give(&self, header: Header, payload: &[u8]) {
        let header = Header { len: payload.len() as u32, ..header };
        let mut kept = self.kept();
        if kept.given.len() < LOOSE {
            kept.given.push_back([&header.bytes()[..], payload].concat());
        }
    }
    /// Packets that the device has not taken.
    pub fn left(&self) -> usize {
        self.kept().given.len()
    }
    /// Whether it refuses packets.
    pub fn set_full(&self, full: bool) {
        self.kept().full = full;
    }
    /// How often it was reset.
    pub fn resets(&self) -> usize {
        self.kept().resets
    }
}

impl VsockBackend for TestVsock {
    fn send(&self, packet: &[u8]) -> bool {
        let mut kept = self.kept();
        if kept.full {
            return false;
        }
        if kept.sent.len() == LOOSE {
            kept.sent.pop_front();
        }
        kept.sent.push_back(packet.to_vec());
        true
    }
    fn receive(&self, packet: &mut Vec<u8>) -> bool {
        let next = self.kept().given.pop_front();
        let some = next.is_some();
        next.into_iter().for_each(|next| *packet = next);
        some
    }
    fn reset(&self) {
        self.kept().resets += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recorder, and then a replay: calls and answers.
    #[derive(Default)]
    struct Tape {
        calls: Mutex<VecDeque<(Vec<u8>, Vec<u8>)>>,
        replays: bool,
    }

    impl Port for Tape {
        fn call(&self, call: Vec<u8>, host: &mut dyn FnMut() -> Vec<u8>) -> Vec<u8> {
            let mut calls = self.calls.lock().unwrap();
            if self.replays {
                let (was, answer) = calls.pop_front().expect("it was recorded");
                assert_eq!(call, was);
                return answer;
            }
            calls.push_back((call, host()));
            calls.back().unwrap().1.clone()
        }
    }

    /// What a device sees that sends, receives and is refused.
    fn see(vsock: &dyn VsockBackend, between: impl Fn(usize)) -> Vec<(bool, Vec<u8>)> {
        let mut seen = Vec::new();
        for step in 0..4 {
            between(step);
            let packet = Header { src_port: step as u32, ..Header::default() }.bytes();
            let sent = vsock.send(&packet);
            let mut got = b"what was there".to_vec();
            let some = vsock.receive(&mut got);
            seen.push((sent, if some { got } else { Vec::new() }));
            vsock.reset();
        }
        seen
    }

    #[test]
    fn a_replay_gives_what_was_recorded_and_asks_nobody() {
        let (tape, host) = (Arc::<Tape>::default(), Arc::<TestVsock>::default());
        let recorded = see(&Ported::new(tape.clone(), host.clone()), |step| {
            host.set_full(step == 2);
            if step % 2 == 1 {
                host.give(Header { op: op::RW, ..Header::default() }, &[step as u8; 5]);
            }
        });
        let sent: Vec<bool> = recorded.iter().map(|(sent, _)| *sent).collect();
        let got: Vec<usize> = recorded.iter().map(|(_, got)| got.len()).collect();
        assert_eq!((sent, got), (vec![true, true, false, true], vec![0, 49, 0, 49]));
        assert_eq!(host.resets(), 4);
        let calls = std::mem::take(&mut *tape.calls.lock().unwrap());
        let replay = Arc::new(Tape { calls: Mutex::new(calls), replays: true });
        assert_eq!(see(&Ported::new(replay.clone(), Arc::new(NullVsock)), |_| ()), recorded);
        assert!(replay.calls.lock().unwrap().is_empty(), "all of it was asked for");
    }

    #[test]
    fn a_header_is_as_the_standard_has_it() {
        let header = Header {
            src_cid: 3,
            dst_cid: 2,
            src_port: 0x0102_0304,
            dst_port: 5,
            len: 2,
            kind: kind::STREAM,
            op: op::RW,
            flags: 0x1122,
            buf_alloc: 0x4_0000,
            fwd_cnt: 0x7fff_ffff,
        };
        let bytes = header.bytes();
        assert_eq!(bytes[..24], [3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0]);
        assert_eq!(
            bytes[24..],
            [2, 0, 0, 0, 1, 0, 5, 0, 0x22, 0x11, 0, 0, 0, 0, 4, 0, 0xff, 0xff, 0xff, 0x7f]
        );
        assert_eq!(Header::of_bytes(&bytes), header);
        assert_eq!(Header::split(&[&bytes[..], b"ab"].concat()), Some((header, &b"ab"[..])));
        for wrong in [&bytes[..], &bytes[..43], &[&bytes[..], b"abc"].concat()] {
            assert_eq!(Header::split(wrong), None);
        }
    }
}
