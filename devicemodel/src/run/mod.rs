//! The event loop: one guest from its start to its end.

mod announce;
mod elsewhere;
pub mod ending;
mod ends;
mod events;
mod guest;
mod look;
mod mouse;
mod pending;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backends::vnc::Vnc;

use devices_core::power::PowerEvent;
use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use serde_json::{Value, json};
use thiserror::Error;

use crate::config::{Action, WatchdogAction};
use crate::machine::Machine;
use crate::monitor::events::{self as qmp, Event};
use crate::monitor::protocol::QmpError;
use crate::monitor::run_state::RunState;
use crate::monitor::server::Server;
use crate::monitor::{Guest, Job};
use crate::notices::{Notice, Notices};
use crate::qtest::server::{self as qtest, Between};
use crate::saved;
use crate::vnc::Viewers;
use crate::web::Web;
use announce::Announce;
use elsewhere::Elsewhere;
use ends::Ends;
use events::RareEvents;
use mouse::Mouse;
use pending::{PendingOp, Then};

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It switched itself off.
    PoweredOff,
    /// It was ended from outside.
    Quit,
    /// It crashed.
    Crashed,
    /// The time was up.
    TimedOut,
    /// It asked for an end with that status.
    Exited(u8),
}

impl Ending {
    /// The program's exit status.
    pub fn status(self) -> u8 {
        match self {
            Ending::PoweredOff | Ending::Quit => 0,
            Ending::Crashed => 3,
            Ending::TimedOut => 4,
            Ending::Exited(status) => status,
        }
    }
}

