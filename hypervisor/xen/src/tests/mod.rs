//! The machine against a hypervisor of the tests' own.

mod fuzz;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use hypervisor::memory::{self, PAGE};
use hypervisor::{
    Claims, Dispatch, DoorbellAddress, Error, EventFd, GuestRam, Hypervisor, Mapping, Pin, SavedPart,
};
use ioreq::{Data, Dir, Request, Sbdf, Target};
use vm_memory::{Bytes, MemoryRegionAddress};

use crate::abi::dm::*;
use crate::fake::{DOMID, FakeXen, Ioreq, RING_PORT, VCPU_PORT, extents};
use crate::{Placements, ShutdownReason, VRAM, Xen, XenConfig};

const MIB: u64 = 1 << 20;

/// A read of a port.
const IN: Ioreq = Ioreq { addr: 0x60, data: 0, count: 1, size: 1, flags: 0x20, kind: 0 };
/// A write of MMIO.
const STORE: Ioreq = Ioreq { addr: 0xf200_0000, data: 0x1234_5678, count: 1, size: 4, flags: 0, kind: 1 };
/// A read of MMIO.
const LOAD: Ioreq = Ioreq { flags: 0x20, ..STORE };

/// What the devices saw, and what they shall do.
#[derive(Default)]
struct Devices {
    log: Mutex<Vec<Request>>,
    ram: Mutex<Option<GuestRam>>,
    /// At the next port write: suspend this machine.
    suspend: Mutex<Option<Arc<Xen>>>,
    fault: AtomicBool,
}

impl Devices {
    fn log(&self) -> MutexGuard<'_, Vec<Request>> {
        self.log.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn targets(&self) -> Vec<Target> {
        self.log().iter().map(|request| request.target).collect()
    }
}

struct Answering(Arc<Devices>);

impl Dispatch for Answering {
    fn request(&mut self, request: &Request) -> u64 {
        assert!(!self.0.fault.load(Ordering::Relaxed), "a fault of ours");
        if self.0.log().len() < 10_000 {
            self.0.log().push(*request);
        }
        if request.dir == Dir::Write
            && let Some(xen) = self.0.suspend.lock().unwrap().take()
        {
            xen.suspend();
        }
        let ram = self.0.ram.lock().unwrap().clone();
        if let (Data::Guest(_), Some(ram)) = (request.data, ram) {
            let mut bytes = [0x5a; 8];
            for index in 0..request.count.min(64) {
                let Data::Guest(gpa) = request.item(index).data else { unreachable!() };
                let bytes = &mut bytes[..request.size.bytes()];
                match request.dir {
                    Dir::Read => memory::write(&ram, gpa, bytes),
                    Dir::Write => memory::read(&ram, gpa, bytes),
                };
            }
        }
        0x1111_1111_1111_1111 * u64::from(request.vcpu + 1)
    }
    fn acknowledge(&mut self) -> u8 {
        unreachable!("Xen has the interrupt controllers")
    }
    fn end_of_interrupt(&mut self, _vector: u8) {
        unreachable!("Xen has the interrupt controllers")
    }
}

struct Guest {
    fake: Arc<FakeXen>,
    xen: Arc<Xen>,
    devices: Arc<Devices>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

fn config(vcpus: u32) -> XenConfig {
    XenConfig { domid: DOMID, vcpus, threads: None, ram_below: 4 * MIB, ram_above: 0 }
}

impl Guest {
    /// A machine whose threads wait for the first resume.
    fn new(vcpus: u32) -> Guest {
        let fake = FakeXen::new(4 * 256);
        let xen = Arc::new(Xen::over(fake.clone(), config(vcpus)).unwrap());
        let devices = Arc::new(Devices::default());
        *devices.ram.lock().unwrap() = Some(xen.memory());
        let (machine, answering) = (xen.clone(), devices.clone());
        let run = move || {
            machine.run(&mut |_| Box::new(Answering(answering.clone())), Arc::new(|_| unreachable!()))
        };
        Guest { fake, xen, devices, thread: Some(std::thread::spawn(run)) }
    }

    fn running(vcpus: u32) -> Guest {
        let guest = Guest::new(vcpus);
        guest.xen.resume();
        guest
    }

    fn end(mut self) -> Result<(), Error> {
        self.xen.stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.xen.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || ended.is_ok());
        }
    }
}

