//! A hub on the controller's first port, and a tablet on the second port of that: Universal Serial Bus Specification, 2.0,
//! chapter 11 (S).

use super::driver::*;
use crate::bench::Bench;
use crate::case::{Group, Setup, case};

pub(in crate::cases) const GROUP: Group = Group {
    device: "usb-hub",
    about: "a USB hub on UHCI, with a tablet",
    setup: Setup {
        disks: &[],
        args: &["-usb", "-device", "usb-hub,port=1", "-device", "usb-tablet,port=1.2,serial=T"],
    },
    cases: &[
        case("descriptor of the device", "S 9.6.1, 11.23.1", device),
        case("descriptors of the configuration", "S 11.23.1", configuration),
        case("descriptor of the hub", "S 11.23.2.1", descriptor),
        case("status of the device", "S 9.4.5", device_status),
        case("status of the hub", "S 11.24.2.6", hub_status),
        case("features of the hub", "S 11.24.2.1, 11.24.2.12", hub_features),
        case("a port with a device", "S 11.24.2.7", connected),
        case("a port with none", "S 11.24.2.7", empty),
        case("ports that are not there", "S 11.24.2.7", absent),
        case("a change is told", "S 11.12.4", told),
        case("a change is cleared", "S 11.24.2.2", cleared),
        case("nothing has changed", "S 11.12.4", unchanged),
        case("power of a port", "S 11.24.2.13, PORT_POWER", power),
        case("a port is reset", "S 11.24.2.13, PORT_RESET; 11.5.1.5", reset),
        case("a port is disabled", "S 11.24.2.2, PORT_ENABLE", disabled),
        case("a port sleeps and resumes", "S 11.24.2.13, PORT_SUSPEND; 11.24.2.2", suspended),
        case("features that are none", "S 11.24.2.2, 11.24.2.13", none),
        case("the device behind it", "S 11.2; 9.6.1", behind),
        case("a report of the device behind it", "S 11.2", report),
        case("a hub that is reset", "S 11.10", hub_reset),
    ],
};

const HUB: u8 = 5;
const PORT_RESET: u8 = 4;
const PORT_POWER: u8 = 8;
const C_CONNECTION: u8 = 16;
const C_RESET: u8 = 20;

/// The hub has its address and is configured, its ports have power.
fn configure_hub(bench: &mut Bench<'_>) {
    configure(bench);
    for port in 1..=8 {
        set(bench, PORT_POWER, port);
    }
}
fn set(bench: &mut Bench<'_>, feature: u8, port: u8) -> bool {
    request(bench, HUB, [0x23, 3, feature, 0, port, 0, 0, 0]).is_some()
}
fn clear(bench: &mut Bench<'_>, feature: u8, port: u8) -> bool {
    request(bench, HUB, [0x23, 1, feature, 0, port, 0, 0, 0]).is_some()
}
fn get(bench: &mut Bench<'_>, setup: [u8; 8]) -> Vec<u8> {
    request(bench, HUB, setup).unwrap_or_default()
}
fn port(bench: &mut Bench<'_>, port: u8) -> Vec<u8> {
    get(bench, [0xa3, 0, 0, 0, port, 0, 4, 0])
}
/// The tablet's port is reset, and no change is left.
fn reset_port(bench: &mut Bench<'_>) {
    clear(bench, C_CONNECTION, 2);
    set(bench, PORT_RESET, 2);
    bench.wait(20_000_000);
    for change in [C_RESET, 17] {
        clear(bench, change, 2);
    }
}
/// Asks an endpoint for bytes; none: it says no for 300 ms.
fn ask(bench: &mut Bench<'_>, address: u8, len: usize) -> Option<Vec<u8>> {
    td(bench, 0, 1, SPD, token(IN, address, 1, len));
    go(bench);
    for _ in 0..300 {
        let word = control(bench, 0);
        if word & ACTIVE == 0 {
            let got = word.wrapping_add(1) & 0x7ff;
            let data = bench.peek(DATA, got as usize);
            return Some(data);
        }
        bench.wait(1_000_000);
    }
    None
}

fn device(bench: &mut Bench<'_>) {
    configure_hub(bench);
    let reply = get(bench, [0x80, 6, 0, 1, 0, 0, 18, 0]);
    bench.check("bDeviceClass", reply.get(4).copied().unwrap_or(0), 9u8);
    bench.note_bytes("all", &reply);
}

