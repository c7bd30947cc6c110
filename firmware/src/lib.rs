#![forbid(unsafe_code)]
//! What the guest boots: the BIOS image, and everything the BIOS is told about the machine.
//!
//! Nothing here touches a device. The crate turns [`MachineInfo`] into the files and keys of QEMU's firmware
//! configuration device (fw_cfg), which SeaBIOS and OVMF read: ACPI tables with their linker script, SMBIOS structures,
//! the memory map, the boot order, and a kernel that was given on the command line.
//!
//! | module | what |
//! |---|---|
//! | [`locate`] | finds BIOS and VGA BIOS images and checks that they are some |
//! | [`info`] | what the tables must know of the machine; fw_cfg's keys and items |
//! | [`items`] | all items of a machine |
//! | [`acpi`] | ACPI 2.0 tables and the script that relocates them |
//! | [`smbios`] | SMBIOS 2.8 structures |
//! | [`kernel`] | direct kernel boot: the bzImage, and our option ROM that starts it |
//! | [`boot_order`] | the firmware's names of bootable devices |

pub mod acpi;
pub mod boot_order;
pub mod info;
pub mod items;
pub mod kernel;
pub mod locate;
pub mod smbios;

pub use info::{FwCfgKey, Item, MachineInfo};
pub use items::fw_cfg_items;
pub use kernel::DirectKernel;
