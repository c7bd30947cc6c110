//! The tree of objects that clients look around in (`qom-list` and friends): QEMU's paths and type names,
//! for what there is.

use std::collections::BTreeMap;

use devices::models;
use devices::usb::ATTACHED;
use devices::usb::uhci::model as uhci;
use devices_core::balloon::POLLING;
use devices_core::model::{BOOTINDEX, Default, Property};
use serde_json::{Value, json};

use super::context::Context;
use super::info::CpuInfo;
use super::protocol::QmpError;

/// One object.
struct Node {
    kind: String,
    /// Name, type, value.
    properties: Vec<(String, &'static str, Value)>,
    /// It hangs at a bus, or stands where a bus would hang.
    device: bool,
}

/// All objects, by their paths without the first slash.
pub(super) struct Tree(BTreeMap<String, Node>);

/// Where a processor is in the tree.
pub(super) fn cpu_path(cpu: &CpuInfo) -> String {
    match &cpu.id {
        Some(id) => format!("/machine/peripheral/{id}"),
        None => format!("/machine/unattached/device[{}]", cpu.index),
    }
}

impl Tree {
    /// The tree as it is now.
    pub(super) fn new(context: &Context<'_>) -> Tree {
        let guest = &*context.guest;
        let machine = guest.machine();
        let mut tree = Tree(BTreeMap::new());
        tree.put("", "container", Vec::new(), false);
        for place in ["objects", "chardevs", "machine/peripheral", "machine/peripheral-anon"] {
            tree.put(place, "container", Vec::new(), false);
        }
        tree.put("machine/unattached", "container", Vec::new(), false);
        let usb = guest.devices().iter().any(|device| device.kind == uhci::PIIX3.name);
        let mut properties =
            vec![("usb".into(), "bool", usb.into()), ("graphics".into(), "bool", machine.graphics.into())];
        if let Some([year, month, day, hour, minute, second]) = guest.clock() {
            let time = json!({
                "tm_year": year - 1900,
                "tm_mon": month - 1,
                "tm_mday": day,
                "tm_hour": hour,
                "tm_min": minute,
                "tm_sec": second,
            });
            properties.push(("rtc-time".into(), "struct tm", time));
        }
        tree.put("machine", &format!("{}-machine", machine.kind), properties, false);
        for cpu in guest.cpus().iter().filter(|cpu| cpu.present) {
            let properties = ["core-id", "thread-id"].map(|name| (name.into(), "int32", 0.into()));
            let socket = ("socket-id".into(), "int32", cpu.index.into());
            let properties = properties.into_iter().chain([socket]).collect();
            tree.put(&cpu_path(cpu), machine.cpu_type, properties, true);
        }
        for device in guest.devices() {
            let property = |(name, of, value): (&str, &'static str, Value)| (name.to_owned(), of, value);
            let properties = device.properties.into_iter().map(property).collect();
            tree.put(&device.path, device.kind, properties, true);
        }
        for line in context.monitors.iter().chain(&guest.chardevs()) {
            let kind = line.filename.trim_start_matches("disconnected:");
            let kind = match kind.split(':').next().unwrap_or_default() {
                "unix" => "socket",
                kind => kind,
            };
            tree.put(&format!("chardevs/{}", line.label), &format!("chardev-{kind}"), Vec::new(), false);
        }
        for (id, object) in context.shared.objects.list() {
            tree.put(&format!("objects/{id}"), object.type_name(), Vec::new(), false);
        }
        for id in guest.dumps() {
            tree.put(&format!("objects/{id}"), "filter-dump", Vec::new(), false);
        }
        tree
    }

    fn put(&mut self, path: &str, kind: &str, properties: Vec<(String, &'static str, Value)>, device: bool) {
        let node = Node { kind: kind.into(), properties, device };
        self.0.insert(path.trim_start_matches('/').into(), node);
    }

    /// Finds an object by its path, or by the end of a path that only one object has.
    fn find(&self, path: &str) -> Result<(&str, &Node), QmpError> {
        let wanted: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let ends = |whole: &str| {
            let parts: Vec<&str> = whole.split('/').filter(|part| !part.is_empty()).collect();
            if path.starts_with('/') || path.is_empty() { parts == wanted } else { parts.ends_with(&wanted) }
        };
        let mut found = self.0.iter().filter(|(whole, _)| ends(whole));
        match (found.next(), found.next()) {
            (None, _) => Err(QmpError::device_not_found(path)),
            (Some((whole, node)), None) => Ok((whole.as_str(), node)),
            (Some(_), Some(_)) => {
                Err(QmpError::generic(format!("Path '{path}' does not uniquely identify an object")))
            }
        }
    }

    /// Objects right below a path: name, object.
    fn children<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let below = move |whole: &'a String| {
            let rest = whole.strip_prefix(path)?;
            let name = if path.is_empty() { rest } else { rest.strip_prefix('/')? };
            (!name.is_empty() && !name.contains('/')).then_some(name)
        };
        self.0.iter().filter_map(move |(whole, node)| Some((below(whole)?, node)))
    }

