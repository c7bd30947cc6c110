//! Two runs of a guest, side by side, and the first stop at which they differ.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use guest_tests::place;

use super::cases::Case;

/// From one look at what the runs said to the next.
const LOOK: Duration = Duration::from_millis(50);

/// Where both runs stop.
#[derive(Clone, Default)]
pub struct Stops {
    /// First instant of guest time.
    pub from: Option<u64>,
    /// From one to the next.
    pub every: u64,
    /// The last one.
    pub until: Option<u64>,
    /// From an instant on, blocks have at most so many instructions.
    pub cut: Option<(u64, u64)>,
    /// Where the second run goes wrong.
    pub plant: Option<u64>,
    /// Whether all that the guest is made of is told by itself.
    pub detail: bool,
}

impl Stops {
    /// As `--lockstep` wants it.
    fn asked(&self, file: &Path, second: bool) -> String {
        let mut text = format!("file={},every={}", file.display(), self.every);
        self.from.iter().for_each(|from| text += &format!(",from={from}"));
        self.until.iter().for_each(|until| text += &format!(",until={until}"));
        self.cut.iter().for_each(|(time, most)| text += &format!(",cut={time}:{most}"));
        if let Some(at) = self.plant.filter(|_| second) {
            // A bit of RSP, in which nothing is ever alike again.
            text += &format!(",flip={at}:4:4");
        }
        if self.detail {
            text += ",detail";
        }
        text
    }
}

/// What a run said at a stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which vCPU stopped.
    pub vcpu: u32,
    /// Its count of instructions.
    pub count: u64,
    /// Guest time.
    pub time: u64,
    /// Everything else.
    pub rest: String,
}

impl Line {
    fn parse(text: &str) -> Result<Line> {
        let mut words = text.splitn(4, ' ');
        let mut number = || words.next().and_then(|word| word.parse().ok()).context("a line that is none");
        let (vcpu, count, time) = (number()?, number()?, number()?);
        let rest = words.next().context("a line without hashes")?.to_owned();
        Ok(Line { vcpu: u32::try_from(vcpu)?, count, time, rest })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "instruction {} of vCPU {}, guest time {}", self.count, self.vcpu, self.time)
    }
}

/// The first stop that is not alike.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The vCPU's stop before, in both runs.
    pub before: Option<Line>,
    /// This one, interpreted and translated; None where that run had ended.
    pub behind: [Option<Line>; 2],
}

impl Difference {
    /// The stop in the interpreted run, or in that run that came so far.
    pub fn last(&self) -> &Line {
        self.behind.iter().flatten().next().expect("one of them came so far")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.before {
            Some(before) => write!(to, "behind {before} and")?,
            None => write!(to, "from the beginning")?,
        }
        write!(to, " up to {}", self.last())
    }
}

/// What two runs came to.
pub enum Verdict {
    /// All stops alike.
    Same { stops: usize, last: Line },
    /// Not so.
    Differ(Difference),
}

/// A guest's process and what it said.
struct Run {
    child: Child,
    path: PathBuf,
    file: Option<File>,
    /// What is not a whole line yet.
    part: String,
    lines: Vec<String>,
    ended: bool,
}

impl Run {
    fn begin(case: &Case, stops: &Stops, second: bool, folder: &Path) -> Result<Run> {
        let name = if second { "translated" } else { "interpreted" };
        let path = folder.join(name);
        let machine = (case.machine)()?.icount().cpu_tier(if second { "2" } else { "1" });
        let machine = machine.lockstep(stops.asked(&path, second));
        let mut command = machine.command(&folder.join(format!("{name}.monitor")))?;
        let errors = File::create(folder.join(format!("{name}.errors")))?;
        // What it says has nobody who could hold it up.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Run { child, path, file: None, part: String::new(), lines: Vec::new(), ended: false })
    }

    /// Takes what came since.
    fn look(&mut self) -> Result<()> {
        let status = self.child.try_wait()?;
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            file.read_to_string(&mut self.part)?;
        }
        while let Some((line, rest)) = self.part.split_once('\n') {
            if line == "end" {
                self.ended = true;
            } else if !self.ended {
                self.lines.push(line.to_owned());
            }
            self.part = rest.to_owned();
        }
        if let Some(status) = status {
            let errors = fs::read_to_string(self.path.with_extension("errors")).unwrap_or_default();
            ensure!(self.ended || status.success(), "a run ended with {status}:\n{errors}");
            self.ended = true;
        }
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the guest in both tiers, to their first difference or to the end.
pub fn run(case: &Case, stops: &Stops) -> Result<Verdict> {
    let folder = place::temporary()?;
    let mut one = Run::begin(case, stops, false, folder.path())?;
    let mut two = Run::begin(case, stops, true, folder.path())?;
    let mut alike = 0;
    loop {
        one.look()?;
        two.look()?;
        while alike < one.lines.len().min(two.lines.len()) {
            if one.lines[alike] != two.lines[alike] {
                return difference(&one.lines, &two.lines, alike).map(Verdict::Differ);
            }
            alike += 1;
        }
        if one.ended && two.ended {
            break;
        }
        std::thread::sleep(LOOK);
    }
    if one.lines.len() != two.lines.len() {
        return difference(&one.lines, &two.lines, alike).map(Verdict::Differ);
    }
    let Some(last) = one.lines.last() else { bail!("there was no stop before the end") };
    Ok(Verdict::Same { stops: alike, last: Line::parse(last)? })
}

fn difference(one: &[String], two: &[String], at: usize) -> Result<Difference> {
    let behind = [one, two].map(|lines| lines.get(at).map(|line| Line::parse(line)).transpose());
    let [interpreted, translated] = behind;
    let behind = [interpreted?, translated?];
    let vcpu = behind.iter().flatten().next().context("no difference")?.vcpu;
    let mut earlier = one[..at].iter().rev().map(|line| Line::parse(line));
    let before = earlier.find(|line| line.as_ref().map_or(true, |line| line.vcpu == vcpu)).transpose()?;
    Ok(Difference { before, behind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn the_stop_before_is_that_of_the_same_vcpu() {
        let one = lines(&["0 10 10 a", "1 5 12 b", "0 20 20 c"]);
        let two = lines(&["0 10 10 a", "1 5 12 b", "0 20 20 d"]);
        let found = difference(&one, &two, 2).unwrap();
        assert_eq!(found.before.as_ref().map(|line| (line.vcpu, line.count)), Some((0, 10)));
        assert_eq!(found.behind.map(|line| line.map(|line| line.rest)), [Some("c".into()), Some("d".into())]);
        let found = difference(&one, &two[..2], 2).unwrap();
        assert!(found.behind[1].is_none() && found.last().count == 20);
        assert!(difference(&lines(&["nonsense"]), &two, 0).is_err());
    }
}
