//! Saved state, with that of the devices.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::super::{Function, FunctionState};
use super::events::{Event, Interrupter, WAITING};
use super::ports::Port;
use super::ring::Ring;
use super::slots::{Endpoint, EndpointState, ROUTE, Slot, SlotState};
use super::spec::{BUSY, Command, ENDPOINTS, PortBits, Status};
use super::{Registers, Xhci};

const KIND: &str = "xhci";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    command: u32,
    status: u32,
    dnctrl: u32,
    dcbaap: u64,
    config: u32,
    commands: Ring,
    crcr_low: u32,
    crcr_running: bool,
    started: u64,
    wrap: u64,
    interrupters: Vec<InterrupterState>,
    slots: Vec<SavedSlot>,
    ports: Vec<PortState>,
    sockets: Vec<Option<FunctionState>>,
    more: bool,
    held: bool,
}

#[derive(Serialize, Deserialize)]
struct InterrupterState {
    iman: u32,
    imod: u32,
    erstsz: u32,
    erstba: u64,
    erdp: u64,
    segment: u64,
    size: u32,
    index: u32,
    cycle: bool,
    waiting: Vec<(u64, u32, u32)>,
}

#[derive(Serialize, Deserialize)]
struct SavedSlot {
    number: u8,
    state: u8,
    port: u8,
    #[serde(default)]
    route: u32,
    context: u64,
    endpoints: Vec<SavedEndpoint>,
}

#[derive(Serialize, Deserialize)]
struct SavedEndpoint {
    number: u8,
    kind: u8,
    state: u8,
    ring: Ring,
    done: u64,
    waiting: bool,
    asked: bool,
}

#[derive(Serialize, Deserialize)]
struct PortState {
    bits: u32,
    link: u8,
}

fn save_interrupter(of: &Interrupter) -> InterrupterState {
    let Interrupter { iman, imod, erstsz, erstba, erdp, segment, size, index, cycle, waiting } = of;
    let event = |Event { parameter, status, control }: &Event| (*parameter, *status, *control);
    InterrupterState {
        iman: *iman,
        imod: *imod,
        erstsz: *erstsz,
        erstba: *erstba,
        erdp: *erdp,
        segment: *segment,
        size: *size,
        index: *index,
        cycle: *cycle,
        waiting: waiting.iter().map(event).collect(),
    }
}

fn load_interrupter(state: InterrupterState) -> Result<Interrupter, StateError> {
    let InterrupterState { iman, imod, erstsz, erstba, erdp, segment, size, index, cycle, waiting } = state;
    valid(size <= 4096 && (index < size || size == 0), "an event ring has no such place")?;
    valid(iman & !3 == 0 && erdp & !0xf & BUSY == 0, "an interrupter has bits that are none")?;
    valid(waiting.len() <= WAITING, "too many events wait")?;
    let event = |(parameter, status, control)| Event { parameter, status, control };
    let waiting = waiting.into_iter().map(event).collect();
    Ok(Interrupter { iman, imod, erstsz, erstba, erdp, segment, size, index, cycle, waiting })
}

fn save_slot(number: u8, Slot { state, port, route, context, endpoints }: &Slot) -> SavedSlot {
    let endpoint = |(number, of): (&u8, &Endpoint)| {
        let Endpoint { kind, state, ring, done, waiting, asked } = of;
        SavedEndpoint {
            number: *number,
            kind: *kind,
            state: *state as u8,
            ring: *ring,
            done: *done,
            waiting: *waiting,
            asked: *asked,
        }
    };
    let endpoints = endpoints.iter().map(endpoint).collect();
    SavedSlot { number, state: *state as u8, port: *port, route: *route, context: *context, endpoints }
}

fn load_slot(ports: usize, state: SavedSlot) -> Result<(u8, Slot), StateError> {
    let SavedSlot { number, state, port, route, context, endpoints } = state;
    let states = [SlotState::Enabled, SlotState::Default, SlotState::Addressed, SlotState::Configured];
    let state = states.into_iter().find(|of| *of as u8 == state);
    let state = state.ok_or_else(|| StateError::Invalid("a slot has no such state".into()))?;
    valid(usize::from(port) <= ports, "a slot's port is none")?;
    valid(route & !ROUTE == 0, "a route has 20 bits")?;
    valid(context < 1 << 63, "a context lies too high")?;
    let mut slot = Slot { state, port, route, context, ..Slot::default() };
    for SavedEndpoint { number, kind, state, ring, done, waiting, asked } in endpoints {
        let states =
            [EndpointState::Running, EndpointState::Halted, EndpointState::Stopped, EndpointState::Error];
        let state = states.into_iter().find(|of| *of as u8 == state);
        let state = state.ok_or_else(|| StateError::Invalid("an endpoint has no such state".into()))?;
        valid((1..=ENDPOINTS).contains(&number) && (1..=7).contains(&kind), "an endpoint is none")?;
        slot.endpoints.insert(number, Endpoint { kind, state, ring, done, waiting, asked });
    }
    Ok((number, slot))
}

