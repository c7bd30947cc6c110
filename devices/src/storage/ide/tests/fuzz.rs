//! Random accesses: nothing panics, hangs or grows.

use super::*;
use crate::storage::ide::spec::cmd;

/// A small generator: what it gives depends on the seed only.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next(of.len() as u64) as usize]
    }
}

const COMMANDS: [u8; 24] = [
    cmd::READ,
    cmd::READ_EXT,
    cmd::READ_DMA,
    cmd::READ_DMA_EXT,
    cmd::READ_MULTIPLE,
    cmd::WRITE,
    cmd::WRITE_DMA,
    cmd::WRITE_MULTIPLE_EXT,
    cmd::IDENTIFY,
    cmd::IDENTIFY_PACKET,
    cmd::PACKET,
    cmd::PACKET,
    cmd::PACKET,
    cmd::SET_FEATURES,
    cmd::SET_MULTIPLE,
    cmd::INIT_PARAMETERS,
    cmd::SMART,
    cmd::DATA_SET_MANAGEMENT,
    cmd::FLUSH,
    cmd::DEVICE_RESET,
    cmd::DIAGNOSTIC,
    cmd::READ_NATIVE_MAX,
    cmd::VERIFY,
    cmd::SEEK,
];
const PACKETS: [u8; 21] = [
    0x00, 0x03, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x43, 0x46, 0x4a, 0x51, 0x55, 0x5a, 0xa8,
    0xad, 0xbd, 0xbe, 0xff,
];

/// One thing a guest may do.
pub(super) fn step(m: &mut Machine, random: &mut Random) {
    let base = random.one_of(&[0x1f0u16, 0x170]);
    let byte = random.next(256) as u8;
    match random.next(20) {
        0..4 => m.rig.outb(base + 1 + random.next(6) as u16, byte),
        4 => m.rig.outb(base + 6, random.one_of(&[0xe0, 0xa0, 0xf0, byte])),
        5 | 6 => m.rig.outb(base + 7, random.one_of(&COMMANDS)),
        7 => m.rig.outb(base + 7, byte),
        8 => m.rig.outb(base + 0x206, random.one_of(&[0, 2, 4, 0x80, byte])),
        9 => drop(m.rig.inb(base + random.next(8) as u16)),
        10 => drop(m.rig.inl(base + random.next(8) as u16)),
        11 => {
            let size = random.one_of(&[Size::B1, Size::B2, Size::B4]);
            let dir = random.one_of(&[Dir::Read, Dir::Write]);
            m.rig.string(dir, base, size, random.next(600) as u32, 0x2_0000 + random.next(0x1_0000));
        }
        12 => m.rig.outb(BM + random.next(16) as u16, byte),
        13 => m.rig.outb(BM + 8 * random.next(2) as u16, random.one_of(&[0, 1, 9])),
        14 => {
            let any = random.next(1 << 32);
            let table = random.one_of(&[TABLE, 0x2_fff8, 0x1f_fff0, any]);
            m.rig.outl(BM + 4 + 8 * random.next(2) as u16, table as u32);
        }
        15 => {
            for at in 0..random.next(20) {
                let end = u64::from(random.next(3) == 0) << 63;
                let (low, any) = (random.next(2 << 20), random.next(1 << 32));
                let gpa = random.one_of(&[low, any]);
                let entry = gpa | random.next(1 << 16) << 32 | end;
                m.rig.poke(TABLE + 8 * at, &entry.to_le_bytes());
            }
        }
        16 => packet(m, base, random),
        17 => m.rig.advance(random.next(us(300))),
        18 => match random.next(12) {
            0 => m.rig.config_write(1, 1, pci_reg::COMMAND, Size::B2, random.next(8) as u32),
            1 => {
                let _ = m.tray.eject(byte & 1 != 0);
            }
            2 => {
                let medium = Machine::medium(&m.rig, 30);
                let _ = m.tray.insert(medium, byte & 1 != 0);
            }
            _ => m.rig.config_write(1, 1, pci_reg::COMMAND, Size::B2, 5),
        },
        _ => m.disk.set_broken(random.next(5) == 0),
    }
}

fn packet(m: &mut Machine, base: u16, random: &mut Random) {
    m.rig.outb(base + 1, random.next(2) as u8);
    m.rig.outb(base + 7, cmd::PACKET);
    let mut packet: Vec<u8> = (0..12).map(|_| random.one_of(&[0, 0, 1, random.0 as u8])).collect();
    packet[0] = random.one_of(&PACKETS);
    for pair in packet.chunks(2) {
        m.rig.outw(base, u16::from_le_bytes([pair[0], pair[1]]));
    }
}

#[test]
fn random_accesses_do_no_harm() {
    let mut m = Machine::new(false);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..200_000 {
        step(&mut m, &mut random);
    }
    // It still works.
    m.disk.set_broken(false);
    m.rig.reset();
    m.rig.advance(us(1000));
    m.command(0x1f0, 0, 0, 0, cmd::IDENTIFY);
    assert_eq!(m.rig.inb(0x1f7), READY | DRQ);
}

#[test]
fn random_accesses_survive_saves_at_any_instant() {
    let mut m = Machine::new(false);
    for seed in 1..=20 {
        let mut random = Random(seed);
        for _ in 0..300 {
            step(&mut m, &mut random);
            m.rig.save_load();
        }
    }
}
