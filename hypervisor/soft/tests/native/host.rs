//! Runs instruction bytes on the host's own CPU with chosen registers, flags and memory.
//!
//! Three fixed low mappings are used, so that every address fits a 32-bit displacement: the code page, the page with
//! the register file, and the data area that the tested instruction may touch. An exception that the host's kernel
//! turns into a signal ends the case as [`End::Fault`].

use iced_x86::code_asm::*;
use std::mem::{MaybeUninit, zeroed};
use std::ptr::{null_mut, read_volatile, write_volatile};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The page that the tested bytes lie in.
pub const CODE: u64 = 0x2000_0000;
/// The bytes under test.
pub const TEST: u64 = CODE + 0x380;
/// Where a taken branch should go.
pub const TAKEN: u64 = CODE + 0x400;
/// Where the data area starts.
pub const DATA: u64 = 0x3000_0000;
/// Bytes in the data area.
pub const DATA_LEN: usize = 0x8000;

const ENTRY: u64 = CODE;
/// The same for 32-bit code: ends with a far jump.
const ENTRY32: u64 = CODE + 0x180;
const EXIT: u64 = CODE + 0x800;
const FILE: u64 = 0x2001_0000;
const FAULT: u64 = CODE + 0xc00;
const FLAGS: u64 = FILE + 16 * 8;
const RIP: u64 = FILE + 17 * 8;
const HOST_RSP: u64 = FILE + 0x200;
const FAR: u64 = FILE + 0x300;
/// The image that FXRSTOR (XRSTOR, where there is AVX) loads before a case and FXSAVE (XSAVE) makes after it.
const FP: u64 = FILE + 0x400;
/// The header of XSAVE's area, and the upper halves of YMM registers.
const HEADER: u64 = FP + 512;
const YMM: u64 = FP + 576;
/// MXCSR of the tests' own code.
const MXCSR: u64 = FILE + 0x310;
/// Linux's selectors for user code of both sizes and for data.
const CS32: u16 = 0x23;
const CS64: u16 = 0x33;
const DATA_SELECTOR: u16 = 0x2b;

/// The registers that a case starts and ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Regs {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// RFLAGS.
    pub flags: u64,
    /// RIP: after the bytes, [`TAKEN`], or of the instruction that faulted.
    pub rip: u64,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The instruction completed.
    Done,
    /// It raised an exception.
    Fault,
}

const ALL: [AsmRegister64; 16] =
    [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];
const SAVED: [AsmRegister64; 6] = [rbx, rbp, r12, r13, r14, r15];

/// The mapped pages: one at a time in a process, because the addresses are fixed.
pub struct Host {
    /// Whether the upper halves of YMM registers are loaded and saved, too.
    avx: bool,
    /// The components that a case begins with; the others are as after reset.
    pub present: u64,
    _only: MutexGuard<'static, ()>,
}

static ONLY: Mutex<()> = Mutex::new(());

fn map(addr: u64, len: usize, exec: bool) {
    let prot = libc::PROT_READ | libc::PROT_WRITE | if exec { libc::PROT_EXEC } else { 0 };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: a fresh mapping; NOREPLACE refuses an address that is in use.
    let p = unsafe { libc::mmap(addr as *mut _, len, prot, flags, -1, 0) };
    assert_eq!(p as u64, addr, "the fixed test mapping is taken");
}

fn put(addr: u64, bytes: &[u8]) {
    // SAFETY: callers pass addresses inside the mappings of `Host::new`, with room for the bytes.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), addr as *mut u8, bytes.len()) }
}

/// What follows the tested bytes: notes where it is and leaves.
fn stub(bits: u32, at: u64) -> Vec<u8> {
    let mut a = CodeAssembler::new(bits).unwrap();
    a.mov(dword_ptr(RIP), at as i32).unwrap();
    if bits == 64 {
        a.jmp(EXIT).unwrap();
        return a.assemble(at).unwrap();
    }
    let mut code = a.assemble(at).unwrap();
    code.push(0xea);
    code.extend_from_slice(&(EXIT as u32).to_le_bytes());
    code.extend_from_slice(&CS64.to_le_bytes());
    code
}

/// Loads the register file and goes to the tested bytes.
fn entry(bits: u32, avx: bool) -> Vec<u8> {
    let mut a = CodeAssembler::new(64).unwrap();
    for r in SAVED {
        a.push(r).unwrap();
    }
    a.mov(qword_ptr(HOST_RSP), rsp).unwrap();
    if bits == 32 {
        a.mov(eax, u32::from(DATA_SELECTOR)).unwrap();
        a.mov(ds, eax).unwrap();
        a.mov(es, eax).unwrap();
    }
    if avx {
        a.mov(eax, 7u32).unwrap();
        a.xor(edx, edx).unwrap();
        a.xrstor64(ptr(FP)).unwrap();
    } else {
        a.fxrstor64(ptr(FP)).unwrap();
    }
    a.push(qword_ptr(FLAGS)).unwrap();
    a.popfq().unwrap();
    for (i, r) in ALL.into_iter().enumerate() {
        a.mov(r, qword_ptr(FILE + i as u64 * 8)).unwrap();
    }
    if bits == 64 {
        a.jmp(TEST).unwrap();
    } else {
        a.jmp(fword_ptr(FAR)).unwrap();
    }
    a.assemble(if bits == 64 { ENTRY } else { ENTRY32 }).unwrap()
}

