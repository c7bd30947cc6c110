//! Images that another process opens: what is said between it and the process that serves PV disks.
//!
//! A message each way, over a pair of sockets that keeps messages apart. A question names a disk by its number, and
//! never a file; the answer brings an open file or a reason.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, send, sendmsg,
};

/// How long an answer may take: a host's file may be far away.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest reason.
const REASON: usize = 1024;

/// What is asked: the image of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    id: u32,
    /// The disk's number.
    pub(super) device: u32,
    /// It will be written.
    pub(super) write: bool,
}

impl Question {
    const LEN: usize = 9;

    fn encode(self) -> [u8; Question::LEN] {
        let mut bytes = [0; Question::LEN];
        bytes[..4].copy_from_slice(&self.id.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.device.to_le_bytes());
        bytes[8] = self.write.into();
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Question> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (device, rest) = rest.split_first_chunk()?;
        let write = match rest {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Question { id: u32::from_le_bytes(*id), device: u32::from_le_bytes(*device), write })
    }

    /// The next question. None: nobody is there any more, or what is there talks nonsense.
    pub(super) fn receive(link: &OwnedFd) -> Option<Question> {
        let mut bytes = [0; Question::LEN + 1];
        loop {
            let mut nothing = RecvAncillaryBuffer::default();
            match recvmsg(link, &mut [IoSliceMut::new(&mut bytes)], &mut nothing, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                Err(_) => return None,
                Ok(message) => return Question::decode(bytes.get(..message.bytes)?),
            }
        }
    }

    /// Answers it.
    pub(super) fn answer(self, link: &OwnedFd, file: &Result<File, String>) -> io::Result<()> {
        answer(link, self.id, file)
    }
}

/// Says, before anything was asked, that all is ready, with a file that goes with it; or why it is not.
pub(super) fn greet(link: &OwnedFd, file: &Result<File, String>) -> io::Result<()> {
    answer(link, 0, file)
}

fn answer(link: &OwnedFd, id: u32, file: &Result<File, String>) -> io::Result<()> {
    let reason = file.as_ref().err().map(|reason| reason.as_bytes()).unwrap_or_default();
    let reason = reason.get(..REASON).unwrap_or(reason);
    let head = id.to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files: Vec<BorrowedFd<'_>> = file.iter().map(AsFd::as_fd).collect();
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    // Who does not take answers is not waited for.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(link, &[IoSlice::new(&head), IoSlice::new(reason)], &mut control, flags)?;
    Ok(())
}

/// The end of the process that serves PV disks.
pub(super) struct Opener {
    link: Mutex<(OwnedFd, u32)>,
}

impl Opener {
    /// Over a link; with the file that comes with the greeting.
    pub(super) fn greeted(link: OwnedFd) -> io::Result<(Opener, File)> {
        let file = receive(&link, 0, Instant::now() + PATIENCE)?;
        Ok((Opener { link: Mutex::new((link, 0)) }, file))
    }

    /// The image of a disk, open, and not read yet.
    pub(super) fn open(&self, device: u32, write: bool) -> io::Result<File> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let (link, id) = &mut *link;
        *id = id.wrapping_add(1).max(1);
        send(
            &*link,
            &Question { id: *id, device, write }.encode(),
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )?;
        receive(link, *id, Instant::now() + PATIENCE)
    }
}

/// The answer to that question; older ones come too late for whoever asked.
fn receive(link: &OwnedFd, id: u32, end: Instant) -> io::Result<File> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "who opens images does not answer"));
        }
        let wait = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(link, PollFlags::IN)], Some(&wait)) {
            Ok(0) | Err(Errno::INTR) => continue,
            other => other?,
        };
        let mut bytes = [0; 4 + REASON];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(
            link,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        )?;
        let mut files = control.drain().filter_map(|extra| match extra {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        });
        let file = files.next().map(File::from);
        let Some((head, reason)) = bytes.get(..message.bytes).and_then(|bytes| bytes.split_first_chunk())
        else {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "who opens images has ended"));
        };
        if u32::from_le_bytes(*head) == id {
            return file.ok_or_else(|| io::Error::other(String::from_utf8_lossy(reason).into_owned()));
        }
    }
}

/// Both ends.
#[cfg(test)]
pub(super) fn link() -> (OwnedFd, OwnedFd) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_or_a_reason() {
        let (ours, theirs) = link();
        let file = || {
            use std::io::Write;
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"image").unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            file
        };
        greet(&theirs, &Ok(file())).unwrap();
        let (opener, greeting) = Opener::greeted(ours).unwrap();
        assert_eq!(io::read_to_string(greeting).unwrap(), "image");
        let serve = std::thread::spawn(move || {
            let first = Question::receive(&theirs).unwrap();
            assert_eq!((first.device, first.write), (51712, true));
            // One that somebody gave up waiting for.
            answer(&theirs, 77, &Ok(file())).unwrap();
            first.answer(&theirs, &Ok(file())).unwrap();
            let second = Question::receive(&theirs).unwrap();
            second.answer(&theirs, &Err("no ".repeat(1000))).unwrap();
            assert_eq!(Question::receive(&theirs), None);
        });
        assert_eq!(io::read_to_string(opener.open(51712, true).unwrap()).unwrap(), "image");
        let reason = opener.open(51728, false).unwrap_err().to_string();
        assert!(reason.starts_with("no no ") && reason.len() == REASON, "{}", reason.len());
        drop(opener);
        serve.join().unwrap();
    }

    #[test]
    fn nonsense_ends_it() {
        for bytes in [&b""[..], &[0; 8], &[0; 10], &[0, 0, 0, 0, 0, 0, 0, 0, 2]] {
            assert_eq!(Question::decode(bytes), None);
            let (ours, theirs) = link();
            if !bytes.is_empty() {
                send(&theirs, bytes, SendFlags::empty()).unwrap();
            }
            drop(theirs);
            assert_eq!(Question::receive(&ours), None);
        }
        let (ours, theirs) = link();
        drop(theirs);
        assert!(Opener::greeted(ours).err().unwrap().to_string().contains("has ended"));
    }
}
