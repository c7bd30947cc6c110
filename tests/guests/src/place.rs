//! Where the program, the guests and the firmware lie.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A file that the tests need and that nobody has made yet.
#[derive(Debug)]
pub struct Missing(PathBuf);

impl fmt::Display for Missing {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} is missing; `cargo xtask guests` makes it", self.0.display())
    }
}

impl std::error::Error for Missing {}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_path_buf()
}

fn given(variable: &str, otherwise: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| workspace().join(otherwise), PathBuf::from)
}

/// A file in `build/guests`; [`Missing`] when it is not there.
pub fn guest(name: &str) -> Result<PathBuf> {
    present(given("AILURUS_GUESTS", "build/guests").join(name))
}

fn present(path: PathBuf) -> Result<PathBuf> {
    if path.is_file() { Ok(path) } else { Err(Missing(path).into()) }
}

/// The program under test.
pub fn program() -> Result<PathBuf> {
    let path = given("AILURUS", "target/release/ailurus");
    let built = path.is_file().then_some(path.clone());
    built.with_context(|| format!("{} is missing; `cargo build --release` makes it", path.display()))
}

/// The folder of SeaBIOS and its VGA BIOS.
pub fn firmware() -> PathBuf {
    given("AILURUS_FIRMWARE_DIR", "build/root/usr/share/seabios")
}

/// Where the program notes what its guests were given.
pub fn state() -> PathBuf {
    given("AILURUS_STATE", "build/state")
}

/// The VGA BIOS that text screens are drawn with.
pub fn vga_bios() -> Result<PathBuf> {
    present(firmware().join("vgabios-stdvga.bin"))
}

/// The unpacked QEMU; [`Missing`] when `cargo xtask fetch qemu` has not brought it.
pub fn qemu() -> Result<PathBuf> {
    let folder = given("AILURUS_QEMU", "build/qemu");
    present(folder.join("usr/bin/qemu-system-x86_64"))?;
    Ok(folder)
}

/// The unpacked packages of programs; [`Missing`] when `cargo xtask fetch` has not brought its switches.
pub fn packages() -> Result<PathBuf> {
    let folder = given("AILURUS_PACKAGES", "build/root");
    present(folder.join("usr/bin/passt"))?;
    Ok(folder)
}

/// virtiofsd, of this machine or of the packages that `cargo xtask fetch back-ends` or `qemu` brought; [`Missing`] when
/// there is none.
pub fn virtiofsd() -> Result<PathBuf> {
    let of_machine = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"];
    let mut all: Vec<PathBuf> = of_machine.map(PathBuf::from).into();
    let roots = [given("AILURUS_PACKAGES", "build/root"), given("AILURUS_QEMU", "build/qemu")];
    all.extend(roots.iter().map(|root| root.join("usr/lib/qemu/virtiofsd")));
    let found = all.iter().find(|path| path.is_file()).or(all.last()).cloned();
    present(found.unwrap_or_default())
}

/// Has a command find that program, and what it needs of its packages.
pub fn with_packages_of(command: &mut std::process::Command, program: &Path) {
    let folder = program.parent().unwrap_or(Path::new("/"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display()));
    if let Some(root) = folder.ancestors().nth(3).filter(|root| *root != Path::new("/")) {
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
        let libraries = libraries.map(|part| root.join(part).display().to_string());
        command.env("LD_LIBRARY_PATH", libraries.join(":"));
    }
}

/// A new folder for one guest's files. Its path is short: unix sockets lie in it.
pub fn temporary() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("ailurus").tempdir().context("cannot make a temporary folder")
}
