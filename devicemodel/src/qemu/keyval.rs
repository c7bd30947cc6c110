//! QEMU's option strings: `key=value,flag,other=value`.
//!
//! A comma in a value is written twice. libxl does not do that with the paths it writes, so that options
//! with a path are split only where a key follows that the option has: see [`Fields::with_path`].

use std::fmt::Display;

use serde_json::Value;

use super::Refusal;
use crate::monitor::json;

/// The fields of one option string, taken out one after the other; [`end`](Fields::end) complains about
/// what is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pairs: Vec<(String, String)>,
}

/// Whether QEMU takes a text as the id of something: a letter, then letters, digits, `-`, `.` and `_`.
pub fn is_identifier(id: &str) -> bool {
    let further = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    id.starts_with(|c: char| c.is_ascii_alphabetic()) && id.chars().all(further)
}

impl Fields {
    /// Splits `text` at its single commas. A first part without `=` is the value of the key `implied`;
    /// another part without `=` is a flag: `key` is `key=on` and `nokey` is `key=off`.
    pub fn parse(text: &str, implied: Option<&str>) -> Fields {
        Fields::from_parts(split(text, |_| true), implied)
    }

    /// As [`parse`](Fields::parse), but a single comma separates only where one of the keys in `known` and
    /// `=` follow, or where one of `known` is the whole part, alone or after `no`. Anything else belongs to the value
    /// before.
    pub fn with_path(text: &str, implied: Option<&str>, known: &[&str]) -> Fields {
        let begins_field = |rest: &str| {
            let end = rest.find([',', '=']).unwrap_or(rest.len());
            let (key, after) = rest.split_at(end);
            let is_off = || key.strip_prefix("no").is_some_and(|key| known.contains(&key));
            known.contains(&key) || !after.starts_with('=') && is_off()
        };
        Fields::from_parts(split(text, begins_field), implied)
    }

