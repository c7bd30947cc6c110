use std::sync::Arc;

use proptest::prelude::*;

use super::command::{BLOCK_MOST, Reply, Session};
use super::{Access, Bare};
use crate::config::{GuestConfig, SerialConfig};

fn machine() -> (Session, Bare) {
    let config = GuestConfig {
        memory_mib: 64,
        rtc_base: Some(1_767_225_600),
        serial: vec![SerialConfig::Null],
        ..GuestConfig::default()
    };
    let mut bare = Bare::new(config, None).unwrap();
    let still = bare.access().still().clone();
    let machine = bare.machine();
    let session = Session::new(Access::new(still, machine.bus()), machine.isa(), Arc::clone(bare.taps()));
    (session, bare)
}

fn say(session: &mut Session, line: &str) -> String {
    match session.execute(line) {
        Reply::Line(text) => text,
        Reply::Later => panic!("{line} takes long"),
    }
}

#[test]
fn ports_and_memory_are_accessed_in_every_width() {
    let (mut session, _bare) = machine();
    let mut on = |line: &str| say(&mut session, line);
    assert_eq!(on("outl 0xcf8 0x80000000"), "OK");
    assert_eq!(on("inl 0xcfc"), "OK 0x12378086");
    assert_eq!(on("inw 3326"), "OK 0x1237");
    assert_eq!(on("outb 0x70 017"), "OK");
    assert_eq!(on("writeq 0x1000 0x1122334455667788"), "OK");
    assert_eq!(on("readb 0x1007"), "OK 0x0000000000000011");
    assert_eq!(on("readw 0x1000"), "OK 0x0000000000007788");
    assert_eq!(on("readl 4096"), "OK 0x0000000055667788");
    assert_eq!(on("read 0x1000 4"), "OK 0x88776655");
    assert_eq!(on("write 0x2000 4 0x0102"), "OK");
    assert_eq!(on("b64read 0x2000 4"), "OK AQIAAA==");
    assert_eq!(on("b64write 0x2000 3 /+7d"), "OK");
    assert_eq!(on("read 0x2000 4"), "OK 0xffeedd00");
    assert_eq!(on("memset 0x2000 3 0x5a"), "OK");
    assert_eq!(on("read 0x1fff 5"), "OK 0x005a5a5a00");
    assert_eq!(on("readl 0xfed00000"), "OK 0x000000008086a201", "the HPET's identity");
    assert_eq!(on("readl 0xf0000000"), "OK 0x00000000ffffffff", "nobody is there");
    assert_eq!(on("endianness"), "OK little");
}

#[test]
fn a_test_finds_the_size_of_ram_in_fw_cfg() {
    let (mut session, _bare) = machine();
    say(&mut session, "outw 0x510 3");
    let bytes: Vec<u64> = (0..8)
        .map(|_| u64::from_str_radix(say(&mut session, "inb 0x511").trim_start_matches("OK 0x"), 16).unwrap())
        .collect();
    let size = bytes.iter().rev().fold(0, |size, byte| size << 8 | byte);
    assert_eq!(size, 64 << 20);
}

/// A machine with something changed in its configuration.
fn changed(change: impl FnOnce(&mut GuestConfig)) -> (Session, Bare) {
    let mut config =
        GuestConfig { memory_mib: 64, serial: vec![SerialConfig::Null], ..GuestConfig::default() };
    change(&mut config);
    let mut bare = Bare::new(config, None).unwrap();
    let still = bare.access().still().clone();
    let machine = bare.machine();
    let session = Session::new(Access::new(still, machine.bus()), machine.isa(), Arc::clone(bare.taps()));
    (session, bare)
}

#[test]
fn a_machine_may_be_without_acpi_and_hpet() {
    let there = |session: &mut Session| {
        assert_eq!(say(session, "outl 0xcf8 0x80000b00"), "OK");
        (say(session, "inl 0xcfc"), say(session, "readl 0xfed00000"))
    };
    let (mut session, _bare) = changed(|_| ());
    let both = ("OK 0x71138086".to_owned(), "OK 0x000000008086a201".to_owned());
    assert_eq!(there(&mut session), both);
    let (mut session, bare) = changed(|config| {
        config.features.acpi = false;
        config.features.hpet = false;
    });
    assert_eq!(there(&mut session), ("OK 0xffffffff".to_owned(), "OK 0x00000000ffffffff".to_owned()));
    bare.machine().press_power_button();
}

