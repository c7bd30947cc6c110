//! What the test `record` recorded of two device models, compared: xenstore's access log, and the kernel's record of
//! dm_ops and of QMP. All that the stock device model does must be done by ours too, or be in a list with the reason
//! why not.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Deserializer, Value};

/// The file with the differences, beside what ours said.
const REPORT: &str = "differences.txt";

/// The beginnings of what ours may leave out, and why libxl and guests do not miss it.
const EXCUSED: &[(&str, &str)] = &[
    ("xenstore write device-model/N/backends/9pfs", "says that p9 shares are served; they are not"),
    ("xenstore write device-model/N/backends/qusb", "says that PV USB is served; it is not"),
    (
        "xenstore write device-model/N/backends/console",
        "says that PV consoles are served; xenconsoled does that",
    ),
    ("xenstore setperms device-model/N/backends/", "lets the guest look there; its frontends do not"),
    ("xenstore write backend/vkbd/N/0/feature-", "there is no PV keyboard; guests use the emulated one"),
    ("xenstore write backend/qdisk/N/5632/info 5", "ours says 7: removable as well, as Linux's blkback does"),
    ("qmp event ", "libxl passes over events"),
    ("qmp greeting QMP.capabilities[]", "libxl reads the version alone"),
];

/// dm_ops by their numbers (Xen's public/hvm/dm_op.h).
const OPS: [&str; 21] = [
    "0",
    "create_ioreq_server",
    "get_ioreq_server_info",
    "map_io_range_to_ioreq_server",
    "unmap_io_range_from_ioreq_server",
    "set_ioreq_server_state",
    "destroy_ioreq_server",
    "track_dirty_vram",
    "set_pci_intx_level",
    "set_isa_irq_level",
    "set_pci_link_route",
    "modified_memory",
    "set_mem_type",
    "inject_event",
    "inject_msi",
    "map_mem_type_to_ioreq_server",
    "remote_shutdown",
    "relocate_memory",
    "pin_memory_cacheattr",
    "set_irq_level",
    "nr_vcpus",
];

/// What was done, and how often.
type Facts = BTreeMap<String, usize>;

/// Compares the records in two folders of logs, writes the report into the second, and gives a sentence when
/// something is missing there that is not excused.
pub fn compare(stock: &Path, ours: &Path) -> Result<Option<String>> {
    let (of_stock, of_ours) = (facts(stock)?, facts(ours)?);
    for (facts, whose) in [(&of_stock, "stock"), (&of_ours, "ours")] {
        for sure in
            ["xenstore write device-model/N/state running", "dm_op create_ioreq_server", "qmp cont return"]
        {
            ensure!(facts.contains_key(sure), "nothing of `{sure}` was recorded of {whose}");
        }
    }
    let (report, missing) = differences(&of_stock, &of_ours);
    fs::write(ours.join(REPORT), report)?;
    Ok((!missing.is_empty())
        .then(|| format!("{} missing, see {REPORT}; the first: {}", missing.len(), missing[0])))
}

/// The report, and what is missing without an excuse.
fn differences(stock: &Facts, ours: &Facts) -> (String, Vec<String>) {
    let excuse = |fact: &str| EXCUSED.iter().find(|(begin, _)| fact.starts_with(begin)).map(|(_, why)| why);
    let (mut missing, mut excused) = (Vec::new(), Vec::new());
    for fact in stock.keys().filter(|fact| !ours.contains_key(*fact)) {
        match excuse(fact) {
            None => missing.push(fact.clone()),
            Some(why) => excused.push(format!("{fact}: {why}")),
        }
    }
    let more = ours.keys().filter(|fact| !stock.contains_key(*fact)).cloned().collect();
    let often = |(fact, count): (&String, &usize)| {
        let own = ours.get(fact).filter(|own| *own != count)?;
        Some(format!("{fact}: {count} and {own}"))
    };
    let counts = stock.iter().filter_map(often).collect();
    let chapters = [
        ("The stock device model does it, ours does not", missing.clone()),
        ("Ours does not, and need not", excused),
        ("Only ours does it", more),
        ("How often, where that differs (stock, ours)", counts),
    ];
    let mut text = String::new();
    for (title, lines) in chapters {
        text += &format!("{title}\n");
        lines.iter().for_each(|line| text += &format!("    {line}\n"));
    }
    (text, missing)
}

