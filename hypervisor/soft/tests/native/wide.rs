//! Cases with YMM registers: what both sides start from and what is compared.

use super::cases::{Case, Random};
use super::host::{CODE, DATA, DATA_LEN, End, Host, Regs, TAKEN, TEST};
use super::values::lanes;
use hypervisor_soft::CpuModel;
use hypervisor_soft::bare::{self, Bare};

/// `jmp $`: where our side stops.
const HERE: [u8; 2] = [0xeb, 0xfe];
/// Where our side keeps the image of the state.
const IMAGE: u64 = 0x2002_0000;
/// Code that loads it, and code that saves it, in a page that nothing is written to.
const LOAD: u64 = 0x2003_0000;
const SAVE: u64 = LOAD + 0x80;
/// Bytes of an image: FXSAVE's, a header, upper halves of YMM registers.
pub const LEN: usize = 832;
/// Offsets in an image: MXCSR, XMM registers, XSTATE_BV, upper halves.
pub const MXCSR: usize = 24;
pub const XMM: usize = 160;
pub const XSTATE_BV: usize = 512;
pub const YMM: usize = 576;

/// The state as XSAVE has it.
pub type Image = [u8; LEN];

/// Registers, and MXCSR with any mode; some exceptions may be unmasked.
pub fn image(rng: &mut Random) -> Image {
    let mut out = [0; LEN];
    let some = |rng: &mut Random| (rng.bits() & rng.bits() & 0x3f) as u32;
    let masks = if rng.below(6) == 0 { !some(rng) & 0x3f } else { 0x3f };
    let modes = if rng.below(2) == 0 { 0 } else { rng.bits() as u32 & 0xe040 };
    let mxcsr = masks << 7 | modes | some(rng) & masks;
    out[..2].copy_from_slice(&0x37fu16.to_le_bytes());
    out[MXCSR..MXCSR + 4].copy_from_slice(&mxcsr.to_le_bytes());
    for k in 0..16 {
        for start in [XMM, YMM] {
            let at = start + 16 * k;
            out[at..at + 16].copy_from_slice(&lanes(rng));
            // Equal registers make comparisons worth their name.
            let from = start + 16 * rng.below(16) as usize;
            if rng.below(8) == 0 {
                out.copy_within(from..from + 16, at);
            }
        }
    }
    out
}

/// Our processor, with all that is built.
pub struct Soft(Bare);

impl Soft {
    pub fn new(bits: u32) -> Soft {
        let areas = [(CODE, 0x1000), (DATA, DATA_LEN as u64), (IMAGE, 0x1000), (LOAD, 0x1000)];
        let mut bare = Bare::new(bits as u8, &areas).unwrap();
        bare.set_cpu(CpuModel::parse("max").unwrap().0);
        if std::env::var("CPU_TIER").as_deref() == Ok("2") {
            bare.translate(1).unwrap();
        }
        bare.write(TAKEN, &HERE);
        let (restore, save): (&[u8], &[u8]) = match bits {
            64 => (&[0x48, 0x0f, 0xae, 0x2c, 0x25], &[0x48, 0x0f, 0xae, 0x24, 0x25]),
            _ => (&[0x0f, 0xae, 0x2d], &[0x0f, 0xae, 0x25]),
        };
        for (at, code) in [(LOAD, restore), (SAVE, save)] {
            bare.write(at, &[code, &(IMAGE as u32).to_le_bytes(), &HERE].concat());
        }
        Soft(bare)
    }

    /// Runs one of the pieces of code that load and save the state, all three components of it.
    fn move_state(&mut self, at: u64) {
        let mut gpr = [0; 16];
        gpr[0] = 7;
        self.0.set_regs(&bare::Regs { rip: at, flags: 2, gpr });
        assert_eq!(self.0.run(1), bare::End::Count);
    }

