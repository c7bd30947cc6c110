//! The monitor: QMP, QEMU's machine protocol (JSON over a stream), as clients of QEMU expect it.
//!
//! [`protocol`] turns bytes into commands and answers into bytes, [`commands`] has them, each beside what it does to a
//! [`Guest`], [`events`] what is told without being asked, [`schema`] checks what goes in against what they say of
//! themselves, [`server`] moves the bytes on sockets, [`client`] is the other end.

pub mod client;
pub mod commands;
pub mod context;
pub mod events;
pub mod fdset;
mod human;
pub mod info;
pub mod json;
pub mod objects;
pub mod protocol;
mod qom;
pub mod run_state;
pub mod schema;
pub mod server;
mod table;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use hypervisor::debug::Registers;
use serde_json::{Map, Value};

use events::Event;
use info::{
    Actions, AnnounceParameters, BlockInfo, ChardevBackend, ChardevInfo, ClockInfo, CpuInfo, DeviceInfo,
    Input, MachineInfo, MouseInfo, NetdevInfo, NewDrive, NewMedium, NewNode, NicInfo, NodeInfo, PciInfo,
    Source, VncInfo,
};
use protocol::QmpError;
use run_state::RunState;

use crate::config::{DumpConfig, NetdevConfig};
use crate::screenshot::ImageFormat;

/// The error of what this machine cannot do.
fn not_here(what: &str) -> QmpError {
    QmpError::generic(format!("{what}: not available on this machine"))
}

/// The error of a command that would change a guest to which something else is being done.
pub(crate) fn busy(word: &str) -> QmpError {
    QmpError::generic(format!("the guest is being {word}: wait for the end of that"))
}

pub use qom::is_type as is_object_type;

/// Work that a command has begun and that goes on after the call has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job(pub u64);

/// How far a call has come that may have to wait for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Begun {
    /// All is done.
    Done,
    /// It goes on: [`Guest::take_answers`] tells how it ends.
    Later(Job),
}

/// What takes the bytes of a file that was read.
pub type Reader = Box<dyn FnOnce(Vec<u8>) -> Result<(), QmpError> + Send>;

