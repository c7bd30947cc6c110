//! `--display`: who sees the screen of a guest that a person starts.

use std::process::{Command, Stdio};
use std::str::FromStr;

use backends::vnc::{Listener, Options, Share, VncError, VncSpec};

use crate::vnc::Viewers;
use crate::web;

/// Where viewers come in if nobody says: this machine alone, the first display that is free.
const USUAL: &str = "localhost:0,to=99";

/// Programs that are viewers, in the order in which they are tried, with what comes before and between the host and
/// the port.
const VIEWERS: [(&str, &[&str], &str, &str); 5] = [
    ("vncviewer", &[], "", "::"),
    ("remote-viewer", &[], "vnc://", ":"),
    ("gvncviewer", &[], "", "::"),
    ("vinagre", &[], "vnc://", ":"),
    ("remmina", &["-c"], "vnc://", ":"),
];

/// Who sees the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Display {
    /// Nobody; `ailurus screenshot` still shows it.
    #[default]
    None,
    /// VNC viewers.
    Vnc(Options),
    /// A viewer that is started.
    Viewer,
    /// A page in a browser.
    Web(web::Place),
}

impl FromStr for Display {
    type Err = String;

    /// Reads `none`, `viewer` or `vnc[=WHERE]`, where QEMU's `-vnc` has the same words.
    fn from_str(text: &str) -> Result<Display, String> {
        match text.split_once('=').unwrap_or((text, "")) {
            ("none", "") => Ok(Display::None),
            ("viewer", "") => Ok(Display::Viewer),
            ("web", place) => place.parse().map(Display::Web),
            ("vnc", place) => match if place.is_empty() { USUAL } else { place }.parse()? {
                VncSpec::Server(options) => Ok(Display::Vnc(options)),
                VncSpec::None => Ok(Display::None),
            },
            _ => Err("it is none, viewer, web[=[HOST:]PORT], or vnc[=HOST:N|unix:PATH][,to=M][,websocket=on|PORT][,password=on][,share=POLICY][,connections=N][,audiodev=ID][,reverse=on]".to_owned()),
        }
    }
}

impl Display {
    /// Takes the sockets, before there is a guest, and starts a viewer. `say` hears where the screen is.
    pub(crate) fn open(&self, say: impl Fn(&str)) -> Result<Option<Viewers>, VncError> {
        let options = match self {
            Display::None => return Ok(None),
            Display::Web(place) => return page(place, say).map(Some),
            Display::Vnc(options) => options.clone(),
            Display::Viewer => match USUAL.parse() {
                Ok(VncSpec::Server(options)) => options,
                _ => return Ok(None),
            },
        };
        let reverse = options.reverse;
        let listener = Listener::bind(options)?;
        let address = listener.address();
        let place = match listener.display() {
            None if reverse => format!("{}:{}, a viewer that listens", address.host, address.service),
            None => format!("unix:{}", address.service),
            Some(number) => format!("{}:{} (VNC display :{number})", address.host, address.service),
        };
        let viewer = (*self == Display::Viewer).then(|| start(&address.host, &address.service));
        match viewer {
            Some(None) => {
                let all = VIEWERS.map(|(name, ..)| name).join(", ");
                say(&format!("there is no VNC viewer ({all}) to show the screen, which is at {place}"));
            }
            Some(Some(name)) => say(&format!("{name} shows the screen, which is at {place}")),
            None => say(&format!("the screen is at {place}")),
        }
        Ok(Some(Viewers { listener, layout: None, web: None, hears: true }))
    }
}

/// Takes the socket of a page, by which alone the screen is seen.
fn page(place: &web::Place, say: impl Fn(&str)) -> Result<Viewers, VncError> {
    let page =
        web::Listener::bind(place).map_err(|source| VncError::Listen { place: place.to_string(), source })?;
    say(&format!("the guest's page is {}", page.url()));
    let at = page.address();
    if !at.ip().to_canonical().is_loopback() {
        say("other machines can open it too, and what goes to and from it is not encrypted");
    }
    let nowhere = backends::vnc::Place::Tcp { host: String::new(), display: 0, to: 0 };
    let options = Options { share: Share::Ignore, ..Options::at(nowhere) };
    Ok(Viewers { listener: Listener::behind(at, options), layout: None, web: Some(page), hears: true })
}

/// Starts the first viewer that there is; its name. It may go and another come: the guest does not mind.
fn start(host: &str, port: &str) -> Option<&'static str> {
    let (name, _) = VIEWERS.iter().find_map(|(name, words, before, between)| {
        let mut command = Command::new(name);
        command.args(*words).arg(format!("{before}{host}{between}{port}"));
        // The terminal is the guest's.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().ok().map(|child| (*name, child))
    })?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use backends::vnc::Place;

    use super::*;

    #[test]
    fn what_people_write() {
        let tcp = |text: &str| match text.parse() {
            Ok(Display::Vnc(Options { place: Place::Tcp { host, display, to }, password, .. })) => {
                (host, display, to, password)
            }
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!("none".parse(), Ok(Display::None));
        assert_eq!("viewer".parse(), Ok(Display::Viewer));
        assert_eq!("vnc=none".parse(), Ok(Display::None));
        assert_eq!(tcp("vnc"), ("localhost".into(), 0, 99, false));
        assert_eq!(tcp("vnc=:3"), (String::new(), 3, 3, false));
        assert_eq!(tcp("vnc=[::1]:1,to=5,password=on"), ("::1".into(), 1, 5, true));
        for wrong in ["", "gtk", "none=1", "viewer=x", "vnc=x", "vnc=:1,tls=on"] {
            assert!(wrong.parse::<Display>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_place_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("screen");
        let heard = Mutex::new(Vec::new());
        let open = |text: &str| {
            let display: Display = text.parse().unwrap();
            display.open(|line| heard.lock().unwrap().push(line.to_owned())).unwrap()
        };
        assert!(open("none").is_none() && heard.lock().unwrap().is_empty());
        let viewers = open(&format!("vnc=unix:{}", path.display())).unwrap();
        assert!(path.exists() && viewers.layout.is_none());
        let viewers = open("vnc=127.0.0.1:100,to=10000").unwrap();
        let port = viewers.listener.address().service.clone();
        let number = viewers.listener.display().unwrap();
        let expected = [
            format!("the screen is at unix:{}", path.display()),
            format!("the screen is at 127.0.0.1:{port} (VNC display :{number})"),
        ];
        assert_eq!(*heard.lock().unwrap(), expected);
    }
}
