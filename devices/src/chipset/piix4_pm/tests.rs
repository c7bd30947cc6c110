use std::mem::take;
use std::sync::Mutex;

use devices_core::power::PowerEvent;
use devices_core::rig::{self, FuzzRange, Rig, fuzz, ms, scenario};
use devices_core::{DeviceCell, Size};

use super::*;

const SCI: u32 = SCI_IRQ;
const PM: u16 = 0xb000;

struct Board {
    rig: Rig,
    pm: Arc<DeviceCell<Piix4Pm>>,
    ejected: Arc<Mutex<Vec<u8>>>,
}

impl rig::Board for Board {
    fn rig(&mut self) -> &mut Rig {
        &mut self.rig
    }
}

fn board_with(mut rig: Rig, options: Options) -> Board {
    let ejected = Arc::new(Mutex::new(Vec::new()));
    let to = ejected.clone();
    let eject: Eject = Arc::new(move |slot| {
        let mut to = to.lock().unwrap();
        if to.len() < 16 {
            to.push(slot);
        }
    });
    let wiring = rig.wiring();
    let device = Piix4Pm::new(options, rig.irqs().line(SCI), rig.recorder(), eject, &wiring);
    let pm = rig.attach_pci(device, &wiring, 1, 3);
    Board { rig, pm, ejected }
}

/// As hvmloader leaves it: power management ports at 0xb000, ACPI mode on.
fn board(rig: Rig) -> Board {
    let mut board = board_with(rig, Options::default());
    let rig = &mut board.rig;
    rig.config_write(1, 3, 0x40, Size::B4, 0xb001);
    rig.config_write(1, 3, 0x80, Size::B1, 1);
    rig.outb(0xb2, 0xf1);
    // The timer's status is set from the start.
    rig.outw(PM, 1);
    board
}

#[test]
fn the_header_and_reset_values_are_qemus() {
    let mut rig = board_with(Rig::new(), Options::default()).rig;
    assert_eq!(rig.config_read(1, 3, 0, Size::B4), 0x7113_8086);
    assert_eq!(rig.config_read(1, 3, 4, Size::B4), 0x0280_0000);
    assert_eq!(rig.config_read(1, 3, 8, Size::B4), 0x0680_0003);
    assert_eq!(rig.config_read(1, 3, 0x2c, Size::B4), 0x1100_1af4);
    assert_eq!(rig.config_read(1, 3, 0x3c, Size::B2), 0x0100);
    assert_eq!(rig.config_read(1, 3, 0x40, Size::B4), 1);
    assert_eq!(rig.config_read(1, 3, 0x58, Size::B4), 0x0200_0000);
    assert_eq!(rig.config_read(1, 3, 0x90, Size::B4), 0xb101);
    assert_eq!(rig.config_read(1, 3, 0xd2, Size::B1), 9);
    assert_eq!(rig.inw(0xb000), 0xffff);
}

#[test]
fn the_decoded_ports_are_told() {
    let mut rig =
        board_with(Rig::new(), Options { serial: [true, true], parallel: true, ..Options::default() }).rig;
    assert_eq!([0x5f, 0x63, 0x67].map(|at| rig.config_read(1, 3, at, Size::B1)), [0x90, 0x60, 0x98]);
    let mut rig = board_with(Rig::new(), Options::default()).rig;
    assert_eq!([0x5f, 0x63, 0x67].map(|at| rig.config_read(1, 3, at, Size::B1)), [0x10, 0x60, 0]);
}

#[test]
fn a_reset_ends_what_the_guest_was_asked_to_let_go_of() {
    let Board { mut rig, pm, ejected } = board(Rig::new());
    pm.lock().set_removable_slots(1 << 7);
    pm.lock().request_unplug_slot(7);
    pm.lock().request_unplug_slot(8);
    rig.reset();
    assert_eq!((rig.inl(0xae04), ejected.lock().unwrap().as_slice()), (0, &[7][..]));
}

#[test]
fn the_ports_move_with_their_base() {
    scenario(|rig| {
        let Board { mut rig, .. } = board(take(rig));
        assert_eq!(rig.inw(PM + 4), 1);
        rig.config_write(1, 3, 0x40, Size::B4, 0x601);
        assert_eq!((rig.inw(PM + 4), rig.inw(0x604)), (0xffff, 1));
        rig.config_write(1, 3, 0x80, Size::B1, 0);
        assert_eq!(rig.inw(0x604), 0xffff);
        rig.config_write(1, 3, 0xd2, Size::B1, 0);
        assert_eq!(rig.inb(0xb100), 0xff);
    });
}

