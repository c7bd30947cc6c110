//! The program with no CPU, driven by the qtest protocol.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use guest_tests::Program;

use super::process::{PATIENCE, Process, quoted};
use crate::bench::hex;
use crate::case::Setup;
use crate::launch::{self, Line};
use crate::machine::{Broken, Input, Machine, Op, Size};

/// What it is called.
pub const NAME: &str = "qtest";

const QTEST_SOCKET: &str = "qtest";

/// A program that is driven over a socket.
pub struct QtestMachine {
    process: Process,
    line: BufReader<UnixStream>,
    vectors: [Vectors; 2],
}

/// The vectors of an 8259, as its case programs them: nobody can ask it for them.
#[derive(Clone, Copy, Debug, Default)]
struct Vectors {
    base: u8,
    /// The next write to its second port is ICW2.
    awaited: bool,
}

impl Vectors {
    /// Sees a byte that goes to one of its ports (8259A datasheet, "Initialization Command Words").
    fn see(&mut self, second: bool, value: u8) {
        match (second, self.awaited) {
            (false, _) if value & 0x10 != 0 => self.awaited = true,
            (true, true) => *self = Vectors { base: value & 0xf8, awaited: false },
            _ => {}
        }
    }
}

fn letter(size: Size) -> char {
    match size {
        Size::B1 => 'b',
        Size::B2 => 'w',
        Size::B4 => 'l',
        Size::B8 => 'q',
    }
}

impl QtestMachine {
    /// Starts the program, which connects to us.
    pub fn start(program: &Program, setup: &Setup) -> Result<QtestMachine, Broken> {
        let mut process = Process::new(NAME)?;
        let folder = process.folder().to_owned();
        let firmware = folder.join("agent.bin");
        let image = crate::agent::image().map_err(|error| process.broken(error.to_string()))?;
        let made = std::fs::write(&firmware, image)
            .and_then(|()| launch::words(setup, &folder, &firmware, Line::Null));
        let words = made.map_err(|error| process.broken(format!("cannot be prepared: {error}")))?;
        let mut command = program.command();
        command.args(words).args(["-accel", "qtest", "-qtest-log", "none"]);
        command.args(["-qtest", &format!("unix:{}", quoted(&folder.join(QTEST_SOCKET)))]);
        command.args(process.monitor_words());
        let stream = process.connected(&mut command, &folder.join(QTEST_SOCKET))?;
        let timed = stream.set_read_timeout(Some(PATIENCE));
        timed.map_err(|error| process.broken(error.to_string()))?;
        Ok(QtestMachine { process, line: BufReader::new(stream), vectors: Default::default() })
    }

    /// Sends commands and takes their answers: what follows `OK`.
    fn ask(&mut self, commands: &[String]) -> Result<Vec<String>, Broken> {
        let text: String = commands.iter().flat_map(|command| [command.as_str(), "\n"]).collect();
        let sent = self.line.get_mut().write_all(text.as_bytes());
        sent.map_err(|error| self.process.broken(format!("qtest: {error}")))?;
        let mut answers = Vec::new();
        for command in commands {
            let mut answer = String::new();
            let received = self.line.read_line(&mut answer);
            received.map_err(|error| self.process.broken(format!("qtest: {error}")))?;
            match answer.trim_end().strip_prefix("OK") {
                Some(rest) => answers.push(rest.trim_start().to_owned()),
                None => {
                    let why = format!("qtest: '{command}' gives '{}'", answer.trim_end());
                    return Err(self.process.broken(why));
                }
            }
        }
        Ok(answers)
    }

