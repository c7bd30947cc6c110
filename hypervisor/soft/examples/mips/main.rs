//! How fast the processor runs: small programs, in millions of instructions a second of host processor time, interpreted,
//! translated, and by the host's own processor.
//!
//! `cargo run --release -p hypervisor-soft --example mips [name]`

mod loops;
#[cfg(target_arch = "x86_64")]
mod native;

/// The host's own processor runs no such code.
#[cfg(not(target_arch = "x86_64"))]
mod native {
    pub fn rounds_a_second(_: &super::Loop) -> Result<f64, Box<dyn std::error::Error>> {
        Ok(f64::NAN)
    }
}

use hypervisor_soft::bare::{Bare, End, Regs};
use iced_x86::code_asm::CodeAssembler;
use loops::{CODE, DATA, DATA_LEN, GDT, HANDLER, IDT, LOOPS, Loop, ROUNDS};

/// Instructions between two looks at the clock.
const SLICE: u64 = 5_000_000;

/// Privilege level 0 and a gate for page faults.
fn supervisor(bare: &mut Bare) {
    for (n, descriptor) in [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffffu64].into_iter().enumerate() {
        bare.write(GDT + 8 * n as u64, &descriptor.to_le_bytes());
    }
    // An interrupt gate to 0x08:HANDLER, which is below 4 GiB.
    let gate = (HANDLER >> 16) << 48 | 0x8e00 << 32 | 0x08 << 16 | HANDLER & 0xffff;
    bare.write(IDT + 14 * 16, &gate.to_le_bytes());
    bare.write(IDT + 14 * 16 + 8, &[0; 8]);
    bare.supervisor((GDT, 23), (IDT, 15 * 16 - 1));
}

/// Seconds of processor time that this thread has used: the host may be busy with other things.
fn seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid clock and a place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// Millions of instructions a second, and of faults, if it makes any.
fn measure(program: &Loop, translated: bool) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let mut a = CodeAssembler::new(program.bits)?;
    (program.code)(&mut a)?;
    let mut bare = Bare::new(program.bits as u8, &[(CODE, 0x1000), (DATA, DATA_LEN), (ROUNDS, 0x1000)])?;
    bare.write(CODE, &a.assemble(CODE)?);
    bare.write(DATA, &loops::data());
    if translated {
        bare.translate(64)?;
    }
    if program.name == "faults" {
        supervisor(&mut bare);
    }
    let mut regs = Regs { rip: CODE, flags: 2, ..Regs::default() };
    regs.gpr[4] = DATA + 0x2_0000;
    bare.set_regs(&regs);
    let (start, from) = (seconds(), bare.instructions());
    let slice = if program.name == "rep" { SLICE / 1000 } else { SLICE };
    while seconds() - start < 1.0 {
        if bare.run(slice) == End::Fault {
            return Err(format!("{} faulted: {:x?}", program.name, bare.regs()).into());
        }
    }
    let count = (bare.instructions() - from) as f64;
    let time = seconds() - start;
    Ok((count / time / 1e6, bare.regs().gpr[15] as f64 / time / 1e6))
}

/// Instructions of so many rounds, by our own count.
fn instructions(program: &Loop, rounds: u32) -> Result<u64, Box<dyn std::error::Error>> {
    let mut a = CodeAssembler::new(program.bits)?;
    (program.code)(&mut a)?;
    let mut bare = Bare::new(program.bits as u8, &[(CODE, 0x1000), (DATA, DATA_LEN), (ROUNDS, 0x1000)])?;
    bare.write(CODE, &a.assemble(CODE)?);
    // UD2.
    bare.write(loops::END, &[0x0f, 0x0b]);
    bare.write(DATA, &loops::data());
    bare.write(ROUNDS, &rounds.to_le_bytes());
    let mut regs = Regs { rip: CODE, flags: 2, ..Regs::default() };
    regs.gpr[4] = DATA + 0x2_0000;
    bare.set_regs(&regs);
    while bare.run(SLICE) != End::Fault {}
    Ok(bare.instructions())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let only = std::env::args().nth(1);
    println!("{:10} {:>12} {:>12} {:>12}  translated/native", "MIPS", "interpreted", "translated", "native");
    for program in &LOOPS {
        if only.as_deref().is_some_and(|only| only != program.name) {
            continue;
        }
        let (one, _) = measure(program, false)?;
        let (two, faults) = measure(program, true)?;
        print!("{:10} {one:12.1} {two:12.1}", program.name);
        if program.name == "faults" {
            print!("  {faults:.2} million faults a second");
        } else if program.bits == 64 {
            const FEW: u32 = 20;
            let each = instructions(program, FEW)? as f64 / f64::from(FEW);
            let native = each * native::rounds_a_second(program)? / 1e6;
            print!(" {native:12.1}  {:.2}", two / native);
        }
        println!();
    }
    Ok(())
}