#[test]
fn the_first_boot_may_have_an_order_of_its_own() {
    let order = |session: &mut Session| {
        let mut byte = |at: &str| {
            say(session, &format!("outb 0x70 {at}"));
            say(session, "inb 0x71")
        };
        (byte("0x3d"), byte("0x38"))
    };
    let (mut session, mut bare) = changed(|config| {
        config.boot = "cad".into();
        config.boot_options.once = Some("nc".into());
        config.features.floppy_check = false;
    });
    assert_eq!(order(&mut session), ("OK 0x0024".into(), "OK 0x0001".into()));
    say(&mut session, "outb 0xcf9 6");
    bare.settle();
    assert_eq!(order(&mut session), ("OK 0x0012".into(), "OK 0x0031".into()), "the usual one after a reset");
}

#[test]
fn time_moves_when_it_is_told_and_wires_are_reported() {
    let (mut session, _bare) = machine();
    assert_eq!(say(&mut session, "clock_step 1000"), "OK 1000");
    assert_eq!(say(&mut session, "clock_set 500"), "OK 1000", "it never goes back");
    assert_eq!(say(&mut session, "clock_set 0x1000"), "OK 4096");
    assert_eq!(say(&mut session, "irq_intercept_in ioapic"), "OK");
    // Counter 0, mode 0, 1000 ticks of 1.193182 MHz: the output rises when it has run down.
    for line in ["outb 0x43 0x30", "outb 0x40 0xe8", "outb 0x40 0x03"] {
        assert_eq!(say(&mut session, line), "OK");
    }
    session.changes();
    assert_eq!(say(&mut session, "clock_step 800000"), "OK 804096");
    assert_eq!(session.changes(), "");
    assert_eq!(say(&mut session, "clock_step 100000"), "OK 904096");
    assert_eq!(session.changes(), "IRQ raise 0\n");
    assert_eq!(say(&mut session, "set_irq_in /machine/unattached/ioapic unnamed-gpio-in 20 1"), "OK");
    assert_eq!(say(&mut session, "set_irq_in ioapic unnamed-gpio-in 20 0"), "OK");
    assert_eq!(session.changes(), "IRQ raise 20\nIRQ lower 20\n");
    session.forget();
    say(&mut session, "outb 0x43 0x30");
    assert_eq!(session.changes(), "", "nobody asked");
}

#[test]
fn a_step_without_end_lets_others_in_between() {
    let (mut session, _bare) = machine();
    // Counter 0, mode 2, two ticks: more than half a million interrupts a second.
    for line in ["irq_intercept_in ioapic", "outb 0x43 0x14", "outb 0x40 0x02"] {
        say(&mut session, line);
    }
    assert_eq!(session.execute("clock_step 0x7fffffffffffffff"), Reply::Later);
    assert!(session.is_stepping());
    assert!(session.go_on().is_none());
    assert!(session.changes().len() < 2 << 20);
    session.forget();
    assert!(!session.is_stepping());
}

#[test]
fn nonsense_is_answered_fail() {
    let (mut session, _bare) = machine();
    let too_long = format!("read 0 {}", BLOCK_MOST + 1);
    let lines = [
        "",
        " ",
        "nonsense",
        "b",
        "ünb 0x70",
        "inb",
        "inb 0x10000",
        "inb x",
        "inq 0x70",
        "outb 0x70",
        "outb 0x70 --1",
        "outb 0x70 +-1",
        "write 0 4 0102",
        "write 0 4 0x0g",
        "b64write 0 4 ****",
        "b64read 0 0",
        "memset 0 0 0",
        "clock_step x",
        "irq_intercept_in",
        "irq_intercept_in pit",
        "irq_intercept_out ioapic",
        "set_irq_in ioapic unnamed-gpio-in 24 1",
        "module_load hw- usb",
        "read 99999999999999999999 1",
        &too_long,
    ];
    for line in lines {
        let reply = say(&mut session, line);
        assert!(reply.starts_with("FAIL "), "{line}: {reply}");
        assert!(!reply.contains('\n'), "{line}");
    }
    assert_eq!(say(&mut session, "inw"), "FAIL inw: not so many words");
    assert_eq!(say(&mut session, "flub 1"), "FAIL Unknown command 'flub'");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_line_breaks_the_machine(lines in proptest::collection::vec(
        "(in|out|read|write|b64read|memset|clock_set|set_irq_in ioapic a)[bwlq]?( (0x)?[0-9a-f]{0,8}){0,4}", 1..60,
    )) {
        let (mut session, mut bare) = machine();
        for line in &lines {
            let _ = session.execute(line);
            let _ = session.go_on();
            bare.settle();
        }
        session.forget();
        prop_assert_eq!(say(&mut session, "endianness"), "OK little");
    }
}
