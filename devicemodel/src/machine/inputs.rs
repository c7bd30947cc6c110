//! Who hears what is pressed and pointed at: the newest device of the kind that the guest listens to, as in QEMU, or the
//! PC's own keyboard and mouse.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use devices::input::i8042::I8042;
use devices::input::keys::Key;
use devices::input::{InputSink, Motion, Pointer, Role};
use devices_core::DeviceCell;

use crate::monitor::info::MouseInfo;

type Sink = Arc<DeviceCell<dyn InputSink>>;

/// Keyboards and pointers.
#[derive(Clone)]
pub struct Inputs {
    ps2: Arc<DeviceCell<I8042>>,
    others: Others,
}

/// Those beside the PC's own. Whoever is off the bus is gone from here.
#[derive(Clone, Default)]
pub(super) struct Others(Arc<Mutex<Vec<Other>>>);

struct Other {
    /// In QEMU's list.
    number: u32,
    sink: Weak<DeviceCell<dyn InputSink>>,
}

impl Others {
    fn all(&self) -> MutexGuard<'_, Vec<Other>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.sink.strong_count() > 0);
        all
    }

    pub(super) fn add(&self, sink: &Sink) {
        let mut all = self.all();
        let number = all.last().map_or(MouseInfo::PS2.index, |other| other.number).saturating_add(1);
        all.push(Other { number, sink: Arc::downgrade(sink) });
    }

    /// The newest first.
    fn newest_first(&self) -> Vec<(u32, Sink)> {
        let all = self.all();
        all.iter().rev().filter_map(|other| Some((other.number, other.sink.upgrade()?))).collect()
    }

    /// The newest of these kinds that the guest listens to.
    fn active(&self, roles: &[Role]) -> Option<(u32, Sink)> {
        self.newest_first().into_iter().find(|(_, sink)| {
            let sink = sink.lock();
            roles.contains(&sink.role()) && sink.is_active()
        })
    }

    /// The pointer that buttons belong to.
    fn pointer(&self) -> Option<(u32, Sink)> {
        self.active(&[Role::Mouse, Role::Tablet])
    }
}

impl Inputs {
    pub(super) fn new(ps2: Arc<DeviceCell<I8042>>, others: Others) -> Inputs {
        Inputs { ps2, others }
    }

    /// A key goes down or up.
    pub(crate) fn key(&self, key: Key, down: bool) {
        match self.others.active(&[Role::Keyboard]) {
            Some((_, keyboard)) => keyboard.lock().key(key, down),
            None => self.ps2.lock().key(key, down),
        }
    }

    /// Lights of the keyboard that hears of keys: bit 0 scroll, 1 num, 2 caps lock.
    pub(crate) fn lights(&self) -> u8 {
        match self.others.active(&[Role::Keyboard]) {
            Some((_, keyboard)) => keyboard.lock().lights(),
            None => self.ps2.lock().leds(),
        }
    }

    /// A pointer moves by so much; without a movement, buttons and wheel are those of the pointer that is used.
    pub(crate) fn mouse(&self, dx: i32, dy: i32, wheel: i32, buttons: u8) {
        let used = self.others.pointer();
        let found = match (dx, dy) {
            (0, 0) => used.clone(),
            _ => self.others.active(&[Role::Mouse]),
        };
        // Buttons that are held on another pointer are not this one's.
        let number = |pointer: &Option<(u32, Sink)>| pointer.as_ref().map(|(number, _)| *number);
        let buttons = if number(&found) == number(&used) { buttons } else { 0 };
        match found {
            Some((_, mouse)) => {
                mouse.lock().point(Pointer { motion: Motion::By { dx, dy }, wheel, buttons });
            }
            None => self.ps2.lock().mouse(dx, dy, wheel, buttons),
        }
    }

    /// A tablet is at that place.
    pub(crate) fn tablet(&self, x: Option<u16>, y: Option<u16>, wheel: i32, buttons: u8) {
        if let Some((_, tablet)) = self.others.active(&[Role::Tablet]) {
            tablet.lock().point(Pointer { motion: Motion::To { x, y }, wheel, buttons });
        }
    }

    /// Whether the pointer that is used takes places.
    pub(crate) fn is_absolute(&self) -> bool {
        self.others.pointer().is_some_and(|(_, pointer)| pointer.lock().role() == Role::Tablet)
    }

    /// For `query-mice`: the one that is used first.
    pub(crate) fn mice(&self) -> Vec<MouseInfo> {
        let used = self.others.pointer().map_or(MouseInfo::PS2.index, |(number, _)| number);
        let others = self.others.newest_first().into_iter().filter_map(|(index, sink)| {
            let sink = sink.lock();
            let absolute = sink.role() == Role::Tablet;
            let mouse = MouseInfo { name: sink.title(), index, current: false, absolute };
            (sink.role() != Role::Keyboard).then_some(mouse)
        });
        let mut all: Vec<MouseInfo> = others.chain([MouseInfo::PS2]).collect();
        all.iter_mut().for_each(|mouse| mouse.current = mouse.index == used);
        all.sort_by_key(|mouse| !mouse.current);
        all
    }
}
