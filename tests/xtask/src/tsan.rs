//! `cargo xtask tsan`: tests of threads that meet, under LLVM's ThreadSanitizer.
//!
//! The toolchain has the sanitizer's library, but a standard library that is compiled without it: of its locks, channels
//! and counters the sanitizer sees half, and reports what they order as races, some two hundred in one test. So the
//! standard library is compiled with it, from the source that rustup calls `rust-src`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::check::cargo;
use crate::place::{Place, machine_tool};
use crate::ui;

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Where the library's source lies under a sysroot, and in the archive of it.
const LIBRARY: &str = "lib/rustlib/src/rust/library";
/// Crates whose threads share more than what a lock guards.
const PACKAGES: [&str; 4] = ["hypervisor", "hypervisor-soft", "devices-core", "backends"];
/// Those of their tests in which threads meet, by a part of the name.
const TESTS: [&str; 11] = [
    "bus::",
    "dma::",
    "doorbell",
    "locks::",
    "machine::",
    "memory::",
    "pool::",
    "race::",
    "team::",
    "thread",
    "timer",
];
/// Who gives the sanitizer the names by which reports are left out.
const SYMBOLIZERS: [&str; 2] = ["llvm-symbolizer", "addr2line"];

/// Runs the tests. A race that [the list](../../tsan.txt) does not explain fails. Where the machine has no way to the
/// library's source, nothing fails.
pub fn tsan(place: &Place) -> Result<()> {
    if !SYMBOLIZERS.iter().any(|name| machine_tool(name).is_some()) {
        ui::say("threads are not tried: this machine has neither llvm-symbolizer nor addr2line");
        return Ok(());
    }
    let Some(library) = library(place)? else {
        ui::say(
            "threads are not tried: there is no rust-src (rustup component add rust-src), nor a way to it",
        );
        return Ok(());
    };
    let list = place.workspace.join("tests/tsan.txt");
    let mut command = cargo(place, &["test", "-Zbuild-std", "--target", TARGET, "--lib"]);
    command
        .args(PACKAGES.iter().flat_map(|package| ["-p", package]))
        .arg("--")
        .args(TESTS)
        // Some set what is the whole process's.
        .arg("--test-threads=1")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=thread")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", library)
        .env("CARGO_TARGET_DIR", place.workspace.join("target/tsan"))
        .env("TSAN_OPTIONS", format!("suppressions={}", list.display()));
    ui::show(&mut command)
}

/// The standard library's source: the toolchain's own, or brought.
fn library(place: &Place) -> Result<Option<PathBuf>> {
    let rustc = |words: &[&str]| ui::run(Command::new("rustc").args(words));
    let own = Path::new(rustc(&["--print", "sysroot"])?.trim()).join(LIBRARY);
    if own.is_dir() {
        return Ok(Some(own));
    }
    let said = rustc(&["--version", "--verbose"])?;
    let release = release(&said).context("rustc does not say which release it is")?;
    let name = format!("rust-src-{release}");
    let library = place.build.join(&name).join("rust-src").join(LIBRARY);
    if library.is_dir() {
        return Ok(Some(library));
    }
    let (Some(curl), Some(tar)) = (machine_tool("curl"), machine_tool("tar")) else { return Ok(None) };
    let archive = place.build.join(format!("{name}.tar.xz"));
    let from = format!("https://static.rust-lang.org/dist/{name}.tar.xz");
    let brought = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    if !brought(Command::new(curl).args(["--silent", "--fail", "--output"]).arg(&archive).arg(from))
        || !brought(Command::new(tar).arg("-C").arg(&place.build).arg("-xJf").arg(&archive))
    {
        return Ok(None);
    }
    std::fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    Ok(library.is_dir().then_some(library))
}

/// The release that rustc's own words name.
fn release(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.strip_prefix("release: "))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_release_is_found() {
        let said =
            "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nrelease: 1.95.0\nLLVM version: 21.1\n";
        assert_eq!(super::release(said), Some("1.95.0"));
        assert_eq!(super::release("gcc 12"), None);
    }
}
