//! The DMA controllers 8237A and page registers: Intel 8237A data sheet (231466); the PC/AT's wiring of them after
//! Intel 82371SB, "DMA controller" registers.

use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};
use crate::machine::{Op, Size};

pub(super) const GROUP: Group = Group {
    device: "dma8237",
    about: "DMA controllers 8237A and page registers",
    setup: Setup { disks: &[], args: &[] },
    cases: CASES,
};

const CASES: &[Case] = &[
    case("addresses of channels 0 to 3", "8237A, base and current address registers", addresses_low),
    case("addresses of channels 4 to 7", "82371SB DMA base and current address, C0h-CCh", addresses_high),
    case("counts of channels 0 to 3", "8237A, base and current word count registers", counts_low),
    case("counts of channels 4 to 7", "82371SB DMA base and current count, C2h-CEh", counts_high),
    case("channels do not share registers", "8237A, register addresses", apart),
    case("byte pointer", "8237A, clear first/last flip-flop", pointer),
    case("byte pointer is one for all channels", "8237A, first/last flip-flop", pointer_shared),
    case("each controller has its byte pointer", "82371SB DMA clear byte pointer, 0Ch and D8h", pointer_two),
    case("half of a register", "8237A, first/last flip-flop", half),
    case("status after reset", "8237A, status register", status),
    case("reading status twice", "8237A, status register bits 0 to 3", status_twice),
    case(
        "a software request shows in status",
        "8237A, request register; status register bits 4 to 7",
        request,
    ),
    case("masks after reset", "8237A, mask register: reset sets all", mask_reset),
    case("one mask", "8237A, mask register: set/reset one bit", mask_one),
    case("all masks", "8237A, mask register: write all bits", mask_all),
    case("clear masks", "8237A, clear mask register", mask_clear),
    case("mode does not touch address and count", "8237A, mode register", mode),
    case("command register takes any value", "8237A, command register", command),
    case("master clear", "8237A, master clear", master_clear),
    case("master clear of one controller only", "82371SB DMA master clear, 0Dh and DAh", master_clear_one),
    case("page registers", "82371SB DMA page registers, 81h-8Fh", pages),
    case(
        "reserved page registers hold bytes",
        "82371SB DMA page registers: reserved, 84h-86h, 88h, 8Ch-8Eh",
        reserved_pages,
    ),
    case("page registers are no address bits", "82371SB DMA page registers", pages_apart),
    case("rewriting before a transfer", "8237A, programming: base and current are written together", rewrite),
    case("reset", "8237A, RESET", reset),
];

/// A controller: first port, ports from one register to the next.
#[derive(Clone, Copy)]
struct Controller {
    base: u16,
    step: u16,
}

const LOW: Controller = Controller { base: 0x00, step: 1 };
const HIGH: Controller = Controller { base: 0xc0, step: 2 };

const STATUS: u16 = 8;
const REQUEST: u16 = 9;
const MASK_ONE: u16 = 10;
const MODE: u16 = 11;
const CLEAR_POINTER: u16 = 12;
const MASTER_CLEAR: u16 = 13;
const CLEAR_MASK: u16 = 14;
const MASK_ALL: u16 = 15;

impl Controller {
    fn port(self, register: u16) -> u16 {
        self.base + register * self.step
    }
    fn get(self, bench: &mut Bench<'_>, register: u16) -> u8 {
        bench.inb(self.port(register))
    }
    fn set(self, bench: &mut Bench<'_>, register: u16, value: u8) {
        bench.outb(self.port(register), value);
    }
    /// Reads a register of two bytes, the low one first.
    fn word(self, bench: &mut Bench<'_>, register: u16) -> u16 {
        let port = self.port(register);
        let got = bench.perform(&[
            Op::Out(self.port(CLEAR_POINTER), Size::B1, 0),
            Op::In(port, Size::B1),
            Op::In(port, Size::B1),
        ]);
        u16::from_le_bytes([got[1] as u8, got[2] as u8])
    }
    fn set_word(self, bench: &mut Bench<'_>, register: u16, value: u16) {
        let port = self.port(register);
        let [low, high] = value.to_le_bytes();
        bench.perform(&[
            Op::Out(self.port(CLEAR_POINTER), Size::B1, 0),
            Op::Out(port, Size::B1, low.into()),
            Op::Out(port, Size::B1, high.into()),
        ]);
    }
}

