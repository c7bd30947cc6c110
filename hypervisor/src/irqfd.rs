//! Interrupts that another process raises, through an eventfd.
//!
//! KVM's irqfd does it in the kernel. Elsewhere a thread waits for the eventfd and sends the message.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::{Error, MsiTarget};

/// Address and data of an interrupt message.
pub type Message = (u64, u32);

/// Each signal of an eventfd is an interrupt, until this is dropped. Signals that come faster than the thread looks
/// are one, as on KVM.
#[derive(Debug)]
pub struct IrqFd {
    message: Arc<Mutex<Option<Message>>>,
    stop: EventFd,
}

impl IrqFd {
    /// Begins to wait for `fd`, which does not block (`EFD_NONBLOCK`).
    ///
    /// # Errors
    /// The host has no thread or no file left.
    pub fn new(fd: EventFd, msi: Arc<dyn MsiTarget>, message: Option<Message>) -> Result<IrqFd, Error> {
        let host = |source| Error::Host { what: "cannot wait for another process's interrupts", source };
        let stop = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(host)?;
        let ours = stop.try_clone().map_err(host)?;
        let epoll = Epoll::new().map_err(host)?;
        for (fd, token) in [(&fd, 0), (&stop, 1)] {
            let event = EpollEvent::new(EventSet::IN, token);
            epoll.ctl(ControlOperation::Add, fd.as_raw_fd(), event).map_err(host)?;
        }
        let message = Arc::new(Mutex::new(message));
        let theirs = message.clone();
        let body = move || {
            serve(&epoll, &fd, &*msi, &theirs);
            // It was watched up to here.
            drop(stop);
        };
        std::thread::Builder::new().name("irqfd".into()).spawn(body).map_err(host)?;
        Ok(IrqFd { message, stop: ours })
    }

    /// What is sent from now on; none while the guest has masked it: signals that come meanwhile are lost, and it is
    /// the device that knows that one is pending.
    pub fn set_message(&self, message: Option<Message>) {
        *self.message.lock().unwrap_or_else(PoisonError::into_inner) = message;
    }
}

fn serve(epoll: &Epoll, fd: &EventFd, msi: &dyn MsiTarget, message: &Mutex<Option<Message>>) {
    let mut events = [EpollEvent::default(); 2];
    loop {
        let ready = match epoll.wait(-1, &mut events) {
            Ok(ready) => events.get(..ready).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if ready.iter().any(|event| event.data() == 1) {
            return;
        }
        // Somebody else may have taken it: then it is not ours.
        if fd.read().is_ok() {
            // Held while it is sent: after `set_message` nothing goes to where it went before.
            let message = message.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((address, data)) = *message {
                msi.signal(address, data);
            }
        }
    }
}

impl Drop for IrqFd {
    /// Nothing is sent any more when this returns. The thread is not waited for: who shares the eventfd could keep it.
    fn drop(&mut self) {
        self.set_message(None);
        // The only error is that it has been told.
        let _ = self.stop.write(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Heard(Mutex<Sender<Message>>);

    impl MsiTarget for Heard {
        fn signal(&self, address: u64, data: u32) {
            self.0.lock().unwrap().send((address, data)).unwrap();
        }
    }

    #[test]
    fn a_signal_is_an_interrupt() {
        let (sender, heard) = channel();
        let fd = EventFd::new(EFD_NONBLOCK).unwrap();
        let msi = Arc::new(Heard(Mutex::new(sender)));
        let irqfd = IrqFd::new(fd.try_clone().unwrap(), msi, Some((0xfee0_0000, 0x41))).unwrap();
        fd.write(1).unwrap();
        assert_eq!(heard.recv().unwrap(), (0xfee0_0000, 0x41));
        irqfd.set_message(Some((0xfee0_1000, 0x42)));
        fd.write(3).unwrap();
        assert_eq!(heard.recv().unwrap(), (0xfee0_1000, 0x42));
        drop(irqfd);
        fd.write(1).unwrap();
        assert!(heard.recv().is_err(), "the thread has ended, and with it the other end");
    }
}
