//! What the monitor does with the guest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use backends::net::UserHandle;
use devices::models;
use devices_core::model::{self, Plug, Properties};
use hypervisor::debug::Registers;
use serde_json::{Map, Value, json};

use super::announce::Announce;
use super::{BY_HOST, Ending, Runner, look};
use crate::config::{DeviceSpec, DumpConfig, NetdevConfig, SerialConfig, bus_of};
use crate::machine::{BuildError, Terminal, open_dump, prepare_line};
use crate::monitor::events::{self as qmp, Event};
use crate::monitor::info::{
    Actions, AnnounceParameters, BlockInfo, ChardevBackend, ChardevInfo, ClockInfo, CpuInfo, DeviceInfo,
    Input, MachineInfo, MouseInfo, NetdevInfo, NewDrive, NewMedium, NewNode, NewNodeKind, NicInfo, NodeInfo,
    PciInfo, Source, VncInfo,
};
use crate::monitor::protocol::QmpError;
use crate::monitor::run_state::RunState;
use crate::monitor::{Begun, Guest, Job, Reader, is_object_type, json};
use crate::screenshot::{self, ImageFormat};
use crate::vnc;
use crate::whole_file::WholeFile;

/// A property's value as a client gives it, as words of a command line, which QEMU's `device_add` makes of all of them:
/// numbers and switches may come as text, as libxl gives ports, and text as numbers.
fn words(name: &str, value: &Value) -> Result<String, QmpError> {
    json::words(value).ok_or_else(|| QmpError::generic(format!("Parameter '{name}' expects another type")))
}

/// Most keys that are held down at a time: more than a keyboard has.
const HELD: usize = 256;

impl Guest for Runner {
    fn status(&self) -> RunState {
        if self.is_saving() { RunState::SaveVm } else { self.state }
    }

