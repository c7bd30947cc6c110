//! QMP's wire form: a greeting, then JSON objects both ways.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::json::{self, DEEPEST};

/// Most bytes of one command: a client that sends more without an end is a fault.
pub const LONGEST: usize = 1 << 20;

/// An answer that is an error.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{desc}")]
pub struct QmpError {
    /// QMP's class.
    pub class: &'static str,
    /// For people.
    pub desc: String,
}

impl QmpError {
    /// Most errors.
    pub fn generic(desc: impl Into<String>) -> QmpError {
        QmpError { class: "GenericError", desc: desc.into() }
    }
    /// No such command, or not now.
    pub fn command_not_found(desc: impl Into<String>) -> QmpError {
        QmpError { class: "CommandNotFound", desc: desc.into() }
    }
    /// The device that this needs does not work now, or is not there.
    pub fn device_not_active(desc: impl Into<String>) -> QmpError {
        QmpError { class: "DeviceNotActive", desc: desc.into() }
    }
    /// No such device.
    pub fn device_not_found(device: &str) -> QmpError {
        QmpError { class: "DeviceNotFound", desc: format!("Device '{device}' not found") }
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// What the client wants back with the answer.
    pub id: Option<Value>,
}

/// What came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A command.
    Command(Command),
    /// Something that is none; the answer to it.
    Bad(Value),
}

/// Collects bytes until they are whole objects. Every byte is looked at once, so that a client that sends
/// a long command in small pieces costs no more than its length; and an object ends with its last brace,
/// since not every client sends a line feed after it.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// Bytes that have been looked at.
    seen: usize,
    /// Braces and brackets that are open there.
    depth: usize,
    /// A string is open there.
    string: Option<InString>,
    /// A byte that no JSON has was there: what follows means nothing up to where something new may begin.
    recovering: bool,
}

/// Inside a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InString {
    /// What it began with, and ends with.
    quote: u8,
    /// After a backslash.
    escaped: bool,
}

/// What the bytes that have been looked at are.
enum Piece {
    /// The beginning of something.
    Open,
    /// A whole object or list.
    Whole,
    /// No JSON, up to here.
    Nonsense,
    /// The last byte is one that no JSON has.
    Impossible,
    /// Too many braces are open.
    TooDeep,
}

impl Decoder {
    /// Adds bytes from the peer. False if the object that they belong to is too long.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.bytes.extend_from_slice(bytes);
        self.bytes.len() <= LONGEST
    }

    /// The next JSON object or list, if it is whole. Bytes that are no JSON give an error and are dropped,
    /// up to the end of their line where they are outside of braces; a byte that no JSON has is an error at once.
    /// Errors are in QEMU's words.
    pub fn next_value(&mut self) -> Option<Result<Value, String>> {
        self.recover();
        self.skip_space();
        let piece = self.scan();
        if matches!(piece, Piece::Open) {
            return None;
        }
        let bytes: Vec<u8> = self.bytes.drain(..self.seen).collect();
        (self.seen, self.depth, self.string) = (0, 0, None);
        Some(match piece {
            Piece::TooDeep => Err("JSON nesting depth limit exceeded".into()),
            Piece::Impossible => {
                self.recovering = true;
                Err("JSON parse error, stray byte".into())
            }
            // A line with something else than an object may still be JSON: a number, a word.
            _ => json::parse(&bytes).map_err(|error| format!("JSON parse error, {error}")),
        })
    }

    /// Passes over what follows a byte that no JSON has: up to a structural character, or to another such byte, which
    /// QEMU takes for the wish to begin anew.
    fn recover(&mut self) {
        if !self.recovering {
            return;
        }
        let structural = |byte: &u8| matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',');
        let anew = |byte: &u8| (*byte < 0x20 && *byte != b'\t') || matches!(byte, 0xfe | 0xff);
        match self.bytes.iter().position(|byte| structural(byte) || anew(byte)) {
            None => self.bytes.clear(),
            Some(at) => {
                let passed = at + usize::from(anew(&self.bytes[at]));
                self.bytes.drain(..passed);
                self.recovering = false;
            }
        }
    }

    fn skip_space(&mut self) {
        if self.seen == 0 {
            let space = self.bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.bytes.drain(..space);
        }
    }

    fn scan(&mut self) -> Piece {
        for byte in self.bytes.iter().skip(self.seen) {
            self.seen += 1;
            match (self.string, byte) {
                // A string does not go over lines in JSON: somebody forgot a quote.
                (Some(_), b'\n') => return Piece::Nonsense,
                (Some(_), 0..0x20 | 0xc0 | 0xc1 | 0xf5..) => return Piece::Impossible,
                (Some(InString { quote, escaped: true }), _) => {
                    self.string = Some(InString { quote, escaped: false });
                }
                (Some(InString { quote, .. }), b'\\') => {
                    self.string = Some(InString { quote, escaped: true });
                }
                (Some(InString { quote, .. }), byte) if *byte == quote => self.string = None,
                (Some(_), _) => {}
                (None, b'{' | b'[') if self.depth >= DEEPEST => return Piece::TooDeep,
                (None, b'{' | b'[') => self.depth += 1,
                (None, quote @ (b'"' | b'\'')) if self.depth > 0 => {
                    self.string = Some(InString { quote: *quote, escaped: false });
                }
                (None, b'}' | b']') if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Piece::Whole;
                    }
                }
                (None, b'\n') if self.depth == 0 => return Piece::Nonsense,
                (None, b'\t' | b'\r' | b'\n') => {}
                (None, 0..0x20 | 0x7f.. | b'%') => return Piece::Impossible,
                (None, _) => {}
            }
        }
        Piece::Open
    }

    /// The next command, if it is whole.
    pub fn next_command(&mut self) -> Option<Incoming> {
        Some(match self.next_value()? {
            Ok(value) => incoming(value),
            Err(why) => Incoming::Bad(failure(&QmpError::generic(why), None)),
        })
    }
}

