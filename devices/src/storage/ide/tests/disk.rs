//! Hard disks.

use super::*;
use crate::storage::ide::spec::cmd;

const BASE: u16 = 0x1f0;
const STATUS: u16 = 0x1f7;
const ALT: u16 = 0x3f6;

fn word(data: &[u8], index: usize) -> u16 {
    u16::from_le_bytes([data[2 * index], data[2 * index + 1]])
}

fn text(data: &[u8], first: usize, words: usize) -> String {
    let bytes = (first..first + words).flat_map(|index| word(data, index).to_be_bytes());
    String::from_utf8(bytes.collect()).unwrap().trim_end().to_owned()
}

#[test]
fn identifies_as_qemus_disk() {
    Machine::both(|m| {
        m.command(BASE, 0, 0, 0, cmd::IDENTIFY);
        assert!(m.rig.irq(14));
        assert_eq!(m.inb(STATUS), READY | DRQ);
        assert!(!m.rig.irq(14), "reading the status lowers the interrupt");
        let data = m.data(BASE, 512);
        assert_eq!(m.inb(STATUS), READY);
        assert_eq!(text(&data, 27, 20), "QEMU HARDDISK");
        assert_eq!(text(&data, 10, 10), "QM00001");
        assert_eq!(text(&data, 23, 4), "2.5+");
        assert_eq!([word(&data, 1), word(&data, 3), word(&data, 6)], [8, 16, 63]);
        let sectors = u32::from(word(&data, 60)) | u32::from(word(&data, 61)) << 16;
        assert_eq!(sectors, DISK_SECTORS as u32);
        assert_eq!(word(&data, 83), 0x7400);
        assert_eq!(word(&data, 88), 0x203f);
        assert_eq!(word(&data, 59), 0x110);
    });
}

#[test]
fn reads_sectors_by_pio_one_interrupt_each() {
    Machine::both(|m| {
        m.command(BASE, 0, 3, 5, cmd::READ);
        for sector in 5..8 {
            assert_eq!(m.inb(ALT) & BSY, BSY);
            m.wait();
            assert!(m.rig.irq(14));
            assert_eq!(m.inb(STATUS), READY | DRQ);
            assert_eq!(m.data(BASE, 512), pattern(DISK_SECTORS)[sector * 512..][..512]);
        }
        assert_eq!(m.inb(STATUS), READY);
        assert!(!m.rig.irq(14));
        assert_eq!([m.inb(0x1f2), m.inb(0x1f3)], [0, 8]);
    });
}

#[test]
fn reads_by_chs_as_by_lba() {
    Machine::both(|m| {
        // Cylinder 1, head 2, sector 3 of 16 heads with 63 sectors.
        for (port, value) in (0x1f2..).zip([1, 3, 1, 0, 0xa2, cmd::READ]) {
            m.out(port, value);
        }
        m.wait();
        let lba = (16 + 2) * 63 + 2;
        assert_eq!(m.data(BASE, 512), pattern(DISK_SECTORS)[lba * 512..][..512]);
        // There is no sector 0.
        for (port, value) in (0x1f2..).zip([1, 0, 0, 0, 0xa0, cmd::READ]) {
            m.out(port, value);
        }
        assert_eq!([m.inb(STATUS) & 1, m.inb(0x1f1)], [1, 0x10]);
    });
}

#[test]
fn multiple_moves_blocks_and_a_shorter_last_one() {
    Machine::both(|m| {
        m.command(BASE, 0, 8, 0, cmd::SET_MULTIPLE);
        assert_eq!(m.inb(STATUS), READY);
        m.command_ext(BASE, 11, 100, cmd::READ_MULTIPLE_EXT);
        for (first, count) in [(100, 8), (108, 3)] {
            m.wait();
            assert!(m.rig.irq(14));
            m.inb(STATUS);
            let data = m.data(BASE, count * 512);
            assert_eq!(data, pattern(DISK_SECTORS)[first * 512..][..count * 512]);
        }
        assert_eq!(m.inb(STATUS), READY);
        m.command(BASE, 0, 3, 0, cmd::SET_MULTIPLE);
        assert_eq!([m.inb(STATUS) & 1, m.inb(0x1f1)], [1, 4]);
    });
}

