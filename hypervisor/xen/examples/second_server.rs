//! A tiny second device model beside the real one: it shows that this crate and a host's Xen understand each
//! other, and that two ioreq servers live on one domain.
//!
//! `second_server DOMID VCPUS RAM-MIB FIRST-PORT LAST-PORT SECONDS` takes the ports away from the first
//! server for a while, prints what the guest does there, and answers reads with 0x60 (a serial port that is
//! ready). Every other step is tried on the way; the exit status is 1 if one fails.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hypervisor::memory::{self, DirtyLog, PAGE};
use hypervisor::{Claims, Dispatch, Error, Hypervisor, Mapping, Pin};
use hypervisor_xen::{Placements, VRAM, Xen, XenConfig, xenstore::XenStore};
use ioreq::{Data, Dir, Request};

/// What the guest wrote to the ports.
#[derive(Clone, Default)]
struct Ports(Arc<Mutex<(Vec<u8>, usize)>>);

impl Dispatch for Ports {
    fn request(&mut self, request: &Request) -> u64 {
        let mut seen = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        seen.1 += 1;
        if let (Dir::Write, Data::Value(value)) = (request.dir, request.data)
            && seen.0.len() < 4096
        {
            seen.0.push(value as u8);
        }
        0x60
    }
    fn acknowledge(&mut self) -> u8 {
        0
    }
    fn end_of_interrupt(&mut self, _vector: u8) {}
}

fn step<T>(failures: &mut u32, name: &str, result: Result<T, impl std::fmt::Display>) -> Option<T> {
    match result {
        Ok(value) => {
            println!("ok    {name}");
            Some(value)
        }
        Err(error) => {
            println!("FAIL  {name}: {error}");
            *failures += 1;
            None
        }
    }
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// Guest memory: pages, holes, and letting go.
fn memory_steps(xen: &Xen, failures: &mut u32) {
    let ram = xen.memory();
    let mut page = vec![0; PAGE as usize];
    let read = memory::read(&ram, 0, &mut page);
    step(failures, "page 0 of the guest is mapped", ensure(read, "a hole"));
    let used = page.iter().any(|byte| *byte != 0);
    step(failures, "and holds something", ensure(used, "only zeros"));
    let hole = !memory::read(&ram, 0xa_0000, &mut page);
    step(failures, "0xa0000 is a hole and an error", ensure(hole, "it was read"));
    let mark = *b"second ioreq server";
    let at = 0x9_e000;
    let written = memory::write(&ram, at, &mark);
    let mut back = [0; 19];
    let same = memory::read(&ram, at, &mut back) && back == mark;
    step(failures, "what is written is read", ensure(written && same, "it is not"));
}

/// Video memory: populated, drawn on, moved, tracked.
fn video_steps(xen: &Xen, failures: &mut u32) {
    let Some(vram) = step(failures, "16 pages of video memory are populated", xen.add_ram(VRAM, 16 * PAGE))
    else {
        return;
    };
    let bar = 0xfb80_0000;
    step(failures, "they move to 0xfb800000", xen.map(Mapping::ram(bar, 16 * PAGE, &vram, 0)));
    let drawn = || (**vram).bitmap().fetch_dirty(DirtyLog::Display).len();
    step(failures, "the pages that the guest drew are asked for", ensure(drawn() <= 16, "there are more"));
    step(failures, "a save tells where they are", xen.save().and_then(|parts| Placements::of(&parts)));
    step(failures, "they are parked again", xen.map(Mapping::none(bar, 16 * PAGE)));
    let rom = xen.add_ram("rom", 16 * PAGE);
    let mapped = rom.and_then(|rom| xen.map(Mapping::rom(bar, 16 * PAGE, &rom, 0)));
    step(failures, "a ROM is served in their place", mapped);
    step(failures, "and goes", xen.map(Mapping::none(bar, 16 * PAGE)));
}

fn store_steps(domid: u16, failures: &mut u32) {
    let Some(store) = step(failures, "xenstore is there", XenStore::open()) else { return };
    let path = store.domain_path(domid);
    let Some(path) = step(failures, "it knows the domain's path", path) else { return };
    step(failures, "and its name", store.read(&format!("{path}/name")));
    let own = format!("device-model/{domid}/second");
    step(failures, "a watch", store.watch(&own, "own"));
    let changed = store.transaction(|inside| {
        inside.write(&own, "1")?;
        inside.find(&own)
    });
    step(failures, "a transaction", changed);
    std::thread::sleep(Duration::from_millis(200));
    let mut events = 0;
    while let Ok(Some(_)) = store.next_event() {
        events += 1;
    }
    step(failures, "the watch told of both", ensure(events >= 1, "it did not"));
    step(failures, "the node goes", store.rm(&own));
}

fn serve(config: XenConfig, ports: std::ops::RangeInclusive<u64>, seconds: u64) -> Result<u32, Error> {
    let mut failures = 0;
    let domid = config.domid;
    let Some(xen) = step(&mut failures, "an ioreq server", Xen::new(config)) else { return Ok(failures) };
    let xen = Arc::new(xen);
    store_steps(domid, &mut failures);
    memory_steps(&xen, &mut failures);
    video_steps(&xen, &mut failures);
    step(&mut failures, "a migration begins", xen.log_dirty(true));
    let written = memory::write(&xen.memory(), 0x9_e000, &[0; 19]);
    step(&mut failures, "and ends", xen.log_dirty(false));
    step(&mut failures, "modified memory is told", ensure(written, "a hole"));
    step(&mut failures, "the sleep state is read", xen.is_asleep());
    xen.irq().set(Pin::Isa(7), false);
    step(&mut failures, "ports are claimed", xen.claim(&Claims { ports: vec![ports], ..Claims::default() }));
    step(&mut failures, "all other power is given up", xen.restrict());
    let refused = xen.is_asleep().is_err();
    step(&mut failures, "and is gone", ensure(refused, "a hypercall worked"));

    let seen = Ports::default();
    let (machine, to) = (xen.clone(), seen.clone());
    let thread = std::thread::spawn(move || machine.run(&mut |_| Box::new(to.clone()), Arc::new(|_| ())));
    xen.resume();
    std::thread::sleep(Duration::from_secs(seconds));
    xen.pause();
    let (text, requests) = seen.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    xen.stop();
    let ended = thread.join().unwrap_or_else(|_| Err(Error::Unsupported("a thread panicked".into())));
    step(&mut failures, "it runs and ends", ended);
    println!("      {requests} requests; written: {:?}", String::from_utf8_lossy(&text));
    step(&mut failures, "the guest was heard", ensure(requests > 0, "nothing came"));
    let mut node = hypervisor::inspect::Node::default();
    xen.inspect(&mut node);
    print!("{node}");
    Ok(failures)
}

fn main() -> ExitCode {
    let arguments: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|argument| match argument.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => argument.parse().ok(),
        })
        .collect();
    let [domid, vcpus, mib, first, last, seconds] = arguments[..] else {
        eprintln!("usage: second_server DOMID VCPUS RAM-MIB FIRST-PORT LAST-PORT SECONDS");
        return ExitCode::from(2);
    };
    let config = XenConfig {
        domid: domid as u16,
        vcpus: vcpus as u32,
        threads: None,
        ram_below: mib << 20,
        ram_above: 0,
    };
    match serve(config, first..=last, seconds) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
