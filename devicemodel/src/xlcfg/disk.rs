//! What a disk of xl-disk-configuration(5) is to our machine.

use super::spec::{Format, Spec};
use super::text::Text;
use crate::config::{ConfigError, DiskConfig, DiskFormat, DiskKind};

/// Reads one disk; what means nothing here is added to `warnings`.
pub(super) fn parse(text: &Text, warnings: &mut Vec<String>) -> Result<DiskConfig, ConfigError> {
    let spec = Spec::parse(text)?;
    // An image that only Xen could reach is not opened as something else.
    if let Some(script) = &spec.script {
        return Err(ConfigError::value("disk script", script, "none: there is no Xen to run it"));
    }
    if let Some(backend) =
        spec.backend.as_deref().filter(|backend| !matches!(*backend, "" | "0" | "Domain-0"))
    {
        return Err(ConfigError::value("disk backend", backend, "none: there are no other domains"));
    }
    if spec.virtio {
        return Err(ConfigError::value("disk specification", "virtio", "xen"));
    }
    warnings.extend(spec.unused.iter().map(|word| format!("disk option '{word}' means nothing here")));
    let format = match spec.format_or_raw() {
        Format::Raw => Some(DiskFormat::Raw),
        Format::Qcow2 => Some(DiskFormat::Qcow2),
        Format::Empty => None,
        other => return Err(ConfigError::value("disk format", other.name(), "raw or qcow2")),
    };
    let path = spec.target.as_deref().filter(|target| !target.is_empty() && format.is_some());
    if path.is_none() && !spec.is_cdrom() {
        return Err(ConfigError::Invalid(format!(
            "disk: '{}' names no image; only a CD drive may be empty",
            &**text
        )));
    }
    let kind = if spec.is_cdrom() { DiskKind::Cdrom } else { DiskKind::Disk };
    Ok(DiskConfig {
        path: path.map(|path| text.path(path)),
        format,
        kind,
        slot: Some(slot(spec.vdev.as_deref().unwrap_or(""))?),
        readonly: spec.is_readonly(),
        ..DiskConfig::default()
    })
}

/// `hda` to `hdd`, `xvda` to `xvdd`, `d0` to `d3`, and the numbers that Xen has for them (xen-vbd-interface(7)): the
/// same drives until a guest brings its own drivers.
fn slot(vdev: &str) -> Result<u8, ConfigError> {
    match vdev {
        "hda" | "xvda" | "d0" | "768" | "0x300" | "51712" | "0xca00" => Ok(0),
        "hdb" | "xvdb" | "d1" | "832" | "0x340" | "51728" | "0xca10" => Ok(1),
        "hdc" | "xvdc" | "d2" | "5632" | "0x1600" | "51744" | "0xca20" => Ok(2),
        "hdd" | "xvdd" | "d3" | "5696" | "0x1640" | "51760" | "0xca30" => Ok(3),
        _ => Err(ConfigError::value("disk vdev", vdev, "hda to hdd or xvda to xvdd")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> DiskConfig {
        parse(&text.into(), &mut Vec::new()).unwrap_or_else(|error| panic!("{text}: {error}"))
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
        assert_eq!(read("phy:/dev/vg/guest,xvda,w"), expected);
        assert_eq!(read("vdev=hda,access=rw,format=raw,target=a,b=c").path, Some("a,b=c".into()));
    }

    #[test]
    fn old_words_say_the_same() {
        for text in
            ["file:/x,hda,w", "phy:/x,hda,w", "tap:aio:/x,hda,w", "ioemu:/x,hda:disk,w", "raw:/x,768,w"]
        {
            assert_eq!(read(text), read("/x,raw,hda,rw"), "{text}");
        }
        assert_eq!(read("tap:qcow2:/x,xvdb,r"), read("/x,qcow2,hdb,ro"));
        for text in ["/x,,hdc:cdrom,r", "file:/x,hdc:cdrom,r", "phy:/x,hdc:cdrom"] {
            assert_eq!(read(text), read("/x,raw,hdc,ro,cdrom"), "{text}");
        }
    }

    #[test]
    fn cds_are_read_only_and_may_be_empty() {
        let cd = read("/root/image.iso,,hdc,cdrom");
        assert_eq!((cd.kind, cd.slot, cd.readonly), (DiskKind::Cdrom, Some(2), true));
        for text in [
            ",hdc:cdrom,r",
            "vdev=hdc,devtype=cdrom,format=empty",
            ",empty,hdc,cdrom",
            ",,hdc,cdrom",
            ",raw,hdc,ro,cdrom",
            "/x,empty,hdc,cdrom",
        ] {
            let cd = read(text);
            assert_eq!((cd.path, cd.kind, cd.slot), (None, DiskKind::Cdrom, Some(2)), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("a,vmdk,hda", "disk format: 'vmdk'"),
            ("a,vhd,hda", "disk format: 'vhd'"),
            ("a,raw,hde", "disk vdev: 'hde'"),
            ("a,raw,hda,maybe", "disk access: 'maybe'"),
            // It would be a disk that may be written.
            ("a,raw,hda,acess=ro", "disk: 'acess=ro'"),
            (",raw,hda", "names no image"),
            (",hda:disk,w", "names no image"),
            ("a,empty,hda", "names no image"),
            ("a,raw,hda,rw,more", "disk: 'more'"),
            ("phy:/x,,xvda,w", "disk access: 'xvda'"),
            ("nbd:/x,hda,w", "disk script: 'block-nbd'"),
            ("a,raw,hda,backend=storage", "disk backend: 'storage'"),
            ("a,raw,hda,specification=virtio", "disk specification: 'virtio'"),
            ("http:/x,hda,w", "disk: 'http:'"),
        ] {
            let error = parse(&text.into(), &mut Vec::new()).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let mut warnings = Vec::new();
        parse(&"a,raw,hda,discard".into(), &mut warnings).unwrap();
        assert_eq!(warnings, ["disk option 'discard' means nothing here"]);
    }
}
