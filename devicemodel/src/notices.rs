//! From the devices to the event loop: what they ask for, tell, and cannot go on with.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use devices::xen::platform::Unplug;
use devices_core::Ticket;
use devices_core::block::Retry;
use devices_core::events::{DeviceEvent, Observer};
use devices_core::power::{Power, PowerEvent};
use hypervisor::{Event, Hypervisor};
use vmm_sys_util::eventfd::EventFd;

/// What the event loop hears of the machine.
#[derive(Debug)]
pub enum Notice {
    /// A device asks for something. The vCPUs have been told to stand still.
    Power(PowerEvent),
    /// A vCPU gave up.
    Cpu(Event),
    /// Devices have something to tell: see [`Notices::device_events`].
    Device,
    /// The guest's PV drivers want emulated devices gone; the vCPU waits for the ticket.
    Unplug(Unplug, Ticket),
    /// The person at the terminal wants to end it (Ctrl-A x).
    Quit,
}

/// What a device told, by its name on the machine's bus.
pub type Told = (Arc<str>, DeviceEvent);

/// The sending end: the machine's power switch. Clones lead to the same loop.
#[derive(Clone)]
pub struct Notifier {
    send: Sender<Notice>,
    wake: Arc<EventFd>,
    hypervisor: Arc<OnceLock<Weak<dyn Hypervisor>>>,
    told: Arc<Mutex<VecDeque<Told>>>,
    asked: Arc<Mutex<Asked>>,
    stopped: Arc<Mutex<Vec<Arc<dyn Retry>>>>,
}

/// The receiving end.
pub struct Notices {
    receive: Receiver<Notice>,
    wake: Arc<EventFd>,
    told: Arc<Mutex<VecDeque<Told>>>,
    asked: Arc<Mutex<Asked>>,
    /// Drives for which the guest is to be stopped.
    stopped: Arc<Mutex<Vec<Arc<dyn Retry>>>>,
}

/// Most events of devices that wait; the oldest go.
const TOLD: usize = 128;

/// Both ends.
pub fn notices() -> std::io::Result<(Notifier, Notices)> {
    let (send, receive) = channel();
    let wake = Arc::new(EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?);
    let told: Arc<Mutex<_>> = Arc::default();
    let asked: Arc<Mutex<Asked>> = Arc::default();
    let stopped: Arc<Mutex<Vec<_>>> = Arc::default();
    let notifier = Notifier {
        send,
        wake: wake.clone(),
        hypervisor: Arc::default(),
        told: told.clone(),
        asked: asked.clone(),
        stopped: stopped.clone(),
    };
    Ok((notifier, Notices { receive, wake, told, asked, stopped }))
}

impl Notifier {
    /// Whose vCPUs stand still after a power request.
    pub fn bind(&self, hypervisor: &Arc<dyn Hypervisor>) {
        // A notifier belongs to one machine: the first binding stays.
        let _ = self.hypervisor.set(Arc::downgrade(hypervisor));
    }

    /// Takes down what the device of that name tells.
    pub fn observer(&self, device: &str) -> Arc<dyn Observer> {
        Arc::new(OfDevice { device: device.into(), notifier: self.clone() })
    }

    /// Wakes the event loop with a notice.
    pub fn notify(&self, notice: Notice) {
        // Both fail only when the loop is gone.
        let _ = self.send.send(notice);
        let _ = self.wake.write(1);
    }
}

/// Least time between two reports of a guest that its crash kernel is loaded: it goes on by itself, and could
/// make them for ever.
const CRASH_LOADED: Duration = Duration::from_secs(1);

/// Requests of devices on their way to the loop.
#[derive(Default)]
struct Asked {
    /// Each is there once.
    waiting: Vec<PowerEvent>,
    crash_loaded: Option<Instant>,
}

impl Asked {
    /// Whether the loop is to hear of it.
    fn take(&mut self, event: PowerEvent) -> bool {
        if event == PowerEvent::CrashLoaded {
            if self.crash_loaded.is_some_and(|last| last.elapsed() < CRASH_LOADED) {
                return false;
            }
            self.crash_loaded = Some(Instant::now());
        }
        let new = !self.waiting.contains(&event);
        if new {
            self.waiting.push(event);
        }
        new
    }
}

