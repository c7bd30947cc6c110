//! Linux feeds a watchdog, and hangs.

use anyhow::{Result, ensure};
use guest_tests::{Machine, case, seconds};
use serde_json::json;

/// Debian's kernel with the driver of the 6300ESB, by guest time: busybox feeds it, is stopped in its tracks, and Linux is
/// reset, and says at its next start what happened.
#[test]
#[ignore = "all: two starts of the generic kernel"]
fn a_guest_that_hangs_is_reset_by_its_watchdog() {
    case("generic kernel, its watchdog starves", || -> Result<()> {
        let append = "console=ttyS0,115200 ailurus=shell quiet";
        let mut guest = Machine::new()?.kernel("sound", append)?.device("i6300esb").icount().boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        // The answers on one line, which is not the one that was typed.
        let shown = "cat identity bootstatus state | tr '\\n' ,";
        guest.type_line(&format!("cd /sys/class/watchdog/watchdog0; {shown}"))?;
        guest.wait_for("i6300ESB timer,0,inactive,", seconds(60))?;
        guest.type_line(&format!("watchdog -T 4 -t 1 /dev/watchdog0; sleep 12; {shown}"))?;
        guest.wait_for("i6300ESB timer,0,active,", seconds(120))?;
        guest.type_line("killall -STOP watchdog")?;
        let event = guest.monitor()?.wait_event("WATCHDOG")?;
        ensure!(event["action"] == json!("reset"), "{event}");
        guest.wait_for("AILURUS-USERLAND-OK", seconds(240))?;
        guest.wait_for("ailurus:/root#", seconds(60))?;
        // WDIOF_CARDRESET
        guest.type_line(&format!("cd /sys/class/watchdog/watchdog0; {shown}"))?;
        guest.wait_for("i6300ESB timer,32,inactive,", seconds(60))?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}
