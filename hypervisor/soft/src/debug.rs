//! What a person sees of a paused guest.

use hypervisor::Hypervisor;
use hypervisor::debug::{Debug, Registers, SegmentRegister};
use hypervisor::memory::PAGE;

use crate::block::MAX_BYTES;
use crate::cpu::{Cpu, IP, Segment, Table, seg};
use crate::host;
use crate::paging::PHYS_BITS;
use crate::soft::Soft;
use crate::system::bits::{cr0, cr4, efer};
use crate::tlb::PAGE_MASK;

const PRESENT: u64 = 1;
const LARGE: u64 = 0x80;
/// The address in an entry of 64 bits.
const ADDRESS: u64 = (1 << PHYS_BITS) - PAGE;

fn segment(from: &Segment) -> SegmentRegister {
    let attributes = u32::from(from.attr & 0xff) << 8 | u32::from(from.attr & 0xf00) << 12;
    SegmentRegister { selector: from.selector, base: from.base, limit: from.limit, attributes }
}

fn table(from: &Table) -> (u64, u16) {
    (from.base, from.limit)
}

impl Cpu {
    pub(crate) fn registers(&self) -> Registers {
        let mut general = [0; 16];
        general.copy_from_slice(&self.gpr[..16]);
        Registers {
            general,
            rip: self.gpr[IP],
            rflags: self.eflags(),
            cpl: self.cpl,
            code: self.code,
            halted: self.halted,
            a20: self.a20 & 1 << 20 != 0,
            segments: [seg::ES, seg::CS, seg::SS, seg::DS, seg::FS, seg::GS].map(|at| segment(&self.seg[at])),
            ldt: segment(&self.ldt),
            tr: segment(&self.tr),
            gdt: table(&self.gdt),
            idt: table(&self.idt),
            control: [self.cr0, self.cr2, self.cr3, self.cr4],
            debug: self.dr,
            efer: self.msr.efer,
            x87: (self.x87.control_word(), self.x87.status_word(), self.x87.abridged_tags()),
            mxcsr: self.mxcsr,
            xmm: self.xmm,
        }
    }

    /// Copies memory within a page; false where it is none.
    fn peek(&self, gpa: u64, data: &mut [u8]) -> bool {
        let within = (gpa % PAGE) as usize;
        // Not by the vCPU's own memory of the map, which may be old until it runs again.
        let page = self.shared.physical.page(gpa & PAGE_MASK & self.a20).read();
        if page.is_null() || within + data.len() > PAGE as usize {
            return false;
        }
        let at = page.wrapping_add(within);
        // SAFETY: the page is in a block that the physical map never forgets, and the piece ends with it.
        unsafe { host::copy_in(at, data) };
        true
    }

    /// The bytes from RIP on to the end of its page, at most as many as a block has; none where there is no memory.
    pub(crate) fn code_ahead(&self) -> Vec<u8> {
        let linear = self.linear_ip();
        let mut bytes = vec![0; MAX_BYTES.min((PAGE - linear % PAGE) as usize)];
        let found = self.look_up(linear).is_some_and(|gpa| self.peek(gpa, &mut bytes));
        if found { bytes } else { Vec::new() }
    }

    /// An entry of 8 or 4 bytes that is present.
    fn entry(&self, at: u64, wide: bool) -> Option<u64> {
        let mut bytes = [0; 8];
        let found = self.peek(at, &mut bytes[..if wide { 8 } else { 4 }]);
        Some(u64::from_le_bytes(bytes)).filter(|entry| found && entry & PRESENT != 0)
    }

    /// Where a linear address leads. Unlike an access it marks nothing.
    fn look_up(&self, linear: u64) -> Option<u64> {
        let long = self.msr.efer & efer::LMA != 0;
        if self.cr0 & cr0::PG == 0 {
            return Some(linear & 0xffff_ffff);
        }
        let mut table = self.cr3 & ADDRESS;
        let mut shift = match (long, self.cr4 & cr4::PAE != 0) {
            (true, _) => 39,
            (false, true) => {
                let entry = self.pdpte[(linear >> 30 & 3) as usize];
                table = Some(entry & ADDRESS).filter(|_| entry & PRESENT != 0)?;
                21
            }
            (false, false) => return self.look_up_narrow(linear),
        };
        loop {
            let entry = self.entry(table + (linear >> shift & 0x1ff) * 8, true)?;
            if shift == 12 || (shift < 39 && entry & LARGE != 0) {
                let within = (1 << shift) - 1;
                return Some(entry & ADDRESS & !within | linear & within);
            }
            table = entry & ADDRESS;
            shift -= 9;
        }
    }

    /// The same by tables of 32-bit entries.
    fn look_up_narrow(&self, linear: u64) -> Option<u64> {
        let entry = self.entry((self.cr3 & 0xffff_f000) + (linear >> 22 & 0x3ff) * 4, false)?;
        if entry & LARGE != 0 && self.cr4 & cr4::PSE != 0 {
            // Bits 13 to 20 are bits 32 to 39 of the address (PSE-36).
            return Some((entry & 0x1f_e000) << 19 | entry & 0xffc0_0000 | linear & 0x3f_ffff);
        }
        let entry = self.entry((entry & 0xffff_f000) + (linear >> 12 & 0x3ff) * 4, false)?;
        Some(entry & 0xffff_f000 | linear & 0xfff)
    }
}

