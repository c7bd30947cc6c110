//! How NetKVM of virtio-win starts (facts of its public source): it reads the link and, byte by byte, the address before it
//! agrees on features; it sets up three queues, of which receive, send and control have a message each; a buffer for a
//! frame is a header of its own and pages behind it, by a table that lies in the header's page; it gives them all and
//! notifies before it says that it is there. Then come commands, each of a class, data and an answer in buffers of their own:
//! what is let in, the groups, each of 4096 VLANs. Frames go out as a header and pieces. On the way out it takes back that
//! it is there, and resets.

use super::super::super::driver::pci::MESSAGE;
use super::super::super::driver::windows;
use super::super::super::spec::status;
use super::*;

/// Header and pages of each buffer for a frame.
const PAGES: u64 = 0x10_0000;
const BUFFERS: u64 = 8;

/// A command in pieces; its answer.
fn command(rig: &mut Rig, control: &mut DriverQueue, of: (u8, u8), data: &[&[u8]]) -> u8 {
    rig.poke(SENT, &[of.0, of.1]);
    rig.poke(SENT + 0x800, &[0xee]);
    let mut buffers = vec![Buffer { gpa: SENT, len: 2, write: false }];
    for (at, piece) in (1..).zip(data) {
        let gpa = SENT + at * 0x100;
        rig.poke(gpa, piece);
        buffers.push(Buffer { gpa, len: piece.len() as u32, write: false });
    }
    buffers.push(Buffer { gpa: SENT + 0x800, len: 1, write: true });
    assert!(control.offer(&buffers, false, 1));
    driver::notify(rig, queue::control(1));
    assert_eq!(control.used().map(|(id, _)| id), Some(1));
    rig.peek(SENT + 0x800, 1)[0]
}

/// All 4096 VLANs come or go.
fn set_vlans(rig: &mut Rig, control: &mut DriverQueue, only: Option<u16>) {
    for vlan in 0..4096u16 {
        let on = only.is_none_or(|only| only == vlan);
        let of = (class::VLAN, if on { vlan::ADD } else { vlan::DEL });
        assert_eq!(command(rig, control, of, &[&vlan.to_le_bytes()]), ack::OK);
    }
}

struct NetKvm {
    rx: DriverQueue,
    tx: DriverQueue,
    control: DriverQueue,
}

fn start(rig: &mut Rig) -> NetKvm {
    windows::initialize(rig);
    let at = |field: usize| MEMORY + DEVICE.offset + field as u64;
    assert_eq!(rig.mmio_read(at(super::super::spec::config::STATUS), Size::B2) & 1, 1, "there is a cable");
    let mac: Vec<u8> = (0..6).map(|byte| rig.mmio_read(at(byte), Size::B1) as u8).collect();
    assert_eq!(mac, MAC);
    let wanted = ring::VERSION_1
        | ring::ANY_LAYOUT
        | ring::INDIRECT_DESC
        | ring::EVENT_IDX
        | feature::MAC
        | feature::STATUS
        | feature::MRG_RXBUF
        | feature::CTRL_VQ
        | feature::CTRL_RX
        | feature::CTRL_VLAN
        | feature::CTRL_MAC_ADDR;
    let features = windows::agree(rig, wanted);
    assert_eq!(
        features & !ring::ANY_LAYOUT,
        wanted & !ring::ANY_LAYOUT & !feature::MAC | features & feature::MAC
    );
    let queues = [(256, RX, Some(0)), (256, TX, Some(1)), (64, CONTROL, Some(2))];
    let [mut rx, tx, mut control] = windows::find_queues(rig, features, &queues).try_into().ok().unwrap();
    for number in 0..BUFFERS {
        let header = Buffer { gpa: PAGES + number * 0x3000, len: HEADER as u32, write: true };
        let page = |n: u64| Buffer { gpa: header.gpa + n * 0x1000, len: 0x1000, write: true };
        assert!(rx.offer(&[header, page(1), page(2)], true, number));
    }
    driver::notify(rig, queue::rx(0));
    windows::ready(rig);
    assert_eq!(command(rig, &mut control, (class::MAC, mac::ADDR_SET), &[&MAC]), ack::OK);
    for (what, on) in [(rx::PROMISC, 0), (rx::ALLMULTI, 0)] {
        assert_eq!(command(rig, &mut control, (class::RX, what), &[&[on]]), ack::OK);
    }
    // No stations, and a group.
    let groups = [&1u32.to_le_bytes()[..], &[1, 0, 0x5e, 0, 0, 1]].concat();
    assert_eq!(command(rig, &mut control, (class::MAC, mac::TABLE_SET), &[&[0; 4], &groups]), ack::OK);
    rig.take_messages();
    NetKvm { rx, tx, control }
}

