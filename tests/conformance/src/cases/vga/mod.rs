//! The standard VGA with Bochs DISPI. IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"
//! (VGA); PCI 2.1; for what is beyond both, the interface that Bochs' and QEMU's adapters share (DISPI,
//! "standard VGA").

mod dispi;
mod memory;
mod pci;
mod registers;

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

const SLOT: u8 = 2;
const SEQUENCER: u16 = 0x3c4;
const GRAPHICS: u16 = 0x3ce;
const CRTC: u16 = 0x3d4;
/// Where cases put the BARs.
const LFB: u64 = 0xe000_0000;
const MMIO: u64 = 0xe200_0000;

pub(super) const GROUP: Group = Group {
    device: "vga",
    about: "standard VGA with Bochs DISPI",
    setup: Setup { disks: &[], args: &[] },
    cases: &[
        case("identity", "PCI 2.1, 6.2.1; standard VGA, PCI spec", pci::identity),
        case("header", "no document: an adapter's own", pci::header),
        case("BARs and their sizes", "PCI 2.1, 6.2.5; standard VGA, PCI spec", pci::bars),
        case("the command register", "PCI 2.1, 6.2.2", pci::command),
        case("BARs after reset", "PCI 2.1, 6.2.2 and 4.3, reset", pci::reset),
        case("the frame buffer goes where BAR 0 says", "PCI 2.1, 6.2.5.1", pci::moves),
        case("memory decoding off", "PCI 2.1, 6.2.2, memory space", pci::decode),
        case("miscellaneous output reads back", "VGA, miscellaneous output register", registers::misc),
        case("its bit 0 moves the CRTC", "VGA, miscellaneous output, IOS", registers::crtc_ports),
        case("its bit 0 moves input status 1", "VGA, miscellaneous output, IOS", registers::status_ports),
        case("feature control reads back", "VGA, feature control register", registers::feature),
        case("input status 0", "VGA, input status register 0", registers::status0),
        case("input status 1 shows blanking and retrace", "VGA, input status register 1", registers::status1),
        case("sequencer registers", "VGA, sequencer registers", registers::sequencer),
        case("graphics controller registers", "VGA, graphics controller registers", registers::graphics),
        case("CRTC registers", "VGA, CRT controller registers", registers::crtc),
        case("CRTC protection", "VGA, vertical retrace end, bit 7", registers::protect),
        case("indexes read back", "VGA, address registers", registers::indexes),
        case("index and data in one word", "VGA, 16-bit output to address registers", registers::words),
        case(
            "attribute controller takes index and data in turn",
            "VGA, attribute address register",
            registers::flip,
        ),
        case("attribute registers", "VGA, attribute controller registers", registers::attribute),
        case("palette while the display has it", "VGA, attribute address, bit 5", registers::palette_lock),
        case("DAC is written in threes", "VGA, video DAC, write", registers::dac_write),
        case("DAC is read in threes", "VGA, video DAC, read", registers::dac_read),
        case("DAC state", "VGA, DAC state register", registers::dac_state),
        case("DAC has six bits", "VGA, video DAC, data register", registers::dac_bits),
        case("DAC index goes round", "VGA, video DAC, address registers", registers::dac_round),
        case("DAC colour that is half written", "VGA, video DAC, write", registers::dac_half),
        case("DAC mask", "VGA, PEL mask register", registers::dac_mask),
        case("registers at power-on", "no document: the BIOS sets them", registers::power_on),
        case("write mode 0 and the map mask", "VGA, map mask and write mode 0", memory::map_mask),
        case("set/reset", "VGA, set/reset and enable set/reset", memory::set_reset),
        case("rotation", "VGA, data rotate, bits 0 to 2", memory::rotate),
        case("AND, OR, XOR with the latches", "VGA, data rotate, function select", memory::functions),
        case("the bit mask", "VGA, bit mask register", memory::bit_mask),
        case("write mode 1 copies", "VGA, write mode 1", memory::mode1),
        case("write mode 2 takes a colour", "VGA, write mode 2", memory::mode2),
        case("write mode 3 masks with the data", "VGA, write mode 3", memory::mode3),
        case("read mode 0 and the read map", "VGA, read map select", memory::read_map),
        case("read mode 1 compares", "VGA, colour compare", memory::compare),
        case("read mode 1 with planes that do not matter", "VGA, colour don't care", memory::dont_care),
        case("latches load on every read", "VGA, latches", memory::latches),
        case("chain 4", "VGA, memory mode, chain 4", memory::chain4),
        case("odd/even", "VGA, memory mode, odd/even", memory::odd_even),
        case("the window's four places", "VGA, miscellaneous register, memory map", memory::windows),
        case("wide accesses", "VGA, system interface", memory::wide),
        case("memory access off", "VGA, miscellaneous output, enable RAM", memory::off),
        case("DISPI versions", "DISPI, index 0", dispi::versions),
        case("DISPI geometry", "DISPI, indexes 1 to 3", dispi::geometry),
        case("DISPI limits", "DISPI, GETCAPS", dispi::caps),
        case("DISPI clears the memory", "DISPI, enable and NOCLEARMEM", dispi::clears),
        case("DISPI virtual size", "DISPI, indexes 6 and 7", dispi::virtual_size),
        case("DISPI offsets", "DISPI, indexes 8 and 9", dispi::offsets),
        case("DISPI banks", "DISPI, index 5", dispi::banks),
        case("DISPI tells the memory's size", "DISPI, index 10", dispi::memory),
        case("DISPI unknown registers", "no document: DISPI ends at 10", dispi::unknown),
        case("DISPI in BAR 2", "standard VGA, memory spec, 0500h", dispi::mmio),
        case("VGA ports in BAR 2", "standard VGA, memory spec, 0400h", dispi::mmio_ports),
        case("byte order register", "standard VGA, memory spec, 0600h", dispi::order),
        case("EDID", "standard VGA, memory spec, 0000h; VESA E-EDID 1.4, 3.3", dispi::edid),
        case("frame buffer holds bytes, words and more", "DISPI, linear frame buffer", dispi::linear),
        case(
            "planes lie side by side in the frame buffer",
            "no document: Bochs and QEMU do so",
            dispi::planes,
        ),
        case("DISPI makes the DAC eight bits wide", "DISPI, 8BIT_DAC", dispi::dac8),
        case("DISPI after reset", "DISPI, enable = 0 at start", dispi::reset),
    ],
};

/// Puts the BARs in place and lets the adapter answer.
fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, LFB as u32);
    bench.set_config(SLOT, 0, 0x18, Size::B4, MMIO as u32);
    bench.set_config(SLOT, 0, 4, Size::B2, 3);
}

/// The same; and colour addresses, four planes apart in 64 KiB at 0xa0000, everything plain.
fn planar(bench: &mut Bench<'_>) {
    on(bench);
    bench.outb(0x3c2, 0x63);
    for (index, value) in [(0, 3), (1, 1), (2, 0xf), (3, 0), (4, 6)] {
        bench.set_indexed(SEQUENCER, index, value);
    }
    for (index, value) in [0, 0, 0, 0, 0, 0, 5, 0xf, 0xff].into_iter().enumerate() {
        bench.set_indexed(GRAPHICS, index as u8, value);
    }
}

fn graphics(bench: &mut Bench<'_>, index: u8, value: u8) {
    bench.set_indexed(GRAPHICS, index, value);
}

fn sequencer(bench: &mut Bench<'_>, index: u8, value: u8) {
    bench.set_indexed(SEQUENCER, index, value);
}
