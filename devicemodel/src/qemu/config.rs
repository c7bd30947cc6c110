//! What a QEMU command line says, typed.

use std::path::PathBuf;

use backends::vnc::Options;

use super::boot::Ends;
use super::keyval::Fields;
use super::network::Nics;
use super::objects::{TlsFiles, UserObject};
use crate::config::{
    AudiodevConfig, BootOptions, CacheMode, DiskKind, DumpConfig, Features, NetdevConfig, SerialConfig,
};
use crate::qtest::server::{LogTo, QtestSocket};
use crate::sandbox;

/// Where a saved guest comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A file that was given to us with this number.
    Fd(i32),
    /// A file.
    File(PathBuf),
}

/// A command line of QEMU's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QemuConfig {
    /// `-help` was asked for.
    pub help: bool,
    /// `-device help` and its like: the text to print.
    pub listing: Option<String>,
    /// `-version` was asked for.
    pub version: bool,
    /// `-machine`.
    pub machine: MachineArg,
    /// `-name`.
    pub name: Option<String>,
    /// `-uuid`.
    pub uuid: Option<[u8; 16]>,
    /// `-m`, in MiB.
    pub memory_mib: Option<u64>,
    /// `-object` of secrets, random numbers and memory.
    pub objects: Vec<UserObject>,
    /// `-smp`.
    pub smp: Option<Smp>,
    /// `-boot order=`.
    pub boot: Option<String>,
    /// The rest of `-boot`.
    pub boot_options: BootOptions,
    /// `-bios`.
    pub bios: Option<PathBuf>,
    /// `-kernel`.
    pub kernel: Option<PathBuf>,
    /// `-initrd`.
    pub initrd: Option<PathBuf>,
    /// `-append`.
    pub append: Option<String>,
    /// `-rtc base=`: seconds since 1970; none is the host's time.
    pub rtc_base: Option<u64>,
    /// `-rtc base=localtime`.
    pub localtime: bool,
    /// `-nodefaults`.
    pub nodefaults: bool,
    /// `-nographic`.
    pub nographic: bool,
    /// `-drive`, `-hda`, `-cdrom`, in their order.
    pub drives: Vec<Drive>,
    /// `-snapshot`.
    pub snapshot: bool,
    /// `-device`, in their order.
    pub devices: Vec<DeviceArg>,
    /// `-global`, in their order.
    pub globals: Vec<Global>,
    /// `-usbdevice`, in their order.
    pub usb_devices: Vec<String>,
    /// `-audiodev` and `-audio`.
    pub audiodevs: Vec<AudiodevConfig>,
    /// Cards of `-audio` and `-soundhw`, and where the sound of each goes.
    pub sound_cards: Vec<(String, Option<String>)>,
    /// `-blockdev`, in their order.
    pub blockdevs: Vec<Blockdev>,
    /// `-cpu`.
    pub cpu: Option<String>,
    /// `-icount`.
    pub icount: bool,
    /// `-qtest`.
    pub qtest: Option<QtestSocket>,
    /// `-qtest-log`.
    pub qtest_log: Option<LogTo>,
    /// `-netdev`.
    pub netdevs: Vec<NetdevConfig>,
    /// `-nic` and `-net`.
    pub nics: Nics,
    /// `-vga`.
    pub vga: Option<Vga>,
    /// `-vnc`; none: there is no server.
    pub vnc: Option<VncArg>,
    /// `-k`.
    pub keymap: Option<String>,
    /// `-object filter-dump`.
    pub dumps: Vec<DumpConfig>,
    /// `-object tls-creds-x509`.
    pub tls: Vec<TlsFiles>,
    /// `-chardev`.
    pub chardevs: Vec<Chardev>,
    /// `-mon` and `-qmp`.
    pub monitors: Vec<Mon>,
    /// `-serial`, COM1 first.
    pub serials: Vec<SerialConfig>,
    /// `-debugcon file:`.
    pub debugcon: Option<PathBuf>,
    /// `-S`.
    pub stopped: bool,
    /// `-action`, `-no-shutdown` and `-no-reboot`.
    pub ends: Ends,
    /// `-incoming`.
    pub incoming: Option<Incoming>,
    /// `-pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `-chroot`, `-runas`, `-run-with`, `-sandbox`, and what `-xen-domid-restrict` means for us.
    pub sandbox: sandbox::Options,
    /// `-xen-domid`.
    pub xen_domid: Option<u16>,
    /// `-xen-domid-restrict`.
    pub xen_restrict: bool,
    /// What was taken and changes nothing, each a sentence for the person.
    pub notes: Vec<String>,
    /// Everything that was asked for and is not built, as sentences' parts.
    pub not_built: Vec<String>,
}

