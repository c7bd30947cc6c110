//! The thread that talks to the back end.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use devices_core::Wake;
use hypervisor::thread_role::{self, Role};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::channel::{Waits, broken, feature};
use super::connection::{Connection, Greeting, Setup};
use super::link::{Found, Source};
use super::{Shared, clear, signal};

/// How long one that failed is left alone: one that comes again at once and fails again must not keep the host busy.
const SHORT: Duration = Duration::from_millis(100);

/// Waits for an answer and for nothing else, while no guest runs yet.
pub(super) struct Patient;

impl Waits for Patient {
    fn wait(&self, peer: &OwnedFd, time: Duration) -> bool {
        let _ = poll(&mut [PollFd::new(peer, PollFlags::IN)], timespec(Some(time)).as_ref());
        true
    }
}

impl Waits for Shared {
    fn wait(&self, peer: &OwnedFd, time: Duration) -> bool {
        self.wait_for(&[Some(peer)], Some(time));
        self.goes_on()
    }
    fn goes_on(&self) -> bool {
        !self.stopping()
    }
}

fn timespec(time: Option<Duration>) -> Option<Timespec> {
    time.and_then(|time| time.try_into().ok())
}

/// What is to be said next.
enum Todo {
    Fault(String),
    Write(usize, Vec<u8>),
    Begin(u64, Option<Vec<u8>>),
    Halt { reset: bool },
    Save,
    Nothing,
}

/// Serves one back end after the other.
pub(super) fn serve(shared: &Shared, mut source: Source, first: Connection) {
    let mut connection = Some(first);
    while !shared.stopping() {
        thread_role::at(Role::Queues);
        let Some(this) = connection.take().or_else(|| next(shared, &mut source)) else { break };
        let end = shared.converse(&this);
        drop(this);
        if shared.stopping() {
            break;
        }
        shared.lost();
        match end {
            Ok(()) => tracing::warn!("vhost-user: the back end at {} has gone", shared.at),
            Err(why) => {
                tracing::warn!("vhost-user: the connection to {} is closed: {why}", shared.at);
                shared.pause(SHORT);
            }
        }
        shared.pause(source.pause());
    }
    while !shared.stopping() {
        // Nobody will come.
        shared.wait_for(&[], None);
    }
}

/// The next back end, which can do what the one before could. None: there will be none.
fn next(shared: &Shared, source: &mut Source) -> Option<Connection> {
    while !shared.stopping() {
        let found = match source.next() {
            Ok(Found::Peer(peer)) => Connection::greet(peer, shared, &shared.needs, shared.patience)
                .and_then(|greeting| shared.accept(greeting)),
            Ok(Found::Never) => return None,
            Ok(Found::Later(time)) => {
                match time {
                    Some(time) => shared.pause(time),
                    None => drop(shared.wait_for(&[source.listener()], None)),
                }
                continue;
            }
            Err(error) => Err(error),
        };
        match found {
            Ok(connection) => return Some(connection),
            Err(why) => {
                tracing::warn!("vhost-user: the back end at {} is of no use: {why}", shared.at);
                shared.pause(SHORT.max(source.pause()));
            }
        }
    }
    None
}

impl Shared {
    /// Waits until one of these can be read, there is something to do, or so long. Which can be read.
    fn wait_for(&self, files: &[Option<&OwnedFd>], time: Option<Duration>) -> Vec<bool> {
        let mut fds = vec![PollFd::new(&self.control, PollFlags::IN)];
        fds.extend(files.iter().flatten().map(|file| PollFd::new(*file, PollFlags::IN)));
        // A signal, or a host short of memory: look again.
        let ready = poll(&mut fds, timespec(time).as_ref()).is_ok();
        let mut came = fds.iter().map(|fd| ready && !fd.revents().is_empty());
        if came.next() == Some(true) {
            clear(&self.control);
        }
        files.iter().map(|file| file.is_some() && came.next() == Some(true)).collect()
    }

