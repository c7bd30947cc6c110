//! Every virtio device comes and goes while Debian's cloud kernel runs.

use std::time::Instant;

use anyhow::{Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};
use serde_json::json;

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";

/// Models that need nothing of the host's, each with the driver that Linux gives its device.
const MODELS: [(&str, &str); 8] = [
    ("virtio-net-pci", "virtio_net"),
    ("virtio-rng-pci", "virtio_rng"),
    ("virtio-balloon-pci", "virtio_balloon"),
    ("virtio-keyboard-pci", "virtio_input"),
    ("virtio-mouse-pci", "virtio_input"),
    ("virtio-tablet-pci", "virtio_input"),
    ("virtio-serial-pci", "virtio_console"),
    ("virtio-scsi-pci", "virtio_scsi"),
];

/// The guest asks itself until it is so, and answers with what was not typed.
fn wait(guest: &mut Guest, until: &str, answer: &str) -> Result<()> {
    guest.type_line(&format!("until {until}; do sleep 0.1; done; echo it-is-$((40+2))-{answer}"))?;
    guest.wait_for(&format!("it-is-42-{answer}"), seconds(60)).map(drop)
}

fn come_and_go(guest: &mut Guest, model: &str, driver: &str, properties: serde_json::Value) -> Result<()> {
    let mut device = json!({ "driver": model, "id": "d", "addr": "0x9" });
    if let (Some(device), Some(more)) = (device.as_object_mut(), properties.as_object()) {
        device.extend(more.clone());
    }
    guest.monitor()?.execute("device_add", device)?;
    let bound = "/sys/bus/pci/devices/0000:00:09.0/virtio*/driver";
    wait(guest, &format!("test \"$(basename $(readlink -f {bound}) 2>/dev/null)\" = {driver}"), "bound")?;
    guest.monitor()?.execute("device_del", json!({ "id": "d" }))?;
    wait(guest, "! test -e /sys/bus/pci/devices/0000:00:09.0", "gone")?;
    // Linux ejects the slot after it has taken the device out of its tree.
    let end = Instant::now() + seconds(30);
    while guest.monitor()?.execute("query-pci", json!({}))?.to_string().contains("\"qdev_id\":\"d\"") {
        ensure!(Instant::now() < end, "{model}: the slot was not ejected");
    }
    Ok(())
}

#[test]
#[ignore = "all: every device with two layouts of its queues"]
fn every_virtio_device_comes_and_goes() {
    case("virtio devices plugged and unplugged, split and packed", || {
        let mut guest = Machine::new()?.kernel("virtio", APPEND)?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        for (model, driver) in MODELS {
            for properties in [json!({}), json!({ "packed": true, "disable-legacy": "on" })] {
                come_and_go(&mut guest, model, driver, properties)?;
            }
        }
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}
