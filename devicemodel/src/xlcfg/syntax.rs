//! The syntax of an xl.cfg file as libxlu reads it: `key = value` or `key += value` on lines or between semicolons, where
//! a value is a string in single or double quotes, a bare number, or a list of values in brackets. `#` begins a comment.
//!
//! What xl refuses is refused: capitals in a key, a value on the next line, Windows line ends, a last comment that no line
//! end follows. `tests.rs` holds what libxlu 4.17 says of each.

use std::collections::HashMap;
use std::ops::Range;

use thiserror::Error;

use super::text::Text;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// In quotes, or a bare number, which is its digits.
    Text(Text),
    /// In brackets.
    List(Vec<Value>),
}

/// One setting, with the line it stands in (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name.
    pub key: String,
    /// Value. A later `+=` of the same key takes it and has the whole.
    pub value: Value,
    /// Whether it was added to what was there, by `+=`.
    pub added: bool,
    /// Line of the key.
    pub line: usize,
    /// Where it stands in the file, from the key to the end of its value.
    pub bytes: Range<usize>,
}

/// Where and how the file is malformed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: expected {expected}, found {found}")]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// What would be right there.
    pub expected: &'static str,
    /// What is there.
    pub found: String,
}

/// Deepest nesting of lists: a hostile file must not use up our stack.
const DEEPEST: usize = 16;

struct Parser<'a> {
    file: &'a [u8],
    at: usize,
    /// Up to where lines were counted, and how many there were.
    counted: (usize, usize),
}

/// Reads a whole file. Where a key stands twice, the last entry counts.
pub fn parse(file: impl AsRef<[u8]>) -> Result<Vec<Entry>, SyntaxError> {
    let mut parser = Parser { file: file.as_ref(), at: 0, counted: (0, 1) };
    let mut entries: Vec<Entry> = Vec::new();
    let mut last: HashMap<String, usize> = HashMap::new();
    loop {
        parser.lines()?;
        while parser.take(b';') {
            parser.lines()?;
        }
        if parser.peek().is_none() {
            return Ok(entries);
        }
        let mut entry = parser.entry()?;
        let before = last.insert(entry.key.clone(), entries.len());
        if let Some(before) = before.filter(|_| entry.added).and_then(|before| entries.get_mut(before)) {
            let begin = entry.bytes.start;
            entry.value = joined(&mut before.value, entry.value).ok_or_else(|| {
                parser.error(begin, "the same kind of value as before", "a list and a string")
            })?;
        }
        entries.push(entry);
    }
}

