//! Where a guest's sound goes: QEMU's `-audiodev`; and cards as people ask for them in a word.

use std::collections::BTreeSet;
use std::path::PathBuf;

use backends::audio::wav;
use devices::audio::ac97::model as ac97;
use devices::audio::es1370::model as es1370;
use devices::audio::hda::model as hda;
use devices_core::audio::{AUDIODEV, Format, Sample};
use devices_core::model::{Model, Properties, PropertyError, Value};
use serde::{Deserialize, Serialize};

use super::{ConfigError, DeviceSpec, GuestConfig};
use crate::qemu::Refusal;
use crate::qemu::keyval::Fields;

/// A place that sound goes to, with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudiodevConfig {
    /// What devices call it by.
    pub id: String,
    /// What it is.
    pub driver: AudioDriver,
}

/// A kind of place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AudioDriver {
    /// Nowhere.
    None,
    /// A file.
    Wav {
        /// It is written anew.
        path: PathBuf,
        /// Frames a second.
        rate: u32,
        /// 1 or 2.
        channels: u8,
        /// Of a sample: 8, 16 or 32.
        bits: u8,
    },
}

/// The name of the one that `-audio` asks for, as QEMU calls it.
const NAMELESS: &str = "audiodev0";

/// Cards by the words of xl.cfg's `soundhw`, and the devices that libxl makes of them.
const CARDS: &[(&str, &[&Model])] =
    &[("hda", &[&hda::ICH6, &hda::DUPLEX]), ("ac97", &[&ac97::MODEL]), ("es1370", &[&es1370::MODEL])];

impl AudioDriver {
    /// What a mixer makes for it; none: nobody listens.
    pub(crate) fn format(&self) -> Option<Format> {
        match *self {
            AudioDriver::None => None,
            AudioDriver::Wav { rate, channels, bits, .. } => {
                let sample = match bits {
                    8 => Sample::U8,
                    16 => Sample::S16,
                    _ => Sample::S32,
                };
                Format::new(rate, channels, sample).filter(|format| wav::takes(*format))
            }
        }
    }
}

impl AudiodevConfig {
    /// Reads `none,id=ID` and `wav,id=ID,path=PATH[,out.frequency=N][,out.channels=N][,out.format=F]`.
    pub(crate) fn parse(text: &str) -> Result<AudiodevConfig, Refusal> {
        let mut fields = Fields::parse(text, Some("driver"));
        let id = fields.required("id")?;
        let driver = driver(&mut fields)?;
        fields.end()?;
        Ok(AudiodevConfig { id, driver })
    }

    /// The same as a person's mistake.
    pub(crate) fn read(text: &str) -> Result<AudiodevConfig, ConfigError> {
        AudiodevConfig::parse(text).map_err(|refusal| {
            let why = match refusal {
                Refusal::Bad(why) => why,
                Refusal::NotBuilt(what) => format!("not built yet: {what}"),
            };
            ConfigError::Invalid(format!("audiodev {text}: {why}"))
        })
    }

    /// Reads QEMU's `-audio DRIVER[,model=CARD][,...]`: the card that is to have it, too.
    pub(crate) fn with_card(text: &str) -> Result<(AudiodevConfig, Option<String>), Refusal> {
        let mut fields = Fields::parse(text, Some("driver"));
        let id = fields.take("id").unwrap_or_else(|| NAMELESS.into());
        let card = fields.take("model");
        let driver = driver(&mut fields)?;
        fields.end()?;
        Ok((AudiodevConfig { id, driver }, card))
    }
}

fn driver(fields: &mut Fields) -> Result<AudioDriver, Refusal> {
    let name = fields.required("driver")?;
    // How a host's card is driven, of which there is none.
    fields.ignore(&["timer-period", "out.voices", "out.buffer-length", "in.voices", "in.buffer-length"]);
    fields.ignore(&["in.frequency", "in.channels", "in.format", "in.fixed-settings", "in.mixing-engine"]);
    fields.only("out.mixing-engine", &["on"], "sound that is not mixed")?;
    fields.only("out.fixed-settings", &["on"], "a file in the format of a card")?;
    let (rate, channels) = (fields.number("out.frequency")?, fields.number("out.channels")?);
    let format = fields.take("out.format");
    let bits = match format.as_deref() {
        Some("u8") => 8,
        None | Some("s16") => 16,
        Some("s32") => 32,
        Some(other) => return Err(Refusal::bad(format!("out.format={other}: expected u8, s16 or s32"))),
    };
    match name.as_str() {
        "none" => Ok(AudioDriver::None),
        "wav" => {
            let path = fields.take("path").unwrap_or_else(|| "qemu.wav".into()).into();
            let (rate, channels) = (rate.unwrap_or(44_100), channels.unwrap_or(2));
            let wav = AudioDriver::Wav { path, rate, channels, bits };
            match wav.format() {
                Some(_) => Ok(wav),
                None => Err(Refusal::bad("expected out.frequency=1000 to 192000 and out.channels=1 or 2")),
            }
        }
        other => Err(Refusal::not_built(format!("{other} (sound)"))),
    }
}

