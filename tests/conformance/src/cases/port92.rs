//! Port 0x92, "system control port A": A20 and fast reset. PS/2 Technical Reference (system control port A) and
//! Intel 82371AB (PIIX4) datasheet, 4.2.7, "PORT 92".

use crate::bench::Bench;
use crate::case::{Group, Setup, case};

pub(super) const GROUP: Group = Group {
    device: "port92",
    about: "system control port A",
    setup: Setup { disks: &[], args: &[] },
    cases: &[case("A20 follows bit 1", "82371AB 4.2.7, bit 1 ALT_A20_GATE", a20)],
};

fn a20(bench: &mut Bench<'_>) {
    for level in [2u8, 0, 2] {
        bench.outb(0x92, level);
        let read = bench.inb(0x92);
        bench.check_bits("bit 1", read, 2u8, level);
    }
}
