//! What a machine and a device that is being put into it have to do with each other.

use std::sync::Arc;

use devices_core::audio::AudioBackend;
use devices_core::balloon::Balloon;
use devices_core::block::{BlockBackend, Tray};
use devices_core::bus::AnyDevice;
use devices_core::chardev::CharBackend;
use devices_core::entropy::Entropy;
use devices_core::events::Observer;
use devices_core::irq::IrqLine;
use devices_core::model::{Properties, PropertyError};
use devices_core::net::{NetBackend, Nic};
use devices_core::picture::DisplayAdapter;
use devices_core::power::Power;
use devices_core::vhost_user::{Needs, VhostUser};
use devices_core::vsock::VsockBackend;
use devices_core::{Device, DeviceCell, Waker, Wiring};
use hypervisor::{GuestRam, MsiTarget, RamBlock};
use thiserror::Error;

use crate::audio::hda::HdaBus;
use crate::input::InputSink;
use crate::storage::drive::DriveImage;
use crate::storage::scsi::ScsiHost;
use crate::usb::{Speed, UsbHost};
use crate::virtio::serial::SerialBus;
use crate::xen::platform;

/// The handles of one device that is being made.
pub struct DeviceHandles<'a> {
    /// Its name on the bus, and the key of its saved state.
    pub name: &'a str,
    /// Time, and how it is woken.
    pub wiring: &'a Wiring,
    /// The interrupt pins of its slot, INTA first. Nowhere for what is not on PCI.
    pub intx: [IrqLine; 4],
    /// The bus that its `masterbus` names: it shares that one's places.
    pub master: Option<&'a OfferedBus>,
    /// What it asks of the machine.
    pub board: &'a dyn DeviceContext,
}

/// The machine, as a device's constructor sees it.
pub trait DeviceContext {
    /// Guest memory.
    fn ram(&self) -> GuestRam;
    /// An interrupt wire of the ISA bus: 0 to 15, and above that the IOAPIC's further pins where there are such.
    fn isa_irq(&self, pin: u32) -> IrqLine;
    /// Where messages go.
    fn msi(&self) -> Arc<dyn MsiTarget>;
    /// The power switch.
    fn power(&self) -> Arc<dyn Power>;
    /// Memory of a device's own that the guest reaches directly, of so many bytes.
    fn add_ram(&self, name: &str, len: u64) -> Result<RamBlock, MakeError>;
    /// The other end of a network card's cable, and the card's address; the backend wakes the card with
    /// [`devices_core::Wake::Backend`]`(number)`.
    fn network(&self, properties: &Properties, wiring: &Wiring, number: u32) -> Result<NicConfig, MakeError>;
    /// The image that `drive` names. There is one: a configuration without is refused before.
    fn drive(&self, properties: &Properties) -> Result<DriveImage, MakeError>;
    /// The line that `chardev` names, which wakes the device with [`devices_core::Wake::Backend`]`(number)`; none: nobody
    /// named one.
    fn chardev(
        &self,
        properties: &Properties,
        waker: Waker,
        number: u32,
    ) -> Result<Option<Arc<dyn CharBackend>>, MakeError>;
    /// What lies in the CD drive that `drive` names; none: nothing does.
    fn medium(&self, properties: &Properties) -> Result<Option<Arc<dyn BlockBackend>>, MakeError>;
    /// Random numbers for the device of that name.
    fn entropy(&self, name: &str) -> Arc<dyn Entropy>;
    /// Who hears what the device of that name has to tell.
    fn observer(&self, name: &str) -> Arc<dyn Observer>;
    /// The process that serves the device's queues, which its `chardev` leads to; it wakes the device with
    /// [`devices_core::Wake::Backend`]`(number)`.
    fn vhost_user(
        &self,
        properties: &Properties,
        wiring: &Wiring,
        number: u32,
        needs: Needs,
    ) -> Result<Arc<dyn VhostUser>, MakeError>;
    /// The host's end of the sockets of a device with these properties, which wakes it with
    /// [`devices_core::Wake::Backend`]`(number)`; nowhere, if nobody named a socket.
    fn vsock(
        &self,
        properties: &Properties,
        wiring: &Wiring,
        number: u32,
    ) -> Result<Arc<dyn VsockBackend>, MakeError>;
    /// Where the sound of a device of that name with these properties goes.
    fn audio(&self, properties: &Properties, name: &str) -> Result<Arc<dyn AudioBackend>, MakeError>;
    /// How many vCPUs the guest starts with.
    fn vcpus(&self) -> u32;
    /// Whether memory of devices is saved as the guest's own, by somebody else.
    fn saves_device_memory(&self) -> bool;
    /// Who carries out what PV drivers ask for; none where no Xen is.
    fn xen_platform(&self) -> Option<Arc<dyn platform::PlatformOps>>;
}