    fn run(&mut self, case: &Case, image: &mut Image, memory: Option<&mut Vec<u8>>) -> (Regs, End) {
        self.0.write(IMAGE, image);
        self.move_state(LOAD);
        if let Some(memory) = &memory {
            self.0.write(DATA, memory);
        }
        self.0.write(TEST, &case.code);
        self.0.write(TEST + case.code.len() as u64, &HERE);
        self.0.set_regs(&bare::Regs { gpr: case.regs.gpr, flags: case.regs.flags, rip: TEST });
        let end = self.0.run(1);
        let bare::Regs { gpr, flags, rip } = self.0.regs();
        if let Some(memory) = memory {
            self.0.read(DATA, memory);
        }
        self.move_state(SAVE);
        self.0.read(IMAGE, image);
        (Regs { gpr, flags, rip }, if end == bare::End::Count { End::Done } else { End::Fault })
    }
}

/// What one side made of a case.
pub struct Left {
    pub regs: Regs,
    pub end: End,
    pub image: Image,
    pub memory: Vec<u8>,
}

/// Runs a case on both sides, from `image` and what is in the host's memory; gives ours and the host's. `reaches` tells
/// whether it may touch memory. Components that the image's header does not have are as after reset.
pub fn both(soft: &mut Soft, host: &mut Host, case: &Case, image: &Image, reaches: bool) -> [Left; 2] {
    host.fp().copy_from_slice(&image[..XSTATE_BV]);
    host.ymm().copy_from_slice(&image[YMM..]);
    host.present = u64::from(image[XSTATE_BV]);
    let mut ours = *image;
    let mut memory = if reaches { host.data().to_vec() } else { Vec::new() };
    let (regs, end) = soft.run(case, &mut ours, reaches.then_some(&mut memory));
    let ours = Left { regs, end, image: ours, memory };
    let (regs, end) = host.run(case.bits, &case.code, &case.regs);
    let mut theirs = [0; LEN];
    theirs[..XSTATE_BV].copy_from_slice(host.fp());
    theirs[YMM..].copy_from_slice(host.ymm());
    let memory = if reaches { host.data().to_vec() } else { Vec::new() };
    [ours, Left { regs, end, image: theirs, memory }]
}

/// What differs, in words; empty when nothing does. Of the flags those of `flags` are compared, of the image MXCSR and
/// the registers that the mode reaches.
pub fn differences(bits: u32, before: &Image, [ours, theirs]: &[Left; 2], flags: u64) -> String {
    let mut out = String::new();
    let (a, b) = (&ours.regs, &theirs.regs);
    if ours.end != theirs.end || a.rip != b.rip || a.gpr != b.gpr {
        out += &format!("  ends {:?} {a:x?}\n  host {:?} {b:x?}\n", ours.end, theirs.end);
    }
    if (a.flags ^ b.flags) & flags != 0 {
        out += &format!("  flags {:#x}, host {:#x}\n", a.flags & flags, b.flags & flags);
    }
    if ours.memory != theirs.memory {
        let at = (0..ours.memory.len()).find(|at| ours.memory[*at] != theirs.memory[*at]).unwrap() & !15;
        let of = |side: &Left| format!("{:02x?}", &side.memory[at..at + 16]);
        out += &format!("  memory at {at:#x}: {}\n          host {}\n", of(ours), of(theirs));
    }
    let reach = if bits == 64 { 256 } else { 128 };
    let compared = |at: usize| {
        (MXCSR..MXCSR + 4).contains(&at)
            || (XMM..XMM + reach).contains(&at)
            || (YMM..YMM + reach).contains(&at)
    };
    if let Some(at) = (0..LEN).find(|at| compared(*at) && ours.image[*at] != theirs.image[*at]) {
        let at = at & !15;
        let of = |image: &Image| format!("{:02x?}", &image[at..at + 16]);
        let mxcsr = |image: &Image| u32::from_le_bytes(image[MXCSR..MXCSR + 4].try_into().unwrap());
        out += &format!(
            "  state at {at}: {}\n        host {}\n         was {}, MXCSR {:#x}: {:#x}, host {:#x}\n",
            of(&ours.image),
            of(&theirs.image),
            of(before),
            mxcsr(before),
            mxcsr(&ours.image),
            mxcsr(&theirs.image),
        );
    }
    out
}
