//! Debian's kernels with keyboards, mice and tablets by virtio and by USB: what evdev gives.

use anyhow::{Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};
use serde_json::{Value, json};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";

/// Has the guest show the next `count` events of the device of that name, without their time, once it listens.
fn listen(guest: &mut Guest, name: &str, count: u32) -> Result<()> {
    let find = format!("N=$(grep -l '{name}' /sys/class/input/event*/device/name)");
    guest
        .type_line(&format!("{find}; N=/dev/input/$(basename ${{N%/device/name}}); echo is-at-$((40+2))"))?;
    guest.wait_for("is-at-42", seconds(60))?;
    // An event has 24 bytes, of which 16 are its time.
    let show = "while read a b c d e f g h i j k l m n o p rest; do echo \"event <$rest>\"; done";
    let read =
        format!("(dd if=$N bs=24 count={count} 2>/dev/null; sleep 1) | od -An -v -tx1 -w24 | {show} &");
    guest.type_line(&format!("{read} sleep 1; echo listens-$((40+2))"))?;
    guest.wait_for("listens-42", seconds(60)).map(drop)
}

fn event(kind: u16, code: u16, value: i32) -> String {
    let bytes = [&kind.to_le_bytes()[..], &code.to_le_bytes(), &value.to_le_bytes()].concat();
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("event <{}>", hex.join(" "))
}

fn comes(guest: &mut Guest, events: &[(u16, u16, i32)]) -> Result<()> {
    events
        .iter()
        .try_for_each(|&(kind, code, value)| guest.wait_for(&event(kind, code, value), seconds(30)).map(drop))
}

fn send(guest: &mut Guest, events: Value) -> Result<()> {
    guest.monitor()?.execute("input-send-event", json!({ "events": events })).map(drop)
}

