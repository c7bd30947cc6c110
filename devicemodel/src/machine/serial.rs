//! The serial ports and their host ends.

use std::path::PathBuf;
use std::sync::Arc;

use backends::chardev::{CharSpec, Escape, OpenChardev};
use devices::serial::uart16550::{PORTS, Serial};
use devices_core::chardev;
use devices_core::irq::IrqBank;

use super::BuildError;
use super::build::board::Board;
use crate::config::SerialConfig;
use crate::notices::{Notice, Notifier};

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
    board: &Board<'_>,
    isa: &IrqBank,
    notifier: &Notifier,
) -> Result<Vec<Terminal>, BuildError> {
    let mut terminals = Vec::new();
    for (index, port) in board.config.serial.iter().enumerate().take(PORTS.len()) {
        let Some(spec) = spec(port) else { continue };
        let wiring = board.wiring();
        let open = || {
            let line = board.ahead.line(index, &spec)?;
            line.start(wiring.waker(), 0, escape(notifier))
        };
        let opened = if board.border.replays() {
            OpenChardev { backend: Arc::new(chardev::Null), path: None }
        } else {
            open().map_err(|source| BuildError::Serial { index, source })?
        };
        let OpenChardev { backend, path: pty } = opened;
        let backend = match board.border.port(&format!("serial{index}")) {
            Some(port) => Arc::new(chardev::Ported::new(port, backend)),
            None => backend,
        };
        terminals.push(Terminal { port: index, pty, config: port.clone() });
        let (_, irq) = PORTS[index];
        board.attach(Serial::new(index, isa.line(irq), backend, &wiring), &wiring)?;
    }
    Ok(terminals)
}

/// What the escape key on standard input does.
pub(super) fn escape(notifier: &Notifier) -> impl Fn(Escape) + Send + Sync + 'static {
    let quit = notifier.clone();
    move |escape| {
        if escape == Escape::Quit {
            quit.notify(Notice::Quit);
        }
    }
}

/// How the back end says it; none: there is no line.
pub(super) fn spec(port: &SerialConfig) -> Option<CharSpec> {
    Some(match port {
        SerialConfig::None => return None,
        SerialConfig::Null => CharSpec::Null,
        SerialConfig::Stdio => CharSpec::Stdio,
        SerialConfig::Pty => CharSpec::Pty,
        SerialConfig::File(path) => CharSpec::File(path.clone()),
        SerialConfig::Append(path) => CharSpec::Append(path.clone()),
        SerialConfig::Unix(path) => CharSpec::Unix(path.clone()),
        SerialConfig::Connect(path) => CharSpec::Connect(path.clone()),
    })
}
