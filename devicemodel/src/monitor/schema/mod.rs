//! What commands and events take and give. The commands' and events' tables say it in a small language; read, it gives
//! the introspection data and the check of every command's arguments.
//!
//! Types are defined line by line; a line that begins with a space goes on from the one before:
//!
//! ```text
//! object NAME MEMBER...
//! union NAME TAG MEMBER... | CASE=TYPE...     (TAG is one of the members; a case may be left out)
//! alternate NAME TYPE...
//! enum NAME VALUE...
//! ```
//!
//! A member is `NAME:TYPE`, with `?` before it if it may be left out and `!FEATURE` after it if it has one of QAPI's
//! features. A type is `str`, `int`, `bool`, `any`, a name, or one of these in brackets for a list. `...` after the
//! members: there may be others, which the command looks at itself. What a command or event takes is a list of
//! members, or `= TYPE`: an object of that type.

mod check;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

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
    feature: Option<String>,
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

/// A command or an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// What it takes.
    pub(super) takes: &'static str,
    /// What it gives; an event gives nothing.
    pub(super) gives: Option<&'static str>,
    pub(super) features: &'static [&'static str],
}

/// What a command takes and gives; an event only takes.
#[derive(Clone, Debug)]
struct Signature {
    arguments: Type,
    result: Option<Type>,
    features: &'static [&'static str],
}

/// All types, commands and events.
#[derive(Debug)]
pub struct Schema {
    types: BTreeMap<String, Definition>,
    /// In the tables' order.
    commands: Vec<(&'static str, Signature)>,
    events: Vec<(&'static str, Signature)>,
    /// What means nothing. There is none, which a test sees to.
    nonsense: Vec<String>,
}

/// The object with no members, which most commands take or give.
const NOTHING: &str = "Nothing";

impl Schema {
    /// Reads definitions of types.
    pub(super) fn new(types: &[&str]) -> Schema {
        let mut schema =
            Schema { types: BTreeMap::new(), commands: Vec::new(), events: Vec::new(), nonsense: Vec::new() };
        schema.types.insert(NOTHING.into(), Definition::Object(Object::default()));
        types.iter().for_each(|text| parse::types(&mut schema, text));
        schema
    }

    /// Adds an enum.
    pub(super) fn add_enum(&mut self, name: &str, values: impl Iterator<Item = &'static str>) {
        let values = values.map(str::to_owned).collect();
        self.define(name.into(), Definition::Enum(values));
    }

    /// Adds a command.
    pub(super) fn add_command(&mut self, command: Entry) {
        if let Some(signature) = self.signature(command) {
            self.commands.push((command.name, signature));
        }
    }

    /// Adds an event.
    pub(super) fn add_event(&mut self, event: Entry) {
        if let Some(signature) = self.signature(event) {
            self.events.push((event.name, signature));
        }
    }

    fn signature(&mut self, entry: Entry) -> Option<Signature> {
        let Entry { name, takes, gives, features } = entry;
        let arguments = parse::arguments(self, name, takes);
        if arguments.is_none() {
            self.nonsense.push(format!("{name} {takes}"));
        }
        let result =
            gives.map(|of| if of.is_empty() { Type::Named(NOTHING.into()) } else { parse::named(of) });
        Some(Signature { arguments: arguments?, result, features })
    }

    /// A name means one thing.
    fn define(&mut self, name: String, definition: Definition) {
        if self.types.insert(name.clone(), definition).is_some() {
            self.nonsense.push(name);
        }
    }

    /// Names of all commands.
    pub fn commands(&self) -> impl Iterator<Item = &'static str> {
        self.commands.iter().map(|(name, _)| *name)
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

    /// Whether a command's answer is of the type that is told of it.
    pub fn check_answer(&self, name: &str, answer: &Value) -> Result<(), QmpError> {
        let result = self.commands.iter().find(|(known, _)| *known == name);
        let result = result.and_then(|(_, signature)| signature.result.as_ref());
        result.map_or(Ok(()), |of| check::Check(self).value(of, answer, "answer", name))
    }

    /// Whether what comes with an event is what is told of it.
    pub(super) fn check_event(&self, name: &str, data: &Value) -> Result<(), QmpError> {
        let event = self.events.iter().find(|(known, _)| *known == name);
        let object = event.and_then(|(_, signature)| self.object(&signature.arguments));
        let unknown = || QmpError::generic(format!("there is no event {name}"));
        let given = data.as_object().cloned().unwrap_or_default();
        check::Check(self).object(object.ok_or_else(unknown)?, &given, "")
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
        let signature = |kind: &str, (name, signature): &(&str, Signature)| {
            let mut entry = Map::new();
            entry.insert("name".into(), (*name).into());
            entry.insert("meta-type".into(), kind.into());
            entry.insert("arg-type".into(), signature.arguments.name().into());
            if let Some(result) = &signature.result {
                entry.insert("ret-type".into(), result.name().into());
            }
            if !signature.features.is_empty() {
                entry.insert("features".into(), signature.features.into());
            }
            Value::Object(entry)
        };
        let builtin =
            |(name, json): (&str, &str)| json!({ "name": name, "meta-type": "builtin", "json-type": json });
        let mut entries: Vec<Value> = self.commands.iter().map(|of| signature("command", of)).collect();
        entries.extend(self.events.iter().map(|of| signature("event", of)));
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

/// A type, for introspection.
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
                if let Some(feature) = &member.feature {
                    entry.insert("features".into(), json!([feature]));
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
