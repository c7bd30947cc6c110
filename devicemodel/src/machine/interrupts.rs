//! Interrupt wiring between the controllers and the processors, and the vCPUs' way to the bus.

use devices::interrupt::ioapic::IoapicHandle;
use devices::interrupt::pic::PicHandle;
use devices_core::bus::View;
use hypervisor::Dispatch;
use ioreq::Request;

/// What one vCPU talks to.
pub(super) struct Dispatcher {
    view: View,
    pic: PicHandle,
    ioapic: IoapicHandle,
}

impl Dispatcher {
    pub(super) fn new(view: View, pic: PicHandle, ioapic: IoapicHandle) -> Dispatcher {
        Dispatcher { view, pic, ioapic }
    }
}

impl Dispatch for Dispatcher {
    fn request(&mut self, request: &Request) -> u64 {
        let value = self.view.request(request);
        tracing::trace!(target: "io", ?request, value);
        value
    }
    fn acknowledge(&mut self) -> u8 {
        self.pic.acknowledge()
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        self.ioapic.end_of_interrupt(vector);
    }
}
