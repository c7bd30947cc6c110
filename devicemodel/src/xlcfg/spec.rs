//! The grammar of xl-disk-configuration(5) as libxlu reads it: words between commas, each a key with its value, a flag, a
//! deprecated prefix that another word follows, or one of target, format, vdev and access by position.

use crate::config::ConfigError;

/// A format that xl knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The bytes of the disk.
    Raw,
    /// QEMU's formats, and Microsoft's.
    Qcow,
    Qcow2,
    Qed,
    Vhd,
    /// No medium.
    Empty,
}

impl Format {
    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow => "qcow",
            Format::Qcow2 => "qcow2",
            Format::Qed => "qed",
            Format::Vhd => "vhd",
            Format::Empty => "empty",
        }
    }
}

/// What a text says of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spec {
    /// The image; an empty one is no image.
    pub(super) target: Option<String>,
    format: Option<Format>,
    /// Which drive it is in.
    pub(super) vdev: Option<String>,
    readonly: bool,
    cdrom: bool,
    /// Xen's hotplug script that makes the device.
    pub(super) script: Option<String>,
    /// The domain that has the image.
    pub(super) backend: Option<String>,
    /// Another protocol than Xen's to the PV driver.
    pub(super) virtio: bool,
    /// Words that choose how Xen serves the disk, and say nothing of what is on it.
    pub(super) unused: Vec<&'static str>,
    backendtype: Option<String>,
    /// A prefix was there: there is no format by position then.
    prefixed: bool,
    /// The access was given by position.
    access_given: bool,
}

/// Prefixes from before xl, and the format that each says.
const PREFIXES: &[(&str, Option<Format>)] = &[
    ("raw:", Some(Format::Raw)),
    ("qcow:", Some(Format::Qcow)),
    ("qcow2:", Some(Format::Qcow2)),
    ("vhd:", Some(Format::Vhd)),
    ("tapdisk:", None),
    ("tap:", None),
    ("tap2:", None),
    ("aio:", None),
    ("ioemu:", None),
    ("file:", None),
    ("phy:", None),
];

/// Prefixes that stand for a script of Xen's, `block-` and the name.
const SCRIPTS: &[&str] = &["iscsi:", "nbd:", "enbd:", "drbd:"];

/// Words alone that say nothing of what is on the disk.
const UNUSED: &[&str] =
    &["direct-io-safe", "discard", "no-discard", "trusted", "untrusted", "grant_usage=1", "grant_usage=0"];

fn wrong<T>(word: &str, expected: &str) -> Result<T, ConfigError> {
    Err(ConfigError::value("disk", word, expected))
}

/// Sets what may be said only once; what was empty may be said again.
fn once(what: &str, at: &mut Option<String>, value: &str) -> Result<(), ConfigError> {
    if at.as_deref().is_some_and(|had| !had.is_empty()) {
        return Err(ConfigError::Invalid(format!(
            "disk: the {what} is given twice, '{value}' the second time"
        )));
    }
    *at = Some(value.to_owned());
    Ok(())
}

