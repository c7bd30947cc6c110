//! The suite's program and its words.

use std::process::{Command, Output};

fn conformance(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conformance")).args(words).output().unwrap()
}

#[test]
fn help_lists_models_and_devices() {
    let said = conformance(&["--help"]);
    assert!(said.status.success());
    let text = String::from_utf8(said.stdout).unwrap();
    for word in ["--against", "agent", "virtio-blk", "rtl8139"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

#[test]
fn words_that_mean_nothing_are_refused() {
    for (words, why) in [
        (&["--against", "bochs"][..], "no model 'bochs'"),
        (&["floppy"], "no device 'floppy'"),
        (&["--colour"], "--colour"),
    ] {
        let said = conformance(words);
        assert_eq!(said.status.code(), Some(2), "{words:?}");
        let text = String::from_utf8(said.stderr).unwrap();
        assert!(text.contains(why), "{why} is not in {text}");
    }
}
