//! A guest's xl.cfg file.

use super::PROGRAM;
use crate::qemu::is_built;
use crate::xlcfg::{self, Entry, Value};

/// The key that names the device model.
const KEY: &str = "device_model_override";

/// Values of `vga` and the device models that libxl makes of them (xl.cfg(5)).
const DISPLAYS: &[(&str, &str)] = &[("cirrus", "cirrus-vga"), ("qxl", "qxl-vga"), ("stdvga", "VGA")];

/// Keys that add devices, and one of the models that libxl makes of them.
const DEVICES: &[(&str, &str)] = &[
    ("usb", "piix3-usb-uhci"),
    ("usbdevice", "usb-tablet"),
    ("usbversion", "nec-usb-xhci"),
    ("soundhw", "intel-hda"),
];

/// The file with us as its device model, and what else in it does not work with us yet.
pub(super) fn point_at_us(text: &str) -> Result<(String, Vec<String>), String> {
    let entries = xlcfg::parse(text).map_err(|error| error.to_string())?;
    let mut new = point_elsewhere(text);
    if !new.is_empty() && !new.ends_with('\n') {
        new.push('\n');
    }
    new.push_str(&format!("{KEY} = \"{PROGRAM}\"\n"));
    Ok((new, hints(&entries)))
}

/// The file without a device model of its own. Only whole lines with that key are taken out.
pub(super) fn point_elsewhere(text: &str) -> String {
    let ours = |line: &str| {
        line.trim_start().strip_prefix(KEY).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.split_inclusive('\n').filter(|line| !ours(line)).collect()
}

fn hints(entries: &[Entry]) -> Vec<String> {
    let find = |key: &str| entries.iter().rev().find(|entry| entry.key == key).map(|entry| &entry.value);
    let text = |key: &str| match find(key) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let mut hints = Vec::new();
    let vga = text("vga").unwrap_or("cirrus");
    let model = DISPLAYS.iter().find(|(name, _)| *name == vga);
    if model.is_some_and(|(_, model)| !is_built(model)) {
        hints.push(format!("vga=\"{vga}\" is not built yet: write vga=\"stdvga\" or vga=\"none\""));
    }
    for card in find("vif").into_iter().flat_map(list) {
        let field =
            |key: &str| card.split(',').find_map(|part| part.trim().strip_prefix(key)?.strip_prefix('='));
        let model = field("model").unwrap_or("rtl8139");
        if field("type") != Some("vif") && !is_built(model) {
            hints.push(format!("the network card {model} is not built yet: write type=vif into vif=[...]"));
        }
    }
    for (key, model) in DEVICES {
        if find(key).is_some_and(|value| *value != Value::Number(0)) && !is_built(model) {
            hints.push(format!("{key} is not built yet: take it out"));
        }
    }
    if text("hdtype") == Some("ahci") && !is_built("ahci") {
        hints.push("hdtype=\"ahci\" is not built yet: write hdtype=\"ide\"".into());
    }
    hints
}

/// The texts of a list.
fn list(value: &Value) -> Vec<&str> {
    match value {
        Value::List(values) => values.iter().flat_map(list).collect(),
        Value::Text(text) => vec![text],
        Value::Number(_) => Vec::new(),
    }
}
