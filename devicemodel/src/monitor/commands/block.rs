//! Drives, trays, media and images.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use backends::image::{NULL_SIZE, null_path};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Begun;
use super::super::fdset::Access;
use super::super::info::{BlockInfo, NewMedium, NewNode, NewNodeKind, NodeInfo, Source};
use super::super::protocol::{Command, QmpError};
use super::super::table::{CommandSpec, Table};
use super::{Context, arguments, begins, nothing};
use crate::qemu::keyval::is_identifier;

/// That a drive is named by its `device` is deprecated in QEMU, which the introspection data says.
pub(super) static TABLE: Table = Table {
    types: "
object ImageInfo filename:str format:str ?dirty-flag:bool ?actual-size:int virtual-size:int
object BlockdevCacheInfo writeback:bool direct:bool no-flush:bool
enum BlockdevDetectZeroesOptions off
object BlockDeviceInfo file:str ?node-name:str ro:bool drv:str backing_file_depth:int encrypted:bool
  detect_zeroes:BlockdevDetectZeroesOptions bps:int bps_rd:int bps_wr:int iops:int iops_rd:int iops_wr:int
  image:ImageInfo cache:BlockdevCacheInfo write_threshold:int
enum BlockDeviceIoStatus ok failed nospace
object BlockInfo device:str ?qdev:str type:str removable:bool locked:bool ?inserted:BlockDeviceInfo ?tray_open:bool
  ?io-status:BlockDeviceIoStatus
object BlockDeviceStats rd_bytes:int wr_bytes:int unmap_bytes:int rd_operations:int wr_operations:int
  flush_operations:int unmap_operations:int rd_total_time_ns:int wr_total_time_ns:int flush_total_time_ns:int
  unmap_total_time_ns:int wr_highest_offset:int rd_merged:int wr_merged:int unmap_merged:int
  failed_rd_operations:int failed_wr_operations:int failed_flush_operations:int failed_unmap_operations:int
  invalid_rd_operations:int invalid_wr_operations:int invalid_flush_operations:int invalid_unmap_operations:int
  account_invalid:bool account_failed:bool timed_stats:[any]
object BlockStats ?device:str ?qdev:str ?node-name:str stats:BlockDeviceStats
enum BlockdevDriver file host_cdrom host_device null-aio null-co qcow2 raw
enum OnOffAuto auto on off
enum BlockdevDiscardOptions ignore unmap
enum BlockdevAioOptions threads native io_uring
object BlockdevCacheOptions ?direct:bool ?no-flush:bool
object BlockdevOptionsFile filename:str ?locking:OnOffAuto ?aio:BlockdevAioOptions
object BlockdevOptionsNull ?size:int ?latency-ns:int ?read-zeroes:bool
object BlockdevOptionsFormat file:BlockdevRef
union BlockdevOptions driver driver:BlockdevDriver ?node-name:str ?discard:BlockdevDiscardOptions
  ?cache:BlockdevCacheOptions ?read-only:bool ?auto-read-only:bool ?force-share:bool
  ?detect-zeroes:BlockdevDetectZeroesOptions
  | file=BlockdevOptionsFile host_cdrom=BlockdevOptionsFile host_device=BlockdevOptionsFile
  null-aio=BlockdevOptionsNull null-co=BlockdevOptionsNull
  qcow2=BlockdevOptionsFormat raw=BlockdevOptionsFormat
alternate BlockdevRef BlockdevOptions str
enum BlockdevChangeReadOnlyMode retain read-only read-write
",
    commands: &[
        CommandSpec::new("query-block", |_, context| Ok(context.guest.blocks().iter().map(block).collect()))
            .returns("[BlockInfo]"),
        CommandSpec::new("query-blockstats", |_, context| Ok(context.guest.blocks().iter().map(stats).collect()))
            .takes("?query-nodes:bool")
            .returns("[BlockStats]"),
        CommandSpec::new("query-named-block-nodes", |_, context| {
            Ok(context.guest.nodes().iter().map(node_info).collect())
        })
        .takes("?flat:bool")
        .returns("[BlockDeviceInfo]"),
        CommandSpec::new("blockdev-add", |command, context| {
            let begun = add_node(command, context);
            begins(context, begun)
        })
            .takes("= BlockdevOptions"),
        CommandSpec::new("blockdev-del", |command, context| {
            nothing(arguments(command).and_then(|Named { node_name }| context.guest.remove_node(&node_name)))
        })
        .takes("node-name:str"),
        CommandSpec::new("blockdev-open-tray", |command, context| {
            on_drive(command, |drive, name| context.guest.open_tray(name, drive.force))
        })
        .takes("?device:str!deprecated ?id:str ?force:bool")
        .alone(),
        CommandSpec::new("blockdev-close-tray", |command, context| {
            on_drive(command, |_, name| context.guest.close_tray(name))
        })
        .takes("?device:str!deprecated ?id:str")
        .alone(),
        CommandSpec::new("blockdev-insert-medium", |command, context| {
            on_drive(command, |drive, name| {
                context.guest.insert_medium(name, drive.node_name.as_deref().unwrap_or(""))
            })
        })
        .takes("id:str node-name:str")
        .alone(),
        CommandSpec::new("blockdev-remove-medium", |command, context| {
            on_drive(command, |_, name| context.guest.remove_medium(name))
        })
        .takes("id:str")
        .alone(),
        CommandSpec::new("blockdev-change-medium", |command, context| {
            let begun = change_medium(command, context);
            begins(context, begun)
        })
        .takes(
            "?device:str!deprecated ?id:str filename:str ?format:str ?force:bool
            ?read-only-mode:BlockdevChangeReadOnlyMode",
        )
        .alone(),
        CommandSpec::new("eject", |command, context| {
            on_drive(command, |drive, name| context.guest.eject(name, drive.force))
        })
        .takes("?device:str!deprecated ?id:str ?force:bool")
        .alone(),
    ],
};

