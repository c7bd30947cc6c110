//! The session itself: what there is to be asked for, and the end.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::human;
use super::super::protocol::{Command, QmpError, version};
use super::super::table::{CommandSpec, Table};
use super::{Context, all, arguments, nothing, schema};

pub(super) static TABLE: Table = Table {
    types: "
enum QMPCapability oob
object VersionTriple major:int minor:int micro:int
object VersionInfo qemu:VersionTriple package:str
object CommandInfo name:str
enum SchemaMetaType builtin enum array object alternate command event
object SchemaInfo name:str meta-type:SchemaMetaType ?features:[str] ...
enum CommandLineParameterType string boolean number size
object CommandLineParameterInfo name:str type:CommandLineParameterType ?help:str ?default:str
object CommandLineOptionInfo option:str parameters:[CommandLineParameterInfo]
",
    commands: &[
        CommandSpec::new("qmp_capabilities", |_, _| Err(negotiated())).takes("?enable:[QMPCapability]"),
        CommandSpec::new("query-version", |_, _| Ok(version())).returns("VersionInfo"),
        CommandSpec::new("query-commands", |_, _| {
            Ok(all().map(|spec| json!({ "name": spec.name })).collect())
        })
        .returns("[CommandInfo]"),
        CommandSpec::new("query-qmp-schema", |_, _| Ok(schema().introspect())).returns("[SchemaInfo]"),
        CommandSpec::new("query-command-line-options", options)
            .takes("?option:str")
            .returns("[CommandLineOptionInfo]"),
        CommandSpec::new("human-monitor-command", people)
            .takes("command-line:str ?cpu-index:int")
            .returns("str"),
        CommandSpec::new("quit", |_, context| {
            context.guest.quit();
            nothing(Ok(()))
        }),
    ],
};

fn negotiated() -> QmpError {
    QmpError::command_not_found("Capabilities negotiation is already complete, command ignored")
}

/// Options whose parameters clients ask about before they use them.
const OPTIONS: &[(&str, &[&str])] = &[
    ("run-with", &["chroot", "user", "async-teardown"]),
    (
        "vnc",
        &["vnc", "to", "websocket", "tls-creds", "password", "share", "connections", "reverse", "audiodev"],
    ),
    ("mon", &["chardev", "mode", "pretty"]),
    ("smp-opts", &["cpus", "maxcpus", "sockets", "cores", "threads"]),
    ("boot-opts", &["order"]),
];

#[derive(Deserialize)]
struct Ask {
    option: Option<String>,
}

fn options(command: &Command, _: &mut Context<'_>) -> Result<Value, QmpError> {
    let Ask { option } = arguments(command)?;
    let wanted = |name: &str| option.as_deref().is_none_or(|option| option == name);
    let parameters = |names: &[&str]| -> Value {
        names.iter().map(|name| json!({ "name": name, "type": "string" })).collect()
    };
    let found: Vec<Value> = OPTIONS
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, names)| json!({ "option": name, "parameters": parameters(names) }))
        .collect();
    match option {
        Some(name) if found.is_empty() => Err(QmpError::generic(format!("invalid option name: {name}"))),
        _ => Ok(found.into()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Human {
    command_line: String,
}

fn people(command: &Command, context: &mut Context<'_>) -> Result<Value, QmpError> {
    let Human { command_line } = arguments(command)?;
    let text = human::run(&command_line, context);
    if let Some(later) = &mut context.later {
        later.people = true;
    }
    Ok(text.into())
}
