//! Split virtqueues (Virtio 1.3, 2.7), on virtio-queue's.

use std::sync::atomic::{Ordering, fence};

use devices_core::dma::Dma;
use serde::{Deserialize, Serialize};
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Address, Bytes, GuestAddress};

use super::super::spec::{AVAIL_NO_INTERRUPT, feature};
use super::{Broken, Chain, Place};

pub(super) struct Split {
    queue: Queue,
    /// Where the available ring is: its flags.
    avail: GuestAddress,
    /// Where the used ring is.
    used: GuestAddress,
    /// Requests that were given back since the driver's wish was last read.
    added: u16,
    notify_on_empty: bool,
}

/// How far a split queue has come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SplitState {
    pub(super) next_avail: u16,
    pub(super) next_used: u16,
}

const UNREACHABLE: Broken = Broken("a ring is not in RAM");

impl Split {
    pub(super) fn new(place: Place, features: u64) -> Result<Split, Broken> {
        let Place { size, descriptors, driver, device } = place;
        let mut queue = Queue::new(size).map_err(|_| Broken("a queue's size is no power of two"))?;
        let placed = queue
            .try_set_desc_table_address(GuestAddress(descriptors))
            .and_then(|()| queue.try_set_avail_ring_address(GuestAddress(driver)))
            .and_then(|()| queue.try_set_used_ring_address(GuestAddress(device)));
        placed.map_err(|_| Broken("a ring is not aligned"))?;
        queue.set_ready(true);
        let mut split = Split {
            queue,
            avail: GuestAddress(driver),
            used: GuestAddress(device),
            added: 0,
            notify_on_empty: false,
        };
        split.set_features(features);
        Ok(split)
    }

    pub(super) fn set_features(&mut self, features: u64) {
        self.queue.set_event_idx(features & feature::EVENT_IDX != 0);
        self.notify_on_empty = features & feature::NOTIFY_ON_EMPTY != 0;
    }

    pub(super) fn pop(&mut self, dma: &Dma, chain: &mut Chain) -> Result<bool, Broken> {
        let mut available = match self.queue.iter(dma) {
            Ok(available) => available,
            Err(virtio_queue::Error::InvalidAvailRingIndex) => {
                return Err(Broken("more requests are available than the queue has room for"));
            }
            Err(_) => return Err(UNREACHABLE),
        };
        let Some(descriptors) = available.next() else { return Ok(false) };
        chain.id = descriptors.head_index();
        // An iterator that ends too early has met a loop, a table in a table, or what is no RAM.
        let mut ends = false;
        for descriptor in descriptors {
            ends = !descriptor.has_next();
            chain.add(dma, descriptor.addr().0, descriptor.len(), descriptor.is_write_only())?;
        }
        if ends { Ok(true) } else { Err(Broken("a chain of descriptors has no end")) }
    }

    pub(super) fn push(&mut self, dma: &Dma, chain: &Chain, written: u32) -> Result<(), Broken> {
        self.added = self.added.saturating_add(1);
        self.queue.add_used(dma, chain.id, written).map_err(|_| UNREACHABLE)
    }

    /// Gives back several, which the driver sees all at once: by the index, which the last one moves.
    pub(super) fn push_all(&mut self, dma: &Dma, all: &[(Chain, u32)]) -> Result<(), Broken> {
        let Some(((last, written), others)) = all.split_last() else { return Ok(()) };
        let mut next = self.queue.next_used();
        for (chain, written) in others {
            let at = self.used.unchecked_add(4 + u64::from(next % self.queue.size()) * 8);
            let [id, len] = [u32::from(chain.id), *written].map(u32::to_le_bytes);
            dma.write_slice(&[id, len].concat(), at).map_err(|_| UNREACHABLE)?;
            next = next.wrapping_add(1);
        }
        self.queue.set_next_used(next);
        self.added = self.added.saturating_add(others.len() as u16);
        self.push(dma, last, *written)
    }

    pub(super) fn wants_interrupt(&mut self, dma: &Dma) -> Result<bool, Broken> {
        // What was given back is there before the driver's wish is read.
        fence(Ordering::SeqCst);
        let added = std::mem::take(&mut self.added);
        if self.notify_on_empty && self.is_empty(dma)? {
            return Ok(true);
        }
        if self.queue.event_idx_enabled() {
            // Behind the available ring (2.7.6): whether the place that it names is among those (2.7.7.1).
            let at = self.avail.unchecked_add(4 + u64::from(self.queue.size()) * 2);
            let event: u16 = dma.load(at, Ordering::Relaxed).map_err(|_| UNREACHABLE)?;
            let behind = self.queue.next_used().wrapping_sub(u16::from_le(event)).wrapping_sub(1);
            return Ok(behind < added);
        }
        let flags: u16 = dma.load(self.avail, Ordering::Relaxed).map_err(|_| UNREACHABLE)?;
        Ok(u16::from_le(flags) & AVAIL_NO_INTERRUPT == 0)
    }

    /// Whether the device has taken all requests, and given all back.
    fn is_empty(&self, dma: &Dma) -> Result<bool, Broken> {
        let available = self.queue.avail_idx(dma, Ordering::Relaxed).map_err(|_| UNREACHABLE)?;
        Ok(available.0 == self.queue.next_avail() && available.0 == self.queue.next_used())
    }

    pub(super) fn disable_notification(&mut self, dma: &Dma) -> Result<(), Broken> {
        self.queue.disable_notification(dma).map_err(|_| UNREACHABLE)
    }

    pub(super) fn enable_notification(&mut self, dma: &Dma) -> Result<bool, Broken> {
        self.queue.enable_notification(dma).map_err(|_| UNREACHABLE)
    }

    pub(super) fn save(&self) -> SplitState {
        SplitState { next_avail: self.queue.next_avail(), next_used: self.queue.next_used() }
    }

    pub(super) fn load(place: Place, features: u64, state: SplitState) -> Result<Split, Broken> {
        let SplitState { next_avail, next_used } = state;
        let mut split = Split::new(place, features)?;
        split.queue.set_next_avail(next_avail);
        split.queue.set_next_used(next_used);
        Ok(split)
    }
}
