//! The order in which vCPUs see each other's memory: litmus tests of x86's model (APM volume 2, 7.2; Sewell and others,
//! "x86-TSO"), with interpreted, translated and both kinds of vCPUs.
//!
//! Each vCPU goes through the same row of cells, without waiting for the others, and keeps what it read of each. What the
//! model forbids must never be seen. What it allows and no interleaving gives (store buffering) is said, if it was seen.

use iced_x86::code_asm::*;
use vm_memory::{Bytes, GuestAddress};

use super::team::{Code, Team, Tiers, meet};

/// Cells of a run, each a cache line of X and one of Y.
const CELLS: u32 = 4096;
const LINE: u64 = 64;
const X: u64 = 0x40_0000;
const Y: u64 = 0x50_0000;
/// What each vCPU read of each cell: two words.
const READ: u64 = 0x60_0000;
/// Bytes from one vCPU's to the next.
const APART: u64 = 0x10_0000;

/// Cells of everyday.
const FEW: u32 = 10_000;
const MANY: u32 = 1_000_000;

type Body = fn(&mut CodeAssembler);

/// A test: what each vCPU does with a cell, by R8 (X) and R9 (Y), with what it read in EAX and EDX.
struct Litmus {
    name: &'static str,
    bodies: &'static [Body],
    /// By what all vCPUs read, and what X and Y are at the end.
    forbidden: fn(&[[u32; 2]], [u32; 2]) -> bool,
    /// What is allowed and shows that a store waited in a buffer.
    relaxed: fn(&[[u32; 2]]) -> bool,
}

const NONE: fn(&[[u32; 2]]) -> bool = |_| false;

fn x() -> AsmMemoryOperand {
    dword_ptr(r8)
}
fn y() -> AsmMemoryOperand {
    dword_ptr(r9)
}

fn write_x(a: &mut CodeAssembler) {
    a.mov(x(), 1).unwrap();
}
fn write_y(a: &mut CodeAssembler) {
    a.mov(y(), 1).unwrap();
}
fn read_x(a: &mut CodeAssembler) {
    a.mov(eax, x()).unwrap();
}
fn read_y(a: &mut CodeAssembler) {
    a.mov(eax, y()).unwrap();
}
fn lock(a: &mut CodeAssembler) {
    a.lock().add(dword_ptr(rsp - 8), 0).unwrap();
}

const LITMUS: &[Litmus] = &[
    Litmus {
        name: "store buffering",
        bodies: &[
            |a| {
                write_x(a);
                read_y(a);
            },
            |a| {
                write_y(a);
                read_x(a);
            },
        ],
        forbidden: |_, last| last != [1, 1],
        relaxed: |read| read[0][0] == 0 && read[1][0] == 0,
    },
    Litmus {
        name: "store buffering with MFENCE",
        bodies: &[
            |a| {
                write_x(a);
                a.mfence().unwrap();
                read_y(a);
            },
            |a| {
                write_y(a);
                a.mfence().unwrap();
                read_x(a);
            },
        ],
        forbidden: |read, _| read[0][0] == 0 && read[1][0] == 0,
        relaxed: NONE,
    },
    Litmus {
        name: "store buffering with LOCK ADD between",
        bodies: &[
            |a| {
                write_x(a);
                lock(a);
                read_y(a);
            },
            |a| {
                write_y(a);
                lock(a);
                read_x(a);
            },
        ],
        forbidden: |read, _| read[0][0] == 0 && read[1][0] == 0,
        relaxed: NONE,
    },
    Litmus {
        name: "store buffering with XCHG as the store",
        bodies: &[
            |a| {
                a.mov(ebx, 1).unwrap();
                a.xchg(x(), ebx).unwrap();
                read_y(a);
            },
            |a| {
                a.mov(ebx, 1).unwrap();
                a.xchg(y(), ebx).unwrap();
                read_x(a);
            },
        ],
        forbidden: |read, _| read[0][0] == 0 && read[1][0] == 0,
        relaxed: NONE,
    },
    Litmus {
        name: "message passing",
        bodies: &[
            |a| {
                write_x(a);
                write_y(a);
            },
            |a| {
                read_y(a);
                a.mov(edx, x()).unwrap();
            },
        ],
        forbidden: |read, _| read[1] == [1, 0],
        relaxed: NONE,
    },
    Litmus {
        name: "load buffering",
        bodies: &[
            |a| {
                read_x(a);
                write_y(a);
            },
            |a| {
                read_y(a);
                write_x(a);
            },
        ],
        forbidden: |read, _| read[0][0] == 1 && read[1][0] == 1,
        relaxed: NONE,
    },
    Litmus {
        name: "two writes each, in opposite order",
        bodies: &[
            |a| {
                a.mov(x(), 1).unwrap();
                a.mov(y(), 2).unwrap();
            },
            |a| {
                a.mov(y(), 1).unwrap();
                a.mov(x(), 2).unwrap();
            },
        ],
        forbidden: |_, last| last == [1, 1],
        relaxed: NONE,
    },
    Litmus {
        name: "independent reads of independent writes",
        bodies: &[
            write_x,
            write_y,
            |a| {
                read_x(a);
                a.mov(edx, y()).unwrap();
            },
            |a| {
                read_y(a);
                a.mov(edx, x()).unwrap();
            },
        ],
        forbidden: |read, _| read[2] == [1, 0] && read[3] == [1, 0],
        relaxed: NONE,
    },
];

