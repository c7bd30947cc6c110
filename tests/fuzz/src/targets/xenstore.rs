//! What xenstored says, or who has taken its place.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use hypervisor_xen::xenstore::{Access, Event, Permission, StoreError, XenStore, wire};

use super::outcome;

/// Most bytes of replies: what a socket takes at once.
const MOST: usize = 48 << 10;
/// Events that are taken after each request.
const EVENTS: usize = 2000;

/// What is asked, one thing after another.
fn ask(store: &XenStore, what: u8) -> Result<usize, StoreError> {
    match what % 9 {
        0 => store.read("/a").map(|value| value.len()),
        1 => store.find("/a").map(|value| value.map_or(0, |value| value.len())),
        2 => store.directory("/a").map(|names| names.len()),
        3 => store.write("/a", "b").map(|()| 0),
        4 => store.watch("/a", "token").map(|()| 0),
        5 => store.unwatch("/a", "token").map(|()| 0),
        6 => store.transaction(|inside| inside.read("/a")).map(|value| value.len()),
        7 => store.domain_path(5).map(|path| path.len()),
        _ => store.set_permissions("/a", &[Permission { access: Access::Read, domid: 5 }]).map(|()| 0),
    }
}

/// The first byte: what is asked first. The rest: all that ever comes back.
pub fn run(bytes: &[u8]) -> u64 {
    let Some((&first, replies)) = bytes.split_first() else { return 0 };
    let (ours, mut theirs) = UnixStream::pair().expect("the host has sockets");
    theirs.write_all(&replies[..replies.len().min(MOST)]).expect("the socket takes it");
    theirs.shutdown(Shutdown::Write).expect("it is connected");
    let store = XenStore::over(ours.into()).expect("it is a descriptor");
    let mut told = String::new();
    let mut kinds = 0u64;
    for turn in 0..24 {
        let result = ask(&store, first.wrapping_add(turn));
        let failed = result.is_err();
        match result {
            Ok(len) => {
                assert!(len <= wire::PAYLOAD_MAX, "{len} bytes of one reply");
                kinds |= 1 << (turn % 9);
            }
            Err(error) => told += &error.to_string(),
        }
        for _ in 0..EVENTS {
            match store.next_event() {
                Ok(Some(Event::Changed { path, token })) => {
                    // A byte that is not UTF-8 becomes three.
                    assert!(path.len() + token.len() <= 3 * wire::PAYLOAD_MAX, "an event without an end");
                    kinds |= 1 << 16;
                }
                Ok(Some(Event::Lost)) => kinds |= 1 << 17,
                Ok(None) => break,
                Err(_) => {
                    kinds |= 1 << 18;
                    break;
                }
            }
        }
        if failed && kinds & 1 << 18 != 0 {
            break;
        }
    }
    outcome(kinds, &told)
}

pub fn seeds() -> Vec<Vec<u8>> {
    use wire::kind;
    let message = |kind: u32, request: u32, payload: &[u8]| {
        wire::Message { kind, request, transaction: 0, payload: payload.to_vec() }.encode()
    };
    let asked = [
        (kind::READ, &b"value"[..]),
        (kind::READ, b""),
        (kind::DIRECTORY, b"a\0b\0"),
        (kind::WRITE, b"OK\0"),
        (kind::WATCH, b"OK\0"),
        (kind::UNWATCH, b"OK\0"),
        (kind::TRANSACTION_START, b"7\0"),
        (kind::READ, b"value"),
        (kind::TRANSACTION_END, b"OK\0"),
        (kind::GET_DOMAIN_PATH, b"/local/domain/5\0"),
        (kind::SET_PERMS, b"OK\0"),
    ];
    let event = message(kind::WATCH_EVENT, 0, b"/a/b\0token\0");
    let numbered = || asked.iter().zip(1u32..);
    let well: Vec<u8> =
        numbered().flat_map(|((kind, payload), number)| message(*kind, number, payload)).collect();
    let busy: Vec<u8> = numbered()
        .flat_map(|((kind, payload), number)| [event.clone(), message(*kind, number, payload)].concat())
        .collect();
    let refused: Vec<u8> = (1..30).flat_map(|number| message(kind::ERROR, number, b"ENOENT\0")).collect();
    let again: Vec<u8> = (0..30)
        .flat_map(|turn| {
            let number = 3 * turn + 1;
            [
                message(kind::TRANSACTION_START, number, b"7\0"),
                message(kind::READ, number + 1, b"x"),
                message(kind::ERROR, number + 2, b"EAGAIN\0"),
            ]
            .concat()
        })
        .collect();
    let many: Vec<u8> = (0..1100u32)
        .flat_map(|number| message(kind::WATCH_EVENT, 0, format!("/{number}\0t\0").as_bytes()))
        .collect();
    let long =
        [&u32::to_ne_bytes(kind::READ)[..], &1u32.to_ne_bytes(), &[0; 4], &4097u32.to_ne_bytes()].concat();
    let seed = |first: u8, replies: Vec<u8>| [vec![first], replies].concat();
    vec![
        seed(0, well),
        seed(0, busy),
        seed(0, refused.clone()),
        seed(2, refused),
        seed(6, again),
        seed(0, [many, message(kind::READ, 1, b"v")].concat()),
        seed(0, long),
    ]
}
