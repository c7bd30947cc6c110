//! Commands that are not over at once.

use super::*;

const SAVE: &str = r#"{"execute":"save","arguments":{"filename":"hangs"},"id":1}"#;

#[test]
fn what_comes_after_a_command_that_waits_waits_too_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let server = serve(&path);
    let (mut one, mut other) = (Libxl::connect(&path), Libxl::connect(&path));
    let more = r#"{"execute":"query-name","id":2} nonsense
        {"execute":"human-monitor-command","arguments":{"command-line":"info name"},"id":3}"#;
    one.stream.write_all(format!("{SAVE}{more}").as_bytes()).unwrap();
    assert_eq!(one.line()["event"], "SAVE_PROGRESS");
    assert_eq!(other.ask(r#"{"execute":"query-status"}"#)["return"]["status"], "running");
    // The fake's save goes on up to here: an answer before would come before the event.
    other.ask(r#"{"execute":"stop"}"#);
    assert_eq!(one.line()["event"], "STOP");
    let answers: Vec<Value> = (0..4).map(|_| one.line()).collect();
    assert_eq!((&answers[0]["return"], &answers[0]["id"]), (&json!({}), &json!(1)));
    assert_eq!((&answers[1]["return"]["name"], &answers[1]["id"]), (&json!("fake"), &json!(2)));
    assert_eq!(answers[2]["error"]["class"], "GenericError");
    assert_eq!((&answers[3]["return"], &answers[3]["id"]), (&json!("fake\r\n"), &json!(3)));
    other.ask(r#"{"execute":"quit"}"#);
    assert_eq!(server.join().unwrap(), ["save", "quit"]);
}

#[test]
fn who_wants_the_end_does_not_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let server = serve(&path);
    let mut client = Libxl::connect(&path);
    let more = r#"{"execute":"query-name","id":2}{"execute":"quit","id":3}"#;
    client.stream.write_all(format!("{SAVE}{more}").as_bytes()).unwrap();
    let answer = client.answer();
    assert_eq!((&answer["error"]["desc"], &answer["id"]), (&json!("given up"), &json!(1)));
    assert_eq!(client.answer()["id"], 2);
    assert_eq!(client.answer(), json!({ "return": {}, "id": 3 }));
    assert_eq!(server.join().unwrap(), ["save", "quit"]);
}

/// A client that sends on and on meanwhile is not read any more, and one that goes costs nothing.
#[test]
fn a_client_that_does_not_wait_fills_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let server = serve(&path);
    let (mut one, mut other) = (Libxl::connect(&path), Libxl::connect(&path));
    one.stream.write_all(SAVE.as_bytes()).unwrap();
    one.stream.set_nonblocking(true).unwrap();
    let command = br#"{"execute":"query-name"}"#;
    let mut sent = 0;
    // Up to what the host holds of a stream.
    for _ in 0..100 {
        while one.stream.write(command).is_ok() {
            sent += command.len();
            assert!(sent < LONGEST, "somebody reads all of it");
        }
        other.ask(r#"{"execute":"query-status"}"#);
    }
    drop(one);
    other.ask(r#"{"execute":"query-status"}"#);
    other.ask(r#"{"execute":"stop"}"#);
    other.ask(r#"{"execute":"quit"}"#);
    assert_eq!(server.join().unwrap(), ["save", "quit"]);
}

/// As `echo '{...}' | socat`: it says nothing more and still wants its answer.
#[test]
fn a_client_that_has_said_all_hears_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let server = serve(&path);
    let (mut one, mut other) = (Libxl::connect(&path), Libxl::connect(&path));
    one.stream.write_all(SAVE.as_bytes()).unwrap();
    one.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(one.line()["event"], "SAVE_PROGRESS");
    other.ask(r#"{"execute":"stop"}"#);
    assert_eq!(one.answer(), json!({ "return": {}, "id": 1 }));
    assert_eq!(one.stream.read(&mut [0; 8]).unwrap(), 0, "and is let go");
    other.ask(r#"{"execute":"quit"}"#);
    server.join().unwrap();
}
