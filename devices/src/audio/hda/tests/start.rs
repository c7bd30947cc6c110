//! How drivers start the controller and play.
//!
//! **Linux** (`hda_intel.c`, `hdac_controller.c`, `hdac_stream.c`): reads GCAP for the streams. GSTS and STATESTS are cleared,
//! GCTL.CRST is cleared and polled until it reads so, set after half a millisecond and polled; STATESTS is read a
//! millisecond later: codecs. SDnSTS, STATESTS and RIRBSTS are cleared and INTSTS written with all. CORB: address,
//! CORBWP = 0, CORBRP = 8000h polled until bit 15 reads set, 0 polled until it reads clear, CORBCTL = 2. RIRB: address,
//! RIRBWP = 8000h, RINTCNT = 1, RIRBCTL = 3. GCTL.UNSOL is set for codecs that speak unasked. INTCTL = C00000FFh.
//! DPLBASE with bit 0. A stream: RUN is cleared, SRST set and polled, cleared and polled; the stream number in the highest
//! byte of SDnCTL, CBL, FMT, LVI, BDPL, and IOCE, FEIE and DEIE. It starts by its bit in INTCTL, then RUN, and waits until
//! FIFORDY reads set. The position is read in the position buffer, and in LPIB to compare. At an interrupt INTSTS is read,
//! SDnSTS of the streams that are in it read and cleared, RIRBSTS cleared, and INTSTS read again until it is 0.
//!
//! **Windows** (`hdaudbus.sys`; its order by the specification's sections 4.2 and 5.3, by ReactOS's driver of that name, and
//! Haiku's): GCTL.CRST is cleared and set, STATESTS is read and written back; CORBCTL and RIRBCTL = 0 and polled. CORBSIZE
//! and RIRBSIZE are read for what is possible and written. The rings' addresses, CORBRP as above, CORBWP = 0,
//! RIRBWP = 8000h, RINTCNT = the ring's half. INTCTL = C0000000h, RIRBCTL = 3, CORBCTL = 2. The codec is asked for ids and
//! node counts by many commands at a time. Before it plays, the function group's power state is set, then converter
//! format, stream and channel, amplifiers, pin control.

use devices_core::rig::scenario;

use super::*;

#[test]
fn as_linux_does() {
    scenario(|rig| {
        let audio = attach(rig, Kind::Duplex);
        assert_eq!(r16(rig, reg::GCAP), 0x4401);
        w16(rig, reg::STATESTS as u64, 0x7fff);
        w32(rig, reg::GCTL as u64, 0);
        assert_eq!(r32(rig, reg::GCTL) & 1, 0);
        rig.advance(ms(1));
        w8(rig, reg::GCTL as u64, 1);
        assert_eq!(r8(rig, reg::GCTL), 1);
        rig.advance(ms(1));
        assert_eq!(r16(rig, reg::STATESTS), 1, "a codec at address 0");
        for at in (0x83..0x180).step_by(0x20) {
            w8(rig, at, 0x1c);
        }
        w16(rig, reg::STATESTS as u64, 0x7fff);
        w8(rig, reg::RIRBSTS as u64, 5);
        w32(rig, reg::INTSTS as u64, 0xc000_00ff);
        w32(rig, reg::CORBLBASE as u64, CORB);
        w32(rig, reg::CORBLBASE as u64 + 4, 0);
        w16(rig, reg::CORBWP as u64, 0);
        w16(rig, reg::CORBRP as u64, 0x8000);
        assert_eq!(r16(rig, reg::CORBRP), 0x8000);
        w16(rig, reg::CORBRP as u64, 0);
        assert_eq!(r16(rig, reg::CORBRP), 0);
        w8(rig, reg::CORBCTL as u64, 2);
        w32(rig, reg::RIRBLBASE as u64, RIRB);
        w32(rig, reg::RIRBLBASE as u64 + 4, 0);
        w16(rig, reg::RIRBWP as u64, 0x8000);
        assert_eq!(r16(rig, reg::RIRBWP), 0);
        w16(rig, reg::RINTCNT as u64, 1);
        w8(rig, reg::RIRBCTL as u64, 3);
        w32(rig, reg::INTCTL as u64, 0xc000_00ff);
        w32(rig, reg::DPLBASE as u64, POSITIONS | 1);
        assert_eq!(ask(rig, 0, 0xf_0000), 0x1af4_0022);
        assert_eq!(ask(rig, 0, 0xf_0004), 0x1_0001);
        assert_eq!(ask(rig, 1, 0xf_0005), 1);
        assert_eq!(ask(rig, 1, 0xf_0004), 0x2_0004);
        let widgets: Vec<u32> = (2..6).map(|node| ask(rig, node, 0xf_0009)).collect();
        assert_eq!(widgets, [0x1d, 0x40_0101, 0x10_011b, 0x40_0001]);
        assert_eq!(ask(rig, 3, 0xf_0200), 2, "the pin's converter");
        assert_eq!(ask(rig, 3, 0xf_1c00), 0x4010, "a line-out");
        assert_eq!(ask(rig, 3, 0x7_0740), 0);
        assert_eq!(ask(rig, 2, 0x3_b04a), 0);
        assert_eq!(ask(rig, 2, 0xb_a000), 0x4a);

        set_up(rig, OUT, BUFFER, 4, 1920);
        assert_eq!(r8(rig, OUT as usize) & 1, 0);
        w8(rig, OUT, 0x1c);
        route(rig, 2);
        rig.poke(BUFFER, &counted(0, 1920));
        assert!(!rig.irq(IRQ));
        w8(rig, OUT, 0x1e);
        assert_eq!(r8(rig, OUT as usize + 3) & 0x20, 0x20, "the FIFO is ready");
        // Four buffers of ten milliseconds, twice.
        for turn in 1..=8u32 {
            rig.advance(ms(10));
            assert!(rig.irq(IRQ), "buffer {turn}");
            assert_eq!(r32(rig, reg::INTSTS), 0x8000_0010);
            let position = turn % 4 * 1920;
            assert_eq!(r32(rig, OUT as usize + 4), position);
            assert_eq!(rig.peek(POSITIONS + 8 * 4, 4), position.to_le_bytes());
            assert_eq!(r8(rig, OUT as usize + 3), 0x24);
            w8(rig, OUT + 3, 0x1c);
            assert_eq!(r32(rig, reg::INTSTS), 0);
            assert!(!rig.irq(IRQ));
        }
        w8(rig, OUT, 0);
        assert_eq!(audio.played(), counted(0, 1920).repeat(2));
        assert_eq!(audio.tone().unwrap().gain, [devices_core::audio::UNITY; 2]);
        rig.advance(ms(50));
        assert_eq!(audio.played(), [], "it stands");
        assert_eq!(rig.next_deadline(), None, "and costs nothing");
    });
}

