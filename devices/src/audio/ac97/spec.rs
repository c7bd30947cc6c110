//! Registers, as the ICH's datasheet (Intel 290655, chapter 13) and "Audio Codec '97", revision 2.3, name them.

/// Intel's vendor id.
pub const VENDOR: u16 = 0x8086;
/// The 82801AA's audio controller.
pub const DEVICE: u16 = 0x2415;
/// Its revision, as QEMU has it.
pub const REVISION: u8 = 1;
/// Multimedia, audio.
pub const CLASS: u32 = 0x04_01_00;
/// Ports of the mixer (NAMBAR), and of the bus master (NABMBAR).
pub const MIXER_LEN: u64 = 0x400;
/// The latter.
pub const MASTER_LEN: u64 = 0x100;

/// Boxes of the bus master: PCM in, PCM out, microphone.
pub const BOXES: usize = 3;
/// PCM out.
pub const OUT: usize = 1;
/// The microphone, which has one channel.
pub const MICROPHONE: usize = 2;
/// Ports of each.
pub const BOX_LEN: u64 = 0x10;
/// Entries of a list.
pub const ENTRIES: u8 = 32;
/// Bytes of each: address, samples, flags.
pub const ENTRY_LEN: u32 = 8;

/// Offsets in a box.
pub mod bm {
    /// Buffer descriptor list, an address.
    pub const BDBAR: u64 = 0x0;
    /// Current index.
    pub const CIV: u64 = 0x4;
    /// Last valid index.
    pub const LVI: u64 = 0x5;
    /// Status, two bytes.
    pub const SR: u64 = 0x6;
    /// Samples of the buffer that are left, two bytes.
    pub const PICB: u64 = 0x8;
    /// Prefetched index.
    pub const PIV: u64 = 0xa;
    /// Control.
    pub const CR: u64 = 0xb;
}

/// Global control, four bytes.
pub const GLOB_CNT: u64 = 0x2c;
/// Global status, four bytes.
pub const GLOB_STA: u64 = 0x30;
/// Codec access semaphore.
pub const CAS: u64 = 0x34;

/// Status of a box.
pub mod sr {
    /// It is halted.
    pub const DCH: u16 = 1 << 0;
    /// It is at the last valid buffer.
    pub const CELV: u16 = 1 << 1;
    /// The last valid buffer is through.
    pub const LVBCI: u16 = 1 << 2;
    /// A buffer is through.
    pub const BCIS: u16 = 1 << 3;
    /// A FIFO error.
    pub const FIFOE: u16 = 1 << 4;
    /// Cleared by ones.
    pub const CLEARED: u16 = LVBCI | BCIS | FIFOE;
}

/// Control of a box.
pub mod cr {
    /// It runs.
    pub const RPBM: u8 = 1 << 0;
    /// Its registers are reset.
    pub const RR: u8 = 1 << 1;
    /// Interrupt for the last valid buffer.
    pub const LVBIE: u8 = 1 << 2;
    /// For FIFO errors.
    pub const FEIE: u8 = 1 << 3;
    /// For buffers.
    pub const IOCE: u8 = 1 << 4;
    /// All.
    pub const ALL: u8 = 0x1f;
    /// What a reset of the registers leaves.
    pub const KEPT: u8 = LVBIE | FEIE | IOCE;
}

/// Bits of GLOB_CNT: interrupt enable, no cold reset, warm reset, link off, interrupts of codecs.
pub const CONTROL: u32 = 0x3f;
/// Warm reset, which ends by itself.
pub const WARM: u32 = 1 << 2;
/// Bits of GLOB_STA.
pub mod sta {
    /// Interrupt of each box.
    pub const INTERRUPTS: [u32; super::BOXES] = [1 << 5, 1 << 6, 1 << 7];
    /// The codec is there.
    pub const READY: u32 = 1 << 8;
    /// Cleared by ones: codecs that wake, a codec that did not answer.
    pub const CLEARED: u32 = 1 << 15 | 1 << 11 | 1 << 10 | 1;
    /// Storage: power states of modem and audio.
    pub const STORED: u32 = 3 << 16;
}

/// Flags of an entry: an interrupt, silence behind the last.
pub const IOC: u32 = 1 << 31;

/// Registers of the codec.
pub mod nam {
    /// Any write resets it.
    pub const RESET: u64 = 0x00;
    /// Master volume.
    pub const MASTER: u64 = 0x02;
    /// Volume of PCM out.
    pub const PCM_OUT: u64 = 0x18;
    /// Source of what is recorded.
    pub const RECORD_SELECT: u64 = 0x1a;
    /// Its gain.
    pub const RECORD_GAIN: u64 = 0x1c;
    /// Power.
    pub const POWER: u64 = 0x26;
    /// Extended audio: what there is.
    pub const EXTENDED_ID: u64 = 0x28;
    /// And what is on.
    pub const EXTENDED: u64 = 0x2a;
    /// Rates of the front DAC, surround, LFE; then of both ADCs.
    pub const FRONT_RATE: u64 = 0x2c;
    /// Line in.
    pub const ADC_RATE: u64 = 0x32;
    /// The microphone.
    pub const MICROPHONE_RATE: u64 = 0x34;
    /// Vendor.
    pub const VENDOR_ID1: u64 = 0x7c;
    /// Device.
    pub const VENDOR_ID2: u64 = 0x7e;
}
/// Bytes of the codec's registers.
pub const CODEC_LEN: usize = 0x80;
/// EXTENDED: rates can be set; the microphone's too.
pub const VRA: u16 = 1 << 0;
/// The latter.
pub const VRM: u16 = 1 << 3;
/// The rate of a codec that has no other.
pub const RATE: u16 = 48_000;
/// What the codec is after a reset: SigmaTel's STAC9700 with variable rates, as QEMU has it.
pub const CODEC: &[(u64, u16)] = &[
    (nam::MASTER, 0x8000),
    (nam::PCM_OUT, 0x8808),
    (nam::RECORD_GAIN, 0x8000),
    (nam::POWER, 0x000f),
    (nam::EXTENDED_ID, 0x0809),
    (nam::EXTENDED, 0x0009),
    (nam::FRONT_RATE, RATE),
    (nam::FRONT_RATE + 2, RATE),
    (nam::FRONT_RATE + 4, RATE),
    (nam::ADC_RATE, RATE),
    (nam::MICROPHONE_RATE, RATE),
    (nam::VENDOR_ID1, 0x8384),
    (nam::VENDOR_ID2, 0x7600),
];
