//! A disk or CD drive.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Format of an image. Given, never guessed: a guest that can write a header to a raw disk must not choose
/// how the host reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskFormat {
    /// The bytes of the disk.
    #[default]
    Raw,
    /// QEMU's copy-on-write format, version 2 or 3.
    Qcow2,
}

/// What kind of drive it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskKind {
    /// A hard disk.
    #[default]
    Disk,
    /// A CD drive.
    Cdrom,
}

/// What a drive hangs on. In this order they are what comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DiskBus {
    /// The IDE controller, which has four places.
    #[default]
    Ide,
    /// PCI: it is a virtio device of its own.
    Virtio,
    /// A SCSI controller.
    Scsi,
    /// None: it is flash memory below 4 GiB, for firmware.
    Flash,
}

/// How many chips of flash memory there can be.
const FLASH_PLACES: u8 = 2;

/// How the host caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheMode {
    /// The host's page cache; a guest's flush reaches the disk.
    #[default]
    Writeback,
    /// No page cache (O_DIRECT); a guest's flush reaches the disk.
    None,
    /// Every write reaches the disk.
    Writethrough,
    /// Flushes are ignored.
    Unsafe,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskConfig {
    /// The image; none is an empty CD drive.
    #[serde(default, with = "super::path")]
    pub path: Option<PathBuf>,
    /// The name that the monitor knows the drive by, beside that of its place.
    #[serde(default)]
    pub id: Option<String>,
    /// Its format; none was given.
    pub format: Option<DiskFormat>,
    /// Disk or CD.
    pub kind: DiskKind,
    /// What it hangs on.
    #[serde(default)]
    pub bus: DiskBus,
    /// IDE drive 0 to 3: primary master, primary slave, secondary master, secondary slave. Among virtio disks, and among
    /// drives on SCSI, which one; of flash memory the chip, 0 the one with the firmware.
    pub slot: Option<u8>,
    /// The guest may not write.
    pub readonly: bool,
    /// Writes go to a throw-away overlay.
    pub snapshot: bool,
    /// How the host caches.
    pub cache: CacheMode,
}

impl DiskConfig {
    /// QEMU's name of its place: `ide0-hd0`, `ide1-cd0`, `virtio0`, `scsi0-hd0`, `pflash0`.
    pub fn place_name(&self) -> String {
        let kind = if self.kind == DiskKind::Cdrom { "cd" } else { "hd" };
        let slot = self.slot.unwrap_or(0);
        match self.bus {
            DiskBus::Ide => format!("ide{}-{kind}{}", slot / 2, slot % 2),
            DiskBus::Virtio => format!("virtio{slot}"),
            DiskBus::Scsi => format!("scsi0-{kind}{slot}"),
            DiskBus::Flash => format!("pflash{slot}"),
        }
    }

    /// Its place on the IDE controller, if it is there.
    pub fn ide_place(&self) -> Option<u8> {
        self.slot.filter(|_| self.bus == DiskBus::Ide)
    }

    /// The name by which devices name it: its own, or that of its place.
    pub fn name(&self) -> String {
        self.id.clone().unwrap_or_else(|| self.place_name())
    }

    /// A disk with everything as it comes.
    pub fn new(path: impl Into<PathBuf>) -> DiskConfig {
        DiskConfig { path: Some(path.into()), ..DiskConfig::default() }
    }

    /// A CD.
    pub fn cdrom(path: impl Into<PathBuf>) -> DiskConfig {
        DiskConfig { kind: DiskKind::Cdrom, readonly: true, ..DiskConfig::new(path) }
    }

    /// Reads `PATH[,id=NAME][,format=raw|qcow2][,bus=ide|virtio|scsi|pflash][,unit=N][,readonly][,snapshot][,cache=MODE]`. A comma in
    /// the path is written twice.
    pub fn parse(text: &str) -> Result<DiskConfig, ConfigError> {
        let mut parts = split_commas(text).into_iter();
        let path = parts.next().filter(|p| !p.is_empty());
        let path = path.ok_or_else(|| ConfigError::Invalid(format!("disk: '{text}' names no image")))?;
        let mut disk = DiskConfig::new(path);
        for part in parts {
            let (key, value) = part.split_once('=').map_or((part.as_str(), None), |(k, v)| (k, Some(v)));
            disk.option(key, value)?;
        }
        Ok(disk)
    }

