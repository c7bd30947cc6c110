//! Names and numbers of GPUs (Virtio 1.3, 5.7).

/// Numbers of queues (5.7.2).
pub mod queue {
    /// Commands.
    pub const CONTROL: u16 = 0;
    /// What belongs to the pointer.
    pub const CURSOR: u16 = 1;
}

/// Elements of each queue, as in QEMU.
pub const QUEUE_SIZES: [u16; 2] = [64, 16];

/// Feature bits (5.7.3).
pub mod feature {
    /// The device tells monitors' EDIDs.
    pub const EDID: u64 = 1 << 1;
}

/// Where fields of the configuration are (5.7.4), 32 bits each.
pub mod config {
    /// What has happened.
    pub const EVENTS_READ: usize = 0;
    /// What the driver has heard of.
    pub const EVENTS_CLEAR: usize = 4;
    /// Heads.
    pub const NUM_SCANOUTS: usize = 8;
    /// Its length. The last field is for 3D.
    pub const LEN: usize = 16;
}

/// Event: a monitor is another (5.7.4.1).
pub const EVENT_DISPLAY: u32 = 1;

/// Most heads (5.7.4).
pub const SCANOUTS_MAX: usize = 16;

/// Types of commands (5.7.6.7).
pub mod command {
    /// Which monitors there are.
    pub const GET_DISPLAY_INFO: u32 = 0x100;
    /// Makes a resource.
    pub const RESOURCE_CREATE_2D: u32 = 0x101;
    /// Ends one.
    pub const RESOURCE_UNREF: u32 = 0x102;
    /// Which part of which resource a head shows.
    pub const SET_SCANOUT: u32 = 0x103;
    /// A part of a resource is to be seen.
    pub const RESOURCE_FLUSH: u32 = 0x104;
    /// Copies from guest memory.
    pub const TRANSFER_TO_HOST_2D: u32 = 0x105;
    /// Where in guest memory a resource is.
    pub const RESOURCE_ATTACH_BACKING: u32 = 0x106;
    /// It is nowhere there any more.
    pub const RESOURCE_DETACH_BACKING: u32 = 0x107;
    /// A monitor's EDID.
    pub const GET_EDID: u32 = 0x10a;
    /// A pointer's shape and place.
    pub const UPDATE_CURSOR: u32 = 0x300;
    /// Its place.
    pub const MOVE_CURSOR: u32 = 0x301;
}

/// Types of responses (5.7.6.7).
pub mod response {
    /// Done.
    pub const OK_NODATA: u32 = 0x1100;
    /// Monitors.
    pub const OK_DISPLAY_INFO: u32 = 0x1101;
    /// An EDID.
    pub const OK_EDID: u32 = 0x1104;
    /// It is not known, too short, or makes no sense now.
    pub const ERR_UNSPEC: u32 = 0x1200;
    /// There is not that much memory.
    pub const ERR_OUT_OF_MEMORY: u32 = 0x1201;
    /// There is no such head.
    pub const ERR_INVALID_SCANOUT_ID: u32 = 0x1202;
    /// There is no such resource, or there is one already.
    pub const ERR_INVALID_RESOURCE_ID: u32 = 0x1203;
    /// Something else is wrong.
    pub const ERR_INVALID_PARAMETER: u32 = 0x1205;
}

/// Bytes of the header: type, flags (32 bits each), fence (64), context (32), ring (8), padding.
pub const HEADER: usize = 24;
/// Flag: the response comes when the command is done, and names its fence.
pub const FLAG_FENCE: u32 = 1;

/// Bytes of commands, header included.
pub mod length {
    /// `virtio_gpu_resource_create_2d`.
    pub const CREATE_2D: usize = 40;
    /// `virtio_gpu_resource_unref`, and that of detaching.
    pub const UNREF: usize = 32;
    /// `virtio_gpu_set_scanout`.
    pub const SET_SCANOUT: usize = 48;
    /// `virtio_gpu_resource_flush`.
    pub const FLUSH: usize = 48;
    /// `virtio_gpu_transfer_to_host_2d`.
    pub const TRANSFER: usize = 56;
    /// `virtio_gpu_resource_attach_backing`, without its entries.
    pub const ATTACH: usize = 32;
    /// `virtio_gpu_mem_entry`.
    pub const MEM_ENTRY: usize = 16;
    /// `virtio_gpu_get_edid`.
    pub const GET_EDID: usize = 32;
    /// `virtio_gpu_update_cursor`.
    pub const CURSOR: usize = 56;
    /// `virtio_gpu_display_one`.
    pub const DISPLAY_ONE: usize = 24;
    /// The EDID in a response, whatever is used of it.
    pub const EDID: usize = 1024;
}

/// Most entries of a backing, as in QEMU.
pub const ENTRIES_MAX: u32 = 16384;

/// Pixels of a pointer's side (5.7.6.10).
pub const CURSOR: u32 = 64;

/// Bytes of a pixel: all formats have as many.
pub const PIXEL: usize = 4;
