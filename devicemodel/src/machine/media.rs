//! Images at hand, and what goes in and out of CD drives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backends::image::{Format, Image, ImageError, ImageOptions, Protocol, is_null};
use devices_core::block::BlockStore;

use super::Machine;
use super::disks::{Block, CdDrive};
use crate::config::DiskKind;
use crate::monitor::info::{BlockInfo, NewDrive, NewMedium, NewNode, NewNodeKind, NodeInfo, Source};
use crate::monitor::protocol::QmpError;
use crate::trace::Border;

/// Most nodes that clients may have added.
const MOST: usize = 64;

/// Images that clients of the monitor have added, by name, and drives that wait for a device.
#[derive(Default)]
pub(super) struct Nodes(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<String, Node>,
    /// Names of drives without a medium.
    empty: BTreeSet<String>,
}

struct Node {
    info: NodeInfo,
    file: Protocol,
    format: Format,
    /// It is the medium of a drive of that name (`-drive if=none`, `drive_add`), which goes with the device that had it.
    drive: bool,
    /// The node that it lies on, if that has a name too.
    lower: Option<String>,
    /// The drive that has it.
    user: Option<String>,
}

/// Names for images that nobody named.
pub(super) fn new_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(100);
    format!("#block{:03}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn not_opened(path: &Path, error: &std::io::Error) -> QmpError {
    // The words of the C library, which is what clients look for, without Rust's number after them.
    let why = match error.kind() {
        ErrorKind::NotFound => "No such file or directory".into(),
        ErrorKind::PermissionDenied => "Permission denied".into(),
        ErrorKind::IsADirectory => "Is a directory".into(),
        _ => error.to_string(),
    };
    QmpError::generic(format!("Could not open '{}': {why}", path.display()))
}

/// An image error in QEMU's words, where clients know them.
fn image_error(error: &ImageError) -> QmpError {
    match error {
        ImageError::Missing(path) => not_opened(path, &ErrorKind::NotFound.into()),
        ImageError::Open { path, source } => not_opened(path, source),
        ImageError::NotQcow2(_) => QmpError::generic("Image is not in qcow2 format"),
        other => QmpError::generic(other.to_string()),
    }
}

fn format(name: &str) -> Result<Format, QmpError> {
    name.parse().map_err(|_| QmpError::generic(format!("Unknown driver '{name}'")))
}

/// A file of the host, or what stands for none, open.
pub(crate) fn open(source: Source, write: bool) -> Result<(Protocol, PathBuf), QmpError> {
    match source {
        Source::File(fd, path) => Ok((Protocol::File(fd.into()), path)),
        Source::Path(path) if is_null(&path) => Ok((Protocol::Null, path)),
        Source::Path(path) => {
            // Nobody may be at the other end of a pipe.
            let mut options = OpenOptions::new();
            let opened = options.read(true).write(write).custom_flags(libc::O_NONBLOCK).open(&path);
            let file = opened.map_err(|error| not_opened(&path, &error))?;
            if file.metadata().is_ok_and(|meta| meta.is_dir()) {
                return Err(not_opened(&path, &ErrorKind::IsADirectory.into()));
            }
            Ok((file.into(), path))
        }
    }
}

fn options(path: &Path, format: Format) -> ImageOptions {
    ImageOptions { format, ..ImageOptions::cd(path) }
}

impl Nodes {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens an image, and looks whether it is one.
    pub(super) fn add(&self, new: NewNode) -> Result<(), QmpError> {
        let mut inner = self.inner();
        if inner.is_drive(&new.name) {
            let why = format!("node-name={} is conflicting with a device id", new.name);
            return Err(QmpError::generic(why));
        }
        if inner.nodes.contains_key(&new.name) {
            return Err(QmpError::generic(format!("Duplicate nodes with node-name='{}'", new.name)));
        }
        inner.add(new, false)
    }

    /// A drive waits for a device.
    pub(super) fn add_drive(&self, new: NewDrive) -> Result<(), QmpError> {
        let NewDrive { name, image, readonly } = new;
        let mut inner = self.inner();
        if inner.is_drive(&name) {
            return Err(QmpError::generic(format!("Duplicate ID '{name}' for drive")));
        }
        if inner.nodes.contains_key(&name) {
            let why = format!("Device name '{name}' conflicts with an existing node name");
            return Err(QmpError::generic(why));
        }
        if let Some((format, source)) = image {
            return inner.add(NewNode { name, kind: NewNodeKind::Format(format, source), readonly }, true);
        }
        inner.room()?;
        inner.empty.insert(name);
        Ok(())
    }

