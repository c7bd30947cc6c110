//! Differential tests against the host's own x87: random states, every register and memory form, all bytes of the
//! state afterwards. Runs on Intel hosts only: what the manual leaves undefined follows their processors.
//! `X87_SEED` and `X87_CASES` choose other and more cases.
#![cfg(target_arch = "x86_64")]

use std::arch::global_asm;
use std::collections::BTreeMap;
use x87::{EnvLayout, F80, Format, MemForm, X87};

// One stub of 64 bytes an encoding: EFLAGS from [rdx], the x87 state from [rdi], the instruction (memory forms on
// [rcx]), the x87 state to [rsi], EFLAGS to [rdx]. FNSAVE does not wait, so that an unmasked exception is seen but not
// taken, and leaves the unit as the ABI wants it.
global_asm!(
    r#"
    .macro X87_STUB b0, b1
    .balign 64
    push qword ptr [rdx]
    popfq
    frstor [rdi]
    .byte \b0, \b1
    fnsave [rsi]
    pushfq
    pop qword ptr [rdx]
    ret
    .endm
    .text
    .balign 64
x87_reg_stubs:
    .set x87_n, 0
    .rept 512
    X87_STUB (0xd8 + x87_n / 64), (0xc0 + x87_n % 64)
    .set x87_n, x87_n + 1
    .endr
    .balign 64
x87_mem_stubs:
    .set x87_n, 0
    .rept 64
    X87_STUB (0xd8 + x87_n / 8), (x87_n % 8 * 8 + 1)
    .set x87_n, x87_n + 1
    .endr

x87_fxsave_stub:
    frstor [rdi]
    fxsave [rsi]
    fninit
    ret
x87_fxrstor_stub:
    fxrstor [rdi]
    fnsave [rsi]
    ret
x87_fnsave16_stub:
    frstor [rdi]
    .byte 0x66
    fnsave [rsi]
    ret
x87_frstor16_stub:
    .byte 0x66
    frstor [rdi]
    fnsave [rsi]
    ret
x87_movq_stub:
    frstor [rdi]
    movq mm5, [rdi]
    fnsave [rsi]
    ret
x87_emms_stub:
    frstor [rdi]
    emms
    fnsave [rsi]
    ret
    "#
);

unsafe extern "C" {
    static x87_reg_stubs: u8;
    static x87_mem_stubs: u8;
    fn x87_fxsave_stub(from: *const u8, to: *mut u8);
    fn x87_fxrstor_stub(from: *const u8, to: *mut u8);
    fn x87_fnsave16_stub(from: *const u8, to: *mut u8);
    fn x87_frstor16_stub(from: *const u8, to: *mut u8);
    fn x87_movq_stub(from: *const u8, to: *mut u8);
    fn x87_emms_stub(from: *const u8, to: *mut u8);
}

type Stub = unsafe extern "C" fn(*const Image, *mut Image, *mut u64, *mut Memory);
type Image = [u8; 108];
type Memory = [u8; 128];

const STUB: usize = 64;
/// CF, PF, AF, ZF, SF, OF.
const ARITHMETIC_FLAGS: u32 = 0x8d5;

fn reg_stub(opcode: u16) -> Stub {
    assert!(opcode & 0xc0 == 0xc0 && opcode < 0x800);
    let n = usize::from(opcode >> 8) * 64 + usize::from(opcode & 0x3f);
    // SAFETY: the stubs lie one after the other, 512 of them, and have the signature of `Stub`.
    unsafe { std::mem::transmute::<*const u8, Stub>((&raw const x87_reg_stubs).add(n * STUB)) }
}

fn mem_stub(escape: u8, reg: u8) -> Stub {
    let n = usize::from(escape & 7) * 8 + usize::from(reg & 7);
    // SAFETY: the stubs lie one after the other, 64 of them, and have the signature of `Stub`.
    unsafe { std::mem::transmute::<*const u8, Stub>((&raw const x87_mem_stubs).add(n * STUB)) }
}

