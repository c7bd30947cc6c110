//! Messages between the process that serves PV disks and xenstore, as far as they pass the [`Guard`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use hypervisor_xen::xenstore::wire::{HEADER, Message, PAYLOAD_MAX, kind};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::xenstore_filter::{Guard, Verdict};

/// Bytes that wait for one side before the other is not heard any more.
const WAITING: usize = 64 << 10;

/// The two streams, which never block, and what is on its way.
pub(super) struct Proxy {
    guard: Guard,
    /// Whom we do not trust.
    pub(super) disks: OwnedFd,
    /// xenstored.
    pub(super) store: OwnedFd,
    from_disks: Vec<u8>,
    to_disks: Vec<u8>,
    to_store: Vec<u8>,
}

impl Proxy {
    pub(super) fn new(guard: Guard, disks: OwnedFd, store: OwnedFd) -> io::Result<Proxy> {
        for stream in [&disks, &store] {
            rustix::io::ioctl_fionbio(stream, true)?;
        }
        Ok(Proxy { guard, disks, store, from_disks: Vec::new(), to_disks: Vec::new(), to_store: Vec::new() })
    }

    /// What is to be waited for, of the disks' stream and of xenstore's.
    pub(super) fn interest(&self) -> [PollFd<'_>; 2] {
        let room = self.to_disks.len() < WAITING;
        let flags = |from: bool, to: &[u8]| {
            let input = if from { PollFlags::IN } else { PollFlags::empty() };
            input | if to.is_empty() { PollFlags::empty() } else { PollFlags::OUT }
        };
        let heard = room && self.to_store.len() < WAITING;
        [
            PollFd::from_borrowed_fd(self.disks.as_fd(), flags(heard, &self.to_disks)),
            PollFd::from_borrowed_fd(self.store.as_fd(), flags(room, &self.to_store)),
        ]
    }

    /// Moves what can be moved. False: one side is gone, or talks nonsense.
    pub(super) fn turn(&mut self) -> bool {
        let room = self.to_disks.len() < WAITING;
        if room && self.to_store.len() < WAITING {
            if !receive(&self.disks, &mut self.from_disks) {
                return false;
            }
            loop {
                match Message::take(&mut self.from_disks) {
                    Ok(Some(message)) => self.judge(&message),
                    Ok(None) => break,
                    Err(_) => return false,
                }
            }
        }
        if room && !receive(&self.store, &mut self.to_disks) {
            return false;
        }
        send(&self.store, &mut self.to_store) && send(&self.disks, &mut self.to_disks)
    }

    fn judge(&mut self, message: &Message) {
        let answer = |kind, text: &[u8]| {
            let Message { request, transaction, .. } = *message;
            Message { kind, request, transaction, payload: text.to_vec() }.encode()
        };
        match self.guard.judge(message) {
            Verdict::Pass => self.to_store.extend(message.encode()),
            Verdict::Done => self.to_disks.extend(answer(message.kind, b"OK\0")),
            Verdict::Refuse => self.to_disks.extend(answer(kind::ERROR, b"EACCES\0")),
        }
    }
}

/// Takes what is there, at most a message's worth.
fn receive(stream: &OwnedFd, to: &mut Vec<u8>) -> bool {
    let mut bytes = [0; HEADER + PAYLOAD_MAX];
    match rustix::io::read(stream, &mut bytes) {
        Ok(0) => false,
        Ok(got) => {
            to.extend_from_slice(bytes.get(..got).unwrap_or_default());
            true
        }
        Err(Errno::AGAIN | Errno::INTR) => true,
        Err(_) => false,
    }
}

fn send(stream: &OwnedFd, from: &mut Vec<u8>) -> bool {
    if from.is_empty() {
        return true;
    }
    match rustix::io::write(stream, from) {
        Ok(sent) => {
            from.drain(..sent);
            true
        }
        Err(Errno::AGAIN | Errno::INTR) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_passes_is_answered_by_xenstore_and_the_rest_by_us() {
        let (mut disks, ours) = UnixStream::pair().unwrap();
        let (theirs, mut store) = UnixStream::pair().unwrap();
        let guard = Guard { backend: "/b".into(), frontend: "/f".into() };
        let mut proxy = Proxy::new(guard, ours.into(), theirs.into()).unwrap();
        let message = |kind, request, text: &str| Message {
            kind,
            request,
            transaction: 0,
            payload: text.as_bytes().to_vec(),
        };
        let passed = message(kind::READ, 1, "/b/1/params\0").encode();
        let sent = [
            passed.clone(),
            message(kind::WRITE, 2, "/b/1/params\0x").encode(),
            message(kind::WRITE, 3, "/b/1/online\x001").encode(),
        ];
        // In pieces, as streams have it.
        for piece in sent.concat().chunks(7) {
            disks.write_all(piece).unwrap();
            assert!(proxy.turn());
        }
        let mut bytes = vec![0; passed.len()];
        store.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, passed);
        store.set_nonblocking(true).unwrap();
        assert!(store.read(&mut bytes).is_err(), "nothing else passes");
        let reply = message(kind::READ, 1, "aio:/image").encode();
        store.write_all(&reply).unwrap();
        assert!(proxy.turn());
        let expected =
            [message(kind::ERROR, 2, "EACCES\0").encode(), message(kind::WRITE, 3, "OK\0").encode(), reply]
                .concat();
        let mut bytes = vec![0; expected.len()];
        disks.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, expected);
        drop(store);
        assert!(!proxy.turn());
    }

    #[test]
    fn who_takes_no_answers_is_not_heard() {
        let (mut disks, ours) = UnixStream::pair().unwrap();
        let (theirs, _store) = UnixStream::pair().unwrap();
        let guard = Guard { backend: "/b".into(), frontend: "/f".into() };
        let mut proxy = Proxy::new(guard, ours.into(), theirs.into()).unwrap();
        disks.set_nonblocking(true).unwrap();
        let refused =
            Message { kind: kind::RM, request: 1, transaction: 0, payload: b"/\0".to_vec() }.encode();
        for _ in 0..100_000 {
            let _ = disks.write(&refused);
            assert!(proxy.turn());
        }
        assert!(proxy.to_disks.len() < WAITING + 2 * (HEADER + PAYLOAD_MAX), "{}", proxy.to_disks.len());
        assert!(proxy.from_disks.len() <= HEADER + PAYLOAD_MAX);
        let [disks, _] = proxy.interest();
        assert!(!disks.revents().contains(PollFlags::IN));
        let too_long = [[0xff; 16].as_slice(), &[0; 16]].concat();
        let mut received = too_long.clone();
        assert!(Message::take(&mut received).is_err());
    }
}
