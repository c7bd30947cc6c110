//! The name server's port 53: what the guest asks goes to the host's resolvers.
//!
//! A question is asked of the resolver that answered last. It is asked of the next one when a second has brought nothing,
//! when that one refuses or says that it cannot answer (SERVFAIL, NOTIMP, REFUSED), and when the guest asks again. All
//! that were asked are listened to: the first answer counts, and a slow resolver's comes late instead of never. If all
//! refuse, the guest is told SERVFAIL at once, as a resolver of its own would be by ICMP.
//!
//! The guest's resolver may have many questions under way from one port: those for A and AAAA, at least.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType, connect, recv, send};

use super::RESOLVERS;
use super::dhcp::udp;
use super::host::{self, Host, Kind, Slab, Token};
use super::link::Link;

/// How long a resolver is waited for alone.
const ALONE: Duration = Duration::from_secs(1);
/// A port of the guest's that has not asked for so long is forgotten (libslirp's time), and so is a question.
const IDLE: Duration = Duration::from_secs(10);
/// Longest question that is kept (RFC 6891 has 1232 as what passes any network).
const QUESTION: usize = 1232;
/// Questions that are kept, of all ports. Others are asked of one resolver.
const QUESTIONS: usize = 512;
/// Ports of the guest's that ask.
const PORTS: usize = 256;
/// Answers that are read in one go.
const BURST: usize = 64;
/// Bytes of a header (RFC 1035, 4.1.1).
const HEADER: usize = 12;
/// Response codes of one that cannot answer what others may.
const SERVFAIL: u8 = 2;
const NOTIMP: u8 = 4;
const REFUSED: u8 = 5;

struct Question {
    text: Vec<u8>,
    /// Who was asked last.
    resolver: usize,
    /// How many were asked since the guest did.
    asked: usize,
    /// A bit for each that may still answer.
    open: u8,
    /// When the guest asked.
    since: Instant,
    /// When the next one is asked.
    next: Option<Instant>,
}

/// A port of the guest's that asks.
struct Flow {
    guest: SocketAddr,
    /// The name server, as the guest knows it.
    server: SocketAddr,
    /// One for each resolver that was asked.
    sockets: [Option<OwnedFd>; RESOLVERS],
    questions: VecDeque<Question>,
    used: Instant,
    sent: u64,
    received: u64,
}

impl Flow {
    /// Sends to a resolver. False: it cannot be reached.
    fn tell(&mut self, host: &Host, token: Token, resolver: usize, text: &[u8]) -> bool {
        let (Some(place), Some(to)) = (self.sockets.get_mut(resolver), host.resolvers.get(resolver)) else {
            return false;
        };
        if place.is_none() {
            let open = || {
                let socket = host::socket(host::family(to.ip()), SocketType::DGRAM, None)?;
                connect(&socket, to)?;
                host.watch(&socket, Kind::Names, token)?;
                Ok::<_, Errno>(socket)
            };
            *place = open().ok();
        }
        let Some(socket) = place else { return false };
        // The first may only tell that something was refused before.
        (0..2).any(|_| send(&*socket, text, SendFlags::NOSIGNAL).is_ok())
    }

    /// Asks the next resolver that can be reached, if the question has one left. False: nobody is left who may answer.
    fn ask_next(&mut self, host: &Host, token: Token, at: usize, now: Instant) -> bool {
        let count = host.resolvers.len().min(RESOLVERS);
        let Some(question) = self.questions.get_mut(at) else { return true };
        let text = std::mem::take(&mut question.text);
        let Question { mut resolver, mut asked, mut open, since, .. } = *question;
        let mut told = false;
        while !told && asked < count {
            resolver = (resolver + 1) % count;
            asked += 1;
            told = self.tell(host, token, resolver, &text);
            open |= u8::from(told) << resolver;
        }
        let next = (asked < count).then(|| now + ALONE);
        if let Some(question) = self.questions.get_mut(at) {
            *question = Question { text, resolver, asked, open, since, next };
        }
        open != 0
    }

    /// A resolver has refused whatever it was asked. Gives what nobody is left for.
    fn refused(&mut self, host: &Host, token: Token, resolver: usize, now: Instant) -> Vec<Question> {
        let mut given_up = Vec::new();
        let mut at = 0;
        while let Some(question) = self.questions.get_mut(at) {
            let was_open = question.open & 1 << resolver != 0;
            question.open &= !(1 << resolver);
            let over = was_open && !self.ask_next(host, token, at, now);
            match if over { self.questions.remove(at) } else { None } {
                Some(question) => given_up.push(question),
                None => at += 1,
            }
        }
        given_up
    }
}

