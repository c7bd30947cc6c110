//! What `cargo xtask lockstep` asks of a run: at chosen instants of guest time, a line with hashes of all that the guest
//! is made of. Two runs of one guest write the same lines, whoever runs its code.
//!
//! A line has the vCPU, its count of instructions, guest time, and hashes of the vCPU, RAM and devices; with `detail`
//! also every register, device and page by itself, and the bytes at RIP.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use devices_core::bus::Bus;
use hypervisor::memory::PAGE;
use hypervisor::{Error, GuestRam};
use hypervisor_soft::Soft;
use hypervisor_soft::observe::{Observer, Stop};
use serde_json::Value;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

/// RAM that is looked at in one piece.
const PIECE: u64 = 1 << 20;

/// What is asked: `file=PATH,every=N`, and what else there is of the fields below, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lockstep {
    /// Gets the lines.
    pub file: PathBuf,
    /// First instant; `every` if not given.
    pub from: Option<u64>,
    /// From one stop to the next.
    pub every: u64,
    /// The last instant.
    pub until: Option<u64>,
    /// `cut=TIME:COUNT`: blocks have at most so many instructions from there on.
    pub cut: Option<(u64, usize)>,
    /// `flip=TIME:REGISTER:BIT`: a planted fault.
    pub flip: Option<(u64, usize, u8)>,
    /// Whether each line has everything.
    pub detail: bool,
}

impl FromStr for Lockstep {
    type Err = String;

    fn from_str(text: &str) -> Result<Lockstep, String> {
        let mut asked = Lockstep { every: 10_000_000, ..Lockstep::default() };
        for field in text.split(',') {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let numbers: Vec<u64> = value.split(':').map_while(|number| number.parse().ok()).collect();
            match (name, numbers.as_slice()) {
                ("file", _) if !value.is_empty() => asked.file = value.into(),
                ("detail", []) => asked.detail = true,
                ("from", [from]) => asked.from = Some(*from),
                ("every", [every]) if *every > 0 => asked.every = *every,
                ("until", [until]) => asked.until = Some(*until),
                ("cut", [time, most]) if (1..=48).contains(most) => asked.cut = Some((*time, *most as usize)),
                ("flip", [time, register, bit]) if *register < 16 && *bit < 64 => {
                    asked.flip = Some((*time, *register as usize, *bit as u8));
                }
                _ => return Err(format!("'{field}' is no field of file=PATH,every=N,...")),
            }
        }
        if asked.file.as_os_str().is_empty() {
            return Err("there is no file=PATH".into());
        }
        Ok(asked)
    }
}

impl Lockstep {
    /// Begins: the machine has been built and does not run yet.
    pub(crate) fn begin(&self, soft: &Soft, ram: GuestRam, bus: Bus) -> std::io::Result<()> {
        let asked = self.clone();
        let file = File::create(&self.file)?;
        let next = asked.from.unwrap_or(asked.every);
        soft.observe(Box::new(Hashes { asked, file, ram, bus, next, page: vec![0; PIECE as usize] }));
        Ok(())
    }
}

/// The line at each stop.
struct Hashes {
    asked: Lockstep,
    file: File,
    ram: GuestRam,
    bus: Bus,
    /// The next instant that gets a line.
    next: u64,
    /// Room for RAM that is looked at.
    page: Vec<u8>,
}

impl Observer for Hashes {
    fn first(&self) -> u64 {
        self.upcoming()
    }

    fn stopped(&mut self, stop: &mut Stop<'_>) -> u64 {
        let now = stop.time();
        if let Some((_, register, bit)) = self.asked.flip.take_if(|(at, ..)| *at <= now) {
            stop.flip(register, bit);
        }
        if now >= self.next {
            // A disk without room ends the comparison, which finds that there is no last line.
            let _ = self.line(stop).and_then(|line| {
                self.file
                    .write_all(line.as_bytes())
                    .map_err(|source| Error::Host { what: "lockstep", source })
            });
            self.next = match self.asked.until {
                Some(until) if now >= until => u64::MAX,
                _ => (now / self.asked.every + 1) * self.asked.every,
            };
            if self.next == u64::MAX {
                let _ = self.file.write_all(b"end\n");
            }
        }
        if let Some((_, most)) = self.asked.cut.take_if(|(at, _)| *at <= now) {
            stop.cut_blocks(most);
        }
        self.upcoming()
    }
}

