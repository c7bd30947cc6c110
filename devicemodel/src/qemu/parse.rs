//! From arguments to a [`QemuConfig`].

use std::ffi::OsString;

use super::objects::{self, Object};
use super::options::{self, Opt, Row};
use super::{QemuConfig, QemuError, Refusal, blockdev, boot, lines, listings, network, readconfig, values};
use crate::config::{AudiodevConfig, parse_uuid};

/// Reads the arguments that follow the program's name. Asking for what is not built is not an error yet:
/// it is collected in [`QemuConfig::not_built`], so that one line can name all of it.
pub fn parse(arguments: &[OsString]) -> Result<QemuConfig, QemuError> {
    let mut parser = Parser::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let bad = |why: &str| QemuError::Bad { option: argument.to_string_lossy().into(), why: why.into() };
        let text = argument.to_str().ok_or_else(|| bad("an argument must be UTF-8"))?;
        let row = options::find(text).ok_or_else(|| match text.strip_prefix('-') {
            Some(_) => bad("invalid option"),
            None => bad("an option begins with a dash; a disk is given with -drive"),
        })?;
        let value = match row.value {
            None => "",
            Some(_) => {
                let value = rest.next().ok_or_else(|| bad("its value is missing"))?;
                value.to_str().ok_or_else(|| bad("its value must be UTF-8"))?
            }
        };
        if row.means != Opt::ReadConfig {
            parser.take(row, text, value)?;
            continue;
        }
        for (option, value) in readconfig::read(value).map_err(|why| bad(&why))? {
            let row =
                options::find(&option).ok_or_else(|| bad(&format!("it has {option}, an invalid option")))?;
            parser.take(row, &option, &value)?;
        }
    }
    parser.finish()
}

#[derive(Default)]
struct Parser {
    config: QemuConfig,
    /// `-serial` may name a `-chardev` that comes later.
    serials: Vec<String>,
    /// So may `-qtest`.
    qtest: Option<String>,
}

impl Parser {
    /// One option of the command line or a file, as it is written there.
    fn take(&mut self, row: &Row, text: &str, value: &str) -> Result<(), QemuError> {
        if let Some(text) = listings::of(row.means, value) {
            self.config.listing.get_or_insert(text);
            return Ok(());
        }
        match self.option(row.means, value) {
            Ok(()) => {}
            Err(Refusal::Bad(why)) => {
                return Err(QemuError::Bad { option: format!("{text} {value}").trim_end().into(), why });
            }
            Err(Refusal::NotBuilt(what)) => {
                let what = format!("-{} {what}", row.name);
                if !self.config.not_built.contains(&what) {
                    self.config.not_built.push(what);
                }
            }
        }
        Ok(())
    }

    fn option(&mut self, option: Opt, value: &str) -> Result<(), Refusal> {
        let config = &mut self.config;
        match option {
            Opt::Nothing => {}
            Opt::Note(why) => config.notes.push(why.into()),
            Opt::Overcommit => values::overcommit(value)?,
            Opt::Msg => values::msg(value)?,
            Opt::NotBuilt(needs) => return Err(Refusal::not_built(format!("({needs})"))),
            Opt::Help => config.help = true,
            Opt::Version => config.version = true,
            Opt::Machine => values::machine(&mut config.machine, value)?,
            Opt::Accel => config.machine.accels.push(values::accel(value)?),
            Opt::EnableKvm => config.machine.accels.push("kvm".into()),
            Opt::Name => config.name = Some(values::name(value)?),
            Opt::Uuid => {
                config.uuid = Some(parse_uuid(value).map_err(|error| Refusal::bad(error.to_string()))?);
            }
            Opt::Memory => config.memory_mib = Some(values::memory(value)?),
            Opt::Smp => config.smp = Some(values::smp(value)?),
            Opt::Boot => boot::boot(&mut config.boot, &mut config.boot_options, value)?,
            Opt::Action => config.ends.read(value)?,
            Opt::WatchdogAction => config.ends.read_watchdog(value)?,
            Opt::Bios => config.bios = Some(values::path(value)?),
            Opt::Kernel => config.kernel = Some(values::path(value)?),
            Opt::Initrd => config.initrd = Some(values::path(value)?),
            Opt::Append => config.append = Some(value.into()),
            Opt::Rtc => (config.rtc_base, config.localtime) = values::rtc(value)?,
            Opt::NoDefaults => config.nodefaults = true,
            Opt::NoAcpi => config.machine.features.acpi = false,
            Opt::NoHpet => config.machine.features.hpet = false,
            Opt::NoFloppyCheck => config.machine.features.floppy_check = false,
            Opt::Snapshot => config.snapshot = true,
            Opt::Stopped => config.stopped = true,
            Opt::NoShutdown => config.ends.stays = true,
            Opt::NoReboot => config.ends.no_reboot = true,
            Opt::NoGraphic => {
                config.nographic = true;
                config.machine.features.graphics = false;
            }
            _ => return self.device_option(option, value),
        }
        Ok(())
    }

