//! The qtest protocol: lines of words (QEMU, `docs/devel/testing/qtest.rst` and the comment at the head of
//! `system/qtest.c`).

use std::fmt::Write;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use devices_core::irq::{IrqBank, IrqLine};
use hypervisor::Hypervisor;
use ioreq::Size;

use super::{Access, IrqIntercept};

/// Most bytes of one block command.
pub const BLOCK_MOST: u64 = 16 << 20;
/// Most bytes of a line: a block in hexadecimal, with its command.
pub const LINE_MOST: usize = 2 * BLOCK_MOST as usize + 256;
/// How long a step of time may keep the monitor waiting.
const SLICE: Duration = Duration::from_millis(20);
/// The interrupt wires.
const WIRES: u32 = 24;

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The line to send back.
    Line(String),
    /// Time is still on its way: call [`Session::go_on`].
    Later,
}

/// A machine in the hands of one client.
pub struct Session {
    access: Access,
    taps: std::sync::Arc<IrqIntercept>,
    /// The client's own share in each wire.
    wires: Vec<IrqLine>,
    /// Whether it has asked for changes of the wires.
    intercepts: bool,
    /// Where time is on its way to.
    stepping: Option<u64>,
}

/// Why a command is refused; the client sees `FAIL` and this.
type Refused = String;
type Answer = Result<Reply, Refused>;

fn ok() -> Answer {
    Ok(Reply::Line("OK".into()))
}

/// A number as C writes it: decimal, `0x` and hexadecimal, `0` and octal. Negative ones wrap.
fn number(text: &str) -> Result<u64, Refused> {
    let wrong = || format!("'{text}' is no number");
    let (minus, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let value = match (hex, digits.strip_prefix('0')) {
        (Some(hex), _) => u64::from_str_radix(hex, 16),
        (None, Some(octal)) if !octal.is_empty() => u64::from_str_radix(octal, 8),
        _ => digits.parse(),
    };
    // A second sign would be taken by the parsers.
    let value = value.ok().filter(|_| !digits.contains(['+', '-'])).ok_or_else(wrong)?;
    Ok(if minus { value.wrapping_neg() } else { value })
}

fn port(text: &str) -> Result<u16, Refused> {
    u16::try_from(number(text)?).map_err(|_| format!("there is no port {text}"))
}

fn block(text: &str) -> Result<usize, Refused> {
    match number(text)? {
        len @ 1..=BLOCK_MOST => Ok(len as usize),
        len => Err(format!("a block has 1 to {BLOCK_MOST} bytes, not {len}")),
    }
}

/// The width that a command's last letter names.
fn width(letter: &str) -> Option<Size> {
    match letter {
        "b" => Some(Size::B1),
        "w" => Some(Size::B2),
        "l" => Some(Size::B4),
        "q" => Some(Size::B8),
        _ => None,
    }
}

/// `0x` and hexadecimal digits; what is missing of `len` bytes is zero, what is more is dropped.
fn bytes(text: &str, len: usize) -> Result<Vec<u8>, Refused> {
    let digits = text.strip_prefix("0x").ok_or("data begin with 0x")?.as_bytes();
    let mut data = vec![0; len];
    for (byte, pair) in data.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).ok_or("data are hexadecimal digits");
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Ok(data)
}

impl Session {
    /// A client of this machine, whose interrupt wires are `isa`.
    pub fn new(access: Access, isa: &IrqBank, taps: std::sync::Arc<IrqIntercept>) -> Session {
        let wires = (0..WIRES).map(|pin| isa.line(pin)).collect();
        Session { access, taps, wires, intercepts: false, stepping: None }
    }

    /// The interrupt wires.
    pub fn taps(&self) -> &IrqIntercept {
        &self.taps
    }

    /// Time is on its way: no other command may be carried out before it has come.
    pub fn is_stepping(&self) -> bool {
        self.stepping.is_some()
    }

    /// The client has gone: what it drove and asked for is taken back.
    pub fn forget(&mut self) {
        self.wires.iter_mut().for_each(|wire| wire.set(false));
        self.intercepts = false;
        self.taps.want(false);
        self.stepping = None;
    }

    /// Carries out a line.
    pub fn execute(&mut self, line: &str) -> Reply {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        self.command(&words).unwrap_or_else(|why| Reply::Line(format!("FAIL {why}")))
    }

