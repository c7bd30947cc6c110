//! Messages of the xenstore protocol (Xen `docs/misc/xenstore.txt`, `public/io/xs_wire.h`).

use thiserror::Error;

/// Bytes of a message's header.
pub const HEADER: usize = 16;
/// Most bytes of a payload.
pub const PAYLOAD_MAX: usize = 4096;
/// Most bytes of an absolute path.
pub const PATH_MAX: usize = 3072;

/// What a message is (`enum xsd_sockmsg_type`).
#[allow(missing_docs)]
pub mod kind {
    pub const DIRECTORY: u32 = 1;
    pub const READ: u32 = 2;
    pub const WATCH: u32 = 4;
    pub const UNWATCH: u32 = 5;
    pub const TRANSACTION_START: u32 = 6;
    pub const TRANSACTION_END: u32 = 7;
    pub const GET_DOMAIN_PATH: u32 = 10;
    pub const WRITE: u32 = 11;
    pub const MKDIR: u32 = 12;
    pub const RM: u32 = 13;
    pub const SET_PERMS: u32 = 14;
    pub const WATCH_EVENT: u32 = 15;
    pub const ERROR: u32 = 16;
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// One of [`kind`].
    pub kind: u32,
    /// The request's number, which its reply repeats.
    pub request: u32,
    /// The transaction, 0 for none.
    pub transaction: u32,
    /// At most [`PAYLOAD_MAX`] bytes.
    pub payload: Vec<u8>,
}

/// Why the other side is not worth listening to any longer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// A payload beyond [`PAYLOAD_MAX`].
    #[error("a message of {0} bytes")]
    TooLong(u32),
    /// A reply to nothing that was asked.
    #[error("a reply of type {kind} to request {request}, where type {asked} to request {expected} was due")]
    Unexpected {
        /// Its type.
        kind: u32,
        /// Its number.
        request: u32,
        /// The request's type.
        asked: u32,
        /// The request's number.
        expected: u32,
    },
    /// A payload that does not have the form of its type.
    #[error("a reply of type {0} without sense")]
    Malformed(u32),
}

impl Message {
    /// The bytes as they are sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        for word in [self.kind, self.request, self.transaction, self.payload.len() as u32] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Takes the first message out of what was received. None: it is not there as a whole yet.
    pub fn take(received: &mut Vec<u8>) -> Result<Option<Message>, WireError> {
        let word = |at: usize| {
            let bytes = received.get(4 * at..4 * at + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let (Some(kind), Some(request), Some(transaction), Some(len)) = (word(0), word(1), word(2), word(3))
        else {
            return Ok(None);
        };
        if len as usize > PAYLOAD_MAX {
            return Err(WireError::TooLong(len));
        }
        let end = HEADER + len as usize;
        let Some(payload) = received.get(HEADER..end).map(<[u8]>::to_vec) else { return Ok(None) };
        received.drain(..end);
        Ok(Some(Message { kind, request, transaction, payload }))
    }
}

/// The strings of a payload that each end with a zero byte. What follows the last zero is a string too.
pub fn strings(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = payload.strip_suffix(&[0]).unwrap_or(payload);
    let none = payload.is_empty();
    whole.split(|&byte| byte == 0).filter(move |_| !none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xen_sys as xen;

    #[test]
    fn numbers_are_those_of_xens_headers() {
        let pairs = [
            (kind::DIRECTORY, xen::xsd_sockmsg_type_XS_DIRECTORY),
            (kind::READ, xen::xsd_sockmsg_type_XS_READ),
            (kind::WATCH, xen::xsd_sockmsg_type_XS_WATCH),
            (kind::UNWATCH, xen::xsd_sockmsg_type_XS_UNWATCH),
            (kind::TRANSACTION_START, xen::xsd_sockmsg_type_XS_TRANSACTION_START),
            (kind::TRANSACTION_END, xen::xsd_sockmsg_type_XS_TRANSACTION_END),
            (kind::GET_DOMAIN_PATH, xen::xsd_sockmsg_type_XS_GET_DOMAIN_PATH),
            (kind::WRITE, xen::xsd_sockmsg_type_XS_WRITE),
            (kind::MKDIR, xen::xsd_sockmsg_type_XS_MKDIR),
            (kind::RM, xen::xsd_sockmsg_type_XS_RM),
            (kind::SET_PERMS, xen::xsd_sockmsg_type_XS_SET_PERMS),
            (kind::WATCH_EVENT, xen::xsd_sockmsg_type_XS_WATCH_EVENT),
            (kind::ERROR, xen::xsd_sockmsg_type_XS_ERROR),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(ours, theirs);
        }
        assert_eq!(HEADER, size_of::<xen::xsd_sockmsg>());
        assert_eq!(
            (PAYLOAD_MAX, PATH_MAX),
            (xen::XENSTORE_PAYLOAD_MAX as usize, xen::XENSTORE_ABS_PATH_MAX as usize)
        );
    }

    #[test]
    fn strings_end_with_zeros() {
        let of = |payload: &'static [u8]| strings(payload).collect::<Vec<_>>();
        assert_eq!(of(b"a\0bc\0"), [b"a".as_slice(), b"bc"]);
        assert_eq!(of(b"a\0b"), [b"a", b"b"]);
        assert_eq!(of(b"\0"), [b""]);
        assert!(of(b"").is_empty());
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in proptest::collection::vec((any::<[u32; 3]>(), proptest::collection::vec(any::<u8>(), 0..64)), 0..8),
            cut in 1..40usize,
        ) {
            let messages: Vec<Message> = messages.into_iter().map(|([kind, request, transaction], payload)| {
                Message { kind, request, transaction, payload }
            }).collect();
            let stream: Vec<u8> = messages.iter().flat_map(Message::encode).collect();
            let (mut received, mut out) = (Vec::new(), Vec::new());
            for piece in stream.chunks(cut) {
                received.extend_from_slice(piece);
                while let Some(message) = Message::take(&mut received).unwrap() {
                    out.push(message);
                }
            }
            prop_assert_eq!(out, messages);
            prop_assert!(received.is_empty());
        }

        #[test]
        fn any_bytes_are_a_message_or_not(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            while let Ok(Some(message)) = Message::take(&mut bytes) {
                prop_assert!(message.payload.len() <= PAYLOAD_MAX);
            }
        }
    }
}
