//! Where the guest's sound goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use backends::audio::wav::Wav;
use backends::audio::{Mixer, Nowhere};
use devices::board::MakeError;
use devices_core::audio::{AUDIODEV, AudioBackend, Format, Ported, Sample};
use devices_core::model::Properties;

use super::ahead::file_error;
use super::build::board::Board;
use super::{BuildError, Preopened};
use crate::config::{AudioDriver, AudiodevConfig, GuestConfig};
use crate::trace::Border;

/// The places, by their names. Those that lead nowhere are heard by viewers all the same.
pub(super) struct Sounds {
    places: BTreeMap<String, Mixer>,
    /// The one of devices that name none.
    usual: Mixer,
}

/// What is mixed where nobody says: what a CD has.
const FRAMES: Format = match Format::new(44_100, 2, Sample::S16) {
    Some(format) => format,
    None => unreachable!(),
};

fn nowhere() -> Mixer {
    Mixer::new(FRAMES, Box::new(Nowhere))
}

impl Sounds {
    /// Opens those of a configuration. In a replay all lead nowhere.
    pub(super) fn open(
        config: &GuestConfig,
        border: &Border,
        ahead: &Preopened,
    ) -> Result<Sounds, BuildError> {
        let (mut places, mut usual) = (BTreeMap::new(), None);
        for AudiodevConfig { id, driver } in &config.audiodevs {
            let mixer = match (driver, driver.format()) {
                (AudioDriver::Wav { path, .. }, Some(format)) if !border.replays() => {
                    let failed = |source| file_error(path, source);
                    let file = ahead.wav(id, path).map_err(failed)?;
                    let wav = Wav::start(file, path.display().to_string(), format).map_err(failed)?;
                    Mixer::new(format, Box::new(wav))
                }
                _ => nowhere(),
            };
            usual.get_or_insert_with(|| mixer.clone());
            places.insert(id.clone(), mixer);
        }
        Ok(Sounds { places, usual: usual.unwrap_or_else(nowhere) })
    }

    /// The place of that name, or the usual one.
    pub(super) fn mixer(&self, id: Option<&str>) -> Option<Mixer> {
        id.map_or(Some(&self.usual), |id| self.places.get(id)).cloned()
    }

    /// Where the sound of the device of that name goes.
    pub(super) fn connect(
        &self,
        board: &Board<'_>,
        properties: &Properties,
        name: &str,
    ) -> Result<Arc<dyn AudioBackend>, MakeError> {
        let id = properties.text(AUDIODEV.name);
        let missing =
            || properties.invalid(AUDIODEV.name, format!("can't find value '{}'", id.unwrap_or_default()));
        let inner: Arc<dyn AudioBackend> = Arc::new(self.mixer(id).ok_or_else(missing)?.card());
        Ok(match board.border.port(&format!("audio/{name}")) {
            Some(port) => Arc::new(Ported::new(port, inner)),
            None => inner,
        })
    }

    /// What was played is where it was to go; what still comes is lost.
    pub(super) fn end(&self) {
        self.places.values().for_each(|mixer| drop(mixer.replace(Box::new(Nowhere))));
    }
}
