//! Finds firmware images and checks that they are some.

use std::fs::{self, File};
use std::io::{self, Read};
use std::iter;
use std::path::{Path, PathBuf};

/// SeaBIOS for machines with 256 KiB of BIOS, Debian package `seabios`.
pub const BIOS: &str = "bios-256k.bin";
/// SeaBIOS's VGA BIOS for the standard VGA.
pub const VGA_BIOS: &str = "vgabios-stdvga.bin";
/// OVMF as one image with room for its variables, Debian package `ovmf`.
pub const OVMF: &str = "OVMF.fd";
/// A folder that is searched before all others.
pub const FOLDER_VARIABLE: &str = "AILURUS_FIRMWARE_DIR";

const SMALLEST: u64 = 64 << 10;
const LARGEST: u64 = 16 << 20;

/// Why there is no firmware.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// No folder of the search list has the file.
    #[error(
        "the firmware file {name} was found in none of {searched}: install Debian's package `{}`, \
         or give its folder in {FOLDER_VARIABLE}",
        package(name)
    )]
    Missing {
        /// The file's name.
        name: String,
        /// The folders, separated by commas.
        searched: String,
    },
    /// The file cannot be read.
    #[error("the firmware file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is no firmware.
    #[error("{} is no firmware: {why}", path.display())]
    NotFirmware {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// A checked image.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// Where it was found.
    pub path: PathBuf,
    /// Its bytes. A BIOS ends at 4 GiB in the guest; a VGA BIOS is an option ROM.
    pub image: Vec<u8>,
}

/// The BIOS: the file `explicit`, or else SeaBIOS from the search list.
pub fn bios(explicit: Option<&Path>) -> Result<Firmware, LocateError> {
    let path = match explicit {
        Some(path) => path.to_path_buf(),
        None => find(BIOS)?,
    };
    load(&path, check_bios)
}

/// OVMF, from its folders beside those of the search list.
pub fn ovmf() -> Result<PathBuf, LocateError> {
    find_in(OVMF, &folders().flat_map(beside).collect::<Vec<_>>())
}

/// A folder, and that of Debian's package `ovmf` beside it.
fn beside(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    let ovmf = folder.parent().map(|share| share.join("ovmf"));
    iter::once(folder).chain(ovmf)
}

/// A VGA BIOS or another option ROM by its file name, from the search list.
pub fn option_rom(name: &str) -> Result<Firmware, LocateError> {
    load(&find(name)?, check_option_rom)
}

/// An option ROM that somebody names: that file, or else one of that name from the search list.
pub fn named_option_rom(name: &str) -> Result<Firmware, LocateError> {
    let path = Path::new(name);
    if path.is_file() { load(path, check_option_rom) } else { option_rom(name) }
}

/// The folders searched, first choice first: `AILURUS_FIRMWARE_DIR`, the system's, and what `cargo xtask fetch`
/// unpacked under the current folder or above the program.
pub fn search_list() -> Vec<PathBuf> {
    folders().flat_map(with_network_roms).collect()
}

fn folders() -> impl Iterator<Item = PathBuf> {
    const UNPACKED: &str = "build/root/usr/share/seabios";
    let mut list: Vec<PathBuf> = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from).into_iter().collect();
    list.push("/usr/share/seabios".into());
    list.push("/usr/share/qemu".into());
    list.push(UNPACKED.into());
    if let Ok(program) = std::env::current_exe() {
        list.extend(program.ancestors().skip(1).take(4).map(|folder| folder.join(UNPACKED)));
    }
    list.into_iter()
}

/// A folder, and where Debian's package `ipxe-qemu` lies beside it if it is that of the package `seabios`.
fn with_network_roms(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    let system = folder.ancestors().nth(2).filter(|_| folder.ends_with("share/seabios"));
    let beside = system.map(|system| system.join("lib/ipxe/qemu"));
    iter::once(folder).chain(beside)
}

/// Debian's package that has a file.
fn package(name: &str) -> &'static str {
    match name {
        OVMF => "ovmf",
        name if name.starts_with("pxe-") => "ipxe-qemu",
        _ => "seabios",
    }
}

fn find(name: &str) -> Result<PathBuf, LocateError> {
    find_in(name, &search_list())
}

fn find_in(name: &str, list: &[PathBuf]) -> Result<PathBuf, LocateError> {
    list.iter().map(|folder| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        LocateError::Missing {
            name: name.to_owned(),
            searched: list.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", "),
        }
    })
}

fn load(path: &Path, check: impl Fn(&[u8]) -> Result<(), String>) -> Result<Firmware, LocateError> {
    let unreadable = |source| LocateError::Unreadable { path: path.to_path_buf(), source };
    let mut image = Vec::new();
    if fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    // One byte more than is allowed is read at most, whatever the file turns out to be.
    File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut image)).map_err(unreadable)?;
    match check(&image) {
        Ok(()) => Ok(Firmware { path: path.to_path_buf(), image }),
        Err(why) => Err(LocateError::NotFirmware { path: path.to_path_buf(), why }),
    }
}

/// A BIOS image is whole pieces of 64 KiB, and the processor finds a jump at the reset vector, 16 bytes before its end.
fn check_bios(image: &[u8]) -> Result<(), String> {
    let size = image.len() as u64;
    if size > LARGEST {
        return Err("it is larger than 16 MiB".into());
    }
    if size < SMALLEST || !size.is_multiple_of(SMALLEST) {
        return Err(format!("its size is {size} bytes, no multiple of 64 KiB up to 16 MiB"));
    }
    let vector = image.len() - 16;
    if image.get(vector..).is_some_and(starts_with_jump) {
        Ok(())
    } else {
        Err("there is no jump at the reset vector, 16 bytes before its end".into())
    }
}