/// A flow, for a person.
pub(super) struct Seen {
    pub(super) guest: SocketAddr,
    pub(super) sent: u64,
    pub(super) received: u64,
}

pub(super) struct Names {
    flows: Slab<Flow>,
    keys: HashMap<(SocketAddr, SocketAddr), Token>,
    /// Ports that have more answers, when there is room in the card's queue or after others had their turn.
    more: Vec<Token>,
    /// When somebody is to be asked next, or before.
    due: Option<Instant>,
    limit: usize,
}

impl Names {
    /// `limit` is how many sockets there may be.
    pub(super) fn new(limit: usize) -> Names {
        Names {
            flows: Slab::default(),
            keys: HashMap::new(),
            more: Vec::new(),
            due: None,
            limit: (limit / RESOLVERS).clamp(4, PORTS),
        }
    }

    /// A question of the guest's.
    pub(super) fn input(
        &mut self,
        link: &mut Link,
        host: &Host,
        guest: SocketAddr,
        server: SocketAddr,
        text: &[u8],
    ) {
        let kept: usize = self.flows.iter().map(|(_, flow)| flow.questions.len()).sum();
        let token = self.flow(guest, server, link.now);
        let Some(flow) = self.flows.get_mut(token) else { return };
        flow.used = link.now;
        flow.sent += text.len() as u64;
        let at = flow.questions.iter().position(|question| question.text == text);
        let at = match at {
            Some(at) => {
                let question = &mut flow.questions[at];
                (question.asked, question.since) = (0, link.now);
                at
            }
            None if text.len() <= QUESTION && kept < QUESTIONS => {
                let count = host.resolvers.len().clamp(1, RESOLVERS);
                // The one before the first, so that this is the next.
                let resolver = (host.first.get() + count - 1) % count;
                let text = text.to_vec();
                let question = Question { text, resolver, asked: 0, open: 0, since: link.now, next: None };
                flow.questions.push_back(question);
                flow.questions.len() - 1
            }
            None => {
                flow.tell(host, token, host.first.get(), text);
                return;
            }
        };
        let answerable = flow.ask_next(host, token, at, link.now);
        let next = flow.questions[at].next;
        if !answerable && let Some(question) = flow.questions.remove(at) {
            fail(link, flow, &question);
        }
        self.due = [self.due, next].into_iter().flatten().min();
    }

    fn flow(&mut self, guest: SocketAddr, server: SocketAddr, now: Instant) -> Token {
        if let Some(token) = self.keys.get(&(guest, server)) {
            return *token;
        }
        if self.flows.len() >= self.limit {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.used).map(|(token, _)| token);
            oldest.into_iter().for_each(|token| self.remove(token));
        }
        let (sockets, questions) = Default::default();
        let flow = Flow { guest, server, sockets, questions, used: now, sent: 0, received: 0 };
        let token = self.flows.insert(flow);
        self.keys.insert((guest, server), token);
        token
    }

    fn remove(&mut self, token: Token) {
        if let Some(flow) = self.flows.remove(token) {
            self.keys.remove(&(flow.guest, flow.server));
        }
    }

    /// A port's sockets have news.
    pub(super) fn event(&mut self, link: &mut Link, host: &Host, scratch: &mut [u8], token: Token) {
        let Some(flow) = self.flows.get_mut(token) else { return };
        let mut read = 0;
        for resolver in 0..RESOLVERS {
            while let Some(socket) = &flow.sockets[resolver] {
                if read == BURST || !link.queues.room() {
                    self.more.push(token);
                    return;
                }
                read += 1;
                match recv(socket, &mut *scratch, RecvFlags::empty()) {
                    Ok((_, len)) => answered(link, host, flow, (token, resolver), &scratch[..len]),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(_) => {
                        for question in flow.refused(host, token, resolver, link.now) {
                            fail(link, flow, &question);
                        }
                    }
                }
            }
        }
        let next = flow.questions.iter().filter_map(|question| question.next).min();
        self.due = [self.due, next].into_iter().flatten().min();
    }

    /// Questions that were not answered in time, and sockets that had to wait.
    pub(super) fn tick(&mut self, link: &mut Link, host: &Host, scratch: &mut [u8]) {
        if self.due.is_some_and(|due| due <= link.now) {
            self.due = None;
            for index in 0..self.flows.places() {
                let token = self.flows.token(index);
                let Some(flow) = self.flows.get_mut(token) else { continue };
                for at in 0..flow.questions.len() {
                    if flow.questions[at].next.is_some_and(|next| next <= link.now) {
                        // Those who were asked before may answer still.
                        flow.ask_next(host, token, at, link.now);
                    }
                    self.due = [self.due, flow.questions[at].next].into_iter().flatten().min();
                }
            }
        }
        if !self.more.is_empty() && link.queues.room() {
            for token in std::mem::take(&mut self.more) {
                self.event(link, host, scratch, token);
            }
        }
    }

    /// When there is something to do next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether sockets wait for others that had their turn.
    pub(super) fn waits(&self) -> bool {
        !self.more.is_empty()
    }

    /// Whether there are flows that will be forgotten.
    pub(super) fn any(&self) -> bool {
        self.flows.len() > 0
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let old = |since: Instant| now.duration_since(since) >= IDLE;
        for (_, flow) in self.flows.iter_mut() {
            flow.questions.retain(|question| !old(question.since));
        }
        let tokens = self.flows.iter().filter(|(_, flow)| old(flow.used)).map(|(token, _)| token);
        for token in tokens.collect::<Vec<_>>() {
            self.remove(token);
        }
    }

    pub(super) fn clear(&mut self) {
        self.flows = Slab::default();
        self.keys.clear();
    }

    pub(super) fn flows(&self) -> impl Iterator<Item = Seen> {
        self.flows.iter().map(|(_, flow)| Seen {
            guest: flow.guest,
            sent: flow.sent,
            received: flow.received,
        })
    }
}

