//! Floating point: results and MXCSR in every mode, with exceptions masked and unmasked.
//!
//! Unmasked exceptions end in SIGFPE here: the handler masks them all and continues after the instruction, whose
//! address each asm block leaves in R11.

use crate::host::{Random, every_imm};
use crate::{from_xmm, to_xmm};
use simd::{Flags, FpEnv, convert, float};
use std::arch::asm;
use std::sync::Once;

const ROUNDS: usize = 60_000;
const IMM_ROUNDS: usize = 400;

type Ours = fn(&mut FpEnv, u128, u128) -> u128;
/// Takes MXCSR and leaves it as the instruction did, with everything masked if it trapped.
type Theirs = fn(&mut u32, u128, u128) -> u128;

extern "C" fn skip_instruction(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a context that is valid during the handler, with floating-point state on this target.
    unsafe {
        let context = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        context.gregs[libc::REG_RIP as usize] = context.gregs[libc::REG_R11 as usize];
        (*context.fpregs).mxcsr |= Flags::ALL << Flags::MASK_SHIFT;
    }
}

fn catch_traps() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a zeroed sigaction is a valid one; the handler touches nothing but its context.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = skip_instruction as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGFPE, &action, std::ptr::null_mut()), 0);
        }
    });
}

/// One instruction between loading and storing MXCSR; `before` and `after` move operands that are not XMM registers.
macro_rules! run {
    ($mxcsr:ident, [$($before:expr),*], $op:expr, [$($after:expr),*], $($operands:tt)+) => {{
        let mut ours = 0u32;
        // SAFETY: computes in the registers it names and puts MXCSR back; a trap continues at the label.
        unsafe {
            asm!("stmxcsr [{ours}]", $($before,)* "lea r11, [rip + 2f]", "ldmxcsr [{mxcsr}]", $op, "2:",
                "stmxcsr [{mxcsr}]", "ldmxcsr [{ours}]", $($after,)*
                ours = in(reg) &mut ours, mxcsr = in(reg) $mxcsr, out("r11") _, $($operands)+);
        }
    }};
}

macro_rules! host {
    ([xmm xmm]: $op:literal) => {{
        fn host(mxcsr: &mut u32, a: u128, b: u128) -> u128 {
            let mut a = to_xmm(a);
            run!(mxcsr, [], concat!($op, " {a}, {b}"), [], a = inout(xmm_reg) a, b = in(xmm_reg) to_xmm(b));
            from_xmm(a)
        }
        host as Theirs
    }};
    ([eflags]: $op:literal) => {{
        fn host(mxcsr: &mut u32, a: u128, b: u128) -> u128 {
            let mut flags: u64;
            run!(mxcsr, [], concat!($op, " {a}, {b}"), ["pushfq", "pop {flags}"],
                a = in(xmm_reg) to_xmm(a), b = in(xmm_reg) to_xmm(b), flags = out(reg) flags);
            u128::from(flags & 0x8d5)
        }
        host as Theirs
    }};
    ([reg xmm]: $op:literal, $size:literal) => {{
        fn host(mxcsr: &mut u32, _: u128, b: u128) -> u128 {
            let mut r = 0u64;
            run!(mxcsr, [], concat!($op, " {r:", $size, "}, {b}"), [], r = inout(reg) r, b = in(xmm_reg) to_xmm(b));
            u128::from(r)
        }
        host as Theirs
    }};
    ([xmm reg]: $op:literal, $size:literal) => {{
        fn host(mxcsr: &mut u32, a: u128, b: u128) -> u128 {
            let mut a = to_xmm(a);
            run!(mxcsr, [], concat!($op, " {a}, {b:", $size, "}"), [], a = inout(xmm_reg) a, b = in(reg) b as u64);
            from_xmm(a)
        }
        host as Theirs
    }};
    ([mm xmm]: $op:literal) => {{
        fn host(mxcsr: &mut u32, _: u128, b: u128) -> u128 {
            let r: u64;
            run!(mxcsr, [], concat!($op, " mm0, {b}"), ["movq {r}, mm0", "emms"],
                b = in(xmm_reg) to_xmm(b), r = out(reg) r, out("mm0") _);
            u128::from(r)
        }
        host as Theirs
    }};
    ([xmm mm]: $op:literal) => {{
        fn host(mxcsr: &mut u32, a: u128, b: u128) -> u128 {
            let mut a = to_xmm(a);
            run!(mxcsr, ["movq mm0, {b}"], concat!($op, " {a}, mm0"), ["emms"],
                a = inout(xmm_reg) a, b = in(reg) b as u64, out("mm0") _);
            from_xmm(a)
        }
        host as Theirs
    }};
    ([xmm xmm imm]: $op:literal) => {{
        fn host<const IMM: i32>(mxcsr: &mut u32, a: u128, b: u128) -> u128 {
            let mut a = to_xmm(a);
            run!(mxcsr, [], concat!($op, " {a}, {b}, {imm}"), [],
                a = inout(xmm_reg) a, b = in(xmm_reg) to_xmm(b), imm = const IMM);
            from_xmm(a)
        }
        const HOST: [Theirs; 256] = every_imm!(host);
        &HOST
    }};
}

