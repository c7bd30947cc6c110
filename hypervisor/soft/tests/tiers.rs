//! Random blocks in tier 1 and in tier 2: the same registers, flags, memory and count of instructions at every stop.
//!
//! A case is a loop of up to 30 random instructions with branches over some of them. What points to memory points to a
//! few pages, one of which is missing, so that instructions fault in the middle, and cross pages. `CASES` in the
//! environment sets the number of cases a family, `SEED` where they start.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[allow(dead_code, reason = "the host's own run is the other tests'")]
mod native;

use std::sync::atomic::{AtomicU64, Ordering};

use hypervisor_soft::CpuModel;
use hypervisor_soft::bare::{Bare, End, Regs};
use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, EncodingKind, FlowControl, Instruction, InstructionInfoFactory,
    Mnemonic, OpAccess, Register,
};
use native::cases::{Family, Random};
use native::{families, number};

const CODE: u64 = 0x2000_0000;
/// Where a block begins: often so that it crosses into the next page.
const START: u64 = CODE + 0xf80;
const DATA: u64 = 0x3000_0000;
const DATA_LEN: u64 = 0x4000;
/// Pages of data that are there, with a hole behind them.
const MORE: u64 = DATA + 0x6000;
/// `jmp $`: where all end.
const HERE: [u8; 2] = [0xeb, 0xfe];

/// Registers that point to data and that no instruction writes: some of them live in host registers, some in memory.
const POINTERS: [usize; 5] = [3, 4, 6, 8, 14];
/// The same in 32-bit code.
const POINTERS32: [usize; 4] = [3, 4, 5, 6];
/// The count of the loop.
const TURNS: usize = 9;
/// Where it is in 32-bit code.
const TURNS32: u64 = MORE + 0xff0;

fn bare(bits: u32, tier2: bool) -> Bare {
    let mut bare = Bare::new(bits as u8, &[(CODE, 0x2000), (DATA, DATA_LEN), (MORE, 0x1000)]).unwrap();
    bare.set_cpu(CpuModel::parse("max").unwrap().0);
    if tier2 {
        bare.translate(1).unwrap();
    }
    bare
}

fn pointers(bits: u32) -> &'static [usize] {
    if bits == 64 { &POINTERS } else { &POINTERS32 }
}

/// ModRM and what follows it, for a register or a place near a pointer.
fn modrm(rng: &mut Random, bits: u32, rex: &mut u8) -> Vec<u8> {
    let reg = (rng.below(8) as u8) << 3;
    if rng.below(3) == 0 {
        return vec![0xc0 | reg | rng.below(8) as u8];
    }
    if bits == 32 && rng.below(12) == 0 {
        // An address alone.
        let at = DATA as u32 + 0x1000 + rng.below(0x1000) as u32;
        return [&[5 | reg][..], &at.to_le_bytes()].concat();
    }
    let pointers = pointers(bits);
    let base = pointers[rng.below(pointers.len() as u64) as usize] as u8;
    let index = if bits == 64 { 5 } else { 1 };
    *rex = *rex & !1 | base >> 3;
    let disp = match rng.below(50) {
        // The end of the page, the hole behind the last one, and the next page.
        0 => 0x0ff0 + rng.below(16) as i32,
        1 => 0x3ff0 + rng.below(16) as i32,
        2 => 0x2000,
        // Aligned mostly, as SSE wants it.
        3..14 => rng.below(0x100) as i32 - 0x80,
        _ => ((rng.below(0x10) as i32) << 4) - 0x80,
    };
    let mut bytes = if base & 7 == 4 {
        vec![0x84 | reg, 0x20 | base & 7]
    } else if rng.below(4) == 0 {
        // With an index that is mostly small.
        vec![0x84 | reg, (rng.below(4) as u8) << 6 | index << 3 | base & 7]
    } else {
        vec![0x80 | reg | base & 7]
    };
    bytes.extend_from_slice(&disp.to_le_bytes());
    bytes
}

