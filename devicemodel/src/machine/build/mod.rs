//! Puts a machine together: QEMU's `pc-i440fx`, as far as the hypervisor does not bring parts itself.

pub(super) mod board;
mod isa;
pub(super) mod xen;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16};
use std::sync::{Arc, Mutex};

use ::firmware::boot_order;
use backends::image::Images;
use devices::chipset::fw_cfg::{FwCfg, Item};
use devices::chipset::i440fx::{I440fx, Shadow};
use devices::chipset::piix3::{Links, Piix3, PirqRouter};
use devices::chipset::piix4_pm::{Eject, Options as PmOptions, Piix4Pm};
use devices::interrupt::IsaInterrupts;
use devices::interrupt::ioapic::Ioapic;
use devices::interrupt::pic::Pic;
use devices::storage::ide::Ide;
use devices_core::bus::{Bus, Mapper};
use devices_core::dma::Dma;
use devices_core::irq::{IrqBank, IrqSink};
use devices_core::power::Power;
use devices_core::{Device, DeviceCell};
use hypervisor::{Capabilities, Hypervisor, Pin, RamBlock};
use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::audio::Sounds;
use super::chardevs::Chardevs;
use super::disks::{Block, Blocks, DriveImages, Drives, Geometries};
use super::inputs::Others;
use super::interrupts::{Controllers, IsaPins, LinkRoutes, Tapped};
use super::network::Networks;
use super::plug::{Ejected, Maker, PciPins, Plugged};
use super::screens::Screens;
use super::{BuildError, Machine, Preopened, boot, disks, firmware, flash, media, serial};
use crate::config::{ConfigError, DeviceSpec, DiskBus, GuestConfig};
use crate::notices::{Notice, Notifier};
use crate::qtest::IrqIntercept;
use crate::trace::Border;
use board::{Board, PinSink, Windows};

/// What a machine stands on, beside its configuration.
pub struct MachineHandles {
    /// Who runs it.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Who hears of power-off and reset.
    pub power: Arc<dyn Power>,
    /// Who hears of the rest.
    pub notifier: Notifier,
    /// Where the firmware's log goes.
    pub debugcon: Option<PathBuf>,
    /// Who hears of the ISA wires, where the controllers are ours.
    pub taps: Option<Arc<IrqIntercept>>,
    /// What lies between the devices and the host.
    pub border: Border,
    /// What is open already of what the configuration names.
    pub ahead: Preopened,
}

impl MachineHandles {
    /// Run by that hypervisor, with nothing between the devices and the host; whoever is notified hears of power-off and
    /// reset too.
    pub fn new(hypervisor: Arc<dyn Hypervisor>, notifier: Notifier) -> MachineHandles {
        MachineHandles {
            hypervisor,
            power: Arc::new(notifier.clone()),
            notifier,
            debugcon: None,
            taps: None,
            border: Border::Open,
            ahead: Preopened::default(),
        }
    }
}

/// Interrupt pins of a PCI bus: four of 32 slots.
const PCI_PINS: u32 = 128;

/// The interrupt wiring of a machine.
struct Interrupts {
    /// The ISA wires: 16, or 24 with an IOAPIC of ours.
    isa: IrqBank,
    /// Where the PCI links lead.
    links: Arc<dyn Links>,
    /// The interrupt pins of the PCI slots.
    intx: IrqBank,
    /// The controllers that are ours.
    controllers: Option<Controllers>,
}

