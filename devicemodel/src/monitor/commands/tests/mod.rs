mod block;
mod cpu;
mod devices;
mod fake;
mod files;
mod input;
mod libxl;
mod network;
mod objects;
mod people;
mod running;
mod vnc;

use std::fs::File;

use proptest::prelude::*;

use super::*;
pub use fake::{Bench, Fake};

#[test]
fn mistakes_have_classes() {
    let mut bench = Bench::default();
    assert_eq!(bench.run("dance", json!({})).unwrap_err().class, "CommandNotFound");
    assert_eq!(bench.run("eject", json!({ "id": "x" })).unwrap_err().class, "DeviceNotFound");
    assert_eq!(bench.run("device_del", json!({ "id": "x" })).unwrap_err().class, "DeviceNotFound");
    let error = bench.run("device_add", json!({ "driver": "usb-host", "id": "a" })).unwrap_err();
    assert_eq!(error.desc, "'usb-host' is not a valid device model name");
}

/// Arguments that fit a command's types, as far as these can tell.
fn fitting(schema: &Value, of: &str) -> Value {
    let entry = schema.as_array().unwrap().iter().find(|entry| entry["name"] == of).unwrap();
    match entry["meta-type"].as_str().unwrap() {
        "builtin" => match of {
            "int" => json!(0),
            "bool" => json!(false),
            _ => json!("x"),
        },
        "array" => json!([fitting(schema, entry["element-type"].as_str().unwrap())]),
        "enum" => entry["values"][0].clone(),
        "alternate" => fitting(schema, entry["members"][1]["type"].as_str().unwrap()),
        "object" => {
            let mut object = Map::new();
            let mut fill = |entry: &Value| {
                for member in entry["members"].as_array().unwrap() {
                    if member.get("default").is_none() {
                        let name = member["name"].as_str().unwrap();
                        // Some are opened, and made where they are not there.
                        let value = match name {
                            "filename" => json!("/dev/null"),
                            _ => fitting(schema, member["type"].as_str().unwrap()),
                        };
                        object.insert(name.into(), value);
                    }
                }
            };
            fill(entry);
            if let Some(variant) = entry.get("variants").and_then(|variants| variants.get(0)) {
                let more = schema.as_array().unwrap().iter().find(|e| e["name"] == variant["type"]).unwrap();
                fill(more);
                object.insert(entry["tag"].as_str().unwrap().into(), variant["case"].clone());
            }
            Value::Object(object)
        }
        other => panic!("{other}"),
    }
}

/// The arguments that a command's schema tells of are those that it reads, and its answer is of the type that is told.
#[test]
fn every_command_takes_and_gives_what_it_says() {
    let schema = schema().introspect();
    for entry in schema.as_array().unwrap().iter().filter(|entry| entry["meta-type"] == "command") {
        let name = entry["name"].as_str().unwrap();
        let arguments = fitting(&schema, entry["arg-type"].as_str().unwrap());
        if let Err(error) = Bench::default().run(name, arguments.clone()) {
            for wrong in ["is missing", "Invalid parameter", "is unexpected", "does not accept"] {
                assert!(!error.desc.contains(wrong), "{name} {arguments}: {error}");
            }
            assert!(error.class != "CommandNotFound" || name == "qmp_capabilities", "{name}: {error}");
            assert!(!error.desc.starts_with(&format!("{name}: ")), "{arguments} cannot be read: {error}");
        }
    }
}

