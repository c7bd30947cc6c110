//! qcow2 through imago: what its header may say, and throw-away overlays.

use std::io;
use std::sync::RwLock;

use imago::file::File;
use imago::format::drivers::FormatDriverInstance;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{
    DenyImplicitOpenGate, FormatAccess, FormatCreateBuilder, FormatDriverBuilder, StorageOpenOptions,
};

use super::file::Opened;
use super::{ImageError, Layer, SECTOR, size_of};

const MAGIC: u32 = 0x5146_49fb;
/// QEMU's limits of what a header may make a reader allocate.
const L1_BYTES: u64 = 32 << 20;
const REFTABLE_BYTES: u64 = 8 << 20;
/// Bytes of the header that are looked at.
const HEADER: usize = 112;

fn be32(head: &[u8], at: usize) -> u64 {
    head.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]).into())
}

fn be64(head: &[u8], at: usize) -> u64 {
    be32(head, at) << 32 | be32(head, at + 4)
}

/// Looks at the header (qcow2 specification, section "Header") before anything is allocated by it. The size of
/// the disk.
pub(super) fn check_header(opened: &Opened, writable: bool) -> Result<u64, ImageError> {
    let path = || opened.path.clone();
    let head = opened.bytes(0, HEADER)?;
    if head.len() < 72 || be32(&head, 0) != u64::from(MAGIC) {
        return Err(ImageError::NotQcow2(path()));
    }
    let damaged = |what| Err(ImageError::Header { path: path(), what });
    let unsupported = |what: String| Err(ImageError::Unsupported { path: path(), what });
    let file = size_of(&opened.file, &opened.path)?;
    let version = be32(&head, 4);
    if !(2..=3).contains(&version) {
        return unsupported(format!("is qcow2 version {version}; 2 and 3 are supported"));
    }
    if version == 3 && (head.len() < 104 || !(104..=4096).contains(&be32(&head, 100))) {
        return damaged("its length is wrong");
    }
    let cluster_bits = be32(&head, 20);
    if !(9..=21).contains(&cluster_bits) {
        return damaged("the cluster size is out of range");
    }
    let size = be64(&head, 24);
    if size == 0 || size > 1 << 62 {
        return damaged("the size of the disk is out of range");
    }
    let (l1_entries, l1_at) = (be32(&head, 36), be64(&head, 40));
    // Each L1 entry stands for a table of one cluster of 8-byte entries.
    let reach = (l1_entries as u128) << (2 * cluster_bits - 3);
    if l1_entries * 8 > L1_BYTES || reach < u128::from(size) {
        return damaged("the size of the L1 table is out of range");
    }
    let (reftable_at, reftable_clusters) = (be64(&head, 48), be32(&head, 56));
    if reftable_clusters == 0 || reftable_clusters << cluster_bits > REFTABLE_BYTES {
        return damaged("the size of the refcount table is out of range");
    }
    let inside = |at: u64, len: u64| at.checked_add(len).is_some_and(|end| end <= file);
    if !inside(l1_at, l1_entries * 8) || !inside(reftable_at, reftable_clusters << cluster_bits) {
        return damaged("its tables lie beyond the end of the file, which is cut short");
    }
    // imago looks for a place for the missing block in the clusters that the block would cover, without end.
    if be64(&opened.bytes(reftable_at, 8)?, 0) == 0 {
        return damaged("its refcount table does not cover the header itself");
    }
    if be64(&head, 8) != 0 {
        return unsupported("has a backing file; flatten it first (qemu-img convert)".to_owned());
    }
    if be32(&head, 32) != 0 {
        return unsupported("is encrypted, which is not supported".to_owned());
    }
    if writable && be32(&head, 60) != 0 {
        return unsupported("has internal snapshots; it can be used read-only or with snapshot".to_owned());
    }
    let features = if version == 3 { be64(&head, 72) } else { 0 };
    match features {
        0 => Ok(size / SECTOR * SECTOR),
        f if f & 2 != 0 => {
            unsupported("is marked as corrupt; repair it first (qemu-img check -r)".to_owned())
        }
        f if f & 1 != 0 => {
            unsupported("was not closed properly; repair it first (qemu-img check -r)".to_owned())
        }
        f => unsupported(format!("uses qcow2 features that are not supported ({f:#x})")),
    }
}

/// Opens the format on a file whose header has been checked.
pub(super) fn open(file: File, writable: bool) -> io::Result<FormatAccess<File>> {
    let builder = Qcow2::<File>::builder(file).write(writable).backing(None).data_file(None);
    Ok(FormatAccess::new(builder.open(DenyImplicitOpenGate::default())?))
}

/// A throw-away layer above a raw file.
pub(super) fn overlay_of_raw(file: File, size: u64) -> io::Result<Layer> {
    overlay(FormatAccess::new(Raw::open_image(file, false)?), size)
}

/// A throw-away layer: a qcow2 file without a name.
pub(super) fn overlay(base: FormatAccess<File>, size: u64) -> io::Result<Layer> {
    let folder = std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), std::path::PathBuf::from);
    let file = unnamed(&folder)?;
    let file = File::from_open_file(file, StorageOpenOptions::new().write(true))?;
    let created = Qcow2::<File>::create_builder(file)
        .size(size)
        .create_open(DenyImplicitOpenGate::default(), |image| {
            Ok(Qcow2::builder(image).write(true).backing(Some(base)).data_file(None))
        })?;
    debug_assert_eq!(created.size(), size);
    Ok(Layer::Format(Box::new(RwLock::new(FormatAccess::new(created)))))
}

/// A file that is gone when it is closed.
fn unnamed(folder: &std::path::Path) -> io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let what = |error: rustix::io::Errno| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("no temporary file in {}: {error}", folder.display()))
    };
    Ok(rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR).map_err(what)?.into())
}
