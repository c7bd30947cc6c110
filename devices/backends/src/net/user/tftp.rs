//! TFTP, read only, in octets (RFC 1350, 2347, 2348, 2349, 7440): options `tsize`, `blksize` and `windowsize`. A lost
//! packet is the client's to ask for again, so a session needs no timer; twenty at once, the oldest gives way.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::dhcp::udp;
use super::link::Link;
use super::packet::u16_at;

pub(super) const PORT: u16 = 69;
const SESSIONS: usize = 20;
const BLOCK: usize = 512;
/// Largest block that fits a frame with UDP's and IP's headers, as libslirp.
const LARGEST: usize = 1428;
/// Most blocks that are sent for one acknowledgement: a quarter of what waits for the card at most.
const WINDOW: u64 = 64;

const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

struct Session {
    guest: SocketAddr,
    file: File,
    size: u64,
    block: usize,
    /// Blocks that are sent before the client has to acknowledge.
    window: u64,
    /// The block that the client has acknowledged last; 0 is the acknowledgement of options.
    acknowledged: u64,
    /// The block that was sent last.
    sent: u64,
}

/// Opens the folder that files are given from.
pub(super) fn folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

pub(super) struct Tftp {
    folder: Option<OwnedFd>,
    sessions: Vec<Session>,
}

/// An option of a request, its name in any case.
fn words(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = body.iter().rposition(|byte| *byte == 0).unwrap_or(0);
    body[..whole].split(|byte| *byte == 0)
}

impl Tftp {
    pub(super) fn new(folder: Option<OwnedFd>) -> Tftp {
        Tftp { folder, sessions: Vec::new() }
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Takes a packet to port 69 of `server`.
    pub(super) fn input(&mut self, link: &mut Link, guest: SocketAddr, server: SocketAddr, body: &[u8]) {
        match u16_at(body, 0) {
            READ => {
                self.sessions.retain(|session| session.guest != guest);
                if let Err((code, text)) = self.read(link, guest, server, &body[2..]) {
                    error(link, guest, server, code, text);
                }
            }
            WRITE => error(link, guest, server, 2, "read only"),
            ACK if body.len() >= 4 => self.acknowledged(link, guest, server, u16_at(body, 2)),
            ERROR => self.sessions.retain(|session| session.guest != guest),
            _ => {}
        }
    }

    fn open(&self, name: &[u8]) -> Result<(File, u64), (u16, &'static str)> {
        let folder = self.folder.as_ref().ok_or((2, "no files are given"))?;
        let start = name.iter().position(|byte| *byte != b'/').ok_or((1, "no name"))?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        // The kernel itself sees that no `..` and no link leads out.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = match rustix::fs::openat2(folder, &name[start..], flags, Mode::empty(), resolve) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR) => return Err((1, "File not found")),
            Err(_) => return Err((2, "Access violation")),
        };
        match file.metadata() {
            Ok(meta) if meta.is_file() => Ok((file, meta.len())),
            _ => Err((2, "Access violation")),
        }
    }

    fn read(
        &mut self,
        link: &mut Link,
        guest: SocketAddr,
        server: SocketAddr,
        body: &[u8],
    ) -> Result<(), (u16, &'static str)> {
        let mut words = words(body);
        let (Some(name), Some(mode)) = (words.next(), words.next()) else {
            return Err((4, "not a request"));
        };
        if !mode.eq_ignore_ascii_case(b"octet") {
            return Err((4, "Unsupported transfer mode"));
        }
        let (file, size) = self.open(name)?;
        let mut session = Session { guest, file, size, block: BLOCK, window: 1, acknowledged: 0, sent: 0 };
        let mut agreed = OACK.to_be_bytes().to_vec();
        while let (Some(option), Some(value)) = (words.next(), words.next()) {
            let value = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
            let Some(value) = value else { continue };
            let (name, agree) = if option.eq_ignore_ascii_case(b"tsize") {
                ("tsize", size)
            } else if option.eq_ignore_ascii_case(b"blksize") && value >= 8 && session.block == BLOCK {
                session.block = value.min(LARGEST as u64) as usize;
                ("blksize", session.block as u64)
            } else if option.eq_ignore_ascii_case(b"windowsize") && value >= 1 && session.window == 1 {
                session.window = value.min(WINDOW);
                ("windowsize", session.window)
            } else {
                continue;
            };
            // A request that says an option over and over gets no more than a few.
            if agreed.len() < 256 {
                agreed.extend_from_slice(format!("{name}\0{agree}\0").as_bytes());
            }
        }
        if agreed.len() > 2 {
            udp(link, server, guest, &agreed);
        } else {
            session.go_on(link, server);
        }
        if self.sessions.len() == SESSIONS {
            self.sessions.remove(0);
        }
        self.sessions.push(session);
        Ok(())
    }

    fn acknowledged(&mut self, link: &mut Link, guest: SocketAddr, server: SocketAddr, block: u16) {
        let Some(at) = self.sessions.iter().position(|session| session.guest == guest) else { return };
        let session = &mut self.sessions[at];
        // Numbers go around; a window is shorter than a round.
        let ahead = u64::from(block.wrapping_sub(session.acknowledged as u16));
        if session.acknowledged + ahead > session.sent {
            return;
        }
        let again = ahead == 0 && session.sent > 0;
        // An old acknowledgement again must not send everything twice (the sorcerer's apprentice). In a window it says
        // that the window's first block was lost (RFC 7440, section 4).
        if again && session.window == 1 {
            return;
        }
        session.acknowledged += ahead;
        session.sent = session.acknowledged;
        if session.is_over() || !session.go_on(link, server) {
            self.sessions.remove(at);
        }
    }
}

impl Session {
    /// The last block, which is shorter than the others, has been acknowledged.
    fn is_over(&self) -> bool {
        self.acknowledged > 0 && self.acknowledged * self.block as u64 > self.size
    }

    /// Sends a window, behind what was sent; of more than a block, as much as there is room for. False: the file cannot
    /// be read.
    fn go_on(&mut self, link: &mut Link, server: SocketAddr) -> bool {
        let last = self.size / self.block as u64 + 1;
        let end = last.min(self.acknowledged + self.window);
        for block in self.sent + 1..=end {
            if block > self.acknowledged + 1 && !link.queues.room() {
                break;
            }
            if !self.send(link, server, block) {
                return false;
            }
        }
        true
    }

    /// Sends a block. False: it cannot be read.
    fn send(&mut self, link: &mut Link, server: SocketAddr, block: u64) -> bool {
        let mut data = [0; 4 + LARGEST];
        data[..2].copy_from_slice(&DATA.to_be_bytes());
        data[2..4].copy_from_slice(&(block as u16).to_be_bytes());
        let from = (block - 1) * self.block as u64;
        let len = (self.size.saturating_sub(from)).min(self.block as u64) as usize;
        if self.file.read_exact_at(&mut data[4..4 + len], from).is_err() {
            error(link, self.guest, server, 0, "the file cannot be read");
            return false;
        }
        self.sent = block;
        udp(link, server, self.guest, &data[..4 + len]);
        true
    }
}

fn error(link: &mut Link, guest: SocketAddr, server: SocketAddr, code: u16, text: &str) {
    let mut body = ERROR.to_be_bytes().to_vec();
    body.extend_from_slice(&code.to_be_bytes());
    body.extend_from_slice(text.as_bytes());
    body.push(0);
    udp(link, server, guest, &body);
}