/// How a format's fields are laid out.
#[derive(Clone, Copy)]
struct Layout {
    width: u32,
    fraction: u32,
}

const SINGLE: Layout = Layout { width: 32, fraction: 23 };
const DOUBLE: Layout = Layout { width: 64, fraction: 52 };

impl Layout {
    /// A number of any kind, borders and special values often.
    fn wild(self, rng: &mut Random) -> u64 {
        let top = (1 << (self.width - self.fraction - 1)) - 1;
        let bias = top / 2;
        let exponent = match rng.below(12) {
            0 | 1 => 0,
            2 => top,
            3 => rng.pick(&[1, 2, top - 1, top - 2]),
            4 => rng.below(self.fraction.into()),
            5 => top / 2 + top / 4 + rng.below(8),
            6 => top / 4 + rng.below(8),
            // Where conversions to integers and to single precision have their borders.
            7 => bias + rng.pick(&[23, 24, 30, 31, 32, 52, 53, 62, 63, 64, 126, 127, 128]),
            8 => bias - rng.below(160).min(bias),
            9 => bias + rng.below(64),
            10 => bias - rng.below(4),
            _ => rng.next() & top,
        };
        self.assemble(rng, exponent & top)
    }

    /// A normal number of middling size, so that the host's arithmetic is used.
    fn tame(self, rng: &mut Random) -> u64 {
        let bias = ((1 << (self.width - self.fraction - 1)) - 1) / 2;
        if rng.below(16) == 0 {
            return rng.below(2) << (self.width - 1);
        }
        let exponent = bias - 16 + rng.below(32);
        self.assemble(rng, exponent)
    }

    fn assemble(self, rng: &mut Random, exponent: u64) -> u64 {
        let all = (1u64 << self.fraction) - 1;
        let random = rng.next() & all;
        let few = rng.below(64) as u32 % self.fraction;
        let fraction = match rng.below(8) {
            0 => 0,
            1 => all,
            2 => 1 << few,
            3 => all >> few,
            // Few leading bits: sums, products and roots are often exact or ties.
            4 => random >> few << few,
            5 => all << few & all,
            6 => random >> (self.fraction / 2) << (self.fraction / 2) | rng.below(2),
            _ => random,
        };
        (rng.next() & 1) << (self.width - 1) | exponent << self.fraction | fraction
    }

    /// A number near `a`, or of the same size: sums that cancel, comparisons that hold.
    fn near(self, rng: &mut Random, a: u64) -> u64 {
        let sign = 1u64 << (self.width - 1);
        match rng.below(4) {
            0 => a,
            1 => a ^ sign,
            2 => (a ^ rng.next() & sign).wrapping_add(rng.below(3)).wrapping_sub(1),
            _ => a ^ rng.next() & (sign | ((1 << self.fraction) - 1)),
        }
    }

    fn join(self, lanes: impl Iterator<Item = u64>) -> u128 {
        let mask = (1u128 << self.width) - 1;
        lanes.fold(0, |v, lane| v << self.width | u128::from(lane) & mask)
    }

    fn pair(self, rng: &mut Random) -> (u128, u128) {
        let tame = rng.below(2) == 0;
        let lanes: Vec<(u64, u64)> = (0..128 / self.width)
            .map(|_| {
                let one = |rng: &mut Random| if tame { self.tame(rng) } else { self.wild(rng) };
                let a = one(rng);
                let b = if rng.below(4) == 0 { self.near(rng, a) } else { one(rng) };
                (a, b)
            })
            .collect();
        (self.join(lanes.iter().map(|l| l.0)), self.join(lanes.iter().map(|l| l.1)))
    }
}

