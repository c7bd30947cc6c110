//! A disk in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use super::{BlockError, BlockInfo, BlockOp, BlockStore, Payload};

/// A disk in memory, for tests.
pub struct MemoryStore {
    bytes: RwLock<Vec<u8>>,
    read_only: bool,
    broken: AtomicBool,
}

impl MemoryStore {
    /// With these contents, whole sectors.
    pub fn new(bytes: Vec<u8>, read_only: bool) -> MemoryStore {
        MemoryStore { bytes: RwLock::new(bytes), read_only, broken: AtomicBool::new(false) }
    }
    /// Makes all work fail, or succeed again.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }
    /// A copy of the contents.
    pub fn contents(&self) -> Vec<u8> {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl BlockStore for MemoryStore {
    fn info(&self) -> BlockInfo {
        let size = self.bytes.read().unwrap_or_else(PoisonError::into_inner).len() as u64;
        BlockInfo { size, read_only: self.read_only, physical_block: 512, discard: true }
    }

    fn run(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> Result<(), BlockError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(BlockError::Io);
        }
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let len = if let BlockOp::Discard(len) = op { len } else { payload.len() };
        let range = offset as usize..offset.saturating_add(len) as usize;
        match op {
            BlockOp::Flush => Ok(()),
            BlockOp::Read => payload.fill(bytes.get(range).ok_or(BlockError::OutOfRange)?),
            BlockOp::Write => payload.copy_to(bytes.get_mut(range).ok_or(BlockError::OutOfRange)?),
            BlockOp::Discard(_) => {
                bytes.get_mut(range).ok_or(BlockError::OutOfRange)?.fill(0);
                Ok(())
            }
        }
    }
}
