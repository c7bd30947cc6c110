//! Virtio console: ports, and the messages about them. Virtual I/O Device, version 1.3 (V); where it is silent, QEMU's
//! devices are compared with ours.

use super::virtio_blk::driver::{
    DEVICE, IO, NOTIFY, SIZE, SLOT, VERSION_1, enable, features, get, negotiate, on, set, set_status, used,
    wait_first, wait_used,
};
use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

pub(super) const GROUP: Group = Group {
    device: "virtio-serial",
    about: "Virtio console: a console and two ports",
    setup: Setup {
        disks: &[],
        args: &[
            "-device",
            "virtio-serial-pci,id=vs,max_ports=4,addr=3",
            "-chardev",
            "null,id=line0",
            "-device",
            "virtconsole,chardev=line0",
            "-device",
            "virtserialport,name=org.example.0",
            "-chardev",
            "null,id=line2",
            "-device",
            "virtserialport,chardev=line2,name=org.example.2",
        ],
    },
    cases: &[
        case("identity", "V 4.1.2, 5.3.1", identity),
        case("queues that there are", "V 5.3.2", queues),
        case("features that are offered", "V 5.3.3", offered),
        case("configuration", "V 5.3.4", config),
        case("a character without a driver", "V 5.3.4, emerg_wr", emergency),
        case("a driver hears of all ports", "V 5.3.6.2, DEVICE_READY", device_ready),
        case("a driver that failed hears of none", "V 5.3.6.2, DEVICE_READY", device_failed),
        case("a console", "V 5.3.6.2, CONSOLE_PORT", console),
        case("a port with nobody at its end", "V 5.3.6.2, PORT_NAME", named),
        case("a port with somebody at its end", "V 5.3.6.2, PORT_OPEN", open),
        case("a port that the driver has not taken", "V 5.3.6.2, PORT_READY", port_failed),
        case("a port that is not there", "V 5.3.6.2", no_port),
        case("a message that is too short", "no document: QEMU's", short),
        case("a message with more behind it", "no document: QEMU's", long),
        case("a message that is not known", "V 5.3.6.2", unknown),
        case("a message in two buffers", "V 2.7.4.2", scattered),
        case("what goes out comes back", "V 5.3.6", output),
        case("what goes to nobody comes back", "V 5.3.6", output_to_nobody),
        case("what goes to no port comes back", "no document: QEMU's", output_to_no_port),
        case("opening and closing", "V 5.3.6.2, PORT_OPEN", opening),
        case("without ports", "V 5.3.5", single),
        case("a legacy driver", "V 5.3.5.1, 4.1.4.10", legacy),
        case("after a reset all is said again", "V 2.1.2", again),
    ],
};

const MULTIPORT: u64 = 1 << 1;

/// Where the driver has its queues, one behind the other, and what it sends and gets.
const RINGS: u64 = 0x13_0000;
const SENT: u64 = 0x15_0000;
const GOT: u64 = 0x16_0000;

const CONTROL_RX: u16 = 2;
const CONTROL_TX: u16 = 3;

fn ring(queue: u16) -> u64 {
    RINGS + u64::from(queue) * 0x4000
}

/// A driver that is set up, with buffers for messages.
struct Driver {
    /// Requests of each queue.
    made: [u16; 10],
    /// Messages that were read.
    read: u16,
}

impl Driver {
    fn new(bench: &mut Bench<'_>, features: u64, count: u16) -> Driver {
        negotiate(bench, features | VERSION_1);
        let mut driver = Driver { made: [0; 10], read: 0 };
        for queue in 0..count {
            bench.poke(ring(queue), &[0; 0x3000]);
            enable(bench, queue, ring(queue));
        }
        set_status(bench, 0xf);
        for _ in 0..if count > 2 { SIZE } else { 0 } {
            let at = GOT + u64::from(driver.made[2]) * 0x100;
            driver.request(bench, CONTROL_RX, &[(at, 64, true)]);
        }
        driver
    }

    fn started(bench: &mut Bench<'_>) -> Driver {
        Driver::new(bench, MULTIPORT, 10)
    }