    fn work(&self) -> Option<&'static str> {
        self.work_word()
    }

    fn name(&self) -> String {
        self.machine.config().name.clone()
    }

    fn stop(&mut self) -> Result<Begun, QmpError> {
        if self.state == RunState::Running { self.begin_stop() } else { Ok(Begun::Done) }
    }

    fn cont(&mut self) -> Result<Begun, QmpError> {
        // Another process had the disks, if the guest was to go on there.
        if self.lent { self.begin_cont() } else { self.go_on().map(|()| Begun::Done) }
    }

    fn quit(&mut self) {
        self.ending = Some(Ending::Quit);
        self.events.push((&qmp::SHUTDOWN, json!({ "guest": false, "reason": "host-qmp-quit" })));
    }

    fn powerdown(&mut self) {
        self.machine.press_power_button();
    }

    fn reset(&mut self) -> Result<(), QmpError> {
        self.reset_by(BY_HOST);
        Ok(())
    }

    fn set_actions(&mut self, actions: &Actions) -> Result<(), QmpError> {
        self.ends.set(actions)
    }

    fn inject_nmi(&mut self) -> Result<(), QmpError> {
        self.machine.inject_nmi()
    }

    fn inspect(&mut self, path: &str) -> Result<String, QmpError> {
        let tree = self.machine.inspect();
        let node = tree.find(path);
        node.map(ToString::to_string)
            .ok_or_else(|| QmpError::generic(format!("the machine has no node '{path}'; try without a path")))
    }

    fn screendump(
        &mut self,
        file: &Path,
        head: Option<(&str, u32)>,
        format: ImageFormat,
    ) -> Result<Begun, QmpError> {
        let no_display = || QmpError::generic("There is no display device");
        let frame = match head {
            Some((device, head)) => self.machine.head(device, head)?,
            None => self.machine.frame().ok_or_else(no_display)?,
        };
        let handed = WholeFile::handed(file);
        let path = file.to_owned();
        let write = move || {
            let whole = handed.map_or_else(|| WholeFile::create(&path), Ok);
            whole.and_then(|whole| screenshot::write(&*frame, whole, format)).map_err(|error| {
                QmpError::generic(format!("failed to open file '{}': {error}", path.display()))
            })
        };
        self.elsewhere(file, write, |_, _, ()| Some(Ok(())))
    }

    fn send_key(&mut self, keys: &[String], hold_ms: u64) -> Result<(), QmpError> {
        if let Some(unknown) = keys.iter().find(|key| !self.machine.knows_key(key)) {
            return Err(QmpError::generic(format!("invalid parameter: {unknown}")));
        }
        if self.held.iter().map(|(_, keys)| keys.len()).sum::<usize>() + keys.len() > HELD {
            return Err(QmpError::generic("too many keys are held down"));
        }
        for key in keys {
            self.machine.key(key, true);
        }
        let hold = Duration::from_millis(hold_ms.min(60_000));
        self.held.push((Instant::now() + hold, keys.to_vec()));
        Ok(())
    }

    fn save(&mut self, file: &Path) -> Result<Begun, QmpError> {
        self.begin_save(file)
    }

    fn take_answers(&mut self) -> Vec<(Job, Result<(), QmpError>)> {
        std::mem::take(&mut self.answers)
    }

    fn give_up(&mut self) {
        self.abandon();
    }

    fn eject(&mut self, device: &str, force: bool) -> Result<(), QmpError> {
        self.machine.eject(device, force)
    }

    fn change_medium(&mut self, device: &str, medium: NewMedium) -> Result<Begun, QmpError> {
        self.machine.find_cd(device)?;
        let NewMedium { source, format, force } = medium;
        let device = device.to_owned();
        self.with_file(source, false, move |runner, source| {
            runner.machine.change_medium(&device, NewMedium { source, format, force })
        })
    }

    fn open_tray(&mut self, device: &str, force: bool) -> Result<(), QmpError> {
        self.machine.open_tray(device, force)
    }

    fn close_tray(&mut self, device: &str) -> Result<(), QmpError> {
        self.machine.close_tray(device)
    }

    fn insert_medium(&mut self, device: &str, node: &str) -> Result<(), QmpError> {
        self.machine.insert_medium(device, node)
    }

    fn remove_medium(&mut self, device: &str) -> Result<(), QmpError> {
        self.machine.remove_medium(device)
    }

    fn add_node(&mut self, node: NewNode) -> Result<Begun, QmpError> {
        let NewNode { name, kind, readonly } = node;
        let add = move |runner: &mut Runner, kind| runner.machine.add_node(NewNode { name, kind, readonly });
        match kind {
            NewNodeKind::File(source) => {
                self.with_file(source, !readonly, |runner, source| add(runner, NewNodeKind::File(source)))
            }
            NewNodeKind::Format(format, source) => self.with_file(source, !readonly, |runner, source| {
                add(runner, NewNodeKind::Format(format, source))
            }),
            NewNodeKind::FormatOf(..) => add(self, kind).map(|()| Begun::Done),
        }
    }

    fn add_drive(&mut self, drive: NewDrive) -> Result<Begun, QmpError> {
        let NewDrive { name, image, readonly } = drive;
        let add =
            move |runner: &mut Runner, image| runner.machine.add_drive(NewDrive { name, image, readonly });
        match image {
            Some((format, source)) => {
                self.with_file(source, !readonly, |runner, source| add(runner, Some((format, source))))
            }
            None => add(self, None).map(|()| Begun::Done),
        }
    }

    fn delete_drive(&mut self, name: &str) -> Result<(), QmpError> {
        self.machine.delete_drive(name)
    }

    fn remove_node(&mut self, name: &str) -> Result<(), QmpError> {
        self.machine.remove_node(name)
    }

    fn nodes(&self) -> Vec<NodeInfo> {
        self.machine.nodes()
    }

    fn take_events(&mut self) -> Vec<Event> {
        self.hear();
        std::mem::take(&mut self.events)
    }

    fn machine(&self) -> MachineInfo {
        self.machine.info()
    }

    fn devices(&self) -> Vec<DeviceInfo> {
        self.machine.devices()
    }

    fn clock(&self) -> Option<ClockInfo> {
        self.machine.clock()
    }

    fn input(&mut self, events: &[Input]) -> Result<(), QmpError> {
        self.mouse.act(&self.machine, events);
        Ok(())
    }

    fn mice(&self) -> Vec<MouseInfo> {
        self.machine.inputs().mice()
    }

    fn add_chardev(&mut self, id: &str, line: ChardevBackend) -> Result<(Begun, Option<String>), QmpError> {
        let (line, path) = match line {
            ChardevBackend::Null => (SerialConfig::Null, None),
            ChardevBackend::File(path) => (SerialConfig::File(path.clone()), Some(path)),
            ChardevBackend::Append(path) => (SerialConfig::Append(path.clone()), Some(path)),
            ChardevBackend::Pty => (SerialConfig::Pty, None),
            ChardevBackend::Unix(path) => (SerialConfig::Unix(path.clone()), Some(path)),
        };
        let Some(path) = path else {
            let end = prepare_line(id, &line)?;
            return self.machine.add_chardev(id, line, end).map(|pty| (Begun::Done, pty));
        };
        let (name, config) = (id.to_owned(), line.clone());
        let begun = self.elsewhere(
            &path,
            move || prepare_line(&name, &config).map(|end| (name, end)),
            |runner, _, (id, end)| Some(runner.machine.add_chardev(&id, line, end).map(drop)),
        )?;
        Ok((begun, None))
    }

    fn remove_chardev(&mut self, id: &str) -> Result<(), QmpError> {
        if self.machine.terminals().iter().any(|terminal| terminal.info().label == id) {
            return Err(QmpError::generic(format!("Chardev '{id}' is busy")));
        }
        self.machine.remove_chardev(id)
    }

    fn device_add(
        &mut self,
        driver: &str,
        id: Option<&str>,
        props: &Map<String, Value>,
    ) -> Result<(), QmpError> {
        let error = |error: &dyn std::fmt::Display| QmpError::generic(error.to_string());
        let Some(model) = models::find(driver).filter(|model| model.plug != Plug::Fixed) else {
            return Err(QmpError::generic(match is_object_type(driver) {
                true => "Parameter 'driver' expects a pluggable device type".into(),
                false => format!("'{driver}' is not a valid device model name"),
            }));
        };
        let (mut properties, mut bus) = (Properties::new(model), None);
        for (name, value) in props {
            if name == "bus" {
                bus = bus_of(model, value.as_str().unwrap_or_default()).map_err(|why| error(&why))?;
                continue;
            }
            properties.parse(name, &words(name, value)?).map_err(|why| error(&why))?;
        }
        let spec = DeviceSpec { bus, ..DeviceSpec::new(id.map(str::to_owned), &properties) };
        self.machine.add_device(spec).map_err(|why| error(&why))
    }

    fn set_bootindex(&mut self, path: &str, turn: &Value) -> Result<(), QmpError> {
        let set = self.machine.set_bootindex(path, model::Value::Text(words("bootindex", turn)?));
        set.map_err(|error| QmpError::generic(error.to_string()))
    }

    fn set_attached(&mut self, path: &str, attached: bool) -> Result<(), QmpError> {
        let set = self.machine.set_attached(path, attached);
        set.map_err(|error| QmpError::generic(error.to_string()))
    }

    fn device_del(&mut self, id: &str) -> Result<(), QmpError> {
        if let Some(asked) = self.machine.request_unplug(id) {
            return asked.map_err(|error| QmpError::generic(error.to_string()));
        }
        let path = format!("/machine/peripheral/{id}");
        let devices = self.machine.devices();
        let device = devices.iter().find(|device| device.path == path || device.path == id);
        let device = device.ok_or_else(|| QmpError::device_not_found(id))?;
        Err(QmpError::generic(match device.kind {
            "ide-cd" | "ide-hd" => "Bus 'ide.0' does not support hotplugging".into(),
            kind => format!("Device '{kind}' does not support hotplugging"),
        }))
    }

    fn balloon(&self) -> Option<u64> {
        self.machine.balloon()
    }

    fn set_balloon(&mut self, bytes: u64) -> Result<(), QmpError> {
        self.machine.set_balloon(bytes);
        Ok(())
    }

    fn set_balloon_polling(&mut self, path: &str, seconds: u32) -> Result<(), QmpError> {
        match self.machine.set_balloon_polling(path, seconds) {
            true => Ok(()),
            false => Err(QmpError::device_not_found(path)),
        }
    }

    fn nics(&self) -> Vec<NicInfo> {
        self.machine.nics()
    }

    fn netdevs(&self) -> Vec<NetdevInfo> {
        self.machine.netdevs()
    }

    fn netdev_add(
        &mut self,
        netdev: NetdevConfig,
        named: &mut BTreeMap<String, OwnedFd>,
    ) -> Result<(), QmpError> {
        self.machine.add_netdev(netdev, named).map_err(|error| QmpError::generic(error.to_string()))
    }

    fn dumps(&self) -> Vec<String> {
        self.machine.dumps()
    }

    fn dump_add(&mut self, dump: DumpConfig) -> Result<Begun, QmpError> {
        let failed = |error: BuildError| {
            let mut text = error.to_string();
            crate::sandbox::explain(&mut text);
            QmpError::generic(text)
        };
        self.machine.may_dump(&dump).map_err(failed)?;
        let path = dump.file.clone();
        let open = {
            let path = path.clone();
            move || open_dump(&path).map_err(failed)
        };
        self.elsewhere(&path, open, move |runner, _, file| {
            // It may have got a twin meanwhile.
            let twin = runner.machine.dumps().contains(&dump.id);
            let twin = twin.then(|| QmpError::generic(format!("there is an object '{}' already", dump.id)));
            Some(twin.map_or(Ok(()), Err).and_then(|()| runner.machine.add_dump(&dump, file).map_err(failed)))
        })
    }

    fn read_file(&mut self, file: &Path, longest: u64, then: Reader) -> Result<Begun, QmpError> {
        let read = {
            let path = file.to_owned();
            move || {
                let mut bytes = Vec::new();
                // Nobody may be at the other end of a pipe.
                let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
                let read = file.and_then(|file| file.take(longest).read_to_end(&mut bytes));
                let failed = |error| QmpError::generic(format!("Unable to read {}: {error}", path.display()));
                read.map_err(failed)?;
                Ok(bytes)
            }
        };
        self.elsewhere(file, read, move |_, _, bytes| Some(then(bytes)))
    }

    fn dump_del(&mut self, id: &str) -> bool {
        self.machine.remove_dump(id)
    }

    fn user_networks(&self) -> Vec<(String, String)> {
        let networks = self.machine.user_networks().into_iter();
        networks.map(|(id, network)| (id, network.flows().table())).collect()
    }

    fn forward(&mut self, netdev: Option<&str>, rule: &str, add: bool) -> Result<(), QmpError> {
        let networks = self.machine.user_networks();
        let is_it = |(id, _): &&(String, UserHandle)| netdev.is_none_or(|netdev| netdev == id);
        let Some((_, network)) = networks.iter().find(is_it) else {
            return Err(QmpError::generic(match netdev {
                Some(id) => format!("unrecognized netdev id '{id}'"),
                None => "user mode network stack not in use".into(),
            }));
        };
        let done = if add { network.hostfwd_add(rule).map(drop) } else { network.hostfwd_remove(rule) };
        done.map_err(|error| QmpError::generic(error.to_string()))
    }

    fn netdev_del(&mut self, id: &str) -> Result<(), QmpError> {
        self.machine.remove_netdev(id).then_some(()).ok_or_else(|| QmpError::device_not_found(id))
    }

    fn set_link(&mut self, name: &str, up: bool) -> Result<(), QmpError> {
        self.machine.set_link(name, up).then_some(()).ok_or_else(|| QmpError::device_not_found(name))
    }

    fn announce(&mut self, how: AnnounceParameters, names: Option<Vec<String>>) {
        self.announce = Some(Announce::new(how, names));
    }

    fn vnc(&self) -> Option<VncInfo> {
        self.vnc.as_ref().map(vnc::info)
    }

    fn set_vnc_password(&mut self, password: &str) -> Result<(), QmpError> {
        let vnc = self.vnc.as_ref().ok_or_else(|| QmpError::generic("there is no VNC server"))?;
        vnc.set_password(Some(password)).map_err(|error| QmpError::generic(error.to_string()))
    }

    fn expire_vnc_password(&mut self, at: Option<u64>) -> Result<(), QmpError> {
        let vnc = self.vnc.as_ref().ok_or_else(|| QmpError::generic("Could not set password expire time"))?;
        vnc.expire_password(at);
        Ok(())
    }

    fn chardevs(&self) -> Vec<ChardevInfo> {
        let ports = self.machine.terminals().iter().map(Terminal::info);
        ports.chain(self.machine.chardevs()).collect()
    }

    fn blocks(&self) -> Vec<BlockInfo> {
        self.machine.blocks()
    }

    fn cpus(&self) -> Vec<CpuInfo> {
        self.machine.cpus()
    }

    fn registers(&mut self, vcpu: u32) -> Result<Registers, QmpError> {
        let found = self.look(|debug| debug.registers(vcpu))?;
        found.ok_or_else(|| QmpError::generic("CPU#NUMBER is not valid"))
    }

    fn peek(&mut self, vcpu: Option<u32>, address: u64, len: usize) -> Result<Vec<u8>, QmpError> {
        self.look(|debug| look::read(debug, vcpu, address, len))
    }

    fn plug_cpu(&mut self, index: u32, id: &str) -> Result<(), QmpError> {
        self.machine.plug_cpu(index, id);
        Ok(())
    }

    fn pci(&self) -> Vec<PciInfo> {
        self.machine.pci()
    }

    fn wakeup(&mut self) -> Result<(), QmpError> {
        self.machine.wake_up().map_err(|error| QmpError::generic(error.to_string()))?;
        self.events.push((&qmp::WAKEUP, Value::Null));
        self.resume();
        Ok(())
    }

    fn set_dirty_log(&mut self, on: bool) -> Result<(), QmpError> {
        let result = self.machine.hypervisor().log_dirty(on);
        result.map_err(|error| QmpError::generic(error.to_string()))
    }

    fn save_devices(&mut self, to: Source, _live: bool) -> Result<Begun, QmpError> {
        // The guest goes on elsewhere, with its disks; on this host it may be before we end.
        self.begin_save_devices(to)
    }
}

