//! Debian's kernel with each network card on user networking: it gets an address, moves data both ways, is reached from
//! outside, and goes on after a save in the middle of a download.

mod boot;
mod hotplug;
mod names;
mod pairs;
mod replay;
mod switches;
mod vlans;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};
use sha2::{Digest, Sha256};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell";
/// Bytes of a download.
const LARGE: usize = 64 << 20;

/// Bytes that do not repeat soon.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len / 8).flat_map(next).collect()
}

fn sum(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server on the host's loopback: its port. Answers every request of HTTP with `data`, `pause` before each 64 KiB.
fn serve(data: Vec<u8>, pause: Duration) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let data = data.clone();
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte)? == 0 {
                        return Ok(());
                    }
                    request.push(byte[0]);
                }
                write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", data.len())?;
                for part in data.chunks(64 << 10) {
                    std::thread::sleep(pause);
                    stream.write_all(part)?;
                }
                Ok(())
            });
        }
    });
    Ok(port)
}

/// A server that takes what one client sends: its port, and what that was.
fn take() -> Result<(u16, JoinHandle<std::io::Result<Vec<u8>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let taken = std::thread::spawn(move || {
        let mut data = Vec::new();
        listener.accept()?.0.read_to_end(&mut data)?;
        Ok(data)
    });
    Ok((port, taken))
}

/// A port that nobody has now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs a line in the guest's shell and waits until it is done.
fn run(guest: &mut Guest, line: &str, patience: Duration) -> Result<String> {
    // What is typed comes back on the line, and must not look like the answer.
    guest.type_line(&format!("{line}; echo done-$((40+2))-$?"))?;
    let answer = guest.wait_for("done-42-", patience)?;
    ensure!(answer.contains("done-42-0"), "{line}: {answer}");
    Ok(guest.said())
}

/// The first network card gets an address.
fn address(guest: &mut Guest) -> Result<()> {
    guest.wait_for("ailurus:/root#", seconds(240))?;
    dhcp(guest, "10.0.2.15")
}

/// The first network card gets that address by DHCP.
fn dhcp(guest: &mut Guest, address: &str) -> Result<()> {
    let script = "mkdir -p /etc; echo '#!/bin/sh' >/dhcp; echo '[ \"$1\" = bound ] && ifconfig $interface $ip netmask \
                  $subnet && route add default gw $router && echo nameserver $dns >/etc/resolv.conf; exit 0' >>/dhcp; \
                  chmod +x /dhcp";
    run(guest, script, seconds(60))?;
    run(guest, "ip link set lo up", seconds(60))?;
    address_of(guest, "eth0", address)
}

/// This card gets that address by DHCP.
fn address_of(guest: &mut Guest, card: &str, address: &str) -> Result<()> {
    run(guest, &format!("ip link set {card} up; udhcpc -i {card} -s /dhcp -n -q"), seconds(120))?;
    run(guest, &format!("ifconfig {card} | grep 'inet addr:{address}'"), seconds(60)).map(drop)
}

fn download(guest: &mut Guest, data: &[u8], patience: Duration) -> Result<()> {
    download_from(guest, "10.0.2.2", data, patience)
}

/// From the host, by its name in one of the guest's networks.
fn download_from(guest: &mut Guest, host: &str, data: &[u8], patience: Duration) -> Result<()> {
    let port = serve(data.to_vec(), Duration::ZERO)?;
    let begun = Instant::now();
    let line = format!("wget -q -O - http://{host}:{port}/ | sha256sum | grep {}", sum(data));
    run(guest, &line, patience)?;
    let rate = data.len() as f64 / 1e6 / begun.elapsed().as_secs_f64();
    println!("  {} MiB down: {rate:.1} MB/s, with their checksum", data.len() >> 20);
    Ok(())
}

fn upload(guest: &mut Guest, mib: usize) -> Result<()> {
    let (port, taken) = take()?;
    let line = format!(
        "dd if=/dev/urandom of=/tmp/up bs=1M count={mib} 2>/dev/null; sha256sum /tmp/up; \
                        nc 10.0.2.2 {port} </tmp/up"
    );
    let said = run(guest, &line, seconds(240))?;
    let data = taken.join().ok().context("the server panicked")??;
    ensure!(data.len() == mib << 20, "{} bytes came", data.len());
    ensure!(said.contains(&sum(&data)), "what came is not what was sent");
    Ok(())
}

/// Copies some 8 MB from one guest to the other, over whatever is between them.
fn copy(one: &mut Guest, address: &str, other: &mut Guest) -> Result<()> {
    const LINES: u32 = 1_200_000;
    let lines: String = (1..=LINES).map(|n| format!("{n}\n")).collect();
    let serve = format!("seq 1 {LINES} >/tmp/up; nc -l -p 7 </tmp/up & sleep 1; echo list$((40+2))ens");
    one.type_line(&serve)?;
    one.wait_for("list42ens", seconds(240))?;
    // Its input stays open: busybox's nc ends when the other side has nothing more to say.
    let line = format!("nc {address} 7 | sha256sum | grep {}", sum(lines.as_bytes()));
    run(other, &line, seconds(240)).map(drop)
}

