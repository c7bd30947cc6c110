//! The agent's code.

use iced_x86::code_asm::*;
use iced_x86::{BlockEncoderOptions, IcedError};

use super::layout::*;
use super::wire::{
    ANSWER_MAX, ANSWER_START, COMMAND_START, Command, GREETING, REQUEST_MAX, VERSION, kind, step,
};

type Done<T = ()> = Result<T, IcedError>;

/// COM2: its data register and its line status (16550D, table II).
const DATA: u32 = 0x2f8;
const LINE_STATUS: u32 = DATA + 5;
const DATA_READY: u32 = 1;
const TRANSMITTER_EMPTY: u32 = 0x20;
/// What makes a line of it: (register, value). 115200 baud, 8N1, no interrupts, FIFO on and empty, DTR and RTS.
const LINE: [(u32, u32); 7] = [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 0xc7), (4, 3)];

const SUM_BASIS: u32 = 0x811c_9dc5;
const SUM_PRIME: i32 = 0x0100_0193;

/// The command under way.
const COMMAND: u32 = VARIABLES;
/// Bytes of its body.
const LENGTH: u32 = VARIABLES + 4;
/// Its step under way begins there.
const AT: u32 = VARIABLES + 8;
/// 1 while an interrupt may come.
const WINDOW: u32 = VARIABLES + 12;
/// Ticks shifted right by this are turns of an empty loop that take less.
const SPIN: u32 = VARIABLES + 16;
/// A wait ends at this tick.
const UNTIL: u32 = VARIABLES + 24;

/// The CPU's local APIC (SDM 3A 11.4): (register, value) for virtual-wire mode, in which the 8259s interrupt the CPU
/// through it (MP specification 3.6.2.2). After a reset it lets nothing through.
const VIRTUAL_WIRE: [(u32, u32); 3] = [(0xfee0_00f0, 0x1ff), (0xfee0_0350, 0x700), (0xfee0_0360, 0x400)];
const APIC_EOI: u32 = 0xfee0_00b0;

/// Turns of the empty loop that are measured, as a power of two.
const TURNS: u32 = 12;

/// Places in the code that others name.
struct Places {
    get: CodeLabel,
    get_summed: CodeLabel,
    put: CodeLabel,
    wait: CodeLabel,
    /// Sends the answer of kind cl whose body ends at edi.
    answer: CodeLabel,
    done: CodeLabel,
    bad: CodeLabel,
    serve: CodeLabel,
    next: CodeLabel,
    trap: CodeLabel,
}

