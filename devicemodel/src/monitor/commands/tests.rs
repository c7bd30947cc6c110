use std::fs::File;
use std::io::{Read, Seek, Write};

use proptest::prelude::*;

use super::super::facts::{BlockFacts, BlockStats, CpuFacts, PciFacts, VncFacts};
use super::*;

/// A guest that writes down what is done to it.
pub struct Fake {
    pub log: Vec<String>,
    pub paused: bool,
    pub cpus: Vec<CpuFacts>,
    /// libxl starts it with `-S`.
    pub status: &'static str,
}

impl Default for Fake {
    fn default() -> Fake {
        let cpu = |index| CpuFacts { index, present: index == 0, id: None, thread: 100 };
        Fake { log: Vec::new(), paused: false, cpus: vec![cpu(0), cpu(1)], status: "running" }
    }
}

impl Guest for Fake {
    fn status(&self) -> &'static str {
        if self.paused { "paused" } else { self.status }
    }
    fn name(&self) -> String {
        "fake".into()
    }
    fn stop(&mut self) {
        self.paused = true;
    }
    fn cont(&mut self) -> Result<(), QmpError> {
        self.paused = false;
        self.status = "running";
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
        if path == "no" { Err(QmpError::generic("nothing there")) } else { Ok(format!("tree {path}\n")) }
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
    fn eject(&mut self, device: &str, force: bool) -> Result<(), QmpError> {
        if device != "ide-5632" {
            return Err(QmpError::device_not_found(device));
        }
        self.log.push(format!("eject {device} {force}"));
        Ok(())
    }
    fn change_medium(&mut self, _device: &str, _file: &Path) -> Result<(), QmpError> {
        Ok(())
    }
    fn change_medium_to(
        &mut self,
        device: &str,
        file: OwnedFd,
        format: Option<&str>,
    ) -> Result<(), QmpError> {
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).unwrap();
        self.log.push(format!("insert {device} {} {text}", format.unwrap_or("")));
        Ok(())
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
            bars: vec![super::super::facts::BarFacts { index: 4, io: true, address: 0xc000, size: 16 }],
        }]
    }
    fn blocks(&self) -> Vec<BlockFacts> {
        let stats = BlockStats { rd_bytes: 512, rd_operations: 1, ..BlockStats::default() };
        let file = Some("/srv/hello.img".into());
        vec![
            BlockFacts { device: "ide0-hd0".into(), file, format: "raw", stats, ..BlockFacts::default() },
            BlockFacts { device: "ide-5632".into(), removable: true, ..BlockFacts::default() },
        ]
    }
    fn set_dirty_log(&mut self, on: bool) -> Result<(), QmpError> {
        self.log.push(format!("dirty log {on}"));
        Ok(())
    }
    fn save_devices(&mut self, mut file: File, live: bool) -> Result<(), QmpError> {
        file.write_all(b"state").unwrap();
        self.log.push(format!("save live={live}"));
        Ok(())
    }
}

/// A guest and what a connection has.
#[derive(Default)]
struct Bench {
    guest: Fake,
    fdsets: FdSets,
    received: VecDeque<OwnedFd>,
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
                fdsets: &mut self.fdsets,
                received: &mut self.received,
                monitors: &[line("libxl-cmd")],
                notify: &mut |_, _| (),
            },
        )
    }

    fn human(&mut self, line: &str) -> String {
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
    assert_eq!(bench.guest.log, ["keys ctrl+a 100"]);
    assert!(bench.run("send-key", json!({ "keys": [{ "type": "number", "data": 1 }] })).is_err());
}

#[test]
fn every_listed_command_is_known_and_mistakes_have_classes() {
    let mut bench = Bench::default();
    for name in COMMANDS.iter().skip(1) {
        if let Err(error) = bench.run(name, json!({})) {
            assert_ne!(error.class, "CommandNotFound", "{name}");
        }
    }
    assert_eq!(bench.run("dance", json!({})).unwrap_err().class, "CommandNotFound");
    assert_eq!(bench.run("eject", json!({ "id": "x" })).unwrap_err().class, "DeviceNotFound");
    assert_eq!(bench.run("device_del", json!({ "id": "x" })).unwrap_err().class, "DeviceNotFound");
    let error = bench.run("inspect", json!({ "colour": 1 })).unwrap_err();
    assert!(error.desc.contains("colour"), "{error}");
    let error = bench.run("device_add", json!({ "driver": "usb-host", "id": "a" })).unwrap_err();
    assert_eq!(error.desc, "adding a device 'usb-host': not available on this machine");
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
    assert_eq!(blocks[1].get("inserted"), None);
    let pci = bench.run("query-pci", json!({})).unwrap();
    assert_eq!((&pci[0]["devices"][0]["slot"], &pci[0]["devices"][0]["function"]), (&json!(1), &json!(1)));
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
    bench.received.push_back(image.into());
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
    bench.received.push_back(file.try_clone().unwrap().into());
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
fn people_have_their_monitor_too() {
    let mut bench = Bench::default();
    assert_eq!(bench.human("info status"), "VM status: running\r\n");
    assert_eq!(bench.human("stop"), "");
    assert_eq!(bench.human("info status"), "VM status: paused (paused)\r\n");
    assert_eq!(bench.human("info inspect a/b"), "tree a/b\r\n");
    assert!(bench.human("info pci").contains("8086:7010"));
    assert!(bench.human("info chardev").contains("serial0: filename=pty:/dev/pts/3"));
    assert!(bench.human("info block").contains("ide0-hd0: /srv/hello.img (raw)"));
    assert!(bench.human("info vnc").contains("127.0.0.1:5901"));
    assert!(bench.human("info cpus").contains("CPU #0"));
    assert_eq!(bench.human("eject x"), "Error: Device 'x' not found\r\n");
    assert_eq!(bench.human("dance"), "unknown command: 'dance'\r\n");
    assert_eq!(bench.human(""), "");
    assert!(bench.human("help").contains("info pci"));
    bench.human("sendkey ctrl-alt-delete");
    assert_eq!(bench.guest.log, ["keys ctrl+alt+delete 100"]);
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
                0..COMMANDS.len(),
                proptest::collection::btree_map(
                    "id|device|driver|socket-id|core-id|fdset-id|fd|opaque|force|keys|command-line|password|path|live",
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
                bench.received.push_back(File::open("/dev/null").unwrap().into());
            }
            let arguments: Map<String, Value> = arguments.into_iter().collect();
            let _ = bench.run(COMMANDS[index], Value::Object(arguments));
        }
    }

    #[test]
    fn no_line_for_people_makes_it_panic(line in "(info |eject |change |sendkey |stop)?.{0,30}") {
        Bench::default().human(&line);
    }
}
