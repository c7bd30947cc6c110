//! Saved state: the command that is on, and the contents of a chip that can be written, without blocks that are erased.

use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use vm_memory::{Bytes, MemoryRegionAddress};

use super::spec::{BLOCK, BUFFER, command};
use super::{Buffer, Command, Flash};

const KIND: &str = "cfi.pflash01";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    size: u64,
    command: Command,
    /// Where a buffer is to be written, and what; empty: there is none.
    buffer_start: u64,
    buffer: ByteBuf,
    /// The contents are the image's: nobody can have changed them.
    read_only: bool,
    /// Numbers of the erase blocks that follow, ascending.
    blocks: Vec<u32>,
    contents: ByteBuf,
}

fn is_erased(block: &[u8]) -> bool {
    block.iter().all(|&byte| byte == 0xff)
}

pub(super) fn save(device: &Flash) -> Result<Saved, StateError> {
    let Flash {
        name: _,
        regions: _,
        base: _,
        block: _,
        mapper: _,
        image,
        requests: _,
        command,
        buffer,
        mapped: _,
        dirty: _,
        writing: _,
        failed: _,
        unflushed: _,
        flushing: _,
        waiting: _,
    } = device;
    let (mut blocks, mut contents) = (Vec::new(), ByteBuf::new());
    let read_only = image.info().read_only;
    let mut block = [0; BLOCK];
    let number = if read_only { 0 } else { device.size() / BLOCK as u64 };
    for number in 0..number {
        device.contents(number * BLOCK as u64, &mut block);
        if !is_erased(&block) {
            blocks.push(number as u32);
            contents.extend_from_slice(&block);
        }
    }
    let (buffer_start, buffer) =
        buffer.as_ref().map_or((0, ByteBuf::new()), |buffer| (buffer.start, ByteBuf::from(buffer.bytes)));
    let size = device.size();
    let state = State { size, command: *command, buffer_start, buffer, read_only, blocks, contents };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(device: &mut Flash, saved: &Saved) -> Result<(), StateError> {
    let State { size, command, buffer_start, buffer, read_only, blocks, contents } =
        saved.decode(KIND, VERSION)?;
    valid(size == device.size(), "the flash memory has another size")?;
    valid(is_valid(command), "no command is on so")?;
    valid(contents.len() == blocks.len() * BLOCK, "blocks and contents differ")?;
    valid(blocks.is_sorted_by(|a, b| a < b), "the blocks are out of order")?;
    let number = device.size() as usize / BLOCK;
    valid(blocks.last().is_none_or(|&last| (last as usize) < number), "a block is beyond the chip")?;
    valid(!read_only || blocks.is_empty(), "it could not be written, and has contents of its own")?;
    if !read_only {
        let mut saved = blocks.iter().zip(contents.chunks_exact(BLOCK)).peekable();
        for number in 0..number {
            let there = saved.next_if(|(at, _)| **at as usize == number);
            put(device, number, there.map_or(&[0xff; BLOCK], |(_, contents)| contents))?;
        }
    }
    device.buffer = match buffer.is_empty() {
        true => None,
        false => {
            let bytes = <[u8; BUFFER]>::try_from(&buffer[..]);
            let bytes = bytes.map_err(|_| StateError::Invalid("a buffer has another length".into()))?;
            let fits = buffer_start.is_multiple_of(BUFFER as u64) && buffer_start < size;
            valid(fits, "a buffer is beyond the chip")?;
            Some(Box::new(Buffer { start: buffer_start, bytes }))
        }
    };
    device.command = command;
    device.set_mapped(command.code == command::ARRAY);
    Ok(())
}

/// Gives a block these contents, and the image later.
fn put(device: &mut Flash, number: usize, contents: &[u8]) -> Result<(), StateError> {
    let offset = (number * BLOCK) as u64;
    let mut there = [0; BLOCK];
    device.contents(offset, &mut there);
    if there == contents {
        return Ok(());
    }
    let written = device.block.write_slice(contents, MemoryRegionAddress(offset));
    valid(written.is_ok(), "a block is beyond the chip")?;
    if !device.image.info().read_only {
        device.dirty.insert(number);
    }
    Ok(())
}

/// Whether the chip can be in that state.
fn is_valid(command: Command) -> bool {
    let last = match command.code {
        command::ARRAY | command::READ_STATUS | command::READ_ID => 0,
        command::PROGRAM | command::PROGRAM_ALTERNATE | command::ERASE | command::LOCK | command::QUERY => 1,
        command::WRITE_BUFFER => 3,
        _ => return false,
    };
    command.cycle <= last
}
