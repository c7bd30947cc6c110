//! The machines that can be judged, by their names on the command line.

use guest_tests::Program;

use crate::case::Setup;
use crate::drivers::agent::{self, AgentMachine};
use crate::drivers::qtest::{self, QtestMachine};
use crate::drivers::rig::RigMachine;
use crate::machine::{Broken, Machine};

/// Whose device model it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Debian's QEMU, the oracle.
    Qemu,
    /// Ailurus.
    Ailurus,
}

/// A kind of machine.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Its name.
    pub name: &'static str,
    /// Whose it is.
    pub family: Family,
    /// What it is.
    pub about: &'static str,
    /// Switches one on.
    pub switch_on: fn(&Setup) -> Result<Box<dyn Machine>, Broken>,
}

/// Those that are judged when nobody says which.
pub const DEFAULT: &[&str] = &["qemu", "ailurus"];

/// All of them.
pub const MODELS: &[Model] = &[
    Model {
        name: "qemu",
        family: Family::Qemu,
        about: "Debian's QEMU, driven by the agent in it",
        switch_on: |setup| on(Program::qemu(), agent::QEMU, setup),
    },
    Model {
        name: "rig",
        family: Family::Ailurus,
        about: "Ailurus's devices in this process, with no CPU",
        switch_on: |setup| Ok(Box::new(RigMachine::start(setup)?)),
    },
    Model {
        name: "ailurus",
        family: Family::Ailurus,
        about: "Ailurus with no CPU, driven by the qtest protocol",
        switch_on: |setup| {
            let program = guest_tests::place::program();
            let program =
                program.map_err(|error| Broken { machine: qtest::NAME.into(), why: format!("{error:#}") })?;
            Ok(Box::new(QtestMachine::start(&Program::Ailurus(program), setup)?))
        },
    },
    Model {
        name: "agent",
        family: Family::Ailurus,
        about: "Ailurus on its own CPU, driven by the agent in it",
        switch_on: |setup| on(guest_tests::place::program().map(Program::Ailurus), agent::SOFT, setup),
    },
];

fn on<E: std::fmt::Display>(
    program: Result<Program, E>,
    cpu: agent::Cpu,
    setup: &Setup,
) -> Result<Box<dyn Machine>, Broken> {
    let program = program.map_err(|error| Broken { machine: cpu.name.into(), why: format!("{error:#}") })?;
    Ok(Box::new(AgentMachine::start(&program, cpu, setup)?))
}

/// The model of that name; `qtest` is another name of `ailurus`.
pub fn find(name: &str) -> Option<&'static Model> {
    let name = if name == "qtest" { "ailurus" } else { name };
    MODELS.iter().find(|model| model.name == name)
}