impl NetKvm {
    /// The frame that has come next.
    fn came(&mut self, rig: &Rig) -> Option<Vec<u8>> {
        let (number, len) = self.rx.used()?;
        let header = PAGES + number * 0x3000;
        assert_eq!(rig.peek(header + 10, 2), [1, 0], "one buffer");
        Some(rig.peek(header + 0x1000, len as usize - HEADER))
    }
}

#[test]
fn a_card() {
    scenario(|rig| {
        let (backend, _, wiring) = attach(rig);
        driver::use_messages(rig, 3);
        let come = |frame: &[u8]| {
            backend.give(frame);
            wiring.waker().wake(Wake::Backend(CABLE));
        };
        let mut card = start(rig);
        card.rx.want_interrupt_after(1);
        let own = frame(MAC, 1514);
        come(&own);
        assert_eq!(rig.take_messages(), [(0xfee0_0000, MESSAGE)]);
        assert_eq!(card.came(rig), Some(own));
        for (to, comes) in [
            ([1, 0, 0x5e, 0, 0, 1], true),
            ([1, 0, 0x5e, 0, 0, 2], false),
            ([4; 6], false),
            ([0xff; 6], true),
        ] {
            come(&frame(to, 60));
            assert_eq!(card.came(rig), comes.then(|| frame(to, 60)), "{to:?}");
        }
        rig.take_messages();
        // A header, and a frame in pieces.
        let out = frame([9; 6], 1000);
        rig.poke(SENT, &[0; HEADER]);
        rig.poke(RECEIVED, &out);
        let piece = |at: u64, len: u32| Buffer { gpa: RECEIVED + at, len, write: false };
        let header = Buffer { gpa: SENT, len: HEADER as u32, write: false };
        card.tx.want_interrupt_after(1);
        assert!(card.tx.offer(&[header, piece(0, 14), piece(14, 40), piece(54, 946)], true, 3));
        driver::notify(rig, queue::tx(0));
        assert_eq!((backend.sent(), card.tx.used().map(|(id, _)| id)), (Some(out), Some(3)));
        assert_eq!(rig.take_messages(), [(0xfee0_0000, MESSAGE + 1)]);
        driver::set_status(rig, status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
        windows::shut_down(rig, 3);
        let mut card = start(rig);
        come(&frame(MAC, 60));
        assert_eq!(card.came(rig), Some(frame(MAC, 60)));
    });
}

#[test]
fn its_vlans() {
    let mut rig = Rig::new();
    let (backend, _, wiring) = attach(&mut rig);
    driver::use_messages(&mut rig, 3);
    let mut card = start(&mut rig);
    let mut tagged = frame(MAC, 64);
    tagged[12..16].copy_from_slice(&[0x81, 0, 0x0f, 0xff]);
    let comes = |rig: &Rig, card: &mut NetKvm| {
        backend.give(&tagged);
        wiring.waker().wake(Wake::Backend(CABLE));
        card.came(rig).is_some()
    };
    assert!(!comes(&rig, &mut card), "nobody has told of a VLAN");
    set_vlans(&mut rig, &mut card.control, None);
    assert!(comes(&rig, &mut card));
    set_vlans(&mut rig, &mut card.control, Some(5));
    assert!(!comes(&rig, &mut card));
    set_vlans(&mut rig, &mut card.control, Some(0xfff));
    assert!(comes(&rig, &mut card));
}
