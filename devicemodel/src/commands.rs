//! What each subcommand does.

use std::ffi::OsString;
use std::fs::File;
use std::io::{IsTerminal, Seek};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use backends::vnc::VncError;
use clap::Parser;
use devices::models;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use thiserror::Error;
use tracing_subscriber::prelude::*;

use crate::cli::{
    Cli, Command, DevicesArgs, HostArgs, InspectArgs, InstallXenArgs, MonitorArgs, ReplayArgs, RestoreArgs,
    RunArgs, Sandbox, SaveArgs, ScreenshotArgs, SendKeyArgs, unix_path,
};
use crate::config::{ConfigError, GuestConfig};
use crate::inherited;
use crate::install::{self, InstallError};
use crate::launch::{self, Settings, Vcpus, launch};
use crate::ledger::Ledger;
use crate::listing;
use crate::machine::{BuildError, Machine};
use crate::monitor::client::{Client, ClientError};
use crate::qdisk::{self, QdiskError};
use crate::qemu;
use crate::qemu_main;
use crate::replay::{self, Outcome, ReplayError, Report};
use crate::restore;
use crate::run::{LoopError, Options, bind_monitor};
use crate::sandbox::{self, Named, SandboxError};
use crate::saved::{self, SaveError};
use crate::whole_file::WholeFile;