    fn from_parts(parts: Vec<String>, implied: Option<&str>) -> Fields {
        let mut pairs = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            let pair = match (part.split_once('='), implied) {
                (None, Some(key)) if index == 0 && !part.is_empty() => (key.to_owned(), part),
                // A path with a comma before its `=`: no key has one.
                (Some((before, _)), Some(key)) if index == 0 && before.contains(',') => {
                    (key.to_owned(), part)
                }
                (None, _) if part.is_empty() => continue,
                // The short form of flags, which QEMU takes with a warning and libxl 4.13 to 4.15 writes.
                (None, _) => match part.strip_prefix("no") {
                    Some(flag) if !flag.is_empty() => (flag.to_owned(), "off".to_owned()),
                    _ => (part, "on".to_owned()),
                },
                (Some((key, value)), _) => (key.to_owned(), value.to_owned()),
            };
            pairs.push(pair);
        }
        Fields { pairs }
    }

    /// An option that may be a JSON object instead, as libvirt writes `-device`, `-netdev`, `-object` and `-blockdev`: its
    /// members are the fields that the other form has, those of members with a dot between.
    ///
    /// # Errors
    /// It begins as JSON and is none, or holds what no field can.
    pub(super) fn of_option(text: &str, implied: &str) -> Result<Fields, Refusal> {
        if !text.starts_with('{') {
            return Ok(Fields::parse(text, Some(implied)));
        }
        let value = json::parse(text.as_bytes()).map_err(|error| Refusal::bad(format!("JSON: {error}")))?;
        let mut pairs = Vec::new();
        flatten("", &value, &mut pairs)?;
        Ok(Fields { pairs })
    }

    /// Adds a field, unless it is there.
    pub(super) fn default(&mut self, key: &str, value: &str) {
        if self.get(key).is_none() {
            self.pairs.push((key.to_owned(), value.to_owned()));
        }
    }

    /// Takes a field out; of several of that name the last counts.
    pub fn take(&mut self, key: &str) -> Option<String> {
        let mut found = None;
        self.pairs.retain(|(name, value)| {
            let mine = name == key;
            if mine {
                found = Some(value.clone());
            }
            !mine
        });
        found
    }

    /// Takes all that are left, in order.
    pub fn rest(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.pairs)
    }

    /// Looks at a field without taking it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Takes a field that must be there.
    pub fn required(&mut self, key: &str) -> Result<String, Refusal> {
        self.take(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Refusal::bad(format!("{key}= is missing")))
    }

    /// Takes a flag: `on`, `off`, and the other words that QEMU takes.
    pub fn flag(&mut self, key: &str) -> Result<Option<bool>, Refusal> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.as_str() {
            "on" | "yes" | "true" | "y" => Ok(Some(true)),
            "off" | "no" | "false" | "n" => Ok(Some(false)),
            _ => Err(Refusal::bad(format!("{key}={value}: expected on or off"))),
        }
    }

    /// Takes a number: decimal, or hexadecimal with `0x`.
    pub fn number<T: TryFrom<u64>>(&mut self, key: &str) -> Result<Option<T>, Refusal> {
        self.take(key).map(|value| number(key, &value)).transpose()
    }

    /// Takes a size in bytes; a number without a suffix counts in units of `unit` bytes.
    pub fn size(&mut self, key: &str, unit: u64) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let wrong = || Refusal::bad(format!("{key}={value}: expected a size such as 512M or 2G"));
        size(&value, unit).map(Some).ok_or_else(wrong)
    }

    /// Takes a field of which only what is so anyway (one of `so`) can be asked for; `what` says what anything else
    /// would need. `on` and `off` stand for the other words that QEMU has for them.
    pub fn only(&mut self, key: &str, so: &[&str], what: &str) -> Result<(), Refusal> {
        let Some(value) = self.take(key) else { return Ok(()) };
        let plain = match value.as_str() {
            "yes" | "true" | "y" => "on",
            "no" | "false" | "n" => "off",
            other => other,
        };
        if so.contains(&plain) { Ok(()) } else { Err(Refusal::not_built(format!("{key}={value} ({what})"))) }
    }

    /// Takes fields that are hints to the host, and change nothing that anybody can see.
    pub fn ignore(&mut self, keys: &[&str]) {
        self.pairs.retain(|(name, _)| !keys.contains(&name.as_str()));
    }

    /// An error that names a field that nobody took.
    pub fn end(&self) -> Result<(), Refusal> {
        match self.pairs.first() {
            None => Ok(()),
            Some((key, _)) => Err(Refusal::bad(format!("the property '{key}' is not known"))),
        }
    }
}

/// Reads a number as C writes it: decimal, hexadecimal with `0x`, octal with `0`.
pub fn number<T: TryFrom<u64>>(what: impl Display, text: &str) -> Result<T, Refusal> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match (hex, text.strip_prefix('0')) {
        (Some(hex), _) => (hex, 16),
        (None, Some(octal)) if !octal.is_empty() => (octal, 8),
        _ => (text, 10),
    };
    let parsed = u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'));
    let wrong = || Refusal::bad(format!("{what}={text}: expected a number in range"));
    parsed.and_then(|value| T::try_from(value).ok()).ok_or_else(wrong)
}

/// Digits after a point that a size may have: enough for the bytes of a terabyte.
const FRACTION_MOST: usize = 12;

