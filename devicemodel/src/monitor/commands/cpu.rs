//! Models of processors: which there are, and what each is made of.

use hypervisor_soft::CpuModel;
use hypervisor_soft::model::{DEFAULT, MODELS, SUPPORTED, features};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::protocol::{Command, QmpError};
use super::super::table::{CommandSpec, Table};
use super::arguments;

pub(super) static TABLE: Table = Table {
    types: "
object CpuDefinitionInfo name:str migration-safe:bool static:bool ?unavailable-features:[str] typename:str
  ?alias-of:str deprecated:bool
enum CpuModelExpansionType static full
object CpuModelInfo name:str ?props:any
object CpuModelExpansionInfo model:CpuModelInfo
",
    commands: &[
        CommandSpec::new("query-cpu-definitions", |_, _| Ok(definitions())).returns("[CpuDefinitionInfo]"),
        CommandSpec::new("query-cpu-model-expansion", |command, _| expansion(command))
            .takes("type:CpuModelExpansionType model:CpuModelInfo")
            .returns("CpuModelExpansionInfo"),
    ],
};

fn definitions() -> Value {
    let row = |name: &str, safe: bool, missing: Vec<&str>| {
        json!({
            "name": name,
            "typename": format!("{name}-x86_64-cpu"),
            "static": name == "base",
            "migration-safe": safe,
            "unavailable-features": missing,
            "deprecated": false,
        })
    };
    let mut list: Vec<Value> = MODELS
        .iter()
        .map(|model| {
            let missing = model.features.without(SUPPORTED).iter().map(|feature| feature.name()).collect();
            // What `max` is follows from the build.
            row(model.name, model.name != "max", missing)
        })
        .collect();
    list.push(row("host", false, Vec::new()));
    Value::Array(list)
}

#[derive(Deserialize)]
struct Expansion {
    r#type: Kind,
    model: Asked,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Static,
    Full,
}

#[derive(Deserialize)]
struct Asked {
    name: String,
    #[serde(default)]
    props: Map<String, Value>,
}

/// A value as `-cpu` has it.
fn word(key: &str, value: &Value) -> Result<String, QmpError> {
    let value = match value {
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Value::Number(n) => n.to_string(),
        Value::String(text) if !text.contains(',') => text.clone(),
        _ => return Err(QmpError::generic(format!("Invalid parameter type for '{key}'"))),
    };
    Ok(format!(",{key}={value}"))
}

/// The model with everything that is said of it, property by property. A static one is the model that has nothing, and
/// what makes this one of it, so that another build makes the same of it.
fn expansion(command: &Command) -> Result<Value, QmpError> {
    let Expansion { r#type, model: Asked { name, props } } = arguments(command)?;
    let mut text = name.clone();
    for (key, value) in &props {
        if key.contains([',', '=', '+']) || key.starts_with('-') {
            return Err(QmpError::generic(format!("the CPU has no property '{key}'")));
        }
        text.push_str(&word(key, value)?);
    }
    let name = if name.is_empty() { DEFAULT.to_owned() } else { name };
    let (model, _) = CpuModel::parse(&text).map_err(QmpError::generic)?;
    let (family, number, stepping) = model.family_model_stepping();
    let mut all: Map<String, Value> = features::NAMES
        .iter()
        .map(|(name, feature)| ((*name).to_owned(), model.features.has(*feature).into()))
        .collect();
    for (key, value) in [
        ("family", json!(family)),
        ("model", json!(number)),
        ("stepping", json!(stepping)),
        ("vendor", json!(model.vendor.text())),
        ("model-id", json!(model.brand)),
    ] {
        all.insert(key.into(), value);
    }
    let name = if r#type == Kind::Static { "base".to_owned() } else { name };
    Ok(json!({ "model": { "name": name, "props": all } }))
}
