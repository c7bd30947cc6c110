//! Pictures as files.

use std::io::{self, Write};
use std::path::Path;

use devices::display::Picture;
use serde::Deserialize;

use crate::whole_file;

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
pub fn write(picture: &Picture, file: &Path, format: ImageFormat) -> io::Result<()> {
    whole_file::write(file, |to| match format {
        ImageFormat::Ppm => ppm(picture, to),
        ImageFormat::Png => Ok(png(picture, to)?),
    })
}

fn ppm(picture: &Picture, to: &mut dyn Write) -> io::Result<()> {
    write!(to, "P6\n{} {}\n255\n", picture.width(), picture.height())?;
    to.write_all(picture.pixels())
}

fn png(picture: &Picture, to: &mut dyn Write) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(to, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.pixels())?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_what_their_format_says() {
        let dir = tempfile::tempdir().unwrap();
        let mut picture = Picture::new(3, 2);
        picture.row_mut(1).copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let written = |format| {
            let file = dir.path().join("shot");
            write(&picture, &file, format).unwrap();
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
