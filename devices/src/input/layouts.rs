//! Keyboard layouts: which key a client with that keyboard pressed when it names only the symbol.

use super::keys::Key;

const TABLE: &str = include_str!("layouts.txt");
/// Stands for no symbol in the table.
const NOTHING: char = '\u{2400}';
/// Keysyms of Latin-1 are its code points; others of Unicode have this bit.
const UNICODE: u32 = 0x0100_0000;
/// What the keypad's comma key sends on keyboards where the decimal key has the comma.
const SEPARATOR: u32 = 0xffac;

/// Keysyms of dead keys, with the combining accents that stand for them in the table.
const DEAD: &[(u32, char)] = &[
    (0xfe50, '\u{300}'),
    (0xfe51, '\u{301}'),
    (0xfe52, '\u{302}'),
    (0xfe53, '\u{303}'),
    (0xfe54, '\u{304}'),
    (0xfe55, '\u{306}'),
    (0xfe56, '\u{307}'),
    (0xfe57, '\u{308}'),
    (0xfe58, '\u{30a}'),
    (0xfe59, '\u{30b}'),
    (0xfe5a, '\u{30c}'),
    (0xfe5b, '\u{327}'),
    (0xfe5c, '\u{328}'),
    (0xfe5d, '\u{345}'),
    (0xfe60, '\u{323}'),
    (0xfe61, '\u{309}'),
    (0xfe62, '\u{31b}'),
    (0xfe63, '\u{338}'),
];

/// Scan codes of set 1 of the keys that a layout speaks of, in the order of the table.
fn codes() -> impl Iterator<Item = u8> {
    (0x02..=0x0d).chain(0x10..=0x1b).chain(0x1e..=0x29).chain(0x2b..=0x35).chain([0x56, 0x73, 0x7d])
}

/// A symbol on a key.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    symbol: char,
    key: Key,
    /// Bit 0: with Shift, bit 1: with AltGr.
    level: u8,
}

/// A keyboard's layout.
#[derive(Clone, Debug)]
pub struct Layout {
    name: &'static str,
    symbols: Vec<Symbol>,
}

impl Layout {
    /// The layout of that name, as QEMU's `-k` has them (`de`, `fr-ch`, `pt-br`).
    pub fn by_name(name: &str) -> Option<Layout> {
        let (name, keys) = lines().find(|&(known, _)| known == name)?;
        let mut symbols = Vec::new();
        for (key, text) in codes().filter_map(Key::by_scancode).zip(keys.split(' ')) {
            let levels = text.chars().zip(0..).filter(|&(symbol, _)| symbol != NOTHING);
            symbols.extend(levels.map(|(symbol, level)| Symbol { symbol, key, level }));
        }
        Some(Layout { name, symbols })
    }

    /// The names of all layouts.
    pub fn names() -> impl Iterator<Item = &'static str> {
        lines().map(|(name, _)| name)
    }

    /// The key with that X11 keysym, while Shift and AltGr are held or not: a symbol may be on several keys.
    /// What the layout has no key for is where a US keyboard has it.
    pub fn key(&self, keysym: u32, shift: bool, alt_gr: bool) -> Option<Key> {
        if keysym == SEPARATOR && self.name != "pt-br" {
            return Key::by_name("kp_decimal");
        }
        let level = u8::from(shift) | u8::from(alt_gr) << 1;
        symbol(keysym).and_then(|symbol| self.find(symbol, level)).or_else(|| Key::by_keysym(keysym))
    }

    fn find(&self, symbol: char, level: u8) -> Option<Key> {
        // Of two keys the one whose modifiers are held, else the one that needs the fewest.
        let on = |wanted: char| self.symbols.iter().filter(move |known| known.symbol == wanted);
        let nearest = |wanted| on(wanted).min_by_key(|known| (known.level != level, known.level));
        let small = || symbol.to_lowercase().next().filter(|&small| small != symbol);
        nearest(symbol).or_else(|| small().and_then(nearest)).map(|known| known.key)
    }
}

/// The layouts of the table.
fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter(|line| !line.starts_with(['#', '@'])).filter_map(|line| line.split_once(' '))
}