impl Machine {
    /// Builds a machine. Nothing of the host is changed when it fails.
    pub fn build(config: GuestConfig, handles: MachineHandles) -> Result<Machine, BuildError> {
        let MachineHandles { hypervisor, power, notifier, debugcon, taps, border, ahead } = handles;
        let switch = power.clone();
        let power = border.power(power);
        let capabilities = hypervisor.capabilities();
        // What can be wrong with files first.
        let pm_base = Arc::<AtomicU16>::default();
        let items = items(&config, &ahead, capabilities, &pm_base)?;
        notifier.bind(&hypervisor);
        let mapper: Arc<dyn Mapper> = Arc::new(Windows(hypervisor.clone()));
        let ram = hypervisor.memory();
        let bus = Bus::new(ram.clone(), mapper.clone());
        let drive_images = DriveImages::default();
        let networks = Arc::new(Networks::new(notifier.clone(), ahead.hubs()));
        let chardevs = Chardevs::default();
        let others = Others::default();
        let sounds = Sounds::open(&config, &border, &ahead)?;
        let board = Board {
            bus: &bus,
            hypervisor: &hypervisor,
            config: &config,
            power: &power,
            notifier: &notifier,
            border: &border,
            networks: &networks,
            chardevs: &chardevs,
            sounds: &sounds,
            others: &others,
            images: &drive_images,
            ahead: &ahead,
        };

        let interrupts = interrupts(&board, capabilities, taps)?;
        let isa = &interrupts.isa;
        let a20 = IrqBank::new(1, Arc::new(PinSink(hypervisor.irq(), Pin::A20)));
        let images = Images::default();
        // The firmware may lie in one of them.
        let drives = disks::open(&board, &images)?;
        bridges(&board, capabilities, mapper, interrupts.links.clone())?;
        let Storage { ide, geometry, blocks } = storage(&board, isa, drives)?;
        let ejected = Arc::<Ejected>::default();
        let eject = on_eject(&ejected, &notifier);
        let pm = power_management(&board, capabilities, isa, eject, pm_base)?;
        let plugged = Plugged::new(interrupts.intx.clone())?;
        let maker = Maker { board: &board, isa };
        board.add_netdevs(&config.netdevs)?;
        board.add_dumps(&config.dumps)?;
        chardevs.open(&board)?;
        let display = Screens::new(maker.all(&config.devices, &plugged)?);
        let cds = disks::cd_drives(&board, &blocks, &ide, &plugged, &images);
        pm.iter().for_each(|pm| pm.lock().set_removable_slots(plugged.removable()));
        let rtc = isa::clocks(&board, capabilities, isa, geometry)?;
        let keyboard = isa::input(&board, isa, &a20)?;
        isa::rest(&board, capabilities, &a20, debugcon.as_deref())?;
        // What is saved names the places that were given, and so does the boot order.
        let devices = plugged.specs();
        let fw_cfg = items.map(|items| configuration(&board, items, &devices)).transpose()?;
        let terminals = serial::attach(&board, isa, &notifier)?;
        bus.remap_all();
        let config = GuestConfig { devices, ..config.clone() };
        Ok(Machine {
            controllers: interrupts.controllers,
            isa: interrupts.isa,
            hypervisor,
            bus,
            pm,
            fw_cfg,
            ide,
            keyboard,
            others,
            display,
            plugged,
            networks,
            chardevs,
            sounds,
            cds: Mutex::new(cds),
            nodes: media::Nodes::default(),
            rtc,
            power,
            switch,
            ejected,
            leaving: Mutex::default(),
            cpus: Mutex::new((0..config.vcpus).map(|cpu| (cpu, String::new())).collect()),
            blocks: Blocks::new(blocks),
            images,
            pv_disks: None,
            terminals,
            notifier,
            waiting: AtomicBool::new(false),
            thread: None,
            border,
            config,
        })
    }
}

/// What the firmware is told; none where the guest's firmware has nothing to ask.
fn items(
    config: &GuestConfig,
    ahead: &Preopened,
    capabilities: Capabilities,
    pm_base: &Arc<AtomicU16>,
) -> Result<Option<Vec<Item>>, BuildError> {
    if config.generation_id().is_some() {
        let wrong = |why: &str| Err(ConfigError::Invalid(format!("device vmgenid: {why}")).into());
        if capabilities.acpi_tables {
            return wrong(
                "the guest's ACPI tables are hvmloader's: xl.cfg's ms_vm_genid=\"generate\" is what is meant",
            );
        }
        if !config.features.acpi {
            return wrong("a guest without ACPI cannot find it");
        }
    }
    if capabilities.firmware && config.disks.iter().any(|disk| disk.bus == DiskBus::Flash) {
        let why = "flash memory (if=pflash): the guest's firmware is hvmloader, which brings what it needs";
        return Err(ConfigError::Invalid(why.into()).into());
    }
    if capabilities.firmware && config.kernel.is_none() {
        return Ok(None);
    }
    firmware::items(config, ahead, capabilities.processor_id, pm_base).map(Some)
}

/// The configuration device with these items, and the boot order of the devices that are there.
fn configuration(
    board: &Board<'_>,
    mut items: Vec<Item>,
    devices: &[DeviceSpec],
) -> Result<Arc<DeviceCell<FwCfg>>, BuildError> {
    items.push(Item::file(boot_order::FILE, boot::file(board.config, devices)).replaceable());
    // A guest without keeps the files, and so the keys, that it had when it was saved.
    let geometry = boot::geometry_file(devices);
    if !geometry.is_empty() {
        items.push(Item::file(boot_order::GEOMETRY_FILE, geometry).replaceable());
    }
    let fw_cfg = FwCfg::new(items, Dma::always(board.hypervisor.memory()));
    board.attach(fw_cfg.map_err(|error| BuildError::Inconsistent(error.to_string()))?, &board.wiring())
}