fn single(rng: &mut Random) -> (u128, u128) {
    SINGLE.pair(rng)
}

fn double(rng: &mut Random) -> (u128, u128) {
    DOUBLE.pair(rng)
}

/// Integers of all sizes as sources.
fn integer(rng: &mut Random) -> (u128, u128) {
    let mut sized = |n| {
        let shift = rng.below(n);
        ((rng.next() as i64) >> shift) as u64
    };
    let (dword, qword) = (sized(32), sized(64));
    let source = match rng.below(3) {
        0 => u128::from(qword),
        1 => u128::from(dword >> 32) | u128::from(qword) << 64,
        _ => rng.register(),
    };
    (rng.wide(), source)
}

/// MXCSR as programs have it, or any; `traps` leaves exceptions unmasked.
fn mxcsr(rng: &mut Random, traps: bool) -> u32 {
    let random = rng.next() as u32;
    let modes = match rng.below(4) {
        0 => 0,
        1 => random & Flags::RC,
        _ => random & (Flags::RC | Flags::FTZ | Flags::DAZ),
    };
    let sticky = match rng.below(3) {
        0 => 0,
        1 => Flags::PE,
        _ => random & Flags::ALL,
    };
    let masks = Flags::ALL << Flags::MASK_SHIFT;
    let masks = if traps { masks & (random | (rng.next() as u32)) } else { masks };
    // A flag that is set and unmasked does not trap by itself, so every combination may be loaded.
    modes | sticky | masks
}

/// What an instruction did: its result unless it trapped, and MXCSR's flags.
#[derive(Debug, PartialEq)]
struct Outcome {
    result: Option<u128>,
    flags: u32,
}

/// A result without what one model of a CPU does in another way than the next: of several NaNs a dot product gives
/// that of the first lane (Zen 5), or each lane of the result has an order of its own (earlier models).
fn of_every_model(name: &str, result: u128) -> u128 {
    let lanes = |bits: u32, nan: fn(u128) -> bool| {
        let one = (1 << bits) - 1;
        (0..128 / bits).map(|lane| (result >> (lane * bits)) & one).enumerate().fold(
            0,
            |all, (lane, value)| {
                let value = if nan(value) { one } else { value };
                all | value << (lane as u32 * bits)
            },
        )
    };
    if name.starts_with("dpps") {
        lanes(32, |value| f32::from_bits(value as u32).is_nan())
    } else if name.starts_with("dppd") {
        lanes(64, |value| f64::from_bits(value as u64).is_nan())
    } else {
        result
    }
}

fn compare(
    rng: &mut Random,
    name: &str,
    ours: impl Fn(&mut FpEnv, u128, u128) -> u128,
    host: Theirs,
    (a, b): (u128, u128),
) {
    let traps = rng.below(3) == 0;
    let before = mxcsr(rng, traps);
    let mut after = before;
    let result = host(&mut after, a, b);
    let trapped = after & !Flags::ALL != before & !Flags::ALL;
    let host =
        Outcome { result: (!trapped).then(|| of_every_model(name, result)), flags: after & Flags::ALL };
    let mut cx = FpEnv::new(before);
    let result = ours(&mut cx, a, b);
    let trapped = cx.finish();
    assert_eq!(cx.mxcsr & !Flags::ALL, before & !Flags::ALL);
    let ours =
        Outcome { result: (!trapped).then(|| of_every_model(name, result)), flags: cx.mxcsr & Flags::ALL };
    assert_eq!(
        ours, host,
        "{name} a {a:#034x} b {b:#034x} mxcsr {before:#x} seed {} (results hex: {:x?} {:x?})",
        rng.seed, ours.result, host.result
    );
}

/// Runs instructions of one shape on operands from a generator.
macro_rules! check {
    ($operands:ident, $kind:tt: $($op:literal $(as $size:literal)? => $ours:expr;)+) => {{
        catch_traps();
        let mut rng = Random::new();
        $(
            let host = host!($kind: $op $(, $size)?);
            let ours: Ours = $ours;
            for _ in 0..ROUNDS {
                let operands = $operands(&mut rng);
                compare(&mut rng, $op, ours, host, operands);
            }
        )+
    }};
}

