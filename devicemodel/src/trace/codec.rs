//! Records as bytes: a tag, then numbers as LEB128. Time is the distance from the entry before, the value of an
//! access that came before is the difference (XOR) from what it was then, so that a port that is polled costs three
//! bytes or four, and most of those are the same: what is left is for the packing of the file.
//!
//! | tag | what |
//! |---|---|
//! | 0x40-0x7f | the access of that slot: time; a write's value |
//! | 0x01 | the slot whose turn it is gets an access: vCPU, target, direction and size; then as above |
//! | 0x02-0x08 | other entries, time first |
//! | 0x10, 0x11 | the answer: the same as last time, or the difference |
//! | 0x12-0x1d | other effects |

use std::collections::HashMap;

use devices_core::Wake;
use devices_core::block::{BlockError, BlockOp, Segment};
use devices_core::power::PowerEvent;
use hypervisor::Pin;
use ioreq::{Data, Dir, Request, Sbdf, Size, Target};

use super::record::{Effect, Entry, Record, Submit};

/// Accesses that have a short form.
const SLOTS: usize = 64;
/// Most items of a string access, and of anything else that is counted.
const MOST: u64 = 1 << 20;
/// Most bytes of one record's data.
const LARGEST: u64 = 16 << 20;

mod tag {
    pub const DEFINE: u8 = 1;
    pub const STRING: u8 = 2;
    pub const ACKNOWLEDGE: u8 = 3;
    pub const END: u8 = 4;
    pub const TIMER: u8 = 5;
    pub const BACKEND: u8 = 6;
    pub const COMPLETION: u8 = 7;
    pub const HOST: u8 = 8;
    pub const SAME: u8 = 0x10;
    pub const ANSWER: u8 = 0x11;
    pub const PIN: u8 = 0x12;
    pub const ROUTE: u8 = 0x13;
    pub const MESSAGE: u8 = 0x14;
    pub const READ: u8 = 0x15;
    pub const WRITE: u8 = 0x16;
    pub const SUBMIT: u8 = 0x17;
    pub const POWER: u8 = 0x1a;
    pub const ARM: u8 = 0x1b;
    pub const RECALL: u8 = 0x1c;
    pub const CALL: u8 = 0x1d;
    pub const SLOT: u8 = 0x40;
}

/// An access without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    vcpu: u32,
    target: Target,
    dir: Dir,
    size: Size,
}

/// What both ends remember.
#[derive(Default)]
struct Memory {
    at: u64,
    slots: Vec<(Shape, u64)>,
    turn: usize,
    /// The slot of the access under way.
    current: Option<usize>,
}

impl Memory {
    /// Gives the next slot to a shape; which it is, and whose it was.
    fn define(&mut self, shape: Shape) -> (usize, Option<Shape>) {
        let slot = self.turn;
        self.turn = (self.turn + 1) % SLOTS;
        match self.slots.get_mut(slot) {
            Some(taken) => (slot, Some(std::mem::replace(taken, (shape, 0)).0)),
            None => {
                self.slots.push((shape, 0));
                (slot, None)
            }
        }
    }
    /// The last value of the access under way, to be replaced.
    fn last(&mut self) -> Option<&mut u64> {
        let slot = self.current?;
        self.slots.get_mut(slot).map(|(_, last)| last)
    }
}

/// Turns records into bytes.
#[derive(Default)]
pub struct Encoder {
    memory: Memory,
    known: HashMap<Shape, usize>,
}

/// Bytes that grow.
trait Put {
    fn byte(&mut self, value: u8);
    fn number(&mut self, value: u64);
    fn bytes(&mut self, data: &[u8]);
}

impl Put for Vec<u8> {
    fn byte(&mut self, value: u8) {
        self.push(value);
    }
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }
    fn bytes(&mut self, data: &[u8]) {
        self.number(data.len() as u64);
        self.extend_from_slice(data);
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn put_target(to: &mut Vec<u8>, target: Target) {
    match target {
        Target::Pio(port) => {
            to.byte(0);
            to.number(port.into());
        }
        Target::Mmio(address) => {
            to.byte(1);
            to.number(address);
        }
        Target::PciConfig { sbdf, reg } => {
            to.byte(2);
            to.number(sbdf.0.into());
            to.number(reg.into());
        }
        Target::TimeOffset => to.byte(3),
        Target::Invalidate => to.byte(4),
    }
}

fn access_bits(dir: Dir, size: Size, descending: bool) -> u8 {
    size as u8 | u8::from(dir == Dir::Write) << 4 | u8::from(descending) << 5
}

fn error_code(result: Result<(), BlockError>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(BlockError::Io) => 1,
        Err(BlockError::OutOfRange) => 2,
        Err(BlockError::ReadOnly) => 3,
        Err(BlockError::NoSpace) => 4,
        Err(BlockError::Cancelled) => 5,
        Err(BlockError::Gone) => 6,
    }
}

