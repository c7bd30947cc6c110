//! What network cards do in place of the guest's network stack: Internet checksums (RFC 1071), cutting a TCP
//! packet into segments, and looking at the checksums of what comes in.
//!
//! Frames are Ethernet's, and nothing about them is believed: whatever does not fit is left as it is.

/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The sum of big-endian 16-bit words, not folded. An odd byte at the end counts as a word's first.
pub(super) fn sum(data: &[u8]) -> u64 {
    let (words, rest) = data.as_chunks::<4>();
    let words: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words + u64::from(u32::from_be_bytes(last))
}

/// Folds a sum into 16 bits.
pub(super) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?))
}

fn put(frame: &mut [u8], at: usize, value: u16) {
    if let Some(to) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *to = value.to_be_bytes();
    }
}

/// Where a card is to insert a checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Insert {
    /// The first byte that is summed.
    pub start: usize,
    /// Where the sum goes; what is there is part of the sum (a pseudo header's).
    pub at: usize,
    /// The last byte that is summed; 0: the frame's.
    pub end: usize,
    /// A sum of zero is written as all ones: UDP means "none" by zero.
    pub never_zero: bool,
}

/// Inserts a checksum.
pub(super) fn insert(frame: &mut [u8], how: Insert) {
    let end = if how.end == 0 { frame.len() } else { frame.len().min(how.end + 1) };
    let Some(summed) = frame.get(how.start..end).filter(|summed| !summed.is_empty()) else { return };
    let mut value = !fold(sum(summed));
    if value == 0 && how.never_zero {
        value = 0xffff;
    }
    if how.at + 2 <= end {
        put(frame, how.at, value);
    }
}

/// One segment of a packet that a card cuts up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Where its IP header begins.
    pub ip: usize,
    /// IPv4, else IPv6.
    pub v4: bool,
    /// Where its TCP or UDP header begins.
    pub transport: usize,
    /// TCP, else UDP.
    pub tcp: bool,
    /// Which one it is.
    pub number: u16,
    /// Bytes of payload in those before it.
    pub sent: u32,
    /// No other follows.
    pub last: bool,
}

/// Makes the headers of one segment out of those of the whole packet: lengths, identification, sequence number, flags.
/// Checksums are left alone.
pub(super) fn segment(frame: &mut [u8], of: &Segment) {
    let Segment { ip, v4, transport, tcp, number, sent, last } = *of;
    let whole = frame.len();
    let behind = |at: usize| whole.saturating_sub(at) as u16;
    if v4 {
        let (length, id) = (behind(ip), word(frame, ip + 4).unwrap_or(0));
        put(frame, ip + 2, length);
        put(frame, ip + 4, id.wrapping_add(number));
    } else {
        let length = behind(ip + 40);
        put(frame, ip + 4, length);
    }
    if !tcp {
        let length = behind(transport);
        return put(frame, transport + 4, length);
    }
    let sequence = frame.get_mut(transport + 4..).and_then(|rest| rest.first_chunk_mut());
    if let Some(sequence) = sequence {
        *sequence = u32::from_be_bytes(*sequence).wrapping_add(sent).to_be_bytes();
    }
    // FIN and PSH are the last one's.
    if let Some(flags) = frame.get_mut(transport + 13).filter(|_| !last) {
        *flags &= !0x09;
    }
}

/// Adds a segment's TCP or UDP length to the pseudo header's sum, which the guest made without it.
pub(super) fn add_length(frame: &mut [u8], transport: usize, at: usize) {
    let length = frame.len().saturating_sub(transport) as u64;
    if let Some(before) = word(frame, at) {
        put(frame, at, fold(u64::from(before) + length));
    }
}

/// What a card finds when it looks at a frame's checksums; none: there is nothing of the kind, or too little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// The IPv4 header's is right.
    pub ip: Option<bool>,
    /// TCP's or UDP's is.
    pub transport: Option<bool>,
}

/// Looks at the checksums of a frame with no VLAN tag.
pub(super) fn check(frame: &[u8]) -> Checked {
    match word(frame, 12) {
        Some(0x0800) => check_v4(&frame[14..]),
        Some(0x86dd) => check_v6(&frame[14..]),
        _ => Checked::default(),
    }
}

fn check_v4(packet: &[u8]) -> Checked {
    let nothing = Checked::default();
    let (Some(&first), Some(length)) = (packet.first(), word(packet, 2)) else { return nothing };
    let header = usize::from(first & 15) * 4;
    if first >> 4 != 4 || header < 20 || usize::from(length) < header {
        return nothing;
    }
    let Some(packet) = packet.get(..length.into()) else { return nothing };
    let ip = Some(fold(sum(&packet[..header])) == 0xffff);
    // A fragment's checksum is the whole datagram's.
    let whole = word(packet, 6).is_some_and(|fragment| fragment & 0x3fff == 0);
    let transport = if whole { check_transport(packet[9], &packet[12..20], &packet[header..]) } else { None };
    Checked { ip, transport }
}

fn check_v6(packet: &[u8]) -> Checked {
    let nothing = Checked::default();
    if packet.len() < 40 || packet[0] >> 4 != 6 {
        return nothing;
    }
    let length = usize::from(word(packet, 4).unwrap_or(0));
    let Some(payload) = packet[40..].get(..length) else { return nothing };
    Checked { ip: None, transport: check_transport(packet[6], &packet[8..40], payload) }
}

