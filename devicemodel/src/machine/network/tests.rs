//! Cables, cards and back ends.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use devices::xen::platform::Unplug;
use devices_core::deferred;
use devices_core::model::Value;
use devices_core::net::TestNet;
use hypervisor::{Capabilities, NoCpu};

use super::*;
use crate::config::{Card, GuestConfig};
use crate::machine::MachineHandles;
use crate::notices::notices;

fn config(cards: &[Card]) -> GuestConfig {
    let mut config = GuestConfig { memory_mib: 2, devices: Vec::new(), ..GuestConfig::default() };
    cards.iter().for_each(|card| config.add_card(card).unwrap());
    config
}

fn card(model: &str, id: &str) -> Card {
    Card { id: (!id.is_empty()).then(|| id.into()), model: model.into(), properties: Vec::new() }
}

fn built(config: GuestConfig) -> Machine {
    let (notifier, _) = notices().unwrap();
    let pvhvm = Capabilities { pvhvm: true, ..Capabilities::default() };
    let still = NoCpu::new(1, 2 << 20, 0).unwrap().in_place_of(pvhvm);
    let handles = MachineHandles::new(Arc::new(still), notifier);
    Machine::build(config, handles).unwrap()
}

#[test]
fn frames_wait_while_the_guest_stands() {
    let standing = Arc::new(AtomicBool::new(true));
    let cable = Cable::new(standing.clone());
    let far = Arc::new(TestNet::default());
    cable.connect(far.clone());
    let woken = Arc::new(Mutex::new(0));
    let count = woken.clone();
    cable.plug(Some(Listener { waker: Waker::calling(move |_| *count.lock().unwrap() += 1), number: 0 }));
    far.give(&[1; 60]);
    cable.news();
    let mut frame = Vec::new();
    assert!(!cable.receive(&mut frame) && *woken.lock().unwrap() == 0);
    assert!(cable.send(&[2; 60]), "what the guest sent before it stood goes out");
    standing.store(false, Ordering::Release);
    cable.news();
    assert!(cable.receive(&mut frame) && frame == [1; 60] && *woken.lock().unwrap() == 1);
    cable.connect(Arc::new(NullNet));
    assert!(cable.send(&[3; 60]) && far.sent() == Some(vec![2; 60]) && far.sent().is_none());
}

#[test]
fn cards_have_names_and_addresses_of_their_own() {
    let machine = built(config(&[card("e1000", ""), card("e1000", "nic"), card("e1000", "")]));
    let nics = machine.nics();
    let seen: Vec<_> = nics.iter().map(|nic| (nic.name.as_str(), nic.mac[5])).collect();
    assert_eq!(seen, [("e1000.0", 0x56), ("nic", 0x57), ("e1000.1", 0x58)]);
    let saved = machine.config().devices.iter().map(|device| device.properties["mac"].clone());
    let expected = [0x56, 0x57, 0x58].map(|last| Value::Text(format!("52:54:00:12:34:{last:x}")));
    assert_eq!(saved.collect::<Vec<_>>(), expected);
    assert!(machine.netdevs()[0].info.starts_with("index=0,type=user"), "{:?}", machine.netdevs());
}

#[test]
fn the_cable_is_pulled_by_the_name_of_either_end() {
    let machine = built(config(&[card("e1000", "nic"), card("rtl8139", "")]));
    let up = |machine: &Machine| machine.nics().iter().map(|nic| nic.link).collect::<Vec<_>>();
    assert!(machine.set_link("nic", false) && machine.set_link("net1", false));
    assert_eq!(up(&machine), [false, false]);
    assert!(machine.set_link("rtl8139.0", true));
    assert_eq!(up(&machine), [false, true]);
    assert!(!machine.set_link("nobody", true));
    assert!(machine.remove_netdev("net1") && !machine.remove_netdev("net1"));
    assert_eq!(up(&machine), [false, false], "a card whose back end is gone has no link");
}