/// SSE and SSE2 on XMM registers, floating point among it.
fn vectors() -> Family {
    let second = [0x10, 0x11, 0x28, 0x29, 0x2a, 0x2e, 0x50, 0x51, 0xc4, 0xc5, 0xc6, 0xd6].into_iter();
    let all = second.chain(0x12..=0x17).chain(0x54..=0x76).chain(0x7e..=0x7f).chain(0xd1..=0xfe);
    Family {
        name: "vectors",
        bits: 64,
        opcodes: all.map(|b| vec![0x0f, b]).collect(),
        prefixes: &[&[], &[0x66], &[0x66], &[0xf2], &[0xf3]],
        want: |i| {
            let xmm = |n| i.op_register(n).is_xmm();
            let mmx = |n| i.op_register(n).is_mm();
            let sse = i.cpuid_features().iter().all(|f| matches!(f, CpuidFeature::SSE | CpuidFeature::SSE2));
            sse && (0..i.op_count()).any(xmm) && !(0..i.op_count()).any(mmx)
        },
        branch: false,
    }
}

/// Floating point in XMM registers, conversions, comparisons, and MXCSR itself.
fn floats() -> Family {
    let second = [0x10, 0x11, 0x28, 0x2a, 0x2c, 0x2d, 0x2e, 0x2f, 0xae, 0xc2, 0xd0, 0xe6].into_iter();
    let third = [0x08, 0x09, 0x0a, 0x0b].map(|b| vec![0x0f, 0x3a, b]);
    Family {
        name: "floats",
        bits: 64,
        opcodes: second.chain(0x50..=0x5f).chain(0x7c..=0x7d).map(|b| vec![0x0f, b]).chain(third).collect(),
        prefixes: &[&[], &[0x66], &[0xf2], &[0xf3]],
        want: |i| {
            let xmm = |n| i.op_register(n).is_xmm();
            let mmx = |n| i.op_register(n).is_mm();
            let mxcsr = matches!(i.mnemonic(), Mnemonic::Ldmxcsr | Mnemonic::Stmxcsr);
            ((0..i.op_count()).any(xmm) || mxcsr) && !(0..i.op_count()).any(mmx)
        },
        branch: false,
    }
}

/// What SSE3 to SSE4.2 brought for integers in XMM registers, and AES, PCLMULQDQ and SHA.
fn extensions() -> Family {
    let second = [0x12, 0x16, 0xf0].map(|b| vec![0x0f, b]);
    let third = |map: u8, ops: Vec<u8>| ops.into_iter().map(move |b| vec![0x0f, map, b]);
    let of_38 = (0x00..=0x0b).chain(0x10..=0x17).chain(0x1c..=0x1e).chain(0x20..=0x41).chain(0xc8..=0xdf);
    let of_3a = (0x0c..=0x17).chain(0x20..=0x22).chain(0x40..=0x44).chain([0x62, 0x63, 0xcc, 0xdf]);
    Family {
        name: "extensions",
        bits: 64,
        opcodes: third(0x38, of_38.collect()).chain(third(0x3a, of_3a.collect())).chain(second).collect(),
        prefixes: &[&[0x66], &[0x66], &[0xf2], &[0xf3], &[]],
        want: |i| {
            let xmm = |n| i.op_register(n).is_xmm();
            (0..i.op_count()).any(xmm) && !(0..i.op_count()).any(|n| i.op_register(n).is_mm())
        },
        branch: false,
    }
}

/// The family that tier 2 leaves to tier 1's handlers.
const LEFT: &str = "wide vectors";