const VALUES: [u16; 4] = [0x1234, 0x0000, 0xffff, 0xa55a];

fn registers(bench: &mut Bench<'_>, controller: Controller, first: u16) {
    for channel in 0..4u16 {
        for value in VALUES {
            let register = 2 * channel + first;
            controller.set_word(bench, register, value);
            let got = controller.word(bench, register);
            bench.check(format!("channel {channel}, {value:#x}"), got, value);
        }
    }
}

fn addresses_low(bench: &mut Bench<'_>) {
    registers(bench, LOW, 0);
}
fn addresses_high(bench: &mut Bench<'_>) {
    registers(bench, HIGH, 0);
}
fn counts_low(bench: &mut Bench<'_>) {
    registers(bench, LOW, 1);
}
fn counts_high(bench: &mut Bench<'_>) {
    registers(bench, HIGH, 1);
}

fn apart(bench: &mut Bench<'_>) {
    for (seed, controller) in [(0x1100u16, LOW), (0x8800, HIGH)] {
        for register in 0..8 {
            controller.set_word(bench, register, seed + register * 0x101);
        }
    }
    for (name, seed, controller) in [("low", 0x1100u16, LOW), ("high", 0x8800, HIGH)] {
        for register in 0..8 {
            let got = controller.word(bench, register);
            bench.check(format!("{name} controller, register {register}"), got, seed + register * 0x101);
        }
    }
}

fn pointer(bench: &mut Bench<'_>) {
    for controller in [LOW, HIGH] {
        controller.set_word(bench, 0, 0x1234);
        controller.set(bench, CLEAR_POINTER, 0);
        let bytes: Vec<u8> = (0..4).map(|_| controller.get(bench, 0)).collect();
        bench.check_bytes("it turns with every access", &bytes, &[0x34, 0x12, 0x34, 0x12]);
        controller.get(bench, 0);
        controller.set(bench, CLEAR_POINTER, 0xff);
        let low = controller.get(bench, 0);
        bench.check("any value clears it", low, 0x34u8);
    }
}

fn pointer_shared(bench: &mut Bench<'_>) {
    LOW.set_word(bench, 0, 0x1234);
    LOW.set_word(bench, 3, 0x5678);
    LOW.set(bench, CLEAR_POINTER, 0);
    let low = LOW.get(bench, 0);
    bench.check("low byte of an address", low, 0x34u8);
    let high = LOW.get(bench, 3);
    bench.check("then the high byte of a count", high, 0x56u8);
}

fn pointer_two(bench: &mut Bench<'_>) {
    LOW.set_word(bench, 0, 0x1234);
    HIGH.set_word(bench, 0, 0x5678);
    LOW.set(bench, CLEAR_POINTER, 0);
    HIGH.set(bench, CLEAR_POINTER, 0);
    LOW.get(bench, 0);
    let low = HIGH.get(bench, 0);
    bench.check("the other one's is where it was", low, 0x78u8);
    LOW.set(bench, CLEAR_POINTER, 0);
    let high = HIGH.get(bench, 0);
    bench.check("clearing one leaves the other", high, 0x56u8);
}

fn half(bench: &mut Bench<'_>) {
    for controller in [LOW, HIGH] {
        controller.set_word(bench, 2, 0x1234);
        controller.set(bench, CLEAR_POINTER, 0);
        controller.set(bench, 2, 0x77);
        let got = controller.word(bench, 2);
        bench.check("only the low byte is written", got & 0xff, 0x77u16);
        bench.check("the high byte is kept", got >> 8, 0x12u16);
    }
}

