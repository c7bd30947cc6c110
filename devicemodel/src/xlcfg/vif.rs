//! What a network card of xl-network-configuration(5) is to our machine.

use crate::config::{Card, ConfigError};

/// xl's usual card.
const USUAL: &str = "rtl8139";

/// Reads one card; none for one that only PV drivers see. What means nothing here is added to
/// `warnings`.
pub(super) fn parse(
    text: &str,
    number: usize,
    warnings: &mut Vec<String>,
) -> Result<Option<Card>, ConfigError> {
    let (mut model, mut mac, mut emulated) = (USUAL.to_owned(), None, true);
    for field in text.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        match (key.trim(), value.trim()) {
            ("model", name) => model = name.to_owned(),
            ("mac", address) => mac = Some(address.to_owned()),
            ("type", "ioemu") => emulated = true,
            ("type", "vif") => emulated = false,
            ("type", other) => return Err(ConfigError::value("vif type", other, "ioemu or vif")),
            // Whoever asks for a rate relies on it.
            ("rate", rate) => warnings.push(format!("vif rate={rate}: the card is not slowed down")),
            // A bridge of the host and what Xen's scripts do with it: user networking needs neither.
            ("bridge" | "script" | "vifname" | "devid" | "gatewaydev" | "ip" | "accel", _) => {}
            ("backend" | "trusted" | "mtu", _) => {
                warnings.push(format!("vif option '{}' means nothing here", key.trim()));
            }
            (other, _) => {
                return Err(ConfigError::Invalid(format!("vif: '{other}' is not a key that xl knows")));
            }
        }
    }
    if !emulated {
        warnings.push("a vif of type=vif is for PV drivers only: there is no Xen to serve them".to_owned());
        return Ok(None);
    }
    let properties = mac.map(|mac| ("mac".to_owned(), mac)).into_iter().collect();
    Ok(Some(Card { id: Some(format!("nic{number}")), model, properties }))
}
