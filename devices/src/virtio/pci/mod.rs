//! Virtio over PCI (Virtio 1.3, 4.1), with QEMU's ids, BARs and order of capabilities.
//!
//! A transitional device, which is the usual one on `pc`, has both faces: legacy registers at ports, and the structures
//! of version 1 in memory. `legacy` and `modern` are the two; here is what they share: interrupts, bus mastering, reset.
//!
//! A driver that resets the device may use its memory for something else once the status reads as 0: so the write that
//! resets is answered when no byte moves any more.
//!
//! Left out: notifications by ports (`modern-pio-notify`), a page for each queue (`page-per-vq`), `ats`,
//! `iommu_platform`: there is no IOMMU.

mod legacy;
mod modern;
pub mod properties;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::dma::Dma;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, MsixShape, PciConfig, QEMU_SUBSYSTEM, Window, command, reg};
use devices_core::{
    At, Deferred, Device, Io, Node, Region, Saved, Space, StateError, Ticket, Wake, deferred,
};
use hypervisor::{GuestRam, MsiTarget};

use super::common::Common;
use super::device::VirtioDevice;
use super::spec::{feature, isr, status};
use spec::Layout;

/// What a device is made with beside itself.
pub struct Handles<'a> {
    /// Its name on the bus.
    pub name: &'a str,
    /// Guest memory.
    pub ram: GuestRam,
    /// INTA.
    pub inta: IrqLine,
    /// Where messages go.
    pub msi: Arc<dyn MsiTarget>,
}

/// How the device presents itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// There are legacy registers.
    pub legacy: bool,
    /// There are the structures of version 1.
    pub modern: bool,
    /// MSI-X vectors; 0: there is no MSI-X.
    pub vectors: u16,
    /// Features of transport and queues that are offered, if the device's face has them.
    pub features: u64,
}

/// Numbers of regions.
const LEGACY: usize = 0;
const MSIX: usize = 1;
pub(in crate::virtio) const MODERN: usize = 2;

/// A device on PCI.
pub struct VirtioPci<D: VirtioDevice> {
    name: String,
    pci: PciConfig,
    options: Options,
    layout: Layout,
    common: Common,
    device: D,
    /// Interrupt status.
    isr: u8,
    /// Which half of the features the driver reads and writes, and which queue it means.
    device_feature_select: u32,
    driver_feature_select: u32,
    queue_select: u16,
    /// Features as they are written, half by half.
    driver_features: u64,
    config_vector: u16,
    queue_vectors: Vec<u16>,
    /// A vCPU that has reset the device and waits for what was in flight.
    resetting: Option<Ticket>,
    /// One that has turned bus mastering off, likewise.
    stopping: Option<Ticket>,
    /// Nothing new is started: the guest is being saved.
    quiet: bool,
    regions: [Region; 3],
}

impl<D: VirtioDevice> VirtioPci<D> {
    /// Puts a device on PCI.
    pub fn new(device: D, options: Options, handles: Handles<'_>) -> VirtioPci<D> {
        VirtioPci::with_layout(device, options, Layout::USUAL, handles)
    }

