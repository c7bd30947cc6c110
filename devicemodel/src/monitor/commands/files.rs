//! Files that clients hand over with their bytes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::protocol::{Command, QmpError};
use super::super::table::{CommandSpec, Table};
use super::{Context, arguments, nothing};

/// Most files that a client may have given names.
const NAMED: usize = 64;

pub(super) static TABLE: Table = Table {
    types: "
object AddfdInfo fdset-id:int fd:int
object FdsetFdInfo fd:int ?opaque:str
object FdsetInfo fdset-id:int fds:[FdsetFdInfo]
",
    commands: &[
        CommandSpec::new("add-fd", add).takes("?fdset-id:int ?opaque:str").returns("AddfdInfo"),
        CommandSpec::new("remove-fd", |command, context| {
            let RemoveFd { fdset_id, fd } = arguments(command)?;
            nothing(context.shared.fdsets.remove(fdset_id, fd))
        })
        .takes("fdset-id:int ?fd:int"),
        CommandSpec::new("query-fdsets", |_, context| Ok(context.shared.fdsets.list()))
            .returns("[FdsetInfo]"),
        CommandSpec::new("getfd", |command, context| nothing(get(command, context))).takes("fdname:str"),
        CommandSpec::new("closefd", |command, context| nothing(close(command, context))).takes("fdname:str"),
    ],
};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct AddFd {
    fdset_id: Option<i64>,
    opaque: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RemoveFd {
    fdset_id: i64,
    fd: Option<i64>,
}

#[derive(Deserialize)]
struct Named {
    fdname: String,
}

fn not_supplied() -> QmpError {
    QmpError::generic("No file descriptor supplied via SCM_RIGHTS")
}

fn add(command: &Command, context: &mut Context<'_>) -> Result<Value, QmpError> {
    // The file is taken whatever becomes of the command: it came for this one.
    let fd = context.session.received.pop_front();
    let AddFd { fdset_id, opaque } = arguments(command)?;
    let fd = fd.ok_or_else(not_supplied)?;
    if fdset_id.is_some_and(|id| id < 0) {
        return Err(QmpError::generic("Parameter 'fdset-id' expects a non-negative value"));
    }
    let (id, number) = context.shared.fdsets.add(fdset_id, fd, opaque)?;
    Ok(json!({ "fdset-id": id, "fd": number }))
}

fn get(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let fd = context.session.received.pop_front();
    let Named { fdname } = arguments(command)?;
    let fd = fd.ok_or_else(not_supplied)?;
    if fdname.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(QmpError::generic("Parameter 'fdname' expects a name not starting with a digit"));
    }
    let named = &mut context.session.named;
    if named.len() >= NAMED && !named.contains_key(&fdname) {
        return Err(QmpError::generic("there are too many files with names: use closefd"));
    }
    named.insert(fdname, fd);
    Ok(())
}

fn close(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let Named { fdname } = arguments(command)?;
    let missing = || QmpError::generic(format!("File descriptor named '{fdname}' not found"));
    context.session.named.remove(&fdname).map(drop).ok_or_else(missing)
}
