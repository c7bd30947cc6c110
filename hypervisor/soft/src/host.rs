//! Accesses to the guest's memory, by its host address.
//!
//! Other vCPUs and devices read and write the same bytes at any time. So no reference to them is ever made, and every
//! access is volatile, atomic, or one of assembly, which the compiler takes for a volatile one: each is made once, as
//! it stands, and what it finds is only a number. What a guest's own race comes to is the guest's business: on the
//! hosts there are (x86) accesses of up to 8 aligned bytes are whole, and ordered as x86 guests expect. Words that
//! page tables and locked instructions change are accessed as atomics there, and by anyone else as here.

use std::arch::asm;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::op::Word;

/// A number at any address.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unaligned<T>(T);

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
    // SAFETY: by contract.
    let old = unsafe { get(host) };
    let new = f(old);
    // SAFETY: by contract.
    unsafe { put(host, new) };
    (old, new)
}

/// Whether the host has CMPXCHG16B: the first processors of 64 bits have not. There the lock stands for it.
#[inline]
fn has_cmpxchg16b() -> bool {
    is_x86_feature_detected!("cmpxchg16b")
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

/// # Safety
/// `host` is good for reads and writes of 16 aligned bytes, and the processor has CMPXCHG16B.
#[inline(always)]
unsafe fn cmpxchg16b(host: *mut u128, old: u128, new: u128) -> u128 {
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
