//! A virtqueue, split or packed, as a device uses it (Virtio 1.3, 2.6 to 2.8).
//!
//! Whatever a driver writes into memory is read once. A chain that no driver may make (it loops, is longer than the
//! queue, points to what is no RAM, has tables in tables) is [`Broken`]: the device needs a reset then, as QEMU's does.

mod order;
mod packed;
mod split;
#[cfg(test)]
mod tests;

use devices_core::block::Segment;
use devices_core::dma::Dma;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::spec::{QUEUE_SIZE_MAX, feature};
use order::Order;
pub use order::Taken;
use packed::Packed;
pub use packed::PackedState;
use split::Split;
pub use split::SplitState;

/// The driver has written what no driver may write.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Broken(pub &'static str);

/// The buffers of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Which one it is to the driver: split, the first descriptor's number; packed, the buffer's id.
    id: u16,
    /// Places of a packed ring that it takes.
    slots: u16,
    /// What the device reads.
    pub readable: Vec<Segment>,
    /// What the device writes.
    pub writable: Vec<Segment>,
}

/// Saved form of a chain that is in flight.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChainState {
    id: u16,
    slots: u16,
    readable: Vec<Segment>,
    writable: Vec<Segment>,
}

impl Chain {
    /// Empty, with the memory that it has.
    fn clear(&mut self) {
        (self.id, self.slots) = (0, 0);
        self.readable.clear();
        self.writable.clear();
    }

    /// Adds a buffer, if a driver may put it there.
    fn add(&mut self, dma: &Dma, gpa: u64, len: u32, write: bool) -> Result<(), Broken> {
        if len == 0 {
            return Err(Broken("a buffer has no bytes"));
        }
        if self.readable.len() + self.writable.len() >= usize::from(QUEUE_SIZE_MAX) {
            return Err(Broken("a chain has too many buffers"));
        }
        if dma.validate(gpa, len.into()).is_err() {
            return Err(Broken("a buffer is not in RAM"));
        }
        match write {
            true => self.writable.push(Segment { gpa, len }),
            false if self.writable.is_empty() => self.readable.push(Segment { gpa, len }),
            false => return Err(Broken("a buffer to read follows one to write")),
        }
        Ok(())
    }

    /// Whether a queue of so many elements can have it.
    pub(super) fn fits(&self, size: u16) -> bool {
        self.slots <= size
    }

    /// Its saved form.
    pub fn save(&self) -> ChainState {
        let Chain { id, slots, readable, writable } = self.clone();
        ChainState { id, slots, readable, writable }
    }

    /// A saved one, if a driver of this memory could have made it.
    pub fn load(state: ChainState, dma: &Dma) -> Result<Chain, Broken> {
        let ChainState { id, slots, readable, writable } = state;
        let mut chain = Chain { id, slots, ..Chain::default() };
        // What it is checked against may not be there yet: bus mastering is as it was.
        let dma = Dma::always(dma.ram().clone());
        let all = readable.iter().map(|s| (s, false)).chain(writable.iter().map(|s| (s, true)));
        for (segment, write) in all {
            chain.add(&dma, segment.gpa, segment.len, write)?;
        }
        Ok(chain)
    }
}

/// Bytes of these buffers.
pub fn len(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.len)).sum()
}

/// Fills `data` from the front of these buffers and leaves the rest of them. False: there are fewer bytes, or no RAM.
pub fn take(dma: &Dma, segments: &mut Vec<Segment>, data: &mut [u8]) -> bool {
    if len(segments) < data.len() as u64 {
        return false;
    }
    let (mut done, mut used) = (0, 0);
    for segment in segments.iter_mut() {
        let now = (segment.len as usize).min(data.len() - done);
        if dma.read(segment.gpa, &mut data[done..done + now]).is_err() {
            return false;
        }
        done += now;
        segment.gpa += now as u64;
        segment.len -= now as u32;
        if segment.len > 0 {
            break;
        }
        used += 1;
    }
    segments.drain(..used);
    true
}

