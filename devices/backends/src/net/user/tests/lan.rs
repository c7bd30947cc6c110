//! What is answered on the link itself: ARP, DHCP, echo, TFTP, IPv6's neighbours and routers.

use super::*;

#[test]
fn arp_answers_for_the_host_and_the_name_server_only() {
    let mut guest = Guest::new("guestfwd=tcp:10.0.2.100:80-tcp:127.0.0.1:9");
    // Its own address, one of nobody's, then those that are there.
    for target in [IP, Ipv4Addr::new(10, 0, 2, 4), HOST, DNS, Ipv4Addr::new(10, 0, 2, 100)] {
        guest.send(&arp(1, IP, target));
    }
    for target in [HOST, DNS, Ipv4Addr::new(10, 0, 2, 100)] {
        let frame = guest.frame("an ARP reply", |frame| Some(frame.to_vec()));
        assert_eq!((u16_at(&frame, 12), u16_at(&frame, 20)), (packet::ARP, 2));
        assert_eq!(frame[28..32], target.octets());
        assert_eq!(frame[22..28], mac_v4(target));
        assert_eq!(frame[6..12], mac_v4(target));
    }
    assert!(guest.frames.is_empty());
}

/// A message of a DHCP client.
fn dhcp(mac: Mac, kind: Option<u8>, more: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 236];
    body[..3].copy_from_slice(&[1, 1, 6]);
    body[4..8].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
    body[28..34].copy_from_slice(&mac);
    body.extend_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    if let Some(kind) = kind {
        body.extend_from_slice(&[53, 1, kind]);
    }
    body.extend_from_slice(more);
    body.push(255);
    let from = "0.0.0.0:68".parse().unwrap();
    datagrams(from, "255.255.255.255:67".parse().unwrap(), &body).remove(0)
}

/// Options by their codes.
type Options = Vec<(u8, Vec<u8>)>;

/// The next answer: the address, and the options in order.
fn offered(guest: &mut Guest) -> (Ipv4Addr, Options, Vec<u8>) {
    let (from, body) = guest.datagram(68);
    assert_eq!(from, "10.0.2.2:67".parse().unwrap());
    assert_eq!((body[0], &body[4..8]), (2, &[0xde, 0xad, 0xbe, 0xef][..]));
    let mut options = Vec::new();
    let mut rest = &body[240..];
    while rest[0] != 255 {
        let len = usize::from(rest[1]);
        options.push((rest[0], rest[2..2 + len].to_vec()));
        rest = &rest[2 + len..];
    }
    (Ipv4Addr::from(<[u8; 4]>::try_from(&body[16..20]).unwrap()), options, body)
}

