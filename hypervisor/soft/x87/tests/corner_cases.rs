//! Hand-made cases, from the manual: what must hold on any host.

use x87::{
    Arith, C0, C1, C2, C3, DE, ES, EnvLayout, F80, Format, IE, MemForm, OE, PE, SF, UE, Undefined, X87, ZE,
};

const INFINITY: F80 = F80 { mantissa: 1 << 63, sign_exp: 0x7fff };
const LARGEST: F80 = F80 { mantissa: u64::MAX, sign_exp: 0x7ffe };
const TINY: F80 = F80 { mantissa: 1, sign_exp: 0 };
const LAYOUT: EnvLayout = EnvLayout::Protected32;

fn int(v: i64) -> F80 {
    x87::from_i64(v)
}

/// A unit with a control word and a stack, the last value on top.
fn unit(control: u16, stack: &[F80]) -> X87 {
    let mut x = X87::new();
    x.set_control_word(control);
    stack.iter().for_each(|v| x.fld(*v));
    x
}

/// Execute a register form that must exist; the status word without TOP.
fn exec(x: &mut X87, opcode: u16) -> u16 {
    x.exec_reg(opcode, &mut 0).unwrap();
    x.status_word() & !0x3800
}

fn store(x: &mut X87, format: Format) -> Vec<u8> {
    let mut out = [0xa5; 108];
    let p = x.prepare(MemForm::StorePop(format), LAYOUT, &mut out);
    let bytes = out[..p.len].to_vec();
    x.commit(p);
    bytes
}

const FADD: u16 = 0x0c1;
const FSUB: u16 = 0x0e1;
const FMUL: u16 = 0x0c9;
const FDIV: u16 = 0x0f1;
const FSQRT: u16 = 0x1fa;
const FPREM: u16 = 0x1f8;
const FXAM: u16 = 0x1e5;

#[test]
fn masked_responses() {
    let unnormal = F80 { mantissa: 1 << 62, sign_exp: 0x3fff };
    let pseudo_infinity = F80 { mantissa: 0, sign_exp: 0x7fff };
    let pseudo_nan = F80 { mantissa: 1, sign_exp: 0x7fff };
    for bad in [unnormal, pseudo_infinity, pseudo_nan] {
        let mut x = unit(0x37f, &[bad, F80::ONE]);
        assert_eq!(exec(&mut x, FADD), IE);
        assert_eq!(x.st(0), F80::INDEFINITE);
    }
    for (opcode, st1, st0, result, flags) in [
        (FSUB, INFINITY, INFINITY, F80::INDEFINITE, IE),
        (FMUL, F80::ZERO, INFINITY, F80::INDEFINITE, IE),
        (FDIV, F80::ZERO, F80::ZERO, F80::INDEFINITE, IE),
        (FDIV, F80::ZERO, F80::ONE, INFINITY, ZE),
        (FMUL, LARGEST, int(2), INFINITY, OE | PE | C1),
        (FMUL, TINY, TINY, F80::ZERO, DE | UE | PE),
        (FDIV, int(3), F80::ONE, F80 { mantissa: 0xaaaa_aaaa_aaaa_aaab, sign_exp: 0x3ffd }, PE | C1),
        (FSQRT, F80::ZERO, int(-1), F80::INDEFINITE, IE),
        (FSQRT, F80::ZERO, int(49), int(7), 0),
    ] {
        let mut x = unit(0x37f, &[st1, st0]);
        assert_eq!(exec(&mut x, opcode), flags, "{opcode:x} {st0:x?} {st1:x?}");
        assert_eq!(x.st(0), result, "{opcode:x} {st0:x?} {st1:x?}");
    }
}

#[test]
fn nans_propagate_by_significand() {
    let nan = |payload: u64, sign_exp| F80 { mantissa: 1 << 63 | payload, sign_exp };
    let quiet = 1 << 62;
    for (a, b, result, flags) in [
        (nan(quiet | 5, 0x7fff), nan(quiet | 9, 0xffff), nan(quiet | 9, 0xffff), 0),
        (nan(quiet | 5, 0xffff), nan(quiet | 5, 0x7fff), nan(quiet | 5, 0x7fff), 0),
        (nan(9, 0x7fff), nan(quiet | 5, 0x7fff), nan(quiet | 5, 0x7fff), IE),
        (nan(9, 0x7fff), nan(3, 0x7fff), nan(quiet | 9, 0x7fff), IE),
        (nan(9, 0x7fff), TINY, nan(quiet | 9, 0x7fff), IE),
    ] {
        for (st0, st1) in [(a, b), (b, a)] {
            let mut x = unit(0x37f, &[st1, st0]);
            assert_eq!((exec(&mut x, FADD), x.st(0)), (flags, result), "{a:x?} {b:x?}");
        }
    }
}

