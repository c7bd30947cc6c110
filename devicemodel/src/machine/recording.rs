//! The machine's side of recordings and their replay.

use std::path::Path;
use std::sync::Arc;

use devices::input::keys::Key;
use hypervisor::{Dispatch, Hypervisor};

use super::Machine;
use super::interrupts::Dispatcher;
use crate::saved::SaveError;
use crate::trace::header::{Header, Identity};
use crate::trace::record::HostEvent;
use crate::trace::{Border, Recorder, Watched};

/// Puts a recorder between a hypervisor and the machine that will be built on it.
pub fn recorded(inner: Arc<dyn Hypervisor>, file: &Path) -> Result<(Arc<dyn Hypervisor>, Border), SaveError> {
    let ram = inner.memory();
    let recorder = Recorder::new(file, inner.clock())?;
    let failed = |error: hypervisor::Error| SaveError::Part {
        file: file.to_owned(),
        part: "memory".into(),
        why: error.to_string(),
    };
    let hypervisor = Watched::recorded(inner, recorder.clone()).map_err(failed)?;
    Ok((Arc::new(hypervisor), Border::Recorded(recorder, ram)))
}

impl Machine {
    /// Begins the recording, if there is to be one: the machine is in the state that it starts from.
    pub fn begin_recording(&self) -> Result<(), SaveError> {
        let Border::Recorded(recorder, _) = &self.border else { return Ok(()) };
        let files = [&self.config.kernel, &self.config.initrd];
        let identity = |path: &std::path::PathBuf| {
            let failed = |error: std::io::Error| SaveError::Part {
                file: path.clone(),
                part: "recording".into(),
                why: error.to_string(),
            };
            Identity::of(path).map_err(failed)
        };
        let files = files.into_iter().flatten().map(identity).collect::<Result<_, _>>()?;
        let header = Header {
            build: env!("CARGO_PKG_VERSION").into(),
            config: self.config.clone(),
            capabilities: self.hypervisor.capabilities(),
            debugcon: self.bus.slots().iter().any(|(name, _)| name == "debugcon"),
            files,
            media: Vec::new(),
        };
        recorder.begin(self, header)
    }

    /// Ends it.
    pub(super) fn end_recording(&self) {
        if let Border::Recorded(recorder, _) = &self.border
            && let Err(error) = recorder.finish()
        {
            tracing::error!("the recording is not whole: {error}");
        }
    }

    /// A way to the devices such as a vCPU has.
    pub(crate) fn dispatcher(&self) -> Box<dyn Dispatch> {
        Box::new(Dispatcher::new(self.bus.view(), self.controllers.clone(), self.config.clock))
    }

    /// Does again what came from the host's side.
    pub(crate) fn replay(&self, host: &HostEvent) {
        let drive = |place: usize| self.cds().into_iter().find(|drive| drive.place == place);
        match host {
            HostEvent::Key(name, down) => {
                if let Some(key) = Key::by_name(name) {
                    self.console().press(key, *down);
                }
            }
            HostEvent::Mouse(dx, dy, dz, buttons) => self.console().mouse(*dx, *dy, *dz, *buttons),
            HostEvent::Tablet(x, y, dz, buttons) => self.console().tablet(*x, *y, *dz, *buttons),
            HostEvent::Resize(width, height) => self.console().resize((*width, *height)),
            HostEvent::PowerButton => self.press_power_button(),
            HostEvent::PlugCpu(number) => self.pm.iter().for_each(|pm| pm.lock().plug_cpu(*number)),
            HostEvent::WakeUp => self.pm.iter().for_each(|pm| pm.lock().wake_up()),
            HostEvent::Reset => self.reset(),
            HostEvent::Resume => self.unquiesce(),
            HostEvent::Link(name, up) => {
                if let Some(card) = self.plugged.cards().iter().find(|card| card.name == *name) {
                    card.nic.lock().set_link(*up);
                }
            }
            HostEvent::Balloon(name, bytes) => {
                if let Some((_, balloon)) = self.plugged.balloon().filter(|(device, _)| device == name) {
                    balloon.lock().set_target(*bytes);
                }
            }
            HostEvent::BalloonPolling(name, seconds) => {
                if let Some((_, balloon)) = self.plugged.balloon().filter(|(device, _)| device == name) {
                    balloon.lock().set_polling(*seconds);
                }
            }
            // The tray answers as it did: locked or not.
            HostEvent::OpenTray(place, force) => {
                if let Some(drive) = drive(*place) {
                    let _ = drive.medium.open_tray(*force);
                }
            }
            HostEvent::CloseTray(place) => {
                if let Some(drive) = drive(*place) {
                    drive.medium.close_tray();
                }
            }
            HostEvent::Place(place, info) => {
                let medium = info.as_ref().and_then(|_| self.border.replayed());
                if let Some(drive) = drive(*place) {
                    drive.medium.place(medium);
                }
            }
        }
    }
}
