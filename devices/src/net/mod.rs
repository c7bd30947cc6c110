//! Network cards.

pub mod e1000;
mod eeprom93;
mod offload;
pub mod rtl8139;