#[test]
fn apm_commands_switch_acpi_mode() {
    let Board { mut rig, .. } = board(Rig::new());
    assert_eq!((rig.inw(PM + 4), rig.inb(0xb2)), (1, 0xf1));
    rig.outb(0xb3, 0x55);
    rig.outb(0xb2, 0xf0);
    assert_eq!((rig.inw(PM + 4), rig.inb(0xb3)), (0, 0x55));
    rig.outb(0xb2, 0x12);
    assert_eq!(rig.inw(PM + 4), 0);
}

#[test]
fn sleep_types_turn_off_or_suspend() {
    scenario(|rig| {
        let Board { mut rig, .. } = board(take(rig));
        for (written, asked) in [
            (0x2001, Some(PowerEvent::PowerOff)),
            (0x2401, Some(PowerEvent::Suspend)),
            (0x2801, Some(PowerEvent::PowerOff)),
            (0x2c01, None),
            (0x0401, None),
        ] {
            rig.outw(PM + 4, written);
            assert_eq!(rig.take_power(), asked.into_iter().collect::<Vec<_>>());
            assert_eq!(rig.inw(PM + 4), written & !0x2000);
        }
        // A byte at a time, type first.
        rig.outb(PM + 5, 0x04);
        rig.outb(PM + 5, 0x24);
        assert_eq!(rig.take_power(), [PowerEvent::Suspend]);
    });
}

#[test]
fn the_power_button_interrupts_who_listens() {
    scenario(|rig| {
        let Board { mut rig, pm, .. } = board(take(rig));
        pm.lock().press_power_button();
        assert_eq!(rig.inw(PM), 0);
        rig.outw(PM + 2, 0x100);
        pm.lock().press_power_button();
        assert!(rig.irq(SCI));
        assert_eq!(rig.inw(PM), 0x100);
        rig.outw(PM, 0x100);
        assert!(!rig.irq(SCI));
    });
}

#[test]
fn a_woken_machine_says_so() {
    let Board { mut rig, pm, .. } = board(Rig::new());
    pm.lock().wake_up();
    assert_eq!(rig.inw(PM), 0x8100);
}

#[test]
fn the_timer_counts_guest_time() {
    let Board { mut rig, .. } = board(Rig::new());
    assert_eq!(rig.inl(PM + 8), 0);
    rig.advance(ms(1000));
    assert_eq!(rig.inl(PM + 8), 3_579_545);
    rig.save_load();
    rig.advance(ms(4000));
    assert_eq!(rig.inl(PM + 8), (5 * 3_579_545) & 0xff_ffff);
    assert_eq!(rig.inw(PM + 9), ((5u32 * 3_579_545) >> 8) as u16);
}

#[test]
fn the_timer_interrupts_when_its_top_bit_changes() {
    scenario(|rig| {
        let Board { mut rig, .. } = board(take(rig));
        rig.outw(PM + 2, 1);
        // Bit 23 changes first after 2^23 ticks: 2.3434... s.
        let change = (1u64 << 23) * 1_000_000_000 / 3_579_545 + 1;
        rig.advance(change - 1);
        assert!(!rig.irq(SCI));
        rig.advance(1);
        assert!(rig.irq(SCI));
        assert_eq!((rig.inw(PM), rig.inl(PM + 8)), (1, 1 << 23));
        rig.outw(PM, 1);
        assert!(!rig.irq(SCI));
        rig.advance(change);
        assert!(rig.irq(SCI));
        assert_eq!(rig.inl(PM + 8), 0);
        rig.outw(PM + 2, 0);
        assert!(!rig.irq(SCI));
    });
}

#[test]
fn between_the_registers_nobody_answers() {
    let Board { mut rig, .. } = board(Rig::new());
    assert_eq!((rig.inw(PM + 6), rig.inl(PM + 0xc), rig.inb(PM + 0x3f)), (0xffff, !0, 0xff));
    assert_eq!(rig.inl(PM + 4), 0xffff_0001);
}