/// What `+=` makes: texts and lists are put one after the other. The old value is used up, so that a file of many
/// additions does not become many copies.
fn joined(old: &mut Value, new: Value) -> Option<Value> {
    match (old, new) {
        (Value::Text(old), Value::Text(new)) => Some(Value::Text(std::mem::take(old).and(&new))),
        (Value::List(old), Value::List(new)) => {
            let mut list = std::mem::take(old);
            list.extend(new);
            Some(Value::List(list))
        }
        _ => None,
    }
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.file.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    fn take_while(&mut self, is: impl Fn(u8) -> bool) -> &[u8] {
        let rest = self.file.get(self.at..).unwrap_or_default();
        let count = rest.iter().position(|byte| !is(*byte)).unwrap_or(rest.len());
        self.at += count;
        rest.get(..count).unwrap_or_default()
    }

    /// Skips blanks within a line.
    fn blanks(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    /// Skips the end of a line, with the comment before it; whether one was there.
    fn line_end(&mut self) -> Result<bool, SyntaxError> {
        let begin = self.at;
        if self.take(b'#') {
            let comment = self.take_while(|byte| byte != b'\n').len();
            if self.peek().is_none() && comment > 0 {
                return Err(self.error(
                    begin,
                    "a line end after the last comment, as xl does",
                    "the end of the file",
                ));
            }
        }
        Ok(self.take(b'\n') || self.at > begin)
    }

    /// Skips blanks and ends of lines.
    fn lines(&mut self) -> Result<(), SyntaxError> {
        self.blanks();
        while self.line_end()? {
            self.blanks();
        }
        Ok(())
    }

    fn error(&self, at: usize, expected: &'static str, found: impl Into<String>) -> SyntaxError {
        let before = self.file.get(..at).unwrap_or(self.file);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
        SyntaxError { line, column, expected, found: found.into() }
    }

    /// The line of a place that comes after the last one that was asked for.
    fn line(&mut self, at: usize) -> usize {
        let (from, line) = self.counted;
        let between = self.file.get(from..at).unwrap_or_default();
        let line = line + between.iter().filter(|byte| **byte == b'\n').count();
        self.counted = (at, line);
        line
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, SyntaxError> {
        let found = match self.peek() {
            None => "the end of the file".to_owned(),
            Some(b'\n') => "the end of the line".to_owned(),
            Some(b'\r') => "a carriage return (Windows line ends?)".to_owned(),
            Some(byte) => format!("'{}'", byte.escape_ascii()),
        };
        Err(self.error(self.at, expected, found))
    }

    fn entry(&mut self) -> Result<Entry, SyntaxError> {
        let begin = self.at;
        if !self.peek().is_some_and(|byte| byte.is_ascii_lowercase()) {
            return self.fail("the name of a setting, in small letters");
        }
        let key = self.take_while(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.')).to_vec();
        self.blanks();
        let added = self.take(b'+');
        if !self.take(b'=') {
            return self.fail("'='");
        }
        self.blanks();
        let value = self.value(0)?;
        let bytes = begin..self.at;
        self.blanks();
        if !matches!(self.peek(), None | Some(b'\n' | b'#' | b';')) {
            return self.fail("the end of the line or ';'");
        }
        let line = self.line(begin);
        Ok(Entry { key: Text::of(key).to_string(), value, added, line, bytes })
    }

    fn value(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => self.text(quote),
            Some(b'[') if depth < DEEPEST => self.list(depth),
            Some(b'[') => self.fail("lists nested less deeply"),
            Some(b'0'..=b'9') => {
                let digits = self.take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'x'));
                Ok(Value::Text(Text::of(digits.to_vec())))
            }
            _ => self.fail("a string in quotes, a number or a list in brackets"),
        }
    }

    fn text(&mut self, quote: u8) -> Result<Value, SyntaxError> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            text.extend_from_slice(
                self.take_while(|byte| byte != quote && !matches!(byte, b'\\' | b'\n' | 0)),
            );
            match self.peek() {
                Some(byte) if byte == quote => break,
                Some(b'\\') => self.escape(&mut text)?,
                _ => return self.fail("the closing quote"),
            }
        }
        self.at += 1;
        Ok(Value::Text(Text::of(text)))
    }

    /// C's escapes of one letter. An octal one, a digit and two or three more, is read and gives nothing: so does xl.
    /// Hexadecimal ones xl refuses.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), SyntaxError> {
        self.at += 1;
        let byte = match self.peek() {
            Some(byte @ (b'\\' | b'"' | b'\'')) => byte,
            Some(b'a') => 0x07,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 0x0b,
            Some(b'0'..=b'7') => {
                let rest = self.file.get(self.at + 1..).unwrap_or_default();
                let digits = rest.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
                if digits >= 2 {
                    self.at += 1 + digits;
                    return Ok(());
                }
                return self.fail("an octal escape of three or four digits");
            }
            _ => return self.fail("an escape: \\n, \\t, \\r, \\a, \\b, \\f, \\v, \\\\, \\\" or \\'"),
        };
        self.at += 1;
        text.push(byte);
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.lines()?;
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.lines()?;
            if !self.take(b',') && self.peek() != Some(b']') {
                return self.fail("',' or ']'");
            }
        }
    }
}

#[cfg(test)]
mod tests;
