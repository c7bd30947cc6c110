//! A running lab: the emulator, and the way to run jobs in its dom0.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use guest_tests::Program;

use super::pulse::Pulse;
use crate::place::Place;
use crate::ui::Step;

/// How long dom0 may take to come up on a busy machine; 15 s is usual.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a job may take to be noticed and to be ended, beyond its own time.
const GRACE: Duration = Duration::from_secs(60);
/// A lab ends by itself after so long, whatever became of who started it.
const LIFE: &str = "8h";

const XEN: &str = "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all conswitch=x noreboot bootscrub=0 \
                   spec-ctrl=no dom0_mem=1024M,max:1024M dom0_max_vcpus=1";
const LINUX: &str = "console=hvc0 loglevel=6 net.ifnames=0 mitigations=off audit=0";

/// What becomes of dom0's console and of the emulator's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The lab ends with this program; the console goes to a log.
    Tests,
    /// As `Tests`, with a clock that counts instructions, which makes the lab three times slower.
    Counted,
    /// The lab outlives this program; the console goes to a log.
    Kept,
    /// The lab ends with this program; the console is on this terminal.
    Shell,
}

/// The files that a lab is booted from.
pub struct Boot {
    /// Xen, a multiboot image.
    pub xen: PathBuf,
    /// dom0's kernel.
    pub kernel: PathBuf,
    /// Its initial RAM disk.
    pub ramdisk: PathBuf,
    /// Its root disk; the lab does not write to it.
    pub disk: PathBuf,
}

/// A running lab. One that this program started, and that is not to be kept, ends when it is dropped.
pub struct Lab {
    folder: PathBuf,
    emulator: Option<Child>,
}

