//! Network cards.
