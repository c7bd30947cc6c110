//! The device on PCI, by what its drivers do.

mod hostile;
mod start;

use std::collections::VecDeque;
use std::sync::Mutex;

use devices_core::chardev::CharBackend;
use devices_core::rig::{Rig, ms, scenario};
use devices_core::{DeviceCell, Size};

use super::super::driver::pci::{self as driver, MEMORY, SLOT};
use super::super::driver::{Buffer, DriverQueue};
use super::super::pci::spec::{DEVICE, NO_VECTOR};
use super::super::pci::{Handles, Options as PciOptions, USUAL_FEATURES};
use super::super::spec::{feature as ring, status as device_status};
use super::spec::{MESSAGE, event};
use super::*;

/// Where the driver has its queues, one behind the other.
const QUEUES: u64 = 0x10_0000;
/// What it sends, and what it gets.
const SENT: u64 = 0x2_0000;
const GOT: u64 = 0x8_0000;

/// The host's end of a port.
#[derive(Default)]
struct Line(Mutex<LineState>);

#[derive(Default)]
struct LineState {
    output: Vec<u8>,
    input: VecDeque<u8>,
    /// How much it takes; none: everything.
    room: Option<usize>,
    gone: bool,
    size: Option<(u16, u16)>,
}

impl Line {
    fn set<T>(&self, change: impl FnOnce(&mut LineState) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }
    fn output(&self) -> Vec<u8> {
        self.set(|state| std::mem::take(&mut state.output))
    }
}

impl CharBackend for Line {
    fn write(&self, data: &[u8]) -> usize {
        self.set(|state| {
            let taken = state.room.unwrap_or(data.len()).min(data.len());
            state.room = state.room.map(|room| room - taken);
            state.output.extend(&data[..taken]);
            taken
        })
    }
    fn read(&self, data: &mut [u8]) -> usize {
        self.set(|state| {
            let len = data.len().min(state.input.len());
            data.iter_mut().zip(state.input.drain(..len)).for_each(|(to, from)| *to = from);
            len
        })
    }
    fn connected(&self) -> bool {
        self.set(|state| !state.gone)
    }
    fn size(&self) -> Option<(u16, u16)> {
        self.set(|state| state.size)
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<DeviceEvent>>);

impl Observer for Heard {
    fn observe(&self, event: DeviceEvent) {
        self.0.lock().unwrap().push(event);
    }
}

type Cell = Arc<DeviceCell<VirtioPci<Serial>>>;

/// A device with a console at 0 and a port with a name at 1.
struct Ends {
    lines: [Arc<Line>; 2],
    heard: Arc<Heard>,
    wiring: Wiring,
    cell: Cell,
}

fn attach(rig: &mut Rig) -> Ends {
    let (wiring, heard) = (rig.wiring(), Arc::<Heard>::default());
    let options =
        Options { max_ports: 4, emergency_write: true, size: true, class: 0x0780, model: &model::MODEL };
    let handles =
        Handles { name: "vserial", ram: rig.ram().clone(), inta: rig.irqs().line(11), msi: rig.recorder() };
    let features = USUAL_FEATURES | ring::RING_PACKED;
    let how = PciOptions { legacy: true, modern: true, vectors: 2, features };
    let serial = Serial::new(options, &wiring).observed(heard.clone());
    let cell = rig.attach_pci(VirtioPci::new(serial, how, handles), &wiring, SLOT, 0);
    let lines = <[Arc<Line>; 2]>::default();
    cell.lock().plug(port(0, true, "", &lines[0])).unwrap();
    cell.lock().plug(port(1, false, "org.example.0", &lines[1])).unwrap();
    driver::map(rig);
    Ends { lines, heard, wiring, cell }
}

fn port(number: u32, console: bool, name: &str, line: &Arc<Line>) -> PortConfig {
    PortConfig { number, console, name: name.to_owned(), backend: Some(line.clone()) }
}

/// A driver that is set up.
struct Started {
    queues: Vec<DriverQueue>,
    ends: Ends,
    given: u64,
}

impl Started {
    /// A driver that knows ports and has given buffers for messages.
    fn new(rig: &mut Rig, features: u64) -> Started {
        Started::with(rig, features | feature::MULTIPORT | feature::SIZE)
    }

