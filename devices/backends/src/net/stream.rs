//! `stream`, and `socket` where it is one: frames in a stream of bytes to one peer at a time.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices_core::Waker;
use hypervisor::thread_role::{self, Role};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, accept_with, bind, getpeername, listen,
    recv, send, sockopt,
};

use super::address::{self, Address};
use super::framing::{Deframer, announce};
use super::options::{Options, Style};
use super::packets::Told;
use super::queues::{Queues, Served, Threaded};
use super::{Around, NetError, NetEvent, Netdev, Observer, Word};
use crate::socket::{self, Unlink};

/// Bytes that are written in one go, but for a longer frame.
const BATCH: usize = 64 << 10;
/// Reads before the card hears of them.
const READS: usize = 8;
/// How long a connection may take to come about before the guest runs.
const AT_START: Duration = Duration::from_secs(1);
/// How long one may take later.
const LATER: Duration = Duration::from_secs(10);
/// How long to wait when the host has no descriptors left for a peer.
const SHORT: Duration = Duration::from_millis(100);

/// Where a stream leads, and what the line of `info network` calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// The address.
    pub address: Address,
    /// We listen there, rather than connect.
    pub server: bool,
    /// A connection that failed or ended is tried again after so long.
    pub reconnect: Option<Duration>,
    /// The word for it.
    pub word: Word,
}

impl StreamSpec {
    pub(super) fn parse(options: &[(String, String)]) -> Result<StreamSpec, String> {
        let mut options = Options::new(options, Style::Tree);
        let address = Address::parse(&mut options, "addr")?.ok_or("Parameter 'addr' is missing")?;
        let server = options.flag("server")?.unwrap_or(false);
        let seconds = options.number("reconnect", "a uint32 value")?.map(|s| s.saturating_mul(1000));
        let millis = options.number("reconnect-ms", "a uint32 value")?;
        let reconnect = match (seconds, millis) {
            (Some(_), Some(_)) => {
                return Err("'reconnect' and 'reconnect-ms' are mutually exclusive".into());
            }
            (one, other) => one.or(other).filter(|millis| *millis > 0).map(Duration::from_millis),
        };
        options.end()?;
        if server && reconnect.is_some() {
            return Err("'reconnect' option is incompatible with socket in server mode".into());
        }
        Ok(StreamSpec { address, server, reconnect, word: Word::Own })
    }
}

/// How peers come about.
pub(super) enum Source {
    /// They come to us; their address says little, so ours stands for those of Unix sockets.
    Listen { listener: OwnedFd, address: Address },
    /// We go to them.
    Connect(Dial),
    /// There is one.
    Given(Address),
}

/// Whom to connect to, and how it goes.
pub(super) struct Dial {
    address: Address,
    to: Vec<SocketAddrAny>,
    reconnect: Option<Duration>,
    /// A connection on its way, and which of `to` is next.
    underway: Option<OwnedFd>,
    next: usize,
}

/// A stream that is open.
pub(super) struct Prepared {
    word: Word,
    peers: Peers,
}

/// Those whom a stream leads to, one after the other.
pub(super) struct Peers {
    source: Source,
    /// The first one, if there is one already.
    peer: Option<OwnedFd>,
    /// The file of the socket that we listen on.
    unlink: Option<Unlink>,
}

/// Listens, or connects. A peer that is not there is an error if it is tried once only.
pub(super) fn prepare(spec: &StreamSpec, around: &Around) -> Result<Prepared, NetError> {
    Ok(Prepared { word: spec.word, peers: peers(spec, around)? })
}

/// A socket that we were given, under the name `fd`.
pub(super) fn given(fd: &str, socket: OwnedFd, server: bool, word: Word) -> Result<Prepared, NetError> {
    Ok(Prepared { word, peers: given_peers(fd, socket, server)? })
}

