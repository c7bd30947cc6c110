//! What the heads show, and who looks at it from outside.
//!
//! Heads have a lock of their own, which is held for the time of some assignments; pixels are read with neither that nor
//! the device's taken. So a vCPU waits for nobody who looks, however large the picture is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices_core::DeviceCell;
use devices_core::picture::{DirtyRows, DisplayAdapter, Frame, Picture, Pointer, PointerShape};

use super::super::pci::VirtioPci;
use super::Gpu;
use super::image::{Format, Image, SIDE_MAX};
use super::spec::{CURSOR, PIXEL};

/// What somebody sees who looks at a head without a mode.
const NO_MODE: (u32, u32) = (640, 480);

/// A part of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Rect {
    /// Whether it lies in a picture of that size.
    pub fn is_in(self, (width, height): (u32, u32)) -> bool {
        let inside = |at: u32, len: u32, of: u32| at.checked_add(len).is_some_and(|end| end <= of);
        inside(self.x, self.width, width) && inside(self.y, self.height, height)
    }
    /// Lines that both have, counted from this one's first; none if they do not meet.
    fn lines_of(self, other: Rect) -> std::ops::Range<u32> {
        let meets = |a: u32, a_len: u32, b: u32, b_len: u32| a < b + b_len && b < a + a_len;
        if !meets(self.x, self.width, other.x, other.width) {
            return 0..0;
        }
        let from = other.y.max(self.y) - self.y;
        let end = (other.y + other.height).saturating_sub(self.y).min(self.height);
        from..end.max(from)
    }
}

/// What a head shows.
#[derive(Clone)]
pub struct Scanout {
    /// Whose pixels.
    pub resource: u32,
    pub image: Arc<Image>,
    pub rect: Rect,
}

/// A pointer's shape: its pixels, of one format, and the same as those see it who look.
#[derive(Clone)]
pub struct Shape {
    pub format: Format,
    pub pixels: Arc<[[u8; PIXEL]]>,
    pub seen: Arc<PointerShape>,
}

impl Shape {
    /// Of so many pixels, of which one points.
    pub fn new(format: Format, pixels: Arc<[[u8; PIXEL]]>, hot: (u32, u32)) -> Shape {
        let side = |at: u32| at.min(CURSOR - 1) as u16;
        let colours = pixels.iter().map(|pixel| {
            let [red, green, blue] = format.colour(pixel);
            [red, green, blue, format.opacity(pixel)]
        });
        let seen = PointerShape {
            size: (CURSOR as u16, CURSOR as u16),
            hot: (side(hot.0), side(hot.1)),
            pixels: colours.collect(),
        };
        Shape { format, seen: Arc::new(seen), pixels }
    }
}

/// A pointer: its shape and where its corner is. No shape: it is not seen.
#[derive(Clone, Default)]
pub struct Cursor {
    pub shape: Option<Shape>,
    pub x: i32,
    pub y: i32,
}

impl Cursor {
    /// As those see it who look.
    fn seen(&self) -> Option<Pointer> {
        let shape = self.shape.as_ref()?.seen.clone();
        Some(Pointer { shape, at: (self.x, self.y) })
    }

    /// Lines of a picture that it is on.
    fn lines(&self) -> std::ops::Range<u32> {
        self.seen().map_or(0..0, |pointer| pointer.lines())
    }
}

/// Lines of a head that were written since somebody looked.
#[derive(Clone)]
struct Dirty([u64; SIDE_MAX as usize / 64]);

impl Dirty {
    fn mark(&mut self, lines: std::ops::Range<u32>) {
        let mut at = lines.start;
        let end = lines.end.min(SIDE_MAX);
        while at < end {
            let (word, bit) = (at as usize / 64, at % 64);
            let now = (64 - bit).min(end - at);
            self.0[word] |= (u64::MAX >> (64 - now)) << bit;
            at += now;
        }
    }