/// `digits` (with a point or none) times `unit`, rounded down to whole bytes.
fn scaled(digits: &str, unit: u64) -> Option<u64> {
    let only_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = match digits.split_once('.') {
        // Less than a byte cannot be asked for.
        Some((whole, fraction)) if unit > 1 && only_digits(fraction) => (whole, fraction),
        Some(_) => return None,
        None => (digits, ""),
    };
    if !only_digits(whole) || fraction.len() > FRACTION_MOST {
        return None;
    }
    let part = match fraction {
        "" => 0,
        _ => fraction.parse::<u128>().ok()? * u128::from(unit) / 10_u128.pow(fraction.len() as u32),
    };
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

/// Reads a size with QEMU's suffixes (`1.5G` too) or in hexadecimal; without a suffix it counts `unit` bytes. In
/// bytes.
pub fn size(text: &str, unit: u64) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'))?.checked_mul(unit);
    }
    let (digits, unit) = match text.char_indices().next_back()? {
        (_, '0'..='9') => (text, unit),
        (at, suffix) => {
            let shift = match suffix.to_ascii_lowercase() {
                'b' => 0,
                'k' => 10,
                'm' => 20,
                'g' => 30,
                't' => 40,
                'p' => 50,
                'e' => 60,
                _ => return None,
            };
            (text.get(..at)?, 1 << shift)
        }
    };
    scaled(digits, unit)
}

/// Splits at single commas that `separates` what follows them; two commas are one in the text.
fn split(text: &str, separates: impl Fn(&str) -> bool) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(',') {
        let (before, after) = rest.split_at(at);
        part.push_str(before);
        let after = after.get(1..).unwrap_or("");
        rest = match after.strip_prefix(',') {
            Some(after) => {
                part.push(',');
                after
            }
            None if separates(after) => {
                parts.push(std::mem::take(&mut part));
                after
            }
            None => {
                part.push(',');
                after
            }
        };
    }
    part.push_str(rest);
    parts.push(part);
    parts
}

