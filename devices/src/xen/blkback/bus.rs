//! The handshake through xenstore (Xen's public `io/xenbus.h`, `io/blkif.h`).

use devices_core::Node;
use devices_core::block::BlockInfo;

use super::engine::{Engine, Queue};
use super::pages::{DataPages, PERSISTENT};
use super::ring::Ring;
use super::spec::{self, SECTOR, X86_32, X86_64, info, ring};
use super::{Config, GrantOps, Store, StoreError};

/// `XenbusState`, as far as it concerns us, and the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The other end may begin.
    InitWait = 2,
    /// Rings are served.
    Connected = 4,
    /// One end wants to stop.
    Closing = 5,
    /// Nothing is shared.
    Closed = 6,
    /// The disk is not ours any more, or its nodes are gone. Never written.
    Gone = 255,
}

/// States of the frontend.
mod front {
    pub const UNKNOWN: u32 = 0;
    pub const INITIALISING: u32 = 1;
    pub const INITIALISED: u32 = 3;
    pub const CONNECTED: u32 = 4;
    pub const CLOSING: u32 = 5;
    pub const CLOSED: u32 = 6;
}

/// Most rings.
const QUEUES: u32 = 16;

/// Our end of the handshake.
pub struct Bus {
    config: Config,
    store: Box<dyn Store>,
    state: State,
    /// The state to go to when nothing is in flight any more.
    goal: Option<State>,
    /// The frontend's state that we have seen last.
    seen: Option<u32>,
    online: bool,
}

impl Bus {
    /// Writes all that the frontend wants to know.
    pub fn offer(config: Config, medium: BlockInfo, store: Box<dyn Store>) -> Result<Bus, StoreError> {
        let bus = Bus { config, store, state: State::InitWait, goal: None, seen: None, online: true };
        bus.write_features(&medium)?;
        let Config { device, cdrom, .. } = bus.config;
        bus.store.write(&bus.theirs("virtual-device"), &device.to_string())?;
        bus.store.write(&bus.theirs("device-type"), if cdrom { "cdrom" } else { "disk" })?;
        bus.write_geometry(&medium)?;
        bus.put("frontend", &bus.config.frontend)?;
        bus.put("frontend-id", bus.config.domid)?;
        bus.put("hotplug-status", "connected")?;
        bus.put("online", 1)?;
        bus.put("state", State::InitWait as u32)?;
        for path in bus.watched() {
            bus.store.watch(&path)?;
        }
        Ok(bus)
    }

    fn write_features(&self, medium: &BlockInfo) -> Result<(), StoreError> {
        if self.config.discard && medium.discard && !medium.read_only {
            self.put("feature-discard", 1)?;
            self.put("discard-granularity", medium.physical_block)?;
            self.put("discard-alignment", 0)?;
        }
        self.put("feature-flush-cache", 1)?;
        self.put("max-ring-page-order", ring::ORDER_MAX)?;
        self.put("multi-queue-max-queues", self.config.queues.clamp(1, QUEUES))?;
        self.put("feature-max-indirect-segments", spec::INDIRECT_SEGMENTS)?;
        self.put("feature-persistent", u32::from(self.config.persistent))?;
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        let info = flag(self.config.cdrom, info::CDROM)
            | flag(self.config.removable, info::REMOVABLE)
            | flag(medium.read_only, info::READ_ONLY);
        self.put("info", info)
    }

    fn write_geometry(&self, medium: &BlockInfo) -> Result<(), StoreError> {
        self.put("sector-size", SECTOR)?;
        self.put("physical-sector-size", medium.physical_block)?;
        self.put("sectors", medium.size / SECTOR)
    }

    /// Tells the frontend of another size: it looks when the state is written.
    pub fn write_size(&mut self, medium: BlockInfo) -> Result<(), StoreError> {
        self.put("sectors", medium.size / SECTOR)?;
        self.put("state", self.state as u32)
    }

    fn ours(&self, key: &str) -> String {
        format!("{}/{key}", self.config.backend)
    }

    fn theirs(&self, key: &str) -> String {
        format!("{}/{key}", self.config.frontend)
    }

    fn watched(&self) -> [String; 3] {
        [self.ours("state"), self.ours("online"), self.theirs("state")]
    }

    fn put(&self, key: &str, value: impl ToString) -> Result<(), StoreError> {
        self.store.write(&self.ours(key), &value.to_string())
    }