/// The peers that `spec` names.
pub(super) fn peers(spec: &StreamSpec, around: &Around) -> Result<Peers, NetError> {
    let address = &spec.address;
    let error = |what| move |source| NetError::Socket { what, address: address.to_string(), source };
    let listens = |listener, unlink| Peers {
        source: Source::Listen { listener, address: address.clone() },
        peer: None,
        unlink,
    };
    match (address, spec.server) {
        (Address::Fd(fd), server) => {
            let socket = (around.fd)(fd).map_err(|why| NetError::Fd { fd: fd.clone(), why })?;
            given_peers(fd, socket, server)
        }
        (Address::Unix { path, abstract_name: false }, true) => {
            let (listener, unlink) = socket::listen(path).map_err(error("listen at"))?;
            Ok(listens(listener.into(), Some(unlink)))
        }
        (_, true) => Ok(listens(listen_at(address).map_err(error("listen at"))?, None)),
        (_, false) => {
            let to = address.resolve(false).map_err(error("connect to"))?;
            let reconnect = spec.reconnect;
            let mut dial = Dial { address: address.clone(), to, reconnect, underway: None, next: 0 };
            let peer = match dial.step(&|fd| at_start(fd, reconnect.is_none())) {
                Ok(peer) => peer,
                Err(_) if reconnect.is_some() => None,
                Err(source) => return Err(error("connect to")(source)),
            };
            Ok(Peers { source: Source::Connect(dial), peer, unlink: None })
        }
    }
}

fn given_peers(fd: &str, socket: OwnedFd, server: bool) -> Result<Peers, NetError> {
    let bad = |why: String| NetError::Fd { fd: fd.to_owned(), why };
    let kind = sockopt::socket_type(&socket).map_err(|e| bad(e.to_string()))?;
    let listens = sockopt::socket_acceptconn(&socket).map_err(|e| bad(e.to_string()))?;
    if kind != SocketType::STREAM || listens != server {
        let wanted = if server { "listens" } else { "is connected" };
        return Err(bad(format!("it is no stream socket that {wanted}")));
    }
    rustix::io::ioctl_fionbio(&socket, true).map_err(|e| bad(e.to_string()))?;
    let address = Address::Fd(fd.to_owned());
    Ok(if server {
        Peers { source: Source::Listen { listener: socket, address }, peer: None, unlink: None }
    } else {
        Peers { source: Source::Given(address), peer: Some(socket), unlink: None }
    })
}

