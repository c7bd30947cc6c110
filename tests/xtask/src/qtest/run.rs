//! Test programs at work: which cases they have, how each ends.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::place::{Place, machine_tool};

/// How long a case may take. The longest waits for a firmware's words on a serial port.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many cases run at a time.
const JOBS: usize = 2;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right.
    Passed,
    /// The case does not apply.
    Skipped,
    /// Wrong, and what it said.
    Failed(String),
}

/// The device model that is tested.
pub struct Bench {
    /// Its program, named as libqtest wants it: what follows the last `-` is the architecture.
    program: PathBuf,
    folder: PathBuf,
    firmware: PathBuf,
    qemu_img: Option<PathBuf>,
}

impl Bench {
    /// Ours, as a release build left it.
    pub fn new(place: &Place) -> Result<Self> {
        let folder = super::folder(place);
        // What an earlier run left.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let program = folder.join("qemu-system-x86_64");
        symlink(place.workspace.join("target/release/ailurus"), &program)?;
        // An unpacked one would need libraries of its own, which is no matter of an environment that all share.
        let qemu_img = machine_tool("qemu-img");
        Ok(Self { program, folder, firmware: place.root().join("usr/share/seabios"), qemu_img })
    }

    fn command(&self, test: &Path) -> Command {
        let mut command = Command::new(test);
        command
            .current_dir(&self.folder)
            .env("QTEST_QEMU_BINARY", &self.program)
            .env("AILURUS_FIRMWARE_DIR", &self.firmware)
            .stdin(Stdio::null())
            .process_group(0);
        if let Some(tool) = &self.qemu_img {
            command.env("QTEST_QEMU_IMG", tool);
        }
        command
    }
}

/// The cases of a test program.
pub fn list(test: &Path, on: &Bench) -> Result<Vec<String>> {
    let (status, text) = end(on.command(test).arg("-l"))?;
    let cases: Vec<String> =
        text.lines().filter(|line| line.starts_with('/')).map(|line| line.trim().to_owned()).collect();
    if !status || cases.is_empty() {
        bail!("it does not tell its cases: {}", gist(&text));
    }
    Ok(cases)
}

/// Runs each case in a process of its own, some at a time.
pub fn each(test: &Path, cases: &[String], on: &Bench) -> Result<Vec<Verdict>> {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(vec![Verdict::Skipped; cases.len()]);
    thread::scope(|scope| {
        let worker = || -> Result<()> {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(case) = cases.get(at) else { return Ok(()) };
                let verdict = one(test, case, on)?;
                verdicts.lock().unwrap_or_else(PoisonError::into_inner)[at] = verdict;
            }
        };
        let workers: Vec<_> = (0..JOBS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => bail!("a worker panicked"),
        })
    })?;
    Ok(verdicts.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn one(test: &Path, case: &str, on: &Bench) -> Result<Verdict> {
    let (good, text) = end(on.command(test).args(["--tap", "-m", "quick", "-p", case]))?;
    Ok(verdict(good, case, &text))
}

/// What the lines of the Test Anything Protocol say of a case.
fn verdict(good: bool, case: &str, text: &str) -> Verdict {
    let line = text.lines().find(|line| {
        let words = line.strip_prefix("not ").unwrap_or(line);
        words.starts_with("ok ") && words.split_whitespace().nth(2) == Some(case)
    });
    match line {
        Some(line) if good && line.contains("# SKIP") => Verdict::Skipped,
        Some(line) if good && line.starts_with("ok ") => Verdict::Passed,
        _ => Verdict::Failed(gist(text)),
    }
}

/// The line that says what went wrong: the device model's last word if it refused to start, or the assertion.
fn gist(text: &str) -> String {
    let line = |part: &str| text.lines().rev().find(|line| line.contains(part));
    let refused = line("ailurus: ").filter(|line| !line.contains("warning"));
    let found =
        refused.or_else(|| line("ERROR:")).or_else(|| text.lines().last()).unwrap_or("it said nothing");
    // The assertion's file is named with its folders.
    found.rsplit_once("tests/qtest/").map_or(found, |(_, rest)| rest).trim().to_owned()
}

/// Runs a command to its end or for as long as our patience lasts; whether it ended well, and what it said.
fn end(command: &mut Command) -> Result<(bool, String)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let (mut reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    // The command keeps its ends of the pipe open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    thread::scope(|scope| {
        let said = scope.spawn(move || {
            let mut bytes = Vec::new();
            // What a broken pipe leaves is what there is.
            let _ = reader.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let good = wait(child)?;
        let text = said.join().unwrap_or_default();
        Ok((
            good == Some(true),
            if good.is_none() { format!("{text}\nERROR: it does not end") } else { text },
        ))
    })
}

/// Waits for the end; none if it did not come in time. Everything the process started ends with it.
fn wait(mut child: Child) -> Result<Option<bool>> {
    let begun = Instant::now();
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status.success());
        }
        if begun.elapsed() > PATIENCE {
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let group = format!("-{}", child.id());
    // There is nobody left in the group of a program that ended well.
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    child.wait()?;
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_judged_by_its_own_line() {
        let text = "# random seed: R02S\n1..2\nok 1 /x86_64/ide/a\nok 2 /x86_64/ide/ab # SKIP no firmware\n";
        assert_eq!(verdict(true, "/x86_64/ide/a", text), Verdict::Passed);
        assert_eq!(verdict(true, "/x86_64/ide/ab", text), Verdict::Skipped);
        assert_eq!(
            verdict(false, "/x86_64/ide/a", "**\nERROR:/x/tests/qtest/t.c:1:f: (0 != 0)\n"),
            Verdict::Failed("t.c:1:f: (0 != 0)".into())
        );
    }

    #[test]
    fn a_program_is_waited_for_and_heard() {
        let said = end(Command::new("sh").args(["-c", "echo one; echo two >&2"]).process_group(0)).unwrap();
        assert_eq!(said, (true, "one\ntwo\n".into()));
    }
}
