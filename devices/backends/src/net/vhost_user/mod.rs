//! `vhost-user`: a switch of another process, such as Open vSwitch with DPDK, or passt.
//!
//! A switch of this kind reads and writes the memory of who is connected to it: QEMU hands it all of the guest's RAM, and
//! the virtqueues in it are the guest's own. Here the guest may have any network card, and its RAM may be another
//! domain's, so what the switch gets is a memory of our own ([`memory`]), with two virtqueues ([`ring`]), whose frames
//! are copied from and to the card's queues. It sees nothing else of the guest or of this process.
//!
//! The switch is the protocol's back end, and we are its front end ([`messages`]), on either side of the connection. It
//! is not trusted: what it writes into the memory is read once and checked, and at the first thing that no back end may
//! do it is disconnected. It shares the eventfds, too, and could make the thread that serves it wait at one; only that
//! thread. The crate `vhost` has a front end, which waits for answers without end: hence ours.

mod memory;
mod messages;
mod ring;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use devices_core::Waker;
use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use self::messages::{Conversation, Rings};
use self::ring::{Receive, Transmit};
use super::address::Address;
use super::options::{Options, Style};
use super::queues::{Queues, Threaded};
use super::stream::{Peers, StreamSpec, peers};
use super::{Around, NetError, Netdev, Observer, Word};
use crate::vhost_user::memory::Memory;

/// Frames that are moved in one direction before the other has its turn.
const TURN: usize = 64;

/// Which switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VhostUserSpec {
    /// The character device that says where it is.
    pub chardev: String,
    /// What that says: a Unix socket, or a descriptor that we were given.
    pub address: Address,
    /// We listen there, rather than connect.
    pub server: bool,
    /// A connection that failed or ended is tried again after so long.
    pub reconnect: Option<Duration>,
}

impl VhostUserSpec {
    /// Reads what `-netdev` says, with the options of its character device (`path`, `fd`, `server`, `reconnect`) among it.
    pub(super) fn parse(options: &[(String, String)]) -> Result<VhostUserSpec, String> {
        let mut options = Options::new(options, Style::Words);
        let path = options.take("path");
        // A person may name the socket itself.
        let chardev = options.take("chardev").or(path).ok_or("Parameter 'chardev' is missing")?.to_owned();
        let server = options.flag("server")?.unwrap_or(false);
        let address = match (path, options.take("fd")) {
            (Some(path), None) => Address::Unix { path: path.into(), abstract_name: false },
            (None, Some(fd)) => Address::Fd(fd.to_owned()),
            _ => return Err(format!("chardev '{chardev}' is no unix socket that the command line has")),
        };
        let reconnect = options.number("reconnect", "a uint32 value")?.filter(|seconds| *seconds > 0);
        if server && reconnect.is_some() {
            return Err("'reconnect' option is incompatible with socket in server mode".into());
        }
        let queues = options.number("queues", "an int64 value")?.unwrap_or(1);
        if queues != 1 {
            return Err(format!("queues={queues}: the cards that are built have one pair of queues"));
        }
        // Whether a guest without MSI-X has it too: ours all have.
        options.flag("vhostforce")?;
        options.end()?;
        Ok(VhostUserSpec { chardev, address, server, reconnect: reconnect.map(Duration::from_secs) })
    }
}

/// A connection or a listening socket, and the memory for whoever is there.
pub(super) struct Prepared {
    chardev: String,
    peers: Peers,
    device: Device,
}

pub(super) fn prepare(spec: &VhostUserSpec, around: &Around) -> Result<Prepared, NetError> {
    let VhostUserSpec { chardev, address, server, reconnect } = spec.clone();
    let peers = peers(&StreamSpec { address, server, reconnect, word: Word::Own }, around)?;
    let none = |what| move |source| NetError::System { what, source };
    let event =
        |what| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| none(what)(e.into()));
    let device = Device {
        memory: Arc::new(Memory::new(memory::LEN).map_err(none("shared memory"))?),
        kicks: [event("eventfd")?, event("eventfd")?],
        call: event("eventfd")?,
        packet: Vec::new(),
    };
    Ok(Prepared { chardev, peers, device })
}

