//! The link between the device model and the process of its PV disks, which a guest may have taken over; and what
//! that process hears.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use devicemodel::qdisk::{Apart, Ask, Link, Question};
use devices_core::Node;

use super::outcome;

/// What a socket takes at once.
const MOST: usize = 48 << 10;

fn counted(node: &Node, depth: usize) -> usize {
    assert!(depth < 200, "a tree as deep as the stack");
    node.values().count() + node.children().map(|(_, child)| 1 + counted(child, depth + 1)).sum::<usize>()
}

/// The first byte: whether these are answers or questions. The rest: all that ever comes.
pub fn run(bytes: &[u8]) -> u64 {
    let Some((&first, lines)) = bytes.split_first() else { return 0 };
    let (ours, mut theirs) = UnixStream::pair().expect("the host has sockets");
    theirs.write_all(&lines[..lines.len().min(MOST)]).expect("the socket takes it");
    theirs.shutdown(Shutdown::Write).expect("it is connected");
    let mut told = String::new();
    let mut kinds = 0;
    if first & 1 == 0 {
        let apart = Apart::over(ours);
        for (at, ask) in
            [Ask::Settle, Ask::Inspect, Ask::Lend, Ask::Take, Ask::Inspect].into_iter().enumerate()
        {
            apart.tell(if at & 1 == 0 { Ask::Pause } else { Ask::Resume });
            match apart.ask(ask) {
                Ok(tree) => {
                    let node = Node::from(tree);
                    assert!(counted(&node, 0) <= MOST, "more came out than went in");
                    kinds |= 1 << at;
                }
                Err(error) => told.extend(error.to_string().chars().take(40)),
            }
        }
    } else {
        let mut link = Link::new(ours);
        loop {
            match link.receive::<Question>(None) {
                Ok(Some(question)) => kinds |= 1 << (question.ask as u32),
                Ok(None) => break,
                Err(error) => {
                    told += &error.to_string();
                    break;
                }
            }
        }
    }
    outcome((first & 1, kinds), &told)
}

pub fn seeds() -> Vec<Vec<u8>> {
    let answer = |id: u32, tree: &str| format!("{{\"id\":{id},\"result\":{{\"Ok\":{tree}}}}}\n");
    let none = r#"{"values":[],"children":[]}"#;
    let tree = r#"{"values":[["a","1"],["b\n","\u001b[2J"]],"children":[["c",{"values":[],"children":[]}]]}"#;
    let deep = r#"{"values":[],"children":[["x","#.repeat(40) + none + &"]]}".repeat(40);
    let all = |tree: &str| (1..6).map(|id| answer(id, tree)).collect::<String>();
    let refused: String =
        (1..6).map(|id| format!("{{\"id\":{id},\"result\":{{\"Err\":\"no\"}}}}\n")).collect();
    let asks = ["Pause", "Resume", "Settle", "Lend", "Take", "Inspect"];
    let questions: String =
        (1..).zip(asks).map(|(id, ask)| format!("{{\"id\":{id},\"ask\":\"{ask}\"}}\n")).collect();
    let late = answer(0, none).repeat(50) + &all(tree);
    let seed = |first: u8, lines: &str| [&[first][..], lines.as_bytes()].concat();
    vec![
        seed(0, &all(none)),
        seed(0, &all(tree)),
        seed(0, &all(&deep)),
        seed(0, &refused),
        seed(0, &late),
        seed(0, &answer(9, none)),
        seed(0, "{}\n"),
        seed(1, &questions),
        seed(1, "{\"id\":-1,\"ask\":\"Settle\"}\n[]\n"),
    ]
}
