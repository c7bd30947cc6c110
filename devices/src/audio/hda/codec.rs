//! QEMU's codecs: one converter and one pin for each direction.
//!
//! A codec knows verbs, and streams by their numbers on the link; what memory those come from it does not know. Its tree
//! is QEMU's, which drivers bind to by its ids and look for in it: root 0, audio function group 1, output converter 2,
//! line-out (or speaker) 3, input converter 4, line-in (or microphone) 5. `mixer=off` leaves the amplifiers out, and has
//! ids of its own.
//!
//! Beyond QEMU's: gains are in decibels as the capabilities say (a step is 1 dB, the highest 0 dB), a pin's control is
//! kept and a pin that is off is silent, amplifiers that are not there read as 0, the function group can be reset.
//!
//! Left out: unsolicited responses and jack detection, which its pins do not announce.

use std::sync::Arc;

use devices_core::Node;
use devices_core::audio::{AudioBackend, Format, Tone, UNITY};
use serde::{Deserialize, Serialize};

/// Which of QEMU's it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It plays.
    Output,
    /// It plays, and records from a line.
    Duplex,
    /// It plays on a speaker, and records from a microphone.
    Micro,
}

/// Parameters (7.3.4).
mod parameter {
    pub const VENDOR_ID: u32 = 0x00;
    pub const SUBSYSTEM_ID: u32 = 0x01;
    pub const REVISION_ID: u32 = 0x02;
    pub const NODE_COUNT: u32 = 0x04;
    pub const FUNCTION_TYPE: u32 = 0x05;
    pub const FUNCTION_CAP: u32 = 0x08;
    pub const WIDGET_CAP: u32 = 0x09;
    pub const PCM: u32 = 0x0a;
    pub const STREAM_FORMATS: u32 = 0x0b;
    pub const PIN_CAP: u32 = 0x0c;
    pub const INPUT_AMP_CAP: u32 = 0x0d;
    pub const CONNECTIONS: u32 = 0x0e;
    pub const OUTPUT_AMP_CAP: u32 = 0x12;
}

/// Verbs (7.3.3): of 12 bits, and of 4 in the highest of them.
mod verb {
    pub const GET_FORMAT: u32 = 0xa00;
    pub const GET_AMP: u32 = 0xb00;
    pub const SET_FORMAT: u32 = 0x200;
    pub const SET_AMP: u32 = 0x300;
    pub const GET_PARAMETER: u32 = 0xf00;
    pub const GET_CONNECTIONS: u32 = 0xf02;
    pub const GET_STREAM: u32 = 0xf06;
    pub const GET_PIN_CONTROL: u32 = 0xf07;
    pub const GET_CONFIGURATION: u32 = 0xf1c;
    pub const GET_SUBSYSTEM: u32 = 0xf20;
    pub const SET_STREAM: u32 = 0x706;
    pub const SET_PIN_CONTROL: u32 = 0x707;
    pub const RESET: u32 = 0x7ff;
}

/// Payload of SET_AMP: which it is for. GET_AMP's are alike.
mod amp {
    pub const OUTPUT: u32 = 1 << 15;
    pub const INPUT: u32 = 1 << 14;
    pub const LEFT: u32 = 1 << 13;
    pub const RIGHT: u32 = 1 << 12;
    /// It is mute.
    pub const MUTE: u8 = 1 << 7;
    /// Steps of its gain; the last is 0 dB.
    pub const STEPS: u8 = 0x4a;
}

/// Samples of 16 bits, at rates from 16 to 96 kHz.
const RATES: u32 = 1 << 17 | 0x1fc;
/// A converter's stream after a reset has two channels of 16 bits at 48 kHz.
const FORMAT: u16 = 0x11;
/// Pin control: the output, the input is on.
const OUT_ENABLE: u8 = 1 << 6;
const IN_ENABLE: u8 = 1 << 5;

/// Voices of the back end.
const PLAYS: u32 = 0;
const RECORDS: u32 = 1;

/// A node of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Widget {
    Root,
    Function,
    Converter(Way),
    Pin(Way),
}

/// Which way sound goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the world.
    Out,
    /// From it.
    In,
}

/// A converter's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Converter {
    /// Stream and channel.
    stream: u8,
    format: u16,
    /// Left and right, with the bit that mutes.
    gain: [u8; 2],
}

impl Converter {
    const fn initial(gain: u8) -> Converter {
        Converter { stream: 0, format: FORMAT, gain: [gain; 2] }
    }
}

/// What is saved of a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecState {
    output: Converter,
    input: Converter,
    pins: [u8; 2],
}

impl CodecState {
    const INITIAL: CodecState = CodecState {
        output: Converter::initial(amp::STEPS),
        input: Converter::initial(0),
        pins: [OUT_ENABLE, IN_ENABLE],
    };
}

