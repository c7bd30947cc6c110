//! Saved state: resources with their pixels, and what the heads show of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use devices_core::StateError;
use devices_core::dma::Dma;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::common::Common;
use super::backing::{Backing, VideoMemory};
use super::heads::{Cursor, Head, Rect, Scanout, Shape};
use super::image::{Format, Image, SIDE_MAX};
use super::spec::{CURSOR, ENTRIES_MAX, PIXEL};
use super::{Gpu, Resource};

/// Saved form of the device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    events: u32,
    heads: Vec<HeadState>,
    resources: Vec<ResourceState>,
    /// Something has been shown since the driver reset the device.
    #[serde(default)]
    used: bool,
    /// When it goes on, in nanoseconds of guest time.
    #[serde(deserialize_with = "Option::deserialize")]
    goes_on: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct HeadState {
    connected: bool,
    wanted: (u32, u32),
    /// The resource, and which part of it: left, top, width, height.
    #[serde(deserialize_with = "Option::deserialize")]
    scanout: Option<(u32, [u32; 4])>,
    cursor: (i32, i32),
    /// The pointer's format and pixels.
    #[serde(deserialize_with = "Option::deserialize")]
    shape: Option<(u32, ByteBuf)>,
    /// The pixel of it that points; before it was kept, its corner.
    #[serde(default)]
    hot: (u16, u16),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ResourceState {
    id: u32,
    size: (u32, u32),
    format: u32,
    /// None at all: they are 0.
    pixels: ByteBuf,
    /// Addresses and lengths; bit 63 of an address: it is in the VGA's memory.
    #[serde(deserialize_with = "Option::deserialize")]
    backing: Option<Vec<(u64, u32)>>,
}

pub(super) fn save(gpu: &Gpu) -> State {
    let Gpu {
        options: _,
        wiring: _,
        go_on: _,
        goes_on,
        resources,
        hostmem: _,
        heads,
        video: _,
        events,
        work: _,
        chain: _,
        quiet: _,
    } = gpu;
    State {
        events: *events,
        heads: heads.lock().iter().map(save_head).collect(),
        resources: resources.iter().map(|(id, resource)| save_resource(*id, resource)).collect(),
        used: heads.is_used(),
        goes_on: *goes_on,
    }
}

fn save_head(head: &Head) -> HeadState {
    let Cursor { shape, x, y } = head.cursor();
    let part = |Rect { x, y, width, height }| [x, y, width, height];
    HeadState {
        connected: head.connected,
        wanted: head.wanted,
        scanout: head.scanout().map(|scanout| (scanout.resource, part(scanout.rect))),
        cursor: (*x, *y),
        shape: shape
            .as_ref()
            .map(|shape| (shape.format.number(), ByteBuf::from(shape.pixels.as_flattened().to_vec()))),
        hot: shape.as_ref().map_or((0, 0), |shape| shape.seen.hot),
    }
}

fn save_resource(id: u32, Resource { image, backing }: &Resource) -> ResourceState {
    ResourceState {
        id,
        size: image.size(),
        format: image.format().number(),
        pixels: ByteBuf::from(image.save()),
        backing: backing.as_ref().map(|backing| backing.all().collect()),
    }
}

pub(super) fn load(gpu: &mut Gpu, common: &mut Common, state: State) -> Result<(), StateError> {
    let State { events, heads, resources, used, goes_on } = state;
    gpu.clear();
    valid(heads.len() == gpu.options.outputs, "the device has another number of heads")?;
    for resource in resources {
        let id = resource.id;
        let room = gpu.options.max_hostmem - gpu.hostmem;
        let resource = load_resource(resource, room, common.dma(), gpu.video.as_ref())?;
        gpu.hostmem += resource.cost();
        valid(id != 0 && gpu.resources.insert(id, resource).is_none(), "two resources are one")?;
    }
    for (head, state) in gpu.heads.lock().iter_mut().zip(heads) {
        load_head(head, state, &gpu.resources)?;
    }
    gpu.heads.set_used(used);
    gpu.events = events;
    gpu.set_go_on(goes_on);
    Ok(())
}

fn load_resource(
    state: ResourceState,
    room: u64,
    dma: &Dma,
    video: Option<&VideoMemory>,
) -> Result<Resource, StateError> {
    let ResourceState { id: _, size, format, pixels, backing } = state;
    let format = Format::new(format).ok_or_else(|| StateError::Invalid("pixels have no format".into()))?;
    valid(Image::bytes(size) <= room, "the resources are larger than the device has memory")?;
    let image = Image::new(size, format);
    let mut image = image.ok_or_else(|| StateError::Invalid("a resource has no such size".into()))?;
    valid(image.load(pixels.into_vec()), "pixels and size of a resource differ")?;
    // Bus mastering is as it was.
    let dma = Dma::always(dma.ram().clone());
    let backing = backing.map(|entries| {
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        valid((1..=ENTRIES_MAX).contains(&count), "a backing has no such number of parts")?;
        let backing = Backing::load(entries.into_iter(), &dma, video);
        backing.ok_or_else(|| StateError::Invalid("a backing is not in RAM".into()))
    });
    let resource = Resource { image: Arc::new(image), backing: backing.transpose()? };
    valid(resource.cost() <= room, "the resources are larger than the device has memory")?;
    Ok(resource)
}

fn load_head(
    head: &mut Head,
    state: HeadState,
    resources: &BTreeMap<u32, Resource>,
) -> Result<(), StateError> {
    let HeadState { connected, wanted, scanout, cursor: (x, y), shape, hot } = state;
    let side = 1..=SIDE_MAX;
    valid(side.contains(&wanted.0) && side.contains(&wanted.1), "a monitor has no such size")?;
    (head.connected, head.wanted) = (connected, wanted);
    let scanout = scanout.map(|(resource, [x, y, width, height])| {
        let rect = Rect { x, y, width, height };
        let found = resources.get(&resource).filter(|found| rect.is_in(found.image.size()));
        let image = found.filter(|_| width > 0 && height > 0).map(|found| found.image.clone());
        let image = image.ok_or_else(|| StateError::Invalid("a head shows what is not there".into()))?;
        Ok::<_, StateError>(Scanout { resource, image, rect })
    });
    head.show(scanout.transpose()?);
    let shape = shape.map(|(format, pixels)| {
        let (pixels, rest) = pixels.as_chunks::<PIXEL>();
        let whole = pixels.len() == (CURSOR * CURSOR) as usize && rest.is_empty();
        let format = Format::new(format).filter(|_| whole);
        let format = format.ok_or_else(|| StateError::Invalid("a pointer has no such shape".into()))?;
        Ok::<_, StateError>(Shape::new(format, pixels.into(), (hot.0.into(), hot.1.into())))
    });
    head.point(Cursor { shape: shape.transpose()?, x, y });
    Ok(())
}