    /// Waits so long, or until the thread is to end.
    fn pause(&self, time: Duration) {
        let end = std::time::Instant::now() + time;
        while !self.stopping() {
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return;
            }
            self.wait_for(&[], Some(left));
        }
    }

    fn wake(&self) {
        self.waker.wake(Wake::Backend(self.number));
    }

    /// Takes over another back end, if the driver cannot tell it from the one before.
    fn accept(&self, greeting: Greeting) -> io::Result<Connection> {
        let Greeting { connection, features, config } = greeting;
        let mut inner = self.inner();
        if inner.features & !features & self.needs.features != 0 {
            return Err(broken("it can do less than the one before"));
        }
        inner.config_changed |= inner.config != config;
        inner.config = config;
        // What the driver was offered stays; what is between the two of us is as this one has it.
        let own = !self.needs.features;
        inner.features = inner.features & !own | features & own;
        inner.connected = true;
        drop(inner);
        tracing::info!("vhost-user: a back end is at {}", self.at);
        self.wake();
        Ok(connection)
    }

    /// The back end is not there any more.
    fn lost(&self) {
        self.inner().connected = false;
        // What it has carried out counts.
        self.wake();
        let mut inner = self.inner();
        (inner.up, inner.halting, inner.open, inner.fault) = (false, false, false, None);
        if std::mem::take(&mut inner.saving) {
            inner.saved = Some(Err("its back end has gone".into()));
        }
        drop(inner);
        self.wake();
    }

    /// Serves a back end until it goes. An error: it did what none may do.
    fn converse(&self, connection: &Connection) -> io::Result<()> {
        match self.work(connection) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            other => other,
        }
    }

    fn work(&self, connection: &Connection) -> io::Result<()> {
        let files =
            [Some(&connection.peer), Some(&self.call), Some(&self.error), connection.requests.as_ref()];
        while !self.stopping() {
            thread_role::at(Role::Queues);
            if self.next_step(connection)? {
                continue;
            }
            let came = self.wait_for(&files, None);
            let [spoke, called, failed, asked] = [0, 1, 2, 3].map(|at| came.get(at) == Some(&true));
            if called {
                clear(&self.call);
                self.wake();
            }
            if failed {
                clear(&self.error);
                return Err(broken("it cannot go on with a ring"));
            }
            if spoke {
                ended(&connection.peer)?;
            }
            if asked && connection.hear(self)? && self.needs.config > 0 {
                let config = connection.config(self, self.needs.config)?;
                let mut inner = self.inner();
                inner.config_changed |= inner.config != config;
                inner.config = config;
                drop(inner);
                self.wake();
            }
        }
        Ok(())
    }

    fn todo(&self) -> Todo {
        let mut inner = self.inner();
        if let Some(fault) = inner.fault.take() {
            // Kept, so that nothing is taken from the rings any more.
            inner.fault = Some(fault.clone());
            return Todo::Fault(fault);
        }
        if !inner.writes.is_empty() {
            let (offset, data) = inner.writes.remove(0);
            return Todo::Write(offset, data);
        }
        match inner.wanted {
            _ if inner.halting => Todo::Halt { reset: inner.reset },
            Some(features) if !inner.up => Todo::Begin(features, inner.restored.take()),
            None if inner.saving => Todo::Save,
            _ => Todo::Nothing,
        }
    }

    /// Does what is to be done. False: there is nothing.
    fn next_step(&self, connection: &Connection) -> io::Result<bool> {
        match self.todo() {
            Todo::Nothing => return Ok(false),
            Todo::Fault(why) => return Err(broken(why)),
            Todo::Write(offset, data) => connection.set_config(self, offset, &data)?,
            Todo::Begin(features, state) => self.begin(connection, features, state)?,
            Todo::Halt { reset } => {
                connection.halt(self, self.kicks.len(), reset)?;
                let mut inner = self.inner();
                (inner.up, inner.halting) = (false, false);
                drop(inner);
                self.wake();
            }
            Todo::Save => {
                let state = match connection.gives_state() {
                    true => connection.save(self).map_err(|error| format!("its back end: {error}")),
                    false => Err("its back end cannot give its state".into()),
                };
                let mut inner = self.inner();
                if std::mem::take(&mut inner.saving) {
                    inner.saved = Some(state);
                }
                drop(inner);
                self.wake();
            }
        }
        Ok(true)
    }

    fn begin(&self, connection: &Connection, features: u64, state: Option<Vec<u8>>) -> io::Result<()> {
        if let Some(state) = state {
            if !connection.gives_state() {
                return Err(broken("it does not take the state of the one before"));
            }
            connection.load(self, &state)?;
        }
        let own = feature::VERSION_1 | feature::INDIRECT_DESC | feature::PROTOCOL_FEATURES;
        let offered = self.inner().features;
        let setup = Setup {
            features: (features | own) & offered,
            ram: &self.ram,
            memory: &self.memory,
            layout: self.layout,
            kicks: &self.kicks,
            call: &self.call,
            error: &self.error,
        };
        connection.set_up(self, &setup)?;
        let mut inner = self.inner();
        if inner.wanted.is_none() {
            // Somebody has thought better of it.
            return Ok(());
        }
        let tables = setup.features & feature::INDIRECT_DESC != 0;
        inner.rings.iter_mut().for_each(|ring| ring.clear(tables));
        inner.incarnation += 1;
        (inner.open, inner.reset, inner.fault) = (true, false, None);
        inner.up = true;
        drop(inner);
        // The device gives it all that is in flight.
        self.wake();
        connection.begin(self, &setup)?;
        self.kicks.iter().for_each(signal);
        Ok(())
    }
}

/// Nothing is to be said without having been asked.
fn ended(peer: &OwnedFd) -> io::Result<()> {
    match recv(peer, &mut [0u8; 1][..], RecvFlags::DONTWAIT) {
        Ok((0, _)) | Err(Errno::CONNRESET) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Err(broken("it speaks without having been asked")),
        Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
