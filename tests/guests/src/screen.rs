//! Reads a text screen from a picture of it, by the shapes of the VGA BIOS's letters.
//!
//! Colours are not trusted: a cell is what its two colours draw, whichever is the brighter.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::place;

/// Red, green and blue.
pub type Colour = [u8; 3];

/// The letter A of each font that a VGA BIOS has, for finding the font in the ROM.
const A_8X16: [u8; 16] = [0, 0, 0x10, 0x38, 0x6c, 0xc6, 0xc6, 0xfe, 0xc6, 0xc6, 0xc6, 0xc6, 0, 0, 0, 0];
const A_8X14: [u8; 14] = [0, 0, 0x10, 0x38, 0x6c, 0xc6, 0xc6, 0xfe, 0xc6, 0xc6, 0xc6, 0, 0, 0];
const A_8X8: [u8; 8] = [0x30, 0x78, 0xcc, 0xcc, 0xfc, 0xcc, 0xcc, 0];

/// Dots by which a drawn letter may differ from the font's: a cursor of two lines.
const TOLERANCE: u32 = 16;

/// A picture of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Dots in a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
    dots: Vec<Colour>,
}

impl Picture {
    /// Reads a PNG file of 8 bits a channel.
    pub fn read(file: &Path) -> Result<Picture> {
        let mut decoder = png::Decoder::new(BufReader::new(File::open(file)?));
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info()?;
        let mut bytes = vec![0; reader.output_buffer_size().context("the picture is too large")?];
        let info = reader.next_frame(&mut bytes)?;
        let channels = info.color_type.samples();
        let (width, height) = (info.width as usize, info.height as usize);
        let dots = bytes.chunks_exact(channels).take(width * height);
        let dots = dots.map(|dot| if channels < 3 { [dot[0]; 3] } else { [dot[0], dot[1], dot[2]] });
        let dots: Vec<Colour> = dots.collect();
        ensure!(dots.len() == width * height, "the picture is not whole");
        Ok(Picture { width, height, dots })
    }

    /// The colour of a dot.
    pub fn dot(&self, x: usize, y: usize) -> Colour {
        self.dots[y * self.width + x]
    }

    /// How many different colours there are.
    pub fn colours(&self) -> usize {
        let mut colours = self.dots.clone();
        colours.sort_unstable();
        colours.dedup();
        colours.len()
    }
}

/// The letters of one font, by their code in code page 437. The first dot is the highest of 128 bits.
struct Font {
    height: usize,
    glyphs: Vec<u128>,
    exact: HashMap<u128, u8>,
}

impl Font {
    fn find(rom: &[u8], a: &[u8]) -> Option<Font> {
        let height = a.len();
        // The same rows may lie elsewhere by chance; in a font the blank stands 33 letters before.
        let at = rom.windows(height).enumerate().find_map(|(at, window)| {
            let start = at.checked_sub(usize::from(b'A') * height)?;
            let blank = rom.get(start + 32 * height..start + 33 * height)?;
            (window == a && blank.iter().all(|row| *row == 0)).then_some(start)
        })?;
        let font = rom.get(at..at + 256 * height)?;
        let glyphs: Vec<u128> = font.chunks_exact(height).map(bits).collect();
        let mut exact = HashMap::new();
        // Printable letters win over their doubles among the drawing characters.
        let printable = 0x20..=0x7e_u8;
        for code in (0..=255_u8).filter(|code| !printable.contains(code)).chain(printable.clone()) {
            exact.insert(glyphs[usize::from(code)], code);
        }
        Some(Font { height, glyphs, exact })
    }

    /// The letter of that shape, and by how many dots it differs.
    fn nearest(&self, shape: u128) -> Option<(u8, u32)> {
        if let Some(code) = self.exact.get(&shape) {
            return Some((*code, 0));
        }
        let best = (0..=255_u8).min_by_key(|code| (self.glyphs[usize::from(*code)] ^ shape).count_ones())?;
        let off = (self.glyphs[usize::from(best)] ^ shape).count_ones();
        (off <= TOLERANCE).then_some((best, off))
    }
}

fn bits(rows: &[u8]) -> u128 {
    rows.iter().rev().fold(0, |bits, row| (bits >> 8) | (u128::from(*row) << 120))
}

/// One cell of the text screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The letter; graphic characters as `|`, `-` or `*`, unreadable ones as the replacement character.
    pub letter: char,
    /// What it stands on.
    pub background: Colour,
}

/// A text screen that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Lines of cells.
    pub rows: Vec<Vec<Cell>>,
}

impl Screen {
    /// Reads the picture with the font and the cell size that fit best.
    pub fn read(picture: &Picture) -> Result<Screen> {
        let rom = fs::read(place::vga_bios()?)?;
        let fonts: Vec<Font> =
            [&A_8X16[..], &A_8X14, &A_8X8].iter().filter_map(|a| Font::find(&rom, a)).collect();
        let mut best: Option<(usize, Screen)> = None;
        for font in &fonts {
            for width in [8, 9, 16, 18] {
                let fits = picture.width.is_multiple_of(width) && picture.height >= font.height;
                if !fits {
                    continue;
                }
                let (sure, screen) = decode(picture, font, width);
                if best.as_ref().is_none_or(|(most, _)| sure > *most) {
                    best = Some((sure, screen));
                }
            }
        }
        match best {
            Some((_, screen)) => Ok(screen),
            None => bail!("no font of the VGA BIOS fits a picture of {}x{}", picture.width, picture.height),
        }
    }

