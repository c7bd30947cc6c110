//! The serial ports and their host ends.

use std::path::PathBuf;

use backends::chardev::{self, CharSpec, Escape, OpenLine};
use devices::serial::uart16550::{PORTS, Serial};
use devices_core::Wiring;
use devices_core::bus::Bus;
use devices_core::irq::IrqBank;

use super::BuildError;
use crate::config::{GuestConfig, SerialConfig};
use crate::power::{Notice, Notifier};

/// Where a serial port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// 0 is COM1.
    pub port: usize,
    /// The pseudo-terminal to open.
    pub pty: Option<PathBuf>,
    /// As it was asked for.
    pub config: SerialConfig,
}

/// Attaches the ports that are configured and tells where they lead.
pub(super) fn attach(
    config: &GuestConfig,
    isa: &IrqBank,
    bus: &Bus,
    wiring: &dyn Fn() -> Wiring,
    notifier: &Notifier,
) -> Result<Vec<Terminal>, BuildError> {
    let mut terminals = Vec::new();
    for (index, port) in config.serial.iter().enumerate().take(PORTS.len()) {
        let Some(spec) = spec(port) else { continue };
        let wiring = wiring();
        let quit = notifier.clone();
        let escape = move |escape: Escape| {
            if escape == Escape::Quit {
                quit.notify(Notice::Quit);
            }
        };
        let opened = chardev::open(&spec, wiring.waker(), 0, escape);
        let OpenLine { backend, path } = opened.map_err(|source| BuildError::Serial { index, source })?;
        terminals.push(Terminal { port: index, pty: path, config: port.clone() });
        let (_, irq) = PORTS[index];
        let device = Serial::new(index, isa.line(irq), backend, &wiring);
        bus.attach(device, &wiring, None).map_err(|error| BuildError::Inconsistent(error.to_string()))?;
    }
    Ok(terminals)
}

fn spec(port: &SerialConfig) -> Option<CharSpec> {
    Some(match port {
        SerialConfig::None => return None,
        SerialConfig::Null => CharSpec::Null,
        SerialConfig::Stdio => CharSpec::Stdio,
        SerialConfig::Pty => CharSpec::Pty,
        SerialConfig::File(path) => CharSpec::File(path.clone()),
        SerialConfig::Unix(path) => CharSpec::Unix(path.clone()),
        SerialConfig::Connect(path) => CharSpec::Connect(path.clone()),
    })
}
