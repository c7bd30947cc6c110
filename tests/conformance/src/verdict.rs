//! What the runs say: who passed, what failed, where machines differ, and what of that is explained.

use crate::allowed::Allowed;
use crate::bench::{Finding, Seen};
use crate::case::Group;
use crate::models::{Family, Model};
use crate::run::Run;

/// What [`Failure::what`] is where a machine could not be driven to the end of a case.
pub const BROKEN: &str = "machine";
/// What it is where a case looked at nothing.
pub const NOTHING: &str = "case";

/// How many cases of a device a model passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Without a failure.
    pub passed: usize,
    /// With failures that are all explained.
    pub explained: usize,
}

/// A device's line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// The device.
    pub group: &'static Group,
    /// Its cases that were run.
    pub cases: usize,
    /// One for each model.
    pub scores: Vec<Score>,
    /// Things in which models differ.
    pub differences: usize,
}

/// Where something was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The device.
    pub device: &'static str,
    /// The case.
    pub case: &'static str,
    /// The document.
    pub clause: &'static str,
}

/// A value that is not as the document says.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where.
    pub at: At,
    /// On which model.
    pub model: &'static str,
    /// Of what.
    pub what: String,
    /// What was there.
    pub value: String,
    /// What the document wants.
    pub wanted: String,
    /// Why it is right so all the same.
    pub reason: Option<&'static str>,
}

/// Something in which models differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Where.
    pub at: At,
    /// In what.
    pub what: String,
    /// What each model has, in their order; none: it was not looked at there.
    pub values: Vec<Option<String>>,
    /// What the document wants, if it says.
    pub wanted: Option<String>,
    /// Whether it counts: not where a document says who is right, for then the other one fails.
    pub counts: bool,
    /// Why it is right so.
    pub reason: Option<&'static str>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Names of the models, in order.
    pub models: Vec<&'static str>,
    /// The table.
    pub lines: Vec<Line>,
    /// Where models differ.
    pub differences: Vec<Difference>,
    /// Failures.
    pub failures: Vec<Failure>,
    /// Explanations that were needed.
    pub used: Vec<Allowed>,
    /// Explanations that match nothing any more.
    pub stale: Vec<Allowed>,
}