impl Debug for Soft {
    fn registers(&self, vcpu: u32) -> Option<Registers> {
        (vcpu < self.vcpus()).then(|| self.cpu(vcpu as usize).registers())
    }
    fn translate(&self, vcpu: u32, linear: u64) -> Option<u64> {
        (vcpu < self.vcpus()).then(|| self.cpu(vcpu as usize).look_up(linear)).flatten()
    }
    fn read(&self, gpa: u64, data: &mut [u8]) -> bool {
        let cpu = self.cpu(0);
        let mut at = gpa;
        let mut rest = data;
        while !rest.is_empty() {
            let len = rest.len().min((PAGE - at % PAGE) as usize);
            let (piece, more) = rest.split_at_mut(len);
            if !cpu.peek(at, piece) {
                return false;
            }
            at = at.wrapping_add(len as u64);
            rest = more;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::model::CpuModel;
    use crate::soft::{ClockKind, SoftConfig, Tier};

    fn machine() -> Soft {
        let config = SoftConfig {
            vcpus: 1,
            ram_below: 16 << 20,
            ram_above: 0,
            clock: ClockKind::Host,
            tier: Tier::default(),
            cpu: CpuModel::default(),
        };
        let soft = Soft::new(config).unwrap();
        soft.cpu(0).a20 = u64::MAX;
        soft
    }

    fn put(soft: &Soft, at: u64, entry: u64, wide: bool) {
        let bytes = entry.to_le_bytes();
        let len = if wide { 8 } else { 4 };
        soft.memory().write_slice(&bytes[..len], GuestAddress(at)).unwrap();
    }

    fn entries(soft: &Soft, tables: &[(u64, u64)], wide: bool) {
        tables.iter().for_each(|(at, entry)| put(soft, *at, *entry, wide));
    }

    fn at(soft: &Soft, linear: u64) -> Option<u64> {
        soft.translate(0, linear)
    }

    #[test]
    fn without_paging_an_address_is_itself() {
        let soft = machine();
        assert_eq!((at(&soft, 0x12_3456), soft.translate(1, 0)), (Some(0x12_3456), None));
    }

    #[test]
    fn four_levels_with_large_pages() {
        let soft = machine();
        let tables = [
            (0x1000, 0x2003),
            (0x1ff8, 0x2003),
            (0x2000, 0x3003),
            (0x2ff8, 0x4000_0083),
            (0x3000, 0x4003),
            (0x3008, 0x60_0083),
            (0x4028, 0x8000_0000_0055_5003),
        ];
        entries(&soft, &tables, true);
        {
            let mut cpu = soft.cpu(0);
            (cpu.cr0, cpu.cr3, cpu.cr4, cpu.msr.efer) = (cr0::PG, 0x1000, cr4::PAE, efer::LMA);
        }
        assert_eq!(at(&soft, 0x5123), Some(0x55_5123));
        assert_eq!(at(&soft, 0x20_1234), Some(0x60_1234));
        assert_eq!(at(&soft, 0xffff_ffff_c012_3456), Some(0x4012_3456));
        assert_eq!((at(&soft, 0x6000), at(&soft, 0x40_0000), at(&soft, 1 << 39)), (None, None, None));
        let mut marked = [0; 8];
        assert!(soft.read(0x4028, &mut marked));
        assert_eq!(u64::from_le_bytes(marked), tables[6].1, "a look marks nothing");
    }

    #[test]
    fn pae_and_two_levels() {
        let soft = machine();
        entries(&soft, &[(0x3000, 0x4003), (0x3008, 0x60_0083), (0x4028, 0x55_5003)], true);
        {
            let mut cpu = soft.cpu(0);
            (cpu.cr0, cpu.cr4, cpu.pdpte) = (cr0::PG, cr4::PAE, [0, 0, 0x3001, 0]);
        }
        assert_eq!(at(&soft, 0x8000_5123), Some(0x55_5123));
        assert_eq!(at(&soft, 0x8020_1234), Some(0x60_1234));
        assert_eq!(at(&soft, 0x5123), None);
        entries(&soft, &[(0x5000, 0x6003), (0x5004, 0x80_2083), (0x6014, 0x77_7003)], false);
        {
            let mut cpu = soft.cpu(0);
            (cpu.cr3, cpu.cr4) = (0x5000, cr4::PSE);
        }
        assert_eq!(at(&soft, 0x5123), Some(0x77_7123));
        assert_eq!(at(&soft, 0x40_1234), Some(0x1_0080_1234));
        assert_eq!(at(&soft, 0x80_0000), None);
    }

    #[test]
    fn what_is_no_memory_is_not_read() {
        let soft = machine();
        soft.memory().write_slice(&[7; 4], GuestAddress(0xffe)).unwrap();
        let mut data = [0; 4];
        assert!(soft.read(0xffe, &mut data) && data == [7; 4], "across a page");
        assert!(!soft.read((16 << 20) - 2, &mut data));
        assert!(!soft.read(u64::MAX - 1, &mut data));
        soft.cpu(0).gpr[IP] = 0x1234;
        let registers = Debug::registers(&soft, 0).unwrap();
        assert_eq!((registers.rip, registers.code, registers.segments[1].limit), (0x1234, 16, 0xffff));
        assert!(Debug::registers(&soft, 1).is_none());
    }
}
