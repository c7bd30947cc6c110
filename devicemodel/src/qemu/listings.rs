//! `-machine help` and its like: what can be asked for.

use super::drivers;
use super::options::Opt;

const MACHINES: &str = "\
Supported machines are:
none                 empty machine: a monitor that answers questions
pc                   Standard PC (i440FX + PIIX, 1996) (default)
xenfv                Xen Fully-virtualized PC
";

const ACCELERATORS: &str = "\
Accelerators:
qtest                nobody: the machine is driven by -qtest
tcg                  our own CPU in this process
xen                  a domain of Xen
";

const CHARDEVS: &str = "\
Available chardev backend types:
  file
  null
  pty
  socket
  stdio
";

const DISPLAYS: &str = "\
Available display backend types:
none
";

const VGAS: &str = "\
none                 no graphic card
std                  standard VGA (default)
";

/// The text that an option with the value `help` (or `MODEL,help`) asks for.
pub(super) fn of(option: Opt, value: &str) -> Option<String> {
    let asked = |word: &str| word == "help" || word == "?";
    match option {
        Opt::Device => {
            let (driver, rest) = value.split_once(',').unwrap_or((value, ""));
            if asked(driver) {
                return Some(crate::listing::under_headings());
            }
            rest.split(',').any(asked).then(|| drivers::properties(driver)).flatten()
        }
        _ if !asked(value) => None,
        Opt::Machine => Some(MACHINES.into()),
        Opt::Accel => Some(ACCELERATORS.into()),
        Opt::Chardev => Some(CHARDEVS.into()),
        Opt::Netdev | Opt::Net | Opt::Nic => Some(netdevs()),
        Opt::Display => Some(DISPLAYS.into()),
        Opt::Vga => Some(VGAS.into()),
        Opt::Cpu => Some(crate::listing::cpus()),
        _ => None,
    }
}

fn netdevs() -> String {
    let kinds: String = backends::net::KINDS.iter().map(|kind| format!("{kind}\n")).collect();
    format!("Available netdev backend types:\n{kinds}")
}
