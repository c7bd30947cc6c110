//! The guest's networks: back ends by name, and the cables between them and network cards.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use backends::net::{Around, Dump, Hubs, NetError, NetEvent, Netdev as Running, Prepared, UserHandle};
use devices_core::net::{NetBackend, NullNet, Offload, Offloads};
use devices_core::{Wake, Waker};

use super::ahead::file_error;
use super::plug::Card;
use super::{BuildError, Machine};
use crate::config::{DumpConfig, NetdevConfig};
use crate::inherited;
use crate::monitor::info::{NetdevInfo, NicInfo};
use crate::notices::{Notice, Notifier};
use crate::trace::Border;
use crate::trace::record::HostEvent;

/// Who is woken when a back end has news.
struct Listener {
    waker: Waker,
    number: u32,
}

/// A cable: at one end a back end or none, at the other a card or none. Frames wait while the guest stands.
struct Cable {
    backend: RwLock<Arc<dyn NetBackend>>,
    card: RwLock<Option<Listener>>,
    /// The vCPUs stand still, and with them all that comes from outside.
    standing: Arc<AtomicBool>,
    /// Who writes down what passes, by names.
    dumps: RwLock<Vec<(String, Arc<Dump>)>>,
    /// There are such.
    dumped: AtomicBool,
}

impl Cable {
    fn new(standing: Arc<AtomicBool>) -> Arc<Cable> {
        Arc::new(Cable {
            backend: RwLock::new(Arc::new(NullNet)),
            card: RwLock::default(),
            standing,
            dumps: RwLock::default(),
            dumped: AtomicBool::new(false),
        })
    }

    fn backend(&self) -> Arc<dyn NetBackend> {
        self.backend.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn connect(&self, backend: Arc<dyn NetBackend>) {
        // The old one may have to wait for its thread, which may be in `news`.
        let old =
            std::mem::replace(&mut *self.backend.write().unwrap_or_else(PoisonError::into_inner), backend);
        drop(old);
        self.news();
    }

    /// It leads nowhere from now on, and nobody writes down what passes.
    fn end(&self) {
        self.connect(Arc::new(NullNet));
        self.dumped.store(false, Ordering::Relaxed);
        let dumps = std::mem::take(&mut *self.dumps.write().unwrap_or_else(PoisonError::into_inner));
        drop(dumps);
    }

    fn passed(&self, frame: &[u8]) {
        if self.dumped.load(Ordering::Relaxed) {
            let dumps = self.dumps.read().unwrap_or_else(PoisonError::into_inner);
            dumps.iter().for_each(|(_, dump)| dump.frame(frame));
        }
    }

    /// Has what passes written down, or no longer (none). False: nobody of that name did.
    fn dump(&self, id: &str, dump: Option<Arc<Dump>>) -> bool {
        let mut dumps = self.dumps.write().unwrap_or_else(PoisonError::into_inner);
        let at = dumps.iter().position(|(other, _)| other == id);
        // Who ends one waits for what is left to be written, with nothing locked.
        let old = at.map(|at| dumps.remove(at));
        dumps.extend(dump.map(|dump| (id.to_owned(), dump)));
        self.dumped.store(!dumps.is_empty(), Ordering::Relaxed);
        drop(dumps);
        old.is_some()
    }

    fn plug(&self, card: Option<Listener>) {
        *self.card.write().unwrap_or_else(PoisonError::into_inner) = card;
    }

    /// The back end has frames, or room.
    fn news(&self) {
        if self.standing.load(Ordering::Acquire) {
            return;
        }
        let card = self.card.read().unwrap_or_else(PoisonError::into_inner);
        let to = card.as_ref().map(|card| (card.waker.clone(), card.number));
        // The card takes its own lock and calls back.
        drop(card);
        if let Some((waker, number)) = to {
            waker.wake(Wake::Backend(number));
        }
    }
}

impl NetBackend for Cable {
    fn send(&self, frame: &[u8]) -> bool {
        self.send_with(frame, Offload::default())
    }
    fn receive(&self, frame: &mut Vec<u8>) -> bool {
        self.receive_with(frame).is_some()
    }
    fn offloads(&self) -> Offloads {
        self.backend().offloads()
    }
    fn set_offloads(&self, allowed: Offloads) {
        self.backend().set_offloads(allowed);
    }
    fn send_with(&self, frame: &[u8], left: Offload) -> bool {
        self.send_by(0, frame, left)
    }
    fn receive_with(&self, frame: &mut Vec<u8>) -> Option<Offload> {
        self.receive_by(0, frame)
    }
    fn queues(&self) -> u16 {
        self.backend().queues()
    }
    fn set_queues(&self, in_use: u16) {
        self.backend().set_queues(in_use);
    }
    fn send_by(&self, queue: u16, frame: &[u8], left: Offload) -> bool {
        let taken = self.backend().send_by(queue, frame, left);
        if taken {
            self.passed(frame);
        }
        taken
    }
    fn receive_by(&self, queue: u16, frame: &mut Vec<u8>) -> Option<Offload> {
        if self.standing.load(Ordering::Acquire) {
            return None;
        }
        let left = self.backend().receive_by(queue, frame)?;
        self.passed(frame);
        Some(left)
    }
}

/// A back end and its cable.
struct Netdev {
    config: NetdevConfig,
    cable: Arc<Cable>,
    /// None in a replay.
    running: Option<Arc<dyn Running>>,
}

/// Most files that get what passes networks.
const DUMPS: usize = 64;
/// Most events that wait; the oldest go.
const EVENTS: usize = 128;

/// What has happened at back ends, by their ids.
struct Happened {
    events: Mutex<VecDeque<(String, NetEvent)>>,
    notifier: Notifier,
}

impl Happened {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, NetEvent)>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: &str, event: NetEvent) {
        let mut events = self.lock();
        let first = events.is_empty();
        if events.len() >= EVENTS {
            events.pop_front();
        }
        events.push_back((id.to_owned(), event));
        drop(events);
        if first {
            self.notifier.notify(Notice::Device);
        }
    }
}

