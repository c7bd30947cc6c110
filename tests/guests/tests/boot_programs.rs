//! Small programs that boot on the bare machine, judged by what the screen shows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use guest_tests::{Machine, Screen, Subcommand, case, guest, seconds};

/// The number after `key` on the screen.
fn number(screen: &Screen, key: &str) -> Option<u64> {
    let line = screen.line_with(key)?;
    let (_, rest) = line.split_once(key)?;
    rest.trim_start().chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

fn memtest(name: &str) -> Result<()> {
    let mut guest = Machine::new()?.memory(32).cdrom(name)?.boot()?;
    let screen = guest.wait_screen_until("the third test", seconds(420), |screen| {
        number(screen, "Errors:").is_some_and(|errors| errors > 0)
            || number(screen, "Test #").is_some_and(|test| test >= 3)
    })?;
    ensure!(number(&screen, "Errors:") == Some(0), "memtest86+ finds errors:\n{}", screen.text());
    ensure!(screen.has("Status: Testing"), "memtest86+ does not test:\n{}", screen.text());
    ensure!(screen.has("Memtest86+ v"), "no title:\n{}", screen.text());
    Ok(())
}

#[test]
fn memtest_ia32_finds_no_error() {
    case("memtest86+ ia32, 32 MiB, to the third test", || memtest("memtest-ia32.iso"));
}

#[test]
fn memtest_x64_finds_no_error() {
    case("memtest86+ x64, 32 MiB, to the third test", || memtest("memtest-x64.iso"));
}

#[test]
fn grub_menu_moves_with_keys() {
    case("GRUB rescue CD: its menu, moved with keys", || {
        let mut guest = Machine::new()?.cdrom("grub-rescue.iso")?.boot()?;
        let screen = guest.wait_screen("*GNU/Linux", seconds(180))?;
        ensure!(screen.has("GNU GRUB"), "no title:\n{}", screen.text());
        ensure!(screen.highlighted().contains("GNU/Linux"), "highlighted: {:?}", screen.highlighted());
        guest.keys(&["down", "down"])?;
        let moved = |screen: &Screen| screen.highlighted().starts_with("*FreeBSD (or GNU/kFreeBSD), direct");
        let screen = guest.wait_screen_until("the third entry chosen", seconds(30), moved)?;
        // A key stops the countdown.
        ensure!(!screen.has("executed automatically"), "the countdown goes on:\n{}", screen.text());
        guest.keys(&["up"])?;
        let moved = |screen: &Screen| screen.highlighted().starts_with("*GNU (aka GNU/Hurd)");
        guest.wait_screen_until("the second entry chosen", seconds(30), moved)?;
        // The command line, with letters, digits, Shift and Backspace.
        guest.keys(&["c"])?;
        guest.wait_screen("grub>", seconds(30))?;
        guest.keys(&["e", "c", "h", "o", "spc", "shift-a", "b", "x", "backspace", "4", "2", "ret"])?;
        guest.wait_screen_until("the echo", seconds(30), |screen| screen.lines().contains(&"Ab42".into()))?;
        Ok(())
    });
}

/// The game reads the keyboard before ISOLINUX has given it back, on QEMU as here: what is seen is the march.
#[test]
fn invaders_march() {
    case("grub-invaders: they march and come down", || {
        let mut guest = Machine::new()?.cdrom("invaders.iso")?.boot()?;
        let formation = |screen: &Screen| {
            let ships = screen.lines().iter().filter(|line| line.matches("-*-").count() >= 4).count();
            ships >= 5 && screen.lines().iter().any(|line| line.contains("/ \\"))
        };
        let first = guest.wait_screen_until("invaders above a cannon", seconds(120), formation)?;
        let top = |screen: &Screen| screen.lines().iter().position(|line| line.contains("-*-"));
        guest.wait_screen_until("a march", seconds(30), |screen| *screen != first)?;
        guest.wait_screen_until("a descent", seconds(120), |screen| top(screen) > top(&first))?;
        Ok(())
    });
}

#[test]
fn hdt_shows_its_menu() {
    case("HDT: its menu after the prompt's time", || {
        let mut guest = Machine::new()?.cdrom("hdt.iso")?.boot()?;
        guest.wait_screen("Main Menu", seconds(180))?;
        Ok(())
    });
}

fn u_boot(rom: &str) -> Result<()> {
    let disk = guest("disk.img")?;
    let mut guest = Machine::new()?.firmware(rom)?.snapshot_of(&disk, "raw").boot()?;
    guest.wait_for("U-Boot 20", seconds(60))?;
    guest.wait_for("Model: QEMU x86 (I440FX)", seconds(120))?;
    guest.wait_for("Reset IDE: Bus 0: OK", seconds(120))?;
    let line = guest.wait_for("Capacity:", seconds(60))?;
    ensure!(line.contains("512.0 MB = 0.5 GB (1048576 x 512)"), "the disk is {line:?}");
    guest.wait_for("=> ", seconds(120)).context("no prompt")?;
    // It reads a sector by itself: the signature of the boot record.
    guest.type_line("ide read 1000000 0 1; md.w 10001fe 1")?;
    guest.wait_for("010001fe: aa55", seconds(60))?;
    Ok(())
}

/// The 32-bit ROM calls the VGA BIOS in real mode with segments of 64 KiB. SeaBIOS's VGA BIOS reads the EDID at its
/// 32-bit address, which is beyond them: a general protection fault on every CPU that checks limits, at which this
/// U-Boot halts. QEMU's translator does not check them.
#[test]
#[ignore = "needs a CPU that ignores segment limits"]
fn u_boot_finds_its_disk() {
    case("U-Boot's ROM as firmware finds and reads the IDE disk", || u_boot("u-boot.rom"));
}

#[test]
fn u_boot_x64_finds_its_disk() {
    case("U-Boot's 64-bit ROM as firmware finds and reads the IDE disk", || u_boot("u-boot-x64.rom"));
}

/// A disk whose boot sector ends the program with status `2 * code + 1`.
fn boot_disk(folder: &Path, name: &str, code: u8) -> Result<PathBuf> {
    let mut image = vec![0; 64 << 10];
    // mov dx, 0x501; mov al, code; out dx, al; hlt; jmp to that.
    image[..9].copy_from_slice(&[0xba, 0x01, 0x05, 0xb0, code, 0xee, 0xf4, 0xeb, 0xfd]);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    let path = folder.join(name);
    fs::write(&path, image)?;
    Ok(path)
}

/// SeaBIOS goes by the file "bootorder".
#[test]
fn the_lower_bootindex_boots_first() {
    case("bootindex, through SeaBIOS", || {
        let folder = tempfile::tempdir()?;
        let (a, b) = (boot_disk(folder.path(), "a", 0x10)?, boot_disk(folder.path(), "b", 0x20)?);
        let boots = |first: (&Path, &str), second: (&Path, &str)| -> Result<Option<i32>> {
            let mut words: Vec<String> =
                ["-M", "pc", "-nodefaults", "-display", "none", "-m", "32", "-no-reboot"]
                    .map(str::to_owned)
                    .to_vec();
            words.extend(["-device", "isa-debug-exit"].map(str::to_owned));
            for (id, (path, device)) in [("x", first), ("y", second)] {
                let file = path.display().to_string().replace(',', ",,");
                words.extend(["-drive".into(), format!("if=none,id={id},format=raw,file={file}")]);
                words.extend(["-device".into(), format!("{device},drive={id}")]);
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let output = Subcommand::new()?.run(&words)?;
            Ok(output.status.code())
        };
        ensure!(
            boots((&a, "ide-hd"), (&b, "ide-hd"))? == Some(0x21),
            "the first disk boots where nobody says"
        );
        let turned = boots((&a, "ide-hd,bootindex=7"), (&b, "ide-hd,bootindex=3"))?;
        ensure!(turned == Some(0x41), "the lower bootindex boots: {turned:?}");
        Ok(())
    });
}
