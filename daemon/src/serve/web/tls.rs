//! `tls_server_config` as rustls's configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use tokio_rustls::rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use webpki::ring::ECDSA_P256_SHA256;
use webpki::{EndEntityCert, KeyUsage};

use super::file::{self, TlsSection};

/// Key exchange groups by their names in the file.
const GROUPS: [(&str, &dyn SupportedKxGroup); 3] =
    [("X25519", ring::kx_group::X25519), ("CurveP256", ring::kx_group::SECP256R1), ("CurveP384", ring::kx_group::SECP384R1)];

/// The configuration, and whether a client without a certificate is turned away.
pub(super) fn server_config(section: &TlsSection) -> Result<(Arc<ServerConfig>, bool)> {
    if section.client_allowed_sans.is_some() {
        let what =
            "not supported: name an authority in client_ca_file that signs the certificates of the right clients only. Remove it";
        return Err(section.error("client_allowed_sans", what));
    }
    let (certificates, certificate_place) = certificates(section, "cert", section.cert.as_ref(), section.cert_file.as_ref())?;
    let (key, key_place) = read(section, "key", section.key.as_ref(), section.key_file.as_ref())?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|error| section.error("key_file", format!("{key_place} has no private key in PEM form: {error}")))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if let Some(trouble) = certificates.first().and_then(|certificate| trouble(certificate, UnixTime::since_unix_epoch(now))) {
        tracing::warn!("the certificate in {certificate_place} {trouble}: clients that check it will not connect");
    }
    let provider = Arc::new(provider(section)?);
    let (verifier, requires_certificate) = client_verifier(section, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(section)?)
        .map_err(|error| section.error("cipher_suites", format!("these and min_version leave nothing to agree on: {error}")))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| {
        let what = format!("the key in {key_place} does not go with the certificate in {certificate_place}: {error}");
        section.error("key_file", what)
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = section.prefer_server_cipher_suites.unwrap_or(true);
    Ok((Arc::new(config), requires_certificate))
}

/// A text given inline or in a file, and where that is.
fn read(section: &TlsSection, key: &str, text: Option<&String>, file: Option<&PathBuf>) -> Result<(Vec<u8>, String)> {
    let error = |what: &str| Err(section.error(&format!("{key}_file"), what));
    match (text, file) {
        (Some(_), Some(_)) => error(&format!("{key} is given too: leave one of them out")),
        (Some(text), None) => Ok((text.clone().into_bytes(), format!("the web configuration ({key})"))),
        (None, Some(file)) => Ok((file::read(file)?, file.display().to_string())),
        (None, None) => error("missing: encryption needs cert_file and key_file"),
    }
}

fn certificates(
    section: &TlsSection,
    key: &str,
    text: Option<&String>,
    file: Option<&PathBuf>,
) -> Result<(Vec<CertificateDer<'static>>, String)> {
    let (pem, place) = read(section, key, text, file)?;
    let error = |what: String| section.error(&format!("{key}_file"), what);
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|source| error(format!("{place} is not in PEM form: {source}")))?;
    if found.is_empty() {
        return Err(error(format!("{place} has no certificate in PEM form")));
    }
    Ok((found, place))
}

/// Why clients will reject our certificate.
pub(super) fn trouble(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<&'static str> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    // It always fails for lack of an authority, but dates are checked first.
    let verdict = certificate.verify_for_usage(&[ECDSA_P256_SHA256], &[], &[], now, KeyUsage::server_auth(), None, None);
    match verdict.err()? {
        webpki::Error::CertExpired { .. } => Some("has expired"),
        webpki::Error::CertNotValidYet { .. } => Some("is not valid yet"),
        _ => None,
    }
}

/// The check of clients' certificates, and whether they need one.
fn client_verifier(section: &TlsSection, provider: &Arc<CryptoProvider>) -> Result<(Option<Arc<dyn ClientCertVerifier>>, bool)> {
    let has_authority = section.client_ca.is_some() || section.client_ca_file.is_some();
    let requires = match section.client_auth_type.as_deref() {
        None | Some("" | "NoClientCert") if has_authority => {
            return Err(section.error("client_ca_file", "has no effect without client_auth_type: RequireAndVerifyClientCert"));
        }
        None | Some("" | "NoClientCert") => return Ok((None, false)),
        Some("RequireAndVerifyClientCert") => true,
        Some("VerifyClientCertIfGiven") => false,
        Some(other) => {
            let what = format!(
                "{other} is not supported, since it accepts any certificate: use RequireAndVerifyClientCert, \
                 VerifyClientCertIfGiven or NoClientCert"
            );
            return Err(section.error("client_auth_type", what));
        }
    };
    let (authorities, place) = certificates(section, "client_ca", section.client_ca.as_ref(), section.client_ca_file.as_ref())?;
    let error = |source: &dyn std::fmt::Display| section.error("client_ca_file", format!("{place}: {source}"));
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|source| error(&source))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if requires { builder } else { builder.allow_unauthenticated() };
    Ok((Some(builder.build().map_err(|source| error(&source))?), requires))
}

fn versions(section: &TlsSection) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let all = [&TLS12, &TLS13];
    let place = |key, text: Option<&str>, default| match text {
        None | Some("") => Ok(default),
        Some("TLS12") => Ok(0),
        Some("TLS13") => Ok(1),
        Some(other) => Err(section.error(key, format!("{other} is not supported: use TLS12 or TLS13"))),
    };
    let least = place("min_version", section.min_version.as_deref(), 0)?;
    let most = place("max_version", section.max_version.as_deref(), 1)?;
    if least > most {
        return Err(section.error("min_version", "above max_version"));
    }
    Ok(all[least..=most].to_vec())
}

/// ring's primitives, as far as the file allows them.
fn provider(section: &TlsSection) -> Result<CryptoProvider> {
    let mut provider = ring::default_provider();
    let unknown = |key, name: &str, known: &[String]| {
        section.error(key, format!("{name} is not supported: use some of {}", known.join(", ")))
    };
    if !section.cipher_suites.is_empty() {
        let (for_13, for_12): (Vec<_>, Vec<_>) = provider.cipher_suites.iter().copied().partition(|suite| suite.tls13().is_some());
        let known: Vec<String> = for_12.iter().map(|suite| format!("{:?}", suite.suite())).collect();
        // Those of TLS 1.3 cannot be chosen, as in Prometheus.
        let mut chosen = for_13;
        for name in &section.cipher_suites {
            let at = known.iter().position(|it| it == name).ok_or_else(|| unknown("cipher_suites", name, &known))?;
            chosen.push(for_12[at]);
        }
        provider.cipher_suites = chosen;
    }
    if !section.curve_preferences.is_empty() {
        let mut chosen = Vec::new();
        for name in &section.curve_preferences {
            let group = GROUPS.iter().find(|(it, _)| it == name).map(|(_, group)| *group);
            chosen.push(group.ok_or_else(|| unknown("curve_preferences", name, &GROUPS.map(|(name, _)| name.to_owned())))?);
        }
        provider.kx_groups = chosen;
    }
    Ok(provider)
}
