//! What a person sees while a task runs: one line per step, a spinner while it lasts, its time when it ends.

use std::io::IsTerminal;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// One step under way. Dropping it without [`Step::done`] leaves the line that says what failed.
pub struct Step {
    what: String,
    began: Instant,
    bar: ProgressBar,
}

impl Step {
    /// Announces `what` on stderr; a spinner turns beside it when stderr is a terminal.
    pub fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            eprintln!("..  {what}");
            ProgressBar::hidden()
        };
        Self { what, began: Instant::now(), bar }
    }

    /// Ends the step and prints its time.
    pub fn done(self) {
        self.bar.finish_and_clear();
        eprintln!("ok  {} ({:.1} s)", self.what, self.began.elapsed().as_secs_f32());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.bar.is_finished() {
            self.bar.finish_and_clear();
        }
    }
}

/// A note between steps.
pub fn say(what: impl AsRef<str>) {
    eprintln!("    {}", what.as_ref());
}

/// The command as a person would type it, for messages.
pub fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Runs a command quietly; its output is shown only when it fails. Returns what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let text = line(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{text}`"))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("`{text}` failed: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command whose output the person watches.
pub fn show(command: &mut Command) -> Result<()> {
    let text = line(command);
    eprintln!("\n==> {text}");
    let began = Instant::now();
    let status = command.status().with_context(|| format!("cannot start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed: {status}");
    }
    eprintln!("ok  {text} ({:.1} s)", began.elapsed().as_secs_f32());
    Ok(())
}
