//! What a configuration names of the host, opened ahead of the machine: by a process that is about to give up opening
//! files, before it reads anything that a guest has written.
//!
//! An image is opened and locked and not read; a kernel's file is opened. Firmware is read, which is the host's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backends::audio::wav;
use backends::chardev::{self, CharError, Prepared};
use backends::image::{ImageError, ImageFile, ImageOptions};
use backends::{net, vsock};
use firmware::locate::{Firmware, LocateError};

use super::disks::image_options;
use super::network;
use super::rom::{self, RomFile};
use super::{BuildError, serial};
use crate::config::{AudioDriver, DumpConfig, GuestConfig, NetdevConfig};

/// Open files, taken one by one as the machine is built. What is not among them is opened by its name then.
#[derive(Default)]
pub struct Preopened(Mutex<Opened>);

#[derive(Default)]
struct Opened {
    images: Vec<ImageFile>,
    lines: BTreeMap<usize, Prepared>,
    chardevs: BTreeMap<String, Prepared>,
    networks: BTreeMap<String, net::Prepared>,
    hubs: Arc<net::Hubs>,
    files: BTreeMap<PathBuf, File>,
    dumps: BTreeMap<String, File>,
    shares: Vec<(String, OwnedFd)>,
    vsocks: BTreeMap<PathBuf, vsock::Prepared>,
    wavs: BTreeMap<String, File>,
    debugcon: Option<File>,
    roms: BTreeMap<RomFile, Vec<Firmware>>,
    utc_offset: Option<i64>,
    most: Option<u64>,
}

impl Preopened {
    /// Opens all that a guest of this configuration needs. What cannot be opened is told as it would be when the machine
    /// is built.
    pub fn open(config: &GuestConfig, debugcon: Option<&Path>) -> Result<Preopened, BuildError> {
        let mut opened = Opened { most: Some(0), ..Opened::default() };
        let named = [&config.kernel, &config.initrd, &config.boot_options.splash];
        for path in named.into_iter().flatten() {
            let file = File::open(path).map_err(|source| file_error(path, source))?;
            opened.files.insert(path.clone(), file);
        }
        for disk in &config.disks {
            let Some(path) = &disk.path else { continue };
            let image = ImageFile::open(&image_options(disk, path))?;
            // One whose size is not known needs as much as there is.
            opened.most = opened.most.zip(image.most()).map(|(most, this)| most.max(this));
            opened.images.push(image);
        }
        backends::image::reserve(config.disks.iter().filter(|disk| disk.snapshot).count())
            .map_err(|source| file_error(Path::new("a throw-away layer"), source))?;
        for (index, port) in config.serial.iter().enumerate() {
            let Some(spec) = serial::spec(port) else { continue };
            let line = chardev::prepare(&spec).map_err(|source| BuildError::Serial { index, source })?;
            opened.lines.insert(index, line);
        }
        for chardev in &config.chardevs {
            let Some(spec) = serial::spec(&chardev.line) else { continue };
            let failed = |source| BuildError::Chardev { id: chardev.id.clone(), source };
            opened.chardevs.insert(chardev.id.clone(), chardev::prepare(&spec).map_err(failed)?);
        }
        for netdev in &config.netdevs {
            let prepared = prepare(netdev, &opened.hubs)?;
            opened.networks.insert(netdev.id.clone(), prepared);
        }
        for dump in &config.dumps {
            opened.dumps.insert(dump.id.clone(), network::open_dump(&dump.file)?);
        }
        for audiodev in &config.audiodevs {
            let AudioDriver::Wav { path, .. } = &audiodev.driver else { continue };
            let file = wav::prepare(path).map_err(|source| file_error(path, source))?;
            opened.wavs.insert(audiodev.id.clone(), file);
            // As long as such a file can be.
            opened.most = opened.most.map(|most| most.max(u32::MAX.into()));
        }
        opened.debugcon =
            debugcon.map(|path| File::create(path).map_err(|source| file_error(path, source))).transpose()?;
        for device in &config.devices {
            if let Some(path) = device.host_socket() {
                let prepared = vsock::prepare(path).map_err(|source| file_error(path, source))?;
                opened.vsocks.insert(path.to_owned(), prepared);
            }
            let Some(file) = rom::file_of(&device.properties()?) else { continue };
            match file.read() {
                Ok(image) => opened.roms.entry(file).or_default().push(image),
                Err(error) if file.is_needed => return Err(error.into()),
                // It is told when the machine is built.
                Err(_) => {}
            }
        }
        if config.localtime {
            opened.utc_offset = Some(crate::host::utc_offset(crate::host::seconds()));
        }
        Ok(Preopened(Mutex::new(opened)))
    }

    /// Beside the rest: connections to those that share folders, by their ids.
    pub(crate) fn add_shares(&self, shares: Vec<(String, OwnedFd)>) {
        self.opened().shares.extend(shares);
    }

    /// The connection to one of them.
    pub(super) fn share(&self, id: &str) -> Option<OwnedFd> {
        let mut opened = self.opened();
        let at = opened.shares.iter().position(|(other, _)| other == id)?;
        Some(opened.shares.swap_remove(at).1)
    }

    /// Where programs of the host's come in that connect to the guest.
    pub(super) fn vsock(&self, path: &Path) -> io::Result<vsock::Prepared> {
        self.opened().vsocks.remove(path).map_or_else(|| vsock::prepare(path), Ok)
    }

