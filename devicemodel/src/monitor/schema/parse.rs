//! Reads what tables say.

use super::{Definition, Member, NOTHING, Object, Schema, Type};

/// Reads definitions of types. Lines that mean nothing are kept apart.
pub(super) fn types(schema: &mut Schema, text: &str) {
    for line in logical_lines(text) {
        match definition(&line) {
            Some((name, definition)) => schema.define(name, definition),
            None => schema.nonsense.push(line),
        }
    }
}

/// Lines, each with those that go on from it.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

fn definition(line: &str) -> Option<(String, Definition)> {
    let mut words = line.split_whitespace();
    let (kind, name) = (words.next()?, words.next()?.to_owned());
    let words: Vec<&str> = words.collect();
    let definition = match kind {
        "enum" => Definition::Enum(words.iter().map(|&word| word.to_owned()).collect()),
        "object" => Definition::Object(object(&words)?),
        "union" => Definition::Object(union(&words)?),
        "alternate" => Definition::Alternate(words.iter().map(|word| named(word)).collect()),
        _ => return None,
    };
    Some((name, definition))
}

/// The type of what a command or event takes; members get a type of their own.
pub(super) fn arguments(schema: &mut Schema, name: &str, text: &str) -> Option<Type> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [] => Some(Type::Named(NOTHING.into())),
        ["=", of] => Some(named(of)),
        members => {
            let of = format!("{name}-arguments");
            schema.define(of.clone(), Definition::Object(object(members)?));
            Some(Type::Named(of))
        }
    }
}

pub(super) fn named(word: &str) -> Type {
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
        let (of, feature) = of.split_once('!').map_or((of, None), |(of, feature)| (of, Some(feature.into())));
        let name = required.unwrap_or(name).into();
        Some(Member { name, of: named(of), optional: required.is_some(), feature })
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
