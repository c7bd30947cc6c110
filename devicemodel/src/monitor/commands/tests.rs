use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use hypervisor::debug::Registers;
use proptest::prelude::*;

mod network;

use super::super::facts::{
    AnnounceParameters, BarFacts, BlockFacts, BlockStats, ChardevBackend, ClockFacts, CpuFacts, DeviceFacts,
    Input, MachineFacts, NetdevFacts, NewMedium, NewNode, NewNodeKind, NicFacts, NodeFacts, PciFacts, Source,
    VncFacts,
};
use super::*;
use crate::config::NetdevConfig;
use crate::screenshot::ImageFormat;

/// A guest that writes down what is done to it.
pub struct Fake {
    pub log: Vec<String>,
    pub paused: bool,
    pub cpus: Vec<CpuFacts>,
    /// libxl starts it with `-S`.
    pub status: &'static str,
    pub events: Vec<(&'static str, Value)>,
    /// A save under way.
    pub job: Option<Job>,
    pub answers: Vec<(Job, Result<(), QmpError>)>,
}

impl Default for Fake {
    fn default() -> Fake {
        let cpu = |index| CpuFacts { index, present: index == 0, id: None, thread: 100 };
        Fake {
            log: Vec::new(),
            paused: false,
            cpus: vec![cpu(0), cpu(1)],
            status: "running",
            events: Vec::new(),
            job: None,
            answers: Vec::new(),
        }
    }
}

impl Guest for Fake {
    fn status(&self) -> &'static str {
        if self.paused { "paused" } else { self.status }
    }
    fn name(&self) -> String {
        "fake".into()
    }
    fn stop(&mut self) -> Result<Begun, QmpError> {
        self.paused = true;
        self.events.push(("STOP", Value::Null));
        Ok(Begun::Done)
    }
    fn cont(&mut self) -> Result<Begun, QmpError> {
        self.paused = false;
        self.status = "running";
        Ok(Begun::Done)
    }
    fn quit(&mut self) {
        self.log.push("quit".into());
    }
    fn powerdown(&mut self) {
        self.log.push("powerdown".into());
    }
    fn reset(&mut self) -> Result<(), QmpError> {
        self.log.push("reset".into());
        Ok(())
    }
    fn inspect(&mut self, path: &str) -> Result<String, QmpError> {
        if path == "no" { Err(QmpError::generic("nothing there")) } else { Ok(format!("tree {path}\n")) }
    }
    fn screendump(&mut self, file: &Path, format: ImageFormat) -> Result<(), QmpError> {
        self.log.push(format!("screen {} {format:?}", file.display()));
        Ok(())
    }
    fn send_key(&mut self, keys: &[String], hold_ms: u64) -> Result<(), QmpError> {
        self.log.push(format!("keys {} {hold_ms}", keys.join("+")));
        Ok(())
    }
    /// It goes on until `stop`, or until it is given up.
    fn save(&mut self, file: &Path) -> Result<Begun, QmpError> {
        self.events.push(("SAVE_PROGRESS", json!({ "transferred": 1, "total": 2 })));
        if file != Path::new("hangs") {
            return Ok(Begun::Done);
        }
        let job = Job(self.log.len() as u64);
        self.log.push("save".into());
        self.job = Some(job);
        Ok(Begun::Later(job))
    }
    fn take_answers(&mut self) -> Vec<(Job, Result<(), QmpError>)> {
        if self.paused
            && let Some(job) = self.job.take()
        {
            self.answers.push((job, Ok(())));
        }
        std::mem::take(&mut self.answers)
    }
    fn give_up(&mut self) {
        self.answers.extend(self.job.take().map(|job| (job, Err(QmpError::generic("given up")))));
    }
    fn eject(&mut self, device: &str, force: bool) -> Result<(), QmpError> {
        if device != "ide-5632" {
            return Err(QmpError::device_not_found(device));
        }
        self.log.push(format!("eject {device} {force}"));
        Ok(())
    }
    fn change_medium(&mut self, device: &str, medium: NewMedium) -> Result<(), QmpError> {
        let NewMedium { source, format, force } = medium;
        let what = match source {
            Source::Path(path) => path.display().to_string(),
            Source::File(fd, _) => {
                let mut text = String::new();
                File::from(fd).read_to_string(&mut text).unwrap();
                text
            }
        };
        let force = if force { " by force" } else { "" };
        self.log.push(format!("insert {device} {} {what}{force}", format.unwrap_or_default()));
        Ok(())
    }
    fn add_node(&mut self, node: NewNode) -> Result<(), QmpError> {
        let what = match node.kind {
            NewNodeKind::File(Source::Path(path)) => format!("file {}", path.display()),
            NewNodeKind::File(Source::File(_, path)) => format!("open file {}", path.display()),
            NewNodeKind::Format(format, Source::Path(path)) => format!("{format} of file {}", path.display()),
            NewNodeKind::Format(format, Source::File(..)) => format!("{format} of an open file"),
            NewNodeKind::FormatOf(format, of) => format!("{format} of {of}"),
        };
        self.log.push(format!("node {} {what} ro={}", node.name, node.readonly));
        Ok(())
    }
    fn take_events(&mut self) -> Vec<(&'static str, Value)> {
        std::mem::take(&mut self.events)
    }
    fn machine(&self) -> MachineFacts {
        MachineFacts { kind: "pc-i440fx-7.2", target: "x86_64", memory: 64 << 20, ..MachineFacts::default() }
    }
    fn devices(&self) -> Vec<DeviceFacts> {
        let device = |path: &str, kind, properties| DeviceFacts { path: path.into(), kind, properties };
        vec![
            device("/machine/i440fx/ioapic", "ioapic", vec![("version", "uint8", json!(32))]),
            device("/machine/unattached/device[2]", "isa-serial", Vec::new()),
            device("/machine/unattached/device[3]", "isa-serial", Vec::new()),
            device("/machine/peripheral/cd", "ide-cd", Vec::new()),
        ]
    }
    fn clock(&self) -> Option<ClockFacts> {
        Some([2026, 11, 21, 12, 32, 6])
    }
    fn input(&mut self, events: &[Input]) -> Result<(), QmpError> {
        self.log.extend(events.iter().map(|event| format!("{event:?}")));
        Ok(())
    }
    fn add_chardev(&mut self, id: &str, line: ChardevBackend) -> Result<Option<String>, QmpError> {
        let pty = (line == ChardevBackend::Pty).then(|| "/dev/pts/9".to_owned());
        self.log.push(format!("line {id} {line:?}"));
        Ok(pty)
    }
    fn chardevs(&self) -> Vec<ChardevFacts> {
        let filename = "pty:/dev/pts/3".into();
        vec![ChardevFacts { label: "serial0".into(), filename, frontend_open: true }]
    }
    fn vnc(&self) -> Option<VncFacts> {
        let (host, service) = ("127.0.0.1".into(), "5901".into());
        Some(VncFacts { host, service, family: "ipv4", auth: "none", clients: Vec::new() })
    }
    fn cpus(&self) -> Vec<CpuFacts> {
        self.cpus.clone()
    }
    fn registers(&mut self, vcpu: u32) -> Result<Registers, QmpError> {
        if vcpu != 0 {
            return Err(QmpError::generic("CPU#NUMBER is not valid"));
        }
        let mut registers = Registers { rip: 0x1001, rflags: 0x46, cpl: 3, code: 64, ..Registers::default() };
        registers.general = std::array::from_fn(|at| at as u64);
        (registers.general[0], registers.general[4]) = (u64::MAX, 0x1004);
        registers.segments[1].selector = 0x10;
        (registers.segments[1].limit, registers.segments[1].attributes) = (0xffff, 0x9b00);
        (registers.halted, registers.xmm[1]) = (true, 1);
        Ok(registers)
    }
    /// 256 bytes from 0x1000 on, each of which says where it is.
    fn peek(&mut self, _vcpu: Option<u32>, address: u64, len: usize) -> Result<Vec<u8>, QmpError> {
        let there = |at: u64| (0x1000..0x1100).contains(&at);
        let bytes = (0..len as u64).map(|offset| address.wrapping_add(offset));
        Ok(bytes.take_while(|at| there(*at)).map(|at| at as u8).collect())
    }
    fn plug_cpu(&mut self, index: u32, id: &str) -> Result<(), QmpError> {
        let cpu = &mut self.cpus[index as usize];
        (cpu.present, cpu.id) = (true, Some(id.into()));
        Ok(())
    }
    fn pci(&self) -> Vec<PciFacts> {
        vec![PciFacts {
            slot: 1,
            function: 1,
            id: "".into(),
            vendor: 0x8086,
            device: 0x7010,
            class: 0x0101,
            pin: 0,
            irq: 0,
            subsystem: (0x1af4, 0x1100),
            bars: vec![
                BarFacts { index: 4, io: true, prefetch: false, address: Some(0xc000), size: 16 },
                BarFacts { index: 5, io: false, prefetch: true, address: None, size: 4096 },
            ],
        }]
    }
    fn blocks(&self) -> Vec<BlockFacts> {
        let stats = BlockStats { rd_bytes: 512, rd_operations: 1, ..BlockStats::default() };
        let medium = NodeFacts {
            name: "#block100".into(),
            file: "/srv/hello.img".into(),
            driver: "raw",
            ..NodeFacts::default()
        };
        let medium = Some(medium);
        vec![
            BlockFacts { device: "ide0-hd0".into(), medium, stats, ..BlockFacts::default() },
            BlockFacts { device: "ide-5632".into(), removable: true, ..BlockFacts::default() },
        ]
    }
    fn nics(&self) -> Vec<NicFacts> {
        network::nics()
    }
    fn netdevs(&self) -> Vec<NetdevFacts> {
        network::netdevs()
    }
    fn netdev_add(&mut self, netdev: NetdevConfig) -> Result<(), QmpError> {
        let options: String = netdev.options.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        self.log.push(format!("netdev {} {}{options}", netdev.id, netdev.kind));
        Ok(())
    }
    fn set_link(&mut self, name: &str, up: bool) -> Result<(), QmpError> {
        if name != "nic0" {
            return Err(QmpError::device_not_found(name));
        }
        self.log.push(format!("link {name} {up}"));
        Ok(())
    }
    fn announce(&mut self, how: AnnounceParameters, names: Option<Vec<String>>) {
        self.log.push(format!("announce {} {names:?}", how.rounds));
    }
    fn set_dirty_log(&mut self, on: bool) -> Result<(), QmpError> {
        self.log.push(format!("dirty log {on}"));
        Ok(())
    }
    fn save_devices(&mut self, mut file: File, live: bool) -> Result<Begun, QmpError> {
        file.write_all(b"state").unwrap();
        self.log.push(format!("save live={live}"));
        Ok(Begun::Done)
    }
}