fn incoming(value: Value) -> Incoming {
    let bad = |desc: String, id| Incoming::Bad(failure(&QmpError::generic(desc), id));
    let Value::Object(mut object) = value else {
        return bad("QMP input must be a JSON object".into(), None);
    };
    let id = object.shift_remove("id");
    let known = |key: &str| matches!(key, "execute" | "arguments");
    if let Some(key) = object.keys().find(|key| !known(key)) {
        return bad(format!("QMP input member '{key}' is unexpected"), id);
    }
    let Some(name) = object.shift_remove("execute") else {
        return bad("QMP input lacks member 'execute'".into(), id);
    };
    let Value::String(name) = name else {
        return bad("QMP input member 'execute' must be a string".into(), id);
    };
    let arguments = match object.shift_remove("arguments") {
        None => Map::new(),
        Some(Value::Object(arguments)) => arguments,
        Some(_) => return bad("QMP input member 'arguments' must be an object".into(), id),
    };
    Incoming::Command(Command { name, arguments, id })
}

/// The version object of the greeting and of `query-version`: that of the QEMU whose protocol this is,
/// which clients go by, and our own as the package.
pub fn version() -> Value {
    json!({
        "qemu": { "micro": 0, "minor": 2, "major": 7 },
        "package": concat!("ailurus-", env!("CARGO_PKG_VERSION")),
    })
}

/// What the server says first.
pub fn greeting() -> Value {
    json!({ "QMP": { "version": version(), "capabilities": [] } })
}

fn with_id(mut answer: Value, id: Option<Value>) -> Value {
    if let (Some(id), Some(object)) = (id, answer.as_object_mut()) {
        object.insert("id".into(), id);
    }
    answer
}

/// A good answer.
pub fn success(result: Value, id: Option<Value>) -> Value {
    with_id(json!({ "return": result }), id)
}

/// A bad answer.
pub fn failure(error: &QmpError, id: Option<Value>) -> Value {
    with_id(json!({ "error": { "class": error.class, "desc": error.desc } }), id)
}