fn listen_at(address: &Address) -> io::Result<OwnedFd> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for to in address.resolve(true)? {
        let made = address::socket(&to, SocketType::STREAM).and_then(|socket| {
            // Connections of a former run that are being closed are not in the way.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &to)?;
            listen(&socket, 1)?;
            Ok(socket)
        });
        match made {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What became of a connection that was on its way.
enum Answer {
    /// It came about, or was refused.
    There,
    /// Neither yet.
    Later,
    /// None in time.
    Never,
}

impl Dial {
    /// Tries one address after the other. `wait` tells of a connection on its way, which may stay so (none). An error:
    /// none of them answers.
    fn step(&mut self, wait: &dyn Fn(&OwnedFd) -> Answer) -> io::Result<Option<OwnedFd>> {
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        loop {
            if let Some(socket) = self.underway.take() {
                match wait(&socket) {
                    Answer::There => match sockopt::socket_error(&socket).and_then(|answer| answer) {
                        Ok(()) => return Ok(Some(socket)),
                        Err(error) => last = error.into(),
                    },
                    Answer::Later => {
                        self.underway = Some(socket);
                        return Ok(None);
                    }
                    Answer::Never => last = io::ErrorKind::TimedOut.into(),
                }
            }
            let Some(to) = self.to.get(self.next) else {
                self.next = 0;
                return Err(last);
            };
            self.next += 1;
            match address::begin_connect(to) {
                Ok((socket, true)) => self.underway = Some(socket),
                Ok((socket, false)) => return Ok(Some(socket)),
                Err(error) => last = error,
            }
        }
    }

    /// The next peer. None: there will be none, or the back end ends.
    fn peer(&mut self, served: &Served, first: bool) -> Option<OwnedFd> {
        let queues = &served.queues;
        if !first {
            queues.pause(self.reconnect?);
        }
        while !queues.stopping() {
            match self.step(&|fd| connected(queues, fd)) {
                Ok(Some(peer)) => {
                    self.next = 0;
                    return Some(peer);
                }
                Ok(None) => {}
                Err(error) => {
                    served.set_state("connection error");
                    if self.reconnect.is_none() {
                        tracing::warn!("network: cannot connect to {}: {error}", self.address);
                    }
                }
            }
            queues.pause(self.reconnect?);
        }
        None
    }
}

/// Waits for a connection on its way while no guest runs yet.
fn at_start(fd: &OwnedFd, wait: bool) -> Answer {
    let time = if wait { AT_START } else { Duration::ZERO };
    let time = Timespec { tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
    match poll(&mut [PollFd::new(fd, PollFlags::OUT)], Some(&time)) {
        Ok(1..) => Answer::There,
        _ => Answer::Later,
    }
}

/// Waits for a connection on its way.
fn connected(queues: &Queues, fd: &OwnedFd) -> Answer {
    let end = Instant::now() + LATER;
    while !queues.stopping() {
        let left = end.saturating_duration_since(Instant::now());
        if !queues.wait(Some((fd, PollFlags::OUT)), false, Some(left)).is_empty() {
            return Answer::There;
        }
        if left.is_zero() {
            break;
        }
    }
    Answer::Never
}

impl Prepared {
    pub(super) fn start(
        self,
        waker: Waker,
        number: u32,
        observer: Observer,
    ) -> Result<Arc<dyn Netdev>, NetError> {
        let queues = Queues::new(waker, number)?;
        let Prepared { word, mut peers } = self;
        // A frame that the guest sends now is not lost if there is somebody.
        queues.set_open(peers.is_there());
        let kind = if word == Word::Own { "stream" } else { "socket" };
        let unlink = peers.take_unlink();
        let role = peers.role();
        let mut converse = move |queues: &Queues, peer: &OwnedFd| converse(queues, peer, role);
        Threaded::start(queues, kind, "", unlink, move |served| {
            peers.serve(served, &observer, &|source, peer| state(word, source, peer), &mut converse);
        })
    }
}

/// What `info network` says while there is a peer.
fn state(word: Word, source: &Source, peer: &Address) -> String {
    match (word, source) {
        (Word::Own, _) => peer.to_string(),
        (Word::Socket, Source::Listen { .. }) => format!("socket: connection from {}", peer.plain()),
        (Word::Socket, Source::Connect(_)) => format!("socket: connect to {}", peer.plain()),
        (Word::Socket, Source::Given(address)) => format!("socket: fd={}", address.plain()),
    }
}

impl Peers {
    /// Whether somebody is there.
    pub(super) fn is_there(&self) -> bool {
        self.peer.is_some()
    }

    /// What a thread does that serves them: one that may have to connect again keeps the calls for that, as far as the
    /// process has them.
    fn role(&self) -> Role {
        match &self.source {
            Source::Connect(Dial { address: Address::Unix { .. }, reconnect, .. }) => match reconnect {
                Some(_) => Role::Sockets,
                None => Role::Frames,
            },
            Source::Connect(_) => Role::Network,
            Source::Listen { .. } | Source::Given(_) => Role::Frames,
        }
    }

    /// Who removes the socket's file in the end.
    pub(super) fn take_unlink(&mut self) -> Option<Unlink> {
        self.unlink.take()
    }

    /// Serves one after the other: `converse` moves frames until the peer or the back end ends, or the peer does what
    /// none may do. `state` is what `info network` says meanwhile.
    pub(super) fn serve(
        mut self,
        served: &Served,
        observer: &Observer,
        state: &dyn Fn(&Source, &Address) -> String,
        converse: &mut dyn FnMut(&Queues, &OwnedFd) -> io::Result<()>,
    ) {
        let (mut first, mut told) = (true, Told::default());
        while !served.queues.stopping() {
            let peer = match self.peer.take() {
                Some(peer) => Some(peer),
                None => self.source.next(served, first),
            };
            first = false;
            let Some(peer) = peer else { break };
            address::no_delay(&peer);
            let address = Address::of(getpeername(&peer).ok().flatten(), self.source.address());
            served.set_state(&state(&self.source, &address));
            served.queues.set_open(true);
            observer(NetEvent::Connected(address));
            let end = converse(&served.queues, &peer);
            drop(peer);
            served.queues.set_open(false);
            if served.queues.stopping() {
                break;
            }
            let failed = end.is_err();
            if let Err(why) = end
                && told.again()
            {
                tracing::warn!(
                    "network {}: the connection to {} is closed: {why}",
                    served.kind(),
                    self.source.address()
                );
            }
            served.set_state("");
            observer(NetEvent::Disconnected);
            if failed {
                // One that comes again at once and fails again must not keep the host busy.
                served.queues.pause(SHORT);
            }
        }
        // Nobody will come; the card may still ask.
        while !served.queues.stopping() {
            served.queues.wait(None, false, None);
        }
    }
}

impl Source {
    fn address(&self) -> &Address {
        match self {
            Source::Listen { address, .. } | Source::Given(address) => address,
            Source::Connect(dial) => &dial.address,
        }
    }

    /// The next peer. None: there will be none, or the back end ends.
    fn next(&mut self, served: &Served, first: bool) -> Option<OwnedFd> {
        match self {
            Source::Given(_) => None,
            Source::Connect(dial) => dial.peer(served, first),
            Source::Listen { listener, .. } => accept(&served.queues, listener),
        }
    }
}

fn accept(queues: &Queues, listener: &OwnedFd) -> Option<OwnedFd> {
    while !queues.stopping() {
        queues.wait(Some((listener, PollFlags::IN)), false, None);
        match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(peer) => return Some(peer),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
            // No descriptors or memory: the peer waits meanwhile, and the listener would say so without end.
            Err(_) => queues.pause(SHORT),
        }
    }
    None
}

/// Bytes on their way to the peer.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Writes what there is. False: the peer takes no more now.
    fn write(&mut self, queues: &Queues, peer: &OwnedFd) -> io::Result<bool> {
        loop {
            if self.sent == self.bytes.len() {
                self.bytes.clear();
                self.sent = 0;
                while queues.take(&mut self.bytes, BATCH, announce).is_some() {}
                if self.bytes.is_empty() {
                    return Ok(true);
                }
                queues.relieve();
            }
            match send(peer, &self.bytes[self.sent..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(len) => self.sent += len,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What reading came to.
enum Input {
    /// There may be more.
    More,
    /// The guest has no room.
    Full,
    /// The peer has gone.
    End,
}

/// Reads frames for the guest.
fn read(queues: &Queues, peer: &OwnedFd, deframer: &mut Deframer) -> io::Result<Input> {
    for reads in 0.. {
        loop {
            if !queues.room() {
                return Ok(Input::Full);
            }
            match deframer.frame() {
                Ok(Some(frame)) => queues.push(frame),
                Ok(None) => break,
                Err(long) => {
                    let why = format!("it announced a frame of {} bytes", long.0);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
            }
        }
        if reads == READS {
            break;
        }
        match recv(peer, deframer.space(), RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Ok(Input::End),
            Ok((len, _)) => deframer.filled(len),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Input::More)
}

/// Moves frames both ways until the peer closes, sends what is no frame, or the back end ends.
fn converse(queues: &Queues, peer: &OwnedFd, role: Role) -> io::Result<()> {
    let (mut deframer, mut outbox) = (Deframer::default(), Outbox::default());
    while !queues.stopping() {
        thread_role::at(role);
        let written = outbox.write(queues, peer)?;
        let input = read(queues, peer, &mut deframer);
        queues.deliver();
        let mut ready = PollFlags::empty();
        match input? {
            Input::More => ready |= PollFlags::IN,
            Input::Full => {}
            Input::End => return Ok(()),
        }
        if !written {
            ready |= PollFlags::OUT;
        }
        queues.wait(Some((peer, ready)), written, None);
    }
    Ok(())
}
