//! The border between a machine and its host: open, or with a recorder or a player on it.

use std::sync::Arc;

use devices_core::Wiring;
use devices_core::block::BlockBackend;
use devices_core::port::Port;
use devices_core::power::Power;
use hypervisor::{GuestRam, Hypervisor};

use super::record::{Entry, HostEvent, MediumInfo};
use super::recorder::Recorder;
use super::taps::{Call, RecordedMedium, Switch};
use crate::replay::Player;

/// What lies between a machine's devices and its host.
#[derive(Clone, Default)]
pub enum Border {
    /// Nothing.
    #[default]
    Open,
    /// A recorder. Beside it the guest's memory without its observer.
    Recorded(Arc<Recorder>, GuestRam),
    /// A recording, and no host at all.
    Replayed(Arc<Player>),
}

/// A medium that is open.
pub struct Opened {
    /// It.
    pub backend: Arc<dyn BlockBackend>,
    /// Its first sector, if it is a disk's; of flash memory all.
    pub first_sector: Vec<u8>,
}

impl Border {
    /// Wiring for one device.
    pub fn wiring(&self, hypervisor: &dyn Hypervisor) -> Wiring {
        let (clock, timers) = (hypervisor.clock(), hypervisor.timers());
        match self {
            Border::Open => Wiring::new(clock, timers),
            Border::Recorded(recorder, _) => Wiring::gated(clock, timers, recorder.clone()),
            Border::Replayed(player) => Wiring::gated(clock, timers, player.clone()),
        }
    }

    /// A medium that `open` opens, if that is still to be done.
    pub fn medium<E>(&self, open: impl FnOnce() -> Result<Opened, E>) -> Result<Opened, E> {
        match self {
            Border::Open => open(),
            Border::Recorded(recorder, ram) => {
                let Opened { backend, first_sector } = open()?;
                let info = medium_info(&*backend, first_sector.clone());
                let backend = RecordedMedium::new(recorder.clone(), ram.clone(), info, backend);
                Ok(Opened { backend, first_sector })
            }
            Border::Replayed(player) => Ok(player.medium()),
        }
    }

    /// The next medium of a recording, if this is one's replay.
    pub(crate) fn replayed(&self) -> Option<Arc<dyn BlockBackend>> {
        match self {
            Border::Replayed(player) => Some(player.medium().backend),
            Border::Open | Border::Recorded(..) => None,
        }
    }

    /// What stands between a device and a back end of its; nothing where the border is open.
    pub fn port(&self, name: &str) -> Option<Arc<dyn Port>> {
        match self {
            Border::Open => None,
            Border::Recorded(recorder, _) => {
                Some(Arc::new(Call { recorder: recorder.clone(), port: name.to_owned() }))
            }
            Border::Replayed(player) => Some(player.port(name)),
        }
    }

    /// Whether there is no host at all.
    pub fn replays(&self) -> bool {
        matches!(self, Border::Replayed(_))
    }

    /// The power switch.
    pub fn power(&self, power: Arc<dyn Power>) -> Arc<dyn Power> {
        match self {
            Border::Recorded(recorder, _) => Arc::new(Switch(recorder.clone(), power)),
            Border::Open | Border::Replayed(_) => power,
        }
    }

    /// Something from the host's side reaches the devices, which `run` does.
    pub fn host<T>(&self, host: impl FnOnce() -> HostEvent, run: impl FnOnce() -> T) -> T {
        let Border::Recorded(recorder, _) = self else { return run() };
        let _entry = recorder.entry(&Entry::Host(host()));
        run()
    }
}

/// What is known of a medium.
pub(crate) fn medium_info(backend: &dyn BlockBackend, first_sector: Vec<u8>) -> MediumInfo {
    let devices_core::block::BlockInfo { size, read_only, physical_block, discard } = backend.info();
    MediumInfo { size, read_only, physical_block, discard, first_sector }
}
