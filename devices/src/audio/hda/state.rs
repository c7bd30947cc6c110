//! Saved state, with that of the codecs.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::super::Pace;
use super::Hda;
use super::codec::CodecState;
use super::registers::Registers;
use super::rings::Rings;
use super::spec::{RING, reg, sd};
use super::stream::{self, Buffer, Stream, base};

const KIND: &str = "intel-hda";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    registers: Vec<u8>,
    streams: Vec<StreamState>,
    responses: u16,
    wall: u64,
    codecs: Vec<(u8, CodecState)>,
}

#[derive(Serialize, Deserialize)]
struct StreamState {
    pace: Pace,
    index: u8,
    #[serde(deserialize_with = "Option::deserialize")]
    buffer: Option<Buffer>,
    offset: u32,
}

pub(super) fn save(hda: &Hda) -> Result<Saved, StateError> {
    let Hda {
        name: _,
        variant: _,
        pci,
        regions: _,
        dma: _,
        wiring: _,
        timer: _,
        registers,
        streams,
        rings: Rings { responses },
        wall,
        // Both follow from the registers.
        raised: _,
        codecs,
    } = hda;
    let stream = |Stream { pace, index, buffer, offset, moving: _ }: &Stream| StreamState {
        pace: *pace,
        index: *index,
        buffer: *buffer,
        offset: *offset,
    };
    let state = State {
        pci: pci.save(),
        registers: registers.0.to_vec(),
        streams: streams.iter().map(stream).collect(),
        responses: *responses,
        wall: *wall,
        codecs: codecs.iter().map(|(number, codec)| (*number, codec.save())).collect(),
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(hda: &mut Hda, saved: &Saved) -> Result<(), StateError> {
    let State { pci, registers, streams, responses, wall, codecs } = saved.decode(KIND, VERSION)?;
    hda.pci.load(&pci)?;
    let registers =
        registers.try_into().map_err(|_| StateError::Invalid("another number of registers".into()))?;
    let registers = Registers(registers);
    valid(registers.u16(reg::CORBWP) <= RING.into(), "the ring of commands has 256 entries")?;
    let last = |number| registers.u16(base(number) + sd::LVI);
    valid((0..streams.len()).all(|number| last(number) <= RING.into()), "a list has 256 descriptors")?;
    valid(streams.len() == hda.streams.len(), "another number of streams")?;
    valid(responses <= RING.into(), "too many responses wait")?;
    valid(codecs.iter().map(|(number, _)| number).eq(hda.codecs.keys()), "other codecs")?;
    for (codec, (_, state)) in hda.codecs.values_mut().zip(codecs) {
        codec.load(state);
    }
    for ((number, stream), StreamState { pace, index, buffer, offset }) in
        hda.streams.iter_mut().enumerate().zip(streams)
    {
        let moving = stream::wanted(&registers, number);
        *stream = Stream { pace, index, buffer, offset, moving };
    }
    hda.registers = registers;
    hda.rings = Rings { responses };
    hda.wall = wall;
    Ok(())
}