#[test]
fn stack_faults() {
    let x = unit(0x37f, &[F80::ONE; 9]);
    assert_eq!(x.status_word() & (IE | SF | C1), IE | SF | C1);
    assert_eq!(x.st(0), F80::INDEFINITE);
    let mut x = X87::new();
    assert_eq!(exec(&mut x, FADD), IE | SF);
    assert_eq!((x.st(0), x.is_empty(0), x.is_empty(1)), (F80::INDEFINITE, false, true));
    let mut x = unit(0x37e, &[]);
    exec(&mut x, FADD);
    assert!(x.pending() && x.is_empty(0));
    assert_eq!(exec(&mut x, FXAM) & (C3 | C2 | C0), C3 | C0);
}

#[test]
fn unmasked_exceptions_pend_and_keep_what_they_must() {
    let mut x = unit(0x37b, &[F80::ZERO, F80::ONE]);
    assert_eq!(exec(&mut x, FDIV) & (ZE | ES), ZE | ES);
    assert_eq!((x.pending(), x.st(0)), (true, F80::ONE));
    assert!(!x87::is_waiting(0x3e2) && x87::is_waiting(FADD));
    exec(&mut x, 0x3e2);
    assert_eq!((x.pending(), x.status_word() & 0x80ff), (false, 0));

    // Overflow in a register wraps the exponent.
    let mut x = unit(0x377, &[LARGEST, LARGEST]);
    assert_eq!(exec(&mut x, FADD) & (OE | PE | ES), OE | ES);
    assert_eq!(x.st(0), F80 { mantissa: u64::MAX, sign_exp: 0x7fff - 0x6000 });

    // A flag raised while masked comes to pend when it is unmasked.
    let mut x = unit(0x37f, &[F80::ZERO, F80::ONE]);
    exec(&mut x, FDIV);
    assert!(!x.pending());
    x.set_control_word(0x37b);
    assert!(x.pending());
}

#[test]
fn stores_are_prepared_then_committed() {
    let mut x = unit(0x37f, &[F80::ONE]);
    let before = x.clone();
    let mut out = [0; 108];
    let p = x.prepare(MemForm::StorePop(Format::F64), LAYOUT, &mut out);
    assert_eq!((p.len, &out[..8], &x), (8, &1f64.to_le_bytes()[..], &before));
    x.commit(p);
    assert!(x.is_empty(7));

    // An unmasked exception: no bytes, no pop, but the flag.
    for (mask, value, format, flag) in [
        (IE, LARGEST, Format::I64, IE),
        (IE, F80::INDEFINITE, Format::Bcd, IE),
        (OE, LARGEST, Format::F64, OE),
        (UE, TINY, Format::F32, UE),
    ] {
        let mut x = unit(0x37f & !mask, &[value]);
        assert!(store(&mut x, format).is_empty());
        assert_eq!((x.pending(), x.st(0), x.status_word() & 0x3f), (true, value, flag));
    }
    // Inexact alone does not keep the bytes back.
    let mut x = unit(0x35f, &[F80 { mantissa: u64::MAX, sign_exp: 0x3fff }]);
    assert_eq!(store(&mut x, Format::F32), 2f32.to_le_bytes());
    assert!(x.pending());
}

#[test]
fn integers_and_bcd() {
    let half = F80 { mantissa: 1 << 63, sign_exp: 0x3ffe };
    let two_and_a_half = F80 { mantissa: 0xa000_0000_0000_0000, sign_exp: 0x4000 };
    for (control, half_to, more_to) in [(0x37f, 0i16, 2i16), (0x77f, 0, 2), (0xb7f, 1, 3), (0xf7f, 0, 2)] {
        assert_eq!(store(&mut unit(control, &[half]), Format::I16), half_to.to_le_bytes());
        assert_eq!(store(&mut unit(control, &[two_and_a_half]), Format::I16), more_to.to_le_bytes());
    }
    assert_eq!(store(&mut unit(0x37f, &[int(32768)]), Format::I16), i16::MIN.to_le_bytes());
    assert_eq!(store(&mut unit(0x37f, &[int(i64::MIN)]), Format::I64), i64::MIN.to_le_bytes());
    let bcd = [0x21, 0x43, 0x65, 0, 0, 0, 0, 0, 0, 0x80];
    assert_eq!(x87::from_bcd(bcd), int(-654_321));
    assert_eq!(store(&mut unit(0x37f, &[int(-654_321)]), Format::Bcd), bcd);
    let indefinite = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];
    assert_eq!(store(&mut unit(0x37f, &[int(1_000_000_000_000_000_000)]), Format::Bcd), indefinite);
}

