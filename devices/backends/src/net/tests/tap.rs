//! Tap interfaces, in a network namespace of our own.

use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Instant;

use devices_core::net::Offload;
use hypervisor::tap::{Shape, Tap};

use super::{Around, Card, SOON, around, frame, nothing_around, prepare, spec};

/// Runs a test again as root of new user and network namespaces; true: this is that run.
fn apart(name: &str) -> bool {
    const APART: &str = "AILURUS_TEST_APART";
    if std::env::var_os(APART).is_some() {
        return true;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["-Urn", "--"]);
        command
    };
    // Loading no module: what is missing is missing.
    let able = unshare()
        .args(["sh", "-c", "ip tuntap add mode tap name t0 && ip link add name b0 type bridge"])
        .output();
    if !able.is_ok_and(|able| able.status.success()) {
        eprintln!("not run: this host gives no network namespace with tap interfaces and bridges");
        return false;
    }
    let mut again = unshare();
    again.arg(std::env::current_exe().unwrap()).args(["--exact", "--nocapture"]);
    again.arg(format!("net::tests::tap::{name}")).env(APART, "1");
    let output = again.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
    false
}

fn ip(command: &str) {
    let output = Command::new("ip").args(command.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A frame to all of an experimental protocol, which no host answers.
fn ours(number: u32, len: usize) -> Vec<u8> {
    let mut ours = vec![0xff; 6];
    ours.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    ours.extend(frame(number, len));
    ours
}

/// The next frame that the host's own protocols have not sent.
fn next_ours(card: &Card) -> Vec<u8> {
    loop {
        let frame = card.next();
        if frame[12..14] == [0x88, 0xb5] {
            return frame;
        }
    }
}

fn named(name: &str) -> Card {
    let card = Card::new(&format!("tap,ifname={name},br=xenbr0,script=no,downscript=no,vhost=off"));
    assert_eq!(card.backend.info(), format!("index=0,type=tap,ifname={name},script=no,downscript=no"));
    ip(&format!("link set {name} up"));
    card
}

/// Sends until the other hears it: a bridge forwards once it has seen its ports. Then takes what came before.
fn meet(one: &Card, other: &Card, number: &mut u32) {
    let mut seen = Vec::new();
    *number += 1;
    while !seen.ends_with(&ours(*number, 46)) {
        one.send(&ours(*number, 46));
        std::thread::sleep(std::time::Duration::from_millis(10));
        while !seen.ends_with(&ours(*number, 46)) && other.backend.receive(&mut seen) {}
    }
    *number += 1;
    one.send(&ours(*number, 46));
    while next_ours(other) != ours(*number, 46) {}
}

fn back_and_forth(one: &Card, other: &Card, rounds: u32) {
    for round in 0..rounds {
        // As many as the interface's queue holds.
        for (from, to) in [(one, other), (other, one)] {
            let all: Vec<_> = (0..40).map(|n| ours(round * 100 + n, 46 + (n as usize * 37) % 1455)).collect();
            all.iter().for_each(|frame| from.send(frame));
            for frame in &all {
                assert!(next_ours(to) == *frame, "frames come whole and in order");
            }
        }
    }
}

#[test]
fn two_cards_meet_over_a_bridge() {
    if !apart("two_cards_meet_over_a_bridge") {
        return;
    }
    ip("link add name b0 type bridge forward_delay 0 mcast_snooping 0");
    ip("link set b0 up");
    let (one, other) = (named("vif1.0-emu"), named("vif2.0-emu"));
    ip("link set vif1.0-emu master b0");
    ip("link set vif2.0-emu master b0");
    let mut next = 70_000;
    meet(&one, &other, &mut next);
    meet(&other, &one, &mut next);
    back_and_forth(&one, &other, 20);

    // Jumbo frames are the interface's matter: dropped where it takes none.
    one.send(&ours(1, 8986));
    one.send(&ours(2, 46));
    assert_eq!(next_ours(&other), ours(2, 46));
    ["b0", "vif1.0-emu", "vif2.0-emu"].iter().for_each(|name| ip(&format!("link set {name} mtu 9000")));
    one.send(&ours(3, 8986));
    assert_eq!(next_ours(&other), ours(3, 8986));

    // One that is down takes frames and loses them, and works when it is up again.
    ip("link set vif1.0-emu down");
    (0..2000).for_each(|n| one.send(&ours(n, 1000)));
    ip("link set vif1.0-emu up");
    meet(&one, &other, &mut next);
    // One that is gone does not hold the guest up either.
    ip("link del vif1.0-emu");
    (0..2000).for_each(|n| one.send(&ours(n, 1000)));
    drop(one);
}

/// A descriptor of an interface that somebody else has opened.
fn inherited(text: &str, fds: &[&Tap]) -> Card {
    let fd = |number: &str| -> Result<OwnedFd, String> {
        let index: usize = number.parse().map_err(|_| "no number")?;
        let tap = fds.get(index).ok_or("Bad file descriptor")?;
        Ok(tap.file().try_clone().unwrap())
    };
    Card::of(prepare(&spec(text).unwrap(), &around(&fd)).unwrap())
}

#[test]
fn a_descriptor_with_or_without_headers_gives_plain_frames() {
    if !apart("a_descriptor_with_or_without_headers_gives_plain_frames") {
        return;
    }
    ip("link add name b0 type bridge forward_delay 0 mcast_snooping 0");
    ip("link set b0 up");
    let shapes = [("plain", false, false), ("headed", true, false), ("several", false, true)];
    let mut cards = Vec::new();
    let mut next = 70_000;
    for (name, header, several) in shapes {
        let shape = Shape { several, header };
        let tap = Tap::open(name, shape).unwrap();
        let card = if several {
            // Frames go to the first queue, however they would be shared out.
            inherited("tap,fds=0:1", &[&tap, &Tap::open(name, shape).unwrap()])
        } else {
            inherited("tap,fd=0", &[&tap])
        };
        ip(&format!("link set {name} up"));
        ip(&format!("link set {name} master b0"));
        cards.push((card, tap));
    }
    for other in 1..3 {
        let (one, other) = (&cards[0].0, &cards[other].0);
        meet(one, other, &mut next);
        meet(other, one, &mut next);
        back_and_forth(one, other, 5);
    }
    // A host that leaves checksums to a card that has headers completes them for one that has none.
    ip("addr add 10.9.9.1/24 dev b0");
    ip("neigh add 10.9.9.2 lladdr ff:ff:ff:ff:ff:ff dev b0");
    let socket = std::net::UdpSocket::bind("10.9.9.1:0").unwrap();
    socket.send_to(b"abc", "10.9.9.2:7").unwrap();
    for (card, _) in &cards {
        let udp = loop {
            let frame = card.next();
            if frame[12..14] == [8, 0] && frame.ends_with(b"abc") {
                break frame;
            }
        };
        let words = |bytes: &[u8]| -> u32 {
            bytes.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(*two.get(1).unwrap_or(&0))).sum()
        };
        let sum = words(&udp[26..34]) + 17 + 11 + words(&udp[34..]);
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{udp:02x?}");
    }
}

#[test]
fn what_is_no_interface_is_refused() {
    let open = |text: &str, around: &Around| {
        prepare(&spec(text).unwrap(), around).map(drop).unwrap_err().to_string()
    };
    let text = open("tap,fd=77", &nothing_around());
    assert_eq!(text, "Can't use file descriptor 77: Bad file descriptor");
    let null = |_: &str| Ok(std::fs::File::open("/dev/null").unwrap().into());
    let text = open("tap,fd=3", &around(&null));
    assert!(text.starts_with("Can't use file descriptor 3: it is no tap interface"), "{text}");
    let text = open("tap,ifname=a-name-of-sixteen,script=no", &nothing_around());
    assert!(text.starts_with("could not configure /dev/net/tun (a-name-of-sixteen)"), "{text}");
}

/// A frame of UDP from a guest at 10.9.9.2 to the host's port.
fn datagram(port: u16) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 8, 0]);
    let mut header = vec![0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 9, 2, 10, 9, 9, 1];
    let sum: u32 = header.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(header);
    frame.extend([0, 7, (port >> 8) as u8, port as u8, 0, 11, 0, 0]);
    frame.extend(b"abc");
    frame
}