impl Prepared {
    pub(super) fn start(
        self,
        waker: Waker,
        number: u32,
        observer: Observer,
    ) -> Result<Arc<dyn Netdev>, NetError> {
        let Prepared { chardev, mut peers, mut device } = self;
        let queues = Queues::new(waker, number)?;
        queues.set_open(peers.is_there());
        let unlink = peers.take_unlink();
        let state = format!("vhost-user0 to {chardev}");
        Threaded::start(queues, "vhost-user", &state.clone(), unlink, move |served| {
            if !peers.is_there() {
                // The link is down until somebody comes.
                observer(super::NetEvent::Disconnected);
            }
            peers.serve(served, &observer, &|_, _| state.clone(), &mut |queues, peer| {
                device.converse(queues, peer)
            });
        })
    }
}

/// What a back end gets from us.
struct Device {
    memory: Arc<Memory>,
    /// We have buffers for it, by ring.
    kicks: [OwnedFd; 2],
    /// It has used some, of either ring.
    call: OwnedFd,
    /// A frame on its way, one that comes or one that found no room.
    packet: Vec<u8>,
}

/// Tells by an eventfd. One whose count is full tells already.
fn ring(event: &OwnedFd) {
    let _ = rustix::io::write(event, &1u64.to_ne_bytes());
}

impl Device {
    /// Serves one back end. An error: it did what none may do.
    fn converse(&mut self, queues: &Queues, peer: &OwnedFd) -> io::Result<()> {
        let mut receive = Receive::new(self.memory.clone());
        let mut transmit = Transmit::new(self.memory.clone());
        let rings = Rings { memory: &self.memory, kicks: &self.kicks, call: &self.call };
        let Some(features) = Conversation::new(queues, peer).set_up(&rings)? else { return Ok(()) };
        receive.merges(features.merges);
        self.packet.clear();
        receive.fill();
        ring(&self.kicks[ring::RECEIVE]);
        let mut waiting = false;
        while !queues.stopping() {
            let stuck = self.transmit(queues, &mut transmit, &mut waiting)?;
            queues.relieve();
            let more = self.receive(queues, &mut receive);
            queues.deliver();
            let more = more?;
            // What it has used meanwhile it need not tell, unless frames wait for it.
            if stuck && transmit.wants_news(true)? {
                continue;
            }
            let time = more.then_some(Duration::ZERO);
            let files = [Some((peer, PollFlags::IN)), Some((&self.call, PollFlags::IN))];
            let [spoke, called] = queues.wait_for_two(files, !stuck, time);
            transmit.wants_news(false)?;
            if !called.is_empty() {
                let _ = rustix::io::read(&self.call, &mut [0u8; 8]);
            }
            if !spoke.is_empty() && ended(peer)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives it the guest's frames. True: it has no room for the next. `waiting`: that one is in `packet`.
    fn transmit(&mut self, queues: &Queues, ring_of: &mut Transmit, waiting: &mut bool) -> io::Result<bool> {
        ring_of.reclaim()?;
        let mut sent = false;
        for _ in 0..TURN {
            if !*waiting {
                self.packet.clear();
                let head = |to: &mut Vec<u8>, _| to.resize(ring::HEAD, 0);
                *waiting = queues.take(&mut self.packet, 0, head).is_some();
                if !*waiting {
                    break;
                }
            }
            if !ring_of.send(&self.packet) {
                break;
            }
            *waiting = false;
            sent = true;
        }
        if sent && ring_of.expose() {
            ring(&self.kicks[ring::TRANSMIT]);
        }
        Ok(*waiting)
    }

    /// Takes its frames for the guest. True: there may be more.
    fn receive(&mut self, queues: &Queues, ring_of: &mut Receive) -> io::Result<bool> {
        let (mut taken, mut frame) = (0, Vec::new());
        while taken < TURN && queues.room() && ring_of.next(&mut frame)? {
            queues.push(&frame);
            taken += 1;
        }
        if taken > 0 && ring_of.expose() {
            ring(&self.kicks[ring::RECEIVE]);
        }
        Ok(taken == TURN)
    }
}

/// Whether the connection has ended. Once it is set up a back end has nothing to say on it.
fn ended(peer: &OwnedFd) -> io::Result<bool> {
    match recv(peer, &mut [0u8; 1][..], RecvFlags::DONTWAIT) {
        Ok((0, _)) => Ok(true),
        Ok(_) => Err(messages::broken("it speaks without having been asked")),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