/// The 8259 pair and the IOAPIC behind one bank of ISA wires, or the hypervisor's own.
fn interrupts(
    board: &Board<'_>,
    capabilities: Capabilities,
    taps: Option<Arc<IrqIntercept>>,
) -> Result<Interrupts, BuildError> {
    let target = board.hypervisor.irq();
    if capabilities.pic && capabilities.ioapic {
        let isa = IrqBank::new(16, Arc::new(IsaPins(target.clone())));
        let intx = IrqBank::new(PCI_PINS, Arc::new(PciPins(target.clone())));
        return Ok(Interrupts { isa, links: Arc::new(LinkRoutes(target)), intx, controllers: None });
    }
    let pic = Pic::new(Arc::new(move |level| target.set(Pin::Intr, level)));
    let ioapic = Ioapic::new(board.hypervisor.msi());
    let controllers = Controllers { pic: pic.handle(), ioapic: ioapic.handle() };
    let gsis = IsaInterrupts::new(controllers.pic.clone(), Some(controllers.ioapic.clone()));
    let sink: Arc<dyn IrqSink> = match taps {
        None => Arc::new(gsis),
        Some(taps) => Arc::new(Tapped { wires: gsis, taps }),
    };
    let isa = IrqBank::new(24, sink);
    board.attach(pic, &board.wiring())?;
    board.attach(ioapic, &board.wiring())?;
    let links = Arc::new(PirqRouter::new(isa.clone()));
    let intx = IrqBank::new(PCI_PINS, links.clone());
    Ok(Interrupts { isa, links, intx, controllers: Some(controllers) })
}

/// Host bridge and ISA bridge, with the firmware where it is ours to load.
fn bridges(
    board: &Board<'_>,
    capabilities: Capabilities,
    mapper: Arc<dyn Mapper>,
    links: Arc<dyn Links>,
) -> Result<(), BuildError> {
    let shadow = if capabilities.firmware {
        None
    } else {
        let low = low_ram(&**board.hypervisor)
            .ok_or_else(|| BuildError::Inconsistent("no RAM at address 0".into()))?;
        let bios = match flash::attach(board, &mapper)? {
            Some(flash) => flash,
            None => firmware::load(&**board.hypervisor, board.config.firmware.as_deref())?,
        };
        Some(Shadow { ram: low, firmware: Some(bios), mapper })
    };
    let host = I440fx::new(board.config.memory_mib << 20, shadow);
    board.attach_pci(host, &board.wiring(), 0, 0)?;
    board.attach_pci(Piix3::new(links, board.power.clone()), &board.wiring(), 1, 0)?;
    Ok(())
}

/// The disk controller and what is known of its drives.
struct Storage {
    ide: Arc<DeviceCell<Ide>>,
    geometry: Geometries,
    blocks: Vec<Arc<Block>>,
}

fn storage(board: &Board<'_>, isa: &IrqBank, drives: Drives) -> Result<Storage, BuildError> {
    let wiring = board.wiring();
    let ide = Ide::new(&wiring, board.hypervisor.memory(), [isa.line(14), isa.line(15)], drives.drives);
    let observer = board.notifier.observer(ide.name());
    let ide = board.attach_pci(ide.observed(&observer, drives.errors), &wiring, 1, 1)?;
    Ok(Storage { ide, geometry: drives.geometry, blocks: drives.blocks })
}

/// Has the event loop hear of slots that the guest ejects, once however often it does.
fn on_eject(ejected: &Arc<Ejected>, notifier: &Notifier) -> Eject {
    let (ejected, notifier) = (ejected.clone(), notifier.clone());
    Arc::new(move |slot| {
        if ejected.add(slot) {
            notifier.notify(Notice::Device);
        }
    })
}

fn power_management(
    board: &Board<'_>,
    capabilities: Capabilities,
    isa: &IrqBank,
    eject: Eject,
    pm_base: Arc<AtomicU16>,
) -> Result<Option<Arc<DeviceCell<Piix4Pm>>>, BuildError> {
    if !board.config.features.acpi {
        return Ok(None);
    }
    let [first, second, ..] = board.config.serial_ports();
    let options = PmOptions {
        serial: [first, second],
        events_elsewhere: capabilities.pm_timer,
        // libacpi's method reads the block once for each slot.
        up_stays: capabilities.acpi_tables,
        ..PmOptions::default()
    };
    let wiring = board.wiring();
    let pm = Piix4Pm::new(options, isa.line(9), board.power.clone(), eject, &wiring).telling(pm_base);
    let pm = board.attach_pci(pm, &wiring, 1, 3)?;
    (0..board.config.vcpus).for_each(|cpu| pm.lock().set_cpu_present(cpu as u8));
    Ok(Some(pm))
}

/// The block of RAM at address 0.
fn low_ram(hypervisor: &dyn Hypervisor) -> Option<RamBlock> {
    hypervisor.memory().find_region(GuestAddress(0)).map(|region| region.block().clone())
}