    /// A drive that no device has is gone; false: there is no such drive.
    fn remove_drive(&self, name: &str) -> bool {
        let mut inner = self.inner();
        let waits = inner.nodes.get(name).is_some_and(|node| node.drive && node.user.is_none());
        inner.empty.remove(name) || waits && inner.nodes.remove(name).is_some()
    }

    /// Whether that is a drive without a medium.
    pub(super) fn is_empty_drive(&self, name: &str) -> bool {
        self.inner().empty.contains(name)
    }

    /// A device has a drive that has no medium: it goes with that.
    pub(super) fn take_empty(&self, name: &str) {
        self.inner().empty.remove(name);
    }

    /// Whether a name is a drive's, and no node's.
    pub(super) fn is_drive(&self, name: &str) -> bool {
        self.inner().is_drive(name)
    }

    /// Drives that no device has.
    pub(super) fn drives(&self) -> Vec<BlockInfo> {
        let inner = self.inner();
        let drive = |name: &String, medium| BlockInfo {
            device: name.clone(),
            removable: true,
            medium,
            ..BlockInfo::default()
        };
        let full = inner.nodes.iter().filter(|(_, node)| node.drive && node.user.is_none());
        let full = full.map(|(name, node)| drive(name, Some(node.info.clone())));
        full.chain(inner.empty.iter().map(|name| drive(name, None))).collect()
    }

    /// Closes an image that nothing uses.
    pub(super) fn remove(&self, name: &str) -> Result<(), QmpError> {
        let mut inner = self.inner();
        let missing = || QmpError::generic(format!("Failed to find node with node-name='{name}'"));
        let node = inner.nodes.get(name).filter(|node| !node.drive).ok_or_else(missing)?;
        if node.user.is_some() {
            return Err(QmpError::generic(format!("Node {name} is in use")));
        }
        if inner.is_under_another(name) {
            return Err(QmpError::generic(format!("Block device {name} is in use")));
        }
        inner.nodes.remove(name);
        Ok(())
    }

    /// What there is.
    pub(super) fn info(&self) -> Vec<NodeInfo> {
        self.inner().nodes.values().map(|node| node.info.clone()).collect()
    }

    /// Whether there is an image of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.inner().nodes.contains_key(name)
    }

    /// Looks whether a drive could have a node.
    fn check(&self, name: &str) -> Result<(), QmpError> {
        self.inner().free(name).map(drop)
    }

    /// Opens the image of a node for a drive, which has it from then on; it writes only if it `writes`, and the node
    /// lets it.
    pub(super) fn take(&self, name: &str, drive: &str, writes: bool) -> Result<(Image, NodeInfo), QmpError> {
        let mut inner = self.inner();
        let node = inner.free(name)?;
        let options = options(node.info.file.as_ref(), node.format);
        let read_only = !writes || node.info.readonly;
        let image = image(&node.file, &ImageOptions { read_only, ..options })?;
        node.user = Some(drive.to_owned());
        Ok((image, node.info.clone()))
    }

    /// A device has none any more, or has not been made after all.
    pub(super) fn give_back(&self, user: &str) {
        for node in self.inner().nodes.values_mut().filter(|node| node.user.as_deref() == Some(user)) {
            node.user = None;
        }
    }

    /// A device is gone: what drive it had is gone too, and a node is free again.
    pub(super) fn forget(&self, user: &str) {
        self.inner().nodes.retain(|_, node| !(node.drive && node.user.as_deref() == Some(user)));
        self.give_back(user);
    }
}

impl Inner {
    fn is_drive(&self, name: &str) -> bool {
        self.empty.contains(name) || self.nodes.get(name).is_some_and(|node| node.drive)
    }

    fn is_under_another(&self, name: &str) -> bool {
        self.nodes.values().any(|other| other.lower.as_deref() == Some(name))
    }

    fn room(&self) -> Result<(), QmpError> {
        if self.nodes.len() + self.empty.len() >= MOST {
            return Err(QmpError::generic("there are too many nodes: use blockdev-del"));
        }
        Ok(())
    }

