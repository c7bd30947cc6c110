//! The device by its packets, with no controller: what Linux's ftdi_sio and FTDI's own driver for Windows send. Every packet is also
//! saved and loaded before.
//!
//! Both: the product's descriptors, SIO_RESET, the latency timer read and set, SIO_SET_DATA, SIO_SET_FLOW_CTRL,
//! SIO_SET_BAUD_RATE, DTR and RTS; then bulk transfers of many packets each way.

use std::sync::Mutex;

use super::*;
use crate::usb::{Function, Pid, Speed};

/// The other end of the line.
#[derive(Default)]
struct Line {
    input: Mutex<VecDeque<u8>>,
    output: Mutex<Vec<u8>>,
    /// How much it takes; none: everything.
    room: Mutex<Option<usize>>,
}

impl CharBackend for Line {
    fn write(&self, data: &[u8]) -> usize {
        let mut room = self.room.lock().unwrap();
        let taken = room.unwrap_or(data.len()).min(data.len());
        *room = room.map(|room| room - taken);
        self.output.lock().unwrap().extend(&data[..taken]);
        taken
    }
    fn read(&self, data: &mut [u8]) -> usize {
        let mut input = self.input.lock().unwrap();
        let len = data.len().min(input.len());
        data.iter_mut().zip(input.drain(..len)).for_each(|(to, from)| *to = from);
        len
    }
}

struct Desk {
    line: Arc<Line>,
    function: Function,
    restless: bool,
}

impl Desk {
    fn packet(&mut self, pid: Pid, endpoint: u8, data: &mut [u8]) -> Answer {
        if self.restless {
            let state = self.function.save().unwrap();
            self.function = Function::new(Box::new(Serial::new("1", self.line.clone())), Speed::Full);
            self.function.load(state).unwrap();
        }
        self.function.packet(pid, endpoint, data, 0)
    }

    /// A request without data, or with so many bytes for the host.
    fn request(&mut self, setup: [u8; 8]) -> Option<Vec<u8>> {
        self.packet(Pid::Setup, 0, &mut setup.clone());
        let mut room = [0; 64];
        match self.packet(Pid::In, 0, &mut room) {
            Answer::Done(len) => Some(room[..len].to_vec()),
            _ => None,
        }
    }
    fn tells(&mut self, request: u8, value: u16) -> bool {
        let [low, high] = value.to_le_bytes();
        self.request([0x40, request, low, high, 0, 0, 0, 0]).is_some()
    }
    fn take(&mut self, room: usize) -> Answer {
        self.packet(Pid::In, spec::IN, &mut vec![0; room])
    }
    fn comes(&self, data: &[u8]) {
        self.line.input.lock().unwrap().extend(data);
    }
    fn output(&self) -> Vec<u8> {
        std::mem::take(&mut self.line.output.lock().unwrap())
    }
}

/// A script twice, the second time saved and loaded before each packet.
fn both(script: impl Fn(&mut Desk)) {
    for restless in [false, true] {
        let line = Arc::new(Line::default());
        let function = Function::new(Box::new(Serial::new("1", line.clone())), Speed::Full);
        let mut desk = Desk { line, function, restless };
        assert_eq!(desk.request([0, 9, 1, 0, 0, 0, 0, 0]), Some(vec![]));
        script(&mut desk);
    }
}