/// Sends a faulting case to its exit, with the address of the fault in the register file.
extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes the interrupted context; the register file is mapped.
    unsafe {
        let regs = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let rip = &mut regs[libc::REG_RIP as usize];
        if *rip as u64 & !0xfff != CODE {
            libc::abort();
        }
        write_volatile(RIP as *mut u64, *rip as u64);
        write_volatile((RIP + 8) as *mut u64, 1);
        *rip = FAULT as i64;
        let selectors = &mut regs[libc::REG_CSGSFS as usize];
        *selectors = *selectors & !0xffff | i64::from(CS64);
    }
}

fn catch_signals() {
    const STACK: usize = 0x10000;
    let memory = Box::leak(vec![0u8; STACK].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: plain calls with valid arguments; the stack lives for ever. The handler is async-signal-safe.
    unsafe {
        assert_eq!(libc::sigaltstack(&stack, null_mut()), 0);
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        for signal in [libc::SIGFPE, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGTRAP] {
            assert_eq!(libc::sigaction(signal, &action, MaybeUninit::zeroed().as_mut_ptr()), 0);
        }
    }
}

impl Host {
    /// Maps the pages, writes the trampoline and catches the signals of this thread.
    pub fn new() -> Self {
        let only = ONLY.lock().unwrap_or_else(PoisonError::into_inner);
        map(CODE, 0x1000, true);
        map(FILE, 0x1000, false);
        map(DATA, DATA_LEN, false);
        catch_signals();
        let avx = is_x86_feature_detected!("avx");
        put(ENTRY, &entry(64, avx));
        put(ENTRY32, &entry(32, avx));
        put(FAR, &(TEST as u32).to_le_bytes());
        put(FAR + 4, &CS32.to_le_bytes());
        put(FP, &0x37fu16.to_le_bytes());
        for at in [FP + 24, MXCSR] {
            put(at, &0x1f80u32.to_le_bytes());
        }
        let mut a = CodeAssembler::new(64).unwrap();
        for (i, r) in ALL.into_iter().enumerate() {
            a.mov(qword_ptr(FILE + i as u64 * 8), r).unwrap();
        }
        a.mov(rsp, qword_ptr(HOST_RSP)).unwrap();
        a.pushfq().unwrap();
        a.pop(qword_ptr(FLAGS)).unwrap();
        a.cld().unwrap();
        if avx {
            a.mov(eax, 7u32).unwrap();
            a.xor(edx, edx).unwrap();
            a.xsave64(ptr(FP)).unwrap();
            a.vzeroupper().unwrap();
        } else {
            a.fxsave64(ptr(FP)).unwrap();
        }
        a.fninit().unwrap();
        a.ldmxcsr(dword_ptr(MXCSR)).unwrap();
        for r in SAVED.into_iter().rev() {
            a.pop(r).unwrap();
        }
        a.ret().unwrap();
        put(EXIT, &a.assemble(EXIT).unwrap());
        let mut a = CodeAssembler::new(64).unwrap();
        a.jmp(EXIT).unwrap();
        put(FAULT, &a.assemble(FAULT).unwrap());
        Self { avx, present: 7, _only: only }
    }

    /// The data area.
    pub fn data(&mut self) -> &mut [u8] {
        // SAFETY: mapped in `new` and never unmapped; the borrow of `self` keeps the slice unique.
        unsafe { std::slice::from_raw_parts_mut(DATA as *mut u8, DATA_LEN) }
    }

    /// The floating-point state that a case starts from, and afterwards what it left, as FXSAVE64 lays it out.
    #[allow(dead_code, reason = "not every test binary has floating-point cases")]
    pub fn fp(&mut self) -> &mut [u8; 512] {
        // SAFETY: mapped in `new` and never unmapped; the borrow of `self` keeps the reference unique.
        unsafe { &mut *(FP as *mut [u8; 512]) }
    }

    /// The upper halves of the YMM registers that a case starts from, and afterwards what it left.
    #[allow(dead_code, reason = "not every test binary has cases with them")]
    pub fn ymm(&mut self) -> &mut [u8; 256] {
        // SAFETY: mapped in `new` and never unmapped; the borrow of `self` keeps the reference unique.
        unsafe { &mut *(YMM as *mut [u8; 256]) }
    }

    /// Runs `code` of `bits` (64 or 32) once. It must end at its last byte, at [`TAKEN`], or with an exception.
    pub fn run(&mut self, bits: u32, code: &[u8], regs: &Regs) -> (Regs, End) {
        assert!(code.len() <= 17);
        if self.avx {
            put(HEADER, &self.present.to_le_bytes());
        }
        put(TEST, code);
        put(TEST + code.len() as u64, &stub(bits, TEST + code.len() as u64));
        put(TAKEN, &stub(bits, TAKEN));
        let entry = if bits == 64 { ENTRY } else { ENTRY32 };
        let mut start = *regs;
        start.rip = 0;
        // SAFETY: the register file is mapped and large enough; the code at ENTRY keeps the C calling convention,
        // and the tested bytes reach nothing but registers and the data area, by how cases are made.
        unsafe {
            write_volatile((RIP + 8) as *mut u64, 0);
            write_volatile(FILE as *mut Regs, start);
            let entry: extern "C" fn() = std::mem::transmute(entry as *const ());
            entry();
            let end = if read_volatile((RIP + 8) as *const u64) == 0 { End::Done } else { End::Fault };
            (read_volatile(FILE as *const Regs), end)
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for (at, len) in [(CODE, 0x1000), (FILE, 0x1000), (DATA, DATA_LEN)] {
            // SAFETY: mapped in `new`; borrows of the pages end before `self` does.
            unsafe { libc::munmap(at as *mut _, len) };
        }
    }
}
