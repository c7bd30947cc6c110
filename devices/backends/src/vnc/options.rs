//! The value of `-vnc`, as libxl and people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Port of display 0.
pub const FIRST_PORT: u16 = 5900;

/// Port at which a browser reaches display 0.
pub const FIRST_WEBSOCKET: u16 = 5700;

/// Where WebSockets are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebsocketPort {
    /// 5700 and the display's number.
    OfDisplay,
    /// That port, whatever the display is.
    Number(u16),
}

/// Where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A host's address or name, empty for all of this machine's, and the displays to try.
    Tcp {
        /// Without the brackets of an IPv6 address.
        host: String,
        /// The first display; its port is [`FIRST_PORT`] and as much.
        display: u16,
        /// The last one, at least `display`.
        to: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, display, .. } => write!(f, "{host}:{display}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What becomes of other clients when one comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// A client may ask to be alone.
    #[default]
    AllowExclusive,
    /// A client that asks to be alone is turned away.
    ForceShared,
    /// What clients ask for is not heard.
    Ignore,
}

/// What a server is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it listens.
    pub place: Place,
    /// Whether clients need a password. Until one is set nobody comes in.
    pub password: bool,
    /// What becomes of other clients.
    pub share: Share,
    /// Where browsers come in; none: they do not. Not with a Unix socket.
    pub websocket: Option<WebsocketPort>,
    /// Most clients that are in the handshake. One more, and who has been in it longest goes.
    pub connections: usize,
    /// A viewer listens at that place, whose number is then a port and no display's: we connect to it.
    pub reverse: bool,
    /// The place of the sound that clients can hear, by its name.
    pub audiodev: Option<String>,
}

/// Clients that may be in the handshake, if nobody says, as in QEMU.
pub const CONNECTIONS: usize = 32;

impl Options {
    /// The usual ones at that place.
    pub fn at(place: Place) -> Options {
        Options {
            place,
            password: false,
            share: Share::default(),
            websocket: None,
            connections: CONNECTIONS,
            reverse: false,
            audiodev: None,
        }
    }
}

/// A `-vnc` value: no server, or one with options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VncSpec {
    /// `none`.
    None,
    /// Anything else.
    Server(Options),
}

impl FromStr for VncSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<VncSpec, String> {
        if text == "none" {
            return Ok(VncSpec::None);
        }
        let mut parts = text.split(',');
        let address = parts.next().unwrap_or_default();
        // The number is a port then.
        let reverse = parts.clone().any(|option| matches!(option, "reverse" | "reverse=on" | "reverse=yes"));
        let mut options = Options { reverse, ..Options::at(place(address, reverse)?) };
        for option in parts {
            let (name, value) = option.split_once('=').unwrap_or((option, "on"));
            match name {
                "password" => options.password = switch(option, value)?,
                "share" => options.share = policy(value)?,
                "websocket" => options.websocket = websocket_port(value)?,
                "to" => set_last(&mut options.place, value)?,
                "connections" => options.connections = connections(value)?,
                "audiodev" => options.audiodev = Some(value.to_owned()),
                "reverse" => options.reverse = switch(option, value)?,
                // What we do anyway, or what has no effect on what a client sees of us.
                "lossy" | "non-adaptive" | "lock-key-sync" | "key-delay-ms" => {}
                "power-control" | "sasl" if matches!(value, "off" | "no") => {}
                _ => return Err(format!("VNC option {option:?} is not supported")),
            }
        }
        options.check()?;
        Ok(VncSpec::Server(options))
    }
}

impl Options {
    /// Whether they go together.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Options { websocket: Some(_), place: Place::Unix(_), .. } => {
                Err("a WebSocket needs a host and a port, and not a Unix socket".to_owned())
            }
            Options { websocket: Some(_), reverse: true, .. } => {
                Err("a viewer that listens speaks RFB, and no WebSocket".to_owned())
            }
            Options { reverse: true, place: Place::Tcp { host, .. }, .. } if host.is_empty() => {
                Err("reverse=on needs the host of the viewer that listens".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Reads the value of `connections=`.
pub fn connections(value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err(format!("VNC connections={value:?} is not a number from 1 on")),
    }
}

/// Reads the value of `websocket=`.
pub fn websocket_port(value: &str) -> Result<Option<WebsocketPort>, String> {
    match value {
        "on" | "yes" => Ok(Some(WebsocketPort::OfDisplay)),
        "off" | "no" => Ok(None),
        port => match port.parse::<u16>() {
            Ok(port @ 1..) => Ok(Some(WebsocketPort::Number(port))),
            _ => Err(format!("VNC websocket={value:?} is neither on nor off nor a port")),
        },
    }
}

fn switch(option: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err(format!("VNC option {option:?} is neither on nor off")),
    }
}

