use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use devices_core::Dir;
use devices_core::Size;
use devices_core::rig::{FuzzRange, Random, Rig, fuzz, scenario};
use ioreq::{Data, Request, Target};

use super::*;

const COMMAND: u32 = 0x1000;
const BUFFER: u32 = 0x2000;

fn items() -> Vec<Item> {
    vec![
        Item::key(0x05, [2, 0]),
        Item::key(0x8002, *b"tables"),
        Item::file("etc/b", *b"second"),
        Item::file("etc/a", *b"\x01\x02\x03\x04").writable(),
    ]
}

fn board(mut rig: Rig) -> Rig {
    let device = FwCfg::new(items(), Dma::always(rig.ram().clone())).unwrap();
    let wiring = rig.wiring();
    rig.attach(device, &wiring);
    rig
}

fn bytes(rig: &mut Rig, count: usize) -> Vec<u8> {
    (0..count).map(|_| rig.inb(0x511)).collect()
}

/// Runs a DMA command; the control word that comes back.
fn dma(rig: &mut Rig, control: u32, length: u32, address: u64) -> u32 {
    rig.poke(COMMAND.into(), &control.to_be_bytes());
    rig.poke(u64::from(COMMAND) + 4, &length.to_be_bytes());
    rig.poke(u64::from(COMMAND) + 8, &address.to_be_bytes());
    rig.outl(0x514, 0);
    rig.outl(0x518, COMMAND.swap_bytes());
    u32::from_be_bytes(rig.peek(COMMAND.into(), 4).try_into().unwrap())
}

#[test]
fn firmware_recognises_the_device() {
    scenario(|rig| {
        let mut rig = board(take(rig));
        rig.outw(0x510, 0);
        assert_eq!(bytes(&mut rig, 2), b"QE");
        assert_eq!(bytes(&mut rig, 4), b"MU\0\0");
        rig.outw(0x510, 1);
        assert_eq!(bytes(&mut rig, 5), [3, 0, 0, 0, 0]);
        assert_eq!(
            (rig.inl(0x514), rig.inl(0x518)),
            (u32::from_le_bytes(*b"QEMU"), u32::from_le_bytes(*b" CFG"))
        );
    });
}

#[test]
fn the_directory_lists_files_in_their_order() {
    let mut rig = board(Rig::new());
    rig.outw(0x510, 0x19);
    let directory = bytes(&mut rig, 4 + 2 * 64 + 1);
    assert_eq!(directory[..4], [0, 0, 0, 2]);
    assert_eq!(directory[4..12], [0, 0, 0, 6, 0, 0x20, 0, 0]);
    assert_eq!(&directory[12..18], b"etc/b\0");
    assert_eq!(directory[68..76], [0, 0, 0, 4, 0, 0x21, 0, 0]);
    assert_eq!(&directory[76..82], b"etc/a\0");
    rig.outw(0x510, 0x20);
    assert_eq!(bytes(&mut rig, 7), b"second\0");
    rig.outw(0x510, 0x8002);
    assert_eq!(bytes(&mut rig, 7), b"tables\0");
    rig.outw(0x510, 0x4005);
    assert_eq!(bytes(&mut rig, 2), [2, 0]);
    rig.outw(0x510, 0x22);
    assert_eq!(bytes(&mut rig, 2), [0, 0]);
}

#[test]
fn a_string_instruction_reads_an_item() {
    let mut rig = board(Rig::new());
    rig.outw(0x510, 0x20);
    rig.poke(BUFFER.into(), &[0xaa; 16]);
    rig.string(Dir::Read, 0x511, Size::B1, 8, BUFFER.into());
    assert_eq!(rig.peek(BUFFER.into(), 9), b"second\0\0\xaa");
}