#[test]
fn dhcp_leases_an_address() {
    let mut guest =
        Guest::new("hostname=vm,domainname=lab.test,dnssearch=a.test,bootfile=pxe.0,tftp-server-name=boot");
    guest.send(&dhcp(MAC, Some(1), &[]));
    let frame = guest.frame("an offer", |frame| Some(frame.to_vec()));
    assert_eq!((frame.len(), &frame[..6]), (590, &[0xff; 6][..]));
    guest.frames.push(frame);
    let (address, options, body) = offered(&mut guest);
    assert_eq!(address, IP);
    let codes: Vec<u8> = options.iter().map(|option| option.0).collect();
    assert_eq!(codes, [53, 54, 1, 3, 6, 51, 12, 15, 66, 119]);
    assert_eq!(options[0].1, [2]);
    assert_eq!(options[3].1, HOST.octets());
    assert_eq!(options[4].1, DNS.octets());
    assert_eq!(options[9].1, b"\x01a\x04test\0");
    assert_eq!(&body[108..114], b"pxe.0\0");
    assert_eq!(body[20..24], HOST.octets());
    guest.send(&dhcp(MAC, Some(3), &[50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]));
    assert_eq!(offered(&mut guest).1[0].1, [5]);
    // Another station gets another address, the same one the same.
    guest.send(&dhcp([2, 0, 0, 0, 0, 1], Some(1), &[]));
    assert_eq!(offered(&mut guest).0, Ipv4Addr::new(10, 0, 2, 16));
    guest.send(&dhcp(MAC, Some(1), &[]));
    assert_eq!(offered(&mut guest).0, IP);
    // One that is outside or taken is refused, by broadcast.
    for wish in [[10, 0, 2, 99], [10, 0, 2, 16], [192, 168, 0, 1]] {
        guest.send(&dhcp(MAC, Some(3), &[50, 4, wish[0], wish[1], wish[2], wish[3]]));
        let (address, options, _) = offered(&mut guest);
        assert_eq!((address, &options[0].1[..]), (Ipv4Addr::UNSPECIFIED, &[6][..]));
    }
    // Another server was chosen; INFORM, RELEASE and DECLINE: silence. BOOTP: an answer without a type.
    guest.send(&dhcp(MAC, Some(3), &[50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 9]));
    for kind in [4, 7, 8] {
        guest.send(&dhcp(MAC, Some(kind), &[]));
    }
    guest.send(&dhcp(MAC, None, &[]));
    let (address, options, _) = offered(&mut guest);
    assert_eq!((address, options[0].0), (IP, 1));
    assert!(guest.frames.is_empty());
}

#[test]
fn a_million_stations_share_sixteen_leases() {
    let mut guest = Guest::new("restrict=on");
    for number in 0..200u8 {
        guest.send(&dhcp([2, 0, 0, 0, 1, number], Some(1), &[]));
        let (address, options, _) = offered(&mut guest);
        assert!((15..31).contains(&address.octets()[3]), "{address}");
        // Restricted: neither a router nor a name server.
        assert!(options.iter().all(|option| ![3, 6].contains(&option.0)));
    }
}

#[test]
fn echo_of_the_host_and_the_name_server() {
    let mut guest = Guest::new("");
    for to in [IpAddr::from(HOST), DNS.into(), HOST6.into(), LINK_LOCAL.into()] {
        let payload = pattern(1000);
        guest.send(&echo(to, 77, &payload));
        assert_eq!(guest.frame("an echo", |frame| echoed(frame, to)), payload);
    }
    // In pieces, both ways.
    let payload = pattern(4000);
    let whole = echo(HOST.into(), 78, &payload)[34..].to_vec();
    let mut pieces = super::super::reassembly::Reassembly::default();
    for (index, part) in whole.chunks(1480).enumerate() {
        let mut packet = vec![0; 20];
        let more = u16::from((index + 1) * 1480 < whole.len()) << 13;
        packet::write_v4(&mut packet, (IP, HOST), 1, 20 + part.len(), 3, more | (index * 185) as u16);
        packet.extend_from_slice(part);
        guest.send(&ethernet(mac_v4(HOST), packet::IPV4, &packet));
    }
    let whole = guest.until("an echo in pieces", |guest| {
        guest.frames.drain(..).find_map(|frame| pieces.add(&ip(&frame)?, Instant::now()))
    });
    assert_eq!(whole[8..], payload);
}

