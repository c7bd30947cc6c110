//! The same programs on the host's own processor.

use std::error::Error;

use iced_x86::code_asm::*;

use super::loops::{self, CODE, DATA, DATA_LEN, Loop, ROUNDS};
use super::seconds;

/// Memory at an address of our choice, there for the rest of the process.
fn map(at: u64, len: usize, code: bool) -> Result<(), Box<dyn Error>> {
    let prot = libc::PROT_READ | libc::PROT_WRITE | if code { libc::PROT_EXEC } else { 0 };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: nothing that is mapped is replaced.
    let got = unsafe { libc::mmap(at as *mut libc::c_void, len, prot, flags, -1, 0) };
    match got == libc::MAP_FAILED {
        // From an earlier program.
        true if std::io::Error::last_os_error().raw_os_error() == Some(libc::EEXIST) => Ok(()),
        true => Err(std::io::Error::last_os_error().into()),
        false => Ok(()),
    }
}

fn put(at: u64, bytes: &[u8]) {
    // SAFETY: `map` made the memory, which is larger, and nobody else knows of it.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
}

/// How often it goes round in a second of processor time.
pub fn rounds_a_second(program: &Loop) -> Result<f64, Box<dyn Error>> {
    map(CODE, 0x1000, true)?;
    map(DATA, DATA_LEN as usize, false)?;
    map(ROUNDS, 0x1000, false)?;
    let mut a = CodeAssembler::new(64)?;
    (program.code)(&mut a)?;
    put(CODE, &a.assemble(CODE)?);
    put(loops::END, &[0xc3]);
    put(DATA, &loops::data());
    let (start, mut rounds) = (seconds(), 0u32);
    while seconds() - start < 1.0 {
        let more = program.rounds / 8 + 1;
        put(ROUNDS, &more.to_le_bytes());
        // SAFETY: the program writes to memory that `map` made, keeps what it pushes on the stack, and returns at its END
        // with these registers changed and no others; the direction flag stays clear, the x87's stack empty.
        unsafe {
            std::arch::asm!(
                "push rbx",
                "call {code}",
                "pop rbx",
                code = in(reg) CODE,
                out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r15") _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            );
        }
        rounds += more;
    }
    Ok(f64::from(rounds) / (seconds() - start))
}