#[test]
fn dma_reads_skips_and_pads() {
    scenario(|rig| {
        let mut rig = board(take(rig));
        rig.poke(BUFFER.into(), &[0xaa; 16]);
        assert_eq!(dma(&mut rig, 0x20 << 16 | spec::DMA_SELECT | spec::DMA_SKIP, 2, 0), 0);
        assert_eq!(dma(&mut rig, spec::DMA_READ, 3, BUFFER.into()), 0);
        assert_eq!(rig.peek(BUFFER.into(), 4), b"con\xaa");
        assert_eq!(dma(&mut rig, spec::DMA_READ, 5, BUFFER.into()), 0);
        assert_eq!(rig.peek(BUFFER.into(), 6), b"d\0\0\0\0\xaa");
        assert_eq!(dma(&mut rig, 0xfff << 16 | spec::DMA_SELECT | spec::DMA_READ, 3, BUFFER.into()), 0);
        assert_eq!(rig.peek(BUFFER.into(), 3), [0; 3]);
    });
}

#[test]
fn dma_writes_only_where_it_may() {
    scenario(|rig| {
        let mut rig = board(take(rig));
        rig.poke(BUFFER.into(), b"wxyz!");
        let select = |key: u32| key << 16 | spec::DMA_SELECT | spec::DMA_WRITE;
        assert_eq!(dma(&mut rig, select(0x20), 2, BUFFER.into()), spec::DMA_ERROR);
        assert_eq!(dma(&mut rig, select(0x77), 2, BUFFER.into()), spec::DMA_ERROR);
        assert_eq!(dma(&mut rig, select(0x21), 2, BUFFER.into()), 0);
        rig.outw(0x510, 0x21);
        assert_eq!(bytes(&mut rig, 4), b"wx\x03\x04");
        assert_eq!(dma(&mut rig, select(0x21), 5, BUFFER.into()), spec::DMA_ERROR);
        rig.reset();
        rig.outw(0x510, 0x21);
        assert_eq!(bytes(&mut rig, 4), [1, 2, 3, 4]);
    });
}

#[test]
fn a_file_that_the_machine_replaces_is_saved() {
    let with_order = |order: &[u8]| {
        let mut rig = Rig::new();
        let mut all = items();
        all.push(Item::file("bootorder", order).replaceable());
        let device = FwCfg::new(all, Dma::always(rig.ram().clone())).unwrap();
        let wiring = rig.wiring();
        let slot = rig.attach(device, &wiring);
        (rig, slot)
    };
    let read = |rig: &mut Rig| {
        rig.outw(0x510, 0x19);
        let directory = bytes(rig, 4 + 3 * 64);
        rig.outw(0x510, 0x22);
        (directory[132..136].to_vec(), bytes(rig, 8))
    };
    let (mut rig, device) = with_order(b"a\0");
    device.lock().replace("bootorder", b"b\nc\0".to_vec());
    device.lock().replace("etc/b", b"not this one".to_vec());
    assert_eq!(read(&mut rig), (vec![0, 0, 0, 4], b"b\nc\0\0\0\0\0".to_vec()));
    // A reset leaves it to the machine.
    rig.reset();
    let saved = device.lock().save().unwrap();
    let (mut rig, device) = with_order(b"another");
    device.lock().load(&saved).unwrap();
    assert_eq!(read(&mut rig), (vec![0, 0, 0, 4], b"b\nc\0\0\0\0\0".to_vec()));
    let (_, device) = with_order(&[0; 70_000]);
    let saved = device.lock().save().unwrap();
    device.lock().load(&saved).unwrap_err();
}

#[test]
fn hostile_commands_end_in_an_error() {
    let mut rig = board(Rig::new());
    let read = 0x20 << 16 | spec::DMA_SELECT | spec::DMA_READ;
    assert_eq!(dma(&mut rig, read, 6, u64::MAX - 2), spec::DMA_ERROR);
    assert_eq!(dma(&mut rig, read, 6, (2 << 20) - 3), spec::DMA_ERROR);
    assert_eq!(dma(&mut rig, read, u32::MAX, 0x8000), spec::DMA_ERROR);
    assert_eq!(dma(&mut rig, spec::DMA_SKIP, u32::MAX, 0), 0);
    assert_eq!(dma(&mut rig, spec::DMA_SKIP, u32::MAX, 0), 0);
    // A command outside RAM, and one that straddles its end.
    rig.outl(0x514, u32::MAX);
    rig.outl(0x518, u32::MAX);
    rig.outl(0x518, ((2u32 << 20) - 8).swap_bytes());
    assert_eq!(rig.peek((2 << 20) - 8, 4), [0, 0, 0, 1]);
}

