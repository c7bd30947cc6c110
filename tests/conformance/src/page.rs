//! The verdict as a page: one file, for people.

use std::fmt::Write;

use crate::allowed::Allowed;
use crate::table::score;
use crate::verdict::{Difference, Failure, Line, Verdict};

const STYLE: &str = "\
:root{color-scheme:light dark;--back:#fff;--fore:#1c1e21;--faint:#667;--line:#d8dbe0;--good:#19703a;--bad:#b3261e;--head:#f3f4f6}
@media(prefers-color-scheme:dark){:root{--back:#15171a;--fore:#e4e6ea;--faint:#9aa0a8;--line:#33373d;--good:#6fcf8f;--bad:#ff8a80;--head:#1e2125}}
body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--back);color:var(--fore);font:16px/1.45 system-ui,sans-serif}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{background:var(--head)}
.n{text-align:right;font-variant-numeric:tabular-nums}
article{border-bottom:1px solid var(--line);padding:.6rem 0}
article p{margin:.2rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .8rem;margin:.2rem 0}
dt{color:var(--faint)}dd{margin:0}
code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}
.faint{color:var(--faint)}.good{color:var(--good)}.bad{color:var(--bad)}
";

/// Text as it stands in HTML.
fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            letter => safe.push(letter),
        }
    }
    safe
}

/// The page.
pub fn page(verdict: &Verdict) -> String {
    let mut html = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut html, verdict);
    html
}

fn write(html: &mut String, verdict: &Verdict) -> std::fmt::Result {
    let state = if verdict.is_good() {
        "<span class=\"good\">Everything is right or explained.</span>"
    } else {
        "<span class=\"bad\">Not everything is right.</span>"
    };
    write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Device conformance</title>\n<style>\n{STYLE}</style></head><body>\n\
         <h1>Device conformance</h1>\n<p>{state} A device's cases come from its datasheets and run on every machine; \
         what no document says is compared. <code>a+b</code>: a passed, b more are explained below.</p>\n"
    )?;
    table(html, verdict)?;
    section(html, "Failures", &verdict.failures, failure)?;
    let names = &verdict.models;
    section(html, "Differences", &verdict.differences, |html, item| difference(html, names, item))?;
    section(html, "Allowed, but nothing is so any more", &verdict.stale, allowed)?;
    section(html, "Allowed", &verdict.used, allowed)?;
    writeln!(html, "</body></html>")
}

fn section<T>(
    html: &mut String,
    title: &str,
    items: &[T],
    mut item: impl FnMut(&mut String, &T) -> std::fmt::Result,
) -> std::fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(html, "<h2>{title} ({})</h2>", items.len())?;
    items.iter().try_for_each(|one| item(html, one))
}

fn table(html: &mut String, verdict: &Verdict) -> std::fmt::Result {
    write!(html, "<div class=\"wide\"><table><thead><tr><th>Device</th><th class=\"n\">Cases</th>")?;
    for model in &verdict.models {
        write!(html, "<th class=\"n\">{}</th>", safe(model))?;
    }
    writeln!(html, "<th class=\"n\">Differences</th></tr></thead><tbody>")?;
    for Line { group, cases, scores, differences } in &verdict.lines {
        write!(
            html,
            "<tr><td><b>{}</b> <span class=\"faint\">{}</span></td>",
            group.device,
            safe(group.about)
        )?;
        write!(html, "<td class=\"n\">{cases}</td>")?;
        for of_model in scores {
            let class = if of_model.passed + of_model.explained == *cases { "good" } else { "bad" };
            write!(html, "<td class=\"n {class}\">{}</td>", score(*of_model))?;
        }
        writeln!(html, "<td class=\"n\">{differences}</td></tr>")?;
    }
    writeln!(html, "</tbody></table></div>")
}

fn reason(html: &mut String, reason: Option<&str>, counts: bool) -> std::fmt::Result {
    match reason {
        Some(reason) => writeln!(html, "<p>{}</p>", safe(reason)),
        None if counts => writeln!(html, "<p class=\"bad\">Not explained.</p>"),
        None => Ok(()),
    }
}

fn failure(html: &mut String, failure: &Failure) -> std::fmt::Result {
    let at = &failure.at;
    writeln!(
        html,
        "<article><p><b>{}</b> on {}: {}, <i>{}</i> <span class=\"faint\">{}</span></p>\n\
         <dl><dt>there</dt><dd><code>{}</code></dd><dt>wanted</dt><dd><code>{}</code></dd></dl>",
        at.device,
        safe(failure.model),
        safe(at.case),
        safe(&failure.what),
        safe(at.clause),
        safe(&failure.value),
        safe(&failure.wanted)
    )?;
    reason(html, failure.reason, true)?;
    writeln!(html, "</article>")
}

fn difference(html: &mut String, models: &[&str], difference: &Difference) -> std::fmt::Result {
    let at = &difference.at;
    write!(
        html,
        "<article><p><b>{}</b>: {}, <i>{}</i></p>\n<dl>",
        at.device,
        safe(at.case),
        safe(&difference.what)
    )?;
    for (model, value) in models.iter().zip(&difference.values) {
        let value = value.as_deref().unwrap_or("not looked at");
        write!(html, "<dt>{}</dt><dd><code>{}</code></dd>", safe(model), safe(value))?;
    }
    if let Some(wanted) = &difference.wanted {
        write!(html, "<dt>wanted</dt><dd><code>{}</code></dd>", safe(wanted))?;
    }
    writeln!(html, "</dl>")?;
    reason(html, difference.reason, difference.counts)?;
    writeln!(html, "</article>")
}

fn allowed(html: &mut String, entry: &Allowed) -> std::fmt::Result {
    writeln!(
        html,
        "<article><p><b>{}</b> ({:?}): {}, <i>{}</i></p><p>{}</p></article>",
        entry.device,
        entry.family,
        safe(entry.case),
        safe(entry.what),
        safe(entry.reason)
    )
}
