//! `-object`: what passes networks, certificates, secrets, random numbers, the guest's memory.

use std::path::PathBuf;

use super::Refusal;
use super::config::{MachineKind, QemuConfig};
use super::keyval::{Fields, is_identifier};
use crate::config::DumpConfig;
use crate::monitor::objects::{Format, MemoryBackend, Object as Shared, Rng, Secret};

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
    /// What the monitor knows by its id.
    Shared(UserObject),
}

/// An object that other options and the monitor name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserObject {
    /// A password or key, which is not read yet.
    Secret(String, Secret),
    /// Any other.
    Known(String, Shared),
}

impl UserObject {
    /// What others call it.
    pub fn id(&self) -> &str {
        match self {
            UserObject::Secret(id, _) | UserObject::Known(id, _) => id,
        }
    }
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
        "secret" => secret(fields).map(Object::Shared),
        "rng-builtin" | "rng-random" => rng(&kind, fields).map(Object::Shared),
        "memory-backend-ram" => memory("memory-backend-ram", fields).map(Object::Shared),
        "memory-backend-memfd" => memory("memory-backend-memfd", fields).map(Object::Shared),
        _ => Err(Refusal::not_built(format!("{kind} (user-made objects)"))),
    }
}

/// Looks whether what names an object names one of its kind, and gives the guest the RAM that `-machine` names. The option
/// that is wrong, and why.
pub(super) fn settle(config: &mut QemuConfig) -> Result<(), (String, Refusal)> {
    let objects = &mut config.objects;
    let twice = objects
        .iter()
        .enumerate()
        .find(|(at, object)| objects.iter().take(*at).any(|other| other.id() == object.id()));
    if let Some((_, object)) = twice {
        let id = object.id();
        let why = format!("attempt to add duplicate property '{id}' to object (type 'container')");
        return Err(("-object".into(), Refusal::bad(why)));
    }
    let is_rng = |id: &str| {
        objects.iter().any(|object| matches!(object, UserObject::Known(other, Shared::Rng(_)) if other == id))
    };
    for device in config.devices.iter().filter(|device| device.driver.starts_with("virtio-rng")) {
        if let Some(id) = device.props.get("rng").filter(|id| !is_rng(id)) {
            let why = format!("Property 'virtio-rng-device.rng' can't find value '{id}'");
            return Err((format!("-device {}", device.driver), Refusal::bad(why)));
        }
    }
    let Some(id) = &config.machine.memory_backend else {
        if let (MachineKind::None, Some(mib)) = (config.machine.kind, config.memory_mib) {
            // No machine has it; who asks is told of it.
            let ram = MemoryBackend { is_ram: true, ..MemoryBackend::new("memory-backend-ram", mib << 20) };
            objects.push(UserObject::Known("ram".into(), Shared::Memory(ram)));
        }
        return Ok(());
    };
    let bad = |why: String| Err(("-machine".to_owned(), Refusal::bad(why)));
    let named = objects.iter_mut().find_map(|object| match object {
        UserObject::Known(other, Shared::Memory(memory)) if other == id => Some(memory),
        _ => None,
    });
    let Some(memory) = named else { return bad(format!("Memory backend '{id}' not found")) };
    if !memory.size.is_multiple_of(1 << 20) || memory.size == 0 {
        return bad(format!(
            "memory-backend={id}: the guest's memory is so many MiB, not {} bytes",
            memory.size
        ));
    }
    memory.is_ram = true;
    let mib = memory.size >> 20;
    if config.memory_mib.is_some_and(|other| other != mib) {
        return bad(
            "Size specified by -m option must match size of explicitly specified 'memory-backend' property"
                .into(),
        );
    }
    config.memory_mib = Some(mib);
    Ok(())
}

fn secret(mut fields: Fields) -> Result<UserObject, Refusal> {
    let id = identifier(&mut fields)?;
    let (data, file) = (fields.take("data"), fields.take("file").map(PathBuf::from));
    let format = match fields.take("format").as_deref() {
        None | Some("raw") => Format::Raw,
        Some("base64") => Format::Base64,
        Some(other) => return Err(Refusal::bad(format!("format={other}: expected raw or base64"))),
    };
    fields.only("keyid", &[], "a secret that another one encrypts")?;
    fields.end()?;
    Ok(UserObject::Secret(id, Secret::new(data, file, format)))
}

fn rng(kind: &str, mut fields: Fields) -> Result<UserObject, Refusal> {
    let id = identifier(&mut fields)?;
    let rng = if kind == "rng-builtin" {
        Rng::Builtin
    } else {
        let file = fields.take("filename");
        let other = || {
            Refusal::not_built(format!(
                "filename={} (another device's random numbers)",
                file.as_deref().unwrap_or("")
            ))
        };
        Rng::random(file.as_deref()).ok_or_else(other)?
    };
    fields.end()?;
    Ok(UserObject::Known(id, Shared::Rng(rng)))
}

