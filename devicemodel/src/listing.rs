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
}
