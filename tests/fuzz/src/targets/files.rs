//! Files that somebody else made: saved guests, images, configurations.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use backends::image::{Format, Image, ImageOptions};
use devicemodel::config::GuestConfig;
use devicemodel::stream::{Reader, Writer};
use devicemodel::xlcfg;
use devices_core::Saved;
use devices_core::block::{BlockOp, BlockStore, Payload};

use super::outcome;

/// A saved guest, record after record.
pub fn stream(bytes: &[u8]) -> u64 {
    let mut records = 0;
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return outcome(0, &error.to_string()),
    };
    loop {
        match reader.next_record() {
            Ok(Some(record)) => {
                assert!(record.saved.body.len() <= 128 << 20, "a record is bounded");
                records += 1;
            }
            Ok(None) => return outcome(records, "whole"),
            Err(error) => return outcome(records, &error.to_string()),
        }
    }
}

pub fn stream_seeds() -> Vec<Vec<u8>> {
    let mut writer = Writer::new(Vec::new()).expect("memory takes it");
    for (path, len) in [("header", 40), ("device/pit", 200), ("ram", 5000)] {
        let saved = Saved { kind: path.into(), version: 1, body: vec![0x81; len] };
        writer.record(path, &saved).expect("memory takes it");
    }
    vec![writer.finish().expect("memory takes it"), b"AILURUS\n\x01\0\0\0".to_vec()]
}

/// Where an image lies while it is looked at.
fn image_file() -> &'static PathBuf {
    static FOLDER: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
        // In memory, where there is such a folder: every input is written anew.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.expect("a temporary folder");
        let file = folder.path().join("image.qcow2");
        (folder, file)
    });
    &FOLDER.1
}

/// Bytes that an image is cut at: the metadata of small clusters fit many times.
const LONGEST: usize = 256 << 10;

/// A qcow2 image: the first byte says how it is opened, the rest is the file. What opens is read and written here and
/// there.
pub fn qcow2(bytes: &[u8]) -> u64 {
    let Some((&how, bytes)) = bytes.split_first() else { return 0 };
    let file = image_file();
    fs::write(file, &bytes[..bytes.len().min(LONGEST)]).expect("the temporary folder takes it");
    let options = ImageOptions { read_only: how & 1 != 0, ..ImageOptions::new(file, Format::Qcow2) };
    let image = match Image::open(&options) {
        Ok(image) => image,
        Err(error) => return outcome(0, &error.to_string().replace(&*file.to_string_lossy(), "")),
    };
    let size = image.info().size;
    let mut results = Vec::new();
    for place in [0, 1, 2, 3, 5, 7] {
        let offset = size / 8 * place / 512 * 512;
        let mut payload = Payload::Buffer(vec![0x3c; 1024]);
        results.push(image.run(BlockOp::Read, offset, &mut payload).is_ok());
        if how & 1 == 0 {
            results.push(image.run(BlockOp::Write, offset, &mut payload).is_ok());
        }
    }
    results.push(image.run(BlockOp::Flush, 0, &mut Payload::None).is_ok());
    drop(image);
    // A table may point anywhere, and the file is sparse: what it takes of the host's disk counts.
    let taken = fs::metadata(file).map_or(0, |file| file.blocks() * 512);
    assert!(taken < 64 << 20, "six small writes took {taken} bytes of the disk");
    outcome(results, "")
}

/// An image of 64 sectors in clusters of 512 bytes: header, refcount table and block, L1, L2, one cluster of data.
pub fn qcow2_seeds() -> Vec<Vec<u8>> {
    let mut image = vec![0u8; 6 * 512];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    put(4, &3u32.to_be_bytes());
    put(20, &9u32.to_be_bytes());
    put(24, &32_768u64.to_be_bytes());
    put(36, &1u32.to_be_bytes());
    put(40, &(3 * 512u64).to_be_bytes());
    put(48, &512u64.to_be_bytes());
    put(56, &1u32.to_be_bytes());
    put(96, &4u32.to_be_bytes());
    put(100, &104u32.to_be_bytes());
    put(512, &(2 * 512u64).to_be_bytes());
    for cluster in 0..6 {
        put(2 * 512 + 2 * cluster, &1u16.to_be_bytes());
    }
    put(3 * 512, &(1 << 63 | 4 * 512u64).to_be_bytes());
    put(4 * 512, &(1 << 63 | 5 * 512u64).to_be_bytes());
    put(5 * 512, &[0x77; 512]);
    vec![[&[0][..], &image].concat(), [&[1][..], &image].concat()]
}

/// An xl.cfg file.
pub fn xlcfg(bytes: &[u8]) -> u64 {
    let entries = match xlcfg::parse(bytes) {
        Ok(entries) => entries,
        Err(error) => return outcome(0, &error.to_string()),
    };
    let mut config = GuestConfig::default();
    match xlcfg::apply(&entries, &mut config) {
        Ok(warnings) => match config.check() {
            Ok(()) => outcome((1, warnings.len().min(4)), ""),
            Err(error) => outcome(2, &error.to_string()),
        },
        Err(error) => outcome(3, &error.to_string()),
    }
}

pub fn xlcfg_seeds() -> Vec<Vec<u8>> {
    [
        "name = 'guest'\nmemory = 512\nvcpus=2\nmaxvcpus=4\nserial='pty'\nboot=\"dc\"\n",
        "disk = [ 'format=raw, vdev=hda, access=rw, target=/x/a.img', '/b.iso,,hdc:cdrom,r', 'file:/c,xvdb,w' ]\n",
        "builder='hvm'\nvif = [ 'mac=00:16:3e:00:00:01,bridge=xenbr0,model=e1000' ]\non_poweroff = 'destroy'\n",
        "kernel = '/vmlinuz' # comment\nramdisk = '/initrd'\ncmdline = \"a=b 'c'\"\nroot='/dev/sda'\nextra='x'\n",
        "serial = [ 'pty', 'file:/x', \"none\" ]; uuid = '00112233-4455-6677-8899-aabbccddeeff'\nlocaltime=1\n",
        "a = [ 1, 0x2, [ 'x', \"\\t\\101\\n\" ], ]\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
