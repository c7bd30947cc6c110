//! Processes that serve devices: connected to as the devices are made.

use std::sync::Arc;
use std::time::Duration;

use backends::vhost_user::{Direct, FrontEnd, Options, Place};
use devices::board::MakeError;
use devices::virtio::vhost_user::model::PATIENCE;
use devices_core::Wiring;
use devices_core::model::{CHARDEV, Properties};
use devices_core::vhost_user::{Needs, VhostUser};
use hypervisor::memory;

use super::build::board::Board;
use super::network;
use crate::config::{BackEndConfig, BackEndPlace};
use crate::trace::Border;

/// The back end that a device with these properties names.
pub(super) fn connect(
    board: &Board<'_>,
    properties: &Properties,
    (wiring, number): (&Wiring, u32),
    needs: Needs,
) -> Result<Arc<dyn VhostUser>, MakeError> {
    let other = |why: String| MakeError::Other(why);
    let id = properties.text(CHARDEV.name).unwrap_or_default();
    let config = board.config.back_ends.iter().find(|back_end| back_end.id == id);
    let config =
        config.ok_or_else(|| properties.invalid(CHARDEV.name, format!("can't find value '{id}'")))?;
    if !matches!(board.border, Border::Open) {
        return Err(other("what another process does to the guest's memory cannot be recorded".into()));
    }
    let ram = memory::shared(&board.hypervisor.memory()).ok_or_else(|| {
        other(
            "the guest's memory is not this process's to hand over: a back end needs --hypervisor soft"
                .into(),
        )
    })?;
    let BackEndConfig { place, reconnect_ms, .. } = config;
    let at = place.to_string();
    let place = match place {
        BackEndPlace::Connect(path) => {
            let again = (*reconnect_ms > 0).then(|| Duration::from_millis(*reconnect_ms));
            Place::Connect(Box::new(Direct(path.clone())), again)
        }
        BackEndPlace::Listen(path) => Place::Listen(path.clone()),
        BackEndPlace::Share(_) => match board.ahead.share(id) {
            Some(peer) => Place::There(peer),
            None => return Err(other(format!("{at} was not started"))),
        },
        BackEndPlace::Fd(fd) => Place::Given(network::numbered(&fd.to_string()).map_err(other)?),
    };
    let patience = Duration::from_millis(properties.uint(PATIENCE.name).unwrap_or(0).max(1));
    let options = Options { place, at, needs, ram, patience };
    let front = FrontEnd::connect(options, wiring.waker(), number);
    Ok(Arc::new(front.map_err(|error| other(error.to_string()))?))
}
