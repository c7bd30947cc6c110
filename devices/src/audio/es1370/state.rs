//! Saved state.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::super::Pace;
use super::Es1370;
use super::channel::Channel;

const KIND: &str = "ES1370";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    control: u32,
    serial: u32,
    page: u8,
    codec: u16,
    channels: Vec<ChannelState>,
}

#[derive(Serialize, Deserialize)]
struct ChannelState {
    frame: u32,
    size: u16,
    position: u16,
    leftover: u8,
    count: u16,
    left: u16,
    pending: bool,
    stopped: bool,
    pace: Pace,
}

pub(super) fn save(card: &Es1370) -> Result<Saved, StateError> {
    let Es1370 {
        name: _,
        pci,
        regions: _,
        dma: _,
        wiring: _,
        timer: _,
        backend: _,
        control,
        serial,
        page,
        codec,
        channels,
    } = card;
    let channel = |channel: &Channel| {
        // What moves follows from the rest.
        let Channel { frame, size, position, leftover, count, left, pending, stopped, pace, moving: _ } =
            *channel;
        ChannelState { frame, size, position, leftover, count, left, pending, stopped, pace }
    };
    let state = State {
        pci: pci.save(),
        control: *control,
        serial: *serial,
        page: *page,
        codec: *codec,
        channels: channels.iter().map(channel).collect(),
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(card: &mut Es1370, saved: &Saved) -> Result<(), StateError> {
    let State { pci, control, serial, page, codec, channels } = saved.decode(KIND, VERSION)?;
    valid(channels.len() == card.channels.len(), "another number of channels")?;
    valid(channels.iter().all(|channel| channel.leftover < 4), "a longword has four bytes")?;
    card.pci.load(&pci)?;
    for (number, (to, state)) in card.channels.iter_mut().zip(channels).enumerate() {
        let ChannelState { frame, size, position, leftover, count, left, pending, stopped, pace } = state;
        let channel =
            Channel { frame, size, position, leftover, count, left, pending, stopped, pace, moving: None };
        let moving = channel.wanted(number, control, serial);
        // Frames do not lie across longwords, whatever the state says.
        let whole = moving.is_none_or(|format| usize::from(leftover) % format.frame() == 0);
        valid(whole, "a frame lies across longwords")?;
        *to = Channel { moving, ..channel };
    }
    (card.control, card.serial, card.page, card.codec) = (control, serial, page, codec);
    Ok(())
}
