//! Devices and their models.

use super::*;

#[test]
fn libxl_adds_a_cpu() {
    let mut bench = Bench::default();
    assert_eq!(bench.run("query-cpus-fast", json!({})).unwrap().as_array().unwrap().len(), 1);
    let places = bench.run("query-hotpluggable-cpus", json!({})).unwrap();
    assert_eq!((&places[0]["props"]["socket-id"], places[0].get("qom-path")), (&json!(1), None));
    let cpu =
        json!({ "id": "cpu-1", "driver": places[0]["type"], "socket-id": 1, "core-id": 0, "thread-id": 0 });
    bench.run("device_add", cpu.clone()).unwrap();
    let cpus = bench.run("query-cpus-fast", json!({})).unwrap();
    assert_eq!(
        (&cpus[1]["cpu-index"], &cpus[1]["qom-path"]),
        (&json!(1), &json!("/machine/peripheral/cpu-1"))
    );
    assert!(bench.run("device_add", cpu).unwrap_err().desc.contains("exists"));
    for (socket, core) in [(2, 0), (1, 1), (u64::MAX, 0)] {
        let cpu = json!({ "id": "x", "driver": "qemu32-i386-cpu", "socket-id": socket, "core-id": core, "thread-id": 0 });
        assert!(bench.run("device_add", cpu).is_err(), "{socket} {core}");
    }
}

#[test]
fn properties_of_models_are_told_as_clients_ask_for_them() {
    let mut bench = Bench::default();
    let mut ask = |name: &str| bench.run("device-list-properties", json!({ "typename": name }));
    let vga = ask("VGA").unwrap();
    let memory = vga.as_array().unwrap().iter().find(|of| of["name"] == "vgamem_mb").unwrap();
    assert_eq!((&memory["type"], &memory["default-value"]), (&json!("uint32"), &json!(16)));
    assert!(vga.as_array().unwrap().iter().any(|of| of["name"] == "addr"));
    let error = ask("machine").unwrap_err();
    assert_eq!(error.desc, "Device 'machine' not found");
    let error = ask("container").unwrap_err();
    assert_eq!(error.desc, "Parameter 'typename' expects a non-abstract device type");
}

#[test]
fn people_plug_devices_in_with_qemus_words() {
    let mut bench = Bench::default();
    let mut people = |line: &str| {
        bench
            .run("human-monitor-command", json!({ "command-line": line }))
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    let line = "device_add e1000,id=nic1,netdev=net1,bus=pci.0,addr=5.0,bootindex=2,rombar=0";
    assert_eq!(people(line), "");
    assert_eq!(people("device_add toaster,id=t"), "Error: 'toaster' is not a valid device model name\r\n");
    let log = [r#"device nic1 e1000 netdev="net1" bus="pci.0" addr="5.0" bootindex="2" rombar="0""#];
    assert_eq!(bench.guest.log, log);
}