/// What back ends take from their surroundings: the guest's hubs, and files that the process was started with.
pub(super) fn around(hubs: &Hubs) -> Around<'_> {
    Around { hubs, fd: &numbered }
}

/// A file that the process was started with.
pub(super) fn numbered(name: &str) -> Result<OwnedFd, String> {
    let number = name.parse().map_err(|_| format!("'{name}' is not a number"))?;
    inherited::take(number).map_err(|error| error.to_string())
}

/// All of them.
pub(super) struct Networks {
    netdevs: Mutex<BTreeMap<String, Netdev>>,
    hubs: Arc<Hubs>,
    happened: Arc<Happened>,
    /// Switches that have come (true) or gone, whose cards do not know yet.
    links: Mutex<BTreeMap<String, bool>>,
    standing: Arc<AtomicBool>,
}

impl Networks {
    /// None yet; the guest stands.
    pub(super) fn new(notifier: Notifier, hubs: Arc<Hubs>) -> Networks {
        let happened = Arc::new(Happened { events: Mutex::default(), notifier });
        Networks {
            netdevs: Mutex::default(),
            hubs,
            happened,
            links: Mutex::default(),
            standing: Arc::new(AtomicBool::new(true)),
        }
    }

    fn netdevs(&self) -> MutexGuard<'_, BTreeMap<String, Netdev>> {
        self.netdevs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a back end that has been opened; none where a recording is replayed.
    pub(super) fn add(&self, config: NetdevConfig, prepared: Option<Prepared>) -> Result<(), NetError> {
        let cable = Cable::new(self.standing.clone());
        let mut running = None;
        if let Some(prepared) = prepared {
            let to = Arc::downgrade(&cable);
            let waker = Waker::calling(move |_| {
                if let Some(cable) = to.upgrade() {
                    cable.news();
                }
            });
            let (happened, id) = (self.happened.clone(), config.id.clone());
            let started = prepared.start(waker, 0, Arc::new(move |event| happened.add(&id, event)))?;
            running = Some(started.clone());
            cable.connect(started);
        }
        self.netdevs().insert(config.id.clone(), Netdev { config, cable, running });
        Ok(())
    }

