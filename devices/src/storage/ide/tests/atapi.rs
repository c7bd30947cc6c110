//! CD drives.

use super::*;

const BASE: u16 = 0x170;
const STATUS: u16 = 0x177;

/// Error and sense after a packet that failed: error register, key, code.
fn sense(m: &mut Machine) -> (u8, u8, u8) {
    let error = m.inb(0x171);
    send(m, &[3, 0, 0, 0, 18], 18, false);
    let data = m.data(BASE, 18);
    (error, data[2], data[12])
}

/// Sends a packet, up to the answer to it.
fn send(m: &mut Machine, packet: &[u8], limit: u16, dma: bool) {
    m.command(BASE, dma.into(), 0, u32::from(limit) << 8, 0xa0);
    assert_eq!(m.inb(STATUS) & (BSY | DRQ), DRQ);
    assert_eq!(m.inb(0x172) & 3, 1, "it asks for the packet");
    let mut bytes = packet.to_vec();
    bytes.resize(12, 0);
    for pair in bytes.chunks(2) {
        m.rig.outw(BASE, u16::from_le_bytes([pair[0], pair[1]]));
    }
    m.stop();
}

/// Reads DRQ blocks to the end.
fn receive(m: &mut Machine) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    loop {
        if m.inb(0x376) & BSY != 0 {
            m.wait();
        }
        assert!(m.rig.irq(15));
        let reason = m.inb(0x172) & 3;
        let status = m.inb(STATUS);
        if status & DRQ == 0 {
            assert_eq!((status & 1, reason), (0, 3));
            return blocks;
        }
        assert_eq!(reason, 2);
        let len = usize::from(m.inb(0x174)) | usize::from(m.inb(0x175)) << 8;
        blocks.push(m.data(BASE, len));
    }
}

fn failed(m: &mut Machine) -> (u8, u8, u8) {
    assert_eq!(m.inb(STATUS) & (DRQ | 1), 1);
    sense(m)
}

#[test]
fn identifies_as_qemus_drive() {
    Machine::both(|m| {
        m.command(BASE, 0, 0, 0, 0xec);
        assert_eq!(m.inb(STATUS) & 1, 1);
        assert_eq!([m.inb(0x174), m.inb(0x175)], [0x14, 0xeb]);
        m.command(BASE, 0, 0, 0, 0xa1);
        m.inb(STATUS);
        let data = m.data(BASE, 512);
        assert_eq!([data[0], data[1]], [0xc0, 0x85]);
        assert_eq!(&data[54..66], b"EQUMD DVR-MO");
        send(m, &[0x12, 0, 0, 0, 36], 36, false);
        let inquiry = receive(m).concat();
        assert_eq!(&inquiry[8..36], b"QEMU    QEMU DVD-ROM    2.5+");
    });
}

#[test]
fn vital_product_data_name_the_drive() {
    Machine::both(|m| {
        send(m, &[0x12, 1, 0, 0, 254], 512, false);
        assert_eq!(receive(m).concat(), [5, 0, 0, 2, 0, 0x83]);
        send(m, &[0x12, 1, 0x83, 0, 254], 512, false);
        let page = receive(m).concat();
        assert_eq!(page[..8], [5, 0x83, 0, 96, 2, 0, 0, 20]);
        assert!(page[8..].starts_with(b"QM00003"));
        assert_eq!(page[28..32], [2, 1, 0, 68]);
        assert!(page[32..].starts_with(b"ATA     QEMU DVD-ROM "));
        assert!(page[80..].starts_with(b"QM00003"));
        assert_eq!(page.len(), 100);
        send(m, &[0x12, 1, 0x83, 0, 10], 512, false);
        assert_eq!(receive(m).concat(), page[..10]);
        send(m, &[0x12, 1, 0x80, 0, 254], 512, false);
        assert_eq!(failed(m).1, 5);
    });
}

#[test]
fn reads_by_pio_in_blocks_of_the_limit() {
    Machine::both(|m| {
        send(m, &[0x28, 0, 0, 0, 0, 3, 0, 0, 2], 2048, false);
        let blocks = receive(m);
        assert_eq!(blocks.iter().map(Vec::len).collect::<Vec<_>>(), [2048, 2048]);
        assert_eq!(blocks.concat(), pattern(CD_FRAMES * 4)[3 * 2048..5 * 2048]);
    });
}

#[test]
fn any_limit_gives_the_same_bytes() {
    let mut m = Machine::new(false);
    for limit in [2, 130, 3000, 0xfffe, 0xffff] {
        send(&mut m, &[0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 70], limit, false);
        let bytes = receive(&mut m).concat();
        assert_eq!(bytes, pattern(CD_FRAMES * 4)[2048..71 * 2048], "limit {limit}");
    }
}

