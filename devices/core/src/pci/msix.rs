//! MSI-X: vectors in a table in a BAR (PCI Local Bus Specification 3.0, section 6.8.2).

use std::ops::Range;
use std::sync::Arc;

use hypervisor::MsiTarget;
use hypervisor::inspect::Node;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::PciConfig;
use crate::state::{StateError, valid};

/// Capability id.
const MSIX: u8 = 0x11;
/// Length of the capability.
const LEN: u16 = 12;
/// Message control, from the capability's start.
const CONTROL: u16 = 2;
/// Where the table is: offset in the BAR, and which BAR in the low three bits.
const TABLE: u16 = 4;
/// Where the pending bits are, likewise.
const PBA: u16 = 8;
/// Message control: enable.
const ENABLE: u16 = 1 << 15;
/// Message control: all vectors are masked.
const MASK_ALL: u16 = 1 << 14;

/// Bytes of a table entry: address, data, control.
const ENTRY: usize = 16;
/// Vector control, in an entry.
const ENTRY_CONTROL: usize = 12;
/// Vector control: masked.
const ENTRY_MASKED: u8 = 1;

/// Where a function's MSI-X table is and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixShape {
    /// Vectors, 1 to 2048.
    pub vectors: u16,
    /// The BAR (0-5) that has both.
    pub bar: u8,
    /// Offset of the table, a multiple of 8: 16 bytes a vector.
    pub table: u32,
    /// Offset of the pending bits, a multiple of 8: 8 bytes for each 64 vectors begun.
    pub pba: u32,
}

impl MsixShape {
    fn table_bytes(self) -> Range<u64> {
        let start = u64::from(self.table);
        start..start + u64::from(self.vectors) * ENTRY as u64
    }
    fn pba_bytes(self) -> Range<u64> {
        let start = u64::from(self.pba);
        start..start + u64::from(self.vectors).div_ceil(64) * 8
    }
}

/// The table and the pending bits.
pub(super) struct Msix {
    at: u16,
    shape: MsixShape,
    table: Vec<u8>,
    pending: Vec<u8>,
    target: Arc<dyn MsiTarget>,
}

/// Saved form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MsixState {
    pub(super) table: ByteBuf,
    pending: ByteBuf,
}

impl PciConfig {
    /// Adds MSI-X at `at`. The device hands accesses to the BAR to [`msix_read`](PciConfig::msix_read) and
    /// [`msix_write`](PciConfig::msix_write), and sends by [`message`](PciConfig::message).
    pub fn msix(&mut self, at: u16, shape: MsixShape, target: Arc<dyn MsiTarget>) {
        let MsixShape { vectors, bar, table, pba } = shape;
        assert!((1..=2048).contains(&vectors) && bar < 6, "MSI-X has 1 to 2048 vectors in a BAR");
        let (tables, pbas) = (shape.table_bytes(), shape.pba_bytes());
        let apart = tables.end <= pbas.start || pbas.end <= tables.start;
        assert!((table | pba).is_multiple_of(8) && apart, "table and pending bits have their places");
        self.capability(at, MSIX, LEN);
        self.set_u16(at + CONTROL, vectors - 1);
        self.allow(at + CONTROL, &(ENABLE | MASK_ALL).to_le_bytes());
        self.set(at + TABLE, &(table | u32::from(bar)).to_le_bytes());
        self.set(at + PBA, &(pba | u32::from(bar)).to_le_bytes());
        let pending = vec![0; (pbas.end - pbas.start) as usize];
        let mut msix = Msix { at, shape, table: vec![0; usize::from(vectors) * ENTRY], pending, target };
        msix.reset();
        self.msix = Some(msix);
    }

    /// A read of BAR `bar` at `offset`; false if neither the table nor the pending bits are there.
    pub fn msix_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> bool {
        let Some(msix) = self.msix.as_ref().filter(|msix| msix.shape.bar == bar) else { return false };
        let (tables, pbas) = (msix.shape.table_bytes(), msix.shape.pba_bytes());
        let (bytes, from) = match offset {
            _ if tables.contains(&offset) => (&msix.table, offset - tables.start),
            _ if pbas.contains(&offset) => (&msix.pending, offset - pbas.start),
            _ => return false,
        };
        data.fill(0);
        for (byte, from) in data.iter_mut().zip(bytes.iter().skip(from as usize)) {
            *byte = *from;
        }
        true
    }

    /// A write, likewise. Only whole, aligned doublewords and quadwords are taken, as software has to
    /// write them; pending bits are read only.
    pub fn msix_write(&mut self, bar: u8, offset: u64, data: &[u8]) -> bool {
        let Some(msix) = self.msix.as_mut().filter(|msix| msix.shape.bar == bar) else { return false };
        let tables = msix.shape.table_bytes();
        if !tables.contains(&offset) {
            return msix.shape.pba_bytes().contains(&offset);
        }
        let from = (offset - tables.start) as usize;
        if matches!(data.len(), 4 | 8) && from.is_multiple_of(data.len()) {
            msix.put(from, data);
            self.send_if_waiting(from / ENTRY);
        }
        true
    }

