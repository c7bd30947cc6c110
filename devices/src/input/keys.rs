//! The keys of a PC keyboard, by the names that QMP's `send-key` gives them (QKeyCode).

use Code::{Extended, Pause, Plain, Print};

use super::keysyms;
use super::ps2::scancode::Translator;

/// What a key sends in scan code set 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// One byte.
    Plain(u8),
    /// One byte after 0xe0.
    Extended(u8),
    /// Print Screen, which depends on the modifiers.
    Print,
    /// Pause, which has no release.
    Pause,
}

/// Name, code in set 2 (from which set 1 follows), code in set 3 if it has one.
const KEYS: &[(&str, Code, Option<u8>)] = &[
    ("shift", Plain(0x12), Some(0x12)),
    ("shift_r", Plain(0x59), Some(0x59)),
    ("alt", Plain(0x11), Some(0x19)),
    ("alt_r", Extended(0x11), Some(0x39)),
    ("ctrl", Plain(0x14), Some(0x11)),
    ("ctrl_r", Extended(0x14), Some(0x58)),
    ("esc", Plain(0x76), Some(0x08)),
    ("1", Plain(0x16), Some(0x16)),
    ("2", Plain(0x1e), Some(0x1e)),
    ("3", Plain(0x26), Some(0x26)),
    ("4", Plain(0x25), Some(0x25)),
    ("5", Plain(0x2e), Some(0x2e)),
    ("6", Plain(0x36), Some(0x36)),
    ("7", Plain(0x3d), Some(0x3d)),
    ("8", Plain(0x3e), Some(0x3e)),
    ("9", Plain(0x46), Some(0x46)),
    ("0", Plain(0x45), Some(0x45)),
    ("minus", Plain(0x4e), Some(0x4e)),
    ("equal", Plain(0x55), Some(0x55)),
    ("backspace", Plain(0x66), Some(0x66)),
    ("tab", Plain(0x0d), Some(0x0d)),
    ("q", Plain(0x15), Some(0x15)),
    ("w", Plain(0x1d), Some(0x1d)),
    ("e", Plain(0x24), Some(0x24)),
    ("r", Plain(0x2d), Some(0x2d)),
    ("t", Plain(0x2c), Some(0x2c)),
    ("y", Plain(0x35), Some(0x35)),
    ("u", Plain(0x3c), Some(0x3c)),
    ("i", Plain(0x43), Some(0x43)),
    ("o", Plain(0x44), Some(0x44)),
    ("p", Plain(0x4d), Some(0x4d)),
    ("bracket_left", Plain(0x54), Some(0x54)),
    ("bracket_right", Plain(0x5b), Some(0x5b)),
    ("ret", Plain(0x5a), Some(0x5a)),
    ("a", Plain(0x1c), Some(0x1c)),
    ("s", Plain(0x1b), Some(0x1b)),
    ("d", Plain(0x23), Some(0x23)),
    ("f", Plain(0x2b), Some(0x2b)),
    ("g", Plain(0x34), Some(0x34)),
    ("h", Plain(0x33), Some(0x33)),
    ("j", Plain(0x3b), Some(0x3b)),
    ("k", Plain(0x42), Some(0x42)),
    ("l", Plain(0x4b), Some(0x4b)),
    ("semicolon", Plain(0x4c), Some(0x4c)),
    ("apostrophe", Plain(0x52), Some(0x52)),
    ("grave_accent", Plain(0x0e), Some(0x0e)),
    ("backslash", Plain(0x5d), Some(0x5c)),
    ("z", Plain(0x1a), Some(0x1a)),
    ("x", Plain(0x22), Some(0x22)),
    ("c", Plain(0x21), Some(0x21)),
    ("v", Plain(0x2a), Some(0x2a)),
    ("b", Plain(0x32), Some(0x32)),
    ("n", Plain(0x31), Some(0x31)),
    ("m", Plain(0x3a), Some(0x3a)),
    ("comma", Plain(0x41), Some(0x41)),
    ("dot", Plain(0x49), Some(0x49)),
    ("slash", Plain(0x4a), Some(0x4a)),
    ("asterisk", Plain(0x7c), Some(0x7e)),
    ("spc", Plain(0x29), Some(0x29)),
    ("caps_lock", Plain(0x58), Some(0x14)),
    ("f1", Plain(0x05), Some(0x07)),
    ("f2", Plain(0x06), Some(0x0f)),
    ("f3", Plain(0x04), Some(0x17)),
    ("f4", Plain(0x0c), Some(0x1f)),
    ("f5", Plain(0x03), Some(0x27)),
    ("f6", Plain(0x0b), Some(0x2f)),
    ("f7", Plain(0x83), Some(0x37)),
    ("f8", Plain(0x0a), Some(0x3f)),
    ("f9", Plain(0x01), Some(0x47)),
    ("f10", Plain(0x09), Some(0x4f)),
    ("f11", Plain(0x78), Some(0x56)),
    ("f12", Plain(0x07), Some(0x5e)),
    ("num_lock", Plain(0x77), Some(0x76)),
    ("scroll_lock", Plain(0x7e), Some(0x5f)),
    ("less", Plain(0x61), Some(0x13)),
    ("sysrq", Plain(0x84), Some(0x57)),
    ("kp_divide", Extended(0x4a), Some(0x77)),
    ("kp_multiply", Plain(0x7c), Some(0x7e)),
    ("kp_subtract", Plain(0x7b), Some(0x84)),
    ("kp_add", Plain(0x79), Some(0x7c)),
    ("kp_enter", Extended(0x5a), Some(0x79)),
    ("kp_decimal", Plain(0x71), Some(0x71)),
    ("kp_0", Plain(0x70), Some(0x70)),
    ("kp_1", Plain(0x69), Some(0x69)),
    ("kp_2", Plain(0x72), Some(0x72)),
    ("kp_3", Plain(0x7a), Some(0x7a)),
    ("kp_4", Plain(0x6b), Some(0x6b)),
    ("kp_5", Plain(0x73), Some(0x73)),
    ("kp_6", Plain(0x74), Some(0x74)),
    ("kp_7", Plain(0x6c), Some(0x6c)),
    ("kp_8", Plain(0x75), Some(0x75)),
    ("kp_9", Plain(0x7d), Some(0x7d)),
    ("kp_comma", Plain(0x6d), Some(0x7b)),
    ("kp_equals", Plain(0x0f), None),
    ("home", Extended(0x6c), Some(0x6e)),
    ("pgup", Extended(0x7d), Some(0x6f)),
    ("pgdn", Extended(0x7a), Some(0x6d)),
    ("end", Extended(0x69), Some(0x65)),
    ("left", Extended(0x6b), Some(0x61)),
    ("up", Extended(0x75), Some(0x63)),
    ("down", Extended(0x72), Some(0x60)),
    ("right", Extended(0x74), Some(0x6a)),
    ("insert", Extended(0x70), Some(0x67)),
    ("delete", Extended(0x71), Some(0x64)),
    ("meta_l", Extended(0x1f), Some(0x8b)),
    ("meta_r", Extended(0x27), Some(0x8c)),
    ("menu", Extended(0x2f), Some(0x8d)),
    ("compose", Extended(0x2f), Some(0x8d)),
    ("power", Extended(0x37), None),
    ("sleep", Extended(0x3f), None),
    ("wake", Extended(0x5e), None),
    ("ro", Plain(0x51), Some(0x51)),
    ("yen", Plain(0x6a), Some(0x5d)),
    ("henkan", Plain(0x64), Some(0x86)),
    ("muhenkan", Plain(0x67), Some(0x85)),
    ("katakanahiragana", Plain(0x13), Some(0x87)),
    ("lang1", Plain(0xf2), None),
    ("lang2", Plain(0xf1), None),
    ("volumemute", Extended(0x23), None),
    ("audiomute", Extended(0x23), None),
    ("stop", Extended(0x28), None),
    ("again", Extended(0x25), None),
    ("props", Extended(0x2e), None),
    ("undo", Extended(0x36), None),
    ("front", Extended(0x4e), None),
    ("copy", Extended(0x63), None),
    ("open", Plain(0x08), None),
    ("paste", Plain(0x10), None),
    ("find", Extended(0x02), None),
    ("cut", Extended(0x06), None),
    ("lf", Plain(0x1f), None),
    ("help", Extended(0x5c), Some(0x09)),
    ("hiragana", Plain(0x62), None),
    ("f13", Plain(0x2f), None),
    ("f14", Plain(0x37), None),
    ("f15", Plain(0x3f), None),
    ("f16", Plain(0x60), None),
    ("f17", Extended(0x1e), None),
    ("f18", Extended(0x62), None),
    ("f19", Extended(0x26), None),
    ("f20", Plain(0x17), None),
    ("f21", Plain(0x53), None),
    ("f22", Extended(0x64), None),
    ("f23", Plain(0x50), None),
    ("f24", Plain(0x6f), None),
    ("volumedown", Extended(0x21), None),
    ("volumeup", Extended(0x32), None),
    ("audionext", Extended(0x4d), None),
    ("audioprev", Extended(0x15), None),
    ("audiostop", Extended(0x3b), None),
    ("audioplay", Extended(0x34), None),
    ("mediaselect", Extended(0x50), None),
    ("mail", Extended(0x48), None),
    ("calculator", Extended(0x2b), None),
    ("computer", Extended(0x40), None),
    ("ac_home", Extended(0x3a), None),
    ("ac_bookmarks", Extended(0x18), None),
    ("ac_back", Extended(0x38), None),
    ("ac_forward", Extended(0x30), None),
    ("ac_refresh", Extended(0x20), None),
    ("print", Print, Some(0x57)),
    ("pause", Pause, Some(0x62)),
];

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(usize);

