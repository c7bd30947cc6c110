//! The handshake.

use std::sync::atomic::Ordering;

use super::super::spec::{X86_64, op, status};
use super::super::*;
use super::fake::{FIRST, OURS, Setup, THEIRS, config};

const DATA: u32 = FIRST + 100;

#[test]
fn the_offer_has_the_keys_that_frontends_look_for() {
    let setup = Setup::new(Config { cdrom: true, read_only: true, ..config() });
    let ours = |key: &str| setup.store.get(&format!("{OURS}/{key}"));
    let expected = [
        ("feature-flush-cache", "1"),
        ("max-ring-page-order", "4"),
        ("multi-queue-max-queues", "4"),
        ("feature-max-indirect-segments", "256"),
        ("feature-persistent", "1"),
        ("info", "5"),
        ("sector-size", "512"),
        ("sectors", "2048"),
        ("frontend", THEIRS),
        ("frontend-id", "8"),
        ("hotplug-status", "connected"),
        ("online", "1"),
        ("state", "2"),
    ];
    for (key, value) in expected {
        assert_eq!(ours(key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(ours("feature-discard"), None, "it takes no writes");
    assert_eq!(setup.store.get(&format!("{THEIRS}/virtual-device")).as_deref(), Some("51712"));
    assert_eq!(setup.store.get(&format!("{THEIRS}/device-type")).as_deref(), Some("cdrom"));
    // The state comes last: all is there when the frontend looks.
    assert_eq!(setup.store.written.lock().unwrap().last().unwrap().0, format!("{OURS}/state"));
    assert_eq!(setup.store.watches.lock().unwrap().len(), 3);
    let setup = Setup::new(config());
    let ours = |key: &str| setup.store.get(&format!("{OURS}/{key}"));
    let discard = ["feature-discard", "discard-granularity", "discard-alignment", "info"];
    assert_eq!(discard.map(|key| ours(key).unwrap()), ["1", "512", "0", "0"]);
}

#[test]
fn a_frontend_connects_closes_and_comes_back() {
    let mut setup = Setup::new(config());
    assert_eq!((setup.disk.changed(), setup.state().as_str()), (Life::Waits, "2"));
    for round in 0..3 {
        let mut front = setup.connect();
        front.put(&front.transfer(op::READ, round, 0, &[(DATA, 0, 0)]));
        setup.run();
        assert_eq!(front.responses(), [(round, op::READ, status::OKAY)]);
        setup.front(4);
        assert_eq!(setup.state(), "4");
        setup.front(5);
        assert_eq!(setup.state(), "5");
        setup.front(6);
        assert_eq!(setup.state(), "6");
        assert_eq!(setup.guest.mapped.load(Ordering::SeqCst), 0);
        setup.front(1);
        assert_eq!(setup.state(), "2");
    }
}

#[test]
fn a_frontend_that_crashed_begins_anew() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    front.put(&front.transfer(op::READ, 1, 0, &[(DATA, 0, 0)]));
    setup.disk.work();
    // What it asked for is still on its way.
    assert_eq!(setup.front(1), Life::Waits);
    assert_eq!(setup.state(), "4");
    setup.set_theirs("state", 3);
    setup.set_theirs("ring-ref", FIRST);
    setup.medium.run(1);
    setup.disk.work();
    assert_eq!(setup.state(), "2");
    assert_eq!(setup.guest.bytes(DATA, 0, 512), [0; 512], "nobody gets the old answer");
    let mut front = setup.ring(X86_64, FIRST, 0);
    assert_eq!((setup.disk.changed(), setup.state().as_str()), (Life::Busy, "4"));
    front.put(&front.transfer(op::READ, 2, 0, &[(DATA, 0, 0)]));
    setup.run();
    assert_eq!(front.responses(), [(2, op::READ, status::OKAY)]);
}

#[test]
fn a_disk_is_closed_when_its_last_write_is_done() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    setup.guest.fill(DATA, 9);
    front.put(&front.transfer(op::WRITE, 1, 0, &[(DATA, 0, 0)]));
    setup.disk.work();
    setup.front(5);
    setup.front(6);
    assert_eq!((setup.state().as_str(), setup.disk.idle()), ("5", false));
    setup.medium.run(1);
    setup.disk.work();
    assert_eq!((setup.state().as_str(), setup.disk.idle()), ("6", true));
    assert_eq!(setup.medium.store.contents()[..512], [9; 512]);
}

#[test]
fn the_toolstack_takes_a_disk_away() {
    let mut setup = Setup::new(config());
    setup.connect();
    setup.store.set(format!("{OURS}/online"), 0);
    setup.store.set(format!("{OURS}/state"), 5);
    assert_eq!(setup.disk.changed(), Life::Waits, "the frontend has its say");
    assert_eq!(setup.front(5), Life::Waits);
    assert_eq!(setup.front(6), Life::Gone);
    assert_eq!(setup.state(), "6", "whoever takes it away finds the state, and removes the nodes himself");
    let Setup { store, disk, .. } = setup;
    drop(disk);
    assert!(store.watches.lock().unwrap().is_empty());
}

#[test]
fn a_disk_that_nobody_uses_is_taken_away_at_once() {
    let mut setup = Setup::new(config());
    setup.store.set(format!("{OURS}/online"), 0);
    setup.store.set(format!("{OURS}/state"), 5);
    assert_eq!(setup.disk.changed(), Life::Gone);
    assert_eq!(setup.state(), "6");
}

#[test]
fn a_disk_that_was_closed_says_so_again_when_it_is_taken_away() {
    let mut setup = Setup::new(config());
    setup.connect();
    setup.front(5);
    setup.front(6);
    assert_eq!(setup.state(), "6");
    setup.store.set(format!("{OURS}/online"), 0);
    setup.store.set(format!("{OURS}/state"), 5);
    assert_eq!(setup.disk.changed(), Life::Gone);
    assert_eq!(setup.state(), "6", "libxl waits for this value and takes anything else for a failure");
}

#[test]
fn the_domain_is_destroyed() {
    let mut setup = Setup::new(config());
    setup.connect();
    setup.store.nodes.lock().unwrap().clear();
    assert_eq!(setup.disk.changed(), Life::Gone);
    assert_eq!(setup.guest.mapped.load(Ordering::SeqCst), 0);
}

#[test]
fn nonsense_does_not_connect() {
    let cases: [&[(&str, &str)]; 10] = [
        &[("ring-ref", "")],
        &[("ring-ref", "-1")],
        &[("ring-ref", "4294967295")],
        &[("event-channel", "0")],
        &[("protocol", "arm-abi")],
        &[("ring-page-order", "5")],
        &[("ring-page-order", "1"), ("ring-ref0", "8")],
        &[("multi-queue-num-queues", "0")],
        &[("multi-queue-num-queues", "5")],
        &[("multi-queue-num-queues", "2"), ("queue-0/ring-ref", "8"), ("queue-0/event-channel", "1")],
    ];
    for case in cases {
        let mut setup = Setup::new(config());
        setup.set_theirs("ring-ref", FIRST);
        setup.set_theirs("event-channel", 5);
        case.iter().for_each(|(key, value)| setup.set_theirs(key, value));
        setup.front(3);
        assert_eq!(setup.state(), "5", "{case:?}");
        assert_eq!(setup.guest.mapped.load(Ordering::SeqCst), 0);
        // It gives up, and may try again.
        setup.front(6);
        setup.front(1);
        assert_eq!(setup.state(), "2");
    }
}

#[test]
fn a_medium_that_somebody_has_is_refused_until_it_is_free() {
    let mut setup = Setup::new(config());
    setup.taken.store(true, Ordering::SeqCst);
    setup.set_theirs("ring-ref", FIRST);
    setup.set_theirs("event-channel", 5);
    assert_eq!((setup.front(3), setup.state().as_str()), (Life::Waits, "5"));
    assert_eq!(setup.guest.mapped.load(Ordering::SeqCst), 0);
    setup.front(6);
    setup.taken.store(false, Ordering::SeqCst);
    setup.front(1);
    let mut front = setup.connect();
    front.put(&front.transfer(op::READ, 1, 0, &[(DATA, 0, 0)]));
    setup.run();
    assert_eq!(front.responses(), [(1, op::READ, status::OKAY)]);
}

#[test]
fn a_frontend_that_was_there_first_is_connected() {
    let mut setup = Setup::new(config());
    setup.set_theirs("ring-ref", FIRST);
    setup.set_theirs("event-channel", 5);
    setup.set_theirs("state", 3);
    let mut front = setup.ring(X86_64, FIRST, 0);
    front.put(&front.transfer(op::READ, 1, 0, &[(DATA, 0, 0)]));
    assert_eq!(setup.disk.changed(), Life::Busy, "what it put before is looked at");
    setup.run();
    assert_eq!(front.responses().len(), 1);
}

#[test]
fn a_new_size_is_announced() {
    let mut setup = Setup::new(config());
    setup.connect();
    setup.store.written.lock().unwrap().clear();
    setup.disk.resized().unwrap();
    let expected = [("sectors", "2048"), ("state", "4")].map(|(k, v)| (format!("{OURS}/{k}"), v.to_owned()));
    assert_eq!(*setup.store.written.lock().unwrap(), expected);
}