    /// Whether the guest has enabled MSI-X.
    pub fn msix_enabled(&self) -> bool {
        self.msix_control() & ENABLE != 0
    }

    /// A vector no longer waits to be sent, as some functions have it done by a register of theirs.
    pub fn clear_msix_pending(&mut self, vector: u16) {
        if let Some(msix) = &mut self.msix {
            msix.set_pending(vector.into(), false);
        }
    }

    fn msix_control(&self) -> u16 {
        self.msix.as_ref().map_or(0, |msix| self.u16(msix.at + CONTROL))
    }

    /// Sends a vector, or notes that it waits; false if MSI-X is off.
    pub(super) fn msix_message(&mut self, vector: u16) -> bool {
        let control = self.msix_control();
        if control & ENABLE == 0 {
            return false;
        }
        let vector = usize::from(vector);
        let Some(msix) = &mut self.msix else { return false };
        if control & MASK_ALL != 0 || msix.masked(vector) {
            msix.set_pending(vector, true);
        } else if let Some((address, data)) = msix.entry(vector) {
            let target = msix.target.clone();
            self.signal(&target, address, data);
        }
        true
    }

    /// After a write to the capability: all that waited may go now.
    pub(super) fn follow_msix(&mut self) {
        let vectors = self.msix.as_ref().map_or(0, |msix| msix.shape.vectors);
        if self.msix_enabled() {
            (0..vectors.into()).for_each(|vector| self.send_if_waiting(vector));
        }
    }

    fn send_if_waiting(&mut self, vector: usize) {
        let open = self.msix_control() & (ENABLE | MASK_ALL) == ENABLE;
        let Some(msix) = &mut self.msix else { return };
        if open && msix.pending(vector) && !msix.masked(vector) {
            msix.set_pending(vector, false);
            self.msix_message(vector as u16);
        }
    }

    pub(super) fn inspect_msix(&self, node: &mut Node) {
        let Some(msix) = &self.msix else { return };
        node.value("enabled", self.msix_enabled());
        node.value("all masked", self.msix_control() & MASK_ALL != 0);
        for vector in 0..usize::from(msix.shape.vectors) {
            let Some((address, data)) = msix.entry(vector) else { continue };
            let masked = if msix.masked(vector) { ", masked" } else { "" };
            let pending = if msix.pending(vector) { ", pending" } else { "" };
            if address != 0 || !pending.is_empty() {
                let line = format_args!("{address:#x} {data:#x}{masked}{pending}");
                node.value(&format!("vector {vector}"), line);
            }
        }
    }
}

impl Msix {
    /// Every vector masked, none pending.
    pub(super) fn reset(&mut self) {
        self.table.fill(0);
        self.pending.fill(0);
        self.table.iter_mut().skip(ENTRY_CONTROL).step_by(ENTRY).for_each(|control| *control = ENTRY_MASKED);
    }

    /// Writes into the table; address bits 1:0 and reserved bits of the control stay zero.
    fn put(&mut self, from: usize, data: &[u8]) {
        for (at, &value) in (from..).zip(data) {
            let mask = match at % ENTRY {
                0 => 0xfc,
                ENTRY_CONTROL => ENTRY_MASKED,
                13..ENTRY => 0,
                _ => 0xff,
            };
            if let Some(byte) = self.table.get_mut(at) {
                *byte = value & mask;
            }
        }
    }

    /// Address and data of a vector.
    fn entry(&self, vector: usize) -> Option<(u64, u32)> {
        let entry = self.table.get(vector * ENTRY..)?.first_chunk::<ENTRY>()?;
        let [a, b, c, d, e, f, g, h, data @ .., _, _, _, _] = *entry;
        Some((u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes(data)))
    }

    /// A vector that is not there is never masked.
    fn masked(&self, vector: usize) -> bool {
        self.table.get(vector * ENTRY + ENTRY_CONTROL).is_some_and(|control| control & ENTRY_MASKED != 0)
    }

    fn pending(&self, vector: usize) -> bool {
        self.pending.get(vector / 8).is_some_and(|byte| byte >> (vector % 8) & 1 != 0)
    }

    fn set_pending(&mut self, vector: usize, pending: bool) {
        if vector >= self.shape.vectors.into() {
            return;
        }
        if let Some(byte) = self.pending.get_mut(vector / 8) {
            *byte = *byte & !(1 << (vector % 8)) | u8::from(pending) << (vector % 8);
        }
    }

    pub(super) fn save(&self) -> MsixState {
        let Msix { at: _, shape: _, table, pending, target: _ } = self;
        MsixState { table: ByteBuf::from(table.clone()), pending: ByteBuf::from(pending.clone()) }
    }

    pub(super) fn load(&mut self, state: &MsixState) -> Result<(), StateError> {
        let MsixState { table, pending } = state;
        let fits = table.len() == self.table.len() && pending.len() == self.pending.len();
        valid(fits, "the MSI-X table has another length")?;
        self.put(0, table);
        self.pending.copy_from_slice(pending);
        Ok(())
    }
}
