//! One connection between a port of the guest's and a program of the host's (Virtio 1.3, 5.10.6).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use devices_core::vsock::{HOST_CID, Header, kind, op, shutdown};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown as shut};

use super::BUFFER;

/// Most bytes that are read of the host's program for one packet.
const PIECE: u32 = 16 << 10;
/// How long the guest may take to accept a connection, and to give one up.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Which connection: the port at either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ports {
    pub(super) host: u32,
    pub(super) guest: u32,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The guest is to be asked for it.
    Asking,
    /// The guest was asked.
    Asked,
    /// It is there.
    Open,
    /// The guest was told that its other end is gone, and is to agree.
    Closing,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Lives,
    /// It ends, and the guest is told (RST).
    Reset,
    /// It ends, and the guest knows or has never heard of it.
    Gone,
}

pub(super) struct Connection {
    pub(super) ports: Ports,
    /// When its end comes unless the guest says something.
    pub(super) deadline: Option<Instant>,
    /// It waits for its turn to say something.
    pub(super) queued: bool,
    guest: u64,
    socket: OwnedFd,
    phase: Phase,
    /// Bytes of the guest's that the host's program has not taken: at most [`BUFFER`].
    out: VecDeque<u8>,
    /// Bytes of the guest's that it has taken, modulo 2^32, and how many of those the guest knows of.
    forwarded: u32,
    told: u32,
    /// Bytes that the guest was sent, likewise; what it has said of its room, and how far it had come.
    sent: u32,
    room: (u32, u32),
    /// It was asked for that.
    asked: bool,
    /// What the guest is to hear.
    tell_response: bool,
    tell_credit: bool,
    /// The guest will send, and receive.
    guest_sends: bool,
    guest_receives: bool,
    /// The host's program knows that the guest has sent all.
    shut: bool,
    /// The host's program receives; it has sent all; it is gone.
    host_receives: bool,
    ended: bool,
    hung_up: bool,
    /// What the guest was told of that.
    said: u32,
    /// The socket, as it was last seen.
    readable: bool,
    writable: bool,
}

impl Connection {
    fn new(guest: u64, ports: Ports, socket: OwnedFd, phase: Phase) -> Connection {
        Connection {
            ports,
            deadline: None,
            queued: false,
            guest,
            socket,
            phase,
            out: VecDeque::new(),
            forwarded: 0,
            told: 0,
            sent: 0,
            room: (0, 0),
            asked: false,
            tell_response: false,
            tell_credit: false,
            guest_sends: true,
            guest_receives: true,
            shut: false,
            host_receives: true,
            ended: false,
            hung_up: false,
            said: 0,
            readable: true,
            writable: true,
        }
    }

    /// One that a program of the host's wants.
    pub(super) fn wanted(guest: u64, ports: Ports, socket: OwnedFd, now: Instant) -> Connection {
        let deadline = Some(now + PATIENCE);
        Connection { deadline, ..Connection::new(guest, ports, socket, Phase::Asking) }
    }

    /// One that the guest wants, and that leads to somebody.
    pub(super) fn accepted(guest: u64, ports: Ports, socket: OwnedFd, request: &Header) -> Connection {
        let room = (request.buf_alloc, request.fwd_cnt);
        Connection { room, tell_response: true, ..Connection::new(guest, ports, socket, Phase::Open) }
    }

    /// A packet to the guest without bytes.
    pub(super) fn header(&mut self, op: u16) -> Header {
        self.told = self.forwarded;
        Header {
            src_cid: HOST_CID,
            dst_cid: self.guest,
            src_port: self.ports.host,
            dst_port: self.ports.guest,
            kind: kind::STREAM,
            op,
            buf_alloc: BUFFER,
            fwd_cnt: self.forwarded,
            ..Header::default()
        }
    }

    /// The socket has news.
    pub(super) fn event(&mut self, flags: EventFlags) -> Fate {
        let gone = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        self.hung_up |= gone;
        self.readable |= gone || flags.intersects(EventFlags::IN | EventFlags::RDHUP);
        self.writable |= gone || flags.contains(EventFlags::OUT);
        match self.phase {
            Phase::Asking if self.hung_up => Fate::Gone,
            Phase::Asked if self.hung_up => Fate::Reset,
            Phase::Asking | Phase::Asked => Fate::Lives,
            Phase::Open | Phase::Closing => self.flush(),
        }
    }

    /// Nothing was heard in time.
    pub(super) fn expired(&self) -> Fate {
        if self.phase == Phase::Asking { Fate::Gone } else { Fate::Reset }
    }

    /// A packet of the guest's.
    pub(super) fn heard(&mut self, header: &Header, payload: &[u8]) -> Fate {
        self.room = (header.buf_alloc, header.fwd_cnt);
        self.asked &= self.credit() == 0;
        let there = matches!(self.phase, Phase::Open | Phase::Closing);
        match header.op {
            op::RST => Fate::Gone,
            op::RESPONSE if self.phase == Phase::Asked => self.accept(),
            op::RW if there => self.data(payload),
            op::SHUTDOWN if there => {
                self.guest_receives &= header.flags & shutdown::RECEIVE == 0;
                self.guest_sends &= header.flags & shutdown::SEND == 0;
                self.flush()
            }
            op::CREDIT_UPDATE if there => Fate::Lives,
            op::CREDIT_REQUEST if there => {
                self.tell_credit = true;
                Fate::Lives
            }
            _ => Fate::Reset,
        }
    }

