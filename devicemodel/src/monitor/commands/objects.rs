//! The object tree, and objects that belong to no device.

use std::path::PathBuf;

use devices::usb::ATTACHED;
use devices_core::balloon::POLLING;
use serde::Deserialize;
use serde_json::Value;

use super::super::Begun;
use super::super::objects::{Object, Rng, Secret, duplicate};
use super::super::protocol::{Command, QmpError};
use super::super::qom;
use super::super::table::{CommandSpec, Table};
use super::{Context, arguments, begins, nothing};
use crate::config::{DumpConfig, MOST_OF_A_FRAME};
use crate::qemu::keyval::is_identifier;

pub(super) static TABLE: Table = Table {
    types: "
object ObjectPropertyInfo name:str type:str ?description:str ?default-value:any
object ObjectTypeInfo name:str ?abstract:bool ?parent:str
enum ObjectType filter-dump rng-builtin rng-random secret
enum QCryptoSecretFormat raw base64
object SecretProperties ?data:str ?file:str ?format:QCryptoSecretFormat
object RngBuiltinProperties ?opened:bool
object RngRandomProperties ?filename:str ?opened:bool
object FilterDumpProperties netdev:str file:str ?maxlen:int
union ObjectOptions qom-type qom-type:ObjectType id:str | filter-dump=FilterDumpProperties
  rng-builtin=RngBuiltinProperties rng-random=RngRandomProperties secret=SecretProperties
",
    commands: &[
        CommandSpec::new("qom-list", |command, context| {
            let At { path } = arguments(command)?;
            qom::Tree::new(context).list(&path)
        })
        .takes("path:str")
        .returns("[ObjectPropertyInfo]"),
        CommandSpec::new("qom-get", |command, context| {
            let Property { path, property } = arguments(command)?;
            qom::Tree::new(context).get(&path, &property)
        })
        .takes("path:str property:str")
        .returns("any"),
        CommandSpec::new("qom-set", |command, context| {
            let NewValue { path, property, value } = arguments(command)?;
            let path = qom::Tree::new(context).set(&path, &property)?;
            nothing(match property.as_str() {
                POLLING => {
                    polling(&value).and_then(|seconds| context.guest.set_balloon_polling(&path, seconds))
                }
                name if name == ATTACHED.name => {
                    attached(&value).and_then(|attached| context.guest.set_attached(&path, attached))
                }
                _ => context.guest.set_bootindex(&path, &value),
            })
        })
        .takes("path:str property:str value:any"),
        CommandSpec::new("qom-list-types", |command, _| {
            let Types { implements, r#abstract } = arguments(command)?;
            Ok(qom::types(implements.as_deref(), r#abstract))
        })
        .takes("?implements:str ?abstract:bool")
        .returns("[ObjectTypeInfo]"),
        CommandSpec::new("device-list-properties", |command, _| {
            let Model { typename } = arguments(command)?;
            qom::device_properties(&typename)
        })
        .takes("typename:str")
        .returns("[ObjectPropertyInfo]"),
        CommandSpec::new("object-add", |command, context| {
            let begun = add_object(command, context);
            begins(context, begun)
        })
        .takes("= ObjectOptions"),
        CommandSpec::new("object-del", |command, context| {
            nothing(arguments(command).and_then(|Named { id }| match context.guest.dump_del(&id) {
                true => Ok(()),
                false => context.shared.objects.remove(&id),
            }))
        })
        .takes("id:str"),
    ],
};

/// Whether a device is to be on its port.
fn attached(value: &Value) -> Result<bool, QmpError> {
    let wrong =
        || QmpError::generic(format!("Invalid parameter type for '{}', expected: boolean", ATTACHED.name));
    value.as_bool().ok_or_else(wrong)
}

/// How often a balloon asks, in seconds, as QEMU takes it.
fn polling(value: &Value) -> Result<u32, QmpError> {
    let number = value.as_i64().ok_or_else(|| {
        QmpError::generic(format!("Invalid parameter type for '{}', expected: integer", POLLING))
    })?;
    match u32::try_from(number) {
        Ok(seconds) => Ok(seconds),
        Err(_) if number < 0 => Err(QmpError::generic("timer value must be greater than zero")),
        Err(_) => Err(QmpError::generic("timer value is too big")),
    }
}

#[derive(Deserialize)]
struct At {
    path: String,
}

#[derive(Deserialize)]
struct Property {
    path: String,
    property: String,
}

#[derive(Deserialize)]
struct NewValue {
    path: String,
    property: String,
    value: Value,
}

#[derive(Deserialize)]
struct Types {
    implements: Option<String>,
    #[serde(default)]
    r#abstract: bool,
}

#[derive(Deserialize)]
struct Model {
    typename: String,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct NewObject {
    id: String,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Deserialize)]
#[serde(tag = "qom-type", rename_all = "kebab-case")]
enum Kind {
    Secret(Secret),
    RngBuiltin {},
    RngRandom {
        filename: Option<String>,
    },
    FilterDump {
        netdev: String,
        file: PathBuf,
        #[serde(default = "most_of_a_frame")]
        maxlen: u32,
    },
}

fn most_of_a_frame() -> u32 {
    MOST_OF_A_FRAME
}

fn add_object(command: &Command, context: &mut Context<'_>) -> Result<Begun, QmpError> {
    let NewObject { id, kind } = arguments(command)?;
    if !is_identifier(&id) {
        return Err(QmpError::generic("Parameter 'id' expects an identifier"));
    }
    if context.shared.objects.contains(&id) || context.guest.dumps().contains(&id) {
        return Err(duplicate(&id));
    }
    match kind {
        Kind::Secret(secret) => context.shared.objects.add_secret(id, secret, context.guest),
        Kind::RngBuiltin {} => {
            context.shared.objects.add(id, Object::Rng(Rng::Builtin)).map(|()| Begun::Done)
        }
        Kind::RngRandom { filename } => {
            let rng = Rng::random(filename.as_deref());
            let rng =
                rng.ok_or_else(|| QmpError::generic("random numbers of another device are not built"))?;
            context.shared.objects.add(id, Object::Rng(rng)).map(|()| Begun::Done)
        }
        Kind::FilterDump { maxlen: 0, .. } => {
            Err(QmpError::generic("Property 'filter-dump.maxlen' doesn't take value '0'"))
        }
        Kind::FilterDump { netdev, file, maxlen } => {
            context.guest.dump_add(DumpConfig { id, netdev, file, longest: maxlen })
        }
    }
}
