//! A PC of any kind, driven by the [agent](crate::agent) in it: Debian's QEMU, or Ailurus on a hypervisor.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use guest_tests::Program;

use super::process::{PATIENCE, Process, quoted};
use crate::agent::layout;
use crate::agent::wire::{self, Answer, BLOCK_MAX, Command, Reader, WireError};
use crate::case::Setup;
use crate::launch::{self, Line};
use crate::machine::{Broken, FREE_RAM, Input, Machine, Op, RAM_MIB};

/// How the program runs the CPU.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// What the machine is called.
    pub name: &'static str,
    /// Words of the command line beside the setup's.
    pub words: &'static [&'static str],
    /// Ticks of its time stamp counter in a second of guest time.
    pub hertz: u64,
    /// See [`Machine::slack`].
    pub slack: u64,
    /// Whether the program takes its RAM from a file of ours: bytes come and go there at once, where a line takes
    /// some 30 us for each.
    pub ram_file: bool,
}

/// QEMU's translator with guest time by instructions: 2^5 ns each. Such a time passes a wait of a second in a
/// tenth of a second, and a step takes under a microsecond.
pub const QEMU: Cpu = Cpu {
    name: "qemu",
    words: &["-accel", "tcg", "-icount", "shift=5,sleep=off"],
    hertz: 1_000_000_000,
    slack: 2_000,
    ram_file: true,
};

/// Ailurus' own CPU, with guest time by instructions.
pub const SOFT: Cpu = Cpu {
    name: "agent",
    words: &["-accel", "tcg", "-icount", "shift=5,sleep=off"],
    hertz: 1_000_000_000,
    slack: 2_000,
    ram_file: false,
};

/// A machine with an agent in it.
pub struct AgentMachine {
    cpu: Cpu,
    process: Process,
    link: Link<UnixStream>,
    ram: Option<File>,
}

const AGENT_SOCKET: &str = "agent";

impl AgentMachine {
    /// Starts a program and waits for its agent.
    pub fn start(program: &Program, cpu: Cpu, setup: &Setup) -> Result<AgentMachine, Broken> {
        let mut process = Process::new(cpu.name)?;
        let socket = process.folder().join(AGENT_SOCKET);
        let words = prepare(&process, setup, &socket);
        let words = words.map_err(|error| process.broken(format!("cannot be prepared: {error}")))?;
        let mut command = program.command();
        command.args(cpu.words).args(words);
        let ram = if cpu.ram_file { Some(ram_file(&process, &mut command)) } else { None };
        let ram = ram.transpose().map_err(|error| process.broken(format!("no file for RAM: {error}")))?;
        let stream = process.connected(&mut command, &socket)?;
        let timed = stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        timed.map_err(|error| process.broken(format!("the agent's line: {error}")))?;
        let mut machine = AgentMachine { cpu, process, link: Link::new(stream), ram };
        machine.greeted()?;
        Ok(machine)
    }

    /// Waits for the hello of an agent that starts.
    fn greeted(&mut self) -> Result<(), Broken> {
        match self.receive(Duration::ZERO)? {
            Answer::Hello { version: wire::VERSION } => Ok(()),
            other => Err(self.process.broken(format!("the agent begins with {other:?}"))),
        }
    }

    /// The next answer; `beyond` the usual time if much guest time is to pass.
    fn receive(&mut self, beyond: Duration) -> Result<Answer, Broken> {
        let process = &mut self.process;
        self.link
            .receive(PATIENCE + beyond, &mut || process.is_alive())
            .map_err(|error| process.broken(error))
    }

    fn wire<T>(&mut self, result: Result<T, WireError>) -> Result<T, Broken> {
        result.map_err(|error| self.process.broken(error.to_string()))
    }

