//! Tap interfaces of the host's kernel (Linux `include/uapi/linux/if_tun.h`).
//!
//! An interface is taken by three requests to `/dev/net/tun` that no crate offers safely without bringing routes and
//! name services along. `unsafe` is left to this folder, hence the file's place; nothing here knows a hypervisor.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

/// Bytes of an interface's name, with the zero behind it.
const NAME: usize = libc::IFNAMSIZ;
/// Bytes of `struct virtio_net_hdr` without a count of buffers, which every tap interface can have.
pub const HEADER: usize = 10;

/// `struct ifreq`, as these requests use it: 16 bytes of name and 24 of what is asked.
#[repr(C, align(8))]
#[derive(Default)]
struct Request {
    name: [u8; NAME],
    flags: [u8; 2],
    rest: [u8; 22],
}

/// How an interface is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// It has several queues.
    pub several: bool,
    /// Each frame has a [header](HEADER) before it.
    pub header: bool,
}

/// A queue of a tap interface, which never blocks.
#[derive(Debug)]
pub struct Tap {
    file: OwnedFd,
    name: String,
    header: bool,
}

/// A request whose argument is a structure or number that the kernel reads, and may write.
fn request<T>(file: &OwnedFd, number: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: the requests of this file (TUNSETIFF, TUNGETIFF, TUNSETQUEUE: 40 bytes, `Request`'s; the others: an int) read and write
    // no more than the argument's size, which lives until the call returns, and keep no pointer to it. `file` is open. A
    // file that is no tap interface answers with an error, or knows the number as another request of its own, none of
    // which takes a larger argument: the size is part of the number.
    match unsafe { libc::ioctl(file.as_raw_fd(), number, std::ptr::from_mut(argument)) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

impl Tap {
    /// Takes the interface of that name, or makes one; an empty name, or one with `%d`, lets the kernel choose. An
    /// interface with several queues gives one to each call.
    pub fn open(name: &str, shape: Shape) -> io::Result<Tap> {
        let mut asked = Request::default();
        if name.len() >= NAME || name.contains('\0') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is too long for an interface"));
        }
        asked.name[..name.len()].copy_from_slice(name.as_bytes());
        let mut flags = libc::IFF_TAP | libc::IFF_NO_PI;
        if shape.several {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        if shape.header {
            flags |= libc::IFF_VNET_HDR;
        }
        // The constants fit the field, which is where the kernel has them.
        asked.flags = (flags as u16).to_ne_bytes();
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open("/dev/net/tun")?.into();
        request(&file, libc::TUNSETIFF, &mut asked)?;
        Ok(Tap { file, name: asked.name(), header: shape.header })
    }

    /// A queue that somebody else has opened. One with headers is asked for whole frames, and headers of [`HEADER`]
    /// bytes.
    pub fn of(file: OwnedFd) -> io::Result<Tap> {
        let mut asked = Request::default();
        request(&file, libc::TUNGETIFF, &mut asked)?;
        let flags = i32::from(u16::from_ne_bytes(asked.flags));
        if flags & libc::IFF_TAP == 0 || flags & libc::IFF_NO_PI == 0 {
            let what = "it is an interface without Ethernet's headers, or with a header of its own";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        // Its size can be set whether it is there or not: the flag alone tells.
        let header = flags & libc::IFF_VNET_HDR != 0;
        let tap = Tap { file, name: asked.name(), header };
        if header {
            request(&tap.file, libc::TUNSETVNETHDRSZ, &mut (HEADER as libc::c_int))?;
            tap.set_offload(0)?;
        }
        Ok(tap)
    }

    /// Takes this queue of several out of use, or into use again: the kernel gives it no frames meanwhile, and takes none.
    pub fn attach(&self, on: bool) -> io::Result<()> {
        let flags = if on { libc::IFF_ATTACH_QUEUE } else { libc::IFF_DETACH_QUEUE };
        let flags = (flags as u16).to_ne_bytes();
        request(&self.file, libc::TUNSETQUEUE, &mut Request { flags, ..Request::default() })
    }

    /// What the kernel may leave to be done to the frames that it gives, by its header (`TUN_F_CSUM` and others).
    pub fn set_offload(&self, flags: u32) -> io::Result<()> {
        // The number itself, not a pointer to it, is the argument of this one.
        // SAFETY: TUNSETOFFLOAD takes a number and touches no memory of ours; the file is open.
        match unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// How many bytes of frames may wait in the kernel before writing says that there is no room.
    pub fn set_send_buffer(&self, bytes: i32) -> io::Result<()> {
        request(&self.file, libc::TUNSETSNDBUF, &mut { bytes })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether each frame has a header before it.
    pub fn has_header(&self) -> bool {
        self.header
    }

    /// The queue, to be read and written frame by frame.
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }
}

impl Request {
    fn name(&self) -> String {
        let len = self.name.iter().position(|byte| *byte == 0).unwrap_or(NAME);
        String::from_utf8_lossy(&self.name[..len]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_tap_interface_is_refused() {
        assert_eq!(size_of::<Request>(), size_of::<libc::ifreq>());
        let file = || std::fs::File::open("/dev/null").unwrap().into();
        assert_eq!(Tap::of(file()).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Tap::of(socket.into()).is_err());
        assert!(Tap::open("a-name-of-sixteen", Shape::default()).is_err());
    }
}
