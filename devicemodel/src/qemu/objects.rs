//! `-object`: of all kinds those that are about networks and viewers.

use std::path::PathBuf;

use super::Refusal;
use super::keyval::Fields;
use crate::config::DumpConfig;

/// Certificates and keys in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// What other options call them.
    pub id: String,
    /// The folder of `server-cert.pem` and its like.
    pub folder: PathBuf,
    /// A client needs a certificate too.
    pub verify_peer: bool,
}

/// One object.
pub(super) enum Object {
    /// What passes a network goes to a file.
    Dump(DumpConfig),
    /// For a server that encrypts.
    Tls(TlsFiles),
}

pub(super) fn object(value: &str) -> Result<Object, Refusal> {
    let mut fields = Fields::of_option(value, "qom-type")?;
    let kind = fields.required("qom-type")?;
    match kind.as_str() {
        "filter-dump" => {
            let id = fields.required("id")?;
            let dump = DumpConfig::new(id, &fields.rest());
            dump.map(Object::Dump).map_err(|error| Refusal::bad(error.to_string()))
        }
        "tls-creds-x509" => tls(fields).map(Object::Tls),
        _ => Err(Refusal::not_built(format!("{kind} (user-made objects)"))),
    }
}

fn tls(mut fields: Fields) -> Result<TlsFiles, Refusal> {
    let (id, folder) = (fields.required("id")?, fields.required("dir")?);
    // QEMU's own word if nothing is said is `client`.
    if fields.take("endpoint").as_deref() != Some("server") {
        return Err(Refusal::bad("Expecting TLS credentials with a server endpoint"));
    }
    let verify_peer = fields.flag("verify-peer")?.unwrap_or(true);
    // They are checked in any case.
    fields.ignore(&["sanity-check"]);
    fields.only("priority", &[], "another choice of ciphers")?;
    fields.only("passwordid", &[], "an encrypted key")?;
    fields.end()?;
    Ok(TlsFiles { id, folder: folder.into(), verify_peer })
}