/// As [`check`], with every immediate.
macro_rules! check_imm {
    ($operands:ident: $($op:literal => $ours:expr;)+) => {{
        catch_traps();
        let mut rng = Random::new();
        $(
            let hosts = host!([xmm xmm imm]: $op);
            let ours: fn(&mut FpEnv, u128, u128, u8) -> u128 = $ours;
            for imm in 0..=255 {
                for _ in 0..IMM_ROUNDS {
                    let operands = $operands(&mut rng);
                    let name = format!("{} {imm:#x}", $op);
                    compare(&mut rng, &name, |cx, a, b| ours(cx, a, b, imm), hosts[usize::from(imm)], operands);
                }
            }
        )+
    }};
}

#[test]
fn arithmetic_single() {
    check!(single, [xmm xmm]:
        "addps" => float::addps;
        "addss" => float::addss;
        "subps" => float::subps;
        "subss" => float::subss;
        "mulps" => float::mulps;
        "mulss" => float::mulss;
        "divps" => float::divps;
        "divss" => float::divss;
        "sqrtps" => |cx, _, b| float::sqrtps(cx, b);
        "sqrtss" => float::sqrtss;
        "minps" => float::minps;
        "minss" => float::minss;
        "maxps" => float::maxps;
        "maxss" => float::maxss;
        "haddps" => float::haddps;
        "hsubps" => float::hsubps;
        "addsubps" => float::addsubps;
    );
}

#[test]
fn arithmetic_double() {
    check!(double, [xmm xmm]:
        "addpd" => float::addpd;
        "addsd" => float::addsd;
        "subpd" => float::subpd;
        "subsd" => float::subsd;
        "mulpd" => float::mulpd;
        "mulsd" => float::mulsd;
        "divpd" => float::divpd;
        "divsd" => float::divsd;
        "sqrtpd" => |cx, _, b| float::sqrtpd(cx, b);
        "sqrtsd" => float::sqrtsd;
        "minpd" => float::minpd;
        "minsd" => float::minsd;
        "maxpd" => float::maxpd;
        "maxsd" => float::maxsd;
        "haddpd" => float::haddpd;
        "hsubpd" => float::hsubpd;
        "addsubpd" => float::addsubpd;
    );
}

#[test]
fn comparison() {
    check!(single, [eflags]:
        "comiss" => |cx, a, b| float::comiss(cx, a, b).into();
        "ucomiss" => |cx, a, b| float::ucomiss(cx, a, b).into();
    );
    check!(double, [eflags]:
        "comisd" => |cx, a, b| float::comisd(cx, a, b).into();
        "ucomisd" => |cx, a, b| float::ucomisd(cx, a, b).into();
    );
    // Only bits 2:0 of these immediates mean anything, and assemblers refuse the others.
    catch_traps();
    let mut rng = Random::new();
    macro_rules! predicates {
        ($operands:ident, $op:literal, $ours:path: $($imm:literal)+) => {$(
            let host = {
                fn host(mxcsr: &mut u32, a: u128, b: u128) -> u128 {
                    let mut a = to_xmm(a);
                    run!(mxcsr, [], concat!($op, " {a}, {b}, ", $imm), [], a = inout(xmm_reg) a, b = in(xmm_reg) to_xmm(b));
                    from_xmm(a)
                }
                host
            };
            for _ in 0..ROUNDS / 4 {
                let operands = $operands(&mut rng);
                compare(&mut rng, concat!($op, " ", $imm), |cx, a, b| $ours(cx, a, b, $imm), host, operands);
            }
        )+};
    }
    predicates!(single, "cmpps", float::cmpps: 0 1 2 3 4 5 6 7);
    predicates!(single, "cmpss", float::cmpss: 0 1 2 3 4 5 6 7);
    predicates!(double, "cmppd", float::cmppd: 0 1 2 3 4 5 6 7);
    predicates!(double, "cmpsd", float::cmpsd: 0 1 2 3 4 5 6 7);
}

#[test]
fn rounding_and_dot_products() {
    check_imm!(single:
        "roundps" => |cx, _, b, imm| float::roundps(cx, b, imm);
        "roundss" => float::roundss;
        "dpps" => float::dpps;
    );
    check_imm!(double:
        "roundpd" => |cx, _, b, imm| float::roundpd(cx, b, imm);
        "roundsd" => float::roundsd;
        "dppd" => float::dppd;
    );
}

