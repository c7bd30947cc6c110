//! The opcodes of the integer set, by family.

use super::cases::Family;
use iced_x86::{Code, CpuidFeature, FlowControl, Instruction, Mnemonic};

fn one(range: std::ops::RangeInclusive<u8>) -> Vec<Vec<u8>> {
    range.map(|b| vec![b]).collect()
}

fn two(list: &[u8]) -> Vec<Vec<u8>> {
    list.iter().map(|&b| vec![0x0f, b]).collect()
}

fn any(_: &Instruction) -> bool {
    true
}

/// A prefix of 66 makes POP and PUSH of 16 bits; both vendors agree.
fn plain(i: &Instruction) -> bool {
    i.flow_control() == FlowControl::Next
}

fn not_segments(i: &Instruction) -> bool {
    (0..i.op_count()).all(|k| !i.op_register(k).is_segment_register())
}

fn baseline(i: &Instruction) -> bool {
    // BMI and later: a core without them takes the prefix for nothing.
    !matches!(i.mnemonic(), Mnemonic::Tzcnt | Mnemonic::Lzcnt)
        && i.cpuid_features()
            .iter()
            .all(|f| !matches!(f, CpuidFeature::MPX | CpuidFeature::CET_SS | CpuidFeature::XSAVE))
}

fn stack(i: &Instruction) -> bool {
    // Nesting levels read frame pointers from the area at RBP, which has room for them.
    not_segments(i)
        && plain(i)
        && !matches!(i.code(), Code::Pushfw | Code::Pushfq | Code::Popfw | Code::Popfq)
}

fn near_transfer(i: &Instruction) -> bool {
    !plain(i) && !i.is_jmp_far_indirect() && !i.is_call_far_indirect()
}

/// The families that 32-bit code has too, and what only it has.
pub fn legacy() -> Vec<Family> {
    let mut families = long();
    for f in &mut families {
        f.bits = 32;
        // 40 to 4F are INC and DEC here, not prefixes; 63 is ARPL.
        f.opcodes.retain(|o| o != &[0x63]);
    }
    let bcd = [0x27, 0x2f, 0x37, 0x3f, 0xd4, 0xd5].map(|b| vec![b]).to_vec();
    families.push(Family { name: "bcd", bits: 32, opcodes: bcd, prefixes: &[], want: any });
    families.push(Family { name: "short", bits: 32, opcodes: one(0x40..=0x4f), prefixes: &[], want: any });
    let all = vec![vec![0x60], vec![0x61]];
    families.push(Family { name: "all", bits: 32, opcodes: all, prefixes: &[], want: any });
    families.push(Family {
        name: "bound",
        bits: 32,
        opcodes: vec![vec![0x62]],
        prefixes: &[],
        want: |i| i.mnemonic() == Mnemonic::Bound,
    });
    families
}

/// The families of 64-bit code.
pub fn long() -> Vec<Family> {
    let alu = (0..8u8).flat_map(|n| (0..6).map(move |k| vec![n * 8 + k])).chain(one(0x80..=0x85)).collect();
    let sign = [one(0x98..=0x99), vec![vec![0x63]], two(&[0xb6, 0xb7, 0xbe, 0xbf])].concat();
    let mov =
        [one(0x86..=0x8b), one(0xa0..=0xa3), one(0xb0..=0xbf), one(0xc6..=0xc7), vec![vec![0x8d]]].concat();
    let cond: Vec<u8> = (0x40..=0x4f).chain(0x90..=0x9f).collect();
    let movbe = vec![vec![0x0f, 0x38, 0xf0], vec![0x0f, 0x38, 0xf1]];
    let jumps = [
        one(0x70..=0x7f),
        one(0xe0..=0xe3),
        vec![vec![0xe8], vec![0xe9], vec![0xeb], vec![0xc3], vec![0xc2]],
    ];
    let arithmetic = (0..7u8).flat_map(|n| (0..2).map(move |k| vec![n * 8 + k]));
    let locked = [
        arithmetic.collect(),
        one(0x80..=0x83),
        one(0xf6..=0xf7),
        one(0xfe..=0xff),
        one(0x86..=0x87),
        two(&[0xab, 0xb0, 0xb1, 0xb3, 0xba, 0xbb, 0xc0, 0xc1, 0xc7]),
    ]
    .concat();
    let near: Vec<u8> = (0x80..=0x8f).collect();
    const NONE: &[&[u8]] = &[];
    const STRING: &[&[u8]] = &[&[], &[0xf3], &[0xf2]];
    let family = |name, opcodes, prefixes, want| Family { name, bits: 64, opcodes, prefixes, want };
    vec![
        family("alu", alu, NONE, any),
        family("unary", [one(0xf6..=0xf7), one(0xfe..=0xff)].concat(), NONE, plain),
        family(
            "shift",
            [one(0xc0..=0xc1), one(0xd0..=0xd3), two(&[0xa4, 0xa5, 0xac, 0xad])].concat(),
            NONE,
            any,
        ),
        family(
            "multiply",
            [one(0xf6..=0xf7), vec![vec![0x69], vec![0x6b]], two(&[0xaf])].concat(),
            NONE,
            plain,
        ),
        family("extend", sign, NONE, any),
        family("mov", mov, NONE, |i| {
            not_segments(i) && !matches!(i.mnemonic(), Mnemonic::Xabort | Mnemonic::Xbegin)
        }),
        family("conditional", two(&cond), NONE, any),
        family("bits", two(&[0xa3, 0xab, 0xb3, 0xba, 0xbb, 0xbc, 0xbd]), NONE, any),
        family("popcnt", two(&[0xb8]), &[&[0xf3]], any),
        family("crc32", movbe.clone(), &[&[0xf2]], any),
        family("movbe", movbe, NONE, any),
        family("swap", two(&[0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xc3]), NONE, any),
        family("atomic", two(&[0xb0, 0xb1, 0xc0, 0xc1, 0xc7]), NONE, |i| {
            matches!(
                i.mnemonic(),
                Mnemonic::Cmpxchg | Mnemonic::Xadd | Mnemonic::Cmpxchg8b | Mnemonic::Cmpxchg16b
            )
        }),
        family(
            "flags",
            vec![vec![0x9e], vec![0x9f], vec![0xf5], vec![0xf8], vec![0xf9], vec![0xfc], vec![0xfd]],
            NONE,
            any,
        ),
        family("nothing", two(&[0x0d, 0x18, 0x1f, 0xae]), NONE, |i| {
            baseline(i)
                && matches!(
                    i.mnemonic(),
                    Mnemonic::Nop
                        | Mnemonic::Mfence
                        | Mnemonic::Lfence
                        | Mnemonic::Sfence
                        | Mnemonic::Prefetchw
                        | Mnemonic::Prefetcht0
                        | Mnemonic::Prefetchnta
                )
        }),
        family("xlat", vec![vec![0xd7]], NONE, any),
        family(
            "stack",
            [one(0x50..=0x5f), vec![vec![0x68], vec![0x6a], vec![0x8f], vec![0xff]]].concat(),
            NONE,
            stack,
        ),
        family("frame", vec![vec![0xc8], vec![0xc9]], NONE, stack),
        family("branch", [jumps.concat(), two(&near), vec![vec![0xff]]].concat(), NONE, near_transfer),
        family("string", [one(0xa4..=0xa7), one(0xaa..=0xaf)].concat(), STRING, any),
    ]
}
