//! Saved form of what both cards have. A frame that is put together, or waits for the backend, is part of it.

use devices_core::StateError;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};

use super::controller::Mac;
use super::delay::Delay;
use super::phy::{Phy, REGISTERS};
use super::tx::{Context, Current, HEADROOM, LONGEST, Packet, Tx};
use crate::net::offload::Insert;

#[derive(Serialize, Deserialize)]
pub struct DelayState {
    #[serde(deserialize_with = "Option::deserialize")]
    relative: Option<u64>,
    #[serde(deserialize_with = "Option::deserialize")]
    absolute: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub struct TxState {
    plain: ContextState,
    segmentation: ContextState,
    #[serde(deserialize_with = "Option::deserialize")]
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

/// What is saved of a [`Mac`], as fields of the card's own state.
pub struct MacState {
    /// Offset and value of those that are not zero.
    pub registers: Vec<(u32, u32)>,
    pub io_address: u32,
    /// Each queue's.
    pub tx: Vec<TxState>,
    pub cable: bool,
    pub negotiated: Option<u64>,
    pub turn: Option<u64>,
}

pub fn save_mac(mac: &Mac) -> MacState {
    let Mac {
        dma: _,
        backend: _,
        wiring: _,
        address: _,
        registers,
        io_address,
        tx,
        frame: _,
        cable,
        negotiated,
        turn,
        timer: _,
        armed: _,
        quiet: _,
    } = mac;
    MacState {
        registers: registers.filled().collect(),
        io_address: *io_address,
        tx: tx.iter().map(save_tx).collect(),
        cable: *cable,
        negotiated: *negotiated,
        turn: *turn,
    }
}

/// As many transmitters as the card's own state has.
pub fn one_each<const QUEUES: usize>(tx: Vec<TxState>) -> Result<[TxState; QUEUES], StateError> {
    tx.try_into().map_err(|_| StateError::Invalid("transmitters of another card".to_owned()))
}

/// Takes what was saved, of as many queues as there are; `can_hold` as [`Registers::fill`](super::registers::Registers::fill)
/// has it.
pub fn load_mac(mac: &mut Mac, state: MacState, can_hold: fn(u32, u32) -> bool) -> Result<(), StateError> {
    let MacState { registers, io_address, tx, cable, negotiated, turn } = state;
    valid(mac.registers.fill(&registers, can_hold), "a register that there is not")?;
    mac.io_address = io_address;
    for (tx, state) in mac.tx.iter_mut().zip(tx) {
        load_tx(tx, state)?;
    }
    mac.cable = cable;
    mac.negotiated = negotiated;
    mac.turn = turn;
    Ok(())
}

pub fn load_phy(phy: &mut Phy, registers: Vec<u16>) -> Result<(), StateError> {
    let registers: [u16; REGISTERS] =
        registers.try_into().map_err(|_| StateError::Invalid("the PHY has 32 registers".to_owned()))?;
    phy.registers = registers;
    Ok(())
}

pub fn save_delay(delay: &Delay) -> DelayState {
    let Delay { relative, absolute } = *delay;
    DelayState { relative, absolute }
}

pub fn load_delay(state: DelayState) -> Delay {
    let DelayState { relative, absolute } = state;
    Delay { relative, absolute }
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
