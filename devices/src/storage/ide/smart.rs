//! A disk's health, always good (ATA/ATAPI-6, section 8.41; attributes as QEMU has them).

use super::channel::IdeBus;
use super::drive::{Drive, Work};
use super::spec::{SECTOR, reg, smart};
use serde::{Deserialize, Serialize};

/// What software has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smart {
    /// Commands other than ENABLE work.
    pub enabled: bool,
    /// Attributes are saved by themselves.
    pub autosave: bool,
    /// Self-tests run.
    pub tests: u8,
}

impl Default for Smart {
    fn default() -> Smart {
        Smart { enabled: true, autosave: true, tests: 0 }
    }
}

/// Entries of the self-test log.
const LOG_ENTRIES: u8 = 21;

struct Attribute {
    id: u8,
    flags: u8,
    value: u8,
    raw: u8,
    threshold: u8,
}

const fn attribute(id: u8, flags: u8, value: u8, raw: u8, threshold: u8) -> Attribute {
    Attribute { id, flags, value, raw, threshold }
}

const TEMPERATURE: u8 = 0xbe;

/// Read errors, spin-up time, starts, bad sectors, hours, power cycles, temperature.
const ATTRIBUTES: [Attribute; 7] = [
    attribute(0x01, 3, 100, 0, 6),
    attribute(0x03, 3, 100, 16, 0),
    attribute(0x04, 2, 100, 100, 20),
    attribute(0x05, 3, 100, 0, 36),
    attribute(0x09, 3, 100, 1, 0),
    attribute(0x0c, 3, 100, 0, 0),
    attribute(TEMPERATURE, 3, 69, 31, 50),
];

/// Makes the bytes of a sector add up to zero.
fn seal(mut sector: Vec<u8>) -> Vec<u8> {
    let sum = sector.iter().take(SECTOR - 1).fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(last) = sector.get_mut(SECTOR - 1) {
        *last = sum.wrapping_neg();
    }
    sector
}

fn table(entry: impl Fn(&Attribute) -> [u8; 12]) -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    sector[0] = 1;
    for (slot, attribute) in sector[2..].chunks_exact_mut(12).zip(&ATTRIBUTES) {
        slot.copy_from_slice(&entry(attribute));
    }
    sector
}

fn data(state: &Smart) -> Vec<u8> {
    // The temperature has its lowest and highest beside it.
    let range = |a: &Attribute| if a.id == TEMPERATURE { a.raw } else { 0 };
    let mut sector = table(|a| [a.id, a.flags, 0, a.value, a.value, a.raw, 0, range(a), range(a), 0, 0, 0]);
    // Off-line collection done by itself, or never started; so many seconds for the whole of it.
    sector[362] = 0x02 | u8::from(state.autosave) << 7;
    sector[363] = 0;
    sector[364..366].copy_from_slice(&288u16.to_le_bytes());
    sector[367] = 1 << 4 | 1 << 3 | 1;
    sector[368..370].copy_from_slice(&3u16.to_le_bytes());
    sector[370] = 1;
    sector[372..375].copy_from_slice(&[2, 54, 1]);
    seal(sector)
}

fn thresholds() -> Vec<u8> {
    seal(table(|a| [a.id, a.threshold, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
}

/// Log 1: errors, none; 6: self-tests, all passed.
fn log(state: &Smart, number: u8) -> Option<Vec<u8>> {
    let mut sector = vec![0; SECTOR];
    match number {
        1 => sector[0] = 1,
        6 => {
            sector[0] = 1;
            let entries = state.tests.min(LOG_ENTRIES);
            for entry in sector[2..506].chunks_exact_mut(24).take(entries.into()) {
                entry[0] = 1;
                entry[2] = 0x34;
                entry[3] = 0x12;
            }
            sector[508] = entries;
        }
        _ => return None,
    }
    Some(seal(sector))
}

impl Drive {
    /// SMART.
    pub(super) fn smart(&mut self, host: &mut IdeBus) {
        let key = [self.task.get(reg::LBA_MID, false), self.task.get(reg::LBA_HIGH, false)];
        let (feature, count) = (self.task.get(reg::ERROR, false), self.task.get(reg::COUNT, false));
        let low = self.task.get(reg::LBA_LOW, false);
        let Some(disk) = self.disk_mut() else { return };
        let state = &mut disk.smart;
        let usable = state.enabled || feature == smart::ENABLE;
        if key != [smart::KEY_MID, smart::KEY_HIGH] || !usable {
            return self.abort(host);
        }
        let answer = match feature {
            smart::ENABLE => {
                state.enabled = true;
                None
            }
            smart::DISABLE => {
                state.enabled = false;
                None
            }
            smart::AUTOSAVE if matches!(count, 0 | 0xf1) => {
                state.autosave = count != 0;
                None
            }
            // Registers that keep their values say that no threshold is exceeded.
            smart::STATUS | smart::SAVE_ATTRIBUTES => None,
            smart::OFFLINE if matches!(low, 0 | 1 | 2 | 0x7f | 0x81 | 0x82) => {
                if matches!(low, 1 | 2 | 0x81 | 0x82) {
                    state.tests = state.tests.saturating_add(1);
                }
                None
            }
            smart::READ_DATA => Some(data(state)),
            smart::READ_THRESHOLDS => Some(thresholds()),
            smart::READ_LOG => match log(state, low).filter(|_| count == 1) {
                Some(sector) => Some(sector),
                None => return self.abort(host),
            },
            _ => return self.abort(host),
        };
        match answer {
            Some(sector) => self.answer(host, sector),
            None => {
                self.work = Work::Idle;
                self.done(host);
            }
        }
    }
}
