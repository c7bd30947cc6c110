//! Guest memory as instructions see it.
//!
//! The inlined part answers the usual access: within the segment, within one page, the page known to the TLB. All
//! else comes here to the slow path, which checks in architectural order and does the access piece by piece.
//!
//! Guest memory is shared with other vCPUs and with devices: `crate::host` says how it is accessed.

use hypervisor::memory::PAGE;
use ioreq::{Request, Size, Target};

use crate::cpu::{Cpu, Exec, Fault, RSP, attr, seg};
use crate::host;
use crate::op::{Op, Word};
use crate::paging::Access;
use crate::tlb::{self, PAGE_MASK, set};

const ADDRESS_MASK: [u64; 4] = [0xffff, 0xffff_ffff, u64::MAX, u64::MAX];

/// One piece of an access: within a page, translated.
#[derive(Clone, Copy)]
struct Piece {
    gpa: u64,
    len: usize,
}

impl Cpu {
    /// Offset of the memory operand, cut to its address size.
    #[inline(always)]
    pub fn ea(&self, op: &Op) -> u64 {
        let base = self.gpr[op.base as usize & 31];
        let index = self.gpr[op.index as usize & 31] << (op.scale & 3);
        base.wrapping_add(index).wrapping_add(op.disp as u64) & ADDRESS_MASK[op.scale as usize >> 6]
    }
    /// Reads the memory operand.
    #[inline(always)]
    pub fn load<T: Word>(&mut self, op: &Op) -> Result<T, Fault> {
        self.read(op.seg, self.ea(op))
    }
    /// Writes the memory operand.
    #[inline(always)]
    pub fn store<T: Word>(&mut self, op: &Op, v: T) -> Exec {
        self.write(op.seg, self.ea(op), v)
    }

    /// Reads from a segment.
    #[inline(always)]
    pub fn read<T: Word>(&mut self, seg: u8, off: u64) -> Result<T, Fault> {
        let last = T::SIZE as u64 - 1;
        let s = &self.seg[seg as usize & 7];
        if off.wrapping_add(last) < s.rbound {
            let lin = off.wrapping_add(s.base);
            // SAFETY: `tlb` points to `SIZE` entries.
            let e = unsafe { &*self.tlb.add(tlb::index(lin)) };
            if lin.wrapping_add(last) & PAGE_MASK == e.read {
                let host = lin.wrapping_add(e.addend) as *const T;
                // SAFETY: a valid tag says that the whole page is host memory at this addend.
                return Ok(unsafe { host::get(host) });
            }
        }
        if T::SIZE <= 8 {
            self.read_slow(seg, off, T::SIZE).map(|v| T::from128(v as u128))
        } else {
            self.read_wide(seg, off).map(T::from128)
        }
    }

    /// Writes to a segment.
    #[inline(always)]
    pub fn write<T: Word>(&mut self, seg: u8, off: u64, v: T) -> Exec {
        let last = T::SIZE as u64 - 1;
        let s = &self.seg[seg as usize & 7];
        if off.wrapping_add(last) < s.wbound {
            let lin = off.wrapping_add(s.base);
            // SAFETY: `tlb` points to `SIZE` entries.
            let e = unsafe { &*self.tlb.add(tlb::index(lin)) };
            if lin.wrapping_add(last) & PAGE_MASK == e.write {
                let host = lin.wrapping_add(e.addend) as *mut T;
                // SAFETY: a valid tag says that the whole page is writable host memory at this addend.
                unsafe { host::put(host, v) };
                return Ok(());
            }
        }
        if T::SIZE <= 8 {
            self.write_slow(seg, off, T::SIZE, v.to128() as u64)
        } else {
            self.write_wide(seg, off, v.to128())
        }
    }

    /// Reads, computes and writes back the memory operand; gives old and new. Faults come before the read.
    #[inline(always)]
    pub fn modify<T: Word, const LOCK: bool>(
        &mut self,
        op: &Op,
        f: impl Fn(T) -> T,
    ) -> Result<(T, T), Fault> {
        self.modify_at::<T, LOCK>(op.seg, self.ea(op), f)
    }