    /// The answer of `qom-list`.
    pub(super) fn list(&self, path: &str) -> Result<Value, QmpError> {
        let (path, node) = self.find(path)?;
        let mut all = vec![json!({ "name": "type", "type": "string" })];
        all.extend(node.all().map(|(name, of, _)| json!({ "name": name, "type": of })));
        let child =
            |(name, child): (&str, &Node)| json!({ "name": name, "type": format!("child<{}>", child.kind) });
        all.extend(self.children(path).map(child));
        Ok(all.into())
    }

    /// The answer of `qom-get`.
    pub(super) fn get(&self, path: &str, property: &str) -> Result<Value, QmpError> {
        let (path, node) = self.find(path)?;
        if property == "type" {
            return Ok(node.kind.as_str().into());
        }
        if let Some((_, _, value)) = node.all().find(|(name, ..)| *name == property) {
            return Ok(value);
        }
        match self.children(path).find(|(name, _)| *name == property) {
            Some((name, _)) => Ok(format!("/{path}/{name}").replace("//", "/").into()),
            None => Err(node.no_such(property)),
        }
    }

    /// What `qom-set` comes to: the path of a device whose turn to boot is to be another, of one that is to be on its port, or
    /// of a balloon that is to ask more often. Nothing else can be changed while the machine is there.
    pub(super) fn set(&self, path: &str, property: &str) -> Result<String, QmpError> {
        let (path, node) = self.find(path)?;
        self.get(&format!("/{path}"), property)?;
        if node.device && [BOOTINDEX.name, POLLING, ATTACHED.name].contains(&property) {
            return Ok(format!("/{path}"));
        }
        if !node.device || property == "type" {
            return Err(QmpError::generic(format!("Property '{}.{property}' is not writable", node.kind)));
        }
        let device = match path.strip_prefix("machine/peripheral/") {
            Some(id) => format!("device '{id}'"),
            None => "anonymous device".into(),
        };
        Err(QmpError::generic(format!(
            "Attempt to set property '{property}' on {device} (type '{}') after it was realized",
            node.kind
        )))
    }

    /// The tree as people read it, from the machine on.
    pub(super) fn text(&self) -> String {
        let line = |(path, node): (&String, &Node)| {
            let depth = path.matches('/').count();
            let name = path.rsplit('/').next().unwrap_or_default();
            format!("{}/{name} ({})\n", "  ".repeat(depth), node.kind)
        };
        self.0.iter().filter(|(path, _)| path.split('/').next() == Some("machine")).map(line).collect()
    }
}

impl Node {
    /// Its properties, with those that every device has.
    fn all(&self) -> impl Iterator<Item = (&str, &'static str, Value)> {
        let every = [("realized", true), ("hotplugged", false), ("hotpluggable", false)];
        let every =
            every.into_iter().filter(|_| self.device).map(|(name, value)| (name, "bool", Value::from(value)));
        every.chain(self.properties.iter().map(|(name, of, value)| (name.as_str(), *of, value.clone())))
    }

