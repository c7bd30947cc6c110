//! The guest's screen, keyboard and mouse for VNC viewers.

use std::sync::{Arc, Mutex, PoisonError};

use backends::vnc::{
    Input, Keystroke, Listener, Motion, Options, Place, PointerEvent, Screen, Share, Vnc, VncError,
};
use devices::display::vga::Vga;
use devices::input::i8042::I8042;
use devices::input::keys::Key;
use devices_core::Slot;
use devices_core::picture::Picture;
use hypervisor::Hypervisor;

use crate::monitor::facts::VncFacts;
use crate::qemu::{VncArg, VncListen};
use crate::trace::Border;
use crate::trace::record::Host;

/// What a viewer sees when the machine has no display adapter.
const NO_SCREEN: (u32, u32) = (640, 480);

/// The machine's parts that a viewer has to do with.
pub struct Console {
    hypervisor: Arc<dyn Hypervisor>,
    vga: Option<Arc<Slot<Vga>>>,
    keyboard: Arc<Slot<I8042>>,
    border: Border,
    /// Where the pointer was, for a mouse that only knows how far it went.
    pointer: Mutex<Option<(u16, u16)>>,
}

impl Console {
    /// A console of these parts.
    pub fn new(
        hypervisor: Arc<dyn Hypervisor>,
        vga: Option<Arc<Slot<Vga>>>,
        keyboard: Arc<Slot<I8042>>,
        border: Border,
    ) -> Console {
        Console { hypervisor, vga, keyboard, border, pointer: Mutex::default() }
    }

    /// Presses or releases a key.
    pub(crate) fn press(&self, key: Key, down: bool) {
        let host = || Host::Key(key.name().to_owned(), down);
        self.border.host(host, || self.keyboard.lock().key(key, down));
    }

    /// Moves the mouse by so much (the third is the wheel).
    pub(crate) fn mouse(&self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        let host = || Host::Mouse(dx, dy, dz, buttons);
        self.border.host(host, || self.keyboard.lock().mouse(dx, dy, dz, buttons));
    }
}

impl Screen for Console {
    fn take_changed(&self) -> bool {
        self.hypervisor.refresh_display();
        self.vga.as_ref().is_some_and(|vga| vga.lock().take_changed())
    }
    fn picture(&self) -> Picture {
        let black = || Picture::new(NO_SCREEN.0, NO_SCREEN.1);
        self.vga.as_ref().map_or_else(black, |vga| vga.lock().screen())
    }
}

impl Input for Console {
    fn key(&self, key: Keystroke, down: bool) {
        let by_code = key.scancode.and_then(Key::by_scancode);
        if let Some(key) = by_code.or_else(|| Key::by_keysym(key.keysym)) {
            self.press(key, down);
        }
    }
    fn absolute(&self) -> bool {
        false
    }
    fn pointer(&self, event: PointerEvent) {
        let mut last = self.pointer.lock().unwrap_or_else(PoisonError::into_inner);
        let (dx, dy) = match event.motion {
            Motion::By { dx, dy } => (dx, dy),
            Motion::To { x, y, .. } => {
                let (from_x, from_y) = last.replace((x, y)).unwrap_or((x, y));
                (i32::from(x) - i32::from(from_x), i32::from(y) - i32::from(from_y))
            }
        };
        drop(last);
        self.mouse(dx, dy, event.wheel, event.buttons);
    }
}

/// Takes the sockets, before there is a guest.
pub(crate) fn listen(arg: &VncArg) -> Result<Listener, VncError> {
    let place = match &arg.listen {
        VncListen::Unix(path) => Place::Unix(path.clone()),
        VncListen::Tcp { host, display } => {
            let to = arg.to.map_or(*display, |to| to.max(*display));
            Place::Tcp { host: host.clone(), display: *display, to }
        }
    };
    Listener::bind(Options { place, password: arg.password, share: Share::default() })
}

/// For `query-vnc`.
pub(crate) fn facts(server: &Vnc) -> VncFacts {
    let facts = server.facts();
    VncFacts {
        host: facts.address.host,
        service: facts.address.service,
        family: facts.address.family,
        auth: facts.auth,
        clients: facts.clients.into_iter().map(|client| (client.host, client.service)).collect(),
    }
}
