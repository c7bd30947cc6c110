//! Registers, descriptors and verbs, as "High Definition Audio Specification", revision 1.0a, names them. Numbers in
//! brackets are its sections.

use devices_core::audio::{Format, Sample};

/// Intel's vendor id.
pub const VENDOR: u16 = 0x8086;
/// Multimedia, audio device.
pub const CLASS: u32 = 0x04_03_00;
/// Bytes behind BAR 0.
pub const BAR_LEN: u64 = 0x4000;

/// Configuration space.
pub mod config {
    /// HDCTL of the ICH6: bit 0 says that the link is HDA's and not AC'97's.
    pub const HDCTL: u16 = 0x40;
    /// MSI capability.
    pub const MSI: u16 = 0x60;
    /// The same with `old_msi_addr`, as old machines of QEMU have it.
    pub const OLD_MSI: u16 = 0x50;
}

/// Streams to memory, the first of all.
pub const INPUTS: usize = 4;
/// All streams.
pub const STREAMS: usize = 8;
/// Bytes of all registers that are not aliases.
pub const REGISTERS_LEN: usize = reg::STREAM + STREAMS * reg::STREAM_LEN;

/// Offsets (3.3).
pub mod reg {
    /// Capabilities: streams of each kind, 64-bit addresses.
    pub const GCAP: usize = 0x00;
    /// Version.
    pub const VMIN: usize = 0x02;
    /// Output payload capability.
    pub const OUTPAY: usize = 0x04;
    /// Input payload capability.
    pub const INPAY: usize = 0x06;
    /// Global control.
    pub const GCTL: usize = 0x08;
    /// Wake enable.
    pub const WAKEEN: usize = 0x0c;
    /// Codecs that have come.
    pub const STATESTS: usize = 0x0e;
    /// Global status.
    pub const GSTS: usize = 0x10;
    /// Interrupt control.
    pub const INTCTL: usize = 0x20;
    /// Interrupt status.
    pub const INTSTS: usize = 0x24;
    /// Wall clock counter.
    pub const WALCLK: usize = 0x30;
    /// Stream synchronization: these stand.
    pub const SSYNC: usize = 0x38;
    /// Command output ring buffer: address, in two halves.
    pub const CORBLBASE: usize = 0x40;
    /// Its write pointer.
    pub const CORBWP: usize = 0x48;
    /// Its read pointer.
    pub const CORBRP: usize = 0x4a;
    /// Its control.
    pub const CORBCTL: usize = 0x4c;
    /// Its status.
    pub const CORBSTS: usize = 0x4d;
    /// Its size.
    pub const CORBSIZE: usize = 0x4e;
    /// Response input ring buffer: address, in two halves.
    pub const RIRBLBASE: usize = 0x50;
    /// Its write pointer.
    pub const RIRBWP: usize = 0x58;
    /// Responses to an interrupt.
    pub const RINTCNT: usize = 0x5a;
    /// Its control.
    pub const RIRBCTL: usize = 0x5c;
    /// Its status.
    pub const RIRBSTS: usize = 0x5d;
    /// Its size.
    pub const RIRBSIZE: usize = 0x5e;
    /// Immediate command output.
    pub const ICOI: usize = 0x60;
    /// Immediate response input.
    pub const IRII: usize = 0x64;
    /// Immediate command status.
    pub const ICIS: usize = 0x68;
    /// DMA position buffer: address, in two halves.
    pub const DPLBASE: usize = 0x70;
    /// The first stream descriptor.
    pub const STREAM: usize = 0x80;
    /// Bytes of each.
    pub const STREAM_LEN: usize = 0x20;
    /// Aliases of WALCLK and each LPIB are there and so far behind.
    pub const ALIAS: usize = 0x2000;
}

