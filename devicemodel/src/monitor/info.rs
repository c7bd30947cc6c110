//! What a guest tells the monitor about itself, and what the monitor asks of it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use devices::usb::Speed;
use devices_core::net::RxFilter;
use serde::Deserialize;
use serde_json::Value;

/// A line, for `query-chardev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChardevInfo {
    /// `serial0`, `libxl-cmd`, ...
    pub label: String,
    /// As QEMU writes it: `pty:/dev/pts/3`, `file`, `unix:PATH,server=on`. libxl takes a terminal's path
    /// from it.
    pub filename: String,
    /// Somebody in the guest's machine listens.
    pub frontend_open: bool,
}

/// A network card, for `query-rx-filter` and `info network`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicInfo {
    /// Its id, or its model and a number.
    pub name: String,
    /// QEMU's name of its model.
    pub model: &'static str,
    /// The address that it was made with.
    pub mac: [u8; 6],
    /// The cable is in.
    pub link: bool,
    /// The back end that it names.
    pub netdev: Option<String>,
    /// What it lets in.
    pub filter: RxFilter,
}

/// A network's back end, for `info network`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetdevInfo {
    /// Its id.
    pub id: String,
    /// `index=0,type=user,net=10.0.2.0,restrict=off`.
    pub info: String,
}

/// How often and when a guest's new place is announced: `announce-self`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct AnnounceParameters {
    /// Milliseconds to the second round.
    pub initial: u64,
    /// Milliseconds between rounds at most.
    pub max: u64,
    /// How many.
    pub rounds: u64,
    /// By how many milliseconds the time grows.
    pub step: u64,
}

/// The VNC server, for `query-vnc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VncInfo {
    /// Address.
    pub host: String,
    /// TCP port as text, or the path of a unix socket.
    pub service: String,
    /// `ipv4`, `ipv6`, `unix`.
    pub family: &'static str,
    /// `none`, `vnc`.
    pub auth: &'static str,
    /// Clients need a password.
    pub needs_password: bool,
    /// Clients must encrypt.
    pub encrypts: bool,
    /// Where browsers come in (address and port), if they do.
    pub websocket: Option<(String, String)>,
    /// Those who see the screen.
    pub clients: Vec<VncClientInfo>,
}

/// A client of the VNC server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VncClientInfo {
    /// Address.
    pub host: String,
    /// Port.
    pub service: String,
    /// `ipv4`, `ipv6`, `unix`.
    pub family: &'static str,
    /// It speaks by a WebSocket.
    pub websocket: bool,
}

/// A place for a vCPU, for `query-cpus-fast` and `query-hotpluggable-cpus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuInfo {
    /// From 0. Also its socket: a socket has one core with one thread.
    pub index: u32,
    /// It is there.
    pub present: bool,
    /// The id that it was plugged with.
    pub id: Option<String>,
    /// The host's thread that runs it, or the one that serves it.
    pub thread: i32,
}

/// A window of a PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarInfo {
    /// 0 to 5; 6 is the ROM.
    pub index: u8,
    /// In the I/O space, not in memory.
    pub io: bool,
    /// Reads of it have no side effects.
    pub prefetch: bool,
    /// Where it is now; none while it does not answer.
    pub address: Option<u64>,
    /// In bytes.
    pub size: u64,
}

/// A PCI function, for `query-pci`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciInfo {
    /// Device number on bus 0.
    pub slot: u8,
    /// Function.
    pub function: u8,
    /// Name: the id of a device that was added.
    pub id: String,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Class and subclass.
    pub class: u16,
    /// Interrupt pin; 0 is none, 1 INTA.
    pub pin: u8,
    /// Interrupt line, as software wrote it.
    pub irq: u8,
    /// Subsystem's vendor and its id of the subsystem.
    pub subsystem: (u16, u16),
    /// Windows.
    pub bars: Vec<BarInfo>,
}

/// A drive, for `query-block` and `query-blockstats`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockInfo {
    /// Name of the drive: `ide0-hd0`, or the id that it was given.
    pub device: String,
    /// The device: its id, or its path in the object tree.
    pub qdev: String,
    /// The medium can be changed.
    pub removable: bool,
    /// The guest has locked the tray.
    pub locked: bool,
    /// The tray is open.
    pub tray_open: bool,
    /// The image, if one is in.
    pub medium: Option<NodeInfo>,
    /// Whether the guest is stopped for it.
    pub io_status: IoStatus,
    /// Bytes and requests so far.
    pub stats: BlockStats,
}

/// Whether a guest is stopped for a drive (QMP's BlockDeviceIoStatus).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoStatus {
    /// It is not.
    #[default]
    Ok,
    /// The host could not read or write.
    Failed,
    /// The host is full.
    NoSpace,
}

impl IoStatus {
    /// Of a drive that failed.
    pub fn of(no_space: bool) -> IoStatus {
        if no_space { IoStatus::NoSpace } else { IoStatus::Failed }
    }

    /// QMP's word.
    pub fn name(self) -> &'static str {
        match self {
            IoStatus::Ok => "ok",
            IoStatus::Failed => "failed",
            IoStatus::NoSpace => "nospace",
        }
    }
}

/// What went through a drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockStats {
    /// Bytes read.
    pub rd_bytes: u64,
    /// Bytes written.
    pub wr_bytes: u64,
    /// Reads.
    pub rd_operations: u64,
    /// Writes.
    pub wr_operations: u64,
    /// Flushes.
    pub flush_operations: u64,
}