#[test]
fn keys_and_pointers_come_by_virtio() {
    case("virtio keyboard, mouse and tablet: what evdev gives", || {
        let machine = Machine::new()?.device("virtio-keyboard-pci").device("virtio-mouse-pci");
        let machine = machine.device("virtio-tablet-pci").kernel("virtio", APPEND)?;
        let mut guest = machine.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;

        listen(&mut guest, "QEMU Virtio Keyboard", 4)?;
        let keys = json!([{ "type": "qcode", "data": "kp_5" }]);
        guest.monitor()?.execute("send-key", json!({ "keys": keys }))?;
        comes(&mut guest, &[(1, 76, 1), (0, 0, 0), (1, 76, 0), (0, 0, 0)])?;

        listen(&mut guest, "QEMU Virtio Tablet", 4)?;
        let axis = |kind: &str, axis: &str, value: i32| json!({ "type": kind, "data": { "axis": axis, "value": value } });
        let button = json!({ "type": "btn", "data": { "button": "left", "down": true } });
        send(&mut guest, json!([axis("abs", "x", 0x1234), axis("abs", "y", 0x4321), button]))?;
        comes(&mut guest, &[(3, 0, 0x1234), (3, 1, 0x4321), (1, 0x110, 1), (0, 0, 0)])?;

        listen(&mut guest, "QEMU Virtio Mouse", 3)?;
        send(&mut guest, json!([axis("rel", "x", 5), axis("rel", "y", -6)]))?;
        comes(&mut guest, &[(2, 0, 5), (2, 1, -6), (0, 0, 0)])?;

        let mice = guest.monitor()?.execute("query-mice", json!({}))?;
        let names: Vec<&str> =
            mice.as_array().into_iter().flatten().filter_map(|mouse| mouse["name"].as_str()).collect();
        ensure!(names == ["QEMU Virtio Tablet", "QEMU Virtio Mouse", "QEMU PS/2 Mouse"], "{mice}");
        ensure!(mice[0]["current"] == json!(true) && mice[0]["absolute"] == json!(true), "{mice}");
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}

/// What is typed and pointed at comes to the USB devices.
fn keys_and_places(guest: &mut Guest, x: i32) -> Result<()> {
    // Linux finds what hangs on USB by and by.
    for name in ["USB Keyboard", "USB Tablet"] {
        let there = format!("grep -q '{name}' /sys/class/input/event*/device/name");
        guest.type_line(&format!("until {there}; do sleep 0.1; done; echo there-$((40+2))"))?;
        guest.wait_for("there-42", seconds(60))?;
    }
    listen(guest, "QEMU QEMU USB Keyboard", 6)?;
    let keys = json!([{ "type": "qcode", "data": "kp_5" }]);
    guest.monitor()?.execute("send-key", json!({ "keys": keys }))?;
    // With the usage of the key before each.
    comes(guest, &[(4, 4, 0x7_005d), (1, 76, 1), (0, 0, 0), (4, 4, 0x7_005d), (1, 76, 0), (0, 0, 0)])?;
    // A button is told with its usage, too.
    listen(guest, "QEMU QEMU USB Tablet", 5)?;
    let axis = |axis: &str, value: i32| json!({ "type": "abs", "data": { "axis": axis, "value": value } });
    let button = json!({ "type": "btn", "data": { "button": "left", "down": x % 2 == 0 } });
    send(guest, json!([axis("x", x), axis("y", x + 1), button]))?;
    comes(guest, &[(1, 0x110, i32::from(x % 2 == 0)), (3, 0, x), (3, 1, x + 1), (0, 0, 0)])
}

#[test]
fn keys_and_pointers_come_by_usb() {
    case("USB keyboard and tablet: what evdev gives, saved, unplugged and plugged", || by_usb(&[], ["", ""]));
}

#[test]
fn keys_and_pointers_come_by_xhci() {
    case("the same on xHCI", || by_usb(&["qemu-xhci,id=u"], ["", ""]));
}

#[test]
fn keys_and_pointers_come_by_ehci() {
    case("the same on EHCI", || by_usb(&["usb-ehci,id=u"], ["", ""]));
}

#[test]
#[ignore = "all: another controller"]
fn keys_and_pointers_come_by_ohci_behind_hubs() {
    case("the same on OHCI, behind two hubs", || {
        let devices = ["pci-ohci,id=u", "usb-hub,id=h,bus=u.0,port=2", "usb-hub,id=i,bus=u.0,port=2.8"];
        by_usb(&devices, [",bus=u.0,port=2.1", ",bus=u.0,port=2.8.3"])
    });
}

/// With a controller, and what is between it and the tablet and the keyboard, which are `at` those places.
fn by_usb(controller: &[&str], at: [&str; 2]) -> Result<()> {
    let machine = controller.iter().fold(Machine::new()?, |machine, words| machine.device(*words));
    let machine =
        machine.device(format!("usb-tablet,id=t{}", at[0])).device(format!("usb-kbd,id=k{}", at[1]));
    let mut guest = machine.kernel("usb", APPEND)?.boot()?;
    guest.wait_for("ailurus:/root#", seconds(240))?;
    keys_and_places(&mut guest, 0x1234)?;

    let folder = guest_tests::place::temporary()?;
    let file = folder.path().join("saved");
    guest.save(&file)?;
    let mut guest = Guest::restore(&file)?;
    keys_and_places(&mut guest, 0x4321)?;

    guest.monitor()?.execute("device_del", json!({ "id": "t" }))?;
    let there = "grep -q Tablet /sys/class/input/event*/device/name";
    guest.type_line(&format!("while {there}; do sleep 0.1; done; echo gone-$((40+2))"))?;
    guest.wait_for("gone-42", seconds(60))?;
    guest.monitor()?.execute("device_add", json!({ "driver": "usb-tablet", "id": "n" }))?;
    guest.type_line(&format!("until {there}; do sleep 0.1; done; echo back-$((40+2))"))?;
    guest.wait_for("back-42", seconds(60))?;
    keys_and_places(&mut guest, 0x2222)?;
    let mice = guest.monitor()?.execute("query-mice", json!({}))?;
    ensure!(mice[0]["name"] == json!("QEMU HID Tablet") && mice[0]["current"] == json!(true), "{mice}");
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(60))
}