    /// The same, with BARs and structures elsewhere.
    pub(in crate::virtio) fn with_layout(
        device: D,
        options: Options,
        layout: Layout,
        handles: Handles<'_>,
    ) -> VirtioPci<D> {
        let Handles { name, ram, inta, msi } = handles;
        let kind = device.identity();
        let legacy = kind.transitional.filter(|_| options.legacy);
        let options = Options { legacy: legacy.is_some(), ..options };
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: legacy.unwrap_or(spec::DEVICE_MODERN + kind.id),
            revision: if legacy.is_some() { 0 } else { spec::REVISION_MODERN },
            class: kind.class,
            subsystem: (QEMU_SUBSYSTEM.0, if legacy.is_some() { kind.id } else { spec::SUBSYSTEM_MODERN }),
        });
        pci.connect(1, inta);
        if options.modern {
            modern::capabilities(&mut pci, layout);
            let window = Window::Region(layout.region + MODERN);
            pci.bar(layout.bar_modern, BarKind::Mem64 { prefetch: true }, spec::MODERN_LEN, window);
        }
        let msix_len = msix(&mut pci, options, layout, msi);
        let legacy_len = legacy::length(options, device.config_len());
        if options.legacy {
            pci.bar(spec::BAR_LEGACY, BarKind::Io, legacy_len, Window::Region(layout.region + LEGACY));
        }
        let mut offered = device.features() | options.features;
        if !options.modern {
            // There is no way to ask for more.
            offered &= u64::from(u32::MAX);
        }
        let sizes = device.queue_sizes();
        let common = Common::new(Dma::gated(ram, pci.master()), offered, &sizes);
        VirtioPci {
            name: name.to_owned(),
            pci,
            options,
            layout,
            common,
            device,
            isr: 0,
            device_feature_select: 0,
            driver_feature_select: 0,
            queue_select: 0,
            driver_features: 0,
            config_vector: spec::NO_VECTOR,
            queue_vectors: vec![spec::NO_VECTOR; sizes.len()],
            resetting: None,
            stopping: None,
            quiet: false,
            regions: [
                Region::floating("legacy", Space::Pio, legacy_len),
                Region::floating("msix", Space::Mmio, msix_len).widest(8),
                Region::floating("modern", Space::Mmio, spec::MODERN_LEN),
            ],
        }
    }

    /// The device, for those who use the machine.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Does something with the device as the host wants it, and tells the driver what came of it.
    pub fn with<T>(&mut self, run: impl FnOnce(&mut D, &mut Common) -> T) -> T {
        let value = run(&mut self.device, &mut self.common);
        self.tell();
        value
    }

    /// The driver may have put something into a queue.
    fn notify(&mut self, queue: u16) {
        if !self.quiet && self.common.is_enabled(queue) {
            self.device.notified(&mut self.common, queue);
        }
    }

    /// Looks at all queues.
    fn notify_all(&mut self) {
        (0..self.common.queues()).for_each(|queue| self.notify(queue));
        self.tell();
    }

    /// Interrupts for what was given back and what has changed.
    fn tell(&mut self) {
        for queue in 0..self.common.queues() {
            if self.common.take_interrupt(queue) {
                let vector = self.queue_vectors.get(usize::from(queue)).copied();
                self.interrupt(isr::QUEUE, vector.unwrap_or(spec::NO_VECTOR));
            }
        }
        if self.common.take_config_change() {
            self.interrupt(isr::CONFIG, self.config_vector);
        }
    }

    fn interrupt(&mut self, why: u8, vector: u16) {
        if self.pci.msix_enabled() {
            if vector != spec::NO_VECTOR {
                self.pci.message(vector);
            }
            return;
        }
        self.isr |= why;
        // Configuration changes are queue interrupts too to a driver of before version 1: QEMU sets both bits.
        if why == isr::CONFIG {
            self.isr |= isr::QUEUE;
        }
        self.pci.set_intx(true);
    }

    /// Reading the interrupt status acknowledges it.
    fn read_isr(&mut self) -> u8 {
        self.pci.set_intx(false);
        std::mem::take(&mut self.isr)
    }

    /// The driver accepts features. What queues there are may follow from them.
    fn accept(&mut self, features: u64) {
        if !self.common.accept(features) {
            return;
        }
        let sizes = self.device.queue_sizes_with(self.common.features());
        // Legacy drivers may use queues before they say what they accept.
        for queue in self.common.queues_other_than(&sizes) {
            self.common.reset_queue(queue);
            self.device.reset_queue(&mut self.common, queue);
        }
        self.common.set_queues(&sizes);
    }

    /// A vector as a driver sets it: one that is not there is none.
    fn vector(&self, value: u16) -> u16 {
        if value < self.options.vectors { value } else { spec::NO_VECTOR }
    }

    fn set_queue_vector(&mut self, value: u16) {
        let value = self.vector(value);
        if let Some(vector) = self.queue_vectors.get_mut(usize::from(self.queue_select)) {
            *vector = value;
        }
    }

    fn queue_vector(&self) -> u16 {
        self.queue_vectors.get(usize::from(self.queue_select)).copied().unwrap_or(spec::NO_VECTOR)
    }

    /// A write of the status.
    fn set_status(&mut self, value: u8) -> Io {
        if value == 0 {
            return self.reset_by_driver();
        }
        if self.common.set_status(value) {
            self.device.ready(&mut self.common);
            // Some drivers fill queues before they are set up, and do not notify again.
            self.notify_all();
        }
        self.tell();
        Io::Done
    }

    /// The driver resets the device; it is answered when no byte moves any more.
    fn reset_by_driver(&mut self) -> Io {
        self.reset_common();
        self.device.reset();
        self.wait_until_drained()
    }

    fn wait_until_drained(&mut self) -> Io {
        if self.device.drained() {
            return Io::Done;
        }
        let (ticket, answer) = deferred();
        // An earlier one, of another vCPU, is answered as the later is.
        self.resetting = Some(ticket);
        Io::Defer(answer)
    }

    /// Who waits for the end of what was in flight goes on.
    fn answer(&mut self) {
        if self.resetting.is_some() && self.device.drained() {
            self.resetting.take().into_iter().for_each(|ticket| ticket.complete(0));
        }
        if self.stopping.is_some() && self.device.is_idle() {
            self.stopping.take().into_iter().for_each(|ticket| ticket.complete(0));
        }
    }

    fn reset_common(&mut self) {
        self.common.reset();
        self.isr = 0;
        self.pci.set_intx(false);
        (self.device_feature_select, self.driver_feature_select, self.queue_select) = (0, 0, 0);
        self.driver_features = 0;
        self.config_vector = spec::NO_VECTOR;
        self.queue_vectors.fill(spec::NO_VECTOR);
    }

    fn read_device_config(&self, offset: u64, data: &mut [u8]) {
        let offset = offset as usize;
        if offset.saturating_add(data.len()) > self.device.config_len() {
            // Nothing is there, as QEMU has it.
            return data.fill(0xff);
        }
        data.fill(0);
        self.device.read_config(&self.common, offset, data);
    }

    fn write_device_config(&mut self, offset: u64, data: &[u8]) {
        let offset = offset as usize;
        if offset < self.device.config_len() {
            self.device.write_config(&mut self.common, offset, data);
            self.tell();
        }
    }
}

