//! Numbers and layouts of the kernel's Xen devices and of the hypercalls that a device model needs.
//!
//! Linux `include/uapi/xen/{privcmd,evtchn,gntdev}.h` and Xen `xen/include/public/`. All are stable
//! interfaces of the 64-bit x86 build: nothing here depends on the version of Xen.

pub mod dm;
#[cfg(test)]
mod tests;

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes of a page, of the guest and of the host.
pub const PAGE: usize = 4096;

/// Requests of `/dev/xen/privcmd` (`privcmd.h`).
pub mod privcmd {
    /// Makes any hypercall: [`Hypercall`](super::Hypercall).
    pub const HYPERCALL: u64 = 0x0030_5000;
    /// Maps another domain's pages: [`MapBatch`](super::MapBatch).
    pub const MMAPBATCH_V2: u64 = 0x0020_5004;
    /// Makes a device model operation: [`DmOpCall`](super::DmOpCall).
    pub const DM_OP: u64 = 0x0010_5005;
    /// Binds the file to one domain for ever: a domain's number.
    pub const RESTRICT: u64 = 0x0002_5006;
    /// Maps frames that belong to Xen: [`MapResource`](super::MapResource).
    pub const MMAP_RESOURCE: u64 = 0x0020_5007;
}

/// Requests of `/dev/xen/evtchn` (`evtchn.h`).
pub mod evtchn {
    /// Connects to a port of another domain: `{ u32 domain, u32 port }`; gives the local port.
    pub const BIND_INTERDOMAIN: u64 = 0x0008_4501;
    /// Closes a local port: `u32`.
    pub const UNBIND: u64 = 0x0004_4503;
    /// Raises an event at the other end: `u32` local port.
    pub const NOTIFY: u64 = 0x0004_4504;
    /// Binds the file to one domain for ever: `u16`.
    pub const RESTRICT_DOMID: u64 = 0x0002_4506;
}

/// Requests of `/dev/xen/gntdev` (`gntdev.h`).
pub mod gntdev {
    /// Makes granted pages mappable: [`MapGrantRef`](super::MapGrantRef), then `count` times [`GrantRef`](super::GrantRef).
    pub const MAP_GRANT_REF: u64 = 0x0018_4700;
    /// The reverse, after `munmap`: [`UnmapGrantRef`](super::UnmapGrantRef).
    pub const UNMAP_GRANT_REF: u64 = 0x0010_4701;
    /// What happens when a mapping goes away: [`UnmapNotify`](super::UnmapNotify).
    pub const SET_UNMAP_NOTIFY: u64 = 0x0010_4707;
    /// Copies between our memory and granted pages: [`GrantCopy`](super::GrantCopy).
    pub const GRANT_COPY: u64 = 0x0010_4708;
}

/// `struct privcmd_hypercall`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Hypercall {
    /// Number of the hypercall.
    pub op: u64,
    /// Its arguments.
    pub arg: [u64; 5],
}

/// Hypercall numbers (`public/xen.h`).
pub mod hypercall {
    /// `HYPERVISOR_memory_op`.
    pub const MEMORY_OP: u64 = 12;
    /// `HYPERVISOR_hvm_op`.
    pub const HVM_OP: u64 = 34;
}

/// `struct privcmd_mmapbatch_v2`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MapBatch {
    /// Number of pages.
    pub num: u32,
    /// Whose.
    pub domid: u16,
    /// Where to.
    pub addr: u64,
    /// Their frame numbers, `num` of them.
    pub gfns: *const u64,
    /// What became of each: 0, or a negative error number.
    pub errors: *mut i32,
}

/// `struct privcmd_dm_op`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DmOpCall {
    /// The domain.
    pub domid: u16,
    /// Number of buffers, at most 2.
    pub num: u16,
    /// The buffers; the first holds the operation.
    pub buffers: *const DmOpBuffer,
}

/// `struct privcmd_dm_op_buf`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DmOpBuffer {
    /// First byte.
    pub data: *mut libc::c_void,
    /// Bytes, at most 4096: the kernel's limit.
    pub size: usize,
}

/// `struct privcmd_mmap_resource`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct MapResource {
    /// Whose.
    pub domid: u16,
    /// `XENMEM_resource_*`.
    pub kind: u32,
    /// Which one of that kind.
    pub id: u32,
    /// First frame of it.
    pub first: u32,
    /// Number of frames.
    pub frames: u64,
    /// Where to.
    pub addr: u64,
}

