//! Models of processors.

use super::*;

#[test]
fn models_are_listed_with_what_they_lack() {
    let list = Bench::default().run("query-cpu-definitions", json!({})).unwrap();
    let model = |name: &str| list.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
    assert_eq!(model("Nehalem")["unavailable-features"], json!([]));
    assert_eq!(model("Nehalem")["typename"], "Nehalem-x86_64-cpu");
    assert_eq!(model("max")["migration-safe"], false);
    assert!(model("Haswell")["unavailable-features"].as_array().unwrap().contains(&json!("hle")));
}

#[test]
fn a_model_expands_to_its_properties_and_a_static_one_makes_the_same_again() {
    let mut bench = Bench::default();
    let mut expand = |kind: &str, model: Value| {
        bench.run("query-cpu-model-expansion", json!({ "type": kind, "model": model }))
    };
    let asked = json!({ "name": "Nehalem", "props": { "popcnt": false, "movbe": true, "stepping": 2 } });
    let full = expand("full", asked.clone()).unwrap()["model"].clone();
    assert_eq!(full["name"], "Nehalem");
    let props = &full["props"];
    assert_eq!(
        (&props["popcnt"], &props["movbe"], &props["sse4.2"], &props["hle"]),
        (&json!(false), &json!(true), &json!(true), &json!(false))
    );
    assert_eq!((&props["family"], &props["stepping"]), (&json!(6), &json!(2)));
    let fixed = expand("static", asked).unwrap()["model"].clone();
    assert_eq!((&fixed["name"], &fixed["props"]), (&json!("base"), props));
    assert_eq!(expand("full", fixed.clone()).unwrap()["model"]["props"], *props);
    for (model, expected) in [
        (json!({ "name": "Pentium9" }), "unable to find CPU model 'Pentium9'"),
        (json!({ "name": "max", "props": { "warp": true } }), "the CPU has no property 'warp'"),
        (json!({ "name": "max", "props": { "+pae": true } }), "the CPU has no property '+pae'"),
        (json!({ "name": "max", "props": { "pae": [] } }), "Invalid parameter type for 'pae'"),
    ] {
        assert_eq!(expand("full", model).unwrap_err().desc, expected);
    }
}