/// A guest and what a connection has.
#[derive(Default)]
pub struct Bench {
    guest: Fake,
    shared: Shared,
    session: Session,
}

impl Bench {
    fn run(&mut self, name: &str, arguments: Value) -> Result<Value, QmpError> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let command = Command { name: name.into(), arguments, id: None };
        let line = |label: &str| ChardevFacts {
            label: label.into(),
            filename: "unix:/var/run/xen/qmp-libxl-5,server=on".into(),
            frontend_open: true,
        };
        execute(
            &command,
            &mut Context {
                guest: &mut self.guest,
                shared: &mut self.shared,
                session: &mut self.session,
                monitors: &[line("libxl-cmd")],
                notify: &mut |_, _| (),
                later: None,
            },
        )
    }

    pub fn human(&mut self, line: &str) -> String {
        self.run("human-monitor-command", json!({ "command-line": line }))
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }
}

#[test]
fn status_follows_stop_and_cont() {
    let mut bench = Bench::default();
    bench.run("stop", json!({})).unwrap();
    assert_eq!(bench.run("query-status", json!({})).unwrap()["status"], "paused");
    bench.run("cont", json!({})).unwrap();
    assert_eq!(bench.run("query-status", json!({})).unwrap()["running"], true);
}

#[test]
fn keys_are_sent_together() {
    let mut bench = Bench::default();
    let key = |name: &str| json!({ "type": "qcode", "data": name });
    bench.run("send-key", json!({ "keys": [key("ctrl"), key("a")] })).unwrap();
    let numbers = json!([{ "type": "number", "data": 1 }, { "type": "number", "data": 99999 }]);
    bench.run("send-key", json!({ "keys": numbers, "hold-time": -1 })).unwrap();
    assert_eq!(bench.guest.log, ["keys ctrl+a 100", "keys esc 100"], "no key has the second number");
}

