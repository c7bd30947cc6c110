//! The cases, a file a device.

mod ac97;
mod atapi;
mod cirrus;
mod debugcon;
mod dma8237;
mod e1000;
mod e1000e;
mod ehci;
mod es1370;
mod fw_cfg;
mod hda;
mod hpet;
mod i440fx;
mod i6300esb;
mod i8042;
mod ide;
mod input;
mod ioapic;
mod linear;
mod ne2000;
mod ohci;
mod pc_testdev;
mod pci_serial;
mod pflash;
mod pic;
mod piix3;
mod piix4_pm;
mod pit;
mod port92;
mod ps2;
mod pvpanic_pci;
mod rtc;
mod rtl8139;
mod serial;
mod tools;
mod uart;
mod uhci;
mod vga;
mod virtio_balloon;
mod virtio_blk;
mod virtio_gpu;
mod virtio_input;
mod virtio_net;
mod virtio_rng;
mod virtio_scsi;
mod virtio_serial;
mod virtio_vsock;
mod xhci;

use crate::case::Group;

/// All groups, in the order in which they are shown.
pub const GROUPS: &[Group] = &[
    tools::GROUP,
    i440fx::GROUP,
    piix3::GROUP,
    piix4_pm::GROUP,
    port92::GROUP,
    pic::GROUP,
    ioapic::GROUP,
    pit::GROUP,
    rtc::GROUP,
    hpet::GROUP,
    dma8237::GROUP,
    i8042::GROUP,
    ps2::GROUP,
    input::GROUP,
    uart::GROUP,
    serial::GROUP,
    ide::GROUP,
    atapi::GROUP,
    vga::GROUP,
    cirrus::GROUP,
    linear::GROUP,
    rtl8139::GROUP,
    uhci::GROUP,
    uhci::hub::GROUP,
    uhci::serial::GROUP,
    ohci::GROUP,
    ehci::GROUP,
    ehci::uas::GROUP,
    xhci::GROUP,
    hda::GROUP,
    ac97::GROUP,
    es1370::GROUP,
    fw_cfg::GROUP,
    debugcon::GROUP,
    e1000::GROUP,
    e1000e::GROUP,
    ne2000::GROUP,
    pc_testdev::GROUP,
    pflash::GROUP,
    pci_serial::GROUP,
    pvpanic_pci::GROUP,
    i6300esb::GROUP,
    virtio_blk::GROUP,
    virtio_net::GROUP,
    virtio_net::pairs::GROUP,
    virtio_net::hashes::GROUP,
    virtio_scsi::GROUP,
    virtio_serial::GROUP,
    virtio_gpu::GROUP,
    virtio_input::GROUP,
    virtio_balloon::GROUP,
    virtio_rng::GROUP,
    virtio_vsock::GROUP,
];