/// Adds MSI-X in a BAR of its own; gives the BAR's length.
fn msix(pci: &mut PciConfig, options: Options, layout: Layout, target: Arc<dyn MsiTarget>) -> u64 {
    let Options { vectors, modern, .. } = options;
    let table = u64::from(vectors) * 16;
    let pba = table.max(spec::MSIX_BAR / 2);
    let len = (pba + u64::from(vectors).div_ceil(64) * 8).max(spec::MSIX_BAR).next_power_of_two();
    if vectors > 0 {
        let shape = MsixShape { vectors, bar: layout.bar_msix as u8, table: 0, pba: pba as u32 };
        pci.msix(if modern { spec::MSIX_CAP } else { spec::FIRST_CAP }, shape, target);
        let window = Window::Region(layout.region + MSIX);
        pci.bar(layout.bar_msix, BarKind::Mem32 { prefetch: false }, len, window);
    }
    len
}

impl<D: VirtioDevice> Device for VirtioPci<D> {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        self.device.model()
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        match at.region {
            LEGACY => self.read_legacy(at.offset, data),
            MSIX => {
                if !self.pci.msix_read(self.layout.bar_msix as u8, at.offset, data) {
                    data.fill(0);
                }
            }
            _ => self.read_modern(at.offset, data),
        }
        Io::Done
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        match at.region {
            LEGACY => self.write_legacy(at.offset, data),
            MSIX => {
                self.pci.msix_write(self.layout.bar_msix as u8, at.offset, data);
                Io::Done
            }
            _ => self.write_modern(at.offset, data),
        }
    }
    fn wake(&mut self, why: Wake) {
        self.device.wake(&mut self.common, why);
        self.tell();
        self.answer();
    }
    fn reset(&mut self) {
        self.pci.reset();
        self.reset_common();
        self.device.reset();
        (self.resetting, self.stopping) = (None, None);
        self.quiet = false;
    }
    fn drained(&self) -> bool {
        self.device.drained()
    }
    fn quiesce(&mut self) -> bool {
        self.quiet = true;
        let idle = self.device.quiesce(&mut self.common);
        self.tell();
        self.answer();
        idle
    }
    fn resume(&mut self) {
        self.quiet = false;
        self.device.resume(&mut self.common);
        self.notify_all();
    }
    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }
    fn config_read(&mut self, reg: u16, data: &mut [u8]) {
        self.read_window(reg, data.len());
        self.pci.read(reg, data);
    }
    fn config_write(&mut self, at: u16, data: &[u8]) -> bool {
        let before = self.pci.command() & command::MASTER;
        let moved = self.pci.write(at, data);
        self.write_window(at, data.len());
        if at <= reg::COMMAND + 1 && before == 0 && self.common.dma().enabled() {
            // What was put into queues meanwhile.
            self.notify_all();
        }
        moved
    }
    fn config_written(&mut self) -> Vec<Deferred> {
        // No byte moves once bus mastering is off. A reset by the window is not waited for: no driver resets so.
        if self.common.dma().enabled() {
            return Vec::new();
        }
        self.device.stop(&mut self.common);
        if self.device.is_idle() {
            return Vec::new();
        }
        let (ticket, answer) = deferred();
        self.stopping = Some(ticket);
        vec![answer]
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        self.pci.inspect(node.child("pci"));
        node.hex("isr", self.isr);
        if self.pci.msix_enabled() {
            node.value("config vector", self.config_vector);
            node.value("queue vectors", format_args!("{:?}", self.queue_vectors));
        }
        self.common.inspect(node.child("virtio"));
        self.device.inspect(node);
    }
}

/// Features of transport and queues that QEMU's devices offer when nobody says otherwise.
pub const USUAL_FEATURES: u64 = feature::NOTIFY_ON_EMPTY
    | feature::ANY_LAYOUT
    | feature::INDIRECT_DESC
    | feature::EVENT_IDX
    | feature::VERSION_1
    | feature::RING_RESET;

/// Status that old drivers write before they turn on bus mastering, or never.
const FOUND: u8 = status::ACKNOWLEDGE | status::DRIVER;