#[test]
fn every_listed_command_is_known_and_mistakes_have_classes() {
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

/// Each command of the table is one that something is done for, with the arguments that the table tells.
#[test]
fn every_command_of_the_table_is_carried_out() {
    let schema = Schema::get().introspect();
    for entry in schema.as_array().unwrap().iter().filter(|entry| entry["meta-type"] == "command") {
        let name = entry["name"].as_str().unwrap();
        let arguments = fitting(&schema, entry["arg-type"].as_str().unwrap());
        if let Err(error) = Bench::default().run(name, arguments.clone()) {
            for wrong in
                ["is missing", "Invalid parameter", "is unexpected", "does not accept", "available here"]
            {
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

#[test]
fn objects_are_found_by_path_and_by_name() {
    let mut bench = Bench::default();
    let list = |bench: &mut Bench, path: &str| -> Vec<String> {
        let all = bench.run("qom-list", json!({ "path": path })).unwrap();
        let text = |entry: &Value| {
            format!("{} {}", entry["name"].as_str().unwrap(), entry["type"].as_str().unwrap())
        };
        all.as_array().unwrap().iter().map(text).collect()
    };
    let top = list(&mut bench, "/");
    assert_eq!(
        top,
        [
            "type string",
            "chardevs child<container>",
            "machine child<pc-i440fx-7.2-machine>",
            "objects child<container>"
        ]
    );
    assert!(list(&mut bench, "/machine").contains(&"rtc-time struct tm".into()));
    assert!(list(&mut bench, "/machine/peripheral").contains(&"cd child<ide-cd>".into()));
    assert_eq!(list(&mut bench, "/machine/peripheral-anon"), ["type string"]);
    assert!(list(&mut bench, "/machine/unattached").contains(&"device[0] child<qemu32-i386-cpu>".into()));
    assert!(list(&mut bench, "/chardevs").contains(&"libxl-cmd child<chardev-socket>".into()));
    let get = |bench: &mut Bench, path: &str, property: &str| {
        bench.run("qom-get", json!({ "path": path, "property": property })).map_err(|error| error.desc)
    };
    assert_eq!(get(&mut bench, "ioapic", "version"), Ok(json!(32)));
    assert_eq!(get(&mut bench, "i440fx/ioapic", "type"), Ok(json!("ioapic")));
    assert_eq!(get(&mut bench, "/machine", "peripheral"), Ok(json!("/machine/peripheral")));
    assert_eq!(
        get(&mut bench, "/machine", "rtc-time"),
        Ok(json!({ "tm_year": 126, "tm_mon": 10, "tm_mday": 21, "tm_hour": 12, "tm_min": 32, "tm_sec": 6 }))
    );
    assert_eq!(
        get(&mut bench, "/machine", "frob"),
        Err("Property 'pc-i440fx-7.2-machine.frob' not found".into())
    );
    let mut set = |path: &str, property: &str| {
        bench.run("qom-set", json!({ "path": path, "property": property, "value": 1 })).unwrap_err().desc
    };
    assert_eq!(set("/machine", "type"), "Property 'pc-i440fx-7.2-machine.type' is not writable");
    assert_eq!(
        set("ioapic", "version"),
        "Attempt to set property 'version' on anonymous device (type 'ioapic') after it was realized"
    );
    let machines = bench.run("qom-list-types", json!({ "implements": "machine" })).unwrap();
    assert!(machines.as_array().unwrap().iter().all(|of| of["name"].as_str().unwrap().ends_with("-machine")));
    bench.run("object-add", json!({ "qom-type": "secret", "id": "s", "data": "x" })).unwrap();
    assert_eq!(list(&mut bench, "/objects"), ["type string", "s child<secret>"]);
    let error = bench.run("object-add", json!({ "qom-type": "secret", "id": "s", "data": "x" })).unwrap_err();
    assert_eq!(error.desc, "attempt to add duplicate property 's' to object (type 'container')");
    bench.run("object-del", json!({ "id": "s" })).unwrap();
}

#[test]
fn properties_of_models_are_told_as_clients_ask_for_them() {
    let mut bench = Bench::default();
    let mut ask = |name: &str| bench.run("device-list-properties", json!({ "typename": name }));
    let vga = ask("VGA").unwrap();
    let memory = vga.as_array().unwrap().iter().find(|of| of["name"] == "vgamem_mb").unwrap();
    assert_eq!((&memory["type"], &memory["default-value"]), (&json!("uint32"), &json!(16)));
    assert!(vga.as_array().unwrap().iter().any(|of| of["name"] == "addr"));
    let error = ask("machine").unwrap_err();
    assert_eq!(error.desc, "Device 'machine' not found");
    let error = ask("container").unwrap_err();
    assert_eq!(error.desc, "Parameter 'typename' expects a non-abstract device type");
}

#[test]
fn keys_and_mouse_are_moved() {
    let mut bench = Bench::default();
    let events = json!([
        { "type": "key", "data": { "down": true, "key": { "type": "number", "data": 30 } } },
        { "type": "rel", "data": { "axis": "y", "value": -3 } },
        { "type": "btn", "data": { "button": "wheel-up", "down": true } },
    ]);
    bench.run("input-send-event", json!({ "events": events })).unwrap();
    assert_eq!(bench.guest.log, ["Key(\"a\", true)", "Move { dx: 0, dy: -3 }", "Button(WheelUp, true)"]);
    let abs = json!([{ "type": "abs", "data": { "axis": "x", "value": 3 } }]);
    let error = bench.run("input-send-event", json!({ "events": abs })).unwrap_err();
    assert_eq!(error.desc, "Input handler not found for event type abs");
    bench.guest.paused = true;
    let error = bench.run("input-send-event", json!({ "events": events })).unwrap_err();
    assert_eq!(error.desc, "VM not running");
}

#[test]
fn images_and_lines_are_opened_by_name() {
    let mut bench = Bench::default();
    let file = json!({ "driver": "file", "filename": "/srv/a", "node-name": "f", "read-only": true });
    bench.run("blockdev-add", file).unwrap();
    let raw = json!({ "driver": "raw", "file": "f", "node-name": "r", "cache": { "direct": true } });
    bench.run("blockdev-add", raw).unwrap();
    let lower = json!({ "driver": "file", "filename": "/srv/b" });
    bench.run("blockdev-add", json!({ "driver": "qcow2", "file": lower, "node-name": "q" })).unwrap();
    let pty = json!({ "id": "p", "backend": { "type": "pty", "data": {} } });
    assert_eq!(bench.run("chardev-add", pty).unwrap(), json!({ "pty": "/dev/pts/9" }));
    let address = json!({ "type": "unix", "data": { "path": "/s" } });
    let socket = json!({ "type": "socket", "data": { "addr": address, "server": true, "wait": false } });
    assert_eq!(bench.run("chardev-add", json!({ "id": "s", "backend": socket })).unwrap(), json!({}));
    let taken = json!({ "id": "serial0", "backend": { "type": "null", "data": {} } });
    let error = bench.run("chardev-add", taken).unwrap_err();
    assert_eq!(error.desc, "Chardev with id 'serial0' already exists");
    assert_eq!(
        bench.guest.log,
        [
            "node f file /srv/a ro=true",
            "node r raw of f ro=false",
            "node q qcow2 of file /srv/b ro=false",
            "line p Pty",
            "line s Unix(\"/s\")",
        ]
    );
}

#[test]
fn files_have_names_for_one_client() {
    let mut bench = Bench::default();
    bench.session.received.push_back(File::open("/dev/null").unwrap().into());
    bench.run("getfd", json!({ "fdname": "a" })).unwrap();
    bench.session.received.push_back(File::open("/dev/null").unwrap().into());
    let error = bench.run("getfd", json!({ "fdname": "1a" })).unwrap_err();
    assert_eq!(error.desc, "Parameter 'fdname' expects a name not starting with a digit");
    assert!(bench.session.received.is_empty(), "the file came for this command");
    bench.run("closefd", json!({ "fdname": "a" })).unwrap();
    assert!(bench.run("closefd", json!({ "fdname": "a" })).is_err());
    let added = (0..100).filter(|n| {
        bench.session.received.push_back(File::open("/dev/null").unwrap().into());
        bench.run("getfd", json!({ "fdname": format!("f{n}") })).is_ok()
    });
    assert_eq!(added.count(), 64);
}

/// The answers that libxl parses, as they were recorded.
#[test]
fn libxl_finds_its_answers() {
    let mut bench = Bench::default();
    assert_eq!(
        bench.run("query-chardev", json!({})).unwrap(),
        json!([
            { "frontend-open": true, "filename": "unix:/var/run/xen/qmp-libxl-5,server=on", "label": "libxl-cmd" },
            { "frontend-open": true, "filename": "pty:/dev/pts/3", "label": "serial0" },
        ])
    );
    assert_eq!(
        bench.run("query-vnc", json!({})).unwrap(),
        json!({ "enabled": true, "auth": "none", "family": "ipv4", "clients": [], "service": "5901", "host": "127.0.0.1" })
    );
    let version = bench.run("query-version", json!({})).unwrap();
    let number = |key: &str| version["qemu"][key].as_u64().unwrap();
    assert!((number("major"), number("minor")) >= (2, 12), "{version}");
    let stats = bench.run("query-blockstats", json!({})).unwrap();
    assert_eq!((&stats[0]["device"], &stats[0]["stats"]["rd_bytes"]), (&json!("ide0-hd0"), &json!(512)));
    let blocks = bench.run("query-block", json!({})).unwrap();
    assert_eq!(blocks[0]["inserted"]["file"], "/srv/hello.img");
    assert_eq!(blocks[0]["inserted"]["node-name"], "#block100");
    assert_eq!(blocks[1].get("inserted"), None);
    let pci = bench.run("query-pci", json!({})).unwrap();
    assert_eq!((&pci[0]["devices"][0]["slot"], &pci[0]["devices"][0]["function"]), (&json!(1), &json!(1)));
    assert_eq!(pci[0]["devices"][0]["class_info"], json!({ "class": 0x0101, "desc": "IDE controller" }));
    assert_eq!(
        pci[0]["devices"][0]["regions"][1],
        json!({ "bar": 5, "type": "memory", "address": -1, "size": 4096 })
    );
    let options = bench.run("query-command-line-options", json!({})).unwrap();
    let run_with = options.as_array().unwrap().iter().find(|option| option["option"] == "run-with").unwrap();
    let names: Vec<_> =
        run_with["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"chroot") && names.contains(&"user"), "{names:?}");
}

#[test]
fn libxl_adds_a_cpu() {
    let mut bench = Bench::default();
    assert_eq!(bench.run("query-cpus-fast", json!({})).unwrap().as_array().unwrap().len(), 1);
    let places = bench.run("query-hotpluggable-cpus", json!({})).unwrap();
    assert_eq!((&places[0]["props"]["socket-id"], places[0].get("qom-path")), (&json!(1), None));
    let cpu =
        json!({ "id": "cpu-1", "driver": places[0]["type"], "socket-id": 1, "core-id": 0, "thread-id": 0 });
    bench.run("device_add", cpu.clone()).unwrap();
    let cpus = bench.run("query-cpus-fast", json!({})).unwrap();
    assert_eq!(
        (&cpus[1]["cpu-index"], &cpus[1]["qom-path"]),
        (&json!(1), &json!("/machine/peripheral/cpu-1"))
    );
    assert!(bench.run("device_add", cpu).unwrap_err().desc.contains("exists"));
    for (socket, core) in [(2, 0), (1, 1), (u64::MAX, 0)] {
        let cpu = json!({ "id": "x", "driver": "qemu32-i386-cpu", "socket-id": socket, "core-id": core, "thread-id": 0 });
        assert!(bench.run("device_add", cpu).is_err(), "{socket} {core}");
    }
}

#[test]
fn libxl_changes_a_cd_by_an_open_file() {
    let mut bench = Bench::default();
    bench.run("eject", json!({ "id": "ide-5632" })).unwrap();
    let error = bench.run("add-fd", json!({ "opaque": "raw:/srv/linux.iso" })).unwrap_err();
    assert_eq!(error.desc, "No file descriptor supplied via SCM_RIGHTS");
    let mut image = tempfile::tempfile().unwrap();
    image.write_all(b"cd").unwrap();
    image.rewind().unwrap();
    bench.session.received.push_back(image.into());
    let added = bench.run("add-fd", json!({ "opaque": "raw:/srv/linux.iso" })).unwrap();
    let filename = format!("/dev/fdset/{}", added["fdset-id"]);
    let change = json!({ "id": "ide-5632", "filename": filename, "format": "raw" });
    bench.run("blockdev-change-medium", change).unwrap();
    bench.run("remove-fd", json!({ "fdset-id": added["fdset-id"] })).unwrap();
    assert_eq!(bench.run("query-fdsets", json!({})).unwrap(), json!([]));
    assert_eq!(bench.guest.log, ["eject ide-5632 false", "insert ide-5632 raw cd"]);
}

#[test]
fn libxl_saves_the_devices() {
    let mut bench = Bench::default();
    let mut file = tempfile::tempfile().unwrap();
    bench.run("xen-set-global-dirty-log", json!({ "enable": true })).unwrap();
    bench.run("stop", json!({})).unwrap();
    bench.session.received.push_back(file.try_clone().unwrap().into());
    bench.run("add-fd", json!({})).unwrap();
    bench.run("xen-save-devices-state", json!({ "live": false, "filename": "/dev/fdset/0" })).unwrap();
    assert_eq!(bench.guest.log, ["dirty log true", "save live=false"]);
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "state");
    let error = bench.run("xen-save-devices-state", json!({ "filename": "/dev/fdset/1" })).unwrap_err();
    assert_eq!(error.class, "GenericError");
}

#[test]
fn people_quote_paths_and_write_numbers_in_every_form() {
    let mut bench = Bench::default();
    assert_eq!(bench.human("change ide1-cd0 \"/a b/\\\"c\\\".iso\" raw"), "");
    assert_eq!(bench.human("change ide1-cd0 -f /d.iso"), "");
    let log = &bench.guest.log;
    assert!(log.contains(&"insert ide1-cd0 raw /a b/\"c\".iso".to_owned()), "{log:?}");
    assert!(log.contains(&"insert ide1-cd0  /d.iso by force".to_owned()), "{log:?}");
    assert_eq!(bench.human("change ide1-cd0 \"/d"), "Error: unterminated string\r\n");
    assert_eq!(bench.human("mouse_move 0x10 -010"), "");
    assert_eq!(bench.human("mouse_button 1|4"), "");
    assert!(bench.human("mouse_button 0x100000000").starts_with("Error: "));
    assert_eq!(bench.human("set_link net0 maybe"), "Error: Expected 'on' or 'off'\r\n");
}

#[test]
fn people_have_their_monitor_too() {
    let mut bench = Bench::default();
    assert_eq!(bench.human("info status"), "VM status: running\r\n");
    assert_eq!(bench.human("stop"), "");
    assert_eq!(bench.human("info status"), "VM status: paused (paused)\r\n");
    assert_eq!(bench.human("info inspect a/b"), "tree a/b\r\n");
    assert!(bench.human("info pci").contains("8086:7010"));
    assert!(bench.human("info chardev").contains("serial0: filename=pty:/dev/pts/3"));
    assert!(bench.human("info block").contains("ide0-hd0 (#block100): /srv/hello.img (raw)"));
    assert!(
        bench.human("info qom-tree").contains("\r\n    /ioapic (ioapic)\r\n"),
        "{}",
        bench.human("info qom-tree")
    );
    assert_eq!(bench.human("info balloon"), "Error: No balloon device has been activated\r\n");
    assert_eq!(bench.human("info memory_size_summary"), "base memory: 67108864\r\nplugged memory: 0\r\n");
    assert_eq!(bench.human("info uuid"), "00000000-0000-0000-0000-000000000000\r\n");
    assert_eq!(bench.human("qom-get ioapic version"), "32\r\n");
    for topic in bench.human("info").lines() {
        let topic = topic.split("  --").next().unwrap().split(" [").next().unwrap();
        assert!(!bench.human(topic).contains("unknown"), "{topic}");
    }
    assert!(bench.human("info vnc").contains("127.0.0.1:5901"));
    assert!(bench.human("info cpus").contains("CPU #0"));
    assert_eq!(bench.human("eject x"), "Error: Device 'x' not found\r\n");
    assert_eq!(bench.human("dance"), "unknown command: 'dance'\r\n");
    assert_eq!(bench.human(""), "");
    assert!(bench.human("help").contains("info pci"));
    bench.human("sendkey ctrl-alt-delete");
    bench.human("sendkey a 5");
    bench.human("sendkey 0x1e 7");
    bench.human("sendkey ctrl-0xb8-<");
    bench.human("screendump /tmp/a.ppm");
    bench.human("screendump /tmp/a.png -f png");
    bench.human("screendump -f ppm /tmp/b.ppm");
    for (line, answer) in [
        ("sendkey ctrl-nokey", "invalid parameter: nokey\r\n"),
        ("sendkey 0xff", "invalid parameter: 0xff\r\n"),
        ("sendkey a soon", "Error: 'soon' is not a number\r\n"),
        ("sendkey", "Error: sendkey: expected KEY[-KEY...] [MILLISECONDS]\r\n"),
        ("screendump /tmp/a -f gif", "Error: screendump: the format is ppm or png, not gif\r\n"),
        ("screendump /tmp/a vga0", "Error: Device 'vga0' not found\r\n"),
        ("screendump", "Error: screendump: expected FILE [-f FORMAT]\r\n"),
    ] {
        assert_eq!(bench.human(line), answer, "{line}");
    }
    bench.human("mouse_move 1 2");
    bench.human("change ide-5632 /srv/b.iso qcow2");
    assert_eq!(
        bench.guest.log,
        [
            "keys ctrl+alt+delete 100",
            "keys a 5",
            "keys a 7",
            "keys ctrl+alt_r+less 100",
            "screen /tmp/a.ppm Ppm",
            "screen /tmp/a.png Png",
            "screen /tmp/b.ppm Ppm",
            "Move { dx: 1, dy: 2 }",
            "insert ide-5632 qcow2 /srv/b.iso"
        ]
    );
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
                0..Schema::get().commands().count(),
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
            let name = Schema::get().commands().nth(index).unwrap();
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
