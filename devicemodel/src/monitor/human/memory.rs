//! Registers and memory of the guest, as QEMU's monitor for people shows them.

use std::fmt::Write;

use hypervisor::debug::{Registers, SegmentRegister};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

use super::super::Guest;
use super::super::context::Context;
use super::super::protocol::QmpError;
use super::words;

/// Most bytes that one command shows.
const MOST: u64 = 1 << 16;
/// Longest instruction of the processor.
const INSTRUCTION: usize = 15;

/// What `/FMT` says: how many, in what form, of how many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format {
    count: u64,
    form: char,
    size: usize,
}

impl Format {
    /// Reads what stands after the slash.
    fn parse(text: &str) -> Result<Format, QmpError> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (count, letters) = text.split_at(digits);
        let count = if count.is_empty() { Ok(1) } else { count.parse() };
        let count = count.map_err(|_| QmpError::generic(format!("'{text}' counts too much")))?;
        let mut format = Format { count, form: 'x', size: 4 };
        let mut sized = false;
        for letter in letters.chars() {
            match letter {
                'o' | 'd' | 'u' | 'x' | 'i' | 'c' => format.form = letter,
                'b' => (format.size, sized) = (1, true),
                'h' => (format.size, sized) = (2, true),
                'w' => (format.size, sized) = (4, true),
                'g' | 'L' => (format.size, sized) = (8, true),
                _ => return Err(QmpError::generic(format!("invalid char in format: '{letter}'"))),
            }
        }
        if format.form == 'c' && !sized {
            format.size = 1;
        }
        Ok(format)
    }
}

/// Takes `/FMT` off the words of a command: it may stand with the command's name, or after it.
fn format<'a>(name: &'a str, rest: &'a [&'a str]) -> Result<(Format, String), QmpError> {
    let (text, words) = match (name.split_once('/'), rest.split_first()) {
        (Some((_, text)), _) => (text, rest),
        (None, Some((first, words))) if first.starts_with('/') => (&first[1..], words),
        _ => ("", rest),
    };
    Ok((Format::parse(text)?, words.join(" ")))
}

/// The value of a register by its name in an expression.
fn register(registers: &Registers, name: &str) -> Option<u64> {
    let general = |at: usize| Some(registers.general[at]);
    let low = |value: Option<u64>| value.map(|value| value & 0xffff_ffff);
    const NAMES: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
    const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];
    if let Some(rest) = name.strip_prefix('r')
        && let Some(at) = NAMES.iter().position(|other| *other == rest)
    {
        return general(at);
    }
    if let Some(rest) = name.strip_prefix('e')
        && let Some(at) = NAMES.iter().position(|other| *other == rest)
    {
        return if registers.code == 64 { general(at) } else { low(general(at)) };
    }
    if let Some(at) = name.strip_prefix('r').and_then(|number| number.parse::<usize>().ok()) {
        return registers.general.get(at).copied().filter(|_| at >= 8);
    }
    let segment = name.split('.').next().and_then(|own| SEGMENTS.iter().position(|other| *other == own));
    if let Some(at) = segment {
        let segment = &registers.segments[at];
        return match name.split_once('.') {
            None => Some(segment.selector.into()),
            Some((_, "base")) => Some(segment.base),
            Some((_, "limit")) => Some(segment.limit.into()),
            Some(_) => None,
        };
    }
    match name {
        // As QEMU has it: where the next instruction lies.
        "rip" | "eip" | "pc" => Some(registers.rip.wrapping_add(registers.segments[1].base)),
        "rflags" | "eflags" => Some(registers.rflags),
        "cr0" => Some(registers.control[0]),
        "cr2" => Some(registers.control[1]),
        "cr3" => Some(registers.control[2]),
        "cr4" => Some(registers.control[3]),
        "efer" => Some(registers.efer),
        _ => None,
    }
}

/// The value of an expression, and the registers where they are needed.
fn value(text: &str, guest: &mut dyn Guest) -> Result<u64, QmpError> {
    if !text.contains('$') {
        return words::expression(text, &|_| None);
    }
    let registers = guest.registers(0)?;
    words::expression(text, &|name| register(&registers, name))
}

