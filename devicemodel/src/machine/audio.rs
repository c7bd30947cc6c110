//! Where the guest's sound goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use backends::audio::wav::Wav;
use backends::audio::{Mixer, Sink};
use devices::board::MakeError;
use devices_core::audio::{AUDIODEV, AudioBackend, NullAudio, Ported};
use devices_core::model::Properties;

use super::ahead::file_error;
use super::build::board::Board;
use super::{BuildError, Preopened};
use crate::config::{AudioDriver, AudiodevConfig, GuestConfig};
use crate::trace::Border;

/// The places, by their names; those without a mixer are nowhere.
#[derive(Default)]
pub(super) struct Sounds {
    places: BTreeMap<String, Option<Mixer>>,
    /// The one of devices that name none.
    usual: Option<String>,
}

/// What there is when the machine has ended.
struct Ended;

impl Sink for Ended {
    fn play(&mut self, _frames: &[u8]) {}
    fn rest(&mut self) {}
}

impl Sounds {
    /// Opens those of a configuration. A replay has none.
    pub(super) fn open(
        config: &GuestConfig,
        border: &Border,
        ahead: &Preopened,
    ) -> Result<Sounds, BuildError> {
        let mut sounds = Sounds::default();
        for AudiodevConfig { id, driver } in &config.audiodevs {
            let mixer = match (driver, driver.format()) {
                (AudioDriver::Wav { path, .. }, Some(format)) if !border.replays() => {
                    let failed = |source| file_error(path, source);
                    let file = ahead.wav(id, path).map_err(failed)?;
                    let wav = Wav::start(file, path.display().to_string(), format).map_err(failed)?;
                    Some(Mixer::new(format, Box::new(wav)))
                }
                _ => None,
            };
            sounds.usual.get_or_insert_with(|| id.clone());
            sounds.places.insert(id.clone(), mixer);
        }
        Ok(sounds)
    }

    /// Where the sound of the device of that name goes.
    pub(super) fn connect(
        &self,
        board: &Board<'_>,
        properties: &Properties,
        name: &str,
    ) -> Result<Arc<dyn AudioBackend>, MakeError> {
        let mixer = match properties.text(AUDIODEV.name).or(self.usual.as_deref()) {
            None => None,
            Some(id) => {
                let found = self.places.get(id);
                let missing = || properties.invalid(AUDIODEV.name, format!("can't find value '{id}'"));
                found.ok_or_else(missing)?.as_ref()
            }
        };
        let inner: Arc<dyn AudioBackend> = match mixer {
            Some(mixer) => Arc::new(mixer.card()),
            None => Arc::new(NullAudio),
        };
        Ok(match board.border.port(&format!("audio/{name}")) {
            Some(port) => Arc::new(Ported::new(port, inner)),
            None => inner,
        })
    }

    /// What was played is where it was to go; what still comes is lost.
    pub(super) fn end(&self) {
        self.places.values().flatten().for_each(|mixer| drop(mixer.replace(Box::new(Ended))));
    }
}