fn check_transport(protocol: u8, addresses: &[u8], payload: &[u8]) -> Option<bool> {
    match protocol {
        TCP if payload.len() >= 20 => {}
        UDP if payload.len() >= 8 && word(payload, 6) != Some(0) => {}
        _ => return None,
    }
    let pseudo = sum(addresses) + u64::from(protocol) + payload.len() as u64;
    Some(fold(pseudo + sum(payload)) == 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 header of RFC 1071's kind, checked by hand: 4500 0073 0000 4000 4011 c0a8 0001 c0a8 00c7 sum to b861.
    const HEADER: [u8; 20] =
        [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];

    #[test]
    fn a_checksum_is_inserted_where_it_fits() {
        let mut header = HEADER;
        insert(&mut header, Insert { start: 0, at: 10, end: 19, never_zero: false });
        assert_eq!(header[10..12], [0xb8, 0x61]);
        assert_eq!(fold(sum(&header)), 0xffff);
        for (start, at, end) in [(20, 10, 0), (21, 10, 0), (9, 10, 3), (0, 19, 0), (0, 400, 0)] {
            let mut same = header;
            insert(&mut same, Insert { start, at, end, never_zero: false });
            assert_eq!(same, header, "{start} {at} {end}");
        }
        let mut zero = [0xff, 0xff, 0, 0];
        insert(&mut zero, Insert { start: 0, at: 2, end: 0, never_zero: true });
        assert_eq!(zero, [0xff; 4]);
        let mut zero = [0xff, 0xff, 0, 0];
        insert(&mut zero, Insert { start: 0, at: 2, end: 0, never_zero: false });
        assert_eq!(zero, [0xff, 0xff, 0, 0]);
    }

    #[test]
    fn an_odd_byte_is_a_words_first() {
        assert_eq!(fold(sum(&[0x12, 0x34, 0x56])), 0x1234 + 0x5600);
        assert_eq!(fold(sum(&[1; 7])), 4 * 0x101 - 1);
        assert_eq!(fold(sum(&vec![0xff; 65_535])), 0xff00);
        assert_eq!(fold(sum(&[])), 0);
    }

    fn udp(payload: &[u8], right: bool) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([8, 0]);
        frame.extend(HEADER);
        let length = (8 + payload.len()) as u16;
        frame.extend([0, 1, 0, 2]);
        frame.extend(length.to_be_bytes());
        // The pseudo header's sum: addresses, protocol, length.
        let pseudo = fold(sum(&HEADER[12..20]) + 17 + u64::from(length));
        frame.extend(pseudo.to_be_bytes());
        frame.extend(payload);
        put(&mut frame, 16, length + 20);
        insert(&mut frame, Insert { start: 14, at: 24, end: 33, never_zero: false });
        insert(&mut frame, Insert { start: 34, at: 40, end: 0, never_zero: true });
        if !right {
            *frame.last_mut().expect("there is a payload") ^= 1;
        }
        frame
    }

    #[test]
    fn checksums_are_judged() {
        let good = udp(b"payload", true);
        assert_eq!(check(&good), Checked { ip: Some(true), transport: Some(true) });
        assert_eq!(check(&udp(b"payload", false)), Checked { ip: Some(true), transport: Some(false) });
        let mut padded = good.clone();
        padded.extend([0x55; 18]);
        assert_eq!(check(&padded), check(&good), "what follows the packet is not part of it");
        let mut wrong = good.clone();
        wrong[22] ^= 1;
        assert_eq!(check(&wrong).ip, Some(false));
        let mut fragment = good.clone();
        fragment[20] = 0x20;
        assert_eq!(check(&fragment), Checked { ip: Some(false), transport: None });
        let mut none = good.clone();
        none[40..42].fill(0);
        assert_eq!(check(&none).transport, None, "UDP without a checksum");
        for len in 0..good.len() {
            assert_eq!(check(&good[..len]), Checked::default(), "{len}");
        }
    }

    #[test]
    fn checksums_of_ipv6_are_judged() {
        let mut frame = vec![2; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
        frame.extend(1..=32);
        frame.extend([7; 20]);
        let pseudo = fold(sum(&frame[22..54]) + 6 + 20);
        put(&mut frame, 70, pseudo);
        insert(&mut frame, Insert { start: 54, at: 70, end: 0, never_zero: false });
        assert_eq!(check(&frame), Checked { ip: None, transport: Some(true) });
        frame[60] ^= 0x80;
        assert_eq!(check(&frame).transport, Some(false));
        frame[18] = 1;
        assert_eq!(check(&frame), Checked::default(), "longer than the frame");
    }

    #[test]
    fn headers_of_segments_follow_one_another() {
        let mut frame = vec![0; 14 + 20 + 20 + 5];
        put(&mut frame, 18, 0xffff);
        frame[38..42].copy_from_slice(&0xffff_fff0u32.to_be_bytes());
        frame[47] = 0x19;
        let mut of = Segment { ip: 14, v4: true, transport: 34, tcp: true, number: 2, sent: 32, last: false };
        segment(&mut frame, &of);
        assert_eq!((word(&frame, 16), word(&frame, 18)), (Some(45), Some(1)));
        assert_eq!(frame[38..42], [0, 0, 0, 0x10]);
        assert_eq!(frame[47], 0x10, "neither FIN nor PSH");
        frame[47] = 0x19;
        of.last = true;
        segment(&mut frame, &of);
        assert_eq!(frame[47], 0x19);
        let mut six = vec![0; 14 + 40 + 8 + 3];
        segment(&mut six, &Segment { v4: false, transport: 54, tcp: false, ..of });
        assert_eq!((word(&six, 18), word(&six, 58)), (Some(11), Some(11)));
        put(&mut six, 60, 0xfff8);
        add_length(&mut six, 54, 60);
        assert_eq!(word(&six, 60), Some(4), "with the carry around");
        for len in 0..48 {
            let mut short = vec![0xff; len];
            segment(&mut short, &of);
            add_length(&mut short, 34, 50);
        }
    }
}
