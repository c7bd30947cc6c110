//! The guest's screen, keyboard and mouse for VNC viewers.

use std::sync::{Arc, Mutex, PoisonError};

use backends::tls::Credentials;
use backends::vnc::{ClientInfo, Input, Keystroke, Listener, Motion, PointerEvent, Screen, Vnc, VncError};
use devices::input::keys::Key;
use devices::input::layouts::Layout;
use devices_core::picture::{DirtyRows, DisplayAdapter, Frame, Picture};

use crate::machine::Inputs;
use crate::monitor::info::{VncClientInfo, VncInfo};
use crate::qemu::HostOptions;
use crate::trace::Border;
use crate::trace::record::HostEvent;
use crate::web;

/// What a viewer sees when the machine has no display adapter.
const NO_SCREEN: (u32, u32) = (640, 480);

/// The machine's parts that a viewer has to do with.
pub struct Console {
    display: Option<Arc<dyn DisplayAdapter>>,
    inputs: Inputs,
    border: Border,
    /// Where the pointer was, for a mouse that only knows how far it went.
    pointer: Mutex<Option<(u16, u16)>>,
    /// The viewers' keyboard; none: a US one.
    layout: Option<Layout>,
    symbols: Mutex<Symbols>,
}

/// Keys that are held by their symbols.
#[derive(Default)]
struct Symbols {
    held: Vec<(u32, Key)>,
}

impl Symbols {
    /// Most keys that are remembered.
    const MOST: usize = 64;

    fn holds(&self, names: &[&str]) -> bool {
        self.held.iter().any(|(_, key)| names.contains(&key.name()))
    }

    /// The key of a symbol. One that goes up is the one that went down with it, whatever else has gone up before:
    /// with AltGr released first, a symbol of AltGr would be on another key.
    fn key(&mut self, keysym: u32, down: bool, layout: Option<&Layout>) -> Option<Key> {
        if let Some(at) = self.held.iter().position(|&(held, _)| held == keysym) {
            let (_, key) = if down { self.held[at] } else { self.held.remove(at) };
            return Some(key);
        }
        let (shift, alt_gr) = (self.holds(&["shift", "shift_r"]), self.holds(&["alt_r"]));
        let key =
            layout.map_or_else(|| Key::by_keysym(keysym), |layout| layout.key(keysym, shift, alt_gr))?;
        if down {
            self.held.truncate(Self::MOST - 1);
            self.held.push((keysym, key));
        }
        Some(key)
    }
}

/// Where viewers come in, and the keyboard that they have.
pub struct Viewers {
    /// Sockets that listen.
    pub listener: Listener,
    /// None: a US keyboard.
    pub layout: Option<Layout>,
    /// Where browsers get the page that is one.
    pub web: Option<web::Listener>,
    /// The machine's sound is heard, if no place of it is named.
    pub hears: bool,
}

impl Console {
    /// A console of these parts.
    pub fn new(display: Option<Arc<dyn DisplayAdapter>>, inputs: Inputs, border: Border) -> Console {
        Console {
            display,
            inputs,
            border,
            pointer: Mutex::default(),
            layout: None,
            symbols: Mutex::default(),
        }
    }

    /// For viewers with such a keyboard.
    pub(crate) fn with_layout(self, layout: Option<Layout>) -> Console {
        Console { layout, ..self }
    }

    /// Presses or releases a key.
    pub(crate) fn press(&self, key: Key, down: bool) {
        let host = || HostEvent::Key(key.name().to_owned(), down);
        self.border.host(host, || self.inputs.key(key, down));
    }

    /// Moves the mouse by so much (the third is the wheel).
    pub(crate) fn mouse(&self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        let host = || HostEvent::Mouse(dx, dy, dz, buttons);
        self.border.host(host, || self.inputs.mouse(dx, dy, dz, buttons));
    }

    /// Tells the guest that its monitor's size is another now.
    pub(crate) fn resize(&self, size: (u32, u32)) {
        let host = || HostEvent::Resize(size.0, size.1);
        self.border.host(host, || self.display.iter().for_each(|display| display.resize(size)));
    }

    /// Puts the tablet at a place of 0 to 0x7fff in each axis that is given.
    pub(crate) fn tablet(&self, x: Option<u16>, y: Option<u16>, dz: i32, buttons: u8) {
        let host = || HostEvent::Tablet(x, y, dz, buttons);
        self.border.host(host, || self.inputs.tablet(x, y, dz, buttons));
    }
}

