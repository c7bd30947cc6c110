//! Who runs a guest's vCPUs, and the way from its configuration to its end: one for a guest that starts, that is
//! restored, that a toolstack of Xen's has made, and for a machine that is driven by the qtest protocol.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hypervisor::{Hypervisor, NoCpu};
use hypervisor_soft::{ClockKind, Soft, SoftConfig, Tier};

use crate::commands::{Failure, say};
use crate::config::{ClockMode, ConfigError, CpuTier, GuestConfig, HypervisorChoice};
use crate::domain::Domain;
use crate::lockstep::Lockstep;
use crate::machine::{BuildError, Machine, MachineHandles, Preopened, recorded, split_ram};
use crate::notices::{Notices, Notifier, notices};
use crate::qtest::IrqIntercept;
use crate::run::{Ending, LoopError, Options, run};
use crate::sandbox::{self, Named};
use crate::shares;
use crate::trace::Border;

/// Who runs the vCPUs.
pub(crate) enum Vcpus {
    /// A CPU of our own. What reaches the devices is recorded to that file, what the guest is to that of `lockstep`.
    Soft { tier: CpuTier, record: Option<PathBuf>, lockstep: Option<Lockstep> },
    /// Nobody (QEMU's `-accel qtest`). Their interrupt wires are listened to.
    Nobody { still: Arc<NoCpu>, taps: Arc<IrqIntercept> },
    /// Xen.
    Xen(Domain),
}

impl Vcpus {
    /// What a machine that they run stands on, and who is asked to stop on the way.
    fn handles(
        &self,
        config: &GuestConfig,
        notifier: Notifier,
    ) -> Result<(MachineHandles, Option<Stops>), Failure> {
        match self {
            Vcpus::Soft { tier, record, lockstep } => {
                if lockstep.is_some() && config.clock != ClockMode::Icount {
                    let why = "lockstep: two runs are the same with --clock icount only";
                    return Err(ConfigError::Invalid(why.into()).into());
                }
                let soft = soft(config, *tier).map_err(BuildError::from)?;
                let stops = lockstep.clone().map(|asked| Stops { asked, soft: soft.clone() });
                let (hypervisor, border) = match record {
                    None => (soft as Arc<dyn Hypervisor>, Border::Open),
                    Some(file) => recorded(soft, file)?,
                };
                Ok((MachineHandles { border, ..MachineHandles::new(hypervisor, notifier) }, stops))
            }
            Vcpus::Nobody { still, taps } => {
                let handles = MachineHandles::new(still.clone(), notifier);
                Ok((MachineHandles { taps: Some(taps.clone()), ..handles }, None))
            }
            Vcpus::Xen(domain) => Ok((domain.handles(notifier), None)),
        }
    }
}

/// Who is asked to stop on the way, and where.
struct Stops {
    asked: Lockstep,
    soft: Arc<Soft>,
}

/// What a guest is started with, beside its configuration.
pub(crate) struct Settings {
    /// Who runs it.
    pub(crate) vcpus: Vcpus,
    /// Gets what firmware says.
    pub(crate) debugcon: Option<PathBuf>,
    /// What is open already of what the configuration names.
    pub(crate) ahead: Preopened,
    /// What is left to the process, if it confines itself from here on, and not only by [`Options::confine`].
    pub(crate) named: Option<Named>,
    /// That is all that is left to it already.
    pub(crate) confined: bool,
    /// How it begins and ends.
    pub(crate) options: Options,
    /// How the event loop hears of it.
    pub(crate) events: (Notifier, Notices),
}

impl Settings {
    /// Run by these vCPUs from its start to its end, with nobody who looks or commands.
    pub(crate) fn new(vcpus: Vcpus) -> Result<Settings, Failure> {
        Ok(Settings {
            vcpus,
            debugcon: None,
            ahead: Preopened::default(),
            named: None,
            confined: false,
            options: Options::default(),
            events: notices().map_err(LoopError::from)?,
        })
    }

