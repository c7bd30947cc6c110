//! Browsers: what they ask for, and the frames of a WebSocket.

use backends::web::http::{LONGEST, parse};
use backends::web::websocket::WebSocket;

use super::outcome;

/// The head of a request. However it comes in pieces, it is the same.
pub fn http(bytes: &[u8]) -> u64 {
    let whole = parse(bytes);
    if let Ok(Some((request, len))) = &whole {
        assert!(*len <= LONGEST && *len <= bytes.len());
        let before = bytes.get(..len - 1).unwrap_or_default();
        assert_eq!(parse(before), Ok(None), "it was whole before its end");
        assert_eq!(parse(bytes.get(..*len).unwrap_or_default()), whole, "what follows matters");
        let here = [request.is_from_here(true), request.is_from_here(false)];
        assert!(here[1] || !here[0], "from this machine, and not from here");
        let answer = request.upgrade.as_ref().map(|upgrade| upgrade.answer().len());
        return outcome((answer, here, request.origin.is_some()), "");
    }
    let refusal = whole.err();
    outcome(refusal.map(|refusal| refusal.answer()), "")
}

pub fn http_seeds() -> Vec<Vec<u8>> {
    let opening = "GET /screen HTTP/1.1\r\nHost: localhost:5700\r\nUpgrade: websocket\r\n\
                   Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Version: 13\r\nOrigin: http://[::1]:8000\r\n";
    let seeds = [
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(),
        format!("{opening}\r\n"),
        format!("{opening}Sec-WebSocket-Protocol: base64, binary\r\n\r\n"),
        format!("{opening}Content-Length: 5\r\n\r\nhello"),
        format!("{opening}{}\r\n", "X: y\r\n".repeat(60)),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
    ];
    seeds.map(String::into_bytes).to_vec()
}

/// The frames of a client, after a byte that says in pieces of which size they come: they mean the same as in one.
pub fn websocket(bytes: &[u8]) -> u64 {
    let Some((&piece, frames)) = bytes.split_first() else { return 0 };
    let take = |piece: usize| {
        let (mut socket, mut plain, mut out) = (WebSocket::default(), Vec::new(), Vec::new());
        for data in frames.chunks(piece.max(1)) {
            let before = plain.len();
            socket.receive(data, &mut plain);
            assert!(plain.len() - before <= data.len(), "more came out than went in");
        }
        socket.answers(&mut out);
        assert!(out.len() <= 127 + 4, "{} bytes of answers", out.len());
        assert_eq!(socket.send(b"ours", &mut out), 4);
        (plain, out, socket.is_closing())
    };
    let (plain, out, closing) = take(frames.len());
    assert_eq!(take(usize::from(piece)), (plain.clone(), out.clone(), closing));
    outcome((plain.len().checked_ilog2(), out.len(), closing), "")
}

pub fn websocket_seeds() -> Vec<Vec<u8>> {
    let frame = |first: u8, data: &[u8]| {
        let mut bytes = vec![first, 0x80 | data.len() as u8, 9, 8, 7, 6];
        bytes.extend(data.iter().zip([9, 8, 7, 6].iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    };
    let all = [
        frame(0x82, b"RFB 003.008\n"),
        frame(0x02, b"in "),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x80, b"parts"),
        frame(0x8a, b""),
        [&[0x82, 0xfe, 0, 200, 0, 0, 0, 0][..], &[5; 200]].concat(),
        [&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4][..], &[5; 100]].concat(),
    ];
    let mut seeds: Vec<_> = all.iter().map(|one| [&[3], &one[..]].concat()).collect();
    seeds.push([&[7], &all.concat()[..]].concat());
    seeds.push([&[1], &all[..6].concat()[..], &frame(0x88, &[3, 0xe8])].concat());
    seeds
}
