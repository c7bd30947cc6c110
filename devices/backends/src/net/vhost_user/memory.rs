//! What is where in the memory that a back end maps: the rings and the buffers of both queues.

/// Descriptors of a ring, each with a buffer.
pub(super) const SIZE: usize = 256;
/// Bytes of a buffer: a frame of Ethernet's and its header, with some to spare. A longer frame takes several.
pub(super) const BUFFER: usize = 2048;

/// Where the parts of a queue are, from its start on (virtio 1.2, 2.7).
pub(super) const AVAILABLE: usize = 16 * SIZE;
pub(super) const USED: usize = AVAILABLE + 4096;
/// Bytes of a queue's rings, behind which its buffers are.
pub(super) const BUFFERS: usize = USED + 4096;
const QUEUE: usize = BUFFERS + SIZE * BUFFER;
/// All of it.
pub(super) const LEN: usize = 2 * QUEUE;

/// The address of its first byte, as the back end is told: no address of ours, which are not its business.
pub(super) const ADDRESS: u64 = 1 << 32;

/// Where a queue of that number begins.
pub(super) fn queue(number: usize) -> usize {
    number * QUEUE
}

/// Where a buffer of a queue begins.
pub(super) fn buffer(queue: usize, descriptor: u16) -> usize {
    queue + BUFFERS + usize::from(descriptor) * BUFFER
}
