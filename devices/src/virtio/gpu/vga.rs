//! QEMU's `virtio-vga`: a standard VGA and a virtio GPU that are one function of PCI.
//!
//! Firmware finds a VGA: its ports, its window, video memory in BAR 0, its registers at the beginning of BAR 2. Behind
//! these are virtio's structures, and MSI-X is in BAR 4. The GPU is seen from the first picture that its driver shows to
//! its reset, the VGA before and after. Windows's driver may have the pictures of its GPU in the video memory.

use std::sync::Arc;

use devices_core::model::Model;
use devices_core::pci::{BarKind, PciConfig, Window, reg};
use devices_core::picture::{DirtyRows, DisplayAdapter, Frame};
use devices_core::{At, Deferred, Device, DeviceCell, Io, Node, Region, Saved, StateError, Wake};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::pci::spec::Layout;
use super::super::pci::{Handles, MODERN, Options as PciOptions, VirtioPci};
use super::Gpu;
use super::heads::Eye;
use crate::display::vga::{self, Vga};

const KIND: &str = "virtio-vga";
const VERSION: u16 = 0;

/// BAR with the video memory.
const BAR_VRAM: usize = 0;
/// Bytes of the VGA's registers in BAR 2.
const REGISTERS: u64 = 0x1000;
/// Number of the first region that is virtio's; those before are the VGA's.
const VIRTIO: usize = vga::REGIONS;

/// The structures that make room for the VGA's registers.
const LAYOUT: Layout = Layout {
    bar_msix: 4,
    bar_modern: 2,
    common: REGISTERS,
    isr: REGISTERS + 0x800,
    length: 0x800,
    region: VIRTIO,
};

/// Both devices.
pub struct VirtioVga {
    vga: Vga,
    virtio: VirtioPci<Gpu>,
    regions: Vec<Region>,
}

#[derive(Serialize, Deserialize)]
struct State {
    vga: Part,
    virtio: Part,
}

/// The state of one of them.
#[derive(Serialize, Deserialize)]
struct Part {
    kind: String,
    version: u16,
    body: ByteBuf,
}

impl From<Saved> for Part {
    fn from(Saved { kind, version, body }: Saved) -> Part {
        Part { kind, version, body: ByteBuf::from(body) }
    }
}

impl From<Part> for Saved {
    fn from(Part { kind, version, body }: Part) -> Saved {
        Saved { kind, version, body: body.into_vec() }
    }
}

impl VirtioVga {
    /// Makes one of two.
    pub fn new(vga: Vga, gpu: Gpu, options: PciOptions, handles: Handles<'_>) -> VirtioVga {
        let vram = vga.video_memory();
        let gpu = gpu.with_video_memory(vram.clone());
        let mut virtio = VirtioPci::with_layout(gpu, options, LAYOUT, handles);
        if let Some(pci) = virtio.pci() {
            let kind = BarKind::Mem32 { prefetch: true };
            pci.bar(BAR_VRAM, kind, vram.size() as u64, Window::Ram(vram));
        }
        let regions = vga.regions().iter().chain(virtio.regions()).cloned().collect();
        VirtioVga { vga, virtio, regions }
    }

    /// Tells the GPU where the guest has the video memory.
    fn place(&mut self) {
        let bar = self.virtio.pci().map_or(0, |pci| pci.u32(reg::BAR0 + 4 * BAR_VRAM as u16));
        self.virtio.with(|gpu, _| gpu.place_video_memory((bar & !15).into()));
    }

    fn is_vga(at: At) -> bool {
        at.region < VIRTIO || at.region == VIRTIO + MODERN && at.offset < REGISTERS
    }
}

impl Device for VirtioVga {
    fn name(&self) -> &str {
        self.virtio.name()
    }
    fn model(&self) -> Option<&'static Model> {
        self.virtio.model()
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        match at.region.checked_sub(VIRTIO) {
            Some(_) if VirtioVga::is_vga(at) => {
                self.vga.read_registers(at.offset, data);
                Io::Done
            }
            Some(region) => self.virtio.read(At { region, ..at }, data),
            None => self.vga.read(at, data),
        }
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        match at.region.checked_sub(VIRTIO) {
            Some(_) if VirtioVga::is_vga(at) => {
                self.vga.write_registers(at.offset, data);
                Io::Done
            }
            Some(region) => self.virtio.write(At { region, ..at }, data),
            None => self.vga.write(at, data),
        }
    }
    fn wake(&mut self, why: Wake) {
        self.virtio.wake(why);
    }
    fn reset(&mut self) {
        self.vga.reset();
        self.virtio.reset();
        self.place();
    }
    fn drained(&self) -> bool {
        self.virtio.drained()
    }
    fn quiesce(&mut self) -> bool {
        self.virtio.quiesce()
    }
    fn resume(&mut self) {
        self.virtio.resume();
    }
    fn pci(&mut self) -> Option<&mut PciConfig> {
        self.virtio.pci()
    }
    fn config_read(&mut self, reg: u16, data: &mut [u8]) {
        self.virtio.config_read(reg, data);
    }
    fn config_write(&mut self, at: u16, data: &[u8]) -> bool {
        let moved = self.virtio.config_write(at, data);
        self.place();
        moved
    }
    fn config_written(&mut self) -> Vec<Deferred> {
        self.virtio.config_written()
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        let state = State { vga: self.vga.save()?.into(), virtio: self.virtio.save()?.into() };
        Saved::encode(KIND, VERSION, &state)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        let State { vga, virtio } = saved.decode(KIND, VERSION)?;
        self.vga.load(&vga.into())?;
        self.virtio.load(&virtio.into())?;
        self.place();
        Ok(())
    }
    fn inspect(&self, node: &mut Node) {
        self.vga.inspect(node.child("vga"));
        self.virtio.inspect(node);
    }
}

/// Who looks at the screen: at the GPU's first head while it is used, at the VGA otherwise.
pub struct VgaEye {
    vga: vga::Eye<VirtioVga>,
    gpu: Eye,
    slot: Arc<DeviceCell<VirtioVga>>,
}

impl VgaEye {
    /// For that device.
    pub fn new(slot: &Arc<DeviceCell<VirtioVga>>) -> VgaEye {
        let gpu = Eye(slot.lock().virtio.device().heads.clone());
        VgaEye { vga: vga::Eye::within(slot, |device| &mut device.vga), gpu, slot: slot.clone() }
    }
}

impl DisplayAdapter for VgaEye {
    fn frame(&self) -> Box<dyn Frame> {
        if self.gpu.0.is_used() { self.gpu.frame() } else { self.vga.frame() }
    }
    fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
        let (changed, is_used) = self.gpu.0.look_changes();
        let (frame, rows) = if is_used { self.gpu.look() } else { self.vga.look() };
        let rows = if changed { (0..frame.size().1).into() } else { rows };
        (frame, rows)
    }
    fn head(&self, number: u32) -> Option<Box<dyn Frame>> {
        if number == 0 { Some(self.frame()) } else { self.gpu.head(number) }
    }
    fn resizes(&self) -> bool {
        true
    }
    fn resize(&self, size: (u32, u32)) {
        self.slot.lock().virtio.with(|gpu, common| gpu.resize(common, size));
    }
}
