//! Saved state of the debug console: it has none. Earlier builds put bytes together to lines, and saved
//! the one that had begun: those bytes are handed on when they are loaded.

use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::Debugcon;

const KIND: &str = "debugcon";
const VERSION: u16 = 1;
/// Those builds ended a line of so many bytes.
const LINE_MAX: usize = 512;

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(default, with = "serde_bytes")]
    line: Vec<u8>,
}

pub(super) fn save(device: &Debugcon) -> Result<Saved, StateError> {
    let Debugcon { name: _, regions: _, present: _, sink: _ } = device;
    Saved::encode(KIND, VERSION, &State { line: Vec::new() })
}

pub(super) fn load(device: &mut Debugcon, saved: &Saved) -> Result<(), StateError> {
    let State { line } = saved.decode(KIND, VERSION)?;
    valid(line.len() < LINE_MAX, "the begun line is too long")?;
    if !line.is_empty() {
        (device.sink)(&line);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_line_that_an_earlier_build_held_back_is_handed_on() {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let to = bytes.clone();
        let mut console = Debugcon::new(Box::new(move |data| to.lock().unwrap().extend_from_slice(data)));
        let saved = |line: Vec<u8>| Saved::encode(KIND, VERSION, &State { line }).unwrap();
        load(&mut console, &saved(b"begun".to_vec())).unwrap();
        assert_eq!(*bytes.lock().unwrap(), b"begun");
        assert!(load(&mut console, &saved(vec![0; LINE_MAX])).is_err());
    }
}
