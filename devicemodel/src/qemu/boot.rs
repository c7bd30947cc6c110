//! `-boot` and `-action`: how a guest begins, and what its ends mean.

use super::Refusal;
use super::keyval::Fields;
use super::values::path;
use crate::config::{Action, BootOptions, WatchdogAction};

/// What `-boot` changes in the order and in the options beside it. A key that is not given stays as it was.
pub(super) fn boot(
    order: &mut Option<String>,
    options: &mut BootOptions,
    value: &str,
) -> Result<(), Refusal> {
    let mut fields = Fields::parse(value, Some("order"));
    *order = fields.take("order").map(letters).transpose()?.or(order.take());
    options.once = fields.take("once").map(letters).transpose()?.or(options.once.take());
    options.menu = fields.flag("menu")?.unwrap_or(options.menu);
    options.strict = fields.flag("strict")?.unwrap_or(options.strict);
    if let Some(splash) = fields.take("splash") {
        options.splash = Some(path(&splash)?);
    }
    if let Some(time) = fields.take("splash-time") {
        let wrong = "splash-time is invalid, it should be a value between 0 and 65535";
        options.splash_ms = Some(time.parse().map_err(|_| Refusal::bad(wrong))?);
    }
    match fields.take("reboot-timeout").as_deref() {
        None => {}
        Some("-1") => options.reboot_ms = None,
        Some(time) => {
            let wrong = "reboot timeout is invalid, it should be a value between -1 and 65535";
            options.reboot_ms = Some(time.parse().map_err(|_| Refusal::bad(wrong))?);
        }
    }
    fields.end()
}

/// Letters from a to p, none twice: those of drives of IBM's PC, of which a, c, d and n mean something here.
fn letters(order: String) -> Result<String, Refusal> {
    let mut seen = 0_u32;
    for letter in order.chars() {
        let bit = match letter {
            'a'..='p' => 1 << (letter as u32 - 'a' as u32),
            _ => return Err(Refusal::bad(format!("Invalid boot device '{letter}'"))),
        };
        if seen & bit != 0 {
            return Err(Refusal::bad(format!("Boot device '{letter}' was given twice")));
        }
        seen |= bit;
    }
    Ok(order)
}

/// What becomes of a guest that switches itself off, resets itself or panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// It stays when it switches itself off (`shutdown=pause`, `-no-shutdown`).
    pub stays: bool,
    /// A reset switches it off (`reboot=shutdown`, `-no-reboot`).
    pub no_reboot: bool,
    /// `panic=`.
    pub panic: Panic,
    /// `watchdog=`.
    pub watchdog: WatchdogAction,
}

/// `-action panic=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panic {
    /// It ends, or stays where a shutdown is to stay.
    #[default]
    Shutdown,
    /// It ends, and the exit status says so.
    ExitFailure,
    /// It stays.
    Pause,
    /// It goes on.
    Nothing,
}

impl Ends {
    /// What the guest's own power-off does.
    pub(super) fn on_poweroff(self) -> Action {
        if self.stays { Action::Preserve } else { Action::Destroy }
    }
    /// What a reset does.
    pub(super) fn on_reboot(self) -> Action {
        if self.no_reboot { self.on_poweroff() } else { Action::Restart }
    }
    /// What a crash does.
    pub(super) fn on_crash(self) -> Action {
        match self.panic {
            Panic::Shutdown => self.on_poweroff(),
            Panic::ExitFailure => Action::Destroy,
            Panic::Pause => Action::Preserve,
            Panic::Nothing => Action::Ignore,
        }
    }

    /// `-action`: what it does not name stays as it was.
    pub(super) fn read(&mut self, value: &str) -> Result<(), Refusal> {
        let mut fields = Fields::parse(value, None);
        let wrong = |key: &str, found: &str, words: &str| {
            Err(Refusal::bad(format!("{key}={found}: expected {words}")))
        };
        match fields.take("reboot").as_deref() {
            None => {}
            Some("reset") => self.no_reboot = false,
            Some("shutdown") => self.no_reboot = true,
            Some(other) => return wrong("reboot", other, "reset or shutdown"),
        }
        match fields.take("shutdown").as_deref() {
            None => {}
            Some("poweroff") => self.stays = false,
            Some("pause") => self.stays = true,
            Some(other) => return wrong("shutdown", other, "poweroff or pause"),
        }
        match fields.take("panic").as_deref() {
            None => {}
            Some("shutdown") => self.panic = Panic::Shutdown,
            Some("exit-failure") => self.panic = Panic::ExitFailure,
            Some("pause") => self.panic = Panic::Pause,
            Some("none") => self.panic = Panic::Nothing,
            Some(other) => return wrong("panic", other, "shutdown, exit-failure, pause or none"),
        }
        match fields.take("watchdog").as_deref() {
            None => {}
            Some(action) => self.read_watchdog(action)?,
        }
        fields.end()
    }

    /// `-watchdog-action`.
    pub(super) fn read_watchdog(&mut self, action: &str) -> Result<(), Refusal> {
        self.watchdog = WatchdogAction::find(action).ok_or_else(|| {
            Refusal::bad(format!("watchdog={action}: expected one of {}", WatchdogAction::words()))
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_options_are_read_and_bounded() {
        let (mut order, mut options) = (None, BootOptions::default());
        let mut read = |text: &str| boot(&mut order, &mut options, text);
        read("dc,menu=on,splash-time=65535,reboot-timeout=0").unwrap();
        read("once=n,strict,splash=/a,,b.bmp").unwrap();
        for wrong in
            ["x", "cc", "splash-time=65536", "splash-time=-1", "reboot-timeout=-2", "menu=maybe", "a=1"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let expected = BootOptions {
            once: Some("n".into()),
            menu: true,
            strict: true,
            splash: Some("/a,b.bmp".into()),
            splash_ms: Some(65535),
            reboot_ms: Some(0),
        };
        assert_eq!((order.as_deref(), options), (Some("dc"), expected));
    }

    #[test]
    fn actions_say_what_each_end_does() {
        let ends = |words: &[&str]| {
            let mut ends = Ends::default();
            words.iter().try_for_each(|word| ends.read(word)).map(|()| ends)
        };
        let actions = |words: &[&str]| {
            let ends = ends(words).unwrap();
            (ends.on_poweroff(), ends.on_reboot(), ends.on_crash())
        };
        assert_eq!(actions(&[]), (Action::Destroy, Action::Restart, Action::Destroy));
        assert_eq!(actions(&["reboot=shutdown"]), (Action::Destroy, Action::Destroy, Action::Destroy));
        assert_eq!(
            actions(&["reboot=shutdown,shutdown=pause"]),
            (Action::Preserve, Action::Preserve, Action::Preserve)
        );
        assert_eq!(actions(&["panic=none"]).2, Action::Ignore);
        assert_eq!(actions(&["panic=pause", "panic=exit-failure,watchdog=reset"]).2, Action::Destroy);
        for wrong in ["reboot=maybe", "panic", "watchdog=bark", "sleep=on"] {
            assert!(matches!(ends(&[wrong]), Err(Refusal::Bad(_))), "{wrong}");
        }
        let watchdog = |words: &[&str]| ends(words).unwrap().watchdog;
        assert_eq!(watchdog(&["watchdog=pause", "panic=none"]), WatchdogAction::Pause);
        assert_eq!(watchdog(&["watchdog=pause", "watchdog=inject-nmi"]), WatchdogAction::InjectNmi);
    }
}
