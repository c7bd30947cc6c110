//! Saved state, with that of the devices behind it.

use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::super::FunctionState;
use super::spec::PortBits;
use super::{Hub, Port};

const KIND: &str = "usb-hub";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    ports: Vec<PortState>,
}

#[derive(Serialize, Deserialize)]
struct PortState {
    status: u16,
    change: u16,
    #[serde(deserialize_with = "Option::deserialize")]
    device: Option<FunctionState>,
}

pub(super) fn save(hub: &Hub) -> Result<Saved, StateError> {
    let Hub { description: _, switched: _, ports } = hub;
    let port = |Port { status, change, function }: &Port| {
        let device = function.as_ref().map(|function| function.save()).transpose()?;
        Ok(PortState { status: status.bits(), change: change.bits(), device })
    };
    let state = State { ports: ports.iter().map(port).collect::<Result<_, StateError>>()? };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(hub: &mut Hub, saved: &Saved) -> Result<(), StateError> {
    let State { ports } = saved.decode(KIND, VERSION)?;
    valid(ports.len() == hub.ports.len(), "another number of ports")?;
    for (port, PortState { status, change, device }) in hub.ports.iter_mut().zip(ports) {
        match (&mut port.function, device) {
            (Some(function), Some(state)) => function.load(state)?,
            (None, None) => {}
            _ => return Err(StateError::Invalid("another port of the hub has a device".into())),
        }
        let bits = PortBits::from_bits(status).zip(PortBits::from_bits(change));
        let bits = bits.filter(|(_, change)| PortBits::CHANGES.contains(*change));
        let bits = bits.ok_or_else(|| StateError::Invalid("a hub's port has bits that are none".into()));
        let (status, change) = bits?;
        let (powered, connected) = (status.contains(PortBits::POWER), status.contains(PortBits::CONNECTION));
        valid(powered || hub.switched, "a port has lost power that is never switched")?;
        let there = powered && port.function.is_some();
        valid(connected == there, "a hub's port tells not of its device")?;
        let idle = !status.intersects(PortBits::ENABLE | PortBits::SUSPEND | PortBits::LOW_SPEED);
        valid(connected || idle, "a hub's port without a device is enabled")?;
        (port.status, port.change) = (status, change);
    }
    Ok(())
}
