//! On Xen a device model hears of nothing that it does not claim: the ports of the chipset are those that
//! QEMU was recorded to claim (QEMU 7.2 on Xen 4.17, `xl create` of an HVM guest).

use std::sync::Arc;

use devices::chipset::i440fx::I440fx;
use devices::chipset::piix3::{Links, Piix3};
use devices::chipset::piix4_pm::{Options, Piix4Pm};
use devices::chipset::port92::Port92;
use devices::chipset::post::Post;
use devices::timer::rtc::cmos::Cmos;
use devices::xen::platform::{Platform, PlatformOps, Unplug};
use devices_core::rig::Rig;
use devices_core::{Sbdf, Size, Ticket};

/// A host that does nothing.
struct Deaf;

impl PlatformOps for Deaf {
    fn unplug(&self, _what: Unplug, _done: Ticket) {}
    fn lock_roms(&self, _locked: bool) {}
    fn drivers(&self, _product: u16, _build: u32) -> bool {
        true
    }
    fn log(&self, _line: &str) {}
}

/// Xen routes the links by itself.
impl Links for Deaf {
    fn route(&self, _link: u8, _irq: Option<u8>) {}
}

fn machine() -> Rig {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    rig.attach_pci(I440fx::new(512 << 20, None), &wiring, 0, 0);
    let wiring = rig.wiring();
    rig.attach_pci(Piix3::new(Arc::new(Deaf), rig.recorder()), &wiring, 1, 0);
    let options = Options { up_stays: true, events_elsewhere: true, ..Options::default() };
    let wiring = rig.wiring();
    let pm = Piix4Pm::new(options, rig.irqs().line(9), rig.recorder(), Arc::new(|_| ()), &wiring);
    rig.attach_pci(pm, &wiring, 1, 3);
    let wiring = rig.wiring();
    rig.attach_pci(Platform::new(Arc::new(Deaf), &wiring), &wiring, 2, 0);
    let wiring = rig.wiring();
    rig.attach(Cmos::new(0), &wiring);
    rig.attach(Port92::new(rig.irqs().line(200), rig.recorder()), &wiring);
    rig.attach(Post::default(), &wiring);
    rig
}

#[test]
fn the_chipset_claims_what_qemu_claims() {
    let mut rig = machine();
    let mut recorded = vec![
        0x10..=0x1f,
        0x70..=0x71,
        0x80..=0x80,
        0x92..=0x92,
        0xb2..=0xb3,
        0xf0..=0xf0,
        0xcf8..=0xcff,
        0xae00..=0xae17,
        0xaf00..=0xaf1f,
        0xafe0..=0xafe3,
        0xb100..=0xb13f,
    ];
    assert_eq!(rig.claims().ports, recorded);
    let functions = [(0, 0), (1, 0), (1, 3), (2, 0)].map(|(device, function)| Sbdf::bus0(device, function));
    assert_eq!(rig.claims().functions, functions);
    // What hvmloader writes: the SMBus goes, power management comes.
    rig.config_write(1, 3, 0xd2, Size::B1, 0);
    rig.config_write(1, 3, 0x40, Size::B4, 0xb001);
    rig.config_write(1, 3, 0x80, Size::B1, 1);
    recorded.pop();
    recorded.extend([0xb000..=0xb005, 0xb008..=0xb00b]);
    assert_eq!(rig.claims().ports, recorded);
}