impl Key {
    /// The key of that QKeyCode name (`a`, `ret`, `kp_1`, `pause`); None if the keyboard has none.
    pub fn by_name(name: &str) -> Option<Key> {
        KEYS.iter().position(|&(key, ..)| key == name).map(Key)
    }

    /// The key with that X11 keysym on a US keyboard (`0x61` is `a`, `0xff0d` is Return).
    pub fn by_keysym(keysym: u32) -> Option<Key> {
        keysyms::name(keysym).and_then(Key::by_name)
    }

    /// The key of that scan code of set 1, with bit 7 set if it comes after 0xe0 (`0x1e` is `a`, `0x9c` is
    /// the keypad's Enter): what VNC's extended key event and QMP's key numbers are.
    pub fn by_scancode(code: u8) -> Option<Key> {
        Key::all().find(|key| code != 0 && key.set_1() == code)
    }

    /// Scan code of set 1, as [`by_scancode`](Key::by_scancode) takes it.
    fn set_1(self) -> u8 {
        let translated = |code| Translator::default().feed(code).unwrap_or_default();
        match self.set_2() {
            Code::Plain(code) => translated(code) & 0x7f,
            Code::Extended(code) => translated(code) | 0x80,
            Code::Print => 0xb7,
            Code::Pause => 0xc6,
        }
    }

