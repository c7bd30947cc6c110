//! The pages that Xen shares, which a guest's stub domain or a bug may fill with anything.

use ioreq::page::Page;
use ioreq::ring::{Discipline, Drained, Ring};
use zerocopy::FromBytes;

use super::outcome;

const PAGE: usize = 4096;

/// Two pages: the slots, then the ring; what is missing is zero. The first byte more says how the ring is shared.
pub fn run(bytes: &[u8]) -> u64 {
    let mut pages = bytes.to_vec();
    pages.resize(2 * PAGE + 1, 0);
    let discipline = if pages[2 * PAGE] & 1 == 0 { Discipline::Atomic } else { Discipline::Legacy };
    let page = Page::read_from_bytes(&pages[..PAGE]).expect("a page of bytes is a page");
    let ring = Ring::read_from_bytes(&pages[PAGE..2 * PAGE]).expect("a page of bytes is a ring");
    let mut seen = Vec::new();
    for (vcpu, slot) in page.slots.iter().enumerate() {
        let Some(taken) = slot.take(vcpu as u32) else { continue };
        if let Ok(request) = &taken.request {
            seen.push((request.dir as u8, request.size as u8, request.count.ilog2()));
        }
        slot.complete(&taken, u64::MAX);
        assert!(slot.take(vcpu as u32).is_none(), "a completed request is not there again");
    }
    let mut requests = 0u32;
    // A ring that is full is drained in one turn, and a broken one is empty after it.
    let drained = ring.drain(discipline, |_| requests += 1);
    let empty = ring.drain(discipline, |_| requests += 1);
    assert!(drained != Drained::Broken || empty != Drained::Broken, "a broken ring is put back");
    assert!(requests <= 1022, "{requests} requests from one ring");
    seen.sort_unstable();
    seen.dedup();
    outcome((seen, requests.min(3)), &format!("{drained:?} {empty:?}"))
}

pub fn seeds() -> Vec<Vec<u8>> {
    // A slot: address, data, count, size, event channel, state with direction, type.
    let slot = |address: u64, size: u32, control: u8, kind: u8| {
        let mut slot = address.to_le_bytes().to_vec();
        slot.extend(7u64.to_le_bytes());
        slot.extend(1u32.to_le_bytes());
        slot.extend(size.to_le_bytes());
        slot.extend([0, 0, 0, 0, 0, 0, control, kind]);
        slot
    };
    let slots: Vec<u8> =
        [(0x1f7, 1, 0x11, 0), (0xfed0_0000, 4, 0x01, 1), (0x8000_0000, 2, 0x11, 2), (0, 8, 1, 8)]
            .into_iter()
            .flat_map(|(address, size, control, kind)| slot(address, size, control, kind))
            .collect();
    let mut pages = slots;
    pages.resize(PAGE, 0);
    pages.extend(5u64.wrapping_shl(32).to_le_bytes());
    // A byte to port 0x80, four to memory, then eight in two slots.
    for item in [0x80u64 << 12, 1 | 2 << 10 | 0xfee << 20, 1 | 3 << 10 | 0xfee << 20, 9 << 32, 0] {
        pages.extend(item.to_le_bytes());
    }
    vec![pages]
}
