//! Registers one by one.

use devices_core::rig::scenario;

use super::*;

#[test]
fn the_function_is_qemus() {
    scenario(|rig| {
        attach(rig, Kind::Output);
        let config = |rig: &mut Rig, at| rig.config_read(SLOT, 0, at, Size::B4);
        assert_eq!(config(rig, 0), 0x2668_8086);
        assert_eq!(config(rig, 8), 0x0403_0001);
        assert_eq!(config(rig, 0x2c), 0x1100_1af4);
        assert_eq!(config(rig, 0x3c) >> 8, 1, "INTA");
        assert_eq!(rig.config_read(SLOT, 0, 0x40, Size::B1), 1);
        assert_eq!(rig.config_read(SLOT, 0, 0x34, Size::B1), 0x60);
        assert_eq!(rig.config_read(SLOT, 0, 0x60, Size::B4), 0x0080_0005);
        rig.config_write(SLOT, 0, 0x10, Size::B4, !0);
        assert_eq!(config(rig, 0x10), 0xffff_c000);
    });
}

#[test]
fn in_reset_nothing_else_is_written() {
    scenario(|rig| {
        attach(rig, Kind::Output);
        w32(rig, reg::INTCTL as u64, !0);
        w32(rig, reg::CORBLBASE as u64, !0);
        assert_eq!([r32(rig, reg::INTCTL), r32(rig, reg::CORBLBASE), r16(rig, reg::STATESTS)], [0; 3]);
        w16(rig, reg::WAKEEN as u64, 1);
        w32(rig, reg::GCTL as u64, 0x101);
        assert_eq!(r32(rig, reg::GCTL), 0x101);
        w32(rig, reg::INTCTL as u64, !0);
        assert_eq!(r32(rig, reg::INTCTL), 0xc000_00ff);
        assert!(rig.irq(IRQ), "it is to be woken by codecs");
        assert_eq!(r32(rig, reg::INTSTS), 0xc000_0000);
        w32(rig, reg::GCTL as u64, 0);
        assert_eq!([r32(rig, reg::INTCTL), r16(rig, reg::WAKEEN), r16(rig, reg::STATESTS)], [0, 1, 1]);
        assert!(!rig.irq(IRQ));
    });
}

#[test]
fn the_wall_clock_has_24_mhz_and_an_alias() {
    scenario(|rig| {
        attach(rig, Kind::Output);
        rig.advance(ms(3));
        w32(rig, reg::GCTL as u64, 1);
        assert_eq!(r32(rig, reg::WALCLK), 0);
        rig.advance(ms(2) + 42);
        assert_eq!(r32(rig, reg::WALCLK), 48_001);
        assert_eq!(r32(rig, reg::ALIAS + reg::WALCLK), 48_001);
        assert_eq!(r32(rig, reg::ALIAS + reg::GCAP), 0);
        assert_eq!(r32(rig, 0x3ffc), 0);
    });
}

#[test]
fn commands_one_by_one() {
    scenario(|rig| {
        attach(rig, Kind::Output);
        w32(rig, reg::GCTL as u64, 1);
        w32(rig, reg::ICOI as u64, 0xf_0000);
        w16(rig, reg::ICIS as u64, 1);
        assert_eq!((r16(rig, reg::ICIS), r32(rig, reg::IRII)), (2, 0x1af4_0012));
        w16(rig, reg::ICIS as u64, 2);
        assert_eq!(r16(rig, reg::ICIS), 0);
        // Nobody is at address 3, and nodes are not named indirectly.
        for verb in [0x300f_0000u64, 0x080f_0000] {
            w32(rig, reg::ICOI as u64, verb);
            w16(rig, reg::ICIS as u64, 1);
            assert_eq!(r16(rig, reg::ICIS), 0);
        }
    });
}