/// AVX, AVX2, FMA and F16C.
fn wide_vectors() -> Family {
    let mut opcodes = Vec::new();
    for (map, from, to) in [(1, 0x10, 0x17), (1, 0x50, 0x7f), (1, 0xc2, 0xfe), (2, 0, 0xbf), (3, 0, 0x4c)] {
        for opcode in from..=to {
            for w_vvvv_l_prefix in [0x78, 0x79, 0x7d, 0x7e, 0x7f, 0x41, 0x4d, 0xf9, 0xc9, 0xcd] {
                opcodes.push(vec![0xc4, 0xe0 | map, w_vvvv_l_prefix, opcode]);
            }
        }
    }
    Family {
        name: LEFT,
        bits: 64,
        opcodes,
        prefixes: &[],
        want: |i| {
            use CpuidFeature::{AES, AVX, AVX2, F16C, FMA, PCLMULQDQ};
            let known = |f: &CpuidFeature| matches!(*f, AVX | AVX2 | F16C | FMA | AES | PCLMULQDQ);
            i.encoding() == EncodingKind::VEX && i.cpuid_features().iter().all(known)
        },
        branch: false,
    }
}

struct Makers {
    bits: u32,
    info: InstructionInfoFactory,
    families: Vec<Family>,
}

impl Makers {
    fn new(bits: u32) -> Makers {
        let mut families = if bits == 64 { families::long() } else { families::legacy() };
        // The loop has branches of its own.
        families.retain(|f| f.name != "branch");
        families.extend([vectors(), floats(), extensions()]);
        if bits == 64 {
            families.push(wide_vectors());
        }
        Makers { bits, info: InstructionInfoFactory::new(), families }
    }

    fn named(&self, name: &str) -> usize {
        self.families.iter().position(|f| f.name == name).unwrap()
    }

    fn writes_pointer(&mut self, i: &Instruction) -> bool {
        let (bits, pointers) = (self.bits, pointers(self.bits));
        // It is meant to.
        if bits == 32 && i.mnemonic() == Mnemonic::Leave {
            return false;
        }
        let used = self.info.info(i).used_registers();
        used.iter().any(|u| {
            let r = u.register().full_register();
            let writes = !matches!(u.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None);
            let stack = r == Register::RSP && i.is_stack_instruction();
            r.is_gpr64()
                && writes
                && !stack
                && (pointers.contains(&r.number()) || bits == 64 && r.number() == TURNS)
        })
    }

    /// A random instruction of a family.
    fn one(&mut self, family: usize, rng: &mut Random) -> Vec<u8> {
        loop {
            let f = &self.families[family];
            let mut code = Vec::new();
            if rng.below(6) == 0 {
                code.push(0x66);
            }
            if self.bits == 32 && rng.below(8) == 0 {
                code.push([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x67][rng.below(7) as usize]);
            }
            if !f.prefixes.is_empty() {
                code.extend_from_slice(f.prefixes[rng.below(f.prefixes.len() as u64) as usize]);
            }
            let mut rex = 0x40 | rng.below(16) as u8;
            let tail = modrm(rng, self.bits, &mut rex);
            let mut opcode = f.opcodes[rng.below(f.opcodes.len() as u64) as usize].clone();
            if opcode[0] == 0xc4 {
                // The same bits, inverted, are in the prefix.
                opcode[1] = opcode[1] & 0x1f | !rex << 5;
            } else if self.bits == 64 && (rng.below(3) != 0 || rex & 1 != 0) {
                code.push(rex);
            }
            code.extend_from_slice(&opcode);
            code.extend_from_slice(&tail);
            for _ in 0..8 {
                code.push(rng.value() as u8);
            }
            let want = f.want;
            let insn = Decoder::with_ip(self.bits, &code, START, DecoderOptions::NONE).decode();
            let branches = insn.flow_control() != FlowControl::Next;
            if insn.is_invalid() || branches || !want(&insn) || self.writes_pointer(&insn) {
                continue;
            }
            if matches!(insn.mnemonic(), Mnemonic::Enter | Mnemonic::Leave) && rng.below(8) != 0 {
                continue;
            }
            code.truncate(insn.len());
            return code;
        }
    }

