//! Packed virtqueues (Virtio 1.3, 2.8): one ring of descriptors that both sides write.
//!
//! A descriptor is the device's while its AVAIL bit is that of the round and its USED bit is not; the round's bit, the
//! wrap counter, changes each time the ring starts anew.

use std::sync::atomic::{Ordering, fence};

use devices_core::dma::Dma;
use serde::{Deserialize, Serialize};
use vm_memory::{Bytes, GuestAddress};

use super::super::spec::{DESCRIPTOR, QUEUE_SIZE_MAX, descriptor, event, feature};
use super::{Broken, Chain, Place};

pub(super) struct Packed {
    place: Place,
    event_idx: bool,
    avail: Cursor,
    used: Cursor,
    /// Places that were given back since the driver was last asked whether it wants an interrupt.
    given: u32,
}

/// A place in the ring, and the wrap counter there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    at: u16,
    wrap: bool,
}

impl Cursor {
    const START: Cursor = Cursor { at: 0, wrap: true };

    fn advance(&mut self, by: u16, size: u16) {
        let at = u32::from(self.at) + u32::from(by);
        if at >= u32::from(size) {
            self.wrap = !self.wrap;
        }
        self.at = (at % u32::from(size)) as u16;
    }
}

/// How far a packed queue has come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PackedState {
    pub(super) avail: u16,
    pub(super) avail_wrap: bool,
    pub(super) used: u16,
    pub(super) used_wrap: bool,
}

/// A descriptor as it was read.
struct Descriptor {
    gpa: u64,
    len: u32,
    id: u16,
    flags: u16,
}

/// Where length, id and flags of a descriptor are.
const LEN: u64 = 8;
const FLAGS: u64 = 14;

const UNREACHABLE: Broken = Broken("a ring is not in RAM");

impl Descriptor {
    fn read(dma: &Dma, at: u64) -> Result<Descriptor, Broken> {
        let mut raw = [0; DESCRIPTOR as usize];
        dma.read(at, &mut raw).map_err(|_| UNREACHABLE)?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, id0, id1, flags0, flags1] = raw;
        Ok(Descriptor {
            gpa: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            len: u32::from_le_bytes([i, j, k, l]),
            id: u16::from_le_bytes([id0, id1]),
            flags: u16::from_le_bytes([flags0, flags1]),
        })
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

impl Packed {
    pub(super) fn new(place: Place, features: u64) -> Result<Packed, Broken> {
        let Place { size, descriptors, driver, device } = place;
        if size == 0 || size > QUEUE_SIZE_MAX {
            return Err(Broken("a queue has no size"));
        }
        if !descriptors.is_multiple_of(DESCRIPTOR) || !driver.is_multiple_of(4) || !device.is_multiple_of(4) {
            return Err(Broken("a ring is not aligned"));
        }
        let event_idx = features & feature::EVENT_IDX != 0;
        Ok(Packed { place, event_idx, avail: Cursor::START, used: Cursor::START, given: 0 })
    }

    pub(super) fn set_features(&mut self, features: u64) {
        self.event_idx = features & feature::EVENT_IDX != 0;
    }

    /// Where a descriptor of the ring is. An address beyond the end is found out when it is used.
    fn descriptor(&self, at: u16) -> u64 {
        self.place.descriptors.wrapping_add(u64::from(at) * DESCRIPTOR)
    }

    /// Whether the driver has made the descriptor at the cursor available.
    fn is_available(&self, dma: &Dma) -> Result<bool, Broken> {
        let at = GuestAddress(self.descriptor(self.avail.at).wrapping_add(FLAGS));
        // What comes with the flags is read after them.
        let flags = u16::from_le(dma.load(at, Ordering::Acquire).map_err(|_| UNREACHABLE)?);
        let (avail, used) = (flags & descriptor::AVAIL != 0, flags & descriptor::USED != 0);
        Ok(avail == self.avail.wrap && used != self.avail.wrap)
    }

    pub(super) fn pop(&mut self, dma: &Dma, chain: &mut Chain) -> Result<bool, Broken> {
        if !self.is_available(dma)? {
            return Ok(false);
        }
        let mut cursor = self.avail;
        loop {
            if chain.slots == self.place.size {
                return Err(Broken("a chain of descriptors has no end"));
            }
            let one = Descriptor::read(dma, self.descriptor(cursor.at))?;
            cursor.advance(1, self.place.size);
            chain.slots += 1;
            // The last one has the buffer's id.
            chain.id = one.id;
            if one.has(descriptor::INDIRECT) {
                if chain.slots > 1 || one.has(descriptor::NEXT) {
                    return Err(Broken("a table of descriptors is part of a chain"));
                }
                table(dma, &one, chain)?;
                break;
            }
            chain.add(dma, one.gpa, one.len, one.has(descriptor::WRITE))?;
            if !one.has(descriptor::NEXT) {
                break;
            }
        }
        self.avail = cursor;
        Ok(true)
    }

    pub(super) fn push(&mut self, dma: &Dma, chain: &Chain, written: u32) -> Result<(), Broken> {
        self.put(dma, self.used, chain, written)?;
        self.pass(chain);
        Ok(())
    }

