//! A look into the guest, for a person: registers, and memory as a vCPU sees it.

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentRegister {
    /// Selector.
    pub selector: u16,
    /// Linear base.
    pub base: u64,
    /// Offset of the last byte.
    pub limit: u32,
    /// Attributes as they lie in a descriptor's second word, bits 8 to 15 and 20 to 23.
    pub attributes: u32,
}

/// The registers of one vCPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub general: [u64; 16],
    /// RIP.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// Current privilege level.
    pub cpl: u8,
    /// Size of code: 16, 32 or 64.
    pub code: u8,
    /// It waits for an interrupt.
    pub halted: bool,
    /// The A20 pin lets address bit 20 through.
    pub a20: bool,
    /// ES, CS, SS, DS, FS, GS.
    pub segments: [SegmentRegister; 6],
    /// LDTR.
    pub ldt: SegmentRegister,
    /// TR.
    pub tr: SegmentRegister,
    /// GDTR: base and limit.
    pub gdt: (u64, u16),
    /// IDTR.
    pub idt: (u64, u16),
    /// CR0, CR2, CR3, CR4.
    pub control: [u64; 4],
    /// DR0 to DR3, DR6, DR7.
    pub debug: [u64; 6],
    /// EFER.
    pub efer: u64,
    /// x87 control and status word, and tags as FXSAVE has them.
    pub x87: (u16, u16, u8),
    /// MXCSR.
    pub mxcsr: u32,
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
}

/// What a hypervisor shows of the guest while it is paused. Nothing changes by it.
pub trait Debug {
    /// The registers of a vCPU; none if there is no such vCPU.
    fn registers(&self, vcpu: u32) -> Option<Registers>;
    /// Where a linear address leads by a vCPU's page tables, whoever may access it; none where it leads nowhere.
    fn translate(&self, vcpu: u32, linear: u64) -> Option<u64>;
    /// Copies guest-physical memory: RAM, ROM and video memory, but no device's registers, which reading could
    /// change. False if not all of it is memory.
    fn read(&self, gpa: u64, data: &mut [u8]) -> bool;
}
