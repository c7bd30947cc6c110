//! Screen, keyboard, mouse.

use std::path::Path;

use devices::input::keys::Key;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Begun;
use super::super::info::{Button, Input, MouseInfo};
use super::super::protocol::{Command, QmpError};
use super::super::run_state::RunState;
use super::super::table::{CommandSpec, Table};
use super::{Context, arguments, begins, nothing};
use crate::screenshot::ImageFormat;

pub(super) static TABLE: Table = Table {
    types: "
enum ImageFormat ppm png
object MouseInfo name:str index:int current:bool absolute:bool
enum KeyValueKind number qcode
object IntWrapper data:int
object QKeyCodeWrapper data:QKeyCode
union KeyValue type type:KeyValueKind | number=IntWrapper qcode=QKeyCodeWrapper
enum InputEventKind key btn rel abs
enum InputButton left middle right wheel-up wheel-down side extra wheel-left wheel-right
enum InputAxis x y
object InputKeyEvent key:KeyValue down:bool
object InputBtnEvent button:InputButton down:bool
object InputMoveEvent axis:InputAxis value:int
object InputKeyEventWrapper data:InputKeyEvent
object InputBtnEventWrapper data:InputBtnEvent
object InputMoveEventWrapper data:InputMoveEvent
union InputEvent type type:InputEventKind | key=InputKeyEventWrapper btn=InputBtnEventWrapper
  rel=InputMoveEventWrapper abs=InputMoveEventWrapper
",
    commands: &[
        CommandSpec::new("screendump", |command, context| {
            let begun = screendump(command, context);
            begins(context, begun)
        })
        .takes("filename:str ?device:str ?head:int ?format:ImageFormat"),
        CommandSpec::new("query-mice", |_, context| Ok(context.guest.mice().iter().map(mouse).collect()))
            .returns("[MouseInfo]"),
        CommandSpec::new("send-key", |command, context| nothing(send_key(command, context)))
            .takes("keys:[KeyValue] ?hold-time:int"),
        CommandSpec::new("input-send-event", |command, context| nothing(send_events(command, context)))
            .takes("?device:str ?head:int events:[InputEvent]")
            .only_in(&[RunState::Running], "VM not running"),
    ],
};

fn mouse(mouse: &MouseInfo) -> Value {
    let MouseInfo { name, index, current, absolute } = mouse;
    json!({ "name": name, "index": index, "current": current, "absolute": absolute })
}

#[derive(Deserialize)]
struct Screendump {
    filename: String,
    device: Option<String>,
    head: Option<i64>,
    #[serde(default)]
    format: ImageFormat,
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
    Abs { axis: Axis, value: i64 },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Axis {
    X,
    Y,
}

/// A display by its name: whatever is pressed and pointed at belongs to the whole machine.
fn refuse_display(device: Option<&str>) -> Result<(), QmpError> {
    device.map_or(Ok(()), |device| Err(QmpError::device_not_found(device)))
}

fn screendump(command: &Command, context: &mut Context<'_>) -> Result<Begun, QmpError> {
    let Screendump { filename, device, head, format } = arguments(command)?;
    let head = match (&device, head) {
        (None, Some(_)) => {
            return Err(QmpError::generic("'head' must be specified together with 'device'"));
        }
        (None, None) => None,
        // One that no device has is one that this has not.
        (Some(device), head) => Some((device.as_str(), u32::try_from(head.unwrap_or(0)).unwrap_or(u32::MAX))),
    };
    let _handed = context.shared.fdsets.hand_over(Path::new(&filename))?;
    context.guest.screendump(Path::new(&filename), head, format)
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
    // A mouse moves by so much; a place on the screen means nothing to it. Nothing is done by halves.
    let placed = events.iter().any(|event| matches!(event, Event::Abs { .. }));
    if placed && !context.guest.mice().iter().any(|mouse| mouse.absolute) {
        return Err(QmpError::generic("Input handler not found for event type abs"));
    }
    let place = |value: i64| value.clamp(0, 0x7fff) as u16;
    let steps = |value: i64| value.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    let inputs: Vec<Input> = events
        .into_iter()
        .filter_map(|event| match event {
            Event::Key { key, down } => key.name().map(|key| Input::Key(key, down)),
            Event::Btn { button, down } => Some(Input::Button(button, down)),
            Event::Rel { axis: Axis::X, value } => Some(Input::Move { dx: steps(value), dy: 0 }),
            Event::Rel { axis: Axis::Y, value } => Some(Input::Move { dx: 0, dy: steps(value) }),
            Event::Abs { axis: Axis::X, value } => Some(Input::Place { x: Some(place(value)), y: None }),
            Event::Abs { axis: Axis::Y, value } => Some(Input::Place { x: None, y: Some(place(value)) }),
        })
        .collect();
    context.guest.input(&inputs)
}
