//! Our numbers and layouts against bindings made from Xen's headers, and against what a stock device model
//! was recorded to say.

use std::mem::offset_of;

use xen_sys as xen;

use super::dm::*;
use super::*;

/// Sizes, and the offset of each field, of a structure of ours and its namesake.
macro_rules! same {
    ($ours:ty, $theirs:ty, $($field:ident = $their_field:ident),*) => {
        assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), stringify!($ours));
        $(assert_eq!(offset_of!($ours, $field), offset_of!($theirs, $their_field), stringify!($ours.$field));)*
    };
}

#[test]
fn operations_are_laid_out_as_in_xens_headers() {
    same!(DmOp, xen::xen_dm_op, op = op, pad = pad, payload = u);
    same!(CreateIoreqServer, xen::xen_dm_op_create_ioreq_server, handle_bufioreq = handle_bufioreq, id = id);
    same!(
        GetIoreqServerInfo,
        xen::xen_dm_op_get_ioreq_server_info,
        id = id,
        flags = flags,
        bufioreq_port = bufioreq_port,
        ioreq_gfn = ioreq_gfn,
        bufioreq_gfn = bufioreq_gfn
    );
    same!(MapIoRange, xen::xen_dm_op_ioreq_server_range, id = id, kind = type_, start = start, end = end);
    same!(UnmapIoRange, xen::xen_dm_op_ioreq_server_range, id = id, kind = type_, start = start, end = end);
    same!(SetIoreqServerState, xen::xen_dm_op_set_ioreq_server_state, id = id, enabled = enabled);
    same!(DestroyIoreqServer, xen::xen_dm_op_destroy_ioreq_server, id = id);
    same!(TrackDirtyVram, xen::xen_dm_op_track_dirty_vram, pages = nr, first_pfn = first_pfn);
    same!(
        SetPciIntxLevel,
        xen::xen_dm_op_set_pci_intx_level,
        domain = domain,
        bus = bus,
        device = device,
        intx = intx,
        level = level
    );
    same!(SetIsaIrqLevel, xen::xen_dm_op_set_isa_irq_level, irq = isa_irq, level = level);
    same!(SetPciLinkRoute, xen::xen_dm_op_set_pci_link_route, link = link, irq = isa_irq);
    same!(ModifiedMemory, xen::xen_dm_op_modified_memory, extents = nr_extents, opaque = opaque);
    same!(Extent, xen::xen_dm_op_modified_memory_extent, pages = nr, first_pfn = first_pfn);
    same!(SetMemType, xen::xen_dm_op_set_mem_type, pages = nr, kind = mem_type, first_pfn = first_pfn);
    same!(InjectMsi, xen::xen_dm_op_inject_msi, data = data, addr = addr);
    same!(RemoteShutdown, xen::xen_dm_op_remote_shutdown, reason = reason);
    same!(RelocateMemory, xen::xen_dm_op_relocate_memory, pages = size, from = src_gfn, to = dst_gfn);
    same!(PinMemoryCacheattr, xen::xen_dm_op_pin_memory_cacheattr, start = start, end = end, kind = type_);
    same!(
        MemoryReservation,
        xen::xen_memory_reservation,
        extents = extent_start,
        count = nr_extents,
        order = extent_order,
        flags = mem_flags,
        domid = domid
    );
    same!(HvmParam, xen::xen_hvm_param, domid = domid, index = index, value = value);
    assert_eq!(size_of::<ioreq::page::Slot>(), size_of::<xen::ioreq>());
}

#[test]
fn numbers_are_those_of_xens_headers() {
    let ops = [
        (CreateIoreqServer::OP, xen::XEN_DMOP_create_ioreq_server),
        (GetIoreqServerInfo::OP, xen::XEN_DMOP_get_ioreq_server_info),
        (MapIoRange::OP, xen::XEN_DMOP_map_io_range_to_ioreq_server),
        (UnmapIoRange::OP, xen::XEN_DMOP_unmap_io_range_from_ioreq_server),
        (SetIoreqServerState::OP, xen::XEN_DMOP_set_ioreq_server_state),
        (DestroyIoreqServer::OP, xen::XEN_DMOP_destroy_ioreq_server),
        (TrackDirtyVram::OP, xen::XEN_DMOP_track_dirty_vram),
        (SetPciIntxLevel::OP, xen::XEN_DMOP_set_pci_intx_level),
        (SetIsaIrqLevel::OP, xen::XEN_DMOP_set_isa_irq_level),
        (SetPciLinkRoute::OP, xen::XEN_DMOP_set_pci_link_route),
        (ModifiedMemory::OP, xen::XEN_DMOP_modified_memory),
        (SetMemType::OP, xen::XEN_DMOP_set_mem_type),
        (InjectMsi::OP, xen::XEN_DMOP_inject_msi),
        (RemoteShutdown::OP, xen::XEN_DMOP_remote_shutdown),
        (RelocateMemory::OP, xen::XEN_DMOP_relocate_memory),
        (PinMemoryCacheattr::OP, xen::XEN_DMOP_pin_memory_cacheattr),
        (NO_GFNS.into(), xen::XEN_DMOP_no_gfns),
        (RANGE_PORT, xen::XEN_DMOP_IO_RANGE_PORT),
        (RANGE_MEMORY, xen::XEN_DMOP_IO_RANGE_MEMORY),
        (RANGE_PCI, xen::XEN_DMOP_IO_RANGE_PCI),
        (CACHE_WRITE_BACK, xen::XEN_DMOP_MEM_CACHEATTR_WB),
        (ShutdownReason::PowerOff as u32, xen::SHUTDOWN_poweroff),
        (ShutdownReason::Reboot as u32, xen::SHUTDOWN_reboot),
        (ShutdownReason::Crash as u32, xen::SHUTDOWN_crash),
        (POPULATE_PHYSMAP as u32, xen::XENMEM_populate_physmap),
        (RESOURCE_IOREQ_SERVER, xen::XENMEM_resource_ioreq_server),
        (hypercall::MEMORY_OP as u32, xen::__HYPERVISOR_memory_op),
        (hypercall::HVM_OP as u32, xen::__HYPERVISOR_hvm_op),
        (HVMOP_SET_PARAM as u32, xen::HVMOP_set_param),
        (HVMOP_GET_PARAM as u32, xen::HVMOP_get_param),
        (Param::AcpiSState as u32, xen::HVM_PARAM_ACPI_S_STATE),
    ];
    for (n, (ours, theirs)) in ops.into_iter().enumerate() {
        assert_eq!(ours, theirs, "entry {n}");
    }
    assert_eq!(MEM_RAM_RW, xen::hvmmem_type_t_HVMMEM_ram_rw as u16);
    assert_eq!(MEM_RAM_RO, xen::hvmmem_type_t_HVMMEM_ram_ro as u16);
}