/// The exit status follows.
const EXIT: u8 = 5;
const WATCHDOG: u8 = 6;

fn power_code(event: PowerEvent) -> u8 {
    match event {
        PowerEvent::Reset => 0,
        PowerEvent::PowerOff => 1,
        PowerEvent::Suspend => 2,
        PowerEvent::Panicked => 3,
        PowerEvent::CrashLoaded => 4,
        PowerEvent::Exit(_) => EXIT,
        PowerEvent::Watchdog => WATCHDOG,
    }
}

fn pin_code(pin: Pin) -> u64 {
    match pin {
        Pin::Intr => 0,
        Pin::Nmi => 1,
        Pin::A20 => 2,
        Pin::Isa(irq) => 0x100 | u64::from(irq),
        Pin::Intx { device, pin } => 0x1_0000 | u64::from(device) << 8 | u64::from(pin),
    }
}

impl Encoder {
    /// An encoder whose first distance in time is from there.
    pub fn starting_at(at: u64) -> Encoder {
        Encoder { memory: Memory { at, ..Memory::default() }, known: HashMap::new() }
    }

    /// Appends an entry.
    pub fn entry(&mut self, to: &mut Vec<u8>, at: u64, entry: &Entry) {
        self.memory.current = None;
        match entry {
            Entry::Request(request) => self.request(to, at, request),
            Entry::Acknowledge { vcpu } => {
                self.begin(to, tag::ACKNOWLEDGE, at);
                to.number((*vcpu).into());
            }
            Entry::EndOfInterrupt { vcpu, vector } => {
                self.begin(to, tag::END, at);
                to.number((*vcpu).into());
                to.byte(*vector);
            }
            Entry::Wake { device, why } => {
                let (tag, number) = match why {
                    Wake::Timer(number) => (tag::TIMER, number),
                    Wake::Backend(number) => (tag::BACKEND, number),
                };
                self.begin(to, tag, at);
                to.number((*device).into());
                to.number((*number).into());
            }
            Entry::Completion { medium, request, result, data } => {
                self.begin(to, tag::COMPLETION, at);
                to.number((*medium).into());
                to.number(*request);
                to.byte(error_code(*result));
                to.bytes(data);
            }
            Entry::Host(host) => {
                self.begin(to, tag::HOST, at);
                // It has no map with strange keys, so nothing in it can fail to encode.
                to.bytes(&rmp_serde::to_vec_named(host).unwrap_or_default());
            }
        }
    }

    fn begin(&mut self, to: &mut Vec<u8>, tag: u8, at: u64) {
        to.byte(tag);
        self.time(to, at);
    }

    fn time(&mut self, to: &mut Vec<u8>, at: u64) {
        to.number(at.saturating_sub(self.memory.at));
        self.memory.at = self.memory.at.max(at);
    }

    fn request(&mut self, to: &mut Vec<u8>, at: u64, request: &Request) {
        let Request { vcpu, target, dir, size, data, count, descending } = *request;
        let (Data::Value(value), 1, false) = (data, count, descending) else {
            self.begin(to, tag::STRING, at);
            to.number(vcpu.into());
            put_target(to, target);
            to.byte(access_bits(dir, size, descending));
            to.number(count.into());
            let (guest, value) = match data {
                Data::Value(value) => (0, value),
                Data::Guest(gpa) => (1, gpa),
            };
            to.byte(guest);
            to.number(value);
            return;
        };
        let shape = Shape { vcpu, target, dir, size };
        let slot = match self.known.get(&shape) {
            Some(slot) => *slot,
            None => {
                let (slot, gone) = self.memory.define(shape);
                if let Some(gone) = gone {
                    self.known.remove(&gone);
                }
                self.known.insert(shape, slot);
                to.byte(tag::DEFINE);
                to.number(vcpu.into());
                put_target(to, target);
                to.byte(access_bits(dir, size, false));
                slot
            }
        };
        self.begin(to, tag::SLOT | slot as u8, at);
        self.memory.current = Some(slot);
        if dir == Dir::Write {
            let last = self.memory.last().map_or(0, |last| std::mem::replace(last, value));
            to.number(value ^ last);
        }
    }