/// An event, stamped with the host's time.
pub fn event(name: &str, data: Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamp = json!({ "seconds": now.as_secs(), "microseconds": now.subsec_micros() });
    let mut event = Map::new();
    event.insert("timestamp".into(), stamp);
    event.insert("event".into(), name.into());
    if !data.is_null() {
        event.insert("data".into(), data);
    }
    Value::Object(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(chunks: &[&[u8]]) -> Vec<Incoming> {
        let mut decoder = Decoder::default();
        let mut all = Vec::new();
        for chunk in chunks {
            assert!(decoder.push(chunk));
            all.extend(std::iter::from_fn(|| decoder.next_command()));
        }
        all
    }

    #[test]
    fn commands_come_in_any_pieces() {
        let text = br#"{"execute":"stop"} {"execute":"eject","arguments":{"device":"cd"},"id":[1]}"#;
        let expected = [
            Incoming::Command(Command { name: "stop".into(), arguments: Map::new(), id: None }),
            Incoming::Command(Command {
                name: "eject".into(),
                arguments: json!({"device": "cd"}).as_object().unwrap().clone(),
                id: Some(json!([1])),
            }),
        ];
        assert_eq!(decode(&[text]), expected);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(decode(&bytes), expected);
    }

    #[test]
    fn single_quotes_are_quotes_too() {
        let text = br#"{'execute':'a', 'id':'}"\'{'} {"execute":'b',"id":"'"}"#;
        let command = |name: &str, id: &str| {
            let (name, arguments) = (name.to_owned(), Map::new());
            Incoming::Command(Command { name, arguments, id: Some(json!(id)) })
        };
        let expected = [command("a", "}\"'{"), command("b", "'")];
        assert_eq!(decode(&[text]), expected);
        assert_eq!(decode(&text.chunks(1).collect::<Vec<_>>()), expected);
        let twice = decode(&[b"{'execute':'a','execute':'b'}"]);
        let Incoming::Bad(answer) = &twice[0] else { panic!("{twice:?}") };
        assert_eq!(answer["error"]["desc"], "JSON parse error, duplicate key");
    }

    #[test]
    fn nonsense_is_answered_and_passed_over() {
        let all = decode(&[
            b"nonsense}\n{\"execute\":1,\"id\":7}\n[]{\"execute\":\"a\",\"x\":1}{\"execute\":\"stop\"}",
        ]);
        assert_eq!(all.len(), 5, "{all:?}");
        // As QEMU refuses it of a client that has not asked for the capability.
        let oob = decode(&[br#"{"exec-oob":"query-name","id":1}"#]);
        let Incoming::Bad(answer) = &oob[0] else { panic!("{oob:?}") };
        assert_eq!(answer["error"]["desc"], "QMP input member 'exec-oob' is unexpected");
        let Incoming::Bad(answer) = &all[1] else { panic!("{all:?}") };
        assert_eq!(answer["id"], 7);
        assert_eq!(answer["error"]["class"], "GenericError");
        assert!(matches!(&all[4], Incoming::Command(c) if c.name == "stop"));
    }

    /// As QEMU's own test of the protocol has it: no line ends, and each is answered at once.
    #[test]
    fn a_byte_that_no_json_has_is_an_error_at_once() {
        for bad in [&b"{\xff"[..], b"{\x01", b"{'bad \xff", b"{'execute': 'x', 'id':'\n", b"%p"] {
            let mut decoder = Decoder::default();
            assert!(decoder.push(bad));
            assert!(matches!(decoder.next_command(), Some(Incoming::Bad(_))), "{bad:?}");
            assert_eq!(decoder.next_command(), None, "{bad:?}");
            assert!(decoder.push(b"{ 'execute': 'stop' }"));
            let after: Vec<_> = std::iter::from_fn(|| decoder.next_command()).collect();
            assert!(
                matches!(after.last(), Some(Incoming::Command(c)) if c.name == "stop"),
                "{bad:?} {after:?}"
            );
        }
    }

    #[test]
    fn braces_end_a_command_and_strings_hide_them() {
        let all =
            decode(&[br#"{"execute":"a","id":"}\"{"}{"execute":"b"}"#, b"\r", b"\n{\"execute\":\"c\n}\n{}"]);
        let names: Vec<_> = all
            .iter()
            .map(|incoming| match incoming {
                Incoming::Command(command) => command.name.as_str(),
                Incoming::Bad(_) => "bad",
            })
            .collect();
        // The forgotten quote costs its line and the brace after it.
        assert_eq!(names, ["a", "b", "bad", "bad", "bad"]);
    }

    #[test]
    fn an_endless_command_is_refused() {
        let mut decoder = Decoder::default();
        assert!(decoder.push(b"{\"a\":\""));
        assert!(!decoder.push(&vec![b'x'; LONGEST]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_spin(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut decoder = Decoder::default();
            for chunk in &chunks {
                prop_assert!(decoder.push(chunk));
                let turns = std::iter::from_fn(|| decoder.next_command()).take(1000).count();
                prop_assert!(turns < 1000);
            }
        }
    }
}
