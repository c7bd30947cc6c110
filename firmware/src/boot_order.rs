//! The names by which SeaBIOS knows bootable devices: Open Firmware device paths, one a line in the file "bootorder".
//!
//! Slots are the machine's: IDE is function 1 of slot 1 on bus 0. What the file does not name comes after it, in the order
//! that the clock's RAM tells.

/// An IDE disk or CD. `channel` and `unit` are 0 or 1.
pub fn ide(channel: u8, unit: u8) -> String {
    format!("/pci@i0cf8/ide@1,1/drive@{channel}/disk@{unit}")
}

/// A virtio disk on PCI bus 0.
pub fn virtio_disk(devfn: u8) -> String {
    format!("/pci@i0cf8/scsi@{}/disk@0,0", function(devfn))
}

/// A unit of a SCSI controller on PCI bus 0.
pub fn scsi(devfn: u8, target: u64, lun: u64) -> String {
    format!("/pci@i0cf8/scsi@{}/channel@0/disk@{target:x},{lun:x}", function(devfn))
}

/// A disk behind a USB controller on PCI bus 0, which is that unit of the device on that port of its root hub; `hubs` are
/// ports with hubs on the way there.
pub fn usb_disk(devfn: u8, hubs: &[u8], port: u8, lun: u64) -> String {
    let hubs: String = hubs.iter().map(|port| format!("hub@{port:x}/")).collect();
    format!("/pci@i0cf8/usb@{}/{hubs}storage@{port:x}/channel@0/disk@0,{lun:x}", function(devfn))
}

/// A network card on PCI bus 0, booted by its option ROM.
pub fn network_card(devfn: u8) -> String {
    format!("/pci@i0cf8/ethernet@{}/ethernet-phy@0", function(devfn))
}

/// A unit address on PCI: the slot, and the function unless it is 0.
fn function(devfn: u8) -> String {
    match (devfn >> 3, devfn & 7) {
        (slot, 0) => format!("{slot:x}"),
        (slot, function) => format!("{slot:x},{function:x}"),
    }
}

/// The option ROM that starts a kernel which was given with the machine.
pub fn kernel() -> String {
    format!("/rom@{}", crate::kernel::ROM_FILE)
}

/// The name of the file.
pub const FILE: &str = "bootorder";

/// Its content: one path a line, ended by a zero byte. `ends`: nothing is booted that is not named, for which SeaBIOS's word
/// is the last line. Without paths it is empty, and never ends.
pub fn file(mut paths: Vec<String>, ends: bool) -> Vec<u8> {
    if paths.is_empty() {
        return Vec::new();
    }
    if ends {
        paths.push("HALT".into());
    }
    let mut bytes = paths.join("\n").into_bytes();
    bytes.push(0);
    bytes
}

/// The name of the file that tells SeaBIOS the geometry of drives.
pub const GEOMETRY_FILE: &str = "bios-geometry";

/// Its content: the paths of drives, each with cylinders, heads and sectors of a track.
pub fn geometry_file(drives: impl IntoIterator<Item = (String, [u64; 3])>) -> Vec<u8> {
    let line = |(path, [cylinders, heads, sectors]): (String, [u64; 3])| {
        format!("{path} {cylinders} {heads} {sectors}")
    };
    file(drives.into_iter().map(line).collect(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_qemus() {
        assert_eq!(network_card(3 << 3), "/pci@i0cf8/ethernet@3/ethernet-phy@0");
        assert_eq!(network_card(0x1f << 3 | 1), "/pci@i0cf8/ethernet@1f,1/ethernet-phy@0");
        assert_eq!(virtio_disk(5 << 3), "/pci@i0cf8/scsi@5/disk@0,0");
        assert_eq!(usb_disk(1 << 3 | 2, &[], 2, 0), "/pci@i0cf8/usb@1,2/storage@2/channel@0/disk@0,0");
        assert_eq!(
            usb_disk(6 << 3, &[1, 8], 2, 10),
            "/pci@i0cf8/usb@6/hub@1/hub@8/storage@2/channel@0/disk@0,a"
        );
        assert!(kernel().starts_with("/rom@genroms/"));
        let geometry = geometry_file([(ide(0, 0), [1000, 16, 63]), (virtio_disk(3 << 3), [0, 1, 0])]);
        let lines = "/pci@i0cf8/ide@1,1/drive@0/disk@0 1000 16 63\n/pci@i0cf8/scsi@3/disk@0,0 0 1 0\0";
        assert_eq!(String::from_utf8(geometry).unwrap(), lines);
        assert!(geometry_file([]).is_empty());
        let paths = || vec![ide(1, 0), ide(0, 1)];
        let lines = b"/pci@i0cf8/ide@1,1/drive@1/disk@0\n/pci@i0cf8/ide@1,1/drive@0/disk@1";
        assert_eq!(file(paths(), false), [&lines[..], b"\0"].concat());
        assert_eq!(file(paths(), true), [&lines[..], b"\nHALT\0"].concat());
        assert_eq!(file(Vec::new(), true), b"");
    }
}
