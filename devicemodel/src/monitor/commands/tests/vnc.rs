//! The VNC server's password, and what is told of the server.

use super::*;

#[test]
fn a_password_is_set_and_expires() {
    let mut bench = Bench::default();
    for (command, arguments) in [
        ("change-vnc-password", json!({ "password": "a" })),
        ("set_password", json!({ "protocol": "vnc", "password": "b" })),
        (
            "set_password",
            json!({ "protocol": "vnc", "password": "c", "connected": "keep", "display": "default" }),
        ),
        ("expire_password", json!({ "protocol": "vnc", "time": "now" })),
        ("expire_password", json!({ "protocol": "vnc", "time": "never", "display": "default" })),
        ("expire_password", json!({ "protocol": "vnc", "time": "1335196800" })),
    ] {
        assert_eq!(bench.run(command, arguments).unwrap(), json!({}));
    }
    let said = ["password a", "password b", "password c", "expires Some(0)", "expires None"];
    assert_eq!(bench.guest.log[..5], said);
    assert_eq!(bench.guest.log[5], "expires Some(1335196800)");
    bench.run("expire_password", json!({ "protocol": "vnc", "time": "+60" })).unwrap();
    let at: i64 =
        bench.guest.log[6].trim_start_matches("expires Some(").trim_end_matches(')').parse().unwrap();
    assert!(at >= 60 + 1_335_196_800 && at <= 60 + crate::host::seconds());
    bench.run("expire_password", json!({ "protocol": "vnc", "time": format!("+{}", u64::MAX) })).unwrap();
    assert_eq!(bench.guest.log[7], format!("expires Some({})", u64::MAX));
}

#[test]
fn passwords_of_what_is_not_there_are_refused() {
    let mut bench = Bench::default();
    let spice = bench.run("set_password", json!({ "protocol": "spice", "password": "a" })).unwrap_err();
    assert_eq!((spice.class, spice.desc.as_str()), ("DeviceNotActive", "SPICE is not in use"));
    for (command, arguments, why) in [
        ("set_password", json!({ "protocol": "vnc", "password": "a", "connected": "fail" }), "'keep'"),
        ("set_password", json!({ "protocol": "vnc", "password": "a", "display": "x" }), "Could not set"),
        ("expire_password", json!({ "protocol": "vnc", "time": "x" }), "'time'"),
        ("expire_password", json!({ "protocol": "vnc", "time": "+" }), "'time'"),
        ("expire_password", json!({ "protocol": "vnc", "time": "now", "display": "x" }), "Could not set"),
    ] {
        let error = bench.run(command, arguments).unwrap_err();
        assert!(error.desc.contains(why), "{}", error.desc);
    }
    assert!(bench.guest.log.is_empty());
}

#[test]
fn the_server_is_told() {
    let mut bench = Bench::default();
    let servers = bench.run("query-vnc-servers", json!({})).unwrap();
    assert_eq!((&servers[0]["id"], &servers[0]["server"][0]["service"]), (&json!("default"), &json!("5901")));
}
