//! The monitor for people, as far as `human-monitor-command` brings it: one line in, text out.

mod info;
mod keys;
mod memory;
mod words;

use serde_json::{Value, json};

use super::commands::{execute, permit};
use super::context::Context;
use super::info::{Button, Input};
use super::protocol::{Command, QmpError};
use crate::config::NetdevConfig;
use crate::qemu::{added_drive, keyval};

const HELP: &str = "\
cont | stop | quit | system_reset | system_powerdown | system_wakeup | nmi | watchdog_action ACTION
eject [-f] DRIVE | change DRIVE FILE [FORMAT] | sendkey KEY-KEY [MS] | screendump FILE [-f FORMAT]
mouse_move DX DY [DZ] | mouse_button STATE | chardev-remove ID | closefd NAME
device_add MODEL[,id=ID][,KEY=VALUE...] | device_del ID
drive_add 0 if=none,id=ID[,file=FILE][,KEY=VALUE...] | drive_del ID
x /FMT ADDRESS | xp /FMT ADDRESS | print /FMT EXPRESSION (FMT: count, then x d u o c i, then b h w g)
netdev_add TYPE,id=ID[,KEY=VALUE...] | netdev_del ID | announce_self
hostfwd_add [ID] RULE | hostfwd_remove [ID] RULE (tcp:[ADDRESS]:PORT-[GUEST]:PORT)
object_del ID | set_link NAME on|off | balloon MIB | qom-list PATH | qom-get PATH PROPERTY
";

/// Runs a line and gives what it prints, lines ended as QEMU ends them.
pub(super) fn run(line: &str, context: &mut Context<'_>) -> String {
    let words = words::split(line);
    let run = |words: Vec<String>| command(&words.iter().map(String::as_str).collect::<Vec<_>>(), context);
    match words.and_then(run) {
        Ok(text) => text.replace('\n', "\r\n"),
        Err(error) => failed(&error),
    }
}

/// What is printed instead of an error.
pub(super) fn failed(error: &QmpError) -> String {
    format!("Error: {error}\r\n")
}

/// A command that is QMP's in other words.
fn same(name: &str, arguments: Value, context: &mut Context<'_>) -> Result<Value, QmpError> {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    execute(&Command { name: name.into(), arguments, id: None }, context)
}

fn command(words: &[&str], context: &mut Context<'_>) -> Result<String, QmpError> {
    let guest = &mut *context.guest;
    match words {
        [] => {}
        ["help" | "?", "info"] => return Ok(info::help()),
        ["help" | "?", ..] => return Ok(format!("{HELP}{}", info::help())),
        ["info"] => return Ok(info::help()),
        ["info", "registers", rest @ ..] => return memory::registers(rest, context),
        ["info", what, rest @ ..] => return info::run(what, rest, context),
        ["stop" | "s"] => drop(same("stop", json!({}), context)?),
        ["cont" | "c"] => drop(same("cont", json!({}), context)?),
        ["quit" | "q"] => drop(same("quit", json!({}), context)?),
        ["system_reset"] => drop(same("system_reset", json!({}), context)?),
        ["system_powerdown"] => drop(same("system_powerdown", json!({}), context)?),
        ["system_wakeup"] => drop(same("system_wakeup", json!({}), context)?),
        ["nmi"] => drop(same("inject-nmi", json!({}), context)?),
        ["watchdog_action", action] => {
            drop(same("set-action", json!({ "watchdog": action }), context)?);
        }
        ["eject", "-f", drive] => eject(drive, true, context)?,
        ["eject", drive] => eject(drive, false, context)?,
        ["change", drive, "-f", file, format @ ..] => change(drive, file, format, true, context)?,
        ["change", drive, file, format @ ..] => change(drive, file, format, false, context)?,
        ["screendump", rest @ ..] => keys::screendump(rest, context)?,
        ["sendkey", rest @ ..] => return keys::send(rest, context),
        ["mouse_move", dx, dy, wheel @ ..] => move_mouse(dx, dy, wheel, context)?,
        ["mouse_button", state] => press(number(state)?, context)?,
        ["device_add", options] => add_device(options, context)?,
        ["device_del", id] => drop(same("device_del", json!({ "id": id }), context)?),
        ["drive_add", _slot, options] => {
            let drive = added_drive(options);
            let drive = drive.map_err(|refused| QmpError::generic(refused.to_string()))?;
            let begun = guest.add_drive(drive.into_drive())?;
            context.begun(begun);
            return Ok("OK\n".into());
        }
        ["drive_del", id] => guest.delete_drive(id)?,
        ["chardev-remove", id] => drop(same("chardev-remove", json!({ "id": id }), context)?),
        ["closefd", name] => drop(same("closefd", json!({ "fdname": name }), context)?),
        ["netdev_add", options] => add_netdev(options, context)?,
        ["hostfwd_add", rule] => guest.forward(None, rule, true)?,
        ["hostfwd_add", netdev, rule] => guest.forward(Some(netdev), rule, true)?,
        ["hostfwd_remove", rule] => guest.forward(None, rule, false)?,
        ["hostfwd_remove", netdev, rule] => guest.forward(Some(netdev), rule, false)?,
        ["announce_self"] => {
            let how = json!({ "initial": 50, "max": 550, "rounds": 5, "step": 100 });
            drop(same("announce-self", how, context)?);
        }
        ["netdev_del", id] => drop(same("netdev_del", json!({ "id": id }), context)?),
        ["object_del", id] => drop(same("object-del", json!({ "id": id }), context)?),
        ["set_link", name, up] => {
            drop(same("set_link", json!({ "name": name, "up": switch(up)? }), context)?);
        }
        ["balloon", mib] => {
            drop(same("balloon", json!({ "value": size(mib)? }), context)?);
        }
        ["qom-list", path] => {
            let all = same("qom-list", json!({ "path": path }), context)?;
            let line = |entry: &Value| {
                let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
                format!("{} ({})\n", text("name"), text("type"))
            };
            return Ok(all.as_array().into_iter().flatten().map(line).collect());
        }
        ["qom-get", path, property] => {
            let value = same("qom-get", json!({ "path": path, "property": property }), context)?;
            return Ok(format!("{value}\n"));
        }
        [name, rest @ ..] if matches!(name.split('/').next(), Some("x" | "xp")) => {
            return memory::dump(name, rest, context);
        }
        [name, rest @ ..] if matches!(name.split('/').next(), Some("p" | "print")) => {
            return memory::print(name, rest, context);
        }
        [name, ..] => return Ok(format!("unknown command: '{name}'\n")),
    }
    Ok(String::new())
}

