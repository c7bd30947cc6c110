//! What the guest does, as the monitor's clients hear of it: a machine with no CPU, whose guest is the test.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A connection that the program has made to us.
struct Line(BufReader<UnixStream>);

impl Line {
    fn accept(listener: &UnixListener) -> Line {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Line(BufReader::new(stream))
    }
    fn receive(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the program hung up");
        line.trim_end().to_owned()
    }
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }
    fn json(&mut self) -> Value {
        serde_json::from_str(&self.receive()).unwrap()
    }
}

struct Machine {
    child: Child,
    guest: Line,
    monitor: Line,
    events: Vec<Value>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const IMAGE: usize = 2048 * 64;

impl Machine {
    fn start(folder: &Path) -> Machine {
        Machine::start_with(folder, &[])
    }

    fn start_with(folder: &Path, more: &[&str]) -> Machine {
        for name in ["cd.iso", "other.iso"] {
            std::fs::write(folder.join(name), vec![7; IMAGE]).unwrap();
        }
        let [qtest, qmp] =
            ["qtest.sock", "qmp.sock"].map(|name| UnixListener::bind(folder.join(name)).unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_ailurus"))
            .args(["-machine", "pc,accel=qtest", "-display", "none", "-nodefaults", "-m", "64"])
            .args([
                "-qtest",
                "unix:qtest.sock",
                "-qtest-log",
                "/dev/null",
                "-chardev",
                "socket,path=qmp.sock,id=char0",
            ])
            .args(["-mon", "chardev=char0,mode=control"])
            .args(["-drive", "file=cd.iso,if=ide,index=2,media=cdrom,format=raw,readonly=on"])
            .args(more)
            .current_dir(folder)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let (guest, mut monitor) = (Line::accept(&qtest), Line::accept(&qmp));
        assert!(monitor.json().get("QMP").is_some());
        let mut machine = Machine { child, guest, monitor, events: Vec::new() };
        machine.ask("qmp_capabilities", json!({}));
        machine
    }

    fn reply(&mut self, command: &str, arguments: Value) -> Value {
        let command = json!({ "execute": command, "arguments": arguments }).to_string();
        self.monitor.send(&command);
        loop {
            let line = self.monitor.json();
            if line.get("event").is_none() {
                return line;
            }
            self.events.push(line);
        }
    }

    fn ask(&mut self, command: &str, arguments: Value) -> Value {
        let mut reply = self.reply(command, arguments);
        assert_eq!(reply.get("error"), None, "{command}");
        reply["return"].take()
    }

    fn refused(&mut self, command: &str, arguments: Value) -> String {
        self.reply(command, arguments)["error"]["desc"].as_str().unwrap().to_owned()
    }

    /// The next event, which must be of that name; its data.
    fn event(&mut self, name: &str) -> Value {
        let mut event = if self.events.is_empty() { self.monitor.json() } else { self.events.remove(0) };
        assert_eq!(event["event"], name, "{event}");
        assert!(event["timestamp"]["seconds"].as_u64().unwrap() > 0);
        event["data"].take()
    }

    fn guest(&mut self, line: &str) -> String {
        self.guest.send(&format!("{line}\n"));
        let answer = self.guest.receive();
        answer.strip_prefix("OK").unwrap_or_else(|| panic!("{line}: {answer}")).trim().to_owned()
    }

    fn outb(&mut self, port: u16, value: u8) {
        self.guest(&format!("outb {port:#x} {value:#x}"));
    }

    /// Sends a packet to the CD drive.
    fn packet(&mut self, packet: [u8; 6]) {
        for (port, value) in [(0x176, 0xa0), (0x171, 0), (0x174, 0), (0x175, 8), (0x177, 0xa0)] {
            self.outb(port, value);
        }
        for pair in packet.chunks(2).chain([&[0, 0][..]; 3]) {
            self.guest(&format!("outw 0x170 {:#x}", u16::from_le_bytes([pair[0], pair[1]])));
        }
    }
}

#[test]
fn the_guest_and_the_monitor_move_the_tray() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(folder.path());
    let drive = machine.ask("query-block", json!({}))[0].take();
    let (name, id) = (drive["device"].clone(), drive["qdev"].clone());
    assert_eq!((&name, &drive["tray_open"]), (&json!("ide1-cd0"), &json!(false)));
    assert_eq!(machine.ask("qom-get", json!({ "path": id, "property": "type" })), "ide-cd");
    let moved = |open: bool| json!({ "device": name, "id": id, "tray-open": open });

