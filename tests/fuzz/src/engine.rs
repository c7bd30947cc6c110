//! Gives a target mutated inputs, keeps those that led to something new, and stops at the first that fails.

use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use devices_core::rig::Random;

use crate::Target;

/// Longest input.
const LONGEST: usize = 64 << 10;
/// Most inputs kept for mutation.
const KEPT: usize = 4096;
/// Most outcomes that are told apart: what remembers them must not look like a leak of what is tested.
const OUTCOMES: usize = 4 << 20;
/// An input that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Growth of resident memory in KiB that is a leak.
const GROWTH: u64 = 512 << 10;

/// How a fuzzing went that found nothing.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Inputs run.
    pub runs: u64,
    /// Outcomes seen; some 4 million are told apart.
    pub outcomes: usize,
}

/// Inputs that were mended once: the files in `tests/fuzz/corpus/TARGET`.
pub fn corpus(target: &Target) -> Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    entries.map(|entry| Ok(fs::read(entry?.path())?)).collect()
}

/// Runs one input; the words of the panic if it fails.
pub fn run(target: &Target, input: &[u8]) -> Result<u64, String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// Fuzzes for `time`. The input that fails is kept in `folder`, which also has the one that is running, should the
/// process die of it.
pub fn fuzz(target: &Target, time: Duration, seed: u64, folder: &Path) -> Result<Report> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let watch = Watch::begin(folder)?;
    let mut random = Random::new(seed);
    let mut kept: Vec<Vec<u8>> = (target.seeds)();
    kept.extend(corpus(target)?);
    let first = kept.len();
    let mut seen = HashSet::new();
    let mut report = Report { runs: 0, outcomes: 0 };
    let (begun, mut settled) = (Instant::now(), None);
    for index in 0.. {
        // Those that are there from the start, as they are.
        let input = if index < first { kept[index].clone() } else { mutate(&kept, &mut random) };
        watch.input(&input)?;
        let outcome = run(target, &input).map_err(|why| {
            let file = keep(folder, &input);
            anyhow::anyhow!("{}: {why}\ninput: {}", target.name, file.display())
        })?;
        report.runs += 1;
        if seen.len() < OUTCOMES && seen.insert(outcome) && kept.len() < KEPT {
            kept.push(input);
        }
        if report.runs.is_multiple_of(1024) {
            let now = resident();
            let before = *settled.get_or_insert(now);
            if now > before + GROWTH {
                bail!(
                    "{}: {} MiB grew in {} runs (seed {seed})",
                    target.name,
                    (now - before) >> 10,
                    report.runs
                );
            }
        }
        if begun.elapsed() >= time && index >= first {
            break;
        }
    }
    report.outcomes = seen.len();
    Ok(report)
}

/// Writes a failing input under the name of its contents.
fn keep(folder: &Path, input: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let file = folder.join(format!("failed-{:016x}", hasher.finish()));
    if let Err(error) = fs::write(&file, input) {
        eprintln!("{}: {error}", file.display());
    }
    file
}

/// Ends the process when an input takes too long, and leaves every input in a file while it runs.
struct Watch {
    since: Arc<Mutex<Option<Instant>>>,
    file: File,
}

impl Watch {
    fn begin(folder: &Path) -> Result<Watch> {
        let since: Arc<Mutex<Option<Instant>>> = Arc::default();
        let name = folder.join("running");
        let file = File::create(&name).with_context(|| format!("cannot make {}", name.display()))?;
        let ours = Arc::downgrade(&since);
        std::thread::spawn(move || {
            while let Some(since) = ours.upgrade() {
                let since = *since.lock().unwrap_or_else(PoisonError::into_inner);
                if since.is_some_and(|since| since.elapsed() > PATIENCE) {
                    eprintln!("it hangs: {}", name.display());
                    std::process::exit(1);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Ok(Watch { since, file })
    }

    fn input(&self, input: &[u8]) -> Result<()> {
        self.file.write_all_at(input, 0)?;
        self.file.set_len(input.len() as u64)?;
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Numbers at the edges of things.
const EDGES: [u64; 10] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff];

/// One of the kept inputs, changed in a few places.
pub fn mutate(kept: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let pick = |random: &mut Random| match kept.len() {
        0 => Vec::new(),
        len => kept[random.below(len as u64) as usize].clone(),
    };
    let mut input = pick(random);
    for _ in 0..=random.below(5) {
        let at = random.below(input.len() as u64 + 1) as usize;
        let room = input.len() - at;
        match random.below(8) {
            0 if room > 0 => input[at] ^= 1 << random.below(8),
            1 if room > 0 => input[at] = random.draw() as u8,
            2 => {
                let number = EDGES[random.below(EDGES.len() as u64) as usize].wrapping_add(random.below(2));
                let bytes = if random.below(2) == 0 { number.to_le_bytes() } else { number.to_be_bytes() };
                let len = [1, 2, 4, 8][random.below(4) as usize].min(room);
                let from = if bytes[0] == 0 { 8 - len } else { 0 };
                input[at..at + len].copy_from_slice(&bytes[from..from + len]);
            }
            3 => {
                let len = random.below(room as u64 + 1).min(64) as usize;
                input.drain(at..at + len);
            }
            4 => {
                let new: Vec<u8> = (0..=random.below(16)).map(|_| random.draw() as u8).collect();
                input.splice(at..at, new);
            }
            5 => {
                let len = random.below(room as u64 + 1).min(256) as usize;
                let again = input[at..at + len].to_vec();
                input.splice(at..at, again);
            }
            6 => {
                let other = pick(random);
                let from = random.below(other.len() as u64 + 1) as usize;
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.truncate(at.max(input.len() / 2)),
        }
        input.truncate(LONGEST);
    }
    input
}