    /// Every key.
    pub fn all() -> impl Iterator<Item = Key> {
        (0..KEYS.len()).map(Key)
    }

    /// Its QKeyCode name.
    pub fn name(self) -> &'static str {
        KEYS[self.0].0
    }

    pub(super) fn set_2(self) -> Code {
        KEYS[self.0].1
    }

    pub(super) fn set_3(self) -> Option<u8> {
        KEYS[self.0].2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scan_codes_of_set_1_name_keys() {
        let name = |code| Key::by_scancode(code).map(Key::name);
        let some = [
            (0x01, "esc"),
            (0x1e, "a"),
            (0x2a, "shift"),
            (0x36, "shift_r"),
            (0x1c, "ret"),
            (0x9c, "kp_enter"),
            (0x3b, "f1"),
            (0x41, "f7"),
            (0x57, "f11"),
            (0x58, "f12"),
            (0x54, "sysrq"),
            (0xb7, "print"),
            (0xc6, "pause"),
            (0x45, "num_lock"),
            (0xc8, "up"),
            (0xcb, "left"),
            (0xd3, "delete"),
            (0xdb, "meta_l"),
            (0x56, "less"),
            (0x73, "ro"),
            (0x7d, "yen"),
            (0x72, "lang1"),
            (0xb5, "kp_divide"),
            (0x77, "hiragana"),
            (0x5d, "f13"),
            (0xe8, "stop"),
            (0xf5, "help"),
        ];
        for (code, expected) in some {
            assert_eq!(name(code), Some(expected), "{code:#x}");
        }
        assert_eq!([name(0), name(0x80), name(0xff)], [None; 3]);
        for key in Key::all() {
            let found = Key::by_scancode(key.set_1()).unwrap();
            assert_eq!(found.set_2(), key.set_2(), "{} or the same key by another name", key.name());
        }
    }

    #[test]
    fn every_qkeycode_is_a_key() {
        // QAPI's enumeration; `unmapped` is no key.
        let names = "shift shift_r alt alt_r ctrl ctrl_r menu esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace \
            tab q w e r t y u i o p bracket_left bracket_right ret a s d f g h j k l semicolon apostrophe \
            grave_accent backslash z x c v b n m comma dot slash asterisk spc caps_lock f1 f2 f3 f4 f5 f6 f7 \
            f8 f9 f10 num_lock scroll_lock kp_divide kp_multiply kp_subtract kp_add kp_enter kp_decimal \
            sysrq kp_0 kp_1 kp_2 kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 less f11 f12 print home pgup pgdn end \
            left up down right insert delete stop again props undo front copy open paste find cut lf help \
            meta_l meta_r compose pause ro hiragana henkan yen muhenkan katakanahiragana kp_comma kp_equals \
            power sleep wake audionext audioprev audiostop audioplay audiomute volumeup volumedown \
            mediaselect mail calculator computer ac_home ac_back ac_forward ac_refresh ac_bookmarks lang1 \
            lang2 f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24";
        for name in names.split_whitespace() {
            assert!(Key::by_name(name).is_some(), "{name}");
        }
        assert_eq!(Key::by_name("unmapped"), None);
    }

    #[test]
    fn keysyms_name_keys() {
        assert_eq!(Key::by_keysym(0xff0d).map(Key::name), Some("ret"));
        assert_eq!(Key::by_keysym(0xe9), None);
    }
}
