//! What a guest is made of, and the command line that makes it: ours, or QEMU's for comparison.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::place;

/// Who runs the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Ours, at this path.
    Ailurus(PathBuf),
    /// QEMU with its translator, unpacked in this folder.
    Qemu(PathBuf),
}

impl Program {
    /// Ours, unless `AILURUS_CONTROL` is set.
    pub fn chosen() -> Result<Program> {
        if std::env::var_os("AILURUS_CONTROL").is_some() {
            return Program::qemu();
        }
        place::program().map(Program::Ailurus)
    }

    /// The QEMU that `cargo xtask fetch qemu` brought.
    pub fn qemu() -> Result<Program> {
        place::qemu().map(Program::Qemu)
    }

    /// The program, ready to take arguments.
    pub fn command(&self) -> Command {
        match self {
            Program::Ailurus(path) => {
                let mut command = Command::new(path);
                command.env("AILURUS_FIRMWARE_DIR", place::firmware());
                // What a person's own guests were given is theirs to note.
                command.env("XDG_STATE_HOME", place::state());
                command
            }
            Program::Qemu(folder) => {
                let mut command = Command::new(folder.join("usr/bin/qemu-system-x86_64"));
                let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
                let libraries = libraries.map(|part| folder.join(part).display().to_string());
                command.env("LD_LIBRARY_PATH", libraries.join(":"));
                for data in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
                    command.arg("-L").arg(folder.join(data));
                }
                command
            }
        }
    }
}

/// A hard disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The image.
    pub path: PathBuf,
    /// `raw` or `qcow2`.
    pub format: &'static str,
    /// Whether writes are thrown away.
    pub snapshot: bool,
    /// The device that it is in, if that is not a drive on the IDE controller.
    device: Option<String>,
}

/// A model with these properties, if there are any.
fn with(model: &str, properties: &str) -> String {
    if properties.is_empty() { model.to_owned() } else { format!("{model},{properties}") }
}

/// What a guest is made of.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Who runs it.
    pub program: Program,
    memory: u64,
    vcpus: u32,
    disks: Vec<Disk>,
    cdrom: Option<PathBuf>,
    order: Option<&'static str>,
    kernel: Option<(PathBuf, PathBuf, String)>,
    firmware: Option<PathBuf>,
    flash: Vec<(PathBuf, bool)>,
    icount: bool,
    cpu: Option<&'static str>,
    cpu_tier: Option<&'static str>,
    lockstep: Option<String>,
    config: Option<PathBuf>,
    record: Option<PathBuf>,
    cards: Vec<(String, String)>,
    consoles: Vec<PathBuf>,
    viewers: Option<PathBuf>,
    chardevs: Vec<String>,
    devices: Vec<String>,
    served: Vec<(String, String)>,
    shares: Vec<String>,
    sound: Option<String>,
    speaker: bool,
    within: Option<u32>,
}

impl Machine {
    /// One vCPU and 256 MiB, with nothing to boot from.
    pub fn new() -> Result<Machine> {
        Ok(Machine::on(Program::chosen()?))
    }

    /// The same, run by `program`.
    pub fn on(program: Program) -> Machine {
        Machine {
            program,
            memory: 256,
            vcpus: 1,
            disks: Vec::new(),
            cdrom: None,
            order: None,
            kernel: None,
            firmware: None,
            flash: Vec::new(),
            icount: false,
            cpu: None,
            cpu_tier: None,
            lockstep: None,
            config: None,
            record: None,
            cards: Vec::new(),
            consoles: Vec::new(),
            viewers: None,
            chardevs: Vec::new(),
            devices: Vec::new(),
            served: Vec::new(),
            shares: Vec::new(),
            sound: None,
            speaker: false,
            within: None,
        }
    }

    /// RAM in MiB.
    pub fn memory(mut self, mib: u64) -> Machine {
        self.memory = mib;
        self
    }

    /// Number of CPUs.
    pub fn vcpus(mut self, count: u32) -> Machine {
        self.vcpus = count;
        self
    }

    /// A CD, from `build/guests`.
    pub fn cdrom(mut self, name: &str) -> Result<Machine> {
        self.cdrom = Some(place::guest(name)?);
        Ok(self)
    }

    /// What to boot from first: `c` a disk, `d` a CD, `n` the network.
    pub fn boot_from(mut self, order: &'static str) -> Machine {
        self.order = Some(order);
        self
    }

