//! Device model operations: `HYPERVISOR_dm_op` (Xen `public/hvm/dm_op.h`).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct xen_dm_op`: a number and a payload that depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct DmOp {
    /// Which operation.
    pub op: u32,
    /// Zero.
    pub pad: u32,
    /// Its payload, from the first byte on; Xen writes results back into it.
    pub payload: [u8; 24],
}

const _: () = assert!(size_of::<DmOp>() == 32);

/// A payload: what it is called and which number it has.
pub trait Payload: FromBytes + IntoBytes + Immutable + Copy {
    /// `XEN_DMOP_*`.
    const OP: u32;
    /// The number's name in the header.
    const NAME: &'static str;
}

impl DmOp {
    /// An operation with this payload.
    pub fn new<P: Payload>(payload: P) -> DmOp {
        const { assert!(size_of::<P>() <= 24) };
        let mut op = DmOp { op: P::OP, ..DmOp::default() };
        op.payload[..size_of::<P>()].copy_from_slice(payload.as_bytes());
        op
    }

    /// The payload, if the operation is this one.
    pub fn payload<P: Payload>(&self) -> Option<P> {
        const { assert!(size_of::<P>() <= 24) };
        (self.op == P::OP).then(|| P::read_from_prefix(&self.payload).ok().map(|(payload, _)| payload))?
    }
}

