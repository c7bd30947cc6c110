//! A running guest.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tempfile::TempDir;

use crate::machine::{Machine, Program};
use crate::qmp::Qmp;
use crate::screen::{Picture, Screen};
use crate::serial::{Serial, Waited};
use crate::{place, seconds};

/// A guest that runs in a process of its own. Dropping it ends the process.
pub struct Guest {
    child: Child,
    stdin: Option<ChildStdin>,
    serial: Serial,
    /// How much of the serial output earlier waits have passed.
    seen: usize,
    begun: Instant,
    program: Program,
    folder: TempDir,
    monitor: Option<Qmp>,
}

impl Machine {
    /// Starts it.
    pub fn boot(&self) -> Result<Guest> {
        let folder = place::temporary()?;
        let command = self.command(&folder.path().join("monitor"))?;
        Guest::spawn(command, self.program.clone(), folder)
    }
}

impl Guest {
    /// Continues a guest that was saved to `file`.
    pub fn restore(file: &Path) -> Result<Guest> {
        Guest::restore_in(file, "auto")
    }

    /// The same with another way to run its code: `1` interpreted, `2` translated.
    pub fn restore_in(file: &Path, tier: &str) -> Result<Guest> {
        Guest::restored(file, tier, &[])
    }

    fn restored(file: &Path, tier: &str, more: &[&str]) -> Result<Guest> {
        let program = Program::chosen()?;
        let folder = place::temporary()?;
        let mut command = program.command();
        command.arg("restore").arg(file).args(["--trust-paths", "--serial", "stdio", "--display", "none"]);
        command.args(["--cpu-tier", tier]).args(more);
        command.arg("--monitor").arg(format!("unix:{}", folder.path().join("monitor").display()));
        Guest::spawn(command, program, folder)
    }

    /// Continues it, but stands still until it is told to go on.
    pub fn restore_paused(file: &Path) -> Result<Guest> {
        Guest::restored(file, "auto", &["--paused"])
    }

    fn spawn(mut command: Command, program: Program, folder: TempDir) -> Result<Guest> {
        let errors = File::create(folder.path().join("stderr"))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let begun = Instant::now();
        let mut child =
            command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut log = log(child.id(), &command);
        let serial = Serial::listen(stdout, move |text| {
            // A log that cannot be written must not stop the guest.
            let _ = log.as_mut().map(|log| log.write_all(text));
        });
        let stdin = child.stdin.take();
        Ok(Guest { child, stdin, serial, seen: 0, begun, program, folder, monitor: None })
    }

    /// Since it was started.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The host's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A folder for this guest's files, removed with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until the serial port says `text`, after what earlier waits found; gives the whole line.
    pub fn wait_for(&mut self, text: &str, patience: Duration) -> Result<String> {
        self.wait_for_any(&[text], patience)
    }

    /// Waits for the first of `texts`; gives the whole line.
    pub fn wait_for_any(&mut self, texts: &[&str], patience: Duration) -> Result<String> {
        match self.serial.wait(self.seen, texts, patience) {
            Waited::Found(at) => {
                self.seen = at;
                // The rest of the line follows at once, or the guest ends, or it is a prompt without end.
                self.serial.wait(at, &["\n"], Duration::from_millis(500));
                let text = self.serial.text();
                let begin = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
                let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
                Ok(text[begin..end].trim_end().to_owned())
            }
            Waited::Ended => {
                let status = self.wait_exit(seconds(5)).map_or("?".into(), |status| status.to_string());
                bail!("the guest ended ({status}) before it said {texts:?}{}", self.last_words());
            }
            Waited::TimeUp => {
                bail!("the guest did not say {texts:?} in {patience:.0?}{}", self.last_words());
            }
        }
    }

    /// All that the serial port said.
    pub fn said(&self) -> String {
        self.serial.text()
    }

    /// The same of a guest that has ended, or is about to: nothing is missing.
    pub fn said_to_the_end(&self) -> String {
        // No text to wait for: until the port is closed.
        self.serial.wait(0, &[], seconds(10));
        self.serial.text()
    }

    /// Guest time in milliseconds.
    pub fn milliseconds(&mut self) -> Result<u64> {
        let tree = self.inspect("")?;
        let time = tree.lines().find_map(|line| line.trim().strip_prefix("time")?.trim().strip_suffix(" s"));
        let time = time.and_then(|text| text.trim_start_matches([':', '=', ' ']).parse::<f64>().ok());
        Ok((time.with_context(|| format!("no time in {tree}"))? * 1000.0) as u64)
    }

