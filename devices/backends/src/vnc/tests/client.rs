//! A client, written after the RFC and not after the server.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use devices_core::picture::Picture;

use super::inflate::Inflate;
use crate::vnc::auth;

/// Bits a pixel, whether the high byte comes first, largest colours, shifts.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    pub bits: u8,
    pub big: bool,
    pub max: [u16; 3],
    pub shift: [u8; 3],
}

pub const DEFAULT: Format = Format { bits: 32, big: false, max: [255; 3], shift: [16, 8, 0] };

/// A rectangle's header: x, y, width, height, encoding.
pub type Header = (u16, u16, u16, u16, i32);

pub type Cursor = ((u16, u16), (u16, u16), Vec<[u8; 4]>);

pub struct Client {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    pub width: usize,
    pub height: usize,
    pub name: String,
    /// The pointer that it shows: the pixel that points, the size, red, green, blue and opacity of each pixel.
    pub cursor: Option<Cursor>,
    /// Lights of the guest's keyboard.
    pub lights: Option<u8>,
    pub format: Format,
    /// Colours of a table, once one came.
    pub table: Vec<[u16; 3]>,
    pub pixels: Vec<u32>,
    /// Most that a part of a colour may be away from the picture's, of 255.
    pub tolerance: f64,
    /// Rectangles of Tight by kind: fill, JPEG, PNG, palette, pixels.
    pub kinds: [usize; 5],
    inflate: Inflate,
    zlib: Inflate,
    tight: [Inflate; 4],
}

impl Client {
    pub fn dial(path: &Path) -> Client {
        Client::over(UnixStream::connect(path).unwrap())
    }

    pub fn over(stream: UnixStream) -> Client {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client {
            reader: BufReader::new(stream.try_clone().unwrap()),
            stream,
            width: 0,
            height: 0,
            name: String::new(),
            cursor: None,
            lights: None,
            format: DEFAULT,
            table: Vec::new(),
            pixels: Vec::new(),
            tolerance: 0.0,
            kinds: [0; 5],
            inflate: Inflate::default(),
            zlib: Inflate::default(),
            tight: Default::default(),
        }
    }

