//! QEMU's test programs, built from Debian's source package without its build system.
//!
//! A test program is one C file, libqtest (which starts the device model and speaks to it), libqos (drivers for the
//! PC's buses) and a small part of QEMU's library. All of that needs glib's headers, a C compiler and Python for the
//! generated types, and is compiled in seconds; configure, meson and the device model itself are not needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::Apt;
use crate::place::{Place, machine_tool};
use crate::ui::{self, Step};

/// Sources of the library, under the source's top folder. A name that ends with `/*` stands for a folder's C files.
const LIBRARY: [&str; 29] = [
    "tests/qtest/libqtest.c",
    "tests/qtest/libqmp.c",
    "tests/qtest/boot-sector.c",
    "tests/qtest/acpi-utils.c",
    "tests/qtest/libqos/qgraph.c",
    "tests/qtest/libqos/pci.c",
    "tests/qtest/libqos/fw_cfg.c",
    "tests/qtest/libqos/libqos-malloc.c",
    "tests/qtest/libqos/libqos.c",
    "tests/qtest/libqos/pci-pc.c",
    "tests/qtest/libqos/malloc-pc.c",
    "tests/qtest/libqos/libqos-pc.c",
    "tests/qtest/libqos/ahci.c",
    "tests/qtest/libqos/usb.c",
    "qobject/*",
    "util/error.c",
    "util/cutils.c",
    "util/unicode.c",
    "util/osdep.c",
    "util/oslib-posix.c",
    "util/iov.c",
    "util/module.c",
    "util/host-utils.c",
    "util/uuid.c",
    "qapi/qapi-visit-core.c",
    "qapi/qapi-dealloc-visitor.c",
    "qapi/qapi-util.c",
    "qapi/qobject-input-visitor.c",
    "qapi/qobject-output-visitor.c",
];
/// Generated files that belong to one target's program and are refused in common code.
const OF_A_TARGET: [&str; 6] = [
    "qapi-types.c",
    "qapi-visit.c",
    "qapi-types-machine-target.c",
    "qapi-types-misc-target.c",
    "qapi-visit-machine-target.c",
    "qapi-visit-misc-target.c",
];
const CONFIG: &str = include_str!("config-host.h");
const GLUE: &str = include_str!("glue.c");

/// Built test programs.
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The program of a test file, named without `.c`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Where the source and what is made of it lie.
struct Tree {
    source: PathBuf,
    /// glib, unpacked.
    root: PathBuf,
    out: PathBuf,
}

/// Brings the source and builds the programs of `names`. What is there already is not made again.
pub fn build(place: &Place, names: &[&str]) -> Result<Programs> {
    for tool in ["gcc", "python3", "tar"] {
        if machine_tool(tool).is_none() {
            bail!("QEMU's test programs need {tool} on this machine");
        }
    }
    let tree = bring(place)?;
    let step = Step::begin("build QEMU's test programs");
    tree.generate()?;
    let archive = tree.library()?;
    for name in names {
        tree.link(name, &archive)?;
    }
    step.done();
    Ok(Programs { folder: tree.out })
}

fn bring(place: &Place) -> Result<Tree> {
    let folder = place.build.join("qtest");
    let (root, packed) = (folder.join("root"), folder.join("packed"));
    fs::create_dir_all(&root)?;
    let apt = Apt::new(&place.build)?;
    apt.bring(&root, &["libglib2.0-dev", "libglib2.0-0"], &[])?;
    let tarball = match find(&packed, ".orig.tar.xz") {
        Some(tarball) => tarball,
        None => {
            fs::create_dir_all(&packed)?;
            apt.source("qemu", &packed)?;
            find(&packed, ".orig.tar.xz").context("apt brought no source of QEMU")?
        }
    };
    let source = folder.join("source");
    if !source.join("tests/qtest/libqtest.c").is_file() {
        let step = Step::begin("unpack QEMU's source");
        fs::create_dir_all(&source)?;
        ui::run(
            Command::new("tar").arg("-xf").arg(&tarball).arg("--strip-components=1").arg("-C").arg(&source),
        )?;
        step.done();
    }
    let tree = Tree { source, root, out: folder.join("out") };
    tree.fresh()?;
    Ok(tree)
}

/// A file in `folder` whose name ends so.
fn find(folder: &Path, suffix: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with(suffix))
}