    /// What the program itself said on stderr.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    fn last_words(&mut self) -> String {
        let screen = match self.program {
            // Under the screen there may be more than on the serial line: the firmware speaks there alone.
            _ if self.is_running() => self.screen().map(|screen| screen.text()).unwrap_or_default(),
            _ => String::new(),
        };
        format!(
            "\n--- serial ---\n{}\n--- screen ---\n{screen}\n--- stderr ---\n{}\n---",
            self.serial.tail(),
            self.errors()
        )
    }

    /// Sends a line to the serial port.
    pub fn type_line(&mut self, text: &str) -> Result<()> {
        self.type_raw(&format!("{text}\n"))
    }

    /// Sends bytes to the serial port.
    pub fn type_raw(&mut self, text: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the serial port is closed")?;
        stdin.write_all(text.as_bytes())?;
        stdin.flush().context("the serial port takes nothing")
    }

    /// Whether the process is there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the process to end.
    pub fn wait_exit(&mut self, patience: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                bail!("the process did not end in {patience:.0?}{}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the guest to power off, which is exit status 0.
    pub fn wait_power_off(&mut self, patience: Duration) -> Result<()> {
        let status = self.wait_exit(patience)?;
        ensure!(status.code() == Some(0), "exit {status}, not a power-off{}", self.last_words());
        Ok(())
    }

    /// Ends the process at once, as a crash of the host would.
    pub fn kill(&mut self) {
        // One that has ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The monitor.
    pub fn monitor(&mut self) -> Result<&mut Qmp> {
        if self.monitor.is_none() {
            let connected = Qmp::connect(&self.socket(), || matches!(self.child.try_wait(), Ok(None)));
            let connected = connected.with_context(|| format!("stderr: {}", self.errors().trim_end()));
            self.monitor = Some(connected?);
        }
        self.monitor.as_mut().context("no monitor")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("monitor")
    }

    /// The screen as a picture.
    pub fn screenshot(&mut self) -> Result<Picture> {
        let file = self.folder.path().join("screen.png");
        self.monitor()?.execute("screendump", json!({ "filename": file, "format": "png" }))?;
        if let Some(folder) = logs() {
            fs::copy(&file, folder.join(format!("{}.png", self.child.id())))?;
        }
        Picture::read(&file)
    }

    /// The screen read as text.
    pub fn screen(&mut self) -> Result<Screen> {
        Screen::read(&self.screenshot()?)
    }

    /// Waits until the screen shows `text`.
    pub fn wait_screen(&mut self, text: &str, patience: Duration) -> Result<Screen> {
        self.wait_screen_until(&format!("{text:?}"), patience, |screen| screen.has(text))
    }

    /// Waits until the screen is as it should be; `what` says how in the error.
    pub fn wait_screen_until(
        &mut self,
        what: &str,
        patience: Duration,
        is: impl Fn(&Screen) -> bool,
    ) -> Result<Screen> {
        let until = Instant::now() + patience;
        loop {
            let screen = self.screen()?;
            if is(&screen) {
                return Ok(screen);
            }
            if Instant::now() > until {
                bail!("the screen did not show {what} in {patience:.0?}{}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// Presses keys one after the other; each is names joined by dashes, as `ctrl-a`.
    pub fn keys(&mut self, keys: &[&str]) -> Result<()> {
        keys.iter().try_for_each(|together| self.hold(together, 40))
    }

    /// Presses one key, or several together, for so long.
    pub fn hold(&mut self, keys: &str, milliseconds: u64) -> Result<()> {
        let names: Vec<_> = keys.split('-').map(|name| json!({ "type": "qcode", "data": name })).collect();
        self.monitor()?.execute("send-key", json!({ "keys": names, "hold-time": milliseconds }))?;
        // A person is slower than this, too.
        std::thread::sleep(Duration::from_millis(milliseconds + 40));
        // The keyboard's own buffer is 16 bytes: on a busy machine the guest may need longer to read it.
        let until = Instant::now() + seconds(20);
        let queued = |tree: Result<String>| tree.is_ok_and(|tree| !tree.contains(" 0 bytes queued"));
        while Instant::now() < until && queued(self.inspect("device/i8042")) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The live tree below `node`.
    pub fn inspect(&mut self, node: &str) -> Result<String> {
        let tree = self.monitor()?.execute("inspect", json!({ "path": node }))?;
        Ok(tree.as_str().context("inspect gives no text")?.to_owned())
    }

    /// Runs a subcommand of ours on this guest's monitor.
    pub fn subcommand(&self, name: &str, rest: &[&str]) -> Result<Output> {
        let monitor = format!("unix:{}", self.socket().display());
        Subcommand::new()?.run(&[&[name, "--monitor", &monitor], rest].concat())
    }

    /// Saves the guest to `file` with `ailurus save`, which ends its process.
    pub fn save(&mut self, file: &Path) -> Result<()> {
        self.monitor = None;
        let output = self.subcommand("save", &[&file.display().to_string()])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "save failed ({}): {said}", output.status);
        self.wait_exit(seconds(30)).context("the process stays after a save")?;
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Our program run to its end, for commands that are not guests.
pub struct Subcommand(Program);

impl Subcommand {
    /// Ours; an error in a control run, where there is none.
    pub fn new() -> Result<Subcommand> {
        match Program::chosen()? {
            Program::Qemu(_) => bail!("QEMU has no counterpart of this test"),
            ours => Ok(Subcommand(ours)),
        }
    }

    /// Runs it with nothing on stdin. One that does not end in a minute is killed: an error.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let folder = place::temporary()?;
        let (out, err) = (folder.path().join("out"), folder.path().join("err"));
        let mut command = self.0.command();
        command.args(arguments).stdin(Stdio::null());
        command.stdout(File::create(&out)?).stderr(File::create(&err)?);
        let mut child = command.spawn()?;
        let until = Instant::now() + seconds(60);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Output { status, stdout: fs::read(&out)?, stderr: fs::read(&err)? });
            }
            if Instant::now() > until {
                child.kill()?;
                child.wait()?;
                bail!("`ailurus {}` does not end", arguments.join(" "));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The folder that keeps what guests say, if one is wanted.
fn logs() -> Option<PathBuf> {
    std::env::var_os("AILURUS_LOGS").map(PathBuf::from)
}

fn log(pid: u32, command: &Command) -> Option<File> {
    let mut file = File::create(logs()?.join(format!("{pid}.serial"))).ok()?;
    writeln!(file, "{command:?}").ok()?;
    Some(file)
}
