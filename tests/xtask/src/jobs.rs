//! Commands that run some at a time, each with its output in a file of its own.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::times::Times;

/// Of the output of a job that failed, so many lines are shown; the rest is in its file.
const SHOWN: usize = 120;

/// A command under a name.
pub struct Job {
    /// What a person calls it.
    pub name: String,
    /// What is run.
    pub command: Command,
}

/// How many guests, or other jobs of one busy thread, run at a time: one a CPU, and one more, since they wait for
/// downloads, keys and timers for a quarter of their time. Where there are many, memory is the bound.
pub fn at_a_time() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().min(4)) + 1
}

/// Runs all of them in their order, `at_a_time` together. One that fails stops no other; all that failed are named at
/// the end, and what each said lies in `logs`.
pub fn run(jobs: Vec<Job>, at_a_time: usize, logs: &Path, times: &Times) -> Result<()> {
    fs::create_dir_all(logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let all = jobs.len();
    let queue = Mutex::new(VecDeque::from(jobs));
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(mut job) = next else { return };
            if let Err(error) = one(&mut job, logs, times) {
                eprintln!("FAILED  {}: {error:#}", job.name);
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(job.name);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..at_a_time.max(1) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{} of {all} failed: {}", failed.len(), failed.join(", "))
}

fn one(job: &mut Job, logs: &Path, times: &Times) -> Result<()> {
    let log = logs.join(format!("{}.txt", job.name.replace([':', '/', ' '], "-")));
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    job.command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let began = Instant::now();
    let (status, cpu) = process::run_timed(&mut job.command).context("it does not start")?;
    let took = began.elapsed();
    times.add(&job.name, took, Some(cpu), !status.success());
    if status.success() {
        eprintln!("ok  {} ({:.1} s)", job.name, took.as_secs_f32());
        return Ok(());
    }
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    bail!("{status}\n{}\n--- all of it: {}", tail(&said), log.display())
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, script: &str) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job { name: name.into(), command }
    }

    #[test]
    fn every_job_runs_and_those_that_fail_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let times = Times::default();
        let jobs = vec![job("good", "echo fine"), job("a::bad", "echo broken; exit 1"), job("later", "true")];
        let error = run(jobs, 2, folder.path(), &times).unwrap_err().to_string();
        assert_eq!(error, "1 of 3 failed: a::bad");
        assert_eq!(fs::read_to_string(folder.path().join("a--bad.txt")).unwrap(), "broken\n");
        assert_eq!(fs::read_to_string(folder.path().join("good.txt")).unwrap(), "fine\n");
        assert_eq!(times.table(std::time::Duration::ZERO).matches("FAILED").count(), 1);
    }

    /// Each waits for the other's file: alone neither would end.
    #[test]
    fn two_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let meet = |own: &str, other: &str| {
            let path = folder.path().display();
            job(own, &format!("touch {path}/{own}; while [ ! -e {path}/{other} ]; do sleep 0.01; done"))
        };
        run(vec![meet("a", "b"), meet("b", "a")], 2, &folder.path().join("logs"), &Times::default()).unwrap();
    }
}
