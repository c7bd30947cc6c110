//! Saved state, with that of the devices on the ports, also of those that a companion has.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::super::socket::{Side, SocketState};
use super::spec::{Command, FRAME_MASK, INDEX_MASK, PortBits, Status, link};
use super::{Ehci, Port, QUIET, Registers};

const KIND: &str = "ehci";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    command: u32,
    status: u32,
    enable: u32,
    index: u16,
    periodic: u32,
    next: u32,
    configured: bool,
    pending: u32,
    pending_until: u64,
    frame: u16,
    due: u64,
    due_async: u64,
    idle: u16,
    ports: Vec<PortState>,
}

#[derive(Serialize, Deserialize)]
struct PortState {
    bits: u32,
    socket: SocketState,
}

pub(super) fn save(ehci: &Ehci) -> Result<Saved, StateError> {
    let Ehci {
        name: _,
        variant: _,
        pci,
        regions: _,
        dma: _,
        wiring: _,
        timer: _,
        registers: Registers { command, status, enable, index, periodic, next, configured },
        pending,
        pending_until,
        frame,
        due,
        due_async,
        idle,
        companions: _,
        ports,
    } = ehci;
    let port = |Port { bits, socket }: &Port| Ok(PortState { bits: bits.bits(), socket: socket.save()? });
    let state = State {
        pci: pci.save(),
        command: command.bits(),
        status: status.bits(),
        enable: enable.bits(),
        index: *index,
        periodic: *periodic,
        next: *next,
        configured: *configured,
        pending: pending.bits(),
        pending_until: *pending_until,
        frame: *frame,
        due: *due,
        due_async: *due_async,
        idle: *idle,
        ports: ports.iter().map(port).collect::<Result<_, StateError>>()?,
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(ehci: &mut Ehci, saved: &Saved) -> Result<(), StateError> {
    let State {
        pci,
        command,
        status,
        enable,
        index,
        periodic,
        next,
        configured,
        pending,
        pending_until,
        frame,
        due,
        due_async,
        idle,
        ports,
    } = saved.decode(KIND, VERSION)?;
    ehci.pci.load(&pci)?;
    valid(periodic & 0xfff == 0, "the frame list is not at a page")?;
    valid(next & !link::ADDRESS == 0, "the asynchronous list is not at a queue head")?;
    valid(frame <= FRAME_MASK && index <= INDEX_MASK, "a frame number has 11 bits")?;
    valid(idle <= QUIET, "too many quiet walks")?;
    valid(ports.len() == ehci.ports.len(), "another number of ports")?;
    let now = ehci.wiring.now();
    for (port, PortState { bits, socket }) in ehci.ports.iter_mut().zip(ports) {
        port.socket.load(socket, now)?;
        let bits = PortBits::from_bits(bits);
        let bits = bits.ok_or_else(|| StateError::Invalid("a port has bits that are none".into()))?;
        let there = port.socket.owner() == Side::Master && !port.socket.is_free();
        valid(bits.contains(PortBits::CONNECTED) == there, "a port's status is not of its device")?;
        valid(there || !bits.contains(PortBits::ENABLED), "a port without a device is enabled")?;
        port.bits = bits;
    }
    let flags = |bits| Status::from_bits(bits);
    let flags = Command::from_bits(command).zip(flags(status)).zip(flags(enable).zip(flags(pending)));
    let flags = flags.ok_or_else(|| StateError::Invalid("a register has bits that are none".into()))?;
    let ((command, status), (enable, pending)) = flags;
    ehci.registers = Registers { command, status, enable, index, periodic, next, configured };
    (ehci.pending, ehci.pending_until) = (pending, pending_until);
    (ehci.frame, ehci.due, ehci.due_async, ehci.idle) = (frame, due, due_async, idle);
    Ok(())
}