#[test]
fn precision_control_rounds_arithmetic_only() {
    let third = |control: u16| {
        let mut x = unit(control, &[int(3), F80::ONE]);
        exec(&mut x, FDIV);
        x.st(0).mantissa
    };
    assert_eq!(third(0x07f), 0xaaaa_ab00_0000_0000);
    assert_eq!(third(0x27f), 0xaaaa_aaaa_aaaa_a800);
    assert_eq!(third(0x37f), 0xaaaa_aaaa_aaaa_aaab);
    let long = F80 { mantissa: u64::MAX, sign_exp: 0x3fff };
    assert_eq!(unit(0x07f, &[long]).st(0), long);
}

#[test]
fn partial_remainders() {
    // 2^100 mod 3 takes two steps; the quotient bits come with the last.
    let mut x = unit(0x37f, &[int(3), F80 { mantissa: 1 << 63, sign_exp: 0x3fff + 100 }]);
    assert_eq!(exec(&mut x, FPREM) & C2, C2);
    assert_eq!(exec(&mut x, FPREM) & C2, 0);
    assert_eq!(x.st(0), F80::ONE);
    // 17 = 3 * 5 + 2: quotient 3, so C1 (bit 0) and C3 (bit 1).
    let mut x = unit(0x37f, &[int(5), int(17)]);
    assert_eq!((exec(&mut x, FPREM), x.st(0)), (C1 | C3, int(2)));
    // To nearest: 17 = 3 * 6 - 1: quotient 6, C3 and C0.
    let mut x = unit(0x37f, &[int(3), int(17)]);
    assert_eq!((exec(&mut x, 0x1f5), x.st(0)), (C3 | C0, int(-1)));
}

#[test]
fn denormal_memory_operands() {
    let tiny = 1u32.to_le_bytes();
    for (control, flags, result) in [(0x37f, DE, INFINITY), (0x37d, DE | ES | 0x8000, INFINITY)] {
        let mut x = unit(control, &[INFINITY]);
        x.load_op(MemForm::Arith(Arith::Add, Format::F32), LAYOUT, &tiny);
        assert_eq!((x.status_word() & !0x3800, x.st(0)), (flags, result));
    }
    // A NaN ranks higher; a compare takes #D as well.
    let mut x = unit(0x37f, &[F80::INDEFINITE]);
    x.load_op(MemForm::Arith(Arith::Mul, Format::F32), LAYOUT, &tiny);
    assert_eq!(x.status_word() & 0x3f, 0);
    let mut x = unit(0x37f, &[F80::ONE]);
    x.load_op(MemForm::Arith(Arith::Comp, Format::F32), LAYOUT, &tiny);
    assert_eq!((x.status_word() & 0x47ff, x.is_empty(7)), (DE, true));
}

#[test]
fn environments_in_four_layouts() {
    let mut x = unit(0x37f, &[F80::ZERO, INFINITY, F80::ONE]);
    x.note(0x5ab, 0x1234, 0x5_6789);
    x.note_data(0x4321, 0x9876);
    let image = |layout| {
        let mut out = [0; 108];
        x.env_image(layout, &mut out);
        out[..layout.env_size()].to_vec()
    };
    let words = |v: &[u16]| v.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    // R7 zero, R6 special, R5 valid, the others empty.
    let tags = 0x63ff;
    assert_eq!(image(EnvLayout::Protected16), words(&[0x37f, 0x2800, tags, 0x6789, 0x1234, 0x9876, 0x4321]));
    // 0x12340 + 0x56789 = 0x68ac9; 0x43210 + 0x9876 = 0x4ca86.
    assert_eq!(image(EnvLayout::Real16), words(&[0x37f, 0x2800, tags, 0x8ac9, 0x65ab, 0xca86, 0x4000]));
    assert_eq!(
        image(EnvLayout::Protected32),
        words(&[
            0x37f, 0xffff, 0x2800, 0xffff, tags, 0xffff, 0x6789, 0x5, 0x1234, 0x5ab, 0x9876, 0, 0x4321,
            0xffff
        ])
    );
    assert_eq!(
        image(EnvLayout::Real32),
        words(&[
            0x37f, 0xffff, 0x2800, 0xffff, tags, 0xffff, 0x8ac9, 0xffff, 0x65ab, 0, 0xca86, 0xffff, 0x4000, 0
        ])
    );
    for layout in [EnvLayout::Real16, EnvLayout::Protected16, EnvLayout::Real32, EnvLayout::Protected32] {
        let mut out = [0; 108];
        let mut y = x.clone();
        let p = y.prepare(MemForm::Save, layout, &mut out);
        y.commit(p);
        assert_eq!((y.control_word(), y.abridged_tags(), y.fip), (0x37f, 0, 0), "FNSAVE initialises");
        y.restore(layout, &out[..layout.save_size()]);
        let mut again = [0; 108];
        y.save_image(layout, &mut again);
        assert_eq!(again, out, "{layout:?}");
        // FNSTENV masks all exceptions.
        let mut y = x.clone();
        y.set_control_word(0x340);
        let p = y.prepare(MemForm::StoreEnv, layout, &mut out);
        y.commit(p);
        assert_eq!(y.control_word(), 0x37f);
    }
}

