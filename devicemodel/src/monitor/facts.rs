//! What a guest tells the monitor about itself.

/// A line, for `query-chardev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChardevFacts {
    /// `serial0`, `libxl-cmd`, ...
    pub label: String,
    /// As QEMU writes it: `pty:/dev/pts/3`, `file`, `unix:PATH,server=on`. libxl takes a terminal's path
    /// from it.
    pub filename: String,
    /// Somebody in the guest's machine listens.
    pub frontend_open: bool,
}

/// The VNC server, for `query-vnc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VncFacts {
    /// Address.
    pub host: String,
    /// TCP port as text, or the path of a unix socket.
    pub service: String,
    /// `ipv4`, `ipv6`, `unix`.
    pub family: &'static str,
    /// `none`, `vnc`.
    pub auth: &'static str,
    /// Addresses and ports of the clients.
    pub clients: Vec<(String, String)>,
}

/// A place for a vCPU, for `query-cpus-fast` and `query-hotpluggable-cpus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuFacts {
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
pub struct BarFacts {
    /// 0 to 5; 6 is the ROM.
    pub index: u8,
    /// In the I/O space, not in memory.
    pub io: bool,
    /// Where it is now.
    pub address: u64,
    /// In bytes.
    pub size: u64,
}

/// A PCI function, for `query-pci`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciFacts {
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
    /// Windows.
    pub bars: Vec<BarFacts>,
}

/// A drive, for `query-block` and `query-blockstats`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockFacts {
    /// Name of the drive: `ide0-hd0`, or the id that it was given.
    pub device: String,
    /// The medium can be changed.
    pub removable: bool,
    /// The guest has locked the tray.
    pub locked: bool,
    /// The tray is open.
    pub tray_open: bool,
    /// The image, if one is in.
    pub file: Option<String>,
    /// `raw`, `qcow2`.
    pub format: &'static str,
    /// The guest may not write.
    pub readonly: bool,
    /// Bytes and requests so far.
    pub stats: BlockStats,
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
