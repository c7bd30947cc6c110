//! Which parts of a picture have changed, in tiles of 16 by 16 pixels.

use std::hash::{BuildHasher, RandomState};

use devices_core::picture::Frame;

/// Pixels of a tile's side.
pub const TILE: u32 = 16;
/// Widest rectangle, in pixels.
const WIDEST: u32 = 2048;
/// Most pixels of a rectangle, so that encoding one takes a bounded time and space.
const LARGEST: u32 = 1 << 16;
/// Above this many rectangles, changes that lie apart in a row are sent as one.
const SCATTERED: usize = 512;

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u16,
    /// Upper edge.
    pub y: u16,
    /// Width.
    pub width: u16,
    /// Height.
    pub height: u16,
}

impl Rect {
    /// The smallest rectangle around both.
    pub fn around(self, other: Rect) -> Rect {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x.saturating_add(self.width)).max(other.x.saturating_add(other.width));
        let bottom = (self.y.saturating_add(self.height)).max(other.y.saturating_add(other.height));
        Rect { x, y, width: right - x, height: bottom - y }
    }
}

/// A set of tiles of a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiles {
    width: u32,
    height: u32,
    /// Bits, each row of tiles from a new word on.
    words: Vec<u64>,
}

impl Tiles {
    /// None of a picture of that size, at most 65535 each.
    pub fn none(width: u16, height: u16) -> Tiles {
        let (width, height) = (u32::from(width), u32::from(height));
        let mut tiles = Tiles { width, height, words: Vec::new() };
        tiles.words.resize(tiles.stride() * height.div_ceil(TILE) as usize, 0);
        tiles
    }

    /// Words of a row.
    fn stride(&self) -> usize {
        self.columns().div_ceil(64) as usize
    }

    fn columns(&self) -> u32 {
        self.width.div_ceil(TILE)
    }

    fn rows(&self) -> u32 {
        self.height.div_ceil(TILE)
    }

    fn place(&self, column: u32, row: u32) -> (usize, u64) {
        (row as usize * self.stride() + column as usize / 64, 1 << (column % 64))
    }

    /// Adds a tile.
    pub fn set(&mut self, column: u32, row: u32) {
        let (word, bit) = self.place(column, row);
        if let Some(word) = self.words.get_mut(word).filter(|_| column < self.width.div_ceil(TILE)) {
            *word |= bit;
        }
    }

