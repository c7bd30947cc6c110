//! The table of contents of a disc with one data track, and what a frame looks like on it.

use super::super::Cdb;
use super::super::spec::{FRAME, FRAMES_PER_SECOND, LEAD_IN, Sense, sense};

/// Data track: control and address.
const DATA: u8 = 0x14;
/// The lead-out as a track.
const LEAD_OUT: u8 = 0xaa;

/// A frame number as minute, second, frame.
fn msf(lba: u32) -> [u8; 3] {
    let frame = lba.saturating_add(LEAD_IN);
    let second = frame / FRAMES_PER_SECOND;
    [(second / 60) as u8, (second % 60) as u8, (frame % FRAMES_PER_SECOND) as u8]
}

fn position(lba: u32, as_msf: bool) -> [u8; 4] {
    if !as_msf {
        return lba.to_be_bytes();
    }
    let [minute, second, frame] = msf(lba);
    [0, minute, second, frame]
}

/// READ TOC.
pub(super) fn read(cdb: &Cdb, frames: u32) -> Result<Vec<u8>, Sense> {
    let as_msf = cdb.byte(1) & 2 != 0;
    // The format was in the last byte before it was in the third.
    let format = if cdb.byte(2) & 0x0f != 0 { cdb.byte(2) & 0x0f } else { cdb.byte(9) >> 6 };
    match format {
        0 => tracks(cdb.byte(6), as_msf, frames),
        1 => Ok(session(as_msf)),
        2 => Ok(raw(as_msf, frames)),
        _ => Err(sense::FIELD),
    }
}

fn with_length(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes(), body].concat()
}

fn tracks(first: u8, as_msf: bool, frames: u32) -> Result<Vec<u8>, Sense> {
    if first > 1 && first != LEAD_OUT {
        return Err(sense::FIELD);
    }
    let mut body = vec![1, 1];
    if first <= 1 {
        body.extend([0, DATA, 1, 0]);
        body.extend(position(0, as_msf));
    }
    body.extend([0, 0x16, LEAD_OUT, 0]);
    body.extend(position(frames, as_msf));
    Ok(with_length(&body))
}

/// First and last session; the first track of the last one and where it begins (MMC-3, READ TOC, format 1).
fn session(as_msf: bool) -> Vec<u8> {
    let mut body = vec![1, 1, 0, DATA, 1, 0];
    body.extend(position(0, as_msf));
    with_length(&body)
}

/// First track, last track, lead-out, track 1.
fn raw(as_msf: bool, frames: u32) -> Vec<u8> {
    let mut body = vec![1, 1];
    for (point, place) in [(0xa0, [0, 1, 0, 0]), (0xa1, [0, 1, 0, 0]), (0xa2, position(frames, as_msf))] {
        body.extend([1, DATA, 0, point, 0, 0, 0]);
        body.extend(place);
    }
    body.extend([1, DATA, 0, 1, 0, 0, 0]);
    body.extend(position(0, as_msf));
    with_length(&body)
}

fn bcd(value: u8) -> u8 {
    ((value / 10) << 4) | (value % 10)
}

/// Frames of user data as mode 1 frames: sync pattern, header, data; the error correction is zeros.
pub fn raw_frames(first: u32, data: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    for (lba, data) in (first..).zip(data.chunks_exact(FRAME as usize)) {
        frames.push(0);
        frames.extend([0xff; 10]);
        frames.push(0);
        frames.extend(msf(lba).map(bcd));
        frames.push(1);
        frames.extend(data);
        frames.extend([0; 288]);
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_table_is_its_own() {
        for format in 0..3u8 {
            for as_msf in [0, 2] {
                let mut packet = [0; 12];
                packet[1] = as_msf;
                packet[2] = format;
                let toc = read(&Cdb::new(&packet), 1000).unwrap();
                assert_eq!(usize::from(be16_of(&toc)), toc.len() - 2, "format {format}");
            }
        }
    }

    #[test]
    fn the_last_session_begins_with_track_1() {
        let mut packet = [0; 12];
        packet[2] = 1;
        assert_eq!(read(&Cdb::new(&packet), 1000), Ok(vec![0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]));
        packet[1] = 2;
        assert_eq!(read(&Cdb::new(&packet), 1000), Ok(vec![0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0]));
    }

    fn be16_of(bytes: &[u8]) -> u16 {
        u16::from_be_bytes([bytes[0], bytes[1]])
    }

    #[test]
    fn positions_count_the_lead_in() {
        assert_eq!(msf(0), [0, 2, 0]);
        assert_eq!(msf(75 * 60), [1, 2, 0]);
        assert_eq!(raw_frames(10, &[7; 4096]).len(), 2 * 2352);
    }
}
