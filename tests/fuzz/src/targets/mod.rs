//! The targets by name.

mod blkback;
mod devices;
mod ehci;
mod files;
mod flash;
mod flight;
mod ftdi;
mod guest;
mod hda;
mod hub;
mod ioreq;
mod link;
mod monitor;
mod names;
mod network;
mod nic;
mod ohci;
mod pam;
mod recording;
mod saved;
mod scsi;
mod sound;
mod uas;
mod uhci;
mod usernet;
mod vhost_user;
mod virtio;
mod vnc;
mod web;
mod words;
mod xenstore;
mod xhci;

use std::hash::{DefaultHasher, Hash, Hasher};

/// One target.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Takes an input. What it gives stands for what happened: the same number, nothing new. Panics if we are at fault.
    pub run: fn(&[u8]) -> u64,
    /// Inputs to begin with, which lead deep.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "ioreq", run: ioreq::run, seeds: ioreq::seeds },
    Target { name: "stream", run: files::stream, seeds: files::stream_seeds },
    Target { name: "recording", run: recording::run, seeds: recording::seeds },
    Target { name: "state", run: devices::state, seeds: devices::state_seeds },
    Target { name: "qcow2", run: files::qcow2, seeds: files::qcow2_seeds },
    Target { name: "xlcfg", run: files::xlcfg, seeds: files::xlcfg_seeds },
    Target { name: "qmp", run: monitor::run, seeds: monitor::seeds },
    Target { name: "vnc", run: vnc::run, seeds: vnc::seeds },
    Target { name: "http", run: web::http, seeds: web::http_seeds },
    Target { name: "websocket", run: web::websocket, seeds: web::websocket_seeds },
    Target { name: "qtest", run: words::qtest, seeds: words::qtest_seeds },
    Target { name: "argv", run: words::argv, seeds: words::argv_seeds },
    Target { name: "human", run: words::human, seeds: words::human_seeds },
    Target { name: "kernel", run: words::kernel, seeds: words::kernel_seeds },
    Target { name: "guest", run: guest::run, seeds: guest::seeds },
    Target { name: "tiers", run: guest::tiers, seeds: guest::tiers_seeds },
    Target { name: "saved", run: saved::run, seeds: saved::seeds },
    Target { name: "cpu", run: saved::cpu, seeds: saved::cpu_seeds },
    Target { name: "blkback", run: blkback::run, seeds: blkback::seeds },
    Target { name: "xenstore", run: xenstore::run, seeds: xenstore::seeds },
    Target { name: "link", run: link::run, seeds: link::seeds },
    Target { name: "pam", run: pam::run, seeds: pam::seeds },
    Target { name: "flight", run: flight::run, seeds: flight::seeds },
    Target { name: "flash", run: flash::run, seeds: flash::seeds },
    Target { name: "scsi", run: scsi::run, seeds: scsi::seeds },
    Target { name: "uhci", run: uhci::run, seeds: uhci::seeds },
    Target { name: "usb-hub", run: hub::run, seeds: hub::seeds },
    Target { name: "usb-serial", run: ftdi::run, seeds: ftdi::seeds },
    Target { name: "usb-uas", run: uas::run, seeds: uas::seeds },
    Target { name: "ohci", run: ohci::run, seeds: ohci::seeds },
    Target { name: "ehci", run: ehci::run, seeds: ehci::seeds },
    Target { name: "xhci", run: xhci::run, seeds: xhci::seeds },
    Target { name: "hda", run: hda::run, seeds: hda::seeds },
    Target { name: "ac97", run: sound::ac97, seeds: sound::ac97_seeds },
    Target { name: "es1370", run: sound::es1370, seeds: sound::es1370_seeds },
    Target { name: "e1000", run: nic::e1000, seeds: nic::e1000_seeds },
    Target { name: "e1000e", run: nic::e1000e, seeds: nic::e1000e_seeds },
    Target { name: "rtl8139", run: nic::rtl8139, seeds: nic::rtl8139_seeds },
    Target { name: "virtio-net", run: nic::virtio_net, seeds: nic::virtio_net_seeds },
    Target { name: "vhost-user", run: vhost_user::run, seeds: vhost_user::seeds },
    Target { name: "virtio", run: virtio::run, seeds: virtio::seeds },
    Target { name: "framing", run: network::framing, seeds: network::framing_seeds },
    Target { name: "netdev", run: network::netdev, seeds: network::netdev_seeds },
    Target { name: "usernet", run: usernet::run, seeds: usernet::seeds },
    Target { name: "names", run: names::run, seeds: names::seeds },
    Target { name: "chipset", run: devices::chipset, seeds: devices::script_seeds },
    Target { name: "clocks", run: devices::clocks, seeds: devices::script_seeds },
    Target { name: "storage", run: devices::storage, seeds: devices::script_seeds },
    Target { name: "display", run: devices::display, seeds: devices::script_seeds },
    Target { name: "cirrus", run: devices::cirrus, seeds: devices::script_seeds },
    Target { name: "linear", run: devices::linear, seeds: devices::script_seeds },
    Target { name: "input", run: devices::input, seeds: devices::script_seeds },
    Target { name: "xen", run: devices::xen, seeds: devices::script_seeds },
];

/// What stands for an outcome: numbers in its text are left out, or every byte would be news.
fn outcome(parts: impl Hash, text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    text.chars().filter(|c| c.is_alphabetic()).for_each(|c| c.hash(&mut hasher));
    hasher.finish()
}
