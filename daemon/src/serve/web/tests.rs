use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::serve::listen;
use crate::serve::tests::{ask, ask_from};

struct Files {
    dir: TempDir,
    authority: rcgen::Certificate,
    authority_key: KeyPair,
}

impl Files {
    /// With `ca.pem`, and `cert.pem` and `key.pem` for localhost.
    fn new() -> Files {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&authority_key).unwrap();
        let files = Files { dir: TempDir::new().unwrap(), authority, authority_key };
        files.write("ca.pem", &files.authority.pem());
        files.issue("cert.pem", "key.pem", |_| {});
        files
    }

    fn issue(&self, certificate: &str, key: &str, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let pair = KeyPair::generate().unwrap();
        let signed = params.signed_by(&pair, &self.authority, &self.authority_key).unwrap();
        self.write(key, &pair.serialize_pem());
        self.write(certificate, &signed.pem());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn web(&self, text: &str) -> Result<WebConfig> {
        WebConfig::read(&self.write("web.yml", text))
    }

    /// What a client trusts; with its own certificate if one is named.
    fn client(&self, own: Option<(&str, &str)>, only_12: bool) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder =
            if only_12 { builder.with_protocol_versions(&[&TLS12]) } else { builder.with_safe_default_protocol_versions() };
        let builder = builder.unwrap().with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_file(self.path(certificate)).unwrap()],
                    PrivateKeyDer::from_pem_file(self.path(key)).unwrap(),
                )
                .unwrap(),
        };
        TlsConnector::from(Arc::new(config))
    }
}

const TLS: &str = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n";
/// bcrypt of "open sesame", at the least cost.
fn user() -> String {
    format!("basic_auth_users: {{ ali: {} }}\n", bcrypt::hash("open sesame", 4).unwrap())
}

/// A server that says "up 1" and is fine.
fn start(web: WebConfig) -> SocketAddr {
    crate::serve::tests::start(web, false, Ok("up 1\n")).0
}

fn request(path: &str, credentials: Option<&str>) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let header = credentials.map(|it| format!("Authorization: Basic {}\r\n", STANDARD.encode(it))).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n")
}

async fn plain(address: SocketAddr, path: &str, credentials: Option<&str>) -> String {
    ask(address, &request(path, credentials)).await
}

async fn encrypted(client: &TlsConnector, address: SocketAddr, credentials: Option<&str>) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = client.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
    stream.write_all(request("/metrics", credentials).as_bytes()).await?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer).await {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(answer),
    }
}

fn is_ok(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200") && answer.ends_with("up 1\n")
}

#[tokio::test]
async fn encrypted_and_with_the_password_one_comes_in() {
    let files = Files::new();
    let address = start(files.web(&format!("{TLS}{}", user())).unwrap());
    for only_12 in [false, true] {
        let client = files.client(None, only_12);
        let good = encrypted(&client, address, Some("ali:open sesame")).await.unwrap();
        assert!(is_ok(&good), "{good}");
        for bad in [None, Some("ali:open sesam"), Some("ali:"), Some("baba:open sesame"), Some("no colon")] {
            let answer = encrypted(&client, address, bad).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 401") && !answer.contains("up 1"), "{bad:?}: {answer}");
            assert!(answer.contains("www-authenticate: Basic realm=\"schedscope\""), "{answer}");
        }
    }
    let unencrypted = plain(address, "/metrics", Some("ali:open sesame")).await;
    assert!(unencrypted.starts_with("HTTP/1.1 400") && unencrypted.ends_with("https://\n"), "{unencrypted}");
}

#[tokio::test]
async fn every_path_is_behind_the_password() {
    let files = Files::new();
    let address = start(files.web(&user()).unwrap());
    for path in ["/", "/metrics", "/healthz", "/status", "/api/history", "/page/main.js", "/nothing"] {
        assert!(plain(address, path, None).await.starts_with("HTTP/1.1 401"), "{path}");
        let code = if path == "/nothing" { "404" } else { "200" };
        let answer = plain(address, path, Some("ali:open sesame")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{path}: {answer}");
    }
}

#[tokio::test]
async fn with_client_certificates_only_those_of_the_authority_come_in() {
    let files = Files::new();
    let strangers = Files::new();
    files.issue("client.pem", "client-key.pem", |_| {});
    let text = "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: ca.pem, client_auth_type: ";
    let address = start(files.web(&format!("{text} RequireAndVerifyClientCert}}")).unwrap());
    let ours = encrypted(&files.client(Some(("client.pem", "client-key.pem")), false), address, None).await.unwrap();
    assert!(is_ok(&ours), "{ours}");
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| strangers.path(name));
    for other in [None, Some((certificate.to_str().unwrap(), key.to_str().unwrap()))] {
        let answer = encrypted(&files.client(other, false), address, None).await;
        assert!(answer.as_ref().map_or(true, String::is_empty), "{other:?}: {answer:?}");
    }
    let address = start(files.web(&format!("{text} VerifyClientCertIfGiven}}")).unwrap());
    assert!(is_ok(&encrypted(&files.client(None, false), address, None).await.unwrap()));
}

