//! On hosts whose own order is weaker than x86's: what x86 promises its programs is asked for in words.
//!
//! Aligned accesses of up to 8 bytes are acquire loads and release stores, which is all of x86's order but for a locked
//! instruction and MFENCE. Others are made between fences.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use super::Unaligned;
use crate::op::Word;

/// See [`super::get`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(crate) unsafe fn get<T: Word>(host: *const T) -> T {
    if (host as usize).is_multiple_of(T::SIZE) && T::SIZE <= 8 {
        // SAFETY: by contract, and it is aligned; nobody has a reference.
        let v: u64 = unsafe {
            match T::SIZE {
                1 => AtomicU8::from_ptr(host.cast_mut().cast()).load(Ordering::Acquire).into(),
                2 => AtomicU16::from_ptr(host.cast_mut().cast()).load(Ordering::Acquire).into(),
                4 => AtomicU32::from_ptr(host.cast_mut().cast()).load(Ordering::Acquire).into(),
                _ => AtomicU64::from_ptr(host.cast_mut().cast()).load(Ordering::Acquire),
            }
        };
        return T::from128(v.into());
    }
    // SAFETY: by contract; the packed type asks for no alignment, and any bytes are a number.
    let v = unsafe { host.cast::<Unaligned<T>>().read_volatile().0 };
    fence(Ordering::Acquire);
    v
}

/// See [`super::put`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(crate) unsafe fn put<T: Word>(host: *mut T, v: T) {
    if (host as usize).is_multiple_of(T::SIZE) && T::SIZE <= 8 {
        let v = v.to128() as u64;
        // SAFETY: by contract, and it is aligned; nobody has a reference.
        unsafe {
            match T::SIZE {
                1 => AtomicU8::from_ptr(host.cast()).store(v as u8, Ordering::Release),
                2 => AtomicU16::from_ptr(host.cast()).store(v as u16, Ordering::Release),
                4 => AtomicU32::from_ptr(host.cast()).store(v as u32, Ordering::Release),
                _ => AtomicU64::from_ptr(host.cast()).store(v, Ordering::Release),
            }
        }
        return;
    }
    fence(Ordering::Release);
    // SAFETY: by contract; the packed type asks for no alignment.
    unsafe { host.cast::<Unaligned<T>>().write_volatile(Unaligned(v)) }
}

/// See [`super::copy`].
///
/// # Safety
/// As there.
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    for at in 0..len {
        // SAFETY: by contract, as `at` is below `len`.
        unsafe { put(to.add(at), get(from.add(at))) };
    }
}

/// See [`super::fill`].
///
/// # Safety
/// As there.
pub(crate) unsafe fn fill<T: Word>(to: *mut T, v: T, count: usize) {
    for at in 0..count {
        // SAFETY: by contract, as `at` is below `count`; the place need not be aligned.
        unsafe { put(to.wrapping_add(at), v) };
    }
}

/// The lock stands for CMPXCHG16B.
pub(super) fn has_cmpxchg16b() -> bool {
    false
}

/// Is not called.
///
/// # Safety
/// Never: see [`has_cmpxchg16b`].
pub(super) unsafe fn cmpxchg16b(_host: *mut u128, _old: u128, _new: u128) -> u128 {
    unreachable!("there is no such instruction here")
}
