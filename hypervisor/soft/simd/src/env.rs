//! MXCSR as floating-point operations see it, and the exceptions they raise.

/// Bits of MXCSR. The exception bits 5:0 are also the bits of [`FpEnv::raised`]; each exception's mask bit is 7 above.
pub struct Flags;

impl Flags {
    /// Invalid operation.
    pub const IE: u32 = 1;
    /// Denormal operand.
    pub const DE: u32 = 1 << 1;
    /// Division of a finite number by zero.
    pub const ZE: u32 = 1 << 2;
    /// Overflow.
    pub const OE: u32 = 1 << 3;
    /// Underflow.
    pub const UE: u32 = 1 << 4;
    /// Inexact result.
    pub const PE: u32 = 1 << 5;
    /// All six exceptions.
    pub const ALL: u32 = 0x3f;
    /// The exceptions that are found before a result is computed.
    pub const BEFORE: u32 = Self::IE | Self::DE | Self::ZE;
    /// Denormal operands are taken as zeros.
    pub const DAZ: u32 = 1 << 6;
    /// How far a mask bit is above its exception's bit.
    pub const MASK_SHIFT: u32 = 7;
    /// Rounding control: nearest, down, up, towards zero.
    pub const RC: u32 = 3 << 13;
    /// Tiny results become zeros (only while underflow is masked).
    pub const FTZ: u32 = 1 << 15;
    /// MXCSR after reset: everything masked, round to nearest.
    pub const RESET: u32 = 0x1f80;
}

/// The floating-point environment of one instruction.
///
/// The caller keeps one with the vCPU's MXCSR in it, passes it to the operation, and then calls [`FpEnv::finish`]: if
/// that says true the destination must not be written and #XM is due (#UD if CR4.OSXMMEXCPT is clear).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FpEnv {
    /// The guest's MXCSR; [`FpEnv::finish`] adds flags to it, and so does the end of a step in DPPS and DPPD.
    pub mxcsr: u32,
    /// Exceptions ([`Flags`] bits 5:0) that operations raised since the last [`FpEnv::finish`]. Flags already set in
    /// `mxcsr` and masked may be left out, as they change nothing.
    pub raised: u32,
}

impl Default for FpEnv {
    fn default() -> Self {
        Self::new(Flags::RESET)
    }
}

impl FpEnv {
    /// An environment with nothing raised.
    pub fn new(mxcsr: u32) -> Self {
        Self { mxcsr, raised: 0 }
    }

    /// The raised exceptions that are not masked.
    #[inline]
    pub fn unmasked(&self) -> u32 {
        self.raised & !(self.mxcsr >> Flags::MASK_SHIFT) & Flags::ALL
    }

    /// Adds what was raised to MXCSR; true if the instruction must end in #XM instead of writing its destination.
    ///
    /// An unmasked exception of the operands keeps the results of all lanes from being computed, so that overflow,
    /// underflow and inexact of other lanes are not reported with it (SDM volume 1, 4.9.2 and 11.5.2).
    #[inline]
    pub fn finish(&mut self) -> bool {
        if self.raised == 0 {
            return false;
        }
        let unmasked = self.unmasked();
        if unmasked & Flags::BEFORE != 0 {
            self.raised &= Flags::BEFORE;
        }
        self.mxcsr |= self.raised;
        self.raised = 0;
        unmasked != 0
    }

    /// Ends one of the steps that an instruction takes in turn: false if what it raised keeps the next from starting,
    /// else its flags are in MXCSR.
    pub(crate) fn next_step(&mut self) -> bool {
        if self.unmasked() != 0 {
            return false;
        }
        self.mxcsr |= std::mem::take(&mut self.raised);
        true
    }

    #[inline]
    pub(crate) fn raise(&mut self, flags: u32) {
        self.raised |= flags;
    }

    #[inline]
    pub(crate) fn masked(&self, flag: u32) -> bool {
        self.mxcsr >> Flags::MASK_SHIFT & flag != 0
    }

    #[inline]
    pub(crate) fn daz(&self) -> bool {
        self.mxcsr & Flags::DAZ != 0
    }

    #[inline]
    pub(crate) fn rounding(&self) -> Rounding {
        Rounding::from_bits(self.mxcsr >> 13)
    }

    /// Whether the host's arithmetic (nearest, no FTZ, no DAZ) gives this environment's results.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.mxcsr & (Flags::RC | Flags::FTZ | Flags::DAZ) == 0
    }

    /// Whether nobody can tell if an operation was inexact: the flag is set already and masked.
    #[inline]
    pub(crate) fn ignores_inexact(&self) -> bool {
        const QUIET: u32 = Flags::PE | Flags::PE << Flags::MASK_SHIFT;
        self.mxcsr & QUIET == QUIET
    }
}

/// A rounding mode, in MXCSR's and the ROUND instructions' encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Down,
    Up,
    Zero,
}

impl Rounding {
    pub(crate) fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }
}