#[test]
fn a_back_end_that_comes_has_a_file_that_a_client_gave_a_name() {
    let machine = built(config(&[]));
    let (ours, given) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut named = BTreeMap::from([("wire".to_owned(), OwnedFd::from(given))]);
    let with = |fd: &str| NetdevConfig {
        id: "n".into(),
        kind: "socket".into(),
        options: vec![("fd".into(), fd.into())],
    };
    let error = machine.add_netdev(with("other"), &mut named).unwrap_err().to_string();
    assert!(error.contains("File descriptor named 'other' not found"), "{error}");
    machine.add_netdev(with("wire"), &mut named).unwrap();
    assert!(named.is_empty(), "it is the back end's now");
    // Nobody else has it: it ends with the back end.
    assert!(machine.remove_netdev("n"));
    ours.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    assert_eq!(std::io::Read::read(&mut &ours, &mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_back_end_comes_and_is_used_by_a_card() {
    let machine = built(config(&[]));
    let netdev = NetdevConfig { id: "n".into(), kind: "user".into(), options: Vec::new() };
    machine.add_netdev(netdev.clone(), &mut BTreeMap::new()).unwrap();
    let error = machine.add_netdev(netdev, &mut BTreeMap::new()).unwrap_err().to_string();
    assert_eq!(error, "Duplicate ID 'n' for netdev");
    let device = |netdev: &str| {
        let text = format!("e1000,id=nic,netdev={netdev}");
        machine.add_device(crate::config::DeviceSpec::parse(&text).unwrap())
    };
    assert_eq!(device("x").unwrap_err().to_string(), "Property 'e1000.netdev' can't find value 'x'");
    device("n").unwrap();
    assert_eq!(machine.nics()[0].netdev.as_deref(), Some("n"));
    let rest = machine.networks.configs();
    assert_eq!((rest.len(), machine.plugged.specs().len()), (1, 1));
}

#[test]
fn cards_and_back_ends_share_a_hub() {
    use std::os::fd::AsRawFd;
    let (ours, theirs) = UnixStream::pair().unwrap();
    let netdev = |id: &str, kind: &str, options: &[(&str, &str)]| NetdevConfig {
        id: id.into(),
        kind: kind.into(),
        options: options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
    };
    let fd = ours.as_raw_fd().to_string();
    let mut config = config(&[card("e1000", "nic")]);
    config.netdevs = vec![
        netdev("net0", "hubport", &[("hubid", "0")]),
        netdev("far", "socket", &[("fd", &fd)]),
        netdev("port", "hubport", &[("hubid", "0"), ("netdev", "far")]),
    ];
    config.check().unwrap();
    let machine = built(config.clone());
    assert_eq!(machine.netdevs().len(), 3);
    machine.announce(None);
    theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut seen = [0; 64];
    std::io::Read::read_exact(&mut &theirs, &mut seen).unwrap();
    assert_eq!(seen[..10], [0, 0, 0, 60, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    config.netdevs.push(netdev("more", "hubport", &[("hubid", "1"), ("netdev", "far")]));
    assert_eq!(config.check().unwrap_err().to_string(), "netdev 'far' is on another port of a hub");
    assert!(
        machine
            .add_netdev(netdev("late", "hubport", &[("hubid", "0"), ("netdev", "far")]), &mut BTreeMap::new())
            .is_err()
    );
}

#[test]
fn ports_are_forwarded_while_the_guest_runs() {
    let machine = built(config(&[card("e1000", "nic")]));
    let [(id, network)] = &machine.user_networks()[..] else { panic!("one user network") };
    assert_eq!(id, "net0");
    let bound = network.hostfwd_add("tcp:127.0.0.1:0-:22").unwrap();
    assert_eq!(network.forwards().len(), 1);
    assert!(std::net::TcpListener::bind(bound).is_err(), "somebody listens there");
    network.hostfwd_remove(&format!("tcp:{bound}")).unwrap();
    assert!(std::net::TcpListener::bind(bound).is_ok(), "the port is free again");
}

#[test]
fn pv_drivers_have_cards_unplugged_for_good() {
    let mut first = config(&[card("e1000", "nic"), card("rtl8139", "other")]);
    first.check().unwrap();
    let machine = built(first.clone());
    let ticket = || deferred().0;
    machine.unplug(Unplug::AUX_DISKS, ticket());
    assert_eq!(machine.nics().len(), 2);
    machine.unplug(Unplug::NICS, ticket());
    assert!(machine.nics().is_empty() && machine.netdevs().is_empty());
    assert!(!machine.pci().iter().any(|function| function.class == 0x0200));
    // A toolstack names them again when the guest is restored.
    let saved = GuestConfig { devices: machine.plugged.specs(), ..first.clone() };
    first.follow(&saved);
    assert!(first.devices.is_empty() && first.netdevs.is_empty());
}

#[test]
fn a_card_is_announced_where_its_cable_leads() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut config = config(&[card("e1000", "nic")]);
    use std::os::fd::AsRawFd;
    config.netdevs[0] = NetdevConfig {
        id: "net0".into(),
        kind: "socket".into(),
        options: vec![("fd".into(), ours.as_raw_fd().to_string())],
    };
    let machine = built(config);
    machine.announce(Some(&["somebody".into()]));
    machine.announce(None);
    theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut seen = [0; 64];
    std::io::Read::read_exact(&mut &theirs, &mut seen).unwrap();
    assert_eq!(seen[..4], [0, 0, 0, 60]);
    assert_eq!(
        seen[4..18],
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x80, 0x35]
    );
    let begun = Instant::now();
    machine.networks.shut_down();
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_passes_a_network_is_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump");
    let dump = |id: &str, netdev: &str| DumpConfig {
        id: id.into(),
        netdev: netdev.into(),
        file: file.clone(),
        longest: 65_536,
    };
    let mut config = config(&[card("e1000", "nic")]);
    config.netdevs[0].kind = "hubport".into();
    config.netdevs[0].options = vec![("hubid".into(), "0".into())];
    config.dumps = vec![dump("first", "net0")];
    let machine = built(config);
    assert_eq!(machine.dumps(), ["first"]);
    let add = |dump: DumpConfig| machine.add_dump(&dump, open_dump(&file).unwrap());
    assert!(machine.may_dump(&dump("x", "nobody")).unwrap_err().to_string().contains("'nobody'"));
    machine.announce(None);
    assert!(machine.remove_dump("first") && !machine.remove_dump("first"));
    let bytes = std::fs::read(&file).unwrap();
    // The file's header, a record's, and a frame of the shortest length.
    assert_eq!(bytes.len(), 24 + 16 + 60);
    assert_eq!(bytes[40..], announcement(machine.nics()[0].mac));
    // A new one begins anew, and ends with its network.
    add(dump("second", "net0")).unwrap();
    machine.announce(None);
    machine.announce(None);
    assert!(machine.remove_netdev("net0"));
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 24 + 2 * (16 + 60));
    assert!(machine.dumps().is_empty());
}