    /// Appends an effect.
    pub fn effect(&mut self, to: &mut Vec<u8>, effect: &Effect) {
        match effect {
            Effect::Answer(value) => {
                let last = self.memory.last().map_or(0, |last| std::mem::replace(last, *value));
                if last == *value {
                    to.byte(tag::SAME);
                } else {
                    to.byte(tag::ANSWER);
                    to.number(value ^ last);
                }
            }
            Effect::Pin(pin, level) => {
                to.byte(tag::PIN);
                to.number(pin_code(*pin) << 1 | u64::from(*level));
            }
            Effect::Route(link, irq) => {
                to.byte(tag::ROUTE);
                to.byte(*link);
                to.number(irq.map_or(0, |irq| u64::from(irq) + 1));
            }
            Effect::Message(address, data) => {
                to.byte(tag::MESSAGE);
                to.number(*address);
                to.number((*data).into());
            }
            Effect::Read(gpa, done, data) => {
                to.byte(tag::READ);
                to.number(*gpa);
                to.byte((*done).into());
                to.bytes(data);
            }
            Effect::Write(gpa, done, len, sum) => {
                to.byte(tag::WRITE);
                to.number(*gpa);
                to.byte((*done).into());
                to.number(*len);
                to.number((*sum).into());
            }
            Effect::Submit(submit) => put_submit(to, submit),
            Effect::Recall(medium, request, begun, answer) => {
                to.byte(tag::RECALL);
                to.number((*medium).into());
                to.number(*request);
                to.byte(u8::from(*begun) | u8::from(answer.is_some()) << 1);
                if let Some((result, data)) = answer {
                    to.byte(error_code(*result));
                    to.bytes(data);
                }
            }
            Effect::Call(port, call, answer) => {
                to.byte(tag::CALL);
                [port.as_bytes(), call, answer].into_iter().for_each(|part| to.bytes(part));
            }
            Effect::Power(event) => {
                to.byte(tag::POWER);
                to.byte(power_code(*event));
                if let PowerEvent::Exit(status) = event {
                    to.byte(*status);
                }
            }
            Effect::Arm(timer, deadline) => {
                to.byte(tag::ARM);
                to.number(u64::from(*timer) << 1 | u64::from(deadline.is_some()));
                if let Some(deadline) = deadline {
                    to.number(zigzag(deadline.wrapping_sub(self.memory.at) as i64));
                }
            }
        }
    }
}

fn put_submit(to: &mut Vec<u8>, submit: &Submit) {
    let Submit { medium, op, offset, segments, buffer: (len, sum), taken } = submit;
    to.byte(tag::SUBMIT);
    to.number((*medium).into());
    let (code, bytes) = match op {
        BlockOp::Read => (0, 0),
        BlockOp::Write => (1, 0),
        BlockOp::Flush => (2, 0),
        BlockOp::Discard(bytes) => (3, *bytes),
    };
    to.byte(code | u8::from(*taken) << 4);
    to.number(bytes);
    to.number(*offset);
    to.number(*len);
    to.number((*sum).into());
    to.number(segments.len() as u64);
    for segment in segments {
        to.number(segment.gpa);
        to.number(segment.len.into());
    }
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record that makes no sense: {0}")]
pub struct Senseless(&'static str);

type Decoded<T> = std::result::Result<T, Senseless>;

/// Turns bytes into records.
#[derive(Default)]
pub struct Decoder {
    memory: Memory,
}

fn byte(from: &mut &[u8]) -> Decoded<u8> {
    let (first, rest) = from.split_first().ok_or(Senseless("it ends in the middle"))?;
    *from = rest;
    Ok(*first)
}

fn number(from: &mut &[u8]) -> Decoded<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let next = byte(from)?;
        let bits = u64::from(next & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Senseless("a number of more than 64 bits"))
}

fn narrow<T: TryFrom<u64>>(from: &mut &[u8]) -> Decoded<T> {
    number(from)?.try_into().map_err(|_| Senseless("a number that is too large"))
}

fn flag(from: &mut &[u8]) -> Decoded<bool> {
    match byte(from)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Senseless("a flag that is neither 0 nor 1")),
    }
}

fn bytes(from: &mut &[u8]) -> Decoded<Vec<u8>> {
    let len = number(from)?;
    let data =
        usize::try_from(len).ok().filter(|_| len <= LARGEST).and_then(|len| from.split_at_checked(len));
    let (data, rest) = data.ok_or(Senseless("it ends in the middle"))?;
    *from = rest;
    Ok(data.to_vec())
}