/// A codec.
pub struct Codec {
    kind: Kind,
    mixer: bool,
    backend: Arc<dyn AudioBackend>,
    registers: CodecState,
}

impl Codec {
    /// One whose sound goes there. `mixer`: it has amplifiers.
    pub fn new(kind: Kind, mixer: bool, backend: Arc<dyn AudioBackend>) -> Codec {
        Codec { kind, mixer, backend, registers: CodecState::INITIAL }
    }

    fn widget(&self, node: u8) -> Option<Widget> {
        Some(match node {
            0 => Widget::Root,
            1 => Widget::Function,
            2 => Widget::Converter(Way::Out),
            3 => Widget::Pin(Way::Out),
            4 if self.kind != Kind::Output => Widget::Converter(Way::In),
            5 if self.kind != Kind::Output => Widget::Pin(Way::In),
            _ => return None,
        })
    }

    /// Vendor and device.
    fn id(&self) -> u32 {
        let kind = match self.kind {
            Kind::Output => 0x10,
            Kind::Duplex => 0x20,
            Kind::Micro => 0x30,
        };
        0x1af4 << 16 | kind | if self.mixer { 2 } else { 1 }
    }

    fn parameter(&self, widget: Widget, id: u32) -> u32 {
        let amplifier = if self.mixer { 0x8003_0000 | u32::from(amp::STEPS) * 0x101 } else { 0 };
        match (widget, id) {
            (Widget::Root, parameter::VENDOR_ID) => self.id(),
            (Widget::Root | Widget::Function, parameter::SUBSYSTEM_ID) => self.id(),
            (Widget::Root, parameter::REVISION_ID) => 0x0010_0101,
            (Widget::Root, parameter::NODE_COUNT) => 1 << 16 | 1,
            (Widget::Function, parameter::NODE_COUNT) => {
                2 << 16 | if self.kind == Kind::Output { 2 } else { 4 }
            }
            (Widget::Function, parameter::FUNCTION_TYPE) => 1,
            (Widget::Function, parameter::FUNCTION_CAP) => 0x808,
            (Widget::Function | Widget::Converter(_), parameter::PCM) => RATES,
            (Widget::Function | Widget::Converter(_), parameter::STREAM_FORMATS) => 1,
            // Kind of widget, connection list, its own formats and amplifiers, stereo.
            (Widget::Converter(Way::Out), parameter::WIDGET_CAP) => 0x00_001d,
            (Widget::Converter(Way::In), parameter::WIDGET_CAP) => 0x10_011b,
            (Widget::Pin(Way::Out), parameter::WIDGET_CAP) => 0x40_0101,
            (Widget::Pin(Way::In), parameter::WIDGET_CAP) => 0x40_0001,
            (Widget::Converter(Way::Out), parameter::OUTPUT_AMP_CAP) => amplifier,
            (Widget::Converter(Way::In), parameter::INPUT_AMP_CAP) => amplifier,
            (Widget::Pin(Way::Out), parameter::PIN_CAP) => 1 << 4,
            (Widget::Pin(Way::In), parameter::PIN_CAP) => 1 << 5,
            (_, parameter::CONNECTIONS) => u32::from(connection(widget) != 0),
            _ => 0,
        }
    }

    /// Where a pin leads, by the configuration that the board's maker gave it.
    fn configuration(&self, way: Way) -> u32 {
        match (way, self.kind) {
            (Way::Out, Kind::Micro) => 0x0010_4010,
            (Way::Out, _) => 0x0000_4010,
            (Way::In, Kind::Micro) => 0x00a0_5020,
            (Way::In, _) => 0x0080_5020,
        }
    }

    fn converter(&mut self, way: Way) -> &mut Converter {
        match way {
            Way::Out => &mut self.registers.output,
            Way::In => &mut self.registers.input,
        }
    }

    /// Answers a command: a node and what is to be done there, in 20 bits. What a node has not is 0.
    pub fn command(&mut self, node: u8, command: u32) -> u32 {
        let Some(widget) = self.widget(node) else { return 0 };
        let (verb, payload) = match command >> 16 & 7 {
            7 => (command >> 8 & 0xfff, command & 0xff),
            _ => (command >> 8 & 0xf00, command & 0xffff),
        };
        match (verb, widget) {
            (verb::GET_PARAMETER, _) => self.parameter(widget, payload),
            (verb::GET_SUBSYSTEM, _) => self.id(),
            (verb::GET_CONNECTIONS, _) if payload == 0 => connection(widget).into(),
            (verb::RESET, Widget::Function) => {
                self.reset();
                0
            }
            (verb, Widget::Converter(way)) => self.convert(way, verb, payload),
            (verb::GET_CONFIGURATION, Widget::Pin(way)) => self.configuration(way),
            (verb::GET_PIN_CONTROL, Widget::Pin(way)) => self.registers.pins[way as usize].into(),
            (verb::SET_PIN_CONTROL, Widget::Pin(way)) => {
                self.registers.pins[way as usize] = payload as u8;
                0
            }
            _ => 0,
        }
    }