#[test]
fn responses_are_counted() {
    scenario(|rig| {
        attach(rig, Kind::Output);
        begin(rig);
        w16(rig, reg::RINTCNT as u64, 2);
        w32(rig, reg::INTCTL as u64, 0xc000_0000);
        for n in 1..=5u64 {
            // The fourth is for nobody.
            let verb = if n == 4 { 0x700f_0000u32 } else { 0xf_0000 };
            rig.poke(CORB + 4 * n, &verb.to_le_bytes());
        }
        w16(rig, reg::CORBWP as u64, 1);
        assert!(rig.irq(IRQ), "the ring is empty");
        w8(rig, reg::RIRBSTS as u64, 1);
        w16(rig, reg::CORBWP as u64, 5);
        assert_eq!([r16(rig, reg::CORBRP), r16(rig, reg::RIRBWP)], [5, 4]);
        assert!(rig.irq(IRQ));
        w8(rig, reg::RIRBCTL as u64, 2);
        assert!(!rig.irq(IRQ), "it is not to tell");
    });
}

#[test]
fn messages_tell_of_each_cause() {
    scenario(|rig| {
        attach(rig, Kind::Output);
        begin(rig);
        rig.config_write(SLOT, 0, 0x64, Size::B4, 0xfee0_0000);
        rig.config_write(SLOT, 0, 0x6c, Size::B2, 0x41);
        rig.config_write(SLOT, 0, 0x62, Size::B2, 1);
        w32(rig, reg::INTCTL as u64, 0xc000_00ff);
        rig.take_messages();
        set_up(rig, OUT, BUFFER, 2, 1920);
        w8(rig, OUT, 6);
        rig.advance(ms(10));
        assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x41)]);
        rig.poke(CORB + 4, &0xf_0000u32.to_le_bytes());
        w16(rig, reg::CORBWP as u64, 1);
        assert_eq!(rig.take_messages().len(), 1, "another cause");
        rig.advance(ms(20));
        assert_eq!(rig.take_messages(), [], "the same one");
        w8(rig, OUT + 3, 4);
        rig.advance(ms(10));
        assert_eq!(rig.take_messages().len(), 1);
        assert!(!rig.irq(IRQ));
    });
}

#[test]
fn codecs_have_their_trees() {
    for (kind, id, pins) in [
        (Kind::Output, 0x1af4_0012, [0x4010, 0]),
        (Kind::Duplex, 0x1af4_0022, [0x4010, 0x80_5020]),
        (Kind::Micro, 0x1af4_0032, [0x10_4010, 0xa0_5020]),
    ] {
        scenario(|rig| {
            attach(rig, kind);
            begin(rig);
            assert_eq!(ask(rig, 0, 0xf_0000), id);
            assert_eq!(ask(rig, 0, 0xf_2000), id);
            assert_eq!([3, 5].map(|node| ask(rig, node, 0xf_1c00)), pins);
            assert_eq!(ask(rig, 2, 0xf_0012), 0x8003_4a4a);
            assert_eq!(ask(rig, 2, 0xf_000a), 0x2_01fc);
            let amplifier = if kind == Kind::Output { 0 } else { 0x8003_4a4a };
            assert_eq!(ask(rig, 4, 0xf_000d), amplifier);
            assert_eq!(ask(rig, 77, 0xf_0000), 0, "there is no such node");
        });
    }
}

#[test]
fn a_codec_is_reset() {
    scenario(|rig| {
        attach(rig, Kind::Duplex);
        begin(rig);
        let change = |rig: &mut Rig| {
            route(rig, 2);
            ask(rig, 2, 0x3_b010);
            ask(rig, 3, 0x7_0700);
        };
        let look = |rig: &mut Rig| {
            [(2, 0xf_0600), (2, 0xb_a000), (3, 0xf_0700)].map(|(node, verb)| ask(rig, node, verb))
        };
        let initial = look(rig);
        assert_eq!(initial, [0, 0x4a, 0x40]);
        change(rig);
        assert_eq!(look(rig), [0x10, 0x10, 0]);
        ask(rig, 1, 0x7_ff00);
        assert_eq!(look(rig), initial);
        change(rig);
        begin(rig);
        w16(rig, reg::CORBWP as u64, 0);
        assert_eq!(look(rig), initial, "by the link");
    });
}