    fn take(&mut self, height: u32) -> DirtyRows {
        let mut rows = DirtyRows::default();
        for (word, bits) in (0..).step_by(64).zip(&mut self.0) {
            let mut bits = std::mem::take(bits);
            while bits != 0 {
                let at = word + bits.trailing_zeros();
                bits &= bits - 1;
                if at < height {
                    rows.push(at..at + 1);
                }
            }
        }
        rows
    }
}

/// A head.
#[derive(Clone)]
pub struct Head {
    /// A monitor is connected.
    pub connected: bool,
    /// The size that it likes best.
    pub wanted: (u32, u32),
    scanout: Option<Scanout>,
    cursor: Cursor,
    dirty: Dirty,
}

impl Head {
    fn size(&self) -> (u32, u32) {
        self.scanout.as_ref().map_or(NO_MODE, |scanout| (scanout.rect.width, scanout.rect.height))
    }
    fn seen(&self) -> Seen {
        Seen { size: self.size(), scanout: self.scanout.clone(), pointer: self.cursor.seen() }
    }

    /// What it shows.
    pub fn scanout(&self) -> Option<&Scanout> {
        self.scanout.as_ref()
    }
    /// It shows something else from now on, all of it.
    pub fn show(&mut self, scanout: Option<Scanout>) {
        self.scanout = scanout;
        self.dirty.mark(0..SIDE_MAX);
    }
    /// A part of a resource has changed.
    pub fn flush(&mut self, resource: u32, part: Rect) {
        if let Some(scanout) = self.scanout.as_ref().filter(|scanout| scanout.resource == resource) {
            self.dirty.mark(scanout.rect.lines_of(part));
        }
    }
    /// Its pointer.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }
    /// The pointer is another, or elsewhere.
    pub fn point(&mut self, cursor: Cursor) {
        self.dirty.mark(self.cursor.lines());
        self.cursor = cursor;
        self.dirty.mark(self.cursor.lines());
    }
}

/// All heads of a device.
pub struct Heads {
    heads: Mutex<Vec<Head>>,
    /// One has shown something since the driver reset the device; and whether that was so at the last look.
    used: AtomicBool,
    was_used: AtomicBool,
}

impl Heads {
    /// So many, of which the first has a monitor.
    pub fn new(count: usize, wanted: (u32, u32)) -> Heads {
        let head = |number: usize| Head {
            connected: number == 0,
            wanted,
            scanout: None,
            cursor: Cursor::default(),
            dirty: Dirty([u64::MAX; SIDE_MAX as usize / 64]),
        };
        let heads = Mutex::new((0..count).map(head).collect());
        Heads { heads, used: AtomicBool::new(false), was_used: AtomicBool::new(false) }
    }

    /// The driver shows something, or has reset the device.
    pub fn set_used(&self, used: bool) {
        self.used.store(used, Ordering::Release);
    }
    /// Whether one has shown something since the driver reset the device.
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::Acquire)
    }
    /// Whether that has changed since this was last asked, and what it is.
    pub fn look_changes(&self) -> (bool, bool) {
        let is_used = self.is_used();
        (self.was_used.swap(is_used, Ordering::AcqRel) != is_used, is_used)
    }

    /// All, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, Vec<Head>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a head showed at one instant. Its pixels are those of when they are read.
struct Seen {
    size: (u32, u32),
    scanout: Option<Scanout>,
    pointer: Option<Pointer>,
}

impl Frame for Seen {
    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn line(&self, x: u32, y: u32, out: &mut [[u8; 3]]) {
        self.line_below(x, y, out);
        let room = self.size.0.saturating_sub(x) as usize;
        let len = out.len().min(room);
        if let (Some(pointer), true) = (self.pointer(), y < self.size.1) {
            pointer.draw(x, y, out.get_mut(..len).unwrap_or_default());
        }
    }

    fn pointer(&self) -> Option<Pointer> {
        self.pointer.clone().filter(|_| self.scanout.is_some())
    }