    /// The same of a back end that is on a port of a hub, where a card would be.
    pub(super) fn add_on_port(
        &self,
        port: NetdevConfig,
        other: NetdevConfig,
        prepared: Option<(Prepared, Prepared)>,
    ) -> Result<(), NetError> {
        let (happened, id) = (self.happened.clone(), other.id.clone());
        let observer = Arc::new(move |event| happened.add(&id, event));
        let attached = prepared.and_then(|(port, other)| port.attach(other, observer)).transpose()?;
        let (on_hub, end) = attached.map_or((None, None), |it| (Some(it.port), Some(it.other)));
        for (config, running) in [(port, on_hub), (other, end)] {
            let cable = Cable::new(self.standing.clone());
            self.netdevs().insert(config.id.clone(), Netdev { config, cable, running });
        }
        Ok(())
    }

    /// Has what passes a back end written into a file, from now on.
    pub(super) fn add_dump(&self, dump: &DumpConfig, file: File) -> Result<(), BuildError> {
        let netdevs = self.netdevs();
        let Some(netdev) = netdevs.get(&dump.netdev) else {
            return Err(super::plug::plain(format!("netdev '{}' not found", dump.netdev)));
        };
        let name = dump.file.display().to_string();
        let started =
            Dump::start(file, name, dump.longest).map_err(|source| file_error(&dump.file, source))?;
        netdev.cable.dump(&dump.id, Some(Arc::new(started)));
        Ok(())
    }

    /// The other end of the cable of a card that names a back end.
    pub(super) fn plug(&self, id: &str, waker: Waker, number: u32) -> Option<Arc<dyn NetBackend>> {
        let netdevs = self.netdevs();
        let cable = &netdevs.get(id)?.cable;
        cable.plug(Some(Listener { waker, number }));
        Some(cable.clone())
    }

    /// Takes a back end away; its cable leads nowhere from now on. False: there is none of that name.
    pub(super) fn remove(&self, id: &str) -> bool {
        let Some(netdev) = self.netdevs().remove(id) else { return false };
        netdev.cable.end();
        true
    }

    /// What there is, as it is to be made again.
    pub(super) fn configs(&self) -> Vec<NetdevConfig> {
        self.netdevs().values().map(|netdev| netdev.config.clone()).collect()
    }

    /// Whether there is one of that name.
    pub(super) fn has(&self, id: &str) -> bool {
        self.netdevs().contains_key(id)
    }

    /// Nothing comes in any more.
    pub(super) fn pause(&self) {
        self.standing.store(true, Ordering::Release);
    }

    /// What has come meanwhile comes in.
    pub(super) fn resume(&self) {
        if self.standing.swap(false, Ordering::AcqRel) {
            let cables: Vec<Arc<Cable>> =
                self.netdevs().values().map(|netdev| netdev.cable.clone()).collect();
            cables.iter().for_each(|cable| cable.news());
        }
    }

    /// Ends all back ends.
    pub(super) fn shut_down(&self) {
        let all = std::mem::take(&mut *self.netdevs());
        all.values().for_each(|netdev| netdev.cable.end());
    }
}

/// The file of a dump: it is made, or emptied. Nobody waits at a pipe for a reader.
pub(crate) fn open_dump(path: &Path) -> Result<File, BuildError> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).custom_flags(libc::O_NONBLOCK);
    options.open(path).map_err(|source| file_error(path, source))
}

/// A frame that tells switches where a card is now: a request of RFC 903 for its own address, as QEMU sends it.
fn announcement(mac: [u8; 6]) -> Vec<u8> {
    const REVERSE_ARP: [u8; 2] = [0x80, 0x35];
    // Ethernet and IPv4, addresses of six bytes and of four, a reverse request.
    const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 3];
    let mut frame =
        [[0xff; 6].as_slice(), &mac, &REVERSE_ARP, &REQUEST, &mac, &[0; 4], &mac, &[0; 4]].concat();
    frame.resize(devices_core::net::MIN_FRAME, 0);
    frame
}

