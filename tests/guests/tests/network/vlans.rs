//! Guests with VLANs: tags are put in and taken out by the cards, and frames of other VLANs are let in by none.

use guest_tests::place;

use super::*;

/// VLANs that a guest's card lets in, as the monitor has them.
fn let_in(guest: &mut Guest) -> Result<Vec<u64>> {
    let filters = guest.monitor()?.execute("query-rx-filter", serde_json::json!({}))?;
    let filter = filters.get(0).context("no card")?;
    ensure!(filter["vlan"] == "normal", "{filter}");
    let table = filter["vlan-table"].as_array().context("no table of VLANs")?;
    Ok(table.iter().filter_map(serde_json::Value::as_u64).collect())
}

#[test]
fn guests_talk_in_a_vlan_and_not_across_two() {
    case("e1000 and virtio-net-pci in a VLAN on one stream", || {
        let folder = place::temporary()?;
        let socket = folder.path().join("cable").display().to_string();
        let listen = format!("stream,addr.type=unix,addr.path={socket},server=on");
        let guest = |card: &str, kind: &str, net: &str| {
            let mut guest = Machine::new()?.card(card, net).kernel(kind, APPEND)?.boot()?;
            guest.wait_for("ailurus:/root#", seconds(240))?;
            anyhow::Ok(guest)
        };
        let mut one = guest("e1000", "net", &listen)?;
        let mut other = guest("virtio-net-pci,mac=52:54:00:12:34:57", "virtio", &format!("stream:{socket}"))?;
        for (guest, address) in [(&mut one, 1), (&mut other, 2)] {
            // VLAN 5 is there for both, and 6 and 7 for one each, with addresses of one network.
            let alone = 5 + address;
            let line = format!(
                "ip link set eth0 up; vconfig add eth0 5; vconfig add eth0 {alone}; \
                 ifconfig eth0.5 10.5.0.{address} netmask 255.255.255.0; \
                 ifconfig eth0.{alone} 10.6.0.{address} netmask 255.255.255.0"
            );
            run(guest, &line, seconds(60))?;
            let table = let_in(guest)?;
            ensure!([5, alone].iter().all(|vlan| table.contains(vlan)) && !table.contains(&8), "{table:?}");
        }
        let said = run(&mut other, "ping -c 200 -A -q 10.5.0.1", seconds(120))?;
        ensure!(said.contains("200 packets transmitted, 200 packets received"), "pings were lost");
        // As long as frames may be, with the tag on top.
        let said = run(&mut one, "ping -c 50 -A -q -s 1472 10.5.0.2", seconds(120))?;
        ensure!(said.contains("50 packets transmitted, 50 packets received"), "long pings were lost");
        run(&mut one, "! ping -c 2 -W 1 -q 10.6.0.2", seconds(60)).map(drop)
    });
}