/// `_IOC(_IOC_NONE, letter, number, size)`, as the kernel's headers write them.
const fn ioc(letter: u8, number: u64, size: usize) -> u64 {
    (size as u64) << 16 | (letter as u64) << 8 | number
}

#[test]
fn requests_carry_the_size_of_their_structure() {
    assert_eq!(privcmd::HYPERCALL, ioc(b'P', 0, size_of::<Hypercall>()));
    assert_eq!(privcmd::MMAPBATCH_V2, ioc(b'P', 4, size_of::<MapBatch>()));
    assert_eq!(privcmd::DM_OP, ioc(b'P', 5, size_of::<DmOpCall>()));
    assert_eq!(privcmd::RESTRICT, ioc(b'P', 6, size_of::<u16>()));
    assert_eq!(privcmd::MMAP_RESOURCE, ioc(b'P', 7, size_of::<MapResource>()));
    assert_eq!(evtchn::BIND_INTERDOMAIN, ioc(b'E', 1, size_of::<BindInterdomain>()));
    assert_eq!(evtchn::UNBIND, ioc(b'E', 3, 4));
    assert_eq!(evtchn::NOTIFY, ioc(b'E', 4, 4));
    assert_eq!(evtchn::RESTRICT_DOMID, ioc(b'E', 6, 2));
    // The grant's structure counts one reference of its array.
    assert_eq!(gntdev::MAP_GRANT_REF, ioc(b'G', 0, size_of::<MapGrantRef>() + size_of::<GrantRef>()));
    assert_eq!(gntdev::UNMAP_GRANT_REF, ioc(b'G', 1, size_of::<UnmapGrantRef>()));
    assert_eq!(gntdev::SET_UNMAP_NOTIFY, ioc(b'G', 7, size_of::<UnmapNotify>()));
    assert_eq!(gntdev::GRANT_COPY, ioc(b'G', 8, size_of::<GrantCopy>()));
}

fn hex(op: &DmOp) -> String {
    let head = op.op.to_le_bytes().into_iter().chain(op.pad.to_le_bytes());
    head.chain(op.payload).map(|byte| format!("{byte:02x}")).collect()
}

/// Operations as they were recorded of a stock device model.
#[test]
fn operations_are_the_bytes_that_were_recorded() {
    let range = MapIoRange { kind: RANGE_MEMORY, start: 0xfee0_0000, end: 0xfeef_ffff, ..Default::default() };
    let cases = [
        (
            DmOp::new(CreateIoreqServer { handle_bufioreq: BUFIOREQ_ATOMIC, ..Default::default() }),
            "0100000000000000020000000000000000000000000000000000000000000000",
        ),
        (
            DmOp::new(GetIoreqServerInfo { flags: NO_GFNS, bufioreq_port: 4, ..Default::default() }),
            "0200000000000000000001000400000000000000000000000000000000000000",
        ),
        (DmOp::new(range), "030000000000000000000000010000000000e0fe00000000ffffeffe00000000"),
        (
            DmOp::new(SetIoreqServerState { enabled: 1, ..Default::default() }),
            "0500000000000000000001000000000000000000000000000000000000000000",
        ),
        (
            DmOp::new(SetIsaIrqLevel { irq: 4, level: 1 }),
            "0900000000000000040100000000000000000000000000000000000000000000",
        ),
        (
            DmOp::new(SetPciLinkRoute { link: 1, irq: 10 }),
            "0a00000000000000010a00000000000000000000000000000000000000000000",
        ),
        (
            DmOp::new(SetMemType { pages: 0x40, kind: MEM_RAM_RW, first_pfn: 0xc0, ..Default::default() }),
            "0c000000000000004000000000000000c0000000000000000000000000000000",
        ),
        (
            DmOp::new(RelocateMemory { pages: 0x264, from: 0x7d9c, to: 0xf_1d9c, ..Default::default() }),
            "110000000000000064020000000000009c7d0000000000009c1d0f0000000000",
        ),
        (
            DmOp::new(PinMemoryCacheattr {
                start: 0xf_1000,
                end: 0xf_1fff,
                kind: CACHE_WRITE_BACK,
                ..Default::default()
            }),
            "120000000000000000100f0000000000ff1f0f00000000000600000000000000",
        ),
    ];
    for (op, recorded) in cases {
        assert_eq!(hex(&op), recorded);
    }
    assert_eq!(DmOp::new(range).payload::<MapIoRange>(), Some(range));
    assert_eq!(DmOp::new(range).payload::<UnmapIoRange>(), None);
}
