//! A guest's xl.cfg file.

use std::ops::Range;

use super::PROGRAM;
use crate::qemu::is_built;
use crate::xlcfg::{self, Entry, Value};

/// The key that names the device model.
const KEY: &str = "device_model_override";

/// Values of `vga` and the device models that libxl makes of them (xl.cfg(5)).
const DISPLAYS: &[(&str, &str)] = &[("cirrus", "cirrus-vga"), ("qxl", "qxl-vga"), ("stdvga", "VGA")];

/// Keys that add devices, and one of the models that libxl makes of them.
const DEVICES: &[(&str, &str)] =
    &[("usb", "piix3-usb-uhci"), ("usbdevice", "usb-tablet"), ("soundhw", "intel-hda")];

/// The file with us as its device model, and what else in it does not work with us yet. All but the settings of the
/// device model is left as it is, byte by byte.
pub(super) fn point_at_us(file: &[u8]) -> Result<(Vec<u8>, Vec<String>), String> {
    let entries = xlcfg::parse(file).map_err(|error| error.to_string())?;
    let mut new = without(file, &entries);
    if !new.is_empty() && !new.ends_with(b"\n") {
        new.push(b'\n');
    }
    new.extend_from_slice(format!("{KEY} = \"{PROGRAM}\"\n").as_bytes());
    Ok((new, hints(&entries)))
}

/// The file without a device model of its own.
pub(super) fn point_elsewhere(file: &[u8]) -> Result<Vec<u8>, String> {
    let entries = xlcfg::parse(file).map_err(|error| error.to_string())?;
    Ok(without(file, &entries))
}

/// Whether the device model that the file names is ours. One that is no xl.cfg names none.
pub(super) fn is_ours(file: &[u8]) -> bool {
    let entries = xlcfg::parse(file).unwrap_or_default();
    let last = entries.iter().rev().find(|entry| entry.key == KEY);
    last.is_some_and(|entry| matches!(&entry.value, Value::Text(text) if **text == *PROGRAM))
}

/// The file without the settings of the device model. What shares a line with one stays.
fn without(file: &[u8], entries: &[Entry]) -> Vec<u8> {
    let mut new = Vec::with_capacity(file.len());
    let mut at = 0;
    for entry in entries.iter().filter(|entry| entry.key == KEY) {
        let around = with_its_end(file, &entry.bytes);
        new.extend_from_slice(file.get(at..around.start).unwrap_or_default());
        at = at.max(around.end);
    }
    new.extend_from_slice(file.get(at..).unwrap_or_default());
    new
}

/// A setting with the semicolon that ends it, or the whole line where nothing else is on it.
fn with_its_end(file: &[u8], setting: &Range<usize>) -> Range<usize> {
    let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t');
    let before = file.get(..setting.start).unwrap_or_default();
    let after = file.get(setting.end..).unwrap_or_default();
    let start = setting.start - before.iter().rev().take_while(blank).count();
    let end = setting.end + after.iter().take_while(blank).count();
    let first = start == 0 || file.get(start - 1) == Some(&b'\n');
    match file.get(end) {
        Some(b'\n') if first => start..end + 1,
        None if first => start..end,
        Some(b';') => {
            let rest = file.get(end + 1..).unwrap_or_default();
            setting.start..end + 1 + rest.iter().take_while(blank).count()
        }
        _ => setting.clone(),
    }
}

fn hints(entries: &[Entry]) -> Vec<String> {
    let find = |key: &str| entries.iter().rev().find(|entry| entry.key == key).map(|entry| &entry.value);
    let text = |key: &str| match find(key) {
        Some(Value::Text(text)) => Some(&**text),
        _ => None,
    };
    let mut hints = Vec::new();
    let is_set = |key: &str| match find(key) {
        Some(Value::Text(text)) => !text.trim_start_matches(['0', 'x', ' ']).is_empty(),
        Some(Value::List(values)) => !values.is_empty(),
        None => false,
    };
    // `stdvga` is older than `vga`, which counts where both are.
    let vga = text("vga").unwrap_or(if is_set("stdvga") { "stdvga" } else { "cirrus" });
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
        if is_set(key) && !is_built(model) {
            hints.push(format!("{key} is not built yet: take it out"));
        }
    }
    if text("hdtype") == Some("ahci") && !is_built("ahci") {
        hints.push("hdtype=\"ahci\" is not built yet: write hdtype=\"ide\"".into());
    }
    if let Some(version) = text("device_model_version").filter(|version| *version != "qemu-xen") {
        hints.push(format!(
            "device_model_version=\"{version}\" is another kind of device model: write \"qemu-xen\""
        ));
    }
    hints
}

/// The texts of a list.
fn list(value: &Value) -> Vec<&str> {
    match value {
        Value::List(values) => values.iter().flat_map(list).collect(),
        Value::Text(text) => vec![text],
    }
}
