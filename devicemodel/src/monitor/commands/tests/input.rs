//! Keyboard and mouse.

use super::*;

#[test]
fn keys_are_sent_together() {
    let mut bench = Bench::default();
    let key = |name: &str| json!({ "type": "qcode", "data": name });
    bench.run("send-key", json!({ "keys": [key("ctrl"), key("a")] })).unwrap();
    let numbers = json!([{ "type": "number", "data": 1 }, { "type": "number", "data": 99999 }]);
    bench.run("send-key", json!({ "keys": numbers, "hold-time": -1 })).unwrap();
    assert_eq!(bench.guest.log, ["keys ctrl+a 100", "keys esc 100"], "no key has the second number");
}

#[test]
fn keys_and_mouse_are_moved() {
    let mut bench = Bench::default();
    let events = json!([
        { "type": "key", "data": { "down": true, "key": { "type": "number", "data": 30 } } },
        { "type": "rel", "data": { "axis": "y", "value": -3 } },
        { "type": "btn", "data": { "button": "wheel-up", "down": true } },
    ]);
    bench.run("input-send-event", json!({ "events": events })).unwrap();
    assert_eq!(bench.guest.log, ["Key(\"a\", true)", "Move { dx: 0, dy: -3 }", "Button(WheelUp, true)"]);
    let abs = json!([{ "type": "abs", "data": { "axis": "x", "value": 3 } }]);
    let error = bench.run("input-send-event", json!({ "events": abs })).unwrap_err();
    assert_eq!(error.desc, "Input handler not found for event type abs");
    bench.guest.paused = true;
    let error = bench.run("input-send-event", json!({ "events": events })).unwrap_err();
    assert_eq!(error.desc, "VM not running");
}
