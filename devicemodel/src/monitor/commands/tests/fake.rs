//! A guest that does nothing but write down what is done to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use hypervisor::debug::Registers;

use super::super::super::events::{self, Event};
use super::super::super::info::{
    AnnounceParameters, BarInfo, BlockInfo, BlockStats, ChardevBackend, ChardevInfo, ClockInfo, CpuInfo,
    DeviceInfo, Input, MachineInfo, NetdevInfo, NewMedium, NewNode, NewNodeKind, NicInfo, NodeInfo, PciInfo,
    Source, VncInfo,
};
use super::super::super::{Guest, Job};
use super::super::*;
use super::network;
use crate::config::NetdevConfig;
use crate::screenshot::ImageFormat;

/// A guest that writes down what is done to it.
pub struct Fake {
    pub log: Vec<String>,
    pub paused: bool,
    pub cpus: Vec<CpuInfo>,
    pub state: RunState,
    /// What another command is doing to it.
    pub work: Option<&'static str>,
    pub events: Vec<Event>,
    /// A save under way.
    pub job: Option<Job>,
    pub answers: Vec<(Job, Result<(), QmpError>)>,
}

impl Default for Fake {
    fn default() -> Fake {
        let cpu = |index| CpuInfo { index, present: index == 0, id: None, thread: 100 };
        Fake {
            log: Vec::new(),
            paused: false,
            cpus: vec![cpu(0), cpu(1)],
            state: RunState::Running,
            work: None,
            events: Vec::new(),
            job: None,
            answers: Vec::new(),
        }
    }
}

