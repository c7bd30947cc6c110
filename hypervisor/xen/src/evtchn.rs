//! `/dev/xen/evtchn`: event channels (Linux `drivers/xen/evtchn.c`).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};
use zerocopy::IntoBytes;

use crate::abi::{BindInterdomain, evtchn};
use crate::kernel::Events;
use crate::pages::ioctl;
use crate::privcmd::open_device;

/// Event channels of one file.
pub struct EventChannels {
    file: File,
    wake: EventFd,
}

impl EventChannels {
    /// A new set. The error names the file.
    pub fn open() -> io::Result<EventChannels> {
        let file = open_device("/dev/xen/evtchn", libc::O_NONBLOCK)?;
        Ok(EventChannels { file, wake: EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)? })
    }

    fn call<T>(&self, request: u64, mut arg: T) -> io::Result<i32> {
        // SAFETY: the callers below pass the structure that the request takes; the kernel keeps no pointer.
        unsafe { ioctl(self.file.as_raw_fd(), request, &mut arg) }
    }
}

impl AsFd for EventChannels {
    /// Readable when a port has an event. Not to be read from.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Events for EventChannels {
    fn bind(&self, domid: u16, remote_port: u32) -> io::Result<u32> {
        let arg = BindInterdomain { domain: domid.into(), port: remote_port };
        self.call(evtchn::BIND_INTERDOMAIN, arg).map(|port| port as u32)
    }

    fn unbind(&self, port: u32) -> io::Result<()> {
        self.call(evtchn::UNBIND, port).map(|_| ())
    }

    fn notify(&self, port: u32) -> io::Result<()> {
        self.call(evtchn::NOTIFY, port).map(|_| ())
    }

    fn wait(&self, ports: &mut [u32], block: bool) -> io::Result<usize> {
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut polled = [entry(self.file.as_raw_fd()), entry(self.wake.as_raw_fd())];
        // SAFETY: the array is ours and as long as is said.
        let ready = unsafe { libc::poll(polled.as_mut_ptr(), 2, if block { -1 } else { 0 }) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) };
        }
        if polled[1].revents != 0 {
            // It may have been taken already; what counts is that it is empty now.
            let _ = self.wake.read();
        }
        if polled[0].revents == 0 {
            return Ok(0);
        }
        match (&self.file).read(ports.as_mut_bytes()) {
            Ok(bytes) => Ok(bytes / size_of::<u32>()),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn unmask(&self, ports: &[u32]) -> io::Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        (&self.file).write(ports.as_bytes()).map(|_| ())
    }

    fn wake(&self) {
        // It fails only when as many as fit are there already.
        let _ = self.wake.write(1);
    }

    fn restrict(&self, domid: u16) -> io::Result<()> {
        self.call(evtchn::RESTRICT_DOMID, domid).map(|_| ())
    }
}