/// Why the program ends without a guest's ending.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Build(#[from] BuildError),
    #[error("{0}")]
    Save(#[from] SaveError),
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Loop(#[from] LoopError),
    #[error("{0}")]
    Install(#[from] InstallError),
    #[error("{0}")]
    PvDisks(#[from] QdiskError),
    #[error("{0}")]
    Replay(#[from] ReplayError),
    #[error("{0}")]
    Vnc(#[from] VncError),
    #[error("the monitor cannot listen at {path}: {source}")]
    Monitor { path: PathBuf, source: std::io::Error },
    #[error("{0}; --sandbox off does without it")]
    Sandbox(#[from] SandboxError),
    #[error("{0}")]
    Host(#[from] std::io::Error),
}

impl Failure {
    /// 2: what was asked for is wrong; 1: it went wrong.
    fn status(&self) -> u8 {
        match self {
            Failure::Config(_) => 2,
            Failure::Build(error) if error.is_configuration() => 2,
            _ => 1,
        }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    inherited::note();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let [program, rest @ ..] = arguments.as_slice()
        && qemu::is_asked_for(program, rest.first().map(OsString::as_os_str))
    {
        return qemu_main::main(rest);
    }
    let cli = Cli::parse_from(arguments);
    if matches!(cli.command, Command::PvDisks(_) | Command::PvOpener(_)) {
        qemu_main::log_to_its_end();
    } else {
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time();
        tracing_subscriber::registry().with(lines.with_filter(qemu_main::wanted_lines())).init();
    }
    let result = match cli.command {
        Command::Run(args) => run_guest(&args),
        Command::Restore(args) => restore_guest(&args),
        Command::Save(args) => save(&args),
        Command::Replay(args) => play(&args),
        Command::Screenshot(args) => screenshot(&args),
        Command::Inspect(args) => inspect(&args),
        Command::Pause(args) => simple(&args, "stop"),
        Command::Resume(args) => simple(&args, "cont"),
        Command::Reset(args) => simple(&args, "system_reset"),
        Command::Powerdown(args) => simple(&args, "system_powerdown"),
        Command::Quit(args) => simple(&args, "quit"),
        Command::SendKey(args) => send_key(&args),
        Command::Devices(args) => list_devices(&args),
        Command::InstallXen(args) => install_xen(args),
        Command::PvDisks(args) => {
            let (chroot, user) = (args.chroot, args.runas);
            let rights = sandbox::Options { chroot, user, confine: true, ..sandbox::Options::default() };
            qdisk::helper::main(args.domid, &rights).map(|()| 0).map_err(Failure::from)
        }
        Command::PvOpener(args) => qdisk::opener::main(args.domid).map(|()| 0).map_err(Failure::from),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            say(&failure.to_string());
            ExitCode::from(failure.status())
        }
    }
}

/// One line for the person.
pub(crate) fn say(line: &str) {
    eprintln!("ailurus: {line}");
}

fn run_guest(args: &RunArgs) -> Result<u8, Failure> {
    if args.cpu.as_deref().is_some_and(|cpu| matches!(cpu, "help" | "?")) {
        print!("{}", listing::cpus());
        return Ok(0);
    }
    let (mut config, warnings) = args.config()?;
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
    if args.check {
        return Ok(0);
    }
    let chosen = launch::choose(args.hypervisor)?;
    if let Some(why) = chosen.why {
        say(&why);
    }
    let recorded = args.host.record_io.is_some();
    note(&mut config, &args.host);
    let ending = launch(config, settings(&args.host, false)?, |machine, _| {
        // A replay loads its devices, which drives their lines; new devices have not driven theirs yet.
        if recorded {
            machine.bus().reset();
        }
        Ok::<_, Failure>(())
    })?;
    Ok(ending.status())
}

/// Notes what a guest was given that can be saved, before its process is confined.
fn note(config: &mut GuestConfig, host: &HostArgs) {
    let Some(ledger) = Ledger::of_user().filter(|_| host.monitor.is_some()) else { return };
    match ledger.note_guest(&restore::reaches(config)) {
        Ok(number) => config.noted = Some(number),
        // The person is asked again what the guest may have.
        Err(error) => tracing::info!("what the guest was given is not noted: {error}"),
    }
}

fn restore_guest(args: &RestoreArgs) -> Result<u8, Failure> {
    let mut given = args.given()?;
    let mut file = File::open(&args.file).map_err(|error| named(&args.file, error))?;
    let mut settings = settings(&args.host, args.paused)?;
    let ledger = Ledger::of_user().filter(|ledger| !given.trust && ledger.has_saved(&mut file));
    // Whoever made the file may have made it to hurt: what reads it has no more than the command line names, or the person
    // trusts.
    let mut ahead = given.host_side()?;
    // What is no file is refused below, where it is read.
    if file.metadata()?.is_file() && (given.trust || ledger.is_some()) {
        let header = saved::open_file(file.try_clone()?, &args.file, None)?;
        if let (Some(ledger), Some(number)) = (&ledger, &header.config.noted) {
            given.known = ledger.given_to(number);
        }
        ahead = restore::settle(header.config, &given)?;
        file.rewind()?;
    }
    note(&mut ahead, &args.host);
    settings.confine_ahead(&ahead)?;
    let mut saved = saved::open_file(file, &args.file, None)?;
    // The file is looked through before anything that it names, or the command line, is opened.
    saved.config.check()?;
    let saved = saved.check()?;
    let mut config = restore::settle(saved.config.clone(), &given)?;
    config.noted = ahead.noted;
    config.check()?;
    // Another may go on from the same file.
    config.renew_generation();
    let load = |machine: &mut Machine| -> Result<(), saved::SaveError> {
        saved.load(machine.hypervisor(), machine.bus())?;
        machine.tell_generation();
        Ok(())
    };
    let ending = launch(config, settings, |machine, _| load(machine).map_err(Failure::from))?;
    Ok(ending.status())
}

fn play(args: &ReplayArgs) -> Result<u8, Failure> {
    let begun = Instant::now();
    let Report { records, time, outcome } = replay::replay(&args.file)?;
    let file = args.file.display();
    let guest = time as f64 / 1e9;
    let played =
        format!("{records} records to {guest:.3} s of guest time, in {:.3} s", begun.elapsed().as_secs_f64());
    match outcome {
        Outcome::Equal => println!("{file}: the devices did what was recorded; {played}"),
        Outcome::Cut => {
            println!(
                "{file}: the devices did what was recorded, up to where the file is cut short; {played}"
            );
        }
        Outcome::Damaged(why) => {
            say(&format!(
                "{file}: it is damaged: {why}; up to there the devices did what was recorded; {played}"
            ));
            return Ok(1);
        }
        Outcome::Differs(difference) => {
            println!("{difference}");
            say(&format!("{file}: the devices did something else than was recorded; {played}"));
            return Ok(1);
        }
    }
    Ok(0)
}

fn list_devices(args: &DevicesArgs) -> Result<u8, Failure> {
    match &args.model {
        None => print!("{}", listing::table(args.all)),
        Some(name) => match models::find(name) {
            Some(model) => print!("{}", model.help()),
            None => {
                let text = format!("there is no device model '{name}': `ailurus devices` lists all");
                return Err(ConfigError::Invalid(text).into());
            }
        },
    }
    Ok(0)
}

fn install_xen(args: InstallXenArgs) -> Result<u8, Failure> {
    let InstallXenArgs { apply, root, guest, all, undo } = args;
    let todo =
        install::Todo::new(&install::Wish { root, guests: guest, all, undo }, &std::env::current_exe()?)?;
    print!("{todo}");
    if apply {
        todo.apply()?;
    } else {
        println!("nothing was changed: --apply does it");
    }
    Ok(0)
}

/// What the command line gives a guest of the host. Binds the monitor's socket, before anything else is touched:
/// somebody else may have it.
fn settings(host: &HostArgs, paused: bool) -> Result<Settings, Failure> {
    let monitor = host.monitor.as_deref().map(unix_path).transpose()?;
    let bind =
        |path: &PathBuf| bind_monitor(path).map_err(|source| Failure::Monitor { path: path.clone(), source });
    let options = Options {
        server: monitor.as_ref().map(bind).transpose()?,
        vnc: host.display.open(say)?,
        timeout: host.timeout.map(Duration::from_secs),
        patience: Duration::from_secs(host.patience),
        paused,
        ..Options::default()
    };
    let (debugcon, record) = (host.debugcon.clone(), host.record_io.clone());
    let named = Named { monitor, debugcon: debugcon.clone(), record: record.clone() };
    let named = (host.sandbox == Sandbox::On).then_some(named);
    let soft = Vcpus::Soft { tier: host.cpu_tier, record, lockstep: host.lockstep.clone() };
    Ok(Settings { debugcon, named, options, ..Settings::new(soft)? })
}

fn connect(args: &MonitorArgs) -> Result<Client, Failure> {
    Ok(Client::connect(&unix_path(&args.monitor)?)?)
}

fn simple(args: &MonitorArgs, command: &str) -> Result<u8, Failure> {
    let mut client = connect(args)?;
    match client.execute(command, json!({}), |_, _| ()) {
        // A guest that is told to quit may be gone before it has answered.
        Err(ClientError::Closed) if command == "quit" => Ok(0),
        result => Ok(result.map(|_| 0)?),
    }
}

/// A file that the guest's process is to write, and that gets its name from us.
fn whole(file: &Path) -> Result<WholeFile, Failure> {
    WholeFile::create(file).map_err(|error| named(file, error))
}

/// An error with the file that it is about.
fn named(file: &Path, error: std::io::Error) -> Failure {
    Failure::Host(std::io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

fn save(args: &SaveArgs) -> Result<u8, Failure> {
    let mut client = connect(&args.monitor)?;
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let template = "saving {bar:40} {bytes} of {total_bytes}, {eta} to go";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    // Opened here, since the guest's process may open few files by name; and by whoever asks.
    let whole = whole(&args.file)?;
    let (name, set) = client.hand_over(whole.file())?;
    client.execute("save", json!({ "filename": name }), |event, data| {
        if event == "SAVE_PROGRESS" {
            bar.set_length(data["total"].as_u64().unwrap_or(0));
            bar.set_position(data["transferred"].as_u64().unwrap_or(0));
        }
    })?;
    client.execute("remove-fd", json!({ "fdset-id": set }), |_, _| ())?;
    whole.commit().map_err(|error| named(&args.file, error))?;
    bar.finish_and_clear();
    if args.keep_running {
        client.execute("cont", json!({}), |_, _| ())?;
    } else if !args.paused {
        match client.execute("quit", json!({}), |_, _| ()) {
            Ok(_) | Err(ClientError::Closed) => {}
            Err(error) => return Err(error.into()),
        }
    }
    note_saved(&args.file);
    Ok(0)
}

/// Notes that the file is this user's, who need not name again what the guest was given.
fn note_saved(file: &Path) {
    let Some(ledger) = Ledger::of_user() else { return };
    let note = || match File::open(file)? {
        // `/dev/null`.
        saved if !saved.metadata()?.is_file() => Ok(()),
        mut saved => ledger.note_saved(&mut saved),
    };
    if let Err(error) = note() {
        say(&format!("restore will ask for what {} names of this host: {error}", file.display()));
    }
}

fn screenshot(args: &ScreenshotArgs) -> Result<u8, Failure> {
    let mut client = connect(&args.monitor)?;
    let whole = whole(&args.file)?;
    let (name, set) = client.hand_over(whole.file())?;
    client.execute("screendump", json!({ "filename": name, "format": "png" }), |_, _| ())?;
    client.execute("remove-fd", json!({ "fdset-id": set }), |_, _| ())?;
    whole.commit().map_err(|error| named(&args.file, error))?;
    Ok(0)
}

fn inspect(args: &InspectArgs) -> Result<u8, Failure> {
    let mut client = connect(&args.monitor)?;
    let path = args.node.as_deref().unwrap_or("");
    let tree = client.execute("inspect", json!({ "path": path }), |_, _| ())?;
    print!("{}", tree.as_str().unwrap_or(""));
    Ok(0)
}

fn send_key(args: &SendKeyArgs) -> Result<u8, Failure> {
    let mut client = connect(&args.monitor)?;
    for chord in &args.keys {
        let keys: Vec<Value> = chord.split('-').map(|key| json!({ "type": "qcode", "data": key })).collect();
        client.execute("send-key", json!({ "keys": keys, "hold-time": 60 }), |_, _| ())?;
        // The guest must see the release before the next press of the same key.
        std::thread::sleep(Duration::from_millis(120));
    }
    Ok(0)
}
