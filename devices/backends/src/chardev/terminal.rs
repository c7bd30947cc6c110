//! Our own terminal in raw mode, and always back.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Once, OnceLock};

use nix::libc::{c_int, c_void, siginfo_t};
use rustix::event::{EventfdFlags, eventfd};
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, tcgetattr,
    tcsetattr,
};
use std::os::fd::OwnedFd;

use super::CharError;

/// How the terminal was.
static BEFORE: OnceLock<Termios> = OnceLock::new();
/// It is raw now.
static RAW: AtomicBool = AtomicBool::new(false);
/// Standard input and output serve a line.
static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOKS: Once = Once::new();
/// Somebody else ends the program on a signal.
static LEFT: AtomicBool = AtomicBool::new(false);
/// The signal that ends us, and who is told.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
static TOLD: OnceLock<OwnedFd> = OnceLock::new();

/// Puts the terminal back as it was. Does nothing if it is. May be called at any time, in a signal handler
/// too. The line does it when it is dropped, panics and the usual signals do it; whoever ends the program
/// with `exit` calls it first.
pub fn restore() {
    if RAW.swap(false, Ordering::AcqRel)
        && let Some(before) = BEFORE.get()
    {
        // A terminal that has gone needs nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
    }
}

/// From now on a signal only puts the terminal back: somebody else ends the program for it. Handlers are called one
/// after the other, so that this one's end would come in the middle of the other's.
pub fn leave_signals() {
    LEFT.store(true, Ordering::Release);
}

/// Standard input and output, taken by one line; given back when dropped.
pub(super) struct Stdio(());

impl Stdio {
    /// Takes them; a terminal becomes raw.
    pub(super) fn take() -> Result<Stdio, CharError> {
        if TAKEN.swap(true, Ordering::AcqRel) {
            return Err(CharError::Taken);
        }
        let taken = Stdio(());
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            let what = "terminal mode";
            let now = tcgetattr(&stdin).map_err(|e| CharError::System { what, source: e.into() })?;
            let before = BEFORE.get_or_init(|| now).clone();
            HOOKS.call_once(install_hooks);
            RAW.store(true, Ordering::Release);
            tcsetattr(&stdin, OptionalActions::Now, &raw(before))
                .map_err(|e| CharError::System { what, source: e.into() })?;
        }
        Ok(taken)
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        restore();
        TAKEN.store(false, Ordering::Release);
    }
}

/// Every key is for the guest. Output processing stays: our own messages are ordinary lines.
fn raw(mut modes: Termios) -> Termios {
    modes.input_modes &= !(InputModes::IGNBRK
        | InputModes::BRKINT
        | InputModes::PARMRK
        | InputModes::ISTRIP
        | InputModes::INLCR
        | InputModes::IGNCR
        | InputModes::ICRNL
        | InputModes::IXON);
    modes.output_modes |= OutputModes::OPOST;
    modes.local_modes &=
        !(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN | LocalModes::ISIG);
    modes.control_modes &= !(ControlModes::CSIZE | ControlModes::PARENB);
    modes.control_modes |= ControlModes::CS8;
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes
}

/// A panic shows its message on a terminal in order; a signal that ends us puts it back first.
fn install_hooks() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let was_raw = RAW.load(Ordering::Acquire);
        restore();
        before(info);
        // A thread's panic does not end the program.
        if was_raw && let Some(before) = BEFORE.get() {
            RAW.store(true, Ordering::Release);
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &raw(before.clone()));
        }
    }));
    let Ok(told) = eventfd(0, EventfdFlags::CLOEXEC) else { return };
    if TOLD.set(told).is_err() {
        return;
    }
    let ender = std::thread::Builder::new().name("signals".to_owned()).spawn(|| {
        let mut count = [0; 8];
        let Some(told) = TOLD.get() else { return };
        while rustix::io::read(told, &mut count).is_err() {}
        super::flush_all();
        std::process::exit(128 + SIGNAL.load(Ordering::Acquire));
    });
    if ender.is_ok() {
        use nix::libc::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            // Whoever wants to end otherwise registers a handler afterwards.
            let _ = vmm_sys_util::signal::register_signal_handler(signal, ended);
        }
    }
}

/// Only what a signal handler may do: a terminal's mode, an atomic, a write.
extern "C" fn ended(signal: c_int, _info: *mut siginfo_t, _context: *mut c_void) {
    restore();
    if LEFT.load(Ordering::Acquire) {
        return;
    }
    SIGNAL.store(signal, Ordering::Release);
    if let Some(told) = TOLD.get() {
        let _ = rustix::io::write(told.as_fd(), &1u64.to_ne_bytes());
    }
}
