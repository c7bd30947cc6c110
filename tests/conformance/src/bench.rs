//! What a case has in its hands: a machine, words for accesses, and a place to write down what it found.

use std::fmt::{Display, Write};
use std::time::{Duration, Instant};

use crate::machine::{Broken, Input, Machine, Op, Size};

/// What a case found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is as the document says.
    Right,
    /// It is not; the value that the document wants.
    Wrong(String),
    /// No document says; machines are compared.
    Noted,
}

/// A thing that a case looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which register, which bit, which moment. Unique in its case.
    pub what: String,
    /// What was there.
    pub value: String,
    /// What that means.
    pub finding: Finding,
}

/// A machine in the hands of a case.
pub struct Bench<'a> {
    machine: &'a mut dyn Machine,
    seen: Vec<Seen>,
}

/// The end of a case whose machine is gone; caught by [`Bench::run`].
struct Gone(Broken);

pub(crate) fn hex(data: &[u8]) -> String {
    let mut text = String::with_capacity(data.len() * 2);
    for byte in data {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl<'a> Bench<'a> {
    /// Runs a case on a machine; what it looked at, in order. A case that panics by an assertion of its own is
    /// our fault and goes on panicking.
    pub fn run(machine: &'a mut dyn Machine, case: fn(&mut Bench<'_>)) -> Result<Vec<Seen>, Broken> {
        let mut bench = Bench { machine, seen: Vec::new() };
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&mut bench)));
        match ran {
            Ok(()) => Ok(bench.seen),
            Err(cause) => match cause.downcast::<Gone>() {
                Ok(gone) => Err(gone.0),
                Err(cause) => std::panic::resume_unwind(cause),
            },
        }
    }

    fn must<T>(result: Result<T, Broken>) -> T {
        // Quietly: it is no fault of this program, and is reported by who runs the case.
        result.unwrap_or_else(|broken| std::panic::resume_unwind(Box::new(Gone(broken))))
    }

    // What is found.

    fn saw(&mut self, what: impl Into<String>, value: String, finding: Finding) {
        let mut what = what.into();
        let same = self.seen.iter().filter(|seen| seen.what.split(" #").next() == Some(&what)).count();
        if same > 0 {
            let _ = write!(what, " #{}", same + 1);
        }
        self.seen.push(Seen { what, value, finding });
    }

    /// A register must have a value.
    pub fn check(&mut self, what: impl Into<String>, got: impl Into<u64>, want: impl Into<u64>) {
        let (got, want) = (got.into(), want.into());
        let finding = if got == want { Finding::Right } else { Finding::Wrong(format!("{want:#x}")) };
        self.saw(what, format!("{got:#x}"), finding);
    }
    /// The bits of `mask` must have a value.
    pub fn check_bits(
        &mut self,
        what: impl Into<String>,
        got: impl Into<u64>,
        mask: impl Into<u64>,
        want: impl Into<u64>,
    ) {
        let mask = mask.into();
        self.check(what, got.into() & mask, want.into());
    }
    /// Bytes must be these.
    pub fn check_bytes(&mut self, what: impl Into<String>, got: &[u8], want: &[u8]) {
        let finding = if got == want { Finding::Right } else { Finding::Wrong(hex(want)) };
        self.saw(what, hex(got), finding);
    }
    /// Something must hold; `found` is what was there instead. Only whether it holds is compared.
    pub fn check_that(&mut self, what: impl Into<String>, holds: bool, found: impl Display) {
        let finding = if holds { Finding::Right } else { Finding::Wrong("that it holds".into()) };
        let value = if holds { "holds".to_owned() } else { format!("does not hold: {found}") };
        self.saw(what, value, finding);
    }
    /// A value in a range, such as a time: (at least, at most). Only whether it is inside is compared.
    pub fn check_range(&mut self, what: impl Into<String>, got: u64, least: u64, most: u64) {
        let holds = (least..=most).contains(&got);
        self.check_that(what, holds, format_args!("{got} is not in {least}..={most}"));
    }
    /// A value that no document gives: machines are compared.
    pub fn note(&mut self, what: impl Into<String>, got: impl Into<u64>) {
        self.saw(what, format!("{:#x}", got.into()), Finding::Noted);
    }
    /// Bytes that no document gives.
    pub fn note_bytes(&mut self, what: impl Into<String>, got: &[u8]) {
        self.saw(what, hex(got), Finding::Noted);
    }

    // Accesses.

    /// Steps back to back; one number each.
    pub fn perform(&mut self, ops: &[Op]) -> Vec<u64> {
        let answers = Self::must(self.machine.perform(ops));
        assert_eq!(answers.len(), ops.len(), "a machine answers every step");
        answers
    }
    fn one(&mut self, op: Op) -> u64 {
        self.perform(&[op]).first().copied().unwrap_or(0)
    }
    /// Reads a byte from a port.
    pub fn inb(&mut self, port: u16) -> u8 {
        self.one(Op::In(port, Size::B1)) as u8
    }
    /// Reads two bytes.
    pub fn inw(&mut self, port: u16) -> u16 {
        self.one(Op::In(port, Size::B2)) as u16
    }
    /// Reads four bytes.
    pub fn inl(&mut self, port: u16) -> u32 {
        self.one(Op::In(port, Size::B4)) as u32
    }
    /// Writes a byte to a port.
    pub fn outb(&mut self, port: u16, value: u8) {
        self.one(Op::Out(port, Size::B1, value.into()));
    }
    /// Writes two bytes.
    pub fn outw(&mut self, port: u16, value: u16) {
        self.one(Op::Out(port, Size::B2, value.into()));
    }
    /// Writes four bytes.
    pub fn outl(&mut self, port: u16, value: u32) {
        self.one(Op::Out(port, Size::B4, value));
    }
    /// Writes `index` to a port and reads the next one: CMOS, the VGA's register files.
    pub fn indexed(&mut self, port: u16, index: u8) -> u8 {
        self.perform(&[Op::Out(port, Size::B1, index.into()), Op::In(port + 1, Size::B1)])[1] as u8
    }
    /// Writes a register of such a file.
    pub fn set_indexed(&mut self, port: u16, index: u8, value: u8) {
        self.perform(&[Op::Out(port, Size::B1, index.into()), Op::Out(port + 1, Size::B1, value.into())]);
    }
    /// Reads memory space.
    pub fn read(&mut self, address: u64, size: Size) -> u64 {
        self.one(Op::Read(address, size))
    }
    /// Writes memory space.
    pub fn write(&mut self, address: u64, size: Size, value: u64) {
        self.one(Op::Write(address, size, value));
    }
    /// Reads four bytes of memory space.
    pub fn readl(&mut self, address: u64) -> u32 {
        self.read(address, Size::B4) as u32
    }
    /// Writes four bytes of memory space.
    pub fn writel(&mut self, address: u64, value: u32) {
        self.write(address, Size::B4, value.into());
    }
    /// Reads configuration space of bus 0 by mechanism 1 (PCI 2.1, 3.7.4.1): size 1, 2 or 4.
    pub fn config(&mut self, device: u8, function: u8, reg: u8, size: Size) -> u32 {
        let port = 0xcfc + u16::from(reg & 3);
        self.perform(&[address(device, function, reg), Op::In(port, size)])[1] as u32
    }
    /// Writes it.
    pub fn set_config(&mut self, device: u8, function: u8, reg: u8, size: Size, value: u32) {
        let port = 0xcfc + u16::from(reg & 3);
        self.perform(&[address(device, function, reg), Op::Out(port, size, value)]);
    }
    /// The first 64 bytes or more of a function's configuration space.
    pub fn config_space(&mut self, device: u8, function: u8, len: u8) -> Vec<u8> {
        let words = (0..len).step_by(4).map(|reg| self.config(device, function, reg, Size::B4));
        words.collect::<Vec<_>>().into_iter().flat_map(u32::to_le_bytes).collect()
    }
    /// Size of a BAR in bytes, by writing all ones and putting back what was there (PCI 2.1, 6.2.5.1). 0: it
    /// is not there.
    pub fn bar_size(&mut self, device: u8, function: u8, reg: u8) -> u32 {
        let before = self.config(device, function, reg, Size::B4);
        self.set_config(device, function, reg, Size::B4, u32::MAX);
        let mask = self.config(device, function, reg, Size::B4);
        self.set_config(device, function, reg, Size::B4, before);
        let kind = if reg == 0x30 {
            0x7ff
        } else if mask & 1 != 0 {
            3
        } else {
            0xf
        };
        (!(mask & !kind)).wrapping_add(1)
    }

    /// Bytes of RAM.
    pub fn peek(&mut self, address: u64, len: usize) -> Vec<u8> {
        Self::must(self.machine.peek(address, len))
    }
    /// Puts bytes into RAM.
    pub fn poke(&mut self, address: u64, data: &[u8]) {
        Self::must(self.machine.poke(address, data));
    }

    // Time.

    /// Lets guest time pass.
    pub fn wait(&mut self, ns: u64) {
        self.one(Op::Wait(ns));
    }
    /// Guest time that may pass unasked in one step or beyond a wait, in nanoseconds.
    pub fn slack(&self) -> u64 {
        self.machine.slack()
    }
    /// Reads a port until `wanted` holds of it, at most `ms` milliseconds long. What it read last.
    pub fn poll(&mut self, port: u16, ms: u32, wanted: impl Fn(u8) -> bool) -> u8 {
        let mut value = self.inb(port);
        for _ in 0..ms * 10 {
            if wanted(value) {
                break;
            }
            self.wait(100_000);
            value = self.inb(port);
        }
        value
    }

    // The world outside.

    /// Lets something come from outside. When a device knows of it is seen by [`arrives`](Bench::arrives).
    pub fn input(&mut self, inputs: &[Input<'_>]) {
        Self::must(self.machine.input(inputs));
    }
    /// Reads a port until `wanted` holds of it, as long as the machine may take for what comes from outside. What
    /// it read last.
    pub fn arrives(&mut self, port: u16, wanted: impl Fn(u8) -> bool) -> u8 {
        self.reads_until(port, self.machine.patience(), wanted)
    }
    /// Reads a port until `wanted` holds of it, as long as the host may take to serve a medium: an fsync takes seconds
    /// while others write to the same disk, and no guest time. What it read last.
    pub fn served(&mut self, port: u16, wanted: impl Fn(u8) -> bool) -> u8 {
        self.reads_until(port, 10 * self.machine.patience(), wanted)
    }
    /// Asks each millisecond of guest time until there is an answer, as long as the host may take to serve a medium. What
    /// was asked last.
    pub fn served_by<T>(&mut self, mut ask: impl FnMut(&mut Bench<'_>) -> (T, bool)) -> T {
        let until = Instant::now() + 5 * self.machine.patience();
        loop {
            let (found, there) = ask(self);
            if there || Instant::now() > until {
                return found;
            }
            self.wait(1_000_000);
        }
    }
    /// Lets guest time pass, a millisecond and again, until `wanted` holds, for at most two seconds. Whether it does.
    pub fn passes_until(&mut self, mut wanted: impl FnMut(&mut Bench<'_>) -> bool) -> bool {
        (0..2000).any(|_| {
            let there = wanted(self);
            if !there {
                self.wait(1_000_000);
            }
            there
        })
    }
    /// Reads a port until `wanted` holds of it, for so long of the host's time.
    fn reads_until(&mut self, port: u16, patience: Duration, wanted: impl Fn(u8) -> bool) -> u8 {
        let until = Instant::now() + patience;
        let mut value = self.inb(port);
        while !wanted(value) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
            value = self.inb(port);
        }
        value
    }
    /// Gives what comes from outside the time to come in, where none is expected to show.
    pub fn settle(&mut self) {
        std::thread::sleep(self.machine.patience().min(Duration::from_millis(50)));
        self.wait(10_000_000);
    }
    /// What COM1 has sent: `len` bytes, or those that there are.
    pub fn com1(&mut self, len: usize) -> Vec<u8> {
        Self::must(self.machine.com1(len))
    }

    // Interrupts and reset.

    /// Programs both 8259s for the PC (vectors 0x20 and 0x28), everything masked, and makes the interrupts that
    /// may be level-triggered so, by ELCR: their lines show in [`irq`](Bench::irq) as they are now.
    pub fn interrupts(&mut self) {
        for (base, vector, wiring) in [(0x20, 0x20, 4), (0xa0, 0x28, 2)] {
            self.outb(base, 0x11);
            self.outb(base + 1, vector);
            self.outb(base + 1, wiring);
            self.outb(base + 1, 1);
            self.outb(base + 1, 0xff);
        }
        self.outb(0x4d0, 0xf8);
        self.outb(0x4d1, 0xde);
    }
    /// Whether an interrupt asks at its 8259 (IRR). One that is edge-triggered (0, 1, 2, 8, 13) stays until it is
    /// taken or [`interrupts`](Bench::interrupts) begins anew.
    pub fn irq(&mut self, irq: u8) -> bool {
        let base = if irq < 8 { 0x20 } else { 0xa0 };
        self.outb(base, 0x0a);
        self.inb(base) >> (irq & 7) & 1 != 0
    }
    /// Lets one interrupt through for at most `ns`; its vector.
    pub fn interrupt(&mut self, ns: u64) -> Option<u8> {
        Self::must(self.machine.interrupt(ns))
    }
    /// Whether a processor makes the accesses.
    pub fn has_cpu(&self) -> bool {
        self.machine.has_cpu()
    }
    /// The reset button.
    pub fn reset(&mut self) {
        Self::must(self.machine.reset());
    }
}

/// The latch of mechanism 1.
fn address(device: u8, function: u8, reg: u8) -> Op {
    let place = u32::from(device) << 11 | u32::from(function) << 8 | u32::from(reg & 0xfc);
    Op::Out(0xcf8, Size::B4, 1 << 31 | place)
}
