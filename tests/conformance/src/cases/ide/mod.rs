//! The IDE controller PIIX3 and ATA disks: Intel 82371SB datasheet ("82371SB"), ATA/ATAPI-6 (T13/1410D), PCI 2.1.
//!
//! ATA's clauses of section 8 are named by their commands.

mod channel;
mod controller;
mod dma;
mod features;
mod identify;
mod pio;
mod registers;

pub(super) use channel::*;

use crate::case::{Case, Disk, Group, Setup, case};

/// Sectors of the disks.
const MASTER_SECTORS: u32 = 65536;
const SLAVE_SECTORS: u32 = 4096;

pub(super) const GROUP: Group = Group {
    device: "ide",
    about: "IDE controller PIIX3 and ATA disks",
    setup: Setup {
        disks: &[
            Disk::Hard { slot: 0, sectors: MASTER_SECTORS },
            Disk::Hard { slot: 1, sectors: SLAVE_SECTORS },
        ],
        args: &[],
    },
    cases: CASES,
};

/// What a sector of a disk holds at first.
fn sectors(lba: u64, count: u64) -> Vec<u8> {
    (lba * 512..(lba + count) * 512).map(Disk::byte).collect()
}

const CASES: &[Case] = &[
    case("PCI identity", "82371SB VID, DID, CLASSC, HEADT (function 1); PCI 2.1 6.2.1", controller::identity),
    case(
        "configuration after reset",
        "82371SB PCICMD, PCISTS, BMIBA, IDETIM, SIDETIM: default values",
        controller::after_reset,
    ),
    case("BAR4 is sixteen ports", "82371SB BMIBA (function 1, 20h); PCI 2.1 6.2.5.1", controller::bar4),
    case(
        "no other BAR",
        "82371SB configuration registers of function 1; PCI 2.1 6.2.5.1",
        controller::other_bars,
    ),
    case("command register", "82371SB PCICMD (function 1, 04h)", controller::command),
    case(
        "timing registers hold what is written",
        "82371SB IDETIM (40h, 42h), SIDETIM (44h)",
        controller::timing,
    ),
    case("bus master after reset", "82371SB BMICX, BMISX, BMIDTPX", controller::master_reset),
    case("bus master command", "82371SB BMICX (base + 0)", controller::master_command),
    case("bus master status", "82371SB BMISX (base + 2)", controller::master_status),
    case("descriptor table pointer", "82371SB BMIDTPX (base + 4)", controller::master_table),
    case("bus master moves with BAR4", "82371SB PCICMD bit 0, BMIBA", controller::moves),
    case("a reset clears the controller", "82371SB function 1: default values", controller::reset),
    case("signature after power-on", "ATA/ATAPI-6 9.1; 9, signature and persistence", registers::signature),
    case("task file holds what is written", "ATA/ATAPI-6 7.8-7.13", registers::hold),
    case("both drives take what is written", "ATA/ATAPI-6 7.1, 7.6", registers::both),
    case("device register selects", "ATA/ATAPI-6 7.6", registers::select),
    case("alternate status does not acknowledge", "ATA/ATAPI-6 7.2, 7.14", registers::alternate),
    case(
        "HOB shows what was written before",
        "ATA/ATAPI-6 6, 48-bit Address feature set; 7, Device Control, HOB",
        registers::hob,
    ),
    case("an empty channel is not busy", "ATA/ATAPI-6 7.14; 4, DD7 pull-down", registers::empty),
    case("EXECUTE DEVICE DIAGNOSTIC", "ATA/ATAPI-6 8 EXECUTE DEVICE DIAGNOSTIC", registers::diagnostic),
    case("software reset", "ATA/ATAPI-6 7, Device Control, SRST; 9.2", registers::software_reset),
    case("software reset ends a command", "ATA/ATAPI-6 9.2", registers::reset_in_command),
    case("nIEN keeps the interrupt down", "ATA/ATAPI-6 7, Device Control, nIEN", registers::no_interrupt),
    case("a command takes the interrupt down", "ATA/ATAPI-6 5, INTRQ", registers::command_acknowledges),
    case("interrupt vector", "ATA/ATAPI-6 5, INTRQ; 82371SB IDE interface", registers::vector),
    case("unknown commands abort", "ATA/ATAPI-6 7.3, 7.8 ABRT", registers::unknown),
    case("NOP aborts", "ATA/ATAPI-6 8 NOP", registers::nop),
    case(
        "packet commands abort on a disk",
        "ATA/ATAPI-6 8 PACKET, IDENTIFY PACKET DEVICE",
        registers::packet,
    ),
    case("reset in a command", "ATA/ATAPI-6 9.1", registers::machine_reset),
    case("IDENTIFY DEVICE protocol", "ATA/ATAPI-6 8 IDENTIFY DEVICE, 9.5", identify::protocol),
    case(
        "IDENTIFY DEVICE: capacity",
        "ATA/ATAPI-6 8 IDENTIFY DEVICE, words 60-61, 100-103",
        identify::capacity,
    ),
    case(
        "IDENTIFY DEVICE: geometry",
        "ATA/ATAPI-6 6.2; ATA-5 IDENTIFY DEVICE, words 1-6, 53-58",
        identify::geometry,
    ),
    case(
        "IDENTIFY DEVICE: capabilities",
        "ATA/ATAPI-6 8 IDENTIFY DEVICE, words 0, 49-53",
        identify::capabilities,
    ),
    case(
        "IDENTIFY DEVICE: transfer modes",
        "ATA/ATAPI-6 8 IDENTIFY DEVICE, words 63-68, 88",
        identify::modes,
    ),
    case("IDENTIFY DEVICE: command sets", "ATA/ATAPI-6 8 IDENTIFY DEVICE, words 80-87", identify::sets),
    case("IDENTIFY DEVICE: names", "ATA/ATAPI-6 8 IDENTIFY DEVICE, words 10-19, 23-46", identify::names),
    case("IDENTIFY DEVICE: integrity word", "ATA/ATAPI-6 8 IDENTIFY DEVICE, word 255", identify::checksum),
    case("IDENTIFY DEVICE: the rest", "ATA/ATAPI-6 8 IDENTIFY DEVICE", identify::rest),
    case("READ SECTOR(S), one", "ATA/ATAPI-6 8 READ SECTOR(S), 9.5", pio::read_one),
    case("READ SECTOR(S), many", "ATA/ATAPI-6 8 READ SECTOR(S), 9.5", pio::read_many),
    case("a count of zero is 256 sectors", "ATA/ATAPI-6 8 READ SECTOR(S)", pio::read_256),
    case("READ SECTOR(S) by cylinder, head, sector", "ATA/ATAPI-5 6.2", pio::read_chs),
    case("sector 0 of a track does not exist", "ATA/ATAPI-5 6.2", pio::chs_sector_0),
    case(
        "READ SECTOR(S) EXT",
        "ATA/ATAPI-6 8 READ SECTOR(S) EXT; 6, 48-bit Address feature set",
        pio::read_ext,
    ),
    case("data port, four bytes wide", "82371SB IDE interface; ATA/ATAPI-6 7.5", pio::wide),
    case("data port without DRQ", "ATA/ATAPI-6 7.5", pio::idle_port),
    case("WRITE SECTOR(S)", "ATA/ATAPI-6 8 WRITE SECTOR(S), 9.6", pio::write),
    case("WRITE SECTOR(S) EXT", "ATA/ATAPI-6 8 WRITE SECTOR(S) EXT", pio::write_ext),
    case("the slave is another disk", "ATA/ATAPI-6 7.6", pio::slave),
    case("SET MULTIPLE MODE", "ATA/ATAPI-6 8 SET MULTIPLE MODE", pio::set_multiple),
    case("READ MULTIPLE", "ATA/ATAPI-6 8 READ MULTIPLE", pio::read_multiple),
    case("WRITE MULTIPLE", "ATA/ATAPI-6 8 WRITE MULTIPLE", pio::write_multiple),
    case("beyond the end", "ATA/ATAPI-6 7.8 IDNF; 8 READ SECTOR(S)", pio::beyond),
    case("writing beyond the end", "ATA/ATAPI-6 7.8 IDNF; 8 WRITE SECTOR(S)", pio::write_beyond),
    case("READ VERIFY SECTOR(S)", "ATA/ATAPI-6 8 READ VERIFY SECTOR(S)", pio::verify),
    case("SEEK", "ATA/ATAPI-6 8 SEEK", pio::seek),
    case("FLUSH CACHE", "ATA/ATAPI-6 8 FLUSH CACHE, FLUSH CACHE EXT", features::flush),
    case("SET FEATURES: transfer mode", "ATA/ATAPI-6 8 SET FEATURES, 03h", features::transfer_mode),
    case("SET FEATURES: write cache", "ATA/ATAPI-6 8 SET FEATURES, 02h and 82h", features::write_cache),
    case("SET FEATURES: unknown", "ATA/ATAPI-6 8 SET FEATURES", features::unknown),
    case("INITIALIZE DEVICE PARAMETERS", "ATA/ATAPI-5 8 INITIALIZE DEVICE PARAMETERS", features::parameters),
    case("READ NATIVE MAX ADDRESS", "ATA/ATAPI-6 8 READ NATIVE MAX ADDRESS (EXT)", features::native_max),
    case("power management", "ATA/ATAPI-6 8 CHECK POWER MODE, IDLE, STANDBY", features::power),
    case("SMART status", "ATA/ATAPI-6 8 SMART RETURN STATUS", features::smart_status),
    case("SMART data", "ATA/ATAPI-6 8 SMART READ DATA", features::smart_data),
    case("SMART off, and a wrong key", "ATA/ATAPI-6 8 SMART DISABLE OPERATIONS", features::smart_off),
    case("READ DMA", "ATA/ATAPI-6 8 READ DMA; 82371SB BMICX, BMISX, BMIDTPX", dma::read),
    case("WRITE DMA", "ATA/ATAPI-6 8 WRITE DMA; 82371SB BMICX, BMISX, BMIDTPX", dma::write),
    case("DMA to and from the slave", "ATA/ATAPI-6 8 READ DMA", dma::slave),
    case("READ DMA EXT", "ATA/ATAPI-6 8 READ DMA EXT", dma::read_ext),
    case("WRITE DMA EXT", "ATA/ATAPI-6 8 WRITE DMA EXT", dma::write_ext),
    case("engine started before the command", "82371SB BMICX bit 0", dma::engine_first),
    case("scatter", "82371SB bus master function: PRD format", dma::scatter),
    case("gather", "82371SB bus master function: PRD format", dma::gather),
    case(
        "up to the end of a 64 KiB page",
        "82371SB bus master function: a region does not cross 64 KiB",
        dma::page_end,
    ),
    case("a byte count of zero is 64 KiB", "82371SB bus master function: PRD byte count", dma::zero_count),
    case(
        "a table that is longer than the command",
        "82371SB bus master function: interrupt and active bits",
        dma::longer,
    ),
    case(
        "a table that is shorter than the command",
        "82371SB bus master function: interrupt and active bits",
        dma::shorter,
    ),
    case("a region that is not RAM", "82371SB BMISX bit 1", dma::no_ram),
    case("the engine is not allowed to", "82371SB PCICMD bit 2", dma::not_master),
    case("bus master status is acknowledged", "82371SB BMISX bit 2", dma::acknowledge),
    case("stop before the end", "82371SB BMICX bit 0", dma::stop),
    case("DMA beyond the end", "ATA/ATAPI-6 8 READ DMA; 7.8 IDNF", dma::beyond),
    case("DMA with nIEN", "ATA/ATAPI-6 7, Device Control, nIEN", dma::no_interrupt),
    case("an interrupt of PIO marks the bus master", "82371SB BMISX bit 2", dma::pio_marks),
    case("reset in a transfer", "82371SB BMICX, BMISX, BMIDTPX", dma::reset),
];