/// What one device model, and libxl around it, did.
fn facts(logs: &Path) -> Result<Facts> {
    let read = |name: &str| {
        let path = logs.join(name);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&text).into_owned())
    };
    let domains: Vec<String> = read("domains.log")?.split_whitespace().map(str::to_owned).collect();
    let (mut facts, mut asked) = (Facts::new(), BTreeMap::new());
    let mut count = |fact: String| *facts.entry(fact).or_default() += 1;
    read("xenstore.log")?.lines().filter_map(|line| access(line, &domains)).for_each(&mut count);
    for line in read("kernel.log")?.lines() {
        if line.contains(" dm_op: ") {
            dm_op(line, &domains).into_iter().for_each(&mut count);
        } else if line.contains(" said: ") {
            qmp(line, &mut asked).into_iter().for_each(&mut count);
        }
    }
    Ok(facts)
}

/// A change of xenstore, from a line `[TIME] CONNECTION OPERATION PATH VALUE`. Domains are called N in it, and what
/// differs from one start to the next is left out.
fn access(line: &str, domains: &[String]) -> Option<String> {
    let mut words = line.split_whitespace().skip(2);
    let (operation, path) = (words.next()?, words.next()?);
    let operation = match operation {
        "mkdir" => "write",
        other => other,
    };
    if !matches!(operation, "write" | "rm" | "setperms") || path.ends_with("/start_time") {
        return None;
    }
    let path = path.strip_prefix("/local/domain/0/").unwrap_or(path);
    let mut path: Vec<&str> = path.split('/').collect();
    for at in 0..path.len() {
        // A processor's number may be a domain's too.
        let processor = at > 0 && path[at - 1] == "cpu";
        if !processor && domains.iter().any(|id| id == path[at]) {
            path[at] = "N";
        }
    }
    let path = match path[..] {
        ["", "vm", _, ..] => ["/vm/UUID", &path[3..].join("/")].join("/"),
        _ => path.join("/"),
    };
    let mut fact = format!("xenstore {operation} {path}");
    if path.ends_with("/domid") || path.ends_with("/frontend-id") {
        return Some(fact);
    }
    for word in words {
        let perms = operation == "setperms" && domains.iter().any(|id| word.get(1..) == Some(id));
        fact += " ";
        fact += &if perms { format!("{}N", &word[..1]) } else { plain(word, domains) };
    }
    Some(fact)
}

/// A value without what differs from one start to the next: domains in paths, and numbers of many digits.
fn plain(word: &str, domains: &[String]) -> String {
    let part = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        match word.contains('/') && domains.iter().any(|id| id == part) {
            true => "N".to_owned(),
            false if digits > 2 => "...".to_owned(),
            false => part.to_owned(),
        }
    };
    word.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The value of `name=VALUE` in a line of the kernel's.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// A dm_op for one of the domains. libxl's own calls, which only try whether there are any, name others.
fn dm_op(line: &str, domains: &[String]) -> Option<String> {
    let domain = field(line, "domain")?;
    domains.iter().find(|id| *id == domain)?;
    let op: usize = field(line, "op")?.parse().ok()?;
    Some(format!("dm_op {}", OPS.get(op).copied().unwrap_or("unknown")))
}

/// What a line of QMP says of the device model: each member of a reply, behind the command that it answers.
/// `asked` keeps the commands by their ids.
fn qmp(line: &str, asked: &mut BTreeMap<u64, String>) -> Vec<String> {
    let Some(at) = line.find("=\"{") else { return Vec::new() };
    // Behind the message the kernel goes on with what else lies there.
    let Some(Ok(message)) = Deserializer::from_str(&line[at + 2..]).into_iter::<Value>().next() else {
        return Vec::new();
    };
    let id = message.get("id").and_then(Value::as_u64).unwrap_or_default();
    if let Some(command) = message.get("execute").and_then(Value::as_str) {
        asked.insert(id, command.to_owned());
        return Vec::new();
    }
    if let Some(event) = message.get("event").and_then(Value::as_str) {
        return vec![format!("qmp event {event}")];
    }
    let (subject, parts) = match message.get("QMP") {
        Some(_) => ("greeting".to_owned(), &["QMP"][..]),
        // `add-fd` is said in pieces because a descriptor goes with it.
        None => (asked.remove(&id).unwrap_or_else(|| "add-fd".to_owned()), &["return", "error"][..]),
    };
    let mut facts = Vec::new();
    for part in parts {
        if let Some(value) = message.get(part) {
            members(&format!("qmp {subject} {part}"), value, &mut facts);
        }
    }
    facts
}

