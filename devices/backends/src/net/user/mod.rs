//! The user network: the host side of a card that needs no privilege and nothing installed (`-netdev user`).
//!
//! The guest sees a network of its own, 10.0.2.0/24 and fec0::/64 unless told otherwise, with a router that is the host
//! (.2), a name server (.3) and a lease from .15 on. What it sends leaves the host as the process's own sockets.
//!
//! | the guest | what answers |
//! |---|---|
//! | ARP, NDP | the host, the name server and the servers of `guestfwd`; no other address |
//! | DHCP, BOOTP, DHCPv6 | a lease, the boot file, names; RAs on solicitation and every 200 to 600 s |
//! | TFTP to the host | files of the folder `tftp=`, none by way of `..` or a link that leads out |
//! | echo | the host and name server here, others by an unprivileged ICMP socket where there may be one |
//! | UDP | a socket for each port of the guest's, forgotten after 240 s (10 s for names), the oldest beyond the bound |
//! | TCP | a connection of the host's, made before the guest's SYN is answered; refused and unreachable pass through |
//! | the name server's port 53 | the resolvers of the host's /etc/resolv.conf, as it was at the start: the one that answered last, and the next one when a second brings nothing, or it refuses, or the question is asked again |
//! | the host | the host's own 127.0.0.1, or ::1 |
//! | `hostfwd` | TCP and UDP ports of the host's lead in |
//! | `restrict=on` | nothing but `guestfwd` servers, DHCP, TFTP and answers to `hostfwd` clients |
//!
//! Left out: SMB; programs run for a connection (`-cmd:`); multicast and broadcast beyond DHCP; ICMP errors other than
//! for a connection that has no way; urgent data; jumbo frames to the guest. A saved guest's connections do not live on.
//!
//! Every queue, table and buffer is bounded; the guest's frames are hostile.

mod arp;
mod dhcp;
mod host;
mod icmp;
mod link;
mod names;
mod ndp;
mod options;
mod packet;
mod reassembly;
mod segment;
mod stack;
mod tcp;
#[cfg(test)]
mod tests;
mod tftp;
mod udp;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use devices_core::Waker;
use devices_core::net::{NetBackend, Offload, Offloads};
use hypervisor::thread_role;
use rustix::event::{Timespec, epoll};
use rustix::net::{SocketType, bind, getsockname, listen, sockopt};
use thiserror::Error;

pub use options::{GuestForward, HostForward, Ipv4Options, Ipv6Options, Protocol, Target, UserOptions};

use super::Netdev;
use super::queues::{Queues, lock};
use stack::{EVENTS, Forwarded, Parts, Stack};

/// Most connections, and most UDP flows.
const FLOWS: usize = 1024;
/// Most name servers (glibc's `MAXNS`).
const RESOLVERS: usize = 3;
/// Clients that wait before they are let in.
const BACKLOG: i32 = 128;

/// Why there is no user network.
#[derive(Debug, Error)]
pub enum UserError {
    /// A forwarded port.
    #[error("Could not set up host forwarding rule '{rule}': {source}")]
    Forward {
        /// Which.
        rule: String,
        /// Why.
        source: io::Error,
    },
    /// The rule itself, or one that is not there.
    #[error("{0}")]
    Rule(String),
    /// The folder of TFTP.
    #[error("tftp folder {} cannot be opened: {source}", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A socket, a thread.
    #[error("no user network: {0}")]
    System(#[from] io::Error),
}

/// Rules, and what each made.
type Forwards = Vec<(HostForward, Forwarded)>;

/// What had to be opened before the process confines itself.
pub struct Prepared {
    options: Arc<UserOptions>,
    forwards: Vec<(HostForward, OwnedFd)>,
    folder: Option<OwnedFd>,
    resolvers: Vec<SocketAddr>,
}

/// Binds forwarded ports, opens the folder and reads who resolves names.
pub fn prepare(options: &UserOptions) -> Result<Prepared, UserError> {
    let forwards = options.hostfwd.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let folder = match &options.tftp {
        Some(path) => {
            let opened = tftp::folder(path);
            Some(opened.map_err(|source| UserError::Folder { path: path.clone(), source })?)
        }
        None => None,
    };
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let resolvers = resolvers(&text);
    Ok(Prepared { options: Arc::new(options.clone()), forwards, folder, resolvers })
}

/// The name servers of a resolv.conf, as many as glibc heeds; without one the host's own, as glibc has it.
fn resolvers(text: &str) -> Vec<SocketAddr> {
    let words = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())
    });
    let addresses = words.filter_map(|word| word.parse::<IpAddr>().ok());
    let found: Vec<_> = addresses.take(RESOLVERS).map(|address| SocketAddr::new(address, 53)).collect();
    if found.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53)] } else { found }
}

