//! Words and numbers of a line, as QEMU's monitor for people takes them (QEMU, `docs/system/monitor.rst`).

use super::super::protocol::QmpError;

/// Splits a line at its space. A word in double quotes keeps its space, and has the escapes of C's strings that QEMU
/// knows: `\n`, `\r`, `\\`, `\'`, `\"`.
pub(super) fn split(line: &str) -> Result<Vec<String>, QmpError> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        let Some(first) = chars.next() else { return Ok(words) };
        if first != '"' {
            let mut word = String::from(first);
            while let Some(c) = chars.next_if(|c| !c.is_ascii_whitespace()) {
                word.push(c);
            }
            words.push(word);
            continue;
        }
        let mut word = String::new();
        loop {
            match chars.next() {
                None => return Err(QmpError::generic("unterminated string")),
                Some('"') => break,
                Some('\\') => word.push(match chars.next() {
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some(c @ ('\\' | '\'' | '"')) => c,
                    Some(c) => return Err(QmpError::generic(format!("unsupported escape code: '\\{c}'"))),
                    None => return Err(QmpError::generic("unterminated string")),
                }),
                Some(c) => word.push(c),
            }
        }
        words.push(word);
    }
}

/// Most parentheses and signs that lie in each other.
const DEEPEST: usize = 64;

/// Gives the value of a register that an expression names (`$rip`).
pub(super) type Registers<'a> = &'a dyn Fn(&str) -> Option<u64>;

/// A number of 64 bits: decimal, `0x`, octal with `0`, a character in single quotes, a register with `$`, and
/// operators, the loosest first: `+ -`, then `& | ^`, then `* / %`, then `~ - +` before their operand; and parentheses.
/// QEMU has them in this order, which is not C's. Sums wrap.
pub(super) fn expression(text: &str, registers: Registers<'_>) -> Result<u64, QmpError> {
    let mut parser = Expression { rest: text, registers, depth: 0 };
    let value = parser.sum()?;
    if parser.space().is_empty() { Ok(value) } else { Err(parser.unexpected()) }
}

/// A number with no register in it.
pub(super) fn number(text: &str) -> Result<i64, QmpError> {
    Ok(expression(text, &|_| None)? as i64)
}

struct Expression<'a> {
    rest: &'a str,
    registers: Registers<'a>,
    depth: usize,
}