/// As hvmloader does it, which asserts that SCI_EN comes up. Xen has the events and the timer.
#[test]
fn on_xen_there_is_only_control() {
    devices_core::rig::scenario(|rig| {
        let options = Options { events_elsewhere: true, up_stays: true, ..Options::default() };
        let wiring = rig.wiring();
        let pm = Piix4Pm::new(options, rig.irqs().line(SCI), rig.recorder(), Arc::new(|_| ()), &wiring);
        let pm = rig.attach_pci(pm, &wiring, 1, 3);
        rig.config_write(1, 3, 0x40, Size::B4, 0xb001);
        rig.config_write(1, 3, 0x80, Size::B1, 1);
        assert_eq!(rig.inb(PM + 4) & 1, 0);
        rig.outb(0xb2, 0xf1);
        assert_eq!(rig.inb(PM + 4) & 1, 1);
        rig.outb(0xb2, 0xf0);
        assert_eq!(rig.inb(PM + 4) & 1, 0);
        rig.outl(PM, !0);
        pm.lock().press_power_button();
        pm.lock().wake_up();
        rig.advance(ms(3000));
        assert_eq!((rig.inl(PM), rig.inl(PM + 8), rig.irq(SCI)), (!0, !0, false));
        for (written, asked) in [(0x2001, PowerEvent::PowerOff), (0x2401, PowerEvent::Suspend)] {
            rig.outw(PM + 4, written);
            assert_eq!((rig.take_power(), rig.inw(PM + 4)), (vec![asked], written & !0x2000));
        }
        // Plugging interrupts all the same.
        rig.outw(0xafe2, 0x04);
        pm.lock().plug_cpu(3);
        assert_eq!((rig.irq(SCI), rig.inb(0xaf00)), (true, 8));
        rig.outb(0xafe0, 4);
        assert!(!rig.irq(SCI));
        let placed = pm.lock().placements();
        assert_eq!(placed.iter().map(|p| p.address).collect::<Vec<_>>(), [0xb000, 0xb004, 0xb008, 0xb100]);
    });
}

#[test]
fn events_of_another_machine_are_not_xens() {
    let Board { mut rig, .. } = board(Rig::new());
    rig.outw(PM + 2, 0x101);
    rig.advance(ms(3000));
    assert!(rig.irq(SCI));
    let saved = rig.bus().save().unwrap();
    let mut rig = board_with(Rig::new(), Options { events_elsewhere: true, ..Options::default() }).rig;
    rig.bus().load("piix4-pm", &saved[0].1).unwrap().unwrap();
    rig.bus().remap_all();
    assert_eq!((rig.irq(SCI), rig.inw(PM + 4)), (false, 1));
}

#[test]
fn slots_are_plugged_and_ejected() {
    scenario(|rig| {
        let Board { mut rig, pm, ejected } = board(take(rig));
        pm.lock().set_removable_slots(1 << 5 | 1 << 6);
        rig.outw(0xafe2, 0x02);
        pm.lock().plug_slot(5);
        assert!(rig.irq(SCI));
        assert_eq!((rig.inw(0xafe0), rig.inl(0xae0c)), (2, 0x60));
        // Another bus has nothing, and asking does not clear.
        rig.outl(0xae10, 1);
        assert_eq!(rig.inl(0xae00), 0);
        rig.outl(0xae10, 0);
        assert_eq!((rig.inl(0xae00), rig.inl(0xae00)), (1 << 5, 0));
        rig.outb(0xafe0, 2);
        assert!(!rig.irq(SCI));
        pm.lock().request_unplug_slot(6);
        assert!(rig.irq(SCI));
        assert_eq!(rig.inl(0xae04), 1 << 6);
        rig.outl(0xae08, 1 << 6);
        rig.outl(0xae08, 1 << 3);
        assert_eq!(rig.inl(0xae04), 0);
        // The rig's own reset before a load ejects it too.
        let mut ejected = ejected.lock().unwrap();
        ejected.dedup();
        assert_eq!(*ejected, [6]);
    });
}

#[test]
fn xens_tables_read_plugged_slots_again() {
    let Board { mut rig, pm, .. } = board_with(Rig::new(), Options { up_stays: true, ..Options::default() });
    pm.lock().set_removable_slots(1 << 5);
    pm.lock().plug_slot(5);
    assert_eq!((rig.inl(0xae00), rig.inb(0xae00)), (1 << 5, 1 << 5));
    rig.outl(0xae08, 1 << 5);
    assert_eq!(rig.inl(0xae00), 0);
}

#[test]
fn processors_are_a_bitmap() {
    scenario(|rig| {
        let Board { mut rig, pm, .. } = board(take(rig));
        rig.outw(0xafe2, 0x04);
        pm.lock().set_cpu_present(0);
        assert!(!rig.irq(SCI));
        pm.lock().plug_cpu(9);
        assert!(rig.irq(SCI));
        assert_eq!(rig.inl(0xaf00), 0x0201);
        rig.outb(0xaf00, 0);
        rig.reset();
        assert_eq!((rig.inw(0xaf00), rig.irq(SCI)), (0x0201, false));
    });
}

