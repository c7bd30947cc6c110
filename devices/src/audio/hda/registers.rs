//! The registers as bytes, and which of them the guest writes.

use super::spec::{self, REGISTERS_LEN, Register, reg};

/// What a byte lets the guest do, and what it is after a reset.
#[derive(Clone, Copy)]
struct Rule {
    write: u8,
    clear: u8,
    initial: u8,
}

const fn put(rules: &mut [Rule; REGISTERS_LEN], base: usize, list: &[Register]) {
    let mut n = 0;
    while n < list.len() {
        let Register { at, len, write, clear, initial } = list[n];
        let mut byte = 0;
        while byte < len {
            let shift = 8 * byte as u32;
            rules[base + at + byte] = Rule {
                write: (write >> shift) as u8,
                clear: (clear >> shift) as u8,
                initial: (initial >> shift) as u8,
            };
            byte += 1;
        }
        n += 1;
    }
}

static RULES: [Rule; REGISTERS_LEN] = {
    let mut rules = [Rule { write: 0, clear: 0, initial: 0 }; REGISTERS_LEN];
    put(&mut rules, 0, spec::CONTROLLER);
    let mut stream = 0;
    while stream < spec::STREAMS {
        put(&mut rules, reg::STREAM + stream * reg::STREAM_LEN, spec::DESCRIPTOR);
        stream += 1;
    }
    rules
};

/// The registers.
#[derive(Clone)]
pub(super) struct Registers(pub [u8; REGISTERS_LEN]);

impl Registers {
    /// As after a reset.
    pub fn new() -> Registers {
        Registers(RULES.map(|rule| rule.initial))
    }

    /// Those from `first` on, so many bytes, are as after a reset.
    pub fn reset(&mut self, first: usize, len: usize) {
        let rules = RULES.iter().skip(first).take(len);
        self.0.iter_mut().skip(first).zip(rules).for_each(|(byte, rule)| *byte = rule.initial);
    }

    /// A byte, 0 where there is no register.
    pub fn u8(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }
    /// Two.
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.u8(at), self.u8(at + 1)])
    }
    /// Four.
    pub fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }
    /// An address, in two halves.
    pub fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32
    }

    /// Sets bytes, whatever the guest may write.
    pub fn set(&mut self, at: usize, bytes: &[u8]) {
        self.0.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    }
    /// Sets two.
    pub fn set_u16(&mut self, at: usize, value: u16) {
        self.set(at, &value.to_le_bytes());
    }
    /// Sets four.
    pub fn set_u32(&mut self, at: usize, value: u32) {
        self.set(at, &value.to_le_bytes());
    }

    /// The guest writes a byte.
    pub fn write(&mut self, at: usize, value: u8) {
        if let (Some(byte), Some(rule)) = (self.0.get_mut(at), RULES.get(at)) {
            *byte = (*byte & !rule.write | value & rule.write) & !(value & rule.clear);
        }
    }
}
