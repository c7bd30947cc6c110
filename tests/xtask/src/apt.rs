//! Debian packages without root: a private copy of apt's lists, downloads into `build/debs`, `dpkg-deb -x`.
//!
//! apt reads the machine's own sources and keys, but its lists and cache lie in `build/apt`, so nothing outside the
//! build folder changes and two architectures work on a machine that has one. What is installed on the machine is not
//! looked at: the same packages are brought everywhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::ui::{self, Step};

/// What programs under `build` take from the machine, and so is never brought. The C library and its loader belong
/// together, and the loader's path is fixed in every program: there can be only the machine's. The compiler that built
/// this program needs both these. The others work when a package is installed, which none is.
const OF_THE_MACHINE: [&str; 10] = [
    "libc6",
    "libgcc-s1",
    "libc-bin",
    "debconf",
    "debianutils",
    "dpkg",
    "perl-base",
    "adduser",
    "passwd",
    "init-system-helpers",
];

/// A private apt.
pub struct Apt {
    state: PathBuf,
    cache: PathBuf,
    debs: PathBuf,
    /// What apt is told to be installed.
    status: PathBuf,
}

/// One package file as apt names it.
struct Deb {
    file: String,
    size: u64,
}

impl Apt {
    /// An apt whose lists, cache and packages lie under `build`. Nothing is downloaded yet.
    pub fn new(build: &Path) -> Result<Self> {
        let apt = Self {
            state: build.join("apt/state"),
            cache: build.join("apt/cache"),
            debs: build.join("debs"),
            status: build.join("apt/status"),
        };
        for folder in [apt.state.join("lists/partial"), apt.cache.join("archives/partial"), apt.debs.clone()]
        {
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(&apt.status, status()).with_context(|| format!("cannot write {}", apt.status.display()))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let dir = |name: &str, path: &Path| format!("{name}={}", path.display());
        for option in [
            dir("Dir::State", &self.state),
            dir("Dir::Cache", &self.cache),
            dir("Dir::State::status", &self.status),
            "Debug::NoLocking=1".into(),
            "APT::Sandbox::User=root".into(),
            "APT::Architectures::=amd64".into(),
            "APT::Architectures::=i386".into(),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=3".into(),
            "APT::Update::Post-Invoke-Success::=true".into(),
        ] {
            command.arg("-o").arg(option);
        }
        command.current_dir(&self.debs);
        command
    }

    /// `apt-get download` as on a machine that has nothing: what is installed here may be a version that the mirror no
    /// longer has.
    fn downloader(&self) -> Command {
        let mut command = self.command("apt-get");
        command.args(["-o", "Dir::State::status=/dev/null", "-q", "download"]);
        command
    }

    /// Brings fresh package lists. One source that fails (a mirror in the middle of its update, a third-party source
    /// without i386) does not stop the rest: what is really missing shows when a package is asked for.
    pub fn update(&self) -> Result<()> {
        let step = Step::begin("apt: package lists (private copy)");
        let output = self
            .command("apt-get")
            .args(["-qq", "update"])
            .output()
            .context("cannot start apt-get: this task needs a Debian machine")?;
        let lists = fs::read_dir(self.state.join("lists"))?
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"));
        if !lists {
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            bail!("apt-get update brought no package list");
        }
        step.done();
        Ok(())
    }

    /// Whether lists were ever brought.
    fn has_lists(&self) -> bool {
        fs::read_dir(self.state.join("lists")).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
        })
    }

    /// The real package behind a metapackage: the first of its dependencies that starts with `prefix`.
    fn behind(&self, meta: &str, prefix: &str) -> Result<String> {
        let text = ui::run(self.command("apt-cache").args(["depends", meta]))?;
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .with_context(|| format!("{meta} depends on no {prefix}*"))
    }

    /// The packages that `names` need, `names` included, apart from what is the machine's.
    fn closure(&self, names: &[String]) -> Result<Vec<String>> {
        Ok(packages(&ui::run(&mut self.closure_command(names))?))
    }

    fn closure_command(&self, names: &[String]) -> Command {
        let mut command = self.command("apt-get");
        command.args(["-y", "--no-install-recommends", "--print-uris", "install"]).args(names);
        command
    }

    /// Downloads and unpacks packages into `root`.
    ///
    /// `plain` are taken alone, `whole` with what they need. A name written
    /// `meta>prefix` stands for the real package behind a metapackage. What is already unpacked is left alone.
    pub fn bring(&self, root: &Path, plain: &[&str], whole: &[&str]) -> Result<()> {
        if !self.has_lists() {
            self.update()?;
        }
        match self.bring_now(root, plain, whole) {
            Ok(()) => Ok(()),
            // Old lists name files that the mirror no longer has.
            Err(error) => {
                ui::say(format!("{error:#}; trying again with fresh package lists"));
                self.update()?;
                self.bring_now(root, plain, whole)
            }
        }
    }

    fn bring_now(&self, root: &Path, plain: &[&str], whole: &[&str]) -> Result<()> {
        let mut names = BTreeSet::new();
        for name in plain {
            names.insert(match name.split_once('>') {
                Some((meta, prefix)) => self.behind(meta, prefix)?,
                None => (*name).to_owned(),
            });
        }
        if !whole.is_empty() {
            let whole: Vec<String> = whole.iter().map(|name| (*name).to_owned()).collect();
            names.extend(self.closure(&whole)?);
            names.extend(whole);
        }
        let names: Vec<String> = names.into_iter().collect();
        if names.is_empty() {
            return Ok(());
        }
        // apt leaves out what already lies in the current folder, so it is asked from an empty one.
        let elsewhere = self.cache.join("empty");
        fs::create_dir_all(&elsewhere)?;
        let wanted =
            parse_uris(&ui::run(self.downloader().current_dir(elsewhere).arg("--print-uris").args(&names))?);
        self.download(&names, &wanted)?;
        for deb in &wanted {
            self.unpack(&deb.file, root)?;
        }
        Ok(())
    }

    /// Downloads the source package `name` into `folder`, packed.
    ///
    /// The machine's sources may name binary packages alone: they are asked for sources, too, with lists apart.
    pub fn source(&self, name: &str, folder: &Path) -> Result<()> {
        let home = self.state.with_file_name("source");
        let (state, parts) = (home.join("state"), home.join("sources.list.d"));
        for folder in [state.join("lists/partial"), parts.clone()] {
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        for (name, text) in machine_sources() {
            fs::write(parts.join(name), for_sources(&text))?;
        }
        let command = |words: &[&str]| {
            let mut command = self.command("apt-get");
            command.arg("-o").arg(format!("Dir::State={}", state.display()));
            command.args(["-o", "Dir::Etc::sourcelist=/dev/null"]);
            command.arg("-o").arg(format!("Dir::Etc::sourceparts={}", parts.display()));
            command.args(words).current_dir(folder);
            command
        };
        let step = Step::begin(format!("apt: the source of {name}"));
        // One source that fails does not stop the rest.
        let _ = command(&["-qq", "update"]).output();
        ui::run(&mut command(&["-q", "--download-only", "source", name]))?;
        step.done();
        Ok(())
    }

    fn download(&self, names: &[String], wanted: &[Deb]) -> Result<()> {
        let missing: Vec<&Deb> = wanted
            .iter()
            .filter(|deb| fs::metadata(self.debs.join(&deb.file)).map_or(true, |file| file.len() != deb.size))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let bytes: u64 = missing.iter().map(|deb| deb.size).sum();
        let step = Step::begin(format!("apt: {} packages, {:.1} MB", missing.len(), bytes as f64 / 1e6));
        // apt itself skips the files that are here and right.
        ui::run(self.downloader().args(names))?;
        step.done();
        Ok(())
    }

    fn unpack(&self, file: &str, root: &Path) -> Result<()> {
        let stamps = root.join(".unpacked");
        let stamp = stamps.join(file);
        if stamp.exists() {
            return Ok(());
        }
        fs::create_dir_all(&stamps)?;
        let step = Step::begin(format!("unpack {file}"));
        ui::run(Command::new("dpkg-deb").arg("-x").arg(self.debs.join(file)).arg(root))?;
        fs::write(stamp, "")?;
        step.done();
        Ok(())
    }
}