#[test]
fn writes_by_pio_reach_the_disk_and_flush_waits() {
    Machine::both(|m| {
        m.command(BASE, 0, 2, 20, cmd::WRITE);
        assert!(!m.rig.irq(14), "the first block is asked for without an interrupt");
        for fill in [0x1111u16, 0x2222] {
            assert_eq!(m.inb(STATUS), READY | DRQ);
            for _ in 0..256 {
                m.rig.outw(BASE, fill);
            }
            assert_eq!(m.inb(ALT) & BSY, BSY);
            m.wait();
            assert!(m.rig.irq(14));
        }
        assert_eq!(m.inb(STATUS), READY);
        let contents = m.disk.contents();
        assert_eq!(contents[20 * 512..21 * 512], [0x11; 512]);
        assert_eq!(contents[21 * 512..22 * 512], [0x22; 512]);
        assert_eq!(contents[22 * 512..23 * 512], pattern(23)[22 * 512..]);
        m.command(BASE, 0, 0, 0, cmd::FLUSH);
        assert_eq!(m.inb(ALT) & BSY, BSY);
        m.wait();
        assert!(m.rig.irq(14));
        assert_eq!(m.inb(STATUS), READY);
    });
}

#[test]
fn string_io_moves_a_sector_in_one_go() {
    Machine::both(|m| {
        m.command(BASE, 0, 1, 9, cmd::READ);
        m.wait();
        m.rig.string(Dir::Read, BASE, Size::B4, 128, 0x3000);
        m.stop();
        assert_eq!(m.rig.peek(0x3000, 512), pattern(10)[9 * 512..]);
        assert_eq!(m.inb(STATUS), READY);
        m.command(BASE, 0, 1, 30, cmd::WRITE);
        m.rig.string(Dir::Write, BASE, Size::B2, 256, 0x3000);
        m.wait();
        assert_eq!(m.disk.contents()[30 * 512..31 * 512], pattern(10)[9 * 512..]);
    });
}

#[test]
fn dma_moves_scattered_memory() {
    Machine::both(|m| {
        m.table(0, &[(0x2_0000, 512), (0x3_0100, 1024), (0x4_0000, 512)]);
        m.command(BASE, 0, 4, 50, cmd::READ_DMA);
        m.out(BM, 9);
        assert_eq!(m.inb(BM + 2) & 5, 1);
        m.wait();
        assert!(m.rig.irq(14));
        assert_eq!(m.inb(BM + 2) & 7, 4);
        assert_eq!(m.inb(STATUS), READY);
        m.out(BM, 0);
        m.out(BM + 2, 4);
        assert_eq!(m.inb(BM + 2) & 7, 0);
        let all = pattern(54);
        assert_eq!(m.rig.peek(0x2_0000, 512), all[50 * 512..51 * 512]);
        assert_eq!(m.rig.peek(0x3_0100, 1024), all[51 * 512..53 * 512]);
        assert_eq!(m.rig.peek(0x4_0000, 512), all[53 * 512..]);

        m.rig.poke(0x2_0000, &[0xab; 512]);
        m.table(0, &[(0x2_0000, 512)]);
        m.out(BM, 1);
        m.command_ext(BASE, 1, 70, cmd::WRITE_DMA_EXT);
        m.wait();
        assert_eq!(m.inb(BM + 2) & 7, 4, "an engine that was started first works too");
        assert_eq!(m.disk.contents()[70 * 512..71 * 512], [0xab; 512]);
    });
}

#[test]
fn tables_that_do_not_fit_are_told_as_the_datasheet_says() {
    Machine::both(|m| {
        m.table(0, &[(0x2_0000, 1024)]);
        m.command(BASE, 0, 1, 0, cmd::READ_DMA);
        m.out(BM, 9);
        m.wait();
        assert_eq!(m.inb(BM + 2) & 7, 5, "longer: interrupt, still active");
        m.out(BM, 0);
        m.out(BM + 2, 6);
        m.inb(STATUS);

        m.table(0, &[(0x2_0000, 512)]);
        m.command(BASE, 0, 2, 0, cmd::READ_DMA);
        m.out(BM, 9);
        m.wait();
        assert_eq!(m.inb(BM + 2) & 7, 0, "shorter: no interrupt, not active");
        assert!(!m.rig.irq(14));
        m.out(BM, 0);

        m.table(0, &[(0xf000_0000, 512)]);
        m.command(BASE, 0, 1, 0, cmd::READ_DMA);
        m.out(BM, 9);
        assert_eq!(m.inb(BM + 2) & 3, 2, "no memory there: error, not active");
        assert_eq!(m.inb(STATUS) & 1, 1);
    });
}

