//! An immutable picture of where every region is.

use std::collections::HashMap;
use std::sync::Arc;

use hypervisor::claims::{Claims, join};
use ioreq::Sbdf;

use crate::device::{Device, DeviceCell, Region, Space};

/// A region at its place.
#[derive(Clone)]
pub(super) struct Range {
    pub slot: Arc<DeviceCell<dyn Device>>,
    pub region: usize,
    pub space: Space,
    /// First port or byte.
    pub start: u64,
    /// Last port or byte.
    pub last: u64,
    /// Widest access in bytes.
    pub widest: usize,
}

impl Range {
    pub fn new(slot: &Arc<DeviceCell<dyn Device>>, index: usize, region: &Region, start: u64) -> Range {
        let last = start.saturating_add(region.len.max(1) - 1);
        let widest = usize::from(region.widest.clamp(1, 8));
        Range { slot: slot.clone(), region: index, space: region.space, start, last, widest }
    }
}

/// No window.
const NONE: u16 = u16::MAX;

/// Where every window is. Where two overlap, the shorter one answers, and of equals the one that was
/// attached first: port 0xcf9 lies in front of the configuration ports, a stray BAR behind them.
pub(super) struct Map {
    ranges: Vec<Arc<Range>>,
    ports: Box<[u16]>,
    /// Disjoint, ascending: (first, last, index into ranges).
    memory: Vec<(u64, u64, u16)>,
    functions: HashMap<Sbdf, Arc<DeviceCell<dyn Device>>>,
}

impl Default for Map {
    fn default() -> Map {
        Map {
            ranges: Vec::new(),
            ports: vec![NONE; 1 << 16].into(),
            memory: Vec::new(),
            functions: HashMap::new(),
        }
    }
}

impl Map {
    pub fn add(&mut self, ranges: &[Range]) {
        self.ranges.extend(ranges.iter().cloned().map(Arc::new));
    }

    pub fn add_function(&mut self, sbdf: Sbdf, slot: &Arc<DeviceCell<dyn Device>>) {
        self.functions.insert(sbdf, slot.clone());
    }

    /// Builds the lookup tables, once all is added.
    pub fn finish(&mut self) {
        // Longest first, so that shorter ones overwrite; of equals the later first.
        let mut order: Vec<u16> = (0..self.ranges.len().min(NONE as usize) as u16).rev().collect();
        order.sort_by_key(|&i| {
            let range = &self.ranges[usize::from(i)];
            std::cmp::Reverse(range.last - range.start)
        });
        for &i in &order {
            let range = self.ranges[usize::from(i)].clone();
            match range.space {
                Space::Pio => {
                    let end = (range.last.min(0xffff) + 1) as usize;
                    if let Some(ports) = self.ports.get_mut(range.start as usize..end) {
                        ports.fill(i);
                    }
                }
                Space::Mmio => self.cover(range.start, range.last, i),
            }
        }
    }

    /// Puts a memory range in front of those that are there.
    fn cover(&mut self, start: u64, last: u64, index: u16) {
        let mut pieces = Vec::with_capacity(self.memory.len() + 2);
        for &(s, l, i) in &self.memory {
            if l < start || s > last {
                pieces.push((s, l, i));
                continue;
            }
            if s < start {
                pieces.push((s, start - 1, i));
            }
            if l > last {
                pieces.push((last + 1, l, i));
            }
        }
        pieces.push((start, last, index));
        pieces.sort_unstable();
        self.memory = pieces;
    }

    /// The window at a port or address, and the part of it that is visible around there.
    pub fn find(&self, space: Space, address: u64) -> Option<(&Arc<Range>, u64, u64)> {
        match space {
            Space::Pio => {
                let index = *self.ports.get(address as usize)?;
                let range = self.ranges.get(usize::from(index))?;
                // A port window is not cached beyond the port itself when something lies in front of it.
                let visible = |port: u64| self.ports.get(port as usize) == Some(&index);
                let mut last = address;
                while last < range.last && last - address < 8 && visible(last + 1) {
                    last += 1;
                }
                Some((range, address, last))
            }
            Space::Mmio => {
                let after = self.memory.partition_point(|&(start, _, _)| start <= address);
                let &(start, last, index) = self.memory.get(after.checked_sub(1)?)?;
                let range = self.ranges.get(usize::from(index))?;
                (address <= last).then_some((range, start, last))
            }
        }
    }

    /// What all of it answers, the ports of configuration mechanism 1 included.
    pub fn claims(&self) -> Claims {
        let of = |space| {
            let ranges = self.ranges.iter().filter(move |range| range.space == space);
            ranges.map(|range| range.start..=range.last)
        };
        let ports = of(Space::Pio).chain([0xcf8..=0xcff]).collect();
        let mut functions: Vec<Sbdf> = self.functions.keys().copied().collect();
        functions.sort_unstable();
        Claims { ports: join(ports), memory: join(of(Space::Mmio).collect()), functions }
    }

    pub fn function(&self, sbdf: Sbdf) -> Option<&Arc<DeviceCell<dyn Device>>> {
        self.functions.get(&sbdf)
    }
}
