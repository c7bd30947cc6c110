//! Sound: cards, and what they have in common.
//!
//! A card moves samples by guest time ([`Pace`]): so many frames have gone over its link since it was started, whoever
//! listens. It reads and writes memory when its timer fires, and whenever the guest looks at a position: so what the
//! guest is told to be done has been done.

pub mod ac97;
pub mod hda;
mod pace;

pub use pace::Pace;
