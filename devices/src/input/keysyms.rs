//! Which key a symbol is on, for clients that name keys by X11's keysyms.
//!
//! Numbers are those of X11's `keysymdef.h`, places those of the US keyboard with its 102nd key. The guest
//! has a layout of its own: what it makes of a key is its affair.

/// Keysyms of keys that do not print, and of those that have no place among letters and digits.
const NAMED: &[(u32, &str)] = &[
    (0x20, "spc"),
    (0xa0, "spc"),
    (0xa5, "yen"),
    (0xfe03, "alt_r"),
    (0xfe11, "alt_r"),
    (0xfe20, "tab"),
    (0xff08, "backspace"),
    (0xff09, "tab"),
    (0xff0a, "ret"),
    (0xff0d, "ret"),
    (0xff13, "pause"),
    (0xff14, "scroll_lock"),
    (0xff15, "sysrq"),
    (0xff1b, "esc"),
    (0xff22, "muhenkan"),
    (0xff23, "henkan"),
    (0xff25, "hiragana"),
    (0xff27, "katakanahiragana"),
    (0xff2a, "grave_accent"),
    (0xff31, "lang1"),
    (0xff34, "lang2"),
    (0xff50, "home"),
    (0xff51, "left"),
    (0xff52, "up"),
    (0xff53, "right"),
    (0xff54, "down"),
    (0xff55, "pgup"),
    (0xff56, "pgdn"),
    (0xff57, "end"),
    (0xff61, "print"),
    (0xff63, "insert"),
    (0xff65, "undo"),
    (0xff66, "again"),
    (0xff67, "menu"),
    (0xff68, "find"),
    (0xff69, "stop"),
    (0xff6a, "help"),
    (0xff6b, "pause"),
    (0xff7e, "alt_r"),
    (0xff7f, "num_lock"),
    (0xff89, "tab"),
    (0xff8d, "kp_enter"),
    (0xff95, "kp_7"),
    (0xff96, "kp_4"),
    (0xff97, "kp_8"),
    (0xff98, "kp_6"),
    (0xff99, "kp_2"),
    (0xff9a, "kp_9"),
    (0xff9b, "kp_3"),
    (0xff9c, "kp_1"),
    (0xff9d, "kp_5"),
    (0xff9e, "kp_0"),
    (0xff9f, "kp_decimal"),
    (0xffaa, "kp_multiply"),
    (0xffab, "kp_add"),
    (0xffac, "kp_comma"),
    (0xffad, "kp_subtract"),
    (0xffae, "kp_decimal"),
    (0xffaf, "kp_divide"),
    (0xffbd, "kp_equals"),
    (0xffe1, "shift"),
    (0xffe2, "shift_r"),
    (0xffe3, "ctrl"),
    (0xffe4, "ctrl_r"),
    (0xffe5, "caps_lock"),
    (0xffe7, "meta_l"),
    (0xffe8, "meta_r"),
    (0xffe9, "alt"),
    (0xffea, "alt_r"),
    (0xffeb, "meta_l"),
    (0xffec, "meta_r"),
    (0xffff, "delete"),
    (0x1005_ff70, "props"),
    (0x1005_ff71, "front"),
    (0x1005_ff72, "copy"),
    (0x1005_ff73, "open"),
    (0x1005_ff74, "paste"),
    (0x1005_ff75, "cut"),
    (0x1008_ff11, "volumedown"),
    (0x1008_ff12, "volumemute"),
    (0x1008_ff13, "volumeup"),
    (0x1008_ff14, "audioplay"),
    (0x1008_ff15, "audiostop"),
    (0x1008_ff16, "audioprev"),
    (0x1008_ff17, "audionext"),
    (0x1008_ff18, "ac_home"),
    (0x1008_ff19, "mail"),
    (0x1008_ff1d, "calculator"),
    (0x1008_ff26, "ac_back"),
    (0x1008_ff27, "ac_forward"),
    (0x1008_ff29, "ac_refresh"),
    (0x1008_ff2a, "power"),
    (0x1008_ff2b, "wake"),
    (0x1008_ff2f, "sleep"),
    (0x1008_ff30, "ac_bookmarks"),
    (0x1008_ff32, "mediaselect"),
    (0x1008_ff33, "computer"),
    (0x1008_ff57, "copy"),
    (0x1008_ff58, "cut"),
    (0x1008_ff6b, "open"),
    (0x1008_ff6d, "paste"),
];