/// Opens a forwarded port. What is given back names the port that it has.
fn open(rule: &HostForward) -> Result<(HostForward, OwnedFd), UserError> {
    let open = || -> rustix::io::Result<(HostForward, OwnedFd)> {
        let tcp = rule.protocol == Protocol::Tcp;
        let kind = if tcp { SocketType::STREAM } else { SocketType::DGRAM };
        let socket = host::socket(host::family(rule.host.ip()), kind, None)?;
        if tcp {
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        bind(&socket, &rule.host)?;
        if tcp {
            listen(&socket, BACKLOG)?;
        }
        let bound = SocketAddr::try_from(getsockname(&socket)?)?;
        Ok((HostForward { host: SocketAddr::new(rule.host.ip(), bound.port()), ..*rule }, socket))
    };
    open().map_err(|error| UserError::Forward { rule: name(rule), source: error.into() })
}

/// A rule as it is written.
fn name(rule: &HostForward) -> String {
    let protocol = if rule.protocol == Protocol::Tcp { "tcp" } else { "udp" };
    format!("{protocol}:{}-{}", rule.host, rule.guest)
}

impl Prepared {
    /// Asks these servers for names instead of the host's.
    pub fn with_resolvers(mut self, resolvers: &[SocketAddr]) -> Prepared {
        self.resolvers = resolvers.iter().take(RESOLVERS).copied().collect();
        self
    }

    fn stack(self, waker: Waker, number: u32) -> Result<(Stack, Arc<Queues>, Forwards), UserError> {
        let queues = Queues::new(waker, number).map_err(io::Error::other)?;
        queues.set_open(true);
        let mut seed = [0; 8];
        // Sequence numbers need no more than to differ: a short read leaves zeros.
        let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
        // Each flow has a file descriptor, and others need some too.
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = most.map_or(FLOWS, |most| (most as usize / 4).clamp(16, FLOWS));
        let options = self.options.clone();
        let parts = Parts {
            options: self.options,
            resolvers: self.resolvers,
            folder: self.folder,
            queues: queues.clone(),
            seed: u64::from_ne_bytes(seed),
            limit,
        };
        let mut stack = Stack::new(parts, Instant::now()).map_err(io::Error::from)?;
        let mut forwards = Vec::new();
        for (rule, socket) in self.forwards {
            let guest = guest(&options, &rule);
            let what = stack.forward(rule.protocol, socket, guest).map_err(io::Error::from)?;
            forwards.push((rule, what));
        }
        Ok((stack, queues, forwards))
    }

    /// Starts the network for the card behind `waker`, which is woken with `number`.
    pub fn start(self, waker: Waker, number: u32) -> Result<Arc<User>, UserError> {
        let options = self.options.clone();
        let (stack, queues, forwards) = self.stack(waker, number)?;
        let shared = Arc::new(Shared {
            options,
            epoll: stack.epoll().try_clone()?,
            stack: Mutex::new(stack),
            queues,
            forwards: Mutex::new(forwards),
        });
        let its = shared.clone();
        thread::Builder::new().name("user-net".to_owned()).spawn(move || its.run())?;
        Ok(Arc::new(User { shared }))
    }

    /// The network with no thread and no card, which the caller drives.
    pub fn offline(self) -> Result<Offline, UserError> {
        let (stack, queues, _) = self.stack(Waker::default(), 0)?;
        Ok(Offline { stack, queues, now: Instant::now() })
    }
}

/// Where a rule leads: the first address that is leased, unless it says another.
fn guest(options: &UserOptions, rule: &HostForward) -> SocketAddr {
    let usual = options.ipv4.map_or(Ipv4Addr::UNSPECIFIED, |v4| v4.dhcp_start);
    let ip = if rule.guest.ip().is_unspecified() { usual } else { *rule.guest.ip() };
    SocketAddr::new(ip.into(), rule.guest.port())
}

struct Shared {
    options: Arc<UserOptions>,
    /// The stack's, which the thread waits on with no lock held.
    epoll: OwnedFd,
    stack: Mutex<Stack>,
    queues: Arc<Queues>,
    forwards: Mutex<Forwards>,
}

impl Shared {
    /// The thread: waits, gives the stack its turn, and wakes the card with no lock held.
    fn run(&self) {
        let mut events = Vec::with_capacity(EVENTS);
        while !self.queues.stopping() {
            thread_role::at(thread_role::Role::Network);
            let wait = {
                let mut stack = lock(&self.stack);
                stack.turn(&events, Instant::now());
                stack.wait(Instant::now())
            };
            self.queues.relieve();
            self.queues.deliver();
            events.clear();
            let wait = if self.queues.drowse() { wait } else { Some(Duration::ZERO) };
            let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), wait.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::warn!("the user network has ended: {error}");
                    return;
                }
            }
            self.queues.rouse();
        }
    }
}

