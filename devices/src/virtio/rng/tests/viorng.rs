//! How viorng of virtio-win works (facts of its public source): it accepts VERSION_1 and ANY_LAYOUT, has one queue, whose
//! interrupts it turns on and which it notifies with nothing in it; each read of an application is a buffer of at most a
//! page. With messages it looks at the number of the message alone, without them at the interrupt status. When the computer
//! goes to sleep it resets, and begins again.

use devices_core::Size;

use super::super::super::driver::pci::MESSAGE;
use super::super::super::driver::windows;
use super::super::super::pci::spec::ISR;
use super::*;

const PAGE: u32 = 4096;

/// Three reads; `interrupted` says whether one was told.
fn reads(rig: &mut Rig, vector: Option<u16>, mut interrupted: impl FnMut(&mut Rig) -> bool) {
    let mut position = 0;
    for _ in 0..2 {
        windows::initialize(rig);
        let features = windows::agree(rig, feature::VERSION_1 | feature::ANY_LAYOUT);
        let mut queues = windows::find_queues(rig, features, &[(8, QUEUE, vector)]);
        windows::ready(rig);
        queues[0].want_interrupts(true);
        driver::notify(rig, 0);
        assert!(!interrupted(rig), "there is nothing in it");
        for len in [16, PAGE, 1] {
            assert!(queues[0].offer(&[Buffer { gpa: DATA, len, write: true }], false, len.into()));
            driver::notify(rig, 0);
            assert!(interrupted(rig));
            assert_eq!(queues[0].used(), Some((len.into(), len)));
            assert_eq!(rig.peek(DATA, len as usize), expected(position, len as usize));
            position += u64::from(len);
        }
        windows::shut_down(rig, 1);
    }
}

#[test]
fn with_messages() {
    scenario(|rig| {
        attach(rig);
        driver::use_messages(rig, 2);
        reads(rig, Some(0), |rig| rig.take_messages() == [(0xfee0_0000, MESSAGE)]);
    });
}

#[test]
fn without() {
    scenario(|rig| {
        attach(rig);
        reads(rig, None, |rig| rig.mmio_read(MEMORY + ISR.offset, Size::B1) == 1);
    });
}