impl Hashes {
    fn upcoming(&self) -> u64 {
        let flip = self.asked.flip.map_or(u64::MAX, |(at, ..)| at);
        let cut = self.asked.cut.map_or(u64::MAX, |(at, _)| at);
        self.next.min(flip).min(cut)
    }

    fn line(&mut self, stop: &Stop<'_>) -> Result<String, Error> {
        let mut detail = String::new();
        let state = stop.state()?;
        let (devices, ram) = (self.devices(&mut detail), self.ram(&mut detail));
        let cpu = crc32fast::hash(&state);
        let (vcpu, count, time) = (stop.vcpu(), stop.instructions(), stop.time());
        let mut line = format!("{vcpu} {count} {time} {cpu:08x} {ram:08x} {devices:08x}");
        if self.asked.detail {
            let _ = write!(line, " bits={} code=", stop.registers().code);
            stop.code().iter().for_each(|byte| _ = write!(line, "{byte:02x}"));
            let saved: Value = rmp_serde::from_slice(&state).map_err(|e| Error::State(e.to_string()))?;
            flatten("", &saved, &mut line);
            line += &detail;
        }
        line.push('\n');
        Ok(line)
    }

    /// The devices, each as it is saved.
    fn devices(&self, detail: &mut String) -> u32 {
        let mut all = crc32fast::Hasher::new();
        for (name, slot) in self.bus.slots() {
            // One that cannot be saved now cannot be in either run.
            let one = slot.lock().save().map_or(0, |saved| crc32fast::hash(&saved.body));
            all.update(&one.to_le_bytes());
            if self.asked.detail {
                let _ = write!(detail, " device:{}={one:08x}", name.replace(' ', "-"));
            }
        }
        all.finalize()
    }

    /// RAM; pages of zeros are as good as untouched ones.
    fn ram(&mut self, detail: &mut String) -> u32 {
        let mut all = crc32fast::Hasher::new();
        for region in self.ram.iter() {
            for offset in (0..region.len()).step_by(PIECE as usize) {
                let len = PIECE.min(region.len() - offset);
                let at = region.start_addr().0 + offset;
                let piece = &mut self.page[..len as usize];
                if region.is_untouched(offset, len) || self.ram.read_slice(piece, GuestAddress(at)).is_err() {
                    continue;
                }
                for (page, bytes) in (0..).zip(piece.chunks(PAGE as usize)) {
                    if bytes.as_chunks::<16>().0.iter().all(|word| u128::from_le_bytes(*word) == 0) {
                        continue;
                    }
                    let one = crc32fast::hash(bytes);
                    let at = at + page * PAGE;
                    all.update(&at.to_le_bytes());
                    all.update(&one.to_le_bytes());
                    if self.asked.detail {
                        let _ = write!(detail, " page:{at:#x}={one:08x}");
                    }
                }
            }
        }
        all.finalize()
    }
}

/// Every number of a saved state by its path.
fn flatten(path: &str, value: &Value, to: &mut String) {
    let below = |name: String| if path.is_empty() { name } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| flatten(&below(name.clone()), value, to))
        }
        Value::Array(items) => {
            (0..).zip(items).for_each(|(at, value): (usize, _)| flatten(&below(at.to_string()), value, to));
        }
        Value::Number(number) => {
            let _ = match number.as_u64() {
                Some(number) => write!(to, " {path}={number:#x}"),
                None => write!(to, " {path}={number}"),
            };
        }
        other => _ = write!(to, " {path}={other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read() {
        let asked: Lockstep = "file=/t/x,every=5,from=3,until=9,cut=7:2,flip=4:3:63,detail".parse().unwrap();
        let all = Lockstep {
            file: "/t/x".into(),
            from: Some(3),
            every: 5,
            until: Some(9),
            cut: Some((7, 2)),
            flip: Some((4, 3, 63)),
            detail: true,
        };
        assert_eq!(asked, all);
        for bad in
            ["every=5", "file=x,every=0", "file=x,cut=1:0", "file=x,flip=1:16:0", "file=x,flip=1", "file=x,y"]
        {
            assert!(bad.parse::<Lockstep>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_number_of_a_state_has_a_path() {
        let mut text = String::new();
        flatten("", &serde_json::json!({ "gpr": [1, 255], "x87": { "tag": 3 }, "halted": false }), &mut text);
        assert_eq!(text, " gpr.0=0x1 gpr.1=0xff x87.tag=0x3 halted=false");
    }
}
