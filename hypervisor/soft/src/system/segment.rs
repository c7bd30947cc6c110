//! Descriptors and segment registers (SDM volume 3, chapters 3 and 5).

use crate::cpu::{Cpu, Exec, Fault, Segment, attr, seg};

/// A segment or gate descriptor, its eight bytes as a number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Desc(pub u64);

impl Desc {
    /// Attributes as [`attr`] has them.
    pub fn attr(self) -> u16 {
        (self.0 >> 40) as u16 & 0xf0ff
    }
    /// Attributes compacted for a [`Segment`]: type to P in bits 0-7, AVL, L, D and G in bits 8-11.
    pub fn packed(self) -> u16 {
        let a = self.attr();
        a & 0xff | a >> 4 & 0xf00
    }
    /// Base of a segment.
    pub fn base(self) -> u64 {
        self.0 >> 16 & 0xff_ffff | self.0 >> 56 << 24
    }
    /// Limit in bytes.
    pub fn limit(self) -> u32 {
        let raw = (self.0 & 0xffff | self.0 >> 32 & 0xf_0000) as u32;
        if self.0 >> 55 & 1 != 0 { raw << 12 | 0xfff } else { raw }
    }
    /// Type field.
    pub fn kind(self) -> u8 {
        (self.0 >> 40) as u8 & 0xf
    }
    /// Code or data.
    pub fn is_segment(self) -> bool {
        self.0 >> 44 & 1 != 0
    }
    /// Code.
    pub fn is_code(self) -> bool {
        self.is_segment() && self.kind() & 8 != 0
    }
    /// Conforming code.
    pub fn conforming(self) -> bool {
        self.kind() & 4 != 0
    }
    /// Data that can be written.
    pub fn is_writable(self) -> bool {
        self.is_segment() && self.kind() & 0xa == 2
    }
    /// Data, or code that can be read.
    pub fn is_readable(self) -> bool {
        self.is_segment() && self.kind() & 0xa != 8
    }
    /// Privilege level.
    pub fn dpl(self) -> u8 {
        (self.0 >> 45) as u8 & 3
    }
    /// Present.
    pub fn present(self) -> bool {
        self.0 >> 47 & 1 != 0
    }
    /// Selector of a gate.
    pub fn gate_selector(self) -> u16 {
        (self.0 >> 16) as u16
    }
    /// Offset of a 16- or 32-bit gate.
    pub fn gate_offset(self) -> u64 {
        self.0 & 0xffff | self.0 >> 48 << 16
    }
    /// The segment register that it makes.
    pub fn segment(self, selector: u16) -> Segment {
        Segment {
            base: self.base(),
            limit: self.limit(),
            selector,
            attr: self.packed(),
            rbound: 0,
            wbound: 0,
        }
    }
}

/// Selector part of an error code.
pub fn error_of(selector: u16) -> u32 {
    selector as u32 & 0xfffc
}

impl Cpu {
    /// EXT bit of error codes while an external event is delivered.
    pub(crate) fn ext(&self) -> u32 {
        self.external as u32
    }

    /// Address of a selector's descriptor; none beyond the table's limit.
    pub(crate) fn descriptor_at(&self, selector: u16) -> Option<u64> {
        let offset = selector as u64 & 0xfff8;
        let (base, limit) = if selector & 4 == 0 {
            (self.gdt.base, self.gdt.limit as u64)
        } else if self.ldt.selector & 0xfffc == 0 {
            return None;
        } else {
            (self.ldt.base, self.ldt.limit as u64)
        };
        (offset + 7 <= limit).then(|| base.wrapping_add(offset))
    }

    /// Reads a descriptor; `fault` with the selector if it lies beyond its table.
    pub(crate) fn descriptor(
        &mut self,
        selector: u16,
        fault: fn(&mut Cpu, u32) -> Fault,
    ) -> Result<Desc, Fault> {
        match self.descriptor_at(selector) {
            Some(at) => Ok(Desc(self.read_system::<u64>(at)?)),
            None => {
                let error = error_of(selector) | self.ext();
                Err(fault(self, error))
            }
        }
    }

    /// Sets a descriptor's accessed bit if it is clear.
    pub(crate) fn mark_accessed(&mut self, selector: u16, desc: Desc) -> Result<Desc, Fault> {
        if desc.0 >> 40 & 1 != 0 {
            return Ok(desc);
        }
        if let Some(at) = self.descriptor_at(selector) {
            let byte = self.read_system::<u8>(at + 5)?;
            self.write_system::<u8>(at + 5, byte | 1)?;
        }
        Ok(Desc(desc.0 | 1 << 40))
    }

    /// Puts a segment into a slot, bounds worked out.
    pub(crate) fn set_seg(&mut self, slot: usize, mut s: Segment) {
        s.bounds(self.code == 64 && (slot == seg::FS || slot == seg::GS));
        self.seg[slot] = s;
        match slot {
            seg::SS => self.mode_changed(),
            seg::DS => self.data_segment_changed(),
            _ => {}
        }
    }