/// The names of cards in QEMU's lists of networks: the id of each, or its model and a number.
fn names(cards: &[Card]) -> Vec<String> {
    let mut numbers = BTreeMap::new();
    let mut name = |card: &Card| {
        card.spec.id.clone().unwrap_or_else(|| {
            let number = numbers.entry(card.spec.model.clone()).or_insert(0);
            *number += 1;
            format!("{}.{}", card.spec.model, *number - 1)
        })
    };
    cards.iter().map(&mut name).collect()
}

impl Machine {
    /// Network cards.
    pub(crate) fn nics(&self) -> Vec<NicInfo> {
        let cards = self.plugged.cards();
        let info = |(name, card): (String, &Card)| {
            let model = card.spec.model().ok()?.name;
            let nic = card.nic.lock();
            Some(NicInfo {
                name,
                model,
                mac: nic.mac(),
                link: nic.link(),
                netdev: card.spec.netdev().map(str::to_owned),
                filter: nic.rx_filter(),
            })
        };
        names(&cards).into_iter().zip(&cards).filter_map(info).collect()
    }

    /// What the card of that name on the bus is called in QEMU's list of networks, and its path in the tree of objects.
    pub(crate) fn card_names(&self, name: &str) -> Option<(String, String)> {
        let cards = self.plugged.cards();
        let at = cards.iter().position(|card| card.name == name)?;
        Some((names(&cards).swap_remove(at), self.path_of(name)?))
    }

    /// Back ends of networks.
    pub(crate) fn netdevs(&self) -> Vec<NetdevInfo> {
        let info = |(id, netdev): (&String, &Netdev)| NetdevInfo {
            id: id.clone(),
            info: netdev.running.as_ref().map_or_else(String::new, |running| running.info()),
        };
        self.networks.netdevs().iter().map(info).collect()
    }

    /// What has happened at back ends since the last call, the oldest first. Of switches it is their cards that hear, in
    /// [`Machine::follow_links`].
    pub(crate) fn network_events(&self) -> VecDeque<(String, NetEvent)> {
        let events = std::mem::take(&mut *self.networks.happened.lock());
        let netdevs = self.networks.netdevs();
        let (of_switches, others): (VecDeque<_>, VecDeque<_>) = events
            .into_iter()
            .partition(|(id, _)| netdevs.get(id).is_some_and(|netdev| netdev.config.kind == "vhost-user"));
        drop(netdevs);
        let links = of_switches.into_iter().map(|(id, event)| (id, event != NetEvent::Disconnected));
        self.networks.links().extend(links);
        others
    }

    /// Pulls the cables of cards whose switches have gone, and puts in those of cards whose switches have come.
    pub(crate) fn follow_links(&self) {
        let links = std::mem::take(&mut *self.networks.links());
        for (id, up) in links {
            self.set_link(&id, up);
        }
    }

    /// User networks: their ids, and handles to them.
    pub(crate) fn user_networks(&self) -> Vec<(String, UserHandle)> {
        let handle = |(id, netdev): (&String, &Netdev)| Some((id.clone(), netdev.running.as_ref()?.user()?));
        self.networks.netdevs().iter().filter_map(handle).collect()
    }

    /// Files that get what passes networks, by id.
    pub(crate) fn dumps(&self) -> Vec<String> {
        let netdevs = self.networks.netdevs();
        let of = |netdev: &Netdev| {
            let dumps = netdev.cable.dumps.read().unwrap_or_else(PoisonError::into_inner);
            dumps.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>()
        };
        netdevs.values().flat_map(of).collect()
    }

    /// Adds one.
    pub(crate) fn add_dump(&self, dump: &DumpConfig, file: File) -> Result<(), BuildError> {
        self.may_dump(dump)?;
        self.networks.add_dump(dump, file)
    }

