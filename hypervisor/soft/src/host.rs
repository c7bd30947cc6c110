//! Accesses to the guest's memory, by its host address.
//!
//! Other vCPUs and devices read and write the same bytes at any time. So no reference to them is ever made, and every
//! access is volatile, atomic, or one of assembly, which the compiler takes for a volatile one: each is made once, as
//! it stands, and what it finds is only a number. What a guest's own race comes to is the guest's business: on the
//! hosts there are (x86, and others by `ordered`) accesses of up to 8 aligned bytes are whole, and ordered as x86 guests expect. Words that
//! page tables and locked instructions change are accessed as atomics there, and by anyone else as here.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard};

use crate::op::Word;

#[cfg(not(target_arch = "x86_64"))]
mod ordered;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(not(target_arch = "x86_64"))]
use ordered as arch;
#[cfg(target_arch = "x86_64")]
use x86 as arch;

use arch::{cmpxchg16b, has_cmpxchg16b};
pub(crate) use arch::{copy, fill, get, put};

/// A number at any address.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unaligned<T>(T);

/// Serialises locked accesses that host atomics cannot do: unaligned ones.
static SPLIT_LOCK: Mutex<()> = Mutex::new(());

/// The lock that such an access holds.
pub(crate) fn lock() -> MutexGuard<'static, ()> {
    SPLIT_LOCK.lock().unwrap_or_else(|p| p.into_inner())
}

/// # Safety
/// `host` is good for reads of the whole of `bytes`.
pub(crate) unsafe fn copy_in(host: *const u8, bytes: &mut [u8]) {
    // SAFETY: by contract; each arm reads exactly `bytes.len()` bytes.
    unsafe {
        match bytes.len() {
            8 => bytes.copy_from_slice(&get(host.cast::<u64>()).to_le_bytes()),
            4 => bytes.copy_from_slice(&get(host.cast::<u32>()).to_le_bytes()),
            2 => bytes.copy_from_slice(&get(host.cast::<u16>()).to_le_bytes()),
            n => copy(host, bytes.as_mut_ptr(), n),
        }
    }
}

/// # Safety
/// `host` is good for writes of the whole of `bytes`.
pub(crate) unsafe fn copy_out(host: *mut u8, bytes: &[u8]) {
    // SAFETY: by contract; each arm writes exactly `bytes.len()` bytes.
    unsafe {
        match bytes.len() {
            8 => put(host.cast(), u64::from_le_bytes(bytes.try_into().unwrap_or_default())),
            4 => put(host.cast(), u32::from_le_bytes(bytes.try_into().unwrap_or_default())),
            2 => put(host.cast(), u16::from_le_bytes(bytes.try_into().unwrap_or_default())),
            n => copy(bytes.as_ptr(), host, n),
        }
    }
}

macro_rules! atomic_modify {
    ($atomic:ty, $int:ty, $t:ty, $host:expr, $f:expr) => {{
        // SAFETY: the caller vouches for the memory, and it was checked to be aligned.
        let cell = unsafe { <$atomic>::from_ptr($host.cast()) };
        let mut old = cell.load(Ordering::Relaxed);
        loop {
            let was = <$t>::from128(old as u128);
            let new = $f(was);
            let next = new.to128() as $int;
            match cell.compare_exchange_weak(old, next, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return (was, new),
                Err(now) => old = now,
            }
        }
    }};
}

/// # Safety
/// `host` is good for reads and writes of a `T`.
#[inline(always)]
pub(crate) unsafe fn modify<T: Word, const LOCK: bool>(host: *mut T, f: impl Fn(T) -> T) -> (T, T) {
    if LOCK && (host as usize).is_multiple_of(T::SIZE) && (T::SIZE <= 8 || has_cmpxchg16b()) {
        match T::SIZE {
            1 => atomic_modify!(AtomicU8, u8, T, host, f),
            2 => atomic_modify!(AtomicU16, u16, T, host, f),
            4 => atomic_modify!(AtomicU32, u32, T, host, f),
            8 => atomic_modify!(AtomicU64, u64, T, host, f),
            // SAFETY: by contract, aligned, and the host was asked.
            _ => return unsafe { wide_modify(host, f) },
        }
    }
    let _guard = LOCK.then(lock);
    if LOCK && cfg!(not(target_arch = "x86_64")) {
        // Where taking a lock is none.
        fence(Ordering::SeqCst);
    }
    // SAFETY: by contract.
    let old = unsafe { get(host) };
    let new = f(old);
    // SAFETY: by contract.
    unsafe { put(host, new) };
    if LOCK && cfg!(not(target_arch = "x86_64")) {
        fence(Ordering::SeqCst);
    }
    (old, new)
}

/// # Safety
/// `host` is good for reads and writes of 16 aligned bytes, and the processor has CMPXCHG16B.
unsafe fn wide_modify<T: Word>(host: *mut T, f: impl Fn(T) -> T) -> (T, T) {
    let host = host.cast::<u128>();
    let mut old = 0u128;
    loop {
        let was = T::from128(old);
        let new = f(was);
        // SAFETY: by contract.
        let now = unsafe { cmpxchg16b(host, old, new.to128()) };
        if now == old {
            return (was, new);
        }
        old = now;
    }
}
