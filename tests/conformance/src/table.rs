//! The verdict as text.

use std::fmt::Write;

use crate::verdict::{Score, Verdict};

/// Longest value that is shown whole.
const VALUE_MAX: usize = 160;

/// `passed`, and how many more are explained.
pub(crate) fn score(score: Score) -> String {
    match score.explained {
        0 => score.passed.to_string(),
        explained => format!("{}+{explained}", score.passed),
    }
}

/// The table, the differences, the failures, what is allowed, and one last line.
pub fn text(verdict: &Verdict) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, verdict);
    text
}

fn write(text: &mut String, verdict: &Verdict) -> std::fmt::Result {
    write!(text, "\n{:<16} {:>6}", "device", "cases")?;
    for model in &verdict.models {
        write!(text, " {model:>9}")?;
    }
    writeln!(text, " {:>12}", "differences")?;
    let mut sums = vec![Score::default(); verdict.models.len()];
    for line in &verdict.lines {
        write!(text, "{:<16} {:>6}", line.group.device, line.cases)?;
        for (of_model, sum) in line.scores.iter().zip(&mut sums) {
            write!(text, " {:>9}", score(*of_model))?;
            sum.passed += of_model.passed;
            sum.explained += of_model.explained;
        }
        writeln!(text, " {:>12}", line.differences)?;
    }
    write!(text, "{:<16} {:>6}", "all", verdict.lines.iter().map(|line| line.cases).sum::<usize>())?;
    for sum in sums {
        write!(text, " {:>9}", score(sum))?;
    }
    writeln!(text, " {:>12}", verdict.differences.len())?;
    differences(text, verdict)?;
    failures(text, verdict)?;
    allowed(text, verdict)?;
    let state =
        if verdict.is_good() { "everything is right or explained" } else { "NOT everything is right" };
    writeln!(text, "\n{state}")
}

fn short(value: &str) -> String {
    match value.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

fn differences(text: &mut String, verdict: &Verdict) -> std::fmt::Result {
    if !verdict.differences.is_empty() {
        writeln!(text, "\nDifferences")?;
    }
    for difference in &verdict.differences {
        let at = &difference.at;
        writeln!(text, "  {} / {}: {}", at.device, at.case, difference.what)?;
        for (model, value) in verdict.models.iter().zip(&difference.values) {
            writeln!(text, "    {model:<9} {}", value.as_deref().map_or("(not looked at)".into(), short))?;
        }
        if let Some(wanted) = &difference.wanted {
            writeln!(text, "    wanted    {}", short(wanted))?;
        }
        match (difference.reason, difference.counts) {
            (Some(reason), _) => writeln!(text, "    allowed: {reason}")?,
            (None, true) => writeln!(text, "    NOT EXPLAINED")?,
            (None, false) => {}
        }
    }
    Ok(())
}

fn failures(text: &mut String, verdict: &Verdict) -> std::fmt::Result {
    if !verdict.failures.is_empty() {
        writeln!(text, "\nFailures")?;
    }
    for failure in &verdict.failures {
        let at = &failure.at;
        writeln!(
            text,
            "  {} / {} ({}) on {}: {}",
            at.device, at.case, at.clause, failure.model, failure.what
        )?;
        writeln!(text, "    there {}, wanted {}", short(&failure.value), short(&failure.wanted))?;
        match failure.reason {
            Some(reason) => writeln!(text, "    explained: {reason}")?,
            None => writeln!(text, "    NOT EXPLAINED")?,
        }
    }
    Ok(())
}

fn allowed(text: &mut String, verdict: &Verdict) -> std::fmt::Result {
    for (title, list) in
        [("Allowed", &verdict.used), ("Allowed, but nothing is so any more: AN ERROR", &verdict.stale)]
    {
        if list.is_empty() {
            continue;
        }
        writeln!(text, "\n{title}")?;
        for entry in list {
            let who = format!("{:?}", entry.family).to_lowercase();
            writeln!(text, "  {} / {}: {} ({who})", entry.device, entry.case, entry.what)?;
            writeln!(text, "    {}", entry.reason)?;
        }
    }
    Ok(())
}
