//! A card that comes while Linux runs: its network first, then the card, which is found by ACPI and gets an address. It is
//! there after a restore, goes when the guest has let go of it, and its network after it.

use anyhow::{Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};
use serde_json::json;

use super::{APPEND, address, address_of, download_from, noise, run};

fn comes_and_goes(model: &str) -> Result<()> {
    // A confined process with a network of its own from the start may have another one.
    let mut guest = Machine::new()?.card("e1000", "user").kernel("net", APPEND)?.boot()?;
    address(&mut guest)?;
    let network = json!({ "type": "user", "id": "later", "net": "10.0.3.0/24" });
    guest.monitor()?.execute("netdev_add", network)?;
    let card = json!({ "driver": model, "id": "card", "netdev": "later", "mac": "52:54:00:12:34:99" });
    guest.monitor()?.execute("device_add", card)?;
    run(&mut guest, "until [ -e /sys/class/net/eth1 ]; do sleep 0.1; done", seconds(60))?;
    address_of(&mut guest, "eth1", "10.0.3.15")?;
    let data = noise(1 << 20);
    download_from(&mut guest, "10.0.3.2", &data, seconds(120))?;
    let file = guest.folder().join("plugged.saved");
    guest.save(&file)?;
    let mut guest = Guest::restore(&file)?;
    // The prompt was printed before the save.
    download_from(&mut guest, "10.0.3.2", &data, seconds(120))?;
    let said = run(&mut guest, "cat /sys/class/net/eth1/address", seconds(60))?;
    ensure!(said.contains("52:54:00:12:34:99"), "another card");
    guest.monitor()?.execute("device_del", json!({ "id": "card" }))?;
    loop {
        // The path of what was plugged comes with an event of its own, without the id.
        let gone = guest.monitor()?.wait_event("DEVICE_DELETED")?;
        if gone["device"] == "card" {
            break;
        }
    }
    run(&mut guest, "[ ! -e /sys/class/net/eth1 ]", seconds(60))?;
    guest.monitor()?.execute("netdev_del", json!({ "id": "later" }))?;
    download_from(&mut guest, "10.0.2.2", &data, seconds(120))?;
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(60))
}

#[test]
#[ignore = "all: what one plugged device does, another test shows; this one's kernel takes long to unpack"]
fn an_rtl8139_comes_and_goes_while_linux_runs() {
    case("rtl8139 plugged, saved, restored and unplugged", || comes_and_goes("rtl8139"));
}

#[test]
#[ignore = "all: the same way as with rtl8139, by another card"]
fn an_e1000_comes_and_goes_while_linux_runs() {
    case("e1000 plugged, saved, restored and unplugged", || comes_and_goes("e1000"));
}
