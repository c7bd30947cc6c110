//! Reads the table.

use super::{Definition, Member, NOTHING, Object, Schema, Signature, Type};

/// Reads a table. Lines that mean nothing are kept apart.
pub(super) fn parse(text: &str) -> Schema {
    let mut schema = Schema::default();
    schema.types.insert(NOTHING.into(), Definition::Object(Object::default()));
    for line in logical_lines(text) {
        if take(&mut schema, &line).is_none() {
            schema.nonsense.push(line);
        }
    }
    schema
}

/// Lines without comments, each with those that go on from it.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

fn take(schema: &mut Schema, line: &str) -> Option<()> {
    let mut words = line.split_whitespace();
    let (kind, name) = (words.next()?, words.next()?.to_owned());
    let words: Vec<&str> = words.collect();
    let definition = match kind {
        "enum" => Definition::Enum(words.iter().map(|&word| word.to_owned()).collect()),
        "object" => Definition::Object(object(&words)?),
        "union" => Definition::Object(union(&words)?),
        "alternate" => Definition::Alternate(words.iter().map(|word| named(word)).collect()),
        "command" => {
            let (arguments, result) = match words.as_slice() {
                [before @ .., "->", result] => (before, Some(named(result))),
                all => (all, None),
            };
            let arguments = arguments_of(schema, &name, arguments)?;
            schema.commands.push((name, Signature { arguments, result }));
            return Some(());
        }
        "event" => {
            let arguments = arguments_of(schema, &name, &words)?;
            schema.events.push((name, Signature { arguments, result: None }));
            return Some(());
        }
        _ => return None,
    };
    schema.types.insert(name, definition).is_none().then_some(())
}

/// The type of what a command or event takes; members get a type of their own.
fn arguments_of(schema: &mut Schema, name: &str, words: &[&str]) -> Option<Type> {
    match words {
        [] => Some(Type::Named(NOTHING.into())),
        ["=", of] => Some(named(of)),
        members => {
            let of = format!("{name}-arguments");
            schema.types.insert(of.clone(), Definition::Object(object(members)?));
            Some(Type::Named(of))
        }
    }
}

fn named(word: &str) -> Type {
    match word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(of) => Type::List(Box::new(named(of))),
        None => match word {
            "str" => Type::Str,
            "int" => Type::Int,
            "bool" => Type::Bool,
            "any" => Type::Any,
            name => Type::Named(name.into()),
        },
    }
}

fn object(words: &[&str]) -> Option<Object> {
    let (words, open) = match words {
        [members @ .., "..."] => (members, true),
        members => (members, false),
    };
    let member = |word: &&str| {
        let (name, of) = word.split_once(':')?;
        let required = name.strip_prefix('?');
        Some(Member { name: required.unwrap_or(name).into(), of: named(of), optional: required.is_some() })
    };
    let members = words.iter().map(member).collect::<Option<_>>()?;
    Some(Object { members, open, ..Object::default() })
}

fn union(words: &[&str]) -> Option<Object> {
    let [tag, rest @ ..] = words else { return None };
    let bar = rest.iter().position(|&word| word == "|")?;
    let (members, cases) = (rest.get(..bar)?, rest.get(bar + 1..)?);
    let case = |word: &&str| word.split_once('=').map(|(case, of)| (case.to_owned(), of.to_owned()));
    let cases = cases.iter().map(case).collect::<Option<_>>()?;
    let object = object(members)?;
    object.members.iter().any(|member| member.name == *tag).then_some(())?;
    Some(Object { tag: Some((*tag).into()), cases, ..object })
}
