//! Clusters that qemu-img compressed: raw deflate streams.

use std::io;
use std::sync::{Arc, PoisonError};

use flate2::{Decompress, FlushDecompress, Status};

use super::Qcow2;
use super::mapping::corrupt;

/// The cluster that was inflated last: small reads of one come in a row.
#[derive(Default)]
pub(super) struct Inflated(Option<(u64, Arc<Vec<u8>>)>);

impl Inflated {
    /// Forgets it.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

impl Qcow2 {
    /// The contents of a compressed cluster. Its place is not used for another while anybody sees the entry, and
    /// never again for a compressed one: we write none.
    pub(super) fn inflate(&self, at: u64, len: u64) -> io::Result<Arc<Vec<u8>>> {
        let mut last = self.inflated.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((place, data)) = &last.0
            && *place == at
        {
            return Ok(data.clone());
        }
        let mut packed = vec![0; len as usize];
        self.file.read(&mut packed, at)?;
        let size = self.header.geometry.cluster() as usize;
        let mut data = vec![0; size];
        let mut stream = Decompress::new(false);
        // What follows the stream in its last sector is of no meaning.
        let status = stream.decompress(&packed, &mut data, FlushDecompress::Finish);
        let whole = matches!(status, Ok(Status::StreamEnd | Status::Ok | Status::BufError));
        if !whole || stream.total_out() != size as u64 {
            return Err(corrupt("a compressed cluster is damaged"));
        }
        let data = Arc::new(data);
        last.0 = Some((at, data.clone()));
        Ok(data)
    }
}
