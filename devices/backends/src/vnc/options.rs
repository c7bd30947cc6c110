//! The value of `-vnc`, as libxl and people write it.

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
        let mut place = place(parts.next().unwrap_or_default())?;
        let (mut password, mut share, mut websocket) = (false, Share::default(), None);
        for option in parts {
            let (name, value) = option.split_once('=').unwrap_or((option, "on"));
            match name {
                "password" => password = switch(option, value)?,
                "share" => share = policy(value)?,
                "websocket" => websocket = websocket_port(value)?,
                "to" => set_last(&mut place, value)?,
                // What we do anyway, or what has no effect on what a client sees of us.
                "lossy" | "non-adaptive" | "lock-key-sync" | "key-delay-ms" | "connections" => {}
                "power-control" | "reverse" | "sasl" if matches!(value, "off" | "no") => {}
                _ => return Err(format!("VNC option {option:?} is not supported")),
            }
        }
        if websocket.is_some() && matches!(place, Place::Unix(_)) {
            return Err("a WebSocket needs a host and a port, and not a Unix socket".to_owned());
        }
        Ok(VncSpec::Server(Options { place, password, share, websocket }))
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

fn policy(value: &str) -> Result<Share, String> {
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

fn number(text: &str) -> Result<u16, String> {
    let most = u16::MAX - FIRST_PORT;
    text.parse()
        .ok()
        .filter(|&display| display <= most)
        .ok_or_else(|| format!("VNC display {text:?} is not a number from 0 to {most}"))
}

fn place(text: &str) -> Result<Place, String> {
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
    let display = number(display)?;
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
        let unix = Options {
            place: Place::Unix("/run/a".into()),
            password: true,
            share: Share::default(),
            websocket: None,
        };
        assert_eq!("unix:/run/a,password=on".parse(), Ok(VncSpec::Server(unix)));
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
            ":0,websocket=0",
            ":0,websocket=x",
            "unix:/a,websocket=on",
            ":0,",
        ] {
            assert!(text.parse::<VncSpec>().is_err(), "{text:?}");
        }
    }
}
