//! Saved state. A frame that is put together, or waits for the backend, is part of it.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::E1000;
use super::eeprom::Eeprom;
use super::irq::{Delay, Irq};
use super::phy::{Phy, REGISTERS};
use super::spec::Cause;
use super::tx::{Context, Current, HEADROOM, LONGEST, Packet, Tx};
use crate::net::eeprom93::{self, Eeprom93c46};
use crate::net::offload::Insert;

const KIND: &str = "e1000";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    /// Offset and value of those that are not zero.
    registers: Vec<(u32, u32)>,
    io_address: u32,
    eeprom: EepromState,
    phy: Vec<u16>,
    irq: IrqState,
    tx: TxState,
    cable: bool,
    negotiated: Option<u64>,
    turn: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct EepromState {
    chip: eeprom93::EepromState,
    wires: u32,
    read: u32,
}

#[derive(Serialize, Deserialize)]
struct IrqState {
    causes: u32,
    mask: u32,
    level: bool,
    throttled: Option<u64>,
    receive: DelayState,
    transmit: DelayState,
}

#[derive(Serialize, Deserialize)]
struct DelayState {
    relative: Option<u64>,
    absolute: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct TxState {
    plain: ContextState,
    segmentation: ContextState,
    current: Option<CurrentState>,
    packet: PacketState,
    /// The frame as far as it goes, with a tag if it has been given one.
    #[serde(with = "serde_bytes")]
    frame: Vec<u8>,
    #[serde(with = "serde_bytes")]
    header: Vec<u8>,
    ready: bool,
    tagged: bool,
}

#[derive(Serialize, Deserialize)]
struct ContextState {
    ip: InsertState,
    transport: InsertState,
    payload: u32,
    header: u8,
    segment: u16,
    v4: bool,
    tcp: bool,
}

#[derive(Serialize, Deserialize)]
struct InsertState {
    start: u8,
    at: u8,
    end: u16,
}

#[derive(Serialize, Deserialize)]
struct CurrentState {
    address: u64,
    left: u32,
    command: u32,
    upper: u32,
}

#[derive(Serialize, Deserialize)]
struct PacketState {
    open: bool,
    options: u8,
    segmented: bool,
    segments: u16,
    sent: u32,
}

pub(super) fn save(card: &E1000) -> Result<Saved, StateError> {
    let E1000 {
        name: _,
        variant: _,
        options: _,
        pci,
        regions: _,
        dma: _,
        backend: _,
        wiring: _,
        mac: _,
        registers,
        io_address,
        eeprom,
        phy,
        irq,
        rx: _,
        tx,
        cable,
        negotiated,
        turn,
        timer: _,
        armed: _,
        quiet: _,
    } = card;
    let Phy { registers: phy } = phy;
    let state = State {
        pci: pci.save(),
        registers: registers.filled().collect(),
        io_address: *io_address,
        eeprom: save_eeprom(eeprom),
        phy: phy.to_vec(),
        irq: save_irq(irq),
        tx: save_tx(tx),
        cable: *cable,
        negotiated: *negotiated,
        turn: *turn,
    };
    Saved::encode(KIND, VERSION, &state)
}

fn save_eeprom(eeprom: &Eeprom) -> EepromState {
    let Eeprom { chip, wires, read } = eeprom;
    EepromState { chip: chip.save(), wires: *wires, read: *read }
}

fn save_irq(irq: &Irq) -> IrqState {
    let Irq { causes, mask, level, throttled, receive, transmit } = irq;
    let [receive, transmit] = [receive, transmit].map(|delay| {
        let Delay { relative, absolute } = *delay;
        DelayState { relative, absolute }
    });
    IrqState {
        causes: causes.bits(),
        mask: mask.bits(),
        level: *level,
        throttled: *throttled,
        receive,
        transmit,
    }
}

fn save_tx(tx: &Tx) -> TxState {
    let Tx { plain, segmentation, current, packet, buffer, len: _, header, ready, tagged } = tx;
    let Packet { open, options, segmented, segments, sent } = *packet;
    TxState {
        plain: save_context(plain),
        segmentation: save_context(segmentation),
        current: current.map(|current| {
            let Current { address, left, command, upper } = current;
            CurrentState { address, left, command, upper }
        }),
        packet: PacketState { open, options, segmented, segments, sent },
        frame: buffer[tx.finished()].to_vec(),
        header: header.to_vec(),
        ready: *ready,
        tagged: *tagged,
    }
}

fn save_context(context: &Context) -> ContextState {
    let Context { ip, transport, payload, header, segment, v4, tcp } = *context;
    let [ip, transport] = [ip, transport].map(|insert| {
        // Two of them came from a byte, one from 16 bits, and the last follows from the protocol.
        let Insert { start, at, end, never_zero: _ } = insert;
        InsertState { start: start as u8, at: at as u8, end: end as u16 }
    });
    ContextState { ip, transport, payload, header, segment, v4, tcp }
}

pub(super) fn load(card: &mut E1000, saved: &Saved) -> Result<(), StateError> {
    let State { pci, registers, io_address, eeprom, phy, irq, tx, cable, negotiated, turn } =
        saved.decode(KIND, VERSION)?;
    card.pci.load(&pci)?;
    valid(card.registers.fill(&registers), "a register that there is not")?;
    valid(u64::from(io_address) < super::spec::MEMORY_LEN, "IOADDR is beyond the registers")?;
    card.io_address = io_address & !3;
    let EepromState { chip, wires, read } = eeprom;
    card.eeprom = Eeprom { chip: Eeprom93c46::load(&chip)?, wires, read };
    let phy: [u16; REGISTERS] =
        phy.try_into().map_err(|_| StateError::Invalid("the PHY has 32 registers".to_owned()))?;
    card.phy = Phy { registers: phy };
    card.irq = load_irq(irq);
    load_tx(&mut card.tx, tx)?;
    card.cable = cable;
    card.negotiated = negotiated;
    card.turn = turn;
    Ok(())
}

fn load_irq(state: IrqState) -> Irq {
    let IrqState { causes, mask, level, throttled, receive, transmit } = state;
    let [receive, transmit] = [receive, transmit].map(|state| {
        let DelayState { relative, absolute } = state;
        Delay { relative, absolute }
    });
    Irq {
        causes: Cause::from_bits_retain(causes),
        mask: Cause::from_bits_retain(mask),
        level,
        throttled,
        receive,
        transmit,
    }
}

fn load_tx(tx: &mut Tx, state: TxState) -> Result<(), StateError> {
    let TxState { plain, segmentation, current, packet, frame, header, ready, tagged } = state;
    let header: [u8; 256] =
        header.try_into().map_err(|_| StateError::Invalid("headers have 256 bytes".to_owned()))?;
    let PacketState { open, options, segmented, segments, sent } = packet;
    let headroom = if tagged { HEADROOM } else { 0 };
    valid(frame.len() >= headroom && frame.len() - headroom <= LONGEST, "a frame is too long")?;
    valid(!ready || current.is_some(), "a frame that no descriptor is of")?;
    let current = current.map(|state| {
        let CurrentState { address, left, command, upper } = state;
        Current { address, left, command, upper }
    });
    tx.reset();
    let buffer = std::mem::take(&mut tx.buffer);
    *tx = Tx {
        plain: load_context(plain),
        segmentation: load_context(segmentation),
        current,
        packet: Packet { open, options, segmented, segments, sent },
        buffer,
        len: frame.len() - headroom,
        header,
        ready,
        tagged,
    };
    let place = tx.finished();
    tx.buffer[place].copy_from_slice(&frame);
    Ok(())
}

fn load_context(state: ContextState) -> Context {
    let ContextState { ip, transport, payload, header, segment, v4, tcp } = state;
    let insert = |state: InsertState, never_zero| {
        let InsertState { start, at, end } = state;
        Insert { start: start.into(), at: at.into(), end: end.into(), never_zero }
    };
    Context { ip: insert(ip, false), transport: insert(transport, !tcp), payload, header, segment, v4, tcp }
}
