//! What can be set on every virtio device on PCI, in QEMU's words.

use devices_core::model::{Default as Usually, Kind, Properties, Property, PropertyError};

use super::super::spec::feature;
use super::{Options, USUAL_FEATURES, spec};

const fn switch(name: &'static str, on: bool, help: &'static str) -> Property {
    Property { name, kind: Kind::Bool, default: Usually::Bool(on), help }
}

/// Vectors for MSI-X.
pub const VECTORS: Property = Property {
    name: "vectors",
    kind: Kind::Uint(32),
    default: Usually::None,
    help: "MSI-X vectors; 0: there is no MSI-X",
};
/// No legacy registers.
pub const DISABLE_LEGACY: Property = Property {
    name: "disable-legacy",
    kind: Kind::Text,
    default: Usually::None,
    help: "on: drivers of before version 1 cannot use it; off; auto: off",
};
/// No structures of version 1.
pub const DISABLE_MODERN: Property =
    switch("disable-modern", false, "drivers of before version 1 alone can use it");
/// Tables of descriptors.
pub const INDIRECT_DESC: Property = switch("indirect_desc", true, "descriptors may be in tables elsewhere");
/// Event index.
pub const EVENT_IDX: Property =
    switch("event_idx", true, "each side says when it wants to hear of the other");
/// Legacy interrupts.
pub const NOTIFY_ON_EMPTY: Property =
    switch("notify_on_empty", true, "old drivers hear of a queue that is empty");
/// Layout of requests.
pub const ANY_LAYOUT: Property = switch("any_layout", true, "old drivers may cut requests as they like");
/// Packed queues.
pub const PACKED: Property = switch("packed", false, "queues may be packed");
/// Requests are given back in the order in which they came.
pub const IN_ORDER: Property = switch("in_order", false, "requests are given back in their order");
/// What a notification says.
pub const NOTIFICATION_DATA: Property =
    switch("notification_data", false, "a notification says how far the driver has come");
/// Reset of one queue.
pub const QUEUE_RESET: Property = switch("queue_reset", true, "one queue can be reset");
/// Doorbells.
pub const IOEVENTFD: Property = switch("ioeventfd", true, "taken for QEMU's sake");
/// There is no IOMMU.
pub const IOMMU_PLATFORM: Property = switch("iommu_platform", false, "there is no IOMMU: off");

/// A device's own properties, and with them what every virtio device on PCI has.
macro_rules! properties_of {
    ($($own:expr),+ $(,)?) => {
        &[
            $($own,)+
            $crate::virtio::pci::properties::VECTORS,
            $crate::virtio::pci::properties::DISABLE_LEGACY,
            $crate::virtio::pci::properties::DISABLE_MODERN,
            $crate::virtio::pci::properties::INDIRECT_DESC,
            $crate::virtio::pci::properties::EVENT_IDX,
            $crate::virtio::pci::properties::NOTIFY_ON_EMPTY,
            $crate::virtio::pci::properties::ANY_LAYOUT,
            $crate::virtio::pci::properties::PACKED,
            $crate::virtio::pci::properties::IN_ORDER,
            $crate::virtio::pci::properties::NOTIFICATION_DATA,
            $crate::virtio::pci::properties::QUEUE_RESET,
            $crate::virtio::pci::properties::IOEVENTFD,
            $crate::virtio::pci::properties::IOMMU_PLATFORM,
        ]
    };
}
pub(in crate::virtio) use properties_of;

/// Whether they make sense together.
pub fn check(properties: &Properties) -> Result<(), PropertyError> {
    let legacy = legacy(properties)?;
    if legacy == Some(false) && properties.is_on("disable-modern") {
        return Err(properties.invalid("disable-modern", "device cannot work as neither modern nor legacy"));
    }
    if properties.is_on("iommu_platform") {
        return Err(properties.invalid("iommu_platform", "there is no IOMMU"));
    }
    if properties.uint("vectors").is_some_and(|vectors| vectors > spec::VECTORS_MAX.into()) {
        return Err(properties.invalid("vectors", format!("at most {}", spec::VECTORS_MAX)));
    }
    Ok(())
}

/// Whether there are legacy registers; none: nobody said.
fn legacy(properties: &Properties) -> Result<Option<bool>, PropertyError> {
    match properties.text("disable-legacy") {
        None | Some("auto") => Ok(None),
        Some("on" | "yes" | "true") => Ok(Some(false)),
        Some("off" | "no" | "false") => Ok(Some(true)),
        Some(_) => Err(properties.invalid("disable-legacy", "expected on, off or auto")),
    }
}

/// How a device with these properties presents itself, with so many vectors if nobody said how many. A device of a type
/// that came with version 1 has no legacy registers, whatever is said.
pub fn options(properties: &Properties, vectors: u16) -> Options {
    let name = properties.model().name;
    let legacy = match name {
        _ if name.ends_with("-non-transitional") => false,
        _ => legacy(properties).ok().flatten().unwrap_or(true),
    };
    let asked = properties.uint("vectors").and_then(|vectors| u16::try_from(vectors).ok());
    let mut features = USUAL_FEATURES;
    for (property, bit) in [
        (INDIRECT_DESC, feature::INDIRECT_DESC),
        (EVENT_IDX, feature::EVENT_IDX),
        (NOTIFY_ON_EMPTY, feature::NOTIFY_ON_EMPTY),
        (ANY_LAYOUT, feature::ANY_LAYOUT),
        (QUEUE_RESET, feature::RING_RESET),
    ] {
        if !properties.is_on(property.name) {
            features &= !bit;
        }
    }
    for (property, bit) in [
        (PACKED, feature::RING_PACKED),
        (IN_ORDER, feature::IN_ORDER),
        (NOTIFICATION_DATA, feature::NOTIFICATION_DATA),
    ] {
        if properties.is_on(property.name) {
            features |= bit;
        }
    }
    Options {
        legacy,
        modern: !properties.is_on("disable-modern"),
        vectors: asked.unwrap_or(vectors),
        features,
    }
}
