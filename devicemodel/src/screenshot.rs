//! Pictures as files.

use std::io::{self, Write};

use devices_core::picture::Frame;
use serde::Deserialize;

use crate::whole_file::{self, WholeFile};

/// Kinds of picture files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// Netpbm's portable pixmap, binary (P6): what `screendump` means when nothing is said.
    #[default]
    Ppm,
    /// Portable Network Graphics.
    Png,
}

/// Writes a picture; the file appears under its name only when it is whole.
pub fn write(frame: &dyn Frame, file: WholeFile, format: ImageFormat) -> io::Result<()> {
    whole_file::write_to(file, |to| match format {
        ImageFormat::Ppm => ppm(frame, to),
        ImageFormat::Png => Ok(png(frame, to)?),
    })
}

fn ppm(frame: &dyn Frame, to: &mut dyn Write) -> io::Result<()> {
    let (width, height) = frame.size();
    write!(to, "P6\n{width} {height}\n255\n")?;
    lines(frame, to)
}

fn png(frame: &dyn Frame, to: &mut dyn Write) -> Result<(), png::EncodingError> {
    let (width, height) = frame.size();
    let mut encoder = png::Encoder::new(to, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    let mut pixels = writer.stream_writer()?;
    lines(frame, &mut pixels)?;
    pixels.finish()?;
    writer.finish()
}

/// Red, green and blue bytes of all lines; one line is in memory at a time.
fn lines(frame: &dyn Frame, to: &mut dyn Write) -> io::Result<()> {
    let (width, height) = frame.size();
    let mut line = vec![[0; 3]; width as usize];
    (0..height).try_for_each(|y| {
        frame.line(0, y, &mut line);
        to.write_all(line.as_flattened())
    })
}

#[cfg(test)]
mod tests {
    use devices_core::picture::Picture;

    use super::*;

    #[test]
    fn pictures_are_what_their_format_says() {
        let dir = tempfile::tempdir().unwrap();
        let mut picture = Picture::new(3, 2);
        picture.row_mut(1).copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let written = |format| {
            let file = dir.path().join("shot");
            write(&picture, WholeFile::create(&file).unwrap(), format).unwrap();
            std::fs::read(file).unwrap()
        };
        let ppm = written(ImageFormat::default());
        assert_eq!(ppm, [&b"P6\n3 2\n255\n"[..], &[0; 9], &[1, 2, 3, 4, 5, 6, 7, 8, 9]].concat());
        let bytes = written(ImageFormat::Png);
        let mut reader = png::Decoder::new(io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = [0; 18];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, picture.pixels());
    }
}
