//! Environment and state images in memory: FNSTENV, FLDENV, FNSAVE, FRSTOR, FXSAVE, FXRSTOR (Intel SDM volume 1,
//! figures 8-9 to 8-12 and table 10-2).

use crate::f80::F80;
use crate::state::X87;

/// Which of the four layouts FNSTENV and its kin use: operand size, and real (or virtual-8086) or protected mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EnvLayout {
    /// 14 bytes, linear pointers of 20 bits.
    Real16,
    /// 14 bytes, selector and offset.
    Protected16,
    /// 28 bytes, linear pointers.
    Real32,
    /// 28 bytes, selector and offset; also in 64-bit mode.
    #[default]
    Protected32,
}

impl EnvLayout {
    /// Bytes of an environment: 14 or 28.
    #[must_use]
    pub const fn env_size(self) -> usize {
        match self {
            EnvLayout::Real16 | EnvLayout::Protected16 => 14,
            EnvLayout::Real32 | EnvLayout::Protected32 => 28,
        }
    }

    /// Bytes of a whole state: 94 or 108.
    #[must_use]
    pub const fn save_size(self) -> usize {
        self.env_size() + 80
    }

    const fn is_wide(self) -> bool {
        self.env_size() == 28
    }

    const fn is_real(self) -> bool {
        matches!(self, EnvLayout::Real16 | EnvLayout::Real32)
    }
}

/// The little-endian number in `bytes` at `at`; bytes that are not there count as zero.
fn get(bytes: &[u8], at: usize, len: usize) -> u64 {
    (0..len).rev().fold(0, |v, i| v << 8 | u64::from(bytes.get(at + i).copied().unwrap_or(0)))
}

fn put(out: &mut [u8], at: usize, v: &[u8]) {
    if let Some(place) = out.get_mut(at..at + v.len()) {
        place.copy_from_slice(v);
    }
}

fn get_f80(bytes: &[u8], at: usize) -> F80 {
    F80 { mantissa: get(bytes, at, 8), sign_exp: get(bytes, at + 8, 2) as u16 }
}

impl X87 {
    /// The seven words of an environment.
    fn env_words(&self, layout: EnvLayout) -> [u32; 7] {
        let (cw, sw, tw) = (self.control_word(), self.status_word(), self.tag_word());
        let [cw, sw, tw] = [cw, sw, tw].map(|w| 0xffff_0000 | u32::from(w));
        if layout.is_real() {
            let ip = (u32::from(self.fcs) << 4).wrapping_add(self.fip as u32);
            let dp = (u32::from(self.fds) << 4).wrapping_add(self.fdp as u32);
            let low = |p: u32| 0xffff_0000 | (p & 0xffff);
            let high = |p: u32| p >> 16 << 12;
            return [cw, sw, tw, low(ip), high(ip) | u32::from(self.fop), low(dp), high(dp)];
        }
        let code = u32::from(self.fop) << 16 | u32::from(self.fcs);
        [cw, sw, tw, self.fip as u32, code, self.fdp as u32, 0xffff_0000 | u32::from(self.fds)]
    }

    /// FNSTENV's image into the first [`EnvLayout::env_size`] bytes of `out`; the state does not change.
    pub fn env_image(&self, layout: EnvLayout, out: &mut [u8; 108]) {
        let words = self.env_words(layout);
        for (i, w) in words.iter().enumerate() {
            if layout.is_wide() {
                put(out, 4 * i, &w.to_le_bytes());
            } else {
                put(out, 2 * i, &(*w as u16).to_le_bytes());
            }
        }
    }

    /// FNSAVE's image into the first [`EnvLayout::save_size`] bytes of `out`; the state does not change.
    pub fn save_image(&self, layout: EnvLayout, out: &mut [u8; 108]) {
        self.env_image(layout, out);
        for i in 0..8 {
            put(out, layout.env_size() + 10 * usize::from(i), &self.st(i).to_bytes());
        }
    }

    /// FLDENV.
    pub fn load_env(&mut self, layout: EnvLayout, bytes: &[u8]) {
        let step = if layout.is_wide() { 4 } else { 2 };
        let word = |i: usize| get(bytes, step * i, step) as u32;
        self.set_control_word(word(0) as u16);
        self.set_tag_word(word(2) as u16);
        self.set_status_word(word(1) as u16);
        let [ip, code, dp, data] = [word(3), word(4), word(5), word(6)];
        if layout.is_real() {
            let linear = |low: u32, high: u32| u64::from((low & 0xffff) | (high & 0x0fff_f000) << 4);
            self.note(code as u16, 0, linear(ip, code));
            self.note_data(0, linear(dp, data));
        } else {
            // The 16-bit layout has no room for the opcode.
            let fop = if layout.is_wide() { (code >> 16) as u16 } else { 0 };
            self.note(fop, code as u16, u64::from(ip));
            self.note_data(data as u16, u64::from(dp));
        }
    }

    /// FRSTOR.
    pub fn restore(&mut self, layout: EnvLayout, bytes: &[u8]) {
        self.load_env(layout, bytes);
        for i in 0..8 {
            self.set_st_contents(i, get_f80(bytes, layout.env_size() + 10 * usize::from(i)));
        }
    }

    /// The x87 part of FXSAVE: bytes 0 to 23 and 32 to 159; bytes 24 to 31 (MXCSR and its mask) are left alone.
    /// `wide`: REX.W is set, pointers are 64-bit offsets without selectors.
    pub fn fxsave(&self, wide: bool, area: &mut [u8; 160]) {
        put(area, 0, &self.control_word().to_le_bytes());
        put(area, 2, &self.status_word().to_le_bytes());
        put(area, 4, &[self.abridged_tags(), 0]);
        put(area, 6, &self.fop.to_le_bytes());
        put(area, 8, &self.fip.to_le_bytes());
        put(area, 16, &self.fdp.to_le_bytes());
        if !wide {
            put(area, 12, &u32::from(self.fcs).to_le_bytes());
            put(area, 20, &u32::from(self.fds).to_le_bytes());
        }
        for i in 0..8 {
            let at = 32 + 16 * usize::from(i);
            put(area, at, &self.st(i).to_bytes());
            put(area, at + 10, &[0; 6]);
        }
    }

    /// The x87 part of FXRSTOR, of the same bytes as [`X87::fxsave`].
    pub fn fxrstor(&mut self, wide: bool, area: &[u8; 160]) {
        self.set_control_word(get(area, 0, 2) as u16);
        self.set_status_word(get(area, 2, 2) as u16);
        self.set_abridged_tags(area[4]);
        let pointer = if wide { 8 } else { 4 };
        let selector = |at: usize| if wide { 0 } else { get(area, at, 2) as u16 };
        self.note(get(area, 6, 2) as u16, selector(12), get(area, 8, pointer));
        self.note_data(selector(20), get(area, 16, pointer));
        for i in 0..8 {
            self.set_st_contents(i, get_f80(area, 32 + 16 * usize::from(i)));
        }
    }
}