fn run_native(stub: Stub, before: &Image, flags: &mut u32, memory: &mut Memory) -> Image {
    let mut after = [0; 108];
    let mut f = u64::from(*flags | 2);
    // SAFETY: all pointers are to buffers of the sizes that the instructions read and write; no encoding passed to
    // `reg_stub` or `mem_stub` by these tests is undefined, and no exception is pending in `before`.
    unsafe { stub(before, &mut after, &mut f, memory) };
    *flags = f as u32;
    after
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A significand with few bits, many bits, or a tie of a narrower format.
    fn mantissa(&mut self) -> u64 {
        let top = 1 << 63;
        match self.below(7) {
            0 => top,
            1 => top | self.next() << self.below(64),
            2 => u64::MAX << self.below(64),
            3 => top | self.next() >> 1 & 0xffff_ff80_0000_0000 | 0x80_0000_0000,
            4 => top | self.next() & 0xffff_ffff_ffff_f800 | 0x400,
            5 => u64::MAX - self.below(4),
            _ => top | self.next(),
        }
    }

    fn special(&mut self) -> F80 {
        let exp = [0, 0, 1, 0x7ffe, 0x7fff, 0x7fff, 0x3fff, 0x43ff, 0x3c00][self.below(9) as usize];
        let mantissa = match self.below(10) {
            0 => 0,
            1 => 1,
            2 => 1 << 63,
            3 => 1 << 62,
            4 => 3 << 62,
            5 => (1 << 63) | 1,
            6 => u64::MAX,
            7 => u64::MAX >> 1,
            8 => self.next() >> self.below(64),
            _ => self.next() | 1 << 63,
        };
        F80 { mantissa, sign_exp: exp | (self.next() as u16 & 0x8000) }
    }

    fn exponent(&mut self) -> u16 {
        let near = |rng: &mut Rng, at: u64, spread: u64| (at + rng.below(2 * spread + 1) - spread) as u16;
        match self.below(10) {
            0..=3 => near(self, 0x3fff, 3),
            4 => near(self, 0x3fff, 70),
            5 => near(self, 0x3fff + 127, 3),
            6 => near(self, 0x3fff - 127, 30),
            7 => 1 + self.below(70) as u16,
            8 => 0x7ffe - self.below(70) as u16,
            _ => self.below(0x8000) as u16,
        }
    }

    fn f80(&mut self) -> F80 {
        match self.below(20) {
            0..=3 => self.special(),
            4 => x87::from_f32(self.next() as u32),
            5 => x87::from_f64(self.next()),
            6 => x87::from_i64(self.next() as i64 >> self.below(64)),
            // Near the limits of a format.
            7 => {
                let exp = [
                    0x3fff - 1022,
                    0x3fff - 126,
                    0x3fff + 1023,
                    0x3fff + 127,
                    0x3fff + 15,
                    0x3fff + 31,
                    0x3fff + 63,
                    0x3fff + 59,
                ];
                let e = exp[self.below(8) as usize] + self.below(5) as u16 - 2;
                F80 { mantissa: self.mantissa(), sign_exp: e | (self.next() as u16 & 0x8000) }
            }
            _ => F80 { mantissa: self.mantissa(), sign_exp: self.exponent() | (self.next() as u16 & 0x8000) },
        }
    }

    /// A state that nothing pends in.
    fn state(&mut self) -> Image {
        let masks = if self.chance(60) { 0x3f } else { self.next() as u16 & 0x3f };
        let control = masks | 0x40 | (self.next() as u16 & 0x0f00);
        let flags = self.next() as u16 & control & if self.chance(50) { 0x3f } else { 0 };
        let status = flags | (self.next() as u16 & 0x7f40);
        let tags = if self.chance(60) { 0 } else { self.next() as u16 & self.next() as u16 };
        // An empty register has both bits of its tag set.
        let tags = (0..8).fold(0u16, |t, i| if tags >> i & 1 != 0 { t | 3 << (2 * i) } else { t });
        // For the pushing instructions, half of the time with room.
        let top = status >> 11 & 7;
        let tags = if self.chance(50) { tags | 3 << (2 * ((top + 7) & 7)) } else { tags };
        let mut image = [0; 108];
        image[0..2].copy_from_slice(&control.to_le_bytes());
        image[4..6].copy_from_slice(&status.to_le_bytes());
        image[8..10].copy_from_slice(&tags.to_le_bytes());
        let first = self.f80();
        for i in 0..8 {
            let mut v = self.f80();
            if i == 0 {
                v = first;
            } else if self.chance(25) {
                // Close to ST(0): cancellation, equality, small quotients.
                v = F80 { mantissa: first.mantissa.wrapping_add(self.below(3)).wrapping_sub(1), ..first };
                v.sign_exp = v.sign_exp.wrapping_add(self.below(3) as u16).wrapping_sub(1)
                    ^ (self.next() as u16 & 0x8000);
            }
            image[28 + 10 * i..38 + 10 * i].copy_from_slice(&v.to_bytes());
        }
        image
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// The generator of a test's cases, or `None` if the host is no measure.
fn rng() -> Option<Rng> {
    let id = std::arch::x86_64::__cpuid(0);
    if [id.ebx, id.edx, id.ecx].map(u32::to_le_bytes).concat() != b"GenuineIntel" {
        println!("skipped: the host's processor is not Intel's");
        return None;
    }
    let seed = from_env("X87_SEED", 1);
    println!("X87_SEED={seed}");
    Some(Rng(seed.wrapping_mul(0x1234_5678_9abc_def1)))
}

fn ours(image: &Image) -> X87 {
    let mut x = X87::new();
    x.restore(EnvLayout::Protected32, image);
    x
}

/// An image without what the host keeps no account of (instruction and data pointers).
fn visible(mut image: Image) -> Image {
    image[12..28].fill(0);
    image
}

fn image_of(x: &X87) -> Image {
    let mut out = [0; 108];
    x.save_image(EnvLayout::Protected32, &mut out);
    visible(out)
}

fn show(image: &Image) -> String {
    let word = |i: usize| u16::from_le_bytes([image[i], image[i + 1]]);
    let mut s = format!("cw {:04x} sw {:04x} tw {:04x}", word(0), word(4), word(8));
    for r in image[28..].chunks(10) {
        s += &format!(" {:02x}{:02x}:", r[9], r[8]);
        r[..8].iter().rev().for_each(|b| s += &format!("{b:02x}"));
    }
    s
}

/// Mismatches, counted by instruction, the first few in full.
#[derive(Default)]
struct Report(BTreeMap<String, (u64, Vec<String>)>);

impl Report {
    fn add(&mut self, what: &str, text: impl FnOnce() -> String) {
        let (n, texts) = self.0.entry(what.to_string()).or_default();
        *n += 1;
        if *n <= 2 {
            texts.push(text());
        }
    }

    fn finish(self) {
        for (what, (n, texts)) in &self.0 {
            println!("{what}: {n} mismatches\n{}", texts.join("\n"));
        }
        assert!(self.0.is_empty(), "{} instructions differ from the host", self.0.len());
    }
}

fn is_transcendental(opcode: u16) -> bool {
    matches!(opcode, 0x1f0..=0x1f3 | 0x1f9 | 0x1fb | 0x1fe | 0x1ff)
}

fn is_defined(opcode: u16) -> bool {
    // FNENI, FNDISI and FNSETPM are decoded by the host, but DB E5 on is not.
    X87::new().exec_reg(opcode, &mut 0).is_ok()
}

fn defined_opcodes() -> impl Iterator<Item = u16> {
    (0..8u16).flat_map(|e| (0xc0..=0xff).map(move |m| e << 8 | m)).filter(|&op| is_defined(op))
}

#[test]
fn register_forms_are_exact() {
    let Some(mut rng) = rng() else { return };
    let cases = from_env("X87_CASES", 2000);
    let mut report = Report::default();
    for opcode in defined_opcodes().filter(|&op| !is_transcendental(op)) {
        for _ in 0..cases {
            let before = rng.state();
            let flags = rng.next() as u32 & ARITHMETIC_FLAGS;
            let mut host_flags = flags;
            let host = visible(run_native(reg_stub(opcode), &before, &mut host_flags, &mut [0; 128]));
            let mut x = ours(&before);
            let mut our_flags = flags;
            x.exec_reg(opcode, &mut our_flags).unwrap();
            let our = image_of(&x);
            let ours_flags = our_flags & ARITHMETIC_FLAGS;
            let host_flags = host_flags & ARITHMETIC_FLAGS;
            if our != host || ours_flags != host_flags {
                report.add(&format!("{:02x} {:02x}", 0xd8 + (opcode >> 8), opcode & 0xff), || {
                    format!(
                        "  before {}\n  host   {} fl {host_flags:x}\n  ours   {} fl {ours_flags:x}",
                        show(&before),
                        show(&host),
                        show(&our)
                    )
                });
            }
        }
    }
    report.finish();
}

/// The operand in memory for a number of `format`: of all classes.
fn operand(rng: &mut Rng, format: Format, st0: F80) -> Memory {
    let mut m = [0; 128];
    let bytes: Vec<u8> = match format {
        Format::F32 => {
            let sign = rng.next() as u32 & 0x8000_0000;
            let special =
                [0, 1, 0x7f_ffff, 0x80_0000, 0x7f7f_ffff, 0x7f80_0000, 0x7f80_0001, 0x7fc0_0000, 0x3f80_0000];
            let bits = if rng.chance(40) { sign | special[rng.below(9) as usize] } else { rng.next() as u32 };
            let bits = if rng.chance(15) { x87::Env::new(0x37f).to_f32(st0) } else { bits };
            bits.to_le_bytes().to_vec()
        }
        Format::F64 => {
            let sign = rng.next() & 1 << 63;
            let special = [
                0,
                1,
                (1 << 52) - 1,
                1 << 52,
                0x7fe << 52 | 0xfff,
                0x7ff << 52,
                (0x7ff << 52) | 1,
                0xfff << 51,
                0x3ff << 52,
            ];
            let bits = if rng.chance(40) { sign | special[rng.below(9) as usize] } else { rng.next() };
            let bits = if rng.chance(15) { x87::Env::new(0x37f).to_f64(st0) } else { bits };
            bits.to_le_bytes().to_vec()
        }
        Format::F80 => rng.f80().to_bytes().to_vec(),
        Format::Bcd => {
            let valid = rng.chance(70);
            let mut b: Vec<u8> = (0..10)
                .map(|_| if valid { (rng.below(10) << 4 | rng.below(10)) as u8 } else { rng.next() as u8 })
                .collect();
            if rng.chance(20) {
                b[..9].fill(0);
            }
            b[9] = if valid { rng.next() as u8 & 0x80 } else { rng.next() as u8 };
            b
        }
        Format::I16 | Format::I32 | Format::I64 => {
            (rng.next() as i64 >> rng.below(64)).to_le_bytes().to_vec()
        }
    };
    m[..bytes.len()].copy_from_slice(&bytes);
    m
}

fn st0(image: &Image) -> F80 {
    ours(image).st(0)
}

#[test]
fn memory_forms_are_exact() {
    let Some(mut rng) = rng() else { return };
    let cases = from_env("X87_CASES", 6000);
    let mut report = Report::default();
    let layout = EnvLayout::Protected32;
    for (escape, reg) in (0xd8..=0xdfu8).flat_map(|e| (0..8).map(move |r| (e, r))) {
        let Ok(form) = MemForm::classify(escape, reg) else {
            continue;
        };
        for _ in 0..cases {
            let before = rng.state();
            let mut memory = match form {
                MemForm::Arith(_, f) | MemForm::Load(f) => operand(&mut rng, f, st0(&before)),
                MemForm::LoadEnv | MemForm::Restore => {
                    let mut m = [0; 128];
                    m[..108].copy_from_slice(&rng.state());
                    m
                }
                _ => [0xa5; 128],
            };
            let mut our_memory = memory;
            if form == MemForm::LoadControl {
                let control = rng.next() as u16;
                memory[..2].copy_from_slice(&control.to_le_bytes());
                our_memory = memory;
            }
            let mut flags = 0;
            let host = visible(run_native(mem_stub(escape, reg), &before, &mut flags, &mut memory));
            let mut x = ours(&before);
            if form.is_store() {
                let untouched = x.clone();
                let mut out = [0; 108];
                let prepared = x.prepare(form, layout, &mut out);
                assert_eq!(x, untouched, "prepare changed the state");
                our_memory[..prepared.len].copy_from_slice(&out[..prepared.len]);
                x.commit(prepared);
            } else {
                x.load_op(form, layout, &our_memory[..form.size(layout)]);
            }
            let our = image_of(&x);
            if matches!(form, MemForm::StoreEnv | MemForm::Save) {
                // Pointers, which the host does not keep.
                memory[12..28].fill(0);
                our_memory[12..28].fill(0);
            }
            if our != host || memory != our_memory {
                report.add(&format!("{escape:02x} /{reg} {form:?}"), || {
                    format!(
                        "  before {}\n  host   {} mem {:02x?}\n  ours   {} mem {:02x?}",
                        show(&before),
                        show(&host),
                        &memory[..10],
                        show(&our),
                        &our_memory[..10]
                    )
                });
            }
        }
    }
    report.finish();
}

/// How many units of the last place two results lie apart.
fn distance(a: F80, b: F80) -> u128 {
    let line = |v: F80| {
        let exp = u128::from(v.sign_exp & 0x7fff).max(1);
        let magnitude =
            ((exp << 63) + u128::from(v.mantissa & !(1 << 63)) + u128::from(v.mantissa >> 63 << 63)) as i128;
        if v.sign() { -magnitude } else { magnitude }
    };
    if a.is_nan() || b.is_nan() {
        return if a == b { 0 } else { u128::MAX };
    }
    line(a).abs_diff(line(b))
}

/// Flags and condition codes of a status word that a transcendental instruction defines without knowing how the last
/// bit was rounded: all but C1, unless a stack fault says what it means.
fn comparable_status(image: &Image) -> u16 {
    let sw = u16::from_le_bytes([image[4], image[5]]);
    if sw & x87::SF != 0 { sw } else { sw & !x87::C1 }
}

/// Arguments of the defined range, mixed with any others.
fn transcendental_state(rng: &mut Rng, opcode: u16) -> Image {
    let mut image = rng.state();
    // So that SF afterwards tells a stack fault of this instruction.
    image[4] &= !(x87::SF as u8);
    if rng.chance(10) {
        return image;
    }
    let sign = rng.next() as u16 & 0x8000;
    let mantissa = rng.mantissa();
    let exp = |rng: &mut Rng, low: u64, high: u64| (0x3fff + low - 100 + rng.below(high - low + 1)) as u16;
    let st0 = match opcode {
        // F2XM1 up to 1, FYL2XP1 up to 1 - sqrt(1/2).
        0x1f0 => F80 { mantissa, sign_exp: sign | exp(rng, 30, 99) },
        0x1f9 => F80 { mantissa, sign_exp: sign | exp(rng, 30, 97) },
        // FYL2X: positive, often close to 1.
        0x1f1 if rng.chance(40) => {
            let near = rng.next() >> rng.below(64);
            if rng.chance(50) {
                F80 { mantissa: (1 << 63) | near >> 1, sign_exp: 0x3fff }
            } else {
                F80 { mantissa: !(near >> 1), sign_exp: 0x3ffe }
            }
        }
        0x1f1 => F80 { mantissa, sign_exp: rng.exponent() },
        0x1f3 => F80 { mantissa, sign_exp: sign | exp(rng, 90, 110) },
        _ => F80 { mantissa, sign_exp: sign | exp(rng, 40, 165) },
    };
    image[28..38].copy_from_slice(&st0.to_bytes());
    let st1 = F80 { mantissa: rng.mantissa(), sign_exp: exp(rng, 90, 110) | (rng.next() as u16 & 0x8000) };
    image[38..48].copy_from_slice(&st1.to_bytes());
    image
}

#[test]
fn transcendentals_are_within_an_ulp() {
    let Some(mut rng) = rng() else { return };
    let cases = from_env("X87_CASES", 20_000);
    let mut report = Report::default();
    for opcode in defined_opcodes().filter(|&op| is_transcendental(op)) {
        let (mut worst, mut differing) = (0, 0);
        for _ in 0..cases {
            let before = transcendental_state(&mut rng, opcode);
            let mut flags = 0;
            let host = visible(run_native(reg_stub(opcode), &before, &mut flags, &mut [0; 128]));
            let mut x = ours(&before);
            x.exec_reg(opcode, &mut 0).unwrap();
            let our = image_of(&x);
            let register = |image: &Image, i: usize| {
                F80::from_bytes(image[28 + 10 * i..38 + 10 * i].try_into().unwrap())
            };
            let apart = (0..8).map(|i| distance(register(&host, i), register(&our, i))).max().unwrap_or(0);
            // One unit off at the least normal number is the difference between normal and denormal.
            let at_border = apart == 1 && (0..2).any(|i| register(&host, i).sign_exp & 0x7fff <= 1);
            let rest = |image: &Image| {
                let tags = u16::from_le_bytes([image[8], image[9]]);
                if at_border {
                    (comparable_status(image) & !x87::UE, 0)
                } else {
                    (comparable_status(image), tags)
                }
            };
            if apart > 1 || rest(&host) != rest(&our) {
                report.add(&format!("{:02x} {:02x}", 0xd8 + (opcode >> 8), opcode & 0xff), || {
                    format!("  before {}\n  host   {}\n  ours   {}", show(&before), show(&host), show(&our))
                });
            } else {
                worst = worst.max(apart);
                differing += u64::from(apart != 0);
            }
        }
        println!("d9 {:02x}: {differing} of {cases} differ, by up to {worst} ulp", opcode & 0xff);
    }
    report.finish();
}

/// An area for FXSAVE, with its alignment.
#[repr(align(16))]
struct Aligned([u8; 512]);

/// Run one of the stubs that go from one image to another.
fn transfer(stub: unsafe extern "C" fn(*const u8, *mut u8), from: &[u8]) -> [u8; 512] {
    let (mut source, mut target) = (Aligned([0; 512]), Aligned([0; 512]));
    source.0[..from.len()].copy_from_slice(from);
    // SAFETY: both areas are as large and aligned as any of the stubs needs; the state in `from` has nothing pending
    // and, for FXRSTOR, a valid MXCSR; the registers changed are all the caller's to lose.
    unsafe { stub(source.0.as_ptr(), target.0.as_mut_ptr()) };
    target.0
}

#[test]
fn state_images_agree() {
    let Some(mut rng) = rng() else { return };
    for _ in 0..5000 {
        let before = rng.state();
        let mut x = ours(&before);

        let host = transfer(x87_fxsave_stub, &before);
        let mut area = [0; 160];
        x.fxsave(false, &mut area);
        // FOP, FIP, FDP and what is not the unit's are left out.
        assert_eq!((&area[..6], &area[32..]), (&host[..6], &host[32..160]), "fxsave of {}", show(&before));

        area[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
        let host = visible(transfer(x87_fxrstor_stub, &area)[..108].try_into().unwrap());
        let mut restored = X87::new();
        restored.fxrstor(false, &area);
        assert_eq!(image_of(&restored), host, "fxrstor of {}", show(&before));

        let mut out = [0; 108];
        x.save_image(EnvLayout::Protected16, &mut out);
        let host = transfer(x87_fnsave16_stub, &before);
        assert_eq!(
            (&out[..6], &out[14..94]),
            (&host[..6], &host[14..94]),
            "fnsave of 16 bits of {}",
            show(&before)
        );

        let host = visible(transfer(x87_frstor16_stub, &out)[..108].try_into().unwrap());
        let mut restored = X87::new();
        restored.restore(EnvLayout::Protected16, &out);
        assert_eq!(image_of(&restored), host, "frstor of 16 bits of {}", show(&before));

        let host = visible(transfer(x87_movq_stub, &before)[..108].try_into().unwrap());
        let mut mmx = x.clone();
        mmx.set_mmx(5, u64::from_le_bytes(before[..8].try_into().unwrap()));
        assert_eq!(image_of(&mmx), host, "movq over {}", show(&before));

        let host = visible(transfer(x87_emms_stub, &before)[..108].try_into().unwrap());
        x.emms();
        assert_eq!(image_of(&x), host, "emms over {}", show(&before));
    }
}
