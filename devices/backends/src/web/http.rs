//! The head of a request (RFC 9110, RFC 9112), as much as a server of a few fixed pages needs, and the opening of a
//! WebSocket (RFC 6455, 4.2). One request a connection; none has a body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Most bytes of a head.
pub const LONGEST: usize = 8 << 10;
/// Most lines of a head.
const FIELDS: usize = 48;
/// What is added to a client's key (RFC 6455, 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Of the URL, with what follows a question mark.
    pub path: String,
    /// Whom the client takes us for.
    pub host: String,
    /// Which site's page asks, if a browser does and says so.
    pub origin: Option<String>,
    /// It wants a WebSocket.
    pub upgrade: Option<Upgrade>,
}

/// A WebSocket that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrade {
    key: String,
    /// The subprotocol `binary` is among those offered, which older viewers insist on.
    binary: bool,
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no request.
    Bad,
    /// It comes from a page that is not ours, or without what only our pages know.
    Forbidden,
    /// There is nothing there.
    NotFound,
    /// Another method than GET.
    Method,
    /// Another version of WebSocket, or a WebSocket is served there and nothing else.
    UpgradeRequired,
    /// The head is too long.
    TooLong,
    /// There are too many connections.
    Busy,
}

impl Refusal {
    /// The whole answer.
    pub fn answer(self) -> Vec<u8> {
        let (status, more) = match self {
            Refusal::Bad => ("400 Bad Request", ""),
            Refusal::Forbidden => ("403 Forbidden", ""),
            Refusal::NotFound => ("404 Not Found", ""),
            Refusal::Method => ("405 Method Not Allowed", "Allow: GET\r\n"),
            Refusal::UpgradeRequired => {
                ("426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
            }
            Refusal::TooLong => ("431 Request Header Fields Too Large", ""),
            Refusal::Busy => ("503 Service Unavailable", ""),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\n{more}Content-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            status.len() + 1
        );
        format!("{head}{status}\n").into_bytes()
    }
}

/// Reads a head from the beginning of what came; with its length, when it is whole.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len <= LONGEST => len,
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLong),
        Err(_) => return Err(Refusal::Bad),
    };
    if head.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let fields = Fields(head.headers);
    // A body would be taken for another request.
    if fields.one("Transfer-Encoding")?.is_some()
        || fields.one("Content-Length")?.is_some_and(|len| len != "0")
    {
        return Err(Refusal::Bad);
    }
    let request = Request {
        path: head.path.unwrap_or_default().to_owned(),
        host: fields.one("Host")?.ok_or(Refusal::Bad)?.to_owned(),
        origin: fields.one("Origin")?.map(str::to_owned),
        upgrade: fields.upgrade()?,
    };
    Ok(Some((request, len)))
}

struct Fields<'a>(&'a [httparse::Header<'a>]);

impl Fields<'_> {
    fn all(&self, name: &str) -> impl Iterator<Item = Result<&str, Refusal>> {
        let named = self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| std::str::from_utf8(field.value).map(str::trim).map_err(|_| Refusal::Bad))
    }

    /// A field that may be there once.
    fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut all = self.all(name);
        let first = all.next().transpose()?;
        if all.next().is_some() { Err(Refusal::Bad) } else { Ok(first) }
    }

    /// Whether a list has a word in it.
    fn has(&self, name: &str, word: &str) -> Result<bool, Refusal> {
        let mut any = false;
        for list in self.all(name) {
            any |= list?.split(',').any(|other| other.trim().eq_ignore_ascii_case(word));
        }
        Ok(any)
    }

    fn upgrade(&self) -> Result<Option<Upgrade>, Refusal> {
        if !self.has("Upgrade", "websocket")? {
            return Ok(None);
        }
        if !self.has("Connection", "upgrade")? {
            return Err(Refusal::Bad);
        }
        if self.one("Sec-WebSocket-Version")? != Some("13") {
            return Err(Refusal::UpgradeRequired);
        }
        let key = self.one("Sec-WebSocket-Key")?.ok_or(Refusal::Bad)?;
        // 16 bytes.
        match STANDARD.decode(key) {
            Ok(bytes) if bytes.len() == 16 => {}
            _ => return Err(Refusal::Bad),
        }
        let binary = self.has("Sec-WebSocket-Protocol", "binary")?;
        Ok(Some(Upgrade { key: key.to_owned(), binary }))
    }
}

impl Upgrade {
    /// The answer after which both speak WebSocket.
    pub fn answer(&self) -> Vec<u8> {
        let digest = Sha1::new().chain_update(&self.key).chain_update(MAGIC).finalize();
        let accept = STANDARD.encode(digest);
        let protocol = if self.binary { "Sec-WebSocket-Protocol: binary\r\n" } else { "" };
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
        )
        .into_bytes()
    }
}

impl Request {
    /// Whether the page that asks is of the same host as it asks, or no page asks at all. With `loopback` that host
    /// is this machine by one of its own names: a name that another's name server lets mean this machine, so that its
    /// pages may speak to us, is none.
    pub fn is_from_here(&self, loopback: bool) -> bool {
        let asked = name(&self.host);
        if loopback && !is_loopback(asked) {
            return false;
        }
        self.origin.as_deref().is_none_or(|origin| {
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            host.is_some_and(|host| name(host).eq_ignore_ascii_case(asked))
        })
    }
}

/// A host without its port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

/// Whether a host's name, as browsers write it, is one of this machine's own.
pub fn is_loopback(name: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: std::net::IpAddr| address.to_canonical().is_loopback())
}
