//! Debian's cloud kernel with every virtio device at work, saved and restored again and again.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_tests::random::Random;
use guest_tests::{Guest, Machine, case, seconds};
use serde_json::json;
use sha2::{Digest, Sha256};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";
const SAVES: u32 = 20;
const MIB: u64 = 1 << 20;

/// The guest's own work: disks are written and read back past its cache, random numbers and downloads come. What is
/// wrong is written to `bad`, what was done is counted.
const WORK: [&str; 8] = [
    "sum() { md5sum | cut -d ' ' -f 1; }; head -c 1048576 /dev/urandom > x; S=$(sum < x); touch run bad",
    "count() { n=$((n+1)); echo $n > count-$1; }",
    "put() { dd if=x of=$1 bs=64k seek=$2 conv=fsync,notrunc 2>/dev/null; echo 1 > /proc/sys/vm/drop_caches; }",
    "get() { dd if=$1 bs=64k skip=$2 count=16 2>/dev/null | sum; }",
    "disk() { n=0; while test -e run; do o=$((n%8*16)); put /dev/$1 $o; \
     test \"$(get /dev/$1 $o)\" = $S || echo $1 >> bad; count $1; done; }",
    "rng() { n=0; while test -e run; do test $(head -c 512 /dev/hwrng | wc -c) = 512 || echo rng >> bad; count rng; \
     done; }",
    // A connection that a restore has cut is no fault.
    "net() { n=0; while test -e run; do wget -q -O - $1 | sha256sum | grep -q $2 && count net; done; }",
    "disk vda & disk sda & rng &",
];

/// What each of them counts.
const OF: [&str; 4] = ["vda", "sda", "rng", "net"];

/// A server that answers every request with `data`: its port.
fn serve(data: Vec<u8>) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let data = data.clone();
            std::thread::spawn(move || -> std::io::Result<()> {
                // The request is short, and comes whole.
                let _ = stream.read(&mut [0; 4096])?;
                write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", data.len())?;
                stream.write_all(&data)
            });
        }
    });
    Ok(port)
}

/// Runs a line in the guest's shell and waits until it is done.
fn run(guest: &mut Guest, line: &str) -> Result<()> {
    guest.type_line(&format!("{line} echo done-$((40+2))-$?"))?;
    guest.wait_for("done-42-0", seconds(120)).map(drop)
}

/// What the guest has counted.
fn count(guest: &mut Guest, of: &str) -> Result<u64> {
    guest.type_line(&format!("echo count-$((40+2))-of-{of}-is-$(cat count-{of})-"))?;
    let line = guest.wait_for(&format!("count-42-of-{of}-is-"), seconds(60))?;
    let number = line.split("-is-").last().and_then(|rest| rest.split('-').next());
    number.and_then(|number| number.parse().ok()).with_context(|| format!("no number in {line:?}"))
}

fn saved_under_load(transport: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = |name: &str| -> Result<_> {
        let path = folder.path().join(name);
        File::create(&path)?.set_len(16 << 20)?;
        Ok(path)
    };
    let (vda, sda) = (image("vda")?, image("sda")?);
    let data: Vec<u8> =
        (0..2u64 << 20).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let digest: String = Sha256::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
    let port = serve(data)?;
    let machine = Machine::new()?.vcpus(2).virtio_disk(&vda, "raw", transport).scsi_host(transport);
    let machine =
        machine.scsi_drive(&sda, "raw", "scsi-hd").card(&format!("virtio-net-pci,{transport}"), "user");
    let machine = machine.device(format!("virtio-rng-pci,{transport}"));
    let machine = machine.device(format!("virtio-balloon-pci,id=b,free-page-reporting=on,{transport}"));
    let mut guest = machine.kernel("virtio", APPEND)?.boot()?;
    guest.wait_for("ailurus:/root#", seconds(240))?;
    run(&mut guest, "ip link set eth0 up; ifconfig eth0 10.0.2.15 up;")?;
    for line in WORK {
        // A line that leaves its work behind ends with its own sign.
        let end = if line.ends_with('&') { "" } else { ";" };
        run(&mut guest, &format!("{line}{end}"))?;
    }
    run(&mut guest, &format!("net http://10.0.2.2:{port}/ {digest} &"))?;
    let mut random = Random::new();
    for save in 0..SAVES {
        std::thread::sleep(Duration::from_millis(random.below(1500)));
        let size = (160 + random.below(300)) * MIB;
        guest.monitor()?.execute("balloon", json!({ "value": size }))?;
        std::thread::sleep(Duration::from_millis(random.below(200)));
        let file = folder.path().join(format!("{save}.saved"));
        guest.save(&file)?;
        guest = Guest::restore(&file)?;
        // It has read the file when it answers.
        guest.monitor()?;
        std::fs::remove_file(&file)?;
    }
    // A slow host takes longer for it.
    let enough = "until test $(cat count-$of) -gt 10 2>/dev/null; do sleep 1; done";
    run(&mut guest, &format!("for of in {}; do {enough}; done; rm run; wait;", OF.join(" ")))?;
    guest.type_line("echo bad-$((40+2))-$(sort bad | uniq -c | tr '\\n' '.')-end")?;
    let bad = guest.wait_for("bad-42-", seconds(60))?;
    ensure!(bad.contains("bad-42--end"), "{bad}");
    for of in OF {
        println!("  {of}: {} times", count(&mut guest, of)?);
    }
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(60))
}

#[test]
#[ignore = "all: 20 saves, minutes"]
fn every_virtio_device_is_saved_at_any_instant() {
    case("virtio: 20 saves at random instants under load", || saved_under_load("disable-legacy=on"));
    case("virtio, packed: 20 saves at random instants under load", || saved_under_load("packed=on"));
    case("virtio, legacy: 20 saves at random instants under load", || saved_under_load("disable-modern=on"));
}
