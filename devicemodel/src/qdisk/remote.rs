//! PV disks that another process serves: this program again (`helper`), started before the
//! device model gives up its rights.
//!
//! They talk over a pair of sockets, a line of JSON each way. The helper ends when its end is closed, however
//! that comes about. What it says is bounded in time and length: a guest may have taken it over.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use devices_core::Node;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::{Deserialize, Serialize};

use super::{GLANCE, LAST_PATIENCE, PATIENCE, QdiskError, opener};
use crate::sandbox;

/// The helper's subcommand.
pub(crate) const SUBCOMMAND: &str = "pv-disks";
/// How long the helper may take to start, or to take a few bytes.
const START: Duration = Duration::from_secs(10);
/// What an answer may take beyond what the helper itself waits for.
const MARGIN: Duration = Duration::from_millis(500);
/// Longest line.
const LINE: usize = 1 << 20;

/// What the helper is asked to do. The first two are not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Take no more requests.
    Pause,
    /// Take requests again.
    Resume,
    /// Answer when nothing is in flight.
    Settle,
    /// Let other processes have the images.
    Lend,
    /// Take them back.
    Take,
    /// Tell about the disks.
    Inspect,
}

impl Ask {
    pub(super) fn is_answered(self) -> bool {
        !matches!(self, Ask::Pause | Ask::Resume)
    }

    /// How long the helper itself waits before it answers, at most.
    fn patience(self) -> Duration {
        match self {
            Ask::Inspect => GLANCE,
            _ => PATIENCE,
        }
    }
}

/// A line to the helper.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// Its number, which the answer repeats.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
}

/// A line from it. Number 0 is that of its start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) result: Result<Tree, String>,
}

/// What it tells of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tree {
    values: Vec<(String, String)>,
    children: Vec<(String, Tree)>,
}

impl From<&Node> for Tree {
    fn from(node: &Node) -> Tree {
        Tree {
            values: node.values().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            children: node.children().map(|(name, child)| (name.to_owned(), child.into())).collect(),
        }
    }
}

impl From<Tree> for Node {
    fn from(tree: Tree) -> Node {
        let mut node = Node::default();
        for (name, value) in tree.values {
            node.value(&name, value);
        }
        for (name, child) in tree.children {
            *node.child(&name) = child.into();
        }
        node
    }
}

/// Lines of JSON over a socket.
pub struct Link {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Link {
    /// Over a connected stream.
    pub fn new(stream: UnixStream) -> Link {
        Link { stream, received: Vec::new() }
    }

    pub(super) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        self.send_within(message, START)
    }

