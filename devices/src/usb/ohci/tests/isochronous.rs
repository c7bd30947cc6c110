//! Isochronous endpoints, with a device that there is for the test alone.

use devices_core::rig::scenario;
use devices_core::{Node, Saved, StateError};

use super::*;
use crate::usb::descriptors::{Configuration, Description, Endpoint, Interface};
use crate::usb::{Answer, UsbDevice};

static ENDPOINTS: [Endpoint; 2] = [
    Endpoint { address: 0x81, attributes: 1, max_packet: 16, interval: 1, burst: None, of_class: &[] },
    Endpoint { address: 0x02, attributes: 1, max_packet: 16, interval: 1, burst: None, of_class: &[] },
];
static INTERFACES: [Interface; 1] = [Interface { class: [0xff; 3], of_class: &[], endpoints: &ENDPOINTS }];

/// Gives numbers, and counts bytes.
struct Stream {
    description: Description,
    given: u8,
    got: u64,
}

impl Stream {
    fn new() -> Stream {
        let configuration = Configuration { label: 0, attributes: 0x80, power: 0, interfaces: &INTERFACES };
        let description = Description {
            usb: 0x110,
            class: 0,
            vendor: 1,
            product: 2,
            release: 0,
            max_packet: 8,
            labels: [0; 3],
            configuration,
            strings: Vec::new(),
        };
        Stream { description, given: 0, got: 0 }
    }
}

impl UsbDevice for Stream {
    fn title(&self) -> &'static str {
        "stream"
    }
    fn description(&self) -> &Description {
        &self.description
    }
    fn reset(&mut self) {
        (self.given, self.got) = (0, 0);
    }
    fn request(&mut self, _: Setup, data: &mut Vec<u8>, _: u64) -> bool {
        data.extend(self.got.to_le_bytes());
        true
    }
    fn transfer_in(&mut self, _: u8, room: &mut [u8], _: u64) -> Answer {
        self.given += 1;
        let len = usize::from(self.given).min(room.len());
        room[..len].fill(self.given);
        Answer::Done(len)
    }
    fn transfer_out(&mut self, _: u8, data: &[u8], _: u64) -> Answer {
        self.got += data.len() as u64;
        Answer::Done(data.len())
    }
    fn speaks_at(&self) -> Option<u64> {
        None
    }
    fn save(&self) -> Result<Saved, StateError> {
        Saved::encode("stream", 0, &(self.given, self.got))
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        (self.given, self.got) = saved.decode("stream", 0)?;
        Ok(())
    }
    fn inspect(&self, _: &mut Node) {}
}

fn stream(rig: &mut Rig) -> Ports {
    let ports = attach(rig);
    ports.plug(1, Box::new(Stream::new())).unwrap();
    run(rig);
    configure(rig, 1, 2);
    ports
}

/// A TD of packets at these offsets from [`REPORT`] on, which ends at `last`, in frames from `first` on.
fn put(rig: &Rig, first: u32, offsets: &[u16], last: u32, number: u8, way: u32) {
    let flags = 0xe << 28 | (offsets.len() as u32 - 1) << td::COUNT_SHIFT | first & 0xffff;
    poke(rig, INTERRUPT_TD, &[flags, REPORT as u32, TAIL as u32, last]);
    let words: Vec<u8> = offsets.iter().flat_map(|offset| (0xe000 | offset).to_le_bytes()).collect();
    rig.poke(INTERRUPT_TD + 16, &words);
    let flags = endpoint(2, number, way, 16) | ed::ISOCHRONOUS;
    poke(rig, INTERRUPT_ED, &[flags, TAIL as u32, INTERRUPT_TD as u32, 0]);
}
fn status(rig: &Rig, n: u64) -> u16 {
    u16::from_le_bytes(rig.peek(INTERRUPT_TD + 16 + 2 * n, 2).try_into().unwrap())
}
fn in_done(rig: &Rig) -> bool {
    word(rig, INTERRUPT_ED + 8) & !0xf == TAIL as u32
}

