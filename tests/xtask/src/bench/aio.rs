//! A program for a Linux guest that keeps so many requests of 4 KiB in flight at a disk, by Linux's AIO and past the page
//! cache. It is put together here, instruction by instruction, since the guests have no compiler and no C library.

use anyhow::Result;
use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// What it does.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Writes, or else reads.
    pub write: bool,
    /// Requests in flight.
    pub depth: u32,
    /// Requests in all.
    pub count: u32,
    /// Bytes of the disk that it uses, a power of two.
    pub span: u64,
}

/// Where it lies, and what it has there: an image of one segment.
const BASE: u64 = 0x40_0000;
const CODE: u64 = 0x1000;
const IOCBS: u64 = 0x2000;
const POINTERS: u64 = 0x6000;
const EVENTS: u64 = 0x7000;
const CONTEXT: u64 = 0x9000;
const BUFFERS: u64 = 0xa000;
/// Most requests in flight.
const DEPTH: u32 = 64;

/// Bytes of a request.
const BLOCK: u64 = 4096;

/// System calls, and what open(2) is told.
const OPEN: u32 = 2;
const EXIT: u32 = 60;
const IO_SETUP: u32 = 206;
const IO_GETEVENTS: u32 = 208;
const IO_SUBMIT: u32 = 209;
const READ_WRITE_DIRECT: u32 = 0x4002;

/// The program, whose only argument is the disk. It ends with 0, or with the step at which something went wrong.
pub fn program(load: Load) -> Result<Vec<u8>> {
    assert!((1..=DEPTH).contains(&load.depth) && load.span.is_power_of_two());
    let mut a = CodeAssembler::new(64)?;
    code(&mut a, load)?;
    let code = a.assemble(BASE + CODE)?;
    let mut image = header();
    image.resize(CODE as usize, 0);
    image.extend(code);
    Ok(image)
}

/// ELF64 header and one segment, which may be written and executed.
fn header() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |bytes: &mut Vec<u8>, value: u16| bytes.extend(value.to_le_bytes());
    let long = |bytes: &mut Vec<u8>, value: u64| bytes.extend(value.to_le_bytes());
    half(&mut bytes, 2);
    half(&mut bytes, 62);
    bytes.extend(1u32.to_le_bytes());
    for value in [BASE + CODE, 64, 0] {
        long(&mut bytes, value);
    }
    bytes.extend(0u32.to_le_bytes());
    for value in [64, 56, 1, 0, 0, 0] {
        half(&mut bytes, value);
    }
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(7u32.to_le_bytes());
    let all = BUFFERS + u64::from(DEPTH) * BLOCK;
    for value in [0, BASE, BASE, IOCBS, all, BLOCK] {
        long(&mut bytes, value);
    }
    bytes
}

/// r12 counts requests that are still to be made, r13 those to come back; rbx is the random number, ebp the file.
fn code(a: &mut CodeAssembler, load: Load) -> Result<(), IcedError> {
    let Load { depth, count, .. } = load;
    let mut fail = a.create_label();
    let mut next = a.create_label();
    // open(argv[1])
    a.mov(rdi, qword_ptr(rsp + 16))?;
    a.mov(esi, READ_WRITE_DIRECT)?;
    call(a, OPEN)?;
    a.mov(r14d, 1u32)?;
    a.test(eax, eax)?;
    a.js(fail)?;
    a.mov(ebp, eax)?;
    a.mov(edi, depth)?;
    a.mov(esi, (BASE + CONTEXT) as u32)?;
    call(a, IO_SETUP)?;
    a.mov(r14d, 2u32)?;
    a.test(rax, rax)?;
    a.jne(fail)?;
    a.mov(rbx, 0x9e37_79b9_7f4a_7c15u64)?;
    a.mov(r12d, count - depth)?;
    a.mov(r13d, count)?;
    fill(a, load)?;
    a.mov(r15d, depth)?;

    // Gives r15 requests to the kernel.
    a.set_label(&mut next)?;
    let mut wait = a.create_label();
    a.test(r15d, r15d)?;
    a.je(wait)?;
    a.mov(rdi, qword_ptr(BASE + CONTEXT))?;
    a.mov(esi, r15d)?;
    a.mov(edx, (BASE + POINTERS) as u32)?;
    call(a, IO_SUBMIT)?;
    a.mov(r14d, 3u32)?;
    a.cmp(eax, r15d)?;
    a.jne(fail)?;
    a.set_label(&mut wait)?;
    a.mov(rdi, qword_ptr(BASE + CONTEXT))?;
    a.mov(esi, 1u32)?;
    a.mov(edx, depth)?;
    a.mov(r10d, (BASE + EVENTS) as u32)?;
    a.xor(r8d, r8d)?;
    call(a, IO_GETEVENTS)?;
    a.mov(r14d, 4u32)?;
    a.test(eax, eax)?;
    a.jle(fail)?;

    // Each of eax events: the same request for another place, if more are to be made.
    let mut each = a.create_label();
    let mut skip = a.create_label();
    a.mov(ecx, eax)?;
    a.mov(esi, (BASE + EVENTS) as u32)?;
    a.xor(r15d, r15d)?;
    a.mov(r14d, 5u32)?;
    a.set_label(&mut each)?;
    a.cmp(qword_ptr(rsi + 16), BLOCK as i32)?;
    a.jne(fail)?;
    a.dec(r13d)?;
    a.test(r12d, r12d)?;
    a.je(skip)?;
    a.dec(r12d)?;
    a.mov(rdi, qword_ptr(rsi + 8))?;
    random(a, load)?;
    a.mov(qword_ptr(rdi + 40), rax)?;
    a.mov(qword_ptr(r15 * 8 + (BASE + POINTERS) as i32), rdi)?;
    a.inc(r15d)?;
    a.set_label(&mut skip)?;
    a.add(rsi, 32)?;
    a.dec(ecx)?;
    a.jne(each)?;
    a.test(r13d, r13d)?;
    a.jne(next)?;

    a.xor(r14d, r14d)?;
    a.set_label(&mut fail)?;
    a.mov(edi, r14d)?;
    call(a, EXIT)
}

