//! Screen, keyboard, mouse.

use std::path::Path;

use devices::input::keys::Key;
use serde::Deserialize;

use super::super::facts::{Button, Input};
use super::super::protocol::{Command, QmpError};
use super::{Answer, Context, arguments, nothing};
use crate::screenshot::ImageFormat;

#[derive(Deserialize)]
struct Screendump {
    filename: String,
    device: Option<String>,
    head: Option<i64>,
    #[serde(default)]
    format: ImageFormat,
}

#[derive(Deserialize)]
struct Password {
    password: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "lowercase")]
enum KeyValue {
    Qcode(String),
    Number(i64),
}

impl KeyValue {
    /// The key's name; none for a number that no key of ours has, and for what stands for no key.
    fn name(self) -> Option<String> {
        match self {
            KeyValue::Qcode(name) if name == "unmapped" => None,
            KeyValue::Qcode(name) => Some(name),
            KeyValue::Number(code) => {
                u8::try_from(code).ok().and_then(Key::by_scancode).map(|key| key.name().to_owned())
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SendKey {
    keys: Vec<KeyValue>,
    hold_time: Option<i64>,
}

#[derive(Deserialize)]
struct SendEvents {
    device: Option<String>,
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "lowercase")]
enum Event {
    Key { key: KeyValue, down: bool },
    Btn { button: Button, down: bool },
    Rel { axis: Axis, value: i64 },
    Abs {},
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Axis {
    X,
    Y,
}

pub(super) fn run(command: &Command, context: &mut Context<'_>) -> Answer {
    match command.name.as_str() {
        "screendump" => nothing(screendump(command, context)),
        "send-key" => nothing(send_key(command, context)),
        "input-send-event" => nothing(send_events(command, context)),
        "change-vnc-password" => nothing(
            arguments(command).and_then(|Password { password }| context.guest.set_vnc_password(&password)),
        ),
        _ => None,
    }
}

/// A display by its name: the machine has one screen, which no device that can be named stands for.
fn refuse_display(device: Option<&str>) -> Result<(), QmpError> {
    device.map_or(Ok(()), |device| Err(QmpError::device_not_found(device)))
}

fn screendump(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let Screendump { filename, device, head, format } = arguments(command)?;
    refuse_display(device.as_deref())?;
    if head.is_some() {
        return Err(QmpError::generic("'head' must be specified together with 'device'"));
    }
    let _handed = context.shared.fdsets.hand_over(Path::new(&filename))?;
    context.guest.screendump(Path::new(&filename), format)
}

fn send_key(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let SendKey { keys, hold_time } = arguments(command)?;
    let keys: Vec<String> = keys.into_iter().filter_map(KeyValue::name).collect();
    let hold = hold_time.and_then(|time| u64::try_from(time).ok());
    context.guest.send_key(&keys, hold.unwrap_or(100))
}

fn send_events(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let SendEvents { device, events } = arguments(command)?;
    refuse_display(device.as_deref())?;
    if context.guest.status() != "running" {
        return Err(QmpError::generic("VM not running"));
    }
    // A mouse moves by so much; a place on the screen means nothing to it. Nothing is done by halves.
    if events.iter().any(|event| matches!(event, Event::Abs {})) {
        return Err(QmpError::generic("Input handler not found for event type abs"));
    }
    let steps = |value: i64| value.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    let inputs: Vec<Input> = events
        .into_iter()
        .filter_map(|event| match event {
            Event::Key { key, down } => key.name().map(|key| Input::Key(key, down)),
            Event::Btn { button, down } => Some(Input::Button(button, down)),
            Event::Rel { axis: Axis::X, value } => Some(Input::Move { dx: steps(value), dy: 0 }),
            Event::Rel { axis: Axis::Y, value } => Some(Input::Move { dx: 0, dy: steps(value) }),
            Event::Abs {} => None,
        })
        .collect();
    context.guest.input(&inputs)
}
