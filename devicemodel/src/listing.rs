//! Device models as people read them.

use devices::models;
use devices_core::model::{Category, Model, Plug};

/// A table of the models that a guest can have; of the PC's own parts too, if `all`.
pub fn table(all: bool) -> String {
    let mut rows: Vec<&Model> = models::all().collect();
    rows.retain(|model| all || model.plug != Plug::Fixed);
    rows.sort_by_key(|model| (model.category, model.name));
    let width = rows.iter().map(|model| model.name.len()).max().unwrap_or(0).max("model".len());
    let mut text = format!("{:<width$}  {:<6}  {:<8}  {}\n", "model", "bus", "added", "what it is");
    for model in rows {
        let added = match model.plug {
            Plug::Fixed => "always",
            Plug::Cold => "at start",
            Plug::Hot => "any time",
        };
        let (name, bus, desc) = (model.name, model.bus.name(), model.desc);
        let aliases: String = model.aliases.iter().map(|alias| format!(", also called {alias}")).collect();
        text.push_str(&format!("{name:<width$}  {bus:<6}  {added:<8}  {desc}{aliases}\n"));
    }
    text
}

/// The same under the headings that `-device help` has.
pub fn under_headings() -> String {
    let mut text = String::new();
    for category in Category::ALL {
        let mut of_it: Vec<&Model> = models::all().collect();
        of_it.retain(|model| model.category == category && model.plug != Plug::Fixed);
        if of_it.is_empty() {
            continue;
        }
        of_it.sort_by_key(|model| model.name);
        let gap = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{gap}{} devices:\n", category.heading()));
        of_it.iter().for_each(|model| text.push_str(&format!("{}\n", model.line())));
    }
    text
}

/// The models of processors, and what can be added to them and taken from them, as `-cpu help` has it.
pub fn cpus() -> String {
    use hypervisor_soft::model::{DEFAULT, MODELS, SUPPORTED, features};
    let mut text = String::from("Available CPUs:\n");
    for row in MODELS {
        let usual = if row.name == DEFAULT { " (default)" } else { "" };
        text.push_str(&format!("  {:<26}  {}{usual}\n", row.name, row.brand));
    }
    text.push_str("  host                        what the host's processor has of what can be had here\n");
    text.push_str("\nRecognized CPUID flags, those in brackets not built:\n");
    let mut line = String::from(" ");
    for (name, feature) in features::NAMES {
        let word = if SUPPORTED.has(*feature) { format!(" {name}") } else { format!(" [{name}]") };
        if line.len() + word.len() > 78 {
            text.push_str(&format!("{line}\n"));
            line = String::from(" ");
        }
        line.push_str(&word);
    }
    text.push_str(&format!("{line}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_its_line() {
        let (own, all) = (table(false), table(true));
        assert_eq!(all.lines().count(), models::all().count() + 1);
        let line = |table: &str, name: &str| table.lines().any(|line| line.starts_with(&format!("{name} ")));
        assert!(line(&own, "VGA") && !line(&own, "PIIX3") && line(&all, "PIIX3"));
        let listed = under_headings();
        assert!(listed.contains("Display devices:\nname \"VGA\", bus PCI, desc \"standard VGA\"\n"));
        assert!(!listed.contains("PIIX3"));
    }

    #[test]
    fn every_cpu_model_and_feature_is_listed() {
        let text = cpus();
        for name in ["soft64", "Nehalem", "Haswell", "max", "host"] {
            assert!(text.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}");
        }
        assert!(text.contains(" sse4.2 ") && text.contains(" [svm] "), "{text}");
    }
}
