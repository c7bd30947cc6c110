//! A serial line on USB by its packets: data each way and requests of the vendor's, while the line gives much or little and
//! takes all, some or nothing, and the device is reset, saved and loaded. Bytes are pairs: what is done, and a number.

use std::sync::{Arc, Mutex};

use devices::usb::serial::Serial;
use devices::usb::serial::spec::{IN, OUT};
use devices::usb::{Answer, Function, Pid, Speed};
use devices_core::chardev::CharBackend;

use super::outcome;

/// Most packets of a script.
const STEPS: usize = 2000;

/// The other end: how much it gives and takes until it is told anew.
#[derive(Default)]
struct Line(Mutex<(usize, usize)>);

impl CharBackend for Line {
    fn write(&self, data: &[u8]) -> usize {
        let mut line = self.0.lock().expect("nobody failed");
        let taken = line.1.min(data.len());
        line.1 -= taken;
        taken
    }
    fn read(&self, data: &mut [u8]) -> usize {
        let mut line = self.0.lock().expect("nobody failed");
        let given = line.0.min(data.len());
        line.0 -= given;
        given
    }
}

struct Life {
    line: Arc<Line>,
    function: Function,
}

fn device(line: &Arc<Line>) -> Function {
    Function::new(Box::new(Serial::new("S", line.clone())), Speed::Full)
}

impl Life {
    fn request(&mut self, setup: [u8; 8]) -> Answer {
        self.function.packet(Pid::Setup, 0, &mut setup.clone(), 0);
        self.function.packet(Pid::In, 0, &mut [0; 64], 0)
    }

    fn step(&mut self, what: u8, number: u8) -> Answer {
        let len = usize::from(number) << (what & 7);
        match what >> 4 {
            0..=3 => self.function.packet(Pid::In, IN, &mut vec![0; len], 0),
            4..=6 => self.function.packet(Pid::Out, OUT, &mut vec![number; len], 0),
            7..=9 => self.request([0x40, what & 15, number, number & 0x1f, 0, 0, 0, 0]),
            10 => self.request([0xc0, what & 15, 0, 0, 0, 0, number & 3, 0]),
            11 | 12 => {
                *self.line.0.lock().expect("nobody failed") = (len, usize::from(number));
                self.function.device().woken();
                Answer::Nak
            }
            13 => {
                self.function.reset();
                self.request([0, 9, number & 1, 0, 0, 0, 0, 0])
            }
            _ => {
                let state = self.function.save().expect("it saves at any instant");
                self.function = device(&self.line);
                self.function.load(state).expect("it loads what it saved");
                Answer::Nak
            }
        }
    }
}

/// A script.
pub fn run(bytes: &[u8]) -> u64 {
    let line = Arc::new(Line::default());
    let function = device(&line);
    let mut life = Life { line, function };
    life.request([0, 9, 1, 0, 0, 0, 0, 0]);
    let mut seen = Vec::new();
    for pair in bytes.chunks_exact(2).take(STEPS) {
        let answer = match life.step(pair[0], pair[1]) {
            Answer::Done(len) => 1 + usize::from(len > 0) + usize::from(len > 64),
            Answer::Nak => 4,
            _ => 5,
        };
        let now = (pair[0] >> 4, answer);
        if !seen.contains(&now) {
            seen.push(now);
        }
    }
    seen.sort_unstable();
    outcome(seen, "")
}

/// Data each way, with something in the middle.
pub fn seeds() -> Vec<Vec<u8>> {
    let middles = [[0xe0, 0], [0xd0, 1], [0x70, 0], [0x70, 2], [0x74, 8], [0xa5, 2], [0xb7, 0]];
    let seed = |middle: [u8; 2]| {
        let data = [0xb4, 100, 0x03, 8, 0x44, 32];
        [&data[..], &middle, &[0x07, 8, 0x47, 200, 0x41, 32, 0xb0, 255, 0x41, 32], &middle, &[0x02, 40]]
            .concat()
    };
    middles.map(seed).to_vec()
}
