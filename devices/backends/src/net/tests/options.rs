//! What `-netdev` takes, and its sentences.

use super::super::{Interface, NetSpec, TapSpec};
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
fn datagrams_and_the_older_word_are_refused_in_qemus_words() {
    let inet = "local.type=inet,local.host=127.0.0.1,local.port=1";
    let one = "exactly one of listen=, connect=, mcast= or udp= is required";
    for (text, expected) in [
        ("dgram".into(), "dgram requires local= parameter"),
        (
            "dgram,remote.type=inet,remote.host=127.0.0.1,remote.port=1".into(),
            "dgram requires local= parameter",
        ),
        (format!("dgram,{inet}"), "type=inet or type=unix requires remote parameter"),
        ("dgram,local.type=unix,local.path=x".into(), "type=inet or type=unix requires remote parameter"),
        ("socket".into(), one),
        ("socket,connect=127.0.0.1:1,listen=:1".into(), one),
        ("socket,listen=15006".into(), "host address '15006' doesn't contain ':' separating host from port"),
        ("socket,udp=127.0.0.1:1".into(), "localaddr= is mandatory with udp="),
        ("socket,listen=:1,localaddr=127.0.0.1".into(), "localaddr= is only valid with mcast= or udp="),
        ("socket,foo=1".into(), "Invalid parameter 'foo'"),
    ] {
        assert_eq!(error(&text), expected, "{text}");
    }
    assert!(error("socket,mcast=10.0.0.1:1").contains("does not contain a multicast address"));
}

#[test]
fn a_tap_interfaces_options_are_refused_in_qemus_words_or_with_a_reason() {
    let with_fd = "ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, fds=, and vhostfds= are invalid with fd=";
    let with_fds =
        "ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, and vhostfd= are invalid with fds=";
    for (text, expected) in [
        ("tap,foo=77,script=no", "Invalid parameter 'foo'"),
        ("tap,script=no,vhost=maybe", "Parameter 'vhost' expects 'on' or 'off'"),
        ("tap,script=no,queues=x", "Parameter 'queues' expects a uint64 value"),
        ("tap,script=no,sndbuf=x", "Parameter 'sndbuf' expects a size value"),
        ("tap,fd=0,ifname=x", with_fd),
        ("tap,fd=0,script=no", with_fd),
        ("tap,fds=0:1,ifname=x", with_fds),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    assert!(error("tap,ifname=x").contains("/etc/qemu-ifup"));
    assert!(error("tap,ifname=x,script=/etc/xen/qemu-ifup").contains("scripts are not run"));
    assert!(error("tap,ifname=x,script=no,downscript=/bin/true").contains("scripts are not run"));
    assert!(error("tap,ifname=x,script=no,vhost=on").contains("not built"));
    assert!(error("tap,ifname=x,script=no,queues=0").contains("1 to 256"));
    let tap = |interface, send_buffer| Ok(NetSpec::Tap(TapSpec { interface, send_buffer }));
    let fds = |fds: &[&str]| Interface::Fds(fds.iter().map(|fd| fd.to_string()).collect());
    assert_eq!(spec("tap,fd=8"), tap(fds(&["8"]), None));
    assert_eq!(spec("tap,fds=8:9,sndbuf=1M"), tap(fds(&["8", "9"]), Some(1 << 20)));
    let libxl = "tap,ifname=vif5.0-emu,br=xenbr0,script=no,downscript=no";
    assert_eq!(spec(libxl), tap(Interface::Name(Some("vif5.0-emu".into()), 1), None));
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
