//! Commands that are given up while the medium works for them, and states that are lies.

use serde::{Deserialize, Serialize};

use super::super::spec::op;
use super::*;

fn read(tag: u64, desk: &Desk) -> Command {
    desk.command(tag, &[op::READ_10, 0, 0, 0, 0, 1, 0, 0, 1, 0], &[], 512)
}

fn held() -> (Desk, Arc<Held>) {
    let mut desk = Desk::new();
    let held = Arc::<Held>::default();
    desk.bus.plug(DISK, disk_of(held.clone())).unwrap();
    desk.fails(DISK, &[0; 6]);
    (desk, held)
}

fn all(desk: &mut Desk) -> Vec<(u32, Outcome)> {
    std::iter::from_fn(|| desk.bus.take_ended()).collect()
}

/// What the guest is told has ended moves no byte any more.
#[test]
fn an_aborted_command_ends_when_its_memory_is_quiet() {
    let (mut desk, held) = held();
    for tag in [10, 11] {
        let command = read(tag, &desk);
        desk.bus.start(&desk.dma, DISK, command, tag as u32);
    }
    assert!(desk.bus.has_task(DISK, Some(10)) && !desk.bus.has_task(DISK, Some(12)));
    desk.bus.abort(DISK, Some(10));
    assert!(!desk.bus.has_task(DISK, Some(10)) && desk.bus.has_task(DISK, None));
    assert_eq!(all(&mut desk), []);
    assert!(!desk.bus.is_drained(|address| address == DISK) && desk.bus.is_drained(|address| address == CD));
    // A new one waits until the old one is over.
    let command = read(12, &desk);
    desk.bus.start(&desk.dma, DISK, command, 12);
    assert_eq!(held.0.lock().unwrap().len(), 2);
    held.finish();
    desk.bus.completions(&desk.dma);
    let ended = all(&mut desk);
    assert!(matches!(ended[..], [(11, Outcome::Ended(_)), (10, Outcome::Aborted)]), "{ended:?}");
    assert!(desk.bus.is_drained(|_| true) && !desk.bus.idle());
    held.finish();
    desk.bus.completions(&desk.dma);
    assert!(matches!(all(&mut desk)[..], [(12, Outcome::Ended(_))]));
    assert!(desk.bus.idle());
}

#[test]
fn a_reset_of_a_unit_ends_its_commands_and_no_others() {
    let (mut desk, held) = held();
    let other = Address { lun: 1, ..DISK };
    let medium = Arc::<Held>::default();
    desk.bus.plug(other, disk_of(medium.clone())).unwrap();
    desk.fails(other, &[0; 6]);
    for (at, tag) in [(DISK, 1), (other, 2)] {
        let command = read(tag, &desk);
        desk.bus.start(&desk.dma, at, command, tag as u32);
    }
    desk.bus.reset_units(|address| address == DISK);
    desk.bus.completions(&desk.dma);
    assert_eq!(all(&mut desk), []);
    // Saved so, and loaded where nothing runs: it is over.
    let state = desk.bus.save(|&context| context);
    held.finish();
    desk.bus.completions(&desk.dma);
    assert_eq!(all(&mut desk), [(1, Outcome::Reset)]);
    medium.finish();
    desk.bus.completions(&desk.dma);
    assert!(matches!(all(&mut desk)[..], [(2, Outcome::Ended(_))]));
    desk.bus.reset();
    desk.bus.load(&desk.dma, state, Ok).unwrap();
    desk.bus.completions(&desk.dma);
    assert_eq!(all(&mut desk), [(1, Outcome::Reset)]);
    medium.finish();
    desk.bus.completions(&desk.dma);
    assert!(matches!(all(&mut desk)[..], [(2, Outcome::Ended(_))]));
}

#[test]
fn a_unit_that_is_unplugged_leaves_when_its_medium_is_quiet() {
    let (mut desk, held) = held();
    let command = read(1, &desk);
    desk.bus.start(&desk.dma, DISK, command, 1);
    assert!(desk.bus.unplug(DISK) && !desk.bus.unplug(DISK));
    assert!(!desk.bus.has_target(DISK.target) && !desk.bus.drained());
    assert_eq!(all(&mut desk), []);
    // Another may take its place meanwhile.
    let (_, backend) = memory(&desk.rig, contents(), false);
    desk.bus.plug(DISK, disk_of(backend)).unwrap();
    desk.fails(DISK, &[0; 6]);
    held.finish();
    desk.bus.completions(&desk.dma);
    assert_eq!(all(&mut desk), [(1, Outcome::Aborted)]);
    assert!(desk.bus.drained() && desk.bus.idle() && desk.bus.is_leaving(DISK));
    assert_eq!(desk.bus.take_left().len(), 1);
    assert!(!desk.bus.is_leaving(DISK));
    assert_eq!(Arc::strong_count(&held), 1, "its medium is closed");
}

#[test]
fn what_a_medium_does_not_take_waits_its_turn() {
    let (mut desk, held) = held();
    for tag in 0..10 {
        let command = read(tag, &desk);
        desk.bus.start(&desk.dma, DISK, command, tag as u32);
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        held.finish();
        desk.bus.completions(&desk.dma);
        order.extend(all(&mut desk).into_iter().map(|(context, _)| context));
    }
    assert_eq!(order, (0..10).collect::<Vec<_>>());
}

/// A saved state as somebody may make it, with one number changed.
#[test]
fn states_that_are_lies_are_refused_or_do_no_harm() {
    #[derive(Serialize, Deserialize)]
    struct State(BusState<u32>);
    let commands: [(&[u8], &[u8]); 4] = [
        (&[op::READ_10, 0, 0, 0, 0, 1, 0, 0, 4, 0], &[]),
        (&[op::WRITE_SAME_10, 0, 0, 0, 0, 1, 0, 1, 0, 0], &[7; 512]),
        (&[op::VERIFY_10, 2, 0, 0, 0, 1, 0, 0, 1, 0], &[1; 512]),
        (&[op::WRITE_10, 0, 0, 0, 0, 9, 0, 0, 1, 0], &[7; 512]),
    ];
    for (cdb, out) in commands {
        let (mut desk, _) = Desk::with_disk();
        let command = desk.command(1, cdb, out, if out.is_empty() { 2048 } else { 0 });
        desk.bus.start(&desk.dma, DISK, command, 1);
        let whole =
            devices_core::Saved::encode("scsi", 1, &State(desk.bus.save(|&context| context))).unwrap();
        for at in 0..whole.body.len() {
            for value in [0, 1, 0x7f, 0xcf, 0xff, whole.body[at] ^ 0x10] {
                let mut lie = whole.clone();
                lie.body[at] = value;
                let Ok(State(state)) = lie.decode("scsi", 1) else { continue };
                desk.bus.reset();
                if desk.bus.load(&desk.dma, state, Ok).is_ok() {
                    for _ in 0..5 {
                        desk.rig.advance(us(200));
                        desk.bus.completions(&desk.dma);
                    }
                    while desk.bus.take_ended().is_some() {}
                }
            }
        }
    }
}