/// What a keysym prints, dead keys by their accents.
fn symbol(keysym: u32) -> Option<char> {
    match keysym {
        0x21..=0x7e | 0xa1..=0xff => char::from_u32(keysym),
        UNICODE.. => char::from_u32(keysym - UNICODE),
        _ => DEAD
            .iter()
            .find(|&&(known, _)| known == keysym)
            .map(|&(_, symbol)| symbol)
            .or_else(|| old(keysym)),
    }
}

/// What a keysym from before Unicode prints.
fn old(keysym: u32) -> Option<char> {
    TABLE.lines().filter_map(|line| line.strip_prefix('@')?.split_once(' ')).find_map(|(first, symbols)| {
        let at = keysym.checked_sub(u32::from_str_radix(first, 16).ok()?)?;
        symbols.chars().nth(at as usize).filter(|&symbol| symbol != NOTHING)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(layout: &str, keysym: u32) -> Option<&'static str> {
        Layout::by_name(layout).unwrap().key(keysym, false, false).map(Key::name)
    }

    #[test]
    fn qemus_names_are_all_there() {
        let names = "ar bepo cz da de de-ch en-gb en-us es et fi fo fr fr-be fr-ca fr-ch hr hu is it ja lt lv mk nl \
            nl-be no pl pt pt-br ru sl sv th tr";
        assert_eq!(Layout::names().collect::<Vec<_>>(), names.split_whitespace().collect::<Vec<_>>());
        assert!(["", "xx", "de ", "@1a1", "#"].iter().all(|name| Layout::by_name(name).is_none()));
    }

    #[test]
    fn every_key_of_every_layout_is_one() {
        assert!(codes().all(|code| Key::by_scancode(code).is_some()));
        for (name, keys) in lines() {
            let keys: Vec<&str> = keys.split(' ').collect();
            assert!((48..=50).contains(&keys.len()), "{name}");
            assert!(keys.iter().all(|key| (1..=4).contains(&key.chars().count())), "{name}");
            // Digits and all letters of English can be typed.
            let layout = Layout::by_name(name).unwrap();
            assert!((0x21..0x7f).all(|keysym| layout.key(keysym, false, false).is_some()), "{name}");
        }
    }

    #[test]
    fn symbols_are_where_the_country_has_them() {
        let places = [
            ("en-us", 'y' as u32, "y"),
            ("de", 'y' as u32, "z"),
            ("de", 'Z' as u32, "y"),
            ("de", 0xfc, "bracket_left"),
            ("de", 0xdf, "minus"),
            ("de", '+' as u32, "bracket_right"),
            ("de", '@' as u32, "q"),
            ("de", 0x20ac, "e"),
            ("de", 0xfe52, "grave_accent"),
            ("de", 0xffac, "kp_decimal"),
            ("de", 0xff0d, "ret"),
            ("fr", 'a' as u32, "q"),
            ("fr", 'm' as u32, "semicolon"),
            ("fr", 0xe9, "2"),
            ("tr", 0xfc, "bracket_right"),
            ("tr", 0x2b9, "i"),
            ("tr", UNICODE | 0x131, "i"),
            ("pl", 0x1b1, "a"),
            ("ru", 0x6c1, "f"),
            ("ru", UNICODE | 0x430, "f"),
            ("ru", 'f' as u32, "f"),
            ("th", 0xda1, "d"),
            ("cz", 0x1cc, "2"),
            ("pt-br", '/' as u32, "ro"),
            ("pt-br", 0xffac, "kp_comma"),
            ("ja", '\\' as u32, "ro"),
            ("en-gb", '\\' as u32, "less"),
        ];
        for (layout, keysym, key) in places {
            assert_eq!(on(layout, keysym), Some(key), "{layout} {keysym:#x}");
        }
        assert_eq!(on("de", 0x0110_0000 + 0x10_ffff), None);
        assert_eq!([on("de", 0), on("de", 0xff), on("de", u32::MAX)], [None; 3]);
    }

    #[test]
    fn of_two_keys_the_one_whose_modifiers_are_held() {
        let layout = Layout::by_name("fr-be").unwrap();
        let key = |shift, alt_gr| layout.key('|' as u32, shift, alt_gr).unwrap().name();
        let bar: Vec<_> = layout.symbols.iter().filter(|known| known.symbol == '|').collect();
        for known in bar {
            assert_eq!(key(known.level & 1 != 0, known.level & 2 != 0), known.key.name());
        }
    }
}
