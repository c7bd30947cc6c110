//! The commands of a hard disk (ATA/ATAPI-6, section 8).

use devices_core::block::SECTOR as SECTOR_BYTES;

use super::channel::IdeBus;
use super::drive::{Disk, Drive, READY, Work};
use super::identify;
use super::spec::{DEVICE_LBA, Fault, MULTIPLE, SECTOR, Status, cmd, feature, reg};
use crate::storage::geometry::Geometry;

/// Most ranges of one DATA SET MANAGEMENT: its list is at most so many sectors of 64.
const TRIM_SECTORS: u32 = 64;

impl Disk {
    pub(super) fn reset(&mut self) {
        self.multiple = MULTIPLE;
        self.geometry = self.native;
    }
}

/// How a data command moves its data.
#[derive(Clone, Copy)]
enum Way {
    Sectors,
    Multiple,
    Dma,
}

impl Drive {
    /// The host wrote the command register. While a command is under way only DEVICE RESET counts.
    pub(super) fn command(&mut self, host: &mut IdeBus, code: u8) {
        let busy = self.status.intersects(Status::BSY | Status::DRQ);
        if busy && !(code == cmd::DEVICE_RESET && self.is_cd()) {
            return;
        }
        self.halt();
        self.error = 0;
        match code {
            cmd::DEVICE_RESET if self.is_cd() => {
                self.reset();
                self.diagnose();
                self.after_old_requests(Work::DeviceReset);
            }
            cmd::PACKET if self.is_cd() => self.packet_command(host),
            cmd::IDENTIFY_PACKET if self.is_cd() => self.answer(host, identify::cd(self)),
            cmd::IDENTIFY => self.identify(host),
            // A packet device answers these so (ATA/ATAPI-4, sections 8.12 and 8.27).
            cmd::READ if self.is_cd() => {
                self.signature();
                self.abort(host);
            }
            cmd::SET_FEATURES if self.present() => self.set_features(host),
            _ if self.common(host, code) => {}
            _ if self.disk().is_some() => self.disk_command(host, code),
            _ => self.abort(host),
        }
    }

    fn identify(&mut self, host: &mut IdeBus) {
        match self.disk() {
            Some(disk) => {
                let data = identify::disk(self, disk);
                self.answer(host, data);
            }
            None => {
                if self.is_cd() {
                    self.signature();
                }
                self.abort(host);
            }
        }
    }

    /// Commands of power management, which every drive has and nothing is behind.
    fn common(&mut self, host: &mut IdeBus, code: u8) -> bool {
        match code {
            cmd::CHECK_POWER | cmd::CHECK_POWER_OLD => self.task.put(reg::COUNT, 0xff),
            cmd::STANDBY
            | cmd::STANDBY_OLD
            | cmd::STANDBY_IMMEDIATE
            | cmd::STANDBY_IMMEDIATE_OLD
            | cmd::IDLE
            | cmd::IDLE_OLD
            | cmd::IDLE_IMMEDIATE
            | cmd::IDLE_IMMEDIATE_OLD
            | cmd::SLEEP
            | cmd::SLEEP_OLD => {}
            _ => return false,
        }
        if self.present() {
            self.done(host);
        } else {
            self.abort(host);
        }
        true
    }

    fn disk_command(&mut self, host: &mut IdeBus, code: u8) {
        use Way::{Dma, Multiple, Sectors};
        match code {
            cmd::READ | cmd::READ_NO_RETRY => self.read(host, Sectors, false),
            cmd::READ_EXT => self.read(host, Sectors, true),
            cmd::READ_MULTIPLE => self.read(host, Multiple, false),
            cmd::READ_MULTIPLE_EXT => self.read(host, Multiple, true),
            cmd::READ_DMA | cmd::READ_DMA_NO_RETRY => self.read(host, Dma, false),
            cmd::READ_DMA_EXT => self.read(host, Dma, true),
            cmd::WRITE | cmd::WRITE_NO_RETRY | cmd::WRITE_VERIFY => self.write(host, Sectors, false),
            cmd::WRITE_EXT => self.write(host, Sectors, true),
            cmd::WRITE_MULTIPLE => self.write(host, Multiple, false),
            cmd::WRITE_MULTIPLE_EXT => self.write(host, Multiple, true),
            cmd::WRITE_DMA | cmd::WRITE_DMA_NO_RETRY => self.write(host, Dma, false),
            cmd::WRITE_DMA_EXT => self.write(host, Dma, true),
            cmd::VERIFY | cmd::VERIFY_NO_RETRY => self.verify(host, false),
            cmd::VERIFY_EXT => self.verify(host, true),
            cmd::SEEK..=cmd::SEEK_LAST => self.seek(host),
            // There is nothing to freeze.
            cmd::RECALIBRATE..=cmd::RECALIBRATE_LAST | cmd::SECURITY_FREEZE => self.done(host),
            cmd::FLUSH | cmd::FLUSH_EXT => {
                self.work = Work::Flush;
                self.submit(host);
            }
            cmd::INIT_PARAMETERS => self.init_parameters(host),
            cmd::SET_MULTIPLE => self.set_multiple(host),
            cmd::READ_NATIVE_MAX => self.read_native_max(host, false),
            cmd::READ_NATIVE_MAX_EXT => self.read_native_max(host, true),
            cmd::DATA_SET_MANAGEMENT => self.data_set_management(host),
            cmd::SMART => self.smart(host),
            _ => self.abort(host),
        }
    }

