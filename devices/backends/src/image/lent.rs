//! Images that another process uses for a while: a guest that moves to another device model of the same host
//! is in both for a moment, and only one of them may have its disks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::{Image, ImageError, Pool};

/// How long the other process may take to end.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// The images that are served for one guest. Clones are handles to the same ones.
#[derive(Clone, Default)]
pub struct Images(Arc<Mutex<Served>>);

#[derive(Default)]
struct Served {
    images: Vec<Weak<Image>>,
    lent: bool,
}

impl Images {
    fn served(&self) -> MutexGuard<'_, Served> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one more image, from threads of its own, until the pool is dropped.
    pub fn serve(&self, image: Image) -> Arc<Pool> {
        Pool::new(self.hold(image))
    }

    /// The same of an image that somebody else serves.
    pub fn hold(&self, image: Image) -> Arc<Image> {
        let image = Arc::new(image);
        let mut served = self.served();
        served.images.retain(|image| image.strong_count() > 0);
        served.images.push(Arc::downgrade(&image));
        image
    }

    /// Writes what is cached of every image to the disk, whatever the cache mode says: what is saved beside them
    /// is worth as much as they are. The guest stands, and nothing is in flight.
    pub fn flush(&self) -> Result<(), ImageError> {
        let images: Vec<_> = self.served().images.iter().filter_map(Weak::upgrade).collect();
        let mut writable = images.iter().filter(|image| !image.info.read_only);
        writable.try_for_each(|image| image.flush().map_err(|error| image.claim.failed(error)))
    }

    /// Writes what is cached of every image, and lets other processes have the images. The guest stands, and
    /// nothing is in flight. After an error no image is lent.
    pub fn lend(&self) -> Result<(), ImageError> {
        let mut served = self.served();
        let images: Vec<_> = served.images.iter().filter_map(Weak::upgrade).collect();
        let lent = images.iter().try_for_each(|image| image.lend());
        if lent.is_err() {
            // Nobody can have taken one yet who was not to.
            images.iter().try_for_each(|image| image.claim.take())?;
        }
        served.lent = lent.is_ok();
        lent
    }

    /// Takes the images back before the guest goes on, if they were lent. Waits up to two seconds for whoever
    /// has one.
    pub fn take(&self) -> Result<(), ImageError> {
        let mut served = self.served();
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
}
