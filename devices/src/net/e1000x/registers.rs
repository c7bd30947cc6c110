//! The register file: what each register holds.

/// The registers that just keep what is written, and those that the device itself looks after.
pub struct Registers {
    words: Box<[u32]>,
}

impl Registers {
    /// So many of 32 bits, all zero.
    pub fn new(words: usize) -> Registers {
        Registers { words: vec![0; words].into() }
    }
    /// All are zero.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }
    /// What a register holds.
    pub fn get(&self, offset: u32) -> u32 {
        self.words.get(offset as usize / 4).copied().unwrap_or(0)
    }
    /// Changes it.
    pub fn set(&mut self, offset: u32, value: u32) {
        if let Some(word) = self.words.get_mut(offset as usize / 4) {
            *word = value;
        }
    }
    /// All that are not zero.
    pub fn filled(&self) -> impl Iterator<Item = (u32, u32)> {
        self.words.iter().zip(0..).filter(|(value, _)| **value != 0).map(|(value, at)| (at * 4, *value))
    }
    /// Zeros, but for these. False: a register that there is not, or a value that `can_hold` does not take.
    pub fn fill(&mut self, filled: &[(u32, u32)], can_hold: fn(u32, u32) -> bool) -> bool {
        self.words.fill(0);
        for &(offset, value) in filled {
            let whole = offset.is_multiple_of(4) && (offset as usize) < self.words.len() * 4;
            if !whole || !can_hold(offset, value) {
                return false;
            }
            self.set(offset, value);
        }
        true
    }
}
