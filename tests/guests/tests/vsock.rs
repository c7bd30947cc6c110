//! Debian's cloud kernel with sockets that lead to the host. What speaks there is perl, of this machine, on a disk.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::{self, JoinHandle};

use anyhow::{Result, bail, ensure};
use guest_tests::random::Random;
use guest_tests::{Guest, Machine, case, perl, seconds};
use sha2::{Digest, Sha256};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";
const MB: usize = 1 << 20;

/// `send PORT FILE`: to that port of the host's, and then its answer; `listen PORT FILE`: from whoever connects, and then
/// how much that was. An address is a family, a port and a CID (`struct sockaddr_vm`).
const SPEAKER: &str = r#"
my ($what, $port, $file) = @ARGV;
my $address = sub { pack("S S L L x4", 40, 0, $port, shift) };
socket(my $socket, 40, 1, 0) or die "socket: $!";
if ($what eq "send") {
    connect($socket, $address->(2)) or die "connect: $!";
} else {
    bind($socket, $address->(0xffffffff)) or die "bind: $!";
    listen($socket, 5) or die "listen: $!";
    print "listening\n";
    accept(my $peer, $socket) or die "accept: $!";
    $socket = $peer;
}
open(my $data, $what eq "send" ? "<" : ">", $file) or die "$file: $!";
my ($from, $to) = $what eq "send" ? ($data, $socket) : ($socket, $data);
my $all = 0;
while (1) {
    my $read = sysread($from, my $piece, 65536);
    die "after $all: $!" unless defined $read;
    last if $read == 0;
    for (my $done = 0; $done < $read;) {
        my $now = syswrite($to, $piece, $read - $done, $done);
        die "after $all: $!" unless defined $now;
        $done += $now;
    }
    $all += $read;
}
if ($what eq "send") {
    shutdown($socket, 1);
    print while <$socket>;
} else {
    syswrite($socket, "got $all\n");
}
print "spoke $all\n";
"#;

/// Types a line and waits for what it says at its end.
fn run(guest: &mut Guest, command: &str, done: &str) -> Result<String> {
    let (before, after) = done.split_at(2);
    guest.type_line(&format!("{command}; echo '{before}''{after}'"))?;
    guest.wait_for(done, seconds(120))
}

fn sum(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes all that one connection brings, and answers.
fn take(listener: UnixListener) -> JoinHandle<std::io::Result<(UnixListener, Vec<u8>)>> {
    thread::spawn(move || {
        let (mut peer, _) = listener.accept()?;
        let mut all = Vec::new();
        peer.read_to_end(&mut all)?;
        peer.write_all(format!("host got {}\n", all.len()).as_bytes())?;
        Ok((listener, all))
    })
}

/// A connection to that port of the guest's.
fn connect(path: &Path, port: u32) -> Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(seconds(60)))?;
    writeln!(stream, "CONNECT {port}")?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    ensure!(line.starts_with("OK "), "the guest says {line:?}");
    Ok(stream)
}

/// A megabyte each way.
fn both_ways(guest: &mut Guest, listener: UnixListener, path: &Path, word: &str) -> Result<UnixListener> {
    let taken = take(listener);
    run(guest, "head -c 1048576 /dev/urandom > /tmp/f; sha256sum /tmp/f", &format!("{word}made"))?;
    run(guest, "perl /speaker send 52 /tmp/f", &format!("{word}sent"))?;
    ensure!(guest.said().contains("host got 1048576"), "{}", guest.said());
    let Ok(taken) = taken.join() else { bail!("the host's end") };
    let (listener, all) = taken?;
    ensure!(guest.said().contains(&sum(&all)), "what came is not what was sent");
    let mut random = Random::new();
    let data: Vec<u8> = (0..MB).map(|_| random.below(256) as u8).collect();
    guest.type_line("perl /speaker listen 1234 /tmp/g; sha256sum /tmp/g")?;
    guest.wait_for("listening", seconds(60))?;
    let mut stream = connect(path, 1234)?;
    stream.get_mut().write_all(&data)?;
    stream.get_mut().shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_line(&mut answer)?;
    ensure!(answer == "got 1048576\n", "{answer:?}");
    guest.wait_for(&sum(&data), seconds(60))?;
    Ok(listener)
}

fn try_it(properties: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("v");
    let listener = UnixListener::bind(folder.path().join("v_52"))?;
    let device = format!("virtio-vsock-pci,guest-cid=42,socket={}{properties}", path.display());
    let machine = Machine::new()?
        .virtio_disk(&perl::disk(folder.path(), &[("speaker", SPEAKER.as_bytes())])?, "raw", "")
        .device(device);
    let mut guest = machine.kernel("virtio", APPEND)?.boot()?;
    guest.wait_for("ailurus:/root#", seconds(240))?;
    run(&mut guest, "mkdir -p /usr; tar -xf /dev/vda -C /; export PATH=$PATH:/usr/bin", "unpacked")?;
    run(&mut guest, "echo x > /tmp/x; perl /speaker send 53 /tmp/x", "refused")?;
    ensure!(guest.said().contains("connect: Connection reset by peer"), "{}", guest.said());
    let listener = both_ways(&mut guest, listener, &path, "first")?;

    // Saved with a connection open, and half of what it carries on its way.
    guest.type_line("perl /speaker listen 1235 /tmp/h; echo 'it ''ended'")?;
    guest.wait_for("listening", seconds(60))?;
    let mut stream = connect(&path, 1235)?;
    stream.get_mut().write_all(&[7; MB / 2])?;
    let file = folder.path().join("saved");
    guest.save(&file)?;
    let mut guest = Guest::restore(&file)?;
    guest.wait_for("it ended", seconds(60))?;
    // The first if it waits for data at that moment, the second if it asks for them afterwards.
    let ends = ["Connection reset by peer", "Transport endpoint is not connected"];
    ensure!(ends.iter().any(|end| guest.said().contains(end)), "{}", guest.said());
    both_ways(&mut guest, listener, &path, "again")?;
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(60))
}

#[test]
fn a_megabyte_goes_each_way_also_after_a_restore() {
    case("virtio-vsock: 1 MB each way with sums, saved with a connection open, and again", || try_it(""));
}

#[test]
#[ignore = "all: as the everyday one, with other rings"]
fn also_by_packed_rings_and_without_messages() {
    case("virtio-vsock: packed", || try_it(",packed=on"));
    case("virtio-vsock: INTx", || try_it(",vectors=0"));
}
