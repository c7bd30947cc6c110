//! Names and numbers of input devices (Virtio 1.3, 5.8), and those of evdev that they carry.

/// Numbers of queues (5.8.2).
pub mod queue {
    /// Events to the driver.
    pub const EVENT: u16 = 0;
    /// Events of the driver's: lights.
    pub const STATUS: u16 = 1;
}

/// Elements of a queue, as in QEMU.
pub const QUEUE_SIZE: u16 = 64;

/// Bytes of an event: type and code (16 bits each), value (32 bits).
pub const EVENT: usize = 8;

/// Where fields of the configuration are (5.8.4).
pub mod config {
    /// What is asked for.
    pub const SELECT: usize = 0;
    /// Which of it.
    pub const SUBSEL: usize = 1;
    /// Bytes of the answer.
    pub const SIZE: usize = 2;
    /// The answer.
    pub const ANSWER: usize = 8;
}

/// What can be asked for (5.8.4).
pub mod select {
    /// The device's name.
    pub const ID_NAME: u8 = 1;
    /// Its serial number.
    pub const ID_SERIAL: u8 = 2;
    /// Bus, vendor, product and version.
    pub const ID_DEVIDS: u8 = 3;
    /// A bit for each event of a type.
    pub const EV_BITS: u8 = 0x11;
    /// The range of an axis.
    pub const ABS_INFO: u8 = 0x12;
}

/// Types of events.
pub mod ev {
    /// The end of what belongs together.
    pub const SYN: u16 = 0;
    /// A key or a button.
    pub const KEY: u16 = 1;
    /// A movement.
    pub const REL: u16 = 2;
    /// A place.
    pub const ABS: u16 = 3;
    /// A light.
    pub const LED: u16 = 0x11;
    /// Keys repeat.
    pub const REP: u16 = 0x14;
}

/// Both kinds of axes.
pub mod axis {
    /// To the right.
    pub const X: u16 = 0;
    /// Down.
    pub const Y: u16 = 1;
    /// The wheel, of a movement, away from the person.
    pub const WHEEL: u16 = 8;
}

/// Buttons, in the order of the bits that say which are held.
pub const BUTTONS: [u16; 5] = [0x110, 0x111, 0x112, 0x113, 0x114];
/// The wheel as buttons: towards the person, and away.
pub const GEARS: [u16; 2] = [0x150, 0x151];

/// Lights: Num Lock, Caps Lock, Scroll Lock.
pub const LIGHTS: u16 = 3;

/// The end of an axis of a tablet.
pub const AXIS_MAX: u16 = 0x7fff;

/// Bus and vendor of QEMU's devices: a virtual one, and the vendor of its USB devices.
pub const IDS: (u16, u16) = (6, 0x0627);
