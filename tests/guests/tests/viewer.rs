//! What a VNC viewer sees of a guest, and does in it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Result, ensure};
use guest_tests::screen::Picture;
use guest_tests::{Machine, case, seconds};

/// A viewer that takes pixels as they are (RFC 6143).
struct Viewer {
    stream: UnixStream,
    width: usize,
    height: usize,
}

impl Viewer {
    fn connect(path: &Path) -> Result<Viewer> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(seconds(60)))?;
        let mut version = [0; 12];
        stream.read_exact(&mut version)?;
        ensure!(&version == b"RFB 003.008\n", "{version:?}");
        stream.write_all(&version)?;
        let mut security = [0; 2];
        stream.read_exact(&mut security)?;
        ensure!(security == [1, 1], "no password is asked for: {security:?}");
        stream.write_all(&[1])?;
        let mut result = [0; 4];
        stream.read_exact(&mut result)?;
        stream.write_all(&[1])?;
        let mut init = [0; 24];
        stream.read_exact(&mut init)?;
        let [a, b, c, d, .., e, f, g, h] = init;
        let mut name = vec![0; u32::from_be_bytes([e, f, g, h]) as usize];
        stream.read_exact(&mut name)?;
        let side = |high, low| usize::from(u16::from_be_bytes([high, low]));
        Ok(Viewer { stream, width: side(a, b), height: side(c, d) })
    }

    /// The whole screen: 0x00RRGGBB, row by row.
    fn look(&mut self) -> Result<Vec<u32>> {
        let [w, h] = [self.width, self.height].map(|side| (side as u16).to_be_bytes());
        self.stream.write_all(&[3, 0, 0, 0, 0, 0, w[0], w[1], h[0], h[1]])?;
        let mut head = [0; 4];
        self.stream.read_exact(&mut head)?;
        let mut pixels = vec![0; self.width * self.height];
        for _ in 0..u16::from_be_bytes([head[2], head[3]]) {
            let mut rect = [0; 12];
            self.stream.read_exact(&mut rect)?;
            let number = |at: usize| usize::from(u16::from_be_bytes([rect[at], rect[at + 1]]));
            let (x, y, width, height) = (number(0), number(2), number(4), number(6));
            ensure!(rect[8..] == [0; 4], "raw pixels");
            let mut data = vec![0; width * height * 4];
            self.stream.read_exact(&mut data)?;
            for (row, line) in data.chunks(width * 4).enumerate() {
                let start = (y + row) * self.width + x;
                let pixel = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
                for (to, from) in pixels[start..start + width].iter_mut().zip(line.as_chunks().0) {
                    *to = pixel(from);
                }
            }
        }
        Ok(pixels)
    }

    /// Presses and releases a key by its symbol.
    fn key(&mut self, symbol: u32) -> Result<()> {
        for down in [1, 0] {
            let [a, b, c, d] = symbol.to_be_bytes();
            self.stream.write_all(&[4, down, 0, 0, a, b, c, d])?;
        }
        Ok(())
    }
}

fn same(seen: &[u32], picture: &Picture) -> bool {
    let dots = (0..picture.height).flat_map(|y| (0..picture.width).map(move |x| picture.dot(x, y)));
    seen.len() == picture.width * picture.height
        && dots.zip(seen).all(|([red, green, blue], seen)| u32::from_be_bytes([0, red, green, blue]) == *seen)
}

#[test]
fn a_viewer_sees_the_screen_and_types() {
    case("GRUB rescue CD by --display vnc", || {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("screen");
        let mut guest = Machine::new()?.viewers(&socket).cdrom("grub-rescue.iso")?.boot()?;
        guest.wait_screen("*GNU/Linux", seconds(180))?;
        let mut viewer = Viewer::connect(&socket)?;
        // Down stops the countdown: the picture stands.
        viewer.key(0xff54)?;
        let moved = |screen: &guest_tests::Screen| !screen.has("executed automatically");
        guest.wait_screen_until("the countdown stopped by the viewer's key", seconds(30), moved)?;
        let alike = (0..20).any(|_| {
            let seen = viewer.look().unwrap_or_default();
            guest.screenshot().is_ok_and(|picture| same(&seen, &picture))
        });
        ensure!(alike, "the viewer sees something else than the screenshot");
        Ok(())
    });
}
