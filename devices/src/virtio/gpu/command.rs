//! Commands (Virtio 1.3, 5.7.6.7 to 5.7.6.10). Each is read once, checked, and done before it is answered: so a fence is
//! passed when its answer is there.

use std::sync::Arc;

use super::super::common::Common;
use super::super::queue::{Chain, read_at, write_at};
use super::backing::Backing;
use super::heads::{Cursor, Rect, Scanout, Shape};
use super::image::{Format, Image};
use super::spec::{CURSOR, ENTRIES_MAX, FLAG_FENCE, HEADER, PIXEL, command, feature, length, response};
use super::{Gpu, Resource};
use crate::display::edid::Monitor;

/// A command's bytes.
struct Words([u8; 56]);

impl Words {
    /// Its first `len` bytes; none: it is shorter.
    fn read(common: &Common, chain: &Chain, len: usize) -> Option<Words> {
        let mut words = Words([0; 56]);
        let to = words.0.get_mut(..len)?;
        (read_at(common.dma(), &chain.readable, 0, to) == Some(len)).then_some(words)
    }
    fn u32(&self, at: usize) -> u32 {
        self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    }
    fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32
    }
    /// The rectangle behind the header.
    fn rect(&self) -> Rect {
        let [x, y, width, height] = [0, 4, 8, 12].map(|at| self.u32(HEADER + at));
        Rect { x, y, width, height }
    }
}

/// Type of the response and what follows its header, or the type of an error.
type Answer = Result<(u32, Vec<u8>), u32>;

const DONE: (u32, Vec<u8>) = (response::OK_NODATA, Vec::new());

impl Gpu {
    /// A request of the control queue; how many bytes of the response were written.
    pub(super) fn control(&mut self, common: &Common, chain: &Chain) -> u32 {
        let header = Words::read(common, chain, HEADER);
        let answer = header.as_ref().ok_or(response::ERR_UNSPEC);
        let (kind, data) = answer
            .and_then(|header| self.execute(common, chain, header.u32(0)))
            .unwrap_or_else(|error| (error, Vec::new()));
        let mut bytes = vec![0; HEADER];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        if let Some(header) = header.filter(|header| header.u32(4) & FLAG_FENCE != 0) {
            bytes[4..8].copy_from_slice(&FLAG_FENCE.to_le_bytes());
            // Fence and context.
            bytes[8..20].copy_from_slice(&header.0[8..20]);
        }
        bytes.extend_from_slice(&data);
        write_at(common.dma(), &chain.writable, 0, &bytes).unwrap_or(0) as u32
    }

    fn execute(&mut self, common: &Common, chain: &Chain, kind: u32) -> Answer {
        let words = |len| Words::read(common, chain, len).ok_or(response::ERR_UNSPEC);
        match kind {
            command::GET_DISPLAY_INFO => return Ok((response::OK_DISPLAY_INFO, self.display_info())),
            // Windows's driver asks if it is offered, without accepting it.
            command::GET_EDID if common.offered() & feature::EDID != 0 => {
                let data = self.edid(words(length::GET_EDID)?.u32(HEADER))?;
                return Ok((response::OK_EDID, data));
            }
            command::RESOURCE_CREATE_2D => self.create(&words(length::CREATE_2D)?)?,
            command::RESOURCE_UNREF => self.unref(words(length::UNREF)?.u32(HEADER))?,
            command::SET_SCANOUT => self.set_scanout(&words(length::SET_SCANOUT)?)?,
            command::RESOURCE_FLUSH => self.flush(&words(length::FLUSH)?)?,
            command::TRANSFER_TO_HOST_2D => self.transfer(common, &words(length::TRANSFER)?)?,
            command::RESOURCE_ATTACH_BACKING => self.attach(common, chain, &words(length::ATTACH)?)?,
            command::RESOURCE_DETACH_BACKING => self.detach(words(length::UNREF)?.u32(HEADER))?,
            _ => return Err(response::ERR_UNSPEC),
        }
        Ok(DONE)
    }