#[test]
fn it_begins_and_ends_as_xen_wants_it() {
    let guest = Guest::new(2);
    guest.xen.resume();
    let ops: Vec<u32> = guest.fake.state().ops.iter().map(|(op, _)| op.op).collect();
    assert_eq!(ops, [1, 2, 5, 5], "create, info, state for the ports, state for the run");
    assert_eq!(guest.fake.ops::<CreateIoreqServer>()[0].handle_bufioreq, 2);
    assert_eq!(guest.fake.ops::<GetIoreqServerInfo>()[0].flags, 1);
    let fake = guest.fake.clone();
    guest.end().unwrap();
    assert_eq!(fake.ops::<DestroyIoreqServer>().len(), 1);
    assert!(Xen::over(fake.clone(), XenConfig { vcpus: 129, ..config(1) }).is_err());
    assert!(Xen::over(fake.clone(), XenConfig { vcpus: 0, ..config(1) }).is_err());
    fake.state().fail.insert(SetIoreqServerState::OP, libc::EPERM);
    fake.forget();
    let error = Xen::over(fake.clone(), config(1)).map(|_| ()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("set_ioreq_server_state of domain 5") && said.contains("os error 1"), "{said}");
    assert_eq!(fake.ops::<DestroyIoreqServer>().len(), 1, "nothing is left half-created");
}

#[test]
fn requests_of_all_kinds_and_vcpus_are_answered() {
    let guest = Guest::running(3);
    assert_eq!(guest.fake.ask(0, IN), 0x1111_1111_1111_1111);
    assert_eq!(guest.fake.ask(2, IN), 0x3333_3333_3333_3333);
    assert_eq!(guest.fake.ask(1, STORE), 0x1234_5678, "a write's data stays");
    let config = Ioreq { addr: 8 << 32 | 0x40, kind: 2, size: 4, ..IN };
    guest.fake.ask(1, config);
    let string = Ioreq { addr: 0x1f0, data: 0x10_0000, count: 8, size: 2, flags: 0x30, kind: 0 };
    guest.fake.ask(0, string);
    assert_eq!(guest.fake.peek(0x10_0000, 17), [&[0x5a; 16][..], &[0]].concat());
    let targets = guest.devices.targets();
    let expected = [
        Target::Pio(0x60),
        Target::Pio(0x60),
        Target::Mmio(0xf200_0000),
        Target::PciConfig { sbdf: Sbdf::bus0(1, 0), reg: 0x40 },
        Target::Pio(0x1f0),
    ];
    assert_eq!(targets, expected);
    let answered = [0, 1, 2].map(|vcpu| guest.fake.notified(VCPU_PORT + vcpu));
    assert_eq!(answered, [2, 2, 1]);
    guest.end().unwrap();
}

#[test]
fn a_doorbell_is_rung_before_the_bus() {
    let guest = Guest::running(1);
    let fd = EventFd::new(libc::EFD_NONBLOCK).unwrap();
    let at = DoorbellAddress { at: Target::Mmio(0xf200_0000), len: Some(4), value: Some(0x1234_5678) };
    let doorbell = guest.xen.doorbell(at, fd.try_clone().unwrap()).unwrap();
    guest.fake.ask(0, STORE);
    guest.fake.ask(0, Ioreq { data: 7, ..STORE });
    assert_eq!((fd.read().unwrap(), guest.devices.log().len()), (1, 1), "the other value is the device's");
    drop(doorbell);
    guest.fake.ask(0, STORE);
    assert_eq!(guest.devices.log().len(), 2);
    assert!(fd.read().is_err());
    guest.end().unwrap();
}

#[test]
fn what_nobody_can_carry_out_is_answered_all_the_same() {
    let guest = Guest::running(1);
    for bad in [
        Ioreq { kind: 5, ..IN },
        Ioreq { size: 3, ..IN },
        Ioreq { addr: 0x1_0000, ..IN },
        Ioreq { size: 8, ..IN },
        Ioreq { count: 1 << 20, ..IN },
    ] {
        assert_eq!(guest.fake.ask(0, bad), u64::MAX, "{bad:?}");
    }
    guest.fake.raise(VCPU_PORT);
    assert_eq!(guest.fake.ask(0, IN), 0x1111_1111_1111_1111, "an event without a request does no harm");
    assert_eq!(guest.devices.log().len(), 1);
    guest.end().unwrap();
}

