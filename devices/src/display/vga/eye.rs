//! Who looks at the screen from outside.
//!
//! The device's lock is held only while the registers are copied: a vCPU that wants a port waits for some
//! microseconds, however large the picture is. Pixels are read from the video memory afterwards, while the guest
//! goes on. What it writes meanwhile is in the dirty log, so the next look finds it.

use std::sync::Arc;

use devices_core::picture::{DirtyRows, DisplayAdapter, Frame};
use devices_core::{Device, DeviceCell};

use super::Vga;
use super::render::{Render, Snapshot};
use super::vram::Vram;

/// What draws: a VGA of any kind.
pub trait Adapter {
    /// Its memory.
    fn vram(&self) -> &Vram;
    /// Its registers now.
    fn snapshot(&self) -> Snapshot;
    /// Whether a register that the picture depends on was written since somebody last asked.
    fn take_changed(&mut self) -> bool;
    /// Whether the guest uses its screen.
    fn is_active(&self) -> bool {
        true
    }
}

/// A way to look at the screen of an adapter, or of a device that has one in it.
pub struct Eye<D = Vga, A = Vga> {
    slot: Arc<DeviceCell<D>>,
    vga: fn(&mut D) -> &mut A,
    vram: Vram,
}

impl<A: Adapter + Device> Eye<A, A> {
    /// For that adapter.
    pub fn new(vga: &Arc<DeviceCell<A>>) -> Eye<A, A> {
        Eye::within(vga, |vga| vga)
    }
}

impl<D: Device, A: Adapter> Eye<D, A> {
    /// For the one that a device has in it.
    pub(crate) fn within(slot: &Arc<DeviceCell<D>>, vga: fn(&mut D) -> &mut A) -> Eye<D, A> {
        let vram = vga(&mut slot.lock()).vram().clone();
        Eye { slot: slot.clone(), vga, vram }
    }
}

impl<D: Device, A: Adapter> DisplayAdapter for Eye<D, A> {
    fn frame(&self) -> Box<dyn Frame> {
        let snapshot = (self.vga)(&mut self.slot.lock()).snapshot();
        Box::new(Render::new(snapshot))
    }

    fn is_active(&self) -> bool {
        (self.vga)(&mut self.slot.lock()).is_active()
    }

    /// All lines, if a register was written. Takes the memory's display dirty log.
    fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
        // The log first: a write after this is told at the next look, whether its pixel is seen now or not.
        let pages = self.vram.take_changed();
        let (snapshot, registers) = {
            let mut device = self.slot.lock();
            let vga = (self.vga)(&mut device);
            (vga.snapshot(), vga.take_changed())
        };
        let render = Render::new(snapshot);
        let lines = if registers { (0..render.size().1).into() } else { render.lines(&pages) };
        (Box::new(render), lines)
    }
}
