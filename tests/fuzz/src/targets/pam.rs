//! The host bridge's memory attributes: what is read and written below 1 MiB, against what the registers say.

use std::sync::Arc;

use devices::chipset::i440fx::{I440fx, Shadow};
use devices_core::Size;
use devices_core::bus::Mapper;
use devices_core::rig::Rig;
use hypervisor::{Claims, Hypervisor, Mapping, NoCpu, memory};
use vm_memory::{Bytes, GuestMemoryRegion, MemoryRegionAddress};

use super::outcome;

/// From the VGA's window to 1 MiB.
const FIRST: u64 = 0xa_0000;
const END: u64 = 0x10_0000;
/// Where the segments begin, and the part that the firmware's image can be seen in.
const SEGMENTS: u64 = 0xc_0000;
const FIRMWARE: u64 = 0xe_0000;
const STEPS: usize = 2000;

/// Carries out what the bridge asks for. It never asks for what cannot be.
struct Space(Arc<NoCpu>);

impl Mapper for Space {
    fn map(&self, mapping: Mapping) {
        assert!(mapping.gpa >= FIRST && mapping.gpa + mapping.len <= END, "it maps {:#x}", mapping.gpa);
        self.0.map(mapping).expect("a mapping that can be");
    }
    fn claim(&self, _claims: &Claims) {}
}

/// What the registers say of an address: whether reads and writes go to RAM. After the 82441FX's datasheet: PAM0's
/// upper half is of 0xf0000; each nibble of PAM1 to PAM6 of 16 KiB from 0xc0000 on. SMRAM's bit 6 opens the window.
fn attributes(rig: &mut Rig, at: u64) -> (bool, bool) {
    if at < SEGMENTS {
        let open = rig.config_read(0, 0, 0x72, Size::B1) & 0x40 != 0;
        return (open, open);
    }
    let nibble = match at {
        0xf_0000.. => rig.config_read(0, 0, 0x59, Size::B1) >> 4,
        _ => {
            let segment = (at - SEGMENTS) as u16 >> 14 | ((at - SEGMENTS) >> 14) as u16;
            rig.config_read(0, 0, 0x5a + segment / 2, Size::B1) >> (4 * (segment & 1))
        }
    };
    (nibble & 1 != 0, nibble & 2 != 0)
}

/// Steps of five bytes: what is done (a write of the bridge's registers, of memory, a read of memory, a save and
/// load, a reset), three that say where, a value. The first byte is the firmware's size in 64 KiB, none if 0.
pub fn run(bytes: &[u8]) -> u64 {
    let Some((&first, script)) = bytes.split_first() else { return 0 };
    let still = Arc::new(NoCpu::new(1, 2 << 20, 0).expect("2 MiB"));
    let ram = memory::new_block(0, 2 << 20).expect("2 MiB");
    still.map(Mapping::ram(0, 2 << 20, &ram, 0)).expect("a mapping that can be");
    let size = u64::from(first % 5) << 16;
    let firmware = (size > 0).then(|| {
        let block = memory::new_block(0, size).expect("a few KiB");
        let image: Vec<u8> = (0..size).map(|at| (at / 251) as u8 | 1).collect();
        block.write_slice(&image, MemoryRegionAddress(0)).expect("it fits");
        (block, image)
    });
    // What RAM holds, wherever it can be seen.
    let mut model = vec![0u8; (END - FIRST) as usize];
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let shadow = Shadow {
        ram: ram.clone(),
        firmware: firmware.as_ref().map(|(block, _)| block.clone()),
        mapper: Arc::new(Space(still.clone())),
    };
    rig.attach_pci(I440fx::new(2 << 20, Some(shadow)), &wiring, 0, 0);
    let image = firmware.map_or_else(Vec::new, |(_, image)| image);
    let mut seen = 0u64;
    for step in script.chunks_exact(5).take(STEPS) {
        let [what, low, mid, high, value] = *step else { break };
        let at = FIRST + u64::from(u32::from_le_bytes([low, mid, high, 0])) % (END - FIRST);
        match what % 8 {
            0 | 1 => rig.config_write(0, 0, 0x58 + u16::from(low) % 8, Size::B1, value.into()),
            2 => rig.config_write(
                0,
                0,
                (low & 0xfc).into(),
                Size::B4,
                u32::from_le_bytes([mid, high, value, what]),
            ),
            3 => rig.config_write(0, 0, 0x72, Size::B1, value.into()),
            4 => rig.save_load(),
            5 if value > 0xf0 => rig.reset(),
            5 | 6 => {
                let (_, write) = attributes(&mut rig, at);
                let mut elsewhere = false;
                still.write(at, &[value], |_, _| elsewhere = true);
                assert_eq!(elsewhere, !write, "a write at {at:#x}");
                if write {
                    model[(at - FIRST) as usize] = value;
                }
                seen |= 1 << (at >> 14 & 31);
            }
            _ => {
                let (read, _) = attributes(&mut rig, at);
                let from_end = (END - at) as usize;
                let visible = at >= FIRMWARE && {
                    // Whole segments only.
                    let start = if at >= 0xf_0000 { 0xf_0000 } else { at & !0x3fff };
                    END - start <= size
                };
                let expected = match (read, visible) {
                    (true, _) => Some(model[(at - FIRST) as usize]),
                    (false, true) => image.get(image.len() - from_end).copied(),
                    (false, false) => None,
                };
                let (mut data, mut device) = ([0], false);
                still.read(at, &mut data, |_, _| device = true);
                assert_eq!((!device).then_some(data[0]), expected, "a read at {at:#x}");
                seen |= 1 << (32 + (at >> 14 & 15));
            }
        }
    }
    // RAM is as it was written, wherever it could not be seen.
    let mut held = vec![0; model.len()];
    ram.read_slice(&mut held, MemoryRegionAddress(FIRST)).expect("it lies in the RAM");
    assert!(held == model, "RAM was written past its attributes");
    assert_eq!(ram.len(), 2 << 20);
    outcome(seen, "")
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for firmware in 0..5u8 {
        let mut script = vec![firmware];
        for value in [0x33, 0x11, 0x22, 0x00, 0x13] {
            for register in 1..8 {
                script.extend([0, register, 0, 0, value]);
            }
            for segment in 0..24u32 {
                let [low, mid, high, _] = (segment * 0x4000 + 0x123).to_le_bytes();
                script.extend([6, low, mid, high, value ^ segment as u8]);
                script.extend([7, low, mid, high, 0]);
            }
            script.extend([3, 0, 0, 0, value << 1, 4, 0, 0, 0, 0]);
        }
        script.extend([5, 0, 0, 0, 0xff, 7, 0, 0, 5, 0]);
        seeds.push(script);
    }
    seeds
}
