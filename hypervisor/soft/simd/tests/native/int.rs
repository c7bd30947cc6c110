//! Integer lanes, shifts, packing and shuffling, CRC32.

use crate::host::{Random, every_imm, host};
use crate::{from_xmm, to_xmm};
use simd::int::mmx as int_mmx;
use simd::pack::mmx as pack_mmx;
use simd::shift::mmx as shift_mmx;
use simd::{crc, int, pack, shift};
use std::arch::asm;

const ROUNDS: usize = 20_000;
const IMM_ROUNDS: usize = 200;

fn pair(rng: &mut Random) -> (u128, u128) {
    rng.pair()
}

fn narrow_pair(rng: &mut Random) -> (u64, u64) {
    let (a, b) = rng.pair();
    (a as u64, b as u64)
}

/// A register and a shift count: small, about a lane's width, or anything.
fn counted(rng: &mut Random) -> (u128, u128) {
    let (a, high) = (rng.register(), rng.wide() << 64);
    let count = match rng.below(4) {
        0 => u128::from(rng.next()),
        1 => high | u128::from(rng.below(72)),
        2 => high | 1 << rng.below(64),
        _ => u128::from(rng.below(72)),
    };
    (a, count)
}

fn narrow_counted(rng: &mut Random) -> (u64, u64) {
    let (a, b) = counted(rng);
    (a as u64, b as u64)
}

/// Instructions of two registers, our functions of a module named after them.
macro_rules! binary {
    ($kind:ident, $module:ident, $operands:ident: $($op:ident)+) => {
        let mut rng = Random::new();
        $(
            let host = host!($kind $kind: $op);
            for _ in 0..ROUNDS {
                let (a, b) = $operands(&mut rng);
                assert_eq!($module::$op(a, b), host(a, b), "{} {a:#x} {b:#x} seed {}", stringify!($op), rng.seed);
            }
        )+
    };
}

/// Instructions that only read the source; `$ours` may be another name.
macro_rules! unary {
    ($kind:ident, $module:ident, $operands:ident: $($op:ident)+) => {
        let mut rng = Random::new();
        $(
            let host = host!($kind $kind: $op);
            for _ in 0..ROUNDS {
                let (a, b) = $operands(&mut rng);
                assert_eq!($module::$op(b), host(a, b), "{} {b:#x} seed {}", stringify!($op), rng.seed);
            }
        )+
    };
}

/// Each instruction with each immediate; the two closures call the host and us.
macro_rules! immediate {
    ($operands:ident, $kind:tt: $($op:ident $(as $size:literal)?, $ours:expr;)+) => {
        let mut rng = Random::new();
        $(
            let hosts = host!($kind: $op $(, $size)?);
            for imm in 0..=255u8 {
                for _ in 0..IMM_ROUNDS {
                    let operands = $operands(&mut rng);
                    let call: fn(_, u8) -> _ = $ours;
                    assert_eq!(
                        call(operands, imm),
                        immediate!(@ hosts[usize::from(imm)], operands, $kind),
                        "{} {operands:x?} {imm:#x} seed {}", stringify!($op), rng.seed
                    );
                }
            }
        )+
    };
    (@ $host:expr, $v:ident, [xmm imm]) => { $host($v.0) };
    (@ $host:expr, $v:ident, [mm imm]) => { $host($v.0) };
    (@ $host:expr, $v:ident, [gpr xmm imm]) => { $host($v.1) };
    (@ $host:expr, $v:ident, [xmm gpr imm]) => { $host($v.0, $v.1 as u64) };
    (@ $host:expr, $v:ident, [$($kind:ident)+]) => { $host($v.0, $v.1) };
}

#[test]
fn lanes() {
    binary!(xmm, int, pair:
        paddb paddw paddd paddq paddsb paddsw paddusb paddusw psubb psubw psubd psubq psubsb psubsw psubusb psubusw
        pmullw pmulhw pmulhuw pmulhrsw pmuludq pmuldq pmulld pmaddwd pmaddubsw pavgb pavgw psadbw
        pminub pmaxub pminsw pmaxsw pminsb pmaxsb pminuw pmaxuw pminsd pmaxsd pminud pmaxud
        pcmpeqb pcmpeqw pcmpeqd pcmpeqq pcmpgtb pcmpgtw pcmpgtd pcmpgtq pand pandn por pxor
        psignb psignw psignd phaddw phaddd phaddsw phsubw phsubd phsubsw);
    unary!(xmm, int, pair: pabsb pabsw pabsd phminposuw);
    immediate!(pair, [xmm xmm imm]: mpsadbw, |(a, b), imm| int::mpsadbw(a, b, imm););
}

