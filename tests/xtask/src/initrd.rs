//! The initial RAM disks of the test guests.

use anyhow::Result;

use crate::cpio::Archive;

const INIT: &str = include_str!("init.sh");

/// An initial RAM disk: busybox, kernel modules in loading order, and an /init that reads its orders from the kernel
/// command line (see `init.sh`).
pub fn make(busybox: &[u8], modules: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "modules"] {
        archive.folder(folder);
    }
    archive.character("dev/console", 5, 1);
    archive.character("dev/null", 1, 3);
    archive.program("bin/busybox", busybox);
    archive.symlink("bin/sh", "busybox");
    for (place, (name, content)) in modules.iter().enumerate() {
        archive.program(&format!("modules/{place:02}-{name}.ko"), content);
    }
    archive.program("init", INIT.as_bytes());
    archive.finish()
}
