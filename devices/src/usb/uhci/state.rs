//! Saved state, with that of the devices on the ports.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::super::FunctionState;
use super::super::frames::{Frames, QUIET};
use super::spec::{Command, Enable, FRAME_MASK, PortBits, Status};
use super::{Port, Registers, Uhci};

const KIND: &str = "uhci";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    command: u16,
    status: u16,
    complete: bool,
    short: bool,
    enable: u16,
    base: u32,
    sof: u8,
    frame: u16,
    due: u64,
    quiet: u16,
    ports: Vec<PortState>,
}

#[derive(Serialize, Deserialize)]
struct PortState {
    bits: u16,
    #[serde(deserialize_with = "Option::deserialize")]
    device: Option<FunctionState>,
}

pub(super) fn save(uhci: &Uhci) -> Result<Saved, StateError> {
    let Uhci {
        name: _,
        variant: _,
        pci,
        regions: _,
        dma: _,
        wiring: _,
        timer: _,
        registers: Registers { command, status, complete, short, enable, base, sof },
        frame,
        frames: Frames { due, quiet },
        ports,
    } = uhci;
    let port = |Port { bits, socket }: &Port| {
        // What is in a socket of a master's is saved by that.
        let own = if socket.is_shared() { None } else { socket.with(|function| function.save()) };
        let device = own.transpose()?;
        Ok(PortState { bits: bits.bits(), device })
    };
    let state = State {
        pci: pci.save(),
        command: command.bits(),
        status: status.bits(),
        complete: *complete,
        short: *short,
        enable: enable.bits(),
        base: *base,
        sof: *sof,
        frame: *frame,
        due: *due,
        quiet: *quiet,
        ports: ports.iter().map(port).collect::<Result<_, StateError>>()?,
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(uhci: &mut Uhci, saved: &Saved) -> Result<(), StateError> {
    let State { pci, command, status, complete, short, enable, base, sof, frame, due, quiet, ports } =
        saved.decode(KIND, VERSION)?;
    uhci.pci.load(&pci)?;
    valid(base & 0xfff == 0, "the frame list is not at a page")?;
    valid(frame <= FRAME_MASK, "a frame number has 11 bits")?;
    valid(quiet <= QUIET, "too many quiet frames")?;
    valid(ports.len() == uhci.ports.len(), "another number of ports")?;
    for (port, PortState { bits, device }) in uhci.ports.iter_mut().zip(ports) {
        let bits = PortBits::from_bits_retain(bits);
        if !port.socket.is_shared() {
            let there = port.socket.with(|_| ()).is_some();
            valid(device.is_some() == there, "another port has a device")?;
            valid(bits.contains(PortBits::CONNECTED) == there, "a port's status is not of its device")?;
            device.and_then(|state| port.socket.with(|function| function.load(state))).transpose()?;
        }
        port.bits = bits;
    }
    let flags = Command::from_bits(command).zip(Status::from_bits(status)).zip(Enable::from_bits(enable));
    let flags = flags.ok_or_else(|| StateError::Invalid("a register has bits that are none".into()))?;
    let ((command, status), enable) = flags;
    let halted = status.contains(Status::HALTED) != command.contains(Command::RUN);
    valid(halted, "it neither runs nor stands")?;
    uhci.registers = Registers { command, status, complete, short, enable, base, sof };
    (uhci.frame, uhci.frames) = (frame, Frames { due, quiet });
    Ok(())
}