impl GuestConfig {
    /// A card by its short name, whose sound goes to that place.
    pub(crate) fn add_card_of_sound(
        &mut self,
        word: &str,
        audiodev: Option<&str>,
    ) -> Result<(), ConfigError> {
        let (_, models) = CARDS.iter().find(|(name, _)| *name == word).ok_or_else(|| {
            let all = CARDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            ConfigError::value("soundhw", word, &format!("{all}; no other is built yet"))
        })?;
        for model in *models {
            let mut device = DeviceSpec::plain(model);
            if let (Some(id), Some(_)) = (audiodev, model.property(AUDIODEV.name)) {
                device.properties.insert(AUDIODEV.name.into(), Value::Text(id.to_owned()));
            }
            self.devices.push(device);
        }
        Ok(())
    }
}

impl DeviceSpec {
    /// Where its sound is to go.
    fn audiodev(&self) -> Option<&str> {
        match self.properties.get(AUDIODEV.name) {
            Some(Value::Text(id)) => Some(id),
            _ => None,
        }
    }
}

/// Whether every place has a name of its own, and every device names one that is there.
pub(super) fn check(audiodevs: &[AudiodevConfig], devices: &[DeviceSpec]) -> Result<(), ConfigError> {
    let mut ids = BTreeSet::new();
    for audiodev in audiodevs {
        if !ids.insert(audiodev.id.as_str()) {
            return Err(ConfigError::Invalid(format!("Duplicate ID '{}' for audiodev", audiodev.id)));
        }
        if audiodev.driver != AudioDriver::None && audiodev.driver.format().is_none() {
            return Err(ConfigError::Invalid(format!("audiodev {}: there are no such frames", audiodev.id)));
        }
    }
    for device in devices {
        let Some(id) = device.audiodev().filter(|id| !ids.contains(id)) else { continue };
        let error: PropertyError =
            Properties::new(device.model()?).invalid(AUDIODEV.name, format!("can't find value '{id}'"));
        return Err(ConfigError::Invalid(format!("device {}: {error}", device.model)));
    }
    Ok(())
}

/// Whether there is the place that hears the PC's speaker.
pub(super) fn check_speaker(audiodevs: &[AudiodevConfig], speaker: Option<&str>) -> Result<(), ConfigError> {
    match speaker.filter(|id| !audiodevs.iter().any(|audiodev| audiodev.id == *id)) {
        Some(id) => Err(ConfigError::Invalid(format!("the PC's speaker: can't find audiodev '{id}'"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(path: &str, rate: u32, channels: u8, bits: u8) -> AudioDriver {
        AudioDriver::Wav { path: path.into(), rate, channels, bits }
    }

    #[test]
    fn places_are_read_as_qemu_writes_them() {
        let read = |text: &str| AudiodevConfig::parse(text).map(|audiodev| audiodev.driver);
        assert_eq!(read("none,id=a"), Ok(AudioDriver::None));
        assert_eq!(read("driver=wav,id=a,path=/a,,b.wav"), Ok(wav("/a,b.wav", 44_100, 2, 16)));
        let text = "wav,id=a,out.frequency=8000,out.channels=1,out.format=u8,timer-period=1000";
        assert_eq!(read(text), Ok(wav("qemu.wav", 8000, 1, 8)));
        for (wrong, why) in [
            ("wav", "id= is missing"),
            ("wav,id=a,out.frequency=0", "out.frequency=1000 to"),
            ("wav,id=a,out.channels=3", "out.channels=1 or 2"),
            ("wav,id=a,out.format=f32", "out.format=f32"),
            ("wav,id=a,what=1", "what"),
        ] {
            let error = format!("{:?}", read(wrong).unwrap_err());
            assert!(error.contains(why), "{wrong}: {error}");
        }
        assert_eq!(read("pa,id=a"), Err(Refusal::not_built("pa (sound)")));
        let (audiodev, card) = AudiodevConfig::with_card("none,model=hda").unwrap();
        assert_eq!((audiodev.id.as_str(), card.as_deref()), ("audiodev0", Some("hda")));
    }

    #[test]
    fn a_card_in_a_word_is_what_libxl_makes_of_it() {
        let mut config = GuestConfig { devices: Vec::new(), ..GuestConfig::default() };
        config.audiodevs.push(AudiodevConfig { id: "a".into(), driver: AudioDriver::None });
        config.add_card_of_sound("hda", None).unwrap();
        assert_eq!(config.check(), Ok(()));
        let line = |device: &DeviceSpec| format!("{} {:?}", device.model, device.bus);
        let devices: Vec<String> = config.devices.iter().map(line).collect();
        assert_eq!(devices, ["intel-hda None", "hda-duplex Some(\"hda.0\")"]);
        config.add_card_of_sound("hda", Some("b")).unwrap();
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("audiodev") && error.contains("can't find value 'b'"), "{error}");
        let error = config.add_card_of_sound("gus", None).unwrap_err().to_string();
        assert!(error.contains("'gus' is not known; expected hda, ac97, es1370"), "{error}");
        config.devices.clear();
        config.speaker = Some("b".into());
        assert!(config.check().unwrap_err().to_string().contains("can't find audiodev 'b'"));
        config.speaker = Some("a".into());
        assert_eq!(config.check(), Ok(()));
        let twice = config.audiodevs[0].clone();
        config.audiodevs.push(twice);
        assert!(config.check().unwrap_err().to_string().contains("Duplicate ID 'a'"));
    }
}
