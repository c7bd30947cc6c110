//! From the first byte to the first update (RFC 6143, 7.1 to 7.3).

use super::super::auth;
use super::super::format::PixelFormat;
use super::super::spec::{security, vencrypt};
use super::{Hangup, Host, Session};
use crate::vnc::tiles::{Rect, Tiles};

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The client is to say its version.
    Version,
    /// The client is to choose among the security types that it was offered.
    Security { version: Version },
    /// The client is to answer the challenge.
    Challenge { version: Version, challenge: [u8; 16] },
    /// The client is to say its version of VeNCrypt.
    VeNCrypt { version: Version },
    /// The client is to choose what follows when the stream is encrypted.
    Subtype { version: Version },
    /// The stream is to be encrypted.
    Tls { version: Version, subtype: u32 },
    /// The client is to say a name and a password.
    Plain { version: Version },
    /// The client is to say whether it shares the screen with others.
    Init,
    /// The client waits for the screen's size.
    Picture { shared: bool },
    /// All is said: messages.
    Normal,
    /// What there is is sent; then the connection ends.
    Closing,
}

/// The versions that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The server decides.
    V3,
    /// The client chooses.
    V7,
    /// The client is told why it failed.
    V8,
}

impl Version {
    fn parse(text: &[u8; 12]) -> Option<Version> {
        let text = std::str::from_utf8(text).ok()?;
        let number = text.strip_prefix("RFB 003.")?.strip_suffix('\n')?;
        if !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        match number.parse() {
            Ok(7u16) => Some(Version::V7),
            Ok(8..) => Some(Version::V8),
            // 3.5 was never published and means 3.3, as does everything else.
            Ok(_) => Some(Version::V3),
            Err(_) => None,
        }
    }
}

/// The one security type that is offered.
fn kind(host: &Host<'_>) -> u8 {
    match host {
        Host { needs_tls: true, .. } => security::VENCRYPT,
        Host { needs_password: true, .. } => security::PASSWORD,
        _ => security::NONE,
    }
}