/// Takes the first `len` bytes of these buffers off them, or as many as there are.
pub fn split_off(segments: &mut Vec<Segment>, len: u64) -> Vec<Segment> {
    let (mut left, mut first) = (len, Vec::new());
    segments.retain_mut(|segment| {
        let now = u64::from(segment.len).min(left);
        left -= now;
        if now > 0 {
            first.push(Segment { gpa: segment.gpa, len: now as u32 });
            segment.gpa += now;
            segment.len -= now as u32;
        }
        segment.len > 0
    });
    first
}

/// Takes the last byte of these buffers off them, and says where it is.
pub fn take_last(segments: &mut Vec<Segment>) -> Option<u64> {
    let last = segments.last_mut()?;
    last.len -= 1;
    let at = last.gpa + u64::from(last.len);
    if last.len == 0 {
        segments.pop();
    }
    Some(at)
}

/// Reads from `from` on. Gives how many bytes there were.
pub fn read_at(dma: &Dma, segments: &[Segment], from: u64, data: &mut [u8]) -> Option<usize> {
    each(segments, from, data.len(), |gpa, range| dma.read(gpa, &mut data[range]).is_ok())
}

/// Writes from `from` on. Gives how many bytes there was room for.
pub fn write_at(dma: &Dma, segments: &[Segment], from: u64, data: &[u8]) -> Option<usize> {
    each(segments, from, data.len(), |gpa, range| dma.write(gpa, &data[range]).is_ok())
}

fn each(
    segments: &[Segment],
    mut skip: u64,
    len: usize,
    mut copy: impl FnMut(u64, std::ops::Range<usize>) -> bool,
) -> Option<usize> {
    let mut done = 0;
    for segment in segments {
        let whole = u64::from(segment.len);
        if skip >= whole {
            skip -= whole;
            continue;
        }
        let now = ((whole - skip) as usize).min(len - done);
        if now == 0 {
            break;
        }
        if !copy(segment.gpa + skip, done..done + now) {
            return None;
        }
        (done, skip) = (done + now, 0);
    }
    Some(done)
}

/// Where a driver has put a queue. The three areas of a split queue are descriptor table, available ring, used ring; of
/// a packed one the ring, and what driver and device say of notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Elements.
    pub size: u16,
    /// Descriptor area.
    pub descriptors: u64,
    /// Driver area.
    pub driver: u64,
    /// Device area.
    pub device: u64,
}

enum Ring {
    Split(Split),
    Packed(Packed),
}

/// Saved form of the ring of a queue.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum RingState {
    /// Split.
    Split(SplitState),
    /// Packed.
    Packed(PackedState),
}

/// A queue that is enabled.
pub struct Queue {
    ring: Ring,
    /// What is to be given back in the order in which it came; none: anything may be at any time.
    order: Option<Order>,
    /// Something was used that the driver has not been asked about.
    used: bool,
}

impl Queue {
    /// A queue at that place, for a driver that has accepted these features.
    pub fn new(place: Place, features: u64) -> Result<Queue, Broken> {
        let ring = match features & feature::RING_PACKED {
            0 => Ring::Split(Split::new(place, features)?),
            _ => Ring::Packed(Packed::new(place, features)?),
        };
        let order = (features & feature::IN_ORDER != 0).then(|| Order::new(place.size));
        Ok(Queue { ring, order, used: false })
    }

    /// The features, which a legacy driver may accept later. The layout stays.
    pub fn set_features(&mut self, features: u64) {
        match &mut self.ring {
            Ring::Split(ring) => ring.set_features(features),
            Ring::Packed(ring) => ring.set_features(features),
        }
    }

    /// The next request. False: there is none.
    pub fn pop(&mut self, dma: &Dma, chain: &mut Chain) -> Result<bool, Broken> {
        chain.clear();
        let some = match &mut self.ring {
            Ring::Split(ring) => ring.pop(dma, chain),
            Ring::Packed(ring) => ring.pop(dma, chain),
        }?;
        if let (true, Some(order)) = (some, &mut self.order) {
            order.take(chain)?;
        }
        Ok(some)
    }