    fn has(&self, column: u32, row: u32) -> bool {
        let (word, bit) = self.place(column, row);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Adds all that a part of the picture touches.
    pub fn set_rect(&mut self, rect: Rect) {
        let (columns, rows) = self.within(rect);
        for row in rows {
            for column in columns.clone() {
                self.set(column, row);
            }
        }
    }

    /// The tiles that a part of the picture touches.
    fn within(&self, rect: Rect) -> (std::ops::Range<u32>, std::ops::Range<u32>) {
        let range = |from: u16, len: u16, limit: u32| {
            let (from, end) = (u32::from(from), u32::from(from) + u32::from(len));
            from / TILE..if len == 0 { from / TILE } else { end.div_ceil(TILE).min(limit) }
        };
        (range(rect.x, rect.width, self.columns()), range(rect.y, rect.height, self.rows()))
    }

    /// Adds the tiles of another set, as far as they are in this one's picture.
    pub fn add(&mut self, other: &Tiles) {
        if (self.width, self.height) == (other.width, other.height) {
            for (to, from) in self.words.iter_mut().zip(&other.words) {
                *to |= from;
            }
            return;
        }
        for row in 0..other.rows().min(self.rows()) {
            for column in 0..other.columns() {
                if other.has(column, row) {
                    self.set(column, row);
                }
            }
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Takes out the tiles that a part of the picture touches, as rectangles that do not overlap, each of a
    /// bounded size and within the picture.
    pub fn take(&mut self, within: Rect) -> Vec<Rect> {
        let (columns, rows) = self.within(within);
        let mut spans = Vec::new();
        for row in rows {
            self.spans(row, columns.clone(), &mut spans);
        }
        if spans.len() > SCATTERED {
            spans = joined(&spans);
        }
        self.rectangles(&stacked(&spans))
    }

    /// Takes out a row's tiles.
    fn spans(&mut self, row: u32, columns: std::ops::Range<u32>, spans: &mut Vec<Span>) {
        for column in columns {
            if !self.has(column, row) {
                continue;
            }
            let (word, bit) = self.place(column, row);
            if let Some(word) = self.words.get_mut(word) {
                *word &= !bit;
            }
            match spans.last_mut().filter(|last| last.end == column) {
                Some(last) if last.row == row => last.end += 1,
                _ => spans.push(Span { row, rows: 1, from: column, end: column + 1 }),
            }
        }
    }

    fn rectangles(&self, spans: &[Span]) -> Vec<Rect> {
        let mut rects = Vec::new();
        for span in spans {
            let (left, right) = (span.from * TILE, (span.end * TILE).min(self.width));
            let (top, bottom) = (span.row * TILE, ((span.row + span.rows) * TILE).min(self.height));
            let mut x = left;
            while x < right {
                let width = (right - x).min(WIDEST);
                // Whole rows of tiles; of ZRLE's tiles, if there is room for one.
                let rows = LARGEST / width;
                let step = if rows >= 64 { rows / 64 * 64 } else { (rows / TILE * TILE).max(TILE) };
                let mut y = top;
                while y < bottom {
                    let height = (bottom - y).min(step);
                    rects.push(Rect { x: x as u16, y: y as u16, width: width as u16, height: height as u16 });
                    y += height;
                }
                x += width;
            }
        }
        rects
    }
}

/// Neighbouring tiles of a row, or of several rows below each other.
#[derive(Clone, Copy)]
struct Span {
    row: u32,
    rows: u32,
    from: u32,
    end: u32,
}

/// One span for each row.
fn joined(spans: &[Span]) -> Vec<Span> {
    let mut rows: Vec<Span> = Vec::new();
    for &span in spans {
        match rows.last_mut() {
            Some(last) if last.row == span.row => last.end = span.end,
            _ => rows.push(span),
        }
    }
    rows
}

/// Puts equal spans of neighbouring rows together.
fn stacked(spans: &[Span]) -> Vec<Span> {
    let mut done: Vec<Span> = Vec::new();
    let mut open: Vec<Span> = Vec::new();
    for &span in spans {
        done.extend(open.extract_if(.., |above| above.row + above.rows < span.row));
        let same = |above: &&mut Span| {
            above.row + above.rows == span.row && (above.from, above.end) == (span.from, span.end)
        };
        match open.iter_mut().find(same) {
            Some(above) => above.rows += 1,
            None => open.push(span),
        }
    }
    done.extend(open);
    done.sort_by_key(|span| (span.row, span.from));
    done
}

/// What the screen showed below its pointer when it was last looked at: a hash of each tile. A guest that makes two pictures with
/// one hash fools only its own viewers.
pub struct Seen {
    size: (u16, u16),
    /// Row by row; 0: nobody can say.
    hashes: Vec<u64>,
    /// Where hashes begin, different in each process.
    seed: u64,
}

impl Seen {
    /// A screen of that size of which nothing was seen yet.
    pub fn new(size: (u16, u16)) -> Seen {
        let mut seen = Seen { size, hashes: Vec::new(), seed: RandomState::new().hash_one(size) };
        seen.hashes.resize(seen.columns() * usize::from(size.1).div_ceil(TILE as usize), 0);
        seen
    }

    /// The screen's size.
    pub fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Rows of tiles.
    pub fn rows(&self) -> u32 {
        u32::from(self.size.1).div_ceil(TILE)
    }

    fn columns(&self) -> usize {
        usize::from(self.size.0).div_ceil(TILE as usize)
    }

    /// Looks at a row of tiles, and adds those that have changed.
    pub fn look(&mut self, frame: &dyn Frame, row: u32, changed: &mut Tiles) {
        let mut line = vec![[0; 3]; usize::from(self.size.0)];
        let mut new = vec![self.seed; self.columns()];
        for y in row * TILE..(row * TILE + TILE).min(u32::from(self.size.1)) {
            frame.line_below(0, y, &mut line);
            for (hash, part) in new.iter_mut().zip(line.chunks(TILE as usize)) {
                *hash = mixed(*hash, part);
            }
        }
        let start = row as usize * new.len();
        let old = self.hashes.get_mut(start..).unwrap_or_default();
        for ((column, old), new) in (0..).zip(old).zip(new) {
            if std::mem::replace(old, new.max(1)) != new.max(1) {
                changed.set(column, row);
            }
        }
    }

    /// A client is sent a part of the screen, rows of `colours`. A tile in it that is not as it was seen was
    /// written since, and is in the next look's lines; it must then count as changed, even if it has become again
    /// what it was.
    pub fn sent(&mut self, rect: Rect, colours: &[[u8; 3]]) {
        let tile = TILE as usize;
        let (left, width) = (usize::from(rect.x), usize::from(rect.width).max(1));
        for (band, y) in colours.chunks(width * tile).zip((usize::from(rect.y)..).step_by(tile)) {
            for x in (0..width).step_by(tile) {
                let whole = usize::from(self.size.0).saturating_sub(left + x).min(tile);
                let lines = usize::from(self.size.1).saturating_sub(y).min(tile);
                if (left + x) % tile != 0 || y % tile != 0 || whole == 0 || lines == 0 {
                    continue;
                }
                let rows = band.chunks(width).take(lines);
                let parts = rows.map(|row| row.get(x..(x + whole).min(row.len())).unwrap_or_default());
                let hash = parts.fold(self.seed, mixed).max(1);
                let at = y / tile * self.columns() + (left + x) / tile;
                if let Some(seen) = self.hashes.get_mut(at).filter(|seen| **seen != hash) {
                    *seen = 0;
                }
            }
        }
    }
}

/// Goes on with a hash: each eight bytes are multiplied into it, and the product's halves folded.
fn mixed(hash: u64, part: &[[u8; 3]]) -> u64 {
    // An odd constant whose bits are spread evenly: the golden ratio's.
    let fold = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        (product as u64 ^ (product >> 64) as u64).rotate_left(23)
    };
    let (words, rest) = part.as_flattened().as_chunks::<8>();
    let hash = words.iter().fold(hash, |hash, word| fold(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, &byte| fold(hash, u64::from(byte)))
}

/// A screen's size in the protocol's terms.
pub fn size(frame: &dyn Frame) -> (u16, u16) {
    let (width, height) = frame.size();
    (width.min(0xffff) as u16, height.min(0xffff) as u16)
}

#[cfg(test)]
mod tests {
    use devices_core::picture::Picture;

    use super::*;

    fn all(width: u16, height: u16) -> Rect {
        Rect { x: 0, y: 0, width, height }
    }

    /// Each pixel of the tiles that were set is in one rectangle.
    fn check(tiles: &Tiles, rects: &[Rect]) {
        let mut seen = tiles.clone();
        seen.words.fill(0);
        let mut area = 0u64;
        for rect in rects {
            assert!(rect.width > 0 && rect.height > 0);
            assert!(u32::from(rect.width) * u32::from(rect.height) <= LARGEST.max(WIDEST * TILE));
            assert!(u32::from(rect.x) + u32::from(rect.width) <= tiles.width);
            assert!(u32::from(rect.y) + u32::from(rect.height) <= tiles.height);
            area += u64::from(rect.width) * u64::from(rect.height);
            seen.set_rect(*rect);
        }
        for row in 0..tiles.rows() {
            for column in 0..tiles.columns() {
                assert!(!tiles.has(column, row) || seen.has(column, row), "tile {column},{row}");
            }
        }
        let bound = |row: u32, column: u32| {
            let width = (tiles.width - column * TILE).min(TILE);
            u64::from(width * (tiles.height - row * TILE).min(TILE))
        };
        let seen_area: u64 = (0..tiles.rows())
            .flat_map(|row| (0..tiles.columns()).map(move |column| (row, column)))
            .filter(|&(row, column)| seen.has(column, row))
            .map(|(row, column)| bound(row, column))
            .sum();
        assert_eq!(area, seen_area, "no overlap");
    }

    #[test]
    fn rectangles_cover_what_was_set_once() {
        let mut tiles = Tiles::none(1000, 700);
        for (column, row) in [(0, 0), (1, 0), (1, 1), (2, 1), (62, 43), (62, 42), (30, 20), (32, 20)] {
            tiles.set(column, row);
        }
        let before = tiles.clone();
        let rects = tiles.take(all(1000, 700));
        check(&before, &rects);
        assert_eq!(rects.len(), 5);
        assert!(tiles.is_empty());
        tiles.set_rect(all(1000, 700));
        let before = tiles.clone();
        let rects = tiles.take(all(1000, 700));
        check(&before, &rects);
        assert_eq!((rects.len(), rects[0].height), (11, 64));
    }

    #[test]
    fn a_scattered_picture_has_few_rectangles() {
        let mut tiles = Tiles::none(16384, 16384);
        for row in 0..1024 {
            for column in 0..512 {
                tiles.set(column * 2 + row % 2, row);
            }
        }
        let before = tiles.clone();
        let rects = tiles.take(all(16384, 16384));
        assert!(rects.len() <= 8192);
        check(&before, &rects);
    }

    #[test]
    fn only_what_was_asked_for_is_taken() {
        let mut tiles = Tiles::none(64, 64);
        tiles.set_rect(Rect { x: 15, y: 15, width: 2, height: 2 });
        assert_eq!(tiles.take(Rect { x: 16, y: 0, width: 1, height: 16 }).len(), 1);
        assert_eq!(tiles.take(Rect { x: 40, y: 40, width: 0, height: 9 }), []);
        assert_eq!(tiles.take(Rect { x: 0xffff, y: 0xffff, width: 0xffff, height: 0xffff }), []);
        assert_eq!(tiles.take(all(64, 64)).len(), 2);
        assert!(tiles.is_empty());
    }

    #[test]
    fn sets_of_different_pictures_add_up() {
        let (mut small, mut large) = (Tiles::none(32, 32), Tiles::none(2000, 64));
        large.set_rect(all(2000, 64));
        small.add(&large);
        assert_eq!(small.take(all(32, 32)), [all(32, 32)]);
    }

    /// What a look at all of a picture finds.
    fn look(seen: &mut Seen, picture: &Picture) -> Vec<Rect> {
        let (width, height) = size(picture);
        let mut tiles = Tiles::none(width, height);
        (0..seen.rows()).for_each(|row| seen.look(picture, row, &mut tiles));
        tiles.take(all(width, height))
    }

    #[test]
    fn changes_are_found_to_the_tile() {
        let mut picture = Picture::new(100, 50);
        let mut seen = Seen::new(size(&picture));
        assert_eq!(look(&mut seen, &picture), [all(100, 50)], "nothing was seen before");
        assert_eq!(look(&mut seen, &picture), []);
        picture.row_mut(49)[99 * 3 + 2] = 1;
        picture.row_mut(16)[16 * 3] = 1;
        let expected =
            [Rect { x: 16, y: 16, width: 16, height: 16 }, Rect { x: 96, y: 48, width: 4, height: 2 }];
        assert_eq!(look(&mut seen, &picture), expected);
        assert_eq!(look(&mut seen, &picture), []);
    }

    #[test]
    fn what_was_sent_newer_than_seen_counts_as_changed_though_it_goes_back() {
        let mut picture = Picture::new(100, 50);
        let mut seen = Seen::new(size(&picture));
        look(&mut seen, &picture);
        let sent = |seen: &mut Seen, picture: &Picture, rect: Rect| {
            let mut colours = vec![[0; 3]; usize::from(rect.width) * usize::from(rect.height)];
            for (y, row) in (u32::from(rect.y)..).zip(colours.chunks_mut(rect.width.into())) {
                picture.line(rect.x.into(), y, row);
            }
            seen.sent(rect, &colours);
        };
        sent(&mut seen, &picture, all(100, 50));
        assert_eq!(look(&mut seen, &picture), [], "it was sent as it was seen");
        // The guest writes, a client is sent that, and the guest takes it back, all between two looks.
        let before = picture.clone();
        picture.row_mut(49)[99 * 3] = 9;
        sent(&mut seen, &picture, Rect { x: 64, y: 32, width: 36, height: 18 });
        assert_eq!(look(&mut seen, &before), [Rect { x: 96, y: 48, width: 4, height: 2 }]);
        // Beyond the screen, for a client that believes in a larger one.
        sent(&mut seen, &before, all(300, 300));
        assert_eq!(look(&mut seen, &before), []);
    }
}