impl Spec {
    /// Reads the whole text.
    pub(super) fn parse(text: &str) -> Result<Spec, ConfigError> {
        let mut spec = Spec::default();
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches([' ', '\t', '\n']);
            if rest.is_empty() {
                break;
            }
            // The target takes the rest of the text, commas and all.
            if let Some(target) = rest.strip_prefix("target=") {
                once("target", &mut spec.target, target.strip_suffix(',').unwrap_or(target))?;
                break;
            }
            if let Some(after) = spec.prefix(rest)? {
                rest = after;
                continue;
            }
            let (word, after) = rest.split_once(',').unwrap_or((rest, ""));
            spec.word(word)?;
            rest = after;
        }
        spec.whole(text)
    }

    /// A deprecated prefix at the beginning of `rest`; gives what follows it.
    fn prefix<'a>(&mut self, rest: &'a str) -> Result<Option<&'a str>, ConfigError> {
        for (prefix, format) in PREFIXES {
            if let Some(after) = rest.strip_prefix(prefix) {
                self.prefixed = true;
                if let Some(format) = format {
                    self.format_is(*format)?;
                }
                return Ok(Some(after));
            }
        }
        for prefix in SCRIPTS {
            if let Some(after) = rest.strip_prefix(prefix) {
                self.prefixed = true;
                once("script", &mut self.script, &format!("block-{}", prefix.trim_end_matches(':')))?;
                return Ok(Some(after));
            }
        }
        // `name:` before what cannot go on a word was a prefix, too.
        let name = rest.len()
            - rest.trim_start_matches(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).len();
        let (name, after) = rest.split_at(name);
        let goes_on = |after: &str| after.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        match after.strip_prefix(':') {
            Some(after) if name.starts_with(|c: char| c.is_ascii_lowercase()) && !goes_on(after) => {
                wrong(&format!("{name}:"), "a prefix that xl knows, such as phy: or file:, or target=PATH")
            }
            _ => Ok(None),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), ConfigError> {
        if let Some(unused) = UNUSED.iter().find(|unused| **unused == word) {
            self.unused.push(unused);
            return Ok(());
        }
        match word.split_once('=') {
            Some((key, value)) => self.key(word, key, value),
            None if word == "cdrom" => {
                self.cdrom = true;
                Ok(())
            }
            None if matches!(word, "colo" | "no-colo") => {
                self.unused.push("colo");
                Ok(())
            }
            None => self.position(word),
        }
    }

    fn key(&mut self, word: &str, key: &str, value: &str) -> Result<(), ConfigError> {
        match key {
            "format" => return self.format(value),
            "devtype" => {
                self.cdrom = match value {
                    "cdrom" => true,
                    "disk" => false,
                    _ => return Err(ConfigError::value("disk devtype", value, "cdrom or disk")),
                };
            }
            "access" => return self.access(value),
            "backend" => return once("backend", &mut self.backend, value),
            "backendtype" => {
                if !matches!(value, "phy" | "tap" | "qdisk" | "standalone") {
                    return Err(ConfigError::value(
                        "disk backendtype",
                        value,
                        "phy, tap, qdisk or standalone",
                    ));
                }
                if self.backendtype.as_deref().is_none_or(|had| had == value) {
                    self.backendtype = Some(value.to_owned());
                    return Ok(());
                }
                return once("backendtype", &mut self.backendtype, value);
            }
            "specification" => match value {
                "xen" => {}
                "virtio" => self.virtio = true,
                _ => return Err(ConfigError::value("disk specification", value, "xen or virtio")),
            },
            "vdev" => return once("vdev", &mut self.vdev, value),
            "script" => return once("script", &mut self.script, value),
            "colo-host" | "colo-export" | "active-disk" | "hidden-disk" | "colo-port" => {
                self.unused.push("colo")
            }
            _ => return wrong(word, "a key that xl knows"),
        }
        Ok(())
    }

    /// Target, format, vdev, access; what keys said already is left out.
    fn position(&mut self, word: &str) -> Result<(), ConfigError> {
        let Some(target) = &self.target else {
            self.target = Some(word.to_owned());
            return Ok(());
        };
        if !self.prefixed && self.format.is_none() {
            // Of an empty drive the format may be left out.
            if target.is_empty() && self.vdev_with_type(word)? {
                self.format = Some(Format::Empty);
                return Ok(());
            }
            return self.format(word);
        }
        if self.vdev.is_none() {
            if !self.vdev_with_type(word)? {
                self.vdev = Some(word.to_owned());
            }
            return Ok(());
        }
        if !self.access_given {
            self.access_given = true;
            return self.access(word);
        }
        wrong(word, "at most target, format, vdev, access")
    }

    /// `hdc:cdrom`; whether it is of that form.
    fn vdev_with_type(&mut self, word: &str) -> Result<bool, ConfigError> {
        let Some((vdev, kind)) = word.rsplit_once(':') else { return Ok(false) };
        once("vdev", &mut self.vdev, vdev)?;
        self.cdrom = match kind {
            "cdrom" => true,
            "disk" => false,
            _ => {
                return Err(ConfigError::value(
                    "disk vdev",
                    word,
                    "a drive, or a drive with :cdrom or :disk",
                ));
            }
        };
        Ok(true)
    }

    fn format(&mut self, word: &str) -> Result<(), ConfigError> {
        self.format_is(match word {
            "" | "raw" => Format::Raw,
            "qcow" => Format::Qcow,
            "qcow2" => Format::Qcow2,
            "qed" => Format::Qed,
            "vhd" => Format::Vhd,
            "empty" => Format::Empty,
            _ => return Err(ConfigError::value("disk format", word, "raw, qcow2 or empty")),
        })
    }

    fn format_is(&mut self, format: Format) -> Result<(), ConfigError> {
        if self.format.is_some_and(|had| had != format) {
            return Err(ConfigError::Invalid(format!(
                "disk: the format is given twice, '{}' the second time",
                format.name()
            )));
        }
        self.format = Some(format);
        Ok(())
    }

    fn access(&mut self, word: &str) -> Result<(), ConfigError> {
        self.readonly = match word {
            "ro" | "r" => true,
            "rw" | "w" | "" => false,
            _ => return Err(ConfigError::value("disk access", word, "ro or rw")),
        };
        Ok(())
    }

    /// What must be there in the end.
    fn whole(self, text: &str) -> Result<Spec, ConfigError> {
        if self.vdev.is_none() {
            return Err(ConfigError::Invalid(format!(
                "disk: '{text}' names no drive: xl wants target, format, vdev, access"
            )));
        }
        if self.target.is_none() && !self.cdrom {
            return Err(ConfigError::Invalid(format!("disk: '{text}' names no image")));
        }
        Ok(self)
    }

    /// Disk or CD.
    pub(super) fn is_cdrom(&self) -> bool {
        self.cdrom
    }

    /// A CD's is read-only whatever was said.
    pub(super) fn is_readonly(&self) -> bool {
        self.readonly || self.cdrom
    }

    /// Raw where none was said, and empty a CD drive without an image.
    pub(super) fn format_or_raw(&self) -> Format {
        let nothing = self.target.as_deref().is_none_or(str::is_empty);
        if self.cdrom && nothing { Format::Empty } else { self.format.unwrap_or(Format::Raw) }
    }
}

#[cfg(test)]
mod tests;
