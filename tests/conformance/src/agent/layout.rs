//! Where the agent lies in RAM. Bit 20 of all its addresses is clear: it runs with A20 open or closed.

/// The agent's code.
pub const CODE: u32 = 0x1000;
/// 256 entries of 8 bytes; a call in each tells the common handler the vector.
pub const STUBS: u32 = 0x2000;
/// The interrupt descriptor table.
pub const IDT: u32 = 0x2800;
/// The global descriptor table: null, code, data, all 4 GiB.
pub const GDT: u32 = 0x3000;
/// What lgdt and lidt load.
pub const GDT_POINTER: u32 = 0x3020;
/// See [`GDT_POINTER`].
pub const IDT_POINTER: u32 = 0x3028;
/// Addresses of the steps' code, by the number of the step.
pub const STEPS: u32 = 0x3040;
/// Addresses of the commands' code, by the number of the command.
pub const COMMANDS: u32 = 0x30c0;
/// End of what the image brings along.
pub const LOADED_END: u32 = 0x3100;
/// Variables begin here.
pub const VARIABLES: u32 = 0x3800;
/// The body of the command under way.
pub const REQUEST: u32 = 0x4000;
/// Its answer's body.
pub const ANSWER: u32 = 0xd000;
/// The stack grows down from here.
pub const STACK: u32 = 0x1_fff0;
/// End of the RAM that is the agent's own.
pub const END: u64 = 0x2_0000;

/// Selector of the code segment.
pub const CODE_SEGMENT: u16 = 8;
/// Selector of the data segment.
pub const DATA_SEGMENT: u16 = 16;

/// Bytes of the BIOS image, the smallest that QEMU takes.
pub const IMAGE: usize = 0x1_0000;
/// Where the image lies at a reset, just below 4 GiB.
pub const IMAGE_BASE: u32 = 0xffff_0000;
/// The way to 32 bits, in the image.
pub const STARTUP: usize = 0xff00;
/// Where a CPU begins, in the image (SDM 3A 9.1.4).
pub const RESET_VECTOR: usize = 0xfff0;
