//! What a guest may find after any death.

use super::recorder::Event;

pub(super) const SECTOR: usize = 512;

/// A sector that holds `tag`; 0 is zeros.
pub(super) fn sector(number: usize, tag: u64) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    if tag != 0 {
        bytes.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&tag.to_le_bytes()));
        bytes[8..16].copy_from_slice(&(number as u64).to_le_bytes());
    }
    bytes
}

/// What a guest may find in each sector: the values that it was given since the last that is durable.
#[derive(Clone)]
pub(super) struct Promise {
    sectors: Vec<Versions>,
    flushes: Vec<(usize, Vec<usize>)>,
}

#[derive(Clone)]
struct Versions {
    /// Values in order; the first is the last that is durable.
    tags: Vec<u64>,
    /// How many went before them.
    dropped: usize,
    /// How many, from the very first on, are done.
    ended: usize,
}

impl Promise {
    pub(super) fn new(tags: &[u64]) -> Promise {
        let one = |tag: &u64| Versions { tags: vec![*tag], dropped: 0, ended: 1 };
        Promise { sectors: tags.iter().map(one).collect(), flushes: Vec::new() }
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Begin { first, count, tag } => {
                self.sectors[*first..first + count].iter_mut().for_each(|s| s.tags.push(*tag));
            }
            Event::End { first, count, tag } => {
                for sector in &mut self.sectors[*first..first + count] {
                    // A discard may have left it as it was.
                    if sector.tags.last() != Some(tag) {
                        sector.tags.push(*tag);
                    }
                    sector.ended = sector.dropped + sector.tags.len();
                }
            }
            Event::Flush(who) => {
                self.flushes.push((*who, self.sectors.iter().map(|sector| sector.ended).collect()));
            }
            Event::Flushed(who) => {
                let at = self.flushes.iter().position(|flush| flush.0 == *who).unwrap();
                let (_, ended) = self.flushes.swap_remove(at);
                for (sector, ended) in self.sectors.iter_mut().zip(ended) {
                    let gone = (ended - 1).saturating_sub(sector.dropped);
                    sector.tags.drain(..gone);
                    sector.dropped += gone;
                }
            }
            Event::Write(..) | Event::Punch(..) | Event::Sync => {}
        }
    }

    /// Looks at a disk. The values that it holds. Nothing is promised of the first `wild` sectors.
    pub(super) fn check(&self, disk: &[u8], wild: usize, what: &str) -> Vec<u64> {
        let mut tags = Vec::new();
        for (number, (versions, found)) in self.sectors.iter().zip(disk.chunks_exact(SECTOR)).enumerate() {
            if number < wild {
                tags.push(0);
                continue;
            }
            let tag = versions.tags.iter().find(|tag| sector(number, **tag) == *found);
            let Some(tag) = tag else {
                panic!("{what}: sector {number} holds {:x?}, not one of {:x?}", &found[..16], versions.tags)
            };
            tags.push(*tag);
        }
        tags
    }
}
