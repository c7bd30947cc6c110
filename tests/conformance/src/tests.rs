//! The suite itself: that it can fail, and what it says then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::allowed::Allowed;
use crate::case::{Case, Group, Setup, case};
use crate::cases::GROUPS;
use crate::machine::{Broken, Input, Machine, Op};
use crate::models::{Family, Model};
use crate::run::{Run, again, run};
use crate::verdict::{BROKEN, NOTHING, Score, Verdict};
use crate::{page, table};

/// A machine that is not there: every read gives the same.
struct Fake(u64);

impl Machine for Fake {
    fn name(&self) -> &str {
        "fake"
    }
    fn perform(&mut self, ops: &[Op]) -> Result<Vec<u64>, Broken> {
        Ok(vec![self.0; ops.len()])
    }
    fn peek(&mut self, _: u64, len: usize) -> Result<Vec<u8>, Broken> {
        Ok(vec![self.0 as u8; len])
    }
    fn poke(&mut self, _: u64, _: &[u8]) -> Result<(), Broken> {
        Ok(())
    }
    fn input(&mut self, _: &[Input<'_>]) -> Result<(), Broken> {
        Ok(())
    }
    fn com1(&mut self, len: usize) -> Result<Vec<u8>, Broken> {
        Ok(vec![self.0 as u8; len])
    }
    fn patience(&self) -> Duration {
        Duration::ZERO
    }
    fn reset(&mut self) -> Result<(), Broken> {
        Err(Broken { machine: "fake".into(), why: "it has no button".into() })
    }
    fn interrupt(&mut self, _: u64) -> Result<Option<u8>, Broken> {
        Ok(None)
    }
    fn slack(&self) -> u64 {
        0
    }
}

const fn model(
    name: &'static str,
    family: Family,
    switch_on: fn(&Setup) -> Result<Box<dyn Machine>, Broken>,
) -> Model {
    Model { name, family, about: "", switch_on }
}
static ONES: Model = model("ones", Family::Qemu, |_| Ok(Box::new(Fake(u64::MAX))));
static ZEROS: Model = model("zeros", Family::Ailurus, |_| Ok(Box::new(Fake(0))));
static DEAD: Model =
    model("dead", Family::Ailurus, |_| Err(Broken { machine: "dead".into(), why: "<no> life".into() }));

const SETUP: Setup = Setup { disks: &[], args: &[] };
const CASES: &[Case] = &[
    case("zero", "clause 1", |bench| {
        let value = bench.inb(1);
        bench.check("port 1", value, 0u8);
    }),
    case("noted", "clause 2", |bench| {
        let value = bench.inb(2);
        bench.note("port 2", value);
    }),
    case("nothing", "clause 3", |_| {}),
    case("reset", "clause 4", |bench| bench.reset()),
    case("ours", "clause 5", |_| panic!("what a case should not do")),
    case("alike", "clause 6", |bench| bench.note("7", 7u8)),
];
static GROUP: [Group; 1] = [Group { device: "toy", about: "a toy", setup: SETUP, cases: CASES }];

fn runs(models: &[&Model], part: &str) -> Vec<Run> {
    run(&[&GROUP[0]], models, 2, |case| case.name.contains(part), |_, _, _| {})
}

fn verdict(models: &[&'static Model], part: &str, allowed: &[Allowed]) -> Verdict {
    Verdict::new(&runs(models, part), models, &GROUP, allowed)
}

fn allow(case: &'static str, what: &'static str, family: Family) -> Allowed {
    Allowed { device: "toy", case, what, family, reason: "because <it> is" }
}

/// A busy host: QEMU is late once.
#[test]
fn a_case_that_only_qemu_and_only_once_gets_wrong_is_run_again() {
    static LATE: AtomicU64 = AtomicU64::new(1);
    static BUSY: Model = model("busy", Family::Qemu, |_| Ok(Box::new(Fake(LATE.swap(0, Ordering::Relaxed)))));
    let judge = |runs: &[Run]| Verdict::new(runs, &[&BUSY, &ZEROS], &GROUP, &[]);
    let mut seen = runs(&[&BUSY, &ZEROS], "zero");
    let odd = judge(&seen).odd();
    assert_eq!(odd, [("toy", "zero")]);
    assert_eq!(again(&mut seen, &[&BUSY, &ZEROS], &odd), ["toy / zero"]);
    assert!(judge(&seen).is_good());
    let odd = judge(&seen).odd();
    assert!(again(&mut seen, &[&BUSY, &ZEROS], &odd).is_empty());

    static OURS: AtomicU64 = AtomicU64::new(1);
    static WRONG: Model =
        model("wrong", Family::Ailurus, |_| Ok(Box::new(Fake(OURS.swap(0, Ordering::Relaxed)))));
    let mut seen = runs(&[&WRONG], "zero");
    let odd = Verdict::new(&seen, &[&WRONG], &GROUP, &[]).odd();
    assert!(again(&mut seen, &[&WRONG], &odd).is_empty(), "our own fault gets no second chance");
    assert!(!Verdict::new(&seen, &[&WRONG], &GROUP, &[]).is_good());
}

/// No device answers all ones, and no case must be content with that.
#[test]
fn a_machine_that_answers_ones_fails_everywhere() {
    for group in GROUPS.iter().filter(|group| !group.cases.is_empty()) {
        let runs = run(&[group], &[&ONES], 1, |_| true, |_, _, _| {});
        let verdict = Verdict::new(&runs, &[&ONES], GROUPS, &[]);
        assert!(!verdict.is_good(), "{}", group.device);
    }
}

#[test]
fn a_wrong_value_fails_until_it_is_explained() {
    let bad = verdict(&[&ONES, &ZEROS], "zero", &[]);
    assert!(!bad.is_good());
    assert_eq!(bad.failures.len(), 1);
    assert_eq!((bad.failures[0].model, bad.failures[0].value.as_str()), ("ones", "0xff"));
    // The document says who is right: the difference does not count a second time.
    assert_eq!(bad.differences.len(), 1);
    assert!(!bad.differences[0].counts);
    assert_eq!(bad.lines[0].scores, [Score::default(), Score { passed: 1, explained: 0 }]);

    let good = verdict(&[&ONES, &ZEROS], "zero", &[allow("zero", "port*", Family::Qemu)]);
    assert!(good.is_good());
    assert_eq!(good.lines[0].scores[0], Score { passed: 0, explained: 1 });
    let wrong_one = verdict(&[&ONES, &ZEROS], "zero", &[allow("zero", "port 1", Family::Ailurus)]);
    assert!(!wrong_one.is_good(), "an explanation is of one family");
    assert_eq!(wrong_one.stale.len(), 1);
}

#[test]
fn a_difference_in_what_no_document_says_counts() {
    let bad = verdict(&[&ONES, &ZEROS], "noted", &[]);
    assert!(!bad.is_good() && bad.failures.is_empty());
    assert_eq!(bad.differences[0].values, [Some("0xff".to_owned()), Some("0x0".to_owned())]);
    let good = verdict(&[&ONES, &ZEROS], "noted", &[allow("noted", "port 2", Family::Ailurus)]);
    assert!(good.is_good());
    assert!(verdict(&[&ONES, &ZEROS], "alike", &[]).is_good());
}

#[test]
fn a_case_that_looks_at_nothing_breaks_or_panics_is_a_failure() {
    for (part, what) in [("nothing", NOTHING), ("reset", BROKEN), ("ours", BROKEN)] {
        let verdict = verdict(&[&ZEROS], part, &[]);
        assert!(!verdict.is_good(), "{part}");
        assert_eq!(verdict.failures[0].what, what);
    }
}

#[test]
fn a_dead_machine_is_a_failure_and_has_no_say_in_differences() {
    let verdict = verdict(&[&ONES, &DEAD], "noted", &[]);
    assert!(!verdict.is_good());
    assert!(verdict.differences.is_empty());
    assert_eq!(verdict.failures[0].value, "dead: <no> life");
}

#[test]
fn an_explanation_that_nothing_needs_is_an_error_once_it_was_tried() {
    let entry = allow("alike", "7", Family::Qemu);
    assert!(!verdict(&[&ONES, &ZEROS], "alike", &[entry]).is_good());
    assert!(verdict(&[&ONES, &ZEROS], "noted", &[allow("noted", "*", Family::Qemu), entry]).is_good());
    assert!(verdict(&[&ZEROS], "alike", &[entry]).is_good(), "one family alone says nothing");
    assert!(!verdict(&[&ZEROS], "alike", &[allow("no such case", "7", Family::Qemu)]).is_good());
}

#[test]
fn text_and_page_say_it_all() {
    let verdict = verdict(&[&ONES, &DEAD], "", &[allow("zero", "port 1", Family::Qemu)]);
    let text = table::text(&verdict);
    for part in ["toy                   6", "2+1", "<no> life", "explained: because", "NOT everything"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let page = page::page(&verdict);
    for part in
        ["&lt;no&gt; life", "because &lt;it&gt; is", "clause 1", "Not explained", "width=device-width"]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("<no>") && !page.contains("http"));
}

/// Entries of the list are found by these names.
#[test]
fn names_are_unique() {
    for (index, group) in GROUPS.iter().enumerate() {
        assert!(GROUPS[..index].iter().all(|other| other.device != group.device), "{}", group.device);
        for (index, case) in group.cases.iter().enumerate() {
            assert!(group.cases[..index].iter().all(|other| other.name != case.name), "{}", case.name);
        }
    }
}