impl Verdict {
    /// Judges `runs` of `models`. `groups` are all there are, run or not.
    pub fn new(
        runs: &[Run],
        models: &[&'static Model],
        groups: &'static [Group],
        allowed: &[Allowed],
    ) -> Verdict {
        let mut verdict =
            Verdict { models: models.iter().map(|model| model.name).collect(), ..Verdict::default() };
        let mut used = vec![false; allowed.len()];
        for run in runs {
            verdict.add(run, models, allowed, &mut used);
        }
        let both = [Family::Qemu, Family::Ailurus]
            .iter()
            .all(|family| models.iter().any(|model| model.family == *family));
        for (allowed, used) in allowed.iter().zip(used) {
            if used {
                verdict.used.push(*allowed);
            } else if !exists(allowed, groups) || both && ran(allowed, runs) {
                verdict.stale.push(*allowed);
            }
        }
        verdict
    }

    /// Whether everything is as it should be, or explained.
    pub fn is_good(&self) -> bool {
        self.failures.iter().all(|failure| failure.reason.is_some())
            && self.differences.iter().all(|difference| !difference.counts || difference.reason.is_some())
            && self.stale.is_empty()
    }

    /// The cases (device and name) for which it is not.
    pub fn odd(&self) -> Vec<(&'static str, &'static str)> {
        let failures =
            self.failures.iter().filter(|failure| failure.reason.is_none()).map(|failure| failure.at);
        let differences = self.differences.iter().filter(|difference| difference.counts);
        let differences = differences.filter(|difference| difference.reason.is_none());
        let differences = differences.map(|difference| difference.at);
        let odd = failures.chain(differences).map(|at| (at.device, at.case));
        odd.chain(self.stale.iter().map(|stale| (stale.device, stale.case))).collect()
    }

    fn add(&mut self, run: &Run, models: &[&'static Model], allowed: &[Allowed], used: &mut [bool]) {
        let at = At { device: run.group.device, case: run.case.name, clause: run.case.clause };
        let mut explain = |what: &str, family: Option<Family>| {
            let mut rows = allowed.iter().zip(used.iter_mut());
            let row = rows.find(|(row, _)| {
                row.covers(at.device, at.case, what) && family.is_none_or(|family| row.family == family)
            });
            row.map(|(row, used)| {
                *used = true;
                row.reason
            })
        };
        let index = match self.lines.iter().position(|line| std::ptr::eq(line.group, run.group)) {
            Some(index) => index,
            None => {
                let scores = vec![Score::default(); models.len()];
                self.lines.push(Line { group: run.group, cases: 0, scores, differences: 0 });
                self.lines.len() - 1
            }
        };
        let line = &mut self.lines[index];
        line.cases += 1;
        for ((model, outcome), score) in models.iter().zip(&run.outcomes).zip(&mut line.scores) {
            let before = self.failures.len();
            for (what, value, wanted) in failures(&outcome.seen) {
                let reason = explain(&what, Some(model.family));
                self.failures.push(Failure { at, model: model.name, what, value, wanted, reason });
            }
            match &self.failures[before..] {
                [] => score.passed += 1,
                new if new.iter().all(|failure| failure.reason.is_some()) => score.explained += 1,
                _ => {}
            }
        }
        for mut difference in differences(at, run) {
            if difference.counts {
                difference.reason = explain(&difference.what, None);
            }
            line.differences += 1;
            self.differences.push(difference);
        }
    }
}

/// Whether there is such a case.
fn exists(allowed: &Allowed, groups: &[Group]) -> bool {
    groups.iter().any(|group| group.cases.iter().any(|case| allowed.is_of(group.device, case.name)))
}

fn ran(allowed: &Allowed, runs: &[Run]) -> bool {
    runs.iter().any(|run| allowed.is_of(run.group.device, run.case.name))
}

/// What is wrong, what was there, what is wanted.
fn failures(seen: &Result<Vec<Seen>, String>) -> Vec<(String, String, String)> {
    match seen {
        Err(why) => vec![(BROKEN.into(), why.clone(), "that it runs to the end".into())],
        Ok(seen) if seen.is_empty() => {
            vec![(NOTHING.into(), "it looks at nothing".into(), "that it looks at something".into())]
        }
        Ok(seen) => seen
            .iter()
            .filter_map(|seen| match &seen.finding {
                Finding::Wrong(wanted) => Some((seen.what.clone(), seen.value.clone(), wanted.clone())),
                Finding::Right | Finding::Noted => None,
            })
            .collect(),
    }
}

/// What models see differently, in the order in which it was looked at. A model that broke has no say.
fn differences(at: At, run: &Run) -> Vec<Difference> {
    let by_model: Vec<Option<&Vec<Seen>>> =
        run.outcomes.iter().map(|outcome| outcome.seen.as_ref().ok()).collect();
    let mut found: Vec<Difference> = Vec::new();
    for what in by_model.iter().flatten().flat_map(|seen| seen.iter().map(|seen| &seen.what)) {
        if found.iter().any(|difference| difference.what == *what) {
            continue;
        }
        let cells: Vec<Option<&Seen>> = by_model
            .iter()
            .map(|seen| seen.and_then(|seen| seen.iter().find(|seen| seen.what == *what)))
            .collect();
        let mut present =
            cells.iter().zip(&by_model).filter(|(_, seen)| seen.is_some()).map(|(cell, _)| cell);
        let Some(first) = present.next() else { continue };
        if present.all(|cell| cell.map(|seen| &seen.value) == first.map(|seen| &seen.value)) {
            continue;
        }
        let wanted = cells.iter().flatten().find_map(|seen| match &seen.finding {
            Finding::Wrong(wanted) => Some(wanted.clone()),
            Finding::Right | Finding::Noted => None,
        });
        found.push(Difference {
            at,
            what: what.clone(),
            values: cells.iter().map(|cell| cell.map(|seen| seen.value.clone())).collect(),
            counts: wanted.is_none(),
            wanted,
            reason: None,
        });
    }
    found
}
