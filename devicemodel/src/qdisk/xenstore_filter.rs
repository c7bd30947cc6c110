//! What the process that serves PV disks may say to xenstore.
//!
//! A connection of domain 0's may write every node, and what stands in some of them is run by others, or opened: the
//! path of an image for one. Whoever took over the process that reads images would have it all. So that process has
//! no connection of its own: its messages pass here, and what is not about its domain's disks is refused.

use hypervisor_xen::xenstore::wire::{Message, kind, strings};

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// xenstore hears it.
    Pass,
    /// It is answered as done: the toolstack has written the same before.
    Done,
    /// It is refused.
    Refuse,
}

/// Nodes of a back end that it writes itself.
const WRITTEN: &[&str] = &[
    "discard-alignment",
    "discard-granularity",
    "feature-discard",
    "feature-flush-cache",
    "feature-max-indirect-segments",
    "feature-persistent",
    "hotplug-status",
    "info",
    "max-ring-page-order",
    "multi-queue-max-queues",
    "physical-sector-size",
    "sector-size",
    "sectors",
    "state",
];
/// Those that QEMU's back end writes too, and that the toolstack has made with the same values.
const THE_TOOLSTACKS: &[&str] = &["frontend", "frontend-id", "online"];
/// Nodes of a front end that are the back end's to write.
const FOR_THE_FRONTEND: &[&str] = &["device-type", "virtual-device"];

/// The nodes of one domain's disks.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// `/local/domain/OURS/backend/qdisk/DOMID`.
    pub(super) backend: String,
    /// `/local/domain/DOMID/device/vbd`.
    pub(super) frontend: String,
}

impl Guard {
    pub(super) fn judge(&self, message: &Message) -> Verdict {
        let mut parts = strings(&message.payload);
        let path = parts.next().and_then(|path| std::str::from_utf8(path).ok());
        let (Some(path), 0) = (path, message.transaction) else { return Verdict::Refuse };
        let pass = match message.kind {
            // The path of a domain's nodes is no secret: it is made of its number.
            kind::GET_DOMAIN_PATH => true,
            kind::READ => path == "domid" || self.owns(path),
            kind::DIRECTORY | kind::WATCH | kind::UNWATCH => self.owns(path),
            kind::WRITE => return self.write(path),
            _ => false,
        };
        if pass { Verdict::Pass } else { Verdict::Refuse }
    }

    fn owns(&self, path: &str) -> bool {
        [&self.backend, &self.frontend].into_iter().any(|root| path == root || below(path, root).is_some())
    }

    fn write(&self, path: &str) -> Verdict {
        let key = |root| {
            let (device, key) = below(path, root)?.split_once('/')?;
            device.parse::<u32>().is_ok().then_some(key)
        };
        match (key(&self.backend), key(&self.frontend)) {
            (Some(key), _) if WRITTEN.contains(&key) => Verdict::Pass,
            (Some(key), _) if THE_TOOLSTACKS.contains(&key) => Verdict::Done,
            (_, Some(key)) if FOR_THE_FRONTEND.contains(&key) => Verdict::Pass,
            _ => Verdict::Refuse,
        }
    }
}

/// What follows a folder's name in a path below it.
fn below<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    path.strip_prefix(root)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(kind: u32, text: &str) -> Verdict {
        let guard = Guard {
            backend: "/local/domain/0/backend/qdisk/5".into(),
            frontend: "/local/domain/5/device/vbd".into(),
        };
        guard.judge(&Message { kind, request: 1, transaction: 0, payload: text.as_bytes().to_vec() })
    }

    #[test]
    fn a_back_end_does_its_work() {
        let (ours, theirs) = ("/local/domain/0/backend/qdisk/5", "/local/domain/5/device/vbd");
        for (kind, text) in [
            (kind::READ, "domid\0".to_owned()),
            (kind::GET_DOMAIN_PATH, "0\0".to_owned()),
            (kind::DIRECTORY, format!("{ours}\0")),
            (kind::WATCH, format!("{ours}\0disks\0")),
            (kind::READ, format!("{ours}/51712/params\0")),
            (kind::WATCH, format!("{theirs}/51712/state\0{}\0", 51712)),
            (kind::UNWATCH, format!("{theirs}/51712/state\0{}\0", 51712)),
            (kind::WRITE, format!("{ours}/51712/state\x004")),
            (kind::WRITE, format!("{theirs}/51712/virtual-device\x0051712")),
        ] {
            assert_eq!(judge(kind, &text), Verdict::Pass, "{text:?}");
        }
        assert_eq!(judge(kind::WRITE, &format!("{ours}/51712/online\x001")), Verdict::Done);
    }

    #[test]
    fn who_took_it_over_writes_nothing_that_others_act_on() {
        let ours = "/local/domain/0/backend/qdisk/5";
        for (kind, text) in [
            (kind::WRITE, format!("{ours}/51712/params\0aio:/etc/crontab")),
            (kind::WRITE, format!("{ours}/51712/mode\0w")),
            (kind::WRITE, format!("{ours}/51712/state/x\x001")),
            (kind::WRITE, format!("{ours}/x/state\x001")),
            (kind::WRITE, format!("{ours}/../qdisk/6/51712/state\x001")),
            (kind::WRITE, "/local/domain/0/backend/qdisk/55/51712/state\x001".into()),
            (kind::WRITE, "/local/domain/5/device/vbd/51712/backend\x001".into()),
            (kind::WRITE, "backend/qdisk/5/51712/state\x001".into()),
            (kind::WRITE, "/libxl/5/device/vbd/51712/params\0x".into()),
            (kind::WRITE, ours.into()),
            (kind::RM, format!("{ours}/51712\0")),
            (kind::MKDIR, format!("{ours}/51712\0")),
            (kind::SET_PERMS, format!("{ours}/51712\0b5\0")),
            (kind::TRANSACTION_START, "\0".into()),
            (kind::READ, "/local/domain/6/device/vbd/51712/ring-ref\0".into()),
            (kind::READ, format!("{ours}5\0")),
            (kind::WATCH, "/\0x\0".into()),
            (kind::DIRECTORY, "/local/domain\0".into()),
            (kind::READ, String::new()),
            // Introducing a domain, resuming it, debugging.
            (8, format!("{ours}/51712/state\0")),
            (0, "print\0".into()),
        ] {
            assert_eq!(judge(kind, &text), Verdict::Refuse, "{kind} {text:?}");
        }
        let guard = Guard { backend: ours.into(), frontend: "/local/domain/5/device/vbd".into() };
        let payload = format!("{ours}/51712/state\x004").into_bytes();
        let inside = Message { kind: kind::WRITE, request: 1, transaction: 7, payload };
        assert_eq!(guard.judge(&inside), Verdict::Refuse);
    }
}
