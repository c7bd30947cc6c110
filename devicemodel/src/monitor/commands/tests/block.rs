//! Drives, media, images.

use std::io::{Seek, Write};

use super::*;

#[test]
fn images_and_lines_are_opened_by_name() {
    let mut bench = Bench::default();
    let file = json!({ "driver": "file", "filename": "/srv/a", "node-name": "f", "read-only": true });
    bench.run("blockdev-add", file).unwrap();
    let raw = json!({ "driver": "raw", "file": "f", "node-name": "r", "cache": { "direct": true } });
    bench.run("blockdev-add", raw).unwrap();
    let lower = json!({ "driver": "file", "filename": "/srv/b" });
    bench.run("blockdev-add", json!({ "driver": "qcow2", "file": lower, "node-name": "q" })).unwrap();
    let pty = json!({ "id": "p", "backend": { "type": "pty", "data": {} } });
    assert_eq!(bench.run("chardev-add", pty).unwrap(), json!({ "pty": "/dev/pts/9" }));
    let address = json!({ "type": "unix", "data": { "path": "/s" } });
    let socket = json!({ "type": "socket", "data": { "addr": address, "server": true, "wait": false } });
    assert_eq!(bench.run("chardev-add", json!({ "id": "s", "backend": socket })).unwrap(), json!({}));
    let taken = json!({ "id": "serial0", "backend": { "type": "null", "data": {} } });
    let error = bench.run("chardev-add", taken).unwrap_err();
    assert_eq!(error.desc, "Chardev with id 'serial0' already exists");
    assert_eq!(
        bench.guest.log,
        [
            "node f file /srv/a ro=true",
            "node r raw of f ro=false",
            "node q qcow2 of file /srv/b ro=false",
            "line p Pty",
            "line s Unix(\"/s\")",
        ]
    );
}

#[test]
fn libxl_changes_a_cd_by_an_open_file() {
    let mut bench = Bench::default();
    bench.run("eject", json!({ "id": "ide-5632" })).unwrap();
    let error = bench.run("add-fd", json!({ "opaque": "raw:/srv/linux.iso" })).unwrap_err();
    assert_eq!(error.desc, "No file descriptor supplied via SCM_RIGHTS");
    let mut image = tempfile::tempfile().unwrap();
    image.write_all(b"cd").unwrap();
    image.rewind().unwrap();
    bench.session.received.push_back(image.into());
    let added = bench.run("add-fd", json!({ "opaque": "raw:/srv/linux.iso" })).unwrap();
    let filename = format!("/dev/fdset/{}", added["fdset-id"]);
    let change = json!({ "id": "ide-5632", "filename": filename, "format": "raw" });
    bench.run("blockdev-change-medium", change).unwrap();
    bench.run("remove-fd", json!({ "fdset-id": added["fdset-id"] })).unwrap();
    assert_eq!(bench.run("query-fdsets", json!({})).unwrap(), json!([]));
    assert_eq!(bench.guest.log, ["eject ide-5632 false", "insert ide-5632 raw cd"]);
}
