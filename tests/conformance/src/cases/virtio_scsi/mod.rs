//! Virtio's SCSI host, and a disk on it. Virtual I/O Device, version 1.3 (V); SCSI Primary Commands 4 (S) and Block Commands
//! 3 (B).

mod commands;
mod host;

use super::virtio_blk::driver;
use crate::case::{Disk, Group, Setup, case};

/// Sectors of the disk.
const SECTORS: u32 = 64;

pub(super) const GROUP: Group = Group {
    device: "virtio-scsi",
    about: "Virtio SCSI host with a disk",
    setup: Setup {
        disks: &[Disk::Loose { sectors: SECTORS }],
        args: &[
            "-device",
            "virtio-scsi-pci,id=host,num_queues=1,addr=3",
            "-device",
            "scsi-hd,bus=host.0,scsi-id=1,lun=0,drive=loose,serial=conformance,wwn=0x5000c50000000001",
        ],
    },
    cases: &[
        case("identity", "V 4.1.2, 5.6.1", host::identity),
        case("features", "V 5.6.3", host::features),
        case("configuration", "V 5.6.4", host::config),
        case("lengths of commands and sense data", "V 5.6.4", host::lengths),
        case("a command and its response", "V 5.6.6.1", host::command),
        case("the residue", "V 5.6.6.1", host::residual),
        case("an overrun", "V 5.6.6.1.1", host::overrun),
        case("data both ways", "V 5.6.6.1, INOUT", host::both_ways),
        case("targets that are not there", "V 5.6.6.1", host::bad_target),
        case("units that are not there", "S 6.4.2, 4.5.11", host::no_unit),
        case("both ways to address a unit", "V 5.6.6.1", host::addressing),
        case("task management", "V 5.6.6.2", host::functions),
        case("a unit is reset", "V 5.6.6.2; S 5.14.2", host::unit_reset),
        case("asynchronous notifications", "V 5.6.6.2", host::notifications),
        case("a reset of the device", "V 5.6.5", host::reset),
        case("INQUIRY", "S 6.4", commands::inquiry),
        case("vital product data", "S 7.8", commands::vital),
        case("block limits", "B 6.6.3", commands::limits),
        case("provisioning", "B 6.6.4", commands::provisioning),
        case("REPORT LUNS", "S 6.33", commands::report_luns),
        case("REQUEST SENSE", "S 6.39", commands::request_sense),
        case("READ CAPACITY", "B 5.15, 5.16", commands::capacity),
        case("reads of all lengths", "B 5.10 to 5.13", commands::reads),
        case("a write", "B 5.33", commands::write),
        case("writes of all lengths", "B 5.32 to 5.35", commands::writes),
        case("beyond the end", "B 4.5.1", commands::beyond),
        case("commands that are not there", "S 4.3", commands::unknown),
        case("SYNCHRONIZE CACHE", "B 5.22", commands::flush),
        case("WRITE SAME", "B 5.45", commands::write_same),
        case("UNMAP", "B 5.28", commands::unmap),
        case("VERIFY", "B 5.29", commands::verify),
        case("mode parameters", "S 6.11, 7.5", commands::mode_sense),
        case("the write cache", "B 6.4.5", commands::write_cache),
        case("mode parameters that cannot be", "S 6.9", commands::mode_select),
        case("commands that do nothing", "S 6.47; B 5.25", commands::nothing),
    ],
};