/// What a network card is made with.
pub struct NicConfig {
    /// The other end; nowhere, if nobody named one.
    pub backend: Arc<dyn NetBackend>,
    /// `mac`, or one that no other card of the guest has.
    pub mac: [u8; 6],
}

/// A device, and what it offers to those who use the machine.
pub struct MadeDevice {
    /// The device.
    pub slot: AnyDevice,
    /// Its screen.
    pub display: Option<Arc<dyn DisplayAdapter>>,
    /// It as a network card.
    pub nic: Option<Arc<DeviceCell<dyn Nic>>>,
    /// It as a keyboard or a pointer.
    pub input: Option<Arc<DeviceCell<dyn InputSink>>>,
    /// It as a memory balloon.
    pub balloon: Option<Arc<DeviceCell<dyn Balloon>>>,
    /// The bus that it has for others.
    pub bus: Option<OfferedBus>,
}

/// A bus of a device's, for those that hang on it.
#[derive(Clone)]
pub enum OfferedBus {
    /// Ports of a virtio console.
    VirtioSerial(SerialBus),
    /// SCSI.
    Scsi(Arc<dyn ScsiHost>),
    /// USB.
    Usb(Arc<dyn UsbHost>),
    /// HD Audio's link.
    Hda(HdaBus),
}

/// The handles of a device that hangs on another's bus.
pub struct ChildHandles<'a> {
    /// Its id; none: nobody gave it one.
    pub id: Option<&'a str>,
    /// The bus.
    pub bus: &'a OfferedBus,
    /// What it asks of the machine.
    pub board: &'a dyn DeviceContext,
}

/// A device that hangs on another's bus, which has it now.
pub struct MadeChild {
    /// Where it is on the bus: each property of [`BusType::place`](devices_core::model::BusType::place), set or chosen.
    pub place: Vec<(&'static str, u64)>,
    /// How it is taken away.
    pub child: Box<dyn Child>,
    /// The hand on its tray, if it has one.
    pub tray: Option<Tray>,
    /// It as a keyboard or a pointer. Whoever keeps the child keeps it too.
    pub input: Option<Arc<DeviceCell<dyn InputSink>>>,
    /// The bus that it has for others.
    pub bus: Option<OfferedBus>,
}

/// A device on another's bus, as the machine has it.
pub trait Child: Send + Sync {
    /// Takes it off the bus. Its controller tells the guest.
    fn unplug(&self);
    /// Puts it on its bus, where a place is kept for it.
    ///
    /// # Errors
    /// The bus does not take it.
    fn attach(&self) -> Result<(), MakeError> {
        Ok(())
    }
    /// After it was taken off: whether no byte moves any more for what it had begun.
    fn drained(&self) -> bool {
        true
    }
    /// How fast it is now, on USB.
    fn usb_speed(&self) -> Option<Speed> {
        None
    }
}

impl MadeDevice {
    /// A device that offers nothing of that.
    pub fn of<D: Device + 'static>(device: D) -> MadeDevice {
        MadeDevice::at(Arc::new(DeviceCell::new(device)))
    }
    /// The same of one that has its lock.
    pub fn at<D: Device + 'static>(slot: Arc<DeviceCell<D>>) -> MadeDevice {
        MadeDevice { slot, display: None, nic: None, input: None, balloon: None, bus: None }
    }
    /// A network card.
    pub fn nic<D: Nic + 'static>(device: D) -> MadeDevice {
        let slot = Arc::new(DeviceCell::new(device));
        MadeDevice { nic: Some(slot.clone()), ..MadeDevice::at(slot) }
    }
}

/// Makes a device of a model.
pub type Make = fn(&Properties, DeviceHandles<'_>) -> Result<MadeDevice, MakeError>;

/// Makes a device of a model and hands it to its controller.
pub type MakeChild = fn(&Properties, ChildHandles<'_>) -> Result<MadeChild, MakeError>;

/// Why a device was not made.
#[derive(Debug, Error)]
pub enum MakeError {
    /// What is set on it.
    #[error("{0}")]
    Property(#[from] PropertyError),
    /// The hypervisor.
    #[error("{0}")]
    Hypervisor(#[from] hypervisor::Error),
    /// Something else, in a sentence.
    #[error("{0}")]
    Other(String),
}
