//! What each command does and answers.

use super::super::spec::{CD_FRAMES, FRAME, Sense, op, sense};
use super::super::{Cdb, Page};
use super::{Cd, toc};

/// What comes of a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing more.
    Done,
    /// It failed.
    Check(Sense),
    /// Data for who sent it.
    Data(Vec<u8>),
    /// Frames of the medium, which it has.
    Frames {
        /// The first.
        lba: u32,
        /// How many.
        frames: u32,
        /// With header and error correction.
        raw: bool,
    },
}

/// An answer of at most `most` bytes.
fn data(mut answer: Vec<u8>, most: impl Into<usize>) -> Answer {
    answer.truncate(most.into());
    Answer::Data(answer)
}

/// Commands that need a medium.
fn needs_medium(code: u8) -> bool {
    matches!(
        code,
        op::TEST_UNIT_READY
            | op::READ_CAPACITY
            | op::READ_10
            | op::READ_12
            | op::READ_CD
            | op::SEEK
            | op::READ_TOC
            | op::READ_DISC_INFORMATION
            | op::READ_DVD_STRUCTURE
    )
}

impl Cd {
    /// Carries out a command that has nothing to do with who the drive is, nor with how it reports what happened.
    pub(in crate::storage) fn execute(&mut self, cdb: &Cdb) -> Answer {
        let code = cdb.op();
        if needs_medium(code) && self.ready().is_none() {
            return Answer::Check(sense::NO_MEDIUM);
        }
        match code {
            op::TEST_UNIT_READY | op::SET_SPEED => Answer::Done,
            op::START_STOP => self.start_stop(cdb),
            op::PREVENT_REMOVAL => {
                self.set_locked(cdb.byte(4) & 1 != 0);
                Answer::Done
            }
            op::READ_CAPACITY => self.read_capacity(),
            op::READ_10 => self.read(cdb.be32(2), cdb.be16(7).into(), false),
            op::READ_12 => self.read(cdb.be32(2), cdb.be32(6), false),
            op::READ_CD => self.read_cd(cdb),
            op::SEEK if cdb.be32(2) < self.frames() => Answer::Done,
            op::SEEK => Answer::Check(sense::RANGE),
            op::READ_TOC => {
                toc::read(cdb, self.frames()).map_or_else(Answer::Check, |toc| data(toc, cdb.be16(7)))
            }
            op::GET_CONFIGURATION => self.get_configuration(cdb),
            op::GET_EVENT_STATUS => self.get_event_status(cdb),
            op::READ_DISC_INFORMATION => read_disc_information(cdb),
            op::READ_DVD_STRUCTURE => self.read_dvd_structure(cdb),
            op::MECHANISM_STATUS => data(vec![0, 0, 0, 0, 0, 1, 0, 0], cdb.be16(8)),
            _ => Answer::Check(sense::OPCODE),
        }
    }

    fn start_stop(&mut self, cdb: &Cdb) -> Answer {
        let (start, load) = (cdb.byte(4) & 1 != 0, cdb.byte(4) & 2 != 0);
        // Power conditions: nothing is behind them.
        if cdb.byte(4) & 0xf0 != 0 || !load {
            return Answer::Done;
        }
        if !start && !self.state.open && self.state.locked {
            let full = self.medium.is_some();
            return Answer::Check(if full { sense::LOCKED } else { sense::LOCKED_EMPTY });
        }
        self.set_open(!start);
        Answer::Done
    }

    fn read_capacity(&self) -> Answer {
        let last = self.frames().saturating_sub(1);
        Answer::Data([last.to_be_bytes(), (FRAME as u32).to_be_bytes()].concat())
    }

    fn read(&self, lba: u32, frames: u32, raw: bool) -> Answer {
        if frames == 0 {
            return Answer::Done;
        }
        match lba.checked_add(frames) {
            Some(end) if end <= self.frames() => Answer::Frames { lba, frames, raw },
            _ => Answer::Check(sense::RANGE),
        }
    }

    fn read_cd(&self, cdb: &Cdb) -> Answer {
        let frames = cdb.be32(5) & 0xff_ffff;
        match cdb.byte(9) & 0xf8 {
            _ if frames == 0 => Answer::Done,
            0x00 => Answer::Done,
            0x10 => self.read(cdb.be32(2), frames, false),
            0xf8 => self.read(cdb.be32(2), frames, true),
            _ => Answer::Check(sense::FIELD),
        }
    }

