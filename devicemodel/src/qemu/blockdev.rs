//! `-blockdev`: images by node names, in the form `key=value` or as JSON.

use std::path::PathBuf;

use backends::image::null_path;

use super::config::{BlockSource, Blockdev, Drive, Interface};
use super::keyval::Fields;
use super::{Refusal, values};
use crate::config::{CacheMode, DiskKind};

/// Most nodes that lie on each other.
const DEPTH: usize = 8;

/// Reads one node.
pub(super) fn parse(value: &str) -> Result<Blockdev, Refusal> {
    let mut fields = Fields::of_option(value, "driver")?;
    let driver = fields.required("driver")?;
    let name = fields.required("node-name")?;
    if fields.get("cache").is_some() {
        return Err(Refusal::bad("a node has cache.direct= and cache.no-flush=, not cache="));
    }
    // What the file below says, the node that is made with it has too.
    let readonly = [fields.flag("read-only")?, fields.flag("file.read-only")?].contains(&Some(true));
    for key in ["cache.direct", "cache.no-flush"] {
        if let Some(value) = fields.take(&format!("file.{key}")) {
            fields.default(key, &value);
        }
    }
    let cache = values::cache(&mut fields)?;
    let source = source(&driver, &mut fields)?;
    // Hints about how the host does it.
    for prefix in ["", "file."] {
        for key in ["aio", "discard", "detect-zeroes", "auto-read-only", "locking"] {
            fields.ignore(&[&format!("{prefix}{key}")]);
        }
    }
    fields.end()?;
    let format = match driver.as_str() {
        "file" | "host_device" | "host_cdrom" => None,
        driver if null_path(driver).is_some() => None,
        _ => Some(driver),
    };
    Ok(Blockdev { name, format, source, readonly, cache })
}

fn source(driver: &str, fields: &mut Fields) -> Result<BlockSource, Refusal> {
    if let Some(null) = null_path(driver) {
        values::null_options(fields, "")?;
        return Ok(BlockSource::File(null));
    }
    match driver {
        "file" | "host_device" | "host_cdrom" => Ok(BlockSource::File(fields.required("filename")?.into())),
        "raw" | "qcow2" => {
            if let Some(node) = fields.take("file") {
                return Ok(BlockSource::Node(node));
            }
            match fields.take("file.driver").as_deref() {
                None | Some("file" | "host_device" | "host_cdrom") => {}
                Some(driver) => {
                    let other = || Refusal::not_built(format!("file.driver={driver}"));
                    let null = null_path(driver).ok_or_else(other)?;
                    values::null_options(fields, "file.")?;
                    return Ok(BlockSource::File(null));
                }
            }
            Ok(BlockSource::File(fields.required("file.filename")?.into()))
        }
        "nbd" | "rbd" | "iscsi" | "http" | "https" | "ssh" | "nvme" | "throttle" | "vmdk" | "vdi"
        | "vhdx" | "vpc" | "qed" | "qcow" | "quorum" | "blkdebug" | "copy-on-read" | "luks" => {
            Err(Refusal::not_built(format!("driver={driver}")))
        }
        _ => Err(Refusal::bad(format!("Unknown driver '{driver}'"))),
    }
}

/// The image behind a node, as the drive that names it.
pub(super) fn drive(nodes: &[Blockdev], name: &str) -> Result<Drive, Refusal> {
    let mut drive = Drive {
        interface: Interface::None,
        index: None,
        id: Some(name.to_owned()),
        file: None,
        format: None,
        kind: DiskKind::Disk,
        readonly: false,
        snapshot: false,
        cache: CacheMode::Writeback,
        device: Vec::new(),
    };
    let mut next = name.to_owned();
    for _ in 0..DEPTH {
        let node = nodes.iter().find(|node| node.name == next);
        let node = node.ok_or_else(|| Refusal::bad(format!("there is no node '{next}'")))?;
        drive.readonly |= node.readonly;
        if drive.cache == CacheMode::Writeback {
            drive.cache = node.cache;
        }
        drive.format = match (drive.format.take().as_deref(), &node.format) {
            (None, format) => format.clone(),
            (Some("raw"), Some(format)) => Some(format.clone()),
            (Some(format), None | Some(_)) => Some(format.to_owned()),
        };
        match &node.source {
            BlockSource::File(path) => {
                drive.file = Some(PathBuf::clone(path));
                return Ok(drive);
            }
            BlockSource::Node(below) => next = below.clone(),
        }
    }
    Err(Refusal::bad(format!("the nodes under '{name}' go in a circle or are too many")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_read_in_both_forms() {
        let node =
            parse("driver=qcow2,node-name=disk,file.driver=file,file.filename=/a,,b,read-only=on").unwrap();
        let same = r#"{"driver":"qcow2","node-name":"disk","file":{"driver":"file","filename":"/a,b"},"read-only":true}"#;
        assert_eq!(parse(same), Ok(node.clone()));
        assert_eq!(node.source, BlockSource::File("/a,b".into()));
        assert!(parse("driver=zfs,node-name=a,filename=b").is_err());
        assert!(parse("{\"driver\":[1]}").is_err());
        assert!(parse("{\"driver\":").is_err());
        let twice = r#"{"driver":"file","node-name":"a","filename":"/a","filename":"/b"}"#;
        assert_eq!(parse(twice), Err(Refusal::bad("JSON: duplicate key")));
        let direct =
            parse("driver=raw,node-name=a,file.filename=/a,file.cache.direct=on,file.read-only=on").unwrap();
        assert_eq!((direct.cache, direct.readonly), (CacheMode::None, true));
        assert!(parse("driver=file,node-name=a,filename=/a,cache=none").is_err());
    }

    #[test]
    fn a_node_may_lie_on_another() {
        let nodes = [
            parse("driver=file,node-name=file,filename=/a").unwrap(),
            parse("driver=raw,node-name=disk,file=file").unwrap(),
            parse("driver=raw,node-name=circle,file=circle").unwrap(),
        ];
        let found = drive(&nodes, "disk").unwrap();
        assert_eq!((found.format.as_deref(), found.file), (Some("raw"), Some("/a".into())));
        assert!(drive(&nodes, "circle").is_err());
        assert!(drive(&nodes, "nothing").is_err());
    }
}