#[test]
fn a_flow_comes_by_the_queue_by_which_it_goes() {
    if !apart("a_flow_comes_by_the_queue_by_which_it_goes") {
        return;
    }
    let card = Card::new("tap,ifname=t1,queues=3,script=no,downscript=no");
    assert_eq!(card.backend.queues(), 3);
    ip("link set t1 up");
    ip("addr add 10.9.9.1/24 dev t1");
    ip("neigh add 10.9.9.2 lladdr 02:00:00:00:00:01 dev t1");
    let socket = std::net::UdpSocket::bind("10.9.9.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let out = datagram(socket.local_addr().unwrap().port());
    let round = |queue: u16, by: u16| {
        assert!(card.backend.send_by(queue, &out, Offload::default()));
        let mut text = [0; 9];
        let (len, from) = socket.recv_from(&mut text).expect("the host hears it");
        assert_eq!((&text[..len], from.to_string().as_str()), (&b"abc"[..], "10.9.9.2:7"));
        socket.send_to(b"answer", from).unwrap();
        let answered = |frame: &[u8]| frame[12..14] == [8, 0] && frame.ends_with(b"answer");
        let (end, mut frame) = (Instant::now() + SOON, Vec::new());
        loop {
            let came = (0..3).find(|queue| card.backend.receive_by(*queue, &mut frame).is_some());
            match came {
                Some(queue) if answered(&frame) => return assert_eq!(queue, by, "the queue of its flow"),
                Some(_) => {}
                None => {
                    let left = end.saturating_duration_since(Instant::now());
                    card.woken.recv_timeout(left).expect("the guest hears the answer");
                }
            }
        }
    };
    // One is in use until somebody says more.
    round(0, 0);
    card.backend.set_queues(3);
    [2, 1, 0, 2].into_iter().for_each(|queue| round(queue, queue));
    card.backend.set_queues(1);
    round(0, 0);
}
