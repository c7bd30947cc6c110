//! The file of a saved guest: a header that every build can read, then records, then an end record.
//!
//! ```text
//! header  "AILURUS\n" u32 stream version, then one record `header` (machine id, build, configuration)
//! record  u16 path length, path, u16 kind length, kind, u16 version, u8 codec, u32 body length when
//!         unpacked, u32 length as stored, stored body, u32 CRC-32 of all the record before it
//! end     a record with the path "end" whose body is the u64 number of records before it
//! ```
//!
//! Numbers are little endian; codec 0 is as it is, 1 is zlib. A damaged, cut or left-over part is an error
//! that says so; nothing is believed before its checksum agrees.

use std::io::{self, Read, Write};

use byteorder::{LittleEndian, ReadBytesExt, WriteBytesExt};
use devices_core::Saved;
use flate2::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};
use thiserror::Error;

const MAGIC: &[u8; 8] = b"AILURUS\n";
/// Version of the framing, which began with 1. A newer one is refused.
const STREAM_VERSION: u32 = 1;
/// Path of the last record.
const END: &str = "end";
/// Bytes of its body.
const END_LEN: usize = 8;
/// Most bytes of a body where nobody says less.
const LARGEST: u32 = 128 << 20;
/// Most bytes of a body that is written: the largest is the state of a display adapter with all of the most video
/// memory that there can be, which packing may not make smaller.
const WRITTEN_MOST: usize = (512 << 20) + (8 << 20);
/// Most bytes of a path or a kind.
const NAME_MOST: u16 = 255;
/// Bodies from this length on are packed: video memory and RAM. Of a save of the devices alone three quarters of the
/// instructions were the tables that packing two records begins with.
const PACK_FROM: usize = 4096;

/// What is wrong with a saved file.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The host could not write or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Some other file.
    #[error("it is not {0}")]
    Magic(&'static str),
    /// A newer build wrote it.
    #[error("a newer build wrote it (stream version {0}; this build knows {STREAM_VERSION} and older)")]
    Version(u32),
    /// It ends too early.
    #[error("it is cut short")]
    Cut,
    /// A record is damaged.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// A record is whole and has no place in this file.
    #[error("{part}: {why}")]
    Refused {
        /// The record's path.
        part: String,
        /// What is wrong.
        why: String,
    },
}

/// Asked of every record before anything of its body is held: path, kind, and bytes when unpacked.
pub type Admit<'a> = &'a mut dyn FnMut(&str, &str, u32) -> Result<(), String>;

/// One record: a part of the machine and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Path of the part.
    pub path: String,
    /// Its state.
    pub saved: Saved,
}

/// Writes a saved file.
pub struct Writer<W: Write> {
    to: W,
    records: u64,
}

impl<W: Write> Writer<W> {
    /// Writes a saved guest's magic.
    pub fn new(to: W) -> Result<Writer<W>, StreamError> {
        Writer::with_magic(to, MAGIC)
    }

    /// Writes the magic of another kind of file.
    pub fn with_magic(mut to: W, magic: &[u8; 8]) -> Result<Writer<W>, StreamError> {
        to.write_all(magic)?;
        to.write_u32::<LittleEndian>(STREAM_VERSION)?;
        Ok(Writer { to, records: 0 })
    }

    /// Writes one record.
    pub fn record(&mut self, path: &str, saved: &Saved) -> Result<(), StreamError> {
        let Saved { kind, version, body } = saved;
        let too_long = |what: &str, len: usize| StreamError::Refused {
            part: path.to_owned(),
            why: format!("{what} of {len} bytes is not saved"),
        };
        if body.len() > WRITTEN_MOST {
            return Err(too_long("a state", body.len()));
        }
        let packed = pack(body)?;
        let stored = packed.as_deref().unwrap_or(body);
        let mut head = Vec::with_capacity(path.len() + kind.len() + 32);
        for text in [path, kind] {
            if text.len() > NAME_MOST.into() {
                return Err(too_long("a name", text.len()));
            }
            head.write_u16::<LittleEndian>(text.len() as u16)?;
            head.write_all(text.as_bytes())?;
        }
        head.write_u16::<LittleEndian>(*version)?;
        head.write_u8(packed.is_some().into())?;
        head.write_u32::<LittleEndian>(body.len() as u32)?;
        head.write_u32::<LittleEndian>(stored.len() as u32)?;
        let mut check = crc32fast::Hasher::new();
        check.update(&head);
        check.update(stored);
        self.to.write_all(&head)?;
        self.to.write_all(stored)?;
        self.to.write_u32::<LittleEndian>(check.finalize())?;
        self.records += 1;
        Ok(())
    }

