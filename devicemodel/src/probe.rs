//! No guest at all (`-machine none`): a monitor that answers questions about the program until it is told
//! to quit. libxl 4.20 and later runs this once before each guest.

use std::path::Path;

use event_manager::{EventManager, EventOps, Events, MutEventSubscriber, SubscriberOps};

use crate::monitor::Guest;
use crate::monitor::facts::NewMedium;
use crate::monitor::protocol::QmpError;
use crate::monitor::server::Server;
use crate::run::LoopError;
use crate::screenshot::ImageFormat;

/// Serves the monitors until one of them is told to quit.
pub fn run(server: Server) -> Result<(), LoopError> {
    let failed = |error: event_manager::Error| LoopError::Events(format!("{error:?}"));
    let mut manager = EventManager::new().map_err(failed)?;
    let id = manager.add_subscriber(Probe { server, guest: Nobody { quit: false }, failed: None });
    loop {
        let probe = manager.subscriber_mut(id).map_err(failed)?;
        if let Some(error) = probe.failed.take() {
            return Err(failed(error));
        }
        if probe.guest.quit {
            return Ok(());
        }
        manager.run().map_err(failed)?;
    }
}

struct Probe {
    server: Server,
    guest: Nobody,
    failed: Option<event_manager::Error>,
}

impl MutEventSubscriber for Probe {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        self.failed = self.server.register(ops).err();
    }
    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        self.server.process(events.data(), ops, &mut self.guest);
    }
}

/// What the monitor finds where a guest would be.
struct Nobody {
    quit: bool,
}

fn no_guest() -> QmpError {
    QmpError::generic("there is no guest: the machine is 'none'")
}

impl Guest for Nobody {
    fn status(&self) -> &'static str {
        "prelaunch"
    }
    fn name(&self) -> String {
        String::new()
    }
    fn stop(&mut self) {}
    fn cont(&mut self) -> Result<(), QmpError> {
        Err(no_guest())
    }
    fn quit(&mut self) {
        self.quit = true;
    }
    fn powerdown(&mut self) {}
    fn reset(&mut self) {}
    fn inspect(&mut self, _path: &str) -> Result<String, QmpError> {
        Err(no_guest())
    }
    fn screendump(&mut self, _file: &Path, _format: ImageFormat) -> Result<(), QmpError> {
        Err(no_guest())
    }
    fn send_key(&mut self, _keys: &[String], _hold_ms: u64) -> Result<(), QmpError> {
        Err(no_guest())
    }
    fn save(&mut self, _file: &Path, _progress: &mut dyn FnMut(u64, u64)) -> Result<(), QmpError> {
        Err(no_guest())
    }
    fn eject(&mut self, device: &str, _force: bool) -> Result<(), QmpError> {
        Err(QmpError::device_not_found(device))
    }
    fn change_medium(&mut self, device: &str, _medium: NewMedium) -> Result<(), QmpError> {
        Err(QmpError::device_not_found(device))
    }
}