/// The status file of a machine that has nothing but [`OF_THE_MACHINE`], in versions that are always new enough.
fn status() -> String {
    let stanza = |name: &str| {
        let provides = if name == "debconf" { "Provides: debconf-2.0\n" } else { "" };
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: foreign\n{provides}\
             Version: 9999\nMaintainer: the machine\nDescription: the machine's own\n\n"
        )
    };
    OF_THE_MACHINE.map(stanza).concat()
}

/// The packages whose files are printed, with their architecture if it is not the usual one.
fn packages(printed: &str) -> Vec<String> {
    parse_uris(printed)
        .into_iter()
        .map(|deb| {
            let architecture = deb.file.trim_end_matches(".deb").rsplit('_').next().unwrap_or("amd64");
            let name = deb.file.split('_').next().unwrap_or_default();
            match architecture {
                "i386" => format!("{name}:i386"),
                _ => name.to_owned(),
            }
        })
        .collect()
}

/// The machine's lists of sources, each with a name that tells its format.
fn machine_sources() -> Vec<(String, String)> {
    let folder = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let files = folder.map(|entry| entry.path()).chain([PathBuf::from("/etc/apt/sources.list")]);
    files
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let name = if name == "sources.list" { "machine.list" } else { name };
            Some((name.to_owned(), fs::read_to_string(&path).ok()?))
        })
        .collect()
}