fn configuration(bench: &mut Bench<'_>) {
    configure_hub(bench);
    let reply = get(bench, [0x80, 6, 0, 2, 0, 0, 0xff, 0]);
    let endpoint = reply.get(18..25).unwrap_or_default();
    bench.check_bytes("status change endpoint", endpoint, &[7, 5, 0x81, 3, 2, 0, 0xff]);
    bench.note_bytes("all", &reply);
}

fn descriptor(bench: &mut Bench<'_>) {
    configure_hub(bench);
    let reply = get(bench, [0xa0, 6, 0, 0x29, 0, 0, 71, 0]);
    bench.check_bytes("its head", reply.get(..3).unwrap_or_default(), &[10, 0x29, 8]);
    bench.note_bytes("all", &reply);
    let short = get(bench, [0xa0, 6, 0, 0x29, 0, 0, 7, 0]);
    bench.check("bytes of seven", short.len() as u64, 7u8);
}

fn device_status(bench: &mut Bench<'_>) {
    configure_hub(bench);
    let reply = get(bench, [0x80, 0, 0, 0, 0, 0, 2, 0]);
    bench.check_bytes("self-powered", &reply, &[1, 0]);
}

fn hub_status(bench: &mut Bench<'_>) {
    configure_hub(bench);
    let reply = get(bench, [0xa0, 0, 0, 0, 0, 0, 4, 0]);
    bench.check_bytes("all is well", &reply, &[0; 4]);
}

fn hub_features(bench: &mut Bench<'_>) {
    configure_hub(bench);
    for feature in [0, 1] {
        let done = request(bench, HUB, [0x20, 1, feature, 0, 0, 0, 0, 0]).is_some();
        bench.check_that(format!("change {feature} is cleared"), done, "it is refused");
    }
    let done = request(bench, HUB, [0x20, 1, 2, 0, 0, 0, 0, 0]).is_some();
    bench.check_that("there is no other", !done, "there is");
}

fn connected(bench: &mut Bench<'_>) {
    configure_hub(bench);
    let status = port(bench, 2);
    bench.check_bytes("connected, with power, changed", &status, &[1, 1, 1, 0]);
}

fn empty(bench: &mut Bench<'_>) {
    configure_hub(bench);
    for number in [1, 8] {
        let status = port(bench, number);
        bench.check_bytes(format!("port {number}"), &status, &[0, 1, 0, 0]);
    }
}

fn absent(bench: &mut Bench<'_>) {
    configure_hub(bench);
    for number in [0, 9, 255] {
        let status = port(bench, number);
        bench.check_that(format!("port {number}"), status.is_empty(), "it is there");
        let done = set(bench, PORT_RESET, number);
        bench.check_that(format!("reset of port {number}"), !done, "it is there");
    }
}

fn told(bench: &mut Bench<'_>) {
    configure_hub(bench);
    let changes = ask(bench, HUB, 2).unwrap_or_default();
    bench.check_bytes("port 2", &changes, &[4, 0]);
    let again = ask(bench, HUB, 2).unwrap_or_default();
    bench.check_bytes("until it is cleared", &again, &[4, 0]);
    let one = ask(bench, HUB, 1).unwrap_or_default();
    bench.note_bytes("one byte of it", &one);
}

fn cleared(bench: &mut Bench<'_>) {
    configure_hub(bench);
    let done = clear(bench, C_CONNECTION, 2);
    bench.check_that("it is cleared", done, "it is refused");
    let status = port(bench, 2);
    bench.check_bytes("port 2", &status, &[1, 1, 0, 0]);
}

fn unchanged(bench: &mut Bench<'_>) {
    configure_hub(bench);
    clear(bench, C_CONNECTION, 2);
    let changes = ask(bench, HUB, 2);
    bench.check_that("NAK", changes.is_none(), "it has something to say");
}

fn power(bench: &mut Bench<'_>) {
    configure_hub(bench);
    let done = set(bench, PORT_POWER, 2);
    bench.check_that("it can be set", done, "it is refused");
    let off = clear(bench, PORT_POWER, 2);
    bench.note_bytes("it can be cleared", &[off.into()]);
    let status = port(bench, 2);
    bench.note_bytes("then", &status);
}

