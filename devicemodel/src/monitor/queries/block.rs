//! Questions about drives and images.

use serde_json::{Value, json};

use super::super::commands::Context;
use super::super::facts::{BlockFacts, NodeFacts};
use super::super::protocol::{Command, QmpError};

pub(super) fn answer(command: &Command, context: &Context<'_>) -> Option<Result<Value, QmpError>> {
    let guest = &*context.guest;
    Some(Ok(match command.name.as_str() {
        "query-block" => guest.blocks().iter().map(block).collect(),
        "query-blockstats" => guest.blocks().iter().map(stats).collect(),
        "query-named-block-nodes" => guest.nodes().iter().map(node_info).collect(),
        _ => return None,
    }))
}

/// What is in a drive, as text for people: the image's format and whether it is read-only.
pub(in crate::monitor) fn inserted(node: &NodeFacts) -> String {
    let readonly = if node.readonly { ", read-only" } else { "" };
    format!("{} ({}{readonly})", node.file, node.driver)
}

/// A node, or the medium of a drive.
pub(in crate::monitor) fn node_info(node: &NodeFacts) -> Value {
    // Bytes that the file takes on the host's disk, where it can still be found.
    let blocks =
        std::fs::metadata(&node.file).map(|meta| std::os::unix::fs::MetadataExt::blocks(&meta) * 512);
    let mut image = json!({
        "filename": node.file,
        "format": node.driver,
        "virtual-size": node.size,
        "dirty-flag": false,
    });
    if let (Ok(bytes), Some(fields)) = (blocks, image.as_object_mut()) {
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

fn block(drive: &BlockFacts) -> Value {
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
        fields.insert("io-status".into(), "ok".into());
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

fn stats(drive: &BlockFacts) -> Value {
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
