//! What a thread does, for whoever confines the process: a thread that serves a disk or a viewer needs few of the
//! host's calls, and can give up the rest once it is at its work.

use std::cell::Cell;
use std::sync::OnceLock;

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs a vCPU or its timers, and answers its accesses. It starts no thread.
    Vcpu,
    /// Reads and writes disk images that are open. It starts others of its kind.
    Disk,
    /// Talks to those who look at the screen.
    Viewer,
    /// Talks to browsers, and to the monitor for them.
    Web,
    /// Moves the bytes of a serial line.
    Chardev,
    /// Moves frames of a network, and connects where the guest does.
    Network,
    /// Moves frames between a network card and sockets or an interface that are open.
    Frames,
    /// Talks to the process that serves a virtio device, and connects to it anew.
    Queues,
    /// Moves the bytes of a guest's sockets, and connects to Unix sockets where the guest does.
    Sockets,
}

static NARROW: OnceLock<fn(Role)> = OnceLock::new();

thread_local! {
    static NARROWED: Cell<bool> = const { Cell::new(false) };
}

/// From now on each thread that says what it does is handed to `narrow`, on itself and once.
pub fn confine(narrow: fn(Role)) {
    // Who was first has confined the process already.
    let _ = NARROW.set(narrow);
}

/// The calling thread does this and nothing else, now and later. Said before each piece of work, since the process
/// may be confined at any time.
pub fn at(kind: Role) {
    let Some(narrow) = NARROW.get() else { return };
    if !NARROWED.replace(true) {
        narrow(kind);
    }
}

/// What a thread hands to one that it starts, which has given up what its maker has.
#[derive(Clone, Copy, Debug)]
pub struct Inherited(bool);

/// For a thread that the calling one starts.
pub fn inherited() -> Inherited {
    Inherited(NARROWED.get())
}

impl Inherited {
    /// Said by the new thread.
    pub fn take(self) {
        NARROWED.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static SEEN: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn each_thread_is_narrowed_once_and_not_those_that_it_starts() {
        at(Role::Disk);
        confine(|_| {
            SEEN.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(SEEN.load(Ordering::Relaxed), 0, "nothing is confined yet");
        std::thread::spawn(|| {
            at(Role::Disk);
            at(Role::Disk);
            let inherited = inherited();
            let child = std::thread::spawn(move || {
                inherited.take();
                at(Role::Disk);
            });
            child.join().unwrap();
        })
        .join()
        .unwrap();
        assert_eq!(SEEN.load(Ordering::Relaxed), 1);
    }
}
