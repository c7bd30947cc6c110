//! What the toolstack asks for: the nodes of a PV disk as libxl writes them (`libxl_disk.c`, `libxl_device.c`).

use std::path::PathBuf;

use backends::image::Format;
use devices::xen::blkback::{Config, Store, StoreError};
use thiserror::Error;

/// Most rings of a disk: one thread serves them all.
const QUEUES: u32 = 4;

/// Why a PV disk is not served.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum OfferError {
    /// xenstore.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A node.
    #[error("its node {key} is {value:?}")]
    Node {
        /// Which.
        key: &'static str,
        /// What it holds.
        value: Option<String>,
    },
}

/// A PV disk to be served.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) config: Config,
    /// The image; none in a CD drive that is empty.
    pub(super) image: Option<(PathBuf, Format)>,
}

/// Reads the nodes below `backend`. None when nobody waits for that disk: it is being made, or removed, or was
/// served before.
pub(super) fn read(
    store: &dyn Store,
    backend: &str,
    domid: u16,
    device: u32,
) -> Result<Option<Offer>, OfferError> {
    let find = |key: &str| store.find(&format!("{backend}/{key}"));
    let is = |key: &str, value: &str| Ok::<bool, StoreError>(find(key)?.as_deref() == Some(value));
    if !is("state", "1")? || !is("online", "1")? {
        return Ok(None);
    }
    let wrong = |key, value| OfferError::Node { key, value };
    let need = |key| find(key)?.ok_or(wrong(key, None));
    let cdrom = is("device-type", "cdrom")?;
    let params = need("params")?;
    let image = image(&params).ok_or_else(|| wrong("params", Some(params)))?;
    if image.is_none() && !cdrom {
        return Err(wrong("params", find("params")?));
    }
    let config = Config {
        frontend: need("frontend")?,
        backend: backend.to_owned(),
        domid,
        device,
        cdrom,
        removable: is("removable", "1")?,
        read_only: !is("mode", "w")?,
        discard: is("discard-enable", "1")?,
        queues: QUEUES,
        persistent: true,
    };
    Ok(Some(Offer { config, image }))
}

/// `FORMAT:PATH`: None if that is no image of ours, and an empty drive without a path.
pub(super) fn image(params: &str) -> Option<Option<(PathBuf, Format)>> {
    let (format, path) = params.split_once(':')?;
    let format = match format {
        "aio" | "raw" => Format::Raw,
        "qcow2" => Format::Qcow2,
        _ => return None,
    };
    Some((!path.is_empty()).then(|| (PathBuf::from(path), format)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Nodes that nobody changes.
    struct Nodes(BTreeMap<String, String>);

    impl Store for Nodes {
        fn find(&self, path: &str) -> Result<Option<String>, StoreError> {
            Ok(self.0.get(path).cloned())
        }
        fn write(&self, path: &str, _: &str) -> Result<(), StoreError> {
            Err(StoreError(format!("a write to {path}")))
        }
        fn watch(&self, path: &str) -> Result<(), StoreError> {
            self.write(path, "")
        }
        fn unwatch(&self, path: &str) -> Result<(), StoreError> {
            self.write(path, "")
        }
    }

    const BACKEND: &str = "/local/domain/0/backend/qdisk/5/5632";

    /// A recorded CD of libxl's, but for `changed`; a node that becomes empty text is not there.
    fn offer(changed: &[(&str, &str)]) -> Result<Option<Offer>, OfferError> {
        let recorded = [
            ("frontend", "/local/domain/5/device/vbd/5632"),
            ("params", "aio:/srv/linux.iso"),
            ("frontend-id", "5"),
            ("online", "1"),
            ("removable", "1"),
            ("bootable", "1"),
            ("state", "1"),
            ("dev", "hdc"),
            ("type", "qdisk"),
            ("mode", "r"),
            ("device-type", "cdrom"),
            ("discard-enable", "0"),
            ("specification", "xen"),
        ];
        let nodes = recorded.iter().chain(changed).map(|(key, value)| (format!("{BACKEND}/{key}"), value));
        let mut nodes: BTreeMap<_, _> = nodes.map(|(key, value)| (key, (*value).to_owned())).collect();
        nodes.retain(|_, value| !value.is_empty());
        read(&Nodes(nodes), BACKEND, 5, 5632)
    }

    #[test]
    fn a_recorded_cd() {
        let Offer { config, image } = offer(&[]).unwrap().unwrap();
        assert_eq!(image, Some(("/srv/linux.iso".into(), Format::Raw)));
        let expected = Config {
            backend: BACKEND.into(),
            frontend: "/local/domain/5/device/vbd/5632".into(),
            domid: 5,
            device: 5632,
            cdrom: true,
            removable: true,
            read_only: true,
            discard: false,
            queues: QUEUES,
            persistent: true,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn a_disk_that_is_written() {
        let disk = [("device-type", "disk"), ("mode", "w"), ("discard-enable", "1"), ("removable", "0")];
        let params = ("params", "qcow2:/srv/a:b.qcow2");
        let Offer { config, image } = offer(&[&disk[..], &[params]].concat()).unwrap().unwrap();
        assert_eq!(image, Some(("/srv/a:b.qcow2".into(), Format::Qcow2)));
        assert_eq!(
            (config.cdrom, config.read_only, config.discard, config.removable),
            (false, false, true, false)
        );
    }

    #[test]
    fn only_a_disk_that_waits_is_served() {
        for changed in [("state", "5"), ("state", ""), ("online", "0"), ("online", "")] {
            assert_eq!(offer(&[changed]), Ok(None), "{changed:?}");
        }
    }

    #[test]
    fn an_empty_drive_is_a_cd_drive() {
        assert_eq!(offer(&[("params", "aio:")]).unwrap().unwrap().image, None);
        let disk = offer(&[("params", "aio:"), ("device-type", "disk")]).unwrap_err();
        assert_eq!(disk.to_string(), "its node params is Some(\"aio:\")");
    }

    #[test]
    fn what_is_no_image_of_ours_is_refused() {
        for params in ["vhd:/srv/a.vhd", "/srv/a", ""] {
            assert!(matches!(offer(&[("params", params)]), Err(OfferError::Node { key: "params", .. })));
        }
        assert!(matches!(offer(&[("frontend", "")]), Err(OfferError::Node { key: "frontend", .. })));
    }
}
