//! Saved state. A packet that the backend does not take yet lies in the card's memory.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::Ne2000;
use super::registers::Registers;
use super::spec::{Command, Interrupts, MEMORY_LEN};

const KIND: &str = "ne2k_pci";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    registers: RegistersState,
    #[serde(with = "serde_bytes")]
    memory: Vec<u8>,
    cable: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    turn: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct RegistersState {
    cr: u8,
    pstart: u8,
    pstop: u8,
    bnry: u8,
    tsr: u8,
    tpsr: u8,
    tbcr: u16,
    isr: u8,
    rsar: u16,
    rbcr: u16,
    rsr: u8,
    rcr: u8,
    tcr: u8,
    dcr: u8,
    imr: u8,
    par: [u8; 6],
    curr: u8,
    mar: [u8; 8],
}

pub(super) fn save(card: &Ne2000) -> Result<Saved, StateError> {
    let Ne2000 {
        name: _,
        pci,
        regions: _,
        backend: _,
        wiring: _,
        mac: _,
        registers,
        memory,
        cable,
        turn,
        timer: _,
        quiet: _,
        held: _,
        frame: _,
    } = card;
    let Registers {
        cr,
        pstart,
        pstop,
        bnry,
        tsr,
        tpsr,
        tbcr,
        isr,
        rsar,
        rbcr,
        rsr,
        rcr,
        tcr,
        dcr,
        imr,
        par,
        curr,
        mar,
    } = *registers;
    let registers = RegistersState {
        cr: cr.bits(),
        pstart,
        pstop,
        bnry,
        tsr,
        tpsr,
        tbcr,
        isr: isr.bits(),
        rsar,
        rbcr,
        rsr,
        rcr,
        tcr,
        dcr,
        imr: imr.bits(),
        par,
        curr,
        mar,
    };
    let state = State { pci: pci.save(), registers, memory: memory.to_vec(), cable: *cable, turn: *turn };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(card: &mut Ne2000, saved: &Saved) -> Result<(), StateError> {
    let State { pci, registers, memory, cable, turn } = saved.decode(KIND, VERSION)?;
    valid(memory.len() == MEMORY_LEN, "the card has another size of memory")?;
    card.pci.load(&pci)?;
    card.registers = load_registers(registers);
    card.memory = memory.into();
    card.cable = cable;
    card.turn = turn;
    Ok(())
}

fn load_registers(state: RegistersState) -> Registers {
    let RegistersState {
        cr,
        pstart,
        pstop,
        bnry,
        tsr,
        tpsr,
        tbcr,
        isr,
        rsar,
        rbcr,
        rsr,
        rcr,
        tcr,
        dcr,
        imr,
        par,
        curr,
        mar,
    } = state;
    Registers {
        cr: Command::from_bits_retain(cr),
        pstart,
        pstop,
        bnry,
        tsr,
        tpsr,
        tbcr,
        isr: Interrupts::from_bits_retain(isr),
        rsar,
        rbcr,
        rsr,
        rcr,
        tcr,
        dcr,
        imr: Interrupts::from_bits_retain(imr),
        par,
        curr,
        mar,
    }
}