/// An image in use or at hand, for `query-named-block-nodes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its name; those that nobody named begin with `#`.
    pub name: String,
    /// The image's file.
    pub file: String,
    /// `raw`, `qcow2`; `file` for one that has no format yet.
    pub driver: &'static str,
    /// The guest may not write.
    pub readonly: bool,
    /// Bytes that the guest sees.
    pub size: u64,
    /// The host's page cache is passed by.
    pub direct: bool,
    /// Flushes are ignored.
    pub no_flush: bool,
}

/// The machine as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineInfo {
    /// `pc-i440fx-7.2`, `xenfv-4.2`, `none`.
    pub kind: &'static str,
    /// The name without a version that means it too.
    pub alias: Option<&'static str>,
    /// `x86_64`, or `i386` as QEMU's program for Xen is one.
    pub target: &'static str,
    /// The model of its processors.
    pub cpu_type: &'static str,
    /// RAM in bytes.
    pub memory: u64,
    /// RFC 4122 bytes, in the order of the text form.
    pub uuid: [u8; 16],
    /// Its VM generation id, likewise, if it has one.
    pub generation: Option<[u8; 16]>,
    /// Whether it has a screen.
    pub graphics: bool,
}

impl Default for MachineInfo {
    /// No machine.
    fn default() -> MachineInfo {
        MachineInfo {
            kind: "none",
            alias: None,
            target: "i386",
            cpu_type: "qemu32-i386-cpu",
            memory: 0,
            uuid: [0; 16],
            generation: None,
            graphics: false,
        }
    }
}

/// A device, for the object tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Where it is: `/machine/unattached/device[3]`, `/machine/i440fx/ioapic`, `/machine/peripheral/cd`.
    pub path: String,
    /// QEMU's name of the model.
    pub kind: &'static str,
    /// Name, type and value of each property.
    pub properties: Vec<(&'static str, &'static str, Value)>,
    /// How fast it is on USB now.
    pub speed: Option<Speed>,
}

/// Date and time of the guest's clock: year, month (1 to 12), day, hour, minute, second.
pub type ClockInfo = [i64; 6];

/// What is done at a keyboard and a mouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key by its name (QKeyCode) goes down or up.
    Key(String, bool),
    /// The mouse moves by so much.
    Move {
        /// To the right.
        dx: i32,
        /// Down.
        dy: i32,
    },
    /// The pointer is at a place, of 0 to 0x7fff in each axis that is given.
    Place {
        /// From the left.
        x: Option<u16>,
        /// From the top.
        y: Option<u16>,
    },
    /// A button goes down or up.
    Button(Button, bool),
}

impl MouseInfo {
    /// The PC's own.
    pub(crate) const PS2: MouseInfo =
        MouseInfo { name: "QEMU PS/2 Mouse", index: 2, current: true, absolute: false };
}

/// A pointer, for `query-mice`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MouseInfo {
    /// What it is called.
    pub name: &'static str,
    /// Its number.
    pub index: u32,
    /// It is the one that is used.
    pub current: bool,
    /// It takes places.
    pub absolute: bool,
}

/// A button of a mouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Button {
    /// The left one.
    Left,
    /// The middle one.
    Middle,
    /// The right one.
    Right,
    /// One step away from the person.
    WheelUp,
    /// One step towards the person.
    WheelDown,
    /// The fourth.
    Side,
    /// The fifth.
    Extra,
    /// One step to the left.
    WheelLeft,
    /// One step to the right.
    WheelRight,
}

/// A medium that is to be put into a drive.
#[derive(Debug)]
pub struct NewMedium {
    /// Where it is.
    pub source: Source,
    /// `raw`, `qcow2`; raw if nobody said.
    pub format: Option<String>,
    /// The tray opens whatever the guest wants.
    pub force: bool,
}

/// A file of the host.
#[derive(Debug)]
pub enum Source {
    /// To be opened.
    Path(PathBuf),
    /// Open already, and what it is called.
    File(OwnedFd, PathBuf),
}

/// An image that is to be at hand under a name.
#[derive(Debug)]
pub struct NewNode {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: NewNodeKind,
    /// The guest may not write.
    pub readonly: bool,
}

/// A drive that waits for a device: QEMU's `-drive if=none`, and `drive_add`.
#[derive(Debug)]
pub struct NewDrive {
    /// Its id.
    pub name: String,
    /// Format and place of its image; none: it is empty.
    pub image: Option<(String, Source)>,
    /// The guest may not write.
    pub readonly: bool,
}

/// What a new node is.
#[derive(Debug)]
pub enum NewNodeKind {
    /// A file as it is.
    File(Source),
    /// A format over a file that comes with it.
    Format(String, Source),
    /// A format over a node that is there.
    FormatOf(String, String),
}

/// Where a new line leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChardevBackend {
    /// Nowhere.
    Null,
    /// Into a file, written anew.
    File(PathBuf),
    /// Into a file, behind what it has.
    Append(PathBuf),
    /// To a new pseudo-terminal.
    Pty,
    /// To whoever connects to a unix socket.
    Unix(PathBuf),
}

/// What is to become of a guest from now on that ends in some way: the words of `set-action`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Actions {
    /// When it resets itself.
    pub reboot: Option<String>,
    /// When it switches itself off.
    pub shutdown: Option<String>,
    /// When it panics.
    pub panic: Option<String>,
    /// When its watchdog barks.
    pub watchdog: Option<String>,
}
