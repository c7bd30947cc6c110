//! The machine with its threads: start-up messages, pause, save and load, counting of instructions.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use hypervisor::{Dispatch, DoorbellAddress, EventFd, Hypervisor, Mapping};
use iced_x86::code_asm::*;
use ioreq::{Data, Dir, Request, Target};
use vm_memory::{Bytes, GuestAddress, MemoryRegionAddress};

use super::*;
use crate::{ClockKind, CpuModel, Soft, SoftConfig, Tier};

/// vCPU, port, value.
type Out = (u32, u16, u64);

struct Ports(u32, Sender<Out>);

impl Dispatch for Ports {
    fn request(&mut self, request: &Request) -> u64 {
        if let (Target::Pio(port), Dir::Write, Data::Value(v)) = (request.target, request.dir, request.data) {
            let _ = self.1.send((self.0, port, v));
        }
        0
    }
    fn acknowledge(&mut self) -> u8 {
        0x20
    }
    fn end_of_interrupt(&mut self, _: u8) {}
}

/// The bootstrap processor starts all others at 0x7000, each of which counts itself at 0x500; when all have, it says so
/// at port 0x80, waits for a timer of 1 ms, says so at port 0x81 with the ticks of a counter, and halts.
fn firmware(others: u32) -> Vec<u8> {
    let mut rom = assemble(16, 0, |a| {
        let wait = |a: &mut CodeAssembler, n: u32| {
            let mut top = a.create_label();
            a.set_label(&mut top).unwrap();
            a.pause().unwrap();
            a.cmp(dword_ptr(0x500), n).unwrap();
            a.jne(top).unwrap();
        };
        a.xor(ax, ax).unwrap();
        a.mov(ds, ax).unwrap();
        a.mov(ss, ax).unwrap();
        a.mov(sp, 0x6000).unwrap();
        // x2APIC on, software enable.
        a.mov(ecx, 0x1b).unwrap();
        a.rdmsr().unwrap();
        a.or(eax, 0x400).unwrap();
        a.wrmsr().unwrap();
        let write = |a: &mut CodeAssembler, msr: u32, high: u32, low: u32| {
            a.mov(ecx, msr).unwrap();
            a.mov(edx, high).unwrap();
            a.mov(eax, low).unwrap();
            a.wrmsr().unwrap();
        };
        write(a, 0x80f, 0, 0x1ff);
        write(a, 0x830, 0, 0xc_4500);
        write(a, 0x830, 0, 0xc_4607);
        wait(a, others);
        a.mov(al, 1).unwrap();
        a.out(0x80, al).unwrap();
        // Vector 0x40: count and end.
        a.mov(word_ptr(0x100), 0x7800).unwrap();
        a.mov(word_ptr(0x102), 0).unwrap();
        write(a, 0x83e, 0, 0xb);
        write(a, 0x832, 0, 0x40);
        write(a, 0x838, 0, 1_000_000);
        a.sti().unwrap();
        a.hlt().unwrap();
        a.mov(eax, dword_ptr(0x504)).unwrap();
        a.out(0x81, eax).unwrap();
        let mut top = a.create_label();
        a.set_label(&mut top).unwrap();
        a.hlt().unwrap();
        a.jmp(top).unwrap();
    });
    rom.resize(0xfff0, 0xf4);
    rom.extend([0xe9, 0x0d, 0x00]); // to offset 0 of the segment
    rom.resize(0x1_0000, 0xf4);
    rom
}

fn machine(vcpus: u32, clock: ClockKind) -> (Arc<Soft>, std::thread::JoinHandle<()>, Receiver<Out>) {
    let config = SoftConfig {
        vcpus,
        ram_below: 1 << 20,
        ram_above: 0,
        clock,
        tier: Tier::default(),
        cpu: CpuModel::default(),
    };
    let soft = Arc::new(Soft::new(config).unwrap());
    let rom = soft.add_ram("rom", 0x1_0000).unwrap();
    rom.write_slice(&firmware(vcpus - 1), MemoryRegionAddress(0)).unwrap();
    soft.map(Mapping::rom(0xffff_0000, 0x1_0000, &rom, 0)).unwrap();
    // IRET goes to the copy below 1 MiB: it loads CS anew.
    soft.map(Mapping::rom(0xf_0000, 0x1_0000, &rom, 0)).unwrap();
    let ap = assemble(16, 0, |a| {
        a.xor(ax, ax).unwrap();
        a.mov(ds, ax).unwrap();
        a.lock().inc(dword_ptr(0x500)).unwrap();
        a.hlt().unwrap();
    });
    let tick = assemble(16, 0x7800, |a| {
        a.inc(dword_ptr(0x504)).unwrap();
        a.pushad().unwrap();
        a.mov(ecx, 0x80b).unwrap();
        a.xor(eax, eax).unwrap();
        a.xor(edx, edx).unwrap();
        a.wrmsr().unwrap();
        a.popad().unwrap();
        a.iret().unwrap();
    });
    soft.memory().write_slice(&ap, GuestAddress(0x7000)).unwrap();
    soft.memory().write_slice(&tick, GuestAddress(0x7800)).unwrap();
    let (send, receive) = channel();
    let runs = soft.clone();
    let thread = std::thread::spawn(move || {
        runs.run(&mut |n| Box::new(Ports(n, send.clone())), Arc::new(|_| {})).unwrap();
    });
    (soft, thread, receive)
}

