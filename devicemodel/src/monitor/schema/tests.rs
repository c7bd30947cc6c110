use std::collections::BTreeSet;

use super::*;

#[test]
fn the_table_means_something_and_names_only_what_is_in_it() {
    let schema = Schema::get();
    assert_eq!(schema.nonsense, Vec::<String>::new());
    let known = |of: &Type| {
        let mut of = of;
        while let Type::List(element) = of {
            of = element;
        }
        !matches!(of, Type::Named(name) if !schema.types.contains_key(name))
    };
    for (name, definition) in &schema.types {
        match definition {
            Definition::Enum(values) => assert!(!values.is_empty(), "{name}"),
            Definition::Alternate(types) => assert!(types.iter().all(known), "{name}"),
            Definition::Object(object) => {
                assert!(object.members.iter().all(|member| known(&member.of)), "{name}: {object:?}");
                for (case, of) in &object.cases {
                    assert!(schema.object(&Type::Named(of.clone())).is_some(), "{name} {case}");
                }
            }
        }
    }
    for (name, signature) in schema.commands.iter().chain(&schema.events) {
        assert!(schema.object(&signature.arguments).is_some(), "{name}");
        assert!(signature.result.as_ref().is_none_or(known), "{name}");
    }
    let names: BTreeSet<&str> = schema.commands().collect();
    assert_eq!(names.len(), schema.commands().count(), "a command is there twice");
}

#[test]
fn a_line_that_means_nothing_is_found() {
    let text = "object A a:str\nobject A b:str\nunion U t a:str |\nunion V t t:A | x\nfrob\nobject B c\n";
    assert_eq!(parse::parse(text).nonsense.len(), 5);
}

#[test]
fn the_introspection_data_is_whole() {
    let all = Schema::get().introspect();
    let entries = all.as_array().unwrap();
    let names: BTreeSet<&str> = entries.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), entries.len(), "a name is there twice");
    let mut refers = Vec::new();
    for entry in entries {
        let mut refer = |value: &Value| refers.push(value.as_str().unwrap().to_owned());
        match entry["meta-type"].as_str().unwrap() {
            "command" => {
                refer(&entry["arg-type"]);
                refer(&entry["ret-type"]);
            }
            "event" => refer(&entry["arg-type"]),
            "array" => refer(&entry["element-type"]),
            "object" => {
                entry["members"].as_array().unwrap().iter().for_each(|member| refer(&member["type"]));
                let variants = entry.get("variants").and_then(Value::as_array);
                variants.into_iter().flatten().for_each(|variant| refer(&variant["type"]));
            }
            "alternate" => entry["members"].as_array().unwrap().iter().for_each(|m| refer(&m["type"])),
            "enum" => assert_eq!(
                entry["members"].as_array().unwrap().len(),
                entry["values"].as_array().unwrap().len()
            ),
            "builtin" => assert!(entry["json-type"].is_string()),
            other => panic!("{other}"),
        }
    }
    for name in refers {
        assert!(names.contains(name.as_str()), "{name}");
    }
    assert!(Schema::get().has_event("DEVICE_TRAY_MOVED"));
}