    /// Confines the process to what `config` names, before the guest's own configuration is known.
    pub(crate) fn confine_ahead(&mut self, config: &GuestConfig) -> Result<(), Failure> {
        let Some(named) = &self.named else { return Ok(()) };
        self.ahead.add_shares(shares::start(config)?);
        sandbox::begin(named, config)?;
        self.confined = true;
        Ok(())
    }
}

/// Builds a machine, prepares it, and runs it to its end.
pub(crate) fn launch<E: From<Failure>>(
    mut config: GuestConfig,
    settings: Settings,
    prepare: impl FnOnce(&mut Machine, &mut Options) -> Result<(), E>,
) -> Result<Ending, E> {
    let Settings { vcpus, debugcon, ahead, named, confined, mut options, events: (notifier, notices) } =
        settings;
    if config.generation.is_none() {
        config.renew_generation();
    }
    if !confined {
        // Before this process gives up to start others.
        ahead.add_shares(shares::start(&config).map_err(Failure::from)?);
    }
    if let Some(named) = named {
        // Before anything of the guest's is opened, and before there is a second thread.
        let begin = if confined { sandbox::narrow } else { sandbox::begin };
        begin(&named, &config).map_err(Failure::from)?;
        let finished = config.clone();
        options.confine = Box::new(move || Ok(sandbox::finish(&finished)?));
    }
    let (handles, stops) = vcpus.handles(&config, notifier)?;
    let handles = MachineHandles { debugcon, ahead, ..handles };
    let mut machine = Machine::build(config, handles).map_err(Failure::from)?;
    if let Some(Stops { asked, soft }) = stops {
        asked.begin(&soft, soft.memory(), machine.bus().clone()).map_err(Failure::from)?;
    }
    for terminal in machine.terminals() {
        if let Some(path) = &terminal.pty {
            say(&format!("serial port {} is at {}", terminal.port, path.display()));
        }
    }
    for (id, path) in machine.named_terminals() {
        say(&format!("line {id} is at {}", path.display()));
    }
    prepare(&mut machine, &mut options)?;
    machine.begin_recording().map_err(Failure::from)?;
    machine.unquiesce();
    Ok(run(machine, notices, options).map_err(Failure::from)?)
}

/// What was taken, and why, if the choice was ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// One line for the person.
    pub(crate) why: Option<String>,
}

/// Chooses who runs a guest that this program makes itself. A guest of Xen's is made by its toolstack, which starts the
/// device model for it: there is nothing to choose there.
pub(crate) fn choose(wanted: HypervisorChoice) -> Result<Chosen, ConfigError> {
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

/// The machine around vCPUs that nobody runs, for this guest, and who listens to its interrupt wires.
pub(crate) fn no_cpu(config: &GuestConfig) -> Result<(Arc<NoCpu>, Arc<IrqIntercept>), Failure> {
    let (ram_below, ram_above) = split_ram(config.memory_mib << 20);
    let still = NoCpu::new(config.vcpus, ram_below, ram_above).map_err(BuildError::from)?;
    Ok((Arc::new(still), IrqIntercept::new()?))
}

/// The CPU of our own, for this guest.
fn soft(config: &GuestConfig, tier: CpuTier) -> Result<Arc<Soft>, hypervisor::Error> {
    let (ram_below, ram_above) = split_ram(config.memory_mib << 20);
    let clock = match config.clock {
        ClockMode::Host => ClockKind::Host,
        ClockMode::Icount => ClockKind::Icount,
    };
    let tier = match tier {
        CpuTier::One => Tier::One,
        CpuTier::Two => Tier::Two,
        CpuTier::Auto => Tier::Auto,
    };
    let (cpu, _) = config.cpu_model().map_err(hypervisor::Error::Unsupported)?;
    Ok(Arc::new(Soft::new(SoftConfig { vcpus: config.vcpus, ram_below, ram_above, clock, tier, cpu })?))
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
