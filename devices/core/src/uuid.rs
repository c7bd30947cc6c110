//! UUIDs (RFC 4122), in the order of their text form.

/// Reads 32 hexadecimal digits, as in `6b3e0fa2-0c0f-4b0e-8d43-0f2a3c4d5e6f`. Where the hyphens are is not looked at, nor
/// whether there are any, as by xl.
pub fn parse(text: &str) -> Option<[u8; 16]> {
    let digits: Option<Vec<u8>> =
        text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits: [u8; 32] = digits?.try_into().ok()?;
    Some(std::array::from_fn(|n| digits[2 * n] << 4 | digits[2 * n + 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_in_their_order() {
        let id: [u8; 16] = std::array::from_fn(|n| 0x11 * n as u8);
        assert_eq!(parse("00112233-4455-6677-8899-aabbccddeeff"), Some(id));
        assert_eq!(parse("00112233445566778899AABBCCDDEEFF"), Some(id));
        for wrong in ["", "0011", "zz112233-4455-6677-8899-aabbccddeeff", "00112233445566778899aabbccddeeff0"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
