use std::collections::VecDeque;
use std::mem::take;
use std::sync::Mutex;

use devices_core::model::Properties;
use devices_core::rig::{self, FuzzRange, Rig, fuzz, ms, scenario, us};
use devices_core::{Size, Waker};

use super::*;

const COM1: u16 = 0x3f8;
const IRQ: u32 = 4;

/// The other end of the line.
#[derive(Default)]
struct Line {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    output: Vec<u8>,
    input: VecDeque<u8>,
    /// Takes nothing.
    blocked: bool,
}

impl CharBackend for Line {
    fn write(&self, data: &[u8]) -> usize {
        let mut state = self.state.lock().unwrap();
        if state.blocked {
            return 0;
        }
        state.output.extend(data);
        data.len()
    }
    fn read(&self, data: &mut [u8]) -> usize {
        let mut state = self.state.lock().unwrap();
        let len = data.len().min(state.input.len());
        data.iter_mut().zip(state.input.drain(..len)).for_each(|(to, from)| *to = from);
        len
    }
}

struct Board {
    rig: Rig,
    line: Arc<Line>,
    waker: Waker,
}

fn board(mut rig: Rig) -> Board {
    let line = Arc::new(Line::default());
    let wiring = rig.wiring();
    let serial = Serial::new(0, rig.irqs().line(PORTS[0].1), line.clone(), &wiring);
    rig.attach(serial, &wiring);
    Board { rig, line, waker: wiring.waker() }
}

impl rig::Board for Board {
    fn rig(&mut self) -> &mut Rig {
        &mut self.rig
    }
}

impl Board {
    fn type_in(&self, text: &[u8]) {
        self.line.state.lock().unwrap().input.extend(text);
        self.waker.wake(Wake::Backend(0));
    }
    fn block(&self, blocked: bool) {
        self.line.state.lock().unwrap().blocked = blocked;
    }
    fn output(&self) -> Vec<u8> {
        std::mem::take(&mut self.line.state.lock().unwrap().output)
    }
    fn read(&mut self, register: u16) -> u8 {
        self.rig.inb(COM1 + register)
    }
    fn write(&mut self, register: u16, value: u8) {
        self.rig.outb(COM1 + register, value);
    }
    /// All that is ready.
    fn drain(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.read(5) & 1 != 0 {
            bytes.push(self.read(0));
        }
        bytes
    }
}

#[test]
fn registers_are_as_after_reset() {
    let mut b = board(Rig::new());
    let all: Vec<u8> = (1..8).map(|register| b.read(register)).collect();
    assert_eq!(all, [0, 0x01, 0, 0x08, 0x60, 0xb0, 0]);
    b.write(3, 0x83);
    assert_eq!((b.read(0), b.read(1)), (12, 0));
    // What hvmloader looks for.
    b.write(3, 0x03);
    b.write(1, 0);
    assert_eq!(b.read(1), 0);
    b.write(1, 0x0f);
    assert_eq!(b.read(1), 0x0f);
    b.write(7, 0x5a);
    assert_eq!(b.read(7), 0x5a);
}

#[test]
fn the_divisor_latch_hides_data_and_enable() {
    scenario(|rig| {
        let mut b = board(take(rig));
        b.write(1, 0x05);
        b.write(3, 0x80);
        b.write(0, 0x34);
        b.write(1, 0x12);
        assert_eq!((b.read(0), b.read(1)), (0x34, 0x12));
        b.write(3, 0x03);
        assert_eq!(b.read(1), 0x05);
        assert!(b.output().is_empty());
    });
}