impl Guest for Fake {
    fn status(&self) -> RunState {
        if self.paused { RunState::Paused } else { self.state }
    }
    fn work(&self) -> Option<&'static str> {
        self.work
    }
    fn name(&self) -> String {
        "fake".into()
    }
    fn stop(&mut self) -> Result<Begun, QmpError> {
        self.paused = true;
        self.events.push((&events::STOP, Value::Null));
        Ok(Begun::Done)
    }
    fn cont(&mut self) -> Result<Begun, QmpError> {
        self.paused = false;
        self.state = RunState::Running;
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
    fn screendump(
        &mut self,
        file: &Path,
        head: Option<(&str, u32)>,
        format: ImageFormat,
    ) -> Result<Begun, QmpError> {
        let head = match head {
            Some(("vga0", _)) => return Err(QmpError::device_not_found("vga0")),
            Some((device, head)) => format!(" {device}.{head}"),
            None => String::new(),
        };
        self.log.push(format!("screen {} {format:?}{head}", file.display()));
        Ok(Begun::Done)
    }
    fn send_key(&mut self, keys: &[String], hold_ms: u64) -> Result<(), QmpError> {
        self.log.push(format!("keys {} {hold_ms}", keys.join("+")));
        Ok(())
    }
    /// It goes on until `stop`, or until it is given up.
    fn save(&mut self, file: &Path) -> Result<Begun, QmpError> {
        self.events.push((&events::SAVE_PROGRESS, json!({ "transferred": 1, "total": 2 })));
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
    fn change_medium(&mut self, device: &str, medium: NewMedium) -> Result<Begun, QmpError> {
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
        Ok(Begun::Done)
    }
    fn add_node(&mut self, node: NewNode) -> Result<Begun, QmpError> {
        let what = match node.kind {
            NewNodeKind::File(Source::Path(path)) => format!("file {}", path.display()),
            NewNodeKind::File(Source::File(_, path)) => format!("open file {}", path.display()),
            NewNodeKind::Format(format, Source::Path(path)) => format!("{format} of file {}", path.display()),
            NewNodeKind::Format(format, Source::File(..)) => format!("{format} of an open file"),
            NewNodeKind::FormatOf(format, of) => format!("{format} of {of}"),
        };
        self.log.push(format!("node {} {what} ro={}", node.name, node.readonly));
        Ok(Begun::Done)
    }
    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
    fn machine(&self) -> MachineInfo {
        MachineInfo { kind: "pc-i440fx-7.2", target: "x86_64", memory: 64 << 20, ..MachineInfo::default() }
    }
    fn devices(&self) -> Vec<DeviceInfo> {
        let device = |path: &str, kind, properties| {
            let path = path.into();
            DeviceInfo { path, kind, properties, speed: None }
        };
        vec![
            device("/machine/i440fx/ioapic", "ioapic", vec![("version", "uint8", json!(32))]),
            device("/machine/unattached/device[2]", "isa-serial", Vec::new()),
            device("/machine/unattached/device[3]", "isa-serial", Vec::new()),
            device("/machine/peripheral/cd", "ide-cd", vec![("bootindex", "int32", json!(-1))]),
            device("/machine/peripheral/uas", "usb-uas", vec![("attached", "bool", json!(false))]),
        ]
    }
    fn set_bootindex(&mut self, path: &str, turn: &Value) -> Result<(), QmpError> {
        self.log.push(format!("bootindex of {path} is {turn}"));
        Ok(())
    }
    fn set_attached(&mut self, path: &str, attached: bool) -> Result<(), QmpError> {
        self.log.push(format!("{path} is attached: {attached}"));
        Ok(())
    }
    fn clock(&self) -> Option<ClockInfo> {
        Some([2026, 11, 21, 12, 32, 6])
    }
    fn input(&mut self, events: &[Input]) -> Result<(), QmpError> {
        self.log.extend(events.iter().map(|event| format!("{event:?}")));
        Ok(())
    }
    fn add_chardev(&mut self, id: &str, line: ChardevBackend) -> Result<(Begun, Option<String>), QmpError> {
        let pty = (line == ChardevBackend::Pty).then(|| "/dev/pts/9".to_owned());
        self.log.push(format!("line {id} {line:?}"));
        Ok((Begun::Done, pty))
    }
    fn chardevs(&self) -> Vec<ChardevInfo> {
        let filename = "pty:/dev/pts/3".into();
        vec![ChardevInfo { label: "serial0".into(), filename, frontend_open: true }]
    }
    fn vnc(&self) -> Option<VncInfo> {
        let (host, service) = ("127.0.0.1".into(), "5901".into());
        Some(VncInfo {
            host,
            service,
            family: "ipv4",
            auth: "none",
            needs_password: false,
            encrypts: false,
            websocket: None,
            clients: Vec::new(),
        })
    }
    fn set_vnc_password(&mut self, password: &str) -> Result<(), QmpError> {
        self.log.push(format!("password {password}"));
        Ok(())
    }
    fn expire_vnc_password(&mut self, at: Option<u64>) -> Result<(), QmpError> {
        self.log.push(format!("expires {at:?}"));
        Ok(())
    }
    fn cpus(&self) -> Vec<CpuInfo> {
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
    fn pci(&self) -> Vec<PciInfo> {
        vec![PciInfo {
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
                BarInfo { index: 4, io: true, prefetch: false, address: Some(0xc000), size: 16 },
                BarInfo { index: 5, io: false, prefetch: true, address: None, size: 4096 },
            ],
        }]
    }
    fn blocks(&self) -> Vec<BlockInfo> {
        let stats = BlockStats { rd_bytes: 512, rd_operations: 1, ..BlockStats::default() };
        let medium = NodeInfo {
            name: "#block100".into(),
            file: "/srv/hello.img".into(),
            driver: "raw",
            ..NodeInfo::default()
        };
        let medium = Some(medium);
        vec![
            BlockInfo { device: "ide0-hd0".into(), medium, stats, ..BlockInfo::default() },
            BlockInfo { device: "ide-5632".into(), removable: true, ..BlockInfo::default() },
        ]
    }
    fn nics(&self) -> Vec<NicInfo> {
        network::nics()
    }
    fn netdevs(&self) -> Vec<NetdevInfo> {
        network::netdevs()
    }
    fn device_add(
        &mut self,
        driver: &str,
        id: Option<&str>,
        props: &Map<String, Value>,
    ) -> Result<(), QmpError> {
        if driver != "e1000" {
            return Err(QmpError::generic(format!("'{driver}' is not a valid device model name")));
        }
        let props: String = props.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        self.log.push(format!("device {} {driver}{props}", id.unwrap_or("-")));
        Ok(())
    }
    fn netdev_add(
        &mut self,
        netdev: NetdevConfig,
        _: &mut BTreeMap<String, OwnedFd>,
    ) -> Result<(), QmpError> {
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
    fn save_devices(&mut self, to: Source, live: bool) -> Result<Begun, QmpError> {
        let mut file = match to {
            Source::Path(path) => File::create(path).unwrap(),
            Source::File(fd, _) => fd.into(),
        };
        file.write_all(b"state").unwrap();
        self.log.push(format!("save live={live}"));
        Ok(Begun::Done)
    }
}

/// A guest and what a connection has.
#[derive(Default)]
pub struct Bench {
    pub guest: Fake,
    pub shared: Shared,
    pub session: Session,
}

impl Bench {
    /// Carries out a command. Its answer must be of the type that is told of it.
    pub fn run(&mut self, name: &str, arguments: Value) -> Result<Value, QmpError> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let command = Command { name: name.into(), arguments, id: None };
        let line = |label: &str| ChardevInfo {
            label: label.into(),
            filename: "unix:/var/run/xen/qmp-libxl-5,server=on".into(),
            frontend_open: true,
        };
        let answer = execute(
            &command,
            &mut Context {
                guest: &mut self.guest,
                shared: &mut self.shared,
                session: &mut self.session,
                monitors: &[line("libxl-cmd")],
                notify: &mut |_, _| (),
                later: None,
            },
        )?;
        assert_eq!(schema().check_answer(name, &answer), Ok(()), "{name}: {answer}");
        Ok(answer)
    }

    pub fn human(&mut self, line: &str) -> String {
        self.run("human-monitor-command", json!({ "command-line": line }))
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }
}
