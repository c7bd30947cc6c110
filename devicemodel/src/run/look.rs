//! A look into the guest: its vCPUs stand still for as long as that takes.

use hypervisor::debug::Debug;
use hypervisor::memory::PAGE;

use super::Runner;
use super::pending::AT_ONCE;
use crate::monitor::protocol::QmpError;
use crate::monitor::run_state::RunState;

/// Reads memory, page by page, up to where there is none.
pub(super) fn read(debug: &dyn Debug, vcpu: Option<u32>, address: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    let mut done = 0;
    while done < len {
        let at = address.wrapping_add(done as u64);
        let piece = (len - done).min((PAGE - at % PAGE) as usize);
        let gpa = vcpu.map_or(Some(at), |vcpu| debug.translate(vcpu, at));
        let to = data.get_mut(done..done + piece).unwrap_or_default();
        if !gpa.is_some_and(|gpa| debug.read(gpa, to)) {
            break;
        }
        done += piece;
    }
    data.truncate(done);
    data
}

impl Runner {
    /// Looks. A guest that runs is paused for it, and goes on.
    pub(super) fn look<T>(&mut self, look: impl FnOnce(&dyn Debug) -> T) -> Result<T, QmpError> {
        let none = || QmpError::generic("the guest's processors are the hypervisor's own: ask there");
        self.machine.debug().ok_or_else(none)?;
        let runs = self.state == RunState::Running && self.work.is_none();
        let stopped = self.machine.pause_within(AT_ONCE);
        let seen = stopped.map(|()| self.machine.debug().map(look));
        if runs {
            self.machine.resume();
        }
        seen.map_err(|laggards| QmpError::generic(laggards.to_string()))?.ok_or_else(none)
    }
}