/// Why the loop could not go on.
#[derive(Debug, Error)]
pub enum LoopError {
    /// A host call.
    #[error("the event loop: {0}")]
    Io(#[from] io::Error),
    /// The event loop itself.
    #[error("{0}")]
    Events(String),
}

/// How often disks on their way out are looked at.
const SETTLE: Duration = Duration::from_millis(2);

/// QMP's reason of a reset that its client has asked for.
const BY_HOST: &str = "host-qmp-system-reset";

const NOTICE: u32 = 0;
const SIGNAL: u32 = 1;
/// The monitor's tokens begin here.
pub(crate) const MONITOR: u32 = 16;

/// A guest and everything that concerns it from outside.
struct Runner {
    machine: Machine,
    notices: Notices,
    signals: UnixStream,
    server: Option<Server>,
    qtest: Option<qtest::Server>,
    vnc: Option<Vnc>,
    /// Viewers were told that the guest stands still.
    shown_stopped: bool,
    /// The page, which lives as long as it is here.
    _web: Option<Web>,
    /// Never that of a save, which [`status`](Guest::status) tells.
    state: RunState,
    ending: Option<Ending>,
    ends: Ends,
    /// Keys that are held down, and until when.
    held: Vec<(Instant, Vec<String>)>,
    /// Events for the monitor's clients.
    events: Vec<Event>,
    /// Those that come no more often than so.
    rare: RareEvents,
    mouse: Mouse,
    /// Networks are being told where the guest is.
    announce: Option<Announce>,
    /// What is under way.
    work: Option<PendingOp>,
    /// How long a command waits for vCPUs and devices.
    patience: Duration,
    /// How many jobs there were.
    jobs: u64,
    /// What has come of them.
    answers: Vec<(Job, Result<(), QmpError>)>,
    /// A save that was given up, whose thread still waits for the host.
    lost: Option<Arc<pending::Shared>>,
    /// Threads that commands wait for.
    elsewhere: Vec<Elsewhere>,
    /// Held by each such thread until its end, also by those that nobody waits for any more.
    threads: Arc<()>,
    /// The disks' images may be another process's.
    lent: bool,
    /// What the guest asked for meanwhile.
    held_back: Vec<Notice>,
}

/// How a run begins and ends.
pub struct Options {
    /// The monitor's socket, bound already.
    pub server: Option<Server>,
    /// The guest ends with [`Ending::TimedOut`] after this.
    pub timeout: Option<Duration>,
    /// Where VNC viewers come in.
    pub vnc: Option<Viewers>,
    /// Who drives a machine that has no CPU.
    pub qtest: Option<qtest::Server>,
    /// How long a command waits for vCPUs that stop and for devices that finish what they do.
    pub patience: Duration,
    /// The vCPUs wait for the monitor's `cont`.
    pub paused: bool,
    /// The guest continues a saved one.
    pub restored: bool,
    /// Done when everything is open and before the guest runs: what the process gives up.
    pub confine: Step,
    /// Done when the guest runs, or waits to: whom to tell.
    pub announce: Step,
}

impl Default for Options {
    /// The guest runs to its end, with nobody who looks or commands.
    fn default() -> Options {
        Options {
            server: None,
            timeout: None,
            vnc: None,
            qtest: None,
            patience: saved::PATIENCE,
            paused: false,
            restored: false,
            confine: nothing(),
            announce: nothing(),
        }
    }
}

/// Something to be done once.
pub type Step = Box<dyn FnOnce() -> Result<(), Box<dyn std::error::Error + Send + Sync>>>;

fn nothing() -> Step {
    Box::new(|| Ok(()))
}

/// Opens the monitor's socket for [`Options::server`].
pub fn bind_monitor(path: &Path) -> io::Result<Server> {
    Server::bind(path, MONITOR)
}

/// Serves those who see the screen; a page also talks to the monitor.
fn show(
    machine: &Machine,
    viewers: Viewers,
    server: &mut Option<Server>,
) -> Result<(Vnc, Option<Web>), LoopError> {
    let Viewers { listener, layout, web, hears } = viewers;
    let console = Arc::new(machine.console().with_layout(layout));
    let sound = match listener.audiodev() {
        None if !hears => None,
        id => machine.sound(id),
    };
    let vnc = Vnc::start(listener, &machine.config().name, console.clone(), console, sound);
    let vnc = vnc.map_err(|error| LoopError::Events(error.to_string()))?;
    let page = |listener| {
        let inside = server.get_or_insert_with(|| Server::new(MONITOR)).inside()?;
        Web::start(listener, vnc.door(), inside)
    };
    let web = web.map(page).transpose()?;
    Ok((vnc, web))
}

/// Runs the machine until it ends.
pub fn run(machine: Machine, notices: Notices, options: Options) -> Result<Ending, LoopError> {
    let (end, signals) = ending::Ending::watch()?;
    let mut server = options.server;
    let viewed = |viewers| show(&machine, viewers, &mut server);
    let (vnc, web) = options.vnc.map(viewed).transpose()?.unzip();
    let ends = Ends::of(machine.config());
    let mut runner = Runner {
        machine,
        notices,
        ends,
        signals,
        server,
        qtest: options.qtest,
        vnc,
        shown_stopped: false,
        _web: web.flatten(),
        state: if options.restored { RunState::Paused } else { RunState::Prelaunch },
        ending: None,
        held: Vec::new(),
        events: Vec::new(),
        rare: RareEvents::NONE,
        mouse: Mouse::default(),
        // It may have come from another host.
        announce: options.restored.then(Announce::usual),
        work: None,
        patience: options.patience,
        jobs: 0,
        answers: Vec::new(),
        lost: None,
        elsewhere: Vec::new(),
        threads: Arc::default(),
        lent: false,
        held_back: Vec::new(),
    };
    let deadline = options.timeout.map(|timeout| Instant::now() + timeout);
    runner.machine.start().map_err(|error| LoopError::Events(error.to_string()))?;
    let step = |step: Step| step().map_err(|error| LoopError::Events(error.to_string()));
    step(options.confine)?;
    if !options.paused {
        runner.resume();
    }
    step(options.announce)?;
    let failed = |error: event_manager::Error| LoopError::Events(format!("{error:?}"));
    let mut manager = EventManager::new().map_err(failed)?;
    let id = manager.add_subscriber(runner);
    loop {
        let runner = manager.subscriber_mut(id).map_err(failed)?;
        let now = Instant::now();
        let timed_out = deadline.is_some_and(|deadline| deadline <= now).then_some(Ending::TimedOut);
        if let Some(ending) = runner.ending.or(timed_out) {
            let asked_for = ending == Ending::Quit;
            end.begin(ending.status(), if asked_for { ending::ASKED_FOR } else { ending::BY_ITSELF });
            end.stage("a command");
            runner.abandon();
            runner.last_answers();
            runner.machine.shut_down_watched(&end, asked_for);
            end.stage("a viewer, a monitor, a line or a disk that is closed");
            drop(manager);
            return Ok(ending);
        }
        runner.release_keys(now);
        runner.name_screen();
        let work = runner.work_due().into_iter().chain(runner.elsewhere_due()).min();
        if runner.rare.due().into_iter().chain(work).any(|due| due <= now) {
            runner.machine.remind();
        }
        let announcing = runner.announcement(now);
        let settling = runner.machine.settle().then(|| now + SETTLE);
        let held = runner.held.iter().map(|(until, _)| *until);
        let next =
            held.chain(deadline).chain(settling).chain(announcing).chain(runner.rare.due()).chain(work).min();
        // Rounded up, so that the loop does not spin through the last millisecond.
        let until = |next: Instant| next.saturating_duration_since(now).as_millis().min(1 << 30) as i32 + 1;
        let wait = next.map_or(-1, until);
        manager.run_with_timeout(wait).map_err(failed)?;
    }
}

impl Runner {
    /// Viewers see in the screen's name that the guest stands still, as in the title of QEMU's windows.
    fn name_screen(&mut self) {
        let stopped = self.state != RunState::Running;
        if let Some(vnc) = self.vnc.as_ref().filter(|_| stopped != self.shown_stopped) {
            let name = &self.machine.config().name;
            vnc.set_name(&if stopped { format!("{name} [Stopped]") } else { name.clone() });
            self.shown_stopped = stopped;
        }
    }
}

/// A stream that becomes readable on SIGINT, SIGTERM and SIGHUP.
pub(crate) fn signals() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

impl MutEventSubscriber for Runner {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        let sources = [
            Events::with_data(self.notices.fd(), NOTICE, EventSet::IN),
            Events::with_data(&self.signals, SIGNAL, EventSet::IN),
        ];
        for source in sources {
            if let Err(error) = ops.add(source) {
                tracing::error!("the event loop takes no source: {error:?}");
                self.ending = Some(Ending::Quit);
            }
        }
        if let Some(Err(error)) = self.server.as_ref().map(|server| server.register(ops)) {
            tracing::error!("the monitor cannot be served: {error:?}");
        }
        if let Some(Err(error)) = self.qtest.as_ref().map(|server| server.register(ops)) {
            tracing::error!("qtest cannot be served: {error:?}");
        }
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        match events.data() {
            NOTICE => {
                self.notices.hear();
                self.settle();
            }
            SIGNAL => {
                self.ending = Some(Ending::Quit);
                self.events.push((&qmp::SHUTDOWN, json!({ "guest": false, "reason": "host-signal" })));
            }
            token if qtest::Server::owns(token) => {
                if let Some(mut server) = self.qtest.take() {
                    server.process(token, ops, self);
                    self.qtest = Some(server);
                }
            }
            token => {
                if let Some(mut server) = self.server.take() {
                    server.process(token, ops, self);
                    self.server = Some(server);
                }
            }
        }
        if let Some(mut server) = self.server.take() {
            server.turn(ops, self);
            self.server = Some(server);
        }
        for event in self.take_events() {
            if let Some(server) = &mut self.server {
                server.broadcast(event, ops);
            }
        }
    }
}