fn status(bench: &mut Bench<'_>) {
    for (name, controller) in [("low", LOW), ("high", HIGH)] {
        let status = controller.get(bench, STATUS);
        bench.check(name, status, 0u8);
        let temporary = controller.get(bench, MASTER_CLEAR);
        bench.check(format!("{name}: temporary register"), temporary, 0u8);
    }
}

fn status_twice(bench: &mut Bench<'_>) {
    for controller in [LOW, HIGH] {
        controller.get(bench, STATUS);
        let again = controller.get(bench, STATUS);
        bench.check_bits("no channel has ended", again, 0x0fu8, 0u8);
    }
}

fn request(bench: &mut Bench<'_>) {
    // Masked by reset, a channel does not transfer.
    LOW.set(bench, REQUEST, 4 | 1);
    let set = LOW.get(bench, STATUS);
    bench.note("channel 1 requested", set);
    LOW.set(bench, REQUEST, 1);
    let cleared = LOW.get(bench, STATUS);
    bench.check_bits("withdrawn", cleared, 0x20u8, 0u8);
    LOW.set(bench, REQUEST, 4 | 3);
    LOW.set(bench, MASTER_CLEAR, 0);
    let cleared = LOW.get(bench, STATUS);
    bench.check_bits("withdrawn by master clear", cleared, 0xf0u8, 0u8);
}

/// The mask register as read at its port: the 8237A does not say, PCs after it give the masks.
fn masks(bench: &mut Bench<'_>, controller: Controller, what: &str) {
    let masks = controller.get(bench, MASK_ALL);
    bench.note(what, masks);
}

fn mask_reset(bench: &mut Bench<'_>) {
    for (name, controller) in [("low", LOW), ("high", HIGH)] {
        masks(bench, controller, name);
        let status = controller.get(bench, STATUS);
        bench.check(format!("{name}: status"), status, 0u8);
    }
}

fn mask_one(bench: &mut Bench<'_>) {
    for channel in 0..4u8 {
        LOW.set(bench, MASK_ONE, channel);
        masks(bench, LOW, &format!("channel {channel} open"));
        LOW.set(bench, MASK_ONE, channel | 4);
        masks(bench, LOW, &format!("channel {channel} masked"));
    }
}

fn mask_all(bench: &mut Bench<'_>) {
    for bits in [0x00u8, 0x05, 0x0a, 0x0f, 0xff] {
        LOW.set(bench, MASK_ALL, bits);
        masks(bench, LOW, &format!("{bits:#x}"));
    }
}

fn mask_clear(bench: &mut Bench<'_>) {
    LOW.set(bench, CLEAR_MASK, 0);
    masks(bench, LOW, "cleared");
    LOW.set(bench, MASTER_CLEAR, 0);
    masks(bench, LOW, "after master clear");
}

fn mode(bench: &mut Bench<'_>) {
    for controller in [LOW, HIGH] {
        controller.set_word(bench, 4, 0x1234);
        controller.set_word(bench, 5, 0x5678);
        for mode in [0x46u8, 0x4a, 0x5a, 0x6a, 0x82, 0x02] {
            controller.set(bench, MODE, mode);
        }
        let address = controller.word(bench, 4);
        bench.check("address", address, 0x1234u16);
        let count = controller.word(bench, 5);
        bench.check("count", count, 0x5678u16);
    }
}

fn command(bench: &mut Bench<'_>) {
    for controller in [LOW, HIGH] {
        controller.set_word(bench, 0, 0x4321);
        for value in [0x04u8, 0x10, 0xff, 0x00] {
            controller.set(bench, STATUS, value);
            let status = controller.get(bench, STATUS);
            bench.check(format!("{value:#x}: status"), status, 0u8);
            let address = controller.word(bench, 0);
            bench.check(format!("{value:#x}: registers are still there"), address, 0x4321u16);
        }
    }
}