/// `XENMEM_resource_ioreq_server`: frame 0 is the buffered ring, frame 1 the page of slots.
pub const RESOURCE_IOREQ_SERVER: u32 = 0;

/// `XENMEM_populate_physmap`: gives a domain pages at the frame numbers given.
pub const POPULATE_PHYSMAP: u64 = 6;

/// `struct xen_memory_reservation`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MemoryReservation {
    /// Address of the frame numbers.
    pub extents: u64,
    /// How many.
    pub count: u64,
    /// Log2 of the pages of each.
    pub order: u32,
    /// `XENMEMF_*`.
    pub flags: u32,
    /// Whose.
    pub domid: u16,
    /// Zero.
    pub pad: [u16; 3],
}

/// `HVMOP_set_param`.
pub const HVMOP_SET_PARAM: u64 = 0;
/// `HVMOP_get_param`.
pub const HVMOP_GET_PARAM: u64 = 1;

/// `struct xen_hvm_param`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct HvmParam {
    /// The domain.
    pub domid: u16,
    /// Zero.
    pub pad: u16,
    /// Which one.
    pub index: u32,
    /// Its value.
    pub value: u64,
}

/// Parameters of an HVM domain (`public/hvm/params.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Param {
    /// The ACPI sleep state: 3 suspends to RAM, 0 wakes.
    AcpiSState = 14,
}

/// `struct ioctl_evtchn_bind_interdomain`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BindInterdomain {
    /// The other domain.
    pub domain: u32,
    /// Its port.
    pub port: u32,
}

/// `struct ioctl_gntdev_map_grant_ref` without its array.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MapGrantRef {
    /// Number of references that follow.
    pub count: u32,
    /// Zero.
    pub pad: u32,
    /// Out: where in the device the pages are mapped from.
    pub index: u64,
}

/// `struct ioctl_gntdev_grant_ref`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct GrantRef {
    /// Who grants.
    pub domid: u32,
    /// The reference.
    pub reference: u32,
}

/// `struct ioctl_gntdev_unmap_grant_ref`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct UnmapGrantRef {
    /// As it was given.
    pub index: u64,
    /// Number of pages.
    pub count: u32,
    /// Zero.
    pub pad: u32,
}

/// `struct ioctl_gntdev_unmap_notify`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct UnmapNotify {
    /// Byte in the device's space that is cleared.
    pub index: u64,
    /// Bit 0: clear the byte. Bit 1: raise the event.
    pub action: u32,
    /// Local event port.
    pub port: u32,
}

/// `struct ioctl_gntdev_grant_copy`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct GrantCopy {
    /// Number of segments.
    pub count: u32,
    /// The segments.
    pub segments: *mut GrantCopySegment,
}

/// `struct gntdev_grant_copy_segment`. A side is either an address of ours (the whole `u64`) or a granted
/// page: the reference in bits 0-31, the byte offset in bits 32-47, the domain in bits 48-63.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct GrantCopySegment {
    /// Where from.
    pub source: u64,
    /// Where to.
    pub dest: u64,
    /// Bytes; they do not leave the granted page.
    pub len: u16,
    /// [`COPY_SOURCE_GRANT`] or [`COPY_DEST_GRANT`].
    pub flags: u16,
    /// Out: 0, or a `GNTST_*` below zero.
    pub status: i16,
}

/// `GNTCOPY_source_gref`.
pub const COPY_SOURCE_GRANT: u16 = 1;
/// `GNTCOPY_dest_gref`.
pub const COPY_DEST_GRANT: u16 = 2;

const _: () = {
    assert!(size_of::<Hypercall>() == 0x30 && size_of::<MapBatch>() == 0x20);
    assert!(size_of::<DmOpCall>() == 0x10 && size_of::<DmOpBuffer>() == 0x10);
    assert!(size_of::<MapResource>() == 0x20 && size_of::<MemoryReservation>() == 32);
    assert!(size_of::<HvmParam>() == 16 && size_of::<BindInterdomain>() == 8);
    assert!(size_of::<MapGrantRef>() == 16 && size_of::<GrantRef>() == 8);
    assert!(size_of::<UnmapGrantRef>() == 16 && size_of::<UnmapNotify>() == 16);
    assert!(size_of::<GrantCopy>() == 16 && size_of::<GrantCopySegment>() == 24);
};
