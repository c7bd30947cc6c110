//! The VM generation id: which number the guest has.

use backends::entropy::HostEntropy;
use devices::chipset::vmgenid::model::{self as vmgenid, MODEL};
use devices_core::entropy::{Entropy, Foretold};

use super::{ClockMode, GuestConfig};

impl GuestConfig {
    /// The number that the guest is to find, in the order of its text form; none: it has no such device.
    pub(crate) fn generation_id(&self) -> Option<[u8; 16]> {
        let device = self.devices.iter().find(|device| device.model == MODEL.name)?;
        let chosen = device.properties().ok().and_then(|properties| vmgenid::chosen(&properties));
        Some(chosen.and_then(Result::ok).or(self.generation).unwrap_or_default())
    }

    /// Chooses another number, for a guest that starts, or is another than the one that was saved. Where a run must repeat
    /// exactly it follows from the number before.
    pub(crate) fn renew_generation(&mut self) {
        if self.generation_id().is_none() {
            return;
        }
        let mut id = [0; 16];
        match self.clock {
            ClockMode::Icount => {
                let before = self.generation.unwrap_or_default();
                let seed = before.iter().take(8).fold(0_u64, |seed, byte| seed << 8 | u64::from(*byte));
                Foretold.fill(seed & !7, &mut id);
            }
            ClockMode::Host => HostEntropy.fill(0, &mut id),
        }
        // RFC 4122, 4.4: random.
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        self.generation = Some(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeviceSpec;

    #[test]
    fn each_life_has_another_number_unless_it_was_chosen() {
        let with = |words: &str, clock| {
            let devices = vec![DeviceSpec::parse(words).unwrap()];
            GuestConfig { devices, clock, ..GuestConfig::default() }
        };
        let lives = |mut config: GuestConfig| {
            std::array::from_fn::<_, 3, _>(|_| {
                config.renew_generation();
                config.generation_id().unwrap()
            })
        };
        for clock in [ClockMode::Host, ClockMode::Icount] {
            let [a, b, c] = lives(with("vmgenid", clock));
            assert!(a != b && b != c && a != c, "{clock:?}");
            assert_eq!((a[6] >> 4, a[8] >> 6), (4, 2));
        }
        assert_eq!(
            lives(with("vmgenid", ClockMode::Icount)),
            lives(with("vmgenid,guid=auto", ClockMode::Icount))
        );
        let [a, b, _] = lives(with("vmgenid,guid=324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87", ClockMode::Host));
        assert_eq!((a, a[..2].to_vec()), (b, vec![0x32, 0x4e]));
        assert_eq!(GuestConfig::default().generation_id(), None);
    }
}