    fn line_below(&self, x: u32, y: u32, out: &mut [[u8; 3]]) {
        out.fill([0; 3]);
        let Some(Scanout { image, rect, .. }) = &self.scanout else { return };
        let room = rect.width.saturating_sub(x).min(u32::try_from(out.len()).unwrap_or(u32::MAX));
        if room == 0 || y >= rect.height {
            return;
        }
        let out = out.get_mut(..room as usize).unwrap_or_default();
        let format = image.format();
        image.line((rect.x + x, rect.y + y), room, |line| {
            out.iter_mut().zip(line).for_each(|(to, from)| *to = format.colour(from));
        });
    }
}

/// Who looks at a device's heads.
pub struct Eye(pub Arc<Heads>);

impl DisplayAdapter for Eye {
    fn frame(&self) -> Box<dyn Frame> {
        self.head(0).unwrap_or_else(|| Box::new(Picture::new(NO_MODE.0, NO_MODE.1)))
    }

    fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
        let mut heads = self.0.lock();
        let Some(head) = heads.first_mut() else {
            drop(heads);
            return (self.frame(), DirtyRows::default());
        };
        let seen = head.seen();
        let rows = head.dirty.take(seen.size.1);
        (Box::new(seen), rows)
    }

    fn head(&self, number: u32) -> Option<Box<dyn Frame>> {
        let heads = self.0.lock();
        let head = heads.get(usize::try_from(number).ok()?)?;
        Some(Box::new(head.seen()))
    }

    fn is_active(&self) -> bool {
        self.0.lock().first().is_some_and(|head| head.scanout.is_some())
    }
}

/// Who looks at a device's heads, and can tell its driver of another size.
pub struct Window {
    eye: Eye,
    slot: Arc<DeviceCell<VirtioPci<Gpu>>>,
}

impl Window {
    /// For that device.
    pub fn new(slot: &Arc<DeviceCell<VirtioPci<Gpu>>>) -> Window {
        let eye = Eye(slot.lock().device().heads.clone());
        Window { eye, slot: slot.clone() }
    }
}

impl DisplayAdapter for Window {
    fn frame(&self) -> Box<dyn Frame> {
        self.eye.frame()
    }
    fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
        self.eye.look()
    }
    fn head(&self, number: u32) -> Option<Box<dyn Frame>> {
        self.eye.head(number)
    }
    fn is_active(&self) -> bool {
        self.eye.is_active()
    }
    fn resizes(&self) -> bool {
        true
    }
    fn resize(&self, size: (u32, u32)) {
        self.slot.lock().with(|gpu, common| gpu.resize(common, size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_changed_are_told_once() {
        let mut dirty = Dirty([0; SIDE_MAX as usize / 64]);
        dirty.mark(3..3);
        dirty.mark(60..70);
        dirty.mark(128..192);
        dirty.mark(16380..20000);
        assert_eq!(dirty.clone().take(16384).ranges(), [60..70, 128..192, 16380..16384]);
        assert_eq!(dirty.take(150).ranges(), [60..70, 128..150]);
        assert!(dirty.take(16384).is_empty());
    }

    #[test]
    fn parts_meet_or_do_not() {
        let rect = |x, y, width, height| Rect { x, y, width, height };
        let shown = rect(10, 10, 20, 20);
        for (part, lines) in [
            (rect(0, 0, 100, 100), 0..20),
            (rect(15, 12, 1, 3), 2..5),
            (rect(0, 25, 11, 50), 15..20),
            (rect(0, 10, 10, 20), 0..0),
            (rect(30, 10, 10, 20), 0..0),
        ] {
            assert_eq!(shown.lines_of(part), lines, "{part:?}");
        }
        assert!(
            shown.lines_of(rect(10, 0, 5, 10)).is_empty() && shown.lines_of(rect(10, 30, 5, 9)).is_empty()
        );
        assert!(rect(0, 0, 4, 4).is_in((4, 4)) && !rect(1, 0, 4, 4).is_in((4, 4)));
        assert!(!rect(u32::MAX, 0, 2, 1).is_in((4, 4)) && !rect(0, 4, 1, u32::MAX).is_in((4, 4)));
    }
}
