//! Debian's cloud kernel with a virtio console: hvc0, a port with a name, ports that come and go.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};
use serde_json::json;

const APPEND: &str = "console=hvc0 console=ttyS0,115200 ailurus=shell quiet";
const MB: usize = 1 << 20;

/// Bytes in which a piece that is lost or comes twice is seen.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn connect(path: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(path).with_context(|| format!("{} does not answer", path.display()))?;
    stream.set_read_timeout(Some(seconds(120)))?;
    Ok(stream)
}

/// Reads until that text has come.
fn read_until(stream: &mut UnixStream, text: &str) -> Result<String> {
    let (mut said, until) = (Vec::new(), Instant::now() + seconds(120));
    while !String::from_utf8_lossy(&said).contains(text) {
        let mut piece = [0; 256];
        let len = stream.read(&mut piece).context("the console says nothing")?;
        ensure!(len > 0 && Instant::now() < until, "no {text:?} in {:?}", String::from_utf8_lossy(&said));
        said.extend(&piece[..len]);
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Does something in the shell and waits for what it says then, which was not typed.
fn shell(guest: &mut Guest, command: &str, answer: &str) -> Result<String> {
    guest.type_line(&format!("{command}; echo it-is-$((40+2))-{answer}"))?;
    guest.wait_for(&format!("it-is-42-{answer}"), seconds(120))
}

fn wait(guest: &mut Guest, until: &str, answer: &str) -> Result<String> {
    shell(guest, &format!("until {until}; do sleep 0.1; done"), answer)
}

/// The port of that name, as /dev has it.
fn find(guest: &mut Guest, name: &str) -> Result<()> {
    let all = "/sys/class/virtio-ports/*/name";
    wait(guest, &format!("grep -qx {name} {all}"), "named")?;
    shell(guest, &format!("P=/dev/$(basename $(dirname $(grep -lx {name} {all})))"), "found").map(drop)
}

#[test]
fn a_console_and_a_port_carry_what_is_said() {
    case("virtio console: hvc0, 1 MB by a port, saved with half of it sent, a port plugged", || {
        let folder = tempfile::tempdir()?;
        let (console, port) = (folder.path().join("console"), folder.path().join("port"));
        let chardev = format!("socket,id=agent,path={},server=on,wait=off", port.display());
        let device = "virtserialport,chardev=agent,id=agent0,name=org.example.agent";
        let machine = Machine::new()?.console(&console).device_on(device, &chardev);
        let mut guest = machine.kernel("virtio", APPEND)?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;

        let mut line = connect(&console)?;
        shell(&mut guest, "setsid sh -c 'exec sh -i <>/dev/hvc0 >&0 2>&0' & sleep 1", "started")?;
        line.write_all(b"echo said-$((6*7))\r")?;
        read_until(&mut line, "said-42")?;
        // The kernel says it there, too.
        shell(&mut guest, "echo '<1>to-all-consoles' > /dev/kmsg", "kmsg")?;
        read_until(&mut line, "to-all-consoles")?;

        find(&mut guest, "org.example.agent")?;
        let data = pattern(MB);
        // Who connects later hears of nothing before.
        guest.monitor()?;
        let mut agent = connect(&port)?;
        guest.type_line("head -c 1048576 < $P > /tmp/f; echo got-$((40+2))")?;
        agent.write_all(&data)?;
        guest.wait_for("got-42", seconds(120))?;
        let told = guest.monitor()?.wait_event("VSERPORT_CHANGE")?;
        ensure!(told == json!({ "id": "agent0", "open": true }), "{told}");

        // Back again, and nobody reads: most of it stays in the guest, whose queue has room for 128 such pieces.
        guest.type_line("dd if=/tmp/f of=$P bs=512 2>/dev/null; echo sent-$((40+2))")?;
        let mut back = vec![0; MB / 8];
        agent.read_exact(&mut back)?;
        let file = folder.path().join("saved");
        guest.monitor()?.execute("stop", json!({}))?;
        // What the device model has had of it comes before it ends.
        let rest = thread::spawn(move || {
            let mut rest = Vec::new();
            agent.read_to_end(&mut rest).map(|_| rest)
        });
        guest.save(&file)?;
        back.extend(rest.join().map_err(|_| anyhow::anyhow!("the reader"))??);
        let mut guest = Guest::restore_paused(&file)?;
        guest.monitor()?;
        let mut agent = connect(&port)?;
        // Somebody is there when it goes on.
        agent.write_all(b"x")?;
        let until = Instant::now() + seconds(30);
        let is_there = |guest: &mut Guest| -> Result<bool> {
            let lines = guest.monitor()?.execute("query-chardev", json!({}))?;
            Ok(lines.to_string().contains("\"unix:"))
        };
        while !is_there(&mut guest)? {
            ensure!(Instant::now() < until, "nobody takes the connection");
        }
        guest.monitor()?.execute("cont", json!({}))?;
        let before = back.len();
        ensure!(before < MB, "nothing was left in the guest");
        back.resize(MB, 0);
        agent.read_exact(&mut back[before..])?;
        ensure!(back == data, "what came back is not what was sent ({before} bytes before the save)");
        guest.wait_for("sent-42", seconds(60))?;
        println!("  {before} bytes had come when it was saved");

        let late = folder.path().join("late");
        let address = json!({ "type": "unix", "data": { "path": late } });
        let backend = json!({ "type": "socket", "data": { "addr": address, "server": true } });
        guest.monitor()?.execute("chardev-add", json!({ "id": "late", "backend": backend }))?;
        let device = json!({ "driver": "virtserialport", "id": "late0", "chardev": "late", "name": "late" });
        guest.monitor()?.execute("device_add", device)?;
        find(&mut guest, "late")?;
        let mut line = connect(&late)?;
        guest.type_line("echo hello from $((40+2)) > $P")?;
        read_until(&mut line, "hello from 42")?;
        guest.monitor()?.execute("device_del", json!({ "id": "late0" }))?;
        wait(&mut guest, "! test -e $P", "gone")?;
        guest.monitor()?.execute("chardev-remove", json!({ "id": "late" }))?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}