    fn option(&mut self, key: &str, value: Option<&str>) -> Result<(), ConfigError> {
        let flag = |value: Option<&str>| match value {
            None | Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(other) => Err(ConfigError::value(&format!("disk option {key}"), other, "on or off")),
        };
        match (key, value) {
            ("id", Some(id)) => self.id = Some(id.to_owned()),
            ("format", Some(format)) => self.format = Some(DiskFormat::parse(format)?),
            ("bus" | "if", Some("ide")) => self.bus = DiskBus::Ide,
            ("bus" | "if", Some("virtio")) => self.bus = DiskBus::Virtio,
            ("bus" | "if", Some("scsi")) => self.bus = DiskBus::Scsi,
            ("bus" | "if", Some("pflash")) => self.bus = DiskBus::Flash,
            ("bus" | "if", Some(other)) => {
                return Err(ConfigError::value("disk option bus", other, "ide, virtio, scsi or pflash"));
            }
            ("unit", Some(unit)) => {
                let slot = unit.parse().ok().filter(|slot| *slot < 4);
                self.slot = Some(slot.ok_or_else(|| ConfigError::value("disk option unit", unit, "0 to 3"))?);
            }
            ("readonly", value) => self.readonly = flag(value)?,
            ("snapshot", value) => self.snapshot = flag(value)?,
            ("cache", Some(mode)) => self.cache = CacheMode::parse(mode)?,
            _ => {
                let known = "id=, format=, bus=, unit=, readonly, snapshot or cache=";
                return Err(ConfigError::value("disk option", key, known));
            }
        }
        Ok(())
    }
}

impl DiskFormat {
    /// Reads `raw` or `qcow2`.
    pub fn parse(text: &str) -> Result<DiskFormat, ConfigError> {
        match text {
            "raw" => Ok(DiskFormat::Raw),
            "qcow2" => Ok(DiskFormat::Qcow2),
            _ => Err(ConfigError::value("disk format", text, "raw or qcow2")),
        }
    }
}

impl CacheMode {
    /// Reads QEMU's words.
    pub fn parse(text: &str) -> Result<CacheMode, ConfigError> {
        match text {
            "writeback" => Ok(CacheMode::Writeback),
            "none" => Ok(CacheMode::None),
            "writethrough" => Ok(CacheMode::Writethrough),
            "unsafe" => Ok(CacheMode::Unsafe),
            _ => Err(ConfigError::value("disk cache", text, "writeback, none, writethrough or unsafe")),
        }
    }
}

/// Splits at single commas; two commas are one in the text.
fn split_commas(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' if chars.next_if_eq(&',').is_none() => parts.push(String::new()),
            _ => parts.iter_mut().next_back().into_iter().for_each(|last| last.push(c)),
        }
    }
    parts
}

/// Gives every disk of that bus the lowest number that no other has.
fn count(disks: &mut [DiskConfig], bus: DiskBus, what: &str) -> Result<(), ConfigError> {
    let there = |disk: &&DiskConfig| disk.bus == bus;
    let mut taken: Vec<u8> = disks.iter().filter(there).filter_map(|disk| disk.slot).collect();
    for disk in disks.iter_mut().filter(|disk| disk.bus == bus && disk.slot.is_none()) {
        let free = (0..=u8::MAX).find(|slot| !taken.contains(slot));
        let slot = free.ok_or_else(|| ConfigError::Invalid(format!("there are too many {what} disks")))?;
        taken.push(slot);
        disk.slot = Some(slot);
    }
    taken.sort_unstable();
    match taken.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(ConfigError::Invalid(format!("two {what} disks ask to be number {}", pair[0]))),
        None => Ok(()),
    }
}

