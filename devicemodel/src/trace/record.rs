//! What a recording consists of: what reached the devices, and what they did.

use std::fmt;

use devices_core::Wake;
use devices_core::block::{BlockError, BlockOp, Segment};
use devices_core::power::PowerEvent;
use hypervisor::Pin;
use ioreq::Request;
use serde::{Deserialize, Serialize};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Something reached the devices, at that instant of guest time.
    Entry(u64, Entry),
    /// What the devices did then, in order.
    Effect(Effect),
}

/// What reaches the devices from outside. Between two entries nothing in them changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A vCPU's access.
    Request(Request),
    /// A vCPU asks the 8259 pair for its vector.
    Acknowledge {
        /// Which vCPU.
        vcpu: u32,
    },
    /// A local APIC ends a level-triggered interrupt.
    EndOfInterrupt {
        /// Which vCPU's.
        vcpu: u32,
        /// Its vector.
        vector: u8,
    },
    /// A timer fired, or a host side has news.
    Wake {
        /// Number of the device, in order of attachment.
        device: u32,
        /// Why.
        why: Wake,
    },
    /// A medium answers.
    Completion {
        /// Number of the medium.
        medium: u32,
        /// Number of the request to that medium.
        request: u64,
        /// Whether it was done.
        result: Result<(), BlockError>,
        /// What was read into the controller's own buffer.
        data: Vec<u8>,
    },
    /// A person, the monitor or the event loop.
    Host(HostEvent),
}

/// What comes from the host's side and is no answer to a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostEvent {
    /// A key by its name (QKeyCode), pressed or released.
    Key(String, bool),
    /// The mouse: how far in x, y and by the wheel, and its buttons.
    Mouse(i32, i32, i32, u8),
    /// A tablet: its place in x and y as far as that changes, the wheel, and its buttons.
    Tablet(Option<u16>, Option<u16>, i32, u8),
    /// The power button.
    PowerButton,
    /// A vCPU appears.
    PlugCpu(u8),
    /// The guest wakes from suspend to RAM.
    WakeUp,
    /// Power-on state of every device.
    Reset,
    /// Devices go on after a save.
    Resume,
    /// The cable of a network card, by its device's name, is put in or pulled out.
    Link(String, bool),
    /// A memory balloon, by its device's name, is to leave the guest so many bytes.
    Balloon(String, u64),
    /// It is to ask for statistics every so many seconds.
    BalloonPolling(String, u32),
    /// The tray of a CD drive is opened: which, by force.
    OpenTray(usize, bool),
    /// It is closed.
    CloseTray(usize),
    /// Another medium lies in an open tray, or none.
    Place(usize, Option<MediumInfo>),
    /// The monitor that is seen has another size, in pixels.
    Resize(u32, u32),
}

/// What is known of a medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediumInfo {
    /// Bytes.
    pub size: u64,
    /// Writes are refused.
    pub read_only: bool,
    /// Bytes that the host writes at once.
    pub physical_block: u32,
    /// Whether a discard gives space back.
    pub discard: bool,
    /// The first sector of a disk, from which the BIOS guesses its geometry.
    #[serde(with = "serde_bytes")]
    pub first_sector: Vec<u8>,
}

/// What devices do. Some are questions to the host, whose answers are part of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The answer to an access or an acknowledge.
    Answer(u64),
    /// An interrupt pin.
    Pin(Pin, bool),
    /// A PCI link leads to that ISA interrupt.
    Route(u8, Option<u8>),
    /// A message-signalled interrupt: address and data.
    Message(u64, u32),
    /// Guest memory is read: where, whether it is all there, and what was found.
    Read(u64, bool, Vec<u8>),
    /// Guest memory is written: where, whether it is all there, how many bytes and their CRC-32.
    Write(u64, bool, u64, u32),
    /// A medium gets a request.
    Submit(Submit),
    /// A request is taken back from a medium: the medium, the request, whether also one that was not begun,
    /// and the answer that came: its result and what was read.
    Recall(u32, u64, bool, Option<(Result<(), BlockError>, Vec<u8>)>),
    /// A device calls its back end: by which port, what it says, and the answer.
    Call(String, Vec<u8>, Vec<u8>),
    /// The machine's power switch.
    Power(PowerEvent),
    /// A timer is armed for that instant, or cancelled.
    Arm(u32, Option<u64>),
}