#[test]
fn bytes_are_sent_at_once_and_each_empties_the_transmitter_anew() {
    scenario(|rig| {
        let mut b = board(take(rig));
        b.write(1, 0x02);
        assert!(b.rig.irq(IRQ), "the transmitter is empty from the start");
        assert_eq!(b.read(2), 0x02);
        assert!(!b.rig.irq(IRQ), "told once");
        assert_eq!(b.read(2), 0x01);
        b.rig.take_edges();
        b.write(0, b'a');
        b.write(0, b'b');
        assert_eq!(b.rig.take_edges(), [(IRQ, true), (IRQ, false), (IRQ, true)]);
        assert_eq!((b.output(), b.read(5)), (b"ab".to_vec(), 0x60));
        // Turning the interrupt off and on gives one again.
        b.read(2);
        b.write(1, 0);
        b.write(1, 2);
        assert!(b.rig.irq(IRQ));
    });
}

#[test]
fn a_blocked_line_holds_bytes_back() {
    scenario(|rig| {
        let mut b = board(take(rig));
        b.write(2, 0x01);
        b.write(1, 0x02);
        b.read(2);
        b.block(true);
        b.write(0, 0);
        assert_eq!(b.read(5), 0x20, "the first byte is in the shift register");
        for byte in 1..=16 {
            b.write(0, byte);
        }
        b.read(2);
        assert_eq!((b.read(5), b.rig.irq(IRQ)), (0, false));
        b.block(false);
        b.rig.advance(ms(10));
        assert_eq!(b.output(), (0..=16).collect::<Vec<u8>>());
        assert_eq!((b.read(5), b.rig.irq(IRQ)), (0x60, true));
    });
}

#[test]
fn the_backend_says_when_it_takes_again() {
    let mut b = board(Rig::new());
    b.block(true);
    b.write(0, b'x');
    b.block(false);
    b.waker.wake(Wake::Backend(0));
    assert_eq!(b.output(), b"x");
}

#[test]
fn input_interrupts_at_the_trigger_level() {
    scenario(|rig| {
        let mut b = board(take(rig));
        b.write(2, 0x41);
        b.write(1, 0x01);
        b.type_in(b"abc");
        assert!(!b.rig.irq(IRQ));
        b.type_in(b"defgh");
        assert!(b.rig.irq(IRQ));
        assert_eq!((b.read(2), b.read(5) & 1), (0xc4, 1));
        // What the guest reads makes room for the rest; nothing is lost or reordered.
        assert_eq!(b.drain(), b"abcdefgh");
        assert!(!b.rig.irq(IRQ));
    });
}

#[test]
fn a_few_bytes_time_out_after_four_characters() {
    scenario(|rig| {
        let mut b = board(take(rig));
        b.write(3, 0x80);
        b.write(0, 1);
        b.write(3, 0x03);
        b.write(2, 0xc1);
        b.write(1, 0x01);
        b.type_in(b"hi");
        // Ten bits at 115200 baud are 86.8 microseconds.
        b.rig.advance(us(347));
        assert!(!b.rig.irq(IRQ));
        b.rig.advance(us(1));
        assert!(b.rig.irq(IRQ));
        assert_eq!(b.read(2), 0xcc);
        assert_eq!(b.read(0), b'h');
        assert!(!b.rig.irq(IRQ), "a read takes the timeout back and starts it again");
        b.rig.advance(us(348));
        assert!(b.rig.irq(IRQ));
        assert_eq!(b.read(0), b'i');
        b.rig.advance(ms(1));
        assert!(!b.rig.irq(IRQ));
    });
}

#[test]
fn without_fifos_each_byte_waits_for_its_turn() {
    scenario(|rig| {
        let mut b = board(take(rig));
        b.write(1, 0x01);
        b.type_in(b"xyz");
        assert!(b.rig.irq(IRQ));
        assert_eq!((b.read(2), b.read(0)), (0x04, b'x'));
        assert_eq!(b.drain(), b"yz");
        assert_eq!(b.read(5), 0x60);
    });
}

