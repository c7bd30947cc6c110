//! Registers of the 82371AB's function 3 and of the ACPI blocks that QEMU puts beside it.

/// Configuration: base of the power management ports; bit 0 says I/O.
pub const PMBASE: u16 = 0x40;
/// Configuration: bit 0 enables the power management ports.
pub const PMREGMISC: u16 = 0x80;
/// Configuration: base of the SMBus host controller's ports.
pub const SMBBASE: u16 = 0x90;
/// Configuration: SMBus host configuration; bit 0 enables the ports.
pub const SMBHSTCFG: u16 = 0xd2;
/// Configuration: DEVACTB, byte 3. Bit 1 (APMC_EN) says that system management mode is set up.
pub const DEVACTB3: u16 = 0x5b;
/// Configuration: DEVRESB to DEVRESD, byte 3: which ports the chip's device monitors decode. Values as QEMU
/// has them.
pub const DEVRESB3: u16 = 0x5f;
/// The second of these.
pub const DEVRESC3: u16 = 0x63;
/// The third.
pub const DEVRESD3: u16 = 0x67;
/// APMC_EN.
pub const APMC_EN: u8 = 1 << 1;
/// Where the SMBus ports are at reset.
pub const SMBBASE_RESET: u16 = 0xb100;
/// Address bits of both bases.
pub const BASE_MASK: u16 = 0xffc0;

/// PM1 status and enable, from PMBASE on; of the other ports up to 64 nobody answers.
pub const EVENTS_AT: u64 = 0;
/// Their length.
pub const EVENTS_LEN: u64 = 4;
/// PM1 control.
pub const CONTROL_AT: u64 = 4;
/// Its length.
pub const CONTROL_LEN: u64 = 2;
/// The timer.
pub const TIMER_AT: u64 = 8;
/// Its length.
pub const TIMER_LEN: u64 = 4;

/// PM1 status: the timer's bit 23 changed.
pub const TIMER: u16 = 1 << 0;
/// PM1 status and enable: global lock released.
pub const GLOBAL: u16 = 1 << 5;
/// PM1 status and enable: power button.
pub const POWER_BUTTON: u16 = 1 << 8;
/// PM1 status and enable: alarm clock.
pub const RTC: u16 = 1 << 10;
/// PM1 status: woken.
pub const WAKE: u16 = 1 << 15;
/// PM1 events that interrupt.
pub const PM1_EVENTS: u16 = TIMER | GLOBAL | POWER_BUTTON | RTC;

/// PM1 control: ACPI mode.
pub const SCI_EN: u16 = 1 << 0;
/// PM1 control: sleep now; reads as zero.
pub const SLP_EN: u16 = 1 << 13;
/// PM1 control: shift of the sleep type, three bits.
pub const SLP_TYP_SHIFT: u16 = 10;
/// Sleep types as the ACPI tables name them.
pub const SLP_S5: u16 = 0;
/// Suspend to RAM.
pub const SLP_S3: u16 = 1;
/// Suspend to disk: off, for the machine.
pub const SLP_S4: u16 = 2;

/// Frequency of the power management timer in Hz (ACPI specification, section 4.8.3.3).
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// Ticks between two changes of the timer's highest bit.
pub const PM_TIMER_HALF: u64 = 1 << 23;

/// APM control port; the status port follows.
pub const APM: u16 = 0xb2;
/// APM command: go to ACPI mode.
pub const ACPI_ENABLE: u8 = 0xf1;
/// APM command: leave it.
pub const ACPI_DISABLE: u8 = 0xf0;

/// GPE0 block: two bytes of status, two of enable.
pub const GPE: u16 = 0xafe0;
/// GPE: something about PCI slots.
pub const GPE_PCI: u16 = 1 << 1;
/// GPE: something about processors.
pub const GPE_CPU: u16 = 1 << 2;
/// GPE: the VM generation id is another.
pub const GPE_GENERATION: u16 = 1 << 5;

/// PCI hotplug block (QEMU documentation, "QEMU<->ACPI BIOS PCI hotplug interface").
pub const PCI_HOTPLUG: u16 = 0xae00;
/// Its length in ports.
pub const PCI_HOTPLUG_LEN: u64 = 0x18;
/// Slots that have been plugged.
pub const PCI_UP: u64 = 0x00;
/// Slots that are to be ejected.
pub const PCI_DOWN: u64 = 0x04;
/// Write: ejects a slot.
pub const PCI_EJECT: u64 = 0x08;
/// Slots that can be ejected.
pub const PCI_REMOVABLE: u64 = 0x0c;
/// Chooses the bus.
pub const PCI_SELECT: u64 = 0x10;

/// Processor hotplug block: a bitmap of the processors that are there, by APIC id.
pub const CPU_HOTPLUG: u16 = 0xaf00;
/// Its length in ports, eight processors each.
pub const CPU_HOTPLUG_LEN: usize = 32;

/// SMBus: host status.
pub const SMB_STATUS: u64 = 0;
/// SMBus: host control.
pub const SMB_CONTROL: u64 = 2;
/// SMBus: the block data register.
pub const SMB_BLOCK: u64 = 7;
/// Host status: no device answered.
pub const SMB_DEVICE_ERROR: u8 = 1 << 2;
/// Host status: transaction killed.
pub const SMB_FAILED: u8 = 1 << 4;
/// Host control: kill.
pub const SMB_KILL: u8 = 1 << 1;
/// Host control: start; reads as zero.
pub const SMB_START: u8 = 1 << 6;
/// Host control bits that read back.
pub const SMB_CONTROL_READ: u8 = 0x1f;
