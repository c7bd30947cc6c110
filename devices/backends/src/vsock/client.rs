//! A program of the host's that has connected and is to say which port of the guest's it wants.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// Most bytes of what it says: `CONNECT 4294967295` and a newline, and some spaces.
const LINE: usize = 32;

/// One that has said nothing yet, or not all of it.
pub(super) struct Client {
    pub(super) socket: OwnedFd,
    /// It is to have said it by then.
    pub(super) deadline: Instant,
}

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing, so far.
    Nothing,
    /// That port.
    Port(u32),
    /// Something else, or it has gone.
    Nonsense,
}

impl Client {
    /// Reads its line and nothing of what follows it.
    pub(super) fn said(&self) -> Said {
        let mut line = [0; LINE];
        let found = loop {
            match recv(&self.socket, &mut line, RecvFlags::PEEK) {
                Ok((_, found)) => break found.min(LINE),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Said::Nothing,
                Err(_) => return Said::Nonsense,
            }
        };
        let Some(end) = line[..found].iter().position(|byte| *byte == b'\n') else {
            return if found == 0 || found == LINE { Said::Nonsense } else { Said::Nothing };
        };
        let Some(port) = parse(&line[..end]) else { return Said::Nonsense };
        match recv(&self.socket, &mut line[..=end], RecvFlags::empty()) {
            Ok((_, taken)) if taken == end + 1 => Said::Port(port),
            _ => Said::Nonsense,
        }
    }
}

/// `CONNECT` and a port.
fn parse(line: &[u8]) -> Option<u32> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let asks = words.next()?.eq_ignore_ascii_case("connect");
    let port = words.next()?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let alone = asks && digits && words.next().is_none();
    if alone { port.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_word_and_a_port() {
        assert_eq!(parse(b"CONNECT 52"), Some(52));
        assert_eq!(parse(b"connect  4294967295 \r"), Some(u32::MAX));
        for wrong in
            [&b""[..], b"CONNECT", b"CONNECT 4294967296", b"CONNECT +5", b"CONNECT 5 6", b"GET 5", b"\xff 5"]
        {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
