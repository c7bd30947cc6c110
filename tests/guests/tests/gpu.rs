//! Debian's generic kernel draws its console, and a picture, on a virtio GPU and on a Cirrus.

use anyhow::{Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";

/// Width and height of the picture.
const SIZE: (usize, usize) = (1024, 768);

/// Writes a picture into the frame buffer: 16 lines, again and again. Its pixels are blue, green, red and a byte more.
fn draw(guest: &mut Guest, red: u32) -> Result<()> {
    let (width, height) = SIZE;
    let pixel = format!("printf \"%c%c%c%c\", x % 100 + 1, y + 1, {red}, 1");
    let lines = format!("for (y = 0; y < 16; y++) for (x = 0; x < {width}; x++) {pixel}");
    guest.type_line(&format!("LC_ALL=C awk 'BEGIN {{ {lines} }}' > /card; wc -c < /card"))?;
    guest.wait_for(&(width * 16 * 4).to_string(), seconds(120))?;
    let all = format!("for n in $(seq {}); do cat /card; done > /dev/fb0", height / 16);
    guest.type_line(&format!("{all}; sync; sleep 1; echo drawn-$((40+{}))", red % 10))?;
    guest.wait_for(&format!("drawn-{}", 40 + red % 10), seconds(120)).map(drop)
}

/// Whether the screen shows that picture, to the last pixel.
fn shows(guest: &mut Guest, red: u8) -> Result<()> {
    let picture = guest.screenshot()?;
    ensure!((picture.width, picture.height) == SIZE, "{}x{}", picture.width, picture.height);
    for y in 0..picture.height {
        for x in 0..picture.width {
            let (expected, dot) = ([red, (y % 16) as u8 + 1, (x % 100) as u8 + 1], picture.dot(x, y));
            ensure!(dot == expected, "{x},{y}: {dot:?}, not {expected:?}");
        }
    }
    Ok(())
}

fn draws_on(model: &str) -> Result<()> {
    let device = format!("{model},xres={},yres={}", SIZE.0, SIZE.1);
    let mut guest = Machine::new()?.device(&device).kernel("gpu", APPEND)?.boot()?;
    guest.wait_for("ailurus:/root#", seconds(240))?;
    // Nothing else is to draw: the cursor does not blink.
    guest.type_line("echo 0 > /sys/class/graphics/fbcon/cursor_blink; cat /sys/class/graphics/fb0/name")?;
    guest.wait_for("virtio_gpudrmfb", seconds(60))?;
    guest.type_line("printf '\\033[2J\\033[H\\033[?25lLinux runs on this\\n' > /dev/tty1")?;
    // Letters that the kernel draws as the VGA BIOS does.
    guest.wait_screen("Linux runs on this", seconds(60))?;

    draw(&mut guest, 51)?;
    shows(&mut guest, 51)?;
    let file = guest.folder().join("drawn.saved");
    guest.save(&file)?;
    let mut guest = Guest::restore(&file)?;
    shows(&mut guest, 51)?;
    draw(&mut guest, 72)?;
    shows(&mut guest, 72)?;
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(60))
}

#[test]
fn linux_draws_on_a_virtio_gpu() {
    case("virtio GPU: the console's text, a picture to the last pixel, saved in between", || {
        draws_on("virtio-gpu-pci")
    });
}

#[test]
#[ignore = "all: the same on a VGA that is a GPU too"]
fn linux_draws_on_a_vga_with_a_gpu() {
    case("virtio VGA: text, a picture to the last pixel, saved in between", || draws_on("virtio-vga"));
}

/// The picture of 16-bit pixels, each line of another green; the start of it as the frame buffer has it.
#[test]
fn linux_draws_on_a_cirrus() {
    case("Cirrus: a VESA mode of 16 bits a pixel, a picture to the last pixel, saved in between", || {
        let append = format!("vga=0x311 {APPEND}");
        let mut guest = Machine::new()?.device("cirrus-vga").kernel("gpu", &append)?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        guest
            .type_line("echo 0 > /sys/class/graphics/fbcon/cursor_blink; cat /sys/class/graphics/fb0/name")?;
        guest.wait_for("VESA VGA", seconds(60))?;
        let colours = |seed: u32| {
            let line = format!("for (x = 0; x < 640; x++) printf \"%c%c\", x % 250 + 1, {seed}");
            format!("LC_ALL=C awk 'BEGIN {{ for (y = 0; y < 480; y++) {line} }}' > /card; wc -c < /card")
        };
        let drawn = |guest: &mut Guest, seed: u32| -> Result<()> {
            guest.type_line(&colours(seed))?;
            guest.wait_for("614400", seconds(120))?;
            guest.type_line(&format!("cat /card > /dev/fb0; echo drawn-$((40+{}))", seed % 10))?;
            guest.wait_for(&format!("drawn-{}", 40 + seed % 10), seconds(120)).map(drop)
        };
        let shows = |guest: &mut Guest, seed: u32| -> Result<()> {
            let picture = guest.screenshot()?;
            ensure!((picture.width, picture.height) == (640, 480), "{}x{}", picture.width, picture.height);
            for (y, x) in (0..480).flat_map(|y| (0..640).map(move |x| (y, x))) {
                let pixel = seed << 8 | (x as u32 % 250 + 1);
                let wide = |value: u32, bits: u32| (value << (8 - bits) | value >> (2 * bits - 8)) as u8;
                let expected = [wide(pixel >> 11, 5), wide(pixel >> 5 & 63, 6), wide(pixel & 31, 5)];
                let dot = picture.dot(x, y);
                ensure!(dot == expected, "{x},{y}: {dot:?}, not {expected:?}");
            }
            Ok(())
        };
        drawn(&mut guest, 51)?;
        shows(&mut guest, 51)?;
        let file = guest.folder().join("drawn.saved");
        guest.save(&file)?;
        let mut guest = Guest::restore(&file)?;
        shows(&mut guest, 51)?;
        drawn(&mut guest, 172)?;
        shows(&mut guest, 172)?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}