/// Whether the code jumps away, perhaps after instructions that only prepare the processor.
fn starts_with_jump(mut code: &[u8]) -> bool {
    loop {
        match code {
            // jmp near, jmp far, jmp short
            [0xe9..=0xeb, ..] => return true,
            // jcc short: OVMF, which is entered in protected mode too
            [0x70..=0x7f, ..] => return true,
            // mov r32, crN; test al, imm8
            [0x0f, 0x20, _, rest @ ..] | [0xa8, _, rest @ ..] => code = rest,
            // nop, cli, cld, operand-size prefix
            [0x90 | 0xfa | 0xfc | 0x66, rest @ ..] => code = rest,
            // invd, wbinvd
            [0x0f, 0x08 | 0x09, rest @ ..] => code = rest,
            _ => return false,
        }
    }
}

/// An option ROM has its signature, its length, and bytes that add up to zero.
fn check_option_rom(image: &[u8]) -> Result<(), String> {
    let [0x55, 0xaa, blocks, ..] = image else {
        return Err("it does not begin with the option ROM signature 55 aa".into());
    };
    let length = usize::from(*blocks) * 512;
    match image.get(..length) {
        None => Err(format!("its header says {length} bytes, but it has {}", image.len())),
        Some(rom) if rom.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 => {
            Err("its checksum is wrong".into())
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bios_image(size: usize, vector: &[u8]) -> Vec<u8> {
        let mut image = vec![0xff; size];
        image[size - 16..size - 16 + vector.len()].copy_from_slice(vector);
        image
    }

    #[test]
    fn real_reset_vectors_pass() {
        // SeaBIOS, U-Boot, an image in the manner of EDK2, and OVMF.
        for vector in [
            &[0xea, 0x5b, 0xe0, 0x00, 0xf0][..],
            &[0xfa, 0xfc, 0xe9, 0x0b, 0xf8],
            &[0x90, 0x90, 0xe9, 0x10, 0x00],
            &[0x0f, 0x20, 0xc0, 0xa8, 0x01, 0x74, 0x05, 0xe9],
        ] {
            check_bios(&bios_image(256 << 10, vector)).unwrap();
        }
    }

    #[test]
    fn ovmf_lies_beside_seabios() {
        let folder = tempfile::tempdir().unwrap();
        let [seabios, ovmf] = ["seabios", "ovmf"].map(|name| folder.path().join(name));
        let list: Vec<PathBuf> = beside(seabios.clone()).collect();
        assert_eq!(list, [seabios, ovmf]);
        let missing = find_in(OVMF, &list).unwrap_err().to_string();
        assert!(missing.contains("Debian's package `ovmf`"), "{missing}");
    }

    #[test]
    fn what_is_no_firmware_gets_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not-firmware");
        for (content, words) in [
            (vec![], "its size is 0 bytes"),
            (b"#!/bin/sh\n".to_vec(), "its size is 10 bytes"),
            (vec![0; 256 << 10], "no jump at the reset vector"),
            (vec![0xff; 96 << 10], "no multiple of 64 KiB"),
            (vec![0xea; (16 << 20) + 1], "larger than 16 MiB"),
        ] {
            fs::write(&path, content).unwrap();
            let error = bios(Some(&path)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains('\n'));
        }
        let error = bios(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
        let error = bios(Some(&folder.path().join("absent"))).unwrap_err();
        assert!(matches!(error, LocateError::Unreadable { .. }));
    }

    #[test]
    fn a_missing_file_names_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let list = [folder.path().to_path_buf(), "/nowhere".into()];
        let error = find_in(BIOS, &list).unwrap_err().to_string();
        assert!(error.contains("`seabios`") && error.contains("/nowhere"), "{error}");
        let error = find_in("pxe-e1000.rom", &list).unwrap_err().to_string();
        assert!(error.contains("`ipxe-qemu`"), "{error}");
        fs::write(folder.path().join(BIOS), b"").unwrap();
        assert_eq!(find_in(BIOS, &list).unwrap(), folder.path().join(BIOS));
    }

    #[test]
    fn network_roms_lie_beside_seabios() {
        let list = |folder: &str| with_network_roms(folder.into()).collect::<Vec<_>>();
        assert_eq!(
            list("r/usr/share/seabios"),
            ["r/usr/share/seabios", "r/usr/lib/ipxe/qemu"].map(PathBuf::from)
        );
        assert_eq!(list("/usr/share/qemu"), [PathBuf::from("/usr/share/qemu")]);
        assert_eq!(list("share/seabios"), ["share/seabios", "lib/ipxe/qemu"].map(PathBuf::from));
        assert!(search_list().contains(&"/usr/lib/ipxe/qemu".into()));
    }

    #[test]
    fn an_option_rom_must_add_up() {
        let mut rom = vec![0; 512];
        rom[..4].copy_from_slice(&[0x55, 0xaa, 1, 0]);
        rom[511] = 0u8.wrapping_sub(0x55u8.wrapping_add(0xaa).wrapping_add(1));
        check_option_rom(&rom).unwrap();
        assert!(check_option_rom(&rom[..100]).unwrap_err().contains("512 bytes"));
        rom[100] ^= 1;
        assert!(check_option_rom(&rom).unwrap_err().contains("checksum"));
        assert!(check_option_rom(b"MZ").unwrap_err().contains("signature"));
    }
}
