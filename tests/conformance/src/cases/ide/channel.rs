//! What cases of both kinds of drive do over and over: a channel's registers and its protocols.

use crate::bench::Bench;
use crate::machine::{Op, Size};

/// The controller: device 1, function 1 (82371SB, 2.1).
pub(in crate::cases) const DEVICE: u8 = 1;
pub(in crate::cases) const FUNCTION: u8 = 1;
/// Where cases put the bus master's registers.
pub(in crate::cases) const BUS_MASTER: u16 = 0xc000;

/// Offsets in the command block.
pub(in crate::cases) const ERROR: u16 = 1;
pub(in crate::cases) const COUNT: u16 = 2;
pub(in crate::cases) const LOW: u16 = 3;
pub(in crate::cases) const MID: u16 = 4;
pub(in crate::cases) const HIGH: u16 = 5;
pub(in crate::cases) const SELECT: u16 = 6;
pub(in crate::cases) const STATUS: u16 = 7;

/// Status.
pub(in crate::cases) const BSY: u8 = 0x80;
pub(in crate::cases) const DRDY: u8 = 0x40;
pub(in crate::cases) const DF: u8 = 0x20;
pub(in crate::cases) const DRQ: u8 = 0x08;
pub(in crate::cases) const ERR: u8 = 0x01;
/// Error.
pub(in crate::cases) const ABRT: u8 = 0x04;
pub(in crate::cases) const IDNF: u8 = 0x10;

/// Bus master: status.
pub(in crate::cases) const ACTIVE: u8 = 1;
pub(in crate::cases) const FAILED: u8 = 2;
pub(in crate::cases) const INTERRUPT: u8 = 4;
/// Bus master: command.
pub(in crate::cases) const START: u8 = 1;
pub(in crate::cases) const TO_MEMORY: u8 = 8;

/// Where cases put a descriptor table, and data.
pub(in crate::cases) const TABLE: u64 = 0x10_0000;
pub(in crate::cases) const BUFFER: u64 = 0x20_0000;

/// Patience, in milliseconds of guest time.
const PATIENCE: u32 = 3000;

/// A channel.
#[derive(Clone, Copy)]
pub(in crate::cases) struct Channel {
    /// Command block.
    pub(in crate::cases) base: u16,
    /// Device control and alternate status.
    pub(in crate::cases) control: u16,
    /// Its bus master.
    pub(in crate::cases) master: u16,
}

pub(in crate::cases) const PRIMARY: Channel = Channel { base: 0x1f0, control: 0x3f6, master: BUS_MASTER };
pub(in crate::cases) const SECONDARY: Channel =
    Channel { base: 0x170, control: 0x376, master: BUS_MASTER + 8 };

/// Lets the controller decode both channels and be a bus master, and programs the interrupt controllers.
pub(in crate::cases) fn on(bench: &mut Bench<'_>) {
    bench.set_config(DEVICE, FUNCTION, 0x40, Size::B4, 0x8000_8000);
    bench.set_config(DEVICE, FUNCTION, 0x20, Size::B4, BUS_MASTER.into());
    bench.set_config(DEVICE, FUNCTION, 4, Size::B2, 5);
    bench.interrupts();
}

impl Channel {
    /// Reads a register of the command block.
    pub(in crate::cases) fn get(self, bench: &mut Bench<'_>, reg: u16) -> u8 {
        bench.inb(self.base + reg)
    }
    /// Writes one.
    pub(in crate::cases) fn set(self, bench: &mut Bench<'_>, reg: u16, value: u8) {
        bench.outb(self.base + reg, value);
    }
    /// Sector count, LBA low, mid and high.
    pub(in crate::cases) fn file(self, bench: &mut Bench<'_>) -> [u8; 4] {
        [COUNT, LOW, MID, HIGH].map(|reg| self.get(bench, reg))
    }
    /// Status, as soon as the drive is not busy, without acknowledging.
    pub(in crate::cases) fn settled(self, bench: &mut Bench<'_>) -> u8 {
        bench.poll(self.control, PATIENCE, |status| status & BSY == 0);
        bench.served(self.control, |status| status & BSY == 0)
    }
    /// Status, as soon as the drive is not busy and wants no data.
    pub(in crate::cases) fn over(self, bench: &mut Bench<'_>) -> u8 {
        self.settled(bench);
        bench.poll(self.control, PATIENCE, |status| status & (BSY | DRQ) == 0)
    }
    /// Acknowledges an interrupt by reading the status.
    pub(in crate::cases) fn acknowledge(self, bench: &mut Bench<'_>) -> u8 {
        self.get(bench, STATUS)
    }