    /// Gives up when the other end takes nothing for that long.
    fn send_within(&mut self, message: &impl Serialize, patience: Duration) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.stream.set_write_timeout(Some(patience))?;
        self.stream.write_all(&line)
    }

    /// The next message, within that time if there is one. None: the other end is closed.
    pub fn receive<T: for<'a> Deserialize<'a>>(&mut self, end: Option<Instant>) -> io::Result<Option<T>> {
        loop {
            if let Some(at) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=at).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.received.len() > LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without an end"));
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(left)?;
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(got) => self.received.extend_from_slice(bytes.get(..got).unwrap_or_default()),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// This program again, as a process of that kind.
fn ours_as(subcommand: &str, domid: u16) -> Command {
    // Whoever replaces the program's file meanwhile does not change what is started.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ailurus").args([subcommand, &domid.to_string()]);
    command
}

fn spawn(command: &mut Command) -> Result<(), QdiskError> {
    let spawned = command.spawn();
    spawned.map(drop).map_err(|error| QdiskError(format!("their process does not start: {error}")))
}

/// The device model's end of a helper. The helper ends when this is dropped.
pub struct Apart {
    link: Mutex<(Link, u64)>,
}

impl Apart {
    /// Starts a helper and waits until it serves and has given up what it does not need.
    pub(super) fn start(domid: u16, rights: &sandbox::Options) -> Result<Apart, QdiskError> {
        let (ours, theirs) = UnixStream::pair().map_err(QdiskError::new)?;
        let (asking, opening) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(QdiskError::new)?;
        spawn(ours_as(opener::SUBCOMMAND, domid).stdin(opening).stdout(Stdio::null()))?;
        let mut disks = ours_as(SUBCOMMAND, domid);
        if let Some(folder) = &rights.chroot {
            disks.arg("--chroot").arg(folder);
        }
        if let Some(user) = &rights.user {
            disks.arg("--runas").arg(user.to_string());
        }
        spawn(disks.stdin(OwnedFd::from(theirs)).stdout(asking))?;
        // What was given to them is closed here, so that each sees the other's end.
        drop(disks);
        let apart = Apart::over(ours);
        apart.answer(&mut apart.link(), 0, Instant::now() + START)?;
        Ok(apart)
    }

    /// One that serves already, at the other end of a stream.
    pub fn over(stream: UnixStream) -> Apart {
        Apart { link: Mutex::new((Link::new(stream), 0)) }
    }

    fn link(&self) -> MutexGuard<'_, (Link, u64)> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something that is not answered.
    pub fn tell(&self, ask: Ask) {
        let mut link = self.link();
        let id = link.1;
        if let Err(error) = link.0.send(&Question { id, ask }) {
            tracing::error!("PV disks: their process hears nothing: {error}");
        }
    }

    /// Asks and waits for the answer. Who only looks does not wait until others have been answered.
    pub fn ask(&self, ask: Ask) -> Result<Tree, QdiskError> {
        let mut link = match ask {
            Ask::Inspect => self.free_link()?,
            _ => self.link(),
        };
        link.1 += 1;
        let id = link.1;
        let patience = ask.patience() + MARGIN;
        let end = Instant::now() + patience;
        let sent = link.0.send_within(&Question { id, ask }, patience);
        sent.map_err(|error| QdiskError(format!("their process hears nothing: {error}")))?;
        self.answer(&mut link, id, end)
    }

    fn free_link(&self) -> Result<MutexGuard<'_, (Link, u64)>, QdiskError> {
        match self.link.try_lock() {
            Ok(link) => Ok(link),
            Err(TryLockError::Poisoned(link)) => Ok(link.into_inner()),
            Err(TryLockError::WouldBlock) => Err(QdiskError::new("their process is asked something else")),
        }
    }

    /// Waits for that answer; older ones come too late for whoever asked.
    fn answer(&self, link: &mut (Link, u64), id: u64, end: Instant) -> Result<Tree, QdiskError> {
        loop {
            match link.0.receive::<Answer>(Some(end)) {
                Ok(Some(answer)) if answer.id < id => {}
                Ok(Some(answer)) if answer.id == id => return answer.result.map_err(QdiskError),
                Ok(Some(_)) => return Err(QdiskError::new("their process answers what nobody asked")),
                Ok(None) => return Err(QdiskError::new("their process has ended")),
                Err(error) => return Err(QdiskError(format!("their process: {error}"))),
            }
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let mut link = self.link();
        // It fails when the other end is closed already.
        let _ = link.0.stream.shutdown(std::net::Shutdown::Write);
        let end = Instant::now() + LAST_PATIENCE + MARGIN;
        loop {
            match link.0.receive::<Answer>(Some(end)) {
                // Late answers.
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => {
                    tracing::error!("PV disks: their process does not end: {error}");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A helper that says these lines, whatever it is asked.
    fn helper(lines: &[&str]) -> (Apart, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        for line in lines {
            theirs.write_all(line.as_bytes()).unwrap();
        }
        (Apart::over(ours), theirs)
    }

    fn asked(lines: &[&str]) -> String {
        let (apart, theirs) = helper(lines);
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        apart.ask(Ask::Settle).err().map_or("done".to_owned(), |error| error.to_string())
    }

    #[test]
    fn answers_that_are_too_late_are_passed_over() {
        let done = r#"{"id":1,"result":{"Ok":{"values":[],"children":[]}}}"#;
        let late = r#"{"id":0,"result":{"Err":"nobody waits for this"}}"#;
        assert_eq!(asked(&[late, "\n", done, "\n"]), "done");
        let refused = r#"{"id":1,"result":{"Err":"no"}}"#;
        assert_eq!(asked(&[late, "\n", refused, "\n"]), "PV disks: no");
    }

    #[test]
    fn a_helper_that_lies_is_not_believed() {
        assert_eq!(asked(&[]), "PV disks: their process has ended");
        assert!(asked(&["{}\n"]).starts_with("PV disks: their process: "));
        let other = r#"{"id":2,"result":{"Ok":{"values":[],"children":[]}}}"#;
        assert_eq!(asked(&[other, "\n"]), "PV disks: their process answers what nobody asked");
        // Deep, to exhaust the stack.
        let deep = r#"{"id":1,"result":{"Ok":"#.to_owned() + &r#"{"values":[],"children":[["x","#.repeat(200);
        assert!(asked(&[&deep, "\n"]).contains("recursion"));
    }

    #[test]
    fn who_looks_at_a_helper_that_hangs_gives_up_before_who_waits_for_its_disks() {
        let (settling, busy) = helper(&[]);
        let (looking, hung) = helper(&[]);
        let (ended, first) = std::sync::mpsc::channel();
        let also_ended = ended.clone();
        let settle = std::thread::spawn(move || {
            let result = settling.ask(Ask::Settle);
            also_ended.send(Ask::Settle).unwrap();
            result
        });
        // It has begun to wait when its question is there.
        let mut asked = Link::new(busy);
        assert_eq!(asked.receive::<Question>(None).unwrap().unwrap().ask, Ask::Settle);
        let look = std::thread::spawn(move || {
            let result = looking.ask(Ask::Inspect).map(drop);
            ended.send(Ask::Inspect).unwrap();
            (result, looking)
        });
        assert_eq!(first.recv().unwrap(), Ask::Inspect);
        drop(asked);
        assert_eq!(settle.join().unwrap().unwrap_err().to_string(), "PV disks: their process has ended");
        drop(hung);
        assert_eq!(look.join().unwrap().0.unwrap_err().to_string(), "PV disks: their process: timed out");
    }

    #[test]
    fn who_looks_does_not_wait_for_the_answers_of_others() {
        let (apart, theirs) = helper(&[]);
        std::thread::scope(|scope| {
            let settle = scope.spawn(|| apart.ask(Ask::Settle));
            let mut asked = Link::new(theirs);
            assert_eq!(asked.receive::<Question>(None).unwrap().unwrap().ask, Ask::Settle);
            let told = apart.ask(Ask::Inspect).unwrap_err().to_string();
            assert_eq!(told, "PV disks: their process is asked something else");
            drop(asked);
            assert!(settle.join().unwrap().is_err());
        });
    }

    #[test]
    fn a_line_has_an_end() {
        let (apart, mut theirs) = helper(&[]);
        let endless = std::thread::spawn(move || while theirs.write_all(&[b'x'; 4096]).is_ok() {});
        assert!(apart.ask(Ask::Inspect).unwrap_err().to_string().contains("without an end"));
        drop(apart);
        endless.join().unwrap();
    }

    #[test]
    fn a_tree_comes_as_it_is() {
        let mut node = Node::default();
        node.value("a", 1);
        node.child("b").value("c", "d");
        let line = serde_json::to_string(&Tree::from(&node)).unwrap();
        assert_eq!(Node::from(serde_json::from_str::<Tree>(&line).unwrap()), node);
    }
}