/// A running user network: the card's end of the queues. It ends when it is dropped.
pub struct User {
    shared: Arc<Shared>,
}

impl User {
    /// What a monitor holds.
    pub fn handle(&self) -> UserHandle {
        UserHandle { shared: Arc::downgrade(&self.shared) }
    }
}

impl NetBackend for User {
    fn send(&self, frame: &[u8]) -> bool {
        self.send_with(frame, Offload::default())
    }
    fn receive(&self, frame: &mut Vec<u8>) -> bool {
        self.receive_with(frame).is_some()
    }
    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }
    fn set_offloads(&self, allowed: Offloads) {
        self.shared.queues.allow(allowed);
    }
    fn send_with(&self, frame: &[u8], left: Offload) -> bool {
        self.shared.queues.send(frame, left)
    }
    fn receive_with(&self, frame: &mut Vec<u8>) -> Option<Offload> {
        self.shared.queues.receive(frame)
    }
}

impl Netdev for User {
    fn info(&self) -> String {
        let options = &self.shared.options;
        let net = options.ipv4.as_ref().map_or_else(String::new, |ipv4| format!(",net={}", ipv4.net));
        let restrict = if options.restrict { "on" } else { "off" };
        format!("index=0,type=user{net},restrict={restrict}")
    }
    fn user(&self) -> Option<UserHandle> {
        Some(self.handle())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // Its ports are free when this returns. The thread is not waited for: it may be waking the very card that
        // drops us. It ends with its turn.
        lock(&self.shared.stack).clear();
        self.shared.queues.stop();
    }
}

/// A user network, for those who change or look at it while it runs. It does not keep it.
#[derive(Clone)]
pub struct UserHandle {
    shared: Weak<Shared>,
}

impl UserHandle {
    fn shared(&self) -> Result<Arc<Shared>, UserError> {
        let shared = self.shared.upgrade().filter(|shared| !shared.queues.stopping());
        shared.ok_or_else(|| UserError::Rule("the user network is gone".to_owned()))
    }

    /// Forwards one more port (`hostfwd_add`). Gives where the host listens.
    pub fn hostfwd_add(&self, rule: &str) -> Result<SocketAddr, UserError> {
        let shared = self.shared()?;
        let rule = HostForward::parse(rule).map_err(UserError::Rule)?;
        if shared.options.ipv4.is_none() {
            return Err(UserError::Rule("hostfwd needs IPv4, which is disabled".to_owned()));
        }
        let (rule, socket) = open(&rule)?;
        let to = guest(&shared.options, &rule);
        let made = lock(&shared.stack).forward(rule.protocol, socket, to);
        let what = made.map_err(|error| UserError::Forward { rule: name(&rule), source: error.into() })?;
        lock(&shared.forwards).push((rule, what));
        // What came before the socket was watched.
        shared.queues.kick();
        Ok(rule.host)
    }

    /// Ends one (`hostfwd_remove`): `[tcp|udp]:[hostaddr]:hostport`. Connections that are there stay.
    pub fn hostfwd_remove(&self, rule: &str) -> Result<(), UserError> {
        let shared = self.shared()?;
        let (protocol, host) = HostForward::parse_host(rule).map_err(UserError::Rule)?;
        let what = {
            let mut forwards = lock(&shared.forwards);
            let at = forwards.iter().position(|(rule, _)| rule.protocol == protocol && rule.host == host);
            let at =
                at.ok_or_else(|| UserError::Rule(format!("host forwarding rule for {rule} not found")))?;
            forwards.remove(at).1
        };
        lock(&shared.stack).unforward(what);
        Ok(())
    }