    // The guest opens it, and closes it again.
    machine.packet([0x1b, 0, 0, 0, 2, 0]);
    assert_eq!(machine.event("DEVICE_TRAY_MOVED"), moved(true));
    assert_eq!(machine.ask("query-block", json!({}))[0]["tray_open"], true);
    machine.packet([0x1b, 0, 0, 0, 3, 0]);
    assert_eq!(machine.event("DEVICE_TRAY_MOVED"), moved(false));

    // It locks it: only force opens it.
    machine.packet([0x1e, 0, 0, 0, 1, 0]);
    assert_eq!(machine.ask("query-block", json!({}))[0]["locked"], true);
    assert_eq!(
        machine.refused("eject", json!({ "device": name })),
        "Device 'ide1-cd0' is locked and force was not specified, wait for tray to open and try again"
    );
    machine.ask("blockdev-open-tray", json!({ "id": id, "force": true }));
    assert_eq!(machine.events.len(), 1, "the event comes before the answer");
    assert_eq!(machine.event("DEVICE_TRAY_MOVED"), moved(true));

    // Another medium, step by step.
    let file = json!({ "driver": "file", "filename": "other.iso" });
    let node = json!({ "driver": "raw", "node-name": "new", "read-only": true, "file": file });
    machine.ask("blockdev-add", node);
    let insert = json!({ "id": id, "node-name": "new" });
    assert_eq!(
        machine.refused("blockdev-insert-medium", insert.clone()),
        "There already is a medium in the device"
    );
    machine.ask("blockdev-remove-medium", json!({ "id": id }));
    assert_eq!(machine.ask("query-block", json!({}))[0].get("inserted"), None);
    machine.ask("blockdev-insert-medium", insert);
    assert_eq!(machine.refused("blockdev-del", json!({ "node-name": "new" })), "Node new is in use");
    machine.ask("blockdev-close-tray", json!({ "id": id }));
    assert_eq!(machine.event("DEVICE_TRAY_MOVED"), moved(false));
    assert_eq!(machine.ask("query-block", json!({}))[0]["inserted"]["node-name"], "new");
    machine.ask("blockdev-change-medium", json!({ "device": name, "filename": "cd.iso", "format": "raw" }));
    assert_eq!(machine.event("DEVICE_TRAY_MOVED"), moved(true));
    assert_eq!(machine.event("DEVICE_TRAY_MOVED"), moved(false));
    machine.ask("blockdev-del", json!({ "node-name": "new" }));

    let device = "/machine/i440fx";
    assert_eq!(
        machine.refused("blockdev-remove-medium", json!({ "id": device })),
        "Device does not have a block device backend"
    );
    assert_eq!(
        machine.refused("device_del", json!({ "id": id })),
        "Bus 'ide.0' does not support hotplugging"
    );
}

#[test]
fn the_guest_sets_its_clock() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(folder.path());
    machine.outb(0x70, 4);
    let hours = machine.guest("inb 0x71");
    let hours = u8::from_str_radix(hours.trim_start_matches("0x"), 16).unwrap();
    let hour = (hours >> 4) * 10 + (hours & 15);
    let later = (hour + 2) % 24;
    machine.outb(0x71, later / 10 << 4 | later % 10);
    let data = machine.event("RTC_CHANGE");
    // On the same day, so that two hours later may be 22 hours before; and some seconds may have gone by.
    let off = (data["offset"].as_i64().unwrap() - 7200).rem_euclid(86_400);
    assert!(off.min(86_400 - off) < 300, "{data}");
    let kind = machine.ask("qom-get", json!({ "path": data["qom-path"], "property": "type" }));
    assert_eq!(kind, "mc146818rtc");
    let time = machine.ask("qom-get", json!({ "path": "/machine", "property": "rtc-time" }));
    assert_eq!(time["tm_hour"], later);

    // However often it does that within a second: one more event, with the last of them.
    for hour in 0..20 {
        machine.outb(0x71, hour / 10 << 4 | hour % 10);
    }
    let data = machine.event("RTC_CHANGE");
    let wanted = (19 - i64::from(hour)) * 3600;
    assert!((data["offset"].as_i64().unwrap() - wanted).rem_euclid(86_400) % 86_100 < 300, "{data} {wanted}");
    machine.ask("query-status", json!({}));
    assert_eq!(machine.events, Vec::<Value>::new());
}