#[test]
fn buffered_writes_come_before_the_request_that_follows_them() {
    let guest = Guest::running(2);
    for turn in 0..50u64 {
        guest.devices.log().clear();
        for n in 0..turn {
            assert!(guest.fake.buffer(0xa_0000 + n, 0, n as u32));
        }
        guest.fake.ask((turn % 2) as usize, LOAD);
        let mut expected: Vec<Target> = (0..turn).map(|n| Target::Mmio(0xa_0000 + n)).collect();
        expected.push(Target::Mmio(0xf200_0000));
        assert_eq!(guest.devices.targets(), expected);
    }
    // And on their own event, without any request.
    guest.devices.log().clear();
    assert!(guest.fake.buffer(0xa_0000, 2, 7));
    for _ in 0..500 {
        if !guest.devices.log().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(guest.devices.log()[0].data, Data::Value(7));
    assert_eq!(guest.fake.notified(RING_PORT), 0);
    guest.end().unwrap();
}

#[test]
fn an_invalidation_lets_go_of_the_guests_pages() {
    let guest = Guest::running(1);
    assert!(memory::write(&guest.xen.memory(), 0x1000, &[1]));
    let mut node = hypervisor::inspect::Node::default();
    guest.xen.inspect(&mut node);
    assert!(node.to_string().contains("mapped buckets of RAM: 1"), "{node}");
    guest.fake.ask(0, Ioreq { kind: 8, data: u64::MAX, size: 4, flags: 0, addr: 0, count: 0 });
    assert_eq!(guest.xen.foreign_mapped(), 0);
    guest.end().unwrap();
}

#[test]
fn nothing_is_lost_by_a_pause() {
    let guest = Guest::running(2);
    guest.fake.ask(0, IN);
    guest.xen.pause();
    assert!(!guest.fake.state().enabled);
    let stopped = guest.xen.clock().now();
    guest.fake.send(1, IN);
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(guest.fake.answer(1), None, "it waits");
    assert_eq!(guest.xen.clock().now(), stopped);
    guest.xen.resume();
    assert!(guest.fake.state().enabled);
    assert_eq!(guest.fake.wait_answer(1), 0x2222_2222_2222_2222);
    // What is in the ring when the guest is paused is carried out before it is saved.
    guest.devices.log().clear();
    guest.xen.suspend();
    guest.xen.pause();
    guest.fake.buffer(0xa_0000, 0, 1);
    guest.xen.pause();
    assert_eq!(guest.devices.targets(), [Target::Mmio(0xa_0000)]);
    guest.xen.resume();
    for _ in 0..200 {
        guest.xen.pause();
        guest.fake.send(0, IN);
        guest.xen.resume();
        guest.fake.wait_answer(0);
    }
    guest.end().unwrap();
}

/// A slot is looked at when the threads start, whatever became of its event.
#[test]
fn what_was_asked_before_anybody_listened_is_answered() {
    let guest = Guest::new(5);
    (0..5).for_each(|vcpu| guest.fake.put(vcpu, IN));
    guest.xen.resume();
    for vcpu in 0..5 {
        assert_eq!(guest.fake.wait_answer(vcpu), 0x1111_1111_1111_1111 * (vcpu as u64 + 1));
    }
    let mut node = hypervisor::inspect::Node::default();
    guest.xen.inspect(&mut node);
    assert!(node.to_string().contains("threads: 4"), "{node}");
    guest.end().unwrap();
}

#[test]
fn who_waits_at_the_end_is_let_go() {
    let fake = FakeXen::new(256);
    let xen = Xen::over(fake.clone(), config(3)).unwrap();
    fake.put(2, IN);
    drop(xen);
    assert_eq!((fake.answer(2), fake.notified(VCPU_PORT + 2)), (Some(u64::MAX), 1));
    let ops: Vec<u32> = fake.state().ops.iter().map(|(op, _)| op.op).collect();
    assert_eq!(ops, [1, 2, 5, 5, 6]);
    assert!(!fake.state().enabled);
}

#[test]
fn a_host_without_xen_is_told_so_in_one_line() {
    if std::path::Path::new("/dev/xen/privcmd").exists() {
        return;
    }
    let error = Xen::new(config(1)).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("Xen: open of privcmd: /dev/xen/privcmd: No such file"), "{error}");
}

#[test]
fn a_handler_can_stop_the_machine() {
    let guest = Guest::running(1);
    *guest.devices.suspend.lock().unwrap() = Some(guest.xen.clone());
    guest.fake.ask(0, Ioreq { flags: 0, ..IN });
    guest.fake.send(0, IN);
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(guest.fake.answer(0), None, "the access before was the last");
    guest.xen.pause();
    guest.xen.resume();
    guest.fake.wait_answer(0);
    guest.end().unwrap();
}

