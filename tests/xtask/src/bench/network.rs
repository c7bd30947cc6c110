//! Network cards: Linux with each card, on user networking and on a socket of a host program's.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_tests::{Guest, Machine, Program, seconds};

use super::Better;
use super::measures::{Bound, Measure};
use crate::process;

pub(super) const fn row(
    name: &'static str,
    unit: &'static str,
    better: Better,
    take: fn(&Program) -> Result<f64>,
) -> Measure {
    Measure { name, unit, asked: "better than QEMU's", bound: Bound::Ratio(better, 1.0), take }
}

/// The rows, all with `net` in their names.
pub const MEASURES: &[Measure] = &[
    row("net: e1000 download", "MB/s", Better::More, |p| Ok(download(p, "e1000")?.rate)),
    row("net: e1000 download, CPU", "s/GB", Better::Less, |p| Ok(download(p, "e1000")?.cpu)),
    row("net: e1000 upload", "MB/s", Better::More, |p| Ok(upload(p, "e1000")?.rate)),
    row("net: e1000 upload, CPU", "s/GB", Better::Less, |p| Ok(upload(p, "e1000")?.cpu)),
    row("net: e1000 ping, user", "µs", Better::Less, |p| ping(p, "e1000", Peer::User)),
    row("net: e1000 ping, socket", "µs", Better::Less, |p| ping(p, "e1000", Peer::Socket)),
    row("net: e1000 64-byte packets", "1/s", Better::More, |p| packets(p, "e1000")),
    row("net: rtl8139 download", "MB/s", Better::More, |p| Ok(download(p, "rtl8139")?.rate)),
    row("net: rtl8139 download, CPU", "s/GB", Better::Less, |p| Ok(download(p, "rtl8139")?.cpu)),
    row("net: rtl8139 upload", "MB/s", Better::More, |p| Ok(upload(p, "rtl8139")?.rate)),
    row("net: rtl8139 upload, CPU", "s/GB", Better::Less, |p| Ok(upload(p, "rtl8139")?.cpu)),
    row("net: rtl8139 ping, user", "µs", Better::Less, |p| ping(p, "rtl8139", Peer::User)),
    row("net: rtl8139 ping, socket", "µs", Better::Less, |p| ping(p, "rtl8139", Peer::Socket)),
    row("net: rtl8139 64-byte packets", "1/s", Better::More, |p| packets(p, "rtl8139")),
];

/// Bytes of a download.
const DOWN: usize = 64 << 20;
/// MiB of an upload, of zeros that are sent from the guest's page cache.
const UP: usize = 32;
/// Pings of a measure.
const PINGS: u32 = 2000;
/// How long a line may take on a busy machine.
const PATIENCE: Duration = seconds(300);
/// The host program's station on the socket.
const STATION: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];

/// Who is at the other end of the cable.
#[derive(Clone, Copy)]
pub(super) enum Peer {
    /// The program's own user network.
    User,
    /// A host program that answers ARP and pings over `-netdev socket`.
    Socket,
}

/// What a transfer took.
pub(super) struct Transfer {
    /// Megabytes a second.
    pub(super) rate: f64,
    /// CPU time of the whole program, guest and all, seconds a gigabyte.
    pub(super) cpu: f64,
}

/// A guest whose card has the address 10.0.2.15, at a shell.
fn guest(program: &Program, card: &str, net: &str) -> Result<Guest> {
    let append = "console=ttyS0,115200 quiet ailurus=shell";
    let kernel = if card.starts_with("virtio") { "virtio" } else { "net" };
    let machine = Machine::on(program.clone()).memory(256).card(card, net).kernel(kernel, append)?;
    let mut guest = machine.boot()?;
    guest.wait_for("ailurus:/root#", PATIENCE)?;
    let up = "ip link set lo up; ip link set eth0 up; ifconfig eth0 10.0.2.15 netmask 255.255.255.0";
    run(&mut guest, &format!("{up}; until ping -c 1 -W 1 10.0.2.2 >/dev/null; do :; done"))?;
    Ok(guest)
}

/// Runs a line in the guest's shell: what it says.
fn run(guest: &mut Guest, line: &str) -> Result<String> {
    guest.type_line(&format!("{line}; echo done-$((40+2))-$?"))?;
    let answer = guest.wait_for("done-42-", PATIENCE)?;
    ensure!(answer.contains("done-42-0"), "`{line}` fails in the guest:\n{answer}");
    Ok(guest.said())
}

/// How long a line takes and how much of the CPU.
fn transfer(guest: &mut Guest, line: &str, bytes: usize) -> Result<Transfer> {
    let (begun, before) = (Instant::now(), process::cpu_time(guest.pid())?);
    run(guest, line)?;
    let time = begun.elapsed().as_secs_f64();
    let used = process::cpu_time(guest.pid())?.saturating_sub(before).as_secs_f64();
    Ok(Transfer { rate: bytes as f64 / 1e6 / time, cpu: used / (bytes as f64 / 1e9) })
}

pub(super) fn download(program: &Program, card: &str) -> Result<Transfer> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut request = [0; 4096];
        let _ = stream.read(&mut request)?;
        write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {DOWN}\r\n\r\n")?;
        stream.write_all(&vec![0x5a; DOWN])
    });
    let mut guest = guest(program, card, "user")?;
    transfer(&mut guest, &format!("wget -q -O /dev/null http://10.0.2.2:{port}/"), DOWN)
}

