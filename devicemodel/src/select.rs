//! Who runs the vCPUs.

use std::path::Path;

use std::sync::Arc;

use hypervisor::Hypervisor;
use hypervisor_soft::{ClockKind, Soft, SoftConfig};

use crate::config::{ClockMode, ConfigError, GuestConfig, HypervisorChoice};
use crate::machine::split_ram;

/// What was taken, and why, if the choice was ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Chosen {
    /// One line for the person.
    pub why: Option<String>,
}

/// Chooses who runs a guest that this program makes itself. A guest of Xen's is made by its toolstack, which starts the
/// device model for it: there is nothing to choose there.
pub fn choose(wanted: HypervisorChoice) -> Result<Chosen, ConfigError> {
    match wanted {
        HypervisorChoice::Soft => Ok(Chosen { why: None }),
        HypervisorChoice::Auto => Ok(Chosen { why: Some(auto(Path::new("/dev"))) }),
        HypervisorChoice::Kvm => Err(ConfigError::Invalid(
            "hypervisor: kvm is not built yet; --hypervisor soft runs guests on a CPU of our own".into(),
        )),
        HypervisorChoice::Xen => Err(ConfigError::Invalid(
            "hypervisor: a guest of Xen's is made by its toolstack, which starts this program for it: `ailurus \
             install-xen` puts it there, and `xl create` makes the guest; --hypervisor soft runs guests on a CPU of \
             our own"
                .into(),
        )),
    }
}

fn auto(devices: &Path) -> String {
    let seen = if devices.join("xen/privcmd").exists() {
        "Xen is here, where its toolstack makes guests (`ailurus install-xen`, then `xl create`)"
    } else if devices.join("kvm").exists() {
        "KVM is here, but is not built yet"
    } else {
        "there is neither Xen nor KVM here"
    };
    format!("running on the soft CPU: {seen}")
}

/// The CPU of our own, for this guest.
pub fn soft(config: &GuestConfig) -> Result<Arc<dyn Hypervisor>, hypervisor::Error> {
    let (ram_below, ram_above) = split_ram(config.memory_mib << 20);
    let clock = match config.clock {
        ClockMode::Host => ClockKind::Host,
        ClockMode::Icount => ClockKind::Icount,
    };
    let (cpu, _) = config.cpu_model().map_err(hypervisor::Error::Unsupported)?;
    Ok(Arc::new(Soft::new(SoftConfig { vcpus: config.vcpus, ram_below, ram_above, clock, cpu })?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_says_what_it_took_and_why() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(auto(folder.path()), "running on the soft CPU: there is neither Xen nor KVM here");
        std::fs::write(folder.path().join("kvm"), "").unwrap();
        assert!(auto(folder.path()).contains("KVM is here"));
        assert!(choose(HypervisorChoice::Kvm).unwrap_err().to_string().contains("not built yet"));
        std::fs::create_dir(folder.path().join("xen")).unwrap();
        std::fs::write(folder.path().join("xen/privcmd"), "").unwrap();
        assert!(auto(folder.path()).contains("xl create"));
        let xen = choose(HypervisorChoice::Xen).unwrap_err().to_string();
        assert!(xen.contains("install-xen") && !xen.contains("not built"), "{xen}");
        assert_eq!(choose(HypervisorChoice::Soft).unwrap().why, None);
    }
}
