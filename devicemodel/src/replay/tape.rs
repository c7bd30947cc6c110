//! The records of a file, one after the other.

use std::io::Read;

use crate::stream::{Reader, StreamError};
use crate::trace::codec::{Decoder, Senseless};
use crate::trace::header::IO;
use crate::trace::record::Record;

/// Why there is no next record.
#[derive(Debug)]
pub(super) enum Stop {
    /// The recording was ended.
    End,
    /// The file is cut short; all before is good.
    Cut,
    /// The file is damaged.
    Damaged(String),
}

impl From<StreamError> for Stop {
    fn from(error: StreamError) -> Stop {
        match error {
            StreamError::Cut => Stop::Cut,
            other => Stop::Damaged(other.to_string()),
        }
    }
}

impl From<Senseless> for Stop {
    fn from(error: Senseless) -> Stop {
        Stop::Damaged(error.to_string())
    }
}

/// Where a record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Which record, counted from 0.
    pub record: u64,
    /// Where its piece begins in the file, in bytes.
    pub piece: u64,
    /// Where it begins in the piece when that is unpacked, in bytes.
    pub byte: u64,
}

/// The records of a file.
pub(super) struct Tape<R: Read> {
    reader: Reader<R>,
    decoder: Decoder,
    piece: Vec<u8>,
    at: usize,
    here: Position,
    records: u64,
}

impl<R: Read> Tape<R> {
    /// The pieces that follow in a file, which begin at that guest time.
    pub(super) fn new(reader: Reader<R>, begin: u64) -> Tape<R> {
        let decoder = Decoder::starting_at(begin);
        Tape { reader, decoder, piece: Vec::new(), at: 0, here: Position::default(), records: 0 }
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Result<Record, Stop> {
        while self.at >= self.piece.len() {
            let piece = self.reader.position();
            let record = self.reader.next_record()?.ok_or(Stop::End)?;
            if record.path != IO {
                return Err(Stop::Damaged(format!("'{}' between the pieces", record.path.escape_default())));
            }
            self.piece = record.saved.body;
            self.at = 0;
            self.here.piece = piece;
        }
        let mut rest = self.piece.get(self.at..).unwrap_or_default();
        self.here = Position { record: self.records, byte: self.at as u64, ..self.here };
        let record = self.decoder.next(&mut rest)?;
        self.at = self.piece.len() - rest.len();
        self.records += 1;
        Ok(record)
    }

    /// Where the last record is.
    pub(super) fn position(&self) -> Position {
        self.here
    }

    /// How many there were.
    pub(super) fn records(&self) -> u64 {
        self.records
    }
}
