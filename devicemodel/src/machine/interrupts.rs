//! Interrupt wiring between the controllers and the processors, and the vCPUs' way to the bus.

use std::sync::Arc;

use devices::chipset::piix3::Links;
use devices::interrupt::IsaInterrupts;
use devices::interrupt::ioapic::IoapicHandle;
use devices::interrupt::pic::PicHandle;
use devices_core::bus::View;
use devices_core::irq::IrqSink;
use hypervisor::{Dispatch, IrqTarget, Pin, thread_role};
use ioreq::Request;

use crate::config::ClockMode;
use crate::qtest::IrqIntercept;

/// The interrupt controllers, where the hypervisor has none.
#[derive(Clone)]
pub(super) struct Controllers {
    pub pic: PicHandle,
    pub ioapic: IoapicHandle,
}

/// The ISA wires, with somebody who listens.
pub(super) struct Tapped {
    pub wires: IsaInterrupts,
    pub taps: Arc<IrqIntercept>,
}

impl IrqSink for Tapped {
    fn set(&self, pin: u32, level: bool) {
        self.wires.set(pin, level);
        self.taps.set(pin, level);
    }
}

/// The ISA wires of a hypervisor that has the controllers.
pub(super) struct IsaPins(pub Arc<dyn IrqTarget>);

impl IrqSink for IsaPins {
    fn set(&self, pin: u32, level: bool) {
        if let Ok(pin) = u8::try_from(pin) {
            self.0.set(Pin::Isa(pin), level);
        }
    }
}

/// The PCI links of such a hypervisor.
pub(super) struct LinkRoutes(pub Arc<dyn IrqTarget>);

impl Links for LinkRoutes {
    fn route(&self, link: u8, irq: Option<u8>) {
        self.0.route(link, irq);
    }
}

/// What one vCPU talks to.
pub(super) struct Dispatcher {
    view: View,
    controllers: Option<Controllers>,
    /// What its thread does, until it has given up what that does not need.
    work: Option<thread_role::Role>,
}

impl Dispatcher {
    /// By the count of instructions the vCPU's thread reads and writes the disks itself.
    pub(super) fn new(view: View, controllers: Option<Controllers>, clock: ClockMode) -> Dispatcher {
        let work = match clock {
            ClockMode::Host => thread_role::Role::Vcpu,
            ClockMode::Icount => thread_role::Role::Disk,
        };
        Dispatcher { view, controllers, work: Some(work) }
    }
}

/// What the 8259 gives when there is nothing: the master's lowest vector as the BIOS sets it.
const SPURIOUS: u8 = 0x0f;

impl Dispatch for Dispatcher {
    fn request(&mut self, request: &Request) -> u64 {
        let value = self.begin(request);
        self.settle();
        value
    }
    fn begin(&mut self, request: &Request) -> u64 {
        // Here, since only here we are on the thread that serves the vCPU, and the guest runs.
        if let Some(work) = self.work.take() {
            thread_role::at(work);
        }
        let value = self.view.begin(request);
        tracing::trace!(target: "io", ?request, value);
        value
    }
    fn settle(&mut self) {
        self.view.settle();
    }
    fn acknowledge(&mut self) -> u8 {
        self.controllers.as_ref().map_or(SPURIOUS, |own| own.pic.acknowledge())
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        if let Some(own) = &self.controllers {
            own.ioapic.end_of_interrupt(vector);
        }
    }
}