    /// Makes a request of at most two buffers.
    fn request(&mut self, bench: &mut Bench<'_>, queue: u16, buffers: &[(u64, u32, bool)]) {
        let (number, at) = (self.made[usize::from(queue)], ring(queue));
        self.made[usize::from(queue)] += 1;
        // A queue has eight descriptors: two for each of the first four requests, or one for each.
        let first = number * buffers.len() as u16 % SIZE;
        for (n, (gpa, len, write)) in buffers.iter().enumerate() {
            let own = first + n as u16;
            let more = u16::from(n + 1 < buffers.len());
            let flags = more | if *write { 2 } else { 0 };
            let bytes =
                [&gpa.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &(own + 1).to_le_bytes()];
            bench.poke(at + u64::from(own) * 16, &bytes.concat());
        }
        bench.poke(at + 0x1004 + u64::from(number % SIZE) * 2, &first.to_le_bytes());
        bench.poke(at + 0x1002, &(number + 1).to_le_bytes());
        bench.write(NOTIFY + u64::from(queue) * 4, Size::B2, queue.into());
    }

    /// Sends bytes, and waits until they are given back.
    fn send(&mut self, bench: &mut Bench<'_>, queue: u16, bytes: &[u8]) {
        bench.poke(SENT, bytes);
        self.request(bench, queue, &[(SENT, bytes.len() as u32, false)]);
        let made = self.made[usize::from(queue)];
        let (index, _, written) = wait_used(bench, ring(queue), made);
        bench.check("it is given back", index, made);
        bench.check("nothing was written", written, 0u8);
    }

    fn say(&mut self, bench: &mut Bench<'_>, port: u32, event: u16, value: u16) {
        self.send(bench, CONTROL_TX, &message(port, event, value));
    }

    /// Checks that the next messages are these, and no more.
    fn hears(&mut self, bench: &mut Bench<'_>, messages: &[Vec<u8>]) {
        for message in messages {
            let (index, ..) = used(bench, ring(CONTROL_RX));
            bench.check_that("a message has come", index > self.read, index);
            let at = ring(CONTROL_RX) + 0x2004 + u64::from(self.read % SIZE) * 8;
            let element = bench.peek(at, 8);
            let len = u32::from_le_bytes([element[4], element[5], element[6], element[7]]);
            bench.check("its bytes", len, message.len() as u32);
            let got = bench.peek(GOT + u64::from(element[0]) * 0x100, message.len());
            bench.check_bytes("the message", &got, message);
            self.read += 1;
        }
        let (index, ..) = used(bench, ring(CONTROL_RX));
        bench.check("messages", index, self.read);
    }
}

fn message(port: u32, event: u16, value: u16) -> Vec<u8> {
    [&port.to_le_bytes()[..], &event.to_le_bytes(), &value.to_le_bytes()].concat()
}

fn name(port: u32, name: &str) -> Vec<u8> {
    [&message(port, 7, 1)[..], name.as_bytes(), &[0]].concat()
}

fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x1003_1af4u32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class", class >> 8, 0x07_80_00u32);
    let subsystem = bench.config(SLOT, 0, 0x2c, Size::B4);
    bench.check("the subsystem is the type", subsystem >> 16, 3u32);
    let vectors = bench.config(SLOT, 0, 0x9a, Size::B2);
    bench.note("MSI-X control", vectors);
}

fn queues(bench: &mut Bench<'_>) {
    on(bench);
    let count = get(bench, 0x12, Size::B2);
    bench.check("queues: two for each of four ports, two for messages", count, 10u8);
    for queue in 0..12 {
        set(bench, 0x16, Size::B2, queue);
        let size = get(bench, 0x18, Size::B2);
        bench.note(format!("elements of queue {queue}"), size);
    }
}

fn offered(bench: &mut Bench<'_>) {
    on(bench);
    let offered = features(bench, 0);
    bench.check_bits("MULTIPORT, since there can be several", offered, MULTIPORT, MULTIPORT);
    bench.note("bits of the device type", offered & 0xff_ffff);
}

fn config(bench: &mut Bench<'_>) {
    on(bench);
    let size = bench.readl(DEVICE);
    bench.note("columns and rows", size);
    let ports = bench.readl(DEVICE + 4);
    bench.check("most ports", ports, 4u8);
    let emergency = bench.readl(DEVICE + 8);
    bench.check("the character that is put out", emergency, 0u8);
}

fn emergency(bench: &mut Bench<'_>) {
    on(bench);
    bench.writel(DEVICE + 8, b'!'.into());
    let value = bench.readl(DEVICE + 8);
    bench.check("it is gone at once", value, 0u8);
    let ports = bench.readl(DEVICE + 4);
    bench.writel(DEVICE + 4, 9);
    let after = bench.readl(DEVICE + 4);
    bench.check("the rest cannot be written", after, ports);
}

