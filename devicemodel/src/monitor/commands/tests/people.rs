//! The monitor for people.

use super::*;

#[test]
fn people_quote_paths_and_write_numbers_in_every_form() {
    let mut bench = Bench::default();
    assert_eq!(bench.human("change ide1-cd0 \"/a b/\\\"c\\\".iso\" raw"), "");
    assert_eq!(bench.human("change ide1-cd0 -f /d.iso"), "");
    let log = &bench.guest.log;
    assert!(log.contains(&"insert ide1-cd0 raw /a b/\"c\".iso".to_owned()), "{log:?}");
    assert!(log.contains(&"insert ide1-cd0  /d.iso by force".to_owned()), "{log:?}");
    assert_eq!(bench.human("change ide1-cd0 \"/d"), "Error: unterminated string\r\n");
    assert_eq!(bench.human("mouse_move 0x10 -010"), "");
    assert_eq!(bench.human("mouse_button 1|4"), "");
    assert!(bench.human("mouse_button 0x100000000").starts_with("Error: "));
    assert_eq!(bench.human("set_link net0 maybe"), "Error: Expected 'on' or 'off'\r\n");
}

#[test]
fn people_have_their_monitor_too() {
    let mut bench = Bench::default();
    assert_eq!(bench.human("info status"), "VM status: running\r\n");
    assert_eq!(bench.human("stop"), "");
    assert_eq!(bench.human("info status"), "VM status: paused (paused)\r\n");
    assert_eq!(bench.human("info inspect a/b"), "tree a/b\r\n");
    assert!(bench.human("info pci").contains("8086:7010"));
    assert!(bench.human("info chardev").contains("serial0: filename=pty:/dev/pts/3"));
    assert!(bench.human("info block").contains("ide0-hd0 (#block100): /srv/hello.img (raw)"));
    assert!(
        bench.human("info qom-tree").contains("\r\n    /ioapic (ioapic)\r\n"),
        "{}",
        bench.human("info qom-tree")
    );
    assert_eq!(bench.human("info usb"), "Error: USB support not enabled\r\n");
    assert_eq!(bench.human("info balloon"), "Error: No balloon device has been activated\r\n");
    assert_eq!(bench.human("info memory_size_summary"), "base memory: 67108864\r\nplugged memory: 0\r\n");
    assert_eq!(bench.human("info uuid"), "00000000-0000-0000-0000-000000000000\r\n");
    assert_eq!(bench.human("qom-get ioapic version"), "32\r\n");
    for topic in bench.human("info").lines() {
        let topic = topic.split("  --").next().unwrap().split(" [").next().unwrap();
        assert!(!bench.human(topic).contains("unknown"), "{topic}");
    }
    assert!(bench.human("info vnc").contains("127.0.0.1:5901"));
    assert!(bench.human("info cpus").contains("CPU #0"));
    assert_eq!(bench.human("eject x"), "Error: Device 'x' not found\r\n");
    assert_eq!(bench.human("dance"), "unknown command: 'dance'\r\n");
    assert_eq!(bench.human(""), "");
    assert!(bench.human("help").contains("info pci"));
    bench.human("sendkey ctrl-alt-delete");
    bench.human("sendkey a 5");
    bench.human("sendkey 0x1e 7");
    bench.human("sendkey ctrl-0xb8-<");
    bench.human("screendump /tmp/a.ppm");
    bench.human("screendump /tmp/a.png -f png");
    bench.human("screendump -f ppm /tmp/b.ppm");
    bench.human("screendump /tmp/c.ppm gpu0 1");
    for (line, answer) in [
        ("sendkey ctrl-nokey", "invalid parameter: nokey\r\n"),
        ("sendkey 0xff", "invalid parameter: 0xff\r\n"),
        ("sendkey a soon", "Error: 'soon' is not a number\r\n"),
        ("sendkey", "Error: sendkey: expected KEY[-KEY...] [MILLISECONDS]\r\n"),
        ("screendump /tmp/a -f gif", "Error: screendump: the format is ppm or png, not gif\r\n"),
        ("screendump /tmp/a vga0", "Error: Device 'vga0' not found\r\n"),
        ("screendump", "Error: screendump: expected FILE [-f FORMAT]\r\n"),
    ] {
        assert_eq!(bench.human(line), answer, "{line}");
    }
    bench.human("mouse_move 1 2");
    bench.human("change ide-5632 /srv/b.iso qcow2");
    assert_eq!(
        bench.guest.log,
        [
            "keys ctrl+alt+delete 100",
            "keys a 5",
            "keys a 7",
            "keys ctrl+alt_r+less 100",
            "screen /tmp/a.ppm Ppm",
            "screen /tmp/a.png Png",
            "screen /tmp/b.ppm Ppm",
            "screen /tmp/c.ppm Ppm gpu0.1",
            "Move { dx: 1, dy: 2 }",
            "insert ide-5632 qcow2 /srv/b.iso"
        ]
    );
}
