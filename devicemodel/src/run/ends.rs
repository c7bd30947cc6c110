//! What becomes of a guest that switches itself off, resets itself, panics or hangs.

use crate::config::{Action, GuestConfig, WatchdogAction};
use crate::monitor::info::Actions;
use crate::monitor::protocol::QmpError;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) poweroff: Action,
    pub(super) reboot: Action,
    pub(super) crash: Action,
    pub(super) watchdog: WatchdogAction,
}

impl Ends {
    /// As the guest was started.
    pub(super) fn of(config: &GuestConfig) -> Ends {
        Ends {
            poweroff: config.on_poweroff,
            reboot: config.on_reboot,
            crash: config.on_crash,
            watchdog: config.on_watchdog,
        }
    }

    /// As QMP's `set-action` says, all or nothing. A reset that is none is a shutdown, with what that brings.
    pub(super) fn set(&mut self, actions: &Actions) -> Result<(), QmpError> {
        let Actions { reboot, shutdown, panic, watchdog } = actions;
        let watchdog = watchdog.as_deref().map_or(Some(self.watchdog), WatchdogAction::find);
        let watchdog = watchdog.ok_or_else(|| QmpError::generic("there is no such action of a watchdog"))?;
        if panic.as_deref() == Some("exit-failure") {
            return Err(QmpError::generic("panic=exit-failure is for the command line alone (-action)"));
        }
        self.watchdog = watchdog;
        if let Some(action) = shutdown {
            self.poweroff = if action == "pause" { Action::Preserve } else { Action::Destroy };
        }
        match reboot.as_deref() {
            Some("reset") => self.reboot = Action::Restart,
            None if self.reboot == Action::Restart => {}
            Some(_) | None => self.reboot = self.poweroff,
        }
        match panic.as_deref() {
            Some("pause") => self.crash = Action::Preserve,
            Some("none") => self.crash = Action::Ignore,
            Some(_) => self.crash = self.poweroff,
            None => {}
        }
        Ok(())
    }
}
