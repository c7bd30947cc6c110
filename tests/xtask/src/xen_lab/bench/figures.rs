//! The rows of the table, and how each figure is found in what a round left.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// What is wanted of our figure divided by the stock device model's.
pub enum Aim {
    /// Under 1.
    Less,
    /// At most a quarter.
    Quarter,
    /// Over 1.
    More,
    /// Nothing: the device model has no part in it.
    None,
}

impl Aim {
    /// As the table says it.
    pub fn words(&self) -> &'static str {
        match self {
            Aim::Less => "less: ",
            Aim::Quarter => "at most 0.25: ",
            Aim::More => "more: ",
            Aim::None => "",
        }
    }

    /// Whether a ratio is as wanted.
    pub fn met(&self, ratio: f64) -> &'static str {
        let met = match self {
            Aim::Less => ratio < 1.0,
            Aim::Quarter => ratio <= 0.25,
            Aim::More => ratio > 1.0,
            Aim::None => return "",
        };
        if met { "yes" } else { "NO" }
    }
}

/// A row of the table.
pub struct Row {
    /// The figure's name in scripts and boot sectors.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What is wanted.
    pub aim: Aim,
}

const fn row(name: &'static str, what: &'static str, unit: &'static str, aim: Aim) -> Row {
    Row { name, what, unit, aim }
}

/// All rows.
pub const ROWS: &[Row] = &[
    row("xen", "port read that Xen answers itself", "µs", Aim::None),
    row("port", "port read (IDE status)", "µs", Aim::Less),
    row("mmio", "MMIO read (VGA's DISPI window)", "µs", Aim::Less),
    row("both", "port read, two vCPUs on two devices", "µs", Aim::Less),
    row("insw", "`rep insw` of a sector", "µs", Aim::Less),
    row("dma", "IDE bus-master read of 128 KiB", "µs", Aim::Less),
    row("qdisk-write", "qdisk sequential write", "MiB/s", Aim::More),
    row("qdisk-read", "qdisk sequential read", "MiB/s", Aim::More),
    row("qdisk-one", "qdisk reads of 4 KiB, one at a time", "1/s", Aim::More),
    row("qdisk-random", "qdisk reads of 4 KiB, in eight places at once", "1/s", Aim::More),
    row("ide-write", "IDE sequential write", "MiB/s", Aim::More),
    row("ide-read", "IDE sequential read", "MiB/s", Aim::More),
    row("ide-one", "IDE reads of 4 KiB, one at a time", "1/s", Aim::More),
    row("ide-random", "IDE reads of 4 KiB, in eight places at once", "1/s", Aim::More),
    row("e1000-down", "e1000: TCP to the guest", "MiB/s", Aim::More),
    row("e1000-up", "e1000: TCP from the guest", "MiB/s", Aim::More),
    row("e1000-packets", "e1000: packets of 64 bytes from the guest", "1/s", Aim::More),
    row("e1000-ping", "e1000: a ping's way there and back", "µs", Aim::Less),
    row("e1000-down-cpu", "e1000: device model's processor time, to the guest", "s/GB", Aim::Less),
    row("e1000-up-cpu", "e1000: device model's processor time, from the guest", "s/GB", Aim::Less),
    row("rtl8139-down", "rtl8139: TCP to the guest", "MiB/s", Aim::More),
    row("rtl8139-up", "rtl8139: TCP from the guest", "MiB/s", Aim::More),
    row("rtl8139-packets", "rtl8139: packets of 64 bytes from the guest", "1/s", Aim::More),
    row("rtl8139-ping", "rtl8139: a ping's way there and back", "µs", Aim::Less),
    row("rtl8139-down-cpu", "rtl8139: device model's processor time, to the guest", "s/GB", Aim::Less),
    row("rtl8139-up-cpu", "rtl8139: device model's processor time, from the guest", "s/GB", Aim::Less),
    row("start", "exec to `running` in xenstore", "ms", Aim::Less),
    row("create", "`xl create`", "ms", Aim::Less),
    row("pss", "PSS of an idle guest", "KiB", Aim::Quarter),
    row("rss", "RSS of an idle guest", "KiB", Aim::Less),
    row("threads", "threads", "", Aim::Less),
    row("wakeups", "wakeups of an idle guest", "1/s", Aim::Less),
    row("state", "device state", "bytes", Aim::Less),
    row("save", "xen-save-devices-state", "ms", Aim::Less),
];

