//! The host's own instructions as functions, and the operands to try them with.

/// Random operands from a seed, which every failure prints.
pub struct Random {
    pub seed: u64,
    state: u64,
}

impl Random {
    /// A seed from SIMD_SEED, else from the clock.
    pub fn new() -> Self {
        let clock = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = std::env::var("SIMD_SEED").map_or_else(|_| clock(), |s| s.parse().unwrap());
        Self { seed, state: seed }
    }

    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    /// A register for integer operations: random, or made of bytes or words at the borders.
    pub fn register(&mut self) -> u128 {
        match self.below(4) {
            0 => self.wide(),
            1 => (0..16).fold(0, |v, _| {
                let byte = self.next();
                v << 8 | u128::from(self.pick(&[0u8, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff, byte as u8]))
            }),
            2 => (0..8).fold(0, |v, _| {
                let word = self.next();
                v << 16
                    | u128::from(self.pick(&[
                        0u16,
                        1,
                        0x7fff,
                        0x8000,
                        0x8001,
                        0xffff,
                        0xff,
                        0x80,
                        word as u16,
                    ]))
            }),
            _ => (0..4).fold(0, |v, _| {
                let word = self.next();
                v << 32
                    | u128::from(self.pick(&[
                        0u32,
                        1,
                        0x7fff_ffff,
                        0x8000_0000,
                        0xffff_ffff,
                        0x8000,
                        word as u32,
                    ]))
            }),
        }
    }

    /// Two registers, sometimes alike in many bytes.
    pub fn pair(&mut self) -> (u128, u128) {
        let (a, b) = (self.register(), self.register());
        let keep = self.register();
        match self.below(4) {
            0 => (a, a & keep | b & !keep),
            _ => (a, b),
        }
    }
}

