//! What libxl asks, in its order.

use std::io::{Read, Seek};

use super::*;

/// The answers that libxl parses, as they were recorded.
#[test]
fn libxl_finds_its_answers() {
    let mut bench = Bench::default();
    assert_eq!(
        bench.run("query-chardev", json!({})).unwrap(),
        json!([
            { "frontend-open": true, "filename": "unix:/var/run/xen/qmp-libxl-5,server=on", "label": "libxl-cmd" },
            { "frontend-open": true, "filename": "pty:/dev/pts/3", "label": "serial0" },
        ])
    );
    assert_eq!(
        bench.run("query-vnc", json!({})).unwrap(),
        json!({ "enabled": true, "auth": "none", "family": "ipv4", "clients": [], "service": "5901", "host": "127.0.0.1" })
    );
    let version = bench.run("query-version", json!({})).unwrap();
    let number = |key: &str| version["qemu"][key].as_u64().unwrap();
    assert!((number("major"), number("minor")) >= (2, 12), "{version}");
    let stats = bench.run("query-blockstats", json!({})).unwrap();
    assert_eq!((&stats[0]["device"], &stats[0]["stats"]["rd_bytes"]), (&json!("ide0-hd0"), &json!(512)));
    let blocks = bench.run("query-block", json!({})).unwrap();
    assert_eq!(blocks[0]["inserted"]["file"], "/srv/hello.img");
    assert_eq!(blocks[0]["inserted"]["node-name"], "#block100");
    assert_eq!(blocks[1].get("inserted"), None);
    let pci = bench.run("query-pci", json!({})).unwrap();
    assert_eq!((&pci[0]["devices"][0]["slot"], &pci[0]["devices"][0]["function"]), (&json!(1), &json!(1)));
    assert_eq!(pci[0]["devices"][0]["class_info"], json!({ "class": 0x0101, "desc": "IDE controller" }));
    assert_eq!(
        pci[0]["devices"][0]["regions"][1],
        json!({ "bar": 5, "type": "memory", "address": -1, "size": 4096 })
    );
    let options = bench.run("query-command-line-options", json!({})).unwrap();
    let run_with = options.as_array().unwrap().iter().find(|option| option["option"] == "run-with").unwrap();
    let names: Vec<_> =
        run_with["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"chroot") && names.contains(&"user"), "{names:?}");
}

#[test]
fn libxl_saves_the_devices() {
    let mut bench = Bench::default();
    let mut file = tempfile::tempfile().unwrap();
    bench.run("xen-set-global-dirty-log", json!({ "enable": true })).unwrap();
    bench.run("stop", json!({})).unwrap();
    bench.session.received.push_back(file.try_clone().unwrap().into());
    bench.run("add-fd", json!({})).unwrap();
    bench.run("xen-save-devices-state", json!({ "live": false, "filename": "/dev/fdset/0" })).unwrap();
    assert_eq!(bench.guest.log, ["dirty log true", "save live=false"]);
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "state");
    let error = bench.run("xen-save-devices-state", json!({ "filename": "/dev/fdset/1" })).unwrap_err();
    assert_eq!(error.class, "GenericError");
}
