//! What each command does.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Guest;
use super::protocol::{Command, QmpError, version};

/// Everything that a session sends to clients while a command runs.
pub type Notify<'a> = &'a mut dyn FnMut(&str, Value);

/// The commands, in the order in which `query-commands` gives them.
const COMMANDS: &[&str] = &[
    "qmp_capabilities",
    "query-version",
    "query-commands",
    "query-status",
    "query-name",
    "stop",
    "cont",
    "quit",
    "system_powerdown",
    "system_reset",
    "screendump",
    "send-key",
    "eject",
    "blockdev-change-medium",
    "inspect",
    "save",
];

/// Carries out a command of a client that has negotiated its capabilities.
pub fn execute(command: &Command, guest: &mut dyn Guest, notify: Notify<'_>) -> Result<Value, QmpError> {
    let nothing = Ok(json!({}));
    match command.name.as_str() {
        "qmp_capabilities" => {
            Err(QmpError::command_not_found("Capabilities negotiation is already complete, command ignored"))
        }
        "query-version" => Ok(version()),
        "query-commands" => Ok(COMMANDS.iter().map(|name| json!({ "name": name })).collect()),
        "query-status" => {
            let status = guest.status();
            Ok(json!({ "status": status, "singlestep": false, "running": status == "running" }))
        }
        "query-name" => Ok(json!({ "name": guest.name() })),
        "stop" => {
            guest.stop();
            nothing
        }
        "cont" => guest.cont().and(nothing),
        "quit" => {
            guest.quit();
            nothing
        }
        "system_powerdown" => {
            guest.powerdown();
            notify("POWERDOWN", Value::Null);
            nothing
        }
        "system_reset" => {
            guest.reset();
            nothing
        }
        "screendump" => {
            let Screendump { filename, format } = arguments(command)?;
            if format.is_some_and(|format| format != "png") {
                return Err(QmpError::generic("screendump: the only format is png"));
            }
            guest.screendump(Path::new(&filename)).and(nothing)
        }
        "send-key" => {
            let SendKey { keys, hold_time } = arguments(command)?;
            let keys = keys.into_iter().map(|key| key.data).collect::<Vec<_>>();
            guest.send_key(&keys, hold_time.unwrap_or(100)).and(nothing)
        }
        "eject" => {
            let Eject { device, id, force } = arguments(command)?;
            guest.eject(&either(device, id)?, force.unwrap_or(false)).and(nothing)
        }
        "blockdev-change-medium" => {
            let Change { device, id, filename } = arguments(command)?;
            guest.change_medium(&either(device, id)?, Path::new(&filename)).and(nothing)
        }
        "inspect" => {
            let Inspect { path } = arguments(command)?;
            guest.inspect(path.as_deref().unwrap_or("")).map(Value::String)
        }
        "save" => {
            let Save { filename } = arguments(command)?;
            let mut progress =
                |done, total| notify("SAVE_PROGRESS", json!({ "transferred": done, "total": total }));
            guest.save(Path::new(&filename), &mut progress).and(nothing)
        }
        name => Err(QmpError::command_not_found(format!("The command {name} has not been found"))),
    }
}

/// The arguments as a struct; unknown and missing ones are errors that name them.
fn arguments<T: DeserializeOwned>(command: &Command) -> Result<T, QmpError> {
    let arguments: Map<String, Value> = command.arguments.clone();
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| QmpError::generic(format!("{}: {error}", command.name)))
}

fn either(device: Option<String>, id: Option<String>) -> Result<String, QmpError> {
    id.or(device).ok_or_else(|| QmpError::generic("Parameter 'id' is missing"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Screendump {
    filename: String,
    format: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SendKey {
    keys: Vec<KeyValue>,
    hold_time: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyValue {
    #[serde(rename = "type")]
    _kind: Qcode,
    data: String,
}

/// The only kind of key value we take: QKeyCode names.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Qcode {
    Qcode,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Eject {
    device: Option<String>,
    id: Option<String>,
    force: Option<bool>,
}

#[derive(Deserialize)]
struct Change {
    device: Option<String>,
    id: Option<String>,
    filename: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inspect {
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Save {
    filename: String,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[derive(Default)]
    pub struct Fake {
        pub log: Vec<String>,
        pub paused: bool,
    }

    impl Guest for Fake {
        fn status(&self) -> &'static str {
            if self.paused { "paused" } else { "running" }
        }
        fn name(&self) -> String {
            "fake".into()
        }
        fn stop(&mut self) {
            self.paused = true;
        }
        fn cont(&mut self) -> Result<(), QmpError> {
            self.paused = false;
            Ok(())
        }
        fn quit(&mut self) {
            self.log.push("quit".into());
        }
        fn powerdown(&mut self) {
            self.log.push("powerdown".into());
        }
        fn reset(&mut self) {
            self.log.push("reset".into());
        }
        fn inspect(&mut self, path: &str) -> Result<String, QmpError> {
            if path == "no" { Err(QmpError::generic("nothing there")) } else { Ok(format!("tree {path}")) }
        }
        fn screendump(&mut self, file: &Path) -> Result<(), QmpError> {
            self.log.push(format!("screen {}", file.display()));
            Ok(())
        }
        fn send_key(&mut self, keys: &[String], hold_ms: u64) -> Result<(), QmpError> {
            self.log.push(format!("keys {} {hold_ms}", keys.join("+")));
            Ok(())
        }
        fn save(&mut self, _file: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), QmpError> {
            progress(1, 2);
            Ok(())
        }
        fn eject(&mut self, device: &str, _force: bool) -> Result<(), QmpError> {
            Err(QmpError::device_not_found(device))
        }
        fn change_medium(&mut self, _device: &str, _file: &Path) -> Result<(), QmpError> {
            Ok(())
        }
    }

    fn run(guest: &mut Fake, name: &str, arguments: Value) -> Result<Value, QmpError> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let command = Command { name: name.into(), arguments, id: None };
        execute(&command, guest, &mut |_, _| ())
    }

    #[test]
    fn status_follows_stop_and_cont() {
        let mut guest = Fake::default();
        run(&mut guest, "stop", json!({})).unwrap();
        assert_eq!(run(&mut guest, "query-status", json!({})).unwrap()["status"], "paused");
        run(&mut guest, "cont", json!({})).unwrap();
        assert_eq!(run(&mut guest, "query-status", json!({})).unwrap()["running"], true);
    }

    #[test]
    fn keys_are_sent_together() {
        let mut guest = Fake::default();
        let key = |name: &str| json!({ "type": "qcode", "data": name });
        run(&mut guest, "send-key", json!({ "keys": [key("ctrl"), key("a")] })).unwrap();
        assert_eq!(guest.log, ["keys ctrl+a 100"]);
        assert!(run(&mut guest, "send-key", json!({ "keys": [{ "type": "number", "data": 1 }] })).is_err());
    }

    #[test]
    fn every_listed_command_is_known_and_mistakes_have_classes() {
        let mut guest = Fake::default();
        for name in COMMANDS.iter().skip(1) {
            if let Err(error) = run(&mut guest, name, json!({})) {
                assert_ne!(error.class, "CommandNotFound", "{name}");
            }
        }
        assert_eq!(run(&mut guest, "dance", json!({})).unwrap_err().class, "CommandNotFound");
        assert_eq!(run(&mut guest, "eject", json!({ "id": "x" })).unwrap_err().class, "DeviceNotFound");
        let error = run(&mut guest, "inspect", json!({ "colour": 1 })).unwrap_err();
        assert!(error.desc.contains("colour"), "{error}");
    }
}