#[test]
fn routers_and_neighbours_of_ipv6() {
    let mut guest = Guest::new("bootfile=pxe.efi,dnssearch=a.test");
    let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x15);
    let icmp = |from: Ipv6Addr, to: Ipv6Addr, body: &[u8]| {
        let mut body = body.to_vec();
        let sum = checksum_with(from.into(), to.into(), ICMPV6, &body);
        put16(&mut body, 2, sum);
        packet(from.into(), to.into(), ICMPV6, &body)
    };
    let routers = "ff02::2".parse().unwrap();
    guest.send(&icmp(own, routers, &[133, 0, 0, 0, 0, 0, 0, 0]));
    let advert = guest.frame("an advertisement", |frame| from_router(frame, 134));
    assert_eq!(advert[16..24], [1, 1, 0x52, 0x56, 0, 0, 0, 2]);
    assert_eq!(advert[24..28], [3, 4, 64, 0xc0]);
    assert_eq!(advert[40..56], Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0).octets());
    assert_eq!((advert[56], &advert[64..80]), (25, &"fec0::3".parse::<Ipv6Addr>().unwrap().octets()[..]));
    // Who has an address of nobody's, then the host's.
    for target in ["fec0::9".parse().unwrap(), HOST6] {
        let mut ask = vec![135, 0, 0, 0, 0, 0, 0, 0];
        ask.extend_from_slice(&target.octets());
        guest.send(&icmp(own, "ff02::1:ff00:2".parse().unwrap(), &ask));
    }
    let answer = guest.frame("a neighbour", |frame| from_router(frame, 136));
    assert_eq!((answer[4], &answer[8..24]), (0xe0, &HOST6.octets()[..]));
    assert_eq!(answer[24..32], [2, 1, 0x52, 0x56, 0, 0, 0, 2]);
    // DHCPv6: what else there is to know.
    let request = [11, 1, 2, 3, 0, 1, 0, 4, 9, 9, 9, 9, 0, 6, 0, 2, 0, 59];
    let (from, to) = (SocketAddr::new(own.into(), 546), "[ff02::1:2]:547".parse().unwrap());
    guest.send(&datagrams(from, to, &request)[0]);
    let (_, reply) = guest.datagram(546);
    assert_eq!(reply[..12], [7, 1, 2, 3, 0, 1, 0, 4, 9, 9, 9, 9]);
    assert!(String::from_utf8_lossy(&reply).ends_with("tftp://[fec0::2]/pxe.efi"));
    assert!(guest.frames.is_empty());

    let mut off = Guest::new("ipv6=off");
    off.send(&icmp(own, routers, &[133, 0, 0, 0, 0, 0, 0, 0]));
    off.send(&arp(1, IP, HOST));
    let first = off.frame("an ARP reply", |frame| Some(u16_at(frame, 12)));
    assert_eq!(first, packet::ARP);
}

/// Reads a file by TFTP with a block size.
fn fetch(guest: &mut Guest, server: IpAddr, name: &str, block: Option<usize>) -> Result<Vec<u8>, u16> {
    let server = SocketAddr::new(server, 69);
    let mut request = format!("\0\x01{name}\0octet\0").into_bytes();
    if let Some(block) = block {
        request.extend_from_slice(format!("tsize\x000\0blksize\0{block}\0").as_bytes());
    }
    guest.udp(3000, server, &request);
    let (mut all, mut next) = (Vec::new(), 1u16);
    loop {
        let (from, data) = guest.datagram(3000);
        assert_eq!(from, server);
        match u16_at(&data, 0) {
            6 => {
                let text = String::from_utf8_lossy(&data[2..]).into_owned();
                assert!(text.contains(&format!("blksize\0{}\0", block.unwrap().min(1428))), "{text:?}");
                guest.udp(3000, server, &[0, 4, 0, 0]);
            }
            3 => {
                assert_eq!(u16_at(&data, 2), next);
                all.extend_from_slice(&data[4..]);
                guest.udp(3000, server, &[0, 4, data[2], data[3]]);
                if data.len() - 4 < block.map_or(512, |block| block.min(1428)) {
                    return Ok(all);
                }
                next = next.wrapping_add(1);
            }
            5 => return Err(u16_at(&data, 2)),
            other => panic!("operation {other}"),
        }
    }
}