    fn command(&mut self, words: &[&str]) -> Answer {
        match words {
            ["endianness"] => Ok(Reply::Line("OK little".into())),
            ["clock_step"] => {
                let next = self.access.still().timers().next_deadline();
                self.step(next.unwrap_or_else(|| self.access.now()))
            }
            ["clock_step", ns] => {
                let ns = number(ns)?;
                // Past the end of time there is nothing.
                self.step(self.access.now().saturating_add(ns).min(i64::MAX as u64))
            }
            ["clock_set", ns] => self.step(number(ns)?.min(i64::MAX as u64)),
            ["irq_intercept_in", path] => self.intercept(path),
            ["irq_intercept_out", path, ..] => Err(format!("Unknown device '{path}'")),
            ["set_irq_in", path, _name, pin, level] => self.drive(path, number(pin)?, number(level)? != 0),
            ["module_load", prefix, name] => Err(format!("there is no module {prefix}{name}")),
            ["read", at, len] => {
                let data = self.read(number(at)?, block(len)?);
                let mut text = String::with_capacity(data.len() * 2 + 5);
                text.push_str("OK 0x");
                for byte in data {
                    // Writing to a string does not fail.
                    let _ = write!(text, "{byte:02x}");
                }
                Ok(Reply::Line(text))
            }
            ["b64read", at, len] => {
                let data = self.read(number(at)?, block(len)?);
                Ok(Reply::Line(format!("OK {}", BASE64.encode(data))))
            }
            ["write", at, len, data] => {
                self.access.write(number(at)?, &bytes(data, block(len)?)?);
                ok()
            }
            ["b64write", at, len, data] => {
                let mut data = BASE64.decode(data).map_err(|error| error.to_string())?;
                data.resize(block(len)?, 0);
                self.access.write(number(at)?, &data);
                ok()
            }
            ["memset", at, len, value] => {
                self.access.write(number(at)?, &vec![number(value)? as u8; block(len)?]);
                ok()
            }
            [name, rest @ ..] => self.single(name, rest),
            [] => Err("a command is missing".into()),
        }
    }

    /// One access: `inb` to `writeq`.
    fn single(&mut self, name: &str, words: &[&str]) -> Answer {
        let unknown = || format!("Unknown command '{}'", name.escape_debug());
        let (verb, letter) = name.split_at_checked(name.len().saturating_sub(1)).ok_or_else(unknown)?;
        let size = width(letter).ok_or_else(unknown)?;
        match (verb, words) {
            ("in", [at]) if size != Size::B8 => {
                let value = self.access.input(port(at)?, size);
                Ok(Reply::Line(format!("OK 0x{value:04x}")))
            }
            ("out", [at, value]) if size != Size::B8 => {
                self.access.output(port(at)?, size, (number(value)? & size.mask()) as u32);
                ok()
            }
            ("read", [at]) => {
                let value = self.access.load(number(at)?, size);
                Ok(Reply::Line(format!("OK 0x{value:016x}")))
            }
            ("write", [at, value]) => {
                self.access.store(number(at)?, size, number(value)? & size.mask());
                ok()
            }
            ("in" | "out" | "read" | "write", _) => Err(format!("{name}: not so many words")),
            _ => Err(unknown()),
        }
    }

    fn read(&mut self, at: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.access.read(at, &mut data);
        data
    }

    fn intercept(&mut self, path: &str) -> Answer {
        wires(path)?;
        self.intercepts = true;
        self.taps.want(true);
        ok()
    }

    fn drive(&mut self, path: &str, pin: u64, level: bool) -> Answer {
        wires(path)?;
        let wire = usize::try_from(pin).ok().and_then(|pin| self.wires.get_mut(pin));
        wire.ok_or_else(|| format!("'{path}' has no input {pin}"))?.set(level);
        ok()
    }

    fn step(&mut self, end: u64) -> Answer {
        self.stepping = Some(end);
        Ok(self.go_on().map_or(Reply::Later, Reply::Line))
    }

    /// Lets time go on, for a moment of the host's; the reply if it has arrived.
    pub fn go_on(&mut self) -> Option<String> {
        let end = self.stepping?;
        if !self.access.still().advance(end, Instant::now() + SLICE) {
            return None;
        }
        self.stepping = None;
        Some(format!("OK {}", self.access.now()))
    }

    /// What has happened on the wires since last asked, as lines.
    pub fn changes(&mut self) -> String {
        let mut text = String::new();
        for (pin, level) in self.taps.take() {
            let verb = if level { "raise" } else { "lower" };
            // Writing to a string does not fail.
            let _ = writeln!(text, "IRQ {verb} {pin}");
        }
        text
    }
}

/// The only device whose inputs are wires of ours: the IOAPIC, whose inputs are the ISA wires and eight more.
fn wires(path: &str) -> Result<(), Refused> {
    match path.rsplit('/').next() {
        Some("ioapic") => Ok(()),
        _ => Err(format!("Unknown device '{}'", path.escape_debug())),
    }
}
