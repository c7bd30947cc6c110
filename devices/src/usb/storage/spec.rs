//! Numbers of the Bulk-Only Transport, and what QEMU's device says of itself.

use super::super::Speed;
use super::super::descriptors::{Configuration, Description, Endpoint, Interface};

/// Vendor of QEMU's USB devices.
pub const VENDOR: u16 = 0x46f4;
/// Product.
pub const PRODUCT: u16 = 0x0001;

/// Endpoints: from the device, and to it.
pub const IN: u8 = 1;
/// To the device.
pub const OUT: u8 = 2;

/// Command block wrapper (5.1): "USBC", its length, and its place for the command.
pub const CBW_SIGNATURE: u32 = 0x4342_5355;
/// Bytes of it.
pub const CBW_LEN: usize = 31;
/// Bytes of a command at most.
pub const CDB_LEN: usize = 16;
/// Command status wrapper (5.2): "USBS".
pub const CSW_SIGNATURE: u32 = 0x5342_5355;
/// Bytes of it.
pub const CSW_LEN: usize = 13;

/// bCSWStatus (table 5.3).
pub mod status {
    /// The command is good.
    pub const PASSED: u8 = 0;
    /// It failed: there is sense data.
    pub const FAILED: u8 = 1;
    /// Host and device do not agree about the data.
    pub const PHASE: u8 = 2;
}

/// Requests of the class (3.1, 3.2), with bmRequestType above.
pub mod request {
    /// Bulk-Only Mass Storage Reset.
    pub const RESET: u16 = 0x21ff;
    /// Get Max LUN.
    pub const MAX_LUN: u16 = 0xa1fe;
}

const fn bulk(max_packet: u16, burst: Option<u8>) -> [Endpoint; 2] {
    let inward =
        Endpoint { address: 0x80 | IN, attributes: 2, max_packet, interval: 0, burst, of_class: &[] };
    [inward, Endpoint { address: OUT, attributes: 2, max_packet, interval: 0, burst, of_class: &[] }]
}

static FULL_ENDPOINTS: [Endpoint; 2] = bulk(64, None);
static HIGH_ENDPOINTS: [Endpoint; 2] = bulk(512, None);
static SUPER_ENDPOINTS: [Endpoint; 2] = bulk(1024, Some(15));

/// Mass storage, SCSI commands, bulk only.
const CLASS: [u8; 3] = [8, 6, 0x50];
static FULL: [Interface; 1] = [Interface { class: CLASS, of_class: &[], endpoints: &FULL_ENDPOINTS }];
static HIGH: [Interface; 1] = [Interface { class: CLASS, of_class: &[], endpoints: &HIGH_ENDPOINTS }];
static SUPER: [Interface; 1] = [Interface { class: CLASS, of_class: &[], endpoints: &SUPER_ENDPOINTS }];

/// What it says of itself at a speed.
pub fn description(speed: Speed, serial: &str) -> Description {
    let (usb, max_packet, label, interfaces) = match speed {
        Speed::Low | Speed::Full => (0x0200, 8, 4, &FULL),
        Speed::High => (0x0200, 64, 5, &HIGH),
        Speed::Super => (0x0300, 9, 6, &SUPER),
    };
    let text = |index: u8, text: &str| (index, text.to_owned());
    Description {
        usb,
        class: 0,
        vendor: VENDOR,
        product: PRODUCT,
        release: 0,
        max_packet,
        labels: [1, 2, 3],
        configuration: Configuration {
            label,
            attributes: Configuration::ONE | Configuration::SELF_POWERED,
            power: 0,
            interfaces,
        },
        strings: vec![
            text(1, "QEMU"),
            text(2, "QEMU USB HARDDRIVE"),
            text(3, serial),
            text(4, "Full speed config (usb 1.1)"),
            text(5, "High speed config (usb 2.0)"),
            text(6, "Super speed config (usb 3.0)"),
        ],
    }
}
