//! JSON as QEMU takes it (QEMU, `qobject/json-lexer.c` and `docs/interop/qmp-spec.rst`): RFC 8259, and beside it strings
//! in single quotes. A key that comes twice in an object is an error: whoever reads it could take either value.
//!
//! Numbers are integers of 64 bits where they are written as integers and fit, and floating-point numbers otherwise.

use serde_json::{Map, Number, Value};

/// Most objects and lists that lie in each other.
pub(super) const DEEPEST: usize = 120;

/// What is wrong, in a few words.
type Wrong = &'static str;

struct Parser<'a> {
    rest: &'a [u8],
    depth: usize,
}

/// Reads one value and nothing after it but space.
///
/// # Errors
/// What is wrong, in a few words.
pub fn parse(bytes: &[u8]) -> Result<Value, Wrong> {
    let mut parser = Parser { rest: bytes, depth: 0 };
    let value = parser.value()?;
    parser.space();
    if parser.rest.is_empty() { Ok(value) } else { Err("something follows the value") }
}

/// The code point of four hexadecimal digits.
fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        let space = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.skip(space);
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn skip(&mut self, count: usize) -> &'a [u8] {
        let (now, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        now
    }

    /// Takes that byte, after space, if it is there.
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        self.skip(usize::from(there));
        there
    }

    fn value(&mut self) -> Result<Value, Wrong> {
        self.space();
        match self.peek() {
            None => Err("a value is missing"),
            Some(b'{') => self.nested(Parser::object),
            Some(b'[') => self.nested(Parser::list),
            Some(b'"' | b'\'') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'a'..=b'z') => self.word(),
            Some(_) => Err("invalid character"),
        }
    }

    fn nested(&mut self, inside: fn(&mut Self) -> Result<Value, Wrong>) -> Result<Value, Wrong> {
        if self.depth == DEEPEST {
            return Err("nesting depth limit exceeded");
        }
        self.skip(1);
        self.depth += 1;
        let value = inside(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value, Wrong> {
        let mut members = Map::new();
        if self.take(b'}') {
            return Ok(members.into());
        }
        loop {
            self.space();
            if !matches!(self.peek(), Some(b'"' | b'\'')) {
                return Err("key is not a string in object");
            }
            let key = self.string()?;
            if !self.take(b':') {
                return Err("missing : in object pair");
            }
            if members.insert(key, self.value()?).is_some() {
                return Err("duplicate key");
            }
            if self.take(b'}') {
                return Ok(members.into());
            }
            if !self.take(b',') {
                return Err("expected separator in dict");
            }
        }
    }

    fn list(&mut self) -> Result<Value, Wrong> {
        let mut values = Vec::new();
        if self.take(b']') {
            return Ok(values.into());
        }
        loop {
            values.push(self.value()?);
            if self.take(b']') {
                return Ok(values.into());
            }
            if !self.take(b',') {
                return Err("expected separator in list");
            }
        }
    }

    fn word(&mut self) -> Result<Value, Wrong> {
        let len = self.rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        match self.skip(len) {
            b"true" => Ok(Value::Bool(true)),
            b"false" => Ok(Value::Bool(false)),
            b"null" => Ok(Value::Null),
            _ => Err("invalid keyword"),
        }
    }

    fn number(&mut self) -> Result<Value, Wrong> {
        let part = |byte: &&u8| matches!(**byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = self.rest.iter().take_while(part).count();
        let text = std::str::from_utf8(self.skip(len)).map_err(|_| "invalid number")?;
        // Its own grammar is JSON's; that of Rust's numbers is wider.
        let number: Number = serde_json::from_str(text).map_err(|_| "invalid number")?;
        Ok(number.into())
    }

    fn string(&mut self) -> Result<String, Wrong> {
        let quote = self.peek();
        self.skip(1);
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                None => return Err("a string has no end"),
                byte if byte == quote => break,
                Some(b'\\') => {
                    let mut utf8 = [0; 4];
                    bytes.extend_from_slice(self.escape()?.encode_utf8(&mut utf8).as_bytes());
                }
                Some(..0x20) => return Err("control character in a string"),
                Some(byte) => {
                    bytes.push(byte);
                    self.skip(1);
                }
            }
        }
        self.skip(1);
        String::from_utf8(bytes).map_err(|_| "invalid UTF-8 sequence in string")
    }

    fn escape(&mut self) -> Result<char, Wrong> {
        self.skip(1);
        Ok(match self.skip(1) {
            b"b" => '\u{8}',
            b"f" => '\u{c}',
            b"n" => '\n',
            b"r" => '\r',
            b"t" => '\t',
            [c @ (b'"' | b'\'' | b'\\' | b'/')] => char::from(*c),
            b"u" => return self.code_point(),
            _ => return Err("invalid escape sequence in string"),
        })
    }

    /// After `\u`: four digits, and for a character beyond 16 bits four more after another `\u`.
    fn code_point(&mut self) -> Result<char, Wrong> {
        const WRONG: Wrong = "an escape is not a valid Unicode character";
        let unit = |digits: &[u8]| if digits.len() == 4 { hex4(digits) } else { None };
        let first = unit(self.skip(4)).ok_or(WRONG)?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(WRONG);
        }
        if self.skip(2) != b"\\u" {
            return Err(WRONG);
        }
        let second = unit(self.skip(4)).filter(|unit| (0xdc00..0xe000).contains(unit)).ok_or(WRONG)?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(WRONG)
    }
}