#[test]
fn video_memory_and_roms_are_mapped_as_each_needs_it() {
    let guest = Guest::running(1);
    let pages = guest.fake.state().p2m.len();
    let rom = guest.xen.add_ram("vgabios", 64 << 10).unwrap();
    assert_eq!(guest.fake.state().p2m.len(), pages, "a ROM costs the domain nothing");
    rom.write_slice(&[0x55, 0xaa], MemoryRegionAddress(0)).unwrap();
    let vram = guest.xen.add_ram(VRAM, MIB).unwrap();
    assert_eq!(guest.fake.state().p2m.len(), pages + 256);
    guest.xen.map(Mapping::ram(0xf000_0000, MIB, &vram, 0)).unwrap();
    guest.xen.map(Mapping::rom(0xf100_0000, 64 << 10, &rom, 0)).unwrap();
    let claims = Claims { ports: vec![0x60..=0x64], ..Claims::default() };
    guest.xen.claim(&claims).unwrap();
    assert!(guest.fake.claims(RANGE_MEMORY, 0xf100_0000..=0xf100_0000));
    assert!(!guest.fake.claims(RANGE_MEMORY, 0xf000_0000..=0xf000_0000), "the guest reaches it by itself");
    assert_eq!(guest.fake.ask(0, Ioreq { addr: 0xf100_0000, size: 2, ..LOAD }), 0xaa55);
    assert!(guest.devices.log().is_empty());
    guest.fake.poke(0xf000_0000, b"drawn");
    let mut bytes = [0; 5];
    vram.read_slice(&mut bytes, MemoryRegionAddress(0)).unwrap();
    assert_eq!(&bytes, b"drawn");
    guest.xen.map(Mapping::none(0xf100_0000, 64 << 10)).unwrap();
    assert!(!guest.fake.claims(RANGE_MEMORY, 0xf100_0000..=0xf100_0000));
    guest.xen.map(Mapping::none(0xf000_0000, MIB)).unwrap();
    assert_eq!(guest.fake.peek(0xf000_0000, 5), b"drawn", "nobody wants the place yet");
    let claims = Claims { memory: vec![0xf000_1000..=0xf000_1fff], ..claims };
    guest.xen.claim(&claims).unwrap();
    assert_eq!(guest.fake.peek(1 << 32, 5), b"drawn", "parked above the RAM");
    assert!(guest.xen.map(Mapping::ram(0xf000_0000, PAGE, &vram, 0)).is_err());
    assert!(guest.xen.map(Mapping::ram(0xf000_0000, 64 << 10, &rom, 0)).is_err());
    guest.end().unwrap();
}

#[test]
fn a_saved_machine_finds_its_video_memory() {
    let guest = Guest::running(1);
    let vram = guest.xen.add_ram(VRAM, MIB).unwrap();
    guest.xen.map(Mapping::ram(0xf000_0000, MIB, &vram, 0)).unwrap();
    guest.fake.poke(0xf000_0000, b"drawn");
    guest.xen.pause();
    let parts: Vec<SavedPart> = guest.xen.save().unwrap();
    let fake = guest.fake.clone();
    guest.end().unwrap();

    let xen = Xen::over(fake.clone(), config(1)).unwrap();
    xen.restored(Placements::of(&parts).unwrap());
    let vram = xen.add_ram(VRAM, MIB).unwrap();
    xen.load(&parts).unwrap();
    fake.forget();
    xen.map(Mapping::ram(0xf000_0000, MIB, &vram, 0)).unwrap();
    assert!(fake.ops::<RelocateMemory>().is_empty());
    let mut bytes = [0; 5];
    vram.read_slice(&mut bytes, MemoryRegionAddress(0)).unwrap();
    assert_eq!(&bytes, b"drawn");
    let fresh = Xen::over(fake, config(1)).unwrap();
    assert!(fresh.load(&parts).is_err(), "it has no such block");
    assert!(fresh.load(&[]).is_err());
}