    /// Sectors that the registers ask for.
    fn count(&self, ext: bool) -> u32 {
        let count = u32::from(self.task.get(reg::COUNT, false));
        let all = if ext { count | u32::from(self.task.get(reg::COUNT, true)) << 8 } else { count };
        match (all, ext) {
            (0, true) => 0x1_0000,
            (0, false) => 0x100,
            _ => all,
        }
    }

    /// Sector that the registers address. None: there is no such sector.
    fn address(&self, ext: bool) -> Option<u64> {
        let at = |reg, before| u64::from(self.task.get(reg, before));
        let now = |reg| at(reg, false);
        let device = u64::from(self.task.device & 0x0f);
        let low = now(reg::LBA_HIGH) << 16 | now(reg::LBA_MID) << 8 | now(reg::LBA_LOW);
        if self.task.device & DEVICE_LBA == 0 {
            let Geometry { heads, sectors, .. } = self.disk()?.geometry;
            let cylinder = now(reg::LBA_HIGH) << 8 | now(reg::LBA_MID);
            let track = cylinder * u64::from(heads) + device;
            return (track * u64::from(sectors) + now(reg::LBA_LOW)).checked_sub(1);
        }
        if ext {
            let before = at(reg::LBA_HIGH, true) << 16 | at(reg::LBA_MID, true) << 8 | at(reg::LBA_LOW, true);
            return Some(before << 24 | low);
        }
        Some(device << 24 | low)
    }

    /// Leaves a sector's address in the registers.
    pub(super) fn set_address(&mut self, lba: u64) {
        let bytes = lba.to_le_bytes();
        if self.task.device & DEVICE_LBA != 0 {
            self.put_lba(lba);
            if lba < 1 << 28 {
                self.task.device = self.task.device & 0xf0 | bytes[3] & 0x0f;
            }
            return;
        }
        let Some(Geometry { heads, sectors, .. }) = self.disk().map(|disk| disk.geometry) else { return };
        let (heads, sectors) = (u64::from(heads.max(1)), u64::from(sectors.max(1)));
        let (track, sector) = (lba / sectors, lba % sectors + 1);
        let cylinder = (track / heads).to_le_bytes();
        self.task.device = self.task.device & 0xf0 | (track % heads) as u8 & 0x0f;
        self.task.put(reg::LBA_LOW, sector as u8);
        self.task.put(reg::LBA_MID, cylinder[0]);
        self.task.put(reg::LBA_HIGH, cylinder[1]);
    }

    fn put_lba(&mut self, lba: u64) {
        let bytes = lba.to_le_bytes();
        for (reg, (now, before)) in [
            (reg::LBA_LOW, (bytes[0], bytes[3])),
            (reg::LBA_MID, (bytes[1], bytes[4])),
            (reg::LBA_HIGH, (bytes[2], bytes[5])),
        ] {
            self.task.put(reg, now);
            self.task.put_before(reg, before);
        }
    }

    /// The range that a data command names; ends the command if it is not on the disk.
    fn range(&mut self, host: &mut IdeBus, ext: bool) -> Option<(u64, u32)> {
        let count = self.count(ext);
        let total = self.disk().map_or(0, Disk::sectors);
        match self.address(ext) {
            Some(lba) if lba.checked_add(count.into()).is_some_and(|end| end <= total) => Some((lba, count)),
            _ => {
                self.fail(host, Fault::IDNF);
                None
            }
        }
    }