    /// The lines, without blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        let line = |row: &Vec<Cell>| row.iter().map(|cell| cell.letter).collect::<String>();
        self.rows.iter().map(|row| line(row).trim_end().to_owned()).collect()
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.lines().join("\n").trim_end().to_owned()
    }

    /// Whether a line contains `text`.
    pub fn has(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.contains(text))
    }

    /// The line that contains `text`.
    pub fn line_with(&self, text: &str) -> Option<String> {
        self.lines().into_iter().find(|line| line.contains(text))
    }

    /// What stands on another background than most of the screen: the chosen entry of a menu.
    pub fn highlighted(&self) -> String {
        let mut counts = HashMap::new();
        for cell in self.rows.iter().flatten() {
            *counts.entry(cell.background).or_insert(0_usize) += 1;
        }
        let common = counts.into_iter().max_by_key(|(_, count)| *count).map(|(colour, _)| colour);
        let marked = |row: &Vec<Cell>| -> String {
            row.iter().filter(|cell| Some(cell.background) != common).map(|cell| cell.letter).collect()
        };
        let lines: Vec<String> = self.rows.iter().map(|row| marked(row).trim().to_owned()).collect();
        lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

/// The screen with that font and cell width, and how many of its letters are exactly the font's.
fn decode(picture: &Picture, font: &Font, width: usize) -> (usize, Screen) {
    let mut sure = 0;
    let mut rows = Vec::new();
    for top in (0..=picture.height - font.height).step_by(font.height) {
        let mut row = Vec::new();
        for left in (0..picture.width).step_by(width) {
            let (cell, off) = cell(picture, font, width, left, top);
            sure += usize::from(off == 0 && cell.letter != ' ');
            row.push(cell);
        }
        rows.push(row);
    }
    (sure, Screen { rows })
}

/// Reads one cell; also by how many dots it differs from its letter.
fn cell(picture: &Picture, font: &Font, width: usize, left: usize, top: usize) -> (Cell, u32) {
    // 40-column modes draw every dot twice; the ninth dot of 9 repeats a neighbour or is blank.
    let step = if width >= 16 { 2 } else { 1 };
    let first = picture.dot(left, top);
    let mut other = None;
    let mut rows = [0; 16];
    for (y, bits) in rows.iter_mut().take(font.height).enumerate() {
        for x in 0..8 {
            let dot = picture.dot(left + x * step, top + y);
            if dot != first {
                if other.is_some_and(|other| other != dot) {
                    return (Cell { letter: char::REPLACEMENT_CHARACTER, background: first }, u32::MAX);
                }
                other = Some(dot);
                *bits |= 0x80 >> x;
            }
        }
    }
    let Some(other) = other else {
        return (Cell { letter: ' ', background: first }, 0);
    };
    let shape = bits(&rows[..font.height]);
    let all = bits(&[0xff; 16][..font.height]);
    let as_is = font.nearest(shape).map(|(code, off)| (off, code, first));
    let turned = font.nearest(shape ^ all).map(|(code, off)| (off, code, other));
    let best = [as_is, turned].into_iter().flatten().min_by_key(|(off, ..)| *off);
    match best {
        Some((off, code, background)) => (Cell { letter: letter(code), background }, off),
        None => (Cell { letter: char::REPLACEMENT_CHARACTER, background: first }, u32::MAX),
    }
}

fn letter(code: u8) -> char {
    match code {
        0x20..=0x7e => char::from(code),
        0 | 0xff | 0xdb => ' ',
        0xb3 | 0xba => '|',
        0xc4 | 0xcd => '-',
        _ => '*',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws `lines` with the ROM's own 8x16 font, in cells `width` dots wide, the second line inverse.
    fn draw(rom: &[u8], lines: &[&str], width: usize, colours: [Colour; 2]) -> Picture {
        let font = Font::find(rom, &A_8X16).unwrap();
        let (columns, height) = (80, lines.len() * 16);
        let mut dots = vec![colours[0]; columns * width * height];
        for (row, line) in lines.iter().enumerate() {
            for (column, code) in format!("{line:80}").bytes().enumerate() {
                for (y, x) in (0..16).flat_map(|y| (0..8).map(move |x| (y, x))) {
                    let on = font.glyphs[usize::from(code)] >> (127 - y * 8 - x) & 1 == 1;
                    dots[(row * 16 + y) * columns * width + column * width + x] =
                        colours[usize::from(on != (row == 1))];
                }
            }
        }
        Picture { width: columns * width, height, dots }
    }

    #[test]
    fn what_was_drawn_is_read() {
        let Ok(file) = place::vga_bios() else {
            panic!("the VGA BIOS is missing; `cargo xtask fetch firmware` brings it");
        };
        let rom = fs::read(file).unwrap();
        let lines = ["SeaBIOS (version 1.16.2)", "*GNU GRUB  #0123456789 @[]{}~", "plain"];
        for width in [8, 9] {
            for colours in [[[0, 0, 0], [170, 170, 170]], [[255, 255, 85], [1, 2, 3]]] {
                let picture = draw(&rom, &lines, width, colours);
                let screen = Screen::read(&picture).unwrap();
                assert_eq!(screen.lines(), lines);
                assert_eq!(screen.highlighted(), lines[1]);
            }
        }
    }

    #[test]
    fn a_cursor_under_a_letter_does_not_hide_it() {
        let rom = fs::read(place::vga_bios().unwrap()).unwrap();
        let mut picture = draw(&rom, &["boot:"], 8, [[0; 3], [170; 3]]);
        for x in 0..16 {
            picture.dots[13 * 640 + x] = [170; 3];
            picture.dots[14 * 640 + x] = [170; 3];
        }
        assert_eq!(Screen::read(&picture).unwrap().lines(), ["boot:"]);
    }
}
