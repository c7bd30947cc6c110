//! Models by name, and that the first one is what it always was.

use super::*;
use crate::tests::Bare;
use std::sync::Arc;

/// Leaves of the processor as guests were saved with it: leaf, subleaf, registers.
#[rustfmt::skip]
const FIRST: [(u32, u32, [u32; 4]); 10] = [
    (0, 0, [0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65]),
    (1, 0, [0x0006_0fb1, 0x0001_0800, 0x85f8_2201, 0x078b_fbff]),
    (6, 0, [4, 0, 0, 0]),
    (7, 0, [0, 0x0010_0080, 0, 0]),
    (0xd, 0, [3, 0x240, 0x240, 0]),
    (0xd, 1, [1, 0, 0, 0]),
    (0x8000_0000, 0, [0x8000_0008, 0x6874_7541, 0x444d_4163, 0x6974_6e65]),
    (0x8000_0001, 0, [0x0006_0fb1, 0, 0x101, 0x2d93_fbff]),
    (0x8000_0007, 0, [0, 0, 0, 0x100]),
    (0x10, 0, [0; 4]),
];

#[test]
fn the_default_stays_what_guests_were_saved_with() {
    let bare = Bare::new();
    for (leaf, sub, registers) in FIRST {
        assert_eq!(bare.cpu.cpuid_leaf(leaf, sub), registers, "leaf {leaf:#x}.{sub}");
    }
    let brand: Vec<u8> = (0..3)
        .flat_map(|n| bare.cpu.cpuid_leaf(0x8000_0002 + n, 0))
        .flat_map(|register| register.to_le_bytes())
        .collect();
    assert_eq!(&brand[..17], b"Ailurus soft CPU\0");
    assert_eq!(CpuModel::default().processor_id(), 0x078b_fbff_0006_0fb1);
    assert_eq!(CpuModel::default().name, DEFAULT);
}

#[test]
fn words_behind_a_name_change_it() {
    let (model, warnings) = CpuModel::parse(
        "Nehalem,+movbe,-popcnt,sse4_2=off,family=7,model-id=Mine,vendor=AuthenticAMD,vendor=GenuineIntel",
    )
    .unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert!(model.features.has(Feature::MOVBE) && model.features.has(Feature::SSE4_1));
    assert!(!model.features.has(Feature::POPCNT) && !model.features.has(Feature::SSE4_2));
    assert_eq!((model.family_model_stepping(), model.vendor), ((7, 26, 3), Vendor::Intel));
    let mut bare = Bare::new();
    bare.cpu.set_model(Arc::new(model));
    assert_eq!(bare.cpu.cpuid_leaf(0, 0)[1..], [0x756e_6547, 0x6c65_746e, 0x4965_6e69]);
    assert_eq!(bare.cpu.cpuid_leaf(0x8000_0002, 0)[0], u32::from_le_bytes(*b"Mine"));
    // What lies beyond is the highest leaf again.
    assert_eq!(bare.cpu.cpuid_leaf(0x77, 1), bare.cpu.cpuid_leaf(11, 1));
    assert_eq!(bare.cpu.cpuid_leaf(0x8000_0001, 0)[3], 0x2010_0800);
}

#[test]
fn what_cannot_be_is_told_by_name() {
    let error = |text: &str| CpuModel::parse(text).unwrap_err();
    assert_eq!(error("Pentium9"), "unable to find CPU model 'Pentium9'");
    assert_eq!(
        error("max,vendor=Transmeta"),
        "CPU property 'vendor' is GenuineIntel or AuthenticAMD, not 'Transmeta'"
    );
    assert_eq!(error("max,+warp"), "the CPU has no property 'warp'");
    assert_eq!(error("max,stepping=16"), "CPU property 'stepping' takes a number up to 15, not '16'");
    assert_eq!(error("max,pae=maybe"), "CPU property 'pae' takes on or off, not 'maybe'");
    let (model, warnings) = CpuModel::parse("Haswell,-xsave").unwrap();
    let hle = "the soft CPU doesn't support requested feature: CPUID.07H:EBX.hle [bit 4]";
    assert!(warnings.iter().any(|w| w == hle), "{warnings:?}");
    let alone = "this feature depends on others that are off: CPUID.0DH,1:EAX.xsaveopt [bit 0]";
    assert!(warnings.iter().any(|w| w == alone), "{warnings:?}");
    assert!(!model.features.has(Feature::XSAVEOPT));
    assert!(error("Haswell,enforce").contains("hle"));
    assert_eq!(CpuModel::parse("Haswell,check=off").unwrap().1, Vec::<String>::new());
}

#[test]
fn every_model_is_made_of_what_is_built() {
    for row in MODELS {
        let (model, _) = CpuModel::parse(row.name).unwrap();
        assert_eq!(model.family_model_stepping(), row.signature, "{}", row.name);
        assert!(model.features.without(SUPPORTED).is_empty());
        let saved = rmp_serde::to_vec_named(&SavedModel::from(&model)).unwrap();
        let again: SavedModel = rmp_serde::from_slice(&saved).unwrap();
        assert_eq!(again.model().unwrap(), model);
    }
    let (host, _) = CpuModel::parse("host").unwrap();
    assert!(host.features.has(Feature::SSE2) && host.features.without(SUPPORTED).is_empty());
    let names: std::collections::BTreeSet<_> = features::NAMES.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), features::NAMES.len(), "each name once");
}

#[test]
fn what_is_not_announced_is_an_invalid_opcode() {
    for (text, vector) in [("Nehalem", None), ("Nehalem,-popcnt", Some(6))] {
        let mut bare = Bare::long(|a| {
            a.popcnt(iced_x86::code_asm::rax, iced_x86::code_asm::rcx).unwrap();
            a.hlt().unwrap();
        });
        bare.cpu.set_model(Arc::new(CpuModel::parse(text).unwrap().0));
        // No gate of the table is present: the exception ends in a shutdown.
        let left = bare.run(10);
        assert_eq!(left == crate::exec::Leave::Shutdown, vector.is_some(), "{text}");
    }
}
