//! The border between a device and its host: calls, and the host's answers, as bytes.
//!
//! A recording keeps both, and a replay gives the recorded answers, so that neither knows of serial lines or networks.
//! What a back end's interface is in bytes stands beside that interface: [`chardev::Ported`](crate::chardev::Ported),
//! [`net::Ported`](crate::net::Ported).

/// Something that stands on the border: a recorder or a replay. One for each back end.
pub trait Port: Send + Sync {
    /// A device says `call`, all that it tells the host; the answer is all that it hears from it. `host` asks the host,
    /// where there is one.
    fn call(&self, call: Vec<u8>, host: &mut dyn FnMut() -> Vec<u8>) -> Vec<u8>;
}
