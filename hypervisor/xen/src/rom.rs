//! ROMs: they are not guest memory, so that they cost the domain nothing; reads of them are answered here.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{RwLock, RwLockReadGuard};

use hypervisor::{Backing, GuestRam, Mapping, memory};
use ioreq::{Data, Dir, Request, Target};
use vm_memory::{Bytes, MemoryRegionAddress};

/// A ROM at its place.
struct Window {
    gpa: u64,
    len: u64,
    backing: Backing,
}

impl Window {
    fn last(&self) -> u64 {
        self.gpa + (self.len - 1)
    }

    /// Fills `data` from an address in the window; what lies beyond it is not touched.
    fn read(&self, address: u64, data: &mut [u8]) {
        let offset = address - self.gpa;
        let inside = usize::try_from(self.len - offset).map_or(data.len(), |room| room.min(data.len()));
        let Some(data) = data.get_mut(..inside) else { return };
        // A window was checked to lie in its block.
        let _ = self.backing.block.read_slice(data, MemoryRegionAddress(self.backing.offset + offset));
    }
}

/// Where ROMs are.
#[derive(Default)]
pub struct Roms {
    any: AtomicBool,
    windows: RwLock<Vec<Window>>,
}

impl Roms {
    fn windows(&self) -> RwLockReadGuard<'_, Vec<Window>> {
        self.windows.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Puts what reads of a mapping give in place; takes away what was in the way. `mapping` was checked.
    /// True if anything changed.
    pub fn map(&self, mapping: &Mapping) -> bool {
        let mut windows = self.windows.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let last = mapping.gpa + (mapping.len - 1);
        let before = windows.len();
        windows.retain(|window| window.gpa > last || window.last() < mapping.gpa);
        let mut changed = windows.len() != before;
        if let Some(backing) = mapping.read.clone() {
            windows.push(Window { gpa: mapping.gpa, len: mapping.len, backing });
            changed = true;
        }
        self.any.store(!windows.is_empty(), Ordering::Release);
        changed
    }

    /// The bytes that must reach us.
    pub fn ranges(&self) -> Vec<RangeInclusive<u64>> {
        self.windows().iter().map(|window| window.gpa..=window.last()).collect()
    }

    /// Answers a request if it reads a ROM.
    pub fn serve(&self, request: &Request, ram: &GuestRam) -> Option<u64> {
        let (Target::Mmio(address), Dir::Read) = (request.target, request.dir) else { return None };
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let windows = self.windows();
        let window = windows.iter().find(|window| (window.gpa..=window.last()).contains(&address))?;
        let size = request.size.bytes();
        let Data::Guest(_) = request.data else {
            let mut data = [0xff; 8];
            window.read(address, &mut data[..size]);
            return Some(u64::from_le_bytes(data) & request.size.mask());
        };
        for index in 0..request.count {
            let item = request.item(index);
            let (Target::Mmio(address), Data::Guest(gpa)) = (item.target, item.data) else { break };
            let mut data = [0xff; 8];
            if (window.gpa..=window.last()).contains(&address) {
                window.read(address, &mut data[..size]);
            }
            // What does not lie in RAM is dropped.
            memory::write(ram, gpa, &data[..size]);
        }
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypervisor::memory::{PAGE, new_block, new_ram};
    use ioreq::Size;

    #[test]
    fn reads_come_from_the_block_and_strings_go_to_memory() {
        let ram = new_ram(16 * PAGE, 0).unwrap();
        let block = new_block(0, 2 * PAGE).unwrap();
        block.write_slice(&[0x55, 0xaa, 1, 2, 3, 4, 5, 6], MemoryRegionAddress(PAGE)).unwrap();
        let roms = Roms::default();
        let at = 0xf200_0000;
        let read = |address, size| Request::read(0, Target::Mmio(address), size);
        assert_eq!(roms.serve(&read(at, Size::B2), &ram), None);
        assert!(roms.map(&Mapping::rom(at, PAGE, &block, PAGE)));
        assert_eq!(roms.ranges(), [at..=at + PAGE - 1]);
        assert_eq!(roms.serve(&read(at, Size::B2), &ram), Some(0xaa55));
        assert_eq!(roms.serve(&read(at + 1, Size::B8), &ram), Some(0x0006_0504_0302_01aa));
        assert_eq!(roms.serve(&read(at + PAGE - 2, Size::B4), &ram), Some(0xffff_0000), "half outside");
        assert_eq!(roms.serve(&read(at + PAGE, Size::B1), &ram), None);
        assert_eq!(roms.serve(&Request::write(0, Target::Mmio(at), Size::B1, 1), &ram), None);
        let string = Request { data: Data::Guest(0x3000), count: 2, ..read(at + 4, Size::B2) };
        assert_eq!(roms.serve(&string, &ram), Some(0));
        let mut bytes = [0; 4];
        assert!(memory::read(&ram, 0x3000, &mut bytes));
        assert_eq!(bytes, [3, 4, 5, 6]);
        let down = Request { data: Data::Guest(0x3004), count: 4096, descending: true, ..string };
        assert_eq!(roms.serve(&down, &ram), Some(0));
        assert!(!roms.map(&Mapping::none(at + PAGE, PAGE)));
        assert!(roms.map(&Mapping::none(at, PAGE)));
        assert_eq!(roms.serve(&read(at, Size::B1), &ram), None);
    }
}
