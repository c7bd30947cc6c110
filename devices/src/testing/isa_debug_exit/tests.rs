use std::mem::take;

use devices_core::model::Properties;
use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};

use super::*;

fn board(mut rig: Rig) -> Rig {
    let device = IsaDebugExit::new("exit", 0xf4, 4, rig.recorder());
    let wiring = rig.wiring();
    rig.attach(device, &wiring);
    rig
}

#[test]
fn what_is_written_is_the_status() {
    scenario(|rig| {
        let mut rig = board(take(rig));
        assert_eq!((rig.inb(0xf4), rig.inl(0xf4)), (0, 0));
        assert!(rig.take_power().is_empty(), "a read ends nothing");
        rig.outb(0xf4, 0);
        rig.outw(0xf4, 0x10);
        rig.outl(0xf4, 0xffff_ffff);
        rig.outb(0xf8, 1);
        assert_eq!(rig.take_power(), [1, 0x21, 0xff].map(PowerEvent::Exit));
    });
}

#[test]
fn ports_that_there_are_not_are_refused() {
    let check = |set: &[(&str, &str)]| {
        let mut properties = Properties::new(&model::MODEL);
        set.iter().for_each(|(name, text)| properties.parse(name, text).unwrap());
        (model::MODEL.check)(&properties).map_err(|error| error.to_string())
    };
    assert_eq!(check(&[]), Ok(()));
    assert_eq!(check(&[("iobase", "0xf4"), ("iosize", "0x04")]), Ok(()));
    assert_eq!(check(&[("iobase", "0xfffe")]), Ok(()));
    for wrong in [("iobase", "0xffff"), ("iobase", "0xffffffff"), ("iosize", "0"), ("iosize", "9")] {
        assert!(check(&[wrong]).is_err(), "{wrong:?}");
    }
}

#[test]
fn fuzzed() {
    fuzz(|| board(Rig::new()), 9, &[FuzzRange::Ports(0xf3, 6)], |_, _| {});
}