/// Offsets in a stream descriptor (3.3.35 on).
pub mod sd {
    /// Control, three bytes.
    pub const CTL: usize = 0x00;
    /// Its highest byte: stream number.
    pub const CTL_HIGH: usize = 0x02;
    /// Status.
    pub const STS: usize = 0x03;
    /// Link position in buffer.
    pub const LPIB: usize = 0x04;
    /// Cyclic buffer length.
    pub const CBL: usize = 0x08;
    /// Last valid index of the list.
    pub const LVI: usize = 0x0c;
    /// FIFO size.
    pub const FIFOS: usize = 0x10;
    /// Format.
    pub const FMT: usize = 0x12;
    /// Buffer descriptor list: address, in two halves.
    pub const BDPL: usize = 0x18;
}

/// Bits of GCTL.
pub mod gctl {
    /// Controller reset, when it is 0.
    pub const CRST: u32 = 1 << 0;
    /// Flush control.
    pub const FCNTRL: u32 = 1 << 1;
    /// Accept unsolicited responses.
    pub const UNSOL: u32 = 1 << 8;
}
/// GSTS: flush status.
pub const FSTS: u8 = 1 << 1;
/// INTCTL and INTSTS: all of it, the controller.
pub mod int {
    /// Global interrupt.
    pub const GLOBAL: u32 = 1 << 31;
    /// Of the controller.
    pub const CONTROLLER: u32 = 1 << 30;
    /// Of each stream.
    pub const STREAMS: u32 = 0xff;
}
/// CORBRP, RIRBWP: reset of the pointer.
pub const POINTER_RESET: u16 = 1 << 15;
/// CORBCTL: the DMA runs.
pub const CORB_RUN: u8 = 1 << 1;
/// CORBSTS: memory error.
pub const CORB_ERROR: u8 = 1 << 0;
/// RIRBCTL: interrupt, DMA.
pub mod rirb {
    /// Response interrupt control.
    pub const INTERRUPT: u8 = 1 << 0;
    /// The DMA runs.
    pub const RUN: u8 = 1 << 1;
    /// Overrun interrupt control.
    pub const OVERRUN: u8 = 1 << 2;
}
/// RIRBSTS: a response came.
pub const RESPONSE: u8 = 1 << 0;
/// Bits of ICIS.
pub mod icis {
    /// Busy with a command.
    pub const BUSY: u8 = 1 << 0;
    /// The response is there.
    pub const VALID: u8 = 1 << 1;
}
/// DPLBASE: positions are written.
pub const POSITIONS: u32 = 1 << 0;

/// Bits of SDnCTL, the lowest byte.
pub mod ctl {
    /// Stream reset.
    pub const SRST: u8 = 1 << 0;
    /// It runs.
    pub const RUN: u8 = 1 << 1;
    /// Interrupt on completion enable.
    pub const IOCE: u8 = 1 << 2;
    /// FIFO error interrupt enable.
    pub const FEIE: u8 = 1 << 3;
    /// Descriptor error interrupt enable.
    pub const DEIE: u8 = 1 << 4;
}
/// Bits of SDnSTS. Each has its enable in SDnCTL, which lies where it does.
pub mod sts {
    /// Buffer completion.
    pub const BCIS: u8 = 1 << 2;
    /// FIFO error.
    pub const FIFOE: u8 = 1 << 3;
    /// Descriptor error.
    pub const DESE: u8 = 1 << 4;
    /// The FIFO is ready.
    pub const FIFORDY: u8 = 1 << 5;
    /// Those that interrupt.
    pub const EVENTS: u8 = BCIS | FIFOE | DESE;
}

/// Bytes of a buffer descriptor (3.6.3): address, length, flags.
pub const DESCRIPTOR_LEN: u64 = 16;
/// Its flag: interrupt on completion.
pub const IOC: u32 = 1 << 0;

/// Entries of CORB and RIRB.
pub const RING: u8 = 255;

/// A register: where it is, its bytes, what the guest can write, what it clears by writing ones, what it is at first.
pub struct Register {
    /// Offset.
    pub at: usize,
    /// Bytes.
    pub len: usize,
    /// Bits that are written.
    pub write: u32,
    /// Bits that are cleared by ones.
    pub clear: u32,
    /// After a reset.
    pub initial: u32,
}

