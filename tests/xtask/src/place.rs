//! Where everything lies: the workspace, its build folder, and the tools unpacked there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The folders that every task works in.
pub struct Place {
    /// The workspace: the folder of the root manifest.
    pub workspace: PathBuf,
    /// Everything that tasks make, `build` in the workspace.
    pub build: PathBuf,
}

impl Place {
    /// The workspace that this program was built from.
    pub fn find() -> Result<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("the xtask crate lies two folders under the workspace")?
            .to_path_buf();
        let build = workspace.join("build");
        std::fs::create_dir_all(&build).with_context(|| format!("cannot make {}", build.display()))?;
        Ok(Self { workspace, build })
    }

    /// Unpacked amd64 and architecture-independent packages.
    pub fn root(&self) -> PathBuf {
        self.build.join("root")
    }

    /// Unpacked i386 packages, apart because their paths are the same.
    pub fn root_i386(&self) -> PathBuf {
        self.build.join("root-i386")
    }

    /// Unpacked QEMU, the thing that benches compare with.
    pub fn qemu(&self) -> PathBuf {
        self.build.join("qemu")
    }

    /// Where the browser is unpacked.
    pub fn browser(&self) -> PathBuf {
        self.build.join("browser")
    }

    /// Finished guests.
    pub fn guests(&self) -> PathBuf {
        self.build.join("guests")
    }

    /// A program from the unpacked packages, or else the machine's own, ready to take arguments.
    pub fn tool(&self, name: &str) -> Result<Command> {
        tool_under(&self.root(), name)
    }
}

/// A program under an unpacked root (with the root's libraries), or else the machine's own.
fn tool_under(root: &Path, name: &str) -> Result<Command> {
    for folder in ["usr/bin", "usr/sbin", "bin", "sbin"] {
        let path = root.join(folder).join(name);
        if path.is_file() {
            let mut command = Command::new(path);
            command.env("LD_LIBRARY_PATH", libraries(root));
            return Ok(command);
        }
    }
    match machine_tool(name) {
        Some(path) => Ok(Command::new(path)),
        None => bail!("{name} is neither in {} nor on this machine", root.display()),
    }
}

/// The machine's own program of that name. The system folders count even where a person's PATH leaves them out.
pub fn machine_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// The library search path of an unpacked root.
fn libraries(root: &Path) -> String {
    ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
        .map(|folder| root.join(folder).display().to_string())
        .join(":")
}

/// The only file in `folder` whose name starts with `prefix` and ends with `suffix`.
pub fn only(folder: &Path, prefix: &str, suffix: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(prefix) && name.ends_with(suffix) {
            found.push(entry.path());
        }
    }
    found.sort();
    // After a kernel update both versions are unpacked: the newest is the one wanted.
    found.pop().with_context(|| {
        format!("no file {prefix}*{suffix} in {}: `cargo xtask fetch` brings it", folder.display())
    })
}