/// All immediates of a function that takes one as a constant.
#[rustfmt::skip]
macro_rules! every_imm {
    ($host:ident) => {
        [
            $host::<0>, $host::<1>, $host::<2>, $host::<3>, $host::<4>, $host::<5>, $host::<6>, $host::<7>, $host::<8>, $host::<9>, $host::<10>, $host::<11>, $host::<12>, $host::<13>, $host::<14>, $host::<15>,
            $host::<16>, $host::<17>, $host::<18>, $host::<19>, $host::<20>, $host::<21>, $host::<22>, $host::<23>, $host::<24>, $host::<25>, $host::<26>, $host::<27>, $host::<28>, $host::<29>, $host::<30>, $host::<31>,
            $host::<32>, $host::<33>, $host::<34>, $host::<35>, $host::<36>, $host::<37>, $host::<38>, $host::<39>, $host::<40>, $host::<41>, $host::<42>, $host::<43>, $host::<44>, $host::<45>, $host::<46>, $host::<47>,
            $host::<48>, $host::<49>, $host::<50>, $host::<51>, $host::<52>, $host::<53>, $host::<54>, $host::<55>, $host::<56>, $host::<57>, $host::<58>, $host::<59>, $host::<60>, $host::<61>, $host::<62>, $host::<63>,
            $host::<64>, $host::<65>, $host::<66>, $host::<67>, $host::<68>, $host::<69>, $host::<70>, $host::<71>, $host::<72>, $host::<73>, $host::<74>, $host::<75>, $host::<76>, $host::<77>, $host::<78>, $host::<79>,
            $host::<80>, $host::<81>, $host::<82>, $host::<83>, $host::<84>, $host::<85>, $host::<86>, $host::<87>, $host::<88>, $host::<89>, $host::<90>, $host::<91>, $host::<92>, $host::<93>, $host::<94>, $host::<95>,
            $host::<96>, $host::<97>, $host::<98>, $host::<99>, $host::<100>, $host::<101>, $host::<102>, $host::<103>, $host::<104>, $host::<105>, $host::<106>, $host::<107>, $host::<108>, $host::<109>, $host::<110>, $host::<111>,
            $host::<112>, $host::<113>, $host::<114>, $host::<115>, $host::<116>, $host::<117>, $host::<118>, $host::<119>, $host::<120>, $host::<121>, $host::<122>, $host::<123>, $host::<124>, $host::<125>, $host::<126>, $host::<127>,
            $host::<128>, $host::<129>, $host::<130>, $host::<131>, $host::<132>, $host::<133>, $host::<134>, $host::<135>, $host::<136>, $host::<137>, $host::<138>, $host::<139>, $host::<140>, $host::<141>, $host::<142>, $host::<143>,
            $host::<144>, $host::<145>, $host::<146>, $host::<147>, $host::<148>, $host::<149>, $host::<150>, $host::<151>, $host::<152>, $host::<153>, $host::<154>, $host::<155>, $host::<156>, $host::<157>, $host::<158>, $host::<159>,
            $host::<160>, $host::<161>, $host::<162>, $host::<163>, $host::<164>, $host::<165>, $host::<166>, $host::<167>, $host::<168>, $host::<169>, $host::<170>, $host::<171>, $host::<172>, $host::<173>, $host::<174>, $host::<175>,
            $host::<176>, $host::<177>, $host::<178>, $host::<179>, $host::<180>, $host::<181>, $host::<182>, $host::<183>, $host::<184>, $host::<185>, $host::<186>, $host::<187>, $host::<188>, $host::<189>, $host::<190>, $host::<191>,
            $host::<192>, $host::<193>, $host::<194>, $host::<195>, $host::<196>, $host::<197>, $host::<198>, $host::<199>, $host::<200>, $host::<201>, $host::<202>, $host::<203>, $host::<204>, $host::<205>, $host::<206>, $host::<207>,
            $host::<208>, $host::<209>, $host::<210>, $host::<211>, $host::<212>, $host::<213>, $host::<214>, $host::<215>, $host::<216>, $host::<217>, $host::<218>, $host::<219>, $host::<220>, $host::<221>, $host::<222>, $host::<223>,
            $host::<224>, $host::<225>, $host::<226>, $host::<227>, $host::<228>, $host::<229>, $host::<230>, $host::<231>, $host::<232>, $host::<233>, $host::<234>, $host::<235>, $host::<236>, $host::<237>, $host::<238>, $host::<239>,
            $host::<240>, $host::<241>, $host::<242>, $host::<243>, $host::<244>, $host::<245>, $host::<246>, $host::<247>, $host::<248>, $host::<249>, $host::<250>, $host::<251>, $host::<252>, $host::<253>, $host::<254>, $host::<255>,
        ]
    };
}