pub(super) fn upload(program: &Program, card: &str) -> Result<Transfer> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let taken = std::thread::spawn(move || -> std::io::Result<u64> {
        std::io::copy(&mut listener.accept()?.0, &mut std::io::sink())
    });
    let mut guest = guest(program, card, "user")?;
    run(&mut guest, &format!("dd if=/dev/zero of=/tmp/up bs=1M count={UP} 2>/dev/null"))?;
    let took = transfer(&mut guest, &format!("nc 10.0.2.2 {port} </tmp/up"), UP << 20)?;
    let bytes = taken.join().ok().context("the server panicked")??;
    ensure!(bytes == (UP << 20) as u64, "{bytes} bytes came");
    Ok(took)
}

/// Microseconds from one ping's sending to its answer, on average.
pub(super) fn ping(program: &Program, card: &str, peer: Peer) -> Result<f64> {
    let mut guest = at(program, card, peer)?;
    let said = run(&mut guest, &format!("ping -c {PINGS} -A -q -s 22 10.0.2.2"))?;
    let times = said.lines().rev().find(|line| line.contains("min/avg/max")).context("no times of pings")?;
    let average = times.split(['=', '/']).nth(4).context("no average")?;
    Ok(average.trim().parse::<f64>().with_context(|| format!("the average in {times}"))? * 1000.0)
}

/// Frames of 64 bytes (with their checksum) a second: pings out and their answers in.
pub(super) fn packets(program: &Program, card: &str) -> Result<f64> {
    let mut guest = at(program, card, Peer::Socket)?;
    let begun = Instant::now();
    run(&mut guest, &format!("ping -c {PINGS} -A -q -s 18 10.0.2.2"))?;
    Ok(2.0 * f64::from(PINGS) / begun.elapsed().as_secs_f64())
}

fn at(program: &Program, card: &str, peer: Peer) -> Result<Guest> {
    match peer {
        Peer::User => guest(program, card, "user"),
        Peer::Socket => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let port = listener.local_addr()?.port();
            std::thread::spawn(move || listener.accept().and_then(|(stream, _)| answer(stream)));
            guest(program, card, &format!("socket,connect=127.0.0.1:{port}"))
        }
    }
}

/// A host at 10.0.2.2 that answers ARP and pings until its peer is gone.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut length = [0; 4];
    let mut frame = vec![0; 65536];
    loop {
        stream.read_exact(&mut length)?;
        let len = u32::from_be_bytes(length) as usize;
        let Some(frame) = frame.get_mut(..len) else { return Ok(()) };
        stream.read_exact(frame)?;
        if turn(frame) {
            let packet = [&length[..], frame].concat();
            stream.write_all(&packet)?;
        }
    }
}

/// Makes a question its answer, in place. False: it is none.
fn turn(frame: &mut [u8]) -> bool {
    let is = |at: usize, what: &[u8]| frame.get(at..at + what.len()) == Some(what);
    // ARP (RFC 826): who has 10.0.2.2; ICMP (RFC 792): echo request over IPv4 with no options.
    let arp = is(12, &[8, 6]) && is(20, &[0, 1]) && is(38, &[10, 0, 2, 2]);
    let echo = is(12, &[8, 0, 0x45]) && is(23, &[1]) && is(30, &[10, 0, 2, 2]) && is(34, &[8]);
    if !arp && !echo {
        return false;
    }
    frame.copy_within(6..12, 0);
    frame[6..12].copy_from_slice(&STATION);
    if arp {
        frame[21] = 2;
        frame.copy_within(22..32, 32);
        frame[22..28].copy_from_slice(&STATION);
        frame[28..32].copy_from_slice(&[10, 0, 2, 2]);
        return true;
    }
    frame.copy_within(26..30, 30);
    frame[26..30].copy_from_slice(&[10, 0, 2, 2]);
    // Type 8 becomes 0: the checksum grows by what the type's word lost.
    frame[34] = 0;
    let sum = u32::from(u16::from_be_bytes([frame[36], frame[37]])) + 0x0800;
    let sum = (sum + (sum >> 16)) as u16;
    frame[36..38].copy_from_slice(&sum.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(words: &[u8]) -> u16 {
        let total: u32 = words.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        (total + (total >> 16)) as u16
    }

    #[test]
    fn the_host_program_answers_what_it_is_asked() {
        let mut arp = [0; 42];
        arp[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        arp[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        arp[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        arp[28..32].copy_from_slice(&[10, 0, 2, 15]);
        arp[38..42].copy_from_slice(&[10, 0, 2, 2]);
        assert!(turn(&mut arp));
        assert_eq!(arp[..12], [2, 0, 0, 0, 0, 1, 0x52, 0x55, 10, 0, 2, 2]);
        assert_eq!(arp[20..], [0, 2, 0x52, 0x55, 10, 0, 2, 2, 10, 0, 2, 2, 2, 0, 0, 0, 0, 1, 10, 0, 2, 15]);
        assert!(!turn(&mut arp), "an answer is no question");
        let mut echo = [0; 60];
        echo[12..15].copy_from_slice(&[8, 0, 0x45]);
        echo[23] = 1;
        echo[26..34].copy_from_slice(&[10, 0, 2, 15, 10, 0, 2, 2]);
        echo[34..42].copy_from_slice(&[8, 0, 0, 0, 0x12, 0x34, 0, 1]);
        let check = !sum(&echo[34..]);
        echo[36..38].copy_from_slice(&check.to_be_bytes());
        assert!(turn(&mut echo));
        assert_eq!((echo[34], sum(&echo[34..])), (0, 0xffff));
        assert_eq!(echo[26..34], [10, 0, 2, 2, 10, 0, 2, 15]);
    }
}
