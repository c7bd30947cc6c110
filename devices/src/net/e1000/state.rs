//! Saved state.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::E1000;
use super::eeprom::Eeprom;
use super::irq::Irq;
use super::registers::can_hold;
use super::spec::Cause;
use crate::net::e1000x::phy::Phy;
use crate::net::e1000x::state::{
    DelayState, MacState, TxState, load_delay, load_mac, load_phy, one_each, save_delay, save_mac,
};
use crate::net::eeprom93::{self, Eeprom93c46};

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
    #[serde(deserialize_with = "Option::deserialize")]
    negotiated: Option<u64>,
    #[serde(deserialize_with = "Option::deserialize")]
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
    #[serde(deserialize_with = "Option::deserialize")]
    throttled: Option<u64>,
    receive: DelayState,
    transmit: DelayState,
}

pub(super) fn save(card: &E1000) -> Result<Saved, StateError> {
    let E1000 { name: _, variant: _, options: _, pci, regions: _, mac, eeprom, phy, irq } = card;
    let Phy { registers: phy, initial: _ } = phy;
    let MacState { registers, io_address, tx, cable, negotiated, turn } = save_mac(mac);
    let [tx] = one_each(tx)?;
    let state = State {
        pci: pci.save(),
        registers,
        io_address,
        eeprom: save_eeprom(eeprom),
        phy: phy.to_vec(),
        irq: save_irq(irq),
        tx,
        cable,
        negotiated,
        turn,
    };
    Saved::encode(KIND, VERSION, &state)
}

fn save_eeprom(eeprom: &Eeprom) -> EepromState {
    let Eeprom { chip, wires, read } = eeprom;
    EepromState { chip: chip.save(), wires: *wires, read: *read }
}

fn save_irq(irq: &Irq) -> IrqState {
    let Irq { causes, mask, level, throttled, receive, transmit } = irq;
    let [receive, transmit] = [receive, transmit].map(save_delay);
    IrqState {
        causes: causes.bits(),
        mask: mask.bits(),
        level: *level,
        throttled: *throttled,
        receive,
        transmit,
    }
}

pub(super) fn load(card: &mut E1000, saved: &Saved) -> Result<(), StateError> {
    let State { pci, registers, io_address, eeprom, phy, irq, tx, cable, negotiated, turn } =
        saved.decode(KIND, VERSION)?;
    card.pci.load(&pci)?;
    valid(u64::from(io_address) < super::spec::MEMORY_LEN, "IOADDR is beyond the registers")?;
    let io_address = io_address & !3;
    let mac = MacState { registers, io_address, tx: vec![tx], cable, negotiated, turn };
    load_mac(&mut card.mac, mac, can_hold)?;
    let EepromState { chip, wires, read } = eeprom;
    card.eeprom = Eeprom { chip: Eeprom93c46::load(&chip)?, wires, read };
    load_phy(&mut card.phy, phy)?;
    card.irq = load_irq(irq);
    Ok(())
}

fn load_irq(state: IrqState) -> Irq {
    let IrqState { causes, mask, level, throttled, receive, transmit } = state;
    let [receive, transmit] = [receive, transmit].map(load_delay);
    Irq {
        causes: Cause::from_bits_retain(causes),
        mask: Cause::from_bits_retain(mask),
        level,
        throttled,
        receive,
        transmit,
    }
}