/// A request to a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    /// Number of the medium.
    pub medium: u32,
    /// What to do.
    pub op: BlockOp,
    /// First byte.
    pub offset: u64,
    /// Where in guest memory, if it is there.
    pub segments: Vec<Segment>,
    /// Bytes of the controller's own buffer, if it is there, and for a write their CRC-32.
    pub buffer: (u64, u32),
    /// Whether it was taken: a medium can be too busy.
    pub taken: bool,
}

impl Effect {
    /// Whether a device that does `self` did what was recorded, the host's answers left aside.
    pub fn agrees(&self, recorded: &Effect) -> bool {
        match (self, recorded) {
            (Effect::Read(gpa, _, data), Effect::Read(at, _, found)) => {
                gpa == at && data.len() == found.len()
            }
            (Effect::Write(gpa, _, len, sum), Effect::Write(at, _, bytes, check)) => {
                (gpa, len, sum) == (at, bytes, check)
            }
            (Effect::Call(port, call, _), Effect::Call(other, said, _)) => (port, call) == (other, said),
            (Effect::Recall(medium, request, begun, _), Effect::Recall(of, which, also, _)) => {
                (medium, request, begun) == (of, which, also)
            }
            (Effect::Submit(it), Effect::Submit(other)) => it == &Submit { taken: it.taken, ..other.clone() },
            _ => self == recorded,
        }
    }
}

/// Bytes for people: the first of them.
struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 32;
        for byte in self.0.iter().take(MOST) {
            write!(to, "{byte:02x} ")?;
        }
        write!(to, "({} bytes)", self.0.len())
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Answer(value) => write!(to, "the answer {value:#x}"),
            Effect::Pin(pin, level) => write!(to, "interrupt pin {pin:?} at {}", u8::from(*level)),
            Effect::Route(link, Some(irq)) => write!(to, "PCI link {link} routed to IRQ {irq}"),
            Effect::Route(link, None) => write!(to, "PCI link {link} routed nowhere"),
            Effect::Message(address, data) => write!(to, "the interrupt message {address:#x}, {data:#x}"),
            Effect::Read(gpa, _, data) => write!(to, "a DMA read at {gpa:#x}, {} bytes", data.len()),
            Effect::Write(gpa, _, len, sum) => {
                write!(to, "a DMA write at {gpa:#x}, {len} bytes, CRC-32 {sum:08x}")
            }
            Effect::Submit(Submit { medium, op, offset, segments, buffer: (len, sum), .. }) => {
                write!(to, "medium {medium}: {op:?} at byte {offset:#x}, ")?;
                match segments.as_slice() {
                    [] => write!(to, "{len} bytes, CRC-32 {sum:08x}"),
                    [first, rest @ ..] => {
                        let others = rest.len();
                        write!(to, "{} bytes at {:#x} and {others} more pieces", first.len, first.gpa)
                    }
                }
            }
            Effect::Recall(medium, request, ..) => {
                write!(to, "request {request} of medium {medium} taken back")
            }
            Effect::Call(port, call, _) => {
                let (what, rest) = call.split_at_checked(1).unwrap_or_default();
                write!(to, "{port} calls its back end: {} {}", what.escape_ascii(), Bytes(rest))
            }
            Effect::Power(event) => write!(to, "the power switch: {event:?}"),
            Effect::Arm(timer, Some(at)) => write!(to, "timer {timer} armed for {}", Time(*at)),
            Effect::Arm(timer, None) => write!(to, "timer {timer} cancelled"),
        }
    }
}

/// Guest time for people.
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}.{:09} s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