/// An answer of a resolver's.
fn answered(link: &mut Link, host: &Host, flow: &mut Flow, (token, resolver): (Token, usize), text: &[u8]) {
    flow.received += text.len() as u64;
    let id = text.first_chunk::<2>();
    let at = flow.questions.iter().position(|question| question.text.first_chunk() == id && id.is_some());
    if let Some(at) = at {
        let code = text.get(..HEADER).map_or(0, |header| header[3] & 15);
        let question = &mut flow.questions[at];
        question.open &= !(1 << resolver);
        let cannot = matches!(code, SERVFAIL | NOTIMP | REFUSED);
        // Another may know.
        if cannot && flow.ask_next(host, token, at, link.now) {
            return;
        }
        flow.questions.remove(at);
        if !cannot {
            // The others are asked after it from now on.
            host.first.set(resolver);
        }
    }
    udp(link, flow.server, flow.guest, text);
}

/// Tells the guest that nobody answers.
fn fail(link: &mut Link, flow: &mut Flow, question: &Question) {
    if let Some(text) = failure(&question.text) {
        flow.received += text.len() as u64;
        udp(link, flow.server, flow.guest, &text);
    }
}

/// SERVFAIL for a question. None: it is none, or of a kind that nobody asks.
fn failure(question: &[u8]) -> Option<Vec<u8>> {
    const RESPONSE: u8 = 0x80;
    const OPCODE_AND_RD: u8 = 0x79;
    const RA: u8 = 0x80;
    let header: &[u8; HEADER] = question.first_chunk()?;
    if header[2] & RESPONSE != 0 || header[4..6] != [0, 1] {
        return None;
    }
    let mut end = HEADER;
    loop {
        match *question.get(end)? {
            0 => break,
            label @ 1..64 => end += 1 + usize::from(label),
            _ => return None,
        }
    }
    // Type and class.
    let mut text = question.get(..end + 5)?.to_vec();
    text[2] = RESPONSE | header[2] & OPCODE_AND_RD;
    text[3] = RA | SERVFAIL;
    text[6..HEADER].fill(0);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_question_and_nothing_else() {
        let question =
            b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x04name\x04test\0\0\x1c\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
        let expected = b"\x12\x34\x81\x82\0\x01\0\0\0\0\0\0\x04name\x04test\0\0\x1c\0\x01";
        assert_eq!(failure(question).as_deref(), Some(&expected[..]));
        for cut in 0..expected.len() {
            assert_eq!(failure(&question[..cut]), None, "{cut}");
        }
        // An answer; two questions; a name that points elsewhere.
        for (at, byte) in [(2, 0x81), (5, 2), (12, 0xc0)] {
            let mut other = question.to_vec();
            other[at] = byte;
            assert_eq!(failure(&other), None);
        }
    }
}
