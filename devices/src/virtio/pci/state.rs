//! Saved state.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::super::common::CommonState;
use super::super::device::VirtioDevice;
use super::VirtioPci;

const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State<T> {
    pci: PciState,
    common: CommonState,
    isr: u8,
    device_feature_select: u32,
    driver_feature_select: u32,
    queue_select: u16,
    driver_features: u64,
    config_vector: u16,
    queue_vectors: Vec<u16>,
    device: T,
}

pub(super) fn save<D: VirtioDevice>(card: &VirtioPci<D>) -> Result<Saved, StateError> {
    let VirtioPci {
        name: _,
        pci,
        options: _,
        layout: _,
        common,
        device,
        isr,
        device_feature_select,
        driver_feature_select,
        queue_select,
        driver_features,
        config_vector,
        queue_vectors,
        // Who waits is of this process, and so is what it waits for.
        resetting: _,
        stopping: _,
        quiet: _,
        regions: _,
    } = card;
    device.can_be_saved()?;
    let state = State {
        pci: pci.save(),
        common: common.save(),
        isr: *isr,
        device_feature_select: *device_feature_select,
        driver_feature_select: *driver_feature_select,
        queue_select: *queue_select,
        driver_features: *driver_features,
        config_vector: *config_vector,
        queue_vectors: queue_vectors.clone(),
        device: device.save(),
    };
    Saved::encode(D::KIND, VERSION, &state)
}

pub(super) fn load<D: VirtioDevice>(card: &mut VirtioPci<D>, saved: &Saved) -> Result<(), StateError> {
    let State {
        pci,
        common,
        isr,
        device_feature_select,
        driver_feature_select,
        queue_select,
        driver_features,
        config_vector,
        queue_vectors,
        device,
    }: State<D::State> = saved.decode(D::KIND, VERSION)?;
    valid(queue_vectors.len() == card.queue_vectors.len(), "the device has another number of queues")?;
    card.pci.load(&pci)?;
    card.common.load(common, |features| card.device.queue_sizes_with(features))?;
    card.isr = isr;
    (card.device_feature_select, card.driver_feature_select) = (device_feature_select, driver_feature_select);
    (card.queue_select, card.driver_features) = (queue_select, driver_features);
    card.config_vector = card.vector(config_vector);
    card.queue_vectors = queue_vectors.into_iter().map(|vector| card.vector(vector)).collect();
    card.device.load(&mut card.common, device)
}
