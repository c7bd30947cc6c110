//! What peers of networks send, and words that lead there.

use backends::net::framing::Deframer;
use backends::net::parse;
use devices_core::net::MAX_FRAME;

use super::outcome;

/// Frames in a stream: the first byte says how it is cut. However that is, the same comes out as of the whole.
pub fn framing(bytes: &[u8]) -> u64 {
    let Some((&cut, stream)) = bytes.split_first() else { return 0 };
    let (expected, lie) = whole(stream);
    let mut deframer = Deframer::default();
    let (mut rest, mut next, mut piece) = (stream, 0, usize::from(cut) + 1);
    let end = loop {
        match deframer.frame() {
            Ok(Some(frame)) => {
                assert!((1..=MAX_FRAME).contains(&frame.len()), "a frame of {} bytes", frame.len());
                assert_eq!(expected.get(next).copied(), Some(frame), "frame {next}");
                next += 1;
            }
            Ok(None) if rest.is_empty() => break false,
            Ok(None) => {
                let space = deframer.space();
                assert!(!space.is_empty(), "no room for what comes");
                let len = piece.min(space.len()).min(rest.len());
                let (now, later) = rest.split_at(len);
                space[..len].copy_from_slice(now);
                deframer.filled(len);
                rest = later;
                piece = piece * 7 % 4099 + 1;
            }
            Err(_) => break true,
        }
    };
    assert_eq!((next, end), (expected.len(), lie), "frames, and whether the peer lies");
    outcome((next.min(20), end), "")
}

/// The frames of a whole stream, and whether a length in it is one that none may have.
fn whole(mut stream: &[u8]) -> (Vec<&[u8]>, bool) {
    let mut frames = Vec::new();
    while let Some((head, rest)) = stream.split_first_chunk::<4>() {
        let len = u32::from_be_bytes(*head) as usize;
        if len > 68 << 10 {
            return (frames, true);
        }
        let Some((frame, rest)) = rest.split_at_checked(len) else { break };
        if (1..=MAX_FRAME).contains(&len) {
            frames.push(frame);
        }
        stream = rest;
    }
    (frames, false)
}

pub fn framing_seeds() -> Vec<Vec<u8>> {
    let framed = |len: usize| [&(len as u32).to_be_bytes()[..], &vec![len as u8; len]].concat();
    let stream = |lens: &[usize]| lens.iter().flat_map(|len| framed(*len)).collect::<Vec<u8>>();
    let mut seeds: Vec<Vec<u8>> =
        [&[60, 1514, 0, 1][..], &[MAX_FRAME, 60], &[MAX_FRAME + 1, 60], &[68 << 10, 1]]
            .iter()
            .map(|lens| [&[99][..], &stream(lens)].concat())
            .collect();
    seeds.push([&[0][..], &stream(&[60]), &[0xff; 8]].concat());
    seeds.push([&[1][..], &stream(&[60])[..20]].concat());
    seeds
}

/// A kind of back end and its options, in lines of `key=value`. What is read once is read the same again.
pub fn netdev(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let kind = lines.next().unwrap_or_default();
    let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let options: Vec<(String, String)> = lines.filter_map(pair).take(64).collect();
    let read = parse(kind, &options);
    assert_eq!(read, parse(kind, &options));
    match read {
        Ok(spec) => outcome(std::mem::discriminant(&spec), ""),
        Err(why) => {
            assert!(!why.is_empty(), "an error says why");
            outcome(why.len().min(4), why.split(['\'', '"']).next().unwrap_or_default())
        }
    }
}

pub fn netdev_seeds() -> Vec<Vec<u8>> {
    [
        "stream\naddr.type=inet\naddr.host=::1\naddr.port=9\nserver=on",
        "stream\naddr.type=unix\naddr.path=/s\naddr.abstract=on\nreconnect=1",
        "stream\naddr.type=fd\naddr.str=9\nreconnect-ms=5",
        "dgram\nlocal.type=inet\nlocal.host=0\nlocal.port=1\nremote.type=inet\nremote.host=230.0.0.1\nremote.port=1",
        "dgram\nlocal.type=unix\nlocal.path=/a\nremote.type=unix\nremote.path=/b",
        "socket\nmcast=230.0.0.1:1\nlocaladdr=127.0.0.1",
        "socket\nlisten=[::1]:1",
        "socket\nudp=a:1\nlocaladdr=:2",
        "hubport\nhubid=0x1\nnetdev=n",
        "tap\nifname=t\nscript=no\ndownscript=no\nsndbuf=2M\nqueues=2",
        "tap\nfds=3:4",
        "user\nnet=10.0.3.0/24\nhost=10.0.3.1\ndhcpstart=10.0.3.9\nhostfwd=tcp::1-:2\nguestfwd=tcp:10.0.3.7:1-unix:/s",
        "user\nipv6-net=fd00::/64\nrestrict=on\ndns=10.0.2.4\nbootfile=f\ntftp=/\ndnssearch=a\ndnssearch=b",
        "vhost-user\nchardev=c\npath=/s\nserver=on\nqueues=1",
        "vde\nsock=/x",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
