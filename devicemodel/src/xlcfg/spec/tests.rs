use proptest::prelude::*;

use super::*;

/// A text and, where libxlu 4.17 takes it, what it has for target, format, vdev, access and kind. `-` is no target.
type Row = (&'static str, Option<(&'static str, &'static str, &'static str, &'static str, &'static str)>);

/// Asked of libxlu itself.
const ROWS: &[Row] = &[
    ("/x,raw,hda,rw", Some(("/x", "raw", "hda", "rw", "disk"))),
    (",hdc:cdrom,r", Some(("", "empty", "hdc", "ro", "cdrom"))),
    ("vdev=hdc,devtype=cdrom,format=empty", Some(("-", "empty", "hdc", "ro", "cdrom"))),
    (",empty,hdc,cdrom", Some(("", "empty", "hdc", "ro", "cdrom"))),
    (",,hdc,cdrom", Some(("", "empty", "hdc", "ro", "cdrom"))),
    (",raw,hdc,ro,cdrom", Some(("", "empty", "hdc", "ro", "cdrom"))),
    ("phy:/x,hda,w", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("file:/x,hdc:cdrom,r", Some(("/x", "raw", "hdc", "ro", "cdrom"))),
    ("tap:qcow2:/x,xvda,w", Some(("/x", "qcow2", "xvda", "rw", "disk"))),
    ("tap2:tapdisk:aio:/x,hda,w", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("ioemu:/x,hda:disk,w", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("raw:/x,hdb,r", Some(("/x", "raw", "hdb", "ro", "disk"))),
    ("phy:/x,,xvda,w", None),
    ("format=raw, vdev=hda, access=rw, target=/x", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,acess=ro", None),
    ("/x,raw,hda,maybe", None),
    ("/x,aio,hda", None),
    ("/x,hda", None),
    ("/x,raw,hda,rw,more", None),
    ("/x,raw,hda,", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,,", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,rw,", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("target=/x,y,vdev=hda", None),
    ("vdev=hda,target=/x,", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("vdev=hda,target=", Some(("", "raw", "hda", "rw", "disk"))),
    (",raw,hda", Some(("", "raw", "hda", "rw", "disk"))),
    ("vdev=hda", None),
    ("/x,raw", None),
    ("cdrom,/x,,hdc", Some(("/x", "raw", "hdc", "ro", "cdrom"))),
    ("/x,,hdc,cdrom,ro", Some(("/x", "raw", "hdc", "ro", "cdrom"))),
    ("/x,,hdc:cdrom", Some(("/x", "raw", "hdc", "ro", "cdrom"))),
    ("/x,,hdc:floppy", None),
    ("/x,vdev=hda,raw", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,ro,access=rw", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("access=ro,/x,raw,hda,rw", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("format=qcow2,/x,raw,hda", None),
    ("format=raw,/x,hda", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,discard,no-discard", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,empty", None),
    ("/x,raw,hda,backendtype=phy", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,backendtype=foo", None),
    ("/x,raw,hda,script=a", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,devtype=foo", None),
    ("/x,raw,hda,devtype=disk", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,foo=b", None),
    ("/x,raw,hda,foo=bar", None),
    ("/x,raw,hda,foo=", None),
    ("/x,raw,hda,foo=b,bar", None),
    ("drbd:/x,hda,w", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("nbd:/x,hda,w", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("http:/x,hda,w", None),
    ("foo:/x,hda", None),
    ("phy:sda,hda,w", Some(("sda", "raw", "hda", "rw", "disk"))),
    ("file:x.img,hda,w", Some(("x.img", "raw", "hda", "rw", "disk"))),
    ("file:x.img,raw,hda,w", None),
    ("/a:b,raw,hda", Some(("/a:b", "raw", "hda", "rw", "disk"))),
    ("x:/y,raw,hda", None),
    (" /x , raw , hda , ro ", None),
    ("/x, raw, hda, ro", Some(("/x", "raw", "hda", "ro", "disk"))),
    ("/x,\traw,hda", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("vdev=hda,vdev=hdb,/x", None),
    ("vdev=hda,vdev=hda,/x", None),
    ("", None),
    (",", None),
    (",,", None),
    (",,,", Some(("", "raw", "", "rw", "disk"))),
    ("/x,qcow,hda", Some(("/x", "qcow", "hda", "rw", "disk"))),
    ("/x,vhd,hda", Some(("/x", "vhd", "hda", "rw", "disk"))),
    ("/x,qed,hda", Some(("/x", "qed", "hda", "rw", "disk"))),
    ("/x,vmdk,hda", None),
    ("raw:qcow2:/x,hda", None),
    ("qcow2:/x,raw,hda", None),
    ("tap:/x,hda,w,cdrom", Some(("/x", "raw", "hda", "ro", "cdrom"))),
    ("/x,raw,hda,r", Some(("/x", "raw", "hda", "ro", "disk"))),
    ("/x,raw,hda,w", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,W", None),
    ("/x,raw,hda,RO", None),
    ("/x,raw,hda:cdrom:disk", Some(("/x", "raw", "hda:cdrom", "rw", "disk"))),
    ("/x,raw,sda", Some(("/x", "raw", "sda", "rw", "disk"))),
    ("/x,raw,hde1", Some(("/x", "raw", "hde1", "rw", "disk"))),
    ("/x,raw,d0p1", Some(("/x", "raw", "d0p1", "rw", "disk"))),
    ("script=block-x,vdev=xvda,target=foo:bar", Some(("foo:bar", "raw", "xvda", "rw", "disk"))),
    ("target=/x", None),
    ("/x,raw,hda,target=/y", None),
    (",raw,hda,target=/y", Some(("/y", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,colo", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,specification=virtio", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,specification=foo", None),
    ("/x=y,raw,hda", None),
    ("a=b", None),
    ("format=,vdev=hda,target=/x", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("access=,vdev=hda,target=/x", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("vdev=,target=/x", Some(("/x", "raw", "", "rw", "disk"))),
    ("/x,raw,,ro", Some(("/x", "raw", "", "ro", "disk"))),
    ("phy:/x,hda", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("phy:,hda", Some(("", "raw", "hda", "rw", "disk"))),
    ("phy:/x", None),
    ("tap:aio:/x,hda,w", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("aio:/x,xvda,w", Some(("/x", "raw", "xvda", "rw", "disk"))),
    ("vhd:/x,xvda,w", Some(("/x", "vhd", "xvda", "rw", "disk"))),
    ("qcow:/x,hda,w", Some(("/x", "qcow", "hda", "rw", "disk"))),
    ("enbd:/x,hda", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("iscsi:/x,hda", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("direct-io-safe,/x,,hda", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,direct-io-safe,ro", Some(("/x", "raw", "hda", "ro", "disk"))),
    ("/x\n,raw,hda", Some(("/x\n", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda,ro\n", None),
    ("format=empty,vdev=hda", None),
    (",empty,hda", Some(("", "empty", "hda", "rw", "disk"))),
    (",empty,hda,ro", Some(("", "empty", "hda", "ro", "disk"))),
    ("/x,empty,hda", Some(("/x", "empty", "hda", "rw", "disk"))),
    ("/x,empty,hdc,cdrom", Some(("/x", "empty", "hdc", "ro", "cdrom"))),
    ("/x,raw,hda,ro,cdrom,devtype=disk", Some(("/x", "raw", "hda", "ro", "disk"))),
    (",hda:disk,w", Some(("", "empty", "hda", "rw", "disk"))),
    ("backend=dom1,/x,raw,hda", Some(("/x", "raw", "hda", "rw", "disk"))),
    ("/x,raw,hda, access = ro", None),
];

#[test]
fn the_grammar_is_libxlus() {
    for (text, wanted) in ROWS {
        let spec = Spec::parse(text).ok();
        let found = spec.as_ref().map(|spec| {
            (
                spec.target.as_deref().unwrap_or("-"),
                spec.format_or_raw().name(),
                spec.vdev.as_deref().unwrap_or("-"),
                if spec.is_readonly() { "ro" } else { "rw" },
                if spec.is_cdrom() { "cdrom" } else { "disk" },
            )
        });
        assert_eq!(found, *wanted, "{text}");
    }
}

/// Words of Xen 4.18 and later.
#[test]
fn newer_words_are_known() {
    for word in ["trusted", "untrusted", "grant_usage=1", "grant_usage=0"] {
        assert_eq!(Spec::parse(&format!("/x,raw,hda,{word}")).unwrap().unused, [word]);
    }
    assert!(Spec::parse("/x,raw,hda,grant_usage=2").is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".*") {
        let _ = Spec::parse(&text);
    }
    #[test]
    fn no_near_text_makes_it_panic(text in "((tap2?|raw|é|x|target=|vdev=|access=)?[:,=]? ?[a-z/é]{0,3},?){0,6}") {
        let _ = Spec::parse(&text);
    }
}