    /// Gives a request back, `written` bytes of which were written.
    pub fn push(&mut self, dma: &Dma, chain: &Chain, written: u32) -> Result<(), Broken> {
        if self.order.is_some() {
            return self.push_all(dma, &[(chain.clone(), written)]);
        }
        self.used = true;
        match &mut self.ring {
            Ring::Split(ring) => ring.push(dma, chain, written),
            Ring::Packed(ring) => ring.push(dma, chain, written),
        }
    }

    /// Gives back several requests, with how many bytes of each were written. The driver sees all of them or none.
    pub fn push_all(&mut self, dma: &Dma, all: &[(Chain, u32)]) -> Result<(), Broken> {
        let whole;
        let all = match &mut self.order {
            None => all,
            Some(order) => {
                whole = order.give(all);
                &whole
            }
        };
        self.used |= !all.is_empty();
        match &mut self.ring {
            Ring::Split(ring) => ring.push_all(dma, all),
            Ring::Packed(ring) => ring.push_all(dma, all),
        }
    }

    /// Whether requests were given back since this was last asked, and the driver wants an interrupt for that.
    pub fn wants_interrupt(&mut self, dma: &Dma) -> Result<bool, Broken> {
        if !std::mem::take(&mut self.used) {
            return Ok(false);
        }
        match &mut self.ring {
            Ring::Split(ring) => ring.wants_interrupt(dma),
            Ring::Packed(ring) => ring.wants_interrupt(dma),
        }
    }

    /// The driver need not notify: the device looks by itself.
    pub fn disable_notification(&mut self, dma: &Dma) -> Result<(), Broken> {
        match &mut self.ring {
            Ring::Split(ring) => ring.disable_notification(dma),
            Ring::Packed(ring) => ring.disable_notification(dma),
        }
    }

    /// The driver is to notify of the next request. True: there is one already.
    pub fn enable_notification(&mut self, dma: &Dma) -> Result<bool, Broken> {
        match &mut self.ring {
            Ring::Split(ring) => ring.enable_notification(dma),
            Ring::Packed(ring) => ring.enable_notification(dma),
        }
    }

    /// For the saved state.
    pub fn save(&self) -> RingState {
        match &self.ring {
            Ring::Split(ring) => RingState::Split(ring.save()),
            Ring::Packed(ring) => RingState::Packed(ring.save()),
        }
    }

    /// What of it must be given back in order, for the saved state.
    pub fn taken(&self) -> Vec<Taken> {
        self.order.as_ref().map_or_else(Vec::new, Order::save)
    }

    /// A saved one.
    pub fn load(place: Place, features: u64, state: RingState, taken: Vec<Taken>) -> Result<Queue, Broken> {
        let ring = match state {
            RingState::Split(state) => Ring::Split(Split::load(place, features, state)?),
            RingState::Packed(state) => Ring::Packed(Packed::load(place, features, state)?),
        };
        let order = match features & feature::IN_ORDER {
            0 if taken.is_empty() => None,
            0 => return Err(Broken("requests have an order that nobody agreed on")),
            _ => Some(Order::load(place.size, taken)?),
        };
        Ok(Queue { ring, order, used: false })
    }

    /// How far it has come, for people.
    pub fn progress(&self) -> String {
        match &self.ring {
            Ring::Split(ring) => {
                let SplitState { next_avail, next_used } = ring.save();
                format!("split, {next_avail} taken, {next_used} given back")
            }
            Ring::Packed(ring) => {
                let PackedState { avail, avail_wrap, used, used_wrap } = ring.save();
                let round = |wrap: bool| if wrap { "" } else { "'" };
                format!("packed, at {avail}{}, given back to {used}{}", round(avail_wrap), round(used_wrap))
            }
        }
    }
}
