//! Viewers that encrypt.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::tls::{Credentials, TlsError};

/// Makes an authority, and what it signs for a server and for a client.
fn certificates(folder: &Path) {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca-cert.pem", params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    for (name, names) in [("server", vec!["localhost".to_owned()]), ("client", vec!["client".to_owned()])] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        write(&format!("{name}-cert.pem"), params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}-key.pem"), key.serialize_pem());
    }
}

/// A client that trusts the authority; `known`: it has a certificate of its own.
fn connection(folder: &Path, known: bool) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca-cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let config = if known {
        let own = CertificateDer::from_pem_file(folder.join("client-cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("client-key.pem")).unwrap();
        config.with_client_auth_cert(vec![own], key).unwrap()
    } else {
        config.with_no_client_auth()
    };
    ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

/// Moves bytes between an encrypted stream and one that is not, to the end of either.
fn pump<S: Read + Write>(mut tls: ClientConnection, mut wire: S, mut near: UnixStream) {
    let later = |error: &std::io::Error| {
        matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    };
    let mut data = vec![0; 1 << 16];
    near.set_nonblocking(true).unwrap();
    loop {
        match near.read(&mut data) {
            Ok(0) => return,
            Ok(len) => tls.writer().write_all(&data[..len]).unwrap(),
            Err(error) => assert!(later(&error), "{error}"),
        }
        while tls.wants_write() {
            if tls.write_tls(&mut wire).is_err() {
                return;
            }
        }
        // Waits for a little while.
        match tls.read_tls(&mut wire) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if later(&error) => continue,
            Err(_) => return,
        }
        if tls.process_new_packets().is_err() {
            return;
        }
        while let Ok(len @ 1..) = tls.reader().read(&mut data) {
            near.set_nonblocking(false).unwrap();
            if near.write_all(&data[..len]).is_err() {
                return;
            }
            near.set_nonblocking(true).unwrap();
        }
    }
}

const SOON: Option<Duration> = Some(Duration::from_millis(5));

/// The stream with encryption under it.
fn encrypted(wire: UnixStream, tls: ClientConnection) -> UnixStream {
    let (near, far) = UnixStream::pair().unwrap();
    wire.set_read_timeout(SOON).unwrap();
    std::thread::spawn(move || pump(tls, wire, far));
    near
}

struct Secure {
    setup: Setup,
    folder: TempDir,
}

fn secure(options: &str, verify_peer: bool) -> Secure {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let tls = Credentials::load(folder.path(), verify_peer).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let place = match options.contains("websocket") {
        true => "127.0.0.1:1000,to=9999".to_owned(),
        false => format!("unix:{}", dir.path().join("vnc").display()),
    };
    let setup = Setup::encrypted(&format!("{place}{options}"), picture(200, 100), dir, Some(tls));
    Secure { setup, folder }
}

impl Secure {
    /// A client that has agreed on VeNCrypt and sees the types that there are.
    fn dial(&self) -> (UnixStream, Vec<u32>) {
        let mut stream = UnixStream::connect(self.setup.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut data = [0; 12];
        stream.read_exact(&mut data).unwrap();
        stream.write_all(b"RFB 003.008\n").unwrap();
        stream.read_exact(&mut data[..2]).unwrap();
        assert_eq!(data[..2], [1, 19]);
        stream.write_all(&[19]).unwrap();
        stream.read_exact(&mut data[..2]).unwrap();
        assert_eq!(data[..2], [0, 2]);
        stream.write_all(&[0, 2]).unwrap();
        stream.read_exact(&mut data[..2]).unwrap();
        assert_eq!(data[0], 0);
        let mut types = vec![0; usize::from(data[1]) * 4];
        stream.read_exact(&mut types).unwrap();
        let types = types.chunks(4).map(|number| u32::from_be_bytes(number.try_into().unwrap())).collect();
        (stream, types)
    }

    /// One that has chosen, and encrypts.
    fn choose(&self, subtype: u32, known: bool) -> Client {
        let (mut stream, _) = self.dial();
        stream.write_all(&subtype.to_be_bytes()).unwrap();
        let mut accepted = [0];
        stream.read_exact(&mut accepted).unwrap();
        assert_eq!(accepted, [1]);
        Client::over(encrypted(stream, connection(self.folder.path(), known)))
    }

    fn sees(&self, mut client: Client) {
        client.init(true);
        for encoding in [0, 16] {
            client.set_encodings(&[encoding]);
            client.ask(false);
            client.update();
            client.assert_shows(&self.setup.screen.now());
        }
        client.send(&[4, 1, 0, 0, 0, 0, 0, 0x61]);
        let is_pressed = |event: &Event| matches!(event, Event::Key(Keystroke { keysym: 0x61, .. }, true));
        until(|| self.setup.input.events.lock().unwrap().iter().any(is_pressed));
        // The client goes, and its key is let go.
        drop(client);
        until(|| self.setup.input.events.lock().unwrap().len() == 2);
        self.setup.input.events.lock().unwrap().clear();
    }
}

#[test]
fn a_viewer_that_encrypts_sees_and_types() {
    let secure = secure("", false);
    assert_eq!(secure.setup.vnc.info().auth, "vencrypt+x509+none");
    assert_eq!(secure.dial().1, [260]);
    let mut client = secure.choose(260, false);
    assert_eq!(client.u32(), 0);
    secure.sees(client);
}

#[test]
fn a_password_is_asked_for_when_nobody_else_hears_it() {
    let secure = secure(",password=on", false);
    secure.setup.vnc.set_password(Some("longer than eight")).unwrap();
    assert_eq!(secure.dial().1, [262, 261]);
    let challenged = |password: &str| {
        let mut client = secure.choose(261, false);
        let challenge = client.take::<16>();
        client.send(&crate::vnc::auth::answer(password.as_bytes(), challenge));
        (client.u32(), client)
    };
    assert_eq!(challenged("wrong").0, 1);
    let (result, client) = challenged("longer t");
    assert_eq!(result, 0);
    secure.sees(client);
    let said = |name: &str, password: &str| {
        let mut client = secure.choose(262, false);
        client.send(&(name.len() as u32).to_be_bytes());
        client.send(&(password.len() as u32).to_be_bytes());
        client.send(name.as_bytes());
        client.send(password.as_bytes());
        (client.u32(), client)
    };
    // All of it counts.
    assert_eq!(said("me", "longer t").0, 1);
    assert_eq!(said("", "").0, 1);
    let (result, client) = said("anybody", "longer than eight");
    assert_eq!(result, 0);
    secure.sees(client);
    let mut client = secure.choose(262, false);
    client.send(&[0xff; 8]);
    assert!(client.closed());
}

#[test]
fn who_has_no_certificate_is_turned_away_where_one_is_asked_for() {
    let secure = secure("", true);
    let mut client = secure.choose(260, false);
    assert!(client.closed());
    let mut client = secure.choose(260, true);
    assert_eq!(client.u32(), 0);
    secure.sees(client);
}

#[test]
fn who_does_not_encrypt_is_turned_away() {
    let secure = secure("", false);
    // RFB 3.3 is told why.
    let mut client = secure.setup.dial();
    client.take::<12>();
    client.send(b"RFB 003.003\n");
    assert_eq!(client.u32(), 0);
    let len = client.u32() as usize;
    assert_eq!(client.take_vec(len), b"encryption is required");
    assert!(client.closed());
    // What was not offered.
    for kind in [1u8, 2, 16] {
        let mut client = secure.setup.dial();
        client.take::<12>();
        client.send(b"RFB 003.008\n");
        assert_eq!(client.take::<2>(), [1, 19]);
        client.send(&[kind]);
        assert_eq!(client.u32(), 1);
    }
    for subtype in [256u32, 257, 258, 261, 262, 0] {
        let (mut stream, _) = secure.dial();
        stream.write_all(&subtype.to_be_bytes()).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [0]);
    }
    // Another version.
    let mut client = secure.setup.dial();
    client.take::<12>();
    client.send(b"RFB 003.008\n");
    client.take::<2>();
    client.send(&[19]);
    client.take::<2>();
    client.send(&[0, 1]);
    assert_eq!(client.u8(), 0xff);
    assert!(client.closed());
    // What is said before the encryption must not count after it.
    let (mut stream, _) = secure.dial();
    stream.write_all(&[&260u32.to_be_bytes()[..], &[1]].concat()).unwrap();
    assert_eq!(stream.read(&mut [0; 9]).unwrap_or(0), 0);
    // No TLS at all where there should be.
    let (mut stream, _) = secure.dial();
    stream.write_all(&260u32.to_be_bytes()).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream.write_all(&[0; 3000]).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    let mut client = secure.choose(260, false);
    assert_eq!(client.u32(), 0);
    secure.sees(client);
}

#[test]
fn a_browser_encrypts_from_the_first_byte_on() {
    let secure = secure(",websocket=on", false);
    let at = secure.setup.vnc.info().websocket.unwrap();
    let wire = TcpStream::connect((at.host, at.service.parse().unwrap())).unwrap();
    wire.set_read_timeout(SOON).unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    near.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let tls = connection(secure.folder.path(), false);
    std::thread::spawn(move || pump(tls, wire, far));
    near.write_all(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )
    .unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"RFB 003.008\n") {
        let mut byte = [0];
        near.read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    assert!(said.starts_with(b"HTTP/1.1 101 ") && said.ends_with(b"\r\n\r\n\x82\x0cRFB 003.008\n"));
    // Masked by zeros.
    near.write_all(b"\x82\x8c\0\0\0\0RFB 003.008\n").unwrap();
    let mut security = [0; 4];
    near.read_exact(&mut security).unwrap();
    assert_eq!(security, [0x82, 2, 1, 1], "what VeNCrypt would do is done");
}

#[test]
fn files_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let named = |verify_peer| match Credentials::load(folder.path(), verify_peer) {
        Err(TlsError::File { path, .. }) => path.file_name().unwrap().to_str().unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(named(true), "server-cert.pem");
    certificates(folder.path());
    Credentials::load(folder.path(), true).unwrap();
    std::fs::write(folder.path().join("ca-cert.pem"), "nonsense").unwrap();
    assert_eq!(named(true), "ca-cert.pem");
    Credentials::load(folder.path(), false).unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(folder.path().join("server-key.pem"), other).unwrap();
    assert!(matches!(Credentials::load(folder.path(), false), Err(TlsError::Unfit(_))));
    std::fs::remove_file(folder.path().join("server-key.pem")).unwrap();
    assert_eq!(named(false), "server-key.pem");
}