fn reset(bench: &mut Bench<'_>) {
    configure_hub(bench);
    clear(bench, C_CONNECTION, 2);
    let done = set(bench, PORT_RESET, 2);
    bench.check_that("it is reset", done, "it is refused");
    bench.wait(20_000_000);
    let status = port(bench, 2);
    bench.check_bytes("enabled", status.get(..2).unwrap_or_default(), &[3, 1]);
    bench.check_bytes("the reset is over", status.get(2..).unwrap_or_default(), &[0x10, 0]);
    let changes = ask(bench, HUB, 2).unwrap_or_default();
    bench.check_bytes("it is told", &changes, &[4, 0]);
    for change in [C_RESET, 17] {
        clear(bench, change, 2);
    }
    let status = port(bench, 2);
    bench.check_bytes("cleared", &status, &[3, 1, 0, 0]);
}

fn disabled(bench: &mut Bench<'_>) {
    configure_hub(bench);
    reset_port(bench);
    let done = clear(bench, 1, 2);
    bench.check_that("it is disabled", done, "it is refused");
    let status = port(bench, 2);
    bench.check_bytes("port 2", &status, &[1, 1, 0, 0]);
    let there = request(bench, 0, [0x80, 6, 0, 1, 0, 0, 8, 0]).is_some();
    bench.check_that("nothing goes through", !there, "the device answers");
    let set = set(bench, 1, 2);
    bench.check_that("it cannot be enabled by a request", !set, "it can");
}

fn suspended(bench: &mut Bench<'_>) {
    configure_hub(bench);
    reset_port(bench);
    let done = set(bench, 2, 2);
    bench.check_that("it sleeps", done, "it is refused");
    let status = port(bench, 2);
    bench.check_bytes("asleep", &status, &[7, 1, 0, 0]);
    clear(bench, 2, 2);
    bench.wait(30_000_000);
    let status = port(bench, 2);
    bench.check_bytes("awake, and told so", &status, &[3, 1, 4, 0]);
    clear(bench, 18, 2);
    let status = port(bench, 2);
    bench.check_bytes("cleared", &status, &[3, 1, 0, 0]);
}

fn none(bench: &mut Bench<'_>) {
    configure_hub(bench);
    for feature in [3, 9, 10, 23, 77] {
        let done = [set(bench, feature, 1), clear(bench, feature, 1)];
        bench.check_that(format!("feature {feature}"), done == [false; 2], "it is taken");
    }
}

/// The tablet has address 6 and is configured.
fn configure_tablet(bench: &mut Bench<'_>) {
    configure_hub(bench);
    reset_port(bench);
    request(bench, 0, [0, 5, 6, 0, 0, 0, 0, 0]);
    request(bench, 6, [0, 9, 1, 0, 0, 0, 0, 0]);
}

fn behind(bench: &mut Bench<'_>) {
    configure_hub(bench);
    let before = request(bench, 0, [0x80, 6, 0, 1, 0, 0, 8, 0]).is_some();
    bench.check_that("nothing goes through before its reset", !before, "it answers");
    configure_tablet(bench);
    let reply = request(bench, 6, [0x80, 6, 0, 1, 0, 0, 18, 0]).unwrap_or_default();
    bench.check("bytes", reply.len() as u64, 18u8);
    bench.note_bytes("descriptor", &reply);
    let hub = get(bench, [0x80, 6, 0, 1, 0, 0, 18, 0]);
    bench.check("the hub's, at its own", hub.get(4).copied().unwrap_or(0), 9u8);
}

fn report(bench: &mut Bench<'_>) {
    configure_tablet(bench);
    let nothing = ask(bench, 6, 8);
    bench.check_that("nothing to report", nothing.is_none(), "it reports");
    let reply = request(bench, 6, [0xa1, 1, 0, 1, 0, 0, 6, 0]).unwrap_or_default();
    bench.check_bytes("the report that is asked for", &reply, &[0; 6]);
}

fn hub_reset(bench: &mut Bench<'_>) {
    configure_tablet(bench);
    bench.outw(IO + 0x10, 0x202);
    bench.wait(50_000_000);
    bench.outw(IO + 0x10, 0);
    bench.outw(IO + 0x10, 0xe);
    let there = request(bench, 6, [0x80, 6, 0, 1, 0, 0, 8, 0]).is_some();
    bench.check_that("nothing goes through", !there, "the tablet answers");
    configure_hub(bench);
    let status = port(bench, 2);
    bench.check_bytes("as after power-on", &status, &[1, 1, 1, 0]);
}
