//! What the keys of an xl.cfg file mean for a guest.

use std::collections::HashMap;
use std::path::PathBuf;

use devices::chipset::vmgenid;

use super::display::Display;
use super::syntax::{Entry, Value};
use super::text::Text;
use super::{disk, vif};
use crate::config::{Action, ConfigError, DeviceSpec, GuestConfig, SerialConfig, firmware_of, parse_uuid};

/// Keys of Xen that ask for what our machine has anyway, when they are on.
const MEANINGLESS: &[&str] = &["apic", "pae", "nx", "hap", "device_model_version"];

/// Keys of bounds, which mean nothing if they equal what the guest starts with. They may stand before it.
const BOUNDS: &[&str] = &["maxmem", "maxvcpus"];

/// Keys whose value is a number; in the first four a negative one means nothing, in the others it is as good as 1.
const NUMBERS: &[&str] = &[
    "memory",
    "vcpus",
    "maxmem",
    "maxvcpus",
    "acpi",
    "hpet",
    "localtime",
    "usb",
    "usbversion",
    "stdvga",
    "videoram",
];

/// Keys whose value is a list.
const LISTS: &[&str] = &["disk", "vif"];

/// Keys whose value is a string. Without a name or a type there is no guest: those are not among them.
const TEXTS: &[&str] = &[
    "uuid",
    "boot",
    "kernel",
    "ramdisk",
    "cmdline",
    "root",
    "extra",
    "firmware_override",
    "bios",
    "builder",
    "on_poweroff",
    "on_reboot",
    "on_crash",
    "ms_vm_genid",
    "vga",
];

/// Changes `config` by the entries of a file; of a key that stands twice the last counts, as for xl. Each key without
/// meaning is named once in the result.
pub fn apply(entries: &[Entry], config: &mut GuestConfig) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    let mut root = None;
    let mut extra = None;
    let mut display = Display::default();
    let mut usb_version = None;
    let last: HashMap<&str, usize> =
        entries.iter().enumerate().map(|(index, entry)| (entry.key.as_str(), index)).collect();
    let counts = |(index, entry): &(usize, &Entry)| last.get(entry.key.as_str()) == Some(index);
    let (bounds, others): (Vec<&Entry>, Vec<&Entry>) = entries
        .iter()
        .enumerate()
        .filter(counts)
        .map(|(_, entry)| entry)
        .partition(|entry| BOUNDS.contains(&entry.key.as_str()));
    for entry in others.into_iter().chain(bounds) {
        let at_line = |error: ConfigError| ConfigError::Invalid(format!("line {}: {error}", entry.line));
        if let Some(why) = passed_over(entry) {
            warnings.push(format!("line {}: '{}' {why}, and is ignored, as by xl", entry.line, entry.key));
            continue;
        }
        match entry.key.as_str() {
            "root" => root = Some(text(entry).map_err(at_line)?),
            "extra" => extra = Some(text(entry).map_err(at_line)?),
            "vga" => display.vga = Some(text(entry).map_err(at_line)?),
            "stdvga" => display.stdvga = is_on(entry),
            // 0 is as if nobody had said anything.
            "usbversion" => {
                usb_version = Some(number(entry).map_err(at_line)?).filter(|version| *version != 0)
            }
            "videoram" => display.videoram = Some(number(entry).map_err(at_line)?),
            _ => setting(entry, config, &mut warnings).map_err(at_line)?,
        }
    }
    // As libxl has it: of no account where the PC's own controller is asked for.
    let has_usb = config.devices.iter().any(|device| device.model.contains("usb"));
    if let (Some(version), false) = (usb_version, has_usb) {
        config.add_usb_version(version)?;
    }
    display.apply(config)?;
    if config.cmdline.is_empty() {
        let root = root.map(|root| format!("root={root}"));
        config.cmdline = [root, extra].into_iter().flatten().collect::<Vec<_>>().join(" ");
    }
    Ok(warnings)
}

