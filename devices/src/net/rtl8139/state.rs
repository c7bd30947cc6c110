//! Saved state.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::phy::Phy;
use super::registers::Registers;
use super::rx::{self, Receiver};
use super::spec::{RING_MAX, cr, int, phy, tsd};
use super::tx::{self, Packet, Source, Transmitter};
use super::{Alarm, Counters, Rtl8139};
use crate::net::eeprom93::{Eeprom93c46, EepromState};

const KIND: &str = "rtl8139";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    mac: [u8; 6],
    registers: RegistersState,
    link: bool,
    bmcr: u16,
    anar: u16,
    eeprom: EepromState,
    tx: TxState,
    rx_index: u32,
    #[serde(deserialize_with = "Option::deserialize")]
    rx_held: Option<serde_bytes::ByteBuf>,
    counters: CountersState,
    /// When the timers fire, in nanoseconds of guest time.
    #[serde(deserialize_with = "Option::deserialize")]
    timer_int: Option<u64>,
    #[serde(deserialize_with = "Option::deserialize")]
    go_on: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct RegistersState {
    idr: [u8; 6],
    mar: [u8; 8],
    tsd: [u32; 4],
    tsad: [u32; 4],
    dtccr: [u32; 2],
    rbstart: u32,
    read_to: u16,
    cbr: u16,
    cr: u8,
    imr: u16,
    isr: u16,
    tcr: u32,
    rcr: u32,
    timer_base: u64,
    timer_int: u32,
    mpc: u32,
    cfg9346: u8,
    config: [u8; 5],
    mulint: u16,
    halted: bool,
    cpcr: u16,
    cplus: bool,
    rdsar: [u32; 2],
    mtps: u8,
}

#[derive(Serialize, Deserialize)]
struct TxState {
    buffer: u8,
    index: u32,
    polled: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    packet: Option<PacketState>,
}

#[derive(Serialize, Deserialize)]
struct PacketState {
    frames: Vec<serde_bytes::ByteBuf>,
    /// The TSD that it is from; none: the descriptors of `taken`.
    #[serde(deserialize_with = "Option::deserialize")]
    buffer: Option<u8>,
    /// Addresses and first words.
    taken: Vec<(u64, u32)>,
    next: u32,
    failed: bool,
}

#[derive(Serialize, Deserialize)]
struct CountersState {
    tx_ok: u64,
    rx_ok: u64,
    tx_errors: u64,
    rx_errors: u32,
    missed: u16,
    rx_station: u64,
    rx_broadcast: u64,
    rx_multicast: u32,
    tx_aborted: u16,
    tx_bytes: u64,
    rx_bytes: u64,
    dropped: u64,
}

/// One struct as another with the same fields, all of which are named: a forgotten one does not compile.
macro_rules! same_fields {
    ($from:ident => $to:ident { $($field:ident),+ $(,)? }) => {
        impl From<$from> for $to {
            fn from($from { $($field),+ }: $from) -> $to {
                $to { $($field),+ }
            }
        }
        impl From<$to> for $from {
            fn from($to { $($field),+ }: $to) -> $from {
                $from { $($field),+ }
            }
        }
    };
}

same_fields!(Registers => RegistersState {
    idr, mar, tsd, tsad, dtccr, rbstart, read_to, cbr, cr, imr, isr, tcr, rcr, timer_base, timer_int, mpc, cfg9346,
    config, mulint, halted, cpcr, cplus, rdsar, mtps,
});
same_fields!(Counters => CountersState {
    tx_ok, rx_ok, tx_errors, rx_errors, missed, rx_station, rx_broadcast, rx_multicast, tx_aborted, tx_bytes,
    rx_bytes, dropped,
});

impl TxState {
    fn of(tx: &Transmitter) -> TxState {
        let Transmitter { buffer, index, polled, packet } = tx.clone();
        let packet = packet.map(|Packet { frames, source, taken, failed }| {
            let (buffer, next) = match source {
                Source::Buffer(number) => (Some(number), 0),
                Source::Ring { next } => (None, next),
            };
            let frames = frames.iter().map(serde_bytes::ByteBuf::from).collect();
            PacketState { frames, buffer, taken, next, failed }
        });
        TxState { buffer, index, polled, packet }
    }

