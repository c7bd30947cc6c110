//! Images that another process uses for a while: a guest that moves to another device model of the same host
//! is in both for a moment, and only one of them may have its disks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::{Image, ImageError};

/// How long the other process may take to end.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// The served images of this process, which is that of one guest.
static SERVED: Mutex<Served> = Mutex::new(Served { images: Vec::new(), lent: false });

struct Served {
    images: Vec<Weak<Image>>,
    lent: bool,
}

fn served() -> MutexGuard<'static, Served> {
    SERVED.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn note(image: &Arc<Image>) {
    let mut served = served();
    served.images.retain(|image| image.strong_count() > 0);
    served.images.push(Arc::downgrade(image));
}

/// Writes what is cached of every served image, and lets other processes have the images. The guest stands,
/// and nothing is in flight. After an error no image is lent.
pub fn lend_all() -> Result<(), ImageError> {
    let mut served = served();
    let images: Vec<_> = served.images.iter().filter_map(Weak::upgrade).collect();
    let lent = images.iter().try_for_each(|image| image.lend());
    if lent.is_err() {
        // Nobody can have taken one yet who was not to.
        images.iter().try_for_each(|image| image.claim.take())?;
    }
    served.lent = lent.is_ok();
    lent
}

/// Takes the images back before the guest goes on, if they were lent. Waits a little for whoever has one.
pub fn take_all() -> Result<(), ImageError> {
    let mut served = served();
    if !served.lent {
        return Ok(());
    }
    let end = Instant::now() + PATIENCE;
    for image in served.images.iter().filter_map(Weak::upgrade) {
        while let Err(error) = image.claim.take() {
            if !matches!(error, ImageError::Locked(_)) || Instant::now() > end {
                return Err(error);
            }
            std::thread::sleep(PAUSE);
        }
    }
    served.lent = false;
    Ok(())
}
