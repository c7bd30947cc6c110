//! The host's end of a guest's sockets.

use std::path::PathBuf;
use std::sync::Arc;

use backends::vsock::Options;
use devices::board::MakeError;
use devices::virtio::vsock::model::{CONNECTIONS, GUEST_CID, SOCKET};
use devices_core::Wiring;
use devices_core::model::Properties;
use devices_core::vsock::{FIRST_CID, NullVsock, Ported, VsockBackend};

use super::build::board::Board;
use crate::sandbox::{explain, filter};

/// What a device with these properties leads to.
pub(super) fn connect(
    board: &Board<'_>,
    properties: &Properties,
    wiring: &Wiring,
    number: u32,
) -> Result<Arc<dyn VsockBackend>, MakeError> {
    let Some(path) = properties.text(SOCKET.name) else { return Ok(Arc::new(NullVsock)) };
    let inner: Arc<dyn VsockBackend> = match board.border.replays() {
        true => Arc::new(NullVsock),
        false => start(board, properties, path.into(), wiring, number)?,
    };
    Ok(match board.border.port(&format!("vsock/{path}")) {
        Some(port) => Arc::new(Ported::new(port, inner)),
        None => inner,
    })
}

fn start(
    board: &Board<'_>,
    properties: &Properties,
    path: PathBuf,
    wiring: &Wiring,
    number: u32,
) -> Result<Arc<dyn VsockBackend>, MakeError> {
    if filter::is_on() && !board.config.reach().programs {
        return Err(MakeError::Other(
            "the process is confined and connects to nobody: start the guest with such a device, or with \
             --sandbox off"
                .into(),
        ));
    }
    let name = path.display().to_string();
    let failed = |error: std::io::Error| {
        let mut told = format!("{name}: {error}");
        explain(&mut told);
        MakeError::Other(told)
    };
    let cid = properties.uint(GUEST_CID.name).unwrap_or(FIRST_CID);
    let connections =
        properties.uint(CONNECTIONS.name).and_then(|most| usize::try_from(most).ok()).unwrap_or(1);
    let prepared = board.ahead.vsock(&path).map_err(failed)?;
    let started = prepared.start(Options { cid, path, connections }, wiring.waker(), number);
    Ok(Arc::new(started.map_err(failed)?))
}