    /// A hard disk.
    pub fn disk(mut self, path: &Path, format: &'static str) -> Machine {
        self.disks.push(Disk { path: path.to_owned(), format, snapshot: false, device: None });
        self
    }

    /// A hard disk whose changes are thrown away.
    pub fn snapshot_of(mut self, path: &Path, format: &'static str) -> Machine {
        self.disks.push(Disk { path: path.to_owned(), format, snapshot: true, device: None });
        self
    }

    /// A virtio disk with these properties (`packed=on,...`, or nothing).
    pub fn virtio_disk(mut self, path: &Path, format: &'static str, properties: &str) -> Machine {
        let device = Some(with("virtio-blk-pci", properties));
        self.disks.push(Disk { path: path.to_owned(), format, snapshot: false, device });
        self
    }

    /// A virtio SCSI host with these properties.
    pub fn scsi_host(self, properties: &str) -> Machine {
        self.device(with("virtio-scsi-pci", properties))
    }

    /// A drive on it: `scsi-hd` or `scsi-cd`, with properties or without.
    pub fn scsi_drive(mut self, path: &Path, format: &'static str, drive: &str) -> Machine {
        let device = Some(drive.to_owned());
        self.disks.push(Disk { path: path.to_owned(), format, snapshot: false, device });
        self
    }

    /// A kernel and its initial RAM disk from `build/guests`, by their common name.
    pub fn kernel(mut self, name: &str, append: &str) -> Result<Machine> {
        let (kernel, initrd) = (format!("{name}.vmlinuz"), format!("{name}.initrd"));
        self.kernel = Some((place::guest(&kernel)?, place::guest(&initrd)?, append.into()));
        Ok(self)
    }

    /// The initial RAM disk of another guest than the kernel's.
    pub fn initrd(mut self, name: &str) -> Result<Machine> {
        let file = place::guest(&format!("{name}.initrd"))?;
        if let Some((_, initrd, _)) = &mut self.kernel {
            *initrd = file;
        }
        Ok(self)
    }

    /// The same initial RAM disk with another archive behind it, which the kernel unpacks too: `folder` is to hold both.
    pub fn initrd_with(mut self, archive: &[u8], folder: &Path) -> Result<Machine> {
        if let Some((_, initrd, _)) = &mut self.kernel {
            let mut both = std::fs::read(&*initrd)?;
            // An archive begins at a multiple of four bytes.
            both.resize(both.len().next_multiple_of(4), 0);
            both.extend(archive);
            *initrd = folder.join("initrd");
            std::fs::write(&*initrd, both)?;
        }
        Ok(self)
    }

    /// A firmware image from `build/guests` in SeaBIOS's stead.
    pub fn firmware(self, name: &str) -> Result<Machine> {
        Ok(self.firmware_at(&place::guest(name)?))
    }

    /// A firmware image in SeaBIOS's stead.
    pub fn firmware_at(mut self, path: &Path) -> Machine {
        self.firmware = Some(path.to_owned());
        self
    }

    /// Another chip of flash memory: the first has the firmware, a second its variables.
    pub fn flash(mut self, path: &Path, writable: bool) -> Machine {
        self.flash.push((path.to_owned(), writable));
        self
    }

    /// OVMF in flash memory, with its variables in the file `vars` of `folder`: new ones, if there is no such file.
    pub fn ovmf(self, folder: &Path) -> Result<Machine> {
        let vars = folder.join("vars");
        if !vars.exists() {
            std::fs::copy(place::guest("ovmf-vars.fd")?, &vars)?;
        }
        Ok(self.flash(&place::guest("ovmf-code.fd")?, false).flash(&vars, true))
    }

    /// Guest time is the count of instructions, and the real-time clock starts at a fixed date.
    pub fn icount(mut self) -> Machine {
        self.icount = true;
        self
    }

    /// The model of its CPUs, as QEMU calls it.
    pub fn cpu(mut self, model: &'static str) -> Machine {
        self.cpu = Some(model);
        self
    }

    /// How its code is run: `1` interpreted, `2` translated.
    pub fn cpu_tier(mut self, tier: &'static str) -> Machine {
        self.cpu_tier = Some(tier);
        self
    }

    /// At chosen instants it says what it is (`--lockstep`).
    pub fn lockstep(mut self, asked: String) -> Machine {
        self.lockstep = Some(asked);
        self
    }

    /// An xl.cfg file that says the rest.
    pub fn config(mut self, file: &Path) -> Machine {
        self.config = Some(file.to_owned());
        self
    }