#[test]
fn mistakes_are_told_in_the_words_that_clients_know() {
    let mut bench = Bench::default();
    for (name, arguments, words) in [
        ("query-status", json!({ "x": 1 }), "Parameter 'x' is unexpected"),
        ("eject", json!({ "id": 3 }), "Invalid parameter type for 'id', expected: string"),
        ("eject", json!({}), "Need exactly one of 'device' and 'id'"),
        ("eject", json!({ "id": "a", "device": "b" }), "Need exactly one of 'device' and 'id'"),
        (
            "eject",
            json!({ "id": "a", "force": "y" }),
            "Invalid parameter type for 'force', expected: boolean",
        ),
        ("balloon", json!({}), "Parameter 'value' is missing"),
        ("balloon", json!({ "value": 1.5 }), "Invalid parameter type for 'value', expected: integer"),
        ("balloon", json!({ "value": 1, "x": 2 }), "Parameter 'x' is unexpected"),
        ("balloon", json!({ "value": u64::MAX }), "Invalid parameter type for 'value', expected: integer"),
        ("chardev-add", json!({ "id": "c" }), "Parameter 'backend' is missing"),
        ("chardev-add", json!({ "id": "c", "backend": {} }), "Parameter 'backend.type' is missing"),
        (
            "chardev-add",
            json!({ "id": "c", "backend": { "type": "frob" } }),
            "Parameter 'type' does not accept value 'frob'",
        ),
        (
            "input-send-event",
            json!({ "events": [3] }),
            "Invalid parameter type for 'events[0]', expected: object",
        ),
        ("input-send-event", json!({ "events": 3 }), "Invalid parameter type for 'events', expected: array"),
        (
            "input-send-event",
            json!({ "events": [{ "type": "key", "data": { "down": true } }] }),
            "Parameter 'events[0].data.key' is missing",
        ),
        (
            "send-key",
            json!({ "keys": [{ "type": "qcode", "data": "frob" }] }),
            "Parameter 'data' does not accept value 'frob'",
        ),
        ("blockdev-add", json!({ "driver": "raw", "node-name": "q" }), "Parameter 'file' is missing"),
        (
            "blockdev-add",
            json!({ "driver": "raw", "node-name": "q", "file": 3 }),
            "Invalid parameter type for 'file', expected: BlockdevRef",
        ),
        (
            "blockdev-add",
            json!({ "driver": "raw", "node-name": "q", "file": { "driver": "file", "filename": "a", "x": 1 } }),
            "Parameter 'file.x' is unexpected",
        ),
        (
            "blockdev-add",
            json!({ "driver": "file", "filename": "/a" }),
            "'node-name' must be specified for the root node",
        ),
        (
            "blockdev-add",
            json!({ "driver": "file", "filename": "/a", "node-name": "1x" }),
            "Invalid node-name: '1x'",
        ),
        (
            "object-add",
            json!({ "qom-type": "frob", "id": "a" }),
            "Parameter 'qom-type' does not accept value 'frob'",
        ),
        (
            "object-add",
            json!({ "qom-type": "secret", "id": "a" }),
            "Either 'file' or 'data' must be provided",
        ),
        ("object-del", json!({ "id": "zz" }), "object 'zz' not found"),
        ("netdev_add", json!({ "type": "vde", "id": "n" }), "Parameter 'type' does not accept value 'vde'"),
        ("netdev_add", json!({ "type": "user", "id": "1" }), "Parameter 'id' expects an identifier"),
        ("query-rx-filter", json!({ "name": "x" }), "invalid net client name: x"),
        ("getfd", json!({ "fdname": "a" }), "No file descriptor supplied via SCM_RIGHTS"),
        ("closefd", json!({ "fdname": "a" }), "File descriptor named 'a' not found"),
        (
            "remove-fd",
            json!({ "fdset-id": -3, "fd": 4 }),
            "File descriptor named 'fdset-id:-3, fd:4' not found",
        ),
        (
            "screendump",
            json!({ "filename": "/x", "head": 1 }),
            "'head' must be specified together with 'device'",
        ),
        ("device_add", json!({}), "Parameter 'driver' is missing"),
        ("device_add", json!({ "driver": "x", "id": "1 n" }), "Parameter 'id' expects an identifier"),
        ("device_add", json!({ "driver": "a-cpu", "id": "c" }), "CPU socket-id is not set"),
        (
            "device_add",
            json!({ "driver": "a-cpu", "socket-id": 7 }),
            "Invalid CPU socket-id: 7 must be in range 0:1",
        ),
        ("device_del", json!({ "id": "/machine/unattached/device[0]" }), "Boot CPU is unpluggable"),
        ("chardev-remove", json!({ "id": "libxl-cmd" }), "Chardev 'libxl-cmd' is busy"),
    ] {
        let error = bench.run(name, arguments.clone()).unwrap_err();
        assert_eq!((error.class, error.desc.as_str()), ("GenericError", words), "{name} {arguments}");
    }
    for (name, arguments, class) in [
        ("balloon", json!({ "value": 1 }), "DeviceNotActive"),
        ("query-balloon", json!({}), "DeviceNotActive"),
        ("set_link", json!({ "name": "x", "up": true }), "DeviceNotFound"),
        ("netdev_del", json!({ "id": "x" }), "DeviceNotFound"),
        ("qom-get", json!({ "path": "/no", "property": "x" }), "DeviceNotFound"),
        ("input-send-event", json!({ "device": "x", "events": [] }), "DeviceNotFound"),
    ] {
        assert_eq!(bench.run(name, arguments).unwrap_err().class, class, "{name}");
    }
}

/// Any JSON, not too deep.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "/dev/fdset/[0-9]{0,20}|ide-5632|[a-z0-9-]{0,8}-cpu|.{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(".{0,6}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    /// A client may lie in every argument of every command.
    #[test]
    fn no_arguments_make_it_panic(
        calls in proptest::collection::vec(
            (
                0..schema().commands().count(),
                proptest::collection::btree_map(
                    "id|device|driver|socket-id|fdset-id|fd|opaque|force|keys|command-line|path|live|events|backend|\
                     node-name|file|filename|fdname|qom-type|data|property|value",
                    json_value(),
                    0..5,
                ),
                any::<bool>(),
            ),
            0..12,
        )
    ) {
        let mut bench = Bench::default();
        for (index, arguments, file) in calls {
            if file {
                bench.session.received.push_back(File::open("/dev/null").unwrap().into());
            }
            let arguments: Map<String, Value> = arguments.into_iter().collect();
            let name = schema().commands().nth(index).unwrap();
            // These would open files of the host by any name.
            if !["xen-save-devices-state", "xen-load-devices-state"].contains(&name) {
                let _ = bench.run(name, Value::Object(arguments));
            }
        }
    }

    #[test]
    fn no_line_for_people_makes_it_panic(line in "(info |eject |change |sendkey |stop)?.{0,30}") {
        Bench::default().human(&line);
    }
}