/// The names of all members of a value, behind its own.
fn members(name: &str, value: &Value, into: &mut Vec<String>) {
    into.push(name.to_owned());
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| members(&format!("{name}.{key}"), value, into));
        }
        Value::Array(array) => array.iter().for_each(|value| members(&format!("{name}[]"), value, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Vec<String> {
        vec!["5".into(), "6".into()]
    }

    #[test]
    fn accesses_name_domains_n_and_leave_out_what_changes() {
        let access =
            |text: &str| access(&format!("[20261121T08:59:10.114Z]  A11          {text}"), &domains());
        let is = |text, fact: &str| assert_eq!(access(text).as_deref(), Some(fact));
        is("write     device-model/5/state running", "xenstore write device-model/N/state running");
        is(
            "write     /local/domain/0/backend/qdisk/6/768/state 6",
            "xenstore write backend/qdisk/N/768/state 6",
        );
        is(
            "write  /local/domain/5/cpu/5/availability offline",
            "xenstore write /local/domain/N/cpu/5/availability offline",
        );
        is("mkdir     device-model/5/backends/vkbd ", "xenstore write device-model/N/backends/vkbd");
        is("setperms  /local/domain/5/x n0 r5 ", "xenstore setperms /local/domain/N/x n0 rN");
        is(
            "write  /vm/8e91d8cf-16c3/image/pid 1234 /local/domain/5",
            "xenstore write /vm/UUID/image/pid ... /local/domain/N",
        );
        assert_eq!(access("read      /local/domain/5/x"), None);
    }

    #[test]
    fn dm_ops_are_those_of_the_domains() {
        let line = "ailurus-36 [000] ..... 156.06: dm_op: (privcmd_ioctl+0x0/0xbe0 [xen_privcmd]) command=1 \
                    domain=5 op=1 a=2 b=0";
        assert_eq!(dm_op(line, &domains()).as_deref(), Some("dm_op create_ioreq_server"));
        assert_eq!(dm_op(&line.replace("domain=5", "domain=32756"), &domains()), None);
    }

    #[test]
    fn replies_stand_behind_their_commands() {
        let mut asked = BTreeMap::new();
        let mut say = |text: &str| qmp(&format!("x said: size=9 one=(fault) first=\"{text}"), &mut asked);
        assert!(say("{\"execute\":\"query-vnc\",\"id\":7}").is_empty());
        assert_eq!(
            say("{\"return\": [{\"a\": 1}], \"id\": 7}\"garbage"),
            ["qmp query-vnc return", "qmp query-vnc return[]", "qmp query-vnc return[].a"]
        );
        assert_eq!(say("{\"return\": {}, \"id\": 8}"), ["qmp add-fd return"]);
        assert_eq!(say("{\"event\": \"STOP\"}"), ["qmp event STOP"]);
        assert!(say("{\"").is_empty());
    }

    #[test]
    fn what_is_missing_is_told_unless_it_is_excused() {
        let facts = |names: &[&str]| names.iter().map(|name| (name.to_string(), 1)).collect::<Facts>();
        let stock = facts(&["dm_op set_mem_type", "qmp event STOP", "dm_op nr_vcpus"]);
        let (report, missing) = differences(&stock, &facts(&["dm_op nr_vcpus", "dm_op inject_msi"]));
        assert_eq!(missing, ["dm_op set_mem_type"]);
        assert!(report.contains("    qmp event STOP: libxl passes over events\n"), "{report}");
        assert!(report.contains("Only ours does it\n    dm_op inject_msi\n"), "{report}");
    }
}