#[test]
fn conversion_from_single() {
    check!(single, [xmm xmm]:
        "cvtps2pd" => |cx, _, b| convert::cvtps2pd(cx, b);
        "cvtss2sd" => convert::cvtss2sd;
        "cvtps2dq" => |cx, _, b| convert::cvtps2dq(cx, b);
        "cvttps2dq" => |cx, _, b| convert::cvttps2dq(cx, b);
    );
    check!(single, [reg xmm]:
        "cvtss2si" as "e" => |cx, _, b| (convert::cvtss2si_32(cx, b) as u32).into();
        "cvtss2si" as "r" => |cx, _, b| (convert::cvtss2si_64(cx, b) as u64).into();
        "cvttss2si" as "e" => |cx, _, b| (convert::cvttss2si_32(cx, b) as u32).into();
        "cvttss2si" as "r" => |cx, _, b| (convert::cvttss2si_64(cx, b) as u64).into();
    );
    check!(single, [mm xmm]:
        "cvtps2pi" => |cx, _, b| convert::cvtps2pi(cx, b).into();
        "cvttps2pi" => |cx, _, b| convert::cvttps2pi(cx, b).into();
    );
}

#[test]
fn conversion_from_double() {
    check!(double, [xmm xmm]:
        "cvtpd2ps" => |cx, _, b| convert::cvtpd2ps(cx, b);
        "cvtsd2ss" => convert::cvtsd2ss;
        "cvtpd2dq" => |cx, _, b| convert::cvtpd2dq(cx, b);
        "cvttpd2dq" => |cx, _, b| convert::cvttpd2dq(cx, b);
    );
    check!(double, [reg xmm]:
        "cvtsd2si" as "e" => |cx, _, b| (convert::cvtsd2si_32(cx, b) as u32).into();
        "cvtsd2si" as "r" => |cx, _, b| (convert::cvtsd2si_64(cx, b) as u64).into();
        "cvttsd2si" as "e" => |cx, _, b| (convert::cvttsd2si_32(cx, b) as u32).into();
        "cvttsd2si" as "r" => |cx, _, b| (convert::cvttsd2si_64(cx, b) as u64).into();
    );
    check!(double, [mm xmm]:
        "cvtpd2pi" => |cx, _, b| convert::cvtpd2pi(cx, b).into();
        "cvttpd2pi" => |cx, _, b| convert::cvttpd2pi(cx, b).into();
    );
}

#[test]
fn conversion_from_integers() {
    check!(integer, [xmm xmm]:
        "cvtdq2ps" => |cx, _, b| convert::cvtdq2ps(cx, b);
        "cvtdq2pd" => |_, _, b| convert::cvtdq2pd(b);
    );
    check!(integer, [xmm reg]:
        "cvtsi2ss" as "e" => |cx, a, b| convert::cvtsi2ss_32(cx, a, b as i32);
        "cvtsi2ss" as "r" => |cx, a, b| convert::cvtsi2ss_64(cx, a, b as i64);
        "cvtsi2sd" as "e" => |cx, a, b| convert::cvtsi2sd_32(cx, a, b as i32);
        "cvtsi2sd" as "r" => |cx, a, b| convert::cvtsi2sd_64(cx, a, b as i64);
    );
    check!(integer, [xmm mm]:
        "cvtpi2ps" => |cx, a, b| convert::cvtpi2ps(cx, a, b as u64);
        "cvtpi2pd" => |_, _, b| convert::cvtpi2pd(b as u64);
    );
}

/// Other makers' tables differ in the last bits, so only on Intel's processors are the approximations compared.
#[test]
fn approximations() {
    if std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|s| s.contains("GenuineIntel")) {
        check!(single, [xmm xmm]:
            "rcpps" => |_, _, b| float::rcpps(b);
            "rcpss" => |_, a, b| float::rcpss(a, b);
            "rsqrtps" => |_, _, b| float::rsqrtps(b);
            "rsqrtss" => |_, a, b| float::rsqrtss(a, b);
        );
    }
    let bound = 1.5 / 4096.0;
    let mut rng = Random::new();
    for _ in 0..ROUNDS {
        let x = SINGLE.tame(&mut rng) as u32 & 0x7fff_ffff;
        if x == 0 {
            continue;
        }
        let value = f64::from(f32::from_bits(x));
        let reciprocal = f64::from(f32::from_bits(float::rcpss(0, x.into()) as u32));
        assert!((reciprocal * value - 1.0).abs() <= bound, "{x:#x}");
        let root = f64::from(f32::from_bits(float::rsqrtss(0, x.into()) as u32));
        assert!((root * value.sqrt() - 1.0).abs() <= bound, "{x:#x}");
    }
}
