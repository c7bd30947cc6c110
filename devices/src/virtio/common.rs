//! What every transport keeps of a device: status, features and queues (Virtio 1.3, 2.1, 2.2, 3.1).

use devices_core::dma::Dma;
use devices_core::state::valid;
use devices_core::{Node, StateError};
use serde::{Deserialize, Serialize};

use super::queue::{Broken, Chain, Place, Queue, RingState, Taken};
use super::spec::{QUEUE_SIZE_MAX, feature, status};

/// A queue as its transport knows it.
struct Virtqueue {
    /// Most elements, as the device was made.
    most: u16,
    place: Place,
    /// None: it is not enabled.
    queue: Option<Queue>,
}

impl Virtqueue {
    fn new(most: u16) -> Virtqueue {
        assert!(most.is_power_of_two() && most <= QUEUE_SIZE_MAX, "a queue's size is a power of two");
        Virtqueue { most, place: Place { size: most, ..Place::default() }, queue: None }
    }

    fn reset(&mut self) {
        self.place = Place { size: self.most, ..Place::default() };
        self.queue = None;
    }
}

/// Status, features and queues of a device.
pub struct Common {
    dma: Dma,
    /// What the device can do.
    offered: u64,
    /// What the driver wants of it.
    accepted: u64,
    status: u8,
    /// Changes with the configuration.
    generation: u8,
    /// The driver has not been told of that.
    config_changed: bool,
    queues: Vec<Virtqueue>,
    /// Most elements of each, before the driver has accepted anything.
    sizes: Vec<u16>,
    /// What the driver did that none may, since the last reset.
    broken: Option<Broken>,
}

/// Saved form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommonState {
    accepted: u64,
    status: u8,
    generation: u8,
    broken: bool,
    queues: Vec<VirtqueueState>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct VirtqueueState {
    size: u16,
    descriptors: u64,
    driver: u64,
    device: u64,
    /// How far it has come; none: it is not enabled.
    #[serde(deserialize_with = "Option::deserialize")]
    ring: Option<RingState>,
    /// Requests that must be given back in their order; there are none unless that was agreed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    taken: Vec<Taken>,
}

impl Common {
    /// A device that was just made: with queues of at most so many elements each, in that memory.
    pub fn new(dma: Dma, offered: u64, queues: &[u16]) -> Common {
        Common {
            dma,
            offered,
            accepted: 0,
            status: 0,
            generation: 0,
            config_changed: false,
            queues: queues.iter().copied().map(Virtqueue::new).collect(),
            sizes: queues.to_vec(),
            broken: None,
        }
    }

    /// Guest memory as the device may use it.
    pub fn dma(&self) -> &Dma {
        &self.dma
    }

    /// What the device can do.
    pub fn offered(&self) -> u64 {
        self.offered
    }

    /// What the driver has accepted.
    pub fn features(&self) -> u64 {
        self.accepted
    }

    /// Whether the driver has accepted that.
    pub fn has(&self, feature: u64) -> bool {
        self.accepted & feature == feature
    }

    /// Device status, as the driver reads it.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// How often the configuration has changed, modulo 256.
    pub fn generation(&self) -> u8 {
        self.generation
    }

    /// Number of queues.
    pub fn queues(&self) -> u16 {
        self.queues.len() as u16
    }

    /// Whether the driver may notify: it is set up. A legacy driver may before (Virtio 1.3, 3.1.2).
    pub fn is_running(&self) -> bool {
        let set_up = self.status & status::DRIVER_OK != 0 || !self.has(feature::VERSION_1);
        set_up && self.broken.is_none() && self.dma.enabled()
    }

    /// Whether the driver has said that it is set up.
    pub fn is_set_up(&self) -> bool {
        self.status & status::DRIVER_OK != 0
    }

    /// The driver accepts features, and not all that it asks for are there: those that are not offered are not taken. False:
    /// it is too late.
    pub fn accept(&mut self, features: u64) -> bool {
        // What is negotiated stays until a reset (2.2.2). Legacy drivers have no such moment but DRIVER_OK.
        if self.status & (status::FEATURES_OK | status::DRIVER_OK) != 0 {
            return false;
        }
        self.accepted = features & self.offered;
        let features = self.accepted;
        self.queues
            .iter_mut()
            .filter_map(|queue| queue.queue.as_mut())
            .for_each(|q| q.set_features(features));
        true
    }