/// A list of sources in either format (sources.list(5)), for source packages instead of binary ones.
fn for_sources(list: &str) -> String {
    let line = |line: &str| match line.split_once(' ') {
        Some(("deb", rest)) => format!("deb-src {rest}"),
        Some(("Types:", _)) => "Types: deb-src".to_owned(),
        _ => line.to_owned(),
    };
    list.lines().map(|text| line(text) + "\n").collect()
}

/// Reads the lines `'URI' FILE SIZE HASH` that `--print-uris` prints among others.
fn parse_uris(text: &str) -> Vec<Deb> {
    text.lines()
        .filter(|line| line.starts_with('\''))
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let file = words.next()?.to_owned();
            let size = words.next()?.parse().ok()?;
            file.ends_with(".deb").then_some(Deb { file, size })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a machine whose dpkg says that QEMU is installed, QEMU and its libraries are brought all the same.
    #[test]
    fn what_the_machine_has_does_not_matter() {
        if crate::place::machine_tool("apt-get").is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let stanza = |name: &str, more: &str| {
            format!("Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: x\n{more}")
        };
        let offer = |name: &str, depends: &str| {
            let file = format!("Filename: ./{name}_1_amd64.deb\nSize: 9\nSHA256: {}\n", "0".repeat(64));
            stanza(name, &format!("{depends}{file}\n"))
        };
        let offers = [
            offer("qemu-system-x86", "Depends: libpixman-1-0, libc6 (>= 2.36)\n"),
            offer("libpixman-1-0", "Depends: libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0\n"),
            offer("libc6", ""),
            offer("debconf", ""),
        ];
        fs::write(at("Packages"), offers.concat()).unwrap();
        let installed = "Status: install ok installed\n\n";
        let has = ["qemu-system-x86", "libpixman-1-0", "libc6"].map(|name| stanza(name, installed));
        fs::write(at("dpkg-status"), has.concat()).unwrap();
        fs::write(at("sources"), format!("deb [trusted=yes] file:{} ./\n", folder.path().display())).unwrap();
        let config = [("Dir::State::status", "dpkg-status"), ("Dir::Etc::sourcelist", "sources")]
            .map(|(key, name)| format!("{key} \"{}\";\n", at(name).display()));
        fs::write(at("config"), config.concat() + "Dir::Etc::sourceparts \"/dev/null\";\n").unwrap();
        let apt = Apt::new(&at("build")).unwrap();
        ui::run(apt.command("apt-get").env("APT_CONFIG", at("config")).args(["-qq", "update"])).unwrap();
        let mut command = apt.closure_command(&["qemu-system-x86".to_owned()]);
        let mut found = packages(&ui::run(command.env("APT_CONFIG", at("config"))).unwrap());
        found.sort();
        assert_eq!(found, ["libpixman-1-0", "qemu-system-x86"]);
    }

    #[test]
    fn both_formats_of_lists_are_turned_to_sources() {
        let line = "deb [signed-by=/k] http://deb/debian bookworm main\n# deb x\n";
        assert_eq!(for_sources(line), format!("deb-src{}", line.strip_prefix("deb").unwrap()));
        let stanza = "Types: deb\nURIs: http://deb/debian\n";
        assert_eq!(for_sources(stanza), "Types: deb-src\nURIs: http://deb/debian\n");
    }

    #[test]
    fn uris_are_read_among_other_lines() {
        let text = "Reading package lists...\n'http://deb/x_1%3a2_all.deb' x_1%3a2_all.deb 42 SHA256:00\n\
                    'http://deb/y.dsc' y.dsc 7 SHA256:00\n";
        let debs = parse_uris(text);
        assert_eq!(debs.len(), 1);
        assert_eq!((debs[0].file.as_str(), debs[0].size), ("x_1%3a2_all.deb", 42));
    }
}
