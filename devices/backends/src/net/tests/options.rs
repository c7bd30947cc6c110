//! What `-netdev` takes, and its sentences.

use super::{nothing_around, prepare, spec};

fn error(text: &str) -> String {
    spec(text).expect_err(text)
}

#[test]
fn kinds_that_are_not_built_say_why_and_others_are_unknown() {
    assert_eq!(error("foo"), "Parameter 'type' does not accept value 'foo'");
    for kind in ["l2tpv3", "vde", "netmap", "af-xdp", "vhost-vdpa", "vmnet-host", "bridge"] {
        assert!(error(kind).len() > 20, "{kind}: {}", error(kind));
    }
}

#[test]
fn a_streams_options_are_refused_in_qemus_words() {
    for (text, expected) in [
        ("stream", "Parameter 'addr' is missing"),
        ("stream,addr.type=foo", "Parameter 'type' does not accept value 'foo'"),
        ("stream,addr.type=unix", "Parameter 'addr.path' is missing"),
        ("stream,addr.type=inet,addr.host=x", "Parameter 'addr.port' is missing"),
        ("stream,addr.type=fd", "Parameter 'addr.str' is missing"),
        ("stream,addr.type=unix,addr.path=x,foo=bar", "Parameter 'foo' is unexpected"),
        ("stream,addr.type=unix,addr.path=x,addr.foo=bar", "Parameter 'addr.foo' is unexpected"),
        ("stream,addr.type=unix,addr.path=x,server=maybe", "Parameter 'server' expects 'on' or 'off'"),
        ("stream,addr.type=unix,addr.path=x,reconnect=x", "Parameter 'reconnect' expects a uint32 value"),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    assert!(error("stream,addr.type=unix,addr.path=x,server=on,reconnect=1").contains("server mode"));
}

#[test]
fn what_cannot_be_opened_is_said_before_the_guest_runs() {
    let open =
        |text: &str| prepare(&spec(text).unwrap(), &nothing_around()).map(drop).unwrap_err().to_string();
    let text = open("stream,addr.type=unix,addr.path=/nonexistent/switch");
    assert!(text.starts_with("cannot connect to unix:/nonexistent/switch: No such file"), "{text}");
    let text = open("stream,server=on,addr.type=unix,addr.path=/nonexistent/switch");
    assert!(text.starts_with("cannot listen at unix:/nonexistent/switch: No such file"), "{text}");
    let text = open("stream,addr.type=fd,addr.str=77");
    assert_eq!(text, "Can't use file descriptor 77: Bad file descriptor");
}
