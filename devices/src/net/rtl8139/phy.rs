//! The PHY and the link: MII registers, which are windows in the card's own, and MSR.

use devices_core::Node;

use super::spec::phy;

/// The PHY.
pub(super) struct Phy {
    /// The cable is in.
    pub link: bool,
    /// What the driver has chosen.
    pub bmcr: u16,
    /// What is offered to the partner.
    pub anar: u16,
}

impl Default for Phy {
    fn default() -> Phy {
        Phy { link: true, bmcr: phy::BMCR, anar: phy::ABILITIES }
    }
}

impl Phy {
    /// Status. Autonegotiation is always done.
    pub fn bmsr(&self) -> u16 {
        phy::BMSR | if self.link { phy::BMSR_LINK } else { 0 }
    }

    /// Media status.
    pub fn msr(&self) -> u8 {
        phy::MSR | if self.link { 0 } else { phy::MSR_LINKB }
    }

    /// Control. Restarting autonegotiation is over at once, and so is a reset.
    pub fn write_bmcr(&mut self, value: u16) {
        if value & phy::RESET != 0 {
            *self = Phy { link: self.link, ..Phy::default() };
        } else {
            self.bmcr = value & phy::BMCR_WRITABLE;
        }
    }

    /// For people.
    pub fn inspect(&self, node: &mut Node) {
        node.value("link", self.link).hex("BMCR", self.bmcr).hex("ANAR", self.anar);
    }
}
