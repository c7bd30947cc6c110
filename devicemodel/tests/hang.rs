//! What hangs in the host holds up its own command and nothing else. A thread of the program that is stopped by
//! ptrace stands for a disk, or a processor's access, that does not come back.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A firmware that waits for a key, has the first disk write what it has cached, and then does nothing.
const FIRMWARE: &[u8] = &[
    0xb0, 0xae, // mov al, 0aeh
    0xe6, 0x64, // out 64h, al
    0xe4, 0x64, // 1: in al, 64h
    0xa8, 0x01, // test al, 1
    0x74, 0xfa, // jz 1
    0xb0, 0xe0, // mov al, 0e0h
    0xba, 0xf6, 0x01, // mov dx, 1f6h
    0xee, // out dx, al
    0xba, 0xf7, 0x01, // mov dx, 1f7h
    0xb0, 0xe7, // mov al, 0e7h
    0xee, // out dx, al
    0xeb, 0xfe, // 2: jmp 2
];

/// What the same firmware does before it does nothing, to have the CD read a sector: it selects the drive, sends PACKET,
/// waits for it to ask for the packet, and gives it READ(10).
const READ_CD: &[u8] = &[
    0xb0, 0xa0, // mov al, 0a0h
    0xba, 0x76, 0x01, // mov dx, 176h
    0xee, // out dx, al
    0xb0, 0x08, // mov al, 8
    0xba, 0x75, 0x01, // mov dx, 175h
    0xee, // out dx, al
    0xb0, 0xa0, // mov al, 0a0h
    0xba, 0x77, 0x01, // mov dx, 177h
    0xee, // out dx, al
    0xec, // 1: in al, dx
    0xa8, 0x08, // test al, 8
    0x74, 0xfb, // jz 1
    0xba, 0x70, 0x01, // mov dx, 170h
    0xb8, 0x28, 0x00, // mov ax, 28h
    0xef, // out dx, ax
    0x31, 0xc0, // xor ax, ax
    0xef, 0xef, 0xef, // out dx, ax
    0xb8, 0x01, 0x00, // mov ax, 1
    0xef, // out dx, ax
    0x31, 0xc0, // xor ax, ax
    0xef, // out dx, ax
];

/// The program. Whatever hangs in it, it is gone when this is dropped.
struct Program {
    child: Child,
    stopped: Vec<Pid>,
}

impl Program {
    fn start(folder: &Path, monitor: &[&str]) -> Program {
        Program::start_with(folder, FIRMWARE, monitor)
    }

