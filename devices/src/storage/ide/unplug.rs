//! Hard disks taken away for good while the guest runs, as PV drivers ask for it.

use std::sync::Arc;

use devices_core::Waker;
use devices_core::block::{BlockBackend, BlockOp, BlockRequest, CompletionQueue, Payload};

use super::Ide;
use super::channel::Channel;
use super::drive::{Drive, Kind};
use super::labels::Labels;

/// The medium of a disk that was unplugged, on its way out. To be dropped once it is
/// [`settled`](Unplugged::settled).
pub struct Unplugged {
    backend: Arc<dyn BlockBackend>,
    answers: CompletionQueue,
    asked: bool,
    settled: bool,
}

impl Unplugged {
    fn new(backend: Arc<dyn BlockBackend>) -> Unplugged {
        let answers = CompletionQueue::new(Waker::default(), 0);
        Unplugged { backend, answers, asked: false, settled: false }
    }

    /// Whether all that was written is safe on the host, and nothing more comes. To be asked repeatedly:
    /// waits for the requests in flight, then has the medium flushed. Never blocks. A flush that fails
    /// counts as settled: there is nobody left to tell.
    pub fn settled(&mut self) -> bool {
        if !self.asked && self.backend.idle() {
            let done = self.answers.clone();
            let flush =
                BlockRequest { token: 0, op: BlockOp::Flush, offset: 0, payload: Payload::None, done };
            self.asked = self.backend.submit(flush).is_ok();
        }
        if let Some(answer) = self.answers.pop() {
            if let Err(error) = answer.result {
                tracing::warn!("an unplugged disk was not flushed: {error}");
            }
            self.settled = true;
        }
        self.settled
    }
}

impl Ide {
    /// Unplugs all hard disks, or all but the primary master; CD drives stay. The guest finds nobody there
    /// any more, also after a reset and after a load. The caller waits for each medium to settle, and drops
    /// it.
    pub fn unplug_disks(&mut self, keep_primary_master: bool) -> Vec<Unplugged> {
        let [primary, secondary] = &mut self.channels;
        let mut media = primary.unplug_disks(usize::from(keep_primary_master));
        media.extend(secondary.unplug_disks(0));
        media
    }
}

impl Channel {
    /// Unplugs the disks from drive `first` on.
    fn unplug_disks(&mut self, first: usize) -> Vec<Unplugged> {
        let mut media = Vec::new();
        for drive in self.drives.iter_mut().skip(first) {
            let Some(backend) = drive.disk().map(|disk| disk.backend.clone()) else { continue };
            if drive.works_by_dma() {
                self.host.bm.finish(false);
            }
            drive.unplug();
            media.push(Unplugged::new(backend));
        }
        if self.vacant() {
            // Nobody is left whose status could be read to end it.
            self.host.irq.set(false);
        }
        media
    }
}

impl Drive {
    /// Nobody is there any more. A late answer will not be known.
    pub(super) fn unplug(&mut self) {
        let device = self.task.device;
        // What is in flight is over when its medium has settled.
        self.halt();
        self.kind = Kind::Absent;
        self.labels = Labels::default();
        self.mode = None;
        self.reset();
        self.task.device = device;
        self.unplugged = true;
    }
}
