//! No guest at all (`-machine none`): a monitor that answers questions about the program until it is told
//! to quit. libxl 4.20 and later runs this once before each guest; tests for QEMU drive it by qtest, too.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use devices_core::bus::{Bus, Mapper};
use devices_core::irq::IrqBank;
use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use hypervisor::{Claims, Hypervisor, Mapping, NoCpu};

use crate::machine::BuildError;
use crate::monitor::info::NewMedium;
use crate::monitor::protocol::QmpError;
use crate::monitor::run_state::RunState;
use crate::monitor::server::Server;
use crate::monitor::{Begun, Guest};
use crate::qtest::command::Session;
use crate::qtest::server::{self as qtest, Between};
use crate::qtest::{Access, IrqIntercept};
use crate::run::{LoopError, signals};
use crate::screenshot::ImageFormat;

/// Memory of a machine that has none, in bytes: a little, so that there is something at address 0.
const MEMORY: u64 = 1 << 20;
/// Token of the signals, apart from those of qtest and the monitor.
const SIGNAL: u32 = 1;

/// Memory, wires and time for a qtest client that finds no device.
///
/// # Errors
/// The host has no memory or no file left.
pub fn session() -> Result<Session, BuildError> {
    let still = Arc::new(NoCpu::new(1, MEMORY, 0)?);
    let taps = IrqIntercept::new().map_err(|source| BuildError::File { path: "eventfd".into(), source })?;
    let bus = Bus::new(still.memory(), Arc::new(NoWindows));
    let wires = IrqBank::new(24, taps.clone());
    Ok(Session::new(Access::new(still, &bus), &wires, taps))
}

/// No device moves anything.
struct NoWindows;

impl Mapper for NoWindows {
    fn map(&self, _mapping: Mapping) {}
    fn claim(&self, _claims: &Claims) {}
}

/// Serves the monitors and the qtest client until a monitor or a signal ends it. Nobody to serve: it ends at once.
///
/// # Errors
/// The host refuses to watch a socket.
pub fn run(server: Option<Server>, qtest: Option<qtest::Server>) -> Result<(), LoopError> {
    if server.is_none() && qtest.is_none() {
        return Ok(());
    }
    let failed = |error: event_manager::Error| LoopError::Events(format!("{error:?}"));
    let mut manager = EventManager::new().map_err(failed)?;
    let signals = signals()?;
    let guest = Nobody { quit: false };
    let id = manager.add_subscriber(Probe { server, qtest, signals, guest, failed: None });
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
    server: Option<Server>,
    qtest: Option<qtest::Server>,
    signals: UnixStream,
    guest: Nobody,
    failed: Option<event_manager::Error>,
}

impl Probe {
    fn register(&self, ops: &mut EventOps<'_>) -> Result<(), event_manager::Error> {
        ops.add(Events::with_data(&self.signals, SIGNAL, EventSet::IN))?;
        self.server.as_ref().map_or(Ok(()), |server| server.register(ops))?;
        self.qtest.as_ref().map_or(Ok(()), |server| server.register(ops))
    }
}

impl MutEventSubscriber for Probe {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        self.failed = self.register(ops).err();
    }
    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        let token = events.data();
        if token == SIGNAL {
            self.guest.quit = true;
        } else if qtest::Server::owns(token) {
            self.qtest.iter_mut().for_each(|server| server.process(token, ops, &mut Nothing));
        } else if let Some(server) = &mut self.server {
            server.process(token, ops, &mut self.guest);
        }
    }
}

/// No device asks for anything.
struct Nothing;

impl Between for Nothing {
    fn settle(&mut self) {}
}

/// What the monitor finds where a guest would be.
struct Nobody {
    quit: bool,
}

fn no_guest() -> QmpError {
    QmpError::generic("there is no guest: the machine is 'none'")
}

impl Guest for Nobody {
    fn status(&self) -> RunState {
        RunState::Prelaunch
    }
    fn name(&self) -> String {
        String::new()
    }
    fn stop(&mut self) -> Result<Begun, QmpError> {
        Ok(Begun::Done)
    }
    fn cont(&mut self) -> Result<Begun, QmpError> {
        Err(no_guest())
    }
    fn quit(&mut self) {
        self.quit = true;
    }
    fn powerdown(&mut self) {}
    fn reset(&mut self) -> Result<(), QmpError> {
        Ok(())
    }
    fn inspect(&mut self, _path: &str) -> Result<String, QmpError> {
        Err(no_guest())
    }
    fn screendump(
        &mut self,
        _file: &Path,
        _head: Option<(&str, u32)>,
        _format: ImageFormat,
    ) -> Result<Begun, QmpError> {
        Err(no_guest())
    }
    fn send_key(&mut self, _keys: &[String], _hold_ms: u64) -> Result<(), QmpError> {
        Err(no_guest())
    }
    fn save(&mut self, _file: &Path) -> Result<Begun, QmpError> {
        Err(no_guest())
    }
    fn eject(&mut self, device: &str, _force: bool) -> Result<(), QmpError> {
        Err(QmpError::device_not_found(device))
    }
    fn change_medium(&mut self, device: &str, _medium: NewMedium) -> Result<Begun, QmpError> {
        Err(QmpError::device_not_found(device))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::qtest::server::{LogTo, QtestSocket, Server as Qtest};

    /// As libqtest does it: it listens on both sockets, takes qtest's connection and then the monitor's, and asks.
    #[test]
    fn a_test_client_drives_no_machine_and_asks_its_monitor() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (lines, monitor) =
            (UnixListener::bind(path("q")).unwrap(), UnixListener::bind(path("m")).unwrap());
        let places = (path("q"), path("m"));
        let program = std::thread::spawn(move || {
            let qtest =
                Qtest::open(session().unwrap(), &QtestSocket::Connect(places.0), &LogTo::Nothing).unwrap();
            let mut server = Server::new(crate::run::MONITOR);
            server.connect("char0", &places.1).unwrap();
            run(Some(server), Some(qtest)).unwrap();
        });
        let ask = |stream: &mut BufReader<UnixStream>, text: &str| {
            // In one piece: a monitor that was told to quit is gone when the line's end would come behind.
            stream.get_mut().write_all(format!("{text}\n").as_bytes()).unwrap();
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            line
        };
        let mut lines = BufReader::new(lines.accept().unwrap().0);
        let mut monitor = BufReader::new(monitor.accept().unwrap().0);
        assert_eq!(ask(&mut lines, "endianness"), "OK little\n");
        assert_eq!(ask(&mut lines, "inb 0x71"), "OK 0x00ff\n");
        let mut greeting = String::new();
        monitor.read_line(&mut greeting).unwrap();
        assert!(greeting.contains("QMP"), "{greeting}");
        assert!(ask(&mut monitor, "{'execute':'qmp_capabilities'}").contains("return"));
        assert!(ask(&mut monitor, "{'execute':'query-machines'}").contains("\"alias\":\"pc\""));
        let types = ask(
            &mut monitor,
            "{'execute':'qom-list-types','arguments':{'implements':'device','abstract':true}}",
        );
        assert!(types.contains("return"), "{types}");
        assert_eq!(ask(&mut lines, "clock_step 5"), "OK 5\n");
        assert!(ask(&mut monitor, "{'execute':'quit'}").contains("return"));
        program.join().unwrap();
    }
}
