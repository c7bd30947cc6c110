#![forbid(unsafe_code)]
//! `conformance`: runs the device cases and says where machines are wrong or differ.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use conformance::allowed;
use conformance::case::Group;
use conformance::cases::GROUPS;
use conformance::models::{self, MODELS, Model};
use conformance::run::{Run, again, run};
use conformance::verdict::Verdict;
use conformance::{page, table};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a case that ends unexpectedly is run again on QEMU, whose time is the host's: beside other work a case that
/// measures time is right every third time or so, and takes half a second.
const AGAIN: usize = 10;

/// What the command line asks for.
struct Options {
    models: Vec<&'static Model>,
    groups: Vec<&'static Group>,
    case: Option<String>,
    jobs: usize,
    page: Option<PathBuf>,
    values: bool,
}

fn main() -> ExitCode {
    match options() {
        Ok(Some(options)) => work(&options),
        Ok(None) => {
            help();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn help() {
    println!(
        "conformance [--against MODEL,...] [--case PART] [--jobs N] [--page FILE] [--values] [DEVICE...]\n\n\
         Runs the cases of the devices (all if none is named) on the models (qemu,ailurus if none is named).\n\
         --case PART    only cases whose name contains this\n\
         --jobs N       machines at a time (2)\n\
         --page FILE    writes an HTML page, too\n\
         --values       prints everything that was looked at\n\n\
         Exit status 1: something is wrong and not explained.\n\nModels:"
    );
    for model in MODELS {
        println!("  {:<10} {}", model.name, model.about);
    }
    println!("\nDevices:");
    for group in GROUPS {
        println!("  {:<10} {} ({} cases)", group.device, group.about, group.cases.len());
    }
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options =
        Options { models: Vec::new(), groups: Vec::new(), case: None, jobs: 2, page: None, values: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("against") => {
                for name in parser.value()?.string()?.split(',') {
                    let model = models::find(name).ok_or_else(|| format!("there is no model '{name}'"))?;
                    options.models.push(model);
                }
            }
            Long("case") => options.case = Some(parser.value()?.string()?),
            Long("jobs") => options.jobs = parser.value()?.parse()?,
            Long("page") => options.page = Some(parser.value()?.into()),
            Long("values") => options.values = true,
            Short('h') | Long("help") => return Ok(None),
            Value(name) => {
                let name = name.string()?;
                let group = GROUPS.iter().find(|group| group.device == name);
                options.groups.push(group.ok_or_else(|| format!("there is no device '{name}'"))?);
            }
            other => return Err(other.unexpected()),
        }
    }
    if options.models.is_empty() {
        options.models = models::DEFAULT.iter().filter_map(|name| models::find(name)).collect();
    }
    if options.groups.is_empty() {
        options.groups = GROUPS.iter().collect();
    }
    Ok(Some(options))
}

fn work(options: &Options) -> ExitCode {
    let wanted = |name: &str| options.case.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let cases = options.groups.iter().flat_map(|group| group.cases).filter(|case| wanted(case.name)).count();
    let bar = ProgressBar::new((cases * options.models.len()) as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut runs = run(
        &options.groups,
        &options.models,
        options.jobs,
        |case| wanted(case.name),
        |group, case, model| {
            bar.set_message(format!("{} on {}: {}", group.device, model.name, case.name));
            bar.inc(1);
        },
    );
    bar.finish_and_clear();
    let judged = |runs: &[Run]| Verdict::new(runs, &options.models, GROUPS, &allowed::all());
    let mut verdict = judged(&runs);
    for _ in 0..AGAIN {
        let names = again(&mut runs, &options.models, &verdict.odd());
        if names.is_empty() {
            break;
        }
        println!("run again on QEMU, by itself: {}", names.join(", "));
        verdict = judged(&runs);
    }
    if options.values {
        values(&runs, &options.models);
    }
    print!("{}", table::text(&verdict));
    if let Some(file) = &options.page {
        if let Err(error) = std::fs::write(file, page::page(&verdict)) {
            eprintln!("error: {}: {error}", file.display());
            return ExitCode::from(2);
        }
        println!("page: {}", file.display());
    }
    if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Everything that was looked at, with times.
fn values(runs: &[Run], models: &[&Model]) {
    for run in runs {
        for (model, outcome) in models.iter().zip(&run.outcomes) {
            println!("{} / {} on {} ({:.0?})", run.group.device, run.case.name, model.name, outcome.took);
            match &outcome.seen {
                Ok(seen) => seen.iter().for_each(|seen| println!("  {}: {}", seen.what, seen.value)),
                Err(why) => println!("  {why}"),
            }
        }
    }
}
