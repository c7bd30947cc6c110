//! Which status flags an instruction reads and writes, and which of them anybody may still see.

use iced_x86::{Instruction, RflagsBits};

/// Carry. The bits are those of AH after LAHF; overflow takes one that is free there.
pub const CF: u8 = 0x01;
/// Overflow.
pub const OF: u8 = 0x02;
/// Parity.
pub const PF: u8 = 0x04;
/// Auxiliary carry.
pub const AF: u8 = 0x10;
/// Zero.
pub const ZF: u8 = 0x40;
/// Sign.
pub const SF: u8 = 0x80;
/// All six.
pub const ALL: u8 = CF | OF | PF | AF | ZF | SF;

fn mask(bits: u32) -> u8 {
    let pairs = [
        (RflagsBits::CF, CF),
        (RflagsBits::OF, OF),
        (RflagsBits::PF, PF),
        (RflagsBits::AF, AF),
        (RflagsBits::ZF, ZF),
        (RflagsBits::SF, SF),
    ];
    pairs.iter().filter(|(theirs, _)| bits & theirs != 0).fold(0, |all, (_, ours)| all | ours)
}

/// Flags that the instruction looks at.
pub fn reads(i: &Instruction) -> u8 {
    mask(i.rflags_read())
}

/// Flags that it may change.
pub fn writes(i: &Instruction) -> u8 {
    mask(i.rflags_modified())
}

/// How an instruction and what becomes of it meet the flags.
#[derive(Clone, Copy, Default, Debug)]
pub struct Use {
    /// Looks at them.
    pub reads: u8,
    /// Changes them in any case: what was there before is gone.
    pub kills: u8,
    /// Before it is done, all flags may be seen: it may fault, or leave the translation.
    pub shows: bool,
}

/// For each instruction, the flags that may be seen after it before they are changed. After the last, all may.
pub fn live_after(uses: &[Use]) -> Vec<u8> {
    let mut live = ALL;
    let mut after = vec![0; uses.len()];
    for (at, u) in uses.iter().enumerate().rev() {
        after[at] = live;
        live = if u.shows { ALL } else { live & !u.kills | u.reads };
    }
    after
}