/// `print/FMT EXPR`.
pub(super) fn print(name: &str, rest: &[&str], context: &mut Context<'_>) -> Result<String, QmpError> {
    let (format, text) = format(name, rest)?;
    let value = value(&text, context.guest)?;
    Ok(match format.form {
        'o' => format!("{value:#o}\n").replacen("0o", "0", 1),
        'x' => format!("{value:#x}\n"),
        'u' => format!("{value}\n"),
        'c' => format!("{}\n", character(value as u8)),
        _ => format!("{}\n", value as i64),
    })
}

/// `x/FMT ADDR`: as the first vCPU sees memory; and `xp/FMT ADDR`: guest-physical memory.
pub(super) fn dump(name: &str, rest: &[&str], context: &mut Context<'_>) -> Result<String, QmpError> {
    let virtual_ = !name.starts_with("xp");
    let (format, text) = format(name, rest)?;
    if text.is_empty() {
        return Err(QmpError::generic(format!("{}: expected an address", if virtual_ { "x" } else { "xp" })));
    }
    let start = value(&text, context.guest)?;
    let vcpu = virtual_.then_some(0);
    if format.form == 'i' {
        return disassemble(start, format.count, vcpu, context.guest);
    }
    let bytes = format.count.checked_mul(format.size as u64).filter(|bytes| *bytes <= MOST);
    let bytes = bytes.ok_or_else(|| QmpError::generic(format!("at most {MOST} bytes are shown at once")))?;
    let line = if format.size == 1 { 8 } else { 16 };
    let mut text = String::new();
    let mut at = 0;
    while at < bytes {
        let address = start.wrapping_add(at);
        let _ = write!(text, "{address:016x}:");
        let len = line.min(bytes - at);
        let data = context.guest.peek(vcpu, address, len as usize)?;
        if data.len() < len as usize {
            text += " Cannot access memory\n";
            break;
        }
        for item in data.chunks(format.size) {
            let mut value = [0; 8];
            value[..item.len()].copy_from_slice(item);
            text.push(' ');
            text += &shown(u64::from_le_bytes(value), format);
        }
        text.push('\n');
        at += len;
    }
    Ok(text)
}

fn shown(value: u64, format: Format) -> String {
    let bits = format.size * 8;
    let signed = (value as i64) << (64 - bits) >> (64 - bits);
    match format.form {
        'o' => format!("{:>width$}", format!("0{value:o}"), width = bits.div_ceil(3)),
        'u' => format!("{value:>width$}", width = (bits * 10).div_ceil(33)),
        'd' => format!("{signed:>width$}", width = (bits * 10).div_ceil(33)),
        'c' => character(value as u8),
        _ => format!("0x{value:0width$x}", width = bits / 4),
    }
}

/// A character in quotes, as C writes it.
fn character(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".into(),
        b'\\' => "'\\\\'".into(),
        b'\n' => "'\\n'".into(),
        b'\r' => "'\\r'".into(),
        0x20..0x7f => format!("'{}'", char::from(byte)),
        _ => format!("'\\x{byte:02x}'"),
    }
}

