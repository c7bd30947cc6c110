//! Names and numbers of SCSI hosts (Virtio 1.3, 5.6).

/// Feature bits (5.6.3).
pub mod feature {
    /// The guest hears of units that come and go.
    pub const HOTPLUG: u64 = 1 << 1;
    /// And of those whose parameters change.
    pub const CHANGE: u64 = 1 << 2;
}

/// Where fields of the configuration are (5.6.4).
pub mod config {
    /// Request queues.
    pub const NUM_QUEUES: usize = 0;
    /// Most buffers of data of a command.
    pub const SEG_MAX: usize = 4;
    /// Most sectors that one moves.
    pub const MAX_SECTORS: usize = 8;
    /// Most commands with one unit.
    pub const CMD_PER_LUN: usize = 12;
    /// Bytes of an event.
    pub const EVENT_INFO_SIZE: usize = 16;
    /// Bytes of sense data in a response, written by the driver.
    pub const SENSE_SIZE: usize = 20;
    /// Bytes of a command, likewise.
    pub const CDB_SIZE: usize = 24;
    /// Highest channel, target and unit.
    pub const MAX_CHANNEL: usize = 28;
    /// Highest target.
    pub const MAX_TARGET: usize = 30;
    /// Highest unit.
    pub const MAX_LUN: usize = 32;
    /// Bytes of it all.
    pub const LEN: usize = 36;
}

/// Queues.
pub mod queue {
    /// Task management.
    pub const CONTROL: u16 = 0;
    /// Events.
    pub const EVENT: u16 = 1;
    /// The first with commands.
    pub const REQUEST: u16 = 2;
}

/// Responses (5.6.6.1.1, 5.6.6.2).
pub mod response {
    /// The unit has ended the command. Of a function: it is complete.
    pub const OK: u8 = 0;
    /// There is too little memory for the data.
    pub const OVERRUN: u8 = 1;
    /// It was aborted.
    pub const ABORTED: u8 = 2;
    /// There is no such target.
    pub const BAD_TARGET: u8 = 3;
    /// It was ended by a reset.
    pub const RESET: u8 = 4;
    /// Something else.
    pub const FAILURE: u8 = 9;
    /// A query found what it asked for.
    pub const FUNCTION_SUCCEEDED: u8 = 10;
    /// The function is not there.
    pub const FUNCTION_REJECTED: u8 = 11;
    /// There is no such unit.
    pub const INCORRECT_LUN: u8 = 12;
}

/// Kinds of control requests (5.6.6.2).
pub mod control {
    /// Task management function.
    pub const TMF: u32 = 0;
    /// Which notifications there are.
    pub const QUERY: u32 = 1;
    /// Which are wanted.
    pub const SUBSCRIBE: u32 = 2;
}

/// Task management functions.
pub mod tmf {
    /// One command is aborted.
    pub const ABORT_TASK: u32 = 0;
    /// All of a unit's.
    pub const ABORT_TASK_SET: u32 = 1;
    /// All of a unit's, whoever sent them.
    pub const CLEAR_TASK_SET: u32 = 3;
    /// A target is reset.
    pub const I_T_NEXUS_RESET: u32 = 4;
    /// A unit is reset.
    pub const LOGICAL_UNIT_RESET: u32 = 5;
    /// Whether a command is there.
    pub const QUERY_TASK: u32 = 6;
    /// Whether any is.
    pub const QUERY_TASK_SET: u32 = 7;
}

/// Events (5.6.6.3).
pub mod event {
    /// None, for a driver that is told that some were lost.
    pub const NO_EVENT: u32 = 0;
    /// A unit has come or gone.
    pub const TRANSPORT_RESET: u32 = 1;
    /// Some were lost before that.
    pub const MISSED: u32 = 1 << 31;
    /// It has come.
    pub const RESCAN: u32 = 1;
    /// It has gone.
    pub const REMOVED: u32 = 2;
    /// Bytes of an event.
    pub const LEN: usize = 16;
}

/// Bytes of a command's head: unit, id, attributes.
pub const HEAD: usize = 19;
/// Bytes of a command's response before its sense data.
pub const RESPONSE: usize = 12;
/// Bytes of a task management request.
pub const TMF: usize = 24;
/// Bytes of a request about notifications.
pub const NOTIFICATION: usize = 16;
/// Bytes of a command and of sense data, until a driver says otherwise.
pub const CDB_SIZE: u32 = 32;
/// Likewise.
pub const SENSE_SIZE: u32 = 96;
/// Most bytes that a driver can make of these, as in QEMU.
pub const CDB_SIZE_MAX: u32 = 255;
/// Likewise.
pub const SENSE_SIZE_MAX: u32 = 65535;