#[test]
fn loopback_returns_bytes_and_modem_lines() {
    scenario(|rig| {
        let mut b = board(take(rig));
        b.write(2, 0x01);
        // Linux's probe: loop, OUT2, RTS give carrier and clear to send.
        b.write(4, 0x1a);
        assert_eq!(b.read(6), 0x92);
        assert_eq!(b.read(6), 0x90);
        for byte in 0..17 {
            b.write(0, byte);
        }
        b.type_in(b"outside");
        assert_eq!(b.read(5), 0x63, "the seventeenth overran");
        assert_eq!(b.read(5), 0x61);
        assert_eq!(b.drain(), (0..16).collect::<Vec<u8>>());
        assert!(b.output().is_empty());
        b.write(4, 0x0b);
        assert_eq!(b.drain(), b"outside");
    });
}

#[test]
fn ring_counts_when_it_ends() {
    let mut b = board(Rig::new());
    b.write(4, 0x10);
    b.read(6);
    b.write(4, 0x14);
    assert_eq!(b.read(6), 0x40);
    b.write(4, 0x10);
    assert_eq!(b.read(6), 0x04);
}

#[test]
fn interrupts_have_an_order() {
    scenario(|rig| {
        let mut b = board(take(rig));
        b.write(4, 0x10);
        b.write(1, 0x0f);
        b.write(0, 1);
        b.write(0, 2);
        assert_eq!(b.read(2), 0x06);
        b.read(5);
        assert_eq!((b.read(2), b.read(0)), (0x04, 2));
        assert_eq!(b.read(2), 0x02);
        assert_eq!((b.read(2), b.rig.irq(IRQ)), (0x00, true));
        b.read(6);
        assert_eq!((b.read(2), b.rig.irq(IRQ)), (0x01, false));
    });
}

#[test]
fn fifo_control_clears() {
    let mut b = board(Rig::new());
    b.write(2, 0xc1);
    b.type_in(b"gone");
    b.write(2, 0xc3);
    assert_eq!(b.read(5), 0x60);
    b.rig.advance(ms(100));
    b.write(1, 0x01);
    assert!(!b.rig.irq(IRQ));
    b.block(true);
    b.write(0, b'1');
    b.write(0, b'2');
    b.write(2, 0xc5);
    assert_eq!(b.read(5), 0x20, "the byte on its way stays");
    assert_eq!(b.read(2), 0xc1);
    b.write(2, 0);
    assert_eq!(b.read(2), 0x01);
}

#[test]
fn a_reset_lowers_the_line_and_forgets() {
    let mut b = board(Rig::new());
    b.write(1, 0x02);
    b.block(true);
    b.write(0, 1);
    b.rig.reset();
    b.block(false);
    b.rig.advance(ms(100));
    assert_eq!((b.rig.irq(IRQ), b.read(1), b.read(5)), (false, 0, 0x60));
    assert!(b.output().is_empty());
}

#[test]
fn the_four_ports_stand_where_the_pc_has_them() {
    let mut rig = Rig::new();
    for (index, (port, irq)) in PORTS.into_iter().enumerate() {
        let wiring = rig.wiring();
        let backend = Arc::new(devices_core::chardev::Null);
        rig.attach(Serial::new(index, rig.irqs().line(irq), backend, &wiring), &wiring);
        rig.outb(port + 7, index as u8);
    }
    assert_eq!(PORTS.map(|(port, _)| rig.inb(port + 7)), [0, 1, 2, 3]);
    // COM1 and COM3 share a wire.
    rig.outb(0x3f9, 2);
    rig.outb(0x3e9, 2);
    rig.inb(0x3fa);
    assert!(rig.irq(4) && !rig.irq(3));
    rig.inb(0x3ea);
    assert!(!rig.irq(4));
}

#[test]
fn a_hostile_state_is_refused() {
    let b = board(Rig::new());
    let slots = b.rig.bus().slots();
    let (name, slot) = &slots[0];
    let mut saved = slot.lock().save().unwrap();
    saved.version += 1;
    assert!(b.rig.bus().load(name, &saved).unwrap().is_err());
    saved.version -= 1;
    saved.body.push(0);
    assert!(b.rig.bus().load(name, &saved).unwrap().is_err());
    saved.body.pop();
    assert!(b.rig.bus().load(name, &saved).unwrap().is_ok());
}