#[test]
fn fxsave_keeps_pointers_of_both_widths() {
    let mut x = unit(0x37f, &[INFINITY]);
    x.note(0x123, 0x8, 0x1234_5678_9abc);
    x.note_data(0x10, 0xfedc_ba98_7654_3210);
    let mut area = [0xee; 160];
    x.fxsave(true, &mut area);
    assert_eq!(area[24..32], [0xee; 8], "MXCSR is the caller's");
    let mut y = X87::new();
    y.fxrstor(true, &area);
    assert_eq!((y.fip, y.fcs, y.fdp, y.fop), (x.fip, 0, x.fdp, 0x123));
    x.fxsave(false, &mut area);
    y.fxrstor(false, &area);
    assert_eq!((y.fip, y.fcs, y.fdp, y.fds), (0x5678_9abc, 0x8, 0x7654_3210, 0x10));
    assert_eq!((y.st(0), y.abridged_tags()), (INFINITY, 0x80));
}

#[test]
fn mmx_shares_the_registers() {
    let mut x = unit(0x37f, &[F80::ONE, F80::ONE]);
    x.set_mmx(3, 0x1122_3344_5566_7788);
    assert_eq!((x.mmx(3), x.status_word() & 0x3800, x.abridged_tags()), (0x1122_3344_5566_7788, 0, 0xff));
    assert_eq!(x.st(3), F80 { mantissa: 0x1122_3344_5566_7788, sign_exp: 0xffff });
    x.emms();
    assert_eq!(x.tag_word(), 0xffff);
}

#[test]
fn undefined_encodings() {
    for escape in 0xd8..=0xdfu8 {
        for reg in 0..8 {
            let undefined = [(0xd9, 1), (0xdb, 4), (0xdb, 6), (0xdd, 5)].contains(&(escape, reg));
            assert_eq!(MemForm::classify(escape, reg) == Err(Undefined), undefined, "{escape:x} /{reg}");
        }
    }
    for opcode in [
        0x1d1, 0x1e2, 0x1e3, 0x1e6, 0x1e7, 0x1ef, 0x2e0, 0x2e8, 0x2f0, 0x3e5, 0x3f8, 0x5f0, 0x6d8, 0x7e1,
        0x7f8,
    ] {
        assert_eq!(X87::new().exec_reg(opcode, &mut 0), Err(Undefined), "{opcode:x}");
    }
    let mut x = unit(0x37f, &[F80::ONE]);
    assert_eq!(x.exec_reg(0x7e0, &mut 0), Ok(Some(x.status_word())));
}

#[test]
fn state_round_trips_and_is_made_one_that_can_be() {
    let mut x = unit(0x35f, &[INFINITY, F80::ONE]);
    exec(&mut x, FADD);
    x.note(1, 2, 3);
    let text = serde_json::to_string(&x).unwrap();
    assert_eq!(serde_json::from_str::<X87>(&text).unwrap(), x);
    // Nothing in a saved file can make a state that FLDENV could not.
    let mut hostile: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (field, value) in [("control", 65535), ("status", 65535), ("valid", 255), ("fop", 65535)] {
        hostile[field] = value.into();
    }
    let mut y: X87 = serde_json::from_value(hostile).unwrap();
    assert_eq!((y.control_word(), y.fop, y.pending()), (0x1f7f, 0x7ff, false));
    for opcode in 0..=0xffff {
        let _ = y.exec_reg(opcode, &mut 0);
    }
    let lost = r#"{"control":895,"status":0,"valid":0,"fop":0}"#;
    assert!(serde_json::from_str::<X87>(lost).is_err(), "a field that is lost is told");
}

#[test]
fn short_operands_count_as_zero_filled() {
    for (escape, reg) in (0xd8..=0xdf).flat_map(|e| (0..8).map(move |r| (e, r))) {
        if let Ok(form) = MemForm::classify(escape, reg) {
            let mut x = unit(0x37f, &[F80::ONE]);
            x.load_op(form, LAYOUT, &[]);
            x.load_op(form, LAYOUT, &[1]);
        }
    }
}