const fn register(at: usize, len: usize, write: u32, clear: u32, initial: u32) -> Register {
    Register { at, len, write, clear, initial }
}

/// Those of the controller.
pub const CONTROLLER: &[Register] = &[
    register(reg::GCAP, 2, 0, 0, 0x4401),
    register(reg::VMIN, 2, 0, 0, 0x0100),
    register(reg::OUTPAY, 2, 0, 0, 0x3c),
    register(reg::INPAY, 2, 0, 0, 0x1d),
    register(reg::GCTL, 4, gctl::CRST | gctl::UNSOL, 0, 0),
    register(reg::WAKEEN, 2, 0x7fff, 0, 0),
    register(reg::STATESTS, 2, 0, 0x7fff, 0),
    register(reg::GSTS, 2, 0, FSTS as u32, 0),
    register(reg::INTCTL, 4, int::GLOBAL | int::CONTROLLER | int::STREAMS, 0, 0),
    register(reg::SSYNC, 4, int::STREAMS, 0, 0),
    register(reg::CORBLBASE, 4, 0xffff_ff80, 0, 0),
    register(reg::CORBLBASE + 4, 4, !0, 0, 0),
    register(reg::CORBWP, 2, 0xff, 0, 0),
    register(reg::CORBRP, 2, POINTER_RESET as u32, 0, 0),
    register(reg::CORBCTL, 1, 3, 0, 0),
    register(reg::CORBSTS, 1, 0, CORB_ERROR as u32, 0),
    register(reg::CORBSIZE, 1, 0, 0, 0x42),
    register(reg::RIRBLBASE, 4, 0xffff_ff80, 0, 0),
    register(reg::RIRBLBASE + 4, 4, !0, 0, 0),
    register(reg::RIRBWP, 2, POINTER_RESET as u32, 0, 0),
    register(reg::RINTCNT, 2, 0xff, 0, 0),
    register(reg::RIRBCTL, 1, 7, 0, 0),
    register(reg::RIRBSTS, 1, 0, 5, 0),
    register(reg::RIRBSIZE, 1, 0, 0, 0x42),
    register(reg::ICOI, 4, !0, 0, 0),
    register(reg::ICIS, 2, icis::BUSY as u32, icis::VALID as u32, 0),
    register(reg::DPLBASE, 4, 0xffff_ff81, 0, 0),
    register(reg::DPLBASE + 4, 4, !0, 0, 0),
];

/// Those of a stream descriptor, from its first byte.
pub const DESCRIPTOR: &[Register] = &[
    register(sd::CTL, 1, 0x1f, 0, 0),
    register(sd::CTL_HIGH, 1, 0xff, 0, 0),
    register(sd::STS, 1, 0, sts::EVENTS as u32, 0),
    register(sd::CBL, 4, !0, 0, 0),
    register(sd::LVI, 2, 0xff, 0, 0),
    register(sd::FIFOS, 2, 0, 0, 0x100),
    register(sd::FMT, 2, 0x7f7f, 0, 0),
    register(sd::BDPL, 4, 0xffff_ff80, 0, 0),
    register(sd::BDPL + 4, 4, !0, 0, 0),
];

/// The frames that SDnFMT, or a converter's format, tells (3.7.1); none: there are no such frames.
pub fn format(bits: u16) -> Option<Format> {
    let base = if bits >> 14 & 1 == 0 { 48_000 } else { 44_100 };
    let (mult, div) = (u32::from(bits >> 11 & 7) + 1, u32::from(bits >> 8 & 7) + 1);
    let sample = match bits >> 4 & 7 {
        0 => Sample::S8,
        1 => Sample::S16,
        2..=4 => Sample::S32,
        _ => return None,
    };
    // Bit 15: no samples, but something else. Multiples beyond 4 are reserved.
    if bits >> 15 != 0 || mult > 4 {
        return None;
    }
    Format::new(base * mult / div, (bits & 0xf) as u8 + 1, sample)
}
