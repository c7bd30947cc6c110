//! Images that another process uses for a while: a guest that moves to another device model of the same host
//! is in both for a moment, and only one of them may have its disks.

use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use devices_core::block::{BlockOp, BlockStore, Payload};

use super::{Image, ImageError, Pool};

/// How long writing what is cached may take, of all images together: a host that hangs must not hold up the
/// event loop for ever.
const WRITING: Duration = Duration::from_secs(10);
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

    /// Writes what is cached of every image (for at most ten seconds), and lets other processes have the images. The guest stands, and
    /// nothing is in flight. After an error no image is lent.
    pub fn lend(&self) -> Result<(), ImageError> {
        let mut served = self.served();
        let images: Vec<_> = served.images.iter().filter_map(Weak::upgrade).collect();
        flush(&images, Instant::now() + WRITING)?;
        // What is left to be written now is nothing.
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

/// Has every image write what is cached.
fn flush(images: &[Arc<Image>], end: Instant) -> Result<(), ImageError> {
    let (say, said) = sync_channel(images.len());
    let mut awaited = 0;
    for (at, image) in images.iter().enumerate().filter(|(_, image)| !image.info.read_only) {
        let (image, say) = (image.clone(), say.clone());
        let work = move || {
            let result = image.run(BlockOp::Flush, 0, &mut Payload::None);
            // Nobody listens any more if it took too long. The image is let go of first: who is told may close it.
            drop(image);
            let _ = say.send((at, result));
        };
        let started = std::thread::Builder::new().name("disk".to_owned()).spawn(work);
        started.map_err(|error| images[at].claim.failed(error))?;
        awaited += 1;
    }
    for _ in 0..awaited {
        match said.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok((_, Ok(()))) => {}
            Ok((at, Err(error))) => return Err(images[at].claim.failed(io::Error::other(error.to_string()))),
            Err(_) => {
                let late = io::Error::new(io::ErrorKind::TimedOut, "the host does not write it in time");
                return Err(images[0].claim.failed(late));
            }
        }
    }
    Ok(())
}
