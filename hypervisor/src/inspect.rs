//! A tree of names and values that a person can read while the guest runs.

use std::fmt::{self, Display};

/// One node: its own values in order, then its children in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    values: Vec<(String, String)>,
    children: Vec<(String, Node)>,
}

impl Node {
    /// Adds a value.
    pub fn value(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.values.push((name.to_owned(), value.to_string()));
        self
    }
    /// Adds a value in hexadecimal.
    pub fn hex(&mut self, name: &str, value: impl Into<u64>) -> &mut Self {
        self.value(name, format_args!("{:#x}", value.into()))
    }
    /// The child of that name, made if it is not there.
    pub fn child(&mut self, name: &str) -> &mut Node {
        let at = match self.children.iter().position(|(n, _)| n == name) {
            Some(at) => at,
            None => {
                self.children.push((name.to_owned(), Node::default()));
                self.children.len() - 1
            }
        };
        &mut self.children[at].1
    }
    /// The node at a `/`-separated path; the empty path is this node.
    pub fn find(&self, path: &str) -> Option<&Node> {
        path.split('/')
            .filter(|part| !part.is_empty())
            .try_fold(self, |node, part| node.children.iter().find(|(n, _)| n == part).map(|(_, c)| c))
    }
    /// This node's values, in order.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
    /// This node's children, in order.
    pub fn children(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.children.iter().map(|(n, c)| (n.as_str(), c))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        for (name, value) in &self.values {
            writeln!(f, "{:indent$}{name}: {value}", "", indent = depth * 2)?;
        }
        for (name, child) in &self.children {
            writeln!(f, "{:indent$}{name}/", "", indent = depth * 2)?;
            child.write(f, depth + 1)?;
        }
        Ok(())
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}