#[test]
fn an_eight_byte_store_is_cut_into_a_whole_address() {
    let mut rig = board(Rig::new());
    rig.poke(COMMAND.into(), &(0x20 << 16 | spec::DMA_SELECT | spec::DMA_READ).to_be_bytes());
    rig.poke(u64::from(COMMAND) + 4, &3u32.to_be_bytes());
    rig.poke(u64::from(COMMAND) + 8, &u64::from(BUFFER).to_be_bytes());
    let value = u64::from(COMMAND).swap_bytes();
    let target = Target::Pio(0x514);
    let data = Data::Value(value);
    let dir = Dir::Write;
    rig.request(&Request { vcpu: 0, target, dir, size: Size::B8, data, count: 1, descending: false });
    assert_eq!(rig.peek(BUFFER.into(), 3), b"sec");
}

#[test]
fn bad_lists_are_refused() {
    let refused = |items| FwCfg::new(items, Dma::always(Rig::new().ram().clone())).err();
    let file = |name: &str| Item::file(name, []);
    assert_eq!(refused(vec![Item::key(0x19, [])]), Some(ItemError::Key(0x19)));
    assert_eq!(refused(vec![Item::key(5, []), Item::key(5, [])]), Some(ItemError::Key(5)));
    assert_eq!(refused(vec![Item::key(0, *b"QEMU")]), None);
    assert_eq!(refused(vec![Item::key(0x20, [])]), Some(ItemError::Range(0x20)));
    assert_eq!(refused(vec![Item::key(0xc000, [])]), Some(ItemError::Range(0xc000)));
    assert_eq!(refused(vec![file("a"), file("a")]), Some(ItemError::Twice("a".into())));
    assert_eq!(refused(vec![file("")]), Some(ItemError::Name(String::new())));
    assert!(refused(vec![file(&"n".repeat(55))]).is_none());
    assert!(refused(vec![file(&"n".repeat(56))]).is_some());
    assert_eq!(refused(vec![file("a b")]), Some(ItemError::Name("a b".into())));
}

#[test]
fn fuzzed() {
    let planted = fuzz(
        || (board(Rig::new()), (Random::new(7), 0)),
        3,
        &[FuzzRange::Ports(0x50e, 16)],
        |(rig, (random, planted)), what| {
            if what < 64 {
                let control = random.draw() as u32 & 0x8023_001f;
                let length = random.draw() as u32 >> random.below(32);
                let address = random.draw() >> random.below(64);
                *planted += u32::from(dma(rig, control, length, address) == 0);
            }
        },
    );
    assert!(planted.1.1 > 1000, "the fuzzer reaches commands that succeed");
}

/// OVMF moves the PM ports before it reads the tables that name them.
#[test]
fn an_item_is_brought_up_to_date_when_it_is_read() {
    let count = Arc::new(AtomicU8::new(0));
    scenario(|rig| {
        let counted = count.clone();
        let item = Item::file("t", [0; 3]).latest(move |data| data[1] = counted.load(Ordering::Relaxed));
        let wiring = rig.wiring();
        rig.attach(FwCfg::new(vec![item], Dma::always(rig.ram().clone())).unwrap(), &wiring);
        for now in [5, 9] {
            count.store(now, Ordering::Relaxed);
            rig.outw(0x510, 0x20);
            assert_eq!([0; 3].map(|_| rig.inb(0x511)), [0, now, 0]);
        }
        // By DMA, too.
        count.store(7, Ordering::Relaxed);
        assert_eq!(dma(rig, 0x20 << 16 | spec::DMA_SELECT | spec::DMA_READ, 3, BUFFER.into()), 0);
        assert_eq!(rig.peek(BUFFER.into(), 3), [0, 7, 0]);
    });
}
