//! What driver and backend leave to each other: checksums, and packets that are more than one frame (Virtio 1.3, 5.1.6.2,
//! 5.1.6.4).
//!
//! The card itself does nothing of it. It offers what its backend can do, as QEMU's does, and holds each side to what
//! was agreed on.

use devices_core::net::{Offload, Offloads, gso};

use super::super::common::Common;
use super::spec::feature;

/// Features by which the driver may leave something to the backend.
const TO_HOST: [u64; 4] = [feature::CSUM, feature::HOST_TSO4, feature::HOST_TSO6, feature::HOST_ECN];
/// By which it may be left something.
const TO_GUEST: [u64; 4] =
    [feature::GUEST_CSUM, feature::GUEST_TSO4, feature::GUEST_TSO6, feature::GUEST_ECN];

/// Those of these features that a backend of that kind has.
pub(super) fn features(backend: Offloads, asked: u64) -> u64 {
    let on = |list: [u64; 4]| {
        let kinds = (0..4).filter(|kind| backend.bits() & 1 << kind != 0);
        kinds.fold(0, |all, kind| all | list[kind as usize])
    };
    let all = [TO_HOST, TO_GUEST].into_iter().flatten().fold(0, |all, bit| all | bit);
    let mut features = asked & (!all | on(TO_HOST) | on(TO_GUEST));
    // Segments need checksums, and CWR needs segments (5.1.3.1).
    if features & feature::CSUM == 0 {
        features &= !(feature::HOST_TSO4 | feature::HOST_TSO6);
    }
    if features & (feature::HOST_TSO4 | feature::HOST_TSO6) == 0 {
        features &= !feature::HOST_ECN;
    }
    if features & feature::GUEST_CSUM == 0 {
        features &= !(feature::GUEST_TSO4 | feature::GUEST_TSO6);
    }
    if features & (feature::GUEST_TSO4 | feature::GUEST_TSO6) == 0 {
        features &= !feature::GUEST_ECN;
    }
    // As QEMU has it: where there is no header to put the hash into.
    if backend == Offloads::NONE {
        features &= !feature::HASH_REPORT;
    }
    features
}

fn accepted(common: &Common, list: [u64; 4]) -> Offloads {
    let bit = |(kind, feature): (usize, &u64)| u8::from(common.has(*feature)) << kind;
    Offloads::of_bits(list.iter().enumerate().map(bit).fold(0, |all, bit| all | bit))
}

/// What the driver may leave to the backend.
pub(super) fn to_host(common: &Common) -> Offloads {
    accepted(common, TO_HOST)
}

/// What it may be left, as it has agreed.
pub(super) fn to_guest(common: &Common) -> Offloads {
    accepted(common, TO_GUEST)
}

/// What it wants to be left from now on, by a command; none: more than it has agreed on.
pub(super) fn of_command(common: &Common, wanted: u64) -> Option<Offloads> {
    let known = TO_GUEST.iter().fold(0, |all, bit| all | bit);
    let agreed = wanted & !known == 0 && common.has(wanted);
    let bit = |(kind, feature): (usize, &u64)| u8::from(wanted & feature != 0) << kind;
    agreed.then(|| Offloads::of_bits(TO_GUEST.iter().enumerate().map(bit).fold(0, |all, bit| all | bit)))
}

/// What is left of a frame of the driver's, as it says; none: it makes no sense, or is more than it may.
pub(super) fn left(allowed: Offloads, head: [u8; Offload::LEN], frame: usize) -> Option<Offload> {
    if allowed == Offloads::NONE {
        // Drivers that leave nothing need not fill the header in.
        return Some(Offload::default());
    }
    let said = Offload::of_bytes(head);
    // The backend knows one frame of which kind: hints are not passed on but where they are of use.
    let left = Offload { flags: said.flags & Offload::NEEDS_CSUM, ..said };
    let place = usize::from(left.csum_start) + usize::from(left.csum_offset) + 2;
    let summed = left.flags == 0 || place <= frame;
    let cut = left.gso_type == gso::NONE || left.flags != 0 && left.gso_size > 0;
    (allowed.allow(left) && summed && cut).then_some(left)
}