fn target(from: &mut &[u8]) -> Decoded<Target> {
    Ok(match byte(from)? {
        0 => Target::Pio(narrow(from)?),
        1 => Target::Mmio(number(from)?),
        2 => Target::PciConfig { sbdf: Sbdf(narrow(from)?), reg: narrow(from)? },
        _ => return Err(Senseless("an access to nowhere")),
    })
}

fn access(from: &mut &[u8]) -> Decoded<(Dir, Size, bool)> {
    let bits = byte(from)?;
    let size = Size::new((bits & 0xf).into()).ok_or(Senseless("an access of no such width"))?;
    let dir = if bits & 0x10 == 0 { Dir::Read } else { Dir::Write };
    Ok((dir, size, bits & 0x20 != 0))
}

impl Decoder {
    /// A decoder whose first distance in time is from there.
    pub fn starting_at(at: u64) -> Decoder {
        Decoder { memory: Memory { at, ..Memory::default() } }
    }

    /// The record at the start of `from`, which is moved behind it.
    pub fn next(&mut self, from: &mut &[u8]) -> Decoded<Record> {
        let tag = byte(from)?;
        Ok(match tag {
            tag::SAME..=tag::CALL => Record::Effect(self.effect(tag, from)?),
            _ => {
                self.memory.current = None;
                let entry = self.entry(tag, from)?;
                Record::Entry(self.memory.at, entry)
            }
        })
    }

    fn time(&mut self, from: &mut &[u8]) -> Decoded<()> {
        let at = self.memory.at.checked_add(number(from)?);
        // What devices add to the time must not wrap around.
        self.memory.at = at.filter(|at| *at < 1 << 62).ok_or(Senseless("a time beyond all times"))?;
        Ok(())
    }

    fn entry(&mut self, tag: u8, from: &mut &[u8]) -> Decoded<Entry> {
        match tag {
            tag::DEFINE => {
                let vcpu = narrow(from)?;
                let target = target(from)?;
                let (dir, size, _) = access(from)?;
                self.memory.define(Shape { vcpu, target, dir, size });
                let slot = byte(from)?;
                return if slot & 0xc0 == tag::SLOT {
                    self.slot(slot, from)
                } else {
                    Err(Senseless("no slot"))
                };
            }
            tag::SLOT..0x80 => return self.slot(tag, from),
            _ => self.time(from)?,
        }
        Ok(match tag {
            tag::STRING => Entry::Request(string(from)?),
            tag::ACKNOWLEDGE => Entry::Acknowledge { vcpu: narrow(from)? },
            tag::END => Entry::EndOfInterrupt { vcpu: narrow(from)?, vector: byte(from)? },
            tag::TIMER => Entry::Wake { device: narrow(from)?, why: Wake::Timer(narrow(from)?) },
            tag::BACKEND => Entry::Wake { device: narrow(from)?, why: Wake::Backend(narrow(from)?) },
            tag::COMPLETION => Entry::Completion {
                medium: narrow(from)?,
                request: number(from)?,
                result: result(from)?,
                data: bytes(from)?,
            },
            tag::HOST => {
                let body = bytes(from)?;
                let host = rmp_serde::from_slice(&body);
                Entry::Host(host.map_err(|_| Senseless("the host did something that is not known"))?)
            }
            _ => return Err(Senseless("a kind that is not known")),
        })
    }

    fn slot(&mut self, tag: u8, from: &mut &[u8]) -> Decoded<Entry> {
        let slot = usize::from(tag & 0x3f);
        self.time(from)?;
        let Some(&(Shape { vcpu, target, dir, size }, last)) = self.memory.slots.get(slot) else {
            return Err(Senseless("an access that was not introduced"));
        };
        self.memory.current = Some(slot);
        if dir == Dir::Read {
            return Ok(Entry::Request(Request::read(vcpu, target, size)));
        }
        let value = number(from)? ^ last;
        if let Some(last) = self.memory.last() {
            *last = value;
        }
        Ok(Entry::Request(Request::write(vcpu, target, size, value)))
    }