impl Tree {
    /// Throws away what another recipe made.
    fn fresh(&self) -> Result<()> {
        let stamp = self.out.join("recipe");
        let recipe = format!("{LIBRARY:?} {CONFIG} {GLUE}");
        if fs::read_to_string(&stamp).is_ok_and(|had| had == recipe) {
            return Ok(());
        }
        // Nothing is there at first.
        let _ = fs::remove_dir_all(&self.out);
        fs::create_dir_all(self.out.join("objects"))?;
        Ok(fs::write(stamp, recipe)?)
    }

    /// Headers and C files that QEMU's scripts make.
    fn generate(&self) -> Result<()> {
        fs::write(self.out.join("config-host.h"), CONFIG)?;
        fs::write(self.out.join("config-poison.h"), "")?;
        fs::write(self.out.join("glue.c"), GLUE)?;
        if self.out.join("qapi/qapi-visit.c").is_file() {
            return Ok(());
        }
        let script = |name: &str| {
            let mut command = Command::new("python3");
            command.current_dir(&self.source).env("PYTHONDONTWRITEBYTECODE", "1").arg(name);
            command
        };
        fs::create_dir_all(self.out.join("trace"))?;
        for group in ["util", "qapi"] {
            ui::run(
                script("scripts/tracetool.py")
                    .args(["--backend=nop", "--format=h"])
                    .arg(format!("--group={group}"))
                    .arg(format!("{group}/trace-events"))
                    .arg(self.out.join(format!("trace/trace-{group}.h"))),
            )?;
        }
        ui::run(
            script("scripts/qapi-gen.py")
                .arg("-o")
                .arg(self.out.join("qapi"))
                .args(["-b", "qapi/qapi-schema.json"]),
        )?;
        Ok(())
    }

    /// Everything that the programs share, as an archive: the linker takes what a program uses.
    fn library(&self) -> Result<PathBuf> {
        let archive = self.out.join("libqtest.a");
        if archive.is_file() {
            return Ok(archive);
        }
        let mut sources = vec![self.out.join("glue.c")];
        for name in LIBRARY {
            match name.strip_suffix("/*") {
                Some(folder) => sources.extend(c_files(&self.source.join(folder))?),
                None => sources.push(self.source.join(name)),
            }
        }
        sources.extend(c_files(&self.out.join("qapi"))?.into_iter().filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let wanted = ["qapi-types", "qapi-visit", "qapi-builtin"];
            wanted.iter().any(|part| name.starts_with(part)) && !OF_A_TARGET.contains(&name.as_ref())
        }));
        let mut objects = Vec::new();
        for source in &sources {
            objects.push(self.compile(source)?);
        }
        let whole = self.out.join(".libqtest.a");
        // ar adds to what is there.
        let _ = fs::remove_file(&whole);
        ui::run(Command::new("ar").arg("rcs").arg(&whole).args(&objects))?;
        fs::rename(&whole, &archive)?;
        Ok(archive)
    }

    fn compile(&self, source: &Path) -> Result<PathBuf> {
        let name = source.file_name().context("a source without a name")?.to_string_lossy();
        let object = self.out.join("objects").join(format!("{name}.o"));
        let include = |path: PathBuf| format!("-I{}", path.display());
        let mut command = Command::new("gcc");
        command.args(["-std=gnu11", "-O1", "-w", "-ffunction-sections", "-fdata-sections"]);
        command.args(["-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64"]);
        for folder in ["", "qapi"] {
            command.arg(include(self.out.join(folder)));
        }
        for folder in ["include", "", "tests", "tests/qtest"] {
            command.arg(include(self.source.join(folder)));
        }
        for folder in ["usr/include/glib-2.0", "usr/lib/x86_64-linux-gnu/glib-2.0/include"] {
            command.arg(include(self.root.join(folder)));
        }
        // Messages of the tests name their file as gcc was given it.
        let named = source.strip_prefix(&self.source).unwrap_or(source);
        ui::run(command.current_dir(&self.source).arg("-c").arg(named).arg("-o").arg(&object))?;
        Ok(object)
    }

    fn link(&self, name: &str, archive: &Path) -> Result<()> {
        let program = self.out.join(name);
        if program.is_file() {
            return Ok(());
        }
        let object = self.compile(&self.source.join(format!("tests/qtest/{name}.c")))?;
        let libraries = self.root.join("usr/lib/x86_64-linux-gnu");
        let mut command = Command::new("gcc");
        command.arg("-Wl,--gc-sections").arg("-o").arg(&program).arg(object).arg(archive);
        command.arg(format!("-L{}", libraries.display())).args(["-lglib-2.0", "-lpthread", "-lm"]);
        command.arg(format!("-Wl,-rpath,{}", libraries.display()));
        ui::run(&mut command)?;
        Ok(())
    }
}

fn c_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    found.sort();
    Ok(found)
}
