//! MODE SENSE: error recovery (0x01), audio control (0x0e), capabilities (0x2a).

use super::commands::{Packet, Reply, be16, illegal};
use super::spec::{ASC_FIELD, ASC_SAVING, ILLEGAL_REQUEST, Sense, op};

const RECOVERY: [u8; 8] = [0x01, 6, 0, 5, 0, 0, 0, 0];
const AUDIO: [u8; 16] = [0x0e, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Four times the speed of a CD player, in kB/s.
const SPEED: [u8; 2] = 704u16.to_be_bytes();

fn capabilities(locked: bool) -> Vec<u8> {
    let mut page = vec![0x2a, 20, 0x3b, 0, 0x71, 0x60, 0x29 | u8::from(locked) << 1, 0];
    page.extend(SPEED);
    page.extend([0, 2]);
    // Buffer in kB.
    page.extend(512u16.to_be_bytes());
    page.extend(SPEED);
    page.extend([0; 6]);
    page
}

/// MODE SENSE of either length. Current, default and (as all zeros) changeable values; none are saved.
pub(super) fn sense(packet: &Packet, locked: bool) -> Reply {
    let (control, page) = (packet[2] >> 6, packet[2] & 0x3f);
    if control == 3 {
        return Reply::Check(Sense { key: ILLEGAL_REQUEST, code: ASC_SAVING });
    }
    let all = page == 0x3f;
    let pages = [(0x01, RECOVERY.to_vec()), (0x0e, AUDIO.to_vec()), (0x2a, capabilities(locked))];
    let mut body = Vec::new();
    for (number, mut bytes) in pages {
        if all || number == page {
            if control == 1 {
                bytes[2..].fill(0);
            }
            body.extend(bytes);
        }
    }
    if body.is_empty() {
        return illegal(ASC_FIELD);
    }
    // Medium type 0x70: no more is said.
    let (mut answer, most) = if packet[0] == op::MODE_SENSE_6 {
        (vec![body.len() as u8 + 3, 0x70, 0, 0], usize::from(packet[4]))
    } else {
        let len = (body.len() as u16 + 6).to_be_bytes();
        (vec![len[0], len[1], 0x70, 0, 0, 0, 0, 0], usize::from(be16(packet, 7)))
    };
    answer.extend(body);
    answer.truncate(most);
    Reply::Data(answer)
}
