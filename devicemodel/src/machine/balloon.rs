//! The guest's memory balloon, for the monitor.

use devices_core::balloon::{POLLING, STATISTICS};
use serde_json::{Map, Value, json};

use super::Machine;
use crate::trace::record::HostEvent;

/// A property in the tree of objects: name, type, value.
type Property = (&'static str, &'static str, Value);

impl Machine {
    /// Bytes that the balloon leaves the guest; none: there is no balloon.
    pub(crate) fn balloon(&self) -> Option<u64> {
        self.plugged.balloon().map(|(_, balloon)| balloon.lock().actual())
    }

    /// Asks the guest to keep so many bytes.
    pub(crate) fn set_balloon(&self, bytes: u64) {
        if let Some((name, balloon)) = self.plugged.balloon() {
            self.border.host(|| HostEvent::Balloon(name, bytes), || balloon.lock().set_target(bytes));
        }
    }

    /// Has the balloon at that path ask for statistics every so many seconds. False: there is none.
    pub(crate) fn set_balloon_polling(&self, path: &str, seconds: u32) -> bool {
        let Some((name, balloon)) = self.plugged.balloon() else { return false };
        if self.path_of(&name).as_deref() != Some(path) {
            return false;
        }
        let event = || HostEvent::BalloonPolling(name.clone(), seconds);
        self.border.host(event, || balloon.lock().set_polling(seconds));
        true
    }

    /// What the balloon of that name on the bus has beside what is set on it; nothing for another device.
    pub(super) fn balloon_properties(&self, name: &str) -> Vec<Property> {
        let Some((_, balloon)) = self.plugged.balloon().filter(|(device, _)| device == name) else {
            return Vec::new();
        };
        let balloon = balloon.lock();
        let (statistics, polling) = (balloon.statistics(), balloon.polling());
        drop(balloon);
        // What the driver does not tell is -1, as QEMU has it.
        let stats: Map<String, Value> = STATISTICS
            .iter()
            .zip(statistics.values)
            .map(|(name, value)| ((*name).to_owned(), value.unwrap_or(u64::MAX).into()))
            .collect();
        let now = self.hypervisor.clock().now();
        let ago = |told: u64| i64::try_from(now.saturating_sub(told) / 1_000_000_000).unwrap_or(i64::MAX);
        let update = statistics.told.map_or(0, |told| crate::host::seconds().saturating_sub(ago(told)));
        vec![
            (POLLING, "int", polling.into()),
            ("guest-stats", "guest statistics", json!({ "stats": stats, "last-update": update })),
        ]
    }
}