#[test]
fn a_reset_in_mid_transfer_forgets_it() {
    Machine::both(|m| {
        m.rig.poke(0x2_0000, &[0xee; 512]);
        m.table(0, &[(0x2_0000, 512)]);
        m.command(BASE, 0, 1, 0, cmd::READ_DMA);
        m.out(BM, 9);
        m.out(ALT, 4);
        assert_eq!(m.inb(ALT) & BSY, BSY);
        m.out(ALT, 0);
        m.wait();
        assert!(!m.rig.irq(14));
        assert_eq!(m.inb(STATUS), READY);
        let signature: Vec<u8> = (0x1f1..0x1f7).map(|port| m.inb(port)).collect();
        assert_eq!(signature, [1, 1, 1, 0, 0, 0xa0]);
        m.out(BM, 0);
        m.command(BASE, 0, 1, 0, cmd::READ);
        m.wait();
        assert_eq!(m.data(BASE, 512), pattern(1));
    });
}

#[test]
fn errors_are_told() {
    Machine::both(|m| {
        m.command(BASE, 0, 2, DISK_SECTORS as u32 - 1, cmd::READ);
        assert_eq!([m.inb(STATUS) & 0x89, m.inb(0x1f1)], [1, 0x10], "beyond the end");
        m.command(BASE, 0, 0, 0, 0xf7);
        assert_eq!([m.inb(STATUS) & 0x89, m.inb(0x1f1)], [1, 4], "no such command");
        m.disk.set_broken(true);
        m.command(BASE, 0, 1, 3, cmd::READ);
        m.wait();
        assert!(m.rig.irq(14));
        assert_eq!([m.inb(STATUS) & 0x89, m.inb(0x1f1)], [1, 0x40], "uncorrectable");
        m.table(0, &[(0x2_0000, 512)]);
        m.command(BASE, 0, 1, 3, cmd::WRITE_DMA);
        m.out(BM, 1);
        m.wait();
        assert_eq!([m.inb(STATUS) & 0x89, m.inb(0x1f1), m.inb(BM + 2) & 1], [1, 4, 0]);
        let action = ErrorAction::Report;
        let error = |write| DeviceEvent::BlockError { drive: 0, write, no_space: false, action };
        assert_eq!(m.heard(), [error(false), error(true)], "but not of what was the guest's own fault");
        m.disk.set_broken(false);
        m.command(BASE, 0, 1, 3, cmd::READ);
        m.wait();
        assert_eq!(m.inb(STATUS), READY | DRQ);
    });
}

/// `werror=stop`: the drive stays busy while the guest is stopped, and nothing of the command is lost or done twice.
#[test]
fn a_disk_that_failed_does_it_again_when_the_guest_goes_on() {
    let mut m = Machine::on_errors(ErrorPolicy { read: OnError::Stop, write: OnError::Stop });
    m.rig.poke(0x2_0000, &[0xa5; 512]);
    m.table(0, &[(0x2_0000, 512)]);
    let begin = |m: &mut Machine| {
        m.disk.set_broken(true);
        m.command(BASE, 0, 1, 3, cmd::WRITE_DMA);
        m.out(BM, 1);
        m.wait();
        let action = ErrorAction::Stop;
        assert_eq!(m.heard(), [DeviceEvent::BlockError { drive: 0, write: true, no_space: false, action }]);
        assert_eq!(
            (m.inb(ALT) & 1, m.inb(BM + 2) & 3, m.rig.irq(14)),
            (0, 1, false),
            "the guest is told nothing"
        );
        m.heard.1.lock().unwrap().pop().expect("somebody is to send it again")
    };
    let stopped = begin(&mut m);
    // The host is no better yet.
    stopped.retry();
    m.wait();
    assert!(stopped.waits() && m.heard().len() == 1);
    m.disk.set_broken(false);
    stopped.retry();
    m.wait();
    assert!(!stopped.waits() && m.rig.irq(14));
    assert_eq!(m.inb(STATUS) & 0x89, 0);
    assert_eq!(m.disk.contents()[3 * 512..4 * 512], [0xa5; 512]);
    m.out(BM, 0);
    // What was reset meanwhile is not done.
    m.rig.poke(0x2_0000, &[0x5a; 512]);
    let stopped = begin(&mut m);
    m.out(ALT, 4);
    m.out(ALT, 0);
    m.wait();
    m.disk.set_broken(false);
    assert!(!stopped.waits());
    stopped.retry();
    m.wait();
    assert_eq!(m.disk.contents()[3 * 512..4 * 512], [0xa5; 512]);
    assert_eq!(m.inb(STATUS), READY);
}

