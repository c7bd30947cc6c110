//! The command line that starts a [`Setup`], in QEMU's words: the same for QEMU and for Ailurus.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::LazyLock;

use crate::case::{Disk, Setup};
use crate::machine::RAM_MIB;

/// Where COM2, the agent's line, leads.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    /// Nowhere: no agent is there.
    Null,
    /// To a unix socket that somebody listens on.
    Socket(&'a Path),
}

/// The socket in the machine's folder where it waits for who wants to be at COM1's line.
pub const COM1_SOCKET: &str = "com1";

/// In a setup's words: the machine's folder.
pub const FOLDER: &str = "@folder@";

/// Bytes of an image that hold the pattern; those beyond are zero. A case that needs a large disk reads near its
/// beginning or writes first.
pub const PATTERN_MAX: u64 = 16 << 20;

/// What a path or a text is inside a value of several fields: QEMU doubles commas there.
fn field(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Makes the setup's images in `folder` and gives the words that every program is started with: the PC of
/// [`RAM_MIB`] MiB, its firmware, a VGA, the drives, the setup's own words, COM1 to [`COM1_SOCKET`], COM2 to
/// `com2`.
pub fn words(setup: &Setup, folder: &Path, firmware: &Path, com2: Line<'_>) -> io::Result<Vec<OsString>> {
    let ram = RAM_MIB.to_string();
    let mut words: Vec<OsString> =
        ["-machine", "pc", "-m", &ram, "-nodefaults", "-display", "none"].map(OsString::from).into();
    if setup.disks.iter().any(|disk| matches!(disk, Disk::Flash { .. })) {
        let first = format!("if=pflash,unit=0,format=raw,readonly=on,file={}", field(firmware));
        words.extend(["-drive".into(), first.into()]);
    } else {
        words.extend(["-bios".into(), firmware.into()]);
    }
    // There is one VGA, in slot 2.
    if !setup.args.contains(&"cirrus-vga") {
        words.extend(["-device", "VGA"].map(OsString::from));
    }
    words.extend(["-rtc", "base=2026-01-01T12:00:00,clock=vm"].map(OsString::from));
    for disk in setup.disks {
        words.push("-drive".into());
        words.push(drive(*disk, folder)?.into());
    }
    words.extend(setup.args.iter().map(|word| word.replace(FOLDER, &field(folder)).into()));
    let com2 = match com2 {
        Line::Null => "null,id=com2".to_owned(),
        Line::Socket(path) => format!("socket,id=com2,path={}", field(path)),
    };
    let com1 = format!("socket,id=com1,path={},server=on,wait=off", field(&folder.join(COM1_SOCKET)));
    for (name, chardev) in [("chardev:com1", com1), ("chardev:com2", com2)] {
        words.extend(["-chardev", &chardev, "-serial", name].map(OsString::from));
    }
    Ok(words)
}

/// The value of `-drive`, whose image is made.
fn drive(disk: Disk, folder: &Path) -> io::Result<String> {
    let media = match disk {
        Disk::Hard { .. } | Disk::Loose { .. } | Disk::Flash { .. } => "disk",
        Disk::Cd { .. } | Disk::EmptyCd { .. } => "cdrom",
    };
    let (name, mut value) = match disk.slot() {
        None if matches!(disk, Disk::Flash { .. }) => ("flash1".to_owned(), "if=pflash,unit=1".to_owned()),
        Some(slot) => (format!("drive{slot}"), format!("if=ide,index={slot},media={media}")),
        None => ("loose".to_owned(), format!("if=none,id=loose,media={media}")),
    };
    if !disk.is_empty() {
        let path = folder.join(format!("{name}.img"));
        image(&path, disk.len())?;
        value += &format!(",format=raw,file={}", field(&path));
    }
    Ok(value)
}

/// Makes an image file with the pattern of [`Disk::byte`].
fn image(path: &Path, len: u64) -> io::Result<()> {
    // Made once: each case has disks of its own.
    static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| (0..PATTERN_MAX).map(Disk::byte).collect());
    let mut file = File::create(path)?;
    file.write_all(&PATTERN[..len.min(PATTERN_MAX) as usize])?;
    file.set_len(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_hold_the_pattern_and_words_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let disks = &[Disk::Hard { slot: 0, sectors: 9 }, Disk::EmptyCd { slot: 2 }];
        let setup = Setup { disks, args: &["-device", "e1000,x=@folder@/y"] };
        let words = words(&setup, folder.path(), Path::new("/a,b"), Line::Socket(Path::new("/s,t"))).unwrap();
        let text = words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        assert!(
            text.contains(&format!(
                "-drive if=ide,index=2,media=cdrom -device e1000,x={}/y",
                folder.path().display()
            )),
            "{text}"
        );
        assert!(text.contains("-bios /a,b "), "{text}");
        assert!(text.contains("socket,id=com2,path=/s,,t"), "{text}");
        let image = std::fs::read(folder.path().join("drive0.img")).unwrap();
        assert_eq!(image.len(), 9 * 512);
        for (at, byte) in image.iter().enumerate() {
            assert_eq!(*byte, Disk::byte(at as u64), "{at}");
        }
    }

    #[test]
    fn a_large_image_is_mostly_a_hole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        image(&path, 1 << 40).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 40);
    }
}