impl Power for Notifier {
    fn request(&self, event: PowerEvent) {
        if !lock(&self.asked).take(event) {
            return;
        }
        if let Some(hypervisor) = self.hypervisor.get().and_then(Weak::upgrade) {
            hypervisor.suspend();
        }
        self.notify(Notice::Power(event));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who watches one device.
struct OfDevice {
    device: Arc<str>,
    notifier: Notifier,
}

impl Observer for OfDevice {
    fn observe(&self, event: DeviceEvent) {
        let mut told = lock(&self.notifier.told);
        let first = told.is_empty();
        // Where only the last counts, or all are the same, one is kept.
        told.retain(|(device, other)| match (other, event) {
            _ if *device != self.device => true,
            (DeviceEvent::ClockSet { .. }, DeviceEvent::ClockSet { .. })
            | (DeviceEvent::BalloonMoved { .. }, DeviceEvent::BalloonMoved { .. }) => false,
            (DeviceEvent::BlockError { .. }, event) => *other != event,
            (DeviceEvent::PortOpened { port, .. }, DeviceEvent::PortOpened { port: same, .. }) => {
                *port != same
            }
            _ => true,
        });
        if told.len() >= TOLD {
            told.pop_front();
        }
        told.push_back((self.device.clone(), event));
        drop(told);
        if first {
            self.notifier.notify(Notice::Device);
        }
    }

    fn stops(&self, requests: Arc<dyn Retry>) -> bool {
        // A guest that runs on would find no devices at all (on Xen), which is worse than an error.
        let hypervisor = self.notifier.hypervisor.get().and_then(Weak::upgrade);
        if hypervisor.is_none_or(|hypervisor| hypervisor.capabilities().stopped_by_others) {
            return false;
        }
        let stopped = &mut *lock(&self.notifier.stopped);
        if !stopped.iter().any(|other| Arc::ptr_eq(other, &requests)) {
            stopped.push(requests);
        }
        true
    }
}

impl Notices {
    /// What devices have told since the last call, the oldest first.
    pub fn device_events(&self) -> VecDeque<Told> {
        std::mem::take(&mut *lock(&self.told))
    }

    /// Whether requests to disks wait for the guest to go on.
    pub fn disks_wait(&self) -> bool {
        // A drive asks for this with its requests locked.
        let stopped = lock(&self.stopped).clone();
        stopped.iter().any(|requests| requests.waits())
    }

    /// Sends them again.
    pub fn retry(&self) {
        let stopped = std::mem::take(&mut *lock(&self.stopped));
        stopped.iter().for_each(|requests| requests.retry());
    }

    /// Readable when there are notices, until it is [heard](Notices::hear).
    pub fn fd(&self) -> &EventFd {
        &self.wake
    }

    /// Makes it no longer readable. To be called before the [next](Notices::next) one is asked for: one that comes after
    /// is seen in the next turn.
    pub fn hear(&self) {
        let _ = self.wake.read();
    }

    /// The next notice.
    pub fn next(&self) -> Option<Notice> {
        let notice = self.receive.try_recv().ok()?;
        if let Notice::Power(event) = notice {
            lock(&self.asked).waiting.retain(|&other| other != event);
        }
        Some(notice)
    }
}

#[cfg(test)]
mod tests {
    use devices_core::block::ErrorAction;

    use super::*;

    #[test]
    fn each_device_tells_for_itself() {
        let (notifier, notices) = notices().unwrap();
        let [one, other] = ["ide", "peripheral/second"].map(|device| notifier.observer(device));
        let failed =
            DeviceEvent::BlockError { drive: 0, write: true, no_space: false, action: ErrorAction::Report };
        for _ in 0..1000 {
            one.observe(failed);
            other.observe(failed);
        }
        let told: Vec<_> = notices.device_events().into();
        assert_eq!(told, [("ide".into(), failed), ("peripheral/second".into(), failed)]);
    }

    #[test]
    fn a_guest_that_says_the_same_for_ever_fills_nothing() {
        let (notifier, notices) = notices().unwrap();
        for _ in 0..100_000 {
            notifier.request(PowerEvent::CrashLoaded);
            notifier.request(PowerEvent::Panicked);
        }
        let mut heard = 0;
        while let Some(notice) = notices.next() {
            heard += 1;
            // It goes on while the loop listens.
            if matches!(notice, Notice::Power(PowerEvent::CrashLoaded)) {
                notifier.request(PowerEvent::CrashLoaded);
            }
            assert!(heard < 1000, "one a second, and the other once");
        }
        notifier.request(PowerEvent::Panicked);
        assert!(matches!(notices.next(), Some(Notice::Power(PowerEvent::Panicked))));
    }
}
