//! How long each step of a task took: a table at the end, the longest first.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{process, ui};

/// A step that ended.
struct Row {
    what: String,
    wall: Duration,
    /// Of the step's own processes; none where this program did the work itself.
    cpu: Option<Duration>,
    failed: bool,
}

/// The steps that ended so far. Several threads may add to it.
#[derive(Default)]
pub struct Times(Mutex<Vec<Row>>);

impl Times {
    /// Runs a command whose output the person watches.
    pub fn show(&self, what: &str, command: &mut Command) -> Result<()> {
        let text = ui::line(command);
        eprintln!("\n==> {text}");
        let began = Instant::now();
        let (status, cpu) = process::run_timed(command).with_context(|| format!("cannot start `{text}`"))?;
        self.add(what, began.elapsed(), Some(cpu), !status.success());
        if !status.success() {
            bail!("`{text}` failed: {status}");
        }
        eprintln!("ok  {text} ({:.1} s)", began.elapsed().as_secs_f32());
        Ok(())
    }

    /// Does something of this program's own.
    pub fn step<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let result = work();
        self.add(what, began.elapsed(), None, result.is_err());
        result
    }

    /// Notes a step that ended.
    pub fn add(&self, what: &str, wall: Duration, cpu: Option<Duration>, failed: bool) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.push(Row { what: what.to_owned(), wall, cpu, failed });
    }

    /// The table; `whole` is how long all of it took. Steps run side by side, so they add up to more.
    pub fn table(&self, whole: Duration) -> String {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.sort_by_key(|row| std::cmp::Reverse(row.wall));
        let mut text = format!("\n{:>9} {:>9}  step\n", "seconds", "CPU");
        let mut line = |wall: Duration, cpu: Option<Duration>, what: &str, failed: bool| {
            let cpu = cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{:.1}", cpu.as_secs_f32()));
            let failed = if failed { "  FAILED" } else { "" };
            text += &format!("{:>9.1} {cpu:>9}  {what}{failed}\n", wall.as_secs_f32());
        };
        for row in rows.iter() {
            line(row.wall, row.cpu, &row.what, row.failed);
        }
        line(whole, Some(rows.iter().filter_map(|row| row.cpu).sum()), "all of it", false);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_comes_first_and_the_sum_last() {
        let times = Times::default();
        let seconds = Duration::from_secs;
        times.add("short", seconds(1), Some(seconds(2)), false);
        times.add("long", seconds(90), Some(seconds(100)), true);
        times.add("brought", seconds(20), None, false);
        let text = times.table(seconds(95));
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "     90.0     100.0  long  FAILED",
                "     20.0         -  brought",
                "      1.0       2.0  short",
                "     95.0     102.0  all of it",
            ]
        );
    }

    #[test]
    fn what_fails_is_in_the_table_too() {
        let times = Times::default();
        assert!(times.show("no", &mut Command::new("false")).is_err());
        assert!(times.step("neither", || bail!("it fails") as Result<()>).is_err());
        assert_eq!(times.table(Duration::ZERO).matches("FAILED").count(), 2);
    }
}
