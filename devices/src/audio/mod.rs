//! Sound: cards, and what they have in common.
//!
//! A card moves samples by guest time ([`Pace`]): so many frames have gone over its link since it was started, whoever
//! listens. It reads and writes memory when its timer fires, and whenever the guest looks at a position: so what the
//! guest is told to be done has been done.

pub mod ac97;
pub mod es1370;
pub mod hda;
mod pace;

use devices_core::dma::Dma;

pub use pace::Pace;

/// Reads what a card plays; where no RAM is, there is silence. Whether there was RAM.
fn fetch(dma: &Dma, at: u64, piece: &mut [u8]) -> bool {
    let done = dma.read(at, piece).is_ok();
    if !done {
        piece.fill(0);
    }
    done
}