impl Lab {
    /// Boots a lab and waits for its dom0.
    pub fn boot(place: &Place, boot: &Boot, manner: Manner) -> Result<Lab> {
        if Lab::running(place).is_some() {
            bail!("a lab is running already; `cargo xtask xen-lab --stop` ends it");
        }
        let folder = folder(place);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("share/jobs"))?;
        let mut command = command(place, boot, manner, &folder)?;
        let log = File::create(folder.join("emulator.log"))?;
        if manner != Manner::Shell {
            command.stdin(Stdio::null()).stdout(log.try_clone()?);
        }
        let step = Step::begin("boot Xen and dom0");
        let child = command.stderr(log).spawn().context("cannot start the emulator")?;
        fs::write(folder.join("pid"), child.id().to_string())?;
        let mut lab = Lab { folder, emulator: Some(child) };
        lab.wait_ready()?;
        step.done();
        if manner == Manner::Kept {
            lab.emulator = None;
        }
        Ok(lab)
    }

    /// The lab that is running now, if any.
    pub fn running(place: &Place) -> Option<Lab> {
        let lab = Lab { folder: folder(place), emulator: None };
        lab.is_alive().then_some(lab)
    }

    /// The folder that dom0 sees as /share.
    pub fn share(&self) -> PathBuf {
        self.folder.join("share")
    }

    /// Puts a file into /share, with its time, unless it is there.
    pub fn push(&self, file: &Path, name: &str) -> Result<()> {
        let (new, target) = (self.share().join(format!(".{name}")), self.share().join(name));
        let copy = || -> std::io::Result<()> {
            let from = fs::metadata(file)?;
            let modified = from.modified()?;
            if fs::metadata(&target).is_ok_and(|there| {
                there.len() == from.len() && there.modified().is_ok_and(|at| at == modified)
            }) {
                return Ok(());
            }
            fs::copy(file, &new)?;
            File::options().write(true).open(&new)?.set_modified(modified)?;
            // At once, and never into a program that runs.
            fs::rename(&new, &target)
        };
        copy().with_context(|| format!("cannot copy {}", file.display()))
    }

    /// Everything that Xen and dom0 said on the console.
    pub fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()
    }

    /// Whether the emulator runs: a process of that number that has this lab in its command line.
    pub fn is_alive(&self) -> bool {
        let Some(pid) = self.pid() else { return false };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        let ended = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']));
        // `nice`, `timeout` and the emulator replace each other; meanwhile there is no command line.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        !ended
            && (line.is_empty() || String::from_utf8_lossy(&line).contains(&*self.folder.to_string_lossy()))
    }

    fn keep_awake(&self, pulse: &mut Pulse) {
        if let Some(pid) = self.pid() {
            pulse.keep(pid, &self.folder);
        }
    }

    fn wait_ready(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let ready = self.share().join("ready");
        let mut pulse = Pulse::new();
        while !ready.exists() {
            ensure!(self.is_alive(), "the emulator ended{}", self.last_words());
            ensure!(Instant::now() < until, "dom0 did not come up in {PATIENCE:?}{}", self.last_words());
            self.keep_awake(&mut pulse);
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The last lines of the console and of the emulator, for errors.
    pub fn last_words(&self) -> String {
        let tail = |path: &Path| {
            let text = fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        };
        format!(
            "\n--- console ---\n{}\n--- emulator ---\n{}",
            tail(&self.console()),
            tail(&self.folder.join("emulator.log"))
        )
    }

    /// Runs a bash script in dom0 and gives its exit status. What it prints goes to `said` while it runs. After
    /// `limit` it is killed, which is status 124 or 137.
    pub fn run(&self, script: &str, limit: Duration, mut said: impl FnMut(&[u8])) -> Result<i32> {
        let jobs = self.share().join("jobs");
        let name = job_name();
        let file = |kind: &str| jobs.join(format!("{name}.{kind}"));
        fs::write(file("new"), format!("# {}\n{script}\n", limit.as_secs().max(1)))?;
        fs::rename(file("new"), file("sh"))?;
        let until = Instant::now() + limit + GRACE;
        let mut passed = 0;
        let mut pulse = Pulse::new();
        loop {
            let status = fs::read_to_string(file("rc")).ok();
            passed += follow(&file("out"), passed, &mut said)?;
            if let Some(status) = status {
                for kind in ["job", "out", "rc"] {
                    fs::remove_file(file(kind))?;
                }
                return status.trim().parse().context("a job without a status");
            }
            ensure!(self.is_alive(), "the lab ended{}", self.last_words());
            ensure!(Instant::now() < until, "dom0 does not answer{}", self.last_words());
            self.keep_awake(&mut pulse);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the emulator ends, as it does when the person at the console ends it.
    pub fn wait(mut self) -> Result<()> {
        if let Some(child) = &mut self.emulator {
            child.wait()?;
        }
        Ok(())
    }

    /// Ends the emulator.
    pub fn stop(mut self) -> Result<()> {
        self.end();
        ensure!(!self.is_alive(), "the emulator does not end");
        Ok(())
    }

    /// Ends the emulator, as far as it runs.
    pub fn end(&mut self) {
        let Some(pid) = self.pid().filter(|_| self.is_alive()) else { return };
        // `timeout` passes the signal on, and kills the emulator when that does not help.
        let _ = Command::new("kill").arg(pid.to_string()).status();
        let until = Instant::now() + Duration::from_secs(10);
        while self.is_alive() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        if let Some(mut child) = self.emulator.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.emulator.is_some() {
            self.end();
        }
    }
}

fn folder(place: &Place) -> PathBuf {
    place.build.join("xen-lab/live")
}

/// Different for every job of every program that uses a lab.
fn job_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}-{}", time.as_millis(), std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Passes on what a file holds beyond `from`; gives how much that is.
fn follow(path: &Path, from: u64, said: &mut impl FnMut(&[u8])) -> Result<u64> {
    let Ok(mut file) = File::open(path) else { return Ok(0) };
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    let more = file.read_to_end(&mut text)?;
    if more > 0 {
        said(&text);
    }
    Ok(more as u64)
}

/// The emulator's command line. One emulated CPU: with two, one guest in three hangs in its firmware, whatever the
/// device model.
fn command(place: &Place, boot: &Boot, manner: Manner, folder: &Path) -> Result<Command> {
    let qemu = Program::Qemu(place.qemu()).command();
    let mut command = match manner {
        Manner::Kept => Command::new("nice"),
        Manner::Tests | Manner::Counted | Manner::Shell => {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "TERM", "nice"]);
            command
        }
    };
    command.args(["-n", "5", "timeout", "--foreground", "-k", "5", LIFE]);
    command.arg(qemu.get_program()).args(qemu.get_args());
    command.envs(qemu.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    // Where the emulator puts what dom0 writes to its disk.
    command.env("TMPDIR", folder);
    command.args(["-name", "xen-lab", "-M", "q35", "-nodefaults", "-display", "none", "-no-reboot"]);
    command.args(["-accel", "tcg,thread=single,tb-size=1024", "-cpu", "qemu64,+svm,+npt"]);
    command.args(["-smp", "1", "-m", "4096"]);
    if manner == Manner::Counted {
        // 8 ns an instruction, and real time while all processors idle: dom0's time-outs stay what they are.
        command.args(["-icount", "shift=3,sleep=on"]);
    }
    command.arg("-kernel").arg(&boot.xen).args(["-append", XEN]);
    let path = |path: &Path| path.display().to_string().replace(',', ",,");
    let linux = LINUX.replace(',', ",,");
    command.arg("-initrd").arg(format!("{} {linux},{}", path(&boot.kernel), path(&boot.ramdisk)));
    let disk = path(&boot.disk);
    command.arg("-drive").arg(format!("if=none,id=root,file={disk},format=raw,cache=unsafe,snapshot=on"));
    command.args(["-device", "virtio-blk-pci,drive=root"]);
    let share = path(&folder.join("share"));
    command.arg("-virtfs").arg(format!("local,path={share},mount_tag=lab,security_model=none"));
    // For a look at a lab that hangs, and a push. The path is short because a socket's may be no longer than 107 bytes.
    command.current_dir(folder).args(["-qmp", "unix:monitor,server=on,wait=off"]);
    let log = path(&folder.join("console.log"));
    match manner {
        Manner::Shell => {
            command.arg("-chardev").arg(format!("stdio,id=console,mux=on,signal=off,logfile={log}"));
            command.args(["-serial", "chardev:console", "-mon", "chardev=console"]);
        }
        Manner::Tests | Manner::Counted => {
            command.arg("-serial").arg(format!("file:{log}"));
        }
        Manner::Kept => {
            command.arg("-serial").arg(format!("file:{log}"));
            // Ctrl-C at this terminal does not mean it.
            command.process_group(0);
        }
    }
    Ok(command)
}
