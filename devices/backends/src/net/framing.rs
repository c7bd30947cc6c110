//! Frames in a stream of bytes, as QEMU's `socket` and `stream` and passt have them: the length as 32 bits, big-endian,
//! then the frame.

use devices_core::net::MAX_FRAME;

/// Most bytes that a length may announce; QEMU's own limit.
const LIMIT: usize = 68 << 10;
/// Bytes of a length.
const HEAD: usize = 4;
/// Room for what was read and is not complete, and for more.
const BUFFER: usize = 2 * LIMIT;

/// The peer announced a frame that no network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong(
    /// The length that it named.
    pub usize,
);

/// Finds the frames in what a peer sends, however it is cut.
pub struct Deframer {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Deframer {
    fn default() -> Deframer {
        Deframer { buffer: vec![0; BUFFER], start: 0, end: 0 }
    }
}

impl Deframer {
    /// Where to put what comes next; call [`Deframer::filled`] then. Never empty once [`Deframer::frame`] has given
    /// all that there was.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes came.
    pub fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(self.buffer.len());
    }

    /// The next whole frame. Those that are too long for a network, and not for a stream, are left out; so are empty
    /// ones.
    pub fn frame(&mut self) -> Result<Option<&[u8]>, TooLong> {
        loop {
            let there = &self.buffer[self.start..self.end];
            let Some((head, rest)) = there.split_first_chunk::<HEAD>() else { return Ok(None) };
            let len = u32::from_be_bytes(*head) as usize;
            if len > LIMIT {
                return Err(TooLong(len));
            }
            if rest.len() < len {
                return Ok(None);
            }
            let from = self.start + HEAD;
            self.start = from + len;
            if (1..=MAX_FRAME).contains(&len) {
                return Ok(Some(&self.buffer[from..from + len]));
            }
        }
    }
}

/// Puts the length before a frame.
pub fn announce(to: &mut Vec<u8>, len: usize) {
    // No frame has a length that does not fit.
    to.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of `bytes` in pieces of `piece`.
    fn frames(bytes: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let (mut deframer, mut frames) = (Deframer::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            let mut piece = piece;
            while !piece.is_empty() {
                let space = deframer.space();
                let len = space.len().min(piece.len());
                assert!(len > 0, "it took all that was complete");
                space[..len].copy_from_slice(&piece[..len]);
                deframer.filled(len);
                piece = &piece[len..];
                while let Some(frame) = deframer.frame()? {
                    frames.push(frame.to_vec());
                }
            }
        }
        Ok(frames)
    }

    #[test]
    fn however_a_stream_is_cut_its_frames_are_the_same() {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for len in [0, 1, 60, 1514, MAX_FRAME, MAX_FRAME + 1, LIMIT, 3] {
            announce(&mut bytes, len);
            bytes.extend(std::iter::repeat_n(len as u8, len));
            if (1..=MAX_FRAME).contains(&len) {
                expected.push(vec![len as u8; len]);
            }
        }
        for piece in [1, 3, 4, 5, 1000, 65_536, usize::MAX] {
            assert_eq!(frames(&bytes, piece).as_ref(), Ok(&expected), "{piece}");
        }
        // The last one incomplete.
        assert_eq!(frames(&bytes[..bytes.len() - 1], 100).unwrap().len(), expected.len() - 1);
    }

    #[test]
    fn a_length_that_is_a_lie_is_an_error_at_once() {
        assert_eq!(frames(&[0, 1, 0x10, 1], 4), Err(TooLong(LIMIT + 1)));
        assert_eq!(frames(&[0xff; 4], 1), Err(TooLong(u32::MAX as usize)));
        assert_eq!(frames(&[0, 1, 0x10, 0], 4), Ok(vec![]));
    }
}
