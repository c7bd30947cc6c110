//! Registers and bits of the 16550A (PC16550D data sheet, section 8).

/// Where the PC has its four ports and which ISA interrupts they use.
pub const PORTS: [(u16, u32); 4] = [(0x3f8, 4), (0x2f8, 3), (0x3e8, 4), (0x2e8, 3)];
/// Red Hat's, as a function of the PCI bus (QEMU's `docs/specs/pci-serial`).
pub const PCI_VENDOR: u16 = 0x1b36;
/// One port.
pub const PCI_DEVICE: u16 = 0x0002;
/// Class and subclass: communication, serial.
pub const PCI_CLASS: u32 = 0x07_00;
/// Interface: driven as a 16550.
pub const PCI_16550: u64 = 2;
/// Bytes of either FIFO.
pub const FIFO: usize = 16;
/// Ticks a second of the baud generator's input, a sixteenth of 1.8432 MHz.
pub const BAUD_BASE: u64 = 115_200;
/// Divisor at reset: 9600 baud.
pub const DIVISOR_RESET: u16 = 12;

/// Register offsets.
pub mod reg {
    /// Receive buffer and transmit holding; divisor low under DLAB.
    pub const DATA: u64 = 0;
    /// Interrupt enable; divisor high under DLAB.
    pub const IER: u64 = 1;
    /// Read: interrupt identification. Write: FIFO control.
    pub const IIR_FCR: u64 = 2;
    /// Line control.
    pub const LCR: u64 = 3;
    /// Modem control.
    pub const MCR: u64 = 4;
    /// Line status.
    pub const LSR: u64 = 5;
    /// Modem status. After it comes the scratch register.
    pub const MSR: u64 = 6;
}

/// Interrupt enable: received data.
pub const IER_RX: u8 = 1 << 0;
/// Interrupt enable: transmitter empty.
pub const IER_TX: u8 = 1 << 1;
/// Interrupt enable: line status.
pub const IER_LINE: u8 = 1 << 2;
/// Interrupt enable: modem status.
pub const IER_MODEM: u8 = 1 << 3;
/// The bits that exist.
pub const IER_MASK: u8 = 0x0f;

/// Identification: nothing.
pub const IIR_NONE: u8 = 0x01;
/// Identification: modem status.
pub const IIR_MODEM: u8 = 0x00;
/// Identification: transmitter empty.
pub const IIR_TX: u8 = 0x02;
/// Identification: received data.
pub const IIR_RX: u8 = 0x04;
/// Identification: line status.
pub const IIR_LINE: u8 = 0x06;
/// Identification: character timeout.
pub const IIR_TIMEOUT: u8 = 0x0c;
/// Identification: the FIFOs are on.
pub const IIR_FIFO: u8 = 0xc0;

/// FIFO control: on.
pub const FCR_ENABLE: u8 = 1 << 0;
/// FIFO control: clear the receiver's.
pub const FCR_CLEAR_RX: u8 = 1 << 1;
/// FIFO control: clear the transmitter's.
pub const FCR_CLEAR_TX: u8 = 1 << 2;
/// Bits that are kept: enable, DMA mode, trigger level.
pub const FCR_KEPT: u8 = 0xc9;
/// Trigger levels by the top two bits.
pub const TRIGGERS: [usize; 4] = [1, 4, 8, 14];

/// Line control: two stop bits.
pub const LCR_STOP: u8 = 1 << 2;
/// Line control: parity.
pub const LCR_PARITY: u8 = 1 << 3;
/// Line control: divisor latch access.
pub const LCR_DLAB: u8 = 1 << 7;

/// Modem control: data terminal ready.
pub const MCR_DTR: u8 = 1 << 0;
/// Modem control: request to send.
pub const MCR_RTS: u8 = 1 << 1;
/// Modem control: output 1.
pub const MCR_OUT1: u8 = 1 << 2;
/// Modem control: output 2; gates the interrupt on a PC, though not in QEMU.
pub const MCR_OUT2: u8 = 1 << 3;
/// Modem control: loop back.
pub const MCR_LOOP: u8 = 1 << 4;
/// The bits that exist.
pub const MCR_MASK: u8 = 0x1f;

/// Line status: data ready.
pub const LSR_READY: u8 = 1 << 0;
/// Line status: overrun.
pub const LSR_OVERRUN: u8 = 1 << 1;
/// Line status: transmit holding register or FIFO empty.
pub const LSR_THRE: u8 = 1 << 5;
/// Line status: shift register empty as well.
pub const LSR_TEMT: u8 = 1 << 6;

/// Modem status: deltas.
pub const MSR_DELTAS: u8 = 0x0f;
/// Modem status: clear to send.
pub const MSR_CTS: u8 = 1 << 4;
/// Modem status: data set ready.
pub const MSR_DSR: u8 = 1 << 5;
/// Modem status: ring.
pub const MSR_RI: u8 = 1 << 6;
/// Modem status: carrier.
pub const MSR_DCD: u8 = 1 << 7;
/// A line with somebody at its other end.
pub const MSR_CONNECTED: u8 = MSR_CTS | MSR_DSR | MSR_DCD;
