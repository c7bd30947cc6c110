//! Tests that are not run every day, by their marks: `#[ignore = "all: why"]` and `#[ignore = "soak: why"]`.
//!
//! Cargo can list ignored tests but not why they are, so the sources are asked, and then the built test program whether
//! it has that test.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::place::Place;
use crate::{check, ui};

/// When a marked test is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// By `cargo xtask test --all`.
    All,
    /// By `cargo xtask soak`.
    Soak,
}

impl Mark {
    fn begins(self) -> &'static str {
        match self {
            Mark::All => "#[ignore = \"all: ",
            Mark::Soak => "#[ignore = \"soak: ",
        }
    }
}

/// One marked test, as its source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Its function.
    pub name: String,
    /// What its mark says.
    pub reason: String,
    /// The package it is in.
    pub package: String,
    /// The integration test it is in; None for the package's own unit tests.
    pub file: Option<String>,
}

impl Marked {
    /// The words after `cargo` that run its test program with `rest`.
    fn words<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["test", "--release", "--package", &self.package];
        match &self.file {
            Some(file) => words.extend(["--test", file]),
            None => words.push("--lib"),
        }
        words.push("--");
        words.extend(rest);
        words
    }

    /// Runs it in a process of its own; what it prints is seen as it comes.
    pub fn run(&self, place: &Place) -> Result<()> {
        let listed = ui::run(&mut check::cargo_on_guests(
            place,
            &self.words(&["--ignored", "--list", "--format", "terse"]),
        ))?;
        let full = full_name(&listed, &self.name)
            .with_context(|| format!("{} has no ignored test {}", self.package, self.name))?;
        ui::show(&mut check::cargo_on_guests(
            place,
            &self.words(&["--ignored", "--nocapture", "--exact", full]),
        ))
    }
}

/// The test with its modules, from the test program's own list.
fn full_name<'a>(listed: &'a str, name: &str) -> Option<&'a str> {
    let mut tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    tests.find(|full| full.rsplit("::").next() == Some(name))
}

/// Every test of the workspace with that mark, in the order of its files.
pub fn find(workspace: &Path, mark: Mark) -> Result<Vec<Marked>> {
    let mut found = Vec::new();
    for folder in ["devicemodel", "devices", "firmware", "hypervisor", "ioreq", "tests"] {
        walk(&workspace.join(folder), "", mark, &mut found)?;
    }
    Ok(found)
}

/// Looks through `folder`, which belongs to `package` unless it has a manifest of its own.
fn walk(folder: &Path, package: &str, mark: Mark, found: &mut Vec<Marked>) -> Result<()> {
    let own = fs::read_to_string(folder.join("Cargo.toml")).ok().and_then(|text| package_name(&text));
    let package = own.as_deref().unwrap_or(package);
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if !path.ends_with("target") {
                walk(&path, package, mark, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let file = stem.filter(|_| folder.ends_with("tests") && !folder.join("mod.rs").is_file());
            found.extend(marked(&text, mark).map(|(name, reason)| Marked {
                name,
                reason,
                package: package.to_owned(),
                file: file.clone(),
            }));
        }
    }
    Ok(())
}

fn package_name(manifest: &str) -> Option<String> {
    let line = manifest.lines().find_map(|line| line.strip_prefix("name = \""))?;
    Some(line.strip_suffix('"')?.to_owned())
}

/// The functions of a source that are marked so, with their reasons.
fn marked(source: &str, mark: Mark) -> impl Iterator<Item = (String, String)> {
    source.split("\n").enumerate().filter_map(move |(index, line)| {
        let reason = line.trim_start().strip_prefix(mark.begins())?.strip_suffix("\"]")?;
        let name = source.split("\n").skip(index + 1).find_map(|line| {
            let (name, _) = line.trim_start().strip_prefix("fn ")?.split_once('(')?;
            Some(name.to_owned())
        })?;
        Some((name, reason.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_functions_are_found() {
        let source = "#[test]\n#[ignore = \"soak: long\"]\nfn one() {}\n#[test]\n#[ignore = \"needs a CPU\"]\n\
                      fn two() {}\nmod m {\n    #[ignore = \"all: longer\"]\n    #[test]\n    fn three() {}\n}\n";
        let soak: Vec<_> = marked(source, Mark::Soak).collect();
        assert_eq!(soak, [("one".into(), "long".into())]);
        let all: Vec<_> = marked(source, Mark::All).collect();
        assert_eq!(all, [("three".into(), "longer".into())]);
    }

    #[test]
    fn the_test_program_knows_the_modules() {
        let listed = "a::b::one: test\nsoak_one: test\none_more: test\n";
        assert_eq!(full_name(listed, "one"), Some("a::b::one"));
        assert_eq!(full_name(listed, "two"), None);
    }

    /// The workspace's own: a mark that is written in another way would never run.
    #[test]
    fn every_soak_test_of_the_workspace_is_found() {
        let place = Place::find().unwrap();
        let found = find(&place.workspace, Mark::Soak).unwrap();
        let repeat = found.iter().find(|test| test.name == "soak_icount_boot_of_2_vcpus_repeats").unwrap();
        assert_eq!((repeat.package.as_str(), repeat.file.as_deref()), ("guest-tests", Some("repeat")));
        let listed = std::process::Command::new("grep")
            .args(["-rhoE", "--include=*.rs", "fn soak_[a-z0-9_]+\\(\\)", "tests/guests"])
            .current_dir(&place.workspace)
            .output()
            .unwrap();
        for line in String::from_utf8(listed.stdout).unwrap().lines() {
            let name = line.trim_start_matches("fn ").trim_end_matches("()");
            assert!(found.iter().any(|test| test.name == name), "{name} is not marked `soak: `");
        }
    }
}
