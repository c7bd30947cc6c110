//! What is said on the agent's line.
//!
//! A message is: a start byte, a kind, the length of its body (16 bits, little-endian), the body, a checksum of
//! kind, length and body (32-bit FNV-1a). The host sends a command, the agent one answer to it. Unasked it says
//! hello once, when it starts: also after a reset, in whose midst an answer may be cut off.
//!
//! Body of a `Perform`: steps, each a number and what it needs (all little-endian): port 16 bits, address 32,
//! count 32, value 32 or 64, ticks 64. Its answer: 4 bytes for what was read, 8 for 8 bytes and for `Now`.

use thiserror::Error;

use super::layout;
use crate::machine::{Op, Size};

/// Version of this protocol, in every hello.
pub const VERSION: u8 = 1;
/// What a hello's body begins with.
pub const GREETING: &[u8; 7] = b"AILURUS";
/// First byte of a command.
pub const COMMAND_START: u8 = 0xa5;
/// First byte of an answer.
pub const ANSWER_START: u8 = 0x5a;
/// Largest body of a command.
pub const REQUEST_MAX: usize = (layout::ANSWER - layout::REQUEST) as usize;
/// Largest body of an answer.
pub const ANSWER_MAX: usize = 0xe000;
/// Most bytes of one peek or poke.
pub const BLOCK_MAX: usize = 0x4000;
const HEAD: usize = 4;
const SUM: usize = 4;

/// What the agent is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Say hello.
    Hello = 0,
    /// Carry out steps.
    Perform = 1,
    /// Give RAM: address, 32-bit length.
    Peek = 2,
    /// Set RAM: address, bytes.
    Poke = 3,
    /// Take one interrupt: ticks to wait at most. Its vector, or nothing.
    Interrupt = 4,
}

/// Kinds of answers.
pub(super) mod kind {
    /// Done.
    pub const DONE: u8 = 0;
    /// Hello.
    pub const HELLO: u8 = 1;
    /// The command cannot be read.
    pub const BAD: u8 = 2;
    /// An exception ended the command.
    pub const EXCEPTION: u8 = 3;
}

/// Numbers of steps; sizes of 1, 2, 4, 8 bytes follow one another.
pub(super) mod step {
    pub const END: u8 = 0;
    pub const IN: u8 = 1;
    pub const OUT: u8 = 4;
    pub const READ: u8 = 7;
    pub const WRITE: u8 = 11;
    pub const INS: u8 = 15;
    pub const OUTS: u8 = 18;
    pub const WAIT: u8 = 21;
    pub const NOW: u8 = 22;
    /// How many there are.
    pub const COUNT: usize = 23;
}

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has started.
    Hello {
        /// Protocol version.
        version: u8,
    },
    /// What was asked for.
    Done(Vec<u8>),
    /// It could not read the command.
    Bad,
    /// An exception ended the command.
    Exception {
        /// Vector.
        vector: u8,
        /// The top of the stack: error code and EIP, or EIP and CS.
        stack: [u32; 2],
        /// CR2.
        cr2: u32,
        /// Where in the command's body its step begins.
        at: u32,
    },
}

/// A message that makes no sense, or a step that the agent cannot do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// The agent's line brought something else.
    #[error("the agent's line brings what is no answer: {0:02x?}")]
    Garbled(Vec<u8>),
    /// An answer's length is not what was asked for.
    #[error("the agent answers {got} bytes instead of {wanted}")]
    Length {
        /// Bytes that came.
        got: usize,
        /// Bytes that were asked for.
        wanted: usize,
    },
    /// No instruction does this.
    #[error("the agent has no way to do {0:?}")]
    NoWay(Op),
    /// Too much at once.
    #[error("a batch of {0} steps is too long for the agent")]
    TooLong(usize),
}

/// 32-bit FNV-1a.
pub fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum: u32, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn message(start: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![start, kind];
    message.extend((body.len() as u16).to_le_bytes());
    message.extend(body);
    let sum = checksum(&message[1..]);
    message.extend(sum.to_le_bytes());
    message
}

/// A command as it goes over the line; a body of more than [`REQUEST_MAX`] bytes is an error.
pub fn command(command: Command, body: &[u8]) -> Result<Vec<u8>, WireError> {
    if body.len() > REQUEST_MAX {
        return Err(WireError::TooLong(body.len()));
    }
    Ok(message(COMMAND_START, command as u8, body))
}

/// An answer as it goes over the line, for machines that are made up.
pub fn answer(answer: &Answer) -> Vec<u8> {
    let (kind, body) = match answer {
        Answer::Hello { version } => {
            (kind::HELLO, GREETING.iter().copied().chain([*version]).collect::<Vec<u8>>())
        }
        Answer::Done(body) => (kind::DONE, body.clone()),
        Answer::Bad => (kind::BAD, Vec::new()),
        Answer::Exception { vector, stack: [first, second], cr2, at } => {
            let words = [u32::from(*vector), *first, *second, *cr2, *at];
            (kind::EXCEPTION, words.into_iter().flat_map(u32::to_le_bytes).collect())
        }
    };
    message(ANSWER_START, kind, &body)
}

