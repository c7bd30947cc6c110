//! Networks, as clients of the monitor know them.

use devices_core::net::{Accepts, RxFilter};
use serde_json::json;

use super::super::super::info::{NetdevInfo, NicInfo};
use super::*;

pub(super) fn nics() -> Vec<NicInfo> {
    let filter = RxFilter {
        promiscuous: false,
        unicast: Accepts::Normal,
        multicast: Accepts::None,
        broadcast: true,
        vlan: Accepts::All,
        main_mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
        unicast_table: Vec::new(),
        multicast_table: vec![[1, 0, 0x5e, 0, 0, 1]],
        vlan_table: vec![7],
    };
    vec![NicInfo {
        name: "nic0".into(),
        model: "e1000",
        mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
        link: true,
        netdev: Some("net0".into()),
        filter,
    }]
}

pub(super) fn netdevs() -> Vec<NetdevInfo> {
    ["net0", "net1"].map(|id| NetdevInfo { id: id.into(), info: "index=0,type=user".into() }).to_vec()
}

#[test]
fn networks_are_listed_as_people_read_them() {
    let mut bench = Bench::default();
    let text = bench.run("human-monitor-command", json!({ "command-line": "info network" })).unwrap();
    assert_eq!(
        text,
        "nic0: index=0,type=nic,model=e1000,macaddr=52:54:00:12:34:56\r\n \\ net0: index=0,type=user\r\n\
         net1: index=0,type=user\r\n"
    );
}

#[test]
fn the_filter_of_a_card_is_told_and_not_that_of_a_back_end() {
    let mut bench = Bench::default();
    let all = bench.run("query-rx-filter", json!({})).unwrap();
    assert_eq!(all, bench.run("query-rx-filter", json!({ "name": "nic0" })).unwrap());
    let filter = &all[0];
    assert_eq!((&filter["multicast"], &filter["vlan"]), (&json!("none"), &json!("all")));
    assert_eq!(filter["main-mac"], "52:54:00:12:34:56");
    assert_eq!(
        (&filter["multicast-table"], &filter["vlan-table"]),
        (&json!(["01:00:5e:00:00:01"]), &json!([7]))
    );
    let error = bench.run("query-rx-filter", json!({ "name": "net1" })).unwrap_err();
    assert_eq!(error.desc, "net client(net1) isn't a NIC");
}

#[test]
fn a_back_end_of_json_is_what_a_command_line_says() {
    let mut bench = Bench::default();
    let user = json!({
        "type": "user", "id": "n", "restrict": true, "ipv6-prefixlen": 64,
        "hostfwd": [{ "str": "tcp::1-:2" }, { "str": "udp::3-:4" }],
    });
    bench.run("netdev_add", user).unwrap();
    let stream =
        json!({ "type": "stream", "id": "s", "addr": { "type": "unix", "path": "/s" }, "server": false });
    bench.run("netdev_add", stream).unwrap();
    bench
        .run("human-monitor-command", json!({ "command-line": "netdev_add user,id=h,restrict=on" }))
        .unwrap();
    assert_eq!(
        bench.guest.log,
        [
            "netdev n user restrict=on ipv6-prefixlen=64 hostfwd=tcp::1-:2 hostfwd=udp::3-:4",
            "netdev s stream addr.type=unix addr.path=/s server=off",
            "netdev h user restrict=on",
        ]
    );
    let error = bench.run("netdev_add", json!({ "type": "user", "id": "n", "colour": 1 })).unwrap_err();
    assert_eq!(error.desc, "Parameter 'colour' is unexpected");
}

#[test]
fn cables_are_pulled_and_cards_announced() {
    let mut bench = Bench::default();
    bench.run("set_link", json!({ "name": "nic0", "up": false })).unwrap();
    bench.run("human-monitor-command", json!({ "command-line": "announce_self" })).unwrap();
    let how = json!({ "initial": 1, "max": 2, "rounds": 3, "step": 4, "interfaces": ["nic0"] });
    bench.run("announce-self", how).unwrap();
    let long = json!({ "initial": 1, "max": 2, "rounds": 1001, "step": 4 });
    assert!(bench.run("announce-self", long).is_err());
    assert_eq!(bench.guest.log, ["link nic0 false", "announce 5 None", "announce 3 Some([\"nic0\"])"]);
}
