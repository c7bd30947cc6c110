//! The VNC server.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::Guest;
use super::super::info::{VncClientInfo, VncInfo};
use super::super::protocol::{Command, QmpError};
use super::super::table::{CommandSpec, Table};
use super::{Context, arguments, nothing};

/// QEMU's name of the one server that there is.
const SERVER: &str = "default";

pub(super) static TABLE: Table = Table {
    types: "
enum NetworkAddressFamily ipv4 ipv6 unix
enum VncPrimaryAuth none vnc vencrypt
enum VncVencryptSubAuth x509-none x509-vnc x509-plain
object VncClientInfo host:str service:str family:NetworkAddressFamily websocket:bool
object VncInfo enabled:bool ?host:str ?family:NetworkAddressFamily ?service:str ?auth:str ?clients:[VncClientInfo]
object VncServerInfo2 host:str service:str family:NetworkAddressFamily websocket:bool auth:VncPrimaryAuth
  ?vencrypt:VncVencryptSubAuth
object VncInfo2 id:str server:[VncServerInfo2] clients:[VncClientInfo] auth:VncPrimaryAuth
  ?vencrypt:VncVencryptSubAuth ?display:str
enum DisplayProtocol vnc spice
enum SetPasswordAction keep fail disconnect
object SetPasswordOptionsVnc ?display:str
union SetPasswordOptions protocol protocol:DisplayProtocol password:str ?connected:SetPasswordAction
  | vnc=SetPasswordOptionsVnc
object ExpirePasswordOptionsVnc ?display:str
union ExpirePasswordOptions protocol protocol:DisplayProtocol time:str | vnc=ExpirePasswordOptionsVnc
",
    commands: &[
        CommandSpec::new("query-vnc", |_, context| Ok(summary(context.guest))).returns("VncInfo"),
        CommandSpec::new("query-vnc-servers", |_, context| {
            Ok(context.guest.vnc().iter().map(server).collect())
        })
        .returns("[VncInfo2]"),
        CommandSpec::new("change-vnc-password", |command, context| {
            let Password { password } = arguments(command)?;
            nothing(context.guest.set_vnc_password(&password))
        })
        .takes("password:str"),
        CommandSpec::new("set_password", |command, context| nothing(set_password(command, context)))
            .takes("= SetPasswordOptions"),
        CommandSpec::new("expire_password", |command, context| nothing(expire_password(command, context)))
            .takes("= ExpirePasswordOptions"),
    ],
};

#[derive(Deserialize)]
struct Password {
    password: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    Vnc,
    Spice,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Connected {
    #[default]
    Keep,
    Fail,
    Disconnect,
}

#[derive(Deserialize)]
struct SetPassword {
    protocol: Protocol,
    password: String,
    #[serde(default)]
    connected: Connected,
    display: Option<String>,
}

#[derive(Deserialize)]
struct ExpirePassword {
    protocol: Protocol,
    time: String,
    display: Option<String>,
}

/// Whether it is our server that is meant.
fn check(protocol: Protocol, display: Option<&str>, otherwise: &str) -> Result<(), QmpError> {
    match (protocol, display) {
        (Protocol::Spice, _) => Err(QmpError::device_not_active("SPICE is not in use")),
        (Protocol::Vnc, None | Some(SERVER)) => Ok(()),
        (Protocol::Vnc, Some(_)) => Err(QmpError::generic(otherwise)),
    }
}

fn set_password(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let SetPassword { protocol, password, connected, display } = arguments(command)?;
    check(protocol, display.as_deref(), "Could not set password")?;
    if connected != Connected::Keep {
        // RFB has no way to ask those who are in again.
        let why = "Parameter 'connected' expects 'keep' when 'protocol' is 'vnc'";
        return Err(QmpError::generic(why));
    }
    context.guest.set_vnc_password(&password)
}

fn expire_password(command: &Command, context: &mut Context<'_>) -> Result<(), QmpError> {
    let ExpirePassword { protocol, time, display } = arguments(command)?;
    check(protocol, display.as_deref(), "Could not set password expire time")?;
    let now = u64::try_from(crate::host::seconds()).unwrap_or(0);
    let wrong = || {
        let why = format!("Parameter 'time' doesn't take value '{time}': now, never, +SECONDS or SECONDS");
        QmpError::generic(why)
    };
    let at = match time.as_str() {
        "now" => Some(0),
        "never" => None,
        other => Some(match other.strip_prefix('+') {
            Some(more) => now.saturating_add(more.parse().map_err(|_| wrong())?),
            None => other.parse().map_err(|_| wrong())?,
        }),
    };
    context.guest.expire_vnc_password(at)
}

fn client(client: &VncClientInfo) -> Value {
    let VncClientInfo { host, service, family, websocket } = client;
    json!({ "host": host, "service": service, "family": family, "websocket": websocket })
}

fn summary(guest: &dyn Guest) -> Value {
    let Some(vnc) = guest.vnc() else { return json!({ "enabled": false }) };
    json!({
        "enabled": true,
        "auth": vnc.auth,
        "family": vnc.family,
        "clients": vnc.clients.iter().map(client).collect::<Value>(),
        "service": vnc.service,
        "host": vnc.host,
    })
}

/// How clients show who they are.
fn auth(encrypts: bool, needs_password: bool) -> Map<String, Value> {
    let kind = match (encrypts, needs_password) {
        (true, _) => "vencrypt",
        (false, true) => "vnc",
        (false, false) => "none",
    };
    let inner = encrypts.then_some(if needs_password { "x509-vnc" } else { "x509-none" });
    let pairs = [("auth", Some(kind)), ("vencrypt", inner)];
    pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))).collect()
}

