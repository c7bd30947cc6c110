//! zlib streams (RFC 1950) that go on from rectangle to rectangle.

use flate2::{Compress, Compression, FlushCompress};

/// Deflated bytes that are taken at a time.
const PIECE: usize = 1 << 14;

/// A stream that rectangles of one connection go through.
pub struct Deflate(Compress);

impl Deflate {
    /// At its start; from level 0, which only packs, to 9, the smallest.
    pub fn new(level: u32) -> Deflate {
        Deflate(Compress::new(Compression::new(level.min(9)), true))
    }

    /// Appends `data`, deflated, so that all of it can be inflated at once (RFC 6143, 7.7.6).
    pub fn run(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let mut piece = [0; PIECE];
        let start = self.0.total_in();
        // Room that was left does not say that all is out: a call that starts with output of the one before
        // may end with that, its own flush undone. One that starts with nothing owed and leaves room is whole.
        let mut owed = false;
        loop {
            let (taken, given) = (self.0.total_in(), self.0.total_out());
            let rest = data.get((taken - start) as usize..).unwrap_or_default();
            let status = self.0.compress(rest, &mut piece, FlushCompress::Sync);
            let written = (self.0.total_out() - given) as usize;
            out.extend(piece.get(..written).unwrap_or_default());
            let consumed = (self.0.total_in() - taken) as usize;
            let room = written < piece.len();
            let whole = room && !owed && consumed == rest.len();
            // With nothing taken and nothing given there is nothing left to do, or no way to.
            if whole || status.is_err() || (written == 0 && consumed == 0) {
                return;
            }
            owed = !room;
        }
    }

    /// The same behind the length of what is appended, 32 bits.
    pub fn run_counted(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; 4]);
        self.run(data, out);
        let len = (out.len() - start - 4) as u32;
        if let Some(to) = out.get_mut(start..start + 4) {
            to.copy_from_slice(&len.to_be_bytes());
        }
    }
}
