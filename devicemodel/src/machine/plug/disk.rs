//! Images of drives that come and go while the guest runs: nodes of the monitor's.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use backends::image::Image;
use devices::storage::drive::DRIVE;
use devices_core::model::{BusType, Value};

use super::hot::plain;
use crate::config::{DeviceSpec, DiskBus, DiskConfig, DiskFormat, DiskKind};
use crate::machine::build::board::Board;
use crate::machine::disks::{self, Block, CdDrive, Loose};
use crate::machine::{BuildError, Machine};
use crate::monitor::info::NodeInfo;
use crate::trace::Opened;

/// The format that the driver of a node reads.
fn format_of(node: &NodeInfo) -> DiskFormat {
    if node.driver == "qcow2" { DiskFormat::Qcow2 } else { DiskFormat::Raw }
}

impl Machine {
    /// Opens the image of a drive that is to be plugged, for who makes it. None: it is no drive.
    pub(super) fn open_drive(
        &self,
        spec: &mut DeviceSpec,
        board: &Board<'_>,
    ) -> Result<Option<Block>, BuildError> {
        if !spec.has_image() {
            return Ok(None);
        }
        let (kind, node) = (spec.kind(), spec.drive().map(str::to_owned));
        let properties = spec.properties()?;
        let (config, image) = self.new_drive(spec, node.as_deref())?;
        let name = config.name();
        let info = image.as_ref().map(|(_, info)| info.clone());
        let mut block = Block::new(config, spec.id.clone(), properties, info);
        block.node = node.filter(|node| !self.nodes.is_drive(node) && image.is_some());
        let opened = image.map(|(image, _)| {
            let first_sector = if kind == DiskKind::Disk { image.first_sector() } else { Vec::new() };
            let backend = disks::serve(image, self.config.clock, &board.wiring(), &self.images);
            Opened { backend, first_sector }
        });
        let image = match (kind, opened) {
            (DiskKind::Disk, Some(opened)) => Loose::Disk(disks::disk_image(&mut block, opened)),
            (_, opened) => Loose::Disc(opened.map(|opened| block.counted(opened.backend))),
        };
        board.images.put(name.clone(), image);
        spec.properties.insert(DRIVE.name.into(), Value::Text(name));
        Ok(Some(block))
    }

    /// What a drive is to be as part of a saved guest, and the image of the node that goes into it.
    fn new_drive(
        &self,
        spec: &DeviceSpec,
        node: Option<&str>,
    ) -> Result<(DiskConfig, Option<(Image, NodeInfo)>), BuildError> {
        let kind = spec.kind();
        let bus = if spec.model()?.bus == BusType::Scsi { DiskBus::Scsi } else { DiskBus::Virtio };
        let there = self.blocks.all();
        let is_taken =
            |slot: u8| there.iter().any(|block| block.config.bus == bus && block.config.slot == Some(slot));
        let slot = (0..=u8::MAX).find(|slot| !is_taken(*slot));
        let slot = Some(slot.ok_or_else(|| plain("there are too many disks"))?);
        let readonly = kind == DiskKind::Cdrom;
        let mut config = DiskConfig { kind, bus, slot, readonly, ..DiskConfig::default() };
        let Some(node) = node else {
            return match kind {
                DiskKind::Disk => Err(plain("drive property not set")),
                DiskKind::Cdrom => Ok((config, None)),
            };
        };
        if there.iter().any(|block| block.config.name() == node) {
            return Err(plain(format!("Drive '{node}' is already in use by another device")));
        }
        if self.nodes.is_empty_drive(node) {
            if kind == DiskKind::Disk {
                return Err(plain("Device needs media, but drive is empty"));
            }
            return Ok((DiskConfig { id: Some(node.to_owned()), ..config }, None));
        }
        if !self.nodes.has(node) {
            let model = if spec.model.starts_with("virtio-blk") { "virtio-blk-device" } else { &spec.model };
            return Err(plain(format!("Property '{model}.drive' can't find value '{node}'")));
        }
        let taken = self.nodes.take(node, &config.place_name(), kind == DiskKind::Disk);
        let (image, info) = taken.map_err(|error| plain(error.desc))?;
        config.id = Some(node.to_owned());
        config.path = Some(PathBuf::from(&info.file));
        config.format = Some(format_of(&info));
        config.readonly |= info.readonly;
        Ok((config, Some((image, info))))
    }

    /// The drive is there: the monitor knows it, and has a hand on its tray.
    pub(super) fn have_drive(&self, block: Block, board: &Board<'_>) {
        let block = Arc::new(block);
        if let Some(tray) = self.plugged.tray(&block.config.name()) {
            let mut cds = self.cds.lock().unwrap_or_else(PoisonError::into_inner);
            let place = cds.iter().map(|cd| cd.place + 1).max().unwrap_or(disks::IDE_PLACES);
            let place = place.max(disks::IDE_PLACES);
            cds.push(Arc::new(CdDrive::new(board, block.clone(), place, tray, &self.images)));
        }
        if let Some(drive) = &block.config.id {
            self.nodes.take_empty(drive);
        }
        self.blocks.add(block);
    }

    /// A drive has left: its node is free again.
    pub(super) fn forget_drive(&self, spec: &DeviceSpec) {
        let name = spec.drive().filter(|_| spec.has_image());
        let Some(block) = name.and_then(|name| self.blocks.remove(name)) else { return };
        let mut cds = self.cds.lock().unwrap_or_else(PoisonError::into_inner);
        cds.retain(|cd| !Arc::ptr_eq(&cd.block, &block));
        self.nodes.forget(&block.name);
    }

    /// The drives of a guest that is made again from what is saved, with the media that lie in them now.
    pub(in crate::machine) fn disk_configs(&self) -> Vec<DiskConfig> {
        let config = |block: &Arc<Block>| {
            let mut config = block.config.clone();
            if config.kind == DiskKind::Cdrom {
                let now = block.medium();
                let was = config.path.as_ref().map(|path| path.display().to_string());
                if was != now.as_ref().map(|medium| medium.file.clone()) {
                    config.path = now.as_ref().map(|medium| PathBuf::from(&medium.file));
                    config.format = now.as_ref().map(format_of);
                }
            }
            config
        };
        self.blocks.all().iter().map(config).collect()
    }
}