    fn start_with(folder: &Path, firmware: &[u8], monitor: &[&str]) -> Program {
        let mut image = vec![0xff; 64 << 10];
        image[..firmware.len()].copy_from_slice(firmware);
        // The reset vector, 16 bytes before the end: jump to the beginning of the segment.
        image[0xfff0..0xfff3].copy_from_slice(&[0xe9, 0x0d, 0x00]);
        std::fs::write(folder.join("rom"), image).unwrap();
        let roms = folder.join("build/root/usr/share/seabios");
        std::fs::create_dir_all(&roms).unwrap();
        let mut vga = vec![0; 512];
        vga[..4].copy_from_slice(&[0x55, 0xaa, 1, 0xcb]);
        vga[511] = vga.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
        std::fs::write(roms.join("vgabios-stdvga.bin"), vga).unwrap();
        std::fs::write(folder.join("disk"), vec![0; 1 << 20]).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_ailurus"))
            .args(["run", "--hypervisor", "soft", "--memory", "2", "--timeout", "600", "--sandbox", "off"])
            .args(["--firmware", "rom", "--disk", "disk,format=raw", "--monitor", "unix:qmp"])
            .args(monitor)
            .current_dir(folder)
            .env("AILURUS_FIRMWARE_DIR", &roms)
            .env("XDG_STATE_HOME", folder.join("state"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Program { child, stopped: Vec::new() }
    }

    /// Stops the threads of that name, of which there is at least one.
    fn stop(&mut self, name: &str) {
        // A thread takes its name when it begins.
        while self.stopped.is_empty() {
            self.try_stop(name);
        }
    }

    fn try_stop(&mut self, name: &str) {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        for task in tasks.map(|task| task.unwrap().path()) {
            if std::fs::read_to_string(task.join("comm")).unwrap().trim_end() != name {
                continue;
            }
            let thread = Pid::from_raw(task.file_name().unwrap().to_str().unwrap().parse().unwrap());
            ptrace::seize(thread, ptrace::Options::empty()).unwrap();
            ptrace::interrupt(thread).unwrap();
            let status = waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
            assert!(matches!(status, WaitStatus::PtraceEvent(..)), "{status:?}");
            self.stopped.push(thread);
        }
    }

    /// Has the next thread hang that the event loop starts. [`catch`](Program::catch) awaits it.
    fn stop_the_next(&self) {
        let main = Pid::from_raw(self.child.id() as i32);
        ptrace::seize(main, ptrace::Options::PTRACE_O_TRACECLONE).unwrap();
    }

    /// That thread has been started, and stands still.
    fn catch(&mut self) {
        let main = Pid::from_raw(self.child.id() as i32);
        let until = Instant::now() + Duration::from_secs(50);
        let status = loop {
            match waitpid(main, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive => assert!(Instant::now() < until, "no thread is started"),
                status => break status,
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(matches!(status, WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_CLONE)), "{status:?}");
        let thread = Pid::from_raw(ptrace::getevent(main).unwrap() as i32);
        let status = waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        assert!(matches!(status, WaitStatus::PtraceEvent(..)), "{status:?}");
        ptrace::detach(main, None).unwrap();
        self.stopped.push(thread);
    }

    /// The host answers again.
    fn go_on(&mut self) {
        for thread in self.stopped.drain(..) {
            ptrace::detach(thread, None).unwrap();
        }
    }

    /// The exit status. The bound is for a machine that is busy; a process that hangs misses any.
    fn ends(mut self) -> Option<i32> {
        let until = Instant::now() + Duration::from_secs(50);
        loop {
            // Those that are traced are waited for first.
            self.stopped.retain(|thread| {
                matches!(
                    waitpid(*thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)),
                    Ok(WaitStatus::StillAlive)
                )
            });
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        for thread in self.stopped.drain(..) {
            let _ = waitpid(thread, Some(WaitPidFlag::__WALL));
        }
        let _ = self.child.wait();
    }
}

/// A client of its monitor.
struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(folder: &Path) -> Client {
        let until = Instant::now() + Duration::from_secs(50);
        let stream = loop {
            match UnixStream::connect(folder.join("qmp")) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        stream.set_read_timeout(Some(Duration::from_secs(50))).unwrap();
        let mut client = Client(BufReader::new(stream));
        assert!(client.line().get("QMP").is_some());
        client.ask("qmp_capabilities", json!({}));
        client
    }
    fn line(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the program hung up");
        serde_json::from_str(&line).unwrap()
    }
    fn send(&mut self, command: &str, arguments: Value) {
        let command = json!({ "execute": command, "arguments": arguments }).to_string();
        self.0.get_mut().write_all(command.as_bytes()).unwrap();
    }
    fn answer(&mut self) -> Value {
        loop {
            let line = self.line();
            if line.get("event").is_none() {
                return line;
            }
        }
    }
    fn ask(&mut self, command: &str, arguments: Value) -> Value {
        self.send(command, arguments);
        self.answer()
    }
    fn status(&mut self) -> String {
        self.ask("query-status", json!({}))["return"]["status"].as_str().unwrap().to_owned()
    }
    /// Has the guest make its request, which is in flight after that, or done.
    fn press(&mut self) {
        let key = json!([{ "type": "qcode", "data": "a" }]);
        assert_eq!(self.ask("send-key", json!({ "keys": key }))["return"], json!({}));
        let flushes = |stats: Value| stats["return"][0]["stats"]["flush_operations"].clone();
        while flushes(self.ask("query-blockstats", json!({}))) != 1 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    /// Waits for a status.
    fn see(&mut self, status: &str) {
        while self.status() != status {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn error(answer: &Value) -> &str {
    answer["error"]["desc"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

/// The names in a folder that begin so.
fn names(folder: &Path, with: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(with)).collect()
}

#[test]
fn a_save_gives_up_a_disk_that_hangs_and_everybody_else_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start(folder.path(), &["--patience", "2"]);
    let (mut one, mut other) = (Client::connect(folder.path()), Client::connect(folder.path()));
    program.stop("disk");
    one.press();
    one.send("save", json!({ "filename": "saved" }));
    // An answer to the save before this would let it wait for ever.
    other.see("save-vm");
    assert_eq!(names(folder.path(), "saved.partial").len(), 1, "it was begun when it was asked for");
    let device = json!({ "driver": "pci-testdev", "id": "t" });
    let commands = [
        ("save", json!({ "filename": "x" })),
        ("system_reset", json!({})),
        ("cont", json!({})),
        ("device_add", device),
        ("device_del", json!({ "id": "t" })),
    ];
    for (command, arguments) in commands {
        let answer = other.ask(command, arguments);
        assert!(error(&answer).starts_with("the guest is being saved"), "{answer}");
    }
    let answer = one.answer();
    assert!(error(&answer).ends_with(" did not finish what it was doing"), "{answer}");
    assert_eq!(names(folder.path(), "saved"), Vec::<String>::new());
    assert_eq!(other.status(), "running");

    program.go_on();
    let answer = one.ask("save", json!({ "filename": "saved" }));
    assert_eq!(answer["return"], json!({}), "{answer}");
    assert_eq!(names(folder.path(), "saved"), ["saved"]);
    assert_eq!(other.status(), "paused");
    one.ask("quit", json!({}));
    assert_eq!(program.ends(), Some(0));
}

#[test]
fn a_save_is_given_up_for_who_wants_the_end() {
    for by_signal in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Program::start(folder.path(), &[]);
        let (mut one, mut other) = (Client::connect(folder.path()), Client::connect(folder.path()));
        program.stop("disk");
        one.press();
        one.send("save", json!({ "filename": "saved" }));
        other.see("save-vm");
        if by_signal {
            kill(Pid::from_raw(program.child.id() as i32), Signal::SIGTERM).unwrap();
        } else {
            assert_eq!(other.ask("quit", json!({}))["return"], json!({}));
        }
        assert_eq!(error(&one.answer()), "given up: the process was asked to end");
        assert_eq!(program.ends(), Some(0));
        assert_eq!(names(folder.path(), "saved"), Vec::<String>::new());
    }
}

#[test]
fn a_cd_whose_file_hangs_can_be_taken_out_and_another_put_in() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cd", "other"] {
        std::fs::write(folder.path().join(name), [0; 4096]).unwrap();
    }
    let (works, rests) = FIRMWARE.split_at(FIRMWARE.len() - 2);
    let firmware = [works, READ_CD, rests].concat();
    let mut program = Program::start_with(folder.path(), &firmware, &["--cdrom", "cd"]);
    let (mut one, mut other) = (Client::connect(folder.path()), Client::connect(folder.path()));
    program.stop("disk");
    one.press();
    let cd = |stats: &Value| {
        let reads = |drive: &&Value| drive["stats"]["rd_operations"] == 1;
        Some(stats["return"].as_array()?.iter().find(reads)?["device"].as_str()?.to_owned())
    };
    let name = loop {
        if let Some(name) = cd(&one.ask("query-blockstats", json!({}))) {
            break name;
        }
    };
    let drive = json!({ "device": name, "force": true });
    let file = json!({ "device": name, "filename": "other" });
    for (command, arguments) in [
        ("blockdev-open-tray", &drive),
        ("blockdev-close-tray", &json!({ "device": name })),
        ("eject", &drive),
        ("blockdev-change-medium", &file),
    ] {
        // An answer that waits for the file would wait for ever.
        assert_eq!(one.ask(command, arguments.clone())["return"], json!({}), "{command}");
        assert_eq!(other.status(), "running");
    }
    let blocks = one.ask("query-block", json!({}));
    let drive = blocks["return"].as_array().unwrap().iter().find(|drive| drive["device"] == *name).unwrap();
    assert_eq!(drive["inserted"]["file"], "other");
    one.ask("quit", json!({}));
    assert_eq!(program.ends(), Some(0));
}

#[test]
fn a_file_of_a_dead_server_holds_up_who_named_it_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cd"), [0; 4096]).unwrap();
    let mut program = Program::start(folder.path(), &["--patience", "1", "--cdrom", "cd"]);
    let (mut one, mut other) = (Client::connect(folder.path()), Client::connect(folder.path()));
    let drives = one.ask("query-block", json!({}));
    let cd = drives["return"].as_array().unwrap().iter().find(|drive| drive["removable"] == true);
    let cd = cd.unwrap()["device"].as_str().unwrap().to_owned();
    let file = |name: &str| json!({ "node-name": name, "driver": "file", "filename": "cd" });
    let line = json!({ "id": "l", "backend": { "type": "file", "data": { "out": "line" } } });
    let commands = [
        ("blockdev-add", file("a")),
        ("blockdev-change-medium", json!({ "device": cd, "filename": "cd" })),
        ("screendump", json!({ "filename": "shot" })),
        ("chardev-add", line),
        ("object-add", json!({ "qom-type": "filter-dump", "id": "d", "netdev": "net0", "file": "dump" })),
        ("object-add", json!({ "qom-type": "secret", "id": "s", "file": "key" })),
        ("save", json!({ "filename": "saved" })),
        ("xen-save-devices-state", json!({ "filename": "devices" })),
    ];
    for (command, arguments) in commands {
        let stands = command == "xen-save-devices-state";
        if stands {
            one.ask("stop", json!({}));
        }
        program.stop_the_next();
        one.send(command, arguments.clone());
        program.catch();
        assert_eq!(other.status(), if stands { "paused" } else { "running" }, "{command}");
        assert!(error(&one.answer()).ends_with("the host does not answer"), "{command}");
        program.go_on();
        if stands {
            one.ask("cont", json!({}));
        }
    }
    // What was given up is as if it had never been asked for.
    let secret = |file: &str| json!({ "qom-type": "secret", "id": "s", "file": file, "format": "base64" });
    let failed = one.ask("object-add", secret("none"));
    assert!(error(&failed).starts_with("Unable to read none: "), "{failed}");
    std::fs::write(folder.path().join("key"), "c2VzcmU=\n").unwrap();
    assert_eq!(one.ask("object-add", secret("key"))["return"], json!({}));
    assert!(error(&one.ask("object-add", secret("/dev/zero"))).starts_with("attempt to add duplicate"));
    let nodes = one.ask("query-named-block-nodes", json!({}));
    assert!(nodes["return"].as_array().unwrap().iter().all(|node| node["node-name"] != "a"), "{nodes}");
    for name in ["a", "b"] {
        program.stop_the_next();
        one.send("blockdev-add", file(name));
        program.catch();
        assert_eq!(other.status(), "running");
        program.go_on();
        assert_eq!(one.answer()["return"], json!({}), "{name}");
    }
    program.stop_the_next();
    one.send("query-block", json!({}));
    program.catch();
    let seen = one.answer();
    assert!(seen["return"][0]["inserted"]["image"].get("actual-size").is_none(), "{seen}");
    one.ask("quit", json!({}));
    assert_eq!(program.ends(), Some(0));
}

#[test]
fn a_processor_that_hangs_is_named_and_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start(folder.path(), &["--patience", "1"]);
    let (mut one, mut other) = (Client::connect(folder.path()), Client::connect(folder.path()));
    // It computes, and holds nothing that others wait for.
    one.press();
    program.stop("vcpu-0");
    let lags = "vCPU 0 did not finish an access to a device, and so did not stop";
    one.send("stop", json!({}));
    assert_eq!(other.status(), "running");
    assert_eq!(error(&one.answer()), lags);
    let answer = one.ask("save", json!({ "filename": "saved" }));
    assert_eq!((error(&answer), names(folder.path(), "saved").len()), (lags, 0));
    // A reset is answered, and comes when it can.
    assert_eq!(one.ask("system_reset", json!({}))["return"], json!({}));
    assert!(error(&other.ask("stop", json!({}))).starts_with("the guest is being reset"));
    program.go_on();
    while one.line()["event"] != "RESET" {}
    other.see("running");
    program.stop("vcpu-0");
    one.ask("quit", json!({}));
    assert_eq!(program.ends(), Some(0));
}

#[test]
fn a_person_looks_into_a_guest_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), &[]);
    let mut one = Client::connect(folder.path());
    one.press();
    let mut say = |line: &str| {
        let answer = one.ask("human-monitor-command", json!({ "command-line": line }));
        answer["return"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    while !say("x/1i $pc").contains("jmp ") {}
    assert!(say("print $pc").starts_with("0xffff00"), "the firmware at the end of 4 GiB");
    assert_eq!(say("xp/2xb 0xffff0000"), "00000000ffff0000: 0xb0 0xae\r\n");
    let registers = say("info registers");
    assert!(registers.contains("EAX=000000e7 ") && registers.contains("01f7\r\n"), "{registers}");
    assert!(registers.contains("\r\nCS =f000 ffff0000 0000ffff 00009"), "{registers}");
    assert_eq!(say("xp 0x8000000000"), "0000008000000000: Cannot access memory\r\n");
    assert_eq!(one.status(), "running");
    one.ask("quit", json!({}));
    assert_eq!(program.ends(), Some(0));
}
