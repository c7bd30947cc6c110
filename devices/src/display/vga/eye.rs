//! Who looks at the screen from outside.
//!
//! The device's lock is held only while the registers are copied: a vCPU that wants a port waits for some
//! microseconds, however large the picture is. Pixels are read from the video memory afterwards, while the guest
//! goes on. What it writes meanwhile is in the dirty log, so the next look finds it.

use std::sync::Arc;

use devices_core::picture::{DirtyRows, DisplayAdapter, Frame};
use devices_core::{Device, DeviceCell};

use super::Vga;
use super::render::Render;
use super::vram::Vram;

/// A way to look at the screen of a VGA, or of a device that has one in it.
pub struct Eye<D = Vga> {
    slot: Arc<DeviceCell<D>>,
    vga: fn(&mut D) -> &mut Vga,
    vram: Vram,
}

impl Eye {
    /// For that VGA.
    pub fn new(vga: &Arc<DeviceCell<Vga>>) -> Eye {
        Eye::within(vga, |vga| vga)
    }
}

impl<D: Device> Eye<D> {
    /// For the one that a device has in it.
    pub(crate) fn within(slot: &Arc<DeviceCell<D>>, vga: fn(&mut D) -> &mut Vga) -> Eye<D> {
        let vram = vga(&mut slot.lock()).vram.clone();
        Eye { slot: slot.clone(), vga, vram }
    }
}

impl<D: Device> DisplayAdapter for Eye<D> {
    fn frame(&self) -> Box<dyn Frame> {
        let snapshot = (self.vga)(&mut self.slot.lock()).snapshot();
        Box::new(Render::new(snapshot))
    }

    /// All lines, if a register was written. Takes the memory's display dirty log.
    fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
        // The log first: a write after this is told at the next look, whether its pixel is seen now or not.
        let pages = self.vram.take_changed();
        let (snapshot, registers) = {
            let mut device = self.slot.lock();
            let vga = (self.vga)(&mut device);
            (vga.snapshot(), std::mem::take(&mut vga.changed))
        };
        let render = Render::new(snapshot);
        let lines = if registers { (0..render.size().1).into() } else { render.lines(&pages) };
        (Box::new(render), lines)
    }
}
