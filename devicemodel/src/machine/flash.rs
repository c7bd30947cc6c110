//! Flash memory: where the firmware lies instead of in a ROM, and UEFI's variables.

use std::sync::Arc;

use devices::storage::pflash::{Flash, IMAGE, MOST, Options, model};
use devices::storage::scsi::model::watched_name;
use devices_core::block::CompletionQueue;
use devices_core::bus::Mapper;
use devices_core::events::Watch;
use hypervisor::RamBlock;
use vm_memory::{Bytes, MemoryRegionAddress};

use super::BuildError;
use super::build::board::Board;
use crate::config::{ConfigError, DiskBus, DiskConfig};

/// Where a PC's flash memory ends.
const END: u64 = 1 << 32;

/// Puts the chips below 4 GiB, the first on top. Gives the first, where the processor begins; none: there is none.
pub(super) fn attach(board: &Board<'_>, mapper: &Arc<dyn Mapper>) -> Result<Option<RamBlock>, BuildError> {
    let mut chips: Vec<&DiskConfig> =
        board.config.disks.iter().filter(|disk| disk.bus == DiskBus::Flash).collect();
    chips.sort_by_key(|disk| disk.slot);
    let (mut base, mut first) = (END, None);
    for (disk, name) in chips.into_iter().zip(model::NAMES) {
        let drive = disk.name();
        let missing = || BuildError::Inconsistent(format!("flash memory '{drive}' has no image"));
        let (image, contents) = board.images.take_flash(&drive).ok_or_else(missing)?;
        base -= contents.len() as u64;
        if END - base > MOST {
            let why = "flash memory: both chips together are larger than 8 MiB";
            return Err(ConfigError::Invalid(why.into()).into());
        }
        let block = board.hypervisor.add_ram(name, contents.len() as u64)?;
        let written = block.write_slice(&contents, MemoryRegionAddress(0));
        written.map_err(|error| BuildError::Inconsistent(format!("{name}: {error}")))?;
        first = first.or_else(|| Some(block.clone()));
        let wiring = board.wiring();
        let done = CompletionQueue::new(wiring.waker(), IMAGE);
        let options = Options { name, base, block, image, mapper: mapper.clone(), done };
        let watch = Watch::new(0, board.notifier.observer(&watched_name(&drive)));
        board.attach(Flash::new(options).watched(watch), &wiring)?;
    }
    Ok(first)
}