/// The first requests (`struct iocb`), and pointers to them.
fn fill(a: &mut CodeAssembler, load: Load) -> Result<(), IcedError> {
    let mut top = a.create_label();
    a.xor(r15d, r15d)?;
    a.mov(edi, (BASE + IOCBS) as u32)?;
    a.mov(r9d, (BASE + BUFFERS) as u32)?;
    a.set_label(&mut top)?;
    // Code, file, buffer, length, place.
    a.mov(word_ptr(rdi + 16), i32::from(load.write))?;
    a.mov(dword_ptr(rdi + 20), ebp)?;
    a.mov(qword_ptr(rdi + 24), r9)?;
    a.mov(qword_ptr(rdi + 32), BLOCK as i32)?;
    random(a, load)?;
    a.mov(qword_ptr(rdi + 40), rax)?;
    a.mov(qword_ptr(r15 * 8 + (BASE + POINTERS) as i32), rdi)?;
    a.add(rdi, 64)?;
    a.add(r9, BLOCK as i32)?;
    a.inc(r15d)?;
    a.cmp(r15d, load.depth)?;
    a.jne(top)
}

/// rax: a place on the disk. Changes rdx.
fn random(a: &mut CodeAssembler, load: Load) -> Result<(), IcedError> {
    // Marsaglia's xorshift64.
    for (left, by) in [(true, 13u32), (false, 7), (true, 17)] {
        a.mov(rax, rbx)?;
        match left {
            true => a.shl(rax, by)?,
            false => a.shr(rax, by)?,
        }
        a.xor(rbx, rax)?;
    }
    a.mov(rax, rbx)?;
    a.mov(rdx, (load.span - 1) & !(BLOCK - 1))?;
    a.and(rax, rdx)
}

/// Changes rax, rcx and r11.
fn call(a: &mut CodeAssembler, number: u32) -> Result<(), IcedError> {
    a.mov(eax, number)?;
    a.syscall()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// The host is a Linux, too. What it writes are zeros, in blocks, and no other place is touched.
    #[test]
    fn it_makes_the_requests_that_it_is_to_make() {
        let folder = tempfile::tempdir().unwrap();
        let (file, program) = (folder.path().join("disk"), folder.path().join("aio"));
        std::fs::write(&file, vec![0x5a; 1 << 20]).unwrap();
        for (write, depth, count) in [(false, 1, 10), (false, 32, 33), (true, 8, 40)] {
            let image = super::program(Load { write, depth, count, span: 1 << 18 }).unwrap();
            let mut to = std::fs::File::create(&program).unwrap();
            to.write_all(&image).unwrap();
            to.set_permissions(std::fs::Permissions::from_mode(0o700)).unwrap();
            drop(to);
            let status = Command::new(&program).arg(&file).status().unwrap();
            // A folder in memory may refuse direct I/O: then it fails to open the file.
            if status.code() == Some(1) {
                return;
            }
            assert_eq!(status.code(), Some(0), "{write} {depth} {count}");
        }
        let after = std::fs::read(&file).unwrap();
        let zeros = after.chunks(4096).filter(|block| *block == [0; 4096]).count();
        let others = after.chunks(4096).filter(|block| *block == [0x5a; 4096]).count();
        assert!((20..=40).contains(&zeros), "{zeros}");
        assert_eq!(zeros + others, 256);
        assert!(after[1 << 18..].iter().all(|byte| *byte == 0x5a), "beyond what it may use");
        assert_eq!(Command::new(&program).arg(folder.path().join("none")).status().unwrap().code(), Some(1));
    }
}