fn flatten(path: &str, value: &Value, pairs: &mut Vec<(String, String)>) -> Result<(), Refusal> {
    let text = match value {
        Value::Object(members) => {
            for (key, member) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, member, pairs)?;
            }
            return Ok(());
        }
        // QAPI's list of texts, `[{"str": "tcp::2222-:22"}]`, is a key that comes several times.
        Value::Array(members) if !path.is_empty() => {
            for member in members {
                let text = member.get("str").unwrap_or(member);
                if !text.is_string() {
                    return Err(Refusal::bad(format!("'{path}' is no list of texts")));
                }
                flatten(path, text, pairs)?;
            }
            return Ok(());
        }
        other => json::words(other),
    };
    let text = text.ok_or_else(|| Refusal::bad(format!("'{path}' is neither text nor number")))?;
    pairs.push((path.to_owned(), text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_split_and_taken() {
        let mut fields = Fields::parse("socket,id=a,,b,server,nowait,index=0x10,to=99", Some("backend"));
        assert_eq!(fields.take("backend").as_deref(), Some("socket"));
        assert_eq!(fields.take("id").as_deref(), Some("a,b"));
        assert_eq!(fields.flag("server"), Ok(Some(true)));
        assert_eq!(fields.flag("wait"), Ok(Some(false)));
        assert_eq!(fields.number::<u8>("index"), Ok(Some(16)));
        assert_eq!(fields.end(), Err(Refusal::bad("the property 'to' is not known")));
        assert_eq!(fields.number::<u16>("to"), Ok(Some(99)));
        assert_eq!(fields.end(), Ok(()));
        assert!(Fields::parse("to=300", None).number::<u8>("to").is_err());
        assert!(Fields::parse("a=maybe", None).flag("a").is_err());
    }

    #[test]
    fn flags_have_a_short_form_and_the_last_of_a_name_counts() {
        let mut fields = Fields::parse("pc,usb,nohpet,hpet=on,nohpet,a=1,a=2,no,", Some("type"));
        assert_eq!(fields.flag("usb"), Ok(Some(true)));
        assert_eq!(fields.flag("hpet"), Ok(Some(false)));
        assert_eq!(fields.take("a").as_deref(), Some("2"));
        assert_eq!(fields.flag("no"), Ok(Some(true)));
        assert_eq!(fields.take("type").as_deref(), Some("pc"));
        assert_eq!(fields.end(), Ok(()));
        let mut fields = Fields::parse("x=octal,octal=017,hex=0X1f", None);
        assert_eq!((fields.number("octal"), fields.number("hex")), (Ok(Some(15_u8)), Ok(Some(31_u8))));
        for bad in ["n=", "n=+1", "n=0x+1", "n=08", "n=-1", "n=1 "] {
            assert!(Fields::parse(bad, None).number::<u8>("n").is_err(), "{bad}");
        }
    }

    #[test]
    fn an_option_may_be_json() {
        let text = r#"{"driver": "usb-tablet", "port": "1", "a": 2, "b": true, "c": {"d": "x,y"}, "e": [{"str": "1"}, "2"]}"#;
        let mut fields = Fields::of_option(text, "driver").unwrap();
        assert_eq!(fields.take("driver").as_deref(), Some("usb-tablet"));
        assert_eq!((fields.number("port"), fields.number("a")), (Ok(Some(1_u8)), Ok(Some(2_u8))));
        assert_eq!((fields.flag("b"), fields.take("c.d")), (Ok(Some(true)), Some("x,y".into())));
        let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(fields.rest(), [text("e", "1"), text("e", "2")]);
        // QEMU's parser of JSON takes these quotes too, and QEMU's tests use them.
        assert_eq!(Fields::of_option("{'driver': 'x'}", "driver").unwrap().get("driver"), Some("x"));
        let same = Fields::of_option("x,a=1", "driver");
        assert_eq!(same, Ok(Fields::parse("x,a=1", Some("driver"))));
        for bad in [
            "{",
            "{}x",
            r#"{"a": null}"#,
            r#"{"a": [1]}"#,
            r#"{"a": [{"b": "c"}]}"#,
            r#"{"a": "b", "a": "c"}"#,
        ] {
            assert!(Fields::of_option(bad, "driver").is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_otherwise_is_refused_by_name() {
        let only = |text: &str| Fields::parse(text, None).only("smm", &["off", "auto"], "SMM");
        assert_eq!(
            (only("smm=auto"), only("smm=no"), only("nosmm"), only("")),
            (Ok(()), Ok(()), Ok(()), Ok(()))
        );
        assert_eq!(only("smm=true"), Err(Refusal::not_built("smm=true (SMM)")));
        assert_eq!(only("smm"), Err(Refusal::not_built("smm=on (SMM)")));
    }

    #[test]
    fn a_path_keeps_its_commas() {
        let known = ["file", "if", "format", "readonly", "wait"];
        let path = |text: &str| Fields::with_path(text, None, &known).take("file").unwrap();
        assert_eq!(path("file=/a,b.img,if=ide"), "/a,b.img");
        assert_eq!(path("file=/a,,b,c=d,x,format=raw"), "/a,b,c=d,x");
        assert_eq!(path("if=none,file=/a, b,"), "/a, b,");
        assert_eq!(path("file=/a,readonly"), "/a");
        assert_eq!(path("file=/a,readonly-not"), "/a,readonly-not");
        assert_eq!(path("file=/a,nowait"), "/a");
        assert_eq!(path("file=/a,noreadonly,format=raw"), "/a");
        assert_eq!(path("file=/a,nowait=b,nothing,no"), "/a,nowait=b,nothing,no");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("112", 1 << 20), Some(112 << 20));
        assert_eq!(size("2G", 1), Some(2 << 30));
        assert_eq!(size("1.5G", 1), Some(3 << 29));
        assert_eq!(size("0.5", 1 << 20), Some(1 << 19));
        assert_eq!(size("0x10", 1 << 20), Some(16 << 20));
        assert_eq!(size("99999999999999T", 1), None);
        for bad in ["", "G", "-1", "1X", "1é", "+1", "1.", ".5G", "1.5", "1.5.5G", "0x", "1.0000000000000G"]
        {
            assert_eq!(size(bad, 1), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", known in proptest::collection::vec("[a-z]{1,3}", 0..4)) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let _ = Fields::parse(&text, Some("k"));
            let _ = Fields::with_path(&text, None, &known);
            let _ = size(&text, 1 << 20);
        }
    }
}