#[test]
fn a_packet_goes_in_its_frame() {
    scenario(|rig| {
        stream(rig);
        let now = read(rig, reg::FM_NUMBER);
        put(rig, now + 3, &[0, 16, 32], REPORT as u32 + 47, 1, direction::IN);
        rig.advance(ms(3));
        assert_eq!(status(rig, 0), 0xe000, "not yet");
        rig.advance(ms(1));
        // A byte of 16, then two, then three: underruns.
        assert_eq!((status(rig, 0), status(rig, 1)), (0x9001, 0xe010));
        rig.advance(ms(2));
        assert_eq!((status(rig, 1), status(rig, 2), in_done(rig)), (0x9002, 0x9003, true));
        assert_eq!(word(rig, INTERRUPT_TD) >> 28, code::GOOD);
        assert_eq!(rig.peek(REPORT + 32, 4), [3, 3, 3, 0]);
        take_done(rig);
    });
}

#[test]
fn data_goes_out_from_two_pages() {
    scenario(|rig| {
        stream(rig);
        let now = read(rig, reg::FM_NUMBER);
        // Eight bytes at the end of one page and eight of another; then eight there.
        put(rig, now + 1, &[0xff8, 0x1008], 0xc00f, 2, direction::OUT);
        rig.advance(ms(4));
        assert_eq!((status(rig, 0), status(rig, 1), in_done(rig)), (0, 0, true));
        take_done(rig);
        let got = request(rig, 2, get(0xc0, 1, 0, 8), &[]).unwrap();
        assert_eq!(got, 24u64.to_le_bytes());
    });
}

#[test]
fn one_that_is_too_late_is_over() {
    scenario(|rig| {
        stream(rig);
        rig.advance(ms(50));
        let now = read(rig, reg::FM_NUMBER);
        put(rig, now.wrapping_sub(10), &[0, 8], REPORT as u32 + 15, 1, direction::IN);
        rig.advance(ms(1));
        assert_eq!((word(rig, INTERRUPT_TD) >> 28, in_done(rig)), (code::OVERRUN, true));
        assert_eq!(status(rig, 0), 0xe000);
    });
}

#[test]
fn what_makes_no_sense_is_not_done() {
    scenario(|rig| {
        let ports = stream(rig);
        // An endpoint that is no such one, and one that is not there.
        ports.plug(2, Box::new(Hid::new(Kind::Tablet, "x"))).unwrap();
        let now = read(rig, reg::FM_NUMBER);
        put(rig, now + 1, &[0], REPORT as u32 + 7, 3, direction::IN);
        rig.advance(ms(3));
        assert_eq!((status(rig, 0), in_done(rig)), (0x4000, true));
        // Offsets that run backwards, or were used already; a direction that is none.
        for (offsets, way) in [([16u16, 0], direction::IN), ([0x1008, 8], direction::IN), ([0, 8], 0)] {
            let now = read(rig, reg::FM_NUMBER);
            put(rig, now + 1, &offsets, REPORT as u32 + 7, 1, way);
            rig.advance(ms(2));
            assert!(!in_done(rig), "{offsets:?}");
        }
        let now = read(rig, reg::FM_NUMBER);
        put(rig, now + 1, &[0], REPORT as u32 + 7, 1, direction::IN);
        rig.poke(INTERRUPT_TD + 16, &[0, 0]);
        rig.advance(ms(2));
        assert!(!in_done(rig));
        // Without IE they are not looked at.
        write(rig, reg::CONTROL, RUN & !8);
        let now = read(rig, reg::FM_NUMBER);
        put(rig, now + 1, &[0], REPORT as u32 + 7, 1, direction::IN);
        rig.advance(ms(5));
        assert_eq!(status(rig, 0), 0xe000);
    });
}
