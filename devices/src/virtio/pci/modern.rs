//! Version 1's structures (Virtio 1.3, 4.1.4), and the way to them by configuration space.

use devices_core::Io;
use devices_core::pci::PciConfig;

use super::super::device::VirtioDevice;
use super::super::queue::Place;
use super::super::spec::{feature, status};
use super::VirtioPci;
use super::spec::{self, Layout, Structure, cap, common as reg};

/// Adds the capabilities, in QEMU's order.
pub(super) fn capabilities(pci: &mut PciConfig, layout: Layout) {
    let bar = layout.bar_modern as u8;
    for (Structure { cfg_type, cap: at, .. }, offset, length) in [
        (spec::COMMON, layout.common, layout.length),
        (spec::ISR, layout.isr, layout.length),
        (spec::DEVICE, spec::DEVICE.offset, spec::STRUCTURE_LEN),
    ] {
        capability(pci, (at, spec::CAP_LEN), cfg_type, bar, (offset, length));
    }
    let Structure { cfg_type, cap: at, offset } = spec::NOTIFY;
    capability(pci, (at, spec::CAP_LEN + 4), cfg_type, bar, (offset, spec::STRUCTURE_LEN));
    pci.set(at + cap::DATA, &spec::NOTIFY_MULTIPLIER.to_le_bytes());
    let (cfg_type, at) = spec::PCI_CFG;
    capability(pci, (at, spec::CAP_LEN + 4), cfg_type, bar, (0, 0));
    pci.set(at + cap::BAR, &[0]);
    pci.allow(at + cap::BAR, &[0xff]);
    pci.allow(at + cap::OFFSET, &[0xff; 12]);
}

fn capability(
    pci: &mut PciConfig,
    (at, len): (u16, u16),
    cfg_type: u8,
    bar: u8,
    (offset, length): (u64, u64),
) {
    pci.capability(at, spec::CAP_VENDOR, len);
    pci.set(at + cap::LEN, &[len as u8, cfg_type, bar]);
    pci.set(at + cap::OFFSET, &(offset as u32).to_le_bytes());
    pci.set(at + cap::LENGTH, &(length as u32).to_le_bytes());
}

/// One half of a wide register, as a write changes it.
fn put_half(whole: &mut u64, half: u64, value: u32) {
    let shift = half * 32;
    *whole = *whole & !(u64::from(u32::MAX) << shift) | u64::from(value) << shift;
}

fn half(whole: u64, half: u64) -> u32 {
    (whole >> (half * 32)) as u32
}

impl<D: VirtioDevice> VirtioPci<D> {
    /// A read of the BAR.
    pub(super) fn read_modern(&mut self, offset: u64, data: &mut [u8]) {
        let (structure, at) = self.layout.find(offset);
        if structure == spec::DEVICE.cfg_type {
            return self.read_device_config(at, data);
        }
        let value = if structure == spec::COMMON.cfg_type {
            self.read_common(at)
        } else if structure == spec::ISR.cfg_type {
            self.read_isr().into()
        } else {
            0
        };
        data.fill(0);
        let bytes = value.to_le_bytes();
        let len = data.len().min(bytes.len());
        data[..len].copy_from_slice(&bytes[..len]);
    }

    /// A write.
    pub(super) fn write_modern(&mut self, offset: u64, data: &[u8]) -> Io {
        let (structure, at) = self.layout.find(offset);
        if structure == spec::DEVICE.cfg_type {
            self.write_device_config(at, data);
            return Io::Done;
        }
        if structure == spec::NOTIFY.cfg_type {
            // Whatever is written: the place says which queue, and the ring how far the driver has come, which it may say
            // here too (NOTIFICATION_DATA).
            self.notify((at / u64::from(spec::NOTIFY_MULTIPLIER)) as u16);
            self.tell();
            return Io::Done;
        }
        if structure != spec::COMMON.cfg_type {
            return Io::Done;
        }
        // The bus cuts wide registers into halves, as drivers write them (4.1.3.1).
        let mut bytes = [0; 4];
        let len = data.len().min(bytes.len());
        bytes[..len].copy_from_slice(&data[..len]);
        self.write_common(at, u32::from_le_bytes(bytes))
    }

    fn read_common(&self, at: u64) -> u32 {
        let place = self.common.place(self.queue_select).unwrap_or_default();
        match at {
            reg::DEVICE_FEATURE_SELECT => self.device_feature_select,
            reg::DEVICE_FEATURE if self.device_feature_select < 2 => {
                half(self.modern_features(), self.device_feature_select.into())
            }
            reg::DRIVER_FEATURE_SELECT => self.driver_feature_select,
            reg::DRIVER_FEATURE if self.driver_feature_select < 2 => {
                half(self.common.features(), self.driver_feature_select.into())
            }
            reg::CONFIG_MSIX_VECTOR => self.config_vector.into(),
            reg::NUM_QUEUES => self.common.queues().into(),
            reg::DEVICE_STATUS => self.common.status().into(),
            reg::CONFIG_GENERATION => self.common.generation().into(),
            reg::QUEUE_SELECT => self.queue_select.into(),
            reg::QUEUE_SIZE => place.size.into(),
            reg::QUEUE_MSIX_VECTOR => self.queue_vector().into(),
            reg::QUEUE_ENABLE => self.common.is_enabled(self.queue_select).into(),
            reg::QUEUE_NOTIFY_OFF | reg::QUEUE_NOTIF_CONFIG_DATA => self.queue_select.into(),
            reg::QUEUE_DESC => half(place.descriptors, 0),
            0x24 => half(place.descriptors, 1),
            reg::QUEUE_DRIVER => half(place.driver, 0),
            0x2c => half(place.driver, 1),
            reg::QUEUE_DEVICE => half(place.device, 0),
            0x34 => half(place.device, 1),
            _ => 0,
        }
    }

