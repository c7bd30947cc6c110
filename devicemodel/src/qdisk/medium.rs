//! What is in a PV disk.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use backends::image::{Image, ImageError, ImageOptions, Images};
use devices::xen::blkback::{Medium, MediumError};
use devices_core::block::{BlockBackend, BlockError, BlockInfo, BlockOp, BlockStore, Payload, SECTOR};

use super::opener_client::Opener;

/// The drive has no medium.
pub(super) struct Empty;

impl BlockStore for Empty {
    fn info(&self) -> BlockInfo {
        BlockInfo { size: 0, read_only: true, physical_block: SECTOR as u32, discard: false }
    }
    fn run(&self, _: BlockOp, _: u64, _: &mut Payload) -> Result<(), BlockError> {
        Err(BlockError::OutOfRange)
    }
}

/// An image that another process uses now, most likely the machine's emulated drive. It is opened when the
/// frontend connects, and stays open then.
pub(super) struct Late {
    options: ImageOptions,
    device: u32,
    opener: Arc<Opener>,
    info: BlockInfo,
    images: Images,
    opened: Mutex<Option<Arc<dyn BlockBackend>>>,
}

impl Late {
    /// Looks at the image and does not lock it.
    pub(super) fn new(
        options: ImageOptions,
        device: u32,
        opener: Arc<Opener>,
        images: Images,
    ) -> Result<Late, ImageError> {
        let file = ask(&opener, device, false, &options)?;
        let info = Image::peek_at(file, &options)?;
        Ok(Late { options, device, opener, info, images, opened: Mutex::default() })
    }
}

/// Has another process open a disk's image, and reads it.
pub(super) fn open(opener: &Opener, device: u32, options: &ImageOptions) -> Result<Image, ImageError> {
    Image::from_file(ask(opener, device, !options.read_only, options)?, options)
}

fn ask(opener: &Opener, device: u32, write: bool, options: &ImageOptions) -> Result<File, ImageError> {
    let path = || options.path.clone();
    opener.open(device, write).map_err(|source| ImageError::Open { path: path(), source })
}

impl Medium for Late {
    fn info(&self) -> BlockInfo {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().map_or(self.info, |opened| opened.info())
    }

    fn open(&self) -> Result<Arc<dyn BlockBackend>, MediumError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = &*opened {
            return Ok(opened.clone());
        }
        let image = open(&self.opener, self.device, &self.options);
        let image = image.map_err(|error| MediumError(error.to_string()))?;
        let image = self.images.serve(image);
        Ok(opened.insert(image).clone())
    }
}

#[cfg(test)]
mod tests {
    use backends::image::Format;

    use super::super::opener_client::{Question, greet, link};
    use super::*;

    /// Opens that file, whatever it is asked for.
    fn opener(path: std::path::PathBuf) -> Arc<Opener> {
        let (ours, theirs) = link();
        std::thread::spawn(move || {
            greet(&theirs, &File::open(&path).map_err(|error| error.to_string())).unwrap();
            while let Some(question) = Question::receive(&theirs) {
                let file = File::options().read(true).write(question.write).open(&path);
                question.answer(&theirs, &file.map_err(|error| error.to_string())).unwrap();
            }
        });
        Arc::new(Opener::greeted(ours).unwrap().0)
    }

    #[test]
    fn an_image_is_had_when_the_other_drive_lets_go_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let options = ImageOptions::new(file.path(), Format::Raw);
        let drive = Images::default().serve(Image::open(&options).unwrap());
        let opener = opener(file.path().into());
        let disk = Late::new(options.clone(), 51712, opener, Images::default()).unwrap();
        assert_eq!(disk.info(), drive.info());
        let error = disk.open().err().expect("the drive has it").to_string();
        assert!(error.contains("in use by another process"), "{error}");
        drop(drive);
        let opened = disk.open().unwrap();
        assert!(Arc::ptr_eq(&opened, &disk.open().unwrap()));
        assert!(matches!(Image::open(&options), Err(ImageError::Locked(_))));
    }
}