    /// The driver writes the status, not 0. Says whether it has just become ready.
    pub fn set_status(&mut self, value: u8) -> bool {
        let mut value = value | self.status & status::NEEDS_RESET;
        // A modern driver that accepted no VERSION_1 is none, and packed queues are for modern drivers (2.2.3).
        let sound = self.has(feature::VERSION_1) || !self.has(feature::RING_PACKED);
        if value & status::FEATURES_OK != 0 && self.status & status::FEATURES_OK == 0 && !sound {
            value &= !status::FEATURES_OK;
        }
        let ready = value & status::DRIVER_OK != 0 && self.status & status::DRIVER_OK == 0;
        self.status = value;
        ready
    }

    /// As after power-on: no status, no features, no queues.
    pub fn reset(&mut self) {
        (self.accepted, self.status, self.generation) = (0, 0, 0);
        (self.config_changed, self.broken) = (false, None);
        self.queues.iter_mut().for_each(Virtqueue::reset);
        self.set_queues(&self.sizes.clone());
    }

    /// Queues that would go, or be others, if there were those of such sizes.
    pub fn queues_other_than(&self, sizes: &[u16]) -> Vec<u16> {
        let differs = |queue: &u16| sizes.get(usize::from(*queue)) != Some(&self.size_max(*queue));
        (0..self.queues()).filter(differs).collect()
    }

    /// From now on there are these queues, of so many elements at most. Those that stay are as they were.
    pub fn set_queues(&mut self, sizes: &[u16]) {
        self.queues.truncate(sizes.len());
        for (number, most) in sizes.iter().copied().enumerate() {
            match self.queues.get_mut(number) {
                Some(queue) if queue.most == most => {}
                Some(queue) => *queue = Virtqueue::new(most),
                None => self.queues.push(Virtqueue::new(most)),
            }
        }
    }

    /// Where the driver has put a queue; none: there is no such queue.
    pub fn place(&self, queue: u16) -> Option<Place> {
        self.queues.get(usize::from(queue)).map(|queue| queue.place)
    }

    /// Most elements of a queue, 0 where there is none.
    pub fn size_max(&self, queue: u16) -> u16 {
        self.queues.get(usize::from(queue)).map_or(0, |queue| queue.most)
    }

    /// The driver changes the place of a queue, which it may while it is not enabled.
    pub fn set_place(&mut self, queue: u16, change: impl FnOnce(&mut Place)) {
        if let Some(queue) = self.queues.get_mut(usize::from(queue)).filter(|queue| queue.queue.is_none()) {
            let most = queue.most;
            change(&mut queue.place);
            if queue.place.size > most {
                queue.place.size = most;
            }
        }
    }

    /// Whether a queue is enabled.
    pub fn is_enabled(&self, queue: u16) -> bool {
        self.queues.get(usize::from(queue)).is_some_and(|queue| queue.queue.is_some())
    }

    /// The driver has set up a queue and enables it.
    pub fn enable(&mut self, queue: u16) {
        let features = self.accepted;
        let Some(found) = self.queues.get_mut(usize::from(queue)).filter(|queue| queue.queue.is_none())
        else {
            return;
        };
        match Queue::new(found.place, features) {
            Ok(queue) => found.queue = Some(queue),
            Err(broken) => self.fail(broken),
        }
    }

    /// The queue is as after a reset of the device.
    pub fn reset_queue(&mut self, queue: u16) {
        self.queues.get_mut(usize::from(queue)).into_iter().for_each(Virtqueue::reset);
    }

    /// The driver did what none may: nothing goes on until it resets the device.
    pub fn fail(&mut self, broken: Broken) {
        if self.broken.is_none() {
            tracing::debug!("a virtio driver's fault: {broken}");
            self.broken = Some(broken);
            // A legacy driver knows no such bit.
            if self.has(feature::VERSION_1) {
                self.status |= status::NEEDS_RESET;
                self.config_changed = self.status & status::DRIVER_OK != 0;
            }
        }
    }

    /// The configuration is another now: the driver is told.
    pub fn change_config(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.config_changed |= self.status & status::DRIVER_OK != 0;
    }

    /// Whether the driver is to be told of that, once.
    pub fn take_config_change(&mut self) -> bool {
        std::mem::take(&mut self.config_changed)
    }

    /// Does something with a queue that runs. None: it does not, or it is broken now.
    fn with<T>(&mut self, queue: u16, run: impl FnOnce(&mut Queue, &Dma) -> Result<T, Broken>) -> Option<T> {
        if !self.is_running() {
            return None;
        }
        let found = self.queues.get_mut(usize::from(queue))?.queue.as_mut()?;
        match run(found, &self.dma) {
            Ok(value) => Some(value),
            // The driver has just taken the bus away.
            Err(_) if !self.dma.enabled() => None,
            Err(broken) => {
                self.fail(broken);
                None
            }
        }
    }

