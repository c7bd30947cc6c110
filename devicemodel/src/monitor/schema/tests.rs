use std::collections::BTreeSet;

use super::super::commands::schema;
use super::*;

#[test]
fn the_tables_mean_something_and_name_only_what_is_in_them() {
    let schema = schema();
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
fn what_means_nothing_is_found() {
    let types = "object A a:str\nobject A b:str\nunion U t a:str |\nunion V t t:A | x\nfrob\nobject B c\n";
    let mut schema = Schema::new(&[types]);
    assert_eq!(schema.nonsense.len(), 5);
    schema.add_command(Entry { name: "c", takes: "a", gives: None, features: &[] });
    assert_eq!((schema.nonsense.len(), schema.commands().count()), (6, 0));
}

#[test]
fn answers_and_events_are_checked_too() {
    let schema = schema();
    assert_eq!(schema.check_answer("query-name", &json!({ "name": "a" })), Ok(()));
    assert!(schema.check_answer("query-name", &json!({ "name": 1 })).is_err());
    assert!(schema.check_answer("stop", &json!({ "name": 1 })).is_err());
    assert_eq!(schema.check_event("STOP", &Value::Null), Ok(()));
    assert!(schema.check_event("STOP", &json!({ "a": 1 })).is_err());
    assert!(schema.check_event("RESET", &Value::Null).is_err());
    assert!(schema.check_event("DANCE", &Value::Null).is_err());
}

#[test]
fn the_introspection_data_is_whole() {
    let all = schema().introspect();
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
    assert!(names.contains("DEVICE_TRAY_MOVED"));
    let find = |name: &str| entries.iter().find(|entry| entry["name"] == name).unwrap();
    assert_eq!(find("query-cpus")["features"], json!(["deprecated"]));
    assert_eq!(find("eject-arguments")["members"][0]["features"], json!(["deprecated"]));
    assert_eq!(find("eject-arguments")["members"][1].get("features"), None);
    assert!(find("RunState")["values"].as_array().unwrap().contains(&json!("prelaunch")));
}