fn disassemble(start: u64, count: u64, vcpu: Option<u32>, guest: &mut dyn Guest) -> Result<String, QmpError> {
    let count = count.min(MOST / INSTRUCTION as u64);
    let code = guest.registers(0)?.code;
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_hex_prefix("0x");
    formatter.options_mut().set_hex_suffix("");
    formatter.options_mut().set_uppercase_hex(false);
    let (mut text, mut at) = (String::new(), start);
    for _ in 0..count {
        let bytes = guest.peek(vcpu, at, INSTRUCTION)?;
        if bytes.is_empty() {
            let _ = writeln!(text, "0x{at:08x}:  Cannot access memory");
            break;
        }
        let mut decoder = Decoder::with_ip(code.into(), &bytes, at, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let len = instruction.len().clamp(1, bytes.len());
        let raw: String = bytes[..len].iter().map(|byte| format!("{byte:02x} ")).collect();
        let mut words = String::new();
        if instruction.is_invalid() {
            words += "(bad)"
        } else {
            formatter.format(&instruction, &mut words)
        }
        let _ = writeln!(text, "0x{at:08x}:  {raw:<24} {words}");
        at = at.wrapping_add(len as u64);
    }
    Ok(text)
}

/// `info registers [-a] [VCPU]`.
pub(super) fn registers(rest: &[&str], context: &mut Context<'_>) -> Result<String, QmpError> {
    let guest = &mut *context.guest;
    let vcpus: Vec<u32> = match rest {
        [] => vec![0],
        ["-a"] => guest.cpus().iter().filter(|cpu| cpu.present).map(|cpu| cpu.index).collect(),
        [number] => vec![number.parse().map_err(|_| QmpError::generic("CPU#NUMBER is not valid"))?],
        _ => return Err(QmpError::generic("info registers: expected [-a] [VCPU]")),
    };
    let mut text = String::new();
    for vcpu in vcpus {
        let registers = guest.registers(vcpu)?;
        // Writing to a string does not fail.
        let _ = write!(text, "\nCPU#{vcpu}\n");
        let _ = one(&registers, &mut text);
    }
    Ok(text)
}

/// All of a vCPU's registers.
fn one(registers: &Registers, text: &mut String) -> std::fmt::Result {
    let Registers { general, rip, rflags, cpl, code, halted, a20, segments, control, debug, .. } = registers;
    let wide = *code == 64;
    let digits = if wide { 16 } else { 8 };
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    // In the order of QEMU's lines.
    let order: &[(&str, usize)] = &[
        ("AX", 0),
        ("BX", 3),
        ("CX", 1),
        ("DX", 2),
        ("SI", 6),
        ("DI", 7),
        ("BP", 5),
        ("SP", 4),
        ("8 ", 8),
        ("9 ", 9),
        ("10", 10),
        ("11", 11),
        ("12", 12),
        ("13", 13),
        ("14", 14),
        ("15", 15),
    ];
    let letter = if wide { 'R' } else { 'E' };
    for (index, (name, at)) in order.iter().take(if wide { 16 } else { 8 }).enumerate() {
        let end = if index % 4 == 3 { '\n' } else { ' ' };
        write!(text, "{letter}{name}={:0digits$x}{end}", cut(general[*at]))?;
    }
    let flags: String = [(11, 'O'), (7, 'S'), (6, 'Z'), (4, 'A'), (2, 'P'), (0, 'C')]
        .iter()
        .map(|(bit, letter)| if rflags >> bit & 1 != 0 { *letter } else { '-' })
        .collect();
    let direction = if rflags >> 10 & 1 != 0 { 'D' } else { '-' };
    let (ip, fl) = if wide { ("RIP", "RFL") } else { ("EIP", "EFL") };
    write!(text, "{ip}={:0digits$x} {fl}={rflags:08x} [{direction}{flags}] CPL={cpl} II=0 ", cut(*rip))?;
    writeln!(text, "A20={} SMM=0 HLT={}", u8::from(*a20), u8::from(*halted))?;
    for (name, segment) in ["ES", "CS", "SS", "DS", "FS", "GS"].iter().zip(segments) {
        writeln!(text, "{name} ={}", shown_segment(segment, digits))?;
    }
    writeln!(text, "LDT={}", shown_segment(&registers.ldt, digits))?;
    writeln!(text, "TR ={}", shown_segment(&registers.tr, digits))?;
    for (name, (base, limit)) in [("GDT", registers.gdt), ("IDT", registers.idt)] {
        writeln!(text, "{name}=     {:0digits$x} {limit:08x}", cut(base))?;
    }
    let [cr0, cr2, cr3, cr4] = control;
    writeln!(text, "CR0={cr0:08x} CR2={cr2:0digits$x} CR3={cr3:0digits$x} CR4={cr4:08x}")?;
    let [dr0, dr1, dr2, dr3, dr6, dr7] = debug;
    writeln!(text, "DR0={dr0:016x} DR1={dr1:016x} DR2={dr2:016x} DR3={dr3:016x} ")?;
    writeln!(text, "DR6={dr6:016x} DR7={dr7:016x}")?;
    writeln!(text, "EFER={:016x}", registers.efer)?;
    let (fcw, fsw, tags) = registers.x87;
    let top = fsw >> 11 & 7;
    writeln!(text, "FCW={fcw:04x} FSW={fsw:04x} [ST={top}] FTW={tags:02x} MXCSR={:08x}", registers.mxcsr)?;
    for (index, xmm) in registers.xmm.iter().take(if wide { 16 } else { 8 }).enumerate() {
        let end = if index % 2 == 1 { '\n' } else { ' ' };
        write!(text, "XMM{index:02}={xmm:032x}{end}")?;
    }
    Ok(())
}

fn shown_segment(segment: &SegmentRegister, digits: usize) -> String {
    let SegmentRegister { selector, base, limit, attributes } = segment;
    format!("{selector:04x} {base:0digits$x} {limit:08x} {attributes:08x}")
}

#[cfg(test)]
mod tests {
    use super::super::super::commands::tests::Bench;

    fn say(line: &str) -> String {
        Bench::default().human(line).replace("\r\n", "\n")
    }

    #[test]
    fn memory_is_shown_in_every_form() {
        for (line, shown) in [
            ("xp 0x1000", "0000000000001000: 0x03020100\n"),
            ("xp/2xg 0x1000", "0000000000001000: 0x0706050403020100 0x0f0e0d0c0b0a0908\n"),
            ("xp /3xh 0x1000", "0000000000001000: 0x0100 0x0302 0x0504\n"),
            ("x /3ub 4096", "0000000000001000:   0   1   2\n"),
            ("xp/2db 0x10fe", "00000000000010fe:  -2  -1\n"),
            ("xp/ob 0x10ff", "00000000000010ff: 0377\n"),
            ("xp/3c 0x1060", "0000000000001060: '`' 'a' 'b'\n"),
            ("xp/2c 0x100a", "000000000000100a: '\\n' '\\x0b'\n"),
            (
                "xp/9xb 0x1000",
                "0000000000001000: 0x00 0x01 0x02 0x03 0x04 0x05 0x06 0x07\n0000000000001008: 0x08\n",
            ),
            ("xp/2xg 0x10f8", "00000000000010f8: Cannot access memory\n"),
            ("x/xw $rsp + 4", "0000000000001008: 0x0b0a0908\n"),
            ("x", "Error: x: expected an address\n"),
            ("xp/z 0", "Error: invalid char in format: 'z'\n"),
            ("xp/99999999g 0", "Error: at most 65536 bytes are shown at once\n"),
            ("xp/99999999999999999999x 0", "Error: '99999999999999999999x' counts too much\n"),
        ] {
            assert_eq!(say(line), shown, "{line}");
        }
    }

    #[test]
    fn code_is_disassembled() {
        assert_eq!(
            say("x/2i $pc"),
            "0x00001001:  01 02                    add [rdx],eax\n\
             0x00001003:  03 04 05 06 07 08 09     add eax,[rax*1+0x9080706]\n"
        );
        assert!(say("x/999i 0x10f9").ends_with("Cannot access memory\n"));
    }

    #[test]
    fn expressions_know_the_registers() {
        for (line, shown) in [
            ("print $rip", "0x1001\n"),
            ("p/d $rax", "-1\n"),
            ("p /o 8", "010\n"),
            ("p/c 65", "'A'\n"),
            ("print/u $r15 + $cs.limit", "65550\n"),
            ("print $rzz", "Error: unknown register\n"),
            ("print $r7", "Error: unknown register\n"),
        ] {
            assert_eq!(say(line), shown, "{line}");
        }
    }

    #[test]
    fn registers_are_shown_as_qemu_shows_them() {
        let text = say("info registers");
        for line in [
            "\nCPU#0\nRAX=ffffffffffffffff RBX=0000000000000003 RCX=0000000000000001 RDX=0000000000000002\n",
            "\nR12=000000000000000c R13=000000000000000d R14=000000000000000e R15=000000000000000f\n",
            "\nRIP=0000000000001001 RFL=00000046 [---Z-P-] CPL=3 II=0 A20=0 SMM=0 HLT=1\n",
            "\nCS =0010 0000000000000000 0000ffff 00009b00\n",
            "\nXMM00=00000000000000000000000000000000 XMM01=00000000000000000000000000000001\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert_eq!(say("info registers 7"), "Error: CPU#NUMBER is not valid\n");
        assert_eq!(say("info registers -a").matches("CPU#").count(), 1);
        assert!(say("info registers x y").starts_with("Error: info registers"));
    }
}