    /// A loop that begins at `start`.
    fn block(&mut self, rng: &mut Random, family: Option<usize>, start: u64) -> Vec<u8> {
        let count = 1 + rng.below(30);
        let mut code = Vec::new();
        for _ in 0..count {
            let which = family.unwrap_or_else(|| rng.below(self.families.len() as u64) as usize);
            // Many of them moves and arithmetic, so that flags are made and seen.
            let common = if family.is_some() { 3 } else { 2 };
            let which = if rng.below(common) == 0 { 0 } else { which };
            let next = self.one(which, rng);
            match rng.below(8) {
                0 => code.extend_from_slice(&[0x70 | rng.below(16) as u8, next.len() as u8]),
                1 => code.extend_from_slice(&[0x0f, 0x90 | rng.below(16) as u8, 0xc0 | rng.below(3) as u8]),
                2 if rng.below(2) == 0 => {
                    let at = start + code.len() as u64;
                    code.extend(transfer(rng, at as u32));
                }
                _ => {}
            }
            code.extend(next);
        }
        // DEC of the count; JNZ to the beginning.
        if self.bits == 64 {
            code.extend_from_slice(&[0x49, 0xff, 0xc9]);
        } else {
            code.extend_from_slice(&[0xff, 0x0d]);
            code.extend_from_slice(&(TURNS32 as u32).to_le_bytes());
        }
        let back = -(code.len() as i32 + 6);
        code.extend_from_slice(&[0x0f, 0x85]);
        code.extend_from_slice(&back.to_le_bytes());
        code.extend_from_slice(&HERE);
        code
    }
}

/// A way to the next instruction by CALL, RET or JMP, at an address that fits into 31 bits; the same code in both modes.
/// EAX and EDX are lost.
fn transfer(rng: &mut Random, at: u32) -> Vec<u8> {
    const POP: u8 = 0x5a;
    // What comes before the target's address, what behind it, and after how many bytes of that it lies.
    let (before, behind, target): (&[u8], &[u8], u32) = match rng.below(8) {
        // CALL, JMP.
        0 => return vec![0xe8, 0, 0, 0, 0, POP],
        1 => return vec![0xe9, 0, 0, 0, 0],
        // PUSH; RET.
        2 => (&[0x68], &[0xc3], 1),
        3 => (&[0x50, 0x68], &[0xc2, 4, 0], 3),
        // MOV EAX; JMP EAX or CALL EAX.
        4 => (&[0xb8], &[0xff, 0xe0], 2),
        5 => (&[0xb8], &[0xff, 0xd0, POP], 2),
        // PUSH; JMP or CALL through the stack.
        6 => (&[0x68], &[0xff, 0x24, 0x24, POP], 3),
        _ => (&[0x68], &[0xff, 0x14, 0x24, POP, POP], 3),
    };
    let to = at + before.len() as u32 + 4 + target;
    [before, &to.to_le_bytes(), behind].concat()
}

/// What segments a run of 32-bit code has.
fn segments(rng: &mut Random, bare: &mut [Bare; 2]) -> [(usize, u32, u32, u8); 5] {
    // Slot, base, limit, type: data that can be written, and read alone, or grows down, and code that can be read.
    let mut all = [
        (0, 0, u32::MAX, 3),
        (2, 0, u32::MAX, 3),
        (3, 0, u32::MAX, 3),
        (4, 0, u32::MAX, 3),
        (5, 0, u32::MAX, 3),
    ];
    for (slot, base, limit, kind) in &mut all {
        // SS and DS are mostly flat.
        if matches!(slot, 2 | 3) && rng.below(8) != 0 {
            continue;
        }
        *base = match rng.below(5) {
            0 | 1 => 0,
            2 => 0x1000,
            3 => 0xffff_f000,
            _ => rng.below(0x100) as u32,
        };
        *limit = match rng.below(4) {
            0 | 1 => u32::MAX,
            2 => DATA as u32 + 0x1000 + rng.below(0x1000) as u32,
            _ => DATA as u32 + 0x3fff,
        };
        *kind = match rng.below(8) {
            0 => 1,
            1 => 7,
            2 if *slot != 2 => 0xb,
            _ => 3,
        };
    }
    for bare in bare {
        all.iter().for_each(|(slot, base, limit, kind)| bare.set_segment(*slot, *base, *limit, *kind));
    }
    all
}

