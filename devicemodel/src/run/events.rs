//! What devices have to tell, as events of the monitor.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use backends::net::{Address, NetEvent};
use devices_core::block::ErrorAction;
use devices_core::events::DeviceEvent;
use serde_json::{Value, json};

use super::Runner;
use crate::config::WatchdogAction;
use crate::monitor::events::{self as qmp, Event, EventSpec};
use crate::monitor::info::IoStatus;

/// How often each of these events comes at most: a guest that sets its clock writes one register after the other, a
/// balloon moves by 1 MiB, and a port can be opened as fast as a guest likes.
const SELDOM: Duration = Duration::from_secs(1);

/// An event that comes now and then: the first at once, after that the last of each second.
#[derive(Debug)]
pub(super) struct Rare {
    kind: &'static EventSpec,
    /// Until when the next one waits.
    quiet: Option<Instant>,
    waiting: Option<Value>,
}

impl Rare {
    pub(super) const fn of(kind: &'static EventSpec) -> Rare {
        Rare { kind, quiet: None, waiting: None }
    }

    /// When [`next`](Rare::next) has something, if it will.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().and(self.quiet)
    }

    fn is_busy(&self, now: Instant) -> bool {
        self.waiting.is_some() || self.quiet.is_some_and(|quiet| now < quiet)
    }

    fn put(&mut self, data: Value) {
        self.waiting = Some(data);
    }

    fn next(&mut self, now: Instant) -> Option<Value> {
        if self.quiet.is_some_and(|quiet| now < quiet) {
            return None;
        }
        let data = self.waiting.take()?;
        self.quiet = now.checked_add(SELDOM);
        Some(data)
    }
}

/// Events that come now and then.
#[derive(Debug)]
pub(super) struct RareEvents {
    clock: Rare,
    balloon: Rare,
    watchdog: Rare,
    /// Ports of virtio consoles, by their ids.
    ports: BTreeMap<String, Rare>,
}

impl RareEvents {
    /// None is waiting.
    pub(super) const NONE: RareEvents = RareEvents {
        clock: Rare::of(&qmp::RTC_CHANGE),
        balloon: Rare::of(&qmp::BALLOON_CHANGE),
        watchdog: Rare::of(&qmp::WATCHDOG),
        ports: BTreeMap::new(),
    };

    /// When one of them has something, if one will.
    pub(super) fn due(&self) -> Option<Instant> {
        let fixed = [&self.clock, &self.balloon, &self.watchdog];
        fixed.into_iter().chain(self.ports.values()).filter_map(Rare::due).min()
    }

    /// A watchdog has barked; whether it is long enough since the last time to say so in the log.
    pub(super) fn barked(&mut self, action: WatchdogAction) -> bool {
        let quiet = self.watchdog.is_busy(Instant::now());
        self.watchdog.put(json!({ "action": action.name() }));
        !quiet
    }

    fn port_changed(&mut self, id: String, open: bool) {
        let data = json!({ "id": id, "open": open });
        self.ports.entry(id).or_insert_with(|| Rare::of(&qmp::VSERPORT_CHANGE)).put(data);
    }

    fn next(&mut self, now: Instant) -> Vec<Event> {
        let fixed = [&mut self.clock, &mut self.balloon, &mut self.watchdog];
        let all = fixed.into_iter().chain(self.ports.values_mut());
        let come = all.filter_map(|rare| Some((rare.kind, rare.next(now)?))).collect();
        // Ports come and go.
        self.ports.retain(|_, rare| rare.is_busy(now));
        come
    }
}

impl Runner {
    /// Makes events of what devices have told.
    pub(super) fn hear(&mut self) {
        for (from, event) in self.notices.device_events() {
            match event {
                DeviceEvent::TrayMoved { drive, open } => {
                    if let Some((device, id)) = self.machine.drive_names(&from, drive) {
                        let data = json!({ "device": device, "tray-open": open, "id": id });
                        self.events.push((&qmp::DEVICE_TRAY_MOVED, data));
                    }
                }
                DeviceEvent::BlockError { .. } => self.block_error(&from, event),
                DeviceEvent::ClockSet { seconds } => {
                    let (offset, path) = self.machine.clock_set(&from, seconds);
                    self.rare.clock.put(json!({ "offset": offset, "qom-path": path }));
                }
                DeviceEvent::PortOpened { port, open } => {
                    if let Some(id) = self.machine.port_id(&from, port) {
                        self.rare.port_changed(id, open);
                    }
                }
                DeviceEvent::FilterChanged => {
                    if let Some((name, path)) = self.machine.card_names(&from) {
                        self.events
                            .push((&qmp::NIC_RX_FILTER_CHANGED, json!({ "name": name, "path": path })));
                    }
                }
                DeviceEvent::BalloonMoved { actual } => self.rare.balloon.put(json!({ "actual": actual })),
            }
        }
        for (id, event) in self.machine.network_events() {
            self.events.push(network_event(&id, event));
        }
        // What is written down must not change meanwhile.
        if self.work.is_none() {
            self.machine.follow_links();
            self.take_ejected();
        }
        self.events.extend(self.rare.next(Instant::now()));
        self.stop_for_disks();
    }

