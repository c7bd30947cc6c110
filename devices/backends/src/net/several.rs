//! A back end that has several queues, each with a thread of its own.

use std::sync::Arc;

use devices_core::net::{NetBackend, Offload, Offloads};

use super::Netdev;
use super::queues::Threaded;

/// All of its queues, of which the first is always used; at least one.
pub(super) struct Several(Vec<Arc<Threaded>>);

impl Several {
    /// Of these, the card uses the first now.
    pub(super) fn of(queues: Vec<Arc<Threaded>>) -> Arc<dyn Netdev> {
        assert!(!queues.is_empty(), "there is a queue");
        let several = Several(queues);
        several.set_queues(1);
        Arc::new(several)
    }

    fn queue(&self, number: u16) -> &Threaded {
        self.0.get(usize::from(number)).unwrap_or(&self.0[0])
    }
}

impl NetBackend for Several {
    fn send(&self, frame: &[u8]) -> bool {
        self.0[0].send(frame)
    }
    fn receive(&self, frame: &mut Vec<u8>) -> bool {
        self.0[0].receive(frame)
    }
    fn offloads(&self) -> Offloads {
        self.0[0].offloads()
    }
    fn set_offloads(&self, allowed: Offloads) {
        self.0.iter().for_each(|queue| queue.set_offloads(allowed));
    }
    fn send_with(&self, frame: &[u8], left: Offload) -> bool {
        self.0[0].send_with(frame, left)
    }
    fn receive_with(&self, frame: &mut Vec<u8>) -> Option<Offload> {
        self.0[0].receive_with(frame)
    }
    fn queues(&self) -> u16 {
        self.0.len() as u16
    }
    fn set_queues(&self, in_use: u16) {
        for (number, queue) in self.0.iter().enumerate() {
            queue.between().set_used(number == 0 || number < in_use.into());
        }
    }
    fn send_by(&self, queue: u16, frame: &[u8], left: Offload) -> bool {
        self.queue(queue).send_with(frame, left)
    }
    fn receive_by(&self, queue: u16, frame: &mut Vec<u8>) -> Option<Offload> {
        self.0.get(usize::from(queue))?.receive_with(frame)
    }
}

impl Netdev for Several {
    fn info(&self) -> String {
        self.0[0].info()
    }
}