/// For 32-bit code: registers that it sees half of, and an index that wraps.
fn narrow(rng: &mut Random, regs: &mut Regs) {
    regs.gpr[5] = DATA + 0x1000 + (rng.below(0x100) << 4);
    regs.gpr[1] = if rng.below(4) == 0 { rng.below(24) } else { rng.below(4) << 4 };
    if rng.below(8) == 0 {
        regs.gpr[1] |= 0xc000_0000;
    }
    for r in &mut regs.gpr[..8] {
        *r = *r & 0xffff_ffff | if rng.below(2) == 0 { rng.bits() << 32 } else { 0 };
    }
}

fn registers(rng: &mut Random, start: u64) -> Regs {
    let mut regs = Regs { rip: start, flags: 2 | rng.bits() & 0x8d5, ..Regs::default() };
    for r in &mut regs.gpr {
        *r = rng.value();
    }
    for r in POINTERS {
        regs.gpr[r] = DATA + 0x1000 + (rng.below(0x100) << 4);
    }
    // The index, the length of strings and their places.
    regs.gpr[5] = if rng.below(4) == 0 { rng.below(64) } else { rng.below(4) << 4 };
    regs.gpr[1] = rng.below(24);
    regs.gpr[7] = DATA + 0x2000 + rng.below(0x800);
    regs.gpr[TURNS] = 1 + rng.below(4);
    regs
}

/// Sixteen bytes for an XMM register or memory: random, or numbers that meet each other, of all kinds that there are.
fn lanes(rng: &mut Random) -> u128 {
    let part = |rng: &mut Random, bits: u32, mantissa: u32| {
        let top = (1 << (bits - 1 - mantissa)) - 1;
        let exponent = match rng.below(8) {
            0 => 0,
            1 => top,
            2 => rng.below(top + 1),
            // Near enough to each other that sums round and products reach neither end; or the ends.
            3 => 1 + rng.below(3),
            4 => top - 1 - rng.below(3),
            _ => top / 2 - 8 + rng.below(40),
        };
        let low = rng.bits() & ((1 << mantissa) - 1);
        let low = match rng.below(4) {
            0 => 0,
            1 => low & low << (mantissa / 2),
            2 => 1 << rng.below(mantissa.into()),
            _ => low,
        } & ((1 << mantissa) - 1);
        (rng.bits() & 1) << (bits - 1) | exponent << mantissa | low
    };
    match rng.below(8) {
        0 if rng.below(2) == 0 => u128::from(rng.value()) | u128::from(rng.bits()) << 64,
        // Text with an end, for string comparisons.
        0 => u128::from_le_bytes(std::array::from_fn(|_| b"\0abcABC\xff"[rng.below(8) as usize])),
        // An MXCSR.
        1 => u128::from(mxcsr(rng)) | u128::from(mxcsr(rng)) << 64,
        2..5 => (0..4).fold(0, |all, _| all << 32 | u128::from(part(rng, 32, 23))),
        _ => (0..2).fold(0, |all, _| all << 64 | u128::from(part(rng, 64, 52))),
    }
}

/// An MXCSR: all modes of rounding, DAZ and FTZ, flags, and sometimes exceptions that are not masked.
fn mxcsr(rng: &mut Random) -> u32 {
    let masks = if rng.below(6) == 0 { rng.bits() as u32 | rng.bits() as u32 } else { u32::MAX } & 0x1f80;
    let modes = if rng.below(2) == 0 { 0 } else { rng.bits() as u32 & 0xe040 };
    let flags = if rng.below(2) == 0 { 0 } else { rng.bits() as u32 & 0x3f };
    masks | modes | flags
}

struct Stop {
    end: End,
    regs: Regs,
    count: u64,
    vectors: ([u128; 16], [u128; 16], u32),
}

