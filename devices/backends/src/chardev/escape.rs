//! The escape key of a line on standard input: Ctrl-A, then a letter, as in QEMU.

/// What a person asks for with the escape key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// x: end.
    Quit,
    /// c: to the monitor and back.
    Monitor,
    /// h or ?: help.
    Help,
}

const KEY: u8 = 1;

/// Text of the help, for a terminal in raw mode.
pub(super) const HELP: &[u8] =
    b"\r\nC-a h  this help\r\nC-a x  end the guest\r\nC-a C-a  send C-a to the guest\r\n";

/// Takes the escape key out of a stream.
#[derive(Debug, Default)]
pub(super) struct Filter {
    escaped: bool,
}

impl Filter {
    /// Keeps in `data` what is for the guest, and tells what is not.
    pub(super) fn take(&mut self, data: &mut Vec<u8>) -> Vec<Escape> {
        let mut asked = Vec::new();
        data.retain(|&byte| {
            if !std::mem::take(&mut self.escaped) {
                self.escaped = byte == KEY;
                return byte != KEY;
            }
            match byte {
                b'x' => asked.push(Escape::Quit),
                b'c' => asked.push(Escape::Monitor),
                b'h' | b'?' => asked.push(Escape::Help),
                _ => return byte == KEY,
            }
            false
        });
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_taken_out_across_reads() {
        let mut filter = Filter::default();
        let mut all = Vec::new();
        let mut asked = Vec::new();
        for piece in [&b"ab\x01"[..], b"xc\x01\x01d", b"\x01zhe\x01h"] {
            let mut data = piece.to_vec();
            asked.extend(filter.take(&mut data));
            all.extend(data);
        }
        assert_eq!(all, b"abc\x01dhe");
        assert_eq!(asked, [Escape::Quit, Escape::Help]);
    }
}
