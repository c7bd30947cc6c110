//! Events: their names and what comes with them.

use serde_json::Value;

/// One kind of event.
#[derive(Debug, PartialEq, Eq)]
pub struct EventSpec {
    /// QMP's name.
    pub name: &'static str,
    /// What comes with it: members, in the form that [`schema`](super::schema) describes.
    pub(super) data: &'static str,
}

/// An event that has happened, and what comes with it.
pub type Event = (&'static EventSpec, Value);

/// Makes a constant of each event, and the list of them.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident $data:literal;)*) => {
        $($(#[$doc])* pub static $name: EventSpec = EventSpec { name: stringify!($name), data: $data };)*
        /// All events.
        pub(super) static EVENTS: &[&EventSpec] = &[$(&$name),*];
    };
}

/// Types that only events have.
pub(super) const TYPES: &str = "
enum ShutdownCause none host-error host-qmp-quit host-qmp-system-reset host-signal guest-shutdown guest-reset
  guest-panic
enum GuestPanicAction pause poweroff run
enum WatchdogAction reset shutdown poweroff pause debug none inject-nmi
enum IoOperationType read write
enum BlockErrorAction ignore report stop
";

events! {
    /// The vCPUs have been stopped.
    STOP "";
    /// They go on.
    RESUME "";
    /// The power button has been pressed.
    POWERDOWN "";
    /// The guest sleeps (ACPI S3).
    SUSPEND "";
    /// It has been woken.
    WAKEUP "";
    /// It has been reset.
    RESET "guest:bool reason:ShutdownCause";
    /// It, or the program, ends.
    SHUTDOWN "guest:bool reason:ShutdownCause";
    /// It says that it panicked, or has triple-faulted.
    GUEST_PANICKED "action:GuestPanicAction";
    /// It did not feed its watchdog in time.
    WATCHDOG "action:WatchdogAction";
    /// It says that its crash kernel runs.
    GUEST_CRASHLOADED "action:GuestPanicAction";
    /// Its memory balloon has another size.
    BALLOON_CHANGE "actual:int";
    /// It has set its clock.
    RTC_CHANGE "offset:int qom-path:str";
    /// It has let a device go, which is gone now.
    DEVICE_DELETED "?device:str path:str";
    /// The tray of a CD drive has opened or closed.
    DEVICE_TRAY_MOVED "device:str id:str tray-open:bool";
    /// The guest has opened or closed a port of a virtio console.
    VSERPORT_CHANGE "id:str open:bool";
    /// It has changed what a network card lets in, for the first time since query-rx-filter was asked.
    NIC_RX_FILTER_CHANGED "?name:str path:str";
    /// An image could not be read or written.
    BLOCK_IO_ERROR "device:str ?node-name:str operation:IoOperationType action:BlockErrorAction ?nospace:bool
      reason:str";
    /// The peer of a stream is there.
    NETDEV_STREAM_CONNECTED "netdev-id:str addr:SocketAddress";
    /// It is gone.
    NETDEV_STREAM_DISCONNECTED "netdev-id:str";
    /// How far a save is; ours.
    SAVE_PROGRESS "transferred:int total:int";
}