/// For `query-vnc-servers`: a browser that must encrypt does so before it speaks RFB, which then need not.
fn server(vnc: &VncInfo) -> Value {
    let place = |host: &str, service: &str, websocket: bool| {
        let mut all = auth(vnc.encrypts && !websocket, vnc.needs_password);
        for (key, value) in [("host", host), ("service", service), ("family", vnc.family)] {
            all.insert(key.to_owned(), value.into());
        }
        all.insert("websocket".to_owned(), websocket.into());
        Value::from(all)
    };
    let mut servers = vec![place(&vnc.host, &vnc.service, false)];
    servers.extend(vnc.websocket.iter().map(|(host, service)| place(host, service, true)));
    let mut all = auth(vnc.encrypts, vnc.needs_password);
    all.insert("id".to_owned(), SERVER.into());
    all.insert("server".to_owned(), servers.into());
    all.insert("clients".to_owned(), vnc.clients.iter().map(client).collect());
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_as_clients_reach_them() {
        let vnc = VncInfo {
            host: "127.0.0.1".into(),
            service: "5901".into(),
            family: "ipv4",
            auth: "vencrypt+x509+vnc",
            needs_password: true,
            encrypts: true,
            websocket: Some(("127.0.0.1".into(), "5701".into())),
            clients: vec![VncClientInfo {
                host: "10.0.0.1".into(),
                service: "40000".into(),
                family: "ipv4",
                websocket: true,
            }],
        };
        let at = |service: &str, websocket: bool| json!({ "host": "127.0.0.1", "service": service, "family": "ipv4", "websocket": websocket });
        let with = |mut value: Value, more: &[(&str, &str)]| {
            more.iter().for_each(|(key, word)| value[*key] = (*word).into());
            value
        };
        let (plain, web) = (("auth", "vencrypt"), ("auth", "vnc"));
        let expected = json!({
            "id": "default",
            "server": [
                with(at("5901", false), &[plain, ("vencrypt", "x509-vnc")]),
                with(at("5701", true), &[web]),
            ],
            "clients": [{ "host": "10.0.0.1", "service": "40000", "family": "ipv4", "websocket": true }],
            "auth": "vencrypt",
            "vencrypt": "x509-vnc",
        });
        assert_eq!(server(&vnc), expected);
        let open =
            VncInfo { encrypts: false, needs_password: false, websocket: None, clients: vec![], ..vnc };
        let expected = json!({
            "id": "default", "server": [with(at("5901", false), &[("auth", "none")])], "clients": [], "auth": "none",
        });
        assert_eq!(server(&open), expected);
    }
}