    /// Monitors, of which there are always descriptions of 16.
    fn display_info(&self) -> Vec<u8> {
        let mut data = vec![0; super::SCANOUTS_MAX * length::DISPLAY_ONE];
        for (to, head) in data.chunks_exact_mut(length::DISPLAY_ONE).zip(self.heads.lock().iter()) {
            if head.connected {
                to[8..12].copy_from_slice(&head.wanted.0.to_le_bytes());
                to[12..16].copy_from_slice(&head.wanted.1.to_le_bytes());
                to[16..20].copy_from_slice(&1u32.to_le_bytes());
            }
        }
        data
    }

    fn edid(&self, head: u32) -> Result<Vec<u8>, u32> {
        let heads = self.heads.lock();
        let head = heads.get(head as usize).ok_or(response::ERR_INVALID_PARAMETER)?;
        let edid = Monitor { name: "Ailurus", preferred: head.wanted }.edid();
        let mut data = vec![0; 8 + length::EDID];
        data[..4].copy_from_slice(&(edid.len() as u32).to_le_bytes());
        data[8..8 + edid.len()].copy_from_slice(&edid);
        Ok(data)
    }

    fn create(&mut self, words: &Words) -> Result<(), u32> {
        let id = words.u32(HEADER);
        if id == 0 || self.resources.contains_key(&id) {
            return Err(response::ERR_INVALID_RESOURCE_ID);
        }
        let format = Format::new(words.u32(HEADER + 4)).ok_or(response::ERR_INVALID_PARAMETER)?;
        let size = (words.u32(HEADER + 8), words.u32(HEADER + 12));
        if !self.has_room(Image::bytes(size).saturating_add(super::RESOURCE_COST)) {
            return Err(response::ERR_OUT_OF_MEMORY);
        }
        let image = Image::new(size, format).ok_or(response::ERR_INVALID_PARAMETER)?;
        let resource = Resource { image: Arc::new(image), backing: None };
        self.hostmem += resource.cost();
        self.resources.insert(id, resource);
        Ok(())
    }

    fn unref(&mut self, id: u32) -> Result<(), u32> {
        let resource = self.resources.remove(&id).ok_or(response::ERR_INVALID_RESOURCE_ID)?;
        self.hostmem -= resource.cost();
        for head in self.heads.lock().iter_mut() {
            if head.scanout().is_some_and(|scanout| scanout.resource == id) {
                head.show(None);
            }
        }
        Ok(())
    }

    fn set_scanout(&mut self, words: &Words) -> Result<(), u32> {
        let (rect, number, id) = (words.rect(), words.u32(HEADER + 16), words.u32(HEADER + 20));
        let mut heads = self.heads.lock();
        let head = heads.get_mut(number as usize).ok_or(response::ERR_INVALID_SCANOUT_ID)?;
        if id == 0 {
            head.show(None);
            return Ok(());
        }
        let resource = self.resources.get(&id).ok_or(response::ERR_INVALID_RESOURCE_ID)?;
        if resource.backing.is_none() {
            return Err(response::ERR_UNSPEC);
        }
        if rect.width == 0 || rect.height == 0 || !rect.is_in(resource.image.size()) {
            return Err(response::ERR_INVALID_PARAMETER);
        }
        head.show(Some(Scanout { resource: id, image: resource.image.clone(), rect }));
        self.heads.set_used(true);
        Ok(())
    }

    fn flush(&mut self, words: &Words) -> Result<(), u32> {
        let (rect, id) = (words.rect(), words.u32(HEADER + 16));
        let resource = self.resources.get(&id).ok_or(response::ERR_INVALID_RESOURCE_ID)?;
        if !rect.is_in(resource.image.size()) {
            return Err(response::ERR_INVALID_PARAMETER);
        }
        self.heads.lock().iter_mut().for_each(|head| head.flush(id, rect));
        Ok(())
    }