#[tokio::test]
async fn a_handshake_that_stands_still_keeps_nobody_waiting() {
    let files = Files::new();
    let address = start(files.web(TLS).unwrap());
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut halting = TcpStream::connect(address).await.unwrap();
    halting.write_all(&[22, 3, 1]).await.unwrap();
    let begun = std::time::Instant::now();
    assert!(is_ok(&encrypted(&files.client(None, false), address, None).await.unwrap()));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(15), halting.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test]
async fn guessing_keeps_nobody_out_who_knows_a_password() {
    let files = Files::new();
    let hash = |password| bcrypt::hash(password, 7).unwrap();
    let users = format!("basic_auth_users: {{ known: {}, new: {}, near: {} }}\n", hash("1"), hash("2"), hash("3"));
    let address = start(files.web(&users).unwrap());
    assert!(is_ok(&plain(address, "/metrics", Some("known:1")).await));
    // More than one turn's worth of them, all the time.
    let there = Ipv4Addr::new(127, 0, 0, 2);
    let answered = Arc::new(AtomicUsize::new(0));
    let guesses = (0..20).map(|n| {
        let answered = answered.clone();
        async move {
            loop {
                let answer = ask_from(there, address, &request("/", Some(&format!("new:no {n}")))).await;
                assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let guesses: Vec<_> = guesses.map(tokio::spawn).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Who is known needs no turn; another peer waits for the guess that has it and for the next one; the guessers' neighbour for each of
    // them once.
    for (from, who, most) in [(Ipv4Addr::LOCALHOST, "known:1", 1), (Ipv4Addr::LOCALHOST, "new:2", 3), (there, "near:3", 22)] {
        let before = answered.load(Ordering::Relaxed);
        let answer = ask_from(from, address, &request("/metrics", Some(who))).await;
        assert!(is_ok(&answer), "{who}: {answer}");
        let meanwhile = answered.load(Ordering::Relaxed) - before;
        assert!(meanwhile <= most, "{who}: {meanwhile} guesses were answered first");
    }
    assert!(guesses.iter().all(|guess| !guess.is_finished()));
}

#[tokio::test]
async fn a_renewed_certificate_and_a_new_password_are_in_force_at_once_and_nonsense_never() {
    let files = Files::new();
    let web = files.web(&format!("{TLS}{}", user())).unwrap();
    web.must_guard();
    let address = start(web);
    let client = files.client(None, false);
    assert!(is_ok(&encrypted(&client, address, Some("ali:open sesame")).await.unwrap()));

    // Of another authority: this client trusts it no more, but another does.
    let other = Files::new();
    for name in ["cert.pem", "key.pem"] {
        fs::copy(other.path(name), files.path(name)).unwrap();
    }
    assert!(encrypted(&client, address, Some("ali:open sesame")).await.is_err());
    let client = other.client(None, false);
    assert!(is_ok(&encrypted(&client, address, Some("ali:open sesame")).await.unwrap()));

    let hash = bcrypt::hash("close sesame", 4).unwrap();
    files.write("web.yml", &format!("{TLS}basic_auth_users: {{ali: {hash}}}"));
    assert!(encrypted(&client, address, Some("ali:open sesame")).await.unwrap().starts_with("HTTP/1.1 401"));
    assert!(is_ok(&encrypted(&client, address, Some("ali:close sesame")).await.unwrap()));

    // Not YAML; not guarded though it must be; without encryption; a key that is gone.
    for text in ["basic_auth_users: [", TLS, &user(), "tls_server_config: {cert_file: cert.pem, key_file: gone.pem}"] {
        files.write("web.yml", text);
        assert!(is_ok(&encrypted(&client, address, Some("ali:close sesame")).await.unwrap()), "{text}");
        assert!(encrypted(&client, address, None).await.unwrap().starts_with("HTTP/1.1 401"), "{text}");
    }
}

#[tokio::test]
async fn headers_of_the_file_replace_ours_and_a_blank_one_leaves_it_out() {
    let files = Files::new();
    let text = "http_server_config: {http2: true, headers: {X-Frame-Options: sameorigin, Content-Security-Policy: ''}}";
    let address = start(files.web(text).unwrap());
    let answer = plain(address, "/", None).await;
    assert!(answer.contains("x-frame-options: sameorigin\r\n") && !answer.contains("content-security-policy"), "{answer}");
    assert!(answer.contains("x-content-type-options: nosniff\r\n"), "{answer}");
}

#[test]
fn what_cannot_be_used_is_named_with_the_remedy() {
    let files = Files::new();
    let hash = bcrypt::hash("x", 4).unwrap();
    files.write("empty.pem", "");
    files.issue("other.pem", "other-key.pem", |_| {});
    let pair = |more: &str| format!("tls_server_config: {{cert_file: cert.pem, key_file: key.pem, {more}}}");
    for (text, parts) in [
        ("tls_server_confg: {}", &["tls_server_confg"][..]),
        ("basic_auth_users: {}\ntls_server_config: {cert_fil: a}", &["cert_fil", "line 2"]),
        ("tls_server_config: {cert_file: cert.pem}", &["key_file", "missing"]),
        ("tls_server_config: {cert_file: gone.pem, key_file: key.pem}", &["cannot read", "gone.pem", "No such file"]),
        ("tls_server_config: {cert_file: empty.pem, key_file: key.pem}", &["cert_file", "empty.pem has no certificate"]),
        ("tls_server_config: {cert_file: cert.pem, key_file: empty.pem}", &["key_file", "empty.pem has no private key"]),
        ("tls_server_config: {cert_file: cert.pem, key_file: other-key.pem}", &["does not go with the certificate"]),
        (&pair("cert: x"), &["cert_file", "leave one of them out"]),
        (&pair("min_version: TLS10"), &["min_version", "TLS10", "TLS12"]),
        (&pair("min_version: TLS13, max_version: TLS12"), &["above max_version"]),
        (&pair("client_ca_file: ca.pem"), &["client_auth_type"]),
        (&pair("client_auth_type: RequireAnyClientCert"), &["any certificate"]),
        (&pair("client_auth_type: RequireAndVerifyClientCert"), &["client_ca_file"]),
        (&pair("cipher_suites: [RC4]"), &["RC4", "TLS_ECDHE_ECDSA_WITH_AES"]),
        (&pair("curve_preferences: [CurveP521]"), &["CurveP521", "X25519"]),
        (&pair("client_allowed_sans: [a]"), &["client_allowed_sans", "Remove"]),
        ("rate_limit: {burst: 3}", &["rate_limit", "Remove"]),
        ("basic_auth_users: {ali: open sesame}", &["basic_auth_users.ali", "htpasswd"]),
        (&format!("basic_auth_users: {{'a:b': {hash}}}"), &["colon"]),
        (&format!("basic_auth_users: {{ali: {}}}", hash.replace("$04$", "$18$")), &["cost 18", "at most 15"]),
        ("http_server_config: {headers: {X-Powered-By: us}}", &["X-Powered-By", "Strict-Transport-Security"]),
    ] {
        let error = files.web(text).err().map(|error| format!("{error:#}")).unwrap_or_default();
        for part in parts {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        assert!(error.contains(&files.dir.path().display().to_string()) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn what_prometheus_takes_is_taken() {
    let files = Files::new();
    for text in [
        "",
        "# nothing\n",
        TLS,
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  min_version: TLS13\n  prefer_server_cipher_suites: false\n",
        "tls_server_config: {cert_file: cert.pem, key_file: key.pem, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256], \
         curve_preferences: [CurveP384, X25519, CurveP256]}",
    ] {
        let found = files.web(text);
        assert!(found.is_ok(), "{text}: {:?}", found.err());
    }
    let absolute = format!("tls_server_config: {{cert_file: {0}/cert.pem, key_file: {0}/key.pem}}", files.dir.path().display());
    assert!(files.web(&absolute).is_ok());
}

#[test]
fn a_certificate_out_of_its_time_is_noticed() {
    let files = Files::new();
    let found = |change: fn(&mut CertificateParams)| {
        files.issue("dated.pem", "dated-key.pem", change);
        let certificate = CertificateDer::from_pem_file(files.path("dated.pem")).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        tls::trouble(&certificate, tokio_rustls::rustls::pki_types::UnixTime::since_unix_epoch(now))
    };
    assert_eq!(found(|_| {}), None);
    assert_eq!(found(|params| params.not_after = date_time_ymd(2020, 1, 1)), Some("has expired"));
    assert_eq!(found(|params| params.not_before = date_time_ymd(2999, 1, 1)), Some("is not valid yet"));
}

#[test]
fn beyond_loopback_it_takes_encryption_and_a_lock() {
    let files = Files::new();
    let all: SocketAddr = "0.0.0.0:0".parse().unwrap();
    for address in [all, "[::]:0".parse().unwrap()] {
        let error = listen(address, false, &WebConfig::default()).unwrap_err().to_string();
        assert!(error.contains("--allow-remote") && error.contains("--web-config"), "{error}");
    }
    listen(all, true, &WebConfig::default()).unwrap();
    let both = format!("{TLS}{}", user());
    let client = "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: ca.pem, client_auth_type: ";
    for guarded in [both, format!("{client} RequireAndVerifyClientCert}}")] {
        listen(all, false, &files.web(&guarded).unwrap()).unwrap();
    }
    for (open, lack) in
        [(TLS.to_owned(), "everyone"), (user(), "tls_server_config"), (format!("{client} VerifyClientCertIfGiven}}"), "everyone")]
    {
        let web = files.web(&open).unwrap();
        let error = listen(all, false, &web).unwrap_err();
        assert!(error.to_string().contains("web.yml") && error.to_string().contains(lack), "{error}");
        listen(all, true, &web).unwrap();
        listen("127.0.0.1:0".parse().unwrap(), false, &web).unwrap();
    }
}