    /// What legacy drivers alone know is not offered here (QEMU; Virtio 1.3, 6.3).
    fn modern_features(&self) -> u64 {
        self.common.offered() & !(feature::NOTIFY_ON_EMPTY | feature::ANY_LAYOUT)
    }

    fn write_common(&mut self, at: u64, value: u32) -> Io {
        let queue = self.queue_select;
        let place = |this: &mut Self, change: &dyn Fn(&mut Place)| this.common.set_place(queue, change);
        match at {
            reg::DEVICE_FEATURE_SELECT => self.device_feature_select = value,
            reg::DRIVER_FEATURE_SELECT => self.driver_feature_select = value,
            reg::DRIVER_FEATURE if self.driver_feature_select < 2 => {
                put_half(&mut self.driver_features, self.driver_feature_select.into(), value);
                let features = self.driver_features & self.modern_features();
                self.accept(features);
            }
            reg::CONFIG_MSIX_VECTOR => self.config_vector = self.vector(value as u16),
            reg::DEVICE_STATUS => return self.set_status(value as u8),
            reg::QUEUE_SELECT => self.queue_select = value as u16,
            reg::QUEUE_SIZE => place(self, &|place| place.size = value as u16),
            reg::QUEUE_MSIX_VECTOR => self.set_queue_vector(value as u16),
            reg::QUEUE_ENABLE if value as u16 == 1 => self.common.enable(queue),
            reg::QUEUE_RESET if value as u16 == 1 && self.common.has(feature::RING_RESET) => {
                return self.reset_queue(queue);
            }
            reg::QUEUE_DESC => place(self, &|place| put_half(&mut place.descriptors, 0, value)),
            0x24 => place(self, &|place| put_half(&mut place.descriptors, 1, value)),
            reg::QUEUE_DRIVER => place(self, &|place| put_half(&mut place.driver, 0, value)),
            0x2c => place(self, &|place| put_half(&mut place.driver, 1, value)),
            reg::QUEUE_DEVICE => place(self, &|place| put_half(&mut place.device, 0, value)),
            0x34 => place(self, &|place| put_half(&mut place.device, 1, value)),
            _ => {}
        }
        self.tell();
        Io::Done
    }

    fn reset_queue(&mut self, queue: u16) -> Io {
        if !self.common.is_enabled(queue) || self.common.status() & status::DRIVER_OK == 0 {
            return Io::Done;
        }
        self.common.reset_queue(queue);
        self.device.reset_queue(&mut self.common, queue);
        self.wait_until_drained()
    }

    /// Whether an access of configuration space reaches through the window, and how many bytes are behind it.
    fn window(&self, at: u16, len: usize) -> Option<(u64, usize)> {
        let data = spec::PCI_CFG.1 + cap::DATA;
        let touches = at < data + 4 && data < at.saturating_add(len as u16);
        if !self.options.modern || !touches {
            return None;
        }
        let of = |field| self.pci.u32(spec::PCI_CFG.1 + field);
        let (bar, offset, length) =
            (self.pci.u8(spec::PCI_CFG.1 + cap::BAR), of(cap::OFFSET), of(cap::LENGTH));
        let inside = u64::from(offset) + u64::from(length) <= spec::MODERN_LEN;
        let whole = matches!(length, 1 | 2 | 4) && offset.is_multiple_of(length);
        (usize::from(bar) == self.layout.bar_modern && inside && whole)
            .then_some((offset.into(), length as usize))
    }

    /// Before a read of configuration space: what is behind the window goes into it (4.1.4.9).
    pub(super) fn read_window(&mut self, at: u16, len: usize) {
        let Some((offset, length)) = self.window(at, len) else { return };
        let mut data = [0; 4];
        self.read_modern(offset, &mut data[..length]);
        let window = spec::PCI_CFG.1 + cap::DATA;
        (window..).zip(&data[..length]).for_each(|(at, byte)| self.pci.poke(at, *byte));
    }

    /// After a write of configuration space: what is in the window goes behind it.
    pub(super) fn write_window(&mut self, at: u16, len: usize) {
        let Some((offset, length)) = self.window(at, len) else { return };
        let data = self.pci.u32(spec::PCI_CFG.1 + cap::DATA).to_le_bytes();
        // Nobody waits for a late answer here: the driver reads the status until it is 0.
        drop(self.write_modern(offset, &data[..length]));
    }
}