#[test]
fn as_windows_does() {
    scenario(|rig| {
        let audio = attach(rig, Kind::Micro);
        w32(rig, reg::GCTL as u64, 0);
        rig.advance(ms(1));
        w32(rig, reg::GCTL as u64, 1);
        rig.advance(ms(1));
        let found = r16(rig, reg::STATESTS);
        w16(rig, reg::STATESTS as u64, found.into());
        assert_eq!((found, r16(rig, reg::STATESTS)), (1, 0));
        w8(rig, reg::CORBCTL as u64, 0);
        w8(rig, reg::RIRBCTL as u64, 0);
        assert_eq!([r8(rig, reg::CORBSIZE), r8(rig, reg::RIRBSIZE)], [0x42; 2]);
        w8(rig, reg::CORBSIZE as u64, 2);
        w32(rig, reg::CORBLBASE as u64, CORB);
        w32(rig, reg::RIRBLBASE as u64, RIRB);
        w16(rig, reg::CORBRP as u64, 0x8000);
        w16(rig, reg::CORBRP as u64, 0);
        w16(rig, reg::RIRBWP as u64, 0x8000);
        w16(rig, reg::RINTCNT as u64, 0x80);
        w32(rig, reg::INTCTL as u64, 0xc000_0000);
        w8(rig, reg::RIRBCTL as u64, 3);
        w8(rig, reg::CORBCTL as u64, 2);
        // All of the tree at once.
        let asked = [0u32, 2, 4].map(|id| 0xf_0000 | id);
        for (n, verb) in (1u64..).zip(asked) {
            rig.poke(CORB + 4 * n, &verb.to_le_bytes());
        }
        w16(rig, reg::CORBWP as u64, 3);
        assert!(rig.irq(IRQ), "there are no more commands");
        assert_eq!(r32(rig, reg::INTSTS), 0xc000_0000);
        assert_eq!(r16(rig, reg::RIRBWP), 3);
        let answers: Vec<u32> =
            (1..4).map(|n| u32::from_le_bytes(rig.peek(RIRB + 8 * n, 4).try_into().unwrap())).collect();
        assert_eq!(answers, [0x1af4_0032, 0x10_0101, 0x1_0001]);
        w8(rig, reg::RIRBSTS as u64, 1);
        assert!(!rig.irq(IRQ));
        assert_eq!(ask(rig, 1, 0x7_0500), 0);
        assert_eq!(ask(rig, 5, 0xf_1c00), 0x00a0_5020, "a microphone");
        // What is heard.
        route(rig, 4);
        assert_eq!(ask(rig, 5, 0x7_0720), 0);
        set_up(rig, IN, HEARD, 2, 1920);
        audio.give(&counted(7, 480));
        w32(rig, reg::INTCTL as u64, 0xc000_0001);
        w8(rig, IN, 0x06);
        rig.advance(ms(10));
        assert!(rig.irq(IRQ));
        w8(rig, IN + 3, 4);
        assert_eq!(rig.peek(HEARD, 1920), counted(7, 480));
        rig.advance(ms(10));
        assert_eq!(rig.peek(HEARD + 1920, 1920), [0; 1920], "silence");
    });
}
