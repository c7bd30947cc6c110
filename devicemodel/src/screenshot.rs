//! Pictures as PNG files.

use std::io;
use std::path::Path;

use devices::display::Picture;

use crate::whole_file;

/// Writes a picture; the file appears under its name only when it is whole.
pub fn write(picture: &Picture, file: &Path) -> io::Result<()> {
    whole_file::write(file, |to| Ok(encode(picture, to)?))
}

fn encode(picture: &Picture, to: &mut dyn io::Write) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(to, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.pixels())?;
    writer.finish()
}
