//! What an ATAPI drive says of itself, and how it reports what happened. The rest is any CD drive's.

use super::super::scsi::cd::{Answer, Cd, Changed, mode_pages};
use super::super::scsi::spec::{Sense, key, op, sense};
use super::super::scsi::{Cdb, Header, mode_sense};
use crate::storage::ide::{DVD_ROM, Labels, padded};

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

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        match answer {
            Answer::Done => Reply::Done,
            Answer::Check(sense) => Reply::Check(sense),
            Answer::Data(data) => Reply::Data(data),
            Answer::Frames { lba, frames, raw } => Reply::Read { lba, frames, raw },
        }
    }
}

/// An answer of at most `most` bytes.
fn data(mut answer: Vec<u8>, most: u8) -> Reply {
    answer.truncate(most.into());
    Reply::Data(answer)
}

/// Commands that work in spite of a unit attention.
fn always(code: u8) -> bool {
    matches!(code, op::REQUEST_SENSE | op::INQUIRY | op::GET_CONFIGURATION | op::GET_EVENT_STATUS)
}

/// Carries out a packet; `labels` are what the drive says of itself.
pub(super) fn execute(cd: &mut Cd, cdb: &Cdb, labels: &Labels) -> Reply {
    if let Some(reply) = attention(cd, cdb.op()) {
        return reply;
    }
    match cdb.op() {
        op::REQUEST_SENSE => request_sense(cd, cdb),
        op::INQUIRY => inquiry(cdb, labels),
        op::MODE_SELECT_6 => Reply::Parameters(cdb.byte(4).into()),
        op::MODE_SELECT_10 => Reply::Parameters(cdb.be16(7)),
        op::MODE_SENSE_6 | op::MODE_SENSE_10 => {
            // Medium type 0x70: no more is said.
            let header = Header { medium: 0x70, device: 0, block: None };
            mode_sense(cdb, &header, &mode_pages(cd.state.locked)).map_or_else(Reply::Check, Reply::Data)
        }
        _ => cd.execute(cdb).into(),
    }
}

/// What a command is told before anything else: that the medium is another.
fn attention(cd: &mut Cd, code: u8) -> Option<Reply> {
    if always(code) {
        return None;
    }
    if cd.state.sense.key == key::UNIT_ATTENTION {
        return Some(Reply::Attention);
    }
    cd.ready()?;
    match cd.state.changed {
        Changed::No => None,
        Changed::Gone => {
            cd.state.changed = Changed::Attention;
            Some(Reply::Check(sense::NO_MEDIUM))
        }
        Changed::Attention => {
            cd.state.changed = Changed::No;
            Some(Reply::Check(sense::MEDIUM_CHANGED))
        }
    }
}

fn request_sense(cd: &mut Cd, cdb: &Cdb) -> Reply {
    let mut answer = cd.state.sense.fixed();
    // Its information field is valid, and nothing is in it.
    answer[0] |= 0x80;
    if cd.state.sense.key == key::UNIT_ATTENTION {
        cd.state.sense = Sense::default();
    }
    data(answer, cdb.byte(4))
}

fn inquiry(cdb: &Cdb, labels: &Labels) -> Reply {
    if cdb.byte(1) & 1 != 0 {
        return match cdb.byte(2) {
            0 => data(vital(0, &[0, 0x83]), cdb.byte(4)),
            0x83 => data(vital(0x83, &identification(labels)), cdb.byte(4)),
            _ => Reply::Check(sense::FIELD),
        };
    }
    // CD-ROM, removable, ATAPI.
    let mut answer = vec![5, 0x80, 0, 0x21, 31, 0, 0, 0];
    answer.extend(b"QEMU    ");
    answer.extend(b"QEMU DVD-ROM    ");
    answer.extend(padded(labels.version(), 4));
    data(answer, cdb.byte(4))
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
