//! A driver's side: rings that are filled from their beginning, and events that are read one after the other.

use std::cell::Cell;

use crate::bench::Bench;
use crate::machine::Size;

pub(super) const SLOT: u8 = 3;
pub(super) const BAR: u64 = 0xfe00_0000;
/// In RAM: arrays and contexts, rings, data.
const DCBAA: u64 = 0x10_0000;
pub(super) const INPUT: u64 = 0x10_1000;
const COMMANDS: u64 = 0x10_2000;
pub(super) const EVENTS: u64 = 0x10_3000;
const TABLE: u64 = 0x10_4000;
const OUTPUT: u64 = 0x10_5000;
const CONTROLS: u64 = 0x10_7000;
pub(super) const IN: u64 = 0x10_8000;
pub(super) const OUT: u64 = 0x10_9000;
pub(super) const DATA: u64 = 0x10_a000;
/// Most events that are passed over before the one that is waited for.
const OTHERS: u32 = 16;

/// An event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Event {
    pub(super) kind: u32,
    pub(super) code: u32,
    pub(super) length: u32,
    pub(super) parameter: u64,
    pub(super) slot: u32,
}

/// What the driver has put where.
pub(super) struct Driver {
    commands: Cell<u64>,
    controls: Cell<u64>,
    pub(super) ins: Cell<u64>,
    pub(super) outs: Cell<u64>,
    event: Cell<u64>,
}

pub(super) fn reg(bench: &mut Bench<'_>, at: u64) -> u32 {
    bench.readl(BAR + at)
}
pub(super) fn set(bench: &mut Bench<'_>, at: u64, value: u32) {
    bench.writel(BAR + at, value);
}
pub(super) fn words(bench: &mut Bench<'_>, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bench.poke(at, &bytes);
}
pub(super) fn word(bench: &mut Bench<'_>, at: u64) -> u32 {
    bench.peek(at, 4).iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}
pub(super) fn portsc(port: u32) -> u64 {
    0x440 + 16 * u64::from(port - 1)
}

/// As the firmware leaves it.
pub(super) fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, BAR as u32);
    bench.set_config(SLOT, 0, 0x14, Size::B4, 0);
    bench.set_config(SLOT, 0, 4, Size::B2, 6);
}

/// Set up and running.
pub(super) fn start(bench: &mut Bench<'_>) -> Driver {
    on(bench);
    bench.poke(DCBAA, &[0; 0xa000]);
    set(bench, 0x78, 8);
    set(bench, 0x70, DCBAA as u32);
    set(bench, 0x74, 0);
    set(bench, 0x58, COMMANDS as u32 | 1);
    set(bench, 0x5c, 0);
    words(bench, TABLE, &[EVENTS as u32, 0, 256, 0]);
    set(bench, 0x1028, 1);
    set(bench, 0x1038, EVENTS as u32);
    set(bench, 0x103c, 0);
    set(bench, 0x1030, TABLE as u32);
    set(bench, 0x1034, 0);
    set(bench, 0x1020, 2);
    set(bench, 0x40, 5);
    let zero = || Cell::new(0);
    Driver { commands: zero(), controls: zero(), ins: zero(), outs: zero(), event: zero() }
}

impl Driver {
    /// Puts a TRB at the next place of a ring.
    pub(super) fn put(
        bench: &mut Bench<'_>,
        (base, next): (u64, &Cell<u64>),
        parameter: u64,
        status: u32,
        control: u32,
    ) -> u64 {
        let at = base + 16 * next.get();
        next.set(next.get() + 1);
        words(bench, at, &[parameter as u32, (parameter >> 32) as u32, status, control | 1]);
        at
    }

    /// The next event, which may take some milliseconds. None comes: zeros.
    pub(super) fn event(&self, bench: &mut Bench<'_>) -> Event {
        let at = EVENTS + 16 * self.event.get();
        for _ in 0..200 {
            let control = word(bench, at + 12);
            if control & 1 != 0 {
                self.event.set(self.event.get() + 1);
                set(bench, 0x1038, (at + 16) as u32 | 8);
                set(bench, 0x103c, 0);
                let status = word(bench, at + 8);
                let [low, high] = [at, at + 4].map(|at| u64::from(word(bench, at)));
                return Event {
                    kind: control >> 10 & 0x3f,
                    code: status >> 24,
                    length: status & 0xff_ffff,
                    parameter: low | high << 32,
                    slot: control >> 24,
                };
            }
            bench.wait(1_000_000);
        }
        Event::default()
    }

