//! The header: what it may say, and the geometry that follows from it.

use std::io;

use super::spec::*;
use crate::image::host::HostFile;

/// Why a file is not taken.
#[derive(Debug)]
pub(in crate::image) enum Refusal {
    /// No magic number.
    NotQcow2,
    /// The header makes no sense: "the cluster size is out of range".
    Damaged(&'static str),
    /// It needs more than there is here, or a repair: "is encrypted, which is not supported".
    Unsupported(String),
    /// The file could not be read or written.
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Io(error)
    }
}

/// Sizes that follow from the header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// A cluster has 2 to so many bytes: 9 to 21.
    pub(super) cluster_bits: u32,
    /// A refcount has 2 to so many bits: 0 to 6.
    pub(super) refcount_order: u32,
}

impl Geometry {
    /// Bytes of a cluster.
    pub(super) fn cluster(self) -> u64 {
        1 << self.cluster_bits
    }
    /// Bytes of metadata that are read and written at once.
    pub(super) fn page(self) -> u64 {
        self.cluster().min(4096)
    }
    /// Clusters that one L2 table maps, as a power of two.
    pub(super) fn l2_bits(self) -> u32 {
        self.cluster_bits - 3
    }
    /// Clusters that one refcount block counts, as a power of two.
    pub(super) fn block_bits(self) -> u32 {
        self.cluster_bits + 3 - self.refcount_order
    }
    /// The cluster of a byte.
    pub(super) fn index(self, at: u64) -> u64 {
        at >> self.cluster_bits
    }
    /// Clusters that hold so many bytes.
    pub(super) fn clusters(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.cluster())
    }
    /// First byte of a cluster.
    pub(super) fn at(self, index: u64) -> u64 {
        index << self.cluster_bits
    }
    /// Host clusters that the offsets of L2 entries reach.
    pub(super) fn host_limit(self) -> u64 {
        1 << (56 - self.cluster_bits)
    }
}

/// A header that has been looked at.
#[derive(Clone, Debug)]
pub(in crate::image) struct Header {
    pub(super) version: u32,
    pub(super) geometry: Geometry,
    /// Bytes of the disk.
    pub(super) size: u64,
    pub(super) l1_at: u64,
    pub(super) l1_entries: u64,
    pub(super) reftable_at: u64,
    pub(super) reftable_clusters: u64,
    pub(super) snapshots: u32,
    pub(super) incompatible: u64,
    pub(super) autoclear: u64,
}

impl Header {
    /// Bytes of the disk, whole sectors.
    pub(in crate::image) fn disk_size(&self) -> u64 {
        self.size / 512 * 512
    }
}

/// Reads and checks the header, before anything is allocated by it.
pub(in crate::image) fn read(file: &dyn HostFile, writable: bool) -> Result<Header, Refusal> {
    let len = file.len()?;
    let mut head = vec![0; HEAD.min(usize::try_from(len).unwrap_or(HEAD))];
    file.read(&mut head, 0)?;
    let header = parse(&head, len)?;
    refuse_features(&header, &head, writable)?;
    Ok(header)
}

/// Checks the numbers against each other and the file's length.
fn parse(head: &[u8], len: u64) -> Result<Header, Refusal> {
    if head.len() < V2_HEADER || be32(head, 0) != MAGIC {
        return Err(Refusal::NotQcow2);
    }
    let version = be32(head, field::VERSION);
    if !(2..=3).contains(&version) {
        return Err(Refusal::Unsupported(format!("is qcow2 version {version}; 2 and 3 are supported")));
    }
    let v3 = version == 3;
    let length = be32(head, field::HEADER_LENGTH) as usize;
    if v3 && (head.len() < V3_HEADER || !(V3_HEADER..=HEAD / 2).contains(&length)) {
        return Err(Refusal::Damaged("its length is wrong"));
    }
    let cluster_bits = be32(head, field::CLUSTER_BITS);
    if !CLUSTER_BITS.contains(&cluster_bits) {
        return Err(Refusal::Damaged("the cluster size is out of range"));
    }
    let refcount_order = if v3 { be32(head, field::REFCOUNT_ORDER) } else { 4 };
    if refcount_order > REFCOUNT_ORDER_MAX {
        return Err(Refusal::Damaged("the refcount width is out of range"));
    }
    let size = be64(head, field::SIZE);
    if size == 0 || size > 1 << 62 {
        return Err(Refusal::Damaged("the size of the disk is out of range"));
    }
    let header = Header {
        version,
        geometry: Geometry { cluster_bits, refcount_order },
        size,
        l1_at: be64(head, field::L1_TABLE_OFFSET),
        l1_entries: be32(head, field::L1_SIZE).into(),
        reftable_at: be64(head, field::REFCOUNT_TABLE_OFFSET),
        reftable_clusters: be32(head, field::REFCOUNT_TABLE_CLUSTERS).into(),
        snapshots: be32(head, field::NB_SNAPSHOTS),
        incompatible: if v3 { be64(head, field::INCOMPATIBLE_FEATURES) } else { 0 },
        autoclear: if v3 { be64(head, field::AUTOCLEAR_FEATURES) } else { 0 },
    };
    check_tables(&header, len)?;
    Ok(header)
}

