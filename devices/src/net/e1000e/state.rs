//! Saved state.

use devices_core::pci::PciState;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::E1000e;
use super::irq::Irq;
use super::nvm::{Nvm, WORDS};
use super::phy::{PAGED, Phy};
use super::registers::can_hold;
use super::spec::{Cause, VECTORS};
use crate::net::e1000x::state::{
    DelayState, MacState, TxState, load_delay, load_mac, load_phy, one_each, save_delay, save_mac,
};

const KIND: &str = "e1000e";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    /// Offset and value of those that are not zero.
    registers: Vec<(u32, u32)>,
    io_address: u32,
    nvm: NvmState,
    phy: PhyState,
    irq: IrqState,
    /// Each queue's.
    tx: [TxState; 2],
    cable: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    negotiated: Option<u64>,
    #[serde(deserialize_with = "Option::deserialize")]
    turn: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct NvmState {
    words: Vec<u16>,
    control: u32,
    read: u32,
}

#[derive(Serialize, Deserialize)]
struct PhyState {
    /// Standard registers, and those of page 0.
    main: Vec<u16>,
    /// Registers 16 to 21 of pages 2 and 3.
    paged: [[u16; PAGED]; 2],
}

#[derive(Serialize, Deserialize)]
struct IrqState {
    causes: u32,
    mask: u32,
    level: bool,
    told: u32,
    #[serde(deserialize_with = "Option::deserialize")]
    throttled: Option<u64>,
    vectors: [Option<u64>; VECTORS],
    receive: DelayState,
    acknowledge: DelayState,
    transmit: DelayState,
}

pub(super) fn save(card: &E1000e) -> Result<Saved, StateError> {
    let E1000e { name: _, options: _, pci, regions: _, mac, nvm, phy, irq } = card;
    let MacState { registers, io_address, tx, cable, negotiated, turn } = save_mac(mac);
    let state = State {
        pci: pci.save(),
        registers,
        io_address,
        nvm: save_nvm(nvm),
        phy: save_phy(phy),
        irq: save_irq(irq),
        tx: one_each(tx)?,
        cable,
        negotiated,
        turn,
    };
    Saved::encode(KIND, VERSION, &state)
}

fn save_nvm(nvm: &Nvm) -> NvmState {
    let Nvm { words, control, read } = nvm;
    NvmState { words: words.to_vec(), control: *control, read: *read }
}

fn save_phy(phy: &Phy) -> PhyState {
    let Phy { main, paged } = phy;
    PhyState { main: main.registers.to_vec(), paged: *paged }
}

fn save_irq(irq: &Irq) -> IrqState {
    let Irq { causes, mask, level, told, throttled, vectors, receive, acknowledge, transmit } = irq;
    IrqState {
        causes: causes.bits(),
        mask: mask.bits(),
        level: *level,
        told: told.bits(),
        throttled: *throttled,
        vectors: *vectors,
        receive: save_delay(receive),
        acknowledge: save_delay(acknowledge),
        transmit: save_delay(transmit),
    }
}

pub(super) fn load(card: &mut E1000e, saved: &Saved) -> Result<(), StateError> {
    let State { pci, registers, io_address, nvm, phy, irq, tx, cable, negotiated, turn } =
        saved.decode(KIND, VERSION)?;
    card.pci.load(&pci)?;
    let mac = MacState { registers, io_address, tx: tx.into(), cable, negotiated, turn };
    load_mac(&mut card.mac, mac, can_hold)?;
    card.nvm = load_nvm(nvm)?;
    let PhyState { main, paged } = phy;
    load_phy(&mut card.phy.main, main)?;
    card.phy.paged = paged;
    card.irq = load_irq(irq);
    Ok(())
}

fn load_nvm(state: NvmState) -> Result<Nvm, StateError> {
    let NvmState { words, control, read } = state;
    let words: [u16; WORDS] =
        words.try_into().map_err(|_| StateError::Invalid("the NVM has 64 words".to_owned()))?;
    Ok(Nvm { words, control, read })
}

fn load_irq(state: IrqState) -> Irq {
    let IrqState { causes, mask, level, told, throttled, vectors, receive, acknowledge, transmit } = state;
    let [causes, mask, told] = [causes, mask, told].map(Cause::from_bits_retain);
    let [receive, acknowledge, transmit] = [receive, acknowledge, transmit].map(load_delay);
    Irq { causes, mask, level, told, throttled, vectors, receive, acknowledge, transmit }
}
