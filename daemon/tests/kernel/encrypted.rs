//! Encryption and a password, as Prometheus asks for them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use schedscope::lab::daemon::free_address;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    host::{self, Guarded, comes_true, installed, privileged},
    served::try_get,
};

/// An authority, and a certificate of it for localhost.
fn write_certificates(dir: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority, &authority_key).unwrap();
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

/// bcrypt of "open sesame", made with the C library.
const HASH: &str = "$2b$06$dPIp5khKZlH53Rl.lOhBqOeIZaLb3TF3bN18hOaJNhbSse1l4a5n.";

#[test]
fn prometheus_scrapes_with_the_password_and_not_without() {
    let Some(_) = privileged().and_then(|()| installed(&["prometheus"], "prometheus")) else { return };
    let dir = TempDir::new().unwrap();
    write_certificates(dir.path());
    let web = dir.path().join("web.yml");
    let text = format!("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\nbasic_auth_users:\n  prometheus: {HASH}\n");
    fs::write(&web, text).unwrap();
    let checked = Command::new("promtool").args(["check", "web-config"]).arg(&web).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");

    let port = free_address().unwrap().port();
    let mut command = Command::new(host::schedscope());
    // All addresses, which is refused without a web configuration.
    command.args(["daemon", "--listen", &format!("0.0.0.0:{port}"), "--web-config"]).arg(&web);
    let _daemon = Guarded(command.stderr(Stdio::null()).spawn().unwrap());
    let job = |name: &str, password: &str| {
        format!(
            "- job_name: {name}\n  scheme: https\n  tls_config: {{ca_file: ca.pem}}\n  basic_auth: {{username: prometheus, \
             password: {password}}}\n  static_configs: [{{targets: ['localhost:{port}']}}]\n"
        )
    };
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{}{}",
        job("right", "open sesame"),
        job("wrong", "close sesame")
    );
    fs::write(dir.path().join("prometheus.yml"), config).unwrap();
    let address = free_address().unwrap();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
    command.arg(format!("--web.listen-address={address}"));
    let _prometheus = Guarded(command.stderr(Stdio::null()).spawn().unwrap());
    let value = |query: &str| -> Option<String> {
        let answer: Value = serde_json::from_str(&try_get(address, &format!("/api/v1/query?query={query}"))?).ok()?;
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    assert!(comes_true(60, || value("up{job=%22right%22}").as_deref() == Some("1")), "it is not scraped");
    assert!(value("count(schedscope_workload_on_cpu_seconds_total)").is_some_and(|count| count != "0"));
    // The other asks all the while, and a wrong password delays nobody.
    assert!(comes_true(10, || value("up{job=%22wrong%22}").as_deref() == Some("0")), "a wrong password is let in");
    assert!(comes_true(20, || value("count_over_time(up{job=%22right%22}[20s])")
        .is_some_and(|count| count.parse::<u32>().unwrap() >= 5)));
    assert_eq!(value("min_over_time(up{job=%22right%22}[5s])").as_deref(), Some("1"));
    let targets = try_get(address, "/api/v1/targets").unwrap();
    assert!(targets.contains("401 Unauthorized"), "{targets}");
}
