//! Saved state.

use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::keyboard::Keyboard;
use super::pointer::{Event, MOST, PointerQueue};
use super::{Hid, Kind, Source};

const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    source: SourceState,
    report_protocol: bool,
    idle: u8,
    reported: u64,
    listened: bool,
}

#[derive(Serialize, Deserialize)]
enum SourceState {
    Pointer { events: Vec<EventState>, last: EventState },
    Keyboard { events: Vec<(u8, bool)>, pressed: Vec<u8>, held: Vec<u8>, modifiers: u8, lights: u8 },
}

#[derive(Serialize, Deserialize)]
struct EventState {
    x: i32,
    y: i32,
    wheel: i32,
    buttons: u8,
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Tablet => "usb-tablet",
        Kind::Mouse => "usb-mouse",
        Kind::Keyboard => "usb-kbd",
    }
}

fn save_event(Event { x, y, wheel, buttons }: &Event) -> EventState {
    EventState { x: *x, y: *y, wheel: *wheel, buttons: *buttons }
}

fn load_event(EventState { x, y, wheel, buttons }: EventState) -> Event {
    Event { x, y, wheel, buttons }
}

pub(super) fn save(device: &Hid) -> Result<Saved, StateError> {
    let Hid { kind: of, description: _, speeds: _, source, report_protocol, idle, reported, listened } =
        device;
    let source = match source {
        Source::Pointer(PointerQueue { absolute: _, events, last }) => {
            SourceState::Pointer { events: events.iter().map(save_event).collect(), last: save_event(last) }
        }
        Source::Keyboard(Keyboard { events, pressed, held, modifiers, lights }) => SourceState::Keyboard {
            events: events.iter().copied().collect(),
            pressed: pressed.clone(),
            held: held.clone(),
            modifiers: *modifiers,
            lights: *lights,
        },
    };
    let state = State {
        source,
        report_protocol: *report_protocol,
        idle: *idle,
        reported: *reported,
        listened: *listened,
    };
    Saved::encode(kind(*of), VERSION, &state)
}

pub(super) fn load(device: &mut Hid, saved: &Saved) -> Result<(), StateError> {
    let State { source, report_protocol, idle, reported, listened } =
        saved.decode(kind(device.kind), VERSION)?;
    device.source = match (&device.source, source) {
        (Source::Pointer(queue), SourceState::Pointer { events, last }) => {
            valid(events.len() <= MOST, "too many movements wait")?;
            let events = events.into_iter().map(load_event).collect();
            Source::Pointer(PointerQueue { absolute: queue.absolute, events, last: load_event(last) })
        }
        (Source::Keyboard(_), SourceState::Keyboard { events, pressed, held, modifiers, lights }) => {
            // There are 256 usages, and each is pressed once.
            let most = [events.len(), pressed.len(), held.len()].into_iter().max().unwrap_or(0);
            valid(most <= 2 * 256, "too many keys wait or are held")?;
            let events = events.into_iter().collect();
            Source::Keyboard(Keyboard { events, pressed, held, modifiers, lights })
        }
        _ => return Err(StateError::Invalid("it is the state of another kind of device".into())),
    };
    (device.report_protocol, device.idle) = (report_protocol, idle);
    (device.reported, device.listened) = (reported, listened);
    Ok(())
}
