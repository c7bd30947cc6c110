//! A box of the bus master: a list of 32 buffers, gone through by guest time.

use devices_core::audio::{Format, Sample};
use devices_core::dma::Dma;

use super::super::Pace;
use super::spec::{self, ENTRIES, ENTRY_LEN, MICROPHONE, cr, sr};

/// A box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Master {
    pub bdbar: u32,
    pub civ: u8,
    pub lvi: u8,
    pub sr: u16,
    /// Samples of the buffer that are left.
    pub picb: u16,
    pub piv: u8,
    pub cr: u8,
    /// The buffer, as it was read: where it goes on, and whether it interrupts.
    pub address: u32,
    pub ioc: bool,
    pub pace: Pace,
    /// Its frames, while it moves.
    pub moving: Option<Format>,
}

/// Frames of a box at that rate.
pub(super) fn format(number: usize, rate: u32) -> Option<Format> {
    Format::new(rate, if number == MICROPHONE { 1 } else { 2 }, Sample::S16)
}

impl Master {
    /// Halted, with nothing set.
    pub fn new() -> Master {
        Master { sr: sr::DCH, ..Master::default() }
    }

    /// Its registers are reset; what interrupts stays so.
    pub fn reset(&mut self) {
        *self = Master { cr: self.cr & cr::KEPT, moving: self.moving, ..Master::new() };
    }

    /// Whether it is to move.
    pub fn runs(&self) -> bool {
        self.cr & cr::RPBM != 0 && self.sr & sr::DCH == 0
    }

    /// The next buffer of the list.
    pub fn fetch(&mut self, dma: &Dma) {
        self.civ = self.piv;
        self.piv = (self.piv + 1) % ENTRIES;
        let mut entry = [0; ENTRY_LEN as usize];
        let at = self.bdbar.wrapping_add(u32::from(self.civ) * ENTRY_LEN);
        if dma.read(at.into(), &mut entry).is_err() {
            self.sr |= sr::FIFOE;
        }
        let [a, b, c, d, e, f, g, h] = entry;
        self.address = u32::from_le_bytes([a, b, c, d]) & !1;
        let rest = u32::from_le_bytes([e, f, g, h]);
        (self.picb, self.ioc) = (rest as u16, rest & spec::IOC != 0);
    }

    /// RPBM is set: it goes on in its buffer, or begins the next.
    pub fn start(&mut self, dma: &Dma) {
        if self.picb == 0 {
            self.fetch(dma);
        }
        self.sr &= !(sr::DCH | sr::CELV);
    }

    /// Bytes of silence that are to go over now.
    pub fn due(&mut self, now: u64) -> Vec<u8> {
        self.moving.map_or_else(Vec::new, |format| self.pace.frames(now, format))
    }

    /// Goes on through the list, moving each piece of `bytes` by `carry`, which says whether memory was there. How much
    /// went over, which is less where the list ends.
    pub fn carry(&mut self, dma: &Dma, bytes: &mut [u8], carry: impl Fn(u64, &mut [u8]) -> bool) -> usize {
        let (mut at, mut buffers) = (0, 0);
        while at < bytes.len() && self.sr & sr::DCH == 0 && buffers <= 2 * ENTRIES {
            let part = (usize::from(self.picb) * 2).min(bytes.len() - at);
            let piece = &mut bytes[at..at + part];
            if part > 0 && !carry(self.address.into(), piece) {
                self.sr |= sr::FIFOE;
            }
            at += part;
            self.address = self.address.wrapping_add(part as u32);
            self.picb -= (part / 2) as u16;
            if self.picb == 0 {
                self.through(dma);
                buffers += 1;
            }
        }
        at
    }

    /// A buffer is through.
    fn through(&mut self, dma: &Dma) {
        if self.ioc {
            self.sr |= sr::BCIS;
        }
        if self.civ == self.lvi {
            self.sr |= sr::LVBCI | sr::CELV | sr::DCH;
        } else {
            self.fetch(dma);
        }
    }

    /// When it is to be seen to though nobody asks.
    pub fn alarm(&self) -> Option<u64> {
        let format = self.moving?;
        let left = u64::from(self.picb).div_ceil(format.channels() as u64);
        Some(self.pace.alarm(left, format.rate()))
    }

    /// Whether it has something to say which it may say.
    pub fn interrupts(&self) -> bool {
        let may = |event, enable| self.sr & event != 0 && self.cr & enable != 0;
        may(sr::LVBCI, cr::LVBIE) || may(sr::BCIS, cr::IOCE) || may(sr::FIFOE, cr::FEIE)
    }
}
