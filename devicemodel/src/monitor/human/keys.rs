//! The screen and the keyboard, as people write them.

use devices::input::keys::Key;
use serde_json::{Value, json};

use super::super::context::Context;
use super::super::protocol::QmpError;
use super::{number, same};

/// How long keys are held when nothing is said, in milliseconds.
const HOLD: i32 = 100;

/// `screendump FILE [-f FORMAT] [DEVICE [HEAD]]`, the format anywhere.
pub(super) fn screendump(words: &[&str], context: &mut Context<'_>) -> Result<(), QmpError> {
    let usage = || QmpError::generic("screendump: expected FILE [-f FORMAT]");
    let mut arguments = json!({});
    let mut plain = ["filename", "device", "head"].into_iter();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        if word == "-f" {
            let &format = words.next().ok_or_else(usage)?;
            if !matches!(format, "ppm" | "png") {
                let text = format!("screendump: the format is ppm or png, not {format}");
                return Err(QmpError::generic(text));
            }
            arguments["format"] = json!(format);
            continue;
        }
        match plain.next().ok_or_else(usage)? {
            "head" => arguments["head"] = json!(number(word)?),
            name => arguments[name] = json!(word),
        }
    }
    if arguments["filename"].is_null() {
        return Err(usage());
    }
    same("screendump", arguments, context).map(drop)
}

/// `sendkey KEY[-KEY...] [MILLISECONDS]`: names, or codes of set 1 in hexadecimal with bit 7 for the grey keys.
pub(super) fn send(words: &[&str], context: &mut Context<'_>) -> Result<String, QmpError> {
    let (chord, hold) = match *words {
        [chord] => (chord, HOLD),
        [chord, hold] => (chord, number(hold)?),
        _ => return Err(QmpError::generic("sendkey: expected KEY[-KEY...] [MILLISECONDS]")),
    };
    let mut keys = Vec::new();
    for name in chord.split('-') {
        match key(name) {
            Some(key) => keys.push(key),
            None => return Ok(format!("invalid parameter: {name}\n")),
        }
    }
    let keys: Value = keys.iter().map(|key| json!({ "type": "qcode", "data": key.name() })).collect();
    same("send-key", json!({ "keys": keys, "hold-time": hold }), context)?;
    Ok(String::new())
}

fn key(name: &str) -> Option<Key> {
    match name.strip_prefix("0x") {
        Some(code) => u8::from_str_radix(code, 16).ok().and_then(Key::by_scancode),
        None if name == "<" => Key::by_name("less"),
        None => Key::by_name(name),
    }
}