    fn with(rig: &mut Rig, features: u64) -> Started {
        let ends = attach(rig);
        let features = features | ring::VERSION_1 | ring::INDIRECT_DESC;
        assert_ne!(driver::negotiate(rig, features) & device_status::FEATURES_OK, 0);
        let count = if features & feature::MULTIPORT == 0 { 2 } else { 6 };
        let at = |number: u64| DriverQueue::new(rig.ram().clone(), QUEUES + number * 0x1_0000, 16, features);
        let queues: Vec<DriverQueue> = (0..count).map(at).collect();
        for (number, queue) in queues.iter().enumerate() {
            driver::enable(rig, number as u16, queue.place(), NO_VECTOR);
        }
        driver::ready(rig);
        let mut started = Started { queues, ends, given: 0 };
        for _ in 0..if count > 2 { 8 } else { 0 } {
            started.give(rig, queue::CONTROL_RX, 64);
        }
        started
    }

    fn line(&self, port: usize) -> &Line {
        &self.ends.lines[port]
    }

    /// Gives the device a buffer.
    fn give(&mut self, rig: &mut Rig, queue: u16, len: u32) {
        let gpa = GOT + self.given % 32 * 0x1000;
        self.given += 1;
        assert!(self.queues[usize::from(queue)].offer(&[Buffer { gpa, len, write: true }], false, gpa));
        driver::notify(rig, queue);
    }

    /// The next buffer that the device has filled.
    fn filled(&mut self, rig: &Rig, queue: u16) -> Option<Vec<u8>> {
        let (gpa, len) = self.queues[usize::from(queue)].used()?;
        Some(rig.peek(gpa, len as usize))
    }

    /// Sends bytes in one buffer.
    fn send(&mut self, rig: &mut Rig, queue: u16, bytes: &[u8]) {
        rig.poke(SENT, bytes);
        let buffer = Buffer { gpa: SENT, len: bytes.len() as u32, write: false };
        assert!(self.queues[usize::from(queue)].offer(&[buffer], false, 0));
        driver::notify(rig, queue);
    }

    /// Whether a request that was sent has come back.
    fn sent(&mut self, queue: u16) -> bool {
        self.queues[usize::from(queue)].used().is_some()
    }

    fn say(&mut self, rig: &mut Rig, port: u32, event: u16, value: u16) {
        self.send(rig, queue::CONTROL_TX, &message(port, event, value));
        assert_eq!(self.queues[usize::from(queue::CONTROL_TX)].used(), Some((0, 0)));
    }

    /// The next message, whose buffer is given back to the device.
    fn told(&mut self, rig: &mut Rig) -> Option<Vec<u8>> {
        let message = self.filled(rig, queue::CONTROL_RX)?;
        self.give(rig, queue::CONTROL_RX, 64);
        Some(message)
    }

    fn open(&mut self, rig: &mut Rig, port: u32) {
        self.say(rig, port, event::PORT_OPEN, 1);
    }

    fn wake(&self, port: u32) {
        self.ends.wiring.waker().wake(Wake::Backend(port));
    }