#[test]
fn a_migration_hears_of_our_writes_before_the_pause_ends() {
    let guest = Guest::running(1);
    let vram = guest.xen.add_ram(VRAM, MIB).unwrap();
    guest.xen.log_dirty(true).unwrap();
    guest.fake.ask(0, Ioreq { addr: 0x1f0, data: 0x1_0000, count: 16, size: 4, flags: 0x30, kind: 0 });
    vram.write_slice(&[1], MemoryRegionAddress(2 * PAGE)).unwrap();
    assert!(extents(&guest.fake).is_empty());
    guest.xen.pause();
    assert_eq!(extents(&guest.fake), [(0x10, 1), ((1 << 20) + 2, 1)]);
    // A disk that finishes while we stand.
    assert!(memory::write(&guest.xen.memory(), 0x2_0000, &[1; 0x1001]));
    assert_eq!(extents(&guest.fake)[2..], [(0x20, 2)]);
    guest.xen.log_dirty(false).unwrap();
    guest.end().unwrap();
}

#[test]
fn the_domain_is_told_what_it_must_hear() {
    let guest = Guest::running(1);
    guest.xen.irq().set(Pin::Isa(4), true);
    guest.xen.irq().route(1, Some(10));
    guest.xen.msi().signal(0xfee0_0000, 0x31);
    guest.xen.lock_roms(true).unwrap();
    guest.xen.shut_down(ShutdownReason::Reboot).unwrap();
    assert_eq!(guest.fake.ops::<SetIsaIrqLevel>(), [SetIsaIrqLevel { irq: 4, level: 1 }]);
    assert_eq!(guest.fake.ops::<SetPciLinkRoute>(), [SetPciLinkRoute { link: 1, irq: 10 }]);
    assert_eq!(guest.fake.ops::<InjectMsi>().len(), 1);
    let locked = SetMemType { pages: 0x40, kind: MEM_RAM_RO, pad: 0, first_pfn: 0xc0 };
    assert_eq!(guest.fake.ops::<SetMemType>(), [locked]);
    assert_eq!(guest.fake.ops::<RemoteShutdown>(), [RemoteShutdown { reason: 1 }]);
    guest.xen.set_asleep(true).unwrap();
    assert!(guest.xen.is_asleep().unwrap());
    guest.xen.restrict().unwrap();
    assert_eq!(guest.fake.state().restricted, Some(DOMID));
    let refused = guest.xen.set_asleep(false).unwrap_err();
    let said = refused.to_string();
    assert!(said.starts_with("Xen: HVMOP_set_param of domain 5 (AcpiSState = 0)"), "{said}");
    assert!(guest.xen.add_ram(VRAM, MIB).is_err());
    assert_eq!(guest.fake.ask(0, IN), 0x1111_1111_1111_1111, "requests are answered after it");
    guest.end().unwrap();
}

#[test]
fn a_domain_that_goes_away_ends_the_run_with_an_error() {
    let mut guest = Guest::running(2);
    guest.fake.state().fail.insert(SetIsaIrqLevel::OP, libc::ESRCH);
    guest.xen.irq().set(Pin::Isa(4), true);
    let ended = guest.thread.take().unwrap().join().unwrap();
    let error = ended.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("Xen: domain 5: "), "{said}");
    guest.xen.pause();
    assert!(guest.xen.run(&mut |_| unreachable!(), Arc::new(|_| ())).is_err());
}

#[test]
fn a_fault_of_ours_takes_the_domain_with_it() {
    let mut guest = Guest::running(2);
    guest.devices.fault.store(true, Ordering::Relaxed);
    guest.fake.send(1, IN);
    assert!(guest.thread.take().unwrap().join().is_err(), "the fault is not hidden");
    assert_eq!(guest.fake.ops::<RemoteShutdown>(), [RemoteShutdown { reason: 3 }]);
}

/// Two vCPUs at once, with pauses and invalidations between: every request is answered exactly once.
#[test]
fn vcpus_are_served_side_by_side() {
    let guest = Guest::running(2);
    std::thread::scope(|scope| {
        let vcpus: Vec<_> = (0..2)
            .map(|vcpu| {
                let fake = &guest.fake;
                scope.spawn(move || {
                    for turn in 0..500u64 {
                        let answer = fake.ask(vcpu, Ioreq { addr: turn & 0xfff, ..IN });
                        assert_eq!(answer, 0x1111_1111_1111_1111 * (vcpu as u64 + 1));
                        if turn % 50 == 0 {
                            fake.ask(vcpu, Ioreq { kind: 8, flags: 0, ..IN });
                        }
                    }
                })
            })
            .collect();
        while vcpus.iter().any(|vcpu| !vcpu.is_finished()) {
            guest.xen.pause();
            guest.xen.resume();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(guest.devices.log().len(), 1000);
    guest.end().unwrap();
}