    /// Moves FS or GS.
    pub(crate) fn set_base(&mut self, slot: usize, base: u64) {
        let s = Segment { base, ..self.seg[slot] };
        self.set_seg(slot, s);
    }

    /// A selector that refers to nothing. The base stays, which 64-bit code uses of FS and GS: AMD's processors clear
    /// it only where CPUID says so (8000_0021 EAX bit 6), Intel's always.
    pub(crate) fn set_null(&mut self, slot: usize, selector: u16) {
        let stays = matches!(slot, seg::FS | seg::GS) && !self.intel();
        let base = if stays { self.seg[slot].base } else { 0 };
        self.set_seg(slot, Segment { selector, base, ..Segment::default() });
    }

    /// Loads ES, SS, DS, FS or GS by the rules of the mode.
    pub(crate) fn load_seg(&mut self, slot: usize, selector: u16) -> Exec {
        if !self.protected() {
            let mut s = self.seg[slot];
            (s.selector, s.base) = (selector, (selector as u64) << 4);
            // Limit and rights stay: "unreal" mode. A present bit cleared by a null selector comes back.
            if s.attr & attr::P == 0 {
                s.attr = 0x93;
                s.limit = 0xffff;
            }
            self.set_seg(slot, s);
            return Ok(());
        }
        if self.v86() {
            self.set_seg(slot, v86_segment(selector));
            return Ok(());
        }
        if slot == seg::SS { self.load_ss(selector, self.cpl) } else { self.load_data(slot, selector) }
    }

    fn load_data(&mut self, slot: usize, selector: u16) -> Exec {
        if selector & 0xfffc == 0 {
            self.set_null(slot, selector);
            return Ok(());
        }
        let desc = self.descriptor(selector, Cpu::gp)?;
        let error = error_of(selector);
        if !desc.is_readable() {
            return Err(self.gp(error));
        }
        let private = !desc.is_code() || !desc.conforming();
        if private && (self.cpl > desc.dpl() || selector as u8 & 3 > desc.dpl()) {
            return Err(self.gp(error));
        }
        if !desc.present() {
            return Err(self.np(error));
        }
        let desc = self.mark_accessed(selector, desc)?;
        self.set_seg(slot, desc.segment(selector));
        Ok(())
    }

    fn load_ss(&mut self, selector: u16, cpl: u8) -> Exec {
        let s = self.check_ss(selector, cpl, Cpu::gp)?;
        self.set_seg(seg::SS, s);
        Ok(())
    }

    /// What SS would be for a privilege level; `fault` for what does not fit.
    pub(crate) fn check_ss(
        &mut self,
        selector: u16,
        cpl: u8,
        fault: fn(&mut Cpu, u32) -> Fault,
    ) -> Result<Segment, Fault> {
        let ext = self.ext();
        if selector & 0xfffc == 0 {
            if self.code == 64 && cpl < 3 && selector as u8 & 3 == cpl {
                return Ok(null_ss(selector));
            }
            return Err(fault(self, ext));
        }
        let desc = self.descriptor(selector, fault)?;
        let error = error_of(selector) | ext;
        if selector as u8 & 3 != cpl || desc.dpl() != cpl || !desc.is_writable() {
            return Err(fault(self, error));
        }
        if !desc.present() {
            return Err(self.ss(error));
        }
        Ok(self.mark_accessed(selector, desc)?.segment(selector))
    }

    /// Puts CS in place with a new privilege level and works out the mode.
    pub(crate) fn set_cs(&mut self, mut s: Segment, cpl: u8) {
        s.bounds(false);
        s.selector = s.selector & !3 | cpl as u16;
        self.seg[seg::CS] = s;
        self.cpl = cpl;
        self.mode_changed();
    }

    /// CS and the data segments of real mode and virtual-8086 mode.
    pub(crate) fn set_cs_real(&mut self, selector: u16) {
        let mut s = if self.v86() { v86_segment(selector) } else { self.seg[seg::CS] };
        (s.selector, s.base) = (selector, (selector as u64) << 4);
        if !self.protected() && s.attr & (attr::P | attr::S) != attr::P | attr::S {
            s = Segment::real(selector);
        }
        s.bounds(false);
        self.seg[seg::CS] = s;
        self.mode_changed();
    }
}

/// A segment of virtual-8086 mode.
pub(crate) fn v86_segment(selector: u16) -> Segment {
    Segment { attr: 0xf3, ..Segment::real(selector) }
}

/// SS of 64-bit code at CPL 0-2 after an interrupt. 64-bit code does not look at it; compatibility mode, if that code jumps
/// there, finds it unusable.
pub(crate) fn null_ss(selector: u16) -> Segment {
    let dpl = (selector & 3) << attr::DPL;
    Segment { selector, attr: attr::S | attr::RW | attr::DB | dpl | 1, limit: u32::MAX, ..Segment::default() }
}
