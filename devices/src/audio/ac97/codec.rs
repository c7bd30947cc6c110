//! The codec: a mixer, and the rates of its converters.

use devices_core::audio::UNITY;

use super::spec::{self, BOXES, CODEC_LEN, MICROPHONE, OUT, RATE, nam};

/// Its registers.
#[derive(Clone)]
pub(super) struct Codec(pub [u8; CODEC_LEN]);

impl Codec {
    /// As after a reset.
    pub fn new() -> Codec {
        let mut codec = Codec([0; CODEC_LEN]);
        spec::CODEC.iter().for_each(|(at, value)| codec.set(*at, *value));
        codec
    }

    /// A register; all ones behind the last.
    pub fn get(&self, at: u64) -> u16 {
        match self.0.get(at as usize..at as usize + 2) {
            Some(&[low, high]) => u16::from_le_bytes([low, high]),
            _ => 0xffff,
        }
    }

    fn set(&mut self, at: u64, value: u16) {
        let [low, high] = value.to_le_bytes();
        if let Some(word) = self.0.get_mut(at as usize..at as usize + 2) {
            word.copy_from_slice(&[low, high]);
        }
    }

    /// The guest writes a register.
    pub fn write(&mut self, at: u64, value: u16) {
        // Registers are words at even places.
        let at = at & !1;
        let value = match at {
            nam::RESET => return *self = Codec::new(),
            nam::VENDOR_ID1 | nam::VENDOR_ID2 | nam::EXTENDED_ID => return,
            nam::MASTER => value & 0xbf3f,
            nam::PCM_OUT => value & 0x9f1f,
            nam::RECORD_SELECT => value & 0x0707,
            nam::RECORD_GAIN => value & 0x8f0f,
            // The converters are ready.
            nam::POWER => value & 0x7ff0 | self.get(nam::POWER) & 0xf,
            nam::EXTENDED => {
                let on = value & (spec::VRA | spec::VRM);
                if on & spec::VRA == 0 {
                    (nam::FRONT_RATE..nam::MICROPHONE_RATE).step_by(2).for_each(|at| self.set(at, RATE));
                }
                if on & spec::VRM == 0 {
                    self.set(nam::MICROPHONE_RATE, RATE);
                }
                on
            }
            nam::FRONT_RATE..nam::MICROPHONE_RATE if self.get(nam::EXTENDED) & spec::VRA == 0 => return,
            nam::MICROPHONE_RATE if self.get(nam::EXTENDED) & spec::VRM == 0 => return,
            // A rate that it does not have is the nearest.
            nam::FRONT_RATE..=nam::MICROPHONE_RATE => value.clamp(4000, RATE),
            _ => value,
        };
        self.set(at, value);
    }

    /// The rate of a box's converter.
    pub fn rate(&self, number: usize) -> u32 {
        const RATES: [u64; BOXES] = [nam::ADC_RATE, nam::FRONT_RATE, nam::MICROPHONE_RATE];
        self.get(RATES.get(number).copied().unwrap_or(nam::FRONT_RATE)).into()
    }

    /// How loud a box is, left and right. Master and PCM attenuate by 1.5 dB a step; PCM begins 12 dB above.
    pub fn gain(&self, number: usize) -> [u32; 2] {
        if number != OUT {
            return if number == MICROPHONE || self.get(nam::RECORD_GAIN) >> 15 == 0 {
                [UNITY; 2]
            } else {
                [0; 2]
            };
        }
        let (master, pcm) = (self.get(nam::MASTER), self.get(nam::PCM_OUT));
        [8, 0].map(|shift| {
            if (master | pcm) >> 15 != 0 {
                return 0;
            }
            let steps = i32::from(master >> shift & 0x3f) + i32::from(pcm >> shift & 0x1f) - 8;
            let factor = 10f64.powf(-f64::from(steps.max(0)) * 1.5 / 20.0);
            (factor * f64::from(UNITY)) as u32
        })
    }
}
