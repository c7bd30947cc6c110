//! The names by which SeaBIOS knows bootable devices: Open Firmware device paths, one a line in the file "bootorder".
//!
//! Slots are the machine's: IDE is function 1 of slot 1 on bus 0.

/// An IDE disk or CD. `channel` and `unit` are 0 or 1.
pub fn ide(channel: u8, unit: u8) -> String {
    format!("/pci@i0cf8/ide@1,1/drive@{channel}/disk@{unit}")
}

/// An option ROM given as a firmware file.
pub fn rom(file: &str) -> String {
    format!("/rom@{file}")
}

/// The content of the file "bootorder": one path a line, ended by a zero byte.
pub fn file(paths: &[String]) -> Vec<u8> {
    let mut bytes = paths.join("\n").into_bytes();
    bytes.push(0);
    bytes
}