#[test]
fn as_drivers_do() {
    both(|desk| {
        assert!(desk.tells(0, reset::SIO));
        assert_eq!(desk.request([0xc0, 10, 0, 0, 0, 0, 1, 0]), Some(vec![0]));
        assert!(desk.tells(9, 16));
        assert_eq!(desk.request([0xc0, 10, 0, 0, 0, 0, 1, 0]), Some(vec![16]));
        assert!(desk.tells(4, 8) && desk.tells(2, 0) && desk.tells(3, 0x1a) && desk.tells(1, 0x303));
        assert_eq!(desk.request([0xc0, 5, 0, 0, 0, 0, 2, 0]), Some(vec![0xb1, 0x60]));
        // Nothing has come: no status alone does.
        assert_eq!(desk.take(512), Answer::Nak);
        desk.comes(b"login: ");
        let mut room = [0; 512];
        assert_eq!(desk.packet(Pid::In, spec::IN, &mut room), Answer::Done(9));
        assert_eq!(&room[..9], b"\xb1\0login: ");
        assert_eq!(desk.take(512), Answer::Nak);
        assert_eq!(desk.packet(Pid::Out, spec::OUT, &mut b"root\n".to_vec()), Answer::Done(5));
        assert_eq!(desk.output(), b"root\n");
        // Formats: parity that is none, odd and even; one stop bit and two.
        let known = [8, 7, 0x108, 0x208, 0x1008, 5].map(|format| desk.tells(4, format));
        assert_eq!(known, [true; 6]);
        let unknown = [0x308, 0x408, 0x708, 0x808, 0x1808].map(|format| desk.tells(4, format));
        assert_eq!(unknown, [false; 5]);
        assert!(desk.tells(6, 0x10d) && desk.tells(7, 0) && !desk.tells(8, 0) && !desk.tells(11, 0));
    });
}

/// Each packet has its status; what does not fit follows.
#[test]
fn many_packets() {
    both(|desk| {
        let text: Vec<u8> = (0..600u32).map(|at| at as u8).collect();
        desk.comes(&text);
        let mut all: Vec<u8> = Vec::new();
        for room in [64, 130, 66, 2, 3, 512, 512] {
            let mut data = vec![0; room];
            let Answer::Done(len) = desk.packet(Pid::In, spec::IN, &mut data) else {
                assert!(room == 2 || all.len() == 600, "{room}");
                continue;
            };
            assert!(len <= room);
            for packet in data[..len].chunks(PACKET) {
                assert_eq!(packet[..HEAD], [MODEM, 0]);
                all.extend(&packet[HEAD..]);
            }
        }
        assert_eq!(all, text);
    });
}

/// A line that takes nothing holds the guest up, and loses nothing.
#[test]
fn a_line_that_is_full() {
    both(|desk| {
        *desk.line.room.lock().unwrap() = Some(10);
        assert_eq!(desk.packet(Pid::Out, spec::OUT, &mut [1; 64]), Answer::Done(64));
        for _ in 0..3 {
            assert_eq!(desk.packet(Pid::Out, spec::OUT, &mut [2; 64]), Answer::Nak);
        }
        assert_eq!(desk.output(), [1; 10]);
        *desk.line.room.lock().unwrap() = None;
        desk.function.device().woken();
        assert_eq!(desk.output(), [1; 54]);
        assert_eq!(desk.packet(Pid::Out, spec::OUT, &mut [2; 64]), Answer::Done(64));
        assert_eq!(desk.output(), [2; 64]);
        *desk.line.room.lock().unwrap() = Some(0);
        desk.packet(Pid::Out, spec::OUT, &mut [3; 64]);
        assert!(desk.tells(0, reset::PURGE_TX));
        *desk.line.room.lock().unwrap() = None;
        desk.function.device().woken();
        assert_eq!(desk.output(), [], "it was given up");
    });
}

/// What was received goes with a reset; more than a buffer stays on the line.
#[test]
fn input_is_bounded() {
    both(|desk| {
        desk.comes(&[7; 2000]);
        desk.function.device().woken();
        assert_eq!(desk.line.input.lock().unwrap().len(), 2000 - INPUT);
        assert_eq!(desk.function.said(0), 1, "there is something to hear");
        assert!(desk.tells(0, reset::PURGE_RX));
        assert_eq!(desk.function.said(0), 0);
        assert_eq!(desk.take(64), Answer::Done(64));
        assert!(desk.tells(0, 9), "a reset of nothing");
        desk.function.reset();
        assert_eq!(desk.take(64), Answer::Stall, "it is not configured");
    });
}

#[test]
fn states_that_hold_too_much_are_refused() {
    let device = || Serial::new("1", Arc::new(Line::default()));
    let mut full = device();
    full.input = vec![0; INPUT + 1].into();
    assert!(device().load(&full.save().unwrap()).is_err());
    full.input.pop_back();
    assert!(device().load(&full.save().unwrap()).is_ok());
    full.output = vec![0; OUTPUT + 1];
    assert!(device().load(&full.save().unwrap()).is_err());
}