    /// Sends a command; the body of its answer. None: the machine was reset meanwhile.
    /// `ns` of guest time are to pass.
    fn ask(&mut self, command: Command, body: &[u8], ns: u64) -> Result<Option<Vec<u8>>, Broken> {
        let message = wire::command(command, body);
        let message = self.wire(message)?;
        let sent = self.link.send(&message);
        sent.map_err(|error| self.process.broken(format!("the agent's line: {error}")))?;
        // A CPU in software may take that much longer.
        match self.receive(Duration::from_nanos(ns.saturating_mul(20)))? {
            Answer::Done(body) => Ok(Some(body)),
            Answer::Hello { .. } => Ok(None),
            Answer::Bad => Err(self.process.broken("the agent cannot read its command")),
            exception @ Answer::Exception { .. } => {
                Err(self.process.broken(format!("in the agent: {exception:x?}")))
            }
        }
    }

    /// The same where a reset is out of place.
    fn must(&mut self, command: Command, body: &[u8], ns: u64) -> Result<Vec<u8>, Broken> {
        match self.ask(command, body, ns)? {
            Some(body) => Ok(body),
            None => Err(self.process.broken("it was reset unasked")),
        }
    }

    fn ticks(&self, ns: u64) -> u64 {
        scale(ns, self.cpu.hertz, 1_000_000_000)
    }

    /// An address that an agent reaches and does not live at.
    fn outside(&mut self, address: u64, len: usize) -> Result<[u8; 4], Broken> {
        let end = address.checked_add(len as u64).filter(|end| *end <= 1 << 32);
        match (u32::try_from(address), end) {
            (Ok(low), Some(_)) if address >= layout::END => Ok(low.to_le_bytes()),
            _ => Err(self.process.broken(format!("{len} bytes at {address:#x}: the agent lives there"))),
        }
    }
}

fn scale(value: u64, by: u64, per: u64) -> u64 {
    u64::try_from(u128::from(value) * u128::from(by) / u128::from(per)).unwrap_or(u64::MAX)
}

fn prepare(process: &Process, setup: &Setup, socket: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let firmware = process.folder().join("agent.bin");
    std::fs::write(&firmware, crate::agent::image().map_err(io::Error::other)?)?;
    let mut words = launch::words(setup, process.folder(), &firmware, Line::Socket(socket))?;
    words.extend(process.monitor_words().map(Into::into));
    Ok(words)
}

/// Makes the file that holds the machine's RAM.
fn ram_file(process: &Process, command: &mut std::process::Command) -> io::Result<File> {
    let path = process.folder().join("ram");
    let size = RAM_MIB << 20;
    let object = format!("memory-backend-file,id=ram,share=on,size={size},mem-path={}", quoted(&path));
    command.args(["-object", &object, "-machine", "memory-backend=ram"]);
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    file.set_len(size)?;
    Ok(file)
}

/// Where bytes of RAM lie in its file: above the legacy areas an address is an offset.
fn in_file(address: u64, len: usize) -> bool {
    let end = address.checked_add(len as u64);
    address >= FREE_RAM.start && end.is_some_and(|end| end <= RAM_MIB << 20)
}

impl Machine for AgentMachine {
    fn name(&self) -> &str {
        self.cpu.name
    }

    fn has_cpu(&self) -> bool {
        true
    }
    fn perform(&mut self, ops: &[Op]) -> Result<Vec<u64>, Broken> {
        let steps = wire::steps(ops, |ns| self.ticks(ns));
        let steps = self.wire(steps)?;
        let waits = ops.iter().map(|op| if let Op::Wait(ns) = op { *ns } else { 0 });
        match self.ask(Command::Perform, &steps, waits.fold(0, u64::saturating_add))? {
            Some(body) => {
                let hertz = self.cpu.hertz;
                let numbers = wire::numbers(ops, &body, |ticks| scale(ticks, 1_000_000_000, hertz));
                self.wire(numbers)
            }
            // A step pulled the reset line, as a case may well want.
            None => Ok(vec![0; ops.len()]),
        }
    }

