//! Whether the guest runs.

use serde_json::{Value, json};

use super::super::events::POWERDOWN;
use super::super::info::Actions;
use super::super::run_state::RunState;
use super::super::table::{CommandSpec, Table};
use super::{arguments, begins, nothing};

pub(super) static TABLE: Table = Table {
    types: "
object StatusInfo running:bool singlestep:bool status:RunState
enum RebootAction reset shutdown
enum ShutdownAction poweroff pause
enum PanicAction pause shutdown exit-failure none
",
    commands: &[
        CommandSpec::new("query-status", |_, context| {
            let status = context.guest.status();
            let running = status == RunState::Running;
            Ok(json!({ "status": status.name(), "singlestep": false, "running": running }))
        })
        .returns("StatusInfo"),
        // Nothing is done to a guest that does not run, whatever else is going on.
        CommandSpec::new("stop", |_, context| {
            let begun = context.guest.stop();
            begins(context, begun)
        }),
        CommandSpec::new("cont", |_, context| {
            let begun = context.guest.cont();
            begins(context, begun)
        })
        .not_in(
            &[RunState::Suspended, RunState::Shutdown, RunState::GuestPanicked],
            "Resetting the Virtual Machine is required",
        )
        .alone(),
        CommandSpec::new("system_powerdown", |_, context| {
            context.guest.powerdown();
            (context.notify)(&POWERDOWN, Value::Null);
            nothing(Ok(()))
        }),
        CommandSpec::new("system_reset", |_, context| nothing(context.guest.reset())).alone(),
        CommandSpec::new("system_wakeup", |_, context| nothing(context.guest.wakeup()))
            .only_in(&[RunState::Suspended], "Unable to wake up: guest is not in suspended state")
            .alone(),
        CommandSpec::new("inject-nmi", |_, context| nothing(context.guest.inject_nmi())),
        CommandSpec::new("set-action", |command, context| {
            nothing(arguments(command).and_then(|actions: Actions| context.guest.set_actions(&actions)))
        })
        .takes("?reboot:RebootAction ?shutdown:ShutdownAction ?panic:PanicAction ?watchdog:WatchdogAction"),
    ],
};