#[test]
fn lanes_mmx() {
    binary!(mm, int_mmx, narrow_pair:
        paddb paddw paddd paddq paddsb paddsw paddusb paddusw psubb psubw psubd psubq psubsb psubsw psubusb psubusw
        pmullw pmulhw pmulhuw pmulhrsw pmuludq pmaddwd pmaddubsw pavgb pavgw psadbw
        pminub pmaxub pminsw pmaxsw pcmpeqb pcmpeqw pcmpeqd pcmpgtb pcmpgtw pcmpgtd pand pandn por pxor
        psignb psignw psignd phaddw phaddd phaddsw phsubw phsubd phsubsw);
    unary!(mm, int_mmx, narrow_pair: pabsb pabsw pabsd);
    binary!(mm, pack_mmx, narrow_pair:
        packsswb packssdw packuswb punpcklbw punpcklwd punpckldq punpckhbw punpckhwd punpckhdq pshufb);
    binary!(mm, shift_mmx, narrow_counted: psllw pslld psllq psrlw psrld psrlq psraw psrad);
    immediate!(narrow_pair, [mm imm]:
        psllw, |(a, _), imm| shift_mmx::psllw_imm(a, imm);
        pslld, |(a, _), imm| shift_mmx::pslld_imm(a, imm);
        psllq, |(a, _), imm| shift_mmx::psllq_imm(a, imm);
        psrlw, |(a, _), imm| shift_mmx::psrlw_imm(a, imm);
        psrld, |(a, _), imm| shift_mmx::psrld_imm(a, imm);
        psrlq, |(a, _), imm| shift_mmx::psrlq_imm(a, imm);
        psraw, |(a, _), imm| shift_mmx::psraw_imm(a, imm);
        psrad, |(a, _), imm| shift_mmx::psrad_imm(a, imm);
    );
    immediate!(narrow_pair, [mm mm imm]:
        palignr, |(a, b), imm| pack::palignr_mmx(a, b, imm);
        pshufw, |(_, b), imm| pack::pshufw_mmx(b, imm);
    );
}

#[test]
fn shifts() {
    binary!(xmm, shift, counted: psllw pslld psllq psrlw psrld psrlq psraw psrad);
    immediate!(pair, [xmm imm]:
        psllw, |(a, _), imm| shift::psllw_imm(a, imm);
        pslld, |(a, _), imm| shift::pslld_imm(a, imm);
        psllq, |(a, _), imm| shift::psllq_imm(a, imm);
        psrlw, |(a, _), imm| shift::psrlw_imm(a, imm);
        psrld, |(a, _), imm| shift::psrld_imm(a, imm);
        psrlq, |(a, _), imm| shift::psrlq_imm(a, imm);
        psraw, |(a, _), imm| shift::psraw_imm(a, imm);
        psrad, |(a, _), imm| shift::psrad_imm(a, imm);
        pslldq, |(a, _), imm| shift::pslldq(a, imm);
        psrldq, |(a, _), imm| shift::psrldq(a, imm);
    );
}

#[test]
fn packing() {
    binary!(xmm, pack, pair:
        packsswb packssdw packuswb packusdw punpcklbw punpcklwd punpckldq punpcklqdq punpckhbw punpckhwd punpckhdq
        punpckhqdq pshufb movhlps movss movsd);
    unary!(xmm, pack, pair:
        pmovsxbw pmovsxbd pmovsxbq pmovsxwd pmovsxwq pmovsxdq pmovzxbw pmovzxbd pmovzxbq pmovzxwd pmovzxwq pmovzxdq
        movddup movshdup movsldup);
    let mut rng = Random::new();
    let (movlhps, unpcklps, unpckhpd) =
        (host!(xmm xmm: movlhps), host!(xmm xmm: unpcklps), host!(xmm xmm: unpckhpd));
    for _ in 0..ROUNDS {
        let (a, b) = rng.pair();
        assert_eq!(pack::movhps(a, b), movlhps(a, b));
        assert_eq!(pack::punpckldq(a, b), unpcklps(a, b));
        assert_eq!(pack::punpckhqdq(a, b), unpckhpd(a, b));
    }
}

