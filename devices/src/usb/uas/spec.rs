//! Numbers of USB Attached SCSI (UAS, T10 2095-D), and what QEMU's device says of itself.

use super::super::Speed;
use super::super::descriptors::{Configuration, Description, Endpoint, Interface};
use crate::storage::scsi::spec::Sense;
use crate::storage::scsi::spec::key::ILLEGAL_REQUEST;

/// Vendor of QEMU's USB devices.
pub const VENDOR: u16 = 0x46f4;
/// Product.
pub const PRODUCT: u16 = 0x0003;
/// How its serial number begins.
pub const SERIAL: &str = "27842";

/// Pipes (5.2.3.2, table 9), each of the endpoint of that number.
pub mod pipe {
    /// Commands, to the device.
    pub const COMMAND: u8 = 1;
    /// Status, from it.
    pub const STATUS: u8 = 2;
    /// Data from it.
    pub const DATA_IN: u8 = 3;
    /// Data to it.
    pub const DATA_OUT: u8 = 4;
}

/// IU IDs (6.2.1, table 10).
pub mod iu {
    /// COMMAND.
    pub const COMMAND: u8 = 1;
    /// SENSE.
    pub const SENSE: u8 = 3;
    /// RESPONSE.
    pub const RESPONSE: u8 = 4;
    /// TASK MANAGEMENT.
    pub const TASK: u8 = 5;
    /// READ READY.
    pub const READ_READY: u8 = 6;
    /// WRITE READY.
    pub const WRITE_READY: u8 = 7;
}

/// Bytes of a COMMAND IU (6.2.2) whose command has 16 bytes, and where its fields are.
pub const COMMAND_LEN: usize = 32;
/// ADDITIONAL CDB LENGTH.
pub const ADDITIONAL: usize = 6;
/// LOGICAL UNIT NUMBER, in a TASK MANAGEMENT IU too.
pub const LUN: usize = 8;
/// CDB.
pub const CDB: usize = 16;
/// Bytes of a TASK MANAGEMENT IU (6.2.3).
pub const TASK_LEN: usize = 16;
/// Its TASK MANAGEMENT FUNCTION.
pub const FUNCTION: usize = 4;
/// TAG OF TASK TO BE MANAGED.
pub const MANAGED: usize = 6;

/// Functions that QEMU's device knows.
pub mod function {
    /// ABORT TASK.
    pub const ABORT_TASK: u8 = 0x01;
    /// LOGICAL UNIT RESET.
    pub const LUN_RESET: u8 = 0x08;
}

/// RESPONSE CODE (6.2.5, table 19).
pub mod response {
    /// The function is complete.
    pub const COMPLETE: u8 = 0x00;
    /// The information unit makes no sense.
    pub const INVALID: u8 = 0x02;
    /// The function is not supported.
    pub const NOT_SUPPORTED: u8 = 0x04;
    /// There is no such logical unit.
    pub const INCORRECT_LUN: u8 = 0x09;
    /// The tag is another command's.
    pub const OVERLAPPED: u8 = 0x0a;
}

/// Highest unit, as QEMU's bus has it.
pub const LUN_MAX: u16 = 255;

/// What a command fails with before it is one.
pub mod sense {
    use super::{ILLEGAL_REQUEST, Sense};

    /// The command is longer than 16 bytes.
    pub const ADDITIONAL: Sense = Sense::new(ILLEGAL_REQUEST, 0x26, 1);
    /// Overlapped commands attempted.
    pub const OVERLAPPED: Sense = Sense::new(0x0b, 0x4e, 0);
}

/// Bytes of a packet at high speed.
pub const PACKET: u16 = 512;

/// A pipe usage descriptor (5.2.3.2).
const fn usage(of: u8) -> [u8; 4] {
    [4, 0x24, of, 0]
}
static USAGES: [[u8; 4]; 4] =
    [usage(pipe::COMMAND), usage(pipe::STATUS), usage(pipe::DATA_IN), usage(pipe::DATA_OUT)];

const fn bulk(address: u8) -> Endpoint {
    let of_class = &USAGES[(address & 0x7f) as usize - 1];
    Endpoint { address, attributes: 2, max_packet: PACKET, interval: 0, burst: None, of_class }
}

static ENDPOINTS: [Endpoint; 4] =
    [bulk(pipe::COMMAND), bulk(0x80 | pipe::STATUS), bulk(0x80 | pipe::DATA_IN), bulk(pipe::DATA_OUT)];

/// Mass storage, SCSI commands, UAS.
static INTERFACES: [Interface; 1] = [Interface { class: [8, 6, 0x62], of_class: &[], endpoints: &ENDPOINTS }];

/// What it says of itself.
pub fn description(_speed: Speed, serial: &str) -> Description {
    let text = |index: u8, text: &str| (index, text.to_owned());
    Description {
        usb: 0x0200,
        class: 0,
        vendor: VENDOR,
        product: PRODUCT,
        release: 0,
        max_packet: 64,
        labels: [1, 2, 3],
        configuration: Configuration {
            label: 4,
            attributes: Configuration::ONE | Configuration::SELF_POWERED,
            power: 0,
            interfaces: &INTERFACES,
        },
        strings: vec![
            text(1, "QEMU"),
            text(2, "USB Attached SCSI HBA"),
            text(3, serial),
            text(4, "High speed config (usb 2.0)"),
            text(5, "Super speed config (usb 3.0)"),
        ],
    }
}