    /// Writes the end record and gives the file back, flushed.
    pub fn finish(mut self) -> Result<W, StreamError> {
        let body = self.records.to_le_bytes().to_vec();
        self.record(END, &Saved { kind: END.into(), version: 0, body })?;
        self.to.flush()?;
        Ok(self.to)
    }
}

/// The body packed, if that makes it shorter.
fn pack(body: &[u8]) -> Result<Option<Vec<u8>>, StreamError> {
    if body.len() < PACK_FROM {
        return Ok(None);
    }
    let mut packed = Vec::new();
    ZlibEncoder::new(body, Compression::fast()).take(body.len() as u64).read_to_end(&mut packed)?;
    Ok((packed.len() < body.len()).then_some(packed))
}

/// Reads a saved file.
pub struct Reader<R: Read> {
    from: Checked<R>,
    records: u64,
    /// Bytes of the record's stored body that have not been read.
    left: u64,
}

/// Sums and counts what is read.
struct Checked<R> {
    inner: R,
    sum: crc32fast::Hasher,
    position: u64,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.sum.update(&buffer[..len]);
        self.position += len as u64;
        Ok(len)
    }
}

/// The end of the file in the middle of something is a cut file.
fn cut(error: io::Error) -> StreamError {
    if error.kind() == io::ErrorKind::UnexpectedEof { StreamError::Cut } else { StreamError::Io(error) }
}

impl<R: Read> Reader<R> {
    /// Reads a saved guest's magic.
    pub fn new(from: R) -> Result<Reader<R>, StreamError> {
        Reader::with_magic(from, MAGIC, "a saved guest")
    }

    /// Reads the magic of another kind of file, which is `what`.
    pub fn with_magic(from: R, magic: &[u8; 8], what: &'static str) -> Result<Reader<R>, StreamError> {
        let mut from = Checked { inner: from, sum: crc32fast::Hasher::new(), position: 0 };
        let mut found = [0; 8];
        from.read_exact(&mut found).map_err(|_| StreamError::Magic(what))?;
        if found != *magic {
            return Err(StreamError::Magic(what));
        }
        let version = from.read_u32::<LittleEndian>().map_err(cut)?;
        if version > STREAM_VERSION {
            return Err(StreamError::Version(version));
        }
        if version == 0 {
            return Err(StreamError::Damaged("its stream version is 0".to_owned()));
        }
        Ok(Reader { from, records: 0, left: 0 })
    }

    /// How many bytes have been read.
    pub fn position(&self) -> u64 {
        self.from.position
    }

    /// The file, which may have been read further than to the last record.
    pub fn into_inner(self) -> R {
        self.from.inner
    }

    /// The file.
    pub fn get_ref(&self) -> &R {
        &self.from.inner
    }

    /// The next record; None after a good end.
    pub fn next_record(&mut self) -> Result<Option<Record>, StreamError> {
        self.next_within(&mut |_, _, len| match len {
            0..=LARGEST => Ok(()),
            _ => Err(format!("a record of {len} bytes")),
        })
    }

    /// The next record, if `admit` takes it; None after a good end. One that it does not take is passed by with
    /// nothing held, and is an error: it is damaged if its checksum says so, and refused if not.
    pub fn next_within(&mut self, admit: Admit<'_>) -> Result<Option<Record>, StreamError> {
        self.from.sum.reset();
        let path = self.text()?;
        let kind = self.text()?;
        let version = self.from.read_u16::<LittleEndian>().map_err(cut)?;
        let codec = self.from.read_u8().map_err(cut)?;
        let len = self.from.read_u32::<LittleEndian>().map_err(cut)?;
        let stored = self.from.read_u32::<LittleEndian>().map_err(cut)?;
        let shape = match codec {
            0 if stored == len => Ok(()),
            1 if stored < len => Ok(()),
            0 | 1 => Err("it has not the length that it says".to_owned()),
            _ => Err("it is packed in an unknown way".to_owned()),
        };
        let admitted = shape.and_then(|()| match path == END {
            true if len as usize == END_LEN => Ok(()),
            true => Err("it has another length than an end".to_owned()),
            false => admit(&path, &kind, len),
        });
        self.left = stored.into();
        let body = match admitted {
            Ok(()) => self.body(codec == 1, len as usize, stored),
            Err(why) => Err(StreamError::Refused { part: path.escape_default().to_string(), why }),
        };
        let body = self.checked(body, &path)?;
        if path == END {
            return self.end(&body);
        }
        self.records += 1;
        Ok(Some(Record { path, saved: Saved { kind, version, body } }))
    }