    /// A node that nothing has.
    fn free(&mut self, name: &str) -> Result<&mut Node, QmpError> {
        let under = self.is_under_another(name);
        let node = self.nodes.get_mut(name);
        let node = node.ok_or_else(|| QmpError::generic(format!("Node '{name}' not found")))?;
        if node.user.is_some() || under {
            return Err(QmpError::generic(format!("Node '{name}' is already in use")));
        }
        Ok(node)
    }

    /// Opens an image: of a node, or as the medium of a drive of that name.
    fn add(&mut self, new: NewNode, drive: bool) -> Result<(), QmpError> {
        let NewNode { name, kind, readonly } = new;
        self.room()?;
        let all = &mut self.nodes;
        let (driver, format, lower, (file, path)) = match kind {
            NewNodeKind::File(source) => {
                let opened = open(source, !readonly)?;
                let driver = if matches!(opened.0, Protocol::Null) { "null-co" } else { "file" };
                (driver, Format::Raw, None, opened)
            }
            NewNodeKind::Format(driver, source) => {
                let format = format(&driver)?;
                (word(format), format, None, open(source, !readonly)?)
            }
            NewNodeKind::FormatOf(driver, of) => {
                let format = format(&driver)?;
                let missing = || QmpError::generic(format!("Cannot find device='{of}' nor node-name='{of}'"));
                let node = all.get(&of).ok_or_else(missing)?;
                if node.user.is_some() || all.values().any(|other| other.lower.as_deref() == Some(&of)) {
                    return Err(QmpError::generic(format!("Node '{of}' is already in use")));
                }
                let file = node.file.try_clone().map_err(|error| QmpError::generic(error.to_string()))?;
                let path = node.info.file.clone().into();
                (word(format), format, Some(of), (file, path))
            }
        };
        let image = image(&file, &options(&path, format))?;
        let info = NodeInfo {
            name: if drive { new_name() } else { name.clone() },
            file: path.display().to_string(),
            driver,
            readonly,
            size: image.info().size,
            direct: false,
            no_flush: false,
        };
        all.insert(name, Node { info, file, format, drive, lower, user: None });
        Ok(())
    }
}

fn word(format: Format) -> &'static str {
    match format {
        Format::Raw => "raw",
        Format::Qcow2 => "qcow2",
    }
}

/// The image in an open file, through a handle of its own.
fn image(file: &Protocol, options: &ImageOptions) -> Result<Image, QmpError> {
    let file = file.try_clone().map_err(|error| QmpError::generic(error.to_string()))?;
    Image::from_file(file, options).map_err(|error| image_error(&error))
}