/// What a monitor can do with a guest. All calls come from the event loop's thread, and none waits for the host:
/// what must wait is begun.
pub trait Guest {
    /// Whether it runs.
    fn status(&self) -> RunState;
    /// What a command that is not over is doing to it: `stopped`, `saved`. Commands that change the guest wait until
    /// there is none.
    fn work(&self) -> Option<&'static str> {
        None
    }
    /// The guest's name.
    fn name(&self) -> String;
    /// Stops the vCPUs and guest time.
    fn stop(&mut self) -> Result<Begun, QmpError>;
    /// Lets them go on.
    fn cont(&mut self) -> Result<Begun, QmpError>;
    /// Ends the program.
    fn quit(&mut self);
    /// Presses the power button.
    fn powerdown(&mut self);
    /// Presses the reset button.
    fn reset(&mut self) -> Result<(), QmpError>;
    /// Changes what becomes of a guest that ends in some way.
    fn set_actions(&mut self, _actions: &Actions) -> Result<(), QmpError> {
        Err(not_here("other ends"))
    }
    /// Gives every vCPU an NMI, as a button on a server's front does.
    fn inject_nmi(&mut self) -> Result<(), QmpError> {
        Err(not_here("NMIs"))
    }
    /// The tree below `path` as text.
    fn inspect(&mut self, path: &str) -> Result<String, QmpError>;
    /// Writes the screen to a file, or a head of the display adapter of that id.
    fn screendump(
        &mut self,
        file: &Path,
        head: Option<(&str, u32)>,
        format: ImageFormat,
    ) -> Result<Begun, QmpError>;
    /// Presses keys (QKeyCode names) together and lets them go after `hold_ms`.
    fn send_key(&mut self, keys: &[String], hold_ms: u64) -> Result<(), QmpError>;
    /// Saves the whole guest to a file; one that was handed over is taken by the time of the return. How far it is comes
    /// as events.
    fn save(&mut self, file: &Path) -> Result<Begun, QmpError>;
    /// What has come of work that was begun, each told once.
    fn take_answers(&mut self) -> Vec<(Job, Result<(), QmpError>)> {
        Vec::new()
    }
    /// Somebody wants to end the program: work under way is given up, which [`take_answers`](Guest::take_answers)
    /// tells of at once.
    fn give_up(&mut self) {}
    /// Opens the tray of a CD drive and takes the medium out.
    fn eject(&mut self, device: &str, force: bool) -> Result<(), QmpError>;
    /// Puts a medium into a CD drive, with its tray opened before and closed after.
    fn change_medium(&mut self, device: &str, medium: NewMedium) -> Result<Begun, QmpError>;
    /// Opens the tray of a CD drive with the medium in it.
    fn open_tray(&mut self, device: &str, _force: bool) -> Result<(), QmpError> {
        Err(QmpError::device_not_found(device))
    }
    /// Closes it.
    fn close_tray(&mut self, device: &str) -> Result<(), QmpError> {
        Err(QmpError::device_not_found(device))
    }
    /// Puts the image of a node into an open CD drive.
    fn insert_medium(&mut self, device: &str, _node: &str) -> Result<(), QmpError> {
        Err(QmpError::device_not_found(device))
    }
    /// Takes the medium out of an open CD drive.
    fn remove_medium(&mut self, device: &str) -> Result<(), QmpError> {
        Err(QmpError::device_not_found(device))
    }
    /// Opens an image that a drive can be given later.
    fn add_node(&mut self, _node: NewNode) -> Result<Begun, QmpError> {
        Err(not_here("opening an image"))
    }
    /// A drive waits for a device from now on.
    fn add_drive(&mut self, _drive: NewDrive) -> Result<Begun, QmpError> {
        Err(not_here("a drive"))
    }
    /// Takes a drive away from whoever has it.
    fn delete_drive(&mut self, name: &str) -> Result<(), QmpError> {
        Err(QmpError::generic(format!("Device '{name}' not found")))
    }
    /// Closes it.
    fn remove_node(&mut self, name: &str) -> Result<(), QmpError> {
        Err(QmpError::generic(format!("Failed to find node with node-name='{name}'")))
    }
    /// Images that drives have or could be given.
    fn nodes(&self) -> Vec<NodeInfo> {
        Vec::new()
    }
    /// Events that have happened since the last call. Those of a command are told before its answer.
    fn take_events(&mut self) -> Vec<Event> {
        Vec::new()
    }
    /// The machine as a whole.
    fn machine(&self) -> MachineInfo {
        MachineInfo::default()
    }
    /// Devices, but not the processors.
    fn devices(&self) -> Vec<DeviceInfo> {
        Vec::new()
    }
    /// What the guest's clock shows, if it is one of ours.
    fn clock(&self) -> Option<ClockInfo> {
        None
    }
    /// Acts as somebody at the keyboard and the mouse.
    fn input(&mut self, _events: &[Input]) -> Result<(), QmpError> {
        Err(not_here("input"))
    }
    /// The pointers, the one that is used first.
    fn mice(&self) -> Vec<MouseInfo> {
        vec![MouseInfo::PS2]
    }
    /// Opens a line; with the path of a new pseudo-terminal.
    fn add_chardev(&mut self, _id: &str, _line: ChardevBackend) -> Result<(Begun, Option<String>), QmpError> {
        Err(not_here("opening a line"))
    }
    /// Closes a line that has been added.
    fn remove_chardev(&mut self, id: &str) -> Result<(), QmpError> {
        Err(QmpError::generic(format!("Chardev '{id}' not found")))
    }
    /// Lines, but not those that monitors are on.
    fn chardevs(&self) -> Vec<ChardevInfo> {
        Vec::new()
    }
    /// Drives.
    fn blocks(&self) -> Vec<BlockInfo> {
        Vec::new()
    }
    /// The VNC server, if there is one.
    fn vnc(&self) -> Option<VncInfo> {
        None
    }
    /// Sets the password of VNC clients.
    fn set_vnc_password(&mut self, _password: &str) -> Result<(), QmpError> {
        Err(not_here("VNC"))
    }
    /// From that second of the Unix epoch on it is right no more; none: it stays right.
    fn expire_vnc_password(&mut self, _at: Option<u64>) -> Result<(), QmpError> {
        Err(not_here("VNC"))
    }
    /// The registers of a vCPU.
    fn registers(&mut self, _vcpu: u32) -> Result<Registers, QmpError> {
        Err(not_here("the registers of a processor"))
    }
    /// Memory at a guest-physical address, or where a vCPU's page tables have it; less than asked for, where what
    /// follows is none.
    fn peek(&mut self, _vcpu: Option<u32>, _address: u64, _len: usize) -> Result<Vec<u8>, QmpError> {
        Err(not_here("the guest's memory"))
    }
    /// Places for vCPUs, by index.
    fn cpus(&self) -> Vec<CpuInfo> {
        Vec::new()
    }
    /// Adds a vCPU, which has been announced by [`cpus`](Guest::cpus) and is not there yet.
    fn plug_cpu(&mut self, _index: u32, _id: &str) -> Result<(), QmpError> {
        Err(not_here("adding a CPU"))
    }
    /// Gives the device at a path in the tree of objects another turn to boot.
    fn set_bootindex(&mut self, _path: &str, _turn: &Value) -> Result<(), QmpError> {
        Err(not_here("the boot order"))
    }
    /// Puts the device at a path in the tree of objects on its port.
    fn set_attached(&mut self, _path: &str, _attached: bool) -> Result<(), QmpError> {
        Err(not_here("attaching a device"))
    }
    /// Adds a device.
    fn device_add(
        &mut self,
        driver: &str,
        _id: Option<&str>,
        _props: &Map<String, Value>,
    ) -> Result<(), QmpError> {
        Err(QmpError::generic(format!("'{driver}' is not a valid device model name")))
    }
    /// Asks the guest to let a device go.
    fn device_del(&mut self, id: &str) -> Result<(), QmpError> {
        Err(QmpError::device_not_found(id))
    }
    /// Network cards.
    fn nics(&self) -> Vec<NicInfo> {
        Vec::new()
    }
    /// Back ends of networks.
    fn netdevs(&self) -> Vec<NetdevInfo> {
        Vec::new()
    }
    /// Adds one, which may take files that the client has given names.
    fn netdev_add(
        &mut self,
        _netdev: NetdevConfig,
        _named: &mut BTreeMap<String, OwnedFd>,
    ) -> Result<(), QmpError> {
        Err(not_here("adding a network"))
    }
    /// Files that get what passes networks, by id.
    fn dumps(&self) -> Vec<String> {
        Vec::new()
    }
    /// Adds one.
    fn dump_add(&mut self, _dump: DumpConfig) -> Result<Begun, QmpError> {
        Err(not_here("dumping a network"))
    }
    /// Ends one. False: there is none of that name.
    fn dump_del(&mut self, _id: &str) -> bool {
        false
    }
    /// Reads a file, of which the host may not say anything for long, and gives `longest` bytes of it at most to
    /// whoever asked for it.
    fn read_file(&mut self, _file: &Path, _longest: u64, _then: Reader) -> Result<Begun, QmpError> {
        Err(not_here("reading a file"))
    }
    /// User networks: their ids, and what goes through each, for people.
    fn user_networks(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// Adds (or takes away) a forwarded port of a user network; of the only one, if none is named.
    fn forward(&mut self, _netdev: Option<&str>, _rule: &str, _add: bool) -> Result<(), QmpError> {
        Err(not_here("a forwarded port"))
    }
    /// Takes one away; a card that it has loses its link.
    fn netdev_del(&mut self, id: &str) -> Result<(), QmpError> {
        Err(QmpError::device_not_found(id))
    }
    /// Pulls a card's cable or puts it in. `name` is the card's, or that of its back end.
    fn set_link(&mut self, name: &str, _up: bool) -> Result<(), QmpError> {
        Err(QmpError::device_not_found(name))
    }
    /// Tells the networks where the guest's cards are now; all, or those that are named.
    fn announce(&mut self, _how: AnnounceParameters, _names: Option<Vec<String>>) {}
    /// Bytes that the guest's memory balloon leaves it; none: there is no balloon.
    fn balloon(&self) -> Option<u64> {
        None
    }
    /// Asks the guest to keep so many bytes.
    fn set_balloon(&mut self, _bytes: u64) -> Result<(), QmpError> {
        Err(not_here("a memory balloon"))
    }
    /// Has the balloon at a path in the tree of objects ask for statistics every so many seconds; 0: never.
    fn set_balloon_polling(&mut self, _path: &str, _seconds: u32) -> Result<(), QmpError> {
        Err(not_here("a memory balloon"))
    }
    /// PCI functions on bus 0.
    fn pci(&self) -> Vec<PciInfo> {
        Vec::new()
    }
    /// Wakes a guest that sleeps (ACPI S3).
    fn wakeup(&mut self) -> Result<(), QmpError> {
        Err(not_here("waking the guest"))
    }
    /// From now on (or no longer) every write of ours to guest memory is reported to the hypervisor, before
    /// the guest can see that it is done.
    fn set_dirty_log(&mut self, _on: bool) -> Result<(), QmpError> {
        Err(not_here("the dirty log"))
    }
    /// Writes the state of the devices to a file and lets the host have it on disk. `live`: the guest will
    /// go on elsewhere, so that images are let go.
    fn save_devices(&mut self, _to: Source, _live: bool) -> Result<Begun, QmpError> {
        Err(not_here("saving the devices alone"))
    }
}