    /// [`modify`](Cpu::modify) at any place.
    #[inline(always)]
    pub fn modify_at<T: Word, const LOCK: bool>(
        &mut self,
        seg: u8,
        off: u64,
        f: impl Fn(T) -> T,
    ) -> Result<(T, T), Fault> {
        let last = T::SIZE as u64 - 1;
        let s = &self.seg[seg as usize & 7];
        if off.wrapping_add(last) < s.wbound && s.rbound != 0 {
            let lin = off.wrapping_add(s.base);
            // SAFETY: `tlb` points to `SIZE` entries.
            let e = unsafe { &*self.tlb.add(tlb::index(lin)) };
            if lin.wrapping_add(last) & PAGE_MASK == e.write {
                let host = lin.wrapping_add(e.addend) as *mut T;
                // SAFETY: a valid tag says that the whole page is writable host memory at this addend.
                return Ok(unsafe { host::modify::<T, LOCK>(host, f) });
            }
        }
        self.modify_slow(seg, off, f)
    }

    #[cold]
    #[inline(never)]
    fn modify_slow<T: Word>(&mut self, seg: u8, off: u64, f: impl Fn(T) -> T) -> Result<(T, T), Fault> {
        let lin = self.check(seg, off, T::SIZE, Access::Write)?;
        let pieces = self.pieces(lin, T::SIZE, Access::Write, self.set as usize)?;
        self.watch_hit(lin, T::SIZE, true)?;
        let [a, b] = pieces;
        if b.len == 0 && lin.is_multiple_of(T::SIZE as u64) {
            let info = self.phys_page(a.gpa);
            if !info.write().is_null() && std::ptr::eq(info.read(), info.write()) && !self.is_apic_page(a.gpa)
            {
                self.may_write_code(a.gpa)?;
                let host = info.write().wrapping_add((a.gpa & (PAGE - 1)) as usize).cast::<T>();
                // SAFETY: the piece lies in the page, which is mapped.
                let both = unsafe { host::modify::<T, true>(host, f) };
                self.wrote(lin, a.gpa);
                return Ok(both);
            }
        }
        let _guard = host::lock();
        self.may_write_pieces(&pieces)?;
        let mut bytes = [0u8; 16];
        self.read_pieces(&pieces, &mut bytes)?;
        let old = T::from128(u128::from_le_bytes(bytes));
        let new = f(old);
        self.write_pieces(lin, &pieces, &new.to128().to_le_bytes())?;
        Ok((old, new))
    }

    #[cold]
    #[inline(never)]
    fn read_slow(&mut self, seg: u8, off: u64, size: usize) -> Result<u64, Fault> {
        let lin = self.check(seg, off, size, Access::Read)?;
        self.watch_hit(lin, size, false)?;
        self.read_linear(lin, size, self.set as usize)
    }

    #[cold]
    #[inline(never)]
    fn write_slow(&mut self, seg: u8, off: u64, size: usize, v: u64) -> Exec {
        let lin = self.check(seg, off, size, Access::Write)?;
        self.write_linear_sized(lin, size, v as u128, self.set as usize, true)
    }

    #[cold]
    #[inline(never)]
    fn read_wide(&mut self, seg: u8, off: u64) -> Result<u128, Fault> {
        let lin = self.check(seg, off, 16, Access::Read)?;
        self.watch_hit(lin, 16, false)?;
        let pieces = self.pieces(lin, 16, Access::Read, self.set as usize)?;
        let mut bytes = [0u8; 16];
        self.read_pieces(&pieces, &mut bytes)?;
        Ok(u128::from_le_bytes(bytes))
    }

    #[cold]
    #[inline(never)]
    fn write_wide(&mut self, seg: u8, off: u64, v: u128) -> Exec {
        let lin = self.check(seg, off, 16, Access::Write)?;
        self.write_linear_sized(lin, 16, v, self.set as usize, true)
    }