    /// Whether one can be added: its file is made only then.
    pub(crate) fn may_dump(&self, dump: &DumpConfig) -> Result<(), BuildError> {
        if self.dumps().len() >= DUMPS {
            return Err(super::plug::plain("there are too many dumps: use object-del"));
        }
        Ok(crate::config::check_dumps(std::slice::from_ref(dump), &self.networks.configs())?)
    }

    /// Ends one. False: there is none of that name.
    pub(crate) fn remove_dump(&self, id: &str) -> bool {
        let cables: Vec<Arc<Cable>> =
            self.networks.netdevs().values().map(|netdev| netdev.cable.clone()).collect();
        cables.iter().any(|cable| cable.dump(id, None))
    }

    /// Adds a back end, which a card can name from now on. Files that it names are among `named`, and no longer when it
    /// has them.
    pub(crate) fn add_netdev(
        &self,
        netdev: NetdevConfig,
        named: &mut BTreeMap<String, OwnedFd>,
    ) -> Result<(), BuildError> {
        if matches!(self.border, Border::Recorded(..)) {
            return Err(super::plug::plain("no network can come while a recording is made"));
        }
        if netdev.on_port().is_some() {
            return Err(super::plug::plain(
                "a back end gets its port of a hub when the guest is put together",
            ));
        }
        let mut all = self.networks.configs();
        all.push(netdev.clone());
        crate::config::check_networks(&all, &[])?;
        if let Some(why) = crate::sandbox::refuses(&netdev, &self.config) {
            return Err(super::plug::plain(why));
        }
        let failed = |source| BuildError::Network { id: netdev.id.clone(), source };
        let named = RefCell::new(named);
        let fd = |name: &str| {
            if name.starts_with(|first: char| first.is_ascii_digit()) {
                return numbered(name);
            }
            named.borrow_mut().remove(name).ok_or_else(|| format!("File descriptor named '{name}' not found"))
        };
        let around = Around { hubs: &self.networks.hubs, fd: &fd };
        let prepared = backends::net::prepare(&netdev.spec()?, &around).map_err(failed)?;
        self.networks.add(netdev.clone(), Some(prepared)).map_err(failed)
    }

    /// Takes a back end away; the card that has it loses its link. False: there is none of that name.
    pub(crate) fn remove_netdev(&self, id: &str) -> bool {
        let there = self.networks.remove(id);
        if there {
            self.set_link(id, false);
            self.plugged.forget_netdev(id);
        }
        there
    }

    /// Pulls the cable of the card of that name, or of the one that has the back end of that name, or puts it in.
    /// False: there is neither.
    pub(crate) fn set_link(&self, name: &str, up: bool) -> bool {
        let cards = self.plugged.cards();
        let names = names(&cards);
        let is_it = |(own, card): &(&String, &Card)| *own == name || card.spec.netdev() == Some(name);
        let Some((_, card)) = names.iter().zip(&cards).find(is_it) else {
            return self.networks.has(name);
        };
        self.border.host(|| HostEvent::Link(card.name.clone(), up), || card.nic.lock().set_link(up));
        true
    }

    /// Takes all network cards off the bus, and their back ends away: PV drivers take over.
    pub(super) fn unplug_cards(&self) {
        for card in self.plugged.remove_cards(&self.bus) {
            if let Some(id) = card.spec.netdev() {
                self.networks.remove(id);
            }
        }
    }

    /// Tells the networks where the cards are now; all, or those that are named.
    pub(crate) fn announce(&self, names: Option<&[String]>) {
        let nics = self.nics();
        let netdevs = self.networks.netdevs();
        for nic in nics {
            let netdev = nic.netdev.as_ref().and_then(|id| netdevs.get(id));
            if let Some(netdev) =
                netdev.filter(|_| nic.link && names.is_none_or(|names| names.contains(&nic.name)))
            {
                // A network that is busy hears of it in the next round.
                netdev.cable.send(&announcement(nic.filter.main_mac));
            }
        }
    }
}