/// The kernel that has a driver for a card.
fn kernel(model: &str) -> &'static str {
    if model.starts_with("virtio") { "virtio" } else { "net" }
}

/// All that a card is for.
fn card(model: &str, large: usize) -> Result<()> {
    let port = free_port()?;
    let net = format!("user,hostfwd=tcp:127.0.0.1:{port}-:7");
    let mut guest = Machine::new()?.card(model, &net).kernel(kernel(model), APPEND)?.boot()?;
    address(&mut guest)?;
    download(&mut guest, &noise(large), seconds(300))?;
    // A frame that its driver could not make sense of costs TCP a second, and nothing else shows it.
    run(&mut guest, "awk '/eth0:/ { exit $7 }' /proc/net/dev", seconds(60)).context("frames with errors")?;
    upload(&mut guest, 8)?;
    let said = run(&mut guest, "ping -c 1000 -A -q 10.0.2.2", seconds(120))?;
    ensure!(said.contains("1000 packets transmitted, 1000 packets received"), "pings were lost");
    guest.type_line("nc -l -p 7 -e cat & sleep 1; echo list$((40+2))ens")?;
    guest.wait_for("list42ens", seconds(60))?;
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(seconds(60)))?;
    stream.write_all(b"from outside")?;
    let mut back = [0; 12];
    stream.read_exact(&mut back)?;
    ensure!(&back == b"from outside", "{back:?}");
    drop(stream);
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(60))
}

#[test]
fn e1000_moves_data_both_ways() {
    case("e1000 on user networking", || card("e1000", LARGE));
}

#[test]
fn e1000e_moves_data_both_ways() {
    case("e1000e on user networking", || card("e1000e", LARGE));
}

#[test]
fn rtl8139_moves_data_both_ways() {
    case("rtl8139 on user networking", || card("rtl8139", LARGE));
}

#[test]
fn ne2k_pci_moves_data_both_ways() {
    case("ne2k_pci on user networking", || card("ne2k_pci", LARGE / 16));
}

#[test]
fn a_virtio_card_moves_data_both_ways() {
    case("virtio-net-pci on user networking", || card("virtio-net-pci", LARGE));
}

#[test]
#[ignore = "all: another way to the same card"]
fn so_it_does_for_other_drivers() {
    for properties in ["packed=on", "disable-modern=on,vectors=0", "mrg_rxbuf=off,ctrl_vq=off,event_idx=off"]
    {
        let model = format!("virtio-net-pci,{properties}");
        case(&format!("{model} on user networking"), || card(&model, LARGE));
    }
}

#[test]
fn a_virtio_card_goes_on_with_a_download_after_it_was_saved() {
    saved("virtio-net-pci");
}

/// Saved in the middle of a download, and restored.
fn saved(model: &'static str) {
    case(&format!("{model}, saved in the middle of a download, and restored"), || {
        let mut guest = Machine::new()?.card(model, "user").kernel(kernel(model), APPEND)?.boot()?;
        address(&mut guest)?;
        let data = noise(8 << 20);
        // Two seconds and more, and a client that gives a silent connection up and tries again.
        let port = serve(data.clone(), Duration::from_millis(20))?;
        guest.type_line(&format!(
            "until timeout 15 wget -q -O /tmp/down http://10.0.2.2:{port}/; do sleep 1; done; sha256sum /tmp/down; \
             echo down-$((40+2))"
        ))?;
        std::thread::sleep(seconds(1));
        let file = guest.folder().join("downloading.saved");
        guest.save(&file)?;
        guest.kill();
        let mut guest = Guest::restore(&file)?;
        guest.wait_for("down-42", seconds(240))?;
        ensure!(guest.said().contains(&sum(&data)), "another checksum");
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}

#[test]
fn a_guest_goes_on_with_a_download_after_it_was_saved() {
    saved("e1000");
}

#[test]
fn so_does_one_with_message_signalled_interrupts() {
    saved("e1000e");
}

/// Two guests on one cable.
#[test]
fn two_guests_talk_over_a_stream() {
    case("two guests with e1000 on one stream", || {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("cable").display().to_string();
        let listen = format!("stream,addr.type=unix,addr.path={socket},server=on");
        let guest = |card: &str, net: &str| Machine::new()?.card(card, net).kernel("net", APPEND)?.boot();
        let mut one = guest("e1000", &listen)?;
        one.wait_for("ailurus:/root#", seconds(240))?;
        let mut other = guest("e1000,mac=52:54:00:12:34:57", &format!("stream:{socket}"))?;
        other.wait_for("ailurus:/root#", seconds(240))?;
        run(&mut one, "ip link set eth0 up; ifconfig eth0 10.1.1.1 up", seconds(60))?;
        run(&mut other, "ip link set eth0 up; ifconfig eth0 10.1.1.2 up", seconds(60))?;
        let said = run(&mut other, "ping -c 1000 -A -q 10.1.1.1", seconds(120))?;
        ensure!(said.contains("1000 packets transmitted, 1000 packets received"), "pings were lost");
        copy(&mut one, "10.1.1.1", &mut other)
    });
}