#[test]
fn the_machine_stops_and_starts_in_events() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(folder.path());
    let running = machine.ask("query-status", json!({}))["running"].as_bool().unwrap();
    assert!(running);
    machine.ask("stop", json!({}));
    machine.ask("cont", json!({}));
    machine.ask("system_reset", json!({}));
    machine.ask("stop", json!({}));
    machine.ask("system_reset", json!({}));
    assert_eq!(machine.ask("query-status", json!({}))["status"], "prelaunch", "it waits to be started");
    machine.ask("cont", json!({}));
    machine.ask("system_powerdown", json!({}));
    let names: Vec<Value> = machine.events.drain(..).map(|mut event| event["event"].take()).collect();
    assert_eq!(names, ["STOP", "RESUME", "RESET", "STOP", "RESET", "RESUME", "POWERDOWN"]);
    // The guest resets itself by port 0xcf9.
    machine.outb(0xcf9, 6);
    assert_eq!(machine.event("RESET"), json!({ "guest": true, "reason": "guest-reset" }));
    machine.ask("quit", json!({}));
    assert_eq!(machine.event("SHUTDOWN"), json!({ "guest": false, "reason": "host-qmp-quit" }));
    assert!(machine.child.wait().unwrap().success());
}

#[test]
fn what_an_end_brings_is_changed_while_the_guest_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(folder.path());
    machine.ask("set-action", json!({ "reboot": "shutdown", "shutdown": "pause", "watchdog": "reset" }));
    machine.outb(0xcf9, 6);
    assert_eq!(machine.event("SHUTDOWN"), json!({ "guest": true, "reason": "guest-reset" }));
    assert_eq!(machine.ask("query-status", json!({}))["status"], "shutdown");
    machine.ask("set-action", json!({ "reboot": "reset" }));
    machine.outb(0xcf9, 6);
    assert_eq!(machine.event("RESET")["guest"], true);
    let why = machine.refused("set-action", json!({ "shutdown": "poweroff", "panic": "exit-failure" }));
    assert!(why.starts_with("panic=exit-failure"), "{why}");
    // Nothing of what was refused: it would end here.
    machine.ask("set-action", json!({ "reboot": "shutdown" }));
    machine.outb(0xcf9, 6);
    assert_eq!(machine.event("SHUTDOWN")["guest"], true);
    machine.ask("set-action", json!({ "shutdown": "poweroff" }));
    machine.guest.send("outb 0xcf9 0x6\n");
    assert!(machine.child.wait().unwrap().success());
}

/// iBASE's watchdog at port 0x443, of which 14 is two seconds.
#[test]
fn a_watchdog_does_what_was_chosen() {
    const BEGIN: &str = "outb 0x443 14";
    const TIME: &str = "clock_step 2000000000";
    let folder = tempfile::tempdir().unwrap();
    let more = ["-device", "ib700", "-watchdog-action", "pause"];
    let mut machine = Machine::start_with(folder.path(), &more);
    let barks = |machine: &mut Machine| {
        machine.guest(BEGIN);
        machine.guest(TIME);
        machine.event("WATCHDOG")["action"].take()
    };
    assert_eq!(barks(&mut machine), "pause");
    machine.event("STOP");
    let status = machine.ask("query-status", json!({}));
    assert_eq!((&status["status"], &status["running"]), (&json!("watchdog"), &json!(false)));
    machine.ask("cont", json!({}));
    machine.event("RESUME");
    machine.ask("human-monitor-command", json!({ "command-line": "watchdog_action none" }));
    assert_eq!(barks(&mut machine), "none");
    for action in ["debug", "shutdown", "inject-nmi"] {
        machine.ask("set-action", json!({ "watchdog": action }));
        assert_eq!(barks(&mut machine), action);
    }
    assert_eq!(machine.ask("query-status", json!({}))["status"], "running");
    machine.ask("set-action", json!({ "watchdog": "reset" }));
    assert_eq!(barks(&mut machine), "reset");
    assert_eq!(machine.event("RESET"), json!({ "guest": true, "reason": "guest-reset" }));
    let why = machine.refused("set-action", json!({ "watchdog": "bark", "shutdown": "pause" }));
    assert!(why.contains("bark") || why.contains("watchdog"), "{why}");
    // What a power-off does otherwise is not asked.
    machine.ask("set-action", json!({ "watchdog": "poweroff", "shutdown": "pause" }));
    machine.guest(BEGIN);
    machine.guest.send(&format!("{TIME}\n"));
    assert_eq!(machine.event("WATCHDOG")["action"], "poweroff");
    assert_eq!(machine.event("SHUTDOWN")["guest"], true);
    assert!(machine.child.wait().unwrap().success());
}

#[test]
fn keys_are_not_held_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(folder.path());
    let keys = json!({ "keys": [{ "type": "qcode", "data": "a" }], "hold-time": 60_000 });
    let mut held = 0;
    while machine.reply("send-key", keys.clone()).get("error").is_none() {
        held += 1;
        assert!(held < 1000, "it remembers each of them");
    }
    assert_eq!(machine.refused("send-key", keys), "too many keys are held down");
    machine.ask("quit", json!({}));
    assert!(machine.child.wait().unwrap().success());
}