/// VeNCrypt's types that are offered, the best first: in a challenge only eight bytes of a password count.
fn subtypes(host: &Host<'_>) -> &'static [u32] {
    match host.needs_password {
        true => &[vencrypt::X509_PLAIN, vencrypt::X509_PASSWORD],
        false => &[vencrypt::X509_NONE],
    }
}

impl Session {
    /// Whether the client waits for the screen's size; if so, whether it shares.
    pub fn waits_for_size(&self) -> Option<bool> {
        match self.phase {
            Phase::Picture { shared } => Some(shared),
            _ => None,
        }
    }

    /// Whether it has come to messages.
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Normal
    }

    /// Whether the connection ends when all is sent.
    pub fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// Whether the client was let in alone.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Ends the handshake.
    pub fn begin(&mut self, size: (u16, u16), name: &str, exclusive: bool) {
        self.phase = Phase::Normal;
        self.exclusive = exclusive;
        self.size = size;
        self.dirty = Tiles::none(size.0, size.1);
        self.damage_all();
        self.out.extend(size.0.to_be_bytes());
        self.out.extend(size.1.to_be_bytes());
        self.out.extend(PixelFormat::OURS.to_bytes());
        self.out.extend((name.len() as u32).to_be_bytes());
        self.out.extend(name.as_bytes());
        self.told.name = name.to_owned();
    }

    /// All of the screen is new to the client.
    pub fn damage_all(&mut self) {
        let (width, height) = self.size;
        self.dirty.set_rect(Rect { x: 0, y: 0, width, height });
    }

    pub(super) fn shake(&mut self, data: &[u8], host: &Host<'_>) -> Result<usize, Hangup> {
        match self.phase {
            Phase::Version => {
                let Some(text) = data.first_chunk() else { return Ok(0) };
                self.offer(Version::parse(text).ok_or(Hangup)?, host)?;
                Ok(text.len())
            }
            Phase::Security { version } => {
                let Some(&choice) = data.first() else { return Ok(0) };
                self.choose(version, choice, host)?;
                Ok(1)
            }
            Phase::Challenge { version, challenge } => {
                let Some(answer) = data.first_chunk::<16>() else { return Ok(0) };
                let right = host
                    .password
                    .is_some_and(|password| auth::same(&auth::answer(password, challenge), answer));
                match right {
                    true => self.welcome(),
                    false => self.refuse(version, "authentication failed"),
                }
                Ok(answer.len())
            }
            Phase::VeNCrypt { version } => {
                let Some(&theirs) = data.first_chunk() else { return Ok(0) };
                if theirs != vencrypt::VERSION {
                    self.out.push(0xff);
                    self.phase = Phase::Closing;
                    return Ok(theirs.len());
                }
                self.out.extend([0, subtypes(host).len() as u8]);
                self.out.extend(subtypes(host).iter().flat_map(|subtype| subtype.to_be_bytes()));
                self.phase = Phase::Subtype { version };
                Ok(theirs.len())
            }
            Phase::Subtype { version } => {
                let Some(&choice) = data.first_chunk() else { return Ok(0) };
                let subtype = u32::from_be_bytes(choice);
                // Nothing may come before the encryption that would count after it.
                if data.len() > choice.len() {
                    return Err(Hangup);
                }
                let offered = subtypes(host).contains(&subtype);
                self.out.push(u8::from(offered));
                self.phase = if offered { Phase::Tls { version, subtype } } else { Phase::Closing };
                Ok(choice.len())
            }
            Phase::Plain { version } => {
                let Some((head, rest)) = data.split_first_chunk::<8>() else { return Ok(0) };
                let [a, b, c, d, e, f, g, h] = *head;
                let lengths = [[a, b, c, d], [e, f, g, h]].map(|len| u32::from_be_bytes(len) as usize);
                if lengths.iter().any(|len| *len > vencrypt::PLAIN_MAX) {
                    return Err(Hangup);
                }
                // There is one password, whoever says it.
                let [name, password] = lengths;
                let Some(said) = rest.get(name..name + password) else { return Ok(0) };
                match host.password.is_some_and(|password| auth::same(password, said)) {
                    true => self.welcome(),
                    false => self.refuse(version, "authentication failed"),
                }
                Ok(head.len() + name + password)
            }
            Phase::Init => {
                let Some(&shared) = data.first() else { return Ok(0) };
                self.phase = Phase::Picture { shared: shared != 0 };
                Ok(1)
            }
            Phase::Picture { .. } | Phase::Tls { .. } | Phase::Normal | Phase::Closing => Ok(0),
        }
    }

    fn offer(&mut self, version: Version, host: &Host<'_>) -> Result<(), Hangup> {
        let kind = kind(host);
        if version > Version::V3 {
            self.out.extend([1, kind]);
            self.phase = Phase::Security { version };
            return Ok(());
        }
        if host.needs_tls {
            // RFB 3.3 knows nothing of it; 0 is a refusal, with its reason.
            let why = "encryption is required";
            self.out.extend(0u32.to_be_bytes());
            self.out.extend((why.len() as u32).to_be_bytes());
            self.out.extend(why.as_bytes());
            self.phase = Phase::Closing;
            return Ok(());
        }
        self.out.extend(u32::from(kind).to_be_bytes());
        match host.needs_password {
            true => self.challenge(version)?,
            false => self.phase = Phase::Init,
        }
        Ok(())
    }

    fn choose(&mut self, version: Version, choice: u8, host: &Host<'_>) -> Result<(), Hangup> {
        match choice {
            _ if choice != kind(host) => self.refuse(version, "this security type was not offered"),
            security::VENCRYPT => {
                self.out.extend(vencrypt::VERSION);
                self.phase = Phase::VeNCrypt { version };
            }
            security::PASSWORD => self.challenge(version)?,
            _ => match version {
                Version::V8 => self.welcome(),
                Version::V3 | Version::V7 => self.phase = Phase::Init,
            },
        }
        Ok(())
    }

    /// Whether the stream is to be encrypted from here on, in both directions.
    pub fn wants_tls(&self) -> bool {
        matches!(self.phase, Phase::Tls { .. })
    }

    /// It is.
    pub fn secured(&mut self) -> Result<(), Hangup> {
        let Phase::Tls { version, subtype } = self.phase else { return Ok(()) };
        match subtype {
            vencrypt::X509_PLAIN => self.phase = Phase::Plain { version },
            vencrypt::X509_PASSWORD => self.challenge(version)?,
            _ => self.welcome(),
        }
        Ok(())
    }

    fn challenge(&mut self, version: Version) -> Result<(), Hangup> {
        let challenge = auth::challenge().map_err(|_| Hangup)?;
        self.out.extend(challenge);
        self.phase = Phase::Challenge { version, challenge };
        Ok(())
    }

    fn welcome(&mut self) {
        self.out.extend(0u32.to_be_bytes());
        self.phase = Phase::Init;
    }

    fn refuse(&mut self, version: Version, why: &str) {
        self.out.extend(1u32.to_be_bytes());
        if version == Version::V8 {
            self.out.extend((why.len() as u32).to_be_bytes());
            self.out.extend(why.as_bytes());
        }
        self.phase = Phase::Closing;
    }
}
