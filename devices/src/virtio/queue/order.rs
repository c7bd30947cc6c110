//! Requests that are given back in the order in which they came (VIRTIO_F_IN_ORDER; Virtio 1.3, 2.7.9, 2.8.20): what is done
//! before its turn waits here.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Broken, Chain};

/// A request that the device has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    id: u16,
    slots: u16,
    /// It is done, and so many bytes were written.
    #[serde(deserialize_with = "Option::deserialize")]
    written: Option<u32>,
}

/// Those of a queue.
pub(super) struct Order {
    /// As many as the queue has elements, at most.
    most: u16,
    taken: VecDeque<Taken>,
}

impl Order {
    pub(super) fn new(most: u16) -> Order {
        Order { most, taken: VecDeque::new() }
    }

    /// The device has taken a request. A driver that has more of them in flight than there are elements has used one
    /// twice.
    pub(super) fn take(&mut self, chain: &Chain) -> Result<(), Broken> {
        if self.taken.len() >= usize::from(self.most) {
            return Err(Broken("more requests are in flight than the queue has room for"));
        }
        self.taken.push_back(Taken { id: chain.id, slots: chain.slots, written: None });
        Ok(())
    }

    /// These are done. What can be given back now: up to the first one that is not.
    pub(super) fn give(&mut self, done: &[(Chain, u32)]) -> Vec<(Chain, u32)> {
        for (chain, written) in done {
            let own = |taken: &&mut Taken| taken.id == chain.id && taken.written.is_none();
            if let Some(taken) = self.taken.iter_mut().find(own) {
                taken.written = Some(*written);
            }
        }
        let ready = self.taken.iter().take_while(|taken| taken.written.is_some()).count();
        let given = self.taken.drain(..ready);
        let whole = |Taken { id, slots, written }| {
            (Chain { id, slots, ..Chain::default() }, written.unwrap_or_default())
        };
        given.map(whole).collect()
    }

    pub(super) fn save(&self) -> Vec<Taken> {
        self.taken.iter().copied().collect()
    }

    /// Saved ones, if a queue of that size can have them.
    pub(super) fn load(most: u16, taken: Vec<Taken>) -> Result<Order, Broken> {
        let waits = taken.first().is_none_or(|first| first.written.is_none());
        if taken.len() > most.into() || taken.iter().any(|taken| taken.slots > most) || !waits {
            return Err(Broken("requests are in an order that none can be in"));
        }
        Ok(Order { most, taken: taken.into() })
    }
}
