//! `tls_server_config` made into what rustls serves with.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use webpki::{EndEntityCert, KeyUsage, ring::ECDSA_P256_SHA256};

use super::file::{TlsSection, WebError};

/// Names of groups in the file, with the ring's.
const GROUPS: [(&str, &str); 3] = [("X25519", "X25519"), ("CurveP256", "secp256r1"), ("CurveP384", "secp384r1")];

/// The configuration, and whether a client without a certificate is turned away. `path` is the web configuration's, for messages.
pub(super) fn server_config(path: &Path, section: &TlsSection) -> Result<(Arc<ServerConfig>, bool), WebError> {
    let fail = |key: &str, what: String| WebError::value(path, format!("tls_server_config.{key}"), what);
    let (certificates, certificate_place) = certificates(path, "cert", section.cert.as_ref(), section.cert_file.as_ref())?;
    let (key, key_place) = read(path, "key", section.key.as_ref(), section.key_file.as_ref())?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|error| fail("key_file", format!("{key_place} has no private key in PEM form: {error}")))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if let Some(trouble) = certificates.first().and_then(|certificate| trouble(certificate, UnixTime::since_unix_epoch(now))) {
        tracing::warn!("the certificate in {certificate_place} {trouble}: clients that check it will not connect");
    }
    let provider = Arc::new(provider(path, section)?);
    let (verifier, requires_certificate) = client_verifier(path, section, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(path, section)?)
        .map_err(|error| fail("cipher_suites", format!("these and min_version leave nothing to agree on: {error}")))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| {
        fail("key_file", format!("the key in {key_place} does not go with the certificate in {certificate_place}: {error}"))
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = section.prefer_server_cipher_suites.unwrap_or(true);
    Ok((Arc::new(config), requires_certificate))
}

/// What is given in place or in a file, and where that was.
fn read(path: &Path, key: &str, text: Option<&String>, file: Option<&PathBuf>) -> Result<(Vec<u8>, String), WebError> {
    let name = format!("tls_server_config.{key}_file");
    match (text, file) {
        (Some(_), Some(_)) => Err(WebError::value(path, name, format!("{key} is given too: leave one of them out"))),
        (Some(text), None) => Ok((text.clone().into_bytes(), format!("{} ({key})", path.display()))),
        (None, Some(file)) => {
            let read = fs::read(file).map_err(|source| WebError::Read { path: file.clone(), source })?;
            Ok((read, file.display().to_string()))
        }
        (None, None) => Err(WebError::value(path, name, "missing: encryption needs cert_file and key_file")),
    }
}

fn certificates(
    path: &Path,
    key: &str,
    text: Option<&String>,
    file: Option<&PathBuf>,
) -> Result<(Vec<CertificateDer<'static>>, String), WebError> {
    let (pem, place) = read(path, key, text, file)?;
    let fail = |what: String| WebError::value(path, format!("tls_server_config.{key}_file"), what);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| fail(format!("{place} is not in PEM form: {error}")))?;
    if found.is_empty() {
        return Err(fail(format!("{place} has no certificate in PEM form")));
    }
    Ok((found, place))
}

/// What a client will not like about our certificate.
pub(super) fn trouble(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<&'static str> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    // Without an authority to lead to this always fails; dates are looked at before that.
    let verdict = certificate.verify_for_usage(&[ECDSA_P256_SHA256], &[], &[], now, KeyUsage::server_auth(), None, None);
    match verdict.err()? {
        webpki::Error::CertExpired { .. } => Some("has expired"),
        webpki::Error::CertNotValidYet { .. } => Some("is not valid yet"),
        _ => None,
    }
}

fn client_verifier(
    path: &Path,
    section: &TlsSection,
    provider: &Arc<CryptoProvider>,
) -> Result<(Option<Arc<dyn ClientCertVerifier>>, bool), WebError> {
    let fail = |key: &str, what: String| WebError::value(path, format!("tls_server_config.{key}"), what);
    let has_authority = section.client_ca.is_some() || section.client_ca_file.is_some();
    let requires = match section.client_auth_type.as_deref() {
        None | Some("" | "NoClientCert") if has_authority => {
            let what = "no use without client_auth_type: RequireAndVerifyClientCert".to_owned();
            return Err(fail("client_ca_file", what));
        }
        None | Some("" | "NoClientCert") => return Ok((None, false)),
        Some("RequireAndVerifyClientCert") => true,
        Some("VerifyClientCertIfGiven") => false,
        Some(other) => {
            let what = format!(
                "{other} is not supported, for it lets in whoever has any certificate: use RequireAndVerifyClientCert, \
                 VerifyClientCertIfGiven or NoClientCert"
            );
            return Err(fail("client_auth_type", what));
        }
    };
    let (authorities, place) = certificates(path, "client_ca", section.client_ca.as_ref(), section.client_ca_file.as_ref())?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| fail("client_ca_file", format!("{place}: {error}")))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if requires { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().map_err(|error| fail("client_ca_file", format!("{place}: {error}")))?;
    Ok((Some(verifier), requires))
}

fn versions(path: &Path, section: &TlsSection) -> Result<Vec<&'static SupportedProtocolVersion>, WebError> {
    let number = |key: &str, text: Option<&str>, default: u8| match text {
        None | Some("") => Ok(default),
        Some("TLS12") => Ok(2),
        Some("TLS13") => Ok(3),
        Some(other) => {
            let what = format!("{other} is not supported: use TLS12 or TLS13");
            Err(WebError::value(path, format!("tls_server_config.{key}"), what))
        }
    };
    let least = number("min_version", section.min_version.as_deref(), 2)?;
    let most = number("max_version", section.max_version.as_deref(), 3)?;
    let versions: Vec<_> = [(2, &TLS12), (3, &TLS13)].into_iter().filter(|(it, _)| (least..=most).contains(it)).collect();
    if versions.is_empty() {
        return Err(WebError::value(path, "tls_server_config.min_version", "above max_version"));
    }
    Ok(versions.into_iter().map(|(_, version)| version).collect())
}

/// ring's primitives, as far as the file allows them.
fn provider(path: &Path, section: &TlsSection) -> Result<CryptoProvider, WebError> {
    let mut provider = ring::default_provider();
    if !section.cipher_suites.is_empty() {
        let (for_13, for_12): (Vec<_>, Vec<_>) = provider.cipher_suites.iter().copied().partition(|suite| suite.tls13().is_some());
        let named = |suite: &tokio_rustls::rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
        let known: Vec<String> = for_12.iter().map(named).collect();
        // As in Prometheus, those of TLS 1.3 are not chosen.
        let mut chosen = for_13;
        for name in &section.cipher_suites {
            let Some(at) = known.iter().position(|it| it == name) else {
                let what = format!("{name} is not supported: use some of {}", known.join(", "));
                return Err(WebError::value(path, "tls_server_config.cipher_suites", what));
            };
            chosen.push(for_12[at]);
        }
        provider.cipher_suites = chosen;
    }
    if !section.curve_preferences.is_empty() {
        let mut chosen = Vec::new();
        for name in &section.curve_preferences {
            let group = GROUPS.iter().find(|(it, _)| it == name).and_then(|(_, group)| {
                provider.kx_groups.iter().find(|it| format!("{:?}", it.name()).eq_ignore_ascii_case(group)).copied()
            });
            let what = || format!("{name} is not supported: use some of {}", GROUPS.map(|(name, _)| name).join(", "));
            chosen.push(group.ok_or_else(|| WebError::value(path, "tls_server_config.curve_preferences", what()))?);
        }
        provider.kx_groups = chosen;
    }
    Ok(provider)
}