    /// Reads up to 8 bytes at a linear address for a TLB set.
    pub(crate) fn read_linear(&mut self, lin: u64, size: usize, who: usize) -> Result<u64, Fault> {
        let pieces = self.pieces(lin, size, Access::Read, who)?;
        let mut bytes = [0u8; 16];
        self.read_pieces(&pieces, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes[..8].try_into().unwrap_or_default()))
    }

    fn write_linear_sized(&mut self, lin: u64, size: usize, v: u128, who: usize, watch: bool) -> Exec {
        let pieces = self.pieces(lin, size, Access::Write, who)?;
        self.may_write_pieces(&pieces)?;
        if watch {
            self.watch_hit(lin, size, true)?;
        }
        self.write_pieces(lin, &pieces, &v.to_le_bytes())
    }

    /// Writes up to 8 bytes at a linear address for a TLB set.
    pub(crate) fn write_linear(&mut self, lin: u64, size: usize, v: u64, who: usize) -> Exec {
        self.write_linear_sized(lin, size, v as u128, who, false)
    }

    /// Reads of descriptor tables and task segments: always with supervisor rights.
    pub(crate) fn read_system<T: Word>(&mut self, lin: u64) -> Result<T, Fault> {
        let lin = if self.long_mode() { lin } else { lin as u32 as u64 };
        self.read_linear(lin, T::SIZE, set::SUPER).map(|v| T::from128(v as u128))
    }
    /// The same for writes.
    pub(crate) fn write_system<T: Word>(&mut self, lin: u64, v: T) -> Exec {
        let lin = if self.long_mode() { lin } else { lin as u32 as u64 };
        self.write_linear(lin, T::SIZE, v.to128() as u64, set::SUPER)
    }

    /// Linear address of an offset, with no check.
    pub fn linear(&self, seg: u8, off: u64) -> u64 {
        let lin = off.wrapping_add(self.seg[seg as usize & 7].base);
        if self.code == 64 { lin } else { lin as u32 as u64 }
    }

    /// Checks an access against its segment and gives the linear address.
    pub(crate) fn check(&mut self, seg: u8, off: u64, size: usize, access: Access) -> Result<u64, Fault> {
        let slot = seg as usize & 7;
        let s = self.seg[slot];
        let last = size as u64 - 1;
        let lin = off.wrapping_add(s.base);
        let stack = slot == seg::SS || slot == seg::STACK;
        let ok = if self.code == 64 {
            let canonical = |a: u64| (a as i64) << 16 >> 16 == a as i64;
            canonical(lin) && canonical(lin.wrapping_add(last))
        } else {
            self.within_legacy(&s, off, last, access)
        };
        if !ok {
            return Err(if stack { self.ss(0) } else { self.gp(0) });
        }
        let lin = if self.code == 64 { lin } else { lin as u32 as u64 };
        if self.set as usize == set::STRICT && size > 1 && !lin.is_multiple_of(size.min(8) as u64) {
            return Err(self.ac());
        }
        Ok(lin)
    }

    fn within_legacy(&self, s: &crate::cpu::Segment, off: u64, last: u64, access: Access) -> bool {
        let code = s.attr & attr::CODE != 0;
        let protected = self.protected() && !self.v86();
        if protected {
            let present = s.attr & (attr::P | attr::S) == attr::P | attr::S;
            let right = match access {
                Access::Write => !code && s.attr & attr::RW != 0,
                _ => !code || s.attr & attr::RW != 0,
            };
            if !present || !right {
                return false;
            }
        }
        let end = off + last;
        if !code && s.attr & attr::DC != 0 {
            let top = if s.attr & attr::DB != 0 { 0xffff_ffff } else { 0xffff };
            off > s.limit as u64 && end <= top
        } else {
            // An access that wraps at 4 GiB in a flat segment is let through, as processors do.
            end <= s.limit as u64 || (s.limit == u32::MAX && off <= u32::MAX as u64)
        }
    }

    /// Translates an access that may cross a page.
    fn pieces(&mut self, lin: u64, size: usize, access: Access, who: usize) -> Result<[Piece; 2], Fault> {
        let room = (PAGE - (lin & (PAGE - 1))) as usize;
        let first = Piece { gpa: self.translate(lin, access, who)?, len: size.min(room) };
        if size <= room {
            return Ok([first, Piece { gpa: 0, len: 0 }]);
        }
        let next = (lin & PAGE_MASK).wrapping_add(PAGE);
        let next = if self.code == 64 { next } else { next as u32 as u64 };
        let second = Piece { gpa: self.translate(next, access, who)?, len: size - room };
        Ok([first, second])
    }

    fn may_write_pieces(&mut self, pieces: &[Piece; 2]) -> Exec {
        for piece in pieces.iter().filter(|p| p.len > 0) {
            self.may_write_code(piece.gpa)?;
        }
        Ok(())
    }

    /// A block that writes to its own page ends after the instruction.
    fn may_write_code(&mut self, gpa: u64) -> Exec {
        if !self.single && gpa & PAGE_MASK == self.block_page {
            return Err(self.alone());
        }
        Ok(())
    }

    /// Tells the track of a write, and opens the fast path if nothing else needs to be told.
    fn wrote(&mut self, lin: u64, gpa: u64) {
        let info = self.phys_page(gpa);
        if let Some((track, page)) = info.dirty_track(&self.shared.physical) {
            track.touch(page);
        }
        let who = self.set as usize;
        if self.tlb_sets.slow[who][tlb::index(lin)].page == lin & PAGE_MASK {
            self.fill_fast(lin, who);
        }
    }

    fn read_pieces(&mut self, pieces: &[Piece; 2], bytes: &mut [u8; 16]) -> Exec {
        let (a, b) = (pieces[0], pieces[1]);
        self.read_piece(a, &mut bytes[..a.len])?;
        if b.len > 0 {
            self.read_piece(b, &mut bytes[a.len..a.len + b.len])?;
        }
        Ok(())
    }

    fn read_piece(&mut self, piece: Piece, bytes: &mut [u8]) -> Exec {
        let info = self.phys_page(piece.gpa);
        if !info.read().is_null() && !self.is_apic_page(piece.gpa) {
            let host = info.read().wrapping_add((piece.gpa & (PAGE - 1)) as usize);
            // SAFETY: the piece lies in the page, which is mapped. Sized copies keep small accesses whole.
            unsafe { host::copy_in(host, bytes) };
            return Ok(());
        }
        if !self.single {
            return Err(self.alone());
        }
        for (at, size) in chunks(piece.gpa, bytes.len()) {
            let v = self.mmio_read(piece.gpa + at as u64, size);
            bytes[at..at + size.bytes()].copy_from_slice(&v.to_le_bytes()[..size.bytes()]);
        }
        Ok(())
    }

    fn write_pieces(&mut self, lin: u64, pieces: &[Piece; 2], bytes: &[u8; 16]) -> Exec {
        let (a, b) = (pieces[0], pieces[1]);
        if !self.single && pieces.iter().any(|p| p.len > 0 && self.is_mmio_write(p.gpa)) {
            return Err(self.alone());
        }
        self.write_piece(lin, a, &bytes[..a.len]);
        if b.len > 0 {
            self.write_piece(lin.wrapping_add(a.len as u64), b, &bytes[a.len..a.len + b.len]);
        }
        Ok(())
    }

    fn is_mmio_write(&mut self, gpa: u64) -> bool {
        self.is_apic_page(gpa) || self.phys_page(gpa).write().is_null()
    }

    fn write_piece(&mut self, lin: u64, piece: Piece, bytes: &[u8]) {
        if !self.is_mmio_write(piece.gpa) {
            let info = self.phys_page(piece.gpa);
            let host = info.write().wrapping_add((piece.gpa & (PAGE - 1)) as usize);
            // SAFETY: the piece lies in the page, which is mapped.
            unsafe { host::copy_out(host, bytes) };
            self.wrote(lin, piece.gpa);
            return;
        }
        for (at, size) in chunks(piece.gpa, bytes.len()) {
            let mut v = [0; 8];
            v[..size.bytes()].copy_from_slice(&bytes[at..at + size.bytes()]);
            self.mmio_write(piece.gpa + at as u64, size, u64::from_le_bytes(v));
        }
    }

    fn mmio_read(&mut self, gpa: u64, size: Size) -> u64 {
        if self.is_apic_page(gpa) {
            return self.apic_read(gpa & (PAGE - 1), size);
        }
        let request = Request::read(self.id, Target::Mmio(gpa), size);
        self.request(&request) & size.mask()
    }

    fn mmio_write(&mut self, gpa: u64, size: Size, v: u64) {
        if self.is_apic_page(gpa) {
            return self.apic_write(gpa & (PAGE - 1), size, v);
        }
        let request = Request::write(self.id, Target::Mmio(gpa), size, v);
        self.request(&request);
    }

    /// Sends a request to the device model; all ones when there is none.
    pub(crate) fn request(&mut self, request: &Request) -> u64 {
        if let Some(counter) = &self.shared.counter {
            counter.set(self.icount.wrapping_add(self.time_offset));
        }
        let v = match &mut self.dispatch {
            Some(dispatch) => dispatch.request(request),
            None => u64::MAX,
        };
        self.deadline_moved();
        v
    }

    /// With instruction counting: a timer may be due earlier than the loop was told.
    pub(crate) fn deadline_moved(&mut self) {
        if self.shared.counter.is_some()
            && let Some(deadline) = self.shared.timers.next_deadline()
        {
            let limit = deadline.wrapping_sub(self.time_offset).max(self.icount);
            self.icount_limit = self.icount_limit.min(limit);
            self.turn_end = self.turn_end.min(limit);
        }
    }

    /// Whether a physical page is the guest's RAM, where devices can reach it, and not the local APIC's.
    pub(crate) fn is_plain_ram(&mut self, gpa: u64, write: bool) -> bool {
        use vm_memory::{GuestAddress, GuestMemoryBackend};
        let page = gpa & PAGE_MASK;
        let info = self.phys_page(page);
        let host: *const u8 = if write { info.write() } else { info.read() };
        let ram = self.shared.ram.get_host_address(GuestAddress(page & self.a20));
        !self.is_apic_page(page) && ram.is_ok_and(|ram| std::ptr::eq(ram, host))
    }

    /// Checks that a place can be written, so that a later write cannot fault.
    pub(crate) fn probe_write(&mut self, seg: u8, off: u64, size: usize) -> Exec {
        let lin = self.check(seg, off, size, Access::Write)?;
        self.pieces(lin, size, Access::Write, self.set as usize).map(|_| ())
    }

    /// Host bytes from a place on that lie in one page and can be read at once, at most `want`.
    pub fn span_read(&mut self, seg: u8, off: u64, want: usize) -> Option<(*const u8, usize)> {
        let s = &self.seg[seg as usize & 7];
        let (lin, room) = span(s.base, s.rbound, off)?;
        let who = self.set as usize;
        if self.tlb_sets.fast[who][tlb::index(lin)].read != lin & PAGE_MASK {
            return None;
        }
        let e = &self.tlb_sets.fast[who][tlb::index(lin)];
        Some((lin.wrapping_add(e.addend) as *const u8, room.min(want)))
    }

    /// The same for writing.
    pub fn span_write(&mut self, seg: u8, off: u64, want: usize) -> Option<(*mut u8, usize)> {
        let s = &self.seg[seg as usize & 7];
        let (lin, room) = span(s.base, s.wbound, off)?;
        let e = &self.tlb_sets.fast[self.set as usize][tlb::index(lin)];
        (e.write == lin & PAGE_MASK).then(|| (lin.wrapping_add(e.addend) as *mut u8, room.min(want)))
    }

    /// Stack pointer, cut to the stack's size.
    #[inline(always)]
    pub fn sp(&self) -> u64 {
        self.gpr[RSP] & self.sp_mask
    }
    /// Sets the part of RSP that the stack uses.
    #[inline(always)]
    pub fn set_sp(&mut self, sp: u64) {
        let mask = self.sp_mask;
        // A 32-bit stack pointer is a 32-bit register write; a 16-bit one leaves the rest.
        let keep = if mask == 0xffff { !mask } else { 0 };
        self.gpr[RSP] = self.gpr[RSP] & keep | sp & mask;
    }
    /// Slot of the stack segment for [`read`](Cpu::read) and [`write`](Cpu::write).
    #[inline(always)]
    pub fn stack_slot(&self) -> u8 {
        self.stack_seg
    }
    /// Pushes.
    #[inline(always)]
    pub fn push<T: Word>(&mut self, v: T) -> Exec {
        let sp = self.sp().wrapping_sub(T::SIZE as u64) & self.sp_mask;
        self.write(self.stack_seg, sp, v)?;
        self.set_sp(sp);
        Ok(())
    }
    /// Pops.
    #[inline(always)]
    pub fn pop<T: Word>(&mut self) -> Result<T, Fault> {
        let v = self.read(self.stack_seg, self.sp())?;
        self.set_sp(self.sp().wrapping_add(T::SIZE as u64));
        Ok(v)
    }
    /// Reads what lies `delta` bytes above the stack pointer.
    #[inline(always)]
    pub fn stack_read<T: Word>(&mut self, delta: i64) -> Result<T, Fault> {
        let at = self.sp().wrapping_add(delta as u64) & self.sp_mask;
        self.read(self.stack_seg, at)
    }
    /// Writes what lies `delta` bytes above the stack pointer.
    #[inline(always)]
    pub fn stack_write<T: Word>(&mut self, delta: i64, v: T) -> Exec {
        let at = self.sp().wrapping_add(delta as u64) & self.sp_mask;
        self.write(self.stack_seg, at, v)
    }
}

fn span(base: u64, bound: u64, off: u64) -> Option<(u64, usize)> {
    if off >= bound {
        return None;
    }
    let lin = base.wrapping_add(off);
    let room = PAGE - (lin & (PAGE - 1));
    Some((lin, room.min(bound - off) as usize))
}

/// Splits a range into naturally aligned requests.
fn chunks(gpa: u64, len: usize) -> impl Iterator<Item = (usize, Size)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = len - at;
        if left == 0 {
            return None;
        }
        let mut n = 1 << left.min(8).ilog2();
        // Power-of-two accesses stay whole even when unaligned, as device models see them on a PC.
        if !len.is_power_of_two() || len > 8 {
            while !(gpa as usize + at).is_multiple_of(n) {
                n /= 2;
            }
        }
        let size = Size::new(n as u32)?;
        let here = at;
        at += n;
        Some((here, size))
    })
}