fn check_tables(header: &Header, len: u64) -> Result<(), Refusal> {
    let cluster = header.geometry.cluster();
    // Each L1 entry stands for a table of one cluster of 8-byte entries.
    let reach = u128::from(header.l1_entries) << (header.geometry.cluster_bits + header.geometry.l2_bits());
    if header.l1_entries * 8 > L1_BYTES || reach < u128::from(header.size) {
        return Err(Refusal::Damaged("the size of the L1 table is out of range"));
    }
    if header.reftable_clusters == 0 || header.reftable_clusters * cluster > REFTABLE_BYTES {
        return Err(Refusal::Damaged("the size of the refcount table is out of range"));
    }
    if !header.l1_at.is_multiple_of(cluster) || !header.reftable_at.is_multiple_of(cluster) {
        return Err(Refusal::Damaged("its tables do not start at a cluster"));
    }
    if header.l1_at == 0 || header.reftable_at == 0 {
        return Err(Refusal::Damaged("its tables lie in the header"));
    }
    let inside = |at: u64, bytes: u64| at.checked_add(bytes).is_some_and(|end| end <= len);
    if !inside(header.l1_at, header.l1_entries * 8)
        || !inside(header.reftable_at, header.reftable_clusters * cluster)
    {
        return Err(Refusal::Damaged("its tables lie beyond the end of the file, which is cut short"));
    }
    Ok(())
}

/// Names what the file needs and there is not.
fn refuse_features(header: &Header, head: &[u8], writable: bool) -> Result<(), Refusal> {
    let unsupported = |what: &str| Err(Refusal::Unsupported(what.to_owned()));
    if be64(head, field::BACKING_FILE_OFFSET) != 0 {
        return unsupported("has a backing file; flatten it first (qemu-img convert)");
    }
    if be32(head, field::CRYPT_METHOD) != 0 {
        return unsupported("is encrypted, which is not supported");
    }
    let features = header.incompatible;
    if features & INCOMPAT_DATA_FILE != 0 {
        return unsupported("keeps its data in an external data file, which is not supported");
    }
    if features & INCOMPAT_EXTL2 != 0 {
        return unsupported("has extended L2 entries (subclusters), which are not supported");
    }
    let long = be32(head, field::HEADER_LENGTH) as usize > field::COMPRESSION_TYPE;
    let kind = if header.version == 3 && long { head.get(field::COMPRESSION_TYPE).copied() } else { None };
    match kind.unwrap_or(0) {
        0 if features & INCOMPAT_COMPRESSION == 0 => {}
        0 => return Err(Refusal::Damaged("its compression type is wrong")),
        1 => {
            return unsupported(
                "is compressed with zstd, which is not supported (qemu-img convert without -c)",
            );
        }
        _ => return unsupported("has a compression type that is not supported"),
    }
    let known = INCOMPAT_DIRTY | INCOMPAT_CORRUPT | INCOMPAT_COMPRESSION;
    let unknown = features & !known;
    if unknown != 0 {
        let names: Vec<_> =
            (0..64).filter(|bit| unknown >> bit & 1 != 0).map(|bit| feature_name(head, bit)).collect();
        return Err(Refusal::Unsupported(format!("needs what is not supported: {}", names.join(", "))));
    }
    if writable && features & INCOMPAT_CORRUPT != 0 {
        return unsupported("is marked as corrupt; repair it first (qemu-img check -r all)");
    }
    if writable && header.snapshots != 0 {
        return unsupported("has internal snapshots; it can be used read-only or with snapshot");
    }
    Ok(())
}

/// What the file itself calls an incompatible feature.
fn feature_name(head: &[u8], bit: u32) -> String {
    let plain = format!("incompatible feature {bit}");
    let mut at = be32(head, field::HEADER_LENGTH) as usize;
    while let Some(header) = head.get(at..at + 8) {
        let (kind, len) = (be32(header, 0), be32(header, 4) as usize);
        let Some(body) = (at + 8).checked_add(len).and_then(|end| head.get(at + 8..end)) else { break };
        if kind == 0 {
            break;
        }
        if kind == EXT_FEATURE_NAMES {
            let entry = body.chunks_exact(48).find(|e| e[0] == 0 && u32::from(e[1]) == bit);
            let name = entry.map_or(&[][..], |e| e[2..].split(|b| *b == 0).next().unwrap_or(&[]));
            let printable = !name.is_empty() && name.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
            return if printable { String::from_utf8_lossy(name).into_owned() } else { plain };
        }
        at += 8 + len.next_multiple_of(8);
    }
    plain
}
