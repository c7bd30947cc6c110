//! The program in QEMU's place: started with QEMU's command line, by libxl or by a tool.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use backends::vnc::VncError;
use thiserror::Error;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::commands::{Failure, say};
use crate::config::{ConfigError, CpuTier, GuestConfig};
use crate::domain::{self, Domain, DomainError};
use crate::launch::{self, Settings, Vcpus, launch};
use crate::machine::{Machine, Preopened};
use crate::monitor::info::{NewNode, NewNodeKind, Source};
use crate::monitor::protocol::QmpError;
use crate::monitor::server::Server;
use crate::qemu::{
    self, Incoming, LooseImage, MonitorSocket, Plan, QemuError, QtestOptions, SocketAt, Task, UserObject,
    XenOptions,
};
use crate::qtest::command::Session;
use crate::qtest::{self, Access};
use crate::run::{Ending, Options, Step};
use crate::sandbox::SandboxError;
use crate::saved;
use crate::{inherited, probe, sandbox};

/// Most bytes of log: a guest must not fill the host's disk with what it makes us say (XSA-180).
const LOG_MOST: usize = 1 << 20;

/// Why there is no guest.
#[derive(Debug, Error)]
enum StartError {
    #[error("{0}")]
    CommandLine(#[from] QemuError),
    #[error("the monitor {label} cannot listen: {source}")]
    Monitor { label: String, source: io::Error },
    #[error("-qtest: {0}")]
    Qtest(#[source] io::Error),
    #[error("{}: {source}", .path.display())]
    Pidfile { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Domain(#[from] DomainError),
    #[error("{0}")]
    Vnc(#[from] VncError),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("image {}: {}", .name, .why.desc)]
    Image { name: String, why: QmpError },
    #[error("-object {id}: {}", .why.desc)]
    Object { id: String, why: QmpError },
    #[error("{0}")]
    Guest(#[from] Failure),
    #[error("{0}")]
    Sandbox(#[from] SandboxError),
}

/// Runs the program with QEMU's arguments (without the program's name). Exit status: 0, or 1 after one line
/// on standard error, which libxl makes the guest's log.
pub fn main(arguments: &[OsString]) -> ExitCode {
    log_to_its_end();
    match run(arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // One line, whatever was in the arguments.
            say(&error.to_string().replace(char::is_control, " "));
            ExitCode::FAILURE
        }
    }
}

/// What is logged: warnings, unless `AILURUS_LOG` says otherwise (`info`, `devices=debug,warn`).
pub(crate) fn wanted_lines() -> Targets {
    let words = std::env::var("AILURUS_LOG").ok();
    words.and_then(|words| words.parse().ok()).unwrap_or_else(|| Targets::new().with_default(Level::WARN))
}

/// Logs to standard error, so many bytes at most.
pub(crate) fn log_to_its_end() {
    let log = Log(Arc::new(Mutex::new(LOG_MOST)));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || log.clone());
    tracing_subscriber::registry().with(lines.with_filter(wanted_lines())).init();
}

fn run(arguments: &[OsString]) -> Result<u8, StartError> {
    match Task::new(qemu::parse(arguments)?)? {
        Task::Listing(text) => print!("{text}"),
        Task::Help => print!("{}", qemu::options::help()),
        Task::Version => println!(
            "QEMU emulator version 7.2.0 (ailurus {}: the command line and monitor of that QEMU)",
            env!("CARGO_PKG_VERSION")
        ),
        Task::Probe(monitors, qtest, objects) => probe(&monitors, qtest.as_ref(), &objects)?,
        Task::Guest(plan) => return guest(*plan),
    }
    Ok(0)
}

/// Answers questions, with no guest.
fn probe(
    monitors: &[MonitorSocket],
    options: Option<&QtestOptions>,
    objects: &[UserObject],
) -> Result<(), StartError> {
    let served = options.and_then(|options| Some((options.place.as_ref()?, &options.log)));
    let open = |(place, log)| {
        let session = probe::session().map_err(Failure::from)?;
        qtest::server::Server::open(session, place, log).map_err(StartError::Qtest)
    };
    // The client waits for this connection first, and for the monitor's after it.
    let qtest = served.map(open).transpose()?;
    let server = open_monitors(monitors, objects)?;
    Ok(probe::run(server, qtest).map_err(Failure::from)?)
}

/// Opens the monitors' sockets, whose clients find these objects.
fn open_monitors(sockets: &[MonitorSocket], objects: &[UserObject]) -> Result<Option<Server>, StartError> {
    let mut server = Server::new(crate::run::MONITOR);
    for object in objects {
        let (id, object) = match object {
            UserObject::Secret(id, secret) => (id, secret.read()),
            UserObject::Known(id, object) => (id, Ok(object.clone())),
        };
        let added = object.and_then(|object| server.add_object(id, object));
        added.map_err(|why| StartError::Object { id: id.to_owned(), why })?;
    }
    for MonitorSocket { label, at } in sockets {
        let opened = match at {
            SocketAt::Path(path) => server.listen(label, path),
            SocketAt::Peer(path) => server.connect(label, path),
            SocketAt::Fd(fd) => inherited::duplicate(*fd).and_then(|socket| server.adopt(label, socket)),
        };
        opened.map_err(|source| StartError::Monitor { label: label.clone(), source })?;
    }
    Ok((!sockets.is_empty()).then_some(server))
}

fn guest(plan: Plan) -> Result<u8, StartError> {
    if let Some(xen) = plan.xen.clone() {
        return domain(plan, xen);
    }
    if let Some(qtest) = plan.qtest.clone() {
        return still(plan, &qtest);
    }
    let chosen = launch::choose(plan.hypervisor)?;
    refuse_elsewhere(&plan)?;
    let Plan { guest, host, .. } = plan;
    host.notes.iter().chain(&chosen.why).for_each(|line| say(line));
    let server = open_monitors(&host.monitors, &host.objects)?;
    let _pidfile = host.pidfile.as_deref().map(Pidfile::write).transpose()?;
    let vnc = crate::vnc::listen(&host)?;
    let confine = confine(host.sandbox, &guest);
    let options = Options { server, vnc, paused: host.paused, confine, ..Options::default() };
    let soft = Settings::new(Vcpus::Soft { tier: CpuTier::Auto, record: None, lockstep: None })?;
    let settings = Settings { debugcon: host.debugcon, options, ..soft };
    let ending = launch(guest, settings, |machine, _| have_images(machine, host.images))?;
    // A panic is an end like another for QEMU, unless the command line says that it is a failure.
    Ok(if ending == Ending::Crashed { u8::from(host.panic_fails) } else { ending.status() })
}

/// Opens the images that devices may be plugged with later.
fn have_images(machine: &Machine, images: Vec<LooseImage>) -> Result<(), StartError> {
    for image in images {
        let name = image.name.clone();
        let added = match (image.drive, image.path.clone()) {
            (false, Some(path)) => {
                let kind = NewNodeKind::Format(image.format_name().into(), Source::Path(path));
                machine.add_node(NewNode { name: image.name, kind, readonly: image.readonly })
            }
            _ => machine.add_drive(image.into_drive()),
        };
        added.map_err(|why| StartError::Image { name, why })?;
    }
    Ok(())
}

/// What the process gives up when everything is open.
fn confine(rights: sandbox::Options, guest: &GuestConfig) -> Step {
    let rights = sandbox::Options { reach: guest.reach(), ports: guest.ports(), ..rights };
    Box::new(move || Ok(sandbox::enter(&rights, None)?))
}

/// A machine with no CPU, driven by the qtest protocol.
fn still(plan: Plan, qtest: &QtestOptions) -> Result<u8, StartError> {
    refuse_elsewhere(&plan)?;
    let Plan { guest, host, .. } = plan;
    host.notes.iter().for_each(|line| say(line));
    let _pidfile = host.pidfile.as_deref().map(Pidfile::write).transpose()?;
    let (still, taps) = launch::no_cpu(&guest)?;
    let nobody = Settings::new(Vcpus::Nobody { still: still.clone(), taps: taps.clone() })?;
    let confine = confine(host.sandbox.clone(), &guest);
    let options = Options { paused: host.paused, confine, ..Options::default() };
    let settings = Settings { debugcon: host.debugcon.clone(), options, ..nobody };
    let ending = launch(guest, settings, |machine, options| {
        have_images(machine, host.images.clone())?;
        let session = Session::new(Access::new(still, machine.bus()), machine.isa(), taps);
        // The client waits for this connection first, and for the monitor's after it.
        let opened =
            qtest.place.as_ref().map(|place| qtest::server::Server::open(session, place, &qtest.log));
        options.qtest = opened.transpose().map_err(StartError::Qtest)?;
        options.server = open_monitors(&host.monitors, &host.objects)?;
        options.vnc = crate::vnc::listen(&host)?;
        Ok::<_, StartError>(())
    })?;
    Ok(ending.status())
}

/// Serves a Xen domain, from its start (or from where it was saved) to its end.
///
/// First comes what takes rights, from the command line alone. Then they are given up, and only then is anything read
/// that a guest has written: its images, and the state from which it goes on.
fn domain(plan: Plan, xen: XenOptions) -> Result<u8, StartError> {
    let Plan { mut guest, mut host, .. } = plan;
    if host.sandbox.confine {
        sandbox::can_serve(&guest).map_err(Failure::from)?;
    }
    (host.sandbox.reach, host.sandbox.ports) = (guest.reach(), guest.ports());
    host.notes.iter().for_each(|line| say(line));
    for LooseImage { name, .. } in host.images.iter().filter(|image| image.path.is_some()) {
        say(&format!("{name}: under Xen a drive is for devices of the command line: it is left out"));
    }
    let server = open_monitors(&host.monitors, &host.objects)?;
    let _pidfile = host.pidfile.as_deref().map(Pidfile::write).transpose()?;
    let vnc = crate::vnc::listen(&host)?;
    domain::stay(&mut guest);
    let incoming = host.incoming.as_ref().map(open_incoming).transpose()?;
    let ahead = Preopened::open(&guest, host.debugcon.as_deref()).map_err(Failure::from)?;
    let domain = Domain::open(xen, &guest)?;
    let settings = Settings::new(Vcpus::Xen(domain.clone()))?;
    if incoming.is_none() {
        domain.reserve(&guest)?;
    }
    let disks = domain.disks_apart(&host.sandbox)?;
    domain.accept_keyboards()?;

    domain.restrict()?;
    sandbox::enter(&host.sandbox, ahead.most())?;

    // What it may hold is what the toolstack's guest has.
    let open = |(file, name): (File, PathBuf)| saved::open_file(file, &name, Some(&guest));
    let mut saved = incoming.map(open).transpose().map_err(DomainError::from)?;
    if let Some(saved) = &mut saved {
        domain.restored(saved)?;
        guest.follow(&saved.config);
    }
    let announced = domain.clone();
    let options = Options {
        server,
        vnc,
        paused: host.paused,
        restored: saved.is_some(),
        confine: Box::new(|| {
            if let Err(error) = hypervisor_xen::footprint::shrink() {
                tracing::warn!("memory is not given back: {error}");
            }
            Ok(())
        }),
        announce: Box::new(move || Ok(announced.announce()?)),
        ..Options::default()
    };
    let settings = Settings { debugcon: host.debugcon.clone(), ahead, options, ..settings };
    let ending = launch(guest, settings, |machine, _| {
        if let Some(saved) = saved {
            saved.load(machine.hypervisor(), machine.bus()).map_err(DomainError::from)?;
        }
        Ok::<_, StartError>(domain.serve_disks(machine, disks)?)
    })?;
    Ok(ending.status())
}

/// Opens what holds the saved guest that is to go on, with its name for messages. Nothing of it is read.
fn open_incoming(from: &Incoming) -> Result<(File, PathBuf), DomainError> {
    let name = match from {
        Incoming::File(path) => path.clone(),
        Incoming::Fd(fd) => format!("fd:{fd}").into(),
    };
    let opened = match from {
        Incoming::File(path) => File::open(path),
        Incoming::Fd(fd) => inherited::duplicate(*fd).map(File::from),
    };
    match opened {
        Ok(file) => Ok((file, name)),
        Err(source) => Err(DomainError::Incoming { name, source }),
    }
}

/// What only a guest under Xen has.
fn refuse_elsewhere(plan: &Plan) -> Result<(), QemuError> {
    let mut refused = Vec::new();
    match &plan.host.incoming {
        None => {}
        Some(Incoming::Fd(fd)) => refused.push(format!("-incoming fd:{fd} (without Xen)")),
        Some(Incoming::File(path)) => {
            refused.push(format!("-incoming file:{} (without Xen; ailurus restore FILE)", path.display()));
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(QemuError::NotBuilt(refused)) }
}

/// A file with our process id, while we live.
struct Pidfile(PathBuf);

impl Pidfile {
    fn write(path: &Path) -> Result<Pidfile, StartError> {
        let text = format!("{}\n", std::process::id());
        std::fs::write(path, text).map_err(|source| StartError::Pidfile { path: path.to_owned(), source })?;
        Ok(Pidfile(path.to_owned()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Standard error until so many bytes have been written, and nothing after.
#[derive(Clone)]
struct Log(Arc<Mutex<usize>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match left.checked_sub(bytes.len()) {
            Some(rest) => {
                *left = rest;
                io::stderr().write_all(bytes)?;
            }
            None if *left > 0 => {
                *left = 0;
                io::stderr().write_all(b"the log is full: nothing more is written\n")?;
            }
            None => {}
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
