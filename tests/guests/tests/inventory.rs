//! HDT's inventory of the machine, read from the screen, against the one it gives on QEMU's `pc-i440fx`.

use anyhow::{Context, Result, ensure};
use guest_tests::{Guest, Machine, Screen, case, guest, seconds};

/// What HDT shows on QEMU 7.2: a command, the mode it is for, and the lines of its answer.
const QEMU: &str = include_str!("inventory-qemu.txt");

/// Lines that may differ, by how they begin, and why. Everything else must be the same.
const REASONS: &[(&str, &str)] = &[
    ("Model     :", "our CPU has a name of its own"),
    ("Vendor    :", "our CPU's maker is what its instructions are modelled on"),
    ("Family ID :", "as the maker"),
    ("Model  ID :", "as the maker"),
    ("Stepping  :", "as the maker"),
    ("L1 Cache  :", "HDT reads it from AMD's leaf alone"),
    ("L2 Cache  :", "HDT reads it from AMD's leaf alone"),
    ("Cur. Speed:", "from SMBIOS: QEMU says 2000 MHz whatever the truth"),
    ("Max Speed :", "as the current speed"),
    ("HwVirt    :", "we have no nested virtualisation"),
    ("Flags     :", "our CPU is x86-64-v2, QEMU's default one is older"),
    ("SSDT ", "processors have a table of their own here"),
    ("RSDP ", "ours names an XSDT too, which asks for revision 2"),
    ("XSDT ", "we have one, QEMU has not"),
    ("FADT ", "ours is of ACPI 2.0, which has the reset register: revision 3"),
    (
        " ID                 : ID:",
        "ours has the virtual-8086 extensions, which QEMU's translator has not: bit 1 of EDX",
    ),
    ("Detected RAM ", "SeaBIOS keeps 4 KiB for our tables, which are smaller, 128 KiB for QEMU's"),
    ("0000000000100000x - 000000000f", "as the detected RAM"),
    ("000000000ff", "as the detected RAM"),
    ("000000fd00000000x", "SeaBIOS reserves it beside AMD's CPUs alone"),
];

/// The line without what is no part of the inventory: tables lie where their sizes put them, and the machine has our
/// name where QEMU's has QEMU's.
fn normal(line: &str) -> String {
    let line = line.split_once(" @ ").map_or(line, |(table, _)| table.trim_end());
    line.replace(": Ailurus", ": QEMU").replace(": pc-1", ": pc-i440fx-7.2")
}

fn allowed(line: &str) -> bool {
    REASONS.iter().any(|(begin, _)| line.starts_with(begin))
}

/// The keys of a line of text.
fn keys(text: &str) -> Vec<String> {
    let key = |letter: char| match letter {
        ' ' => "spc".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(key).chain(["ret".to_owned()]).collect()
}

fn enter(guest: &mut Guest, text: &str) -> Result<()> {
    let keys = keys(text);
    guest.keys(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Enters a command on a clean screen and reads its answer.
fn ask(guest: &mut Guest, mode: &str, command: &str) -> Result<Vec<String>> {
    enter(guest, "clear")?;
    let prompt = format!("{mode}>");
    let is_clear = |screen: &Screen| screen.text() == prompt;
    guest.wait_screen_until("nothing but the prompt", seconds(60), is_clear)?;
    enter(guest, command)?;
    let mut answer = Vec::new();
    loop {
        let done = |screen: &Screen| {
            let text = screen.text();
            text.ends_with(&format!("\n{prompt}")) || text.ends_with("--More--")
        };
        let screen = guest.wait_screen_until("an answer", seconds(60), done)?;
        let lines = screen.lines();
        let new = lines.iter().filter(|line| !line.contains('>') && !line.trim().is_empty());
        for line in new.filter(|line| *line != "--More--") {
            let line = normal(line);
            if !answer.contains(&line) {
                answer.push(line);
            }
        }
        if !screen.has("--More--") {
            return Ok(answer);
        }
        guest.keys(&["spc"])?;
        guest.wait_screen_until("the next page", seconds(60), |screen| !screen.has("--More--"))?;
    }
}

/// The recorded sections: (mode, command, lines).
fn recorded() -> Vec<(String, String, Vec<String>)> {
    let mut sections: Vec<(String, String, Vec<String>)> = Vec::new();
    for line in QEMU.lines() {
        if let Some((mode, command)) = line.strip_prefix("## ").and_then(|rest| rest.split_once(": ")) {
            sections.push((mode.into(), command.into(), Vec::new()));
        } else if let Some((_, _, lines)) = sections.last_mut() {
            lines.push(line.to_owned());
        }
    }
    sections
}

fn interview(guest: &mut Guest) -> Result<String> {
    guest.wait_screen("boot:", seconds(120))?;
    enter(guest, "cli")?;
    guest.wait_screen("hdt>", seconds(180))?;
    let mut wrong = Vec::new();
    let mut heard = String::new();
    let mut mode = String::new();
    for (wanted, command, expected) in recorded() {
        if wanted != mode {
            enter(guest, &format!("set mode {wanted}"))?;
            guest.wait_screen(&format!("{wanted}>"), seconds(60))?;
            mode = wanted;
        }
        let answer = ask(guest, &mode, &command)?;
        heard += &format!("## {mode}: {command}\n{}\n", answer.join("\n"));
        let missing = expected.iter().filter(|line| !answer.contains(line) && !allowed(line));
        wrong.extend(missing.map(|line| format!("{mode}: {command}: lacks {line:?}")));
        let more = answer.iter().filter(|line| !expected.contains(line) && !allowed(line));
        wrong.extend(more.map(|line| format!("{mode}: {command}: has {line:?}")));
    }
    if let Some(folder) = std::env::var_os("AILURUS_LOGS") {
        std::fs::write(std::path::Path::new(&folder).join("inventory.txt"), &heard)?;
    }
    ensure!(wrong.is_empty(), "not as on QEMU:\n{}", wrong.join("\n"));
    Ok(heard)
}

#[test]
fn hdt_finds_the_machine_that_qemu_has() {
    case("HDT: PCI, DMI, ACPI, memory, VESA and disks as on QEMU", || {
        let disk = guest("disk.img")?;
        let machine = Machine::new()?.cdrom("hdt.iso")?.snapshot_of(&disk, "raw").boot_from("d");
        let mut guest = machine.boot()?;
        interview(&mut guest).map(|_| ()).context("HDT's inventory")
    });
}
