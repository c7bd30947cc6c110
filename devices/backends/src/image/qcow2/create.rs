//! Making an empty image.

use std::io;

use super::header::Geometry;
use super::refcount::put;
use super::spec::*;
use crate::image::host::HostFile;

/// What an image is to look like.
#[derive(Clone, Copy, Debug)]
pub(in crate::image) struct Layout {
    /// 2 or 3.
    pub(in crate::image) version: u32,
    /// A cluster has 2 to so many bytes: 9 to 21.
    pub(in crate::image) cluster_bits: u32,
    /// A refcount has 2 to so many bits: 0 to 6; version 2 has 4.
    pub(in crate::image) refcount_order: u32,
}

impl Default for Layout {
    /// As qemu-img makes them.
    fn default() -> Layout {
        Layout { version: 3, cluster_bits: 16, refcount_order: 4 }
    }
}

/// Writes an empty image of `size` bytes to an empty file: the header, the refcount table, its blocks, the L1 table.
pub(in crate::image) fn create(file: &dyn HostFile, size: u64, layout: Layout) -> io::Result<()> {
    let geometry = Geometry { cluster_bits: layout.cluster_bits, refcount_order: layout.refcount_order };
    let cluster = geometry.cluster();
    let l1_entries = geometry.clusters(size).div_ceil(1 << geometry.l2_bits());
    if l1_entries * 8 > L1_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too large for its cluster size"));
    }
    let l1 = geometry.clusters(l1_entries * 8);
    let (mut table, mut blocks) = (1, 1);
    let total = loop {
        let total = 1 + table + blocks + l1;
        let need = total.div_ceil(1 << geometry.block_bits());
        let need_table = geometry.clusters(need * 8);
        if need <= blocks && need_table <= table {
            break total;
        }
        (table, blocks) = (need_table.max(table), need.max(blocks));
    };
    let blocks_at = geometry.at(1 + table);
    let l1_at = geometry.at(1 + table + blocks);
    let mut bytes = vec![0; (table * cluster) as usize];
    for block in 0..blocks {
        let entry = (blocks_at + geometry.at(block)).to_be_bytes();
        bytes[block as usize * 8..][..8].copy_from_slice(&entry);
    }
    file.write(&bytes, cluster)?;
    for block in 0..blocks {
        let mut bytes = vec![0; cluster as usize];
        let first = block << geometry.block_bits();
        for index in 0..(total.saturating_sub(first)).min(1 << geometry.block_bits()) {
            put(&mut bytes, geometry.refcount_order, index as usize, 1);
        }
        file.write(&bytes, blocks_at + geometry.at(block))?;
    }
    file.write(&vec![0; (l1 * cluster) as usize], l1_at)?;
    file.sync()?;
    let mut head = vec![0; cluster as usize];
    let mut put32 = |at: usize, value: u32| head[at..at + 4].copy_from_slice(&value.to_be_bytes());
    put32(0, MAGIC);
    put32(field::VERSION, layout.version);
    put32(field::CLUSTER_BITS, layout.cluster_bits);
    put32(field::L1_SIZE, l1_entries as u32);
    put32(field::REFCOUNT_TABLE_CLUSTERS, table as u32);
    if layout.version >= 3 {
        put32(field::REFCOUNT_ORDER, layout.refcount_order);
        put32(field::HEADER_LENGTH, V3_HEADER as u32);
    }
    let mut put64 = |at: usize, value: u64| head[at..at + 8].copy_from_slice(&value.to_be_bytes());
    put64(field::SIZE, size);
    put64(field::L1_TABLE_OFFSET, l1_at);
    put64(field::REFCOUNT_TABLE_OFFSET, cluster);
    file.write(&head, 0)?;
    file.sync()
}