/// What else is printed on a key, without and with Shift.
const PRINTED: &[(&str, &str)] = &[
    ("1!", "1"),
    ("2@", "2"),
    ("3#", "3"),
    ("4$", "4"),
    ("5%", "5"),
    ("6^", "6"),
    ("7&", "7"),
    ("8*", "8"),
    ("9(", "9"),
    ("0)", "0"),
    ("-_", "minus"),
    ("=+", "equal"),
    ("[{", "bracket_left"),
    ("]}", "bracket_right"),
    (";:", "semicolon"),
    ("'\"", "apostrophe"),
    ("`~", "grave_accent"),
    ("\\|", "backslash"),
    (",<", "comma"),
    (".>", "dot"),
    ("/?", "slash"),
    // Only keyboards with the 102nd key have these.
    ("\u{a6}", "less"),
];

const LETTERS: [&str; 26] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u",
    "v", "w", "x", "y", "z",
];
const FUNCTIONS: [&str; 24] = [
    "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14", "f15", "f16",
    "f17", "f18", "f19", "f20", "f21", "f22", "f23", "f24",
];
const KEYPAD: [&str; 10] = ["kp_0", "kp_1", "kp_2", "kp_3", "kp_4", "kp_5", "kp_6", "kp_7", "kp_8", "kp_9"];

/// Keysyms of Latin-1 are its code points; others of Unicode have this bit.
const UNICODE: u32 = 0x0100_0000;

/// The QKeyCode name of the key with that symbol.
pub(super) fn name(keysym: u32) -> Option<&'static str> {
    let pick = |names: &[&'static str], first: u32| names.get((keysym - first) as usize).copied();
    match keysym {
        0x61..=0x7a => pick(&LETTERS, 0x61),
        0x41..=0x5a => pick(&LETTERS, 0x41),
        0xffbe..=0xffd5 => pick(&FUNCTIONS, 0xffbe),
        0xffb0..=0xffb9 => pick(&KEYPAD, 0xffb0),
        _ => named(keysym).or_else(|| printed(keysym)),
    }
}

fn named(keysym: u32) -> Option<&'static str> {
    NAMED.iter().find(|&&(known, _)| known == keysym).map(|&(_, name)| name)
}

fn printed(keysym: u32) -> Option<&'static str> {
    let symbol = char::from_u32(keysym & !UNICODE)?;
    PRINTED.iter().find(|(symbols, _)| symbols.contains(symbol)).map(|&(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::super::keys::Key;
    use super::*;

    #[test]
    fn every_name_is_a_key() {
        let names = NAMED.iter().map(|&(_, name)| name).chain(PRINTED.iter().map(|&(_, name)| name));
        for name in names.chain(LETTERS).chain(FUNCTIONS).chain(KEYPAD) {
            assert!(Key::by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn every_printable_character_of_ascii_has_a_key() {
        for keysym in 0x20..0x7f {
            assert!(name(keysym).is_some(), "{keysym:#x}");
        }
        let names = ['a', 'A', '5', '%', '?', '"'].map(|symbol| name(symbol as u32).unwrap());
        assert_eq!(names, ["a", "a", "5", "5", "slash", "apostrophe"]);
    }

    #[test]
    fn symbols_that_no_key_has_are_none() {
        for keysym in [0, 0x1f, 0x7f, 0xe9, 0xfe50, 0xffd6, 0x0100_20ac, u32::MAX] {
            assert_eq!(name(keysym), None, "{keysym:#x}");
        }
        assert_eq!(name(UNICODE | '7' as u32), Some("7"));
    }
}
