//! Who looks at the screen from outside.
//!
//! The device's lock is held only while the registers are copied: a vCPU that wants a port waits for some
//! microseconds, however large the picture is. Pixels are read from the video memory afterwards, while the guest
//! goes on. What it writes meanwhile is in the dirty log, so the next look finds it.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::picture::{DirtyRows, DisplayAdapter, Frame};

use super::Vga;
use super::render::Render;
use super::vram::Vram;

/// A way to look at a VGA's screen.
pub struct Eye {
    vga: Arc<DeviceCell<Vga>>,
    vram: Vram,
}

impl Eye {
    /// For that VGA.
    pub fn new(vga: &Arc<DeviceCell<Vga>>) -> Eye {
        Eye { vga: vga.clone(), vram: vga.lock().vram.clone() }
    }
}

impl DisplayAdapter for Eye {
    fn frame(&self) -> Box<dyn Frame> {
        let snapshot = self.vga.lock().snapshot();
        Box::new(Render::new(snapshot))
    }

    /// All lines, if a register was written. Takes the memory's display dirty log.
    fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
        // The log first: a write after this is told at the next look, whether its pixel is seen now or not.
        let pages = self.vram.take_changed();
        let (snapshot, registers) = {
            let mut vga = self.vga.lock();
            (vga.snapshot(), std::mem::take(&mut vga.changed))
        };
        let render = Render::new(snapshot);
        let lines = if registers { (0..render.size().1).into() } else { render.lines(&pages) };
        (Box::new(render), lines)
    }
}
