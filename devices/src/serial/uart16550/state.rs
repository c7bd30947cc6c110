//! Saved state of a serial port.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::chip::Chip;
use super::fifo::Fifo;
use super::{Place, Serial, spec};

const KIND: &str = "16550";
const VERSION: u16 = 1;
/// The chip as a function of the PCI bus.
const PCI_KIND: &str = "pci-serial";
const PCI_VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    divisor: u16,
    enable: u8,
    fifo_control: u8,
    line_control: u8,
    modem_control: u8,
    overrun: bool,
    modem_status: u8,
    scratch: u8,
    receive: ByteBuf,
    transmit: ByteBuf,
    #[serde(deserialize_with = "Option::deserialize")]
    shift: Option<u8>,
    transmit_event: bool,
    timeout_event: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    timeout_at: Option<u64>,
    #[serde(deserialize_with = "Option::deserialize")]
    retry_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct PciSerial {
    pci: PciState,
    chip: State,
}

pub(super) fn save(device: &Serial) -> Result<Saved, StateError> {
    let chip = state(device);
    match &device.parts.place {
        Place::Isa(_) => Saved::encode(KIND, VERSION, &chip),
        Place::Pci(config) => Saved::encode(PCI_KIND, PCI_VERSION, &PciSerial { pci: config.save(), chip }),
    }
}

fn state(device: &Serial) -> State {
    // Whether there is input is asked again.
    let Serial { name: _, chip, retry_at, input: _, regions: _, parts: _ } = device;
    let Chip {
        divisor,
        enable,
        fifo_control,
        line_control,
        modem_control,
        overrun,
        modem_status,
        scratch,
        receive,
        transmit,
        shift,
        transmit_event,
        timeout_event,
        timeout_at,
    } = chip.clone();
    let bytes = |fifo: &Fifo| ByteBuf::from(fifo.as_slice());
    State {
        divisor,
        enable,
        fifo_control,
        line_control,
        modem_control,
        overrun,
        modem_status,
        scratch,
        receive: bytes(&receive),
        transmit: bytes(&transmit),
        shift,
        transmit_event,
        timeout_event,
        timeout_at,
        retry_at: *retry_at,
    }
}

pub(super) fn load(device: &mut Serial, saved: &Saved) -> Result<(), StateError> {
    let Place::Pci(config) = &mut device.parts.place else {
        let chip = saved.decode(KIND, VERSION)?;
        return put(device, chip);
    };
    let PciSerial { pci, chip } = saved.decode(PCI_KIND, PCI_VERSION)?;
    config.load(&pci)?;
    put(device, chip)
}

fn put(device: &mut Serial, chip: State) -> Result<(), StateError> {
    let State {
        divisor,
        enable,
        fifo_control,
        line_control,
        modem_control,
        overrun,
        modem_status,
        scratch,
        receive,
        transmit,
        shift,
        transmit_event,
        timeout_event,
        timeout_at,
        retry_at,
    } = chip;
    let most = if fifo_control & spec::FCR_ENABLE != 0 { spec::FIFO } else { 1 };
    valid(receive.len() <= most && transmit.len() <= most, "more bytes wait than the chip holds")?;
    device.chip = Chip {
        divisor,
        enable: enable & spec::IER_MASK,
        fifo_control: fifo_control & spec::FCR_KEPT,
        line_control,
        modem_control: modem_control & spec::MCR_MASK,
        overrun,
        modem_status,
        scratch,
        receive: Fifo::load(&receive)?,
        transmit: Fifo::load(&transmit)?,
        shift,
        transmit_event,
        timeout_event,
        timeout_at,
    };
    device.retry_at = retry_at;
    device.input = true;
    device.follow();
    Ok(())
}