    /// A number of the frontend's, or of ours, that anybody may have written.
    fn number(&self, path: &str) -> Option<u32> {
        let text = self.store.find(path).inspect_err(|error| tracing::warn!("PV disk: {error}")).ok()??;
        text.trim().parse().ok()
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        if let Err(error) = self.put("state", state as u32) {
            tracing::warn!("PV disk: {error}");
        }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// For people.
    pub fn inspect(&self, node: &mut Node) {
        node.value("state", format_args!("{:?}", self.state))
            .value("frontend", self.seen.unwrap_or_default());
        node.value("online", self.online);
    }

    /// Looks at what the toolstack and the frontend have written.
    pub fn look(&mut self, engine: &mut Engine) {
        let Some(ours) = self.number(&self.ours("state")) else {
            // The toolstack has removed our nodes.
            engine.close();
            self.state = State::Gone;
            return;
        };
        self.online = self.number(&self.ours("online")) == Some(1);
        let theirs = self.number(&self.theirs("state")).unwrap_or(front::UNKNOWN);
        let open = matches!(self.state, State::InitWait | State::Connected);
        if ours == State::Closing as u32 && open {
            self.state = State::Closing;
            self.goal = None;
            if !matches!(theirs, front::INITIALISED | front::CONNECTED | front::CLOSING) {
                engine.close();
                self.goal = Some(State::Closed);
            }
        }
        if ours == State::Closing as u32 && self.state == State::Closed {
            // It was closed before it was taken away, and whoever takes it away waits to be told so.
            self.goal = Some(State::Closed);
        }
        if self.seen.replace(theirs) != Some(theirs) {
            self.react(theirs, engine);
        }
    }

    /// The frontend has a new state.
    fn react(&mut self, theirs: u32, engine: &mut Engine) {
        match (theirs, self.state) {
            // It begins, perhaps anew: after a crash it does not say goodbye.
            (front::INITIALISING, State::Connected | State::Closing | State::Closed) => {
                engine.close();
                self.goal = Some(if self.online { State::InitWait } else { State::Closed });
            }
            (front::INITIALISED | front::CONNECTED, State::InitWait | State::Closed) => {
                self.goal = Some(State::Connected);
            }
            (front::CLOSING, State::InitWait | State::Connected) => {
                self.goal = None;
                self.enter(State::Closing);
            }
            (front::CLOSED | front::UNKNOWN, State::InitWait | State::Connected | State::Closing) => {
                engine.close();
                self.goal = Some(State::Closed);
            }
            _ => {}
        }
    }

    /// Goes where it has to go, once nothing is in flight. The state that it is in then.
    pub fn settle(&mut self, engine: &mut Engine, host: &dyn GrantOps) -> State {
        if self.state == State::Gone {
            return State::Gone;
        }
        if engine.idle()
            && let Some(goal) = self.goal.take()
        {
            match goal {
                State::Connected => self.connect(engine, host),
                goal => self.enter(goal),
            }
        }
        // The nodes are left to the toolstack, which waits to see the state that is written there last.
        if !self.online && self.goal.is_none() && matches!(self.state, State::InitWait | State::Closed) {
            engine.close();
            self.state = State::Gone;
        }
        self.state
    }

    fn connect(&mut self, engine: &mut Engine, host: &dyn GrantOps) {
        let before = engine.info().size;
        let opened = engine.open_medium().map_err(|error| error.to_string());
        match opened.and_then(|()| self.open_all(host)) {
            Ok(queues) => {
                engine.open(queues);
                let medium = engine.info();
                if medium.size != before
                    && let Err(error) = self.write_geometry(&medium)
                {
                    tracing::warn!("PV disk: {error}");
                }
                self.enter(State::Connected);
            }
            Err(error) => {
                tracing::warn!(device = self.config.device, "PV disk does not connect: {error}");
                self.enter(State::Closing);
            }
        }
    }

    /// Maps what the frontend shares.
    fn open_all(&self, host: &dyn GrantOps) -> Result<Vec<Queue>, String> {
        let layout = match self.text("protocol")?.as_deref() {
            None | Some("x86_64-abi") => X86_64,
            Some("x86_32-abi") => X86_32,
            Some(other) => return Err(format!("protocol {other:?} is not known")),
        };
        let count = self.value("multi-queue-num-queues")?;
        let order = self.value("ring-page-order")?;
        let offered = self.config.queues.clamp(1, QUEUES);
        if count.is_some_and(|count| !(1..=offered).contains(&count)) {
            return Err(format!("{count:?} queues; {offered} were offered"));
        }
        if order.is_some_and(|order| order > ring::ORDER_MAX) {
            return Err(format!("rings of order {order:?}"));
        }
        let persistent = self.config.persistent && self.value("feature-persistent")? == Some(1);
        let standing = persistent.then(|| PERSISTENT / count.unwrap_or(1).max(1) as usize);
        let open = |at: u32| {
            // One queue alone has its keys where they were before there were several.
            let prefix = if count > Some(1) { format!("queue-{at}/") } else { String::new() };
            let (pages, port) = self.shared(&prefix, order)?;
            let pages = host.map(&pages, true).map_err(|error| error.to_string())?;
            let ring = Ring::new(pages, layout).ok_or("a ring without pages")?;
            let channel = host.bind(port).map_err(|error| error.to_string())?;
            Ok(Queue::new(ring, DataPages::new(standing), channel))
        };
        (0..count.unwrap_or(1)).map(open).collect()
    }

    /// The grants of a ring's pages, and its event channel.
    fn shared(&self, prefix: &str, order: Option<u32>) -> Result<(Vec<u32>, u32), String> {
        let need = |key: String| self.value(&key)?.ok_or(format!("no {key}"));
        let pages = match order {
            None => vec![need(format!("{prefix}ring-ref"))?],
            Some(order) => {
                let pages = 0..1u32 << order;
                pages.map(|page| need(format!("{prefix}ring-ref{page}"))).collect::<Result<_, _>>()?
            }
        };
        Ok((pages, need(format!("{prefix}event-channel"))?))
    }

    fn text(&self, key: &str) -> Result<Option<String>, String> {
        self.store.find(&self.theirs(key)).map_err(|error| error.to_string())
    }

    fn value(&self, key: &str) -> Result<Option<u32>, String> {
        let parse = |text: String| text.trim().parse().map_err(|_| format!("{key} is {text:?}"));
        self.text(key)?.map(parse).transpose()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        for path in self.watched() {
            // It may be gone with its node's domain.
            let _ = self.store.unwatch(&path);
        }
    }
}
