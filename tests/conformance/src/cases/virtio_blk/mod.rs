//! Virtio's transport on PCI, and the block device on it. Virtual I/O Device, version 1.3 (V); where it is silent, QEMU's
//! devices are compared with ours.

pub(super) mod driver;
mod requests;
mod transport;

use crate::case::{Disk, Group, Setup, case};

/// Sectors of the disk.
const SECTORS: u32 = 64;

pub(super) const GROUP: Group = Group {
    device: "virtio-blk",
    about: "Virtio's PCI transport and block device",
    setup: Setup {
        disks: &[Disk::Loose { sectors: SECTORS }],
        args: &["-device", "virtio-blk-pci,drive=loose,serial=conformance,num-queues=2,packed=on,addr=3"],
    },
    cases: &[
        case("identity", "V 4.1.2; PCI 2.1, 6.2.1", transport::identity),
        case("BARs", "no document: QEMU's places", transport::bars),
        case("capabilities", "V 4.1.4", transport::capabilities),
        case("MSI-X table", "PCI 3.0, 6.8.2", transport::msix),
        case("power-on state", "V 4.1.4.3", transport::power_on),
        case("features that are offered", "V 6", transport::offered),
        case("features are agreed on", "V 2.2, 3.1.1", transport::negotiation),
        case("features stay once they are agreed on", "V 2.2.2", transport::features_stay),
        case("what is not offered is not accepted", "V 2.2.2", transport::unoffered),
        case("packed queues are not for legacy drivers", "V 2.2.3", transport::packed_legacy),
        case("a reset", "V 2.1.2, 4.1.4.3.1", transport::reset),
        case("queues that there are", "V 4.1.4.3", transport::queues),
        case("a queue's size", "V 4.1.4.3.2", transport::queue_size),
        case("a queue's place", "V 4.1.4.3", transport::queue_place),
        case("vectors", "V 4.1.5.1.2", transport::vectors),
        case("access by configuration space", "V 4.1.4.9", transport::pci_cfg),
        case("legacy registers at the start", "V 4.1.4.10", transport::legacy_start),
        case("legacy features", "V 2.2.3", transport::legacy_features),
        case("a legacy queue", "V 4.1.5.1.3.1", transport::legacy_queue),
        case("legacy configuration", "V 4.1.4.10", transport::legacy_config),
        case("legacy and modern status are one", "V 4.1.4.10", transport::one_status),
        case("a fault needs a reset", "V 2.1.1, NEEDS_RESET", transport::needs_reset),
        case("one queue is reset", "V 2.6.1", transport::queue_reset),
        case("configuration", "V 5.2.4", requests::config),
        case("a sector is read", "V 5.2.6", requests::read),
        case("a sector is read by a packed queue", "V 2.8, 5.2.6", requests::read_packed),
        case("a sector is read by a legacy driver", "V 5.2.6, 4.1.4.10", requests::read_legacy),
        case("a table of descriptors", "V 2.7.5.3", requests::indirect),
        case("a sector is written", "V 5.2.6", requests::write),
        case("several sectors in several buffers", "V 2.7.4.2", requests::scattered),
        case("flush", "V 5.2.6", requests::flush),
        case("serial number", "V 5.2.6", requests::serial),
        case("beyond the end", "V 5.2.6.2", requests::beyond),
        case("a type that is not known", "V 5.2.6.2", requests::unknown),
        case("write zeroes", "V 5.2.6", requests::zeroes),
        case("discard", "V 5.2.6", requests::discard),
        case("interrupt by the pin", "V 4.1.5.3, 4.1.4.5", requests::pin),
        case("no interrupts, please", "V 2.7.7", requests::no_interrupts),
        case("interrupts at a place", "V 2.7.7.1", requests::event_index),
        case("two queues", "V 5.2.2", requests::two_queues),
        case("the write cache", "V 5.2.6.2", requests::write_cache),
    ],
};
