//! A recording of a guest with a card: what came over the cable is fed to the card again, with no network.

use anyhow::{Result, ensure};
use guest_tests::{Machine, case, seconds};

use super::{APPEND, address, download, noise, upload};

fn replays(model: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("recording");
    let machine = Machine::new()?.card(model, "user").kernel("net", APPEND)?.record(&file);
    let mut guest = machine.boot()?;
    address(&mut guest)?;
    download(&mut guest, &noise(4 << 20), seconds(120))?;
    upload(&mut guest, 1)?;
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(60))?;
    let output = machine.program.command().arg("replay").arg(&file).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(0), "{}:\n{said}{errors}", output.status);
    println!("  {}; {} bytes", said.trim_end(), file.metadata()?.len());
    Ok(())
}

#[test]
#[ignore = "all: other recordings are replayed by other tests; this one's kernel takes long to unpack"]
fn downloads_by_e1000_replay() {
    case("e1000 on user networking, recorded and replayed", || replays("e1000"));
}

#[test]
#[ignore = "all: the same way as with e1000, by another card"]
fn downloads_by_rtl8139_replay() {
    case("rtl8139 on user networking, recorded and replayed", || replays("rtl8139"));
}