    /// Most bytes of any file that the guest's disks write. None: that is not known.
    pub fn most(&self) -> Option<u64> {
        self.opened().most
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next image of that name.
    pub(super) fn image(&self, options: &ImageOptions) -> Result<ImageFile, ImageError> {
        let mut opened = self.opened();
        let at = opened.images.iter().position(|image| image.name() == options.path);
        match at {
            Some(at) => Ok(opened.images.remove(at)),
            None => ImageFile::open(options),
        }
    }

    /// The host's end of a serial port.
    pub(super) fn line(&self, index: usize, spec: &chardev::CharSpec) -> Result<Prepared, CharError> {
        self.opened().lines.remove(&index).map_or_else(|| chardev::prepare(spec), Ok)
    }

    /// The host's end of a line of that name.
    pub(super) fn chardev(&self, id: &str, spec: &chardev::CharSpec) -> Result<Prepared, CharError> {
        self.opened().chardevs.remove(id).map_or_else(|| chardev::prepare(spec), Ok)
    }

    /// The hubs that networks share.
    pub(super) fn hubs(&self) -> Arc<net::Hubs> {
        self.opened().hubs.clone()
    }

    /// The back end of a network.
    pub(super) fn network(&self, netdev: &NetdevConfig) -> Result<net::Prepared, BuildError> {
        let mut opened = self.opened();
        match opened.networks.remove(&netdev.id) {
            Some(prepared) => Ok(prepared),
            None => prepare(netdev, &opened.hubs),
        }
    }

    /// The file of a dump.
    pub(super) fn dump(&self, dump: &DumpConfig) -> Result<File, BuildError> {
        let ahead = self.opened().dumps.remove(&dump.id);
        ahead.map_or_else(|| network::open_dump(&dump.file), Ok)
    }

    /// The file that sound goes to.
    pub(super) fn wav(&self, id: &str, path: &Path) -> io::Result<File> {
        let ahead = self.opened().wavs.remove(id);
        ahead.map_or_else(|| wav::prepare(path), Ok)
    }

    /// A file that is read.
    pub(super) fn file(&self, path: &Path) -> io::Result<File> {
        self.opened().files.remove(path).map_or_else(|| File::open(path), Ok)
    }

    /// Where the firmware's log goes.
    pub(super) fn debugcon(&self, path: &Path) -> io::Result<File> {
        self.opened().debugcon.take().map_or_else(|| File::create(path), Ok)
    }

    /// The firmware of a device.
    pub(super) fn option_rom(&self, file: &RomFile) -> Result<Firmware, LocateError> {
        let ahead = self.opened().roms.get_mut(file).and_then(Vec::pop);
        ahead.map_or_else(|| file.read(), Ok)
    }

    /// Seconds that local time is ahead of UTC at that instant.
    pub(super) fn utc_offset(&self, utc: i64) -> i64 {
        self.opened().utc_offset.unwrap_or_else(|| crate::host::utc_offset(utc))
    }
}

fn prepare(netdev: &NetdevConfig, hubs: &net::Hubs) -> Result<net::Prepared, BuildError> {
    let failed = |source| BuildError::Network { id: netdev.id.clone(), source };
    net::prepare(&netdev.spec()?, &super::network::around(hubs)).map_err(failed)
}

pub(super) fn file_error(path: &Path, source: io::Error) -> BuildError {
    BuildError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DiskConfig, DiskFormat, SerialConfig};

    #[test]
    fn what_was_opened_ahead_is_had_without_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("disk"), [7; 1024]).unwrap();
        std::fs::write(at("kernel"), "k").unwrap();
        let config = GuestConfig {
            disks: vec![DiskConfig::new(at("disk"))],
            kernel: Some(at("kernel")),
            serial: vec![SerialConfig::File(at("serial"))],
            devices: Vec::new(),
            ..GuestConfig::default()
        };
        let ahead = Preopened::open(&config, Some(&at("log"))).unwrap();
        assert_eq!(ahead.most(), Some(1024));
        for name in ["disk", "kernel", "serial", "log"] {
            std::fs::remove_file(at(name)).unwrap();
        }
        let options = image_options(&config.disks[0], &at("disk"));
        let image = backends::image::Image::read(ahead.image(&options).unwrap()).unwrap();
        assert_eq!(image.first_sector(), [7; 512]);
        assert!(ahead.image(&options).is_err(), "it was had once");
        assert_eq!(io::read_to_string(ahead.file(&at("kernel")).unwrap()).unwrap(), "k");
        let spec = serial::spec(&config.serial[0]).unwrap();
        ahead.line(0, &spec).unwrap();
        ahead.debugcon(&at("log")).unwrap();
        for name in ["serial", "log"] {
            assert!(!at(name).exists(), "{name} is not made again");
        }
    }

    #[test]
    fn the_most_that_is_written_is_known_of_raw_images_only() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk");
        std::fs::write(&image, [0; 700]).unwrap();
        let most = |disk: DiskConfig| {
            let config = GuestConfig { disks: vec![disk], devices: Vec::new(), ..GuestConfig::default() };
            Preopened::open(&config, None).unwrap().most()
        };
        assert_eq!(most(DiskConfig::new(&image)), Some(1024));
        assert_eq!(most(DiskConfig::cdrom(&image)), Some(0));
        assert_eq!(most(DiskConfig { snapshot: true, ..DiskConfig::new(&image) }), None);
        assert_eq!(most(DiskConfig { format: Some(DiskFormat::Qcow2), ..DiskConfig::new(&image) }), None);
    }
}
