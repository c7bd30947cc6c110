//! What commands take and give: one table, from which come the list of commands, the introspection data
//! and the check of every command's arguments.

mod check;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use devices::input::keys::Key;
use serde_json::{Map, Value, json};

use super::protocol::{Command, QmpError};

/// A type's name, or a list of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Type {
    Str,
    Int,
    Bool,
    Any,
    List(Box<Type>),
    Named(String),
}

impl Type {
    /// As the introspection data names it.
    fn name(&self) -> String {
        match self {
            Type::Str => "str".into(),
            Type::Int => "int".into(),
            Type::Bool => "bool".into(),
            Type::Any => "any".into(),
            Type::List(of) => format!("[{}]", of.name()),
            Type::Named(name) => name.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    name: String,
    of: Type,
    optional: bool,
}

/// An object; with a tag, further members depend on the value of one of its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Object {
    members: Vec<Member>,
    /// Further members are nobody's business here.
    open: bool,
    tag: Option<String>,
    /// Value of the tag, name of the object with the further members.
    cases: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Definition {
    Enum(Vec<String>),
    Object(Object),
    Alternate(Vec<Type>),
}

/// What a command takes and gives; an event only takes.
#[derive(Clone, Debug)]
struct Signature {
    arguments: Type,
    result: Option<Type>,
}

/// The table.
#[derive(Debug, Default)]
pub struct Schema {
    types: BTreeMap<String, Definition>,
    /// In the table's order.
    commands: Vec<(String, Signature)>,
    events: Vec<(String, Signature)>,
    /// Lines that mean nothing. There are none, which a test sees to.
    nonsense: Vec<String>,
}

/// The object with no members, which most commands take or give.
const NOTHING: &str = "Nothing";

impl Schema {
    /// The one of this program.
    pub fn get() -> &'static Schema {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let mut schema = parse::parse(include_str!("table.txt"));
            let names = Key::all().map(Key::name).chain(["unmapped"]);
            let keys = names.map(str::to_owned).collect();
            schema.types.insert("QKeyCode".into(), Definition::Enum(keys));
            schema
        });
        &SCHEMA
    }

    /// Names of all commands.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.commands.iter().map(|(name, _)| name.as_str())
    }

    /// Whether there is such an event.
    pub fn has_event(&self, name: &str) -> bool {
        self.events.iter().any(|(event, _)| event == name)
    }

    /// Checks that there is such a command and that its arguments are of the types that it takes.
    pub fn check(&self, command: &Command) -> Result<(), QmpError> {
        let Command { name, arguments, .. } = command;
        let signature = self.commands.iter().find(|(known, _)| known == name);
        let Some((_, signature)) = signature else {
            return Err(QmpError::command_not_found(format!("The command {name} has not been found")));
        };
        match self.object(&signature.arguments) {
            Some(object) => check::Check(self).object(object, arguments, ""),
            None => Ok(()),
        }
    }

    fn object(&self, of: &Type) -> Option<&Object> {
        match of {
            Type::Named(name) => match self.types.get(name)? {
                Definition::Object(object) => Some(object),
                Definition::Enum(_) | Definition::Alternate(_) => None,
            },
            _ => None,
        }
    }

    /// The answer of `query-qmp-schema`.
    pub fn introspect(&self) -> Value {
        let command = |(name, signature): &(String, Signature)| {
            let result = signature.result.as_ref().map_or(NOTHING.into(), Type::name);
            json!({
                "name": name,
                "meta-type": "command",
                "arg-type": signature.arguments.name(),
                "ret-type": result,
            })
        };
        let event = |(name, signature): &(String, Signature)| json!({ "name": name, "meta-type": "event", "arg-type": signature.arguments.name() });
        let builtin =
            |(name, json): (&str, &str)| json!({ "name": name, "meta-type": "builtin", "json-type": json });
        let mut entries: Vec<Value> = self.commands.iter().map(command).collect();
        entries.extend(self.events.iter().map(event));
        entries.extend(self.types.iter().map(|(name, definition)| entry(name, definition)));
        entries.extend(
            self.lists()
                .iter()
                .map(|of| json!({ "name": format!("[{of}]"), "meta-type": "array", "element-type": of })),
        );
        let builtins = [("str", "string"), ("int", "int"), ("bool", "boolean"), ("any", "value")];
        entries.extend(builtins.map(builtin));
        entries.into()
    }

    /// Names of all types that there are lists of.
    fn lists(&self) -> std::collections::BTreeSet<String> {
        let members = self.types.values().flat_map(|definition| match definition {
            Definition::Object(object) => object.members.iter().map(|member| &member.of).collect(),
            Definition::Alternate(types) => types.iter().collect(),
            Definition::Enum(_) => Vec::new(),
        });
        let results = self.commands.iter().filter_map(|(_, signature)| signature.result.as_ref());
        let element = |of: &Type| match of {
            Type::List(of) => Some(of.name()),
            _ => None,
        };
        members.chain(results).filter_map(element).collect()
    }
}

/// A type of the table, for introspection.
fn entry(name: &str, definition: &Definition) -> Value {
    match definition {
        Definition::Enum(values) => {
            let members: Value = values.iter().map(|value| json!({ "name": value })).collect();
            json!({ "name": name, "meta-type": "enum", "members": members, "values": values })
        }
        Definition::Alternate(types) => {
            let members: Value = types.iter().map(|of| json!({ "type": of.name() })).collect();
            json!({ "name": name, "meta-type": "alternate", "members": members })
        }
        Definition::Object(object) => {
            let member = |member: &Member| {
                let mut entry = Map::new();
                entry.insert("name".into(), member.name.as_str().into());
                entry.insert("type".into(), member.of.name().into());
                if member.optional {
                    entry.insert("default".into(), Value::Null);
                }
                Value::Object(entry)
            };
            let members: Value = object.members.iter().map(member).collect();
            let mut entry = json!({ "name": name, "meta-type": "object", "members": members });
            if let (Some(tag), Some(fields)) = (&object.tag, entry.as_object_mut()) {
                let case = |(case, of): &(String, String)| json!({ "case": case, "type": of });
                fields.insert("tag".into(), tag.as_str().into());
                fields.insert("variants".into(), object.cases.iter().map(case).collect());
            }
            entry
        }
    }
}
