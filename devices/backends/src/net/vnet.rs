//! The header that virtio and the host's kernel put before a frame (`struct virtio_net_hdr`; virtio 1.2, 5.1.6): what is
//! left to be done with it.

/// Bytes of the header, but for a count of buffers.
pub(super) const HEADER: usize = hypervisor::tap::HEADER;
/// Flag: the checksum is to be completed.
const NEEDS_CSUM: u8 = 1;

/// Completes a frame with a header, which the kernel may have left for the card to do. False: it is more than one
/// frame, which was not asked for.
pub(super) fn complete(head: &[u8; HEADER], frame: &mut [u8]) -> bool {
    let field = |at: usize| usize::from(u16::from_ne_bytes([head[at], head[at + 1]]));
    if head[1] != 0 {
        return false;
    }
    if head[0] & NEEDS_CSUM == 0 {
        return true;
    }
    let (start, offset) = (field(6), field(8));
    let Some(place) = start.checked_add(offset).filter(|place| place + 2 <= frame.len()) else {
        return false;
    };
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
        let mut head = [0; HEADER];
        head[0] = NEEDS_CSUM;
        head[6..8].copy_from_slice(&34u16.to_ne_bytes());
        head[8..10].copy_from_slice(&6u16.to_ne_bytes());
        assert!(complete(&head, &mut frame));
        // All of it sums up to nothing.
        let sum = checksum(&frame[34..]);
        let all = u32::from(!sum) + pseudo;
        assert_eq!((all & 0xffff) + (all >> 16), 0xffff);
        // Places outside the frame, and segments.
        for (start, offset) in [(44u16, 0u16), (0xffff, 0xffff), (0, 44)] {
            head[6..8].copy_from_slice(&start.to_ne_bytes());
            head[8..10].copy_from_slice(&offset.to_ne_bytes());
            assert!(!complete(&head, &mut frame), "{start} {offset}");
        }
        assert!(!complete(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &mut frame));
        assert!(complete(&[0; HEADER], &mut frame));
    }
}