const LONG: Duration = Duration::from_secs(60);

fn starts_all(clock: ClockKind) {
    let (soft, thread, ports) = machine(4, clock);
    assert!(ports.recv_timeout(Duration::from_millis(50)).is_err(), "paused at first");
    soft.resume();
    assert_eq!(ports.recv_timeout(LONG).unwrap(), (0, 0x80, 1));
    assert_eq!(ports.recv_timeout(LONG).unwrap(), (0, 0x81, 1));
    soft.pause();
    let at = soft.clock().now();
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(soft.clock().now(), at, "time stands");
    let parts = soft.save().unwrap();
    assert_eq!(parts.len(), 4);
    soft.load(&parts).unwrap();
    assert_eq!(soft.save().unwrap(), parts, "what is loaded is what was saved");
    assert!(soft.load(&parts[..3]).is_err());
    // A reset begins again.
    soft.memory().write_obj(0u64, GuestAddress(0x500)).unwrap();
    soft.reset();
    soft.resume();
    assert_eq!(ports.recv_timeout(LONG).unwrap(), (0, 0x80, 1));
    assert_eq!(ports.recv_timeout(LONG).unwrap(), (0, 0x81, 1));
    soft.stop();
    thread.join().unwrap();
}

#[test]
fn starts_all_processors_by_the_hosts_clock() {
    starts_all(ClockKind::Host);
}

#[test]
fn starts_all_processors_by_instructions() {
    starts_all(ClockKind::Icount);
}

#[test]
fn counting_repeats_exactly() {
    let run = || {
        let (soft, thread, ports) = machine(3, ClockKind::Icount);
        soft.resume();
        while ports.recv_timeout(LONG).unwrap().1 != 0x81 {}
        // To the HLT behind.
        std::thread::sleep(Duration::from_millis(50));
        soft.pause();
        let mut node = hypervisor::inspect::Node::default();
        soft.inspect(&mut node);
        let counts: Vec<String> = (0..3)
            .filter_map(|n| {
                let cpu = node.find(&format!("cpu{n}"))?;
                cpu.values().find(|(name, _)| *name == "instructions").map(|(_, v)| v.to_owned())
            })
            .collect();
        soft.stop();
        thread.join().unwrap();
        counts
    };
    let first = run();
    assert_eq!(first.len(), 3);
    assert_eq!(first, run());
}

/// A guest goes on with the processor that it was saved with, whatever the machine was made with.
#[test]
fn the_model_is_saved_with_the_guest() {
    let soft = |cpu: &str| {
        let cpu = CpuModel::parse(cpu).unwrap().0;
        let config = SoftConfig {
            vcpus: 2,
            ram_below: 1 << 20,
            ram_above: 0,
            clock: ClockKind::Host,
            tier: Tier::default(),
            cpu,
        };
        Soft::new(config).unwrap()
    };
    let nehalem = soft("Nehalem,-sse4.2");
    let parts = nehalem.save().unwrap();
    let paths: Vec<_> = parts.iter().map(|part| part.path.as_str()).collect();
    assert_eq!(paths, ["cpu/0", "cpu/1", "cpu/model", "cpu/0/more", "cpu/1/more"]);
    let other = soft("soft64");
    let usual = other.save().unwrap();
    assert_eq!(usual.len(), 2, "as it was before there was a choice");
    other.load(&parts).unwrap();
    assert_eq!(other.save().unwrap(), parts);
    for n in 0..2 {
        assert_eq!(other.cpu(n).cpuid_leaf(1, 0), nehalem.cpu(n).cpuid_leaf(1, 0));
    }
    assert_eq!(other.capabilities().processor_id, nehalem.capabilities().processor_id);
    other.load(&usual).unwrap();
    assert_eq!(other.cpu(0).cpuid_leaf(0, 0)[1], 0x6874_7541, "a guest saved without one has the default");
    let mut newer = parts.clone();
    let at = newer[2].body.windows(4).position(|bytes| bytes == b"cx16").unwrap();
    newer[2].body[at..at + 4].copy_from_slice(b"cx32");
    let error = other.load(&newer).unwrap_err().to_string();
    assert!(error.contains("no CPU feature \"cx32\""), "{error}");
    newer[2].version = 2;
    assert!(other.load(&newer).unwrap_err().to_string().contains("version 2"));
    assert!(other.load(&parts[..4]).unwrap_err().to_string().contains("no cpu/1/more"));
    let stray: Vec<_> = usual.iter().chain(&parts[3..]).cloned().collect();
    assert!(other.load(&stray).unwrap_err().to_string().contains("4 parts of vCPUs saved, 2 here"));
}

