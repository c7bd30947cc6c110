//! Runs cases on machines, some at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::bench::{Bench, Seen};
use crate::case::{Case, Group};
use crate::models::{Family, Model};

/// What became of a case on a machine.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it looked at, or why the machine could not be driven to the end.
    pub seen: Result<Vec<Seen>, String>,
    /// How long it took, with switching the machine on.
    pub took: Duration,
}

/// A case that was run, on every model.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its group.
    pub group: &'static Group,
    /// The case.
    pub case: &'static Case,
    /// One for each model, in their order.
    pub outcomes: Vec<Outcome>,
}

/// Runs all cases of `groups` on every one of `models`, `jobs` at a time, each on a machine of its own.
/// `wanted` chooses cases; `begun` hears of each.
pub fn run(
    groups: &[&'static Group],
    models: &[&Model],
    jobs: usize,
    wanted: impl Fn(&Case) -> bool,
    begun: impl Fn(&Group, &Case, &Model) + Sync,
) -> Vec<Run> {
    let cases = groups.iter().flat_map(|group| group.cases.iter().map(move |case| (*group, case)));
    let cases: Vec<_> = cases.filter(|(_, case)| wanted(case)).collect();
    let all: Vec<_> =
        cases.iter().flat_map(|(group, case)| models.iter().map(|m| (*group, *case, *m))).collect();
    let queue = Mutex::new(all.iter().enumerate());
    let results = Mutex::new(vec![None; all.len()]);
    let place = OneCpu::of_the_caller();
    let work = || {
        loop {
            // Not in the loop's head: there the queue would stay locked while the case runs.
            let next = queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
            let Some((index, (group, case, model))) = next else { break };
            begun(group, case, model);
            place.take();
            let outcome = judge(group, case, model);
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner())[index] = Some(outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    let results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut results = results.into_iter().flatten();
    let run = |(group, case)| Run { group, case, outcomes: results.by_ref().take(models.len()).collect() };
    cases.into_iter().map(run).collect()
}

/// A machine and who asks it speak in turns: two CPUs would spend more on waking each other than on either.
struct OneCpu(Option<CpuSet>);

impl OneCpu {
    /// Of the CPUs that this thread may run on.
    fn of_the_caller() -> OneCpu {
        OneCpu(sched_getaffinity(None).ok())
    }

    /// This thread, and what it starts, stay where it is, until it looks around the next time.
    fn take(&self) {
        let Some(all) = &self.0 else { return };
        // What cannot be is slower, and no more.
        let _ = sched_setaffinity(None, all);
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        let _ = sched_setaffinity(None, &here);
    }
}

/// Runs those of `runs` that `odd` names (device and case) once more on QEMU, one after another, and keeps what is
/// seen now. QEMU's time is the host's: on a busy machine a character may take longer than a case gave it. Ailurus's
/// stands still meanwhile, and what it shows once it shows always. Names of what was run.
pub fn again(runs: &mut [Run], models: &[&Model], odd: &[(&str, &str)]) -> Vec<String> {
    let mut names = Vec::new();
    for run in runs.iter_mut().filter(|run| odd.contains(&(run.group.device, run.case.name))) {
        for (outcome, model) in run.outcomes.iter_mut().zip(models) {
            if model.family == Family::Qemu {
                *outcome = judge(run.group, run.case, model);
                names.push(format!("{} / {}", run.group.device, run.case.name));
            }
        }
    }
    names
}

fn judge(group: &Group, case: &Case, model: &Model) -> Outcome {
    let begun = Instant::now();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut machine = (model.switch_on)(&group.setup)?;
        Bench::run(machine.as_mut(), case.run)
    }));
    let seen = match ran {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(broken)) => Err(broken.to_string()),
        Err(cause) => {
            let text = cause.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("");
            Err(format!("the case itself fails: {text}"))
        }
    };
    Outcome { seen, took: begun.elapsed() }
}
