//! The PC's character set, IBM code page 437, with the signs that text mode shows for control codes.

/// Codes 0x00 to 0x1f; 0 is blank.
const LOW: &str = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
/// Codes 0x80 to 0xff; the last is a no-break space, blank too.
const HIGH: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
                    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";

/// The character of each code.
pub fn table() -> [char; 256] {
    let mut table: [char; 256] = std::array::from_fn(|code| char::from(code as u8));
    table[0x7f] = '⌂';
    table.iter_mut().zip(LOW.chars()).for_each(|(to, from)| *to = from);
    table.iter_mut().skip(0x80).zip(HIGH.chars()).for_each(|(to, from)| *to = from);
    table
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_code_has_its_character() {
        assert_eq!((super::LOW.chars().count(), super::HIGH.chars().count()), (32, 128));
        let table = super::table();
        let codes = [0x00, 0x01, 0x1f, 0x20, b'A', 0x7f, 0x80, 0xb0, 0xc4, 0xdb, 0xe1, 0xfe, 0xff];
        assert_eq!(String::from_iter(codes.map(|code| table[usize::from(code)])), " ☺▼ A⌂Ç░─█ß■ ");
    }
}
