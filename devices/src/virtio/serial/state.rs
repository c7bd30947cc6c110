//! Saved state. What has come in and has no buffer is in it, and how far a request has gone out.

use devices_core::StateError;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::common::Common;
use super::super::queue::{Chain, ChainState, len};
use super::Serial;
use super::control::{Message, WAITING};
use super::port::{PIECE, Port, PortConfig};
use super::spec::queue;

/// Saved form of the device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    ports: Vec<PortState>,
    messages: Vec<Message>,
    #[serde(deserialize_with = "Option::deserialize")]
    goes_on: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PortState {
    number: u32,
    console: bool,
    guest_open: bool,
    host_open: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    output: Option<(ChainState, u64)>,
    input: ByteBuf,
    #[serde(deserialize_with = "Option::deserialize")]
    patience: Option<u64>,
    lossy: bool,
    size: (u16, u16),
}

pub(super) fn save(serial: &Serial) -> State {
    let Serial {
        options: _,
        wiring: _,
        observer: _,
        go_on: _,
        goes_on,
        patience: _,
        ports,
        messages,
        quiet: _,
    } = serial;
    let port = |port: &Port| {
        let Port {
            config: PortConfig { number, console, name: _, backend: _ },
            guest_open,
            host_open,
            output,
            input,
            patience,
            lossy,
            size,
        } = port;
        PortState {
            number: *number,
            console: *console,
            guest_open: *guest_open,
            host_open: *host_open,
            output: output.as_ref().map(|(chain, from)| (chain.save(), *from)),
            input: ByteBuf::from(input.clone()),
            patience: *patience,
            lossy: *lossy,
            size: *size,
        }
    };
    State {
        ports: ports.iter().map(port).collect(),
        messages: messages.iter().copied().collect(),
        goes_on: *goes_on,
    }
}

pub(super) fn load(serial: &mut Serial, common: &mut Common, state: State) -> Result<(), StateError> {
    let State { ports, messages, goes_on } = state;
    valid(ports.len() == serial.ports.len(), "the device has another number of ports")?;
    valid(messages.len() <= WAITING, "too many messages wait")?;
    let has = |number: u32| number < serial.options.max_ports;
    valid(messages.iter().all(|message| has(message.port)), "a message is of no port")?;
    for saved in ports {
        let PortState { number, console, guest_open, host_open, output, input, patience, lossy, size } =
            saved;
        let port = serial.port_mut(number).filter(|port| port.config.console == console);
        let port = port.ok_or_else(|| StateError::Invalid(format!("there is no such port {number}")))?;
        valid(input.len() <= PIECE, "a port has too much input")?;
        let output = output.map(|(chain, from)| {
            let chain = Chain::load(chain, common.dma()).map_err(|e| StateError::Invalid(e.to_string()))?;
            let sound = from < len(&chain.readable) && common.could_be_of(queue::tx(number), &chain);
            valid(sound, "a request is of no port")?;
            Ok::<_, StateError>((chain, from))
        });
        port.output = output.transpose()?;
        port.input = input.into_vec();
        (port.guest_open, port.host_open, port.size) = (guest_open, host_open, size);
        (port.patience, port.lossy) = (patience, lossy);
        if guest_open {
            // Who watches from here on is to know.
            serial.tell_open(number, true);
        }
    }
    serial.messages = messages.into();
    serial.set_go_on(goes_on);
    serial.arm_patience();
    Ok(())
}