/// A host instruction as a function; the shape says which operands it has.
macro_rules! host {
    ([$($kind:ident)+]: $($rest:tt)+) => { host!($($kind)+: $($rest)+) };
    (xmm xmm: $op:ident) => {{
        fn host(a: u128, b: u128) -> u128 {
            let (mut a, b) = (to_xmm(a), to_xmm(b));
            // SAFETY: computes in the registers it names.
            unsafe { asm!(concat!(stringify!($op), " {}, {}"), inout(xmm_reg) a, in(xmm_reg) b, options(nomem, nostack)) };
            from_xmm(a)
        }
        host as fn(u128, u128) -> u128
    }};
    (xmm xmm xmm0: $op:ident) => {{
        fn host(a: u128, b: u128, mask: u128) -> u128 {
            let (mut a, b, mask) = (to_xmm(a), to_xmm(b), to_xmm(mask));
            // SAFETY: computes in the registers it names.
            unsafe {
                asm!(concat!(stringify!($op), " xmm1, xmm2"), inout("xmm1") a, in("xmm2") b, in("xmm0") mask, options(nomem, nostack));
            }
            from_xmm(a)
        }
        host as fn(u128, u128, u128) -> u128
    }};
    (xmm xmm imm: $op:ident) => {{
        fn host<const IMM: i32>(a: u128, b: u128) -> u128 {
            let (mut a, b) = (to_xmm(a), to_xmm(b));
            // SAFETY: computes in the registers it names.
            unsafe {
                asm!(concat!(stringify!($op), " {}, {}, {}"), inout(xmm_reg) a, in(xmm_reg) b, const IMM, options(nomem, nostack));
            }
            from_xmm(a)
        }
        const HOST: [fn(u128, u128) -> u128; 256] = every_imm!(host);
        &HOST
    }};
    (xmm imm: $op:ident) => {{
        fn host<const IMM: i32>(a: u128) -> u128 {
            let mut a = to_xmm(a);
            // SAFETY: computes in the registers it names.
            unsafe { asm!(concat!(stringify!($op), " {}, {}"), inout(xmm_reg) a, const IMM, options(nomem, nostack)) };
            from_xmm(a)
        }
        const HOST: [fn(u128) -> u128; 256] = every_imm!(host);
        &HOST
    }};
    (xmm gpr imm: $op:ident, $size:literal) => {{
        fn host<const IMM: i32>(a: u128, b: u64) -> u128 {
            let mut a = to_xmm(a);
            // SAFETY: computes in the registers it names.
            unsafe {
                asm!(concat!(stringify!($op), " {}, {:", $size, "}, {}"), inout(xmm_reg) a, in(reg) b, const IMM, options(nomem, nostack));
            }
            from_xmm(a)
        }
        const HOST: [fn(u128, u64) -> u128; 256] = every_imm!(host);
        &HOST
    }};
    (gpr xmm imm: $op:ident, $size:literal) => {{
        fn host<const IMM: i32>(b: u128) -> u64 {
            let mut r = 0u64;
            // SAFETY: computes in the registers it names.
            unsafe {
                asm!(concat!(stringify!($op), " {:", $size, "}, {}, {}"), inout(reg) r, in(xmm_reg) to_xmm(b), const IMM, options(nomem, nostack));
            }
            r
        }
        const HOST: [fn(u128) -> u64; 256] = every_imm!(host);
        &HOST
    }};
    (gpr xmm: $op:ident) => {{
        fn host(b: u128) -> u32 {
            let r: u32;
            // SAFETY: computes in the registers it names.
            unsafe { asm!(concat!(stringify!($op), " {:e}, {}"), out(reg) r, in(xmm_reg) to_xmm(b), options(nomem, nostack)) };
            r
        }
        host as fn(u128) -> u32
    }};
    (mm mm: $op:ident) => {{
        fn host(mut a: u64, b: u64) -> u64 {
            // SAFETY: computes in the registers it names.
            unsafe {
                asm!("movq mm0, {0}", "movq mm1, {1}", concat!(stringify!($op), " mm0, mm1"), "movq {0}, mm0", "emms",
                    inout(reg) a, in(reg) b, out("mm0") _, out("mm1") _, options(nomem, nostack));
            }
            a
        }
        host as fn(u64, u64) -> u64
    }};
    (mm mm imm: $op:ident) => {{
        fn host<const IMM: i32>(mut a: u64, b: u64) -> u64 {
            // SAFETY: computes in the registers it names.
            unsafe {
                asm!("movq mm0, {0}", "movq mm1, {1}", concat!(stringify!($op), " mm0, mm1, {2}"), "movq {0}, mm0", "emms",
                    inout(reg) a, in(reg) b, const IMM, out("mm0") _, out("mm1") _, options(nomem, nostack));
            }
            a
        }
        const HOST: [fn(u64, u64) -> u64; 256] = every_imm!(host);
        &HOST
    }};
    (mm imm: $op:ident) => {{
        fn host<const IMM: i32>(mut a: u64) -> u64 {
            // SAFETY: computes in the registers it names.
            unsafe {
                asm!("movq mm0, {0}", concat!(stringify!($op), " mm0, {1}"), "movq {0}, mm0", "emms",
                    inout(reg) a, const IMM, out("mm0") _, options(nomem, nostack));
            }
            a
        }
        const HOST: [fn(u64) -> u64; 256] = every_imm!(host);
        &HOST
    }};
}

pub(crate) use {every_imm, host};