    fn convert(&mut self, way: Way, verb: u32, payload: u32) -> u32 {
        let mixer = self.mixer;
        let converter = self.converter(way);
        // Its amplifier is on one side.
        let mine = |output: bool| mixer && output == (way == Way::Out);
        match verb {
            verb::GET_STREAM => return converter.stream.into(),
            verb::GET_FORMAT => return converter.format.into(),
            verb::GET_AMP if mine(payload & amp::OUTPUT != 0) => {
                return converter.gain[usize::from(payload & amp::LEFT == 0)].into();
            }
            verb::SET_STREAM => {
                converter.stream = payload as u8;
                self.stop(way);
            }
            verb::SET_FORMAT => converter.format = payload as u16,
            verb::SET_AMP => {
                let side = if way == Way::Out { amp::OUTPUT } else { amp::INPUT };
                for (gain, bit) in converter.gain.iter_mut().zip([amp::LEFT, amp::RIGHT]) {
                    if mixer && payload & side != 0 && payload & bit != 0 {
                        *gain = payload as u8;
                    }
                }
            }
            _ => {}
        }
        0
    }

    /// How a stream of that format sounds behind a converter; none: nothing of it is heard.
    fn tone(&self, way: Way, stream: u8, format: Format) -> Option<Tone> {
        let (converter, enable) = match way {
            Way::Out => (&self.registers.output, OUT_ENABLE),
            Way::In => (&self.registers.input, IN_ENABLE),
        };
        let on = self.registers.pins[way as usize] & enable != 0;
        let here = self.kind != Kind::Output || way == Way::Out;
        // Stream 0 is nobody's.
        let mine = here && on && stream != 0 && converter.stream >> 4 == stream;
        let gain = if self.mixer { converter.gain.map(loudness) } else { [UNITY; 2] };
        mine.then_some(Tone { format, gain })
    }

    /// The link carries these frames of a stream.
    pub fn play(&mut self, stream: u8, format: Format, frames: &[u8]) {
        if let Some(tone) = self.tone(Way::Out, stream, format) {
            self.backend.play(PLAYS, tone, frames);
        }
    }

    /// It is to put frames of a stream on the link. False: that is not its stream.
    pub fn record(&mut self, stream: u8, format: Format, frames: &mut [u8]) -> bool {
        let tone = self.tone(Way::In, stream, format);
        tone.into_iter().for_each(|tone| self.backend.record(RECORDS, tone, frames));
        tone.is_some()
    }

    /// A stream stands.
    pub fn stopped(&mut self, way: Way, stream: u8) {
        if self.converter(way).stream >> 4 == stream {
            self.stop(way);
        }
    }

    fn stop(&self, way: Way) {
        self.backend.stop(if way == Way::Out { PLAYS } else { RECORDS });
    }

    /// As the link's reset leaves it.
    pub fn reset(&mut self) {
        self.registers = CodecState::INITIAL;
        self.stop(Way::Out);
        self.stop(Way::In);
    }

    /// What is saved of it.
    pub fn save(&self) -> CodecState {
        self.registers
    }

    /// Goes on from there. Any values are.
    pub fn load(&mut self, state: CodecState) {
        self.reset();
        self.registers = state;
    }

    /// For people.
    pub fn inspect(&self, node: &mut Node) {
        node.hex("id", self.id());
        let CodecState { output, input, pins } = self.registers;
        for (name, converter, pin) in [("output", output, pins[0]), ("input", input, pins[1])] {
            let child = node.child(name);
            child.value("stream", converter.stream >> 4).hex("format", converter.format);
            child.hex("left", converter.gain[0]).hex("right", converter.gain[1]).hex("pin", pin);
        }
    }
}

/// The node that a widget takes its sound from; 0: none.
fn connection(widget: Widget) -> u8 {
    match widget {
        Widget::Pin(Way::Out) => 2,
        Widget::Converter(Way::In) => 5,
        _ => 0,
    }
}

/// What a gain register comes to.
fn loudness(gain: u8) -> u32 {
    if gain & amp::MUTE != 0 {
        return 0;
    }
    let below = amp::STEPS.saturating_sub(gain);
    (10f64.powf(-f64::from(below) / 20.0) * f64::from(UNITY)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_decibels() {
        assert_eq!([0x4a, 0x7f, 0x80 | 0x4a, 0xff].map(loudness), [UNITY, UNITY, 0, 0]);
        // Twenty decibels are a tenth.
        assert_eq!([0x4a - 20, 0x4a - 60, 0].map(loudness), [6553, 65, 13]);
    }
}