pub(super) fn save(xhci: &Xhci) -> Result<Saved, StateError> {
    let Xhci {
        name: _,
        variant: _,
        pci,
        regions: _,
        dma: _,
        wiring: _,
        timer: _,
        command,
        status,
        registers: Registers { dnctrl, dcbaap, config, commands, crcr_low, crcr_running },
        started,
        wrap,
        interrupters,
        slots,
        ports,
        supers: _,
        sockets,
        more,
        held,
        quiet: _,
    } = xhci;
    let slots = slots.iter().zip(1..).filter_map(|(slot, number)| Some(save_slot(number, slot.as_ref()?)));
    let socket = |of: &Option<Function>| of.as_ref().map(|function| function.save()).transpose();
    let state = State {
        pci: pci.save(),
        command: command.bits(),
        status: status.bits(),
        dnctrl: *dnctrl,
        dcbaap: *dcbaap,
        config: *config,
        commands: *commands,
        crcr_low: *crcr_low,
        crcr_running: *crcr_running,
        started: *started,
        wrap: *wrap,
        interrupters: interrupters.iter().map(save_interrupter).collect(),
        slots: slots.collect(),
        ports: ports.iter().map(|Port { bits, link }| PortState { bits: bits.bits(), link: *link }).collect(),
        sockets: sockets.iter().map(socket).collect::<Result<_, _>>()?,
        more: *more,
        held: *held,
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(xhci: &mut Xhci, saved: &Saved) -> Result<(), StateError> {
    let State {
        pci,
        command,
        status,
        dnctrl,
        dcbaap,
        config,
        commands,
        crcr_low,
        crcr_running,
        started,
        wrap,
        interrupters,
        slots,
        ports,
        sockets,
        more,
        held,
    } = saved.decode(KIND, VERSION)?;
    xhci.pci.load(&pci)?;
    let flags = Command::from_bits(command).zip(Status::from_bits(status));
    let flags = flags.ok_or_else(|| StateError::Invalid("a register has bits that are none".into()))?;
    (xhci.command, xhci.status) = flags;
    valid(
        xhci.status.contains(Status::HALTED) != xhci.command.contains(Command::RUN),
        "it neither runs nor stands",
    )?;
    valid(interrupters.len() == xhci.interrupters.len(), "another number of interrupters")?;
    for (to, from) in xhci.interrupters.iter_mut().zip(interrupters) {
        *to = load_interrupter(from)?;
    }
    valid(sockets.len() == xhci.sockets.len(), "another number of sockets")?;
    for (to, from) in xhci.sockets.iter_mut().zip(sockets) {
        match (to, from) {
            (Some(function), Some(state)) => function.load(state)?,
            (None, None) => {}
            _ => return Err(StateError::Invalid("another socket has a device".into())),
        }
    }
    valid(ports.len() == xhci.ports.len(), "another number of ports")?;
    for (at, PortState { bits, link }) in ports.into_iter().enumerate() {
        let bits = PortBits::from_bits(bits).filter(|bits| PortBits::HELD.contains(*bits));
        let bits = bits.ok_or_else(|| StateError::Invalid("a port has bits that are none".into()))?;
        valid(link < 16, "a link's state has four bits")?;
        xhci.load_port(at, Port { bits, link })?;
    }
    for slot in slots {
        let (number, slot) = load_slot(xhci.ports.len(), slot)?;
        let to = usize::from(number).checked_sub(1).and_then(|at| xhci.slots.get_mut(at));
        *to.ok_or_else(|| StateError::Invalid("there is no such slot".into()))? = Some(slot);
    }
    xhci.registers = Registers { dnctrl, dcbaap, config, commands, crcr_low, crcr_running };
    (xhci.started, xhci.wrap, xhci.more, xhci.held) = (started, wrap, more, held);
    Ok(())
}