    pub fn send(&mut self, data: &[u8]) {
        self.stream.write_all(data).unwrap();
    }

    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut data = [0; N];
        self.reader.read_exact(&mut data).unwrap();
        data
    }

    pub fn take_vec(&mut self, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.reader.read_exact(&mut data).unwrap();
        data
    }

    pub fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    /// Whether the server has closed the connection.
    pub fn closed(&mut self) -> bool {
        let mut data = [0; 4096];
        loop {
            match self.reader.read(&mut data) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// Up to the security's result, with the reason if it is refused.
    pub fn shake(&mut self, version: &[u8; 12], password: Option<&str>) -> Result<(), String> {
        assert_eq!(&self.take::<12>(), b"RFB 003.008\n");
        self.send(version);
        let kind = if version == b"RFB 003.003\n" {
            self.u32() as u8
        } else {
            let count = self.u8();
            let kinds = self.take_vec(usize::from(count));
            assert_eq!(kinds.len(), 1);
            self.send(&kinds[..1]);
            kinds[0]
        };
        if let Some(password) = password {
            assert_eq!(kind, 2);
            let challenge = self.take::<16>();
            self.send(&auth::answer(password.as_bytes(), challenge));
        } else {
            assert_eq!(kind, 1);
            if version != b"RFB 003.008\n" {
                return Ok(());
            }
        }
        match self.u32() {
            0 => Ok(()),
            _ if version == b"RFB 003.008\n" => {
                let len = self.u32() as usize;
                Err(String::from_utf8(self.take_vec(len)).unwrap())
            }
            _ => Err(String::new()),
        }
    }

    pub fn init(&mut self, shared: bool) {
        self.send(&[u8::from(shared)]);
        (self.width, self.height) = (usize::from(self.u16()), usize::from(self.u16()));
        let format = self.take::<16>();
        assert_eq!(format, [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
        let len = self.u32() as usize;
        self.name = String::from_utf8(self.take_vec(len)).unwrap();
        self.pixels = vec![0x1234; self.width * self.height];
    }

    pub fn set_format(&mut self, format: Format) {
        self.format = format;
        let mut message = vec![0, 0, 0, 0, format.bits, format.bits.min(24), u8::from(format.big), 1];
        message.extend(format.max.iter().flat_map(|max| max.to_be_bytes()));
        message.extend(format.shift);
        message.extend([0; 3]);
        self.send(&message);
    }

    pub fn set_encodings(&mut self, encodings: &[i32]) {
        let mut message = vec![2, 0];
        message.extend((encodings.len() as u16).to_be_bytes());
        message.extend(encodings.iter().flat_map(|encoding| encoding.to_be_bytes()));
        self.send(&message);
    }

    pub fn ask(&mut self, incremental: bool) {
        self.ask_for(incremental, [0, 0, self.width as u16, self.height as u16]);
    }

    pub fn ask_for(&mut self, incremental: bool, rect: [u16; 4]) {
        let mut message = vec![3, u8::from(incremental)];
        message.extend(rect.iter().flat_map(|value| value.to_be_bytes()));
        self.send(&message);
    }

    /// Takes an update, and a table of colours before it.
    pub fn update(&mut self) -> Vec<Header> {
        loop {
            match self.u8() {
                0 => break,
                1 => {
                    let [_, _, _, a, b] = self.take::<5>();
                    for _ in 0..u16::from_be_bytes([a, b]) {
                        let colour = [self.u16(), self.u16(), self.u16()];
                        self.table.push(colour);
                    }
                }
                other => panic!("message {other}"),
            }
        }
        self.take::<1>();
        let count = self.u16();
        (0..count).map(|_| self.rect()).collect()
    }

    fn rect(&mut self) -> Header {
        let (x, y, width, height) = (self.u16(), self.u16(), self.u16(), self.u16());
        let encoding = self.u32() as i32;
        let (left, top, w, h) = (usize::from(x), usize::from(y), usize::from(width), usize::from(height));
        match encoding {
            0 => {
                for at in 0..w * h {
                    let pixel = self.pixel();
                    self.put(left + at % w, top + at / w, pixel);
                }
            }
            2 => self.rre(left, top, w, h),
            5 => self.hextile(left, top, w, h),
            6 => self.zlib(left, top, w, h),
            7 | -260 => self.tight(left, top, w, h),
            16 => self.zrle(left, top, w, h),
            -223 => self.resize(w, h),
            -259..=-257 => {}
            -261 => self.lights = Some(self.u8()),
            -239 => {
                let pixels: Vec<u32> = (0..w * h).map(|_| self.pixel()).collect();
                let row = w.div_ceil(8);
                let mask = self.take_vec(row * h);
                let seen = |at: usize| mask[at / w * row + at % w / 8] >> (7 - at % w % 8) & 1 != 0;
                let colour = |(at, pixel): (usize, u32)| {
                    let [blue, green, red, _] = pixel.to_le_bytes();
                    [red, green, blue, if seen(at) { 255 } else { 0 }]
                };
                let pixels = pixels.into_iter().enumerate().map(colour).collect();
                self.cursor = Some(((x, y), (width, height), pixels));
            }
            -314 => {
                assert_eq!(self.u32(), 0, "raw");
                let pixels = self.take_vec(w * h * 4).as_chunks().0.to_vec();
                self.cursor = Some(((x, y), (width, height), pixels));
            }
            -307 => {
                let len = self.u32() as usize;
                self.name = String::from_utf8(self.take_vec(len)).unwrap();
            }
            -308 => {
                let screens = self.take::<4>()[0];
                self.take_vec(usize::from(screens) * 16);
                self.resize(w, h);
            }
            other => panic!("encoding {other}"),
        }
        (x, y, width, height, encoding)
    }

    fn resize(&mut self, width: usize, height: usize) {
        if (width, height) != (self.width, self.height) {
            (self.width, self.height) = (width, height);
            self.pixels = vec![0x1234; width * height];
        }
    }

    fn put(&mut self, x: usize, y: usize, pixel: u32) {
        assert!(x < self.width && y < self.height, "{x},{y} is not on the screen");
        self.pixels[y * self.width + x] = pixel;
    }

    fn pixel(&mut self) -> u32 {
        let data = self.take_vec(usize::from(self.format.bits / 8));
        self.parse(&data)
    }

    fn parse(&self, data: &[u8]) -> u32 {
        let add = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
        if self.format.big { data.iter().fold(0, add) } else { data.iter().rev().fold(0, add) }
    }

    fn hextile(&mut self, left: usize, top: usize, width: usize, height: usize) {
        let (mut background, mut foreground) = (0, 0);
        for y in (0..height).step_by(16) {
            for x in (0..width).step_by(16) {
                let (w, h) = (16.min(width - x), 16.min(height - y));
                let kind = self.u8();
                if kind & 1 != 0 {
                    for at in 0..w * h {
                        let pixel = self.pixel();
                        self.put(left + x + at % w, top + y + at / w, pixel);
                    }
                    continue;
                }
                if kind & 2 != 0 {
                    background = self.pixel();
                }
                if kind & 4 != 0 {
                    foreground = self.pixel();
                }
                for at in 0..w * h {
                    self.put(left + x + at % w, top + y + at / w, background);
                }
                let rects = if kind & 8 != 0 { self.u8() } else { 0 };
                for _ in 0..rects {
                    let colour = if kind & 16 != 0 { self.pixel() } else { foreground };
                    let [place, size] = self.take::<2>().map(usize::from);
                    let (sw, sh) = ((size >> 4) + 1, (size & 15) + 1);
                    assert!((place >> 4) + sw <= w && (place & 15) + sh <= h, "a subrectangle in its tile");
                    for at in 0..sw * sh {
                        let (dx, dy) = ((place >> 4) + at % sw, (place & 15) + at / sw);
                        self.put(left + x + dx, top + y + dy, colour);
                    }
                }
            }
        }
    }

    fn put_all(&mut self, left: usize, top: usize, width: usize, pixels: impl IntoIterator<Item = u32>) {
        for (at, pixel) in pixels.into_iter().enumerate() {
            self.put(left + at % width, top + at / width, pixel);
        }
    }

    fn rre(&mut self, left: usize, top: usize, width: usize, height: usize) {
        let count = self.u32();
        let background = self.pixel();
        self.put_all(left, top, width, std::iter::repeat_n(background, width * height));
        for _ in 0..count {
            let colour = self.pixel();
            let [x, y, w, h] = [self.u16(), self.u16(), self.u16(), self.u16()].map(usize::from);
            assert!(x + w <= width && y + h <= height && w > 0 && h > 0, "a subrectangle inside");
            self.put_all(left + x, top + y, w, std::iter::repeat_n(colour, w * h));
        }
    }

    fn zlib(&mut self, left: usize, top: usize, width: usize, height: usize) {
        let len = self.u32() as usize;
        let packed = self.take_vec(len);
        let plain = self.zlib.packet(&packed);
        let size = usize::from(self.format.bits / 8);
        assert_eq!(plain.len(), width * height * size);
        let pixels: Vec<u32> = plain.chunks(size).map(|pixel| self.parse(pixel)).collect();
        self.put_all(left, top, width, pixels);
    }

    fn tight(&mut self, left: usize, top: usize, width: usize, height: usize) {
        let all = width * height;
        let control = self.u8();
        assert_eq!(control & 15, 0, "no stream begins anew");
        let pixels: Vec<u32> = match control >> 4 {
            8 => {
                self.kinds[0] += 1;
                let pixel = self.tight_pixel();
                vec![pixel; all]
            }
            9 => {
                self.kinds[1] += 1;
                let data = self.counted();
                let mut decoder = zune_jpeg::JpegDecoder::new(std::io::Cursor::new(data));
                let colours = decoder.decode().expect("a JPEG");
                assert_eq!(decoder.dimensions(), Some((width, height)));
                self.of_colours(&colours)
            }
            10 => {
                self.kinds[2] += 1;
                let data = self.counted();
                let mut reader = png::Decoder::new(std::io::Cursor::new(data)).read_info().expect("a PNG");
                let mut colours = vec![0; all * 3];
                reader.next_frame(&mut colours).expect("pixels");
                self.of_colours(&colours)
            }
            kind @ 0..8 if kind & 4 == 0 => {
                self.kinds[4] += 1;
                let size = self.tight_bytes();
                let plain = self.tight_data(usize::from(kind & 3), all * size);
                plain.chunks(size).map(|pixel| self.tight_parse(pixel)).collect()
            }
            kind @ 0..8 => {
                assert_eq!(self.u8(), 1, "a palette");
                self.kinds[3] += 1;
                let count = usize::from(self.u8()) + 1;
                let palette: Vec<u32> = (0..count).map(|_| self.tight_pixel()).collect();
                let row = if count == 2 { width.div_ceil(8) } else { width };
                let plain = self.tight_data(usize::from(kind & 3), row * height);
                let number = |x: usize, y: usize| match count {
                    2 => plain[y * row + x / 8] >> (7 - x % 8) & 1,
                    _ => plain[y * row + x],
                };
                (0..all).map(|at| palette[usize::from(number(at % width, at / width))]).collect()
            }
            other => panic!("kind {other}"),
        };
        assert_eq!(pixels.len(), all);
        self.put_all(left, top, width, pixels);
    }

    /// Bytes behind their length.
    fn counted(&mut self) -> Vec<u8> {
        let mut len = 0;
        for shift in [0, 7, 14] {
            let byte = usize::from(self.u8());
            len |= (byte & if shift == 14 { 0xff } else { 0x7f }) << shift;
            if byte & 0x80 == 0 || shift == 14 {
                break;
            }
        }
        self.take_vec(len)
    }

    fn tight_data(&mut self, stream: usize, len: usize) -> Vec<u8> {
        if len < 12 {
            return self.take_vec(len);
        }
        let packed = self.counted();
        let plain = self.tight[stream].packet(&packed);
        assert_eq!(plain.len(), len);
        plain
    }

    fn tight_bytes(&self) -> usize {
        let Format { bits, max, .. } = self.format;
        if bits == 32 && max == [255; 3] { 3 } else { usize::from(bits / 8) }
    }

    fn tight_pixel(&mut self) -> u32 {
        let data = self.take_vec(self.tight_bytes());
        self.tight_parse(&data)
    }

    fn tight_parse(&self, data: &[u8]) -> u32 {
        match *data {
            [red, green, blue] => self.of_colour([red, green, blue]),
            _ => self.parse(data),
        }
    }

    /// The pixel of a colour, as exact as the format can be.
    fn of_colour(&self, colour: [u8; 3]) -> u32 {
        (0..3).fold(0, |pixel, at| {
            let max = u32::from(self.format.max[at]);
            pixel | (u32::from(colour[at]) * max + 127) / 255 << self.format.shift[at]
        })
    }

    fn of_colours(&self, colours: &[u8]) -> Vec<u32> {
        colours.as_chunks().0.iter().map(|colour| self.of_colour(*colour)).collect()
    }

    fn zrle(&mut self, left: usize, top: usize, width: usize, height: usize) {
        let len = self.u32() as usize;
        let packed = self.take_vec(len);
        let data = self.inflate.packet(&packed);
        let mut data = &data[..];
        for y in (0..height).step_by(64) {
            for x in (0..width).step_by(64) {
                let (w, h) = (64.min(width - x), 64.min(height - y));
                let pixels = self.zrle_tile(&mut data, w, h);
                assert_eq!(pixels.len(), w * h);
                for (at, pixel) in pixels.into_iter().enumerate() {
                    self.put(left + x + at % w, top + y + at / w, pixel);
                }
            }
        }
        assert!(data.is_empty(), "{} bytes are left over", data.len());
    }

    fn zrle_tile(&self, data: &mut &[u8], width: usize, height: usize) -> Vec<u32> {
        let all = width * height;
        let kind = next(data, 1)[0];
        let mut pixels = Vec::new();
        match kind {
            0 => (0..all).for_each(|_| pixels.push(self.compact(data))),
            1 => pixels.resize(all, self.compact(data)),
            2..=16 => {
                let palette: Vec<_> = (0..kind).map(|_| self.compact(data)).collect();
                let bits = if kind == 2 {
                    1
                } else if kind <= 4 {
                    2
                } else {
                    4
                };
                for _ in 0..height {
                    let row = next(data, (width * bits).div_ceil(8));
                    for x in 0..width {
                        let shift = 8 - bits - x * bits % 8;
                        let index = row[x * bits / 8] >> shift & ((1 << bits) - 1);
                        pixels.push(palette[usize::from(index)]);
                    }
                }
            }
            128 => {
                while pixels.len() < all {
                    let pixel = self.compact(data);
                    let len = run(data);
                    pixels.resize(pixels.len() + len, pixel);
                }
            }
            130.. => {
                let palette: Vec<_> = (0..kind - 128).map(|_| self.compact(data)).collect();
                while pixels.len() < all {
                    let index = next(data, 1)[0];
                    let len = if index & 0x80 != 0 { run(data) } else { 1 };
                    pixels.resize(pixels.len() + len, palette[usize::from(index & 0x7f)]);
                }
            }
            other => panic!("tile {other}"),
        }
        pixels
    }

    fn compact(&self, data: &mut &[u8]) -> u32 {
        let Format { bits, big, max, shift } = self.format;
        let mask = (0..3).fold(0u64, |mask, at| mask | u64::from(max[at]) << shift[at]);
        if bits == 32 && mask >> 24 == 0 {
            let mut bytes = next(data, 3).to_vec();
            bytes.insert(if big { 0 } else { 3 }, 0);
            return self.parse(&bytes);
        }
        if bits == 32 && mask & 0xff == 0 {
            let mut bytes = next(data, 3).to_vec();
            bytes.insert(if big { 3 } else { 0 }, 0);
            return self.parse(&bytes);
        }
        let bytes = next(data, usize::from(bits / 8));
        self.parse(bytes)
    }

    /// Compares with a picture of the same size, colour by colour as exact as the format can be.
    pub fn assert_shows(&self, picture: &Picture) {
        assert_eq!((self.width, self.height), (picture.width() as usize, picture.height() as usize));
        for (at, colour) in picture.pixels().as_chunks::<3>().0.iter().enumerate() {
            for part in 0..3 {
                let max = u32::from(self.format.max[part]);
                let seen = self.pixels[at] >> self.format.shift[part] & max;
                let exact = f64::from(colour[part]) * f64::from(max) / 255.0;
                let (x, y) = (at % self.width, at / self.width);
                assert!(
                    (exact - f64::from(seen)).abs() <= 0.5 + self.tolerance * f64::from(max) / 255.0,
                    "{x},{y}: {colour:?} as {:x}",
                    self.pixels[at]
                );
            }
        }
    }
}

fn next<'a>(data: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (now, rest) = data.split_at(len);
    *data = rest;
    now
}

fn run(data: &mut &[u8]) -> usize {
    let mut len = 1;
    loop {
        let more = next(data, 1)[0];
        len += usize::from(more);
        if more != 255 {
            return len;
        }
    }
}
