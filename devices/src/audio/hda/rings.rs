//! Commands and responses: by the rings (4.4), and one by one (3.4).

use super::Hda;
use super::spec::{self, icis, reg, rirb};

/// What the two rings do beside their registers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rings {
    /// Responses since the last interrupt.
    pub responses: u16,
}

impl Hda {
    /// Asks a codec; none: there is no such codec, or what is asked for means nothing.
    fn command(&mut self, verb: u32) -> Option<(u8, u32)> {
        let (codec, node) = ((verb >> 28) as u8, (verb >> 20) as u8);
        // Bit 27 would be a node that is named indirectly.
        let there = self.codecs.get_mut(&codec).filter(|_| verb >> 27 & 1 == 0)?;
        Some((codec, there.command(node, verb & 0xf_ffff)))
    }

    /// Carries out the commands of the ring.
    pub(super) fn run_corb(&mut self) {
        let list = self.registers.u64(reg::CORBLBASE);
        // No more than the ring has: the write pointer stands still meanwhile.
        while self.registers.u8(reg::CORBCTL) & spec::CORB_RUN != 0 {
            let (read, write) = (self.registers.u16(reg::CORBRP), self.registers.u8(reg::CORBWP));
            if read & spec::POINTER_RESET != 0 || read as u8 == write {
                return;
            }
            let next = (read as u8).wrapping_add(1);
            self.registers.set_u16(reg::CORBRP, next.into());
            let mut verb = [0; 4];
            let at = list.checked_add(4 * u64::from(next));
            if at.is_none_or(|at| self.dma.read(at, &mut verb).is_err()) {
                self.registers.set(reg::CORBSTS, &[spec::CORB_ERROR]);
                let control = self.registers.u8(reg::CORBCTL) & !spec::CORB_RUN;
                self.registers.set(reg::CORBCTL, &[control]);
                return;
            }
            if let Some((codec, response)) = self.command(u32::from_le_bytes(verb)) {
                self.respond(codec, response, next == write);
            }
        }
    }

    /// A response goes into its ring; `last`: there are no more commands.
    fn respond(&mut self, codec: u8, response: u32, last: bool) {
        if self.registers.u8(reg::RIRBCTL) & rirb::RUN == 0 {
            return;
        }
        let next = (self.registers.u16(reg::RIRBWP) as u8).wrapping_add(1);
        self.registers.set_u16(reg::RIRBWP, next.into());
        let entry = u64::from(response) | u64::from(codec) << 32;
        if let Some(at) = self.registers.u64(reg::RIRBLBASE).checked_add(8 * u64::from(next)) {
            // A ring that is no RAM has no responses in it.
            let _ = self.dma.write(at, &entry.to_le_bytes());
        }
        self.rings.responses += 1;
        // A count of 0 is that of all 256.
        let count = u16::from(self.registers.u8(reg::RINTCNT)).wrapping_sub(1) & 0xff;
        if self.rings.responses > count || last {
            self.rings.responses = 0;
            if self.registers.u8(reg::RIRBCTL) & rirb::INTERRUPT != 0 {
                let status = self.registers.u8(reg::RIRBSTS) | spec::RESPONSE;
                self.registers.set(reg::RIRBSTS, &[status]);
            }
        }
    }

    /// Carries out the command of the register.
    pub(super) fn immediate(&mut self) {
        let answer = self.command(self.registers.u32(reg::ICOI));
        // Nobody answers: it is neither busy nor valid.
        let status = answer.map_or(0, |(codec, response)| {
            self.registers.set_u32(reg::IRII, response);
            icis::VALID | codec << 4
        });
        self.registers.set(reg::ICIS, &[status]);
    }
}
