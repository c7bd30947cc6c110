//! Which display is seen: the newest that the guest has set a mode on, as with keyboards and pointers; a VGA always has
//! one. QEMU's viewers change by hand, and begin at the first; here the monitor's clients name another.

use std::sync::{Arc, Mutex, PoisonError};

use devices_core::picture::{DirtyRows, DisplayAdapter, Frame};

/// A display adapter that was put in.
pub(super) struct Screen {
    /// The device's id; none: nobody gave it one.
    pub id: Option<String>,
    pub adapter: Arc<dyn DisplayAdapter>,
}

/// All of a machine, the first one first. There is one.
pub(super) struct Screens {
    all: Vec<Screen>,
    /// Which was looked at last.
    last: Mutex<usize>,
}

impl Screens {
    /// None: the machine has no display.
    pub(super) fn new(all: Vec<Screen>) -> Option<Arc<Screens>> {
        (!all.is_empty()).then(|| Arc::new(Screens { all, last: Mutex::default() }))
    }

    fn seen(&self) -> usize {
        self.all.iter().rposition(|screen| screen.adapter.is_active()).unwrap_or(0)
    }

    /// A head of the device of that id; none: it has none.
    pub(super) fn head(&self, id: &str, head: u32) -> Option<Box<dyn Frame>> {
        let of = |screen: &&Screen| screen.id.as_deref() == Some(id);
        self.all.iter().find(of)?.adapter.head(head)
    }
}

impl DisplayAdapter for Screens {
    fn frame(&self) -> Box<dyn Frame> {
        self.all[self.seen()].adapter.frame()
    }

    fn resizes(&self) -> bool {
        self.all[self.seen()].adapter.resizes()
    }

    fn resize(&self, size: (u32, u32)) {
        self.all[self.seen()].adapter.resize(size);
    }

    fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
        let seen = self.seen();
        let (frame, rows) = self.all[seen].adapter.look();
        let before = std::mem::replace(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner), seen);
        let rows = if before == seen { rows } else { (0..frame.size().1).into() };
        (frame, rows)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use devices_core::picture::Picture;

    use super::*;

    /// One that is so wide, and may be in use.
    struct Fake(u32, AtomicBool);

    impl DisplayAdapter for Fake {
        fn frame(&self) -> Box<dyn Frame> {
            Box::new(Picture::new(self.0, 5))
        }
        fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
            (self.frame(), DirtyRows::default())
        }
        fn is_active(&self) -> bool {
            self.1.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn the_newest_that_is_used_is_seen() {
        let fakes = [(1, true), (2, false), (3, false)].map(|(n, on)| Arc::new(Fake(n, on.into())));
        let screen = |fake: &Arc<Fake>| Screen { id: Some(format!("d{}", fake.0)), adapter: fake.clone() };
        let screens = Screens::new(fakes.iter().map(screen).collect()).unwrap();
        let seen = |at: usize, on: bool| {
            fakes[at].1.store(on, Ordering::Relaxed);
            let (frame, rows) = screens.look();
            assert_eq!(screens.frame().size(), frame.size());
            (frame.size().0, rows == (0..5).into())
        };
        assert_eq!(seen(0, true), (1, false));
        // Another is seen: all of it is new.
        assert_eq!([seen(2, true), seen(1, true)], [(3, true), (3, false)]);
        assert_eq!([seen(2, false), seen(1, false)], [(2, true), (1, true)]);
        assert_eq!(screens.head("d3", 0).map(|frame| frame.size().0), Some(3));
        assert!(screens.head("d3", 1).is_none() && screens.head("d4", 0).is_none());
        assert!(Screens::new(Vec::new()).is_none());
    }
}
