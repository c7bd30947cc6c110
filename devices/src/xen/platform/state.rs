//! Saved state of the platform device.

use devices_core::pci::PciState;
use devices_core::{Saved, StateError, deferred};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Platform, Unplug, spec};

const KIND: &str = "xen-platform";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    flags: u8,
    product: u16,
    build: u32,
    refused: bool,
    /// What has been unplugged since power-on.
    unplugged: u8,
    /// The line of the log that has begun.
    line: ByteBuf,
}

pub(super) fn save(device: &Platform) -> Result<Saved, StateError> {
    // The rate of the log protects this host alone.
    let Platform {
        pci,
        flags,
        product,
        build,
        refused,
        unplugged,
        lines,
        rate: _,
        regions: _,
        host: _,
        wiring: _,
    } = device;
    let state = State {
        pci: pci.save(),
        flags: *flags,
        product: *product,
        build: *build,
        refused: *refused,
        unplugged: unplugged.bits(),
        line: ByteBuf::from(lines.begun()),
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(device: &mut Platform, saved: &Saved) -> Result<(), StateError> {
    let State { pci, flags, product, build, refused, unplugged, line } = saved.decode(KIND, VERSION)?;
    device.pci.load(&pci)?;
    device.lines.load(line.into_vec())?;
    device.set_flags(flags & spec::ROM_LOCK);
    device.product = product;
    device.build = build;
    device.refused = refused;
    device.unplugged = Unplug::from_bits_truncate(unplugged);
    if !device.unplugged.is_empty() {
        let (done, _) = deferred();
        device.host.unplug(device.unplugged, done);
    }
    Ok(())
}
