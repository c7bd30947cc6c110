//! What a saved guest may consist of: how much of each kind of record there can be in the file of a guest of that
//! configuration, and in which order. Asked before anything is held, so that a file takes no more memory than the
//! guest that it says it is.

use std::collections::BTreeSet;

use hypervisor::memory::PAGE;

use super::CHUNK;
use crate::config::GuestConfig;

/// Most bytes of the header: four disks, four lines, a kernel's command line.
pub(super) const HEADER_MOST: u32 = 1 << 20;
/// Most bytes of all states but RAM together, the display's memory and the vCPUs' left aside. Those of a machine of
/// today are under 100 KiB.
const STATES: u64 = 16 << 20;
/// The same for each vCPU: its registers take a few KiB.
const STATE_OF_A_VCPU: u64 = 64 << 10;
/// Most records but RAM, the vCPUs' left aside: PCI has 256 functions on a bus.
const RECORDS: u64 = 1024;
/// Most bytes of a record of RAM beside its pages.
const RAM_HEAD: u64 = 4096;

/// The parts of a file, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Machine,
    Hypervisor,
    Device,
    Ram,
}

/// What has been seen of a file, and what it may still have.
#[derive(Debug)]
pub(crate) struct Bounds {
    /// Bytes of states.
    bytes: u64,
    /// Records of states.
    records: u64,
    /// Records of RAM.
    chunks: u64,
    last: Part,
    names: BTreeSet<String>,
}

impl Bounds {
    /// Those of a guest of that configuration.
    pub(crate) fn of(config: &GuestConfig) -> Bounds {
        let vcpus = u64::from(config.max_vcpus.unwrap_or(config.vcpus).max(config.vcpus));
        let vram = config.saved_memory();
        Bounds {
            // A number goes with each page, of 5 bytes at most.
            bytes: STATES + vcpus * STATE_OF_A_VCPU + vram + vram / PAGE * 5,
            records: RECORDS + vcpus,
            // RAM is in two pieces, whose last records may be short.
            chunks: (config.memory_mib << 20).div_ceil(CHUNK) + 2,
            last: Part::Machine,
            names: BTreeSet::new(),
        }
    }

    /// One more record: whether it has a place.
    pub(crate) fn admit(&mut self, path: &str, kind: &str, len: u32) -> Result<(), String> {
        let part = match path {
            "ram" => Part::Ram,
            "machine" => Part::Machine,
            _ if path.starts_with("device/") => Part::Device,
            _ if kind == "hypervisor" => Part::Hypervisor,
            _ => return Err("this build does not know it".into()),
        };
        if part < self.last {
            let behind = match self.last {
                Part::Ram => "the RAM",
                Part::Device => "a device",
                Part::Hypervisor | Part::Machine => "a processor",
            };
            return Err(format!("it comes behind {behind}"));
        }
        self.last = part;
        if part == Part::Ram {
            let fits = u64::from(len) <= CHUNK + RAM_HEAD;
            let left = self.chunks.checked_sub(1).filter(|_| fits);
            self.chunks = left.ok_or("there is more of it than this guest has")?;
            return Ok(());
        }
        if !self.names.insert(path.to_owned()) {
            return Err("it is there twice".into());
        }
        self.records = self.records.checked_sub(1).ok_or("there are too many parts")?;
        let left = self.bytes.checked_sub(len.into());
        self.bytes = left.ok_or_else(|| format!("{len} bytes of it are more than this guest can have"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeviceSpec;

    #[test]
    fn the_configuration_says_how_much_there_can_be() {
        let mut config = GuestConfig { memory_mib: 2, vcpus: 2, ..GuestConfig::default() };
        config.devices = vec![DeviceSpec::vga(512)];
        // All of the most video memory, with its page numbers and the registers.
        let whole = (512 << 20) + (512 << 20) / 4096 * 5 + 4096;
        assert_eq!(Bounds::of(&config).admit("device/vga", "vga", whole), Ok(()));
        config.devices = vec![DeviceSpec::vga(16)];
        assert!(Bounds::of(&config).admit("device/vga", "vga", whole).is_err());
        // Each is small enough; their sum is not.
        let mut bounds = Bounds::of(&config);
        let fit = (0..100).take_while(|n| bounds.admit(&format!("device/{n}"), "x", 8 << 20).is_ok()).count();
        assert_eq!(fit, 4);
        let mut bounds = Bounds::of(&config);
        assert!((0..2000).any(|n| bounds.admit(&format!("device/{n}"), "x", 0).is_err()), "nor their number");
        let mut bounds = Bounds::of(&config);
        let fit = (0..100).take_while(|_| bounds.admit("ram", "ram", CHUNK as u32).is_ok()).count();
        assert_eq!(fit, 4);
        assert!(Bounds::of(&config).admit("ram", "ram", 2 << 20).is_err());
    }

    #[test]
    fn parts_come_in_their_order_and_once() {
        let mut bounds = Bounds::of(&GuestConfig::default());
        let mut admit = |path: &str, kind: &str| bounds.admit(path, kind, 1).err();
        assert_eq!(admit("machine", "machine"), None);
        assert_eq!(admit("cpu/0", "hypervisor"), None);
        assert_eq!(admit("cpu/0", "hypervisor").as_deref(), Some("it is there twice"));
        assert_eq!(admit("device/a", "x"), None);
        assert_eq!(admit("cpu/1", "hypervisor").as_deref(), Some("it comes behind a device"));
        assert_eq!(admit("ram", "ram"), None);
        assert_eq!(admit("device/b", "x").as_deref(), Some("it comes behind the RAM"));
        assert_eq!(admit("toaster", "x").as_deref(), Some("this build does not know it"));
    }
}