/// A number in any of the forms that there are; one of more than 32 bits is out of range.
fn number(text: &str) -> Result<i32, QmpError> {
    let value = words::number(text)?;
    i32::try_from(value).map_err(|_| QmpError::generic(format!("'{text}' is out of range")))
}

/// Bytes: a number counts MiB unless a suffix says otherwise.
fn size(text: &str) -> Result<i64, QmpError> {
    let bytes = keyval::size(text, 1 << 20).and_then(|bytes| i64::try_from(bytes).ok());
    bytes.ok_or_else(|| QmpError::generic("invalid size"))
}

/// `device_add e1000,id=nic1,netdev=net1`.
fn add_device(options: &str, context: &mut Context<'_>) -> Result<(), QmpError> {
    let mut fields = keyval::Fields::parse(options, Some("driver"));
    let arguments = fields.rest().into_iter().map(|(name, text)| (name, json!(text))).collect();
    same("device_add", Value::Object(arguments), context).map(drop)
}

/// `netdev_add user,id=net0`.
fn add_netdev(options: &str, context: &mut Context<'_>) -> Result<(), QmpError> {
    let mut fields = keyval::Fields::parse(options, Some("type"));
    let mut required = |key: &str| {
        fields.take(key).ok_or_else(|| QmpError::generic(format!("Parameter '{key}' is missing")))
    };
    let (kind, id) = (required("type")?, required("id")?);
    permit("netdev_add", context)?;
    let netdev = NetdevConfig { id, kind, options: fields.rest() };
    context.guest.netdev_add(netdev, &mut context.session.named)
}

/// `on` or `off`.
fn switch(text: &str) -> Result<bool, QmpError> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(QmpError::generic("Expected 'on' or 'off'")),
    }
}

fn eject(drive: &str, force: bool, context: &mut Context<'_>) -> Result<(), QmpError> {
    same("eject", json!({ "device": drive, "force": force }), context).map(drop)
}

fn change(
    drive: &str,
    file: &str,
    rest: &[&str],
    force: bool,
    context: &mut Context<'_>,
) -> Result<(), QmpError> {
    let format = match rest {
        [] => None,
        [format] => Some(*format),
        // How the medium may be written is the drive's matter.
        [_, mode, ..] => return Err(QmpError::generic(format!("{mode}: not available on this machine"))),
    };
    let mut arguments = json!({ "device": drive, "filename": file, "force": force });
    if let Some(format) = format {
        arguments["format"] = format.into();
    }
    same("blockdev-change-medium", arguments, context).map(drop)
}

fn move_mouse(dx: &str, dy: &str, wheel: &[&str], context: &mut Context<'_>) -> Result<(), QmpError> {
    let mut inputs = vec![Input::Move { dx: number(dx)?, dy: number(dy)? }];
    if let Some(wheel) = wheel.first() {
        let button = if number(wheel)? > 0 { Button::WheelUp } else { Button::WheelDown };
        inputs.extend([Input::Button(button, true), Input::Button(button, false)]);
    }
    context.guest.input(&inputs)
}

/// Bits of the state: left, middle, right.
fn press(state: i32, context: &mut Context<'_>) -> Result<(), QmpError> {
    let buttons = [(1, Button::Left), (2, Button::Middle), (4, Button::Right)];
    let inputs = buttons.map(|(bit, button)| Input::Button(button, state & bit != 0));
    context.guest.input(&inputs)
}