    /// Everything that reaches its devices is recorded to this file.
    pub fn record(mut self, file: &Path) -> Machine {
        self.record = Some(file.to_owned());
        self
    }

    /// A network card of that model, and where its cable leads (`--net`).
    pub fn card(mut self, model: &str, net: &str) -> Machine {
        self.cards.push((model.to_owned(), net.to_owned()));
        self
    }

    /// A device in QEMU's words (`--device`, `-device`).
    pub fn device(mut self, words: impl Into<String>) -> Machine {
        self.devices.push(words.into());
        self
    }

    /// VNC viewers come in by a socket at that path.
    pub fn viewers(mut self, socket: &Path) -> Machine {
        self.viewers = Some(socket.to_owned());
        self
    }

    /// A virtio console on a socket at that path.
    pub fn console(mut self, socket: &Path) -> Machine {
        self.consoles.push(socket.to_owned());
        self
    }

    /// A device, in QEMU's words, with the line that it names.
    pub fn device_on(mut self, device: &str, chardev: &str) -> Machine {
        self.devices.push(device.to_owned());
        self.chardevs.push(chardev.to_owned());
        self
    }

    /// A device that another process serves, and the socket where that is (`path=PATH[,reconnect-ms=N]`).
    pub fn served(mut self, device: &str, socket: &str) -> Machine {
        self.served.push((device.to_owned(), socket.to_owned()));
        self
    }

    /// A folder that it shares with the guest by that name.
    pub fn share(mut self, folder: &Path, tag: &str) -> Result<Machine> {
        place::virtiofsd()?;
        self.shares.push(format!("{}={tag}", folder.display()));
        Ok(self)
    }

    /// What it plays goes to that file, at so many frames a second.
    pub fn sound(mut self, file: &Path, rate: u32) -> Machine {
        self.sound = Some(format!("wav,id=sound,path={},out.frequency={rate}", file.display()));
        self
    }

    /// Its speaker is heard there, too.
    pub fn speaker(mut self) -> Machine {
        self.speaker = true;
        self
    }

    /// In the network of that process, which has one of its own.
    pub fn within(mut self, process: u32) -> Machine {
        self.within = Some(process);
        self
    }

    /// The command that runs it, with the serial port on its stdin and stdout and the monitor at `monitor`.
    pub fn command(&self, monitor: &Path) -> Result<Command> {
        let mut command = self.program.command();
        match self.program {
            Program::Ailurus(_) => self.ailurus(&mut command, monitor),
            Program::Qemu(_) => self.qemu(&mut command, monitor)?,
        }
        Ok(match self.within {
            Some(process) => within(&command, process),
            None => command,
        })
    }

    fn ailurus(&self, command: &mut Command, monitor: &Path) {
        command.arg("run").args(&self.config);
        command.args(["--hypervisor", "soft", "--serial", "stdio"]);
        let display = self.viewers.as_ref().map(|path| format!("vnc=unix:{}", path.display()));
        command.arg("--display").arg(display.as_deref().unwrap_or("none"));
        command.arg("--memory").arg(self.memory.to_string());
        command.arg("--vcpus").arg(self.vcpus.to_string());
        command.arg("--monitor").arg(format!("unix:{}", monitor.display()));
        if let Some(record) = &self.record {
            command.arg("--record-io").arg(record);
        }
        for (model, net) in &self.cards {
            command.arg("--nic").arg(model).arg("--net").arg(net);
        }
        if self.cards.is_empty() {
            command.args(["--net", "none"]);
        }
        for (index, disk) in self.disks.iter().enumerate() {
            let path = disk.path.display().to_string().replace(',', ",,");
            let snapshot = if disk.snapshot { ",snapshot" } else { "" };
            let id = format!("disk{index}");
            command.arg("--disk").arg(format!("{path},format={},id={id}{snapshot}", disk.format));
            command.args(disk.device.iter().map(|device| format!("--device={device},drive={id}")));
        }
        command.args(self.consoles.iter().map(|path| format!("--console=unix:{}", path.display())));
        command.args(self.chardevs.iter().map(|chardev| format!("--chardev={chardev}")));
        command.args(self.devices.iter().map(|device| format!("--device={device}")));
        for (index, (device, socket)) in self.served.iter().enumerate() {
            command.arg("--chardev").arg(format!("socket,id=served{index},{socket}"));
            command.arg("--device").arg(format!("{device},chardev=served{index}"));
        }
        command.args(self.sound.iter().map(|sound| format!("--audiodev={sound}")));
        command.args(self.speaker.then_some("--speaker=sound"));
        command.args(self.shares.iter().map(|share| format!("--share={share}")));
        if let (false, Ok(program)) = (self.shares.is_empty(), place::virtiofsd()) {
            place::with_packages_of(command, &program);
        }
        if let Some(cdrom) = &self.cdrom {
            command.arg("--cdrom").arg(cdrom);
        }
        if let Some(order) = self.order {
            command.args(["--boot", order]);
        }
        if let Some((kernel, initrd, append)) = &self.kernel {
            command.arg("--kernel").arg(kernel).arg("--initrd").arg(initrd).arg("--append").arg(append);
        }
        if let Some(firmware) = &self.firmware {
            command.arg("--firmware").arg(firmware);
        }
        for (path, writable) in &self.flash {
            let path = path.display().to_string().replace(',', ",,");
            let readonly = if *writable { "" } else { ",readonly" };
            command.arg("--disk").arg(format!("{path},format=raw,bus=pflash{readonly}"));
        }
        if self.icount {
            command.args(["--clock", "icount", "--rtc", "1700000000"]);
        }
        if let Some(model) = self.cpu {
            command.args(["--cpu", model]);
        }
        if let Some(tier) = self.cpu_tier {
            command.args(["--cpu-tier", tier]);
        }
        if let Some(asked) = &self.lockstep {
            // Nothing may be written but what a guest needs.
            command.args(["--sandbox", "off", "--lockstep", asked]);
        }
    }

