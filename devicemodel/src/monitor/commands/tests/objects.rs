//! The object tree.

use super::*;

#[test]
fn objects_are_found_by_path_and_by_name() {
    let mut bench = Bench::default();
    let list = |bench: &mut Bench, path: &str| -> Vec<String> {
        let all = bench.run("qom-list", json!({ "path": path })).unwrap();
        let text = |entry: &Value| {
            format!("{} {}", entry["name"].as_str().unwrap(), entry["type"].as_str().unwrap())
        };
        all.as_array().unwrap().iter().map(text).collect()
    };
    let top = list(&mut bench, "/");
    assert_eq!(
        top,
        [
            "type string",
            "chardevs child<container>",
            "machine child<pc-i440fx-7.2-machine>",
            "objects child<container>"
        ]
    );
    assert!(list(&mut bench, "/machine").contains(&"rtc-time struct tm".into()));
    assert!(list(&mut bench, "/machine/peripheral").contains(&"cd child<ide-cd>".into()));
    assert_eq!(list(&mut bench, "/machine/peripheral-anon"), ["type string"]);
    assert!(list(&mut bench, "/machine/unattached").contains(&"device[0] child<qemu32-i386-cpu>".into()));
    assert!(list(&mut bench, "/chardevs").contains(&"libxl-cmd child<chardev-socket>".into()));
    let get = |bench: &mut Bench, path: &str, property: &str| {
        bench.run("qom-get", json!({ "path": path, "property": property })).map_err(|error| error.desc)
    };
    assert_eq!(get(&mut bench, "ioapic", "version"), Ok(json!(32)));
    assert_eq!(get(&mut bench, "i440fx/ioapic", "type"), Ok(json!("ioapic")));
    assert_eq!(get(&mut bench, "/machine", "peripheral"), Ok(json!("/machine/peripheral")));
    assert_eq!(
        get(&mut bench, "/machine", "rtc-time"),
        Ok(json!({ "tm_year": 126, "tm_mon": 10, "tm_mday": 21, "tm_hour": 12, "tm_min": 32, "tm_sec": 6 }))
    );
    assert_eq!(
        get(&mut bench, "/machine", "frob"),
        Err("Property 'pc-i440fx-7.2-machine.frob' not found".into())
    );
    let mut set = |path: &str, property: &str| {
        bench.run("qom-set", json!({ "path": path, "property": property, "value": 1 })).unwrap_err().desc
    };
    assert_eq!(set("/machine", "type"), "Property 'pc-i440fx-7.2-machine.type' is not writable");
    assert_eq!(
        set("ioapic", "version"),
        "Attempt to set property 'version' on anonymous device (type 'ioapic') after it was realized"
    );
    assert_eq!(get(&mut bench, "cd", "bootindex"), Ok(json!(-1)));
    bench.run("qom-set", json!({ "path": "cd", "property": "bootindex", "value": 2 })).unwrap();
    assert_eq!(bench.guest.log, ["bootindex of /machine/peripheral/cd is 2"]);
    let attach = json!({ "path": "/machine/peripheral/uas", "property": "attached", "value": true });
    bench.run("qom-set", attach).unwrap();
    assert_eq!(bench.guest.log.pop().unwrap(), "/machine/peripheral/uas is attached: true");
    let attach = json!({ "path": "uas", "property": "attached", "value": 1 });
    let wrong = bench.run("qom-set", attach).unwrap_err().desc;
    assert_eq!(wrong, "Invalid parameter type for 'attached', expected: boolean");
    let machines = bench.run("qom-list-types", json!({ "implements": "machine" })).unwrap();
    assert!(machines.as_array().unwrap().iter().all(|of| of["name"].as_str().unwrap().ends_with("-machine")));
    bench.run("object-add", json!({ "qom-type": "secret", "id": "s", "data": "x" })).unwrap();
    assert_eq!(list(&mut bench, "/objects"), ["type string", "s child<secret>"]);
    let error = bench.run("object-add", json!({ "qom-type": "secret", "id": "s", "data": "x" })).unwrap_err();
    assert_eq!(error.desc, "attempt to add duplicate property 's' to object (type 'container')");
    bench.run("object-del", json!({ "id": "s" })).unwrap();
}

#[test]
fn random_numbers_have_a_name() {
    let mut bench = Bench::default();
    let add = |bench: &mut Bench, device: &str| {
        let arguments = json!({ "driver": "virtio-rng-pci", "id": device, "rng": "r" });
        bench.run("device_add", arguments).map_err(|error| error.desc)
    };
    let missing = "Property 'virtio-rng-device.rng' can't find value 'r'";
    assert_eq!(add(&mut bench, "a"), Err(missing.into()));
    let other = json!({ "qom-type": "rng-random", "id": "r", "filename": "/dev/hwrng" });
    assert!(bench.run("object-add", other).is_err());
    bench.run("object-add", json!({ "qom-type": "secret", "id": "r", "data": "x" })).unwrap();
    assert_eq!(add(&mut bench, "a"), Err(missing.into()), "that is none");
    bench.run("object-del", json!({ "id": "r" })).unwrap();
    let random = json!({ "qom-type": "rng-random", "id": "r", "filename": "/dev/urandom" });
    bench.run("object-add", random).unwrap();
    bench.run("object-add", json!({ "qom-type": "rng-builtin", "id": "b" })).unwrap();
    let listed = bench.run("qom-list", json!({ "path": "/objects" })).unwrap().to_string();
    assert!(listed.contains("child<rng-random>") && listed.contains("child<rng-builtin>"), "{listed}");
    assert_ne!(add(&mut bench, "a"), Err(missing.into()));
}

#[test]
fn memory_is_listed_as_qemu_has_it() {
    let mut bench = Bench::default();
    let all = bench.run("query-memdev", json!({})).unwrap();
    let [ram] = &all.as_array().unwrap()[..] else { panic!("{all}") };
    let size = bench.run("query-memory-size-summary", json!({})).unwrap()["base-memory"].clone();
    assert_eq!((&ram["id"], &ram["size"], &ram["share"]), (&json!("pc.ram"), &size, &json!(false)));
    assert_eq!((&ram["policy"], &ram["host-nodes"]), (&json!("default"), &json!([])));
}