    /// The guest has accepted: the host's program hears of it.
    fn accept(&mut self) -> Fate {
        (self.phase, self.deadline) = (Phase::Open, None);
        let line = format!("OK {}\n", self.ports.host);
        // Nothing was written before: there is room.
        if self.put(line.as_bytes()) == line.len() { Fate::Lives } else { Fate::Reset }
    }

    /// Bytes of the guest's.
    fn data(&mut self, payload: &[u8]) -> Fate {
        if !self.guest_sends || self.out.len() + payload.len() > BUFFER as usize {
            return Fate::Reset;
        }
        let now = if self.out.is_empty() { self.put(payload) } else { 0 };
        self.count(now);
        if self.host_receives {
            self.out.extend(&payload[now..]);
        } else {
            self.count(payload.len() - now);
        }
        self.flush()
    }

    /// So many bytes have gone their way.
    fn count(&mut self, bytes: usize) {
        self.forwarded = self.forwarded.wrapping_add(bytes as u32);
    }

    /// Writes what the socket takes now; how much that was.
    fn put(&mut self, data: &[u8]) -> usize {
        let mut done = 0;
        while done < data.len() && self.writable && self.host_receives {
            match send(&self.socket, &data[done..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(now) => done += now,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.writable = false,
                Err(_) => self.host_receives = false,
            }
        }
        done
    }

    /// Writes what waits; what comes of it.
    fn flush(&mut self) -> Fate {
        while !self.out.is_empty() && self.writable && self.host_receives {
            let mut out = std::mem::take(&mut self.out);
            let done = self.put(out.as_slices().0);
            out.drain(..done);
            self.out = out;
            self.count(done);
        }
        if !self.host_receives {
            // Nobody will ever take it.
            self.count(self.out.len());
            self.out.clear();
        }
        if self.out.is_empty() && !self.guest_sends {
            if !self.guest_receives {
                // What the guest awaits of a connection that it has given up.
                return Fate::Reset;
            }
            // Once: it is news of the socket's. The program may have gone.
            if !std::mem::replace(&mut self.shut, true) {
                let _ = shut(&self.socket, Shutdown::Write);
            }
        }
        self.tell_credit |= self.forwarded.wrapping_sub(self.told) >= BUFFER / 2;
        Fate::Lives
    }

    /// Bytes that the guest has room for. One that says that it took more than it got has none.
    fn credit(&self) -> u32 {
        let (room, taken) = self.room;
        room.saturating_sub(self.sent.wrapping_sub(taken))
    }

    /// The next packet for the guest.
    pub(super) fn say(&mut self, now: Instant) -> Option<Vec<u8>> {
        match self.phase {
            Phase::Asking => {
                self.phase = Phase::Asked;
                return Some(self.header(op::REQUEST).bytes().to_vec());
            }
            Phase::Asked => return None,
            Phase::Open | Phase::Closing => {}
        }
        if std::mem::take(&mut self.tell_response) {
            return Some(self.header(op::RESPONSE).bytes().to_vec());
        }
        if std::mem::take(&mut self.tell_credit) {
            return Some(self.header(op::CREDIT_UPDATE).bytes().to_vec());
        }
        self.read().or_else(|| self.say_shutdown(now))
    }

    /// Bytes of the host's program, if it has some and the guest has room.
    fn read(&mut self) -> Option<Vec<u8>> {
        while self.readable && !self.ended && self.guest_receives {
            let most = self.credit().min(PIECE);
            if most == 0 {
                let asks = !std::mem::replace(&mut self.asked, true);
                return asks.then(|| self.header(op::CREDIT_REQUEST).bytes().to_vec());
            }
            let mut packet = vec![0; Header::LEN + most as usize];
            match recv(&self.socket, &mut packet[Header::LEN..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => self.ended = true,
                Ok((_, len)) => {
                    packet.truncate(Header::LEN + len);
                    self.sent = self.sent.wrapping_add(len as u32);
                    let header = Header { len: len as u32, ..self.header(op::RW) };
                    packet[..Header::LEN].copy_from_slice(&header.bytes());
                    return Some(packet);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.readable = false,
                Err(_) => (self.ended, self.hung_up) = (true, true),
            }
        }
        None
    }

    /// What the guest has not heard of the program's end.
    fn say_shutdown(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.hung_up && (self.ended || !self.guest_receives) {
            (self.ended, self.host_receives) = (true, false);
        }
        let sends = if self.ended { shutdown::SEND } else { 0 };
        let receives = if self.host_receives { 0 } else { shutdown::RECEIVE };
        let flags = sends | receives;
        if flags == self.said {
            return None;
        }
        self.said = flags;
        if flags == shutdown::BOTH {
            (self.phase, self.deadline) = (Phase::Closing, Some(now + PATIENCE));
        }
        Some(Header { flags, ..self.header(op::SHUTDOWN) }.bytes().to_vec())
    }
}