    fn no_such(&self, property: &str) -> QmpError {
        QmpError::generic(format!("Property '{}.{property}' not found", self.kind))
    }
}

/// Types that are no device model, each with the one that it is a kind of. Those that only others are a kind of
/// come first.
const TYPES: &[(&str, Option<&str>, bool)] = &[
    ("object", None, true),
    ("machine", Some("object"), true),
    ("generic-pc-machine", Some("machine"), true),
    ("device", Some("object"), true),
    ("cpu", Some("device"), true),
    ("x86_64-cpu", Some("cpu"), true),
    ("i386-cpu", Some("cpu"), true),
    ("pci-device", Some("device"), true),
    ("isa-device", Some("device"), true),
    ("ide-device", Some("device"), true),
    ("sys-bus-device", Some("device"), true),
    ("chardev", Some("object"), true),
    ("container", Some("object"), false),
    ("filter-dump", Some("netfilter"), false),
    ("netfilter", Some("object"), true),
    ("secret", Some("object"), false),
    ("rng-backend", Some("object"), true),
    ("rng-builtin", Some("rng-backend"), false),
    ("rng-random", Some("rng-backend"), false),
    ("memory-backend", Some("object"), true),
    ("memory-backend-ram", Some("memory-backend"), false),
    ("memory-backend-memfd", Some("memory-backend"), false),
    ("none-machine", Some("machine"), false),
    ("pc-i440fx-7.2-machine", Some("generic-pc-machine"), false),
    ("xenfv-4.2-machine", Some("generic-pc-machine"), false),
    ("qemu64-x86_64-cpu", Some("x86_64-cpu"), false),
    ("qemu32-i386-cpu", Some("i386-cpu"), false),
    ("chardev-file", Some("chardev"), false),
    ("chardev-null", Some("chardev"), false),
    ("chardev-pty", Some("chardev"), false),
    ("chardev-socket", Some("chardev"), false),
    ("chardev-stdio", Some("chardev"), false),
];

/// A type: its name, what it is a kind of, whether it only has kinds.
type Type = (&'static str, Option<&'static str>, bool);

/// All types: device models too.
fn all_types() -> impl Iterator<Item = Type> {
    let models = models::all().map(|model| (model.name, Some(model.parent), false));
    TYPES.iter().copied().chain(models)
}

/// Whether there is a type of that name that does not only have kinds.
pub fn is_type(name: &str) -> bool {
    all_types().any(|(known, _, only_kinds)| known == name && !only_kinds)
}

/// Whether a type is of a kind, or that kind itself.
fn is_a(name: &str, wanted: &str) -> bool {
    let parent = |name: &str| all_types().find(|(known, ..)| *known == name).and_then(|(_, of, _)| of);
    std::iter::successors(Some(name), |name| parent(name)).any(|name| name == wanted)
}

/// The answer of `qom-list-types`.
pub(super) fn types(implements: Option<&str>, only_kinds_too: bool) -> Value {
    let wanted = all_types().filter(|(name, _, only_kinds)| {
        (only_kinds_too || !only_kinds) && implements.is_none_or(|wanted| is_a(name, wanted))
    });
    let entry = |(name, parent, only_kinds): Type| {
        let mut entry = json!({ "name": name });
        if let Some(fields) = entry.as_object_mut() {
            if only_kinds {
                fields.insert("abstract".into(), true.into());
            }
            if let Some(parent) = parent {
                fields.insert("parent".into(), parent.into());
            }
        }
        entry
    };
    wanted.map(entry).collect()
}

/// The answer of `device-list-properties`.
pub(super) fn device_properties(name: &str) -> Result<Value, QmpError> {
    let Some(model) = models::find(name) else {
        return Err(match is_type(name) {
            true => QmpError::generic("Parameter 'typename' expects a non-abstract device type"),
            false => QmpError::device_not_found(name),
        });
    };
    let entry = |property: &Property| {
        let mut entry = json!({
            "name": property.name,
            "type": property.kind.type_name(),
            "description": property.help,
        });
        let default = match property.default {
            Default::None => None,
            Default::Bool(on) => Some(Value::from(on)),
            Default::Uint(number) => Some(number.into()),
        };
        if let (Some(default), Some(fields)) = (default, entry.as_object_mut()) {
            fields.insert("default-value".into(), default);
        }
        entry
    };
    Ok(model.all_properties().into_iter().map(entry).collect())
}