impl qtest::Between for Runner {
    fn settle(&mut self) {
        while let Some(notice) = self.notices.next() {
            self.hear_of(notice);
        }
        self.advance();
    }
}

impl Runner {
    fn notice(&mut self, notice: Notice) {
        match notice {
            // They are told at the end of the turn.
            Notice::Device => {}
            Notice::Unplug(what, done) => self.machine.unplug(what, done),
            Notice::Quit => self.ending = Some(Ending::Quit),
            Notice::Cpu(hypervisor::Event::TripleFault { vcpu }) => {
                tracing::error!("CPU {vcpu} gave up: a fault while it reported a fault (triple fault)");
                self.crashed();
            }
            Notice::Power(PowerEvent::Panicked) => {
                tracing::error!("the guest says that it panicked");
                self.crashed();
            }
            // The guest goes on by itself: its crash kernel runs.
            Notice::Power(PowerEvent::CrashLoaded) => {
                self.events.push((&qmp::GUEST_CRASHLOADED, json!({ "action": "run" })));
                self.machine.resume();
            }
            Notice::Power(PowerEvent::Watchdog) => self.watchdog_barked(),
            Notice::Power(PowerEvent::Reset) => self.reset_by("guest-reset"),
            Notice::Power(PowerEvent::PowerOff) => self.powered_off(),
            Notice::Power(PowerEvent::Exit(status)) => {
                self.halt();
                self.events.push((&qmp::SHUTDOWN, json!({ "guest": true, "reason": "guest-shutdown" })));
                self.ending = Some(Ending::Exited(status));
            }
            Notice::Power(PowerEvent::Suspend) => {
                self.halt();
                self.state = RunState::Suspended;
                self.events.push((&qmp::SUSPEND, Value::Null));
            }
        }
    }

