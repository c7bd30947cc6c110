//! What UHCI and OHCI have alike: ports at full and low speed, which may be those of a master's, and frames that are walked
//! one by one as long as somebody may have something to say.

use super::bus::fastest;
use super::frames::Frames;
use super::socket::Socket;
use super::{Function, PlugError, RootHub, Speed, UsbDevice};

/// A controller of ports at full and low speed, which count from 0 here.
pub(super) trait FullSpeedHost: Send {
    /// The socket of a port.
    fn socket(&self, at: usize) -> Option<&Socket>;
    /// The frames that it walks.
    fn frames(&mut self) -> &mut Frames;
    /// Guest time.
    fn now(&self) -> u64;
    /// The frames that are due are walked.
    fn catch_up(&mut self);
    /// A device has come or gone.
    fn changed(&mut self, at: usize);
    /// A device has something to say. One that sleeps, and may, wakes the bus.
    fn hear(&mut self, at: usize);
    /// The interrupt and the timer as they are to be now.
    fn settle(&mut self);

    /// How many devices on a port have something to say.
    fn said(&self, at: usize) -> usize {
        let now = self.now();
        self.socket(at).and_then(|socket| socket.with(|function| function.said(now))).unwrap_or(0)
    }

    /// The host's side has news: what a device said no to before it may do now.
    fn call_devices(&mut self) {
        for socket in (0..).map_while(|at| self.socket(at)) {
            socket.with(|function| function.device().woken());
        }
        self.frames().hurry();
    }

    /// As a companion: what the master has given or taken meanwhile, and what the devices have to say.
    fn look(&mut self) {
        let mut at = 0;
        while let Some(socket) = self.socket(at) {
            let (changed, news) = socket.take_notes();
            if changed {
                self.changed(at);
            }
            if news && self.said(at) > 0 {
                self.hear(at);
            }
            if news {
                self.frames().hurry();
            }
            at += 1;
        }
    }
}

/// The port that a number from 1 means, from 0.
fn port(number: u8) -> Option<usize> {
    usize::from(number).checked_sub(1)
}

impl<C: FullSpeedHost> RootHub for C {
    fn ports(&self) -> u8 {
        (0..u8::MAX).take_while(|at| self.socket((*at).into()).is_some()).count() as u8
    }
    fn is_free(&self, number: u8) -> bool {
        port(number).and_then(|at| self.socket(at)).is_some_and(Socket::is_free)
    }

    fn plug(&mut self, number: u8, device: Box<dyn UsbDevice>) -> Result<(), PlugError> {
        self.catch_up();
        if fastest(&*device, |speed| speed <= Speed::Full).is_none() {
            return Err(PlugError::Speed(device.title()));
        }
        let now = self.now();
        let at = port(number).ok_or(PlugError::NotFound(number.into()))?;
        let socket = self.socket(at).filter(|socket| socket.is_free());
        socket.ok_or(PlugError::NotFound(number.into()))?.put(device, now);
        self.changed(at);
        self.settle();
        Ok(())
    }

    fn unplug(&mut self, number: u8) -> Option<Box<dyn UsbDevice>> {
        self.catch_up();
        let (at, now) = (port(number)?, self.now());
        let device = self.socket(at)?.take(now)?;
        self.changed(at);
        self.settle();
        Some(device)
    }

    /// What the device has to say then, the guest hears in the next frame, or is woken for.
    fn with(&mut self, number: u8, act: &mut dyn FnMut(&mut Function)) {
        self.catch_up();
        let Some(at) = port(number) else { return };
        let before = self.said(at);
        if let Some(socket) = self.socket(at) {
            socket.with(act);
        }
        if self.said(at) > before {
            self.hear(at);
        }
        self.settle();
    }
}
