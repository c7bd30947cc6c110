//! Saved state, with that of the devices on the ports.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::super::FunctionState;
use super::super::frames::{Frames, QUIET};
use super::spec::{ADDRESS, CommandStatus, Control, FM_INTERVAL_MASK, Interrupt, PortBits, hcca, td};
use super::{Done, Ohci, Port, Registers};

const KIND: &str = "ohci";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    control: u32,
    status: u32,
    interrupt: u32,
    enable: u32,
    hcca: u32,
    control_head: u32,
    control_current: u32,
    bulk_head: u32,
    bulk_current: u32,
    interval: u32,
    toggle: bool,
    number: u16,
    periodic_start: u16,
    ls_threshold: u16,
    wake_on_connect: bool,
    due: u64,
    quiet: u16,
    done_head: u32,
    done_count: u8,
    stopped: bool,
    ports: Vec<PortState>,
}

#[derive(Serialize, Deserialize)]
struct PortState {
    bits: u32,
    #[serde(deserialize_with = "Option::deserialize")]
    device: Option<FunctionState>,
}

pub(super) fn save(ohci: &Ohci) -> Result<Saved, StateError> {
    let Ohci {
        name: _,
        pci,
        regions: _,
        dma: _,
        wiring: _,
        timer: _,
        registers:
            Registers {
                control,
                status,
                interrupt,
                enable,
                hcca,
                control_head,
                control_current,
                bulk_head,
                bulk_current,
                interval,
                toggle,
                number,
                periodic_start,
                ls_threshold,
                wake_on_connect,
            },
        frames: Frames { due, quiet },
        done: Done { head, count },
        stopped,
        ports,
    } = ohci;
    let port = |Port { bits, socket }: &Port| {
        // What is in a socket of a master's is saved by that.
        let own = if socket.is_shared() { None } else { socket.with(|function| function.save()) };
        Ok(PortState { bits: bits.bits(), device: own.transpose()? })
    };
    let state = State {
        pci: pci.save(),
        control: control.bits(),
        status: status.bits(),
        interrupt: interrupt.bits(),
        enable: enable.bits(),
        hcca: *hcca,
        control_head: *control_head,
        control_current: *control_current,
        bulk_head: *bulk_head,
        bulk_current: *bulk_current,
        interval: *interval,
        toggle: *toggle,
        number: *number,
        periodic_start: *periodic_start,
        ls_threshold: *ls_threshold,
        wake_on_connect: *wake_on_connect,
        due: *due,
        quiet: *quiet,
        done_head: *head,
        done_count: *count,
        stopped: *stopped,
        ports: ports.iter().map(port).collect::<Result<_, StateError>>()?,
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(ohci: &mut Ohci, saved: &Saved) -> Result<(), StateError> {
    let State {
        pci,
        control,
        status,
        interrupt,
        enable,
        hcca,
        control_head,
        control_current,
        bulk_head,
        bulk_current,
        interval,
        toggle,
        number,
        periodic_start,
        ls_threshold,
        wake_on_connect,
        due,
        quiet,
        done_head,
        done_count,
        stopped,
        ports,
    } = saved.decode(KIND, VERSION)?;
    ohci.pci.load(&pci)?;
    valid(hcca & !hcca::ADDRESS == 0, "HCCA is not at its boundary")?;
    let places = [control_head, control_current, bulk_head, bulk_current, done_head];
    valid(places.iter().all(|at| at & !ADDRESS == 0), "a list is not at a descriptor")?;
    valid(interval & !FM_INTERVAL_MASK == 0, "the frame interval has bits that are none")?;
    valid(quiet <= QUIET, "too many quiet frames")?;
    valid(done_count <= td::NEVER, "the done queue waits too long")?;
    valid(ports.len() == ohci.ports.len(), "another number of ports")?;
    for (port, PortState { bits, device }) in ohci.ports.iter_mut().zip(ports) {
        let bits = PortBits::from_bits(bits).filter(|bits| bits.contains(PortBits::POWER));
        let bits = bits.ok_or_else(|| StateError::Invalid("a port has bits that are none".into()))?;
        if !port.socket.is_shared() {
            let there = port.socket.with(|_| ()).is_some();
            valid(device.is_some() == there, "another port has a device")?;
            valid(bits.contains(PortBits::CONNECTED) == there, "a port's status is not of its device")?;
            device.and_then(|state| port.socket.with(|function| function.load(state))).transpose()?;
        }
        port.bits = bits;
    }
    let status = CommandStatus::from_bits(status).filter(|bits| !bits.contains(CommandStatus::RESET));
    let status = status.ok_or_else(|| StateError::Invalid("a register has bits that are none".into()))?;
    ohci.registers = Registers {
        control: Control::from_bits_retain(control),
        status,
        interrupt: Interrupt::from_bits_retain(interrupt),
        enable: Interrupt::from_bits_retain(enable),
        hcca,
        control_head,
        control_current,
        bulk_head,
        bulk_current,
        interval,
        toggle,
        number,
        periodic_start,
        ls_threshold,
        wake_on_connect,
    };
    ohci.frames = Frames { due, quiet };
    ohci.done = Done { head: done_head, count: done_count };
    ohci.stopped = stopped;
    Ok(())
}
