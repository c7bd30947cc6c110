//! The table of QEMU's options: which there are, which take a value, and what becomes of them here.

/// What an option means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt {
    /// It says what is so anyway, or what does not matter here.
    Nothing,
    /// Taken, and changes nothing: what the person is told.
    Note(&'static str),
    /// Refused by name; what it would need.
    NotBuilt(&'static str),
    /// `-machine` and `-M`.
    Machine,
    /// `-accel`.
    Accel,
    /// `-enable-kvm`.
    EnableKvm,
    /// `-name`.
    Name,
    /// `-uuid`.
    Uuid,
    /// `-m`.
    Memory,
    /// `-smp`.
    Smp,
    /// `-boot`.
    Boot,
    /// `-bios`.
    Bios,
    /// `-kernel`.
    Kernel,
    /// `-initrd`.
    Initrd,
    /// `-append`.
    Append,
    /// `-rtc`.
    Rtc,
    /// `-nodefaults`.
    NoDefaults,
    /// `-drive`.
    Drive,
    /// `-hda` to `-hdd`: the place.
    HardDisk(u8),
    /// `-cdrom`.
    Cdrom,
    /// `-pflash`.
    Pflash,
    /// `-snapshot`.
    Snapshot,
    /// `-device`.
    Device,
    /// `-netdev`.
    Netdev,
    /// `-net`.
    Net,
    /// `-nic`.
    Nic,
    /// `-audio`.
    Audio,
    /// `-audiodev`.
    Audiodev,
    /// `-soundhw`.
    SoundHw,
    /// `-vga`.
    Vga,
    /// `-usb`.
    Usb,
    /// `-usbdevice`.
    UsbDevice,
    /// `-vnc`.
    Vnc,
    /// `-display`.
    Display,
    /// `-nographic`.
    NoGraphic,
    /// `-k`.
    Keymap,
    /// `-chardev`.
    Chardev,
    /// `-object`.
    Object,
    /// `-mon`.
    Mon,
    /// `-monitor`.
    Monitor,
    /// `-qmp`.
    Qmp,
    /// `-serial`.
    Serial,
    /// `-parallel`.
    Parallel,
    /// `-debugcon`.
    Debugcon,
    /// `-S`.
    Stopped,
    /// `-no-shutdown`.
    NoShutdown,
    /// `-no-reboot`.
    NoReboot,
    /// `-action`.
    Action,
    /// `-watchdog-action`.
    WatchdogAction,
    /// `-no-acpi`.
    NoAcpi,
    /// `-no-hpet`.
    NoHpet,
    /// `-no-fd-bootchk`.
    NoFloppyCheck,
    /// `-overcommit`.
    Overcommit,
    /// `-msg`.
    Msg,
    /// `-incoming`.
    Incoming,
    /// `-pidfile`.
    Pidfile,
    /// `-chroot`.
    Chroot,
    /// `-runas`.
    Runas,
    /// `-run-with`.
    RunWith,
    /// `-sandbox`.
    Sandbox,
    /// `-xen-domid`.
    XenDomid,
    /// `-xen-domid-restrict`.
    XenRestrict,
    /// `-icount`.
    Icount,
    /// `-cpu`.
    Cpu,
    /// `-global`.
    Global,
    /// `-blockdev`.
    Blockdev,
    /// `-qtest`.
    Qtest,
    /// `-qtest-log`.
    QtestLog,
    /// `-readconfig`.
    ReadConfig,
    /// `-help`.
    Help,
    /// `-version`.
    Version,
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name without the dash.
    pub name: &'static str,
    /// What its value is called; none: it takes no value.
    pub value: Option<&'static str>,
    /// What it means.
    pub means: Opt,
    /// For people.
    pub help: &'static str,
}

const fn flag(name: &'static str, means: Opt, help: &'static str) -> Row {
    Row { name, value: None, means, help }
}
const fn with(name: &'static str, value: &'static str, means: Opt, help: &'static str) -> Row {
    Row { name, value: Some(value), means, help }
}
const fn absent_flag(name: &'static str, needs: &'static str) -> Row {
    Row { name, value: None, means: Opt::NotBuilt(needs), help: "not built yet" }
}
const fn absent(name: &'static str, value: &'static str, needs: &'static str) -> Row {
    Row { name, value: Some(value), means: Opt::NotBuilt(needs), help: "not built yet" }
}

/// What is told about `-cpu`.
pub(super) const NO_CPU: &str =
    "-cpu: taken, and changes nothing: the hypervisor decides what its CPUs can do";
const NO_FOLDER: &str = "-L: taken, and changes nothing: firmware is looked for in our own places";

const PROPERTIES: &str = "key=value[,...]";

/// All options, as QEMU 7.2 to 10 and libxl 4.13 to 4.22 have them.
pub const OPTIONS: &[Row] = &[
    // The machine.
    with(
        "machine",
        "TYPE[,key=value...]",
        Opt::Machine,
        "xenfv, pc or none; accel=, acpi=, hpet=, graphics=, max-ram-below-4g=, pcspk-audiodev=",
    ),
    with("M", "TYPE[,key=value...]", Opt::Machine, "the same as -machine"),
    with("accel", "NAME", Opt::Accel, "who runs the CPUs: xen, kvm, tcg (our own CPU) or qtest (nobody)"),
    flag("enable-kvm", Opt::EnableKvm, "the same as -accel kvm"),
    with(
        "cpu",
        "MODEL[,+F][,-F]",
        Opt::Cpu,
        "what the CPUs are; under Xen and with qtest taken, and changes nothing",
    ),
    with("name", "NAME", Opt::Name, "name of the guest"),
    with("uuid", "UUID", Opt::Uuid, "identity of the guest"),
    with("m", "MiB", Opt::Memory, "RAM"),
    with("smp", "N[,maxcpus=N]", Opt::Smp, "CPUs at the start, and at most"),
    with(
        "boot",
        "[order=]LETTERS[,once=LETTERS][,menu=on][,strict=on]",
        Opt::Boot,
        "boot order: letters of a, c, d, n; splash=FILE, splash-time=MS, reboot-timeout=MS",
    ),
    with("bios", "FILE", Opt::Bios, "firmware image"),
    with("L", "FOLDER", Opt::Note(NO_FOLDER), "taken; firmware is looked for in our own places"),
    with("kernel", "FILE", Opt::Kernel, "Linux kernel to boot directly"),
    with("initrd", "FILE", Opt::Initrd, "its initial RAM disk"),
    with("append", "TEXT", Opt::Append, "its command line"),
    with("rtc", "base=utc|localtime|DATE", Opt::Rtc, "what the real-time clock shows first"),
    flag("nodefaults", Opt::NoDefaults, "only the devices that are named"),
    flag("no-user-config", Opt::Nothing, "taken; there is none"),
    flag("no-acpi", Opt::NoAcpi, "no power management and no ACPI tables"),
    flag("no-hpet", Opt::NoHpet, "no HPET; under Xen it is the hypervisor's"),
    flag("no-fd-bootchk", Opt::NoFloppyCheck, "boot from floppies with no mark, too"),
    absent_flag("win2k-hack", "a disk that answers late"),
    flag("S", Opt::Stopped, "the CPUs wait for the monitor's cont"),
    flag("no-shutdown", Opt::NoShutdown, "stay when the guest switches itself off"),
    flag("no-reboot", Opt::NoReboot, "end when the guest resets itself"),
    with(
        "action",
        "[reboot=reset|shutdown][,shutdown=poweroff|pause][,panic=...][,watchdog=...]",
        Opt::Action,
        "what the guest's ends do",
    ),
    with(
        "watchdog-action",
        "reset|shutdown|poweroff|pause|debug|none|inject-nmi",
        Opt::WatchdogAction,
        "what is done when a watchdog's time is over",
    ),
    with("overcommit", "[mem-lock=off][,cpu-pm=off]", Opt::Overcommit, "as it is anyway"),
    absent_flag("mem-prealloc", "memory taken from the host at the start"),
    absent("mem-path", "FILE", "guest memory in a file"),
    with(
        "object",
        "filter-dump,id=ID,netdev=ID,file=FILE[,maxlen=N]|tls-creds-x509,id=ID,dir=DIR,endpoint=server[,verify-peer=off]",
        Opt::Object,
        "what passes a network in a file, or certificates of a server",
    ),
    with("global", "MODEL.KEY=VALUE", Opt::Global, "a property of every -device of a model"),
    absent("set", "GROUP.ID.KEY=VALUE", "properties after the fact"),
    with(
        "icount",
        "[shift=]N|auto[,sleep=on|off]",
        Opt::Icount,
        "guest time counts instructions: one, one nanosecond",
    ),
    absent("fw_cfg", PROPERTIES, "user-made fw_cfg files"),
    absent("acpitable", PROPERTIES, "user-made ACPI tables"),
    absent("smbios", PROPERTIES, "user-made SMBIOS tables"),
    absent("tpmdev", PROPERTIES, "TPM"),
    absent("fsdev", PROPERTIES, "shared folders"),
    absent("virtfs", PROPERTIES, "shared folders"),
    with("readconfig", "FILE", Opt::ReadConfig, "options from a file: groups of KEY = \"VALUE\""),
    absent_flag("preconfig", "configuration by the monitor"),
    // Disks.
    with("drive", PROPERTIES, Opt::Drive, "a disk or CD: file=, if=ide|none, index=, id=, media=, format="),
    with("hda", "FILE", Opt::HardDisk(0), "first disk"),
    with("hdb", "FILE", Opt::HardDisk(1), "second disk"),
    with("hdc", "FILE", Opt::HardDisk(2), "third disk"),
    with("hdd", "FILE", Opt::HardDisk(3), "fourth disk"),
    with("cdrom", "FILE", Opt::Cdrom, "CD, as the third drive"),
    flag("snapshot", Opt::Snapshot, "writes to disks are thrown away at the end"),
    with(
        "blockdev",
        "driver=raw|qcow2|file,node-name=ID,...",
        Opt::Blockdev,
        "an image for -device ...,drive=ID",
    ),
    absent("fda", "FILE", "floppy drive"),
    absent("fdb", "FILE", "floppy drive"),
    absent("sd", "FILE", "SD card"),
    absent("mtdblock", "FILE", "flash memory"),
    with("pflash", "FILE", Opt::Pflash, "flash memory with firmware, or its variables"),
    // Devices.
    with("device", "MODEL[,key=value...]", Opt::Device, "a device"),
    with("netdev", "TYPE,key=value...", Opt::Netdev, "host side of a network card"),
    with(
        "nic",
        "TYPE[,model=MODEL][,mac=MAC][,key=value...]|none",
        Opt::Nic,
        "a network card with its host side",
    ),
    with("net", "nic[,model=MODEL]|TYPE[,key=value...]|none", Opt::Net, "cards and host sides on one hub"),
    with("vga", "std|cirrus|virtio|none", Opt::Vga, "display adapter"),
    flag("usb", Opt::Usb, "the PC's USB controller"),
    with("usbdevice", "tablet|mouse|keyboard", Opt::UsbDevice, "a device on it"),
    with("soundhw", "hda|ac97", Opt::SoundHw, "a sound card"),
    with("audio", "none|wav[,path=PATH][,model=hda|ac97]", Opt::Audio, "where sound goes, and a sound card"),
    with("audiodev", "none,id=ID|wav,id=ID,path=PATH", Opt::Audiodev, "where sound goes"),
    // Tests.
    with("qtest", "unix:PATH|chardev:ID|stdio", Opt::Qtest, "who drives a machine with -accel qtest"),
    with("qtest-log", "FILE|none", Opt::QtestLog, "what is said there; standard error if this is not given"),
    // Screen.
    with(
        "vnc",
        "HOST:DISPLAY[,to=N][,websocket=on|PORT][,tls-creds=ID][,password=on][,share=POLICY][,connections=N][,audiodev=ID]\
         [,reverse=on]|none",
        Opt::Vnc,
        "VNC server",
    ),
    with("display", "none", Opt::Display, "window"),
    flag("nographic", Opt::NoGraphic, "no window"),
    with("k", "LANGUAGE", Opt::Keymap, "keyboard layout of VNC clients"),
    absent("spice", PROPERTIES, "SPICE"),
    absent_flag("sdl", "window"),
    absent_flag("full-screen", "window"),
    // Lines and monitors.
    with("chardev", "TYPE,id=ID[,key=value...]", Opt::Chardev, "a line: socket, pty, file, stdio, null"),
    with("mon", "[chardev=]ID,mode=control", Opt::Mon, "a monitor on a line"),
    with("qmp", "unix:PATH,server=on,wait=off", Opt::Qmp, "a QMP monitor"),
    absent("qmp-pretty", "unix:PATH,server=on,wait=off", "answers of several lines; -qmp"),
    with("monitor", "none", Opt::Monitor, "the monitor for people"),
    with("serial", "pty|stdio|file:PATH|unix:PATH|null|none", Opt::Serial, "a serial port"),
    with("parallel", "none", Opt::Parallel, "a parallel port"),
    with("debugcon", "file:PATH", Opt::Debugcon, "what firmware says on port 0x402"),
    absent("echr", "CODE", "another escape character"),
    // The process.
    with("incoming", "fd:N|file:PATH", Opt::Incoming, "continue a saved guest"),
    with("pidfile", "FILE", Opt::Pidfile, "write the process id there"),
    with("chroot", "FOLDER", Opt::Chroot, "root of this process when it runs"),
    with("runas", "USER|UID:GID", Opt::Runas, "who this process is when it runs"),
    with("run-with", "chroot=FOLDER,user=USER", Opt::RunWith, "the same two in one"),
    with("sandbox", "on|off", Opt::Sandbox, "confine the process when it runs, as -xen-domid-restrict does"),
    with("msg", "timestamp=on", Opt::Msg, "as it is anyway"),
    absent("D", "FILE", "a log file; AILURUS_LOG says what goes to standard error"),
    absent("d", "ITEMS", "QEMU's log; AILURUS_LOG says what goes to standard error"),
    absent("trace", "EVENTS", "QEMU's trace events; AILURUS_LOG says what goes to standard error"),
    absent_flag("daemonize", "going to the background"),
    absent("add-fd", PROPERTIES, "fd sets on the command line"),
    absent_flag("only-migratable", "check for devices that cannot be saved"),
    flag("help", Opt::Help, "this list"),
    flag("h", Opt::Help, "this list"),
    flag("version", Opt::Version, "version"),
    // Xen.
    with("xen-domid", "N", Opt::XenDomid, "the domain to serve"),
    flag("xen-domid-restrict", Opt::XenRestrict, "give up all rights over other domains"),
    absent_flag("xen-attach", "back ends for PV guests"),
];

/// The option of an argument, which begins with one dash or two.
pub fn find(argument: &str) -> Option<&'static Row> {
    let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    OPTIONS.iter().find(|row| row.name == name)
}

/// The list for people.
pub fn help() -> String {
    let mut text = String::from("QEMU's options, as this program takes them:\n");
    for row in OPTIONS {
        let left = format!("-{} {}", row.name, row.value.unwrap_or(""));
        let right = match row.means {
            Opt::NotBuilt(needs) => format!("{}: {needs}", row.help),
            _ => row.help.to_owned(),
        };
        text.push_str(&format!("  {left:<44} {right}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (index, row) in OPTIONS.iter().enumerate() {
            assert!(OPTIONS[..index].iter().all(|other| other.name != row.name), "{}", row.name);
        }
        assert_eq!(find("--xen-domid").unwrap().means, Opt::XenDomid);
        assert!(find("xen-domid").is_none());
        assert!(find("-xen-dom").is_none());
        assert!(help().contains("-usbdevice tablet"));
    }
}
