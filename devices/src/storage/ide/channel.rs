//! A channel: two drives on one cable, their common registers, interrupt and bus master.

use devices_core::device::{Deferred, Ticket, deferred};
use devices_core::dma::Dma;
use devices_core::irq::IrqLine;

use super::busmaster::{BusMaster, Edge};
use super::drive::{Drive, Kind, Work};
use super::spec::{BmStatus, Control, DEVICE_1, DEVICE_ONES, Status, reg};

/// What the drives of a channel share, and what they reach the world through.
pub struct IdeBus {
    pub(in crate::storage) bm: BusMaster,
    pub(in crate::storage) dma: Dma,
    pub(super) control: Control,
    pub(super) irq: IrqLine,
}

impl IdeBus {
    /// The selected drive wants attention.
    pub(in crate::storage) fn raise(&mut self) {
        if !self.control.contains(Control::NIEN) {
            self.bm.status.insert(BmStatus::INTERRUPT);
            self.irq.set(true);
        }
    }
}

/// One channel.
pub struct Channel {
    pub(super) drives: [Drive; 2],
    pub(super) host: IdeBus,
    /// vCPUs that have stopped the engine, until nothing is in flight.
    pub(super) stopping: Vec<Ticket>,
}

/// Most vCPUs that wait for the engine to stop; more than a machine has.
const STOPPING: usize = 1024;

impl Channel {
    pub(super) fn new(drives: [Drive; 2], irq: IrqLine, dma: Dma) -> Channel {
        let host = IdeBus { bm: BusMaster::default(), dma, control: Control::empty(), irq };
        Channel { drives, host, stopping: Vec::new() }
    }

    /// Power-on state.
    pub(super) fn reset(&mut self) {
        for drive in &mut self.drives {
            drive.reset();
            drive.after_old_requests(Work::HardReset);
            drive.mode = None;
            if let Kind::Disk(disk) = &mut drive.kind {
                disk.write_cache = true;
                disk.smart = Default::default();
            }
        }
        self.host.bm = BusMaster::default();
        self.host.control = Control::empty();
        self.host.irq.set(false);
    }

    fn selected(&self) -> usize {
        usize::from(self.drives[0].task.device & DEVICE_1 != 0)
    }

    fn drive(&mut self) -> (&mut Drive, &mut IdeBus) {
        let selected = self.selected();
        (&mut self.drives[selected], &mut self.host)
    }

    pub(super) fn vacant(&self) -> bool {
        !self.drives.iter().any(Drive::present)
    }

    /// Whether reads of the selected drive's own registers find nobody: an empty cable, or an absent
    /// drive 1 (drive 0 does not answer for it, as in QEMU).
    fn silent(&self) -> bool {
        self.vacant() || (self.selected() == 1 && !self.drives[1].present())
    }

    /// A byte of the command block.
    pub(super) fn read(&mut self, offset: u64) -> u8 {
        let before = self.host.control.contains(Control::HOB);
        let drive = &self.drives[self.selected()];
        match offset {
            reg::STATUS => {
                let status = self.status();
                self.host.irq.set(false);
                status
            }
            reg::ERROR if self.silent() => 0,
            reg::ERROR if !before => drive.error,
            reg::DEVICE if !self.vacant() => drive.task.device | DEVICE_ONES,
            reg::ERROR..=reg::LBA_HIGH if !self.vacant() => drive.task.get(offset, before),
            _ => 0,
        }
    }

    /// Status without its side effect.
    pub(super) fn status(&self) -> u8 {
        if self.silent() { 0 } else { self.drives[self.selected()].status.bits() }
    }

    /// Writes a byte of the command block. Registers are written in both drives.
    pub(super) fn write(&mut self, offset: u64, value: u8) {
        match offset {
            reg::ERROR..=reg::LBA_HIGH => {
                self.host.control.remove(Control::HOB);
                self.drives.iter_mut().for_each(|drive| drive.task.write(offset, value));
            }
            reg::DEVICE => {
                self.host.control.remove(Control::HOB);
                self.drives.iter_mut().for_each(|drive| drive.task.device = value);
            }
            reg::STATUS => self.command(value),
            _ => {}
        }
    }

    fn command(&mut self, code: u8) {
        if self.vacant() || self.silent() {
            return;
        }
        self.host.irq.set(false);
        if code == super::spec::cmd::DIAGNOSTIC {
            return self.diagnostic();
        }
        let (drive, host) = self.drive();
        drive.command(host, code);
    }

