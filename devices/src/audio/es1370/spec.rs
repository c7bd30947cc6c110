//! Registers and bits, by the names of the ES1370's specification.

/// Vendor and device: Ensoniq's AudioPCI.
pub const VENDOR: u16 = 0x1274;
pub const DEVICE: u16 = 0x5000;
pub const CLASS: u32 = 0x04_01_00;
pub const SUBSYSTEM: (u16, u16) = (0x4942, 0x4c4c);
/// MIN_GNT and MAX_LAT, and where they are in the configuration space.
pub const MIN_GNT: u16 = 0x3e;
pub const LATENCIES: [u8; 2] = [0x0c, 0x80];

/// Bytes of the registers.
pub const LEN: u64 = 0x100;

/// Interrupt and chip select control (00h).
pub const CONTROL: u64 = 0x00;
/// Interrupt and chip select status (04h).
pub const STATUS: u64 = 0x04;
/// UART (08h to 0Bh).
pub const UART: u64 = 0x08;
/// Memory page (0Ch).
pub const MEM_PAGE: u64 = 0x0c;
/// The codec's registers are written by index and value (10h).
pub const CODEC: u64 = 0x10;
/// Serial interface control (20h).
pub const SERIAL: u64 = 0x20;
/// Sample counts of DAC1, DAC2 and the ADC (24h to 2Fh).
pub const COUNT: u64 = 0x24;
/// Registers of the memory page that is set (30h to 3Fh).
pub const PAGED: u64 = 0x30;
/// Behind them.
pub const PAGED_END: u64 = 0x40;

/// Pages with frame registers: those of the DACs, and the ADC's.
pub const PAGE_DAC: u8 = 0xc;
pub const PAGE_ADC: u8 = 0xd;

/// [`CONTROL`] after reset: SERR_DISABLE.
pub const CONTROL_RESET: u32 = 1;
/// PCLKDIV: the rate of DAC2 and the ADC.
pub const PCLKDIV: u32 = 16;
pub const PCLKDIV_MASK: u32 = 0x1fff;
/// Hertz that are divided by [`PCLKDIV`]'s value and 2.
pub const CLOCK: u32 = 1_411_200;
/// WTSRSEL: the rate of DAC1.
pub const WTSRSEL: u32 = 12;
pub const RATES: [u32; 4] = [5512, 11_025, 22_050, 44_100];

/// [`STATUS`]: an interrupt is pending.
pub const INTR: u32 = 1 << 31;
/// VC, which QEMU's has set from reset on.
pub const VC: u32 = 0x60;

/// Bits of a channel.
pub struct ChannelBits {
    /// In [`CONTROL`]: it is enabled.
    pub enable: u32,
    /// In [`STATUS`]: its interrupt is pending.
    pub pending: u32,
    /// In [`SERIAL`]: its interrupt is enabled.
    pub interrupt: u32,
    /// In [`SERIAL`]: it stops when its count has ended, and does not loop.
    pub stops: u32,
    /// In [`SERIAL`]: it pauses; the ADC cannot.
    pub pause: u32,
    /// In [`SERIAL`]: where its mode is, bit 0 stereo, bit 1 16 bits.
    pub mode: u32,
}

/// Channels: DAC1, DAC2 and the ADC.
pub const CHANNELS: usize = 3;
pub const DAC1: usize = 0;
pub const ADC: usize = 2;

pub const BITS: [ChannelBits; CHANNELS] = [
    ChannelBits {
        enable: 1 << 6,
        pending: 1 << 2,
        interrupt: 1 << 8,
        stops: 1 << 13,
        pause: 1 << 11,
        mode: 0,
    },
    ChannelBits {
        enable: 1 << 5,
        pending: 1 << 1,
        interrupt: 1 << 9,
        stops: 1 << 14,
        pause: 1 << 12,
        mode: 2,
    },
    ChannelBits { enable: 1 << 4, pending: 1, interrupt: 1 << 10, stops: 1 << 15, pause: 0, mode: 4 },
];

/// A mode's bits.
pub const STEREO: u32 = 1;
pub const WIDE: u32 = 2;
