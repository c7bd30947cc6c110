//! What only who was told the page's address knows.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::rand::{GetRandomFlags, getrandom};

/// 128 bits of it, as text for a URL.
pub(super) struct Token(String);

impl Token {
    /// One that was not there before.
    pub(super) fn new() -> io::Result<Token> {
        let mut bytes = [0; 16];
        // So few are never given in pieces once the host has any.
        let len = getrandom(&mut bytes, GetRandomFlags::empty())?;
        if len < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Token(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// For the person.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// What of a path comes after the token; none, without telling by the time it takes how much of it is right, if it
    /// is another.
    pub(super) fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (token, rest) = path.strip_prefix('/')?.split_once('/')?;
        let same = token.len() == self.0.len()
            && token.bytes().zip(self.0.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0;
        same.then_some(rest)
    }
}
