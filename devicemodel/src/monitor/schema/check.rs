//! Arguments against their types, with the errors that clients know from QEMU. Members are looked at in the
//! tables' order, so that of several mistakes the first is named; members too many come last.

use serde_json::{Map, Value};

use super::{Definition, Object, QmpError, Schema, Type};

pub(super) struct Check<'a>(pub(super) &'a Schema);

/// A member's name as errors give it: with what it is in.
fn full(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

fn expected(path: &str, what: &str) -> QmpError {
    QmpError::generic(format!("Invalid parameter type for '{path}', expected: {what}"))
}

impl Check<'_> {
    /// An object that is at `path`. Its depth is bounded by that of the JSON that it came in.
    pub(super) fn object(
        &self,
        object: &Object,
        given: &Map<String, Value>,
        path: &str,
    ) -> Result<(), QmpError> {
        let case = self.members(object, given, path)?;
        if let Some(case) = case {
            self.members(case, given, path)?;
        }
        let known = |name: &str| {
            let has = |object: &Object| object.open || object.members.iter().any(|m| m.name == name);
            has(object) || case.is_some_and(has)
        };
        match given.keys().find(|name| !known(name)) {
            Some(name) => Err(QmpError::generic(format!("Parameter '{}' is unexpected", full(path, name)))),
            None => Ok(()),
        }
    }

    /// Checks the members that an object has in any case, and finds those that its tag adds.
    fn members(
        &self,
        object: &Object,
        given: &Map<String, Value>,
        path: &str,
    ) -> Result<Option<&Object>, QmpError> {
        for member in &object.members {
            let path = full(path, &member.name);
            match given.get(&member.name) {
                Some(value) => self.value(&member.of, value, &path, &member.name)?,
                None if member.optional => {}
                None => return Err(QmpError::generic(format!("Parameter '{path}' is missing"))),
            }
        }
        let tag = object.tag.as_ref().and_then(|tag| given.get(tag)).and_then(Value::as_str);
        let case = object.cases.iter().find(|(case, _)| Some(case.as_str()) == tag);
        Ok(case.and_then(|(_, of)| self.0.object(&Type::Named(of.clone()))))
    }

    pub(super) fn value(&self, of: &Type, value: &Value, path: &str, name: &str) -> Result<(), QmpError> {
        match (of, value) {
            (Type::Any, _) | (Type::Str, Value::String(_)) | (Type::Bool, Value::Bool(_)) => Ok(()),
            (Type::Int, Value::Number(number)) if number.is_i64() => Ok(()),
            (Type::Str, _) => Err(expected(path, "string")),
            (Type::Bool, _) => Err(expected(path, "boolean")),
            (Type::Int, _) => Err(expected(path, "integer")),
            (Type::List(of), Value::Array(values)) => {
                let each = |(index, value)| self.value(of, value, &format!("{path}[{index}]"), name);
                values.iter().enumerate().try_for_each(each)
            }
            (Type::List(_), _) => Err(expected(path, "array")),
            (Type::Named(of), value) => self.named(of, value, path, name),
        }
    }

    fn named(&self, of: &str, value: &Value, path: &str, name: &str) -> Result<(), QmpError> {
        match (self.0.types.get(of), value) {
            (Some(Definition::Object(object)), Value::Object(given)) => self.object(object, given, path),
            (Some(Definition::Object(_)), _) => Err(expected(path, "object")),
            (Some(Definition::Enum(values)), Value::String(text)) if values.contains(text) => Ok(()),
            (Some(Definition::Enum(_)), Value::String(text)) => {
                Err(QmpError::generic(format!("Parameter '{name}' does not accept value '{text}'")))
            }
            (Some(Definition::Enum(_)), _) => Err(expected(path, "string")),
            (Some(Definition::Alternate(types)), value) => {
                let kind = types.iter().find(|kind| {
                    matches!(
                        (kind, value),
                        (Type::Str, Value::String(_)) | (Type::Named(_), Value::Object(_))
                    )
                });
                kind.map_or_else(|| Err(expected(path, of)), |kind| self.value(kind, value, path, name))
            }
            // Every name is in a table, which a test sees to.
            (None, _) => Ok(()),
        }
    }
}
