//! What a person reads of a difference.

use std::fmt::Write;

use iced_x86::{Decoder, DecoderOptions};

use super::pair::{Difference, Line};

const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];
/// Most lines of what differs.
const MOST: usize = 64;

/// The value of a field of a line.
fn field<'a>(line: &'a Line, name: &str) -> Option<&'a str> {
    line.rest.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn number(line: &Line, name: &str) -> Option<u64> {
    let text = field(line, name)?;
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

/// The fields that differ, in their order: a name with both values. One that a line has not is empty.
fn differing<'a>(one: &'a Line, two: &'a Line) -> Vec<(&'a str, &'a str, &'a str)> {
    let fields = |line: &'a Line| line.rest.split(' ').filter_map(|word| word.split_once('='));
    let mut found = Vec::new();
    let theirs: std::collections::HashMap<_, _> = fields(two).collect();
    let ours: std::collections::HashMap<_, _> = fields(one).collect();
    for (name, value) in fields(one) {
        let other = theirs.get(name).copied().unwrap_or("");
        if other != value {
            found.push((name, value, other));
        }
    }
    found.extend(
        fields(two).filter(|(name, _)| !ours.contains_key(name)).map(|(name, value)| (name, "", value)),
    );
    // What is at RIP follows from RIP.
    found.retain(|(name, ..)| *name != "code");
    found
}

/// A field as people call it.
fn called(name: &str) -> String {
    let general = name.strip_prefix("gpr.").and_then(|number| number.parse::<usize>().ok());
    match general.and_then(|number| NAMES.get(number)) {
        Some(register) => (*register).to_owned(),
        None => name.replacen("page:", "RAM page ", 1).replacen("device:", "device ", 1),
    }
}

/// The instructions from RIP on, as many as were run.
fn listing(line: &Line, count: u64) -> String {
    let (Some(code), Some(rip)) = (field(line, "code"), number(line, "rip")) else { return String::new() };
    let bytes: Vec<u8> =
        (0..code.len() / 2).filter_map(|at| u8::from_str_radix(&code[2 * at..2 * at + 2], 16).ok()).collect();
    let bits = number(line, "bits").unwrap_or(64) as u32;
    let mut text = String::new();
    for (at, instruction) in (1..=count).zip(&mut Decoder::with_ip(bits, &bytes, rip, DecoderOptions::AMD)) {
        let mark = if at == count { "->" } else { "  " };
        let _ = writeln!(text, "  {mark} {:#x}  {instruction}", instruction.ip());
    }
    text
}

fn registers(line: &Line) -> String {
    let mut text = String::new();
    for (at, name) in NAMES.iter().enumerate() {
        let value = number(line, &format!("gpr.{at}")).unwrap_or(0);
        let _ = write!(text, "{name:>4} {value:016x}{}", if at % 4 == 3 { "\n" } else { "" });
    }
    let [rip, flags] = ["rip", "rflags"].map(|name| number(line, name).unwrap_or(0));
    let _ = writeln!(text, " rip {rip:016x} rflags {flags:#x}");
    text
}

/// The whole of it. With `count` it is behind so many instructions of the block.
pub fn text(found: &Difference, count: Option<u64>) -> String {
    let mut text = String::new();
    let last = found.last();
    let _ = match count {
        Some(_) => writeln!(text, "different behind {last}:"),
        None => writeln!(text, "different behind {last}, but not where its block is cut:"),
    };
    if let Some(before) = &found.before {
        let run = last.count.saturating_sub(before.count).clamp(1, 48);
        text += &listing(before, count.unwrap_or(run));
        let _ = writeln!(text, "before, both:\n{}", registers(before));
    }
    let [Some(one), Some(two)] = &found.behind else {
        text += "the other run had ended\n";
        return text;
    };
    let _ = writeln!(text, "after, interpreted:\n{}after, translated:\n{}", registers(one), registers(two));
    if (one.vcpu, one.count, one.time) != (two.vcpu, two.count, two.time) {
        let _ = writeln!(text, "interpreted: {one}; translated: {two}");
    }
    let all = differing(one, two);
    for (name, one, two) in all.iter().take(MOST) {
        let _ = writeln!(text, "  {:<24} {one:>20} {two:>20}", called(name));
    }
    if all.len() > MOST {
        let _ = writeln!(text, "  and {} more", all.len() - MOST);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(count: u64, rest: &str) -> Line {
        Line { vcpu: 0, count, time: count, rest: format!("aa bb cc bits=64 {rest}") }
    }

    #[test]
    fn a_difference_is_told_with_the_instruction_and_the_registers() {
        let before = line(7, "code=4801d890 gpr.0=0x1 gpr.3=0x2 rip=0x1000 rflags=0x2");
        let one = line(8, "code=90 gpr.0=0x3 gpr.3=0x2 rip=0x1003 rflags=0x6 page:0x2000=ab");
        let two = line(8, "code=90 gpr.0=0x4 gpr.3=0x2 rip=0x1003 rflags=0x6");
        let found = Difference { before: Some(before), behind: [Some(one), Some(two)] };
        let said = text(&found, Some(1));
        for part in
            ["instruction 8", "-> 0x1000  add rax,rbx", "rax                                       0x3"]
        {
            assert!(said.contains(part), "{part} is not in\n{said}");
        }
        assert!(said.contains("RAM page 0x2000") && !said.contains("rbx      "), "{said}");
    }
}
