//! Debian's installer, to its first dialog, read from the screen.

use anyhow::{Result, ensure};
use guest_tests::{Machine, Screen, case, seconds};

/// The text screen of the adapter itself, not a framebuffer drawn by the kernel.
const APPEND: &str = "vga=normal fb=false nomodeset quiet";

fn first_dialog(name: &str) -> Result<()> {
    let mut guest = Machine::new()?.memory(1024).kernel(name, APPEND)?.boot()?;
    let dialog = |screen: &Screen| screen.has("Select a language") && screen.has("English");
    let screen = guest.wait_screen_until("the choice of language", seconds(600), dialog)?;
    println!("  first dialog after {:.1} s", guest.elapsed().as_secs_f32());
    ensure!(screen.has("<Go Back>") || screen.has("Language:"), "no buttons:\n{}", screen.text());
    // The dialog answers the keyboard.
    let before = screen.highlighted();
    guest.keys(&["down"])?;
    guest.wait_screen_until("another language chosen", seconds(60), |s| s.highlighted() != before)?;
    Ok(())
}

#[test]
#[ignore = "all: the 32-bit kernel is booted by another test"]
fn i386_text_installer_asks_for_the_language() {
    case("Debian installer, i386 text, to its first dialog", || first_dialog("installer-i386-text"));
}

#[test]
fn amd64_text_installer_asks_for_the_language() {
    case("Debian installer, amd64 text, to its first dialog", || first_dialog("installer-amd64-text"));
}