/// A drive by the name of its medium's place or by its own id, and what is to be done to it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Drive {
    device: Option<String>,
    id: Option<String>,
    #[serde(default)]
    force: bool,
    node_name: Option<String>,
    filename: Option<String>,
    format: Option<String>,
}

impl Drive {
    fn name(&self) -> Result<&str, QmpError> {
        match (&self.device, &self.id) {
            (Some(name), None) | (None, Some(name)) => Ok(name),
            _ => Err(QmpError::generic("Need exactly one of 'device' and 'id'")),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Named {
    node_name: String,
}

/// An image to be opened; the table knows which driver has which members. How it is cached, locked and read is
/// ours to choose, whatever is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Node {
    driver: String,
    node_name: Option<String>,
    #[serde(default)]
    read_only: bool,
    filename: Option<PathBuf>,
    file: Option<Reference>,
    #[serde(flatten)]
    null: Null,
}

/// What is said of zeros.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Null {
    size: Option<u64>,
    latency_ns: Option<u64>,
}

impl Node {
    /// The file's name, or what stands for none.
    fn place(&self) -> Result<Option<PathBuf>, QmpError> {
        let Some(null) = null_path(&self.driver) else { return Ok(self.filename.clone()) };
        if self.null.size.is_some_and(|size| size != NULL_SIZE) || self.null.latency_ns.unwrap_or(0) != 0 {
            return Err(QmpError::generic(format!(
                "another size or a delay of {} is not built",
                self.driver
            )));
        }
        Ok(Some(null))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    Name(String),
    Inline(Box<Node>),
}

/// Does something to the drive that the arguments name.
fn on_drive(
    command: &Command,
    act: impl FnOnce(&Drive, &str) -> Result<(), QmpError>,
) -> Result<Value, QmpError> {
    let drive: Drive = arguments(command)?;
    let name = drive.name()?;
    nothing(act(&drive, name))
}

/// A file by its name, which may mean one that was handed over.
fn source(context: &Context<'_>, path: PathBuf, access: Access) -> Result<Source, QmpError> {
    Ok(match context.shared.fdsets.duplicate(&path, access) {
        Some(fd) => Source::File(fd?, path),
        None => Source::Path(path),
    })
}

fn change_medium(command: &Command, context: &mut Context<'_>) -> Result<Begun, QmpError> {
    let drive: Drive = arguments(command)?;
    let name = drive.name()?;
    let path = drive.filename.clone().unwrap_or_default().into();
    // The media of our drives are read-only, whatever is said of them.
    let source = source(context, path, Access::Read)?;
    let medium = NewMedium { source, format: drive.format.clone(), force: drive.force };
    context.guest.change_medium(name, medium)
}

fn add_node(command: &Command, context: &mut Context<'_>) -> Result<Begun, QmpError> {
    let node: Node = arguments(command)?;
    let Some(name) = node.node_name.clone() else {
        return Err(QmpError::generic("'node-name' must be specified for the root node"));
    };
    if !is_identifier(&name) || name.len() > 31 {
        return Err(QmpError::generic(format!("Invalid node-name: '{name}'")));
    }
    let access = if node.read_only { Access::Read } else { Access::Both };
    let place = node.place()?;
    let kind = match (node.driver, place, node.file) {
        (_, Some(path), _) => NewNodeKind::File(source(context, path, access)?),
        (format, None, Some(Reference::Name(of))) => NewNodeKind::FormatOf(format, of),
        (format, None, Some(Reference::Inline(file))) => match file.place()? {
            Some(path) => NewNodeKind::Format(format, source(context, path, access)?),
            None => return Err(QmpError::generic("a format over a format: name the lower one first")),
        },
        (_, None, None) => return Err(QmpError::generic("Parameter 'file' is missing")),
    };
    context.guest.add_node(NewNode { name, kind, readonly: node.read_only })
}

/// What is in a drive, as text for people: the image's format and whether it is read-only.
pub(in crate::monitor) fn inserted(node: &NodeInfo) -> String {
    let readonly = if node.readonly { ", read-only" } else { "" };
    format!("{} ({}{readonly})", node.file, node.driver)
}

/// How long a host has to say how large a file is.
const ASKED: Duration = Duration::from_millis(200);

/// Bytes that a file takes on the host's disk. None: it cannot be found any more, or the host does not answer.
fn allocated(file: &str) -> Option<u64> {
    /// A thread waits for the host already, which is not asked by another.
    static ASKS: AtomicBool = AtomicBool::new(false);
    if ASKS.swap(true, Ordering::AcqRel) {
        return None;
    }
    let file = PathBuf::from(file);
    let (say, said) = sync_channel(1);
    let ask = move || {
        let meta = std::fs::metadata(file);
        ASKS.store(false, Ordering::Release);
        // Nobody listens any more if it took too long.
        let _ = say.send(meta);
    };
    if std::thread::Builder::new().name("file".into()).spawn(ask).is_err() {
        ASKS.store(false, Ordering::Release);
        return None;
    }
    Some(said.recv_timeout(ASKED).ok()?.ok()?.blocks() * 512)
}

/// A node, or the medium of a drive.
pub(in crate::monitor) fn node_info(node: &NodeInfo) -> Value {
    let mut image = json!({
        "filename": node.file,
        "format": node.driver,
        "virtual-size": node.size,
        "dirty-flag": false,
    });
    if let (Some(bytes), Some(fields)) = (allocated(&node.file), image.as_object_mut()) {
        fields.insert("actual-size".into(), bytes.into());
    }
    json!({
        "file": node.file,
        "node-name": node.name,
        "ro": node.readonly,
        "drv": node.driver,
        "backing_file_depth": 0,
        "encrypted": false,
        "detect_zeroes": "off",
        "bps": 0,
        "bps_rd": 0,
        "bps_wr": 0,
        "iops": 0,
        "iops_rd": 0,
        "iops_wr": 0,
        "image": image,
        "cache": { "writeback": true, "direct": node.direct, "no-flush": node.no_flush },
        "write_threshold": 0,
    })
}

fn block(drive: &BlockInfo) -> Value {
    let mut answer = json!({
        "device": drive.device,
        "qdev": drive.qdev,
        "type": "unknown",
        "removable": drive.removable,
        "locked": drive.locked,
    });
    let Some(fields) = answer.as_object_mut() else { return answer };
    if drive.removable {
        fields.insert("tray_open".into(), drive.tray_open.into());
    }
    if let Some(medium) = &drive.medium {
        fields.insert("io-status".into(), drive.io_status.name().into());
        fields.insert("inserted".into(), node_info(medium));
    }
    answer
}

/// What is not counted here is 0; clients expect the members.
const NOT_COUNTED: [&str; 16] = [
    "unmap_bytes",
    "unmap_operations",
    "rd_total_time_ns",
    "wr_total_time_ns",
    "flush_total_time_ns",
    "unmap_total_time_ns",
    "wr_highest_offset",
    "rd_merged",
    "wr_merged",
    "unmap_merged",
    "failed_rd_operations",
    "failed_wr_operations",
    "failed_flush_operations",
    "failed_unmap_operations",
    "invalid_rd_operations",
    "invalid_wr_operations",
];

fn stats(drive: &BlockInfo) -> Value {
    let counted = &drive.stats;
    let mut stats = json!({
        "rd_bytes": counted.rd_bytes,
        "wr_bytes": counted.wr_bytes,
        "rd_operations": counted.rd_operations,
        "wr_operations": counted.wr_operations,
        "flush_operations": counted.flush_operations,
        "invalid_flush_operations": 0,
        "invalid_unmap_operations": 0,
        "account_invalid": false,
        "account_failed": false,
        "timed_stats": [],
    });
    if let Some(fields) = stats.as_object_mut() {
        fields.extend(NOT_COUNTED.map(|name| (name.to_owned(), 0.into())));
    }
    let mut answer = json!({ "device": drive.device, "qdev": drive.qdev, "stats": stats });
    if let (Some(medium), Some(fields)) = (&drive.medium, answer.as_object_mut()) {
        fields.insert("node-name".into(), medium.name.as_str().into());
    }
    answer
}
