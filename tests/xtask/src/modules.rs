//! Kernel modules and what they need, in the order in which they must be loaded.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What a guest with an IDE disk and an ext4 root needs. The checksum modules are asked for by name at run time
/// (the kernel's soft dependencies), so they come first.
pub const DISK: [&str; 9] = [
    "crc32c_generic",
    "crct10dif_generic",
    "crc64_rocksoft_generic",
    "libcrc32c",
    "ata_piix",
    "ata_generic",
    "sd_mod",
    "sr_mod",
    "ext4",
];

/// Network cards, those that the cloud kernel has no drivers for among them, and VLANs.
pub const NETWORK: [&str; 7] = ["e1000", "e1000e", "8139cp", "8139too", "ne2k_pci", "af_packet", "8021q"];

/// A GPU, which the cloud kernel has no driver for.
pub const GRAPHICS: [&str; 2] = ["virtio_pci", "virtio_gpu"];

/// What calculates in vector registers and is tried by the kernel against known answers, or measured, when it is loaded.
/// The modes of operation come first, as the ciphers' own are tried by them.
pub const VECTORS: [&str; 24] = [
    "xor",
    "raid6_pq",
    "ctr",
    "ecb",
    "cts",
    "xts",
    "gcm",
    "ccm",
    "chacha_generic",
    "sha1_ssse3",
    "sha256_ssse3",
    "sha512_ssse3",
    "chacha_x86_64",
    "poly1305_x86_64",
    "nhpoly1305_avx2",
    "aesni_intel",
    "ghash_clmulni_intel",
    "crct10dif_pclmul",
    "crc32_pclmul",
    "camellia_aesni_avx2",
    "serpent_avx2",
    "twofish_avx_x86_64",
    "cast5_avx_x86_64",
    "cast6_avx_x86_64",
];

/// Virtio: disks, networks with VLANs, and what else has a driver in the cloud kernel. It has ext4 in it.
pub const VIRTIO: [&str; 14] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "8021q",
    "virtio_console",
    "virtio-rng",
    "virtio_balloon",
    "virtio_scsi",
    "sd_mod",
    "sr_mod",
    "virtio_input",
    "evdev",
    "vmw_vsock_virtio_transport",
    "virtiofs",
];

/// UEFI's variables as files.
pub const UEFI: [&str; 1] = ["efivarfs"];

/// USB by UHCI, OHCI, EHCI and xHCI, and keyboards, pointers, disks and serial lines on it, for the generic kernel: the cloud
/// kernel has none.
pub const USB: [&str; 11] = [
    "ehci-pci",
    "ohci-pci",
    "uhci-hcd",
    "xhci-pci",
    "usbhid",
    "hid-generic",
    "evdev",
    "usb-storage",
    "uas",
    "ftdi_sio",
    "sd_mod",
];

/// Sound cards, for the generic kernel, and a disk with what is to be played; and a watchdog.
pub const SOUND: [&str; 8] = [
    "virtio_pci",
    "virtio_blk",
    "snd-hda-codec-generic",
    "snd-hda-intel",
    "snd-intel8x0",
    "snd-ens1370",
    "pcspkr",
    "i6300esb",
];

/// The modules `names` and all that they depend on, each after what it needs.
pub fn in_order(folder: &Path, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = HashMap::new();
    index(&folder.join("kernel"), &mut files)
        .with_context(|| format!("no kernel modules under {}", folder.display()))?;
    let mut taken = Vec::new();
    for name in names {
        take(name, &files, &mut taken)?;
    }
    Ok(taken)
}

fn index(folder: &Path, files: &mut HashMap<String, PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            index(&path, files)?;
        } else if path.extension().is_some_and(|kind| kind == "ko")
            && let Some(name) = path.file_stem()
        {
            files.insert(name.to_string_lossy().replace('-', "_"), path);
        }
    }
    Ok(())
}

fn take(name: &str, files: &HashMap<String, PathBuf>, taken: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let name = name.replace('-', "_");
    if taken.iter().any(|(had, _)| *had == name) {
        return Ok(());
    }
    // A module that is not there as a file is built into this kernel.
    let Some(path) = files.get(&name) else {
        return Ok(());
    };
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    for needed in depends(&content) {
        take(&needed, files, taken)?;
    }
    taken.push((name, content));
    Ok(())
}

/// The `depends=` line of a module's information section.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let text = module.get(at + KEY.len()..).unwrap_or_default();
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(text.get(..end).unwrap_or_default())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_modules_come_first() {
        let place = tempfile::tempdir().unwrap();
        let kernel = place.path().join("kernel/fs");
        fs::create_dir_all(&kernel).unwrap();
        fs::write(kernel.join("ext4.ko"), b"ELF\0depends=jbd2,crc-16\0x").unwrap();
        fs::write(kernel.join("jbd2.ko"), b"ELF\0depends=\0x").unwrap();
        fs::write(kernel.join("crc-16.ko"), b"ELF\0depends=jbd2\0x").unwrap();
        let order = in_order(place.path(), &["ext4", "built_in"]).unwrap();
        let names: Vec<_> = order.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["jbd2", "crc_16", "ext4"]);
    }
}
