//! The syntax of an xl.cfg file: `key = value` on lines or between semicolons, where a value is a string
//! in single or double quotes, a number, or a list of values in brackets. `#` begins a comment.

use thiserror::Error;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// In quotes.
    Text(String),
    /// Decimal, or hexadecimal with 0x.
    Number(i64),
    /// In brackets.
    List(Vec<Value>),
}

/// One setting, with the line it stands in (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name.
    pub key: String,
    /// Value.
    pub value: Value,
    /// Line of the key.
    pub line: usize,
}

/// Where and how the file is malformed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: expected {expected}, found {found}")]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What would be right there.
    pub expected: &'static str,
    /// What is there.
    pub found: String,
}

/// Deepest nesting of lists: a hostile file must not use up our stack.
const DEEPEST: usize = 16;

struct Parser<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
    column: usize,
}

/// Reads a whole file.
pub fn parse(text: &str) -> Result<Vec<Entry>, SyntaxError> {
    let mut parser = Parser { rest: text.chars().peekable(), line: 1, column: 1 };
    let mut entries = Vec::new();
    loop {
        parser.skip(true);
        while parser.take(';') {
            parser.skip(true);
        }
        if parser.peek().is_none() {
            return Ok(entries);
        }
        entries.push(parser.entry()?);
    }
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.next();
        }
        there
    }

    /// Skips blanks and comments; line ends too if `lines`.
    fn skip(&mut self, lines: bool) {
        while let Some(c) = self.peek() {
            match c {
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.next();
                    }
                }
                '\n' if !lines => return,
                c if c.is_whitespace() => {
                    self.next();
                }
                _ => return,
            }
        }
    }

    fn fail<T>(&mut self, expected: &'static str) -> Result<T, SyntaxError> {
        let found = match self.peek() {
            None => "the end of the file".to_owned(),
            Some('\n') => "the end of the line".to_owned(),
            Some(c) => format!("'{}'", c.escape_default()),
        };
        Err(SyntaxError { line: self.line, column: self.column, expected, found })
    }

    fn entry(&mut self) -> Result<Entry, SyntaxError> {
        let line = self.line;
        let key = self.word();
        if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) {
            return self.fail("the name of a setting");
        }
        self.skip(false);
        if !self.take('=') {
            return self.fail("'='");
        }
        self.skip(false);
        let value = self.value(0)?;
        self.skip(false);
        match self.peek() {
            None | Some('\n' | ';') => Ok(Entry { key, value, line }),
            Some(_) => self.fail("the end of the line or ';'"),
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            word.push(c);
            self.next();
        }
        word
    }

    fn value(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self.text(quote),
            Some('[') if depth < DEEPEST => self.list(depth),
            Some('[') => self.fail("lists nested less deeply"),
            Some(c) if c.is_ascii_digit() || c == '-' => self.number(),
            _ => self.fail("a string in quotes, a number or a list in brackets"),
        }
    }

    fn text(&mut self, quote: char) -> Result<Value, SyntaxError> {
        self.next();
        let mut text = String::new();
        loop {
            match self.peek() {
                Some(c) if c == quote => break,
                None | Some('\n') => return self.fail("the closing quote"),
                Some('\\') => {
                    self.next();
                    match self.peek() {
                        Some('n') => text.push('\n'),
                        Some('t') => text.push('\t'),
                        Some(c @ ('\\' | '"' | '\'')) => text.push(c),
                        _ => return self.fail("an escape: \\n, \\t, \\\\, \\\" or \\'"),
                    }
                    self.next();
                }
                Some(c) => {
                    text.push(c);
                    self.next();
                }
            }
        }
        self.next();
        Ok(Value::Text(text))
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let (line, column) = (self.line, self.column);
        let negative = self.take('-');
        let word = self.word();
        let magnitude = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
            Some(hex) => i64::from_str_radix(hex, 16),
            None => word.parse(),
        };
        let bad = SyntaxError { line, column, expected: "a number", found: format!("'{word}'") };
        let magnitude = magnitude.map_err(|_| bad)?;
        Ok(Value::Number(if negative { -magnitude } else { magnitude }))
    }

    fn list(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.next();
        let mut items = Vec::new();
        loop {
            self.skip(true);
            if self.take(']') {
                return Ok(Value::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.skip(true);
            if !self.take(',') && self.peek() != Some(']') {
                return self.fail("',' or ']'");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_usual_file_is_read() {
        let text = "# a guest\nname = \"win\" ; vcpus=2\nmemory = 0x400\ndisk = [ 'a,raw,hda,rw', # first\n  \"b\",\n]\n";
        let entries = parse(text).unwrap();
        assert_eq!(entries.len(), 4);
        assert_eq!(entries[1], Entry { key: "vcpus".into(), value: Value::Number(2), line: 2 });
        assert_eq!(entries[2].value, Value::Number(1024));
        let list = vec![Value::Text("a,raw,hda,rw".into()), Value::Text("b".into())];
        assert_eq!(entries[3], Entry { key: "disk".into(), value: Value::List(list), line: 4 });
    }

    #[test]
    fn errors_say_where_and_what() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(error("name \"a\""), "line 1, column 6: expected '=', found '\\\"'");
        assert_eq!(
            error("\nname = 'a"),
            "line 2, column 10: expected the closing quote, found the end of the file"
        );
        assert_eq!(error("a = 12x"), "line 1, column 5: expected a number, found '12x'");
        assert_eq!(error("a = [1 2]"), "line 1, column 8: expected ',' or ']', found '2'");
        assert_eq!(error("a = 1 b = 2"), "line 1, column 7: expected the end of the line or ';', found 'b'");
        assert!(error(&format!("a = {}", "[".repeat(100_000))).contains("nested"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse(&text);
        }
        #[test]
        fn no_near_file_makes_it_panic(text in "([a-z]{1,3} ?= ?['\"\\[\\]0-9,;#\n\\\\x-]{0,9})*") {
            let _ = parse(&text);
        }
    }
}