    fn qemu(&self, command: &mut Command, monitor: &Path) -> Result<()> {
        let ours = self.config.is_some()
            || !self.consoles.is_empty()
            || !self.served.is_empty()
            || !self.shares.is_empty();
        if ours || self.icount || self.cpu_tier.is_some() {
            bail!("QEMU has no counterpart of this test");
        }
        command.args(["-accel", "tcg", "-M", "pc", "-nodefaults", "-display", "none", "-vga", "std"]);
        command.args(["-serial", "stdio"]);
        command.arg("-m").arg(self.memory.to_string());
        command.arg("-smp").arg(self.vcpus.to_string());
        if let Some(model) = self.cpu {
            command.args(["-cpu", model]);
        }
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", monitor.display()));
        if let Some(sound) = &self.sound {
            command.arg("-audiodev").arg(sound);
        }
        for device in &self.devices {
            command.arg("-device").arg(device);
        }
        for (index, (model, net)) in self.cards.iter().enumerate() {
            let net = match net.strip_prefix("tap:") {
                Some(name) => format!("tap,ifname={name},script=no,downscript=no"),
                None => net.clone(),
            };
            command.arg("-netdev").arg(format!("{net},id=net{index}"));
            command.arg("-device").arg(format!("{model},netdev=net{index}"));
        }
        for (index, disk) in self.disks.iter().enumerate() {
            let path = disk.path.display().to_string().replace(',', ",,");
            let snapshot = if disk.snapshot { ",snapshot=on" } else { "" };
            let format = disk.format;
            let place = match &disk.device {
                None => format!("if=ide,index={index}"),
                Some(_) => format!("if=none,id=disk{index}"),
            };
            command.arg("-drive").arg(format!("file={path},format={format},{place}{snapshot}"));
            if let Some(device) = &disk.device {
                command.arg("-device").arg(format!("{device},drive=disk{index}"));
            }
        }
        for chardev in &self.chardevs {
            command.arg("-chardev").arg(chardev);
        }
        for device in &self.devices {
            command.arg("-device").arg(device);
        }
        if let Some(cdrom) = &self.cdrom {
            command.arg("-cdrom").arg(cdrom);
        }
        if let Some(order) = self.order {
            command.args(["-boot", order]);
        }
        if let Some((kernel, initrd, append)) = &self.kernel {
            command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).arg("-append").arg(append);
        }
        if let Some(firmware) = &self.firmware {
            command.arg("-bios").arg(firmware);
        }
        for (path, writable) in &self.flash {
            let path = path.display().to_string().replace(',', ",,");
            let readonly = if *writable { "off" } else { "on" };
            command.arg("-drive").arg(format!("if=pflash,format=raw,file={path},readonly={readonly}"));
        }
        Ok(())
    }
}

/// The same command in the network of a process, whose rights it has there.
fn within(command: &Command, process: u32) -> Command {
    let mut all = Command::new("nsenter");
    all.args(["-t", &process.to_string(), "-U", "-n", "-m", "--preserve-credentials"]);
    all.arg(command.get_program()).args(command.get_args());
    all.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    all
}
