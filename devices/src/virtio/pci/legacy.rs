//! Legacy registers, at ports (Virtio 1.3, 4.1.4.10 and the "Legacy Interface" sections).

use devices_core::Io;
use devices_core::pci::{command, reg as pci_reg};

use super::super::device::VirtioDevice;
use super::super::queue::Place;
use super::spec::{DEVICE_MODERN, legacy as reg};
use super::{FOUND, Options, VirtioPci};

/// Bytes of the BAR.
pub(super) fn length(options: Options, config: usize) -> u64 {
    let head = if options.vectors > 0 { reg::CONFIG_MSIX } else { reg::CONFIG };
    (head + config as u64).next_power_of_two()
}

/// Where a queue is whose first page has that number.
fn place(size: u16, page: u32) -> Place {
    let descriptors = u64::from(page) * reg::ALIGN;
    let driver = descriptors + u64::from(size) * 16;
    let device = (driver + 6 + u64::from(size) * 2).next_multiple_of(reg::ALIGN);
    Place { size, descriptors, driver, device }
}

impl<D: VirtioDevice> VirtioPci<D> {
    /// Where the device's own configuration begins.
    fn legacy_config(&self) -> u64 {
        if self.pci.msix_enabled() { reg::CONFIG_MSIX } else { reg::CONFIG }
    }

    pub(super) fn read_legacy(&mut self, offset: u64, data: &mut [u8]) {
        if offset >= self.legacy_config() {
            return self.read_device_config(offset - self.legacy_config(), data);
        }
        let place = self.common.place(self.queue_select).unwrap_or_default();
        let value: u32 = match offset {
            reg::DEVICE_FEATURES => self.common.offered() as u32,
            reg::DRIVER_FEATURES => self.common.features() as u32,
            reg::QUEUE_ADDRESS => (place.descriptors / reg::ALIGN) as u32,
            reg::QUEUE_SIZE => self.common.size_max(self.queue_select).into(),
            reg::QUEUE_SELECT => self.queue_select.into(),
            reg::DEVICE_STATUS => self.common.status().into(),
            reg::ISR_STATUS => self.read_isr().into(),
            reg::CONFIG_VECTOR => self.config_vector.into(),
            reg::QUEUE_VECTOR => self.queue_vector().into(),
            _ => 0xffff_ffff,
        };
        let bytes = value.to_le_bytes();
        data.fill(0);
        let len = data.len().min(bytes.len());
        data[..len].copy_from_slice(&bytes[..len]);
    }

    pub(super) fn write_legacy(&mut self, offset: u64, data: &[u8]) -> Io {
        if offset >= self.legacy_config() {
            self.write_device_config(offset - self.legacy_config(), data);
            return Io::Done;
        }
        let mut bytes = [0; 4];
        let len = data.len().min(bytes.len());
        bytes[..len].copy_from_slice(&data[..len]);
        let value = u32::from_le_bytes(bytes);
        match offset {
            reg::DRIVER_FEATURES => self.accept(value.into()),
            reg::QUEUE_ADDRESS => return self.set_page(value),
            reg::QUEUE_SELECT => self.queue_select = value as u16,
            reg::QUEUE_NOTIFY => self.notify(value as u16),
            reg::DEVICE_STATUS => return self.set_legacy_status(value as u8),
            reg::CONFIG_VECTOR => self.config_vector = self.vector(value as u16),
            reg::QUEUE_VECTOR => self.set_queue_vector(value as u16),
            _ => {}
        }
        self.tell();
        Io::Done
    }

    /// A page number enables the queue there; 0 is a reset of the device, as QEMU takes it.
    fn set_page(&mut self, page: u32) -> Io {
        if page == 0 {
            return self.reset_by_driver();
        }
        let (queue, size) = (self.queue_select, self.common.size_max(self.queue_select));
        if self.common.is_enabled(queue) {
            self.common.reset_queue(queue);
            self.device.reset_queue(&mut self.common, queue);
        }
        self.common.set_place(queue, |to| *to = place(size, page));
        self.common.enable(queue);
        self.wait_until_drained()
    }

    fn set_legacy_status(&mut self, value: u8) -> Io {
        // Linux before 2.6.34 drives it with bus mastering off; QEMU turns it on.
        if value == FOUND && self.pci.u16(pci_reg::DEVICE) < DEVICE_MODERN {
            let on = self.pci.command() | command::MASTER;
            self.pci.write(pci_reg::COMMAND, &on.to_le_bytes());
        }
        self.set_status(value)
    }
}