#[test]
fn reads_by_dma() {
    Machine::both(|m| {
        m.table(1, &[(0x2_0000, 1024), (0x3_0000, 3072)]);
        send(m, &[0x28, 0, 0, 0, 0, 7, 0, 0, 2], 0, true);
        m.out(BM + 8, 9);
        m.wait();
        assert!(m.rig.irq(15));
        assert_eq!(m.inb(BM + 10) & 7, 4);
        assert_eq!([m.inb(0x172) & 3, m.inb(STATUS)], [3, READY]);
        let all = pattern(CD_FRAMES * 4);
        assert_eq!(m.rig.peek(0x2_0000, 1024), all[7 * 2048..][..1024]);
        assert_eq!(m.rig.peek(0x3_0000, 3072), all[7 * 2048 + 1024..][..3072]);
        m.out(BM + 8, 0);

        m.table(1, &[(0x2_0000, 64)]);
        send(m, &[0x12, 0, 0, 0, 36], 0, true);
        m.out(BM + 8, 9);
        assert!(m.rig.irq(15));
        assert_eq!(m.rig.peek(0x2_0008, 4), b"QEMU");
    });
}

#[test]
fn raw_frames_by_dma_and_by_pio_are_the_same() {
    Machine::both(|m| {
        let packet = [0xbe, 0, 0, 0, 0, 10, 0, 0, 40, 0xf8];
        send(m, &packet, 2352, false);
        let by_pio = receive(m).concat();
        assert_eq!(by_pio.len(), 40 * 2352);
        assert_eq!(by_pio[..16], [0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 2, 0x10, 1]);
        assert_eq!(by_pio[16..2064], pattern(CD_FRAMES * 4)[10 * 2048..11 * 2048]);
        m.table(1, &[(0x2_0000, 0), (0x3_0000, (40u32 * 2352 - 0x1_0000) as u16)]);
        send(m, &packet, 0, true);
        m.out(BM + 8, 9);
        m.wait();
        m.wait();
        assert_eq!(m.inb(STATUS), READY);
        assert!(m.rig.peek(0x2_0000, by_pio.len()) == by_pio);
    });
}

#[test]
fn tells_capacity_and_contents() {
    Machine::both(|m| {
        send(m, &[0x25], 8, false);
        assert_eq!(receive(m).concat(), [0, 0, 0, CD_FRAMES as u8 - 1, 0, 0, 8, 0]);
        send(m, &[0x43, 2, 0, 0, 0, 0, 0, 0, 20], 20, false);
        let toc = receive(m).concat();
        assert_eq!(toc, [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x16, 0xaa, 0, 0, 0, 3, 45]);
        send(m, &[0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0], 256, false);
        let mode = receive(m).concat();
        assert_eq!(usize::from(mode[1]) + 2, mode.len());
        assert_eq!(mode[8], 0x2a);
        send(m, &[0x28, 0, 0, 0, 0, CD_FRAMES as u8, 0, 0, 1], 2048, false);
        assert_eq!(failed(m), (0x50, 5, 0x21));
        send(m, &[0x01], 2048, false);
        assert_eq!(failed(m), (0x50, 5, 0x20));
    });
}

#[test]
fn a_new_medium_is_told_step_by_step() {
    Machine::both(|m| {
        let medium = Machine::medium(&m.rig, 77);
        m.tray.insert(medium, false).unwrap();
        send(m, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], 8, false);
        assert_eq!(receive(m).concat(), [0, 4, 4, 0x10, 2, 2, 0, 0]);
        send(m, &[0x00], 0, false);
        assert_eq!(failed(m), (0x20, 2, 0x3a));
        send(m, &[0x00], 0, false);
        assert_eq!(failed(m), (0x60, 6, 0x28));
        send(m, &[0x00], 0, false);
        assert_eq!(m.inb(STATUS), READY);
        send(m, &[0x25], 8, false);
        assert_eq!(receive(m).concat()[3], 76);
    });
}

#[test]
fn the_guest_locks_and_opens_the_tray() {
    Machine::both(|m| {
        send(m, &[0x1e, 0, 0, 0, 1], 0, false);
        assert!(m.tray.eject(false).is_err());
        send(m, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], 8, false);
        assert_eq!(receive(m).concat()[4..6], [1, 2], "somebody pressed the button");
        send(m, &[0x1b, 0, 0, 0, 2], 0, false);
        assert_eq!(failed(m), (0x20, 2, 0x53));
        send(m, &[0x1e], 0, false);
        send(m, &[0x1b, 0, 0, 0, 2], 0, false);
        assert_eq!(m.inb(STATUS), READY);
        send(m, &[0x00], 0, false);
        assert_eq!(failed(m), (0x20, 2, 0x3a));
        send(m, &[0x1b, 0, 0, 0, 3], 0, false);
        send(m, &[0x00], 0, false);
        assert_eq!(m.inb(STATUS), READY, "the same medium is in again");
        m.tray.eject(false).unwrap();
        send(m, &[0x00], 0, false);
        assert_eq!(failed(m), (0x20, 2, 0x3a));
    });
}

