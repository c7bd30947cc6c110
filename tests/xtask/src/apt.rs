//! Debian packages without root: a private copy of apt's lists, downloads into `build/debs`, `dpkg-deb -x`.
//!
//! apt reads the machine's own sources and keys, but its lists and cache lie in `build/apt`, so nothing outside the
//! build folder changes and two architectures work on a machine that has one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::ui::{self, Step};

/// A private apt.
pub struct Apt {
    state: PathBuf,
    cache: PathBuf,
    debs: PathBuf,
}

/// One package file as apt names it.
struct Deb {
    file: String,
    size: u64,
}

impl Apt {
    /// An apt whose lists, cache and packages lie under `build`. Nothing is downloaded yet.
    pub fn new(build: &Path) -> Result<Self> {
        let apt =
            Self { state: build.join("apt/state"), cache: build.join("apt/cache"), debs: build.join("debs") };
        for folder in [apt.state.join("lists/partial"), apt.cache.join("archives/partial"), apt.debs.clone()]
        {
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let dir = |name: &str, path: &Path| format!("{name}={}", path.display());
        for option in [
            dir("Dir::State", &self.state),
            dir("Dir::Cache", &self.cache),
            "Dir::State::status=/var/lib/dpkg/status".into(),
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

    /// The packages that `names` need and that this machine lacks, `names` included where it lacks them.
    fn closure(&self, names: &[String]) -> Result<Vec<String>> {
        let text = ui::run(
            self.command("apt-get")
                .args(["-y", "--no-install-recommends", "--print-uris", "install"])
                .args(names),
        )?;
        parse_uris(&text)
            .into_iter()
            .map(|deb| {
                let mut parts = deb.file.trim_end_matches(".deb").rsplit('_');
                let architecture = parts.next().unwrap_or("amd64");
                let name = deb.file.split('_').next().unwrap_or_default();
                Ok(match architecture {
                    "i386" => format!("{name}:i386"),
                    _ => name.to_owned(),
                })
            })
            .collect()
    }

    /// Downloads and unpacks packages into `root`.
    ///
    /// `plain` are taken alone, `whole` with what they need beyond this machine's packages. A name written
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

    #[test]
    fn uris_are_read_among_other_lines() {
        let text = "Reading package lists...\n'http://deb/x_1%3a2_all.deb' x_1%3a2_all.deb 42 SHA256:00\n\
                    'http://deb/y.dsc' y.dsc 7 SHA256:00\n";
        let debs = parse_uris(text);
        assert_eq!(debs.len(), 1);
        assert_eq!((debs[0].file.as_str(), debs[0].size), ("x_1%3a2_all.deb", 42));
    }
}