    /// The next request of a queue. False: there is none, or the queue does not run.
    pub fn pop(&mut self, queue: u16, chain: &mut Chain) -> bool {
        self.with(queue, |queue, dma| queue.pop(dma, chain)).unwrap_or(false)
    }

    /// Gives a request back, `written` bytes of which were written. The driver hears of it when the device's call ends.
    pub fn push(&mut self, queue: u16, chain: &Chain, written: u32) {
        self.with(queue, |queue, dma| queue.push(dma, chain, written));
    }

    /// Gives back several, which belong together: the driver sees all of them or none.
    pub fn push_all(&mut self, queue: u16, all: &[(Chain, u32)]) {
        self.with(queue, |queue, dma| queue.push_all(dma, all));
    }

    /// The driver need not notify of requests in that queue.
    pub fn disable_notification(&mut self, queue: u16) {
        self.with(queue, |queue, dma| queue.disable_notification(dma));
    }

    /// The driver is to notify of the next request. True: there is one already.
    pub fn enable_notification(&mut self, queue: u16) -> bool {
        self.with(queue, |queue, dma| queue.enable_notification(dma)).unwrap_or(false)
    }

    /// Whether the driver wants an interrupt for what was given back.
    pub fn take_interrupt(&mut self, queue: u16) -> bool {
        self.with(queue, |queue, dma| queue.wants_interrupt(dma)).unwrap_or(false)
    }

    /// For the saved state.
    pub fn save(&self) -> CommonState {
        let Common {
            dma: _,
            offered: _,
            accepted,
            status,
            generation,
            config_changed: _,
            queues,
            sizes: _,
            broken,
        } = self;
        let queue = |queue: &Virtqueue| {
            let Virtqueue { most: _, place: Place { size, descriptors, driver, device }, queue } = queue;
            let ring = queue.as_ref().map(Queue::save);
            let taken = queue.as_ref().map_or_else(Vec::new, Queue::taken);
            VirtqueueState {
                size: *size,
                descriptors: *descriptors,
                driver: *driver,
                device: *device,
                ring,
                taken,
            }
        };
        CommonState {
            accepted: *accepted,
            status: *status,
            generation: *generation,
            broken: broken.is_some(),
            queues: queues.iter().map(queue).collect(),
        }
    }

    /// Takes over a saved state of the same device, which has queues of these sizes with such features.
    pub fn load(
        &mut self,
        state: CommonState,
        sizes: impl FnOnce(u64) -> Vec<u16>,
    ) -> Result<(), StateError> {
        let CommonState { accepted, status, generation, broken, queues } = state;
        valid(accepted & !self.offered == 0, "the driver has features that the device lacks")?;
        self.reset();
        if queues.len() != self.queues.len() {
            // The driver has said that it has no use for the others.
            self.set_queues(&sizes(accepted));
        }
        valid(queues.len() == self.queues.len(), "the device has another number of queues")?;
        (self.accepted, self.status, self.generation) = (accepted, status, generation);
        self.broken = broken.then_some(Broken("before it was saved"));
        for (to, from) in self.queues.iter_mut().zip(queues) {
            let VirtqueueState { size, descriptors, driver, device, ring, taken } = from;
            valid(size <= to.most, "a queue is larger than the device has it")?;
            to.place = Place { size, descriptors, driver, device };
            let queue = ring.map(|ring| Queue::load(to.place, accepted, ring, taken)).transpose();
            to.queue = queue.map_err(|broken| StateError::Invalid(broken.to_string()))?;
        }
        Ok(())
    }

    /// Whether a chain can be one of a queue, when it is loaded.
    pub fn could_be_of(&self, queue: u16, chain: &Chain) -> bool {
        self.is_enabled(queue) && chain.fits(self.place(queue).unwrap_or_default().size)
    }

    /// For people.
    pub fn inspect(&self, node: &mut Node) {
        node.hex("offered", self.offered).hex("accepted", self.accepted).hex("status", self.status);
        if let Some(broken) = self.broken {
            node.value("broken", broken);
        }
        for (number, queue) in self.queues.iter().enumerate() {
            let Virtqueue { most, place, queue } = queue;
            let child = node.child(&format!("queue {number}"));
            child.value("size", format_args!("{} of {most}", place.size));
            if let Some(queue) = queue {
                child.value("ring", queue.progress()).hex("descriptors", place.descriptors);
                child.hex("driver", place.driver).hex("device", place.device);
            }
        }
    }
}
