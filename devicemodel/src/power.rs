//! From a device's power request to the event loop.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};

use devices::xen::platform::Unplug;
use devices_core::Ticket;
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
    /// The guest's PV drivers want emulated devices gone; the vCPU waits for the ticket.
    Unplug(Unplug, Ticket),
    /// The person at the terminal wants to end it (Ctrl-A x).
    Quit,
}

/// The sending end: the machine's power switch. Clones lead to the same loop.
#[derive(Clone)]
pub struct Notifier {
    send: Sender<Notice>,
    wake: Arc<EventFd>,
    hypervisor: Arc<OnceLock<Weak<dyn Hypervisor>>>,
}

/// The receiving end.
pub struct Notices {
    receive: Receiver<Notice>,
    wake: Arc<EventFd>,
}

/// Both ends.
pub fn notices() -> std::io::Result<(Notifier, Notices)> {
    let (send, receive) = channel();
    let wake = Arc::new(EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?);
    let notifier = Notifier { send, wake: wake.clone(), hypervisor: Arc::default() };
    Ok((notifier, Notices { receive, wake }))
}

impl Notifier {
    /// Whose vCPUs stand still after a power request.
    pub fn bind(&self, hypervisor: &Arc<dyn Hypervisor>) {
        // A notifier belongs to one machine: the first binding stays.
        let _ = self.hypervisor.set(Arc::downgrade(hypervisor));
    }

    /// Wakes the event loop with a notice.
    pub fn notify(&self, notice: Notice) {
        // Both fail only when the loop is gone.
        let _ = self.send.send(notice);
        let _ = self.wake.write(1);
    }
}

impl Power for Notifier {
    fn request(&self, event: PowerEvent) {
        if let Some(hypervisor) = self.hypervisor.get().and_then(Weak::upgrade) {
            hypervisor.suspend();
        }
        self.notify(Notice::Power(event));
    }
}

impl Notices {
    /// Readable when there are notices.
    pub fn fd(&self) -> &EventFd {
        &self.wake
    }

    /// The next notice.
    pub fn next(&self) -> Option<Notice> {
        // Reset first: a notice that comes after is seen in the next turn.
        let _ = self.wake.read();
        self.receive.try_recv().ok()
    }
}