    /// The event of a TRB; others before it are passed over.
    pub(super) fn of(&self, bench: &mut Bench<'_>, at: u64) -> Event {
        for _ in 0..OTHERS {
            let event = self.event(bench);
            if event.parameter == at || event.kind == 0 {
                return event;
            }
        }
        Event::default()
    }

    /// A command: its completion code and slot.
    pub(super) fn command(&self, bench: &mut Bench<'_>, kind: u32, parameter: u64, bits: u32) -> (u32, u32) {
        let at = Driver::put(bench, (COMMANDS, &self.commands), parameter, 0, kind << 10 | bits);
        set(bench, 0x2000, 0);
        let event = self.of(bench, at);
        (event.code, event.slot)
    }

    /// The device of a port has an address.
    pub(super) fn address(&self, bench: &mut Bench<'_>, port: u32, speed: u32, packet: u32) -> u32 {
        set(bench, portsc(port), 0x210);
        bench.wait(60_000_000);
        let (_, slot) = self.command(bench, 9, 0, 0);
        words(bench, DCBAA + 8 * u64::from(slot), &[OUTPUT as u32]);
        words(bench, INPUT, &[0, 3]);
        words(bench, INPUT + 32, &[1 << 27 | speed << 20, port << 16]);
        words(bench, INPUT + 64, &[0, 3 << 1 | 4 << 3 | packet << 16, CONTROLS as u32 | 1, 0, 8]);
        let (code, _) = self.command(bench, 11, INPUT, slot << 24);
        bench.check("the device has an address", code, 1u8);
        slot
    }

    /// A request without data to the device. None: it failed.
    pub(super) fn request(&self, bench: &mut Bench<'_>, slot: u32, setup: [u8; 8]) -> Option<Vec<u8>> {
        let ring = (CONTROLS, &self.controls);
        let len = u32::from(u16::from_le_bytes([setup[6], setup[7]]));
        let transfer = if len == 0 { 0 } else { 3 << 16 };
        Driver::put(bench, ring, u64::from_le_bytes(setup), 8, 2 << 10 | 0x40 | transfer);
        let mut data = 0;
        if len > 0 {
            data = Driver::put(bench, ring, DATA, len, 3 << 10 | 0x1_0004);
        }
        let back = if len > 0 { 0 } else { 0x1_0000 };
        let end = Driver::put(bench, ring, 0, 0, 4 << 10 | 0x20 | back);
        set(bench, 0x2000 + 4 * u64::from(slot), 1);
        let mut got = len;
        for _ in 0..OTHERS {
            let event = self.event(bench);
            match event.parameter {
                _ if event.kind == 34 => {}
                at if at == data && event.code == 13 => got = len.saturating_sub(event.length),
                at if at == end && event.code == 1 => return Some(bench.peek(DATA, got as usize)),
                _ => return None,
            }
        }
        None
    }

    /// Endpoints come, of which each is (DCI, type, packet, ring), and the device is configured.
    pub(super) fn configure(&self, bench: &mut Bench<'_>, slot: u32, endpoints: &[(u64, u32, u32, u64)]) {
        let add = endpoints.iter().fold(1, |add, (number, ..)| add | 1 << number);
        words(bench, INPUT, &[0, add]);
        let own = bench.peek(OUTPUT, 32);
        bench.poke(INPUT + 32, &own);
        let entries = word(bench, INPUT + 32) & !(0x1f << 27) | 5 << 27;
        words(bench, INPUT + 32, &[entries]);
        for (number, kind, packet, ring) in endpoints {
            let at = INPUT + 32 * (number + 1);
            let interval = if kind & 3 == 3 { 6 << 16 } else { 0 };
            words(bench, at, &[interval, 3 << 1 | kind << 3 | packet << 16, *ring as u32 | 1, 0, 8]);
        }
        let (code, _) = self.command(bench, 12, INPUT, slot << 24);
        bench.check("endpoints come", code, 1u8);
        self.request(bench, slot, [0, 9, 1, 0, 0, 0, 0, 0]);
    }
}

/// The state in a context of the output: that of the slot for 0.
pub(super) fn state(bench: &mut Bench<'_>, endpoint: u64) -> u32 {
    match endpoint {
        0 => word(bench, OUTPUT + 12) >> 27,
        _ => word(bench, OUTPUT + 32 * endpoint) & 7,
    }
}
