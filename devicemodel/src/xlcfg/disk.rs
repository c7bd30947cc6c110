//! xl-disk-configuration(5): `target, format, vdev, access` by position, or `key=value`, or a mixture.

use crate::config::{ConfigError, DiskConfig, DiskFormat, DiskKind};

/// Reads one disk; what means nothing here is added to `warnings`.
pub(super) fn parse(text: &str, warnings: &mut Vec<String>) -> Result<DiskConfig, ConfigError> {
    let mut disk = DiskConfig::default();
    let mut position = 0;
    let mut rest = text;
    let mut vdev = None;
    while !rest.is_empty() {
        let (part, after) = rest.split_once(',').unwrap_or((rest, ""));
        let word = part.trim();
        match word.split_once('=') {
            // The target takes the rest of the text, commas and all.
            Some(("target", _)) => {
                let target = rest.trim_start().trim_start_matches("target=");
                target_is(&mut disk, target.trim());
                break;
            }
            Some((key, value)) if is_key(key) => option(&mut disk, key, Some(value), &mut vdev, warnings)?,
            _ if is_flag(word) => option(&mut disk, word, None, &mut vdev, warnings)?,
            _ => {
                match position {
                    0 => {
                        let target = deprecated_prefix(word, &mut disk.format);
                        target_is(&mut disk, target);
                    }
                    1 if !word.is_empty() => disk.format = Some(format(word)?),
                    2 if !word.is_empty() => vdev = Some(word.to_owned()),
                    3 if !word.is_empty() => access(&mut disk, word)?,
                    1..=3 => {}
                    _ => {
                        return Err(ConfigError::value("disk", word, "at most target, format, vdev, access"));
                    }
                }
                position += 1;
            }
        }
        rest = after;
    }
    if let Some(vdev) = vdev {
        place(&mut disk, &vdev)?;
    }
    if disk.kind == DiskKind::Cdrom {
        disk.readonly = true;
    } else if disk.path.is_none() {
        return Err(ConfigError::Invalid(format!("disk: '{text}' names no image")));
    }
    Ok(disk)
}

fn target_is(disk: &mut DiskConfig, target: &str) {
    disk.path = (!target.is_empty()).then(|| target.into());
}

/// `file:`, `phy:`, `tap:aio:` and their like, from times when the path said how to open it.
fn deprecated_prefix<'a>(word: &'a str, given: &mut Option<DiskFormat>) -> &'a str {
    let mut target = word;
    for (prefix, format) in [
        ("tap2:", None),
        ("tap:", None),
        ("aio:", Some(DiskFormat::Raw)),
        ("raw:", Some(DiskFormat::Raw)),
        ("qcow2:", Some(DiskFormat::Qcow2)),
        ("file:", Some(DiskFormat::Raw)),
        ("phy:", Some(DiskFormat::Raw)),
    ] {
        if let Some(rest) = target.strip_prefix(prefix) {
            target = rest;
            *given = format.or(*given);
        }
    }
    target
}

fn is_key(key: &str) -> bool {
    matches!(
        key,
        "format" | "vdev" | "access" | "devtype" | "backendtype" | "backend" | "script" | "colo-host"
    )
}

fn is_flag(word: &str) -> bool {
    matches!(word, "cdrom" | "direct-io-safe" | "discard" | "no-discard" | "empty")
}

fn option(
    disk: &mut DiskConfig,
    key: &str,
    value: Option<&str>,
    vdev: &mut Option<String>,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    match (key, value.unwrap_or("")) {
        ("format", value) => disk.format = Some(format(value)?),
        ("vdev", value) => *vdev = Some(value.to_owned()),
        ("access", value) => access(disk, value)?,
        ("cdrom", _) | ("devtype", "cdrom") => disk.kind = DiskKind::Cdrom,
        ("devtype", "disk") | ("empty", _) | ("direct-io-safe", _) => {}
        ("devtype", other) => return Err(ConfigError::value("disk devtype", other, "cdrom or disk")),
        _ => warnings.push(format!("disk option '{key}' means nothing here")),
    }
    Ok(())
}

fn format(word: &str) -> Result<DiskFormat, ConfigError> {
    DiskFormat::parse(if word == "aio" { "raw" } else { word })
}

fn access(disk: &mut DiskConfig, word: &str) -> Result<(), ConfigError> {
    disk.readonly = match word {
        "ro" | "r" => true,
        "rw" | "w" => false,
        _ => return Err(ConfigError::value("disk access", word, "ro or rw")),
    };
    Ok(())
}

/// `hda` to `hdd`, and `xvda` to `xvdd`, which are the same drives until a guest brings its own drivers.
fn place(disk: &mut DiskConfig, vdev: &str) -> Result<(), ConfigError> {
    let name = match vdev.split_once(':') {
        Some((name, "cdrom")) => {
            disk.kind = DiskKind::Cdrom;
            name
        }
        _ => vdev,
    };
    let letter = name.strip_prefix("hd").or_else(|| name.strip_prefix("xvd"));
    let slot = match letter {
        Some("a") => 0,
        Some("b") => 1,
        Some("c") => 2,
        Some("d") => 3,
        _ => return Err(ConfigError::value("disk vdev", vdev, "hda to hdd or xvda to xvdd")),
    };
    disk.slot = Some(slot);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> DiskConfig {
        parse(text, &mut Vec::new()).unwrap()
    }

    #[test]
    fn positions_and_keys_say_the_same() {
        let expected = DiskConfig {
            path: Some("/dev/vg/guest".into()),
            format: Some(DiskFormat::Raw),
            slot: Some(0),
            ..DiskConfig::default()
        };
        assert_eq!(read("/dev/vg/guest,raw,hda,rw"), expected);
        assert_eq!(read("format=raw, vdev=hda, access=rw, target=/dev/vg/guest"), expected);
        assert_eq!(read("phy:/dev/vg/guest,,xvda,w"), expected);
        assert_eq!(read("vdev=hda,access=rw,format=raw,target=a,b=c").path, Some("a,b=c".into()));
    }

    #[test]
    fn cds_are_read_only_and_may_be_empty() {
        let cd = read("/root/image.iso,,hdc,cdrom");
        assert_eq!((cd.kind, cd.slot, cd.readonly), (DiskKind::Cdrom, Some(2), true));
        let old = read("file:/root/image.iso,hdc:cdrom,r".replace(",hdc", ",,hdc").as_str());
        assert_eq!((old.kind, old.slot), (DiskKind::Cdrom, Some(2)));
        assert_eq!(read(",raw,hdc,ro,cdrom").path, None);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("a,vmdk,hda", "disk format: 'vmdk'"),
            ("a,raw,hde", "disk vdev: 'hde'"),
            ("a,raw,hda,maybe", "disk access: 'maybe'"),
            (",raw,hda", "names no image"),
            ("a,raw,hda,rw,more", "disk: 'more'"),
        ] {
            let error = parse(text, &mut Vec::new()).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