    /// A body, after which `stored` bytes have been read, unless it is wrong. No more than `len` bytes are held.
    fn body(&mut self, packed: bool, len: usize, stored: u32) -> Result<Vec<u8>, StreamError> {
        let wrong = |why: &str| StreamError::Damaged(why.to_owned());
        let mut body = Vec::new();
        body.try_reserve_exact(len).map_err(|error| StreamError::Io(io::Error::other(error)))?;
        let mut from = (&mut self.from).take(stored.into());
        let read = if packed {
            let mut decoder = ZlibDecoder::new(&mut from);
            let read = (&mut decoder).take(len as u64).read_to_end(&mut body);
            // One byte more than promised is enough to see that it lies.
            read.and_then(|read| Ok(read + decoder.read(&mut [0])?))
        } else {
            from.read_to_end(&mut body)
        };
        self.left = from.limit();
        match read {
            Err(error) if packed && is_content(&error) => Err(wrong("a body that does not unpack")),
            Err(error) => Err(error.into()),
            Ok(read) if read != len => Err(wrong("a body has not the length that it says")),
            Ok(_) => Ok(body),
        }
    }

    /// What came of a body, once the rest of it has been read and its checksum has been seen: only that tells a
    /// damaged file from one that was made so.
    fn checked(&mut self, body: Result<Vec<u8>, StreamError>, path: &str) -> Result<Vec<u8>, StreamError> {
        let rest = std::mem::take(&mut self.left);
        let passed = io::copy(&mut (&mut self.from).take(rest), &mut io::sink())?;
        if passed < rest {
            return Err(StreamError::Cut);
        }
        let sum = self.from.sum.clone().finalize();
        if self.from.read_u32::<LittleEndian>().map_err(cut)? != sum {
            return Err(StreamError::Damaged(format!("the checksum of '{}' differs", path.escape_default())));
        }
        body
    }

    fn end(&mut self, body: &[u8]) -> Result<Option<Record>, StreamError> {
        if body != self.records.to_le_bytes() {
            let there = self.records;
            let told = body.try_into().map(u64::from_le_bytes);
            let told = told.map_or_else(|_| "another number".to_owned(), |told| told.to_string());
            return Err(StreamError::Damaged(format!("it has {there} records, and its end tells of {told}")));
        }
        match self.from.inner.read_u8() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error.into()),
            Ok(_) => Err(StreamError::Damaged("there is more after its end".into())),
        }
    }

    fn text(&mut self) -> Result<String, StreamError> {
        let len = self.from.read_u16::<LittleEndian>().map_err(cut)?;
        if len > NAME_MOST {
            return Err(StreamError::Damaged(format!("a name of {len} bytes")));
        }
        let mut bytes = vec![0; len.into()];
        self.from.read_exact(&mut bytes).map_err(cut)?;
        String::from_utf8(bytes).map_err(|_| StreamError::Damaged("a name that is no text".into()))
    }
}

/// Whether a decoder complains of what it was given, and not of the host.
fn is_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).unwrap();
        let small = Saved { kind: "uart".into(), version: 3, body: vec![1, 2, 3] };
        let large = Saved { kind: "ram".into(), version: 0, body: vec![7; 10_000] };
        writer.record("serial0", &small).unwrap();
        writer.record("ram", &large).unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Record>, StreamError> {
        let mut reader = Reader::new(bytes)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push(record);
        }
        Ok(records)
    }

    #[test]
    fn records_come_back_and_are_packed() {
        let bytes = sample();
        assert!(bytes.len() < 400, "{}", bytes.len());
        let records = read(&bytes).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].path.as_str(), records[0].saved.version), ("serial0", 3));
        assert_eq!(records[1].saved.body, vec![7; 10_000]);
    }

    #[test]
    fn a_file_cut_at_any_byte_is_an_error() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "cut at {len}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(read(&longer).is_err());
    }

    #[test]
    fn a_record_that_is_missing_is_missed() {
        let whole = sample();
        let mut writer = Writer::new(Vec::new()).unwrap();
        let small = Saved { kind: "uart".into(), version: 3, body: vec![1, 2, 3] };
        writer.record("serial0", &small).unwrap();
        let begin = writer.to.len();
        writer.record("ram", &Saved { kind: "ram".into(), version: 0, body: vec![7; 10_000] }).unwrap();
        let without = [&whole[..begin], &whole[writer.to.len()..]].concat();
        let error = read(&without).unwrap_err().to_string();
        assert_eq!(error, "it is damaged: it has 1 records, and its end tells of 2");
    }

    #[test]
    fn a_file_with_any_bit_changed_is_an_error() {
        let bytes = sample();
        for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << bit;
            assert!(read(&bad).is_err(), "bit {bit} of byte {at}");
        }
    }

    #[test]
    fn a_newer_stream_is_named() {
        let mut bytes = sample();
        bytes[8] = 9;
        assert!(matches!(read(&bytes), Err(StreamError::Version(9))));
        assert!(matches!(read(b"QFI\xfbanything"), Err(StreamError::Magic(_))));
    }
}