    fn device_option(&mut self, option: Opt, value: &str) -> Result<(), Refusal> {
        let config = &mut self.config;
        match option {
            Opt::Drive => config.drives.push(values::drive(value)?),
            Opt::HardDisk(place) => config.drives.push(values::hard_disk(place, value)?),
            Opt::Pflash => config.drives.push(values::pflash(value)?),
            Opt::Cdrom => config.drives.push(values::cdrom(value)?),
            Opt::Device => config.devices.push(values::device(value)?),
            Opt::Global => config.globals.push(values::global(value)?),
            Opt::Blockdev => config.blockdevs.push(blockdev::parse(value)?),
            Opt::Cpu => config.cpu = Some(value.into()),
            Opt::Icount => {
                values::icount(value)?;
                config.icount = true;
            }
            Opt::Qtest => self.qtest = Some(value.into()),
            Opt::QtestLog => config.qtest_log = Some(lines::qtest_log(value)?),
            Opt::Netdev => config.netdevs.push(network::netdev(value)?),
            Opt::Net => network::net(&mut config.nics, value)?,
            Opt::Nic => network::nic(&mut config.nics, value)?,
            Opt::Audio => {
                let (audiodev, card) = AudiodevConfig::with_card(value)?;
                config.sound_cards.extend(card.map(|card| (card, Some(audiodev.id.clone()))));
                config.audiodevs.insert(0, audiodev);
            }
            Opt::Audiodev => config.audiodevs.push(AudiodevConfig::parse(value)?),
            Opt::SoundHw => {
                config.sound_cards.extend(value.split(',').map(|card| (card.to_owned(), None)));
            }
            Opt::Usb => config.machine.usb = true,
            Opt::UsbDevice => {
                config.machine.usb = true;
                config.usb_devices.push(values::usb_device(value)?);
            }
            Opt::Vga => config.vga = Some(values::vga(value)?),
            Opt::Vnc => config.vnc = values::vnc(value)?,
            Opt::Display => values::display(value)?,
            Opt::Keymap => config.keymap = Some(values::keymap(value)?),
            Opt::Chardev => config.chardevs.push(lines::chardev(value)?),
            Opt::Object => match objects::object(value)? {
                Object::Dump(dump) => config.dumps.push(dump),
                Object::Tls(files) => config.tls.push(files),
                Object::Shared(object) => config.objects.push(object),
            },
            Opt::Mon => config.monitors.push(lines::mon(value)?),
            Opt::Qmp => {
                let (chardev, mon) = lines::qmp(value, config.monitors.len())?;
                config.chardevs.push(chardev);
                config.monitors.push(mon);
            }
            Opt::Monitor => lines::no_line(value, "the monitor for people")?,
            Opt::Parallel => lines::no_line(value, "parallel port")?,
            Opt::Serial => self.serials.push(value.into()),
            Opt::Debugcon => config.debugcon = Some(lines::debugcon(value)?),
            Opt::Incoming => config.incoming = Some(values::incoming(value)?),
            Opt::Pidfile => config.pidfile = Some(values::path(value)?),
            Opt::Chroot => config.sandbox.chroot = Some(values::path(value)?),
            Opt::Runas => config.sandbox.user = Some(values::user(value)?),
            Opt::RunWith => values::run_with(&mut config.sandbox, value)?,
            Opt::Sandbox => config.sandbox.confine = values::sandbox(value)?,
            Opt::XenDomid => config.xen_domid = Some(values::domid(value)?),
            Opt::XenRestrict => {
                config.xen_restrict = true;
                config.sandbox.confine = true;
            }
            // The options above this function's.
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<QemuConfig, QemuError> {
        for (index, text) in self.serials.iter().enumerate() {
            match lines::serial(text, &self.config.chardevs) {
                Ok(line) => self.config.serials.push(line),
                Err(Refusal::NotBuilt(what)) => self.config.not_built.push(format!("-serial {what}")),
                Err(Refusal::Bad(why)) => {
                    return Err(QemuError::Bad { option: format!("-serial {text} (port {index})"), why });
                }
            }
        }
        if let Some(text) = &self.qtest {
            match lines::qtest(text, &self.config.chardevs) {
                Ok(place) => self.config.qtest = Some(place),
                Err(Refusal::NotBuilt(what)) => self.config.not_built.push(format!("-qtest {what}")),
                Err(Refusal::Bad(why)) => {
                    return Err(QemuError::Bad { option: format!("-qtest {text}"), why });
                }
            }
        }
        Ok(self.config)
    }
}