/// The whole code of a vCPU.
fn thread(id: usize, all: usize, body: Body) -> Code<'static> {
    Box::new(move |a| {
        let mut top = a.create_label();
        a.mov(r8d, X as u32).unwrap();
        a.mov(r9d, Y as u32).unwrap();
        a.mov(r10d, (READ + APART * id as u64) as u32).unwrap();
        a.mov(ecx, CELLS).unwrap();
        meet(a, all as i32);
        a.set_label(&mut top).unwrap();
        body(a);
        a.mov(dword_ptr(r10), eax).unwrap();
        a.mov(dword_ptr(r10 + 4), edx).unwrap();
        a.add(r8, LINE as i32).unwrap();
        a.add(r9, LINE as i32).unwrap();
        a.add(r10, 8).unwrap();
        a.dec(ecx).unwrap();
        a.jne(top).unwrap();
        a.hlt().unwrap();
    })
}

/// The words that lie `step` bytes apart.
fn words(team: &Team, at: u64, step: usize, words: usize) -> Vec<Vec<u32>> {
    let mut bytes = vec![0; CELLS as usize * step];
    team.shared.ram.read_slice(&mut bytes, GuestAddress(at)).unwrap();
    let cell =
        |cell: &[u8]| cell.as_chunks::<4>().0[..words].iter().map(|word| u32::from_le_bytes(*word)).collect();
    bytes.chunks(step).map(cell).collect()
}

impl Litmus {
    /// Runs it over so many cells.
    fn run(&self, tiers: Tiers, cells: u32) {
        let all = self.bodies.len();
        let codes = self.bodies.iter().enumerate().map(|(id, body)| thread(id, all, *body)).collect();
        let mut team = Team::new(tiers, codes);
        let (mut done, mut relaxed) = (0, 0);
        let empty = vec![0; (CELLS as u64 * LINE) as usize];
        while done < cells {
            team.bare.write(X, &empty);
            team.bare.write(Y, &empty);
            team.again();
            team.run(|| ());
            let read: Vec<_> = (0..all as u64).map(|id| words(&team, READ + APART * id, 8, 2)).collect();
            let (last_x, last_y) = (words(&team, X, LINE as usize, 1), words(&team, Y, LINE as usize, 1));
            for cell in 0..CELLS as usize {
                let seen: Vec<[u32; 2]> = read.iter().map(|read| [read[cell][0], read[cell][1]]).collect();
                let last = [last_x[cell][0], last_y[cell][0]];
                assert!(
                    !(self.forbidden)(&seen, last),
                    "{}, {tiers:?}: cell {} was read as {seen:?} and left as {last:?}",
                    self.name,
                    done + cell as u32
                );
                relaxed += u32::from((self.relaxed)(&seen));
            }
            done += CELLS;
        }
        println!("{}, {tiers:?}: {done} cells, the buffer was seen {relaxed} times", self.name);
    }
}

fn all(cells: u32) {
    for test in LITMUS {
        for tiers in Tiers::ALL {
            test.run(tiers, cells);
        }
    }
}

#[test]
fn nothing_that_the_memory_model_forbids_is_seen() {
    all(FEW);
}

#[test]
#[ignore = "soak: a million cells of each litmus test"]
fn soak_nothing_that_the_memory_model_forbids_is_seen() {
    all(MANY);
}