    /// The ports that are forwarded, as they are: a port 0 has become one.
    pub fn forwards(&self) -> Vec<HostForward> {
        let Ok(shared) = self.shared() else { return Vec::new() };
        lock(&shared.forwards).iter().map(|(rule, _)| *rule).collect()
    }

    /// What flows now (`info usernet`).
    pub fn flows(&self) -> Flows {
        let Ok(shared) = self.shared() else { return Flows::default() };
        lock(&shared.stack).flows()
    }
}

/// A flow between the guest and the host's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// `TCP` with its state, `UDP`, ...
    pub kind: String,
    /// The guest's end.
    pub guest: SocketAddr,
    /// The other end as the guest knows it, where there is one.
    pub remote: Option<SocketAddr>,
    /// Bytes from the guest.
    pub sent: u64,
    /// Bytes to the guest.
    pub received: u64,
}

/// All that flows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// TCP and UDP.
    pub flows: Vec<Flow>,
    /// Echo conversations through the host.
    pub echoes: usize,
    /// Files that are being read by TFTP.
    pub files: usize,
}

impl Flows {
    fn of(
        tcp: impl Iterator<Item = tcp::Seen>,
        udp: impl Iterator<Item = udp::Seen>,
        echoes: usize,
        files: usize,
    ) -> Flows {
        let tcp = tcp.map(|seen| Flow {
            kind: format!("TCP[{}]", seen.state),
            guest: seen.guest,
            remote: Some(seen.remote),
            sent: seen.sent,
            received: seen.received,
        });
        let udp = udp.map(|seen| Flow {
            kind: if seen.forward {
                "UDP[HOST_FORWARD]".to_owned()
            } else if seen.names {
                "UDP[DNS]".to_owned()
            } else {
                "UDP".to_owned()
            },
            guest: seen.guest,
            remote: None,
            sent: seen.sent,
            received: seen.received,
        });
        Flows { flows: tcp.chain(udp).collect(), echoes, files }
    }

    /// As a table for a person.
    pub fn table(&self) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "  {:<20} {:<22} {:<24} {:>10} {:>10}\n",
            "Protocol[State]", "Guest", "Other end", "Sent", "Received"
        );
        for flow in &self.flows {
            let remote = flow.remote.map_or_else(|| "*".to_owned(), |remote| remote.to_string());
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "  {:<20} {:<22} {remote:<24} {:>10} {:>10}",
                flow.kind,
                flow.guest.to_string(),
                flow.sent,
                flow.received
            );
        }
        text
    }
}

/// The network without its thread: for fuzzing, and for whoever has its own loop. Time is what the caller says.
pub struct Offline {
    stack: Stack,
    queues: Arc<Queues>,
    now: Instant,
}

impl Offline {
    /// The guest's end of the queues. False from `send`: a turn is due.
    pub fn send(&self, frame: &[u8]) -> bool {
        self.send_with(frame, Offload::default())
    }
    /// The same with what is left to be done to the frame.
    pub fn send_with(&self, frame: &[u8], left: Offload) -> bool {
        self.queues.send(frame, left)
    }
    /// What may be left to the guest.
    pub fn allow(&self, allowed: Offloads) {
        self.queues.allow(allowed);
    }
    /// The next frame for the guest.
    pub fn receive(&self, frame: &mut Vec<u8>) -> bool {
        self.queues.receive(frame).is_some()
    }
    /// Time passes, and all that is there is looked at. Does not wait.
    pub fn turn(&mut self, passed: Duration) {
        self.now += passed;
        let mut events = Vec::with_capacity(EVENTS);
        let now = Timespec::default();
        // A failure is no news.
        let _ = epoll::wait(self.stack.epoll(), rustix::buffer::spare_capacity(&mut events), Some(&now));
        self.stack.turn(&events, self.now);
        self.queues.relieve();
        self.queues.deliver();
    }
    /// How long there is nothing to do. None: until there are news.
    pub fn wait(&self) -> Option<Duration> {
        self.stack.wait(self.now)
    }
    /// What flows now.
    pub fn flows(&self) -> Flows {
        self.stack.flows()
    }
}
