//! What the host's kernel says of a process: its memory, its time.

use std::fs;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Ticks a second of the times in /proc, the same on every x86 Linux.
const TICKS: u64 = 100;
/// KiB that may lie in one area with guest RAM: video memory and firmware, which the kernel merges with it.
const SLACK: u64 = 64 << 10;

/// CPU time that all threads of the process have used.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    parse_cpu_time(&stat).context("/proc/PID/stat is not as documented")
}

/// User and system time, fields 14 and 15; the name before them may contain blanks and brackets.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS))
}

/// The same with the time of every process that it has waited for: fields 14 to 17.
fn parse_cpu_time_of_all(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Option<Vec<u64>> =
        rest.split_whitespace().skip(11).take(4).map(|field| field.parse().ok()).collect();
    let fields = fields.filter(|fields| fields.len() == 4)?;
    Some(Duration::from_millis(fields.iter().sum::<u64>() * 1000 / TICKS))
}

/// Runs a command to its end; gives the CPU time that it and all that it waited for have used.
pub fn run_timed(command: &mut Command) -> std::io::Result<(ExitStatus, Duration)> {
    let mut child = command.spawn()?;
    let time = time_at_the_end(&child);
    // Whoever cannot be asked for the time has none: a figure in a table is not worth a failure.
    child.wait().map(|status| (status, time.unwrap_or_default()))
}

/// Waits until the process has ended, and asks for its time before anybody takes its exit status.
fn time_at_the_end(child: &Child) -> Option<Duration> {
    let pid = Pid::from_raw(child.id().try_into().ok()?)?;
    let ended = || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    while ended().is_err_and(|error| error == rustix::io::Errno::INTR) {}
    parse_cpu_time_of_all(&fs::read_to_string(format!("/proc/{pid}/stat", pid = child.id())).ok()?)
}

/// One or more mappings without a gap between them.
#[derive(Debug, PartialEq, Eq)]
struct Area {
    begin: u64,
    end: u64,
    name: String,
    resident: u64,
}

/// KiB that are resident outside the guest's RAM of `ram` KiB. RAM is the area of that size: adjoining mappings
/// count as one, because advice to the kernel splits them.
pub fn resident_beyond(pid: u32, ram: u64) -> Result<u64> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).context("the process is gone")?;
    beyond(&areas(&smaps), ram)
}

fn beyond(areas: &[Area], ram: u64) -> Result<u64> {
    let size = |area: &&Area| (area.end - area.begin) >> 10;
    let is_ram = |area: &&Area| (ram..=ram + SLACK).contains(&size(area));
    let guest = areas.iter().filter(is_ram).max_by_key(|area| area.resident);
    let guest = guest.with_context(|| {
        let sizes: Vec<String> =
            areas.iter().filter(|a| size(a) > 8 << 10).map(|a| size(&a).to_string()).collect();
        format!("no mapping of {ram} KiB; the large ones have {} KiB", sizes.join(", "))
    })?;
    Ok(areas.iter().map(|area| area.resident).sum::<u64>() - guest.resident.min(ram))
}

fn areas(smaps: &str) -> Vec<Area> {
    let mut areas: Vec<Area> = Vec::new();
    for line in smaps.lines() {
        if let Some(area) = header(line) {
            match areas.last_mut() {
                Some(last) if last.end == area.begin && last.name == area.name => last.end = area.end,
                _ => areas.push(area),
            }
        } else if let (Some(rest), Some(last)) = (line.strip_prefix("Rss:"), areas.last_mut()) {
            last.resident += rest.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        }
    }
    areas
}

/// `7f00-7f80 rw-p 00000000 00:00 0   [heap]`: where a mapping begins. Its access rights are part of its name, so
/// that a guard page ends an area.
fn header(line: &str) -> Option<Area> {
    let mut words = line.split_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let begin = u64::from_str_radix(begin, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let rights = words.next()?;
    let name = words.skip(3).collect::<Vec<_>>().join(" ");
    Some(Area { begin, end, name: format!("{rights} {name}"), resident: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_found_behind_any_name() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_cpu_time("nonsense"), None);
        let stat = "7 (a) Z 1 7 7 0 -1 4194304 1 0 0 0 150 50 100 25 20 0 1 0 100 1 1";
        assert_eq!(parse_cpu_time_of_all(stat), Some(Duration::from_millis(3250)));
        assert_eq!(parse_cpu_time_of_all("7 (a) Z 1"), None);
    }

    #[test]
    fn the_time_of_what_a_shell_waited_for_counts() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "(i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done); exit 3"]);
        let (status, time) = run_timed(&mut shell).unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(time > Duration::ZERO, "{time:?}");
    }

    #[test]
    fn ram_is_told_from_the_rest() {
        let smaps = "10000000-18000000 rw-s 00000000 00:01 9 /memfd:ram (deleted)\nSize: 131072 kB\nRss: 1000 kB\n\
                     18000000-20000000 rw-s 08000000 00:01 9 /memfd:ram (deleted)\nRss: 2000 kB\n\
                     20000000-21000000 rw-p 00000000 00:00 0 \nRss:   300 kB\nPss:   300 kB\n\
                     30000000-30001000 r-xp 00000000 00:01 4 /usr/bin/x\nRss: 4 kB\n";
        let areas = areas(smaps);
        assert_eq!(areas.len(), 3);
        assert_eq!(beyond(&areas, 256 << 10).unwrap(), 304);
        let error = beyond(&areas, 64 << 10).unwrap_err().to_string();
        assert!(error.contains("262144, 16384"), "{error}");
    }
}
