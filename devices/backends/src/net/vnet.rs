//! What a card, or the host's kernel, has left to be done to a frame, done here.

use devices_core::net::{Offload, gso};

/// Completes a frame, whose checksum may have been left to be made. False: it cannot be, or it is more than one frame.
pub(super) fn complete(left: Offload, frame: &mut [u8]) -> bool {
    if left.gso_type != gso::NONE {
        return false;
    }
    if left.flags & Offload::NEEDS_CSUM == 0 {
        return true;
    }
    let (start, offset) = (usize::from(left.csum_start), usize::from(left.csum_offset));
    let place = start + offset;
    if place + 2 > frame.len() {
        return false;
    }
    let sum = checksum(&frame[start..]);
    // UDP says by zero that there is none; the other zero is the same sum.
    let sum = if sum == 0 { 0xffff } else { sum };
    frame[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    true
}

/// The Internet checksum (RFC 1071).
fn checksum(data: &[u8]) -> u16 {
    let mut sum: u64 =
        data.chunks(2).map(|two| u64::from(two[0]) << 8 | u64::from(*two.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_that_was_left_is_completed() {
        // UDP from 10.0.0.1 to 10.0.0.2, ports 1 and 2, "abc": the pseudo header's sum is in the field.
        let mut frame = vec![0; 14 + 20];
        frame.extend([0, 1, 0, 2, 0, 11]);
        let pseudo: u32 = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 17 + 11;
        frame.extend((pseudo as u16).to_be_bytes());
        frame.extend(b"abc");
        let left =
            Offload { flags: Offload::NEEDS_CSUM, csum_start: 34, csum_offset: 6, ..Offload::default() };
        assert!(complete(left, &mut frame));
        // All of it sums up to nothing.
        let sum = checksum(&frame[34..]);
        let all = u32::from(!sum) + pseudo;
        assert_eq!((all & 0xffff) + (all >> 16), 0xffff);
        // Places outside the frame, and segments.
        for (start, offset) in [(44u16, 0u16), (0xffff, 0xffff), (0, 44)] {
            let left = Offload { csum_start: start, csum_offset: offset, ..left };
            assert!(!complete(left, &mut frame), "{start} {offset}");
        }
        assert!(!complete(Offload { gso_type: gso::TCPV4, ..Offload::default() }, &mut frame));
        assert!(complete(Offload::default(), &mut frame));
    }
}