    /// Sectors of a data block. None: READ/WRITE MULTIPLE is switched off.
    fn block(&self, way: Way) -> Option<u32> {
        match way {
            Way::Multiple => self.disk().map(|disk| disk.multiple.into()).filter(|&block| block > 0),
            Way::Sectors | Way::Dma => Some(1),
        }
    }

    fn read(&mut self, host: &mut IdeBus, way: Way, ext: bool) {
        let Some(block) = self.block(way) else { return self.abort(host) };
        let Some((lba, count)) = self.range(host, ext) else { return };
        if let Way::Dma = way {
            let work = Work::Dma { lba, count, write: false, segments: Vec::new(), longer: false };
            return self.await_dma(host, work);
        }
        self.work = Work::Read { lba, left: count, block };
        self.submit(host);
    }

    fn write(&mut self, host: &mut IdeBus, way: Way, ext: bool) {
        let read_only = self.disk().is_none_or(|disk| disk.backend.info().read_only);
        let Some(block) = self.block(way).filter(|_| !read_only) else { return self.abort(host) };
        let Some((lba, count)) = self.range(host, ext) else { return };
        if let Way::Dma = way {
            let work = Work::Dma { lba, count, write: true, segments: Vec::new(), longer: false };
            return self.await_dma(host, work);
        }
        self.work = Work::Write { lba, left: count, block };
        self.ask(count.min(block) as usize * SECTOR);
    }

    pub(super) fn start_disk_dma(&mut self, host: &mut IdeBus, count: u32) {
        let want = u64::from(count) * SECTOR_BYTES;
        let Ok(table) = host.bm.table(&host.dma, want) else { return self.dma_failed(host) };
        if table.len < want {
            // The engine runs out of descriptors: it goes idle and there is no interrupt (82371SB, 2.6.3).
            host.bm.finish(false);
            self.halt();
            self.status = READY;
            return;
        }
        if let Work::Dma { segments, longer, .. } = &mut self.work {
            *segments = table.segments;
            *longer = table.longer;
        }
        self.submit(host);
    }

    /// A request was carried out.
    pub(super) fn disk_done(&mut self, host: &mut IdeBus, buffer: Vec<u8>) {
        match &mut self.work {
            Work::Read { lba, left, block } => {
                let now = (*left).min(*block);
                *lba += u64::from(now);
                *left -= now;
                let (lba, left) = (*lba, *left);
                self.progress(lba, left);
                self.give(buffer);
                host.raise();
            }
            Work::Write { lba, left, block } => {
                let now = (*left).min(*block);
                *lba += u64::from(now);
                *left -= now;
                let (lba, left, block) = (*lba, *left, *block);
                self.progress(lba, left);
                if left == 0 {
                    return self.written(host);
                }
                self.ask(left.min(block) as usize * SECTOR);
                host.raise();
            }
            Work::Dma { lba, count, write, longer, .. } => {
                let (end, write) = (*lba + u64::from(*count), *write);
                host.bm.finish(*longer);
                self.progress(end, 0);
                if write { self.written(host) } else { self.done(host) }
            }
            Work::Trim { ranges } => {
                ranges.pop();
                if ranges.is_empty() { self.done(host) } else { self.submit(host) }
            }
            _ => self.done(host),
        }
    }

    /// Registers tell how far a command has come.
    fn progress(&mut self, lba: u64, left: u32) {
        self.set_address(lba);
        self.task.put(reg::COUNT, left as u8);
    }

    /// All is written; without a write cache it must be safe too.
    fn written(&mut self, host: &mut IdeBus) {
        self.pio = super::drive::Pio::default();
        if self.disk().is_some_and(|disk| disk.write_cache) {
            return self.done(host);
        }
        self.work = Work::Flush;
        self.submit(host);
    }

    fn verify(&mut self, host: &mut IdeBus, ext: bool) {
        if self.range(host, ext).is_some() {
            self.done(host);
        }
    }

    fn seek(&mut self, host: &mut IdeBus) {
        let total = self.disk().map_or(0, Disk::sectors);
        match self.address(false) {
            Some(lba) if lba < total => self.done(host),
            _ => self.fail(host, Fault::IDNF),
        }
    }