    fn powered_off(&mut self) {
        self.halt();
        self.events.push((&qmp::SHUTDOWN, json!({ "guest": true, "reason": "guest-shutdown" })));
        match self.ends.poweroff {
            Action::Destroy => self.ending = Some(Ending::PoweredOff),
            Action::Restart => self.reset_by("guest-reset"),
            Action::Preserve | Action::Ignore => self.state = RunState::Shutdown,
        }
    }

    fn crashed(&mut self) {
        if self.ends.crash == Action::Ignore {
            self.events.push((&qmp::GUEST_PANICKED, json!({ "action": "run" })));
            self.machine.resume();
            return;
        }
        self.halt();
        self.events.push((&qmp::GUEST_PANICKED, json!({ "action": "pause" })));
        match self.ends.crash {
            Action::Destroy => self.ending = Some(Ending::Crashed),
            Action::Restart => self.reset_by("guest-panic"),
            Action::Preserve | Action::Ignore => self.state = RunState::GuestPanicked,
        }
    }

    fn watchdog_barked(&mut self) {
        let action = self.ends.watchdog;
        let event = (&qmp::WATCHDOG, json!({ "action": action.name() }));
        match action {
            WatchdogAction::Reset => {
                self.events.push(event);
                return self.machine.request_power(PowerEvent::Reset);
            }
            WatchdogAction::Poweroff => {
                self.events.push(event);
                return self.machine.request_power(PowerEvent::Exit(0));
            }
            WatchdogAction::Pause => {
                self.events.push(event);
                return self.when_stopped(Then::Wait(RunState::Watchdog));
            }
            WatchdogAction::Shutdown => self.machine.press_power_button(),
            WatchdogAction::InjectNmi | WatchdogAction::Debug | WatchdogAction::None => {}
        }
        // A guest can have it bark as often as it likes.
        let to_be_logged = self.rare.barked(action);
        let what = match action {
            WatchdogAction::InjectNmi => self.machine.inject_nmi(),
            WatchdogAction::Debug => Err(QmpError::generic("a watchdog's time is over")),
            _ => Ok(()),
        };
        if let Some(why) = what.err().filter(|_| to_be_logged) {
            tracing::warn!("{why}");
        }
        self.machine.resume();
    }

    fn reset_by(&mut self, reason: &'static str) {
        let by_guest = reason != BY_HOST;
        let action = self.ends.reboot;
        if by_guest && matches!(action, Action::Destroy | Action::Preserve) {
            self.halt();
            self.events.push((&qmp::SHUTDOWN, json!({ "guest": true, "reason": reason })));
            match action {
                Action::Destroy => self.ending = Some(Ending::PoweredOff),
                _ => self.state = RunState::Shutdown,
            }
            return;
        }
        self.when_stopped(Then::Reset(reason));
    }

    /// Power-on state; the vCPUs stand still.
    fn power_on(&mut self, reason: &str) {
        self.machine.reset();
        self.events.push((&qmp::RESET, json!({ "guest": reason != BY_HOST, "reason": reason })));
        match self.state {
            RunState::Running | RunState::Suspended => self.resume(),
            // It waits for `cont`, as at its start.
            _ => self.state = RunState::Prelaunch,
        }
    }

    fn resume(&mut self) {
        self.machine.io_status_is_ok();
        self.notices.retry();
        self.machine.resume();
        self.state = RunState::Running;
    }

    /// Tells who still waits for something what has become of it.
    fn last_answers(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.last_turn(self);
            self.server = Some(server);
        }
    }

    fn release_keys(&mut self, now: Instant) {
        let (due, held) = std::mem::take(&mut self.held).into_iter().partition(|(until, _)| *until <= now);
        self.held = held;
        for (_, keys) in due {
            for key in keys.iter().rev() {
                self.machine.key(key, false);
            }
        }
    }
}
