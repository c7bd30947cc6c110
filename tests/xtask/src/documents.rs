//! The documents name files, types and functions of this workspace. What they name must be there.
//!
//! Three rules for every Markdown file of the repository:
//! - a relative link leads to a file, and one with `#` to a heading of it;
//! - a link whose text is code, such as [`Slot::take`](ioreq/src/page.rs), leads to a file in which each of the text's
//!   words occurs;
//! - code that looks like a path from the workspace's root is one. `build/` is made by tasks and not looked at; capitals,
//!   as in `tests/fuzz/corpus/TARGET/`, stand for any name.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders of the root that code in a document may name.
const FOLDERS: [&str; 8] =
    ["ioreq/", "hypervisor/", "devices/", "firmware/", "devicemodel/", "tests/", "docs/", ".ci/"];
/// Folders in which nothing of ours lies.
const APART: [&str; 3] = ["build", "target", ".git"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

/// Every Markdown file under `folder`.
fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace can be read") {
        let path = entry.expect("so can its entries").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !path.is_symlink() && !APART.contains(&&*name) {
            documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The text without blocks of code, each line as it is.
fn prose(text: &str) -> String {
    let mut inside = false;
    let mut prose = String::new();
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        if !inside && !fence {
            prose.push_str(line);
        }
        prose.push('\n');
    }
    prose
}

/// What stands between backquotes.
fn code(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// Links as (text, target).
fn links(prose: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = prose;
    while let Some(at) = rest.find("](") {
        let text = rest[..at].rfind('[').map_or("", |begin| &rest[begin + 1..at]);
        rest = &rest[at + 2..];
        if let Some(end) = rest.find(')') {
            found.push((text, &rest[..end]));
        }
    }
    found
}

/// GitHub's name of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_heading(document: &str, name: &str) -> bool {
    let headings = document.lines().filter_map(|line| Some(line.strip_prefix('#')?.trim_start_matches('#')));
    headings.into_iter().any(|heading| anchor(heading) == name)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Whether something is there by that path. Parts in capitals stand for any name: what is before them is looked at.
fn is_there(root: &Path, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let stem = |part: &str| part.split('.').next().unwrap_or_default().to_owned();
    let capitals = |stem: String| stem.len() > 1 && stem.chars().all(|c| c.is_ascii_uppercase());
    let stands_for_any = |part: &str| part.contains('*') || capitals(stem(part));
    let parts = path.split('/').take_while(|part| !stands_for_any(part) || root.join(path).exists());
    root.join(parts.collect::<PathBuf>()).exists()
}

/// What is wrong with one document.
fn faults(root: &Path, document: &Path) -> Vec<String> {
    let text = fs::read_to_string(document).expect("a document is text");
    let prose = prose(&text);
    let mut faults = Vec::new();
    for (words_of, target) in links(&prose) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let path = if file.is_empty() {
            document.to_owned()
        } else {
            document.parent().expect("a document lies in a folder").join(file)
        };
        let Ok(path) = path.canonicalize() else {
            faults.push(format!("the link to {target} leads nowhere"));
            continue;
        };
        if !path.starts_with(root) {
            faults.push(format!("the link to {target} leaves the repository"));
            continue;
        }
        if path.is_dir() {
            continue;
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        if !heading.is_empty() && !has_heading(&there, heading) {
            faults.push(format!("the link to {target}: there is no such heading"));
        }
        if path.extension().is_some_and(|extension| extension != "md" && extension != "svg") {
            let named = code(words_of).flat_map(words);
            // A file's own name need not occur in it.
            let own = path.strip_prefix(root).expect("it is under the root").to_string_lossy().into_owned();
            for word in named.filter(|word| !words(&own).any(|part| part == *word)) {
                if !words(&there).any(|other| other == word) {
                    faults.push(format!("`{word}` does not occur in {target}"));
                }
            }
        }
    }
    for path in code(&prose).filter(|code| FOLDERS.iter().any(|folder| code.starts_with(folder))) {
        let path = path.split_whitespace().next().unwrap_or_default();
        if !is_there(root, path) {
            faults.push(format!("`{path}` is not there"));
        }
    }
    faults
}

#[test]
fn what_documents_name_is_there() {
    let root = root();
    let mut all = Vec::new();
    documents(&root, &mut all);
    assert!(all.iter().any(|path| path.ends_with("README.md")) && all.len() >= 8, "documents: {all:?}");
    let of = |path: &PathBuf| {
        let name = path.strip_prefix(&root).unwrap_or(path).display().to_string();
        faults(&root, path).into_iter().map(move |fault| format!("{name}: {fault}"))
    };
    let wrong: Vec<String> = all.iter().flat_map(of).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_there_is_found() {
    let folder = std::env::temp_dir().join(format!("documents-{}", std::process::id()));
    fs::create_dir_all(folder.join("ioreq")).unwrap();
    let folder = folder.canonicalize().unwrap();
    fs::write(folder.join("ioreq/a.rs"), "impl A { pub fn take() {} }\n").unwrap();
    let document = folder.join("d.md");
    let text = "# One thing, twice\n[`A::take`](ioreq/a.rs) [`A::give`](ioreq/a.rs) [x](gone.md) [y](#one-thing-twice) [z](#two)\n\
                `ioreq/a.rs` `ioreq/b.rs` `ioreq/NAME.rs` [out](../..)\n```\n`ioreq/c.rs`\n```\n";
    fs::write(&document, text).unwrap();
    let found = faults(&folder, &document);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(
        found,
        [
            "`give` does not occur in ioreq/a.rs",
            "the link to gone.md leads nowhere",
            "the link to #two: there is no such heading",
            "the link to ../.. leaves the repository",
            "`ioreq/b.rs` is not there",
        ]
    );
}