/// Puts answers together from what the line brings.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// What has come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next answer, if it is whole. A hello in the midst of another answer is a reset: the rest is dropped.
    pub fn next_answer(&mut self) -> Result<Option<Answer>, WireError> {
        match parse(&self.buffer) {
            Parsed::Whole(answer, len) => {
                self.buffer.drain(..len);
                Ok(Some(answer))
            }
            broken => {
                let hello = self.find_hello();
                match (hello, broken) {
                    (Some(hello), _) => Ok(Some(hello)),
                    (None, Parsed::Partial) => Ok(None),
                    (None, _) => {
                        let mut bytes = std::mem::take(&mut self.buffer);
                        bytes.truncate(32);
                        Err(WireError::Garbled(bytes))
                    }
                }
            }
        }
    }

    /// Takes a hello that lies anywhere, with all before it.
    fn find_hello(&mut self) -> Option<Answer> {
        let head = [ANSWER_START, kind::HELLO];
        let places = self.buffer.windows(2).enumerate().filter(|(_, window)| **window == head);
        let found = places.into_iter().find_map(|(at, _)| match parse(self.buffer.get(at..)?) {
            Parsed::Whole(answer @ Answer::Hello { .. }, len) => Some((answer, at + len)),
            _ => None,
        });
        let (answer, end) = found?;
        self.buffer.drain(..end);
        Some(answer)
    }
}

enum Parsed {
    Whole(Answer, usize),
    Partial,
    Garbled,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn parse(bytes: &[u8]) -> Parsed {
    if bytes.first().is_some_and(|first| *first != ANSWER_START) {
        return Parsed::Garbled;
    }
    let Some(&[_, kind, low, high]) = bytes.get(..HEAD) else { return Parsed::Partial };
    let end = HEAD + usize::from(u16::from_le_bytes([low, high]));
    if end - HEAD > ANSWER_MAX {
        return Parsed::Garbled;
    }
    let Some(sum) = word(bytes, end) else { return Parsed::Partial };
    let (summed, body) = (&bytes[1..end], &bytes[HEAD..end]);
    let answer = if checksum(summed) == sum { meaning(kind, body) } else { None };
    answer.map_or(Parsed::Garbled, |answer| Parsed::Whole(answer, end + SUM))
}

fn meaning(kind: u8, body: &[u8]) -> Option<Answer> {
    match kind {
        kind::DONE => Some(Answer::Done(body.to_vec())),
        kind::BAD => Some(Answer::Bad),
        kind::HELLO => match body.strip_prefix(GREETING)? {
            [version] => Some(Answer::Hello { version: *version }),
            _ => None,
        },
        kind::EXCEPTION if body.len() == 20 => Some(Answer::Exception {
            vector: word(body, 0)? as u8,
            stack: [word(body, 4)?, word(body, 8)?],
            cr2: word(body, 12)?,
            at: word(body, 16)?,
        }),
        _ => None,
    }
}

/// 0 for 1 byte, 1 for 2, 2 for 4, 3 for 8.
fn log(size: Size) -> u8 {
    size.bytes().trailing_zeros() as u8
}

/// Which of `what`'s steps; ports have no 8 bytes.
fn port_step(first: u8, size: Size, op: Op) -> Result<u8, WireError> {
    if size == Size::B8 { Err(WireError::NoWay(op)) } else { Ok(first + log(size)) }
}

/// The body of a `Perform`. `ticks` turns nanoseconds into ticks of the machine's time stamp counter.
pub fn steps(ops: &[Op], ticks: impl Fn(u64) -> u64) -> Result<Vec<u8>, WireError> {
    let mut body = Vec::new();
    for op in ops {
        let low =
            |address: u64| u32::try_from(address).map(u32::to_le_bytes).map_err(|_| WireError::NoWay(*op));
        match *op {
            Op::In(port, size) => {
                body.push(port_step(step::IN, size, *op)?);
                body.extend(port.to_le_bytes());
            }
            Op::Out(port, size, value) => {
                body.push(port_step(step::OUT, size, *op)?);
                body.extend(port.to_le_bytes());
                body.extend(value.to_le_bytes());
            }
            Op::Read(address, size) => {
                body.push(step::READ + log(size));
                body.extend(low(address)?);
            }
            Op::Write(address, size, value) => {
                body.push(step::WRITE + log(size));
                body.extend(low(address)?);
                body.extend(value.to_le_bytes());
            }
            Op::InString(port, size, count, address) | Op::OutString(port, size, count, address) => {
                let is_in = matches!(op, Op::InString(..));
                body.push(port_step(if is_in { step::INS } else { step::OUTS }, size, *op)?);
                body.extend(port.to_le_bytes());
                body.extend(count.to_le_bytes());
                body.extend(low(address)?);
            }
            Op::Wait(ns) => {
                body.push(step::WAIT);
                body.extend(ticks(ns).to_le_bytes());
            }
            Op::Now => body.push(step::NOW),
        }
    }
    body.push(step::END);
    if body.len() > REQUEST_MAX || ops.iter().map(|op| answer_len(*op)).sum::<usize>() > ANSWER_MAX {
        return Err(WireError::TooLong(ops.len()));
    }
    Ok(body)
}

/// Bytes that a step adds to the answer.
fn answer_len(op: Op) -> usize {
    match op {
        Op::In(..) => 4,
        Op::Read(_, size) => size.bytes().max(4),
        Op::Now => 8,
        Op::Out(..) | Op::Write(..) | Op::InString(..) | Op::OutString(..) | Op::Wait(_) => 0,
    }
}

/// One number for each step, from the answer to a `Perform`. `ns` turns ticks into nanoseconds.
pub fn numbers(ops: &[Op], body: &[u8], ns: impl Fn(u64) -> u64) -> Result<Vec<u64>, WireError> {
    let wanted = ops.iter().map(|op| answer_len(*op)).sum();
    let wrong = WireError::Length { got: body.len(), wanted };
    if body.len() != wanted {
        return Err(wrong);
    }
    let mut rest = body;
    let mut numbers = Vec::with_capacity(ops.len());
    for op in ops {
        let Some((part, after)) = rest.split_at_checked(answer_len(*op)) else { return Err(wrong) };
        rest = after;
        let value = part.iter().rev().fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
        numbers.push(if *op == Op::Now { ns(value) } else { value });
    }
    Ok(numbers)
}