    fn come(&self, port: usize, bytes: &[u8]) {
        self.line(port).set(|state| state.input.extend(bytes));
        self.wake(port as u32);
    }
}

fn message(port: u32, event: u16, value: u16) -> Vec<u8> {
    [&port.to_le_bytes()[..], &event.to_le_bytes(), &value.to_le_bytes()].concat()
}

#[test]
fn a_driver_hears_of_ports_in_order() {
    scenario(|rig| {
        let mut driver = Started::new(rig, 0);
        assert_eq!(driver.told(rig), None, "it has not said that it is there");
        driver.say(rig, 0, event::DEVICE_READY, 1);
        for port in 0..2 {
            assert_eq!(driver.told(rig), Some(message(port, event::DEVICE_ADD, 1)));
        }
        driver.say(rig, 0, event::PORT_READY, 1);
        assert_eq!(driver.told(rig), Some(message(0, event::CONSOLE_PORT, 1)));
        let size = [message(0, event::RESIZE, 1), vec![0; 4]].concat();
        assert_eq!(driver.told(rig), Some(size));
        assert_eq!(driver.told(rig), Some(message(0, event::PORT_OPEN, 1)));
        driver.say(rig, 1, event::PORT_READY, 1);
        let name = [&message(1, event::PORT_NAME, 1)[..], b"org.example.0\0"].concat();
        assert_eq!(driver.told(rig), Some(name));
        assert_eq!(driver.told(rig), Some(message(1, event::PORT_OPEN, 1)));
        assert_eq!(driver.told(rig), None);
    });
}

#[test]
fn bytes_go_both_ways() {
    for features in [0, ring::RING_PACKED] {
        scenario(|rig| {
            let mut driver = Started::new(rig, features);
            driver.send(rig, queue::tx(1), b"out");
            assert!(driver.sent(queue::tx(1)));
            assert_eq!(driver.line(1).output(), b"out");
            // What comes in waits until the port is open, and there is a buffer for it.
            driver.come(1, b"hello");
            driver.give(rig, queue::rx(1), 3);
            assert_eq!(driver.filled(rig, queue::rx(1)), None);
            driver.open(rig, 1);
            assert_eq!(driver.filled(rig, queue::rx(1)), Some(b"hel".to_vec()));
            driver.give(rig, queue::rx(1), 100);
            assert_eq!(driver.filled(rig, queue::rx(1)), Some(b"lo".to_vec()));
            driver.give(rig, queue::rx(1), 100);
            driver.come(1, b"again");
            assert_eq!(driver.filled(rig, queue::rx(1)), Some(b"again".to_vec()));
            driver.say(rig, 1, event::PORT_OPEN, 0);
            driver.give(rig, queue::rx(1), 100);
            driver.come(1, b"later");
            assert_eq!(driver.filled(rig, queue::rx(1)), None);
        });
    }
}

#[test]
fn what_a_port_s_line_does_not_take_waits() {
    scenario(|rig| {
        let mut driver = Started::new(rig, 0);
        driver.line(1).set(|state| state.room = Some(4));
        driver.send(rig, queue::tx(1), b"abcdefgh");
        assert!(!driver.sent(queue::tx(1)));
        assert_eq!(driver.line(1).output(), b"abcd");
        rig.advance(ms(5000));
        assert!(!driver.sent(queue::tx(1)), "however long that takes");
        driver.line(1).set(|state| state.room = None);
        driver.wake(1);
        assert!(driver.sent(queue::tx(1)));
        assert_eq!(driver.line(1).output(), b"efgh");
    });
}

#[test]
fn a_console_waits_no_longer_than_a_second() {
    scenario(|rig| {
        let mut driver = Started::new(rig, 0);
        driver.line(0).set(|state| state.room = Some(2));
        driver.send(rig, queue::tx(0), b"abcd");
        rig.advance(ms(999));
        assert!(!driver.sent(queue::tx(0)));
        rig.advance(ms(2));
        assert!(driver.sent(queue::tx(0)));
        // From then on it waits for nothing, until the line takes everything.
        driver.send(rig, queue::tx(0), b"lost");
        assert!(driver.sent(queue::tx(0)));
        driver.line(0).set(|state| state.room = None);
        driver.send(rig, queue::tx(0), b"back");
        assert!(driver.sent(queue::tx(0)));
        assert_eq!(driver.line(0).output(), b"abback");
        driver.line(0).set(|state| state.room = Some(0));
        driver.send(rig, queue::tx(0), b"e");
        assert!(!driver.sent(queue::tx(0)));
    });
}

#[test]
fn who_comes_and_goes_at_the_host_s_end_is_told() {
    scenario(|rig| {
        let mut driver = Started::new(rig, 0);
        driver.line(1).set(|state| state.room = Some(0));
        driver.send(rig, queue::tx(1), b"held");
        driver.line(1).set(|state| (state.gone, state.room) = (true, None));
        driver.wake(1);
        assert_eq!(driver.told(rig), Some(message(1, event::PORT_OPEN, 0)));
        assert!(driver.sent(queue::tx(1)), "nobody will take it any more");
        driver.send(rig, queue::tx(1), b"nobody");
        assert!(driver.sent(queue::tx(1)));
        assert_eq!(driver.line(1).output(), b"");
        driver.line(1).set(|state| state.gone = false);
        driver.wake(1);
        assert_eq!(driver.told(rig), Some(message(1, event::PORT_OPEN, 1)));
        driver.send(rig, queue::tx(1), b"new");
        assert_eq!(driver.line(1).output(), b"new");
        // A console is always open.
        driver.line(0).set(|state| state.gone = true);
        driver.wake(0);
        assert_eq!(driver.told(rig), None);
    });
}

#[test]
fn who_opens_and_closes_in_the_guest_is_told() {
    let mut rig = Rig::new();
    let mut driver = Started::new(&mut rig, 0);
    driver.open(&mut rig, 1);
    driver.open(&mut rig, 1);
    assert!(driver.ends.cell.lock().is_open(1) && !driver.ends.cell.lock().is_open(0));
    driver.say(&mut rig, 1, event::PORT_OPEN, 0);
    driver.open(&mut rig, 0);
    driver::set_status(&mut rig, 0);
    let told = |port, open| DeviceEvent::PortOpened { port, open };
    let heard = std::mem::take(&mut *driver.ends.heard.0.lock().unwrap());
    assert_eq!(heard, [told(1, true), told(1, false), told(0, true), told(0, false)]);
}

#[test]
fn ports_come_and_go() {
    let mut rig = Rig::new();
    let mut driver = Started::new(&mut rig, 0);
    let line = Arc::<Line>::default();
    let generation = driver::get(&mut rig, 0x15, Size::B1);
    driver.ends.cell.lock().plug(port(2, false, "late", &line)).unwrap();
    assert_eq!(driver.told(&mut rig), Some(message(2, event::DEVICE_ADD, 1)));
    assert_ne!(driver::get(&mut rig, 0x15, Size::B1), generation);
    driver.line(1).set(|state| state.room = Some(0));
    driver.send(&mut rig, queue::tx(1), b"held");
    driver.send(&mut rig, queue::tx(1), b"and more");
    let gone = driver.ends.cell.lock().unplug(1);
    assert_eq!(gone.map(|config| config.name).as_deref(), Some("org.example.0"));
    assert!(driver.sent(queue::tx(1)) && driver.sent(queue::tx(1)), "its requests come back");
    assert_eq!(driver.told(&mut rig), Some(message(1, event::DEVICE_REMOVE, 1)));
    driver.send(&mut rig, queue::tx(1), b"to nobody");
    assert!(driver.sent(queue::tx(1)));
    driver.say(&mut rig, 1, event::PORT_READY, 1);
    assert_eq!(driver.told(&mut rig), None);
    assert!(driver.ends.cell.lock().unplug(1).is_none());
}

#[test]
fn numbers_are_given_as_qemu_gives_them() {
    let mut rig = Rig::new();
    let ends = attach(&mut rig);
    let mut device = ends.cell.lock();
    assert_eq!(device.number_for(None, true), Ok(2), "0 and 1 are taken");
    assert_eq!(device.number_for(Some(3), false), Ok(3));
    let refused =
        |device: &VirtioPci<Serial>, number, console| device.number_for(number, console).unwrap_err();
    assert!(refused(&device, Some(1), false).ends_with("A port already exists at id 1"));
    assert!(refused(&device, Some(4), false).ends_with("max. allowed: 3"));
    drop(device.unplug(0));
    assert_eq!(device.number_for(None, true), Ok(0));
    assert_eq!(device.number_for(None, false), Ok(2), "0 is kept for a console");
    assert!(refused(&device, Some(0), false).starts_with("Port number 0"));
    for number in [0, 2, 3] {
        device.plug(port(number, true, "", &ends.lines[0])).unwrap();
    }
    assert!(refused(&device, None, true).ends_with("limit for this device reached"));
    drop(device.unplug(3));
    let twice = device.plug(port(3, false, "org.example.0", &ends.lines[0]));
    assert!(twice.unwrap_err().ends_with("exists by name org.example.0"));
}

#[test]
fn a_driver_that_knows_no_ports_has_a_console() {
    scenario(|rig| {
        let mut driver = Started::with(rig, 0);
        driver.give(rig, queue::rx(0), 100);
        driver.come(0, b"typed");
        assert_eq!(driver.filled(rig, queue::rx(0)), Some(b"typed".to_vec()));
        driver.send(rig, queue::tx(0), b"printed");
        assert_eq!(driver.line(0).output(), b"printed");
    });
}

#[test]
fn the_configuration_has_ports_and_size() {
    let mut rig = Rig::new();
    let mut driver = Started::new(&mut rig, 0);
    let at = |field: usize| MEMORY + DEVICE.offset + field as u64;
    assert_eq!(rig.mmio_read(at(config::MAX_NR_PORTS), Size::B4), 4);
    assert_eq!(rig.mmio_read(at(config::COLS), Size::B4), 0);
    driver.line(0).set(|state| state.size = Some((132, 43)));
    driver.wake(0);
    let size = [&message(0, event::RESIZE, 1)[..], &[132, 0, 43, 0]].concat();
    assert_eq!(driver.told(&mut rig), Some(size));
    assert_eq!(rig.mmio_read(at(config::COLS), Size::B2), 132);
    assert_eq!(rig.mmio_read(at(config::ROWS), Size::B2), 43);
    assert!(rig.irq(11));
    driver.wake(0);
    assert_eq!(driver.told(&mut rig), None, "it is the same");
}

#[test]
fn a_character_goes_out_without_a_driver() {
    scenario(|rig| {
        let ends = attach(rig);
        let at = MEMORY + DEVICE.offset + config::EMERG_WR as u64;
        rig.mmio_write(at, Size::B4, u64::from(b'!'));
        rig.mmio_write(at, Size::B1, u64::from(b'?'));
        assert_eq!(rig.mmio_read(at, Size::B4), 0);
        rig.mmio_write(at - 4, Size::B4, 9);
        rig.mmio_write(at, Size::B4, 0);
        assert_eq!(ends.lines[0].output(), b"!?");
        assert_eq!(rig.mmio_read(at - 4, Size::B4), 4);
    });
}

#[test]
fn messages_wait_for_buffers_and_are_bounded() {
    scenario(|rig| {
        let ends = attach(rig);
        let features = feature::MULTIPORT | ring::VERSION_1;
        driver::negotiate(rig, features);
        let at = |number: u64| DriverQueue::new(rig.ram().clone(), QUEUES + number * 0x1_0000, 16, features);
        let queues: Vec<DriverQueue> = (0..6).map(at).collect();
        for (number, queue) in queues.iter().enumerate() {
            driver::enable(rig, number as u16, queue.place(), NO_VECTOR);
        }
        driver::ready(rig);
        let mut driver = Started { queues, ends, given: 0 };
        for _ in 0..200 {
            driver.say(rig, 0, event::PORT_READY, 1);
        }
        let waiting = driver.ends.cell.lock().device().messages.len();
        assert_eq!(waiting, control::WAITING);
        driver.give(rig, queue::CONTROL_RX, 64);
        assert_eq!(driver.filled(rig, queue::CONTROL_RX), Some(message(0, event::CONSOLE_PORT, 1)));
        // Too short: it is cut.
        driver.give(rig, queue::CONTROL_RX, 5);
        assert_eq!(driver.filled(rig, queue::CONTROL_RX).map(|bytes| bytes.len()), Some(5));
    });
}

#[test]
fn what_is_held_goes_with_a_saved_guest() {
    let mut rig = Rig::new();
    let mut driver = Started::new(&mut rig, 0);
    driver.open(&mut rig, 1);
    driver.line(1).set(|state| state.room = Some(1));
    driver.send(&mut rig, queue::tx(1), b"xyz");
    driver.come(1, &[7; 5000]);
    driver.give(&mut rig, queue::rx(1), 100);
    rig.save_load();
    driver.line(1).set(|state| state.room = None);
    let (_, resumed) = rig.bus().slots().into_iter().find(|(name, _)| name == "vserial").unwrap();
    assert!(resumed.lock().quiesce());
    driver.wake(1);
    assert!(!driver.sent(queue::tx(1)), "it is being saved");
    resumed.lock().resume();
    assert!(driver.sent(queue::tx(1)));
    assert_eq!(driver.line(1).output(), b"xyz");
    let mut got = driver.filled(&rig, queue::rx(1)).unwrap();
    while got.len() < 5000 {
        driver.give(&mut rig, queue::rx(1), 1000);
        got.extend(driver.filled(&rig, queue::rx(1)).unwrap());
    }
    assert_eq!(got, [7; 5000]);
}

#[test]
fn one_queue_is_reset() {
    let mut rig = Rig::new();
    let mut driver = Started::new(&mut rig, ring::RING_RESET);
    driver.line(1).set(|state| state.room = Some(1));
    driver.send(&mut rig, queue::tx(1), b"xyz");
    driver::set(&mut rig, 0x16, Size::B2, queue::tx(1).into());
    driver::set(&mut rig, 0x3a, Size::B2, 1);
    driver.line(1).set(|state| state.room = None);
    driver.wake(1);
    assert_eq!(driver.line(1).output(), b"x", "the rest was given up");
}
