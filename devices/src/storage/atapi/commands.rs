//! What each packet command does and answers.

use super::spec::{
    ASC_CHANGED, ASC_FIELD, ASC_LOCKED, ASC_NO_MEDIUM, ASC_OPCODE, ASC_RANGE, CD_FRAMES, FRAME,
    ILLEGAL_REQUEST, NOT_READY, Sense, UNIT_ATTENTION, op,
};
use super::{Cd, Changed, mode, toc};
use crate::storage::ide::{DVD_ROM, Labels, padded};

/// A packet.
pub(super) type Packet = [u8; 12];

/// What comes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Nothing more.
    Done,
    /// It failed.
    Check(Sense),
    /// It failed because of something before.
    Attention,
    /// An answer.
    Data(Vec<u8>),
    /// Frames of the medium, which it has.
    Read { lba: u32, frames: u32, raw: bool },
    /// The host sends so many bytes of parameters.
    Parameters(u16),
}

pub(super) fn illegal(code: u8) -> Reply {
    Reply::Check(Sense { key: ILLEGAL_REQUEST, code })
}

const NO_MEDIUM: Reply = Reply::Check(Sense { key: NOT_READY, code: ASC_NO_MEDIUM });

pub(super) fn be16(packet: &Packet, at: usize) -> u16 {
    packet.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
}

fn be32(packet: &Packet, at: usize) -> u32 {
    u32::from(be16(packet, at)) << 16 | u32::from(be16(packet, at + 2))
}

/// An answer of at most `most` bytes.
fn data(mut answer: Vec<u8>, most: impl Into<usize>) -> Reply {
    answer.truncate(most.into());
    Reply::Data(answer)
}