    fn effect(&mut self, tag: u8, from: &mut &[u8]) -> Decoded<Effect> {
        Ok(match tag {
            tag::SAME => Effect::Answer(self.memory.last().map_or(0, |last| *last)),
            tag::ANSWER => {
                let change = number(from)?;
                Effect::Answer(self.memory.last().map_or(change, |last| {
                    *last ^= change;
                    *last
                }))
            }
            tag::PIN => {
                let code = number(from)?;
                Effect::Pin(pin(code >> 1)?, code & 1 != 0)
            }
            tag::ROUTE => {
                let link = byte(from)?;
                Effect::Route(link, narrow::<u16>(from)?.checked_sub(1).map(|irq| irq as u8))
            }
            tag::MESSAGE => Effect::Message(number(from)?, narrow(from)?),
            tag::READ => Effect::Read(number(from)?, flag(from)?, bytes(from)?),
            tag::WRITE => Effect::Write(number(from)?, flag(from)?, number(from)?, narrow(from)?),
            tag::SUBMIT => Effect::Submit(submit(from)?),
            tag::RECALL => {
                let (medium, request, flags) = (narrow(from)?, number(from)?, byte(from)?);
                let answer = if flags & 2 != 0 { Some((result(from)?, bytes(from)?)) } else { None };
                Effect::Recall(medium, request, flags & 1 != 0, answer)
            }
            tag::CALL => {
                let port = String::from_utf8(bytes(from)?).map_err(|_| Senseless("a port with no name"))?;
                Effect::Call(port, bytes(from)?, bytes(from)?)
            }
            tag::POWER => Effect::Power(match byte(from)? {
                0 => PowerEvent::Reset,
                1 => PowerEvent::PowerOff,
                2 => PowerEvent::Suspend,
                3 => PowerEvent::Panicked,
                4 => PowerEvent::CrashLoaded,
                EXIT => PowerEvent::Exit(byte(from)?),
                WATCHDOG => PowerEvent::Watchdog,
                _ => return Err(Senseless("an unknown power event")),
            }),
            tag::ARM => {
                let code = number(from)?;
                let timer = u32::try_from(code >> 1).map_err(|_| Senseless("no such timer"))?;
                let deadline = if code & 1 == 0 {
                    None
                } else {
                    Some(self.memory.at.wrapping_add(unzigzag(number(from)?) as u64))
                };
                Effect::Arm(timer, deadline)
            }
            _ => return Err(Senseless("a kind that is not known")),
        })
    }
}

fn string(from: &mut &[u8]) -> Decoded<Request> {
    let vcpu = narrow(from)?;
    let target = target(from)?;
    let (dir, size, descending) = access(from)?;
    let count: u32 = narrow(from)?;
    if count == 0 || u64::from(count) > MOST {
        return Err(Senseless("an access of too many items"));
    }
    let guest = flag(from)?;
    let value = number(from)?;
    let data = if guest { Data::Guest(value) } else { Data::Value(value & size.mask()) };
    Ok(Request { vcpu, target, dir, size, data, count, descending })
}

fn result(from: &mut &[u8]) -> Decoded<Result<(), BlockError>> {
    Ok(match byte(from)? {
        0 => Ok(()),
        1 => Err(BlockError::Io),
        2 => Err(BlockError::OutOfRange),
        3 => Err(BlockError::ReadOnly),
        4 => Err(BlockError::NoSpace),
        5 => Err(BlockError::Cancelled),
        6 => Err(BlockError::Gone),
        _ => return Err(Senseless("an unknown result")),
    })
}

fn pin(code: u64) -> Decoded<Pin> {
    Ok(match code {
        0 => Pin::Intr,
        1 => Pin::Nmi,
        2 => Pin::A20,
        0x100..0x200 => Pin::Isa(code as u8),
        0x1_0000..0x2_0000 => Pin::Intx { device: (code >> 8) as u8, pin: code as u8 },
        _ => return Err(Senseless("an unknown pin")),
    })
}

fn submit(from: &mut &[u8]) -> Decoded<Submit> {
    let medium = narrow(from)?;
    let code = byte(from)?;
    let discarded = number(from)?;
    let op = match code & 0xf {
        0 => BlockOp::Read,
        1 => BlockOp::Write,
        2 => BlockOp::Flush,
        3 => BlockOp::Discard(discarded),
        _ => return Err(Senseless("an unknown request to a medium")),
    };
    let offset = number(from)?;
    let buffer = (number(from)?, narrow(from)?);
    let count = number(from)?;
    if count > MOST {
        return Err(Senseless("a transfer of too many pieces"));
    }
    // Not reserved: a wrong count in a short record takes no memory.
    let mut segments = Vec::new();
    for _ in 0..count {
        segments.push(Segment { gpa: number(from)?, len: narrow(from)? });
    }
    Ok(Submit { medium, op, offset, segments, buffer, taken: code & 0x10 != 0 })
}