#[test]
fn shuffles() {
    immediate!(pair, [xmm xmm imm]:
        pshufd, |(_, b), imm| pack::pshufd(b, imm);
        pshuflw, |(_, b), imm| pack::pshuflw(b, imm);
        pshufhw, |(_, b), imm| pack::pshufhw(b, imm);
        shufps, |(a, b), imm| pack::shufps(a, b, imm);
        shufpd, |(a, b), imm| pack::shufpd(a, b, imm);
        palignr, |(a, b), imm| pack::palignr(a, b, imm);
        pblendw, |(a, b), imm| pack::pblendw(a, b, imm);
        blendps, |(a, b), imm| pack::blendps(a, b, imm);
        blendpd, |(a, b), imm| pack::blendpd(a, b, imm);
        insertps, |(a, b), imm| pack::insertps(a, b, imm);
    );
    immediate!(pair, [xmm gpr imm]:
        pinsrb as "e", |(a, b), imm| pack::pinsrb(a, b as u64, imm);
        pinsrw as "e", |(a, b), imm| pack::pinsrw(a, b as u64, imm);
        pinsrd as "e", |(a, b), imm| pack::pinsrd(a, b as u64, imm);
        pinsrq as "r", |(a, b), imm| pack::pinsrq(a, b as u64, imm);
    );
    immediate!(pair, [gpr xmm imm]:
        pextrb as "e", |(_, b), imm| pack::pextrb(b, imm);
        pextrw as "e", |(_, b), imm| pack::pextrw(b, imm);
        pextrd as "e", |(_, b), imm| pack::pextrd(b, imm);
        pextrq as "r", |(_, b), imm| pack::pextrq(b, imm);
        extractps as "e", |(_, b), imm| pack::pextrd(b, imm);
    );
    let mut rng = Random::new();
    type Blend = fn(u128, u128, u128) -> u128;
    let blends: [(Blend, Blend); 3] = [
        (pack::pblendvb, host!(xmm xmm xmm0: pblendvb)),
        (pack::blendvps, host!(xmm xmm xmm0: blendvps)),
        (pack::blendvpd, host!(xmm xmm xmm0: blendvpd)),
    ];
    for (ours, host) in blends {
        for _ in 0..ROUNDS {
            let ((a, b), mask) = (rng.pair(), rng.register());
            assert_eq!(ours(a, b, mask), host(a, b, mask), "seed {}", rng.seed);
        }
    }
}

#[test]
fn mmx_words() {
    let mut rng = Random::new();
    for imm in 0..=255 {
        let (a, value) = narrow_pair(&mut rng);
        let shift = 16 * (imm & 3);
        assert_eq!(pack::pextrw_mmx(a, imm), a >> shift & 0xffff);
        assert_eq!(pack::pinsrw_mmx(a, value, imm), a & !(0xffff << shift) | (value & 0xffff) << shift);
    }
}

#[test]
fn masks() {
    let mut rng = Random::new();
    type Mask = fn(u128) -> u32;
    let masks: [(Mask, Mask); 3] = [
        (int::pmovmskb, host!(gpr xmm: pmovmskb)),
        (int::movmskps, host!(gpr xmm: movmskps)),
        (int::movmskpd, host!(gpr xmm: movmskpd)),
    ];
    for _ in 0..ROUNDS {
        let (a, b) = rng.pair();
        for (ours, host) in masks {
            assert_eq!(ours(a), host(a), "{a:#x}");
        }
        assert_eq!(int::pmovmskb_mmx(a as u64), masks[0].1(u128::from(a as u64)));
        for b in [b, 0, !a, a] {
            let mut flags: u64;
            // SAFETY: reads the flags through the stack.
            unsafe {
                asm!("ptest {}, {}", "pushfq", "pop {}", in(xmm_reg) to_xmm(a), in(xmm_reg) to_xmm(b), out(reg) flags);
            }
            flags &= 0x8d5;
            assert_eq!(u64::from(int::ptest(a, b)), flags, "{a:#x} {b:#x}");
        }
    }
}

#[test]
fn crc32() {
    let mut rng = Random::new();
    for _ in 0..ROUNDS {
        let (seed, data) = (rng.next() as u32, rng.next());
        let mut host = [u64::from(seed); 4];
        // SAFETY: computes in the registers it names.
        unsafe {
            asm!("crc32 {0:e}, {1}", inout(reg) host[0], in(reg_byte) data as u8, options(nomem, nostack));
            asm!("crc32 {0:e}, {1:x}", inout(reg) host[1], in(reg) data, options(nomem, nostack));
            asm!("crc32 {0:e}, {1:e}", inout(reg) host[2], in(reg) data, options(nomem, nostack));
            asm!("crc32 {0}, {1}", inout(reg) host[3], in(reg) data, options(nomem, nostack));
        }
        let ours = [
            crc::crc32_u8(seed, data as u8),
            crc::crc32_u16(seed, data as u16),
            crc::crc32_u32(seed, data as u32),
            crc::crc32_u64(seed, data),
        ];
        assert_eq!(ours.map(u64::from), host, "{seed:#x} {data:#x}");
    }
}
