//! The words of a `-netdev`, taken one by one; what is left in the end was not known. Errors are in QEMU's words.

/// How QEMU reads a kind of back end: the words of an unknown key tell which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As a list of words.
    Words,
    /// As a tree of QAPI's (`stream`, `dgram`).
    Tree,
}

/// Keys with their values.
pub(super) struct Options<'a> {
    left: Vec<(&'a str, &'a str)>,
    style: Style,
}

impl<'a> Options<'a> {
    pub(super) fn new(options: &'a [(String, String)], style: Style) -> Options<'a> {
        Options { left: options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(), style }
    }

    /// The value of a key; the last one, if it is there more than once.
    pub(super) fn take(&mut self, key: &str) -> Option<&'a str> {
        let value = self.left.iter().rev().find(|(k, _)| *k == key).map(|(_, value)| *value);
        self.left.retain(|(k, _)| *k != key);
        value
    }

    /// Whether a key begins so.
    pub(super) fn has_any(&self, prefix: &str) -> bool {
        self.left.iter().any(|(key, _)| key.starts_with(prefix))
    }

    /// Whether one of these keys is left.
    pub(super) fn has(&self, keys: &[&str]) -> bool {
        self.left.iter().any(|(key, _)| keys.contains(key))
    }

    pub(super) fn required(&mut self, key: &str) -> Result<&'a str, String> {
        self.take(key).ok_or_else(|| format!("Parameter '{key}' is missing"))
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.take(key) {
            None => Ok(None),
            Some("on" | "yes" | "true" | "y") => Ok(Some(true)),
            Some("off" | "no" | "false" | "n") => Ok(Some(false)),
            Some(_) => Err(format!("Parameter '{key}' expects 'on' or 'off'")),
        }
    }

    /// A number in C's spellings.
    pub(super) fn number(&mut self, key: &str, what: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.take(key) else { return Ok(None) };
        number(text).map(Some).ok_or_else(|| format!("Parameter '{key}' expects {what}"))
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), String> {
        match (self.left.first(), self.style) {
            (None, _) => Ok(()),
            (Some((key, _)), Style::Words) => Err(format!("Invalid parameter '{key}'")),
            (Some((key, _)), Style::Tree) => Err(format!("Parameter '{key}' is unexpected")),
        }
    }
}

/// Decimal, `0x` and hexadecimal, or `0` and octal.
pub(super) fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// Bytes, or with a suffix as many KiB (`K`), MiB (`M`) and so on.
pub(super) fn size(text: &str) -> Option<u64> {
    let suffixes = ["B", "K", "M", "G", "T", "P", "E"];
    let power =
        suffixes.iter().position(|s| text.len() > 1 && text[text.len() - 1..].eq_ignore_ascii_case(s));
    let digits = if power.is_some() { &text[..text.len() - 1] } else { text };
    number(digits)?.checked_mul(1 << (10 * power.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        assert_eq!(number("10"), Some(10));
        assert_eq!(number("0x1F"), Some(31));
        assert_eq!(number("010"), Some(8));
        assert_eq!(number("0"), Some(0));
        for bad in ["", "x", "0x", "08", "1k", "+1", "-1", "99999999999999999999"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(size("1000"), Some(1000));
        assert_eq!(size("0x10"), Some(16));
        assert_eq!(size("2k"), Some(2048));
        assert_eq!(size("3M"), Some(3 << 20));
        for bad in ["", "k", "x", "1x", "1kk", "99999999E"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_last_of_a_key_counts_and_what_is_left_is_named() {
        let words = [("a", "1"), ("b", "yes"), ("a", "2"), ("c", "")].map(|(k, v)| (k.into(), v.into()));
        let mut options = Options::new(&words, Style::Words);
        assert_eq!(options.take("a"), Some("2"));
        assert_eq!(options.flag("b"), Ok(Some(true)));
        assert_eq!(options.end(), Err("Invalid parameter 'c'".into()));
        assert_eq!(Options::new(&words[3..], Style::Tree).end(), Err("Parameter 'c' is unexpected".into()));
    }
}