    fn profile(&self) -> u16 {
        match self.frames() {
            0 => 0,
            frames if frames > CD_FRAMES => 0x10,
            _ => 0x08,
        }
    }

    /// Feature 0, the list of profiles: DVD-ROM and CD-ROM. QEMU's drive has no other.
    fn get_configuration(&self, cdb: &Cdb) -> Answer {
        if cdb.be16(2) != 0 {
            return Answer::Check(sense::FIELD);
        }
        let current = self.profile();
        let profile = |number: u16| [0, number as u8, u8::from(number == current), 0];
        let mut answer = vec![0, 0, 0, 16, 0, 0, 0, current as u8, 0, 0, 0x03, 8];
        answer.extend(profile(0x10));
        answer.extend(profile(0x08));
        data(answer, cdb.be16(7))
    }

    /// Only media events, only when asked.
    fn get_event_status(&mut self, cdb: &Cdb) -> Answer {
        const MEDIA: u8 = 1 << 4;
        let most = cdb.be16(7);
        if cdb.byte(1) & 1 == 0 {
            return Answer::Check(sense::FIELD);
        }
        if cdb.byte(4) & MEDIA == 0 {
            return data(vec![0, 0, 0x80, MEDIA], most);
        }
        let event = if std::mem::take(&mut self.state.event_eject) {
            1
        } else if std::mem::take(&mut self.state.event_new) {
            2
        } else {
            0
        };
        let status = if self.state.open { 1 } else { u8::from(self.medium.is_some()) << 1 };
        data(vec![0, 4, 4, MEDIA, event, status, 0, 0], most)
    }

    /// Physical format (0), copyright (1), manufacturer (4) and the list of these (0xff).
    fn read_dvd_structure(&self, cdb: &Cdb) -> Answer {
        let frames = self.frames();
        if cdb.byte(1) & 0x0f != 0 {
            return Answer::Check(sense::FIELD);
        }
        if frames <= CD_FRAMES {
            return Answer::Check(sense::INCOMPATIBLE_MEDIUM);
        }
        let list: &[[u8; 4]] = &[[0, 0x40, 8, 4], [1, 0x40, 0, 8], [4, 0x40, 8, 4]];
        let body = match cdb.byte(7) {
            0 => {
                let mut body = vec![0; 2048];
                body[..4].copy_from_slice(&[1, 0x0f, 1, 0]);
                // First and last frame of the data area, which begins at 0x30000.
                body[4..8].copy_from_slice(&0x3_0000u32.to_be_bytes());
                body[8..12].copy_from_slice(&(frames - 1).saturating_add(0x3_0000).to_be_bytes());
                body
            }
            1 => vec![0; 4],
            4 => vec![0; 2048],
            0xff => list.concat(),
            _ => return Answer::Check(sense::FIELD),
        };
        let mut answer = (body.len() as u16 + 2).to_be_bytes().to_vec();
        answer.extend([0, 0]);
        answer.extend(body);
        data(answer, cdb.be16(8))
    }
}

/// One finished session, one track.
fn read_disc_information(cdb: &Cdb) -> Answer {
    if cdb.byte(1) & 7 != 0 {
        return Answer::Check(sense::FIELD);
    }
    let mut answer = vec![0; 34];
    answer[..8].copy_from_slice(&[0, 32, 0x0e, 1, 1, 1, 1, 0x20]);
    data(answer, cdb.be16(7))
}

const RECOVERY: [u8; 6] = [0, 5, 0, 0, 0, 0];
const AUDIO: [u8; 14] = [0; 14];
/// Four times the speed of a CD player, in kB/s.
const SPEED: [u8; 2] = 704u16.to_be_bytes();

fn capabilities(locked: bool) -> Vec<u8> {
    let mut page = vec![0x3b, 0, 0x71, 0x60, 0x29 | u8::from(locked) << 1, 0];
    page.extend(SPEED);
    page.extend([0, 2]);
    // Buffer in kB.
    page.extend(512u16.to_be_bytes());
    page.extend(SPEED);
    page.extend([0; 6]);
    page
}

/// Error recovery (0x01), audio control (0x0e), capabilities (0x2a).
pub fn mode_pages(locked: bool) -> Vec<Page> {
    vec![
        Page::fixed(0x01, RECOVERY.to_vec()),
        Page::fixed(0x0e, AUDIO.to_vec()),
        Page::fixed(0x2a, capabilities(locked)),
    ]
}
