//! What the keys of an xl.cfg file mean for a guest.

use super::disk;
use super::syntax::{Entry, Value};
use crate::config::{Action, ConfigError, GuestConfig, SerialConfig, parse_uuid};

/// Keys of Xen that ask for what our machine has anyway, when they are on.
const MEANINGLESS: &[&str] = &["acpi", "apic", "pae", "nx", "hap", "hpet", "device_model_version"];

/// Changes `config` by the entries of a file. Each key without meaning is named once in the result.
pub fn apply(entries: &[Entry], config: &mut GuestConfig) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    let mut root = None;
    let mut extra = None;
    for entry in entries {
        let at_line = |error: ConfigError| ConfigError::Invalid(format!("line {}: {error}", entry.line));
        match entry.key.as_str() {
            "root" => root = Some(text(entry).map_err(at_line)?),
            "extra" => extra = Some(text(entry).map_err(at_line)?),
            _ => setting(entry, config, &mut warnings).map_err(at_line)?,
        }
    }
    if config.cmdline.is_empty() {
        let root = root.map(|root| format!("root={root}"));
        config.cmdline = [root, extra].into_iter().flatten().collect::<Vec<_>>().join(" ");
    }
    Ok(warnings)
}

fn setting(entry: &Entry, config: &mut GuestConfig, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    match entry.key.as_str() {
        "name" => config.name = text(entry)?,
        "uuid" => config.uuid = parse_uuid(&text(entry)?)?,
        "memory" => config.memory_mib = number(entry)?,
        "vcpus" => config.vcpus = number(entry)?.try_into().unwrap_or(u32::MAX),
        "boot" => config.boot = text(entry)?,
        "kernel" => config.kernel = Some(text(entry)?.into()),
        "ramdisk" => config.initrd = Some(text(entry)?.into()),
        "cmdline" => config.cmdline = text(entry)?,
        "firmware_override" => config.firmware = Some(text(entry)?.into()),
        "bios" => expect(entry, &["seabios"])?,
        "type" | "builder" => expect(entry, &["hvm"])?,
        "localtime" => config.localtime = number(entry)? != 0,
        "on_poweroff" => config.on_poweroff = Action::parse("on_poweroff", &text(entry)?)?,
        "on_reboot" => config.on_reboot = Action::parse("on_reboot", &text(entry)?)?,
        "on_crash" => config.on_crash = Action::parse("on_crash", &text(entry)?)?,
        "serial" => {
            config.serial = texts(entry)?.iter().map(|s| SerialConfig::parse(s)).collect::<Result<_, _>>()?;
        }
        "disk" => {
            for disk in texts(entry)? {
                config.disks.push(disk::parse(&disk, warnings)?);
            }
        }
        "cdrom" => {
            for path in texts(entry)? {
                config.disks.push(crate::config::DiskConfig::cdrom(path));
            }
        }
        "maxmem" | "maxvcpus" => same_as_now(entry, config, warnings)?,
        key if is_default(key, &entry.value) => {}
        key => warnings.push(format!("line {}: '{key}' means nothing here yet and is ignored", entry.line)),
    }
    Ok(())
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
fn is_default(key: &str, value: &Value) -> bool {
    let on =
        matches!(value, Value::Number(n) if *n != 0) || matches!(value, Value::Text(t) if t == "qemu-xen");
    on && MEANINGLESS.contains(&key)
}

fn expect(entry: &Entry, known: &[&str]) -> Result<(), ConfigError> {
    let found = text(entry)?;
    if known.contains(&found.as_str()) {
        return Ok(());
    }
    Err(ConfigError::value(&entry.key, &found, &known.join(" or ")))
}

fn wrong<T>(entry: &Entry, expected: &str) -> Result<T, ConfigError> {
    let found = match &entry.value {
        Value::Text(text) => format!("'{text}'"),
        Value::Number(number) => number.to_string(),
        Value::List(_) => "a list".into(),
    };
    Err(ConfigError::Invalid(format!("'{}' must be {expected}, not {found}", entry.key)))
}

fn text(entry: &Entry) -> Result<String, ConfigError> {
    match &entry.value {
        Value::Text(text) => Ok(text.clone()),
        _ => wrong(entry, "a string"),
    }
}

/// A number; xl also takes one in quotes.
fn number(entry: &Entry) -> Result<u64, ConfigError> {
    let number = match &entry.value {
        Value::Number(number) => u64::try_from(*number).ok(),
        Value::Text(text) => text.parse().ok(),
        Value::List(_) => None,
    };
    number.map_or_else(|| wrong(entry, "a number that is not negative"), Ok)
}

/// A string, or a list of strings.
fn texts(entry: &Entry) -> Result<Vec<String>, ConfigError> {
    match &entry.value {
        Value::Text(text) => Ok(vec![text.clone()]),
        Value::List(items) => {
            let texts = items.iter().map(|item| match item {
                Value::Text(text) => Ok(text.clone()),
                _ => wrong(entry, "a list of strings"),
            });
            texts.collect()
        }
        Value::Number(_) => wrong(entry, "a string or a list of strings"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xlcfg::parse;

    fn read(text: &str) -> Result<(GuestConfig, Vec<String>), String> {
        let mut config = GuestConfig::default();
        let warnings =
            apply(&parse(text).map_err(|e| e.to_string())?, &mut config).map_err(|e| e.to_string())?;
        config.check().map_err(|e| e.to_string())?;
        Ok((config, warnings))
    }

    #[test]
    fn a_guest_of_xen_is_a_guest_here() {
        let file = "type='hvm'\nname='deb'\nmemory=512\nmaxmem=512\nvcpus=2\nserial='pty'\nboot='dc'\n\
                    disk=['/x/a.img,raw,hda,rw','/x/b.iso,,hdc,cdrom']\nkernel='/k'\nroot='/dev/sda1'\nextra='ro quiet'\n\
                    vif=['bridge=xenbr0']\nacpi=1\non_crash='preserve'\n";
        let (config, warnings) = read(file).unwrap();
        assert_eq!((config.memory_mib, config.vcpus, config.disks.len()), (512, 2, 2));
        assert_eq!(config.cmdline, "root=/dev/sda1 ro quiet");
        assert_eq!(config.serial, [SerialConfig::Pty]);
        assert_eq!(config.on_crash, Action::Preserve);
        assert_eq!(warnings, ["line 12: 'vif' means nothing here yet and is ignored"]);
    }

    #[test]
    fn wrong_values_name_their_line() {
        assert_eq!(
            read("\nmemory = [1]").unwrap_err(),
            "line 2: 'memory' must be a number that is not negative, not a list"
        );
        assert_eq!(read("type='pv'").unwrap_err(), "line 1: type: 'pv' is not known; expected hvm");
        assert!(read("serial='tcp::1'").unwrap_err().contains("stdio, pty"));
        assert!(read("memory=0").unwrap_err().contains("at least 1 MiB"));
    }
}
