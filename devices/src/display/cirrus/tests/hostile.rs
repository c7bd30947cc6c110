//! What guests have done to such devices, in words. Each of these reached memory of the host's in QEMU once.

use devices_core::Size;
use devices_core::rig::Rig;
use vm_memory::{Bytes, MemoryRegionAddress};

use super::blit::{COPY, Regs, start, status};
use super::*;

const END: u32 = (4 << 20) - 1;

/// Starts an operation, feeds or drains it if it waits, and looks whether the device still answers.
fn survive(regs: &Regs) {
    let mut rig = Rig::new();
    let (cirrus, _) = attach(&mut rig);
    start(&mut rig, regs);
    for turn in 0..300 {
        rig.mmio_write(BAR0 + (16 << 20), Size::B4, turn * 0x0101_0101);
        rig.mmio_read(BAR0 + (16 << 20), Size::B4);
        if turn == 100 {
            rig.save_load();
        }
    }
    assert_eq!(rig.mmio_read(BAR1 + 0x140, Size::B1) & !0x13, 0);
    cirrus.lock().inspect(&mut Node::default());
    rig.mmio_write(BAR1 + 0x140, Size::B1, 4);
    assert_eq!(status(&mut rig), 4, "{regs:?}");
}

#[test]
fn a_destination_beyond_the_end_of_memory() {
    // CVE-2007-1320: neither destination nor pitch was bounded. Here what leaves the memory comes in at its beginning.
    survive(&Regs {
        width: 8192,
        height: 2048,
        pitch: 0x1fff,
        to: END,
        mode: 0xc0,
        ext: 4,
        rop: COPY,
        foreground: 0x55,
        ..Regs::default()
    });
    let mut rig = Rig::new();
    let (_, block) = attach(&mut rig);
    let regs = Regs {
        width: 2,
        height: 1,
        to: END,
        mode: 0xc0,
        ext: 4,
        rop: COPY,
        foreground: 7,
        ..Regs::default()
    };
    start(&mut rig, &regs);
    let byte = |at| block.read_obj::<u8>(MemoryRegionAddress(at)).unwrap();
    assert_eq!([byte(END.into()), byte(0), byte(1)], [7, 7, 0]);
}

#[test]
fn a_source_that_is_not_checked_when_the_destination_is() {
    // CVE-2008-4539 and CVE-2014-8106: one of both ends was checked, or the first line alone.
    for (to, from) in [(0, END), (END, 0), (END, END)] {
        survive(&Regs {
            width: 8192,
            height: 2048,
            pitch: 0x1fff,
            source_pitch: 0x1fff,
            to,
            from,
            rop: 0x59,
            ..Regs::default()
        });
    }
}

#[test]
fn a_backward_copy_that_begins_at_the_beginning() {
    // CVE-2017-2615: a negative pitch, so that the check of the end says nothing of the beginning.
    for to in [0, 1, 5000] {
        survive(&Regs {
            width: 8192,
            height: 2048,
            pitch: 0x1fff,
            source_pitch: 0x1fff,
            to,
            from: to / 2,
            mode: 1,
            rop: COPY,
            ..Regs::default()
        });
        survive(&Regs { width: 8192, height: 3, pitch: 1, to, mode: 0x19, rop: COPY, ..Regs::default() });
    }
}

#[test]
fn a_transfer_whose_destination_nobody_looked_at() {
    // CVE-2017-2620: the path from the processor had no check, and its line is longer than what it is collected in.
    for mode in [0x04, 0x84, 0x44, 0xc4, 0x34, 0x8c, 0x0c, 0xb4] {
        survive(&Regs {
            width: 8192,
            height: 2048,
            pitch: 0x1fff,
            to: END,
            mode,
            rop: 0x59,
            ext: mode >> 4 & 3,
            ..Regs::default()
        });
        survive(&Regs { width: 1, height: 1, to: END, mode, rop: COPY, ..Regs::default() });
    }
}

#[test]
fn a_pattern_that_begins_before_the_end() {
    // CVE-2017-7980 and CVE-2016-9921 to 9923: a pattern that ends beyond the memory; a width or pitch of nothing that is
    // divided by; a depth that is none of the picture's.
    for mode in [0x40, 0x50, 0x60, 0x70, 0xc0, 0xe8] {
        survive(&Regs {
            width: 5,
            height: 9,
            from: END,
            to: END,
            mode,
            skip: 0xff,
            rop: 0xd6,
            ..Regs::default()
        });
        survive(&Regs {
            width: 1,
            height: 2048,
            from: END - 1,
            mode,
            skip: 0xff,
            rop: COPY,
            ..Regs::default()
        });
    }
}

#[test]
fn what_the_engine_cannot_do_leaves_it_idle() {
    // From the processor to the processor; a comparison of 24 bits; bits to the processor.
    for mode in [0x06, 0x28, 0x82, 0x42] {
        let mut rig = Rig::new();
        attach(&mut rig);
        start(&mut rig, &Regs { width: 4, height: 4, mode, rop: COPY, ..Regs::default() });
        assert_eq!(status(&mut rig), 0, "{mode:#x}");
    }
}

#[test]
fn a_blitter_that_is_switched_off_does_nothing() {
    let mut rig = Rig::new();
    let block = new_block(0, 4 << 20).unwrap();
    let wiring = rig.wiring();
    rig.attach_pci(Cirrus::new(&wiring, block.clone()).without_blitter(), &wiring, 2, 0);
    decode(&mut rig);
    start(&mut rig, &Regs { width: 4, height: 1, mode: 0xc0, ext: 4, rop: 0x0e, ..Regs::default() });
    assert_eq!((status(&mut rig), block.read_obj::<u32>(MemoryRegionAddress(0)).unwrap()), (0, 0));
}

#[test]
fn states_that_lie_are_refused() {
    let mut rig = Rig::new();
    let (cirrus, _) = attach(&mut rig);
    start(&mut rig, &Regs { width: 64, height: 9, mode: 4, rop: COPY, ..Regs::default() });
    rig.mmio_write(BAR0 + (16 << 20), Size::B4, 0x0403_0201);
    let saved = cirrus.lock().save().unwrap();
    cirrus.lock().load(&saved).unwrap();
    for cut in (0..saved.body.len()).step_by(7) {
        let short = Saved { body: saved.body[..cut].to_vec(), ..saved.clone() };
        assert!(cirrus.lock().load(&short).is_err());
    }
    // Whatever single byte is wrong, what loads goes on without a panic.
    for at in 0..saved.body.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut body = saved.body.clone();
            body[at] ^= change;
            if cirrus.lock().load(&Saved { body, ..saved.clone() }).is_ok() {
                decode(&mut rig);
                (0..40).for_each(|_| rig.mmio_write(BAR0 + (16 << 20), Size::B4, 0xffff_ffff));
                rig.mmio_read(BAR0 + (16 << 20), Size::B4);
                cirrus.lock().inspect(&mut Node::default());
            }
        }
    }
}