    fn into_tx(self) -> Result<Transmitter, StateError> {
        let TxState { buffer, index, polled, packet } = self;
        valid(buffer < 4 && index < RING_MAX, "there is no such Tx buffer or descriptor")?;
        let packet = packet.map(PacketState::into_packet).transpose()?;
        Ok(Transmitter { buffer, index, polled, packet })
    }
}

impl PacketState {
    fn into_packet(self) -> Result<Packet, StateError> {
        let PacketState { frames, buffer, taken, next, failed } = self;
        let fits = frames.len() <= tx::FRAMES_MAX && frames.iter().all(|frame| frame.len() <= tx::FRAME_MAX);
        valid(fits, "a packet that waits to be sent is too long")?;
        valid(buffer.is_none_or(|number| number < 4) && next < RING_MAX, "a packet is from nowhere")?;
        valid(taken.len() <= tx::CHAIN_MAX + 1, "a packet has too many descriptors")?;
        let source = buffer.map_or(Source::Ring { next }, Source::Buffer);
        let frames = frames.into_iter().map(serde_bytes::ByteBuf::into_vec).collect();
        Ok(Packet { frames, source, taken, failed })
    }
}

/// What only the card itself writes must be as it writes it.
fn check(registers: &Registers) -> Result<(), StateError> {
    let mask = (registers.ring_len() - 1) as u16;
    let pointers = registers.cbr & !(mask & !3) == 0 && registers.read_to & !mask == 0;
    valid(pointers, "the Rx ring's pointers lie outside of it")?;
    valid(registers.cr & !(cr::RE | cr::TE) == 0, "the command register has no such bits")?;
    valid((registers.isr | registers.imr) & !int::ALL == 0, "there are no such interrupts")?;
    valid(registers.mpc <= 0x00ff_ffff, "the missed packet counter has 24 bits")?;
    let reserved = !(tsd::WRITABLE | tsd::TOK | tsd::TUN | tsd::TABT);
    valid(registers.tsd.iter().all(|tsd| tsd & reserved == 0), "a Tx status has reserved bits")
}

pub(super) fn save(card: &Rtl8139) -> Result<Saved, StateError> {
    let Rtl8139 {
        name: _,
        pci,
        dma: _,
        backend: _,
        wiring: _,
        mac,
        registers,
        phy: Phy { link, bmcr, anar },
        eeprom,
        tx,
        rx: Receiver { index, held },
        scratch: _,
        spare: _,
        counters,
        timer_int: Alarm { timer: _, deadline: timer_int },
        go_on: Alarm { timer: _, deadline: go_on },
        quiet: _,
        held: _,
        regions: _,
    } = card;
    let state = State {
        pci: pci.save(),
        mac: *mac,
        registers: registers.clone().into(),
        link: *link,
        bmcr: *bmcr,
        anar: *anar,
        eeprom: eeprom.save(),
        tx: TxState::of(tx),
        rx_index: *index,
        rx_held: held.clone().map(serde_bytes::ByteBuf::from),
        counters: counters.clone().into(),
        timer_int: *timer_int,
        go_on: *go_on,
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(card: &mut Rtl8139, saved: &Saved) -> Result<(), StateError> {
    let State {
        pci,
        mac,
        registers,
        link,
        bmcr,
        anar,
        eeprom,
        tx,
        rx_index,
        rx_held,
        counters,
        timer_int,
        go_on,
    } = saved.decode(KIND, VERSION)?;
    let registers = Registers::from(registers);
    check(&registers)?;
    valid(bmcr & !phy::BMCR_WRITABLE == 0, "BMCR has no such bits")?;
    valid(rx_index < RING_MAX, "there is no such Rx descriptor")?;
    let held = rx_held.map(serde_bytes::ByteBuf::into_vec);
    valid(held.as_ref().is_none_or(|held| held.len() <= rx::PACKET_MAX), "the packet held is too long")?;
    let tx = tx.into_tx()?;
    let eeprom = Eeprom93c46::load(&eeprom)?;
    card.pci.load(&pci)?;
    (card.mac, card.registers, card.eeprom, card.tx) = (mac, registers, eeprom, tx);
    card.phy = Phy { link, bmcr, anar };
    card.rx = Receiver { index: rx_index, held };
    card.counters = counters.into();
    card.timer_int.set(timer_int);
    card.go_on.set(go_on);
    Ok(())
}