impl Screen for Console {
    fn look(&self) -> (Box<dyn Frame>, DirtyRows) {
        let black = || -> (Box<dyn Frame>, DirtyRows) {
            (Box::new(Picture::new(NO_SCREEN.0, NO_SCREEN.1)), DirtyRows::default())
        };
        self.display.as_ref().map_or_else(black, |display| display.look())
    }
    fn resizes(&self) -> bool {
        self.display.as_ref().is_some_and(|display| display.resizes())
    }
    fn resize(&self, (width, height): (u16, u16)) {
        Console::resize(self, (width.into(), height.into()));
    }
}

impl Input for Console {
    fn key(&self, key: Keystroke, down: bool) {
        let by_symbol = || {
            let mut symbols = self.symbols.lock().unwrap_or_else(PoisonError::into_inner);
            symbols.key(key.keysym, down, self.layout.as_ref())
        };
        if let Some(key) = key.scancode.and_then(Key::by_scancode).or_else(by_symbol) {
            self.press(key, down);
        }
    }
    fn absolute(&self) -> bool {
        self.inputs.is_absolute()
    }
    fn lights(&self) -> u8 {
        self.inputs.lights()
    }
    fn pointer(&self, event: PointerEvent) {
        let mut last = self.pointer.lock().unwrap_or_else(PoisonError::into_inner);
        let (dx, dy) = match event.motion {
            Motion::By { dx, dy } => (dx, dy),
            Motion::To { x, y, width, height } if self.inputs.is_absolute() => {
                *last = Some((x, y));
                drop(last);
                let on_axis = |at: u16, of: u16| Some((u32::from(at) * 0x7fff / u32::from(of.max(1))) as u16);
                return self.tablet(on_axis(x, width), on_axis(y, height), event.wheel, event.buttons);
            }
            Motion::To { x, y, .. } => {
                let (from_x, from_y) = last.replace((x, y)).unwrap_or((x, y));
                (i32::from(x) - i32::from(from_x), i32::from(y) - i32::from(from_y))
            }
        };
        drop(last);
        self.mouse(dx, dy, event.wheel, event.buttons);
    }
}

/// Takes the sockets, if there is to be a server, before there is a guest.
pub(crate) fn listen(host: &HostOptions) -> Result<Option<Viewers>, VncError> {
    let Some(arg) = &host.vnc else { return Ok(None) };
    let listener = Listener::bind(arg.options.clone())?;
    let listener = match &host.vnc_tls {
        Some(files) => listener.encrypted(Credentials::load(&files.folder, files.verify_peer)?),
        None => listener,
    };
    let layout = host.keymap.as_deref().and_then(Layout::by_name);
    Ok(Some(Viewers { listener, layout, web: None, hears: false }))
}

/// For `query-vnc`.
pub(crate) fn info(server: &Vnc) -> VncInfo {
    let info = server.info();
    let client = |client: ClientInfo| VncClientInfo {
        host: client.address.host,
        service: client.address.service,
        family: client.address.family,
        websocket: client.websocket,
    };
    VncInfo {
        needs_password: info.needs_password,
        encrypts: info.encrypts,
        host: info.address.host,
        service: info.address.service,
        family: info.address.family,
        auth: info.auth,
        websocket: info.websocket.map(|address| (address.host, address.service)),
        clients: info.clients.into_iter().map(client).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_goes_up_on_the_key_that_it_went_down_on() {
        let layout = Layout::by_name("de").unwrap();
        let mut symbols = Symbols::default();
        let mut key =
            |keysym: u32, down: bool| symbols.key(keysym, down, Some(&layout)).map(|key| key.name());
        // AltGr goes down, the at sign too; AltGr goes up first.
        assert_eq!([key(0xfe03, true), key('@' as u32, true)], [Some("alt_r"), Some("q")]);
        assert_eq!([key(0xfe03, false), key('@' as u32, false)], [Some("alt_r"), Some("q")]);
        // It repeats, and goes up once.
        assert_eq!([key('y' as u32, true), key('y' as u32, true), key('y' as u32, false)], [Some("z"); 3]);
        for keysym in 0x100..0x1000 {
            key(keysym, true);
        }
        assert!(symbols.held.len() <= Symbols::MOST);
        assert_eq!(Symbols::default().key('y' as u32, true, None).map(Key::name), Some("y"));
    }
}
