//! The PC's character set, IBM code page 437, with the signs that text mode shows for control codes.

/// Codes 0x00 to 0x1f; 0 is blank.
const LOW: &str = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
/// Codes 0x80 to 0xff; the last is a no-break space, blank too.
const HIGH: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
                    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";

/// The character of a code.
pub fn unicode(code: u8) -> char {
    let found = match code {
        0x00..=0x1f => LOW.chars().nth(code.into()),
        0x7f => Some('⌂'),
        0x20..=0x7e => Some(char::from(code)),
        0x80.. => HIGH.chars().nth(usize::from(code - 0x80)),
    };
    found.unwrap_or(' ')
}
