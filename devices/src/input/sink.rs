//! Keyboards and pointers beside the PC's own, as those who press and point see them.

use super::keys::Key;

/// What a device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Keys.
    Keyboard,
    /// A pointer that moves by so much.
    Mouse,
    /// A pointer that is at a place.
    Tablet,
}

/// How a pointer moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// By so much, to the right and down; a tablet stays where it is.
    By {
        /// To the right.
        dx: i32,
        /// Down.
        dy: i32,
    },
    /// To a place of 0 to 0x7fff in each axis, none: it stays where it is; a mouse does.
    To {
        /// From the left.
        x: Option<u16>,
        /// From the top.
        y: Option<u16>,
    },
}

/// What happens to a pointer at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// How it moves.
    pub motion: Motion,
    /// Steps of the wheel towards the person.
    pub wheel: i32,
    /// Buttons that are held then: bit 0 left, 1 right, 2 middle, 3 and 4 at the side.
    pub buttons: u8,
}

/// Lights in the order of [`InputSink::lights`], of those in USB's and Linux's: num, caps and scroll lock.
pub(crate) const fn lights_in_order(lights: u8) -> u8 {
    lights >> 2 & 1 | lights << 1 & 6
}

/// A keyboard or a pointer.
pub trait InputSink: Send {
    /// What people call it.
    fn title(&self) -> &'static str;
    /// What it is for.
    fn role(&self) -> Role;
    /// Whether the guest listens to it.
    fn is_active(&self) -> bool;
    /// A key goes down or up.
    fn key(&mut self, key: Key, down: bool);
    /// Lights of a keyboard that are on: bit 0 scroll, 1 num, 2 caps lock.
    fn lights(&self) -> u8 {
        0
    }
    /// A pointer moves, or its buttons do.
    fn point(&mut self, pointer: Pointer);
}
