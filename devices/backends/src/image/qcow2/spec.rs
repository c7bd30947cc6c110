//! Numbers and bits of the qcow2 format (QEMU's docs/interop/qcow2.rst). All numbers of the file are big-endian.

/// "QFI\xfb".
pub(super) const MAGIC: u32 = 0x5146_49fb;

/// Byte offsets of the header's fields.
pub(super) mod field {
    pub(crate) const VERSION: usize = 4;
    pub(crate) const BACKING_FILE_OFFSET: usize = 8;
    pub(crate) const CLUSTER_BITS: usize = 20;
    pub(crate) const SIZE: usize = 24;
    pub(crate) const CRYPT_METHOD: usize = 32;
    pub(crate) const L1_SIZE: usize = 36;
    pub(crate) const L1_TABLE_OFFSET: usize = 40;
    pub(crate) const REFCOUNT_TABLE_OFFSET: usize = 48;
    pub(crate) const REFCOUNT_TABLE_CLUSTERS: usize = 56;
    pub(crate) const NB_SNAPSHOTS: usize = 60;
    // Version 3 only.
    pub(crate) const INCOMPATIBLE_FEATURES: usize = 72;
    pub(crate) const AUTOCLEAR_FEATURES: usize = 88;
    pub(crate) const REFCOUNT_ORDER: usize = 96;
    pub(crate) const HEADER_LENGTH: usize = 100;
    pub(crate) const COMPRESSION_TYPE: usize = 104;
}

/// Length of version 2's header.
pub(super) const V2_HEADER: usize = 72;
/// Least length of version 3's header.
pub(super) const V3_HEADER: usize = 104;
/// Bytes of the file's start that are looked at: the longest header that QEMU takes, and its extensions.
pub(super) const HEAD: usize = 8192;

/// Header extension: names of the feature bits.
pub(super) const EXT_FEATURE_NAMES: u32 = 0x6803_f857;

/// Incompatible feature: refcounts may be wrong.
pub(super) const INCOMPAT_DIRTY: u64 = 1 << 0;
/// Incompatible feature: metadata is damaged.
pub(super) const INCOMPAT_CORRUPT: u64 = 1 << 1;
/// Incompatible feature: the data is in another file.
pub(super) const INCOMPAT_DATA_FILE: u64 = 1 << 2;
/// Incompatible feature: clusters are compressed in another way than zlib's.
pub(super) const INCOMPAT_COMPRESSION: u64 = 1 << 3;
/// Incompatible feature: L2 entries of 16 bytes, with subclusters.
pub(super) const INCOMPAT_EXTL2: u64 = 1 << 4;

/// L1 and L2 entries: the cluster's refcount is 1, so that it may be written in place.
pub(super) const OFLAG_COPIED: u64 = 1 << 63;
/// L2 entries: the rest is a compressed cluster's descriptor.
pub(super) const OFLAG_COMPRESSED: u64 = 1 << 62;
/// L2 entries of version 3: reads as zeros.
pub(super) const OFLAG_ZERO: u64 = 1;
/// L1 and L2 entries: offset of the cluster.
pub(super) const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// L1 entries: bits that are 0.
pub(super) const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
/// L2 entries of clusters that are not compressed: bits that are 0. Version 2 has no [`OFLAG_ZERO`] either.
pub(super) const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;
/// Refcount table entries: offset of the refcount block.
pub(super) const REFTABLE_OFFSET: u64 = !0x1ff;

/// QEMU's limits of what a header may make a reader allocate, in bytes.
pub(super) const L1_BYTES: u64 = 32 << 20;
pub(super) const REFTABLE_BYTES: u64 = 8 << 20;

/// Cluster sizes that QEMU takes, as powers of two.
pub(super) const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// Refcounts have 1 to 64 bits, as powers of two.
pub(super) const REFCOUNT_ORDER_MAX: u32 = 6;

/// A 32-bit field, 0 beyond the end.
pub(super) fn be32(head: &[u8], at: usize) -> u32 {
    head.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

/// A 64-bit field, likewise.
pub(super) fn be64(head: &[u8], at: usize) -> u64 {
    u64::from(be32(head, at)) << 32 | u64::from(be32(head, at + 4))
}
