//! Why cases of QEMU's that fail on ours do: a table of patterns and reasons.

/// The table. A line is a case, or the beginning of cases with a `*`, a colon and the reason.
const TABLE: &str = include_str!("explained.txt");

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// The case, or how cases begin.
    pattern: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl Explanation<'_> {
    fn fits(&self, case: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(beginning) => case.starts_with(beginning),
            None => case == self.pattern,
        }
    }
}

/// All of the table.
pub fn all() -> Vec<Explanation<'static>> {
    parse(TABLE)
}

fn parse(text: &str) -> Vec<Explanation<'_>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(pattern, reason)| Explanation { pattern: pattern.trim(), reason: reason.trim() })
        .collect()
}

/// Why a case may fail, if it may.
pub fn of<'a>(table: &'a [Explanation<'a>], case: &str) -> Option<&'a Explanation<'a>> {
    table.iter().find(|line| line.fits(case))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_case_or_its_beginning() {
        let table = parse("# a remark\n\n/ide/a: first\n/fdc/*: second: of two\n");
        assert_eq!(of(&table, "/ide/a").map(|line| line.reason), Some("first"));
        assert_eq!(of(&table, "/ide/ab"), None);
        assert_eq!(of(&table, "/fdc/ab").map(|line| line.reason), Some("second: of two"));
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = TABLE.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).count();
        assert_eq!(all().len(), lines);
    }
}
