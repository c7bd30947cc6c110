//! A channel: two drives on one cable, their common registers, interrupt and bus master.

use std::sync::Arc;

use devices_core::block::{BlockBackend, BlockOp, BlockRequest, CompletionQueue, Payload};
use devices_core::dma::Dma;
use devices_core::irq::IrqLine;

use super::busmaster::{BusMaster, Edge};
use super::drive::{Drive, Kind};
use super::spec::{BmStatus, Control, DEVICE_1, DEVICE_ONES, Status, reg};

/// What the drives of a channel share, and what they reach the world through.
pub struct Host {
    pub(in crate::storage) bm: BusMaster,
    pub(in crate::storage) dma: Dma,
    pub(super) control: Control,
    pub(super) irq: IrqLine,
    pub(super) queue: CompletionQueue,
    pub(super) token: u64,
}

impl Host {
    /// The selected drive wants attention.
    pub(in crate::storage) fn raise(&mut self) {
        if !self.control.contains(Control::NIEN) {
            self.bm.status.insert(BmStatus::INTERRUPT);
            self.irq.set(true);
        }
    }

    /// Sends a request; its token. None: the backend takes no more.
    pub(in crate::storage) fn submit(
        &mut self,
        to: &Arc<dyn BlockBackend>,
        op: BlockOp,
        offset: u64,
        payload: Payload,
    ) -> Option<u64> {
        self.token = self.token.wrapping_add(1);
        let token = self.token;
        let request = BlockRequest { token, op, offset, payload, done: self.queue.clone() };
        to.submit(request).is_ok().then_some(token)
    }
}

/// One channel.
pub struct Channel {
    pub(super) drives: [Drive; 2],
    pub(super) host: Host,
}

impl Channel {
    pub(super) fn new(drives: [Drive; 2], irq: IrqLine, dma: Dma, queue: CompletionQueue) -> Channel {
        let host = Host { bm: BusMaster::default(), dma, control: Control::empty(), irq, queue, token: 0 };
        Channel { drives, host }
    }

    /// Power-on state.
    pub(super) fn reset(&mut self) {
        for drive in &mut self.drives {
            drive.reset();
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

    fn drive(&mut self) -> (&mut Drive, &mut Host) {
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
            drive.diagnose();
            drive.task.device = 0;
        }
        self.host.raise();
    }

    /// Device control register.
    pub(super) fn write_control(&mut self, value: u8) {
        let value = Control::from_bits_truncate(value);
        let before = std::mem::replace(&mut self.host.control, value);
        let (was, is) = (before.contains(Control::SRST), value.contains(Control::SRST));
        if is && !was {
            for drive in &mut self.drives {
                drive.halt();
                drive.status = Status::BSY | Status::DSC;
            }
        }
        if was && !is {
            for drive in &mut self.drives {
                drive.reset();
                drive.diagnose();
            }
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

    /// A byte of the bus master's registers (0 to 7).
    pub(super) fn write_bus_master(&mut self, offset: u64, value: u8) {
        match self.host.bm.write(offset, value) {
            Edge::None => {}
            Edge::Start => {
                let selected = self.selected();
                let ready = [selected, 1 - selected].into_iter().find(|&unit| self.drives[unit].wants_dma());
                if let Some(unit) = ready {
                    self.drives[unit].start_dma(&mut self.host);
                }
            }
            Edge::Stop => self.drives.iter_mut().for_each(Drive::stop_dma),
        }
    }

    /// Takes the answers that have come. Those that nobody waits for any more are dropped.
    pub(super) fn completions(&mut self) {
        while let Some(completion) = self.host.queue.pop() {
            let waiting = |drive: &Drive| drive.pending == Some(completion.token);
            if let Some(unit) = self.drives.iter().position(waiting) {
                self.drives[unit].complete(&mut self.host, completion);
            }
        }
    }
}