/// Commands that work in spite of a unit attention.
fn always(code: u8) -> bool {
    matches!(code, op::REQUEST_SENSE | op::INQUIRY | op::GET_CONFIGURATION | op::GET_EVENT_STATUS)
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
    /// `labels` are what the drive says of itself.
    pub(super) fn execute(&mut self, packet: &Packet, labels: &Labels) -> Reply {
        let code = packet[0];
        if let Some(reply) = self.attention(code) {
            return reply;
        }
        if needs_medium(code) && self.ready().is_none() {
            return NO_MEDIUM;
        }
        match code {
            op::TEST_UNIT_READY | op::SET_SPEED => Reply::Done,
            op::REQUEST_SENSE => self.request_sense(packet),
            op::INQUIRY => inquiry(packet, labels),
            op::MODE_SELECT_6 => Reply::Parameters(packet[4].into()),
            op::MODE_SELECT_10 => Reply::Parameters(be16(packet, 7)),
            op::MODE_SENSE_6 | op::MODE_SENSE_10 => mode::sense(packet, self.state.locked),
            op::START_STOP => self.start_stop(packet),
            op::PREVENT_REMOVAL => {
                self.set_locked(packet[4] & 1 != 0);
                Reply::Done
            }
            op::READ_CAPACITY => self.read_capacity(),
            op::READ_10 => self.read(be32(packet, 2), be16(packet, 7).into(), false),
            op::READ_12 => self.read(be32(packet, 2), be32(packet, 6), false),
            op::READ_CD => self.read_cd(packet),
            op::SEEK if be32(packet, 2) < self.frames() => Reply::Done,
            op::SEEK => illegal(ASC_RANGE),
            op::READ_TOC => {
                toc::read(packet, self.frames()).map_or_else(illegal, |toc| data(toc, be16(packet, 7)))
            }
            op::GET_CONFIGURATION => self.get_configuration(packet),
            op::GET_EVENT_STATUS => self.get_event_status(packet),
            op::READ_DISC_INFORMATION => read_disc_information(packet),
            op::READ_DVD_STRUCTURE => self.read_dvd_structure(packet),
            op::MECHANISM_STATUS => data(vec![0, 0, 0, 0, 0, 1, 0, 0], be16(packet, 8)),
            _ => illegal(ASC_OPCODE),
        }
    }

    /// What a command is told before anything else: that the medium is another.
    fn attention(&mut self, code: u8) -> Option<Reply> {
        if always(code) {
            return None;
        }
        if self.state.sense.key == UNIT_ATTENTION {
            return Some(Reply::Attention);
        }
        self.ready()?;
        match self.state.changed {
            Changed::No => None,
            Changed::Gone => {
                self.state.changed = Changed::Attention;
                Some(NO_MEDIUM)
            }
            Changed::Attention => {
                self.state.changed = Changed::No;
                Some(Reply::Check(Sense { key: UNIT_ATTENTION, code: ASC_CHANGED }))
            }
        }
    }

    fn request_sense(&mut self, packet: &Packet) -> Reply {
        let Sense { key, code } = self.state.sense;
        let mut answer = vec![0; 18];
        answer[0] = 0xf0;
        answer[2] = key;
        answer[7] = 10;
        answer[12] = code;
        if key == UNIT_ATTENTION {
            self.state.sense = Sense::default();
        }
        data(answer, packet[4])
    }

    fn start_stop(&mut self, packet: &Packet) -> Reply {
        let (start, load) = (packet[4] & 1 != 0, packet[4] & 2 != 0);
        // Power conditions: nothing is behind them.
        if packet[4] & 0xf0 != 0 || !load {
            return Reply::Done;
        }
        if !start && !self.state.open && self.state.locked {
            let key = if self.medium.is_some() { NOT_READY } else { ILLEGAL_REQUEST };
            return Reply::Check(Sense { key, code: ASC_LOCKED });
        }
        self.set_open(!start);
        Reply::Done
    }

    fn read_capacity(&self) -> Reply {
        let last = self.frames().saturating_sub(1);
        Reply::Data([last.to_be_bytes(), (FRAME as u32).to_be_bytes()].concat())
    }

    fn read(&self, lba: u32, frames: u32, raw: bool) -> Reply {
        if frames == 0 {
            return Reply::Done;
        }
        match lba.checked_add(frames) {
            Some(end) if end <= self.frames() => Reply::Read { lba, frames, raw },
            _ => illegal(ASC_RANGE),
        }
    }

    fn read_cd(&self, packet: &Packet) -> Reply {
        let frames = be32(packet, 5) & 0xff_ffff;
        match packet[9] & 0xf8 {
            _ if frames == 0 => Reply::Done,
            0x00 => Reply::Done,
            0x10 => self.read(be32(packet, 2), frames, false),
            0xf8 => self.read(be32(packet, 2), frames, true),
            _ => illegal(ASC_FIELD),
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
    fn get_configuration(&self, packet: &Packet) -> Reply {
        if be16(packet, 2) != 0 {
            return illegal(ASC_FIELD);
        }
        let current = self.profile();
        let profile = |number: u16| [0, number as u8, u8::from(number == current), 0];
        let mut answer = vec![0, 0, 0, 16, 0, 0, 0, current as u8, 0, 0, 0x03, 8];
        answer.extend(profile(0x10));
        answer.extend(profile(0x08));
        data(answer, be16(packet, 7))
    }

    /// Only media events, only when asked.
    fn get_event_status(&mut self, packet: &Packet) -> Reply {
        const MEDIA: u8 = 1 << 4;
        let most = be16(packet, 7);
        if packet[1] & 1 == 0 {
            return illegal(ASC_FIELD);
        }
        if packet[4] & MEDIA == 0 {
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
    fn read_dvd_structure(&self, packet: &Packet) -> Reply {
        let frames = self.frames();
        if packet[1] & 0x0f != 0 {
            return illegal(ASC_FIELD);
        }
        if frames <= CD_FRAMES {
            return Reply::Check(Sense { key: ILLEGAL_REQUEST, code: 0x30 });
        }
        let list: &[[u8; 4]] = &[[0, 0x40, 8, 4], [1, 0x40, 0, 8], [4, 0x40, 8, 4]];
        let body = match packet[7] {
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
            _ => return illegal(ASC_FIELD),
        };
        let mut answer = (body.len() as u16 + 2).to_be_bytes().to_vec();
        answer.extend([0, 0]);
        answer.extend(body);
        data(answer, be16(packet, 8))
    }
}

fn inquiry(packet: &Packet, labels: &Labels) -> Reply {
    if packet[1] & 1 != 0 {
        return match packet[2] {
            0 => data(vital(0, &[0, 0x83]), packet[4]),
            0x83 => data(vital(0x83, &identification(labels)), packet[4]),
            _ => illegal(ASC_FIELD),
        };
    }
    // CD-ROM, removable, ATAPI.
    let mut answer = vec![5, 0x80, 0, 0x21, 31, 0, 0, 0];
    answer.extend(b"QEMU    ");
    answer.extend(b"QEMU DVD-ROM    ");
    answer.extend(padded(labels.version(), 4));
    data(answer, packet[4])
}

/// A page of vital product data (SPC-3, 7.6).
fn vital(page: u8, body: &[u8]) -> Vec<u8> {
    [&[5, page, 0, body.len() as u8], body].concat()
}

/// Two designators of the drive in ASCII (SPC-3, 7.6.3): its serial number; vendor, model and serial number. And its world
/// wide name, if it has one.
fn identification(labels: &Labels) -> Vec<u8> {
    let number = padded(labels.serial(), 20);
    let name = [padded("ATA", 8), padded(labels.model(DVD_ROM), 40), number.clone()].concat();
    let designator = |code: u8, kind: u8, id: &[u8]| [&[code, kind, 0, id.len() as u8], id].concat();
    let mut all = [designator(2, 0, &number), designator(2, 1, &name)].concat();
    if labels.wwn != 0 {
        all.extend(designator(1, 3, &labels.wwn.to_be_bytes()));
    }
    all
}

/// One finished session, one track.
fn read_disc_information(packet: &Packet) -> Reply {
    if packet[1] & 7 != 0 {
        return illegal(ASC_FIELD);
    }
    let mut answer = vec![0; 34];
    answer[..8].copy_from_slice(&[0, 32, 0x0e, 1, 1, 1, 1, 0x20]);
    data(answer, be16(packet, 7))
}
