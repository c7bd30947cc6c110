//! Real deaths: a process that works on an image is killed at any moment, many times on the same file.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use super::promise::Promise;
use super::recorder::Event;
use super::work::{Kind, Plan, look, work};
use super::*;
use crate::image::host::DiskFile;

/// Tells the process that it is the one that is to be killed: which disk, in which folder, which life.
const VICTIM: &str = "AILURUS_TEST_VICTIM";

/// A disk that is worked on.
struct Disk {
    plan: Plan,
    folder: PathBuf,
    /// Past the page cache.
    direct: bool,
}

impl Disk {
    fn path(&self) -> PathBuf {
        self.folder.join("disk")
    }

    fn file(&self, path: &Path, writable: bool) -> io::Result<Box<DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(writable);
        if self.direct {
            options.custom_flags(libc::O_DIRECT);
        }
        Ok(Box::new(DiskFile::new(options.open(path)?, self.direct, true)?))
    }

    fn open(&self) -> Result<Layer, Refusal> {
        let file = self.file(&self.path(), true)?;
        let base = || self.file(&self.folder.join("base"), false);
        let base = match &self.plan.kind {
            Kind::Raw => return Ok(Layer::Raw(file)),
            Kind::Alone => None,
            Kind::AboveRaw(_) => Some(Layer::Raw(base()?)),
            Kind::AboveQcow2(_) => Some(Layer::Qcow2(Box::new(Qcow2::open(base()?, false)?))),
        };
        let header = header::read(&*file, true)?;
        let image = Qcow2::with(file, header, self.plan.limits, true, base.map(Box::new))?;
        Ok(Layer::Qcow2(Box::new(image)))
    }

    /// Makes the files; what the sectors hold.
    fn make(&self) -> Vec<u64> {
        let (file, tags) = self.plan.make();
        std::fs::write(self.path(), file.bytes()).unwrap();
        if let Kind::AboveRaw(base) | Kind::AboveQcow2(base) = &self.plan.kind {
            std::fs::write(self.folder.join("base"), base.bytes()).unwrap();
        }
        tags
    }

    /// Looks at what a death left; what the sectors hold.
    fn judge(&self, promise: &Promise, what: &str) -> Vec<u64> {
        let bytes = std::fs::read(self.path()).unwrap();
        if !matches!(self.plan.kind, Kind::Raw) {
            if let Some(Err(said)) = qemu_objects(&bytes) {
                panic!("{what}: qemu-img check: {said}");
            }
            let found = verdict(&Recorder::of(bytes)).unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
            assert!(whole(&found), "{what}: {found:?}");
        }
        if let Kind::AboveRaw(base) | Kind::AboveQcow2(base) = &self.plan.kind {
            assert!(
                std::fs::read(self.folder.join("base")).unwrap() == base.bytes(),
                "{what}: the base changed"
            );
        }
        let image = self.open().unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
        promise.check(&look(&image, &self.plan, 0, self.plan.sectors), self.plan.wild, what)
    }
}

/// All disks, with how often each one's writer is killed.
fn disks(folder: &Path) -> Vec<(Disk, u64)> {
    let base = Plan {
        kind: Kind::Alone,
        layout: Layout::default(),
        sectors: 16_384,
        operations: usize::MAX,
        workers: 4,
        limits: Limits { l2: 16, refcounts: 4, ..TINY },
        grain: 0,
        wild: 1024,
        room: None,
        spread: 0,
        uncounted: false,
        seed: 0,
    };
    let small = Plan { layout: layout(9, 6), sectors: 6000, wild: 64, ..base.clone() };
    let plans = [
        (base.clone(), false, 40),
        (small.clone(), false, 40),
        (Plan { kind: Kind::Raw, ..base.clone() }, false, 30),
        (Plan { layout: layout(12, 4), ..small.clone() }.above_raw(), false, 30),
        (small.above_qcow2(), false, 20),
        (base.clone(), true, 20),
        (Plan { kind: Kind::Raw, ..base }, true, 20),
    ];
    let disk = |(number, (plan, direct, deaths)): (usize, (Plan, bool, u64))| {
        (Disk { plan, folder: folder.join(number.to_string()), direct }, deaths)
    };
    plans.into_iter().enumerate().map(disk).collect()
}