/// Why xl goes on as if an entry was not there: the value is of another kind than its key's.
fn passed_over(entry: &Entry) -> Option<&'static str> {
    let key = &entry.key.as_str();
    let number = NUMBERS.contains(key);
    match &entry.value {
        Value::List(_) if number || TEXTS.contains(key) => Some("is a list but should be a single value"),
        Value::Text(_) if LISTS.contains(key) => Some("is a single value but should be a list"),
        Value::Text(_) if number && entry.added => Some("is a number, which is not added to"),
        Value::Text(text) if number && strtol(text).is_none() => Some("is not a number"),
        _ => None,
    }
}

fn setting(entry: &Entry, config: &mut GuestConfig, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    match entry.key.as_str() {
        "name" => config.name = text(entry)?,
        "uuid" => config.uuid = parse_uuid(&text(entry)?)?,
        "memory" => config.memory_mib = number(entry)?,
        "vcpus" => config.vcpus = number(entry)?.try_into().unwrap_or(u32::MAX),
        "boot" => config.boot = text(entry)?,
        "kernel" => kernel(entry, config, warnings)?,
        "ramdisk" => config.initrd = Some(path(entry)?),
        "cmdline" => config.cmdline = text(entry)?,
        "firmware_override" => config.firmware = Some(path(entry)?),
        "bios" => {
            expect(entry, &["seabios", "ovmf"])?;
            if config.firmware.is_none() && text(entry)?.eq_ignore_ascii_case("ovmf") {
                config.firmware = firmware_of("ovmf")?;
            }
        }
        "type" => expect(entry, &["hvm"])?,
        "builder" => expect(entry, &["hvm", "generic"])?,
        "acpi" => config.features.acpi = is_on(entry),
        "hpet" => config.features.hpet = is_on(entry),
        "localtime" => config.localtime = is_on(entry),
        "on_poweroff" => config.on_poweroff = action(entry, warnings)?,
        "on_reboot" => config.on_reboot = action(entry, warnings)?,
        "on_crash" => config.on_crash = action(entry, warnings)?,
        "serial" => {
            let serial = |text: &Text| SerialConfig::parse(text.utf8()?);
            config.serial = texts(entry).iter().map(serial).collect::<Result<_, _>>()?;
        }
        "disk" => {
            for disk in texts(entry) {
                config.disks.push(disk::parse(&disk, warnings)?);
            }
        }
        "vif" => {
            for (number, text) in texts(entry).iter().enumerate() {
                if let Some(card) = vif::parse(text, number, warnings)? {
                    config.add_card(&card)?;
                }
            }
        }
        "usb" if is_on(entry) => config.add_usb(),
        "usb" => {}
        "usbdevice" => {
            for word in texts(entry) {
                config.add_usb_device(word.utf8()?)?;
            }
        }
        "soundhw" => {
            for word in text(entry)?.split(',').filter(|word| !word.is_empty()) {
                if let Err(error) = config.add_card_of_sound(word, None) {
                    warnings.push(format!("line {}: {error}: it is ignored", entry.line));
                }
            }
        }
        "ms_vm_genid" => match text(entry)?.as_str() {
            "generate" => config.devices.push(DeviceSpec::plain(&vmgenid::model::MODEL)),
            "none" => {}
            other => return Err(ConfigError::value("ms_vm_genid", other, "generate or none")),
        },
        "cdrom" => {
            for text in texts(entry) {
                config.disks.push(crate::config::DiskConfig::cdrom(text.path(&text)));
            }
        }
        "maxmem" | "maxvcpus" => same_as_now(entry, config, warnings)?,
        _ if is_default(entry) => {}
        key => warnings.push(format!("line {}: '{key}' means nothing here yet and is ignored", entry.line)),
    }
    Ok(())
}

/// Old files name Xen's own loader of HVM guests here, which is no kernel; xl warns and ignores it, too.
fn kernel(entry: &Entry, config: &mut GuestConfig, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let path = path(entry)?;
    if path.file_name().is_some_and(|name| name == "hvmloader") {
        let (line, path) = (entry.line, path.display());
        warnings.push(format!("line {line}: kernel '{path}' is Xen's firmware loader and is ignored"));
    } else {
        config.kernel = Some(path);
    }
    Ok(())
}

