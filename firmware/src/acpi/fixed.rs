//! Tables of fixed layout: FACS, FADT, MADT, HPET, WAET (ACPI 6.5 section 5.2; Microsoft's "Windows ACPI Emulated
//! Devices Table"; IA-PC HPET 1.0a section 3.2.4).

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::sdt::Sdt;

use super::{GPE0_BASE, HPET_BASE, HPET_ID, OEM, PM_BASE, table};
use crate::info::MachineInfo;

const SCI: u16 = 9;
const SMI_COMMAND: u32 = 0xb2;
const ACPI_ENABLE: u8 = 0xf1;
const ACPI_DISABLE: u8 = 0xf0;
/// The PIIX3's reset control register, and the value for a full reset.
const RESET_REGISTER: u64 = 0xcf9;
const RESET_VALUE: u8 = 0x0f;
/// CMOS byte that holds the century.
const CENTURY: u8 = 0x32;
/// "Not supported" for the C2 and C3 latencies.
const NO_LATENCY: u16 = 0xfff;
/// There are devices on the ISA bus; there is a keyboard controller.
const BOOT_ARCHITECTURE: u16 = 0b11;
const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;

/// Bytes of the FADT up to and with X_GPE1_BLK, which is all of revision 3.
const FADT_BYTES: usize = 244;

/// The FADT's pointers, as offset and size: FACS and DSDT, 32-bit and 64-bit.
pub const FADT_POINTERS: [(u32, u8); 4] = [(36, 4), (40, 4), (132, 8), (140, 8)];

/// The FADT's ports of the power management block, as offset and port from the block's base on: events, control and timer,
/// each as a number and as an address.
pub const FADT_PM: [(u32, u16); 6] = [(56, 0), (64, 4), (76, 8), (152, 0), (176, 4), (212, 8)];

/// The firmware's control structure; it has no checksum.
pub fn facs() -> Vec<u8> {
    let mut bytes = Vec::new();
    FACS::new().to_aml_bytes(&mut bytes);
    bytes
}

/// An I/O port register block of `bytes` bytes.
fn port(address: u64, bytes: u8, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, bytes * 8, 0, access, address)
}

/// The fixed hardware. `facs` and `dsdt` are offsets in the tables file.
pub fn fadt(info: &MachineInfo, facs: u32, dsdt: u32) -> Sdt {
    let pm = u32::from(PM_BASE);
    let gpe = u32::from(GPE0_BASE);
    let mut flags = Flags::Wbinvd as u32
        | Flags::ProcC1 as u32
        | Flags::SlpButton as u32
        | Flags::RtcS4 as u32
        | Flags::ResetRegSup as u32
        | Flags::UsePlatformClock as u32;
    if info.max_vcpus > 8 {
        // Flat logical destinations have room for eight.
        flags |= Flags::ForceApicClusterModel as u32;
    }
    let mut fields = FADTBuilder::new(OEM, [0; 8], 1);
    fields.firmware_ctrl = facs.into();
    fields.dsdt = dsdt.into();
    fields.sci_int = SCI.into();
    fields.smi_cmd = SMI_COMMAND.into();
    fields.acpi_enable = ACPI_ENABLE;
    fields.acpi_disable = ACPI_DISABLE;
    fields.pm1a_evt_blk = pm.into();
    fields.pm1a_cnt_blk = (pm + 4).into();
    fields.pm_tmr_blk = (pm + 8).into();
    fields.gpe0_blk = gpe.into();
    fields.pm1_evt_len = 4;
    fields.pm1_cnt_len = 2;
    fields.pm_tmr_len = 4;
    fields.gpe0_blk_len = 4;
    fields.p_lvl2_lat = NO_LATENCY.into();
    fields.p_lvl3_lat = NO_LATENCY.into();
    fields.century = CENTURY;
    fields.iapc_boot_arch = BOOT_ARCHITECTURE.into();
    fields.flags = flags.into();
    fields.reset_reg = port(RESET_REGISTER, 1, AccessSize::ByteAccess);
    fields.reset_value = RESET_VALUE;
    fields.x_firmware_ctrl = u64::from(facs).into();
    fields.x_dsdt = u64::from(dsdt).into();
    fields.x_pm1a_evt_blk = port(pm.into(), 4, AccessSize::WordAccess);
    fields.x_pm1a_cnt_blk = port(u64::from(pm) + 4, 2, AccessSize::WordAccess);
    fields.x_pm_tmr_blk = port(u64::from(pm) + 8, 4, AccessSize::DwordAccess);
    fields.x_gpe0_blk = port(gpe.into(), 4, AccessSize::ByteAccess);
    let mut bytes = Vec::new();
    fields.finalize().to_aml_bytes(&mut bytes);
    let mut fadt = table(b"FACP", 3);
    fadt.append_slice(bytes.get(36..FADT_BYTES).unwrap_or_default());
    fadt
}

/// Interrupt controllers: local APICs (present vCPUs enabled), one IOAPIC, IRQ 0 on input 2, PCI's IRQs level-triggered.
pub fn madt(info: &MachineInfo) -> Sdt {
    const PC_COMPATIBLE: u32 = 1;
    const PCI_IRQS: [u8; 4] = [5, 9, 10, 11];
    const ACTIVE_HIGH_LEVEL: u16 = 0x0d;
    let mut madt = table(b"APIC", 1);
    madt.append(LOCAL_APIC);
    madt.append(PC_COMPATIBLE);
    let most = info.max_vcpus.max(info.vcpus).min(MachineInfo::MAX_VCPUS);
    for id in 0..most {
        let enabled = u32::from(id < info.vcpus);
        madt.append_slice(&[0, 8, id as u8, id as u8]);
        madt.append(enabled);
    }
    madt.append_slice(&[1, 12, 0, 0]);
    madt.append(IO_APIC);
    madt.append(0u32);
    let mut source_override = |irq: u8, input: u32, flags: u16| {
        madt.append_slice(&[2, 10, 0, irq]);
        madt.append(input);
        madt.append(flags);
    };
    source_override(0, 2, 0);
    for irq in PCI_IRQS {
        source_override(irq, irq.into(), ACTIVE_HIGH_LEVEL);
    }
    // NMI on LINT1 of every processor.
    madt.append_slice(&[4, 6, 0xff, 0, 0, 1]);
    madt
}

/// The high precision event timer.
pub fn hpet() -> Sdt {
    let mut hpet = table(b"HPET", 1);
    hpet.append(HPET_ID);
    // Generic address: memory, width and offset 0 as QEMU gives them.
    hpet.append_slice(&[0, 0, 0, 0]);
    hpet.append(HPET_BASE);
    hpet.append_slice(&[0, 0, 0, 0]); // number 0, smallest tick 0, no page protection
    hpet
}

/// Tells Windows that one read of the PM timer is enough.
pub fn waet() -> Sdt {
    const PM_TIMER_GOOD: u32 = 1 << 1;
    let mut waet = table(b"WAET", 1);
    waet.append(PM_TIMER_GOOD);
    waet
}