    /// EXECUTE DEVICE DIAGNOSTIC is for both drives, whichever is selected.
    fn diagnostic(&mut self) {
        if self.drives.iter().any(|drive| drive.status.intersects(Status::BSY | Status::DRQ)) {
            return;
        }
        for drive in &mut self.drives {
            drive.halt();
            drive.status = Status::BSY | Status::DSC;
            drive.work = Work::Diagnostic;
        }
        self.settle();
    }

    /// Device control register.
    pub(super) fn write_control(&mut self, value: u8) {
        let value = Control::from_bits_truncate(value);
        let before = std::mem::replace(&mut self.host.control, value);
        let (was, is) = (before.contains(Control::SRST), value.contains(Control::SRST));
        if is && !was {
            // Device 0 is selected from now on (ATA/ATAPI-6, 9.2): it is busy for both, also where no device 1 is.
            for drive in &mut self.drives {
                drive.halt();
                drive.status = Status::BSY | Status::DSC;
                drive.task.device &= !DEVICE_1;
            }
        }
        if was && !is {
            for drive in &mut self.drives {
                drive.work = Work::SoftReset;
            }
            self.settle();
        }
        if value.contains(Control::NIEN) || (is && !was) {
            self.host.irq.set(false);
        }
    }

    /// Items of `size` bytes from the data port; the bytes done.
    pub(super) fn read_data(&mut self, size: usize, out: &mut [u8]) -> usize {
        let (drive, host) = self.drive();
        drive.read_data(host, size, out)
    }

    /// Items of `size` bytes to the data port; the bytes done.
    pub(super) fn write_data(&mut self, size: usize, data: &[u8]) -> usize {
        let (drive, host) = self.drive();
        drive.write_data(host, size, data)
    }

    /// A byte of the bus master's registers (0 to 7). Some: the answer comes when the engine has stopped.
    pub(super) fn write_bus_master(&mut self, offset: u64, value: u8) -> Option<Deferred> {
        match self.host.bm.write(offset, value) {
            Edge::None => None,
            Edge::Start => {
                let selected = self.selected();
                let ready = [selected, 1 - selected].into_iter().find(|&unit| self.drives[unit].wants_dma());
                if let Some(unit) = ready {
                    self.drives[unit].start_dma(&mut self.host);
                }
                None
            }
            Edge::Stop => self.stop_dma(),
        }
    }

    /// The engine was stopped, or may not reach memory any more. A transfer cannot be cut off in the middle of
    /// a host call, so it is carried through, as in QEMU: some vCPU waits for that, and memory is its own
    /// when it goes on.
    pub(super) fn stop_dma(&mut self) -> Option<Deferred> {
        while self.drives.iter().any(Drive::hasten_dma) {
            self.completions();
        }
        let moves = self.drives.iter().any(|drive| drive.pending.is_some() && drive.works_by_dma());
        let old = !self.drives.iter().all(|drive| drive.requests.drained());
        if !(moves || old) || self.stopping.len() >= STOPPING {
            return None;
        }
        let (done, answer) = deferred();
        self.stopping.push(done);
        Some(answer)
    }

    /// Takes the answers that have come, and ends what waited for them.
    pub(super) fn completions(&mut self) {
        for drive in &mut self.drives {
            while let Some(completion) = drive.requests.next() {
                if drive.pending.as_ref().is_some_and(|pending| pending.is(&completion)) {
                    drive.complete(&mut self.host, completion);
                }
            }
        }
        self.settle();
    }

    /// Ends resets once nothing moves any more for what they cut off.
    pub(super) fn settle(&mut self) {
        if !self.stopping.is_empty() && self.drives.iter().all(|drive| drive.requests.idle()) {
            self.stopping.drain(..).for_each(|waiting| waiting.complete(0));
        }
        let drained = self.drives.each_ref().map(|drive| drive.requests.drained());
        let all = drained == [true; 2];
        let mut diagnosed = false;
        for (drive, drained) in self.drives.iter_mut().zip(drained) {
            match drive.work {
                Work::HardReset if drained => drive.reset(),
                Work::SoftReset | Work::DeviceReset if drained => {
                    drive.reset();
                    drive.diagnose();
                }
                Work::Diagnostic if all => {
                    drive.halt();
                    drive.diagnose();
                    drive.task.device = 0;
                    diagnosed = true;
                }
                _ => {}
            }
        }
        if diagnosed {
            self.host.raise();
        }
    }
}
