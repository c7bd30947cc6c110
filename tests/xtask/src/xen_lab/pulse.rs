//! Whether the emulator's processor still runs, and what wakes it.
//!
//! Under nested SVM the emulator (QEMU 7.2, TCG) now and then forgets the timer of the local APIC: its interrupt stands
//! in IRR, nothing masks it, and nothing ever looks at it again. A processor that halts in Xen's idle loop sleeps on;
//! one that runs a guest stays with it, and dom0 gets no more time. Any other interrupt makes it look. dom0 takes a key
//! press for one and does nothing with it.

use std::fs;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guest_tests::Qmp;
use serde_json::json;

use crate::process::cpu_time;

/// How often to look. Xen's clocks are lost when nobody reads the platform's timer for some seconds.
const PERIOD: Duration = Duration::from_secs(1);
/// dom0 looks for jobs many times a second: an emulator that works for less than this in a period does not wake.
const LEAST: Duration = Duration::from_millis(10);
/// How often to press a key while it works, for it may work on the wrong thing. libxl waits 10 s for a device model.
const BUSY: Duration = Duration::from_secs(3);

/// What was seen of an emulator.
pub struct Pulse {
    at: Instant,
    worked: Duration,
    pressed: Instant,
    /// Who presses; one waits while the monitor has another client.
    pressing: Option<JoinHandle<()>>,
}

impl Pulse {
    /// Nothing yet.
    pub fn new() -> Pulse {
        let now = Instant::now();
        Pulse { at: now, worked: Duration::ZERO, pressed: now, pressing: None }
    }

    /// Presses a key at the monitor in `folder` if the processes below `pid` have stood still for a while, and now and
    /// then if they have not.
    pub fn keep(&mut self, pid: u32, folder: &Path) {
        if self.at.elapsed() < PERIOD {
            return;
        }
        let worked = work_below(pid);
        let due = worked.saturating_sub(self.worked) < LEAST || self.pressed.elapsed() >= BUSY;
        if due && self.pressing.as_ref().is_none_or(JoinHandle::is_finished) {
            let socket = folder.join("monitor");
            self.pressing = Some(std::thread::spawn(move || press(&socket)));
            self.pressed = Instant::now();
        }
        self.at = Instant::now();
        self.worked = worked;
    }
}

/// CPU time of a process and of its children: the emulator is one of `timeout`.
fn work_below(pid: u32) -> Duration {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let all = children.split_whitespace().filter_map(|child| child.parse().ok()).chain([pid]);
    all.map(|pid| cpu_time(pid).unwrap_or_default()).sum()
}

/// One that cannot be pressed is tried again in a while.
fn press(monitor: &Path) {
    if let Ok(mut monitor) = Qmp::connect(monitor, || false) {
        let _ = monitor.execute("send-key", json!({ "keys": [{ "type": "qcode", "data": "shift" }] }));
    }
}