    /// Gives a command with features, count, low, mid, high and device; not waiting.
    pub(in crate::cases) fn begin(self, bench: &mut Bench<'_>, file: [u8; 6], command: u8) {
        let [features, count, low, mid, high, device] = file;
        let values =
            [(SELECT, device), (ERROR, features), (COUNT, count), (LOW, low), (MID, mid), (HIGH, high)];
        let mut steps: Vec<Op> = values.map(|(reg, value)| self.write(reg, value)).to_vec();
        // The drive has 400 ns to show that it is busy.
        steps.extend([self.write(STATUS, command), Op::Wait(400)]);
        bench.perform(&steps);
    }
    fn write(self, reg: u16, value: u8) -> Op {
        Op::Out(self.base + reg, Size::B1, value.into())
    }
    /// Gives a command and waits until the drive is not busy; its status, not acknowledged.
    pub(in crate::cases) fn command(self, bench: &mut Bench<'_>, file: [u8; 6], command: u8) -> u8 {
        self.begin(bench, file, command);
        self.settled(bench)
    }
    /// Gives a command with a 28-bit address to drive `unit`.
    pub(in crate::cases) fn lba28(
        self,
        bench: &mut Bench<'_>,
        unit: u8,
        lba: u32,
        count: u8,
        command: u8,
    ) -> u8 {
        let [low, mid, high, top] = lba.to_le_bytes();
        self.command(bench, [0, count, low, mid, high, 0xe0 | unit << 4 | top & 15], command)
    }
    /// Gives a command with a 48-bit address to drive `unit`.
    pub(in crate::cases) fn lba48(
        self,
        bench: &mut Bench<'_>,
        unit: u8,
        lba: u64,
        count: u16,
        command: u8,
    ) -> u8 {
        let at = lba.to_le_bytes();
        let many = count.to_le_bytes();
        let mut steps = vec![self.write(SELECT, 0xe0 | unit << 4)];
        for (reg, first, second) in
            [(COUNT, many[1], many[0]), (LOW, at[3], at[0]), (MID, at[4], at[1]), (HIGH, at[5], at[2])]
        {
            steps.extend([self.write(reg, first), self.write(reg, second)]);
        }
        steps.extend([self.write(STATUS, command), Op::Wait(400)]);
        bench.perform(&steps);
        self.settled(bench)
    }

    /// Takes `len` bytes from the data port, two at a time.
    pub(in crate::cases) fn take(self, bench: &mut Bench<'_>, len: usize) -> Vec<u8> {
        bench.perform(&[Op::InString(self.base, Size::B2, len as u32 / 2, BUFFER)]);
        bench.peek(BUFFER, len)
    }
    /// Gives bytes to the data port.
    pub(in crate::cases) fn give(self, bench: &mut Bench<'_>, data: &[u8]) {
        bench.poke(BUFFER, data);
        bench.perform(&[Op::OutString(self.base, Size::B2, data.len() as u32 / 2, BUFFER)]);
    }
    /// Reads sectors by PIO, an interrupt a block of `block` sectors; what came.
    pub(in crate::cases) fn blocks(self, bench: &mut Bench<'_>, sectors: usize, block: usize) -> Vec<u8> {
        let mut data = Vec::new();
        let mut left = sectors;
        while left > 0 {
            let now = left.min(block);
            let status = self.settled(bench);
            if status & (DRQ | ERR) != DRQ {
                break;
            }
            self.acknowledge(bench);
            data.extend(self.take(bench, now * 512));
            left -= now;
        }
        data
    }
    /// IDENTIFY of either kind; its words.
    pub(in crate::cases) fn identify(self, bench: &mut Bench<'_>, unit: u8, command: u8) -> Vec<u16> {
        self.command(bench, [0, 0, 0, 0, 0, 0xe0 | unit << 4], command);
        self.acknowledge(bench);
        let data = self.take(bench, 512);
        data.chunks_exact(2).map(|word| u16::from_le_bytes([word[0], word[1]])).collect()
    }
    /// A software reset of both drives (ATA/ATAPI-6, 9.2).
    pub(in crate::cases) fn software_reset(self, bench: &mut Bench<'_>) {
        bench.perform(&[
            Op::Out(self.control, Size::B1, 4),
            Op::Wait(10_000),
            Op::Out(self.control, Size::B1, 0),
            Op::Wait(3_000_000),
        ]);
        self.settled(bench);
    }

    /// Writes a descriptor table (address, length word) and points the engine at it. The last entry is marked.
    pub(in crate::cases) fn table(self, bench: &mut Bench<'_>, entries: &[(u64, u32)]) {
        let mut table = Vec::new();
        for (index, (address, len)) in entries.iter().enumerate() {
            let mark = if index + 1 == entries.len() { 1 << 31 } else { 0 };
            table.extend((*address as u32).to_le_bytes());
            table.extend((len & 0xfffe | mark).to_le_bytes());
        }
        bench.poke(TABLE, &table);
        bench.outb(self.master, 0);
        bench.outb(self.master + 2, FAILED | INTERRUPT);
        bench.outl(self.master + 4, TABLE as u32);
    }
    /// Starts the engine.
    pub(in crate::cases) fn start(self, bench: &mut Bench<'_>, direction: u8) {
        bench.outb(self.master, direction);
        bench.outb(self.master, direction | START);
    }
    /// Waits for the end of a transfer: bus master status, drive's status (not acknowledged).
    pub(in crate::cases) fn finished(self, bench: &mut Bench<'_>) -> (u8, u8) {
        let ended = |status| status & (INTERRUPT | FAILED) != 0;
        bench.poll(self.master + 2, PATIENCE, ended);
        self.settled(bench);
        let master = bench.poll(self.master + 2, 10, ended);
        (master, self.over(bench))
    }
    /// A whole READ DMA or WRITE DMA with a 28-bit address of drive `unit`, over the table's entries.
    pub(in crate::cases) fn dma(
        self,
        bench: &mut Bench<'_>,
        unit: u8,
        lba: u32,
        count: u8,
        command: u8,
        entries: &[(u64, u32)],
    ) -> (u8, u8) {
        self.table(bench, entries);
        self.lba28(bench, unit, lba, count, command);
        self.start(bench, if command & 2 == 0 { TO_MEMORY } else { 0 });
        self.finished(bench)
    }
}
