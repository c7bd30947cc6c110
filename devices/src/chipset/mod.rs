//! The PC's chipset: host bridge, ISA bridge, power management, and the small things on the ISA bus.

pub mod debugcon;
pub mod dma8237;
pub mod fw_cfg;
pub mod i440fx;
pub mod piix3;
pub mod piix4_pm;
pub mod port92;
pub mod post;
pub mod pvpanic;
pub mod pvpanic_pci;
pub mod vmgenid;

#[cfg(test)]
mod tests;
