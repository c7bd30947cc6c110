//! The types of device that a back end can be of (Virtio 1.3, 5), and what each has beside its requests.

use std::ops::Range;

use devices_core::dma::Dma;

use super::super::device::Identity;
use super::super::queue::{Chain, len, read_at, write_at};
use super::super::spec::{device_id, feature};

/// Who has the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// The back end.
    BackEnd {
        /// So many bytes.
        len: usize,
        /// What of it the driver can write.
        writable: Range<usize>,
        /// The feature that it must have accepted for that; 0: none.
        needs: u64,
    },
    /// The device itself, so many bytes.
    Own(usize),
}

impl Config {
    /// Bytes.
    pub fn len(&self) -> usize {
        match self {
            Config::BackEnd { len, .. } | Config::Own(len) => *len,
        }
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes that are the back end's.
    pub fn of_back_end(&self) -> usize {
        if let Config::BackEnd { len, .. } = self { *len } else { 0 }
    }
}

/// Answers a request that comes to nothing: how many bytes were written.
pub type Failure = fn(&Dma, &Chain) -> u32;

/// A type.
#[derive(Clone, Debug)]
pub struct Kind {
    /// What it is to transports.
    pub identity: Identity,
    /// Features that the back end may have.
    pub features: u64,
    /// Features that the device has itself.
    pub own_features: u64,
    /// Its configuration.
    pub config: Config,
    /// Its last queues are the device's own, and not the back end's.
    pub own_queues: u16,
    /// The back end keeps what the guest relies on: what it had in flight when it went is answered so.
    pub failure: Option<Failure>,
    /// What the driver is told when another back end has come: in which queue, and the bytes.
    pub lost_event: Option<(u16, &'static [u8])>,
}

impl Kind {
    /// Whether the back end cannot be followed by another.
    pub fn stateful(&self) -> bool {
        self.failure.is_some()
    }
}

const fn of(id: u16, transitional: Option<u16>, class: u32) -> Kind {
    Kind {
        identity: Identity { id, transitional, class },
        features: 0,
        own_features: 0,
        config: Config::Own(0),
        own_queues: 0,
        failure: None,
        lost_event: None,
    }
}

const fn read_only(len: usize) -> Config {
    Config::BackEnd { len, writable: 0..0, needs: 0 }
}

/// Features of block devices (5.2.3) beside those that the other one has.
mod blk {
    pub use super::super::super::blk::spec::{config, feature::*};
    /// Most bytes of a buffer.
    pub const SIZE_MAX: u64 = 1 << 1;
    /// Secure erase.
    pub const SECURE_ERASE: u64 = 1 << 16;
}

/// A disk (5.2).
pub const BLK: Kind = Kind {
    features: blk::SIZE_MAX
        | blk::SEG_MAX
        | blk::GEOMETRY
        | blk::RO
        | blk::BLK_SIZE
        | blk::FLUSH
        | blk::TOPOLOGY
        | blk::CONFIG_WCE
        | blk::MQ
        | blk::DISCARD
        | blk::WRITE_ZEROES
        | blk::SECURE_ERASE,
    config: Config::BackEnd {
        len: blk::config::LEN,
        writable: blk::config::WRITEBACK..blk::config::WRITEBACK + 1,
        needs: blk::CONFIG_WCE,
    },
    ..of(device_id::BLOCK, Some(0x1001), 0x01_00_00)
};

/// Bytes of a file system's name in its configuration (5.11.4), which the number of its queues follows.
pub const TAG: usize = 36;

/// A file system (5.11): a queue for what is urgent, and some for requests.
pub const FS: Kind =
    Kind { config: Config::Own(TAG + 4), failure: Some(no_file_system), ..of(26, None, 0x01_80_00) };

/// A source of random numbers (5.4).
pub const RNG: Kind = of(device_id::ENTROPY, Some(0x1005), 0x00_ff_00);

/// Sockets between guest and host (5.10): two queues of packets, and one of events, by which the device says that all
/// connections are gone (`VIRTIO_VSOCK_EVENT_TRANSPORT_RESET`).
pub const VSOCK: Kind = Kind {
    // Packets that keep their borders.
    features: 1 << 1,
    config: read_only(8),
    own_queues: 1,
    lost_event: Some((2, &[0; 4])),
    ..of(19, None, 0x07_80_00)
};

/// A SCSI host (5.6): a queue for control, one for events, and some for requests.
pub const SCSI: Kind = Kind {
    // Both directions in a request, hot-plug, changes of units, protection.
    features: 0xf,
    config: Config::Own(36),
    ..of(8, Some(0x1004), 0x01_00_00)
};

/// GPIO lines (5.20): requests and events.
pub const GPIO: Kind = Kind { features: 1, config: read_only(8), ..of(41, None, 0x07_80_00) };

/// An I2C adapter (5.19); it must take requests of no bytes.
pub const I2C: Kind = Kind { features: 1, ..of(34, None, 0x07_80_00) };

/// A sound card (5.14): control, events, playback and recording.
pub const SOUND: Kind = Kind { features: 1, config: read_only(12), ..of(25, None, 0x04_01_00) };

/// An SCMI platform (5.15): commands, and events.
pub const SCMI: Kind = Kind { features: 3, ..of(32, None, 0x07_80_00) };

/// Any type, of which nothing is known here.
pub fn any(id: u16, config: usize) -> Kind {
    let config = Config::BackEnd { len: config, writable: 0..config, needs: 0 };
    Kind { features: !feature::TRANSPORT, config, ..of(id, None, 0x00_ff_00) }
}

/// FUSE's answer to a request that came to nothing: an input/output error (5.11.6.1; `struct fuse_out_header`).
fn no_file_system(dma: &Dma, chain: &Chain) -> u32 {
    const HEAD: u32 = 16;
    const EIO: i32 = 5;
    let mut head = [0; 16];
    let read = read_at(dma, &chain.readable, 0, &mut head);
    if read != Some(head.len()) || len(&chain.writable) < HEAD.into() {
        // It is not one, or one that is not answered.
        return 0;
    }
    // Its length, the error, and which request it was.
    let mut answer = [0; 16];
    answer[..4].copy_from_slice(&HEAD.to_le_bytes());
    answer[4..8].copy_from_slice(&(-EIO).to_le_bytes());
    answer[8..].copy_from_slice(&head[8..]);
    write_at(dma, &chain.writable, 0, &answer).map_or(0, |written| written as u32)
}