/// Gives every chip of flash memory its place. The first is where the processor begins.
fn count_flash(disks: &mut [DiskConfig]) -> Result<(), ConfigError> {
    let invalid = |why: &str| Err(ConfigError::Invalid(why.into()));
    count(disks, DiskBus::Flash, "pflash")?;
    let flash: Vec<&DiskConfig> = disks.iter().filter(|disk| disk.bus == DiskBus::Flash).collect();
    if flash.iter().any(|disk| disk.slot >= Some(FLASH_PLACES)) {
        return invalid("a PC has two chips of flash memory, pflash units 0 and 1");
    }
    if !flash.is_empty() && flash.iter().all(|disk| disk.slot != Some(0)) {
        return invalid("flash memory: pflash unit 0 is missing, where the firmware begins");
    }
    Ok(())
}

/// Gives every drive one of the four places of the IDE controller: those that ask first, then disks from
/// the first place on and CDs from the third, as a PC is usually built. Virtio disks are counted, and drives
/// on SCSI.
pub(super) fn place(disks: &mut [DiskConfig]) -> Result<(), ConfigError> {
    let mut taken = [false; 4];
    count(disks, DiskBus::Virtio, "virtio")?;
    count(disks, DiskBus::Scsi, "SCSI")?;
    count_flash(disks)?;
    for slot in disks.iter().filter_map(DiskConfig::ide_place) {
        let place = taken.get_mut(usize::from(slot));
        match place {
            Some(place) if !*place => *place = true,
            _ => return Err(ConfigError::Invalid(format!("two disks ask for IDE place {slot}"))),
        }
    }
    for disk in disks.iter_mut().filter(|disk| disk.slot.is_none()) {
        let order = if disk.kind == DiskKind::Cdrom { [2, 3, 1, 0] } else { [0, 1, 2, 3] };
        let free = order.into_iter().find(|slot| !taken[*slot]);
        let slot = free.ok_or_else(|| {
            ConfigError::Invalid("the IDE controller has places for four drives; more were given".into())
        })?;
        taken[slot] = true;
        disk.slot = Some(slot as u8);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_the_path() {
        let disk =
            DiskConfig::parse("a,,b.img,format=qcow2,readonly,snapshot=off,cache=none,unit=3").unwrap();
        let expected = DiskConfig {
            path: Some("a,b.img".into()),
            format: Some(DiskFormat::Qcow2),
            readonly: true,
            cache: CacheMode::None,
            slot: Some(3),
            ..DiskConfig::default()
        };
        assert_eq!(disk, expected);
        for bad in [
            "",
            ",format=raw",
            "a,format=vmdk",
            "a,bus=floppy",
            "a,colour=red",
            "a,unit=4",
            "a,readonly=maybe",
            "a,cache=directsync",
        ] {
            assert!(DiskConfig::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn disks_take_the_first_places_and_cds_the_third() {
        let mut disks = vec![DiskConfig::cdrom("cd"), DiskConfig::new("a"), DiskConfig::new("b")];
        place(&mut disks).unwrap();
        assert_eq!(disks.iter().map(|d| d.slot.unwrap()).collect::<Vec<_>>(), [2, 0, 1]);
        disks[0].slot = Some(0);
        assert!(place(&mut disks).is_err());
    }

    #[test]
    fn flash_memory_has_a_first_chip_and_a_second() {
        let flash = |slots: &[Option<u8>]| {
            let flash =
                |slot: &Option<u8>| DiskConfig { bus: DiskBus::Flash, slot: *slot, ..DiskConfig::new("f") };
            let mut disks: Vec<DiskConfig> = slots.iter().map(flash).collect();
            place(&mut disks).map(|()| disks.iter().map(DiskConfig::place_name).collect::<Vec<_>>())
        };
        assert_eq!(flash(&[Some(1), None]).unwrap(), ["pflash1", "pflash0"]);
        assert!(flash(&[Some(1)]).unwrap_err().to_string().contains("unit 0 is missing"));
        assert!(flash(&[None, None, None]).unwrap_err().to_string().contains("two chips"));
        assert!(flash(&[Some(0), Some(0)]).unwrap_err().to_string().contains("two pflash disks"));
    }
}