fn master_clear(bench: &mut Bench<'_>) {
    for controller in [LOW, HIGH] {
        controller.set_word(bench, 0, 0x1234);
        controller.set(bench, CLEAR_POINTER, 0);
        controller.get(bench, 0);
        controller.set(bench, CLEAR_MASK, 0);
        controller.set(bench, MASTER_CLEAR, 0x55);
        let low = controller.get(bench, 0);
        bench.check("byte pointer", low, 0x34u8);
        let high = controller.get(bench, 0);
        bench.check("the address is kept", high, 0x12u8);
        let status = controller.get(bench, STATUS);
        bench.check("status", status, 0u8);
        let temporary = controller.get(bench, MASTER_CLEAR);
        bench.check("temporary register", temporary, 0u8);
    }
}

fn master_clear_one(bench: &mut Bench<'_>) {
    LOW.set(bench, CLEAR_MASK, 0);
    HIGH.set(bench, CLEAR_MASK, 0);
    HIGH.set_word(bench, 0, 0x5678);
    HIGH.set(bench, CLEAR_POINTER, 0);
    HIGH.get(bench, 0);
    LOW.set(bench, MASTER_CLEAR, 0);
    let high = HIGH.get(bench, 0);
    bench.check("the other one's byte pointer", high, 0x56u8);
    masks(bench, HIGH, "the other one's masks");
}

/// Page registers of channels 0 to 3, 5 to 7, and of refresh.
const PAGES: [u16; 8] = [0x87, 0x83, 0x81, 0x82, 0x8b, 0x89, 0x8a, 0x8f];

fn hold(bench: &mut Bench<'_>, ports: &[u16]) {
    for seed in [0x00u8, 0xff, 0x5a] {
        for port in ports {
            bench.outb(*port, seed ^ *port as u8);
        }
        for port in ports {
            let got = bench.inb(*port);
            bench.check(format!("{port:#x}, {seed:#x}"), got, seed ^ *port as u8);
        }
    }
}

fn pages(bench: &mut Bench<'_>) {
    hold(bench, &PAGES);
}

fn reserved_pages(bench: &mut Bench<'_>) {
    hold(bench, &[0x84, 0x85, 0x86, 0x88, 0x8c, 0x8d, 0x8e]);
}

fn pages_apart(bench: &mut Bench<'_>) {
    LOW.set_word(bench, 4, 0x1234);
    bench.outb(0x81, 0xaa);
    let address = LOW.word(bench, 4);
    bench.check("address after its page was written", address, 0x1234u16);
    LOW.set_word(bench, 4, 0xffff);
    let page = bench.inb(0x81);
    bench.check("page after its address was written", page, 0xaau8);
    LOW.set(bench, MASTER_CLEAR, 0);
    let page = bench.inb(0x81);
    bench.check("page after master clear", page, 0xaau8);
}

fn rewrite(bench: &mut Bench<'_>) {
    for value in [0x1000u16, 0x2000, 0x2fff] {
        LOW.set_word(bench, 4, value);
        LOW.set_word(bench, 5, !value);
        let got = [LOW.word(bench, 4), LOW.word(bench, 5)];
        bench.check(format!("{value:#x}: current address"), got[0], value);
        bench.check(format!("{value:#x}: current count"), got[1], !value);
    }
}

fn reset(bench: &mut Bench<'_>) {
    for controller in [LOW, HIGH] {
        controller.set_word(bench, 0, 0x1234);
        controller.set(bench, CLEAR_MASK, 0);
        controller.set(bench, STATUS, 4);
        controller.set(bench, CLEAR_POINTER, 0);
        controller.get(bench, 0);
    }
    bench.reset();
    for (name, controller) in [("low", LOW), ("high", HIGH)] {
        controller.set(bench, 0, 0x77);
        controller.set(bench, 0, 0x66);
        let got = controller.word(bench, 0);
        bench.check(format!("{name}: byte pointer is clear"), got, 0x6677u16);
        masks(bench, controller, &format!("{name}: masks"));
        let status = controller.get(bench, STATUS);
        bench.check(format!("{name}: status"), status, 0u8);
    }
}