#[test]
fn absent_drives_float_low() {
    Machine::both(|m| {
        m.out(0x1f6, 0xb0);
        assert_eq!([m.inb(STATUS), m.inb(ALT), m.inb(0x1f1)], [0, 0, 0]);
        m.command(BASE, 0, 0, 0x1000_0000, cmd::IDENTIFY);
        m.out(0x1f6, 0xb0);
        m.out(STATUS, cmd::IDENTIFY);
        m.wait();
        assert_eq!(m.inb(STATUS), 0);
        assert_eq!(m.rig.inw(BASE), 0);
        assert_eq!(m.inb(0x177), READY, "the other channel's drive is there");
    });
}

#[test]
fn interrupts_can_be_switched_off() {
    Machine::both(|m| {
        m.out(ALT, 2);
        m.command(BASE, 0, 1, 0, cmd::READ);
        m.wait();
        assert!(!m.rig.irq(14));
        assert_eq!(m.inb(ALT), READY | DRQ);
    });
}

#[test]
fn older_halves_are_read_through_the_control_register() {
    Machine::both(|m| {
        m.command_ext(BASE, 0, 0, cmd::READ_NATIVE_MAX_EXT);
        m.inb(STATUS);
        let last = DISK_SECTORS as u64 - 1;
        assert_eq!(u64::from(m.inb(0x1f3)), last & 0xff);
        m.out(0x1f2, 0x12);
        m.out(0x1f2, 0x34);
        assert_eq!(m.inb(0x1f2), 0x34);
        m.out(ALT, 0x80);
        assert_eq!(m.inb(0x1f2), 0x12);
        m.out(0x1f3, 0);
        assert_eq!(m.inb(0x1f2), 0x34, "a write ends it");
    });
}

#[test]
fn smart_is_well_and_wants_its_key() {
    Machine::both(|m| {
        m.command(BASE, 0xd0, 1, 0, cmd::SMART);
        assert_eq!([m.inb(STATUS) & 1, m.inb(0x1f1)], [1, 4]);
        m.command(BASE, 0xd0, 1, 0xc2_4f00, cmd::SMART);
        assert_eq!(m.inb(STATUS), READY | DRQ);
        let data = m.data(BASE, 512);
        assert_eq!(data.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        m.command(BASE, 0xd9, 0, 0xc2_4f00, cmd::SMART);
        m.command(BASE, 0xda, 0, 0xc2_4f00, cmd::SMART);
        assert_eq!(m.inb(STATUS) & 1, 1, "disabled");
        m.command(BASE, 0xd8, 0, 0xc2_4f00, cmd::SMART);
        m.command(BASE, 0xda, 0, 0xc2_4f00, cmd::SMART);
        assert_eq!([m.inb(STATUS), m.inb(0x1f4), m.inb(0x1f5)], [READY, 0x4f, 0xc2]);
    });
}

#[test]
fn trim_clears_its_ranges() {
    Machine::both(|m| {
        let mut list = [0; 512];
        list[..8].copy_from_slice(&(40u64 | 2 << 48).to_le_bytes());
        list[8..16].copy_from_slice(&(44u64 | 1 << 48).to_le_bytes());
        m.rig.poke(0x2_0000, &list);
        m.table(0, &[(0x2_0000, 512)]);
        m.out(0x1f1, 1);
        m.command_ext(BASE, 1, 0, cmd::DATA_SET_MANAGEMENT);
        m.out(BM, 1);
        m.wait();
        m.wait();
        assert_eq!(m.inb(STATUS), READY);
        let (now, was) = (m.disk.contents(), pattern(46));
        assert_eq!(now[40 * 512..42 * 512], [0; 1024]);
        assert_eq!(now[42 * 512..44 * 512], was[42 * 512..44 * 512]);
        assert_eq!(now[44 * 512..45 * 512], [0; 512]);
    });
}

#[test]
fn without_write_cache_a_write_is_flushed() {
    Machine::both(|m| {
        m.command(BASE, 0x82, 0, 0, cmd::SET_FEATURES);
        m.wait();
        assert_eq!(m.inb(STATUS), READY);
        m.command(BASE, 0, 1, 20, cmd::WRITE);
        for _ in 0..256 {
            m.rig.outw(BASE, 1);
        }
        m.wait();
        assert_eq!(m.inb(ALT) & BSY, BSY, "written, not yet safe");
        m.wait();
        assert_eq!(m.inb(STATUS), READY);
    });
}