/// Declares payloads: fields in memory order, with explicit padding.
macro_rules! payloads {
    ($($(#[$doc:meta])* $name:ident = $op:literal $string:literal { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
            #[repr(C)]
            pub struct $name { $($(#[$field_doc])* pub $field: $ty,)* }
            impl Payload for $name {
                const OP: u32 = $op;
                const NAME: &'static str = $string;
            }
        )*
    };
}

payloads! {
    /// Makes an ioreq server of the caller's.
    CreateIoreqServer = 1 "create_ioreq_server" {
        /// [`BUFIOREQ_ATOMIC`].
        handle_bufioreq: u8,
        /// Zero.
        pad: [u8; 3],
        /// Out: its number.
        id: u16,
    }
    /// Where the server's pages and its ring's event channel are.
    GetIoreqServerInfo = 2 "get_ioreq_server_info" {
        /// The server.
        id: u16,
        /// [`NO_GFNS`].
        flags: u16,
        /// Out: Xen's end of the ring's event channel.
        bufioreq_port: u32,
        /// Out, unless [`NO_GFNS`].
        ioreq_gfn: u64,
        /// Out, unless [`NO_GFNS`].
        bufioreq_gfn: u64,
    }
    /// Claims a range for the server.
    MapIoRange = 3 "map_io_range_to_ioreq_server" {
        /// The server.
        id: u16,
        /// Zero.
        pad: u16,
        /// [`RANGE_PORT`], [`RANGE_MEMORY`] or [`RANGE_PCI`].
        kind: u32,
        /// First.
        start: u64,
        /// Last.
        end: u64,
    }
    /// The reverse.
    UnmapIoRange = 4 "unmap_io_range_from_ioreq_server" {
        /// The server.
        id: u16,
        /// Zero.
        pad: u16,
        /// As claimed.
        kind: u32,
        /// First.
        start: u64,
        /// Last.
        end: u64,
    }
    /// Whether the server is asked at all.
    SetIoreqServerState = 5 "set_ioreq_server_state" {
        /// The server.
        id: u16,
        /// 0 or 1.
        enabled: u8,
        /// Zero.
        pad: u8,
    }
    /// Ends the server.
    DestroyIoreqServer = 6 "destroy_ioreq_server" {
        /// The server.
        id: u16,
        /// Zero.
        pad: u16,
    }
    /// Which pages the guest wrote to since last asked; the bitmap is the second buffer. No pages stop it.
    TrackDirtyVram = 7 "track_dirty_vram" {
        /// Number of pages.
        pages: u32,
        /// Zero.
        pad: u32,
        /// First page.
        first_pfn: u64,
    }
    /// Drives a PCI interrupt pin.
    SetPciIntxLevel = 8 "set_pci_intx_level" {
        /// Segment, 0.
        domain: u16,
        /// Bus, 0.
        bus: u8,
        /// 0 to 31.
        device: u8,
        /// 0 is INTA.
        intx: u8,
        /// 0 or 1.
        level: u8,
    }
    /// Drives an ISA interrupt.
    SetIsaIrqLevel = 9 "set_isa_irq_level" {
        /// 0 to 15.
        irq: u8,
        /// 0 or 1.
        level: u8,
    }
    /// Where a PCI interrupt link goes.
    SetPciLinkRoute = 10 "set_pci_link_route" {
        /// 0 is PIRQA.
        link: u8,
        /// 1 to 15; 0 is nowhere.
        irq: u8,
    }
    /// Pages that we wrote to, for the log of a migration; the second buffer is of [`Extent`].
    ModifiedMemory = 11 "modified_memory" {
        /// Number of extents.
        extents: u32,
        /// Xen's, zero.
        opaque: u32,
    }
    /// What pages are to the guest.
    SetMemType = 12 "set_mem_type" {
        /// Number of pages.
        pages: u32,
        /// [`MEM_RAM_RW`] or [`MEM_RAM_RO`].
        kind: u16,
        /// Zero.
        pad: u16,
        /// First page.
        first_pfn: u64,
    }
    /// Delivers a message-signalled interrupt.
    InjectMsi = 14 "inject_msi" {
        /// Data.
        data: u32,
        /// Zero.
        pad: u32,
        /// Address.
        addr: u64,
    }
    /// Ends or restarts the domain.
    RemoteShutdown = 16 "remote_shutdown" {
        /// `SHUTDOWN_*`.
        reason: u32,
    }
    /// Moves pages within the guest's physical space.
    RelocateMemory = 17 "relocate_memory" {
        /// Number of pages.
        pages: u32,
        /// Zero.
        pad: u32,
        /// First page.
        from: u64,
        /// Where it goes.
        to: u64,
    }
    /// How a range of pages is cached.
    PinMemoryCacheattr = 18 "pin_memory_cacheattr" {
        /// First page.
        start: u64,
        /// Last page.
        end: u64,
        /// [`CACHE_WRITE_BACK`] or [`CACHE_DELETE`].
        kind: u32,
        /// Zero.
        pad: u32,
    }
}

/// One extent of [`ModifiedMemory`]: `struct xen_dm_op_modified_memory_extent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Extent {
    /// Number of pages.
    pub pages: u32,
    /// Zero.
    pub pad: u32,
    /// First page.
    pub first_pfn: u64,
}

/// `HVM_IOREQSRV_BUFIOREQ_ATOMIC`.
pub const BUFIOREQ_ATOMIC: u8 = 2;
/// `XEN_DMOP_no_gfns`: the pages are mapped as a resource.
pub const NO_GFNS: u16 = 1;
/// `XEN_DMOP_IO_RANGE_PORT`.
pub const RANGE_PORT: u32 = 0;
/// `XEN_DMOP_IO_RANGE_MEMORY`.
pub const RANGE_MEMORY: u32 = 1;
/// `XEN_DMOP_IO_RANGE_PCI`.
pub const RANGE_PCI: u32 = 2;
/// `HVMMEM_ram_rw`.
pub const MEM_RAM_RW: u16 = 0;
/// `HVMMEM_ram_ro`.
pub const MEM_RAM_RO: u16 = 1;
/// `XEN_DMOP_MEM_CACHEATTR_WB`.
pub const CACHE_WRITE_BACK: u32 = 6;
/// `XEN_DMOP_DELETE_MEM_CACHEATTR`.
pub const CACHE_DELETE: u32 = u32::MAX;

/// Why a domain ends (`public/sched.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ShutdownReason {
    /// It is switched off.
    PowerOff = 0,
    /// It restarts.
    Reboot = 1,
    /// It crashed, or its device model did.
    Crash = 3,
}