    fn number(&mut self, text: &str) -> Result<u64, Broken> {
        let number = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => text.parse(),
        };
        number.map_err(|_| self.process.broken(format!("qtest: '{text}' is no number")))
    }

    /// String operations, which the protocol does not have, item by item.
    fn string(&mut self, op: Op) -> Result<(), Broken> {
        match op {
            Op::InString(port, size, count, to) => {
                for item in 0..u64::from(count) {
                    let value = self.perform(&[Op::In(port, size)])?.first().copied().unwrap_or(0);
                    self.perform(&[Op::Write(to + item * size.bytes() as u64, size, value)])?;
                }
            }
            Op::OutString(port, size, count, from) => {
                for item in 0..u64::from(count) {
                    let read = Op::Read(from + item * size.bytes() as u64, size);
                    let value = self.perform(&[read])?.first().copied().unwrap_or(0);
                    self.perform(&[Op::Out(port, size, value as u32)])?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The command of a step; none: the protocol has none.
fn command(op: Op) -> Option<String> {
    Some(match op {
        Op::In(port, size) => format!("in{} {port:#x}", letter(size)),
        Op::Out(port, size, value) => format!("out{} {port:#x} {value:#x}", letter(size)),
        Op::Read(address, size) => format!("read{} {address:#x}", letter(size)),
        Op::Write(address, size, value) => format!("write{} {address:#x} {value:#x}", letter(size)),
        Op::Wait(ns) => format!("clock_step {ns}"),
        Op::Now => "clock_step 0".into(),
        Op::InString(..) | Op::OutString(..) => return None,
    })
}

impl Machine for QtestMachine {
    fn name(&self) -> &str {
        NAME
    }

    fn perform(&mut self, ops: &[Op]) -> Result<Vec<u64>, Broken> {
        for op in ops {
            if let Op::Out(port @ (0x20 | 0x21 | 0xa0 | 0xa1), _, value) = *op
                && let Some(vectors) = self.vectors.get_mut(usize::from(port >> 7))
            {
                vectors.see(port & 1 != 0, value as u8);
            }
        }
        let mut numbers = Vec::with_capacity(ops.len());
        for run in ops.chunk_by(|a, b| command(*a).is_some() == command(*b).is_some()) {
            let commands: Vec<String> = run.iter().filter_map(|op| command(*op)).collect();
            if commands.is_empty() {
                for op in run {
                    self.string(*op)?;
                    numbers.push(0);
                }
                continue;
            }
            for (op, answer) in run.iter().zip(self.ask(&commands)?) {
                numbers.push(match op {
                    Op::In(..) | Op::Read(..) | Op::Now => self.number(&answer)?,
                    _ => 0,
                });
            }
        }
        Ok(numbers)
    }

    fn peek(&mut self, address: u64, len: usize) -> Result<Vec<u8>, Broken> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let answer = self.ask(&[format!("read {address:#x} {len}")])?.concat();
        let digits = answer.trim_start_matches("0x").as_bytes();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let data: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
        data.filter(|data| data.len() == len).ok_or_else(|| self.process.broken("qtest: bytes are missing"))
    }

    fn poke(&mut self, address: u64, data: &[u8]) -> Result<(), Broken> {
        if data.is_empty() {
            return Ok(());
        }
        self.ask(&[format!("write {address:#x} {} 0x{}", data.len(), hex(data))]).map(|_| ())
    }

    fn reset(&mut self) -> Result<(), Broken> {
        self.process.press_reset()
    }

    fn input(&mut self, inputs: &[Input<'_>]) -> Result<(), Broken> {
        self.process.input(inputs)
    }

    fn com1(&mut self, len: usize) -> Result<Vec<u8>, Broken> {
        self.process.com1(len)
    }

    /// There is no acknowledge cycle in the protocol: the 8259s are polled (8259A datasheet, "Poll Command"),
    /// which takes the interrupt in the same way.
    fn interrupt(&mut self, ns: u64) -> Result<Option<u8>, Broken> {
        const STEP: u64 = 100_000;
        let [master_base, slave_base] = self.vectors.map(|vectors| vectors.base);
        for _ in 0..=ns / STEP {
            let poll = |base| [Op::Out(base, Size::B1, 0x0c), Op::In(base, Size::B1)];
            match self.perform(&poll(0x20))?.as_slice() {
                [_, master] if master & 0x80 != 0 && master & 7 == 2 => {
                    let slave = self.perform(&poll(0xa0))?.get(1).copied().unwrap_or(0);
                    // One that has nothing any more gives its last vector.
                    let line = if slave & 0x80 != 0 { slave & 7 } else { 7 };
                    return Ok(Some(slave_base + line as u8));
                }
                [_, master] if master & 0x80 != 0 => return Ok(Some(master_base + (master & 7) as u8)),
                _ => {}
            }
            self.perform(&[Op::Wait(STEP)])?;
        }
        Ok(None)
    }

    fn slack(&self) -> u64 {
        0
    }
}
