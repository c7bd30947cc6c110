//! What of the DMA controllers is saved: all that they know.

use serde::{Deserialize, Serialize};

/// One channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Address as written, in bytes or words.
    pub base_address: u16,
    /// Count less one as written.
    pub base_count: u16,
    /// Address of the next transfer.
    pub address: u16,
    /// Transfers that are left, less one.
    pub count: u16,
    /// Mode register.
    pub mode: u8,
}

/// One controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Command register.
    pub command: u8,
    /// Ends in bits 3:0, requests in bits 7:4.
    pub status: u8,
    /// Masked channels.
    pub mask: u8,
    /// The byte pointer: high bytes come next.
    pub high: bool,
    /// Channels.
    pub channels: [Channel; 4],
}

impl Default for Controller {
    fn default() -> Controller {
        Controller { command: 0, status: 0, mask: 0x0f, high: false, channels: Default::default() }
    }
}

/// Both controllers and the page registers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chips {
    /// Channels 0 to 3.
    pub low: Controller,
    /// Channels 4 to 7.
    pub high: Controller,
    /// Ports 0x80 to 0x8f.
    pub pages: [u8; 16],
}