/// Runs to the end in pieces; gives every stop.
fn run(bare: &mut Bare, regs: &Regs, pieces: &[u64], end: u64) -> Vec<Stop> {
    bare.set_regs(regs);
    let from = bare.instructions();
    let mut stops = Vec::new();
    for piece in pieces {
        let how = bare.run(*piece);
        let regs = bare.regs();
        let (count, vectors) = (bare.instructions() - from, bare.vectors());
        stops.push(Stop { end: how, regs, count, vectors });
        if how == End::Fault || regs.rip == end {
            break;
        }
    }
    stops
}

fn shown(stop: &Stop) -> String {
    format!(
        "{:?} after {}, rip {:#x}, flags {:#x}, {:x?}, vectors {:x?}",
        stop.end, stop.count, stop.regs.rip, stop.regs.flags, stop.regs.gpr, stop.vectors
    )
}

fn listing(bits: u32, code: &[u8], start: u64) -> String {
    Decoder::with_ip(bits, code, start, DecoderOptions::AMD)
        .iter()
        .map(|i| format!("  {:x} {i}\n", i.ip()))
        .collect()
}

/// What a run starts from.
struct Start {
    regs: Regs,
    pieces: Vec<u64>,
    data: Vec<u8>,
    vectors: ([u128; 16], [u128; 16], u32),
}

impl Start {
    fn new(rng: &mut Random, bits: u32, at: u64) -> Start {
        let mut regs = registers(rng, at);
        if bits == 32 {
            narrow(rng, &mut regs);
        }
        let pieces = (0..40).map(|_| 1 + rng.below(60)).collect();
        let mut data: Vec<u8> = (0..DATA_LEN / 8).flat_map(|_| rng.value().to_le_bytes()).collect();
        let [xmm, ymm] = [(); 2].map(|()| std::array::from_fn(|_| lanes(rng)));
        let mxcsr = mxcsr(rng);
        for place in data[0xf00..0x2100].as_chunks_mut::<16>().0 {
            *place = lanes(rng).to_le_bytes();
        }
        Start { regs, pieces, data, vectors: (xmm, ymm, mxcsr) }
    }

    /// Runs; gives every stop, and the data behind the last one.
    fn run(&self, bare: &mut Bare, end: u64) -> (Vec<Stop>, Vec<u8>) {
        let (xmm, ymm, mxcsr) = &self.vectors;
        bare.set_vectors(xmm, ymm, *mxcsr);
        bare.write(DATA, &self.data);
        bare.write(MORE, &self.data[..0x1000]);
        bare.write(TURNS32, &(self.regs.gpr[TURNS] as u32).to_le_bytes());
        let stops = run(bare, &self.regs, &self.pieces, end);
        let mut now = vec![0; DATA_LEN as usize];
        bare.read(DATA, &mut now);
        (stops, now)
    }
}

/// Runs in both tiers, which are to come to the same; gives the number of faults.
fn one_case(bare: &mut [Bare; 2], start: &Start, end: u64, what: &dyn Fn() -> String) -> u64 {
    let mut faults = 0;
    let [one, two] = bare.each_mut().map(|bare| start.run(bare, end));
    let what = || format!("{:x?}:\n{}", start.regs, what());
    let seen = |stops: &[Stop]| stops.iter().map(shown).collect::<Vec<_>>().join("\n");
    assert!(one.0.len() == two.0.len(), "stops; {}\n{}\n\n{}", what(), seen(&one.0), seen(&two.0));
    for (a, b) in one.0.iter().zip(&two.0) {
        faults += u64::from(a.end == End::Fault);
        assert!(
            a.end == b.end && a.regs == b.regs && a.count == b.count && a.vectors == b.vectors,
            "{}\ntier 1: {}\ntier 2: {}",
            what(),
            shown(a),
            shown(b)
        );
    }
    let differs = one.1.iter().zip(&two.1).position(|(a, b)| a != b);
    assert!(differs.is_none(), "memory at {differs:x?}; {}", what());
    faults
}