    fn peek(&mut self, address: u64, len: usize) -> Result<Vec<u8>, Broken> {
        if let Some(ram) = self.ram.as_ref().filter(|_| in_file(address, len)) {
            let mut data = vec![0; len];
            let read = ram.read_exact_at(&mut data, address);
            return read.map(|()| data).map_err(|error| self.process.broken(format!("RAM: {error}")));
        }
        let mut data = Vec::with_capacity(len);
        while data.len() < len {
            let part = (len - data.len()).min(BLOCK_MAX);
            let mut body = self.outside(address + data.len() as u64, part)?.to_vec();
            body.extend((part as u32).to_le_bytes());
            let got = self.must(Command::Peek, &body, 0)?;
            if got.len() != part {
                let error = WireError::Length { got: got.len(), wanted: part };
                return Err(self.process.broken(error.to_string()));
            }
            data.extend(got);
        }
        Ok(data)
    }

    fn poke(&mut self, address: u64, data: &[u8]) -> Result<(), Broken> {
        if let Some(ram) = self.ram.as_ref().filter(|_| in_file(address, data.len())) {
            let written = ram.write_all_at(data, address);
            return written.map_err(|error| self.process.broken(format!("RAM: {error}")));
        }
        let mut address = address;
        for part in data.chunks(BLOCK_MAX) {
            let mut body = self.outside(address, part.len())?.to_vec();
            body.extend(part);
            self.must(Command::Poke, &body, 0)?;
            address += part.len() as u64;
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Broken> {
        self.process.press_reset()?;
        self.greeted()
    }

    fn input(&mut self, inputs: &[Input<'_>]) -> Result<(), Broken> {
        self.process.input(inputs)
    }

    fn com1(&mut self, len: usize) -> Result<Vec<u8>, Broken> {
        self.process.com1(len)
    }

    fn interrupt(&mut self, ns: u64) -> Result<Option<u8>, Broken> {
        let ticks = self.ticks(ns).to_le_bytes();
        let body = self.must(Command::Interrupt, &ticks, ns)?;
        match body[..] {
            [] => Ok(None),
            [vector] => Ok(Some(vector)),
            _ => Err(self.process.broken(format!("the agent's vector is {body:02x?}"))),
        }
    }

    fn slack(&self) -> u64 {
        self.cpu.slack
    }
}

/// The host's end of the line.
struct Link<S> {
    stream: S,
    reader: Reader,
}

impl<S: Read + Write> Link<S> {
    fn new(stream: S) -> Link<S> {
        Link { stream, reader: Reader::default() }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(message)
    }

    /// The next answer, if one comes in time and while `alive` holds.
    fn receive(&mut self, patience: Duration, alive: &mut dyn FnMut() -> bool) -> Result<Answer, String> {
        let begun = Instant::now();
        let mut bytes = [0; 4096];
        loop {
            match self.reader.next_answer() {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err("the agent's line was closed".into()),
                Ok(len) => self.reader.push(&bytes[..len]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if !alive() {
                        return Err("the program ended".into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("the agent's line: {error}")),
            }
            if begun.elapsed() > patience {
                return Err(format!("the agent says nothing for {patience:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a driver makes of what a program says.
    fn hear(said: &[u8], patience: Duration, alive: bool) -> Result<Answer, String> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        theirs.write_all(said).unwrap();
        let mut link = Link::new(ours);
        link.receive(patience, &mut || alive)
    }

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn whatever_a_program_says_the_driver_goes_on() {
        let whole = wire::answer(&Answer::Done(vec![1]));
        assert_eq!(hear(&whole, PATIENCE, true), Ok(Answer::Done(vec![1])));
        assert!(hear(&whole[..6], SHORT, true).unwrap_err().contains("says nothing"));
        assert!(hear(&whole[..6], PATIENCE, false).unwrap_err().contains("ended"));
        assert!(hear(b"SeaBIOS (version 1)", PATIENCE, true).unwrap_err().contains("no answer"));
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(Link::new(ours).receive(PATIENCE, &mut || true).unwrap_err().contains("closed"));
    }

    #[test]
    fn ticks_do_not_overflow() {
        assert_eq!(scale(1_000, 2_500_000_000, 1_000_000_000), 2_500);
        assert_eq!(scale(u64::MAX, 2_000_000_000, 1_000_000_000), u64::MAX);
    }
}
