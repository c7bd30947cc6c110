//! Files that come with the bytes.

use std::fs::File;

use super::*;

#[test]
fn files_have_names_for_one_client() {
    let mut bench = Bench::default();
    bench.session.received.push_back(File::open("/dev/null").unwrap().into());
    bench.run("getfd", json!({ "fdname": "a" })).unwrap();
    bench.session.received.push_back(File::open("/dev/null").unwrap().into());
    let error = bench.run("getfd", json!({ "fdname": "1a" })).unwrap_err();
    assert_eq!(error.desc, "Parameter 'fdname' expects a name not starting with a digit");
    assert!(bench.session.received.is_empty(), "the file came for this command");
    bench.run("closefd", json!({ "fdname": "a" })).unwrap();
    assert!(bench.run("closefd", json!({ "fdname": "a" })).is_err());
    let added = (0..100).filter(|n| {
        bench.session.received.push_back(File::open("/dev/null").unwrap().into());
        bench.run("getfd", json!({ "fdname": format!("f{n}") })).is_ok()
    });
    assert_eq!(added.count(), 64);
}
