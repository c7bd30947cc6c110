//! What sits on the ISA bus.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use devices::chipset::debugcon::{ByteSink, Debugcon};
use devices::chipset::dma8237::Dma8237;
use devices::chipset::port92::Port92;
use devices::chipset::post::Post;
use devices::chipset::pvpanic::Pvpanic;
use devices::input::i8042::{I8042, Wires};
use devices::timer::hpet::Hpet;
use devices::timer::hpet::legacy::{self, Legacy};
use devices::timer::pit::Pit;
use devices::timer::rtc::Rtc;
use devices::timer::rtc::cmos::Cmos;
use devices_core::dma::Dma;
use devices_core::irq::IrqBank;
use devices_core::{Device, DeviceCell};
use hypervisor::Capabilities;

use super::super::disks::{self, Geometries};
use super::Board;
use crate::config::ClockMode;
use crate::machine::{BuildError, Clock};

/// Most bytes of the firmware's log: a guest must not fill the host's disk.
const DEBUGCON_MOST: usize = 16 << 20;

/// The clocks that the hypervisor does not have, and the RAM of the real-time clock.
pub(super) fn clocks(
    board: &Board<'_>,
    capabilities: Capabilities,
    isa: &IrqBank,
    geometry: Geometries,
) -> Result<Clock, BuildError> {
    let info = disks::cmos_info(board.config, geometry);
    let seconds = rtc_seconds(board);
    let ahead = seconds.saturating_sub(crate::host::seconds());
    let clock = |clock| Clock { clock, start: seconds, ahead };
    // The HPET first: a load must know who drives IRQ 0 and 8 before the others raise their lines.
    let legacy = Legacy::new(isa);
    let inputs = legacy.inputs();
    if board.config.features.hpet && !capabilities.hpet {
        let wiring = board.wiring();
        board.attach(Hpet::new(&wiring, isa.clone(), legacy), &wiring)?;
    }
    if !capabilities.pit {
        let wiring = board.wiring();
        let pit = Pit::new(&wiring, inputs.line(legacy::PIT));
        let heard = board.config.speaker.as_deref().and_then(|id| board.sounds.mixer(Some(id)));
        let pit = match heard {
            Some(mixer) => pit.with_speaker(Arc::new(mixer.card())),
            None => pit,
        };
        board.attach(pit, &wiring)?;
    }
    if capabilities.rtc {
        let mut cmos = Cmos::new(seconds);
        info.bytes().into_iter().for_each(|(index, value)| cmos.set(index, value));
        board.attach(cmos, &board.wiring())?;
        return Ok(clock(None));
    }
    let wiring = board.wiring();
    let mut rtc = Rtc::new(&wiring, inputs.line(legacy::RTC), seconds);
    info.fill(&mut rtc);
    let observer = board.notifier.observer(rtc.name());
    let rtc = rtc.observed(observer);
    Ok(clock(Some(board.attach(rtc, &wiring)?)))
}

/// Where the real-time clock starts when nobody says and a run must repeat: 2026-01-01.
const REPEATABLE_START: i64 = 1_767_225_600;

/// Seconds since 1970 that the real-time clock starts with.
fn rtc_seconds(board: &Board<'_>) -> i64 {
    let config = board.config;
    let start = match config.clock {
        ClockMode::Host => crate::host::seconds(),
        ClockMode::Icount => REPEATABLE_START,
    };
    let utc = config.rtc_base.map_or(start, |base| base as i64);
    let offset = if config.localtime { board.ahead.utc_offset(utc) } else { 0 };
    utc.saturating_add(offset)
}

/// Keyboard and mouse.
pub(super) fn input(
    board: &Board<'_>,
    isa: &IrqBank,
    a20: &IrqBank,
) -> Result<Arc<DeviceCell<I8042>>, BuildError> {
    let gate = Mutex::new(a20.line(0));
    let wires = Wires {
        keyboard: isa.line(1),
        mouse: isa.line(12),
        a20: Arc::new(move |open| gate.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).set(open)),
        power: board.power.clone(),
    };
    board.attach(I8042::new(wires), &board.wiring())
}

/// The small things.
pub(super) fn rest(
    board: &Board<'_>,
    capabilities: Capabilities,
    a20: &IrqBank,
    debugcon: Option<&Path>,
) -> Result<(), BuildError> {
    board.attach(Port92::new(a20.line(0), board.power.clone()), &board.wiring())?;
    board.attach(Post::default(), &board.wiring())?;
    // libacpi's tables do not name it.
    if !capabilities.acpi_tables {
        board.attach(Pvpanic::new(board.power.clone()), &board.wiring())?;
    }
    board.attach(Dma8237::new(Dma::always(board.hypervisor.memory())), &board.wiring())?;
    if let Some(path) = debugcon {
        board.attach(Debugcon::new(log_to(board, path)?), &board.wiring())?;
    }
    Ok(())
}

/// A sink that writes to a file, up to a bound.
fn log_to(board: &Board<'_>, path: &Path) -> Result<ByteSink, BuildError> {
    let file_error = |source| BuildError::File { path: path.to_owned(), source };
    let mut file = board.ahead.debugcon(path).map_err(file_error)?;
    let mut left = DEBUGCON_MOST;
    Ok(Box::new(move |bytes| {
        let len = bytes.len().min(left);
        left -= len;
        // The log is a help; a full disk must not stop the guest.
        let _ = file.write_all(bytes.get(..len).unwrap_or_default());
    }))
}
