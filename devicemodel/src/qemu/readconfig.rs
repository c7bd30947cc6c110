//! QEMU's configuration files (`-readconfig`): groups of options, each an option of the command line.
//!
//! ```text
//! # a comment
//! [drive "disk"]
//!   file = "/srv/disk.img"
//!   format = "raw"
//! ```
//!
//! says what `-drive id=disk,file=/srv/disk.img,format=raw` says.

use std::path::Path;

/// Bytes of a file; there is no end to what a wrong one may have.
const MOST: u64 = 1 << 20;

/// Groups that have another name than the option; all others have the same.
const NAMES: &[(&str, &str)] = &[("memory", "m"), ("boot-opts", "boot"), ("smp-opts", "smp")];

/// Options that are groups: what a file may have.
const GROUPS: &[&str] = &[
    "accel",
    "action",
    "chardev",
    "device",
    "drive",
    "global",
    "icount",
    "machine",
    "memory",
    "mon",
    "msg",
    "name",
    "net",
    "netdev",
    "nic",
    "boot-opts",
    "object",
    "overcommit",
    "rtc",
    "sandbox",
    "smp-opts",
    "vnc",
    // Known to QEMU, and refused by their names.
    "add-fd",
    "fsdev",
    "fw_cfg",
    "incoming",
    "iscsi",
    "numa",
    "option-rom",
    "semihosting-config",
    "spice",
    "tpmdev",
    "trace",
];

/// An option and its value, as on the command line.
pub(super) type Option = (String, String);

/// Reads a file.
pub(super) fn read(file: &str) -> Result<Vec<Option>, String> {
    let path = Path::new(file);
    let failed = |error: std::io::Error| format!("{file}: {error}");
    let meta = std::fs::metadata(path).map_err(failed)?;
    if !meta.is_file() || meta.len() > MOST {
        return Err(format!("{file}: it is no configuration file"));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{file}: it must be UTF-8"))?;
    parse(&text).map_err(|(line, why)| format!("{file}:{line}: {why}"))
}

/// A group that is being read.
struct Group {
    option: String,
    /// `key=value`, with commas doubled.
    fields: Vec<String>,
}

/// What a file says, or which line makes no sense and why.
fn parse(text: &str) -> Result<Vec<Option>, (usize, String)> {
    let mut groups: Vec<Group> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let bad = |why: String| (number, why);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(head) = line.strip_prefix('[') {
            let head = head.split_once(']').map(|(head, _)| head);
            groups.push(group(head.ok_or_else(|| bad("parse error".into()))?).map_err(bad)?);
            continue;
        }
        let field = line.split_once('=').and_then(|(key, value)| {
            let (value, _) = value.trim().strip_prefix('"')?.split_once('"')?;
            Some(field(key.trim(), value))
        });
        let field = field.ok_or_else(|| bad("parse error".into()))?;
        groups.last_mut().ok_or_else(|| bad("no group defined".into()))?.fields.push(field);
    }
    let said = groups.into_iter().filter(|group| !group.fields.is_empty());
    Ok(said.map(|Group { option, fields }| (option, fields.join(","))).collect())
}

/// `drive "disk"`.
fn group(head: &str) -> Result<Group, String> {
    let (name, id) = match head.split_once('"') {
        Some((name, id)) => (name.trim(), Some(id.strip_suffix('"').ok_or("parse error")?)),
        None => (head.trim(), None),
    };
    if !GROUPS.contains(&name) {
        return Err(format!("There is no option group '{name}'"));
    }
    let option = NAMES.iter().find(|(group, _)| *group == name).map_or(name, |(_, option)| option);
    Ok(Group { option: format!("-{option}"), fields: id.map(|id| field("id", id)).into_iter().collect() })
}

fn field(key: &str, value: &str) -> String {
    format!("{key}={}", value.replace(',', ",,"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let options = parse(text).unwrap();
        options.into_iter().map(|(option, value)| format!("{option} {value}")).collect()
    }

    #[test]
    fn groups_are_options() {
        let text = "# qemu config file\n\n[drive \"disk\"]\n  file = \"/srv/a,b.img\"\n  format = \"raw\"\n\
                    [device]\ndriver=\"e1000\"\n  bus = \"\"\n[memory]\r\n  size = \"1024\"\r\n[machine]\n";
        let options =
            ["-drive id=disk,file=/srv/a,,b.img,format=raw", "-device driver=e1000,bus=", "-m size=1024"];
        assert_eq!(said(text), options, "an empty group says nothing");
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_line() {
        for (text, line, why) in [
            ("a = \"b\"", 1, "no group defined"),
            ("\n[toaster]", 2, "There is no option group 'toaster'"),
            ("[drive", 1, "parse error"),
            ("[drive \"a]", 1, "parse error"),
            ("[drive]\nfile = /srv/disk", 2, "parse error"),
            ("[drive]\nfile", 2, "parse error"),
        ] {
            assert_eq!(parse(text), Err((line, why.to_owned())), "{text}");
        }
    }
}