/// Which machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MachineKind {
    /// `pc`: i440FX and PIIX3.
    #[default]
    Pc,
    /// `xenfv`: the same with Xen and its platform device.
    XenFv,
    /// `none`: no machine at all, only a monitor that answers questions.
    None,
}

/// `-machine`, `-M`, `-accel`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineArg {
    /// Its type.
    pub kind: MachineKind,
    /// `accel=`: who may run the CPUs, the best first.
    pub accels: Vec<String>,
    /// `max-ram-below-4g=`, in bytes.
    pub max_ram_below_4g: Option<u64>,
    /// `suppress-vmdesc=`.
    pub suppress_vmdesc: bool,
    /// Parts of the PC.
    pub features: Features,
    /// `usb=`.
    pub usb: bool,
    /// `memory-backend=`: the object that is its RAM.
    pub memory_backend: Option<String>,
    /// `pflash0=` and `pflash1=`: the images of the chips of flash memory.
    pub pflash: [Option<String>; 2],
    /// `pcspk-audiodev=`.
    pub speaker: Option<String>,
}

/// `-smp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smp {
    /// vCPUs that are there at the start.
    pub cpus: u32,
    /// vCPUs that there can be.
    pub maxcpus: u32,
}

/// How a drive is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// To the IDE controller.
    Ide,
    /// As a virtio device.
    Virtio,
    /// As flash memory with firmware.
    Pflash,
    /// By a `-device` that names it.
    None,
}

/// `-drive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// `if=`.
    pub interface: Interface,
    /// `index=`, or `bus=` and `unit=`: the place on the controller.
    pub index: Option<u8>,
    /// `id=`.
    pub id: Option<String>,
    /// `file=`.
    pub file: Option<PathBuf>,
    /// `format=`, as it was written.
    pub format: Option<String>,
    /// `media=`.
    pub kind: DiskKind,
    /// `readonly=`.
    pub readonly: bool,
    /// `snapshot=`.
    pub snapshot: bool,
    /// `cache=`.
    pub cache: CacheMode,
    /// What is its device's, and QEMU takes here: `werror=`, `rerror=`, and once `serial=`.
    pub device: Vec<(&'static str, String)>,
}

/// `-device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceArg {
    /// The model.
    pub driver: String,
    /// `id=`.
    pub id: Option<String>,
    /// The other properties.
    pub props: Fields,
}

/// `-global`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// The model.
    pub driver: String,
    /// The property.
    pub property: String,
    /// Its value.
    pub value: String,
}

/// `-blockdev`: a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blockdev {
    /// `node-name=`.
    pub name: String,
    /// Its format; none: it is the file itself.
    pub format: Option<String>,
    /// Where its bytes are.
    pub source: BlockSource,
    /// `read-only=`.
    pub readonly: bool,
    /// `cache.`.
    pub cache: CacheMode,
}

/// Where the bytes of a node are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockSource {
    /// In a file.
    File(PathBuf),
    /// In another node.
    Node(String),
}

/// `-vga`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vga {
    /// There is none.
    None,
    /// The standard VGA.
    Std,
    /// A GD5446.
    Cirrus,
    /// One with a virtio GPU in it.
    Virtio,
}

/// `-vnc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VncArg {
    /// Where it listens, and whom it serves.
    pub options: Options,
    /// `tls-creds=`: the object whose certificates are used, and which clients must encrypt with.
    pub tls_creds: Option<String>,
}

/// A socket to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAt {
    /// A unix socket that we make.
    Path(PathBuf),
    /// A listening socket that was given to us with this number.
    Fd(i32),
    /// A unix socket on which the client listens.
    Peer(PathBuf),
}

/// Where a line leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChardevTarget {
    /// To what a serial port can lead to.
    Serial(SerialConfig),
    /// To a listening socket that was given to us with this number.
    Fd(i32),
}

/// `-chardev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chardev {
    /// `id=`.
    pub id: String,
    /// Where it leads.
    pub target: ChardevTarget,
    /// `reconnect=`: a connection that failed or ended is tried again after so many seconds; 0: it is not.
    pub reconnect: u32,
    /// `reconnect-ms=`: likewise in milliseconds, where it is not in seconds.
    pub reconnect_ms: u64,
}

/// `-mon`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mon {
    /// `chardev=`: the line on which it speaks QMP.
    pub chardev: String,
}