fn device_ready(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    driver.hears(bench, &[]);
    driver.say(bench, 0, 0, 1);
    driver.hears(bench, &[message(0, 1, 1), message(1, 1, 1), message(2, 1, 1)]);
}

fn device_failed(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    driver.say(bench, 0, 0, 0);
    driver.hears(bench, &[]);
}

fn console(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    driver.say(bench, 0, 3, 1);
    driver.hears(bench, &[message(0, 4, 1), message(0, 6, 1)]);
}

fn named(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    driver.say(bench, 1, 3, 1);
    driver.hears(bench, &[name(1, "org.example.0")]);
}

fn open(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    driver.say(bench, 2, 3, 1);
    driver.hears(bench, &[name(2, "org.example.2"), message(2, 6, 1)]);
}

fn port_failed(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    driver.say(bench, 0, 3, 0);
    driver.hears(bench, &[]);
}

fn no_port(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    for port in [3, 4, 0xffff, 0x1_0000, u32::MAX] {
        driver.say(bench, port, 3, 1);
        driver.say(bench, port, 6, 1);
    }
    driver.hears(bench, &[]);
}

fn short(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    for len in 1..8 {
        driver.send(bench, CONTROL_TX, &message(0, 3, 0x0101)[..len]);
    }
    driver.hears(bench, &[]);
}

fn long(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    driver.send(bench, CONTROL_TX, &[message(0, 3, 1), vec![0xff; 100]].concat());
    driver.hears(bench, &[message(0, 4, 1), message(0, 6, 1)]);
}

fn unknown(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    for event in [1, 2, 4, 5, 7, 8, 0xffff] {
        driver.say(bench, 1, event, 1);
    }
    driver.hears(bench, &[]);
}

fn scattered(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    bench.poke(SENT, &message(0, 3, 1));
    driver.request(bench, CONTROL_TX, &[(SENT, 3, false), (SENT + 3, 5, false)]);
    wait_used(bench, ring(CONTROL_TX), 1);
    driver.hears(bench, &[message(0, 4, 1), message(0, 6, 1)]);
}

fn output(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    driver.send(bench, 1, b"console");
    driver.send(bench, 7, &[b'x'; 5000]);
    driver.send(bench, 7, b"y");
}

fn output_to_nobody(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    driver.send(bench, 5, b"port");
    driver.send(bench, 5, b"port");
}

fn output_to_no_port(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    driver.send(bench, 9, b"port");
}

fn opening(bench: &mut Bench<'_>) {
    let mut driver = Driver::started(bench);
    for value in [1, 1, 0, 0xffff, 0] {
        driver.say(bench, 2, 6, value);
    }
    driver.hears(bench, &[]);
}

fn single(bench: &mut Bench<'_>) {
    let mut driver = Driver::new(bench, 0, 2);
    driver.send(bench, 1, b"console");
    bench.poke(GOT, &[0x5a; 8]);
    driver.request(bench, 0, &[(GOT, 8, true)]);
    let (index, ..) = used(bench, ring(0));
    bench.check("nothing has come in", index, 0u8);
}

fn legacy(bench: &mut Bench<'_>) {
    on(bench);
    for status in [0, 1, 3] {
        bench.outb(IO + 18, status);
    }
    bench.outl(IO + 4, 0);
    bench.outw(IO + 14, 1);
    let size = bench.inw(IO + 12);
    bench.check("elements of what goes out", size, 128u8);
    bench.poke(RINGS, &[0; 0x3000]);
    bench.outl(IO + 8, (RINGS / 4096) as u32);
    bench.outb(IO + 18, 7);
    // Descriptors, available ring and used ring of 128 elements.
    let (avail, used) = (RINGS + 128 * 16, RINGS + 0x1000);
    let bytes = [&SENT.to_le_bytes()[..], &4u32.to_le_bytes(), &[0; 4]].concat();
    bench.poke(RINGS, &bytes);
    bench.poke(avail, &[0, 0, 1, 0, 0, 0]);
    bench.outw(IO + 16, 1);
    let index = wait_first(bench, used)[2];
    bench.check("it is given back", index, 1u8);
}

fn again(bench: &mut Bench<'_>) {
    for _ in 0..2 {
        let mut driver = Driver::started(bench);
        driver.say(bench, 0, 0, 1);
        driver.hears(bench, &[message(0, 1, 1), message(1, 1, 1), message(2, 1, 1)]);
    }
}
