//! Run states.

use super::*;

#[test]
fn status_follows_stop_and_cont() {
    let mut bench = Bench::default();
    bench.run("stop", json!({})).unwrap();
    assert_eq!(bench.run("query-status", json!({})).unwrap()["status"], "paused");
    bench.run("cont", json!({})).unwrap();
    assert_eq!(bench.run("query-status", json!({})).unwrap()["running"], true);
}

#[test]
fn commands_are_let_through_in_their_run_states_only() {
    let abs = json!({ "events": [] });
    let file = json!({ "filename": "/dev/null" });
    let wakeup = "Unable to wake up: guest is not in suspended state";
    let reset = "Resetting the Virtual Machine is required";
    let asleep = "a guest that sleeps (ACPI S3) cannot be saved";
    use RunState::{
        GuestPanicked, IoError, Paused, Prelaunch, Running, SaveVm, Shutdown, Suspended, Watchdog,
    };
    for (name, arguments, refused_in, words) in [
        ("query-status", json!({}), &[][..], ""),
        (
            "input-send-event",
            abs,
            &[Prelaunch, Paused, Suspended, Shutdown, GuestPanicked, IoError, Watchdog, SaveVm],
            "VM not running",
        ),
        (
            "system_wakeup",
            json!({}),
            &[Prelaunch, Running, Paused, Shutdown, GuestPanicked, IoError, Watchdog, SaveVm],
            wakeup,
        ),
        ("cont", json!({}), &[Suspended, Shutdown, GuestPanicked], reset),
        ("save", file.clone(), &[Suspended], asleep),
        ("xen-save-devices-state", file, &[Running], "the guest runs: stop it first"),
    ] {
        for state in RunState::ALL {
            let mut bench = Bench::default();
            bench.guest.state = state;
            let refused = bench.run(name, arguments.clone()).err().map(|error| error.desc);
            let refused = refused.filter(|why| !why.ends_with("not available on this machine"));
            let expected = refused_in.contains(&state).then_some(words);
            assert_eq!(refused.as_deref(), expected, "{name} in {state:?}");
        }
    }
}

/// Those that would change a guest while it is saved, as a client or a person writes them.
#[test]
fn a_guest_that_is_being_saved_is_left_alone() {
    let mut bench = Bench::default();
    bench.guest.work = Some("saved");
    let words = "the guest is being saved: wait for the end of that";
    for (name, arguments) in [
        ("cont", json!({})),
        ("system_reset", json!({})),
        ("save", json!({ "filename": "x" })),
        ("eject", json!({ "id": "ide-5632" })),
        ("blockdev-change-medium", json!({ "id": "ide-5632", "filename": "/x" })),
        ("device_add", json!({ "driver": "e1000" })),
        ("device_del", json!({ "id": "x" })),
        ("netdev_add", json!({ "type": "user", "id": "n" })),
        ("set_link", json!({ "name": "nic0", "up": true })),
    ] {
        assert_eq!(bench.run(name, arguments).unwrap_err().desc, words, "{name}");
    }
    for line in ["eject ide-5632", "change ide-5632 /x", "netdev_add user,id=n", "set_link nic0 off", "c"] {
        assert_eq!(bench.human(line), format!("Error: {words}\r\n"), "{line}");
    }
    assert_eq!(bench.run("query-status", json!({})).unwrap()["status"], "running");
    bench.run("system_powerdown", json!({})).unwrap();
    assert_eq!(bench.guest.log, ["powerdown"]);
}