/// The agent as a BIOS of 64 KiB.
pub fn image() -> Done<Vec<u8>> {
    let mut image = loaded()?;
    image.resize(IMAGE, 0xff);
    let pointer = STARTUP - 8;
    put(&mut image, pointer, &descriptor_pointer(GDT, IMAGE_BASE + (GDT - CODE)));
    let protected = STARTUP + 0x40;
    put(&mut image, STARTUP, &startup(pointer, protected)?);
    put(&mut image, protected, &moving(IMAGE_BASE, IMAGE_BASE + protected as u32)?);
    let back = (STARTUP as i32 - (RESET_VECTOR as i32 + 3)) as i16;
    let [low, high] = back.to_le_bytes();
    put(&mut image, RESET_VECTOR, &[0xe9, low, high]);
    Ok(image)
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Limit and base of a table that begins at `table` in RAM and now at `base`.
fn descriptor_pointer(table: u32, base: u32) -> [u8; 6] {
    let limit: u16 = if table == GDT { 3 * 8 - 1 } else { 256 * 8 - 1 };
    let [a, b] = limit.to_le_bytes();
    let [c, d, e, f] = base.to_le_bytes();
    [a, b, c, d, e, f]
}

/// From the reset vector, 16 bits at F000 with base [`IMAGE_BASE`], to 32 bits.
fn startup(pointer: usize, protected: usize) -> Done<Vec<u8>> {
    let mut a = CodeAssembler::new(16)?;
    a.cli()?;
    a.cld()?;
    let [low, high] = (pointer as u16).to_le_bytes();
    a.db(&[0x66, 0x2e, 0x0f, 0x01, 0x16, low, high])?; // lgdt cs:[pointer]
    a.mov(eax, cr0)?;
    a.and(eax, 0x9fff_ffffu32)?; // caches on: they are off after a reset
    a.or(eax, 1)?;
    a.mov(cr0, eax)?;
    let mut jump = vec![0x66, 0xea]; // jmp far
    jump.extend((IMAGE_BASE + protected as u32).to_le_bytes());
    jump.extend(CODE_SEGMENT.to_le_bytes());
    a.db(&jump)?;
    a.assemble(STARTUP as u64)
}

/// In 32 bits: to RAM, and on there.
fn moving(from: u32, here: u32) -> Done<Vec<u8>> {
    let mut a = CodeAssembler::new(32)?;
    a.mov(eax, u32::from(DATA_SEGMENT))?;
    for segment in [ds, es, fs, gs, ss] {
        a.mov(segment, eax)?;
    }
    a.mov(esp, STACK)?;
    a.mov(esi, from)?;
    a.mov(edi, CODE)?;
    a.mov(ecx, (LOADED_END - CODE) / 4)?;
    a.rep().movsd()?;
    a.lgdt(fword_ptr(GDT_POINTER))?;
    a.lidt(fword_ptr(IDT_POINTER))?;
    a.mov(eax, CODE)?;
    a.jmp(eax)?;
    a.assemble(here.into())
}

/// Everything from [`CODE`] to [`LOADED_END`].
fn loaded() -> Done<Vec<u8>> {
    let mut a = CodeAssembler::new(32)?;
    let mut places = Places {
        get: a.create_label(),
        get_summed: a.create_label(),
        put: a.create_label(),
        wait: a.create_label(),
        answer: a.create_label(),
        done: a.create_label(),
        bad: a.create_label(),
        serve: a.create_label(),
        next: a.create_label(),
        trap: a.create_label(),
    };
    begin(&mut a)?;
    let hello = hello(&mut a, &places)?;
    answer(&mut a, &mut places)?;
    serve(&mut a, &mut places)?;
    line(&mut a, &mut places)?;
    wait(&mut a, &mut places)?;
    let [peek, poke] = blocks(&mut a, &places)?;
    let interrupt = interrupt(&mut a, &places)?;
    trap(&mut a, &mut places)?;
    let (perform, steps) = perform(&mut a, &mut places)?;

    let code = a.assemble_options(CODE.into(), BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
    // Everything is below 4 GiB.
    let address = |label: &CodeLabel| code.label_ip(label).map(|ip| ip as u32);
    let mut image = code.inner.code_buffer.clone();
    assert!(image.len() <= (STUBS - CODE) as usize, "the agent's code is too long");
    image.resize((LOADED_END - CODE) as usize, 0);
    tables(&mut image, address(&places.trap)?);
    let mut list = |place: u32, labels: &[CodeLabel]| -> Done {
        for (index, label) in labels.iter().enumerate() {
            put(&mut image, (place - CODE) as usize + index * 4, &address(label)?.to_le_bytes());
        }
        Ok(())
    };
    // In the order of `Command`.
    list(COMMANDS, &[hello, perform, peek, poke, interrupt])?;
    list(STEPS, &steps)?;
    Ok(image)
}

/// Descriptor tables and the calls that lead to `trap`.
fn tables(image: &mut [u8], trap: u32) {
    for vector in 0..256 {
        let stub = STUBS + vector * 8;
        let mut call = vec![0xe8];
        call.extend(trap.wrapping_sub(stub + 5).to_le_bytes());
        put(image, (stub - CODE) as usize, &call);
        let ([a, b, c, d], [e, f]) = (stub.to_le_bytes(), CODE_SEGMENT.to_le_bytes());
        // A 32-bit interrupt gate: interrupts are off in it.
        put(image, (IDT + vector * 8 - CODE) as usize, &[a, b, e, f, 0, 0x8e, c, d]);
    }
    let segments: [u64; 3] = [0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
    for (index, segment) in segments.iter().enumerate() {
        put(image, (GDT - CODE) as usize + index * 8, &segment.to_le_bytes());
    }
    put(image, (GDT_POINTER - CODE) as usize, &descriptor_pointer(GDT, GDT));
    put(image, (IDT_POINTER - CODE) as usize, &descriptor_pointer(IDT, IDT));
}

/// Sets the line and the local APIC up and measures how long a turn of the empty loop takes.
fn begin(a: &mut CodeAssembler) -> Done {
    let mut turn = a.create_label();
    for (register, value) in LINE {
        a.mov(edx, DATA + register)?;
        a.mov(al, value)?;
        a.out(dx, al)?;
    }
    for (register, value) in VIRTUAL_WIRE {
        a.mov(eax, value)?;
        a.mov(dword_ptr(register), eax)?;
    }
    a.rdtsc()?;
    a.mov(ebp, eax)?;
    a.mov(ebx, 1u32 << TURNS)?;
    a.set_label(&mut turn)?;
    a.dec(ebx)?;
    a.jne(turn)?;
    a.rdtsc()?;
    a.sub(eax, ebp)?;
    a.shr(eax, TURNS)?;
    a.or(eax, 1)?;
    a.bsr(eax, eax)?;
    a.inc(eax)?;
    a.mov(dword_ptr(SPIN), eax)?;
    Ok(())
}

/// Says hello; falls through to here at the start.
fn hello(a: &mut CodeAssembler, places: &Places) -> Done<CodeLabel> {
    let mut hello = a.create_label();
    a.set_label(&mut hello)?;
    a.mov(edi, ANSWER)?;
    for byte in GREETING.iter().chain([&VERSION]) {
        a.mov(al, u32::from(*byte))?;
        a.stosb()?;
    }
    a.mov(cl, u32::from(kind::HELLO))?;
    a.jmp(places.answer)?;
    Ok(hello)
}

/// Sends an answer.
fn answer(a: &mut CodeAssembler, places: &mut Places) -> Done {
    let (mut body, mut sum, mut digit) = (a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut places.bad)?;
    a.mov(edi, ANSWER)?;
    a.mov(cl, u32::from(kind::BAD))?;
    a.jmp(places.answer)?;
    a.set_label(&mut places.done)?;
    a.mov(cl, u32::from(kind::DONE))?;
    a.set_label(&mut places.answer)?;
    a.mov(esi, ANSWER)?;
    a.sub(edi, esi)?;
    a.mov(al, u32::from(ANSWER_START))?;
    a.call(places.put)?;
    a.mov(ebx, SUM_BASIS)?;
    a.mov(al, cl)?;
    a.call(places.put)?;
    a.mov(eax, edi)?;
    a.call(places.put)?;
    a.mov(eax, edi)?;
    a.shr(eax, 8)?;
    a.call(places.put)?;
    a.set_label(&mut body)?;
    a.dec(edi)?;
    a.js(sum)?;
    a.lodsb()?;
    a.call(places.put)?;
    a.jmp(body)?;
    a.set_label(&mut sum)?;
    a.mov(ebp, ebx)?;
    a.mov(ecx, 4)?;
    a.set_label(&mut digit)?;
    a.mov(eax, ebp)?;
    a.call(places.put)?;
    a.shr(ebp, 8)?;
    a.dec(ecx)?;
    a.jne(digit)?;
    a.jmp(places.serve)
}

/// Takes a command and goes to its code, with esi at its body and edi at its answer's.
fn serve(a: &mut CodeAssembler, places: &mut Places) -> Done {
    let (mut body, mut sum, mut digit) = (a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut places.serve)?;
    a.mov(esp, STACK)?;
    a.mov(dword_ptr(WINDOW), 0)?;
    a.call(places.get)?;
    a.cmp(al, u32::from(COMMAND_START))?;
    a.jne(places.serve)?;
    a.mov(ebx, SUM_BASIS)?;
    a.call(places.get_summed)?;
    a.movzx(eax, al)?;
    a.mov(dword_ptr(COMMAND), eax)?;
    a.call(places.get_summed)?;
    a.movzx(ebp, al)?;
    a.call(places.get_summed)?;
    a.movzx(eax, al)?;
    a.shl(eax, 8)?;
    a.or(ebp, eax)?;
    a.mov(dword_ptr(LENGTH), ebp)?;
    a.cmp(ebp, REQUEST_MAX as u32)?;
    a.ja(places.bad)?;
    a.mov(edi, REQUEST)?;
    a.set_label(&mut body)?;
    a.dec(ebp)?;
    a.js(sum)?;
    a.call(places.get_summed)?;
    a.stosb()?;
    a.jmp(body)?;
    a.set_label(&mut sum)?;
    a.mov(ecx, 4)?;
    a.set_label(&mut digit)?;
    a.call(places.get)?;
    a.cmp(al, bl)?;
    a.jne(places.bad)?;
    a.shr(ebx, 8)?;
    a.dec(ecx)?;
    a.jne(digit)?;
    a.mov(esi, REQUEST)?;
    a.mov(edi, ANSWER)?;
    a.mov(dword_ptr(AT), esi)?;
    a.mov(eax, dword_ptr(COMMAND))?;
    a.cmp(eax, Command::Interrupt as u32)?;
    a.ja(places.bad)?;
    a.jmp(dword_ptr(eax * 4 + COMMANDS))
}

/// Bytes from and to the line, in al; they change ah and edx, and the sum in ebx.
fn line(a: &mut CodeAssembler, places: &mut Places) -> Done {
    let (mut empty, mut full) = (a.create_label(), a.create_label());
    a.set_label(&mut places.get_summed)?;
    a.call(places.get)?;
    sum(a)?;
    a.ret()?;
    a.set_label(&mut places.get)?;
    a.mov(edx, LINE_STATUS)?;
    a.set_label(&mut empty)?;
    a.in_(al, dx)?;
    a.test(al, DATA_READY)?;
    a.je(empty)?;
    a.mov(edx, DATA)?;
    a.in_(al, dx)?;
    a.ret()?;
    a.set_label(&mut places.put)?;
    a.mov(ah, al)?;
    a.mov(edx, LINE_STATUS)?;
    a.set_label(&mut full)?;
    a.in_(al, dx)?;
    a.test(al, TRANSMITTER_EMPTY)?;
    a.je(full)?;
    a.mov(al, ah)?;
    a.mov(edx, DATA)?;
    a.out(dx, al)?;
    sum(a)?;
    a.ret()
}

/// Adds al to the sum in ebx.
fn sum(a: &mut CodeAssembler) -> Done {
    a.xor(bl, al)?;
    a.imul_3(ebx, ebx, SUM_PRIME)
}

/// Takes the ticks at esi as the time to wait from now on; changes eax, edx.
fn deadline(a: &mut CodeAssembler) -> Done {
    a.rdtsc()?;
    a.add(eax, dword_ptr(esi))?;
    a.adc(edx, dword_ptr(esi + 4))?;
    a.mov(dword_ptr(UNTIL), eax)?;
    a.mov(dword_ptr(UNTIL + 4), edx)
}

/// Returns at the tick [`UNTIL`] or a little later: an empty loop of about half of what is left, again and
/// again, because reading the counter is slow where instructions are translated. Changes all but esi, edi.
fn wait(a: &mut CodeAssembler, places: &mut Places) -> Done {
    let (mut short, mut turn, mut over) = (a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut places.wait)?;
    a.rdtsc()?;
    a.mov(ebx, dword_ptr(UNTIL))?;
    a.mov(ebp, dword_ptr(UNTIL + 4))?;
    a.sub(ebx, eax)?;
    a.sbb(ebp, edx)?;
    a.js(over)?;
    a.je(short)?;
    a.mov(ebx, u32::MAX)?;
    a.set_label(&mut short)?;
    a.mov(cl, byte_ptr(SPIN))?;
    a.shr(ebx, cl)?;
    a.je(places.wait)?;
    a.set_label(&mut turn)?;
    a.dec(ebx)?;
    a.jne(turn)?;
    a.jmp(places.wait)?;
    a.set_label(&mut over)?;
    a.ret()
}

/// Peek and poke.
fn blocks(a: &mut CodeAssembler, places: &Places) -> Done<[CodeLabel; 2]> {
    let (mut peek, mut poke) = (a.create_label(), a.create_label());
    a.set_label(&mut peek)?;
    a.mov(ecx, dword_ptr(esi + 4))?;
    a.cmp(ecx, ANSWER_MAX as u32)?;
    a.ja(places.bad)?;
    a.mov(esi, dword_ptr(esi))?;
    a.rep().movsb()?;
    a.jmp(places.done)?;
    a.set_label(&mut poke)?;
    a.mov(ecx, dword_ptr(LENGTH))?;
    a.sub(ecx, 4)?;
    a.jb(places.bad)?;
    a.mov(edi, dword_ptr(esi))?;
    a.add(esi, 4)?;
    a.rep().movsb()?;
    a.mov(edi, ANSWER)?;
    a.jmp(places.done)?;
    Ok([peek, poke])
}

/// Lets an interrupt through; its end is in [`trap`] if one comes.
fn interrupt(a: &mut CodeAssembler, places: &Places) -> Done<CodeLabel> {
    let mut interrupt = a.create_label();
    a.set_label(&mut interrupt)?;
    deadline(a)?;
    a.mov(dword_ptr(WINDOW), 1)?;
    a.sti()?;
    a.call(places.wait)?;
    a.cli()?;
    a.mov(dword_ptr(WINDOW), 0)?;
    a.jmp(places.done)?;
    Ok(interrupt)
}

/// Every interrupt and exception: whatever was under way is given up, and answered.
fn trap(a: &mut CodeAssembler, places: &mut Places) -> Done {
    let mut taken = a.create_label();
    a.set_label(&mut places.trap)?;
    a.pop(eax)?;
    a.sub(eax, STUBS + 5)?;
    a.shr(eax, 3)?;
    a.mov(edi, ANSWER)?;
    a.cmp(dword_ptr(WINDOW), 0)?;
    a.jne(taken)?;
    a.stosd()?;
    for _ in 0..2 {
        a.pop(eax)?;
        a.stosd()?;
    }
    a.mov(eax, cr2)?;
    a.stosd()?;
    a.mov(eax, dword_ptr(AT))?;
    a.sub(eax, REQUEST)?;
    a.stosd()?;
    a.mov(cl, u32::from(kind::EXCEPTION))?;
    a.jmp(places.answer)?;
    a.set_label(&mut taken)?;
    a.stosb()?;
    // One by message ends here; for one of the 8259s this is nothing, and its end is the case's matter.
    a.mov(dword_ptr(APIC_EOI), 0)?;
    a.jmp(places.done)
}

/// Steps one after the other: esi at the next, edi at the end of the answer. Also gives where each is.
fn perform(a: &mut CodeAssembler, places: &mut Places) -> Done<(CodeLabel, Vec<CodeLabel>)> {
    a.set_label(&mut places.next)?;
    a.mov(dword_ptr(AT), esi)?;
    a.xor(eax, eax)?;
    a.lodsb()?;
    a.cmp(al, step::COUNT as u32)?;
    a.jae(places.bad)?;
    a.jmp(dword_ptr(eax * 4 + STEPS))?;
    let mut steps = vec![places.done];
    for number in step::IN..step::COUNT as u8 {
        let mut here = a.create_label();
        a.set_label(&mut here)?;
        match number {
            step::IN..step::READ => port(a, number)?,
            step::READ..step::INS => memory(a, number)?,
            step::INS..step::WAIT => string(a, number)?,
            step::WAIT => {
                deadline(a)?;
                a.add(esi, 8)?;
                a.call(places.wait)?;
            }
            _ => {
                a.rdtsc()?;
                a.stosd()?;
                a.mov(eax, edx)?;
                a.stosd()?;
            }
        }
        a.jmp(places.next)?;
        steps.push(here);
    }
    Ok((places.next, steps))
}

fn port(a: &mut CodeAssembler, number: u8) -> Done {
    a.mov(dx, word_ptr(esi))?;
    if number < step::OUT {
        a.add(esi, 2)?;
        a.xor(eax, eax)?;
        match number - step::IN {
            0 => a.in_(al, dx)?,
            1 => a.in_(ax, dx)?,
            _ => a.in_(eax, dx)?,
        }
        return a.stosd();
    }
    a.mov(eax, dword_ptr(esi + 2))?;
    a.add(esi, 6)?;
    match number - step::OUT {
        0 => a.out(dx, al),
        1 => a.out(dx, ax),
        _ => a.out(dx, eax),
    }
}

fn memory(a: &mut CodeAssembler, number: u8) -> Done {
    a.mov(ebx, dword_ptr(esi))?;
    if number < step::WRITE {
        a.add(esi, 4)?;
        match number - step::READ {
            0 => a.movzx(eax, byte_ptr(ebx))?,
            1 => a.movzx(eax, word_ptr(ebx))?,
            2 => a.mov(eax, dword_ptr(ebx))?,
            _ => {
                a.movq(mm0, qword_ptr(ebx))?;
                a.movq(qword_ptr(edi), mm0)?;
                return a.add(edi, 8);
            }
        }
        return a.stosd();
    }
    a.mov(eax, dword_ptr(esi + 4))?;
    a.movq(mm0, qword_ptr(esi + 4))?;
    a.add(esi, 12)?;
    match number - step::WRITE {
        0 => a.mov(byte_ptr(ebx), al),
        1 => a.mov(word_ptr(ebx), ax),
        2 => a.mov(dword_ptr(ebx), eax),
        _ => a.movq(qword_ptr(ebx), mm0),
    }
}

fn string(a: &mut CodeAssembler, number: u8) -> Done {
    a.push(esi)?;
    a.push(edi)?;
    a.mov(dx, word_ptr(esi))?;
    a.mov(ecx, dword_ptr(esi + 2))?;
    if number < step::OUTS {
        a.mov(edi, dword_ptr(esi + 6))?;
        match number - step::INS {
            0 => a.rep().insb()?,
            1 => a.rep().insw()?,
            _ => a.rep().insd()?,
        }
    } else {
        a.mov(esi, dword_ptr(esi + 6))?;
        match number - step::OUTS {
            0 => a.rep().outsb()?,
            1 => a.rep().outsw()?,
            _ => a.rep().outsd()?,
        }
    }
    a.pop(edi)?;
    a.pop(esi)?;
    a.add(esi, 10)
}