/// What becomes of a guest that stops. We write no core, and say so.
fn action(entry: &Entry, warnings: &mut Vec<String>) -> Result<Action, ConfigError> {
    let word = text(entry)?;
    let rest = word.strip_prefix("coredump-").filter(|rest| matches!(*rest, "destroy" | "restart"));
    if let Some(rest) = rest {
        warnings.push(format!("line {}: {} writes no core: it is '{rest}' here", entry.line, entry.key));
    }
    Action::parse(&entry.key, rest.unwrap_or(&word))
}

/// Ballooning and hot-plug bounds: fine when they equal what the guest starts with.
fn same_as_now(entry: &Entry, config: &GuestConfig, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let bound = number(entry)?;
    let now = if entry.key == "maxmem" { config.memory_mib } else { config.vcpus.into() };
    if bound != now {
        warnings.push(format!("line {}: '{}' means nothing here yet and is ignored", entry.line, entry.key));
    }
    Ok(())
}

/// Whether a key of Xen's asks for what our machine is anyway.
fn is_default(entry: &Entry) -> bool {
    let on = is_on(entry) || matches!(&entry.value, Value::Text(text) if **text == *"qemu-xen");
    on && MEANINGLESS.contains(&entry.key.as_str())
}

/// One of these words, in any case, as xl takes it.
fn expect(entry: &Entry, known: &[&str]) -> Result<(), ConfigError> {
    let found = text(entry)?;
    if known.iter().any(|word| word.eq_ignore_ascii_case(&found)) {
        return Ok(());
    }
    Err(ConfigError::value(&entry.key, &found, &known.join(" or ")))
}

fn wrong<T>(entry: &Entry, expected: &str) -> Result<T, ConfigError> {
    let found = match &entry.value {
        Value::Text(text) => format!("'{}'", &**text),
        Value::List(_) => "a list".into(),
    };
    Err(ConfigError::Invalid(format!("'{}' must be {expected}, not {found}", entry.key)))
}

fn text(entry: &Entry) -> Result<String, ConfigError> {
    match &entry.value {
        Value::Text(text) => Ok(text.to_string()),
        Value::List(_) => wrong(entry, "a string"),
    }
}

/// A path, as the bytes that stand there.
fn path(entry: &Entry) -> Result<PathBuf, ConfigError> {
    match &entry.value {
        Value::Text(text) => Ok(text.path(text)),
        Value::List(_) => wrong(entry, "a string"),
    }
}

/// A number, in quotes or not.
fn number(entry: &Entry) -> Result<u64, ConfigError> {
    let number = match &entry.value {
        Value::Text(text) => strtol(text).and_then(|number| u64::try_from(number).ok()),
        Value::List(_) => None,
    };
    number.map_or_else(|| wrong(entry, "a number that is not negative"), Ok)
}

/// Whether a number is another one than 0.
fn is_on(entry: &Entry) -> bool {
    matches!(&entry.value, Value::Text(text) if strtol(text).is_some_and(|number| number != 0))
}

/// A number as C's strtol reads one, to the end: hexadecimal after 0x, octal after 0.
fn strtol(text: &str) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, base) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hexadecimal) => (hexadecimal, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // `from_str_radix` would take a second sign.
    let number = digits
        .starts_with(|c: char| c.is_ascii_hexdigit())
        .then(|| i128::from_str_radix(digits, base).ok())??;
    i64::try_from(number.checked_mul(sign)?).ok()
}

