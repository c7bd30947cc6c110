//! Saved state of a device on its port, as a part of its controller's.

use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::function::{Control, Function, REQUEST_MOST};
use super::{Setup, descriptors};

/// Saved form of a function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FunctionState {
    address: u8,
    configured: bool,
    wakeup: bool,
    halted: u32,
    control: ControlState,
    kind: String,
    version: u16,
    device: ByteBuf,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum ControlState {
    Idle,
    In { reply: ByteBuf, sent: u32 },
    Out { setup: [u8; Setup::LEN], data: ByteBuf },
    Stalled,
}

impl Function {
    /// Its state.
    pub fn save(&self) -> Result<FunctionState, StateError> {
        let Function { device, speed: _, address, configured, wakeup, halted, control } = self;
        let Saved { kind, version, body } = device.save()?;
        let control = match control {
            Control::Idle => ControlState::Idle,
            Control::In(reply, sent) => {
                ControlState::In { reply: ByteBuf::from(reply.clone()), sent: *sent as u32 }
            }
            Control::Out(setup, data) => {
                ControlState::Out { setup: setup.bytes(), data: ByteBuf::from(data.clone()) }
            }
            Control::Stalled => ControlState::Stalled,
        };
        Ok(FunctionState {
            address: *address,
            configured: *configured,
            wakeup: *wakeup,
            halted: *halted,
            control,
            kind,
            version,
            device: ByteBuf::from(body),
        })
    }

    /// Takes it over. It must be of the same device.
    pub fn load(&mut self, state: FunctionState) -> Result<(), StateError> {
        let FunctionState { address, configured, wakeup, halted, control, kind, version, device } = state;
        valid(address < 128, "an address of USB has seven bits")?;
        let wakes = self.device.description().configuration.attributes & descriptors::Configuration::WAKEUP;
        valid(!wakeup || wakes != 0, "the device cannot wake anybody")?;
        self.control = match control {
            ControlState::Idle => Control::Idle,
            ControlState::In { reply, sent } => {
                let most = usize::from(REQUEST_MOST);
                valid(sent as usize <= reply.len() && reply.len() <= most, "more was sent than there was")?;
                Control::In(reply.into_vec(), sent as usize)
            }
            ControlState::Out { setup, data } => {
                let setup = Setup::parse(setup);
                let fits = setup.length <= REQUEST_MOST && data.len() <= usize::from(setup.length);
                valid(fits, "a request has too much data")?;
                Control::Out(setup, data.into_vec())
            }
            ControlState::Stalled => Control::Stalled,
        };
        (self.address, self.configured, self.wakeup, self.halted) = (address, configured, wakeup, halted);
        self.device.load(&Saved { kind, version, body: device.into_vec() })
    }
}