    /// Gives back several, which the driver sees all at once: by the first one, which is written last.
    pub(super) fn push_all(&mut self, dma: &Dma, all: &[(Chain, u32)]) -> Result<(), Broken> {
        let Some(((first, written), others)) = all.split_first() else { return Ok(()) };
        let start = self.used;
        self.pass(first);
        others.iter().try_for_each(|(chain, written)| self.push(dma, chain, *written))?;
        self.put(dma, start, first, *written)
    }

    /// The places of a chain that was given back are behind.
    fn pass(&mut self, chain: &Chain) {
        self.used.advance(chain.slots, self.place.size);
        self.given = self.given.saturating_add(chain.slots.into());
    }

    fn put(&self, dma: &Dma, place: Cursor, chain: &Chain, written: u32) -> Result<(), Broken> {
        let at = self.descriptor(place.at);
        let mut body = [0; 6];
        body[..4].copy_from_slice(&written.to_le_bytes());
        body[4..].copy_from_slice(&chain.id.to_le_bytes());
        let mut flags = if written > 0 { descriptor::WRITE } else { 0 };
        if place.wrap {
            flags |= descriptor::AVAIL | descriptor::USED;
        }
        dma.write(at.wrapping_add(LEN), &body).map_err(|_| UNREACHABLE)?;
        let at = GuestAddress(at.wrapping_add(FLAGS));
        dma.store(flags.to_le(), at, Ordering::Release).map_err(|_| UNREACHABLE)
    }

    /// What one side says of the notifications that it wants: a place with its wrap counter, and the flags. One read,
    /// as the two belong together.
    fn suppression(dma: &Dma, at: u64) -> Result<(u16, u16), Broken> {
        let both: u32 = dma.load(GuestAddress(at), Ordering::Relaxed).map_err(|_| UNREACHABLE)?;
        let both = u32::from_le(both);
        Ok((both as u16, (both >> 16) as u16 & 3))
    }

    pub(super) fn wants_interrupt(&mut self, dma: &Dma) -> Result<bool, Broken> {
        let given = std::mem::take(&mut self.given);
        // What was given back is there before the driver's wish is read.
        fence(Ordering::SeqCst);
        let (place, flags) = Packed::suppression(dma, self.place.driver)?;
        Ok(match flags {
            event::ENABLE => true,
            event::DESC if self.event_idx => self.has_passed(place, given),
            _ => false,
        })
    }

    /// Whether the last `given` places that were given back have that one among them.
    fn has_passed(&self, place: u16, given: u32) -> bool {
        let size = i64::from(self.place.size);
        let (at, wrap) = (i64::from(place & 0x7fff), place >> 15 != 0);
        // Places are counted from the start of the round in which the device is.
        let wanted = if wrap == self.used.wrap { at } else { at - size };
        let now = i64::from(self.used.at);
        (now - i64::from(given)..now).contains(&wanted)
    }

    pub(super) fn disable_notification(&mut self, dma: &Dma) -> Result<(), Broken> {
        self.tell(dma, 0, event::DISABLE)
    }

    pub(super) fn enable_notification(&mut self, dma: &Dma) -> Result<bool, Broken> {
        if self.event_idx {
            let place = self.avail.at | u16::from(self.avail.wrap) << 15;
            self.tell(dma, place, event::DESC)?;
        } else {
            self.tell(dma, 0, event::ENABLE)?;
        }
        // The driver sees the wish, or we see what it has made available before.
        fence(Ordering::SeqCst);
        self.is_available(dma)
    }

    fn tell(&self, dma: &Dma, place: u16, flags: u16) -> Result<(), Broken> {
        let both = u32::from(place) | u32::from(flags) << 16;
        dma.store(both.to_le(), GuestAddress(self.place.device), Ordering::Relaxed).map_err(|_| UNREACHABLE)
    }

    pub(super) fn save(&self) -> PackedState {
        let Packed { place: _, event_idx: _, avail, used, given: _ } = self;
        PackedState { avail: avail.at, avail_wrap: avail.wrap, used: used.at, used_wrap: used.wrap }
    }

    pub(super) fn load(place: Place, features: u64, state: PackedState) -> Result<Packed, Broken> {
        let PackedState { avail, avail_wrap, used, used_wrap } = state;
        if avail >= place.size || used >= place.size {
            return Err(Broken("a place is outside the ring"));
        }
        let mut packed = Packed::new(place, features)?;
        packed.avail = Cursor { at: avail, wrap: avail_wrap };
        packed.used = Cursor { at: used, wrap: used_wrap };
        Ok(packed)
    }
}

/// The buffers of a table elsewhere (2.8.8): all of its descriptors, in order.
fn table(dma: &Dma, of: &Descriptor, chain: &mut Chain) -> Result<(), Broken> {
    let len = u64::from(of.len);
    if len == 0 || !len.is_multiple_of(DESCRIPTOR) {
        return Err(Broken("a table of descriptors has an odd length"));
    }
    let all = of.gpa.checked_add(len).ok_or(UNREACHABLE)?;
    for at in (of.gpa..all).step_by(DESCRIPTOR as usize) {
        let one = Descriptor::read(dma, at)?;
        if one.has(descriptor::INDIRECT) {
            return Err(Broken("a table of descriptors is in another"));
        }
        // The chain takes no more buffers than a queue has places, so that this has an end.
        chain.add(dma, one.gpa, one.len, one.has(descriptor::WRITE))?;
    }
    Ok(())
}
