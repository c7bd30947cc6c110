//! The PC under test, reduced to what cases need.

use std::fmt;
use std::time::Duration;

pub use ioreq::Size;
use thiserror::Error;

/// RAM that cases may use: bytes from 1 MiB on. The agent lives below 0x20000, and [`RAM_MIB`] is the whole.
pub const FREE_RAM: std::ops::Range<u64> = 0x10_0000..0x300_0000;
/// RAM of every machine under test, in MiB.
pub const RAM_MIB: u64 = 64;

/// One step. Those of one [`perform`](Machine::perform) are carried out back to back, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads a port: 1, 2 or 4 bytes.
    In(u16, Size),
    /// Writes a port: 1, 2 or 4 bytes.
    Out(u16, Size, u32),
    /// Reads memory space, RAM or a device's, below 4 GiB: 1, 2, 4 or 8 bytes in one access.
    Read(u64, Size),
    /// Writes memory space.
    Write(u64, Size, u64),
    /// `rep ins`: (port, size, items, to address). The direction is up.
    InString(u16, Size, u32, u64),
    /// `rep outs`: (port, size, items, from address).
    OutString(u16, Size, u32, u64),
    /// Lets so many nanoseconds of guest time pass, and at most [`Machine::slack`] more.
    Wait(u64),
    /// Guest time in nanoseconds, from a start of the machine's own choice.
    Now,
}

/// Something that comes to a machine from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A key, by its name in QEMU (QKeyCode), goes down or up.
    Key(&'a str, bool),
    /// The mouse moves by so many counts: to the right, and towards its user.
    Move(i32, i32),
    /// A button of it, by its name in QEMU (InputButton; notches of the wheel are buttons), goes down or up.
    Button(&'a str, bool),
    /// Bytes come in by the line of COM1.
    Com1(&'a [u8]),
}

/// The machine cannot be driven any more.
#[derive(Debug, Error)]
#[error("{machine}: {why}")]
pub struct Broken {
    /// Which machine.
    pub machine: String,
    /// What happened.
    pub why: String,
}

/// A PC without firmware and without software of its own, after power-on: no BAR is set, no interrupt
/// controller is programmed. Dropping it ends it.
pub trait Machine {
    /// What it is, for people: `qemu`, `rig`, `qtest`, `agent`.
    fn name(&self) -> &str;
    /// Carries out steps; one number each, 0 for those that give none.
    fn perform(&mut self, ops: &[Op]) -> Result<Vec<u64>, Broken>;
    /// Bytes of RAM.
    fn peek(&mut self, address: u64, len: usize) -> Result<Vec<u8>, Broken>;
    /// Puts bytes into RAM.
    fn poke(&mut self, address: u64, data: &[u8]) -> Result<(), Broken>;
    /// Lets this come from outside, all in one go. A device may come to know of it a little later, by the host's
    /// time.
    fn input(&mut self, inputs: &[Input<'_>]) -> Result<(), Broken>;
    /// What COM1 has sent since the first [`input`](Machine::input) or the last call: `len` bytes, or fewer if
    /// no more come within a second of the host's time.
    fn com1(&mut self, len: usize) -> Result<Vec<u8>, Broken>;
    /// The reset button. RAM may be kept; everything else begins as after power-on.
    fn reset(&mut self) -> Result<(), Broken>;
    /// Enables interrupts until one has been taken or `ns` have passed, with both 8259s as the case has
    /// programmed them. Its vector.
    fn interrupt(&mut self, ns: u64) -> Result<Option<u8>, Broken>;
    /// Most nanoseconds of guest time that pass without being asked for: in a step of
    /// [`perform`](Machine::perform), and beyond a [`Op::Wait`]. Between two calls any time may pass,
    /// unless this is 0.
    fn slack(&self) -> u64;
    /// How long a device may take to know of an [`input`](Machine::input), by the host's time.
    fn patience(&self) -> Duration {
        Duration::from_secs(2)
    }
    /// Whether a processor makes the accesses: what lies between it and the bus (address line 20) shows then.
    fn has_cpu(&self) -> bool {
        false
    }
}

impl fmt::Debug for dyn Machine + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