/// Memory of the guest: ours is always a file without a name, pages of the usual size, taken as they are used.
fn memory(kind: &'static str, mut fields: Fields) -> Result<UserObject, Refusal> {
    let id = identifier(&mut fields)?;
    let size = fields.size("size", 1)?.ok_or_else(|| Refusal::bad("Parameter 'size' is missing"))?;
    let usual = MemoryBackend::new(kind, size);
    let memory = MemoryBackend {
        share: fields.flag("share")?.unwrap_or(kind == "memory-backend-memfd"),
        merge: fields.flag("merge")?.unwrap_or(usual.merge),
        dump: fields.flag("dump")?.unwrap_or(usual.dump),
        ..usual
    };
    fields.only("prealloc", &["off"], "memory that is taken at the start")?;
    fields.only("reserve", &["on"], "memory that is not accounted for")?;
    fields.only("policy", &["default"], "memory of one of the host's nodes")?;
    fields.only("host-nodes", &[], "memory of one of the host's nodes")?;
    fields.only("hugetlb", &["off"], "huge pages of a size of their own")?;
    // Names within QEMU, and whether the file can change its size.
    fields.ignore(&["x-use-canonical-path-for-ramblock-id", "seal"]);
    fields.end()?;
    Ok(UserObject::Known(id, Shared::Memory(memory)))
}

fn identifier(fields: &mut Fields) -> Result<String, Refusal> {
    let id = fields.required("id")?;
    if is_identifier(&id) { Ok(id) } else { Err(Refusal::bad("Parameter 'id' expects an identifier")) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::{Task, parse};

    fn task(text: &str) -> Result<Task, String> {
        let words: Vec<std::ffi::OsString> = text.split(' ').map(Into::into).collect();
        parse(&words).and_then(Task::new).map_err(|error| error.to_string())
    }

    fn guest(text: &str) -> Result<(u64, Vec<UserObject>), String> {
        match task(&format!("-machine pc,accel=tcg -nodefaults {text}"))? {
            Task::Guest(plan) => Ok((plan.guest.memory_mib, plan.host.objects)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn memory_that_the_machine_names_is_its_ram() {
        let backend = "-object memory-backend-memfd,id=ram0,size=96M,share=on";
        let (mib, objects) = guest(&format!("{backend} -machine memory-backend=ram0")).unwrap();
        assert_eq!(mib, 96);
        let [UserObject::Known(id, Shared::Memory(memory))] = &objects[..] else { panic!("{objects:?}") };
        assert_eq!((id.as_str(), memory.size, memory.share, memory.is_ram), ("ram0", 96 << 20, true, true));
        // Libvirt's words.
        let json = r#"{"qom-type":"memory-backend-ram","id":"pc.ram","size":67108864,"x-use-canonical-path-for-ramblock-id":false}"#;
        assert_eq!(guest(&format!("-m 64 -object {json} -machine memory-backend=pc.ram")).unwrap().0, 64);
        let refused = |text: &str| guest(text).unwrap_err();
        assert!(refused(&format!("-m 128 {backend} -machine memory-backend=ram0")).contains("must match"));
        assert!(refused(&format!("{backend} -machine memory-backend=ram1")).contains("not found"));
        assert!(refused("-object memory-backend-ram,id=a").contains("size"));
        assert!(refused("-object memory-backend-ram,id=a,size=1M,prealloc=on").contains("prealloc=on"));
        assert!(
            refused("-object memory-backend-file,id=a,size=1M,mem-path=/a").contains("memory-backend-file")
        );
        assert!(refused(&format!("{backend} {backend}")).contains("duplicate"));
        // One that nobody names is there, and no more.
        assert_eq!(guest(backend).unwrap().0, 128);
    }

    #[test]
    fn random_numbers_are_the_hosts() {
        let rng = "-object rng-random,id=r,filename=/dev/urandom -device virtio-rng-pci,rng=r";
        assert_eq!(guest(rng).unwrap().1, [UserObject::Known("r".into(), Shared::Rng(Rng::Random))]);
        assert!(guest("-object rng-builtin,id=r -device virtio-rng-pci,rng=r").is_ok());
        let refused = |text: &str| guest(text).unwrap_err();
        assert!(refused("-object rng-random,id=r,filename=/dev/hwrng").contains("/dev/hwrng"));
        assert!(refused("-device virtio-rng-pci,rng=r").contains("can't find value 'r'"));
        assert!(
            refused("-object secret,id=r,data=x -device virtio-rng-pci,rng=r").contains("can't find value")
        );
    }

    #[test]
    fn secrets_are_read_when_they_are_wanted() {
        let (_, objects) = guest("-object secret,id=s,data=c2U=,format=base64").unwrap();
        let [UserObject::Secret(id, secret)] = &objects[..] else { panic!("{objects:?}") };
        assert_eq!((id.as_str(), secret.read().unwrap()), ("s", Shared::Secret(b"se".into())));
        let (_, objects) = guest("-object secret,id=s,file=/none").unwrap();
        let UserObject::Secret(_, secret) = &objects[0] else { panic!("{objects:?}") };
        assert!(secret.read().unwrap_err().desc.contains("/none"));
        assert!(guest("-object secret,id=s,data=x,keyid=k").unwrap_err().contains("keyid"));
        assert!(guest("-object secret,id=1,data=x").unwrap_err().contains("identifier"));
    }
}