impl Runner {
    /// Lets a guest run that stands still and has its disks.
    pub(super) fn go_on(&mut self) -> Result<(), QmpError> {
        match self.state {
            RunState::Running => Ok(()),
            RunState::Prelaunch | RunState::Paused | RunState::IoError | RunState::Watchdog => {
                self.resume();
                self.events.push((&qmp::RESUME, Value::Null));
                Ok(())
            }
            _ => Err(QmpError::generic("Resetting the Virtual Machine is required")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn device_add_takes_text_for_numbers_and_switches() {
        let set = |model: &str, name: &str, value: Value| {
            let mut properties = Properties::new(models::find(model).unwrap());
            let text = words(name, &value).map_err(|error| error.desc)?;
            properties.parse(name, &text).map_err(|error| error.to_string())?;
            Ok::<_, String>(properties.get(name).unwrap())
        };
        for port in [json!("2"), json!(2)] {
            assert_eq!(set("usb-tablet", "port", port), Ok(model::Value::Uint(2)));
        }
        for on in [json!("on"), json!(true)] {
            assert_eq!(set("e1000", "multifunction", on), Ok(model::Value::Bool(true)));
        }
        // A slot, as everywhere.
        assert_eq!(set("e1000", "addr", json!(5)), Ok(model::Value::Uint(5 << 3)));
        for wrong in [json!(null), json!([2]), json!({}), json!(-2.5), json!("two")] {
            set("usb-tablet", "port", wrong).unwrap_err();
        }
    }
}