/// A string, or the strings that a list begins with: xl looks no further than to the first that is none.
fn texts(entry: &Entry) -> Vec<Text> {
    let items = match &entry.value {
        Value::Text(text) => return vec![text.clone()],
        Value::List(items) => items,
    };
    let text = |item: &Value| match item {
        Value::Text(text) => Some(text.clone()),
        Value::List(_) => None,
    };
    items.iter().map_while(text).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::xlcfg::parse;

    fn read(text: &str) -> Result<(GuestConfig, Vec<String>), String> {
        let mut config = GuestConfig::default();
        let warnings =
            apply(&parse(text).map_err(|e| e.to_string())?, &mut config).map_err(|e| e.to_string())?;
        if config.kernel.is_some() {
            config.check().map_err(|e| e.to_string())?;
        }
        Ok((config, warnings))
    }

    #[test]
    fn a_guest_of_xen_is_a_guest_here() {
        let file = "type='hvm'\nname='deb'\nmemory=512\nmaxmem=512\nvcpus=2\nserial='pty'\nboot='dc'\n\
                    disk=['/x/a.img,raw,hda,rw','/x/b.iso,,hdc,cdrom']\nkernel='/k'\nroot='/dev/sda1'\nextra='ro quiet'\n\
                    vif=['bridge=xenbr0,model=e1000,rate=1Mb/s']\nacpi=1\non_crash='preserve'\n";
        let (config, warnings) = read(file).unwrap();
        assert_eq!((config.memory_mib, config.vcpus, config.disks.len()), (512, 2, 2));
        assert_eq!(config.cmdline, "root=/dev/sda1 ro quiet");
        assert_eq!(config.serial, [SerialConfig::Pty]);
        assert_eq!(config.on_crash, Action::Preserve);
        assert_eq!(warnings, ["vif rate=1Mb/s: the card is not slowed down"]);
    }

    #[test]
    fn old_files_are_read() {
        let file = "kernel = \"/usr/lib/xen-4.4/boot/hvmloader\"\nbuilder='hvm'\nmaxmem = 512\nmemory = '512'\nname = 7\n\
                    on_poweroff = 'destroy'\non_crash = 'coredump-restart'\ndisk = [ 'phy:/a,hda,w' ]\n\
                    disk += [ 'file:/b,hdc:cdrom,r' ]\nextra = 'ro'\nextra += ' quiet'\nacpi=1\n";
        let (config, warnings) = read(file).unwrap();
        assert_eq!((config.kernel, config.memory_mib, config.name.as_str()), (None, 512, "7"));
        assert_eq!(
            (config.on_crash, config.disks.len(), config.cmdline.as_str()),
            (Action::Restart, 2, "ro quiet")
        );
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning.starts_with("line 1: kernel")), "{warnings:?}");
        assert!(
            warnings.iter().any(|warning| warning.starts_with("line 7: on_crash writes no core")),
            "{warnings:?}"
        );
        assert!(read("on_crash='coredump-preserve'").is_err());
    }

    #[test]
    fn what_xl_can_leave_out_of_the_machine_is_left_out() {
        let (config, warnings) = read("acpi=0\nhpet=0\n").unwrap();
        assert_eq!((config.features.acpi, config.features.hpet), (false, false));
        assert_eq!(warnings, Vec::<String>::new());
        assert!(read("acpi=1\nhpet=1\n").unwrap().0.features.hpet);
        assert!(read("acpi='-1'").unwrap().0.features.acpi);
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_counts() {
        let (config, _) = read("memory=64\ndisk=['/a,raw,hda']\nmemory=128\ndisk=['/b,raw,hdb']\n").unwrap();
        assert_eq!((config.memory_mib, config.disks.len(), config.disks[0].slot), (128, 1, Some(1)));
    }

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, number) in [("0x40", 64), ("'0X40'", 64), ("0100", 64), ("' +64'", 64), ("64", 64)] {
            assert_eq!(read(&format!("memory={text}")).unwrap().0.memory_mib, number, "{text}");
        }
        for text in ["'-1'", "'-0x40'"] {
            assert!(read(&format!("memory={text}")).is_err(), "{text}");
        }
        for text in ["'12x'", "08", "'0x'", "'+-1'", "''", "'99999999999999999999'", "'64 '", "'x'"] {
            assert_eq!(ignored(&format!("memory={text}")), "'memory' is not a number", "{text}");
        }
        assert_eq!(ignored("memory=64\nmemory+=1"), "'memory' is a number, which is not added to");
    }

    /// What is said of a file whose last line means nothing.
    fn ignored(text: &str) -> String {
        let (config, warnings) = read(text).unwrap();
        assert_eq!(config, read("").unwrap().0, "{text}");
        let [warning] = warnings.as_slice() else { panic!("{text}: {warnings:?}") };
        let said = warning.strip_suffix(", and is ignored, as by xl").unwrap();
        said.split_once(": ").unwrap().1.to_owned()
    }

    #[test]
    fn what_is_of_another_kind_than_its_key_is_passed_over() {
        for key in
            ["memory", "vcpus", "maxmem", "acpi", "localtime", "boot", "kernel", "uuid", "on_crash", "extra"]
        {
            let said = format!("'{key}' is a list but should be a single value");
            assert_eq!(ignored(&format!("{key}=['2']")), said);
        }
        for key in ["disk", "vif"] {
            let said = format!("'{key}' is a single value but should be a list");
            assert_eq!(ignored(&format!("{key}='model=e1000,raw,hda'")), said);
        }
        // No guest is made without these.
        for text in ["name=['x']", "type=['hvm']", "vcpus='-1'"] {
            assert!(read(text).is_err(), "{text}");
        }
        // Nobody looks at what stands behind something else than a string.
        let (config, warnings) = read("disk=['/a,raw,hda',['/b,raw,hdb'],'/c,raw,hdc']").unwrap();
        assert_eq!((config.disks.len(), warnings.len()), (1, 0));
    }

    #[test]
    fn a_file_in_latin_1_is_read() {
        let mut config = GuestConfig::default();
        let entries = parse(b"# f\xfcr den Gast\nname = 'caf\xe9'\n").unwrap();
        apply(&entries, &mut config).unwrap();
        assert_eq!(config.name, "caf\u{e9}");
    }

    /// It was looked for under the UTF-8 name, which is another file's or nobody's.
    #[test]
    fn a_path_in_latin_1_is_the_bytes_that_stand_there() {
        let read = |file: &[u8]| {
            let mut config = GuestConfig::default();
            let entries = parse(file).map_err(|error| error.to_string())?;
            apply(&entries, &mut config).map_err(|error| error.to_string())?;
            Ok::<_, String>(config)
        };
        let path = |bytes: &[u8]| Some(PathBuf::from(OsStr::from_bytes(bytes)));
        let config = read(
            b"disk = ['/caf\xe9,raw,hda,rw', 'format=raw,vdev=hdb,target=/\xfc,x', '/\xc3\xa9,raw,hdc,rw']\n\
              kernel='/k\xf6'\nramdisk='/r\xe9'\nfirmware_override='/f\xe9'\ncdrom='/c\xe9'\n",
        )
        .unwrap();
        let disks: Vec<_> = config.disks.iter().map(|disk| disk.path.clone()).collect();
        let expected: [&[u8]; 4] = [b"/caf\xe9", b"/\xfc,x", b"/\xc3\xa9", b"/c\xe9"];
        assert_eq!(disks, expected.map(path));
        assert_eq!([config.kernel, config.initrd], [path(b"/k\xf6"), path(b"/r\xe9")]);
        assert_eq!(config.firmware, path(b"/f\xe9"));
        assert_eq!(read(b"firmware_override='/f'\nbios='OVMF'\n").unwrap().firmware, path(b"/f"));
        assert!(read(b"bios='rombios'\n").unwrap_err().contains("seabios or ovmf"));
        // In both, one behind the other, they are no UTF-8 together.
        let config = read(b"kernel='/\xc3\xa9'\nkernel+='\xe9'\n").unwrap();
        assert_eq!(config.kernel, path(b"/\xc3\xa9\xe9"));
        let refusal = read(b"serial='file:/caf\xe9'\n").unwrap_err();
        assert_eq!(refusal, "line 1: 'file:/caf\u{e9}' is not UTF-8, as it must be here");
    }

    #[test]
    fn wrong_values_name_their_line() {
        assert_eq!(read("\nname = [1]").unwrap_err(), "line 2: 'name' must be a string, not a list");
        assert_eq!(read("type='pv'").unwrap_err(), "line 1: type: 'pv' is not known; expected hvm");
        assert!(read("serial='tcp::1'").unwrap_err().contains("stdio, pty"));
        assert!(read("memory=0\nkernel='/k'").unwrap_err().contains("at least 1 MiB"));
    }
}