fn compare(bits: u32, cases: u64, seed: u64, family: Option<usize>) {
    let mut rng = Random::new(seed);
    let mut makers = Makers::new(bits);
    let mut bare = [bare(bits, false), bare(bits, true)];
    let mut faults = 0;
    for case in 0..cases {
        let at = START + rng.below(0x70);
        let code = makers.block(&mut rng, family, at);
        let end = at + code.len() as u64 - 2;
        if rng.below(3) == 0 {
            bare.iter_mut().for_each(Bare::flush);
        }
        bare.iter_mut().for_each(|bare| bare.write(at, &code));
        let what = || format!("seed {seed}, case {case}\n{}", listing(bits, &code, at));
        // The same code in other segments is other code.
        for _ in 0..if bits == 64 { 1 } else { 2 } {
            let segments = if bits == 32 { Some(segments(&mut rng, &mut bare)) } else { None };
            let start = Start::new(&mut rng, bits, at);
            faults += one_case(&mut bare, &start, end, &|| format!("{segments:x?}, {}", what()));
        }
    }
    let did = bare[1].translated().unwrap();
    println!("{cases} cases, {faults} faults, {did:?}");
    assert!(did.translated > cases / 2 && did.linked > 0, "{did:?}");
    let left = family.is_some_and(|n| makers.families[n].name == LEFT);
    assert!(left || did.interpreted * 2 < did.instructions, "{did:?}");
}

#[test]
fn random_blocks_are_the_same_in_both_tiers() {
    compare(64, number("CASES", 10_000), number("SEED", 1), None);
}

#[test]
fn random_blocks_of_32_bit_code_are_the_same_in_both_tiers() {
    compare(32, number("CASES", 10_000), number("SEED", 1), None);
}

fn compare_family(bits: u32, name: &str) {
    let family = Makers::new(bits).named(name);
    compare(bits, number("CASES", 10_000), number("SEED", 1), Some(family));
}

#[test]
fn random_blocks_of_sse_are_the_same_in_both_tiers() {
    compare_family(64, "vectors");
}

#[test]
fn random_blocks_of_floating_point_are_the_same_in_both_tiers() {
    compare_family(64, "floats");
}

#[test]
fn random_blocks_of_later_sse_are_the_same_in_both_tiers() {
    compare_family(64, "extensions");
}

#[test]
fn random_blocks_of_sse_in_32_bit_code_are_the_same_in_both_tiers() {
    for family in ["vectors", "floats", "extensions"] {
        let family = Makers::new(32).named(family);
        compare(32, number("CASES", 10_000) / 4, number("SEED", 1), Some(family));
    }
}

#[test]
fn random_blocks_of_avx_are_the_same_in_both_tiers() {
    compare_family(64, LEFT);
}

/// All cores at it, ten thousand cases a seed, so that one that fails is soon found again by its seed.
#[test]
#[ignore = "soak: ten million random blocks"]
fn soak_ten_million_random_blocks_are_the_same_in_both_tiers() {
    const PIECE: u64 = 10_000;
    let pieces = number("CASES", 10_000_000).div_ceil(PIECE);
    let first = number("SEED", 1000);
    let next = AtomicU64::new(0);
    const ALONE: [&str; 4] = ["vectors", "floats", "extensions", LEFT];
    let work = || {
        loop {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                return;
            }
            // Half of them of everything, by turns in 64- and 32-bit code, the other half of one kind of vectors each.
            let (turn, alone) = (piece / 2, !piece.is_multiple_of(2));
            let name = ALONE[(turn % 4) as usize];
            let bits = if (turn / 4).is_multiple_of(2) || alone && name == LEFT { 64 } else { 32 };
            let family = alone.then(|| Makers::new(bits).named(name));
            compare(bits, PIECE, first + piece, family);
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        (0..cores).for_each(|_| _ = scope.spawn(work));
    });
}
