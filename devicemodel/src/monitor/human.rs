//! The monitor for people, as far as `human-monitor-command` brings it: one line in, text out.

use std::fmt::Write;
use std::path::Path;

use super::Guest;
use super::commands::Context;
use super::protocol::{QmpError, version};

const HELP: &str = "\
cont | stop | quit | system_reset | system_powerdown | system_wakeup
eject [-f] DRIVE | change DRIVE FILE | sendkey KEY-KEY | screendump FILE
info block | info blockstats | info chardev | info cpus | info inspect [PATH] | info name
info pci | info status | info version | info vnc
";

/// Runs a line and gives what it prints, lines ended as QEMU ends them.
pub(super) fn run(line: &str, context: &mut Context<'_>) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let text = match command(&words, context) {
        Ok(text) => text,
        Err(error) => format!("Error: {error}\n"),
    };
    text.replace('\n', "\r\n")
}

fn command(words: &[&str], context: &mut Context<'_>) -> Result<String, QmpError> {
    let guest = &mut *context.guest;
    match words {
        [] => {}
        ["help" | "?", ..] => return Ok(HELP.into()),
        ["info", what, rest @ ..] => return info(what, rest, context),
        ["stop" | "s"] => guest.stop(),
        ["cont" | "c"] => guest.cont()?,
        ["quit" | "q"] => guest.quit(),
        ["system_reset"] => guest.reset(),
        ["system_powerdown"] => guest.powerdown(),
        ["system_wakeup"] => guest.wakeup()?,
        ["eject", "-f", drive] => guest.eject(drive, true)?,
        ["eject", drive] => guest.eject(drive, false)?,
        ["change", drive, file] => guest.change_medium(drive, Path::new(file))?,
        ["screendump", file] => guest.screendump(Path::new(file))?,
        ["sendkey", chord] => {
            let keys: Vec<String> = chord.split('-').map(str::to_owned).collect();
            guest.send_key(&keys, 100)?;
        }
        [name, ..] => return Ok(format!("unknown command: '{name}'\n")),
    }
    Ok(String::new())
}

fn info(what: &str, rest: &[&str], context: &mut Context<'_>) -> Result<String, QmpError> {
    let guest = &mut *context.guest;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = match what {
        "status" => match guest.status() {
            "running" => writeln!(text, "VM status: running"),
            status => writeln!(text, "VM status: paused ({status})"),
        },
        "name" => writeln!(text, "{}", guest.name()),
        "version" => writeln!(text, "{}", version()["package"].as_str().unwrap_or("")),
        "inspect" => {
            text = guest.inspect(rest.first().unwrap_or(&""))?;
            Ok(())
        }
        "chardev" => context
            .monitors
            .iter()
            .chain(&guest.chardevs())
            .try_for_each(|line| writeln!(text, "{}: filename={}", line.label, line.filename)),
        "cpus" => guest
            .cpus()
            .iter()
            .filter(|cpu| cpu.present)
            .try_for_each(|cpu| writeln!(text, "  CPU #{}: thread_id={}", cpu.index, cpu.thread)),
        "block" => blocks(guest, &mut text),
        "blockstats" => guest.blocks().iter().try_for_each(|drive| {
            let stats = &drive.stats;
            writeln!(
                text,
                "{}: rd_bytes={} wr_bytes={} rd_operations={} wr_operations={} flush_operations={}",
                drive.device,
                stats.rd_bytes,
                stats.wr_bytes,
                stats.rd_operations,
                stats.wr_operations,
                stats.flush_operations
            )
        }),
        "pci" => pci(guest, &mut text),
        "vnc" => match guest.vnc() {
            None => writeln!(text, "Server: disabled"),
            Some(vnc) => {
                writeln!(text, "Server: {}:{} ({})\n  Auth: {}", vnc.host, vnc.service, vnc.family, vnc.auth)
            }
        },
        _ => writeln!(text, "unknown command: 'info {what}'"),
    };
    Ok(text)
}

fn blocks(guest: &dyn Guest, text: &mut String) -> std::fmt::Result {
    for drive in guest.blocks() {
        match &drive.file {
            None => writeln!(text, "{}: [not inserted]", drive.device)?,
            Some(file) => {
                let readonly = if drive.readonly { ", read-only" } else { "" };
                writeln!(text, "{}: {file} ({}{readonly})", drive.device, drive.format)?;
            }
        }
        if drive.removable {
            let locked = if drive.locked { "locked" } else { "not locked" };
            let tray = if drive.tray_open { "open" } else { "closed" };
            writeln!(text, "    Removable device: {locked}, tray {tray}")?;
        }
    }
    Ok(())
}

fn pci(guest: &dyn Guest, text: &mut String) -> std::fmt::Result {
    for function in guest.pci() {
        writeln!(text, "  Bus  0, device {:3}, function {}:", function.slot, function.function)?;
        let (vendor, device) = (function.vendor, function.device);
        writeln!(text, "    Class {:04x}: PCI device {vendor:04x}:{device:04x}", function.class)?;
        if let pin @ 1..=4 = function.pin {
            writeln!(text, "      IRQ {}, pin {}", function.irq, char::from(b'A' + pin - 1))?;
        }
        for bar in &function.bars {
            let kind = if bar.io { "I/O" } else { "memory" };
            let last = bar.address.saturating_add(bar.size.saturating_sub(1));
            writeln!(text, "      BAR{}: {kind} at 0x{:x} [0x{last:x}]", bar.index, bar.address)?;
        }
        writeln!(text, "      id \"{}\"", function.id)?;
    }
    Ok(())
}