#[test]
fn tftp_gives_files_of_its_folder_and_no_other() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("boot");
    std::fs::create_dir(&folder).unwrap();
    std::fs::create_dir(folder.join("sub")).unwrap();
    let (small, even) = (pattern(100_001), pattern(1024));
    std::fs::write(folder.join("sub/small"), &small).unwrap();
    std::fs::write(folder.join("even"), &even).unwrap();
    std::fs::write(above.path().join("secret"), b"secret").unwrap();
    std::os::unix::fs::symlink("../secret", folder.join("out")).unwrap();
    std::os::unix::fs::symlink("even", folder.join("in")).unwrap();
    let mut guest = Guest::new(&format!("restrict=on,tftp={}", folder.display()));
    for block in [None, Some(1024), Some(60_000)] {
        assert_eq!(fetch(&mut guest, HOST.into(), "/sub/small", block).unwrap(), small);
    }
    assert_eq!(fetch(&mut guest, HOST6.into(), "even", None).unwrap(), even);
    assert_eq!(fetch(&mut guest, HOST.into(), "in", Some(512)).unwrap(), even);
    for (name, code) in [("none", 1), ("../secret", 2), ("out", 2), ("sub", 2), ("sub/../../secret", 2)] {
        assert_eq!(fetch(&mut guest, HOST.into(), name, None), Err(code), "{name}");
    }
    guest.udp(3000, SocketAddr::new(HOST.into(), 69), b"\0\x02even\0octet\0");
    assert_eq!(guest.datagram(3000).1[..4], [0, 5, 0, 2]);
    // Without a folder.
    let mut none = Guest::new("");
    assert_eq!(fetch(&mut none, HOST.into(), "even", None), Err(2));
}

/// A packet of a file by TFTP: block and data.
fn block(guest: &mut Guest) -> (u16, Vec<u8>) {
    let (_, data) = guest.datagram(3000);
    assert_eq!(u16_at(&data, 0), 3, "{data:?}");
    (u16_at(&data, 2), data[4..].to_vec())
}

#[test]
fn tftp_sends_a_window_before_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let content = pattern(512 * 9 + 5);
    std::fs::write(folder.path().join("file"), &content).unwrap();
    let mut guest = Guest::new(&format!("tftp={}", folder.path().display()));
    let server = SocketAddr::new(HOST.into(), 69);
    let numbers = |guest: &mut Guest, count| (0..count).map(|_| block(guest).0).collect::<Vec<_>>();
    let acknowledge = |guest: &mut Guest, block: u16| {
        let [high, low] = block.to_be_bytes();
        guest.udp(3000, server, &[0, 4, high, low]);
    };
    guest.udp(3000, server, b"\0\x01file\0octet\0windowsize\x004\0");
    assert_eq!(guest.datagram(3000).1, b"\0\x06windowsize\x004\0");
    acknowledge(&mut guest, 0);
    assert_eq!(numbers(&mut guest, 4), [1, 2, 3, 4]);
    // The third was lost, then the whole window: it goes on behind what has come.
    acknowledge(&mut guest, 2);
    assert_eq!(numbers(&mut guest, 4), [3, 4, 5, 6]);
    acknowledge(&mut guest, 2);
    assert_eq!(numbers(&mut guest, 4), [3, 4, 5, 6]);
    // What was not sent cannot have come, nor does what has come get lost.
    acknowledge(&mut guest, 7);
    acknowledge(&mut guest, 1);
    acknowledge(&mut guest, 6);
    assert_eq!(numbers(&mut guest, 4), [7, 8, 9, 10]);
    acknowledge(&mut guest, 9);
    let (number, data) = block(&mut guest);
    assert_eq!((number, &data[..]), (10, &content[512 * 9..]));
    acknowledge(&mut guest, 10);
    // It is over: the session is no more.
    acknowledge(&mut guest, 9);
    guest.udp(3000, server, b"\0\x01file\0octet\0windowsize\x0065535\0");
    assert_eq!(guest.datagram(3000).1, b"\0\x06windowsize\x0064\0");
    acknowledge(&mut guest, 0);
    assert_eq!(numbers(&mut guest, 10), (1..=10).collect::<Vec<_>>());
    assert!(guest.frames.is_empty());
}