impl<'a> Expression<'a> {
    fn space(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn unexpected(&self) -> QmpError {
        match self.rest.chars().next() {
            Some(c) => {
                QmpError::generic(format!("unexpected character '{}' in an expression", c.escape_debug()))
            }
            None => QmpError::generic("unexpected end of expression"),
        }
    }

    /// Takes the next operator, if it is one of these.
    fn operator(&mut self, operators: &str) -> Option<char> {
        let found = self.space().chars().next().filter(|c| operators.contains(*c))?;
        self.rest = self.rest.get(found.len_utf8()..).unwrap_or("");
        Some(found)
    }

    fn sum(&mut self) -> Result<u64, QmpError> {
        let mut value = self.bits()?;
        while let Some(operator) = self.operator("+-") {
            let other = self.bits()?;
            value = if operator == '+' { value.wrapping_add(other) } else { value.wrapping_sub(other) };
        }
        Ok(value)
    }

    fn bits(&mut self) -> Result<u64, QmpError> {
        let mut value = self.product()?;
        while let Some(operator) = self.operator("&|^") {
            let other = self.product()?;
            value = match operator {
                '&' => value & other,
                '|' => value | other,
                _ => value ^ other,
            };
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<u64, QmpError> {
        let mut value = self.unary()?;
        while let Some(operator) = self.operator("*/%") {
            let other = self.unary()?;
            let divided = if operator == '*' {
                Some(value.wrapping_mul(other))
            } else if operator == '/' {
                value.checked_div(other)
            } else {
                value.checked_rem(other)
            };
            value = divided.ok_or_else(|| QmpError::generic("division by zero"))?;
        }
        Ok(value)
    }

    fn unary(&mut self) -> Result<u64, QmpError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(QmpError::generic("the expression is too deep"));
        }
        let value = match self.operator("+-~(") {
            Some('+') => self.unary()?,
            Some('-') => self.unary()?.wrapping_neg(),
            Some('~') => !self.unary()?,
            Some(_) => {
                let value = self.sum()?;
                self.operator(")").ok_or_else(|| QmpError::generic("')' expected"))?;
                value
            }
            None => self.atom()?,
        };
        self.depth -= 1;
        Ok(value)
    }

    fn atom(&mut self) -> Result<u64, QmpError> {
        if self.operator("'").is_some() {
            let mut chars = self.rest.chars();
            let (Some(c), Some('\'')) = (chars.next(), chars.next()) else {
                return Err(QmpError::generic("character constant expected"));
            };
            self.rest = chars.as_str();
            return Ok(u64::from(u32::from(c)));
        }
        let is_name = self.operator("$").is_some();
        // A register's hidden part has a dot in its name: `$cs.base`.
        let further = |c: char| c.is_ascii_alphanumeric() || c == '_' || (is_name && c == '.');
        let end = self.rest.find(|c: char| !further(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if word.is_empty() {
            return Err(self.unexpected());
        }
        self.rest = rest;
        if is_name {
            return (self.registers)(word).ok_or_else(|| QmpError::generic("unknown register"));
        }
        let hex = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
        let value = match (hex, word.strip_prefix('0')) {
            (Some(hex), _) => u64::from_str_radix(hex, 16),
            (None, Some(octal)) if !octal.is_empty() => u64::from_str_radix(octal, 8),
            _ => word.parse(),
        };
        value.map_err(|_| QmpError::generic(format!("'{word}' is not a number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_keep_a_word_together() {
        let words = |line: &str| split(line).map_err(|error| error.desc);
        assert_eq!(words("  eject\t-f  cd ").unwrap(), ["eject", "-f", "cd"]);
        assert_eq!(
            words(r#"change cd "/a b/\"c\"\\d'.iso" raw"#).unwrap(),
            ["change", "cd", "/a b/\"c\"\\d'.iso", "raw"]
        );
        assert_eq!(words(r#"a "" b"c"#).unwrap(), ["a", "", "b\"c"]);
        assert_eq!(words("a \"b").unwrap_err(), "unterminated string");
        assert_eq!(words("a \"b\\").unwrap_err(), "unterminated string");
        assert_eq!(words(r#""\t""#).unwrap_err(), "unsupported escape code: '\\t'");
        assert!(words("").unwrap().is_empty());
    }

    #[test]
    fn numbers_have_every_form() {
        let value = |text: &str| number(text).map_err(|error| error.desc);
        for (text, expected) in [
            ("10", 10),
            ("0x1F", 31),
            ("0X10", 16),
            ("010", 8),
            ("0", 0),
            ("-1", -1),
            ("~0", -1),
            ("- -3", 3),
            ("'a'", 97),
            ("2+3*4", 14),
            ("(2+3)*4", 20),
            ("0xff & 0xf0 | 1 ^ 2", 0xf3),
            ("1 | 2 * 4", 9),
            ("1 + 2 | 4", 7),
            ("8 & 4 + 4", 4),
            ("7 % 4 / 2", 1),
            ("0xffffffffffffffff", -1),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
        for text in ["", "1 2", "08", "0x", "x", "(1", "1/0", "1%0", "1+", "''", "'ab'", "$eax", "1)", "é"] {
            assert!(value(text).is_err(), "{text}");
        }
        assert!(number(&"(".repeat(100_000)).is_err());
        assert!(number(&"-".repeat(100_000)).is_err());
        assert_eq!(expression("$rip+0x10", &|name| (name == "rip").then_some(0x100)), Ok(0x110));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "[ \"\\\\'$a0-9x()+*/%&|^~-]{0,40}|.{0,20}") {
            let _ = split(&line);
            let _ = number(&line);
        }
    }
}