/// A saved count near its end would be over the loop's limit at once, for ever, or wrap.
#[test]
fn a_count_of_instructions_that_cannot_be_is_refused() {
    let config = SoftConfig {
        vcpus: 1,
        ram_below: 1 << 20,
        ram_above: 0,
        clock: ClockKind::Host,
        tier: Tier::default(),
        cpu: CpuModel::default(),
    };
    let soft = Soft::new(config).unwrap();
    soft.cpu(0).icount = 1 << 62;
    let mut parts = soft.save().unwrap();
    assert_eq!(soft.load(&parts).map_err(|e| e.to_string()), Ok(()));
    let key = b"icount\xcf";
    let at = parts[0].body.windows(key.len()).position(|bytes| bytes == key).unwrap() + key.len();
    parts[0].body[at..at + 8].fill(0xff);
    assert!(soft.load(&parts).unwrap_err().to_string().contains("instructions"));
    assert_eq!(soft.cpu(0).icount, 1 << 62, "nothing is changed");
}

/// A write that rings comes to no device, and the guest goes on.
#[test]
fn a_doorbell_is_rung_before_the_bus() {
    let fd = EventFd::new(libc::EFD_NONBLOCK).unwrap();
    let at = DoorbellAddress { at: Target::Pio(0x80), len: None, value: Some(1) };
    let (soft, thread, ports) = machine(1, ClockKind::Host);
    let doorbell = soft.doorbell(at, fd.try_clone().unwrap()).unwrap();
    soft.resume();
    assert_eq!(ports.recv_timeout(LONG).unwrap(), (0, 0x81, 1), "and not port 0x80 before");
    assert_eq!(fd.read().unwrap(), 1);
    soft.pause();
    drop(doorbell);
    soft.memory().write_obj(0u64, GuestAddress(0x500)).unwrap();
    soft.reset();
    soft.resume();
    assert_eq!(ports.recv_timeout(LONG).unwrap(), (0, 0x80, 1));
    soft.stop();
    thread.join().unwrap();
}

/// A device model that panics at the first port access.
struct Panics;

impl Dispatch for Panics {
    fn request(&mut self, request: &Request) -> u64 {
        assert!(!matches!(request.target, Target::Pio(_)), "a fault of ours");
        0
    }
    fn acknowledge(&mut self) -> u8 {
        0x20
    }
    fn end_of_interrupt(&mut self, _: u8) {}
}

#[test]
fn a_thread_that_panics_ends_the_machine_and_says_so() {
    for clock in [ClockKind::Host, ClockKind::Icount] {
        let config = SoftConfig {
            vcpus: 2,
            ram_below: 1 << 20,
            ram_above: 0,
            clock,
            tier: Tier::default(),
            cpu: CpuModel::default(),
        };
        let soft = Arc::new(Soft::new(config).unwrap());
        let rom = soft.add_ram("rom", 0x1_0000).unwrap();
        // out 0x80, al at the reset vector.
        rom.write_slice(&[0xe6, 0x80, 0xf4], MemoryRegionAddress(0xfff0)).unwrap();
        soft.map(Mapping::rom(0xffff_0000, 0x1_0000, &rom, 0)).unwrap();
        let runs = soft.clone();
        let (done, ended) = channel();
        std::thread::spawn(move || {
            let result = runs.run(&mut |_| Box::new(Panics), Arc::new(|_| {}));
            done.send(result.map_err(|e| e.to_string())).unwrap();
        });
        soft.resume();
        // Nobody waits for a thread that is no more, whether it pauses before or after.
        soft.pause();
        soft.resume();
        let said = ended.recv_timeout(LONG).unwrap().unwrap_err();
        assert!(said.contains("has died: a fault of ours"), "{said}");
        soft.pause();
    }
}
