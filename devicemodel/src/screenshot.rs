//! Pictures as PNG files.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use devices::display::Picture;

/// Writes a picture; the file appears under its name only when it is whole.
pub fn write(picture: &Picture, file: &Path) -> Result<(), png::EncodingError> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let to = BufWriter::new(File::create(&partial)?);
    let mut encoder = png::Encoder::new(to, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.pixels())?;
    writer.finish()?;
    std::fs::rename(&partial, file)?;
    Ok(())
}
