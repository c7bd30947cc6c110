//! On x86 itself: an access is the instruction.

use std::arch::asm;

use super::Unaligned;
use crate::op::Word;

/// Reads a number.
///
/// # Safety
/// `host` is good for reads of `T`; it need not be aligned.
#[inline(always)]
pub(crate) unsafe fn get<T: Word>(host: *const T) -> T {
    // SAFETY: by contract; the packed type asks for no alignment, and any bytes are a number.
    unsafe { host.cast::<Unaligned<T>>().read_volatile().0 }
}

/// Writes a number.
///
/// # Safety
/// `host` is good for writes of `T`; it need not be aligned.
#[inline(always)]
pub(crate) unsafe fn put<T: Word>(host: *mut T, v: T) {
    // SAFETY: by contract; the packed type asks for no alignment.
    unsafe { host.cast::<Unaligned<T>>().write_volatile(Unaligned(v)) }
}

/// Copies bytes in ascending order, each read after those before it were written.
///
/// # Safety
/// `from` is good for reads and `to` for writes of `len` bytes; they may overlap.
#[inline(always)]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: by contract; the direction flag is clear, as the calling convention has it.
    unsafe {
        asm!("rep movsb", inout("rcx") len => _, inout("rsi") from => _, inout("rdi") to => _,
            options(nostack, preserves_flags));
    }
}

/// Writes the same number `count` times.
///
/// # Safety
/// `to` is good for writes of `count` times `T`, which is of 1, 2, 4 or 8 bytes.
#[inline(always)]
pub(crate) unsafe fn fill<T: Word>(to: *mut T, v: T, count: usize) {
    let v = v.to128() as u64;
    macro_rules! stos {
        ($stos:literal) => {
            // SAFETY: by contract; the direction flag is clear, as the calling convention has it.
            unsafe {
                asm!($stos, inout("rcx") count => _, inout("rdi") to => _, in("rax") v,
                    options(nostack, preserves_flags));
            }
        };
    }
    match T::SIZE {
        1 => stos!("rep stosb"),
        2 => stos!("rep stosw"),
        4 => stos!("rep stosd"),
        _ => stos!("rep stosq"),
    }
}

/// Whether the host has CMPXCHG16B: the first processors of 64 bits have not. There the lock stands for it.
#[inline]
pub(super) fn has_cmpxchg16b() -> bool {
    is_x86_feature_detected!("cmpxchg16b")
}

/// # Safety
/// `host` is good for reads and writes of 16 aligned bytes, and the processor has CMPXCHG16B.
#[inline(always)]
pub(super) unsafe fn cmpxchg16b(host: *mut u128, old: u128, new: u128) -> u128 {
    let (mut low, mut high) = (old as u64, (old >> 64) as u64);
    // SAFETY: by contract. RBX is the compiler's and is put back.
    unsafe {
        asm!(
            "xchg rbx, rsi",
            "lock cmpxchg16b [rdi]",
            "mov rbx, rsi",
            in("rdi") host,
            inout("rsi") new as u64 => _,
            in("rcx") (new >> 64) as u64,
            inout("rax") low,
            inout("rdx") high,
            options(nostack),
        );
    }
    (high as u128) << 64 | low as u128
}
