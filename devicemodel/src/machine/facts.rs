//! What the monitor asks of a machine, and what it changes.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};

use backends::image::{Format, ImageError};
use devices_core::block::BlockBackend;
use devices_core::pci::reg;

use super::disks::CdDrive;
use super::{Machine, Terminal};
use crate::config::{DiskFormat, DiskKind, SerialConfig};
use crate::monitor::facts::{BlockFacts, ChardevFacts, CpuFacts, PciFacts};
use crate::monitor::protocol::QmpError;

impl Terminal {
    /// For `query-chardev`, in QEMU's words.
    pub(crate) fn facts(&self) -> ChardevFacts {
        let filename = match (&self.config, &self.pty) {
            (SerialConfig::Pty, Some(path)) => format!("pty:{}", path.display()),
            (SerialConfig::Unix(path), _) => format!("disconnected:unix:{},server=on", path.display()),
            (SerialConfig::Connect(path), _) => format!("unix:{}", path.display()),
            (SerialConfig::Stdio, _) => "stdio".into(),
            (SerialConfig::File(_), _) => "file".into(),
            _ => "null".into(),
        };
        ChardevFacts { label: format!("serial{}", self.port), filename, frontend_open: true }
    }
}

impl Machine {
    fn present(&self) -> MutexGuard<'_, std::collections::BTreeMap<u32, String>> {
        self.cpus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places for vCPUs.
    pub(crate) fn cpus(&self) -> Vec<CpuFacts> {
        let present = self.present();
        let most = self.config.max_vcpus.unwrap_or(self.config.vcpus);
        let place = |index: u32| {
            let id = present.get(&index);
            let thread = std::process::id() as i32;
            let named = id.filter(|id| !id.is_empty()).cloned();
            CpuFacts { index, present: id.is_some(), id: named, thread }
        };
        (0..most).map(place).collect()
    }

    /// Tells the guest of a vCPU that is there from now on.
    pub(crate) fn plug_cpu(&self, index: u32, id: &str) {
        if self.present().insert(index, id.to_owned()).is_none() {
            self.pm.lock().plug_cpu(index as u8);
        }
    }

    /// Drives, with what went through them.
    pub(crate) fn blocks(&self) -> Vec<BlockFacts> {
        let facts = |block: &super::disks::Block| {
            let config = &block.config;
            let format = match config.format.unwrap_or_default() {
                DiskFormat::Raw => "raw",
                DiskFormat::Qcow2 => "qcow2",
            };
            BlockFacts {
                device: config.id.clone().unwrap_or_else(|| block.name.clone()),
                removable: config.kind == DiskKind::Cdrom,
                file: config.path.as_ref().map(|path| path.display().to_string()),
                format,
                readonly: config.readonly,
                stats: block.stats(),
                ..BlockFacts::default()
            }
        };
        self.blocks.iter().map(facts).collect()
    }

    /// PCI functions, without their windows.
    pub(crate) fn pci(&self) -> Vec<PciFacts> {
        let facts = |(sbdf, name, slot): (ioreq::Sbdf, String, devices_core::bus::AnySlot)| {
            let mut device = slot.lock();
            let config = device.pci()?;
            Some(PciFacts {
                slot: sbdf.device(),
                function: sbdf.function(),
                id: name,
                vendor: config.u16(reg::VENDOR),
                device: config.u16(reg::DEVICE),
                class: config.u16(reg::CLASS + 1),
                pin: config.u8(reg::INTERRUPT_PIN),
                irq: config.u8(reg::INTERRUPT_LINE),
                bars: Vec::new(),
            })
        };
        self.bus.functions().into_iter().filter_map(facts).collect()
    }

    fn cd(&self, device: &str) -> Result<&CdDrive, QmpError> {
        let named = |cd: &&CdDrive| {
            cd.name == device
                || cd.id.as_deref() == Some(device)
                || (device == "cdrom" && self.cds.len() == 1)
        };
        self.cds.iter().find(named).ok_or_else(|| QmpError::device_not_found(device))
    }

    /// Takes the medium out of a CD drive.
    pub fn eject(&self, device: &str, force: bool) -> Result<(), QmpError> {
        self.cd(device)?.medium.eject(force).map_err(|error| QmpError::generic(error.to_string()))
    }

    /// Puts a medium into a CD drive.
    pub fn change_medium(&self, device: &str, file: &Path, format: Option<&str>) -> Result<(), QmpError> {
        self.insert(device, format, |drive, format| drive.open(file, format))
    }

    /// The same with a file that is open.
    pub fn change_medium_to(&self, device: &str, file: File, format: Option<&str>) -> Result<(), QmpError> {
        self.insert(device, format, |drive, format| drive.adopt(file, format))
    }

    fn insert(
        &self,
        device: &str,
        format: Option<&str>,
        open: impl FnOnce(&CdDrive, Format) -> Result<Arc<dyn BlockBackend>, ImageError>,
    ) -> Result<(), QmpError> {
        let drive = self.cd(device)?;
        let format = match format {
            None => Format::Raw,
            Some(name) => name.parse().map_err(QmpError::generic)?,
        };
        let backend = open(drive, format).map_err(|error| QmpError::generic(error.to_string()))?;
        drive.medium.insert(backend, false).map_err(|error| QmpError::generic(error.to_string()))
    }
}
