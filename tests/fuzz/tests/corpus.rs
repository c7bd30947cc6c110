//! Every target on its seeds, on inputs that once failed, and on a few mutations: so that none rots.

use devices_core::rig::Random;
use fuzz_targets::{TARGETS, engine};

/// Mutated inputs a target gets here.
const MUTATED: usize = 300;

#[test]
fn every_target_takes_its_corpus_and_some_mutations() {
    for target in TARGETS {
        let mut inputs = (target.seeds)();
        assert!(!inputs.is_empty(), "{} has seeds", target.name);
        inputs.extend(engine::corpus(target).unwrap());
        let mut random = Random::new(2026);
        let mutated: Vec<Vec<u8>> = (0..MUTATED).map(|_| engine::mutate(&inputs, &mut random)).collect();
        let mut outcomes = std::collections::HashSet::new();
        for input in inputs.iter().chain(&mutated) {
            match engine::run(target, input) {
                Ok(outcome) => outcomes.insert(outcome),
                Err(why) => panic!("{}: {why}\ninput: {input:02x?}", target.name),
            };
        }
        assert!(outcomes.len() > 3, "{}: the seeds lead nowhere: {} outcomes", target.name, outcomes.len());
    }
}

/// The engine sees a panic, names the input, and keeps it.
#[test]
fn a_failing_target_is_found() {
    fn fragile(input: &[u8]) -> u64 {
        assert!(!input.windows(2).any(|pair| pair == [0xff, 0xff]), "two in a row");
        input.first().copied().unwrap_or(0).into()
    }
    let target = fuzz_targets::Target { name: "fragile", run: fragile, seeds: || vec![vec![1, 2, 3, 4]] };
    let folder = tempfile::tempdir().unwrap();
    let error =
        engine::fuzz(&target, std::time::Duration::from_secs(60), 1, folder.path()).unwrap_err().to_string();
    assert!(error.contains("two in a row"), "{error}");
    let file = error.lines().find_map(|line| line.strip_prefix("input: ")).unwrap();
    let input = std::fs::read(file).unwrap();
    assert!(input.windows(2).any(|pair| pair == [0xff, 0xff]));
}