/// Reads the value of `share=`.
pub fn policy(value: &str) -> Result<Share, String> {
    match value {
        "allow-exclusive" => Ok(Share::AllowExclusive),
        "force-shared" => Ok(Share::ForceShared),
        "ignore" => Ok(Share::Ignore),
        _ => Err(format!("VNC share policy {value:?} is not allow-exclusive, force-shared or ignore")),
    }
}

fn set_last(place: &mut Place, value: &str) -> Result<(), String> {
    match place {
        // QEMU's: ports from the first to the `to`-th display.
        Place::Tcp { display, to, .. } => {
            *to = number(value)?.max(*display);
            Ok(())
        }
        Place::Unix(_) => Err("a Unix socket has no display numbers to try".to_owned()),
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("VNC port {text:?} is not a number from 0 to 65535"))
}

fn number(text: &str) -> Result<u16, String> {
    let most = u16::MAX - FIRST_PORT;
    text.parse()
        .ok()
        .filter(|&display| display <= most)
        .ok_or_else(|| format!("VNC display {text:?} is not a number from 0 to {most}"))
}

fn place(text: &str, reverse: bool) -> Result<Place, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("path=").unwrap_or(path);
        return match path {
            "" => Err("VNC's Unix socket has no path".to_owned()),
            path => Ok(Place::Unix(path.into())),
        };
    }
    let Some((host, display)) = text.rsplit_once(':') else {
        return Err(format!("{text:?} is not a VNC display: HOST:NUMBER, unix:PATH or none"));
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let display = match reverse {
        true => port(display)?,
        false => number(display)?,
    };
    Ok(Place::Tcp { host: bare.to_owned(), display, to: display })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> (String, u16, u16, bool) {
        match text.parse() {
            Ok(VncSpec::Server(Options { place: Place::Tcp { host, display, to }, password, .. })) => {
                (host, display, to, password)
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_libxl_writes() {
        assert_eq!("none".parse(), Ok(VncSpec::None));
        assert_eq!(tcp("127.0.0.1:0,to=99"), ("127.0.0.1".into(), 0, 99, false));
        assert_eq!(tcp("0.0.0.0:5,password=on"), ("0.0.0.0".into(), 5, 5, true));
        assert_eq!(tcp("127.0.0.1:0,password,to=99"), ("127.0.0.1".into(), 0, 99, true));
    }

    #[test]
    fn what_people_write() {
        assert_eq!(tcp(":7,to=3"), (String::new(), 7, 7, false));
        assert_eq!(tcp("[::1]:1"), ("::1".into(), 1, 1, false));
        assert_eq!(tcp("::1:1"), ("::1".into(), 1, 1, false));
        assert_eq!(tcp("localhost:0,password=off,sasl=off"), ("localhost".into(), 0, 0, false));
        let web = |text: &str| match text.parse() {
            Ok(VncSpec::Server(options)) => options.websocket,
            other => panic!("{other:?}"),
        };
        assert_eq!(web(":1,websocket"), Some(WebsocketPort::OfDisplay));
        assert_eq!(web(":1,websocket=5800"), Some(WebsocketPort::Number(5800)));
        assert_eq!(web(":1,websocket=off"), None);
        let share = |text: &str| match text.parse() {
            Ok(VncSpec::Server(options)) => options.share,
            other => panic!("{other:?}"),
        };
        assert_eq!(share(":0,share=ignore"), Share::Ignore);
        assert_eq!(share(":0,share=force-shared"), Share::ForceShared);
        let unix = Options { password: true, ..Options::at(Place::Unix("/run/a".into())) };
        assert_eq!("unix:/run/a,password=on".parse(), Ok(VncSpec::Server(unix)));
        let place = Place::Tcp { host: "viewer".into(), display: 65_535, to: 65_535 };
        let reverse =
            Options { reverse: true, connections: 3, audiodev: Some("a".into()), ..Options::at(place) };
        let text = "viewer:65535,connections=3,reverse=on,audiodev=a";
        assert_eq!(text.parse(), Ok(VncSpec::Server(reverse)));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for text in [
            "",
            "5",
            "host",
            ":x",
            ":-1",
            ":59636",
            "unix:",
            "unix:/a,to=5",
            ":0,tls-creds=x",
            ":0,sasl",
            ":0,password=maybe",
            ":0,share=x",
            ":0,to=",
            ":0,reverse=on",
            "viewer:65536,reverse=on",
            "viewer:5500,reverse=on,websocket=on",
            ":0,connections=0",
            ":0,connections=x",
            ":0,websocket=0",
            ":0,websocket=x",
            "unix:/a,websocket=on",
            ":0,",
        ] {
            assert!(text.parse::<VncSpec>().is_err(), "{text:?}");
        }
    }
}