/// An event as a line, and back.
fn line(event: &Event) -> String {
    match event {
        Event::Begin { first, count, tag } => format!("@B {first} {count} {tag}\n"),
        Event::End { first, count, tag } => format!("@E {first} {count} {tag}\n"),
        Event::Flush(who) => format!("@F {who} 0 0\n"),
        Event::Flushed(who) => format!("@D {who} 0 0\n"),
        Event::Write(..) | Event::Punch(..) | Event::Sync => String::new(),
    }
}

fn event(line: &str) -> Option<Event> {
    let mut words = line.split(' ');
    let kind = words.next()?;
    let (first, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let tag = words.next()?.parse().ok()?;
    match kind {
        "@B" => Some(Event::Begin { first, count, tag }),
        "@E" => Some(Event::End { first, count, tag }),
        "@F" => Some(Event::Flush(first)),
        "@D" => Some(Event::Flushed(first)),
        _ => None,
    }
}

/// Works until it is killed, and says on its output what it does.
fn be_killed(victim: &str) {
    let mut words = victim.splitn(3, ' ');
    let mut number = || words.next().unwrap().parse::<u64>().unwrap();
    let (disk, life) = (number(), number());
    let (disk, _) = disks(Path::new(words.next().unwrap())).swap_remove(disk as usize);
    let image = disk.open().unwrap();
    let say = |event: Event| {
        // One write, so that a line is there whole or not at all.
        if std::io::stdout().lock().write_all(line(&event).as_bytes()).is_err() {
            std::process::exit(1);
        }
    };
    let all = Barrier::new(disk.plan.workers);
    println!();
    std::thread::scope(|scope| {
        for who in 0..disk.plan.workers {
            let (image, plan, all) = (&image, &disk.plan, &all);
            scope.spawn(move || work(image, &say, plan, who, life, all));
        }
    });
}

/// The one that works. It does not outlive us.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Victim {
    fn start(test: &str, victim: &str) -> Victim {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture"]).env(VICTIM, victim);
        Victim(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// What it did until it was killed, so long after it began.
    fn killed_after(mut self, time: Duration, what: &str) -> Vec<Event> {
        let mut lines = BufReader::new(self.0.stdout.take().unwrap()).split(b'\n').map_while(Result::ok);
        let mut next = move || lines.find_map(|line| event(std::str::from_utf8(&line).ok()?));
        let first = next();
        let rest = std::thread::spawn(move || std::iter::from_fn(next).collect::<Vec<_>>());
        std::thread::sleep(time);
        assert!(self.0.try_wait().unwrap().is_none(), "{what}: it ended by itself");
        drop(self);
        first.into_iter().chain(rest.join().unwrap()).collect()
    }
}

#[test]
#[ignore = "all: two hundred processes are killed"]
fn nothing_flushed_is_lost_by_kill_9() {
    if let Ok(victim) = std::env::var(VICTIM) {
        return be_killed(&victim);
    }
    let test = std::thread::current().name().unwrap().to_owned();
    let folder =
        tempfile::tempdir_in(std::env::var_os("TMPDIR").map_or("/var/tmp".into(), PathBuf::from)).unwrap();
    let mut random = Random::new(9);
    let (mut deaths, mut flushes, mut writes) = (0, 0, 0);
    for (number, (disk, times)) in disks(folder.path()).into_iter().enumerate() {
        std::fs::create_dir(&disk.folder).unwrap();
        let mut tags = disk.make();
        if disk.direct && disk.file(&disk.path(), true).is_err() {
            // A file system without O_DIRECT.
            continue;
        }
        for life in 0..times {
            let what = format!("disk {number} life {life}");
            let victim = format!("{number} {life} {}", folder.path().display());
            let time = Duration::from_micros(random.below(150_000));
            let events = Victim::start(&test, &victim).killed_after(time, &what);
            let mut promise = Promise::new(&tags);
            events.iter().for_each(|event| promise.note(event));
            tags = disk.judge(&promise, &what);
            deaths += 1;
            flushes += events.iter().filter(|event| matches!(event, Event::Flushed(_))).count();
            writes += events.iter().filter(|event| matches!(event, Event::Begin { tag: 1.., .. })).count();
        }
    }
    println!("{deaths} deaths, {writes} writes, {flushes} flushes");
    assert!(deaths >= 160 && flushes > deaths && writes > 10 * deaths, "{deaths} {writes} {flushes}");
}