/// Figures by name.
pub type Figures = BTreeMap<String, Vec<f64>>;

/// Seconds in nine ticks of the BIOS's clock.
const CLOCK: f64 = 9.0 * 65536.0 / 1_193_182.0;
/// The type of a record with the device model's state in libxl's part of a saved domain, and its header: the number of
/// an emulator, and an index.
const EMULATOR_CONTEXT: u32 = 3;
const EMULATOR_HEADER: usize = 8;

/// The figures in what a script said (`figure NAME NUMBER`), what the boot sector said, and the end of a saved domain.
pub fn figures(output: &str, serial: &str, saved: &[u8]) -> Result<Vec<(String, f64)>> {
    let mut figures = Vec::new();
    for line in output.lines().filter_map(|line| line.strip_prefix("figure ")) {
        let (name, number) = line.split_once(' ').with_context(|| format!("no figure: {line}"))?;
        let number = number.trim().parse().with_context(|| format!("no number: {line}"))?;
        figures.push((name.to_owned(), number));
    }
    if !serial.is_empty() {
        figures.extend(ticks(serial).context("the boot sector's figures are incomplete")?);
    }
    if !saved.is_empty() {
        let state = state(saved).context("no device state at the end of the saved domain")?;
        figures.push(("state".to_owned(), state as f64));
    }
    Ok(figures)
}

/// Microseconds for each thing in lines `NAME COUNT TICKS`, the first of which tells how fast the counter is.
fn ticks(serial: &str) -> Option<Vec<(String, f64)>> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let mut number = || u64::from_str_radix(words.next()?, 16).ok();
        let (count, ticks) = (number()?, number()?);
        (count > 0).then_some((name, count as f64, ticks as f64))
    };
    let mut lines = serial.lines().filter_map(line);
    let (_, _, clock) = lines.find(|(name, ..)| name == "clock")?;
    let microsecond = clock / CLOCK / 1e6;
    Some(lines.map(|(name, count, ticks)| (name, ticks / count / microsecond)).collect())
}

/// How long the device model's state is in a saved domain of which this is the end: the record before the last one,
/// which is empty (docs/specs/libxl-migration-stream).
fn state(saved: &[u8]) -> Option<usize> {
    let end = saved.len().checked_sub(8)?;
    let word = |at: usize| Some(u32::from_le_bytes(saved.get(at..at + 4)?.try_into().ok()?));
    (0..end).rev().find_map(|at| {
        let length = word(at + 4)? as usize;
        let whole = word(at)? == EMULATOR_CONTEXT && at + 8 + length.next_multiple_of(8) == end;
        whole.then(|| length.checked_sub(EMULATOR_HEADER)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_sectors_and_saved_domains_give_figures() {
        let serial = "clock 00000009 000000001D778500\nport 00000002 0000000000000400\ndone\n";
        let mut saved = vec![0xaa; 24];
        for word in [EMULATOR_CONTEXT, 13, 2, 0, 1, 2, 0, 0] {
            saved.extend_from_slice(&u32::to_le_bytes(word));
        }
        let figures = figures("note\nfigure pss 512\n", serial, &saved).unwrap();
        assert_eq!(figures[0], ("pss".to_owned(), 512.0));
        assert_eq!(figures[1].0, "port");
        assert!((figures[1].1 - 0.5122).abs() < 0.001, "{figures:?}");
        assert_eq!(figures[2], ("state".to_owned(), 5.0));
    }

    #[test]
    fn what_is_no_figure_is_told() {
        assert!(figures("figure pss none\n", "", &[]).is_err());
        assert!(figures("", "port 1 2\n", &[]).is_err());
        assert!(figures("", "", &[0; 64]).is_err());
    }
}