#[test]
fn fuzzed() {
    fuzz(
        || board(Rig::new()),
        6,
        &[FuzzRange::Ports(COM1 - 1, 10)],
        |Board { line, waker, .. }, what| {
            let mut state = line.state.lock().unwrap();
            match what {
                0..8 => state.blocked = what & 1 != 0,
                8..24 if state.input.len() < 64 => state.input.extend([what as u8; 7]),
                24..32 => state.output.clear(),
                _ => return,
            }
            drop(state);
            waker.wake(Wake::Backend(0));
        },
    );
}

#[test]
fn no_divisor_wakes_the_host_more_often_than_characters_would_come() {
    for divisor in [0, 1, 2, 0xffff] {
        for format in 0..0x20 {
            let mut board = board(Rig::new());
            board.rig.outb(COM1 + 3, 0x80);
            board.rig.outb(COM1, divisor as u8);
            board.rig.outb(COM1 + 1, (divisor >> 8) as u8);
            board.rig.outb(COM1 + 3, format);
            board.rig.outb(COM1 + 2, 0xc1);
            board.rig.outb(COM1 + 1, 0x0f);
            let mut wakes = 0;
            for _ in 0..4 {
                board.type_in(b"x");
                wakes += board.rig.wakes(us(242));
            }
            assert!(wakes <= 4, "{divisor} {format:#x}: {wakes} in a millisecond");
        }
    }
    // A line that takes nothing is tried a hundred times a second.
    let mut board = board(Rig::new());
    board.block(true);
    board.rig.outb(COM1, b'x');
    assert_eq!(board.rig.wakes(ms(100)), 10);
}

#[test]
fn a_function_of_the_pci_bus_is_the_same_chip() {
    scenario(|rig| {
        const PORTS: u16 = 0xc100;
        let (line, wiring) = (Arc::new(Line::default()), rig.wiring());
        let intx = rig.irqs().line(11);
        rig.attach_pci(Serial::on_pci("p", 2, intx, line.clone(), &wiring), &wiring, 5, 0);
        assert_eq!(rig.config_read(5, 0, 0, Size::B4), 0x0002_1b36);
        assert_eq!(rig.config_read(5, 0, 8, Size::B4), 0x0700_0201);
        rig.config_write(5, 0, 0x10, Size::B4, PORTS.into());
        rig.config_write(5, 0, 4, Size::B2, 1);
        rig.outb(PORTS, b'x');
        assert_eq!(line.state.lock().unwrap().output, b"x");
        // The transmitter is empty: its interrupt stays until it is asked for.
        rig.outb(PORTS + 1, 2);
        assert_eq!(rig.config_read(5, 0, 6, Size::B2) >> 3 & 1, 1);
        assert_eq!(rig.inb(PORTS + 2), 2);
        assert_eq!(rig.config_read(5, 0, 6, Size::B2) >> 3 & 1, 0);
        rig.reset();
        assert_eq!(rig.config_read(5, 0, 0x10, Size::B4), 1);
    });
}

#[test]
fn ports_that_there_are_not_are_refused() {
    let check = |set: &[(&str, &str)]| {
        let mut properties = Properties::new(&model::MODEL);
        set.iter().for_each(|(name, text)| properties.parse(name, text).unwrap());
        (model::MODEL.check)(&properties).map_err(|error| error.to_string())
    };
    assert_eq!(check(&[("index", "3")]), Ok(()));
    assert_eq!(check(&[("iobase", "0xfff8"), ("irq", "15")]), Ok(()));
    for wrong in [("index", "4"), ("iobase", "0xfff9"), ("iobase", "0x10000"), ("irq", "16")] {
        assert!(check(&[wrong]).is_err(), "{wrong:?}");
    }
}