    fn init_parameters(&mut self, host: &mut IdeBus) {
        let heads = (self.task.device & 0x0f) + 1;
        let sectors = self.task.get(reg::COUNT, false);
        if sectors == 0 {
            return self.abort(host);
        }
        let Some(disk) = self.disk_mut() else { return };
        let cylinders = disk.sectors() / (u64::from(heads) * u64::from(sectors));
        disk.geometry = Geometry { cylinders: cylinders.clamp(1, 0xffff) as u16, heads, sectors };
        self.done(host);
    }

    fn set_multiple(&mut self, host: &mut IdeBus) {
        let count = self.task.get(reg::COUNT, false);
        if count > MULTIPLE || !(count == 0 || count.is_power_of_two()) {
            return self.abort(host);
        }
        if let Some(disk) = self.disk_mut() {
            disk.multiple = count;
        }
        self.done(host);
    }

    fn read_native_max(&mut self, host: &mut IdeBus, ext: bool) {
        let total = self.disk().map_or(0, Disk::sectors);
        if total == 0 || self.task.device & DEVICE_LBA == 0 {
            return self.abort(host);
        }
        if ext {
            self.put_lba(total - 1);
        } else {
            self.set_address((total - 1).min(0x0fff_ffff));
        }
        self.done(host);
    }

    fn set_features(&mut self, host: &mut IdeBus) {
        let value = self.task.get(reg::COUNT, false);
        match self.task.get(reg::ERROR, false) {
            feature::TRANSFER_MODE => {
                // PIO default, PIO, single word DMA, multiword DMA, Ultra DMA.
                if !matches!(value >> 3, 0 | 1 | 2 | 4 | 8) {
                    return self.abort(host);
                }
                self.mode = Some(value);
                self.done(host);
            }
            feature::WRITE_CACHE_ON => self.set_cache(host, true),
            feature::WRITE_CACHE_OFF => self.set_cache(host, false),
            feature::APM_ON
            | feature::APM_OFF
            | feature::ACOUSTIC_ON
            | feature::ACOUSTIC_OFF
            | feature::LOOK_AHEAD_ON
            | feature::LOOK_AHEAD_OFF
            | feature::KEEP_DEFAULTS
            | feature::POWER_ON_DEFAULTS
            | feature::REASSIGN_OFF
            | feature::ECC_OFF => self.done(host),
            _ => self.abort(host),
        }
    }

    fn set_cache(&mut self, host: &mut IdeBus, on: bool) {
        let Some(disk) = self.disk_mut() else { return self.abort(host) };
        disk.write_cache = on;
        if on {
            return self.done(host);
        }
        self.work = Work::Flush;
        self.submit(host);
    }

    fn data_set_management(&mut self, host: &mut IdeBus) {
        let count = self.count(true);
        let info = self.disk().map(|disk| disk.backend.info());
        let able = info.is_some_and(|info| info.discard && !info.read_only);
        if self.task.get(reg::ERROR, false) != 1 || count > TRIM_SECTORS || !able {
            return self.abort(host);
        }
        self.await_dma(host, Work::TrimList { count });
    }

    /// Reads the list of ranges: 48 bits of address, 16 of length each.
    pub(super) fn fetch_trim_list(&mut self, host: &mut IdeBus, count: u32) {
        let want = u64::from(count) * SECTOR_BYTES;
        let Ok(table) = host.bm.table(&host.dma, want) else { return self.dma_failed(host) };
        let mut list = vec![0; table.len as usize];
        let mut at = 0;
        for segment in &table.segments {
            let end = at + segment.len as usize;
            if host.dma.read(segment.gpa, &mut list[at..end]).is_err() {
                return self.dma_failed(host);
            }
            at = end;
        }
        host.bm.finish(table.longer);
        let total = self.disk().map_or(0, Disk::sectors);
        let entries = list.chunks_exact(8).filter_map(|entry| entry.try_into().ok().map(u64::from_le_bytes));
        let ranges = entries.map(|entry| (entry & 0xffff_ffff_ffff, entry >> 48)).filter(|&(_, len)| len > 0);
        let mut ranges: Vec<(u64, u64)> = ranges.collect();
        if ranges.iter().any(|&(lba, len)| lba + len > total) {
            return self.fail(host, Fault::IDNF);
        }
        ranges.reverse();
        if ranges.is_empty() {
            return self.done(host);
        }
        self.work = Work::Trim { ranges };
        self.submit(host);
    }
}