impl Machine {
    /// The CD drives.
    pub(super) fn cds(&self) -> Vec<Arc<CdDrive>> {
        self.cds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A CD drive by the name of its place, by its id, or by its path in the object tree.
    fn cd(&self, device: &str) -> Result<(Arc<CdDrive>, Arc<Block>), QmpError> {
        let named = |block: &Arc<Block>| {
            block.name == device || block.config.id.as_deref() == Some(device) || self.qdev(block) == device
        };
        let cds = self.cds();
        let drive = |cd: &&Arc<CdDrive>| named(&cd.block) || (device == "cdrom" && cds.len() == 1);
        if let Some(cd) = cds.iter().find(drive) {
            return Ok((cd.clone(), cd.block.clone()));
        }
        if self.blocks.all().iter().any(named) {
            return Err(QmpError::generic(format!("Device '{device}' is not removable")));
        }
        if device.starts_with('/') && self.devices().iter().any(|other| other.path == device) {
            return Err(QmpError::generic("Device does not have a block device backend"));
        }
        Err(QmpError::device_not_found(device))
    }

    /// Whether there is a CD drive of that name.
    pub(crate) fn find_cd(&self, device: &str) -> Result<(), QmpError> {
        self.cd(device).map(drop)
    }

    /// Opens the tray of a CD drive.
    pub(crate) fn open_tray(&self, device: &str, force: bool) -> Result<(), QmpError> {
        let (cd, _) = self.cd(device)?;
        if cd.medium.is_open() {
            return Ok(());
        }
        cd.open_tray(force).map_err(|_| locked(device))
    }

    /// Closes it.
    pub(crate) fn close_tray(&self, device: &str) -> Result<(), QmpError> {
        let (cd, _) = self.cd(device)?;
        if cd.medium.is_open() {
            cd.close_tray();
        }
        Ok(())
    }

    /// Takes the medium out of an open CD drive.
    pub(crate) fn remove_medium(&self, device: &str) -> Result<(), QmpError> {
        let (cd, block) = self.cd(device)?;
        if !cd.medium.is_open() {
            return Err(QmpError::generic(format!("Tray of device '{device}' is not open")));
        }
        cd.place(None);
        block.set_medium(None);
        self.nodes.give_back(&cd.name);
        Ok(())
    }

    /// A drive waits for a device from now on.
    pub(crate) fn add_drive(&self, drive: NewDrive) -> Result<(), QmpError> {
        if self.blocks.all().iter().any(|block| block.drive_name() == drive.name) {
            return Err(QmpError::generic(format!("Duplicate ID '{}' for drive", drive.name)));
        }
        self.nodes.add_drive(drive)
    }

    /// Takes a drive away: its image is closed, and the device that has it, if one does, gets errors from then on.
    pub(crate) fn delete_drive(&self, name: &str) -> Result<(), QmpError> {
        if self.nodes.remove_drive(name) {
            return Ok(());
        }
        let blocks = self.blocks.all();
        // One without a name is nobody's to take away.
        let named = |block: &&Arc<Block>| !name.is_empty() && block.drive_name() == name;
        let Some(block) = blocks.iter().find(named) else {
            if self.nodes().iter().any(|node| node.name == name) {
                return Err(QmpError::generic("Deleting device added with blockdev-add is not supported"));
            }
            return Err(QmpError::generic(format!("Device '{name}' not found")));
        };
        if matches!(self.border, Border::Recorded(..)) {
            return Err(QmpError::generic("no drive can go while a recording is made"));
        }
        if let Some(cd) = self.cds().iter().find(|cd| Arc::ptr_eq(&cd.block, block)) {
            cd.place(None);
        }
        block.take_away(&self.border.wiring(&*self.hypervisor));
        self.nodes.forget(&block.name);
        Ok(())
    }

    /// A disk whose image was taken away.
    pub(super) fn gone_disk(&self) -> Option<String> {
        let blocks = self.blocks.all();
        let gone = blocks.iter().find(|block| block.is_gone() && block.config.kind == DiskKind::Disk);
        gone.map(|block| block.config.name())
    }

    /// Puts the image of a node into an open CD drive.
    pub(crate) fn insert_medium(&self, device: &str, node: &str) -> Result<(), QmpError> {
        let drive = self.cd(device);
        if let Err(error) = &drive
            && error.class != "GenericError"
        {
            return Err(error.clone());
        }
        self.nodes.check(node)?;
        let (cd, block) = drive.map_err(|error| {
            if error.desc.ends_with("is not removable") {
                QmpError::generic("Device is not removable")
            } else {
                error
            }
        })?;
        if !cd.medium.is_open() {
            return Err(QmpError::generic("Tray of the device is not open"));
        }
        if block.medium().is_some() {
            return Err(QmpError::generic("There already is a medium in the device"));
        }
        let (image, info) = self.nodes.take(node, &cd.name, false)?;
        cd.place(Some(block.counted(cd.serve(image))));
        block.set_medium(Some(info));
        Ok(())
    }

    /// Opens the tray of a CD drive and takes the medium out.
    pub fn eject(&self, device: &str, force: bool) -> Result<(), QmpError> {
        self.open_tray(device, force)?;
        self.remove_medium(device)
    }

    /// Puts a medium into a CD drive, in the place of what is there.
    pub(crate) fn change_medium(&self, device: &str, medium: NewMedium) -> Result<(), QmpError> {
        let (cd, block) = self.cd(device)?;
        let format = medium.format.as_deref().map_or(Ok(Format::Raw), format)?;
        let (file, path) = open(medium.source, false)?;
        let options = options(&path, format);
        let image = Image::from_file(file, &options).map_err(|error| image_error(&error))?;
        let info = NodeInfo {
            name: new_name(),
            file: path.display().to_string(),
            driver: word(format),
            readonly: true,
            size: image.info().size,
            direct: false,
            no_flush: false,
        };
        self.eject(device, medium.force)?;
        cd.place(Some(block.counted(cd.serve(image))));
        block.set_medium(Some(info));
        cd.close_tray();
        Ok(())
    }
}

fn locked(device: &str) -> QmpError {
    QmpError::generic(format!(
        "Device '{device}' is locked and force was not specified, wait for tray to open and try again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, kind: NewNodeKind) -> NewNode {
        NewNode { name: name.into(), kind, readonly: true }
    }

    fn words(result: Result<(), QmpError>) -> String {
        result.unwrap_err().desc
    }

    #[test]
    fn nodes_lie_on_each_other_and_go_from_the_top() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cd.iso");
        std::fs::write(&path, [7; 4096]).unwrap();
        let file = || Source::Path(path.clone());
        let nodes = Nodes::default();
        nodes.add(new("f", NewNodeKind::File(file()))).unwrap();
        nodes.add(new("r", NewNodeKind::FormatOf("raw".into(), "f".into()))).unwrap();
        let info = nodes.info();
        assert_eq!(
            info.iter().map(|node| (node.name.as_str(), node.driver)).collect::<Vec<_>>(),
            [("f", "file"), ("r", "raw")]
        );
        assert_eq!((info[1].size, info[1].file.as_str()), (4096, path.to_str().unwrap()));
        let again = nodes.add(new("f", NewNodeKind::File(file())));
        assert_eq!(words(again), "Duplicate nodes with node-name='f'");
        let second = nodes.add(new("s", NewNodeKind::FormatOf("raw".into(), "f".into())));
        assert_eq!(words(second), "Node 'f' is already in use");
        let on_none = nodes.add(new("s", NewNodeKind::FormatOf("raw".into(), "zz".into())));
        assert_eq!(words(on_none), "Cannot find device='zz' nor node-name='zz'");
        assert_eq!(words(nodes.remove("f")), "Block device f is in use");
        assert_eq!(words(nodes.check("f")), "Node 'f' is already in use");
        nodes.check("r").unwrap();
        nodes.remove("r").unwrap();
        nodes.remove("f").unwrap();
        assert_eq!(words(nodes.remove("f")), "Failed to find node with node-name='f'");
        assert_eq!(words(nodes.check("f")), "Node 'f' not found");
    }

    #[test]
    fn zeros_are_an_image_of_no_file() {
        let nodes = Nodes::default();
        let null = || Source::Path("null-co://".into());
        nodes.add(new("n", NewNodeKind::File(null()))).unwrap();
        nodes.add(new("r", NewNodeKind::FormatOf("raw".into(), "n".into()))).unwrap();
        let info = nodes.info();
        assert_eq!((info[0].driver, info[1].driver, info[1].size), ("null-co", "raw", 1 << 30));
        let qcow2 = nodes.add(new("q", NewNodeKind::Format("qcow2".into(), null())));
        assert_eq!(words(qcow2), "Image is not in qcow2 format");
    }

    #[test]
    fn what_is_no_image_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let nodes = Nodes::default();
        let add = |kind| words(nodes.add(new("n", kind)));
        let at = |name: &str| Source::Path(folder.path().join(name));
        assert!(add(NewNodeKind::File(at("none"))).ends_with("none': No such file or directory"));
        assert!(add(NewNodeKind::File(at("."))).ends_with("': Is a directory"));
        std::fs::write(folder.path().join("raw"), [0; 4096]).unwrap();
        assert_eq!(add(NewNodeKind::Format("qcow2".into(), at("raw"))), "Image is not in qcow2 format");
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        add(NewNodeKind::File(Source::Path(fifo)));
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        add(NewNodeKind::File(Source::File(pipe, "/dev/fdset/0".into())));
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        add(NewNodeKind::File(Source::File(socket.into(), "/dev/fdset/1".into())));
        assert_eq!(nodes.info(), []);
    }

    #[test]
    fn a_client_cannot_open_files_without_end() {
        let nodes = Nodes::default();
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(4096).unwrap();
        let file = || NewNodeKind::File(Source::Path(image.path().into()));
        let added = (0..MOST + 3).filter(|n| nodes.add(new(&format!("n{n}"), file())).is_ok()).count();
        assert_eq!(added, MOST);
    }
}
