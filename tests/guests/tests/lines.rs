//! Serial lines that are devices: Debian's cloud kernel finds them, and both ends speak. The firmware's log on a line.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};

/// What a socket answers that is being made anew.
const NOT_YET: [ErrorKind; 2] = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];

/// The other end of a line.
struct Line(BufReader<UnixStream>);

impl Line {
    /// A guest that is restored opens its sockets anew, in the place of those of the process before.
    fn connect(path: &Path) -> Result<Line> {
        let until = Instant::now() + seconds(30);
        let stream = loop {
            match UnixStream::connect(path) {
                Err(error) if NOT_YET.contains(&error.kind()) && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                stream => break stream.with_context(|| format!("{}", path.display()))?,
            }
        };
        stream.set_read_timeout(Some(seconds(60)))?;
        Ok(Line(BufReader::new(stream)))
    }

    /// The guest reads a line of text there and answers with it.
    fn echoes(&mut self, guest: &mut Guest, tty: &str, text: &str) -> Result<()> {
        // A driver empties its FIFOs when the line is opened.
        guest.type_line(&format!("exec 3<>/dev/{tty}; echo {text}-is-$((40+2))"))?;
        guest.wait_for(&format!("{text}-is-42"), seconds(30))?;
        self.0.get_mut().write_all(format!("{text}\n").as_bytes())?;
        guest.type_line(&format!("read -r x <&3; echo back-$x >&3; exec 3>&-; echo {text}-$((40+2))"))?;
        guest.wait_for(&format!("{text}-42"), seconds(60))?;
        let expected = format!("back-{text}");
        for _ in 0..3 {
            let mut said = String::new();
            self.0.read_line(&mut said).with_context(|| format!("nothing comes from {tty}"))?;
            if said.trim_end() == expected {
                return Ok(());
            }
        }
        anyhow::bail!("no {expected:?} from {tty}")
    }
}

#[test]
fn lines_that_are_devices_carry_what_is_said() {
    case("isa-serial and pci-serial, both ways, saved between; isa-debugcon", || {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let socket = |name: &str| format!("socket,id={name},path={},server=on,wait=off", at(name).display());
        let log = format!("file,id=log,path={}", at("log").display());
        let machine = Machine::new()?
            .device_on("isa-serial,chardev=isa", &socket("isa"))
            .device_on("pci-serial,chardev=pci", &socket("pci"))
            .device_on("isa-debugcon,iobase=0x402,chardev=log", &log);
        let mut guest = machine.kernel("cloud", "console=ttyS0,115200 ailurus=shell")?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        let said = std::fs::read_to_string(at("log"))?;
        ensure!(said.starts_with("SeaBIOS (version"), "the firmware's log begins so: {said:.80?}");
        // The line of the PCI function has the first number that no port of the PC has.
        guest.type_line("sed -n 's/^\\([0-9]*:\\) uart:\\(16550A\\) port:\\([0-9A-F]*\\).*/\\1\\2-\\3/p' /proc/tty/driver/serial | sort | head -3")?;
        guest.wait_for("0:16550A-000003F8", seconds(30))?;
        guest.wait_for("1:16550A-000002F8", seconds(30))?;
        let (mut isa, mut pci) = (Line::connect(&at("isa"))?, Line::connect(&at("pci"))?);
        isa.echoes(&mut guest, "ttyS1", "one")?;
        let tty = "$(basename $(ls -d /sys/bus/pci/devices/*/tty/ttyS*))";
        pci.echoes(&mut guest, tty, "two")?;

        let file = at("saved");
        guest.save(&file)?;
        drop((isa, pci));
        let mut guest = Guest::restore(&file)?;
        let (mut isa, mut pci) = (Line::connect(&at("isa"))?, Line::connect(&at("pci"))?);
        isa.echoes(&mut guest, "ttyS1", "three")?;
        pci.echoes(&mut guest, tty, "four")?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}
