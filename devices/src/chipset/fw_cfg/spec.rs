//! Ports and keys of QEMU's firmware configuration device (QEMU documentation, "QEMU Firmware
//! Configuration (fw_cfg) Device").

/// First port: selector, data, two unused, then the DMA address.
pub const BASE: u16 = 0x510;
/// Offset of the DMA address register in its region.
pub const DMA_BASE: u16 = 0x514;

/// Key bits that choose an item; bit 14 once meant writing and is ignored.
pub const KEY_MASK: u16 = 0x3fff;
/// Key bit: the architecture's own items.
pub const KEY_ARCH: u16 = 0x8000;
/// Key of the signature.
pub const KEY_SIGNATURE: u16 = 0x00;
/// Key of the interface's features.
pub const KEY_ID: u16 = 0x01;
/// Key of the file directory.
pub const KEY_DIRECTORY: u16 = 0x19;
/// Key of the first file.
pub const KEY_FIRST_FILE: u16 = 0x20;

/// Content of the signature item.
pub const SIGNATURE: &[u8] = b"QEMU";
/// Features: the ports, and DMA.
pub const ID: [u8; 4] = [3, 0, 0, 0];
/// What the DMA address register reads as.
pub const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";

/// Longest file name, without the zero that ends it.
pub const NAME_MAX: usize = 55;

/// DMA control: set by the device when the request failed.
pub const DMA_ERROR: u32 = 1 << 0;
/// DMA control: copy from the item.
pub const DMA_READ: u32 = 1 << 1;
/// DMA control: move on in the item.
pub const DMA_SKIP: u32 = 1 << 2;
/// DMA control: choose the item in the upper half first.
pub const DMA_SELECT: u32 = 1 << 3;
/// DMA control: copy to the item.
pub const DMA_WRITE: u32 = 1 << 4;

/// Most zeros that one DMA read gives past the end of an item. QEMU gives up to 4 GiB; no firmware reads
/// on like that, and filling all of RAM would hold up the vCPU.
pub const DMA_PADDING_MAX: u32 = 1 << 20;
