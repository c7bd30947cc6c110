//! Images at hand, and what goes in and out of CD drives.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backends::image::{Format, Image, ImageError, ImageOptions};
use devices_core::block::BlockStore;

use super::Machine;
use super::disks::{Block, CdDrive};
use crate::monitor::info::{NewMedium, NewNode, NewNodeKind, NodeInfo, Source};
use crate::monitor::protocol::QmpError;

/// Most nodes that clients may have added.
const MOST: usize = 64;

/// Images that clients of the monitor have added, by name.
#[derive(Default)]
pub(super) struct Nodes(Mutex<BTreeMap<String, Node>>);

struct Node {
    info: NodeInfo,
    file: File,
    format: Format,
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

/// A file of the host, open.
pub(crate) fn open(source: Source, write: bool) -> Result<(File, PathBuf), QmpError> {
    match source {
        Source::File(fd, path) => Ok((fd.into(), path)),
        Source::Path(path) => {
            // Nobody may be at the other end of a pipe.
            let mut options = OpenOptions::new();
            let opened = options.read(true).write(write).custom_flags(libc::O_NONBLOCK).open(&path);
            let file = opened.map_err(|error| not_opened(&path, &error))?;
            if file.metadata().is_ok_and(|meta| meta.is_dir()) {
                return Err(not_opened(&path, &ErrorKind::IsADirectory.into()));
            }
            Ok((file, path))
        }
    }
}

fn options(path: &Path, format: Format) -> ImageOptions {
    ImageOptions { format, ..ImageOptions::cd(path) }
}

impl Nodes {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens an image, and looks whether it is one.
    pub(super) fn add(&self, new: NewNode) -> Result<(), QmpError> {
        let NewNode { name, kind, readonly } = new;
        let mut all = self.all();
        if all.contains_key(&name) {
            return Err(QmpError::generic(format!("Duplicate nodes with node-name='{name}'")));
        }
        if all.len() >= MOST {
            return Err(QmpError::generic("there are too many nodes: use blockdev-del"));
        }
        let (driver, format, lower, (file, path)) = match kind {
            NewNodeKind::File(source) => ("file", Format::Raw, None, open(source, !readonly)?),
            NewNodeKind::Format(driver, source) => {
                let format = format(&driver)?;
                (word(format), format, None, open(source, !readonly)?)
            }
            NewNodeKind::FormatOf(driver, of) => {
                let format = format(&driver)?;
                let missing = || QmpError::generic(format!("Cannot find device='{of}' nor node-name='{of}'"));
                let node = all.get(&of).ok_or_else(missing)?;
                if node.user.is_some() || all.values().any(|other| other.lower.as_ref() == Some(&of)) {
                    return Err(QmpError::generic(format!("Node '{of}' is already in use")));
                }
                let file = node.file.try_clone().map_err(|error| QmpError::generic(error.to_string()))?;
                let path = node.info.file.clone().into();
                (word(format), format, Some(of), (file, path))
            }
        };
        let image = image(&file, &options(&path, format))?;
        let info = NodeInfo {
            name: name.clone(),
            file: path.display().to_string(),
            driver,
            readonly,
            size: image.info().size,
            direct: false,
            no_flush: false,
        };
        all.insert(name, Node { info, file, format, lower, user: None });
        Ok(())
    }

    /// Closes an image that nothing uses.
    pub(super) fn remove(&self, name: &str) -> Result<(), QmpError> {
        let mut all = self.all();
        let missing = || QmpError::generic(format!("Failed to find node with node-name='{name}'"));
        let node = all.get(name).ok_or_else(missing)?;
        if node.user.is_some() {
            return Err(QmpError::generic(format!("Node {name} is in use")));
        }
        if all.values().any(|other| other.lower.as_deref() == Some(name)) {
            return Err(QmpError::generic(format!("Block device {name} is in use")));
        }
        all.remove(name);
        Ok(())
    }

    /// What there is.
    pub(super) fn info(&self) -> Vec<NodeInfo> {
        self.all().values().map(|node| node.info.clone()).collect()
    }

    /// Looks whether a drive could have a node.
    fn check(&self, name: &str) -> Result<(), QmpError> {
        let all = self.all();
        let node = all.get(name).ok_or_else(|| QmpError::generic(format!("Node '{name}' not found")))?;
        let below = all.values().any(|other| other.lower.as_deref() == Some(name));
        if node.user.is_some() || below {
            return Err(QmpError::generic(format!("Node '{name}' is already in use")));
        }
        Ok(())
    }

    /// Opens the image of a node for a drive, which has it from then on; it writes only if it `writes`, and the node
    /// lets it.
    pub(super) fn take(&self, name: &str, drive: &str, writes: bool) -> Result<(Image, NodeInfo), QmpError> {
        self.check(name)?;
        let mut all = self.all();
        let node = all.get_mut(name).ok_or_else(|| QmpError::generic(format!("Node '{name}' not found")))?;
        let options = options(node.info.file.as_ref(), node.format);
        let read_only = !writes || node.info.readonly;
        let image = image(&node.file, &ImageOptions { read_only, ..options })?;
        node.user = Some(drive.to_owned());
        Ok((image, node.info.clone()))
    }

    /// A drive has none any more.
    pub(super) fn give_back(&self, drive: &str) {
        for node in self.all().values_mut().filter(|node| node.user.as_deref() == Some(drive)) {
            node.user = None;
        }
    }
}

fn word(format: Format) -> &'static str {
    match format {
        Format::Raw => "raw",
        Format::Qcow2 => "qcow2",
    }
}

/// The image in an open file, through a handle of its own.
fn image(file: &File, options: &ImageOptions) -> Result<Image, QmpError> {
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