    /// Takes out what the guest has ejected.
    pub(super) fn take_ejected(&mut self) {
        for (id, path) in self.machine.take_ejected() {
            let mut data = json!({ "path": path });
            if let (Some(id), Some(fields)) = (id, data.as_object_mut()) {
                fields.insert("device".into(), id.into());
            }
            self.events.push((&qmp::DEVICE_DELETED, data));
        }
    }

    fn block_error(&mut self, controller: &str, event: DeviceEvent) {
        let DeviceEvent::BlockError { drive, write, no_space, action } = event else { return };
        let Some((device, _)) = self.machine.drive_names(controller, drive) else { return };
        let reason = if no_space { "No space left on device" } else { "Input/output error" };
        let action = match action {
            ErrorAction::Report => "report",
            ErrorAction::Ignore => "ignore",
            ErrorAction::Stop => {
                tracing::error!("disk {device}: {reason}: the guest is stopped until 'cont'");
                self.machine.set_io_status(controller, drive, IoStatus::of(no_space));
                "stop"
            }
        };
        let mut data = json!({
            "device": device,
            "operation": if write { "write" } else { "read" },
            "action": action,
            "nospace": no_space,
            "reason": reason,
        });
        if let (Some(node), Some(fields)) = (self.machine.node_in(controller, drive), data.as_object_mut()) {
            fields.insert("node-name".into(), node.into());
        }
        self.events.push((&qmp::BLOCK_IO_ERROR, data));
    }
}

/// A peer of a network has come or gone.
fn network_event(id: &str, event: NetEvent) -> Event {
    match event {
        NetEvent::Connected(address) => {
            let addr = match address {
                Address::Inet { host, port, .. } => {
                    json!({ "type": "inet", "host": host, "port": port.to_string() })
                }
                Address::Unix { path, .. } => json!({ "type": "unix", "path": path }),
                Address::Fd(name) => json!({ "type": "fd", "str": name }),
            };
            (&qmp::NETDEV_STREAM_CONNECTED, json!({ "netdev-id": id, "addr": addr }))
        }
        NetEvent::Disconnected => (&qmp::NETDEV_STREAM_DISCONNECTED, json!({ "netdev-id": id })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comes_at_once_and_then_the_last_of_each_second() {
        let mut rare = Rare::of(&qmp::RTC_CHANGE);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(rare.due(), None);
        rare.put(json!(1));
        assert_eq!(rare.next(at(0)), Some(json!(1)));
        assert_eq!((rare.next(at(1)), rare.due()), (None, None));
        rare.put(json!(2));
        rare.put(json!(3));
        assert_eq!((rare.next(at(999)), rare.due()), (None, Some(at(1000))));
        assert_eq!(rare.next(at(1000)), Some(json!(3)));
        assert_eq!(rare.next(at(5000)), None);
        rare.put(json!(4));
        assert_eq!(rare.next(at(5000)), Some(json!(4)));
    }

    #[test]
    fn each_port_has_its_own_second() {
        let mut rare = RareEvents::NONE;
        let start = Instant::now();
        rare.port_changed("a".into(), true);
        rare.port_changed("b".into(), true);
        rare.port_changed("b".into(), false);
        let come = |rare: &mut RareEvents, ms| {
            let events = rare.next(start + Duration::from_millis(ms));
            events.into_iter().map(|(_, data)| data).collect::<Vec<_>>()
        };
        let told = |id: &str, open: bool| json!({ "id": id, "open": open });
        assert_eq!(come(&mut rare, 0), [told("a", true), told("b", false)]);
        rare.port_changed("a".into(), false);
        assert_eq!(come(&mut rare, 500), Vec::<Value>::new());
        assert!(rare.due().is_some());
        assert_eq!(come(&mut rare, 1000), [told("a", false)]);
        assert_eq!(come(&mut rare, 3000), Vec::<Value>::new());
        assert!(rare.ports.is_empty(), "nothing is kept of what is quiet");
    }
}