/// A text, a number or a switch as a command line has it; None of anything else.
pub fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(on) => Some(if *on { "on" } else { "off" }.into()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn both_quotes_make_strings() {
        let read = |text: &str| parse(text.as_bytes());
        assert_eq!(
            read("{'a': \"it's\", \"b\": 'say \"x\"', 'c': 'it\\'s'}"),
            Ok(json!({ "a": "it's", "b": "say \"x\"", "c": "it's" }))
        );
        assert_eq!(read(" [ 1 , -2.5e1, true,null,{} ,[]] "), Ok(json!([1, -25.0, true, null, {}, []])));
        assert_eq!(read(r#"'\u00e9\ud83d\ude00\n\/'"#), Ok(json!("é😀\n/")));
        assert_eq!(read("18446744073709551615"), Ok(json!(u64::MAX)));
    }

    #[test]
    fn what_is_no_json_is_named() {
        for (text, why) in [
            ("", "a value is missing"),
            ("{'a':1,'a':2}", "duplicate key"),
            ("{\"a\":{'b':1,\"b\":1}}", "duplicate key"),
            ("{'a' 1}", "missing : in object pair"),
            ("{a:1}", "key is not a string in object"),
            ("[1,]", "invalid character"),
            ("{'a':1,}", "key is not a string in object"),
            ("[1 2]", "expected separator in list"),
            ("{'a':1 'b':2}", "expected separator in dict"),
            ("'a\"", "a string has no end"),
            ("'a\nb'", "control character in a string"),
            ("'\\x'", "invalid escape sequence in string"),
            ("'\\ud800x'", "an escape is not a valid Unicode character"),
            ("'\\u12'", "an escape is not a valid Unicode character"),
            ("01", "invalid number"),
            ("+1", "invalid character"),
            ("1e999", "invalid number"),
            ("True", "invalid character"),
            ("nil", "invalid keyword"),
            ("1 2", "something follows the value"),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(why), "{text}");
        }
        assert_eq!(parse(b"'\xff'"), Err("invalid UTF-8 sequence in string"));
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(deep(DEEPEST).as_bytes()).is_ok());
        assert_eq!(parse(deep(DEEPEST + 1).as_bytes()), Err("nesting depth limit exceeded"));
    }

    proptest! {
        /// Whatever another JSON parser takes, this one takes too, and finds the same in it.
        #[test]
        fn plain_json_is_the_same(text in "[\\[\\]{}:,\"a0-9.eE\\\\ntrue -]{0,24}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                match parse(text.as_bytes()) {
                    Err("duplicate key") => {}
                    read => prop_assert_eq!(read, Ok(value)),
                }
            }
        }
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