#[test]
fn nobody_answers_on_the_smbus() {
    scenario(|rig| {
        let Board { mut rig, .. } = board(take(rig));
        rig.outb(0xb104, 0xa1);
        rig.outb(0xb102, 0x48);
        assert_eq!((rig.inb(0xb100), rig.inb(0xb102), rig.inb(0xb104)), (4, 8, 0xa1));
        rig.outb(0xb100, 4);
        assert_eq!(rig.inb(0xb100), 0);
    });
}

#[test]
fn fuzzed() {
    let places = [
        FuzzRange::Config(1, 3),
        FuzzRange::Ports(0xb000, 64),
        FuzzRange::Ports(0xb100, 64),
        FuzzRange::Ports(0xb2, 2),
        FuzzRange::Ports(0xae00, 0x20),
        FuzzRange::Ports(0xafe0, 8),
    ];
    fuzz(
        || board(Rig::new()),
        5,
        &places,
        |Board { rig, pm, .. }, what| match what {
            // The ports come back to where the fuzzer looks for them.
            16..20 => rig.config_write(1, 3, 0x40, Size::B4, u32::from(PM) | 1),
            20..24 => rig.config_write(1, 3, 0x80, Size::B1, 1),
            0..4 => pm.lock().press_power_button(),
            4..8 => pm.lock().plug_slot(what as u8),
            8..12 => pm.lock().plug_cpu(what as u8 * 20),
            12..16 => pm.lock().set_removable_slots(!0),
            _ => {}
        },
    );
}

/// A clock that goes on by a tick of the timer and a little at every look.
struct Hurried(std::sync::atomic::AtomicU64);

impl hypervisor::Clock for Hurried {
    fn now(&self) -> u64 {
        self.0.fetch_add(300, std::sync::atomic::Ordering::Relaxed)
    }
    fn stop(&self) {}
    fn start(&self) {}
    fn set(&self, _now: u64) {}
}

#[test]
fn the_timer_is_read_in_one_instant() {
    let mut rig = Rig::new();
    let wiring = Wiring::new(Arc::new(Hurried(Default::default())), hypervisor::TimerQueue::new());
    let line = rig.irqs().line(SCI);
    let device = Piix4Pm::new(Options::default(), line, rig.recorder(), Arc::new(|_| {}), &wiring);
    rig.attach_pci(device, &wiring, 1, 3);
    rig.config_write(1, 3, 0x40, Size::B4, 0xb001);
    rig.config_write(1, 3, 0x80, Size::B1, 1);
    let mut last = rig.inl(PM + 8);
    for _ in 0..100_000 {
        let now = rig.inl(PM + 8);
        // 100 looks at the clock are more than one access takes.
        assert!((1..100).contains(&(now.wrapping_sub(last) & 0xff_ffff)), "{last:#x}, then {now:#x}");
        last = now;
    }
}

#[test]
fn the_timer_wakes_the_host_once_an_overflow_whatever_is_written() {
    let mut board = board(Rig::new());
    let rig = &mut board.rig;
    let mut random = rig::Random::new(12);
    let mut wakes = 0;
    for _ in 0..10_000 {
        let port = PM + random.below(0x40) as u16;
        // Not to sleep.
        if !(PM + 4..PM + 6).contains(&port) {
            rig.outb(port, random.draw() as u8);
        }
        rig.outw(PM, 1);
        rig.outw(PM + 2, 1);
        wakes += rig.wakes(ms(1));
    }
    // 2^23 ticks of 3.579545 MHz are 2.34 s.
    assert_eq!(wakes, 4, "in ten seconds");
}

#[test]
fn it_tells_where_its_ports_are() {
    let mut rig = Rig::new();
    let base = Arc::<AtomicU16>::default();
    let wiring = rig.wiring();
    let (sci, power, eject): (_, _, Eject) = (rig.irqs().line(SCI), rig.recorder(), Arc::new(|_| {}));
    let pm = Piix4Pm::new(Options::default(), sci, power, eject, &wiring).telling(base.clone());
    rig.attach_pci(pm, &wiring, 1, 3);
    assert_eq!(base.load(Ordering::Relaxed), 0);
    rig.config_write(1, 3, 0x40, Size::B4, 0xb001);
    assert_eq!(base.load(Ordering::Relaxed), 0, "they are nowhere yet");
    rig.config_write(1, 3, 0x80, Size::B1, 1);
    assert_eq!(base.load(Ordering::Relaxed), 0xb000);
}