    fn transfer(&mut self, common: &Common, words: &Words) -> Result<(), u32> {
        let (rect, offset, id) = (words.rect(), words.u64(HEADER + 16), words.u32(HEADER + 24));
        let resource = self.resources.get(&id).ok_or(response::ERR_INVALID_RESOURCE_ID)?;
        let backing = resource.backing.as_ref().ok_or(response::ERR_UNSPEC)?;
        let (width, height) = resource.image.size();
        if !rect.is_in((width, height)) || offset >= backing.len() && rect.width > 0 && rect.height > 0 {
            return Err(response::ERR_INVALID_PARAMETER);
        }
        // Lines in memory are as far from one another as the resource's.
        let pitch = u64::from(width) * PIXEL as u64;
        for line in 0..rect.height {
            let from = offset.saturating_add(u64::from(line) * pitch);
            resource.image.line_mut((rect.x, rect.y + line), rect.width, |to| {
                backing.read(common.dma(), self.video.as_ref(), from, to);
            });
        }
        self.work += Image::bytes((rect.width, rect.height));
        Ok(())
    }

    fn attach(&mut self, common: &Common, chain: &Chain, words: &Words) -> Result<(), u32> {
        let (id, count) = (words.u32(HEADER), words.u32(HEADER + 4));
        let resource = self.resources.get(&id).ok_or(response::ERR_INVALID_RESOURCE_ID)?;
        if resource.backing.is_some() || count > ENTRIES_MAX {
            return Err(response::ERR_UNSPEC);
        }
        let cost = Backing::cost(count as usize);
        if !self.has_room(cost) {
            return Err(response::ERR_OUT_OF_MEMORY);
        }
        let mut bytes = vec![0; count as usize * length::MEM_ENTRY];
        let at = length::ATTACH as u64;
        if read_at(common.dma(), &chain.readable, at, &mut bytes) != Some(bytes.len()) {
            return Err(response::ERR_UNSPEC);
        }
        let entries = bytes.as_chunks::<{ length::MEM_ENTRY }>().0.iter().map(|entry| {
            let [a, b, c, d, e, f, g, h, len @ .., _, _, _, _] = *entry;
            (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes(len))
        });
        let video = self.video.as_ref();
        let backing = Backing::new(entries, common.dma(), video).ok_or(response::ERR_UNSPEC)?;
        // None at all is no backing.
        if let Some(resource) = self.resources.get_mut(&id).filter(|_| count > 0) {
            resource.backing = Some(backing);
            self.hostmem += cost;
        }
        Ok(())
    }

    fn detach(&mut self, id: u32) -> Result<(), u32> {
        let resource = self.resources.get_mut(&id).ok_or(response::ERR_INVALID_RESOURCE_ID)?;
        let backing = resource.backing.take().ok_or(response::ERR_UNSPEC)?;
        self.hostmem -= Backing::cost(backing.entries());
        Ok(())
    }

    /// A request of the cursor queue. What makes no sense is passed over: nobody reads an answer.
    pub(super) fn point(&mut self, common: &Common, chain: &Chain) -> u32 {
        let Some(words) = Words::read(common, chain, length::CURSOR) else { return 0 };
        let (number, x, y) = (words.u32(HEADER), words.u32(HEADER + 4), words.u32(HEADER + 8));
        let mut heads = self.heads.lock();
        let Some(head) = heads.get_mut(number as usize) else { return 0 };
        let shape = match words.u32(0) {
            command::MOVE_CURSOR => head.cursor().shape.clone(),
            command::UPDATE_CURSOR => {
                let resource = self.resources.get(&words.u32(HEADER + 16));
                let hot = (words.u32(HEADER + 20), words.u32(HEADER + 24));
                resource.and_then(|resource| shape(&resource.image, hot))
            }
            _ => return 0,
        };
        head.point(Cursor { shape, x: x as i32, y: y as i32 });
        0
    }
}

/// A pointer's shape, of a resource that has its size.
fn shape(image: &Image, hot: (u32, u32)) -> Option<Shape> {
    if image.size() != (CURSOR, CURSOR) {
        return None;
    }
    let lines = (0..CURSOR).map(|y| image.line((0, y), CURSOR, <[_]>::to_vec));
    let pixels: Vec<[u8; PIXEL]> = lines.flatten().collect();
    Some(Shape::new(image.format(), pixels.into(), hot))
}