/// Of each movement of the tray, whoever moved it, and of nothing else.
#[test]
fn whoever_watches_hears_of_the_tray() {
    let moved = |open| DeviceEvent::TrayMoved { drive: 2, open };
    Machine::both(|m| {
        send(m, &[0x1b, 0, 0, 0, 2], 0, false);
        send(m, &[0x1b, 0, 0, 0, 2], 0, false);
        assert_eq!((m.heard(), m.tray.is_open()), (vec![moved(true)], true));
        send(m, &[0x1b, 0, 0, 0, 3], 0, false);
        assert_eq!((m.heard(), m.tray.is_open()), (vec![moved(false)], false));
        m.tray.insert(Machine::medium(&m.rig, 20), false).unwrap();
        assert_eq!(m.heard(), [moved(true), moved(false)]);
        for _ in 0..2 {
            send(m, &[0x00], 0, false);
            assert_ne!(failed(m).1, 0, "the medium is another one");
        }
        send(m, &[0x1e, 0, 0, 0, 1], 0, false);
        assert!(m.tray.is_locked() && m.tray.open_tray(false).is_err());
        assert_eq!(m.heard(), []);
        m.tray.open_tray(true).unwrap();
        assert_eq!((m.heard(), m.tray.is_locked()), (vec![moved(true)], false));
        m.tray.close_tray();
        assert_eq!(m.heard(), [moved(false)]);
    });
}

#[test]
fn a_medium_is_changed_in_an_open_tray() {
    Machine::both(|m| {
        m.tray.open_tray(false).unwrap();
        m.tray.place(None);
        m.tray.close_tray();
        send(m, &[0x00], 0, false);
        assert_eq!(failed(m), (0x20, 2, 0x3a), "there is none");
        m.tray.open_tray(false).unwrap();
        m.tray.place(Some(Machine::medium(&m.rig, 77)));
        send(m, &[0x00], 0, false);
        assert_eq!(failed(m), (0x20, 2, 0x3a), "the tray is open");
        m.tray.close_tray();
        send(m, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], 8, false);
        assert_eq!(receive(m).concat()[4..6], [2, 2], "a new medium");
        for _ in 0..2 {
            send(m, &[0x00], 0, false);
            failed(m);
        }
        send(m, &[0x25], 8, false);
        assert_eq!(receive(m).concat()[3], 76);
    });
}

#[test]
fn a_device_reset_leaves_the_signature() {
    Machine::both(|m| {
        send(m, &[0x28, 0, 0, 0, 0, 3, 0, 0, 2], 2048, false);
        m.out(STATUS, 8);
        m.wait();
        assert_eq!([m.inb(STATUS), m.inb(0x171), m.inb(0x174), m.inb(0x175)], [0, 1, 0x14, 0xeb]);
    });
}

/// Bytes as QEMU 7.2's drive gave them to the same packets.
#[test]
fn answers_are_qemus_byte_for_byte() {
    let answers: [(&[u8], &[u8]); 7] = [
        (&[0x5a, 0, 1, 0, 0, 0, 0, 1], &[0, 14, 0x70, 0, 0, 0, 0, 0, 1, 6, 0, 5, 0, 0, 0, 0]),
        (
            &[0x5a, 0, 0x2a, 0, 0, 0, 0, 1],
            &[
                0, 0x1c, 0x70, 0, 0, 0, 0, 0, 0x2a, 0x14, 0x3b, 0, 0x71, 0x60, 0x29, 0, 2, 0xc0, 0, 2, 2, 0,
                2, 0xc0, 0, 0, 0, 0, 0, 0,
            ],
        ),
        (&[0x46, 0, 0, 0, 0, 0, 0, 1], &[0, 0, 0, 16, 0, 0, 0, 8, 0, 0, 3, 8, 0, 0x10, 0, 0, 0, 8, 1, 0]),
        // QEMU leaves the last eight bytes zero; MMC-3 wants the last session's first track there.
        (&[0x43, 0, 0, 0, 0, 0, 0, 1, 0, 0x40], &[0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]),
        (
            &[0x43, 2, 0, 0, 0, 0, 0, 1, 0, 0x80],
            &[
                0, 0x2e, 1, 1, 1, 0x14, 0, 0xa0, 0, 0, 0, 0, 1, 0, 0, 1, 0x14, 0, 0xa1, 0, 0, 0, 0, 1, 0, 0,
                1, 0x14, 0, 0xa2, 0, 0, 0, 0, 0, 3, 0x2d, 1, 0x14, 0, 1, 0, 0, 0, 0, 0, 2, 0,
            ],
        ),
        (&[0x4a, 1, 0, 0, 0x10, 0, 0, 1], &[0, 4, 4, 0x10, 0, 2, 0, 0]),
        (&[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8], &[0, 0, 0, 0, 0, 1, 0, 0]),
    ];
    Machine::both(|m| {
        for (packet, answer) in &answers {
            send(m, packet, 0xfffe, false);
            assert_eq!(receive(m).concat(), *answer, "{packet:x?}");
        }
    });
}

#[test]
fn parameters_are_taken() {
    Machine::both(|m| {
        send(m, &[0x55, 0x10, 0, 0, 0, 0, 0, 0, 16], 0xfffe, false);
        assert!(m.rig.irq(15));
        assert_eq!([m.inb(0x172) & 3, m.inb(STATUS) & DRQ], [0, DRQ]);
        for _ in 0..8 {
            m.rig.outw(BASE, 0);
        }
        assert_eq!([m.inb(0x172) & 3, m.inb(STATUS)], [3, READY]);
    });
}
