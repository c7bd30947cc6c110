//! The devices in this process, with no CPU: the fastest, and the one to debug a case with.

use std::ffi::OsString;

use devicemodel::qemu::{self, Task};
use devicemodel::qtest::Bare;
use ioreq::Dir;
use tempfile::TempDir;

use crate::case::Setup;
use crate::launch::{self, Line};
use crate::machine::{Broken, Input, Machine, Op};

/// What it is called.
pub const NAME: &str = "rig";

/// A machine in this process.
pub struct RigMachine {
    bare: Bare,
    /// Its images.
    _folder: TempDir,
}

fn broken(why: impl ToString) -> Broken {
    Broken { machine: NAME.into(), why: why.to_string() }
}

impl RigMachine {
    /// Builds it from the words that start a program.
    pub fn start(setup: &Setup) -> Result<RigMachine, Broken> {
        let folder = tempfile::tempdir().map_err(broken)?;
        let firmware = folder.path().join("agent.bin");
        std::fs::write(&firmware, crate::agent::image().map_err(broken)?).map_err(broken)?;
        let mut words = launch::words(setup, folder.path(), &firmware, Line::Null).map_err(broken)?;
        words.extend(["-accel", "qtest"].map(OsString::from));
        match qemu::parse(&words).and_then(Task::new).map_err(broken)? {
            Task::Guest(plan) => {
                let debugcon = plan.host.debugcon.map(|path| folder.path().join(path));
                let bare = Bare::new(plan.guest, debugcon).map_err(broken)?;
                Ok(RigMachine { bare, _folder: folder })
            }
            other => Err(broken(format!("the command line asks for {other:?}"))),
        }
    }

    fn step(&mut self, op: Op) -> Result<u64, Broken> {
        let access = self.bare.access();
        let mut value = 0;
        match op {
            Op::In(port, size) => value = access.input(port, size).into(),
            Op::Out(port, size, value) => access.output(port, size, value),
            Op::Read(address, size) => value = access.load(address, size),
            Op::Write(address, size, value) => access.store(address, size, value),
            Op::InString(port, size, count, to) => access.string(Dir::Read, port, size, count, to),
            Op::OutString(port, size, count, from) => access.string(Dir::Write, port, size, count, from),
            Op::Now => value = access.now(),
            Op::Wait(ns) => {
                if !self.bare.advance(ns) {
                    return Err(broken("time does not pass"));
                }
            }
        }
        self.bare.settle();
        Ok(value)
    }
}

impl Machine for RigMachine {
    fn name(&self) -> &str {
        NAME
    }
    fn perform(&mut self, ops: &[Op]) -> Result<Vec<u64>, Broken> {
        ops.iter().map(|op| self.step(*op)).collect()
    }
    fn peek(&mut self, address: u64, len: usize) -> Result<Vec<u8>, Broken> {
        let mut data = vec![0; len];
        self.bare.access().read(address, &mut data);
        Ok(data)
    }
    fn poke(&mut self, address: u64, data: &[u8]) -> Result<(), Broken> {
        self.bare.access().write(address, data);
        Ok(())
    }
    fn reset(&mut self) -> Result<(), Broken> {
        // What is under way at the host belongs to before.
        self.step(Op::Wait(0))?;
        self.bare.machine().reset();
        Ok(())
    }
    /// Who wants to come in from outside finds no door here: there is neither a monitor nor a line.
    fn input(&mut self, _: &[Input<'_>]) -> Result<(), Broken> {
        Err(broken("nothing comes in from outside"))
    }
    fn com1(&mut self, _: usize) -> Result<Vec<u8>, Broken> {
        Err(broken("nothing goes outside"))
    }
    fn interrupt(&mut self, ns: u64) -> Result<Option<u8>, Broken> {
        const STEP: u64 = 1000;
        for _ in 0..=ns / STEP {
            if self.bare.access().still().intr() {
                return Ok(self.bare.machine().acknowledge());
            }
            self.step(Op::Wait(STEP))?;
        }
        Ok(None)
    }
    fn slack(&self) -> u64 {
        0
    }
}
